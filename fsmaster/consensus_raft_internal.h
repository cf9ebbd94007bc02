/* What the files of the shell share: the owner's state of one member. docs/raft-shell.md has the
 * picture. Nobody else includes it.
 *
 *   consensus_raft.c           start, raft_step() and its updates, proposals, reads, ticks
 *   consensus_raft_log.c       work for the log thread
 *   consensus_raft_alone.c     offline: a member that goes on alone
 *   consensus_raft_apply.c     committed entries to the machine; persisting; cutting the log
 *   consensus_raft_form.c      the first configuration
 *   consensus_raft_member.c    peers' addresses, changes of members, what an operator sees
 *   consensus_raft_snapshot.c  snapshots, sent and received */
#ifndef FSMASTER_CONSENSUS_RAFT_INTERNAL_H
#define FSMASTER_CONSENSUS_RAFT_INTERNAL_H

#include "common/disk.h"
#include "common/metrics.h"
#include "common/raft/log_store.h"
#include "common/raft/raft.h"
#include "common/workpool.h"
#include "fsmaster/consensus.h"
#include "fsmaster/entry_cache.h"

enum {
    APPLIES_MAX = 2,        /* batches that wait for or are in apply */
    APPLY_LATE_COUNT = 256, /* entries that a follower applies only after its write in flight */
    BATCH_COUNT_MAX = 4096, /* entries of one proposal to Raft, and of one batch */
    PROPOSE_BYTES_MAX = 1 << 20, /* of one proposal to Raft, but at least one entry */
    QUEUE_COUNT_MAX = 32768,     /* proposals that wait for a flush; then ERR_BUSY */
    FETCH_BYTES = 1024 * 1024,   /* of the log at a time */
    SNAPSHOT_PIECE_BYTES = 512 * 1024,
};

/* Metrics; all NULL when nobody wants them. */
struct gauges {
    struct histogram *sync;  /* append and sync of one flush */
    struct histogram *apply; /* one batch */
    struct counter *entries, *batches, *bytes, *flushes, *elections, *read_rounds;
    struct gauge *queued, *commit, *applied, *log_bytes_cached;
};

/* ---- Log thread ------------------------------------------------------------------------------ */

/* What one or more updates write, in order: first the truncation, then hard state and entries. */
struct write_step {
    log_index truncate; /* 0: none */
    bool has_hard;
    struct log_hard_state hard;
    size_t first; /* entries of the job's run */
    size_t count;
};

/* Everything that waits for one sync. */
struct log_write {
    struct job job;
    struct consensus *c;
    struct write_step *steps;
    size_t step_count;
    size_t step_capacity;
    struct entry_run run;
    uint64_t seq; /* of the last update in it */
    int code;
    struct err err;
    uint64_t us;
};

/* Entries read from the log. Embedded in whoever wants them. */
struct log_fetch {
    struct job job;
    struct consensus *c;
    log_index from;
    size_t count; /* wanted */
    size_t bytes_max;
    struct entry_run run; /* found: a prefix of them, at least one unless code < 0 */
    int code;             /* ERR_NOT_FOUND: cut, or truncated */
    struct err err;
    void (*done)(struct log_fetch *fetch); /* owner; owns run */
};

enum upkeep_kind { UPKEEP_TICK, UPKEEP_CUT, UPKEEP_RESET, UPKEEP_FORM };

/* The other work of the log thread, one at a time of each struct. */
struct upkeep {
    struct consensus *c;
    struct job job;
    bool busy;
    enum upkeep_kind kind;
    log_index index;            /* cut up to here, reset to here, entry formed */
    term_no term;               /* likewise */
    log_index keep;             /* cut: not beyond this, unless the log grew too large */
    struct log_hard_state hard; /* form */
    struct buf config;          /* form: bytes of the entry */
    log_index start;            /* result: log_store_start() and its term */
    term_no start_term;
    bool low_space; /* result */
    int code;
    struct err err;
};

/* ---- The member ------------------------------------------------------------------------------ */

enum form_state {
    FORM_NONE,    /* nothing to do: a configuration is there, or will come from others */
    FORM_ASKING,  /* of the peers, who they are */
    FORM_WRITING, /* entry 1 */
};

struct form_question; /* consensus_raft_form.c */

/* A message that must wait for what is written before it. */
struct held_message {
    struct raft_message message;
    uint64_t after_seq;
};

struct snapshots; /* consensus_raft_snapshot.c */

struct consensus {
    struct consensus_options options; /* its strings and peers are the next ones */
    char *directory;
    char address[LIMIT_ADDRESS_BYTES_MAX];
    struct consensus_peer *peers; /* copied, sorted by id */
    struct cluster_id cluster;    /* bound to; unknown: to none */
    raft_key self;

    struct raft *raft;
    struct raft_status status;
    bool stepping; /* inside raft_step() and the update that it gave */
    bool told;     /* machine.changed() was called at least once */
    bool leading;  /* as it was told */
    bool closed;   /* nothing new is accepted */
    bool quiet;    /* and Raft runs no more */
    bool broken;
    log_index commit;
    log_index keep;

    struct disk *disk;
    struct log_store *log; /* log thread, once started */
    struct workpool *log_pool;
    struct workpool *apply_pool;
    struct strand apply_strand;
    unsigned jobs; /* on the log thread and of snapshots on workers, whose done has not come */

