/* mrworker's control loop between a mrmaster that the test plays and real task processes, which are
 * this program once more: it never waits for a task, whatever that does. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/rpc/rpc.h"
#include "common/rpc/rpc_server.h"
#include "common/rpc/rpc_stream.h"
#include "common/sys.h"
#include "mapreduce/mr_methods.h"
#include "mapreduce/mr_pack.h"
#include "mapreduce/spawner.h"
#include "mapreduce/task_pipe.h"
#include "mapreduce/task_report.h"
#include "mapreduce/worker_internal.h"

enum { WAIT_MS = 60 * 1000, MAPS = 100 * 1000, PAGE = 1000, LOG_MAX = 64 * 1024 };

/* ---- The task: what it does is the name of its job ---- */

static bool read_frame(struct buf *in, size_t *at, enum task_frame_kind *kind, struct span *payload)
{
    int code = 0;
    while (!task_frame_take(in, at, kind, payload, &code)) {
        if (code < 0) {
            return false;
        }
        if (*at == in->length) {
            buf_clear(in);
            *at = 0;
        }
        buf_reserve(in, 64 * 1024);
        ssize_t n = read(TASK_PIPE_FD, in->data + in->length, 64 * 1024);
        if (n <= 0) {
            return false;
        }
        in->length += (size_t)n;
    }
    return true;
}

/* Hears of maps until the output of each is known. */
static void hear_of_maps(struct buf *in, size_t *at, uint32_t maps)
{
    bool *known = xcalloc(maps, sizeof(*known));
    uint32_t count = 0;
    enum task_frame_kind kind;
    struct span payload;
    while (count < maps && read_frame(in, at, &kind, &payload)) {
        struct arena arena = ARENA_INIT;
        struct master_message message;
        if (kind != TASK_MAP_DONE || master_message_unpack(payload, &arena, &message, NULL) < 0) {
            _exit(3);
        }
        for (size_t i = 0; i < message.map_done_count; i++) {
            count += !known[message.map_done[i].map];
            known[message.map_done[i].map] = true;
        }
        arena_deinit(&arena);
    }
    free(known);
}

static int task_main(void)
{
    struct buf in = BUF_INIT;
    struct arena arena = ARENA_INIT;
    struct master_message message;
    struct task_report report;
    enum task_frame_kind kind;
    struct span payload;
    size_t at = 0;
    char pid[32];
    if (!read_frame(&in, &at, &kind, &payload)) {
        return 0; /* never needed */
    }
    if (kind != TASK_ASSIGN || master_message_unpack(payload, &arena, &message, NULL) < 0) {
        return 2;
    }
    const struct assignment *a = &message.assign[0];
    if (strcmp(a->spec->name, "end unbegun") == 0) {
        return 127;
    }
    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    task_report_init(&report, TASK_PIPE_FD, a->attempt);
    task_report_set_status(&report, pid);
    if (task_report_progress(&report, 1, NULL) < 0) {
        return 2;
    }
    if (strcmp(a->spec->name, "end begun") == 0) {
        return 127;
    } else if (strcmp(a->spec->name, "stop") == 0) {
        (void)raise(SIGSTOP);
    } else if (strcmp(a->spec->name, "hear") == 0) {
        hear_of_maps(&in, &at, a->maps);
    }
    struct attempt_end end = {.attempt = a->attempt, .text = "", .stderr_tail = ""};
    return task_report_end(&report, &end, NULL) < 0 ? 2 : 0;
}

/* ---- The mrmaster ---- */

/* An end that the worker has told. */
struct told_end {
    struct list link;
    struct arena arena;
    struct attempt_end end;
};

