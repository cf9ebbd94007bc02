/* The owner's tables: chunks, exclusive use, waiting readers. See server.h. */
#include <inttypes.h>
#include <stdlib.h>

#include "chunkserver/chain.h"
#include "chunkserver/command.h"
#include "chunkserver/report.h"
#include "chunkserver/server.h"
#include "common/alloc.h"
#include "common/check.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/metrics.h"

/* One chunk id that somebody has to himself. */
struct chunk_use {
    struct claim *holder;
    struct list waiting; /* of claims, in order */
};

/* ---- Chunks ---- */

struct chunk *server_chunk(const struct server *s, chunk_id id)
{
    return map_get_u64(&s->chunks, id);
}

static void wake_waiters(struct server *s, chunk_id id)
{
    struct list *waiting = map_get_u64(&s->waiters, id);
    if (waiting == NULL) {
        return;
    }
    struct list due = LIST_INIT(due);
    list_splice_back(&due, waiting);
    for (struct list *node = list_pop_front(&due); node != NULL; node = list_pop_front(&due)) {
        struct chunk_waiter *w = LIST_ENTRY(node, struct chunk_waiter, link);
        list_push_back(waiting, &w->link); /* stays unless it removes itself, which may free both */
        w->changed(w);
        waiting = map_get_u64(&s->waiters, id);
        if (waiting == NULL) {
            break;
        }
    }
}

/* Modulo 2^64, so that a difference may be negative. */
static void count_used(struct server *s, struct disk *disk, uint64_t bytes)
{
    disk->used_bytes += bytes;
    s->used_bytes += bytes;
}

void server_chunk_changed(struct server *s, struct disk *disk, const struct chunk_record *record)
{
    struct chunk *chunk = server_chunk(s, record->ref.id);
    if (disk_has_failed(&disk->state)) {
        return; /* its chunks go, or are gone already */
    }
    if (chunk == NULL) {
        chunk = xcalloc(1, sizeof(*chunk));
        (void)map_put_u64(&s->chunks, record->ref.id, chunk);
        gauge_set(s->counters.chunks, (int64_t)s->chunks.count);
    }
    bool sealed = record->state == CHUNK_SEALED;
    count_used(s, server_chunk_disk(s, chunk), 0 - chunk->length);
    count_used(s, disk, record->length);
    *chunk = (struct chunk){
        .ref = record->ref,
        .length = record->length,
        .readable = record->acked,
        .chunk_bytes = record->chunk_bytes,
        .state = (uint8_t)record->state,
        .inlined = record->inlined,
        .damaged = record->damaged,
        .clean = sealed ||
                 (record->state == CHUNK_FENCED ? record->clean
                                                : record->granted_start == s->disks.start_count),
        .disk = (uint8_t)disk->number,
    };
    report_changed(s->report, record->ref.id);
    wake_waiters(s, record->ref.id);
}

void server_chunk_removed(struct server *s, chunk_id id)
{
    struct chunk *chunk = map_remove_u64(&s->chunks, id);
    if (chunk == NULL) {
        return;
    }
    count_used(s, server_chunk_disk(s, chunk), 0 - chunk->length);
    gauge_set(s->counters.chunks, (int64_t)s->chunks.count);
    report_removed(s->report, chunk->ref);
    free(chunk);
    wake_waiters(s, id);
}

void server_drop_disk(struct server *s, const struct disk *disk)
{
    MAP_FOR_EACH(it, &s->uses)
    {
        const struct chunk_use *use = it.value;
        const struct chunk *chunk = server_chunk(s, it.key);
        if (chunk != NULL && chunk->disk == disk->number && use->holder->chain != NULL) {
            chain_stop(use->holder->chain, ERR_IO, "the disk failed");
        }
    }
    MAP_FOR_EACH(it, &s->chunks)
    {
        struct chunk *chunk = it.value;
        if (chunk->disk == disk->number) {
            (void)map_remove_u64(&s->chunks, it.key);
            count_used(s, server_chunk_disk(s, chunk), 0 - chunk->length);
            free(chunk);
            wake_waiters(s, it.key);
        }
    }
    gauge_set(s->counters.chunks, (int64_t)s->chunks.count);
}

void server_forget_chunks(struct server *s)
{
    MAP_FOR_EACH(it, &s->chunks)
    {
        struct chunk *chunk = it.value;
        count_used(s, server_chunk_disk(s, chunk), 0 - chunk->length);
        free(chunk);
    }
    map_clear(&s->chunks);
}

void server_chunk_grew(struct server *s, chunk_id id, uint64_t length, uint64_t readable)
{
    struct chunk *chunk = server_chunk(s, id);
    if (chunk == NULL) {
        return; /* its disk has failed; else the stream that reports this holds it */
    }
    count_used(s, server_chunk_disk(s, chunk), length - chunk->length);
    chunk->length = length;
    chunk->readable = MAX(chunk->readable, readable);
    wake_waiters(s, id);
}

/* ---- Damage ---- */

struct suspicion {
    struct command command;
    uint64_t readable; /* of the open chunk when it was read */
};

/* A reader or the scrubber may meet a chunk that is just cut, replaced or deleted, and an error may
 * be of the moment. */
