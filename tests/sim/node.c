/* The library of one node: events in, updates carried out in the order that raft.h demands. */
#include "tests/sim/node.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/macros.h"
#include "tests/sim/faults.h"
#include "tests/sim/judge.h"
#include "tests/sim/net.h"

enum { CARE_US = 150 * 1000, TICK_LEAST_US = 200 };

/* ---- clock ---- */

static uint64_t local_us(const struct node *n)
{
    return n->clock_base_us + (n->sim->now - n->clock_anchor) * n->clock_rate / 1024;
}

time_ms node_now(const struct node *n)
{
    return local_us(n) / 1000;
}

/* A tick that comes too early looks again; only an earlier wish needs a new event. */
void node_tick_soon(struct node *n)
{
    uint64_t want_us = raft_next_ms(n->raft) * 1000;
    uint64_t have_us = local_us(n);
    sim_us delay = want_us > have_us ? (want_us - have_us) * 1024 / n->clock_rate + 1 : 0;
    delay = delay < TICK_LEAST_US ? TICK_LEAST_US : delay;
    delay = delay > 60 * 1000000 ? 60 * 1000000 : delay;
    if (n->tick_at > n->sim->now && n->tick_at <= n->sim->now + delay) {
        return;
    }
    struct event *ev = sim_after(n->sim, delay, EVENT_TICK, n);
    ev->a = ++n->tick_number;
    n->tick_at = ev->at;
}

void node_on_tick(struct node *n, struct event *ev)
{
    if (ev->a != n->tick_number) {
        return;
    }
    n->tick_at = 0;
    if (node_now(n) < raft_next_ms(n->raft)) {
        node_tick_soon(n);
        return;
    }
    struct raft_update u;
    (void)node_step(n, &(struct raft_event){.kind = RAFT_TICK}, &u);
}

/* ---- messages ---- */

void packet_free(struct packet *p)
{
    if (p) {
        free(p->body);
        free(p);
    }
}

static struct node *node_of_key(struct sim *s, raft_key key)
{
    for (uint32_t i = 0; i < s->node_count; i++) {
        if (s->nodes[i]->member.key == key) {
            return s->nodes[i];
        }
    }
    return NULL;
}

/* A message for an identity that is gone reaches whoever has its address now. */
static uint32_t slot_of_key(struct node *n, raft_key key)
{
    const struct node *to = node_of_key(n->sim, key);
    const struct raft_member *m = raft_config_find(raft_configuration(n->raft), key);
    return to ? to->slot : m ? (uint32_t)(m->id - 1) : n->slot;
}

static void mix_message(struct sim *s, const struct raft_message *m)
{
    sim_mix(s, m->kind * 1000003 + m->term);
    if (m->kind == RAFT_APPEND) {
        sim_mix(s, m->append.prev_index * 64 + m->append.count);
        sim_mix(s, m->append.commit);
    } else if (m->kind == RAFT_APPEND_REPLY) {
        sim_mix(s, m->append_reply.match * 2 + m->append_reply.ok);
    }
}

static void trace_message(struct node *n, const char *what, const struct raft_message *m)
{
    static const char *const names[] = {"",           "append",   "append_reply",   "vote",
                                        "vote_reply", "snapshot", "snapshot_reply", "timeout_now"};
    char rest[120] = "";
    if (!n->sim->options.trace) {
        return;
    }
    if (m->kind == RAFT_APPEND) {
        (void)snprintf(rest, sizeof(rest), "prev %" PRIu64 "/%" PRIu64 " count %zu commit %" PRIu64,
                       m->append.prev_index, m->append.prev_term, m->append.count,
                       m->append.commit);
    } else if (m->kind == RAFT_APPEND_REPLY) {
        (void)snprintf(rest, sizeof(rest), "%s match %" PRIu64 " prev %" PRIu64 " hint %" PRIu64,
                       m->append_reply.ok ? "ok" : "no", m->append_reply.match,
                       m->append_reply.prev_index, m->append_reply.hint_index);
    } else if (m->kind == RAFT_VOTE) {
        (void)snprintf(rest, sizeof(rest), "%slast %" PRIu64 "/%" PRIu64, m->vote.pre ? "pre " : "",
                       m->vote.last_index, m->vote.last_term);
    } else if (m->kind == RAFT_VOTE_REPLY) {
        (void)snprintf(rest, sizeof(rest), "%s%s", m->vote_reply.pre ? "pre " : "",
                       m->vote_reply.granted ? "granted" : "refused");
    } else if (m->kind == RAFT_SNAPSHOT) {
        (void)snprintf(rest, sizeof(rest), "%" PRIu64 " at %" PRIu64 " of %" PRIu64,
                       m->snapshot.index, m->snapshot.offset, m->snapshot.bytes);
    } else if (m->kind == RAFT_SNAPSHOT_REPLY) {
        (void)snprintf(rest, sizeof(rest), "%" PRIu64 " at %" PRIu64 "%s%s",
                       m->snapshot_reply.index, m->snapshot_reply.offset,
                       m->snapshot_reply.installed ? " installed" : "",
                       m->snapshot_reply.refused ? " refused" : "");
    }
    sim_trace(n->sim, "node %u %s %s term %" PRIu64 " %s", n->slot, what, names[m->kind], m->term,
              rest);
}

