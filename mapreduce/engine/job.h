/* A job as the engine runs it: the user's functions or programs and everything that is settled
 * about them. Filled in by whoever starts tasks (mr run --local, mrtask), then read-only. */
#ifndef MAPREDUCE_ENGINE_JOB_H
#define MAPREDUCE_ENGINE_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "mapreduce/engine/keyfields.h"
#include "mapreduce/engine/settings.h"
#include "trireme/mapreduce.h"

enum {
    JOB_FORMAT_DEFAULT = 255, /* input_format, output_format: as the library says */
    JOB_SORT_BYTES_DEFAULT = 256 * 1024 * 1024,
};

/* How text is cut into key and value: the key is what stands before the `fields`-th separator, the
 * value what stands behind it; without that many separators, all is key. */
struct job_fields {
    char separator[8]; /* at least one byte, NUL-terminated */
    uint32_t fields;   /* at least 1 */
};

struct job {
    /* The caller sets these and keeps them alive; zero or NULL is the default. */
    const char *id;              /* "job_local_0001" */
    const char *name;            /* for people and in mapreduce_job_name */
    const struct mr_job *native; /* of the library; NULL: programs alone */
    const char *map_command;     /* programs go before the library's functions */
    const char *combine_command;
    const char *reduce_command;
    uint32_t reduces;            /* 0: map() makes the output */
    uint32_t input_format;       /* enum mr_input or JOB_FORMAT_DEFAULT */
    uint32_t output_format;      /* enum mr_output or JOB_FORMAT_DEFAULT */
    uint32_t record_bytes;       /* for fixed-length records; 0: as the library says */
    uint64_t sort_bytes;         /* memory for a task's map output; 0: the default */
    uint64_t program_bytes;      /* address space of a program; 0: no limit */
    struct settings settings;    /* owned */
    struct settings environment; /* for programs, beside the settings; owned */

    /* job_resolve() sets these. */
    enum mr_input input;
    enum mr_output output;
    uint64_t record_bytes_max;
    bool compress;                /* map output */
    bool decompress;              /* input, by the ends of its names (inflated.h) */
    bool keep_trailing_tab;       /* write "key TAB" for an empty value, as Hadoop does */
    bool exit_status_matters;     /* a program that exits with another status than 0 fails */
    char output_separator[8];     /* between key and value in text output */
    struct job_fields map_fields; /* of a map program's output lines */
    bool total_order;             /* keys go to reduces by ranges */
    bool partition_by_fields;     /* a map program's keys go to reduces by parts of theirs */
    bool sort_by_fields;          /* and are sorted by parts: the engine has them coded */
    struct keyfields partition_fields;
    struct keyfields sort_fields;
    struct job_fields reduce_input; /* its separator: between key and value for a reduce program */
    const char *reporter_prefix;    /* of counter and status lines on stderr */
};

/* Settings in which flags of `mr run` travel. */
#define JOB_PARTITIONER_SETTING       "mapreduce.job.partitioner"
#define JOB_KEY_FIELDS_SETTING        "stream.num.map.output.key.fields"
#define JOB_FIELD_SEPARATOR_SETTING   "stream.map.output.field.separator"
#define JOB_KEY_SEPARATOR_SETTING     "mapreduce.map.output.key.field.separator"
#define JOB_PARTITION_OPTIONS_SETTING "mapreduce.partition.keypartitioner.options"
#define JOB_SORT_OPTIONS_SETTING      "mapreduce.partition.keycomparator.options"
#define JOB_SORT_MB_SETTING           "mapreduce.task.io.sort.mb"

void job_deinit(struct job *j); /* accepts zeroed */

/* Checks what the caller and the settings say and fills in the rest. ERR_INVALID with a text for
 * the user. Settings that have Hadoop's names have Hadoop's meaning (docs/mapreduce-engine.md). */
int job_resolve(struct job *j, struct err *e) MUST_CHECK;

/* The key as the user knows it, of one that the engine has. ERR_CORRUPT, if keys are coded. */
static inline int job_plain_key(const struct job *j, struct mr_span key, struct mr_span *ret_key,
                                struct err *e)
{
    if (!j->sort_by_fields) {
        *ret_key = key;
        return 0;
    }
    return keyfields_plain(&j->sort_fields, key, ret_key, e);
}

/* The setting in which the names of the library's outputs travel, divided by spaces. */
#define JOB_OUTPUTS_SETTING "mapreduce.multipleoutputs"

/* How many outputs beside the part the job's library declares. */
size_t job_output_count(const struct job *j);

/* Whether keys go to reduces by ranges that somebody must still find by sampling the input. */
bool job_wants_boundaries(const struct job *j);

/* ---- The user's library ---- */

struct job_library {
    void *handle;
    struct mr_job *job; /* a copy of its table, what it does not know zero; owned */
};

/* Loads a shared object and checks its table. ERR_NOT_FOUND, ERR_VERSION, ERR_INVALID. */
int job_library_open(const char *path, struct job_library *ret_library, struct err *e) MUST_CHECK;
void job_library_close(struct job_library *library); /* accepts zeroed */

#endif
