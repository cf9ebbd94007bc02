/* mrmaster at the level of its messages with workers, which the test plays: what it says stays
 * within a message's limits however many maps a job has, and is what stands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/mr.pb-c.h"

#include "common/alloc.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "mapreduce/master_internal.h"
#include "mapreduce/mr_methods.h"
#include "mapreduce/mr_pack.h"
#include "mapreduce/mr_rpc.h"

enum { WAIT_MS = 100 * 1000, MAPS = 100 * 1000, SLOTS = 1000, PAST_PAGE = 1000, PLAN = 4711 };

/* ---- A worker as the test plays it: maps are done at once, reduces never ---- */

struct player {
    struct rpc_stream *stream;
    struct rpc_channel *channel;
    bool reading;     /* takes messages */
    uint32_t reduces; /* it was given */
    char **known;     /* by map: address of the output that it was told of; NULL: none */
    uint32_t known_count;
    uint64_t maps_run;
    bool lazy;                        /* it never ends a map */
    bool lossy;                       /* its reduces cannot fetch the map that it ended last ... */
    char map[ATTEMPT_NAME_BYTES_MAX]; /* ... which is this */
    uint32_t killed;                  /* attempts of it */
    uint32_t forgotten;               /* times it was told to forget a job that nobody has */
    uint64_t withdrawn;               /* times it was told so */
    uint64_t sequence;
    size_t message_bytes; /* largest so far */
    uint64_t messages;
};

struct world {
    struct rpc_loop *loop;
    struct rpc_server *server;
    struct mr_master *master;
    struct mr_job *job;
    char address[64];
    struct player players[2];
};

static void send_message(const struct player *p, const struct worker_message *message)
{
    struct buf bytes = BUF_INIT;
    worker_message_pack(message, &bytes);
    struct rpc_bytes *copy = rpc_bytes_copy(bytes.data, bytes.length);
    assert_int_equal(rpc_stream_send_bytes(p->stream, copy), 0);
    rpc_bytes_unref(copy);
    buf_deinit(&bytes);
}

static void take_maps(struct player *p, const struct map_done *list, size_t count)
{
    assert_true(count <= MAP_DONE_PAGE_COUNT);
    for (size_t i = 0; i < count; i++) {
        char **known = &p->known[list[i].map];
        p->known_count -= *known != NULL;
        free(*known);
        *known = list[i].withdrawn ? NULL : xstrdup(list[i].address);
        p->known_count += *known != NULL;
        p->withdrawn += list[i].withdrawn;
    }
}

/* The end of a reduce of a lossy worker. */
static struct attempt_end lossy_end(struct player *p, const char *attempt)
{
    static uint32_t lost = 0;
    static const char *names[1];
    names[0] = p->map;
    return (struct attempt_end){.attempt = attempt,
                                .code = ERR_UNAVAILABLE,
                                .text = "nobody answers",
                                .stderr_tail = "",
                                .lost_maps = &lost,
                                .lost_map_attempts = names,
                                .lost_count = 1};
}

static void take_assignments(struct player *p, const struct assignment *list, size_t count)
{
    struct worker_beat beat = {.sequence = ++p->sequence};
    beat.ended = xcalloc(count + 1, sizeof(beat.ended[0]));
    for (size_t i = 0; i < count; i++) {
        p->reduces += list[i].reduce;
        if (!list[i].reduce) {
            p->maps_run++;
        }
        if (!list[i].reduce && !p->lazy) {
            beat.ended[beat.ended_count++] =
                (struct attempt_end){.attempt = list[i].attempt, .text = "", .stderr_tail = ""};
            (void)snprintf(p->map, sizeof(p->map), "%s", list[i].attempt);
        } else if (list[i].reduce && p->lossy) {
            beat.ended[beat.ended_count++] = lossy_end(p, list[i].attempt);
        }
    }
    struct worker_message message = {.beat = &beat};
    send_message(p, &message);
    free(beat.ended);
}

