/* What the files of the Raft library share, and nobody else includes (tests of the library apart).
 * README.md says what each file decides. */
#ifndef COMMON_RAFT_RAFT_INTERNAL_H
#define COMMON_RAFT_RAFT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/raft/raft.h"
#include "common/raft/raft_log.h"
#include "common/rng.h"

/* Higher terms and indexes come from nobody honest: counting to them takes longer than the universe
 * has, and refusing them early keeps every sum below from overflowing. */
#define RAFT_NUMBER_MAX (UINT64_C(1) << 62)

/* ---- The state ---------------------------------------------------------------------------- */

/* The configuration in force is the newest in the log, committed or not (4.1). It can be truncated
 * away again, so the one before it is kept. One is enough: a leader adds a configuration only when
 * the one before is committed, and what is committed is never truncated. */
struct raft_membership {
    struct raft_config config;
    log_index index; /* of its entry; 0: none yet */
    bool has_previous;
    struct raft_config previous;
    log_index previous_index;
};

enum raft_ballot { RAFT_BALLOT_OPEN, RAFT_BALLOT_GRANTED, RAFT_BALLOT_REFUSED };

/* Pre-candidate and candidate. */
struct raft_campaign {
    enum raft_ballot ballots[RAFT_MEMBER_COUNT_MAX]; /* as config.members */
    bool transfer;                                   /* the leader asked for it (D 3.10) */
    uint64_t vote_seq; /* candidate: the write of its own vote, which counts when it is durable */
};

/* A leader's view of one other member. README.md draws the three states. */
struct raft_progress {
    enum raft_peer_state state;
    bool paused;     /* PROBE: one is under way; the next heartbeat shows whether it was lost */
    bool piece_sent; /* SNAPSHOT: a piece is under way, or was refused ... */
    time_ms piece_again_ms; /* ... and is sent again at this time */

    log_index match; /* known durable there; 0 at first */
    log_index next;  /* > match */
    uint64_t round;  /* highest that it has answered */
    time_ms heard_ms;

    log_index window[RAFT_INFLIGHT_COUNT_MAX]; /* REPLICATE: last index of each message under way */
    size_t window_first;
    size_t window_count;

    log_index snapshot_index; /* SNAPSHOT: the one that is being sent; 0: none yet */
    uint64_t offset;          /* bytes of it that the peer has */
};

struct raft_leadership {
    struct raft_progress peers[RAFT_MEMBER_COUNT_MAX]; /* as config.members; own one unused */
    log_index first;                                   /* of this term: the empty entry (5.4.2) */
    time_ms since_ms;
    time_ms heartbeat_at_ms; /* when the next one is due */

    /* Reads (D 6.4): round numbers go out with every message and come back in the answers. */
    bool read_waits; /* for a round after the one that is under way */
    time_ms round_ms;
    time_ms lease_ms;    /* lease_reads: no other leader before this time */
    bool lease_given_up; /* in this term: a transfer lets elections disregard it */

    raft_key transfer_to; /* 0: no transfer under way */
    bool transfer_asked;  /* it has been told to campaign, since the last heartbeat */
    time_ms transfer_until_ms;
};

/* Follower: a snapshot on its way in. It is known by sender and term too: two members' snapshots of
 * one index need not have equal bytes. */
struct raft_receiving {
    raft_key from; /* 0: none */
    term_no term;
    struct raft_snapshot snapshot; /* offset: bytes held; no data */
    bool storing;                  /* a piece is with the caller */
    bool installing;               /* the whole is with the caller */
};

struct raft_messages {
    struct raft_message *items;
    size_t count;
    size_t capacity;
};

/* What this step has decided so far; raft.c makes the update of it. */
struct raft_out {
    struct raft_messages send;
    struct raft_messages send_after;
    bool hard;
    log_index truncate; /* 0: nothing */
    struct log_entry *entries;
    size_t count;
    size_t capacity;
    struct buf config_bytes;           /* data of a LOG_ENTRY_CONFIG that this step has made */
    uint64_t asked;                    /* round of the read that this step has taken */
    const struct raft_snapshot *store; /* &piece or NULL */
    struct raft_snapshot piece;
    bool install;
};

