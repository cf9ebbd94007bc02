/* The answer of one voter (5.2, D 9.6). */
#include "common/raft/raft_internal.h"

void raft_recv_vote_reply(struct raft *r, const struct raft_message *m)
{
    const struct raft_config *c = &r->members.config;
    enum raft_role asked_as = m->vote_reply.pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE;
    term_no asked_for =
        m->vote_reply.pre && m->vote_reply.granted ? r->hard.term + 1 : r->hard.term;
    if (r->role != asked_as || m->term != asked_for) {
        return; /* of an election that is over */
    }
    for (size_t i = 0; i < c->count; i++) {
        if (c->members[i].key == m->from) {
            r->campaign.ballots[i] =
                m->vote_reply.granted ? RAFT_BALLOT_GRANTED : RAFT_BALLOT_REFUSED;
        }
    }
    raft_campaign_count(r);
}
