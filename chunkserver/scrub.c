/* One step reads up to a message's worth of one chunk, then waits as long as the rate asks. Only
 * sealed chunks are read: an open one is verified when it is sealed or fenced. The place is kept in
 * memory; a restart begins anew. */
#include "chunkserver/scrub.h"

#include <fcntl.h>
#include <stdlib.h>

#include "chunkserver/server.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/crc32c.h"
#include "common/log.h"
#include "common/macros.h"

struct scrub {
    struct server *server;
    struct disk *disk;
    struct rpc_timer timer;
    struct task task;
    bool busy;
    bool stopped;

    /* The worker's while busy. */
    struct chunk_record record; /* being read; id 0: none */
    uint64_t at;                /* next byte of it; a block boundary */
    chunk_id after;             /* look for the next chunk above this id */
    size_t step_bytes;          /* read by the last step */
    bool found_damage;
};

static int next_sealed(void *arg, const struct chunk_record *record)
{
    struct scrub *c = arg;
    c->after = record->ref.id;
    if (record->state != CHUNK_SEALED || record->damaged) {
        return 0;
    }
    c->record = *record;
    return 1;
}

static int verify_blocks(struct scrub *c, struct chunk_file *file,
                         const struct crc_segment *segment)
{
    struct err e = ERR_INIT;
    uint8_t *bytes = xmalloc(CHUNK_BLOCK_BYTES);
    int r = 0;
    uint32_t block = (uint32_t)(c->at / CHUNK_BLOCK_BYTES);
    for (uint32_t i = 0; r == 0 && i < SCRUB_STEP_BLOCKS && c->at < c->record.length;
         i++, block++) {
        uint32_t slot = block % CRC_SEGMENT_BLOCKS;
        if (i > 0 && slot == 0) {
            break; /* the next step has the next segment */
        }
        size_t part = (size_t)MIN(c->record.length - c->at, (uint64_t)CHUNK_BLOCK_BYTES);
        r = chunk_file_read(file, c->at, bytes, part, &e);
        if (r == 0 && (slot >= segment->count || crc32c(bytes, part) != segment->values[slot])) {
            r = ERR_CORRUPT;
        }
        c->at += part;
        c->step_bytes += part;
    }
    free(bytes);
    /* What nobody else wants does not stay in the page cache because of us. */
    (void)posix_fadvise(file->fd, (off_t)(c->at - c->step_bytes), (off_t)c->step_bytes,
                        POSIX_FADV_DONTNEED);
    return r;
}

static int verify_file(struct scrub *c)
{
    struct err e = ERR_INIT;
    struct chunk_disk *disk = &c->disk->chunks;
    struct chunk_file file = CHUNK_FILE_CLOSED;
    struct crc_segment segment;
    uint32_t number = (uint32_t)(c->at / CHUNK_BLOCK_BYTES / CRC_SEGMENT_BLOCKS);
    int r = chunk_index_get_crcs(disk->index, c->record.ref.id, number, &segment, &e);
    r = r < 0 ? r : chunk_file_open(&disk->dirs, c->record.ref.id, false, &file, &e);
    r = r < 0 ? r : verify_blocks(c, &file, &segment);
    chunk_file_close(&file);
    return r;
}

static int verify_inline(struct scrub *c)
{
    struct err e = ERR_INIT;
    struct buf value = BUF_INIT;
    struct inline_data data;
    int r = chunk_index_get_inline(c->disk->chunks.index, c->record.ref.id, &value, &data, &e);
    if (r == 0 && (data.bytes.length != c->record.length ||
                   crc32c(data.bytes.data, data.bytes.length) != data.crc)) {
        r = ERR_CORRUPT;
    }
    buf_deinit(&value);
    c->at = c->record.length;
    c->step_bytes = (size_t)c->record.length;
    return r;
}

static void scrub_run(struct task *t)
{
    struct scrub *c = CONTAINER_OF(t, struct scrub, task);
    struct err e = ERR_INIT;
    struct chunk_record now;
    c->step_bytes = 0;
    c->found_damage = false;
    if (c->record.ref.id == 0 || c->at >= c->record.length) {
        c->record = (struct chunk_record){0};
        c->at = 0;
        int r = chunk_index_scan(c->disk->chunks.index, c->after, next_sealed, c, &e);
        if (r < 0) {
            log_warning("chunkserver", "scrub: %s", err_message(&e));
        }
        if (c->record.ref.id == 0) {
            c->after = 0; /* round again */
            return;
        }
    }
    if (c->record.length == 0) {
        return;
    }
    int code = c->record.inlined ? verify_inline(c) : verify_file(c);
    /* It may have been deleted or replaced while we read: then it says nothing. */
    bool same = chunk_index_get(c->disk->chunks.index, c->record.ref.id, &now, &e) == 0 &&
                now.ref.version == c->record.ref.version && now.state == CHUNK_SEALED &&
                now.inlined == c->record.inlined;
    /* Nor does an error that is not the chunk's, as when no more files can be opened. */
    c->found_damage = same && (code == ERR_CORRUPT || code == ERR_IO || code == ERR_NOT_FOUND);
    if (code < 0 || !same) {
        c->at = c->record.length; /* enough of this one */
    }
}

static void scrub_due(void *arg)
{
    struct scrub *c = arg;
    c->busy = true;
    server_task(c->server, c->disk, &c->task, server_owner(c->server));
}

static void scrub_done(struct task *t)
{
    struct scrub *c = CONTAINER_OF(t, struct scrub, task);
    c->busy = false;
    if (c->found_damage) {
        server_chunk_suspected(c->server, c->disk, c->record.ref.id);
    }
    if (!c->stopped) {
        uint64_t wait = c->step_bytes * 1000 / c->server->options->scrub_bytes;
        bool round_over = c->record.ref.id == 0;
        wait = round_over ? SCRUB_ROUND_MS : MAX(wait, (uint64_t)1);
        rpc_timer_set(server_owner(c->server), &c->timer, clock_mono_ms() + wait, scrub_due, c);
    }
}

struct scrub *scrub_new(struct server *s, struct disk *disk)
{
    struct scrub *c = xcalloc(1, sizeof(*c));
    c->server = s;
    c->disk = disk;
    c->task.run = scrub_run;
    c->task.done = scrub_done;
    c->stopped = s->options->scrub_bytes == 0;
    if (!c->stopped) {
        rpc_timer_set(server_owner(s), &c->timer, clock_mono_ms() + SCRUB_ROUND_MS, scrub_due, c);
    }
    return c;
}

void scrub_stop(struct scrub *c)
{
    if (c != NULL) {
        c->stopped = true;
        rpc_timer_cancel(server_owner(c->server), &c->timer);
    }
}

bool scrub_idle(const struct scrub *c)
{
    return c == NULL || !c->busy;
}

void scrub_free(struct scrub *c)
{
    if (c != NULL) {
        rpc_timer_cancel(server_owner(c->server), &c->timer);
        free(c);
    }
}
