/* See sim.h: the queue of events, the plan of a seed, and the run itself. */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/hash.h"
#include "common/macros.h"
#include "tests/sim/client.h"
#include "tests/sim/faults.h"
#include "tests/sim/judge.h"
#include "tests/sim/net.h"
#include "tests/sim/node.h"
#include "tests/sim/scenario.h"

enum {
    SAMPLE_US = 100 * 1000,
    HEALTHY_AFTER_US = 1000 * 1000, /* after the last fault: a leader has been found again */
    HEALTHY_LEAST_MS = 3000,        /* less of it says nothing about commits per second */
    COMMITS_PER_SECOND_LEAST = 10,  /* of one seed; of all together 20 (sim_main.c) */
    PATIENCE_TIMEOUTS = 10,         /* a majority that can must elect and commit within so many */
    EVENT_SPAN_MAX = 40 * 1000 * 1000, /* events of one seed; beyond: something spins */
};

static struct sim *the_sim; /* for a failing CHECK */

const char *sim_fault_name(enum sim_fault fault)
{
    static const char *const names[] = {
#define SIM_FAULT_TEXT(name, text) text,
        SIM_FAULT_TABLE(SIM_FAULT_TEXT)
#undef SIM_FAULT_TEXT
    };
    return names[fault];
}

/* ---- chance ---- */

bool sim_chance(struct sim *s, uint32_t percent)
{
    return percent > 0 && rng_below(&s->rng, 100) < percent;
}

uint64_t sim_below(struct sim *s, uint64_t bound)
{
    return rng_below(&s->rng, bound);
}

uint64_t sim_between(struct sim *s, uint64_t least, uint64_t most)
{
    return rng_range(&s->rng, least, most);
}

/* -ln(u) in steps of a table, so that no libm decides about a seed: mean 1, in 1/256. */
uint64_t sim_about(struct sim *s, uint64_t mean)
{
    uint64_t sum = 0;
    uint64_t u = rng_u64(&s->rng);
    unsigned halvings = 0;
    while (halvings < 10 && (u & 1) != 0) { /* geometric: how often u fell below one half */
        halvings++;
        u >>= 1;
    }
    sum = (uint64_t)halvings * 177 + ((u >> 16) % 177); /* 177 / 256 = ln 2 */
    return mean * sum / 256;
}

/* ---- telling ---- */

void sim_mix(struct sim *s, uint64_t value)
{
    s->stats->hash = hash_u64(s->stats->hash * 31 + value);
}

