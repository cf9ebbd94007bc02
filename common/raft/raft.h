/* Raft: agreement on a log, as a library that decides and does nothing (DESIGN 5). An event and the
 * time go in, effects come out; disk, network, clock and threads are the caller's. So what is
 * simulated from a seed (tests/sim) is what ships.
 *
 * One owner thread per struct raft. References of the form (5.4.2) are to Ongaro and Ousterhout,
 * "In Search of an Understandable Consensus Algorithm", USENIX ATC 2014; those with a D, such as
 * (D 4.2.3), to Ongaro's dissertation; P4 is a pitfall of docs/raft-tests.md. README.md draws the
 * states and gives an order of reading.
 *
 * The contract. After each raft_step() the caller carries out the update, in this order:
 *
 *   1. `send`: these messages may go at once, before anything of this update is on disk. A leader's
 *      entries go to its followers while its own disk is still writing them (D 10.2.1).
 *   2. `write`: hard state, truncation and entries go to the log store, in this order, then a sync.
 *      Several updates may share one sync, but they are written in the order of their numbers.
 *   3. `send_after`: these messages promise what is on disk. They go only when every write with a
 *      number up to `after_seq` is durable, then in the order in which they came out.
 *   4. Then the caller gives a RAFT_WRITTEN event with the number. A leader's own disk counts
 * towards commit only by this; nothing is applied by a member whose own disk does not have it.
 *   5. `commit`: entries up to this index are applied, in order. It never falls.
 *
 * A failed write ends the member: stop the process (a disk that is full is a failed write, unless
 * the caller keeps room for entries in hand). A lost message is nothing: everything is sent again.
 *
 * What an update points to lives until the next raft_step(), with the bytes of a LOG_ENTRY_CONFIG
 * that a RAFT_CHANGE has made. All other bytes of entries belong to whoever made the event: keep
 * them until their write is durable. Messages that go out name entries by index; the caller fills
 * in the bytes, from memory or from the log store (struct raft_append).
 *
 * Safety assumes honest members (no forged messages: the transport knows its peers) and a disk that
 * keeps what it has synced, or says that it lost it (log_store.h). */
#ifndef COMMON_RAFT_RAFT_H
#define COMMON_RAFT_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/ids.h"
#include "common/raft/log_entry.h"
#include "common/raft/log_format.h" /* struct log_hard_state */
#include "common/raft/raft_config.h"

struct raft;

/* ---- Messages ------------------------------------------------------------------------------- */

enum raft_message_kind {
    RAFT_APPEND = 1, /* leader: entries, or none: a heartbeat (5.2, 5.3) */
    RAFT_APPEND_REPLY = 2,
    RAFT_VOTE = 3, /* candidate, or would-be candidate: pre (5.2, D 9.6) */
    RAFT_VOTE_REPLY = 4,
    RAFT_SNAPSHOT = 5, /* leader: one piece of a snapshot (D 5.2) */
    RAFT_SNAPSHOT_REPLY = 6,
    RAFT_TIMEOUT_NOW = 7, /* leader: campaign at once (D 3.10) */
};

/* Entries prev_index + 1 ... prev_index + count. */
struct raft_append {
    log_index prev_index;
    term_no prev_term;
    log_index commit; /* leader's */
    uint64_t round;   /* of read index; comes back in the reply (D 6.4) */
    size_t count;
    const struct log_entry *entries; /* going out: NULL, the caller fills in what its log has at
                                        these indexes as of this update; coming in: count of them */
};

struct raft_append_reply {
    bool ok;
    uint64_t round;       /* of the message that this answers */
    log_index match;      /* ok: durable here and equal to the leader's log up to this index */
    log_index prev_index; /* of the message that this answers: an old refusal is known by it */
    log_index hint_index; /* refused: try from after this one, where the follower's log has ... */
    term_no hint_term;    /* ... this term: one refusal passes over a whole term (5.3, end) */
};

struct raft_vote {
    log_index last_index; /* last entry that is durable at the candidate (5.4.1, P4) */
    term_no last_term;
    bool pre;      /* would you vote for me? term is the one that I would have */
    bool transfer; /* the leader asked for this election: do not protect it (D 4.2.3) */
};

struct raft_vote_reply {
    bool granted;
    bool pre;
};

/* A snapshot is a string of bytes that its maker and its receiver know how to read. */
struct raft_snapshot {
    log_index index;   /* the state after this entry ... */
    term_no last_term; /* ... of this term */
    uint64_t offset;   /* of data in the whole */
    uint64_t bytes;    /* length of the whole */
    struct span data; /* going out: empty, the caller fills in at most piece_bytes from offset on */
};

