/* The state of one node: the apply thread, flushes of the state, and the clients who wait. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "tests/sim/client.h"
#include "tests/sim/judge.h"
#include "tests/sim/node.h"

enum {
    APPLY_BATCH_COUNT = 32, /* entries of one atomic batch */
    CLUSTER_TICK_MS = 700,
};

/* ---- waiters ---- */

static void waiters_push(struct waiters *w, struct waiter waiter)
{
    if (w->head + w->count == w->capacity) {
        if (w->head > w->capacity / 2) {
            memmove(w->all, w->all + w->head, w->count * sizeof(waiter));
            w->head = 0;
        } else {
            w->capacity = w->capacity ? 2 * w->capacity : 64;
            w->all = xreallocarray(w->all, w->capacity, sizeof(waiter));
        }
    }
    w->all[w->head + w->count++] = waiter;
}

static void waiters_pop(struct waiters *w)
{
    w->head++;
    w->count--;
}

static void answer(struct node *n, const struct waiter *w, struct reply reply)
{
    reply.op = w->op;
    reply.attempt = w->attempt;
    client_answer(n->sim, reply);
}

void node_give_up_waiters(struct node *n)
{
    for (; n->writes.count > 0; waiters_pop(&n->writes)) {
        answer(n, &n->writes.all[n->writes.head], (struct reply){.kind = REPLY_UNKNOWN});
    }
    for (; n->reads.count > 0; waiters_pop(&n->reads)) {
        answer(n, &n->reads.all[n->reads.head], (struct reply){.kind = REPLY_BUSY});
    }
}

static struct reply reply_to(struct machine_reply result)
{
    switch (result.result) {
    case MACHINE_NO_SESSION:
        return (struct reply){.kind = REPLY_NO_SESSION};
    case MACHINE_STALE:
        return (struct reply){.kind = REPLY_STALE};
    case MACHINE_BUSY:
        return (struct reply){.kind = REPLY_BUSY};
    case MACHINE_DONE:
        break;
    }
    return (struct reply){.kind = REPLY_DONE, .version = result.version};
}

static void answer_writes(struct node *n, const struct log_entry *entry,
                          struct machine_reply result)
{
    struct waiters *w = &n->writes;
    while (w->count > 0 && w->all[w->head].index <= entry->index) {
        const struct waiter *first = &w->all[w->head];
        bool ours = first->index == entry->index && first->term == entry->term;
        answer(n, first, ours ? reply_to(result) : (struct reply){.kind = REPLY_UNKNOWN});
        waiters_pop(w);
    }
}

static void answer_reads(struct node *n)
{
    struct waiters *w = &n->reads;
    while (w->count > 0 && w->all[w->head].index > 0 && w->all[w->head].index <= n->live->applied) {
        const struct waiter *first = &w->all[w->head];
        const struct machine_register *r = &n->live->registers[n->sim->clients->ops[first->op].key];
        judge_read(n, n->sim->clients->ops[first->op].key, first->floor, r->version);
        answer(n, first,
               (struct reply){.kind = REPLY_DONE, .version = r->version, .seen_op = r->op});
        waiters_pop(w);
    }
}

void node_reads_confirmed(struct node *n)
{
    struct waiters *w = &n->reads;
    for (size_t i = w->head; i < w->head + w->count && w->all[i].round <= n->read_done; i++) {
        if (w->all[i].index == 0) {
            w->all[i].index = n->read_index;
        }
    }
    answer_reads(n);
}

/* ---- apply ---- */

void node_apply_go(struct node *n)
{
    if (n->apply_coming || n->failing || n->commit <= n->live->applied ||
        n->installing >= INSTALL_SWITCH) {
        return;
    }
    n->apply_coming = true;
    sim_us delay = 20 + sim_below(n->sim, 300);
    if (sim_chance(n->sim, 1)) {
        delay += sim_below(n->sim, 100 * 1000);
    }
    sim_after(n->sim, delay, EVENT_APPLY, n);
}

static void apply_one(struct node *n, const struct log_entry *entry)
{
    struct machine_reply result = machine_apply(n->live, entry);
    judge_applied(n, entry, result);
    sim_mix(n->sim, n->live->digest);
    answer_writes(n, entry, result);
}

