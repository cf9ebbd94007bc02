/* Serves map outputs to reduces elsewhere, and logs of attempts to `mr logs`. Runs on a loop of its
 * own and shares nothing with the rest of the worker but what worker_serve holds. Reads come from
 * the page cache almost always, so they are done on the loop's thread, a piece at a time as the
 * stream takes them. */
#ifndef MAPREDUCE_WORKER_SERVE_H
#define MAPREDUCE_WORKER_SERVE_H

#include "common/rpc/rpc_server.h"

struct counter;
struct metrics;

/* Filled in before the server starts and read-only then. */
struct worker_serve {
    const char *data;          /* the worker's data directory; borrowed */
    struct counter *map_bytes; /* sent of map outputs */
    struct counter *log_bytes; /* sent of logs */
};
void worker_serve_init(struct worker_serve *s, const char *data, struct metrics *m);

/* Rows for rpc_server_new(); the service pointer is a struct worker_serve. */
extern const struct rpc_service_row mr_worker_rows[];

#endif
