/* One struct raft, member 1 of a cluster that is the test: each event is given by hand, and the
 * update is looked at. Members are 1, 2, 3...: id and key. Entry 1 is the configuration. Include
 * after cmocka.h. */
#ifndef TESTS_LIB_RAFT_LONE_H
#define TESTS_LIB_RAFT_LONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/raft/raft.h"

enum { LONE_ELECTION_MS = 1000, LONE_HEARTBEAT_MS = 100, LONE_ENTRY_COUNT_MAX = 64 };

struct lone {
    struct raft *r;
    time_ms now_ms;
    struct raft_update u; /* of the last step */
    uint64_t seq;         /* of the newest write */
    struct raft_config config;
    struct buf config_bytes;
};

struct lone_options {
    size_t voters;            /* 1..voters; 0: this member has no configuration */
    const char *terms;        /* of entries 2, 3...: one digit each; NULL: none */
    term_no term;             /* hard state; at least 1 */
    raft_key vote;            /* in it */
    bool learner;             /* member 1 is one, beside voters 2... */
    struct raft_options raft; /* tunables only */
};

struct raft_member lone_member(uint64_t id);
void lone_init(struct lone *l, const struct lone_options *options);
void lone_deinit(struct lone *l);

/* Steps: the result of raft_step(), the update in l->u. */
int lone_step(struct lone *l, struct raft_event *event);
int lone_receive(struct lone *l, struct raft_message *m); /* to member 1, whatever it says */
void lone_tick(struct lone *l, time_ms ms);               /* after so long */
void lone_written(struct lone *l);                        /* everything so far */
int lone_propose(struct lone *l, const char *command);

/* Messages from a peer. terms: of the entries after prev, one digit each, or "". */
struct lone_place {
    log_index index;
    term_no term;
};
#define AT(index, term) ((struct lone_place){index, term})
int lone_append(struct lone *l, raft_key from, term_no term, struct lone_place prev,
                const char *terms, log_index commit);
int lone_vote(struct lone *l, raft_key from, term_no term, log_index last, term_no last_term);
int lone_pre_vote(struct lone *l, raft_key from, term_no term, log_index last, term_no last_term);
int lone_accept(struct lone *l, raft_key from, log_index match); /* of a leader's entries */
int lone_accept_round(struct lone *l, raft_key from, log_index match, uint64_t round);
int lone_refuse(struct lone *l, raft_key from, log_index prev, log_index hint, term_no hint_term);
int lone_change(struct lone *l, enum raft_change change, uint64_t id);
int lone_read(struct lone *l);

/* Becomes leader by the votes of all others, with its empty entry written and committed by them. */
void lone_lead(struct lone *l);
/* The same without the last part: nothing of its term is written or acknowledged. */
void lone_win(struct lone *l);

/* The only message of this kind to this member in the update's list, NULL if there is none; more
 * than one fails the test. */
const struct raft_message *lone_sent(const struct lone *l, enum raft_message_kind kind,
                                     raft_key to);
const struct raft_message *lone_held(const struct lone *l, enum raft_message_kind kind,
                                     raft_key to);
size_t lone_sent_count(const struct lone *l, enum raft_message_kind kind, raft_key to);
struct raft_status lone_status(const struct lone *l);
struct raft_peer lone_peer(const struct lone *l, raft_key key);

#endif
