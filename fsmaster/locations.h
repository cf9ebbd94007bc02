/* Where the replicas of each chunk are: soft state of every master, in RAM, built from what the log
 * says and what chunkservers report (DESIGN 4, "Locations"). Pure; owner thread.
 *
 * Two sources meet here in any order. The log (apply effects, and a scan at start) says what a
 * chunk is: version, state, length, wanted copies. Servers say what they hold, also of chunks that
 * the log has not named yet. A replica is *good* when it agrees with the log; every other one is
 * kept with its own version and length until it agrees or is gone.
 *
 * A good replica *serves* unless an operator has taken its server out of service, and *counts* if
 * it serves, or if its server is in maintenance, dead or not (server_record.h). A sealed chunk
 * should have as many that count as are wanted, and at least one that serves.
 *
 * A sealed chunk without a good replica is *unheard* while some server has not reported since this
 * master started, and *missing* after.
 *
 * Nothing here is linear in chunks but locations_sweep(), which goes round in slices: after a
 * server died or finished a full report, it finds the chunks that this touched. At most 64 bytes
 * per chunk with three good replicas (test_locations measures it). */
#ifndef FSMASTER_LOCATIONS_H
#define FSMASTER_LOCATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ids.h"
#include "common/limits.h"
#include "fsmaster/server_record.h"

enum location_state {
    LOCATION_RUMOURED = 0, /* reported, but the log has not named it (yet, or any more) */
    LOCATION_OPEN,
    LOCATION_SEALING,
    LOCATION_SEALED,
};

/* How a chunk fares, for counting and for the care that it needs. */
enum location_class {
    LOCATION_CLASS_RUMOURED, /* an orphan, once the whole log has been seen */
    LOCATION_CLASS_WRITING,  /* open or sealing: its writer or its recovery cares */
    LOCATION_CLASS_OK,       /* as many copies as wanted, and nothing else that serves */
    LOCATION_CLASS_EXTRA,    /* as many, and surplus or odd ones */
    LOCATION_CLASS_UNDER,    /* at least one good copy on a live server, but it lacks some */
    LOCATION_CLASS_NONE,     /* none: unheard or missing */
    LOCATION_CLASS_COUNT,
};

/* What the log says of a chunk. */
struct location_fact {
    struct chunk_ref chunk;
    enum location_state state; /* not RUMOURED */
    uint64_t length;           /* SEALED: bytes; otherwise 0 */
    uint32_t wanted;           /* 0: as known before */
    const server_id *servers;  /* its set: hold it as this says without having reported it yet; once
                                * it is SEALED only those of whom that was known before */
    uint32_t server_count;
};

/* What a server says of its replica. */
struct location_report {
    struct chunk_ref chunk;
    uint64_t length;
    bool sealed;
    bool damaged;
};

/* One replica as known. */
struct location_replica {
    server_id server;
    uint64_t version;
    uint64_t length;
    bool agrees;             /* with the log */
    bool good;               /* likewise, and on a live server */
    bool live;               /* its server is */
    bool sealed;             /* the server says so */
    bool damaged;            /* likewise */
    bool assumed;            /* follows from the log; the server has not said it itself, or while
                              * the chunk was open, when lengths are not kept: it is 0 then */
    enum server_admin admin; /* of its server */
};

enum { LOCATION_REPLICAS_MAX = 32 }; /* of one chunk; more are not remembered */

struct location {
    struct chunk_ref chunk; /* as of the log; of RUMOURED: as first reported */
    enum location_state state;
    enum location_class class;
    uint64_t length;
    uint32_t wanted;
    uint32_t good_count;
    uint32_t serving_count;
    uint32_t counted;
    uint32_t count;
    struct location_replica replicas[LOCATION_REPLICAS_MAX];
};

/* A chunk changed and is of a class that may need care (EXTRA, UNDER, NONE, RUMOURED). It must not
 * change the locations. */
