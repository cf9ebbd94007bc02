/* The unary calls of mrmaster and its watchers: wire on one side, master_internal.h on the other.
 * All on the loop's thread. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mr.pb-c.h"

#include "common/alloc.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/path.h"
#include "mapreduce/master_internal.h"
#include "mapreduce/mr_methods.h"
#include "mapreduce/mr_pack.h"
#include "mapreduce/mr_rpc.h"

/* ---- Submit ---- */

/* Nothing else of the store: workers fetch it under their own name. */
static bool is_uploaded(const struct job_file *file, const char *submission)
{
    static const char directory[] = MR_UPLOADS_DIRECTORY "/";
    const char *at = file->store_path;
    size_t length = strlen(submission);
    if (strncmp(at, directory, sizeof(directory) - 1) != 0) {
        return false;
    }
    at += sizeof(directory) - 1;
    return strncmp(at, submission, length) == 0 && at[length] == '/' &&
           strcmp(at + length + 1, file->name) == 0;
}

/* Each file is in the directory of the submission, or small and here. */
static int check_files(const struct job_spec *spec, const char *submission, struct err *e)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < job_spec_file_count(spec); i++) {
        const struct job_file *file = job_spec_file(spec, i);
        bytes += file->data.length;
        if (file->data.length != (file->store_path[0] ? 0 : file->length)) {
            return err_set(e, ERR_INVALID, "file %s: %zu of %" PRIu64 " bytes came with the job",
                           file->name, file->data.length, file->length);
        }
        if (file->store_path[0] && !is_uploaded(file, submission)) {
            return err_set(e, ERR_INVALID, "file %s: %.200s is not where it belongs", file->name,
                           file->store_path);
        }
    }
    return bytes <= JOB_SMALL_BYTES_MAX
               ? 0
               : err_set(e, ERR_TOO_LARGE, "%" PRIu64 " bytes of files came with the job", bytes);
}

static int check_spec(const struct job_spec *spec, const char *submission, struct err *e)
{
    int r = path_check(spec->output, strlen(spec->output), e);
    if (r < 0) {
        return err_wrap(e, r, "output");
    }
    if (strcmp(spec->output, "/") == 0) {
        return err_set(e, ERR_INVALID, "output / always exists");
    }
    for (size_t i = 0; i < spec->input_count; i++) {
        r = path_check(spec->inputs[i], strlen(spec->inputs[i]), e);
        if (r < 0) {
            return err_wrap(e, r, "input %zu", i + 1);
        }
    }
    if (!spec->library && spec->mapper[0] == '\0' && spec->reducer[0] == '\0') {
        return err_set(e, ERR_INVALID, "a job needs a library, a mapper or a reducer");
    }
    return check_files(spec, submission, e);
}

/* The job of an earlier try of the same submission; NULL when this is the first. */
static struct mr_job *find_submission(struct mr_master *m, const char *submission)
{
    LIST_FOR_EACH(node, &m->jobs)
    {
        struct mr_job *job = LIST_ENTRY(node, struct mr_job, link);
        if (strcmp(job->record.submission, submission) == 0) {
            return job;
        }
    }
    return NULL;
}

/* Two jobs never work on one output. */
static int check_output_free(struct mr_master *m, const struct job_spec *spec, struct err *e)
{
    LIST_FOR_EACH(node, &m->jobs)
    {
        const struct mr_job *job = LIST_ENTRY(node, struct mr_job, link);
        if (!job->ended && strcmp(job->record.spec.output, spec->output) == 0) {
            return err_set(e, ERR_EXISTS,
                           "output %s is being written by %s; wait for it, end it with mr kill %s, "
                           "or choose another --output",
                           spec->output, job->record.job, job->record.job);
        }
    }
    return 0;
}

void submit_answer(struct rpc_call *call, const struct mr_job *job)
{
    Trireme__V1__SubmitReply *reply = (Trireme__V1__SubmitReply *)rpc_call_reply(call);
    reply->job = arena_strdup(rpc_call_arena(call), job->record.job);
    rpc_call_finish(call, 0, NULL);
}

/* The record, which is the store's, and whose job goes to workers: with room for what is added. */
static int pack_record(const struct job_record *record, struct buf *out, struct err *e)
{
    job_record_pack(record, out);
    if (out->length > JOB_RECORD_BYTES_MAX) {
        size_t length = out->length;
        buf_deinit(out);
        return err_set(e, ERR_TOO_LARGE, "a job's inputs, files and settings take %zu of %d bytes",
                       length, JOB_RECORD_BYTES_MAX);
    }
    return 0;
}

