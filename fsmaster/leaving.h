/* How far servers are on their way out of service: chunks that still need them, counted in rounds
 * over the locations. Pure; owner thread.
 *
 * A round takes as many steps as the table is large, so what it says lags behind by up to a round.
 * Whoever changes what may not lag (a server comes, goes, or changes its state) starts it over:
 * until the next round is complete nothing is said, so that "nothing needs it" is never about a
 * time before that. */
#ifndef FSMASTER_LEAVING_H
#define FSMASTER_LEAVING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ids.h"
#include "fsmaster/locations.h"

enum { LEAVING_SAMPLE_COUNT = 8 };

/* Of one server that is not in service. */
struct leaving_count {
    uint64_t chunks;  /* that it has a copy of, written ones included */
    uint64_t writing; /* of them open or sealing, of the version before that, too */
    /* Of them those that need it. Decommissioned: the chunk lacks copies elsewhere. In maintenance:
     * no other copy is on a live server in service. */
    uint64_t needed;
    uint64_t last;                          /* of `needed` those without any other good copy */
    chunk_id samples[LEAVING_SAMPLE_COUNT]; /* of `needed`, the first ones */
    uint32_t sample_count;
};

struct leaving;

/* Borrows the locations. Never NULL. */
struct leaving *leaving_new(const struct locations *locations);
void leaving_free(struct leaving *v); /* accepts NULL */

/* What was counted says nothing any more. */
void leaving_restart(struct leaving *v);
/* Looks at about `budget` places of the table. True: a round has ended with this step. */
bool leaving_step(struct leaving *v, size_t budget);

/* As of the last round; all 0 if it met nothing on the server. False: no round is complete. */
bool leaving_find(const struct leaving *v, server_id server, struct leaving_count *ret);

#endif
