/* The linearizability checker on histories whose verdict is known, and against a checker that tries
 * every order of small random ones. */
#include "tests/lib/lin.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/rng.h"

static enum lin_verdict verdict_of(const char *text)
{
    struct err e = ERR_INIT;
    struct lin_history *h = lin_new();
    if (lin_add_text(h, text, &e) < 0) {
        fail_msg("%s", err_message(&e));
    }
    enum lin_verdict verdict = lin_check(h, 0, NULL, NULL);
    lin_free(h);
    return verdict;
}

static void assert_legal(const char *text)
{
    assert_int_equal(verdict_of(text), LIN_LEGAL);
}

static void assert_illegal(const char *text)
{
    assert_int_equal(verdict_of(text), LIN_ILLEGAL);
}

static void test_one_after_another(void **state)
{
    (void)state;
    assert_legal("");
    assert_legal("1 10 20 create /a/x 7 = ok\n"
                 "2 30 40 stat /a/x = 7\n"
                 "1 50 60 rename /a/x /a/y = ok\n"
                 "2 70 80 stat /a/x = absent\n"
                 "2 90 95 list /a = y\n"
                 "1 100 110 delete /a/y = ok\n"
                 "1 120 130 list /a = -\n");
    assert_illegal("1 10 20 create /a/x 7 = ok\n2 30 40 stat /a/x = absent\n"); /* stale read */
    assert_illegal("1 10 20 stat /a/x = 7\n2 30 40 create /a/x 7 = ok\n"); /* from the future */
    assert_illegal("1 10 20 create /a/x 7 = ok\n2 30 40 create /a/x 8 = ok\n");
    assert_illegal("1 10 20 create /a/x 7 = ok\n2 30 40 list /a = -\n");
    assert_illegal("1 10 20 create /a/x 7 = ok\n1 30 40 delete /a/x = ok\n"
                   "1 50 60 delete /a/x = ok\n"); /* ran twice */
    assert_illegal("1 10 20 create /a/x 7 = ok\n1 30 40 rename /a/x /a/y = ok\n"
                   "1 50 60 list /a = x,y\n"); /* a rename that is seen half done */
    assert_illegal("1 10 20 create /a/x 7 = ok\n1 15 17 create /a/y 8 = ok\n"
                   "1 30 40 rename /a/x /a/y = ok\n"); /* replaced what it must not */
}

static void test_overlapping(void **state)
{
    (void)state;
    assert_legal("1 10 50 create /a/x 7 = ok\n2 20 30 stat /a/x = absent\n"
                 "3 35 45 stat /a/x = 7\n");
    /* A read that has seen it, and then one that has not, while the write goes on. */
    assert_illegal("1 10 50 create /a/x 7 = ok\n2 20 30 stat /a/x = 7\n"
                   "3 35 45 stat /a/x = absent\n");
    assert_legal(
        "1 10 50 create /a/x 7 = ok\n2 10 50 create /a/x 8 = exists\n3 60 70 stat /a/x = 7\n");
    assert_illegal("1 10 50 create /a/x 7 = ok\n2 10 50 create /a/x 8 = ok\n");
    assert_legal("1 10 50 set /a/x 7 = ok\n2 10 50 set /a/x 8 = ok\n3 60 70 stat /a/x = 7\n");
    /* Two readers who saw two writes in two orders. */
    assert_illegal("1 10 90 set /a/x 7 = ok\n2 10 90 set /a/x 8 = ok\n"
                   "3 20 30 stat /a/x = 7\n3 40 50 stat /a/x = 8\n"
                   "4 20 30 stat /a/x = 8\n4 40 50 stat /a/x = 7\n");
}

static void test_unknown_outcomes(void **state)
{
    (void)state;
    const char *seen = "1 10 20 create /a/x 7 = unknown\n2 30 40 stat /a/x = absent\n"
                       "2 50 60 stat /a/x = 7\n"; /* it happened late */
    assert_legal(seen);
    assert_legal("1 10 20 create /a/x 7 = unknown\n2 30 40 stat /a/x = absent\n"); /* or never */
    assert_illegal("1 50 60 create /a/x 7 = unknown\n2 30 40 stat /a/x = 7\n"); /* but not before */
    assert_illegal("1 10 20 create /a/x 7 = unknown\n2 30 40 stat /a/x = 7\n"
                   "2 50 60 stat /a/x = absent\n");                            /* nor gone again */
    assert_illegal("1 10 20 create /a/x 7 = failed\n2 30 40 stat /a/x = 7\n"); /* definite */
    assert_legal("1 10 20 create /a/x 7 = failed\n2 30 40 stat /a/x = absent\n");
    assert_legal("1 10 - rename /a/x /a/y = unknown\n2 5 6 create /a/x 7 = ok\n"
                 "2 30 40 list /a = y\n");
    assert_illegal("1 10 - delete /a/x = unknown\n2 5 6 create /a/x 7 = ok\n"
                   "2 30 40 create /a/x 8 = ok\n2 50 60 stat /a/x = 7\n");
}

