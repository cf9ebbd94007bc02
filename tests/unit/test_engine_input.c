/* The split rule: whatever the splits, every record comes exactly once, and in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/limits.h"
#include "common/rng.h"
#include "mapreduce/engine/input.h"

/* Appends "offset:length:bytes;" for each record of a split. Returns the number of records. */
static uint64_t read_split(struct input *in, struct source *source, uint64_t start, uint64_t length,
                           struct buf *out)
{
    uint64_t lines = 0;
    input_begin(in, source, start, length);
    for (;;) {
        struct input_batch batch;
        assert_int_equal(input_next(in, &batch, NULL), 0);
        if (batch.count == 0) {
            assert_int_equal(input_done(in), length);
            return lines;
        }
        lines += batch.lines;
        for (size_t i = 0; i < batch.count; i++) {
            struct mr_span value = batch.records[i].value;
            buf_printf(out, "%llu:%zu:", (unsigned long long)mr_get_u64(batch.records[i].key),
                       value.length);
            buf_append(out, value.data, value.length);
            buf_append_byte(out, ';');
        }
    }
}

static void expect_lines(const char *text, size_t length, struct buf *out, uint64_t *lines)
{
    *lines = 0;
    for (size_t at = 0; at < length;) {
        const char *newline = memchr(text + at, '\n', length - at);
        size_t end = newline ? (size_t)(newline - text) : length;
        buf_printf(out, "%zu:%zu:", at, end - at);
        buf_append(out, text + at, end - at);
        buf_append_byte(out, ';');
        at = end + 1;
        (*lines)++;
    }
}

/* All ways to cut the text into two and three splits. */
static void check_all_splits(const char *text, size_t length)
{
    struct input_options options = {.record_bytes_max = MR_RECORD_BYTES_MAX};
    struct input *in = input_new(&options);
    struct source *source = source_of_memory(text, length, "text");
    struct buf expected = BUF_INIT;
    uint64_t lines;
    expect_lines(text, length, &expected, &lines);
    for (size_t a = 0; a <= length; a++) {
        for (size_t b = a; b <= length; b++) {
            struct buf got = BUF_INIT;
            uint64_t count = read_split(in, source, 0, a, &got);
            count += read_split(in, source, a, b - a, &got);
            count += read_split(in, source, b, length - b, &got);
            assert_int_equal(count, lines);
            assert_int_equal(got.length, expected.length);
            assert_memory_equal(got.data, expected.data, expected.length);
            buf_deinit(&got);
        }
    }
    buf_deinit(&expected);
    source_free(source);
    input_free(in);
}

static void test_every_split_of_lines(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "\n",
        "a",
        "a\n",
        "\n\n\n",
        "one\ntwo\nthree\n",
        "one\ntwo\nno newline at the end",
        "crlf\r\nis kept\r\n",
        "\nbegins empty\n\nand has gaps\n\n",
        "a record that is longer than every split of it\nx\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        check_all_splits(texts[i], strlen(texts[i]));
    }
    check_all_splits("nul\0in\0it\n\0\n\xff\xfe\n", 15);
}

/* Splits of one size over text that is larger than the buffer, with lines of all lengths. */
static void test_large_text(void **state)
{
    (void)state;
    struct rng rng;
    struct buf text = BUF_INIT;
    rng_seed(&rng, 7);
    while (text.length < 3 * MR_INPUT_BUFFER_BYTES) {
        size_t most = rng_below(&rng, 50) == 0 ? 400000 : 200;
        buf_append_fill(&text, (uint8_t)('a' + rng_below(&rng, 26)), rng_below(&rng, most));
        buf_append_byte(&text, '\n');
    }
    struct buf expected = BUF_INIT;
    uint64_t lines;
    expect_lines(text.data, text.length, &expected, &lines);
    struct input_options options = {.record_bytes_max = MR_RECORD_BYTES_MAX};
    struct input *in = input_new(&options);
    struct source *source = source_of_memory(text.data, text.length, "text");
    static const size_t sizes[] = {1000, 4096, 65537, MR_INPUT_BUFFER_BYTES, 1 << 22};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        struct buf got = BUF_INIT;
        uint64_t count = 0;
        for (size_t at = 0; at < text.length; at += sizes[s]) {
            size_t left = text.length - at;
            count += read_split(in, source, at, left < sizes[s] ? left : sizes[s], &got);
        }
        assert_int_equal(count, lines);
        assert_int_equal(got.length, expected.length);
        assert_memory_equal(got.data, expected.data, expected.length);
        buf_deinit(&got);
    }
    source_free(source);
    input_free(in);
    buf_deinit(&expected);
    buf_deinit(&text);
}

