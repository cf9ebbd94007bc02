/* Start, loop and drain of the file master.
 *
 * Start-up order: data directory, state, soft state from it, listening socket, consensus, pollers:
 * peers must be able to speak with us before anybody leads, and clients hear who does. Drain is the
 * reverse: leadership is handed over, no new calls, those in progress finish, consensus comes to
 * rest, then threads and files go. */
#include "fsmaster/server.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/daemon.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/parse.h"
#include "common/rpc/daemon_page.h"
#include "common/sys.h"
#include "fsmaster/rescue.h"
#include "fsmaster/server_admin.h"
#include "fsmaster/server_deletions.h"
#include "fsmaster/server_internal.h"
#include "fsmaster/server_reads.h"

enum {
    OWNER_TICK_MS = 50,
    OWNER_POSTS_MAX = 64,
    OWNER_RESERVED_MAX = 1 << 18, /* above all calls, jobs and flushes together */
    WORKER_JOBS_MAX = 1 << 16,
    FAREWELL_MS = 200,     /* for clients to hear that we go */
    OWNER_EVENTS_MAX = 64, /* handled before the owner looks at its mail */
    CANCEL_MS = 500,       /* for chunk calls: they are begun again by the next leader */
};

/* ---- What the other parts use ---------------------------------------------------------------- */

time_ms server_cluster_now(const struct server *s)
{
    return s->cluster_base_ms + (clock_mono_ms() - s->cluster_mono_ms);
}

void server_job_start(struct server *s, struct job *job, void (*run)(struct job *),
                      void (*done)(struct job *))
{
    CHECK(mailbox_reserve(s->mailbox) == 0);
    job->run = run;
    job->done = done;
    s->jobs++;
    workpool_submit_reserved(s->workers, NULL, job, s->mailbox);
}

void server_job_end(struct server *s)
{
    CHECK(s->jobs > 0);
    s->jobs--;
}

void server_look_ready(struct server *s)
{
    struct err e = ERR_INIT;
    bool follows = s->status.leader[0] && strcmp(s->status.leader, s->address) != 0;
    bool led = s->totals.cluster_id[0] != '\0' && (s->status.is_leader || follows);
    if (led != (gauge_value(s->metrics.led) == 1)) {
        gauge_set(s->metrics.led, led);
        server_page_report(s);
    }
    if (s->ready || !led) {
        return;
    }
    s->ready = true;
    log_info("fsmaster",
             "serving address=%s cluster=%s term=%" PRIu64 " applied=%" PRIu64
             " replication=%" PRIu32 " superuser=%s",
             s->address, s->totals.cluster_id, s->status.term, s->status.applied,
             s->totals.default_replication, s->superuser);
    if (daemon_ready((int)s->options.ready_fd, s->address, &e) < 0) {
        log_warning("fsmaster", "nobody hears that we are ready: %s", err_message(&e));
    }
    s->options.ready_fd = -1;
}

static void failed(void *ctx, const struct err *e)
{
    struct server *s = ctx;
    s->failure = *e;
}

/* ---- Start: metrics -------------------------------------------------------------------------- */

static const char *const operation_labels[] = {
    [OPERATION_NONE] = "op=\"unknown\"",
    [OPERATION_MKDIR] = "op=\"mkdir\"",
    [OPERATION_CREATE] = "op=\"create\"",
    [OPERATION_ACQUIRE_LEASE] = "op=\"acquire_lease\"",
    [OPERATION_ALLOCATE] = "op=\"allocate\"",
    [OPERATION_SEAL_CHUNK] = "op=\"seal_chunk\"",
    [OPERATION_ABANDON_CHUNK] = "op=\"abandon_chunk\"",
    [OPERATION_CLOSE] = "op=\"close\"",
    [OPERATION_ABANDON] = "op=\"abandon\"",
    [OPERATION_RENAME] = "op=\"rename\"",
    [OPERATION_DELETE] = "op=\"delete\"",
    [OPERATION_SET_ATTRIBUTES] = "op=\"set_attributes\"",
    [OPERATION_RAISE_FENCE] = "op=\"raise_fence\"",
    [OPERATION_SET_QUOTA] = "op=\"set_quota\"",
    [OPERATION_SET_XATTR] = "op=\"set_xattr\"",
};

