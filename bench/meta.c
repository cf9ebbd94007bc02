/* bench/meta: the file master as its clients see it, over gRPC on loopback with its log on a real
 * disk: changes acknowledged durable per second, and reads, at 1 to 256 requests in flight, with
 * one and with 64 operations in a message. One client thread; client and master share the machine,
 * and the CPU of both is shown. Each row is the median of the runs, on a fresh master. Printed
 * beside it: the time of one append and fdatasync of 4 KiB on the same directory, the floor of one
 * change. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <proto/fs.pb-c.h>

#include "bench/lib/floor.h"
#include "bench/lib/process.h"
#include "bench/lib/report.h"
#include "common/alloc.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/rpc/rpc.h"
#include "common/sys.h"

enum { DIRECTORY_COUNT = 64, FLIGHT_MAX = 256, OPS_MAX = 64, RUNS_MAX = 50 };

enum work { WORK_CREATE, WORK_MKDIR, WORK_STAT };

struct row {
    const char *name;
    enum work work;
    uint32_t flight; /* messages on their way at a time */
    uint32_t ops;    /* in each */
};

static const struct row rows[] = {
    {"create 1", WORK_CREATE, 1, 1},       {"create 64", WORK_CREATE, 64, 1},
    {"create 256", WORK_CREATE, 256, 1},   {"create 4x64", WORK_CREATE, 4, 64},
    {"create 16x64", WORK_CREATE, 16, 64}, {"mkdir 64", WORK_MKDIR, 64, 1},
    {"stat 1", WORK_STAT, 1, 1},           {"stat 64", WORK_STAT, 64, 1},
};

struct master {
    struct process process;
    struct buf data;
};

struct run;

/* One of the messages in flight: its own session, so that each has its own window. */
struct lane {
    struct run *run;
    uint64_t session;
    uint64_t seq;
    uint64_t begun_us;
};

struct run {
    const struct row *row;
    struct rpc_loop *loop;
    struct rpc_channel *channel;
    struct lane lanes[FLIGHT_MAX];
    uint64_t count; /* operations to do */
    uint64_t started;
    uint64_t finished;  /* operations */
    uint32_t under_way; /* messages */
    double *latencies_us;
    size_t latency_count;
    bool done;
};

static const struct rpc_method method_mutate = {"/trireme.v1.FsMaster/Mutate", RPC_UNARY,
                                                &trireme__v1__mutate_request__descriptor,
                                                &trireme__v1__mutate_reply__descriptor};
static const struct rpc_method method_stat = {"/trireme.v1.FsMaster/Stat", RPC_UNARY,
                                              &trireme__v1__stat_request__descriptor,
                                              &trireme__v1__stat_reply__descriptor};

/* ---- The master ---- */

static void master_start(struct master *m, const char *directory)
{
    buf_init(&m->data);
    buf_printf(&m->data, "%s/master", directory);
    const char *arguments[] = {"--data",     m->data.data,  "--listen", "127.0.0.1:0",
                               "--no-audit", "--log-level", "warning",  NULL};
    process_start(&m->process, "fsmaster", arguments);
    process_await(&m->process);
}

static void master_stop(struct master *m)
{
    process_stop(&m->process);
    if (sys_remove_tree(m->data.data, NULL) < 0) {
        bench_fail("remove %s", m->data.data);
    }
    buf_deinit(&m->data);
}

/* ---- Requests ---- */

static void lane_next(struct lane *lane);

static void lane_done(void *arg, const struct rpc_result *result, const ProtobufCMessage *reply)
{
    struct lane *lane = arg;
    struct run *run = lane->run;
    if (result->code < 0) {
        bench_fail("%s: %s", err_name(result->code), result->text);
    }
    if (run->row->work != WORK_STAT) {
        const Trireme__V1__MutateReply *a = (const Trireme__V1__MutateReply *)reply;
        for (size_t i = 0; i < a->n_results; i++) {
            if (a->results[i]->outcome && a->results[i]->outcome->error_name[0]) {
                bench_fail("%s", a->results[i]->outcome->error_name);
            }
        }
    }
    run->latencies_us[run->latency_count++] = (double)(clock_mono_us() - lane->begun_us);
    run->finished += run->row->ops;
    run->under_way--;
    lane_next(lane);
    run->done = run->under_way == 0;
}

