/* Lines of any bytes, cut at any place: each byte belongs to exactly one line. The first two bytes
 * choose the cut. */
#include <stdint.h>

#include "common/check.h"
#include "common/limits.h"
#include "mapreduce/engine/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t length = size - 2;
    size_t cut = length > 0 ? (data[0] + 256U * data[1]) % (length + 1) : 0;
    struct source *source = source_of_memory(data + 2, length, "fuzz");
    struct input *in = input_new(&(struct input_options){.record_bytes_max = MR_RECORD_BYTES_MAX});
    uint64_t next = 0; /* where the next line must begin */
    for (int part = 0; part < 2; part++) {
        struct input_batch batch;
        input_begin(in, source, part ? cut : 0, part ? length - cut : cut);
        while (input_next(in, &batch, NULL) == 0 && batch.count > 0) {
            for (size_t i = 0; i < batch.count; i++, next++) {
                CHECK(mr_get_u64(batch.records[i].key) == next);
                next += batch.records[i].value.length;
            }
        }
    }
    CHECK(next == length || next == length + 1);
    input_free(in);
    source_free(source);
    return 0;
}
