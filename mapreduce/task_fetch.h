/* What a reduce still has to fetch: one segment of each map, told piece by piece as maps finish.
 * Pure: no I/O, no clock. One thread.
 *
 * A map output is identified by the attempt that made it. One that is withdrawn before it was
 * fetched waits for its successor; one that was fetched already is kept, because its bytes are as
 * good as those of any other attempt. A fetch that fails is tried again, later each time; after
 * TASK_FETCH_TRIES, or at once when the output is definitely gone, the output is lost: the reduce
 * attempt ends and says which. */
#ifndef MAPREDUCE_TASK_FETCH_H
#define MAPREDUCE_TASK_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/ids.h"
#include "mapreduce/job_types.h"

struct fetch_plan;

/* Never NULL. */
struct fetch_plan *fetch_plan_new(uint32_t maps);
void fetch_plan_free(struct fetch_plan *p); /* accepts NULL */

/* A map has finished, or its output was withdrawn. Texts are copied. Told twice is once.
 * ERR_INVALID: no such map. */
int fetch_plan_told(struct fetch_plan *p, const struct map_done *done, struct err *e) MUST_CHECK;

/* One to fetch. Texts live until the map's fetch has ended. */
struct fetch_wanted {
    uint32_t map;
    const char *attempt;
    const char *address;
};
/* The next one to begin with, marked as being fetched; false: none now. Prefers workers that
 * nothing is fetched from at the moment. */
bool fetch_plan_next(struct fetch_plan *p, time_ms now, struct fetch_wanted *ret);
/* When fetch_plan_next() may give one that waits after a failure; CLOCK_NEVER: none waits. */
time_ms fetch_plan_wake(const struct fetch_plan *p);

/* The end of a fetch that fetch_plan_next() gave. */
void fetch_plan_done(struct fetch_plan *p, uint32_t number);
/* gone: its worker says that it does not have it. True: this output is lost now. */
bool fetch_plan_failed(struct fetch_plan *p, uint32_t number, bool gone, time_ms now);

uint32_t fetch_plan_fetched(const struct fetch_plan *p);
uint32_t fetch_plan_fetching(const struct fetch_plan *p);
bool fetch_plan_complete(const struct fetch_plan *p); /* every map's segment is here */

/* The attempt that a map's segment comes from, and its worker; "" while nothing is known. */
const char *fetch_plan_attempt(const struct fetch_plan *p, uint32_t map);
const char *fetch_plan_address(const struct fetch_plan *p, uint32_t map);
/* The n-th lost one, counted from 0; false: there are not so many. */
bool fetch_plan_lost(const struct fetch_plan *p, size_t n, struct fetch_wanted *ret);

#endif
