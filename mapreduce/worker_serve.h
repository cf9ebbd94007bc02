/* Serves map outputs to reduces elsewhere, and logs of attempts to `mr logs`. Runs on a loop of its
 * own and shares nothing with the rest of the worker but the data directory, which `service` names
 * (const char *). Reads come from the page cache almost always, so they are done on the loop's
 * thread, a piece at a time as the stream takes them. */
#ifndef MAPREDUCE_WORKER_SERVE_H
#define MAPREDUCE_WORKER_SERVE_H

#include "common/rpc/rpc_server.h"

extern const struct rpc_service_row mr_worker_rows[];

#endif
