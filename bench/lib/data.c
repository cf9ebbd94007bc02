/* See data.h. Zipf ranks are drawn by inverting the cumulative distribution with a table of 2^16
 * equal steps, then a binary search between two of them: exact, and 20 ns a word. */
#include "bench/lib/data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/hash.h"
#include "common/rng.h"

enum {
    WORD_BYTES_MIN = 2,
    WORD_BYTES_MAX = 12,
    LINE_BYTES = 80,
    STEP_COUNT = 1 << 16,
};

static const double zipf_exponent = 1.05;

void bench_random(void *to, size_t length, uint64_t seed, uint64_t offset)
{
    char *at = to;
    for (size_t done = 0; done < length; done += sizeof(uint64_t)) {
        uint64_t word = hash_u64(seed + ((offset + done) / sizeof(uint64_t)) * 0x9e3779b97f4a7c15U);
        size_t n = length - done < sizeof(word) ? length - done : sizeof(word);
        memcpy(at + done, &word, n);
    }
}

void bench_tera(void *to, uint64_t first, size_t count, uint64_t seed)
{
    char *record = to;
    for (uint64_t i = first; i < first + count; i++, record += BENCH_TERA_RECORD_BYTES) {
        uint64_t random = hash_u64(seed ^ hash_u64(i));
        for (int k = 0; k < BENCH_TERA_KEY_BYTES; k++) {
            record[k] = (char)(' ' + random % 95);
            random = k == 4 ? hash_u64(random + i) : random / 95;
        }
        memset(record + BENCH_TERA_KEY_BYTES, (int)('A' + i % 26),
               BENCH_TERA_RECORD_BYTES - BENCH_TERA_KEY_BYTES - 1);
        char number[24];
        int n = snprintf(number, sizeof(number), " %020lu ", (unsigned long)i);
        memcpy(record + BENCH_TERA_KEY_BYTES, number, (size_t)n);
        record[BENCH_TERA_RECORD_BYTES - 1] = '\n';
    }
}

struct bench_zipf {
    uint32_t vocabulary;
    double *below;  /* below[i]: probability of a rank of at most i */
    uint32_t *step; /* first rank whose `below` reaches a step of the unit interval */
    char (*words)[WORD_BYTES_MAX + 1];
};

/* Word number i: letters from its hash; frequent words tend to be short, as in language. */
static void make_word(char word[WORD_BYTES_MAX + 1], uint32_t i)
{
    uint64_t random = hash_u64(i + 1);
    size_t rank_bytes = (size_t)(log2((double)i + 2) / 2);
    size_t length = WORD_BYTES_MIN + rank_bytes / 2 + random % 5;
    length = length > WORD_BYTES_MAX ? WORD_BYTES_MAX : length;
    random = hash_u64(random);
    for (size_t k = 0; k < length; k++) {
        word[k] = (char)('a' + random % 26);
        random = k == 7 ? hash_u64(random + i) : random / 26;
    }
    word[length] = '\0';
}

struct bench_zipf *bench_zipf_new(uint32_t vocabulary)
{
    struct bench_zipf *z = xcalloc(1, sizeof(*z));
    z->vocabulary = vocabulary;
    z->below = xreallocarray(NULL, vocabulary, sizeof(double));
    z->step = xreallocarray(NULL, STEP_COUNT + 1, sizeof(uint32_t));
    z->words = xcalloc(vocabulary, sizeof(z->words[0]));
    double sum = 0;
    for (uint32_t i = 0; i < vocabulary; i++) {
        sum += pow((double)i + 1, -zipf_exponent);
        z->below[i] = sum;
        make_word(z->words[i], i);
    }
    uint32_t rank = 0;
    for (uint32_t s = 0; s <= STEP_COUNT; s++) {
        while (rank + 1 < vocabulary && z->below[rank] / sum < (double)s / STEP_COUNT) {
            rank++;
        }
        z->step[s] = rank;
    }
    for (uint32_t i = 0; i < vocabulary; i++) {
        z->below[i] /= sum;
    }
    return z;
}

void bench_zipf_free(struct bench_zipf *z)
{
    if (z) {
        free(z->below);
        free(z->step);
        free(z->words);
        free(z);
    }
}

static uint32_t draw(const struct bench_zipf *z, struct rng *rng)
{
    double unit = rng_unit(rng);
    uint32_t s = (uint32_t)(unit * STEP_COUNT);
    uint32_t low = z->step[s];
    uint32_t high = z->step[s + 1];
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (z->below[middle] < unit) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void bench_zipf_text(const struct bench_zipf *z, char *to, size_t length, uint64_t seed)
{
    struct rng rng;
    size_t at = 0;
    size_t line = 0;
    rng_seed(&rng, seed);
    for (;;) {
        const char *word = z->words[draw(z, &rng)];
        size_t n = strlen(word);
        if (at + n + 1 > length) {
            break;
        }
        memcpy(to + at, word, n);
        at += n;
        line += n + 1;
        to[at++] = line >= LINE_BYTES ? '\n' : ' ';
        line = line >= LINE_BYTES ? 0 : line;
    }
    if (at > 0) {
        to[at - 1] = '\n';
    }
    memset(to + at, '\n', length - at);
}
