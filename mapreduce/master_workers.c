/* Workers: one stream each. What goes to a worker is gathered while an event is handled and sent as
 * one message at its end; what comes from it is checked, given to the scheduler and to the job's
 * books, and acknowledged by sequence.
 *
 * Which map outputs stand is different: a job may have a million of them. Each job has a list of
 * the maps that changed, in order, and each worker that was ever given a reduce of it a place in
 * that list. It is told in pages while its stream takes them, always of a map's state at that
 * moment, so that no message is too large, no queue too long, and a slow worker costs nothing. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/ident.h"
#include "common/log.h"
#include "mapreduce/master_internal.h"
#include "mapreduce/master_skip.h"
#include "mapreduce/mr_pack.h"

struct mr_worker *master_find_worker(struct mr_master *m, uint64_t id)
{
    LIST_FOR_EACH(node, &m->workers)
    {
        struct mr_worker *w = LIST_ENTRY(node, struct mr_worker, link);
        if (w->id == id) {
            return w;
        }
    }
    return NULL;
}

/* ---- To the worker ---- */

/* Appends one element to a growing array of `out`; the arrays double at powers of two. */
#define OUT_ADD(w, array, count, element)                                                          \
    do {                                                                                           \
        size_t n_ = (w)->out.count;                                                                \
        if ((n_ & (n_ - 1)) == 0) {                                                                \
            (w)->out.array =                                                                       \
                xreallocarray((w)->out.array, n_ ? 2 * n_ : 1, sizeof((w)->out.array[0]));         \
        }                                                                                          \
        (w)->out.array[n_] = (element);                                                            \
        (w)->out.count = n_ + 1;                                                                   \
        (w)->out_used = true;                                                                      \
    } while (0)

/* A reduce of the job runs here from now on. */
static void worker_follow(struct mr_worker *w, struct mr_job *job)
{
    if (!map_get_u64(&w->follows, job->record.number)) {
        struct follow *follow = xcalloc(1, sizeof(*follow));
        follow->job = job;
        map_put_u64(&w->follows, job->record.number, follow);
    }
}

void worker_assign(struct mr_master *m, struct mr_worker *w, struct mr_job *job,
                   const struct sched_effect *effect)
{
    const struct sched_attempt *id = &effect->attempt;
    const struct attempt_record *attempt = job->tasks[id->kind][id->task].latest;
    struct assignment a = {
        .job = job->record.job,
        .attempt = arena_strdup(&w->out_arena, attempt->name),
        .task = id->task,
        .reduce = id->kind == SCHED_REDUCE,
        .maps = job->plan.map_count,
        .reduces = job->reduces,
        .hidden_directory = hidden_directory(job->record.spec.output, &w->out_arena),
        .hidden_inode = job->hidden_inode,
        .output_name = part_name(id->task, &w->out_arena),
        .fence_name = MR_FENCE_NAME,
        .fence_epoch = m->fence,
        .user = job->record.user,
        .plan = job->plan_id,
    };
    if (!map_get_u64(&w->specs_sent, job->record.number)) {
        a.spec = &job->record.spec;
        map_put_u64(&w->specs_sent, job->record.number, job);
    }
    if (a.reduce) {
        worker_follow(w, job);
    } else {
        a.splits = job->plan.maps[id->task].splits;
        a.split_count = job->plan.maps[id->task].split_count;
    }
    skips_assign(m, id, &w->out_arena, &a);
    w->busy++;
    OUT_ADD(w, assign, assign_count, a);
}

void worker_kill(struct mr_worker *w, const char *attempt)
{
    const char *name = arena_strdup(&w->out_arena, attempt);
    w->busy -= w->busy > 0;
    OUT_ADD(w, kill, kill_count, name);
}

void worker_forget_job(struct mr_worker *w, const struct mr_job *job)
{
    free(map_remove_u64(&w->follows, job->record.number));
    (void)map_remove_u64(&w->specs_sent, job->record.number);
    worker_forget_name(w, job->record.job); /* it may have files of it from before a restart */
}

