/* Slices, data messages, packing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/rpc/rpc.h"
#include "common/rpc/rpc_bytes.h"
#include "common/rpc/rpc_status.h"
#include "proto/echo.pb-c.h"

static void note_release(void *arg)
{
    (*(int *)arg)++;
}

static void test_wrapped_memory_lives_until_the_last_reference(void **state)
{
    (void)state;
    static const char memory[] = "longer than gRPC would keep inside of a slice, so it is shared";
    int released = 0;
    struct rpc_bytes *whole = rpc_bytes_wrap(memory, sizeof(memory), note_release, &released);
    struct rpc_bytes *part = rpc_bytes_part(whole, 7, 40);
    struct rpc_bytes *again = rpc_bytes_ref(whole);
    rpc_bytes_unref(whole);
    rpc_bytes_unref(again);
    assert_int_equal(released, 0);
    struct iovec iov[2];
    assert_int_equal(rpc_bytes_iov(part, 3, iov, 2), 1);
    assert_ptr_equal(iov[0].iov_base, memory + 10);
    assert_int_equal(iov[0].iov_len, 37);
    rpc_bytes_unref(part);
    assert_int_equal(released, 1);
    rpc_bytes_unref(NULL);
}

/* The bytes cut into slices of `piece` each. */
static struct rpc_bytes *in_pieces(const void *data, size_t length, size_t piece)
{
    struct rpc_bytes *list[512] = {NULL};
    size_t count = 0;
    for (size_t at = 0; at < length; at += piece) {
        assert_true(count < ARRAY_COUNT(list));
        list[count++] = rpc_bytes_copy((const char *)data + at, MIN(piece, length - at));
    }
    struct rpc_bytes *whole = rpc_bytes_join(list, count);
    for (size_t i = 0; i < count; i++) {
        rpc_bytes_unref(list[i]);
    }
    return whole;
}

static void test_parts_across_slices(void **state)
{
    (void)state;
    char text[200];
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (char)i;
    }
    for (size_t piece = 1; piece <= sizeof(text); piece += 7) {
        struct rpc_bytes *whole = in_pieces(text, sizeof(text), piece);
        assert_int_equal(rpc_bytes_length(whole), sizeof(text));
        for (size_t offset = 0; offset <= sizeof(text); offset += 13) {
            struct rpc_bytes *part = rpc_bytes_part(whole, offset, (sizeof(text) - offset) / 2);
            char out[200];
            rpc_bytes_read(part, 0, out, rpc_bytes_length(part));
            assert_memory_equal(out, text + offset, rpc_bytes_length(part));
            struct iovec iov[200];
            int count = rpc_bytes_iov(part, 0, iov, 200);
            size_t total = 0;
            for (int i = 0; i < count; i++) {
                assert_memory_equal(iov[i].iov_base, text + offset + total, iov[i].iov_len);
                total += iov[i].iov_len;
            }
            assert_int_equal(total, rpc_bytes_length(part));
            rpc_bytes_unref(part);
        }
        rpc_bytes_unref(whole);
    }
}

static struct buf pack_message(const Trireme__V1__EchoMessage *message)
{
    struct buf packed = BUF_INIT;
    size_t length = trireme__v1__echo_message__get_packed_size(message);
    buf_append_fill(&packed, 0, length);
    trireme__v1__echo_message__pack(message, (uint8_t *)packed.data);
    return packed;
}

static void test_data_message_in_any_slicing(void **state)
{
    (void)state;
    char error_name[100];
    uint8_t data[300];
    memset(error_name, 'n', sizeof(error_name) - 1);
    error_name[sizeof(error_name) - 1] = '\0';
    memset(data, 'd', sizeof(data));
    Trireme__V1__EchoHeader header = TRIREME__V1__ECHO_HEADER__INIT;
    header.sequence = 1234567;
    header.error_name = error_name;
    Trireme__V1__EchoMessage message = TRIREME__V1__ECHO_MESSAGE__INIT;
    message.header = &header;
    message.data = (ProtobufCBinaryData){sizeof(data), data};
    struct buf packed = pack_message(&message);
    for (size_t piece = 1; piece <= packed.length; piece++) {
        struct rpc_bytes *bytes = in_pieces(packed.data, packed.length, piece);
        struct rpc_data_message parsed;
        assert_int_equal(rpc_data_message_parse(bytes, &parsed), 0);
        assert_int_equal(rpc_bytes_length(parsed.data), sizeof(data));
        uint8_t out[sizeof(data)];
        rpc_bytes_read(parsed.data, 0, out, sizeof(out));
        assert_memory_equal(out, data, sizeof(data));
        struct arena arena = ARENA_INIT;
        ProtobufCMessage *unpacked;
        assert_int_equal(
            rpc_unpack(&trireme__v1__echo_header__descriptor, parsed.header, &arena, &unpacked), 0);
        assert_int_equal(((Trireme__V1__EchoHeader *)unpacked)->sequence, 1234567);
        assert_string_equal(((Trireme__V1__EchoHeader *)unpacked)->error_name, error_name);
        arena_deinit(&arena);
        rpc_data_message_deinit(&parsed);
        rpc_data_message_deinit(&parsed);
        rpc_bytes_unref(bytes);
    }
    buf_deinit(&packed);
}

static int parse(const void *data, size_t length, size_t *ret_header, size_t *ret_data)
{
    struct rpc_bytes *bytes = rpc_bytes_copy(data, length);
    struct rpc_data_message parsed;
    int r = rpc_data_message_parse(bytes, &parsed);
    if (r == 0) {
        *ret_header = parsed.header.length;
        *ret_data = rpc_bytes_length(parsed.data);
        rpc_data_message_deinit(&parsed);
    }
    rpc_bytes_unref(bytes);
    return r;
}

