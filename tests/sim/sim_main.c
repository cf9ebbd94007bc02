/* The command: runs seeds, each in a process of its own, and sums up.
 *
 *     sim --seed 7 [--seconds 60] [--trace]     one seed, as often as you like: same seed, same
 * hash sim --seeds 1000 [--from 1] [--jobs 2]    many sim --minutes 20 | --hours 500            for
 * so long, or so many hours of simulated clusters
 *
 * Fails if an invariant is violated, a process dies, a seed is void (too few commits per second of
 * health), or a kind of fault is absent from ten seeds in a row. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "tests/sim/sim.h"

enum {
    JOBS_MAX = 64,
    CPU_SECONDS_MAX = 60,          /* of one seed; something spins */
    COMMITS_PER_SECOND_LEAST = 20, /* of all seeds together, in health */
    ABSENT_SEEDS = 10,
    FAILURES_SHOWN = 20,
};

struct settings {
    struct sim_options one;
    bool single;
    uint64_t from;
    uint64_t count;
    uint64_t minutes;
    uint32_t jobs;
    bool twice;      /* every seed runs two times, and the hashes are compared */
    bool keep_going; /* after a failure */
    bool json;
    bool quiet; /* of a failure only its first line */
};

struct job {
    pid_t pid;
    uint64_t number; /* from 0 */
};

struct tally {
    struct settings *settings;
    struct sim_result *shared; /* one for each job */
    struct job jobs[JOBS_MAX];
    uint64_t started;
    uint64_t passed;
    uint64_t failed;
    uint64_t voids;
    uint64_t first_failed; /* seed */
    struct sim_stats sum;
    uint32_t *landed; /* by number of the seed: a bit for each kind of fault */
    uint64_t *hashes;
    uint64_t capacity;
    uint64_t hash; /* of all seeds' hashes, whatever the order they ended in */
    uint64_t least_rate;
    uint64_t wall_ms;
    char commit[64];
};

static const char usage[] =
    "usage: sim [--seed S | --seeds N | --minutes M | --hours H | --smoke N] [--from S]\n"
    "           [--seconds 60] [--jobs 2] [--twice] [--keep-going] [--quiet] [--json] [--trace] "
    "[--history "
    "FILE]\n";

/* ---- results ---- */

static void add(struct sim_stats *sum, const struct sim_stats *one)
{
    sum->events += one->events;
    sum->simulated_ms += one->simulated_ms;
    sum->healthy_ms += one->healthy_ms;
    sum->healthy_commits += one->healthy_commits;
    sum->commits += one->commits;
    sum->elections += one->elections;
    sum->terms += one->terms;
    sum->messages += one->messages;
    sum->flushes += one->flushes;
    sum->restarts += one->restarts;
    sum->torn_tails += one->torn_tails;
    sum->snapshots_made += one->snapshots_made;
    sum->snapshots_installed += one->snapshots_installed;
    sum->compactions += one->compactions;
    sum->changes += one->changes;
    sum->transfers += one->transfers;
    sum->reads += one->reads;
    sum->writes += one->writes;
    sum->unknowns += one->unknowns;
    sum->repeats += one->repeats;
    sum->expired += one->expired;
    sum->converge_ms = one->converge_ms > sum->converge_ms ? one->converge_ms : sum->converge_ms;
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        sum->faults[i] += one->faults[i];
    }
}

static void remember(struct tally *t, uint64_t number, const struct sim_stats *one)
{
    if (number >= t->capacity) {
        uint64_t before = t->capacity;
        t->capacity = number < 1024 ? 2048 : 2 * number;
        t->landed = xreallocarray(t->landed, t->capacity, sizeof(t->landed[0]));
        t->hashes = xreallocarray(t->hashes, t->capacity, sizeof(t->hashes[0]));
        memset(t->landed + before, 0, (t->capacity - before) * sizeof(t->landed[0]));
    }
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        t->landed[number] |= (one->faults[i] > 0 ? 1U : 0U) << i;
    }
}

static void show_failure(struct tally *t, const struct sim_result *r)
{
    fprintf(stderr, "FAILED seed %" PRIu64 ": %s\n", r->seed, r->report);
    if (!t->settings->quiet) {
        fprintf(stderr, "    commit %s, replay: sim --seed %" PRIu64 " --seconds %u --trace\n",
                t->commit, r->seed, t->settings->one.seconds);
    }
}

static void note_result(struct tally *t, uint64_t number, struct sim_result *r, int status)
{
    if (r->status == 0 || (r->status == 1 && status != 0)) {
        (void)snprintf(r->report, sizeof(r->report), "the process died, wait status %d", status);
        r->status = 2;
    }
    remember(t, number, &r->stats);
    add(&t->sum, &r->stats);
    if (r->status == 1) {
        t->passed++;
        t->hash ^= r->stats.hash * (2 * number + 1);
        return;
    }
    t->first_failed = t->failed == 0 || r->seed < t->first_failed ? r->seed : t->first_failed;
    t->failed++;
    t->voids += strncmp(r->report, "void", 4) == 0;
    if (t->failed <= FAILURES_SHOWN) {
        show_failure(t, r);
    }
}

