/* The server's disks as the owner sees them: room, the table at the start. See server.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "chunkserver/health.h"
#include "chunkserver/report.h"
#include "chunkserver/scrub.h"
#include "chunkserver/server.h"
#include "chunkserver/trash.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/metrics.h"

struct disk *server_chunk_disk(const struct server *s, const struct chunk *chunk)
{
    return &s->disks.list[chunk->disk];
}

/* ---- Room ---- */

static struct disk_offer offer_of(const struct disk *disk)
{
    struct disk_offer offer = {.failed = disk_has_failed(&disk->state),
                               .file_system = disk->file_system,
                               .used_bytes = disk->used_bytes};
    struct statvfs fs;
    if (!offer.failed && statvfs(disk->path, &fs) == 0) {
        offer.capacity_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
        offer.available_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
        offer.available_bytes -= MIN(offer.available_bytes, (uint64_t)CHUNK_DISK_FREE_BYTES_MIN);
    }
    return offer;
}

static void offers_of(const struct server *s, struct disk_offer offers[DISK_COUNT_MAX])
{
    for (size_t i = 0; i < s->disks.count; i++) {
        offers[i] = offer_of(&s->disks.list[i]);
    }
}

void server_space(const struct server *s, uint64_t *ret_capacity, uint64_t *ret_free)
{
    struct disk_offer offers[DISK_COUNT_MAX];
    offers_of(s, offers);
    disk_sums(offers, s->disks.count, s->options->capacity_bytes, ret_capacity, ret_free);
}

int server_space_check(const struct server *s, const struct disk *disk, uint64_t bytes,
                       struct err *e)
{
    struct disk_offer offer = offer_of(disk);
    uint64_t room = disk_room(&offer, s->options->capacity_bytes);
    if (room < bytes) {
        return err_set(e, ERR_NO_SPACE,
                       "the chunkserver's volume is full: %" PRIu64 " bytes left in %s", room,
                       disk->path);
    }
    return 0;
}

int server_choose_disk(struct server *s, const struct disk_need *need, struct disk **ret,
                       struct err *e)
{
    struct disk_offer offers[DISK_COUNT_MAX];
    offers_of(s, offers);
    int i = disk_choice(offers, s->disks.turns, s->disks.count, s->options->capacity_bytes, need);
    if (i < 0) {
        return s->disks.count == 1
                   ? server_space_check(s, &s->disks.list[0], need->least_bytes, e)
                   : err_set(e, ERR_NO_SPACE,
                             "the chunkserver's volumes are full: none has %" PRIu64 " bytes left",
                             need->least_bytes);
    }
    *ret = &s->disks.list[i];
    return 0;
}

void server_disk_health(const struct server *s, const struct disk *disk, struct health_disk *ret)
{
    struct disk_offer offer = offer_of(disk);
    uint64_t limit = s->options->capacity_bytes;
    *ret = (struct health_disk){
        .path = disk->path,
        .failed = offer.failed,
        .failure = disk->failure.code < 0 ? err_message(&disk->failure) : "",
        .capacity_bytes = limit > 0 && !offer.failed ? limit : offer.capacity_bytes,
        .free_bytes = disk_room(&offer, limit),
        .used_bytes = disk->used_bytes,
    };
}

/* ---- Failures ---- */

struct disk_failure {
    struct server *server;
    struct disk *disk;
    struct err err;
};

/* From here on the server is one without that disk. What was at work on it holds its claims until
 * it has ended, with an error; nobody else can find the chunks. */
static void failed_on_owner(void *arg)
{
    struct disk_failure *f = arg;
    struct server *s = f->server;
    f->disk->failure = f->err;
    gauge_set(s->counters.failed_disks, (int64_t)disk_failures_count(&s->disks.failures));
    scrub_stop(f->disk->scrub);
    trash_stop(f->disk->trash);
    size_t before = s->chunks.count;
    server_drop_disk(s, f->disk);
    log_error("chunkserver", "going on without a disk data=%s chunks=%zu left=%zu", f->disk->path,
              before - s->chunks.count, s->chunks.count);
    report_all(s->report);
    server_page_report(s);
    free(f);
}

void server_disk_failed(struct server *s, struct disk *disk, const char *what, const struct err *e)
{
    size_t failed = disks_fail(&s->disks, disk);
    if (failed == 0) {
        return; /* that is known, and being seen to */
    }
    if (!disks_can_lose(&s->disks, failed)) {
        server_fatal(what, e);
    }
    struct disk_failure *f = xmalloc(sizeof(*f));
    *f = (struct disk_failure){.server = s, .disk = disk, .err = *e};
    (void)err_wrap(&f->err, e->code, "data directory %s: %s", disk->path, what);
    log_error("chunkserver", "a disk failed, %s", err_message(&f->err));
    rpc_loop_post(server_owner(s), failed_on_owner, f);
}

/* ---- Term ---- */

