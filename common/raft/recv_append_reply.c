/* The answer of a follower: how far its log is ours (5.3). Answers may be lost, come twice, or in
 * another order. */
#include <inttypes.h>

#include "common/macros.h"
#include "common/raft/raft_internal.h"

int raft_check_append_reply(const struct raft *r, const struct raft_message *m, struct err *e)
{
    const struct raft_append_reply *a = &m->append_reply;
    bool ours = r->role == RAFT_LEADER && m->term == r->hard.term;
    if (ours && (a->match > raft_log_last(&r->log) || a->prev_index > raft_log_last(&r->log) ||
                 a->round > r->round || a->hint_term > m->term)) {
        return err_set(e, ERR_INVALID, "a reply to what was never sent");
    }
    return 0;
}

static void accepted(struct raft *r, struct raft_progress *p, const struct raft_append_reply *a)
{
    raft_progress_advance(p, a->match);
    if (p->state == RAFT_PEER_PROBE) {
        p->state = RAFT_PEER_REPLICATE;
        p->next = MAX(p->match, a->prev_index) + 1;
    } else if (p->state == RAFT_PEER_SNAPSHOT && p->match >= r->log.start) {
        raft_progress_probe(p, p->match + 1); /* it has got there by other means */
    }
    raft_lead_commit(r);
}

/* Back up to where the logs can agree. The hint passes over whole terms of theirs; what follows it
 * in our log passes over whole terms of ours (5.3, end). */
static void refused(struct raft *r, struct raft_progress *p, const struct raft_append_reply *a)
{
    bool old =
        p->state == RAFT_PEER_REPLICATE ? a->prev_index <= p->match : a->prev_index != p->next - 1;
    /* All logs agree before entry 1: that is no answer, but tells the term (raft_receive.c), to one
     * who knows it already. */
    if (old || p->state == RAFT_PEER_SNAPSHOT || a->prev_index == 0) {
        return;
    }
    log_index from = MIN(a->hint_index, a->prev_index - 1);
    if (raft_log_has(&r->log, from)) {
        from = raft_log_back_up(&r->log, from, a->hint_term);
    }
    raft_progress_probe(p, MAX(from, p->match) + 1);
}

void raft_recv_append_reply(struct raft *r, const struct raft_message *m)
{
    const struct raft_append_reply *a = &m->append_reply;
    struct raft_progress *p = r->role == RAFT_LEADER ? raft_progress_of(r, m->from) : NULL;
    if (p == NULL) {
        return;
    }
    p->heard_ms = r->now_ms;
    p->round = MAX(p->round, a->round);
    if (a->ok) {
        accepted(r, p, a);
    } else {
        refused(r, p, a);
    }
    if (r->role == RAFT_LEADER) { /* still: its own removal may be committed by this */
        raft_read_confirm(r);
        raft_transfer_go_on(r);
    }
}
