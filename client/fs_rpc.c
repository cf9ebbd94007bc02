/* See fs_rpc.h. Reads and the rest; changes are in fs_mutate_rpc.c. Everything from the master is
 * checked before it is used: names become local file names, counts become memory. */
#include "proto/fs.pb-c.h"

#include "client/fs_rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/fs_convert_rpc.h"
#include "client/master.h"
#include "common/alloc.h"
#include "common/path.h"

#define METHOD(variable, rpc_name, request_type, reply_type)                                       \
    const struct rpc_method variable = {                                                           \
        .name = "/trireme.v1.FsMaster/" rpc_name,                                                  \
        .kind = RPC_UNARY,                                                                         \
        .request = &trireme__v1__##request_type##__descriptor,                                     \
        .reply = &trireme__v1__##reply_type##__descriptor,                                         \
    }

METHOD(fs_method_mutate, "Mutate", mutate_request, mutate_reply);
METHOD(fs_method_stat, "Stat", stat_request, stat_reply);
METHOD(fs_method_get_xattrs, "GetXattrs", get_xattrs_request, get_xattrs_reply);
METHOD(fs_method_list, "List", list_request, list_reply);
METHOD(fs_method_locate, "Locate", locate_request, locate_reply);
METHOD(fs_method_renew_leases, "RenewLeases", renew_leases_request, renew_leases_reply);
METHOD(fs_method_recover_chunk, "RecoverChunk", recover_chunk_request, recover_chunk_reply);
METHOD(fs_method_explain, "Explain", explain_request, explain_reply);
METHOD(fs_method_report, "Report", report_request, report_reply);
METHOD(fs_method_balance, "Balance", balance_request, balance_reply);
METHOD(fs_method_admin_server, "AdminServer", admin_server_request, admin_server_reply);

/* A seal may take the master RECOVERY_WAIT_MS until it says why it waits. */
enum { RECOVER_ATTEMPT_MS = RECOVERY_WAIT_MS + 5 * 1000 };

int fs_malformed(struct err *e, const char *what)
{
    return err_set(e, ERR_CORRUPT, "the file master's answer to %s is malformed", what);
}

/* ---- Conversions ---------------------------------------------------------------------------- */

static void copy_text(char *to, size_t bytes, const char *from)
{
    (void)snprintf(to, bytes, "%s", from);
}

static int stat_from_wire(const Trireme__V1__Attributes *a, struct dfs_stat *to)
{
    if (!a || a->inode == 0 || a->length > INT64_MAX ||
        (a->kind != TRIREME__V1__KIND__KIND_FILE && a->kind != TRIREME__V1__KIND__KIND_DIRECTORY)) {
        return ERR_CORRUPT;
    }
    *to = (struct dfs_stat){
        .inode = a->inode,
        .directory = a->kind == TRIREME__V1__KIND__KIND_DIRECTORY,
        .open = a->open,
        .mode = a->mode & 07777,
        .mtime_ms = a->mtime_ms,
        .length = a->length,
        .replication = a->replication,
        .chunk_bytes = a->chunk_bytes,
        .child_count = a->child_count,
        .subtree_files = a->subtree_files,
        .subtree_directories = a->subtree_directories,
        .subtree_bytes = a->subtree_bytes,
        .subtree_replica_bytes = a->subtree_replica_bytes,
        .xattr_count = a->xattr_count,
        .names_quota = a->quota ? a->quota->names : DFS_NO_QUOTA,
        .space_quota = a->quota ? a->quota->space : DFS_NO_QUOTA,
        .reserved_bytes = a->quota ? a->quota->reserved_bytes : 0,
    };
    copy_text(to->owner, sizeof(to->owner), a->owner);
    copy_text(to->group, sizeof(to->group), a->group);
    return 0;
}

void fs_server_from_wire(const Trireme__V1__Server *from, struct arena *arena, struct fs_server *to)
{
    *to = (struct fs_server){
        .id = from->id,
        .host = arena_strdup(arena, from->host),
        .rack = arena_strdup(arena, from->rack),
        .address = arena_strdup(arena, from->address),
        .local_socket = arena_strdup(arena, from->local_socket),
    };
}

/* ---- Reads that allow some age --------------------------------------------------------------- */

/* What the call's reads of names ask for; NULL: nothing, they are linearizable. */
static Trireme__V1__Staleness *staleness_of(const struct call *c, Trireme__V1__Staleness *place)
{
    struct dfs *dfs = c->dfs;
    if (dfs->staleness_ms == 0) {
        return NULL;
    }
    trireme__v1__staleness__init(place);
    place->bound_ms = c->fresh ? 0 : dfs->staleness_ms;
    place->seen_index = master_seen(dfs);
    return place;
}

