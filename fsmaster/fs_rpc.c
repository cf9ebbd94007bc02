/* The service trireme.v1.FsMaster as clients call it: one row per method with its steps, and the
 * conversion between wire and plain structs. What a method means is elsewhere; here is only how it
 * gets there. What chunkservers call is in chunkservers_rpc.c.
 *
 * Reads: the owner says from which moment on a state will do (server_reads.h), a worker reads a
 * snapshot and answers. Locate goes back to the owner, who alone knows where replicas are. */
#include <inttypes.h>
#include <string.h>

#include <proto/fs.pb-c.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/macros.h"
#include "fsmaster/command_rpc.h"
#include "fsmaster/server_admin.h"
#include "fsmaster/server_internal.h"
#include "fsmaster/server_reads.h"

/* ---- Callers and refusals ------------------------------------------------------------------- */

static struct caller caller_of(struct rpc_call *call, const struct server *s)
{
    const struct rpc_caller *caller = rpc_call_caller(call);
    const char *user = caller->user[0] ? caller->user : "nobody";
    /* The mrmaster and its tasks hold the cluster's certificate and work for a job's user. */
    if (caller->acts_for[0] && strcmp(user, s->superuser) == 0) {
        user = caller->acts_for;
    }
    return (struct caller){.user = user, .is_superuser = strcmp(user, s->superuser) == 0};
}

static int not_leader(struct rpc_call *call, const struct server *s)
{
    rpc_call_set_leader(call, s->status.leader);
    return ERR_NOT_LEADER;
}

/* ---- Mutate --------------------------------------------------------------------------------- */

static int mutate_decode(struct rpc_call *call, void *service)
{
    struct mutate *m = arena_calloc(rpc_call_arena(call), sizeof(*m));
    m->server = service;
    m->call = call;
    m->caller = caller_of(call, service);
    rpc_call_set_state(call, m);
    return command_from_request(rpc_call_request(call), rpc_call_arena(call), &m->request,
                                rpc_call_err(call));
}

static int mutate_run(struct rpc_call *call, void *service)
{
    (void)service;
    mutate_start(rpc_call_state(call));
    return RPC_PENDING;
}

/* ---- Reads: from when on ------------------------------------------------------------------ */

static int read_begin(struct rpc_call *call, struct server *s,
                      const Trireme__V1__Staleness *staleness)
{
    struct read_bound bound = {0};
    if (staleness) {
        bound = (struct read_bound){staleness->bound_ms, staleness->seen_index};
    }
    return read_wait_begin(call, s, &bound);
}

static int stat_begin(struct rpc_call *call, void *service)
{
    const Trireme__V1__StatRequest *q = (const void *)rpc_call_request(call);
    return read_begin(call, service, q->staleness);
}

static int list_begin(struct rpc_call *call, void *service)
{
    const Trireme__V1__ListRequest *q = (const void *)rpc_call_request(call);
    return read_begin(call, service, q->staleness);
}

static int locate_begin(struct rpc_call *call, void *service)
{
    const Trireme__V1__LocateRequest *q = (const void *)rpc_call_request(call);
    return read_begin(call, service, q->staleness);
}

/* Where the snapshot stands, for those who remember what they have seen; with an error, too: that
 * nothing is there has been seen as well. Returns code, unless it fails itself. */
static int tell_position(struct rpc_call *call, const struct state_read *read,
                         const Trireme__V1__Staleness *staleness, int code, log_index *ret)
{
    if (!staleness) {
        return code;
    }
    int r = state_read_applied(read, ret);
    if (r == 0) {
        rpc_call_set_position(call, *ret);
    }
    return code < 0 ? code : r;
}

enum { READ_BIT = 4 }; /* of target.access */