    bool writing;              /* a write of the log is in flight */
    struct log_write *pending; /* writes that wait for it; NULL: none */
    struct entry_cache cache;
    uint64_t durable_seq;      /* every update up to this one is durable */
    struct held_message *held; /* ring-less queue: [held_head, held_head + held_count) */
    size_t held_head;
    size_t held_count;
    size_t held_capacity;

    struct list queue; /* proposals without an entry */
    size_t queue_count;
    size_t queue_bytes;
    struct list proposing; /* of them those that raft_step() is deciding about */
    struct list waiting;   /* proposals with an entry that is not given to apply yet, by index */
    struct list refused;   /* proposals that get their refusal at the next turn */
    struct mail turn_mail;
    bool turn_posted;

    bool reading;              /* a round is being asked for */
    struct list reads_new;     /* for the next round */
    struct list reads_asked;   /* in the round in flight */
    struct list reads_applied; /* confirmed; wait until the state has applied reads_index */
    uint64_t read_round;       /* in flight; 0: none */
    uint64_t read_done;
    log_index read_index; /* of read_done */
    log_index reads_index;

    log_index given; /* to apply */
    log_index applied;
    term_no applied_term;
    unsigned applying;
    bool fetching; /* entries for apply, from the log */
    bool installing;

    uint64_t unpersisted_bytes; /* of log, applied since the last persist began */
    struct upkeep persist;      /* on a worker */
    struct upkeep upkeep;       /* on the log thread: tick and cut */
    struct upkeep forming;      /* on the log thread: the first entry */
    log_index log_start;        /* as the library knows it */
    time_ms ticked_ms;
    time_ms log_ticked_ms;
    uint64_t write_begun_ms; /* of the flush in flight */
    bool cut_due;            /* persist.index says how far */
    bool low_space;
    bool hung_told;

    enum form_state form;
    struct form_question *questions; /* one for each other peer */
    time_ms form_next_ms;
    time_ms form_told_ms;

    struct list changes; /* struct consensus_change under way */
    time_ms close_by_ms; /* then it is quiet whoever leads */

    struct snapshots *snapshots;
    struct gauges gauges;
};

/* ---- consensus_raft.c ---- */

/* Stops the member: nothing in flight is acknowledged any more. */
void consensus_fail(struct consensus *c, const struct err *e);
/* Gives the event to the library and carries out what it says. Not from inside itself. */
int consensus_step(struct consensus *c, struct raft_event *event, struct err *e);
/* A new struct raft on what log and state hold; replaces the old one. Blocks on the disk. */
int consensus_raft_new(struct consensus *c, struct err *e) MUST_CHECK;
/* The same after the first entry was written, which is all that the log has. */
int consensus_raft_reborn(struct consensus *c, const struct log_hard_state *hard,
                          const struct log_entry *entry, struct err *e) MUST_CHECK;
void consensus_propose_next(struct consensus *c);
void consensus_reads_settle(struct consensus *c);
/* Role, leader or leadership may have changed. */
void consensus_look(struct consensus *c);

/* ---- consensus_raft_log.c ---- */

void consensus_job_start(struct consensus *c, struct workpool *pool, struct job *job);
void consensus_job_end(struct consensus *c);
void log_queue_write(struct consensus *c, const struct raft_update *u);
void log_write_next(struct consensus *c);
void log_fetch_start(struct consensus *c, struct log_fetch *fetch);
void log_upkeep_start(struct consensus *c, struct upkeep *u, enum upkeep_kind kind,
                      void (*done)(struct job *));
int log_open(struct consensus *c, struct err *e) MUST_CHECK;
/* Whether log and state fit together, or can be made to: docs/raft-shell.md, "State and log at
 * start". */
int log_reconcile(struct log_store *log, const struct consensus_position *at,
                  struct err *e) MUST_CHECK;
/* Whether any entry is a configuration. Blocks; before the log thread runs. */
int log_has_config(struct consensus *c, bool *ret_has, struct err *e) MUST_CHECK;
/* Messages that waited for writes which are durable now. */
void log_release_held(struct consensus *c);
void log_hold_messages(struct consensus *c, const struct raft_update *u);
void log_free(struct consensus *c);

/* ---- consensus_raft_apply.c ---- */

void apply_next(struct consensus *c);
void apply_tick(struct consensus *c, time_ms now); /* persist, cut, tick of the log */

/* ---- consensus_raft_form.c ---- */

int form_start(struct consensus *c, struct err *e) MUST_CHECK;
void form_tick(struct consensus *c, time_ms now);
bool form_idle(const struct consensus *c);
void form_free(struct consensus *c);

/* ---- consensus_raft_member.c ---- */

/* The configuration in force may have changed: who is reached where. */
void members_follow(struct consensus *c);
const char *members_address(const struct consensus *c, raft_key key); /* NULL: not known */
void members_tick(struct consensus *c, time_ms now);
void members_settle(struct consensus *c); /* changes that are decided */
void members_fail(struct consensus *c, int code);

/* ---- consensus_raft_snapshot.c ---- */

int snapshots_init(struct consensus *c, const char *scratch, struct err *e) MUST_CHECK;
void snapshots_free(struct consensus *c);
bool snapshots_idle(const struct consensus *c);
void snapshots_update(struct consensus *c, const struct raft_update *u);
/* A piece of what was made: filled in and sent by a worker. */
void snapshots_send(struct consensus *c, const struct raft_message *message);
void snapshots_next(struct consensus *c); /* an install may begin now */
void snapshots_tick(struct consensus *c, time_ms now);
/* The log is not to be cut beyond this while a snapshot is made. */
log_index snapshots_hold(const struct consensus *c);

#endif
