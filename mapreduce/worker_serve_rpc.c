/* FetchSegment and ReadLog: the same little machine, a file range sent in pieces as the stream
 * takes them. See worker_serve.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/mr.pb-c.h"

#include "common/alloc.h"
#include "common/arena.h"
#include "common/limits.h"
#include "common/metrics.h"
#include "common/rpc/rpc_stream.h"
#include "common/sys.h"
#include "mapreduce/engine/run.h"
#include "mapreduce/job_types.h"
#include "mapreduce/mr_methods.h"
#include "mapreduce/task_pipe.h"
#include "mapreduce/worker_serve.h"

enum { SERVE_PIECE_BYTES = 256 * 1024 };

/* A file range on its way out. */
struct serving {
    bool started; /* the request has come */
    int fd;
    uint64_t at; /* next byte */
    uint64_t end;
    uint64_t segment_bytes; /* FetchSegment: told with the first piece */
    uint64_t records;
    bool first;
    bool log;             /* it may be cut while it is sent (worker_logs.h) */
    struct counter *sent; /* bytes of this kind */
};

void worker_serve_init(struct worker_serve *s, const char *data, struct metrics *m)
{
    static const char *const name = "mrworker_served_bytes_total";
    static const char *const help = "Bytes sent to reduces elsewhere, and of logs to users.";
    *s = (struct worker_serve){
        .data = data,
        .map_bytes = metrics_counter(m, name, "of=\"map_outputs\"", help),
        .log_bytes = metrics_counter(m, name, "of=\"logs\"", help),
    };
}

/* ---- Sending ---- */

static int send_piece(struct rpc_stream *stream, struct serving *s, size_t length, struct err *e)
{
    char *data = xmalloc(length + 1);
    int r = sys_pread_full(s->fd, data, length, s->at, e);
    if (r < 0) {
        free(data);
        return r;
    }
    struct rpc_bytes *bytes = rpc_bytes_wrap(data, length, free, data);
    Trireme__V1__FetchHeader header = TRIREME__V1__FETCH_HEADER__INIT;
    header.segment_bytes = s->segment_bytes;
    header.records = s->records;
    r = rpc_stream_send_data(stream, s->first ? &header.base : NULL, bytes);
    rpc_bytes_unref(bytes);
    s->first = false;
    s->at += length;
    counter_add(s->sent, length);
    return r < 0 ? err_set(e, r, "the reader has gone") : 0;
}

/* Sends while the stream takes it. */
static void go_on(struct rpc_stream *stream)
{
    struct serving *s = rpc_stream_state(stream);
    struct err e = ERR_INIT;
    int r = 0;
    while (r == 0 && s->fd >= 0 && (s->at < s->end || s->first) && rpc_stream_writable(stream)) {
        uint64_t left = s->end - s->at;
        r = send_piece(stream, s, left < SERVE_PIECE_BYTES ? left : SERVE_PIECE_BYTES, &e);
    }
    if (r == ERR_EOF && s->log) { /* what was there is what there is */
        r = 0;
        s->at = s->end;
        s->first = false;
    }
    if (r < 0) {
        sys_close(&s->fd);
        rpc_stream_finish(stream, r, err_message(&e));
    } else if (s->fd >= 0 && s->at == s->end && !s->first) {
        sys_close(&s->fd);
        rpc_stream_finish(stream, 0, NULL);
    }
}

static void on_open(struct rpc_stream *stream)
{
    struct serving *s = xcalloc(1, sizeof(*s));
    s->fd = -1;
    rpc_stream_set_state(stream, s);
    rpc_stream_read(stream);
}

static void on_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    (void)result;
    struct serving *s = rpc_stream_state(stream);
    sys_close(&s->fd);
    free(s);
}

/* ---- Opening ---- */

/* Opens the file of an attempt. Attempt names become paths: only real ones are taken. */
static int open_of(const char *data, enum task_path which, const char *attempt, int *ret_fd,
                   struct err *e)
{
    struct attempt_name name;
    if (!attempt_name_parse(attempt, &name)) {
        return err_set(e, ERR_INVALID, "'%.100s' names no attempt", attempt);
    }
    struct buf path = BUF_INIT;
    struct buf job = BUF_INIT;
    buf_printf(&job, "_%04" PRIu64, name.job);
    task_path(which, data, job.data, attempt, &path);
    *ret_fd = sys_open(path.data, O_RDONLY, 0, e);
    int r = *ret_fd < 0 ? *ret_fd : 0;
    buf_deinit(&path);
    buf_deinit(&job);
    return r;
}

