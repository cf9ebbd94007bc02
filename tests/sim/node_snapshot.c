/* Snapshots of one node: making one, sending pieces, receiving, and the steps of an installation
 * (DESIGN 5): received aside, checked, made durable, CURRENT switched, log begun anew. A crash may
 * come between each two; node_life.c completes what it finds. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "tests/sim/judge.h"
#include "tests/sim/node.h"
#include "tests/sim/scenario.h"

/* ---- making and sending ---- */

void node_make_snapshot(struct node *n)
{
    if (n->making || n->installing != INSTALL_NONE || n->live->applied == 0) {
        return;
    }
    n->making = true;
    sim_after(n->sim, 1000 + sim_about(n->sim, 20 * 1000), EVENT_SNAPSHOT_MADE, n);
}

/* The checkpoint makes the state durable first, and its index is read from inside it. */
void node_on_snapshot_made(struct node *n, struct event *ev)
{
    struct raft_update u;
    (void)ev;
    n->making = false;
    if (n->installing != INSTALL_NONE || n->live->applied == 0) {
        return;
    }
    n->is_persisting = false;
    *n->persisted = *n->live;
    buf_clear(&n->made.bytes);
    machine_encode(n->persisted, &n->made.bytes);
    n->made.index = n->persisted->applied;
    n->made.last_term = n->persisted->applied_term;
    n->made.bytes_total = n->made.bytes.length;
    n->sim->stats->snapshots_made++;
    (void)node_step(n,
                    &(struct raft_event){.kind = RAFT_SNAPSHOT_MADE,
                                         .snapshot = {.index = n->made.index,
                                                      .last_term = n->made.last_term,
                                                      .bytes = n->made.bytes_total}},
                    &u);
}

bool node_fill_piece(struct node *n, struct packet *p)
{
    struct raft_snapshot *s = &p->message.snapshot;
    if (s->index != n->made.index || s->offset > n->made.bytes_total) {
        return false; /* another one has been made since */
    }
    size_t length = (size_t)(n->made.bytes_total - s->offset);
    length = length < n->sim->plan.piece_bytes ? length : n->sim->plan.piece_bytes;
    p->body_bytes = length;
    p->body = xmemdup(n->made.bytes.data + s->offset, length);
    s->data = (struct span){p->body, length};
    return true;
}

/* ---- receiving ---- */

void node_store_piece(struct node *n, const struct raft_snapshot *piece)
{
    struct image *r = &n->received;
    bool fits = piece->offset == 0 || (piece->index == r->index && piece->bytes == r->bytes_total &&
                                       piece->offset == r->bytes.length);
    if (piece->offset == 0) {
        buf_clear(&r->bytes);
        r->index = piece->index;
        r->last_term = piece->last_term;
        r->bytes_total = piece->bytes;
    }
    if (fits) {
        buf_append(&r->bytes, piece->data.data, piece->data.length);
    }
    if (fits && n->damage_piece && piece->data.length > 0) {
        n->damage_piece = false;
        n->sim->stats->faults[FAULT_PIECE_DAMAGE]++;
        r->bytes.data[r->bytes.length - 1 - sim_below(n->sim, piece->data.length)] ^= 0x10;
    }
    struct event *ev = sim_after(n->sim, 50 + sim_about(n->sim, 500), EVENT_PIECE, n);
    ev->a = fits;
}

void node_on_piece(struct node *n, struct event *ev)
{
    struct raft_update u;
    (void)node_step(n,
                    &(struct raft_event){.kind = RAFT_SNAPSHOT_STORED,
                                         .snapshot = {.index = n->received.index,
                                                      .last_term = n->received.last_term,
                                                      .bytes = n->received.bytes_total,
                                                      .offset = n->received.bytes.length,
                                                      .failed = !ev->a}},
                    &u);
}

/* ---- installing ---- */

void node_install(struct node *n, const struct raft_snapshot *snapshot)
{
    CHECK(n->installing == INSTALL_NONE);
    CHECK(snapshot->index == n->received.index);
    n->installing = INSTALL_CHECK;
    sim_after(n->sim, 100 + sim_about(n->sim, 3000), EVENT_INSTALL, n);
}

static void installed(struct node *n, bool failed)
{
    struct raft_update u;
    struct raft_event event = {.kind = RAFT_INSTALLED};
    event.snapshot.index = n->received.index;
    event.snapshot.last_term = n->received.last_term;
    event.snapshot.bytes = n->received.bytes_total;
    event.snapshot.failed = failed;
    event.snapshot.config = &n->live->config;
    event.snapshot.config_index = n->live->config_index;
    n->installing = INSTALL_NONE;
    (void)node_step(n, &event, &u);
}

/* Is it whole, and what it says it is? Before anything of ours is given up for it. */
static bool check_received(struct node *n)
{
    struct span bytes = {n->received.bytes.data, n->received.bytes.length};
    return machine_decode(bytes, n->persisting) && n->persisting->applied == n->received.index &&
           n->persisting->applied_term == n->received.last_term &&
           n->persisting->applied > n->live->applied;
}

static void reset_log(struct node *n)
{
    struct err e = ERR_INIT;
    scenario_note(n, BOUNDARY_INSTALL);
    judge_reset(n, &n->log, n->aside.index);
    if (log_store_reset(n->store, n->aside.index, n->aside.last_term, &e) < 0) {
        sim_trace(n->sim, "node %u: %s", n->slot, err_message(&e));
        node_give_up(n, SIM_CRASH_SUBSET);
        return;
    }
    mirror_reset(&n->log, n->aside.index, n->aside.last_term);
    n->durable_last = n->aside.index;
    n->durable_hard = log_store_hard(n->store);
    n->commit = n->aside.index;
    n->has_aside = false;
    n->sim->stats->snapshots_installed++;
    installed(n, false);
}

/* One step; the next one comes after a while. */
static void step_install(struct node *n)
{
    switch (n->installing) {
    case INSTALL_NONE:
        return;
    case INSTALL_CHECK:
        n->is_persisting = false;
        if (!check_received(n)) {
            installed(n, true);
            return;
        }
        judge_state(n, n->persisting, "in a snapshot received");
        n->installing = INSTALL_SYNC;
        return;
    case INSTALL_SYNC:
        n->aside.index = n->received.index;
        n->aside.last_term = n->received.last_term;
        buf_clear(&n->aside.bytes);
        buf_append(&n->aside.bytes, n->received.bytes.data, n->received.bytes.length);
        n->has_aside = true;
        n->installing = INSTALL_SWITCH;
        return;
    case INSTALL_SWITCH:
        if (n->flushing || n->queue) {
            return; /* the term in which it came must be durable before it is the state */
        }
        CHECK(machine_decode((struct span){n->aside.bytes.data, n->aside.bytes.length},
                             n->persisted));
        *n->live = *n->persisted;
        n->installing = INSTALL_RESET;
        return;
    case INSTALL_RESET:
        if (!n->flushing && !n->queue) {
            reset_log(n);
        }
        return;
    }
}

void node_on_install(struct node *n, struct event *ev)
{
    (void)ev;
    if (scenario_stops_install(n)) {
        return;
    }
    if (n->crash_in_install && sim_chance(n->sim, 25)) {
        n->crash_in_install = false;
        n->sim->stats->faults[FAULT_INSTALL_CRASH]++;
        node_give_up(n, (enum sim_crash)sim_below(n->sim, SIM_CRASH_COUNT));
        return;
    }
    step_install(n);
    if (n->installing != INSTALL_NONE && !n->failing) {
        sim_after(n->sim, 100 + sim_about(n->sim, 3000), EVENT_INSTALL, n);
    }
}
