/* Reading a file: extents are located in pages and kept, each is read from its nearest replica that
 * works. A replica that fails, is silent or gives a wrong byte is left out for as long as this page
 * of extents is in use; when none is left, the file master is asked again, until the call's time is
 * over. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/chunk_rpc.h"
#include "client/file.h"
#include "client/fs_rpc.h"
#include "client/read_local.h"
#include "client/read_stream.h"
#include "common/alloc.h"
#include "common/check.h"
#include "common/crc32c.h"
#include "common/macros.h"

enum { RETRY_MS_MIN = 20, RETRY_MS_MAX = 1000 };

enum nearness { NEAR_HOST, NEAR_RACK, NEAR_FAR, NEAR_COUNT };

struct file_read {
    struct dfs *dfs;
    struct rpc_loop *loop;
    char *name; /* for error texts */
    inode_id inode;

    struct arena memory;    /* of the page */
    struct fs_located page; /* extents from page_from on */
    uint64_t page_from;     /* what was asked for */
    uint32_t *failed;       /* for each extent of the page: bit i, replica i has failed */

    struct read_local local;
    struct read_stream *stream; /* NULL: none */
    chunk_id stream_chunk;
    size_t stream_replica;

    uint32_t *crcs; /* one for each block of crcs_chunk; NULL: none */
    chunk_id crcs_chunk;

    uint64_t next;       /* where the last read ended: the same place again means sequential */
    chunk_id seen_chunk; /* the open chunk that was read last ... */
    uint64_t seen;       /* ... and up to where: never less again */
    struct dfs_read_stats stats;
};

/* ---- Extents -------------------------------------------------------------------------------- */

static void drop_stream(struct file_read *f)
{
    read_stream_free(f->stream);
    f->stream = NULL;
    f->stream_chunk = 0;
}

/* The page's memory goes with the next one, so nothing of it is kept elsewhere. */
static int locate(struct file_read *f, struct call *c, const char *path, uint64_t offset,
                  struct err *e)
{
    struct fs_located page;
    struct fs_range range = {.path = path, .inode = f->inode, .offset = offset};
    int r = fs_locate(c, &range, &page, e);
    if (r < 0) {
        return r;
    }
    if (page.stat.directory) {
        return err_set(e, ERR_IS_DIR, "%s", err_text(ERR_IS_DIR));
    }
    drop_stream(f);
    arena_deinit(&f->memory);
    f->memory = c->arena; /* the reply lives on in there */
    arena_init(&c->arena, 0);
    f->page = page;
    f->page_from = offset;
    f->inode = page.stat.inode;
    f->failed = arena_calloc(&f->memory, (page.count + 1) * sizeof(*f->failed));
    return 0;
}