void worker_forget_name(struct mr_worker *w, const char *job)
{
    const char *name = arena_strdup(&w->out_arena, job);
    OUT_ADD(w, forget_jobs, forget_count, name);
}

static void out_clear(struct mr_worker *w)
{
    free(w->out.assign);
    free(w->out.kill);
    free(w->out.forget_jobs);
    w->out = (struct master_message){.ack_sequence = w->out.ack_sequence};
    w->out_used = false;
    arena_reset(&w->out_arena);
}

static void send_packed(struct mr_worker *w, const struct buf *bytes)
{
    w->told = clock_mono_ms();
    struct rpc_bytes *copy = rpc_bytes_copy(bytes->data, bytes->length);
    int r = rpc_stream_send_bytes(w->stream, copy);
    rpc_bytes_unref(copy);
    if (r < 0) {
        log_warning("mrmaster", "worker cannot be told host=%s error=%s", w->host, err_name(r));
        rpc_stream_cancel(w->stream); /* what it did not hear it must not miss: it joins anew */
    }
}

static void worker_send(struct mr_worker *w, const struct master_message *message)
{
    struct buf bytes = BUF_INIT;
    master_message_pack(message, &bytes);
    send_packed(w, &bytes);
    buf_deinit(&bytes);
}

/* In one message, or, since specs and lists of splits may be large, with each assignment in one of
 * its own, before the others' news, as a worker takes them: what is assigned and killed at one go
 * is killed. */
static void send_gathered(struct mr_worker *w)
{
    struct buf bytes = BUF_INIT;
    master_message_pack(&w->out, &bytes);
    if (bytes.length <= RPC_MESSAGE_BYTES_MAX || w->out.assign_count == 0) {
        send_packed(w, &bytes);
    } else {
        struct master_message rest = w->out;
        for (size_t i = 0; i < w->out.assign_count; i++) {
            struct master_message one = {.assign = &w->out.assign[i],
                                         .assign_count = 1,
                                         .ack_sequence = w->out.ack_sequence};
            worker_send(w, &one);
        }
        rest.assign_count = 0;
        worker_send(w, &rest);
    }
    buf_deinit(&bytes);
}

static struct map_done map_state(const struct mr_job *job, uint32_t map)
{
    const struct task_record *task = &job->tasks[SCHED_MAP][map];
    const struct attempt_record *attempt = task->permille == 1000 ? task->latest : NULL;
    return (struct map_done){.job = job->record.job,
                             .map = map,
                             .attempt = attempt ? attempt->name : "",
                             .address = attempt ? attempt->address : "",
                             .host = attempt ? attempt->host : "",
                             .withdrawn = attempt == NULL};
}

/* The next page of a job's news. */
static void tell_page(struct mr_worker *w, struct follow *follow)
{
    struct map_done page[MAP_DONE_PAGE_COUNT];
    struct master_message message = {.map_done = page, .ack_sequence = w->out.ack_sequence};
    const struct mr_job *job = follow->job;
    while (follow->told < job->map_news_count && message.map_done_count < MAP_DONE_PAGE_COUNT) {
        page[message.map_done_count++] = map_state(job, job->map_news[follow->told++]);
    }
    worker_send(w, &message);
}

static void tell_news(struct mr_worker *w)
{
    MAP_FOR_EACH(it, &w->follows)
    {
        struct follow *follow = it.value;
        while (follow->told < follow->job->map_news_count && rpc_stream_writable(w->stream)) {
            tell_page(w, follow);
        }
    }
}

void worker_flush(struct mr_worker *w)
{
    if (w->out_used) {
        send_gathered(w);
        out_clear(w);
    }
    tell_news(w);
}

static void on_sent(struct rpc_stream *stream)
{
    const struct mr_master *m = rpc_stream_service(stream);
    struct mr_worker *w = rpc_stream_state(stream);
    if (w->joined && !m->draining) {
        tell_news(w); /* there is room again */
    }
}

/* ---- From the worker ---- */

