/* mrmaster's state: jobs, workers, and the scheduler between them (DESIGN 6, "How a job runs").
 *
 * One thread, that of the rpc loop, owns everything here and runs every callback; what blocks (the
 * store) happens on a workpool and comes back by rpc_loop_post(). Durable state is in the store,
 * see master_store.h; what is in memory can be lost at any moment, and a mrmaster that starts takes
 * every unfinished job up again: committed reduces are kept, and the finished maps of all workers
 * that come back; the rest runs again. */
#ifndef MAPREDUCE_MASTER_H
#define MAPREDUCE_MASTER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/ids.h"
#include "common/rpc/rpc_server.h"

struct dfs;
struct metrics;
struct mr_master;

struct mr_master_options {
    struct rpc_loop *loop;
    const char *masters; /* file masters, for libdfs; borrowed for life, like all strings here */
    const char *user;    /* owns /system/mr; NULL: the login name */
    const char *host;    /* host and rack label of this process */
    const char *rack;
    const char *tls_ca; /* PEM files for libdfs; all three or none. With TLS `user` is not used: the
                           certificate must be the store's superuser's, who acts for jobs' users */
    const char *tls_cert;
    const char *tls_key;
    time_ms worker_silent_ms;   /* a worker that says nothing for so long is given up */
    time_ms history_ms;         /* ended jobs are forgotten after so long */
    void (*deposed)(void *arg); /* another mrmaster has taken over: everything here has ended, the
                                   process should. Loop's thread */
    void *arg;
};

/* Never NULL. Nothing happens before mr_master_start(). */
struct mr_master *mr_master_new(const struct mr_master_options *options);
/* The server is drained and the loop idle. Accepts NULL. */
void mr_master_free(struct mr_master *m);

/* Raises the fence, which deposes any other mrmaster of the store, and takes up the jobs found in
 * the store, waiting for the store as long as libdfs does. Called before the loop runs. ERR_*: e
 * says what is wrong. */
int mr_master_start(struct mr_master *m, struct err *e) MUST_CHECK;

/* Metrics, health and state, for the HTTP thread; also before the start. Gone with the master. */
struct metrics *mr_master_metrics(struct mr_master *m);

/* Rows for rpc_server_new(); the service pointer is the master. */
extern const struct rpc_service_row mr_master_rows[];

/* After the drain: waits until no step in the store is under way. False: some were still at the
 * deadline, as when the store does not answer; they hold threads and memory of ours, so the process
 * can only end. Nothing is lost by that: the next start takes their jobs up. Loop's thread. */
bool mr_master_settle(struct mr_master *m, time_ms deadline) MUST_CHECK;
/* Ends all Work and Watch streams so that the server can drain. Loop's thread. */
void mr_master_drain(struct mr_master *m);

#endif
