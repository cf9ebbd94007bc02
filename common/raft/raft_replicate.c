/* A leader at work: what goes to whom, and when it must stop leading (5.3, D 6.2).
 *
 * A peer is in one of three states (README.md draws them). PROBE: where the logs agree is not
 * known, so one message at a time. REPLICATE: it is known, so entries are sent as they come, before
 * those under way are answered, up to a window. SNAPSHOT: what it needs is no longer in the log.
 *
 * Heartbeats are outside of the window. Each asks whether the log is there up to all that was sent;
 * so a lost entry or a lost answer is found within one heartbeat, without a timer of its own: the
 * answer either acknowledges what is there or leads back to PROBE. */
#include <inttypes.h>

#include "common/check.h"
#include "common/macros.h"
#include "common/raft/raft_internal.h"

/* ---- progress ---- */

struct raft_progress *raft_progress_of(struct raft *r, raft_key key)
{
    const struct raft_config *c = &r->members.config;
    for (size_t i = 0; i < c->count; i++) {
        if (c->members[i].key == key && key != r->self) {
            return &r->lead.peers[i];
        }
    }
    return NULL;
}

void raft_progress_probe(struct raft_progress *p, log_index next)
{
    CHECK(next > p->match);
    p->state = RAFT_PEER_PROBE;
    p->next = next;
    p->paused = false;
    p->window_count = 0;
    p->snapshot_index = 0;
}

/* Answers cover everything before them, so one that is lost is made good by the next. */
void raft_progress_advance(struct raft_progress *p, log_index match)
{
    p->match = MAX(p->match, match);
    p->next = MAX(p->next, p->match + 1);
    while (p->window_count > 0 && p->window[p->window_first] <= p->match) {
        p->window_first = (p->window_first + 1) % RAFT_INFLIGHT_COUNT_MAX;
        p->window_count--;
    }
}

static void window_push(struct raft_progress *p, log_index last)
{
    p->window[(p->window_first + p->window_count) % RAFT_INFLIGHT_COUNT_MAX] = last;
    p->window_count++;
}

/* Progress goes with its member when a change moves members about. */
void raft_progress_realign(struct raft *r, const struct raft_config *before)
{
    const struct raft_config *c = &r->members.config;
    struct raft_progress old[RAFT_MEMBER_COUNT_MAX];
    for (size_t i = 0; i < before->count; i++) {
        old[i] = r->lead.peers[i];
    }
    for (size_t i = 0; i < c->count; i++) {
        struct raft_progress *p = &r->lead.peers[i];
        *p = (struct raft_progress){0};
        raft_progress_probe(p, raft_log_last(&r->log) + 1);
        for (size_t j = 0; j < before->count; j++) {
            if (before->members[j].key == c->members[i].key) {
                *p = old[j];
            }
        }
    }
}

size_t raft_peers(const struct raft *r, struct raft_peer ret_peers[RAFT_MEMBER_COUNT_MAX])
{
    const struct raft_config *c = &r->members.config;
    size_t count = 0;
    for (size_t i = 0; i < c->count && r->role == RAFT_LEADER; i++) {
        const struct raft_progress *p = &r->lead.peers[i];
        if (c->members[i].key != r->self) {
            ret_peers[count++] = (struct raft_peer){c->members[i].key, p->state,    p->match,
                                                    p->next,           p->heard_ms, p->offset};
        }
    }
    return count;
}

/* ---- messages ---- */

static struct raft_message *send_append(struct raft *r, size_t peer, log_index prev, size_t count)
{
    struct raft_message *m = raft_send(r, RAFT_APPEND, r->members.config.members[peer].key);
    m->append = (struct raft_append){
        .prev_index = prev,
        .prev_term = raft_log_term(&r->log, prev),
        .commit = r->commit,
        .round = r->round,
        .count = count,
    };
    return m;
}

static size_t batch_after(const struct raft *r, log_index prev)
{
    return raft_log_batch(&r->log, prev, r->options.append_bytes_max, RAFT_APPEND_COUNT_MAX);
}

static void send_entries(struct raft *r, size_t peer)
{
    struct raft_progress *p = &r->lead.peers[peer];
    while (p->next <= raft_log_last(&r->log) && p->window_count < r->options.inflight_count_max) {
        size_t count = batch_after(r, p->next - 1);
        (void)send_append(r, peer, p->next - 1, count);
        p->next += count;
        window_push(p, p->next - 1);
    }
}

static void send_probe(struct raft *r, size_t peer)
{
    struct raft_progress *p = &r->lead.peers[peer];
    if (!p->paused) {
        (void)send_append(r, peer, p->next - 1, batch_after(r, p->next - 1));
        p->paused = true;
    }
}

