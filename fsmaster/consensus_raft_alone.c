/* A member that is to go on alone, offline: see consensus_alone(). Two entries are appended behind
 * whatever its log has, in a term above all others: a configuration of this one member, and a
 * command of the caller's. The next start does the rest: it elects itself, and its first entry
 * commits all that stands before it.
 *
 * Entries that were never committed are taken for good by this. That is allowed: whoever proposed
 * them was told "unknown" or nothing at all. To leave them out would not be: which ones were
 * committed is what the lost members knew.
 *
 * Both entries and the vote are one batch of the log, so a crash leaves the old member or the new
 * one. */
#include <inttypes.h>
#include <string.h>

#include "common/check.h"
#include "common/disk.h"
#include "common/macros.h"
#include "common/rng.h"
#include "fsmaster/consensus_raft_internal.h"

enum { READ_BYTES = 1024 * 1024 };

/* The newest configuration of the log goes before the state's. */
static int newest_config(struct log_store *log, struct raft_config *config, struct err *e)
{
    log_index last = log_store_last(log);
    struct log_read read;
    int r = 0;
    log_read_init(&read);
    for (log_index at = log_store_start(log); r >= 0 && at < last;) {
        r = log_store_read(log, at + 1, last + 1, READ_BYTES, &read, e);
        for (size_t i = 0; r >= 0 && i < read.count; i++) {
            const struct log_entry *entry = &read.entries[i];
            at = entry->index;
            if (entry->type == LOG_ENTRY_CONFIG) {
                r = raft_config_decode(entry->data, config, e);
            }
        }
    }
    log_read_deinit(&read);
    return r < 0 ? r : 0;
}

static int look(const struct consensus_alone *options, struct log_store *log,
                struct consensus_alone_report *ret, struct err *e)
{
    *ret = (struct consensus_alone_report){.config = options->position.config};
    int r = newest_config(log, &ret->config, e);
    ret->last = log_store_last(log);
    ret->seen_term = log_store_hard(log).term;
    return r < 0 ? r : log_store_term(log, ret->last, &ret->last_term);
}

static int append(const struct consensus_alone *options, struct log_store *log,
                  struct consensus_alone_report *report, struct err *e)
{
    struct raft_config config = {.count = 1, .members = {options->self}};
    const struct raft_member *known = raft_config_find(&report->config, options->self.key);
    struct buf bytes = BUF_INIT;
    config.members[0].voter = true;
    if (config.members[0].address[0] == '\0' && known) {
        memcpy(config.members[0].address, known->address, sizeof(known->address));
    }
    if (config.members[0].address[0] == '\0') {
        return err_set(e, ERR_INVALID, "where will this member be reached? Say --advertise");
    }
    CHECK(options->term > report->seen_term);
    raft_config_encode(&config, &bytes);
    struct log_hard_state hard = {.term = options->term, .vote = options->self.key};
    struct log_entry entries[] = {{.index = report->last + 1,
                                   .term = options->term,
                                   .type = LOG_ENTRY_CONFIG,
                                   .data = {bytes.data, bytes.length}},
                                  {.index = report->last + 2,
                                   .term = options->term,
                                   .type = LOG_ENTRY_COMMAND,
                                   .data = options->command}};
    int r = log_store_append(log, &hard, entries, ARRAY_COUNT(entries), e);
    r = r < 0 ? r : log_store_sync(log, e);
    buf_deinit(&bytes);
    report->config = config;
    return r;
}

int consensus_alone(const struct consensus_alone *options, struct consensus_alone_report *ret,
                    struct err *e)
{
    struct disk *disk = NULL;
    struct log_store *log = NULL;
    const struct consensus_position *at = &options->position;
    int r = disk_posix_open(options->directory, &disk, e);
    if (r < 0) {
        return r;
    }
    struct log_store_options log_options = {
        .disk = disk, .segment_bytes = options->segment_bytes, .salt_seed = rng_entropy_u64()};
    r = log_store_open(&log_options, &log, e);
    if (r == 0) {
        r = options->begin_log ? log_store_reset(log, at->index, at->term, e)
                               : log_reconcile(log, at, e);
    }
    r = r < 0 ? r : look(options, log, ret, e);
    if (r == 0 && options->term > 0) {
        r = append(options, log, ret, e);
    }
    log_store_close(log);
    disk_free(disk);
    return r < 0 ? err_wrap(e, r, "log in %s", options->directory) : 0;
}