/* A namespace error as the caller hears it. A broken storage is told with its own words. */
static int read_error(struct rpc_call *call, const struct state_read *read, int code,
                      const struct caller *caller, const struct target *target)
{
    const struct err *storage = state_read_error(read);
    struct err refusal = ERR_INIT;
    if (storage && storage->code < 0) {
        return err_set(rpc_call_err(call), storage->code, "%s", err_message(storage));
    }
    if (code == ERR_PERMISSION) {
        namespace_refusal(&read->view, caller, target, rpc_call_arena(call), &refusal);
    }
    if (refusal.code < 0) {
        return err_set(rpc_call_err(call), code, "%s", err_message(&refusal));
    }
    if (target->path[0]) {
        return err_set(rpc_call_err(call), code, "%s: %s", target->path, err_text(code));
    }
    return err_set(rpc_call_err(call), code, "inode %" PRIu64 ": %s", target->inode,
                   err_text(code));
}

/* ---- Reads: messages ------------------------------------------------------------------------ */

/* NULL: there is none. */
static Trireme__V1__Quota *quota_message(struct arena *arena, const struct attributes *a)
{
    if (a->names_quota == QUOTA_NONE && a->space_quota == QUOTA_NONE) {
        return NULL;
    }
    Trireme__V1__Quota *m = arena_alloc(arena, sizeof(*m));
    trireme__v1__quota__init(m);
    m->names = a->names_quota;
    m->space = a->space_quota;
    m->reserved_bytes = a->reserved_bytes;
    return m;
}

static Trireme__V1__Attributes *attributes_message(struct arena *arena, const struct attributes *a)
{
    Trireme__V1__Attributes *m = arena_alloc(arena, sizeof(*m));
    trireme__v1__attributes__init(m);
    m->inode = a->inode;
    m->kind =
        a->kind == INODE_FILE ? TRIREME__V1__KIND__KIND_FILE : TRIREME__V1__KIND__KIND_DIRECTORY;
    m->mode = a->mode;
    m->owner = (char *)a->owner;
    m->group = (char *)a->group;
    m->mtime_ms = a->mtime_ms;
    m->length = a->length;
    m->replication = a->replication;
    m->chunk_bytes = a->chunk_bytes;
    m->open = a->open;
    m->child_count = a->child_count;
    m->subtree_files = a->subtree_files;
    m->subtree_directories = a->subtree_directories;
    m->subtree_bytes = a->subtree_bytes;
    m->subtree_replica_bytes = a->subtree_replica_bytes;
    m->quota = quota_message(arena, a);
    m->xattr_count = a->xattr_count;
    return m;
}

static Trireme__V1__ChunkRef *ref_message(struct arena *arena, struct chunk_ref ref)
{
    Trireme__V1__ChunkRef *m = arena_alloc(arena, sizeof(*m));
    trireme__v1__chunk_ref__init(m);
    m->id = ref.id;
    m->version = ref.version;
    return m;
}

static Trireme__V1__Server *server_message(struct arena *arena, const struct chunkserver *server)
{
    Trireme__V1__Server *m = arena_alloc(arena, sizeof(*m));
    trireme__v1__server__init(m);
    m->id = server->record.id;
    m->host = arena_strdup(arena, server->record.host);
    m->rack = arena_strdup(arena, server->record.rack);
    m->address = arena_strdup(arena, server->record.address);
    m->local_socket = arena_strdup(arena, server->record.local_socket);
    return m;
}

static int stat_read(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__StatRequest *q = (const void *)rpc_call_request(call);
    Trireme__V1__StatReply *a = (void *)rpc_call_reply(call);
    struct target target = {.path = q->path, .inode = q->inode, .access = q->access};
    struct caller caller = caller_of(call, s);
    struct attributes attributes;
    struct state_read read;
    state_read_begin(s->state, &read);
    int r = namespace_stat(&read.view, &caller, &target, rpc_call_arena(call), &attributes);
    r = tell_position(call, &read, q->staleness, r, &a->applied_index);
    if (r < 0) {
        r = read_error(call, &read, r, &caller, &target);
    } else {
        a->attributes = attributes_message(rpc_call_arena(call), &attributes);
        counter_add(s->metrics.reads[0], 1);
    }
    state_read_end(&read);
    return r;
}

