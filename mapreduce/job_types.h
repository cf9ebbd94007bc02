/* The plain structs that mrmaster, mrworker, mrtask and the mr command hand to each other;
 * proto/mr.proto explains the fields and mr_rpc.h converts. Values: strings are never NULL,
 * everything pointed to belongs to the arena that the converter was given. */
#ifndef MAPREDUCE_JOB_TYPES_H
#define MAPREDUCE_JOB_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/ids.h"

enum { JOB_FORMAT_AS_LIBRARY = 255 }; /* input_format, output_format: what the library says */

struct job_setting {
    const char *name;
    const char *value;
};

struct job_file {
    const char *store_path; /* "": it is small, and its bytes are in the job's record */
    const char *name;       /* in the task's directory; never with a slash */
    bool executable;
    uint64_t length;
    uint32_t crc32c;
    struct span data; /* of a small one, in the record and on the way there; else none */
};

struct job_spec {
    const char *name;
    const char **inputs;
    size_t input_count;
    const char *output;
    struct job_file *library; /* NULL: streaming */
    const char *mapper;       /* streaming commands, "" when not given */
    const char *reducer;
    const char *combiner;
    struct job_file *files;
    size_t file_count;
    uint32_t reduces;
    bool map_only;
    struct job_setting *settings;
    size_t setting_count;
    struct job_setting *environment;
    size_t environment_count;
    uint64_t split_bytes;
    uint64_t sort_memory_bytes;
    uint64_t task_memory_bytes;
    uint64_t task_timeout_ms;
    uint32_t attempts_max;
    uint32_t input_format;
    uint32_t output_format;
    uint32_t record_bytes;
    uint32_t output_replication;
    bool locality_blind;
    bool speculative_off;
    uint32_t skip_records; /* at most MR_SKIPS_MAX */
    uint32_t skip_groups;  /* likewise */
};
/* The library, if there is one, then the side files. */
size_t job_spec_file_count(const struct job_spec *spec);
struct job_file *job_spec_file(const struct job_spec *spec, size_t i);
/* Not all of them are small: the submission has a directory in the store. */
bool job_spec_has_uploads(const struct job_spec *spec);
/* Forgets the bytes of small files, which stay whose they are. */
void job_spec_drop_data(struct job_spec *spec);

enum job_state {
    JOB_STATE_UNKNOWN,
    JOB_STATE_QUEUED,
    JOB_STATE_RUNNING,
    JOB_STATE_COMMITTING,
    JOB_STATE_SUCCEEDED,
    JOB_STATE_FAILED,
    JOB_STATE_KILLED,
    JOB_STATE_COUNT,
};
const char *job_state_name(enum job_state state); /* "running"; static */
static inline bool job_state_ended(enum job_state state)
{
    return state >= JOB_STATE_SUCCEEDED;
}

struct job_counter {
    const char *group;
    const char *name;
    int64_t value;
};
struct job_counters {
    struct job_counter *items;
    size_t count;
};

struct job_locality {
    uint64_t tasks_host, tasks_rack, tasks_remote;
    uint64_t bytes_host, bytes_rack, bytes_remote;
};

struct job_status {
    const char *job;
    enum job_state state;
    const char *name;
    const char *user;
    const char *output;
    time_ms submitted_ms, started_ms, ended_ms; /* wall */
    uint32_t maps, maps_done, maps_running;
    uint32_t reduces, reduces_done, reduces_running;
    uint32_t map_permille, reduce_permille;
    uint32_t attempts_failed, attempts_lost, attempts_backup;
    struct job_locality locality;
    struct job_counters counters;
    const char *failure;
    const char *waiting;
};

/* How a job ends, and the inode of the hidden directory whose end that is; 0: there was none. */
struct job_outcome {
    uint64_t hidden;
    struct job_status status;
};
/* It has succeeded after all: its output stands. */
void job_outcome_succeed(struct job_outcome *outcome);

struct input_split {
    const char *path;
    uint64_t offset;
    uint64_t length;
    uint64_t file_length;
    uint64_t inode;
};

