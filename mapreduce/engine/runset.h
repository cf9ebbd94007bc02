/* The runs of one task: its spills, or the map outputs that a reduce merges. Keeps track of their
 * files and merges some into one when there are too many to merge at once. One thread. */
#ifndef MAPREDUCE_ENGINE_RUNSET_H
#define MAPREDUCE_ENGINE_RUNSET_H

#include <stddef.h>
#include <stdint.h>

#include "mapreduce/engine/merge.h"
#include "mapreduce/engine/run.h"

struct runset_run {
    struct source *source;
    struct run_index index; /* one segment per partition */
    char *temp_path; /* ours: removed and source freed when done; NULL: the caller's source */
};

struct runset {
    const char *directory;   /* for temporary files, borrowed */
    const char *name;        /* their names begin with it, borrowed */
    uint32_t partitions;     /* of every run */
    bool compress;           /* of what we write */
    struct region *memory;   /* for writing, borrowed; see run_writer */
    struct runset_run *runs; /* in the order in which equal keys are to come */
    size_t count;
    size_t capacity;
    uint32_t files_made;      /* for their names */
    uint64_t records_merged;  /* written by merges of runs, for "Spilled Records" */
    void (*alive)(void *arg); /* called now and then by runset_shrink(); NULL: not. Set after
                                 runset_init(), as compress is */
    void *alive_arg;
};

void runset_init(struct runset *s, const char *directory, const char *name, uint32_t partitions,
                 struct region *memory);
void runset_deinit(struct runset *s); /* removes temporary files; accepts zeroed */

/* Adds a run at the end. Takes the index; borrows the source. */
void runset_take_run(struct runset *s, struct source *source, struct run_index *index);

/* Opens a new temporary file. Later either runset_keep_file() or unlink and free. */
int runset_make_file(struct runset *s, char **ret_path, struct sink **ret_sink,
                     struct err *e) MUST_CHECK;

/* Adds what was written to that file as a run at the end. Takes path and index, also on errors. */
int runset_keep_file(struct runset *s, char *path, struct run_index *index,
                     struct err *e) MUST_CHECK;

/* Merges neighbours into temporary files until at most `count_max` runs are left, at least 2. */
int runset_shrink(struct runset *s, size_t count_max, struct err *e) MUST_CHECK;

/* Begins a merge of all runs' segments of a partition; there must be at most MR_FAN_IN_MAX. */
void runset_merge(const struct runset *s, uint32_t partition, struct merge *m);

#endif
