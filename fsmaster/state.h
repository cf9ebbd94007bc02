/* The replicated state on disk: the namespace over RocksDB, as a machine for consensus.h, and the
 * reads over its snapshots. Apply and persist are for the threads that consensus gives them; reads
 * for any worker; everything else for the owner.
 *
 * RocksDB has no log of its own here: the consensus log is the write-ahead log, and the applied
 * index moves in the same batch as what it describes. A batch is one or more whole groups of
 * entries: while nobody reads, groups gather in it, so that rows which change with every entry are
 * written once for many; whoever reads, makes durable or copies the state writes it first. So every
 * read sees each group whose outcome was told before it began. */
#ifndef FSMASTER_STATE_H
#define FSMASTER_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"
#include "common/kv.h"
#include "fsmaster/consensus.h"
#include "fsmaster/namespace.h"

struct state;

struct state_options {
    const char *data;     /* directory; RocksDB is in its sub-directory "state", or in the one that
                             its file CURRENT names once a snapshot was installed */
    uint64_t cache_bytes; /* 0: kv's default */
};

/* Completes what a crash has left of an installation. */
int state_open(const struct state_options *options, struct state **ret, struct err *e) MUST_CHECK;
void state_close(struct state *s); /* accepts NULL; no snapshot is open any more */

/* Where it stands, for consensus. */
int state_position(struct state *s, struct consensus_position *ret, struct err *e) MUST_CHECK;

/* Counters and identity as they stand on disk; for a start. */
int state_totals(struct state *s, struct namespace_totals *ret, struct err *e) MUST_CHECK;

/* ---- Machine ---------------------------------------------------------------------------------
 */

/* One applied entry. */
struct applied_entry {
    struct log_position at;
    enum entry_kind kind;
    struct apply_result result; /* in the outcome's arena */
    struct proposal *proposal;  /* NULL: not from here */
};

/* What one group of entries did; goes to the owner. */
struct applied_group {
    struct arena arena;
    struct applied_entry *entries;
    size_t count;
    struct namespace_totals totals; /* after it */
};

/* As struct consensus_machine wants them; ctx is the struct state. */
int state_apply(void *ctx, const struct consensus_entry *entries, size_t count, void **ret_outcome,
                struct err *e) MUST_CHECK;
int state_persist(void *ctx, log_index *ret_index, struct err *e) MUST_CHECK;
int state_checkpoint(void *ctx, const char *directory, struct err *e) MUST_CHECK;
int state_inspect(void *ctx, const char *directory, struct consensus_position *ret,
                  struct err *e) MUST_CHECK;
/* Waits for nobody: whoever reads must be done. */
int state_install(void *ctx, const char *directory, log_index index, struct err *e) MUST_CHECK;
void applied_group_free(struct applied_group *group); /* accepts NULL */

/* ---- Reads ------------------------------------------------------------------------------------
 */

/* A snapshot of the newest state. Worker; one thread at a time. */
struct state_read {
    struct kv_snapshot *snapshot; /* NULL: what was applied could not be written */
    struct kv_view view;          /* then it gives that error */
    struct err error;
};

void state_read_begin(struct state *s, struct state_read *read);
void state_read_end(struct state_read *read);
/* The last entry that the snapshot has. */
int state_read_applied(const struct state_read *read, log_index *ret) MUST_CHECK;
/* The storage's own words, if the view has failed. */
const struct err *state_read_error(const struct state_read *read);

#endif
