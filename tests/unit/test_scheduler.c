/* The scheduler on virtual time: locality, waits, failures, lost workers, backups, and books that
 * balance at every step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/rng.h"
#include "mapreduce/scheduler.h"

enum { HOSTS = 6, RUNS_MAX = 4096 };

struct run {
    struct sched_attempt attempt;
    uint64_t worker;
    time_ms ends;
};

/* A cluster whose tasks take as long as `duration` says. */
struct world {
    struct scheduler *s;
    struct sched_effects effects;
    struct rng rng;
    time_ms now;
    struct run runs[RUNS_MAX];
    size_t run_count;
    time_ms duration;
    uint64_t slow_worker;   /* ten times slower; 0: none */
    uint64_t broken_worker; /* cannot start anything; 0: none */
    time_ms broken_tries[64];
    size_t broken_count;
    uint32_t locality[4];
    uint32_t withdrawn, killed, backups;
    bool job_done, job_failed;
    uint32_t done_told[2];
    uint32_t maps;
};

static const char *const hosts[HOSTS] = {"h0", "h1", "h2", "h3", "h4", "h5"};
static const char *const racks[HOSTS] = {"r0", "r0", "r1", "r1", "r2", "r2"};

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    w->s = scheduler_new(&sched_options_default);
    rng_seed(&w->rng, 7);
    w->now = 1000;
    w->duration = 100;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    scheduler_free(w->s);
    sched_effects_deinit(&w->effects);
    free(w);
    return 0;
}

static void add_workers(struct world *w, uint32_t slots)
{
    for (uint64_t i = 0; i < HOSTS; i++) {
        struct sched_worker_info info = {i + 1, hosts[i], racks[i], slots};
        scheduler_add_worker(w->s, &info);
    }
}

/* A job whose maps each lie on two hosts of different racks, drawn at random. */
static void add_job(struct world *w, uint32_t maps, uint32_t reduces, bool blind)
{
    w->maps = maps;
    struct sched_map_info *info = xcalloc(maps + 1, sizeof(*info));
    const char *(*names)[4] = xcalloc(maps + 1, sizeof(*names));
    for (uint32_t i = 0; i < maps; i++) {
        uint64_t a = rng_below(&w->rng, HOSTS);
        uint64_t b = (a / 2 * 2 + 2 + rng_below(&w->rng, 4)) % HOSTS;
        names[i][0] = hosts[a];
        names[i][1] = hosts[b];
        names[i][2] = racks[a];
        names[i][3] = racks[b];
        info[i] = (struct sched_map_info){&names[i][0], &names[i][2], 2};
    }
    struct sched_job_info job = {.job = 1,
                                 .maps = info,
                                 .map_count = maps,
                                 .reduce_count = reduces,
                                 .attempts_max = 4,
                                 .locality_blind = blind};
    scheduler_add_job(w->s, &job, w->now);
    free(info);
    free(names);
}

static bool same(const struct sched_attempt *a, const struct sched_attempt *b)
{
    return a->job == b->job && a->kind == b->kind && a->task == b->task && a->number == b->number;
}

static void carry_out(struct world *w)
{
    for (size_t i = 0; i < w->effects.count; i++) {
        const struct sched_effect *e = &w->effects.items[i];
        if (e->kind == SCHED_ASSIGN) {
            time_ms takes = e->worker == w->slow_worker ? 100 * w->duration : w->duration;
            takes += rng_below(&w->rng, w->duration / 4 + 1);
            if (e->worker == w->broken_worker) {
                takes = 5;
                assert_true(w->broken_count < 64);
                w->broken_tries[w->broken_count++] = w->now;
            }
            assert_true(w->run_count < RUNS_MAX);
            w->runs[w->run_count++] = (struct run){e->attempt, e->worker, w->now + takes};
            w->locality[e->locality] += e->attempt.kind == SCHED_MAP;
            w->backups += e->backup;
        } else if (e->kind == SCHED_KILL) {
            size_t at = 0;
            while (at < w->run_count && !same(&w->runs[at].attempt, &e->attempt)) {
                at++;
            }
            assert_true(at < w->run_count);
            w->runs[at] = w->runs[--w->run_count];
            w->killed++;
        } else if (e->kind == SCHED_MAP_WITHDRAWN) {
            w->withdrawn++;
            w->done_told[SCHED_MAP]--;
        } else if (e->kind == SCHED_TASK_DONE) {
            w->done_told[e->attempt.kind]++;
        }
        w->job_done |= e->kind == SCHED_JOB_DONE;
        w->job_failed |= e->kind == SCHED_JOB_FAILED;
    }
    sched_effects_clear(&w->effects);
    scheduler_check(w->s);
}

