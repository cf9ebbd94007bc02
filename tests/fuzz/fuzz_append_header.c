/* Messages of the Append and Read streams, from writers, readers and other chunkservers. What is an
 * append goes through the core as well, twice: the second time it is a retry. */
#include <stddef.h>
#include <stdint.h>

#include "chunkserver/wire_rpc.h"
#include "common/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed_core(const struct append_message *m)
{
    struct append a;
    struct append_update u;
    struct append_start start = {
        .chunk = {1, 1}, .self = 1, .first = true, .chunk_bytes = CHUNK_BYTES_MIN};
    append_init(&a, &start);
    for (int i = 0; i < 2 && !append_is_over(&a); i++) {
        append_message(&a, m, 1, &u);
        append_check(&a);
        if (u.write || u.seal) {
            bool seal = a.phase == APPEND_FINISHING;
            append_own_done(&a, (struct append_progress){a.accepted, seal ? a.accepted : 0, seal},
                            1, &u);
            append_check(&a);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wire_append append;
    static struct wire_read_data read_data;
    struct wire_open open;
    struct wire_read read;
    struct append_ack ack;
    char text[64];
    struct rpc_bytes *bytes = rpc_bytes_copy(data, size);
    for (int first = 0; first < 2; first++) {
        if (wire_append_parse(bytes, first, &append, NULL) == 0) {
            feed_core(&append.message);
            rpc_bytes_unref(append.data);
        }
    }
    if (wire_read_data_parse(bytes, &read_data) == 0) {
        rpc_bytes_unref(read_data.data);
    }
    int r = wire_open_parse(bytes, &open, NULL) + wire_ack_parse(bytes, &ack, text, sizeof(text)) +
            wire_read_parse(bytes, &read);
    rpc_bytes_unref(bytes);
    return r == 1 ? 1 : 0;
}
