/* Compressed files as sources: the text comes as from a plain file, in memory that does not grow,
 * what is wrong names file and offset, and a file's name decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <zstd.h>

#include "common/buf.h"
#include "common/limits.h"
#include "mapreduce/engine/inflated.h"
#include "mapreduce/engine/input.h"

enum { LINES = 40000 };

/* Two frames, the text of which is numbered lines; a line goes from one into the other. */
static void make(struct buf *text, struct buf *packed)
{
    for (int i = 0; i < LINES; i++) {
        buf_printf(text, "line %d of a file that is compressed\n", i);
    }
    size_t half = text->length / 2;
    for (size_t at = 0; at < text->length; at += half) {
        size_t length = text->length - at < half ? text->length - at : half;
        buf_reserve(packed, ZSTD_compressBound(length));
        size_t n = ZSTD_compress(packed->data + packed->length, ZSTD_compressBound(length),
                                 text->data + at, length, 1);
        assert_false(ZSTD_isError(n));
        packed->length += n;
    }
}

static void lines_come_as_from_a_plain_file(void **state)
{
    (void)state;
    struct buf text = BUF_INIT, packed = BUF_INIT, out = BUF_INIT;
    struct err e = ERR_INIT;
    struct input_options options = {.record_bytes_max = MR_RECORD_BYTES_MAX};
    make(&text, &packed);
    struct source *file = source_of_memory(packed.data, packed.length, "/logs/a.zst");
    struct source *source = inflated_new(file, INFLATE_ZSTD);
    struct input *in = input_new(&options);
    struct input_batch batch;
    uint64_t done = 0;
    assert_int_equal(source->length, packed.length);
    input_begin(in, source, 0, UINT64_MAX);
    for (;;) {
        assert_int_equal(input_next(in, &batch, &e), 0);
        assert_true(input_done(in) >= done && input_done(in) <= packed.length);
        done = input_done(in);
        if (batch.count == 0) {
            break;
        }
        for (size_t i = 0; i < batch.count; i++) {
            struct mr_span line = batch.records[i].value;
            assert_int_equal(mr_get_u64(batch.records[i].key), out.length);
            buf_append(&out, line.data, line.length);
            buf_append_byte(&out, '\n');
        }
    }
    assert_int_equal(out.length, text.length);
    assert_memory_equal(out.data, text.data, text.length);
    assert_int_equal(done, packed.length);
    assert_int_equal(input_bytes_read(in), packed.length); /* not those of the text */
    input_free(in);
    source_free(source);
    source_free(file);
    buf_deinit(&text);
    buf_deinit(&packed);
    buf_deinit(&out);
}

/* Reads to the end or to the error. */
static int read_all(const struct buf *packed, size_t length, struct err *e)
{
    static char piece[10000];
    struct source *file = source_of_memory(packed->data, length, "/logs/a.zst");
    struct source *source = inflated_new(file, INFLATE_ZSTD);
    uint64_t at = 0;
    int64_t n;
    while ((n = source->read(source, at, piece, sizeof(piece), e)) > 0) {
        at += (uint64_t)n;
    }
    source_free(source);
    source_free(file);
    return (int)n;
}

static void errors_name_file_and_offset(void **state)
{
    (void)state;
    struct buf text = BUF_INIT, packed = BUF_INIT, wanted = BUF_INIT;
    struct err e = ERR_INIT;
    make(&text, &packed);
    assert_int_equal(read_all(&packed, packed.length, &e), 0);
    assert_int_equal(read_all(&packed, 0, &e), 0);
    assert_int_equal(read_all(&packed, packed.length - 5, &e), ERR_CORRUPT);
    buf_printf(&wanted, "/logs/a.zst: the compressed data ends in the middle, at offset %zu",
               packed.length - 5);
    assert_string_equal(err_message(&e), wanted.data);
    packed.data[0] = 'x';
    assert_int_equal(read_all(&packed, packed.length, &e), ERR_CORRUPT);
    assert_non_null(strstr(err_message(&e), "/logs/a.zst: zstd: "));
    assert_non_null(strstr(err_message(&e), " at offset 0"));
    buf_deinit(&text);
    buf_deinit(&packed);
    buf_deinit(&wanted);
}

static void nobody_begins_in_the_middle(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    char byte;
    struct source *file = source_of_memory("", 0, "/a.gz");
    struct source *source = inflated_new(file, INFLATE_GZIP);
    assert_int_equal(source->read(source, 1, &byte, 1, &e), ERR_INVALID);
    assert_int_equal(source->read(source, 0, &byte, 1, &e), 0);
    source_free(source);
    source_free(file);
}

static int64_t failing_read(struct source *s, uint64_t offset, void *data, size_t length,
                            struct err *e)
{
    (void)offset;
    (void)data;
    (void)length;
    return err_set(e, ERR_IO, "%s: disk", s->name);
}

static void errors_below_pass_through(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    char byte;
    struct source file = {.name = "/a.gz", .length = 10, .read = failing_read};
    struct source *source = inflated_new(&file, INFLATE_GZIP);
    assert_int_equal(source->read(source, 0, &byte, 1, &e), ERR_IO);
    assert_string_equal(err_message(&e), "/a.gz: disk");
    source_free(source);
}

static void a_name_decides(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    enum inflate_kind kind = INFLATE_NONE;
    assert_int_equal(inflated_kind("/a.gz", MR_INPUT_LINES, &kind, &e), 0);
    assert_int_equal(kind, INFLATE_GZIP);
    assert_int_equal(inflated_kind("/a.gz", MR_INPUT_FILES, &kind, &e), 0);
    assert_int_equal(kind, INFLATE_NONE);
    assert_int_equal(inflated_kind("/a.txt", MR_INPUT_FIXED, &kind, &e), 0);
    assert_int_equal(kind, INFLATE_NONE);
    assert_int_equal(inflated_kind("/a.xz", MR_INPUT_FILES, &kind, &e), 0);
    assert_int_equal(inflated_kind("/a.xz", MR_INPUT_LINES, &kind, &e), ERR_INVALID);
    assert_non_null(strstr(err_message(&e), "input /a.xz: xz is not supported"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_as_from_a_plain_file),
        cmocka_unit_test(errors_name_file_and_offset),
        cmocka_unit_test(nobody_begins_in_the_middle),
        cmocka_unit_test(errors_below_pass_through),
        cmocka_unit_test(a_name_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
