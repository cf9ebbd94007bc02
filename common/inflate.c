/* Each format's library is asked for one buffer of output at a time; `inside` tells whether a
 * member or frame has begun and not ended, `more` that the library may hold output without further
 * input.
 *
 * zstd and lz4 say how much they would like next, about a block. They get no more than that at
 * once, so that an error's place is known to a block, and they need not copy. */
#include "common/inflate.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bzlib.h>
#include <isa-l/igzip_lib.h>
#include <lz4frame.h>
#include <zstd.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/limits.h"
#include "common/macros.h"

enum { OUT_BYTES = 128 * 1024, GZIP_FIRST = 0x1f };

struct inflate {
    enum inflate_kind kind;
    const uint8_t *in; /* borrowed: what was put */
    size_t in_length;
    size_t at;      /* used of it */
    uint64_t taken; /* of all that was put before */
    bool inside;
    uint64_t began; /* gzip: where the member has */
    bool more;
    bool padded; /* gzip: zeros stand behind the last member, as tapes have them */
    size_t hint; /* zstd, lz4: bytes that the library would like */
    struct inflate_state gzip;
    ZSTD_DStream *zstd;
    LZ4F_dctx *lz4;
    bz_stream bzip2;
    bool bzip2_begun; /* it has something to free */
    uint8_t buffer[OUT_BYTES];
};

enum inflate_kind inflate_kind_of(const void *head, size_t length)
{
    static const struct {
        size_t length;
        enum inflate_kind kind;
        uint8_t bytes[INFLATE_MAGIC_BYTES];
    } magics[] = {
        {3, INFLATE_GZIP, {0x1f, 0x8b, 8}},
        {4, INFLATE_ZSTD, {0x28, 0xb5, 0x2f, 0xfd}},
        {4, INFLATE_LZ4, {0x04, 0x22, 0x4d, 0x18}},
        {3, INFLATE_BZIP2, {'B', 'Z', 'h'}},
    };
    for (size_t i = 0; i < ARRAY_COUNT(magics); i++) {
        if (length >= magics[i].length && memcmp(head, magics[i].bytes, magics[i].length) == 0) {
            return magics[i].kind;
        }
    }
    return INFLATE_NONE;
}

/* Whether the name's last part has more than the suffix and ends with it. */
static bool ends_with(const char *name, const char *suffix)
{
    const char *slash = strrchr(name, '/');
    const char *last = slash ? slash + 1 : name;
    size_t length = strlen(last);
    size_t end = strlen(suffix);
    return length > end && strcmp(last + length - end, suffix) == 0;
}

enum inflate_kind inflate_kind_of_name(const char *name)
{
    static const struct {
        const char *suffix;
        enum inflate_kind kind;
    } suffixes[] = {
        {".gz", INFLATE_GZIP},
        {".zst", INFLATE_ZSTD},
        {".lz4", INFLATE_LZ4},
        {".bz2", INFLATE_BZIP2},
    };
    for (size_t i = 0; i < ARRAY_COUNT(suffixes); i++) {
        if (ends_with(name, suffixes[i].suffix)) {
            return suffixes[i].kind;
        }
    }
    return INFLATE_NONE;
}

const char *inflate_unsupported(const char *name)
{
    static const char *const formats[] = {"xz", "lzo", "snappy", "deflate"};
    for (size_t i = 0; i < ARRAY_COUNT(formats); i++) {
        const char *dot = strrchr(name, '.');
        if (dot && strcmp(dot + 1, formats[i]) == 0 && ends_with(name, dot)) {
            return formats[i];
        }
    }
    return NULL;
}

static void gzip_begin(struct inflate *f)
{
    isal_inflate_init(&f->gzip);
    f->gzip.crc_flag = ISAL_GZIP;
}

static void bzip2_end(struct inflate *f)
{
    if (f->bzip2_begun) {
        (void)BZ2_bzDecompressEnd(&f->bzip2);
        f->bzip2_begun = false;
    }
}

static void bzip2_begin(struct inflate *f)
{
    bzip2_end(f);
    f->bzip2 = (bz_stream){0};
    int r = BZ2_bzDecompressInit(&f->bzip2, 0, 0);
    CHECK(r == BZ_OK); /* no memory, or a bad argument */
    f->bzip2_begun = true;
}

struct inflate *inflate_new(enum inflate_kind kind)
{
    struct inflate *f = xcalloc(1, sizeof(*f));
    f->kind = kind;
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
    case INFLATE_BZIP2:
        break; /* a member begins when its first byte comes */
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
    bzip2_end(f);
    free(f);
}

uint64_t inflate_taken(const struct inflate *f)
{
    return f->taken + f->at;
}

void inflate_put(struct inflate *f, const void *data, size_t length)
{
    CHECK(f->at == f->in_length);
    f->taken += f->at;
    f->in = data;
    f->in_length = length;
    f->at = 0;
}

static int damaged_at(const char *what, uint64_t offset, struct err *e)
{
    return err_set(e, ERR_CORRUPT, "%s at offset %" PRIu64, what, offset);
}

static int damaged(const struct inflate *f, const char *what, struct err *e)
{
    return damaged_at(what, inflate_taken(f), e);
}

/* ---- One step: some input to at most one buffer of output ---- */

