/* See namespace.h and namespace_internal.h. This file: batches, cached rows, the internal commands
 * that belong to no other file, and dispatch. */
#include "fsmaster/namespace.h"

#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/parse.h"
#include "common/path.h"
#include "fsmaster/namespace_chunk.h"
#include "fsmaster/namespace_internal.h"

/* ---- Life ------------------------------------------------------------------------------------ */

void ns_init(struct namespace *ns, const struct kv_view *view, const struct caller *caller,
             struct arena *arena)
{
    memset(ns, 0, sizeof(*ns));
    ns->view = view;
    ns->caller = caller;
    ns->arena = arena;
    arena_init(&ns->memory, 0);
    map_init(&ns->nodes, 0);
    map_init(&ns->entries, 0);
    map_init(&ns->sessions, 0);
    buf_init(&ns->value);
}

void ns_deinit(struct namespace *ns)
{
    map_deinit(&ns->nodes);
    map_deinit(&ns->entries);
    map_deinit(&ns->sessions);
    arena_deinit(&ns->memory);
    buf_deinit(&ns->value);
    free(ns->effects);
    memset(ns, 0, sizeof(*ns));
}

struct namespace *namespace_new(uint64_t seed)
{
    struct namespace *ns = xmalloc(sizeof(*ns));
    ns_init(ns, NULL, NULL, NULL);
    map_init(&ns->nodes, seed);
    map_init(&ns->entries, seed);
    map_init(&ns->sessions, seed);
    return ns;
}

void namespace_free(struct namespace *ns)
{
    if (ns) {
        ns_deinit(ns);
        free(ns);
    }
}

static void forget(struct namespace *ns)
{
    map_clear(&ns->nodes);
    map_clear(&ns->entries);
    map_clear(&ns->sessions);
    arena_reset(&ns->memory);
    ns->touched_nodes = NULL;
    ns->touched_sessions = NULL;
    ns->meta_loaded = false;
    ns->meta_dirty = false;
    ns->applied_dirty = false;
    ns->broken = 0;
}

void namespace_begin(struct namespace *ns, const struct kv_view *view)
{
    CHECK(view);
    if (!ns->ended || ns->storage != view->ctx ||
        ns->nodes.count + ns->sessions.count > NS_CACHE_COUNT_MAX) {
        forget(ns);
    }
    ns->view = view;
    ns->storage = view->ctx;
    ns->ended = false;
}

/* ---- Rows ------------------------------------------------------------------------------------ */

int ns_get(struct namespace *ns, const struct row_key *key)
{
    int r = kv_view_get(ns->view, row_key_span(key), &ns->value);
    return r == 0 || r == ERR_NOT_FOUND ? r : ns_broken(ns, r);
}

int ns_get_known(struct namespace *ns, const struct row_key *key)
{
    int r = ns_get(ns, key);
    return r == ERR_NOT_FOUND ? ns_broken(ns, ERR_CORRUPT) : r;
}

void ns_put(struct namespace *ns, const struct row_key *key)
{
    kv_view_put(ns->view, row_key_span(key), ns_value(ns));
}

void ns_del(struct namespace *ns, const struct row_key *key)
{
    kv_view_del(ns->view, row_key_span(key));
}

int ns_node_get(struct namespace *ns, inode_id id, struct ns_node **ret_node)
{
    struct ns_node *node = map_get_u64(&ns->nodes, id);
    if (node) {
        if (node->deleted) {
            return ERR_NOT_FOUND;
        }
        *ret_node = node;
        return 0;
    }
    struct row_key key = row_key_u64(ROW_INODE, id);
    int r = ns_get(ns, &key);
    if (r < 0) {
        return r;
    }
    node = arena_alloc(&ns->memory, sizeof(*node));
    node->id = id;
    node->touched = false;
    node->deleted = false;
    r = ns_decoded(ns, inode_decode(ns_value(ns), &node->row));
    if (r < 0) {
        return r;
    }
    map_put_u64(&ns->nodes, id, node);
    *ret_node = node;
    return 0;
}

int ns_node_get_known(struct namespace *ns, inode_id id, struct ns_node **ret_node)
{
    int r = ns_node_get(ns, id, ret_node);
    return r == ERR_NOT_FOUND ? ns_broken(ns, ERR_CORRUPT) : r;
}

static void name_copy(char *to, const char *from, size_t bytes_max)
{
    size_t length = strlen(from);
    CHECK(length <= bytes_max);
    memcpy(to, from, length + 1);
}

