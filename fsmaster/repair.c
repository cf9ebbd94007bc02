/* See repair.h. Entries stand in one of two heaps: `due` by copies left and age, `later` by the
 * time when they are due again; taken ones in neither. */
#include "fsmaster/repair.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/heap.h"
#include "common/macros.h"
#include "common/map.h"

enum entry_state {
    ENTRY_DUE,
    ENTRY_LATER,
    ENTRY_TAKEN,
};

struct entry {
    struct heap_node node; /* in due or later, by state */
    chunk_id chunk;
    uint32_t copies_left;
    enum entry_state state;
    bool again;        /* TAKEN: added once more meanwhile */
    uint32_t put_offs; /* in a row */
    time_ms since_ms;  /* first added */
    time_ms due_ms;    /* LATER */
};

struct repair_queue {
    struct map entries; /* by chunk */
    struct heap due;
    struct heap later;
    size_t taken;
};

static bool more_urgent(const struct heap_node *a, const struct heap_node *b)
{
    const struct entry *x = CONTAINER_OF(a, struct entry, node);
    const struct entry *y = CONTAINER_OF(b, struct entry, node);
    if (x->copies_left != y->copies_left) {
        return x->copies_left < y->copies_left;
    }
    if (x->since_ms != y->since_ms) {
        return x->since_ms < y->since_ms;
    }
    return x->chunk < y->chunk;
}

static bool due_earlier(const struct heap_node *a, const struct heap_node *b)
{
    return CONTAINER_OF(a, struct entry, node)->due_ms <
           CONTAINER_OF(b, struct entry, node)->due_ms;
}

struct repair_queue *repair_queue_new(void)
{
    struct repair_queue *q = xcalloc(1, sizeof(*q));
    map_init(&q->entries, 0);
    heap_init(&q->due, more_urgent);
    heap_init(&q->later, due_earlier);
    return q;
}

void repair_queue_free(struct repair_queue *q)
{
    if (!q) {
        return;
    }
    heap_deinit(&q->due);
    heap_deinit(&q->later);
    MAP_FOR_EACH(it, &q->entries)
    {
        free(it.value);
    }
    map_deinit(&q->entries);
    free(q);
}

static void make_due(struct repair_queue *q, struct entry *entry)
{
    heap_remove(&q->later, &entry->node);
    entry->state = ENTRY_DUE;
    heap_push(&q->due, &entry->node);
}

void repair_queue_add(struct repair_queue *q, chunk_id chunk, uint32_t copies_left, time_ms now)
{
    struct entry *entry = map_get_u64(&q->entries, chunk);
    if (!entry) {
        entry = xcalloc(1, sizeof(*entry));
        entry->chunk = chunk;
        entry->copies_left = copies_left;
        entry->since_ms = now;
        (void)map_put_u64(&q->entries, chunk, entry);
        make_due(q, entry);
        return;
    }
    bool worse = copies_left < entry->copies_left;
    entry->copies_left = copies_left;
    switch (entry->state) {
    case ENTRY_DUE:
        heap_update(&q->due, &entry->node);
        break;
    case ENTRY_LATER:
        if (worse) {
            make_due(q, entry);
        }
        break;
    case ENTRY_TAKEN:
        entry->again = true;
        break;
    }
}

static void entry_forget(struct repair_queue *q, struct entry *entry)
{
    (void)map_remove_u64(&q->entries, entry->chunk);
    heap_remove(entry->state == ENTRY_DUE ? &q->due : &q->later, &entry->node);
    q->taken -= entry->state == ENTRY_TAKEN;
    free(entry);
}

void repair_queue_drop(struct repair_queue *q, chunk_id chunk)
{
    struct entry *entry = map_get_u64(&q->entries, chunk);
    if (entry) {
        entry_forget(q, entry);
    }
}

chunk_id repair_queue_take(struct repair_queue *q, time_ms now)
{
    for (;;) {
        struct heap_node *node = heap_first(&q->later);
        struct entry *entry = node ? CONTAINER_OF(node, struct entry, node) : NULL;
        if (!entry || entry->due_ms > now) {
            break;
        }
        make_due(q, entry);
    }
    if (q->taken >= REPAIR_COUNT_MAX) {
        return 0;
    }
    struct heap_node *node = heap_pop(&q->due);
    if (!node) {
        return 0;
    }
    struct entry *entry = CONTAINER_OF(node, struct entry, node);
    entry->state = ENTRY_TAKEN;
    entry->again = false;
    q->taken++;
    return entry->chunk;
}