static bool fill(struct node *n, struct packet *p)
{
    if (p->message.kind == RAFT_APPEND && p->message.append.count > 0) {
        return node_fill(n, p);
    }
    return p->message.kind == RAFT_SNAPSHOT ? node_fill_piece(n, p) : true;
}

static void send_packet(struct node *n, struct packet *p)
{
    trace_message(n, "sends", &p->message);
    judge_send(n, &p->message);
    net_send(n->sim, n->slot, slot_of_key(n, p->message.to), p);
}

static struct packet *new_packet(const struct raft_message *m)
{
    struct packet *p = xcalloc(1, sizeof(*p));
    p->message = *m;
    return p;
}

static void send_now(struct node *n, const struct raft_message *m)
{
    struct packet *p = new_packet(m);
    if (fill(n, p)) {
        send_packet(n, p);
    } else {
        packet_free(p);
    }
}

/* Goes when the write of this number is durable; in order behind those that wait already. */
static void send_later(struct node *n, const struct raft_message *m, uint64_t after_seq)
{
    struct packet *p = new_packet(m);
    p->after_seq = after_seq;
    if (!fill(n, p)) {
        packet_free(p);
        return;
    }
    *n->waiting_end = p;
    n->waiting_end = &p->next;
}

void node_release(struct node *n)
{
    while (n->waiting && n->waiting->after_seq <= n->durable_seq && !n->failing) {
        struct packet *p = n->waiting;
        n->waiting = p->next;
        n->waiting_end = n->waiting ? n->waiting_end : &n->waiting;
        p->next = NULL;
        send_packet(n, p);
    }
}

void node_on_packet(struct node *n, struct event *ev)
{
    struct packet *p = ev->data;
    struct raft_update u;
    if (net_intercepts(n->sim, ev)) {
        return;
    }
    if (!n->up || p->message.to != n->member.key) {
        return; /* nobody listens, or a machine that was given another identity */
    }
    sim_mix(n->sim, ev->a);
    mix_message(n->sim, &p->message);
    trace_message(n, "gets", &p->message);
    struct err e = ERR_INIT;
    int r = node_step_err(n, &(struct raft_event){.kind = RAFT_RECEIVE, .message = &p->message}, &u,
                          &e);
    if (r < 0) {
        sim_fail(n->sim, "protocol", "node %u refuses a message of node %" PRIu64 ": %s", n->slot,
                 ev->a, err_message(&e));
    }
}

/* ---- steps ---- */

/* What has changed in the node's standing. */
static void note_status(struct node *n, const struct raft_status *now)
{
    bool lost =
        n->status.role == RAFT_LEADER && (now->role != RAFT_LEADER || now->term != n->status.term);
    if (now->role != n->status.role || now->term != n->status.term) {
        sim_trace(n->sim, "node %u is %s in term %" PRIu64, n->slot, raft_role_name(now->role),
                  now->term);
        n->sim->stats->terms = now->term > n->sim->stats->terms ? now->term : n->sim->stats->terms;
        n->read_done = 0;
        n->tick_proposed_ms = node_now(n);
    }
    if (now->role == RAFT_LEADER && n->status.role != RAFT_LEADER) {
        faults_see_leader(n->sim, n);
    }
    n->status = *now;
    if (lost) {
        node_give_up_waiters(n);
    }
}

static void carry_out(struct node *n, const struct raft_update *u)
{
    struct raft_status now = raft_status(n->raft);
    if (u->write.seq != 0) {
        node_write(n, u); /* into the queue: messages name entries that stand there */
    }
    judge_step(n, &now, u);
    n->commit = u->commit;
    note_status(n, &now);
    for (size_t i = 0; i < u->send_count && !n->failing; i++) {
        send_now(n, &u->send[i]);
    }
    for (size_t i = 0; i < u->send_after_count && !n->failing; i++) {
        send_later(n, &u->send_after[i], u->after_seq);
    }
    n->keep = u->keep;
    if (u->read.done > n->read_done) {
        n->read_done = u->read.done;
        n->read_index = u->read.index;
        node_reads_confirmed(n);
    }
    if (u->store) {
        node_store_piece(n, u->store);
    }
    if (u->install) {
        node_install(n, u->install);
    }
    if (u->want_snapshot) {
        node_make_snapshot(n);
    }
}

int node_step_err(struct node *n, struct raft_event *event, struct raft_update *ret_update,
                  struct err *e)
{
    event->now_ms = node_now(n);
    int r = raft_step(n->raft, event, ret_update, e);
    carry_out(n, ret_update);
    if (n->failing) {
        return r;
    }
    node_release(n);
    node_disk_go(n);
    node_apply_go(n);
    node_tick_soon(n);
    return r;
}

int node_step(struct node *n, struct raft_event *event, struct raft_update *ret_update)
{
    return node_step_err(n, event, ret_update, NULL);
}

/* ---- several times a second ---- */

void node_on_care(struct node *n, struct event *ev)
{
    (void)ev;
    struct err e = ERR_INIT;
    if (!n->flushing && !n->queue && n->installing == INSTALL_NONE) {
        if (log_store_tick(n->store, node_now(n), &e) < 0) {
            node_give_up(n, SIM_CRASH_SUBSET);
            return;
        }
        node_cut_log(n);
    }
    if (!n->failing && n->status.role == RAFT_LEADER) {
        node_propose_tick(n);
    }
    if (!n->failing) {
        node_persist_go(n);
        sim_after(n->sim, CARE_US, EVENT_CARE, n);
    }
}
