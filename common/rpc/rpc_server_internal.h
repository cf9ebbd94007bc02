/* What the server's files share: rpc_server.c (life, arrivals), rpc_call.c (unary), rpc_stream.c.
 */
#ifndef COMMON_RPC_RPC_SERVER_INTERNAL_H
#define COMMON_RPC_RPC_SERVER_INTERNAL_H

#include "common/rpc/rpc_internal.h"
#include "common/rpc/rpc_server.h"

/* A row of a service table, as the server uses it. */
struct rpc_row {
    const struct rpc_service_row *row;
    void *service;
    void *registered;                /* gRPC's handle of the method */
    unsigned uses[RPC_THREAD_COUNT]; /* steps on each thread: slots to reserve */
    bool poller_only;                /* no step leaves the poller */
    size_t message_bytes_max;
};

/* A new call as gRPC hands it over. Everything in it belongs to the receiver. */
struct rpc_arrival {
    struct rpc_server *server;
    struct rpc_loop *loop;
    size_t loop_index;
    const struct rpc_row *row;
    grpc_call *call;
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer *payload; /* unary: the request; NULL if none was sent */
};

const struct rpc_executor *rpc_server_executor(const struct rpc_server *server,
                                               enum rpc_thread thread);

/* Counting what drain waits for. `began`: ERR_BUSY above the limit, ERR_UNAVAILABLE on a draining
 * server. */
int rpc_server_call_began(struct rpc_server *server);
void rpc_server_call_ended(struct rpc_server *server);
int rpc_server_stream_began(struct rpc_server *server);
void rpc_server_stream_ended(struct rpc_server *server);

/* Answers ERR_BUSY, ERR_UNAVAILABLE or ERR_UNSUPPORTED and forgets the call. Takes the arrival. */
void rpc_arrival_refuse(struct rpc_arrival *arrival, int code);

/* rpc_call.c, rpc_stream.c: take the arrival. */
void rpc_call_arrived(struct rpc_arrival *arrival);
void rpc_stream_arrived(struct rpc_arrival *arrival);

/* Finished call structs, kept for the next ones. Each list belongs to its loop's thread. */
struct rpc_call **rpc_server_spare_calls(struct rpc_server *server, size_t loop_index);
void rpc_call_free_spares(struct rpc_call *first);

/* A caller with the memory that it points to. */
struct rpc_caller_store {
    struct rpc_caller caller;
    char user[LIMIT_HOST_BYTES_MAX + 1];
    char acts_for[LIMIT_HOST_BYTES_MAX + 1];
    char address[LIMIT_ADDRESS_BYTES_MAX];
};
void rpc_caller_fill(struct rpc_caller_store *store, grpc_call *call,
                     const grpc_metadata_array *metadata, gpr_timespec deadline);

/* ---- rpc_listen.c ---- */

/* ERR_INVALID: malformed, or plain text beyond loopback that nobody allowed. Otherwise appends the
 * address as gRPC takes it. */
int rpc_listen_check(const char *address, bool plain_text_anywhere, struct buf *ret_address,
                     struct err *e) MUST_CHECK;
/* gRPC does not say why it could not bind; finds out. */
int rpc_listen_explain(const char *address, struct err *e);

#endif