/* ---- Extended attributes --------------------------------------------------------------------- */

static int xattrs_begin(struct rpc_call *call, void *service)
{
    const Trireme__V1__GetXattrsRequest *q = (const void *)rpc_call_request(call);
    if (q->n_names > XATTR_COUNT_MAX) {
        return err_set(rpc_call_err(call), ERR_TOO_LARGE, "more than %d names", XATTR_COUNT_MAX);
    }
    return read_begin(call, service, q->staleness);
}

static bool is_asked_for(const Trireme__V1__GetXattrsRequest *q, const char *name)
{
    bool asked = q->n_names == 0;
    for (size_t i = 0; !asked && i < q->n_names; i++) {
        asked = strcmp(q->names[i], name) == 0;
    }
    return asked;
}

static bool is_there(const struct xattrs *xattrs, const char *name)
{
    bool there = false;
    for (uint32_t i = 0; !there && i < xattrs->count; i++) {
        there = strcmp(xattrs->items[i].name, name) == 0;
    }
    return there;
}

/* Those that are asked for, each of which must be there. */
static int xattrs_message(struct rpc_call *call, const struct xattrs *xattrs)
{
    const Trireme__V1__GetXattrsRequest *q = (const void *)rpc_call_request(call);
    Trireme__V1__GetXattrsReply *a = (void *)rpc_call_reply(call);
    struct arena *arena = rpc_call_arena(call);
    for (size_t i = 0; i < q->n_names; i++) {
        if (!is_there(xattrs, q->names[i])) {
            return err_set(rpc_call_err(call), ERR_NO_XATTR, "%s: no extended attribute %s",
                           q->path, q->names[i]);
        }
    }
    a->xattrs = arena_alloc(arena, xattrs->count * sizeof(*a->xattrs));
    for (uint32_t i = 0; i < xattrs->count; i++) {
        const struct xattr *from = &xattrs->items[i];
        if (is_asked_for(q, from->name)) {
            Trireme__V1__GetXattrsReply__Xattr *to = arena_alloc(arena, sizeof(*to));
            trireme__v1__get_xattrs_reply__xattr__init(to);
            to->name = (char *)from->name;
            to->value.data = (uint8_t *)from->value.data; /* only read */
            to->value.len = from->value.length;
            a->xattrs[a->n_xattrs++] = to;
        }
    }
    return 0;
}

static int xattrs_read(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__GetXattrsRequest *q = (const void *)rpc_call_request(call);
    Trireme__V1__GetXattrsReply *a = (void *)rpc_call_reply(call);
    struct target target = {.path = q->path, .inode = q->inode, .access = READ_BIT};
    struct caller caller = caller_of(call, s);
    struct xattrs xattrs;
    struct state_read read;
    state_read_begin(s->state, &read);
    int r = namespace_xattrs(&read.view, &caller, &target, rpc_call_arena(call), &xattrs);
    r = tell_position(call, &read, q->staleness, r, &a->applied_index);
    if (r < 0) {
        r = read_error(call, &read, r, &caller, &target);
    } else {
        r = xattrs_message(call, &xattrs);
        counter_add(s->metrics.reads[3], 1);
    }
    state_read_end(&read);
    return r;
}

/* ---- List ------------------------------------------------------------------------------------ */

static void list_message(struct arena *arena, const struct list_page *page,
                         Trireme__V1__ListReply *a)
{
    a->more = page->more;
    a->entries = arena_alloc(arena, page->count * sizeof(*a->entries));
    a->n_entries = page->count;
    for (uint32_t i = 0; i < page->count; i++) {
        Trireme__V1__ListReply__Entry *entry = arena_alloc(arena, sizeof(*entry));
        trireme__v1__list_reply__entry__init(entry);
        entry->name = (char *)page->entries[i].name;
        entry->attributes = attributes_message(arena, &page->entries[i].attributes);
        a->entries[i] = entry;
    }
}

