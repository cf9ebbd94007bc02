/* See chain.h. States of a chain:
 *
 *   waiting for open -> opening (the owner looks, maybe the replica is loaded) -> open -> draining
 *   (the core is over or the writer left; queued work is finished) -> detached (claim released) ->
 *   freed, when both streams have closed as well.
 *
 * The replica is the worker's or the index thread's while `busy`, else the loop's. Whatever ends
 * the chain, work that was queued is still done, except after a failure of our own: a fence then
 * answers with all that was received, which is never less than what was acknowledged. */
#include "chunkserver/chain.h"

#include <inttypes.h>
#include <stdlib.h>

#include "chunkserver/append.h"
#include "chunkserver/replica.h"
#include "chunkserver/server.h"
#include "chunkserver/wire_rpc.h"
#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/metrics.h"
#include "common/rpc/rpc_stream.h"

/* Own work, in order. */
struct chain_work {
    struct chain_work *next;
    struct rpc_bytes *data; /* a reference; NULL unless bytes are to be written */
    struct append_write todo;
    uint32_t crcs[WIRE_BLOCKS_MAX];
    bool sync;
    bool seal;
};

enum chain_phase { CHAIN_WAITING, CHAIN_OPENING, CHAIN_OPEN, CHAIN_DETACHING, CHAIN_DETACHED };

/* One per stream, so its members stand by meaning, not by size. */
/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
struct chain {
    struct server *server;
    struct rpc_loop *loop;
    enum chain_phase phase;
    struct rpc_stream *up;   /* NULL when closed */
    struct rpc_stream *down; /* NULL: none, or closed */
    bool down_ended;         /* it closed before we were open; down_text says why */
    char down_text[RPC_ERROR_TEXT_BYTES_MAX];
    struct wire_open open;          /* the first message ... */
    struct rpc_bytes *open_message; /* ... whole, in CHAIN_OPENING: it may have bytes; else NULL */
    struct claim claim;
    bool claimed;
    bool counted;       /* in server.stream_count */
    struct append core; /* valid in CHAIN_OPEN and later */
    bool cored;         /* ... if this is set */
    struct rpc_timer timer;

    struct chain_work *first, *last; /* waiting for a worker */
    size_t waiting_bytes;            /* of those and the batch */
    bool stopped;                    /* own failure: drop what waits */

    struct job job; /* the worker's */
    bool busy;
    struct chain_work *batch;
    size_t batch_bytes;
    struct disk *disk; /* that has the chunk */
    struct replica replica;
    bool has_replica;
    bool saved;       /* the index has had it */
    bool lost;        /* the disk failed: nothing of the last batch counts */
    bool told_sealed; /* the owner knows */
    struct append_progress progress;
    struct err failure;
    struct index_sync sync;

    int open_code; /* the owner's answer to the open */
    struct err open_err;
};

static void chain_free_if_over(struct chain *c);
static void chain_apply(struct chain *c, const struct append_update *u);
static void chain_start_work(struct chain *c);
static void queue_work(struct chain *c, struct chain_work *w);

static time_ms now(void)
{
    return clock_mono_ms();
}

/* ---- Towards the owner ---- */

struct chain_progress {
    struct server *server;
    chunk_id id;
    uint64_t length, readable;
};

struct chain_sealed {
    struct server *server;
    struct disk *disk;
    struct chunk_record record;
};

static void sealed_on_owner(void *arg)
{
    struct chain_sealed *p = arg;
    server_chunk_changed(p->server, p->disk, &p->record);
    free(p);
}

/* This replica has sealed, the others perhaps not yet, and a failure may still cut what is not
 * acknowledged. */
static void tell_sealed(struct chain *c)
{
    struct chain_sealed *p = xmalloc(sizeof(*p));
    *p = (struct chain_sealed){c->server, c->disk, c->replica.record};
    p->record.acked = MIN(c->core.acked, p->record.length);
    c->told_sealed = true;
    counter_add(c->server->counters.sealed_chunks, 1);
    server_call(server_owner(c->server), sealed_on_owner, p);
}

static void progress_on_owner(void *arg)
{
    struct chain_progress *p = arg;
    server_chunk_grew(p->server, p->id, p->length, p->readable);
    free(p);
}