static int on_submit(struct rpc_call *call, void *service)
{
    struct mr_master *m = service;
    const Trireme__V1__SubmitRequest *request =
        (const Trireme__V1__SubmitRequest *)rpc_call_request(call);
    struct err *e = rpc_call_err(call);
    const char *user = rpc_call_caller(call)->user;
    if (!request->spec || strlen(request->submission) != 32 ||
        strspn(request->submission, "0123456789abcdef") != 32) {
        return err_set(e, ERR_INVALID, "a submission has an id of 32 hexadecimal digits and a job");
    }
    if (user[0] == '\0' || strlen(user) > LIMIT_HOST_BYTES_MAX) {
        return err_set(e, ERR_PERMISSION, "the user is not known");
    }
    struct mr_job *known = find_submission(m, request->submission);
    if (known && strcmp(known->record.user, user) != 0) {
        return err_set(e, ERR_PERMISSION, "submission %s is another user's", request->submission);
    }
    if (known && (known->state != JOB_STATE_QUEUED || known->hidden_inode != 0)) {
        Trireme__V1__SubmitReply *reply = (Trireme__V1__SubmitReply *)rpc_call_reply(call);
        reply->job = arena_strdup(rpc_call_arena(call), known->record.job);
        return 0;
    }
    if (known || m->live_jobs >= JOB_COUNT_MAX) {
        return err_set(e, ERR_BUSY,
                       known ? "this submission is being written"
                             : "too many jobs, try again later");
    }
    struct job_record record = {
        .submission = request->submission, .user = user, .submitted_ms = clock_wall_ms()};
    int r = job_spec_from_wire(request->spec, rpc_call_arena(call), &record.spec, e);
    r = r < 0 ? r : check_spec(&record.spec, record.submission, e);
    r = r < 0 ? r : check_output_free(m, &record.spec, e);
    struct dfs *dfs = r == 0 ? master_user_dfs(m, user, e) : NULL;
    if (!dfs) {
        return r < 0 ? r : e->code;
    }
    record.number = m->next_job;
    record.job =
        arena_printf(rpc_call_arena(call), "job_%" PRIu64 "_%04" PRIu64, m->fence, record.number);
    struct buf packed = BUF_INIT;
    r = pack_record(&record, &packed, e);
    if (r < 0) {
        return r;
    }
    m->next_job++;
    job_spec_drop_data(&record.spec); /* from here on they are in the store */
    step_submit(m, job_new(m, &record, dfs), call, &packed);
    return RPC_PENDING;
}

/* ---- Looking ---- */

static int no_such_job(struct err *e, const char *id)
{
    return err_set(e, ERR_NOT_FOUND,
                   "%.100s: no such job (it may have been forgotten; see mr list --all)", id);
}

static int on_get_job(struct rpc_call *call, void *service)
{
    struct mr_master *m = service;
    const Trireme__V1__JobRequest *request =
        (const Trireme__V1__JobRequest *)rpc_call_request(call);
    struct mr_job *job = master_find_job(m, request->job);
    if (!job) {
        return no_such_job(rpc_call_err(call), request->job);
    }
    struct job_status status;
    job_status(m, job, rpc_call_arena(call), &status);
    *(Trireme__V1__JobStatus *)rpc_call_reply(call) =
        *job_status_to_wire(&status, rpc_call_arena(call));
    return 0;
}

static int on_list_jobs(struct rpc_call *call, void *service)
{
    enum { LIST_COUNT_MAX = 1000 };
    struct mr_master *m = service;
    const Trireme__V1__ListJobsRequest *request =
        (const Trireme__V1__ListJobsRequest *)rpc_call_request(call);
    Trireme__V1__ListJobsReply *reply = (Trireme__V1__ListJobsReply *)rpc_call_reply(call);
    struct arena *arena = rpc_call_arena(call);
    reply->jobs = arena_calloc(arena, LIST_COUNT_MAX * sizeof(reply->jobs[0]));
    for (struct list *node = m->jobs.prev; node != &m->jobs && reply->n_jobs < LIST_COUNT_MAX;
         node = node->prev) {
        struct mr_job *job = LIST_ENTRY(node, struct mr_job, link);
        if (!job->ended || request->all) {
            struct job_status status;
            job_status(m, job, arena, &status);
            status.counters.count = 0; /* a list, not the whole of each */
            reply->jobs[reply->n_jobs++] = job_status_to_wire(&status, arena);
        }
    }
    return 0;
}

static int by_start(const void *a, const void *b)
{
    const Trireme__V1__AttemptReport *x = *(Trireme__V1__AttemptReport *const *)a;
    const Trireme__V1__AttemptReport *y = *(Trireme__V1__AttemptReport *const *)b;
    return (x->started_ms > y->started_ms) - (x->started_ms < y->started_ms);
}

