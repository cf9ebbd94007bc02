/* Data messages of a peer, in slices cut where the first byte says. */
#include <stddef.h>
#include <stdint.h>

#include "common/check.h"
#include "common/macros.h"
#include "common/rpc/rpc_bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { PIECES = 8 };
    size_t piece = size == 0 ? 1 : MAX(data[0] % 64, size / (PIECES - 1)) + 1;
    struct rpc_bytes *list[PIECES] = {NULL};
    size_t count = 0;
    for (size_t at = MIN(size, 1); at < size && count < PIECES; at += piece) {
        list[count++] = rpc_bytes_copy(data + at, MIN(piece, size - at));
    }
    struct rpc_bytes *whole = rpc_bytes_join(list, count);
    struct rpc_data_message message;
    if (rpc_data_message_parse(whole, &message) == 0) {
        CHECK(message.header.length + rpc_bytes_length(message.data) <= rpc_bytes_length(whole));
        rpc_data_message_deinit(&message);
    }
    for (size_t i = 0; i < count; i++) {
        rpc_bytes_unref(list[i]);
    }
    rpc_bytes_unref(whole);
    return 0;
}
