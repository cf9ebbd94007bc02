/* Reads over any view: the same walk and permission checks as apply, on a cache that lives for one
 * request. */
#include <string.h>

#include "common/path.h"
#include "fsmaster/namespace_chunk.h"
#include "fsmaster/namespace_internal.h"

/* ---- Attributes ------------------------------------------------------------------------------ */

static void attributes_of(inode_id id, const struct inode_row *row, struct arena *arena,
                          struct attributes *ret)
{
    *ret = (struct attributes){
        .inode = id,
        .kind = row->kind,
        .mode = row->mode,
        .owner = arena_strdup(arena, row->owner),
        .group = arena_strdup(arena, row->group),
        .mtime_ms = row->mtime_ms,
        .length = row->length,
        .replication = row->replication,
        .chunk_bytes = row->chunk_bytes,
        .open = row->flags & INODE_LEASED,
        .child_count = row->child_count,
        .subtree_files = row->files,
        .subtree_directories = row->directories,
        .subtree_bytes = row->bytes,
        .subtree_replica_bytes = row->replica_bytes,
        .xattr_count = row->xattr_count,
        .names_quota = row->names_quota,
        .space_quota = row->space_quota,
        .reserved_bytes = row->kind == INODE_DIRECTORY ? row->reserved : 0,
    };
}

/* The node of an inode number: the caller must be allowed to reach it by its path. */
static int find_inode(struct namespace *ns, inode_id inode, struct ns_node **ret)
{
    struct ns_node *node = NULL;
    int r = ns_node_get(ns, inode, &node);
    if (r < 0) {
        return r;
    }
    if ((node->row.flags & INODE_UNNAMED) && !ns_is_owner(ns, node)) {
        return ERR_NOT_FOUND;
    }
    struct ns_node *at = node;
    for (uint32_t depth = 0; at->row.parent != 0; depth++) {
        if (depth > LIMIT_DEPTH_MAX) {
            return ns_broken(ns, ERR_CORRUPT);
        }
        r = ns_node_get_known(ns, at->row.parent, &at);
        if (r < 0) {
            return r;
        }
        r = ns_need(ns, at, NS_EXECUTE, "");
        if (r < 0) {
            return r;
        }
    }
    if (at->row.flags & INODE_UNLINKED) {
        return ERR_NOT_FOUND;
    }
    *ret = node;
    return 0;
}

int ns_find(struct namespace *ns, const struct target *target, struct ns_node **ret)
{
    struct ns_walk walk;
    if (!target->path[0]) {
        return find_inode(ns, target->inode, ret);
    }
    int r = ns_walk_existing(ns, target->path, &walk);
    if (r == 0) {
        *ret = walk.node;
    }
    return r;
}

void namespace_refusal(const struct kv_view *view, const struct caller *caller,
                       const struct target *target, struct arena *arena, struct err *e)
{
    struct namespace ns;
    struct ns_node *node = NULL;
    ns_init(&ns, view, caller, arena);
    int r = ns_find(&ns, target, &node);
    if (r == 0) {
        r = ns_need(&ns, node, target->access & (NS_READ | NS_WRITE | NS_EXECUTE), target->path);
    }
    if (r == ERR_PERMISSION && ns.err.code == r) {
        (void)err_set(e, r, "%s", err_message(&ns.err));
    }
    ns_deinit(&ns);
}

int namespace_stat(const struct kv_view *view, const struct caller *caller,
                   const struct target *target, struct arena *arena, struct attributes *ret)
{
    struct namespace ns;
    struct ns_node *node = NULL;
    ns_init(&ns, view, caller, arena);
    int r = ns_find(&ns, target, &node);
    if (r == 0 && !ns_permits(&ns, node, target->access & (NS_READ | NS_WRITE | NS_EXECUTE))) {
        r = ERR_PERMISSION;
    }
    if (r == 0) {
        attributes_of(node->id, &node->row, arena, ret);
    }
    ns_deinit(&ns);
    return r;
}

/* ---- List ------------------------------------------------------------------------------------ */

struct listing {
    struct arena *arena;
    struct list_entry *entries;
    uint32_t count;
    uint32_t limit;
};

/* Collects one entry's name and inode; stops when there is one more than the limit. */
static int list_visit(void *arg, struct span key, struct span value)
{
    struct listing *listing = arg;
    struct dirent_row dirent;
    struct span name = {0};
    inode_id parent = 0;
    if (listing->count == listing->limit) {
        return 1;
    }
    int r = row_key_read_dirent(key, &parent, &name);
    if (r == 0) {
        r = dirent_decode(value, &dirent);
    }
    if (r == 0) {
        struct list_entry *entry = &listing->entries[listing->count++];
        entry->name = arena_strndup(listing->arena, name.data, name.length);
        entry->attributes.inode = dirent.inode;
    }
    return r;
}