void repair_queue_finish(struct repair_queue *q, chunk_id chunk, time_ms now)
{
    struct entry *entry = map_get_u64(&q->entries, chunk);
    if (!entry || entry->state != ENTRY_TAKEN) {
        return; /* dropped meanwhile */
    }
    if (!entry->again) {
        entry_forget(q, entry);
        return;
    }
    q->taken--;
    entry->put_offs = 0;
    entry->since_ms = now;
    make_due(q, entry);
}

static void make_later(struct repair_queue *q, struct entry *entry, time_ms due_ms)
{
    q->taken--;
    entry->due_ms = due_ms;
    entry->state = ENTRY_LATER;
    heap_push(&q->later, &entry->node);
}

void repair_queue_put_off(struct repair_queue *q, chunk_id chunk, time_ms now)
{
    struct entry *entry = map_get_u64(&q->entries, chunk);
    if (!entry || entry->state != ENTRY_TAKEN) {
        return;
    }
    uint32_t doublings = MIN(entry->put_offs, 16U);
    time_ms delay = MIN((time_ms)REPAIR_RETRY_MS_MIN << doublings, (time_ms)REPAIR_RETRY_MS_MAX);
    entry->put_offs++;
    make_later(q, entry, now + delay);
}

void repair_queue_wait(struct repair_queue *q, chunk_id chunk, time_ms now)
{
    struct entry *entry = map_get_u64(&q->entries, chunk);
    if (!entry || entry->state != ENTRY_TAKEN) {
        return;
    }
    entry->put_offs = 0;
    make_later(q, entry, now + REPAIR_BUSY_MS);
}

void repair_queue_hurry(struct repair_queue *q)
{
    for (;;) {
        struct heap_node *node = heap_first(&q->later);
        if (!node) {
            return;
        }
        struct entry *entry = CONTAINER_OF(node, struct entry, node);
        entry->put_offs = 0;
        make_due(q, entry);
    }
}

void repair_queue_look(const struct repair_queue *q, chunk_id chunk, struct repair_place *ret)
{
    static const enum repair_turn turns[] = {[ENTRY_DUE] = REPAIR_TURN_DUE,
                                             [ENTRY_LATER] = REPAIR_TURN_LATER,
                                             [ENTRY_TAKEN] = REPAIR_TURN_TAKEN};
    const struct entry *entry = map_get_u64(&q->entries, chunk);
    memset(ret, 0, sizeof(*ret));
    if (entry) {
        *ret = (struct repair_place){.turn = turns[entry->state],
                                     .since_ms = entry->since_ms,
                                     .due_ms = entry->state == ENTRY_LATER ? entry->due_ms : 0,
                                     .put_offs = entry->put_offs};
    }
}

size_t repair_queue_waiting(const struct repair_queue *q)
{
    return q->due.count + q->later.count;
}

size_t repair_queue_taken(const struct repair_queue *q)
{
    return q->taken;
}

/* ---- The plan ------------------------------------------------------------------------------- */

static void plan_server(struct repair_plan *plan, enum repair_kind kind,
                        const struct location_replica *replica, uint32_t copies_left)
{
    plan->kind = kind;
    plan->server = replica->server;
    plan->version = replica->version;
    plan->copies_left = copies_left;
}

/* Replicas that do not agree with the log. One that is ahead of the log cannot be (versions come
 * from the log only), so it is left for a human. Of one that is assumed nothing more may ever be
 * heard: at an older version it missed the end of the chunk, and at this one it was last heard of
 * before it was sealed. Only what is assumed to be sealed may be what its server is about to say.
 */
static bool is_odd(const struct location *chunk, const struct location_replica *replica)
{
    bool behind = replica->version < chunk->chunk.version;
    bool unlike =
        replica->version == chunk->chunk.version && !(replica->assumed && replica->sealed);
    return replica->live && !replica->good && (behind || unlike);
}

/* How long an assumed one is nobody knows: its server is asked, and keeps it if it is long enough.
 */
static bool can_adopt(const struct location *chunk, const struct location_replica *replica)
{
    bool other_end = replica->sealed && replica->version == chunk->chunk.version;
    return is_odd(chunk, replica) && !replica->damaged && !other_end &&
           (replica->assumed || replica->length >= chunk->length);
}