static const char *const class_labels[LOCATION_CLASS_COUNT] = {
    [LOCATION_CLASS_RUMOURED] = "state=\"rumoured\"",
    [LOCATION_CLASS_WRITING] = "state=\"writing\"",
    [LOCATION_CLASS_OK] = "state=\"ok\"",
    [LOCATION_CLASS_EXTRA] = "state=\"extra\"",
    [LOCATION_CLASS_UNDER] = "state=\"under\"",
    [LOCATION_CLASS_NONE] = "state=\"none\"",
};

static void make_metrics(struct server_metrics *x)
{
    struct metrics *m = metrics_new();
    *x = (struct server_metrics){
        .registry = m,
        .operation_errors = metrics_counter(m, "fsmaster_operation_errors_total", NULL,
                                            "Operations that gave an error."),
        .mutate = metrics_histogram(m, "fsmaster_mutate_seconds", NULL,
                                    "Mutate, from the owner's first look to the reply."),
        .mailbox = metrics_gauge(m, "fsmaster_mailbox_depth", NULL, "Mails for the owner."),
        .workers = metrics_gauge(m, "fsmaster_worker_jobs", NULL, "Jobs that wait or run."),
        .repair_waiting = metrics_gauge(m, "fsmaster_repair_waiting", NULL, "Chunks to care for."),
        .repair_running = metrics_gauge(m, "fsmaster_repair_running", NULL, "Chunks in care."),
        .recoveries = metrics_gauge(m, "fsmaster_recoveries", NULL, "Chunks being sealed."),
        .leases = metrics_gauge(m, "fsmaster_leases", NULL, "Files open for writing."),
        .removal_queue = metrics_gauge(m, "fsmaster_removal_queue", NULL,
                                       "Deleted inodes whose rows are still there."),
        .servers_live = metrics_gauge(m, "fsmaster_chunkservers_live", NULL, "Live chunkservers."),
        .servers_leaving = metrics_gauge(m, "fsmaster_chunkservers_leaving", NULL,
                                         "Chunkservers that are out of service."),
        .leaving_needed = metrics_gauge(m, "fsmaster_leaving_chunks_needed", NULL,
                                        "Chunks that still need one of them."),
        .balance_moves = metrics_gauge(m, "fsmaster_balance_moves", NULL,
                                       "Chunks on their way from full servers to empty ones."),
        .deletes_waiting = metrics_gauge(m, "fsmaster_replicas_deleting", NULL,
                                         "Replicas whose deletion is not confirmed."),
        .copies = metrics_counter(m, "fsmaster_repair_copies_total", NULL, "Replicas copied."),
        .copy_failures = metrics_counter(m, "fsmaster_repair_failures_total", NULL,
                                         "Copies that failed and are tried again."),
        .deletes = metrics_counter(m, "fsmaster_replicas_deleted_total", NULL,
                                   "Replicas that servers have deleted."),
        .recoveries_done =
            metrics_counter(m, "fsmaster_recoveries_total", NULL, "Chunks sealed by the master."),
        .unverified_seals = metrics_counter(m, "fsmaster_unverified_seals_total", NULL,
                                            "Of them those without a clean replica."),
        .leading = metrics_gauge(m, "fsmaster_leading", NULL, "1: this member leads."),
        .led = metrics_gauge(m, "fsmaster_led", NULL, "1: this member leads or knows who does."),
        .term = metrics_gauge(m, "fsmaster_term", NULL, "Current term."),
    };
    static const char *const reads[] = {"op=\"stat\"", "op=\"list\"", "op=\"locate\"",
                                        "op=\"xattrs\""};
    for (size_t i = 0; i < ARRAY_COUNT(reads); i++) {
        x->reads[i] = metrics_counter(m, "fsmaster_reads_total", reads[i], "Reads answered.");
    }
    for (size_t i = 0; i < ARRAY_COUNT(operation_labels); i++) {
        x->operations[i] = metrics_counter(m, "fsmaster_operations_total", operation_labels[i],
                                           "Operations of clients applied.");
    }
    for (int i = 0; i < LOCATION_CLASS_COUNT; i++) {
        x->chunks[i] = metrics_gauge(m, "fsmaster_chunks", class_labels[i], "Chunks by state.");
    }
}

/* ---- Start: steps ---------------------------------------------------------------------------- */

