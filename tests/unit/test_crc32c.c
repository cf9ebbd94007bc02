#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/crc32c.h"
#include "common/rng.h"

/* RFC 3720 B.4, and the check value of every catalogue. */
static void known_answers(void **state)
{
    unsigned char block[32];
    (void)state;
    assert_int_equal(crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(crc32c("", 0), 0);
    assert_int_equal(crc32c(NULL, 0), 0);
    memset(block, 0, sizeof(block));
    assert_int_equal(crc32c(block, 32), 0x8a9136aa);
    memset(block, 0xff, sizeof(block));
    assert_int_equal(crc32c(block, 32), 0x62a8ab43);
    for (unsigned char i = 0; i < 32; i++) {
        block[i] = i;
    }
    assert_int_equal(crc32c(block, 32), 0x46dd794e);
    for (unsigned char i = 0; i < 32; i++) {
        block[i] = 31 - i;
    }
    assert_int_equal(crc32c(block, 32), 0x113fdb5c);
}

/* One bit at a time, as the standard defines it. */
static uint32_t slow_crc32c(const unsigned char *data, size_t length)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < length; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
        }
    }
    return ~crc;
}

static void extends_and_combines_anywhere(void **state)
{
    unsigned char data[700];
    struct rng r;
    (void)state;
    rng_seed(&r, 3);
    rng_fill(&r, data, sizeof(data));
    for (size_t length = 0; length <= sizeof(data); length += 7) {
        uint32_t whole = slow_crc32c(data, length);
        assert_int_equal(crc32c(data, length), whole);
        size_t cut = rng_below(&r, length + 1);
        uint32_t head = crc32c(data, cut);
        uint32_t tail = crc32c(data + cut, length - cut);
        assert_int_equal(crc32c_extend(head, data + cut, length - cut), whole);
        assert_int_equal(crc32c_combine(head, tail, length - cut), whole);
    }
}

static void combines_over_long_tails(void **state)
{
    enum { LENGTH = 5 << 20 };
    char *zeros = xcalloc(1, LENGTH);
    uint32_t head = crc32c("head", 4);
    uint32_t tail = crc32c(zeros, LENGTH);
    (void)state;
    assert_int_equal(crc32c_combine(head, tail, LENGTH), crc32c_extend(head, zeros, LENGTH));
    /* Associative also where no memory would reach: (a b) c == a (b c). */
    uint64_t far = UINT64_C(1) << 50;
    uint32_t left = crc32c_combine(crc32c_combine(head, 0x1234, far), 0x5678, far + 3);
    uint32_t right = crc32c_combine(head, crc32c_combine(0x1234, 0x5678, far + 3), 2 * far + 3);
    assert_int_equal(left, right);
    free(zeros);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(extends_and_combines_anywhere),
        cmocka_unit_test(combines_over_long_tails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
