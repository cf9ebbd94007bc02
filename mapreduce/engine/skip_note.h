/* The note of the record that user code has just now, by which whoever finds the task dead knows at
 * which record that was; and how a record is named for people. Values; any thread. */
#ifndef MAPREDUCE_ENGINE_SKIP_NOTE_H
#define MAPREDUCE_ENGINE_SKIP_NOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "trireme/mapreduce.h"

enum { SKIP_NAME_BYTES = 1000 };

/* In memory that another process will read: believe nothing of it. */
struct skip_note {
    volatile uint64_t record; /* ordinal + 1 of what user code has; 0: nothing */
    uint64_t offset;          /* map: where the record begins in its file */
    uint32_t name_length;
    char name[SKIP_NAME_BYTES]; /* map: the file, reduce: the key; only the beginning of a long one
                                 */
};

/* "the record at offset 12 of /in/a (record 3 of the task)". Of a note that has a record. */
void skip_note_text(const struct skip_note *note, bool reduce, struct buf *out);

struct skip_place {
    bool reduce;
    uint64_t ordinal;
    struct mr_span name; /* as in a note */
    uint64_t offset;
};
void skip_place_text(const struct skip_place *place, struct buf *out);

#endif