static void tell_progress(struct chain *c)
{
    struct chain_progress *p = xmalloc(sizeof(*p));
    *p = (struct chain_progress){c->server, c->claim.id, c->core.own.written, c->core.acked};
    server_call(server_owner(c->server), progress_on_owner, p);
}

/* Every replica has sealed: known here alone. Before the acknowledgement goes, so that whoever has
 * it finds the whole chunk readable. Only when the writer has told a watermark: one that knows of
 * no acknowledged byte gives the chunk up if this acknowledgement is lost, and what a reader has
 * seen is never given up. Such a chunk is read once the file master has its length. */
static void tell_all_sealed(struct chain *c)
{
    struct chain_progress *p = xmalloc(sizeof(*p));
    *p = (struct chain_progress){c->server, c->claim.id, c->core.own.written, c->core.own.written};
    server_call(server_owner(c->server), progress_on_owner, p);
}

static void detached_on_loop(void *arg)
{
    struct chain *c = arg;
    c->phase = CHAIN_DETACHED;
    chain_free_if_over(c);
}

/* The record is final for this stream; the claim goes. Stops that are still on their way to the
 * loop come before detached_on_loop(), because posts keep their order. */
static void detach_on_owner(void *arg)
{
    struct chain *c = arg;
    struct server *s = c->server;
    if (c->has_replica && !c->told_sealed) {
        server_chunk_changed(s, c->disk, &c->replica.record);
    }
    if (c->claimed) {
        c->claimed = false;
        server_release(s, &c->claim);
    }
    rpc_loop_post(c->loop, detached_on_loop, c);
}

static bool chain_is_ending(const struct chain *c)
{
    return c->up == NULL || (c->cored && append_is_over(&c->core));
}

static void detach(struct chain *c)
{
    c->phase = CHAIN_DETACHING;
    rpc_timer_cancel(c->loop, &c->timer);
    server_call(server_owner(c->server), detach_on_owner, c);
}

static void detach_if_drained(struct chain *c)
{
    if (c->phase != CHAIN_OPEN || !chain_is_ending(c) || c->busy || c->first != NULL) {
        return;
    }
    /* The table has the chunk, so the index must; of a disk that failed neither has. */
    if (!c->saved && !disk_has_failed(&c->disk->state)) {
        queue_work(c, xcalloc(1, sizeof(struct chain_work)));
        chain_start_work(c);
        return;
    }
    struct chunk_record *record = &c->replica.record;
    if (record->state == CHUNK_OPEN) {
        record->acked = MIN(c->core.acked, record->length);
    }
    detach(c);
}

static void uncount_on_owner(void *arg)
{
    struct server *s = arg;
    s->stream_count--;
    gauge_add(s->counters.streams, -1);
}

static void chain_free_if_over(struct chain *c)
{
    bool idle = c->phase == CHAIN_DETACHED || c->phase == CHAIN_WAITING;
    if (!idle || c->up != NULL || c->down != NULL) {
        return;
    }
    CHECK(!c->busy);
    if (c->has_replica) {
        replica_deinit(&c->replica);
    }
    if (c->counted) { /* only now: a loop must not stop while one of our streams is on it */
        server_call(server_owner(c->server), uncount_on_owner, c->server);
    }
    free(c);
}

/* ---- Own work ---- */

static void work_free(struct chain_work *w)
{
    rpc_bytes_unref(w->data);
    free(w);
}

static void drop_waiting(struct chain *c)
{
    while (c->first != NULL) {
        struct chain_work *w = c->first;
        c->first = w->next;
        c->waiting_bytes -= w->data != NULL ? w->todo.length : 0;
        work_free(w);
    }
    c->last = NULL;
}

static void queue_work(struct chain *c, struct chain_work *w)
{
    w->next = NULL;
    if (c->first == NULL) {
        c->first = w;
    } else {
        c->last->next = w;
    }
    c->last = w;
    c->waiting_bytes += w->data != NULL ? w->todo.length : 0;
}

/* No acknowledgement of what the disk may not have. Any thread; the chain is its own. */
static void disk_failed(struct chain *c, const char *what, const struct err *why)
{
    c->lost = true;
    c->failure = *why;
    server_disk_failed(c->server, c->disk, what, why);
}

