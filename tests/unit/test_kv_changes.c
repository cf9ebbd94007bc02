/* common/kv_changes: against a plain list of what was put and deleted. How a batch joins it with
 * what is written: test_kv.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/kv_changes.h"
#include "common/rng.h"
#include "tests/lib/mem_kv.h"

static struct span text(const char *string)
{
    return (struct span){string, strlen(string)};
}

static void assert_span(struct span got, const char *want)
{
    assert_int_equal(got.length, strlen(want));
    assert_memory_equal(got.data, want, got.length);
}

static void test_newest_wins(void **state)
{
    (void)state;
    struct kv_changes *c = kv_changes_new();
    assert_null(kv_changes_find(c, text("a")));
    kv_changes_put(c, text("a"), text("first"));
    kv_changes_put(c, text("a"), text("a longer one"));
    kv_changes_put(c, text("a"), text("third"));
    assert_int_equal(kv_changes_count(c), 1);
    assert_span(kv_changes_find(c, text("a"))->value, "third");
    kv_changes_del(c, text("a"));
    assert_true(kv_changes_find(c, text("a"))->deleted);
    kv_changes_put(c, text("a"), text(""));
    assert_false(kv_changes_find(c, text("a"))->deleted);
    assert_span(kv_changes_find(c, text("a"))->value, "");
    assert_null(kv_changes_find(c, text("aa")));
    kv_changes_clear(c);
    assert_null(kv_changes_find(c, text("a")));
    assert_int_equal(kv_changes_count(c), 0);
    assert_int_equal(kv_changes_bytes(c), 0);
    kv_changes_free(c);
    kv_changes_free(NULL);
}

/* Only what the map below may have is deleted there. */
static void test_absent_below(void **state)
{
    (void)state;
    struct kv_changes *c = kv_changes_new();
    kv_changes_absent(c, text("new"));
    assert_true(kv_changes_find(c, text("new"))->deleted);
    assert_true(kv_changes_find(c, text("new"))->is_new);
    kv_changes_put(c, text("new"), text("value"));
    assert_false(kv_changes_find(c, text("new"))->deleted);
    kv_changes_del(c, text("new"));
    assert_true(kv_changes_find(c, text("new"))->deleted);
    assert_true(kv_changes_find(c, text("new"))->is_new);

    kv_changes_put(c, text("old"), text("value"));
    kv_changes_del(c, text("old"));
    assert_true(kv_changes_find(c, text("old"))->deleted);
    assert_false(kv_changes_find(c, text("old"))->is_new);

    kv_changes_clear(c);
    kv_changes_del(c, text("new"));
    assert_false(kv_changes_find(c, text("new"))->is_new);
    kv_changes_free(c);
}

static void test_new_below(void **state)
{
    (void)state;
    struct kv_changes *c = kv_changes_new();
    kv_changes_put_new(c, text("new"), text("value"));
    assert_span(kv_changes_find(c, text("new"))->value, "value");
    kv_changes_del(c, text("new"));
    assert_true(kv_changes_find(c, text("new"))->deleted);
    assert_true(kv_changes_find(c, text("new"))->is_new);

    /* There until it is deleted here, so the deletion is not nothing. */
    kv_changes_del(c, text("old"));
    kv_changes_put_new(c, text("old"), text("value"));
    kv_changes_del(c, text("old"));
    assert_true(kv_changes_find(c, text("old"))->deleted);
    assert_false(kv_changes_find(c, text("old"))->is_new);
    kv_changes_free(c);
}

/* Keys that share their first nine bytes, or end within them, differ only beyond the number that
 * they are first compared by. */
static struct span random_key(struct rng *rng, char bytes[16])
{
    size_t length = 1 + rng_below(rng, 12);
    for (size_t i = 0; i < length; i++) {
        bytes[i] = i < 9 ? "\0k"[rng_below(rng, 8) > 0] : "\0a\xff"[rng_below(rng, 3)];
    }
    return (struct span){bytes, length};
}

struct list {
    char text[64 * 1024];
    size_t length;
};

static int collect(void *arg, struct span key, struct span value)
{
    struct list *list = arg;
    assert_true(list->length + key.length + value.length < sizeof(list->text));
    memcpy(list->text + list->length, key.data, key.length);
    list->length += key.length;
    memcpy(list->text + list->length, value.data, value.length);
    list->length += value.length;
    return 0;
}

static void assert_walks_like(struct kv_changes *c, const struct kv_view *model, struct rng *rng)
{
    static struct list got, want;
    char bytes[2][16];
    struct kv_cursor cursor;
    const struct kv_change *change = NULL;
    struct kv_range range = {.reverse = rng_below(rng, 2)};
    range.start = rng_below(rng, 3) ? random_key(rng, bytes[0]) : (struct span){0};
    range.end = rng_below(rng, 3) ? random_key(rng, bytes[1]) : (struct span){0};
    got.length = want.length = 0;
    kv_cursor_begin(&cursor, c, &range);
    for (; (change = kv_cursor_get(&cursor)) != NULL; kv_cursor_next(&cursor)) {
        assert_ptr_equal(kv_changes_find(c, change->key), change);
        if (!change->deleted) {
            assert_int_equal(collect(&got, change->key, change->value), 0);
        }
    }
    assert_int_equal(kv_view_scan(model, &range, collect, &want), 0);
    assert_int_equal(got.length, want.length);
    assert_memory_equal(got.text, want.text, got.length);
}

/* Between two walks one change or many, so that short and long tails are put in order. */
static void test_order(void **state)
{
    (void)state;
    struct kv_changes *c = kv_changes_new();
    struct rng rng;
    rng_seed(&rng, 1);
    for (int round = 0; round < 60; round++) {
        struct mem_kv memory;
        mem_kv_init(&memory);
        struct kv_view model = mem_kv_view(&memory);
        uint64_t burst = 1 + rng_below(&rng, 40);
        for (int i = 0; i < 400; i++) {
            char bytes[16], number[16];
            struct span key = random_key(&rng, bytes);
            (void)snprintf(number, sizeof(number), "=%d\n", i);
            if (rng_below(&rng, 4) == 0) {
                kv_changes_del(c, key);
                kv_view_del(&model, key);
            } else {
                kv_changes_put(c, key, text(number));
                kv_view_put(&model, key, text(number));
            }
            if (rng_below(&rng, burst) == 0) {
                assert_walks_like(c, &model, &rng);
            }
        }
        mem_kv_deinit(&memory);
        kv_changes_clear(c);
    }
    kv_changes_free(c);
}

/* The hash grows beyond what is kept over a clear. */
static void test_many(void **state)
{
    (void)state;
    struct kv_changes *c = kv_changes_new();
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 20000; i++) {
            uint32_t key = i * 2654435761u;
            kv_changes_put(c, (struct span){&key, sizeof(key)}, (struct span){&i, sizeof(i)});
        }
        assert_int_equal(kv_changes_count(c), 20000);
        static const struct kv_range all;
        struct kv_cursor cursor;
        struct span before = {NULL, 0};
        size_t count = 0;
        for (kv_cursor_begin(&cursor, c, &all); kv_cursor_get(&cursor) != NULL;
             kv_cursor_next(&cursor)) {
            struct span key = kv_cursor_get(&cursor)->key;
            assert_true(count++ == 0 || memcmp(before.data, key.data, sizeof(uint32_t)) < 0);
            before = key;
        }
        assert_int_equal(count, 20000);
        kv_changes_clear(c);
    }
    kv_changes_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest_wins), cmocka_unit_test(test_absent_below),
        cmocka_unit_test(test_new_below),   cmocka_unit_test(test_order),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
