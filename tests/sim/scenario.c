/* See scenario.h. The course, in ms: */
#include "tests/sim/scenario.h"

#include "common/check.h"
#include "tests/sim/net.h"

enum act {
    ACT_LEAD,   /* 700: the victim is made the leader, or somebody else is */
    ACT_CUT,    /* 1200: whoever leads is cut off, with requests that nobody will commit */
    ACT_HEAL,   /* 2200: it comes back and has to truncate */
    ACT_LEAVE,  /* 2800: the victim is cut off, while the others cut their logs */
    ACT_RETURN, /* 4200: it comes back and needs a snapshot */
    ACT_COUNT
};

static const uint32_t act_ms[ACT_COUNT] = {700, 1200, 2200, 2800, 4200};

struct plan scenario_plan(void)
{
    return (struct plan){
        .member_count = 3,
        .client_count = 4,
        .lane_count = 2,
        .think_us = 100 * 1000,
        .read_percent = 10,
        .key_count = MACHINE_KEY_COUNT,
        .heartbeat_ms = 50,
        .election_ms = 250,
        .disk_hung_ms = 500,
        .inflight_count_max = 8,
        .append_bytes_max = 2000,
        .piece_bytes = 700,
        .link_us = 300,
        .link_jitter_us = 300,
        .flush_us = 800,
        .segment_bytes = 4 * 4096,
        .persist_count = 20,
        .log_bound = 10,
        .filler_bytes = 200,
    };
}

static const struct scenario *scenario_of(const struct node *n)
{
    const struct scenario *c = n->sim->options.scenario;
    return c && c->victim == n->slot ? c : NULL;
}

void scenario_begin(struct sim *s)
{
    const struct scenario *c = s->options.scenario;
    if (!c) {
        return;
    }
    CHECK(c->victim < s->node_count);
    sim_disk_faults(s->nodes[c->victim]->disk)->stop_at = c->stop_at;
    for (uint32_t act = 0; act < ACT_COUNT; act++) {
        sim_after(s, 1000ULL * act_ms[act], EVENT_SCENE, NULL)->a = act;
    }
}

void scenario_note(struct node *n, enum sim_boundary doing)
{
    if (scenario_of(n)) {
        uint64_t next = sim_disk_changes(n->disk) + 1;
        for (uint64_t i = next; i < SIM_POINT_COUNT_MAX; i++) {
            n->sim->result->boundaries[i] = (uint8_t)doing;
        }
    }
    n->doing = doing;
}

void scenario_end(struct sim *s)
{
    const struct scenario *c = s->options.scenario;
    if (c) {
        s->result->victim_changes = sim_disk_changes(s->nodes[c->victim]->disk);
    }
}

/* ---- the course ---- */

static struct node *leader(struct sim *s)
{
    for (uint32_t i = 0; i < s->node_count; i++) {
        if (s->nodes[i]->up && s->nodes[i]->status.role == RAFT_LEADER) {
            return s->nodes[i];
        }
    }
    return NULL;
}

static void hand_over(struct sim *s, const struct scenario *c)
{
    struct node *from = leader(s);
    struct raft_update u;
    if (!from || (from->slot == c->victim) == c->leads) {
        return;
    }
    uint32_t to = c->leads ? c->victim : (c->victim + 1) % s->node_count;
    (void)node_step(
        from, &(struct raft_event){.kind = RAFT_TRANSFER, .peer = s->nodes[to]->member.key}, &u);
}

static void cut_off(struct sim *s, uint32_t slot, bool heals)
{
    for (uint32_t i = 0; i < s->node_count; i++) {
        if (i != slot && heals) {
            net_heal(s, i, slot, false);
            net_heal(s, slot, i, false);
        } else if (i != slot) {
            net_cut(s, i, slot, false);
            net_cut(s, slot, i, false);
        }
    }
}

void scenario_on_event(struct sim *s, struct event *ev)
{
    const struct scenario *c = s->options.scenario;
    switch ((enum act)ev->a) {
    case ACT_LEAD:
        hand_over(s, c);
        return;
    case ACT_CUT:
        s->scene_cut = leader(s);
        if (s->scene_cut) {
            cut_off(s, s->scene_cut->slot, false);
        }
        return;
    case ACT_HEAL:
        if (s->scene_cut) {
            cut_off(s, s->scene_cut->slot, true);
        }
        return;
    case ACT_LEAVE:
        cut_off(s, c->victim, false);
        return;
    case ACT_RETURN:
        cut_off(s, c->victim, true);
        return;
    case ACT_COUNT:
        return;
    }
}

/* ---- the point ---- */

void scenario_starts(struct node *n)
{
    const struct scenario *c = scenario_of(n);
    if (c && !n->sim->calm && c->again_in > 0 && n->sim->result->boundary != BOUNDARY_NONE &&
        n->sim->stats->restarts == 1) {
        sim_disk_faults(n->disk)->stop_in = c->again_in;
    }
}

enum sim_crash scenario_crash(struct node *n, enum sim_crash how)
{
    const struct scenario *c = scenario_of(n);
    if (!c) {
        return how;
    }
    if (n->sim->result->boundary == BOUNDARY_NONE) {
        n->sim->result->boundary = n->doing;
    }
    return (enum sim_crash)c->how;
}

bool scenario_stops_install(struct node *n)
{
    const struct scenario *c = scenario_of(n);
    if (!c || c->step == 0 || (uint32_t)n->installing != c->step ||
        n->sim->result->boundary != BOUNDARY_NONE) {
        return false;
    }
    scenario_note(n, BOUNDARY_INSTALL);
    node_give_up(n, (enum sim_crash)c->how);
    return true;
}
