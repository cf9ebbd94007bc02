/* What is agreed: the commit rule, and proposals, which wait for it. */
#include <inttypes.h>

#include "common/check.h"
#include "common/macros.h"
#include "common/raft/raft_internal.h"

uint64_t raft_quorum_value(const struct raft *r, uint64_t (*value)(const struct raft *r, size_t i))
{
    const struct raft_config *c = &r->members.config;
    uint64_t sorted[RAFT_MEMBER_COUNT_MAX]; /* falling */
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (c->members[i].voter) {
            uint64_t v = value(r, i);
            size_t at = count++;
            for (; at > 0 && sorted[at - 1] < v; at--) {
                sorted[at] = sorted[at - 1];
            }
            sorted[at] = v;
        }
    }
    return count > 0 ? sorted[raft_config_quorum(c) - 1] : 0;
}

/* The own log counts as far as it is durable, like everybody's (D 10.2.1). A leader that is not, or
 * no longer, a member has no place in this count (D 4.2.2). */
static uint64_t match_of(const struct raft *r, size_t i)
{
    bool own = r->members.config.members[i].key == r->self;
    return own ? r->log.durable : r->lead.peers[i].match;
}

void raft_commit_to(struct raft *r, log_index to)
{
    if (to <= r->commit) {
        return;
    }
    CHECK(to <= raft_log_last(&r->log));
    raft_tell(r, "commits up to %" PRIu64, to);
    r->commit = to;
    if (r->role == RAFT_FOLLOWER) {
        raft_fit_role(r); /* its removal may be certain now */
    }
}

bool raft_readable(const struct raft *r)
{
    return r->role == RAFT_LEADER && r->commit >= r->lead.first;
}

void raft_lead_commit(struct raft *r)
{
    log_index agreed = raft_quorum_value(r, match_of);
    /* Only an entry of the own term is committed by counting; those before it come with it (5.4.2;
     * Figure 8 shows what happens otherwise). */
    if (agreed <= r->commit || raft_log_term(&r->log, agreed) != r->hard.term) {
        return;
    }
    raft_commit_to(r, agreed);
    if (r->commit >= r->members.index && !raft_config_is_voter(&r->members.config, r->self)) {
        raft_hand_over(r);
        raft_step_down(r, "it is removed"); /* D 4.2.2: only once that is committed */
    }
}

/* ---- proposals ---- */

static int propose_refused(const struct raft *r, const struct log_entry *entries, size_t count,
                           struct err *e)
{
    if (r->role != RAFT_LEADER) {
        return err_set(e, ERR_NOT_LEADER, "not the leader");
    }
    if (r->lead.transfer_to != 0) {
        return err_set(e, ERR_BUSY, "leadership is being transferred");
    }
    if (count == 0) {
        return err_set(e, ERR_INVALID, "nothing is proposed");
    }
    if (count > RAFT_APPEND_COUNT_MAX) {
        return err_set(e, ERR_TOO_LARGE, "%zu entries in one proposal", count);
    }
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].type != LOG_ENTRY_COMMAND) {
            return err_set(e, ERR_INVALID, "only commands can be proposed");
        }
        if (entries[i].data.length > LOG_ENTRY_BYTES_MAX) {
            return err_set(e, ERR_TOO_LARGE, "an entry of %zu bytes", entries[i].data.length);
        }
        bytes += entries[i].data.length + RAFT_ENTRY_OVERHEAD_BYTES;
    }
    /* While the quorum is away the log must not grow without bound. Something always fits into an
     * empty one. */
    uint64_t waiting = raft_log_bytes(&r->log, r->commit, raft_log_last(&r->log));
    if (waiting > 0 && waiting + bytes > r->options.uncommitted_bytes_max) {
        return err_set(e, ERR_BUSY, "%" PRIu64 " bytes wait to be committed", waiting);
    }
    return 0;
}

int raft_propose(struct raft *r, struct log_entry *entries, size_t count, struct err *e)
{
    int code = propose_refused(r, entries, count, e);
    if (code < 0) {
        return code;
    }
    for (size_t i = 0; i < count; i++) {
        entries[i].index = raft_log_last(&r->log) + 1;
        entries[i].term = r->hard.term;
        raft_append_entry(r, &entries[i]);
    }
    return 0;
}
