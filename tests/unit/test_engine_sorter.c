/* The radix sorter against a plain stable sort, over key sets that reach each of its paths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/rng.h"
#include "mapreduce/engine/recbuf.h"
#include "mapreduce/engine/record.h"

static const uint8_t *base; /* of the records, for compare() */

static int compare(const void *a, const void *b)
{
    const struct sort_entry *x = a;
    const struct sort_entry *y = b;
    struct mr_record p;
    struct mr_record q;
    (void)record_get(base + x->offset, &p);
    (void)record_get(base + y->offset, &q);
    if (x->partition != y->partition) {
        return x->partition < y->partition ? -1 : 1;
    }
    int order = key_compare(p.key, q.key);
    return order ? order : (x->offset > y->offset) - (x->offset < y->offset);
}

/* Makes one key of a kind. */
typedef size_t (*make_key_fn)(struct rng *rng, uint8_t key[300]);

static size_t random_key(struct rng *rng, uint8_t key[300])
{
    rng_fill(rng, key, 10);
    return 10;
}

static size_t short_key(struct rng *rng, uint8_t key[300])
{
    size_t length = rng_below(rng, 12);
    for (size_t i = 0; i < length; i++) {
        key[i] = (uint8_t)rng_below(rng, 3); /* NULs at the end are not padding */
    }
    return length;
}

static size_t common_prefix(struct rng *rng, uint8_t key[300])
{
    memset(key, 'p', 40);
    memset(key + 40, (int)rng_below(rng, 3), 30);
    rng_fill(rng, key + 70, 4);
    return 70 + rng_below(rng, 5);
}

static size_t long_common_prefix(struct rng *rng, uint8_t key[300])
{
    memset(key, 'q', 280);
    key[280] = (uint8_t)rng_below(rng, 5);
    key[281] = (uint8_t)rng_below(rng, 5);
    return 270 + rng_below(rng, 13);
}

static size_t few_keys(struct rng *rng, uint8_t key[300])
{
    memset(key, 'a' + (int)rng_below(rng, 4), 20);
    return 20;
}

static size_t one_key(struct rng *rng, uint8_t key[300])
{
    (void)rng;
    memset(key, 'z', 9);
    return 9;
}

static void check(make_key_fn make, size_t count, uint32_t partitions)
{
    struct rng rng;
    struct recbuf b;
    rng_seed(&rng, count);
    recbuf_init(&b, 64 << 20, partitions);
    for (size_t i = 0; i < count; i++) {
        uint8_t key[300];
        size_t length = make(&rng, key);
        uint32_t partition = (uint32_t)rng_below(&rng, partitions);
        assert_true(recbuf_add(&b, partition, mr_bytes(key, length), mr_bytes(&i, sizeof(i))));
    }
    struct sort_entry *expected = xreallocarray(NULL, count + 1, sizeof(*expected));
    memcpy(expected, b.entries, count * sizeof(*expected));
    base = b.region.data;
    qsort(expected, count, sizeof(*expected), compare);
    recbuf_sort(&b);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(b.sorted[i].offset, expected[i].offset);
    }
    for (uint32_t p = 0; p < partitions; p++) {
        for (uint32_t i = b.starts[p]; i < b.starts[p + 1]; i++) {
            assert_int_equal(b.sorted[i].partition, p);
        }
    }
    free(expected);
    recbuf_deinit(&b);
}

static void test_all_kinds(void **state)
{
    (void)state;
    static const make_key_fn kinds[] = {random_key,         short_key, common_prefix,
                                        long_common_prefix, few_keys,  one_key};
    static const size_t counts[] = {0, 1, 2, 23, 24, 25, 100, 1000, 20000};
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (size_t n = 0; n < sizeof(counts) / sizeof(counts[0]); n++) {
            check(kinds[k], counts[n], 1);
            check(kinds[k], counts[n], 7);
        }
    }
}

static void test_budget(void **state)
{
    (void)state;
    struct recbuf b;
    char value[1000] = {0};
    recbuf_init(&b, 64 * 1024, 3);
    size_t count = 0;
    while (recbuf_add(&b, 0, mr_string("k"), mr_bytes(value, sizeof(value)))) {
        count++;
    }
    assert_in_range(count, 60, 64);
    recbuf_sort(&b);
    recbuf_clear(&b);
    assert_true(recbuf_add(&b, 2, mr_string("k"), mr_bytes(value, sizeof(value))));
    recbuf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_kinds),
        cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
