/* mrworker: runs task attempts as child processes and serves their map outputs to reduces (DESIGN
 * 6). One thread, that of the control loop, owns all state here; job files are fetched on a
 * workpool; map outputs and logs are served by a second loop that shares nothing but the directory
 * (worker_serve.h). What runs dies with the connection to mrmaster: a master that cannot hear us
 * has given our attempts away. What has ended stays, with the outputs of finished maps, and is told
 * to the mrmaster that is joined next. */
#ifndef MAPREDUCE_WORKER_H
#define MAPREDUCE_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/ids.h"
#include "common/rpc/rpc.h"

struct metrics;
struct mr_worker_process;
struct spawner;

struct worker_options {
    struct rpc_loop *loop;
    struct spawner *spawner; /* started before gRPC */
    struct metrics *metrics; /* for worker_metrics.h; borrowed for life */
    const char *data;        /* data directory; strings are borrowed for life */
    const char *mrmaster;    /* HOST:PORT,...: the mrmaster, and others that may take over */
    const char *masters;     /* file masters, to fetch job files from */
    const char *address;     /* of our MrWorker service, as others reach it */
    const char *host;
    const char *rack;
    struct member_key key;
    const struct rpc_tls *tls; /* towards mrmaster */
    const char *tls_ca;        /* the same in files, for libdfs; NULL: none */
    const char *tls_cert;
    const char *tls_key;
    const char *user; /* name towards mrmaster; with TLS the certificate's counts */
    uint32_t slots;
    time_ms task_timeout_ms;   /* an attempt that shows no sign of life for so long is ended, unless
                                  its job says otherwise */
    uint64_t log_bytes_max;    /* of one attempt; worker_logs.h */
    time_ms log_keep_ms;       /* how long a job's logs stay after the last word in them */
    uint64_t log_total_bytes;  /* of all of them; beyond it the oldest go */
    void (*joined)(void *arg); /* the first time mrmaster has us */
    void *arg;
};

/* Cleans up after an earlier run, starts the first task processes and begins to join. Loop's thread
 * or before it runs. */
int worker_start(const struct worker_options *options, struct mr_worker_process **ret,
                 struct err *e) MUST_CHECK;
/* Ends all tasks and leaves; done when worker_idle(). Loop's thread. */
void worker_leave(struct mr_worker_process *w);
bool worker_idle(const struct mr_worker_process *w);
void worker_process_free(struct mr_worker_process *w); /* idle; accepts NULL */

#endif
