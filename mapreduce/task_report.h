/* What a task process tells its worker: progress now and then, and how it ended. Every frame is a
 * sign of life, so none is sent unless the task has moved. One thread. */
#ifndef MAPREDUCE_TASK_REPORT_H
#define MAPREDUCE_TASK_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"
#include "common/ids.h"
#include "mapreduce/engine/counters.h"
#include "mapreduce/job_types.h"

struct task_report {
    int fd;              /* of the pipe */
    const char *attempt; /* borrowed */
    uint32_t permille;   /* as last known */
    char *status;        /* the user's status line; owned; NULL: none yet */
    time_ms next_ms;     /* mono: nothing is sent before */
};

void task_report_init(struct task_report *r, int fd, const char *attempt);
void task_report_deinit(struct task_report *r);

/* The task has moved: sends it unless something was sent less than TASK_BEAT_MS ago. ERR_*: the
 * worker is gone. */
int task_report_progress(struct task_report *r, uint32_t permille, struct err *e) MUST_CHECK;
/* A new status line goes out with the next frame. */
void task_report_set_status(struct task_report *r, const char *text);

/* The last frame. */
int task_report_end(struct task_report *r, const struct attempt_end *end, struct err *e) MUST_CHECK;

/* What users' programs say may be any bytes; what travels is UTF-8 text. Bytes that are none, and
 * control characters except newline and tab, become '?'. In the arena. */
const char *task_text(const void *bytes, size_t length, struct arena *arena);
/* The same for the last whole lines of it, at most MR_STDERR_TAIL_BYTES. */
const char *task_text_tail(const void *bytes, size_t length, struct arena *arena);

/* Counters as an attempt's end has them. In the arena. */
struct job_counters task_report_counters(const struct counters *counters, struct arena *arena);

#endif
