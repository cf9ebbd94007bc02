/* One copy: claim -> pull on a data loop (messages are verified and written by workers, one job at
 * a time while the next message comes) -> durable on a worker -> table, answer, on the owner.
 *
 * The bytes gather in a replica whose file has no chunk's name yet. A source that fails is left for
 * the next one, which goes on where the verified bytes end: sealed chunks are the same everywhere.
 */
#include "chunkserver/copy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "chunkserver/server.h"
#include "chunkserver/wire_rpc.h"
#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/metrics.h"
#include "common/rpc/rpc_stream.h"

struct copy {
    struct server *server;
    struct rpc_loop *loop;
    struct copy_request request;
    copy_done_fn done;
    void *done_arg;
    struct claim claim;
    struct disk *disk; /* that has the chunk, or is to get it */
    struct replica replica;
    size_t source;             /* index of the one that is tried */
    struct rpc_stream *stream; /* NULL: none */
    struct rpc_timer silence;
    struct task task;
    bool busy;                  /* a worker has the replica */
    struct wire_read_data data; /* the message being written; data NULL: none */
    bool stream_failed;         /* of this source; err says why */
    int code;
    struct err err;
};

static void pull_from_next(struct copy *c);

/* ---- End ---- */

static void end_on_owner(void *arg)
{
    struct copy *c = arg;
    struct server *s = c->server;
    if (c->code == 0 && disk_has_failed(&c->disk->state)) {
        c->code = err_set(&c->err, ERR_IO, "chunk %" PRIu64 " is on a disk that failed",
                          c->request.chunk.id);
    }
    if (c->code == 0 && c->replica.disk != NULL) {
        server_chunk_changed(s, c->disk, &c->replica.record);
        counter_add(s->counters.copied_chunks, 1);
    }
    if (c->replica.disk != NULL) {
        replica_deinit(&c->replica);
    }
    server_release(s, &c->claim);
    s->stream_count--;
    gauge_add(s->counters.streams, -1);
    c->done(c->done_arg, c->code, c->code < 0 ? err_message(&c->err) : NULL);
    free(c);
}

static void end(struct copy *c, int code)
{
    CHECK(c->stream == NULL);
    CHECK(!c->busy);
    c->code = code;
    rpc_timer_cancel(c->loop, &c->silence);
    if (code < 0) {
        log_warning("chunkserver", "copy failed chunk=%" PRIu64 " version=%" PRIu64 ": %s",
                    c->request.chunk.id, c->request.chunk.version, err_message(&c->err));
    }
    server_call(server_owner(c->server), end_on_owner, c);
}

/* ---- Durable ---- */

static void finish_run(struct task *t)
{
    struct copy *c = CONTAINER_OF(t, struct copy, task);
    struct chunk_index *index = c->disk->chunks.index;
    c->code = replica_adopt_copy(&c->replica, &c->err);
    if (c->code < 0) {
        server_disk_failed(c->server, c->disk, "a copied chunk cannot be made durable", &c->err);
        return;
    }
    struct index_batch *batch = index_batch_new(index);
    index_put_term(batch, c->request.term);
    c->code = replica_save(&c->replica, &c->err);
    c->code = c->code < 0 ? c->code : chunk_index_write(index, batch, &c->err);
    c->code = c->code < 0 ? c->code : chunk_index_sync_now(index, &c->err);
    index_batch_free(batch);
    if (c->code < 0) {
        server_disk_failed(c->server, c->disk, "the chunk index cannot be made durable", &c->err);
    }
}

static void finish_done(struct task *t)
{
    struct copy *c = CONTAINER_OF(t, struct copy, task);
    c->busy = false;
    end(c, c->code);
}

/* After the stream has closed and the worker is back. */
static void source_over(struct copy *c)
{
    if (c->stream != NULL || c->busy) {
        return;
    }
    if (!c->stream_failed && c->replica.record.length == c->request.length) {
        c->busy = true;
        c->task.run = finish_run;
        c->task.done = finish_done;
        server_task(c->server, c->disk, &c->task, c->loop);
        return;
    }
    if (!c->stream_failed) {
        (void)err_set(&c->err, ERR_EOF,
                      "chunk %" PRIu64 ": %s ended at %" PRIu64 " of %" PRIu64 " bytes",
                      c->request.chunk.id, c->request.sources[c->source], c->replica.record.length,
                      c->request.length);
    }
    c->source++;
    pull_from_next(c);
}

/* ---- Pull ---- */

static void source_failed(struct copy *c)
{
    c->stream_failed = true;
    if (c->stream != NULL) {
        rpc_stream_cancel(c->stream);
    }
}

static void silent(void *arg)
{
    struct copy *c = arg;
    (void)err_set(&c->err, ERR_TIMEOUT, "chunk %" PRIu64 ": %s is silent", c->request.chunk.id,
                  c->request.sources[c->source]);
    source_failed(c);
}

static void write_run(struct task *t)
{
    struct copy *c = CONTAINER_OF(t, struct copy, task);
    struct replica_bytes bytes = {
        .data = c->data.data, .length = rpc_bytes_length(c->data.data), .crcs = c->data.crcs};
    c->code = replica_append(&c->replica, &bytes, &c->err);
}

static void write_done(struct task *t)
{
    struct copy *c = CONTAINER_OF(t, struct copy, task);
    c->busy = false;
    rpc_bytes_unref(c->data.data);
    c->data.data = NULL;
    if (c->code < 0) {
        source_failed(c);
    } else if (c->stream != NULL && !c->stream_failed) {
        rpc_timer_set(c->loop, &c->silence, clock_mono_ms() + HOP_SILENT_MS, silent, c);
        rpc_stream_read(c->stream);
    }
    source_over(c);
}