struct world {
    struct rpc_loop *loop; /* everything runs on it, the test too */
    struct rpc_server *server;
    struct rpc_stream *stream; /* of the worker; NULL: it has none */
    struct worker_hello hello; /* without its texts */
    struct mr_worker_process *worker;
    struct metrics *metrics;
    struct buf data;
    bool deaf; /* no ends are acknowledged */
    uint64_t beats;
    struct arena beat_arena;
    struct worker_beat beat; /* the latest */
    struct list ends;
    struct arena past_arena;
    struct worker_past past; /* as it was told on joining; whole when `last` */
};

static struct spawner spawner; /* forked before gRPC has threads */
static struct world world;
static struct job_file files; /* the side file of jobs that are assigned; no name: they have none */

static void take_beat(const struct worker_beat *beat)
{
    struct world *w = &world;
    struct worker_message message = {.beat = (struct worker_beat *)beat};
    struct worker_message copy;
    struct buf bytes = BUF_INIT;
    worker_message_pack(&message, &bytes);
    arena_reset(&w->beat_arena);
    assert_int_equal(
        worker_message_unpack((struct span){bytes.data, bytes.length}, &w->beat_arena, &copy, NULL),
        0);
    w->beat = *copy.beat;
    w->beats++;
    for (size_t i = 0; i < beat->ended_count; i++) {
        struct told_end *end = xcalloc(1, sizeof(*end));
        list_init(&end->link);
        assert_int_equal(worker_message_unpack((struct span){bytes.data, bytes.length}, &end->arena,
                                               &copy, NULL),
                         0);
        end->end = copy.beat->ended[i];
        list_push_back(&w->ends, &end->link);
    }
    buf_deinit(&bytes);
}

/* Few enough for one page here. */
static void take_past(const struct worker_past *past)
{
    struct worker_message message = {.past = (struct worker_past *)past};
    struct worker_message copy;
    struct buf bytes = BUF_INIT;
    worker_message_pack(&message, &bytes);
    arena_reset(&world.past_arena);
    assert_int_equal(worker_message_unpack((struct span){bytes.data, bytes.length},
                                           &world.past_arena, &copy, NULL),
                     0);
    assert_true(copy.past->last);
    world.past = *copy.past;
    buf_deinit(&bytes);
}

static void send_to_worker(const struct master_message *message)
{
    struct buf bytes = BUF_INIT;
    master_message_pack(message, &bytes);
    struct rpc_bytes *copy = rpc_bytes_copy(bytes.data, bytes.length);
    assert_int_equal(rpc_stream_send_bytes(world.stream, copy), 0);
    rpc_bytes_unref(copy);
    buf_deinit(&bytes);
}

static void on_open(struct rpc_stream *stream)
{
    world.stream = stream;
    rpc_stream_read(stream);
}

static void on_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct arena arena = ARENA_INIT;
    struct worker_message message;
    size_t length = rpc_bytes_length(bytes);
    void *copy = arena_alloc(&arena, length);
    rpc_bytes_read(bytes, 0, copy, length);
    assert_int_equal(worker_message_unpack((struct span){copy, length}, &arena, &message, NULL), 0);
    if (message.hello) {
        world.hello = *message.hello;
    } else if (message.past) {
        take_past(message.past);
    } else {
        take_beat(message.beat);
        if (message.beat->ended_count > 0 && !world.deaf) {
            struct master_message ack = {.ack_sequence = message.beat->sequence};
            send_to_worker(&ack);
        }
    }
    arena_deinit(&arena);
    rpc_stream_read(stream);
}

static void on_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    (void)result;
    world.stream = world.stream == stream ? NULL : world.stream;
}

static const struct rpc_stream_ops work_ops = {
    .on_open = on_open, .on_message = on_message, .on_close = on_close};
static const struct rpc_service_row rows[] = {{.method = &mr_work, .stream = &work_ops},
                                              {.method = NULL}};

