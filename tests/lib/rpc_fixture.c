/* See rpc_fixture.h. */
#include "tests/lib/rpc_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/alloc.h"
#include "common/check.h"
#include "tests/lib/echo_rpc.h"

static int try_start(struct rpc_fixture *f, struct rpc_server_options options,
                     struct rpc_server **ret_server, struct err *e)
{
    const char *addresses[] = {f->address};
    struct rpc_service echo = {echo_rows, NULL};
    if (options.address_count == 0) {
        options.addresses = addresses;
        options.address_count = 1;
    }
    if (options.loop_count == 0) {
        options.loops = &f->server_loop;
        options.loop_count = 1;
    }
    if (options.service_count == 0) {
        options.services = &echo;
        options.service_count = 1;
    }
    return rpc_server_new(&options, ret_server, e);
}

/* Puts the port that was bound into the address. */
static void note_port(struct rpc_fixture *f, const char *listen)
{
    const char *colon = strrchr(listen, ':');
    char host[64];
    (void)snprintf(host, sizeof(host), "%.*s", (int)(colon - listen), listen);
    (void)snprintf(f->address, sizeof(f->address), "%s:%d", host, rpc_server_port(f->server, 0));
}

void rpc_fixture_start(struct rpc_fixture *f, const struct rpc_server_options *options)
{
    struct err e = ERR_INIT;
    if (try_start(f, *options, &f->server, &e) < 0) {
        (void)fprintf(stderr, "%s\n", err_message(&e));
        abort();
    }
    char listen[LIMIT_ADDRESS_BYTES_MAX];
    (void)snprintf(listen, sizeof(listen), "%s",
                   options->address_count ? options->addresses[0] : f->address);
    note_port(f, listen);
}

void rpc_fixture_stop(struct rpc_fixture *f)
{
    if (f->server != NULL) {
        rpc_server_drain(f->server, clock_mono_ms() + 5000);
        rpc_server_free(f->server);
        f->server = NULL;
    }
}

struct rpc_channel *rpc_fixture_channel(struct rpc_fixture *f, enum rpc_class class)
{
    struct rpc_channel *channel;
    struct rpc_channel_options options = {.address = f->address, .class = class, .user = "alice"};
    CHECK(rpc_channel_open(&options, &channel, NULL) == 0);
    return channel;
}

void rpc_fixture_restart(struct rpc_fixture *f, const struct rpc_server_options *options)
{
    rpc_fixture_stop(f);
    rpc_channel_unref(f->channel);
    (void)snprintf(f->address, sizeof(f->address), "127.0.0.1:0");
    rpc_fixture_start(f, options);
    f->channel = rpc_fixture_channel(f, RPC_CONTROL);
}

int rpc_fixture_setup(void **state)
{
    struct rpc_fixture *f = xcalloc(1, sizeof(*f));
    arena_init(&f->arena, 0);
    f->server_loop = rpc_loop_new();
    f->loop = rpc_loop_new();
    rpc_fixture_restart(f, &(struct rpc_server_options){0});
    CHECK(rpc_loop_start_thread(f->server_loop, "server", NULL) == 0);
    *state = f;
    return 0;
}

int rpc_fixture_teardown(void **state)
{
    struct rpc_fixture *f = *state;
    rpc_fixture_stop(f);
    rpc_loop_join_thread(f->server_loop);
    rpc_loop_free(f->server_loop);
    rpc_channel_unref(f->channel);
    rpc_loop_free(f->loop);
    arena_deinit(&f->arena);
    free(f);
    return 0;
}

int rpc_fixture_try_listen(struct rpc_fixture *f, const char *address, bool insecure, struct err *e)
{
    const char *addresses[] = {address};
    struct rpc_server_options options = {
        .addresses = addresses, .address_count = 1, .insecure = insecure};
    struct rpc_server *server = NULL;
    int r = try_start(f, options, &server, e);
    if (r == 0) {
        rpc_server_free(server);
    }
    return r;
}

int rpc_fixture_mute_listener(char *address, size_t address_bytes)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(at);
    CHECK(fd >= 0);
    CHECK(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    CHECK(listen(fd, 8) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&at, &length) == 0);
    (void)snprintf(address, address_bytes, "127.0.0.1:%d", ntohs(at.sin_port));
    return fd;
}
