/* The folded multiply of wyhash: 8 bytes a step, one 64 x 64 -> 128 bit multiplication each. */
#include "common/hash.h"

#include <endian.h>
#include <string.h>

/* Odd constants with 32 bits set each, from the digits of no particular number. */
static const uint64_t mix_a = 0xa0761d6478bd642fULL;
static const uint64_t mix_b = 0xe7037ed1a0b428dbULL;

static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Up to 8 bytes, little-endian on every machine. */
static uint64_t load(const uint8_t *at, size_t length)
{
    uint64_t word = 0;
    memcpy(&word, at, length);
    return le64toh(word);
}

uint64_t hash_bytes(const void *data, size_t length, uint64_t seed)
{
    const uint8_t *at = data;
    size_t left = length;
    uint64_t state = seed ^ mix_a;
    for (; left > 8; at += 8, left -= 8) {
        state = fold(state ^ load(at, 8), mix_b);
    }
    if (left > 0) {
        state = fold(state ^ load(at, left), mix_b);
    }
    return hash_u64(fold(state ^ mix_b, length ^ mix_a));
}
