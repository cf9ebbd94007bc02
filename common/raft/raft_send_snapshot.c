/* A leader that sends a snapshot, because the log no longer begins where the peer ends (7, D 5.2).
 * One piece at a time, each from where the receiver says that it is. */
#include <inttypes.h>

#include "common/macros.h"
#include "common/raft/raft_internal.h"

/* The log must go on where the snapshot ends. */
bool raft_snapshot_usable(const struct raft *r)
{
    return r->snapshot.index > 0 && r->snapshot.index >= r->log.start;
}

bool raft_snapshot_wanted(const struct raft *r)
{
    if (r->role != RAFT_LEADER || raft_snapshot_usable(r)) {
        return false;
    }
    bool wanted = false;
    for (size_t i = 0; i < r->members.config.count; i++) {
        wanted = wanted || (r->members.config.members[i].key != r->self &&
                            r->lead.peers[i].state == RAFT_PEER_SNAPSHOT);
    }
    return wanted;
}

void raft_send_piece(struct raft *r, size_t peer)
{
    struct raft_progress *p = &r->lead.peers[peer];
    const struct raft_member *member = &r->members.config.members[peer];
    if (!raft_snapshot_usable(r)) {
        return;
    }
    if (p->snapshot_index != r->snapshot.index) {
        raft_tell(r, "sends snapshot %" PRIu64 " to %" PRIu64, r->snapshot.index, member->id);
        p->snapshot_index = r->snapshot.index;
        p->offset = 0;
        p->piece_sent = false;
    }
    if (p->piece_sent && r->now_ms < p->piece_again_ms) {
        return;
    }
    struct raft_message *m = raft_send(r, RAFT_SNAPSHOT, member->key);
    m->snapshot = r->snapshot;
    m->snapshot.offset = p->offset;
    p->piece_sent = true;
    p->piece_again_ms = r->now_ms + RAFT_PIECE_RETRY_MS;
}

int raft_snapshot_made(struct raft *r, const struct raft_event *event, struct err *e)
{
    log_index index = event->snapshot.index;
    bool gone = index == 0;
    bool known =
        index < r->log.start || raft_log_matches(&r->log, index, event->snapshot.last_term);
    if (!gone && (index > r->ready || event->snapshot.bytes == 0 || !known)) {
        return err_set(e, ERR_INVALID, "no state after entry %" PRIu64 " can be known", index);
    }
    for (size_t i = 0; i < RAFT_MEMBER_COUNT_MAX; i++) {
        r->lead.peers[i].snapshot_index = 0; /* even of the same index: its bytes may differ */
    }
    r->snapshot = (struct raft_snapshot){
        .index = index,
        .last_term = event->snapshot.last_term,
        .bytes = event->snapshot.bytes,
    };
    return 0;
}
