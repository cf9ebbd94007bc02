/* The server's life and the arrival of calls.
 *
 * Each method is registered with gRPC and has, on each loop, a few slots that wait for a call of
 * it; a slot that got one is armed again before the call is looked at. Calls of unknown methods
 * arrive in slots of their own and are answered "unsupported". When gRPC shuts down, all slots come
 * back empty.
 *
 * Order of the end (CONVENTIONS 1.7): no more calls are accepted; those in progress end, or are
 * cancelled and then end; all slots are back; gRPC says that its connections are gone. Only then
 * may the server, and later the loops, be freed. */
#include "common/rpc/rpc_server.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/macros.h"
#include "common/rpc/rpc_server_internal.h"
#include "common/rpc/rpc_stream.h"

enum {
    UNARY_SLOTS = 4, /* per method and loop: a burst finds an armed one while another is re-armed */
    STREAM_SLOTS = 1,
    DRAIN_STEP_MS = 10, /* how often rpc_server_drain() looks at the time */
};

/* Waits for one call of a method. */
struct slot {
    struct rpc_tag tag;
    struct rpc_arrival arrival; /* row NULL: of any method that is not registered */
    grpc_call_details details;  /* only for those */
};

struct rpc_server {
    grpc_server *server;
    struct rpc_loop *loops[RPC_SERVER_LOOP_COUNT_MAX];
    struct rpc_call *spare[RPC_SERVER_LOOP_COUNT_MAX]; /* each of its loop's thread */
    size_t loop_count;
    struct rpc_executor executors[RPC_THREAD_COUNT]; /* RPC_OWNER and RPC_WORKER, if given */
    struct rpc_row *rows;
    size_t row_count;
    int ports[RPC_LISTEN_COUNT_MAX];
    uint32_t call_count_max;
    uint32_t stream_count_max;

    pthread_mutex_t lock;   /* guards all below; nothing is called under it */
    pthread_cond_t changed; /* while draining: some count fell */
    struct rpc_server_stats stats;
    uint32_t refusals;  /* being answered */
    size_t armed;       /* slots */
    bool draining;      /* no new calls */
    bool shut_down;     /* gRPC has no connections any more */
    struct rpc_tag end; /* tag of that */
};

/* ---- Counting ---- */

static int begin(struct rpc_server *server, uint32_t *count, uint32_t count_max)
{
    int r = 0;
    pthread_mutex_lock(&server->lock);
    if (server->draining) {
        r = ERR_UNAVAILABLE;
    } else if (*count >= count_max) {
        r = ERR_BUSY;
        server->stats.refused++;
    } else {
        (*count)++;
        server->stats.calls++;
    }
    pthread_mutex_unlock(&server->lock);
    return r;
}

static void end(struct rpc_server *server, uint32_t *count)
{
    pthread_mutex_lock(&server->lock);
    CHECK(*count > 0);
    (*count)--;
    if (server->draining) {
        pthread_cond_broadcast(&server->changed);
    }
    pthread_mutex_unlock(&server->lock);
}

int rpc_server_call_began(struct rpc_server *server)
{
    return begin(server, &server->stats.in_flight, server->call_count_max);
}

void rpc_server_call_ended(struct rpc_server *server)
{
    end(server, &server->stats.in_flight);
}

int rpc_server_stream_began(struct rpc_server *server)
{
    return begin(server, &server->stats.streams, server->stream_count_max);
}

void rpc_server_stream_ended(struct rpc_server *server)
{
    end(server, &server->stats.streams);
}

struct rpc_server_stats rpc_server_stats(const struct rpc_server *server)
{
    struct rpc_server *s = (struct rpc_server *)server; /* for the lock only */
    pthread_mutex_lock(&s->lock);
    struct rpc_server_stats stats = s->stats;
    pthread_mutex_unlock(&s->lock);
    return stats;
}

const struct rpc_executor *rpc_server_executor(const struct rpc_server *server,
                                               enum rpc_thread thread)
{
    return &server->executors[thread];
}

