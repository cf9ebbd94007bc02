/* Floors of files and the disk; see floor.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/lib/data.h"
#include "bench/lib/floor.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/crc32c.h"
#include "common/limits.h"
#include "common/sys.h"

enum { SMALL_BYTES = 4096, READ_BYTES = 256 * 1024, WRITERS = 3 };

int floor_file(const struct floor *f)
{
    char path[LIMIT_PATH_BYTES_MAX];
    static unsigned number;
    (void)snprintf(path, sizeof(path), "%s/floor-%u", f->directory,
                   __atomic_add_fetch(&number, 1, __ATOMIC_RELAXED));
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || unlink(path) != 0) {
        bench_fail("open %s: %s", path, strerror(errno));
    }
    return fd;
}

void floor_pwrite(int fd, const void *data, size_t length, uint64_t offset)
{
    struct err e = ERR_INIT;
    if (sys_pwrite_full(fd, data, length, offset, &e) < 0) {
        bench_fail("%s", err_message(&e));
    }
}

void floor_pread(int fd, void *data, size_t length, uint64_t offset)
{
    struct err e = ERR_INIT;
    if (sys_pread_full(fd, data, length, offset, &e) < 0) {
        bench_fail("%s", err_message(&e));
    }
}

static void sync_data(int fd)
{
    if (fdatasync(fd) != 0) {
        bench_fail("fdatasync: %s", strerror(errno));
    }
}

int floor_input(const struct floor *f, floor_fill_fn fill, void *arg)
{
    char *block = xmalloc(FLOOR_MESSAGE_BYTES);
    int fd = floor_file(f);
    for (uint64_t at = 0; at < f->bytes; at += FLOOR_MESSAGE_BYTES) {
        fill(arg, block, at / FLOOR_MESSAGE_BYTES);
        floor_pwrite(fd, block, FLOOR_MESSAGE_BYTES, at);
    }
    free(block);
    return fd;
}

static void fill_random(void *arg, char *to, uint64_t block)
{
    (void)arg;
    bench_random(to, FLOOR_MESSAGE_BYTES, 1, block * FLOOR_MESSAGE_BYTES);
}

void floor_read(struct floor *f, struct bench_time *t)
{
    char *buffer = xmalloc(READ_BYTES);
    uint32_t crc = 0;
    int fd = floor_input(f, fill_random, NULL);
    bench_start(t);
    for (uint64_t at = 0; at < f->bytes; at += READ_BYTES) {
        floor_pread(fd, buffer, READ_BYTES, at);
        for (size_t block = 0; block < READ_BYTES; block += CHUNK_BLOCK_BYTES) {
            crc ^= crc32c(buffer + block, CHUNK_BLOCK_BYTES);
        }
    }
    bench_stop(t);
    if (crc == 1) {
        (void)fputs("", stderr); /* keeps the work from being optimised away */
    }
    (void)close(fd);
    free(buffer);
}

static void write_all(int fd, uint64_t bytes)
{
    char *buffer = xmalloc(FLOOR_MESSAGE_BYTES);
    bench_random(buffer, FLOOR_MESSAGE_BYTES, 2, 0);
    for (uint64_t at = 0; at < bytes; at += FLOOR_MESSAGE_BYTES) {
        floor_pwrite(fd, buffer, FLOOR_MESSAGE_BYTES, at);
    }
    free(buffer);
}

struct writer {
    int fd;
    uint64_t bytes;
    bool sync;
};

static void *writer_run(void *arg)
{
    const struct writer *w = arg;
    write_all(w->fd, w->bytes);
    if (w->sync) {
        sync_data(w->fd);
    }
    return NULL;
}

static void write_files(struct floor *f, size_t count, bool sync, struct bench_time *t)
{
    struct writer writers[WRITERS];
    struct bench_thread threads[WRITERS];
    bench_warm_memory(count * f->bytes);
    for (size_t i = 0; i < count; i++) {
        writers[i] = (struct writer){floor_file(f), f->bytes, sync};
        threads[i] = (struct bench_thread){.work = writer_run, .arg = &writers[i]};
    }
    bench_start(t);
    bench_threads_run(threads, count);
    bench_stop(t);
    for (size_t i = 0; i < count; i++) {
        (void)close(writers[i].fd);
    }
}

void floor_write(struct floor *f, struct bench_time *t)
{
    write_files(f, 1, false, t);
}

void floor_write_sync(struct floor *f, struct bench_time *t)
{
    write_files(f, 1, true, t);
}

void floor_write3(struct floor *f, struct bench_time *t)
{
    write_files(f, WRITERS, false, t);
}

void floor_write3_sync(struct floor *f, struct bench_time *t)
{
    write_files(f, WRITERS, true, t);
}

static void set_latencies(struct floor *f, double *us)
{
    f->p50_us = bench_percentile(us, FLOOR_LATENCY_COUNT, 50);
    f->p99_us = bench_percentile(us, FLOOR_LATENCY_COUNT, 99);
}

void floor_append_latency(struct floor *f)
{
    char data[SMALL_BYTES];
    double us[FLOOR_LATENCY_COUNT];
    int fd = floor_file(f);
    write_all(fd, (uint64_t)2 * FLOOR_MESSAGE_BYTES); /* so that no block is allocated later */
    sync_data(fd);
    bench_random(data, sizeof(data), 3, 0);
    for (size_t i = 0; i < FLOOR_LATENCY_COUNT; i++) {
        uint64_t start = clock_mono_us();
        floor_pwrite(fd, data, sizeof(data), i * sizeof(data));
        sync_data(fd);
        us[i] = (double)(clock_mono_us() - start);
    }
    (void)close(fd);
    set_latencies(f, us);
}

static void create_one(int directory, const char *name, const char *data)
{
    int fd = openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        bench_fail("create %s: %s", name, strerror(errno));
    }
    floor_pwrite(fd, data, SMALL_BYTES, 0);
    if (fsync(fd) != 0 || fsync(directory) != 0) {
        bench_fail("fsync: %s", strerror(errno));
    }
    (void)close(fd);
}

void floor_create_latency(struct floor *f)
{
    char data[SMALL_BYTES];
    char name[32];
    double us[FLOOR_LATENCY_COUNT];
    int directory = open(f->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        bench_fail("open %s: %s", f->directory, strerror(errno));
    }
    bench_random(data, sizeof(data), 3, 0);
    for (size_t i = 0; i < FLOOR_LATENCY_COUNT; i++) {
        (void)snprintf(name, sizeof(name), "create-%zu", i);
        uint64_t start = clock_mono_us();
        create_one(directory, name, data);
        us[i] = (double)(clock_mono_us() - start);
    }
    for (size_t i = 0; i < FLOOR_LATENCY_COUNT; i++) {
        (void)snprintf(name, sizeof(name), "create-%zu", i);
        (void)unlinkat(directory, name, 0);
    }
    (void)close(directory);
    set_latencies(f, us);
}
