#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/rng.h"

/* The authors' reference code gives these for the state {1, 2, 3, 4}. */
static void known_answers(void **state)
{
    static const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240};
    struct rng r = {{1, 2, 3, 4}};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(rng_u64(&r), expected[i]);
    }
}

/* Seeds stand in reports of failed simulations, so what follows from them must never change. */
static void seeds_replay(void **state)
{
    struct rng a, b;
    (void)state;
    rng_seed(&a, 0);
    assert_int_equal(a.state[0], 0xe220a8397b1dcdaf); /* SplitMix64's first values for seed 0 */
    assert_int_equal(a.state[1], 0x6e789e6aa1b965f4);
    rng_seed(&b, 0);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(rng_u64(&a), rng_u64(&b));
    }
}

static void ranges_are_kept_and_filled(void **state)
{
    struct rng r;
    unsigned seen[6] = {0};
    (void)state;
    rng_seed(&r, 7);
    for (unsigned i = 0; i < 6000; i++) {
        seen[rng_below(&r, 6)]++;
        assert_in_range(rng_range(&r, 10, 12), 10, 12);
        double unit = rng_unit(&r);
        assert_true(unit >= 0 && unit < 1);
    }
    for (size_t i = 0; i < 6; i++) {
        assert_in_range(seen[i], 850, 1150);
    }
    assert_int_equal(rng_below(&r, 1), 0);
    assert_int_equal(rng_range(&r, 5, 5), 5);
    (void)rng_range(&r, 0, UINT64_MAX);
    assert_true(rng_below(&r, UINT64_MAX) < UINT64_MAX);
}

static void bytes(void **state)
{
    struct rng r;
    unsigned char filled[64], entropy[600] = {0};
    (void)state;
    rng_seed(&r, 1);
    memset(filled, 0xee, sizeof(filled));
    rng_fill(&r, filled, 13);
    for (size_t i = 13; i < sizeof(filled); i++) {
        assert_int_equal(filled[i], 0xee);
    }
    rng_entropy(entropy, sizeof(entropy));
    unsigned zeros = 0;
    for (size_t i = 0; i < sizeof(entropy); i++) {
        zeros += entropy[i] == 0;
    }
    assert_true(zeros < 30);
    assert_true(rng_entropy_u64() != rng_entropy_u64());
    rng_seed_entropy(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(seeds_replay),
        cmocka_unit_test(ranges_are_kept_and_filled),
        cmocka_unit_test(bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
