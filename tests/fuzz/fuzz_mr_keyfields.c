/* Options of key fields (up to the first newline), a key coded by them, and bytes that may be no
 * coded key at all. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "mapreduce/engine/keyfields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = ERR_INIT;
    const uint8_t *newline = size > 0 ? memchr(data, '\n', size) : NULL;
    if (!newline) {
        return 0;
    }
    char *options = xstrndup((const char *)data, (size_t)(newline - data));
    struct mr_span key = mr_bytes(newline + 1, size - (size_t)(newline + 1 - data));
    struct keyfields k = {.separator = "."};
    if (keyfields_parse(&k, options, &e) == 0) {
        struct buf coded = BUF_INIT;
        struct mr_span plain;
        CHECK(k.count > 0);
        keyfields_code(&k, key, &coded);
        CHECK(keyfields_plain(&k, mr_bytes(coded.data, coded.length), &plain, &e) == 0);
        CHECK(mr_equal(plain, key));
        CHECK(keyfields_hash(&k, key) == keyfields_hash(&k, plain));
        if (keyfields_plain(&k, key, &plain, &e) == 0) {
            CHECK(plain.length < key.length);
        }
        buf_deinit(&coded);
    }
    free(options);
    return 0;
}
