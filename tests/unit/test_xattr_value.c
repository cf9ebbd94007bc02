/* Values of extended attributes as they are typed and printed: what is printed is taken back, and
 * nothing that is no hexadecimal or base64 is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "client/cli/xattr_value.h"
#include "common/rng.h"

static void parses(const char *text, const char *bytes, size_t length)
{
    struct buf out = BUF_INIT;
    struct err e = ERR_INIT;
    assert_int_equal(xattr_value_parse(text, &out, &e), 0);
    assert_int_equal(out.length, length);
    assert_memory_equal(out.length ? out.data : "", bytes, length);
    buf_deinit(&out);
}

static void test_parse(void **state)
{
    static const char *const bad[] = {"0x1",        "0x1g",   "0xzz",      "0sA",
                                      "0sAB",       "0sA===", "0s====",    "0sAB=C",
                                      "0sAA==AAAA", "0sAB*D", "0sAAA=AAAA"};
    (void)state;
    parses("plain", "plain", 5);
    parses("", "", 0);
    parses("\"", "\"", 1);
    parses("\"\"", "", 0);
    parses("\"0x41\"", "0x41", 4);
    parses("0", "0", 1);
    parses("0x", "", 0);
    parses("0X4a4B00", "JK\0", 3);
    parses("0sQQ==", "A", 1);
    parses("0sQUI=", "AB", 2);
    parses("0SQUJD", "ABC", 3);
    parses("0s", "", 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct buf out = BUF_INIT;
        struct err e = ERR_INIT;
        assert_int_equal(xattr_value_parse(bad[i], &out, &e), ERR_INVALID);
        assert_true(e.msg[0] != 0);
        buf_deinit(&out);
    }
}

static void prints(const char *bytes, size_t length, enum xattr_encoding as, const char *text)
{
    struct buf out = BUF_INIT;
    xattr_value_print((struct span){bytes, length}, as, &out);
    assert_string_equal(out.data, text);
    buf_deinit(&out);
}

static void test_print(void **state)
{
    enum xattr_encoding encoding = XATTR_AS_FITS;
    (void)state;
    prints("text", 4, XATTR_AS_FITS, "\"text\"");
    prints("\xc3\xa4", 2, XATTR_AS_FITS, "\"\xc3\xa4\"");
    prints("a\nb", 3, XATTR_AS_FITS, "0sYQpi");
    prints("\xff", 1, XATTR_AS_FITS, "0s/w==");
    prints("\x7f", 1, XATTR_AS_FITS, "0sfw==");
    prints("a\nb", 3, XATTR_AS_TEXT, "\"a\nb\"");
    prints("a\nb", 3, XATTR_AS_HEX, "0x610a62");
    prints("ab", 2, XATTR_AS_BASE64, "0sYWI=");
    prints("", 0, XATTR_AS_FITS, "\"\"");
    assert_true(xattr_encoding_of("hex", &encoding));
    assert_int_equal(encoding, XATTR_AS_HEX);
    assert_false(xattr_encoding_of("", &encoding));
    assert_false(xattr_encoding_of("rot13", &encoding));
    assert_string_equal(xattr_encoding_name(XATTR_AS_BASE64), "base64");
}

static void test_round_trip(void **state)
{
    uint8_t bytes[40];
    struct rng rng;
    (void)state;
    rng_seed(&rng, 9);
    for (uint32_t i = 0; i < 2000; i++) {
        size_t length = i % (sizeof(bytes) + 1);
        struct buf text = BUF_INIT;
        struct buf back = BUF_INIT;
        rng_fill(&rng, bytes, length);
        enum xattr_encoding as = i % 3 == 0   ? XATTR_AS_FITS
                                 : i % 3 == 1 ? XATTR_AS_HEX
                                              : XATTR_AS_BASE64;
        xattr_value_print((struct span){bytes, length}, as, &text);
        assert_int_equal(xattr_value_parse(text.data, &back, NULL), 0);
        assert_int_equal(back.length, length);
        assert_memory_equal(length ? back.data : "", length ? (const char *)bytes : "", length);
        buf_deinit(&text);
        buf_deinit(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
