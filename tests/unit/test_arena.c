#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/arena.h"
#include "common/limits.h"

static void allocations_are_aligned_and_apart(void **state)
{
    struct arena a = ARENA_INIT;
    char *all[2000];
    (void)state;
    for (size_t i = 0; i < 2000; i++) {
        all[i] = arena_alloc(&a, i);
        assert_int_equal((uintptr_t)all[i] % _Alignof(max_align_t), 0);
        memset(all[i], (int)(i % 251), i);
    }
    for (size_t i = 1; i < 2000; i++) {
        assert_int_equal((unsigned char)all[i][0], i % 251);
        assert_int_equal((unsigned char)all[i][i - 1], i % 251);
    }
    arena_deinit(&a);
    arena_deinit(&a);
    arena_deinit(NULL);
}

static void large_ones_and_reset(void **state)
{
    struct arena a = ARENA_INIT;
    (void)state;
    memset(arena_alloc(&a, 5 << 20), 1, 5 << 20);
    memset(arena_alloc(&a, 100), 1, 100);
    arena_reset(&a);
    assert_int_equal(a.bytes_used, 0);
    assert_non_null(a.blocks);
    char *zeroed = arena_calloc(&a, 64);
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(zeroed[i], 0);
    }
    arena_deinit(&a);
}

static void the_bound_holds_for_try(void **state)
{
    struct arena a;
    (void)state;
    arena_init(&a, 1000);
    assert_non_null(arena_try_alloc(&a, 600));
    assert_null(arena_try_alloc(&a, 600));
    assert_null(arena_try_alloc(&a, SIZE_MAX));
    assert_non_null(arena_try_alloc(&a, 300));
    assert_non_null(arena_alloc(&a, 5000));
    assert_null(arena_try_alloc(&a, 1));
    arena_reset(&a);
    assert_non_null(arena_try_alloc(&a, 900));
    arena_deinit(&a);
    arena_init(&a, 0);
    assert_null(arena_try_alloc(&a, SIZE_MAX));
    arena_deinit(&a);
}

static void strings(void **state)
{
    struct arena a = ARENA_INIT;
    (void)state;
    assert_string_equal(arena_strdup(&a, "copy"), "copy");
    assert_string_equal(arena_strndup(&a, "copy", 2), "co");
    assert_string_equal(arena_strndup(&a, NULL, 0), "");
    assert_string_equal(arena_printf(&a, "%s-%d", "x", 5), "x-5");
    assert_memory_equal(arena_copy(&a, "a\0b", 3), "a\0b", 3);
    arena_deinit(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_apart),
        cmocka_unit_test(large_ones_and_reset),
        cmocka_unit_test(the_bound_holds_for_try),
        cmocka_unit_test(strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
