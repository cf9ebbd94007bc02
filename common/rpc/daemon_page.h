/* The HTTP pages of every daemon: /metrics with those of its RPC server, /healthz, and /varz with
 * role, address and options. What the daemon's owner has to say of its health and its state comes
 * by metrics_take_report(). Main thread. */
#ifndef COMMON_RPC_DAEMON_PAGE_H
#define COMMON_RPC_DAEMON_PAGE_H

#include "common/config.h"
#include "common/err.h"
#include "common/rpc/rpc_metrics.h"

/* The first six are set before the start, by main() and whoever knows the address and the server,
 * and stay as they are until the stop. */
struct daemon_page {
    const char *role;            /* "mrmaster" */
    const struct config *config; /* with the next two: the options */
    const struct config_program *program;
    const void *options;
    const char *address; /* of its RPC service */
    const struct rpc_server *server;
    struct rpc_metrics rpc;   /* the HTTP thread's */
    struct http_server *http; /* NULL: not started */
};

/* Serves at `http`, HOST:PORT, and logs the port; NULL or "": does nothing. ERR_*: see
 * metrics_serve(). */
int daemon_page_start(struct daemon_page *p, struct metrics *m, const char *http,
                      struct err *e) MUST_CHECK;
/* Before the server and the metrics go. Also when it was never started. */
void daemon_page_stop(struct daemon_page *p);

#endif
