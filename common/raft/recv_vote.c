/* RequestVote: may the sender lead? (5.2, 5.4.1, D 4.2.3, D 9.6) */
#include <inttypes.h>

#include "common/raft/raft_internal.h"

int raft_check_vote(const struct raft *r, const struct raft_message *m, struct err *e)
{
    (void)r;
    if (m->vote.last_index > RAFT_NUMBER_MAX || m->vote.last_term > m->term ||
        (m->vote.pre && m->vote.transfer)) {
        return err_set(e, ERR_INVALID, "a vote request that contradicts itself");
    }
    return 0;
}

/* Who is asked does not look whether it is a voter by its own configuration: the candidate may know
 * a newer one (P18), and to be asked by key is to be meant. */
static bool deserves_vote(const struct raft *r, const struct raft_message *m)
{
    const struct raft_vote *v = &m->vote;
    if (m->term < r->hard.term) {
        return false;
    }
    if (raft_leader_is_protected(r) && !v->transfer) {
        return false;
    }
    if (v->pre && raft_disk_is_hung(r)) {
        return false; /* the vote itself would not get out */
    }
    bool free = m->term > r->hard.term || r->hard.vote == 0 || r->hard.vote == m->from;
    /* The log in memory may be ahead of the disk here, and must be what counts: replies that vouch
     * for it may be waiting for the disk already. They go out before this vote does. */
    return free && !raft_log_is_newer(&r->log, v->last_index, v->last_term);
}

void raft_recv_vote(struct raft *r, const struct raft_message *m)
{
    bool pre = m->vote.pre;
    bool granted = deserves_vote(r, m);
    raft_tell(r, "%s %s%" PRIu64 " in term %" PRIu64, granted ? "votes for" : "refuses",
              pre ? "would-be candidate " : "", raft_name(r, m->from), m->term);
    if (granted && !pre) {
        raft_set_hard(r, m->term, m->from);
        raft_restart_timer(r); /* only for a vote given (5.2) */
    }
    struct raft_message *reply =
        pre ? raft_send(r, RAFT_VOTE_REPLY, m->from) : raft_send_after(r, RAFT_VOTE_REPLY, m->from);
    /* Granted to a future term, the reply has that term; refused, ours, so that a candidate that
     * has fallen behind catches up with it. */
    reply->term = granted ? m->term : r->hard.term;
    reply->vote_reply = (struct raft_vote_reply){.granted = granted, .pre = pre};
}