/* The rest of the message goes with it. */
static void assign_with(struct master_message *rest, const char *what, const char *job,
                        struct assignment a, uint64_t timeout_ms)
{
    static const char *inputs[] = {"/in"};
    struct job_spec spec = {.name = what,
                            .inputs = inputs,
                            .input_count = 1,
                            .output = "/out",
                            .mapper = "",
                            .reducer = "",
                            .combiner = "",
                            .files = &files,
                            .file_count = files.name ? 1 : 0,
                            .task_timeout_ms = timeout_ms};
    a.job = job;
    a.spec = &spec;
    a.hidden_directory = a.output_name = a.fence_name = a.user = "x";
    rest->assign = &a;
    rest->assign_count = 1;
    send_to_worker(rest);
}

static void assign(const char *what, const char *job, struct assignment a, uint64_t timeout_ms)
{
    struct master_message message = {.assign = NULL};
    assign_with(&message, what, job, a, timeout_ms);
}

/* The outputs of maps [from, from + PAGE). */
static void tell_maps(const char *job, uint32_t from)
{
    static struct map_done done[PAGE];
    static char names[PAGE][ATTEMPT_NAME_BYTES_MAX];
    for (uint32_t i = 0; i < PAGE; i++) {
        struct attempt_name name = {.fence = 1, .job = 1, .task = from + i};
        attempt_name_format(&name, names[i]);
        done[i] = (struct map_done){.job = job,
                                    .map = from + i,
                                    .attempt = names[i],
                                    .address = "127.0.0.1:1",
                                    .host = "elsewhere"};
    }
    struct master_message message = {.map_done = done, .map_done_count = PAGE};
    send_to_worker(&message);
}

/* ---- Waiting ---- */

typedef bool (*condition_fn)(const void *arg);

static void until(condition_fn holds, const void *arg)
{
    time_ms deadline = clock_mono_ms() + WAIT_MS;
    while (!holds(arg)) {
        assert_true(clock_mono_ms() < deadline);
        (void)rpc_loop_step(world.loop, clock_mono_ms() + 20);
    }
}

static const struct attempt_end *end_of(const char *attempt)
{
    LIST_FOR_EACH(node, &world.ends)
    {
        const struct told_end *end = LIST_ENTRY(node, struct told_end, link);
        if (strcmp(end->end.attempt, attempt) == 0) {
            return &end->end;
        }
    }
    return NULL;
}

static bool has_ended(const void *attempt)
{
    return end_of(attempt) != NULL;
}

static const struct attempt_progress *progress_of(const char *attempt)
{
    for (size_t i = 0; i < world.beat.running_count; i++) {
        if (strcmp(world.beat.running[i].attempt, attempt) == 0) {
            return &world.beat.running[i];
        }
    }
    return NULL;
}

/* The task has said its process id, and the kernel that this is stopped. */
static bool is_stopped(const void *attempt)
{
    const struct attempt_progress *progress = progress_of(attempt);
    struct buf path = BUF_INIT;
    struct buf text = BUF_INIT;
    bool stopped = false;
    if (progress && progress->status[0]) {
        buf_printf(&path, "/proc/%s/stat", progress->status);
        if (sys_read_file(path.data, 4096, &text, NULL) == 0) {
            const char *state = strstr(text.data, ") ");
            stopped = state && state[2] == 'T';
        }
    }
    buf_deinit(&path);
    buf_deinit(&text);
    return stopped;
}

static bool has_joined(const void *arg)
{
    (void)arg;
    return world.hello.slots > 0 && world.stream && world.past.last;
}

static bool beats_are(const void *least)
{
    return world.beats >= *(const uint64_t *)least;
}

static bool has_heard(const void *arg)
{
    (void)arg;
    return world.worker->heard != 0;
}

static bool has_left(const void *arg)
{
    (void)arg;
    return worker_idle(world.worker);
}

/* ---- Tests ---- */

static void lose_connection(void)
{
    world.past.last = false;
    rpc_stream_cancel(world.stream);
    until(has_joined, NULL);
}

