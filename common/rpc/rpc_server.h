/* A gRPC server driven by a table: one row per method with its steps and the thread of each (DESIGN
 * 2; see sheepdog sheep/ops.c). A unary call is unpacked into an arena of its own, runs its steps
 * in order, each on its thread, and is answered by the thread of the last one: a read passes the
 * owner once and is answered by the worker that did it.
 *
 * A step returns 0 (go on), ERR_* (answer with it) or RPC_PENDING: whoever the step gave the call
 * to then calls rpc_call_resume() or rpc_call_finish() exactly once, from any thread. A call
 * belongs to one thread at a time; a step that returns RPC_PENDING does not touch it afterwards. */
#ifndef COMMON_RPC_RPC_SERVER_H
#define COMMON_RPC_RPC_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/ids.h"
#include "common/mailbox.h"
#include "common/rpc/rpc.h"
#include "common/workpool.h"

struct rpc_stream_ops; /* rpc_stream.h */

/* ---- Threads ---- */

enum rpc_thread {
    RPC_END,    /* ends a list of steps */
    RPC_POLLER, /* the loop's thread; must not block */
    RPC_OWNER,  /* the process's owner thread, by its executor */
    RPC_WORKER, /* the pool for disk and checksums, by its executor */
    RPC_THREAD_COUNT,
};

/* What a step travels in; lies in the call. Either member, as the executor needs. */
struct rpc_task {
    struct mail mail;
    struct job job;
    rpc_fn fn; /* to run there */
    void *arg; /* for fn */
};

/* How steps get to another thread. The slots for all steps of a call are reserved when it arrives,
 * so that only new calls can be refused and steps neither fail nor block. The functions are called
 * from any thread. */
struct rpc_executor {
    void *ctx;
    /* Slots for `count` submits. False: full, the call is answered with ERR_BUSY. */
    bool (*reserve)(void *ctx, unsigned count);
    /* Gives back slots that will not be used. */
    void (*release)(void *ctx, unsigned count);
    /* Runs task->fn(task->arg) there, using up one reserved slot. */
    void (*submit)(void *ctx, struct rpc_task *task);
};

/* Steps on the owner of a mailbox, in its reserved slots. */
struct rpc_executor rpc_executor_mailbox(struct mailbox *mailbox);
/* Steps on a pool's workers, in parallel; bounded by the server's limit on calls. */
struct rpc_executor rpc_executor_workpool(struct workpool *pool);

/* ---- Calls ---- */

struct rpc_call;
enum { RPC_PENDING = 1 }; /* of a step: the call was given away */

typedef int (*rpc_step_fn)(struct rpc_call *call, void *service);

struct rpc_step {
    enum rpc_thread thread;
    rpc_step_fn fn;
};

/* Who calls. Strings live as long as the call or stream. */
struct rpc_caller {
    const char
        *user; /* TLS: the certificate's common name; plain text: `trireme-user`; "" when absent */
    bool authenticated;   /* user was proved by a certificate */
    const char *acts_for; /* TLS: `trireme-user`, which the caller would like to be taken for; the
                             service decides whether it may. Else "" */
    const char *address;  /* of the connection's other end, "127.0.0.1:4711"; for people, not for
                             decisions */
    time_ms deadline;     /* RPC_NO_DEADLINE when the caller gave none */
};

const struct ProtobufCMessage *
rpc_call_request(const struct rpc_call *call); /* of the row's type, in the arena */
struct ProtobufCMessage *
rpc_call_reply(struct rpc_call *call); /* initialised; fill it in before the last step ends */
struct arena *rpc_call_arena(struct rpc_call *call); /* dies with the call; memory for the reply */
struct err *rpc_call_err(struct rpc_call *call); /* text for the caller, sent if the call fails */
const struct rpc_caller *rpc_call_caller(struct rpc_call *call); /* thread that has the call */
struct rpc_loop *
rpc_call_loop(const struct rpc_call *call); /* for timers of a step on the poller */
void rpc_call_set_state(struct rpc_call *call, void *state); /* a pointer of the steps' own */
void *rpc_call_state(const struct rpc_call *call);
/* The client is gone or its deadline has passed: the answer will reach nobody. Any thread. */
bool rpc_call_is_cancelled(const struct rpc_call *call);
/* With ERR_NOT_LEADER: who leads, for the client's rpc_result.leader. Copied. */
void rpc_call_set_leader(struct rpc_call *call, const char *address);
/* With any error: of what state it is true, for rpc_result.position. */
void rpc_call_set_position(struct rpc_call *call, uint64_t position);

