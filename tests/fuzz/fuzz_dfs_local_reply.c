/* What a chunkserver of this host answers over its socket. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "client/read_local.h"
#include "common/check.h"
#include "common/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct read_local_reply reply;
    int r = read_local_reply_decode(data, size, &reply, NULL);
    if (r == 0) {
        CHECK(reply.length <= CHUNK_BYTES_MAX);
        uint64_t blocks = (reply.length + CHUNK_BLOCK_BYTES - 1) / CHUNK_BLOCK_BYTES;
        volatile uint32_t last = blocks > 0 ? reply.crcs[blocks - 1] : 0;
        (void)last;
        free(reply.crcs);
    }
    CHECK(r <= 0);
    return 0;
}
