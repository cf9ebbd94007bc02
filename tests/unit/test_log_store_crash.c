/* The log store under crashes: every change of the disk as the last one, every kind of loss, then
 * random lives in a row. The claim: a crash loses nothing that was synced, and what it lost does
 * not come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/rng.h"
#include "tests/lib/log_model.h"

/* Crosses segments, rewrites a suffix, compacts, recycles, installs a snapshot, idles. */
static const struct log_op script[] = {
    {LOG_OP_BOTH, 3},     {LOG_OP_SYNC, 0},   {LOG_OP_APPEND, 5},   {LOG_OP_APPEND, 8},
    {LOG_OP_VOTE, 2},     {LOG_OP_SYNC, 0},   {LOG_OP_TRUNCATE, 4}, {LOG_OP_BOTH, 6},
    {LOG_OP_APPEND, 8},   {LOG_OP_SYNC, 0},   {LOG_OP_IDLE, 0},     {LOG_OP_APPEND, 8},
    {LOG_OP_APPEND, 8},   {LOG_OP_APPEND, 8}, {LOG_OP_COMPACT, 5},  {LOG_OP_TRUNCATE, 2},
    {LOG_OP_APPEND, 8},   {LOG_OP_SYNC, 0},   {LOG_OP_APPEND, 8},   {LOG_OP_APPEND, 8},
    {LOG_OP_COMPACT, 10}, {LOG_OP_APPEND, 2}, {LOG_OP_RESET, 7},    {LOG_OP_APPEND, 4},
    {LOG_OP_VOTE, 1},     {LOG_OP_SYNC, 0},   {LOG_OP_COMPACT, 0},  {LOG_OP_APPEND, 1},
};

enum { SCRIPT_LENGTH = sizeof(script) / sizeof(script[0]) };

/* After a crash the log must work on: new entries, another crash that loses all but them, nothing
 * old comes back. */
static void check_goes_on(struct log_runner *r)
{
    struct log_op after[] = {{LOG_OP_BOTH, 2}, {LOG_OP_SYNC, 0}};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(log_runner_do(r, after[i]), 0);
    }
    log_runner_check(r);
    log_runner_crash(r, FAKE_CRASH_DROP, 0);
    assert_int_equal(log_runner_open(r, NULL), 0);
    log_runner_check(r);
}

/* Runs the script with the disk stopping at change n. Returns whether it did stop. */
static bool run_script(uint64_t n, enum fake_crash how, uint64_t seed)
{
    struct log_runner r;
    struct err e = ERR_INIT;
    log_runner_init(&r);
    fake_disk_stop_at(r.disk, n);
    int code = log_runner_open(&r, &e);
    for (size_t i = 0; i < SCRIPT_LENGTH && code == 0; i++) {
        code = log_runner_do(&r, script[i]);
    }
    bool stopped = fake_disk_stopped(r.disk);
    assert_int_equal(stopped, code < 0);
    log_runner_crash(&r, how, seed);
    code = log_runner_open(&r, &e);
    if (code < 0) {
        fail_msg("stop at change %lu, crash %d, seed %lu: %s", (unsigned long)n, (int)how,
                 (unsigned long)seed, err_message(&e));
    }
    check_goes_on(&r);
    log_runner_deinit(&r);
    return stopped;
}

static void test_every_crash_point(void **state)
{
    (void)state;
    static const uint64_t seeds[FAKE_CRASH_COUNT] = {1, 1, 10, 20, 20};
    uint64_t states = 0;
    for (uint64_t n = 1;; n++) {
        bool stopped = false;
        for (int how = 0; how < FAKE_CRASH_COUNT; how++) {
            for (uint64_t seed = 0; seed < seeds[how]; seed++) {
                stopped = run_script(n, (enum fake_crash)how, n * 1000 + seed);
                states++;
            }
        }
        if (!stopped) {
            break;
        }
    }
    print_message("%lu crash states\n", (unsigned long)states);
    assert_true(states > 2500);
}

