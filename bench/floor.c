/* bench/floor: what the parts of our work cost on this machine at least (docs/performance.md uses
 * these rows). */
#include <stdio.h>
#include <string.h>

#include "bench/lib/floor.h"
#include "bench/lib/report.h"
#include "common/sys.h"

static const struct {
    const char *name;
    void (*run)(struct floor *f, struct bench_time *t);
    unsigned factor; /* bytes moved per f->bytes */
} streams[] = {
    {"memcpy 1 MiB to memory", floor_memcpy, 1},
    {"crc32c 64 KiB blocks, hot", floor_crc, 1},
    {"read page cache + crc", floor_read, 1},
    {"write fresh page cache", floor_write, 1},
    {"write + fdatasync", floor_write_sync, 1},
    {"write 3 files at once", floor_write3, 3},
    {"write 3 files + fdatasync", floor_write3_sync, 3},
    {"tcp loopback", floor_tcp, 1},
    {"chain 3 hops, crc, write", floor_chain, 1},
    {"chain 3 hops + fdatasync", floor_chain_sync, 1},
    {"word count, 2 threads", floor_wordcount, 1},
    {"sort 100 B records, 2 threads", floor_sort, 1},
};

static const struct {
    const char *name;
    void (*run)(struct floor *f);
} latencies[] = {
    {"append 4 KiB + fdatasync", floor_append_latency},
    {"create 4 KiB file + 2 fsync", floor_create_latency},
};

static void run_stream(const struct bench_options *o, struct bench_report *report, struct floor *f,
                       size_t row)
{
    struct bench_time runs[100];
    for (uint32_t i = 0; i < o->runs; i++) {
        streams[row].run(f, &runs[i]);
    }
    bench_report_stream(report, streams[row].name, f->bytes * streams[row].factor, runs, o->runs);
}

static void run_latency(const struct bench_options *o, struct bench_report *report, struct floor *f,
                        size_t row)
{
    double p50[100];
    double p99[100];
    for (uint32_t i = 0; i < o->runs; i++) {
        latencies[row].run(f);
        p50[i] = f->p50_us;
        p99[i] = f->p99_us;
    }
    bench_report_latency(report, latencies[row].name, p50, p99, o->runs);
}

int main(int argc, char **argv)
{
    struct bench_options options = {
        .name = "floor", .bytes = 512000000, .runs = BENCH_RUNS_DEFAULT};
    struct buf directory = BUF_INIT;
    struct err e = ERR_INIT;
    bench_options_parse(&options, argc, argv);
    if (options.directory) {
        buf_printf(&directory, "%s/trireme-floor", options.directory);
    }
    int r = options.directory ? sys_mkdir_p(directory.data, &e)
                              : sys_make_temp_dir("trireme-floor", &directory, &e);
    if (r < 0) {
        bench_fail("%s", err_message(&e));
    }
    struct floor f = {.directory = directory.data};
    f.bytes = (options.bytes + FLOOR_MESSAGE_BYTES - 1) / FLOOR_MESSAGE_BYTES * FLOOR_MESSAGE_BYTES;
    struct bench_report *report = bench_report_new(&options);
    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        if (bench_wanted(&options, streams[i].name)) {
            run_stream(&options, report, &f, i);
        }
    }
    for (size_t i = 0; i < sizeof(latencies) / sizeof(latencies[0]); i++) {
        if (bench_wanted(&options, latencies[i].name)) {
            run_latency(&options, report, &f, i);
        }
    }
    bench_report_finish(report);
    if (sys_remove_tree(directory.data, &e) < 0) {
        bench_fail("%s", err_message(&e));
    }
    buf_deinit(&directory);
    return 0;
}
