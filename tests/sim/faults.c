/* See faults.h. One row per kind: how it begins. What lasts is undone when its time is over.
 * Besides the random ones, every seed begins some kinds by turns, so that any ten seeds in a row
 * have all.
 */
#include "tests/sim/faults.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/macros.h"
#include "tests/sim/judge.h"
#include "tests/sim/net.h"

enum {
    ACTIVE_MAX = 32,
    LOST_MAX = 64,
    TURN_COUNT = 10, /* each kind has its turn in one of so many seeds in a row */
    TURN_MS = 5000,
    WHEN_POUNCE = 2,
};

/* A fault that lasts. */
struct active {
    bool in_use;
    enum sim_fault kind;
    struct node *node;
    uint32_t amount;
    bool holds;                       /* messages, instead of dropping them */
    uint16_t cut[SIM_SLOT_COUNT_MAX]; /* bit `to` of cut[from] */
};

struct faults {
    struct active all[ACTIVE_MAX];
    uint32_t active_count;
    uint32_t weights[FAULT_COUNT];
    raft_key lost[LOST_MAX];
    size_t lost_count;
    uint32_t turn;
    bool pounces; /* on the next leader */
};

static struct node *any_node(struct sim *s)
{
    return s->nodes[sim_below(s, s->node_count)];
}

/* Half of the time the leader, where most can go wrong. */
static struct node *some_node(struct sim *s)
{
    for (uint32_t i = 0; i < s->node_count && sim_chance(s, 100 / s->node_count + 30); i++) {
        struct node *n = any_node(s);
        if (n->up && n->status.role == RAFT_LEADER) {
            return n;
        }
    }
    return any_node(s);
}

static struct node *leader(struct sim *s)
{
    struct node *best = NULL;
    for (uint32_t i = 0; i < s->node_count; i++) {
        struct node *n = s->nodes[i];
        if (n->up && n->status.role == RAFT_LEADER &&
            (!best || n->status.term > best->status.term)) {
            best = n;
        }
    }
    return best;
}

/* ---- what lasts ---- */

static struct active *begin_for(struct sim *s, enum sim_fault kind, struct node *node,
                                sim_us length)
{
    struct faults *f = s->faults;
    for (size_t i = 0; i < ACTIVE_MAX; i++) {
        if (!f->all[i].in_use) {
            f->all[i] = (struct active){.in_use = true, .kind = kind, .node = node};
            f->active_count++;
            s->stats->faults[kind]++;
            sim_after(s, length, EVENT_FAULT_END, NULL)->a = i;
            sim_trace(s, "fault %s %u begins", sim_fault_name(kind), node ? node->slot : 0);
            return &f->all[i];
        }
    }
    return NULL;
}

static struct active *begin(struct sim *s, enum sim_fault kind, struct node *node)
{
    sim_us length = 50 * 1000 + sim_about(s, 1000 * 1000);
    if (node && s->now >= s->alone_until && sim_chance(s, 10)) {
        length = sim_patience(s) + 1000 * 1000;
        s->alone_until = s->now + length;
    }
    return begin_for(s, kind, node, length);
}

static void cut(struct sim *s, struct active *a, uint32_t from, uint32_t to)
{
    if (from != to && (a->cut[from] & 1U << to) == 0) {
        a->cut[from] = (uint16_t)(a->cut[from] | 1U << to);
        net_cut(s, from, to, a->holds);
    }
}

static void end(struct sim *s, struct active *a)
{
    struct net *net = s->net;
    if (!a->in_use) {
        return;
    }
    sim_trace(s, "fault %s ends", sim_fault_name(a->kind));
    a->in_use = false;
    s->faults->active_count--;
    for (uint32_t i = 0; i < s->node_count; i++) {
        for (uint32_t j = 0; j < s->node_count; j++) {
            if (a->cut[i] >> j & 1) {
                net_heal(s, i, j, a->holds);
            }
        }
    }
    if (a->kind == FAULT_LOSS) {
        net->loss_percent -= a->amount;
    } else if (a->kind == FAULT_DELAY) {
        net->delay_us -= a->amount;
    } else if (a->kind == FAULT_DUPLICATE) {
        net->duplicate_percent -= a->amount;
    } else if (a->kind == FAULT_REORDER) {
        net->reorder_percent -= a->amount;
    } else if (a->kind == FAULT_DISK_SLOW) {
        a->node->slow = 0;
    } else if (a->kind == FAULT_DISK_HUNG) {
        a->node->hung = false;
    } else if (a->kind == FAULT_DISK_FULL) {
        sim_disk_faults(a->node->disk)->full = false;
    }
}