/* ---- processes ---- */

static void run_child(const struct settings *settings, struct sim_result *r)
{
    struct rlimit limit = {CPU_SECONDS_MAX, CPU_SECONDS_MAX + 1};
    struct sim_options options = settings->one;
    options.seed = r->seed;
    (void)setrlimit(RLIMIT_CPU, &limit);
    sim_run(&options, r);
    if (settings->twice) {
        uint64_t hash = r->stats.hash;
        memset(&r->stats, 0, sizeof(r->stats));
        r->status = 0;
        sim_run(&options, r);
        if (r->stats.hash != hash) {
            (void)snprintf(r->report, sizeof(r->report),
                           "determinism: %016" PRIx64 ", then %016" PRIx64, hash, r->stats.hash);
            r->status = 2;
        }
    }
    (void)fflush(stdout);
    _exit(r->status == 1 ? 0 : 1);
}

static bool wants_more(const struct tally *t)
{
    const struct settings *s = t->settings;
    if (t->failed > 0 && !s->keep_going) {
        return false;
    }
    if (s->minutes > 0) {
        return clock_mono_ms() - t->wall_ms < s->minutes * 60000;
    }
    return t->started < s->count;
}

static void start_job(struct tally *t, uint32_t slot)
{
    struct sim_result *r = &t->shared[slot];
    memset(r, 0, sizeof(*r));
    r->seed = t->settings->from + t->started;
    t->jobs[slot].number = t->started++;
    (void)fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        run_child(t->settings, r);
    }
    t->jobs[slot].pid = pid;
}

static bool reap_one(struct tally *t)
{
    int status = 0;
    pid_t pid = wait(&status);
    for (uint32_t i = 0; pid > 0 && i < t->settings->jobs; i++) {
        if (t->jobs[i].pid == pid) {
            t->jobs[i].pid = 0;
            note_result(t, t->jobs[i].number, &t->shared[i], status);
            return true;
        }
    }
    return pid > 0;
}

static void run_all(struct tally *t)
{
    t->wall_ms = clock_mono_ms();
    bool busy = true;
    while (busy) {
        busy = false;
        for (uint32_t i = 0; i < t->settings->jobs; i++) {
            if (t->jobs[i].pid == 0 && wants_more(t)) {
                start_job(t, i);
            }
            busy = busy || t->jobs[i].pid != 0;
        }
        busy = busy && reap_one(t);
    }
    t->wall_ms = clock_mono_ms() - t->wall_ms;
}

/* ---- summing up ---- */

/* Counts the kinds that some ten seeds in a row did not have. */
static uint64_t count_absent(const struct tally *t)
{
    uint64_t absent = 0;
    for (uint32_t kind = 0; kind < FAULT_COUNT; kind++) {
        uint64_t gap = 0;
        bool told = false;
        for (uint64_t i = 0; i < t->started && !told; i++) {
            gap = t->landed[i] >> kind & 1 ? 0 : gap + 1;
            if (gap >= ABSENT_SEEDS) {
                fprintf(stderr, "FAILED: no fault %s from seed %" PRIu64 " to %" PRIu64 "\n",
                        sim_fault_name((enum sim_fault)kind), t->settings->from + i + 1 - gap,
                        t->settings->from + i);
                told = true;
            }
        }
        absent += told;
    }
    return absent;
}

struct row {
    const char *name;
    uint64_t value;
};

static size_t make_rows(const struct tally *t, struct row rows[32])
{
    const struct sim_stats *s = &t->sum;
    const struct row all[] = {
        {"seeds", t->passed + t->failed},
        {"passed", t->passed},
        {"failed", t->failed},
        {"void", t->voids},
        {"wall_ms", t->wall_ms},
        {"simulated_s", s->simulated_ms / 1000},
        {"healthy_s", s->healthy_ms / 1000},
        {"healthy_commits", s->healthy_commits},
        {"events", s->events},
        {"messages", s->messages},
        {"flushes", s->flushes},
        {"commits", s->commits},
        {"writes_acknowledged", s->writes},
        {"reads_checked", s->reads},
        {"operations_unknown", s->unknowns},
        {"retries_answered_from_session", s->repeats},
        {"requests_of_expired_sessions", s->expired},
        {"elections", s->elections},
        {"terms", s->terms},
        {"restarts", s->restarts},
        {"torn_tails", s->torn_tails},
        {"snapshots_made", s->snapshots_made},
        {"snapshots_installed", s->snapshots_installed},
        {"compactions", s->compactions},
        {"membership_changes", s->changes},
        {"leadership_transfers", s->transfers},
        {"converge_ms_max", s->converge_ms},
    };
    memcpy(rows, all, sizeof(all));
    return sizeof(all) / sizeof(all[0]);
}

