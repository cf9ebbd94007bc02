/* Writers' leases, kept alive by one thread of the connection, which starts with the first of them.
 * The same thread tends to what goes on while the user's threads do something else: it looks at the
 * connections of paused streams, so that their pings are answered, and it lets a writer that its
 * user has left alone for a while send what it has, take in its acknowledgements and tell them to
 * the chain. What begins and ends within one call of the user is none of its business: a short
 * command never wakes it.
 *
 * A lease is also lost without a word, when no file master can be reached for as long as it lasts.
 * So a writer goes by the time at which it last asked for what the file master then granted:
 * nobody ends a lease before LEASE_SOFT_MS from there, and well before that it is in doubt. Time in
 * which this machine sleeps counts. */
#ifndef CLIENT_LEASE_H
#define CLIENT_LEASE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/fs_types.h" /* struct fs_lease */
#include "common/ids.h"
#include "common/list.h"

struct dfs;

/* What a writer leaves behind when a call of its user ends. */
struct lease_rest {
    bool restless;  /* tend() is wanted when nobody has used the file for LEASE_IDLE_MS */
    bool streaming; /* a stream is open, and must answer pings */
};

enum lease_state {
    LEASE_HELD,
    LEASE_DOUBTFUL, /* the file master has to be asked */
    LEASE_LOST,     /* for good */
};

/* Part of an open file that is written. The fields below are under the connection's lock. */
struct lease {
    struct list link; /* in the keeper's list */
    inode_id inode;
    uint64_t epoch;
    bool lost;              /* refused for good */
    bool in_use;            /* by a call of the user */
    bool tended;            /* the keeper is in tend() */
    struct lease_rest rest; /* unless it is in use */
    time_ms left_ms;        /* when the last call ended */
    time_ms renewed_ms;     /* boot time: the keeper sent its last good renewal then */
    /* Of whoever has the file: a call of the user, or the keeper in tend(). */
    time_ms asked_ms; /* boot time: the last request that proves the lease, as far as is known */
    bool known_lost;
    /* On the keeper's thread, never beside a call of the user; must not wait. */
    struct lease_rest (*tend)(struct lease *lease);
};

/* Part of the connection, under its lock. */
struct lease_keeper {
    struct list leases;
    unsigned paused; /* streams of readers that are open between two calls, and must answer pings */
    bool running;
    bool stopping;
    bool sleeping; /* for long: has to be woken when there is something to look at */
    pthread_t thread;
};

void lease_keeper_init(struct lease_keeper *k);
/* Ends the thread. No lease is left. */
void lease_keeper_stop(struct dfs *dfs);

/* asked_ms (clock_boot_ms()): before what gave the lease was sent. */
void lease_hold(struct dfs *dfs, struct lease *lease, struct fs_lease what, time_ms asked_ms);
/* Around each call of the user on the file. */
void lease_enter(struct dfs *dfs, struct lease *lease);
void lease_leave(struct dfs *dfs, struct lease *lease, struct lease_rest rest);
/* The keeper lets go of it, in the middle of tend() too. No-op for zeroed. */
void lease_drop(struct dfs *dfs, struct lease *lease);
bool lease_lost(struct dfs *dfs, struct lease *lease);
/* By whoever has the file. Without a lock while the lease is young. */
enum lease_state lease_state(struct dfs *dfs, struct lease *lease);
/* The file master has done what only the holder may ask for, and counts from then on: grant,
 * allocation, renewal. asked_ms (clock_boot_ms()): before it was sent. By whoever has the file. */
void lease_proved(struct lease *lease, time_ms asked_ms);

/* A reader's stream stays open across calls of the user, and does not any more. */
void lease_stream_paused(struct dfs *dfs);
void lease_stream_closed(struct dfs *dfs);

#endif
