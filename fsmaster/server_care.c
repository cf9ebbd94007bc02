/* Care for chunks as repair.h decides it: copies, adoptions, deletions; and the removal of deleted
 * files in the background. Only a leader cares. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "fsmaster/placement.h"
#include "fsmaster/server_admin.h"
#include "fsmaster/server_deletions.h"
#include "fsmaster/server_internal.h"

enum {
    SWEEP_BUDGET = 100000,   /* places of the location table per tick: about 2 ms */
    REAP_GENTLE_COUNT = 200, /* per step while clients are at work ... */
    REAP_HASTY_COUNT = NAMESPACE_REAP_COUNT_MAX, /* ... and while they are not */
    TICK_MS = 10 * 1000, /* between two ENTRY_TICK while there are sessions to expire */
};

bool care_all_heard(const struct server *s)
{
    return s->status.is_leader && s->scan.complete && chunkservers_all_reported(s->servers);
}

void server_care(void *arg, chunk_id chunk, enum location_class class)
{
    struct server *s = arg;
    struct location known;
    uint32_t left = UINT32_MAX; /* what only wastes space comes last */
    if (!s->status.is_leader) {
        return; /* a leader begins with a look at all */
    }
    if ((class == LOCATION_CLASS_UNDER || class == LOCATION_CLASS_NONE) &&
        locations_find(s->locations, chunk, &known)) {
        left = known.good_count;
    }
    repair_queue_add(s->repair, chunk, left, clock_mono_ms());
}

/* ---- Calls ---------------------------------------------------------------------------------- */

struct chunk_call *server_chunk_call(struct server *s, enum chunk_call_kind kind, server_id id)
{
    struct chunk_call *call = chunk_call_new(kind);
    const struct chunkserver *server = chunkservers_find(s->servers, id);
    call->server = id;
    call->address = server ? arena_strdup(&call->arena, server->record.address) : "";
    call->term = s->status.term;
    call->cluster_id = s->totals.cluster_id;
    call->timeout_ms = RECOVERY_FENCE_MS;
    call->context = s;
    return call;
}

static void call_start(struct server *s, struct chunk_call *call, void (*done)(struct chunk_call *))
{
    call->done = done;
    chunk_call_start(call, &s->chunk_caller);
}

/* ---- Copies --------------------------------------------------------------------------------- */

static void care_round(struct server *s, time_ms now);

static void copy_done(struct chunk_call *call)
{
    struct server *s = call->context;
    time_ms now = clock_mono_ms();
    struct chunkserver *target = chunkservers_find(s->servers, call->server);
    struct chunkserver *source = chunkservers_find(s->servers, call->sources[0].id);
    target->copies_in--;
    source->copies_out--;
    if (call->code == 0) {
        struct location_report report = {
            .chunk = call->chunk, .length = call->length, .sealed = true};
        (void)locations_report(s->locations, call->server, &report);
        repair_queue_finish(s->repair, call->chunk.id, now);
        counter_add(s->metrics.copies, 1);
        balancing_copied(s, call->chunk.id, true);
    } else {
        balancing_copied(s, call->chunk.id, false);
        repair_queue_put_off(s->repair, call->chunk.id, now);
        counter_add(s->metrics.copy_failures, 1);
        log_info("care", "not copied chunk=%" PRIu64 " target=%" PRIu64 " error=%s", call->chunk.id,
                 call->server, call->text);
    }
    chunk_call_free(call);
    care_round(s, now); /* both servers have a hand free */
}

/* Why no server can take one more copy. */
enum target_lack {
    TARGET_FOUND,
    TARGET_NONE,    /* every server that might has a copy */
    TARGET_NO_ROOM, /* there are others, and they are full */
    TARGET_BUSY,    /* there are others with room, and they copy enough already */
};

static bool holds(const struct location *chunk, server_id server)
{
    for (uint32_t i = 0; i < chunk->count; i++) {
        if (chunk->replicas[i].server == server) {
            return true;
        }
    }
    return false;
}

static enum target_lack find_lack(const struct location *chunk,
                                  const struct placement_request *request)
{
    enum target_lack lack = TARGET_NONE;
    for (size_t i = 0; i < request->server_count; i++) {
        const struct placement_server *server = &request->servers[i];
        if (!server->usable || holds(chunk, server->id)) {
            continue;
        }
        if (server->free_bytes >= request->chunk_bytes) {
            return TARGET_BUSY;
        }
        lack = TARGET_NO_ROOM;
    }
    return lack;
}

