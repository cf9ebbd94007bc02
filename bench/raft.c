/* bench/raft: three file masters as a group, their client on the same machine.
 *
 * Rates: durable creates and linearizable stats, at several numbers of calls in flight, with one
 * and with 64 operations in a call. Beside each, in turns with it: etcd with puts of as many bytes,
 * and the floor, which is computed from what was measured in the same turn:
 *
 *     creates:  one bare call of that size + three applies on two cores + its share of one flush
 *     stats:    one bare call
 *
 * Ratios are medians of the turns' ratios, so that what a machine's mood does to a whole turn drops
 * out. Every figure is a median. CPU is that of the three members; the client's stands beside it.
 *
 * Fail-over: from kill -9 of the leader to the first new acknowledged write, through libdfs.
 * Elections: the library alone, on virtual time, from the crash of a leader to the next one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trireme/dfs.h>

#include "bench/lib/floor.h"
#include "bench/lib/group.h"
#include "bench/lib/load.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/rng.h"
#include "common/sys.h"
#include "tests/lib/raft_cluster.h"

enum {
    RUNS_MAX = 50,
    TRIALS_MAX = 1000,
    CORES = 2, /* for the floor's applies */
    APPLY_OPERATIONS = 20 * 1000,
    PAUSE_MS_MAX = 100, /* before a kill, so that it comes at any point of a heartbeat */
};

struct options {
    const char *directory; /* NULL: a temporary one */
    const char *only;      /* beginning of a row's name; NULL: all */
    uint32_t runs;
    uint32_t fail_overs;
    uint32_t elections;
    double seconds; /* of one run */
    bool json;
    bool no_etcd;
};

struct row {
    const char *name;
    const struct load_ask *ours;
    const struct load_ask *etcd;
    uint32_t flight;
    uint32_t ops;
    bool durable; /* the floor has applies and a flush */
};

static const struct row rows[] = {
    {"create 1", &load_create, &load_etcd_put, 1, 1, true},
    {"create 64", &load_create, &load_etcd_put, 64, 1, true},
    {"create 256", &load_create, &load_etcd_put, 256, 1, true},
    {"create 4x64", &load_create, &load_etcd_txn, 4, 64, true},
    {"create 16x64", &load_create, &load_etcd_txn, 16, 64, true},
    {"stat 1", &load_stat, &load_etcd_range, 1, 1, false},
    {"stat 64", &load_stat, &load_etcd_range, 64, 1, false},
};

struct world {
    struct options options;
    struct group ours;
    struct group etcd;
    bool has_etcd;
    struct helper echo; /* a bare server */
    char echo_address[PROCESS_ADDRESS_BYTES];
    struct floor floor;
    uint32_t value_bytes;
};

/* What one system did in each turn. */
struct figures {
    double per_s[RUNS_MAX], p50[RUNS_MAX], p99[RUNS_MAX], cpu_us[RUNS_MAX], client_us[RUNS_MAX];
};

struct result {
    struct figures ours, etcd;
    double floor_per_s[RUNS_MAX];  /* of operations */
    double floor_cpu_us[RUNS_MAX]; /* of call and applies, client's included */
    double of_floor[RUNS_MAX];
    double of_etcd[RUNS_MAX];
};

/* ---- Rates ---- */

static bool wanted(const struct options *o, const char *name)
{
    return !o->only || strncmp(name, o->only, strlen(o->only)) == 0;
}

/* One turn of one system. */
struct turn {
    const struct load_ask *ask;
    const char *address;
    double (*cpu)(const struct world *w); /* of its servers */
    struct figures *to;
    uint32_t number;
};

static double cpu_of_ours(const struct world *w)
{
    return group_cpu(&w->ours);
}

static double cpu_of_etcd(const struct world *w)
{
    return group_cpu(&w->etcd);
}

static double cpu_of_echo(const struct world *w)
{
    return process_cpu(w->echo.pid);
}

static void take_turn(const struct world *w, const struct row *row, const struct turn *turn)
{
    struct load *load = xcalloc(1, sizeof(*load));
    *load = (struct load){.ask = turn->ask,
                          .address = turn->address,
                          .flight = row->flight,
                          .ops = row->ops,
                          .value_bytes = w->value_bytes,
                          .seconds = w->options.seconds};
    struct figures *f = turn->to;
    uint32_t i = turn->number;
    double cpu = turn->cpu(w);
    load_run(load);
    double done = (double)load->done;
    f->cpu_us[i] = (turn->cpu(w) - cpu) / done * 1e6;
    f->client_us[i] = load->client_cpu_s / done * 1e6;
    f->per_s[i] = done / load->wall_s;
    f->p50[i] = load->p50_us;
    f->p99[i] = load->p99_us;
    load_end(load);
    free(load);
}

