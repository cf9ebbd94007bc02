/* Floors of computation: copy, checksum, counting words, sorting records; see floor.h. Two threads,
 * as the machine that the goals were set for has two cores. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/lib/data.h"
#include "bench/lib/floor.h"
#include "common/alloc.h"
#include "common/crc32c.h"
#include "common/limits.h"

enum { THREADS = 2, MEMORY_BYTES = 64 * FLOOR_MESSAGE_BYTES };

void floor_memcpy(struct floor *f, struct bench_time *t)
{
    char *from = xmalloc(FLOOR_MESSAGE_BYTES);
    char *to = xmalloc(MEMORY_BYTES);
    memset(to, 1, MEMORY_BYTES);
    bench_random(from, FLOOR_MESSAGE_BYTES, 5, 0);
    bench_start(t);
    for (uint64_t at = 0; at < f->bytes; at += FLOOR_MESSAGE_BYTES) {
        memcpy(to + at % MEMORY_BYTES, from, FLOOR_MESSAGE_BYTES);
        __asm__ volatile("" : : "r"(to) : "memory"); /* the copy must happen */
    }
    bench_stop(t);
    free(from);
    free(to);
}

void floor_crc(struct floor *f, struct bench_time *t)
{
    char *from = xmalloc(FLOOR_MESSAGE_BYTES);
    uint32_t crc = 0;
    bench_random(from, FLOOR_MESSAGE_BYTES, 6, 0);
    bench_start(t);
    for (uint64_t at = 0; at < f->bytes; at += CHUNK_BLOCK_BYTES) {
        crc ^= crc32c(from + at % FLOOR_MESSAGE_BYTES, CHUNK_BLOCK_BYTES);
        __asm__ volatile("" : : "r"(crc));
    }
    bench_stop(t);
    free(from);
}

/* ---- word count ---- */

/* The word itself stands in its slot, so that a look-up touches one cache line. */
struct word_slot {
    uint64_t low; /* bytes of the word, zero-padded; 0: free */
    uint64_t high;
    uint64_t count;
};

enum {
    WORD_SLOT_BITS = 18, /* for FLOOR_TEXT_WORDS different words, not half full */
    WORD_SLOTS = 1 << WORD_SLOT_BITS,
    WORD_BYTES = 16, /* the generated words have at most 12 */
    WORD_GROUP = 32, /* looked up together, so that their cache misses overlap */
};

struct counter {
    int fd;
    uint64_t bytes;
    uint64_t first; /* MiB to begin with; then every THREADS-th */
    struct word_slot *slots;
    uint64_t total;
};

struct word {
    uint64_t low;
    uint64_t high;
    size_t slot;
};

static uint64_t load(const char *at)
{
    uint64_t value = 0;
    memcpy(&value, at, sizeof(value));
    return value;
}

/* Bit 7 of the first byte that is a blank or a newline, and perhaps of later ones. */
static uint64_t separators(uint64_t x)
{
    const uint64_t ones = 0x0101010101010101U;
    uint64_t blank = x ^ (ones * ' ');
    uint64_t newline = x ^ (ones * '\n');
    return (((blank - ones) & ~blank) | ((newline - ones) & ~newline)) & (ones << 7);
}

/* The word at `at`, which may be empty. Returns its length. */
static size_t scan_word(const char *at, struct word *ret_word)
{
    uint64_t low = load(at);
    uint64_t high = load(at + 8);
    uint64_t low_ends = separators(low);
    uint64_t high_ends = separators(high);
    size_t length = low_ends ? (size_t)__builtin_ctzll(low_ends) / 8
                             : 8 + (high_ends ? (size_t)__builtin_ctzll(high_ends) / 8 : 8);
    low = low_ends ? low & (((uint64_t)1 << (8 * length)) - 1) : low;
    high = low_ends || length == 8 ? 0 : high & ((uint64_t)-1 >> (8 * (16 - length)));
    uint64_t hash = (low ^ (high * 0xff51afd7ed558ccdU)) * 0x9e3779b97f4a7c15U;
    hash = (hash ^ (hash >> 32)) * 0x9e3779b97f4a7c15U;
    *ret_word = (struct word){low, high, (size_t)(hash >> (64 - WORD_SLOT_BITS))};
    return length;
}

static void count_word(struct counter *c, const struct word *w, uint64_t count)
{
    struct word_slot *s = &c->slots[w->slot];
    while (s->low != w->low || s->high != w->high) {
        if (s->low == 0) {
            *s = (struct word_slot){w->low, w->high, 0};
            break;
        }
        s = s + 1 < c->slots + WORD_SLOTS ? s + 1 : c->slots;
    }
    s->count += count;
}

/* The text ends with a newline and WORD_BYTES bytes that may be read. */
static void count_block(struct counter *c, const char *text, size_t length)
{
    const char *at = text;
    while (at < text + length) {
        struct word group[WORD_GROUP];
        size_t count = 0;
        while (count < WORD_GROUP && at < text + length) {
            size_t bytes = scan_word(at, &group[count]);
            __builtin_prefetch(&c->slots[group[count].slot], 1);
            count += bytes > 0 ? 1 : 0;
            at += bytes + 1;
        }
        for (size_t i = 0; i < count; i++) {
            count_word(c, &group[i], 1);
        }
        c->total += count;
    }
}

