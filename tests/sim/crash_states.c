/* Crash states (issue "Raft", proof 5): every change that a member makes to its disk in a course
 * that votes, appends, truncates, flushes, cuts the log, installs a snapshot and starts again, and
 * every step of an installation, is a point where the power may go. For each point, each way in
 * which unsynced changes may survive, and with or without a second failure while it starts again:
 * the member recovers unattended, and the judge finds nothing lost.
 *
 *     crash_states [--stride N]     every Nth point; the default is 10, and 1 under TRIREME_FULL=1
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/check.h"
#include "tests/sim/node.h"
#include "tests/sim/scenario.h"
#include "tests/sim/sim.h"

enum { SEED = 1, AGAIN_MAX = 6, JOBS = 2 };

struct tally {
    uint64_t states;
    uint64_t failed;
    uint64_t by_boundary[BOUNDARY_COUNT];
    char report[SIM_REPORT_BYTES_MAX]; /* of the first failure */
    struct scenario failure;
};

/* One course: who is the victim, and whether it leads. */
struct course {
    uint32_t victim;
    bool leads;
};

/* Results of the processes; each writes its own tally, and what it is at, so that a death tells. */
static struct tally *tallies;
static struct sim_result *results;

static void run_one(const struct scenario *scenario, struct sim_result *result)
{
    struct sim_options options = {.seed = SEED, .scenario = scenario, .seconds = SCENARIO_SECONDS};
    memset(result, 0, sizeof(*result));
    result->seed = SEED;
    sim_run(&options, result);
}

static void count_one(struct tally *t, const struct scenario *c, struct sim_result *result)
{
    t->failure = *c; /* until it has passed */
    run_one(c, result);
    if (result->boundary != BOUNDARY_NONE) {
        t->states++;
        t->by_boundary[result->boundary]++;
    }
}

/* Appends and flushes are many and alike; all other points are always taken. */
static bool is_taken(enum sim_boundary boundary, uint64_t at, uint64_t stride)
{
    bool common = boundary == BOUNDARY_APPEND || boundary == BOUNDARY_FLUSH;
    return !common || at % stride == 0;
}

static void run_point(struct course course, uint64_t at, uint32_t step, uint32_t job)
{
    struct scenario c = {.victim = course.victim, .leads = course.leads};
    for (uint32_t how = SIM_CRASH_KILL; how < SIM_CRASH_COUNT; how++) {
        c.stop_at = at;
        c.step = step;
        c.how = how;
        c.again_in = 0;
        count_one(&tallies[job], &c, &results[job]);
        c.again_in = 1 + (uint32_t)(at + how) % AGAIN_MAX;
        count_one(&tallies[job], &c, &results[job]);
    }
}

/* The points of one course that are this process's share. */
static void run_course(struct course course, uint64_t stride, uint32_t job)
{
    struct scenario c = {.victim = course.victim, .leads = course.leads};
    static struct sim_result whole; /* without a failure */
    run_one(&c, &whole);
    CHECK(whole.victim_changes < SIM_POINT_COUNT_MAX);
    uint64_t taken = 0;
    for (uint64_t at = 1; at <= whole.victim_changes; at++) {
        if (is_taken((enum sim_boundary)whole.boundaries[at], at, stride) &&
            taken++ % JOBS == job) {
            run_point(course, at, 0, job);
        }
    }
    for (uint32_t step = INSTALL_CHECK; step <= INSTALL_RESET; step++) {
        if (step % JOBS == job) {
            run_point(course, 0, step, job);
        }
    }
}

/* A process takes every course, and of each its share of the points. */
static void run_job(uint32_t job, uint64_t stride)
{
    for (uint32_t victim = 0; victim < 3; victim++) {
        run_course((struct course){victim, false}, stride, job);
        run_course((struct course){victim, true}, stride, job);
    }
}

static int sum_up(void)
{
    static const char *const names[] = {"",      "vote",    "append",  "truncate",
                                        "flush", "compact", "install", "start"};
    uint64_t sums[BOUNDARY_COUNT] = {0};
    uint64_t states = 0;
    int missing = 0;
    for (uint32_t job = 0; job < JOBS; job++) {
        states += tallies[job].states;
        for (size_t i = 0; i < BOUNDARY_COUNT; i++) {
            sums[i] += tallies[job].by_boundary[i];
        }
    }
    for (size_t i = BOUNDARY_VOTE; i < BOUNDARY_COUNT; i++) {
        printf("%-10s %8" PRIu64 "\n", names[i], sums[i]);
        missing += sums[i] == 0;
    }
    printf("%" PRIu64 " crash states, %d operations without one\n", states, missing);
    return missing;
}

static uint64_t stride_of(int argc, char **argv)
{
    const char *full = getenv("TRIREME_FULL");
    if (argc == 3 && strcmp(argv[1], "--stride") == 0) {
        return strtoull(argv[2], NULL, 10);
    }
    return full && strcmp(full, "1") == 0 ? 1 : 10;
}

int main(int argc, char **argv)
{
    uint64_t stride = stride_of(argc, argv);
    int failed = 0;
    CHECK(stride > 0);
    tallies = mmap(NULL, JOBS * sizeof(*tallies), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    results = mmap(NULL, JOBS * sizeof(*results), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(tallies != MAP_FAILED);
    CHECK(results != MAP_FAILED);
    for (uint32_t job = 0; job < JOBS; job++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            run_job(job, stride);
            _exit(0);
        }
    }
    for (uint32_t job = 0; job < JOBS; job++) {
        int status = 0;
        CHECK(wait(&status) > 0);
        failed += status != 0;
    }
    for (uint32_t job = 0; job < JOBS && failed > 0; job++) {
        const struct scenario *c = &tallies[job].failure;
        if (results[job].status != 1) {
            printf("FAILED: victim %u, leads %d, change %" PRIu64
                   ", way %u, again in %u, step %u: %s\n",
                   c->victim, c->leads, c->stop_at, c->how, c->again_in, c->step,
                   results[job].report[0] ? results[job].report : "the process died");
        }
    }
    return failed + sum_up() > 0 ? 1 : 0;
}