#define PARSE(literal) parse(literal, sizeof(literal) - 1, &header, &data)

static void test_data_message_edges(void **state)
{
    (void)state;
    size_t header = 0, data = 0;
    assert_int_equal(PARSE(""), 0);
    assert_int_equal(header + data, 0);
    assert_int_equal(PARSE("\x0a\x02hi\x12\x03xyz"), 0);
    assert_int_equal(header * 10 + data, 23);
    /* The last of several wins; unknown fields of all types are skipped. */
    assert_int_equal(PARSE("\x12\x03xyz\x0a\x02hi\x12\x01x\x0a\x01h"), 0);
    assert_int_equal(header * 10 + data, 11);
    assert_int_equal(PARSE("\x18\x96\x01\x21zzzzzzzz\x2a\x01z\x35zzzz\x12\x01x"), 0);
    assert_int_equal(data, 1);
    /* Broken: short, groups, field 0, field 1 as a number, endless varints. */
    assert_int_equal(PARSE("\x0a"), ERR_CORRUPT);
    assert_int_equal(PARSE("\x0a\x02h"), ERR_CORRUPT);
    assert_int_equal(PARSE("\x0b\x0c"), ERR_CORRUPT);
    assert_int_equal(PARSE("\x02\x01x"), ERR_CORRUPT);
    assert_int_equal(PARSE("\x08\x01"), ERR_CORRUPT);
    assert_int_equal(PARSE("\x25zzz"), ERR_CORRUPT);
    assert_int_equal(PARSE("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ERR_CORRUPT);
    assert_int_equal(PARSE("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ERR_CORRUPT);
    struct buf large = BUF_INIT;
    buf_append_byte(&large, 0x0a);
    buf_append_varint(&large, RPC_DATA_HEADER_BYTES_MAX + 1);
    buf_append_fill(&large, 0, RPC_DATA_HEADER_BYTES_MAX + 1);
    assert_int_equal(parse(large.data, large.length, &header, &data), ERR_TOO_LARGE);
    buf_deinit(&large);
}

static void test_unpacking_is_bounded(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    ProtobufCMessage *message;
    struct span bad = {"\x0a\x05zz", 4};
    assert_int_equal(rpc_unpack(&trireme__v1__echo_request__descriptor, bad, &arena, &message),
                     ERR_CORRUPT);
    /* Two bytes on the wire make a message of many more in memory. */
    struct buf bomb = BUF_INIT;
    for (int i = 0; i < 2 * 1024 * 1024; i++) {
        buf_append(&bomb, "\x0a\x00", 2);
    }
    struct span packed = {bomb.data, bomb.length};
    assert_int_equal(rpc_unpack(&trireme__v1__echo_headers__descriptor, packed, &arena, &message),
                     ERR_TOO_LARGE);
    assert_true(arena.bytes_used <= RPC_UNPACK_BYTES_MAX + 1024 * 1024);
    assert_int_equal(arena.bytes_max, 0);
    buf_deinit(&bomb);
    arena_deinit(&arena);
}

static void test_status_parts(void **state)
{
    (void)state;
    struct rpc_result result;
    struct rpc_status_parts parts = {.status = 0, .name = {"ERR_BUSY", 8}};
    rpc_status_parse(&parts, &result); /* OK is OK, whatever else is said */
    assert_int_equal(result.code, 0);
    parts.status = 8;
    parts.position = (struct span){"18446744073709551615", 20};
    rpc_status_parse(&parts, &result);
    assert_int_equal(result.code, ERR_BUSY);
    assert_true(result.position == UINT64_MAX);
    const char *no_position[] = {"", "-1", "12x", "18446744073709551616",
                                 "000000000000000000000000007"};
    for (size_t i = 0; i < ARRAY_COUNT(no_position); i++) {
        parts.position = (struct span){no_position[i], strlen(no_position[i])};
        rpc_status_parse(&parts, &result);
        assert_int_equal(result.position, 0);
    }
    assert_string_equal(result.text, err_text(ERR_BUSY));
    const char *odd[] = {"OK",
                         "ERR_",
                         "ERR_FROM_THE_FUTURE",
                         "err_busy",
                         "ERR_BUSY ",
                         "ERR_A_NAME_THAT_IS_LONGER_THAN_ANY_NAME_THAT_WE_SHALL_EVER_HAVE_IN_HERE"};
    for (size_t i = 0; i < ARRAY_COUNT(odd); i++) {
        parts.name = (struct span){odd[i], strlen(odd[i])};
        rpc_status_parse(&parts, &result);
        assert_int_equal(result.code, ERR_UNKNOWN);
        assert_false(result.definite);
    }
    parts.name = (struct span){"", 0};
    parts.status = 4;
    rpc_status_parse(&parts, &result);
    assert_int_equal(result.code, ERR_UNKNOWN);
    assert_int_equal(result.cause, ERR_TIMEOUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrapped_memory_lives_until_the_last_reference),
        cmocka_unit_test(test_parts_across_slices),
        cmocka_unit_test(test_data_message_in_any_slicing),
        cmocka_unit_test(test_data_message_edges),
        cmocka_unit_test(test_unpacking_is_bounded),
        cmocka_unit_test(test_status_parts),
    };
    rpc_init();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rpc_exit();
    return failed;
}