void node_on_apply(struct node *n, struct event *ev)
{
    (void)ev;
    n->apply_coming = false;
    if (n->installing >= INSTALL_SWITCH || n->commit <= n->live->applied) {
        return;
    }
    log_index to = n->live->applied + APPLY_BATCH_COUNT;
    to = to < n->commit ? to : n->commit;
    if (!node_read(n, n->live->applied + 1, to)) {
        return;
    }
    for (size_t i = 0; i < n->read.count; i++) {
        apply_one(n, &n->read.entries[i]);
    }
    answer_reads(n);
    node_apply_go(n);
}

/* ---- flushes of the state: its only way to the disk ---- */

void node_persist_go(struct node *n)
{
    bool wanted = n->live->applied >= n->persisted->applied + n->sim->plan.persist_count;
    bool anyway = n->live->applied > n->persisted->applied && sim_chance(n->sim, 1);
    if (n->is_persisting || n->installing != INSTALL_NONE || !(wanted || anyway)) {
        return;
    }
    n->is_persisting = true;
    *n->persisting = *n->live;
    sim_after(n->sim, 2 * 1000 + sim_about(n->sim, 20 * 1000), EVENT_PERSIST, n);
}

void node_on_persist(struct node *n, struct event *ev)
{
    (void)ev;
    if (n->is_persisting) {
        n->is_persisting = false;
        *n->persisted = *n->persisting;
    }
}

/* ---- requests ---- */

static struct reply refusal(struct node *n, int code)
{
    struct reply reply = {.kind = code == ERR_NOT_LEADER ? REPLY_NOT_LEADER : REPLY_BUSY};
    const struct raft_member *leader =
        raft_config_find(raft_configuration(n->raft), n->status.leader);
    reply.hint = leader && code == ERR_NOT_LEADER ? (uint32_t)leader->id : 0;
    return reply;
}

static void request_write(struct node *n, struct waiter w, const struct machine_put *put)
{
    static struct buf bytes = BUF_INIT;
    struct raft_update u;
    buf_clear(&bytes);
    machine_encode_put(put, sim_below(n->sim, n->sim->plan.filler_bytes), &bytes);
    struct log_entry entry = {.type = LOG_ENTRY_COMMAND, .data = {bytes.data, bytes.length}};
    int r = node_step(n, &(struct raft_event){.kind = RAFT_PROPOSE, .propose = {&entry, 1}}, &u);
    if (r < 0) {
        answer(n, &w, refusal(n, r));
        return;
    }
    w.index = entry.index;
    w.term = entry.term;
    if (n->status.role == RAFT_LEADER && n->status.term == entry.term) {
        waiters_push(&n->writes, w);
    } else {
        answer(n, &w, (struct reply){.kind = REPLY_UNKNOWN});
    }
}

static void request_read(struct node *n, struct waiter w)
{
    struct raft_update u;
    int r = node_step(n, &(struct raft_event){.kind = RAFT_READ}, &u);
    if (r < 0) {
        answer(n, &w, refusal(n, r));
        return;
    }
    w.round = u.read.asked;
    waiters_push(&n->reads, w);
    node_reads_confirmed(n);
}

void node_on_request(struct node *n, struct event *ev)
{
    struct waiter w = {.op = (uint32_t)ev->a, .attempt = (uint32_t)(ev->a >> 32)};
    if (!n->up) {
        if (sim_chance(n->sim, 80)) {
            answer(n, &w, (struct reply){.kind = REPLY_REFUSED});
        }
        return;
    }
    if (n->sim->clients->ops[w.op].is_read) {
        w.floor = *(const uint64_t *)ev->data;
        request_read(n, w);
    } else {
        request_write(n, w, ev->data);
    }
}

/* The leader carries cluster time on (DESIGN 4); sessions end by it. */
void node_propose_tick(struct node *n)
{
    static struct buf bytes = BUF_INIT;
    struct raft_update u;
    time_ms now = node_now(n);
    if (now < n->tick_proposed_ms + CLUSTER_TICK_MS || n->live->applied != n->commit) {
        return;
    }
    buf_clear(&bytes);
    machine_encode_tick(n->live->cluster_ms + CLUSTER_TICK_MS, &bytes);
    struct log_entry entry = {.type = LOG_ENTRY_COMMAND, .data = {bytes.data, bytes.length}};
    n->tick_proposed_ms = now;
    (void)node_step(n, &(struct raft_event){.kind = RAFT_PROPOSE, .propose = {&entry, 1}}, &u);
}
