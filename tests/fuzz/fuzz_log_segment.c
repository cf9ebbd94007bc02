/* Opens a log whose segment an attacker wrote. Good checksums stand over records of his choice
 * first, raw bytes last. */
#include <stdint.h>

#include "common/raft/log_store.h"
#include "tests/lib/fake_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fake_disk *d = fake_disk_new();
    struct log_store_options options = {fake_disk_as_disk(d), 64 * 1024, 1};
    struct log_store *s = NULL;
    struct buf image = BUF_INIT;
    struct cursor c = cursor_of(data, size);
    log_segment_header_encode(&(struct log_segment_header){.number = 1, .first_seq = 1}, &image);
    for (uint64_t seq = 1; cursor_u8(&c) & 1; seq++) {
        size_t at = image.length;
        struct log_batch b = {seq, 0, cursor_u8(&c) % 8, 0, cursor_u8(&c) & 3, 0};
        buf_append_fill(&image, 0, LOG_BATCH_HEADER_BYTES);
        for (uint32_t i = b.record_count; i > 0; i--) {
            struct log_record r = {1 + cursor_u8(&c) % 5, 0, cursor_varint(&c), cursor_u8(&c), {0}};
            log_record_encode(&r, &image);
        }
        log_batch_seal(&b, 0, &image, at);
    }
    buf_append(&image, c.at, c.left);
    fake_disk_put(d, "segment-0000000000000001", (struct span){image.data, image.length});
    (void)!log_store_open(&options, &s, NULL);
    log_store_close(s);
    buf_deinit(&image);
    fake_disk_free(d);
    return 0;
}