struct raft_snapshot_reply {
    log_index index; /* of the snapshot */
    uint64_t offset; /* the receiver has all bytes before this one: go on from here */
    bool installed;  /* or not needed: its log reaches beyond index */
    bool refused;    /* damaged, or no room: begin again later */
};

struct raft_message {
    enum raft_message_kind kind;
    raft_key from;
    raft_key to;
    term_no term;
    union {
        struct raft_append append;
        struct raft_append_reply append_reply;
        struct raft_vote vote;
        struct raft_vote_reply vote_reply;
        struct raft_snapshot snapshot;
        struct raft_snapshot_reply snapshot_reply;
    };
};

/* ---- Events --------------------------------------------------------------------------------- */

enum raft_event_kind {
    RAFT_TICK = 1,        /* time has passed; wanted at raft_next_ms(), harmless at any time */
    RAFT_RECEIVE,         /* message */
    RAFT_PROPOSE,         /* entries of type LOG_ENTRY_COMMAND */
    RAFT_WRITTEN,         /* writes up to seq are durable */
    RAFT_READ,            /* a linearizable read waits; answered through update.read */
    RAFT_CHANGE,          /* of the membership */
    RAFT_TRANSFER,        /* hand leadership to peer, or to the best one: 0 */
    RAFT_UNREACHABLE,     /* messages to peer are being lost: send no more than one at a time */
    RAFT_SNAPSHOT_MADE,   /* snapshot: this one can be sent from now on; index 0: it is gone */
    RAFT_SNAPSHOT_STORED, /* of the piece in the last update: snapshot.offset is what is held now */
    RAFT_INSTALLED,       /* the state and the log now begin after snapshot; config is its own */
    RAFT_COMPACTED,       /* the log store has cut its log: log_store_start() is snapshot.index */
};

enum raft_change { RAFT_ADD_LEARNER = 1, RAFT_PROMOTE, RAFT_REMOVE };

struct raft_event {
    enum raft_event_kind kind;
    time_ms now_ms; /* monotonic; never falls from event to event */
    union {
        const struct raft_message *message;
        struct {
            struct log_entry *entries; /* index and term are filled in, in place, when accepted */
            size_t count;
        } propose;
        struct {
            uint64_t seq;
        } written;
        struct {
            enum raft_change change;
            struct raft_member member; /* promote, remove: key alone */
        } change;
        raft_key peer; /* transfer, unreachable */
        struct {
            log_index index;
            term_no last_term;
            uint64_t bytes;  /* made */
            uint64_t offset; /* stored */
            bool failed;     /* stored, installed: damaged or no room; the leader begins again */
            const struct raft_config *config; /* installed */
            log_index config_index;           /* of the entry that it came from */
        } snapshot;
    };
};

/* ---- Updates -------------------------------------------------------------------------------- */

struct raft_update {
    const struct raft_message *send; /* 1 */
    size_t send_count;

    struct {
        uint64_t seq; /* 2: rises by one; 0: nothing to write */
        bool has_hard;
        struct log_hard_state hard;
        log_index truncate; /* entries from here on go first; 0: none */
        const struct log_entry *entries;
        size_t count;
    } write;

    const struct raft_message *send_after; /* 3 */
    size_t send_after_count;
    uint64_t after_seq; /* 0 only when nothing was ever written: they may go at once */

    log_index commit; /* 5: as of now, not a change */

    /* Reads: those that were given before an answer carries round R may be done once the state has
     * applied read.index. READ's own return value is not enough. */
    struct {
        uint64_t asked;  /* after RAFT_READ: the round that this read belongs to */
        uint64_t done;   /* all rounds up to this one are confirmed; never falls in a term */
        log_index index; /* of round `done` */
    } read;

    /* Snapshots. */
    bool want_snapshot;                  /* leader: make one soon, then RAFT_SNAPSHOT_MADE */
    const struct raft_snapshot *store;   /* keep this piece, then RAFT_SNAPSHOT_STORED; a piece at
                                            offset 0 begins anew */
    const struct raft_snapshot *install; /* all pieces are stored: when every write so far is
                                            durable, validate, make it the state, reset the log to
                                            (index, last_term), durably; then RAFT_INSTALLED, also
                                            when that failed. No entries are written meanwhile */
    log_index keep; /* the log is wanted from after this index (peers behind, a snapshot on its
                       way); a wish, which the caller bounds */

    bool changed; /* raft_status() differs from before in more than indexes of the log */
};

/* ---- Life ----------------------------------------------------------------------------------- */

