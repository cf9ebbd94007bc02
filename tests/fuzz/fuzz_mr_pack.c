/* The messages of mapreduce: the first byte chooses which; what unpacks packs again to bytes that
 * unpack to the same bytes. */
#include <stdint.h>

#include "common/check.h"
#include "mapreduce/mr_pack.h"

#define AGAIN(name)                                                                                \
    do {                                                                                           \
        struct name value, twice;                                                                  \
        if (name##_unpack(bytes, &arena, &value, &e) == 0) {                                       \
            name##_pack(&value, &once);                                                            \
            CHECK(name##_unpack((struct span){once.data, once.length}, &arena, &twice, &e) == 0);  \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct buf once = BUF_INIT;
    struct err e = ERR_INIT;
    struct span bytes = {data + (size > 0), size - (size > 0)};
    switch (size > 0 ? data[0] % 6 : 0) { /* table */
    case 0:
        AGAIN(job_spec);
        break;
    case 1:
        AGAIN(job_record);
        break;
    case 2:
        AGAIN(job_status);
        break;
    case 3:
        AGAIN(worker_message);
        break;
    case 4:
        AGAIN(job_outcome);
        break;
    default:
        AGAIN(master_message);
        break;
    }
    buf_deinit(&once);
    arena_deinit(&arena);
    return 0;
}