static void attempt_succeeded(struct mr_master *m, struct mr_job *job,
                              struct attempt_record *attempt, const struct attempt_end *end)
{
    size_t before = m->effects.count;
    scheduler_succeeded(m->scheduler, &attempt->id, clock_mono_ms(), &m->effects);
    bool counts = false;
    for (size_t i = before; i < m->effects.count; i++) {
        counts |= m->effects.items[i].kind == SCHED_TASK_DONE;
    }
    job_attempt_ended(m, job, attempt, "succeeded", end);
    if (counts) {
        job_task_done(job, attempt, end);
        if (attempt->id.kind == SCHED_MAP) {
            job_note_map(job, attempt->id.task);
        }
    }
}

/* Whether the scheduler has given up the job since there were so many effects. */
static bool gives_up(const struct mr_master *m, size_t before)
{
    for (size_t i = before; i < m->effects.count; i++) {
        if (m->effects.items[i].kind == SCHED_JOB_FAILED) {
            return true;
        }
    }
    return false;
}

/* Which worker could not be fetched from, by whom and why. */
static void set_fetch_failure(struct mr_job *job, const struct attempt_record *map,
                              const struct attempt_record *reduce, const struct attempt_end *end)
{
    struct buf text = BUF_INIT;
    buf_printf(&text,
               "%s has run again and again because reduces cannot fetch its output, the last time "
               "from worker %s (%s): %s on %s (%s) says \"%s\"",
               map->name, map->host, map->address, reduce->name, reduce->host, reduce->address,
               end->text);
    job_set_failure(job, NULL, text.data);
    buf_deinit(&text);
}

/* Fetches that failed: the maps run again, and the reduce is not to blame. */
static void report_lost_maps(struct mr_master *m, struct mr_job *job,
                             const struct attempt_record *reduce, const struct attempt_end *end)
{
    for (size_t i = 0; i < end->lost_count; i++) {
        const struct attempt_record *map = map_get_str(&job->by_name, end->lost_map_attempts[i]);
        if (map && map->id.kind == SCHED_MAP && job->tasks[SCHED_MAP][map->id.task].latest == map) {
            size_t before = m->effects.count;
            scheduler_map_lost(m->scheduler, &map->id, clock_mono_ms(), &m->effects);
            if (gives_up(m, before)) {
                set_fetch_failure(job, map, reduce, end);
                return;
            }
        }
    }
}

/* The worker's trouble: neither the attempt nor its task is to blame. */
static void attempt_not_started(struct mr_master *m, struct mr_worker *w, struct mr_job *job,
                                struct attempt_record *attempt, const struct attempt_end *end)
{
    log_warning("mrmaster", "worker cannot start a task host=%s attempt=%s error=\"%s\"", w->host,
                attempt->name, end->text);
    free(w->trouble);
    w->trouble = xstrdup(end->text);
    job_attempt_ended(m, job, attempt, "lost", end);
    scheduler_not_started(m->scheduler, &attempt->id, clock_mono_ms(), &m->effects);
}

static void attempt_failed(struct mr_master *m, struct mr_job *job, struct attempt_record *attempt,
                           const struct attempt_end *end)
{
    bool fenced = end->code == ERR_FENCED; /* the store refused its commit, and will refuse us */
    bool blame = end->lost_count == 0 && !fenced;
    log_info("mrmaster", "attempt failed attempt=%s host=%s blame=%d error=\"%s\"", attempt->name,
             attempt->host, blame, end->text);
    job_attempt_ended(m, job, attempt, "failed", end);
    skips_note_limit(m, job, attempt, end);
    if (blame) {
        job_set_failure(job, attempt, NULL);
    }
    report_lost_maps(m, job, attempt, end);
    if (fenced) {
        master_check_fence(m);
    }
    if (blame) {
        scheduler_failed_at(m->scheduler, &attempt->id, end->bad_record, clock_mono_ms(),
                            &m->effects);
    } else {
        scheduler_failed(m->scheduler, &attempt->id, false, clock_mono_ms(), &m->effects);
    }
}

