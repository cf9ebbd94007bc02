/* A snapshot on its way in, piece by piece (7, D 5.2). Whether it is wanted, and whether its pieces
 * fit, is decided before the caller sees a byte; whether the bytes are good, by the caller, before
 * they become the state. Each step is answered, and the answer says where to go on, so lost, double
 * and disordered pieces cost time and nothing else. */
#include <inttypes.h>

#include "common/macros.h"
#include "common/raft/raft_internal.h"

int raft_check_snapshot(const struct raft *r, const struct raft_message *m, struct err *e)
{
    const struct raft_snapshot *s = &m->snapshot;
    (void)r;
    if (s->index == 0 || s->index > RAFT_NUMBER_MAX || s->last_term == 0 ||
        s->last_term > m->term) {
        return err_set(e, ERR_INVALID, "a snapshot of index %" PRIu64 ", term %" PRIu64, s->index,
                       s->last_term);
    }
    if (s->data.length == 0 || s->data.length > RAFT_PIECE_BYTES_MAX || s->offset > s->bytes ||
        s->data.length > s->bytes - s->offset) {
        return err_set(e, ERR_INVALID, "a piece outside of its snapshot");
    }
    return 0;
}

static void reply_to(struct raft *r, raft_key to, struct raft_snapshot_reply reply)
{
    raft_send_after(r, RAFT_SNAPSHOT_REPLY, to)->snapshot_reply = reply;
}

/* An entry of this index and term in the log, or committed, is all that the snapshot could bring.
 * Installing it nevertheless could drop later entries that have been acknowledged. */
static bool is_stale(const struct raft *r, const struct raft_snapshot *s)
{
    return s->index <= r->commit || raft_log_matches(&r->log, s->index, s->last_term);
}

static bool is_next_piece(const struct raft *r, const struct raft_message *m)
{
    const struct raft_receiving *in = &r->receiving;
    const struct raft_snapshot *s = &m->snapshot;
    return in->from == m->from && in->term == m->term && in->snapshot.index == s->index &&
           in->snapshot.last_term == s->last_term && in->snapshot.bytes == s->bytes;
}

static void take_piece(struct raft *r, const struct raft_message *m)
{
    const struct raft_snapshot *s = &m->snapshot;
    if (!is_next_piece(r, m)) { /* of another one than we have: begin anew */
        r->receiving = (struct raft_receiving){
            .from = m->from,
            .term = m->term,
            .snapshot = {s->index, s->last_term, 0, s->bytes, {NULL, 0}},
        };
        raft_tell(r, "receives snapshot %" PRIu64 " from %" PRIu64, s->index,
                  raft_name(r, m->from));
    }
    if (s->offset != r->receiving.snapshot.offset) {
        reply_to(r, m->from,
                 (struct raft_snapshot_reply){s->index, .offset = r->receiving.snapshot.offset});
        return;
    }
    r->receiving.storing = true;
    r->out.piece = *s;
    r->out.store = &r->out.piece;
}

void raft_recv_snapshot(struct raft *r, const struct raft_message *m)
{
    raft_become_follower(r, m->term, m->from);
    r->heard_ms = r->now_ms;
    raft_restart_timer(r);
    if (r->receiving.storing || r->receiving.installing) {
        return; /* it is sent again */
    }
    if (is_stale(r, &m->snapshot)) {
        reply_to(r, m->from, (struct raft_snapshot_reply){m->snapshot.index, .installed = true});
        return;
    }
    take_piece(r, m);
}

/* ---- what the caller has done ---- */

static void give_up(struct raft *r, const char *why)
{
    raft_tell(r, "refuses snapshot %" PRIu64 ": %s", r->receiving.snapshot.index, why);
    reply_to(r, r->receiving.from,
             (struct raft_snapshot_reply){r->receiving.snapshot.index, .refused = true});
    r->receiving = (struct raft_receiving){0};
}

int raft_snapshot_stored(struct raft *r, const struct raft_event *event, struct err *e)
{
    struct raft_snapshot *s = &r->receiving.snapshot;
    if (!r->receiving.storing || (!event->snapshot.failed && (event->snapshot.offset <= s->offset ||
                                                              event->snapshot.offset > s->bytes))) {
        return err_set(e, ERR_INVALID, "no piece was to be stored");
    }
    r->receiving.storing = false;
    if (event->snapshot.failed) {
        give_up(r, "a piece could not be stored");
        return 0;
    }
    s->offset = event->snapshot.offset;
    if (s->offset < s->bytes) {
        reply_to(r, r->receiving.from, (struct raft_snapshot_reply){s->index, .offset = s->offset});
    } else if (is_stale(r, s)) { /* the log has got there meanwhile */
        reply_to(r, r->receiving.from, (struct raft_snapshot_reply){s->index, .installed = true});
        r->receiving = (struct raft_receiving){0};
    } else {
        r->receiving.installing = true;
        r->out.install = true;
    }
    return 0;
}

int raft_installed(struct raft *r, const struct raft_event *event, struct err *e)
{
    struct raft_snapshot s = r->receiving.snapshot;
    if (!r->receiving.installing) {
        return err_set(e, ERR_INVALID, "no snapshot was to be installed");
    }
    if (event->snapshot.failed) {
        give_up(r, "it could not be installed");
        return 0;
    }
    if (event->snapshot.index != s.index || event->snapshot.last_term != s.last_term ||
        event->snapshot.config == NULL || event->snapshot.config_index > s.index) {
        return err_set(e, ERR_INVALID, "another snapshot than %" PRIu64 " was installed", s.index);
    }
    raft_tell(r, "has installed snapshot %" PRIu64, s.index);
    raft_log_reset(&r->log, s.index, s.last_term);
    r->commit = s.index;
    r->ready = s.index;
    raft_config_restart(r, event->snapshot.config, event->snapshot.config_index);
    reply_to(r, r->receiving.from, (struct raft_snapshot_reply){s.index, .installed = true});
    r->receiving = (struct raft_receiving){0};
    return 0;
}