static struct ns_node *node_make(struct namespace *ns, enum inode_kind kind, uint32_t mode,
                                 const char *owner)
{
    struct ns_node *node = arena_calloc(&ns->memory, sizeof(*node));
    node->id = ns->meta.next_inode++;
    ns_touch(ns, node);
    node->row.kind = kind;
    node->row.mode = mode;
    node->row.mtime_ms = ns->wall_ms;
    node->row.names_quota = QUOTA_NONE;
    node->row.space_quota = QUOTA_NONE;
    name_copy(node->row.owner, owner, LIMIT_HOST_BYTES_MAX);
    name_copy(node->row.group, owner, LIMIT_HOST_BYTES_MAX);
    map_put_u64(&ns->nodes, node->id, node);
    ns->meta_dirty = true;
    return node;
}

struct ns_node *ns_node_new(struct namespace *ns, enum inode_kind kind, uint32_t mode)
{
    return node_make(ns, kind, mode, ns->caller->user);
}

struct effect *ns_effect(struct namespace *ns, enum effect_kind kind)
{
    if (ns->effect_count == ns->effect_capacity) {
        ns->effect_capacity = ns->effect_capacity ? ns->effect_capacity * 2 : 16;
        ns->effects = xreallocarray(ns->effects, ns->effect_capacity, sizeof(struct effect));
    }
    struct effect *effect = &ns->effects[ns->effect_count++];
    memset(effect, 0, sizeof(*effect));
    effect->kind = kind;
    return effect;
}

int ns_server_get(struct namespace *ns, server_id id, struct server_record *ret)
{
    struct row_key key = row_key_u64(ROW_SERVER, id);
    int r = ns_get_known(ns, &key);
    return r < 0 ? r : ns_decoded(ns, server_decode(id, ns_value(ns), ns->arena, ret));
}

static int meta_load(struct namespace *ns)
{
    if (ns->meta_loaded) {
        return 0;
    }
    memset(&ns->meta, 0, sizeof(ns->meta));
    memset(&ns->applied, 0, sizeof(ns->applied));
    struct row_key key = row_key_table(ROW_APPLIED);
    int r = ns_get(ns, &key);
    if (r == 0) {
        r = ns_decoded(ns, applied_decode(ns_value(ns), &ns->applied));
    }
    if (r < 0 && r != ERR_NOT_FOUND) {
        return r;
    }
    key = row_key_table(ROW_META);
    r = ns_get(ns, &key);
    if (r == 0) {
        r = ns_decoded(ns, meta_decode(ns_value(ns), &ns->meta));
    }
    if (r < 0 && r != ERR_NOT_FOUND) {
        return r;
    }
    ns->meta_loaded = true;
    return 0;
}

/* ---- Internal commands of this file ---------------------------------------------------------- */

/* A directory that Format makes below the root. */
static int format_directory(struct namespace *ns, const char *name, const char *owner)
{
    struct ns_node *root = NULL;
    int r = ns_node_get_known(ns, NS_ROOT, &root);
    return r < 0 ? r : ns_link(ns, root, name, node_make(ns, INODE_DIRECTORY, 01777, owner));
}

static int apply_format(struct namespace *ns, const struct cmd_format *cmd)
{
    if (ns->meta.cluster_id[0]) {
        return ERR_EXISTS;
    }
    if (path_check_name(cmd->cluster_id, strlen(cmd->cluster_id), NULL) < 0 ||
        path_check_name(cmd->superuser, strlen(cmd->superuser), NULL) < 0 ||
        cmd->default_replication == 0 || cmd->default_replication > CHUNK_REPLICAS_MAX) {
        return ERR_INVALID;
    }
    struct meta_row *meta = &ns->meta;
    name_copy(meta->cluster_id, cmd->cluster_id, LIMIT_NAME_BYTES_MAX);
    name_copy(meta->superuser, cmd->superuser, LIMIT_HOST_BYTES_MAX);
    meta->default_replication = cmd->default_replication;
    meta->next_inode = NS_ROOT;
    meta->next_chunk = 1;
    meta->next_server = 1;
    ns->meta_dirty = true;
    node_make(ns, INODE_DIRECTORY, 0755, cmd->superuser);
    int r = format_directory(ns, "user", cmd->superuser);
    return r < 0 ? r : format_directory(ns, "tmp", cmd->superuser);
}

static bool label_ok(const char *label, size_t bytes_min, size_t bytes_max)
{
    size_t length = strlen(label);
    return length >= bytes_min && length <= bytes_max && utf8_valid(label, length);
}

static server_id server_take_id(struct namespace *ns, const struct row_key *by_key)
{
    server_id id = ns->meta.next_server++;
    ns->meta_dirty = true;
    number_encode(id, &ns->value);
    ns_put(ns, by_key);
    return id;
}

static void server_put(struct namespace *ns, const struct server_record *server,
                       struct apply_result *result)
{
    struct row_key key = row_key_u64(ROW_SERVER, server->id);
    server_encode(server, &ns->value);
    ns_put(ns, &key);
    ns_effect(ns, EFFECT_SERVER_CHANGED)->server = arena_copy(ns->arena, server, sizeof(*server));
    result->server = server->id;
}

