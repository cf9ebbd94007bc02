/* See client.h. */
#include "mapreduce/mr/client.h"

#include <stdlib.h>
#include <string.h>

#include "proto/mr.pb-c.h"

#include "common/alloc.h"
#include "common/clock.h"
#include "common/macros.h"
#include "common/rpc/rpc.h"
#include "common/rpc/rpc_stream.h"
#include "mapreduce/mr_methods.h"
#include "mapreduce/mr_rpc.h"
#include "mapreduce/store_err.h"

enum {
    CALL_MS = 30 * 1000,  /* one try */
    KILL_MS = 120 * 1000, /* of a kill, which waits for the end of the job */
    RETRY_MS_MIN = 50,    /* between tries, doubling */
    RETRY_MS_MAX = 1000,
    STEP_MS = 100,             /* how often an interruption is looked for */
    SILENT_MS = 1000,          /* without a connection; then the user is told */
    LOG_SILENT_MS = 10 * 1000, /* a worker that sends nothing of a log for so long */
};

struct mr_client {
    struct mr_client_options options;
    struct rpc_loop *loop;
    struct rpc_tls *tls;
    struct rpc_pool *pool;
    char *text;       /* addresses, cut at the commas */
    char **addresses; /* into it */
    size_t count;
    size_t current; /* the one that answered last */
    char *told;     /* what was said about waiting */
};

/* ---- Life ---- */

static int cut_addresses(struct mr_client *c, struct err *e)
{
    c->text = xstrdup(c->options.addresses);
    char *rest = c->text;
    char *one;
    while ((one = strsep(&rest, ", ")) != NULL) {
        if (one[0] != '\0') {
            c->addresses = xreallocarray(c->addresses, c->count + 1, sizeof(char *));
            c->addresses[c->count++] = one;
        }
    }
    return c->count > 0 ? 0 : err_set(e, ERR_INVALID, "no address of a mrmaster");
}

int mr_client_open(const struct mr_client_options *options, struct mr_client **ret_client,
                   struct err *e)
{
    rpc_init();
    struct mr_client *c = xcalloc(1, sizeof(*c));
    c->options = *options;
    c->loop = rpc_loop_new();
    int r = cut_addresses(c, e);
    if (r == 0 && options->tls_ca) {
        r = rpc_tls_new(options->tls_ca, options->tls_cert, options->tls_key, &c->tls, e);
    }
    if (r < 0) {
        mr_client_close(c);
        return r;
    }
    c->pool = rpc_pool_new(c->tls, options->user);
    *ret_client = c;
    return 0;
}

void mr_client_close(struct mr_client *c)
{
    if (!c) {
        return;
    }
    rpc_pool_free(c->pool);
    rpc_tls_free(c->tls);
    rpc_loop_free(c->loop);
    free(c->addresses);
    free(c->text);
    free(c->told);
    free(c);
    rpc_exit();
}

/* ---- Trying again ---- */

static bool is_interrupted(const struct mr_client *c)
{
    return c->options.interrupted && c->options.interrupted();
}

static void tell_waiting(struct mr_client *c, const char *why)
{
    if (c->options.waiting && (!c->told || strcmp(c->told, why) != 0)) {
        free(c->told);
        c->told = xstrdup(why);
        c->options.waiting(why, c->options.patience_ms);
    }
}

/* In words that stay the same while one says nothing: RPC_NO_ANSWER is no news. */
static void tell_no_answer(struct mr_client *c, const char *why)
{
    const struct mr_client_options *o = &c->options;
    char text[2 * ERR_MSG_BYTES_MAX];
    if (c->count > 1) {
        (void)snprintf(text, sizeof(text), "no mrmaster of %s (%s) answers", o->addresses,
                       o->where);
    } else {
        bool news = strcmp(why, RPC_NO_ANSWER) != 0;
        (void)snprintf(text, sizeof(text), "the mrmaster at %s (%s) does not answer%s%.500s%s",
                       c->addresses[0], o->where, news ? " (" : "", news ? why : "",
                       news ? ")" : "");
    }
    tell_waiting(c, text);
}

