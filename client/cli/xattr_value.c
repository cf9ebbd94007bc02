/* See xattr_value.h. */
#include "client/cli/xattr_value.h"

#include <string.h>

#include "common/macros.h"
#include "common/parse.h"

static const char *const names[] = {"", "text", "hex", "base64"};
static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool xattr_encoding_of(const char *name, enum xattr_encoding *ret)
{
    for (size_t i = XATTR_AS_TEXT; i < ARRAY_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret = (enum xattr_encoding)i;
            return true;
        }
    }
    return false;
}

const char *xattr_encoding_name(enum xattr_encoding encoding)
{
    return names[encoding];
}

bool xattr_is_text(struct span value)
{
    const uint8_t *bytes = value.data;
    bool text = value.length == 0 || utf8_valid(value.data, value.length);
    for (size_t i = 0; text && i < value.length; i++) {
        text = bytes[i] >= 0x20 && bytes[i] != 0x7f;
    }
    return text;
}

/* ---- Parsing -------------------------------------------------------------------------------- */

static int digit_of(const char *digits, char digit)
{
    const char *at = digit ? strchr(digits, digit) : NULL;
    return at ? (int)(at - digits) : -1;
}

static int hex_digit_of(char digit)
{
    int value = digit_of("0123456789abcdefABCDEF", digit);
    return value >= 16 ? value - 6 : value;
}

static int hex_parse(const char *text, struct buf *out, struct err *e)
{
    size_t length = strlen(text);
    if (length % 2 != 0) {
        return err_set(e, ERR_INVALID, "an odd number of hexadecimal digits");
    }
    for (size_t i = 0; i < length; i += 2) {
        int high = hex_digit_of(text[i]);
        int low = hex_digit_of(text[i + 1]);
        if (high < 0 || low < 0) {
            return err_set(e, ERR_INVALID, "not hexadecimal at `%.8s\'", text + i);
        }
        buf_append_byte(out, (uint8_t)(high * 16 + low));
    }
    return 0;
}

/* One group of four digits, of which the last two may be "=". Bytes written; -1: it is none. */
static int base64_parse_group(const char *text, uint8_t bytes[3])
{
    uint32_t bits = 0;
    int count = 0;
    for (int i = 0; i < 4; i++) {
        int digit = digit_of(base64_digits, text[i]);
        bool padding = text[i] == '=' && i >= 2 && (i == 3 || text[3] == '=');
        if (digit < 0 && !padding) {
            return -1;
        }
        bits = bits << 6 | (uint32_t)(digit < 0 ? 0 : digit);
        count += digit >= 0;
    }
    bytes[0] = (uint8_t)(bits >> 16);
    bytes[1] = (uint8_t)(bits >> 8);
    bytes[2] = (uint8_t)bits;
    return count - 1;
}

static int base64_parse(const char *text, struct buf *out, struct err *e)
{
    size_t length = strlen(text);
    if (length % 4 != 0) {
        return err_set(e, ERR_INVALID, "base64 comes in groups of four characters");
    }
    for (size_t i = 0; i < length; i += 4) {
        uint8_t bytes[3];
        int count = base64_parse_group(text + i, bytes);
        if (count < 0 || (count < 3 && i + 4 < length)) {
            return err_set(e, ERR_INVALID, "not base64 at `%.4s\'", text + i);
        }
        buf_append(out, bytes, (size_t)count);
    }
    return 0;
}

int xattr_value_parse(const char *text, struct buf *out, struct err *e)
{
    size_t length = strlen(text);
    if (length >= 2 && text[0] == '"' && text[length - 1] == '"') {
        buf_append(out, text + 1, length - 2);
        return 0;
    }
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        return hex_parse(text + 2, out, e);
    }
    if (text[0] == '0' && (text[1] == 's' || text[1] == 'S')) {
        return base64_parse(text + 2, out, e);
    }
    buf_append(out, text, length);
    return 0;
}

/* ---- Printing ------------------------------------------------------------------------------- */

static void print_hex(struct span value, struct buf *out)
{
    const uint8_t *bytes = value.data;
    buf_append_str(out, "0x");
    for (size_t i = 0; i < value.length; i++) {
        buf_append_byte(out, (uint8_t)hex_digits[bytes[i] >> 4]);
        buf_append_byte(out, (uint8_t)hex_digits[bytes[i] & 15]);
    }
}

static void print_base64(struct span value, struct buf *out)
{
    const uint8_t *bytes = value.data;
    buf_append_str(out, "0s");
    for (size_t i = 0; i < value.length; i += 3) {
        size_t left = value.length - i;
        uint32_t bits = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                        (left > 2 ? bytes[i + 2] : 0);
        for (size_t digit = 0; digit < 4; digit++) {
            char c = base64_digits[bits >> (18 - 6 * digit) & 63];
            buf_append_byte(out, (uint8_t)(digit > left ? '=' : c));
        }
    }
}

void xattr_value_print(struct span value, enum xattr_encoding encoding, struct buf *out)
{
    if (encoding == XATTR_AS_FITS) {
        encoding = xattr_is_text(value) ? XATTR_AS_TEXT : XATTR_AS_BASE64;
    }
    if (encoding == XATTR_AS_HEX) {
        print_hex(value, out);
    } else if (encoding == XATTR_AS_BASE64) {
        print_base64(value, out);
    } else {
        buf_append_byte(out, '"');
        buf_append(out, value.data, value.length);
        buf_append_byte(out, '"');
    }
}