static void send_mutate(struct lane *lane)
{
    struct run *run = lane->run;
    Trireme__V1__MutateRequest request = TRIREME__V1__MUTATE_REQUEST__INIT;
    Trireme__V1__Operation operations[OPS_MAX];
    Trireme__V1__Operation *pointers[OPS_MAX];
    Trireme__V1__Create creates[OPS_MAX];
    Trireme__V1__Mkdir mkdirs[OPS_MAX];
    char paths[OPS_MAX][48];
    request.session = lane->session;
    request.acked_below = lane->seq + 1;
    for (uint32_t i = 0; i < run->row->ops; i++) {
        uint64_t number = run->started++;
        (void)snprintf(paths[i], sizeof(paths[i]), "/d%02d/f%08llu",
                       (int)(number % DIRECTORY_COUNT), (unsigned long long)number);
        trireme__v1__operation__init(&operations[i]);
        operations[i].seq = ++lane->seq;
        if (run->row->work == WORK_CREATE) {
            trireme__v1__create__init(&creates[i]);
            creates[i].path = paths[i];
            operations[i].kind_case = TRIREME__V1__OPERATION__KIND_CREATE;
            operations[i].create = &creates[i];
        } else {
            trireme__v1__mkdir__init(&mkdirs[i]);
            mkdirs[i].path = paths[i];
            operations[i].kind_case = TRIREME__V1__OPERATION__KIND_MKDIR;
            operations[i].mkdir = &mkdirs[i];
        }
        pointers[i] = &operations[i];
    }
    request.operations = pointers;
    request.n_operations = run->row->ops;
    struct rpc_request call = {run->channel, &method_mutate, &request.base,
                               clock_mono_ms() + 30000};
    rpc_call_start(run->loop, &call, lane_done, lane);
}

static void send_stat(struct lane *lane)
{
    struct run *run = lane->run;
    Trireme__V1__StatRequest request = TRIREME__V1__STAT_REQUEST__INIT;
    char path[16];
    (void)snprintf(path, sizeof(path), "/d%02d", (int)(run->started++ % DIRECTORY_COUNT));
    request.path = path;
    struct rpc_request call = {run->channel, &method_stat, &request.base, clock_mono_ms() + 30000};
    rpc_call_start(run->loop, &call, lane_done, lane);
}

static void lane_next(struct lane *lane)
{
    struct run *run = lane->run;
    if (run->started >= run->count) {
        return;
    }
    run->under_way++;
    lane->begun_us = clock_mono_us();
    if (run->row->work == WORK_STAT) {
        send_stat(lane);
    } else {
        send_mutate(lane);
    }
}

static void lanes_run(struct run *run, uint32_t flight)
{
    run->done = false;
    for (uint32_t i = 0; i < flight; i++) {
        lane_next(&run->lanes[i]);
    }
    if (!rpc_loop_until(run->loop, &run->done, clock_mono_ms() + 300000)) {
        bench_fail("not done in five minutes");
    }
}

/* The directories, by one lane; then the lanes of the row. */
static void make_directories(struct run *run)
{
    struct lane *lane = &run->lanes[0];
    for (int i = 0; i < DIRECTORY_COUNT; i++) {
        Trireme__V1__MutateRequest request = TRIREME__V1__MUTATE_REQUEST__INIT;
        Trireme__V1__Operation operation = TRIREME__V1__OPERATION__INIT;
        Trireme__V1__Operation *pointer = &operation;
        Trireme__V1__Mkdir mkdir = TRIREME__V1__MKDIR__INIT;
        struct arena arena = ARENA_INIT;
        ProtobufCMessage *reply;
        struct rpc_result result;
        char path[16];
        (void)snprintf(path, sizeof(path), "/d%02d", i);
        mkdir.path = path;
        operation.seq = ++lane->seq;
        operation.kind_case = TRIREME__V1__OPERATION__KIND_MKDIR;
        operation.mkdir = &mkdir;
        request.session = lane->session;
        request.acked_below = lane->seq;
        request.operations = &pointer;
        request.n_operations = 1;
        struct rpc_request call = {run->channel, &method_mutate, &request.base,
                                   clock_mono_ms() + 30000};
        if (rpc_call(run->loop, &call, &arena, &reply, &result) < 0) {
            bench_fail("mkdir: %s", result.text);
        }
        arena_deinit(&arena);
    }
}

