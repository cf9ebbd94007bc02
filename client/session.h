/* The client's half of a session (DESIGN 5 "Sessions"): which sequence numbers are in use, and
 * below which one all replies have come. Pure; whoever shares it has a lock around it. */
#ifndef CLIENT_SESSION_H
#define CLIENT_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ids.h"
#include "common/limits.h"

struct session {
    session_id id;        /* random, not 0 */
    uint64_t next;        /* the next operation's seq; the first is 1 */
    uint64_t acked_below; /* the replies of all seqs below have come, or are not wanted any more */
    uint64_t
        settled[SESSION_WINDOW_COUNT_MAX / 64]; /* bit seq % 256: settled, and >= acked_below */
    unsigned users;                             /* operations in flight */
};

/* What stands in a request; seq is its first operation's. */
struct session_ticket {
    session_id session;
    uint64_t seq;
    uint64_t acked_below;
};

void session_init(struct session *s, session_id id);
/* Seqs for `count` new operations, from ret->seq on. False: there is no room for them in the
 * window, wait for some to settle. */
bool session_begin(struct session *s, unsigned count, struct session_ticket *ret);
/* The operation's reply has come, or the client has given it up. Once for each begin. */
void session_settle(struct session *s, uint64_t seq);

#endif
