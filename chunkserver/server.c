/* Start, run and drain of the process. Start-up order: data directories (identity, lock,
 * directories and index of each) -> table (one scan of records, nothing is opened or walked) ->
 * threads -> listen -> masters. The way down is the reverse. */
#include "chunkserver/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chunkserver/chunkserver_rpc.h"
#include "chunkserver/local_read.h"
#include "chunkserver/report.h"
#include "chunkserver/scrub.h"
#include "chunkserver/trash.h"
#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/daemon.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/metrics.h"
#include "common/parse.h"
#include "common/sys.h"

/* ---- Threads ---- */

void server_call(struct rpc_loop *loop, rpc_fn fn, void *arg)
{
    if (rpc_loop_is_mine(loop)) {
        fn(arg);
    } else {
        rpc_loop_post(loop, fn, arg);
    }
}

static void task_done(void *arg)
{
    struct task *t = arg;
    t->done(t);
}

static void task_run(struct job *job)
{
    struct task *t = CONTAINER_OF(job, struct task, job);
    t->run(t);
    rpc_loop_post(t->home, task_done, t);
}

struct workpool *server_workers(const struct server *s, const struct disk *disk)
{
    return disk != NULL && disk->pool != NULL ? disk->pool : s->pool;
}

void server_task(struct server *s, const struct disk *disk, struct task *t, struct rpc_loop *home)
{
    t->home = home;
    t->job = (struct job){.run = task_run};
    workpool_submit_reserved(server_workers(s, disk), NULL, &t->job, NULL);
}

void server_fatal(const char *what, const struct err *e)
{
    log_error("chunkserver", "stopping at once, %s: %s", what, err_message(e));
    _exit(daemon_exit_status(e));
}

/* ---- Start ---- */

static int load_disks(struct server *s, struct err *e)
{
    int r = disks_open(&s->disks, &s->options->data, (size_t)s->options->failed_disks_max, e);
    if (r == 0) {
        s->term = s->disks.term;
        r = server_load(s, e);
    }
    for (size_t i = 0; r == 0 && i < s->disks.count; i++) {
        const struct disk *disk = &s->disks.list[i];
        if (disk_has_failed(&disk->state)) {
            log_error("chunkserver", "going on without a disk data=%s: %s", disk->path,
                      err_message(&disk->failure));
        }
        if (disk->copies_removed > 0) {
            log_info("chunkserver", "unfinished copies removed data=%s count=%zu", disk->path,
                     disk->copies_removed);
        }
    }
    gauge_set(s->counters.failed_disks, (int64_t)disk_failures_count(&s->disks.failures));
    return r;
}

static void make_metrics(struct server *s)
{
    struct metrics *m = s->metrics = metrics_new();
    struct server_counters *c = &s->counters;
    c->appended_bytes = metrics_counter(m, "chunkserver_appended_bytes_total", NULL,
                                        "Bytes written and entered into the index.");
    c->read_bytes =
        metrics_counter(m, "chunkserver_read_bytes_total", NULL, "Bytes served by Read.");
    c->sealed_chunks =
        metrics_counter(m, "chunkserver_sealed_chunks_total", NULL, "Chunks sealed by writers.");
    c->failed_appends =
        metrics_counter(m, "chunkserver_failed_appends_total", NULL, "Append streams that failed.");
    c->damaged_blocks = metrics_counter(m, "chunkserver_damaged_chunks_total", NULL,
                                        "Chunks found with a block that does not verify.");
    c->copied_chunks = metrics_counter(m, "chunkserver_copied_chunks_total", NULL,
                                       "Chunks pulled from other servers.");
    c->deleted_chunks =
        metrics_counter(m, "chunkserver_deleted_chunks_total", NULL, "Chunks moved to the trash.");
    c->local_reads = metrics_counter(m, "chunkserver_local_reads_total", NULL,
                                     "Descriptors passed to local readers.");
    c->chunks = metrics_gauge(m, "chunkserver_chunks", NULL, "Chunks on this server.");
    c->failed_disks = metrics_gauge(m, "chunkserver_failed_disks", NULL,
                                    "Data directories out of use because their disk failed.");
    c->masters_answered = metrics_gauge(m, "chunkserver_masters_answered_timestamp_seconds", NULL,
                                        "When a file master last answered; 0: never.");
    c->streams =
        metrics_gauge(m, "chunkserver_streams", NULL, "Appends, reads and copies in progress.");
}

static int start_tls(struct server *s, struct err *e)
{
    const struct server_options *o = s->options;
    if (o->tls_ca == NULL && o->tls_cert == NULL && o->tls_key == NULL) {
        return 0;
    }
    if (o->tls_ca == NULL || o->tls_cert == NULL || o->tls_key == NULL) {
        return err_set(e, ERR_INVALID, "--tls-ca, --tls-cert and --tls-key belong together");
    }
    return rpc_tls_new(o->tls_ca, o->tls_cert, o->tls_key, &s->tls, e);
}

static bool loop_reserve(void *ctx, unsigned count)
{
    (void)ctx; /* the server's limit on calls bounds what waits here */
    (void)count;
    return true;
}

