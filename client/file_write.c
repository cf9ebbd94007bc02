/* Writing a file: does what writer_core.h says, on a loop that the user's calls step. Several
 * messages are in flight, so sending overlaps with what the user does between two calls.
 *
 * Whoever ends a lease looks for the last chunk on its servers, and drops one that is on none. So
 * only a writer that surely has its lease begins a chunk, and what it has written counts once it
 * had the lease still when all servers had the chunk: from then on nobody misses it. In doubt, when
 * no file master could be reached for long, it asks (be_sure()). A stream that is under way goes on
 * meanwhile.
 *
 * A chunk is one stream to the first of its servers. When it fails, falls silent or is refused, the
 * server at fault is remembered for a while and left out of the next allocations.
 *
 * A writer that pauses must not keep readers from what it has written: after 50 ms the connection's
 * keeper (lease.h) takes in what has come and sends down the chain, if there is one, what the
 * stream had no room for, what fills no message, and the watermark. Only the writer may tell that:
 * what a reader has seen is never given up, and the writer gives up a chunk of which it knows no
 * acknowledged byte.
 *
 * So a file that readers can open has a chain from its first byte on: the keeper begins the one of
 * a chunk that came with Create (a small file that is closed at once has it in one message), and
 * dfs_write() asks for every other chunk, which means waiting, and the keeper must not wait. A file
 * without a name has no readers; its chunks are asked for when they have a message to take. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/chunk_rpc.h"
#include "client/file.h"
#include "client/fs_rpc.h"
#include "client/write_buffer.h"
#include "client/writer_core.h"
#include "common/alloc.h"
#include "common/check.h"
#include "common/crc32c.h"
#include "common/macros.h"

enum {
    WINDOW_BYTES = 16 * DATA_MESSAGE_BYTES_MAX, /* kept until acknowledged; covers one fdatasync */
    BLAMED_COUNT_MAX = 16,
    BLAMED_MS = SERVER_DEAD_MS + 5 * 1000, /* by then the file master knows */
    RETRY_MS_MIN = 25,                     /* after the second failure in a row */
    RETRY_MS_MAX = 1000,
    FEW_MS = 200,     /* between allocations while there are too few servers */
    RECOVER_MS = 300, /* between requests for a seal that cannot be made yet */
    ABANDON_MS = 5 * 1000,
};

struct blamed {
    server_id server;
    time_ms until;
};

/* One stream. Freed in its on_close; only the current one of the file matters. */
struct chain {
    struct list link; /* in the file's chains */
    struct file_write *file;
    struct rpc_stream *stream;
    struct fs_server *servers; /* in memory below */
    size_t server_count;
    struct arena memory;
};

struct file_write {
    struct dfs *dfs;
    struct rpc_loop *loop;
    char *name; /* for error texts */
    bool named; /* readers can open it */
    inode_id inode;
    uint64_t lease_epoch;
    struct lease lease;
    struct fs_result
        first; /* a chunk that Create allocated and no byte has needed yet; id 0: none */
    struct arena first_memory; /* its replicas' */
    struct writer core;
    struct write_buffer buffer;
    struct chain *chain; /* NULL: none */
    bool anchored;       /* no chunk of ours can be missed by whoever ends the lease */
    struct list chains;  /* with an open stream, the dying ones too */
    uint32_t tail_crc;   /* of the chunk's last block as far as it is sent */
    uint64_t told;       /* watermark that the chain was last told */
    time_ms heard_ms;    /* the chain said something, or owed nothing */
    time_ms looked_ms;   /* we last looked */
    uint64_t progress;   /* acknowledged bytes when the call's deadline was set */
    struct blamed blamed[BLAMED_COUNT_MAX];
    unsigned failures;    /* of chains in a row, without any progress */
    struct err failure;   /* the last of them */
    struct err final;     /* code != 0: the file can take no more */
    struct err waits_for; /* why the last step is to be tried again; code 0: it is not */
};

/* ---- Chains --------------------------------------------------------------------------------- */

