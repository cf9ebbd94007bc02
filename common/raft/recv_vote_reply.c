/* The answer of one voter (5.2, D 9.6). */
#include "common/macros.h"
#include "common/raft/raft_internal.h"

/* A quorum had said before that there is no leader. So whoever refuses a vote has most likely given
 * it to another candidate, perhaps itself: either that one wins, and will be heard at once, or the
 * votes are split, and a whole time-out would wait for nobody. A random part of one keeps the
 * candidates apart as well (9.3), best when it may be any part. */
static void retry_sooner(struct raft *r)
{
    time_ms at = r->now_ms + 1 + rng_below(&r->rng, r->options.election_ms);
    r->election_at_ms = MIN(r->election_at_ms, at);
}

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
    if (r->role == RAFT_CANDIDATE && !m->vote_reply.granted) {
        retry_sooner(r);
    }
    raft_campaign_count(r);
}
