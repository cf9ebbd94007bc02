/* What every message goes through before its own handler: is it for us, could an honest member have
 * sent it, and of which term is it (5.1)? */
#include <inttypes.h>

#include "common/check.h"
#include "common/macros.h"
#include "common/raft/raft_internal.h"

struct handler {
    int (*check)(const struct raft *r, const struct raft_message *m, struct err *e);
    void (*receive)(struct raft *r, const struct raft_message *m);
    bool from_leader; /* its sender leads in the message's term */
    bool reply;
};

static const struct handler handlers[] = {
    [RAFT_APPEND] = {raft_check_append, raft_recv_append, .from_leader = true},
    [RAFT_APPEND_REPLY] = {raft_check_append_reply, raft_recv_append_reply, .reply = true},
    [RAFT_VOTE] = {raft_check_vote, raft_recv_vote},
    [RAFT_VOTE_REPLY] = {NULL, raft_recv_vote_reply, .reply = true},
    [RAFT_SNAPSHOT] = {raft_check_snapshot, raft_recv_snapshot, .from_leader = true},
    [RAFT_SNAPSHOT_REPLY] = {NULL, raft_recv_snapshot_reply, .reply = true},
    [RAFT_TIMEOUT_NOW] = {NULL, raft_recv_timeout_now, .from_leader = true},
};

static int check(const struct raft *r, const struct raft_message *m, struct err *e)
{
    if (m->kind < RAFT_APPEND || m->kind > RAFT_TIMEOUT_NOW) {
        return err_set(e, ERR_INVALID, "no such message: %d", (int)m->kind);
    }
    if (m->to != r->self || m->from == 0 || m->from == r->self) {
        return err_set(e, ERR_INVALID, "a message that is not for us");
    }
    if (m->term == 0 || m->term > RAFT_NUMBER_MAX) {
        return err_set(e, ERR_INVALID, "term %" PRIu64 " out of range", m->term);
    }
    const struct handler *h = &handlers[m->kind];
    if (h->from_leader && m->term == r->hard.term && r->leader != 0 && r->leader != m->from) {
        return err_set(e, ERR_INVALID, "two leaders in term %" PRIu64, m->term); /* 5.2 forbids */
    }
    return h->check != NULL ? h->check(r, m, e) : 0;
}

/* The sender is behind: tell it the term, so that a stale leader or candidate steps down. No index
 * comes with it: if the sender leads in our term by now, it must not take this for an answer to
 * what it has asked since. */
static void answer_stale(struct raft *r, const struct raft_message *m)
{
    if (m->kind == RAFT_APPEND) {
        (void)raft_send_after(r, RAFT_APPEND_REPLY, m->from);
    } else if (m->kind == RAFT_SNAPSHOT) {
        struct raft_message *reply = raft_send_after(r, RAFT_SNAPSHOT_REPLY, m->from);
        reply->snapshot_reply = (struct raft_snapshot_reply){m->snapshot.index, .refused = true};
    } else if (m->kind == RAFT_VOTE) {
        raft_recv_vote(r, m);
    }
}

static bool is_pre_vote(const struct raft_message *m)
{
    return (m->kind == RAFT_VOTE && m->vote.pre) ||
           (m->kind == RAFT_VOTE_REPLY && m->vote_reply.pre && m->vote_reply.granted);
}

/* (5.1) Whether the message is to be handled. */
static bool settle_term(struct raft *r, const struct raft_message *m)
{
    if (is_pre_vote(m)) {
        return true; /* its term is one that may never be */
    }
    if (m->term < r->hard.term) {
        answer_stale(r, m);
        return false;
    }
    if (m->term == r->hard.term) {
        return true;
    }
    if (m->kind == RAFT_VOTE && !m->vote.transfer && raft_leader_is_protected(r)) {
        raft_tell(r, "ignores candidate %" PRIu64 ", a leader lives", raft_name(r, m->from));
        return false; /* D 4.2.3; a removed member, for example */
    }
    raft_become_follower(r, m->term, 0);
    return true;
}

int raft_receive(struct raft *r, const struct raft_message *m, struct err *e)
{
    int code = check(r, m, e);
    if (code < 0) {
        return code;
    }
    const struct handler *h = &handlers[m->kind];
    if (h->reply && raft_config_find(&r->members.config, m->from) == NULL) {
        return 0; /* we ask members only: of one that has been removed since */
    }
    if (settle_term(r, m)) {
        h->receive(r, m);
    }
    return 0;
}
