/* Consensus: a log of entries that every member applies in the same order, and the proof that a
 * read is up to date (DESIGN 5). It is Raft with a shell around it; docs/raft-shell.md says how. It
 * knows nothing of files: entries are bytes, and what they do is the machine's business.
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
#include "common/ident.h"
#include "common/ids.h"
#include "common/limits.h"
#include "common/list.h"
#include "common/raft/raft.h"

struct mailbox;
struct metrics;
struct raft_transport;
struct rpc_loop;
struct rpc_pool;
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
    log_index index;       /* private: of its entry, once it has one */
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
    enum log_entry_type type;  /* EMPTY changes nothing; CONFIG is to be kept as it is */
    struct span bytes;         /* of a command, or raft_config_encode() */
    struct proposal *proposal; /* proposed here and waiting; NULL at replay and on other members */
};

/* Where a state stands. */
struct consensus_position {
    log_index index; /* of the last applied entry; 0: none */
    term_no term;
    struct raft_config config; /* the newest applied; count 0: none */
    log_index config_index;
};

struct consensus_status {
    bool is_leader;    /* this member leads and has applied an entry of its own term */
    bool is_formed;    /* it is of a cluster: a configuration stands in its log or state */
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
    /* A worker, beside apply. Makes a copy of the state in a directory that does not exist. */
    int (*checkpoint)(void *ctx, const char *directory, struct err *e);
    /* Any thread. Opens such a copy and says where it stands; ERR_CORRUPT. */
    int (*inspect)(void *ctx, const char *directory, struct consensus_position *ret, struct err *e);
    /* Apply thread, and nobody reads. Such a copy, checked and durable, becomes the state, which
     * then stands at index; after a crash it is the one or the other. */
    int (*install)(void *ctx, const char *directory, log_index index, struct err *e);
    /* Owner. That has happened: everything known of the state is to be read again. */
    void (*installed)(void *ctx);
    /* Owner, before anything of the cluster is promised: the data directory is bound to it,
     * durably. */
    int (*adopt)(void *ctx, struct cluster_id cluster, struct err *e);
    /* Owner. Role, term or leader changed; also when a start has completed. */
    void (*changed)(void *ctx, const struct consensus_status *status);
    /* Owner. The log or the state cannot go on: the process must stop. Nothing in flight is
     * acknowledged any more. */
    void (*failed)(void *ctx, const struct err *e);
};

/* ---- Life ----------------------------------------------------------------------------------- */

/* A member as --peers names it. */
struct consensus_peer {
    uint64_t id;
    char address[LIMIT_ADDRESS_BYTES_MAX];
};

struct consensus_options {
    const char *directory;         /* of the log; exists */
    const char *scratch;           /* for snapshots on their way; on the file system of the state */
    uint64_t id;                   /* own; not 0 */
    struct member_key key;         /* of the data directory */
    const char *address;           /* own, as others reach it */
    struct cluster_id cluster;     /* that the directory is bound to; unknown: none */
    struct cluster_id new_cluster; /* id that a cluster formed here gets; unknown: a random one */
    const struct consensus_peer *peers; /* that may form a cluster, self included; for the start */
    size_t peer_count;                  /* 0: a cluster of one */
    struct consensus_position position; /* where the machine's state stands */
    uint64_t segment_bytes;             /* 0: LOG_SEGMENT_BYTES; tests use small ones */
    uint64_t keep_bytes;                /* of log for peers that are behind; 0: the default */
    uint64_t persist_bytes;             /* of log between two persists; 0: LOG_PERSIST_BYTES */
    uint32_t heartbeat_ms;              /* 0: the library's */
    uint32_t election_ms;               /* 0: the library's */
    struct consensus_machine machine;
    struct mailbox *owner;
    struct workpool *workers;         /* for persist and snapshots; all readers of the state */
    struct raft_transport *transport; /* NULL: a cluster of one that stays one */
    struct rpc_loop *loop;            /* to ask peers who they are; NULL like transport */
    struct rpc_pool *pool;            /* likewise */
    struct metrics *metrics;          /* NULL: none */
};