static void on_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct player *p = rpc_stream_state(stream);
    struct arena arena = ARENA_INIT;
    struct master_message message;
    size_t length = rpc_bytes_length(bytes);
    void *copy = arena_alloc(&arena, length);
    rpc_bytes_read(bytes, 0, copy, length);
    assert_int_equal(master_message_unpack((struct span){copy, length}, &arena, &message, NULL), 0);
    p->messages++;
    p->killed += (uint32_t)message.kill_count;
    for (size_t i = 0; i < message.forget_count; i++) {
        p->forgotten += strcmp(message.forget_jobs[i], "job_3_0099") == 0;
        assert_string_not_equal(message.forget_jobs[i], "job_3_0001");
    }
    p->message_bytes = length > p->message_bytes ? length : p->message_bytes;
    take_maps(p, message.map_done, message.map_done_count);
    if (message.assign_count > 0) {
        take_assignments(p, message.assign, message.assign_count);
    }
    arena_deinit(&arena);
    if (p->reading) {
        rpc_stream_read(stream);
    }
}

static void on_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct player *p = rpc_stream_state(stream);
    (void)result;
    p->stream = NULL;
}

static const struct rpc_stream_ops player_ops = {.on_message = on_message, .on_close = on_close};

/* Outputs of maps [from, from + count) of an attempt that another mrmaster had given out. */
static void tell_past(const struct player *p, uint32_t from, uint32_t count)
{
    static struct past_attempt attempts[PAST_PAGE];
    static char names[PAST_PAGE][ATTEMPT_NAME_BYTES_MAX];
    static struct job_counter counter = {"Group", "Maps", 1};
    for (uint32_t i = 0; i < count; i++) {
        struct attempt_name name = {.fence = 3, .job = 1, .task = from + i, .number = 2};
        attempt_name_format(&name, names[i]);
        attempts[i] = (struct past_attempt){
            .end = {.attempt = names[i], .text = "", .stderr_tail = "", .counters = {&counter, 1}},
            .state = "succeeded",
            .started_ms = 1,
            .ended_ms = 2,
            .held = true,
            .plan = PLAN};
    }
    const char *jobs[] = {"job_3_0001", "job_3_0099"};
    struct worker_past past = {jobs, from == 0 ? 2 : 0, attempts, count, false};
    struct worker_message message = {.past = &past};
    send_message(p, &message);
}

/* held: so many outputs of the first maps are on its disk already. */
static void join_holding(struct world *w, int number, uint32_t slots, bool reading, uint32_t held)
{
    static const char *const addresses[] = {"127.0.0.1:1", "127.0.0.1:2"};
    struct player *p = &w->players[number];
    struct rpc_channel_options channel = {
        .address = w->address, .class = RPC_CONTROL, .user = "tester"};
    assert_int_equal(rpc_channel_open(&channel, &p->channel, NULL), 0);
    struct rpc_request request = {
        .channel = p->channel, .method = &mr_work, .deadline = RPC_NO_DEADLINE};
    p->reading = reading;
    p->known = xcalloc(MAPS, sizeof(p->known[0]));
    p->stream = rpc_stream_open(w->loop, &request, &player_ops, p);
    struct worker_hello hello = {
        .host = addresses[number], .rack = "r", .address = addresses[number], .slots = slots};
    memset(hello.key.bytes, 1 + number, sizeof(hello.key.bytes));
    struct worker_message message = {.hello = &hello};
    send_message(p, &message);
    for (uint32_t from = 0; from < held; from += PAST_PAGE) {
        tell_past(p, from, held - from > PAST_PAGE ? PAST_PAGE : held - from);
    }
    struct worker_past last = {.last = true};
    message = (struct worker_message){.past = &last};
    send_message(p, &message);
    if (reading) {
        rpc_stream_read(p->stream);
    }
}

static void join(struct world *w, int number, uint32_t slots, bool reading)
{
    join_holding(w, number, slots, reading, 0);
}

/* ---- A job without a store ---- */

