/* Records of the chunk index: round trips, and bytes that must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "chunkserver/chunk_record.h"
#include "common/macros.h"

static struct span span_of(const struct buf *b)
{
    return (struct span){b->data, b->length};
}

static const struct chunk_record sample = {
    .ref = {77, 3},
    .state = CHUNK_FENCED,
    .damaged = true,
    .clean = true,
    .length = 100000,
    .durable = 70000,
    .durable_crc = 0xdeadbeef,
    .acked = 90000,
    .granted_start = 5,
    .chunk_bytes = 64 << 20,
};

static void test_record_round_trip(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct chunk_record back;
    chunk_record_encode(&sample, &b);
    assert_int_equal(chunk_record_decode(77, span_of(&b), &back), 0);
    assert_memory_equal(&back.ref, &sample.ref, sizeof(back.ref));
    assert_int_equal(back.state, CHUNK_FENCED);
    assert_false(back.inlined);
    assert_true(back.damaged);
    assert_true(back.clean);
    assert_int_equal(back.length, sample.length);
    assert_int_equal(back.durable, sample.durable);
    assert_int_equal(back.durable_crc, sample.durable_crc);
    assert_int_equal(back.acked, sample.acked);
    assert_int_equal(back.granted_start, sample.granted_start);
    assert_int_equal(back.chunk_bytes, sample.chunk_bytes);
    for (size_t cut = 0; cut < b.length; cut++) {
        struct span part = {b.data, cut};
        assert_int_equal(chunk_record_decode(77, part, &back), ERR_CORRUPT);
    }
    buf_append_byte(&b, 0);
    assert_int_equal(chunk_record_decode(77, span_of(&b), &back), ERR_CORRUPT);
    b.data[0] = 2;
    assert_int_equal(chunk_record_decode(77, span_of(&b), &back), ERR_VERSION);
    buf_deinit(&b);
}

static void expect_unsound(struct chunk_record record)
{
    struct buf b = BUF_INIT;
    struct chunk_record back;
    chunk_record_encode(&record, &b);
    assert_int_equal(chunk_record_decode(1, span_of(&b), &back), ERR_CORRUPT);
    buf_deinit(&b);
}

static void test_unsound_records_are_refused(void **state)
{
    (void)state;
    struct chunk_record r = sample;
    r.state = (enum chunk_state)4;
    expect_unsound(r);
    r = sample;
    r.length = r.chunk_bytes + 1;
    expect_unsound(r);
    r = sample;
    r.durable = r.length + 1;
    expect_unsound(r);
    r = sample;
    r.acked = r.length + 1;
    expect_unsound(r);
    r = sample;
    r.chunk_bytes = (uint64_t)CHUNK_BYTES_MAX + 1;
    expect_unsound(r);
    r = sample;
    r.inlined = true; /* 100,000 bytes never are */
    expect_unsound(r);
    r = sample;
    r.ref.version = 0;
    expect_unsound(r);
}

static void test_segments_and_inline_data(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct crc_segment segment = {.length = 12345678, .count = 3, .values = {7, 8, 9}};
    struct crc_segment back;
    crc_segment_encode(&segment, &b);
    assert_int_equal(crc_segment_decode(span_of(&b), &back), 0);
    assert_int_equal(back.length, segment.length);
    assert_int_equal(back.count, 3);
    assert_int_equal(back.values[2], 9);
    buf_append_byte(&b, 1); /* not a whole value */
    assert_int_equal(crc_segment_decode(span_of(&b), &back), ERR_CORRUPT);
    buf_append_fill(&b, 0, (size_t)4 * CRC_SEGMENT_BLOCKS - 1); /* too many */
    assert_int_equal(crc_segment_decode(span_of(&b), &back), ERR_CORRUPT);

    buf_clear(&b);
    struct inline_data data = {.crc = 42, .bytes = {"hello", 5}};
    struct inline_data data_back;
    inline_data_encode(&data, &b);
    assert_int_equal(inline_data_decode(span_of(&b), &data_back), 0);
    assert_int_equal(data_back.crc, 42);
    assert_int_equal(data_back.bytes.length, 5);
    assert_memory_equal(data_back.bytes.data, "hello", 5);
    buf_append_fill(&b, 'x', CHUNK_INLINE_BYTES_MAX);
    assert_int_equal(inline_data_decode(span_of(&b), &data_back), ERR_CORRUPT);
    buf_deinit(&b);
}

static void test_keys_sort_as_numbers(void **state)
{
    (void)state;
    struct buf a = BUF_INIT;
    struct buf b = BUF_INIT;
    chunk_id id = 0;
    chunk_key(255, &a);
    chunk_key(256, &b);
    assert_true(memcmp(a.data, b.data, a.length) < 0);
    assert_int_equal(chunk_key_decode(span_of(&b), &id), 0);
    assert_int_equal(id, 256);
    crc_segment_key(256, 0, &a);
    assert_int_equal(chunk_key_decode(span_of(&a), &id), ERR_CORRUPT);

    struct trash_entry early = {.due_wall_ms = 255, .ref = {9, 9}, .inlined = true};
    struct trash_entry late = {.due_wall_ms = 256, .ref = {1, 1}};
    struct trash_entry back;
    struct buf value = BUF_INIT;
    trash_key(&early, &a);
    trash_key(&late, &b);
    assert_true(memcmp(a.data, b.data, a.length) < 0);
    trash_value_encode(&early, &value);
    assert_int_equal(trash_decode(span_of(&a), span_of(&value), &back), 0);
    assert_int_equal(back.due_wall_ms, 255);
    assert_int_equal(back.ref.id, 9);
    assert_true(back.inlined);
    buf_deinit(&value);
    buf_deinit(&a);
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_round_trip),
        cmocka_unit_test(test_unsound_records_are_refused),
        cmocka_unit_test(test_segments_and_inline_data),
        cmocka_unit_test(test_keys_sort_as_numbers),
    };
    return cmocka_run_group_tests_name("chunk_record", tests, NULL, NULL);
}