static void blame(struct file_write *w, server_id server)
{
    struct blamed *slot = &w->blamed[0];
    for (size_t i = 0; i < BLAMED_COUNT_MAX && server != 0; i++) {
        struct blamed *b = &w->blamed[i];
        if (b->server == server) {
            slot = b;
            break;
        }
        slot = b->until < slot->until ? b : slot;
    }
    if (server != 0) {
        *slot = (struct blamed){server, clock_mono_ms() + BLAMED_MS};
    }
}

static size_t blamed_list(const struct file_write *w, server_id ids[BLAMED_COUNT_MAX])
{
    size_t count = 0;
    time_ms now = clock_mono_ms();
    for (size_t i = 0; i < BLAMED_COUNT_MAX; i++) {
        if (w->blamed[i].until > now) {
            ids[count++] = w->blamed[i].server;
        }
    }
    return count;
}

/* The current stream is not used any more; it closes by itself. */
static void chain_detach(struct file_write *w)
{
    if (w->chain) {
        struct rpc_stream *stream = w->chain->stream;
        w->chain = NULL;
        rpc_stream_cancel(stream);
    }
}

static void chain_failed(struct file_write *w, server_id server, int code, const char *text)
{
    (void)err_set(&w->failure, code < 0 ? code : ERR_UNAVAILABLE, "chunk %" PRIu64 ": %s",
                  w->core.chunk.id, text);
    blame(w, server);
    w->failures++;
    writer_failed(&w->core);
    chain_detach(w);
}

static void on_ack(struct rpc_stream *stream, struct rpc_bytes *message)
{
    struct chain *chain = rpc_stream_state(stream);
    struct file_write *w = chain->file;
    struct chain_ack ack;
    rpc_stream_read(stream);
    if (w->chain != chain) {
        return;
    }
    w->heard_ms = clock_mono_ms();
    server_id first = chain->servers[0].id;
    if (chain_ack_parse(message, &ack) < 0) {
        chain_failed(w, first, ERR_CORRUPT, "malformed acknowledgement");
    } else if (ack.failure) {
        chain_failed(w, ack.blamed, ack.failure, ack.text);
    } else if (writer_acked(&w->core, ack.written, ack.durable, ack.sealed) < 0) {
        chain_failed(w, first, ERR_CORRUPT, "acknowledgement of what was never sent");
    } else {
        if (!w->anchored && ack.written > 0) { /* all servers have it */
            w->anchored = lease_state(w->dfs, &w->lease) == LEASE_HELD;
        }
        w->chain = ack.sealed ? NULL : w->chain; /* the server ends the stream */
    }
}

static void on_chain_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct chain *chain = rpc_stream_state(stream);
    struct file_write *w = chain->file;
    if (w->chain == chain) {
        w->chain = NULL;
        chain_failed(w, chain->servers[0].id, result->cause,
                     result->text[0] ? result->text : "the stream ended early");
    }
    list_remove(&chain->link);
    arena_deinit(&chain->memory);
    free(chain);
}

static const struct rpc_stream_ops chain_ops = {.on_message = on_ack, .on_close = on_chain_close};

static struct fs_server *copy_servers(const struct fs_result *result, struct arena *memory)
{
    struct fs_server *servers =
        arena_copy(memory, result->replicas, result->replica_count * sizeof(*servers));
    for (size_t i = 0; i < result->replica_count; i++) {
        struct fs_server *s = &servers[i];
        s->host = arena_strdup(memory, s->host);
        s->rack = arena_strdup(memory, s->rack);
        s->address = arena_strdup(memory, s->address);
        s->local_socket = arena_strdup(memory, s->local_socket);
    }
    return servers;
}

/* Fills crcs and moves the running value on. */
static size_t checksum(struct file_write *w, uint64_t offset, const struct rpc_bytes *bytes,
                       uint32_t crcs[CHUNK_MESSAGE_BLOCKS_MAX])
{
    struct iovec iov[16];
    size_t length = rpc_bytes_length(bytes), done = 0, count = 0;
    uint32_t crc = offset % CHUNK_BLOCK_BYTES ? w->tail_crc : 0;
    while (done < length) {
        int runs = rpc_bytes_iov(bytes, done, iov, (int)ARRAY_COUNT(iov));
        CHECK(runs > 0);
        for (int i = 0; i < runs; i++) {
            const char *at = iov[i].iov_base;
            size_t left = iov[i].iov_len;
            while (left > 0) {
                size_t in_block = (size_t)((offset + done) % CHUNK_BLOCK_BYTES);
                size_t run = MIN(left, CHUNK_BLOCK_BYTES - in_block);
                crc = crc32c_extend(crc, at, run);
                at += run;
                left -= run;
                done += run;
                if (in_block + run == CHUNK_BLOCK_BYTES || done == length) {
                    crcs[count++] = crc;
                    w->tail_crc = crc;
                    crc = 0;
                }
            }
        }
    }
    return count;
}