static void make_job(struct world *w, uint32_t reduces)
{
    static const char *inputs[] = {"/in"};
    struct mr_master *m = w->master;
    struct job_record record = {.job = "job_3_0001",
                                .number = 1,
                                .submission = "",
                                .user = "ada",
                                .spec = {.name = "many maps",
                                         .inputs = inputs,
                                         .input_count = 1,
                                         .output = "/out",
                                         .mapper = "",
                                         .reducer = "",
                                         .combiner = ""}};
    struct mr_job *job = job_new(m, &record, NULL);
    job->reduces = reduces;
    job->plan_id = PLAN;
    job->plan.map_count = MAPS;
    job->plan.maps = arena_calloc(&job->plan_arena, MAPS * sizeof(job->plan.maps[0]));
    for (uint32_t t = 0; t < MAPS; t++) {
        job->plan.maps[t].split_count = 1;
        job->plan.maps[t].splits =
            arena_calloc(&job->plan_arena, sizeof(job->plan.maps[t].splits[0]));
        job->plan.maps[t].splits[0] = (struct input_split){.path = "/in", .length = 1};
    }
    w->job = job;
}

static void run_job(struct world *w)
{
    job_run(w->master, w->job);
    master_pump(w->master);
}

static int setup(void **state)
{
    static const char *address[] = {"127.0.0.1:0"};
    struct world *w = xcalloc(1, sizeof(*w));
    rpc_init();
    w->loop = rpc_loop_new();
    struct mr_master_options options = {
        .loop = w->loop, .masters = "127.0.0.1:1", .worker_silent_ms = 1000, .history_ms = 1000};
    w->master = mr_master_new(&options);
    w->master->fence = 7;
    struct rpc_service service = {mr_master_rows, w->master};
    struct rpc_server_options server = {.addresses = address,
                                        .address_count = 1,
                                        .class = RPC_CONTROL,
                                        .loops = &w->loop,
                                        .loop_count = 1,
                                        .services = &service,
                                        .service_count = 1};
    if (rpc_server_new(&server, &w->server, NULL) < 0) {
        return -1;
    }
    (void)snprintf(w->address, sizeof(w->address), "127.0.0.1:%d", rpc_server_port(w->server, 0));
    *state = w;
    return 0;
}

static void player_free(struct player *p)
{
    for (uint32_t t = 0; p->known && t < MAPS; t++) {
        free(p->known[t]);
    }
    free(p->known);
    rpc_channel_unref(p->channel);
}

static int teardown(void **state)
{
    struct world *w = *state;
    mr_master_drain(w->master);
    for (int i = 0; i < 2; i++) {
        while (w->players[i].stream) {
            rpc_stream_cancel(w->players[i].stream);
            (void)rpc_loop_step(w->loop, clock_mono_ms() + 20);
        }
    }
    rpc_server_drain(w->server, clock_mono_ms());
    rpc_server_free(w->server);
    mr_master_free(w->master);
    for (int i = 0; i < 2; i++) {
        player_free(&w->players[i]);
    }
    rpc_loop_free(w->loop);
    free(w);
    rpc_exit();
    return 0;
}

/* ---- Waiting ---- */

/* What is on its way to a worker never exceeds what may be queued, whether it reads or not. */
static void check_queues(struct world *w)
{
    LIST_FOR_EACH(node, &w->master->workers)
    {
        const struct mr_worker *worker = LIST_ENTRY(node, struct mr_worker, link);
        assert_true(rpc_stream_queued(worker->stream) <
                    RPC_STREAM_WRITABLE_BYTES + RPC_MESSAGE_BYTES_MAX);
    }
}

static void until(struct world *w, bool (*holds)(const struct world *))
{
    time_ms deadline = clock_mono_ms() + WAIT_MS;
    while (!holds(w)) {
        assert_true(clock_mono_ms() < deadline);
        (void)rpc_loop_step(w->loop, clock_mono_ms() + 20);
        check_queues(w);
    }
}

