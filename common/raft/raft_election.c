/* Who leads: time-outs, pre-vote, campaigns and the ways from role to role (5.2, D 9.6). */
#include <inttypes.h>
#include <string.h>

#include "common/check.h"
#include "common/macros.h"
#include "common/raft/raft_internal.h"

/* ---- roles ---- */

/* The arrows of the diagram in README.md; all else is a bug of ours. */
static const bool allowed[RAFT_LEARNER + 1][RAFT_LEARNER + 1] = {
    [RAFT_FOLLOWER] = {[RAFT_FOLLOWER] = true,
                       [RAFT_PRE_CANDIDATE] = true,
                       [RAFT_CANDIDATE] = true, /* told to by the leader (D 3.10) */
                       [RAFT_LEARNER] = true},
    [RAFT_PRE_CANDIDATE] = {[RAFT_FOLLOWER] = true,
                            [RAFT_PRE_CANDIDATE] = true,
                            [RAFT_CANDIDATE] = true,
                            [RAFT_LEARNER] = true},
    [RAFT_CANDIDATE] = {[RAFT_FOLLOWER] = true,
                        [RAFT_PRE_CANDIDATE] = true,
                        [RAFT_LEADER] = true,
                        [RAFT_LEARNER] = true},
    [RAFT_LEADER] = {[RAFT_FOLLOWER] = true, [RAFT_LEARNER] = true},
    [RAFT_LEARNER] = {[RAFT_FOLLOWER] = true, [RAFT_LEARNER] = true},
};

static void become(struct raft *r, enum raft_role role)
{
    CHECK(allowed[r->role][role]);
    if (r->role != role) {
        raft_tell(r, "is %s in term %" PRIu64, raft_role_name(role), r->hard.term);
    }
    r->role = role;
}

/* A voter; or one whose removal is not known to be committed: it may be the only one that has the
 * entry, and then it must lead once more, though without counting itself (D 4.2.2). */
bool raft_is_electable(const struct raft *r)
{
    const struct raft_membership *m = &r->members;
    return raft_config_is_voter(&m->config, r->self) ||
           (m->index > r->commit && m->has_previous && raft_config_is_voter(&m->previous, r->self));
}

static enum raft_role passive_role(const struct raft *r)
{
    return raft_is_electable(r) ? RAFT_FOLLOWER : RAFT_LEARNER;
}

void raft_fit_role(struct raft *r)
{
    if (r->role != RAFT_LEADER) {
        become(r, passive_role(r));
    }
}

void raft_become_follower(struct raft *r, term_no term, raft_key leader)
{
    CHECK(term >= r->hard.term);
    if (term > r->hard.term) {
        raft_set_hard(r, term, 0);
    }
    if (leader != 0 && leader != r->leader) {
        raft_tell(r, "follows %" PRIu64 " in term %" PRIu64, raft_name(r, leader), term);
    }
    if (r->role == RAFT_LEADER) {
        raft_restart_timer(r); /* it has not run since */
    }
    r->leader = leader;
    become(r, passive_role(r));
}

/* ---- time ---- */

void raft_restart_timer(struct raft *r)
{
    uint32_t least = r->options.election_ms;
    r->election_at_ms = r->now_ms + least + rng_below(&r->rng, least);
}

bool raft_disk_is_hung(const struct raft *r)
{
    time_ms since;
    return raft_log_pending_since(&r->log, &since) && r->now_ms - since >= r->options.disk_hung_ms;
}

bool raft_leader_is_protected(const struct raft *r)
{
    /* A leader that has lost touch with its quorum steps down by itself. */
    return r->role == RAFT_LEADER ||
           (r->heard_ms > 0 && r->now_ms - r->heard_ms < r->options.election_ms);
}

bool raft_may_campaign(const struct raft *r)
{
    return raft_is_electable(r) && !r->receiving.installing && !raft_disk_is_hung(r) &&
           r->hard.term < RAFT_NUMBER_MAX;
}

