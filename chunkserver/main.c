/* chunkserver: keeps chunks on local disks. See docs/chunkserver.md. */
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "chunkserver/server.h"
#include "common/config.h"
#include "common/daemon.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/rpc/daemon_page.h"
#include "common/rpc/rpc.h"

#define AT(field) offsetof(struct server_options, field)

static const struct config_row rows[] = {
    {.key = "data",
     .type = CONFIG_LIST,
     .offset = AT(data),
     .value_name = "DIR,...",
     .flags = CONFIG_REQUIRED,
     .help =
         "Directory for chunks, their index and this server's identity; with several disks, one on "
         "each of them. Made at the server's first start; later a directory that is not there is a "
         "disk that failed, and one that is empty is a new disk. One of another cluster or server, "
         "or in use, is refused."},
    {.key = "failed-disks-max",
     .type = CONFIG_INT,
     .offset = AT(failed_disks_max),
     .value_name = "N",
     .default_text = "0",
     .min = 0,
     .max = DISK_COUNT_MAX,
     .help = "Go on without so many of several data directories, at the start and later. Their "
             "chunks are copied anew from other servers. With more than that, or none left, the "
             "process ends."},
    {.key = "masters",
     .type = CONFIG_LIST,
     .offset = AT(masters),
     .value_name = "HOST:PORT,...",
     .env = "DFS_MASTER",
     .help = "The file masters. Without any the server serves, but reports to nobody: for tests."},
    {.key = "listen",
     .type = CONFIG_STRING,
     .offset = AT(listen),
     .value_name = "HOST:PORT",
     .default_text = "127.0.0.1:7100",
     .help =
         "Address to serve at; port 0 takes any free one. Other addresses than loopback need TLS "
         "or --insecure."},
    {.key = "advertise",
     .type = CONFIG_STRING,
     .offset = AT(advertise),
     .value_name = "HOST:PORT",
     .help = "Address that others reach this server by; the default is that of --listen. It is "
             "needed when that is every address of the machine."},
    {.key = "host",
     .type = CONFIG_STRING,
     .offset = AT(host),
     .help = "Host label; the default is the host name. Readers and tasks with the same label are "
             "local."},
    {.key = "rack",
     .type = CONFIG_STRING,
     .offset = AT(rack),
     .default_text = "default",
     .help = "Rack label; copies are spread over racks."},
    {.key = "local-socket",
     .type = CONFIG_STRING,
     .offset = AT(local_socket),
     .value_name = "FILE",
     .help = "Unix socket for reads by descriptor; the default is local.sock in the first data "
             "directory."},
    {.key = "capacity",
     .type = CONFIG_SIZE,
     .offset = AT(capacity_bytes),
     .default_text = "0",
     .help = "Bytes of chunks that each data directory holds at most; 0 means as much as its disk "
             "takes."},
    {.key = "scrub-rate",
     .type = CONFIG_SIZE,
     .offset = AT(scrub_bytes),
     .default_text = "8M",
     .help = "Bytes per second read in the background in each data directory, to find rot early; 0 "
             "turns it off."},
    {.key = "trash-time",
     .type = CONFIG_DURATION,
     .offset = AT(trash_ms),
     .default_text = "10m",
     .max = 365LL * 24 * 3600 * 1000,
     .help = "How long the files of deleted chunks wait in DIR/trash."},
    {.key = "http",
     .type = CONFIG_STRING,
     .offset = AT(http),
     .value_name = "HOST:PORT",
     .help = "Address for /metrics, /healthz and /varz."},
    {.key = "pollers",
     .type = CONFIG_INT,
     .offset = AT(pollers),
     .default_text = "1",
     .min = 1,
     .max = RPC_SERVER_LOOP_COUNT_MAX,
     .help = "Threads that move bytes to and from the network; one does about 2 GB/s."},
    {.key = "workers",
     .type = CONFIG_INT,
     .offset = AT(workers),
     .default_text = "8",
     .min = 1,
     .max = 256,
     .help = "Threads that read, write and verify chunks; so many for each data directory."},
    {.key = "tls-ca",
     .type = CONFIG_STRING,
     .offset = AT(tls_ca),
     .value_name = "FILE",
     .help = "The cluster's CA, PEM."},
    {.key = "tls-cert",
     .type = CONFIG_STRING,
     .offset = AT(tls_cert),
     .value_name = "FILE",
     .help = "This server's certificate, PEM."},
    {.key = "tls-key",
     .type = CONFIG_STRING,
     .offset = AT(tls_key),
     .value_name = "FILE",
     .help = "Its private key, PEM."},
    {.key = "insecure",
     .type = CONFIG_BOOL,
     .offset = AT(insecure),
     .help = "Serve other addresses than loopback without TLS."},
    {.key = "log-level",
     .type = CONFIG_STRING,
     .offset = AT(log_level),
     .default_text = "info",
     .choices = "error|warning|info|debug",
     .help = "Least level of log lines on stderr."},
    {.key = "ready-fd",
     .type = CONFIG_INT,
     .offset = AT(ready_fd),
     .value_name = "FD",
     .default_text = "-1",
     .min = -1,
     .max = 1 << 20,
     .flags = CONFIG_FLAG_ONLY,
     .help = "Write `ready HOST:PORT` to this descriptor once the server serves and a file master "
             "has accepted it."},
};

static const struct config_program program = {
    .name = "chunkserver",
    .summary = "keep the chunks of a Trireme store on local disks",
    .description =
        "One per machine, with a data directory on each disk. Chunks are written in chains of "
        "replicas, read by whole "
        "checksummed blocks, verified in the background, and copied when another server is lost. "
        "SIGTERM ends streams and stops cleanly; a second one stops at once.",
    .footer = "Exit codes: 0 after SIGTERM, 1 on failure (a data directory that cannot be used or "
              "is another server's), 2 on a wrong command line, 3 when a disk failed.\n",
    .rows = rows,
    .row_count = ARRAY_COUNT(rows),
};

static volatile sig_atomic_t started; /* the server can be asked to stop */

static void on_signal(void *context, int signal_number, int count)
{
    (void)signal_number;
    if (count > 2 || !started) {
        _exit(1); /* before the start nothing was promised; the third time somebody means it */
    }
    server_stop(context);
}

int main(int argc, char **argv)
{
    static struct server server;
    static struct server_options options;
    struct config config;
    struct daemon_page page = {
        .role = "chunkserver", .config = &config, .program = &program, .options = &options};
    int code = config_start(&config, &program, &options, argc, argv);
    if (code >= 0) {
        return code;
    }
    struct err e = ERR_INIT;
    enum log_level level = LOG_LEVEL_INFO;
    if (log_level_from_name(options.log_level, &level, &e) < 0) {
        return 2; /* config_start() has checked the choices */
    }
    log_init(level, NULL, NULL);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of the write, not our end */
    /* Before gRPC has threads: they inherit the mask. */
    struct daemon_signals *signals = daemon_signals_start(on_signal, &server);
    rpc_init();
    code = 0;
    daemon_status("reading the indexes");
    if (server_start(&server, &options, &page, &e) < 0) {
        log_error("chunkserver", "cannot start: %s", err_message(&e));
        code = 1;
    } else {
        started = 1;
        server_run(&server);
    }
    daemon_signals_stop(signals);
    server_deinit(&server);
    rpc_exit();
    config_deinit(&config);
    return code;
}