/* Another mrmaster, or the same one a moment later, may know better. */
static bool worth_retrying(const struct rpc_result *result)
{
    if (result->cause == ERR_UNSUPPORTED || result->cause == ERR_PERMISSION) {
        return false; /* not a mrmaster at all; a certificate that it does not take */
    }
    return !result->definite || result->code == ERR_UNAVAILABLE || result->code == ERR_TIMEOUT ||
           result->code == ERR_NOT_LEADER || result->code == ERR_BUSY;
}

struct retry {
    time_ms deadline; /* mono */
    time_ms pause_ms;
    size_t tries;
    bool answered; /* one is there, and cannot serve yet */
};

static struct retry retry_begin(const struct mr_client *c)
{
    return (struct retry){clock_mono_ms() + c->options.patience_ms, RETRY_MS_MIN, 0, false};
}

/* After a failure: waits and goes to the next address; false when patience has ended. */
static bool retry_wait(struct mr_client *c, struct retry *retry, const struct rpc_result *result)
{
    time_ms now = clock_mono_ms();
    if (!worth_retrying(result) || now >= retry->deadline || is_interrupted(c)) {
        return false;
    }
    c->current = (c->current + 1) % c->count;
    retry->answered = retry->answered || result->code == ERR_NOT_LEADER || result->code == ERR_BUSY;
    if (++retry->tries % c->count != 0) {
        return true; /* the next one at once */
    }
    if (retry->tries / c->count > 3) { /* not for one that is just being restarted */
        if (retry->answered) {
            char why[ERR_MSG_BYTES_MAX];
            (void)snprintf(why, sizeof(why), "no mrmaster of %s (%s) serves yet",
                           c->options.addresses, c->options.where);
            tell_waiting(c, why);
        } else {
            tell_no_answer(c, result->text);
        }
    }
    time_ms until = MIN(now + retry->pause_ms, retry->deadline);
    while (clock_mono_ms() < until && !is_interrupted(c)) {
        (void)rpc_loop_step(c->loop, MIN(until, clock_mono_ms() + STEP_MS));
    }
    retry->pause_ms = MIN(2 * retry->pause_ms, (time_ms)RETRY_MS_MAX);
    return true;
}

/* The user's words for how it failed. */
static int call_failed(const struct mr_client *c, const struct rpc_result *result, struct err *e)
{
    if (is_interrupted(c)) {
        return err_set(e, ERR_CANCELLED, "interrupted");
    }
    if (result->cause == ERR_UNSUPPORTED) {
        return err_set(e, ERR_INVALID, "%s: what answers at %s is no mrmaster", c->options.where,
                       c->addresses[c->current]);
    }
    if (worth_retrying(result)) {
        return err_set(e, result->code,
                       "mrmaster at %s cannot be reached: %s. Is it running? %s says that it is "
                       "there. See `systemctl status trireme-mrmaster' there, or start a cluster "
                       "with deploy/devcluster up",
                       c->addresses[c->current], result->text, c->options.where);
    }
    return err_set(e, result->code, "%s", result->text[0] ? result->text : err_text(result->code));
}

/* ---- Unary calls ---- */

struct finished {
    bool done;
    struct rpc_result result;
    struct arena *arena;
    ProtobufCMessage *reply;
    const ProtobufCMessageDescriptor *type;
};

static void on_done(void *arg, const struct rpc_result *result, const ProtobufCMessage *reply)
{
    struct finished *f = arg;
    f->done = true;
    f->result = *result;
    if (!reply) {
        return;
    }
    size_t length = protobuf_c_message_get_packed_size(reply); /* it ends with this callback */
    void *packed = arena_alloc(f->arena, length);
    (void)protobuf_c_message_pack(reply, packed);
    int r = rpc_unpack(f->type, (struct span){packed, length}, f->arena, &f->reply);
    if (r < 0) {
        f->result.code = f->result.cause = r;
        f->result.definite = true;
    }
}

/* Where nobody is there to take the request, patience is not for one address alone. True: it is
 * over. */
static bool is_silence_too_long(struct mr_client *c, const struct rpc_request *request,
                                time_ms began)
{
    time_ms silent_ms = clock_mono_ms() - began;
    if (silent_ms < SILENT_MS || rpc_channel_is_connected(request->channel)) {
        return false;
    }
    tell_no_answer(c, RPC_NO_ANSWER);
    return silent_ms >= c->options.patience_ms / (time_ms)c->count;
}