static void term_run(struct task *t)
{
    struct server *s = CONTAINER_OF(t, struct server, term_task);
    for (size_t i = 0; i < s->disks.count; i++) {
        struct disk *disk = &s->disks.list[i];
        struct err e = ERR_INIT;
        if (disk_has_failed(&disk->state)) {
            continue;
        }
        struct index_batch *batch = index_batch_new(disk->chunks.index);
        index_put_term(batch, s->term_spread);
        if (chunk_index_write(disk->chunks.index, batch, &e) < 0 ||
            chunk_index_sync_now(disk->chunks.index, &e) < 0) {
            server_disk_failed(s, disk, "the chunk index cannot be made durable", &e);
        }
        index_batch_free(batch);
    }
}

static void term_done(struct task *t)
{
    struct server *s = CONTAINER_OF(t, struct server, term_task);
    s->term_busy = false;
    if (s->term > s->term_spread) {
        server_spread_term(s);
    }
}

void server_spread_term(struct server *s)
{
    if (s->disks.count == 1 || s->term_busy) {
        return;
    }
    s->term_busy = true;
    s->term_spread = s->term;
    s->term_task.run = term_run;
    s->term_task.done = term_done;
    server_task(s, NULL, &s->term_task, server_owner(s));
}

/* ---- Start ---- */

/* What a second disk has of a chunk that another one has better. */
struct loser {
    struct disk *disk;
    struct chunk_record record;
};

struct load {
    struct server *server;
    struct disk *disk; /* that is at work, and to blame for an error */
    struct err *err;   /* where that goes */
    struct loser *losers;
    size_t loser_count, loser_capacity;
};

/* The record as its own index has it, since the table knows less. */
static int add_loser(struct load *l, struct disk *disk, chunk_id id)
{
    struct loser loser = {.disk = disk};
    int r = chunk_index_get(disk->chunks.index, id, &loser.record, l->err);
    if (r < 0) {
        l->disk = disk;
        return r;
    }
    if (l->loser_count == l->loser_capacity) {
        l->loser_capacity = MAX(2 * l->loser_capacity, (size_t)64);
        l->losers = xreallocarray(l->losers, l->loser_capacity, sizeof(*l->losers));
    }
    l->losers[l->loser_count++] = loser;
    return 0;
}

static int load_chunk(void *arg, const struct chunk_record *record)
{
    struct load *l = arg;
    struct disk *disk = l->disk;
    const struct chunk *known = server_chunk(l->server, record->ref.id);
    int r = 0;
    if (known != NULL) {
        struct disk_claim before = {.version = known->ref.version,
                                    .length = known->length,
                                    .sealed = known->state == CHUNK_SEALED,
                                    .damaged = known->damaged};
        struct disk_claim here = {.version = record->ref.version,
                                  .length = record->length,
                                  .sealed = record->state == CHUNK_SEALED,
                                  .damaged = record->damaged};
        bool better = disk_claim_is_better(&here, &before);
        r = add_loser(l, better ? server_chunk_disk(l->server, known) : disk, record->ref.id);
        if (r < 0 || !better) {
            return r;
        }
    }
    server_chunk_changed(l->server, disk, record);
    return r;
}

/* Those of one disk: first durably out of the index, then the files. */
static int remove_losers(struct load *l, struct disk *disk, struct err *e)
{
    time_ms due = clock_wall_ms() + l->server->options->trash_ms;
    struct index_batch *batch = index_batch_new(disk->chunks.index);
    size_t count = 0;
    int r = 0;
    for (size_t i = 0; i < l->loser_count; i++) {
        if (l->losers[i].disk == disk) {
            replica_forget(&l->losers[i].record, due, batch);
            count++;
        }
    }
    if (count > 0) {
        r = chunk_index_write(disk->chunks.index, batch, e);
        r = r < 0 ? r : chunk_index_sync_now(disk->chunks.index, e);
    }
    for (size_t i = 0; r == 0 && i < l->loser_count; i++) {
        const struct loser *loser = &l->losers[i];
        if (loser->disk == disk && !loser->record.inlined) {
            r = chunk_file_trash(&disk->chunks.dirs, loser->record.ref, e);
        }
    }
    if (r == 0 && count > 0) {
        log_warning("chunkserver",
                    "chunks were on another disk too, and older here: to the trash count=%zu "
                    "data=%s",
                    count, disk->path);
    }
    index_batch_free(batch);
    return r;
}

static int load_all(struct load *l)
{
    struct err *e = l->err;
    const struct disks *disks = &l->server->disks;
    int r = 0;
    for (size_t i = 0; r == 0 && i < disks->count; i++) {
        l->disk = &disks->list[i];
        if (!disk_has_failed(&l->disk->state)) {
            r = chunk_index_scan(l->disk->chunks.index, 0, load_chunk, l, e);
        }
    }
    for (size_t i = 0; r == 0 && i < disks->count; i++) {
        l->disk = &disks->list[i];
        if (!disk_has_failed(&l->disk->state)) {
            r = remove_losers(l, l->disk, e);
        }
    }
    return r;
}

/* A disk that fails meanwhile is left out, and all is done again without it: what it had better
 * than another one does not count. */
int server_load(struct server *s, struct err *e)
{
    struct load l = {.server = s, .err = e};
    int r = load_all(&l);
    while (r < 0) {
        r = disks_leave_out(&s->disks, l.disk, r, e);
        if (r < 0) {
            break;
        }
        server_forget_chunks(s);
        l.loser_count = 0;
        r = load_all(&l);
    }
    free(l.losers);
    return r;
}
