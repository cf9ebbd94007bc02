/* bench/store: the store as its users meet it, through libdfs: a file put with three replicas and
 * closed durably, read back from the same host by descriptor, read over the network, and many small
 * files. The cluster is real: a file master and four chunkservers, each with a host label of its
 * own, on loopback.
 *
 * What it is measured against runs in turns with it, on the same data and directory: the chain of
 * three hops with a fdatasync at each end, pread and CRC from the page cache, one TCP stream. CPU
 * is that of all processes. Memory is warmed before each run of either. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trireme/dfs_cluster.h>

#include "bench/lib/data.h"
#include "bench/lib/floor.h"
#include "bench/lib/process.h"
#include "bench/lib/report.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/rpc/rpc.h"
#include "common/sys.h"

enum {
    CHUNKSERVERS = 4,
    REPLICAS = 3,
    SOURCE_BYTES = 64 * 1024 * 1024, /* the writer's data, more than its caches hold */
    WRITE_BYTES = 1024 * 1024,
    READ_BYTES = 256 * 1024, /* stays in the L2 cache, as in the floor */
    SMALL_BYTES = 4096,
    SMALL_WRITERS = 16,
    SMALL_FILES = 4800, /* of one run */
    DELETE_LOOK_MS = 50,
    RUNS_MAX = 100,
};

struct cluster {
    struct floor floor; /* its directory and size are ours too */
    struct process master;
    struct process servers[CHUNKSERVERS];
    struct dfs *near; /* has the host label of the first server */
    struct dfs *far;  /* of none */
    char *source;
    bool has_data; /* there is /data */
};

/* ---- Processes ---- */

static double cluster_cpu(const struct cluster *c)
{
    double sum = process_cpu(c->master.pid);
    for (size_t i = 0; i < CHUNKSERVERS; i++) {
        sum += process_cpu(c->servers[i].pid);
    }
    return sum;
}

/* The clock with the daemons' CPU. */
static void clock_start(const struct cluster *c, struct bench_time *t)
{
    double daemons = cluster_cpu(c);
    bench_start(t);
    t->cpu_s += daemons;
}

static void clock_stop(const struct cluster *c, struct bench_time *t)
{
    bench_stop(t);
    t->cpu_s += cluster_cpu(c);
}

static struct dfs *connect_as(const struct cluster *c, const char *host)
{
    struct dfs_options options = {.masters = c->master.address, .user = "root", .host = host};
    struct dfs_err e;
    struct dfs *dfs = NULL;
    if (dfs_connect(&options, &dfs, &e) < 0) {
        bench_fail("connect: %s", e.msg);
    }
    return dfs;
}

static void cluster_start(struct cluster *c)
{
    struct buf data = BUF_INIT;
    buf_printf(&data, "%s/master", c->floor.directory);
    const char *master[] = {"--data",     data.data,     "--listen", "127.0.0.1:0",
                            "--no-audit", "--log-level", "warning",  NULL};
    process_start(&c->master, "fsmaster", master);
    process_await(&c->master);
    for (size_t i = 0; i < CHUNKSERVERS; i++) {
        char host[16];
        (void)snprintf(host, sizeof(host), "host%zu", i);
        buf_clear(&data);
        buf_printf(&data, "%s/%s", c->floor.directory, host);
        const char *server[] = {
            "--data",          data.data, "--listen",    "127.0.0.1:0",  "--masters",
            c->master.address, "--host",  host,          "--trash-time", "0",
            "--scrub-rate",    "0",       "--log-level", "warning",      NULL};
        process_start(&c->servers[i], "chunkserver", server);
        process_await(&c->servers[i]);
    }
    buf_deinit(&data);
    rpc_init();
    c->near = connect_as(c, "host0");
    c->far = connect_as(c, "elsewhere");
}

static void cluster_stop(struct cluster *c)
{
    dfs_disconnect(c->near);
    dfs_disconnect(c->far);
    rpc_exit();
    for (size_t i = 0; i < CHUNKSERVERS; i++) {
        process_stop(&c->servers[i]);
    }
    process_stop(&c->master);
}

/* ---- What is measured ---- */

