/* An echo server with a thread of its own and a client loop that the test steps. rpc_init() first.
 */
#ifndef TESTS_LIB_RPC_FIXTURE_H
#define TESTS_LIB_RPC_FIXTURE_H

#include "common/arena.h"
#include "common/limits.h"
#include "common/rpc/rpc_server.h"

struct rpc_fixture {
    struct rpc_loop *server_loop;          /* driven by its thread */
    struct rpc_server *server;             /* NULL while stopped */
    char address[LIMIT_ADDRESS_BYTES_MAX]; /* HOST:PORT that it has, or had */
    struct rpc_loop *loop;                 /* the client's, driven by the test */
    struct rpc_channel *channel;           /* RPC_CONTROL, user "alice" */
    struct arena arena;                    /* for replies */
    void *reply;                           /* for the test */
};

/* cmocka's set-up and tear-down; *state is the fixture. */
int rpc_fixture_setup(void **state);
int rpc_fixture_teardown(void **state);

/* Drains and frees the server. */
void rpc_fixture_stop(struct rpc_fixture *f);
/* A server at the address of the last one. What the options leave out is the echo service on the
 * fixture's loop. */
void rpc_fixture_start(struct rpc_fixture *f, const struct rpc_server_options *options);
/* Stops, and starts one at a new port, with a new channel to it. */
void rpc_fixture_restart(struct rpc_fixture *f, const struct rpc_server_options *options);

struct rpc_channel *rpc_fixture_channel(struct rpc_fixture *f, enum rpc_class class);

/* What rpc_server_new() says to an address; a server that came up is freed again. */
int rpc_fixture_try_listen(struct rpc_fixture *f, const char *address, bool insecure,
                           struct err *e);

/* A socket that takes connections and never answers. Its address is written into address. */
int rpc_fixture_mute_listener(char *address, size_t address_bytes);

#endif