/* ---- Stat and List -------------------------------------------------------------------------- */

int fs_stat(struct call *c, const char *path, inode_id inode, struct dfs_stat *ret, struct err *e)
{
    return fs_access(c, path, inode, 0, ret, e);
}

int fs_access(struct call *c, const char *path, inode_id inode, uint32_t access,
              struct dfs_stat *ret, struct err *e)
{
    Trireme__V1__StatRequest message = TRIREME__V1__STAT_REQUEST__INIT;
    Trireme__V1__Staleness staleness;
    message.path = (char *)(path ? path : "");
    message.inode = inode;
    message.access = access;
    message.staleness = staleness_of(c, &staleness);
    struct master_request request = {.method = &fs_method_stat,
                                     .message = &message.base,
                                     .anybody = message.staleness && !c->fresh};
    ProtobufCMessage *reply = NULL;
    int r = master_call(c, &request, &reply, e);
    if (r < 0) {
        return r;
    }
    master_see(c->dfs, ((Trireme__V1__StatReply *)reply)->applied_index);
    r = stat_from_wire(((Trireme__V1__StatReply *)reply)->attributes, ret);
    return r < 0 ? fs_malformed(e, "Stat") : 0;
}

static void xattr_from_wire(const Trireme__V1__GetXattrsReply__Xattr *from, struct dfs_xattr *to)
{
    char *value = xmalloc(from->value.len + 1); /* a text can be used as one */
    if (from->value.len > 0) {
        memcpy(value, from->value.data, from->value.len);
    }
    value[from->value.len] = '\0';
    *to = (struct dfs_xattr){xstrdup(from->name), value, from->value.len};
}

int fs_get_xattrs(struct call *c, const char *path, const char *name, struct dfs_xattrs *ret,
                  struct err *e)
{
    Trireme__V1__GetXattrsRequest message = TRIREME__V1__GET_XATTRS_REQUEST__INIT;
    Trireme__V1__Staleness staleness;
    char *names[] = {(char *)name}; /* only read */
    message.path = (char *)path;
    message.n_names = name ? 1 : 0;
    message.names = names;
    message.staleness = staleness_of(c, &staleness);
    struct master_request request = {.method = &fs_method_get_xattrs,
                                     .message = &message.base,
                                     .anybody = message.staleness && !c->fresh};
    ProtobufCMessage *packed = NULL;
    int r = master_call(c, &request, &packed, e);
    if (r < 0) {
        return r;
    }
    const Trireme__V1__GetXattrsReply *reply = (Trireme__V1__GetXattrsReply *)packed;
    master_see(c->dfs, reply->applied_index);
    if (name && reply->n_xattrs != 1) {
        return fs_malformed(e, "GetXattrs");
    }
    ret->items = xcalloc(reply->n_xattrs + 1, sizeof(*ret->items));
    ret->count = reply->n_xattrs;
    for (size_t i = 0; i < reply->n_xattrs; i++) {
        xattr_from_wire(reply->xattrs[i], &ret->items[i]);
    }
    return 0;
}

int fs_list(struct call *c, const char *path, const char *after, struct fs_list *ret, struct err *e)
{
    Trireme__V1__ListRequest message = TRIREME__V1__LIST_REQUEST__INIT;
    Trireme__V1__Staleness staleness;
    message.path = (char *)path;
    message.after = (char *)after;
    message.staleness = staleness_of(c, &staleness);
    struct master_request request = {.method = &fs_method_list,
                                     .message = &message.base,
                                     .anybody = message.staleness && !c->fresh};
    ProtobufCMessage *packed = NULL;
    int r = master_call(c, &request, &packed, e);
    if (r < 0) {
        return r;
    }
    const Trireme__V1__ListReply *reply = (Trireme__V1__ListReply *)packed;
    master_see(c->dfs, reply->applied_index);
    *ret = (struct fs_list){.count = reply->n_entries, .more = reply->more && reply->n_entries > 0};
    ret->entries = arena_calloc(&c->arena, (reply->n_entries + 1) * sizeof(*ret->entries));
    for (size_t i = 0; i < reply->n_entries; i++) {
        const Trireme__V1__ListReply__Entry *entry = reply->entries[i];
        ret->entries[i].name = entry->name;
        if (path_check_name(entry->name, strlen(entry->name), NULL) < 0 ||
            stat_from_wire(entry->attributes, &ret->entries[i].stat) < 0) {
            return fs_malformed(e, "List");
        }
    }
    return 0;
}

