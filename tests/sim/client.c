/* See client.h. */
#include "tests/sim/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/check.h"
#include "tests/sim/judge.h"
#include "tests/sim/net.h"
#include "tests/sim/node.h"

enum {
    TRY_MS = 400,     /* then the answer is lost, and another machine is asked */
    SLEEP_MS = 25000, /* long enough for a session to end */
    AGAIN_US = 20 * 1000,
};

/* What EVENT_CLIENT's number says. */
enum wake { WAKE_BEGIN, WAKE_TRY, WAKE_TIMEOUT };

static uint64_t wake_number(enum wake wake, uint32_t client, uint32_t lane, uint32_t attempt)
{
    return (uint64_t)attempt << 32 | (uint64_t)client << 16 | (uint64_t)lane << 8 | wake;
}

static void wake_after(struct sim *s, sim_us delay, uint64_t number)
{
    sim_after(s, delay, EVENT_CLIENT, NULL)->a = number;
}

static struct client *client_of(struct sim *s, const struct op *op)
{
    return &s->clients->all[op->client];
}

/* ---- sending ---- */

/* acked_below: none of the session that is lower is under way. */
static struct machine_put put_of(struct sim *s, uint32_t number)
{
    const struct op *op = &s->clients->ops[number];
    const struct client *c = client_of(s, op);
    struct machine_put put = {op->session, op->seq, op->seq, number, op->key};
    for (uint32_t i = 0; i < s->plan.lane_count; i++) {
        const struct op *other = &s->clients->ops[c->lanes[i]];
        if (c->lanes[i] != 0 && !other->is_read && other->session == op->session &&
            other->seq < put.acked_below) {
            put.acked_below = other->seq;
        }
    }
    return put;
}

static void send_try(struct sim *s, uint32_t number)
{
    struct op *op = &s->clients->ops[number];
    sim_us delay = 0;
    op->attempt++;
    if (net_client_delay(s, &delay)) {
        /* Some reads ask anybody, who may believe that it leads. */
        uint32_t to = op->is_read && sim_chance(s, 20) ? (uint32_t)sim_below(s, s->node_count)
                                                       : client_of(s, op)->target;
        struct event *ev = sim_after(s, delay, EVENT_REQUEST, s->nodes[to]);
        ev->life = 0;
        ev->a = (uint64_t)op->attempt << 32 | number;
        if (op->is_read) {
            uint64_t floor = judge_floor(s, op->key);
            ev->data = xmemdup(&floor, sizeof(floor));
        } else {
            struct machine_put put = put_of(s, number);
            ev->data = xmemdup(&put, sizeof(put));
        }
    }
    sim_us patience = 1000ULL * (TRY_MS / 2 + sim_below(s, TRY_MS));
    wake_after(s, patience, wake_number(WAKE_TIMEOUT, op->client, op->lane, op->attempt));
}

static void try_after(struct sim *s, const struct op *op, sim_us delay)
{
    wake_after(s, delay, wake_number(WAKE_TRY, op->client, op->lane, op->attempt));
}

/* ---- beginning and ending ---- */

static void open_session(struct client *c, uint32_t number)
{
    c->session = (uint64_t)(number + 1) << 32 | ++c->sessions;
    c->next_seq = 1;
}

static uint32_t new_op(struct sim *s, uint32_t client, uint32_t lane)
{
    struct clients *cs = s->clients;
    if (cs->op_count == cs->op_capacity) {
        cs->op_capacity *= 2;
        cs->ops = xreallocarray(cs->ops, cs->op_capacity, sizeof(cs->ops[0]));
    }
    struct client *c = &cs->all[client];
    struct op *op = &cs->ops[cs->op_count];
    *op = (struct op){.client = client, .lane = lane, .began = s->now};
    op->key = (uint32_t)sim_below(s, s->plan.key_count);
    op->is_read = sim_chance(s, s->plan.read_percent);
    op->floor = judge_floor(s, op->key);
    if (!op->is_read) {
        op->session = c->session;
        op->seq = c->next_seq++;
    }
    return cs->op_count++;
}

