/* The header of a snapshot from a peer, raw and with a checksum that fits. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/crc32c.h"
#include "common/snapshot_stream.h"

static void decode(const void *data, size_t size)
{
    struct snapshot_header h = {0};
    if (snapshot_header_decode((struct span){data, size}, &h, NULL) > 0) {
        for (size_t i = 0; i < h.file_count; i++) {
            CHECK(strchr(h.files[i].name, '/') == NULL && strcmp(h.files[i].name, "..") != 0);
        }
        CHECK(snapshot_bytes(&h) > 0);
        snapshot_header_deinit(&h);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct snapshot_header empty = {0};
    struct buf b = BUF_INIT;
    decode(data, size);
    snapshot_header_encode(&empty, &b);
    if (size > 20) { /* behind magic, format and length */
        size_t keep = 16;
        uint32_t length = (uint32_t)(keep + size + 4);
        memcpy(b.data + 12, &length, sizeof(length));
        b.length = keep;
        buf_append(&b, data, size);
        buf_append_u32le(&b, crc32c(b.data, b.length));
        decode(b.data, b.length);
    }
    buf_deinit(&b);
    return 0;
}