/* Opens the log, forms a cluster where that is due, and begins to apply what the machine does not
 * have yet; machine.changed() follows with each change. ERR_CORRUPT: damaged log, or a gap between
 * it and the state. Strings are copied. */
int consensus_start(const struct consensus_options *options, struct consensus **ret_consensus,
                    struct err *e) MUST_CHECK;

/* Nothing more is accepted (ERR_NOT_LEADER); what is in flight goes on. A leader hands over first,
 * if there is somebody. */
void consensus_close(struct consensus *c);
/* Closed, and still leading for a little while. */
bool consensus_hands_over(const struct consensus *c);
bool consensus_idle(const struct consensus *c); /* closed, and nothing is in flight */
/* Closed and idle before. Persists the state, so that the next start replays nothing. */
void consensus_free(struct consensus *c); /* accepts NULL */

/* ---- Offline ---------------------------------------------------------------------------------
 */

/* A member that is to go on without the others, whose quorum is lost for good. */
struct consensus_alone {
    const char *directory;              /* of the log; exists */
    struct consensus_position position; /* of the state */
    bool begin_log;          /* there is no log yet: it begins behind that position (a backup) */
    struct raft_member self; /* address "": as in the newest configuration */
    uint64_t segment_bytes;  /* 0: the default */
    term_no term; /* of the two entries below, above seen_term; 0: only look, change nothing */
    struct span command; /* entry for the machine, behind the configuration of this one member */
};

struct consensus_alone_report {
    log_index last; /* entry of the log as it was found */
    term_no last_term;
    term_no seen_term;         /* the highest that this member knows of */
    struct raft_config config; /* in force */
};

/* Blocks on the disk; nobody else uses the directory. After a crash the member is as before, or
 * alone. ERR_CORRUPT as consensus_start(). */
int consensus_alone(const struct consensus_alone *options, struct consensus_alone_report *ret,
                    struct err *e) MUST_CHECK;

/* ---- Verbs ---------------------------------------------------------------------------------- */

void consensus_propose(struct consensus *c, struct proposal *p);
void consensus_read_index(struct consensus *c, struct read_index *r);
struct consensus_status consensus_status(const struct consensus *c);

/* To be called at consensus_next_ms(), and harmless at any time. */
void consensus_tick(struct consensus *c, time_ms now);
time_ms consensus_next_ms(const struct consensus *c);

/* The state is being replaced: who reads it must not begin to. */
bool consensus_is_installing(const struct consensus *c);

/* ---- Members --------------------------------------------------------------------------------- */

/* What this member answers when it is asked who it is. */
bool consensus_is_empty(const struct consensus *c);

struct consensus_member {
    struct raft_member member;
    const char *address; /* where it is reached: --peers goes before the configuration */
    bool is_self;
    bool is_leader;
    bool known;            /* the rest is: this member leads, or is_self */
    struct raft_peer peer; /* of self: match alone */
};

struct consensus_group {
    enum raft_role role;
    struct raft_status raft;
    log_index first; /* of the log */
    struct cluster_id cluster;
    struct consensus_member members[RAFT_MEMBER_COUNT_MAX];
    size_t member_count;
    time_ms now_ms;
};
void consensus_group(const struct consensus *c, struct consensus_group *ret);

/* A change of members. done comes once, on the owner: 0 when it is committed, with the index of its
 * entry; else ERR_* of raft_step(), ERR_UNKNOWN: it may still happen. Not before this returns. */
struct consensus_change {
    enum raft_change kind;
    struct raft_member member; /* promote, remove: key alone */
    void (*done)(struct consensus_change *change, int code, const char *text);
    log_index index;    /* of its entry */
    time_ms give_up_ms; /* private */
    struct list link;   /* private */
    struct err err;     /* private */
};
void consensus_change(struct consensus *c, struct consensus_change *change);

/* key 0: to whoever is closest. 0: it has begun. */
int consensus_transfer(struct consensus *c, raft_key key, struct err *e) MUST_CHECK;

#endif
