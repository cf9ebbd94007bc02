/* mrworker's connection to mrmaster: hello, beats, and what the master says. */
#include "mapreduce/worker.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <trireme/dfs.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/sys.h"
#include "mapreduce/mr_methods.h"
#include "mapreduce/mr_pack.h"
#include "mapreduce/store_err.h"
#include "mapreduce/worker_internal.h"

static void join(void *arg);

/* ---- To mrmaster ---- */

static void send_message(struct mr_worker_process *w, const struct worker_message *message)
{
    struct buf bytes = BUF_INIT;
    worker_message_pack(message, &bytes);
    struct rpc_bytes *copy = rpc_bytes_copy(bytes.data, bytes.length);
    int r = rpc_stream_send_bytes(w->stream, copy);
    rpc_bytes_unref(copy);
    buf_deinit(&bytes);
    if (r < 0) {
        log_warning("mrworker", "mrmaster cannot be told error=%s", err_name(r));
        rpc_stream_cancel(w->stream);
    }
}

static void send_hello(struct mr_worker_process *w)
{
    struct worker_hello hello = {.key = w->options.key,
                                 .host = w->options.host,
                                 .rack = w->options.rack,
                                 .address = w->options.address,
                                 .slots = w->options.slots};
    struct worker_message message = {.hello = &hello};
    send_message(w, &message);
}

/* Progress of what runs, and ends that are not acknowledged, the oldest first. */
void worker_beat(struct mr_worker_process *w)
{
    if (!w->stream) {
        return;
    }
    struct arena arena = ARENA_INIT;
    struct worker_beat beat = {.sequence = ++w->sequence};
    beat.running = arena_calloc(&arena, (list_count(&w->tasks) + 1) * sizeof(beat.running[0]));
    beat.ended = arena_calloc(&arena, (list_count(&w->ended) + 1) * sizeof(beat.ended[0]));
    LIST_FOR_EACH(node, &w->tasks)
    {
        const struct task *task = LIST_ENTRY(node, struct task, link);
        if (task->attempt && !task->reported) {
            beat.running[beat.running_count++] = (struct attempt_progress){
                task->attempt, task->permille, task->text ? task->text : ""};
        }
    }
    size_t bytes = 0;
    LIST_FOR_EACH(node, &w->ended)
    {
        struct ended *ended = LIST_ENTRY(node, struct ended, link);
        bytes += ended->bytes;
        if (bytes > WORKER_BEAT_BYTES && beat.ended_count > 0) {
            break;
        }
        ended->sequence = ended->sequence ? ended->sequence : w->sequence;
        beat.ended[beat.ended_count++] = ended->past.end;
    }
    struct worker_message message = {.beat = &beat};
    counter_add(w->metrics.beats, 1);
    send_message(w, &message);
    arena_deinit(&arena);
}

static void on_beat_timer(void *arg)
{
    struct mr_worker_process *w = arg;
    tasks_check_timeouts(w);
    worker_metrics_tick(w); /* before a process is tried again that may end at once */
    tasks_warm(w);
    worker_logs_tick(w);
    worker_beat(w);
    rpc_timer_set(w->options.loop, &w->beat_timer, clock_mono_ms() + WORKER_BEAT_MS, on_beat_timer,
                  w);
}

/* ---- From mrmaster ---- */

static void kill_attempt(struct mr_worker_process *w, const char *attempt)
{
    worker_drop_waiting(w, attempt);
    LIST_FOR_EACH_SAFE(node, &w->tasks)
    {
        struct task *task = LIST_ENTRY(node, struct task, link);
        if (task->attempt && strcmp(task->attempt, attempt) == 0) {
            task_drop(task, "killed", "mrmaster ended it");
        }
    }
}