/* Where one more copy may go: not to a server that has its replica still to delete. Copies that
 * count say which hosts and racks have one already; what does not count, because it is odd or its
 * server is dead or leaves, only keeps its server from being chosen. 0: nowhere. */
static server_id choose_target(struct server *s, const struct location *chunk,
                               enum target_lack *ret_lack)
{
    server_id holders[LOCATION_REPLICAS_MAX];
    server_id chosen[CHUNK_REPLICAS_MAX];
    size_t holder_count = 0;
    struct placement_request request = {
        .wanted = 1, .chunk_bytes = MAX(chunk->length, 1U), .holders = holders};
    request.servers = chunkservers_candidates(s->servers, &request.server_count);
    server_id *exclude = xcalloc(request.server_count + LOCATION_REPLICAS_MAX, sizeof(*exclude));
    for (uint32_t i = 0; i < chunk->count; i++) {
        const struct location_replica *replica = &chunk->replicas[i];
        if (location_counts(replica)) {
            holders[holder_count++] = replica->server;
        } else {
            exclude[request.exclude_count++] = replica->server;
        }
    }
    for (size_t i = 0; i < request.server_count; i++) {
        const struct chunkserver *server = chunkservers_at(s->servers, i);
        if (server->copies_in >= REPAIR_SERVER_COUNT_MAX ||
            deletion_waits(s, server->record.id, chunk->chunk.id)) {
            exclude[request.exclude_count++] = server->record.id;
        }
    }
    request.holder_count = holder_count;
    request.exclude = exclude;
    uint32_t count = placement_choose(&request, &s->rng, chosen);
    *ret_lack = count == 0 ? find_lack(chunk, &request) : TARGET_FOUND;
    free(exclude);
    return count > 0 ? chosen[0] : 0;
}

/* The sources with the least busy one first. 0: all of them are busy enough. */
static size_t choose_sources(struct server *s, const struct repair_plan *plan,
                             struct server_record *ret)
{
    size_t count = 0;
    size_t best = 0;
    uint32_t least = REPAIR_SERVER_COUNT_MAX;
    for (uint32_t i = 0; i < plan->source_count; i++) {
        const struct chunkserver *server = chunkservers_find(s->servers, plan->sources[i]);
        if (!server) {
            continue;
        }
        if (server->copies_out < least) {
            least = server->copies_out;
            best = count;
        }
        ret[count++] = server->record;
    }
    if (count == 0 || least == REPAIR_SERVER_COUNT_MAX) {
        return 0;
    }
    struct server_record first = ret[best];
    ret[best] = ret[0];
    ret[0] = first;
    return count;
}

static void sources_keep(struct chunk_call *call, const struct server_record *sources, size_t count)
{
    struct server_record *kept =
        arena_copy(&call->arena, sources, count * sizeof(struct server_record));
    for (size_t i = 0; i < count; i++) {
        kept[i].host = arena_strdup(&call->arena, sources[i].host);
        kept[i].rack = arena_strdup(&call->arena, sources[i].rack);
        kept[i].address = arena_strdup(&call->arena, sources[i].address);
        kept[i].local_socket = arena_strdup(&call->arena, sources[i].local_socket);
    }
    call->sources = kept;
    call->source_count = count;
}

/* False: the sources are busy. */
static bool start_copy(struct server *s, const struct location *chunk,
                       const struct repair_plan *plan, server_id target)
{
    struct server_record sources[LOCATION_REPLICAS_MAX];
    size_t count = choose_sources(s, plan, sources);
    if (count == 0) {
        return false;
    }
    struct chunk_call *call = server_chunk_call(s, CHUNK_CALL_COPY, target);
    sources_keep(call, sources, count);
    call->chunk = chunk->chunk;
    call->length = chunk->length;
    call->chunk_bytes = chunk->length;
    call->timeout_ms = REPAIR_COPY_MS;
    chunkservers_find(s->servers, target)->copies_in++;
    chunkservers_find(s->servers, sources[0].id)->copies_out++;
    call_start(s, call, copy_done);
    return true;
}

bool care_copy_to(struct server *s, const struct location *chunk, server_id target)
{
    struct repair_plan plan = {.kind = REPAIR_COPY};
    if (deletion_waits(s, target, chunk->chunk.id)) {
        return false;
    }
    for (uint32_t i = 0; i < chunk->count; i++) {
        if (chunk->replicas[i].good) {
            plan.sources[plan.source_count++] = chunk->replicas[i].server;
        }
    }
    return start_copy(s, chunk, &plan, target);
}

