/* Radix sort from the most significant byte over the 8-byte prefixes, between two arrays; small
 * groups by insertion. A group whose prefixes are all equal is split by "the key ends here" and
 * refilled with the next 8 bytes of its keys (AlphaSort's prefixes and Bentley and Sedgewick's
 * multikey idea); beyond DEPTH_MAX bytes in common, by merging with memcmp, so that long equal keys
 * cost n log n and no deep recursion. Every step is stable, so equal keys need no tie-break.
 *
 * Recursion: at most 8 digits for each of DEPTH_MAX / 8 refills. */
#include "mapreduce/engine/sorter.h"

#include <string.h>

#include "common/macros.h"
#include "mapreduce/engine/record.h"

enum {
    SMALL_COUNT = 24, /* measured best on random keys between 12 and 48 */
    DEPTH_MAX = 64,   /* bytes of common prefix that are sorted by digits */
    DIGITS = 256,
};

struct sorter {
    const uint8_t *records;
    size_t depth; /* entries' prefixes are the key's bytes [depth, depth + 8) */
};

static struct mr_span key_of(const struct sorter *s, const struct sort_entry *entry)
{
    const uint8_t *at = s->records + entry->offset;
    size_t key_length;
    size_t value_length;
    at = record_get_length(at, &key_length);
    at = record_get_length(at, &value_length);
    return mr_bytes(at, key_length);
}

/* Whether a belongs behind b. All bytes before s->depth are equal. */
static bool is_behind(const struct sorter *s, const struct sort_entry *a,
                      const struct sort_entry *b)
{
    if (a->prefix != b->prefix) {
        return a->prefix > b->prefix;
    }
    struct mr_span x = key_of(s, a);
    struct mr_span y = key_of(s, b);
    size_t skip = MIN(s->depth, MIN(x.length, y.length));
    return key_compare(mr_bytes((const char *)x.data + skip, x.length - skip),
                       mr_bytes((const char *)y.data + skip, y.length - skip)) > 0;
}

static void sort_by_insertion(const struct sorter *s, const struct sort_entry *from,
                              struct sort_entry *to, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct sort_entry entry = from[i]; /* from may be to */
        size_t at = i;
        while (at > 0 && is_behind(s, &to[at - 1], &entry)) {
            to[at] = to[at - 1];
            at--;
        }
        to[at] = entry;
    }
}

/* Stable merge sort from the bottom up; the result is in `a`. */
static void sort_by_merging(const struct sorter *s, struct sort_entry *a, struct sort_entry *b,
                            size_t count)
{
    for (size_t i = 0; i < count; i += SMALL_COUNT) {
        sort_by_insertion(s, a + i, a + i, MIN((size_t)SMALL_COUNT, count - i));
    }
    struct sort_entry *from = a;
    struct sort_entry *to = b;
    for (size_t width = SMALL_COUNT; width < count; width *= 2) {
        for (size_t low = 0; low < count; low += 2 * width) {
            size_t middle = MIN(low + width, count);
            size_t high = MIN(low + 2 * width, count);
            size_t left = low;
            size_t right = middle;
            for (size_t out = low; out < high; out++) {
                bool take_right =
                    left == middle || (right < high && is_behind(s, &from[left], &from[right]));
                to[out] = take_right ? from[right++] : from[left++];
            }
        }
        struct sort_entry *swap = from;
        from = to;
        to = swap;
    }
    if (from != a) {
        memcpy(a, from, count * sizeof(*a));
    }
}

static void sort_digits(const struct sorter *s, struct sort_entry *a, struct sort_entry *b,
                        size_t count, bool into_b);

/* Moves the keys that end within the prefix to the front, in order of their lengths. Among equal
 * prefixes these are the smallest. Returns how many. */
