#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/map.h"
#include "common/rng.h"

enum { KEYS = 512 };

static void *value_of(uint64_t n)
{
    return (void *)(uintptr_t)(n + 1);
}

static void an_empty_map_answers(void **state)
{
    struct map m = MAP_INIT;
    (void)state;
    assert_null(map_get_u64(&m, 1));
    assert_null(map_remove_u64(&m, 1));
    MAP_FOR_EACH(it, &m)
    {
        fail();
    }
    map_clear(&m);
    map_deinit(&m);
    map_deinit(NULL);
}

/* Random puts and removals against a plain array, with few enough keys that runs grow long and
 * wrap. */
static void behaves_like_an_array(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct map m;
        struct rng r;
        void *model[KEYS] = {NULL};
        size_t count = 0;
        map_init(&m, seed);
        rng_seed(&r, seed);
        for (unsigned step = 0; step < 5000; step++) {
            uint64_t key = rng_below(&r, KEYS);
            if (rng_below(&r, 5) < (step % 2000 < 1000 ? 3 : 1)) {
                void *value = value_of(rng_below(&r, 1000));
                assert_ptr_equal(map_put_u64(&m, key, value), model[key]);
                count += model[key] == NULL;
                model[key] = value;
            } else {
                assert_ptr_equal(map_remove_u64(&m, key), model[key]);
                count -= model[key] != NULL;
                model[key] = NULL;
            }
            assert_int_equal(m.count, count);
        }
        for (uint64_t key = 0; key < KEYS; key++) {
            assert_ptr_equal(map_get_u64(&m, key), model[key]);
        }
        map_deinit(&m);
    }
}

/* Each entry is met exactly once, whichever of the current ones are removed. */
static void iteration_allows_removing_the_current(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct map m;
        struct rng r;
        unsigned met[KEYS] = {0};
        bool removed[KEYS] = {false};
        map_init(&m, seed);
        rng_seed(&r, seed);
        uint64_t keys = 1 + rng_below(&r, KEYS);
        for (uint64_t key = 0; key < keys; key++) {
            assert_null(map_put_u64(&m, key, value_of(key)));
        }
        MAP_FOR_EACH(it, &m)
        {
            assert_ptr_equal(it.value, value_of(it.key));
            met[it.key]++;
            removed[it.key] = rng_below(&r, 2) == 0;
            if (removed[it.key]) {
                assert_ptr_equal(map_remove_u64(&m, it.key), it.value);
            }
        }
        for (uint64_t key = 0; key < keys; key++) {
            assert_int_equal(met[key], 1);
            assert_ptr_equal(map_get_u64(&m, key), removed[key] ? NULL : value_of(key));
        }
        map_deinit(&m);
    }
}

static void byte_strings_are_keys_too(void **state)
{
    struct map m = MAP_INIT;
    char names[KEYS][16];
    (void)state;
    for (int i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof(names[i]), "name-%d", i);
        assert_null(map_put_str(&m, names[i], names[i]));
    }
    assert_null(map_put_bytes(&m, "a\0b", 3, value_of(1)));
    assert_null(map_put_bytes(&m, "a\0c", 3, value_of(2)));
    assert_null(map_put_bytes(&m, "", 0, value_of(3)));
    assert_ptr_equal(map_get_bytes(&m, "a\0b", 3), value_of(1));
    assert_ptr_equal(map_get_str(&m, ""), value_of(3));
    assert_null(map_get_str(&m, "a"));
    assert_ptr_equal(map_put_str(&m, "name-7", value_of(7)), names[7]);
    assert_ptr_equal(map_remove_str(&m, "name-7"), value_of(7));
    assert_null(map_remove_bytes(&m, "name-7", 6));
    assert_ptr_equal(map_remove_bytes(&m, "a\0c", 3), value_of(2));
    size_t met = 0;
    MAP_FOR_EACH(it, &m)
    {
        met++;
        if (it.value == names[9]) {
            assert_int_equal(it.bytes.length, 6);
            assert_memory_equal(it.bytes.data, "name-9", 6);
        }
    }
    assert_int_equal(met, m.count);
    assert_int_equal(met, KEYS + 1);
    map_deinit(&m);
}

static void reserved_maps_do_not_grow(void **state)
{
    struct map m = MAP_INIT;
    (void)state;
    map_reserve(&m, 1000);
    size_t capacity = m.capacity;
    for (uint64_t key = 0; key < 1000; key++) {
        assert_null(map_put_u64(&m, key << 32, value_of(key)));
    }
    assert_int_equal(m.capacity, capacity);
    map_clear(&m);
    assert_null(map_get_u64(&m, 0));
    assert_int_equal(m.count, 0);
    map_deinit(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_answers),
        cmocka_unit_test(behaves_like_an_array),
        cmocka_unit_test(iteration_allows_removing_the_current),
        cmocka_unit_test(byte_strings_are_keys_too),
        cmocka_unit_test(reserved_maps_do_not_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
