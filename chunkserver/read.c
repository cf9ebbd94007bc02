/* See read.h. What may be read never changes: a sealed chunk at all, an open one below its
 * watermark. So a reader needs no lock, and a fence or delete meanwhile does not disturb it (a
 * deleted file stays open here).
 *
 * An open chunk's last block may be longer on the disk than what may be read. It is verified as the
 * index has it, and the reader gets the CRC of the part that it is sent. Index entries of an open
 * chunk are read before the bytes: what they cover was written before them. */
#include "chunkserver/read.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "chunkserver/server.h"
#include "chunkserver/wire_rpc.h"
#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/crc32c.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/metrics.h"
#include "common/rpc/rpc_stream.h"

struct reader {
    struct server *server;
    struct rpc_loop *loop;
    struct rpc_stream *stream; /* NULL when closed */
    struct wire_read request;
    struct task task;
    bool away;                  /* with the owner or a worker: not to be freed */
    bool counted;               /* in server.stream_count */
    bool begun;                 /* a message was sent */
    bool ended;                 /* the stream was finished by us */
    struct chunk_waiter waiter; /* the owner's, while the watermark is behind `seen` */
    struct rpc_timer timer;     /* the owner's */

    /* Answer of the owner. */
    struct chunk chunk; /* a copy */
    int code;
    struct err err;

    uint64_t at;  /* next byte to be read; a block boundary */
    uint64_t end; /* where the answer ends */

    /* The worker's, while away. */
    struct chunk_file file;
    bool inlined;
    bool opened;
    struct crc_segment segment; /* cached */
    uint32_t segment_number;    /* of it; UINT32_MAX: none */
    uint8_t *piece;             /* malloced; the bytes of one message */
    size_t piece_length;
    uint32_t crcs[WIRE_BLOCKS_MAX];
};

static void reader_free_if_over(struct reader *r)
{
    if (r->stream != NULL || r->away) {
        return;
    }
    chunk_file_close(&r->file);
    free(r->piece);
    free(r);
}

static void uncount_on_owner(void *arg)
{
    struct server *s = arg;
    s->stream_count--;
    gauge_add(s->counters.streams, -1);
}

static void finish(struct reader *r, int code, const char *text)
{
    if (!r->ended && r->stream != NULL) {
        r->ended = true;
        rpc_stream_finish(r->stream, code, text);
    }
}

/* ---- On a worker ---- */

static const struct chunk_disk *reader_disk(const struct reader *r)
{
    return &server_chunk_disk(r->server, &r->chunk)->chunks;
}

/* CRC of `block` as the index has it, and how many bytes it covers. */
static int indexed_crc(struct reader *r, uint32_t block, uint32_t *ret_crc, size_t *ret_length)
{
    uint32_t number = block / CRC_SEGMENT_BLOCKS;
    uint32_t at = block % CRC_SEGMENT_BLOCKS;
    if (r->segment_number != number) {
        int code = chunk_index_get_crcs(reader_disk(r)->index, r->chunk.ref.id, number, &r->segment,
                                        &r->err);
        if (code < 0) {
            return code;
        }
        r->segment_number = number;
    }
    uint64_t start = (uint64_t)block * CHUNK_BLOCK_BYTES;
    if (at >= r->segment.count) {
        return err_set(&r->err, ERR_CORRUPT, "chunk %" PRIu64 ": no checksum for block %u",
                       r->chunk.ref.id, block);
    }
    /* The length is the chunk's when the segment was written; later blocks do not shorten ours. */
    uint64_t covered = MIN((uint64_t)CHUNK_BLOCK_BYTES, r->segment.length - start);
    *ret_crc = r->segment.values[at];
    *ret_length = (size_t)covered;
    return 0;
}

static int damaged(struct reader *r, uint32_t block)
{
    return err_set(&r->err, ERR_CORRUPT, "chunk %" PRIu64 ": block %u is damaged on this server",
                   r->chunk.ref.id, block);
}

/* Reads whole blocks from r->at on and verifies each. */
static int read_blocks(struct reader *r)
{
    uint64_t start = r->at;
    uint64_t end = MIN(start + DATA_MESSAGE_BYTES_MAX, r->end);
    uint32_t first = (uint32_t)(start / CHUNK_BLOCK_BYTES);
    uint32_t count = block_count(end) - first;
    uint32_t crc = 0;
    size_t last_length = 0;
    for (uint32_t i = 0; i < count; i++) {
        int code = indexed_crc(r, first + i, &r->crcs[i], &last_length);
        if (code < 0) {
            return code;
        }
    }
    size_t whole = (size_t)(count - 1) * CHUNK_BLOCK_BYTES;
    size_t wanted = (size_t)(end - start);
    if (whole + last_length < wanted) {
        return damaged(r, first + count - 1);
    }
    r->piece = xmalloc(whole + last_length);
    int code = chunk_file_read(&r->file, start, r->piece, whole + last_length, &r->err);
    for (uint32_t i = 0; code == 0 && i < count; i++) {
        size_t length = i + 1 < count ? (size_t)CHUNK_BLOCK_BYTES : last_length;
        crc = crc32c(r->piece + (size_t)i * CHUNK_BLOCK_BYTES, length);
        code = crc == r->crcs[i] ? 0 : damaged(r, first + i);
    }
    if (code == 0 && whole + last_length > wanted) {
        r->crcs[count - 1] = crc32c(r->piece + whole, wanted - whole);
    }
    r->piece_length = wanted;
    return code;
}

