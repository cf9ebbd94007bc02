/* Any bytes as a configuration: refused, or a configuration whose bytes are these and no others. */
#include <string.h>

#include "common/raft/raft_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct raft_config config;
    struct buf again = BUF_INIT;
    if (raft_config_decode((struct span){data, size}, &config, NULL) == 0) {
        raft_config_encode(&config, &again);
        if (again.length != size || memcmp(again.data, data, size) != 0 ||
            raft_config_voter_count(&config) == 0) {
            __builtin_trap();
        }
    }
    buf_deinit(&again);
    return 0;
}