static bool first_joined(const struct world *w)
{
    return list_count(&w->master->workers) == 1;
}

static bool first_was_told(const struct world *w)
{
    return w->players[0].messages > 0;
}

static bool both_joined(const struct world *w)
{
    return list_count(&w->master->workers) == 2;
}

static bool maps_are_done(const struct world *w)
{
    struct sched_job_counts counts = {0};
    return scheduler_counts(w->master->scheduler, 1, &counts) && counts.done[SCHED_MAP] == MAPS;
}

static bool reduces_run(const struct world *w)
{
    struct sched_job_counts counts = {0};
    return scheduler_counts(w->master->scheduler, 1, &counts) &&
           counts.running[SCHED_REDUCE] == w->job->reduces;
}

static bool first_knows_all(const struct world *w)
{
    return w->players[0].known_count == MAPS;
}

static const struct mr_worker *first_worker(const struct world *w)
{
    return LIST_ENTRY(w->master->workers.next, struct mr_worker, link);
}

static bool first_has_reduces(const struct world *w)
{
    return w->players[0].reduces == 2;
}

static bool first_ran_one(const struct world *w)
{
    return w->players[0].maps_run == 1;
}

static bool first_has_maps(const struct world *w)
{
    return w->players[0].maps_run == 50;
}

static bool first_was_killed(const struct world *w)
{
    return w->players[0].killed == 50;
}

static bool second_knows_all(const struct world *w)
{
    return w->players[1].known_count == MAPS;
}

/* The second worker has been sent all that may be on its way, and no more. */
static bool queue_is_full(const struct world *w)
{
    const struct mr_worker *worker = LIST_ENTRY(w->master->workers.prev, struct mr_worker, link);
    const struct follow *follow = map_get_u64(&worker->follows, 1);
    return follow && !rpc_stream_writable(worker->stream) && follow->told < w->job->map_news_count;
}

static bool second_is_gone(const struct world *w)
{
    return list_count(&w->master->workers) == 1;
}

/* ---- Tests ---- */

static void expect_trouble(const struct world *w, const char *wanted)
{
    struct buf trouble = BUF_INIT;
    master_say_trouble(w->master, &trouble);
    if (wanted[0] ? !strstr(trouble.data, wanted) : trouble.length > 0) {
        fail_msg("\"%s\" instead of \"%s\"", trouble.data, wanted);
    }
    buf_deinit(&trouble);
}

/* There is nothing to say to it, but it must know that it has joined. */
static void a_worker_hears_at_once(void **state)
{
    struct world *w = *state;
    join(w, 0, 1, true);
    until(w, first_was_told);
    assert_int_equal(w->players[0].maps_run, 0);
    assert_true(first_joined(w));
}

/* Nothing else than the store's silence, and an end, make it unhealthy. */
static void health(void **state)
{
    struct world *w = *state;
    master_store_answered(w->master);
    expect_trouble(w, "");
    w->master->store_answered -= 60 * 1000;
    expect_trouble(w, "the store does not answer: nothing for 60 s");
    master_store_answered(w->master);
    w->master->store_trouble = xstrdup("masters x: no leader");
    w->master->store_trouble_ms = clock_mono_ms();
    expect_trouble(w, "the store does not answer: masters x: no leader");
    w->master->store_trouble_ms -= MR_STORE_TROUBLE_MS;
    expect_trouble(w, "");
    assert_int_equal(gauge_value(w->master->metrics.active), 0); /* it was not started */
    master_metrics_tick(w->master);
    assert_int_equal(gauge_value(w->master->metrics.active), 1);
    mr_master_drain(w->master);
    expect_trouble(w, "mrmaster stops");
    assert_int_equal(gauge_value(w->master->metrics.active), 0);
}

