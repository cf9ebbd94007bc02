/* Random numbers: a seeded generator (xoshiro256**, Blackman and Vigna 2018) for everything that
 * must replay, and the kernel's entropy for keys. The generator is a plain value of one thread;
 * never use it for secrets. */
#ifndef COMMON_RNG_H
#define COMMON_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state[4]; /* never all zero */
};

void rng_seed(struct rng *r, uint64_t seed); /* equal seeds, equal sequences, for ever */
void rng_seed_entropy(struct rng *r);        /* a seed from the kernel */

uint64_t rng_u64(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t bound); /* uniform in [0, bound), bound > 0 */
uint64_t rng_range(struct rng *r, uint64_t least, uint64_t most); /* uniform in [least, most] */
double rng_unit(struct rng *r);                                   /* uniform in [0, 1) */
void rng_fill(struct rng *r, void *data, size_t length);

/* Unpredictable bytes from getrandom(). Aborts if the kernel has none to give, which no supported
 * kernel does. */
void rng_entropy(void *data, size_t length);
uint64_t rng_entropy_u64(void);

#endif