/* The extent that holds `offset`; NULL: not in this page. An open one goes on for ever. */
static struct fs_extent *find(const struct file_read *f, uint64_t offset)
{
    size_t low = 0, high = f->page.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (f->page.extents[middle].offset <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    struct fs_extent *x = low ? &f->page.extents[low - 1] : NULL;
    return x && (x->open || offset - x->offset < x->length) ? x : NULL;
}

/* *ret NULL: the file ends at or before offset, as far as is known. */
static int extent_at(struct file_read *f, struct call *c, uint64_t offset, struct fs_extent **ret,
                     struct err *e)
{
    *ret = find(f, offset);
    if (*ret || (offset >= f->page.stat.length && !f->page.stat.open)) {
        return 0;
    }
    int r = locate(f, c, NULL, offset, e);
    *ret = r < 0 ? NULL : find(f, offset);
    return r;
}

/* ---- One replica ---------------------------------------------------------------------------- */

static enum nearness nearness_of(const struct file_read *f, const struct fs_server *s)
{
    if (strcmp(s->host, f->dfs->host) == 0) {
        return NEAR_HOST;
    }
    return strcmp(s->rack, f->dfs->rack) == 0 ? NEAR_RACK : NEAR_FAR;
}

static void count_bytes(struct file_read *f, const struct fs_server *s, uint64_t bytes)
{
    switch (nearness_of(f, s)) {
    case NEAR_HOST:
        f->stats.bytes_local += bytes;
        break;
    case NEAR_RACK:
        f->stats.bytes_rack += bytes;
        break;
    default:
        f->stats.bytes_remote += bytes;
        break;
    }
}

struct want {
    struct fs_extent *extent;
    char *data;
    size_t length;
    uint64_t offset; /* in the chunk */
};

/* Whether its bytes may be had without the server. */
static bool may_pass_descriptor(const struct file_read *f, const struct fs_extent *x,
                                const struct fs_server *s)
{
    return !x->open && !f->dfs->no_local_reads && s->local_socket[0] &&
           nearness_of(f, s) == NEAR_HOST;
}

/* By descriptor. ERR_UNSUPPORTED: not to be had that way; anything else that fails is also tried
 * through the server, which then finds out for itself if its copy is damaged. */
static int64_t read_by_descriptor(struct file_read *f, const struct want *want,
                                  const struct fs_server *s)
{
    const struct fs_extent *x = want->extent;
    if (!may_pass_descriptor(f, x, s)) {
        return ERR_UNSUPPORTED;
    }
    size_t length = (size_t)MIN((uint64_t)want->length, x->length - want->offset);
    int r = 0;
    if (f->local.fd < 0 || f->local.chunk != x->chunk.id || f->local.length != x->length) {
        r = read_local_open(&f->local, s->local_socket, x->chunk, x->length, NULL);
    }
    if (r == 0) {
        r = read_local_bytes(&f->local, want->data, length, want->offset, NULL);
    }
    if (r < 0) {
        read_local_deinit(&f->local);
        read_local_init(&f->local);
        return ERR_UNSUPPORTED;
    }
    return (int64_t)length;
}

/* Through the server. A stream that stands where this read begins goes on. */
static int64_t read_by_stream(struct file_read *f, const struct want *want, size_t replica,
                              struct err *e)
{
    const struct fs_extent *x = want->extent;
    bool goes_on = f->stream && f->stream_chunk == x->chunk.id && f->stream_replica == replica &&
                   read_stream_offset(f->stream) == want->offset;
    for (;;) {
        if (!goes_on) {
            bool ahead = x->offset + want->offset == f->next && !x->open;
            struct chunk_read read = {.chunk = x->chunk, .offset = want->offset, .open = x->open};
            read.length = ahead ? 0 : want->length;
            read.seen = f->seen_chunk == x->chunk.id ? f->seen : 0;
            drop_stream(f);
            struct read_stream_place place = {f->dfs, f->loop, x->replicas[replica]->address};
            int r = read_stream_open(&place, &read, &f->stream, e);
            if (r < 0) {
                return r;
            }
            f->stream_chunk = x->chunk.id;
            f->stream_replica = replica;
        }
        int64_t n = read_stream_take(f->stream, want->data, want->length, e);
        if (n <= 0 || (!x->open && want->offset + (uint64_t)n == x->length)) {
            drop_stream(f); /* it failed, or has no more to give */
        }
        /* A stream that was opened for an earlier read may have been cut while nobody looked, or
         * have ended where that read did: that says nothing about the server. */
        if (n > 0 || !goes_on) {
            return n;
        }
        goes_on = false;
    }
}

static int64_t read_replica(struct file_read *f, const struct want *want, size_t replica,
                            struct err *e)
{
    const struct fs_extent *x = want->extent;
    const struct fs_server *s = x->replicas[replica];
    int64_t n = read_by_descriptor(f, want, s);
    if (n < 0) {
        n = read_by_stream(f, want, replica, e);
    }
    if (n == 0 && !x->open) {
        n = err_set(e, ERR_STALE, "%s: its copy of chunk %" PRIu64 " is too short", s->address,
                    x->chunk.id);
    }
    if (n > 0) {
        count_bytes(f, s, (uint64_t)n);
    }
    return n;
}

/* ---- One extent ----------------------------------------------------------------------------- */

/* The nearest replica that has not failed and is not in the set `absent`; SIZE_MAX: none. Among
 * equals the file's number decides, so that readers of many files spread. */
static size_t pick(const struct file_read *f, const struct fs_extent *x, uint32_t absent)
{
    uint32_t failed = f->failed[x - f->page.extents] | absent;
    size_t best = SIZE_MAX, count = MIN(x->replica_count, (size_t)32);
    enum nearness best_near = NEAR_COUNT;
    for (size_t i = 0; i < count; i++) {
        size_t at = (i + (size_t)x->chunk.id) % count;
        enum nearness near = nearness_of(f, x->replicas[at]);
        if (!(failed >> at & 1) && near < best_near) {
            best = at;
            best_near = near;
        }
    }
    return best;
}

/* An open chunk that a server does not have: its writer has not come there yet, so nothing of it is
 * acknowledged, or the server has lost it. */
static bool may_be_absent(const struct file_read *f, const struct fs_extent *x, int64_t n)
{
    return n == ERR_NOT_FOUND && x->open && !(f->seen_chunk == x->chunk.id && f->seen > 0);
}

/* From any replica of the page. ERR_NO_REPLICA: all of them failed; e says how the last one did. 0:
 * an open chunk that has no more, or that whoever answers does not have. */
static int64_t read_extent(struct file_read *f, const struct want *want, struct err *e)
{
    const struct fs_extent *x = want->extent;
    uint32_t absent = 0;
    if (x->replica_count == 0) {
        return err_set(e, ERR_NO_REPLICA, "no live chunkserver has chunk %" PRIu64 "%s",
                       x->chunk.id, x->unheard ? " as far as the file master has heard yet" : "");
    }
    (void)err_set(e, ERR_NO_REPLICA, "all replicas failed");
    for (;;) {
        size_t replica = pick(f, x, absent);
        if (replica == SIZE_MAX) {
            return absent ? 0 : err_wrap(e, ERR_NO_REPLICA, "chunk %" PRIu64, x->chunk.id);
        }
        int64_t n = read_replica(f, want, replica, e);
        if (n >= 0) {
            return n;
        }
        if (may_be_absent(f, x, n)) {
            absent |= 1U << replica;
        } else {
            f->failed[x - f->page.extents] |= 1U << replica;
            f->stats.replicas_failed++;
        }
    }
}

/* Reads at `offset` of the file, from want->extent, and notes how far an open one was seen. */
static int64_t read_there(struct file_read *f, const struct want *want, uint64_t offset,
                          struct err *e)
{
    const struct fs_extent *x = want->extent;
    struct want part = *want;
    part.offset = offset - x->offset;
    if (!x->open) {
        part.length = (size_t)MIN((uint64_t)want->length, x->length - part.offset);
    }
    int64_t n = read_extent(f, &part, e);
    if (n > 0 && x->open) {
        uint64_t seen = f->seen_chunk == x->chunk.id ? f->seen : 0;
        f->seen = MAX(seen, part.offset + (uint64_t)n);
        f->seen_chunk = x->chunk.id;
    }
    return n;
}

/* Reads at `offset` whatever it takes. 0: nothing can be read there now. */
static int64_t read_some(struct file_read *f, struct call *c, struct want *want, uint64_t offset,
                         struct err *e)
{
    time_ms pause = RETRY_MS_MIN;
    bool asked_again = false;
    for (;;) {
        int r = extent_at(f, c, offset, &want->extent, e);
        if (r < 0 || !want->extent) {
            return r;
        }
        int64_t n = read_there(f, want, offset, e);
        if (n > 0 || (n == 0 && asked_again)) {
            return n; /* 0: open, and nobody has written more */
        }
        if (n < 0) {
            call_waits(c, err_message(e));
            if (!call_pause(c, call_jitter(c, pause))) {
                return n;
            }
            pause = MIN(pause * 2, (time_ms)RETRY_MS_MAX);
            c->fresh = true; /* what an old answer named may be gone */
        }
        asked_again = n == 0; /* perhaps it was sealed, and the file goes on in the next chunk */
        r = locate(f, c, NULL, offset, e);
        if (r < 0) {
            return r;
        }
    }
}

/* ---- The user's calls ----------------------------------------------------------------------- */

/* Of a file of one chunk it is known who will be asked for its bytes. */
static void connect_ahead(const struct file_read *f)
{
    const struct fs_extent *x = f->page.extents;
    size_t replica = f->page.count == 1 && !f->page.more ? pick(f, x, 0) : SIZE_MAX;
    if (replica != SIZE_MAX && !may_pass_descriptor(f, x, x->replicas[replica])) {
        chunk_connect(f->dfs, x->replicas[replica]->address);
    }
}

int file_read_open(struct dfs *dfs, const char *path, struct file_read **ret, struct err *e)
{
    struct call c;
    struct file_read *f = xcalloc(1, sizeof(*f));
    f->dfs = dfs;
    f->name = xstrdup(path);
    arena_init(&f->memory, 0);
    read_local_init(&f->local);
    f->loop = dfs_loop_borrow(dfs);
    call_begin_on(&c, dfs, f->loop);
    int r = locate(f, &c, path, 0, e);
    call_end_on(&c);
    if (r < 0) {
        file_read_free(f);
        return r;
    }
    connect_ahead(f);
    *ret = f;
    return 0;
}

int64_t file_read_bytes(struct file_read *f, void *data, size_t length, uint64_t offset,
                        struct err *e)
{
    struct call c;
    size_t done = 0;
    int64_t n = 1;
    call_begin_on(&c, f->dfs, f->loop);
    while (done < length && n > 0) {
        struct want want = {.data = (char *)data + done, .length = length - done};
        n = read_some(f, &c, &want, offset + done, e);
        if (n > 0) {
            done += (size_t)n;
            c.deadline = clock_mono_ms() + f->dfs->timeout_ms;
            f->next = offset + done;
        }
    }
    if (f->stream) {
        read_stream_pause(f->stream);
    }
    call_end_on(&c);
    return n < 0 ? err_wrap(e, (int)n, "%s", f->name) : (int64_t)done;
}

/* Readable bytes of the open chunk, from whichever replica has it; 0 too if nobody who answers has
 * it. ERR_*: nobody answers. */
static int open_length(struct call *c, const struct fs_extent *x, uint64_t *ret, struct err *e)
{
    bool absent = false;
    *ret = 0;
    (void)err_set(e, ERR_NO_REPLICA, "no live chunkserver has chunk %" PRIu64, x->chunk.id);
    for (size_t i = 0; i < x->replica_count; i++) {
        int r = chunk_stat(c, x->replicas[i]->address, x->chunk.id, ret, e);
        if (r == 0) {
            return 0;
        }
        absent = absent || r == ERR_NOT_FOUND;
    }
    return absent ? 0 : err_wrap(e, ERR_NO_REPLICA, "chunk %" PRIu64, x->chunk.id);
}

/* The length of a file whose last chunk is this open one. */
static int length_with(struct file_read *f, struct call *c, const struct fs_extent *last,
                       uint64_t *ret, struct err *e)
{
    uint64_t readable = 0;
    int r = open_length(c, last, &readable, e);
    if (r < 0) {
        return r;
    }
    if (f->seen_chunk == last->chunk.id) {
        readable = MAX(readable, f->seen);
    }
    f->seen_chunk = last->chunk.id; /* whoever is told a length can read that far */
    f->seen = readable;
    *ret = last->offset + readable;
    return 0;
}

void file_read_stat(const struct file_read *f, struct dfs_stat *ret)
{
    *ret = f->page.stat;
}

int file_read_length(struct file_read *f, uint64_t *ret, struct err *e)
{
    struct call c;
    time_ms pause = RETRY_MS_MIN;
    int r = 0;
    *ret = f->page.stat.length;
    if (!f->page.stat.open) {
        return 0;
    }
    call_begin_on(&c, f->dfs, f->loop);
    for (;;) {
        r = locate(f, &c, NULL, f->page.stat.length, e);
        const struct fs_extent *last =
            r == 0 && f->page.count ? &f->page.extents[f->page.count - 1] : NULL;
        *ret = f->page.stat.length;
        if (!last || !last->open) {
            break;
        }
        r = length_with(f, &c, last, ret, e);
        if (r == 0) {
            break;
        }
        call_waits(&c, err_message(e));
        if (!call_pause(&c, call_jitter(&c, pause))) {
            break;
        }
        pause = MIN(pause * 2, (time_ms)RETRY_MS_MAX);
        c.fresh = true;
    }
    call_end_on(&c);
    return r;
}

/* ---- Checksums ------------------------------------------------------------------------------ */

/* The extent's checksums into f->crcs, from whichever replica has them. */
static int load_crcs(struct file_read *f, const struct fs_extent *x, struct err *e)
{
    struct call c; /* of its own, so that replies do not pile up */
    int r = err_set(e, ERR_NO_REPLICA, "no live chunkserver has chunk %" PRIu64, x->chunk.id);
    if (f->crcs && f->crcs_chunk == x->chunk.id) {
        return 0;
    }
    free(f->crcs);
    f->crcs = NULL;
    call_begin_on(&c, f->dfs, f->loop);
    for (size_t i = 0; i < x->replica_count && !f->crcs; i++) {
        r = chunk_checksums(&c, x->replicas[i]->address, x->chunk, x->length, &f->crcs, e);
    }
    call_end_on(&c);
    f->crcs_chunk = x->chunk.id;
    return r;
}

/* Of bytes that lie in one block: they are read. */
static int checksum_bytes(struct file_read *f, uint64_t offset, size_t length, uint32_t *crc,
                          struct err *e)
{
    char *block = xmalloc(CHUNK_BLOCK_BYTES);
    int64_t n = file_read_bytes(f, block, length, offset, e);
    if (n >= 0 && (size_t)n < length) {
        n = err_set(e, ERR_INVALID, "%s: has no byte %" PRIu64, f->name, offset + (uint64_t)n);
    }
    if (n >= 0) {
        *crc = crc32c_extend(*crc, block, length);
    }
    free(block);
    return n < 0 ? (int)n : 0;
}

/* From `offset` to the end of its block, its chunk or `length`, whichever comes first: returns how
 * many bytes that were. */
static int64_t checksum_some(struct file_read *f, struct call *c, uint64_t offset, uint64_t length,
                             uint32_t *crc, struct err *e)
{
    struct fs_extent *x = NULL;
    int r = extent_at(f, c, offset, &x, e);
    if (r < 0) {
        return err_wrap(e, r, "%s", f->name);
    }
    if (!x) {
        return err_set(e, ERR_INVALID, "%s: has no byte %" PRIu64, f->name, offset);
    }
    uint64_t at = offset - x->offset;
    uint64_t rest = CHUNK_BLOCK_BYTES - at % CHUNK_BLOCK_BYTES;
    uint64_t there = x->open ? rest : MIN(rest, x->length - at);
    bool whole = !x->open && at % CHUNK_BLOCK_BYTES == 0 && length >= there;
    uint64_t part = MIN(there, length);
    if (whole && load_crcs(f, x, NULL) == 0) {
        *crc = crc32c_combine(*crc, f->crcs[at / CHUNK_BLOCK_BYTES], part);
        return (int64_t)part;
    }
    r = checksum_bytes(f, offset, (size_t)part, crc, e);
    return r < 0 ? r : (int64_t)part;
}

int file_read_checksum(struct file_read *f, uint64_t offset, uint64_t length, uint32_t *ret,
                       struct err *e)
{
    struct call c;
    uint32_t crc = 0;
    int64_t n = 0;
    call_begin_on(&c, f->dfs, f->loop);
    while (length > 0 && n >= 0) {
        n = checksum_some(f, &c, offset, length, &crc, e);
        if (n > 0) {
            offset += (uint64_t)n;
            length -= (uint64_t)n;
            c.deadline = clock_mono_ms() + f->dfs->timeout_ms;
        }
    }
    call_end_on(&c);
    if (n >= 0) {
        *ret = crc;
    }
    return n < 0 ? (int)n : 0;
}

void file_read_stats(const struct file_read *f, struct dfs_read_stats *ret)
{
    *ret = f->stats;
}

void file_read_free(struct file_read *f)
{
    if (!f) {
        return;
    }
    drop_stream(f);
    read_local_deinit(&f->local);
    arena_deinit(&f->memory);
    free(f->crcs);
    dfs_loop_return(f->dfs, f->loop);
    free(f->name);
    free(f);
}
