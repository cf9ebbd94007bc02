/* Everything a user types; exact forms of what was accepted parse back to the same value. */
#include <stdint.h>

#include "common/buf.h"
#include "common/check.h"
#include "common/limits.h"
#include "common/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf text = BUF_INIT;
    uint64_t value = 0, back = 0;
    uint16_t port = 0;
    uint8_t bytes[4];
    char shown[FORMAT_TEXT_BYTES], host[LIMIT_HOST_BYTES_MAX + 1];
    buf_append(&text, data, size);
    if (parse_size(text.data, &value, NULL) == 0) {
        CHECK(parse_size(format_size_exact(value, shown), &back, NULL) == 0 && back == value);
    }
    if (parse_duration(text.data, &value, NULL) == 0) {
        CHECK(parse_duration(format_duration_exact(value, shown), &back, NULL) == 0 &&
              back == value);
    }
    (void)!parse_address(text.data, host, sizeof(host), &port, NULL);
    (void)!parse_hex(text.data, bytes, sizeof(bytes), NULL);
    (void)utf8_valid(data, size);
    buf_deinit(&text);
    return 0;
}
