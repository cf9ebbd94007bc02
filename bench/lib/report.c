/* See report.h. */
#include "bench/lib/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/alloc.h"

enum { ROWS_MAX = 64, MEGABYTE = 1000 * 1000 };

struct row {
    const char *name;
    bool is_latency;
    double a; /* MB/s, or p50 in microseconds */
    double b; /* CPU-s/GB, or p99 */
};

struct bench_report {
    const struct bench_options *options;
    struct row rows[ROWS_MAX];
    size_t count;
};

static __attribute__((noreturn)) void usage(const struct bench_options *o, int code)
{
    (void)fprintf(code ? stderr : stdout,
                  "usage: %s [--json] [--runs N] [--mb N] [--dir DIRECTORY] [--only ROW]\n"
                  "  each figure is the median of N runs (%u), each run moves N MB (%lu)\n",
                  o->name, o->runs, (unsigned long)(o->bytes / MEGABYTE));
    exit(code);
}

void bench_options_parse(struct bench_options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *flag = argv[i];
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        uint64_t number = strtoull(value, NULL, 10);
        if (strcmp(flag, "--json") == 0) {
            o->json = true;
            continue;
        }
        if (strcmp(flag, "--help") == 0) {
            usage(o, 0);
        }
        if (strcmp(flag, "--runs") == 0 && number > 0 && number <= 100) {
            o->runs = (uint32_t)number;
        } else if (strcmp(flag, "--mb") == 0 && number > 0 && number <= 100000) {
            o->bytes = number * MEGABYTE;
        } else if (strcmp(flag, "--dir") == 0 && value[0]) {
            o->directory = value;
        } else if (strcmp(flag, "--only") == 0 && value[0]) {
            o->only = value;
        } else {
            usage(o, 2);
        }
        i++;
    }
}

bool bench_wanted(const struct bench_options *o, const char *row)
{
    return !o->only || strncmp(row, o->only, strlen(o->only)) == 0;
}

struct bench_report *bench_report_new(const struct bench_options *o)
{
    struct bench_report *r = xcalloc(1, sizeof(*r));
    r->options = o;
    return r;
}

static void row_add(struct bench_report *r, struct row row)
{
    if (r->count == ROWS_MAX) {
        bench_fail("too many rows");
    }
    r->rows[r->count++] = row;
    (void)fprintf(stderr, "%s: %s\n", r->options->name, row.name); /* progress */
}

void bench_report_stream(struct bench_report *r, const char *name, uint64_t bytes,
                         const struct bench_time *runs, size_t count)
{
    double wall[BENCH_RUNS_DEFAULT * 20];
    double cpu[BENCH_RUNS_DEFAULT * 20];
    for (size_t i = 0; i < count; i++) {
        wall[i] = runs[i].wall_s;
        cpu[i] = runs[i].cpu_s;
    }
    row_add(r, (struct row){name, false, (double)bytes / 1e6 / bench_median(wall, count),
                            bench_median(cpu, count) / ((double)bytes / 1e9)});
}

void bench_report_latency(struct bench_report *r, const char *name, double *p50_us, double *p99_us,
                          size_t count)
{
    row_add(r, (struct row){name, true, bench_median(p50_us, count), bench_median(p99_us, count)});
}

static void print_table(const struct bench_report *r)
{
    (void)printf("%-34s %10s %10s   %10s %10s\n", r->options->name, "MB/s", "CPU-s/GB", "p50 us",
                 "p99 us");
    for (size_t i = 0; i < r->count; i++) {
        const struct row *row = &r->rows[i];
        if (row->is_latency) {
            (void)printf("%-34s %10s %10s   %10.0f %10.0f\n", row->name, "", "", row->a, row->b);
        } else {
            (void)printf("%-34s %10.0f %10.3f\n", row->name, row->a, row->b);
        }
    }
}

static void print_json(const struct bench_report *r)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < r->count; i++) {
        const struct row *row = &r->rows[i];
        json_t *object = json_object();
        (void)json_object_set_new(object, "name", json_string(row->name));
        (void)json_object_set_new(object, row->is_latency ? "p50_us" : "mb_per_s",
                                  json_real(row->a));
        (void)json_object_set_new(object, row->is_latency ? "p99_us" : "cpu_s_per_gb",
                                  json_real(row->b));
        (void)json_array_append_new(rows, object);
    }
    json_t *root = json_object();
    (void)json_object_set_new(root, "benchmark", json_string(r->options->name));
    (void)json_object_set_new(root, "runs", json_integer(r->options->runs));
    (void)json_object_set_new(root, "bytes", json_integer((json_int_t)r->options->bytes));
    (void)json_object_set_new(root, "rows", rows);
    (void)json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    (void)printf("\n");
    json_decref(root);
}

void bench_report_finish(struct bench_report *r)
{
    if (r->options->json) {
        print_json(r);
    } else {
        print_table(r);
    }
    free(r);
}
