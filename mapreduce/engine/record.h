/* How a record stands in memory buffers and in map output files: varint key length, varint value
 * length, key bytes, value bytes. Pure. Decoding trusts the bytes where they are our own memory and
 * checks them where they come from a file. */
#ifndef MAPREDUCE_ENGINE_RECORD_H
#define MAPREDUCE_ENGINE_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/limits.h"
#include "trireme/mapreduce.h"

enum { RECORD_HEAD_BYTES_MAX = 10 }; /* two lengths of at most 2^28: 5 bytes each at most */

static inline uint8_t *record_put_length(uint8_t *at, size_t length)
{
    while (length >= 0x80) {
        *at++ = (uint8_t)(length | 0x80);
        length >>= 7;
    }
    *at++ = (uint8_t)length;
    return at;
}

/* Needs RECORD_HEAD_BYTES_MAX + both lengths of room. Returns the end. */
static inline uint8_t *record_put(uint8_t *at, struct mr_span key, struct mr_span value)
{
    at = record_put_length(at, key.length);
    at = record_put_length(at, value.length);
    if (key.length > 0) {
        memcpy(at, key.data, key.length);
    }
    if (value.length > 0) {
        memcpy(at + key.length, value.data, value.length);
    }
    return at + key.length + value.length;
}

static inline const uint8_t *record_get_length(const uint8_t *at, size_t *ret_length)
{
    size_t length = *at++;
    if (length >= 0x80) {
        length &= 0x7f;
        unsigned shift = 7;
        uint8_t byte;
        do {
            byte = *at++;
            length |= (size_t)(byte & 0x7f) << shift;
            shift += 7;
        } while (byte >= 0x80);
    }
    *ret_length = length;
    return at;
}

/* Of a record that record_put() wrote. Returns its end. */
static inline const uint8_t *record_get(const uint8_t *at, struct mr_record *ret)
{
    size_t key_length;
    size_t value_length;
    at = record_get_length(at, &key_length);
    at = record_get_length(at, &value_length);
    ret->key = mr_bytes(at, key_length);
    ret->value = mr_bytes(at + key_length, value_length);
    return at + key_length + value_length;
}

/* Of bytes that may be anything. NULL: not a whole record of legal lengths before `end`. */
static inline const uint8_t *record_get_checked(const uint8_t *at, const uint8_t *end,
                                                struct mr_record *ret)
{
    size_t lengths[2];
    for (int i = 0; i < 2; i++) {
        size_t length = 0;
        for (unsigned shift = 0;; shift += 7) {
            if (at == end || shift > 28) {
                return NULL;
            }
            uint8_t byte = *at++;
            length |= (size_t)(byte & 0x7f) << shift;
            if (byte < 0x80) {
                break;
            }
        }
        lengths[i] = length;
    }
    if (lengths[0] > MR_RECORD_BYTES_MAX || lengths[1] > MR_RECORD_BYTES_MAX ||
        lengths[0] + lengths[1] > (size_t)(end - at)) {
        return NULL;
    }
    ret->key = mr_bytes(at, lengths[0]);
    ret->value = mr_bytes(at + lengths[0], lengths[1]);
    return at + lengths[0] + lengths[1];
}

/* The first 8 bytes of a key as a number that compares as they do; shorter keys as if NULs
 * followed, so equal prefixes say nothing yet. */
static inline uint64_t key_prefix(const void *key, size_t length)
{
    uint64_t word = 0;
    if (length >= 8) {
        memcpy(&word, key, 8);
    } else if (length > 0) {
        memcpy(&word, key, length);
    }
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* Order of keys: unsigned bytes, a prefix before the longer key. */
static inline int key_compare(struct mr_span a, struct mr_span b)
{
    size_t shorter = a.length < b.length ? a.length : b.length;
    int order = shorter > 0 ? memcmp(a.data, b.data, shorter) : 0;
    return order != 0 ? order : (a.length > b.length) - (a.length < b.length);
}

#endif