static void loop_release(void *ctx, unsigned count)
{
    (void)ctx;
    (void)count;
}

static void loop_submit(void *ctx, struct rpc_task *task)
{
    rpc_loop_post(ctx, task->fn, task->arg);
}

static int listen_on(struct server *s, struct err *e)
{
    const struct rpc_executor owner = {server_owner(s), loop_reserve, loop_release, loop_submit};
    const struct rpc_executor worker = rpc_executor_workpool(s->pool);
    const struct rpc_service service = {chunkserver_rows, s};
    const char *const addresses[] = {s->options->listen};
    struct rpc_server_options options = {
        .addresses = addresses,
        .address_count = 1,
        .tls = s->tls,
        .insecure = s->options->insecure,
        .class = RPC_BULK,
        .loops = s->loops,
        .loop_count = s->loop_count,
        .services = &service,
        .service_count = 1,
        .owner = &owner,
        .worker = &worker,
    };
    return rpc_server_new(&options, &s->rpc, e);
}

/* The address that others reach us by: what the operator says, else the host part of --listen with
 * the port that was bound. */
static int find_advertised(struct server *s, struct err *e)
{
    const char *given = s->options->advertise;
    if (given == NULL) {
        given = s->options->listen;
    }
    const char *colon = strrchr(given, ':');
    if (colon == NULL) {
        return err_set(e, ERR_INVALID, "address '%s' is not HOST:PORT", given);
    }
    bool keep = s->options->advertise != NULL && strcmp(colon, ":0") != 0;
    int n = keep ? snprintf(s->advertised, sizeof(s->advertised), "%s", given)
                 : snprintf(s->advertised, sizeof(s->advertised), "%.*s:%d", (int)(colon - given),
                            given, rpc_server_port(s->rpc, 0));
    if (n < 0 || (size_t)n >= sizeof(s->advertised)) {
        return err_set(e, ERR_TOO_LARGE, "address '%s' is too long", given);
    }
    return 0;
}

static void start_workers(struct server *s)
{
    size_t threads = (size_t)s->options->workers;
    bool several = s->disks.count > 1;
    s->pool = workpool_new(several ? "disks" : "disk", threads, SERVER_JOB_COUNT_MAX);
    for (size_t i = 0; several && i < s->disks.count; i++) {
        char name[32]; /* the thread keeps 15 bytes of it */
        (void)snprintf(name, sizeof(name), "disk%zu", i + 1);
        s->disks.list[i].pool = workpool_new(name, threads, SERVER_JOB_COUNT_MAX);
    }
}

static void drain_workers(struct server *s)
{
    if (s->pool == NULL) {
        return;
    }
    workpool_drain(s->pool);
    for (size_t i = 0; s->disks.count > 1 && i < s->disks.count; i++) {
        workpool_drain(s->disks.list[i].pool);
    }
}

static void free_workers(struct server *s)
{
    workpool_free(s->pool);
    for (size_t i = 0; i < s->disks.count; i++) {
        workpool_free(s->disks.list[i].pool);
    }
}

static void start_threads(struct server *s)
{
    start_workers(s);
    s->loop_count = (size_t)s->options->pollers;
    s->loops = xcalloc(s->loop_count, sizeof(struct rpc_loop *));
    for (size_t i = 0; i < s->loop_count; i++) {
        s->loops[i] = rpc_loop_new();
    }
    s->channels = rpc_pool_new(s->tls, "chunkserver");
}

static int start_pollers(struct server *s, struct err *e)
{
    int r = 0;
    for (size_t i = 1; r == 0 && i < s->loop_count; i++) {
        char name[32]; /* the thread keeps 15 bytes of it */
        (void)snprintf(name, sizeof(name), "poller-%zu", i);
        r = rpc_loop_start_thread(s->loops[i], name, e);
    }
    return r;
}

static void became_ready(struct server *s)
{
    struct err e = ERR_INIT;
    server_page_report(s);
    if (daemon_ready((int)s->options->ready_fd, s->advertised, &e) < 0) {
        log_warning("chunkserver", "cannot tell that we are ready: %s", err_message(&e));
    }
    log_info("chunkserver", "ready address=%s server=%" PRIu64 " chunks=%zu start=%" PRIu64,
             s->advertised, s->disks.ident.member, s->chunks.count, s->disks.start_count);
}