/* The running attempt of this worker that a name means; NULL when it is none (killed, or of another
 * master). */
static struct attempt_record *running_attempt_of(struct mr_master *m, const struct mr_worker *w,
                                                 const char *text, struct mr_job **ret_job)
{
    struct attempt_name name;
    if (!attempt_name_parse(text, &name) || name.fence != m->fence) {
        return NULL;
    }
    struct mr_job *job = master_find_number(m, name.job);
    struct attempt_record *attempt = job ? map_get_str(&job->running, text) : NULL;
    *ret_job = job;
    return attempt && attempt->worker == w->id ? attempt : NULL;
}

static void on_beat(struct mr_master *m, struct mr_worker *w, const struct worker_beat *beat)
{
    struct mr_job *job = NULL;
    counter_add(m->metrics.beats, 1);
    for (size_t i = 0; i < beat->running_count; i++) {
        const struct attempt_progress *progress = &beat->running[i];
        struct attempt_record *attempt = running_attempt_of(m, w, progress->attempt, &job);
        if (attempt) {
            uint32_t permille = progress->permille < 999 ? progress->permille : 999;
            struct task_record *task = &job->tasks[attempt->id.kind][attempt->id.task];
            task->permille = task->permille > permille ? task->permille : permille;
            scheduler_progress(m->scheduler, &attempt->id, permille, clock_mono_ms());
            job->changed = true;
        }
    }
    for (size_t i = 0; i < beat->ended_count; i++) {
        struct attempt_record *attempt = running_attempt_of(m, w, beat->ended[i].attempt, &job);
        if (!attempt) {
            continue; /* told twice, or killed meanwhile */
        }
        w->busy -= w->busy > 0;
        if (beat->ended[i].not_started) {
            attempt_not_started(m, w, job, attempt, &beat->ended[i]);
        } else if (beat->ended[i].code == 0) {
            attempt_succeeded(m, job, attempt, &beat->ended[i]);
        } else {
            attempt_failed(m, job, attempt, &beat->ended[i]);
        }
    }
    if (beat->ended_count > 0) {
        w->out.ack_sequence = beat->sequence;
        w->out_used = true;
    }
}

static void on_hello(struct mr_master *m, struct mr_worker *w, const struct worker_hello *hello)
{
    w->id = m->next_worker++;
    w->key = hello->key;
    w->host = xstrdup(hello->host);
    w->rack = xstrdup(hello->rack);
    w->address = xstrdup(hello->address);
    w->slots = hello->slots;
}

/* It has told all of its past. */
static void join(struct mr_master *m, struct mr_worker *w)
{
    LIST_FOR_EACH_SAFE(node, &m->workers)
    {
        struct mr_worker *old = LIST_ENTRY(node, struct mr_worker, link);
        if (member_key_equal(old->key, w->key)) {
            worker_remove(m, old, "joined anew");
        }
    }
    w->joined = true;
    w->out_used = true; /* so that it hears at once that we have it */
    counter_add(m->metrics.workers_joined, 1);
    list_remove(&w->link);
    list_push_back(&m->workers, &w->link);
    struct sched_worker_info info = {w->id, w->host, w->rack, w->slots};
    scheduler_add_worker(m->scheduler, &info);
    log_info("mrmaster", "worker joined host=%s rack=%s address=%s slots=%" PRIu32, w->host,
             w->rack, w->address, w->slots);
    worker_past_told(m, w);
}

static int on_past(struct mr_master *m, struct mr_worker *w, const struct worker_past *past,
                   struct err *e)
{
    if (w->joined) {
        return err_set(e, ERR_INVALID, "a worker tells its past before it joins");
    }
    int r = worker_take_past(w, past, e);
    if (r == 0 && past->last) {
        join(m, w);
    }
    return r;
}

