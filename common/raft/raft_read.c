/* Linearizable reads without a log entry (D 6.4). A read may be answered from the state as of the
 * commit index at which it came, once it is known that no other leader can have committed more by
 * then: when a quorum answers a message that was sent after the read came.
 *
 * Messages carry a round number and answers bring it back. All reads that come while a round is
 * under way share the next one, so reads cost messages per round trip and not per read. */
#include "common/macros.h"
#include "common/raft/raft_internal.h"

static void begin_round(struct raft *r)
{
    r->round++;
    r->round_index = r->commit;
    r->lead.round_ms = r->now_ms;
    r->lead.read_waits = false;
}

/* Voters that have heard a leader refuse candidates for an election timeout, so until then, less an
 * eighth for clocks that run apart, nobody else leads (D 6.4.1). Not so when this leader has asked
 * one to be elected at once. */
static bool lease_holds(const struct raft *r)
{
    return r->options.lease_reads && !r->lead.lease_given_up && r->now_ms < r->lead.lease_ms;
}

int raft_read(struct raft *r, struct err *e)
{
    if (r->role != RAFT_LEADER) {
        return err_set(e, ERR_NOT_LEADER, "not the leader");
    }
    if (!raft_readable(r)) { /* what earlier leaders have committed is not yet known (D 6.4) */
        return err_set(e, ERR_BUSY, "the leader is new");
    }
    if (lease_holds(r)) {
        r->out.asked = r->round_done;
        r->round_index = r->commit;
    } else if (r->round_done == r->round) {
        begin_round(r);
        r->out.asked = r->round;
        raft_heartbeat(r);
        raft_read_confirm(r); /* alone it is a quorum */
    } else {
        r->lead.read_waits = true;
        r->out.asked = r->round + 1;
    }
    return 0;
}

static uint64_t round_of(const struct raft *r, size_t i)
{
    return r->members.config.members[i].key == r->self ? r->round : r->lead.peers[i].round;
}

void raft_read_confirm(struct raft *r)
{
    uint64_t confirmed = raft_quorum_value(r, round_of);
    if (confirmed <= r->round_done) {
        return;
    }
    r->round_done = confirmed;
    if (confirmed < r->round) {
        return;
    }
    r->lead.lease_ms = r->lead.round_ms + r->options.election_ms - r->options.election_ms / 8;
    if (r->lead.read_waits) {
        begin_round(r);
        raft_heartbeat(r);
    }
}

/* Heartbeats are about to go out anyway: a round costs nothing now. */
void raft_read_tick(struct raft *r)
{
    bool renew = r->options.lease_reads && r->round_done == r->round;
    if (r->lead.read_waits || renew) {
        begin_round(r);
    }
}
