/* See read_stream.h. */
#include "client/read_stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/macros.h"

enum { AHEAD_BYTES = 4 * DATA_MESSAGE_BYTES_MAX };

struct piece {
    struct list link;
    struct rpc_bytes *data;
    size_t at; /* bytes of it taken */
};

struct read_stream {
    struct dfs *dfs;
    struct rpc_loop *loop;
    struct rpc_stream *stream; /* NULL: closed */
    char *address;
    bool ahead;
    bool paused;       /* once, and the connection's keeper was told */
    uint64_t offset;   /* next byte to be taken */
    uint64_t expected; /* where the next message begins */
    uint64_t end;      /* where the request ends; UINT64_MAX: the chunk's */
    struct list pieces;
    size_t queued;    /* bytes of them */
    bool over;        /* no more messages come */
    struct err error; /* code != 0: how it ended */
};

/* Keeps one message coming while there is room. */
static void ask(struct read_stream *s)
{
    size_t most = s->ahead ? (size_t)AHEAD_BYTES : 1;
    if (s->stream && s->queued < most) {
        rpc_stream_read(s->stream);
    }
}

static void fail(struct read_stream *s, int code, const char *text)
{
    (void)err_set(&s->error, code, "%s: %s", s->address, text);
    s->over = true;
    if (s->stream) {
        rpc_stream_cancel(s->stream);
    }
}

static void on_message(struct rpc_stream *stream, struct rpc_bytes *message)
{
    struct read_stream *s = rpc_stream_state(stream);
    struct chunk_piece got = {0};
    if (s->over) {
        rpc_stream_read(stream);
        return;
    }
    if (chunk_piece_parse(message, &got) < 0) {
        fail(s, ERR_CORRUPT, "wrong bytes");
        return;
    }
    size_t length = rpc_bytes_length(got.data);
    if (got.offset != s->expected) {
        fail(s, ERR_CORRUPT, "not the bytes that were asked for");
    } else if (length > 0) {
        struct piece *p = xcalloc(1, sizeof(*p));
        p->data = rpc_bytes_ref(got.data);
        p->at = (size_t)MIN(s->offset > got.offset ? s->offset - got.offset : 0, length);
        list_push_back(&s->pieces, &p->link);
        s->queued += length - p->at;
        s->expected += length;
    }
    rpc_bytes_unref(got.data);
    if (!s->over && s->queued == 0) {
        rpc_stream_read(stream);
    } else if (!s->over) {
        ask(s);
    }
}

static void on_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct read_stream *s = rpc_stream_state(stream);
    s->stream = NULL;
    if (s->paused) {
        lease_stream_closed(s->dfs);
    }
    if (!s->over && result->code != 0) {
        fail(s, result->cause, result->text);
    }
    s->over = true;
}

static const struct rpc_stream_ops ops = {.on_message = on_message, .on_close = on_close};

int read_stream_open(const struct read_stream_place *place, const struct chunk_read *read,
                     struct read_stream **ret, struct err *e)
{
    struct read_stream *s = xcalloc(1, sizeof(*s));
    s->dfs = place->dfs;
    s->loop = place->loop;
    s->address = xstrdup(place->address);
    s->ahead = read->length == 0;
    s->offset = read->offset;
    s->expected = read->offset - read->offset % CHUNK_BLOCK_BYTES;
    s->end = read->length ? read->offset + read->length : UINT64_MAX;
    list_init(&s->pieces);
    struct stream_owner owner = {place->dfs, place->loop, &ops, s};
    int r = chunk_read_open(&owner, place->address, read, &s->stream, e);
    if (r < 0) {
        free(s->address);
        free(s);
        return r;
    }
    ask(s);
    *ret = s;
    return 0;
}

static void piece_free(struct piece *p)
{
    list_remove(&p->link);
    rpc_bytes_unref(p->data);
    free(p);
}

void read_stream_free(struct read_stream *s)
{
    if (!s) {
        return;
    }
    s->over = true;
    if (s->stream) {
        rpc_stream_cancel(s->stream);
        rpc_stream_read(s->stream);
    }
    while (s->stream) {
        (void)rpc_loop_step(s->loop, RPC_NO_DEADLINE);
    }
    LIST_FOR_EACH_SAFE(node, &s->pieces)
    {
        piece_free(LIST_ENTRY(node, struct piece, link));
    }
    free(s->address);
    free(s);
}

void read_stream_pause(struct read_stream *s)
{
    if (s->stream && !s->paused) {
        s->paused = true;
        lease_stream_paused(s->dfs);
    }
}

uint64_t read_stream_offset(const struct read_stream *s)
{
    return s->offset;
}

/* Until a byte is there or none will come. */
static int await(struct read_stream *s, struct err *e)
{
    time_ms until = clock_mono_ms() + HOP_SILENT_MS;
    ask(s);
    while (s->queued == 0 && !s->over) {
        if (!rpc_loop_step(s->loop, until)) {
            fail(s, ERR_TIMEOUT, "silent for too long");
        }
    }
    if (s->queued == 0 && s->error.code) {
        return err_set(e, s->error.code, "%s", err_message(&s->error));
    }
    return 0;
}

int64_t read_stream_take(struct read_stream *s, void *data, size_t length, struct err *e)
{
    char *to = data;
    size_t done = 0;
    if (s->offset >= s->end) {
        return 0;
    }
    length = (size_t)MIN((uint64_t)length, s->end - s->offset);
    int r = await(s, e);
    if (r < 0) {
        return r;
    }
    LIST_FOR_EACH_SAFE(node, &s->pieces)
    {
        if (done == length) {
            break;
        }
        struct piece *p = LIST_ENTRY(node, struct piece, link);
        size_t run = MIN(length - done, rpc_bytes_length(p->data) - p->at);
        rpc_bytes_read(p->data, p->at, to + done, run);
        p->at += run;
        done += run;
        s->queued -= run;
        if (p->at == rpc_bytes_length(p->data)) {
            piece_free(p);
        }
    }
    s->offset += done;
    ask(s);
    return (int64_t)done;
}
