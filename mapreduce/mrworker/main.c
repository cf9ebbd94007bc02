/* mrworker: runs MapReduce tasks beside a chunkserver. See docs/operations.md. */
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/daemon.h"
#include "common/ident.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/metrics.h"
#include "common/parse.h"
#include "common/rpc/daemon_page.h"
#include "common/rpc/rpc.h"
#include "common/rpc/rpc_server.h"
#include "common/rpc/rpc_watchdog.h"
#include "common/sys.h"
#include "mapreduce/spawner.h"
#include "mapreduce/task_pipe.h"
#include "mapreduce/worker.h"
#include "mapreduce/worker_serve.h"

struct options {
    const char *data;
    const char *listen;
    const char *advertise;
    const char *masters;
    const char *mrmaster;
    const char *host;
    const char *rack;
    const char *task_program;
    const char *http;
    const char *log_level;
    const char *tls_ca, *tls_cert, *tls_key;
    bool insecure;
    int64_t slots;
    uint64_t sort_memory;
    uint64_t task_timeout_ms;
    uint64_t log_max;
    uint64_t log_keep_ms;
    uint64_t log_total;
    int64_t ready_fd;
};

#define AT(field) offsetof(struct options, field)

static const struct config_row rows[] = {
    {.key = "data",
     .type = CONFIG_STRING,
     .offset = AT(data),
     .value_name = "DIR",
     .flags = CONFIG_REQUIRED,
     .help = "Directory for map outputs, job files and logs. Nothing in it outlives the daemon but "
             "its identity and logs."},
    {.key = "listen",
     .type = CONFIG_STRING,
     .offset = AT(listen),
     .value_name = "HOST:PORT",
     .default_text = "127.0.0.1:7300",
     .help = "Address to serve map outputs at; port 0 takes any free one."},
    {.key = "advertise",
     .type = CONFIG_STRING,
     .offset = AT(advertise),
     .value_name = "HOST:PORT",
     .help =
         "Address at which other workers reach this one; the default is the one it listens at. It "
         "is needed when that is every address of the machine."},
    {.key = "masters",
     .type = CONFIG_STRING,
     .offset = AT(masters),
     .value_name = "HOST:PORT,...",
     .env = "DFS_MASTER",
     .flags = CONFIG_REQUIRED,
     .help = "The file masters."},
    {.key = "mrmaster",
     .type = CONFIG_STRING,
     .offset = AT(mrmaster),
     .value_name = "HOST:PORT,...",
     .env = "MR_MASTER",
     .flags = CONFIG_REQUIRED,
     .help = "The mrmaster to work for, and others that may take over from it."},
    {.key = "host",
     .type = CONFIG_STRING,
     .offset = AT(host),
     .help = "Host label; the default is the host name. Give it "
             "the same label as the chunkserver beside it: maps go where their label is."},
    {.key = "rack",
     .type = CONFIG_STRING,
     .offset = AT(rack),
     .default_text = "default",
     .help = "Rack label."},
    {.key = "slots",
     .type = CONFIG_INT,
     .offset = AT(slots),
     .default_text = "0",
     .min = 0,
     .max = WORKER_SLOT_COUNT_MAX,
     .help = "Tasks at one time; 0 is the number of processors."},
    {.key = "sort-memory",
     .type = CONFIG_SIZE,
     .offset = AT(sort_memory),
     .default_text = "128M",
     .min = 1 << 20,
     .max = INT64_MAX,
     .help = "Memory in which a map task sorts its output before it spills, unless its job says "
             "otherwise."},
    {.key = "task-timeout",
     .type = CONFIG_DURATION,
     .offset = AT(task_timeout_ms),
     .default_text = "10m",
     .min = 1000,
     .max = INT64_MAX,
     .help = "A task without any sign of progress for so long is ended, unless its job says "
             "otherwise."},
    {.key = "task-log-max",
     .type = CONFIG_SIZE,
     .offset = AT(log_max),
     .default_text = "16M",
     .min = 64 << 10,
     .max = INT64_MAX,
     .help = "Of what an attempt writes to stderr, so much is kept. The middle of a longer log is "
             "left out."},
    {.key = "task-log-keep",
     .type = CONFIG_DURATION,
     .offset = AT(log_keep_ms),
     .default_text = "168h",
     .min = 1000,
     .max = INT64_MAX,
     .help = "How long the logs of a job's attempts are kept after the last word in them."},
    {.key = "task-log-total",
     .type = CONFIG_SIZE,
     .offset = AT(log_total),
     .default_text = "4G",
     .min = 0,
     .max = INT64_MAX,
     .help = "Logs of all jobs together. When they are longer, those of the oldest ended jobs are "
             "removed before their time."},
    {.key = "task-program",
     .type = CONFIG_STRING,
     .offset = AT(task_program),
     .value_name = "FILE",
     .help = "The mrtask program; the default is the one beside mrworker."},
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
             "read map outputs."},
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
     .help = "Descriptor to which \"ready HOST:PORT\" is written once mrmaster has the worker."},
};

