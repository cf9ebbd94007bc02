/* bench/chain: chunkservers alone, no file master: chunks of 64 MiB written durably through a chain
 * of three processes and read back, and small chunks by 16 writers at once. One client thread;
 * client and servers share the machine, and the CPU of all four is shown. The floor of the writes
 * is the row "chain 3 hops, crc, write" of bench/floor, of the small ones one fdatasync per group.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <proto/chunk.pb-c.h>

#include "bench/lib/report.h"
#include "common/alloc.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/crc32c.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/rng.h"
#include "common/rpc/rpc.h"
#include "common/rpc/rpc_stream.h"
#include "common/sys.h"

enum { HOPS = 3, LANES_MAX = 64, RUNS_MAX = 50, SMALL_BYTES = 4096, BLOCKS = 16 };

struct daemon {
    pid_t pid;
    char address[128];
};

enum work { WORK_WRITE, WORK_READ, WORK_SMALL };

static const struct row {
    const char *name;
    enum work work;
    uint32_t lanes; /* chunks under way at a time */
} rows[] = {
    {"write 1 stream", WORK_WRITE, 1},  {"write 4 streams", WORK_WRITE, 4},
    {"read 1 stream", WORK_READ, 1},    {"read 4 streams", WORK_READ, 4},
    {"4 KiB chunks, 1", WORK_SMALL, 1}, {"4 KiB chunks, 16", WORK_SMALL, 16},
};

struct bench {
    struct rpc_loop *loop;
    struct daemon daemons[HOPS];
    struct rpc_channel *channel; /* to the first */
    struct rpc_bytes *data;      /* 1 MiB */
    struct buf dir;
    uint64_t next_chunk;
    const struct row *row;
    uint64_t left;         /* chunks still to begin */
    uint32_t under_way;    /* lanes */
    uint64_t chunk_bytes;  /* each */
    uint64_t chunks_total; /* of the row */
    uint64_t bytes_read;
    double *latencies_us;
    size_t latency_count;
    bool done;
};

struct lane {
    struct bench *bench;
    struct rpc_stream *stream;
    uint64_t chunk;
    uint64_t sent;
    uint64_t acked;
    uint64_t begun_us;
    bool finished; /* finish was sent */
    bool ok;
};

static const struct rpc_method method_append = {"/trireme.v1.Chunkserver/Append", RPC_BIDI,
                                                &trireme__v1__append_message__descriptor,
                                                &trireme__v1__append_ack__descriptor};
static const struct rpc_method method_read = {"/trireme.v1.Chunkserver/Read", RPC_SERVER_STREAM,
                                              &trireme__v1__read_request__descriptor,
                                              &trireme__v1__read_message__descriptor};

/* ---- Daemons ---- */

static void daemon_start(struct bench *b, int i)
{
    struct daemon *d = &b->daemons[i];
    char program[4096];
    char data[4096];
    char fd_text[16];
    int pipe_fds[2];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    program[MAX(n, 0)] = '\0';
    char *slash = strrchr(program, '/');
    if (slash == NULL || pipe(pipe_fds) < 0) {
        bench_fail("cannot find or start the chunkserver");
    }
    (void)snprintf(slash, sizeof(program) - (size_t)(slash - program), "/../bin/chunkserver");
    (void)snprintf(data, sizeof(data), "%s/%d", b->dir.data, i);
    (void)snprintf(fd_text, sizeof(fd_text), "%d", pipe_fds[1]);
    d->pid = fork();
    if (d->pid == 0) {
        (void)close(pipe_fds[0]);
        (void)execl(program, "chunkserver", "--data", data, "--listen", "127.0.0.1:0", "--masters",
                    "", "--scrub-rate", "0", "--log-level", "error", "--ready-fd", fd_text, NULL);
        _exit(127);
    }
    (void)close(pipe_fds[1]);
    FILE *ready = fdopen(pipe_fds[0], "r");
    if (ready == NULL || fscanf(ready, "ready %127s", d->address) != 1) {
        bench_fail("%s does not start", program);
    }
    (void)fclose(ready);
}