static int apply_register_server(struct namespace *ns, const struct cmd_register_server *cmd,
                                 struct apply_result *result)
{
    struct server_record before = {.admin = SERVER_IN_SERVICE};
    if (!label_ok(cmd->host, 1, LIMIT_HOST_BYTES_MAX) ||
        !label_ok(cmd->rack, 0, LIMIT_HOST_BYTES_MAX) ||
        !label_ok(cmd->address, 1, LIMIT_ADDRESS_BYTES_MAX) ||
        !label_ok(cmd->local_socket, 0, LIMIT_PATH_BYTES_MAX)) {
        return ERR_INVALID;
    }
    struct row_key by_key = row_key_server_key(&cmd->key);
    server_id id = 0;
    int r = ns_get(ns, &by_key);
    if (r == 0) {
        r = ns_decoded(ns, number_decode(ns_value(ns), &id));
        r = r < 0 ? r : ns_server_get(ns, id, &before);
    } else if (r == ERR_NOT_FOUND) {
        if (ns->meta.next_server > NAMESPACE_SERVER_COUNT_MAX) {
            return err_set(&ns->err, ERR_TOO_LARGE, "more than %d chunkservers",
                           NAMESPACE_SERVER_COUNT_MAX);
        }
        id = server_take_id(ns, &by_key);
        r = 0;
    }
    if (r < 0) {
        return r;
    }
    struct server_record server = {.id = id,
                                   .key = cmd->key,
                                   .host = arena_strdup(ns->arena, cmd->host),
                                   .rack = arena_strdup(ns->arena, cmd->rack),
                                   .address = arena_strdup(ns->arena, cmd->address),
                                   .local_socket = arena_strdup(ns->arena, cmd->local_socket),
                                   .admin = before.admin,
                                   .until_ms = before.until_ms};
    server_put(ns, &server, result);
    return 0;
}

static int apply_admin_server(struct namespace *ns, const struct cmd_admin_server *cmd,
                              struct apply_result *result)
{
    struct server_record server = {.id = 0};
    bool away = cmd->state == SERVER_IN_MAINTENANCE;
    if (cmd->state >= SERVER_ADMIN_COUNT || away != (cmd->until_ms > 0) ||
        (cmd->over && cmd->state != SERVER_IN_SERVICE)) {
        return ERR_INVALID;
    }
    if (cmd->server == 0 || cmd->server >= ns->meta.next_server) {
        return err_set(&ns->err, ERR_NOT_FOUND, "no chunkserver %llu",
                       (unsigned long long)cmd->server);
    }
    struct row_key key = row_key_u64(ROW_SERVER, cmd->server);
    int r = ns_get(ns, &key); /* an era leaves numbers out */
    r = r < 0 ? r : ns_decoded(ns, server_decode(cmd->server, ns_value(ns), ns->arena, &server));
    if (r < 0) {
        return r;
    }
    result->server = server.id;
    bool is_over = server.admin == SERVER_IN_MAINTENANCE && ns->meta.cluster_ms >= server.until_ms;
    bool same = server.admin == (enum server_admin)cmd->state && server.until_ms == cmd->until_ms;
    if (same || (cmd->over && !is_over)) {
        return 0;
    }
    server.admin = (enum server_admin)cmd->state;
    server.until_ms = cmd->until_ms;
    server_put(ns, &server, result);
    return 0;
}

/* ---- Apply ----------------------------------------------------------------------------------- */

static int apply_kind(struct namespace *ns, const struct command_entry *entry,
                      struct apply_result *result)
{
    if (!ns->meta.cluster_id[0] && entry->kind != ENTRY_FORMAT && entry->kind != ENTRY_MUTATE &&
        entry->kind != ENTRY_NOOP) {
        return ERR_UNAVAILABLE;
    }
    switch (entry->kind) {
    case ENTRY_NOOP:
        return 0;
    case ENTRY_FORMAT:
        return apply_format(ns, &entry->format);
    case ENTRY_MUTATE:
        return ns_apply_mutate(ns, &entry->mutate, result);
    case ENTRY_REGISTER_SERVER:
        return apply_register_server(ns, &entry->register_server, result);
    case ENTRY_SEAL_BEGIN:
        return ns_apply_seal_begin(ns, &entry->seal_begin, result);
    case ENTRY_SEAL_END:
        return ns_apply_seal_end(ns, &entry->seal_end, result);
    case ENTRY_EXPIRE_LEASES:
        return ns_apply_expire_leases(ns, &entry->expire_leases);
    case ENTRY_TICK:
        return ns_apply_tick(ns, result);
    case ENTRY_REAP:
        return ns_apply_reap(ns, &entry->reap, result);
    case ENTRY_BEGIN_ERA:
        return ns_apply_begin_era(ns, entry->era_floor);
    case ENTRY_RELEASE_ORPHANS:
        return ns_apply_release_orphans(ns);
    case ENTRY_ADMIN_SERVER:
        return apply_admin_server(ns, &entry->admin_server, result);
    case ENTRY_NONE:
        break;
    }
    return ns_broken(ns, ERR_UNSUPPORTED);
}