static const struct config_program program = {
    .name = "mrworker",
    .summary = "runs MapReduce tasks, beside a chunkserver",
    .description = "mrworker joins a mrmaster and runs the tasks it is given as processes of their "
                   "own, so that a task that "
                   "crashes, hangs or eats memory harms nobody else. Map outputs stay on its disk, "
                   "from where reduces "
                   "fetch them, until their job has ended.",
    .rows = rows,
    .row_count = ARRAY_COUNT(rows),
};

/* Everything between start and end, so that one place can undo any prefix of it. */
struct process {
    struct options options;
    struct config config;
    struct datadir data;
    struct daemon_signals *signals;
    struct spawner spawner;
    struct rpc_tls *tls;
    struct rpc_loop *loop; /* control: all state */
    struct rpc_watchdog watchdog;
    struct rpc_loop *serve; /* map outputs and logs */
    struct rpc_server *server;
    struct mr_worker_process *worker;
    struct metrics *metrics;
    struct worker_serve serving;
    struct daemon_page page;
    struct buf host;
    struct buf user;
    struct buf address;
    struct rpc_timer leave_timer;
};

/* ---- Start ---- */

/* "127.0.0.1:0" and the port bound -> "127.0.0.1:40123". */
static void set_address(struct process *p)
{
    const char *colon = strrchr(p->options.listen, ':');
    if (p->options.advertise) {
        buf_append_str(&p->address, p->options.advertise);
    } else {
        buf_append(&p->address, p->options.listen, (size_t)(colon - p->options.listen));
        buf_printf(&p->address, ":%d", rpc_server_port(p->server, 0));
    }
}

static void set_env(const char *name, const char *value)
{
    (void)(value ? setenv(name, value, 1) : unsetenv(name)); /* fails on a bad name only */
}

/* What every task process finds in its environment (task_pipe.h). The address is known only later,
 * so the server is made first. */
static void set_task_environment(const struct process *p)
{
    const struct options *o = &p->options;
    char number[32];
    (void)snprintf(number, sizeof(number), "%" PRIu64, o->sort_memory);
    set_env("MRTASK_DATA", o->data);
    set_env("MRTASK_MASTERS", o->masters);
    set_env("MRTASK_HOST", o->host ? o->host : p->host.data);
    set_env("MRTASK_RACK", o->rack);
    set_env("MRTASK_ADDRESS", TASK_ADDRESS_LOCAL);
    set_env("MRTASK_SORT_BYTES", number);
    set_env("MRTASK_TLS_CA", o->tls_ca);
    set_env("MRTASK_TLS_CERT", o->tls_cert);
    set_env("MRTASK_TLS_KEY", o->tls_key);
}

/* The directory of this program and "/mrtask". */
static int find_task_program(const struct options *o, struct buf *out, struct err *e)
{
    if (o->task_program) {
        buf_append_str(out, o->task_program);
        return 0;
    }
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0) {
        return err_errno(e, "readlink /proc/self/exe");
    }
    self[n] = '\0';
    buf_append(out, self, (size_t)(strrchr(self, '/') - self));
    buf_append_str(out, "/mrtask");
    return 0;
}

/* Before any thread: the spawner forks. */
static int start_spawner(struct process *p, struct err *e)
{
    struct buf path = BUF_INIT;
    int r = find_task_program(&p->options, &path, e);
    if (r == 0) {
        char *argv[] = {path.data, (char *)p->options.data, NULL};
        set_task_environment(p);
        r = spawner_start(&p->spawner, argv, e);
    }
    buf_deinit(&path);
    return r;
}

static void on_joined(void *arg)
{
    struct process *p = arg;
    struct err e = ERR_INIT;
    if (daemon_ready((int)p->options.ready_fd, p->address.data, &e) < 0) {
        log_warning("mrworker", "nobody told that we are ready error=\"%s\"", err_message(&e));
    }
}

static int start_server(struct process *p, struct err *e)
{
    struct rpc_service service = {.rows = mr_worker_rows, .service = &p->serving};
    struct rpc_server_options server = {.addresses = &p->options.listen,
                                        .address_count = 1,
                                        .tls = p->tls,
                                        .insecure = p->options.insecure,
                                        .class = RPC_BULK,
                                        .loops = &p->serve,
                                        .loop_count = 1,
                                        .services = &service,
                                        .service_count = 1};
    worker_serve_init(&p->serving, p->options.data, p->metrics);
    const char *told = p->options.advertise ? p->options.advertise : p->options.listen;
    int r = address_advertised_check(told, e);
    r = r < 0 ? r : rpc_server_new(&server, &p->server, e);
    if (r < 0) {
        return r;
    }
    set_address(p);
    return rpc_loop_start_thread(p->serve, "serve", e);
}