static double daemons_cpu_s(const struct bench *b)
{
    double total = 0;
    for (int i = 0; i < HOPS; i++) {
        char path[64];
        unsigned long user = 0;
        unsigned long kernel = 0;
        (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)b->daemons[i].pid);
        FILE *f = fopen(path, "r");
        if (f == NULL ||
            fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                   &kernel) != 2) {
            bench_fail("%s", path);
        }
        (void)fclose(f);
        total += (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
    }
    return total;
}

/* ---- Writing ---- */

static void lane_begin(struct bench *b);

static void lane_end(struct lane *lane)
{
    struct bench *b = lane->bench;
    if (!lane->ok) {
        bench_fail("chunk %lu failed at %lu", lane->chunk, lane->acked);
    }
    if (b->latency_count < BENCH_SAMPLES_MAX) {
        b->latencies_us[b->latency_count++] = (double)(clock_mono_us() - lane->begun_us);
    }
    free(lane);
    b->under_way--;
    if (b->left > 0) {
        lane_begin(b);
    } else if (b->under_way == 0) {
        b->done = true;
    }
}

static void send_open(struct lane *lane)
{
    struct bench *b = lane->bench;
    Trireme__V1__ChunkRef ref = TRIREME__V1__CHUNK_REF__INIT;
    Trireme__V1__Server servers[HOPS];
    Trireme__V1__Server *chain[HOPS];
    Trireme__V1__AppendOpen open = TRIREME__V1__APPEND_OPEN__INIT;
    Trireme__V1__AppendHeader header = TRIREME__V1__APPEND_HEADER__INIT;
    ref.id = lane->chunk;
    ref.version = 1;
    for (int i = 0; i < HOPS; i++) {
        trireme__v1__server__init(&servers[i]);
        servers[i].id = (uint64_t)i + 1;
        servers[i].address = b->daemons[i].address;
        chain[i] = &servers[i];
    }
    open.chunk = &ref;
    open.n_chain = HOPS;
    open.chain = chain;
    open.chunk_bytes = CHUNK_BYTES_DEFAULT;
    open.create = true;
    open.wire_version = TRIREME_WIRE_VERSION;
    header.open = &open;
    if (rpc_stream_send_data(lane->stream, &header.base, NULL) < 0) {
        bench_fail("open refused");
    }
}

/* The CRCs are computed each time, as a writer with new bytes must. */
static void send_data(struct lane *lane)
{
    struct bench *b = lane->bench;
    uint32_t crcs[BLOCKS];
    Trireme__V1__AppendHeader header = TRIREME__V1__APPEND_HEADER__INIT;
    uint64_t length = MIN(b->chunk_bytes - lane->sent, (uint64_t)DATA_MESSAGE_BYTES_MAX);
    struct iovec run;
    (void)rpc_bytes_iov(b->data, 0, &run, 1);
    size_t count = 0;
    for (uint64_t at = 0; at < length; at += CHUNK_BLOCK_BYTES) {
        size_t part = (size_t)MIN(length - at, (uint64_t)CHUNK_BLOCK_BYTES);
        crcs[count++] = crc32c((char *)run.iov_base + at, part);
    }
    header.offset = lane->sent;
    header.n_block_crcs = count;
    header.block_crcs = crcs;
    header.acked = lane->acked;
    struct rpc_bytes *part = rpc_bytes_part(b->data, 0, (size_t)length);
    if (rpc_stream_send_data(lane->stream, &header.base, part) < 0) {
        bench_fail("data refused");
    }
    rpc_bytes_unref(part);
    lane->sent += length;
}

static void write_more(struct lane *lane)
{
    struct bench *b = lane->bench;
    while (lane->sent < b->chunk_bytes && rpc_stream_writable(lane->stream)) {
        send_data(lane);
    }
    if (lane->sent == b->chunk_bytes && !lane->finished) {
        Trireme__V1__AppendHeader header = TRIREME__V1__APPEND_HEADER__INIT;
        header.offset = lane->sent;
        header.finish = true;
        lane->finished = true;
        if (rpc_stream_send_data(lane->stream, &header.base, NULL) < 0) {
            bench_fail("finish refused");
        }
        rpc_stream_half_close(lane->stream);
    }
}

static void write_sent(struct rpc_stream *stream)
{
    write_more(rpc_stream_state(stream));
}