/* Assigns, then moves the clock to the next end or wake-up. False: nothing will ever happen again.
 */
static bool step(struct world *w)
{
    time_ms wake = 0;
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    carry_out(w);
    size_t first = 0;
    for (size_t i = 1; i < w->run_count; i++) {
        first = w->runs[i].ends < w->runs[first].ends ? i : first;
    }
    if (w->run_count == 0 || wake < w->runs[first].ends) {
        w->now = wake > w->now ? wake : w->now + 1;
        return wake != UINT64_MAX;
    }
    struct run run = w->runs[first];
    w->now = run.ends > w->now ? run.ends : w->now;
    if (run.worker == w->broken_worker) {
        w->runs[first] = w->runs[--w->run_count];
        scheduler_not_started(w->s, &run.attempt, w->now, &w->effects);
        carry_out(w);
        return true;
    }
    if (run.attempt.kind == SCHED_REDUCE && w->done_told[SCHED_MAP] < w->maps) {
        w->runs[first].ends = w->now + w->duration; /* a reduce cannot end before the last map */
        return true;
    }
    w->runs[first] = w->runs[--w->run_count];
    scheduler_succeeded(w->s, &run.attempt, w->now, &w->effects);
    carry_out(w);
    return true;
}

static void run_all(struct world *w)
{
    for (int i = 0; i < 100000 && !w->job_done && !w->job_failed; i++) {
        assert_true(step(w));
    }
    assert_true(w->job_done || w->job_failed);
}

/* The worker dies: its attempts end without a report. */
static void kill_worker(struct world *w, uint64_t worker)
{
    for (size_t i = w->run_count; i-- > 0;) {
        if (w->runs[i].worker == worker) {
            w->runs[i] = w->runs[--w->run_count];
        }
    }
    scheduler_remove_worker(w->s, worker, w->now, &w->effects);
    carry_out(w);
}

/* Every effect of one kind so far, without carrying out. */
static uint32_t told(const struct world *w, enum sched_effect_kind kind)
{
    uint32_t n = 0;
    for (size_t i = 0; i < w->effects.count; i++) {
        n += w->effects.items[i].kind == kind;
    }
    return n;
}

static void near_work_goes_first(void **state)
{
    struct world *w = *state;
    add_workers(w, 2);
    add_job(w, 128, 2, false);
    run_all(w);
    assert_int_equal(w->done_told[SCHED_MAP], 128);
    assert_int_equal(w->done_told[SCHED_REDUCE], 2);
    assert_true(w->locality[SCHED_ON_HOST] * 100 >= 128 * 90);
}

static void a_blind_job_finds_a_third(void **state)
{
    struct world *w = *state;
    add_workers(w, 2);
    add_job(w, 1200, 1, true);
    run_all(w);
    assert_in_range(w->locality[SCHED_ON_HOST], 1200 * 25 / 100, 1200 * 42 / 100);
}

static void a_far_worker_takes_work_after_the_wait(void **state)
{
    struct world *w = *state;
    struct sched_worker_info info = {1, "h0", "r0", 1};
    scheduler_add_worker(w->s, &info);
    info = (struct sched_worker_info){2, "elsewhere", "r9", 1};
    scheduler_add_worker(w->s, &info);
    const char *host = "h0";
    const char *rack = "r0";
    struct sched_map_info maps[2] = {{&host, &rack, 1}, {&host, &rack, 1}};
    struct sched_job_info job = {
        .job = 1, .maps = maps, .map_count = 2, .attempts_max = 1, .no_backups = true};
    scheduler_add_job(w->s, &job, w->now);
    time_ms wake = 0;
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    assert_int_equal(w->effects.count, 1);
    assert_int_equal(w->effects.items[0].worker, 1);
    assert_int_equal(wake, w->now + sched_options_default.wait_ms_max);
    sched_effects_clear(&w->effects);
    scheduler_assign(w->s, w->now + 2 * sched_options_default.wait_ms_max, &w->effects, &wake);
    assert_int_equal(w->effects.count, 1);
    assert_int_equal(w->effects.items[0].worker, 2);
    assert_int_equal(w->effects.items[0].locality, SCHED_ELSEWHERE);
}