void faults_on_end(struct sim *s, struct event *ev)
{
    end(s, &s->faults->all[ev->a]);
}

/* ---- the kinds ---- */

static enum sim_crash power(struct sim *s)
{
    return (enum sim_crash)sim_between(s, SIM_CRASH_DROP, SIM_CRASH_SUBSET);
}

static void crash(struct sim *s, struct node *n, enum sim_fault kind, enum sim_crash how)
{
    if (n->up && !n->failing) {
        s->stats->faults[kind]++;
        node_crash(n, how);
    }
}

static void begin_power_all(struct sim *s)
{
    for (uint32_t i = 0; i < s->node_count; i++) {
        crash(s, s->nodes[i], FAULT_POWER_ALL, power(s));
    }
}

static void begin_pause(struct sim *s)
{
    struct node *n = some_node(s);
    if (n->up && n->paused_until <= s->now) {
        n->paused_until = s->now + sim_between(s, 50 * 1000, 4000 * 1000);
        n->paused_until = MIN(n->paused_until, s->end); /* its events wait for that time */
        s->stats->faults[FAULT_PAUSE]++;
        sim_trace(s, "node %u is stopped until %" PRIu64, n->slot, n->paused_until / 1000);
    }
}

/* The clock goes on at another rate from here; it never goes back. */
static void begin_clock(struct sim *s)
{
    struct node *n = any_node(s);
    if (n->up && s->plan.drift_percent > 0) {
        uint32_t drift = s->plan.drift_percent * 1024 / 100;
        n->clock_base_us += (s->now - n->clock_anchor) * n->clock_rate / 1024;
        n->clock_anchor = s->now;
        n->clock_rate = 1024 - drift + (uint32_t)sim_below(s, 2 * drift + 1);
        s->stats->faults[FAULT_CLOCK]++;
    }
}

static void begin_cut(struct sim *s, enum sim_fault kind)
{
    struct node *n = kind == FAULT_ISOLATE ? leader(s) : some_node(s);
    struct active *a = n ? begin(s, kind, n) : NULL;
    if (!a) {
        return;
    }
    uint32_t side = (uint32_t)sim_below(s, 1U << s->node_count);
    bool inward = sim_chance(s, 50);
    a->holds = sim_chance(s, 40);
    s->faults->pounces = s->faults->pounces || (kind == FAULT_ISOLATE && sim_chance(s, 50));
    for (uint32_t i = 0; i < s->node_count; i++) {
        for (uint32_t j = 0; j < s->node_count; j++) {
            bool split = (side >> i & 1) != (side >> j & 1);
            if ((kind == FAULT_SPLIT && split) ||
                (kind == FAULT_ISOLATE && (i == n->slot || j == n->slot)) ||
                (kind == FAULT_ONE_WAY && (inward ? j : i) == n->slot) ||
                (kind == FAULT_PARTIAL && sim_chance(s, 30))) {
                cut(s, a, i, j);
            }
        }
    }
}

/* A leader hands over, and hears nothing for a while, not even that somebody else leads: what it
 * was told before arrives after that. */
static void begin_swap(struct sim *s)
{
    struct node *n = leader(s);
    struct raft_update u;
    if (!n || n->failing || n->paused_until > s->now ||
        node_step(n, &(struct raft_event){.kind = RAFT_READ}, &u) < 0 || /* a round is under way */
        node_step(n, &(struct raft_event){.kind = RAFT_TRANSFER}, &u) < 0) {
        return;
    }
    s->stats->transfers++;
    struct active *a =
        begin_for(s, FAULT_ONE_WAY, n, sim_between(s, 300, 1000) * s->plan.election_ms);
    for (uint32_t i = 0; a && i < s->node_count; i++) {
        a->holds = true;
        cut(s, a, i, n->slot);
    }
}