static void stop_now(struct mail *mail)
{
    struct server *s = CONTAINER_OF(mail, struct server, stop_mails[0]);
    log_info("fsmaster", "draining");
    s->stop_count = 1;
    rpc_watchdog_stop(&s->watchdog);
    daemon_stopping();
    s->stopping = true;
    s->stop_by_ms = clock_mono_ms() + DRAIN_MS;
    server_reads_close(s);
    server_page_report(s);
    consensus_close(s->consensus); /* another member takes over while we still answer */
}

static void stop_at_once(struct mail *mail)
{
    struct server *s = CONTAINER_OF(mail, struct server, stop_mails[1]);
    s->stop_by_ms = 0;
    s->stop_count = 2;
}

static int open_state(struct server *s, struct err *e)
{
    struct state_options options = {.data = s->options.data, .cache_bytes = s->options.cache_bytes};
    int r = state_open(&options, &s->state, e);
    r = r < 0 ? r : state_totals(s->state, &s->totals, e);
    r = r < 0 ? r : state_position(s->state, &s->position, e);
    if (r < 0) {
        return r;
    }
    s->reads = server_reads_new(s);
    char id[CLUSTER_ID_TEXT_BYTES];
    (void)cluster_id_format(s->datadir.ident.cluster, id);
    if (s->totals.cluster_id[0] && strcmp(id, s->totals.cluster_id) != 0) {
        return err_set(e, ERR_WRONG_CLUSTER, "the state in %s is of cluster %s, its IDENT says %s",
                       s->options.data, s->totals.cluster_id, id);
    }
    return 0;
}

static void make_address(struct server *s, const char *host, uint16_t port)
{
    struct buf address = BUF_INIT;
    buf_printf(&address, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host[0] ? host : "127.0.0.1",
               port ? port : rpc_server_port(s->rpc, 0));
    memcpy(s->address, address.data, MIN(address.length + 1, sizeof(s->address) - 1));
    buf_deinit(&address);
}

static void nothing(void *arg)
{
    (void)arg;
}

/* The owner looks into its mailbox whenever its loop has handled something. */
static void wake_owner(void *arg)
{
    const struct server *s = arg;
    if (!rpc_loop_is_mine(s->loop)) {
        rpc_loop_post(s->loop, nothing, NULL);
    }
}

/* Events first, as many as are there, so that what they ask for is proposed together. */
static void run_owner(struct server *s, time_ms until)
{
    int events = 0;
    while (events < OWNER_EVENTS_MAX && rpc_loop_step(s->loop, 0)) {
        events++;
    }
    if (mailbox_run(s->mailbox, 0) == 0 && events == 0) {
        (void)rpc_loop_step(s->loop, until);
    }
}

static int listen_at(struct server *s, struct err *e)
{
    const struct server_options *o = &s->options;
    struct rpc_executor owner = rpc_executor_mailbox(s->mailbox);
    struct rpc_executor worker = rpc_executor_workpool(s->workers);
    s->loop = rpc_loop_new();
    rpc_loop_own(s->loop);
    mailbox_set_waker(s->mailbox, wake_owner, s);
    s->chunk_caller = (struct chunk_caller){
        .loop = s->loop, .pool = rpc_pool_new(s->tls, s->superuser), .home = s->mailbox};
    list_init(&s->chunk_caller.calls);
    struct raft_transport_options between = {.loop = s->loop,
                                             .pool = s->chunk_caller.pool,
                                             .owner = s->mailbox,
                                             .self = s->datadir.ident.key,
                                             .address = s->address,
                                             .metrics = s->metrics.registry};
    s->transport = raft_transport_new(&between);
    struct rpc_service services[] = {{fs_service, s},
                                     {chunkservers_service, s},
                                     {raft_admin_service, s},
                                     {backup_service, s},
                                     {orphans_service, s},
                                     {admin_service, s},
                                     {raft_stream_service, s->transport}};
    struct rpc_server_options options = {.addresses = &o->listen,
                                         .address_count = 1,
                                         .tls = s->tls,
                                         .insecure = o->insecure,
                                         .class = RPC_CONTROL,
                                         .loops = &s->loop,
                                         .loop_count = 1,
                                         .services = services,
                                         .service_count = ARRAY_COUNT(services),
                                         .owner = &owner,
                                         .worker = &worker};
    int r = rpc_server_new(&options, &s->rpc, e);
    if (r < 0) {
        return r;
    }
    char host[LIMIT_HOST_BYTES_MAX + 1];
    uint16_t port;
    const char *told = o->advertise && o->advertise[0] ? o->advertise : o->listen;
    r = parse_address(told, host, sizeof(host), &port, e);
    if (r == 0) {
        make_address(s, host, port);
    }
    return r;
}

