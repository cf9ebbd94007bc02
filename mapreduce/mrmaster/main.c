/* mrmaster: schedules MapReduce jobs on the workers that join it. See docs/operations.md. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/daemon.h"
#include "common/ident.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/rpc/daemon_page.h"
#include "common/rpc/rpc.h"
#include "common/rpc/rpc_server.h"
#include "common/rpc/rpc_watchdog.h"
#include "common/sys.h"
#include "mapreduce/master.h"

struct options {
    const char *data;
    const char *listen;
    const char *masters;
    const char *user;
    const char *host;
    const char *rack;
    const char *http;
    const char *log_level;
    const char *tls_ca, *tls_cert, *tls_key;
    bool insecure;
    uint64_t worker_silent_ms;
    uint64_t history_ms;
    int64_t ready_fd;
};

#define AT(field) offsetof(struct options, field)

static const struct config_row rows[] = {
    {.key = "data",
     .type = CONFIG_STRING,
     .offset = AT(data),
     .value_name = "DIR",
     .flags = CONFIG_REQUIRED,
     .help = "Directory of this daemon's identity. Jobs themselves are kept in the store."},
    {.key = "listen",
     .type = CONFIG_STRING,
     .offset = AT(listen),
     .value_name = "HOST:PORT",
     .default_text = "127.0.0.1:7200",
     .help = "Address to serve at; port 0 takes any free one."},
    {.key = "masters",
     .type = CONFIG_STRING,
     .offset = AT(masters),
     .value_name = "HOST:PORT,...",
     .env = "DFS_MASTER",
     .flags = CONFIG_REQUIRED,
     .help = "The file masters."},
    {.key = "user",
     .type = CONFIG_STRING,
     .offset = AT(user),
     .help = "Name under which /system/mr is kept in the "
             "store; the default is the login name. It must be the store's superuser."},
    {.key = "host",
     .type = CONFIG_STRING,
     .offset = AT(host),
     .help = "Host label; the default is the host name."},
    {.key = "rack",
     .type = CONFIG_STRING,
     .offset = AT(rack),
     .default_text = "default",
     .help = "Rack label."},
    {.key = "worker-silent",
     .type = CONFIG_DURATION,
     .offset = AT(worker_silent_ms),
     .default_text = "10s",
     .min = 1000,
     .max = 3600LL * 1000,
     .help = "A worker that says nothing for so long is given up, and what it had "
             "runs again elsewhere. One whose connection breaks is given up at once."},
    {.key = "history",
     .type = CONFIG_DURATION,
     .offset = AT(history_ms),
     .default_text = "168h",
     .min = 1000,
     .max = INT64_MAX,
     .help = "How long ended jobs are remembered."},
    {.key = "http",
     .type = CONFIG_STRING,
     .offset = AT(http),
     .value_name = "HOST:PORT",
     .help = "Address for /metrics, /healthz and /varz; nothing is served unless it is given."},
    {.key = "tls-ca",
     .type = CONFIG_STRING,
     .offset = AT(tls_ca),
     .value_name = "FILE",
     .help = "The cluster's CA, PEM."},
    {.key = "tls-cert",
     .type = CONFIG_STRING,
     .offset = AT(tls_cert),
     .value_name = "FILE",
     .help = "Own certificate, PEM."},
    {.key = "tls-key",
     .type = CONFIG_STRING,
     .offset = AT(tls_key),
     .value_name = "FILE",
     .help = "Its key, PEM."},
    {.key = "insecure",
     .type = CONFIG_BOOL,
     .offset = AT(insecure),
     .help = "Serve plain text on an address that is not loopback. Anybody who reaches it can then "
             "act as anybody."},
    {.key = "log-level",
     .type = CONFIG_STRING,
     .offset = AT(log_level),
     .default_text = "info",
     .choices = "error|warning|info|debug",
     .help = "How much goes to stderr."},
    {.key = "ready-fd",
     .type = CONFIG_INT,
     .offset = AT(ready_fd),
     .default_text = "-1",
     .min = -1,
     .max = 1 << 20,
     .flags = CONFIG_FLAG_ONLY,
     .help = "Descriptor to which \"ready HOST:PORT\" is written once the daemon serves."},
};

static const struct config_program program = {
    .name = "mrmaster",
    .summary = "schedules MapReduce jobs on the workers that join it",
    .description =
        "mrmaster accepts jobs from `mr run`, cuts their input into splits, and gives tasks to "
        "workers near "
        "the bytes. Every acknowledged job is in the store: a mrmaster that is killed and started "
        "again takes unfinished jobs up. One that is started while another runs takes over: the "
        "older one can commit nothing any more, notices that within seconds and ends with status "
        "0.",
    .rows = rows,
    .row_count = ARRAY_COUNT(rows),
};

/* Everything between start and end, so that one place can undo any prefix of it. */
struct process {
    struct options options;
    struct config config;
    struct datadir data;
    struct daemon_signals *signals;
    struct rpc_tls *tls;
    struct rpc_loop *loop;
    struct rpc_watchdog watchdog;
    struct rpc_server *server;
    struct mr_master *master;
    struct daemon_page page;
    struct buf host;
    struct buf user;
    struct buf address; /* HOST:PORT that is served */
};