static void begin_net(struct sim *s, enum sim_fault kind)
{
    struct active *a = begin(s, kind, NULL);
    if (!a) {
        return;
    }
    switch (kind) {
    case FAULT_LOSS:
        a->amount = (uint32_t)sim_between(s, 1, 15);
        s->net->loss_percent += a->amount;
        break;
    case FAULT_DELAY:
        a->amount = (uint32_t)sim_between(s, 5 * 1000, 150 * 1000);
        s->net->delay_us += a->amount;
        break;
    case FAULT_DUPLICATE:
        a->amount = (uint32_t)sim_between(s, 1, 25);
        s->net->duplicate_percent += a->amount;
        break;
    default:
        a->amount = (uint32_t)sim_between(s, 1, 25);
        s->net->reorder_percent += a->amount;
        break;
    }
}

static void begin_disk(struct sim *s, enum sim_fault kind)
{
    struct node *n = some_node(s);
    struct sim_disk_faults *d = sim_disk_faults(n->disk);
    switch (kind) {
    case FAULT_DISK_SLOW:
        if (n->slow == 0 && begin(s, kind, n)) {
            n->slow = (uint32_t)sim_between(s, 5, 100);
        }
        break;
    case FAULT_DISK_HUNG:
        n->hung = n->hung || begin(s, kind, n);
        break;
    case FAULT_DISK_FULL:
        if (!d->full && begin(s, kind, n)) {
            d->full = true;
        }
        break;
    case FAULT_WRITE_ERROR:
        d->write_error_in = 1 + sim_below(s, 4);
        break;
    case FAULT_SYNC_ERROR:
        d->sync_error_in = 1 + sim_below(s, 3);
        break;
    case FAULT_READ_ERROR:
        d->read_error_in = 1 + sim_below(s, 3);
        break;
    default:
        d->stop_in = 1 + sim_below(s, 12);
        break;
    }
}

/* ---- losing a disk ---- */

bool faults_lost(const struct sim *s, raft_key key)
{
    for (size_t i = 0; i < s->faults->lost_count; i++) {
        if (s->faults->lost[i] == key) {
            return true;
        }
    }
    return false;
}

bool faults_any_lost(const struct sim *s, const struct raft_config *config)
{
    for (size_t i = 0; i < config->count; i++) {
        if (faults_lost(s, config->members[i].key)) {
            return true;
        }
    }
    return false;
}

/* A minority of the voters of the only configuration that can be in force may lose theirs. */
static bool may_wipe(struct sim *s, const struct node *n)
{
    const struct raft_config *config = judge_config(s->judge);
    if (!config || judge_config_pending(s) || !admin_is_settled(s) ||
        s->faults->lost_count == LOST_MAX) {
        return false;
    }
    size_t lost = 0;
    for (size_t i = 0; i < config->count; i++) {
        const struct raft_member *m = &config->members[i];
        lost += m->voter && (m->key == n->member.key || faults_lost(s, m->key));
    }
    return lost <= (raft_config_voter_count(config) - 1) / 2;
}

static void begin_wipe(struct sim *s)
{
    struct node *n = any_node(s);
    if (n->failing || !may_wipe(s, n)) {
        return;
    }
    if (n->up) {
        node_crash(n, SIM_CRASH_DROP);
    }
    s->faults->lost[s->faults->lost_count++] = n->member.key;
    s->stats->faults[FAULT_WIPE]++;
    sim_trace(s, "node %u loses its disk", n->slot);
    for (size_t i = 0; i < ACTIVE_MAX; i++) {
        if (s->faults->all[i].node == n) {
            end(s, &s->faults->all[i]);
        }
    }
    node_wipe(n);
}

/* ---- when ---- */