/* The least that the operations of a row can cost; see above. */
static void measure_floor(struct world *w, const struct row *row, struct result *r, uint32_t i)
{
    static struct figures bare;
    struct turn turn = {&load_echo, w->echo_address, cpu_of_echo, &bare, i};
    take_turn(w, row, &turn);
    double us = 1e6 / bare.per_s[i];
    double cpu_us = bare.client_us[i] + bare.cpu_us[i];
    if (row->durable) {
        double applies_us =
            GROUP_MEMBERS * floor_apply_us(&w->floor, row->flight, row->ops, APPLY_OPERATIONS);
        floor_append_latency(&w->floor);
        us += applies_us / CORES + w->floor.p50_us / (row->flight * row->ops);
        cpu_us += applies_us;
    }
    r->floor_per_s[i] = 1e6 / us;
    r->floor_cpu_us[i] = cpu_us;
    r->of_floor[i] = r->ours.per_s[i] / r->floor_per_s[i];
}

static void print_row(const struct world *w, const struct row *row, struct result *r)
{
    uint32_t n = w->options.runs;
    const char *format =
        w->options.json
            ? "{\"name\": \"%s\", \"ops_per_s\": %.0f, \"p50_us\": %.0f, \"p99_us\": %.0f, "
              "\"members_cpu_us\": %.1f, \"client_cpu_us\": %.1f, \"floor_ops_per_s\": %.0f, "
              "\"floor_cpu_us\": %.1f, \"of_floor\": %.2f"
            : "%-13s %8.0f %7.0f %7.0f %7.1f %6.1f   %8.0f %7.1f %5.2f  ";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)printf(format, row->name, bench_median(r->ours.per_s, n), bench_median(r->ours.p50, n),
                 bench_median(r->ours.p99, n), bench_median(r->ours.cpu_us, n),
                 bench_median(r->ours.client_us, n), bench_median(r->floor_per_s, n),
                 bench_median(r->floor_cpu_us, n), bench_median(r->of_floor, n));
    if (w->has_etcd) {
        format = w->options.json
                     ? ", \"etcd_ops_per_s\": %.0f, \"etcd_p50_us\": %.0f, \"etcd_p99_us\": %.0f, "
                       "\"etcd_members_cpu_us\": %.1f, \"etcd_client_cpu_us\": %.1f, "
                       "\"of_etcd\": %.2f"
                     : " %8.0f %7.0f %7.0f %7.1f %6.1f %6.2f";
        (void)printf(format, bench_median(r->etcd.per_s, n), bench_median(r->etcd.p50, n),
                     bench_median(r->etcd.p99, n), bench_median(r->etcd.cpu_us, n),
                     bench_median(r->etcd.client_us, n), bench_median(r->of_etcd, n));
    }
#pragma GCC diagnostic pop
    (void)printf(w->options.json ? "}\n" : "\n");
    (void)fflush(stdout);
}

static void run_row(struct world *w, const struct row *row)
{
    static struct result r;
    for (uint32_t i = 0; i < w->options.runs; i++) {
        size_t leader = group_leader(&w->ours);
        struct turn turn = {row->ours, w->ours.addresses[leader], cpu_of_ours, &r.ours, i};
        take_turn(w, row, &turn);
        if (w->has_etcd) {
            leader = group_etcd_leader(&w->etcd);
            turn = (struct turn){row->etcd, w->etcd.addresses[leader], cpu_of_etcd, &r.etcd, i};
            take_turn(w, row, &turn);
            r.of_etcd[i] = r.ours.per_s[i] / r.etcd.per_s[i];
        }
        measure_floor(w, row, &r, i);
    }
    print_row(w, row, &r);
}

static void print_header(const struct world *w)
{
    (void)printf("%-13s %8s %7s %7s %7s %6s   %8s %7s %5s  ", "in flight", "ops/s", "p50 us",
                 "p99 us", "CPU us", "client", "floor/s", "CPU us", "of it");
    if (w->has_etcd) {
        (void)printf(" %8s %7s %7s %7s %6s %6s", "etcd/s", "p50 us", "p99 us", "CPU us", "client",
                     "ratio");
    }
    (void)printf("\n");
}

static void run_rates(struct world *w)
{
    bool told = w->options.json;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        if (!wanted(&w->options, row->name)) {
            continue;
        }
        if (!told) {
            print_header(w);
            told = true;
        }
        run_row(w, row);
    }
}