static int list_read(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__ListRequest *q = (const void *)rpc_call_request(call);
    Trireme__V1__ListReply *a = (void *)rpc_call_reply(call);
    struct list_request request = {.path = q->path, .after = q->after, .limit = q->limit};
    struct target target = {.path = q->path, .access = READ_BIT};
    struct caller caller = caller_of(call, s);
    struct list_page page;
    struct state_read read;
    state_read_begin(s->state, &read);
    int r = namespace_list(&read.view, &caller, &request, rpc_call_arena(call), &page);
    r = tell_position(call, &read, q->staleness, r, &a->applied_index);
    if (r < 0) {
        r = read_error(call, &read, r, &caller, &target);
    } else {
        list_message(rpc_call_arena(call), &page, a);
        counter_add(s->metrics.reads[1], 1);
    }
    state_read_end(&read);
    return r;
}

/* ---- Locate --------------------------------------------------------------------------------- */

static int locate_read(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__LocateRequest *q = (const void *)rpc_call_request(call);
    Trireme__V1__LocateReply *a = (void *)rpc_call_reply(call);
    struct read_wait *wait = rpc_call_state(call);
    struct locate_request request = {
        .target = {.path = q->path, .inode = q->inode, .access = READ_BIT},
        .offset = q->offset,
        .length = q->length};
    struct caller caller = caller_of(call, s);
    struct located *located = arena_calloc(rpc_call_arena(call), sizeof(*located));
    struct state_read read;
    state_read_begin(s->state, &read);
    int r = namespace_locate(&read.view, &caller, &request, rpc_call_arena(call), located);
    r = tell_position(call, &read, q->staleness, r, &a->applied_index);
    if (r < 0) {
        r = read_error(call, &read, r, &caller, &request.target);
    }
    state_read_end(&read);
    wait->result = located;
    return r;
}

/* The servers that a reply names, each once. */
struct named_servers {
    struct server *server;
    struct arena *arena;
    struct map places; /* server id -> place + 1 */
    Trireme__V1__Server **messages;
    size_t count;
    size_t capacity;
};

/* False: not known, or not live and `live` is asked for. */
static bool name_server(struct named_servers *n, server_id id, bool live, uint32_t *ret_place)
{
    uintptr_t place = (uintptr_t)map_get_u64(&n->places, id);
    if (place == 0) {
        const struct chunkserver *server = chunkservers_find(n->server->servers, id);
        if (!server || (live && server->state != CHUNKSERVER_LIVE)) {
            return false;
        }
        if (n->count == n->capacity) {
            n->capacity = n->capacity ? 2 * n->capacity : 8;
            Trireme__V1__Server **grown = arena_alloc(n->arena, n->capacity * sizeof(*grown));
            if (n->count > 0) {
                memcpy(grown, n->messages, n->count * sizeof(*grown));
            }
            n->messages = grown;
        }
        n->messages[n->count++] = server_message(n->arena, server);
        place = n->count;
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): a number, which nobody follows */
        (void)map_put_u64(&n->places, id, (void *)place);
    }
    *ret_place = (uint32_t)place - 1;
    return true;
}

/* Replicas that a reader may be sent to. The snapshot may be newer than the soft state, so they are
 * compared with what the snapshot says. */
static bool may_read(const struct chunk_record *record, const struct location_replica *replica)
{
    if (!replica->live || replica->damaged) {
        return false;
    }
    if (record->state == CHUNK_SEALED) {
        return replica->version == record->ref.version && replica->sealed &&
               replica->length == record->length;
    }
    return true;
}

static void extent_replicas(struct named_servers *n, const struct chunk_record *record,
                            Trireme__V1__Extent *m)
{
    struct location known = {.count = 0};
    uint32_t place;
    (void)locations_find(n->server->locations, record->ref.id, &known);
    size_t most = known.count + record->server_count;
    m->replicas = arena_alloc(n->arena, MAX(most, (size_t)1) * sizeof(*m->replicas));
    if (record->state != CHUNK_SEALED) {
        for (uint32_t i = 0; i < record->server_count; i++) {
            if (name_server(n, record->servers[i], true, &place)) {
                m->replicas[m->n_replicas++] = place;
            }
        }
        return;
    }
    for (uint32_t i = 0; i < known.count; i++) {
        if (may_read(record, &known.replicas[i]) &&
            name_server(n, known.replicas[i].server, true, &place)) {
            m->replicas[m->n_replicas++] = place;
        }
    }
}

