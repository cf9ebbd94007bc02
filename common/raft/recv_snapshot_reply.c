/* The receiver of a snapshot tells how far it is (7, D 5.2). */
#include <inttypes.h>

#include "common/macros.h"
#include "common/raft/raft_internal.h"

static void installed(struct raft *r, struct raft_progress *p, log_index index)
{
    raft_progress_advance(p, MIN(index, raft_log_last(&r->log)));
    raft_progress_probe(p, p->match + 1);
    raft_lead_commit(r);
}

void raft_recv_snapshot_reply(struct raft *r, const struct raft_message *m)
{
    const struct raft_snapshot_reply *a = &m->snapshot_reply;
    struct raft_progress *p = r->role == RAFT_LEADER ? raft_progress_of(r, m->from) : NULL;
    if (p == NULL) {
        return;
    }
    p->heard_ms = r->now_ms;
    if (p->state != RAFT_PEER_SNAPSHOT || a->index != p->snapshot_index) {
        return; /* of a snapshot that is no longer sent */
    }
    if (a->installed) {
        raft_tell(r, "hears that %" PRIu64 " has snapshot %" PRIu64, raft_name(r, m->from),
                  a->index);
        installed(r, p, a->index);
    } else if (a->refused) {
        p->offset = 0; /* from the beginning, when piece_again_ms has come */
        p->piece_again_ms = r->now_ms + RAFT_PIECE_RETRY_MS;
    } else if (a->offset != p->offset && a->offset < r->snapshot.bytes) {
        p->offset = a->offset; /* an old answer costs one piece that was not needed */
        p->piece_sent = false;
    }
}
