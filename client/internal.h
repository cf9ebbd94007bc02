/* A connection, as libdfs sees it from inside.
 *
 * Threads: any number of them are in calls at once. Each call borrows a loop and steps it itself;
 * an open file keeps one for its life. What they share is behind `lock`. */
#ifndef CLIENT_INTERNAL_H
#define CLIENT_INTERNAL_H

#include <trireme/dfs.h>

#include "client/lease.h"
#include "client/session.h"
#include "client/sync.h"
#include "common/arena.h"
#include "common/err.h"
#include "common/rng.h"
#include "common/rpc/rpc.h"

enum {
    DFS_MASTER_COUNT_MAX = 16,
    DFS_SPARE_LOOP_COUNT_MAX = 16,
    DFS_TELL_MS = 1000, /* how often a caller hears why it waits */
};

struct dfs {
    char *masters[DFS_MASTER_COUNT_MAX]; /* as configured; owned */
    size_t master_count;
    char *masters_where; /* who named them: "DFS_MASTER"; NULL: not told */
    char *user;
    char *host;
    char *rack;
    char *home; /* "/user/NAME" */
    uint32_t timeout_ms;
    uint32_t staleness_ms; /* that reads of names allow; 0: none */
    bool no_local_reads;
    void (*waiting)(void *arg, const char *what);
    void *waiting_arg;
    struct rpc_tls *tls;
    struct rpc_pool *pool;

    struct sync_lock lock;                /* guards everything below */
    char leader[LIMIT_ADDRESS_BYTES_MAX]; /* where the next call to the file master goes */
    size_t leader_index;                  /* next of `masters` to try when that fails */
    size_t near_index;                    /* of the one that reads which allow some age go to */
    uint64_t seen_index;                  /* of the master's state: the newest that was heard of */
    struct session *session;              /* the present one */
    unsigned window_waiters;              /* threads that wait for room in its window */
    struct rpc_loop *spare[DFS_SPARE_LOOP_COUNT_MAX];
    size_t spare_count;
    struct rng rng;
    struct lease_keeper leases;
};

/* One call of the user, with all that it does inside. */
struct call {
    struct dfs *dfs;
    struct rpc_loop *loop;
    time_ms deadline;   /* it gives up then */
    time_ms tell_at;    /* when `waiting` is called next */
    bool fresh;         /* its reads allow no age, whatever the connection does */
    bool quiet;         /* never calls `waiting` */
    struct arena arena; /* replies of this call */
};

struct rpc_loop *dfs_loop_borrow(struct dfs *dfs);
/* The loop must be idle. */
void dfs_loop_return(struct dfs *dfs, struct rpc_loop *loop);

/* A call on a borrowed loop; call_end() gives it back and frees what it got. */
void call_begin(struct call *c, struct dfs *dfs);
void call_end(struct call *c);
/* The same on a file's own loop. */
void call_begin_on(struct call *c, struct dfs *dfs, struct rpc_loop *loop);
void call_end_on(struct call *c);
/* Tells the user why the call waits, once a second. */
void call_waits(struct call *c, const char *what);
/* Waits, driving the loop. False: the deadline of the call comes first. */
bool call_pause(struct call *c, time_ms ms);
/* Random in [ms/2, ms]: clients that wait for the same thing come back apart. */
time_ms call_jitter(struct call *c, time_ms ms);

/* Fills the public error from ours. Returns the code. */
int dfs_fail(struct dfs_err *to, int code, const struct err *from);
/* 0, or dfs_fail(). */
int dfs_finish(struct dfs_err *to, int code, const struct err *from);

#endif