/* It only grows (DESIGN 4), and there is none before the namespace is formatted. */
static void cluster_time_goes_on(struct namespace *ns, time_ms cluster_ms)
{
    if (ns->meta.cluster_id[0] && cluster_ms > ns->meta.cluster_ms) {
        ns->meta.cluster_ms = cluster_ms;
        ns->meta_dirty = true;
    }
}

int namespace_apply(struct namespace *ns, const struct command_entry *entry, struct log_position at,
                    struct arena *arena, struct apply_result *ret_result)
{
    struct apply_result result = {.text = ""};
    int r = ns->broken ? ns->broken : meta_load(ns);
    if (r < 0) {
        return r;
    }
    CHECK(at.index > ns->applied.index);
    cluster_time_goes_on(ns, entry->cluster_ms);
    ns->arena = arena;
    ns->caller = &entry->caller;
    ns->wall_ms = entry->wall_ms;
    ns->effect_count = 0;
    ns->err = (struct err)ERR_INIT;
    r = apply_kind(ns, entry, &result);
    if (ns->broken) {
        return ns->broken;
    }
    cluster_time_goes_on(ns, entry->cluster_ms); /* it begins with ENTRY_FORMAT */
    result.code = r;
    if (r < 0) {
        result.text = ns->err.code == r ? arena_strdup(arena, ns->err.msg) : err_text(r);
    }
    if (ns->effect_count > 0) {
        result.effects = arena_copy(arena, ns->effects, ns->effect_count * sizeof(struct effect));
        result.effect_count = ns->effect_count;
    }
    namespace_skip(ns, at);
    *ret_result = result;
    return 0;
}

void namespace_skip(struct namespace *ns, struct log_position at)
{
    ns->applied = at;
    ns->applied_dirty = true;
}

static void nodes_flush(struct namespace *ns)
{
    for (struct ns_node *node = ns->touched_nodes; node; node = node->next) {
        struct row_key key = row_key_u64(ROW_INODE, node->id);
        if (node->deleted) {
            ns_del(ns, &key);
        } else {
            inode_encode(&node->row, &ns->value);
            ns_put(ns, &key);
        }
        node->touched = false;
    }
    ns->touched_nodes = NULL;
}

int namespace_end(struct namespace *ns)
{
    if (ns->broken) {
        return ns->broken;
    }
    nodes_flush(ns);
    ns_sessions_flush(ns);
    if (ns->meta_dirty && ns->meta.cluster_id[0]) {
        meta_encode(&ns->meta, &ns->value);
        struct row_key key = row_key_table(ROW_META);
        ns_put(ns, &key);
    }
    if (ns->applied_dirty) {
        applied_encode(&ns->applied, &ns->value);
        struct row_key key = row_key_table(ROW_APPLIED);
        ns_put(ns, &key);
    }
    ns->meta_dirty = false;
    ns->applied_dirty = false;
    ns->ended = true;
    return 0;
}

int namespace_totals(const struct kv_view *view, struct namespace_totals *ret)
{
    struct namespace ns;
    struct ns_node *root = NULL;
    ns_init(&ns, view, NULL, NULL);
    int r = meta_load(&ns);
    if (r == 0 && ns.meta.cluster_id[0]) {
        r = ns_node_get_known(&ns, NS_ROOT, &root);
    }
    if (r == 0) {
        const struct meta_row *meta = &ns.meta;
        *ret = (struct namespace_totals){
            .default_replication = meta->default_replication,
            .cluster_ms = meta->cluster_ms,
            .applied = ns.applied,
            .files = root ? root->row.files : 0,
            .directories = root ? root->row.directories + 1 : 0,
            .bytes = root ? root->row.bytes : 0,
            .chunks = meta->chunks,
            .next_chunk = meta->next_chunk,
            .leases = meta->leases,
            .sessions = meta->sessions,
            .servers = meta->next_server > 0 ? meta->next_server - 1 : 0,
            .removal_queue = meta->removal_queue,
            .rewant_queue = meta->rewant_queue,
            .era = meta->era,
        };
        name_copy(ret->cluster_id, meta->cluster_id, LIMIT_NAME_BYTES_MAX);
    }
    ns_deinit(&ns);
    return r;
}
