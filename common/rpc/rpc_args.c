/* Every argument has its reason beside it; gRPC's defaults that we like are not repeated. Tried on
 * 1.51. */
#include "common/rpc/rpc_args.h"

#include <limits.h>

#include <grpc/grpc.h>

#include "common/limits.h"
#include "common/macros.h"
#include "common/rpc/rpc_internal.h"

enum side { CLIENT = 1, SERVER = 2, BOTH = 3 };
enum classes {
    CONTROL = 1 << RPC_CONTROL,
    BULK = 1 << RPC_BULK,
    RAFT = 1 << RPC_RAFT,
    LARGE = BULK | RAFT,
    ALL = CONTROL | LARGE,
};

enum {
    READ_CHUNK_BYTES = 512 * 1024,        /* the default of 8 KiB makes 128 slices of a message */
    FRAME_BYTES = 1024 * 1024,            /* one data message, one frame */
    LOOKAHEAD_BYTES = 4 * 1024 * 1024,    /* window; the default of 64 KiB stalls at each message */
    CONTROL_LOOKAHEAD_BYTES = 256 * 1024, /* many connections, small messages */
};

struct row {
    struct rpc_arg arg;
    enum side side;
    enum classes classes;
};

static const struct row rows[] = {
    /* Two daemons would share one port and each get half of the connections. */
    {{GRPC_ARG_ALLOW_REUSEPORT, 0}, SERVER, ALL},
    /* Channels of one process to one address would all share a single connection. */
    {{GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1}, CLIENT, ALL},
    /* Even loopback would go through http_proxy. */
    {{GRPC_ARG_ENABLE_HTTP_PROXY, 0}, CLIENT, ALL},
    /* No look-up of TXT records, and nobody who answers them configures us. */
    {{GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1}, CLIENT, ALL},
    /* Retrying is for those who know whether it is safe. */
    {{GRPC_ARG_ENABLE_RETRIES, 0}, CLIENT, ALL},
    {{GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, RPC_BACKOFF_MS_MIN}, CLIENT, ALL},
    {{GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, RPC_BACKOFF_MS_MAX}, CLIENT, ALL},
    /* By this name gRPC means the time that one attempt is given. */
    {{GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, RPC_CONNECT_MS}, CLIENT, ALL},
    /* A host that moved is found soon; the default is 30 s. */
    {{GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1000}, CLIENT, ALL},
    {{GRPC_ARG_INHIBIT_HEALTH_CHECKING, 1}, CLIENT, ALL},

    /* Dead peers: a client with calls in progress asks often; a server must allow that. */
    {{GRPC_ARG_KEEPALIVE_TIME_MS, RPC_KEEPALIVE_MS}, CLIENT, ALL},
    {{GRPC_ARG_KEEPALIVE_TIMEOUT_MS, RPC_KEEPALIVE_TIMEOUT_MS}, CLIENT, ALL},
    {{GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0}, CLIENT, ALL},
    {{GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0}, BOTH, ALL},
    {{GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, RPC_KEEPALIVE_MS / 2}, SERVER, ALL},
    {{GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0}, SERVER, ALL},
    {{GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1}, SERVER, ALL},
    {{GRPC_ARG_KEEPALIVE_TIME_MS, RPC_SERVER_KEEPALIVE_MS}, SERVER, ALL},
    {{GRPC_ARG_KEEPALIVE_TIMEOUT_MS, RPC_SERVER_KEEPALIVE_MS}, SERVER, ALL},

    /* Bounds: there is no cap on connections, so on all that one can hold. */
    {{GRPC_ARG_MAX_CONCURRENT_STREAMS, RPC_CONNECTION_STREAM_COUNT_MAX}, SERVER, ALL},
    {{GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, RPC_HANDSHAKE_MS}, SERVER, ALL},
    {{GRPC_ARG_MAX_CONNECTION_IDLE_MS, RPC_CONNECTION_IDLE_MS}, SERVER, ALL},
    {{GRPC_ARG_MAX_METADATA_SIZE, RPC_METADATA_BYTES_MAX}, BOTH, ALL},
    /* One server speaks with all classes; its method table has the finer limits. */
    {{GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_RAFT_MESSAGE_BYTES_MAX}, SERVER, ALL},
    {{GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, RPC_RAFT_MESSAGE_BYTES_MAX}, SERVER, ALL},
    {{GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_MESSAGE_BYTES_MAX}, CLIENT, CONTROL},
    {{GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, RPC_MESSAGE_BYTES_MAX}, CLIENT, CONTROL},
    {{GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_BULK_MESSAGE_BYTES_MAX}, CLIENT, BULK},
    {{GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, RPC_BULK_MESSAGE_BYTES_MAX}, CLIENT, BULK},
    {{GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_RAFT_MESSAGE_BYTES_MAX}, CLIENT, RAFT},
    {{GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, RPC_RAFT_MESSAGE_BYTES_MAX}, CLIENT, RAFT},

    /* Throughput. */
    {{GRPC_ARG_TCP_READ_CHUNK_SIZE, READ_CHUNK_BYTES}, BOTH, LARGE},
    {{GRPC_ARG_HTTP2_MAX_FRAME_SIZE, FRAME_BYTES}, BOTH, LARGE},
    {{GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, LOOKAHEAD_BYTES}, BOTH, LARGE},
    {{GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, CONTROL_LOOKAHEAD_BYTES}, BOTH, CONTROL},
    /* Windows are set above; probing for them costs pings. */
    {{GRPC_ARG_HTTP2_BDP_PROBE, 0}, BOTH, ALL},
    {{GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0}, BOTH, ALL},
    {{GRPC_ARG_ENABLE_CHANNELZ, 0}, BOTH, ALL},
};

size_t rpc_args_rows(bool server, enum rpc_class class, struct rpc_arg *out, size_t count_max)
{
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        if ((rows[i].side & (server ? SERVER : CLIENT)) && (rows[i].classes & (1 << class))) {
            CHECK(count < count_max);
            out[count++] = rows[i].arg;
        }
    }
    return count;
}

static grpc_arg *add(struct rpc_args *args, grpc_arg_type type, const char *key)
{
    CHECK(args->args.num_args < RPC_ARG_COUNT_MAX);
    grpc_arg *arg = &args->rows[args->args.num_args++];
    arg->type = type;
    arg->key = (char *)key; /* gRPC does not write to it, nor keep it beyond the creation */
    return arg;
}

void rpc_args_add_string(struct rpc_args *args, const char *key, const char *value)
{
    add(args, GRPC_ARG_STRING, key)->value.string = (char *)value;
}

static void fill(struct rpc_args *args, bool server, enum rpc_class class)
{
    struct rpc_arg list[RPC_ARG_COUNT_MAX];
    size_t count = rpc_args_rows(server, class, list, RPC_ARG_COUNT_MAX);
    args->args.num_args = 0;
    args->args.args = args->rows;
    for (size_t i = 0; i < count; i++) {
        add(args, GRPC_ARG_INTEGER, list[i].key)->value.integer = list[i].value;
    }
    grpc_arg *quota = add(args, GRPC_ARG_POINTER, GRPC_ARG_RESOURCE_QUOTA);
    quota->value.pointer.p = rpc_quota(server);
    quota->value.pointer.vtable = grpc_resource_quota_arg_vtable();
}

void rpc_args_channel(struct rpc_args *args, enum rpc_class class)
{
    fill(args, false, class);
}

void rpc_args_server(struct rpc_args *args, enum rpc_class class)
{
    fill(args, true, class);
}