static int list_directory(struct namespace *ns, const struct ns_node *directory, const char *after,
                          struct listing *listing, bool *ret_more)
{
    size_t length = strlen(after);
    if (length > LIMIT_NAME_BYTES_MAX) {
        return ERR_INVALID;
    }
    struct row_key start = row_key_dirent(directory->id, (struct span){after, length});
    struct row_key end = row_key_u64(ROW_DIRENT, directory->id + 1);
    if (length > 0) {
        start.bytes[start.length++] = 0; /* the first key after it */
    }
    struct kv_range range = {row_key_span(&start), row_key_span(&end), false};
    int r = kv_view_scan(ns->view, &range, list_visit, listing);
    if (r < 0) {
        return ns_broken(ns, r);
    }
    *ret_more = r > 0;
    for (uint32_t i = 0; i < listing->count; i++) {
        struct ns_node *child = NULL;
        struct list_entry *entry = &listing->entries[i];
        r = ns_node_get_known(ns, entry->attributes.inode, &child);
        if (r < 0) {
            return r;
        }
        attributes_of(child->id, &child->row, ns->arena, &entry->attributes);
    }
    return 0;
}

static int list(struct namespace *ns, const struct list_request *request, struct list_page *ret)
{
    struct ns_walk walk;
    struct listing listing = {.arena = ns->arena, .limit = request->limit};
    bool more = false;
    if (listing.limit == 0 || listing.limit > NAMESPACE_LIST_COUNT_MAX) {
        listing.limit = NAMESPACE_LIST_COUNT_MAX;
    }
    int r = ns_walk_existing(ns, request->path, &walk);
    if (r < 0) {
        return r;
    }
    bool directory = walk.node->row.kind == INODE_DIRECTORY;
    uint32_t room = directory ? listing.limit : 1;
    listing.entries = arena_alloc(ns->arena, room * sizeof(struct list_entry));
    if (directory) {
        r = ns_need(ns, walk.node, NS_READ, request->path);
        if (r == 0) {
            r = list_directory(ns, walk.node, request->after, &listing, &more);
        }
    } else {
        listing.entries[0].name = arena_strdup(ns->arena, path_name(request->path));
        attributes_of(walk.node->id, &walk.node->row, ns->arena, &listing.entries[0].attributes);
        listing.count = 1;
    }
    if (r == 0) {
        *ret = (struct list_page){listing.entries, listing.count, more};
    }
    return r;
}

int namespace_list(const struct kv_view *view, const struct caller *caller,
                   const struct list_request *request, struct arena *arena, struct list_page *ret)
{
    struct namespace ns;
    ns_init(&ns, view, caller, arena);
    int r = list(&ns, request, ret);
    ns_deinit(&ns);
    return r;
}

/* ---- Locate ---------------------------------------------------------------------------------- */

struct locating {
    struct arena *arena;
    struct located_extent *extents;
    uint32_t count;
    uint32_t room; /* for so many; doubled when full, the old ones stay in the arena */
    uint64_t end;  /* extents from here on are of no interest */
    bool more;
};

static int extent_read(struct span key, struct span value, struct located_extent *ret)
{
    struct extent_row extent;
    inode_id inode = 0;
    int r = row_key_read_u64_pair(key, ROW_EXTENT, &inode, &ret->offset);
    if (r == 0) {
        r = extent_decode(value, &extent);
    }
    if (r == 0) {
        ret->length = extent.length;
        ret->chunk.ref.id = extent.chunk;
    }
    return r;
}

/* The extent that covers the start of the range: the last one at or before it. */
static int locate_first(void *arg, struct span key, struct span value)
{
    int r = extent_read(key, value, arg);
    return r < 0 ? r : 1;
}

static int locate_visit(void *arg, struct span key, struct span value)
{
    struct locating *locating = arg;
    struct located_extent extent;
    int r = extent_read(key, value, &extent);
    if (r < 0) {
        return r;
    }
    if (extent.offset >= locating->end) {
        return 1;
    }
    if (locating->count == NAMESPACE_LOCATE_COUNT_MAX) {
        locating->more = true;
        return 1;
    }
    if (locating->count == locating->room) {
        locating->room = locating->room ? locating->room * 2 : 8;
        struct located_extent *more =
            arena_alloc(locating->arena, locating->room * sizeof(struct located_extent));
        if (locating->count > 0) {
            memcpy(more, locating->extents, locating->count * sizeof(struct located_extent));
        }
        locating->extents = more;
    }
    locating->extents[locating->count++] = extent;
    return 0;
}

