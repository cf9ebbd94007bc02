/* What has ended on this worker. An end is told in beats until mrmaster acknowledges it; then it
 * stays with its job until that is forgotten, because a mrmaster that restarts knows nothing of it.
 * A worker that joins tells everything first: which jobs it has, how attempts ended, and which map
 * outputs it holds. That is the only journal of finished maps that there is, and the only one that
 * is of use: without this process and its disk the outputs are gone too. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "mapreduce/mr_pack.h"
#include "mapreduce/worker_internal.h"

/* A page of what is told on joining, packed. */
struct page {
    struct list link;
    struct rpc_bytes *bytes;
};

/* ---- Ends ---- */

static void ended_free(struct ended *ended)
{
    list_remove(&ended->link);
    arena_deinit(&ended->arena);
    free(ended);
}

void ends_free(struct list *list)
{
    LIST_FOR_EACH_SAFE(node, list)
    {
        ended_free(LIST_ENTRY(node, struct ended, link));
    }
}

/* NULL, with a line in the log: it is too wrong to be told. */
static struct ended *ended_new(const char *job, const struct past_attempt *past)
{
    struct ended *ended = xcalloc(1, sizeof(*ended));
    struct worker_past all = {.attempts = (struct past_attempt *)past, .attempt_count = 1};
    struct worker_message message = {.past = &all};
    struct worker_message copy = {0};
    struct buf bytes = BUF_INIT;
    struct err e = ERR_INIT;
    arena_init(&ended->arena, 0);
    list_init(&ended->link);
    worker_message_pack(&message, &bytes);
    int r =
        worker_message_unpack((struct span){bytes.data, bytes.length}, &ended->arena, &copy, &e);
    ended->bytes = bytes.length;
    buf_deinit(&bytes);
    if (r < 0) {
        log_error("mrworker", "end of attempt not told attempt=%s error=\"%s\"", past->end.attempt,
                  err_message(&e));
        ended_free(ended);
        return NULL;
    }
    ended->job = arena_strdup(&ended->arena, job);
    ended->past = copy.past->attempts[0];
    return ended;
}

/* To its job; nobody will ask for it if that is forgotten. */
static void ended_keep(struct mr_worker_process *w, struct ended *ended)
{
    struct worker_job *job = map_get_str(&w->jobs, ended->job);
    if (!job) {
        ended_free(ended);
        return;
    }
    list_remove(&ended->link);
    list_push_back(&job->past, &ended->link);
}

void worker_tell_end(struct mr_worker_process *w, const char *job, const struct past_attempt *past)
{
    struct ended *ended = ended_new(job, past);
    worker_metrics_ended(&w->metrics, past);
    if (ended) {
        list_push_back(&w->ended, &ended->link);
        worker_beat(w);
    }
}

void worker_note_end(struct mr_worker_process *w, const char *job, const struct past_attempt *past)
{
    struct ended *ended = ended_new(job, past);
    worker_metrics_ended(&w->metrics, past);
    if (ended) {
        ended_keep(w, ended);
    }
}

void worker_ends_acked(struct mr_worker_process *w, uint64_t sequence)
{
    LIST_FOR_EACH_SAFE(node, &w->ended)
    {
        struct ended *ended = LIST_ENTRY(node, struct ended, link);
        if (ended->sequence != 0 && ended->sequence <= sequence) {
            ended_keep(w, ended);
        }
    }
}

void worker_ends_keep(struct mr_worker_process *w)
{
    LIST_FOR_EACH_SAFE(node, &w->ended)
    {
        ended_keep(w, LIST_ENTRY(node, struct ended, link));
    }
}

/* ---- Told on joining ---- */

/* Attempts gathered for one page. */
struct gathering {
    struct mr_worker_process *w;
    struct worker_past past;
    size_t capacity;
    size_t bytes;
};

static void page_free(struct page *page)
{
    list_remove(&page->link);
    rpc_bytes_unref(page->bytes);
    free(page);
}

static void page_end(struct gathering *g, bool last)
{
    struct page *page = xcalloc(1, sizeof(*page));
    struct worker_message message = {.past = &g->past};
    struct buf bytes = BUF_INIT;
    g->past.last = last;
    worker_message_pack(&message, &bytes);
    page->bytes = rpc_bytes_copy(bytes.data, bytes.length);
    buf_deinit(&bytes);
    list_push_back(&g->w->pages, &page->link);
    g->past.attempt_count = 0;
    g->past.job_count = 0;
    g->bytes = 0;
}

static void page_add(struct gathering *g, const struct ended *ended)
{
    if (g->bytes + ended->bytes > WORKER_BEAT_BYTES && g->past.attempt_count > 0) {
        page_end(g, false);
    }
    if (g->past.attempt_count == g->capacity) {
        g->capacity = g->capacity ? 2 * g->capacity : 64;
        g->past.attempts =
            xreallocarray(g->past.attempts, g->capacity, sizeof(g->past.attempts[0]));
    }
    g->past.attempts[g->past.attempt_count++] = ended->past;
    g->bytes += ended->bytes;
}

void worker_past_begin(struct mr_worker_process *w)
{
    struct gathering g = {.w = w};
    g.past.jobs = xcalloc(w->jobs.count + 1, sizeof(g.past.jobs[0]));
    MAP_FOR_EACH(it, &w->jobs)
    {
        g.past.jobs[g.past.job_count++] = ((struct worker_job *)it.value)->id;
    }
    MAP_FOR_EACH(it, &w->jobs)
    {
        struct worker_job *job = it.value;
        LIST_FOR_EACH(node, &job->past)
        {
            page_add(&g, LIST_ENTRY(node, struct ended, link));
        }
    }
    page_end(&g, true);
    free(g.past.jobs);
    free(g.past.attempts);
}

void worker_past_send(struct mr_worker_process *w)
{
    LIST_FOR_EACH_SAFE(node, &w->pages)
    {
        struct page *page = LIST_ENTRY(node, struct page, link);
        if (!rpc_stream_writable(w->stream)) {
            return;
        }
        int r = rpc_stream_send_bytes(w->stream, page->bytes);
        page_free(page);
        if (r < 0) {
            log_warning("mrworker", "mrmaster cannot be told of the past error=%s", err_name(r));
            rpc_stream_cancel(w->stream);
            return;
        }
    }
}

void worker_past_drop(struct mr_worker_process *w)
{
    LIST_FOR_EACH_SAFE(node, &w->pages)
    {
        page_free(LIST_ENTRY(node, struct page, link));
    }
}