static void without_a_near_worker_nothing_waits(void **state)
{
    struct world *w = *state;
    struct sched_worker_info info = {1, "elsewhere", "r9", 1};
    scheduler_add_worker(w->s, &info);
    add_job(w, 1, 0, false);
    time_ms wake = 0;
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    assert_int_equal(w->effects.count, 1);
}

static void lost_outputs_run_again_while_needed(void **state)
{
    struct world *w = *state;
    add_workers(w, 2);
    add_job(w, 60, 3, false);
    while (w->done_told[SCHED_MAP] < 40) {
        assert_true(step(w));
    }
    kill_worker(w, 3);
    assert_true(w->withdrawn > 0);
    run_all(w);
    assert_int_equal(w->done_told[SCHED_MAP], 60);
    assert_int_equal(w->done_told[SCHED_REDUCE], 3);
    assert_true(w->job_done);
}

static void a_task_that_keeps_failing_fails_its_job_after_trying_elsewhere(void **state)
{
    struct world *w = *state;
    add_workers(w, 1);
    add_job(w, 1, 1, false);
    uint64_t tried[4] = {0};
    for (int i = 0; i < 4; i++) {
        assert_false(w->job_failed);
        while (w->run_count == 0) {
            time_ms wake = 0;
            scheduler_assign(w->s, w->now, &w->effects, &wake);
            carry_out(w);
            w->now += 50;
        }
        assert_int_equal(w->runs[0].attempt.number, i);
        tried[i] = w->runs[0].worker;
        struct run run = w->runs[--w->run_count];
        scheduler_failed(w->s, &run.attempt, true, w->now, &w->effects);
        carry_out(w);
    }
    assert_true(w->job_failed);
    for (int i = 1; i < 4; i++) {
        assert_int_not_equal(tried[i], tried[i - 1]);
    }
}

static void a_failure_without_blame_never_fails_a_job(void **state)
{
    struct world *w = *state;
    add_workers(w, 1);
    add_job(w, 1, 0, false);
    for (int i = 0; i < 20; i++) {
        time_ms wake = 0;
        scheduler_assign(w->s, w->now, &w->effects, &wake);
        carry_out(w);
        assert_int_equal(w->run_count, 1);
        scheduler_failed(w->s, &w->runs[--w->run_count].attempt, false, w->now, &w->effects);
        carry_out(w);
    }
    run_all(w);
    assert_true(w->job_done);
}

/* It is given its four slots full once, then one task at a time, less and less often; the job,
 * which forgives no failure, does not notice. */
static void a_worker_that_cannot_start_tasks_rests(void **state)
{
    struct world *w = *state;
    struct sched_worker_info broken = {9, "h9", "r9", 4};
    scheduler_add_worker(w->s, &broken);
    w->broken_worker = 9;
    add_workers(w, 1);
    struct sched_map_info maps[2000] = {0};
    struct sched_job_info job = {
        .job = 1, .maps = maps, .map_count = 2000, .reduce_count = 2, .attempts_max = 1};
    w->maps = 2000;
    scheduler_add_job(w->s, &job, w->now);
    time_ms began = w->now;
    run_all(w);
    assert_true(w->job_done);
    assert_true(w->now - began > 8 * sched_options_default.rest_ms_min);
    assert_in_range(w->broken_count, 4 + 2, 4 + 8);
    assert_int_equal(w->broken_tries[0], w->broken_tries[3]);
    for (size_t i = 4; i < w->broken_count; i++) {
        time_ms rest = sched_options_default.rest_ms_min << (i - 4);
        assert_true(w->broken_tries[i] - w->broken_tries[i - 1] >= rest);
    }
    assert_true(scheduler_cannot_start(w->s, 9));
}

/* Alone it is asked again and again, never more seldom than once in rest_ms_max; when it can start
 * tasks again it has all its slots at once. */
static void a_worker_that_recovers_is_used_again(void **state)
{
    struct world *w = *state;
    struct sched_worker_info broken = {9, "h9", "r9", 4};
    scheduler_add_worker(w->s, &broken);
    w->broken_worker = 9;
    add_job(w, 20, 1, true);
    while (w->broken_count < 4 + 12) {
        assert_true(step(w));
    }
    for (size_t i = 4; i < w->broken_count; i++) {
        assert_true(w->broken_tries[i] - w->broken_tries[i - 1] <=
                    sched_options_default.rest_ms_max + 5);
    }
    w->broken_worker = 0;
    while (w->done_told[SCHED_MAP] == 0) {
        assert_true(step(w));
    }
    assert_false(scheduler_cannot_start(w->s, 9));
    time_ms wake = 0;
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    carry_out(w);
    assert_int_equal(w->run_count, 4);
    run_all(w);
    assert_true(w->job_done);
}

