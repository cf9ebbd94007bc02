/* Parts of keys: their options, and that the bytes of coded keys compare as the parts do. What is
 * compared with is written out here once more, plainly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/hash.h"
#include "common/macros.h"
#include "common/rng.h"
#include "mapreduce/engine/keyfields.h"
#include "mapreduce/engine/record.h"

static struct keyfields parse(const char *options)
{
    struct keyfields k = {.separator = "."};
    struct err e = ERR_INIT;
    assert_int_equal(keyfields_parse(&k, options, &e), 0);
    return k;
}

static void expect_item(const struct keyfields *k, uint32_t at, struct keyfield f)
{
    assert_true(at < k->count);
    assert_int_equal(k->items[at].first_field, f.first_field);
    assert_int_equal(k->items[at].first_byte, f.first_byte);
    assert_int_equal(k->items[at].last_field, f.last_field);
    assert_int_equal(k->items[at].last_byte, f.last_byte);
    assert_int_equal(k->items[at].numeric, f.numeric);
    assert_int_equal(k->items[at].reverse, f.reverse);
}

static void options_are_those_of_sort(void **state)
{
    (void)state;
    struct keyfields k = parse("-k1,2");
    assert_int_equal(k.count, 1);
    expect_item(&k, 0, (struct keyfield){1, 1, 2, 0, false, false});
    k = parse("-k2,2nr  -k 1.3,4.5 3 -k7r");
    assert_int_equal(k.count, 4);
    expect_item(&k, 0, (struct keyfield){2, 1, 2, 0, true, true});
    expect_item(&k, 1, (struct keyfield){1, 3, 4, 5, false, false});
    expect_item(&k, 2, (struct keyfield){3, 1, 0, 0, false, false});
    expect_item(&k, 3, (struct keyfield){7, 1, 0, 0, false, true});
    k = parse("-n -k1,1 -k2,2r -r"); /* for those without their own */
    expect_item(&k, 0, (struct keyfield){1, 1, 1, 0, true, true});
    expect_item(&k, 1, (struct keyfield){2, 1, 2, 0, false, true});
    k = parse("-nr");
    assert_int_equal(k.count, 1);
    expect_item(&k, 0, (struct keyfield){1, 1, 0, 0, true, true});
    k = parse("");
    expect_item(&k, 0, (struct keyfield){1, 1, 0, 0, false, false});
    k = parse("2nr,2");
    expect_item(&k, 0, (struct keyfield){2, 1, 2, 0, true, true});
}

static void bad_options_are_named(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "-k",     "-k0",     "-k1,0", "-k1.0", "-kx", "-u",    "-k1,2x", "-k1,2b", "-k99999999999",
        "-k1,,2", "-k1.2.3", "1,2,3", "-nx",   "--",  "-k1 -f"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct keyfields k = {.separator = ".", .count = 77};
        struct err e = ERR_INIT;
        assert_int_equal(keyfields_parse(&k, bad[i], &e), ERR_INVALID);
        assert_non_null(strstr(err_message(&e), "is not -kF"));
        assert_int_equal(k.count, 77);
    }
    struct keyfields k = {.separator = "."};
    struct err e = ERR_INIT;
    assert_int_equal(keyfields_parse(&k, "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", &e), ERR_INVALID);
    assert_string_equal(err_message(&e), "more than 16 parts of a key");
}

/* -1, 0, 1 of coded keys; both become plain again. */
static int order(const struct keyfields *k, struct mr_span a, struct mr_span b)
{
    struct err e = ERR_INIT;
    struct buf x = BUF_INIT, y = BUF_INIT;
    struct mr_span plain;
    keyfields_code(k, a, &x);
    keyfields_code(k, b, &y);
    assert_int_equal(keyfields_plain(k, mr_bytes(x.data, x.length), &plain, &e), 0);
    assert_true(mr_equal(plain, a));
    assert_int_equal(keyfields_plain(k, mr_bytes(y.data, y.length), &plain, &e), 0);
    assert_true(mr_equal(plain, b));
    int c = key_compare(mr_bytes(x.data, x.length), mr_bytes(y.data, y.length));
    buf_deinit(&x);
    buf_deinit(&y);
    return (c > 0) - (c < 0);
}

static void ascending(const char *options, const char *const *keys, size_t count)
{
    struct keyfields k = parse(options);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            int wanted = (i > j) - (i < j);
            int got = order(&k, mr_string(keys[i]), mr_string(keys[j]));
            if (got != wanted) {
                fail_msg("%s: '%s' and '%s' compare as %d", options, keys[i], keys[j], got);
            }
        }
    }
}

#define ASCENDING(options, ...)                                                                    \
    ascending(options, (const char *const[]){__VA_ARGS__},                                         \
              ARRAY_COUNT(((const char *const[]){__VA_ARGS__})))

