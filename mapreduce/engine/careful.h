/* A program on a few records at a time, each time in a process of its own, so that those that end
 * it are found and left out (OSDI'04 section 4.6; Hadoop's SkipBadRecords halves ranges likewise).
 * What a process prints counts when it has ended well. Private to the engine; one thread. */
#ifndef MAPREDUCE_ENGINE_CAREFUL_H
#define MAPREDUCE_ENGINE_CAREFUL_H

#include "mapreduce/engine/skip.h"
#include "mapreduce/engine/stream.h"

/* What is left out as a whole: a record of a map, a key group of a reduce. */
struct careful_unit {
    struct mr_span name; /* as in struct skip_place; copied */
    uint64_t offset;
};

struct careful;

/* options.is_map says what units are; options.line gets the lines of what counts, in the order of
 * the input. Borrows all that the options name, and `skip`. Never NULL. */
struct careful *careful_new(const struct stream_options *options, const struct task_skip *skip);
void careful_free(struct careful *c); /* accepts NULL */

/* The next unit, then its bytes: one piece for each value of a key group. ERR_TASK: more units
 * would have to be left out than may be, or the program cannot be started; ERR_TOO_LARGE: a key
 * group is too large to be held. */
int careful_begin(struct careful *c, const struct careful_unit *unit, struct err *e) MUST_CHECK;
int careful_add(struct careful *c, struct mr_span bytes, struct err *e) MUST_CHECK;

/* A map's units come from this split now: after careful_finish(), if there was another. Borrowed.
 */
void careful_set_split(struct careful *c, const struct task_split *split);

/* Runs the rest; a program that had no input at all, of the split, is run once without any. */
int careful_finish(struct careful *c, struct err *e) MUST_CHECK;

/* Units and pieces that were left out. */
uint64_t careful_skipped_units(const struct careful *c);
uint64_t careful_skipped_pieces(const struct careful *c);

#endif
