/* See measure.h. */
#include "bench/lib/measure.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "common/clock.h"

static double cpu_of(int who)
{
    struct rusage usage;
    if (getrusage(who, &usage) != 0) {
        bench_fail("getrusage");
    }
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void bench_start(struct bench_time *t)
{
    t->cpu_s = cpu_of(RUSAGE_SELF) + cpu_of(RUSAGE_CHILDREN);
    t->wall_s = (double)clock_mono_us() / 1e6;
}

void bench_stop(struct bench_time *t)
{
    t->wall_s = (double)clock_mono_us() / 1e6 - t->wall_s;
    t->cpu_s = cpu_of(RUSAGE_SELF) + cpu_of(RUSAGE_CHILDREN) - t->cpu_s;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

double bench_median(double *values, size_t count)
{
    qsort(values, count, sizeof(double), compare);
    return values[(count - 1) / 2];
}

double bench_percentile(double *values, size_t count, double percent)
{
    qsort(values, count, sizeof(double), compare);
    size_t at = (size_t)((double)count * percent / 100.0);
    return values[at < count ? at : count - 1];
}

void bench_warm_memory(size_t bytes)
{
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) {
        bench_fail("no %zu bytes of memory to warm", bytes);
    }
    if (munmap(memory, bytes) != 0) {
        bench_fail("munmap");
    }
}

void bench_threads_run(struct bench_thread *threads, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (pthread_create(&threads[i].id, NULL, threads[i].work, threads[i].arg) != 0) {
            bench_fail("cannot start a thread");
        }
    }
    for (size_t i = 0; i < count; i++) {
        (void)pthread_join(threads[i].id, NULL);
    }
}

void bench_fail(const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    (void)fprintf(stderr, "bench: %s\n", text);
    exit(1);
}
