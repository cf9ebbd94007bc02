/* Is a history of namespace operations linearizable? (Herlihy and Wing 1990.) Wing and Gong's
 * search with Lowe's memory of configurations seen ("Testing for linearizability", 2017), one
 * top-level directory at a time: directories that no operation leaves are independent, and a
 * history is linearizable if it is so in each (their theorem of locality). Pure; one thread.
 *
 * A history is text, one operation a line, in any order:
 *
 *     CLIENT BEGAN ENDED OPERATION = OUTCOME
 *     3 1000 2500 create /a/x 17 = ok | exists          17: who the file is, unique
 *     3 1000 2500 delete /a/x = ok | absent
 *     3 1000 2500 rename /a/x /a/y = ok | absent | exists
 *     3 1000 2500 stat /a/x = 17 | absent
 *     3 1000 2500 list /a = x,y | -                     -: nothing in it
 *     3 1000 2500 set /a/x 17 = ok                      created or replaced
 *
 * Times are integers of one clock. Any operation may end in `failed`, which says that nothing has
 * happened, or in `unknown`: it happened once, at any time after it began, or never. */
#ifndef TESTS_LIB_LIN_H
#define TESTS_LIB_LIN_H

#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

enum {
    LIN_NAME_COUNT_MAX = 64, /* in one top-level directory */
    LIN_OP_COUNT_MAX = 4096, /* in one top-level directory */
    LIN_PARTITION_COUNT_MAX = 256,
};

struct lin_history;

struct lin_history *lin_new(void);
void lin_free(struct lin_history *h); /* accepts NULL */

/* ERR_INVALID with a text; ERR_TOO_LARGE beyond the limits above. An empty line, or one that begins
 * with #, is nothing. */
int lin_add_line(struct lin_history *h, const char *line, struct err *e) MUST_CHECK;
/* All lines of a text. */
int lin_add_text(struct lin_history *h, const char *text, struct err *e) MUST_CHECK;

enum lin_verdict {
    LIN_LEGAL,
    LIN_ILLEGAL,
    LIN_UNDECIDED, /* the search was given up; never take it for legal */
};

struct lin_summary {
    uint64_t ops;        /* failed ones are not counted */
    uint64_t unknowns;   /* of them */
    uint64_t overlapped; /* ops that overlap another one of their directory */
    uint64_t partitions;
    uint64_t steps; /* of the search */
};

/* Gives the search up after steps_max steps in one directory (0: 50 million). For a history that is
 * not legal, `why` says which directory, and which operation could not be explained at the furthest
 * point that was reached. why and ret_summary may be NULL. */
enum lin_verdict lin_check(const struct lin_history *h, uint64_t steps_max, struct buf *why,
                           struct lin_summary *ret_summary);

#endif