static int on_task_report(struct rpc_call *call, void *service)
{
    struct mr_master *m = service;
    const Trireme__V1__TaskReportRequest *request =
        (const Trireme__V1__TaskReportRequest *)rpc_call_request(call);
    Trireme__V1__TaskReportReply *reply = (Trireme__V1__TaskReportReply *)rpc_call_reply(call);
    struct arena *arena = rpc_call_arena(call);
    struct mr_job *job = master_find_job(m, request->job);
    if (!job) {
        return no_such_job(rpc_call_err(call), request->job);
    }
    reply->attempts = arena_calloc(arena, MR_REPORT_COUNT_MAX * sizeof(reply->attempts[0]));
    LIST_FOR_EACH(node, &job->attempts)
    {
        const struct attempt_record *from = LIST_ENTRY(node, struct attempt_record, link);
        if (reply->n_attempts == MR_REPORT_COUNT_MAX ||
            (request->failed_only && strcmp(from->state, "failed") != 0)) {
            continue;
        }
        Trireme__V1__AttemptReport *to = arena_alloc(arena, sizeof(*to));
        trireme__v1__attempt_report__init(to);
        to->attempt = (char *)from->name;
        to->worker_host = from->host;
        to->worker_address = from->address;
        to->state = (char *)from->state;
        to->started_ms = from->started_ms;
        to->ended_ms = from->ended_ms;
        to->error = from->error;
        to->stderr_tail = from->stderr_tail;
        reply->attempts[reply->n_attempts++] = to;
    }
    if (reply->n_attempts > 0) { /* those from before a restart were found late */
        qsort(reply->attempts, reply->n_attempts, sizeof(reply->attempts[0]), by_start);
    }
    return 0;
}

static int on_workers(struct rpc_call *call, void *service)
{
    struct mr_master *m = service;
    Trireme__V1__WorkersReply *reply = (Trireme__V1__WorkersReply *)rpc_call_reply(call);
    struct arena *arena = rpc_call_arena(call);
    reply->workers = arena_calloc(arena, (list_count(&m->workers) + 1) * sizeof(reply->workers[0]));
    LIST_FOR_EACH(node, &m->workers)
    {
        const struct mr_worker *from = LIST_ENTRY(node, struct mr_worker, link);
        Trireme__V1__WorkerStatus *to = arena_alloc(arena, sizeof(*to));
        trireme__v1__worker_status__init(to);
        to->host = from->host;
        to->rack = from->rack;
        to->address = from->address;
        to->slots = from->slots;
        to->busy = from->busy;
        to->live = true;
        to->avoided = scheduler_cannot_start(m->scheduler, from->id);
        to->trouble = from->trouble && to->avoided ? from->trouble : to->trouble;
        reply->workers[reply->n_workers++] = to;
    }
    return 0;
}

/* ---- Kill ---- */

static bool may_kill(const struct mr_master *m, const struct mr_job *job, const char *user)
{
    return strcmp(user, job->record.user) == 0 ||
           (m->options.user && strcmp(user, m->options.user) == 0);
}

static int on_kill(struct rpc_call *call, void *service)
{
    struct mr_master *m = service;
    const Trireme__V1__KillRequest *request =
        (const Trireme__V1__KillRequest *)rpc_call_request(call);
    struct mr_job *job = master_find_job(m, request->job);
    if (!job) {
        return no_such_job(rpc_call_err(call), request->job);
    }
    if (!may_kill(m, job, rpc_call_caller(call)->user)) {
        return err_set(rpc_call_err(call), ERR_PERMISSION, "%s belongs to %s", request->job,
                       job->record.user);
    }
    if (job->ended) {
        ((Trireme__V1__KillReply *)rpc_call_reply(call))->state = (Trireme__V1__JobState)job->state;
        return 0;
    }
    job->killers = xreallocarray(job->killers, job->killer_count + 1, sizeof(struct rpc_call *));
    job->killers[job->killer_count++] = call;
    job->kill_wanted = true;
    if (job->state == JOB_STATE_RUNNING || job->awaits_workers) {
        job->awaits_workers = false;
        step_discard(m, job, JOB_STATE_KILLED);
        master_pump(m);
    }
    return RPC_PENDING; /* answered when the job has ended, whichever way */
}

void killers_answer(struct mr_job *job)
{
    for (size_t i = 0; i < job->killer_count; i++) {
        Trireme__V1__KillReply *reply = (Trireme__V1__KillReply *)rpc_call_reply(job->killers[i]);
        reply->state = (Trireme__V1__JobState)job->state;
        rpc_call_finish(job->killers[i], 0, NULL);
    }
    job->killer_count = 0;
}

void killers_end(struct mr_job *job, int code, const char *text)
{
    for (size_t i = 0; i < job->killer_count; i++) {
        rpc_call_finish(job->killers[i], code, text);
    }
    job->killer_count = 0;
}