static void a_hundred_thousand_maps(void **state)
{
    struct world *w = *state;
    struct player *first = &w->players[0];
    struct player *second = &w->players[1];
    join(w, 0, SLOTS, true);
    join(w, 1, 10, true);
    until(w, both_joined);
    make_job(w, SLOTS + 1);
    run_job(w);
    until(w, maps_are_done);
    until(w, reduces_run);
    until(w, first_knows_all);
    until(w, second_knows_all);
    assert_true(first->reduces > 0 && second->reduces > 0);
    for (int i = 0; i < 2; i++) {
        assert_true(w->players[i].message_bytes < RPC_MESSAGE_BYTES_MAX / 2);
        assert_int_equal(w->players[i].withdrawn, 0);
    }
    uint64_t run_before = first->maps_run;
    uint64_t lost = second->maps_run;
    assert_true(lost > 0);
    rpc_stream_cancel(second->stream); /* it dies: its maps run again, on the first */
    until(w, second_is_gone);
    until(w, maps_are_done);
    until(w, first_knows_all);
    for (uint32_t t = 0; t < MAPS; t++) {
        assert_string_equal(first->known[t], "127.0.0.1:1");
    }
    assert_int_equal(first->maps_run - run_before, lost);
    const struct master_metrics *x = &w->master->metrics;
    assert_int_equal(counter_value(x->attempts_started[SCHED_MAP]), MAPS + lost);
    assert_int_equal(counter_value(x->attempts_ended[SCHED_MAP][0]), MAPS + lost); /* succeeded */
    assert_int_equal(counter_value(x->map_outputs_lost), lost);
    assert_int_equal(counter_value(x->workers_joined), 2);
    assert_int_equal(counter_value(x->workers_lost), 1);
    master_metrics_tick(w->master);
    assert_int_equal(gauge_value(x->tasks[SCHED_MAP][2]), MAPS); /* done */
    assert_int_equal(gauge_value(x->slots_used), first->reduces);
    assert_int_equal(gauge_value(x->slots), SLOTS);
    assert_int_equal(gauge_value(x->jobs[JOB_STATE_RUNNING]), 1);
}

/* One that takes nothing for a while is not given up, and hears of every map when it reads again.
 */
static void a_worker_that_does_not_read(void **state)
{
    struct world *w = *state;
    join(w, 0, SLOTS, true);
    until(w, first_joined);
    make_job(w, SLOTS + 1);
    run_job(w);
    until(w, maps_are_done);
    until(w, first_knows_all); /* its slots are full of reduces */
    assert_int_equal(w->players[0].reduces, SLOTS);
    join(w, 1, 1, false);
    until(w, reduces_run);
    until(w, queue_is_full);
    assert_int_equal(w->players[1].known_count, 0);
    w->players[1].reading = true;
    rpc_stream_read(w->players[1].stream);
    until(w, second_knows_all);
}

static int64_t counted(const struct world *w)
{
    struct arena arena = ARENA_INIT;
    struct job_status status;
    job_status(w->master, w->job, &arena, &status);
    int64_t value = status.counters.count == 1 ? status.counters.items[0].value : -1;
    arena_deinit(&arena);
    return value;
}

/* A mrmaster that has restarted: of a hundred thousand finished maps none is run again, and what
 * they counted counts. An output that cannot be fetched all the same is run again, alone. */
static void finished_maps_are_kept(void **state)
{
    struct world *w = *state;
    struct player *first = &w->players[0];
    make_job(w, 2);
    w->job->taken_up = true;
    join_holding(w, 0, 10, true, MAPS); /* before the job has its plan */
    until(w, first_joined);
    run_job(w);
    assert_true(maps_are_done(w));
    until(w, first_knows_all);
    until(w, first_has_reduces);
    assert_int_equal(first->maps_run, 0);
    assert_int_equal(first->forgotten, 1);
    assert_int_equal(w->job->outputs_found, MAPS);
    assert_int_equal(counted(w), MAPS);
    assert_null(w->players[0].stream ? list_first(&first_worker(w)->past) : NULL);
    uint32_t lost_map = 5;
    const char *lost = "attempt_3_0001_m_000005_2";
    struct attempt_end end = {.attempt = "attempt_7_0001_r_000000_0",
                              .code = ERR_UNAVAILABLE,
                              .text = "cannot fetch",
                              .stderr_tail = "",
                              .lost_maps = &lost_map,
                              .lost_map_attempts = &lost,
                              .lost_count = 1};
    struct worker_beat beat = {.ended = &end, .ended_count = 1, .sequence = 1000};
    struct worker_message message = {.beat = &beat};
    send_message(first, &message);
    until(w, first_ran_one);
    until(w, maps_are_done);
    until(w, first_knows_all);
    assert_int_equal(first->maps_run, 1);
    assert_int_equal(counted(w), MAPS - 1); /* the players' maps count nothing */
}

