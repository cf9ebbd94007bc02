/* How a job goes, on stderr: on a terminal one line that is written over, elsewhere a plain line at
 * most every PROGRESS_PLAIN_MS; or in Hadoop's lines. Keeps the last state that it was shown. One
 * thread. */
#ifndef MAPREDUCE_MR_PROGRESS_H
#define MAPREDUCE_MR_PROGRESS_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/buf.h"
#include "mapreduce/job_types.h"

enum { PROGRESS_PLAIN_MS = 10 * 1000 };

enum progress_style { PROGRESS_QUIET, PROGRESS_OURS, PROGRESS_HADOOP };

struct progress {
    enum progress_style style;
    bool terminal;
    bool line_open;         /* the terminal's line is to be ended */
    time_ms began_ms;       /* mono: when it was first seen running; 0: not yet */
    time_ms plain_ms;       /* mono: the next plain line */
    struct buf shown;       /* the last plain line */
    struct arena arena;     /* of `last` */
    struct job_status last; /* valid when seen */
    bool seen;
};

void progress_init(struct progress *p, enum progress_style style);
void progress_deinit(struct progress *p);
/* mr_client_status_fn, with the progress as arg. */
void progress_show(void *arg, const struct job_status *status);
/* Ends the terminal's line, before anything else is printed. */
void progress_end(struct progress *p);

/* The text of the line. eta_ms: UINT64_MAX when not known. Pure. */
void progress_text(const struct job_status *status, time_ms eta_ms, struct buf *out);
/* From how much is done after how long. Pure. */
time_ms progress_eta_ms(const struct job_status *status, time_ms elapsed_ms);

#endif