/* ---- Adoption ------------------------------------------------------------------------------- */

static void adopt_done(struct chunk_call *call)
{
    struct server *s = call->context;
    time_ms now = clock_mono_ms();
    if (call->code == 0) {
        struct location_report report = {.chunk = call->chunk,
                                         .length = call->length,
                                         .sealed = call->kept,
                                         .damaged = !call->kept};
        (void)locations_report(s->locations, call->server, &report);
        repair_queue_finish(s->repair, call->chunk.id, now);
    } else {
        repair_queue_put_off(s->repair, call->chunk.id, now);
    }
    chunk_call_free(call);
}

static void start_adoption(struct server *s, const struct location *chunk,
                           const struct repair_plan *plan)
{
    struct chunk_call *call = server_chunk_call(s, CHUNK_CALL_SEAL, plan->server);
    call->chunk = chunk->chunk;
    call->length = chunk->length;
    call->fenced_version = plan->version;
    call_start(s, call, adopt_done);
}

/* ---- Orphans: looked up in the state before anything is deleted ------------------------------ */

struct orphan {
    struct server *server;
    struct read_index index;
    struct job job;
    chunk_id chunk;
    int code; /* ERR_NOT_FOUND: the state does not know it */
};

static void orphan_on_worker(struct job *job)
{
    struct orphan *o = CONTAINER_OF(job, struct orphan, job);
    struct chunk_record record;
    struct state_read read;
    state_read_begin(o->server->state, &read);
    o->code = namespace_chunk(&read.view, o->chunk, &record);
    state_read_end(&read);
}

/* Chunk ids are never used again, so what is not in the state now, while this member leads and the
 * soft state does not know it either, was freed or never was. */
static void orphan_done(struct job *job)
{
    struct orphan *o = CONTAINER_OF(job, struct orphan, job);
    struct server *s = o->server;
    struct location known;
    server_job_end(s);
    if (o->code == ERR_NOT_FOUND && care_all_heard(s) && !era_keeps(&s->totals.era, o->chunk) &&
        locations_find(s->locations, o->chunk, &known) && known.state == LOCATION_RUMOURED) {
        for (uint32_t i = 0; i < known.count; i++) {
            care_delete(s, known.replicas[i].server,
                        (struct chunk_ref){o->chunk, known.replicas[i].version}, 0);
            locations_remove(s->locations, known.replicas[i].server, o->chunk);
        }
        log_info("care", "orphan deleted chunk=%" PRIu64 " replicas=%" PRIu32, o->chunk,
                 known.count);
        repair_queue_finish(s->repair, o->chunk, clock_mono_ms());
    } else {
        repair_queue_put_off(s->repair, o->chunk, clock_mono_ms());
    }
    free(o);
}

/* A majority says that this member leads: the state is as new as the replica, at least. */
static void orphan_confirmed(struct read_index *index, int code)
{
    struct orphan *o = CONTAINER_OF(index, struct orphan, index);
    if (code == 0 && !o->server->stopping) {
        server_job_start(o->server, &o->job, orphan_on_worker, orphan_done);
        return;
    }
    repair_queue_put_off(o->server->repair, o->chunk, clock_mono_ms());
    free(o);
}

static void start_orphan(struct server *s, chunk_id chunk)
{
    struct orphan *o = xcalloc(1, sizeof(*o));
    o->server = s;
    o->chunk = chunk;
    o->index.done = orphan_confirmed;
    consensus_read_index(s->consensus, &o->index);
}

/* ---- One chunk ------------------------------------------------------------------------------ */

/* Of too many copies that serve the one on the fullest server goes, but never the last on a rack if
 * another rack has two. */
static server_id choose_surplus(const struct server *s, const struct location *chunk)
{
    const struct chunkserver *worst = NULL;
    bool worst_shares = false;
    server_id moved_from = balancing_source(s, chunk->chunk.id);
    if (moved_from != 0) {
        return moved_from;
    }
    for (uint32_t i = 0; i < chunk->count; i++) {
        const struct chunkserver *server = chunkservers_find(s->servers, chunk->replicas[i].server);
        if (!location_serves(&chunk->replicas[i]) || !server) {
            continue;
        }
        bool shares = false;
        for (uint32_t k = 0; k < chunk->count; k++) {
            const struct chunkserver *other =
                chunkservers_find(s->servers, chunk->replicas[k].server);
            shares = shares || (k != i && location_serves(&chunk->replicas[k]) && other &&
                                other->rack == server->rack);
        }
        if (!worst || (shares && !worst_shares) ||
            (shares == worst_shares && server->free_bytes < worst->free_bytes)) {
            worst = server;
            worst_shares = shares;
        }
    }
    return worst ? worst->record.id : 0;
}

