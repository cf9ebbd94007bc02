/* Our RPC beside raw TCP, over loopback, client and server in processes of their own.
 *
 *     rpc_bench [--json] [--seconds S] [--repeats N]    measures, prints medians
 *     rpc_bench serve [ADDRESS [CA CERT KEY]]           an echo server; prints its port, ends with
 * its stdin rpc_bench tcp                                     the same in raw TCP
 *
 * Latency alone is that of one call at a time; at 64 the client keeps so many in flight on one
 * connection (raw TCP: so many requests of 64 bytes in the pipe). Streams carry messages of 1 MiB.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/rpc/rpc_server.h"
#include "common/rpc/rpc_stream.h"
#include "common/sys.h"
#include "proto/echo.pb-c.h"
#include "tests/lib/echo_rpc.h"

enum {
    IN_FLIGHT = 64,
    REQUEST_BYTES = 64,
    REPEATS_MAX = 51,
    LATENCIES_MAX = 1 << 20,
};

static void die(const char *what, const struct err *e)
{
    (void)fprintf(stderr, "rpc_bench: %s: %s\n", what, e ? err_message(e) : strerror(errno));
    exit(1);
}

/* ---- CPU time ---- */

/* Seconds that the threads of another process have run: the first figure of each schedstat is in
 * nanoseconds. */
static double cpu_of(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    double seconds = 0;
    CHECK(tasks != NULL);
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        struct buf text = BUF_INIT;
        char *stat = xprintf("%s/%s/schedstat", path, task->d_name);
        if (task->d_name[0] != '.' && sys_read_file(stat, 256, &text, NULL) == 0) {
            seconds += (double)strtoull(text.data, NULL, 10) / 1e9;
        }
        free(stat);
        buf_deinit(&text);
    }
    (void)closedir(tasks);
    return seconds;
}

static double cpu_of_us(void)
{
    return (double)clock_cpu_us() / 1e6;
}

/* ---- Servers, as children ---- */

struct child {
    pid_t pid;
    int stdin_fd; /* closing it ends the child */
    int port;
};

static struct child spawn(const char *mode)
{
    int in[2], out[2];
    struct child child = {0};
    CHECK(pipe(in) == 0);
    CHECK(pipe(out) == 0);
    child.pid = fork();
    if (child.pid < 0) {
        die("fork", NULL);
    }
    if (child.pid == 0) {
        (void)dup2(in[0], 0);
        (void)dup2(out[1], 1);
        for (int fd = 3; fd < 20; fd++) {
            (void)close(fd);
        }
        execl("/proc/self/exe", "rpc_bench", mode, (char *)NULL);
        _exit(127);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    child.stdin_fd = in[1];
    FILE *text = fdopen(out[0], "r");
    if (text == NULL || fscanf(text, "%d", &child.port) != 1) {
        die("no port from the server", NULL);
    }
    (void)fclose(text);
    return child;
}

static void reap(struct child *child)
{
    (void)close(child->stdin_fd);
    (void)waitpid(child->pid, NULL, 0);
}

static void print_port(int port)
{
    (void)printf("%d\n", port);
    (void)fflush(stdout);
}

static void *wait_for_eof(void *arg)
{
    char byte;
    while (read(0, &byte, 1) > 0) {
    }
    rpc_loop_stop(arg);
    return NULL;
}

static int serve(int argc, char **argv)
{
    struct err e = ERR_INIT;
    const char *address = argc > 2 ? argv[2] : "127.0.0.1:0";
    struct rpc_tls *tls = NULL;
    rpc_init();
    if (argc > 5 && rpc_tls_new(argv[3], argv[4], argv[5], &tls, &e) < 0) {
        die("tls", &e);
    }
    struct rpc_loop *loop = rpc_loop_new();
    struct rpc_service service = {echo_rows, NULL};
    struct rpc_server_options options = {.addresses = &address,
                                         .address_count = 1,
                                         .tls = tls,
                                         .class = RPC_BULK,
                                         .loops = &loop,
                                         .loop_count = 1,
                                         .services = &service,
                                         .service_count = 1};
    struct rpc_server *server;
    if (rpc_server_new(&options, &server, &e) < 0) {
        die("serve", &e);
    }
    print_port(rpc_server_port(server, 0));
    pthread_t watcher;
    CHECK(pthread_create(&watcher, NULL, wait_for_eof, loop) == 0);
    rpc_loop_run(loop);
    (void)pthread_join(watcher, NULL);
    rpc_server_free(server);
    rpc_loop_free(loop);
    rpc_tls_free(tls);
    rpc_exit();
    return 0;
}

/* ---- Raw TCP ---- */

/* The first byte of a connection: echo in pieces of REQUEST_BYTES, swallow, or pour out. */
enum tcp_mode { TCP_ECHO = 'e', TCP_SINK = 's', TCP_SOURCE = 'o' };

static void no_delay(int fd)
{
    int one = 1;
    CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
}

static void tcp_talk(int fd, char *buffer)
{
    char mode;
    ssize_t n = read(fd, &mode, 1);
    if (n <= 0) {
        return;
    }
    if (mode == TCP_SOURCE) {
        while (write(fd, buffer, DATA_MESSAGE_BYTES_MAX) > 0) {
        }
        return;
    }
    while ((n = read(fd, buffer, DATA_MESSAGE_BYTES_MAX)) > 0) {
        if (mode == TCP_ECHO && sys_write_full(fd, buffer, (size_t)n, NULL) < 0) {
            return;
        }
    }
}

static int tcp_serve(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(at);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(listener, (struct sockaddr *)&at, sizeof(at)) == 0);
    CHECK(listen(listener, 8) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&at, &length) == 0);
    print_port(ntohs(at.sin_port));
    char *buffer = xcalloc(1, DATA_MESSAGE_BYTES_MAX);
    struct pollfd fds[2] = {{.fd = 0, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
    while (poll(fds, 2, -1) > 0 && (fds[0].revents & (POLLHUP | POLLIN)) == 0) {
        int fd = accept(listener, NULL, NULL);
        no_delay(fd);
        tcp_talk(fd, buffer);
        (void)close(fd);
    }
    free(buffer);
    (void)close(listener);
    return 0;
}

static int tcp_connect(int port, enum tcp_mode mode)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK)},
                             .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        die("connect", NULL);
    }
    no_delay(fd);
    char byte = (char)mode;
    CHECK(write(fd, &byte, 1) == 1);
    return fd;
}