struct raft {
    /* Settings. */
    raft_key self;
    struct raft_options options; /* with defaults filled in */
    raft_trace_fn trace;
    void *trace_arg;

    /* Of the paper's Figure 2: on every server, kept on disk. */
    struct log_hard_state hard; /* currentTerm, votedFor */
    uint64_t hard_seq;          /* the write that it went out with */
    struct raft_log log;
    struct raft_membership members;

    /* On every server, volatile. */
    enum raft_role role;
    raft_key leader;        /* of this term; 0: unknown */
    log_index commit;       /* commitIndex */
    log_index ready;        /* what the caller may apply: min(commit, own durable), never falls */
    time_ms now_ms;         /* of this event */
    time_ms election_at_ms; /* when a campaign begins unless a leader is heard */
    time_ms heard_ms;       /* the leader, last */
    struct rng rng;
    struct raft_receiving receiving;
    struct raft_snapshot snapshot; /* that can be sent; index 0: none */
    uint64_t round;                /* of reads, newest; rises over terms */
    uint64_t round_done;           /* confirmed */
    log_index round_index;         /* commit when `round` began */

    struct raft_campaign campaign; /* candidates */
    struct raft_leadership lead;   /* leader */

    struct raft_out out;
    struct raft_status told; /* as of the last update */
};

/* ---- raft.c: effects ---------------------------------------------------------------------- */

/* A message to `to` of the current term, zeroed beyond that, to be filled in. Valid until the next
 * one is made. */
struct raft_message *raft_send(struct raft *r, enum raft_message_kind kind, raft_key to);
struct raft_message *raft_send_after(struct raft *r, enum raft_message_kind kind, raft_key to);

void raft_set_hard(struct raft *r, term_no term, raft_key vote);
bool raft_term_is_durable(const struct raft *r);
/* To the end of the log, in memory and on its way to disk. */
void raft_append_entry(struct raft *r, const struct log_entry *entry);
void raft_truncate(struct raft *r, log_index from);

void raft_tell(const struct raft *r, const char *format, ...) ERR_PRINTF(2, 3);
uint64_t raft_name(const struct raft *r, raft_key key); /* the id of a member, for people */

/* ---- raft_election.c ---------------------------------------------------------------------- */

void raft_restart_timer(struct raft *r);
void raft_election_tick(struct raft *r);
void raft_campaign_begin(struct raft *r, bool pre, bool transfer);
void raft_campaign_count(struct raft *r); /* has it been won, or lost? */
bool raft_disk_is_hung(const struct raft *r);
/* A leader lives, as far as this member can know: nobody else is elected meanwhile (D 4.2.3). */
bool raft_leader_is_protected(const struct raft *r);
bool raft_is_electable(const struct raft *r); /* by the configuration */
bool raft_may_campaign(const struct raft *r); /* and by what else it does */
bool raft_is_alone(const struct raft *r);     /* the only voter, and may campaign */

void raft_become_follower(struct raft *r, term_no term, raft_key leader);
/* Follower or learner, or a candidate no longer, by the configuration in force. */
void raft_fit_role(struct raft *r);

/* ---- raft_replicate.c --------------------------------------------------------------------- */

void raft_lead_begin(struct raft *r);
void raft_lead_tick(struct raft *r);
void raft_step_down(struct raft *r, const char *why);
struct raft_progress *raft_progress_of(struct raft *r, raft_key key); /* NULL: no such peer */
void raft_progress_realign(struct raft *r, const struct raft_config *before);
void raft_progress_probe(struct raft_progress *p, log_index next);
void raft_progress_advance(struct raft_progress *p, log_index match);
void raft_replicate(struct raft *r); /* sends all that may be sent now */
void raft_heartbeat(struct raft *r); /* to all, whatever is under way */
log_index raft_keep(const struct raft *r);