/* Its free slots are none: neither for lost maps whose place reduces have, nor for a job that would
 * rather avoid the other worker. */
static void free_slots_of_a_broken_worker_do_not_count(void **state)
{
    struct world *w = *state;
    for (uint64_t i = 0; i < 2; i++) {
        struct sched_worker_info info = {i + 1, hosts[i], racks[i], 2};
        scheduler_add_worker(w->s, &info);
    }
    add_job(w, 4, 8, false);
    while (w->done_told[SCHED_MAP] < 4) {
        assert_true(step(w));
    }
    time_ms wake = 0;
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    carry_out(w);
    struct sched_worker_info broken = {9, "h9", "r9", 2};
    scheduler_add_worker(w->s, &broken);
    w->broken_worker = 9;
    kill_worker(w, 1);
    for (uint32_t i = 0; i < sched_options_default.worker_failures_max; i++) {
        while (w->run_count == 0 || w->runs[w->run_count - 1].worker != 2) {
            assert_true(step(w));
        }
        struct run run = w->runs[--w->run_count];
        scheduler_failed(w->s, &run.attempt, true, w->now, &w->effects);
        carry_out(w);
    }
    assert_true(scheduler_avoids(w->s, 1, 2));
    run_all(w);
    assert_true(w->job_done);
}

/* An output from before counts once, kills what runs, is lost with its worker, and is none for a
 * job whose reduces are done. */
static void outputs_that_are_found_count(void **state)
{
    struct world *w = *state;
    time_ms wake = 0;
    uint32_t number = 0;
    add_workers(w, 1);
    add_job(w, 4, 1, true);
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    carry_out(w);
    struct sched_attempt map = {1, SCHED_MAP, 2, UINT32_MAX};
    assert_false(scheduler_map_found(w->s, &map, 99, &w->effects, &number)); /* no such worker */
    assert_true(scheduler_map_found(w->s, &map, 5, &w->effects, &number));
    assert_int_equal(number, 1); /* attempt 0 runs, and is killed */
    carry_out(w);
    assert_int_equal(w->killed, 1);
    assert_int_equal(w->done_told[SCHED_MAP], 1);
    assert_false(scheduler_map_found(w->s, &map, 6, &w->effects, &number));
    kill_worker(w, 5);
    assert_int_equal(w->withdrawn, 1);
    run_all(w);
    assert_true(w->job_done);
    assert_false(scheduler_map_found(w->s, &map, 6, &w->effects, &number));
    scheduler_check(w->s);
}

static void a_slow_worker_is_overtaken(void **state)
{
    struct world *w = *state;
    w->slow_worker = 2;
    w->duration = 1000;
    add_workers(w, 1);
    add_job(w, 30, 0, false);
    time_ms began = w->now;
    run_all(w);
    assert_true(w->backups > 0);
    assert_true(w->killed > 0);
    assert_true(w->now - began < 50 * w->duration);
}

static void lost_maps_get_a_slot_from_waiting_reduces(void **state)
{
    struct world *w = *state;
    for (uint64_t i = 0; i < 2; i++) {
        struct sched_worker_info info = {i + 1, hosts[i], racks[i], 2};
        scheduler_add_worker(w->s, &info);
    }
    add_job(w, 4, 8, false);
    while (w->done_told[SCHED_MAP] < 4) {
        assert_true(step(w));
    }
    time_ms wake = 0;
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    carry_out(w);
    assert_int_equal(scheduler_free_slots(w->s), 0);
    kill_worker(w, 1);
    run_all(w);
    assert_true(w->job_done);
    assert_int_equal(w->done_told[SCHED_REDUCE], 8);
}

static void a_lost_map_output_is_taken_once(void **state)
{
    struct world *w = *state;
    add_workers(w, 1);
    add_job(w, 3, 1, false);
    while (w->done_told[SCHED_MAP] < 3) {
        assert_true(step(w));
    }
    struct sched_attempt map = {1, SCHED_MAP, 1, 0};
    scheduler_map_lost(w->s, &map, w->now, &w->effects);
    scheduler_map_lost(w->s, &map, w->now, &w->effects);
    carry_out(w);
    assert_int_equal(w->withdrawn, 1);
    run_all(w);
    assert_true(w->job_done);
}

