/* A whole backup: raw, and behind a header that fits, so that files and their checksums are read.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/buf.h"
#include "common/check.h"
#include "common/snapshot_stream.h"

/* In two parts, so that each place is once the end of one. */
static void take(const void *data, size_t size, size_t first)
{
    struct snapshot_sink *s = NULL;
    CHECK(snapshot_sink_open(NULL, &s, NULL) == 0);
    if (snapshot_sink_write(s, (struct span){data, first}, NULL) == 0 &&
        snapshot_sink_write(s, (struct span){(const char *)data + first, size - first}, NULL) ==
            0 &&
        snapshot_sink_finish(s, NULL) == 0) {
        CHECK(snapshot_bytes(snapshot_sink_header(s)) == size);
    }
    snapshot_sink_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct snapshot_file files[] = {{"a", 0}, {"b", 0}};
    struct snapshot_header h = {7, 3, files, 2};
    struct buf b = BUF_INIT;
    if (size < 2) {
        return 0;
    }
    size_t first = data[0];
    files[0].bytes = data[1] % 16;
    files[1].bytes = data[1] / 16;
    take(data, size, first % size);
    snapshot_header_encode(&h, &b);
    buf_append(&b, data + 2, size - 2);
    take(b.data, b.length, first % b.length);
    buf_deinit(&b);
    return 0;
}