struct figures {
    double per_s[RUNS_MAX], p50[RUNS_MAX], p99[RUNS_MAX], server_us[RUNS_MAX], client_us[RUNS_MAX];
};

static void measure(const struct bench_options *options, const struct row *row,
                    const char *directory, uint32_t number, struct figures *f)
{
    struct master master;
    struct run run = {.row = row, .count = options->bytes / 1000};
    struct err e = ERR_INIT;
    run.count = row->flight * row->ops == 1 ? run.count / 10 : run.count;
    run.latencies_us = xcalloc(run.count + FLIGHT_MAX, sizeof(double));
    master_start(&master, directory);
    rpc_init();
    run.loop = rpc_loop_new();
    struct rpc_channel_options channel = {
        .address = master.process.address, .class = RPC_CONTROL, .user = "root"};
    if (rpc_channel_open(&channel, &run.channel, &e) < 0) {
        bench_fail("%s", err_message(&e));
    }
    for (uint32_t i = 0; i < FLIGHT_MAX; i++) {
        run.lanes[i] = (struct lane){.run = &run, .session = i + 1};
    }
    make_directories(&run);
    struct bench_time time;
    double cpu = process_cpu(master.process.pid);
    bench_start(&time);
    lanes_run(&run, row->flight);
    bench_stop(&time);
    double done = (double)run.finished;
    f->server_us[number] = (process_cpu(master.process.pid) - cpu) / done * 1e6;
    f->client_us[number] = time.cpu_s / done * 1e6;
    f->per_s[number] = done / time.wall_s;
    f->p50[number] = bench_percentile(run.latencies_us, run.latency_count, 50);
    f->p99[number] = bench_percentile(run.latencies_us, run.latency_count, 99);
    rpc_channel_unref(run.channel);
    rpc_loop_free(run.loop);
    rpc_exit();
    master_stop(&master);
    free(run.latencies_us);
}

static void run_row(const struct bench_options *options, const struct row *row,
                    const char *directory)
{
    struct figures f;
    uint32_t runs = options->runs < RUNS_MAX ? options->runs : RUNS_MAX;
    for (uint32_t i = 0; i < runs; i++) {
        measure(options, row, directory, i, &f);
    }
    const char *format =
        options->json ? "{\"name\": \"%s\", \"ops_per_s\": %.0f, \"p50_us\": %.0f, \"p99_us\": "
                        "%.0f, \"master_cpu_us\": %.1f, \"client_cpu_us\": %.1f}\n"
                      : "%-14s %10.0f %10.0f %10.0f %12.1f %12.1f\n";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    printf(format, row->name, bench_median(f.per_s, runs), bench_median(f.p50, runs),
           bench_median(f.p99, runs), bench_median(f.server_us, runs),
           bench_median(f.client_us, runs));
#pragma GCC diagnostic pop
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    struct bench_options options = {.name = "meta", .bytes = 50000000, .runs = 3};
    struct buf directory = BUF_INIT;
    struct err e = ERR_INIT;
    bench_options_parse(&options, argc, argv);
    if (options.directory) {
        buf_append_str(&directory, options.directory);
    } else if (sys_make_temp_dir("trireme-meta", &directory, &e) < 0) {
        bench_fail("%s", err_message(&e));
    }
    if (!options.json) {
        struct floor floor = {.directory = directory.data, .bytes = 1 << 20};
        floor_append_latency(&floor);
        printf("one append and fdatasync: p50 %.0f us, p99 %.0f us\n", floor.p50_us, floor.p99_us);
        printf("%-14s %10s %10s %10s %12s %12s\n", "in flight", "ops/s", "p50 us", "p99 us",
               "master us/op", "client us/op");
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (bench_wanted(&options, rows[i].name)) {
            run_row(&options, &rows[i], directory.data);
        }
    }
    if (!options.directory && sys_remove_tree(directory.data, &e) < 0) {
        bench_fail("%s", err_message(&e));
    }
    buf_deinit(&directory);
    return 0;
}
