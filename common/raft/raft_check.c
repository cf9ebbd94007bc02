/* What must be true of one member after every step. What takes several members to see (one leader
 * per term, logs that match) is checked by tests/lib/raft_cluster.c and by the simulator. */
#include "common/check.h"
#include "common/raft/raft_internal.h"

static void check_progress(const struct raft *r, const struct raft_progress *p)
{
    CHECK(p->match <= raft_log_last(&r->log));
    CHECK(p->next > p->match);
    CHECK(p->next <= raft_log_last(&r->log) + 1);
    CHECK(p->round <= r->round);
    CHECK(p->window_count <= r->options.inflight_count_max);
    CHECK(p->window_count == 0 || p->state == RAFT_PEER_REPLICATE);
}

static void check_leader(const struct raft *r)
{
    CHECK(r->leader == r->self);
    CHECK(r->hard.vote == r->self); /* only a candidate comes to lead */
    CHECK(r->lead.first > r->log.start || r->lead.first <= r->ready);
    CHECK(raft_log_last_term(&r->log) == r->hard.term);
    for (size_t i = 0; i < r->members.config.count; i++) {
        if (r->members.config.members[i].key != r->self) {
            check_progress(r, &r->lead.peers[i]);
        }
    }
}

static void check_membership(const struct raft *r)
{
    const struct raft_membership *m = &r->members;
    CHECK(m->index <= raft_log_last(&r->log) || m->index <= r->log.start);
    CHECK(!m->has_previous || m->previous_index < m->index);
    CHECK(m->config.count == 0 || raft_config_voter_count(&m->config) > 0);
    if (r->role == RAFT_FOLLOWER || r->role == RAFT_LEARNER) {
        CHECK(raft_is_electable(r) == (r->role == RAFT_FOLLOWER));
    }
}

static void check_all(const struct raft *r)
{
    raft_log_check(&r->log);
    CHECK(r->ready <= r->commit);
    CHECK(r->ready <= r->log.durable);
    CHECK(r->ready >= r->log.start);
    CHECK(r->commit <= raft_log_last(&r->log));
    CHECK(raft_log_last_term(&r->log) <= r->hard.term);
    CHECK(r->hard_seq <= r->log.seq);
    CHECK(r->round_done <= r->round);
    CHECK(r->round_index <= r->commit);
    check_membership(r);
    if (r->role == RAFT_LEADER) {
        check_leader(r);
    }
}

void raft_check(const struct raft *r)
{
#ifdef TRIREME_DCHECK
    check_all(r);
#else
    (void)r;
    (void)check_all;
#endif
}
