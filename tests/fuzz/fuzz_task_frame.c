/* Frames between worker and task: whatever the bytes, frames lie inside of them, one after the
 * other. */
#include <stdint.h>

#include "common/check.h"
#include "mapreduce/task_pipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf in = BUF_INIT;
    size_t at = 0;
    size_t before = 0;
    enum task_frame_kind kind;
    struct span payload;
    int code = 0;
    buf_append(&in, data, size);
    while (task_frame_take(&in, &at, &kind, &payload, &code)) {
        CHECK(at > before && at <= in.length);
        CHECK((const char *)payload.data == in.data + before + 5);
        CHECK(payload.length == at - before - 5);
        before = at;
    }
    CHECK(at == before);
    buf_deinit(&in);
    return 0;
}
