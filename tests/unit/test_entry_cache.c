/* fsmaster/entry_cache against a plain array: the same entries whatever is added, truncated and
 * trimmed, and runs keep their bytes when the cache lets go of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/rng.h"
#include "fsmaster/entry_cache.h"

enum { ENTRIES_MAX = 4096, DATA_MAX = 40 };

struct model {
    uint64_t terms[ENTRIES_MAX]; /* by index */
    char data[ENTRIES_MAX][DATA_MAX];
    size_t lengths[ENTRIES_MAX];
    log_index last;
};

static struct model model;

static void add(struct entry_cache *c, struct rng *rng)
{
    struct log_entry entries[5];
    char data[5][DATA_MAX]; /* dies with this frame: the cache must have copied it */
    size_t count = 1 + (size_t)rng_below(rng, 5);
    for (size_t i = 0; i < count && model.last + 1 < ENTRIES_MAX; i++) {
        log_index index = ++model.last;
        model.terms[index] = 1 + rng_below(rng, 100);
        model.lengths[index] = (size_t)rng_below(rng, DATA_MAX);
        rng_fill(rng, data[i], sizeof(data[i]));
        memcpy(model.data[index], data[i], sizeof(data[i]));
        entries[i] = (struct log_entry){
            index, model.terms[index], LOG_ENTRY_COMMAND, {data[i], model.lengths[index]}};
        if (i + 1 == count || model.last + 1 == ENTRIES_MAX) {
            entry_cache_add(c, entries, i + 1);
        }
    }
}

static void check_entry(const struct log_entry *entry, log_index index)
{
    assert_int_equal(entry->index, index);
    assert_int_equal(entry->term, model.terms[index]);
    assert_int_equal(entry->data.length, model.lengths[index]);
    assert_memory_equal(entry->data.data, model.data[index], entry->data.length);
}

static void check(const struct entry_cache *c)
{
    size_t bytes = 0;
    assert_int_equal(c->first + c->count, model.last + 1);
    for (log_index i = c->first; i <= model.last; i++) {
        check_entry(&entry_cache_find(c, i)->entry, i);
        bytes += model.lengths[i];
    }
    assert_int_equal(c->bytes, bytes);
    assert_null(entry_cache_find(c, c->first - 1));
    assert_null(entry_cache_find(c, model.last + 1));
}

static void test_against_a_model(void **state)
{
    (void)state;
    struct entry_cache c;
    struct rng rng;
    rng_seed(&rng, 1);
    entry_cache_init(&c, 1);
    for (int round = 0; round < 3000; round++) {
        switch (rng_below(&rng, 8)) {
        case 0: {
            log_index from = model.last > 10 ? model.last - rng_below(&rng, 10) : 1;
            from = MAX(from, 1U);
            entry_cache_truncate(&c, from);
            model.last = MIN(model.last, from - 1);
            break;
        }
        case 1:
            entry_cache_trim(&c, model.last > 5 ? model.last - rng_below(&rng, 5) : 0,
                             (size_t)rng_below(&rng, 400));
            break;
        default:
            if (model.last + 10 < ENTRIES_MAX) {
                add(&c, &rng);
            } else {
                entry_cache_restart(&c, 1);
                model.last = 0;
            }
            break;
        }
        check(&c);
    }
    entry_cache_deinit(&c);
}

static void test_trim_stops_at_its_index(void **state)
{
    (void)state;
    struct entry_cache c;
    struct rng rng;
    rng_seed(&rng, 2);
    model.last = 0;
    entry_cache_init(&c, 1);
    while (model.last < 100) {
        add(&c, &rng);
    }
    entry_cache_trim(&c, 30, 0);
    assert_int_equal(c.first, 31); /* what is not durable yet stays whatever it takes */
    check(&c);
    entry_cache_deinit(&c);
}

static void test_runs_keep_their_bytes(void **state)
{
    (void)state;
    struct entry_cache c;
    struct rng rng;
    rng_seed(&rng, 3);
    model.last = 0;
    entry_cache_init(&c, 1);
    while (model.last < 200) {
        add(&c, &rng);
    }
    struct entry_run all = {0};
    assert_int_equal(entry_run_take(&all, &c, 11, 50, SIZE_MAX), 50);
    assert_int_equal(entry_run_take(&all, &c, 61, 1000, SIZE_MAX), model.last - 60);
    struct entry_run few = {0};
    size_t count = entry_run_take(&few, &c, 11, 1000, 100);
    assert_true(count >= 1);
    assert_true(few.count == 1 || few.bytes <= 100);
    assert_int_equal(entry_run_take(&few, &c, model.last + 1, 10, SIZE_MAX), 0);
    entry_cache_deinit(&c);
    for (size_t i = 0; i < all.count; i++) {
        check_entry(&all.entries[i], 11 + i);
    }
    struct entry_run copy = {0};
    entry_run_copy(&copy, all.entries, all.count);
    entry_run_deinit(&all);
    for (size_t i = 0; i < copy.count; i++) {
        check_entry(&copy.entries[i], 11 + i);
    }
    entry_run_deinit(&copy);
    entry_run_deinit(&few);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_trim_stops_at_its_index),
        cmocka_unit_test(test_runs_keep_their_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