/* Between two members; f->inside afterwards: one begins. */
static int gzip_between(struct inflate *f, struct err *e)
{
    while (f->at < f->in_length && f->in[f->at] == 0 && f->gzip.block_state == ISAL_BLOCK_FINISH) {
        f->padded = true;
        f->at++;
    }
    if (f->at == f->in_length) {
        return 0;
    }
    if (f->padded) {
        return damaged(f, "gzip: something follows the padding", e);
    }
    if (f->in[f->at] != GZIP_FIRST) { /* the library would ask for a whole header first */
        return damaged(f, "gzip: no gzip header", e);
    }
    gzip_begin(f);
    f->inside = true;
    f->began = inflate_taken(f);
    return 0;
}

static int gzip_error(const struct inflate *f, int status, struct err *e)
{
    if (status == ISAL_INVALID_WRAPPER) {
        return damaged_at("gzip: no gzip header", f->began, e);
    }
    bool sum = status == ISAL_INCORRECT_CHECKSUM;
    return damaged(f, sum ? "gzip: wrong checksum" : "gzip: damaged data", e);
}

static int gzip_step(struct inflate *f, size_t *ret_made, struct err *e)
{
    int r = f->inside ? 0 : gzip_between(f, e);
    if (r < 0 || !f->inside) {
        return r;
    }
    uint32_t left = (uint32_t)MIN(f->in_length - f->at, (size_t)UINT32_MAX);
    f->gzip.next_in = (uint8_t *)f->in + f->at; /* only read */
    f->gzip.avail_in = left;
    f->gzip.next_out = f->buffer;
    f->gzip.avail_out = OUT_BYTES;
    int status = isal_inflate(&f->gzip);
    f->at += left - f->gzip.avail_in;
    if (status < 0) {
        return gzip_error(f, status, e);
    }
    *ret_made = OUT_BYTES - f->gzip.avail_out;
    f->inside = f->gzip.block_state != ISAL_BLOCK_FINISH;
    return 0;
}

static int bzip2_step(struct inflate *f, size_t *ret_made, struct err *e)
{
    if (!f->inside) {
        if (f->at == f->in_length) {
            return 0;
        }
        bzip2_begin(f);
        f->inside = true;
    }
    unsigned left = (unsigned)MIN(f->in_length - f->at, (size_t)UINT32_MAX);
    f->bzip2.next_in = (char *)f->in + f->at; /* only read */
    f->bzip2.avail_in = left;
    f->bzip2.next_out = (char *)f->buffer;
    f->bzip2.avail_out = OUT_BYTES;
    int status = BZ2_bzDecompress(&f->bzip2);
    f->at += left - f->bzip2.avail_in;
    CHECK(status != BZ_MEM_ERROR);
    if (status < 0) {
        return damaged(
            f, status == BZ_DATA_ERROR_MAGIC ? "bzip2: no bzip2 header" : "bzip2: damaged data", e);
    }
    *ret_made = OUT_BYTES - f->bzip2.avail_out;
    f->inside = status != BZ_STREAM_END;
    return 0;
}

/* What of the input to hand to zstd and lz4: what they asked for. */
static size_t hinted(const struct inflate *f)
{
    enum { FIRST = 16 }; /* of a frame: less than the least that one can have, or little more */
    return MIN(f->in_length - f->at, f->hint > 0 ? f->hint : (size_t)FIRST);
}

static int zstd_step(struct inflate *f, size_t *ret_made, struct err *e)
{
    ZSTD_inBuffer in = {.src = f->in + f->at, .size = hinted(f)};
    ZSTD_outBuffer out = {.dst = f->buffer, .size = OUT_BYTES};
    f->hint = ZSTD_decompressStream(f->zstd, &out, &in);
    f->at += in.pos;
    if (ZSTD_isError(f->hint)) {
        char what[200];
        (void)snprintf(what, sizeof(what), "zstd: %s", ZSTD_getErrorName(f->hint));
        return damaged(f, what, e);
    }
    *ret_made = out.pos;
    f->inside = f->hint != 0;
    return 0;
}

static int lz4_step(struct inflate *f, size_t *ret_made, struct err *e)
{
    size_t taken = hinted(f);
    size_t made = OUT_BYTES;
    f->hint = LZ4F_decompress(f->lz4, f->buffer, &made, f->in + f->at, &taken, NULL);
    if (LZ4F_isError(f->hint)) {
        char what[200];
        (void)snprintf(what, sizeof(what), "lz4: %s", LZ4F_getErrorName(f->hint));
        return damaged(f, what, e);
    }
    f->at += taken;
    *ret_made = made;
    f->inside = f->hint != 0;
    return 0;
}

static int step(struct inflate *f, size_t *ret_made, struct err *e)
{
    switch (f->kind) {
    case INFLATE_GZIP:
        return gzip_step(f, ret_made, e);
    case INFLATE_ZSTD:
        return zstd_step(f, ret_made, e);
    case INFLATE_LZ4:
        return lz4_step(f, ret_made, e);
    case INFLATE_BZIP2:
        return bzip2_step(f, ret_made, e);
    case INFLATE_NONE:
        break;
    }
    CHECK(f->kind != INFLATE_NONE);
    return ERR_INVALID;
}

int inflate_next(struct inflate *f, struct span *ret, struct err *e)
{
    while (f->at < f->in_length || (f->more && f->inside)) {
        size_t made = 0;
        int r = step(f, &made, e);
        if (r < 0) {
            return r;
        }
        f->more = made == OUT_BYTES;
        if (made > 0) {
            *ret = (struct span){(const char *)f->buffer, made};
            return 1;
        }
    }
    return 0;
}

int inflate_end(const struct inflate *f, struct err *e)
{
    return f->inside ? damaged(f, "the compressed data ends in the middle,", e) : 0;
}
