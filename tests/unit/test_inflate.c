/* Decompression: every format in pieces of every size, members in a row, and damage that is seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bzlib.h>
#include <isa-l/igzip_lib.h>
#include <lz4frame.h>
#include <zstd.h>

#include "common/buf.h"
#include "common/inflate.h"
#include "common/macros.h"
#include "common/rng.h"

enum { TEXT_BYTES = 300 * 1000 };

static const enum inflate_kind kinds[] = {INFLATE_GZIP, INFLATE_ZSTD, INFLATE_LZ4, INFLATE_BZIP2};

/* Partly random, so that it is neither stored nor tiny. */
static void make_text(struct buf *text, size_t length)
{
    struct rng rng;
    rng_seed(&rng, 7);
    for (size_t i = 0; i < length; i++) {
        buf_append_byte(text, (uint8_t)('a' + rng_range(&rng, 0, i % 1000 < 500 ? 3 : 25)));
    }
}

static void compress(enum inflate_kind kind, const struct buf *text, struct buf *out)
{
    static uint8_t space[2 * TEXT_BYTES];
    size_t length = 0;
    if (kind == INFLATE_GZIP) {
        struct isal_zstream s;
        isal_deflate_stateless_init(&s);
        s.gzip_flag = IGZIP_GZIP;
        s.end_of_stream = 1;
        s.next_in = (uint8_t *)text->data;
        s.avail_in = (uint32_t)text->length;
        s.next_out = space;
        s.avail_out = sizeof(space);
        assert_int_equal(isal_deflate_stateless(&s), COMP_OK);
        length = s.total_out;
    } else if (kind == INFLATE_ZSTD) {
        ZSTD_CCtx *c = ZSTD_createCCtx();
        (void)ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
        length = ZSTD_compress2(c, space, sizeof(space), text->data, text->length);
        assert_false(ZSTD_isError(length));
        (void)ZSTD_freeCCtx(c);
    } else if (kind == INFLATE_BZIP2) {
        unsigned room = sizeof(space);
        assert_int_equal(BZ2_bzBuffToBuffCompress((char *)space, &room, text->data,
                                                  (unsigned)text->length, 1, 0, 0),
                         BZ_OK);
        length = room;
    } else {
        LZ4F_preferences_t p = {.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled};
        length = LZ4F_compressFrame(space, sizeof(space), text->data, text->length, &p);
        assert_false(LZ4F_isError(length));
    }
    buf_append(out, space, length);
}

/* Fed in pieces of `piece` bytes. */
static int expand_to(enum inflate_kind kind, const struct buf *from, size_t piece, struct buf *out,
                     struct err *e)
{
    struct inflate *f = inflate_new(kind);
    struct span text;
    int r = 0;
    for (size_t at = 0; r == 0 && at < from->length; at += piece) {
        inflate_put(f, from->data + at, MIN(piece, from->length - at));
        while ((r = inflate_next(f, &text, e)) > 0) {
            assert_true(text.length > 0 && text.length <= 128 * 1024);
            buf_append(out, text.data, text.length);
        }
        assert_true(inflate_taken(f) <= MIN(at + piece, from->length));
    }
    if (r == 0) {
        assert_int_equal(inflate_taken(f), from->length);
        r = inflate_end(f, e);
    }
    inflate_free(f);
    return r;
}

static int expand(enum inflate_kind kind, const struct buf *from, size_t piece, struct buf *out)
{
    struct err e = ERR_INIT;
    return expand_to(kind, from, piece, out, &e);
}

static void expect(enum inflate_kind kind, const struct buf *from, size_t piece,
                   const struct buf *text)
{
    struct buf out = BUF_INIT;
    assert_int_equal(expand(kind, from, piece, &out), 0);
    assert_int_equal(out.length, text->length);
    assert_memory_equal(out.data, text->data, text->length);
    buf_deinit(&out);
}

static void pieces_of_any_size(void **state)
{
    (void)state;
    struct buf text = BUF_INIT;
    make_text(&text, TEXT_BYTES);
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        static const size_t sizes[] = {1, 2, 7, 4096, 65537, 1 << 20};
        struct buf packed = BUF_INIT;
        compress(kinds[i], &text, &packed);
        assert_int_equal(inflate_kind_of(packed.data, packed.length), kinds[i]);
        for (size_t s = 0; s < ARRAY_COUNT(sizes); s++) {
            expect(kinds[i], &packed, sizes[s], &text);
        }
        buf_deinit(&packed);
    }
    buf_deinit(&text);
}

/* Also empty ones, and one whose text is much larger than itself. */
static void members_in_a_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        struct buf text = BUF_INIT, packed = BUF_INIT, part = BUF_INIT;
        static const size_t lengths[] = {5, 0, 70000, 1};
        for (size_t n = 0; n < ARRAY_COUNT(lengths); n++) {
            buf_clear(&part);
            buf_append_fill(&part, (uint8_t)('0' + n), lengths[n]);
            compress(kinds[i], &part, &packed);
            buf_append(&text, part.data, part.length);
        }
        expect(kinds[i], &packed, 1, &text);
        expect(kinds[i], &packed, 1 << 20, &text);
        if (kinds[i] == INFLATE_GZIP) {
            struct buf out = BUF_INIT;
            buf_append_fill(&packed, 0, 600);
            expect(kinds[i], &packed, 100, &text);
            buf_append_byte(&packed, 'x');
            assert_int_equal(expand(kinds[i], &packed, 100, &out), ERR_CORRUPT);
            buf_deinit(&out);
        }
        buf_deinit(&text);
        buf_deinit(&packed);
        buf_deinit(&part);
    }
}

