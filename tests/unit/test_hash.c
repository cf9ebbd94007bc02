#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/hash.h"
#include "common/macros.h"

/* These values are part of the formats: they say which reduce task gets a key. Never change them.
 */
static void known_answers(void **state)
{
    static const struct {
        const char *key;
        uint64_t hash;
    } known[] = {
        {"", 0x3f2edc6618c66414},
        {"a", 0xbd24d9e4abc3b876},
        {"the", 0x4f5a90b02d996c06},
        {"12345678", 0x70d9e2d10fcf0fd9},
        {"123456789", 0x27e94efe8ea1b22e},
        {"the quick brown fox jumps over the lazy dog", 0x53a0430650bc4403},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        assert_int_equal(hash_bytes(known[i].key, strlen(known[i].key), 0), known[i].hash);
    }
}

static void each_bit_matters(void **state)
{
    char key[40] = {0};
    (void)state;
    for (size_t length = 1; length <= sizeof(key); length++) {
        uint64_t before = hash_bytes(key, length, 0);
        for (size_t bit = 0; bit < 8 * length; bit++) {
            key[bit / 8] ^= (char)(1 << bit % 8);
            uint64_t changed = before ^ hash_bytes(key, length, 0);
            key[bit / 8] ^= (char)(1 << bit % 8);
            int flips = __builtin_popcountll(changed);
            assert_in_range(flips, 10, 54);
        }
        assert_true(before != hash_bytes(key, length, 1));
        assert_true(before != hash_bytes(key, length - 1, 0));
    }
}

/* Ten thousand words over 64 partitions: each near its share of 156. */
static void partitions_are_even(void **state)
{
    unsigned counts[64] = {0};
    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        char key[8] = {'w', (char)('0' + i / 1000), (char)('0' + i / 100 % 10),
                       (char)('0' + i / 10 % 10), (char)('0' + i % 10)};
        counts[hash_bytes(key, 5, 0) % 64]++;
    }
    for (size_t i = 0; i < 64; i++) {
        assert_in_range(counts[i], 100, 220);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(each_bit_matters),
        cmocka_unit_test(partitions_are_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