static size_t take_ended(const struct sorter *s, struct sort_entry *a, struct sort_entry *b,
                         size_t count)
{
    enum { ENDS = 10 }; /* key ends after 0 to 8 bytes of the prefix, or goes on */
    size_t ends[ENDS] = {0};
    for (size_t i = 0; i < count; i++) {
        size_t left = key_of(s, &a[i]).length - s->depth;
        ends[MIN(left, (size_t)ENDS - 1)]++;
    }
    size_t ended = count - ends[ENDS - 1];
    if (ended == 0 || ends[8] == count) { /* nothing to move: all go on, or all are equal */
        return ended;
    }
    size_t at[ENDS];
    size_t sum = 0;
    for (size_t i = 0; i < ENDS; i++) {
        at[i] = sum;
        sum += ends[i];
    }
    for (size_t i = 0; i < count; i++) {
        size_t left = key_of(s, &a[i]).length - s->depth;
        b[at[MIN(left, (size_t)ENDS - 1)]++] = a[i];
    }
    memcpy(a, b, count * sizeof(*a));
    return ended;
}

/* All prefixes are equal: goes on with the bytes behind them. The result is in `a`. */
/* NOLINTNEXTLINE(misc-no-recursion): bounded by DEPTH_MAX */
static void sort_deeper(const struct sorter *s, struct sort_entry *a, struct sort_entry *b,
                        size_t count)
{
    size_t ended = take_ended(s, a, b, count);
    a += ended;
    b += ended;
    count -= ended;
    if (count <= 1) {
        return;
    }
    if (s->depth >= DEPTH_MAX) {
        sort_by_merging(s, a, b, count);
        return;
    }
    struct sorter deeper = {s->records, s->depth + 8};
    for (size_t i = 0; i < count; i++) {
        struct mr_span key = key_of(s, &a[i]);
        a[i].prefix = key_prefix((const char *)key.data + deeper.depth, key.length - deeper.depth);
    }
    sort_digits(&deeper, a, b, count, false);
}

/* The shift of the highest byte in which prefixes differ; -8 if they are all equal. */
static int first_digit(const struct sort_entry *a, size_t count)
{
    uint64_t differ = 0;
    for (size_t i = 1; i < count; i++) {
        differ |= a[i].prefix ^ a[0].prefix;
    }
    return differ ? (63 - __builtin_clzll(differ)) / 8 * 8 : -8;
}

/* Sorts a[0, count) and leaves the result in b if into_b, else in a; both are overwritten. */
/* NOLINTNEXTLINE(misc-no-recursion): a level for each byte of the prefix, then sort_deeper() */
static void sort_digits(const struct sorter *s, struct sort_entry *a, struct sort_entry *b,
                        size_t count, bool into_b)
{
    if (count <= SMALL_COUNT) {
        sort_by_insertion(s, a, into_b ? b : a, count);
        return;
    }
    int shift = first_digit(a, count);
    if (shift < 0) {
        sort_deeper(s, a, b, count);
        if (into_b) {
            memcpy(b, a, count * sizeof(*a));
        }
        return;
    }
    uint32_t counts[DIGITS] = {0};
    for (size_t i = 0; i < count; i++) {
        counts[(a[i].prefix >> shift) & (DIGITS - 1)]++;
    }
    uint32_t at[DIGITS];
    uint32_t sum = 0;
    for (size_t d = 0; d < DIGITS; d++) {
        at[d] = sum;
        sum += counts[d];
    }
    for (size_t i = 0; i < count; i++) {
        b[at[(a[i].prefix >> shift) & (DIGITS - 1)]++] = a[i];
    }
    size_t low = 0;
    for (size_t d = 0; d < DIGITS; d++) {
        if (counts[d] > 0) {
            sort_digits(s, b + low, a + low, counts[d], !into_b);
            low += counts[d];
        }
    }
}

void sort_entries(struct sort_entry *entries, struct sort_entry *scratch, size_t count,
                  const uint8_t *records)
{
    struct sorter s = {records, 0};
    sort_digits(&s, entries, scratch, count, false);
}
