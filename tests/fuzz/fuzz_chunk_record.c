/* The records of the chunk index, as a damaged disk might give them. */
#include <stddef.h>
#include <stdint.h>

#include "chunkserver/chunk_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span value = {data, size};
    struct chunk_record record;
    struct crc_segment segment;
    struct inline_data inlined;
    struct trash_entry entry;
    uint64_t number = 0;
    size_t half = size / 2;
    int r =
        chunk_record_decode(1, value, &record) + crc_segment_decode(value, &segment) +
        inline_data_decode(value, &inlined) + index_number_decode(value, &number) +
        chunk_key_decode(value, &number) +
        trash_decode((struct span){data, half}, (struct span){data + half, size - half}, &entry);
    return r == 1 ? 1 : 0;
}
