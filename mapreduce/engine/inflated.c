/* See inflated.h. */
#include "mapreduce/engine/inflated.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/macros.h"

enum { PACKED_BYTES = 512 * 1024 }; /* read at a time */

struct inflated {
    struct source base;
    struct source *packed; /* borrowed */
    struct inflate *inflate;
    uint64_t packed_at; /* read of the file */
    uint64_t at;        /* handed out of the text */
    struct span text;   /* what came out and was not handed out */
    char buffer[PACKED_BYTES];
};

int inflated_kind(const char *path, enum mr_input input, enum inflate_kind *ret_kind, struct err *e)
{
    const char *unsupported = inflate_unsupported(path);
    if (input == MR_INPUT_FILES) {
        *ret_kind = INFLATE_NONE;
        return 0;
    }
    if (unsupported) {
        return err_set(e, ERR_INVALID,
                       "input %s: %s is not supported, only .gz, .bz2, .zst and .lz4; "
                       "-D " INFLATED_SETTING "=false reads files as they are",
                       path, unsupported);
    }
    *ret_kind = inflate_kind_of_name(path);
    return 0;
}

/* The next piece of text: 1, or 0 at its end. */
static int next_piece(struct inflated *f, struct err *e)
{
    for (;;) {
        int r = inflate_next(f->inflate, &f->text, e);
        if (r != 0) {
            return r < 0 ? err_wrap(e, r, "%s", f->base.name) : r;
        }
        int64_t n = f->packed->read(f->packed, f->packed_at, f->buffer, sizeof(f->buffer), e);
        if (n < 0) {
            return (int)n;
        }
        if (n == 0) {
            r = inflate_end(f->inflate, e);
            return r < 0 ? err_wrap(e, r, "%s", f->base.name) : 0;
        }
        f->packed_at += (uint64_t)n;
        inflate_put(f->inflate, f->buffer, (size_t)n);
    }
}

static int64_t inflated_read(struct source *s, uint64_t offset, void *data, size_t length,
                             struct err *e)
{
    struct inflated *f = CONTAINER_OF(s, struct inflated, base);
    if (offset != f->at) {
        return err_set(e, ERR_INVALID,
                       "%s: compressed, and read at %" PRIu64 " instead of %" PRIu64, s->name,
                       offset, f->at);
    }
    if (f->text.length == 0) {
        int r = next_piece(f, e);
        if (r <= 0) {
            return r;
        }
    }
    size_t n = MIN(length, f->text.length);
    memcpy(data, f->text.data, n);
    f->text = (struct span){(const char *)f->text.data + n, f->text.length - n};
    f->at += n;
    return (int64_t)n;
}

static uint64_t inflated_taken(const struct source *s)
{
    return CONTAINER_OF(s, const struct inflated, base)->packed_at;
}

static void inflated_free(struct source *s)
{
    struct inflated *f = CONTAINER_OF(s, struct inflated, base);
    inflate_free(f->inflate);
    free(f);
}

struct source *inflated_new(struct source *packed, enum inflate_kind kind)
{
    struct inflated *f = xcalloc(1, sizeof(*f));
    f->packed = packed;
    f->inflate = inflate_new(kind);
    f->base = (struct source){.name = packed->name,
                              .length = packed->length,
                              .read = inflated_read,
                              .taken = inflated_taken,
                              .free = inflated_free};
    return &f->base;
}