static void strike(struct sim *s, enum sim_fault kind)
{
    switch (kind) {
    case FAULT_KILL:
        return crash(s, some_node(s), kind, SIM_CRASH_KILL);
    case FAULT_POWER:
        return crash(s, some_node(s), kind, power(s));
    case FAULT_POWER_ALL:
        return begin_power_all(s);
    case FAULT_PAUSE:
        return begin_pause(s);
    case FAULT_CLOCK:
        return begin_clock(s);
    case FAULT_ONE_WAY:
        return sim_chance(s, 40) ? begin_swap(s) : begin_cut(s, kind);
    case FAULT_SPLIT:
    case FAULT_ISOLATE:
    case FAULT_PARTIAL:
        return begin_cut(s, kind);
    case FAULT_LOSS:
    case FAULT_DELAY:
    case FAULT_DUPLICATE:
    case FAULT_REORDER:
        return begin_net(s, kind);
    case FAULT_POWER_IN_WRITE:
    case FAULT_DISK_SLOW:
    case FAULT_DISK_HUNG:
    case FAULT_DISK_FULL:
    case FAULT_WRITE_ERROR:
    case FAULT_SYNC_ERROR:
    case FAULT_READ_ERROR:
        return begin_disk(s, kind);
    case FAULT_INSTALL_CRASH:
        for (uint32_t i = 0; i < s->node_count; i++) {
            s->nodes[i]->crash_in_install = true;
        }
        return;
    case FAULT_PIECE_DAMAGE:
        for (uint32_t i = 0; i < s->node_count; i++) {
            s->nodes[i]->damage_piece = true;
        }
        return;
    case FAULT_WIPE:
        return begin_wipe(s);
    case FAULT_COUNT:
        break;
    }
}

bool faults_need_snapshots(uint64_t seed)
{
    uint64_t turn = seed % TURN_COUNT;
    return turn == FAULT_INSTALL_CRASH % TURN_COUNT || turn == FAULT_PIECE_DAMAGE % TURN_COUNT;
}

static enum sim_fault draw(struct sim *s)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        sum += s->faults->weights[i];
    }
    uint64_t at = sim_below(s, sum);
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        if (at < s->faults->weights[i]) {
            return (enum sim_fault)i;
        }
        at -= s->faults->weights[i];
    }
    return FAULT_KILL;
}

/* The leader falls, and the one that was cut off may come back with what it has. */
static void pounce(struct sim *s, struct node *n)
{
    crash(s, n, FAULT_KILL, (enum sim_crash)sim_below(s, SIM_CRASH_COUNT));
    for (size_t i = 0; i < ACTIVE_MAX && sim_chance(s, 80); i++) {
        if (s->faults->all[i].kind == FAULT_ISOLATE) {
            end(s, &s->faults->all[i]);
        }
    }
}

void faults_see_leader(struct sim *s, struct node *n)
{
    if (s->faults && s->faults->pounces && !s->calm) {
        s->faults->pounces = false;
        sim_after(s, sim_below(s, 100 * 1000), EVENT_FAULT, NULL)->a = WHEN_POUNCE + n->slot;
    }
}

/* a: 0 a random fault, 1 those whose turn it is in this seed, from WHEN_POUNCE on a slot. */
void faults_on_event(struct sim *s, struct event *ev)
{
    if (s->calm) {
        return;
    }
    if (ev->a >= WHEN_POUNCE) {
        pounce(s, s->nodes[ev->a - WHEN_POUNCE]);
        return;
    }
    if (s->now < s->alone_until) {
        sim_after(s, s->alone_until - s->now, EVENT_FAULT, NULL)->a = ev->a;
        return;
    }
    if (ev->a == 0) {
        strike(s, draw(s));
        sim_after(s, 1000ULL * 50 + sim_about(s, 1000ULL * s->plan.fault_ms), EVENT_FAULT, NULL);
        return;
    }
    struct faults *f = s->faults;
    uint32_t turn = (uint32_t)(s->options.seed % TURN_COUNT);
    for (uint32_t kind = turn; kind < FAULT_COUNT; kind += TURN_COUNT) {
        if (f->turn % 3 == kind / TURN_COUNT || s->stats->faults[kind] == 0) {
            strike(s, (enum sim_fault)kind);
        }
    }
    f->turn++;
    sim_after(s, 1000ULL * TURN_MS, EVENT_FAULT, NULL)->a = 1;
}