static void expect_trouble(const char *wanted)
{
    struct buf trouble = BUF_INIT;
    worker_say_trouble(world.worker, &trouble);
    if (wanted[0] ? !strstr(trouble.data, wanted) : trouble.length > 0) {
        fail_msg("\"%s\" instead of \"%s\"", trouble.data, wanted);
    }
    buf_deinit(&trouble);
}

static void expect_shown(const char *line)
{
    struct buf text = BUF_INIT;
    metrics_render_prometheus(world.metrics, &text);
    if (!strstr(text.data, line)) {
        fail_msg("no \"%s\" in %s", line, text.data);
    }
    buf_deinit(&text);
}

/* A connection alone does not make a worker healthy: mrmaster must speak, and go on speaking. */
static void health_is_what_mrmaster_says(void **state)
{
    (void)state;
    uint64_t wanted = world.beats + 1;
    until(beats_are, &wanted);
    expect_trouble("no mrmaster has this worker; it tries 127.0.0.1:");
    expect_shown("\ntrireme_mrworker_connected 0\n");
    struct master_message nothing = {.ack_sequence = 0};
    send_to_worker(&nothing);
    until(has_heard, NULL);
    expect_trouble("");
    expect_shown("\ntrireme_mrworker_connected 1\n");
    expect_shown("\ntrireme_mrworker_joins_total 1\n");
    world.worker->heard -= 20 * 1000;
    expect_trouble("has said nothing for 20 s");
    lose_connection();
    expect_trouble("no mrmaster has this worker");
    expect_shown("\ntrireme_mrworker_connected 0\n");
}

/* A reduce that is stopped and told of so many maps that its pipe is full: the worker beats,
 * another one hears of as many, and its time limit ends it. */
static void a_stopped_task_stops_nobody_else(void **state)
{
    (void)state;
    static const char stopped[] = "attempt_1_0001_r_000000_0";
    static const char other[] = "attempt_1_0002_r_000000_0";
    assign("stop", "job_1_0001", (struct assignment){.attempt = stopped, .reduce = true, .maps = 1},
           3000);
    until(is_stopped, stopped);
    for (uint32_t from = 0; from < MAPS; from += PAGE) {
        tell_maps("job_1_0001", from);
    }
    uint64_t wanted = world.beats + 2;
    until(beats_are, &wanted);
    assign("hear", "job_1_0002",
           (struct assignment){.attempt = other, .reduce = true, .maps = MAPS}, 0);
    for (uint32_t from = 0; from < MAPS; from += PAGE) {
        tell_maps("job_1_0002", from);
    }
    until(has_ended, other);
    assert_int_equal(end_of(other)->code, 0);
    until(has_ended, stopped);
    assert_int_equal(end_of(stopped)->code, ERR_TASK);
    assert_non_null(strstr(end_of(stopped)->text, "no sign of progress"));
    expect_shown("attempts_timed_out_total 1\n");
    expect_shown("attempts_ended_total{kind=\"reduce\",state=\"failed\"} 1\n");
    expect_shown("attempts_ended_total{kind=\"reduce\",state=\"succeeded\"} 1\n");
    assert_false(is_stopped(stopped));
}

/* A process that ends before it has taken its task says so of the worker, not of the attempt; one
 * that ends after that is the attempt's. */
static void a_task_that_does_not_begin(void **state)
{
    (void)state;
    static const char unbegun[] = "attempt_1_0003_m_000000_0";
    static const char begun[] = "attempt_1_0004_m_000000_0";
    assign("end unbegun", "job_1_0003", (struct assignment){.attempt = unbegun}, 0);
    until(has_ended, unbegun);
    assert_true(end_of(unbegun)->not_started);
    assert_non_null(strstr(end_of(unbegun)->text, "ended with status 127 before it took a task"));
    assign("end begun", "job_1_0004", (struct assignment){.attempt = begun}, 0);
    until(has_ended, begun);
    assert_false(end_of(begun)->not_started);
    assert_int_equal(end_of(begun)->code, ERR_TASK);
    assert_non_null(strstr(end_of(begun)->text, "ended with status 127 before its task did"));
    expect_shown("attempts_ended_total{kind=\"map\",state=\"lost\"} 1\n");
    expect_shown("attempts_ended_total{kind=\"map\",state=\"failed\"} 1\n");
    expect_shown("attempts_started_total{kind=\"map\"} 2\n");
}