static int take_message(struct mr_worker_process *w, struct rpc_bytes *bytes, struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct master_message message;
    size_t length = rpc_bytes_length(bytes);
    void *copy = arena_alloc(&arena, length);
    rpc_bytes_read(bytes, 0, copy, length);
    int r = master_message_unpack((struct span){copy, length}, &arena, &message, e);
    if (r == 0) {
        worker_ends_acked(w, message.ack_sequence);
    }
    for (size_t i = 0; r == 0 && i < message.assign_count; i++) {
        r = worker_take_assignment(w, &message.assign[i], e);
    }
    if (r == 0) { /* all of it may be about what was just assigned */
        worker_take_maps(w, message.map_done, message.map_done_count);
        for (size_t i = 0; i < message.kill_count; i++) {
            kill_attempt(w, message.kill[i]);
        }
        for (size_t i = 0; i < message.forget_count; i++) {
            worker_forget(w, message.forget_jobs[i]);
        }
    }
    arena_deinit(&arena);
    return r;
}

/* The first word of a mrmaster: it has us. That the connection took our hello says nothing: behind
 * it may be one that hangs, or that still waits for the store. */
static void joined(struct mr_worker_process *w)
{
    w->rejoin_ms = WORKER_REJOIN_MS_MIN;
    log_info("mrworker", "joined mrmaster=%s host=%s slots=%" PRIu32, w->names[w->current],
             w->options.host, w->options.slots);
    counter_add(w->metrics.joins, 1);
    worker_metrics_tick(w);
    if (!w->ever_joined) {
        w->ever_joined = true;
        w->options.joined(w->options.arg);
    }
}

static void on_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct mr_worker_process *w = rpc_stream_state(stream);
    struct err e = ERR_INIT;
    if (take_message(w, bytes, &e) < 0) {
        log_error("mrworker", "mrmaster says what is not understood error=\"%s\"", err_message(&e));
        rpc_stream_cancel(stream);
        return;
    }
    bool first = w->heard == 0;
    w->heard = clock_mono_ms();
    gauge_set(w->metrics.heard, (int64_t)(clock_wall_ms() / 1000));
    if (first) {
        joined(w);
    }
    rpc_stream_read(stream);
}

/* The master gives our attempts to others now: end them, keep what has ended, and join anew. */
static void on_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct mr_worker_process *w = rpc_stream_state(stream);
    w->stream = NULL;
    w->heard = 0;
    worker_ends_keep(w);
    worker_drop_waiting(w, NULL);
    tasks_drop_all(w, "its worker lost the connection to mrmaster");
    worker_forget_maps(w);
    worker_past_drop(w);
    worker_metrics_tick(w);
    if (w->leaving) {
        return;
    }
    if (w->rejoin_ms == WORKER_REJOIN_MS_MIN) {
        log_warning("mrworker", "no connection to mrmaster address=%s error=\"%s\"",
                    w->names[w->current], result->text);
    }
    w->current = (w->current + 1) % w->channel_count;
    rpc_timer_set(w->options.loop, &w->rejoin_timer, clock_mono_ms() + w->rejoin_ms, join, w);
    w->rejoin_ms =
        2 * w->rejoin_ms < WORKER_REJOIN_MS_MAX ? 2 * w->rejoin_ms : WORKER_REJOIN_MS_MAX;
}

static void on_sent(struct rpc_stream *stream)
{
    worker_past_send(rpc_stream_state(stream));
}

static const struct rpc_stream_ops stream_ops = {
    .on_message = on_message,
    .on_sent = on_sent,
    .on_close = on_close,
};

static void join(void *arg)
{
    struct mr_worker_process *w = arg;
    struct rpc_request request = {
        .channel = w->channels[w->current], .method = &mr_work, .deadline = RPC_NO_DEADLINE};
    w->stream = rpc_stream_open(w->options.loop, &request, &stream_ops, w);
    send_hello(w);
    worker_past_begin(w);
    worker_past_send(w);
    rpc_stream_read(w->stream);
}

/* ---- Life ---- */

/* What an earlier run left: outputs nobody will ask this process for, and half-done work. */
static int clean_up(const char *data, struct err *e)
{
    struct buf path = BUF_INIT;
    buf_printf(&path, "%s/jobs", data);
    int r = sys_remove_tree(path.data, e);
    r = r < 0 ? r : sys_mkdir_p(path.data, e);
    buf_deinit(&path);
    return r;
}