/* Until the last replica is gone: the next run does not pay for it. */
static void delete_path(struct dfs *dfs, const char *path, int flags)
{
    struct dfs_err e;
    bool left = true;
    int r = dfs_delete(dfs, path, flags, NULL, &e);
    while (r == 0 && left) {
        struct dfs_report *report = NULL;
        clock_sleep_ms(DELETE_LOOK_MS);
        r = dfs_report(dfs, &report, &e);
        if (r == 0) {
            left = report->removal_queue > 0 || report->replicas_deleting > 0;
            dfs_report_free(report);
        }
    }
    if (r < 0) {
        bench_fail("%s", e.msg);
    }
}

static void write_file(struct dfs *dfs, const char *path, const char *source, uint64_t bytes)
{
    struct dfs_create_options options = {.replication = REPLICAS, .flags = DFS_PARENTS};
    struct dfs_file *file = NULL;
    struct dfs_err e;
    int r = dfs_create(dfs, path, &options, &file, &e);
    for (uint64_t at = 0; r == 0 && at < bytes; at += WRITE_BYTES) {
        size_t run = bytes - at < WRITE_BYTES ? (size_t)(bytes - at) : WRITE_BYTES;
        r = dfs_write(file, source + at % SOURCE_BYTES, run, &e);
    }
    if (r == 0) {
        r = dfs_close(file, &e);
    }
    if (r < 0) {
        bench_fail("%s: %s", path, e.msg);
    }
}

static void put(struct cluster *c, struct bench_time *t)
{
    bench_warm_memory(REPLICAS * c->floor.bytes);
    clock_start(c, t);
    write_file(c->near, "/put", c->source, c->floor.bytes);
    clock_stop(c, t);
    delete_path(c->near, "/put", 0);
}

/* Reads /data and compares a sample of it. */
static void read_file(struct cluster *c, struct dfs *dfs, struct bench_time *t)
{
    struct dfs_file *file = NULL;
    struct dfs_err e;
    struct dfs_read_stats stats;
    char *buffer = xmalloc(READ_BYTES);
    clock_start(c, t);
    int64_t n = dfs_open(dfs, "/data", &file, &e);
    uint64_t at = 0;
    for (; n >= 0 && at < c->floor.bytes; at += (uint64_t)n) {
        n = dfs_pread(file, buffer, READ_BYTES, at, &e);
        if (n == 0 || (n > 0 && memcmp(buffer, c->source + at % SOURCE_BYTES, 64) != 0)) {
            bench_fail("/data has other bytes at %llu", (unsigned long long)at);
        }
    }
    clock_stop(c, t);
    if (n < 0) {
        bench_fail("/data: %s", e.msg);
    }
    dfs_read_stats(file, &stats);
    if (stats.bytes_local != (dfs == c->near ? c->floor.bytes : 0)) {
        bench_fail("not read from where it was to be read");
    }
    (void)dfs_close(file, &e);
    free(buffer);
}

static void read_near(struct cluster *c, struct bench_time *t)
{
    read_file(c, c->near, t);
}

static void read_far(struct cluster *c, struct bench_time *t)
{
    read_file(c, c->far, t);
}

struct small_writer {
    struct cluster *cluster;
    int number;
};

static void *small_run(void *arg)
{
    const struct small_writer *w = arg;
    char path[64];
    for (int i = 0; i < SMALL_FILES / SMALL_WRITERS; i++) {
        (void)snprintf(path, sizeof(path), "/small/%02d/%06d", w->number, i);
        write_file(w->cluster->near, path, w->cluster->source, SMALL_BYTES);
    }
    return NULL;
}

static void small_files(struct cluster *c, struct bench_time *t)
{
    struct small_writer writers[SMALL_WRITERS];
    struct bench_thread threads[SMALL_WRITERS];
    for (int i = 0; i < SMALL_WRITERS; i++) {
        writers[i] = (struct small_writer){c, i};
        threads[i] = (struct bench_thread){.work = small_run, .arg = &writers[i]};
    }
    clock_start(c, t);
    bench_threads_run(threads, SMALL_WRITERS);
    clock_stop(c, t);
    delete_path(c->near, "/small", DFS_RECURSIVE);
}

/* ---- Rows ---- */

