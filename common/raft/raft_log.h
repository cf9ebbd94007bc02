/* What Raft keeps in memory of its log: the term and the length of each entry, never its bytes; and
 * how much of it is durable here, while writes are on their way to the disk. Plain value of one
 * struct raft; tests look inside.
 *
 * A write is known by its number. It may be overtaken: entries of write 7 that are truncated while
 * 7 is still in progress do not become durable when 7 does, even if other entries stand at their
 * indexes by then (no ABA). So a pending write remembers the last index that it still vouches for,
 * and truncation lowers that. */
#ifndef COMMON_RAFT_RAFT_LOG_H
#define COMMON_RAFT_RAFT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ids.h"
#include "common/raft/log_format.h" /* LOG_RECORD_HEADER_BYTES */

enum {
    RAFT_WRITE_COUNT_MAX = 256, /* pending writes known one by one; more are taken together */
    RAFT_ENTRY_OVERHEAD_BYTES = LOG_RECORD_HEADER_BYTES, /* so that empty entries count too */
};

struct raft_slot {
    term_no term;
    uint64_t end; /* bytes of all entries up to this one, from an arbitrary origin */
};

struct raft_write {
    uint64_t seq;
    log_index last; /* once the write is done, the log up to here is durable */
    time_ms since_ms;
};

struct raft_log {
    struct raft_slot *slots; /* slots[head + i]: entry start + i; the first one stands for the entry
                                before the log */
    size_t head;
    size_t count; /* >= 1 */
    size_t capacity;
    log_index start; /* the last index that is gone; 0 at first */
    log_index durable;

    uint64_t seq;                                    /* of the newest write given out; 0: none */
    uint64_t done_seq;                               /* writes up to this one are durable */
    struct raft_write pending[RAFT_WRITE_COUNT_MAX]; /* a ring, in the order of seq */
    size_t pending_first;
    size_t pending_count;
};

void raft_log_init(struct raft_log *l, log_index start, term_no start_term);
void raft_log_deinit(struct raft_log *l);

log_index raft_log_last(const struct raft_log *l); /* l->start when there is no entry */
term_no raft_log_last_term(const struct raft_log *l);
bool raft_log_has(const struct raft_log *l, log_index index);     /* start <= index <= last */
term_no raft_log_term(const struct raft_log *l, log_index index); /* has(index) */
bool raft_log_matches(const struct raft_log *l, log_index index, term_no t); /* any index */

/* Whether an entry of this term and index comes before the end of the log: whoever ends there is
 * behind us (5.4.1). */
bool raft_log_is_newer(const struct raft_log *l, log_index last, term_no last_term);

/* The last index, not above `from`, of an entry whose term is not above `term`; start if there is
 * none. A conflict is passed over a whole term at a time with it (5.3, end). */
log_index raft_log_back_up(const struct raft_log *l, log_index from, term_no term);

/* Bytes of the entries after `after` up to `to`, overhead included. start <= after <= to <= last.
 */
uint64_t raft_log_bytes(const struct raft_log *l, log_index after, log_index to);

/* How many entries after `after` make a message: at most count_max and bytes_max, but at least one
 * if there is one. */
size_t raft_log_batch(const struct raft_log *l, log_index after, uint64_t bytes_max,
                      size_t count_max);

void raft_log_append(struct raft_log *l, term_no term, size_t data_length);
void raft_log_truncate(struct raft_log *l, log_index from); /* start < from <= last + 1 */
void raft_log_compact(struct raft_log *l, log_index index); /* start <= index <= durable */
/* An installed snapshot: no entry is left, and nothing pending vouches for anything more. */
void raft_log_reset(struct raft_log *l, log_index index, term_no term);
/* All that there is, is durable: after a restart. */
void raft_log_restored(struct raft_log *l);

/* Gives out the next write, which makes the log as it is now durable. */
uint64_t raft_log_write(struct raft_log *l, time_ms now);
/* False: no such write was given out. */
bool raft_log_written(struct raft_log *l, uint64_t seq);
/* Since when the oldest pending write is under way; false: none is. */
bool raft_log_pending_since(const struct raft_log *l, time_ms *ret_since_ms);

void raft_log_check(const struct raft_log *l); /* O(n) */

#endif
