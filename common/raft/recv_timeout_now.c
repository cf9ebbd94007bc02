/* The leader wants us to lead: an election without delay and without a pre-vote, which voters grant
 * although they have just heard the leader (D 3.10). */
#include "common/raft/raft_internal.h"

void raft_recv_timeout_now(struct raft *r, const struct raft_message *m)
{
    if (r->role == RAFT_FOLLOWER && m->from == r->leader && raft_may_campaign(r)) {
        raft_tell(r, "is asked to lead");
        raft_campaign_begin(r, false, true);
    }
}