/* Blocks: the same bytes, whole lines only, and the count of lines. */
static void check_blocks(bool single_lines)
{
    static const char text[] = "one\ntwo\n\nthree\nlast without newline";
    size_t length = sizeof(text) - 1;
    struct input_options options = {.format = MR_INPUT_BLOCKS,
                                    .record_bytes_max = MR_RECORD_BYTES_MAX,
                                    .single_lines = single_lines};
    struct input *in = input_new(&options);
    struct source *source = source_of_memory(text, length, "text");
    for (size_t a = 0; a <= length; a++) {
        for (size_t b = a; b <= length; b++) {
            struct buf got = BUF_INIT;
            uint64_t lines = 0;
            size_t cuts[] = {0, a, b, length};
            for (int i = 0; i < 3; i++) {
                struct input_batch batch;
                input_begin(in, source, cuts[i], cuts[i + 1] - cuts[i]);
                while (input_next(in, &batch, NULL) == 0 && batch.count > 0) {
                    struct mr_span value = batch.records[0].value;
                    assert_int_equal(mr_get_u64(batch.records[0].key), got.length);
                    buf_append(&got, value.data, value.length);
                    lines += batch.lines;
                    assert_true(!single_lines || batch.lines == 1);
                    assert_true(got.length == length || got.data[got.length - 1] == '\n');
                }
            }
            assert_int_equal(lines, 5);
            assert_string_equal(got.data, text);
            buf_deinit(&got);
        }
    }
    source_free(source);
    input_free(in);
}

static void test_blocks(void **state)
{
    (void)state;
    check_blocks(false);
}

static void test_blocks_of_one_line(void **state)
{
    (void)state;
    check_blocks(true);
}

static void test_fixed(void **state)
{
    (void)state;
    static const char text[] = "aaabbbcccddd";
    struct input_options options = {
        .format = MR_INPUT_FIXED, .record_bytes = 3, .record_bytes_max = 100};
    struct input *in = input_new(&options);
    struct source *source = source_of_memory(text, 12, "text");
    for (size_t a = 0; a <= 12; a++) {
        struct buf got = BUF_INIT;
        assert_int_equal(
            read_split(in, source, 0, a, &got) + read_split(in, source, a, 12 - a, &got), 4);
        assert_string_equal(got.data, "0:3:aaa;3:3:bbb;6:3:ccc;9:3:ddd;");
        buf_deinit(&got);
    }
    source_free(source);
    struct err e = ERR_INIT;
    struct input_batch batch;
    source = source_of_memory(text, 11, "cut.dat");
    input_begin(in, source, 0, 11);
    assert_int_equal(input_next(in, &batch, &e), 0);
    assert_int_equal(batch.count, 3);
    assert_int_equal(input_next(in, &batch, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "cut.dat"));
    assert_non_null(strstr(e.msg, "offset 9"));
    source_free(source);
    input_free(in);
}

static void test_whole_file(void **state)
{
    (void)state;
    struct input_options options = {.format = MR_INPUT_FILES, .record_bytes_max = 1000};
    struct input *in = input_new(&options);
    struct source *source = source_of_memory("all of it", 9, "name");
    struct input_batch batch;
    input_begin(in, source, 0, 9);
    assert_int_equal(input_next(in, &batch, NULL), 0);
    assert_int_equal(batch.count, 1);
    assert_true(mr_equal(batch.records[0].key, mr_string("name")));
    assert_true(mr_equal(batch.records[0].value, mr_string("all of it")));
    assert_int_equal(input_next(in, &batch, NULL), 0);
    assert_int_equal(batch.count, 0);
    source_free(source);
    input_free(in);
}

static void test_limit_names_the_place(void **state)
{
    (void)state;
    struct buf text = BUF_INIT;
    buf_append_str(&text, "short\n");
    buf_append_fill(&text, 'x', 1000000);
    struct input_options options = {.record_bytes_max = 500};
    struct input *in = input_new(&options);
    struct source *source = source_of_memory(text.data, text.length, "big.txt");
    struct err e = ERR_INIT;
    struct input_batch batch;
    input_begin(in, source, 0, text.length);
    int r = input_next(in, &batch, &e);
    r = r < 0 ? r : input_next(in, &batch, &e);
    assert_int_equal(r, ERR_TOO_LARGE);
    assert_non_null(strstr(e.msg, "big.txt"));
    assert_non_null(strstr(e.msg, "offset 6"));
    source_free(source);
    input_free(in);
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_split_of_lines),
        cmocka_unit_test(test_large_text),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_blocks_of_one_line),
        cmocka_unit_test(test_fixed),
        cmocka_unit_test(test_whole_file),
        cmocka_unit_test(test_limit_names_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
