/* The operator: looks at whoever says that it leads, and changes the membership as a person with a
 * plan would: replaces members that lost their disks, promotes learners, keeps the number of
 * voters, and now and then removes a healthy one, or hands leadership on. */
#include <stdlib.h>

#include "common/alloc.h"
#include "common/check.h"
#include "tests/sim/faults.h"
#include "tests/sim/judge.h"

enum { SETTLED_US = 8000 * 1000 }; /* no message is on its way for so long */

struct admin {
    log_index last_index; /* of the newest configuration that was accepted */
    sim_us last_at;
};

struct admin *admin_new(struct sim *s)
{
    struct admin *o = xcalloc(1, sizeof(*o));
    if (s->plan.admin_ms > 0) {
        sim_after(s, 2000 * 1000, EVENT_ADMIN, NULL);
    }
    return o;
}

void admin_free(struct admin *o)
{
    free(o);
}

bool admin_is_settled(const struct sim *s)
{
    const struct admin *o = s->admin;
    return o->last_index <= judge_config_index(s->judge) || s->now > o->last_at + SETTLED_US;
}

static bool acts(const struct node *n)
{
    return n->up && !n->failing && n->status.role == RAFT_LEADER && n->paused_until <= n->sim->now;
}

/* Anybody who says so, be it one that was deposed and does not know it yet. */
static struct node *some_leader(struct sim *s)
{
    uint32_t first = (uint32_t)sim_below(s, s->node_count);
    for (uint32_t i = 0; i < s->node_count; i++) {
        struct node *n = s->nodes[(first + i) % s->node_count];
        if (acts(n)) {
            return n;
        }
    }
    return NULL;
}

static void change(struct node *n, enum raft_change what, const struct raft_member *m)
{
    struct raft_update u;
    struct err e = ERR_INIT;
    sim_trace(n->sim, "operator asks node %u for change %d of %lu", n->slot, (int)what,
              (unsigned long)m->id);
    int r = node_step_err(
        n, &(struct raft_event){.kind = RAFT_CHANGE, .change = {.change = what, .member = *m}}, &u,
        &e);
    if (r == 0) {
        n->sim->admin->last_index = n->status.config_index;
        n->sim->admin->last_at = n->sim->now;
    } else {
        sim_trace(n->sim, "refused: %s", err_message(&e));
    }
}

static void transfer(struct node *n, const struct raft_config *config)
{
    struct raft_update u;
    const struct raft_member *m = &config->members[sim_below(n->sim, config->count)];
    raft_key peer = sim_chance(n->sim, 30) ? 0 : m->key;
    if (node_step(n, &(struct raft_event){.kind = RAFT_TRANSFER, .peer = peer}, &u) == 0) {
        n->sim->stats->transfers++;
    }
}

/* A machine that is no member, and up. */
static const struct node *spare(struct sim *s, const struct raft_config *config)
{
    uint32_t first = (uint32_t)sim_below(s, s->node_count);
    for (uint32_t i = 0; i < s->node_count; i++) {
        const struct node *n = s->nodes[(first + i) % s->node_count];
        if (n->up && !raft_config_find(config, n->member.key) &&
            !raft_config_find_id(config, n->member.id)) {
            return n;
        }
    }
    return NULL;
}

static const struct raft_member *find_lost(struct sim *s, const struct raft_config *config)
{
    for (size_t i = 0; i < config->count; i++) {
        if (faults_lost(s, config->members[i].key)) {
            return &config->members[i];
        }
    }
    return NULL;
}

static const struct raft_member *find_learner(const struct raft_config *config)
{
    for (size_t i = 0; i < config->count; i++) {
        if (!config->members[i].voter) {
            return &config->members[i];
        }
    }
    return NULL;
}

static void act(struct sim *s, struct node *n)
{
    struct raft_config config = *raft_configuration(n->raft);
    const struct raft_member *lost = find_lost(s, &config);
    const struct raft_member *learner = find_learner(&config);
    const struct node *other = spare(s, &config);
    size_t voters = raft_config_voter_count(&config);
    if (lost) {
        change(n, RAFT_REMOVE, lost);
    } else if (learner && sim_chance(s, 80)) {
        change(n, sim_chance(s, 90) ? RAFT_PROMOTE : RAFT_REMOVE, learner);
    } else if (voters < s->plan.member_count && other) {
        change(n, RAFT_ADD_LEARNER, &other->member);
    } else if (sim_chance(s, 40) || voters <= 2) {
        transfer(n, &config);
    } else if (sim_chance(s, 30) && other && config.count < RAFT_MEMBER_COUNT_MAX) {
        change(n, RAFT_ADD_LEARNER, &other->member);
    } else {
        change(n, RAFT_REMOVE, &config.members[sim_below(s, config.count)]);
    }
}

void admin_on_event(struct sim *s, struct event *ev)
{
    (void)ev;
    if (s->calm) {
        return;
    }
    struct node *n = s->now < s->alone_until ? NULL : some_leader(s);
    if (n) {
        act(s, n);
    }
    sim_after(s, 50 * 1000 + sim_about(s, 1000ULL * s->plan.admin_ms), EVENT_ADMIN, NULL);
}