/* ---- Locate --------------------------------------------------------------------------------- */

static int extent_from_wire(const Trireme__V1__Extent *from, const struct fs_server *servers,
                            size_t server_count, struct arena *arena, struct fs_extent *to)
{
    if (!from->chunk || from->chunk->id == 0 || from->offset > INT64_MAX ||
        from->length > CHUNK_BYTES_MAX || (from->length == 0 && !from->open)) {
        return ERR_CORRUPT;
    }
    *to = (struct fs_extent){
        .offset = from->offset,
        .length = from->open ? 0 : from->length,
        .chunk = {from->chunk->id, from->chunk->version},
        .open = from->open,
        .unheard = from->unheard,
        .replica_count = from->n_replicas,
    };
    to->replicas = arena_alloc(arena, (from->n_replicas + 1) * sizeof(struct fs_server *));
    for (size_t i = 0; i < from->n_replicas; i++) {
        if (from->replicas[i] >= server_count) {
            return ERR_CORRUPT;
        }
        to->replicas[i] = &servers[from->replicas[i]];
    }
    return 0;
}

int fs_locate(struct call *c, const struct fs_range *range, struct fs_located *ret, struct err *e)
{
    Trireme__V1__LocateRequest message = TRIREME__V1__LOCATE_REQUEST__INIT;
    Trireme__V1__Staleness staleness;
    message.path = (char *)(range->path ? range->path : "");
    message.inode = range->inode;
    message.offset = range->offset;
    message.length = range->length;
    message.staleness = staleness_of(c, &staleness);
    struct master_request request = {.method = &fs_method_locate,
                                     .message = &message.base,
                                     .anybody = message.staleness && !c->fresh};
    ProtobufCMessage *packed = NULL;
    int r = master_call(c, &request, &packed, e);
    if (r < 0) {
        return r;
    }
    const Trireme__V1__LocateReply *reply = (Trireme__V1__LocateReply *)packed;
    master_see(c->dfs, reply->applied_index);
    struct fs_server *servers =
        arena_calloc(&c->arena, (reply->n_servers + 1) * sizeof(struct fs_server));
    for (size_t i = 0; i < reply->n_servers; i++) {
        fs_server_from_wire(reply->servers[i], &c->arena, &servers[i]);
    }
    *ret = (struct fs_located){.count = reply->n_extents, .more = reply->more};
    ret->extents = arena_calloc(&c->arena, (reply->n_extents + 1) * sizeof(*ret->extents));
    if (stat_from_wire(reply->attributes, &ret->stat) < 0) {
        return fs_malformed(e, "Locate");
    }
    for (size_t i = 0; i < reply->n_extents; i++) {
        struct fs_extent *to = &ret->extents[i];
        r = extent_from_wire(reply->extents[i], servers, reply->n_servers, &c->arena, to);
        if (r < 0 || (i > 0 && to->offset != to[-1].offset + to[-1].length)) {
            return fs_malformed(e, "Locate");
        }
    }
    return 0;
}

/* ---- Leases and recovery -------------------------------------------------------------------- */

int fs_renew_leases(struct call *c, const struct fs_lease *leases, size_t count, bool *held,
                    struct err *e)
{
    Trireme__V1__RenewLeasesRequest message = TRIREME__V1__RENEW_LEASES_REQUEST__INIT;
    message.n_leases = count;
    message.leases = arena_calloc(&c->arena, (count + 1) * sizeof(*message.leases));
    for (size_t i = 0; i < count; i++) {
        message.leases[i] = arena_alloc(&c->arena, sizeof(*message.leases[i]));
        trireme__v1__renew_leases_request__lease__init(message.leases[i]);
        message.leases[i]->inode = leases[i].inode;
        message.leases[i]->epoch = leases[i].epoch;
    }
    struct master_request request = {.method = &fs_method_renew_leases, .message = &message.base};
    ProtobufCMessage *packed = NULL;
    int r = master_call(c, &request, &packed, e);
    if (r < 0) {
        return r;
    }
    const Trireme__V1__RenewLeasesReply *reply = (Trireme__V1__RenewLeasesReply *)packed;
    if (reply->n_held != count) {
        return fs_malformed(e, "RenewLeases");
    }
    for (size_t i = 0; i < count; i++) {
        held[i] = reply->held[i];
    }
    return 0;
}