/* ---- Measuring ---- */

/* One run of one kind. */
struct sample {
    double seconds;
    double client_cpu;
    double server_cpu;
    double count;      /* calls, or bytes of a stream */
    double latency_us; /* median of single calls; 0 when there are none */
};

struct context {
    struct child tcp;
    struct child grpc;
    struct rpc_loop *loop;
    struct rpc_channel *control;
    struct rpc_channel *bulk;
    struct arena arena;
    time_ms run_ms;
    uint32_t *latencies_us;
    size_t latency_count;
};

static void note_latency(struct context *x, uint64_t us)
{
    if (x->latency_count < LATENCIES_MAX) {
        x->latencies_us[x->latency_count++] = (uint32_t)us;
    }
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double median_latency(struct context *x)
{
    size_t count = x->latency_count;
    x->latency_count = 0;
    if (count == 0) {
        return 0;
    }
    qsort(x->latencies_us, count, sizeof(*x->latencies_us), compare_u32);
    return x->latencies_us[count / 2];
}

static double tcp_pingpong(struct context *x, int in_flight)
{
    int fd = tcp_connect(x->tcp.port, TCP_ECHO);
    char buffer[IN_FLIGHT * REQUEST_BYTES] = {0};
    double count = 0;
    uint64_t until = clock_mono_us() + x->run_ms * 1000, start = 0, at = clock_mono_us();
    size_t bytes = (size_t)in_flight * REQUEST_BYTES;
    CHECK(write(fd, buffer, bytes) == (ssize_t)bytes);
    while (at < until) {
        start = at;
        ssize_t got = read(fd, buffer, sizeof(buffer));
        CHECK(got > 0);
        CHECK(write(fd, buffer, (size_t)got) == got);
        at = clock_mono_us();
        count += (double)got / REQUEST_BYTES;
        if (in_flight == 1) {
            note_latency(x, at - start);
        }
    }
    (void)close(fd);
    return count;
}

static double tcp_alone(struct context *x)
{
    return tcp_pingpong(x, 1);
}

static double tcp_at_64(struct context *x)
{
    return tcp_pingpong(x, IN_FLIGHT);
}

static double tcp_write(struct context *x)
{
    int fd = tcp_connect(x->tcp.port, TCP_SINK);
    char *buffer = xcalloc(1, DATA_MESSAGE_BYTES_MAX);
    double bytes = 0;
    time_ms until = clock_mono_ms() + x->run_ms;
    while (clock_mono_ms() < until) {
        CHECK(sys_write_full(fd, buffer, DATA_MESSAGE_BYTES_MAX, NULL) == 0);
        bytes += DATA_MESSAGE_BYTES_MAX;
    }
    free(buffer);
    (void)close(fd);
    return bytes;
}

static double tcp_read(struct context *x)
{
    int fd = tcp_connect(x->tcp.port, TCP_SOURCE);
    char *buffer = xcalloc(1, DATA_MESSAGE_BYTES_MAX);
    double bytes = 0;
    time_ms until = clock_mono_ms() + x->run_ms;
    while (clock_mono_ms() < until) {
        ssize_t got = read(fd, buffer, DATA_MESSAGE_BYTES_MAX);
        CHECK(got > 0);
        bytes += (double)got;
    }
    free(buffer);
    (void)close(fd);
    return bytes;
}

/* ---- Ours ---- */

static Trireme__V1__EchoRequest small_request(void)
{
    static char text[REQUEST_BYTES - 1];
    memset(text, 'x', sizeof(text) - 1);
    Trireme__V1__EchoRequest request = TRIREME__V1__ECHO_REQUEST__INIT;
    request.text = text;
    return request;
}

static double rpc_alone(struct context *x)
{
    Trireme__V1__EchoRequest message = small_request();
    double count = 0;
    uint64_t until = clock_mono_us() + x->run_ms * 1000, at = clock_mono_us();
    while (at < until) {
        uint64_t start = at;
        struct rpc_request request = {x->control, &echo_unary, &message.base,
                                      clock_mono_ms() + 10000};
        struct rpc_result result;
        ProtobufCMessage *reply;
        arena_reset(&x->arena);
        if (rpc_call(x->loop, &request, &x->arena, &reply, &result) < 0) {
            die(result.text, NULL);
        }
        at = clock_mono_us();
        note_latency(x, at - start);
        count++;
    }
    return count;
}

struct flood {
    struct context *x;
    Trireme__V1__EchoRequest message;
    double count;
    unsigned in_flight;
    uint64_t until;
};

static void flood_one(struct flood *flood);

static void flood_done(void *arg, const struct rpc_result *result, const ProtobufCMessage *reply)
{
    struct flood *flood = arg;
    (void)reply;
    if (result->code < 0) {
        die(result->text, NULL);
    }
    flood->count++;
    flood->in_flight--;
    if (clock_mono_us() < flood->until) {
        flood_one(flood);
    }
}

static void flood_one(struct flood *flood)
{
    struct rpc_request request = {flood->x->control, &echo_unary, &flood->message.base,
                                  clock_mono_ms() + 10000};
    flood->in_flight++;
    rpc_call_start(flood->x->loop, &request, flood_done, flood);
}

static double rpc_at_64(struct context *x)
{
    struct flood flood = {.x = x, .message = small_request()};
    flood.until = clock_mono_us() + x->run_ms * 1000;
    for (int i = 0; i < IN_FLIGHT; i++) {
        flood_one(&flood);
    }
    while (flood.in_flight > 0) {
        (void)rpc_loop_step(x->loop, RPC_NO_DEADLINE);
    }
    return flood.count;
}

struct flow {
    struct rpc_bytes *data; /* sent again and again */
    double bytes;
    double counted; /* by the server, of what it was sent */
    time_ms until;
    bool ended;
    bool done;
};

static void flow_send(struct rpc_stream *stream)
{
    struct flow *flow = rpc_stream_state(stream);
    while (!flow->ended && rpc_stream_writable(stream)) {
        if (clock_mono_ms() >= flow->until) {
            flow->ended = true;
            rpc_stream_half_close(stream);
        } else if (rpc_stream_send_data(stream, NULL, flow->data) == 0) {
            flow->bytes += DATA_MESSAGE_BYTES_MAX;
        }
    }
}

static double counted_by(struct rpc_bytes *bytes)
{
    struct arena arena;
    ProtobufCMessage *reply;
    arena_init(&arena, 0);
    int r = rpc_unpack_bytes(&trireme__v1__echo_reply__descriptor, bytes, &arena, &reply);
    CHECK(r == 0);
    double counted = (double)((Trireme__V1__EchoReply *)reply)->data_bytes;
    arena_deinit(&arena);
    return counted;
}

static void flow_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct flow *flow = rpc_stream_state(stream);
    struct rpc_data_message message;
    if (flow->data != NULL) {
        flow->counted = counted_by(bytes);
    } else if (rpc_data_message_parse(bytes, &message) == 0) {
        flow->bytes += (double)rpc_bytes_length(message.data);
        rpc_data_message_deinit(&message);
        if (clock_mono_ms() >= flow->until) {
            rpc_stream_cancel(stream);
        }
    }
    rpc_stream_read(stream);
}