static struct log_op random_op(struct rng *rng)
{
    static const uint8_t weights[] = {LOG_OP_APPEND,  LOG_OP_APPEND, LOG_OP_APPEND, LOG_OP_BOTH,
                                      LOG_OP_VOTE,    LOG_OP_SYNC,   LOG_OP_SYNC,   LOG_OP_TRUNCATE,
                                      LOG_OP_COMPACT, LOG_OP_IDLE,   LOG_OP_RESET};
    enum log_op_kind kind = (enum log_op_kind)weights[rng_below(rng, sizeof(weights))];
    uint32_t most = kind == LOG_OP_RESET ? 4 : 10;
    return (struct log_op){kind, 1 + (uint32_t)rng_below(rng, most)};
}

/* One disk through several lives: each ends in a crash in the middle of random work, or while
 * opening. */
static void run_lives(uint64_t seed)
{
    struct log_runner r;
    struct rng rng;
    struct err e = ERR_INIT;
    rng_seed(&rng, seed);
    log_runner_init(&r);
    for (int life = 0; life < 6; life++) {
        fake_disk_stop_at(r.disk, 1 + rng_below(&rng, 60));
        int code = log_runner_open(&r, &e);
        if (code < 0 && !fake_disk_stopped(r.disk)) {
            fail_msg("seed %lu, life %d: %s", (unsigned long)seed, life, err_message(&e));
        }
        for (int i = 0; i < 50 && code == 0; i++) {
            code = log_runner_do(&r, random_op(&rng));
        }
        log_runner_crash(&r, (enum fake_crash)rng_below(&rng, FAKE_CRASH_COUNT), rng_u64(&rng));
    }
    int code = log_runner_open(&r, &e);
    if (code < 0) {
        fail_msg("seed %lu: %s", (unsigned long)seed, err_message(&e));
    }
    check_goes_on(&r);
    assert_true(fake_disk_files(r.disk) <= 40);
    log_runner_deinit(&r);
}

static void test_random_lives(void **state)
{
    (void)state;
    const char *count = getenv("TRIREME_LOG_LIVES");
    const char *first = getenv("TRIREME_LOG_SEED");
    uint64_t from = first ? strtoull(first, NULL, 10) : 1;
    uint64_t to = from + (count ? strtoull(count, NULL, 10) : 1500);
    for (uint64_t seed = from; seed < to; seed++) {
        run_lives(seed);
    }
}

/* Each change of the disk fails once with an error: it is reported or harmless, and a restart finds
 * all that was synced. When the disk is full the log goes on as soon as there is room. */
static void run_with_fault(uint64_t n, int fault, bool partly, bool *ret_met)
{
    struct log_runner r;
    struct err e = ERR_INIT;
    log_runner_init(&r);
    fake_disk_fail_at(r.disk, n, fault, partly);
    int code = log_runner_open(&r, &e);
    uint64_t before = 0;
    for (size_t i = 0; i < SCRIPT_LENGTH && code == 0; i++) {
        before = r.count;
        code = log_runner_do(&r, script[i]);
        if (code == ERR_IO) {
            assert_int_equal(log_store_append(r.store, NULL, NULL, 0, NULL),
                             log_store_sync(r.store, NULL));
        }
        if (code == ERR_NO_SPACE && log_store_sync(r.store, NULL) == 0 && r.count == before + 1) {
            r.count = before; /* definite: it did not happen */
            log_runner_check(&r);
            code = 0;
        }
    }
    *ret_met = fake_disk_changes(r.disk) >= n;
    log_runner_crash(&r, FAKE_CRASH_KILL, 0);
    assert_int_equal(log_runner_open(&r, &e), 0);
    check_goes_on(&r);
    log_runner_deinit(&r);
}

static void test_every_fault(void **state)
{
    (void)state;
    bool met = true;
    for (uint64_t n = 1; met; n++) {
        run_with_fault(n, ERR_IO, false, &met);
        run_with_fault(n, ERR_IO, true, &met);
        run_with_fault(n, ERR_NO_SPACE, false, &met);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_crash_point),
        cmocka_unit_test(test_every_fault),
        cmocka_unit_test(test_random_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