/* ---- raft_send_snapshot.c ----------------------------------------------------------------- */

bool raft_snapshot_usable(const struct raft *r);
bool raft_snapshot_wanted(const struct raft *r);
void raft_send_piece(struct raft *r, size_t peer);
int raft_snapshot_made(struct raft *r, const struct raft_event *event, struct err *e) MUST_CHECK;

/* ---- raft_commit.c ------------------------------------------------------------------------ */

/* The highest value that a quorum of voters has reached. */
uint64_t raft_quorum_value(const struct raft *r, uint64_t (*value)(const struct raft *r, size_t i));
void raft_lead_commit(struct raft *r);             /* 5.3, 5.4.2 */
void raft_commit_to(struct raft *r, log_index to); /* never falls */
int raft_propose(struct raft *r, struct log_entry *entries, size_t count, struct err *e) MUST_CHECK;
bool raft_readable(const struct raft *r);

/* ---- raft_read.c -------------------------------------------------------------------------- */

int raft_read(struct raft *r, struct err *e) MUST_CHECK;
void raft_read_confirm(struct raft *r);
void raft_read_tick(struct raft *r);

/* ---- raft_member.c ------------------------------------------------------------------------ */

int raft_change(struct raft *r, const struct raft_event *event, struct err *e) MUST_CHECK;
/* A configuration is in force from the moment that it is in the log (4.1). */
void raft_config_adopt(struct raft *r, const struct raft_config *config, log_index index);
void raft_config_roll_back(struct raft *r, log_index from);
void raft_config_restart(struct raft *r, const struct raft_config *config, log_index index);
/* No honest leader makes us truncate from here. */
bool raft_config_forbids(const struct raft *r, log_index from);

/* ---- raft_transfer.c ---------------------------------------------------------------------- */

int raft_transfer(struct raft *r, raft_key to, struct err *e) MUST_CHECK;
void raft_transfer_go_on(struct raft *r);
void raft_transfer_tick(struct raft *r);
void raft_hand_over(struct raft *r); /* to the best one, when stepping down by choice */

/* ---- recv_*.c: one kind of message each --------------------------------------------------- */

/* raft_receive.c: addresses, numbers and terms (5.1), then the handler. */
int raft_receive(struct raft *r, const struct raft_message *m, struct err *e) MUST_CHECK;

/* ERR_INVALID for what no honest member sends; called before anything is changed. */
int raft_check_append(const struct raft *r, const struct raft_message *m, struct err *e) MUST_CHECK;
int raft_check_append_reply(const struct raft *r, const struct raft_message *m,
                            struct err *e) MUST_CHECK;
int raft_check_vote(const struct raft *r, const struct raft_message *m, struct err *e) MUST_CHECK;
int raft_check_snapshot(const struct raft *r, const struct raft_message *m,
                        struct err *e) MUST_CHECK;

/* The message is well-formed and of the current term (or a pre-vote). */
void raft_recv_append(struct raft *r, const struct raft_message *m);
void raft_recv_append_reply(struct raft *r, const struct raft_message *m);
void raft_recv_vote(struct raft *r, const struct raft_message *m);
void raft_recv_vote_reply(struct raft *r, const struct raft_message *m);
void raft_recv_snapshot(struct raft *r, const struct raft_message *m);
void raft_recv_snapshot_reply(struct raft *r, const struct raft_message *m);
void raft_recv_timeout_now(struct raft *r, const struct raft_message *m);

/* recv_snapshot.c: what the caller has done with it. */
int raft_snapshot_stored(struct raft *r, const struct raft_event *event, struct err *e) MUST_CHECK;
int raft_installed(struct raft *r, const struct raft_event *event, struct err *e) MUST_CHECK;

/* raft_check.c: every invariant that one member can see, under DCHECK. */
void raft_check(const struct raft *r);

#endif
