/* Each format's library is asked to go on until it has taken the whole piece and given all that it
 * can; `inside` tells whether a member or frame has begun and not ended. */
#include "common/inflate.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <isa-l/igzip_lib.h>
#include <lz4frame.h>
#include <zstd.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/limits.h"

enum { OUT_BYTES = 128 * 1024 };

struct inflate {
    enum inflate_kind kind;
    inflate_out_fn out;
    void *arg;
    bool inside;
    bool padded; /* gzip: zeros stand behind the last member, as tapes have them */
    struct inflate_state gzip;
    ZSTD_DStream *zstd;
    LZ4F_dctx *lz4;
    uint8_t buffer[OUT_BYTES];
};

enum inflate_kind inflate_kind_of(const void *head, size_t length)
{
    static const struct {
        enum inflate_kind kind;
        size_t length;
        uint8_t bytes[INFLATE_MAGIC_BYTES];
    } magics[] = {
        {INFLATE_GZIP, 3, {0x1f, 0x8b, 8}},
        {INFLATE_ZSTD, 4, {0x28, 0xb5, 0x2f, 0xfd}},
        {INFLATE_LZ4, 4, {0x04, 0x22, 0x4d, 0x18}},
    };
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
        if (length >= magics[i].length && memcmp(head, magics[i].bytes, magics[i].length) == 0) {
            return magics[i].kind;
        }
    }
    return INFLATE_NONE;
}

static void gzip_begin(struct inflate *f)
{
    isal_inflate_init(&f->gzip);
    f->gzip.crc_flag = ISAL_GZIP;
}

struct inflate *inflate_new(enum inflate_kind kind, inflate_out_fn out, void *arg)
{
    struct inflate *f = xcalloc(1, sizeof(*f));
    f->kind = kind;
    f->out = out;
    f->arg = arg;
    switch (kind) {
    case INFLATE_GZIP:
        gzip_begin(f);
        break;
    case INFLATE_ZSTD:
        f->zstd = ZSTD_createDStream();
        CHECK(f->zstd);
        (void)ZSTD_DCtx_setParameter(f->zstd, ZSTD_d_windowLogMax, INFLATE_WINDOW_LOG_MAX);
        break;
    case INFLATE_LZ4:
        CHECK(!LZ4F_isError(LZ4F_createDecompressionContext(&f->lz4, LZ4F_VERSION)));
        break;
    case INFLATE_NONE:
        CHECK(kind != INFLATE_NONE);
    }
    return f;
}

void inflate_free(struct inflate *f)
{
    if (!f) {
        return;
    }
    (void)ZSTD_freeDStream(f->zstd);
    (void)LZ4F_freeDecompressionContext(f->lz4);
    free(f);
}

static int give(struct inflate *f, size_t length, struct err *e)
{
    return length > 0 ? f->out(f->arg, f->buffer, length, e) : 0;
}

/* Between two members; true: a member begins, or what follows is to be skipped. */
static int gzip_between(struct inflate *f, const uint8_t *data, size_t *at, size_t length,
                        struct err *e)
{
    while (*at < length && data[*at] == 0 && f->gzip.block_state == ISAL_BLOCK_FINISH) {
        f->padded = true;
        *at += 1;
    }
    if (*at == length) {
        return 0;
    }
    if (f->padded) {
        return err_set(e, ERR_CORRUPT, "gzip: something follows the padding");
    }
    gzip_begin(f);
    f->inside = true;
    return 0;
}

static int gzip_feed(struct inflate *f, const uint8_t *data, size_t length, struct err *e)
{
    size_t at = 0;
    int r = 0;
    do {
        if (!f->inside && (r = gzip_between(f, data, &at, length, e)) < 0) {
            return r;
        }
        if (!f->inside) {
            return 0;
        }
        f->gzip.next_in = (uint8_t *)data + at; /* only read */
        f->gzip.avail_in = (uint32_t)(length - at);
        f->gzip.next_out = f->buffer;
        f->gzip.avail_out = OUT_BYTES;
        int status = isal_inflate(&f->gzip);
        at = length - f->gzip.avail_in;
        if (status < 0) {
            return err_set(e, ERR_CORRUPT, "gzip: %s",
                           status == ISAL_INCORRECT_CHECKSUM ? "wrong checksum" : "damaged data");
        }
        r = give(f, OUT_BYTES - f->gzip.avail_out, e);
        f->inside = f->gzip.block_state != ISAL_BLOCK_FINISH;
    } while (r == 0 && (at < length || f->gzip.avail_out == 0));
    return r;
}

static int zstd_feed(struct inflate *f, const uint8_t *data, size_t length, struct err *e)
{
    ZSTD_inBuffer in = {.src = data, .size = length};
    ZSTD_outBuffer out;
    int r = 0;
    do {
        out = (ZSTD_outBuffer){.dst = f->buffer, .size = OUT_BYTES};
        size_t hint = ZSTD_decompressStream(f->zstd, &out, &in);
        if (ZSTD_isError(hint)) {
            return err_set(e, ERR_CORRUPT, "zstd: %s", ZSTD_getErrorName(hint));
        }
        f->inside = hint != 0;
        r = give(f, out.pos, e);
    } while (r == 0 && (in.pos < in.size || out.pos == out.size));
    return r;
}

static int lz4_feed(struct inflate *f, const uint8_t *data, size_t length, struct err *e)
{
    size_t at = 0, made;
    int r = 0;
    do {
        size_t taken = length - at;
        made = OUT_BYTES;
        size_t hint = LZ4F_decompress(f->lz4, f->buffer, &made, data + at, &taken, NULL);
        if (LZ4F_isError(hint)) {
            return err_set(e, ERR_CORRUPT, "lz4: %s", LZ4F_getErrorName(hint));
        }
        at += taken;
        f->inside = hint != 0;
        r = give(f, made, e);
    } while (r == 0 && (at < length || made == OUT_BYTES));
    return r;
}

int inflate_feed(struct inflate *f, const void *data, size_t length, struct err *e)
{
    if (length == 0) {
        return 0;
    }
    switch (f->kind) {
    case INFLATE_GZIP:
        return gzip_feed(f, data, length, e);
    case INFLATE_ZSTD:
        return zstd_feed(f, data, length, e);
    case INFLATE_LZ4:
        return lz4_feed(f, data, length, e);
    case INFLATE_NONE:
        break;
    }
    CHECK(f->kind != INFLATE_NONE);
    return ERR_INVALID;
}

int inflate_end(const struct inflate *f, struct err *e)
{
    return f->inside ? err_set(e, ERR_CORRUPT, "the compressed data ends in the middle") : 0;
}