/* What the step sends. crcs must live as long as *ret; the bytes are the caller's to unref. */
static void message_fill(struct file_write *w, const struct writer_step *step, uint32_t *crcs,
                         struct chain_data *ret)
{
    *ret = (struct chain_data){.offset = step->offset,
                               .acked = w->core.acked,
                               .sync = step->sync,
                               .finish = step->what == WRITER_FINISH};
    if (step->length > 0) {
        ret->bytes =
            write_buffer_part(&w->buffer, w->core.base + step->offset, (size_t)step->length);
        ret->crc_count = checksum(w, step->offset, ret->bytes, crcs);
        ret->crcs = crcs;
    }
}

/* The first bytes go with the opening of the stream, if they are there. */
static void chain_start(struct file_write *w, const struct fs_result *result)
{
    struct err e = ERR_INIT;
    struct chain *chain = xcalloc(1, sizeof(*chain));
    chain->file = w;
    chain->servers = copy_servers(result, &chain->memory);
    chain->server_count = result->replica_count;
    struct chain_open open = {.chunk = result->chunk,
                              .chunk_bytes = w->core.chunk_bytes,
                              .servers = chain->servers,
                              .server_count = chain->server_count};
    struct stream_owner owner = {w->dfs, w->loop, &chain_ops, chain};
    uint32_t crcs[CHUNK_MESSAGE_BLOCKS_MAX];
    struct writer_step step;
    struct chain_data data = {.bytes = NULL};
    writer_next(&w->core, &step);
    bool sends = step.what == WRITER_SEND || step.what == WRITER_FINISH;
    w->tail_crc = 0;
    if (sends) {
        message_fill(w, &step, crcs, &data);
    }
    int r = chain_stream_open(&owner, &open, sends ? &data : NULL, &chain->stream, &e);
    rpc_bytes_unref(data.bytes);
    if (r < 0) {
        chain_failed(w, chain->servers[0].id, r, err_message(&e));
        arena_deinit(&chain->memory);
        free(chain);
        return;
    }
    w->chain = chain;
    list_push_back(&w->chains, &chain->link);
    w->anchored = false;
    w->told = 0;
    w->heard_ms = clock_mono_ms();
    rpc_stream_read(chain->stream);
    if (sends) {
        writer_sent(&w->core, &step);
    }
}

/* The first server owes us something and says nothing; it repeats itself while it waits for the
 * others, who are named by those before them. Time in which we did not look does not count. */
static void check_silence(struct file_write *w)
{
    const struct writer *core = &w->core;
    time_ms now = clock_mono_ms();
    bool owes = core->phase == WRITER_FINISHING || core->sent > core->acked ||
                core->sync_sent > core->durable;
    if (!w->chain || !owes || now - w->looked_ms > APPEND_STALL_MS) {
        w->heard_ms = now;
    }
    w->looked_ms = now;
    if (w->chain && now - w->heard_ms > HOP_SILENT_MS) {
        chain_failed(w, w->chain->servers[0].id, ERR_TIMEOUT, "the first server fell silent");
    }
}

/* ---- Steps ---------------------------------------------------------------------------------- */

/* Nothing more can be done with this file. When time runs out in the middle of another attempt,
 * what it waited for is why, not that the attempt had no answer. */
static int finally(struct file_write *w, int code, const struct err *why)
{
    bool late = code == ERR_UNKNOWN || code == ERR_TIMEOUT || code == ERR_UNAVAILABLE;
    w->final = *why;
    if (late && w->waits_for.code < 0) {
        w->final = w->waits_for;
        code = err_wrap(&w->final, w->waits_for.code, "gave up waiting");
    }
    w->final.code = code;
    (void)err_wrap(&w->final, code, "%s", w->name);
    return code;
}