static int locate_answer(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const struct read_wait *wait = rpc_call_state(call);
    const struct located *located = wait->result;
    struct arena *arena = rpc_call_arena(call);
    Trireme__V1__LocateReply *a = (void *)rpc_call_reply(call);
    struct named_servers named = {.server = s, .arena = arena};
    bool all_heard = care_all_heard(s);
    map_init(&named.places, 0);
    a->attributes = attributes_message(arena, &located->attributes);
    a->more = located->more;
    a->extents = arena_alloc(arena, MAX(located->count, 1U) * sizeof(*a->extents));
    for (uint32_t i = 0; i < located->count; i++) {
        const struct located_extent *extent = &located->extents[i];
        Trireme__V1__Extent *m = arena_alloc(arena, sizeof(*m));
        trireme__v1__extent__init(m);
        m->offset = extent->offset;
        m->length = extent->length;
        m->chunk = ref_message(arena, extent->chunk.ref);
        m->open = extent->chunk.state != CHUNK_SEALED;
        extent_replicas(&named, &extent->chunk, m);
        m->unheard = m->n_replicas == 0 && !all_heard;
        a->extents[a->n_extents++] = m;
    }
    a->servers = named.messages;
    a->n_servers = named.count;
    map_deinit(&named.places);
    counter_add(s->metrics.reads[2], 1);
    return 0;
}

/* ---- Leases --------------------------------------------------------------------------------- */

static int renew_leases(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__RenewLeasesRequest *q = (const void *)rpc_call_request(call);
    Trireme__V1__RenewLeasesReply *a = (void *)rpc_call_reply(call);
    time_ms now = clock_mono_ms();
    if (!s->status.is_leader) {
        return not_leader(call, s);
    }
    a->held = arena_alloc(rpc_call_arena(call), MAX(q->n_leases, (size_t)1) * sizeof(*a->held));
    a->n_held = q->n_leases;
    for (size_t i = 0; i < q->n_leases; i++) {
        a->held[i] = lease_table_renew(s->leases, q->leases[i]->inode, q->leases[i]->epoch, now);
    }
    return 0;
}

/* ---- RecoverChunk --------------------------------------------------------------------------- */

struct recover {
    struct recovery_waiter waiter;
    struct rpc_call *call;
    struct chunk_record record;
    struct lease_record lease;
    int chunk_code; /* of reading the two */
    int lease_code;
};

static int recover_begin(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__RecoverChunkRequest *q = (const void *)rpc_call_request(call);
    if (!s->status.is_leader || s->stopping) {
        return not_leader(call, s);
    }
    if (!q->chunk || q->chunk->id == 0) {
        return err_set(rpc_call_err(call), ERR_INVALID, "RecoverChunk without a chunk");
    }
    struct recover *r = arena_calloc(rpc_call_arena(call), sizeof(*r));
    r->call = call;
    rpc_call_set_state(call, r);
    return 0;
}

static int recover_read(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__RecoverChunkRequest *q = (const void *)rpc_call_request(call);
    struct recover *r = rpc_call_state(call);
    struct state_read read;
    state_read_begin(s->state, &read);
    r->chunk_code = namespace_chunk(&read.view, q->chunk->id, &r->record);
    r->lease_code = namespace_lease(&read.view, q->inode, &r->lease);
    state_read_end(&read);
    return 0;
}

static void recover_reply(struct rpc_call *call, struct chunk_ref chunk, uint64_t length)
{
    Trireme__V1__RecoverChunkReply *a = (void *)rpc_call_reply(call);
    a->chunk = ref_message(rpc_call_arena(call), chunk);
    a->length = length;
}

