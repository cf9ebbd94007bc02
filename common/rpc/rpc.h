/* gRPC C core joined to protobuf-c: the loop, channels, and unary calls as a client sees them.
 * Servers: rpc_server.h. Streams: rpc_stream.h. Bytes that are passed on without copying:
 * rpc_bytes.h.
 *
 * Threads. A loop is a completion queue and is driven by one thread at a time: a poller
 * (rpc_loop_run) or a synchronous client that steps it itself. All callbacks of a loop run on that
 * thread and must not block. Functions marked "any thread" may be called from anywhere; everything
 * else belongs to the loop's thread.
 *
 * Outcomes. A peer's refusal carries its ERR_* name in trailing metadata and is definite. A call
 * that never left this process is definite too. Everything else that fails is ERR_UNKNOWN: it may
 * or may not have happened (DESIGN 3).
 *
 * Never fork after rpc_init(): gRPC has threads and locks of its own. */
#ifndef COMMON_RPC_RPC_H
#define COMMON_RPC_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/heap.h"
#include "common/ids.h" /* time_ms */
#include "common/limits.h"

struct arena;
struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;

/* Once per process, before anything else here and before threads; counted, so libraries may call it
 * too. Also raises glibc's mmap and trim thresholds, without which each 1 MiB message costs a map,
 * its page faults and an unmap. */
void rpc_init(void);
/* After the last loop, channel and server is gone. */
void rpc_exit(void);

/* All times here are deadlines on the monotonic clock (clock_mono_ms()). */
#define RPC_NO_DEADLINE CLOCK_NEVER

/* ---- Loop ---- */

struct rpc_loop;
typedef void (*rpc_fn)(void *arg);

struct rpc_loop *rpc_loop_new(void);
/* The loop must be idle: its calls finished, its servers and streams gone. Runs what was posted and
 * is not yet run. Accepts NULL. Not while another thread drives it. */
void rpc_loop_free(struct rpc_loop *loop);

/* Drives the loop until rpc_loop_stop(). Returns when stopped; posted functions have been run by
 * then. */
void rpc_loop_run(struct rpc_loop *loop);
/* Makes rpc_loop_run() return soon. Any thread, also before it runs. Calls in flight stay; step or
 * run again for them. */
void rpc_loop_stop(struct rpc_loop *loop);
/* Whether a thread is in rpc_loop_run(). Any thread; may have changed when it returns. */
bool rpc_loop_runs(const struct rpc_loop *loop);

/* Starts a thread that does rpc_loop_run(); the join stops it and waits. */
int rpc_loop_start_thread(struct rpc_loop *loop, const char *name, struct err *e) MUST_CHECK;
void rpc_loop_join_thread(struct rpc_loop *loop);

/* Handles at least one event, or returns at the deadline. True if something was handled. */
bool rpc_loop_step(struct rpc_loop *loop, time_ms deadline);
/* Steps until *done or the deadline. Returns *done. */
bool rpc_loop_until(struct rpc_loop *loop, const bool *done, time_ms deadline);

/* Runs fn(arg) on the loop's thread, in the order posted. Any thread; never blocks and never fails;
 * only the first post of a burst wakes the loop. Not after rpc_loop_free() began: that is the
 * caller's order to keep. */
void rpc_loop_post(struct rpc_loop *loop, rpc_fn fn, void *arg);
/* The same, but at once when this is the loop's thread. */
void rpc_loop_call(struct rpc_loop *loop, rpc_fn fn, void *arg);

/* This thread is the one that will step it: before the first step, for rpc_loop_is_mine(). */
void rpc_loop_own(struct rpc_loop *loop);
/* True on the thread that drives the loop at the moment. Any thread. */
bool rpc_loop_is_mine(const struct rpc_loop *loop);

/* A timer lies in its owner's struct and must be cancelled before that dies. Zeroed = not set. */
struct rpc_timer {
    struct heap_node node; /* in the loop's heap while set */
    time_ms at;            /* when it fires */
    rpc_fn fn;             /* runs on the loop's thread, timer unset by then: it may set it again */
    void *arg;             /* for fn */
};
/* Sets or moves it. Fires at the first step at or after `at`. */
void rpc_timer_set(struct rpc_loop *loop, struct rpc_timer *timer, time_ms at, rpc_fn fn,
                   void *arg);
void rpc_timer_cancel(struct rpc_loop *loop, struct rpc_timer *timer); /* no-op when not set */
static inline bool rpc_timer_is_set(const struct rpc_timer *timer)
{
    return timer->node.position != 0;
}

/* ---- Credentials ---- */

/* Mutual TLS: both sides show a certificate of the same CA; the common name is the user. Immutable;
 * any thread. */
struct rpc_tls;
/* Reads three PEM files. ERR_NOT_FOUND..., with the file's name in e. */
int rpc_tls_new(const char *ca_path, const char *cert_path, const char *key_path,
                struct rpc_tls **ret_tls, struct err *e) MUST_CHECK;
void rpc_tls_free(struct rpc_tls *tls); /* channels and servers keep what they need; accepts NULL */

/* ---- Channels ---- */

/* One connection per (address, class): a bulk transfer must not stand before a heartbeat. */
enum rpc_class {
    RPC_CONTROL, /* small messages, low latency */
    RPC_BULK,    /* chunk data, shuffle, snapshots: large frames and windows */
    RPC_RAFT,    /* consensus messages */
    RPC_CLASS_COUNT,
};