static void on_open(struct rpc_stream *stream)
{
    struct mr_master *m = rpc_stream_service(stream);
    struct mr_worker *w = xcalloc(1, sizeof(*w));
    w->stream = stream;
    w->heard = clock_mono_ms();
    map_init(&w->specs_sent, 0);
    map_init(&w->follows, 0);
    list_init(&w->past);
    arena_init(&w->out_arena, 0);
    list_push_back(&m->strangers, &w->link);
    rpc_stream_set_state(stream, w);
    rpc_stream_read(stream);
}

static int take_message(struct mr_master *m, struct mr_worker *w, struct rpc_bytes *bytes,
                        struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct worker_message message;
    size_t length = rpc_bytes_length(bytes);
    void *copy = arena_alloc(&arena, length);
    rpc_bytes_read(bytes, 0, copy, length);
    int r = worker_message_unpack((struct span){copy, length}, &arena, &message, e);
    if (r == 0 && (message.hello != NULL) != (w->id == 0)) {
        r = err_set(e, ERR_INVALID, "a worker's first message, and only that, is its hello");
    } else if (r == 0 && message.hello) {
        on_hello(m, w, message.hello);
    } else if (r == 0 && message.past) {
        r = on_past(m, w, message.past, e);
    } else if (r == 0) {
        on_beat(m, w, message.beat);
    }
    arena_deinit(&arena);
    return r;
}

static void on_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct mr_master *m = rpc_stream_service(stream);
    struct mr_worker *w = rpc_stream_state(stream);
    struct err e = ERR_INIT;
    if (m->draining) {
        return;
    }
    w->heard = clock_mono_ms();
    int r = take_message(m, w, bytes, &e);
    if (r < 0) {
        rpc_stream_finish(stream, r, err_message(&e));
        return;
    }
    rpc_stream_read(stream);
    master_pump(m);
}

/* ---- Gone ---- */

static void follows_free(struct mr_worker *w)
{
    MAP_FOR_EACH(it, &w->follows)
    {
        free(it.value);
    }
    map_deinit(&w->follows);
}

/* Takes a worker out of the scheduler and marks what ran on it. Its struct stays until the stream
 * closes. */
void worker_remove(struct mr_master *m, struct mr_worker *w, const char *why)
{
    counter_add(m->metrics.workers_lost, 1);
    log_warning("mrmaster", "worker lost host=%s address=%s why=\"%s\"", w->host, w->address, why);
    LIST_FOR_EACH(node, &m->jobs)
    {
        struct mr_job *job = LIST_ENTRY(node, struct mr_job, link);
        MAP_FOR_EACH(it, &job->running)
        {
            struct attempt_record *attempt = it.value;
            if (attempt->worker == w->id) {
                job_attempt_ended(m, job, attempt, "lost", NULL);
            }
        }
    }
    scheduler_remove_worker(m->scheduler, w->id, clock_mono_ms(), &m->effects);
    w->id = 0;
    w->joined = false;
    follows_free(w);
    worker_past_free(w);
    list_remove(&w->link);
    list_push_back(&m->strangers, &w->link);
    rpc_stream_cancel(w->stream);
}

void worker_free(struct mr_worker *w)
{
    list_remove(&w->link);
    out_clear(w);
    follows_free(w);
    worker_past_free(w);
    map_deinit(&w->specs_sent);
    arena_deinit(&w->out_arena);
    free(w->trouble);
    free(w->host);
    free(w->rack);
    free(w->address);
    free(w);
}

static void on_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    (void)result;
    struct mr_master *m = rpc_stream_service(stream);
    struct mr_worker *w = rpc_stream_state(stream);
    if (w->joined && !m->draining) {
        worker_remove(m, w, "connection closed");
        worker_free(w);
        master_pump(m);
    } else {
        worker_free(w);
    }
}

static void on_half_close(struct rpc_stream *stream)
{
    rpc_stream_finish(stream, 0, NULL); /* the worker leaves in order */
}

const struct rpc_stream_ops worker_stream_ops = {
    .on_open = on_open,
    .on_message = on_message,
    .on_sent = on_sent,
    .on_half_close = on_half_close,
    .on_close = on_close,
};