int fs_recover_chunk(struct call *c, const struct fs_recover *what, uint64_t *ret_length,
                     struct err *e)
{
    Trireme__V1__ChunkRef chunk = TRIREME__V1__CHUNK_REF__INIT;
    Trireme__V1__RecoverChunkRequest message = TRIREME__V1__RECOVER_CHUNK_REQUEST__INIT;
    chunk.id = what->chunk.id;
    chunk.version = what->chunk.version;
    message.inode = what->inode;
    message.lease_epoch = what->lease_epoch;
    message.chunk = &chunk;
    message.acked_length = what->acked_length;
    message.n_blamed = what->blamed_count;
    message.blamed = (uint64_t *)what->blamed;
    struct master_request request = {.method = &fs_method_recover_chunk,
                                     .message = &message.base,
                                     .attempt_ms = RECOVER_ATTEMPT_MS};
    ProtobufCMessage *reply = NULL;
    int r = master_call(c, &request, &reply, e);
    if (r == 0) {
        *ret_length = ((Trireme__V1__RecoverChunkReply *)reply)->length;
    }
    return r;
}

/* ---- Report --------------------------------------------------------------------------------- */

static void leaving_from_wire(const Trireme__V1__Leaving *from, struct dfs_leaving *to)
{
    to->done = from->done;
    to->counted = from->counted;
    to->chunks = from->chunks;
    to->needed = from->needed;
    to->last = from->last;
    to->writing = from->writing;
    to->left_ms = from->left_ms;
    copy_text(to->reason, sizeof(to->reason), from->reason);
    copy_text(to->waits_for, sizeof(to->waits_for), from->waits_for);
}

static void status_from_wire(const Trireme__V1__ServerStatus *from, struct dfs_server_status *to)
{
    to->live = from->live;
    to->heartbeat_age_ms = from->heartbeat_age_ms;
    to->capacity_bytes = from->capacity_bytes;
    to->free_bytes = from->free_bytes;
    to->used_bytes = from->used_bytes;
    to->chunk_count = from->chunk_count;
    to->admin = (enum dfs_admin_state)from->admin;
    if (from->leaving) {
        leaving_from_wire(from->leaving, &to->leaving);
    }
    to->failed_disks = xcalloc(from->n_failed_disks + 1, sizeof(*to->failed_disks));
    for (; to->failed_disk_count < from->n_failed_disks; to->failed_disk_count++) {
        to->failed_disks[to->failed_disk_count] =
            xstrdup(from->failed_disks[to->failed_disk_count]);
    }
    if (from->server) {
        to->id = from->server->id;
        copy_text(to->host, sizeof(to->host), from->server->host);
        copy_text(to->rack, sizeof(to->rack), from->server->rack);
        copy_text(to->address, sizeof(to->address), from->server->address);
    }
}

int fs_report(struct call *c, struct dfs_report **ret, struct err *e)
{
    Trireme__V1__ReportRequest message = TRIREME__V1__REPORT_REQUEST__INIT;
    struct master_request request = {.method = &fs_method_report, .message = &message.base};
    ProtobufCMessage *packed = NULL;
    int r = master_call(c, &request, &packed, e);
    if (r < 0) {
        return r;
    }
    const Trireme__V1__ReportReply *from = (Trireme__V1__ReportReply *)packed;
    struct dfs_report *to = xcalloc(1, sizeof(*to));
    copy_text(to->cluster_id, sizeof(to->cluster_id), from->cluster_id);
    to->server_count = from->n_servers;
    to->servers = xcalloc(from->n_servers + 1, sizeof(*to->servers));
    for (size_t i = 0; i < from->n_servers; i++) {
        status_from_wire(from->servers[i], &to->servers[i]);
    }
    to->file_count = from->file_count;
    to->directory_count = from->directory_count;
    to->byte_count = from->byte_count;
    to->chunk_count = from->chunk_count;
    to->under_replicated = from->under_replicated;
    to->missing = from->missing;
    to->unheard = from->unheard;
    to->repair_queue = from->repair_queue;
    to->repairing = from->repairing;
    to->removal_queue = from->removal_queue;
    to->replicas_deleting = from->replicas_deleting;
    to->orphans_kept = from->orphans_kept;
    to->orphans = from->orphans;
    to->restored_ms = from->restored_ms;
    to->applied_index = from->applied_index;
    to->term = from->term;
    to->default_replication = from->default_replication;
    *ret = to;
    return 0;
}

/* ---- Servers in and out of service ----------------------------------------------------------- */