/* Waits before something is tried again. */
static int again(struct file_write *w, struct call *c, time_ms ms, int code, const struct err *why)
{
    w->waits_for = *why;
    w->waits_for.code = code;
    call_waits(c, err_message(why));
    return call_pause(c, call_jitter(c, ms)) ? 1 : finally(w, code, why);
}

static struct fs_op file_op(const struct file_write *w, enum fs_op_kind kind)
{
    return (struct fs_op){.kind = kind, .inode = w->inode, .lease_epoch = w->lease_epoch};
}

static int lease_is_lost(struct file_write *w)
{
    struct err e = ERR_INIT;
    return finally(w, err_set(&e, ERR_LEASE, "the writer's lease was lost"), &e);
}

/* Nobody else has been given the file so far: the file master is asked if that is in doubt. */
static int be_sure(struct file_write *w, struct call *c)
{
    enum lease_state state = lease_state(w->dfs, &w->lease);
    while (state == LEASE_DOUBTFUL) {
        struct err e = ERR_INIT;
        struct fs_lease mine = {w->inode, w->lease_epoch};
        bool held = false;
        time_ms asked_ms = clock_boot_ms();
        int r = fs_renew_leases(c, &mine, 1, &held, &e);
        if (r < 0) {
            r = err_wrap(&e, ERR_LEASE, "the writer's lease may be lost, it cannot be renewed");
            return finally(w, r, &e);
        }
        if (!held) {
            return lease_is_lost(w);
        }
        lease_proved(&w->lease, asked_ms);
        state = lease_state(w->dfs, &w->lease); /* in doubt again if the answer took too long */
    }
    return state == LEASE_HELD ? 0 : lease_is_lost(w);
}

/* The chunk that the file was created with. */
static int use_first(struct file_write *w)
{
    writer_allocated(&w->core, w->first.chunk);
    chain_start(w, &w->first);
    w->first.chunk.id = 0;
    arena_deinit(&w->first_memory);
    return 1;
}

static int step_allocate(struct file_write *w, struct call *c, const struct writer_step *step)
{
    if (w->first.chunk.id != 0) {
        int r = be_sure(w, c);
        return r < 0 ? r : use_first(w);
    }
    struct err e = ERR_INIT;
    struct fs_result result;
    server_id exclude[BLAMED_COUNT_MAX];
    if (w->failures > 1) {
        time_ms pause = RETRY_MS_MIN << MIN(w->failures - 2, 6U);
        int r = again(w, c, MIN(pause, (time_ms)RETRY_MS_MAX), w->failure.code, &w->failure);
        if (r < 0) {
            return r;
        }
    }
    struct fs_op op = file_op(w, FS_ALLOCATE);
    op.offset = step->offset;
    op.chunk = step->chunk;
    op.length = step->length;
    op.host = w->dfs->host;
    op.exclude = exclude;
    op.exclude_count = blamed_list(w, exclude);
    time_ms asked_ms = clock_boot_ms();
    int r = fs_mutate(c, &op, &result, &e);
    if (r == ERR_FEW_SERVERS) {
        memset(w->blamed, 0, sizeof(w->blamed)); /* better one that failed once than none */
        return again(w, c, FEW_MS, r, &e);
    }
    if (r == 0 && (result.chunk.id == 0 || result.replica_count == 0)) {
        r = err_set(&e, ERR_CORRUPT, "the file master named no chunk or no server");
    }
    if (r < 0) {
        return finally(w, r, &e);
    }
    w->waits_for = (struct err)ERR_INIT;
    lease_proved(&w->lease, asked_ms);
    r = be_sure(w, c);
    if (r < 0) {
        return r;
    }
    writer_allocated(&w->core, result.chunk);
    chain_start(w, &result);
    return 1;
}

static int step_send(struct file_write *w, const struct writer_step *step)
{
    uint32_t crcs[CHUNK_MESSAGE_BLOCKS_MAX];
    if (!rpc_stream_writable(w->chain->stream)) {
        return 0;
    }
    struct chain_data data;
    message_fill(w, step, crcs, &data);
    int r = chain_stream_send(w->chain->stream, &data);
    rpc_bytes_unref(data.bytes);
    w->told = data.acked;
    writer_sent(&w->core, step);
    if (r < 0 && r != ERR_CANCELLED) { /* cancelled: the stream is ending and will say why */
        chain_failed(w, 0, r, "cannot send");
    }
    return 1;
}

