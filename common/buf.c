/* Growth doubles, so appending n bytes costs O(n). An empty buf points at one shared NUL and owns
 * no memory, which lets buf_init() cost nothing and b->data always be a string. */
#include "common/buf.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/parse.h" /* utf8_valid */

char buf_empty[1];

enum { BUF_BYTES_MIN = 64 };

void buf_init(struct buf *b)
{
    *b = (struct buf)BUF_INIT;
}

void buf_deinit(struct buf *b)
{
    if (b == NULL) {
        return;
    }
    if (b->capacity > 0) {
        free(b->data);
    }
    buf_init(b);
}

void buf_clear(struct buf *b)
{
    b->length = 0;
    if (b->capacity > 0) {
        b->data[0] = 0;
    }
}

/* The capacity that holds length + extra bytes and the NUL; 0 when that is more than the address
 * space. */
static size_t capacity_for(const struct buf *b, size_t extra)
{
    if (extra >= SIZE_MAX / 2 - b->length) {
        return 0;
    }
    size_t needed = b->length + extra + 1;
    size_t doubled = b->capacity * 2;
    size_t capacity = needed > doubled ? needed : doubled;
    return capacity > BUF_BYTES_MIN ? capacity : BUF_BYTES_MIN;
}

int buf_try_reserve(struct buf *b, size_t extra)
{
    CHECK(b->data != NULL);
    if (extra < b->capacity - b->length && b->capacity > 0) {
        return 0;
    }
    size_t capacity = capacity_for(b, extra);
    char *data = capacity == 0 ? NULL : realloc(b->capacity > 0 ? b->data : NULL, capacity);
    if (data == NULL) {
        return ERR_TOO_LARGE;
    }
    data[b->length] = 0;
    b->data = data;
    b->capacity = capacity;
    return 0;
}

void buf_reserve(struct buf *b, size_t extra)
{
    if (buf_try_reserve(b, extra) < 0) {
        alloc_failed(extra);
    }
}

/* Room for extra bytes, which then count as used. Returns where they start. */
static char *buf_extend(struct buf *b, size_t extra)
{
    buf_reserve(b, extra);
    char *at = b->data + b->length;
    b->length += extra;
    b->data[b->length] = 0;
    return at;
}

void buf_append(struct buf *b, const void *data, size_t length)
{
    if (length > 0) {
        memcpy(buf_extend(b, length), data, length);
    }
}

void buf_append_str(struct buf *b, const char *string)
{
    buf_append(b, string, strlen(string));
}

void buf_append_byte(struct buf *b, uint8_t byte)
{
    *buf_extend(b, 1) = (char)byte;
}

void buf_append_fill(struct buf *b, uint8_t byte, size_t count)
{
    if (count > 0) {
        memset(buf_extend(b, count), byte, count);
    }
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    size_t room = b->capacity - b->length; /* 0 only while b owns no memory */
    int length = vsnprintf(room > 0 ? b->data + b->length : NULL, room, format, args);
    va_end(args);
    CHECK(length >= 0);
    size_t needed = (size_t)length;
    char *at = buf_extend(b, needed);
    if (needed >= room) {
        length = vsnprintf(at, needed + 1, format, again);
        CHECK((size_t)length == needed);
    }
    va_end(again);
}

void buf_append_json(struct buf *b, const char *string)
{
    bool utf8 = utf8_valid(string, strlen(string));
    buf_append_byte(b, '"');
    for (const char *at = string; *at != 0; at++) {
        uint8_t byte = (uint8_t)*at;
        if (byte == '"' || byte == '\\') {
            buf_append_byte(b, '\\');
            buf_append_byte(b, byte);
        } else if (byte < 0x20) {
            buf_printf(b, "\\u%04x", byte);
        } else {
            buf_append_byte(b, byte < 0x80 || utf8 ? byte : '?');
        }
    }
    buf_append_byte(b, '"');
}

static void put_le(struct buf *b, uint64_t value, unsigned bytes)
{
    char *at = buf_extend(b, bytes);
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = (char)(value >> (8 * i));
    }
}

static void put_be(struct buf *b, uint64_t value, unsigned bytes)
{
    char *at = buf_extend(b, bytes);
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = (char)(value >> (8 * (bytes - 1 - i)));
    }
}

void buf_append_u16le(struct buf *b, uint16_t value)
{
    put_le(b, value, 2);
}

void buf_append_u32le(struct buf *b, uint32_t value)
{
    put_le(b, value, 4);
}

void buf_append_u64le(struct buf *b, uint64_t value)
{
    put_le(b, value, 8);
}

void buf_append_u32be(struct buf *b, uint32_t value)
{
    put_be(b, value, 4);
}

void buf_append_u64be(struct buf *b, uint64_t value)
{
    put_be(b, value, 8);
}

void buf_append_varint(struct buf *b, uint64_t value)
{
    while (value >= 0x80) {
        buf_append_byte(b, (uint8_t)(value | 0x80));
        value >>= 7;
    }
    buf_append_byte(b, (uint8_t)value);
}

char *buf_detach(struct buf *b, size_t *ret_length)
{
    if (b->capacity == 0) {
        buf_reserve(b, 0);
    }
    char *data = b->data;
    if (ret_length != NULL) {
        *ret_length = b->length;
    }
    buf_init(b);
    return data;
}

struct cursor cursor_of(const void *data, size_t length)
{
    return (struct cursor){.at = data, .left = length};
}

/* The next `length` bytes, or NULL and a failed cursor that gives nothing more. */
static const uint8_t *cursor_take(struct cursor *c, size_t length)
{
    if (c->failed || c->left < length) {
        c->failed = true;
        return NULL;
    }
    const uint8_t *at = c->at;
    if (length > 0) { /* an empty cursor may stand at NULL */
        c->at += length;
        c->left -= length;
    }
    return at;
}

static uint64_t get_le(struct cursor *c, unsigned bytes)
{
    const uint8_t *at = cursor_take(c, bytes);
    uint64_t value = 0;
    for (unsigned i = 0; at != NULL && i < bytes; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

static uint64_t get_be(struct cursor *c, unsigned bytes)
{
    const uint8_t *at = cursor_take(c, bytes);
    uint64_t value = 0;
    for (unsigned i = 0; at != NULL && i < bytes; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)get_le(c, 1);
}

uint16_t cursor_u16le(struct cursor *c)
{
    return (uint16_t)get_le(c, 2);
}

uint32_t cursor_u32le(struct cursor *c)
{
    return (uint32_t)get_le(c, 4);
}

uint64_t cursor_u64le(struct cursor *c)
{
    return get_le(c, 8);
}

uint32_t cursor_u32be(struct cursor *c)
{
    return (uint32_t)get_be(c, 4);
}

uint64_t cursor_u64be(struct cursor *c)
{
    return get_be(c, 8);
}

/* Only the shortest form is accepted, so that equal values have equal bytes. */
uint64_t cursor_varint(struct cursor *c)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = cursor_u8(c);
        bool overflow = shift == 63 && byte > 1;
        bool padded = shift > 0 && byte == 0;
        if (c->failed || overflow || padded) {
            break;
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return value;
        }
    }
    c->failed = true;
    return 0;
}

struct span cursor_bytes(struct cursor *c, size_t length)
{
    const uint8_t *at = cursor_take(c, length);
    return (struct span){.data = at != NULL ? (const void *)at : "",
                         .length = at != NULL ? length : 0};
}

int cursor_finish(const struct cursor *c)
{
    return c->failed || c->left > 0 ? ERR_CORRUPT : 0;
}