int fs_admin_server(struct call *c, server_id server, enum dfs_admin_state state, uint64_t for_ms,
                    struct err *e)
{
    Trireme__V1__AdminServerRequest message = TRIREME__V1__ADMIN_SERVER_REQUEST__INIT;
    /* To say the same again changes nothing but the end of a maintenance, by a moment. */
    struct master_request request = {.method = &fs_method_admin_server, .message = &message.base};
    ProtobufCMessage *reply = NULL;
    message.server = server;
    message.state = (Trireme__V1__AdminState)state;
    message.for_ms = for_ms;
    return master_call(c, &request, &reply, e);
}

int fs_balance(struct call *c, double threshold, uint64_t rate_bytes, struct dfs_balance *ret,
               struct err *e)
{
    Trireme__V1__BalanceRequest message = TRIREME__V1__BALANCE_REQUEST__INIT;
    struct master_request request = {.method = &fs_method_balance, .message = &message.base};
    ProtobufCMessage *reply = NULL;
    message.threshold = threshold;
    message.rate_bytes = rate_bytes;
    int r = master_call(c, &request, &reply, e);
    if (r == 0) {
        const Trireme__V1__BalanceReply *a = (const void *)reply;
        *ret = (struct dfs_balance){.all_heard = a->all_heard,
                                    .even = a->even,
                                    .stuck = a->stuck,
                                    .least = a->least,
                                    .mean = a->mean,
                                    .most = a->most,
                                    .moving = a->moving,
                                    .moved_chunks = a->moved_chunks,
                                    .moved_bytes = a->moved_bytes};
    }
    return r;
}

/* ---- Explain -------------------------------------------------------------------------------- */

static char *server_text(const Trireme__V1__ExplainReply *reply, uint32_t place)
{
    bool named = place < reply->n_servers && reply->servers[place];
    return xstrdup(named ? reply->servers[place]->host : "?");
}

static void explanation_from_wire(const Trireme__V1__ExplainReply *reply,
                                  const Trireme__V1__ExplainReply__Chunk *from,
                                  struct dfs_explanation *to)
{
    *to = (struct dfs_explanation){
        .chunk = from->id,
        .known = from->known,
        .version = from->version,
        .length = from->length,
        .wanted = from->wanted,
        .good = from->good,
        .reason = xstrdup(from->reason),
        .waits_for = xstrdup(from->waits_for),
        .queued = from->queued,
        .queued_ms = from->queued_ms,
        .retry_ms = from->retry_ms,
        .put_offs = from->put_offs,
        .copies = xcalloc(from->n_copies + 1, sizeof(*to->copies)),
        .copy_count = from->n_copies,
        .awaited = xcalloc(from->n_awaited + 1, sizeof(*to->awaited)),
        .awaited_count = from->n_awaited,
    };
    for (size_t i = 0; i < from->n_copies; i++) {
        const Trireme__V1__ExplainReply__Copy *copy = from->copies[i];
        to->copies[i] = (struct dfs_explained_copy){.host = server_text(reply, copy->server),
                                                    .live = copy->live,
                                                    .good = copy->good,
                                                    .damaged = copy->damaged,
                                                    .sealed = copy->sealed,
                                                    .assumed = copy->assumed,
                                                    .admin = (enum dfs_admin_state)copy->admin,
                                                    .version = copy->version,
                                                    .length = copy->length};
    }
    for (size_t i = 0; i < from->n_awaited; i++) {
        to->awaited[i] = server_text(reply, from->awaited[i]);
    }
}

int fs_explain(struct call *c, const uint64_t *chunks, size_t count, struct dfs_explanations *ret,
               struct err *e)
{
    Trireme__V1__ExplainRequest message = TRIREME__V1__EXPLAIN_REQUEST__INIT;
    struct master_request request = {.method = &fs_method_explain, .message = &message.base};
    ProtobufCMessage *packed = NULL;
    message.n_chunks = count;
    message.chunks = (uint64_t *)chunks;
    int r = master_call(c, &request, &packed, e);
    if (r < 0) {
        return r;
    }
    const Trireme__V1__ExplainReply *reply = (Trireme__V1__ExplainReply *)packed;
    if (reply->n_chunks != count) {
        return fs_malformed(e, "Explain");
    }
    ret->items = xreallocarray(ret->items, ret->count + count + 1, sizeof(*ret->items));
    for (size_t i = 0; i < count; i++) {
        explanation_from_wire(reply, reply->chunks[i], &ret->items[ret->count++]);
    }
    return 0;
}