static void coded_keys_compare_as_their_parts(void **state)
{
    (void)state;
    ASCENDING("-k1,1", "", ".z", "a.z", "a.zz", "aa.a", "b.a");
    ASCENDING("-k1,1r", "b.a", "aa.a", "a.z", "a.zz", "", ".z");
    ASCENDING("-k2,2", "zzz", "x.a", "y.a", "x.aa.0", "a.b");
    ASCENDING("-k2", "zzz", "x.a", "x.a.b", "a.aa", "a.b");
    ASCENDING("-k2,2n", "b.-10", "a.-9,5", "a.-1", "a", "b.0", "c.x", "d.0,9", "a.1", "a.1x",
              "z.001", "a. 2", "a.9", "a.10", "a.100000000000000000000000000000",
              "a.1000000000000000000000000000001");
    ASCENDING("-k2,2nr", "a.100", "b.99", "a.1", "a.x", "b.0", "a.-1", "a.-2");
    ASCENDING("-k1,1 -k2,2nr", "a.10", "a.9", "a.-1", "b.11", "b.2");
    ASCENDING("-k1.2,1.3", "xaa.9", "zaaz.1", "xab.0", "xb");
    struct keyfields k = {.separator = "::"};
    struct err e = ERR_INIT;
    assert_int_equal(keyfields_parse(&k, "-k1n", &e), 0);
    assert_int_equal(order(&k, mr_string("-0.5::b"), mr_string("-.25::a")), -1);
    assert_int_equal(order(&k, mr_string("0.5::b"), mr_string("0.50::a")), 1); /* whole keys */
    assert_int_equal(order(&k, mr_string("1.25"), mr_string("1.3")), -1);
    assert_int_equal(order(&k, mr_string("-0"), mr_string("0")), -1); /* equal, then bytes */
}

/* Digits up to 1,000 of them: lengths take more than a byte. */
static void long_numbers(void **state)
{
    (void)state;
    struct keyfields k = parse("-n");
    static char digits[1001];
    memset(digits, '7', 1000);
    for (size_t a = 250; a < 270; a++) {
        for (size_t b = 250; b < 1000; b += b < 270 ? 1 : 123) {
            int wanted = (a > b) - (a < b);
            assert_int_equal(order(&k, mr_bytes(digits, a), mr_bytes(digits, b)), wanted);
        }
    }
}

static struct mr_span random_key(struct rng *rng, char *space)
{
    static const char bytes[] = {'.', '.', 'a', 'b', '1', '0', '-', '\0', '\xff', ' ', '9', '.'};
    size_t length = rng_below(rng, 10);
    for (size_t i = 0; i < length; i++) {
        space[i] = bytes[rng_below(rng, sizeof(bytes))];
    }
    return mr_bytes(space, length);
}

/* Of any bytes: one order and its reverse are each other's mirror where parts differ, and equal
 * keys are equal. */
static void keys_of_any_bytes(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"-k1,1", "-k1,1r"}, {"-k2n", "-k2nr"}, {"-k2,3 -k1,1n", "-k2,3r -k1,1nr"}};
    struct rng rng;
    rng_seed(&rng, 5);
    for (int i = 0; i < 20000; i++) {
        char x[16], y[16];
        struct mr_span a = random_key(&rng, x), b = random_key(&rng, y);
        const char *const *pair = pairs[i % 3];
        struct keyfields k = parse(pair[0]), reverse = parse(pair[1]);
        int forth = order(&k, a, b), back = order(&reverse, a, b);
        assert_int_equal(order(&k, b, a), -forth);
        assert_int_equal(forth == 0, mr_equal(a, b));
        if (forth == back && forth != 0) { /* the parts are equal, whole keys decide */
            int whole = key_compare(a, b);
            assert_int_equal(forth, (whole > 0) - (whole < 0));
        }
    }
}

static void what_is_not_coded_is_refused(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct mr_span plain;
    struct keyfields k = parse("-k1,1 -k2,2nr");
    struct buf coded = BUF_INIT;
    keyfields_code(&k, mr_string("key.12345"), &coded);
    size_t sort_key = coded.length - strlen("key.12345");
    for (size_t length = 0; length < sort_key; length++) {
        assert_int_equal(keyfields_plain(&k, mr_bytes(coded.data, length), &plain, &e),
                         ERR_CORRUPT);
    }
    assert_int_equal(keyfields_plain(&k, mr_bytes(coded.data, sort_key), &plain, &e), 0);
    assert_int_equal(plain.length, 0);
    buf_deinit(&coded);
}

static void equal_parts_hash_alike(void **state)
{
    (void)state;
    struct keyfields k = parse("-k1,2");
    assert_int_equal(keyfields_hash(&k, mr_string("a.b.1")),
                     keyfields_hash(&k, mr_string("a.b.2")));
    assert_int_not_equal(keyfields_hash(&k, mr_string("a.b.1")),
                         keyfields_hash(&k, mr_string("a.c.1")));
    k = parse("-k2,2 -k1,1");
    assert_int_equal(keyfields_hash(&k, mr_string("a.b.1")), keyfields_hash(&k, mr_string("a.b")));
    k = parse(""); /* the whole key: as by hash */
    assert_int_equal(keyfields_hash(&k, mr_string("a.b.1")), hash_bytes("a.b.1", 5, 0));
    k = parse("-k1,1"); /* in the formats: never another */
    assert_int_equal(keyfields_hash(&k, mr_string("abc.d")), hash_bytes("abc", 3, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_those_of_sort),
        cmocka_unit_test(bad_options_are_named),
        cmocka_unit_test(coded_keys_compare_as_their_parts),
        cmocka_unit_test(long_numbers),
        cmocka_unit_test(keys_of_any_bytes),
        cmocka_unit_test(what_is_not_coded_is_refused),
        cmocka_unit_test(equal_parts_hash_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