int server_start(struct server *s, const struct server_options *options, struct daemon_page *page,
                 struct err *e)
{
    *s = (struct server){.options = options, .page = page, .started_ms = clock_mono_ms()};
    buf_init(&s->host);
    buf_init(&s->local_socket);
    make_metrics(s);
    int r = load_disks(s, e);
    if (r == 0) {
        r = start_tls(s, e);
    }
    if (r == 0) {
        r = address_advertised_check(options->advertise ? options->advertise : options->listen, e);
    }
    if (r < 0) {
        return r;
    }
    if (options->host != NULL) {
        buf_append_str(&s->host, options->host);
    } else {
        sys_host_name(&s->host);
    }
    start_threads(s);
    for (size_t i = 0; i < s->disks.count; i++) {
        if (!disk_has_failed(&s->disks.list[i].state)) {
            s->disks.list[i].trash = trash_new(s, &s->disks.list[i]);
        }
    }
    r = local_read_start(s, &s->local_read, e);
    if (r == 0) {
        r = listen_on(s, e);
    }
    if (r == 0) {
        r = find_advertised(s, e);
    }
    if (r == 0) {
        r = start_pollers(s, e);
    }
    if (r == 0) {
        r = server_page_start(s, e);
    }
    if (r == 0) {
        for (size_t i = 0; i < s->disks.count; i++) {
            if (!disk_has_failed(&s->disks.list[i].state)) {
                s->disks.list[i].scrub = scrub_new(s, &s->disks.list[i]);
            }
        }
        daemon_status("waiting for a file master to accept this server");
        s->report = report_new(s, became_ready);
    }
    return r;
}

/* ---- Run and drain ---- */

void server_run(struct server *s)
{
    rpc_watchdog_start(&s->watchdog, server_owner(s));
    rpc_loop_run(server_owner(s));
    rpc_watchdog_stop(&s->watchdog);
}

static bool disks_idle(const struct server *s)
{
    for (size_t i = 0; i < s->disks.count; i++) {
        if (!scrub_idle(s->disks.list[i].scrub) || !trash_idle(s->disks.list[i].trash)) {
            return false;
        }
    }
    return true;
}

/* Something is in progress still, most likely on a disk that hangs, and nobody waits for it any
 * longer. Nothing can be taken apart under it, and what is on the disks is always ready for that.
 */
__attribute__((noreturn)) static void leave_at_once(const struct server *s, const char *why)
{
    log_warning("chunkserver",
                "ends without waiting any longer, %s: streams=%" PRIu64 " claims=%zu", why,
                s->stream_count, s->uses.count);
    for (size_t i = 0; i < s->disks.count; i++) {
        const struct disk *disk = &s->disks.list[i];
        size_t jobs = workpool_depth(server_workers(s, disk));
        if (jobs > 0) {
            log_warning("chunkserver", "at work on a disk that may hang data=%s jobs=%zu",
                        disk->path, jobs);
        }
    }
    _exit(0);
}

/* Streams and commands are over; the loop may stop. */
static void drained_check(void *arg)
{
    struct server *s = arg;
    bool idle = s->stream_count == 0 && s->uses.count == 0 && report_idle(s->report) &&
                disks_idle(s) && !s->term_busy;
    if (idle) {
        rpc_loop_stop(server_owner(s));
        return;
    }
    if (clock_mono_ms() >= s->drain_deadline) {
        leave_at_once(s, "the time for it is over");
    }
    rpc_timer_set(server_owner(s), &s->drain_timer, clock_mono_ms() + DRAIN_CHECK_MS, drained_check,
                  s);
}

static void drain_on_owner(void *arg)
{
    struct server *s = arg;
    if (s->draining) {
        leave_at_once(s, "told so twice");
    }
    log_info("chunkserver", "draining streams=%" PRIu64, s->stream_count);
    rpc_watchdog_stop(&s->watchdog);
    daemon_stopping();
    s->draining = true;
    s->drain_deadline = clock_mono_ms() + DRAIN_MS;
    server_page_report(s);
    report_stop(s->report);
    for (size_t i = 0; i < s->disks.count; i++) {
        scrub_stop(s->disks.list[i].scrub);
        trash_stop(s->disks.list[i].trash);
    }
    server_stop_chains(s, ERR_UNAVAILABLE, "the chunkserver is shutting down");
    drained_check(s);
}

void server_stop(struct server *s)
{
    rpc_loop_post(server_owner(s), drain_on_owner, s);
}

static void free_table(struct server *s)
{
    server_forget_chunks(s);
    map_deinit(&s->chunks);
    map_deinit(&s->uses);
    map_deinit(&s->waiters);
}

void server_deinit(struct server *s)
{
    if (s->options == NULL) {
        return;
    }
    server_page_stop(s);
    local_read_stop(s->local_read);
    if (s->rpc != NULL) {
        rpc_server_drain(s->rpc, clock_mono_ms());
        rpc_server_free(s->rpc);
    }
    for (size_t i = 1; i < s->loop_count; i++) {
        rpc_loop_join_thread(s->loops[i]);
    }
    drain_workers(s);
    report_free(s->report);
    for (size_t i = 0; i < s->disks.count; i++) {
        scrub_free(s->disks.list[i].scrub);
        trash_free(s->disks.list[i].trash);
    }
    rpc_pool_free(s->channels);
    for (size_t i = 0; i < s->loop_count; i++) {
        rpc_loop_free(s->loops[i]);
    }
    free(s->loops);
    free_workers(s);
    rpc_tls_free(s->tls);
    free_table(s);
    disks_close(&s->disks);
    metrics_free(s->metrics);
    buf_deinit(&s->host);
    buf_deinit(&s->local_socket);
    *s = (struct server){0};
}
