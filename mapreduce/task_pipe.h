/* What a worker and a task process say to each other, over a stream socket that the task has as
 * TASK_PIPE_FD. Frames: length u32le of what follows, kind u8, payload. A worker ends a task by
 * closing its end or by a signal; a task that ends without TASK_ENDED has crashed.
 *
 * A task process is exec'ed before it is needed, connects nowhere and waits; its assignment is its
 * first frame and it runs just that one. */
#ifndef MAPREDUCE_TASK_PIPE_H
#define MAPREDUCE_TASK_PIPE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

enum { TASK_PIPE_FD = 3, TASK_FRAME_BYTES_MAX = 64 * 1024 * 1024 };

#define TASK_ADDRESS_LOCAL "local"

enum task_frame_kind {
    TASK_ASSIGN =
        1, /* to the task: master_message with one assignment, spec included (mr_pack.h) */
    TASK_MAP_DONE = 2, /* to the task: master_message with map_done, for a reduce */
    TASK_BEAT = 3, /* from the task: worker_message with a beat: progress of the attempt, or its end
                      as the last frame */
};

/* Where things are; the task gets it as environment, so that it can be started before the
 * assignment is known. MRTASK_DATA         the worker's data directory; layout in task_paths below
 *   MRTASK_MASTERS      file masters
 *   MRTASK_HOST, MRTASK_RACK   the worker's labels
 *   MRTASK_ADDRESS      always "local": what stands as the address of a map output that is on this
 * very worker service MRTASK_SORT_BYTES   default budget for map output TLS files, if any, as
 * MRTASK_TLS_CA, _CERT, _KEY. */

/* JOB below is the number of the job, the last part of its id, which attempt names carry too.
 *
 * DATA/jobs/JOB/files/NAME       library and side files, complete before any task of the job is
 * assigned here DATA/jobs/JOB/maps/ATTEMPT     a finished map output DATA/jobs/JOB/work/ATTEMPT/
 * working directory of a running attempt, with links to files/; removed by the worker at its end
 * DATA/jobs/removed-N            what is being removed
 * DATA/logs/JOB/ATTEMPT          everything the attempt wrote to stderr, the task's own messages
 * included */
enum task_path {
    TASK_PATH_JOB,
    TASK_PATH_FILES,
    TASK_PATH_MAP_OUTPUT,
    TASK_PATH_WORK,
    TASK_PATH_LOG,
};
/* Appends the path. job is the id, or anything else that ends in "_NUMBER". attempt may be NULL
 * where it is not used. */
void task_path(enum task_path which, const char *data, const char *job, const char *attempt,
               struct buf *out);

/* Appends one frame, for a side that must not block: the worker. */
void task_frame_append(enum task_frame_kind kind, struct span payload, struct buf *out);

/* Writes one whole frame; blocks: for the task. ERR_UNAVAILABLE: the other side is gone. */
int task_frame_write(int fd, enum task_frame_kind kind, struct span payload,
                     struct err *e) MUST_CHECK;

/* Takes the next whole frame out of what has been read so far: true and its payload (borrowed from
 * `in`, gone at the next append), false when more bytes are needed. *at is how far `in` has been
 * consumed. ERR_CORRUPT through *ret_code. */
bool task_frame_take(const struct buf *in, size_t *at, enum task_frame_kind *ret_kind,
                     struct span *ret_payload, int *ret_code);

#endif