void sim_trace(struct sim *s, const char *format, ...)
{
    if (!s->options.trace) {
        return;
    }
    va_list args;
    va_start(args, format);
    printf("%10.3f ", (double)s->now / 1000.0);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

static void end_failed(struct sim *s)
{
    s->result->status = 2;
    s->stats->simulated_ms = s->now / 1000;
    (void)fflush(stdout);
    _exit(1);
}

void sim_fail(struct sim *s, const char *rule, const char *format, ...)
{
    char *at = s->result->report;
    int used = snprintf(at, SIM_REPORT_BYTES_MAX, "%s, at %.3f ms: ", rule, (double)s->now / 1000);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(at + used, SIM_REPORT_BYTES_MAX - (size_t)used, format, args);
    va_end(args);
    sim_trace(s, "FAILED %s", at);
    end_failed(s);
    abort(); /* not reached */
}

static void check_failed(const char *condition, const char *file, int line)
{
    sim_fail(the_sim, "CHECK", "%s (%s:%d)", condition, file, line);
}

/* ---- events ---- */

static bool event_before(const struct heap_node *a, const struct heap_node *b)
{
    const struct event *x = CONTAINER_OF(a, struct event, node);
    const struct event *y = CONTAINER_OF(b, struct event, node);
    return x->at != y->at ? x->at < y->at : x->order < y->order;
}

struct event *sim_after(struct sim *s, sim_us delay, enum event_kind kind, struct node *to)
{
    struct event *ev = s->spare_events;
    if (ev) {
        s->spare_events = ev->data;
    } else {
        ev = xmalloc(sizeof(*ev));
    }
    *ev = (struct event){.at = s->now + delay, .order = ++s->event_order, .kind = kind, .to = to};
    ev->life = to ? to->life : 0;
    heap_push(&s->events, &ev->node);
    return ev;
}

static void event_drop(struct event *ev)
{
    if (ev->kind == EVENT_PACKET) {
        packet_free(ev->data);
    } else {
        free(ev->data);
    }
    ev->data = NULL;
}

static void event_done(struct sim *s, struct event *ev)
{
    ev->data = s->spare_events;
    s->spare_events = ev;
}

sim_us sim_patience(const struct sim *s)
{
    sim_us timeout = 1000ULL * s->plan.election_ms * 100 / (100 - s->plan.drift_percent);
    return PATIENCE_TIMEOUTS * timeout + 1000ULL * s->plan.disk_hung_ms;
}

static void sample(struct sim *s, struct event *ev)
{
    struct health *h = &s->health;
    log_index committed = judge_committed(s->judge);
    (void)ev;
    if (!faults_healthy(s)) {
        h->unhealthy_at = s->now;
    } else if (!s->calm && s->now >= h->unhealthy_at + HEALTHY_AFTER_US) {
        s->stats->healthy_ms += SAMPLE_US / 1000;
        s->stats->healthy_commits += committed - h->committed;
    }
    /* Clients must be answered: a leader whose disk hangs has followers that commit, too. */
    uint64_t progress = s->clients->stopped ? committed : s->stats->writes;
    if (progress != h->progress || !faults_spare_majority(s)) {
        h->stuck_since = s->now;
    } else if (s->now > h->stuck_since + sim_patience(s)) {
        sim_fail(s, "liveness", "a majority is well for %d election timeouts, and answers nobody",
                 (int)PATIENCE_TIMEOUTS);
    }
    h->progress = progress;
    h->committed = committed;
    sim_after(s, SAMPLE_US, EVENT_SECOND, NULL);
}

static void dispatch(struct sim *s, struct event *ev)
{
    switch (ev->kind) {
    case EVENT_TICK:
        return node_on_tick(ev->to, ev);
    case EVENT_PACKET:
        return node_on_packet(ev->to, ev);
    case EVENT_DISK:
        return node_on_disk(ev->to, ev);
    case EVENT_APPLY:
        return node_on_apply(ev->to, ev);
    case EVENT_PERSIST:
        return node_on_persist(ev->to, ev);
    case EVENT_CARE:
        return node_on_care(ev->to, ev);
    case EVENT_SNAPSHOT_MADE:
        return node_on_snapshot_made(ev->to, ev);
    case EVENT_PIECE:
        return node_on_piece(ev->to, ev);
    case EVENT_INSTALL:
        return node_on_install(ev->to, ev);
    case EVENT_START:
        return node_start(ev->to);
    case EVENT_REQUEST:
        return node_on_request(ev->to, ev);
    case EVENT_REPLY:
        return client_on_reply(s, ev);
    case EVENT_CLIENT:
        return client_on_event(s, ev);
    case EVENT_FAULT:
        return faults_on_event(s, ev);
    case EVENT_FAULT_END:
        return faults_on_end(s, ev);
    case EVENT_SCENE:
        return scenario_on_event(s, ev);
    case EVENT_ADMIN:
        return admin_on_event(s, ev);
    case EVENT_SECOND:
        return sample(s, ev);
    }
}

/* A process that is stopped, or dead, sees its events later, or never. */
static bool is_due(struct sim *s, struct event *ev)
{
    struct node *n = ev->to;
    if (n && ev->life != 0 && ev->life != n->life) {
        event_drop(ev);
        event_done(s, ev);
        return false;
    }
    if (n && n->paused_until > s->now) {
        /* A process that goes on finds its messages before it looks at its clock, or after. */
        bool late = ev->kind == EVENT_TICK && sim_chance(s, 50);
        ev->at = n->paused_until + (late ? 1 + sim_below(s, 20 * 1000) : 0);
        heap_push(&s->events, &ev->node);
        return false;
    }
    return true;
}

static void run_one(struct sim *s)
{
    struct event *ev = CONTAINER_OF(heap_pop(&s->events), struct event, node);
    s->now = ev->at;
    if (!is_due(s, ev)) {
        return;
    }
    struct node *n = ev->to;
    s->stats->events++;
    sim_mix(s, ev->at * 32 + ev->kind + (n ? n->slot * 7919 : 0));
    dispatch(s, ev);
    event_drop(ev);
    event_done(s, ev);
    for (uint32_t i = 0; i < s->node_count; i++) {
        if (s->nodes[i]->failing) {
            faults_see_disk(s, s->nodes[i]);
            node_crash(s->nodes[i], s->nodes[i]->failing_how);
        }
    }
    if (s->stats->events > EVENT_SPAN_MAX) {
        sim_fail(s, "harness", "more than %d events", (int)EVENT_SPAN_MAX);
    }
}

static void run_until(struct sim *s, sim_us end)
{
    while (CONTAINER_OF(heap_first(&s->events), struct event, node)->at < end) {
        run_one(s);
    }
    s->now = end;
}

/* ---- plan ---- */

static struct plan draw_plan(struct sim *s)
{
    static const uint32_t counts[] = {3, 3, 3, 5, 5, 5, 5, 7};
    struct plan p = {.member_count = counts[sim_below(s, ARRAY_COUNT(counts))]};
    p.spare_count = (uint32_t)sim_between(s, 1, 2);
    p.client_count = (uint32_t)sim_between(s, 3, 6);
    p.lane_count = (uint32_t)sim_between(s, 1, 3);
    p.think_us = p.client_count * p.lane_count * 1000000 /
                 (uint32_t)sim_between(s, 60, sim_chance(s, 30) ? 200 : 90);
    p.read_percent = (uint32_t)sim_between(s, 10, 30);
    p.key_count = sim_chance(s, 30) ? 4 : MACHINE_KEY_COUNT;
    p.heartbeat_ms = (uint32_t)sim_between(s, 50, 100);
    p.election_ms = p.heartbeat_ms * (uint32_t)sim_between(s, 4, 6);
    p.disk_hung_ms = p.election_ms * (uint32_t)sim_between(s, 1, 3);
    p.inflight_count_max = (uint32_t)sim_between(s, 1, 16);
    p.append_bytes_max = (uint32_t)sim_between(s, 200, 8000);
    p.piece_bytes = (uint32_t)sim_between(s, 200, 2000);
    p.link_us = (uint32_t)sim_between(s, 100, 2000);
    p.link_jitter_us = (uint32_t)sim_between(s, 100, 3000);
    p.flush_us = (uint32_t)sim_between(s, 200, 4000);
    p.segment_bytes = (uint32_t)sim_between(s, 4, 12) * 4096;
    p.persist_count = (uint32_t)sim_between(s, 10, sim_chance(s, 50) ? 60 : 300);
    p.log_bound = (uint32_t)sim_between(s, 5, sim_chance(s, 50) ? 60 : 500);
    bool needs_snapshots = faults_need_snapshots(s->options.seed);
    if (needs_snapshots) {
        p.persist_count = MIN(p.persist_count, 40);
        p.log_bound = MIN(p.log_bound, 40);
    }
    p.filler_bytes = sim_chance(s, 25) ? 600 : 60;
    p.drift_percent = (uint32_t)sim_between(s, 1, sim_chance(s, 30) ? 30 : 10);
    p.fault_ms = sim_chance(s, 15) ? (uint32_t)sim_between(s, 200, 800)
                                   : (uint32_t)sim_between(s, 800, 3500);
    /* Members that are wiped and added anew are the surest to need a snapshot. */
    uint32_t no_admin = needs_snapshots ? 0 : 15;
    p.admin_ms = sim_chance(s, no_admin) ? 0 : (uint32_t)sim_between(s, 500, 3000);
    return p;
}

/* ---- a run ---- */

static void found_cluster(struct sim *s)
{
    struct raft_config config = {0};
    for (uint32_t i = 0; i < s->node_count; i++) {
        s->nodes[i] = node_new(s, i);
        node_identity(s->nodes[i]);
    }
    for (uint32_t i = 0; i < s->plan.member_count; i++) {
        config.members[config.count] = s->nodes[i]->member;
        config.members[config.count++].voter = true;
    }
    for (uint32_t i = 0; i < s->node_count; i++) {
        if (i < s->plan.member_count) {
            node_found(s->nodes[i], &config);
        }
        sim_after(s, sim_below(s, 200 * 1000), EVENT_START, s->nodes[i])->life = 0;
    }
}

static bool converged(struct sim *s)
{
    const struct node *leader = NULL;
    for (uint32_t i = 0; i < s->node_count; i++) {
        const struct node *n = s->nodes[i];
        if (n->up && n->status.role == RAFT_LEADER &&
            (!leader || n->status.term > leader->status.term)) {
            leader = n;
        }
    }
    if (!leader || leader->status.commit != leader->status.last) {
        return false;
    }
    const struct raft_config *config = raft_configuration(leader->raft);
    for (uint32_t i = 0; i < s->node_count; i++) {
        const struct node *n = s->nodes[i];
        if (raft_config_find(config, n->member.key) &&
            (!n->up || n->live->applied != leader->status.commit ||
             n->live->digest != leader->live->digest)) {
            return false;
        }
    }
    return leader->live->applied == leader->status.commit;
}

/* All is healed: a majority must elect and commit within 10 election timeouts, and all members
 * agree in the end. */
static void end_phase(struct sim *s)
{
    faults_end_all(s);
    s->calm = true;
    for (uint32_t i = 0; i < s->node_count; i++) {
        if (!s->nodes[i]->up) {
            node_start(s->nodes[i]);
            CHECK(s->nodes[i]->up);
        }
    }
    sim_us healed = s->now;
    log_index committed = judge_committed(s->judge);
    sim_trace(s, "healed at commit %" PRIu64, committed);
    while (judge_committed(s->judge) == committed) {
        if (s->now > healed + sim_patience(s)) {
            sim_fail(s, "liveness", "healed for %d election timeouts, and nothing was committed",
                     (int)PATIENCE_TIMEOUTS);
        }
        run_until(s, s->now + 1000 * s->plan.heartbeat_ms);
    }
    s->clients->stopped = true;
    while (!clients_idle(s->clients) || !converged(s)) {
        if (s->now > healed + 10 * sim_patience(s)) {
            sim_fail(s, "liveness", "healed for %d election timeouts, and members still differ",
                     10 * (int)PATIENCE_TIMEOUTS);
        }
        run_until(s, s->now + 1000 * s->plan.heartbeat_ms);
    }
    s->stats->converge_ms = (s->now - healed) / 1000;
}

static void judge_health(struct sim *s)
{
    const struct sim_stats *t = s->stats;
    if (t->healthy_ms >= HEALTHY_LEAST_MS &&
        t->healthy_commits * 1000 < COMMITS_PER_SECOND_LEAST * t->healthy_ms) {
        sim_fail(s, "void",
                 "%" PRIu64 " commits in %" PRIu64 " ms of health, too few to prove much",
                 t->healthy_commits, t->healthy_ms);
    }
}

static void sim_free(struct sim *s)
{
    while (s->events.count > 0) {
        struct event *ev = CONTAINER_OF(heap_pop(&s->events), struct event, node);
        event_drop(ev);
        event_done(s, ev);
    }
    while (s->spare_events) {
        struct event *ev = s->spare_events;
        s->spare_events = ev->data;
        free(ev);
    }
    heap_deinit(&s->events);
    for (uint32_t i = 0; i < s->node_count; i++) {
        node_free(s->nodes[i]);
    }
    admin_free(s->admin);
    faults_free(s->faults);
    clients_free(s->clients);
    judge_free(s->judge);
    net_free(s->net);
    free(s);
}

void sim_run(const struct sim_options *options, struct sim_result *result)
{
    struct sim *s = xcalloc(1, sizeof(*s));
    the_sim = s;
    check_fail = check_failed;
    s->options = *options;
    s->result = result;
    s->stats = &result->stats;
    rng_seed(&s->rng, options->seed);
    heap_init(&s->events, event_before);
    s->plan = options->scenario ? scenario_plan() : draw_plan(s);
    if (options->history) { /* for a checker: many clients who are in one another's way */
        s->plan.client_count = SIM_CLIENT_COUNT_MAX;
        s->plan.lane_count = 1;
        s->plan.read_percent = 40;
        s->plan.key_count = 4;
    }
    s->node_count = s->plan.member_count + s->plan.spare_count;
    s->net = xcalloc(1, sizeof(*s->net));
    s->end = options->seconds * 1000000ULL;
    s->judge = judge_new(s);
    found_cluster(s);
    s->clients = clients_new(s);
    s->faults = faults_new(s);
    s->admin = admin_new(s);
    scenario_begin(s);
    sim_after(s, SAMPLE_US, EVENT_SECOND, NULL);
    run_until(s, s->end);
    end_phase(s);
    judge_end(s);
    judge_health(s);
    scenario_end(s);
    s->stats->simulated_ms = s->now / 1000;
    s->stats->commits = judge_committed(s->judge);
    if (options->history) {
        clients_write_history(s, options->history);
    }
    sim_free(s);
    result->status = 1;
}
