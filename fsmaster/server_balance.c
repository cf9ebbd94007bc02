/* Balancing as long as an operator's command asks for it: every question of the command keeps it
 * going for a while, so it ends with the command, and a new leader goes on with the next question.
 *
 * A move is a copy more, made like those of repair, and then the care for a chunk with one too
 * many, which gives up the source's. So there are never fewer copies than wanted, and a move that
 * breaks off is a copy too many for a while. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "fsmaster/balance.h"
#include "fsmaster/server_admin.h"
#include "fsmaster/server_internal.h"

enum {
    LOOK_BUDGET = 20000, /* places of the location table per tick, to find chunks to move */
    BURST_MS = 1000,     /* the rate may be saved up for so long */
};

/* One copy on its way from a server to another. */
struct move {
    chunk_id chunk;
    server_id source;
    server_id target;
    uint64_t bytes;
    bool copied; /* the source's copy is to be given up */
};

struct balancing {
    bool running;
    struct balance_wish wish;
    time_ms until_ms; /* unless it is asked again */
    time_ms paid_ms;  /* when `credit` was counted last */
    double credit;    /* bytes that may be begun; negative after a large chunk */
    uint32_t cursor;  /* in the table, for the source of ... */
    uint32_t rank;    /* ... this rank, */
    server_id source; /* which this visit is about, whatever moves make of the ranks */
    bool found;       /* something in this round */
    bool stuck;       /* all ranks were looked through, and nothing can be moved */
    struct map moves; /* chunk id -> struct move */
    uint64_t moved_chunks, moved_bytes;
    struct balance_view view; /* as of this tick */
    size_t view_capacity;
};

/* The next leader knows nothing of them, and what they have copied is a copy too many for it. */
static void forget_moves(struct balancing *b)
{
    MAP_FOR_EACH(it, &b->moves)
    {
        free(it.value);
    }
    map_clear(&b->moves);
}

struct balancing *balancing_new(void)
{
    struct balancing *b = xcalloc(1, sizeof(*b));
    map_init(&b->moves, 0);
    return b;
}

void balancing_free(struct balancing *b)
{
    if (b) {
        forget_moves(b);
        map_deinit(&b->moves);
        free(b->view.servers);
        free(b);
    }
}

/* ---- The view ---------------------------------------------------------------------------------
 */

static int compare_ids(const void *a, const void *b)
{
    const struct balance_server *x = a;
    const struct balance_server *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void look_at_servers(struct server *s)
{
    struct balance_view *view = &s->balancing->view;
    size_t count = chunkservers_count(s->servers);
    if (s->balancing->view_capacity < count) {
        view->servers = xreallocarray(view->servers, count, sizeof(*view->servers));
        s->balancing->view_capacity = count;
    }
    view->count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct chunkserver *server = chunkservers_at(s->servers, i);
        if (server->state != CHUNKSERVER_LIVE || server->record.admin != SERVER_IN_SERVICE) {
            continue;
        }
        double used = (double)server->used_bytes + (double)server->moved_bytes;
        view->servers[view->count++] =
            (struct balance_server){.id = server->record.id,
                                    .host = server->host,
                                    .rack = server->rack,
                                    .used = MAX(used, 0),
                                    .room = (double)server->used_bytes + (double)server->free_bytes,
                                    .takes = server->copies_in < REPAIR_SERVER_COUNT_MAX};
    }
    if (view->count > 0) {
        qsort(view->servers, view->count, sizeof(*view->servers), compare_ids);
    }
    view->threshold = s->balancing->wish.threshold;
    balance_begin(view);
}

/* ---- Moves ------------------------------------------------------------------------------------
 */

static void start_move(struct server *s, const struct location *chunk, server_id source,
                       server_id target)
{
    struct balancing *b = s->balancing;
    if (!care_copy_to(s, chunk, target)) {
        return;
    }
    struct move *move = xcalloc(1, sizeof(*move));
    *move = (struct move){
        .chunk = chunk->chunk.id, .source = source, .target = target, .bytes = chunk->length};
    (void)map_put_u64(&b->moves, chunk->chunk.id, move);
    /* Until their heartbeats say so themselves. */
    chunkservers_find(s->servers, source)->moved_bytes -= (int64_t)chunk->length;
    chunkservers_find(s->servers, target)->moved_bytes += (int64_t)chunk->length;
    b->credit -= (double)chunk->length;
    b->found = true;
    b->stuck = false;
}

static bool may_start(const struct balancing *b)
{
    return b->moves.count < BALANCE_COUNT_MAX && b->credit >= 0;
}

static void look_at_chunk(void *arg, chunk_id id)
{
    struct server *s = arg;
    struct balancing *b = s->balancing;
    struct location chunk;
    struct repair_place place;
    if (!may_start(b) || map_get_u64(&b->moves, id) || !locations_find(s->locations, id, &chunk)) {
        return;
    }
    const struct balance_server *source = balance_find(&b->view, b->source);
    if (!source) {
        return;
    }
    repair_queue_look(s->repair, id, &place);
    const struct balance_server *target = balance_target(&b->view, &chunk, source);
    if (target && place.turn == REPAIR_TURN_NONE) {
        start_move(s, &chunk, source->id, target->id);
        look_at_servers(s);
    }
}

