/* Data for benchmarks, the same for the same seed on every machine and in every version. Each
 * generator can begin at any block, so several processes can make one file together. */
#ifndef BENCH_LIB_DATA_H
#define BENCH_LIB_DATA_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

enum {
    BENCH_TERA_RECORD_BYTES = 100, /* 10 of key, 90 of payload */
    BENCH_TERA_KEY_BYTES = 10,
};

/* Bytes that do not compress; to[i] is byte offset + i of the stream. offset is a multiple of 8. */
void bench_random(void *to, size_t length, uint64_t seed, uint64_t offset);

/* Records `first` to `first + count` of the sort benchmark, in printable characters and
 * newline-ended, so that GNU sort agrees with us on lines: key of 10 random characters, number of
 * the record, filler. */
void bench_tera(void *to, uint64_t first, size_t count, uint64_t seed);

/* Text of words whose frequencies fall as 1 / rank^1.05 (Zipf), 2 to 12 letters, in lines of about
 * 80 bytes; ends with a newline at or before length, the rest is filled with newlines. One
 * generator may make many pieces. */
struct bench_zipf;

struct bench_zipf *bench_zipf_new(uint32_t vocabulary);
void bench_zipf_free(struct bench_zipf *z);
void bench_zipf_text(const struct bench_zipf *z, char *to, size_t length, uint64_t seed);

#endif