/* Three workers of one slot: the output is on the first, beside a young reduce; an old one is on
 * the second and has a backup on the third. */
static void make_pair(struct world *w)
{
    time_ms wake = 0;
    struct sched_map_info map = {0};
    struct sched_job_info job = {
        .job = 1, .maps = &map, .map_count = 1, .reduce_count = 3, .attempts_max = 4};
    struct sched_attempt first_map = {1, SCHED_MAP, 0, 0};
    struct sched_attempt first = {1, SCHED_REDUCE, 0, 0};
    struct sched_attempt old = {1, SCHED_REDUCE, 1, 0};
    struct sched_attempt young = {1, SCHED_REDUCE, 2, 0};
    scheduler_add_job(w->s, &job, w->now);
    for (uint64_t id = 1; id <= 3; id++) {
        struct sched_worker_info worker = {id, hosts[id], racks[id], 1};
        scheduler_add_worker(w->s, &worker);
        scheduler_assign(w->s, w->now, &w->effects, &wake);
        if (id == 1) {
            scheduler_succeeded(w->s, &first_map, w->now, &w->effects);
            scheduler_assign(w->s, w->now, &w->effects, &wake);
        } else if (id == 2) {
            w->now += 10;
            scheduler_succeeded(w->s, &first, w->now, &w->effects);
            scheduler_assign(w->s, w->now, &w->effects, &wake);
            w->now += 3000;
            scheduler_progress(w->s, &old, 100, w->now);
            scheduler_progress(w->s, &young, 990, w->now);
        }
    }
    const struct sched_effect *backup = &w->effects.items[w->effects.count - 1];
    assert_true(backup->backup && backup->attempt.task == 1 && backup->worker == 3);
    sched_effects_clear(&w->effects);
}

/* The output is lost and only attempts of a pair have slots: the younger gives way, and its task
 * goes on with the other. */
static void a_lost_map_gets_a_slot_from_a_backup(void **state)
{
    struct world *w = *state;
    time_ms wake = 0;
    struct sched_job_counts counts;
    make_pair(w);
    scheduler_remove_worker(w->s, 1, w->now, &w->effects);
    sched_effects_clear(&w->effects);
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    assert_int_equal(w->effects.count, 2);
    const struct sched_effect *kill = &w->effects.items[0];
    assert_int_equal(kill->kind, SCHED_KILL);
    assert_int_equal(kill->worker, 3);
    assert_int_equal(kill->attempt.task, 1);
    assert_int_equal(kill->attempt.number, 1);
    assert_int_equal(w->effects.items[1].kind, SCHED_ASSIGN);
    assert_int_equal(w->effects.items[1].attempt.kind, SCHED_MAP);
    assert_int_equal(w->effects.items[1].worker, 3);
    assert_true(scheduler_counts(w->s, 1, &counts));
    assert_int_equal(counts.running[SCHED_REDUCE], 1);
    scheduler_check(w->s);
}

/* The same when the first attempt is gone, and the backup all that runs. */
static void a_backup_that_is_left_gives_way_too(void **state)
{
    struct world *w = *state;
    time_ms wake = 0;
    struct sched_job_counts counts;
    make_pair(w);
    scheduler_remove_worker(w->s, 2, w->now, &w->effects);
    scheduler_remove_worker(w->s, 1, w->now, &w->effects);
    sched_effects_clear(&w->effects);
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    assert_int_equal(w->effects.count, 2);
    assert_int_equal(w->effects.items[0].kind, SCHED_KILL);
    assert_int_equal(w->effects.items[1].attempt.kind, SCHED_MAP);
    assert_true(scheduler_counts(w->s, 1, &counts));
    assert_int_equal(counts.pending[SCHED_REDUCE], 2);
    scheduler_check(w->s);
}

/* While a map waits for a nearer slot, none goes to the backup of a reduce that waits for the map.
 */
