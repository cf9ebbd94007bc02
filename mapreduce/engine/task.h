/* Running one task attempt: what mrtask and `mr run --local` call. User code runs in the calling
 * thread (functions) or as a child process (programs). Knows neither network nor store: input comes
 * from sources, output goes to a sink or to local files. */
#ifndef MAPREDUCE_ENGINE_TASK_H
#define MAPREDUCE_ENGINE_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "mapreduce/engine/counters.h"
#include "mapreduce/engine/job.h"
#include "mapreduce/engine/run.h"
#include "mapreduce/engine/source.h"

/* How the caller follows a task. All may be NULL. */
struct task_events {
    void *arg;
    /* Called often, after every batch: the caller limits its own rate. Below 0 ends the task with
     * that error. */
    int (*progress)(void *arg, uint64_t done, uint64_t total);
    void (*status)(void *arg, const char *text);
    /* User code has moved though progress() has nothing new: a program printed something, a
     * function returned. Called often. */
    void (*alive)(void *arg);
    /* A line that a program wrote to stderr, without newline; not those for counters and status. */
    void (*stderr_line)(void *arg, const char *line, size_t length);
};

/* Who the attempt is. Strings are the caller's. */
struct task_identity {
    uint32_t number; /* among the job's map or reduce tasks */
    uint32_t attempt;
    const char *task_id;          /* "task_local_0001_m_000003" */
    const char *attempt_id;       /* "attempt_local_0001_m_000003_0" */
    const char *work_directory;   /* where programs run: it has the job's side files */
    const char *temp_directory;   /* for spills */
    const char *output_directory; /* for mapreduce_task_output_dir */
};

/* Filled in by task_result_init() and a run; also useful after a failure. */
struct task_result {
    struct counters counters;
    struct run_index index; /* of a map output file */
    struct buf stderr_tail; /* the last lines that a program wrote to stderr */
};

void task_result_init(struct task_result *r);
void task_result_deinit(struct task_result *r);

/* A piece of a file. The source is borrowed. */
struct task_split {
    struct source *source;
    uint64_t start;
    uint64_t length;
};

/* Bad records of a task (OSDI'04 section 4.6): which ones it leaves out, and where it notes which
 * one user code has. Records are known by ordinals: in a map in the order of its input over all its
 * splits, in a reduce those of key groups; both are the same in each attempt. */
struct skip_note;
struct task_skip {
    uint64_t most;            /* how many may be left out; above 0 */
    const uint64_t *ordinals; /* of those that are, rising */
    size_t count;
    bool careful;           /* a program runs on few records at a time, and those that end it are
                               left out */
    struct skip_note *note; /* in memory that outlives a crash; NULL: nobody reads it */
};

/* Where named outputs go (mr_emit_to()). make() is called once for each that gets a record; the
 * sink stays the caller's, and is finished on success. */
struct task_sinks {
    int (*make)(void *arg, const char *name, struct sink **ret_sink, struct err *e);
    void *arg;
};

struct map_task {
    const struct job *job;
    const struct task_identity *identity;
    const struct task_events *events;
    const struct task_split *splits; /* one, or several small ones */
    size_t split_count;
    const char *output_path;        /* the map output file; NULL if job->reduces is 0 */
    struct sink *output;            /* finished on success; NULL if job->reduces is not 0 */
    const struct task_sinks *sinks; /* NULL: job->reduces is not 0, or the job declares none */
    const struct task_skip *skip;   /* NULL: no record may be left out */
};

/* A map program is started anew for each split, so that its environment names the file that it
 * reads; functions are set up once. ERR_TASK: the user's code failed, e says how; other errors are
 * the machine's or the input's. On failure there is no map output file. */
int map_task_run(const struct map_task *t, struct task_result *result, struct err *e) MUST_CHECK;

struct reduce_task {
    const struct job *job;
    const struct task_identity *identity;
    const struct task_events *events;
    const struct task_segment *segments; /* in the order of the map tasks */
    size_t segment_count;
    struct sink *output;            /* finished on success */
    const struct task_sinks *sinks; /* NULL: the job declares none */
    const struct task_skip *skip;   /* NULL: no key group may be left out */
};

int reduce_task_run(const struct reduce_task *t, struct task_result *result,
                    struct err *e) MUST_CHECK;

/* Runs map over pieces of the input to find the boundaries of a totally ordered job's ranges, and
 * sets them as a setting of the job. Splits are those of the whole input. */
int task_sample(struct job *job, const struct task_identity *identity,
                const struct task_split *splits, size_t split_count, struct err *e) MUST_CHECK;

#endif
