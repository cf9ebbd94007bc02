/* Messages of the Append and Read streams, from writers, readers and other chunkservers. */
#include <stddef.h>
#include <stdint.h>

#include "chunkserver/wire_rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wire_append append;
    static struct wire_read_data read_data;
    struct wire_open open;
    struct wire_read read;
    struct append_ack ack;
    char text[64];
    struct rpc_bytes *bytes = rpc_bytes_copy(data, size);
    if (wire_append_parse(bytes, &append, NULL) == 0) {
        rpc_bytes_unref(append.data);
    }
    if (wire_read_data_parse(bytes, &read_data) == 0) {
        rpc_bytes_unref(read_data.data);
    }
    int r = wire_open_parse(bytes, &open, NULL) + wire_ack_parse(bytes, &ack, text, sizeof(text)) +
            wire_read_parse(bytes, &read);
    rpc_bytes_unref(bytes);
    return r == 1 ? 1 : 0;
}