static int start_tls(struct server *s, struct err *e)
{
    const struct server_options *o = &s->options;
    bool any = (o->tls_ca && o->tls_ca[0]) || (o->tls_cert && o->tls_cert[0]) ||
               (o->tls_key && o->tls_key[0]);
    if (!any) {
        return 0;
    }
    if (!o->tls_ca || !o->tls_cert || !o->tls_key) {
        return err_set(e, ERR_INVALID, "TLS needs all of --tls-ca, --tls-cert and --tls-key");
    }
    return rpc_tls_new(o->tls_ca, o->tls_cert, o->tls_key, &s->tls, e);
}

static void make_soft_state(struct server *s)
{
    s->mailbox = mailbox_new(OWNER_POSTS_MAX, OWNER_RESERVED_MAX);
    s->workers = workpool_new("worker", (size_t)s->options.workers, WORKER_JOBS_MAX);
    s->servers = chunkservers_new(s->options.server_dead_ms);
    s->locations = locations_new(server_care, s);
    s->leaving = leaving_new(s->locations);
    s->balancing = balancing_new();
    s->leases = lease_table_new(s->options.lease_ms);
    s->repair = repair_queue_new();
    s->trash = trash_new();
    rng_seed_entropy(&s->rng);
    map_init(&s->recoveries, 0);
    map_init(&s->deletions, 0);
    map_init(&s->scan.touched, 0);
    list_init(&s->allocations);
    s->stop_mails[0].handle = stop_now;
    s->stop_mails[1].handle = stop_at_once;
    CHECK(mailbox_reserve(s->mailbox) == 0);
    CHECK(mailbox_reserve(s->mailbox) == 0);
    make_metrics(&s->metrics);
}

static void fill_defaults(struct server *s)
{
    struct server_options *o = &s->options;
    struct buf name = BUF_INIT;
    sys_user_name(&name);
    s->superuser = xstrdup(o->superuser && o->superuser[0] ? o->superuser : name.data);
    buf_deinit(&name);
    if (o->replication == 0) {
        o->replication = o->single ? 1 : CHUNK_REPLICAS_DEFAULT;
    }
}