/* What stands now of one map; at most MAP_DONE_PAGE_COUNT of them in a message, or in a frame to a
 * task. */
enum { MAP_DONE_PAGE_COUNT = 2000 };
struct map_done {
    const char *job;
    const char *attempt; /* "" when withdrawn, as the next two */
    const char *address;
    const char *host;
    uint32_t map;
    bool withdrawn;
};

struct assignment {
    const char *job;
    const char *attempt;
    uint32_t task;
    bool reduce;
    struct job_spec *spec; /* NULL: as sent before */
    struct input_split *splits;
    size_t split_count;
    uint32_t maps;
    uint32_t reduces;
    const char *hidden_directory;
    uint64_t hidden_inode; /* of that directory: another job's may have its name one day */
    const char *output_name;
    const char *fence_name;
    uint64_t fence_epoch;
    const char *user;
    uint64_t plan;
    uint64_t *skip; /* at most MR_SKIPS_MAX */
    size_t skip_count;
    bool careful;
};

struct attempt_progress {
    const char *attempt;
    uint32_t permille;
    const char *status;
};

/* More than this do not fit into a message; the next attempt finds the others. */
enum { LOST_MAP_COUNT_MAX = 10000 };
struct attempt_end {
    const char *attempt;
    int code; /* 0 or ERR_* */
    const char *text;
    const char *stderr_tail;
    struct job_counters counters;
    struct job_locality locality;
    uint32_t *lost_maps; /* at most LOST_MAP_COUNT_MAX */
    const char **lost_map_attempts;
    size_t lost_count;
    bool committed;
    uint64_t output_inode;
    bool not_started;
    uint64_t bad_record; /* ordinal + 1; 0: unknown */
};

struct worker_hello {
    struct member_key key;
    const char *host;
    const char *rack;
    const char *address;
    uint32_t slots;
};

/* An attempt that has ended, as its worker remembers it. */
struct past_attempt {
    struct attempt_end end;
    const char *state;            /* "succeeded", "failed", "killed", "lost" */
    time_ms started_ms, ended_ms; /* wall */
    bool held;                    /* a map's output is on the worker's disk */
    uint64_t plan;                /* of its assignment */
};

struct worker_past {
    const char **jobs; /* that the worker keeps files of */
    size_t job_count;
    struct past_attempt *attempts;
    size_t attempt_count;
    bool last;
};

struct worker_beat {
    struct attempt_progress *running;
    size_t running_count;
    struct attempt_end *ended;
    size_t ended_count;
    uint64_t sequence;
};

/* Exactly one of them is not NULL. */
struct worker_message {
    struct worker_hello *hello;
    struct worker_beat *beat;
    struct worker_past *past;
};

struct master_message {
    struct assignment *assign;
    size_t assign_count;
    struct map_done *map_done;
    size_t map_done_count;
    const char **kill;
    size_t kill_count;
    const char **forget_jobs;
    size_t forget_count;
    uint64_t ack_sequence;
};

/* A submission as it is kept in the store. */
struct job_record {
    const char *job; /* job_<fence>_<number> */
    uint64_t number; /* rises by one per submission; that of a refused one may come again */
    const char *submission;
    const char *user;
    time_ms submitted_ms; /* wall */
    struct job_spec spec;
};

/* "attempt_<fence>_<job number>_m_000003_0": which attempt a name means. */
struct attempt_name {
    uint64_t fence;
    uint64_t job;
    bool reduce;
    uint32_t task;
    uint32_t number;
};
enum {
    ATTEMPT_NAME_BYTES_MAX = 96,
    MR_REPORT_COUNT_MAX = 10000, /* attempts in one reply of mrmaster */
};
/* Writes the name, NUL-terminated. The fence is that of the master that made the attempt. */
void attempt_name_format(const struct attempt_name *name, char ret[ATTEMPT_NAME_BYTES_MAX]);
/* False: not such a name. */
bool attempt_name_parse(const char *text, struct attempt_name *ret);

#endif
