/* Changes of the membership, one member at a time (D 4.1, 4.2), and which configuration is in
 * force.
 *
 * A configuration is in force as soon as it is in the log, because a majority of either the old or
 * the new one decides whether it is committed, and any two such majorities share a member. That
 * holds from one configuration to the next only; so a leader adds one only when the one before is
 * committed, and when it has committed an entry of its own term, without which a configuration of
 * an earlier leader could come back (P1). */
#include <inttypes.h>

#include "common/check.h"
#include "common/raft/raft_internal.h"

/* ---- in force ---- */

void raft_config_adopt(struct raft *r, const struct raft_config *config, log_index index)
{
    CHECK(index > r->members.index);
    r->members.previous = r->members.config;
    r->members.previous_index = r->members.index;
    r->members.has_previous = true;
    r->members.config = *config;
    r->members.index = index;
    raft_tell(r, "has %zu members, %zu of them voters, by entry %" PRIu64, config->count,
              raft_config_voter_count(config), index);
    if (r->role == RAFT_LEADER) {
        raft_progress_realign(r, &r->members.previous);
        r->lead.lease_ms = 0; /* it was given by voters of another configuration */
    }
    raft_fit_role(r);
}

bool raft_config_forbids(const struct raft *r, log_index from)
{
    return from <= r->members.index &&
           (!r->members.has_previous || from <= r->members.previous_index);
}

void raft_config_roll_back(struct raft *r, log_index from)
{
    if (from > r->members.index) {
        return;
    }
    CHECK(!raft_config_forbids(r, from));
    r->members.config = r->members.previous;
    r->members.index = r->members.previous_index;
    r->members.has_previous = false; /* the one before is committed, see struct raft_membership */
    raft_tell(r, "is back to the members of entry %" PRIu64, r->members.index);
    raft_fit_role(r);
}

void raft_config_restart(struct raft *r, const struct raft_config *config, log_index index)
{
    r->members.config = *config;
    r->members.index = index;
    r->members.has_previous = false;
    raft_fit_role(r);
}

/* ---- changes ---- */

/* A voter that lags holds back the commit of what the others have; within one message of the end it
 * does not (D 4.2.1). */
static bool has_caught_up(struct raft *r, raft_key key)
{
    const struct raft_progress *p = raft_progress_of(r, key);
    return p != NULL && p->state == RAFT_PEER_REPLICATE && p->match >= r->log.start &&
           r->now_ms - p->heard_ms < r->options.election_ms &&
           raft_log_bytes(&r->log, p->match, raft_log_last(&r->log)) <= r->options.append_bytes_max;
}

static int change_refused(const struct raft *r, struct err *e)
{
    if (r->role != RAFT_LEADER) {
        return err_set(e, ERR_NOT_LEADER, "not the leader");
    }
    if (r->lead.transfer_to != 0) {
        return err_set(e, ERR_BUSY, "leadership is being transferred");
    }
    if (!raft_readable(r)) {
        return err_set(e, ERR_BUSY, "the leader is new");
    }
    if (r->members.index > r->commit) {
        return err_set(e, ERR_BUSY, "another change is under way");
    }
    return 0;
}

static int make_config(struct raft *r, const struct raft_event *event, struct raft_config *config,
                       struct err *e)
{
    const struct raft_member *m = &event->change.member;
    switch (event->change.change) {
    case RAFT_ADD_LEARNER:
        return raft_config_add_learner(config, m, e);
    case RAFT_PROMOTE: {
        int code = raft_config_promote(config, m->key, e);
        if (code == 0 && !has_caught_up(r, m->key)) {
            code = err_set(e, ERR_BUSY, "the learner is still behind");
        }
        return code;
    }
    case RAFT_REMOVE:
        return raft_config_remove(config, m->key, e);
    }
    return err_set(e, ERR_INVALID, "no such change: %d", (int)event->change.change);
}

int raft_change(struct raft *r, const struct raft_event *event, struct err *e)
{
    struct raft_config config = r->members.config;
    int code = change_refused(r, e);
    code = code < 0 ? code : make_config(r, event, &config, e);
    if (code < 0) {
        return code;
    }
    raft_config_encode(&config, &r->out.config_bytes);
    struct log_entry entry = {
        .index = raft_log_last(&r->log) + 1,
        .term = r->hard.term,
        .type = LOG_ENTRY_CONFIG,
        .data = {r->out.config_bytes.data, r->out.config_bytes.length},
    };
    raft_append_entry(r, &entry);
    raft_config_adopt(r, &config, entry.index);
    raft_lead_commit(r); /* a quorum may be smaller now */
    return 0;
}