/* The first odd replica, adoptable ones only if asked so. NULL: none. */
static const struct location_replica *find_odd(const struct location *chunk, bool adoptable)
{
    for (uint32_t i = 0; i < chunk->count; i++) {
        const struct location_replica *replica = &chunk->replicas[i];
        if (adoptable ? can_adopt(chunk, replica) : is_odd(chunk, replica)) {
            return replica;
        }
    }
    return NULL;
}

static void decide_orphan(const struct repair_view *view, struct repair_plan *ret)
{
    for (uint32_t i = 0; view->all_heard && i < view->chunk->count; i++) {
        if (view->chunk->replicas[i].live) {
            plan_server(ret, REPAIR_DELETE, &view->chunk->replicas[i], 0);
            return;
        }
    }
    ret->kind = REPAIR_WAIT;
}

/* The copies that it lacks may be on servers in maintenance that this master has not heard. A chunk
 * that nothing serves is copied all the same. */
static bool may_be_away(const struct repair_view *view)
{
    return view->chunk->serving_count > 0 &&
           view->chunk->counted + view->away >= view->chunk->wanted;
}

static void decide_copy(const struct repair_view *view, struct repair_plan *ret, uint32_t reported)
{
    const struct location *chunk = view->chunk;
    if (may_be_away(view)) {
        ret->kind = REPAIR_WAIT;
        return;
    }
    if (view->no_target) {
        const struct location_replica *odd = find_odd(chunk, false);
        ret->kind = REPAIR_WAIT;
        if (odd && view->all_heard && reported > 0) {
            plan_server(ret, REPAIR_DELETE, odd, chunk->good_count);
        }
        return;
    }
    ret->kind = REPAIR_COPY;
    for (uint32_t i = 0; i < chunk->count; i++) {
        if (chunk->replicas[i].good) {
            ret->sources[ret->source_count++] = chunk->replicas[i].server;
        }
    }
}

/* Which of the replicas that serve to give up. */
static const struct location_replica *pick_surplus(const struct repair_view *view)
{
    const struct location_replica *pick = NULL;
    for (uint32_t i = 0; i < view->chunk->count; i++) {
        const struct location_replica *replica = &view->chunk->replicas[i];
        if (location_serves(replica) && !(pick && pick->server == view->surplus)) {
            pick = replica;
        }
    }
    return pick;
}

static void decide_extra(const struct repair_view *view, struct repair_plan *ret)
{
    const struct location *chunk = view->chunk;
    const struct location_replica *odd = find_odd(chunk, false);
    uint32_t reported = 0;
    for (uint32_t i = 0; i < chunk->count; i++) {
        reported += location_serves(&chunk->replicas[i]) && !chunk->replicas[i].assumed;
    }
    if (!odd && chunk->serving_count <= chunk->wanted) {
        ret->kind = REPAIR_NOTHING;
        return;
    }
    ret->kind = REPAIR_WAIT;
    if (!view->all_heard) {
        return;
    }
    if (odd && reported >= chunk->wanted) {
        plan_server(ret, REPAIR_DELETE, odd, chunk->good_count);
    } else if (!odd && reported > chunk->wanted) {
        plan_server(ret, REPAIR_DELETE, pick_surplus(view), chunk->good_count - 1);
    }
}

void repair_decide(const struct repair_view *view, struct repair_plan *ret)
{
    const struct location *chunk = view->chunk;
    memset(ret, 0, sizeof(*ret));
    if (chunk->state == LOCATION_RUMOURED) {
        decide_orphan(view, ret);
        return;
    }
    if (chunk->state != LOCATION_SEALED) {
        return; /* REPAIR_NOTHING */
    }
    uint32_t reported = 0;
    for (uint32_t i = 0; i < chunk->count; i++) {
        reported += chunk->replicas[i].good && !chunk->replicas[i].assumed;
    }
    const struct location_replica *adoptable = find_odd(chunk, true);
    bool copies_first = view->no_adoption && chunk->good_count > 0;
    if (adoptable && location_lacks(chunk) && !copies_first) {
        plan_server(ret, REPAIR_ADOPT, adoptable, chunk->good_count);
    } else if (chunk->good_count == 0) {
        ret->kind = REPAIR_WAIT;
    } else if (location_lacks(chunk)) {
        decide_copy(view, ret, reported);
    } else {
        decide_extra(view, ret);
    }
}

/* ---- Why ------------------------------------------------------------------------------------ */