static void flow_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct flow *flow = rpc_stream_state(stream);
    flow->done = true;
    if (result->code < 0 && result->cause != ERR_CANCELLED) {
        die(result->text, NULL);
    }
}

static const struct rpc_stream_ops flow_ops = {
    .on_message = flow_message, .on_sent = flow_send, .on_close = flow_close};

static double rpc_write(struct context *x)
{
    char *zeros = xcalloc(1, DATA_MESSAGE_BYTES_MAX);
    struct flow flow = {.data = rpc_bytes_wrap(zeros, DATA_MESSAGE_BYTES_MAX, free, zeros),
                        .until = clock_mono_ms() + x->run_ms};
    struct rpc_request request = {x->bulk, &echo_client_stream, NULL, clock_mono_ms() + 100000};
    struct rpc_stream *stream = rpc_stream_open(x->loop, &request, &flow_ops, &flow);
    rpc_stream_read(stream);
    flow_send(stream);
    (void)rpc_loop_until(x->loop, &flow.done, RPC_NO_DEADLINE);
    rpc_bytes_unref(flow.data);
    CHECK(flow.counted == flow.bytes);
    return flow.bytes;
}

static double rpc_read(struct context *x)
{
    struct flow flow = {.until = clock_mono_ms() + x->run_ms};
    Trireme__V1__EchoRequest message = TRIREME__V1__ECHO_REQUEST__INIT;
    message.count = UINT32_MAX;
    message.data_bytes = DATA_MESSAGE_BYTES_MAX;
    flow.ended = true;
    struct rpc_request request = {x->bulk, &echo_server_stream, &message.base,
                                  clock_mono_ms() + 100000};
    struct rpc_stream *stream = rpc_stream_open(x->loop, &request, &flow_ops, &flow);
    rpc_stream_read(stream);
    (void)rpc_loop_until(x->loop, &flow.done, RPC_NO_DEADLINE);
    return flow.bytes;
}