/* Where the scan must begin so that it meets the extent that covers `offset`. */
static int locate_start(struct namespace *ns, inode_id inode, uint64_t offset, uint64_t *ret_start)
{
    struct located_extent first;
    struct row_key start = row_key_u64_pair(ROW_EXTENT, inode, 0);
    struct row_key end = row_key_u64_pair(ROW_EXTENT, inode, offset);
    end.bytes[end.length++] = 0;
    struct kv_range range = {row_key_span(&start), row_key_span(&end), true};
    int r = kv_view_scan(ns->view, &range, locate_first, &first);
    if (r < 0) {
        return ns_broken(ns, r);
    }
    *ret_start = r > 0 ? first.offset : 0;
    /* Sealed, and it ends before the offset: the range begins beyond the end of the file. */
    if (r > 0 && first.length > 0 && first.offset + first.length <= offset) {
        *ret_start = offset;
    }
    return 0;
}

static int locate_extents(struct namespace *ns, inode_id inode,
                          const struct locate_request *request, struct locating *locating)
{
    uint64_t from = 0;
    bool bounded = request->length > 0 && request->offset <= UINT64_MAX - request->length;
    locating->end = bounded ? request->offset + request->length : UINT64_MAX;
    int r = locate_start(ns, inode, request->offset, &from);
    if (r < 0) {
        return r;
    }
    struct row_key start = row_key_u64_pair(ROW_EXTENT, inode, from);
    struct row_key end = row_key_u64(ROW_EXTENT, inode + 1);
    struct kv_range range = {row_key_span(&start), row_key_span(&end), false};
    r = kv_view_scan(ns->view, &range, locate_visit, locating);
    for (uint32_t i = 0; r >= 0 && i < locating->count; i++) {
        struct chunk_record *chunk = &locating->extents[i].chunk;
        r = ns_chunk_get(ns, chunk->ref.id, chunk);
        r = r == ERR_NOT_FOUND ? ERR_CORRUPT : r;
    }
    return r < 0 ? ns_broken(ns, r) : 0;
}

static int locate(struct namespace *ns, const struct locate_request *request, struct located *ret)
{
    struct ns_node *file = NULL;
    struct locating locating = {.arena = ns->arena};
    int r = ns_find(ns, &request->target, &file);
    if (r != 0) {
        return r;
    }
    if (file->row.kind != INODE_FILE) {
        return ERR_IS_DIR;
    }
    r = ns_permits(ns, file, NS_READ) ? 0 : ERR_PERMISSION;
    if (r == 0) {
        r = locate_extents(ns, file->id, request, &locating);
    }
    if (r == 0) {
        attributes_of(file->id, &file->row, ns->arena, &ret->attributes);
        ret->extents = locating.extents;
        ret->count = locating.count;
        ret->more = locating.more;
    }
    return r;
}

int namespace_locate(const struct kv_view *view, const struct caller *caller,
                     const struct locate_request *request, struct arena *arena, struct located *ret)
{
    struct namespace ns;
    ns_init(&ns, view, caller, arena);
    int r = locate(&ns, request, ret);
    ns_deinit(&ns);
    return r;
}

/* ---- Single rows ----------------------------------------------------------------------------- */

int ns_path(struct namespace *ns, inode_id inode, struct buf *ret_path)
{
    struct ns_node *chain[LIMIT_DEPTH_MAX + 1];
    uint32_t depth = 0;
    struct ns_node *at = NULL;
    int r = ns_node_get(ns, inode, &at);
    while (r == 0 && at->row.parent != 0) {
        if (depth > LIMIT_DEPTH_MAX) {
            return ns_broken(ns, ERR_CORRUPT);
        }
        chain[depth++] = at;
        r = ns_node_get_known(ns, at->row.parent, &at);
    }
    if (r == 0 && at->id != NS_ROOT) {
        r = ERR_NOT_FOUND;
    }
    if (r < 0) {
        return r;
    }
    buf_clear(ret_path);
    for (uint32_t i = depth; i > 0; i--) {
        buf_append_byte(ret_path, '/');
        buf_append_str(ret_path, chain[i - 1]->row.name);
    }
    if (depth == 0) {
        buf_append_byte(ret_path, '/');
    }
    return 0;
}

int namespace_path(const struct kv_view *view, inode_id inode, struct buf *ret_path)
{
    struct namespace ns;
    ns_init(&ns, view, NULL, NULL);
    int r = ns_path(&ns, inode, ret_path);
    ns_deinit(&ns);
    return r;
}

int namespace_lease(const struct kv_view *view, inode_id inode, struct lease_record *ret)
{
    struct lease_row row;
    struct buf value = BUF_INIT;
    struct row_key key = row_key_u64(ROW_LEASE, inode);
    int r = kv_view_get(view, row_key_span(&key), &value);
    if (r == 0) {
        r = lease_decode(inode, (struct span){value.data, value.length}, &row);
    }
    if (r == 0) {
        *ret = row.lease;
    }
    buf_deinit(&value);
    return r;
}