static int start_page(struct process *p, struct err *e)
{
    p->page = (struct daemon_page){.role = "mrworker",
                                   .address = p->address.data,
                                   .config = &p->config,
                                   .program = &program,
                                   .options = &p->options,
                                   .server = p->server};
    metrics_report(p->metrics, &(struct metrics_report){.trouble = "mrworker starts"});
    return daemon_page_start(&p->page, p->metrics, p->options.http, e);
}

static int start_worker(struct process *p, struct err *e)
{
    const struct options *o = &p->options;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct worker_options worker = {
        .loop = p->loop,
        .spawner = &p->spawner,
        .metrics = p->metrics,
        .data = o->data,
        .mrmaster = o->mrmaster,
        .masters = o->masters,
        .address = p->address.data,
        .host = o->host ? o->host : p->host.data,
        .rack = o->rack,
        .key = p->data.ident.key,
        .tls = p->tls,
        .tls_ca = o->tls_ca,
        .tls_cert = o->tls_cert,
        .tls_key = o->tls_key,
        .user = p->user.data,
        .slots = o->slots > 0 ? (uint32_t)o->slots : (uint32_t)(processors > 0 ? processors : 1),
        .task_timeout_ms = o->task_timeout_ms,
        .log_bytes_max = o->log_max,
        .log_keep_ms = o->log_keep_ms,
        .log_total_bytes = o->log_total,
        .joined = on_joined,
        .arg = p};
    return worker_start(&worker, &p->worker, e);
}

/* ---- End ---- */

static void leave(void *arg)
{
    enum { POLL_MS = 10 };
    struct process *p = arg;
    if (worker_idle(p->worker)) {
        rpc_loop_stop(p->loop);
    } else {
        rpc_timer_set(p->loop, &p->leave_timer, clock_mono_ms() + POLL_MS, leave, p);
    }
}

static void stop_on_owner(void *arg)
{
    struct process *p = arg;
    rpc_watchdog_stop(&p->watchdog);
    daemon_stopping();
    worker_leave(p->worker);
    leave(p);
}

static void on_signal(void *context, int signal_number, int count)
{
    struct process *p = context;
    if (count > 1) {
        _Exit(128 + signal_number);
    }
    rpc_loop_post(p->loop, stop_on_owner, p);
}

static void stop(struct process *p)
{
    if (p->server) {
        rpc_server_drain(p->server, clock_mono_ms() + DRAIN_MS);
        rpc_loop_join_thread(p->serve);
        daemon_page_stop(&p->page);
        rpc_server_free(p->server);
    }
    worker_process_free(p->worker);
    daemon_signals_stop(p->signals);
    rpc_loop_free(p->serve);
    rpc_loop_free(p->loop);
    rpc_tls_free(p->tls);
    spawner_stop(&p->spawner);
    datadir_close(&p->data);
    metrics_free(p->metrics);
    buf_deinit(&p->host);
    buf_deinit(&p->user);
    buf_deinit(&p->address);
    config_deinit(&p->config);
}

static int run(struct process *p, struct err *e)
{
    sys_host_name(&p->host);
    sys_user_name(&p->user);
    int r = datadir_open(&p->data, p->options.data, "mrworker", e);
    r = r < 0 ? r : start_spawner(p, e);
    if (r < 0) {
        return r;
    }
    p->signals = daemon_signals_start(on_signal, p);
    rpc_init();
    p->loop = rpc_loop_new();
    p->serve = rpc_loop_new();
    p->metrics = metrics_new();
    if (p->options.tls_ca) {
        r = rpc_tls_new(p->options.tls_ca, p->options.tls_cert, p->options.tls_key, &p->tls, e);
    }
    r = r < 0 ? r : start_server(p, e);
    r = r < 0 ? r : start_page(p, e);
    daemon_status("waiting for a mrmaster to accept this worker");
    r = r < 0 ? r : start_worker(p, e);
    if (r == 0) {
        log_info("mrworker", "serving address=%s", p->address.data);
        rpc_watchdog_start(&p->watchdog, p->loop);
        rpc_loop_run(p->loop);
        rpc_watchdog_stop(&p->watchdog);
    }
    return r;
}

int main(int argc, char **argv)
{
    struct process p = {.data = {.lock_fd = -1}, .spawner = {.fd = -1}};
    struct err e = ERR_INIT;
    enum log_level level = LOG_LEVEL_INFO;
    buf_init(&p.host);
    buf_init(&p.user);
    buf_init(&p.address);
    int code = config_start(&p.config, &program, &p.options, argc, argv);
    if (code >= 0) {
        return code;
    }
    int r = log_level_from_name(p.options.log_level, &level, &e);
    log_init(level, NULL, NULL);
    r = r < 0 ? r : run(&p, &e);
    if (r < 0) {
        log_error("mrworker", "cannot run error=\"%s\"", err_message(&e));
    }
    stop(&p);
    return r < 0 ? 1 : 0;
}