struct rpc_call **rpc_server_spare_calls(struct rpc_server *server, size_t loop_index)
{
    return &server->spare[loop_index];
}

/* ---- Refusals ---- */

struct refusal {
    struct rpc_tag tag;
    struct rpc_arrival arrival;
    int cancelled; /* for gRPC to write to */
};

static void refusal_done(struct rpc_tag *tag, bool ok)
{
    (void)ok;
    struct refusal *refusal = CONTAINER_OF(tag, struct refusal, tag);
    struct rpc_server *server = refusal->arrival.server;
    grpc_call_unref(refusal->arrival.call);
    grpc_metadata_array_destroy(&refusal->arrival.metadata);
    free(refusal);
    end(server, &server->refusals);
}

void rpc_arrival_refuse(struct rpc_arrival *arrival, int code)
{
    const char *text = code == ERR_BUSY          ? "too many calls in progress"
                       : code == ERR_UNAVAILABLE ? "the server is shutting down"
                                                 : "no such method";
    struct rpc_server *server = arrival->server;
    pthread_mutex_lock(&server->lock);
    server->refusals++;
    pthread_mutex_unlock(&server->lock);
    struct refusal *refusal = xcalloc(1, sizeof(*refusal));
    refusal->tag.done = refusal_done;
    refusal->arrival = *arrival;
    if (arrival->payload != NULL) {
        grpc_byte_buffer_destroy(arrival->payload);
    }
    struct rpc_trailer trailer;
    rpc_trailer_init(&trailer, code, text, NULL);
    grpc_op ops[3] = {0};
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    rpc_trailer_op(&trailer, &ops[1]);
    ops[2].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    ops[2].data.recv_close_on_server.cancelled = &refusal->cancelled;
    rpc_batch(arrival->call, ops, ARRAY_COUNT(ops), &refusal->tag);
    rpc_trailer_deinit(&trailer);
}

/* ---- Arrivals ---- */

static void arm(struct slot *slot)
{
    struct rpc_arrival *a = &slot->arrival;
    a->call = NULL;
    a->payload = NULL;
    grpc_metadata_array_init(&a->metadata);
    grpc_completion_queue *queue = rpc_loop_queue(a->loop);
    grpc_call_error r;
    if (a->row == NULL) {
        grpc_call_details_init(&slot->details);
        r = grpc_server_request_call(a->server->server, &a->call, &slot->details, &a->metadata,
                                     queue, queue, &slot->tag);
    } else {
        bool unary = a->row->row->method->kind == RPC_UNARY;
        r = grpc_server_request_registered_call(
            a->server->server, a->row->registered, &a->call, &a->deadline, &a->metadata,
            unary ? &a->payload : NULL, queue, queue, &slot->tag);
    }
    CHECK(r == GRPC_CALL_OK);
}

static void slot_retire(struct slot *slot)
{
    struct rpc_server *server = slot->arrival.server;
    grpc_metadata_array_destroy(&slot->arrival.metadata);
    free(slot);
    pthread_mutex_lock(&server->lock);
    server->armed--;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void slot_done(struct rpc_tag *tag, bool ok)
{
    struct slot *slot = CONTAINER_OF(tag, struct slot, tag);
    if (slot->arrival.row == NULL) {
        grpc_call_details_destroy(&slot->details);
    }
    if (!ok) { /* the server is shutting down */
        slot_retire(slot);
        return;
    }
    struct rpc_arrival arrival = slot->arrival;
    arm(slot);
    if (arrival.row == NULL) {
        rpc_arrival_refuse(&arrival, ERR_UNSUPPORTED);
    } else if (arrival.row->row->method->kind == RPC_UNARY) {
        rpc_call_arrived(&arrival);
    } else {
        rpc_stream_arrived(&arrival);
    }
}

static void arm_slots(struct rpc_server *server, size_t loop_index, const struct rpc_row *row,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct slot *slot = xcalloc(1, sizeof(*slot));
        slot->tag.done = slot_done;
        slot->arrival.server = server;
        slot->arrival.loop = server->loops[loop_index];
        slot->arrival.loop_index = loop_index;
        slot->arrival.row = row;
        pthread_mutex_lock(&server->lock);
        server->armed++;
        pthread_mutex_unlock(&server->lock);
        arm(slot);
    }
}