typedef void (*location_care_fn)(void *arg, chunk_id chunk, enum location_class class);

struct locations;

/* care may be NULL. Never NULL. */
struct locations *locations_new(location_care_fn care, void *arg);
void locations_free(struct locations *l); /* accepts NULL */

/* ---- What the log says ---- */

/* Replaces what was known; replicas that no longer agree become odd ones. */
void locations_learn(struct locations *l, const struct location_fact *fact);
/* Only the wanted copies. A chunk that is not known stays so. */
void locations_set_wanted(struct locations *l, chunk_id chunk, uint32_t wanted);
/* The chunk is no more, and its replicas are being deleted: locations_find() gave them first. */
void locations_forget(struct locations *l, chunk_id chunk);
/* The chunk is no more, and to delete its replicas is another member's business: they are rumours
 * from now on, so that they are found if that member does not live to do it. */
void locations_disown(struct locations *l, chunk_id chunk);

/* ---- What servers say ---- */

/* 0. ERR_INVALID: id 0, or a version or length that no chunk has; nothing is noted. */
int locations_report(struct locations *l, server_id id, const struct location_report *report);
void locations_remove(struct locations *l, server_id id, chunk_id chunk);

/* A full list comes: from locations_report_begin() on, replicas that are not reported again go at
 * locations_report_end(). A begin without an end is harmless: the next begin starts over. */
void locations_report_begin(struct locations *l, server_id id);
void locations_report_end(struct locations *l, server_id id);

/* Dead servers' replicas are kept, but do not count. */
void locations_set_live(struct locations *l, server_id id, bool live);
/* What an operator has said of it; false: that was known. */
bool locations_set_admin(struct locations *l, server_id id, enum server_admin admin);

/* ---- Questions ---- */

/* False: nothing is known of it. */
bool locations_find(const struct locations *l, chunk_id chunk, struct location *ret);

/* A sealed chunk has too few that count, or none that serves. */
static inline bool location_lacks(const struct location *chunk)
{
    return chunk->state == LOCATION_SEALED &&
           (chunk->counted < chunk->wanted || chunk->serving_count == 0);
}
static inline bool location_serves(const struct location_replica *replica)
{
    return replica->good && replica->admin == SERVER_IN_SERVICE;
}
static inline bool location_counts(const struct location_replica *replica)
{
    return location_serves(replica) || (replica->agrees && replica->admin == SERVER_IN_MAINTENANCE);
}

/* Chunks that may be odd: not named by the log, or with replicas that do not agree with it. One
 * slice of the table per call, from *cursor on, which begins at 0; false: that was the last one.
 * visit must not change the locations. */
typedef void (*location_visit_fn)(void *arg, chunk_id chunk);
bool locations_visit_odd(const struct locations *l, uint32_t *cursor, location_visit_fn visit,
                         void *arg);

/* Chunks with a replica, of any kind, on a server that is not in service, or on this server: up to
 * `budget` places of the table per call, otherwise like locations_visit_odd(). */
bool locations_visit_leaving(const struct locations *l, uint32_t *cursor, size_t budget,
                             location_visit_fn visit, void *arg);
bool locations_visit_server(const struct locations *l, server_id id, uint32_t *cursor,
                            size_t budget, location_visit_fn visit, void *arg);

/* Chunks of a class. Lags behind a change of liveness until the sweep has been round. */
uint64_t locations_class_count(const struct locations *l, enum location_class class);
uint64_t locations_count(const struct locations *l);

/* Looks at up to `budget` places of the table and calls care for what it finds; returns false when
 * everything has been seen since the last change of liveness or full report. */
bool locations_sweep(struct locations *l, size_t budget);
bool locations_sweep_needed(const struct locations *l);
/* Starts a round even though no server changed: for care that was put off. */
void locations_sweep_again(struct locations *l);

size_t locations_memory(const struct locations *l); /* bytes allocated */

#endif