static const struct past_attempt *past_of(const char *attempt)
{
    for (size_t i = 0; i < world.past.attempt_count; i++) {
        if (strcmp(world.past.attempts[i].end.attempt, attempt) == 0) {
            return &world.past.attempts[i];
        }
    }
    return NULL;
}

static bool keeps_job(const char *job)
{
    for (size_t i = 0; i < world.past.job_count; i++) {
        if (strcmp(world.past.jobs[i], job) == 0) {
            return true;
        }
    }
    return false;
}

/* A file in the worker's data directory, with the directories that it is in. */
static void make_file(const char *path, const void *bytes, size_t length)
{
    struct buf whole = BUF_INIT;
    buf_printf(&whole, "%s/%s", world.data.data, path);
    char *slash = strrchr(whole.data, '/');
    *slash = '\0';
    assert_int_equal(sys_mkdir_p(whole.data, NULL), 0);
    *slash = '/';
    assert_int_equal(sys_write_file_atomic(whole.data, bytes, length, NULL), 0);
    buf_deinit(&whole);
}

/* What a process wrote before it crashed may be any bytes; what is told of it is text. */
static void a_crash_whose_last_words_are_no_text(void **state)
{
    (void)state;
    static const char attempt[] = "attempt_1_0010_m_000000_0";
    static const char log[] = "gr\xfc\xdf\x00 from here\n";
    make_file("logs/0010/attempt_1_0010_m_000000_0", log, sizeof(log) - 1);
    assign("end begun", "job_1_0010", (struct assignment){.attempt = attempt}, 0);
    until(has_ended, attempt);
    assert_int_equal(end_of(attempt)->code, ERR_TASK);
    assert_string_equal(end_of(attempt)->stderr_tail, "gr??? from here\n");
}

/* Files of a job that no worker could have had are the job's fault; that this worker cannot place
 * them is its own. */
static void files_that_do_not_come(void **state)
{
    (void)state;
    static const char wrong[] = "attempt_1_0011_m_000000_0";
    static const char full[] = "attempt_1_0012_m_000000_0";
    make_file("jobs/0012", "in the way", 10); /* of the job's directory */
    files = (struct job_file){
        .name = "side", .store_path = "", .data = {"abc", 3}, .length = 3, .crc32c = 0xbad};
    assign("end", "job_1_0011", (struct assignment){.attempt = wrong}, 0);
    until(has_ended, wrong);
    assert_int_equal(end_of(wrong)->code, ERR_CORRUPT);
    assert_false(end_of(wrong)->not_started);
    assign("end", "job_1_0012", (struct assignment){.attempt = full}, 0);
    until(has_ended, full);
    assert_true(end_of(full)->not_started);
    assert_int_equal(end_of(full)->code, ERR_NOT_DIR);
    files = (struct job_file){.name = NULL};
    expect_shown("attempts_ended_total{kind=\"map\",state=\"lost\"} 2\n");
}

static uint64_t size_of_file(const char *path)
{
    struct buf whole = BUF_INIT;
    struct stat st = {.st_size = 0};
    buf_printf(&whole, "%s/%s", world.data.data, path);
    bool there = stat(whole.data, &st) == 0;
    buf_deinit(&whole);
    return there ? (uint64_t)st.st_size : 0;
}

/* Its first half is there, and a tail. */
static bool is_cut(const void *path)
{
    uint64_t size = size_of_file(path);
    return size > LOG_MAX / 2 && size <= LOG_MAX;
}

