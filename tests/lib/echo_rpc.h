/* The echo service of proto/echo.proto, for tests and bench/rpc: all kinds of methods, all on the
 * poller. */
#ifndef TESTS_LIB_ECHO_RPC_H
#define TESTS_LIB_ECHO_RPC_H

#include "common/rpc/rpc_server.h"
#include "common/rpc/rpc_stream.h"

extern const struct rpc_method echo_unary;
extern const struct rpc_method echo_client_stream;
extern const struct rpc_method echo_server_stream;
extern const struct rpc_method echo_bidi;

/* Rows for rpc_server_options.services; the service pointer is not used. */
extern const struct rpc_service_row echo_rows[];

/* The step of Unary: fills the reply, waits on the loop if asked to, or fails as asked. Poller. */
int echo_unary_step(struct rpc_call *call, void *service);

/* The streams' callbacks, for tables of a test's own. */
extern const struct rpc_stream_ops echo_client_stream_ops;
extern const struct rpc_stream_ops echo_server_stream_ops;
extern const struct rpc_stream_ops echo_bidi_ops;

#endif