static void write_ack(struct rpc_stream *stream, struct rpc_bytes *message)
{
    struct lane *lane = rpc_stream_state(stream);
    struct arena arena = ARENA_INIT;
    ProtobufCMessage *unpacked = NULL;
    if (rpc_unpack_bytes(&trireme__v1__append_ack__descriptor, message, &arena, &unpacked) < 0) {
        bench_fail("malformed ack");
    }
    const Trireme__V1__AppendAck *ack = (const void *)unpacked;
    lane->acked = ack->written;
    lane->ok = ack->sealed;
    if (ack->failure != NULL) {
        bench_fail("%s", ack->failure->error_text);
    }
    arena_deinit(&arena);
    rpc_stream_read(stream);
}

static void stream_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct lane *lane = rpc_stream_state(stream);
    if (result->code < 0) {
        bench_fail("%s", result->text);
    }
    lane_end(lane);
}

static const struct rpc_stream_ops write_ops = {
    .on_message = write_ack, .on_sent = write_sent, .on_close = stream_close};

/* ---- Reading ---- */

static void read_message(struct rpc_stream *stream, struct rpc_bytes *message)
{
    struct lane *lane = rpc_stream_state(stream);
    struct rpc_data_message parts;
    struct arena arena = ARENA_INIT;
    ProtobufCMessage *unpacked = NULL;
    if (rpc_data_message_parse(message, &parts) < 0 ||
        rpc_unpack(&trireme__v1__read_header__descriptor, parts.header, &arena, &unpacked) < 0) {
        bench_fail("malformed data");
    }
    const Trireme__V1__ReadHeader *header = (const void *)unpacked;
    size_t length = rpc_bytes_length(parts.data);
    size_t block = 0;
    for (size_t at = 0; at < length; block++) {
        size_t end = MIN(at + CHUNK_BLOCK_BYTES, length);
        uint32_t crc = 0;
        while (at < end) {
            struct iovec run;
            (void)rpc_bytes_iov(parts.data, at, &run, 1);
            size_t part = MIN(run.iov_len, end - at);
            crc = crc32c_extend(crc, run.iov_base, part);
            at += part;
        }
        if (block >= header->n_block_crcs || crc != header->block_crcs[block]) {
            bench_fail("wrong bytes");
        }
    }
    lane->bench->bytes_read += length;
    lane->ok = true;
    rpc_data_message_deinit(&parts);
    arena_deinit(&arena);
    rpc_stream_read(stream);
}

static const struct rpc_stream_ops read_ops = {.on_message = read_message,
                                               .on_close = stream_close};

/* ---- Runs ---- */

static void lane_begin(struct bench *b)
{
    struct lane *lane = xcalloc(1, sizeof(*lane));
    struct rpc_request request = {.channel = b->channel, .deadline = RPC_NO_DEADLINE};
    lane->bench = b;
    lane->begun_us = clock_mono_us();
    b->left--;
    b->under_way++;
    if (b->row->work == WORK_READ) {
        Trireme__V1__ChunkRef ref = TRIREME__V1__CHUNK_REF__INIT;
        Trireme__V1__ReadRequest read = TRIREME__V1__READ_REQUEST__INIT;
        lane->chunk = b->next_chunk - 1 - b->left; /* those that were written last */
        ref.id = lane->chunk;
        ref.version = 1;
        read.chunk = &ref;
        request.method = &method_read;
        request.message = &read.base;
        lane->stream = rpc_stream_open(b->loop, &request, &read_ops, lane);
        rpc_stream_read(lane->stream);
        return;
    }
    lane->chunk = b->next_chunk++;
    request.method = &method_append;
    lane->stream = rpc_stream_open(b->loop, &request, &write_ops, lane);
    rpc_stream_read(lane->stream);
    send_open(lane);
    write_more(lane);
}

