/* The cursor: the first bytes choose the takes, and no order of them reads outside of the rest. */
#include <stdint.h>

#include "common/buf.h"
#include "common/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static volatile unsigned sum; /* the reads must happen */
    size_t steps = size / 2;
    struct cursor c = cursor_of(data + steps, size - steps);
    for (size_t i = 0; i < steps; i++) {
        struct span bytes;
        size_t left = c.left;
        switch (data[i] % 4) {
        case 0:
            (void)cursor_varint(&c);
            break;
        case 1:
            (void)cursor_u64be(&c);
            break;
        case 2:
            (void)cursor_u16le(&c);
            break;
        default:
            bytes = cursor_bytes(&c, data[i]);
            for (size_t at = 0; at < bytes.length; at++) {
                sum += ((const uint8_t *)bytes.data)[at];
            }
        }
        CHECK(c.left <= left);
    }
    return cursor_finish(&c) != 0 && cursor_finish(&c) != ERR_CORRUPT;
}