static void arm_all(struct rpc_server *server)
{
    for (size_t i = 0; i < server->loop_count; i++) {
        for (size_t j = 0; j < server->row_count; j++) {
            const struct rpc_row *row = &server->rows[j];
            bool unary = row->row->method->kind == RPC_UNARY;
            arm_slots(server, i, row, unary ? UNARY_SLOTS : STREAM_SLOTS);
        }
        arm_slots(server, i, NULL, 1);
    }
}

/* ---- Life ---- */

static void shutdown_done(struct rpc_tag *tag, bool ok)
{
    (void)ok;
    struct rpc_server *server = CONTAINER_OF(tag, struct rpc_server, end);
    pthread_mutex_lock(&server->lock);
    server->shut_down = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void add_row(struct rpc_server *server, const struct rpc_service_row *row, void *service)
{
    struct rpc_row *own = &server->rows[server->row_count++];
    bool unary = row->method->kind == RPC_UNARY;
    own->row = row;
    own->service = service;
    own->message_bytes_max =
        row->message_bytes_max ? row->message_bytes_max : RPC_MESSAGE_BYTES_MAX;
    CHECK(own->message_bytes_max <= RPC_RAFT_MESSAGE_BYTES_MAX);
    CHECK(unary == (row->stream == NULL));
    CHECK(unary == (row->steps[0].thread != RPC_END));
    own->poller_only = true;
    for (const struct rpc_step *step = row->steps; step->thread != RPC_END; step++) {
        own->uses[step->thread]++;
        own->poller_only = own->poller_only && step->thread == RPC_POLLER;
        CHECK(step->thread == RPC_POLLER || server->executors[step->thread].submit != NULL);
    }
    own->registered = grpc_server_register_method(
        server->server, row->method->name, NULL,
        unary ? GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER : GRPC_SRM_PAYLOAD_NONE, 0);
    CHECK(own->registered != NULL); /* NULL: named twice */
}

static void add_rows(struct rpc_server *server, const struct rpc_server_options *options)
{
    size_t count = 0;
    for (size_t i = 0; i < options->service_count; i++) {
        for (const struct rpc_service_row *row = options->services[i].rows; row->method; row++) {
            count++;
        }
    }
    server->rows = xcalloc(count, sizeof(*server->rows));
    for (size_t i = 0; i < options->service_count; i++) {
        for (const struct rpc_service_row *row = options->services[i].rows; row->method; row++) {
            add_row(server, row, options->services[i].service);
        }
    }
}

static int listen_on(struct rpc_server *server, const struct rpc_server_options *options,
                     struct err *e)
{
    struct buf address = BUF_INIT;
    grpc_server_credentials *credentials = rpc_tls_server(options->tls);
    int r = 0;
    for (size_t i = 0; i < options->address_count && r == 0; i++) {
        buf_clear(&address);
        r = rpc_listen_check(options->addresses[i], options->tls != NULL || options->insecure,
                             &address, e);
        if (r == 0) {
            server->ports[i] =
                grpc_server_add_http2_port(server->server, address.data, credentials);
            if (server->ports[i] == 0) {
                r = rpc_listen_explain(options->addresses[i], e);
            }
        }
    }
    grpc_server_credentials_release(credentials);
    buf_deinit(&address);
    return r;
}

static struct rpc_server *server_new(const struct rpc_server_options *options)
{
    struct rpc_server *server = xcalloc(1, sizeof(*server));
    server->call_count_max =
        options->call_count_max ? options->call_count_max : RPC_SERVER_CALL_COUNT_MAX;
    server->stream_count_max =
        options->stream_count_max ? options->stream_count_max : RPC_SERVER_STREAM_COUNT_MAX;
    if (options->owner != NULL) {
        server->executors[RPC_OWNER] = *options->owner;
    }
    if (options->worker != NULL) {
        server->executors[RPC_WORKER] = *options->worker;
    }
    server->end.done = shutdown_done;
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&server->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    struct rpc_args args;
    rpc_args_server(&args, options->class);
    server->server = grpc_server_create(&args.args, NULL);
    for (size_t i = 0; i < options->loop_count; i++) {
        server->loops[i] = options->loops[i];
        rpc_loop_hold(server->loops[i]);
        grpc_server_register_completion_queue(server->server, rpc_loop_queue(server->loops[i]),
                                              NULL);
    }
    server->loop_count = options->loop_count;
    add_rows(server, options);
    return server;
}

int rpc_server_new(const struct rpc_server_options *options, struct rpc_server **ret_server,
                   struct err *e)
{
    CHECK(options->address_count > 0);
    CHECK(options->address_count <= RPC_LISTEN_COUNT_MAX);
    CHECK(options->loop_count > 0);
    CHECK(options->loop_count <= RPC_SERVER_LOOP_COUNT_MAX);
    CHECK(options->service_count > 0);
    struct rpc_server *server = server_new(options);
    int r = listen_on(server, options, e);
    if (r < 0) {
        rpc_server_free(server);
        return r;
    }
    grpc_server_start(server->server);
    arm_all(server);
    *ret_server = server;
    return 0;
}

int rpc_server_port(const struct rpc_server *server, size_t index)
{
    CHECK(index < RPC_LISTEN_COUNT_MAX);
    return server->ports[index];
}

void rpc_server_shutdown(struct rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    bool first = !server->draining;
    server->draining = true;
    pthread_mutex_unlock(&server->lock);
    if (first) {
        grpc_server_shutdown_and_notify(server->server, rpc_loop_queue(server->loops[0]),
                                        &server->end);
    }
}

void rpc_server_cancel(struct rpc_server *server)
{
    rpc_server_shutdown(server);
    grpc_server_cancel_all_calls(server->server);
}

static bool is_drained(const struct rpc_server *server)
{
    return server->shut_down && server->armed == 0 && server->refusals == 0 &&
           server->stats.in_flight == 0 && server->stats.streams == 0;
}

bool rpc_server_is_drained(const struct rpc_server *server)
{
    struct rpc_server *s = (struct rpc_server *)server; /* for the lock only */
    pthread_mutex_lock(&s->lock);
    bool drained = is_drained(s);
    pthread_mutex_unlock(&s->lock);
    return drained;
}

/* Waits a little, stepping loops that nobody else drives. */
static void drain_wait(struct rpc_server *server)
{
    bool stepped = false;
    for (size_t i = 0; i < server->loop_count; i++) {
        if (!rpc_loop_has_driver(server->loops[i])) {
            (void)rpc_loop_step(server->loops[i], clock_mono_ms() + DRAIN_STEP_MS);
            stepped = true;
        }
    }
    if (stepped) {
        return;
    }
    time_ms until = clock_mono_ms() + DRAIN_STEP_MS;
    struct timespec at = {.tv_sec = (time_t)(until / 1000),
                          .tv_nsec = (long)(until % 1000) * 1000000};
    pthread_mutex_lock(&server->lock);
    if (!is_drained(server)) {
        (void)pthread_cond_timedwait(&server->changed, &server->lock, &at);
    }
    pthread_mutex_unlock(&server->lock);
}

void rpc_server_drain(struct rpc_server *server, time_ms deadline)
{
    rpc_server_shutdown(server);
    bool cancelled = false;
    while (!rpc_server_is_drained(server)) {
        if (!cancelled && clock_mono_ms() >= deadline) {
            rpc_server_cancel(server);
            cancelled = true;
        }
        drain_wait(server);
    }
}

void rpc_server_free(struct rpc_server *server)
{
    if (server == NULL) {
        return;
    }
    rpc_server_drain(server, 0);
    grpc_server_destroy(server->server);
    for (size_t i = 0; i < server->loop_count; i++) {
        rpc_call_free_spares(server->spare[i]);
        rpc_loop_release(server->loops[i]);
    }
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    free(server->rows);
    free(server);
}