/* The only voter has nobody to wait for: it can lead at once. */
bool raft_is_alone(const struct raft *r)
{
    return raft_config_voter_count(&r->members.config) == 1 &&
           raft_config_is_voter(&r->members.config, r->self) && raft_may_campaign(r);
}

void raft_election_tick(struct raft *r)
{
    bool waits = r->role == RAFT_CANDIDATE; /* for its own disk */
    if (r->now_ms < r->election_at_ms && (waits || !raft_is_alone(r))) {
        return;
    }
    bool asking = r->role != RAFT_CANDIDATE || r->campaign.vote_seq <= r->log.done_seq;
    if (raft_may_campaign(r) && asking) {
        raft_campaign_begin(r, true, false);
        raft_campaign_count(r); /* alone it need not wait for answers */
    } else {
        raft_restart_timer(r);
    }
}

/* ---- campaigns ---- */

/* Requests go out when all that was written so far is durable: the own vote (5.2), and the last
 * entry that they boast of (P4). A pre-vote promises nothing, but boasts too. */
static void ask_for_votes(struct raft *r, bool pre)
{
    const struct raft_config *c = &r->members.config;
    for (size_t i = 0; i < c->count; i++) {
        if (!c->members[i].voter || c->members[i].key == r->self) {
            continue;
        }
        struct raft_message *m = raft_send_after(r, RAFT_VOTE, c->members[i].key);
        m->term = pre ? r->hard.term + 1 : r->hard.term;
        m->vote = (struct raft_vote){
            .last_index = raft_log_last(&r->log),
            .last_term = raft_log_last_term(&r->log),
            .pre = pre,
            .transfer = r->campaign.transfer,
        };
    }
}

/* pre: asks whether an election could be won, without a new term (D 9.6): a member that is cut off
 * does not run away with the term and disturb the others when it is back. */
void raft_campaign_begin(struct raft *r, bool pre, bool transfer)
{
    CHECK(raft_may_campaign(r));
    r->leader = 0;
    r->campaign = (struct raft_campaign){.transfer = transfer};
    raft_restart_timer(r);
    if (pre) {
        become(r, RAFT_PRE_CANDIDATE);
    } else {
        raft_set_hard(r, r->hard.term + 1, r->self);
        r->campaign.vote_seq = r->log.seq + 1; /* this step's write */
        become(r, RAFT_CANDIDATE);
    }
    ask_for_votes(r, pre);
}

static size_t count_ballots(const struct raft *r, enum raft_ballot wanted)
{
    const struct raft_config *c = &r->members.config;
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++) {
        enum raft_ballot ballot = r->campaign.ballots[i];
        if (c->members[i].key == r->self) {
            bool durable = r->campaign.vote_seq <= r->log.done_seq;
            ballot = durable ? RAFT_BALLOT_GRANTED : RAFT_BALLOT_OPEN;
        }
        count += c->members[i].voter && ballot == wanted;
    }
    return count;
}

static void win(struct raft *r)
{
    if (r->role == RAFT_CANDIDATE) {
        become(r, RAFT_LEADER);
        raft_lead_begin(r);
    } else if (raft_may_campaign(r)) {
        raft_campaign_begin(r, false, false);
    } else {
        raft_become_follower(r, r->hard.term, 0); /* the disk has come to hang meanwhile */
    }
}

void raft_campaign_count(struct raft *r)
{
    size_t quorum = raft_config_quorum(&r->members.config);
    size_t rest = raft_config_voter_count(&r->members.config) - quorum;
    if (count_ballots(r, RAFT_BALLOT_GRANTED) >= quorum) {
        win(r);
    } else if (count_ballots(r, RAFT_BALLOT_REFUSED) > rest) {
        raft_tell(r, "has lost the election");
        raft_become_follower(r, r->hard.term, 0); /* and waits for its timer */
    }
}