/* One after another, until one fails. */
static int run_batch(struct chain *c, bool *ret_sync)
{
    struct replica *r = &c->replica;
    bool sync = false;
    bool seal = false;
    int code = 0;
    if (disk_has_failed(&c->disk->state)) {
        c->lost = true;
        return err_set(&c->failure, ERR_IO, "chunk %" PRIu64 " is on a disk that failed",
                       r->record.ref.id);
    }
    for (struct chain_work *w = c->batch; w != NULL && code == 0; w = w->next) {
        if (w->data != NULL) {
            struct replica_bytes bytes = {.data = w->data,
                                          .skip = (size_t)w->todo.skip,
                                          .length = (size_t)w->todo.length,
                                          .seed = w->todo.seed,
                                          .crcs = w->crcs + w->todo.crc_first};
            CHECK(r->record.length == w->todo.offset);
            code = replica_append(r, &bytes, &c->failure);
        }
        sync = sync || w->sync;
        seal = seal || w->seal;
    }
    if (code == 0 && (sync || seal)) {
        uint64_t version = r->record.ref.version;
        struct err e = ERR_INIT;
        code = seal ? replica_close_at(r, CHUNK_SEALED, version, &e) : replica_sync(r, &e);
        if (code < 0) {
            disk_failed(c, "a chunk cannot be made durable", &e);
        }
        *ret_sync = code == 0;
    }
    return code;
}

static void work_done_on_loop(void *arg);

static void note_saved(struct chain *c)
{
    const struct chunk_record *record = &c->replica.record;
    c->saved = true;
    c->progress = (struct append_progress){.written = record->length,
                                           .durable = record->durable,
                                           .sealed = record->state == CHUNK_SEALED};
}

/* On the index's thread. */
static void put_with_group(struct index_sync *sync, struct index_batch *batch)
{
    replica_put(&CONTAINER_OF(sync, struct chain, sync)->replica, batch);
}

static void synced(struct index_sync *sync, const struct err *failure)
{
    struct chain *c = CONTAINER_OF(sync, struct chain, sync);
    if (failure != NULL) {
        disk_failed(c, "the chunk index cannot be made durable", failure);
    } else {
        note_saved(c);
    }
    rpc_loop_post(c->loop, work_done_on_loop, c);
}

/* The entry is written with the group that is synced next. */
static void save_durably(struct chain *c)
{
    c->sync.put = put_with_group;
    c->sync.done = synced;
    chunk_index_sync(c->disk->chunks.index, &c->sync);
}

static void work_run(struct job *job)
{
    struct chain *c = CONTAINER_OF(job, struct chain, job);
    bool sync = false;
    c->failure.code = run_batch(c, &sync);
    if (sync) {
        save_durably(c);
        return;
    }
    struct err e = ERR_INIT;
    if (!c->lost && replica_save(&c->replica, &e) < 0) {
        disk_failed(c, "the chunk index cannot be written", &e);
    }
    if (!c->lost) {
        note_saved(c);
    }
    rpc_loop_post(c->loop, work_done_on_loop, c);
}

/* Small chunks are sealed, and synced, without a worker: their bytes stay in memory until the
 * index's thread writes them, and waking one costs more than the checksum. */
static bool batch_stays_in_memory(const struct chain *c)
{
    uint64_t length = 0;
    bool durable = false;
    for (const struct chain_work *w = c->batch; w != NULL; w = w->next) {
        length += w->data != NULL ? w->todo.length : 0;
        durable = durable || w->sync || w->seal;
    }
    return durable && replica_stays_inlined(&c->replica, length);
}

static void free_batch(struct chain *c)
{
    while (c->batch != NULL) {
        struct chain_work *w = c->batch;
        c->batch = w->next;
        work_free(w);
    }
    c->waiting_bytes -= c->batch_bytes;
    c->batch_bytes = 0;
}