static void run_row(struct bench *b, uint64_t bytes, struct bench_time *t)
{
    bool small = b->row->work == WORK_SMALL;
    b->chunk_bytes = small ? SMALL_BYTES : CHUNK_BYTES_DEFAULT;
    b->chunks_total = small ? 3000 : MAX(bytes / b->chunk_bytes, (uint64_t)1);
    b->left = b->chunks_total;
    b->latency_count = 0;
    b->done = false;
    if (b->row->work == WORK_WRITE) {
        bench_warm_memory(HOPS * bytes + bytes);
    }
    double servers = daemons_cpu_s(b);
    bench_start(t);
    for (uint32_t i = 0; i < b->row->lanes && b->left > 0; i++) {
        lane_begin(b);
    }
    (void)rpc_loop_until(b->loop, &b->done, RPC_NO_DEADLINE);
    bench_stop(t);
    t->cpu_s += daemons_cpu_s(b) - servers;
}

static void report_row(struct bench *b, const struct bench_options *o, struct bench_report *report)
{
    struct bench_time runs[RUNS_MAX];
    double p50[RUNS_MAX];
    double p99[RUNS_MAX];
    for (uint32_t i = 0; i < o->runs; i++) {
        run_row(b, o->bytes, &runs[i]);
        p50[i] = bench_percentile(b->latencies_us, b->latency_count, 50);
        p99[i] = bench_percentile(b->latencies_us, b->latency_count, 99);
    }
    bench_report_stream(report, b->row->name, b->chunk_bytes * b->chunks_total, runs, o->runs);
    if (b->row->work == WORK_SMALL) {
        double rates[RUNS_MAX];
        for (uint32_t i = 0; i < o->runs; i++) {
            rates[i] = (double)b->chunks_total / runs[i].wall_s;
        }
        bench_report_latency(report, b->row->name, p50, p99, o->runs);
        (void)fprintf(stderr, "%s: %.0f durable closes per second\n", b->row->name,
                      bench_median(rates, o->runs));
    }
}

static void bench_setup(struct bench *b, const struct bench_options *o)
{
    struct err e = ERR_INIT;
    (void)setenv("TMPDIR", o->directory, 0);
    if (sys_make_temp_dir("trireme-chain-", &b->dir, &e) < 0) {
        bench_fail("%s", e.msg);
    }
    for (int i = 0; i < HOPS; i++) {
        daemon_start(b, i); /* before gRPC has threads here */
    }
    rpc_init();
    b->loop = rpc_loop_new();
    b->latencies_us = xcalloc(BENCH_SAMPLES_MAX, sizeof(double));
    b->next_chunk = 1;
    struct rpc_channel_options options = {.address = b->daemons[0].address, .class = RPC_BULK};
    if (rpc_channel_open(&options, &b->channel, &e) < 0) {
        bench_fail("%s", e.msg);
    }
    struct rng rng;
    char *bytes = xmalloc(DATA_MESSAGE_BYTES_MAX);
    rng_seed(&rng, 1);
    rng_fill(&rng, bytes, DATA_MESSAGE_BYTES_MAX);
    b->data = rpc_bytes_wrap(bytes, DATA_MESSAGE_BYTES_MAX, free, bytes);
}

static void bench_teardown(struct bench *b)
{
    struct err e = ERR_INIT;
    rpc_bytes_unref(b->data);
    rpc_channel_unref(b->channel);
    rpc_loop_free(b->loop);
    rpc_exit();
    for (int i = 0; i < HOPS; i++) {
        (void)kill(b->daemons[i].pid, SIGTERM);
        (void)waitpid(b->daemons[i].pid, NULL, 0);
    }
    if (sys_remove_tree(b->dir.data, &e) < 0) {
        (void)fprintf(stderr, "chain: %s\n", e.msg);
    }
    buf_deinit(&b->dir);
    free(b->latencies_us);
}

int main(int argc, char **argv)
{
    static struct bench b = {.dir = BUF_INIT};
    struct bench_options o = {
        .name = "chain", .directory = "/tmp", .bytes = 512ULL << 20, .runs = 5};
    bench_options_parse(&o, argc, argv);
    o.runs = MIN(o.runs, (uint32_t)RUNS_MAX);
    bench_setup(&b, &o);
    struct bench_report *report = bench_report_new(&o);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        if (bench_wanted(&o, rows[i].name)) {
            b.row = &rows[i];
            report_row(&b, &o, report);
        }
    }
    bench_teardown(&b);
    bench_report_finish(report);
    return 0;
}