/* Of a chunk that is to be copied. */
static enum repair_reason explain_copy(const struct repair_question *q)
{
    if (!q->settled) {
        return REPAIR_FOR_REPORTS;
    }
    return q->targets_busy      ? REPAIR_FOR_BUSY_TARGET
           : q->view->no_room   ? REPAIR_FOR_ROOM
           : q->view->no_target ? REPAIR_FOR_TARGET
           : q->sources_busy    ? REPAIR_FOR_BUSY_SOURCE
                                : REPAIR_FOR_TURN;
}

enum repair_reason repair_explain(const struct repair_question *q)
{
    const struct location *chunk = q->view->chunk;
    struct repair_plan plan;
    switch (chunk->state) {
    case LOCATION_OPEN:
        return REPAIR_FOR_WRITER;
    case LOCATION_SEALING:
        return REPAIR_FOR_SEAL;
    case LOCATION_RUMOURED:
        return REPAIR_FOR_LOG;
    case LOCATION_SEALED:
        break;
    }
    repair_decide(q->view, &plan);
    if (plan.kind == REPAIR_NOTHING) {
        return REPAIR_FOR_NOTHING;
    }
    if (q->turn == REPAIR_TURN_TAKEN) {
        return REPAIR_FOR_END;
    }
    if (plan.kind == REPAIR_ADOPT) {
        return REPAIR_FOR_TURN;
    }
    if (plan.kind == REPAIR_COPY || q->view->no_target) {
        return explain_copy(q);
    }
    if (plan.kind != REPAIR_WAIT) {
        return REPAIR_FOR_TURN;
    }
    bool waits_with_odd = q->view->all_heard && chunk->serving_count < chunk->wanted;
    if (chunk->good_count > 0 && (location_lacks(chunk) || waits_with_odd)) {
        return REPAIR_FOR_AWAY;
    }
    /* Without a good copy, or with too many while not everybody was heard. */
    return chunk->good_count == 0 && q->view->all_heard ? REPAIR_FOR_HOLDER : REPAIR_FOR_REPORTS;
}

bool repair_reason_passes(enum repair_reason reason)
{
    return reason == REPAIR_FOR_NOTHING || reason == REPAIR_FOR_END || reason == REPAIR_FOR_TURN ||
           reason == REPAIR_FOR_BUSY_TARGET || reason == REPAIR_FOR_BUSY_SOURCE;
}

const char *repair_reason_text(enum repair_reason reason)
{
    static const char *const texts[REPAIR_REASON_COUNT] = {
        [REPAIR_FOR_NOTHING] = "nothing: it is as it should be",
        [REPAIR_FOR_WRITER] = "its writer: it is open",
        [REPAIR_FOR_SEAL] = "its recovery, which seals it",
        [REPAIR_FOR_END] = "a copy that is being made",
        [REPAIR_FOR_TURN] = "its turn",
        [REPAIR_FOR_REPORTS] = "chunkservers to report what they hold",
        [REPAIR_FOR_HOLDER] = "a chunkserver that has a copy to come back",
        [REPAIR_FOR_AWAY] = "a chunkserver in maintenance to come back, or its time to be over",
        [REPAIR_FOR_TARGET] =
            "a live chunkserver in service that has no copy yet: there are too few",
        [REPAIR_FOR_ROOM] = "space: each live chunkserver in service without a copy is full",
        [REPAIR_FOR_BUSY_TARGET] = "chunkservers with room to end the copies that they make",
        [REPAIR_FOR_BUSY_SOURCE] = "chunkservers that have a copy to end those that they give",
        [REPAIR_FOR_LOG] = "nothing: no file has it",
    };
    return texts[reason];
}

const char *repair_reason_name(enum repair_reason reason)
{
    static const char *const names[REPAIR_REASON_COUNT] = {
        [REPAIR_FOR_NOTHING] = "nothing",
        [REPAIR_FOR_WRITER] = "writer",
        [REPAIR_FOR_SEAL] = "seal",
        [REPAIR_FOR_END] = "end",
        [REPAIR_FOR_TURN] = "turn",
        [REPAIR_FOR_REPORTS] = "reports",
        [REPAIR_FOR_HOLDER] = "holder",
        [REPAIR_FOR_AWAY] = "away",
        [REPAIR_FOR_TARGET] = "target",
        [REPAIR_FOR_ROOM] = "room",
        [REPAIR_FOR_BUSY_TARGET] = "busy-target",
        [REPAIR_FOR_BUSY_SOURCE] = "busy-source",
        [REPAIR_FOR_LOG] = "log",
    };
    return names[reason];
}
