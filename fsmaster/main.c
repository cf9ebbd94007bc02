/* fsmaster: the file master's daemon. See docs/operations.md. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "common/config.h"
#include "common/daemon.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/rpc/daemon_page.h"
#include "common/rpc/rpc.h"
#include "fsmaster/rescue.h"
#include "fsmaster/server.h"

#define AT(field) offsetof(struct server_options, field)

/* table */
static const struct config_row rows[] = {
    {.key = "data",
     .type = CONFIG_STRING,
     .offset = AT(data),
     .value_name = "DIR",
     .flags = CONFIG_REQUIRED,
     .help = "Directory of the log and the state. An empty or missing one is made, and forms a new "
             "cluster, with --peers if that is given."},
    {.key = "listen",
     .type = CONFIG_STRING,
     .offset = AT(listen),
     .value_name = "HOST:PORT",
     .default_text = "127.0.0.1:7000",
     .help = "Address to serve at; port 0 takes any free one."},
    {.key = "advertise",
     .type = CONFIG_STRING,
     .offset = AT(advertise),
     .value_name = "HOST:PORT",
     .help = "Address that clients are told; the default is the one listened at."},
    {.key = "host",
     .type = CONFIG_STRING,
     .offset = AT(host),
     .value_name = "LABEL",
     .help = "Host label of this machine; the default is its name."},
    {.key = "rack",
     .type = CONFIG_STRING,
     .offset = AT(rack),
     .value_name = "LABEL",
     .default_text = "default",
     .help = "Rack label of this machine."},
    {.key = "id",
     .type = CONFIG_INT,
     .offset = AT(id),
     .value_name = "N",
     .default_text = "0",
     .min = 0,
     .max = INT64_MAX,
     .help =
         "Number of this file master among its peers. 0 means what the data directory says, and "
         "1 in a new one."},
    {.key = "peers",
     .type = CONFIG_LIST,
     .offset = AT(peers),
     .value_name = "ID=HOST:PORT,...",
     .help =
         "All file masters that form a cluster together, this one included; the same on each of "
         "them. The cluster is formed once, when all of them are there and empty. Afterwards "
         "members come and go by dfs admin raft, and this only says where they are. Without it "
         "a new directory is a cluster of one."},
    {.type = CONFIG_HEADING, .key = "", .help = "After a disaster: do this and end"},
    {.key = "restore",
     .type = CONFIG_STRING,
     .offset = AT(restore),
     .value_name = "FILE",
     .flags = CONFIG_FLAG_ONLY,
     .help = "Make the empty directory --data the first file master of a group of one, from a file "
             "of dfs admin backup. Give --id and --advertise as it will be started."},
    {.key = "recover-quorum",
     .type = CONFIG_BOOL,
     .offset = AT(recover_quorum),
     .default_text = "false",
     .flags = CONFIG_FLAG_ONLY,
     .help =
         "Make the file master of --data, a survivor, a group of one: the others are lost for "
         "good and must never start again. Without --accept-loss it only says where it stands."},
    {.key = "accept-loss",
     .type = CONFIG_BOOL,
     .offset = AT(accept_loss),
     .default_text = "false",
     .flags = CONFIG_FLAG_ONLY,
     .help = "Yes: what was acknowledged after the backup, or without this survivor, is lost."},
    {.type = CONFIG_HEADING, .key = "", .help = "Settings of a new cluster"},
    {.key = "cluster-id",
     .type = CONFIG_STRING,
     .offset = AT(cluster_id),
     .value_name = "HEX",
     .help = "Identity of the cluster, 32 hexadecimal digits; the default is drawn at random. A "
             "directory of another cluster is refused."},
    {.key = "replication",
     .type = CONFIG_INT,
     .offset = AT(replication),
     .value_name = "N",
     .default_text = "0",
     .min = 0,
     .max = CHUNK_REPLICAS_MAX,
     .help = "Copies of each chunk unless a file asks for another number. 0 means 3, or 1 with "
             "--single."},
    {.key = "single",
     .type = CONFIG_BOOL,
     .offset = AT(single),
     .default_text = "false",
     .help = "The cluster lives on this one machine: one copy by default. dfs report says so."},
    {.key = "superuser",
     .type = CONFIG_STRING,
     .offset = AT(superuser),
     .value_name = "NAME",
     .help = "User who passes every permission check; the default is whoever runs the daemon."},
    {.type = CONFIG_HEADING, .key = "", .help = "Security"},
    {.key = "insecure",
     .type = CONFIG_BOOL,
     .offset = AT(insecure),
     .default_text = "false",
     .help = "Serve plain text at an address that is not loopback."},
    {.key = "tls-ca",
     .type = CONFIG_STRING,
     .offset = AT(tls_ca),
     .value_name = "FILE",
     .help = "Certificate of the cluster's CA; with it and the next two, TLS is used."},
    {.key = "tls-cert",
     .type = CONFIG_STRING,
     .offset = AT(tls_cert),
     .value_name = "FILE",
     .help = "Certificate of this daemon."},
    {.key = "tls-key",
     .type = CONFIG_STRING,
     .offset = AT(tls_key),
     .value_name = "FILE",
     .help = "Its key."},
    {.type = CONFIG_HEADING, .key = "", .help = "Behaviour"},
    {.key = "server-dead-ms",
     .type = CONFIG_INT,
     .offset = AT(server_dead_ms),
     .value_name = "MS",
     .default_text = "10000",
     .min = 200,
     .max = 24LL * 3600 * 1000,
     .help = "A chunkserver that is silent for so long counts as lost, and its chunks are copied."},
    {.key = "lease-ms",
     .type = CONFIG_INT,
     .offset = AT(lease_ms),
     .value_name = "MS",
     .default_text = "60000",
     .min = 200,
     .max = 24LL * 3600 * 1000,
     .help = "A writer that does not renew its lease for so long loses its file. Writers count on "
             "60000 at least; less is for tests."},
    {.key = "trash-keep",
     .type = CONFIG_DURATION,
     .offset = AT(trash_keep_ms),
     .value_name = "TIME",
     .default_text = "1d",
     .min = 0,
     .max = INT64_MAX,
     .help = "What dfs rm has moved to the trash is kept for at least so long, for at most twice "
             "that, then the leading file master deletes it. 0 means that users empty their "
             "trashes themselves."},
    {.key = "cache",
     .type = CONFIG_SIZE,
     .offset = AT(cache_bytes),
     .default_text = "64M",
     .min = 1 << 20,
     .max = INT64_MAX,
     .help = "Memory for rows of the state that are read often."},
    {.key = "persist",
     .type = CONFIG_SIZE,
     .offset = AT(persist_bytes),
     .default_text = "16M",
     .min = 4096,
     .max = INT64_MAX,
     .help = "The state is made durable each time the log has grown by so much, which bounds what "
             "a start after a crash has to replay."},
    {.key = "log-keep",
     .type = CONFIG_SIZE,
     .offset = AT(keep_bytes),
     .default_text = "1G",
     .min = 4096,
     .max = INT64_MAX,
     .help =
         "Log that is kept for file masters that are behind. One that is further behind is sent "
         "the whole state."},
    {.key = "log-segment",
     .type = CONFIG_SIZE,
     .offset = AT(segment_bytes),
     .default_text = "64M",
     .min = 64LL * 1024,
     .max = 64LL * 1024 * 1024,
     .flags = CONFIG_HIDDEN,
     .help = "Size of one file of the log."},
    {.key = "heartbeat-ms",
     .type = CONFIG_INT,
     .offset = AT(heartbeat_ms),
     .value_name = "MS",
     .default_text = "0",
     .min = 0,
     .max = 60LL * 1000,
     .help = "A leading file master shows its followers that it lives each so often. 0 means 50."},
    {.key = "election-ms",
     .type = CONFIG_INT,
     .offset = AT(election_ms),
     .value_name = "MS",
     .default_text = "0",
     .min = 0,
     .max = 600LL * 1000,
     .help =
         "File masters that hear no leader for this long, or up to twice as long, elect another "
         "one. At least two heartbeats. 0 means 300."},
    {.key = "workers",
     .type = CONFIG_INT,
     .offset = AT(workers),
     .value_name = "N",
     .default_text = "2",
     .min = 1,
     .max = 256,
     .help = "Threads that answer reads."},
    {.type = CONFIG_HEADING, .key = "", .help = "Seeing inside"},
    {.key = "http",
     .type = CONFIG_STRING,
     .offset = AT(http),
     .value_name = "HOST:PORT",
     .help = "Serve /metrics, /healthz and /varz here."},
    {.key = "audit",
     .type = CONFIG_BOOL,
     .offset = AT(audit),
     .default_text = "true",
     .help = "Log a line for each change of the namespace and each denied operation."},
    {.key = "log-level",
     .type = CONFIG_STRING,
     .offset = AT(log_level),
     .default_text = "info",
     .choices = "error|warning|info|debug",
     .help = "What is logged, to stderr."},
    {.key = "ready-fd",
     .type = CONFIG_INT,
     .offset = AT(ready_fd),
     .value_name = "FD",
     .default_text = "-1",
     .min = -1,
     .max = 1 << 20,
     .flags = CONFIG_FLAG_ONLY,
     .help = "Write \"ready HOST:PORT\" to this descriptor and close it, once clients are served."},
};