/* The worker that has the outputs comes late: what runs again is killed. Outputs of another plan
 * are none. */
static void outputs_that_come_late(void **state)
{
    struct world *w = *state;
    make_job(w, 2);
    w->job->plan_id = PLAN + 1;
    run_job(w);
    w->players[0].lazy = true;
    join_holding(w, 0, 50, true, MAPS);
    until(w, first_has_maps);
    assert_int_equal(w->job->outputs_found, 0);
    w->job->plan_id = PLAN;
    join_holding(w, 1, 10, true, MAPS);
    until(w, second_knows_all);
    assert_int_equal(w->job->outputs_found, MAPS);
    until(w, first_was_killed);
    assert_int_equal(w->players[1].maps_run, 0);
    assert_int_equal(counter_value(w->master->metrics.attempts_ended[SCHED_MAP][2]),
                     50); /* killed */
    scheduler_check(w->master->scheduler);
}

/* The map `task` has ended, and has `count` counters of its own and one of the framework's. */
static void end_counting(struct world *w, uint32_t task, size_t count)
{
    static char names[MR_COUNTERS_MAX][MR_COUNTER_NAME_BYTES_MAX + 1];
    static char group[MR_COUNTER_NAME_BYTES_MAX + 1];
    static struct job_counter counters[MR_COUNTERS_MAX + 1];
    static char text_h[] = "h";
    static const struct mr_worker worker = {.host = text_h, .rack = text_h, .address = text_h};
    memset(group, 'g', MR_COUNTER_NAME_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "%0*zu", MR_COUNTER_NAME_BYTES_MAX,
                       task * count + i);
        counters[i] = (struct job_counter){group, names[i], 1};
    }
    counters[count] = (struct job_counter){"Map-Reduce Framework", "Map input records", 1};
    struct attempt_name name = {.fence = 3, .job = 1, .task = task};
    char text[ATTEMPT_NAME_BYTES_MAX];
    attempt_name_format(&name, text);
    struct past_attempt past = {
        .end = {.attempt = text, .text = "", .stderr_tail = "", .counters = {counters, count + 1}},
        .state = "succeeded"};
    job_task_done(w->job, job_attempt_found(w->job, &name, &past, &worker), &past.end);
}

/* Each task has as many as it may, no two the same. What there is no room for is dropped; the
 * framework's stay, and what users are shown can be noted and read. */
static void too_many_counters(void **state)
{
    enum { TASKS = 11 };
    struct world *w = *state;
    struct arena arena = ARENA_INIT;
    struct job_outcome outcome = {0};
    struct job_outcome read = {0};
    struct buf bytes = BUF_INIT;
    make_job(w, 1);
    run_job(w);
    for (uint32_t t = 0; t < TASKS; t++) {
        end_counting(w, t, MR_COUNTERS_MAX);
    }
    job_task_undone(w->job, &(struct sched_attempt){.job = 1, .kind = SCHED_MAP, .task = 1});
    job_status(w->master, w->job, &arena, &outcome.status);
    assert_int_equal(outcome.status.counters.count, MR_COUNTERS_MAX + 1);
    assert_string_equal(outcome.status.counters.items[0].name, "Map input records");
    assert_int_equal(outcome.status.counters.items[0].value, TASKS - 1);
    job_outcome_pack(&outcome, &bytes);
    assert_true(bytes.length < RPC_MESSAGE_BYTES_MAX / 2);
    assert_int_equal(
        job_outcome_unpack((struct span){bytes.data, bytes.length}, &arena, &read, NULL), 0);
    buf_deinit(&bytes);
    arena_deinit(&arena);
}