static void recover_done(struct recovery_waiter *waiter, int code, const char *text,
                         struct chunk_ref chunk, uint64_t length)
{
    struct recover *r = CONTAINER_OF(waiter, struct recover, waiter);
    if (code == 0) {
        recover_reply(r->call, chunk, length);
    }
    rpc_call_finish(r->call, code, text);
}

static int recover_run(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__RecoverChunkRequest *q = (const void *)rpc_call_request(call);
    struct recover *r = rpc_call_state(call);
    if (r->chunk_code == ERR_NOT_FOUND) {
        recover_reply(call, (struct chunk_ref){q->chunk->id, q->chunk->version}, 0);
        return 0;
    }
    if (r->chunk_code < 0) {
        return r->chunk_code;
    }
    if (r->record.inode != q->inode) {
        return err_set(rpc_call_err(call), ERR_INVALID,
                       "chunk %" PRIu64 " does not belong to inode %" PRIu64, q->chunk->id,
                       q->inode);
    }
    if (r->record.state == CHUNK_SEALED) {
        recover_reply(call, r->record.ref, r->record.length);
        return 0;
    }
    if (r->lease_code < 0 || r->lease.epoch != q->lease_epoch) {
        return err_set(rpc_call_err(call), ERR_STALE,
                       "another writer has the lease of inode %" PRIu64, q->inode);
    }
    if (!s->status.is_leader || s->stopping) {
        return not_leader(call, s);
    }
    struct recovery_ask ask = {.record = r->record,
                               .acked = q->acked_length,
                               .blamed = q->blamed,
                               .blamed_count = q->n_blamed};
    r->waiter.done = recover_done;
    r->waiter.give_up_ms = clock_mono_ms() + RECOVERY_WAIT_MS;
    list_init(&r->waiter.link);
    recovery_ask(s, &ask, &r->waiter);
    return RPC_PENDING;
}

/* ---- Report --------------------------------------------------------------------------------- */

static Trireme__V1__Leaving *leaving_message(struct server *s, struct arena *arena,
                                             const struct chunkserver *server)
{
    struct admin_answer answer;
    admin_look(s, server, &answer);
    if (answer.admin == SERVER_IN_SERVICE) {
        return NULL;
    }
    Trireme__V1__Leaving *m = arena_alloc(arena, sizeof(*m));
    trireme__v1__leaving__init(m);
    m->done = answer.done;
    m->counted = answer.counted;
    m->chunks = answer.count.chunks;
    m->needed = answer.count.needed;
    m->last = answer.count.last;
    m->writing = answer.count.writing;
    m->left_ms = answer.left_ms;
    if (answer.reason != REPAIR_FOR_NOTHING) {
        m->reason = (char *)repair_reason_name(answer.reason);
        m->waits_for = (char *)repair_reason_text(answer.reason);
    }
    return m;
}

static void report_servers(struct server *s, struct arena *arena, Trireme__V1__ReportReply *a)
{
    time_ms now = clock_mono_ms();
    size_t count = chunkservers_count(s->servers);
    a->servers = arena_alloc(arena, MAX(count, (size_t)1) * sizeof(*a->servers));
    a->n_servers = count;
    for (size_t i = 0; i < count; i++) {
        const struct chunkserver *server = chunkservers_at(s->servers, i);
        Trireme__V1__ServerStatus *m = arena_alloc(arena, sizeof(*m));
        trireme__v1__server_status__init(m);
        m->server = server_message(arena, server);
        m->live = server->state == CHUNKSERVER_LIVE;
        m->heartbeat_age_ms = now - server->heard_ms;
        m->capacity_bytes = server->capacity_bytes;
        m->free_bytes = server->free_bytes;
        m->chunk_count = server->chunk_count;
        m->used_bytes = server->used_bytes;
        m->admin = (Trireme__V1__AdminState)server->record.admin;
        m->leaving = leaving_message(s, arena, server);
        m->failed_disks = chunkserver_copy_failed_disks(server, arena);
        m->n_failed_disks = server->failed_disk_count;
        a->servers[i] = m;
    }
}