static const struct row {
    const char *name;
    void (*run)(struct cluster *c, struct bench_time *t);
    const char *floor_name;
    void (*floor)(struct floor *f, struct bench_time *t); /* NULL: rate of files, without one */
    bool reads;                                           /* /data */
} rows[] = {
    {"put, 3 replicas, durable", put, "chain 3 hops + fdatasync", floor_chain_sync, false},
    {"read, same host", read_near, "read page cache + crc", floor_read, true},
    {"read, over TCP", read_far, "tcp loopback", floor_tcp, true},
    {"4 KiB files, 16 writers", small_files, "", NULL, false},
};

struct figures {
    double wall[RUNS_MAX], cpu[RUNS_MAX], floor_wall[RUNS_MAX], floor_cpu[RUNS_MAX];
};

static void print_row(const struct bench_options *o, const struct row *row, struct figures *f)
{
    double wall = bench_median(f->wall, o->runs);
    double cpu = bench_median(f->cpu, o->runs);
    double mb = (double)o->bytes / 1e6;
    if (!row->floor) {
        double per_file = cpu / SMALL_FILES * 1e6;
        double rate = SMALL_FILES / wall;
        const char *format = o->json
                                 ? "{\"name\": \"%s\", \"files_per_s\": %.0f, \"cpu_us\": %.0f}\n"
                                 : "%-26s %8.0f files/s, %.0f us of CPU for each\n";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        (void)printf(format, row->name, rate, per_file);
        return;
    }
    double floor_wall = bench_median(f->floor_wall, o->runs);
    double floor_cpu = bench_median(f->floor_cpu, o->runs);
    const char *format =
        o->json ? "{\"name\": \"%s\", \"mb_per_s\": %.0f, \"cpu_s_per_gb\": %.3f, \"percent\": "
                  "%.0f, \"floor\": \"%s\", \"floor_mb_per_s\": %.0f, \"floor_cpu_s_per_gb\": "
                  "%.3f}\n"
                : "%-26s %8.0f %9.3f %7.0f %%   %-26s %8.0f %9.3f\n";
    (void)printf(format, row->name, mb / wall, cpu / mb * 1000, 100 * floor_wall / wall,
                 row->floor_name, mb / floor_wall, floor_cpu / mb * 1000);
#pragma GCC diagnostic pop
}

static void run_row(const struct bench_options *o, const struct row *row, struct cluster *c)
{
    static struct figures f;
    if (row->reads && !c->has_data) {
        write_file(c->near, "/data", c->source, o->bytes);
        c->has_data = true;
    }
    for (uint32_t i = 0; i < o->runs; i++) {
        struct bench_time t;
        if (row->floor) {
            row->floor(&c->floor, &t);
            f.floor_wall[i] = t.wall_s;
            f.floor_cpu[i] = t.cpu_s;
        }
        row->run(c, &t);
        f.wall[i] = t.wall_s;
        f.cpu[i] = t.cpu_s;
    }
    print_row(o, row, &f);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    struct bench_options o = {.name = "store", .bytes = 512UL << 20, .runs = BENCH_RUNS_DEFAULT};
    struct buf directory = BUF_INIT;
    struct err e = ERR_INIT;
    bench_options_parse(&o, argc, argv);
    if (o.directory) {
        buf_printf(&directory, "%s/trireme-store", o.directory);
    }
    int r = o.directory ? sys_mkdir_p(directory.data, &e)
                        : sys_make_temp_dir("trireme-store", &directory, &e);
    if (r < 0) {
        bench_fail("%s", err_message(&e));
    }
    o.bytes = (o.bytes + FLOOR_MESSAGE_BYTES - 1) / FLOOR_MESSAGE_BYTES * FLOOR_MESSAGE_BYTES;
    struct cluster c = {.floor = {.directory = directory.data, .bytes = o.bytes}};
    c.source = xmalloc(SOURCE_BYTES);
    bench_random(c.source, SOURCE_BYTES, 3, 0);
    cluster_start(&c);
    if (!o.json) {
        (void)printf("%-26s %8s %9s %9s   %-26s %8s %9s\n", "store", "MB/s", "CPU-s/GB", "of floor",
                     "floor", "MB/s", "CPU-s/GB");
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (bench_wanted(&o, rows[i].name)) {
            run_row(&o, &rows[i], &c);
        }
    }
    cluster_stop(&c);
    free(c.source);
    if (sys_remove_tree(directory.data, &e) < 0) {
        bench_fail("%s", err_message(&e));
    }
    buf_deinit(&directory);
    return 0;
}