static void work_done_on_loop(void *arg)
{
    struct chain *c = arg;
    struct append_update u;
    uint64_t before = c->core.own.written;
    free_batch(c);
    c->busy = false;
    if (!c->lost) {
        append_own_done(&c->core, c->progress, now(), &u);
        counter_add(c->server->counters.appended_bytes, c->core.own.written - before);
        if (c->progress.sealed && !c->told_sealed) {
            tell_sealed(c);
        }
        chain_apply(c, &u);
    }
    if (c->failure.code < 0) {
        c->stopped = true;
        drop_waiting(c);
        append_own_failed(&c->core, &c->failure, now(), &u);
        chain_apply(c, &u);
    }
    if (c->core.own.written != before && !c->told_sealed) {
        tell_progress(c);
    }
    chain_start_work(c);
    detach_if_drained(c);
}

static void chain_start_work(struct chain *c)
{
    if (c->busy || c->first == NULL) {
        return;
    }
    c->busy = true;
    c->batch = c->first;
    c->first = c->last = NULL;
    c->batch_bytes = c->waiting_bytes;
    c->replica.record.acked = MIN(c->core.acked, c->replica.record.length);
    c->failure = (struct err)ERR_INIT;
    if (batch_stays_in_memory(c)) {
        bool sync = false;
        c->failure.code = run_batch(c, &sync); /* a failure is told by work_done_on_loop() */
        save_durably(c);
        return;
    }
    c->job = (struct job){.run = work_run};
    workpool_submit_reserved(server_workers(c->server, c->disk), NULL, &c->job, NULL);
}

/* ---- Upstream ---- */

/* Asks for the next message while there is room for it. After a finish none comes. */
static void read_more(struct chain *c)
{
    if (c->up == NULL || c->phase != CHAIN_OPEN || c->core.phase != APPEND_STREAMING) {
        return;
    }
    bool room = c->waiting_bytes < APPEND_WINDOW_BYTES;
    if (room && (c->down == NULL || rpc_stream_writable(c->down))) {
        rpc_stream_read(c->up);
    }
}

static void send_up(struct chain *c, const struct append_ack *ack, const char *text)
{
    if (c->up != NULL && wire_ack_send(c->up, ack, text) < 0) {
        rpc_stream_cancel(c->up); /* it is ending, or the writer does not read what it asked for */
    }
}

static void end_streams(struct chain *c)
{
    bool failed = c->core.phase == APPEND_FAILED;
    if (failed) {
        counter_add(c->server->counters.failed_appends, 1);
        log_info("chunkserver",
                 "append ended chunk=%" PRIu64 " version=%" PRIu64 " at=%" PRIu64
                 " error=%s blamed=%" PRIu64 ": %s",
                 c->open.chunk.id, c->open.chunk.version, c->core.own.written,
                 err_name(c->core.failure.code), c->core.blamed, err_message(&c->core.failure));
    }
    if (c->up != NULL) {
        rpc_stream_finish(c->up, 0, NULL);
    }
    if (c->down != NULL && failed) {
        rpc_stream_cancel(c->down);
    } else if (c->down != NULL) {
        rpc_stream_half_close(c->down);
    }
}

static void chain_apply(struct chain *c, const struct append_update *u)
{
    if (u->ack && u->reply.sealed && c->core.start.first && c->core.acked > 0) {
        tell_all_sealed(c);
    }
    if (c->up != NULL) {
        rpc_stream_cork(c->up); /* the last acknowledgement and the end go together */
    }
    if (u->ack) {
        send_up(c, &u->reply, u->reply.failure != 0 ? c->core.failure.msg : NULL);
    }
    if (u->end) {
        end_streams(c);
    }
    if (c->up != NULL) {
        rpc_stream_uncork(c->up);
    }
    if (!u->end) {
        read_more(c);
    }
}

static void refuse(struct chain *c, int code, const char *text)
{
    bool own = code != ERR_INVALID && code != ERR_CORRUPT && code != ERR_VERSION &&
               code != ERR_FENCED && code != ERR_SEALED && code != ERR_STALE;
    struct append_ack ack = {.failure = code, .blamed = own ? c->open.self : 0};
    if (c->up != NULL) {
        rpc_stream_cork(c->up);
        send_up(c, &ack, text);
        rpc_stream_finish(c->up, 0, NULL);
        rpc_stream_uncork(c->up);
    }
    if (c->down != NULL) {
        rpc_stream_cancel(c->down);
    }
}

static void stop(struct chain *c, int code, const char *why)
{
    if (c->cored) {
        struct append_update u;
        append_stop(&c->core, code, why, &u);
        chain_apply(c, &u);
        detach_if_drained(c);
    }
}

