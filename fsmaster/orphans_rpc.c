/* Orphans: replicas that chunkservers report and that the state does not know, or knows at a lower
 * version. Usually they are on their way out; a restored state (struct era) keeps them until an
 * operator has looked at them and releases them. */
#include <inttypes.h>

#include <proto/raft.pb-c.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/log.h"
#include "common/macros.h"
#include "fsmaster/server_internal.h"

enum {
    PAGE_COUNT = 1000, /* a page ends when it has so many orphans ... */
    SLICE_COUNT = 256, /* ... or so many slices of the table were looked at */
};

static int not_leader(struct rpc_call *call, const struct server *s)
{
    rpc_call_set_leader(call, s->status.leader);
    return ERR_NOT_LEADER;
}

/* ---- List ------------------------------------------------------------------------------------ */

struct page {
    const struct server *server;
    struct arena *arena;
    Trireme__V1__ListOrphansReply *reply;
    size_t capacity;
};

static void add_replica(struct page *p, Trireme__V1__ListOrphansReply__Orphan *to,
                        const struct location_replica *from)
{
    Trireme__V1__ListOrphansReply__Replica *m = arena_alloc(p->arena, sizeof(*m));
    trireme__v1__list_orphans_reply__replica__init(m);
    m->server = from->server;
    m->version = from->version;
    m->length = from->length;
    to->replicas[to->n_replicas++] = m;
}

static void page_add(struct page *p, Trireme__V1__ListOrphansReply__Orphan *orphan)
{
    Trireme__V1__ListOrphansReply *a = p->reply;
    if (a->n_orphans == p->capacity) {
        p->capacity = p->capacity ? 2 * p->capacity : 64;
        Trireme__V1__ListOrphansReply__Orphan **grown =
            arena_alloc(p->arena, p->capacity * sizeof(*grown));
        for (size_t i = 0; i < a->n_orphans; i++) {
            grown[i] = a->orphans[i];
        }
        a->orphans = grown;
    }
    a->orphans[a->n_orphans++] = orphan;
}

static void look_at(void *arg, chunk_id chunk)
{
    struct page *p = arg;
    struct location known;
    if (!locations_find(p->server->locations, chunk, &known)) {
        return;
    }
    bool unknown = known.state == LOCATION_RUMOURED;
    Trireme__V1__ListOrphansReply__Orphan *m = arena_alloc(p->arena, sizeof(*m));
    trireme__v1__list_orphans_reply__orphan__init(m);
    m->chunk = chunk;
    m->known_version = unknown ? 0 : known.chunk.version;
    m->replicas = arena_alloc(p->arena, (known.count + 1) * sizeof(struct location_replica *));
    for (uint32_t i = 0; i < known.count; i++) {
        if (unknown || known.replicas[i].version > known.chunk.version) {
            add_replica(p, m, &known.replicas[i]);
        }
    }
    if (m->n_replicas > 0) {
        page_add(p, m);
    }
}

static int list_step(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__ListOrphansRequest *q = (const void *)rpc_call_request(call);
    Trireme__V1__ListOrphansReply *a = (void *)rpc_call_reply(call);
    struct page page = {.server = s, .arena = rpc_call_arena(call), .reply = a};
    const struct era *era = &s->totals.era;
    if (!s->status.is_leader || s->stopping) {
        return not_leader(call, s);
    }
    a->cursor = q->cursor;
    a->more = true;
    for (int i = 0; i < SLICE_COUNT && a->more && a->n_orphans < PAGE_COUNT; i++) {
        a->more = locations_visit_odd(s->locations, &a->cursor, look_at, &page);
    }
    a->kept = era->keeps_orphans;
    a->floor = era->floor;
    a->begun_ms = era->wall_ms;
    a->complete = care_all_heard(s);
    return 0;
}

/* ---- Release --------------------------------------------------------------------------------- */

/* Lives in the call's arena. */
struct release {
    struct command command;
    struct rpc_call *call;
};

static void release_done(struct command *command, int code, const struct apply_result *result)
{
    struct release *r = CONTAINER_OF(command, struct release, command);
    struct server *s = command->server;
    const char *text = code == 0 ? result->text : NULL;
    code = code == 0 ? result->code : code;
    log_info("fsmaster", "release of orphans user=%s: %s", rpc_call_caller(r->call)->user,
             code < 0 ? err_text(code) : "done");
    if (code == ERR_NOT_LEADER) {
        rpc_call_set_leader(r->call, s->status.leader);
    }
    if (code < 0 && text) {
        (void)err_set(rpc_call_err(r->call), code, "%s", text);
    }
    command_deinit(command);
    s->changes--;
    rpc_call_finish(r->call, code, NULL);
}

static int release_step(struct rpc_call *call, void *service)
{
    struct server *s = service;
    struct command_entry entry = {.kind = ENTRY_RELEASE_ORPHANS};
    if (!server_is_operator(s, call)) {
        return err_set(rpc_call_err(call), ERR_PERMISSION, "only %s may release them",
                       s->superuser);
    }
    if (!s->status.is_leader || s->stopping) {
        return not_leader(call, s);
    }
    struct release *r = arena_calloc(rpc_call_arena(call), sizeof(*r));
    r->call = call;
    s->changes++;
    command_propose(&r->command, s, &entry, release_done);
    return RPC_PENDING;
}

#define METHOD(variable, name, request, reply)                                                     \
    static const struct rpc_method variable = {"/trireme.v1.Raft/" name, RPC_UNARY,                \
                                               &trireme__v1__##request##__descriptor,              \
                                               &trireme__v1__##reply##__descriptor}

METHOD(method_list, "ListOrphans", list_orphans_request, list_orphans_reply);
METHOD(method_release, "ReleaseOrphans", release_orphans_request, release_orphans_reply);

const struct rpc_service_row orphans_service[] = {
    {&method_list, .steps = {{RPC_OWNER, list_step}}},
    {&method_release, .steps = {{RPC_OWNER, release_step}}},
    {NULL},
};