static void test_directories_are_apart(void **state)
{
    (void)state;
    struct buf why = BUF_INIT;
    struct lin_summary sum;
    struct lin_history *h = lin_new();
    assert_int_equal(lin_add_text(h,
                                  "# two directories\n\n"
                                  "1 10 20 create /a/x 7 = ok\n2 15 40 stat /a/x = 7\n"
                                  "1 10 20 create /b/x 8 = ok\n2 30 40 stat /b/x = absent\n",
                                  NULL),
                     0);
    assert_int_equal(lin_check(h, 0, &why, &sum), LIN_ILLEGAL);
    assert_non_null(strstr(why.data, "/b: not linearizable"));
    assert_non_null(strstr(why.data, "stat /b/x = absent"));
    assert_null(strstr(why.data, "/a:"));
    assert_int_equal(sum.ops, 4);
    assert_int_equal(sum.overlapped, 2);
    assert_int_equal(lin_check(h, 1, NULL, NULL), LIN_ILLEGAL + 1); /* undecided is not legal */
    lin_free(h);
    buf_deinit(&why);
}

static void test_refused_lines(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "1 10 20 create /a/x = ok",      "1 10 20 create /a/x 7 ok",
        "1 20 10 stat /a/x = 7",         "1 10 20 stat x = 7",
        "1 10 20 stat /a/x = maybe",     "1 10 20 mkdir /a/x = ok",
        "1 10 20 rename /a/x /b/x = ok", "1 10 20 delete /a/x = exists",
        "1 10 - stat /a/x = 7",          "x 10 20 stat /a/x = 7",
        "1 10 20 create /a/x 0 = ok",    "1 10 20 stat /a = 7",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct lin_history *h = lin_new();
        if (lin_add_line(h, bad[i], NULL) == 0) {
            fail_msg("accepted: %s", bad[i]);
        }
        lin_free(h);
    }
}

/* ---- against a checker that tries everything ---- */

enum { SMALL_OPS = 6, SMALL_NAMES = 2 };

enum small_kind { SMALL_CREATE, SMALL_DELETE, SMALL_RENAME, SMALL_STAT };
enum { SMALL_UNKNOWN = 1000, SMALL_ABSENT = 1001, SMALL_EXISTS = 1002, SMALL_OK = 1003 };

struct small_op {
    enum small_kind kind;
    uint32_t name;
    uint32_t token;
    uint32_t began;
    uint32_t ended;
    uint32_t result; /* a token, or one of the above */
};

/* The sequential truth: changes names[], gives the result. */
static uint32_t small_apply(const struct small_op *op, uint32_t names[SMALL_NAMES])
{
    uint32_t other = 1 - op->name;
    uint32_t there = names[op->name];
    switch (op->kind) {
    case SMALL_CREATE:
        names[op->name] = there ? there : op->token;
        return there ? SMALL_EXISTS : SMALL_OK;
    case SMALL_DELETE:
        names[op->name] = 0;
        return there ? SMALL_OK : SMALL_ABSENT;
    case SMALL_RENAME:
        if (there == 0 || names[other] != 0) {
            return there == 0 ? SMALL_ABSENT : SMALL_EXISTS;
        }
        names[other] = there;
        names[op->name] = 0;
        return SMALL_OK;
    case SMALL_STAT:
        break;
    }
    return there ? there : SMALL_ABSENT;
}

/* NOLINTNEXTLINE(misc-no-recursion): at most SMALL_OPS deep. */
static bool any_order(const struct small_op *ops, uint32_t left, const uint32_t names[SMALL_NAMES])
{
    bool owed = false;
    for (uint32_t i = 0; i < SMALL_OPS; i++) {
        owed = owed || (left >> i & 1 && ops[i].result != SMALL_UNKNOWN);
    }
    for (uint32_t i = 0; owed && i < SMALL_OPS; i++) {
        uint32_t next[SMALL_NAMES] = {names[0], names[1]};
        bool first = left >> i & 1;
        for (uint32_t k = 0; k < SMALL_OPS; k++) { /* nobody left ended before it began */
            first = first && !(left >> k & 1 && ops[k].result != SMALL_UNKNOWN &&
                               ops[k].ended < ops[i].began);
        }
        uint32_t result = first ? small_apply(&ops[i], next) : 0;
        if (first && (ops[i].result == SMALL_UNKNOWN || ops[i].result == result) &&
            any_order(ops, left & ~(1U << i), next)) {
            return true;
        }
    }
    return !owed;
}