static void tick(void *arg)
{
    struct chain *c = arg;
    struct append_update u;
    append_tick(&c->core, now(), &u);
    rpc_timer_set(c->loop, &c->timer, now() + APPEND_TICK_MS, tick, c);
    chain_apply(c, &u);
    detach_if_drained(c);
}

/* ---- Downstream ---- */

static void down_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct chain *c = rpc_stream_state(stream);
    struct append_ack ack;
    struct append_update u;
    char text[RPC_ERROR_TEXT_BYTES_MAX];
    if (wire_ack_parse(bytes, &ack, text, sizeof(text)) < 0) {
        append_down_broken(&c->core, "malformed acknowledgement", now(), &u);
    } else {
        append_down_ack(&c->core, &ack, text, now(), &u);
    }
    rpc_stream_read(stream);
    chain_apply(c, &u);
    detach_if_drained(c);
}

static void down_sent(struct rpc_stream *stream)
{
    struct chain *c = rpc_stream_state(stream);
    read_more(c);
}

static void down_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct chain *c = rpc_stream_state(stream);
    const char *text = result->text[0] != '\0' ? result->text : "the stream ended early";
    c->down = NULL;
    if (c->cored) {
        struct append_update u;
        append_down_broken(&c->core, text, now(), &u);
        chain_apply(c, &u);
        detach_if_drained(c);
    } else {
        c->down_ended = true;
        (void)snprintf(c->down_text, sizeof(c->down_text), "%s", text);
    }
    chain_free_if_over(c);
}

static const struct rpc_stream_ops down_ops = {
    .on_message = down_message,
    .on_sent = down_sent,
    .on_close = down_close,
};

/* The next replica hears of the chunk while we still look at our own disk. */
static void open_down(struct chain *c, struct rpc_bytes *bytes)
{
    if (c->open.next.id == 0) {
        return;
    }
    struct rpc_channel *channel = NULL;
    struct err e = ERR_INIT;
    int r = rpc_pool_get(c->server->channels, c->open.next.address, RPC_BULK, &channel, &e);
    if (r < 0) {
        c->down_ended = true;
        (void)snprintf(c->down_text, sizeof(c->down_text), "%s", err_message(&e));
        return;
    }
    c->down = wire_append_open(c->loop, channel, bytes, &down_ops, c);
    rpc_channel_unref(channel);
}

/* ---- Messages ---- */

/* A stream that is ending already has its reason on the way, which must not be cut off. */
static void forward(struct chain *c, struct rpc_bytes *bytes, bool last)
{
    int r = c->down != NULL ? wire_append_relay(c->down, bytes, last) : 0;
    if (r < 0 && r != ERR_CANCELLED) {
        rpc_stream_cancel(c->down);
    }
}

/* The first one was passed on with the opening of the stream below. */
static void take_message(struct chain *c, struct rpc_bytes *bytes, bool first)
{
    struct wire_append m;
    struct append_update u;
    struct err e = ERR_INIT;
    if (wire_append_parse(bytes, first, &m, &e) < 0) {
        stop(c, ERR_INVALID, err_message(&e));
        return;
    }
    append_message(&c->core, &m.message, now(), &u);
    if (u.forward && !first) {
        forward(c, bytes, m.message.finish);
    }
    if (u.write || u.sync || u.seal) {
        struct chain_work *w = xcalloc(1, sizeof(*w));
        w->todo = u.todo;
        w->data = u.write ? rpc_bytes_ref(m.data) : NULL;
        w->sync = u.sync;
        w->seal = u.seal;
        for (size_t i = 0; i < m.message.crc_count; i++) {
            w->crcs[i] = m.crcs[i];
        }
        queue_work(c, w);
        chain_start_work(c);
    }
    rpc_bytes_unref(m.data);
    if (u.watermark && !c->told_sealed) {
        tell_progress(c);
    }
    chain_apply(c, &u);
    detach_if_drained(c);
}

/* ---- Open ---- */

static void drop_open_message(struct chain *c)
{
    rpc_bytes_unref(c->open_message);
    c->open_message = NULL;
}

