/* AppendEntries at a follower: is our log the leader's up to prev_index, and what comes after it?
 * (5.3) With no entries it is a heartbeat, and the question stays the same.
 *
 *     our log     | a | b | b | b | b |           after: | a | b | b | c | c | d |
 *     message           prev: b | b | c | c | d |
 *                                   ^ first conflict: from here on ours goes
 *
 * Entries that we have already are passed over: an old or reordered message must not truncate what
 * came after it (P7). */
#include <inttypes.h>

#include "common/check.h"
#include "common/macros.h"
#include "common/raft/raft_internal.h"

static bool prev_matches(const struct raft *r, const struct raft_append *a)
{
    /* What is before the log here is committed, so the leader has it too. */
    return a->prev_index < r->log.start || raft_log_matches(&r->log, a->prev_index, a->prev_term);
}

/* The position in a->entries of the first that our log does not have; a->count if it has all. */
static size_t first_new(const struct raft *r, const struct raft_append *a)
{
    size_t i = 0;
    while (i < a->count && (a->entries[i].index < r->log.start ||
                            raft_log_matches(&r->log, a->entries[i].index, a->entries[i].term))) {
        i++;
    }
    return i;
}

/* ---- could an honest leader have sent it? ---- */

static int check_entries(const struct raft_message *m, struct err *e)
{
    const struct raft_append *a = &m->append;
    term_no term = a->prev_term;
    struct raft_config config;
    for (size_t i = 0; i < a->count; i++) {
        const struct log_entry *entry = &a->entries[i];
        if (entry->index != a->prev_index + 1 + i || entry->term < term || entry->term == 0 ||
            entry->term > m->term) {
            return err_set(e, ERR_INVALID, "entries out of order");
        }
        if (entry->type < LOG_ENTRY_EMPTY || entry->type > LOG_ENTRY_CONFIG ||
            entry->data.length > LOG_ENTRY_BYTES_MAX) {
            return err_set(e, ERR_INVALID, "entry %" PRIu64 ": type %u, %zu bytes", entry->index,
                           entry->type, entry->data.length);
        }
        if (entry->type == LOG_ENTRY_CONFIG && raft_config_decode(entry->data, &config, e) < 0) {
            return err_wrap(e, ERR_INVALID, "entry %" PRIu64, entry->index);
        }
        term = entry->term;
    }
    return 0;
}

/* What is committed here is in the log of every leader to come (5.4), so one that contradicts it is
 * none. */
static int check_conflict(const struct raft *r, const struct raft_append *a, struct err *e)
{
    if (!prev_matches(r, a)) {
        return a->prev_index > r->commit
                   ? 0
                   : err_set(e, ERR_INVALID, "contradicts committed entry %" PRIu64, a->prev_index);
    }
    size_t i = first_new(r, a);
    if (i == a->count || a->entries[i].index > raft_log_last(&r->log)) {
        return 0;
    }
    if (a->entries[i].index <= r->commit || raft_config_forbids(r, a->entries[i].index)) {
        return err_set(e, ERR_INVALID, "contradicts committed entry %" PRIu64, a->entries[i].index);
    }
    return 0;
}

int raft_check_append(const struct raft *r, const struct raft_message *m, struct err *e)
{
    const struct raft_append *a = &m->append;
    if (a->prev_index > RAFT_NUMBER_MAX || a->commit > RAFT_NUMBER_MAX || a->prev_term > m->term ||
        (a->prev_index == 0) != (a->prev_term == 0) || a->count > RAFT_APPEND_COUNT_MAX) {
        return err_set(e, ERR_INVALID, "an append with numbers out of range");
    }
    int code = check_entries(m, e);
    if (code == 0 && m->term >= r->hard.term) {
        code = check_conflict(r, a, e);
    }
    return code;
}

/* ---- what it changes ---- */

static void refuse(struct raft *r, const struct raft_message *m)
{
    const struct raft_append *a = &m->append;
    struct raft_message *reply = raft_send_after(r, RAFT_APPEND_REPLY, m->from);
    /* Not our last index with another term, but the last whose term may be the leader's: one round
     * for each term in conflict instead of one for each entry (5.3, end). */
    log_index hint = raft_log_back_up(&r->log, a->prev_index, a->prev_term);
    hint = MAX(hint, r->commit);
    reply->append_reply = (struct raft_append_reply){
        .round = a->round,
        .prev_index = a->prev_index,
        .hint_index = hint,
        .hint_term = raft_log_term(&r->log, hint),
    };
    raft_tell(r, "has no entry %" PRIu64 " of term %" PRIu64 ", goes back to %" PRIu64,
              a->prev_index, a->prev_term, hint);
}

/* The log is the leader's up to `verified`. A heartbeat is answered at once, with what is durable
 * by now, so that a slow disk does not look like a lost leader or follower. */
static void accept(struct raft *r, const struct raft_message *m, log_index verified)
{
    bool at_once = m->append.count == 0 && raft_term_is_durable(r);
    log_index match = at_once ? MIN(verified, r->log.durable) : verified;
    struct raft_message *reply = at_once ? raft_send(r, RAFT_APPEND_REPLY, m->from)
                                         : raft_send_after(r, RAFT_APPEND_REPLY, m->from);
    reply->append_reply = (struct raft_append_reply){
        .ok = true,
        .round = m->append.round,
        .match = MAX(match, r->ready), /* committed: in every leader's log */
        .prev_index = m->append.prev_index,
    };
}

static void append_new(struct raft *r, const struct raft_append *a)
{
    struct raft_config config;
    size_t i = first_new(r, a);
    if (i == a->count) {
        return;
    }
    if (a->entries[i].index <= raft_log_last(&r->log)) {
        raft_truncate(r, a->entries[i].index);
    }
    raft_tell(r, "appends %" PRIu64 "..%" PRIu64, a->entries[i].index, a->prev_index + a->count);
    for (; i < a->count; i++) {
        raft_append_entry(r, &a->entries[i]);
        if (a->entries[i].type == LOG_ENTRY_CONFIG &&
            raft_config_decode(a->entries[i].data, &config, NULL) == 0) {
            raft_config_adopt(r, &config, a->entries[i].index);
        }
    }
}

void raft_recv_append(struct raft *r, const struct raft_message *m)
{
    const struct raft_append *a = &m->append;
    raft_become_follower(r, m->term, m->from);
    r->heard_ms = r->now_ms;
    raft_restart_timer(r);
    if (r->receiving.installing) {
        accept(r, m, r->ready); /* the log is about to be replaced; entries come again */
        return;
    }
    if (!prev_matches(r, a)) {
        refuse(r, m);
        return;
    }
    append_new(r, a);
    log_index verified = a->prev_index + a->count;
    /* Beyond `verified` our log may be another's: it is not committed because the leader has
     * committed that far (P8). */
    raft_commit_to(r, MIN(a->commit, verified));
    accept(r, m, verified);
}