static int open_segment(const char *data, const Trireme__V1__FetchRequest *request,
                        struct serving *s, struct err *e)
{
    int fd = -1;
    struct stat stat;
    int r = open_of(data, TASK_PATH_MAP_OUTPUT, request->attempt, &fd, e);
    if (r < 0) {
        return r;
    }
    if (fstat(fd, &stat) < 0) {
        r = err_errno(e, "stat the output of %s", request->attempt);
        sys_close(&fd);
        return r;
    }
    struct run_index index = {0};
    struct source *file = source_take_fd(fd, request->attempt, (uint64_t)stat.st_size);
    r = run_index_read(file, &index, e);
    if (r == 0 && request->partition >= index.count) {
        r = err_set(e, ERR_INVALID, "%s has no partition %u", request->attempt, request->partition);
    }
    if (r == 0) {
        const struct run_segment *segment = &index.segments[request->partition];
        uint64_t skip = request->offset < segment->length ? request->offset : segment->length;
        s->at = segment->offset + skip;
        s->end = segment->offset + segment->length;
        s->segment_bytes = segment->length;
        s->records = segment->records;
        s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        r = s->fd < 0 ? err_errno(e, "dup") : 0;
    }
    run_index_deinit(&index);
    source_free(file);
    return r;
}

static void on_fetch(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    const struct worker_serve *serve = rpc_stream_service(stream);
    struct serving *s = rpc_stream_state(stream);
    struct arena arena = ARENA_INIT;
    struct err e = ERR_INIT;
    ProtobufCMessage *message = NULL;
    int r = s->started ? err_set(&e, ERR_INVALID, "one segment per stream")
                       : rpc_unpack_bytes(&trireme__v1__fetch_request__descriptor, bytes, &arena,
                                          &message);
    s->started = true;
    s->first = true;
    s->sent = serve->map_bytes;
    r = r < 0 ? r : open_segment(serve->data, (Trireme__V1__FetchRequest *)message, s, &e);
    arena_deinit(&arena);
    if (r < 0) {
        rpc_stream_finish(stream, r, err_message(&e));
        return;
    }
    go_on(stream);
}

static void on_read_log(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    const struct worker_serve *serve = rpc_stream_service(stream);
    struct serving *s = rpc_stream_state(stream);
    struct arena arena = ARENA_INIT;
    struct err e = ERR_INIT;
    struct stat stat;
    ProtobufCMessage *message = NULL;
    int r = s->started ? err_set(&e, ERR_INVALID, "one log per stream")
                       : rpc_unpack_bytes(&trireme__v1__read_log_request__descriptor, bytes, &arena,
                                          &message);
    s->started = true;
    s->sent = serve->log_bytes;
    s->log = true;
    const Trireme__V1__ReadLogRequest *request = (Trireme__V1__ReadLogRequest *)message;
    r = r < 0 ? r : open_of(serve->data, TASK_PATH_LOG, request->attempt, &s->fd, &e);
    if (r == 0 && fstat(s->fd, &stat) < 0) {
        r = err_errno(&e, "stat the log of %s", request->attempt);
    }
    if (r == 0) {
        s->end = (uint64_t)stat.st_size;
        s->at = request->offset < s->end ? request->offset : s->end;
    }
    arena_deinit(&arena);
    if (r < 0) {
        sys_close(&s->fd);
        rpc_stream_finish(stream, r, err_message(&e));
        return;
    }
    go_on(stream);
}

static const struct rpc_stream_ops fetch_ops = {
    .on_open = on_open, .on_message = on_fetch, .on_sent = go_on, .on_close = on_close};
static const struct rpc_stream_ops log_ops = {
    .on_open = on_open, .on_message = on_read_log, .on_sent = go_on, .on_close = on_close};

const struct rpc_service_row mr_worker_rows[] = {
    {.method = &mr_fetch_segment, .stream = &fetch_ops},
    {.method = &mr_read_log, .stream = &log_ops},
    {.method = NULL},
};
