/* Handing leadership over (D 3.10): let the other catch up while nothing new is taken, then tell it
 * to campaign at once. If it does not lead within an election timeout, everything goes on. */
#include <inttypes.h>

#include "common/raft/raft_internal.h"

static bool is_in_touch(const struct raft *r, size_t i)
{
    const struct raft_member *m = &r->members.config.members[i];
    return m->voter && m->key != r->self && r->lead.peers[i].heard_ms > 0 &&
           r->now_ms - r->lead.peers[i].heard_ms < r->options.election_ms;
}

/* The voter in touch that has most of the log; 0: none is. */
static raft_key best_successor(const struct raft *r)
{
    raft_key best = 0;
    log_index match = 0;
    for (size_t i = 0; i < r->members.config.count; i++) {
        if (is_in_touch(r, i) && (best == 0 || r->lead.peers[i].match > match)) {
            best = r->members.config.members[i].key;
            match = r->lead.peers[i].match;
        }
    }
    return best;
}

static void ask_to_lead(struct raft *r, raft_key key)
{
    raft_tell(r, "asks %" PRIu64 " to lead", raft_name(r, key));
    (void)raft_send(r, RAFT_TIMEOUT_NOW, key);
    /* Voters will elect it although they have just heard this leader, whenever that message may
     * arrive: what they have answered guarantees nothing any more. */
    r->lead.lease_given_up = true;
}

int raft_transfer(struct raft *r, raft_key to, struct err *e)
{
    if (r->role != RAFT_LEADER) {
        return err_set(e, ERR_NOT_LEADER, "not the leader");
    }
    if (r->lead.transfer_to != 0) {
        return err_set(e, ERR_BUSY, "leadership is being transferred");
    }
    if (to == r->self) {
        return err_set(e, ERR_EXISTS, "it leads already");
    }
    raft_key successor = to != 0 ? to : best_successor(r);
    const struct raft_member *m = raft_config_find(&r->members.config, successor);
    if (m == NULL) {
        return err_set(e, ERR_NOT_FOUND, to != 0 ? "no such member" : "no other voter answers");
    }
    if (!m->voter) {
        return err_set(e, ERR_INVALID, "member %" PRIu64 " is a learner", m->id);
    }
    r->lead.transfer_to = successor;
    r->lead.transfer_asked = false;
    r->lead.transfer_until_ms = r->now_ms + r->options.election_ms;
    raft_transfer_go_on(r);
    return 0;
}

void raft_transfer_go_on(struct raft *r)
{
    const struct raft_progress *p =
        r->lead.transfer_to != 0 ? raft_progress_of(r, r->lead.transfer_to) : NULL;
    if (p != NULL && !r->lead.transfer_asked && p->match == raft_log_last(&r->log)) {
        r->lead.transfer_asked = true;
        ask_to_lead(r, r->lead.transfer_to);
    }
}

void raft_transfer_tick(struct raft *r)
{
    if (r->lead.transfer_to != 0 && r->now_ms >= r->lead.transfer_until_ms) {
        raft_tell(r, "gives up the transfer to %" PRIu64, raft_name(r, r->lead.transfer_to));
        r->lead.transfer_to = 0;
    }
}

void raft_hand_over(struct raft *r)
{
    raft_key successor = best_successor(r);
    if (successor != 0) {
        ask_to_lead(r, successor);
    }
}
