/* What a local client may send to the chunkserver's Unix socket. */
#include <stddef.h>
#include <stdint.h>

#include "chunkserver/local_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chunk_ref ref;
    return local_request_decode(data, size, &ref) > 0 ? 1 : 0;
}