static void start_delete(struct server *s, const struct location *chunk,
                         const struct repair_plan *plan)
{
    struct chunk_ref ref = {chunk->chunk.id, plan->version};
    log_info("care",
             "replica deleted chunk=%" PRIu64 " server=%" PRIu64 " version=%" PRIu64
             " copies_left=%" PRIu32,
             ref.id, plan->server, ref.version, plan->copies_left);
    care_delete(s, plan->server, ref, plan->copies_left);
    locations_remove(s->locations, plan->server, ref.id); /* which asks for care again if needed */
    repair_queue_finish(s->repair, ref.id, clock_mono_ms());
}

/* What a chunk needs now, and what stands in the way. */
struct care_step {
    struct location chunk;
    struct repair_plan plan;
    server_id target; /* COPY */
    bool unsettled;   /* COPY: the copies that seem to be missing may be about to be reported */
    enum target_lack lack; /* COPY: why there is no target */
    struct repair_view view;
    struct repair_place place;
};

/* False: nothing is known of the chunk. */
static bool care_look(struct server *s, chunk_id id, time_ms now, struct care_step *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (!locations_find(s->locations, id, &ret->chunk)) {
        return false;
    }
    struct repair_view *view = &ret->view;
    *view = (struct repair_view){.chunk = &ret->chunk, .all_heard = care_all_heard(s)};
    view->away = chunkservers_away_count(s->servers);
    repair_queue_look(s->repair, id, &ret->place);
    view->no_adoption = ret->place.put_offs % 2 == 1;
    view->surplus =
        ret->chunk.serving_count > ret->chunk.wanted ? choose_surplus(s, &ret->chunk) : 0;
    repair_decide(view, &ret->plan);
    if (ret->plan.kind != REPAIR_COPY) {
        return true;
    }
    ret->unsettled = !chunkservers_settled(s->servers, now);
    if (!ret->unsettled) {
        ret->target = choose_target(s, &ret->chunk, &ret->lack);
    }
    view->no_room = ret->lack == TARGET_NO_ROOM;
    view->no_target = ret->lack == TARGET_NONE || ret->lack == TARGET_NO_ROOM;
    if (view->no_target) {
        repair_decide(view, &ret->plan);
    }
    return true;
}

/* False: it must wait for servers: to be heard, or to be less busy. */
static bool care_for(struct server *s, chunk_id id, time_ms now)
{
    struct care_step step;
    if (!care_look(s, id, now, &step)) {
        repair_queue_finish(s->repair, id, now);
        return true;
    }
    if (step.unsettled || step.lack == TARGET_BUSY) {
        return false;
    }
    switch (step.plan.kind) {
    case REPAIR_NOTHING:
        repair_queue_finish(s->repair, id, now);
        break;
    case REPAIR_WAIT:
        repair_queue_put_off(s->repair, id, now);
        break;
    case REPAIR_COPY:
        return start_copy(s, &step.chunk, &step.plan, step.target);
    case REPAIR_ADOPT:
        start_adoption(s, &step.chunk, &step.plan);
        break;
    case REPAIR_DELETE:
        if (step.chunk.state != LOCATION_RUMOURED) {
            start_delete(s, &step.chunk, &step.plan);
        } else if (era_keeps(&s->totals.era, id)) {
            repair_queue_finish(s->repair, id, now); /* a release has everything looked at again */
        } else {
            start_orphan(s, id);
        }
        break;
    }
    return true;
}

bool care_explain(struct server *s, chunk_id id, struct care_answer *ret)
{
    struct care_step step;
    struct server_record sources[LOCATION_REPLICAS_MAX];
    time_ms now = clock_mono_ms();
    struct rng before = s->rng; /* asking changes nothing, not even what is drawn next */
    memset(ret, 0, sizeof(*ret));
    bool known = care_look(s, id, now, &step);
    s->rng = before;
    if (!known) {
        return false;
    }
    ret->chunk = step.chunk;
    ret->place = step.place;
    struct repair_question question = {
        .view = &step.view,
        .turn = ret->place.turn,
        .settled = !step.unsettled,
        .targets_busy = step.lack == TARGET_BUSY,
        .sources_busy =
            step.plan.kind == REPAIR_COPY && choose_sources(s, &step.plan, sources) == 0,
    };
    ret->reason = repair_explain(&question);
    ret->now_ms = now;
    if (ret->reason == REPAIR_FOR_SEAL) {
        ret->awaited_count = recoveries_wait_for(s, id, ret->awaited);
    }
    return true;
}

