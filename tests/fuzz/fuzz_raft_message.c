/* A message of Raft from any peer: what is taken fits the limits, and packs again. */
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/check.h"
#include "common/limits.h"
#include "fsmaster/raft_rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct raft_unpacked u;
    struct rpc_bytes *bytes = rpc_bytes_copy(data, size);
    if (raft_message_unpack(bytes, &arena, &u, NULL) == 0 && !u.is_hello) {
        const struct raft_append *a = &u.message.append;
        CHECK(u.message.kind != RAFT_APPEND || a->count <= RAFT_APPEND_COUNT_MAX);
        rpc_bytes_unref(raft_message_pack(&u.envelope, &u.message));
    }
    rpc_bytes_unref(bytes);
    arena_deinit(&arena);
    return 0;
}