static void try_call(struct mr_client *c, const struct rpc_request *request, struct finished *f)
{
    struct err e = ERR_INIT;
    struct rpc_request one = *request;
    int r = rpc_pool_get(c->pool, c->addresses[c->current], RPC_CONTROL, &one.channel, &e);
    if (r < 0) {
        f->result = (struct rpc_result){.code = r, .cause = r, .definite = true};
        (void)snprintf(f->result.text, sizeof(f->result.text), "%s", err_message(&e));
        return;
    }
    time_ms began = clock_mono_ms();
    bool silent = false;
    one.deadline = began + request->deadline; /* given as a duration */
    struct rpc_pending *pending = rpc_call_start_cancellable(c->loop, &one, on_done, f);
    while (!f->done) {
        (void)rpc_loop_step(c->loop, clock_mono_ms() + STEP_MS);
        if (!f->done && is_silence_too_long(c, &one, began)) {
            silent = true;
        }
        if (silent || is_interrupted(c)) {
            rpc_pending_cancel(pending);
        }
    }
    if (silent && f->result.code < 0) {
        (void)snprintf(f->result.text, sizeof(f->result.text), "%s", RPC_NO_ANSWER);
    }
    rpc_pending_unref(pending);
    rpc_channel_unref(one.channel);
}

static int call(struct mr_client *c, const struct rpc_method *method,
                const ProtobufCMessage *message, struct arena *arena, ProtobufCMessage **ret_reply,
                struct err *e)
{
    struct retry retry = retry_begin(c);
    struct rpc_request request = {
        .method = method, .message = message, .deadline = method == &mr_kill ? KILL_MS : CALL_MS};
    for (;;) {
        struct finished f = {.arena = arena, .type = method->reply};
        try_call(c, &request, &f);
        if (f.result.code == 0 && f.reply) {
            *ret_reply = f.reply;
            return 0;
        }
        if (!retry_wait(c, &retry, &f.result)) {
            return call_failed(c, &f.result, e);
        }
    }
}

int mr_client_submit(struct mr_client *c, const char *submission, const struct job_spec *spec,
                     struct arena *arena, const char **ret_job, struct err *e)
{
    Trireme__V1__SubmitRequest request;
    ProtobufCMessage *reply = NULL;
    trireme__v1__submit_request__init(&request);
    request.submission = (char *)submission;
    request.spec = job_spec_to_wire(spec, arena);
    int r = call(c, &mr_submit, &request.base, arena, &reply, e);
    if (r == 0) {
        *ret_job = ((Trireme__V1__SubmitReply *)reply)->job;
    }
    return r;
}

int mr_client_get_job(struct mr_client *c, const char *job, struct arena *arena,
                      struct job_status *ret_status, struct err *e)
{
    Trireme__V1__JobRequest request;
    ProtobufCMessage *reply = NULL;
    trireme__v1__job_request__init(&request);
    request.job = (char *)job;
    int r = call(c, &mr_get_job, &request.base, arena, &reply, e);
    return r < 0 ? r : job_status_from_wire((Trireme__V1__JobStatus *)reply, arena, ret_status, e);
}

int mr_client_list_jobs(struct mr_client *c, bool all, struct arena *arena,
                        struct job_list *ret_list, struct err *e)
{
    Trireme__V1__ListJobsRequest request;
    ProtobufCMessage *reply = NULL;
    trireme__v1__list_jobs_request__init(&request);
    request.all = all;
    int r = call(c, &mr_list_jobs, &request.base, arena, &reply, e);
    if (r < 0) {
        return r;
    }
    const Trireme__V1__ListJobsReply *list = (const Trireme__V1__ListJobsReply *)reply;
    struct job_list jobs = {arena_calloc(arena, (list->n_jobs + 1) * sizeof(struct job_status)),
                            list->n_jobs};
    for (size_t i = 0; i < list->n_jobs && r == 0; i++) {
        r = job_status_from_wire(list->jobs[i], arena, &jobs.items[i], e);
    }
    if (r == 0) {
        *ret_list = jobs;
    }
    return r;
}

