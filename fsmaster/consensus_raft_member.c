/* Who the members are and where, changes of them, and what an operator sees. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/mailbox.h"
#include "fsmaster/consensus_raft_internal.h"
#include "fsmaster/raft_transport.h"

/* ---- Addresses --------------------------------------------------------------------------------
 */

/* --peers goes before the configuration, so that a machine can move. */
static const char *address_of(const struct consensus *c, const struct raft_member *member)
{
    for (size_t i = 0; i < c->options.peer_count; i++) {
        if (c->peers[i].id == member->id) {
            return c->peers[i].address;
        }
    }
    return member->address;
}

const char *members_address(const struct consensus *c, raft_key key)
{
    const struct raft_member *member = raft_config_find(raft_configuration(c->raft), key);
    return member ? address_of(c, member) : NULL;
}

void members_follow(struct consensus *c)
{
    const struct raft_config *config = raft_configuration(c->raft);
    struct raft_transport_peer peers[RAFT_MEMBER_COUNT_MAX];
    size_t count = 0;
    if (!c->options.transport || config->count == 0) {
        return;
    }
    for (size_t i = 0; i < config->count; i++) {
        const struct raft_member *member = &config->members[i];
        if (member->key != c->self) {
            peers[count++] = (struct raft_transport_peer){member->directory, address_of(c, member)};
        }
    }
    raft_transport_set_peers(c->options.transport, peers, count);
}

/* ---- Changes ----------------------------------------------------------------------------------
 */

static void finish(struct consensus_change *change, int code)
{
    list_remove(&change->link);
    change->done(change, code, change->err.code < 0 ? err_message(&change->err) : err_text(code));
}

/* Decided: the configuration that it made is committed and applied here, or another one is. */
void members_settle(struct consensus *c)
{
    LIST_FOR_EACH_SAFE(node, &c->changes)
    {
        struct consensus_change *change = LIST_ENTRY(node, struct consensus_change, link);
        if (change->index > 0 && c->commit >= change->index) {
            finish(change, 0);
        }
    }
}

/* Refusals come through here as well: not before consensus_change() has returned. */
void members_tick(struct consensus *c, time_ms now)
{
    LIST_FOR_EACH_SAFE(node, &c->changes)
    {
        struct consensus_change *change = LIST_ENTRY(node, struct consensus_change, link);
        if (change->err.code < 0) {
            finish(change, change->err.code);
        } else if (now >= change->give_up_ms) {
            (void)err_set(&change->err, ERR_UNKNOWN,
                          "not committed yet: is a majority of the members there?");
            finish(change, ERR_UNKNOWN);
        }
    }
    if (c->options.metrics && c->status.role == RAFT_LEADER) {
        struct consensus_group group;
        consensus_group(c, &group);
        for (size_t i = 0; i < group.member_count; i++) {
            const struct consensus_member *m = &group.members[i];
            char label[32];
            (void)snprintf(label, sizeof(label), "member=\"%" PRIu64 "\"", m->member.id);
            gauge_set(metrics_gauge(c->options.metrics, "fsmaster_raft_lag", label,
                                    "Entries that a member is behind; as of the last leadership."),
                      (int64_t)(c->status.last - MIN(m->peer.match, c->status.last)));
        }
    }
}

void members_fail(struct consensus *c, int code)
{
    LIST_FOR_EACH(node, &c->changes)
    {
        struct consensus_change *change = LIST_ENTRY(node, struct consensus_change, link);
        if (change->err.code == 0 && !(change->index > 0 && c->commit >= change->index)) {
            (void)err_set(&change->err, code, "leadership was lost on the way");
        }
    }
}

void consensus_change(struct consensus *c, struct consensus_change *change)
{
    struct raft_event event = {.kind = RAFT_CHANGE,
                               .change = {.change = change->kind, .member = change->member}};
    change->err = (struct err)ERR_INIT;
    change->index = 0;
    change->give_up_ms = clock_mono_ms() + RAFT_CHANGE_MS;
    list_init(&change->link);
    if (c->closed) {
        (void)err_set(&change->err, ERR_NOT_LEADER, "this member is going");
    } else if (consensus_step(c, &event, &change->err) == 0) {
        change->index = raft_status(c->raft).config_index;
    }
    list_push_back(&c->changes, &change->link); /* a tick will look at it at the latest */
}

int consensus_transfer(struct consensus *c, raft_key key, struct err *e)
{
    struct raft_event event = {.kind = RAFT_TRANSFER, .peer = key};
    return consensus_step(c, &event, e);
}

/* ---- Looking ----------------------------------------------------------------------------------
 */

void consensus_group(const struct consensus *c, struct consensus_group *ret)
{
    const struct raft_config *config = raft_configuration(c->raft);
    struct raft_peer peers[RAFT_MEMBER_COUNT_MAX];
    size_t peer_count = raft_peers(c->raft, peers);
    *ret = (struct consensus_group){.role = c->status.role,
                                    .raft = c->status,
                                    .first = c->log_start + 1,
                                    .cluster = c->cluster,
                                    .member_count = config->count,
                                    .now_ms = clock_mono_ms()};
    for (size_t i = 0; i < config->count; i++) {
        struct consensus_member *m = &ret->members[i];
        m->member = config->members[i];
        m->is_self = m->member.key == c->self;
        m->is_leader = m->member.key == c->status.leader;
        m->address = m->is_self ? c->address : address_of(c, &config->members[i]);
        m->known = m->is_self;
        m->peer.match = m->is_self ? c->status.durable : 0;
        for (size_t k = 0; k < peer_count; k++) {
            if (peers[k].key == m->member.key) {
                m->peer = peers[k];
                m->known = true;
            }
        }
    }
}