static void maps_that_wait_go_before_backups_of_reduces(void **state)
{
    struct world *w = *state;
    time_ms wake = 0;
    struct sched_map_info map = {&hosts[2], &racks[2], 1};
    struct sched_job_info job = {
        .job = 1, .maps = &map, .map_count = 1, .reduce_count = 2, .attempts_max = 4};
    struct sched_worker_info near = {1, hosts[2], racks[2], 1};
    struct sched_worker_info far = {2, hosts[0], racks[0], 1};
    struct sched_attempt first_map = {1, SCHED_MAP, 0, 0};
    struct sched_attempt old = {1, SCHED_REDUCE, 0, 0};
    struct sched_attempt young = {1, SCHED_REDUCE, 1, 0};
    scheduler_add_job(w->s, &job, w->now);
    scheduler_add_worker(w->s, &near);
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    scheduler_succeeded(w->s, &first_map, w->now, &w->effects);
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    scheduler_add_worker(w->s, &far);
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    w->now += 10;
    scheduler_succeeded(w->s, &young, w->now, &w->effects);
    w->now += 3000;
    scheduler_progress(w->s, &old, 100, w->now); /* it would get a backup now */
    scheduler_map_lost(w->s, &first_map, w->now, &w->effects);
    sched_effects_clear(&w->effects);
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    assert_int_equal(w->effects.count, 0);
    assert_true(wake < w->now + 10000);
    scheduler_assign(w->s, w->now + 10000, &w->effects, &wake);
    assert_int_equal(w->effects.count, 1);
    assert_int_equal(w->effects.items[0].attempt.kind, SCHED_MAP);
    assert_int_equal(w->effects.items[0].worker, 2);
}

/* Workers come and go, attempts end and outputs are lost, at random. */
static void make_trouble(struct world *w, uint64_t *alive, size_t *count, uint64_t *next)
{
    uint64_t dice = rng_below(&w->rng, 200);
    if (dice < 8 && w->run_count > 0) {
        struct run run = w->runs[--w->run_count];
        scheduler_failed(w->s, &run.attempt, false, w->now, &w->effects);
    } else if (dice < 10 && *count > 1) {
        size_t gone = rng_below(&w->rng, *count);
        kill_worker(w, alive[gone]);
        alive[gone] = alive[--*count];
    } else if (dice < 11 && *count < HOSTS) {
        uint64_t place = rng_below(&w->rng, HOSTS);
        struct sched_worker_info info = {*next, hosts[place], racks[place], 2};
        scheduler_add_worker(w->s, &info);
        alive[(*count)++] = (*next)++;
    } else if (dice < 17) {
        struct sched_attempt map = {1, SCHED_MAP, (uint32_t)rng_below(&w->rng, 100),
                                    (uint32_t)rng_below(&w->rng, 3)};
        scheduler_map_lost(w->s, &map, w->now, &w->effects);
    }
}

/* A map's output is lost to reduces again and again: each time it runs elsewhere, and in the end
 * its job fails by it. */
static void an_output_that_nobody_can_fetch(void **state)
{
    struct world *w = *state;
    time_ms wake = 0;
    enum { LOSSES_MAX = 16 };
    struct sched_map_info map = {0};
    struct sched_job_info job = {
        .job = 1, .maps = &map, .map_count = 1, .reduce_count = 1, .attempts_max = 4};
    struct sched_attempt lost = {1, SCHED_MAP, 0, 0};
    uint64_t before = 0;
    add_workers(w, 2);
    scheduler_add_job(w->s, &job, w->now);
    for (uint32_t i = 0; i < LOSSES_MAX; i++) {
        assert_int_equal(told(w, SCHED_JOB_FAILED), 0);
        sched_effects_clear(&w->effects);
        scheduler_assign(w->s, w->now, &w->effects, &wake);
        assert_true(w->effects.count > 0);
        const struct sched_effect *run = &w->effects.items[0];
        assert_int_equal(run->attempt.kind, SCHED_MAP);
        assert_int_not_equal(run->worker, before);
        before = run->worker;
        lost.number = run->attempt.number;
        scheduler_succeeded(w->s, &lost, w->now, &w->effects);
        scheduler_assign(w->s, w->now, &w->effects, &wake); /* the reduce */
        sched_effects_clear(&w->effects);
        scheduler_map_lost(w->s, &lost, w->now, &w->effects);
    }
    assert_int_equal(told(w, SCHED_JOB_FAILED), 1);
    assert_int_equal(told(w, SCHED_KILL), 1); /* the reduce, which goes before */
    assert_int_equal(w->effects.items[w->effects.count - 1].kind, SCHED_JOB_FAILED);
    assert_int_equal(w->effects.items[w->effects.count - 1].attempt.number, lost.number);
    assert_int_equal(scheduler_free_slots(w->s), 2 * HOSTS);
    scheduler_check(w->s);
}

/* Everything at once; the books balance at every step (carry_out checks) and, when the trouble has
 * an end, with as few workers as it has left, the job ends. */
