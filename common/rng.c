#include "common/rng.h"

#include <string.h>
#include <sys/random.h>

#include "common/check.h"
#include "common/hash.h"
#include "common/macros.h"

/* SplitMix64 fills the state, as the authors of xoshiro advise; it gives no two zeros in a row. */
void rng_seed(struct rng *r, uint64_t seed)
{
    for (size_t i = 0; i < ARRAY_COUNT(r->state); i++) {
        seed += 0x9e3779b97f4a7c15ULL;
        r->state[i] = hash_u64(seed);
    }
}

void rng_seed_entropy(struct rng *r)
{
    rng_seed(r, rng_entropy_u64());
}

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t *s = r->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Lemire, "Fast random integer generation in an interval" (2019): the high half of a product, and a
 * rare retry that takes the bias away. */
uint64_t rng_below(struct rng *r, uint64_t bound)
{
    CHECK(bound > 0);
    unsigned __int128 product = (unsigned __int128)rng_u64(r) * bound;
    if ((uint64_t)product < bound) {
        uint64_t unfair = -bound % bound; /* 2^64 modulo bound */
        while ((uint64_t)product < unfair) {
            product = (unsigned __int128)rng_u64(r) * bound;
        }
    }
    return (uint64_t)(product >> 64);
}

uint64_t rng_range(struct rng *r, uint64_t least, uint64_t most)
{
    CHECK(least <= most);
    uint64_t width = most - least + 1; /* 0: all 64 bits */
    return width == 0 ? rng_u64(r) : least + rng_below(r, width);
}

double rng_unit(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1.0p-53;
}

void rng_fill(struct rng *r, void *data, size_t length)
{
    char *at = data;
    while (length > 0) {
        uint64_t word = rng_u64(r);
        size_t part = MIN(length, sizeof(word));
        memcpy(at, &word, part);
        at += part;
        length -= part;
    }
}

/* Up to 256 bytes at a time, which the kernel gives whole and uninterrupted. */
void rng_entropy(void *data, size_t length)
{
    char *at = data;
    while (length > 0) {
        size_t part = MIN(length, (size_t)256);
        ssize_t got = getrandom(at, part, 0);
        CHECK(got == (ssize_t)part);
        at += part;
        length -= part;
    }
}

uint64_t rng_entropy_u64(void)
{
    uint64_t value = 0;
    rng_entropy(&value, sizeof(value));
    return value;
}
