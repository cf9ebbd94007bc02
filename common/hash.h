/* One hash for bytes and one for numbers. Pure. Fast and well mixed, not cryptographic.
 *
 * hash_bytes() with seed 0 decides which reduce task gets a key, so its values are part of our
 * formats: they are the same on every machine and in every version (known answers stand in
 * test_hash.c). */
#ifndef COMMON_HASH_H
#define COMMON_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *data, size_t length, uint64_t seed);

/* Finaliser of SplitMix64: a bijection, each input bit changes each output bit with probability
 * 1/2. */
static inline uint64_t hash_u64(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

#endif