/* ---- Fail-over ---- */

static void print_times(const struct options *o, const char *name, double *ms, uint32_t count)
{
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += ms[i];
    }
    double p50 = bench_percentile(ms, count, 50);
    double p99 = bench_percentile(ms, count, 99);
    const char *format = o->json ? "{\"name\": \"%s\", \"trials\": %u, \"mean_ms\": %.1f, "
                                   "\"p50_ms\": %.1f, \"p99_ms\": %.1f, \"max_ms\": %.1f}\n"
                                 : "%-34s %5u trials, mean %.1f ms, p50 %.1f, p99 %.1f, max %.1f\n";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)printf(format, name, count, sum / count, p50, p99, ms[count - 1]);
#pragma GCC diagnostic pop
    (void)fflush(stdout);
}

static void make_directory(struct dfs *dfs, uint32_t number)
{
    char path[LOAD_PATH_BYTES];
    struct dfs_err e;
    (void)snprintf(path, sizeof(path), "/fail-over-%u", number);
    if (dfs_mkdir(dfs, path, 0, 0, NULL, &e) < 0) {
        bench_fail("%s: %s", path, e.msg);
    }
}

static void run_fail_overs(struct world *w)
{
    static double ms[TRIALS_MAX];
    char *masters = group_masters(&w->ours);
    struct dfs_options options = {.masters = masters, .user = "root"};
    struct dfs_err e;
    struct dfs *dfs = NULL;
    struct rng rng;
    rng_seed(&rng, 1);
    if (dfs_connect(&options, &dfs, &e) < 0) {
        bench_fail("connect: %s", e.msg);
    }
    for (uint32_t i = 0; i < w->options.fail_overs; i++) {
        size_t leader = group_leader(&w->ours);
        make_directory(dfs, 2 * i); /* the client knows who leads */
        clock_sleep_ms(rng_below(&rng, PAUSE_MS_MAX));
        uint64_t begun_us = clock_mono_us();
        group_member_kill(&w->ours, leader);
        make_directory(dfs, 2 * i + 1);
        ms[i] = (double)(clock_mono_us() - begun_us) / 1000;
        group_member_start(&w->ours, leader);
        process_await(&w->ours.members[leader]);
    }
    dfs_disconnect(dfs);
    free(masters);
    if (w->options.fail_overs > 0) {
        print_times(&w->options, "fail-over, kill -9 to next write", ms, w->options.fail_overs);
    }
}

/* ---- Elections ---- */

/* Timeouts of 12 to 24 ms, as in Figure 16 of the paper. Its leaders are killed at a random point
 * of the heartbeat interval, which is half of the least timeout. */
static void run_elections(const struct options *o, const char *name, uint32_t delay_ms_min,
                          uint32_t delay_ms_max, uint32_t write_ms)
{
    static double ms[TRIALS_MAX];
    for (uint32_t i = 0; i < o->elections; i++) {
        struct cluster_options options = {.voters = 5,
                                          .seed = i + 1,
                                          .delay_ms_min = delay_ms_min,
                                          .delay_ms_max = delay_ms_max,
                                          .write_ms = write_ms,
                                          .raft = {.heartbeat_ms = 6, .election_ms = 12}};
        struct raft_cluster *cluster = cluster_new(&options);
        uint64_t leader = cluster_await_leader(cluster, 10000);
        (void)cluster_one(cluster, "x", options.voters);
        cluster_run(cluster, 50 + i % options.raft.heartbeat_ms);
        leader = cluster_leader(cluster);
        time_ms begun = cluster_now(cluster);
        cluster_crash(cluster, leader);
        while (cluster_leader(cluster) == 0) {
            if (cluster_now(cluster) > begun + 10000) {
                bench_fail("no leader in ten seconds, seed %u", i + 1);
            }
            cluster_run(cluster, 1);
        }
        ms[i] = (double)(cluster_now(cluster) - begun);
        cluster_free(cluster);
    }
    if (o->elections > 0) {
        print_times(o, name, ms, o->elections);
    }
}

/* ---- The whole ---- */

static __attribute__((noreturn)) void usage(int code)
{
    (void)fprintf(code ? stderr : stdout,
                  "usage: raft [--json] [--runs N] [--seconds S] [--fail-overs N] [--elections N]\n"
                  "            [--no-etcd] [--dir DIRECTORY] [--only ROW]\n"
                  "  rates: medians of N runs (5) of S seconds (2), in turns with floor and etcd;\n"
                  "  fail-overs: trials (20); elections: trials on virtual time (1000).\n"
                  "  rows: create..., stat..., fail-over, election\n");
    exit(code);
}