static void show(const struct tally *t)
{
    struct row rows[32];
    size_t count = make_rows(t, rows);
    if (t->settings->json) {
        printf("{\"commit\": \"%s\", \"hash\": \"%016" PRIx64 "\"", t->commit, t->hash);
        for (size_t i = 0; i < count; i++) {
            printf(", \"%s\": %" PRIu64, rows[i].name, rows[i].value);
        }
        printf(", \"faults\": {");
        for (size_t i = 0; i < FAULT_COUNT; i++) {
            printf("%s\"%s\": %" PRIu64, i > 0 ? ", " : "", sim_fault_name((enum sim_fault)i),
                   t->sum.faults[i]);
        }
        printf("}}\n");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        printf("%-32s %12" PRIu64 "\n", rows[i].name, rows[i].value);
    }
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        printf("fault %-26s %12" PRIu64 "\n", sim_fault_name((enum sim_fault)i), t->sum.faults[i]);
    }
    printf("hash %016" PRIx64 "\n", t->hash);
}

static void find_commit(char ret_commit[64])
{
    (void)snprintf(ret_commit, 64, "unknown");
    FILE *f = popen("git rev-parse --short HEAD 2>/dev/null", "r");
    if (f) {
        if (fgets(ret_commit, 64, f)) {
            ret_commit[strcspn(ret_commit, "\n")] = '\0';
        }
        (void)pclose(f);
    }
}

/* So few commits in so much health prove little, whatever each seed had. */
static bool commits_enough(const struct tally *t)
{
    const struct sim_stats *s = &t->sum;
    if (t->started < ABSENT_SEEDS ||
        s->healthy_commits * 1000 >= COMMITS_PER_SECOND_LEAST * s->healthy_ms) {
        return true;
    }
    fprintf(stderr, "FAILED: void, %" PRIu64 " commits in %" PRIu64 " ms of health\n",
            s->healthy_commits, s->healthy_ms);
    return false;
}

static int run_many(struct settings *settings)
{
    struct tally t = {.settings = settings};
    size_t bytes = settings->jobs * sizeof(struct sim_result);
    t.shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(t.shared != MAP_FAILED);
    find_commit(t.commit);
    run_all(&t);
    show(&t);
    uint64_t absent =
        settings->count >= ABSENT_SEEDS || settings->minutes > 0 ? count_absent(&t) : 0;
    free(t.landed);
    free(t.hashes);
    (void)munmap(t.shared, bytes);
    return t.failed > 0 || absent > 0 || !commits_enough(&t) ? 1 : 0;
}

/* ---- command line ---- */

static uint64_t number_of(const char *text)
{
    char *end = NULL;
    uint64_t value = strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0') {
        fprintf(stderr, "%s: not a number\n%s", text, usage);
        exit(2);
    }
    return value;
}

static const char *or_else(const char *text, const char *standard)
{
    return text && *text ? text : standard;
}

static void take_option(struct settings *s, int option, const char *value)
{
    switch (option) {
    case 's':
        s->from = number_of(value);
        s->count = 1;
        break;
    case 'n':
        s->count = number_of(value);
        break;
    case 'f':
        s->from = number_of(value);
        break;
    case 'S':
        s->one.seconds = (uint32_t)number_of(value);
        break;
    case 'j':
        s->jobs = (uint32_t)number_of(value);
        break;
    case 'm':
        s->minutes = number_of(value);
        break;
    case 'h':
        s->count = number_of(value) * 3600 / s->one.seconds;
        break;
    case 'e':
        s->count = number_of(or_else(getenv("TRIREME_SIM_SEEDS"), value));
        s->minutes = number_of(or_else(getenv("TRIREME_SIM_MINUTES"), "0"));
        break;
    case 't':
        s->one.trace = true;
        break;
    case 'H':
        s->one.history = value;
        break;
    case '2':
        s->twice = true;
        break;
    case 'k':
        s->keep_going = true;
        break;
    case 'q':
        s->quiet = true;
        break;
    case 'J':
        s->json = true;
        break;
    default:
        fputs(usage, stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},
        {"seeds", required_argument, NULL, 'n'},
        {"from", required_argument, NULL, 'f'},
        {"seconds", required_argument, NULL, 'S'},
        {"jobs", required_argument, NULL, 'j'},
        {"minutes", required_argument, NULL, 'm'},
        {"smoke", required_argument, NULL, 'e'},
        {"hours", required_argument, NULL, 'h'},
        {"trace", no_argument, NULL, 't'},
        {"history", required_argument, NULL, 'H'},
        {"twice", no_argument, NULL, '2'},
        {"keep-going", no_argument, NULL, 'k'},
        {"quiet", no_argument, NULL, 'q'},
        {"json", no_argument, NULL, 'J'},
        {NULL, 0, NULL, 0},
    };
    struct settings s = {.one = {.seconds = 60}, .from = 1, .count = 1, .jobs = 2};
    int option = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        take_option(&s, option, optarg);
    }
    if (optind != argc || s.jobs == 0 || s.jobs > JOBS_MAX || s.one.seconds == 0) {
        fputs(usage, stderr);
        return 2;
    }
    return run_many(&s);
}
