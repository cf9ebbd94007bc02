/* See rpc_metrics.h. */
#include "common/rpc/rpc_metrics.h"

void rpc_metrics_init(struct rpc_metrics *x, struct metrics *m)
{
    *x = (struct rpc_metrics){
        .calls = metrics_counter(m, "rpc_calls_total", NULL, "Calls and streams begun."),
        .refused = metrics_counter(m, "rpc_refused_total", NULL,
                                   "Calls and streams refused because too many were in progress."),
        .in_flight = metrics_gauge(m, "rpc_calls_in_flight", NULL, "Unary calls in progress."),
        .streams = metrics_gauge(m, "rpc_streams", NULL, "Streams in progress."),
    };
}

void rpc_metrics_update(struct rpc_metrics *x, const struct rpc_server *server)
{
    struct rpc_server_stats now = rpc_server_stats(server);
    counter_add(x->calls, now.calls - x->shown.calls);
    counter_add(x->refused, now.refused - x->shown.refused);
    gauge_set(x->in_flight, now.in_flight);
    gauge_set(x->streams, now.streams);
    x->shown = now;
}