static int damage_run(struct command *cmd)
{
    const struct suspicion *suspicion = CONTAINER_OF(cmd, struct suspicion, command);
    struct chunk_index *index = cmd->disk->chunks.index;
    struct chunk_record record;
    int code = chunk_index_get(index, cmd->claim.id, &record, &cmd->err);
    if (code < 0 || record.damaged) {
        return code;
    }
    if (record.state == CHUNK_OPEN && record.granted_start != cmd->server->disks.start_count) {
        return 0; /* its end may be torn: the fence that is to come looks for what verifies */
    }
    if (record.state == CHUNK_OPEN) { /* the index hears of the watermark with the next bytes */
        record.acked = MAX(record.acked, MIN(suspicion->readable, record.length));
    }
    code = replica_check(&cmd->disk->chunks, &record, &cmd->err);
    if (code != ERR_CORRUPT) {
        return code;
    }
    struct err e = ERR_INIT;
    struct index_batch *batch = index_batch_new(index);
    record.damaged = true;
    index_put_chunk(batch, &record);
    if (chunk_index_write(index, batch, &e) < 0) {
        server_disk_failed(cmd->server, cmd->disk, "the chunk index cannot be written", &e);
    } else {
        cmd->effect = COMMAND_CHANGED;
        cmd->record = record;
    }
    index_batch_free(batch);
    return code;
}

static void damage_done(struct command *cmd)
{
    struct server *s = cmd->server;
    struct chunk *chunk = server_chunk(s, cmd->claim.id);
    if (chunk != NULL) {
        chunk->suspected = false;
    }
    if (cmd->effect == COMMAND_CHANGED) {
        counter_add(s->counters.damaged_blocks, 1);
        log_error("chunkserver", "chunk is damaged chunk=%" PRIu64 " version=%" PRIu64 ": %s",
                  cmd->record.ref.id, cmd->record.ref.version, err_message(&cmd->err));
    } else if (cmd->code < 0) {
        log_warning("chunkserver", "a chunk cannot be verified chunk=%" PRIu64 ": %s",
                    cmd->claim.id, err_message(&cmd->err));
    }
    free(CONTAINER_OF(cmd, struct suspicion, command));
}

void server_chunk_suspected(struct server *s, const struct disk *disk, chunk_id id)
{
    struct chunk *chunk = server_chunk(s, id);
    if (chunk == NULL || chunk->damaged || chunk->suspected || chunk->disk != disk->number) {
        return;
    }
    chunk->suspected = true;
    struct suspicion *suspicion = xcalloc(1, sizeof(*suspicion));
    suspicion->readable = chunk->readable;
    suspicion->command.run = damage_run;
    suspicion->command.done = damage_done;
    command_start(&suspicion->command, s, id);
}

/* ---- Exclusive use ---- */

void server_claim(struct server *s, struct claim *c)
{
    list_init(&c->link);
    struct chunk_use *use = map_get_u64(&s->uses, c->id);
    if (use != NULL) {
        list_push_back(&use->waiting, &c->link);
        return;
    }
    use = xcalloc(1, sizeof(*use));
    list_init(&use->waiting);
    use->holder = c;
    (void)map_put_u64(&s->uses, c->id, use);
    c->granted(c);
}

void server_claim_ending_streams(struct server *s, struct claim *c, int code, const char *why)
{
    struct chunk_use *use = map_get_u64(&s->uses, c->id);
    if (use != NULL && use->holder->chain != NULL) {
        chain_stop(use->holder->chain, code, why);
    }
    server_claim(s, c);
}

void server_release(struct server *s, struct claim *c)
{
    struct chunk_use *use = map_get_u64(&s->uses, c->id);
    CHECK(use != NULL);
    CHECK(use->holder == c);
    struct list *next = list_pop_front(&use->waiting);
    if (next == NULL) {
        (void)map_remove_u64(&s->uses, c->id);
        free(use);
        return;
    }
    use->holder = LIST_ENTRY(next, struct claim, link);
    use->holder->granted(use->holder);
}

bool server_is_claimed(const struct server *s, chunk_id id)
{
    return map_get_u64(&s->uses, id) != NULL;
}

void server_stop_chains(struct server *s, int code, const char *why)
{
    MAP_FOR_EACH(it, &s->uses)
    {
        const struct chunk_use *use = it.value;
        if (use->holder->chain != NULL) {
            chain_stop(use->holder->chain, code, why);
        }
    }
}

/* ---- Waiting readers ---- */

void server_wait(struct server *s, struct chunk_waiter *w)
{
    struct list *waiting = map_get_u64(&s->waiters, w->id);
    if (waiting == NULL) {
        waiting = xmalloc(sizeof(*waiting));
        list_init(waiting);
        (void)map_put_u64(&s->waiters, w->id, waiting);
    }
    list_push_back(waiting, &w->link);
}

void server_unwait(struct server *s, struct chunk_waiter *w)
{
    if (!list_linked(&w->link)) {
        return;
    }
    list_remove(&w->link);
    struct list *waiting = map_get_u64(&s->waiters, w->id);
    if (waiting != NULL && list_empty(waiting)) {
        (void)map_remove_u64(&s->waiters, w->id);
        free(waiting);
    }
}

/* ---- File masters ---- */

void server_see_term(struct server *s, term_no term)
{
    if (term > s->term) {
        s->term = term;
        server_spread_term(s);
    }
}

int server_check_master(struct server *s, term_no term, const char *cluster_id, struct err *e)
{
    char own[CLUSTER_ID_TEXT_BYTES];
    if (cluster_id_known(s->disks.ident.cluster)) {
        (void)cluster_id_format(s->disks.ident.cluster, own);
        if (strcmp(own, cluster_id) != 0) {
            return err_set(e, ERR_WRONG_CLUSTER, "this chunkserver belongs to cluster %s", own);
        }
    }
    if (term < s->term) {
        return err_set(e, ERR_STALE, "term %" PRIu64 " is over, %" PRIu64 " was seen", term,
                       s->term);
    }
    server_see_term(s, term);
    return 0;
}