static const struct config_program program = {
    .name = "fsmaster",
    .summary = "file master of a Trireme cluster: names, chunks, leases, placement",
    .description = "Keeps the namespace and knows where every chunk is. Everything that it has "
                   "acknowledged is on its disk. SIGTERM ends it cleanly.",
    .footer = "Examples:\n  fsmaster --data /var/lib/trireme/fsmaster --listen 127.0.0.1:7000\n"
              "  fsmaster --data D --listen a:7000 --id 1 --peers 1=a:7000,2=b:7000,3=c:7000\n",
    .rows = rows,
    .row_count = ARRAY_COUNT(rows),
};

static struct server *served; /* for the signal thread; NULL until it may be stopped */

static void on_signal(void *context, int signal_number, int count)
{
    (void)context;
    (void)signal_number;
    if (!served) {
        _exit(0); /* nothing is served yet, and the disk is always ready for a crash */
    }
    server_stop(served, count);
}

/* ---- After a disaster ------------------------------------------------------------------------ */

static void print_rescued(const struct rescue_report *r)
{
    char cluster[CLUSTER_ID_TEXT_BYTES];
    (void)printf("member %" PRIu64 " of cluster %s\n"
                 "its log ends at entry %" PRIu64 " of term %" PRIu64 "\n"
                 "its state, without what is only in the log, stands at entry %" PRIu64 ": %" PRIu64
                 " files, %" PRIu64 " directories, %" PRIu64 " bytes\n",
                 r->member, cluster_id_format(r->cluster, cluster), r->last.index, r->last.term,
                 r->applied, r->totals.files, r->totals.directories, r->totals.bytes);
}