static void damage_is_seen(void **state)
{
    (void)state;
    struct buf text = BUF_INIT;
    make_text(&text, 20000);
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        struct buf packed = BUF_INIT, out = BUF_INIT;
        compress(kinds[i], &text, &packed);
        size_t whole = packed.length;
        for (size_t cut = 1; cut < whole; cut += 1 + whole / 50) {
            packed.length = whole - cut;
            buf_clear(&out);
            assert_int_equal(expand(kinds[i], &packed, 1000, &out), ERR_CORRUPT);
        }
        packed.length = whole;
        for (size_t at = 20; at < whole; at += 1 + whole / 50) { /* behind the header */
            packed.data[at] = (char)(packed.data[at] ^ 0x10);
            buf_clear(&out);
            assert_int_equal(expand(kinds[i], &packed, 1000, &out), ERR_CORRUPT);
            packed.data[at] = (char)(packed.data[at] ^ 0x10);
        }
        buf_deinit(&packed);
        buf_deinit(&out);
    }
    buf_deinit(&text);
}

/* Texts whose end falls on the end of a buffer of output: nothing is missing then. */
static void texts_of_whole_buffers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        for (size_t length = 128 * 1024; length <= 256 * 1024; length += 128 * 1024) {
            struct buf text = BUF_INIT, packed = BUF_INIT;
            make_text(&text, length);
            compress(kinds[i], &text, &packed);
            expect(kinds[i], &packed, 1 << 20, &text);
            expect(kinds[i], &packed, 1000, &text);
            buf_deinit(&text);
            buf_deinit(&packed);
        }
    }
}

/* The text of the error has the offset: of the end for what was cut, and of about the place for
 * what was changed: a block of the format, at most. */
static void errors_name_their_place(void **state)
{
    (void)state;
    struct buf text = BUF_INIT;
    make_text(&text, TEXT_BYTES);
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        struct err e = ERR_INIT;
        struct buf packed = BUF_INIT, out = BUF_INIT;
        char wanted[64];
        compress(kinds[i], &text, &packed);
        packed.length -= 3;
        (void)snprintf(wanted, sizeof(wanted), "in the middle, at offset %zu", packed.length);
        assert_int_equal(expand_to(kinds[i], &packed, 1 << 20, &out, &e), ERR_CORRUPT);
        assert_non_null(strstr(err_message(&e), wanted));
        packed.data[0] = 'x'; /* not even a beginning */
        assert_int_equal(expand_to(kinds[i], &packed, 1 << 20, &out, &e), ERR_CORRUPT);
        const char *place = strstr(err_message(&e), "at offset ");
        assert_non_null(place);
        assert_true(strtoul(place + strlen("at offset "), NULL, 10) < 16);
        buf_deinit(&packed);
        buf_deinit(&out);
    }
    buf_deinit(&text);
}

/* 30 MB of zeros in a few kilobytes come out piece by piece, when they are asked for. */
static void a_little_input_stands_for_much(void **state)
{
    (void)state;
    struct buf zeros = BUF_INIT, packed = BUF_INIT;
    struct err e = ERR_INIT;
    buf_append_fill(&zeros, 0, TEXT_BYTES);
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        buf_clear(&packed);
        for (int n = 0; n < 100; n++) {
            compress(kinds[i], &zeros, &packed);
        }
        struct inflate *f = inflate_new(kinds[i]);
        struct span text;
        uint64_t length = 0;
        int r;
        inflate_put(f, packed.data, packed.length);
        while ((r = inflate_next(f, &text, &e)) > 0) {
            assert_true(text.length <= 128 * 1024);
            length += text.length;
        }
        assert_int_equal(r, 0);
        assert_int_equal(length, 100 * (uint64_t)TEXT_BYTES);
        assert_int_equal(inflate_end(f, &e), 0);
        inflate_free(f);
    }
    buf_deinit(&zeros);
    buf_deinit(&packed);
}

static void names(void **state)
{
    (void)state;
    assert_int_equal(inflate_kind_of("plain text", 10), INFLATE_NONE);
    assert_int_equal(inflate_kind_of("\x1f\x8b", 2), INFLATE_NONE);
    assert_int_equal(inflate_kind_of_name("/logs/a.gz"), INFLATE_GZIP);
    assert_int_equal(inflate_kind_of_name("b.tar.zst"), INFLATE_ZSTD);
    assert_int_equal(inflate_kind_of_name("c.lz4"), INFLATE_LZ4);
    assert_int_equal(inflate_kind_of_name("c.bz2"), INFLATE_BZIP2);
    assert_int_equal(inflate_kind_of_name("/logs.gz/a"), INFLATE_NONE);
    assert_int_equal(inflate_kind_of_name("/logs/.gz"), INFLATE_NONE);
    assert_int_equal(inflate_kind_of_name("a.gz.txt"), INFLATE_NONE);
    assert_int_equal(inflate_kind_of_name("agz"), INFLATE_NONE);
    assert_int_equal(inflate_kind_of_name(""), INFLATE_NONE);
    assert_string_equal(inflate_unsupported("/a/b.xz"), "xz");
    assert_string_equal(inflate_unsupported("b.snappy"), "snappy");
    assert_null(inflate_unsupported("b.gz"));
    assert_null(inflate_unsupported("/a.xz/b"));
    assert_null(inflate_unsupported("xz"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_any_size),
        cmocka_unit_test(members_in_a_row),
        cmocka_unit_test(texts_of_whole_buffers),
        cmocka_unit_test(damage_is_seen),
        cmocka_unit_test(errors_name_their_place),
        cmocka_unit_test(a_little_input_stands_for_much),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
