/* Wall and CPU time of one run, and the median of several. Benchmarks only; main thread.
 *
 * CPU time is that of this process and of its children that have been waited for, so a benchmark
 * that starts daemons must end them before it stops the clock, or add their time itself. */
#ifndef BENCH_LIB_MEASURE_H
#define BENCH_LIB_MEASURE_H

#include <stddef.h>
#include <stdint.h>

enum { BENCH_RUNS_DEFAULT = 5, BENCH_SAMPLES_MAX = 100 * 1000 };

/* One run. */
struct bench_time {
    double wall_s;
    double cpu_s;
};

void bench_start(struct bench_time *t); /* remembers now */
void bench_stop(struct bench_time *t);  /* what has passed since */

/* Sorts values. Of an even count the lower middle, so that it is a value that was seen. count > 0.
 */
double bench_median(double *values, size_t count);

/* Sorts values; the value below which `percent` of them lie. */
double bench_percentile(double *values, size_t count, double percent);

/* Touches memory and gives it back, untimed: a virtual machine pays far more for the first touch of
 * a page than for later ones, and that is not what we measure. To be called before each run that
 * needs fresh pages. */
void bench_warm_memory(size_t bytes);

/* Starts a thread or ends the process with a message. */
struct bench_thread {
    void *(*work)(void *arg);
    void *arg;
    unsigned long id; /* pthread_t */
};

void bench_threads_run(struct bench_thread *threads, size_t count); /* starts all, joins all */

/* Prints "NAME: text" on stderr and exits 1: a benchmark that fails has no result. */
void bench_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
