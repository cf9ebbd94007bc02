/* Writers' leases, kept alive by one thread of the connection, which starts with the first of them.
 * The same thread looks at the connections of paused streams, so that their pings are answered
 * while the user's threads do something else. */
#ifndef CLIENT_LEASE_H
#define CLIENT_LEASE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/ids.h"
#include "common/list.h"

struct dfs;

/* Part of an open file. */
struct lease {
    struct list link; /* in the keeper's list */
    inode_id inode;
    uint64_t epoch;
    bool lost; /* under the connection's lock: refused for good */
};

/* Part of the connection, under its lock. */
struct lease_keeper {
    struct list leases;
    unsigned streams; /* open ones that must answer pings */
    bool running;
    bool stopping;
    pthread_t thread;
};

void lease_keeper_init(struct lease_keeper *k);
/* Ends the thread. No lease is left. */
void lease_keeper_stop(struct dfs *dfs);

void lease_hold(struct dfs *dfs, struct lease *lease, inode_id inode, uint64_t epoch);
void lease_drop(struct dfs *dfs, struct lease *lease); /* no-op for zeroed */
bool lease_lost(struct dfs *dfs, struct lease *lease);

/* A stream is open across calls of the user, and is not any more. */
void lease_stream_opened(struct dfs *dfs);
void lease_stream_closed(struct dfs *dfs);

#endif