static bool job_has_failed(const struct world *w)
{
    return w->job->failure[0] != '\0';
}

/* One map, whose output is lost each time: in the end the job says from where it could not be had,
 * by whom and why. */
static void an_output_that_nobody_can_fetch(void **state)
{
    struct world *w = *state;
    make_job(w, 1);
    w->job->plan.map_count = 1;
    w->job->discarding = true; /* there is no store to discard anything in */
    w->players[0].lossy = true;
    join(w, 0, 2, true);
    until(w, first_joined);
    run_job(w);
    until(w, job_has_failed);
    assert_int_equal(w->players[0].maps_run, 16);
    struct buf wanted = BUF_INIT;
    const struct mr_worker *worker =
        LIST_ENTRY(list_first(&w->master->workers), struct mr_worker, link);
    buf_printf(&wanted, "%s has run again and again", w->players[0].map);
    assert_non_null(strstr(w->job->failure, wanted.data));
    buf_clear(&wanted);
    buf_printf(&wanted,
               "the last time from worker %s (%s): attempt_7_0001_r_000000_15 on %s (%s) says "
               "\"nobody answers\"",
               worker->host, worker->address, worker->host, worker->address);
    assert_non_null(strstr(w->job->failure, wanted.data));
    buf_deinit(&wanted);
}

/* Fifty maps of many small files, whose names do not fit into one message. */
static void assignments_larger_than_a_message(void **state)
{
    enum { FILES = 25, PATH_BYTES = 4000 };
    struct world *w = *state;
    static char path[PATH_BYTES];
    static struct input_split splits[FILES];
    memset(path, 'p', sizeof(path) - 1);
    make_job(w, 1);
    for (size_t i = 0; i < FILES; i++) {
        splits[i] = (struct input_split){.path = path, .length = 1};
    }
    for (uint32_t t = 0; t < MAPS; t++) {
        w->job->plan.maps[t].splits = splits;
        w->job->plan.maps[t].split_count = FILES;
    }
    w->players[0].lazy = true;
    join(w, 0, 50, true);
    until(w, first_joined);
    run_job(w);
    until(w, first_has_maps);
    assert_true(first_joined(w));
    assert_true(w->players[0].message_bytes < RPC_MESSAGE_BYTES_MAX);
}

struct answer {
    bool came;
    int code;
};

static void on_answer(void *arg, const struct rpc_result *result,
                      const struct ProtobufCMessage *reply)
{
    struct answer *answer = arg;
    (void)reply;
    *answer = (struct answer){true, result->code};
}

static const char *submit_inputs[] = {"/in"};

/* A job that is nothing special. */
static struct job_spec submit_spec(void)
{
    return (struct job_spec){.name = "small files",
                             .inputs = submit_inputs,
                             .input_count = 1,
                             .output = "/out",
                             .mapper = "cat",
                             .reducer = "",
                             .combiner = ""};
}

/* How its submission ends. */
static int submit(struct world *w, const struct job_spec *spec)
{
    static char submission[] = "0123456789abcdef0123456789abcdef";
    struct rpc_channel_options channel = {
        .address = w->address, .class = RPC_CONTROL, .user = "ada"};
    struct arena arena = ARENA_INIT;
    struct answer answer = {false, 0};
    Trireme__V1__SubmitRequest message = TRIREME__V1__SUBMIT_REQUEST__INIT;
    message.submission = submission;
    message.spec = job_spec_to_wire(spec, &arena);
    struct rpc_request request = {
        .method = &mr_submit, .message = &message.base, .deadline = clock_mono_ms() + WAIT_MS};
    assert_int_equal(rpc_channel_open(&channel, &request.channel, NULL), 0);
    rpc_call_start(w->loop, &request, on_answer, &answer);
    while (!answer.came) {
        (void)rpc_loop_step(w->loop, clock_mono_ms() + 20);
    }
    rpc_channel_unref(request.channel);
    arena_deinit(&arena);
    return answer.code;
}

