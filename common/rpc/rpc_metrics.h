/* What a server's statistics look like as metrics; the names are the same in every daemon. One
 * thread at a time: the one that shows metrics (metrics_page.collect). */
#ifndef COMMON_RPC_RPC_METRICS_H
#define COMMON_RPC_RPC_METRICS_H

#include "common/metrics.h"
#include "common/rpc/rpc_server.h"

struct rpc_metrics {
    struct counter *calls; /* in the registry, as all four */
    struct counter *refused;
    struct gauge *in_flight;
    struct gauge *streams;
    struct rpc_server_stats shown; /* what the counters have already */
};

void rpc_metrics_init(struct rpc_metrics *x, struct metrics *m);
/* Brings the metrics up to what the server says. */
void rpc_metrics_update(struct rpc_metrics *x, const struct rpc_server *server);

#endif
