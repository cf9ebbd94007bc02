/* The life of one node: identity, start, crash, and what a start completes or finds. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "tests/sim/faults.h"
#include "tests/sim/judge.h"
#include "tests/sim/node.h"
#include "tests/sim/scenario.h"

struct node *node_new(struct sim *s, uint32_t slot)
{
    struct node *n = xcalloc(1, sizeof(*n));
    n->sim = s;
    n->slot = slot;
    n->disk = sim_disk_new();
    n->live = xcalloc(1, sizeof(*n->live));
    n->persisted = xcalloc(1, sizeof(*n->persisted));
    n->persisting = xcalloc(1, sizeof(*n->persisting));
    machine_init(n->persisted);
    n->queue_end = &n->queue;
    n->waiting_end = &n->waiting;
    buf_init(&n->made.bytes);
    buf_init(&n->received.bytes);
    buf_init(&n->aside.bytes);
    log_read_init(&n->read);
    return n;
}

void node_free(struct node *n)
{
    raft_free(n->raft);
    log_store_close(n->store);
    node_disk_forget(n);
    sim_disk_free(n->disk);
    free(n->log.entries);
    free(n->live);
    free(n->persisted);
    free(n->persisting);
    free(n->writes.all);
    free(n->reads.all);
    buf_deinit(&n->made.bytes);
    buf_deinit(&n->received.bytes);
    buf_deinit(&n->aside.bytes);
    log_read_deinit(&n->read);
    free(n);
}

void node_identity(struct node *n)
{
    struct raft_member *m = &n->member;
    memset(m, 0, sizeof(*m));
    rng_fill(&n->sim->rng, m->directory.bytes, sizeof(m->directory.bytes));
    m->directory.bytes[0] |= 1; /* the key is not 0 */
    m->key = raft_key_of(m->directory);
    m->id = n->slot + 1;
    (void)snprintf(m->address, sizeof(m->address), "node-%u:1", n->slot);
}

static int open_store(struct node *n, struct err *e)
{
    struct log_store_options options = {
        .disk = sim_disk_as_disk(n->disk),
        .segment_bytes = n->sim->plan.segment_bytes,
        .salt_seed = n->sim->options.seed * 64 + n->slot,
    };
    return log_store_open(&options, &n->store, e);
}

void node_found(struct node *n, const struct raft_config *config)
{
    struct buf bytes = BUF_INIT;
    struct log_hard_state hard = {.term = 1};
    raft_config_encode(config, &bytes);
    struct log_entry entry = {1, 1, LOG_ENTRY_CONFIG, {bytes.data, bytes.length}};
    CHECK(open_store(n, NULL) == 0);
    CHECK(log_store_append(n->store, &hard, &entry, 1, NULL) == 0);
    CHECK(log_store_sync(n->store, NULL) == 0);
    log_store_close(n->store);
    n->store = NULL;
    buf_deinit(&bytes);
}

/* ---- start ---- */

/* Rebuilds the mirror from the log store. */
static bool recover_log(struct node *n)
{
    struct mirror before = n->log;
    term_no start_term = 0;
    log_index start = log_store_start(n->store);
    log_index last = log_store_last(n->store);
    CHECK(log_store_term(n->store, start, &start_term) == 0);
    n->log = (struct mirror){.start = start, .start_term = start_term};
    bool good = true;
    for (log_index at = start + 1; at <= last && good; at = mirror_last(&n->log) + 1) {
        good = node_read(n, at, last);
        for (size_t i = 0; good && i < n->read.count; i++) {
            const struct log_entry *e = &n->read.entries[i];
            uint64_t chain = judge_recovered_entry(n, e);
            mirror_push(&n->log, (struct mirror_entry){e->term, e->type, {0}, chain});
        }
    }
    if (good) {
        judge_recovered(n, &before, log_store_hard(n->store));
        n->durable_last = last;
        n->durable_hard = log_store_hard(n->store);
        free(before.entries);
    } else {
        free(n->log.entries);
        n->log = before;
    }
    return good;
}

/* A crash between the switch of CURRENT and the new log leaves a log that ends before the state, or
 * is not the one that the state came from. */
static int complete_install(struct node *n, struct err *e)
{
    const struct machine *m = n->persisted;
    if (m->applied < n->log.start) {
        sim_fail(n->sim, "log store", "node %u: state as of %" PRIu64 ", log begins after %" PRIu64,
                 n->slot, m->applied, n->log.start);
    }
    if (m->applied <= mirror_last(&n->log) && mirror_term(&n->log, m->applied) == m->applied_term) {
        return 0;
    }
    judge_reset(n, &n->log, m->applied);
    int r = log_store_reset(n->store, m->applied, m->applied_term, e);
    if (r == 0) {
        mirror_reset(&n->log, m->applied, m->applied_term);
        n->durable_last = m->applied;
        n->sim->stats->snapshots_installed++;
    }
    return r;
}

static void on_trace(void *arg, const char *line)
{
    struct node *n = arg;
    sim_trace(n->sim, "node %u: %s", n->slot, line);
}