/* ---- Table ---- */

struct row {
    const char *name;
    bool stream;
    bool tcp;
    double (*run)(struct context *x);
};

static const struct row rows[] = {
    {"unary alone, tcp", false, true, tcp_alone},
    {"unary alone, rpc", false, false, rpc_alone},
    {"unary at 64, tcp", false, true, tcp_at_64},
    {"unary at 64, rpc", false, false, rpc_at_64},
    {"1 MiB to server, tcp", true, true, tcp_write},
    {"1 MiB to server, rpc", true, false, rpc_write},
    {"1 MiB to client, tcp", true, true, tcp_read},
    {"1 MiB to client, rpc", true, false, rpc_read},
};

static struct sample measure(struct context *x, const struct row *row)
{
    pid_t server = row->tcp ? x->tcp.pid : x->grpc.pid;
    struct sample s = {0};
    double client_cpu = cpu_of_us(), server_cpu = cpu_of(server);
    uint64_t start = clock_mono_us();
    s.count = row->run(x);
    s.seconds = (double)(clock_mono_us() - start) / 1e6;
    s.client_cpu = cpu_of_us() - client_cpu;
    s.server_cpu = cpu_of(server) - server_cpu;
    s.latency_us = median_latency(x);
    return s;
}

static int compare_rate(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    double rx = x->count / x->seconds, ry = y->count / y->seconds;
    return (rx > ry) - (rx < ry);
}