/* A task that runs writes more than it may; so does one that ends at once. */
static void logs_that_are_too_long(void **state)
{
    (void)state;
    static const char running[] = "attempt_1_0013_m_000000_0";
    static const char ended[] = "attempt_1_0014_m_000001_0";
    static const char running_log[] = "logs/0013/attempt_1_0013_m_000000_0";
    static const char ended_log[] = "logs/0014/attempt_1_0014_m_000001_0";
    static char much[5 * LOG_MAX];
    memset(much, 'x', sizeof(much));
    assign("stop", "job_1_0013", (struct assignment){.attempt = running}, 0);
    until(is_stopped, running);
    make_file(running_log, much, sizeof(much));
    until(is_cut, running_log);
    make_file(ended_log, much, sizeof(much));
    assign("end", "job_1_0014", (struct assignment){.attempt = ended}, 0);
    until(has_ended, ended);
    until(is_cut, ended_log);
}

/* A mrmaster that is joined hears of all that has ended, until it says to forget the job. */
static void the_past_is_told_on_joining(void **state)
{
    (void)state;
    static const char map[] = "attempt_1_0005_m_000003_0";
    static const char reduce[] = "attempt_1_0005_r_000000_0";
    static const char unknown[] = "attempt_1_0006_m_000000_0";
    static const char running[] = "attempt_1_0007_m_000000_0";
    assign("end", "job_1_0005", (struct assignment){.attempt = map, .reduces = 1, .plan = 77}, 0);
    until(has_ended, map);
    assign("end", "job_1_0005",
           (struct assignment){.attempt = reduce, .reduce = true, .reduces = 1, .plan = 77}, 0);
    until(has_ended, reduce);
    assign("stop", "job_1_0007", (struct assignment){.attempt = running, .reduces = 1}, 0);
    until(is_stopped, running);
    world.deaf = true; /* this end is not acknowledged */
    assign("end", "job_1_0006", (struct assignment){.attempt = unknown, .reduces = 1}, 0);
    until(has_ended, unknown);
    world.deaf = false;
    lose_connection();
    assert_true(keeps_job("job_1_0005") && keeps_job("job_1_0006"));
    const struct past_attempt *past = past_of(map);
    assert_non_null(past);
    assert_string_equal(past->state, "succeeded");
    assert_true(past->held);
    assert_int_equal(past->plan, 77);
    assert_true(past->started_ms > 0 && past->ended_ms >= past->started_ms);
    assert_false(past_of(reduce)->held);
    assert_true(past_of(unknown)->held);
    assert_string_equal(past_of(running)->state, "lost");
    assert_false(past_of(running)->held);
    const char *forget[] = {"job_1_0005"};
    struct master_message message = {.forget_jobs = forget, .forget_count = 1};
    send_to_worker(&message);
    uint64_t wanted = world.beats + 2; /* it has read that */
    until(beats_are, &wanted);
    lose_connection();
    assert_false(keeps_job("job_1_0005"));
    assert_null(past_of(map));
    assert_non_null(past_of(unknown));
}

/* What is said of an attempt in the message that assigns it holds for it. */
static void an_assignment_that_is_taken_back(void **state)
{
    (void)state;
    static const char *killed[] = {"attempt_1_0008_m_000000_0"};
    static const char *forgotten[] = {"job_1_0009"};
    struct assignment a = {.attempt = killed[0], .reduces = 1};
    struct master_message message = {.kill = killed, .kill_count = 1};
    assign_with(&message, "stop", "job_1_0008", a, 0);
    a.attempt = "attempt_1_0009_m_000000_0";
    message = (struct master_message){.forget_jobs = forgotten, .forget_count = 1};
    assign_with(&message, "stop", forgotten[0], a, 0);
    static const char later[] = "attempt_1_0010_m_000000_0";
    assign("end", "job_1_0010", (struct assignment){.attempt = later, .reduces = 1}, 0);
    until(has_ended, later);
    lose_connection(); /* what runs is lost with it, and told */
    assert_true(!past_of(killed[0]) || strcmp(past_of(killed[0])->state, "killed") == 0);
    assert_false(keeps_job(forgotten[0]));
}