int namespace_chunk(const struct kv_view *view, chunk_id chunk, struct chunk_record *ret)
{
    struct buf value = BUF_INIT;
    struct row_key key = row_key_u64(ROW_CHUNK, chunk);
    int r = kv_view_get(view, row_key_span(&key), &value);
    if (r == 0) {
        r = chunk_decode(chunk, (struct span){value.data, value.length}, ret);
    }
    buf_deinit(&value);
    return r;
}

int namespace_open_chunk(const struct kv_view *view, inode_id inode, struct chunk_record *ret)
{
    struct namespace ns;
    struct ns_node *file = NULL;
    ns_init(&ns, view, NULL, NULL);
    int r = ns_node_get(&ns, inode, &file);
    if (r == 0) {
        r = file->row.kind == INODE_FILE ? ns_open_chunk(&ns, file, ret) : ERR_NOT_FOUND;
    }
    ns_deinit(&ns);
    return r;
}

/* ---- Whole tables ---------------------------------------------------------------------------- */

struct table_scan {
    namespace_lease_fn lease;
    namespace_chunk_fn chunk;
    namespace_server_fn server;
    void *arg;
    struct arena arena;         /* strings of one server */
    const struct kv_view *view; /* to follow ROW_OPEN_CHUNK */
};

static int scan_table(const struct kv_view *view, enum row_type type, uint64_t after,
                      kv_visit_fn visit, struct table_scan *scan)
{
    struct row_key start = row_key_u64(type, after + 1);
    struct row_key end = row_key_table(type + 1);
    struct kv_range range = {row_key_span(&start), row_key_span(&end), false};
    return after == UINT64_MAX ? 0 : kv_view_scan(view, &range, visit, scan);
}

static int lease_visit(void *arg, struct span key, struct span value)
{
    struct table_scan *scan = arg;
    struct lease_row row;
    inode_id inode = 0;
    int r = row_key_read_u64(key, ROW_LEASE, &inode);
    if (r == 0) {
        r = lease_decode(inode, value, &row);
    }
    return r < 0 ? r : scan->lease(scan->arg, &row.lease);
}

int namespace_scan_leases(const struct kv_view *view, inode_id after, namespace_lease_fn visit,
                          void *arg)
{
    struct table_scan scan = {.lease = visit, .arg = arg};
    return scan_table(view, ROW_LEASE, after, lease_visit, &scan);
}

static int chunk_visit(void *arg, struct span key, struct span value)
{
    struct table_scan *scan = arg;
    struct chunk_record chunk;
    chunk_id id = 0;
    int r = row_key_read_u64(key, ROW_CHUNK, &id);
    if (r == 0) {
        r = chunk_decode(id, value, &chunk);
    }
    return r < 0 ? r : scan->chunk(scan->arg, &chunk);
}

int namespace_scan_chunks(const struct kv_view *view, chunk_id after, namespace_chunk_fn visit,
                          void *arg)
{
    struct table_scan scan = {.chunk = visit, .arg = arg};
    return scan_table(view, ROW_CHUNK, after, chunk_visit, &scan);
}

static int open_chunk_visit(void *arg, struct span key, struct span value)
{
    struct table_scan *scan = arg;
    struct chunk_record chunk;
    chunk_id id = 0;
    (void)value;
    int r = row_key_read_u64(key, ROW_OPEN_CHUNK, &id);
    if (r == 0) {
        r = namespace_chunk(scan->view, id, &chunk);
    }
    if (r < 0) {
        return r == ERR_NOT_FOUND ? ERR_CORRUPT : r;
    }
    return scan->chunk(scan->arg, &chunk);
}

int namespace_scan_open_chunks(const struct kv_view *view, chunk_id after, namespace_chunk_fn visit,
                               void *arg)
{
    struct table_scan scan = {.chunk = visit, .arg = arg, .view = view};
    return scan_table(view, ROW_OPEN_CHUNK, after, open_chunk_visit, &scan);
}

static int server_visit(void *arg, struct span key, struct span value)
{
    struct table_scan *scan = arg;
    struct server_record server;
    server_id id = 0;
    arena_reset(&scan->arena);
    int r = row_key_read_u64(key, ROW_SERVER, &id);
    if (r == 0) {
        r = server_decode(id, value, &scan->arena, &server);
    }
    return r < 0 ? r : scan->server(scan->arg, &server);
}

int namespace_scan_servers(const struct kv_view *view, namespace_server_fn visit, void *arg)
{
    struct table_scan scan = {.server = visit, .arg = arg};
    arena_init(&scan.arena, 0);
    int r = scan_table(view, ROW_SERVER, 0, server_visit, &scan);
    arena_deinit(&scan.arena);
    return r;
}