static int step_recover(struct file_write *w, struct call *c, struct chunk_ref chunk)
{
    struct err e = ERR_INIT;
    server_id blamed[BLAMED_COUNT_MAX];
    uint64_t length = 0;
    struct fs_recover what = {.inode = w->inode,
                              .lease_epoch = w->lease_epoch,
                              .chunk = chunk,
                              .acked_length = w->core.acked,
                              .blamed = blamed,
                              .blamed_count = blamed_list(w, blamed)};
    int r = fs_recover_chunk(c, &what, &length, &e);
    if (r == ERR_NO_REPLICA || r == ERR_BUSY || r == ERR_FEW_SERVERS) {
        return again(w, c, RECOVER_MS, r, &e);
    }
    if (r == 0) {
        r = writer_recovered(&w->core, length);
        if (r < 0) {
            (void)err_set(&e, r,
                          "chunk %" PRIu64 " was sealed at %" PRIu64 ", %" PRIu64
                          " bytes were acknowledged",
                          chunk.id, length, w->core.acked);
        }
    }
    return r < 0 ? finally(w, r, &e) : 1;
}

static int step_abandon(struct file_write *w, struct call *c, struct chunk_ref chunk)
{
    struct err e = ERR_INIT;
    struct fs_result result;
    struct fs_op op = file_op(w, FS_ABANDON_CHUNK);
    op.chunk = chunk;
    int r = fs_mutate(c, &op, &result, &e);
    if (r == ERR_STALE) { /* somebody has begun to seal it */
        return step_recover(w, c, chunk);
    }
    if (r < 0) {
        return finally(w, r, &e);
    }
    writer_abandoned(&w->core);
    return 1;
}

/* Does what is next. 1: something was done, 0: wait for an event, or the final error. */
static int do_step(struct file_write *w, struct call *c)
{
    struct writer_step step;
    if (w->final.code) {
        return w->final.code;
    }
    check_silence(w);
    writer_next(&w->core, &step);
    switch (step.what) {
    case WRITER_ALLOCATE:
        return step_allocate(w, c, &step);
    case WRITER_SEND:
    case WRITER_FINISH:
        return step_send(w, &step);
    case WRITER_RECOVER:
        return step_recover(w, c, step.chunk);
    case WRITER_ABANDON:
        return step_abandon(w, c, step.chunk);
    case WRITER_WAIT:
    case WRITER_CLOSE:
        break;
    }
    return 0;
}

/* Bytes that came through are freed, and give the call its time back. */
static void take_progress(struct file_write *w, struct call *c)
{
    uint64_t acked = writer_kept_from(&w->core);
    if (acked > w->progress) {
        w->progress = acked;
        w->failures = 0;
        c->deadline = clock_mono_ms() + w->dfs->timeout_ms;
        write_buffer_free_below(&w->buffer, acked);
    }
}

static int do_steps(struct file_write *w, struct call *c)
{
    int r;
    do {
        r = do_step(w, c);
        take_progress(w, c);
    } while (r > 0);
    return r;
}

/* Goes as far as it can without waiting. */
static int go_on(struct file_write *w, struct call *c)
{
    int r;
    do {
        r = do_steps(w, c);
    } while (r == 0 && rpc_loop_step(w->loop, 0));
    return r;
}

static int give_up(struct file_write *w)
{
    struct err e = w->failure;
    if (!e.code) {
        (void)err_set(&e, ERR_TIMEOUT, "no acknowledgement in time");
    }
    return finally(w, ERR_TIMEOUT, &e);
}

/* Until enough() holds. */
static int wait_for(struct file_write *w, struct call *c, bool (*enough)(const struct file_write *))
{
    for (;;) {
        int r = do_steps(w, c);
        if (r < 0 || enough(w)) {
            return r;
        }
        time_ms now = clock_mono_ms();
        if (now >= c->deadline) {
            return give_up(w);
        }
        if (lease_lost(w->dfs, &w->lease)) {
            return lease_is_lost(w);
        }
        if (!rpc_loop_step(w->loop, MIN(now + APPEND_TICK_MS, c->deadline))) {
            call_waits(c, w->failures ? err_message(&w->failure) : "chunkservers to acknowledge");
        }
    }
}

