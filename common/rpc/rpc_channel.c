/* One gRPC channel with the arguments of its class. Numeric addresses get a scheme of their own, so
 * that they are not looked up. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc_security.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/parse.h"
#include "common/rpc/rpc_internal.h"

struct rpc_channel {
    atomic_uint refs;
    grpc_channel *channel;
    char *address;
    enum rpc_class class;
    grpc_metadata user; /* sent with each call */
    bool has_user;
};

static int target_of(const char *address, struct buf *target, struct err *e)
{
    char host[LIMIT_HOST_BYTES_MAX + 1];
    uint16_t port;
    int r = parse_address(address, host, sizeof(host), &port, e);
    if (r < 0) {
        return r;
    }
    if (host[0] == '\0' || port == 0) {
        return err_set(e, ERR_INVALID, "address %s: HOST:PORT is needed", address);
    }
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        buf_printf(target, "ipv4:%s:%u", host, port);
    } else if (inet_pton(AF_INET6, host, &v6) == 1) {
        buf_printf(target, "ipv6:%%5B%s%%5D:%u", host, port);
    } else {
        buf_printf(target, "dns:///%s:%u", host, port);
    }
    return 0;
}

static int set_user(struct rpc_channel *channel, const char *user, struct err *e)
{
    grpc_slice value = grpc_slice_from_copied_string(user);
    if (!grpc_header_nonbin_value_is_legal(value)) {
        grpc_slice_unref(value);
        return err_set(e, ERR_INVALID, "user name '%s' has bytes that cannot be sent", user);
    }
    channel->user.key = grpc_slice_from_static_string(RPC_KEY_USER);
    channel->user.value = value;
    channel->has_user = true;
    return 0;
}

static void connect_channel(struct rpc_channel *channel, const char *target,
                            const struct rpc_channel_options *options)
{
    struct rpc_args args;
    rpc_args_channel(&args, options->class);
    if (options->tls != NULL && options->server_name != NULL) {
        rpc_args_add_string(&args, GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, options->server_name);
    }
    grpc_channel_credentials *credentials = rpc_tls_channel(options->tls);
    channel->channel = grpc_channel_create(target, credentials, &args.args);
    grpc_channel_credentials_release(credentials);
}

int rpc_channel_open(const struct rpc_channel_options *options, struct rpc_channel **ret_channel,
                     struct err *e)
{
    struct buf target = BUF_INIT;
    struct rpc_channel *channel = xcalloc(1, sizeof(*channel));
    atomic_init(&channel->refs, 1);
    channel->address = xstrdup(options->address);
    channel->class = options->class;
    int r = target_of(options->address, &target, e);
    if (r == 0 && options->user != NULL) {
        r = set_user(channel, options->user, e);
    }
    if (r == 0) {
        connect_channel(channel, target.data, options);
        *ret_channel = channel;
        channel = NULL;
    }
    rpc_channel_unref(channel);
    buf_deinit(&target);
    return r;
}

struct rpc_channel *rpc_channel_ref(struct rpc_channel *channel)
{
    atomic_fetch_add_explicit(&channel->refs, 1, memory_order_relaxed);
    return channel;
}

void rpc_channel_unref(struct rpc_channel *channel)
{
    if (channel == NULL || atomic_fetch_sub_explicit(&channel->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    if (channel->channel != NULL) {
        grpc_channel_destroy(channel->channel); /* calls keep what they need of it */
    }
    if (channel->has_user) {
        grpc_slice_unref(channel->user.value);
    }
    free(channel->address);
    free(channel);
}

const char *rpc_channel_address(const struct rpc_channel *channel)
{
    return channel->address;
}

enum rpc_class rpc_channel_class(const struct rpc_channel *channel)
{
    return channel->class;
}

bool rpc_channel_is_connected(const struct rpc_channel *channel)
{
    return grpc_channel_check_connectivity_state(channel->channel, 0) == GRPC_CHANNEL_READY;
}

void rpc_channel_connect(struct rpc_channel *channel)
{
    (void)rpc_channel_state(channel);
}

size_t rpc_channel_message_bytes_max(const struct rpc_channel *channel)
{
    switch (channel->class) {
    case RPC_BULK:
        return RPC_BULK_MESSAGE_BYTES_MAX;
    case RPC_RAFT:
        return RPC_RAFT_MESSAGE_BYTES_MAX;
    default:
        return RPC_MESSAGE_BYTES_MAX;
    }
}

grpc_call *rpc_channel_call(struct rpc_channel *channel, struct rpc_loop *loop, const char *method,
                            time_ms deadline)
{
    return grpc_channel_create_call(channel->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                    rpc_loop_queue(loop), grpc_slice_from_static_string(method),
                                    NULL, rpc_deadline_to_grpc(deadline), NULL);
}

grpc_connectivity_state rpc_channel_state(struct rpc_channel *channel)
{
    return grpc_channel_check_connectivity_state(channel->channel, 1);
}

void rpc_channel_watch(struct rpc_channel *channel, grpc_connectivity_state last, time_ms deadline,
                       struct rpc_loop *loop, struct rpc_tag *tag)
{
    grpc_channel_watch_connectivity_state(channel->channel, last, rpc_deadline_to_grpc(deadline),
                                          rpc_loop_queue(loop), tag);
}

void rpc_channel_metadata(const struct rpc_channel *channel, grpc_metadata *copy, grpc_op *op)
{
    *op = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    if (channel->has_user) {
        *copy = channel->user;
        op->data.send_initial_metadata.metadata = copy;
        op->data.send_initial_metadata.count = 1;
    }
}