static void *counter_run(void *arg)
{
    struct counter *c = arg;
    char *block = xcalloc(1, FLOOR_MESSAGE_BYTES + WORD_BYTES);
    for (uint64_t i = c->first; i < c->bytes / FLOOR_MESSAGE_BYTES; i += THREADS) {
        floor_pread(c->fd, block, FLOOR_MESSAGE_BYTES, i * FLOOR_MESSAGE_BYTES);
        count_block(c, block, FLOOR_MESSAGE_BYTES);
    }
    free(block);
    return NULL;
}

static void fill_text(void *arg, char *to, uint64_t block)
{
    bench_zipf_text(arg, to, FLOOR_MESSAGE_BYTES, block);
}

static void merge_counters(struct counter *into, const struct counter *from)
{
    for (size_t i = 0; i < WORD_SLOTS; i++) {
        const struct word_slot *s = &from->slots[i];
        struct word w;
        if (s->low != 0) {
            char text[WORD_BYTES + 1] = {0};
            memcpy(text, s, WORD_BYTES);
            text[strlen(text)] = ' ';
            (void)scan_word(text, &w);
            count_word(into, &w, s->count);
        }
    }
}

void floor_wordcount(struct floor *f, struct bench_time *t)
{
    struct counter counters[THREADS];
    struct bench_thread threads[THREADS];
    struct bench_zipf *zipf = bench_zipf_new(FLOOR_TEXT_WORDS);
    int fd = floor_input(f, fill_text, zipf);
    for (size_t i = 0; i < THREADS; i++) {
        counters[i] = (struct counter){.fd = fd, .bytes = f->bytes, .first = i};
        counters[i].slots = xcalloc(WORD_SLOTS, sizeof(struct word_slot));
        memset(counters[i].slots, 0, WORD_SLOTS * sizeof(struct word_slot));
        threads[i] = (struct bench_thread){.work = counter_run, .arg = &counters[i]};
    }
    bench_start(t);
    bench_threads_run(threads, THREADS);
    merge_counters(&counters[0], &counters[1]);
    bench_stop(t);
    uint64_t sum = 0;
    for (size_t i = 0; i < WORD_SLOTS; i++) {
        sum += counters[0].slots[i].count;
    }
    if (sum == 0 || sum != counters[0].total + counters[1].total) {
        bench_fail("the word count floor does not count");
    }
    for (size_t i = 0; i < THREADS; i++) {
        free(counters[i].slots);
    }
    bench_zipf_free(zipf);
    (void)close(fd);
}

/* ---- sort: read, range-partition, radix sort of key prefixes, gather, write ---- */

struct ref {
    uint64_t prefix; /* first 8 bytes of the key, big-endian */
    const char *record;
};

struct sorter {
    struct floor *f;
    int in;
    int out;
    size_t self;
    char *records;              /* its share of the input */
    size_t count;               /* of these */
    struct ref *parts[THREADS]; /* refs of its share, by range */
    size_t part_counts[THREADS];
    struct sorter *all;
    uint64_t out_offset;
};

static uint64_t prefix_of(const char *record)
{
    uint64_t prefix = 0;
    memcpy(&prefix, record, sizeof(prefix));
    return __builtin_bswap64(prefix);
}

/* First step: read a share of the records and sort it into ranges: lower half of the keys, upper
 * half. */
static void *sorter_partition(void *arg)
{
    struct sorter *s = arg;
    uint64_t offset = s->self * s->all[0].count * BENCH_TERA_RECORD_BYTES;
    size_t bytes = s->count * BENCH_TERA_RECORD_BYTES;
    for (size_t at = 0; at < bytes; at += FLOOR_MESSAGE_BYTES) {
        size_t n = bytes - at < FLOOR_MESSAGE_BYTES ? bytes - at : FLOOR_MESSAGE_BYTES;
        floor_pread(s->in, s->records + at, n, offset + at);
    }
    for (size_t i = 0; i < s->count; i++) {
        const char *record = s->records + i * BENCH_TERA_RECORD_BYTES;
        size_t range = (uint8_t)record[0] >= ' ' + 95 / 2 ? 1 : 0;
        s->parts[range][s->part_counts[range]++] = (struct ref){prefix_of(record), record};
    }
    return NULL;
}

/* Least significant digit first, 11 bits at a time, over the bits in which prefixes differ at all.
 */
static struct ref *radix_sort(struct ref *refs, struct ref *spare, size_t count)
{
    for (unsigned shift = 0; shift < 64; shift += 11) {
        size_t starts[2049] = {0};
        for (size_t i = 0; i < count; i++) {
            starts[((refs[i].prefix >> shift) & 2047) + 1]++;
        }
        for (size_t i = 1; i <= 2048; i++) {
            starts[i] += starts[i - 1];
        }
        for (size_t i = 0; i < count; i++) {
            spare[starts[(refs[i].prefix >> shift) & 2047]++] = refs[i];
        }
        struct ref *swap = refs;
        refs = spare;
        spare = swap;
    }
    return refs;
}