/* ---- */

static void on_joined(void *arg)
{
    (void)arg;
}

static int start(void **state)
{
    static const char *address[] = {"127.0.0.1:0"};
    static struct rpc_service service = {rows, NULL};
    static char listening[64];
    struct world *w = &world;
    (void)state;
    rpc_init();
    list_init(&w->ends);
    w->loop = rpc_loop_new();
    w->metrics = metrics_new();
    struct rpc_server_options server = {.addresses = address,
                                        .address_count = 1,
                                        .class = RPC_CONTROL,
                                        .loops = &w->loop,
                                        .loop_count = 1,
                                        .services = &service,
                                        .service_count = 1};
    struct err e = ERR_INIT;
    if (rpc_server_new(&server, &w->server, &e) < 0) {
        (void)fprintf(stderr, "%s\n", err_message(&e));
        return -1;
    }
    (void)snprintf(listening, sizeof(listening), "127.0.0.1:%d", rpc_server_port(w->server, 0));
    struct worker_options options = {.loop = w->loop,
                                     .spawner = &spawner,
                                     .metrics = w->metrics,
                                     .data = w->data.data,
                                     .mrmaster = listening,
                                     .masters = "127.0.0.1:1", /* no job here has files */
                                     .address = "127.0.0.1:2",
                                     .host = "here",
                                     .rack = "r",
                                     .user = "tester",
                                     .slots = 4,
                                     .task_timeout_ms = 600 * 1000,
                                     .log_bytes_max = LOG_MAX,
                                     .log_keep_ms = 3600 * 1000,
                                     .log_total_bytes = 1 << 30,
                                     .joined = on_joined};
    if (worker_start(&options, &w->worker, &e) < 0) {
        (void)fprintf(stderr, "%s\n", err_message(&e));
        return -1;
    }
    until(has_joined, NULL);
    return 0;
}

static int stop(void **state)
{
    struct world *w = &world;
    (void)state;
    worker_leave(w->worker);
    until(has_left, NULL);
    worker_process_free(w->worker);
    metrics_free(w->metrics);
    rpc_server_drain(w->server, clock_mono_ms());
    rpc_server_free(w->server);
    rpc_loop_free(w->loop);
    LIST_FOR_EACH_SAFE(node, &w->ends)
    {
        struct told_end *end = LIST_ENTRY(node, struct told_end, link);
        list_remove(node);
        arena_deinit(&end->arena);
        free(end);
    }
    arena_deinit(&w->beat_arena);
    arena_deinit(&w->past_arena);
    rpc_exit();
    int r = sys_remove_tree(w->data.data, NULL);
    buf_deinit(&w->data);
    return r;
}

int main(int argc, char **argv)
{
    static char task_flag[] = "--task";
    if (argc > 1 && strcmp(argv[1], task_flag) == 0) {
        _exit(task_main()); /* as mrtask does */
    }
    static char self[] = "/proc/self/exe";
    char *task[] = {self, task_flag, NULL};
    buf_init(&world.data);
    if (sys_make_temp_dir("mr-worker", &world.data, NULL) < 0 ||
        spawner_start(&spawner, task, NULL) < 0) {
        return 1;
    }
    log_init(LOG_LEVEL_WARNING, NULL, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_is_what_mrmaster_says),
        cmocka_unit_test(a_stopped_task_stops_nobody_else),
        cmocka_unit_test(a_task_that_does_not_begin),
        cmocka_unit_test(a_crash_whose_last_words_are_no_text),
        cmocka_unit_test(files_that_do_not_come),
        cmocka_unit_test(logs_that_are_too_long),
        cmocka_unit_test(the_past_is_told_on_joining),
        cmocka_unit_test(an_assignment_that_is_taken_back),
    };
    int r = cmocka_run_group_tests(tests, start, stop);
    spawner_stop(&spawner);
    return r;
}
