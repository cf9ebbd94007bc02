/* A map output file that may be anything: its index, then every segment that the index names. */
#include <stdint.h>

#include "mapreduce/engine/run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct source *source = source_of_memory(data, size, "fuzz");
    struct run_index index = {NULL, 0};
    struct run_reader reader;
    struct mr_record record;
    run_reader_init(&reader);
    (void)!run_index_read(source, &index, NULL);
    for (uint32_t i = 0; i < index.count; i++) {
        run_reader_begin(&reader, source, index.segments[i].offset, index.segments[i].length);
        while (run_reader_next(&reader, &record, NULL) > 0) {
        }
    }
    run_reader_begin(&reader, source, 0,
                     size); /* and blocks without an index, as reduces fetch them */
    while (run_reader_next(&reader, &record, NULL) > 0) {
    }
    run_reader_deinit(&reader);
    run_index_deinit(&index);
    source_free(source);
    return 0;
}