/* Equal prefixes are rare; put them in order by the rest of the key. */
static void order_ties(struct ref *refs, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct ref moved = refs[i];
        size_t at = i;
        while (at > 0 && refs[at - 1].prefix == moved.prefix &&
               memcmp(refs[at - 1].record, moved.record, BENCH_TERA_KEY_BYTES) > 0) {
            refs[at] = refs[at - 1];
            at--;
        }
        refs[at] = moved;
    }
}

static void *sorter_sort(void *arg)
{
    struct sorter *s = arg;
    size_t count = 0;
    for (size_t i = 0; i < THREADS; i++) {
        count += s->all[i].part_counts[s->self];
    }
    struct ref *refs = xreallocarray(NULL, 2 * count + 1, sizeof(struct ref));
    size_t filled = 0;
    for (size_t i = 0; i < THREADS; i++) {
        size_t n = s->all[i].part_counts[s->self];
        memcpy(refs + filled, s->all[i].parts[s->self], n * sizeof(struct ref));
        filled += n;
    }
    struct ref *sorted = radix_sort(refs, refs + count, count);
    order_ties(sorted, count);
    enum { GATHER = 10 * 1000 };
    char *gathered = xmalloc((size_t)GATHER * BENCH_TERA_RECORD_BYTES);
    uint64_t offset = s->out_offset;
    for (size_t i = 0; i < count;) {
        size_t n = 0;
        for (; n < GATHER && i < count; n++, i++) {
            const char *soon = sorted[i + 16 < count ? i + 16 : i].record;
            __builtin_prefetch(soon);
            __builtin_prefetch(soon + 64);
            memcpy(gathered + n * BENCH_TERA_RECORD_BYTES, sorted[i].record,
                   BENCH_TERA_RECORD_BYTES);
        }
        floor_pwrite(s->out, gathered, n * BENCH_TERA_RECORD_BYTES, offset);
        offset += n * BENCH_TERA_RECORD_BYTES;
    }
    free(gathered);
    free(refs);
    return NULL;
}

static void check_sorted(int fd, uint64_t count)
{
    char two[2 * BENCH_TERA_RECORD_BYTES];
    for (uint64_t i = 0; i + 1 < count; i += 97) {
        floor_pread(fd, two, sizeof(two), i * BENCH_TERA_RECORD_BYTES);
        if (memcmp(two, two + BENCH_TERA_RECORD_BYTES, BENCH_TERA_KEY_BYTES) > 0) {
            bench_fail("the sort floor does not sort");
        }
    }
}

static int make_records(const struct floor *f, uint64_t count)
{
    enum { STEP = 10 * 1000 };
    char *records = xmalloc((size_t)STEP * BENCH_TERA_RECORD_BYTES);
    int fd = floor_file(f);
    for (uint64_t i = 0; i < count; i += STEP) {
        size_t n = count - i < STEP ? (size_t)(count - i) : STEP;
        bench_tera(records, i, n, 7);
        floor_pwrite(fd, records, n * BENCH_TERA_RECORD_BYTES, i * BENCH_TERA_RECORD_BYTES);
    }
    free(records);
    return fd;
}

void floor_sort(struct floor *f, struct bench_time *t)
{
    struct sorter sorters[THREADS];
    struct bench_thread threads[THREADS];
    size_t share = f->bytes / BENCH_TERA_RECORD_BYTES / THREADS;
    int in = make_records(f, share * THREADS);
    int out = floor_file(f);
    bench_warm_memory(3 * f->bytes);
    for (size_t i = 0; i < THREADS; i++) {
        sorters[i] = (struct sorter){.f = f, .in = in, .out = out, .self = i, .count = share};
        sorters[i].all = sorters;
        sorters[i].records = xmalloc(share * BENCH_TERA_RECORD_BYTES);
        for (size_t part = 0; part < THREADS; part++) {
            sorters[i].parts[part] = xreallocarray(NULL, share, sizeof(struct ref));
        }
        threads[i] = (struct bench_thread){.work = sorter_partition, .arg = &sorters[i]};
    }
    bench_start(t);
    bench_threads_run(threads, THREADS);
    for (size_t i = 0; i < THREADS; i++) {
        threads[i].work = sorter_sort;
        sorters[i].out_offset = i == 0 ? 0
                                       : (sorters[0].part_counts[0] + sorters[1].part_counts[0]) *
                                             (uint64_t)BENCH_TERA_RECORD_BYTES;
    }
    bench_threads_run(threads, THREADS);
    bench_stop(t);
    check_sorted(out, share * THREADS);
    for (size_t i = 0; i < THREADS; i++) {
        free(sorters[i].records);
        for (size_t part = 0; part < THREADS; part++) {
            free(sorters[i].parts[part]);
        }
    }
    (void)close(in);
    (void)close(out);
}