struct rpc_channel_options {
    const char *address; /* HOST:PORT; IPv6 in brackets; a name is resolved by gRPC */
    enum rpc_class class;
    const struct rpc_tls *tls; /* NULL: plain text */
    const char *user; /* sent as `trireme-user`; NULL: none. Without TLS: who calls. With TLS
                         the certificate says that, and this, if set, for whom */
    const char
        *server_name; /* name expected in the server's certificate; NULL: the address's host */
};

/* Connects at the first call and again after each loss, back-off 50..500 ms; while that waits,
 * calls fail at once with ERR_UNAVAILABLE. Any thread; calls may come from many threads. Counted
 * references. ERR_INVALID: malformed address. */
struct rpc_channel;
int rpc_channel_open(const struct rpc_channel_options *options, struct rpc_channel **ret_channel,
                     struct err *e) MUST_CHECK;
struct rpc_channel *rpc_channel_ref(struct rpc_channel *channel);
void rpc_channel_unref(struct rpc_channel *channel); /* accepts NULL */
const char *rpc_channel_address(const struct rpc_channel *channel);
enum rpc_class rpc_channel_class(const struct rpc_channel *channel);
/* Whether a peer is there, of our protocol: a host that only takes connections is none. Any thread;
 * may have changed when it returns. */
bool rpc_channel_is_connected(const struct rpc_channel *channel);
/* Begins to connect before there is a call; whoever waits on any loop of the process takes it on.
 */
void rpc_channel_connect(struct rpc_channel *channel);

/* Channels by (address, class), opened on demand; at most RPC_POOL_CHANNEL_COUNT_MAX, the longest
 * unused goes. Any thread. */
struct rpc_pool;
struct rpc_pool *rpc_pool_new(const struct rpc_tls *tls,
                              const char *user); /* tls borrowed for its life, user copied */
void rpc_pool_free(struct rpc_pool *pool);       /* accepts NULL */
/* The caller owns the reference. */
int rpc_pool_get(struct rpc_pool *pool, const char *address, enum rpc_class class,
                 struct rpc_channel **ret_channel, struct err *e) MUST_CHECK;

/* ---- Methods and outcomes ---- */

enum rpc_kind {
    RPC_UNARY,
    RPC_CLIENT_STREAM,
    RPC_SERVER_STREAM,
    RPC_BIDI,
};

/* One method, as both sides name it. protobuf-c keeps no streaming flags, so the kind stands here
 * and a test compares it with the .proto (tests/lib/rpc_methods.h). */
struct rpc_method {
    const char *name; /* "/trireme.v1.FsMaster/Stat" */
    enum rpc_kind kind;
    const struct ProtobufCMessageDescriptor *request; /* &trireme__v1__stat_request__descriptor */
    const struct ProtobufCMessageDescriptor *reply;
};

/* The text of a peer that was not there in time. */
#define RPC_NO_ANSWER "no answer"

/* How a call ended, as its client knows it. */
struct rpc_result {
    int code;      /* 0; the peer's; ERR_UNAVAILABLE, ERR_TIMEOUT: never left; else ERR_UNKNOWN */
    int cause;     /* = code, except for ERR_UNKNOWN: what was seen (ERR_TIMEOUT...);
                      callers whose requests change nothing may go by it */
    bool definite; /* false: the peer may have done it, code is ERR_UNKNOWN */
    char text[RPC_ERROR_TEXT_BYTES_MAX];  /* for a human; "" when code is 0 */
    char leader[LIMIT_ADDRESS_BYTES_MAX]; /* with ERR_NOT_LEADER: the peer's hint, or "" */
    uint64_t
        position; /* with an error of the peer's: of the state that it speaks of; 0: not told */
};

/* "ADDRESS: text". Returns result->code. */
int rpc_result_err(const struct rpc_result *result, const char *address, struct err *e);

/* ---- Unary calls ---- */

struct rpc_request {
    struct rpc_channel *channel;            /* borrowed for the start of the call */
    const struct rpc_method *method;        /* RPC_UNARY */
    const struct ProtobufCMessage *message; /* of method->request; packed before the call returns */
    time_ms deadline;                       /* RPC_NO_DEADLINE is allowed but seldom right */
};

/* One call, driving the loop meanwhile (its other callbacks run too; not from one of them). On 0
 * the reply lies in arena. Returns ret_result->code. Loop's thread. */
int rpc_call(struct rpc_loop *loop, const struct rpc_request *request, struct arena *arena,
             struct ProtobufCMessage **ret_reply, struct rpc_result *ret_result) MUST_CHECK;

/* Runs once on the loop's thread. Reply and result live until it returns; reply is NULL unless
 * result->code is 0. */
typedef void (*rpc_done_fn)(void *arg, const struct rpc_result *result,
                            const struct ProtobufCMessage *reply);

/* Starts a call and returns; many may be in flight. Any thread: the socket is written by the
 * caller's. A failure to start (request too large) comes through done as well. */
void rpc_call_start(struct rpc_loop *loop, const struct rpc_request *request, rpc_done_fn done,
                    void *arg);
/* The same, with a handle to cancel it by. The caller owns the handle and drops it in any case,
 * before or after done. */
struct rpc_pending;
struct rpc_pending *rpc_call_start_cancellable(struct rpc_loop *loop,
                                               const struct rpc_request *request, rpc_done_fn done,
                                               void *arg);
/* Likewise; the reply goes into `arena`, which the loop's thread has until done, and outlives it.
 */
struct rpc_pending *rpc_call_start_in(struct rpc_loop *loop, const struct rpc_request *request,
                                      struct arena *arena, rpc_done_fn done, void *arg);
void rpc_pending_cancel(
    struct rpc_pending *pending); /* done comes soon, ERR_UNKNOWN unless it was over; any thread */
void rpc_pending_unref(struct rpc_pending *pending); /* accepts NULL */

#endif