static const char *small_outcome(const struct small_op *op, char number[16])
{
    switch (op->result) {
    case SMALL_UNKNOWN:
        return "unknown";
    case SMALL_ABSENT:
        return "absent";
    case SMALL_EXISTS:
        return "exists";
    case SMALL_OK:
        return "ok";
    default:
        (void)snprintf(number, 16, "%u", op->result);
        return number;
    }
}

static void print_op(const struct small_op *op, struct buf *text)
{
    static const char *const words[] = {"create", "delete", "rename", "stat"};
    char number[16];
    buf_printf(text, "1 %u %u %s /d/n%u", op->began, op->ended, words[op->kind], op->name);
    if (op->kind == SMALL_CREATE) {
        buf_printf(text, " %u", op->token);
    } else if (op->kind == SMALL_RENAME) {
        buf_printf(text, " /d/n%u", 1 - op->name);
    }
    buf_printf(text, " = %s\n", small_outcome(op, number));
}

/* Results come from one sequential run, and some are then falsified; times are random around it. */
static void draw_history(struct rng *rng, struct small_op ops[SMALL_OPS])
{
    uint32_t names[SMALL_NAMES] = {0};
    for (uint32_t i = 0; i < SMALL_OPS; i++) {
        uint32_t at = 100 + 20 * i;
        ops[i] = (struct small_op){(enum small_kind)rng_below(rng, 4),
                                   (uint32_t)rng_below(rng, SMALL_NAMES),
                                   i + 1,
                                   0,
                                   0,
                                   0};
        ops[i].began = at - (uint32_t)rng_below(rng, 50);
        ops[i].ended = at + (uint32_t)rng_below(rng, 50);
        ops[i].result = small_apply(&ops[i], names);
        if (rng_below(rng, 8) == 0) {
            ops[i].result = SMALL_UNKNOWN;
        } else if (ops[i].kind == SMALL_STAT && rng_below(rng, 3) == 0) {
            uint32_t lie = (uint32_t)rng_below(rng, SMALL_OPS + 1);
            ops[i].result = lie ? lie : SMALL_ABSENT;
        }
    }
}

static void test_against_every_order(void **state)
{
    (void)state;
    struct rng rng;
    struct buf text = BUF_INIT;
    uint32_t counts[2] = {0};
    rng_seed(&rng, 11);
    for (int round = 0; round < 20000; round++) {
        struct small_op ops[SMALL_OPS];
        const uint32_t names[SMALL_NAMES] = {0};
        draw_history(&rng, ops);
        buf_clear(&text);
        for (uint32_t i = 0; i < SMALL_OPS; i++) {
            print_op(&ops[i], &text);
        }
        bool legal = any_order(ops, (1U << SMALL_OPS) - 1, names);
        if (verdict_of(text.data) != (legal ? LIN_LEGAL : LIN_ILLEGAL)) {
            fail_msg("round %d is %s:\n%s", round, legal ? "legal" : "illegal", text.data);
        }
        counts[legal]++;
    }
    assert_true(counts[0] > 2000); /* both verdicts were tried */
    assert_true(counts[1] > 2000);
    buf_deinit(&text);
}

/* 8 clients, 500 operations, many at a time: legal by making, and decided fast. */
static void test_a_long_history(void **state)
{
    (void)state;
    struct rng rng;
    struct buf text = BUF_INIT;
    uint32_t names[16] = {0};
    rng_seed(&rng, 12);
    for (uint32_t i = 0; i < 500; i++) {
        uint32_t name = (uint32_t)rng_below(&rng, 16);
        uint32_t at = 1000 + 10 * i;
        buf_printf(&text, "%u %u %u ", i % 8, at - (uint32_t)rng_below(&rng, 40),
                   at + (uint32_t)rng_below(&rng, 40));
        if (rng_below(&rng, 2) == 0) {
            buf_printf(&text, "create /d/n%u %u = %s\n", name, i + 1,
                       names[name] ? "exists" : "ok");
            names[name] = names[name] ? names[name] : i + 1;
        } else if (rng_below(&rng, 2) == 0) {
            buf_printf(&text, "delete /d/n%u = %s\n", name, names[name] ? "ok" : "absent");
            names[name] = 0;
        } else if (names[name] != 0) {
            buf_printf(&text, "stat /d/n%u = %u\n", name, names[name]);
        } else {
            buf_printf(&text, "stat /d/n%u = absent\n", name);
        }
    }
    assert_legal(text.data);
    buf_printf(&text, "1 90000 90001 stat /d/n1 = %u\n", 4000); /* who never was */
    assert_illegal(text.data);
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_after_another), cmocka_unit_test(test_overlapping),
        cmocka_unit_test(test_unknown_outcomes),  cmocka_unit_test(test_directories_are_apart),
        cmocka_unit_test(test_refused_lines),     cmocka_unit_test(test_against_every_order),
        cmocka_unit_test(test_a_long_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
