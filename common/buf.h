/* Growable byte string, always NUL-terminated beyond `length`. Any thread, one at a time. Open
 * struct: reading data and length directly is the intended use; writing only through these
 * functions. Aborts when memory is exhausted; lengths that a peer or a file chose go through
 * buf_try_reserve() after a check against limits.h. */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct buf {
    char *data;      /* never NULL after buf_init(); data[length] == 0 */
    size_t length;   /* bytes in use */
    size_t capacity; /* bytes allocated, 0 while data is the shared empty string */
};

/* A borrowed run of bytes; the owner keeps it alive. */
struct span {
    const void *data;
    size_t length;
};

extern char buf_empty[1];
#define BUF_INIT                                                                                   \
    {                                                                                              \
        buf_empty, 0, 0                                                                            \
    }

void buf_init(struct buf *b);
void buf_deinit(struct buf *b); /* accepts NULL and zeroed; leaves an empty, usable buf */
void buf_clear(struct buf *b);  /* length 0, memory kept */

/* Room for at least `extra` more bytes. */
void buf_reserve(struct buf *b, size_t extra);
/* ERR_TOO_LARGE when memory is not there. */
int buf_try_reserve(struct buf *b, size_t extra) MUST_CHECK;

void buf_append(struct buf *b, const void *data, size_t length);
void buf_append_str(struct buf *b, const char *string);
void buf_append_byte(struct buf *b, uint8_t byte);
void buf_append_fill(struct buf *b, uint8_t byte, size_t count);
void buf_printf(struct buf *b, const char *format, ...) ERR_PRINTF(2, 3);
/* As a JSON string with its quotes; bytes that are no UTF-8 become '?'. */
void buf_append_json(struct buf *b, const char *string);
/* JSON's word for it, for buf_printf(). */
static inline const char *json_bool(bool value)
{
    return value ? "true" : "false";
}

/* Integers of fixed width: little-endian for values, big-endian where bytes must sort as numbers
 * (keys). */
void buf_append_u16le(struct buf *b, uint16_t value);
void buf_append_u32le(struct buf *b, uint32_t value);
void buf_append_u64le(struct buf *b, uint64_t value);
void buf_append_u32be(struct buf *b, uint32_t value);
void buf_append_u64be(struct buf *b, uint64_t value);
void buf_append_varint(struct buf *b, uint64_t value); /* LEB128, at most 10 bytes */

/* The caller owns the returned bytes (free()); b is empty afterwards. */
char *buf_detach(struct buf *b, size_t *ret_length);

/* Cursor over untrusted bytes: every take checks what is left. After the first failure `failed`
 * stays true and every take gives zero, so a decoder checks once at its end (see dqlite
 * lib/serialize.h). */
struct cursor {
    const uint8_t *at;
    size_t left;
    bool failed;
};

struct cursor cursor_of(const void *data, size_t length);
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16le(struct cursor *c);
uint32_t cursor_u32le(struct cursor *c);
uint64_t cursor_u64le(struct cursor *c);
uint32_t cursor_u32be(struct cursor *c);
uint64_t cursor_u64be(struct cursor *c);
uint64_t cursor_varint(struct cursor *c);
struct span cursor_bytes(struct cursor *c, size_t length); /* borrowed from the cursor's memory */

/* 0 when nothing failed and all was consumed, else ERR_CORRUPT. */
int cursor_finish(const struct cursor *c) MUST_CHECK;

#endif
