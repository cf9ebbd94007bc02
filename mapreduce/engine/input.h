/* From the bytes of a split to batches of records. One thread.
 *
 * A split is any range of bytes of a file; the rule that gives each record to exactly one split is
 * that it belongs to the split that holds its first byte. A reader of lines therefore begins one
 * byte before its split and skips through the first newline there, and reads its last line beyond
 * the split's end. Records of fixed length begin at multiples of that length. */
#ifndef MAPREDUCE_ENGINE_INPUT_H
#define MAPREDUCE_ENGINE_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mapreduce/engine/source.h"
#include "trireme/mapreduce.h"

struct input_options {
    enum mr_input format;
    uint32_t record_bytes;     /* MR_INPUT_FIXED: length of each, above 0 */
    uint64_t record_bytes_max; /* longer records are refused; at most MR_RECORD_BYTES_MAX */
    bool single_lines;         /* MR_INPUT_BLOCKS: of one line each */
};

struct input_batch {
    const struct mr_record *records; /* valid until the next call */
    size_t count;                    /* above 0, or 0 at the split's end */
    uint64_t lines;                  /* records for the counter: lines, also of a MR_INPUT_BLOCKS */
};

struct input;

/* Never NULL. Keeps its buffers over many splits. */
struct input *input_new(const struct input_options *options);
void input_free(struct input *in); /* accepts NULL */

/* Begins with [start, start + length) of a file, or of the text of a compressed one. Borrows the
 * source until the next split. */
void input_begin(struct input *in, struct source *source, uint64_t start, uint64_t length);

/* The next records. ERR_TOO_LARGE and ERR_CORRUPT name file and offset of the record at fault;
 * other errors are the source's. */
int input_next(struct input *in, struct input_batch *ret_batch, struct err *e) MUST_CHECK;

/* Bytes of the current split that lie behind the last batch, at most its length: for progress. Of a
 * compressed file those that were read. */
uint64_t input_done(const struct input *in);

/* Bytes read from sources since input_new(). */
uint64_t input_bytes_read(const struct input *in);

#endif