static int read_inline(struct reader *r)
{
    struct buf value = BUF_INIT;
    struct inline_data data;
    size_t wanted = (size_t)r->end;
    int code =
        chunk_index_get_inline(reader_disk(r)->index, r->chunk.ref.id, &value, &data, &r->err);
    if (code == 0 &&
        (data.bytes.length < wanted || crc32c(data.bytes.data, data.bytes.length) != data.crc)) {
        code = damaged(r, 0);
    }
    if (code == 0) {
        r->piece = xmemdup(data.bytes.data, wanted);
        r->piece_length = wanted;
        r->crcs[0] = data.bytes.length == wanted ? data.crc : crc32c(r->piece, wanted);
    }
    buf_deinit(&value);
    return code;
}

static int open_replica(struct reader *r)
{
    struct chunk_record record;
    int code = chunk_index_get(reader_disk(r)->index, r->chunk.ref.id, &record, &r->err);
    if (code < 0) {
        return code;
    }
    r->inlined = record.inlined;
    r->opened = true;
    if (r->inlined) {
        return 0;
    }
    return chunk_file_open(&reader_disk(r)->dirs, r->chunk.ref.id, false, &r->file, &r->err);
}

static void piece_run(struct task *t)
{
    struct reader *r = CONTAINER_OF(t, struct reader, task);
    r->code = r->opened ? 0 : open_replica(r);
    if (r->code == 0 && r->inlined) {
        r->code = read_inline(r);
        if (r->code == ERR_NOT_FOUND) { /* it has just moved to a file */
            r->code = open_replica(r);
        }
    }
    if (r->code == 0 && !r->inlined) {
        r->code = read_blocks(r);
        if (r->code == ERR_CORRUPT) { /* a seal may have cut the last block meanwhile */
            free(r->piece);
            r->piece = NULL;
            r->segment_number = UINT32_MAX;
            r->code = read_blocks(r);
        }
    }
}

/* ---- On the loop ---- */

struct damage_post {
    struct server *server;
    const struct disk *disk;
    chunk_id id;
};

static void damaged_on_owner(void *arg)
{
    struct damage_post *p = arg;
    server_chunk_suspected(p->server, p->disk, p->id);
    free(p);
}

static void failed(struct reader *r)
{
    if (r->code == ERR_CORRUPT || r->code == ERR_IO) {
        struct damage_post *p = xmalloc(sizeof(*p));
        *p = (struct damage_post){r->server, server_chunk_disk(r->server, &r->chunk),
                                  r->chunk.ref.id};
        server_call(server_owner(r->server), damaged_on_owner, p);
    }
    finish(r, r->code, err_message(&r->err));
}

static void send_piece(struct reader *r)
{
    struct wire_read_header header = {
        .offset = r->at,
        .crcs = r->crcs,
        .crc_count = block_count(r->piece_length),
        .readable = r->chunk.readable,
        .sealed = r->chunk.state == CHUNK_SEALED,
        .version = r->chunk.ref.version,
    };
    struct rpc_bytes *data = NULL;
    if (r->piece_length > 0) {
        data = rpc_bytes_wrap(r->piece, r->piece_length, free, r->piece);
        r->piece = NULL;
    }
    if (wire_read_send(r->stream, &header, data) < 0) {
        rpc_stream_cancel(r->stream); /* it is ending */
    }
    rpc_bytes_unref(data);
    counter_add(r->server->counters.read_bytes, r->piece_length);
    r->at += r->piece_length;
    r->piece_length = 0;
    r->begun = true;
}

static void go_on(struct reader *r)
{
    if (r->away || r->ended || r->stream == NULL) {
        return;
    }
    if (r->at >= r->end) {
        if (!r->begun) {
            send_piece(r); /* no bytes, but how far the chunk may be read */
        }
        finish(r, 0, NULL);
    } else if (rpc_stream_writable(r->stream)) {
        r->away = true;
        const struct disk *disk = server_chunk_disk(r->server, &r->chunk);
        server_task(r->server, disk, &r->task, r->loop);
    }
}

static void piece_done(struct task *t)
{
    struct reader *r = CONTAINER_OF(t, struct reader, task);
    r->away = false;
    if (r->stream != NULL && !r->ended) {
        if (r->code < 0) {
            failed(r);
        } else {
            send_piece(r);
            go_on(r);
        }
    }
    reader_free_if_over(r);
}