/* Starts what can be started, the most urgent first. Chunks behind those that wait for busy servers
 * are seen in the next rounds. */
static void care_round(struct server *s, time_ms now)
{
    unsigned busy = 0;
    if (!s->status.is_leader || s->stopping) {
        return;
    }
    for (unsigned i = 0; i < REPAIR_LOOK_COUNT_MAX && busy < REPAIR_BUSY_COUNT_MAX; i++) {
        chunk_id chunk = repair_queue_take(s->repair, now);
        if (chunk == 0) {
            break;
        }
        if (!care_for(s, chunk, now)) {
            repair_queue_wait(s->repair, chunk, now);
            busy++;
        }
    }
}

/* ---- Servers come and go -------------------------------------------------------------------- */

void care_server_lost(struct server *s, struct chunkserver *server)
{
    log_warning("fsmaster", "chunkserver lost server=%" PRIu64 " host=%s address=%s",
                server->record.id, server->record.host, server->record.address);
    locations_set_live(s->locations, server->record.id, false);
    leaving_restart(s->leaving);
    deletions_drop(s, server->record.id); /* it will report what it still has */
    repair_queue_hurry(s->repair);
}

void care_server_found(struct server *s, struct chunkserver *server)
{
    locations_set_live(s->locations, server->record.id, true);
    leaving_restart(s->leaving);
    repair_queue_hurry(s->repair);
}

/* ---- Background ----------------------------------------------------------------------------- */

static void background_done(struct command *c, int code, const struct apply_result *result)
{
    struct server *s = c->server;
    (void)code; /* it comes again with the next tick */
    (void)result;
    command_deinit(c);
    free(c);
    s->reap_running = false;
}

static void tick_done(struct command *c, int code, const struct apply_result *result)
{
    struct server *s = c->server;
    if (code == 0 && result->more) {
        s->ticked_ms = 0;
    }
    command_deinit(c);
    free(c);
    s->tick_running = false;
}

static void background_tick(struct server *s, time_ms now)
{
    if (!s->reap_running && s->totals.removal_queue + s->totals.rewant_queue > 0) {
        struct command_entry entry = {
            .kind = ENTRY_REAP,
            .reap = {.count = s->mutates > 0 ? REAP_GENTLE_COUNT : REAP_HASTY_COUNT}};
        s->reap_running = true;
        command_propose(xcalloc(1, sizeof(struct command)), s, &entry, background_done);
    }
    if (!s->tick_running && s->totals.sessions > 0 && now >= s->ticked_ms + TICK_MS) {
        struct command_entry entry = {.kind = ENTRY_TICK};
        s->tick_running = true;
        s->ticked_ms = now;
        command_propose(xcalloc(1, sizeof(struct command)), s, &entry, tick_done);
    }
}

static void show_metrics(struct server *s)
{
    for (int i = 0; i < LOCATION_CLASS_COUNT; i++) {
        uint64_t count = locations_class_count(s->locations, (enum location_class)i);
        gauge_set(s->metrics.chunks[i], (int64_t)count);
    }
    gauge_set(s->metrics.repair_waiting, (int64_t)repair_queue_waiting(s->repair));
    gauge_set(s->metrics.repair_running, (int64_t)repair_queue_taken(s->repair));
    gauge_set(s->metrics.removal_queue, (int64_t)s->totals.removal_queue);
    gauge_set(s->metrics.deletes_waiting, (int64_t)s->deletions_waiting);
    gauge_set(s->metrics.servers_live, (int64_t)chunkservers_live_count(s->servers));
}

void care_tick(struct server *s, time_ms now)
{
    struct chunkserver *lost;
    while ((lost = chunkservers_expire(s->servers, now)) != NULL) {
        care_server_lost(s, lost);
    }
    (void)locations_sweep(s->locations, SWEEP_BUDGET);
    show_metrics(s);
    admin_tick(s);
    balancing_tick(s, now);
    if (!s->status.is_leader || s->stopping) {
        return;
    }
    care_round(s, now);
    deletions_tick(s, now);
    background_tick(s, now);
}
