/* One task attempt in its own process, from the assignment to the last frame. The main thread runs
 * everything here; main.c has the thread that reads the pipe. */
#ifndef MAPREDUCE_MRTASK_ATTEMPT_H
#define MAPREDUCE_MRTASK_ATTEMPT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/rpc/rpc.h"
#include "mapreduce/engine/task.h"
#include "mapreduce/job_types.h"
#include "mapreduce/task_report.h"
#include "mapreduce/task_shuffle.h"

struct dfs;

/* What the worker says by environment (task_pipe.h). Strings live as long as the process. */
struct task_environment {
    const char *data; /* absolute */
    const char *masters;
    const char *host;
    const char *rack;
    const char *address;
    uint64_t sort_bytes;
    const char *tls_ca; /* all three or none */
    const char *tls_cert;
    const char *tls_key;
};

struct attempt {
    struct task_environment env;
    struct arena arena; /* owns the assignment and all texts */
    const struct assignment *assignment;
    struct rpc_loop *loop; /* of the shuffle */
    struct rpc_pool *pool;
    struct rpc_tls *tls; /* NULL: plain text */
    struct dfs *dfs;
    const char *work;   /* working directory, and the programs' */
    const char *temp;   /* in it, for spills and segments */
    uint64_t log_start; /* where this attempt's lines begin in its log */
    struct job_library library;
    struct job job;
    struct task_identity identity;
    struct task_events events;
    struct task_result result;
    struct task_report report;
    struct sink *named[MR_NAMED_OUTPUTS_MAX]; /* named outputs that were made */
    const char *named_files[MR_NAMED_OUTPUTS_MAX];
    size_t named_count;
    struct task_sinks sinks;
    struct task_skip skip;   /* most is 0: the job lets it leave out nothing */
    struct shuffle *shuffle; /* of a reduce; NULL for a map */
    struct attempt_end end;
};

/* ERR_INVALID: the worker has not said all that is needed. */
int task_environment_read(struct task_environment *env, struct err *e) MUST_CHECK;

/* Makes the struct; the shuffle is ready to be told of maps. `a` is zeroed before. */
void attempt_init(struct attempt *a, const struct task_environment *env,
                  const struct assignment *assignment, int pipe_fd);

/* Runs it, whichever kind it is, and tells the worker how it ended. ERR_*: the worker could not be
 * told. */
int attempt_run(struct attempt *a, struct err *e) MUST_CHECK;

/* ---- Between the files of this program ---- */

/* attempt_setup.c: log, directories, store, limits, job. */
int attempt_setup(struct attempt *a, struct err *e) MUST_CHECK;

#endif