int mr_client_kill(struct mr_client *c, const char *job, enum job_state *ret_state, struct err *e)
{
    struct arena arena = ARENA_INIT;
    Trireme__V1__KillRequest request;
    ProtobufCMessage *reply = NULL;
    trireme__v1__kill_request__init(&request);
    request.job = (char *)job;
    int r = call(c, &mr_kill, &request.base, &arena, &reply, e);
    if (r == 0) {
        unsigned state = (unsigned)((Trireme__V1__KillReply *)reply)->state;
        *ret_state = state < JOB_STATE_COUNT ? (enum job_state)state : JOB_STATE_UNKNOWN;
    }
    arena_deinit(&arena);
    return r;
}

int mr_client_list_attempts(struct mr_client *c, const char *job, bool failed_only,
                            struct arena *arena, struct attempt_list *ret_list, struct err *e)
{
    Trireme__V1__TaskReportRequest request;
    ProtobufCMessage *reply = NULL;
    trireme__v1__task_report_request__init(&request);
    request.job = (char *)job;
    request.failed_only = failed_only;
    int r = call(c, &mr_task_report, &request.base, arena, &reply, e);
    if (r < 0) {
        return r;
    }
    const Trireme__V1__TaskReportReply *list = (const Trireme__V1__TaskReportReply *)reply;
    struct attempt_info *items = arena_calloc(arena, (list->n_attempts + 1) * sizeof(*items));
    for (size_t i = 0; i < list->n_attempts; i++) {
        const Trireme__V1__AttemptReport *from = list->attempts[i];
        items[i] = (struct attempt_info){.attempt = from->attempt,
                                         .host = from->worker_host,
                                         .address = from->worker_address,
                                         .state = from->state,
                                         .started_ms = from->started_ms,
                                         .ended_ms = from->ended_ms,
                                         .error = from->error,
                                         .stderr_tail = from->stderr_tail};
    }
    *ret_list = (struct attempt_list){items, list->n_attempts};
    return 0;
}

int mr_client_list_workers(struct mr_client *c, struct arena *arena, struct worker_list *ret_list,
                           struct err *e)
{
    Trireme__V1__WorkersRequest request;
    ProtobufCMessage *reply = NULL;
    trireme__v1__workers_request__init(&request);
    int r = call(c, &mr_workers, &request.base, arena, &reply, e);
    if (r < 0 || !reply) {
        return r;
    }
    const Trireme__V1__WorkersReply *list = (const Trireme__V1__WorkersReply *)reply;
    struct worker_info *items = arena_calloc(arena, (list->n_workers + 1) * sizeof(*items));
    for (size_t i = 0; i < list->n_workers; i++) {
        const Trireme__V1__WorkerStatus *from = list->workers[i];
        items[i] = (struct worker_info){.host = from->host,
                                        .rack = from->rack,
                                        .address = from->address,
                                        .slots = from->slots,
                                        .busy = from->busy,
                                        .live = from->live,
                                        .avoided = from->avoided,
                                        .trouble = from->trouble};
    }
    *ret_list = (struct worker_list){items, list->n_workers};
    return 0;
}

/* ---- Streams ---- */

struct watch {
    mr_client_status_fn on_status;
    void *arg;
    bool ended;  /* the job's last state has come */
    bool heard;  /* anything has come over this stream */
    bool closed; /* the stream is gone */
    struct rpc_result result;
};

static void on_watch_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct watch *w = rpc_stream_state(stream);
    struct arena arena = ARENA_INIT;
    ProtobufCMessage *message = NULL;
    struct job_status status;
    int r = rpc_unpack_bytes(&trireme__v1__job_status__descriptor, bytes, &arena, &message);
    r = r < 0 ? r : job_status_from_wire((Trireme__V1__JobStatus *)message, &arena, &status, NULL);
    if (r == 0) {
        w->heard = true;
        w->ended = job_state_ended(status.state);
        w->on_status(w->arg, &status);
    }
    arena_deinit(&arena);
    rpc_stream_read(stream);
}

static void on_watch_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct watch *w = rpc_stream_state(stream);
    w->closed = true;
    w->result = *result;
}

static const struct rpc_stream_ops watch_ops = {.on_message = on_watch_message,
                                                .on_close = on_watch_close};