/* Goes through the chunks of the fullest server, then of the next one, as far as the rate allows.
 */
static void find_moves(struct server *s)
{
    struct balancing *b = s->balancing;
    const struct balance_server *source = balance_source(&b->view, b->rank);
    if (!source) {
        b->stuck = b->stuck || b->moves.count == 0;
        b->rank = 0;
        return;
    }
    b->source = source->id;
    if (!locations_visit_server(s->locations, b->source, &b->cursor, LOOK_BUDGET, look_at_chunk,
                                s)) {
        b->cursor = 0;
        b->rank = b->found ? 0 : b->rank + 1;
        b->found = false;
    }
}

void balancing_copied(struct server *s, chunk_id chunk, bool done)
{
    struct move *move = map_get_u64(&s->balancing->moves, chunk);
    if (!move) {
        return;
    }
    move->copied = done;
    if (done) {
        s->balancing->moved_chunks++;
        s->balancing->moved_bytes += move->bytes;
    } else {
        free(map_remove_u64(&s->balancing->moves, chunk));
    }
}

server_id balancing_source(const struct server *s, chunk_id chunk)
{
    const struct move *move = map_get_u64(&s->balancing->moves, chunk);
    return move && move->copied ? move->source : 0;
}

/* A move is over when its chunk has no copy too many any more, whatever became of them. */
static void end_moves(struct server *s)
{
    struct balancing *b = s->balancing;
    chunk_id over[BALANCE_COUNT_MAX];
    size_t count = 0;
    MAP_FOR_EACH(it, &b->moves)
    {
        const struct move *move = it.value;
        struct location known;
        if (move->copied && (!locations_find(s->locations, move->chunk, &known) ||
                             known.serving_count <= known.wanted)) {
            over[count++] = move->chunk;
        }
    }
    for (size_t i = 0; i < count; i++) {
        free(map_remove_u64(&b->moves, over[i]));
    }
}

/* ---- Time -------------------------------------------------------------------------------------
 */

void balancing_tick(struct server *s, time_ms now)
{
    struct balancing *b = s->balancing;
    bool leads = s->status.is_leader && !s->stopping;
    end_moves(s);
    if (!leads) {
        forget_moves(b);
    }
    gauge_set(s->metrics.balance_moves, (int64_t)b->moves.count);
    if (b->running && (now >= b->until_ms || !leads)) {
        b->running = false;
        log_info("fsmaster", "balancing ends chunks=%" PRIu64 " bytes=%" PRIu64, b->moved_chunks,
                 b->moved_bytes);
    }
    if (!b->running || !care_all_heard(s)) {
        return;
    }
    double rate = (double)b->wish.rate_bytes;
    b->credit += rate * (double)(now - b->paid_ms) / 1000;
    b->credit = MIN(b->credit, rate * BURST_MS / 1000);
    b->paid_ms = now;
    look_at_servers(s);
    if (!balance_is_even(&b->view) && may_start(b)) {
        find_moves(s);
    }
}

/* What the view says is what servers have reported, but for a thousandth. After a move a report may
 * have it in already while it is still added to that, which makes servers look more even. */
static bool is_measured(const struct server *s)
{
    for (size_t i = 0; i < chunkservers_count(s->servers); i++) {
        const struct chunkserver *server = chunkservers_at(s->servers, i);
        double total = (double)server->used_bytes + (double)server->free_bytes;
        double moved = (double)server->moved_bytes;
        if (server->state == CHUNKSERVER_LIVE && MAX(moved, -moved) * 1000 > total) {
            return false;
        }
    }
    return true;
}

void balancing_ask(struct server *s, const struct balance_wish *wish, struct balance_answer *ret)
{
    struct balancing *b = s->balancing;
    time_ms now = clock_mono_ms();
    if (!b->running && wish->rate_bytes > 0) {
        log_info("fsmaster", "balancing begins rate=%" PRIu64, wish->rate_bytes);
        b->moved_chunks = b->moved_bytes = 0;
        b->credit = 0;
        b->paid_ms = now;
        b->cursor = b->rank = 0;
        b->stuck = false;
    }
    b->running = wish->rate_bytes > 0;
    b->wish = *wish;
    b->until_ms = now + BALANCE_IDLE_MS;
    look_at_servers(s);
    *ret = (struct balance_answer){.all_heard = care_all_heard(s),
                                   .even = balance_is_even(&b->view) && is_measured(s),
                                   .stuck = b->stuck,
                                   .mean = b->view.mean,
                                   .moving = b->moves.count,
                                   .moved_chunks = b->moved_chunks,
                                   .moved_bytes = b->moved_bytes};
    for (size_t i = 0; i < b->view.count; i++) {
        double fill = b->view.servers[i].fill;
        ret->least = i == 0 || fill < ret->least ? fill : ret->least;
        ret->most = MAX(ret->most, fill);
    }
}