int server_start(const struct server_options *options, struct daemon_page *page,
                 struct server **ret, struct err *e)
{
    struct server *s = xcalloc(1, sizeof(*s));
    s->options = *options;
    s->page = page;
    s->datadir.lock_fd = -1;
    fill_defaults(s);
    make_soft_state(s);
    int r = start_tls(s, e);
    r = r < 0 ? r : rescue_check(options->data, e);
    r = r < 0 ? r : datadir_open(&s->datadir, options->data, "fsmaster", e);
    r = r < 0 ? r : open_state(s, e);
    r = r < 0 ? r : scan_tables(s, e);
    r = r < 0 ? r : backup_start(s, e);
    r = r < 0 ? r : listen_at(s, e);
    r = r < 0 ? r : server_start_consensus(s, failed, e);
    r = r < 0 ? r : server_page_start(s, e);
    if (r < 0) {
        server_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

/* ---- Loop ------------------------------------------------------------------------------------ */

/* gRPC waits for every connection to close, which an idle client may never do: when nothing is in
 * progress any more and clients had time to hear that we go, the connections are cut. */
static void drain_tick(struct server *s, time_ms now)
{
    bool quiet = rpc_server_stats(s->rpc).in_flight == 0; /* streams are the peers', who go on */
    bool heard = now + DRAIN_MS >= s->stop_by_ms + FAREWELL_MS;
    if (!s->shut && (!consensus_hands_over(s->consensus) || now >= s->stop_by_ms)) {
        s->shut = true;
        rpc_server_shutdown(s->rpc);
    }
    if (now >= s->stop_by_ms || (s->shut && quiet && heard)) {
        rpc_server_cancel(s->rpc);
    }
    if (now + DRAIN_MS >= s->stop_by_ms + CANCEL_MS) {
        chunk_calls_cancel(&s->chunk_caller);
    }
}

static void tick(struct server *s, time_ms now)
{
    scan_tick(s);
    care_tick(s, now);
    recoveries_tick(s, now);
    if (s->status.is_leader && !s->stopping) {
        leases_tick(s, now);
        trash_tick(s, now);
    }
    mutates_retry(s, now);
    backup_tick(s, now);
    server_reads_tick(s, now);
    server_page_tick(s, now);
    gauge_set(s->metrics.mailbox, (int64_t)mailbox_depth(s->mailbox));
    gauge_set(s->metrics.workers, (int64_t)workpool_depth(s->workers));
    if (s->stopping) {
        drain_tick(s, now);
    }
}

static bool is_drained(const struct server *s)
{
    return s->shut && rpc_server_is_drained(s->rpc) && s->mutates == 0 && s->jobs == 0 &&
           list_empty(&s->chunk_caller.calls) && !s->expire_running && !s->reap_running &&
           !s->tick_running && !s->admin_running && trash_is_idle(s) && server_reads_idle(s) &&
           consensus_idle(s->consensus);
}

int server_run(struct server *s, struct err *e)
{
    time_ms next = clock_mono_ms();
    mailbox_own(s->mailbox);
    if (!s->ready) {
        daemon_status("waiting for a leader, which takes a majority of the file masters");
    }
    rpc_watchdog_start(&s->watchdog, s->loop);
    while (s->failure.code == 0 && !is_drained(s)) {
        run_owner(s, MIN(next, consensus_next_ms(s->consensus)));
        time_ms now = clock_mono_ms();
        if (now >= consensus_next_ms(s->consensus)) {
            consensus_tick(s->consensus, now);
        }
        if (now >= next) {
            tick(s, now);
            next = now + OWNER_TICK_MS;
        }
    }
    rpc_watchdog_stop(&s->watchdog);
    if (s->failure.code < 0) {
        *e = s->failure;
        return s->failure.code;
    }
    log_info("fsmaster", "drained applied=%" PRIu64, s->totals.applied.index);
    return 0;
}

void server_stop(struct server *s, int count)
{
    if (count == 1 || count == 2) {
        mailbox_post_reserved(s->mailbox, &s->stop_mails[count - 1]);
    }
}

/* ---- End ------------------------------------------------------------------------------------- */

static void run_until_idle(struct server *s)
{
    while (!consensus_idle(s->consensus) || !server_reads_idle(s)) {
        run_owner(s, clock_mono_ms() + 1);
        consensus_tick(s->consensus, clock_mono_ms());
    }
}

static void free_rpc(struct server *s)
{
    rpc_server_free(s->rpc);
    (void)mailbox_run(s->mailbox, 0); /* lost messages, which name the transport */
    mailbox_set_waker(s->mailbox, NULL, NULL);
    rpc_pool_free(s->chunk_caller.pool);
    rpc_loop_free(s->loop);
    if (s->transport) {
        raft_transport_close(s->transport);
    }
    raft_transport_free(s->transport);
    rpc_tls_free(s->tls);
}

void server_free(struct server *s)
{
    if (!s) {
        return;
    }
    daemon_page_stop(s->page);
    if (s->consensus) {
        server_reads_close(s);
        consensus_close(s->consensus);
        run_until_idle(s);
        consensus_free(s->consensus);
    }
    free_rpc(s);
    workpool_free(s->workers);
    (void)mailbox_run(s->mailbox, 0);
    mailbox_close(s->mailbox);
    for (int i = s->stop_count; i < (int)ARRAY_COUNT(s->stop_mails); i++) {
        mailbox_unreserve(s->mailbox);
    }
    backup_free(s);
    server_reads_free(s->reads);
    recoveries_free(s);
    deletions_free(s);
    scan_free(s);
    trash_free(s->trash);
    repair_queue_free(s->repair);
    lease_table_free(s->leases);
    balancing_free(s->balancing);
    leaving_free(s->leaving);
    locations_free(s->locations);
    chunkservers_free(s->servers);
    state_close(s->state);
    datadir_close(&s->datadir);
    mailbox_free(s->mailbox);
    metrics_free(s->metrics.registry);
    free((char *)s->superuser);
    free(s);
}