static void begin(struct sim *s, uint32_t client, uint32_t lane)
{
    struct client *c = &s->clients->all[client];
    CHECK(c->lanes[lane] == 0);
    if (s->clients->stopped) {
        return;
    }
    if (c->asleep) {
        wake_after(s, 1000ULL * 500, wake_number(WAKE_BEGIN, client, lane, 0));
        return;
    }
    c->lanes[lane] = new_op(s, client, lane);
    send_try(s, c->lanes[lane]);
}

static void end(struct sim *s, uint32_t number, enum op_state state)
{
    struct op *op = &s->clients->ops[number];
    struct client *c = client_of(s, op);
    op->state = state;
    op->ended = s->now;
    c->lanes[op->lane] = 0;
    if (state == OP_UNKNOWN) {
        s->stats->unknowns++;
    } else if (state == OP_FAILED) {
        judge_given_up(s, op);
    }
    sim_us pause = sim_about(s, s->plan.think_us);
    wake_after(s, pause, wake_number(WAKE_BEGIN, op->client, op->lane, 0));
}

/* Tries again, or gives up. */
static void again(struct sim *s, uint32_t number, sim_us delay)
{
    struct op *op = &s->clients->ops[number];
    bool tired = s->now > op->began + 1000ULL * MACHINE_CLIENT_PATIENCE;
    if (tired || (!op->maybe && sim_chance(s, 2))) {
        end(s, number, op->maybe ? OP_UNKNOWN : OP_FAILED);
    } else {
        try_after(s, op, delay);
    }
}

static void look_elsewhere(struct sim *s, struct client *c, uint32_t hint)
{
    c->target = hint > 0 && hint <= s->node_count && !sim_chance(s, 10)
                    ? hint - 1
                    : (uint32_t)sim_below(s, s->node_count);
}

/* ---- events ---- */

static void fall_asleep(struct sim *s, uint32_t client)
{
    s->clients->all[client].asleep = true;
    s->clients->sleeper = true;
    wake_after(s, 1000ULL * SLEEP_MS, wake_number(WAKE_BEGIN, client, CLIENT_LANE_COUNT_MAX, 0));
}

void client_on_event(struct sim *s, struct event *ev)
{
    uint32_t client = ev->a >> 16 & 0xffff;
    uint32_t lane = ev->a >> 8 & 0xff;
    uint32_t attempt = (uint32_t)(ev->a >> 32);
    enum wake wake = ev->a & 0xff;
    struct client *c = &s->clients->all[client];
    if (lane == CLIENT_LANE_COUNT_MAX) {
        c->asleep = false;
        s->clients->sleeper = false;
        return;
    }
    uint32_t number = c->lanes[lane];
    if (wake == WAKE_BEGIN) {
        if (!s->clients->sleeper && rng_below(&s->rng, 3000) == 0) {
            fall_asleep(s, client);
        }
        begin(s, client, lane);
        return;
    }
    if (number == 0 || s->clients->ops[number].attempt != attempt) {
        return; /* answered meanwhile */
    }
    if (wake == WAKE_TRY) {
        send_try(s, number);
    } else {
        s->clients->ops[number].maybe = true;
        s->clients->ops[number].attempt++; /* a late answer is not taken */
        look_elsewhere(s, c, 0);
        again(s, number, sim_below(s, AGAIN_US));
    }
}

void client_answer(struct sim *s, struct reply reply)
{
    sim_us delay = 0;
    if (net_client_delay(s, &delay)) {
        struct event *ev = sim_after(s, delay, EVENT_REPLY, NULL);
        ev->data = xmemdup(&reply, sizeof(reply));
    }
}

/* "A request that was sent only once is then sent again under a new session, one sent before is
 * reported as unknown" (DESIGN 5). */
static void session_gone(struct sim *s, uint32_t number)
{
    struct op *op = &s->clients->ops[number];
    struct client *c = client_of(s, op);
    s->stats->expired++;
    if (c->session == op->session) {
        open_session(c, op->client);
    }
    if (op->maybe) {
        end(s, number, OP_UNKNOWN);
        return;
    }
    op->session = c->session;
    op->seq = c->next_seq++;
    again(s, number, 0);
}