struct raft_options {
    raft_key self;
    uint64_t seed; /* of election timeouts; different in each member */
    time_ms now_ms;
    struct log_hard_state hard; /* log_store_hard() */
    log_index start_index;      /* log_store_start() and its term: the entry before the log */
    term_no start_term;
    log_index applied;         /* where the state stands: start_index or later */
    struct raft_config config; /* as of applied: from the state; count 0: none yet */
    log_index config_index;    /* of the entry that it came from; 0: none yet */

    uint32_t heartbeat_ms;          /* leader's; 0: RAFT_HEARTBEAT_MS */
    uint32_t election_ms;           /* timeouts are drawn from [this, twice this); 0: default */
    uint32_t disk_hung_ms;          /* a leader whose write takes longer steps down; 0: default */
    uint32_t append_bytes_max;      /* of data in one message, but at least one entry; 0: default */
    uint32_t inflight_count_max;    /* unanswered APPENDs to one peer; 0: default */
    uint32_t piece_bytes;           /* of a snapshot in one message; 0: default */
    uint64_t uncommitted_bytes_max; /* proposals beyond it get ERR_BUSY; 0: default */
    bool lease_reads;               /* trust clocks to run at one rate (D 6.4.1); off */
    bool founder;                   /* has just founded the cluster: campaigns at once */
};

/* A member as it was when it stopped. Every entry of its log after start_index must then be given
 * to raft_restore(), in order, before the first step. ERR_INVALID: options that contradict one
 * another. Release with raft_free(). */
int raft_new(const struct raft_options *options, struct raft **ret_raft, struct err *e) MUST_CHECK;
/* ERR_CORRUPT: not the next index, a falling term, an unreadable configuration. */
int raft_restore(struct raft *r, const struct log_entry *entry, struct err *e) MUST_CHECK;
void raft_free(struct raft *r); /* accepts NULL */

/* 0, or why the event was refused; *ret_update is valid in any case. PROPOSE, READ, CHANGE and
 * TRANSFER: ERR_NOT_LEADER, ERR_BUSY (too much uncommitted; a change or transfer under way; no
 * entry of this term committed yet, D 4.1 and 6.4; a learner that is still far behind), ERR_EXISTS,
 * ERR_NOT_FOUND, ERR_INVALID. RECEIVE: ERR_INVALID for what no honest member sends; nothing
 * changed. */
int raft_step(struct raft *r, const struct raft_event *event, struct raft_update *ret_update,
              struct err *e) MUST_CHECK;

time_ms raft_next_ms(const struct raft *r); /* when the next RAFT_TICK is wanted */

/* ---- Looking at it -------------------------------------------------------------------------- */

enum raft_role {
    RAFT_FOLLOWER = 1,
    RAFT_PRE_CANDIDATE,
    RAFT_CANDIDATE,
    RAFT_LEADER,
    RAFT_LEARNER, /* or not a member: not yet, or no more, and that is committed. Never campaigns */
};
const char *raft_role_name(enum raft_role role); /* "follower" */
struct raft_status {
    enum raft_role role;
    term_no term;
    raft_key leader; /* of this term, as far as known; 0: unknown */
    log_index commit;
    log_index last;
    log_index durable;      /* own disk's */
    log_index config_index; /* of the entry that made the configuration in force */
    bool config_committed;
    bool readable; /* leader: has committed an entry of its term */
};
struct raft_status raft_status(const struct raft *r);
const struct raft_config *
raft_configuration(const struct raft *r); /* in force: the newest in the log */

/* ERR_NOT_FOUND unless start <= index <= last. Memory only. */
int raft_term_at(const struct raft *r, log_index index, term_no *ret_term) MUST_CHECK;

enum raft_peer_state { RAFT_PEER_PROBE = 1, RAFT_PEER_REPLICATE, RAFT_PEER_SNAPSHOT };

struct raft_peer {
    raft_key key;
    enum raft_peer_state state;
    log_index match;          /* known durable at the peer */
    log_index next;           /* next entry to send */
    time_ms heard_ms;         /* last answer in this term; 0: none */
    uint64_t snapshot_offset; /* state SNAPSHOT: bytes that the peer has */
};
/* A leader's view of each other member; returns their count, 0 when not leading. */
size_t raft_peers(const struct raft *r, struct raft_peer ret_peers[RAFT_MEMBER_COUNT_MAX]);

/* Called for each decision: one line without a newline, for logs and transcripts. NULL: silent. */
typedef void (*raft_trace_fn)(void *arg, const char *line);
void raft_trace(struct raft *r, raft_trace_fn fn, void *arg);

#endif