static void send_what_is_due(struct raft *r, size_t peer)
{
    struct raft_progress *p = &r->lead.peers[peer];
    if (p->state != RAFT_PEER_SNAPSHOT && p->next - 1 < r->log.start) {
        raft_tell(r, "must send a snapshot to %" PRIu64, r->members.config.members[peer].id);
        p->state = RAFT_PEER_SNAPSHOT;
        p->window_count = 0;
    }
    switch (p->state) {
    case RAFT_PEER_PROBE:
        send_probe(r, peer);
        break;
    case RAFT_PEER_REPLICATE:
        send_entries(r, peer);
        break;
    case RAFT_PEER_SNAPSHOT:
        raft_send_piece(r, peer);
        break;
    }
}

void raft_replicate(struct raft *r)
{
    for (size_t i = 0; i < r->members.config.count; i++) {
        if (r->members.config.members[i].key != r->self) {
            send_what_is_due(r, i);
        }
    }
}

void raft_heartbeat(struct raft *r)
{
    r->lead.heartbeat_at_ms = r->now_ms + r->options.heartbeat_ms;
    for (size_t i = 0; i < r->members.config.count; i++) {
        const struct raft_progress *p = &r->lead.peers[i];
        if (r->members.config.members[i].key == r->self) {
            continue;
        }
        /* Of a peer that waits for a snapshot nothing is asked; all logs agree before entry 1. */
        if (p->state == RAFT_PEER_SNAPSHOT || p->next - 1 < r->log.start) {
            struct raft_message *m = raft_send(r, RAFT_APPEND, r->members.config.members[i].key);
            m->append = (struct raft_append){.commit = r->commit, .round = r->round};
        } else {
            (void)send_append(r, i, p->next - 1, 0);
        }
    }
}

/* ---- leading ---- */

void raft_lead_begin(struct raft *r)
{
    struct log_entry empty = {raft_log_last(&r->log) + 1, r->hard.term, LOG_ENTRY_EMPTY, {NULL, 0}};
    r->leader = r->self;
    r->lead = (struct raft_leadership){.first = empty.index, .since_ms = r->now_ms};
    r->lead.heartbeat_at_ms = r->now_ms + r->options.heartbeat_ms;
    for (size_t i = 0; i < r->members.config.count; i++) {
        raft_progress_probe(&r->lead.peers[i], empty.index);
    }
    /* Until an entry of this term is committed nothing before it is known to be (5.4.2, 8). */
    raft_append_entry(r, &empty);
}

void raft_step_down(struct raft *r, const char *why)
{
    raft_tell(r, "steps down: %s", why);
    raft_become_follower(r, r->hard.term, 0);
}

static uint64_t heard_at(const struct raft *r, size_t i)
{
    bool own = r->members.config.members[i].key == r->self;
    return own ? r->now_ms : MAX(r->lead.peers[i].heard_ms, r->lead.since_ms);
}

/* Without answers from a quorum for an election timeout another leader may be at work, and clients
 * had better look for it (D 6.2). */
static time_ms quorum_lost_at(const struct raft *r)
{
    return raft_quorum_value(r, heard_at) + r->options.election_ms;
}

void raft_lead_tick(struct raft *r)
{
    if (raft_disk_is_hung(r)) { /* P15: it beats, but is dead */
        raft_hand_over(r);
        raft_step_down(r, "its disk is hung");
        return;
    }
    if (r->now_ms >= quorum_lost_at(r)) {
        raft_step_down(r, "it hears no quorum");
        return;
    }
    raft_transfer_tick(r);
    if (r->now_ms >= r->lead.heartbeat_at_ms) {
        raft_read_tick(r);
        raft_heartbeat(r);
        r->lead.transfer_asked = false; /* that message may have been lost */
        raft_transfer_go_on(r);
    }
}

/* The log is wanted for peers that are behind, and after the snapshot that is being sent. A wish:
 * the caller bounds how long a peer that does not answer can hold it. */
log_index raft_keep(const struct raft *r)
{
    log_index keep = r->ready;
    for (size_t i = 0; i < r->members.config.count && r->role == RAFT_LEADER; i++) {
        const struct raft_progress *p = &r->lead.peers[i];
        if (r->members.config.members[i].key == r->self) {
            continue;
        }
        if (p->state != RAFT_PEER_SNAPSHOT) {
            keep = MIN(keep, p->match);
        } else if (raft_snapshot_usable(r)) {
            keep = MIN(keep, r->snapshot.index);
        }
    }
    return MAX(keep, r->log.start);
}

/* ---- when a tick is wanted ---- */

time_ms raft_next_ms(const struct raft *r)
{
    if (r->role != RAFT_LEADER) {
        bool at_once = r->role == RAFT_FOLLOWER && raft_is_alone(r);
        return at_once ? r->now_ms : r->election_at_ms;
    }
    time_ms since;
    time_ms next = MIN(r->lead.heartbeat_at_ms, quorum_lost_at(r));
    if (raft_log_pending_since(&r->log, &since)) {
        next = MIN(next, since + r->options.disk_hung_ms);
    }
    if (r->lead.transfer_to != 0) {
        next = MIN(next, r->lead.transfer_until_ms);
    }
    return next;
}