static int open_channels(struct mr_worker_process *w, struct err *e)
{
    w->addresses = xstrdup(w->options.mrmaster);
    char *rest = w->addresses;
    char *one;
    int r = 0;
    while (r == 0 && (one = strsep(&rest, ",")) != NULL) {
        struct rpc_channel_options channel = {
            .address = one, .class = RPC_CONTROL, .tls = w->options.tls, .user = w->options.user};
        if (w->channel_count == WORKER_MRMASTER_COUNT_MAX) {
            return err_set(e, ERR_INVALID, "more than %d addresses of mrmasters",
                           WORKER_MRMASTER_COUNT_MAX);
        }
        r = rpc_channel_open(&channel, &w->channels[w->channel_count], e);
        w->names[w->channel_count] = one;
        w->channel_count += r == 0;
    }
    return r;
}

int worker_start(const struct worker_options *options, struct mr_worker_process **ret,
                 struct err *e)
{
    enum { FILE_THREADS = 2, FILE_JOBS_MAX = 100000 };
    struct mr_worker_process *w = xcalloc(1, sizeof(*w));
    w->options = *options;
    worker_metrics_init(&w->metrics, options->metrics);
    w->rejoin_ms = WORKER_REJOIN_MS_MIN;
    w->next_task = 1;
    list_init(&w->warm);
    list_init(&w->tasks);
    list_init(&w->ended);
    list_init(&w->pages);
    map_init(&w->jobs, 0);
    buf_init(&w->log_paths);
    *ret = w;
    struct dfs_err de = {0};
    struct dfs_options dfs = {.masters = options->masters,
                              .host = options->host,
                              .rack = options->rack,
                              .tls_ca = options->tls_ca,
                              .tls_cert = options->tls_cert,
                              .tls_key = options->tls_key};
    int r = clean_up(options->data, e);
    r = r < 0 ? r : open_channels(w, e);
    if (r == 0 && dfs_connect(&dfs, &w->dfs, &de) < 0) {
        r = err_from_dfs(e, &de, "connect to the store");
    }
    r = r < 0 ? r : tasks_open(w, e);
    if (r < 0) {
        return r;
    }
    w->pool = workpool_new("files", FILE_THREADS, FILE_JOBS_MAX);
    tasks_warm(w);
    join(w);
    rpc_timer_set(options->loop, &w->beat_timer, clock_mono_ms() + WORKER_BEAT_MS, on_beat_timer,
                  w);
    return 0;
}

void worker_leave(struct mr_worker_process *w)
{
    w->leaving = true;
    rpc_timer_cancel(w->options.loop, &w->rejoin_timer);
    rpc_timer_cancel(w->options.loop, &w->beat_timer);
    rpc_timer_cancel(w->options.loop, &w->quiet_timer);
    tasks_drop_all(w, "its worker was told to end");
    worker_metrics_tick(w);
    LIST_FOR_EACH_SAFE(node, &w->warm)
    {
        task_kill(LIST_ENTRY(node, struct task, link), NULL);
    }
    if (w->stream) {
        rpc_stream_cancel(w->stream);
    }
    tasks_close(w);
}

bool worker_idle(const struct mr_worker_process *w)
{
    return !w->stream && w->loading == 0 && !w->logs_busy && list_empty(&w->tasks) &&
           list_empty(&w->warm) && !w->spawner_watch;
}

void worker_process_free(struct mr_worker_process *w)
{
    if (!w) {
        return;
    }
    workpool_free(w->pool);
    fd_watcher_stop(w->watcher);
    MAP_FOR_EACH(it, &w->jobs)
    {
        worker_job_free(it.value);
    }
    map_deinit(&w->jobs);
    ends_free(&w->ended);
    worker_past_drop(w);
    for (size_t i = 0; i < w->channel_count; i++) {
        rpc_channel_unref(w->channels[i]);
    }
    free(w->addresses);
    buf_deinit(&w->log_paths);
    dfs_disconnect(w->dfs);
    free(w);
}
