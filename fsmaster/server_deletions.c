/* Replicas that chunkservers were told to delete, or are to be told, by server and chunk. What is
 * to go is decided once, in server_care.c or by the log; here it is only sent until its server has
 * answered. Until then the server is given no copy of that chunk: the deletion could meet it.
 *
 * A decision lasts as long as what it was made from. When this member stops leading, or the server
 * is lost, its deletions are dropped, and the server is asked for the list of what it has; one that
 * relied on other copies is looked at again before each sending. */
#include "fsmaster/server_deletions.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "fsmaster/server_internal.h"

enum {
    DELETIONS_WAITING_MAX = 1 << 20, /* of one server; the rest is found when it reports */
    DELETE_RETRY_MS = 1000,
};

/* Of one server. */
struct deletion {
    server_id server;
    struct map items; /* chunk id -> struct chunk_delete, owned */
    bool sending;     /* a batch of them is on its way */
    uint64_t round;   /* of drops: an answer to what was sent before one says nothing */
    time_ms again_ms; /* after a failure */
};

static struct deletion *deletion_of(struct server *s, server_id id)
{
    struct deletion *d = map_get_u64(&s->deletions, id);
    if (!d) {
        d = xcalloc(1, sizeof(*d));
        d->server = id;
        map_init(&d->items, 0);
        (void)map_put_u64(&s->deletions, id, d);
    }
    return d;
}

void care_delete(struct server *s, server_id server, struct chunk_ref chunk, uint32_t copies_left)
{
    const struct chunkserver *known = chunkservers_find(s->servers, server);
    if (!s->status.is_leader || !known || known->state != CHUNKSERVER_LIVE) {
        return;
    }
    struct deletion *d = deletion_of(s, server);
    struct chunk_delete *item = map_get_u64(&d->items, chunk.id);
    if (!item) {
        if (d->items.count >= DELETIONS_WAITING_MAX) {
            return;
        }
        item = xcalloc(1, sizeof(*item));
        (void)map_put_u64(&d->items, chunk.id, item);
        s->deletions_waiting++;
    }
    *item = (struct chunk_delete){chunk, copies_left};
}

bool deletion_waits(const struct server *s, server_id server, chunk_id chunk)
{
    const struct deletion *d = map_get_u64(&s->deletions, server);
    return d && map_get_u64(&d->items, chunk) != NULL;
}

static void forget(struct server *s, struct deletion *d, chunk_id chunk)
{
    struct chunk_delete *item = map_remove_u64(&d->items, chunk);
    s->deletions_waiting -= item != NULL;
    free(item);
}

/* ---- Dropped --------------------------------------------------------------------------------- */

static void forget_all(struct server *s, struct deletion *d)
{
    MAP_FOR_EACH(it, &d->items)
    {
        free(it.value);
    }
    s->deletions_waiting -= d->items.count;
    map_deinit(&d->items);
    map_init(&d->items, 0);
    d->round++;
}

/* The table of locations knows nothing of what was to be deleted any more. */
static void ask_for_list(struct server *s, server_id id)
{
    struct chunkserver *server = chunkservers_find(s->servers, id);
    if (server) {
        chunkserver_ask_again(server, clock_mono_ms());
    }
}

void deletions_drop(struct server *s, server_id server)
{
    struct deletion *d = map_get_u64(&s->deletions, server);
    if (d && d->items.count > 0) {
        forget_all(s, d);
        ask_for_list(s, server);
    }
}

void deletions_drop_all(struct server *s)
{
    MAP_FOR_EACH(it, &s->deletions)
    {
        deletions_drop(s, ((struct deletion *)it.value)->server);
    }
}

/* ---- Sent ------------------------------------------------------------------------------------ */

/* Whether the copies that were to be left are there still. */
static bool still_holds(const struct server *s, const struct chunk_delete *item)
{
    struct location known;
    return item->copies_left == 0 || !locations_find(s->locations, item->chunk.id, &known) ||
           known.good_count >= item->copies_left;
}

/* Up to DELETE_BATCH_COUNT_MAX of them into the call. */
static void take_batch(struct server *s, struct deletion *d, struct chunk_call *call)
{
    struct chunk_delete *items =
        arena_alloc(&call->arena, DELETE_BATCH_COUNT_MAX * sizeof(struct chunk_delete));
    bool dropped = false;
    MAP_FOR_EACH(it, &d->items)
    {
        const struct chunk_delete *item = it.value;
        if (call->item_count == DELETE_BATCH_COUNT_MAX) {
            break;
        }
        if (still_holds(s, item)) {
            items[call->item_count++] = *item;
        } else {
            dropped = true;
            forget(s, d, item->chunk.id);
        }
    }
    call->items = items;
    if (dropped) {
        ask_for_list(s, d->server);
    }
}

static void delete_done(struct chunk_call *call)
{
    struct server *s = call->context;
    struct deletion *d = call->arg;
    d->sending = false;
    if (call->code < 0) {
        d->again_ms = clock_mono_ms() + DELETE_RETRY_MS;
        log_info("care", "replicas not deleted yet server=%" PRIu64 " count=%zu error=%s",
                 call->server, call->item_count, call->text);
    } else {
        counter_add(s->metrics.deletes, call->deleted_count);
    }
    for (size_t i = 0; call->code == 0 && d->round == call->round && i < call->item_count; i++) {
        forget(s, d, call->items[i].chunk.id);
    }
    chunk_call_free(call);
}

void deletions_tick(struct server *s, time_ms now)
{
    MAP_FOR_EACH(it, &s->deletions)
    {
        struct deletion *d = it.value;
        if (d->sending || d->items.count == 0 || now < d->again_ms) {
            continue;
        }
        struct chunk_call *call = server_chunk_call(s, CHUNK_CALL_DELETE, d->server);
        take_batch(s, d, call);
        if (call->item_count == 0) {
            chunk_call_free(call);
            continue;
        }
        d->sending = true;
        call->arg = d;
        call->round = d->round;
        call->done = delete_done;
        chunk_call_start(call, &s->chunk_caller);
    }
}

void deletions_free(struct server *s)
{
    MAP_FOR_EACH(it, &s->deletions)
    {
        struct deletion *d = it.value;
        forget_all(s, d);
        map_deinit(&d->items);
        free(d);
    }
    map_deinit(&s->deletions);
}