static void print_row(const struct row *row, const struct sample *s, bool json, bool first)
{
    double rate = s->count / s->seconds;
    if (json && row->stream) {
        (void)printf("%s{\"name\":\"%s\",\"mb_per_s\":%.1f,\"client_cpu_s_per_gb\":%.4f,"
                     "\"server_cpu_s_per_gb\":%.4f}",
                     first ? "[" : ",\n ", row->name, rate / 1e6, s->client_cpu / s->count * 1e9,
                     s->server_cpu / s->count * 1e9);
    } else if (json) {
        (void)printf("%s{\"name\":\"%s\",\"calls_per_s\":%.0f,\"latency_us\":%.0f,"
                     "\"client_cpu_us_per_call\":%.2f,\"server_cpu_us_per_call\":%.2f}",
                     first ? "[" : ",\n ", row->name, rate, s->latency_us,
                     s->client_cpu / s->count * 1e6, s->server_cpu / s->count * 1e6);
    } else if (row->stream) {
        (void)printf("%-22s %9.0f MB/s    %10s   %6.3f + %.3f CPU-s/GB\n", row->name, rate / 1e6,
                     "", s->client_cpu / s->count * 1e9, s->server_cpu / s->count * 1e9);
    } else {
        char latency[32] = "";
        if (s->latency_us > 0) {
            (void)snprintf(latency, sizeof(latency), "%.0f us", s->latency_us);
        }
        (void)printf("%-22s %9.0f calls/s %10s   %6.2f + %.2f CPU-us/call\n", row->name, rate,
                     latency, s->client_cpu / s->count * 1e6, s->server_cpu / s->count * 1e6);
    }
}

static void run_all(struct context *x, unsigned repeats, bool json)
{
    size_t count = sizeof(rows) / sizeof(rows[0]);
    if (!json) {
        (void)printf("%-22s %17s %10s   %s\n", "", "median rate", "median", "client + server");
    }
    for (size_t i = 0; i < count; i++) {
        struct sample samples[REPEATS_MAX];
        unsigned taken = 0;
        do {
            samples[taken++] = measure(x, &rows[i]);
        } while (taken < repeats);
        qsort(samples, repeats, sizeof(samples[0]), compare_rate);
        print_row(&rows[i], &samples[repeats / 2], json, i == 0);
    }
    if (json) {
        (void)printf("]\n");
    }
}

static struct rpc_channel *open_channel(int port, enum rpc_class class)
{
    char address[32];
    struct err e = ERR_INIT;
    struct rpc_channel *channel;
    (void)snprintf(address, sizeof(address), "127.0.0.1:%d", port);
    struct rpc_channel_options options = {.address = address, .class = class};
    if (rpc_channel_open(&options, &channel, &e) < 0) {
        die("channel", &e);
    }
    return channel;
}

static int measure_all(unsigned seconds, unsigned repeats, bool json)
{
    struct context x = {.run_ms = seconds * 1000 / repeats};
    x.tcp = spawn("tcp"); /* before gRPC has threads */
    x.grpc = spawn("serve");
    x.latencies_us = xcalloc(LATENCIES_MAX, sizeof(*x.latencies_us));
    arena_init(&x.arena, 0);
    rpc_init();
    x.loop = rpc_loop_new();
    x.control = open_channel(x.grpc.port, RPC_CONTROL);
    x.bulk = open_channel(x.grpc.port, RPC_BULK);
    run_all(&x, repeats, json);
    rpc_channel_unref(x.control);
    rpc_channel_unref(x.bulk);
    rpc_loop_free(x.loop);
    rpc_exit();
    arena_deinit(&x.arena);
    free(x.latencies_us);
    reap(&x.tcp);
    reap(&x.grpc);
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t seconds = 5, repeats = 5;
    bool json = false, bad = false;
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc > 1 && strcmp(argv[1], "serve") == 0) {
        return serve(argc, argv);
    }
    if (argc > 1 && strcmp(argv[1], "tcp") == 0) {
        return tcp_serve();
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
            bad = bad || parse_u64(argv[++i], &seconds, NULL) < 0;
        } else if (strcmp(argv[i], "--repeats") == 0 && i + 1 < argc) {
            bad = bad || parse_u64(argv[++i], &repeats, NULL) < 0;
        } else {
            bad = true;
        }
    }
    if (bad || repeats == 0 || repeats > REPEATS_MAX || seconds == 0 || seconds > 3600) {
        (void)fprintf(stderr, "usage: rpc_bench [--json] [--seconds S per row] [--repeats N]\n");
        return 2;
    }
    return measure_all((unsigned)seconds, (unsigned)repeats, json);
}