static void opened_on_loop(void *arg)
{
    struct chain *c = arg;
    if (c->open_code < 0) {
        drop_open_message(c);
        refuse(c, c->open_code, err_message(&c->open_err));
        detach(c);
        return;
    }
    c->phase = CHAIN_OPEN;
    const struct chunk_record *record = &c->replica.record;
    struct append_start start = {
        .chunk = record->ref,
        .self = c->open.self,
        .next = c->open.next.id,
        .first = c->open.first,
        .chunk_bytes = record->chunk_bytes,
        .length = record->length,
        .durable = record->durable,
        .acked = record->acked,
        .tail_crc = replica_tail_crc(&c->replica),
        .now = now(),
    };
    append_init(&c->core, &start);
    c->cored = true;
    rpc_timer_set(c->loop, &c->timer, now() + APPEND_TICK_MS, tick, c);
    if (c->down != NULL) {
        rpc_stream_read(c->down);
    }
    if (c->up == NULL) {
        stop(c, ERR_CANCELLED, "the writer has left");
    } else if (c->down_ended) {
        struct append_update u;
        append_down_broken(&c->core, c->down_text, now(), &u);
        chain_apply(c, &u);
        detach_if_drained(c);
    }
    struct rpc_bytes *message = c->open_message;
    c->open_message = NULL;
    if (!append_is_over(&c->core)) {
        take_message(c, message, true);
    }
    rpc_bytes_unref(message);
}

static void load_run(struct job *job)
{
    struct chain *c = CONTAINER_OF(job, struct chain, job);
    c->open_code = replica_load(&c->replica, &c->disk->chunks, c->claim.id, &c->open_err);
    c->has_replica = c->open_code == 0;
    rpc_loop_post(c->loop, opened_on_loop, c);
}

static int taken_over(chunk_id id, uint64_t version, struct err *e)
{
    return err_set(e, ERR_FENCED, "chunk %" PRIu64 ": version %" PRIu64 " has taken over", id,
                   version);
}

/* Whether a chunk that is here may be appended to. */
static int check_existing(const struct chain *c, const struct chunk *chunk, struct err *e)
{
    const struct wire_open *open = &c->open;
    if (chunk->ref.version > open->chunk.version) {
        return taken_over(chunk->ref.id, chunk->ref.version, e);
    }
    if (chunk->ref.version < open->chunk.version) {
        return err_set(e, ERR_STALE, "chunk %" PRIu64 ": this replica is at version %" PRIu64,
                       chunk->ref.id, chunk->ref.version);
    }
    if (chunk->state != CHUNK_OPEN) {
        return err_set(e, ERR_SEALED, "chunk %" PRIu64 " is sealed", chunk->ref.id);
    }
    if (!chunk->clean) {
        return err_set(e, ERR_UNCLEAN, "chunk %" PRIu64 ": this server was restarted since",
                       chunk->ref.id);
    }
    if (open->create && chunk->length > 0) {
        return err_set(e, ERR_EXISTS, "chunk %" PRIu64 " exists", chunk->ref.id);
    }
    return 0;
}

static int check_open(struct chain *c, struct err *e)
{
    struct server *s = c->server;
    const struct chunk *chunk = server_chunk(s, c->open.chunk.id);
    if (s->draining) {
        return err_set(e, ERR_UNAVAILABLE, "the chunkserver is shutting down");
    }
    if (s->disks.ident.member != 0 && c->open.self != s->disks.ident.member) {
        return err_set(e, ERR_UNAVAILABLE, "this is server %" PRIu64 ", not %" PRIu64,
                       s->disks.ident.member, c->open.self);
    }
    if (server_is_claimed(s, c->open.chunk.id)) {
        return err_set(e, ERR_BUSY, "chunk %" PRIu64 " is in use", c->open.chunk.id);
    }
    if (chunk != NULL) {
        c->disk = server_chunk_disk(s, chunk);
        return check_existing(c, chunk, e);
    }
    if (!c->open.create) {
        return err_set(e, ERR_NOT_FOUND, "chunk %" PRIu64 " is not on this server",
                       c->open.chunk.id);
    }
    uint64_t fenced = fenced_version(&s->fenced, c->open.chunk.id);
    if (fenced > c->open.chunk.version) {
        return taken_over(c->open.chunk.id, fenced, e);
    }
    struct disk_need need = {.least_bytes = 1, .whole_bytes = c->open.chunk_bytes};
    return server_choose_disk(s, &need, &c->disk, e);
}