static void stop_on_owner(void *arg)
{
    struct process *p = arg;
    mr_master_drain(p->master);
    rpc_loop_stop(p->loop);
}

static void on_signal(void *context, int signal_number, int count)
{
    struct process *p = context;
    if (count > 1) {
        _Exit(128 + signal_number);
    }
    if (!p->loop || !rpc_loop_runs(p->loop)) { /* nothing is promised; the store may stay away */
        log_info("mrmaster", "ended while it did not serve");
        _Exit(0);
    }
    rpc_loop_post(p->loop, stop_on_owner, p);
}

static void on_deposed(void *arg)
{
    struct process *p = arg;
    rpc_loop_stop(p->loop);
}

/* "127.0.0.1:0" and the port bound -> "127.0.0.1:40123". */
static void set_address(struct process *p)
{
    const char *colon = strrchr(p->options.listen, ':');
    buf_append(&p->address, p->options.listen, (size_t)(colon - p->options.listen));
    buf_printf(&p->address, ":%d", rpc_server_port(p->server, 0));
}

/* Before the master starts, which may wait for the store: that is when people look. */
static int start_page(struct process *p, struct err *e)
{
    p->page = (struct daemon_page){.role = "mrmaster",
                                   .address = p->address.data,
                                   .config = &p->config,
                                   .program = &program,
                                   .options = &p->options,
                                   .server = p->server};
    return daemon_page_start(&p->page, mr_master_metrics(p->master), p->options.http, e);
}

static int start(struct process *p, struct err *e)
{
    const struct options *o = &p->options;
    int r = datadir_open(&p->data, o->data, "mrmaster", e);
    if (r == 0 && o->tls_ca) {
        r = rpc_tls_new(o->tls_ca, o->tls_cert, o->tls_key, &p->tls, e);
    }
    if (r < 0) {
        return r;
    }
    sys_host_name(&p->host);
    sys_user_name(&p->user);
    struct mr_master_options master = {.loop = p->loop,
                                       .masters = o->masters,
                                       .user = o->user ? o->user : p->user.data,
                                       .host = o->host ? o->host : p->host.data,
                                       .rack = o->rack,
                                       .tls_ca = o->tls_ca,
                                       .tls_cert = o->tls_cert,
                                       .tls_key = o->tls_key,
                                       .worker_silent_ms = o->worker_silent_ms,
                                       .history_ms = o->history_ms,
                                       .deposed = on_deposed,
                                       .arg = p};
    p->master = mr_master_new(&master);
    struct rpc_service service = {.rows = mr_master_rows, .service = p->master};
    struct rpc_server_options server = {.addresses = &o->listen,
                                        .address_count = 1,
                                        .tls = p->tls,
                                        .insecure = o->insecure,
                                        .class = RPC_CONTROL,
                                        .loops = &p->loop,
                                        .loop_count = 1,
                                        .services = &service,
                                        .service_count = 1};
    r = rpc_server_new(&server, &p->server, e);
    if (r == 0) {
        set_address(p);
        r = start_page(p, e);
    }
    if (r == 0) {
        daemon_status("asking the file masters for the jobs");
        r = mr_master_start(p->master, e);
    }
    return r;
}

static int run(struct process *p, struct err *e)
{
    int r = start(p, e);
    if (r == 0) {
        log_info("mrmaster", "serving address=%s", p->address.data);
        r = daemon_ready((int)p->options.ready_fd, p->address.data, e);
    }
    if (r == 0) {
        rpc_watchdog_start(&p->watchdog, p->loop);
        rpc_loop_run(p->loop);
        rpc_watchdog_stop(&p->watchdog);
        daemon_stopping();
    }
    return r;
}

static void stop(struct process *p, int failed)
{
    time_ms deadline = clock_mono_ms() + DRAIN_MS;
    if (p->server) {
        rpc_server_drain(p->server, deadline);
        daemon_page_stop(&p->page);
    }
    if (p->master && !mr_master_settle(p->master, deadline)) {
        _Exit(failed);
    }
    rpc_server_free(p->server);
    mr_master_free(p->master);
    daemon_signals_stop(p->signals);
    rpc_loop_free(p->loop);
    rpc_tls_free(p->tls);
    datadir_close(&p->data);
    buf_deinit(&p->host);
    buf_deinit(&p->user);
    buf_deinit(&p->address);
    config_deinit(&p->config);
}

int main(int argc, char **argv)
{
    struct process p = {.data = {.lock_fd = -1}};
    struct err e = ERR_INIT;
    buf_init(&p.host);
    buf_init(&p.user);
    buf_init(&p.address);
    int code = config_start(&p.config, &program, &p.options, argc, argv);
    if (code >= 0) {
        return code;
    }
    enum log_level level = LOG_LEVEL_INFO;
    int r = log_level_from_name(p.options.log_level, &level, &e);
    log_init(level, NULL, NULL);
    p.signals = daemon_signals_start(on_signal, &p);
    rpc_init();
    p.loop = rpc_loop_new();
    r = r < 0 ? r : run(&p, &e);
    if (r < 0) {
        log_error("mrmaster", "cannot run error=\"%s\"", err_message(&e));
    }
    stop(&p, r < 0);
    rpc_exit();
    return r < 0 ? 1 : 0;
}