static void chaos_ends_in_a_finished_job(void **state)
{
    struct world *fresh = *state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct world *w = xcalloc(1, sizeof(*w));
        uint64_t alive[HOSTS] = {1, 2, 3, 4, 5, 6};
        size_t count = HOSTS;
        uint64_t next = HOSTS + 1;
        w->s = scheduler_new(&sched_options_default);
        w->now = fresh->now;
        w->duration = 1000;
        w->slow_worker = 1 + seed % 3;
        rng_seed(&w->rng, seed);
        add_workers(w, 2);
        add_job(w, 100, 10, false);
        uint64_t troubled = 100 + rng_below(&w->rng, 500);
        for (uint64_t i = 0; i < troubled && !w->job_done; i++) {
            make_trouble(w, alive, &count, &next);
            carry_out(w);
            (void)step(w);
        }
        run_all(w);
        assert_true(w->job_done);
        assert_int_equal(w->done_told[SCHED_REDUCE], 10);
        scheduler_free(w->s);
        sched_effects_deinit(&w->effects);
        free(w);
    }
}

static void a_large_cluster_is_all_local(void **state)
{
    (void)state;
    enum { WORKERS = 2000, MAPS = 40000 };
    struct scheduler *s = scheduler_new(&sched_options_default);
    char(*names)[16] = xcalloc(WORKERS, sizeof(*names));
    for (uint64_t i = 0; i < WORKERS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "host%u", (unsigned)i);
        struct sched_worker_info info = {i + 1, names[i], "rack", 4};
        scheduler_add_worker(s, &info);
    }
    struct sched_map_info *maps = xcalloc(MAPS, sizeof(*maps));
    const char **places = xcalloc(MAPS, sizeof(*places));
    const char *rack = "rack";
    for (size_t i = 0; i < MAPS; i++) {
        places[i] = names[(i * 7919) % WORKERS];
        maps[i] = (struct sched_map_info){&places[i], &rack, 1};
    }
    struct sched_job_info job = {
        .job = 1, .maps = maps, .map_count = MAPS, .reduce_count = 100, .attempts_max = 4};
    scheduler_add_job(s, &job, 0);
    struct sched_effects effects = {0};
    time_ms wake = 0;
    uint32_t done = 0;
    uint32_t near = 0;
    for (time_ms now = 0; done < MAPS && now < 1000; now++) {
        struct sched_effects ended = {0};
        scheduler_assign(s, now, &effects, &wake);
        for (size_t i = 0; i < effects.count; i++) {
            if (effects.items[i].kind == SCHED_ASSIGN &&
                effects.items[i].attempt.kind == SCHED_MAP) {
                near += effects.items[i].locality == SCHED_ON_HOST;
                scheduler_succeeded(s, &effects.items[i].attempt, now, &ended);
                done++;
            }
        }
        sched_effects_clear(&effects);
        sched_effects_deinit(&ended);
    }
    assert_int_equal(done, MAPS);
    assert_int_equal(near, MAPS);
    scheduler_check(s);
    scheduler_free(s);
    sched_effects_deinit(&effects);
    free(maps);
    free(places);
    free(names);
}

/* A map that runs again when the last reduce ends can end, or fail for the last time, before
 * anybody has heard that the job is done. */
static void a_job_is_done_once(void **state)
{
    struct world *w = *state;
    time_ms wake = 0;
    struct sched_map_info info = {0};
    struct sched_job_info job = {
        .job = 1, .maps = &info, .map_count = 1, .reduce_count = 1, .attempts_max = 1};
    struct sched_attempt reduce = {1, SCHED_REDUCE, 0, 0};
    struct sched_attempt map = {1, SCHED_MAP, 0, 0};
    for (int ends_well = 0; ends_well < 2; ends_well++) {
        uint64_t first = (uint64_t)ends_well * 3 + 1;
        scheduler_add_job(w->s, &job, w->now);
        for (uint64_t id = first; id < first + 3; id++) {
            struct sched_worker_info worker = {id, hosts[0], racks[0], 1};
            scheduler_add_worker(w->s, &worker);
        }
        map.number = 0;
        scheduler_assign(w->s, w->now, &w->effects, &wake);
        scheduler_succeeded(w->s, &map, w->now, &w->effects);
        scheduler_assign(w->s, w->now, &w->effects, &wake);
        scheduler_map_lost(w->s, &map, w->now, &w->effects);
        scheduler_assign(w->s, w->now, &w->effects, &wake);
        sched_effects_clear(&w->effects);
        map.number = 1;
        scheduler_succeeded(w->s, &reduce, w->now, &w->effects);
        if (ends_well) {
            scheduler_succeeded(w->s, &map, w->now, &w->effects);
            scheduler_map_lost(w->s, &map, w->now, &w->effects);
        } else {
            scheduler_failed(w->s, &map, true, w->now, &w->effects);
        }
        assert_int_equal(told(w, SCHED_JOB_DONE), 1);
        assert_int_equal(told(w, SCHED_JOB_FAILED), 0);
        assert_int_equal(told(w, SCHED_MAP_WITHDRAWN), 0);
        scheduler_check(w->s);
        scheduler_remove_job(w->s, 1, &w->effects);
        scheduler_remove_worker(w->s, first, w->now, &w->effects);
        scheduler_remove_worker(w->s, first + 1, w->now, &w->effects);
        scheduler_remove_worker(w->s, first + 2, w->now, &w->effects);
        sched_effects_clear(&w->effects);
    }
}