/* Nobody held the id, so the grant comes at once. */
static void claim_granted(struct claim *claim)
{
    claim->chain->claimed = true;
}

static void open_on_owner(void *arg)
{
    struct chain *c = arg;
    struct server *s = c->server;
    s->stream_count++;
    gauge_add(s->counters.streams, 1);
    c->counted = true;
    c->open_code = check_open(c, &c->open_err);
    if (c->open_code < 0) {
        server_call(c->loop, opened_on_loop, c);
        return;
    }
    c->claim = (struct claim){.id = c->open.chunk.id, .granted = claim_granted, .chain = c};
    server_claim(s, &c->claim);
    CHECK(c->claimed);
    c->saved = server_chunk(s, c->open.chunk.id) != NULL;
    const struct chunk *chunk = server_chunk(s, c->open.chunk.id);
    if (chunk != NULL && chunk->length > 0) {
        c->job = (struct job){.run = load_run};
        workpool_submit_reserved(server_workers(s, c->disk), NULL, &c->job, NULL);
        return;
    }
    struct chunk_record record = {
        .ref = c->open.chunk,
        .state = CHUNK_OPEN,
        .inlined = true,
        .granted_start = s->disks.start_count,
        .chunk_bytes = c->open.chunk_bytes,
    };
    replica_init(&c->replica, &c->disk->chunks, &record);
    c->has_replica = true;
    server_chunk_changed(s, c->disk, &record);
    server_call(c->loop, opened_on_loop, c);
}

/* ---- The stream's callbacks ---- */

static void up_open(struct rpc_stream *stream)
{
    struct chain *c = xcalloc(1, sizeof(*c));
    c->server = rpc_stream_service(stream);
    c->loop = rpc_stream_loop(stream);
    c->up = stream;
    rpc_stream_set_state(stream, c);
    rpc_stream_read(stream);
}

static void first_message(struct chain *c, struct rpc_bytes *bytes)
{
    struct err e = ERR_INIT;
    int r = wire_open_parse(bytes, &c->open, &e);
    if (r < 0) {
        refuse(c, r, err_message(&e));
        return;
    }
    c->phase = CHAIN_OPENING;
    c->open_message = rpc_bytes_ref(bytes);
    open_down(c, bytes);
    server_call(server_owner(c->server), open_on_owner, c);
}

static void up_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct chain *c = rpc_stream_state(stream);
    if (c->phase == CHAIN_WAITING) {
        first_message(c, bytes);
    } else if (c->cored && !append_is_over(&c->core)) {
        take_message(c, bytes, false);
    }
}

static void up_half_close(struct rpc_stream *stream)
{
    struct chain *c = rpc_stream_state(stream);
    if (c->phase == CHAIN_WAITING) {
        rpc_stream_finish(stream, ERR_INVALID, "an append without a message");
    } else if (c->cored && c->core.phase == APPEND_STREAMING) {
        stop(c, ERR_CANCELLED, "the writer has left");
    }
}

static void up_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct chain *c = rpc_stream_state(stream);
    (void)result;
    c->up = NULL;
    stop(c, ERR_CANCELLED, "the writer has left");
    if (c->down != NULL && !c->cored) {
        rpc_stream_cancel(c->down);
    }
    detach_if_drained(c);
    chain_free_if_over(c);
}

const struct rpc_stream_ops chain_ops = {
    .on_open = up_open,
    .on_message = up_message,
    .on_half_close = up_half_close,
    .on_close = up_close,
};

/* ---- Stop from the owner ---- */

struct chain_stop {
    struct chain *chain;
    int code;
    const char *why;
};

static void stop_on_loop(void *arg)
{
    struct chain_stop *s = arg;
    stop(s->chain, s->code, s->why);
    free(s);
}

void chain_stop(struct chain *c, int code, const char *why)
{
    struct chain_stop *s = xmalloc(sizeof(*s));
    *s = (struct chain_stop){c, code, why};
    rpc_loop_post(c->loop, stop_on_loop, s);
}
