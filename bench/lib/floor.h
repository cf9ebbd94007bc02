/* Floors: the least that a piece of work can cost on this machine, done by the shortest honest code
 * with nothing around it. Results of Trireme are quoted in percent of them; run floor and product
 * in turns, for a machine's mood changes. Each function does one run over f->bytes and sets its
 * time; set-up and tidying stand outside of the measured part. */
#ifndef BENCH_LIB_FLOOR_H
#define BENCH_LIB_FLOOR_H

#include <stddef.h>
#include <stdint.h>

#include "bench/lib/measure.h"

struct floor {
    const char *directory; /* for files */
    uint64_t bytes;        /* of one run, a multiple of 1 MiB */
    double p50_us;         /* of the latency floors */
    double p99_us;
};

enum { FLOOR_MESSAGE_BYTES = 1 << 20, FLOOR_LATENCY_COUNT = 300, FLOOR_TEXT_WORDS = 100 * 1000 };

/* floor_compute.c */
void floor_memcpy(struct floor *f, struct bench_time *t); /* a hot MiB into memory */
void floor_crc(struct floor *f, struct bench_time *t); /* CRC32C of a hot MiB, per 64 KiB block */
void floor_wordcount(struct floor *f, struct bench_time *t); /* file -> words counted, 2 threads */
void floor_sort(struct floor *f,
                struct bench_time *t); /* file -> sorted file of 100 B records, 2 threads */

/* floor_disk.c */
void floor_read(struct floor *f, struct bench_time *t);  /* pread from page cache, CRC */
void floor_write(struct floor *f, struct bench_time *t); /* pwrite of 1 MiB into fresh page cache */
void floor_write_sync(struct floor *f, struct bench_time *t); /* and one fdatasync */
void floor_write3(struct floor *f,
                  struct bench_time *t); /* f->bytes into each of three files at once */
void floor_write3_sync(struct floor *f, struct bench_time *t); /* and a fdatasync of each */
void floor_append_latency(struct floor *f); /* 4 KiB into a written file, fdatasync */
void floor_create_latency(
    struct floor *f); /* a new file of 4 KiB: create, write, fsync, fsync of the directory */

/* floor_net.c */
void floor_tcp(struct floor *f, struct bench_time *t); /* one loopback stream, 1 MiB messages */
void floor_chain(struct floor *f,
                 struct bench_time *t); /* client -> 3 hops; CRC and pwrite at each */
void floor_chain_sync(struct floor *f,
                      struct bench_time *t); /* and a fdatasync at each at the end */

/* floor_apply.c: CPU of one create, encoded, decoded and applied to a file master's state in groups
 * of `count` entries with `ops` of them each. */
double floor_apply_us(const struct floor *f, uint32_t count, uint32_t ops, uint32_t operations);

/* Opens a new file for reading and writing in f->directory, already unlinked. */
int floor_file(const struct floor *f);

/* The same, holding f->bytes written by `fill` MiB by MiB, in the page cache. */
typedef void (*floor_fill_fn)(void *arg, char *to, uint64_t block);
int floor_input(const struct floor *f, floor_fill_fn fill, void *arg);

void floor_pwrite(int fd, const void *data, size_t length, uint64_t offset);
void floor_pread(int fd, void *data, size_t length, uint64_t offset);

#endif