/* Whether the message continues what we have. */
static int check_message(struct copy *c)
{
    const struct wire_read_header *h = &c->data.header;
    size_t length = rpc_bytes_length(c->data.data);
    uint64_t at = c->replica.record.length;
    bool right = h->sealed && h->version == c->request.chunk.version && h->offset == at &&
                 h->readable == c->request.length && length <= c->request.length - at &&
                 h->crc_count == block_count(length) &&
                 (at + length == c->request.length || length % CHUNK_BLOCK_BYTES == 0);
    if (!right) {
        return err_set(&c->err, ERR_CORRUPT,
                       "chunk %" PRIu64 ": %s has version %" PRIu64 " with %" PRIu64 " bytes",
                       c->request.chunk.id, c->request.sources[c->source], h->version, h->readable);
    }
    return 0;
}

static void pull_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct copy *c = rpc_stream_state(stream);
    rpc_timer_cancel(c->loop, &c->silence);
    int r = wire_read_data_parse(bytes, &c->data);
    if (r < 0) {
        c->data.data = NULL;
        (void)err_set(&c->err, ERR_CORRUPT, "malformed data from %s",
                      c->request.sources[c->source]);
    } else {
        r = check_message(c);
    }
    if (r == 0 && rpc_bytes_length(c->data.data) > 0) {
        c->busy = true;
        c->task.run = write_run;
        c->task.done = write_done;
        server_task(c->server, c->disk, &c->task, c->loop);
        return;
    }
    rpc_bytes_unref(c->data.data);
    c->data.data = NULL;
    if (r < 0) {
        source_failed(c);
    } else { /* nothing in it, but a sign of life; a source that hangs now is silent again */
        rpc_timer_set(c->loop, &c->silence, clock_mono_ms() + HOP_SILENT_MS, silent, c);
    }
    rpc_stream_read(stream); /* for its end */
}

static void pull_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct copy *c = rpc_stream_state(stream);
    c->stream = NULL;
    rpc_timer_cancel(c->loop, &c->silence);
    if (result->code < 0 && !c->stream_failed) {
        c->stream_failed = true;
        (void)rpc_result_err(result, c->request.sources[c->source], &c->err);
    }
    source_over(c);
}

static const struct rpc_stream_ops pull_ops = {
    .on_message = pull_message,
    .on_close = pull_close,
};

/* Begins with the source that is next. ERR_*: there is no channel to it. */
static int pull_begin(struct copy *c)
{
    struct rpc_channel *channel = NULL;
    int r = rpc_pool_get(c->server->channels, c->request.sources[c->source], RPC_BULK, &channel,
                         &c->err);
    if (r < 0) {
        return r;
    }
    c->stream_failed = false;
    struct wire_read read = {.chunk = c->request.chunk, .offset = c->replica.record.length};
    c->stream = wire_read_open(c->loop, channel, &read, &pull_ops, c);
    rpc_channel_unref(channel);
    rpc_timer_set(c->loop, &c->silence, clock_mono_ms() + HOP_SILENT_MS, silent, c);
    rpc_stream_read(c->stream);
    return 0;
}

/* Goes on with the first of the sources left that has a channel; without one the copy ends. */
static void pull_from_next(struct copy *c)
{
    for (; c->source < c->request.source_count; c->source++) {
        if (pull_begin(c) == 0) {
            return;
        }
    }
    replica_remove_copy(&c->replica);
    end(c, c->err.code < 0 ? c->err.code : ERR_UNAVAILABLE);
}

/* ---- Begin ---- */

static void pull_on_loop(void *arg)
{
    pull_from_next(arg);
}

static int check_table(struct copy *c, bool *ret_here)
{
    const struct chunk *chunk = server_chunk(c->server, c->request.chunk.id);
    *ret_here = false;
    if (chunk == NULL) {
        struct disk_need need = {.least_bytes = c->request.length,
                                 .whole_bytes = c->request.length};
        return server_choose_disk(c->server, &need, &c->disk, &c->err);
    }
    c->disk = server_chunk_disk(c->server, chunk); /* where it replaces what is there */
    if (chunk->ref.version < c->request.chunk.version) {
        return server_space_check(c->server, c->disk, c->request.length, &c->err);
    }
    if (chunk->ref.version > c->request.chunk.version) {
        return err_set(&c->err, ERR_STALE, "chunk %" PRIu64 " is here at version %" PRIu64,
                       chunk->ref.id, chunk->ref.version);
    }
    *ret_here =
        chunk->state == CHUNK_SEALED && !chunk->damaged && chunk->length == c->request.length;
    return 0;
}

static void granted(struct claim *claim)
{
    struct copy *c = CONTAINER_OF(claim, struct copy, claim);
    struct server *s = c->server;
    bool here = false;
    s->stream_count++;
    gauge_add(s->counters.streams, 1);
    c->code = check_table(c, &here);
    if (c->code < 0 || here) {
        end_on_owner(c);
        return;
    }
    struct chunk_record record = {
        .ref = c->request.chunk,
        .state = CHUNK_OPEN,
        .inlined = true,
        .granted_start = s->disks.start_count,
        .chunk_bytes = c->request.chunk_bytes,
    };
    replica_init(&c->replica, &c->disk->chunks, &record);
    replica_make_copy(&c->replica);
    server_call(c->loop, pull_on_loop, c);
}

void copy_start(struct server *s, const struct copy_request *request, copy_done_fn done, void *arg)
{
    struct copy *c = xcalloc(1, sizeof(*c));
    c->server = s;
    c->loop = s->loops[s->loop_count - 1];
    c->request = *request;
    c->done = done;
    c->done_arg = arg;
    c->claim = (struct claim){.id = request->chunk.id, .granted = granted};
    server_claim_ending_streams(s, &c->claim, ERR_FENCED, "a sealed copy replaces it");
}