/* ---- Watch ---- */

static void on_watch_timer(void *arg)
{
    master_pump(arg);
}

/* A stream that is ending leaves the list at once: it must not outlive its job there. */
void watchers_tell(struct mr_master *m, struct mr_job *job)
{
    struct arena arena = ARENA_INIT;
    struct buf bytes = BUF_INIT;
    struct job_status status;
    job_status(m, job, &arena, &status);
    job_status_pack(&status, &bytes);
    struct rpc_bytes *message = rpc_bytes_copy(bytes.data, bytes.length);
    LIST_FOR_EACH_SAFE(node, &job->watchers)
    {
        struct rpc_stream *stream = LIST_ENTRY(node, struct mr_watcher, link)->stream;
        bool wanted = rpc_stream_writable(stream) || job->ended;
        if (wanted && rpc_stream_send_bytes(stream, message) < 0) {
            list_remove(node);
            rpc_stream_cancel(stream); /* a watcher that does not read */
        } else if (job->ended) {
            list_remove(node);
            rpc_stream_finish(stream, 0, NULL);
        }
    }
    rpc_bytes_unref(message);
    buf_deinit(&bytes);
    arena_deinit(&arena);
    job->changed = false;
}

void watchers_tell_all(struct mr_master *m)
{
    if (rpc_timer_is_set(&m->watch_timer)) {
        return; /* told a moment ago; the timer comes back here */
    }
    bool told = false;
    LIST_FOR_EACH(node, &m->jobs)
    {
        struct mr_job *job = LIST_ENTRY(node, struct mr_job, link);
        if (job->changed && !list_empty(&job->watchers)) {
            watchers_tell(m, job);
            told = true;
        }
    }
    if (told) {
        rpc_timer_set(m->options.loop, &m->watch_timer, clock_mono_ms() + MR_WATCH_MS,
                      on_watch_timer, m);
    }
}

void watchers_end(struct mr_job *job, int code, const char *text)
{
    LIST_FOR_EACH_SAFE(node, &job->watchers)
    {
        list_remove(node);
        rpc_stream_finish(LIST_ENTRY(node, struct mr_watcher, link)->stream, code, text);
    }
}

static void on_watch_open(struct rpc_stream *stream)
{
    struct mr_watcher *watcher = xcalloc(1, sizeof(*watcher));
    watcher->stream = stream;
    list_init(&watcher->link);
    rpc_stream_set_state(stream, watcher);
    rpc_stream_read(stream);
}

static void on_watch_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct mr_master *m = rpc_stream_service(stream);
    struct mr_watcher *watcher = rpc_stream_state(stream);
    struct arena arena = ARENA_INIT;
    ProtobufCMessage *message = NULL;
    struct err e = ERR_INIT;
    int r = rpc_unpack_bytes(&trireme__v1__watch_request__descriptor, bytes, &arena, &message);
    const char *id = r == 0 ? ((Trireme__V1__WatchRequest *)message)->job : "";
    struct mr_job *job = r == 0 ? master_find_job(m, id) : NULL;
    if (r < 0) {
        rpc_stream_finish(stream, r, "not a WatchRequest");
    } else if (!job) {
        r = no_such_job(&e, id);
        rpc_stream_finish(stream, r, err_message(&e));
    } else if (list_linked(&watcher->link)) {
        rpc_stream_finish(stream, ERR_INVALID, "one job per stream");
    } else {
        list_push_back(&job->watchers, &watcher->link);
        watchers_tell(m, job);
    }
    arena_deinit(&arena);
}

static void on_watch_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    (void)result;
    struct mr_watcher *watcher = rpc_stream_state(stream);
    list_remove(&watcher->link);
    free(watcher);
}

const struct rpc_stream_ops watch_stream_ops = {
    .on_open = on_watch_open,
    .on_message = on_watch_message,
    .on_close = on_watch_close,
};

/* ---- The table ---- */

const struct rpc_service_row mr_master_rows[] = {
    {.method = &mr_submit, .steps = {{RPC_POLLER, on_submit}}},
    {.method = &mr_watch, .stream = &watch_stream_ops},
    {.method = &mr_get_job, .steps = {{RPC_POLLER, on_get_job}}},
    {.method = &mr_list_jobs, .steps = {{RPC_POLLER, on_list_jobs}}},
    {.method = &mr_kill, .steps = {{RPC_POLLER, on_kill}}},
    {.method = &mr_task_report, .steps = {{RPC_POLLER, on_task_report}}},
    {.method = &mr_workers, .steps = {{RPC_POLLER, on_workers}}},
    {.method = &mr_work, .stream = &worker_stream_ops},
    {.method = NULL},
};