/* The last map fails on the only worker with a free slot; the other is full of reduces that wait
 * for this map. */
static void a_failed_map_gets_a_slot_elsewhere(void **state)
{
    struct world *w = *state;
    time_ms wake = 0;
    struct sched_map_info maps[2] = {0};
    struct sched_job_info job = {
        .job = 1, .maps = maps, .map_count = 2, .reduce_count = 3, .attempts_max = 4};
    struct sched_worker_info a = {1, hosts[0], racks[0], 1};
    struct sched_worker_info b = {2, hosts[2], racks[2], 3};
    scheduler_add_worker(w->s, &a);
    scheduler_add_job(w->s, &job, w->now);
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    scheduler_add_worker(w->s, &b);
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    sched_effects_clear(&w->effects);
    struct sched_attempt on_a = {1, SCHED_MAP, 0, 0};
    struct sched_attempt on_b = {1, SCHED_MAP, 1, 0};
    scheduler_succeeded(w->s, &on_b, w->now, &w->effects);
    scheduler_assign(w->s, w->now, &w->effects, &wake); /* reduces fill all of B but one slot */
    struct sched_worker_info c = {3, hosts[4], racks[4], 1};
    scheduler_add_worker(w->s, &c); /* makes room for one more on B */
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    scheduler_remove_worker(w->s, 3, w->now, &w->effects);
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    sched_effects_clear(&w->effects);
    scheduler_failed(w->s, &on_a, true, w->now, &w->effects);
    bool runs = false;
    for (int i = 0; i < 10 && !runs; i++) {
        scheduler_assign(w->s, w->now, &w->effects, &wake);
        for (size_t k = 0; k < w->effects.count; k++) {
            const struct sched_effect *e = &w->effects.items[k];
            runs |= e->kind == SCHED_ASSIGN && e->attempt.kind == SCHED_MAP && e->worker == 2;
        }
        w->now += 10000;
    }
    assert_true(runs);
    scheduler_check(w->s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(near_work_goes_first, setup, teardown),
        cmocka_unit_test_setup_teardown(a_blind_job_finds_a_third, setup, teardown),
        cmocka_unit_test_setup_teardown(a_far_worker_takes_work_after_the_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_near_worker_nothing_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_outputs_run_again_while_needed, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_task_that_keeps_failing_fails_its_job_after_trying_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failure_without_blame_never_fails_a_job, setup, teardown),
        cmocka_unit_test_setup_teardown(a_worker_that_cannot_start_tasks_rests, setup, teardown),
        cmocka_unit_test_setup_teardown(a_worker_that_recovers_is_used_again, setup, teardown),
        cmocka_unit_test_setup_teardown(free_slots_of_a_broken_worker_do_not_count, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(outputs_that_are_found_count, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slow_worker_is_overtaken, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_maps_get_a_slot_from_waiting_reduces, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_map_output_is_taken_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_job_is_done_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_map_gets_a_slot_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_map_gets_a_slot_from_a_backup, setup, teardown),
        cmocka_unit_test_setup_teardown(a_backup_that_is_left_gives_way_too, setup, teardown),
        cmocka_unit_test_setup_teardown(maps_that_wait_go_before_backups_of_reduces, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_output_that_nobody_can_fetch, setup, teardown),
        cmocka_unit_test_setup_teardown(chaos_ends_in_a_finished_job, setup, teardown),
        cmocka_unit_test(a_large_cluster_is_all_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