void faults_see_disk(struct sim *s, struct node *n)
{
    struct sim_disk_struck now = sim_disk_struck(n->disk);
    s->stats->faults[FAULT_POWER_IN_WRITE] += now.stops - n->struck.stops;
    s->stats->faults[FAULT_WRITE_ERROR] += now.write_errors - n->struck.write_errors;
    s->stats->faults[FAULT_SYNC_ERROR] += now.sync_errors - n->struck.sync_errors;
    s->stats->faults[FAULT_READ_ERROR] += now.read_errors - n->struck.read_errors;
    n->struck = now;
}

/* ---- life ---- */

struct faults *faults_new(struct sim *s)
{
    struct faults *f = xcalloc(1, sizeof(*f));
    if (s->options.scenario) {
        return f;
    }
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        f->weights[i] = (uint32_t)sim_below(s, 4);
    }
    f->weights[FAULT_KILL] += 1;
    if (sim_chance(s, 50)) {
        strike(s, sim_chance(s, 60) ? FAULT_INSTALL_CRASH : FAULT_PIECE_DAMAGE);
    }
    f->weights[FAULT_POWER_ALL] = sim_chance(s, 50);
    sim_after(s, 1500 * 1000, EVENT_FAULT, NULL);
    sim_after(s, 3000 * 1000, EVENT_FAULT, NULL)->a = 1;
    return f;
}

void faults_free(struct faults *f)
{
    free(f);
}

bool faults_healthy(const struct sim *s)
{
    if (s->faults->active_count > 0) {
        return false;
    }
    for (uint32_t i = 0; i < s->node_count; i++) {
        if (!s->nodes[i]->up || s->nodes[i]->paused_until > s->now) {
            return false;
        }
    }
    return true;
}

/* Cut off from somebody, in one direction or both, by faults that are about one machine. */
static uint32_t cut_off(const struct sim *s)
{
    uint32_t nodes = 0;
    for (size_t i = 0; i < ACTIVE_MAX; i++) {
        const struct active *a = &s->faults->all[i];
        if (a->in_use && (a->kind == FAULT_ISOLATE || a->kind == FAULT_ONE_WAY)) {
            nodes |= 1U << a->node->slot;
        }
    }
    return nodes;
}

static bool net_is_good(const struct sim *s)
{
    const struct net *net = s->net;
    for (size_t i = 0; i < ACTIVE_MAX; i++) {
        const struct active *a = &s->faults->all[i];
        if (a->in_use && (a->kind == FAULT_SPLIT || a->kind == FAULT_PARTIAL)) {
            return false;
        }
    }
    return net->loss_percent == 0 && net->delay_us == 0 && net->reorder_percent == 0;
}

bool faults_spare_majority(const struct sim *s)
{
    const struct raft_config *config = judge_config(s->judge);
    uint32_t out = cut_off(s);
    size_t well = 0;
    if (!config || !net_is_good(s) || judge_config_pending(s)) {
        return false; /* whose majority counts is being decided */
    }
    for (uint32_t i = 0; i < s->node_count; i++) {
        const struct node *n = s->nodes[i];
        well += n->up && n->paused_until <= s->now && !n->hung && n->slow == 0 &&
                !sim_disk_faults(n->disk)->full && (out >> i & 1) == 0 &&
                raft_config_is_voter(config, n->member.key);
    }
    return well >= raft_config_quorum(config);
}

void faults_end_all(struct sim *s)
{
    for (size_t i = 0; i < ACTIVE_MAX; i++) {
        end(s, &s->faults->all[i]);
    }
    for (uint32_t i = 0; i < s->node_count; i++) {
        struct node *n = s->nodes[i];
        *sim_disk_faults(n->disk) = (struct sim_disk_faults){0};
        n->paused_until = 0;
        n->crash_in_install = false;
        n->damage_piece = false;
    }
}
