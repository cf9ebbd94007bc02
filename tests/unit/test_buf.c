#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/macros.h"

static void empty_is_a_string_without_memory(void **state)
{
    struct buf b = BUF_INIT;
    (void)state;
    assert_string_equal(b.data, "");
    buf_append(&b, NULL, 0);
    buf_clear(&b);
    assert_int_equal(b.capacity, 0);
    buf_deinit(&b);
    buf_deinit(&b);
    buf_deinit(NULL);
    struct buf zeroed = {0};
    buf_deinit(&zeroed);
    assert_string_equal(zeroed.data, "");
}

static void appends_stay_terminated(void **state)
{
    struct buf b = BUF_INIT;
    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        buf_append_byte(&b, (uint8_t)('a' + i % 26));
        assert_int_equal(b.data[b.length], 0);
        assert_true(b.capacity > b.length);
    }
    assert_int_equal(strlen(b.data), 1000);
    buf_append_fill(&b, 'z', 3);
    buf_append_str(&b, "end");
    assert_string_equal(b.data + 1000, "zzzend");
    buf_clear(&b);
    assert_string_equal(b.data, "");
    buf_deinit(&b);
}

/* Every length of text against every room that is left. */
static void printf_fits_and_grows(void **state)
{
    (void)state;
    for (int length = 0; length < 200; length++) {
        struct buf b = BUF_INIT;
        buf_append_str(&b, "start");
        buf_printf(&b, "%*d", length, 7);
        assert_int_equal(b.length, 5 + (length > 1 ? length : 1));
        assert_int_equal(strlen(b.data), b.length);
        assert_int_equal(b.data[b.length - 1], '7');
        buf_deinit(&b);
    }
}

static void absurd_reservations_are_refused(void **state)
{
    struct buf b = BUF_INIT;
    (void)state;
    buf_append_str(&b, "kept");
    assert_int_equal(buf_try_reserve(&b, SIZE_MAX), ERR_TOO_LARGE);
    assert_int_equal(buf_try_reserve(&b, SIZE_MAX / 2), ERR_TOO_LARGE);
    assert_int_equal(buf_try_reserve(&b, 100), 0);
    assert_string_equal(b.data, "kept");
    buf_deinit(&b);
}

static void detached_bytes_are_the_callers(void **state)
{
    struct buf b = BUF_INIT;
    size_t length = 9;
    (void)state;
    char *nothing = buf_detach(&b, &length);
    assert_string_equal(nothing, "");
    assert_int_equal(length, 0);
    buf_append_str(&b, "mine");
    char *mine = buf_detach(&b, NULL);
    assert_string_equal(mine, "mine");
    assert_string_equal(b.data, "");
    free(nothing);
    free(mine);
}

static void integers_round_trip(void **state)
{
    struct buf b = BUF_INIT;
    (void)state;
    buf_append_u16le(&b, 0x1234);
    buf_append_u32le(&b, 0x12345678);
    buf_append_u64le(&b, 0x123456789abcdef0);
    buf_append_u32be(&b, 0x12345678);
    buf_append_u64be(&b, 0x123456789abcdef0);
    buf_append_byte(&b, 7);
    assert_memory_equal(b.data, "\x34\x12\x78\x56\x34\x12\xf0\xde", 8);
    assert_memory_equal(b.data + 14, "\x12\x34\x56\x78", 4);
    struct cursor c = cursor_of(b.data, b.length);
    assert_int_equal(cursor_u16le(&c), 0x1234);
    assert_int_equal(cursor_u32le(&c), 0x12345678);
    assert_int_equal(cursor_u64le(&c), 0x123456789abcdef0);
    assert_int_equal(cursor_u32be(&c), 0x12345678);
    assert_int_equal(cursor_u64be(&c), 0x123456789abcdef0);
    assert_int_equal(cursor_u8(&c), 7);
    assert_int_equal(cursor_finish(&c), 0);
    buf_deinit(&b);
}

static void varints_round_trip(void **state)
{
    static const uint64_t values[] = {
        0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        struct buf b = BUF_INIT;
        buf_append_varint(&b, values[i]);
        assert_true(b.length <= 10);
        struct cursor c = cursor_of(b.data, b.length);
        assert_true(cursor_varint(&c) == values[i]);
        assert_int_equal(cursor_finish(&c), 0);
        struct cursor cut = cursor_of(b.data, b.length - 1);
        assert_int_equal(cursor_varint(&cut), 0);
        assert_int_equal(cursor_finish(&cut), ERR_CORRUPT);
        buf_deinit(&b);
    }
}

static void bad_varints_are_refused(void **state)
{
    static const struct span bad[] = {
        {"\x80\x00", 2},                                  /* padded */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10}, /* 65 bits */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct cursor c = cursor_of(bad[i].data, bad[i].length);
        assert_int_equal(cursor_varint(&c), 0);
        assert_true(c.failed);
    }
}

static void a_failed_cursor_gives_nothing_more(void **state)
{
    struct cursor c = cursor_of("abc", 3);
    (void)state;
    assert_int_equal(cursor_u32le(&c), 0);
    assert_true(c.failed);
    assert_int_equal(cursor_u8(&c), 0);
    struct span bytes = cursor_bytes(&c, 1);
    assert_int_equal(bytes.length, 0);
    assert_non_null(bytes.data);
    assert_int_equal(cursor_finish(&c), ERR_CORRUPT);
}

static void leftover_bytes_are_corruption(void **state)
{
    struct cursor c = cursor_of("abc", 3);
    (void)state;
    struct span bytes = cursor_bytes(&c, 2);
    assert_memory_equal(bytes.data, "ab", 2);
    assert_int_equal(cursor_finish(&c), ERR_CORRUPT);
    struct cursor none = cursor_of(NULL, 0);
    assert_int_equal(cursor_bytes(&none, 0).length, 0);
    assert_int_equal(cursor_finish(&none), 0);
}

static void json_strings_are_json(void **state)
{
    struct buf b = BUF_INIT;
    (void)state;
    buf_append_json(&b, "a \"b\" c:\\d\n\x7f \xc3\xa4");
    buf_append_json(&b, "");
    buf_append_json(&b, "\xc3(\xff");
    assert_string_equal(b.data, "\"a \\\"b\\\" c:\\\\d\\u000a\x7f \xc3\xa4\"\"\"\"?(?\"");
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_is_a_string_without_memory),
        cmocka_unit_test(appends_stay_terminated),
        cmocka_unit_test(printf_fits_and_grows),
        cmocka_unit_test(json_strings_are_json),
        cmocka_unit_test(absurd_reservations_are_refused),
        cmocka_unit_test(detached_bytes_are_the_callers),
        cmocka_unit_test(integers_round_trip),
        cmocka_unit_test(varints_round_trip),
        cmocka_unit_test(bad_varints_are_refused),
        cmocka_unit_test(a_failed_cursor_gives_nothing_more),
        cmocka_unit_test(leftover_bytes_are_corruption),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