static int report(struct rpc_call *call, void *service)
{
    struct server *s = service;
    struct arena *arena = rpc_call_arena(call);
    Trireme__V1__ReportReply *a = (void *)rpc_call_reply(call);
    uint64_t none = locations_class_count(s->locations, LOCATION_CLASS_NONE);
    /* Records that the scan has not come to are unheard of as well. */
    uint64_t known = locations_count(s->locations) -
                     locations_class_count(s->locations, LOCATION_CLASS_RUMOURED);
    uint64_t unseen = s->scan.complete || s->totals.chunks < known ? 0 : s->totals.chunks - known;
    bool all_heard = care_all_heard(s);
    if (!s->totals.cluster_id[0]) {
        return not_leader(call, s); /* of no cluster: it has nothing to tell */
    }
    if (!s->status.is_leader && s->status.leader[0]) {
        return not_leader(call, s); /* who leads knows more: what waits, and for what */
    }
    report_servers(s, arena, a);
    a->cluster_id = arena_strdup(arena, s->totals.cluster_id);
    a->chunk_count = s->totals.chunks;
    a->under_replicated = locations_class_count(s->locations, LOCATION_CLASS_UNDER);
    a->missing = all_heard ? none : 0;
    a->unheard = all_heard ? 0 : none + unseen;
    a->repair_queue = repair_queue_waiting(s->repair);
    a->repairing = repair_queue_taken(s->repair);
    a->file_count = s->totals.files;
    a->directory_count = s->totals.directories;
    a->byte_count = s->totals.bytes;
    a->orphans_kept = s->totals.era.keeps_orphans;
    a->orphans = locations_class_count(s->locations, LOCATION_CLASS_RUMOURED);
    a->restored_ms = s->totals.era.wall_ms;
    a->applied_index = s->totals.applied.index;
    a->term = s->status.term;
    a->default_replication = s->totals.default_replication;
    a->removal_queue = s->totals.removal_queue;
    a->replicas_deleting = s->deletions_waiting;
    return 0;
}

/* ---- Explain -------------------------------------------------------------------------------- */

static void explain_copies(struct named_servers *names, const struct location *chunk,
                           Trireme__V1__ExplainReply__Chunk *m)
{
    m->copies = arena_alloc(names->arena, (chunk->count + 1) * sizeof(*m->copies));
    for (uint32_t i = 0; i < chunk->count; i++) {
        const struct location_replica *replica = &chunk->replicas[i];
        uint32_t place = 0;
        if (!name_server(names, replica->server, false, &place)) {
            continue;
        }
        Trireme__V1__ExplainReply__Copy *copy = arena_alloc(names->arena, sizeof(*copy));
        trireme__v1__explain_reply__copy__init(copy);
        copy->server = place;
        copy->live = replica->live;
        copy->good = replica->good;
        copy->damaged = replica->damaged;
        copy->sealed = replica->sealed;
        copy->version = replica->version;
        copy->length = replica->length;
        copy->assumed = replica->assumed;
        copy->admin = (Trireme__V1__AdminState)replica->admin;
        m->copies[m->n_copies++] = copy;
    }
}

