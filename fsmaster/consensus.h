/* Consensus: a log of entries that every member applies in the same order, and the proof that a
 * read is up to date (DESIGN 5). One interface, two makings: consensus_single.c is a cluster of one
 * member; Raft takes its place without change to the callers. It knows nothing of files: entries
 * are bytes, and what they do is the machine's business.
 *
 * Threads: every function here is for the owner thread, and every callback says its thread. What
 * blocks runs on threads of the consensus: one writes the log, one applies.
 *
 *     owner: consensus_propose(c, &p)          any number while a flush is in flight
 *     log thread: append and sync them all     one flush for all of them (group commit)
 *     apply thread: machine->apply(entries)    one batch of the state, many entries
 *     owner: machine->applied(outcome)         which completes the proposals: p->done(p, 0, result)
 *
 * An entry is applied only when it is durable on a majority, and completed only when it is applied.
 * Code 0 and the machine's result are definite. So is every refusal except ERR_UNKNOWN, which says
 * that the entry may yet be applied (leadership was lost on the way). */
#ifndef FSMASTER_CONSENSUS_H
#define FSMASTER_CONSENSUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/limits.h"
#include "common/list.h"

struct mailbox;
struct metrics;
struct workpool;
struct consensus;

/* ---- Proposals and reads -------------------------------------------------------------------- */

/* Lives in the proposer's struct until done, which runs once on the owner, never before
 * consensus_propose() has returned. */
struct proposal {
    struct span bytes; /* the entry, at most LOG_ENTRY_BYTES_MAX; borrowed until done */
    /* code 0: applied here; result is the machine's and lives until done returns. ERR_NOT_LEADER,
     * ERR_BUSY, ERR_NO_SPACE, ERR_TOO_LARGE: it never will be. ERR_UNKNOWN. */
    void (*done)(struct proposal *p, int code, const void *result);
    int refusal;           /* private: code of a refused one on its way to done */
    struct list link;      /* private */
    struct proposal *next; /* for the machine, between apply and applied */
};

/* A linearizable read may be done on the state as of any moment after done with code 0. */
struct read_index {
    void (*done)(struct read_index *r, int code); /* owner; may run before the ask returns */
    struct list link;                             /* private */
};

/* ---- The machine ---------------------------------------------------------------------------- */

struct consensus_entry {
    log_index index;
    term_no term;
    struct span bytes;         /* empty: a leader's first entry, which changes nothing */
    struct proposal *proposal; /* proposed here and waiting; NULL at replay and on other members */
};

struct consensus_status {
    bool is_leader;    /* this member leads and has applied an entry of its own term */
    term_no term;      /* current */
    log_index applied; /* this member's */
    log_index last;    /* of its durable log */
    char leader[LIMIT_ADDRESS_BYTES_MAX]; /* address to go to; "" when not known */
};

/* What is replicated. All of one member's calls to apply come from one thread, in order. */
struct consensus_machine {
    void *ctx;       /* of apply and persist */
    void *owner_ctx; /* of the callbacks on the owner */
    /* Apply thread. Applies the entries and commits them together with the index of the last one.
     * *ret_outcome goes to applied(). An error stops the member: state never goes on by guessing.
     */
    int (*apply)(void *ctx, const struct consensus_entry *entries, size_t count, void **ret_outcome,
                 struct err *e);
    /* Owner. Takes the outcome; calls done of each proposal in it, in order. */
    void (*applied)(void *ctx, void *outcome);
    /* A worker, beside apply. Makes the state durable and reads back up to where it is. */
    int (*persist)(void *ctx, log_index *ret_index, struct err *e);
    /* Owner. Role, term or leader changed; also when a start has completed. */
    void (*changed)(void *ctx, const struct consensus_status *status);
    /* Owner. The log or the state cannot go on: the process must stop. Nothing in flight is
     * acknowledged any more. */
    void (*failed)(void *ctx, const struct err *e);
};

/* ---- Life ----------------------------------------------------------------------------------- */

struct consensus_options {
    const char *directory;  /* of the log; exists */
    const char *address;    /* own, for the leader's hint */
    log_index applied;      /* where the machine's state stands */
    uint64_t segment_bytes; /* 0: LOG_SEGMENT_BYTES; tests use small ones */
    uint64_t persist_bytes; /* of log between two persists; 0: LOG_PERSIST_BYTES */
    struct consensus_machine machine;
    struct mailbox *owner;
    struct workpool *workers; /* for persist */
    struct metrics *metrics;  /* NULL: none */
};

/* Opens the log and begins to replay what the machine does not have yet; machine.changed() follows
 * when this member leads. ERR_CORRUPT: damaged log, or a gap between it and the state. */
int consensus_start(const struct consensus_options *options, struct consensus **ret_consensus,
                    struct err *e) MUST_CHECK;

/* Nothing more is accepted (ERR_NOT_LEADER); what is in flight goes on. */
void consensus_close(struct consensus *c);
bool consensus_idle(const struct consensus *c); /* nothing is in flight */
/* Closed and idle before. Persists the state, so that the next start replays nothing. */
void consensus_free(struct consensus *c); /* accepts NULL */

/* ---- Verbs ---------------------------------------------------------------------------------- */

void consensus_propose(struct consensus *c, struct proposal *p);
void consensus_read_index(struct consensus *c, struct read_index *r);
struct consensus_status consensus_status(const struct consensus *c);

/* To be called about every 100 ms. */
void consensus_tick(struct consensus *c, time_ms now);

#endif
