/* What chunkservers send to libdfs: acknowledgements and pieces of chunks. */
#include <stddef.h>
#include <stdint.h>

#include "client/chunk_rpc.h"
#include "common/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rpc_bytes *message = rpc_bytes_copy(data, size);
    struct chain_ack ack;
    struct chunk_piece piece;
    if (chain_ack_parse(message, &ack) == 0) {
        CHECK(ack.failure <= 0);
    }
    if (chunk_piece_parse(message, &piece) == 0) {
        CHECK(piece.offset % CHUNK_BLOCK_BYTES == 0);
        CHECK(rpc_bytes_length(piece.data) <= DATA_MESSAGE_BYTES_MAX);
        rpc_bytes_unref(piece.data);
    }
    rpc_bytes_unref(message);
    return 0;
}
