/* Compressed files of users: the first byte chooses the format. */
#include <stddef.h>
#include <stdint.h>

#include "common/inflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_BYTES_MAX = 1 << 24 };

/* A few bytes may stand for very many: no more than OUT_BYTES_MAX are asked for. */
static int take(struct inflate *f, const uint8_t *data, size_t size, size_t *left)
{
    struct err e = ERR_INIT;
    struct span out;
    int r = 0;
    inflate_put(f, data, size);
    while ((r = inflate_next(f, &out, &e)) > 0) {
        if (out.length > *left) {
            return ERR_TOO_LARGE;
        }
        *left -= out.length;
    }
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = ERR_INIT;
    size_t left = OUT_BYTES_MAX;
    if (size == 0) {
        return 0;
    }
    struct inflate *f = inflate_new((enum inflate_kind)(INFLATE_GZIP + data[0] % 4));
    size_t half = (size - 1) / 2;
    int r = take(f, data + 1, half, &left);
    r = r < 0 ? r : take(f, data + 1 + half, size - 1 - half, &left);
    r = r < 0 ? r : inflate_end(f, &e);
    if (r < 0 && inflate_taken(f) > size - 1) {
        __builtin_trap(); /* an error is somewhere in the input */
    }
    inflate_free(f);
    return 0;
}
