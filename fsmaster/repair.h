/* What to care for next: chunks with too few good copies, in order of copies left, then age; and
 * what the care is (DESIGN 4, "Repair and care"). Pure; owner thread.
 *
 * The queue only remembers which chunks may need care and limits how much goes on at once. What is
 * to be done is decided when a chunk's turn comes, from what is known of it then (repair_plan), so
 * that stale wishes do nothing. A chunk that cannot be helped now (no target, no source, a failed
 * copy) is put off with a growing delay, and looked at early when servers change. One that only
 * waits for its turn is not: its delay is short and stays so. */
#ifndef FSMASTER_REPAIR_H
#define FSMASTER_REPAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ids.h"
#include "common/limits.h"
#include "fsmaster/locations.h"

/* ---- The queue ---- */

struct repair_queue;

struct repair_queue *repair_queue_new(void);    /* never NULL */
void repair_queue_free(struct repair_queue *q); /* accepts NULL */

/* The chunk may need care; copies_left good ones exist. Known already: its rank is changed, its age
 * stays; one that was put off with more copies left becomes due. */
void repair_queue_add(struct repair_queue *q, chunk_id chunk, uint32_t copies_left, time_ms now);
void repair_queue_drop(struct repair_queue *q, chunk_id chunk); /* also in flight; may be absent */

/* The most urgent chunk that is due, which is then TAKEN: it must be finished, put off or dropped.
 * 0: none, or REPAIR_COUNT_MAX are taken. */
chunk_id repair_queue_take(struct repair_queue *q, time_ms now);

/* Its care is over: it leaves, unless it was added again meanwhile, when it is due at once. */
void repair_queue_finish(struct repair_queue *q, chunk_id chunk, time_ms now);
/* Nothing can be done now. The delay doubles each time, from REPAIR_RETRY_MS_MIN to _MAX. */
void repair_queue_put_off(struct repair_queue *q, chunk_id chunk, time_ms now);
/* It could be helped at once if the servers it needs had nothing else to do: due again after
 * REPAIR_BUSY_MS, however often. */
void repair_queue_wait(struct repair_queue *q, chunk_id chunk, time_ms now);
/* Servers have come or gone: everything that was put off is due. */
void repair_queue_hurry(struct repair_queue *q);

/* Where a chunk stands, for those who ask why it has not been cared for. */
enum repair_turn {
    REPAIR_TURN_NONE,  /* not in the queue */
    REPAIR_TURN_DUE,   /* the next when its turn comes */
    REPAIR_TURN_LATER, /* put off, or waiting for busy servers */
    REPAIR_TURN_TAKEN, /* something is under way */
};
struct repair_place {
    enum repair_turn turn;
    time_ms since_ms;  /* first added */
    time_ms due_ms;    /* LATER */
    uint32_t put_offs; /* in a row */
};
void repair_queue_look(const struct repair_queue *q, chunk_id chunk, struct repair_place *ret);

size_t repair_queue_waiting(const struct repair_queue *q);
size_t repair_queue_taken(const struct repair_queue *q);

/* ---- The plan ---- */

enum repair_kind {
    REPAIR_NOTHING, /* the chunk is as it should be, or its writer cares */
    REPAIR_COPY,    /* a further copy from `sources` to a server that placement names */
    REPAIR_ADOPT,   /* `server` may hold the bytes at an older version, or unsealed: seal it */
    REPAIR_DELETE,  /* `server`'s replica at `version` goes; copies_left good ones remain */
    REPAIR_WAIT,    /* nothing can be done before something changes */
};

struct repair_plan {
    enum repair_kind kind;
    server_id server; /* ADOPT, DELETE */
    uint64_t version; /* of that replica */
    uint32_t copies_left;
    server_id sources[LOCATION_REPLICAS_MAX]; /* COPY: good ones */
    uint32_t source_count;
};

struct repair_view {
    const struct location *chunk;
    bool all_heard; /* every live server has reported to this leader, and the whole log was seen */
    bool no_target; /* placement was asked after a COPY and has no server for one more copy */
    bool no_adoption;  /* the last try failed: this time a copy comes first */
    bool no_room;      /* no_target: there are servers without a copy, and their disks are full */
    server_id surplus; /* the good replica to give up if there are too many; 0: the last one */
    uint32_t away;     /* servers in maintenance, each of which may have a copy (chunkservers.h) */
};

/* One step of care. Copies go first, while the chunk lacks some (location_lacks()); before them
 * what may only need to be sealed. Odd replicas are those that do not agree with the log, also
 * where that is only assumed. They are deleted only while at least as many
 * copies that serve as are wanted are reported (not assumed), and surplus ones likewise, of those
 * that serve: what is on servers that leave is left there. Nothing is deleted before all_heard.
 * With no_target an odd replica is deleted while one good copy is reported, so that the missing
 * copy can take its place: it holds nothing that the good one lacks. */
void repair_decide(const struct repair_view *view, struct repair_plan *ret);

/* ---- Why ---- */

/* What a chunk waits for before it is as it should be. */
enum repair_reason {
    REPAIR_FOR_NOTHING,     /* it is as it should be */
    REPAIR_FOR_WRITER,      /* it is open */
    REPAIR_FOR_SEAL,        /* its recovery */
    REPAIR_FOR_END,         /* a step that is under way */
    REPAIR_FOR_TURN,        /* nothing else: it is due */
    REPAIR_FOR_REPORTS,     /* servers that have not said yet what they hold */
    REPAIR_FOR_HOLDER,      /* a server that has it to come back */
    REPAIR_FOR_AWAY,        /* a server in maintenance to come back, or its time to be over */
    REPAIR_FOR_TARGET,      /* a server in service without a copy: there are too few */
    REPAIR_FOR_ROOM,        /* one of them that has room: all their disks are full */
    REPAIR_FOR_BUSY_TARGET, /* those that there are copy enough already */
    REPAIR_FOR_BUSY_SOURCE, /* likewise */
    REPAIR_FOR_LOG,         /* the log has not named it: reported only */
    REPAIR_REASON_COUNT,
};

struct repair_question {
    const struct repair_view *view;
    enum repair_turn turn;
    bool settled; /* those that can be expected have reported (chunkservers_settled()) */
    bool targets_busy, sources_busy;
};

enum repair_reason repair_explain(const struct repair_question *q);
/* It passes by itself; the others need something from outside: a server, space, a writer. */
bool repair_reason_passes(enum repair_reason reason);
/* "a server that has a copy to come back"; static memory. */
const char *repair_reason_text(enum repair_reason reason);
/* "holder": its name, for programs. */
const char *repair_reason_name(enum repair_reason reason);

#endif
