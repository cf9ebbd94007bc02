/* See race.h. */
#include "client/race.h"

#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/macros.h"

enum {
    ATTEMPT_MS = 10 * 1000, /* an answer that takes longer is asked for again */
    SILENCE_MS = 500,       /* then somebody else is asked as well; an election takes as long */
    RUNNER_COUNT_MAX = 4,   /* asked at a time; a minority of any group may be silent */
};

struct race;

/* One attempt at one master. */
struct runner {
    struct race *race;
    char address[LIMIT_ADDRESS_BYTES_MAX];
    struct rpc_channel *channel; /* NULL: it never started, as the next one */
    struct rpc_pending *pending;
    bool running;
    struct ProtobufCMessage *reply;
    struct rpc_result result;
};

struct race {
    struct call *call;
    struct master_request *request;
    time_ms deadline;
    struct runner runners[RUNNER_COUNT_MAX]; /* [0] is the first one */
    size_t next;                             /* of the configured masters, to be asked */
    size_t running;
    bool news; /* a runner has ended since the last look */
};

static void runner_done(void *arg, const struct rpc_result *result,
                        const struct ProtobufCMessage *reply)
{
    struct runner *runner = arg;
    runner->running = false;
    runner->result = *result;
    runner->reply = (struct ProtobufCMessage *)reply; /* in the call's arena */
    runner->race->running--;
    runner->race->news = true;
}

static void runner_start(struct race *race, struct runner *runner, const char *address)
{
    struct rpc_channel *channel = NULL;
    struct err e = ERR_INIT;
    *runner = (struct runner){.race = race};
    (void)snprintf(runner->address, sizeof(runner->address), "%s", address);
    int r = rpc_pool_get(race->call->dfs->pool, address, RPC_CONTROL, &channel, &e);
    if (r < 0) {
        runner->result = (struct rpc_result){.code = r, .cause = r, .definite = true};
        (void)snprintf(runner->result.text, sizeof(runner->result.text), "%s", err_message(&e));
        race->news = true;
        return;
    }
    runner->channel = channel;
    struct rpc_request call = {
        .channel = channel,
        .method = race->request->method,
        .message = race->request->message,
        .deadline = race->deadline,
    };
    runner->running = true;
    race->running++;
    runner->pending =
        rpc_call_start_in(race->call->loop, &call, &race->call->arena, runner_done, runner);
}

/* A place is free again. What the runner in it may have done stays counted. */
static void runner_drop(struct race *race, struct runner *runner, bool counted)
{
    race->request->sent += counted && runner->pending && !runner->result.definite;
    rpc_pending_unref(runner->pending);
    rpc_channel_unref(runner->channel);
    runner->pending = NULL;
    runner->channel = NULL;
}

static bool is_asked(const struct race *race, const char *address)
{
    for (size_t i = 0; i < RUNNER_COUNT_MAX; i++) {
        const struct runner *runner = &race->runners[i];
        if (runner->running && strcmp(runner->address, address) == 0) {
            return true;
        }
    }
    return false;
}

/* The next configured master that is not being asked; NULL: all are. */
static const char *somebody_else(struct race *race)
{
    const struct dfs *dfs = race->call->dfs;
    for (size_t i = 0; i < dfs->master_count; i++) {
        const char *address = dfs->masters[race->next++ % dfs->master_count];
        if (!is_asked(race, address)) {
            return address;
        }
    }
    return NULL;
}

static void ask_somebody_else(struct race *race)
{
    struct runner *place = NULL;
    for (size_t i = 1; i < RUNNER_COUNT_MAX && !place; i++) {
        place = race->runners[i].running ? NULL : &race->runners[i];
    }
    const char *address = place ? somebody_else(race) : NULL;
    if (address) {
        runner_drop(race, place, true);
        runner_start(race, place, address);
    }
}

/* One that is not even connected will hardly answer soon; one that is may be slow: no news. */
static bool is_anybody_there(const struct race *race)
{
    for (size_t i = 0; i < RUNNER_COUNT_MAX; i++) {
        const struct runner *runner = &race->runners[i];
        if (runner->running && rpc_channel_is_connected(runner->channel)) {
            return true;
        }
    }
    return false;
}

/* Whether it has ended with something that the first one's silence cannot outweigh. */
static bool is_decisive(const struct race *race, const struct runner *runner)
{
    if (runner->running || runner->address[0] == '\0') {
        return false;
    }
    if (runner->result.code == ERR_NOT_LEADER) {
        const char *hint = runner->result.leader;
        return hint[0] != '\0' && !is_asked(race, hint);
    }
    return !master_is_passing(runner->result.code);
}

/* NULL: go on. */
static struct runner *winner(struct race *race)
{
    struct runner *first = &race->runners[0];
    for (size_t i = 1; i < RUNNER_COUNT_MAX && first->running; i++) {
        struct runner *runner = &race->runners[i];
        if (is_decisive(race, runner)) {
            return runner;
        }
    }
    return first->running ? NULL : first;
}

static void race_end(struct race *race, const struct runner *won)
{
    for (size_t i = 0; i < RUNNER_COUNT_MAX; i++) {
        if (race->runners[i].running) {
            rpc_pending_cancel(race->runners[i].pending);
        }
    }
    while (race->running > 0) {
        race->news = false;
        (void)rpc_loop_until(race->call->loop, &race->news, RPC_NO_DEADLINE);
    }
    for (size_t i = 0; i < RUNNER_COUNT_MAX; i++) {
        runner_drop(race, &race->runners[i], &race->runners[i] != won);
    }
}

int race_run(struct call *c, struct master_request *request, const char *first,
             char ret_by[LIMIT_ADDRESS_BYTES_MAX], struct ProtobufCMessage **ret_reply,
             struct rpc_result *ret_result)
{
    time_ms most = request->attempt_ms ? request->attempt_ms : ATTEMPT_MS;
    struct race race = {
        .call = c, .request = request, .deadline = MIN(clock_mono_ms() + most, c->deadline)};
    struct runner *won;
    runner_start(&race, &race.runners[0], first);
    while ((won = winner(&race)) == NULL) {
        race.news = false;
        if (!rpc_loop_until(c->loop, &race.news, clock_mono_ms() + SILENCE_MS)) {
            if (!is_anybody_there(&race)) {
                master_tell_silence(c);
            }
            ask_somebody_else(&race);
        }
    }
    race_end(&race, won);
    bool is_hint = won->result.code == ERR_NOT_LEADER;
    (void)snprintf(ret_by, LIMIT_ADDRESS_BYTES_MAX, "%s", is_hint ? first : won->address);
    *ret_result = won->result;
    if (won->result.code == 0) {
        *ret_reply = won->reply;
    }
    return won->result.code;
}