static void print_loss(const struct server_options *o)
{
    const char *what = o->restore && o->restore[0]
                           ? "everything acknowledged after the backup was made"
                           : "everything acknowledged by the other file masters without this one";
    (void)fprintf(stderr,
                  "May be lost: %s. All sessions and writers' leases end. No file master of\n"
                  "the old group may ever run again on its old directory: wipe them first.\n"
                  "Chunks that the state does not know are kept until dfs admin release-orphans.\n"
                  "To do it, say --accept-loss as well.\n",
                  what);
}

static int rescue_run(const struct server_options *o)
{
    struct err e = ERR_INIT;
    struct rescue_report report;
    bool told = o->advertise && o->advertise[0];
    bool is_restore = o->restore && o->restore[0];
    struct rescue_options options = {.data = o->data,
                                     .backup = o->restore,
                                     .id = (uint64_t)o->id,
                                     .advertise = told         ? o->advertise
                                                  : is_restore ? o->listen
                                                               : "",
                                     .cluster_id = o->cluster_id,
                                     .segment_bytes = o->segment_bytes,
                                     .accept_loss = o->accept_loss};
    log_init(LOG_LEVEL_WARNING, NULL, NULL);
    int r = rescue(&options, &report, &e);
    if (report.last.index > 0) {
        print_rescued(&report);
    }
    if (r == ERR_PRECONDITION) {
        print_loss(o);
        return 1;
    }
    if (r < 0) {
        log_error("fsmaster", "%s: %s", is_restore ? "not restored" : "not recovered",
                  err_message(&e));
        return 1;
    }
    (void)printf("It is a group of one now, of %" PRIu64 " before, and begins in term %" PRIu64
                 ".\n"
                 "Start it as usual; then add the others, with empty directories.\n",
                 report.members, report.term);
    return 0;
}

/* ---- Serving --------------------------------------------------------------------------------- */

static int run(const struct server_options *options, struct daemon_page *page)
{
    struct err e = ERR_INIT;
    enum log_level level = LOG_LEVEL_INFO;
    if (log_level_from_name(options->log_level, &level, &e) < 0) {
        log_error("fsmaster", "%s", err_message(&e));
        return 2;
    }
    log_init(level, NULL, NULL);
    struct daemon_signals *signals = daemon_signals_start(on_signal, NULL); /* before threads */
    rpc_init();
    struct server *s = NULL;
    daemon_status("reading the state and the log");
    if (server_start(options, page, &s, &e) < 0) {
        log_error("fsmaster", "cannot start: %s", err_message(&e));
        return 1;
    }
    served = s;
    if (server_run(s, &e) < 0) {
        /* What is in memory is not to be trusted with the disk any more: go at once. */
        log_error("fsmaster", "stopped: %s", err_message(&e));
        _exit(daemon_exit_status(&e));
    }
    server_free(s);
    daemon_signals_stop(signals);
    rpc_exit();
    return 0;
}

int main(int argc, char **argv)
{
    struct config config;
    struct server_options options;
    struct daemon_page page = {
        .role = "fsmaster", .config = &config, .program = &program, .options = &options};
    int exit_code = config_start(&config, &program, &options, argc, argv);
    if (exit_code >= 0) {
        return exit_code;
    }
    bool rescues = options.recover_quorum || (options.restore && options.restore[0]);
    exit_code = rescues ? rescue_run(&options) : run(&options, &page);
    config_deinit(&config);
    return exit_code;
}
