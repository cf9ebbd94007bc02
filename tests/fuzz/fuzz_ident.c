/* An identity that was accepted can be written and read again. */
#include <stdint.h>

#include "common/check.h"
#include "common/crc32c.h"
#include "common/ident.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ident id;
    struct buf text = BUF_INIT, again = BUF_INIT;
    buf_append(&text, data, size);
    buf_printf(&text, "crc=%08x\n", crc32c(data, size)); /* so that the lines are reached */
    if (ident_decode(text.data, text.length, &id, NULL) == 0) {
        ident_encode(&id, &again);
        CHECK(again.length <= IDENT_FILE_BYTES_MAX);
        CHECK(ident_decode(again.data, again.length, &id, NULL) == 0);
    }
    buf_deinit(&text);
    buf_deinit(&again);
    return 0;
}
