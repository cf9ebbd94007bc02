/* From emitted records to the bytes of an output file. One thread. */
#ifndef MAPREDUCE_ENGINE_OUTPUT_H
#define MAPREDUCE_ENGINE_OUTPUT_H

#include <stdint.h>

#include "common/err.h"
#include "mapreduce/engine/job.h"
#include "mapreduce/engine/region.h"
#include "mapreduce/engine/source.h"

struct output {
    struct sink *sink;     /* borrowed */
    const struct job *job; /* borrowed: format, separator */
    struct region region;  /* bytes gather here */
    size_t length;         /* of them */
    uint64_t records;
    uint64_t bytes; /* written and gathered */
    int error;      /* the first; later records are dropped */
    struct err *e;  /* its text; borrowed */
};

void output_init(struct output *o, const struct job *job, struct sink *sink, struct err *e);
void output_deinit(struct output *o); /* accepts zeroed; without output_finish() data is lost */

void output_record(struct output *o, struct mr_span key, struct mr_span value);

/* A line that a program printed, without its newline. */
void output_line(struct output *o, struct mr_span line);

/* Writes what is left and finishes the sink. */
int output_finish(struct output *o) MUST_CHECK;

#endif
