/* The map tasks of a local job: input paths -> files -> splits. Private to the engine. */
#ifndef MAPREDUCE_ENGINE_LOCAL_PLAN_H
#define MAPREDUCE_ENGINE_LOCAL_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "mapreduce/engine/local.h"

struct local_piece {
    const char *path; /* borrowed from the plan's files */
    uint64_t start;
    uint64_t length;
};

struct local_file {
    char *path;
    uint64_t length;
};

struct local_plan {
    struct local_file *files;
    size_t file_count;
    uint64_t bytes; /* of all files */
    struct local_piece *pieces;
    size_t piece_count;
    size_t *firsts; /* map task i has pieces[firsts[i], firsts[i + 1]) */
    uint32_t maps;
};

int local_plan_init(struct local_plan *plan, const struct local_options *options, uint32_t parallel,
                    struct err *e) MUST_CHECK;
void local_plan_deinit(struct local_plan *plan); /* accepts zeroed */

#endif
