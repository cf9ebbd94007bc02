/* Seal and go on: how an open chunk that lost a replica or its writer gets its final length (DESIGN
 * 4, "Failure: seal and go on"). A pure state machine for one chunk: events and `now` go in,
 * effects come out. Owner thread.
 *
 *   BEGINNING  log: version + 1, sealing
 *   FENCING    every server of the set is asked to end its writers and say what it holds
 *   ENDING     log: sealed at this length, or the extent goes
 *   DONE       replicas that are long enough are told to seal
 *
 * The length is the shortest *clean* answer that is not below what is known acknowledged: clean
 * replicas hold all that was ever acknowledged, so the rest of each is unacknowledged tail and the
 * shortest loses nothing and keeps most copies. "No such chunk" is no answer. Without a clean
 * answer all holders are waited for, however long, and then the longest verified prefix is taken
 * and flagged. When every server says that it has no such chunk and nothing was acknowledged,
 * nothing was written: length 0. One that cannot have lost it is enough for that: what is
 * acknowledged is on all of them, so those that cannot be reached are waited for a moment only.
 *
 * The caller sends what the effects say and feeds back what comes; sending twice is harmless, since
 * everything asked for is idempotent for the same new version. */
#ifndef FSMASTER_RECOVERY_H
#define FSMASTER_RECOVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ids.h"
#include "common/limits.h"

struct recovery_start {
    struct chunk_ref chunk; /* at the version that the set was given */
    bool begun;             /* the log says SEALING already (a resumed one) */
    uint64_t new_version;   /* of SEALING; chunk.version + 1 if not begun */
    const server_id *set;   /* named by the allocation */
    uint32_t set_count;     /* 1..CHUNK_REPLICAS_MAX */
    uint64_t acked;         /* all replicas acknowledged this much to somebody; 0: nothing known */
};

enum recovery_state {
    RECOVERY_BEGINNING,
    RECOVERY_FENCING,
    RECOVERY_ENDING,
    RECOVERY_DONE,
};

enum recovery_effect_kind {
    RECOVERY_NOTHING,
    RECOVERY_PROPOSE_BEGIN, /* chunk at its old version, new_version */
    RECOVERY_SEND_FENCE,    /* server; chunk at its old version, new_version */
    RECOVERY_PROPOSE_END,   /* chunk at new_version, length; 0: the extent goes */
    RECOVERY_SEND_SEAL,     /* server; chunk at new_version, length: a replica that reaches it */
};

struct recovery_effect {
    enum recovery_effect_kind kind;
    server_id server;
    uint64_t length;
};

enum recovery_answer_kind {
    RECOVERY_ANSWER_NONE,      /* still owed */
    RECOVERY_ANSWER_HELD,      /* length and clean stand */
    RECOVERY_ANSWER_NOT_FOUND, /* no such chunk here: it may have been lost */
    RECOVERY_ANSWER_NEVER,     /* nor was there ever: nothing of it is acknowledged */
    RECOVERY_ANSWER_FAILED,    /* not reached; asked again later */
};

struct recovery_member {
    server_id server;
    enum recovery_answer_kind answer;
    uint64_t length;
    bool clean;
    bool blamed;      /* its chain named it: a clean answer of others is not held up for it */
    bool fence_owed;  /* SEND_FENCE not yet given out */
    bool seal_owed;   /* SEND_SEAL not yet given out */
    time_ms again_ms; /* FAILED: when it is asked again */
};

struct recovery {
    struct chunk_ref chunk; /* at its old version */
    uint64_t new_version;
    uint64_t acked;
    enum recovery_state state;
    bool propose_owed; /* the state's PROPOSE effect not yet given out */
    bool unverified;   /* no clean answer: the length is the longest verified prefix */
    uint64_t length;   /* ENDING and DONE */
    time_ms fenced_ms; /* when FENCING began */
    uint32_t member_count;
    struct recovery_member members[CHUNK_REPLICAS_MAX];
};

/* A plain value; nothing to free. */
void recovery_init(struct recovery *r, const struct recovery_start *start, time_ms now);

/* Another asker knows more: what was acknowledged to it, and whom its chain blamed. Ignored once
 * the length is decided, when an honest asker cannot know more. */
void recovery_tell(struct recovery *r, uint64_t acked, const server_id *blamed, size_t count);

/* The next thing to do; false: nothing now. Call until false after each event. */
bool recovery_next(struct recovery *r, struct recovery_effect *ret);

/* Events. begun and ended: the entry was applied. A proposal that was refused or lost is made again
 * by recovery_propose_again(). */
void recovery_begun(struct recovery *r, time_ms now);
void recovery_ended(struct recovery *r, uint64_t length);
void recovery_propose_again(struct recovery *r);

struct recovery_answer {
    server_id server;
    enum recovery_answer_kind kind; /* not NONE */
    uint64_t length;                /* HELD */
    bool clean;                     /* HELD */
};
void recovery_fenced(struct recovery *r, const struct recovery_answer *answer, time_ms now);

/* Time goes on: failed fences are asked again, and a clean answer stops waiting for the others. */
void recovery_tick(struct recovery *r, time_ms now);

/* Servers that it still waits for, into ret[CHUNK_REPLICAS_MAX]. Returns how many. */
uint32_t recovery_waits_for(const struct recovery *r, server_id *ret);

#endif