static uint32_t number_of(const char *value, uint32_t max)
{
    char *end = NULL;
    unsigned long number = strtoul(value, &end, 10);
    if (end == value || *end != '\0' || number > max) {
        usage(2);
    }
    return (uint32_t)number;
}

static void parse(struct options *o, int argc, char **argv)
{
    *o = (struct options){.runs = 5, .fail_overs = 20, .elections = TRIALS_MAX, .seconds = 2};
    for (int i = 1; i < argc; i++) {
        const char *flag = argv[i];
        if (strcmp(flag, "--json") == 0) {
            o->json = true;
        } else if (strcmp(flag, "--no-etcd") == 0) {
            o->no_etcd = true;
        } else if (strcmp(flag, "--help") == 0) {
            usage(0);
        } else if (i + 1 == argc) {
            usage(2);
        } else if (strcmp(flag, "--runs") == 0) {
            o->runs = number_of(argv[++i], RUNS_MAX);
        } else if (strcmp(flag, "--seconds") == 0) {
            o->seconds = number_of(argv[++i], 600);
        } else if (strcmp(flag, "--fail-overs") == 0) {
            o->fail_overs = number_of(argv[++i], TRIALS_MAX);
        } else if (strcmp(flag, "--elections") == 0) {
            o->elections = number_of(argv[++i], TRIALS_MAX);
        } else if (strcmp(flag, "--dir") == 0) {
            o->directory = argv[++i];
        } else if (strcmp(flag, "--only") == 0) {
            o->only = argv[++i];
        } else {
            usage(2);
        }
    }
    if (o->runs == 0) {
        usage(2);
    }
}

static void echo_start(struct world *w)
{
    char *program = process_build_path("bench/rpc_bench");
    const char *arguments[] = {program, "serve", NULL};
    int port = 0;
    helper_start(&w->echo, arguments);
    if (sscanf(w->echo.line, "%d", &port) != 1) {
        bench_fail("no bare server from %s", program);
    }
    (void)snprintf(w->echo_address, sizeof(w->echo_address), "127.0.0.1:%d", port);
    free(program);
}

static void world_start(struct world *w, const char *directory)
{
    char *ours = xprintf("%s/ours", directory);
    char *etcd = xprintf("%s/etcd", directory);
    char path[LOAD_PATH_BYTES];
    w->floor = (struct floor){.directory = directory, .bytes = 1 << 20};
    echo_start(w);
    group_start(&w->ours, ours);
    w->has_etcd = !w->options.no_etcd && group_etcd_start(&w->etcd, etcd);
    rpc_init();
    load_next_path(path);
    w->value_bytes = (uint32_t)(load_create_entry_bytes() - strlen(path));
    load_make_directories(w->ours.addresses[group_leader(&w->ours)]);
    free(ours);
    free(etcd);
}

static void world_stop(struct world *w)
{
    rpc_exit();
    group_stop(&w->ours);
    if (w->has_etcd) {
        group_etcd_stop(&w->etcd);
    }
    if (helper_stop(&w->echo) != 0) {
        bench_fail("the bare server did not end well");
    }
}

static void run_group(struct world *w)
{
    struct buf directory = BUF_INIT;
    struct err e = ERR_INIT;
    if (w->options.directory) {
        buf_printf(&directory, "%s/trireme-raft", w->options.directory);
    }
    int r = w->options.directory ? sys_mkdir_p(directory.data, &e)
                                 : sys_make_temp_dir("trireme-raft", &directory, &e);
    if (r < 0) {
        bench_fail("%s", err_message(&e));
    }
    world_start(w, directory.data);
    run_rates(w);
    if (wanted(&w->options, "fail-over")) {
        run_fail_overs(w);
    }
    world_stop(w);
    if (sys_remove_tree(directory.data, &e) < 0) {
        bench_fail("%s", err_message(&e));
    }
    buf_deinit(&directory);
}

int main(int argc, char **argv)
{
    static struct world w;
    parse(&w.options, argc, argv);
    if (wanted(&w.options, "election")) {
        run_elections(&w.options, "election, link 1 ms, flush 1 ms", 1, 1, 1);
        run_elections(&w.options, "election, link 2-5 ms, flush 2 ms", 2, 5, 2);
    }
    if (!w.options.only || strcmp(w.options.only, "election") != 0) {
        run_group(&w);
    }
    return 0;
}
