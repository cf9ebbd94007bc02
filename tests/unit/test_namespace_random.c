/* Seeded random entries: two copies stay equal whatever the batches, a broken storage stops apply
 * at every read, and the rows' codecs take only what they wrote. The same code runs under the
 * fuzzer (tests/fuzz/fuzz_apply.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/rng.h"
#include "tests/lib/mem_kv.h"
#include "tests/lib/namespace_random.h"

enum { INPUT_BYTES = 6000, SEED_COUNT = 60 };

static void test_two_copies(void **state)
{
    static uint8_t bytes[INPUT_BYTES];
    struct rng rng;
    uint64_t successes = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        rng_seed(&rng, seed);
        rng_fill(&rng, bytes, sizeof(bytes));
        successes += random_two_copies((struct span){bytes, sizeof(bytes)});
    }
    assert_true(successes > (uint64_t)SEED_COUNT * 50); /* it was not all refusals */
    print_message("%llu operations succeeded\n", (unsigned long long)successes);
}

/* Applies one entry with the n-th read failing: ERR_IO from apply or end, or n is beyond its reads.
 */
static bool fails_at(const struct mem_kv *from, const struct command_entry *entry, uint64_t index,
                     uint64_t n)
{
    struct mem_kv kv;
    struct arena arena = ARENA_INIT;
    struct apply_result result;
    struct namespace *ns = namespace_new(2);
    mem_kv_init(&kv);
    mem_kv_copy(&kv, from);
    kv.fail_countdown = n;
    struct kv_view view = mem_kv_view(&kv);
    namespace_begin(ns, &view);
    int r = namespace_apply(ns, entry, (struct log_position){index, 1}, &arena, &result);
    bool fired = kv.fail_countdown == 0;
    assert_int_equal(r, fired ? ERR_IO : 0);
    assert_int_equal(namespace_end(ns), r);
    namespace_free(ns);
    mem_kv_deinit(&kv);
    arena_deinit(&arena);
    return fired;
}

static void test_broken_storage(void **state)
{
    static uint8_t bytes[3000];
    struct rng rng;
    struct arena arena = ARENA_INIT;
    struct random_entries random;
    struct command_entry entry;
    struct apply_result result;
    struct mem_kv kv;
    struct namespace *ns = namespace_new(2);
    (void)state;
    mem_kv_init(&kv);
    struct kv_view view = mem_kv_view(&kv);
    rng_seed(&rng, 77);
    rng_fill(&rng, bytes, sizeof(bytes));
    random_entries_init(&random, (struct span){bytes, sizeof(bytes)}, &arena);
    while (random_entries_next(&random, &entry)) {
        uint64_t n = 1;
        while (fails_at(&kv, &entry, random.made, n)) {
            n++;
        }
        namespace_begin(ns, &view);
        assert_int_equal(
            namespace_apply(ns, &entry, (struct log_position){random.made, 1}, &arena, &result), 0);
        assert_int_equal(namespace_end(ns), 0);
        random_entries_learn(&random, &entry, &result);
    }
    namespace_free(ns);
    mem_kv_deinit(&kv);
    arena_deinit(&arena);
}

/* A checker that never finds anything is worth nothing: each row that is damaged or taken away must
 * be noticed, but for those that nothing else depends on. */
static void test_check_finds_damage(void **state)
{
    static uint8_t bytes[3000];
    struct rng rng;
    struct arena arena = ARENA_INIT;
    struct random_entries random;
    struct command_entry entry;
    struct apply_result result;
    struct mem_kv kv;
    struct mem_kv damaged;
    struct err e = ERR_INIT;
    struct namespace *ns = namespace_new(2);
    (void)state;
    mem_kv_init(&kv);
    mem_kv_init(&damaged);
    struct kv_view view = mem_kv_view(&kv);
    struct kv_view damaged_view = mem_kv_view(&damaged);
    rng_seed(&rng, 5);
    rng_fill(&rng, bytes, sizeof(bytes));
    random_entries_init(&random, (struct span){bytes, sizeof(bytes)}, &arena);
    namespace_begin(ns, &view);
    while (random_entries_next(&random, &entry)) {
        assert_int_equal(
            namespace_apply(ns, &entry, (struct log_position){random.made, 1}, &arena, &result), 0);
        random_entries_learn(&random, &entry, &result);
    }
    assert_int_equal(namespace_end(ns), 0);
    assert_int_equal(namespace_check(&view, &e), 0);
    assert_true(kv.count > 30);
    for (size_t i = 0; i < kv.count; i++) {
        const struct buf *key = &kv.rows[i]->key;
        if (strchr("acr", key->data[0])) {
            continue;
        }
        mem_kv_copy(&damaged, &kv);
        kv_view_del(&damaged_view, (struct span){key->data, key->length});
        if (namespace_check(&damaged_view, &e) == 0) {
            fail_msg("a missing row of table '%c' was not noticed", key->data[0]);
        }
        assert_true(e.msg[0] != 0);
    }
    namespace_free(ns);
    mem_kv_deinit(&kv);
    mem_kv_deinit(&damaged);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_copies),
        cmocka_unit_test(test_broken_storage),
        cmocka_unit_test(test_check_finds_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
