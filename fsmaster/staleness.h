/* Staleness: how old this member's state may be, and which reads it may therefore answer (DESIGN 4
 * "Read"). Pure; owner thread.
 *
 * A read that allows an age of B is promised every change that was acknowledged to anybody before
 * `since`, which is the moment it came here less B. Why this is kept:
 *
 *   1. The member asks the leader how far the log is committed. Before the question leaves it notes
 *      the time t on its own clock.
 *   2. The leader gives a read index R (Raft dissertation, section 6.4): after the question came, a
 *      majority confirmed that it leads, and R is not below any entry committed before that.
 *   3. What was acknowledged before t was committed before t, so before the question came: it is at
 *      or below R. A state that has applied R has all of it. The pair (R, t) is a *mark*.
 *   4. A state only goes forward, by entries or by a snapshot, so a mark once reached stays
 * reached. A read with since <= t may be answered, whoever leads by then.
 *
 * No clock but the member's own is read, and t is taken before the message exists. So a question or
 * an answer that was under way for ten seconds, an answer of a leader deposed meanwhile and a
 * process that was stopped make a mark older, never younger. An index that is too high only makes
 * reads wait.
 *
 * One question is in flight at a time, for all the reads that wait. A read that waits has an index
 * of its own from the first answer that will do, so that a state which is always a little behind
 * newer answers still comes to it. */
#ifndef FSMASTER_STALENESS_H
#define FSMASTER_STALENESS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ids.h"
#include "common/list.h"

/* Lives with the asker until staleness_next() has given it back. */
struct stale_read {
    time_ms since_ms;   /* it has to see what was acknowledged before */
    log_index at_least; /* and everything up to here, which the asker has seen */
    time_ms give_up_ms; /* it is refused then */
    log_index index;    /* private: of the answer that will do; 0: none yet */
    int code;           /* private: once decided */
    struct list link;   /* private */
};

/* A state that has applied index has all that was acknowledged before asked_ms. */
struct staleness_mark {
    log_index index; /* 0: no mark */
    time_ms asked_ms;
};

/* Open for its owner to lie in; nobody else looks inside. */
struct staleness {
    log_index applied;
    struct staleness_mark held;   /* the newest that is reached */
    struct staleness_mark coming; /* reached soon; not replaced before, or it might never be */
    uint64_t question;            /* number of the last one */
    bool asking;                  /* it is in flight */
    time_ms asked_ms;             /* when it began */
    struct list waiting;          /* as many as the server takes calls */
    struct list decided;
};

void staleness_init(struct staleness *s, log_index applied);

/* True: it may be answered now. Else staleness_next() gives it, sooner or later. */
bool staleness_read(struct staleness *s, struct stale_read *read);

/* A question should be asked now: a read waits for one, or the last was long ago, so that a member
 * that loses its leader can answer for a while. Not while one is in flight. */
bool staleness_wants(const struct staleness *s, time_ms now);
/* It is being asked, and nothing of it has left yet. Returns its number. */
uint64_t staleness_ask(struct staleness *s, time_ms now);
/* What came of it. Of any question but the last, or a second time, it changes nothing. */
void staleness_answer(struct staleness *s, uint64_t question, log_index index);
/* Refuses those that wait for an answer: there is nobody to ask. */
void staleness_fail(struct staleness *s, uint64_t question);

void staleness_applied(struct staleness *s, log_index index); /* the state stands there now */
void staleness_tick(struct staleness *s, time_ms now);

/* The next read that is decided; NULL: none. *ret_code 0: it may be answered. ERR_NOT_LEADER. */
struct stale_read *staleness_next(struct staleness *s, int *ret_code);

#endif
