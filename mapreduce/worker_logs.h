/* Logs of attempts on a worker's disk: none grows without end, and none stays for ever. What works
 * on files may block: any thread but the owner's. */
#ifndef MAPREDUCE_WORKER_LOGS_H
#define MAPREDUCE_WORKER_LOGS_H

#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/ids.h"

/* Of a log that is longer than bytes_max the middle is left out, with a line that says so; the
 * first half of bytes_max and the last quarter stay. Who writes to it (O_APPEND) goes on. Returns 1
 * if it was cut, 0 if not, also when there is none. */
int log_trim(const char *path, uint64_t bytes_max, struct err *e) MUST_CHECK;

struct logs_sweep {
    const char *directory;  /* one directory in it per job */
    time_ms now_ms;         /* wall */
    time_ms keep_ms;        /* a job's logs go when nobody has written to them for so long ... */
    uint64_t bytes_max;     /* ... or, the oldest first, while all logs together are larger */
    const struct buf *live; /* names of directories that stay, each with its NUL */
};
/* Returns how many jobs' logs it has removed; those that it cannot remove stay, and e has the last
 * reason. */
uint32_t logs_sweep(const struct logs_sweep *sweep, struct err *e);

#endif