/* After RPC_PENDING, once: goes on with the next step, or answers if there is none. Any thread. */
void rpc_call_resume(struct rpc_call *call);
/* After RPC_PENDING, once: code 0 answers with the reply, skipping further steps; ERR_* with that
 * error and text (NULL: rpc_call_err()'s text). Any thread. */
void rpc_call_finish(struct rpc_call *call, int code, const char *text);

/* ---- Server ---- */

enum { RPC_STEP_COUNT_MAX = 6 };

/* A table ends at method == NULL. Rows live as long as the server. */
struct rpc_service_row {
    const struct rpc_method *method;
    struct rpc_step steps[RPC_STEP_COUNT_MAX + 1]; /* RPC_UNARY; ends with RPC_END, which zero is */
    const struct rpc_stream_ops
        *stream;              /* every other kind; callbacks on the poller that owns the stream */
    size_t message_bytes_max; /* requests, replies, stream messages; 0: RPC_MESSAGE_BYTES_MAX */
};

struct rpc_service {
    const struct rpc_service_row *rows;
    void *service; /* given to each step; rpc_stream_service() */
};

struct rpc_server_options {
    const char *const *addresses; /* HOST:PORT each; port 0: any free one */
    size_t address_count;         /* 1..RPC_LISTEN_COUNT_MAX */
    const struct rpc_tls
        *tls;             /* NULL: plain text, refused (ERR_INVALID) except on loopback or if... */
    bool insecure;        /* ... the operator said so */
    enum rpc_class class; /* RPC_BULK: large read buffers; RPC_CONTROL: many idle connections */
    struct rpc_loop *const
        *loops;        /* calls are spread over them; borrowed until rpc_server_free() */
    size_t loop_count; /* 1..RPC_SERVER_LOOP_COUNT_MAX */
    const struct rpc_service *services; /* copied; rows borrowed */
    size_t service_count;               /* at least 1 */
    const struct rpc_executor *owner;   /* NULL if no row has such a step */
    const struct rpc_executor *worker;
    uint32_t
        call_count_max; /* unary calls in progress, ERR_BUSY above; 0: RPC_SERVER_CALL_COUNT_MAX */
    uint32_t stream_count_max; /* streams in progress; 0: RPC_SERVER_STREAM_COUNT_MAX */
};

struct rpc_server_stats {
    uint64_t calls;     /* unary calls and streams begun */
    uint64_t refused;   /* answered ERR_BUSY by a limit */
    uint32_t in_flight; /* unary calls now */
    uint32_t streams;   /* streams now */
};

/* Listens and serves as soon as its loops are driven. ERR_BUSY: address in use, with the address in
 * e; ERR_INVALID: an address that is not loopback without TLS or `insecure`, e says what to do.
 * */
struct rpc_server;
int rpc_server_new(const struct rpc_server_options *options, struct rpc_server **ret_server,
                   struct err *e) MUST_CHECK;
/* The port bound for addresses[index]. */
int rpc_server_port(const struct rpc_server *server, size_t index);
struct rpc_server_stats rpc_server_stats(const struct rpc_server *server); /* any thread */

/* The end, in steps, for a process whose owner must go on working meanwhile: stop accepting
 * (clients are told and go elsewhere); wait until all has ended; at some point cancel what has not.
 * Steps that hold a call must still finish it. Any thread. */
void rpc_server_shutdown(struct rpc_server *server);
bool rpc_server_is_drained(const struct rpc_server *server);
void rpc_server_cancel(struct rpc_server *server); /* includes rpc_server_shutdown() */
/* All three, cancelling at the deadline. Not on a loop's thread, nor on an owner that has steps to
 * run; loops that nobody drives are stepped here. */
void rpc_server_drain(struct rpc_server *server, time_ms deadline);
/* Drained before, else drains at once. Loops may go after it. Accepts NULL. */
void rpc_server_free(struct rpc_server *server);

#endif