/* ---- On the owner: how far may it be read? ---- */

static void looked_up_on_loop(void *arg)
{
    struct reader *r = arg;
    r->away = false;
    r->counted = true;
    if (r->stream == NULL) {
        server_call(server_owner(r->server), uncount_on_owner, r->server);
        reader_free_if_over(r);
        return;
    }
    if (r->code < 0) {
        finish(r, r->code, err_message(&r->err));
        return;
    }
    uint64_t readable = r->chunk.readable;
    uint64_t end =
        r->request.length == 0 || r->request.length > readable - MIN(readable, r->request.offset)
            ? readable
            : r->request.offset + r->request.length;
    uint64_t whole = (end + CHUNK_BLOCK_BYTES - 1) / CHUNK_BLOCK_BYTES * CHUNK_BLOCK_BYTES;
    r->end = r->request.offset >= readable ? 0 : MIN(whole, readable);
    r->at = MIN(r->request.offset, readable) / CHUNK_BLOCK_BYTES * CHUNK_BLOCK_BYTES;
    go_on(r);
}

static int check_readable(struct reader *r, const struct chunk *chunk)
{
    const struct chunk_ref *wanted = &r->request.chunk;
    if (chunk == NULL) {
        return err_set(&r->err, ERR_NOT_FOUND, "chunk %" PRIu64 " is not on this server",
                       wanted->id);
    }
    if (wanted->version != 0 && wanted->version != chunk->ref.version) {
        return err_set(&r->err, ERR_STALE,
                       "chunk %" PRIu64 " is at version %" PRIu64 ", not %" PRIu64, wanted->id,
                       chunk->ref.version, wanted->version);
    }
    r->chunk = *chunk;
    if (chunk->state == CHUNK_SEALED && !r->request.open) {
        r->chunk.readable = chunk->length;
    }
    if (r->request.seen > r->chunk.readable) {
        return err_set(&r->err, ERR_UNAVAILABLE,
                       "chunk %" PRIu64 " may be read up to %" PRIu64 " here, %" PRIu64 " was seen",
                       wanted->id, r->chunk.readable, r->request.seen);
    }
    return 0;
}

static void lookup(struct reader *r)
{
    r->code = check_readable(r, server_chunk(r->server, r->request.chunk.id));
}

static void answer(struct reader *r)
{
    server_unwait(r->server, &r->waiter);
    rpc_timer_cancel(server_owner(r->server), &r->timer);
    server_call(r->loop, looked_up_on_loop, r);
}

static void waited_enough(void *arg)
{
    answer(arg);
}

static void watermark_moved(struct chunk_waiter *w)
{
    struct reader *r = CONTAINER_OF(w, struct reader, waiter);
    lookup(r);
    if (r->code != ERR_UNAVAILABLE) {
        answer(r);
    }
}

static void lookup_on_owner(void *arg)
{
    struct reader *r = arg;
    struct server *s = r->server;
    s->stream_count++;
    gauge_add(s->counters.streams, 1);
    list_init(&r->waiter.link);
    lookup(r);
    const struct chunk *chunk = server_chunk(s, r->request.chunk.id);
    if (r->code != ERR_UNAVAILABLE || chunk->state == CHUNK_SEALED) {
        answer(r);
        return;
    }
    r->waiter.id = r->request.chunk.id;
    r->waiter.changed = watermark_moved;
    server_wait(s, &r->waiter);
    rpc_timer_set(server_owner(s), &r->timer, clock_mono_ms() + READ_WAIT_MS, waited_enough, r);
}

/* ---- The stream's callbacks ---- */

static void read_open(struct rpc_stream *stream)
{
    struct reader *r = xcalloc(1, sizeof(*r));
    r->server = rpc_stream_service(stream);
    r->loop = rpc_stream_loop(stream);
    r->stream = stream;
    r->file = (struct chunk_file)CHUNK_FILE_CLOSED;
    r->segment_number = UINT32_MAX;
    r->task.run = piece_run;
    r->task.done = piece_done;
    rpc_stream_set_state(stream, r);
    rpc_stream_read(stream);
}

static void read_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct reader *r = rpc_stream_state(stream);
    int code = wire_read_parse(bytes, &r->request);
    if (code < 0) {
        finish(r, code, "malformed read request");
        return;
    }
    r->away = true;
    server_call(server_owner(r->server), lookup_on_owner, r);
}

static void read_sent(struct rpc_stream *stream)
{
    struct reader *r = rpc_stream_state(stream);
    if (r->counted) {
        go_on(r);
    }
}

static void read_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct reader *r = rpc_stream_state(stream);
    (void)result;
    r->stream = NULL;
    if (r->counted) {
        server_call(server_owner(r->server), uncount_on_owner, r->server);
    }
    reader_free_if_over(r);
}

const struct rpc_stream_ops read_ops = {
    .on_open = read_open,
    .on_message = read_message,
    .on_sent = read_sent,
    .on_close = read_close,
};