static Trireme__V1__ExplainReply__Chunk *explain_chunk(struct named_servers *names, chunk_id id)
{
    struct care_answer answer;
    Trireme__V1__ExplainReply__Chunk *m = arena_alloc(names->arena, sizeof(*m));
    trireme__v1__explain_reply__chunk__init(m);
    m->id = id;
    m->known = care_explain(names->server, id, &answer);
    if (!m->known) {
        return m;
    }
    const struct repair_place *place = &answer.place;
    m->version = answer.chunk.chunk.version;
    m->length = answer.chunk.length;
    m->wanted = answer.chunk.wanted;
    m->good = answer.chunk.good_count;
    m->reason = (char *)repair_reason_name(answer.reason);
    m->waits_for = (char *)repair_reason_text(answer.reason);
    m->queued = place->turn != REPAIR_TURN_NONE;
    m->queued_ms = m->queued ? answer.now_ms - MIN(place->since_ms, answer.now_ms) : 0;
    m->retry_ms = place->due_ms > answer.now_ms ? place->due_ms - answer.now_ms : 0;
    m->put_offs = place->put_offs;
    explain_copies(names, &answer.chunk, m);
    m->awaited = arena_alloc(names->arena, (answer.awaited_count + 1) * sizeof(*m->awaited));
    for (uint32_t i = 0; i < answer.awaited_count; i++) {
        m->n_awaited +=
            name_server(names, answer.awaited[i], false, &m->awaited[m->n_awaited]) ? 1 : 0;
    }
    return m;
}

static int explain(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__ExplainRequest *q = (const void *)rpc_call_request(call);
    Trireme__V1__ExplainReply *a = (void *)rpc_call_reply(call);
    struct named_servers names = {.server = s, .arena = rpc_call_arena(call)};
    if (!s->status.is_leader || s->stopping) {
        return not_leader(call, s);
    }
    if (q->n_chunks > NAMESPACE_LOCATE_COUNT_MAX) {
        return err_set(rpc_call_err(call), ERR_TOO_LARGE, "Explain takes %d chunks at most",
                       NAMESPACE_LOCATE_COUNT_MAX);
    }
    map_init(&names.places, 0);
    a->chunks = arena_alloc(names.arena, (q->n_chunks + 1) * sizeof(*a->chunks));
    for (size_t i = 0; i < q->n_chunks; i++) {
        a->chunks[a->n_chunks++] = explain_chunk(&names, q->chunks[i]);
    }
    a->servers = names.messages;
    a->n_servers = names.count;
    map_deinit(&names.places);
    return 0;
}

/* ---- The table ------------------------------------------------------------------------------ */

#define METHOD(variable, name, request, reply)                                                     \
    static const struct rpc_method variable = {"/trireme.v1.FsMaster/" name, RPC_UNARY,            \
                                               &trireme__v1__##request##__descriptor,              \
                                               &trireme__v1__##reply##__descriptor}

METHOD(method_mutate, "Mutate", mutate_request, mutate_reply);
METHOD(method_stat, "Stat", stat_request, stat_reply);
METHOD(method_get_xattrs, "GetXattrs", get_xattrs_request, get_xattrs_reply);
METHOD(method_list, "List", list_request, list_reply);
METHOD(method_locate, "Locate", locate_request, locate_reply);
METHOD(method_renew, "RenewLeases", renew_leases_request, renew_leases_reply);
METHOD(method_recover, "RecoverChunk", recover_chunk_request, recover_chunk_reply);
METHOD(method_report, "Report", report_request, report_reply);
METHOD(method_explain, "Explain", explain_request, explain_reply);

const struct rpc_service_row fs_service[] = {
    {&method_mutate, .steps = {{RPC_POLLER, mutate_decode}, {RPC_OWNER, mutate_run}}},
    {&method_stat, .steps = {{RPC_OWNER, stat_begin}, {RPC_WORKER, stat_read}}},
    {&method_get_xattrs, .steps = {{RPC_OWNER, xattrs_begin}, {RPC_WORKER, xattrs_read}}},
    {&method_list, .steps = {{RPC_OWNER, list_begin}, {RPC_WORKER, list_read}}},
    {&method_locate,
     .steps = {{RPC_OWNER, locate_begin}, {RPC_WORKER, locate_read}, {RPC_OWNER, locate_answer}}},
    {&method_renew, .steps = {{RPC_OWNER, renew_leases}}},
    {&method_recover,
     .steps = {{RPC_OWNER, recover_begin}, {RPC_WORKER, recover_read}, {RPC_OWNER, recover_run}}},
    {&method_report, .steps = {{RPC_OWNER, report}}},
    {&method_explain, .steps = {{RPC_OWNER, explain}}},
    {NULL},
};