static int watch_once(struct mr_client *c, const char *job, struct watch *w, struct err *e)
{
    Trireme__V1__WatchRequest message;
    trireme__v1__watch_request__init(&message);
    message.job = (char *)job;
    struct rpc_request request = {
        .method = &mr_watch, .message = &message.base, .deadline = RPC_NO_DEADLINE};
    w->closed = w->heard = false;
    int r = rpc_pool_get(c->pool, c->addresses[c->current], RPC_CONTROL, &request.channel, e);
    if (r < 0) {
        return r;
    }
    struct rpc_stream *stream = rpc_stream_open(c->loop, &request, &watch_ops, w);
    rpc_channel_unref(request.channel);
    rpc_stream_read(stream);
    while (!w->closed) {
        (void)rpc_loop_step(c->loop, clock_mono_ms() + STEP_MS);
        if (!w->closed && is_interrupted(c)) {
            rpc_stream_cancel(stream);
        }
    }
    return 0;
}

int mr_client_watch(struct mr_client *c, const char *job, mr_client_status_fn on_status, void *arg,
                    struct err *e)
{
    struct watch w = {.on_status = on_status, .arg = arg};
    struct retry retry = retry_begin(c);
    for (;;) {
        int r = watch_once(c, job, &w, e);
        if (r < 0 || w.ended) {
            return r;
        }
        if (w.result.code == 0) { /* it was drained: a restart is under way */
            w.result.code = w.result.cause = ERR_UNAVAILABLE;
            w.result.definite = true;
        }
        if (w.heard) {
            retry = retry_begin(c);
        }
        if (!retry_wait(c, &retry, &w.result)) {
            return call_failed(c, &w.result, e);
        }
    }
}

struct log_reading {
    mr_client_log_fn take;
    void *arg;
    struct err err;
    bool closed;
    time_ms heard_ms;
    struct rpc_result result;
};

static void on_log_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct log_reading *l = rpc_stream_state(stream);
    struct arena arena = ARENA_INIT;
    ProtobufCMessage *message = NULL;
    int r = rpc_unpack_bytes(&trireme__v1__log_message__descriptor, bytes, &arena, &message);
    if (r < 0) {
        r = err_set(&l->err, r, "not a LogMessage");
    } else {
        const Trireme__V1__LogMessage *log = (const Trireme__V1__LogMessage *)message;
        r = l->take(l->arg, log->data.data, log->data.len, &l->err);
    }
    arena_deinit(&arena);
    l->heard_ms = clock_mono_ms();
    if (r < 0) {
        rpc_stream_cancel(stream);
    } else {
        rpc_stream_read(stream);
    }
}

static void on_log_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct log_reading *l = rpc_stream_state(stream);
    l->closed = true;
    l->result = *result;
}

static const struct rpc_stream_ops log_ops = {.on_message = on_log_message,
                                              .on_close = on_log_close};

int mr_client_read_log(struct mr_client *c, const struct attempt_info *attempt,
                       mr_client_log_fn take, void *arg, struct err *e)
{
    struct log_reading l = {.take = take, .arg = arg, .heard_ms = clock_mono_ms()};
    Trireme__V1__ReadLogRequest message;
    trireme__v1__read_log_request__init(&message);
    message.attempt = (char *)attempt->attempt;
    struct rpc_request request = {
        .method = &mr_read_log, .message = &message.base, .deadline = RPC_NO_DEADLINE};
    int r = rpc_pool_get(c->pool, attempt->address, RPC_BULK, &request.channel, e);
    if (r < 0) {
        return r;
    }
    struct rpc_stream *stream = rpc_stream_open(c->loop, &request, &log_ops, &l);
    rpc_channel_unref(request.channel);
    rpc_stream_read(stream);
    while (!l.closed) {
        (void)rpc_loop_step(c->loop, clock_mono_ms() + STEP_MS);
        bool late = clock_mono_ms() > l.heard_ms + LOG_SILENT_MS;
        if (!l.closed && (late || is_interrupted(c))) {
            rpc_stream_cancel(stream);
        }
    }
    if (l.err.code < 0) {
        return err_set(e, l.err.code, "%s", err_message(&l.err));
    }
    return l.result.code < 0 ? rpc_result_err(&l.result, attempt->address, e) : 0;
}
