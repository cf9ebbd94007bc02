/* Results of a benchmark program: gathered row by row, printed as a table for people or as JSON
 * (--json). */
#ifndef BENCH_LIB_REPORT_H
#define BENCH_LIB_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/lib/measure.h"

/* What the command line of every benchmark says. */
struct bench_options {
    const char *name;      /* of the program */
    const char *directory; /* for files; a temporary one below it is made and removed */
    const char *only;      /* run only rows whose name begins so; NULL: all */
    uint64_t bytes;        /* data of one run */
    uint32_t runs;         /* each row is the median of so many */
    bool json;
};

/* Parses --json, --runs N, --mb N, --dir D, --only NAME; prints the usage and exits 2 on anything
 * else, exits 0 on --help. */
void bench_options_parse(struct bench_options *o, int argc, char **argv);

bool bench_wanted(const struct bench_options *o, const char *row);

struct bench_report;

struct bench_report *bench_report_new(const struct bench_options *o);

/* A row of throughput: count runs that moved `bytes` each. MB/s is 10^6 bytes per second of wall
 * time, CPU-s/GB is seconds of all threads per 10^9 bytes; each the median of its own. */
void bench_report_stream(struct bench_report *r, const char *name, uint64_t bytes,
                         const struct bench_time *runs, size_t count);

/* A row of latencies in microseconds: p50 and p99, each the median over the runs. */
void bench_report_latency(struct bench_report *r, const char *name, double *p50_us, double *p99_us,
                          size_t count);

/* Prints everything to stdout and frees the report. */
void bench_report_finish(struct bench_report *r);

#endif