/* ---- Between the user's calls ---------------------------------------------------------------- */

/* Bytes wait for a chain that can be begun without asking anybody. */
static bool may_begin_first(const struct file_write *w)
{
    const struct writer *core = &w->core;
    return w->named && !w->final.code && core->phase == WRITER_EMPTY && core->base < core->end &&
           w->first.chunk.id != 0;
}

/* Bytes are to be sent or acknowledged, or the chain does not know of all that were, or will not
 * unless somebody steps the loop: what was sent while the stream was busy with the message before
 * goes out when the loop hears that this one has gone. */
static bool is_restless(const struct file_write *w)
{
    const struct writer *core = &w->core;
    if (!w->chain) {
        return may_begin_first(w);
    }
    return core->phase == WRITER_FINISHING || core->acked > w->told ||
           core->base + core->acked < core->end || rpc_stream_queued(w->chain->stream) > 0;
}

static void tell_watermark(struct file_write *w)
{
    if (w->chain && w->core.phase == WRITER_OPEN && w->core.acked > w->told) {
        struct writer_step step = {.what = WRITER_SEND, .offset = w->core.sent};
        (void)step_send(w, &step);
    }
}

/* What goes down the open chain next, without waiting. */
static bool send_next(struct file_write *w)
{
    struct writer_step step;
    if (!w->chain || w->core.phase != WRITER_OPEN) {
        return false;
    }
    writer_next(&w->core, &step);
    return (step.what == WRITER_SEND || step.what == WRITER_FINISH) && step_send(w, &step);
}

static struct lease_rest rest_of(const struct file_write *w)
{
    return (struct lease_rest){.restless = is_restless(w), .streaming = !list_empty(&w->chains)};
}

static struct lease_rest tend(struct lease *lease)
{
    struct file_write *w = CONTAINER_OF(lease, struct file_write, lease);
    while (rpc_loop_step(w->loop, 0)) {
    }
    if (may_begin_first(w) && lease_state(w->dfs, &w->lease) == LEASE_HELD) {
        writer_push(&w->core); /* so that the bytes go with the opening */
        (void)use_first(w);
    }
    if (w->chain && w->core.phase == WRITER_OPEN) {
        writer_push(&w->core);
    }
    while (send_next(w)) {
    }
    tell_watermark(w);
    return rest_of(w);
}

static void enter(struct file_write *w, struct call *c)
{
    lease_enter(w->dfs, &w->lease);
    call_begin_on(c, w->dfs, w->loop);
}

static void leave(struct file_write *w, struct call *c)
{
    call_end_on(c);
    lease_leave(w->dfs, &w->lease, rest_of(w));
}

/* ---- The user's calls ----------------------------------------------------------------------- */

/* Bytes wait and nobody is there to take them: the file's readers would wait for as long as it
 * takes to fill a message. */
static bool lacks_chain(const struct file_write *w)
{
    return w->named && !w->chain && w->first.chunk.id == 0 && writer_in_flight(&w->core) > 0;
}

static bool has_room(const struct file_write *w)
{
    return writer_in_flight(&w->core) < WINDOW_BYTES;
}

static bool is_synced(const struct file_write *w)
{
    return writer_synced(&w->core);
}

static bool is_sealed(const struct file_write *w)
{
    struct writer_step step;
    writer_next(&w->core, &step);
    return step.what == WRITER_CLOSE;
}

struct file_write *file_write_new(struct dfs *dfs, struct rpc_loop *loop,
                                  const struct file_write_start *start, const char *name)
{
    struct file_write *w = xcalloc(1, sizeof(*w));
    w->dfs = dfs;
    w->loop = loop;
    w->name = xstrdup(name);
    w->inode = start->inode;
    w->lease_epoch = start->lease_epoch;
    w->named = start->named;
    w->progress = start->length;
    w->anchored = true;
    list_init(&w->chains);
    if (start->first && start->first->chunk.id != 0 && start->first->replica_count > 0) {
        w->first = *start->first;
        w->first.replicas = copy_servers(start->first, &w->first_memory);
    }
    writer_init(&w->core, start->length, start->chunk_bytes);
    write_buffer_init(&w->buffer, start->length);
    w->lease.tend = tend;
    lease_hold(dfs, &w->lease, (struct fs_lease){start->inode, start->lease_epoch},
               start->asked_ms);
    return w;
}

