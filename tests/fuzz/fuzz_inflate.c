/* Compressed files of users: the first byte chooses the format. */
#include <stddef.h>
#include <stdint.h>

#include "common/inflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_BYTES_MAX = 1 << 24 };

/* A few bytes may stand for very many. */
static int count(void *arg, const void *data, size_t length, struct err *e)
{
    size_t *left = arg;
    (void)data;
    if (length > *left) {
        return err_set(e, ERR_TOO_LARGE, "enough");
    }
    *left -= length;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = ERR_INIT;
    size_t left = OUT_BYTES_MAX;
    if (size == 0) {
        return 0;
    }
    struct inflate *f = inflate_new((enum inflate_kind)(INFLATE_GZIP + data[0] % 3), count, &left);
    size_t half = (size - 1) / 2;
    int r = inflate_feed(f, data + 1, half, &e);
    if (r == 0) {
        r = inflate_feed(f, data + 1 + half, size - 1 - half, &e);
    }
    if (r == 0) {
        r = inflate_end(f, &e);
    }
    inflate_free(f);
    return 0;
}
