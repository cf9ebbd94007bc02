/* 64 bytes at a time become a bit mask of white space; word borders are where neighbours differ,
 * and finding set bits has no branch that depends on the length of a word. The same C for every
 * machine: the compiler makes vector compares of the inner loop. */
#include "mapreduce/engine/words.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { STEP = 64 };

static inline bool is_space(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Bit i: byte i of 64 is white space. */
static inline uint64_t space_mask_plain(const uint8_t *at)
{
    uint64_t mask = 0;
    for (int i = 0; i < STEP; i++) {
        mask |= (uint64_t)is_space(at[i]) << i;
    }
    return mask;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static inline uint64_t space_mask_avx2(const uint8_t *at)
{
    uint64_t mask = 0;
    for (size_t half = 0; half < 2; half++) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)(at + 32 * half));
        __m256i blank = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(' '));
        __m256i low = _mm256_add_epi8(bytes, _mm256_set1_epi8((char)(127 - '\r')));
        __m256i control = _mm256_cmpgt_epi8(low, _mm256_set1_epi8(127 - '\r' + '\t' - 1));
        uint32_t bits = (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(blank, control));
        mask |= (uint64_t)bits << (32 * half);
    }
    return mask;
}
#endif

struct cutter {
    const uint8_t *begin; /* of the text */
    const uint8_t *word;  /* where the open word begins; NULL: between words */
    struct mr_span *words;
    size_t count;
    size_t words_max;
};

/* Takes the words that end in 64 bytes with this mask. False: words_max is reached at *ret_stop. */
static inline bool cut(struct cutter *c, const uint8_t *at, uint64_t spaces,
                       const uint8_t **ret_stop)
{
    uint64_t before = (spaces << 1) | (c->word ? 0 : 1); /* the neighbour on the left is a space */
    uint64_t borders = spaces ^ before;
    while (borders) {
        const uint8_t *border = at + __builtin_ctzll(borders);
        borders &= borders - 1;
        if (c->word) {
            c->words[c->count++] = mr_bytes(c->word, (size_t)(border - c->word));
            c->word = NULL;
            if (c->count == c->words_max) {
                *ret_stop = border;
                return false;
            }
        } else {
            c->word = border;
        }
    }
    return true;
}

#define SPLIT(name, attributes, space_mask)                                                        \
    attributes static size_t name(struct mr_span *text, struct mr_span *words, size_t words_max)   \
    {                                                                                              \
        const uint8_t *at = text->data;                                                            \
        const uint8_t *end = at + text->length;                                                    \
        struct cutter c = {at, NULL, words, 0, words_max};                                         \
        const uint8_t *stop = end;                                                                 \
        for (; end - at >= STEP; at += STEP) {                                                     \
            if (!cut(&c, at, space_mask(at), &stop)) {                                             \
                goto full;                                                                         \
            }                                                                                      \
        }                                                                                          \
        if (end > at) {                                                                            \
            uint8_t last[STEP];                                                                    \
            memset(last, ' ', sizeof(last));                                                       \
            memcpy(last, at, (size_t)(end - at));                                                  \
            if (!cut(&c, at, space_mask(last), &stop)) {                                           \
                goto full;                                                                         \
            }                                                                                      \
        }                                                                                          \
        if (c.word) {                                                                              \
            words[c.count++] = mr_bytes(c.word, (size_t)(end - c.word));                           \
        }                                                                                          \
    full:                                                                                          \
        *text = mr_bytes(stop, (size_t)(end - stop));                                              \
        return c.count;                                                                            \
    }

SPLIT(split_plain, , space_mask_plain)

#if defined(__x86_64__)
SPLIT(split_avx2, __attribute__((target("avx2,bmi"))), space_mask_avx2)

size_t words_split(struct mr_span *text, struct mr_span *words, size_t words_max)
{
    if (text->length == 0) {
        return 0;
    }
    return __builtin_cpu_supports("avx2") ? split_avx2(text, words, words_max)
                                          : split_plain(text, words, words_max);
}
#else
size_t words_split(struct mr_span *text, struct mr_span *words, size_t words_max)
{
    return text->length > 0 ? split_plain(text, words, words_max) : 0;
}
#endif