static int submit_files(struct world *w, struct job_file *files, size_t count)
{
    struct job_spec spec = submit_spec();
    spec.files = files;
    spec.file_count = count;
    return submit(w, &spec);
}

/* A small file comes whole, and few enough of them. */
static void small_files_that_are_refused(void **state)
{
    struct world *w = *state;
    static const char bytes[JOB_SMALL_BYTES_MAX];
    struct job_file lacking = {.store_path = "", .name = "a", .length = 2, .data = {"x", 1}};
    struct job_file both = {.store_path = "/b", .name = "b", .length = 1, .data = {"x", 1}};
    struct job_file much[] = {
        {.store_path = "", .name = "c", .length = sizeof(bytes), .data = {bytes, sizeof(bytes)}},
        {.store_path = "", .name = "d", .length = 1, .data = {"x", 1}}};
    struct job_file elsewhere[] = {
        {.store_path = "/else/e", .name = "e", .length = 1},
        {.store_path = MR_UPLOADS_DIRECTORY "/fedcba9876543210fedcba9876543210/e", .name = "e"},
        {.store_path = MR_UPLOADS_DIRECTORY "/0123456789abcdef0123456789abcdef/../e", .name = "e"}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(submit_files(w, &elsewhere[i], 1), ERR_INVALID);
    }
    assert_int_equal(submit_files(w, &lacking, 1), ERR_INVALID);
    assert_int_equal(submit_files(w, &both, 1), ERR_INVALID);
    assert_int_equal(submit_files(w, much, 2), ERR_TOO_LARGE);
    assert_true(list_empty(&w->master->jobs));
}

/* One that its request has room for, but not what mrmaster adds to it for the store and workers. */
static void a_submission_that_is_too_large(void **state)
{
    struct world *w = *state;
    char *value = xmalloc(JOB_RECORD_BYTES_MAX);
    memset(value, 'v', JOB_RECORD_BYTES_MAX);
    value[JOB_RECORD_BYTES_MAX - 1] = '\0';
    struct job_setting setting = {"name", value};
    struct job_spec spec = submit_spec();
    spec.settings = &setting;
    spec.setting_count = 1;
    assert_int_equal(submit(w, &spec), ERR_TOO_LARGE);
    assert_true(list_empty(&w->master->jobs));
    assert_int_equal(w->master->next_job, 1);
    free(value);
}

/* Of one user it is known; another one has no part in it. */
static void a_submission_of_somebody_else(void **state)
{
    struct world *w = *state;
    struct job_spec spec = submit_spec();
    make_job(w, 1);
    w->job->record.submission = "0123456789abcdef0123456789abcdef";
    w->job->hidden_inode = 1; /* it was acknowledged */
    assert_int_equal(submit(w, &spec), 0);
    w->job->record.user = "bob";
    assert_int_equal(submit(w, &spec), ERR_PERMISSION);
}

int main(void)
{
    log_init(LOG_LEVEL_ERROR, NULL, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_worker_hears_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(health, setup, teardown),
        cmocka_unit_test_setup_teardown(a_hundred_thousand_maps, setup, teardown),
        cmocka_unit_test_setup_teardown(a_worker_that_does_not_read, setup, teardown),
        cmocka_unit_test_setup_teardown(finished_maps_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(outputs_that_come_late, setup, teardown),
        cmocka_unit_test_setup_teardown(an_output_that_nobody_can_fetch, setup, teardown),
        cmocka_unit_test_setup_teardown(assignments_larger_than_a_message, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_counters, setup, teardown),
        cmocka_unit_test_setup_teardown(small_files_that_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_submission_of_somebody_else, setup, teardown),
        cmocka_unit_test_setup_teardown(a_submission_that_is_too_large, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
