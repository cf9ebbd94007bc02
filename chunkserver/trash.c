/* The index has an entry for each file in the trash, with the time when it goes, and keys sort by
 * that time. Order of a deletion: index (chunk gone, trash entry there, synced), then rename; of
 * its end: unlink, then the entry. So an entry may name a file that is still among the chunks or
 * gone already (fine), and never a file that nobody will remove. The former is seen to at the start
 * before anything else: later the same chunk may be on its way back, its file named and its record
 * not yet written. */
#include "chunkserver/trash.h"

#include <stdlib.h>

#include "chunkserver/server.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"

struct trash {
    struct server *server;
    struct disk *disk;
    struct rpc_timer timer;
    struct task task;
    bool busy;
    bool stopped;
};

struct trash_round {
    struct chunk_disk *disk;
    struct index_batch *batch;
    time_ms now_wall_ms;
    size_t removed;
    struct err err;
};

/* ---- At the start ---- */

struct repeat {
    struct chunk_disk *disk;
    struct err err;
};

static int repeat_rename(void *arg, const struct trash_entry *entry)
{
    struct repeat *repeat = arg;
    struct chunk_record record;
    struct err e = ERR_INIT;
    if (entry->inlined || !chunk_file_exists(&repeat->disk->dirs, entry->ref.id)) {
        return 0;
    }
    /* A chunk that came back since has its file by right; else the rename was interrupted. */
    if (chunk_index_get(repeat->disk->index, entry->ref.id, &record, &e) != ERR_NOT_FOUND) {
        return 0;
    }
    return chunk_file_trash(&repeat->disk->dirs, entry->ref, &repeat->err);
}

void trash_repeat_renames(struct disk *disk)
{
    struct repeat repeat = {.disk = &disk->chunks};
    if (chunk_index_scan_trash(disk->chunks.index, repeat_rename, &repeat, &repeat.err) < 0) {
        log_warning("chunkserver", "files of deleted chunks stay until the next start data=%s: %s",
                    disk->path, err_message(&repeat.err));
    }
}

/* ---- Rounds ---- */

static int visit(void *arg, const struct trash_entry *entry)
{
    struct trash_round *round = arg;
    if (entry->due_wall_ms > round->now_wall_ms) {
        return 1; /* the others are due later still */
    }
    int r = chunk_file_trash_remove(&round->disk->dirs, entry->ref, &round->err);
    if (r < 0) {
        return r;
    }
    index_remove_trash(round->batch, entry);
    round->removed++;
    return round->removed >= TRASH_ROUND_COUNT_MAX ? 1 : 0;
}

static void trash_run(struct task *task)
{
    struct trash *t = CONTAINER_OF(task, struct trash, task);
    struct chunk_disk *disk = &t->disk->chunks;
    struct trash_round round = {
        .disk = disk, .batch = index_batch_new(disk->index), .now_wall_ms = clock_wall_ms()};
    int r = chunk_index_scan_trash(disk->index, visit, &round, &round.err);
    if (r < 0) {
        log_warning("chunkserver", "the trash cannot be emptied: %s", err_message(&round.err));
    }
    struct err e = ERR_INIT;
    if (round.removed > 0 && chunk_index_write(disk->index, round.batch, &e) < 0) {
        server_disk_failed(t->server, t->disk, "the chunk index cannot be written", &e);
    }
    index_batch_free(round.batch);
}

static void trash_due(void *arg);

static void trash_done(struct task *task)
{
    struct trash *t = CONTAINER_OF(task, struct trash, task);
    t->busy = false;
    if (!t->stopped) {
        rpc_timer_set(server_owner(t->server), &t->timer, clock_mono_ms() + TRASH_CHECK_MS,
                      trash_due, t);
    }
}

static void trash_due(void *arg)
{
    struct trash *t = arg;
    t->busy = true;
    server_task(t->server, t->disk, &t->task, server_owner(t->server));
}

struct trash *trash_new(struct server *s, struct disk *disk)
{
    struct trash *t = xcalloc(1, sizeof(*t));
    t->server = s;
    t->disk = disk;
    t->task.run = trash_run;
    t->task.done = trash_done;
    trash_due(t);
    return t;
}

void trash_stop(struct trash *t)
{
    if (t != NULL) {
        t->stopped = true;
        rpc_timer_cancel(server_owner(t->server), &t->timer);
    }
}

bool trash_idle(const struct trash *t)
{
    return t == NULL || !t->busy;
}

void trash_free(struct trash *t)
{
    if (t != NULL) {
        rpc_timer_cancel(server_owner(t->server), &t->timer);
        free(t);
    }
}