static void done(struct sim *s, uint32_t number, const struct reply *reply)
{
    struct op *op = &s->clients->ops[number];
    judge_done(s, op, reply->version, reply->seen_op);
    op->version = reply->version;
    op->seen_op = reply->seen_op;
    s->stats->reads += op->is_read;
    s->stats->writes += !op->is_read;
    end(s, number, OP_DONE);
}

void client_on_reply(struct sim *s, struct event *ev)
{
    const struct reply *reply = ev->data;
    struct op *op = &s->clients->ops[reply->op];
    if (op->state != OP_RUNNING || op->attempt != reply->attempt) {
        return;
    }
    switch (reply->kind) {
    case REPLY_DONE:
        done(s, reply->op, reply);
        return;
    case REPLY_NOT_LEADER:
    case REPLY_REFUSED:
        op->attempt++;
        look_elsewhere(s, client_of(s, op), reply->hint);
        again(s, reply->op, sim_below(s, AGAIN_US));
        return;
    case REPLY_BUSY:
        op->attempt++;
        if (sim_chance(s, 30)) {
            look_elsewhere(s, client_of(s, op), 0);
        }
        again(s, reply->op, AGAIN_US + sim_below(s, AGAIN_US));
        return;
    case REPLY_NO_SESSION:
        op->attempt++;
        session_gone(s, reply->op);
        return;
    case REPLY_STALE:
        end(s, reply->op, OP_UNKNOWN);
        return;
    case REPLY_UNKNOWN:
        op->attempt++;
        op->maybe = true;
        look_elsewhere(s, client_of(s, op), 0);
        again(s, reply->op, sim_below(s, AGAIN_US));
        return;
    }
}

/* ---- life ---- */

struct clients *clients_new(struct sim *s)
{
    struct clients *cs = xcalloc(1, sizeof(*cs));
    cs->op_capacity = 4096;
    cs->ops = xcalloc(cs->op_capacity, sizeof(cs->ops[0]));
    cs->op_count = 1;
    for (uint32_t i = 0; i < s->plan.client_count; i++) {
        cs->all[i].target = (uint32_t)sim_below(s, s->plan.member_count);
        open_session(&cs->all[i], i);
        for (uint32_t lane = 0; lane < s->plan.lane_count; lane++) {
            wake_after(s, sim_below(s, 500 * 1000), wake_number(WAKE_BEGIN, i, lane, 0));
        }
    }
    return cs;
}

void clients_free(struct clients *c)
{
    free(c->ops);
    free(c);
}

bool clients_idle(const struct clients *c)
{
    for (size_t i = 0; i < SIM_CLIENT_COUNT_MAX; i++) {
        for (size_t lane = 0; lane < CLIENT_LANE_COUNT_MAX; lane++) {
            if (c->all[i].lanes[lane] != 0) {
                return false;
            }
        }
    }
    return true;
}

/* A register is a file that is replaced by each write (tests/lib/lin.h). */
void clients_write_history(struct sim *s, const char *path)
{
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    for (uint32_t i = 1; i < s->clients->op_count; i++) {
        const struct op *op = &s->clients->ops[i];
        (void)fprintf(f, "%u %" PRIu64 " %" PRIu64 " %s /register%u/value ",
                      op->client * CLIENT_LANE_COUNT_MAX + op->lane, op->began, op->ended,
                      op->is_read ? "stat" : "set", op->key);
        if (!op->is_read) {
            (void)fprintf(f, "%u ", i);
        }
        if (op->state != OP_DONE) {
            (void)fprintf(f, "= %s\n", op->state == OP_FAILED ? "failed" : "unknown");
        } else if (!op->is_read) {
            (void)fprintf(f, "= ok\n");
        } else if (op->version == 0) {
            (void)fprintf(f, "= absent\n");
        } else {
            (void)fprintf(f, "= %u\n", op->seen_op);
        }
    }
    (void)fclose(f);
}