static int start_raft(struct node *n, struct err *e)
{
    const struct plan *p = &n->sim->plan;
    struct log_hard_state hard = log_store_hard(n->store);
    struct raft_options options = {
        .self = n->member.key,
        .seed = rng_u64(&n->sim->rng),
        .now_ms = node_now(n),
        .hard = hard,
        .start_index = n->log.start,
        .start_term = n->log.start_term,
        .applied = n->live->applied,
        .config = n->live->config,
        .config_index = n->live->config_index,
        .heartbeat_ms = p->heartbeat_ms,
        .election_ms = p->election_ms,
        .disk_hung_ms = p->disk_hung_ms,
        .append_bytes_max = p->append_bytes_max,
        .inflight_count_max = p->inflight_count_max,
        .piece_bytes = p->piece_bytes,
    };
    int r = raft_new(&options, &n->raft, e);
    for (log_index at = n->log.start + 1; r == 0 && at <= mirror_last(&n->log);) {
        if (!node_read(n, at, mirror_last(&n->log))) {
            return ERR_IO;
        }
        for (size_t i = 0; r == 0 && i < n->read.count; i++, at++) {
            r = raft_restore(n->raft, &n->read.entries[i], e);
        }
    }
    if (r == 0 && n->sim->options.trace) {
        raft_trace(n->raft, on_trace, n);
    }
    return r;
}

/* An error of the disk while starting is the process's end, like any other. */
static void fail_start(struct node *n, const struct err *e)
{
    const struct sim_disk_struck now = sim_disk_struck(n->disk);
    sim_trace(n->sim, "node %u cannot start: %s", n->slot, err_message(e));
    if (memcmp(&now, &n->struck, sizeof(now)) == 0) {
        sim_fail(n->sim, "log store", "node %u cannot start: %s", n->slot, err_message(e));
    }
    faults_see_disk(n->sim, n);
    node_crash(n, SIM_CRASH_SUBSET);
}

void node_start(struct node *n)
{
    struct err e = ERR_INIT;
    if (n->up) {
        return;
    }
    n->life++;
    n->up = true;
    n->failing = false;
    scenario_note(n, BOUNDARY_START);
    scenario_starts(n);
    n->clock_base_us = 1000000 + sim_below(n->sim, 1000000000);
    n->clock_anchor = n->sim->now;
    uint32_t drift = n->sim->plan.drift_percent * 1024 / 100;
    n->clock_rate = 1024 - drift + (uint32_t)sim_below(n->sim, 2 * drift + 1);
    n->tick_at = 0;
    n->durable_seq = 0;
    n->tick_proposed_ms = 0;
    n->keep = 0;
    n->read_done = 0;
    if (open_store(n, &e) < 0 || !recover_log(n) || complete_install(n, &e) < 0) {
        fail_start(n, &e);
        return;
    }
    judge_state(n, n->persisted, "found at the start");
    *n->live = *n->persisted;
    n->has_aside = false;
    n->commit = n->live->applied;
    int r = start_raft(n, &e);
    if (r < 0 && n->failing) {
        fail_start(n, &e);
        return;
    }
    if (r < 0) {
        sim_fail(n->sim, "library", "node %u cannot start: %s", n->slot, err_message(&e));
    }
    n->status = raft_status(n->raft);
    n->sim->stats->torn_tails += log_store_stats(n->store).torn_count;
    sim_trace(n->sim,
              "node %u starts: state %" PRIu64 ", log %" PRIu64 " to %" PRIu64 ", term %" PRIu64,
              n->slot, n->live->applied, n->log.start + 1, mirror_last(&n->log), n->status.term);
    node_tick_soon(n);
    sim_after(n->sim, sim_below(n->sim, 150 * 1000), EVENT_CARE, n);
}

/* ---- crash ---- */

void node_give_up(struct node *n, enum sim_crash how)
{
    n->failing = true;
    n->failing_how = how;
}

void node_crash(struct node *n, enum sim_crash how)
{
    struct sim *s = n->sim;
    CHECK(n->up);
    sim_trace(s, "node %u crashes (%d)", n->slot, (int)how);
    raft_free(n->raft);
    log_store_close(n->store);
    n->raft = NULL;
    n->store = NULL;
    n->up = false;
    n->failing = false;
    n->life++;
    n->paused_until = 0;
    node_disk_forget(n);
    how = scenario_crash(n, how);
    for (size_t i = 0; i < n->log.count; i++) {
        n->log.entries[n->log.head + i].data.data = NULL;
    }
    sim_disk_crash(n->disk, how, &s->rng);
    if (n->is_persisting && sim_chance(s, 50)) {
        *n->persisted = *n->persisting; /* the flush had ended after all */
    }
    n->is_persisting = false;
    n->apply_coming = false;
    n->making = false;
    n->installing = INSTALL_NONE;
    n->made.index = 0;
    n->made.bytes_total = 0;
    buf_clear(&n->received.bytes);
    n->writes.count = n->writes.head = 0;
    n->reads.count = n->reads.head = 0;
    n->status = (struct raft_status){0};
    s->stats->restarts++;
    sim_us away = sim_chance(s, 70) ? sim_between(s, 20 * 1000, 600 * 1000)
                                    : sim_between(s, 500 * 1000, 6000 * 1000);
    sim_after(s, away, EVENT_START, n)->life = 0;
}

void node_wipe(struct node *n)
{
    sim_disk_free(n->disk);
    n->disk = sim_disk_new();
    n->struck = (struct sim_disk_struck){0};
    machine_init(n->persisted);
    machine_init(n->live);
    n->has_aside = false;
    free(n->log.entries);
    n->log = (struct mirror){0};
    n->durable_last = 0;
    n->durable_hard = (struct log_hard_state){0};
    node_identity(n);
}