static int failed(const struct file_write *w, struct err *e)
{
    return err_set(e, w->final.code, "%s", err_message(&w->final));
}

int file_write_bytes(struct file_write *w, const void *data, size_t length, struct err *e)
{
    struct call c;
    const char *from = data;
    int r = w->final.code;
    enter(w, &c);
    while (length > 0 && r == 0) {
        if (!has_room(w)) {
            r = wait_for(w, &c, has_room);
            continue;
        }
        /* A message's worth at a time, so that the first is under way while the rest is copied. */
        size_t run = MIN(length, (size_t)DATA_MESSAGE_BYTES_MAX);
        write_buffer_append(&w->buffer, from, run);
        writer_took(&w->core, run);
        from += run;
        length -= run;
        if (writer_in_flight(&w->core) >= DATA_MESSAGE_BYTES_MAX) {
            r = go_on(w, &c);
        }
    }
    if (r == 0 && lacks_chain(w)) {
        r = go_on(w, &c);
    }
    leave(w, &c);
    return r < 0 ? failed(w, e) : 0;
}

int file_write_sync(struct file_write *w, struct err *e)
{
    struct call c;
    enter(w, &c);
    writer_sync(&w->core);
    int r = wait_for(w, &c, is_synced);
    if (r == 0 && !w->anchored) {
        r = be_sure(w, &c);
        w->anchored = r == 0;
    }
    if (r == 0) {
        tell_watermark(w); /* so that readers see what the user now knows to be safe */
        (void)go_on(w, &c);
    }
    leave(w, &c);
    return r < 0 ? failed(w, e) : 0;
}

int file_write_close(struct file_write *w, struct fs_op *op, inode_id *ret_inode, struct err *e)
{
    struct call c;
    struct writer_step step;
    struct fs_result result = {0};
    enter(w, &c);
    writer_close(&w->core);
    int r = wait_for(w, &c, is_sealed);
    if (r < 0) {
        r = failed(w, e);
    } else {
        writer_next(&w->core, &step);
        op->kind = FS_CLOSE;
        op->inode = w->inode;
        op->lease_epoch = w->lease_epoch;
        op->chunk = w->first.chunk.id ? w->first.chunk : step.chunk; /* not needed: length 0 */
        op->length = step.length;
        c.deadline = clock_mono_ms() + w->dfs->timeout_ms;
        r = fs_mutate(&c, op, &result, e);
    }
    leave(w, &c);
    if (r == 0 && ret_inode) {
        *ret_inode = result.inode;
    }
    if (r < 0 && r != ERR_UNKNOWN) {
        file_write_abandon(w);
    }
    return r;
}

void file_write_abandon(struct file_write *w)
{
    struct call c;
    struct fs_result result;
    enter(w, &c);
    chain_detach(w);
    c.quiet = true;
    c.deadline = MIN(c.deadline, clock_mono_ms() + ABANDON_MS);
    /* What is not done here is done when the lease runs out. */
    struct fs_op op = file_op(w, FS_ABANDON_CHUNK);
    if (w->first.chunk.id != 0) { /* nobody has to be asked for its length */
        op.chunk = w->first.chunk;
        (void)!fs_mutate(&c, &op, &result, NULL);
    }
    op = file_op(w, FS_ABANDON);
    (void)!fs_mutate(&c, &op, &result, NULL);
    leave(w, &c);
}

void file_write_free(struct file_write *w)
{
    lease_drop(w->dfs, &w->lease);
    chain_detach(w);
    LIST_FOR_EACH(node, &w->chains)
    {
        rpc_stream_cancel(LIST_ENTRY(node, struct chain, link)->stream);
    }
    while (!list_empty(&w->chains)) {
        (void)rpc_loop_step(w->loop, RPC_NO_DEADLINE);
    }
    write_buffer_deinit(&w->buffer);
    arena_deinit(&w->first_memory);
    dfs_loop_return(w->dfs, w->loop);
    free(w->name);
    free(w);
}
