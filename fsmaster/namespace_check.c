/* The invariants of the whole state, walked. For DCHECK, tests, fuzzing and fsck; O(n log n) time
 * and O(n) memory. See namespace_check() in namespace.h. */
#include <string.h>

#include "common/check.h"
#include "common/map.h"
#include "common/path.h"
#include "fsmaster/namespace_internal.h"

/* What the walk knows of an inode. */
struct seen_inode {
    inode_id id;
    struct inode_row row;
    bool named;            /* a dirent leads to it */
    bool queued;           /* in the removal queue */
    bool rewanted;         /* in the replication queue */
    bool leased;           /* has a lease row */
    uint64_t entries;      /* dirents below it */
    uint32_t xattrs;       /* rows of them */
    uint64_t end;          /* of its sealed extents so far */
    uint64_t gap;          /* its first extent's offset: 0, but for one being removed */
    bool open;             /* its last extent so far is not sealed */
    struct ns_delta below; /* added up from its children */
    uint32_t height;       /* likewise */
    uint32_t depth;
};

struct seen_chunk {
    struct chunk_record record;
    uint32_t references; /* extents that name it */
    bool marked;         /* in ROW_OPEN_CHUNK */
};

struct checker {
    const struct kv_view *view;
    struct arena memory;
    struct map inodes;   /* inode_id -> struct seen_inode */
    struct map chunks;   /* chunk_id -> struct seen_chunk */
    struct map sessions; /* session_id -> struct session_row */
    struct meta_row meta;
    uint64_t counts[256]; /* rows by first byte of the key */
    struct err *e;
};

#define BAD(...)   err_set(checker->e, ERR_CORRUPT, __VA_ARGS__)
#define ID(number) ((unsigned long long)(number))

static int bad_row(struct checker *checker, struct span key, int code)
{
    const uint8_t *bytes = key.data;
    return err_set(checker->e, code, "a row of table '%c' cannot be read", bytes[0]);
}

/* ---- First pass: rows that others refer to --------------------------------------------------- */

static int see_inode(struct checker *checker, struct span key, struct span value)
{
    struct seen_inode *inode = arena_calloc(&checker->memory, sizeof(*inode));
    int r = row_key_read_u64(key, ROW_INODE, &inode->id);
    if (r == 0) {
        r = inode_decode(value, &inode->row);
    }
    if (r == 0 && (inode->id == 0 || inode->id >= checker->meta.next_inode)) {
        r = BAD("inode %llu is beyond the counter", ID(inode->id));
    }
    map_put_u64(&checker->inodes, inode->id, inode);
    return r;
}

static int see_chunk(struct checker *checker, struct span key, struct span value)
{
    struct seen_chunk *chunk = arena_calloc(&checker->memory, sizeof(*chunk));
    chunk_id id = 0;
    int r = row_key_read_u64(key, ROW_CHUNK, &id);
    if (r == 0) {
        r = chunk_decode(id, value, &chunk->record);
    }
    if (r == 0 && (id == 0 || id >= checker->meta.next_chunk)) {
        r = BAD("chunk %llu is beyond the counter", ID(id));
    }
    map_put_u64(&checker->chunks, id, chunk);
    return r;
}

static int see_session(struct checker *checker, struct span key, struct span value)
{
    struct session_row *session = arena_calloc(&checker->memory, sizeof(*session));
    session_id id = 0;
    int r = row_key_read_u64(key, ROW_SESSION, &id);
    if (r == 0) {
        r = session_decode(value, session);
    }
    map_put_u64(&checker->sessions, id, session);
    return r;
}

static int first_pass(void *arg, struct span key, struct span value)
{
    struct checker *checker = arg;
    const uint8_t *bytes = key.data;
    int r = 0;
    checker->counts[bytes[0]]++;
    switch (bytes[0]) {
    case ROW_INODE:
        r = see_inode(checker, key, value);
        break;
    case ROW_CHUNK:
        r = see_chunk(checker, key, value);
        break;
    case ROW_SESSION:
        r = see_session(checker, key, value);
        break;
    default:
        break;
    }
    return r < 0 && !(checker->e && checker->e->code) ? bad_row(checker, key, r) : r;
}

/* ---- Second pass: rows that refer to others -------------------------------------------------- */

static int check_dirent(struct checker *checker, struct span key, struct span value)
{
    struct dirent_row dirent;
    struct span name = {0};
    inode_id parent_id = 0;
    int r = row_key_read_dirent(key, &parent_id, &name);
    if (r == 0) {
        r = dirent_decode(value, &dirent);
    }
    if (r != 0) {
        return r;
    }
    struct seen_inode *parent = map_get_u64(&checker->inodes, parent_id);
    struct seen_inode *child = map_get_u64(&checker->inodes, dirent.inode);
    if (!parent || !child || parent->row.kind != INODE_DIRECTORY) {
        return BAD("entry of %llu leads to %llu: one is missing", ID(parent_id), ID(dirent.inode));
    }
    if (child->named || child->row.parent != parent_id || child->row.kind != dirent.kind ||
        strlen(child->row.name) != name.length ||
        memcmp(child->row.name, name.data, name.length) != 0) {
        return BAD("inode %llu does not agree with its entry in %llu", ID(child->id),
                   ID(parent_id));
    }
    child->named = true;
    parent->entries++;
    return path_check_name(name.data, name.length, NULL);
}

static int check_xattr(struct checker *checker, struct span key, struct span value)
{
    struct span name;
    struct span bytes;
    inode_id id = 0;
    int r = row_key_read_xattr(key, &id, &name);
    if (r == 0) {
        r = xattr_decode(value, &bytes);
    }
    struct seen_inode *inode = r == 0 ? map_get_u64(&checker->inodes, id) : NULL;
    if (!inode) {
        return BAD("an extended attribute of inode %llu, which is missing", ID(id));
    }
    inode->xattrs++;
    return 0;
}

static int check_extent(struct checker *checker, struct span key, struct span value)
{
    struct extent_row extent;
    inode_id id = 0;
    uint64_t offset = 0;
    int r = row_key_read_u64_pair(key, ROW_EXTENT, &id, &offset);
    if (r == 0) {
        r = extent_decode(value, &extent);
    }
    if (r != 0) {
        return r;
    }
    struct seen_inode *file = map_get_u64(&checker->inodes, id);
    struct seen_chunk *chunk = map_get_u64(&checker->chunks, extent.chunk);
    if (!file || file->row.kind != INODE_FILE || !chunk) {
        return BAD("extent %llu of inode %llu has no file or no chunk", ID(offset), ID(id));
    }
    if (file->end == 0 && !file->open) {
        file->gap = offset;
        file->end = offset;
    }
    const struct chunk_record *record = &chunk->record;
    bool sealed = record->state == CHUNK_SEALED;
    if (file->open || offset != file->end || extent.length != record->length ||
        sealed != (extent.length > 0)) {
        return BAD("extent %llu of inode %llu does not follow", ID(offset), ID(id));
    }
    if (record->inode != id || record->offset != offset || record->length > record->bytes_max) {
        return BAD("chunk %llu does not agree with extent %llu of inode %llu", ID(record->ref.id),
                   ID(offset), ID(id));
    }
    chunk->references++;
    file->end = offset + extent.length;
    file->open = !sealed;
    return 0;
}

static int check_lease(struct checker *checker, struct span key, struct span value)
{
    struct lease_row lease;
    inode_id id = 0;
    int r = row_key_read_u64(key, ROW_LEASE, &id);
    if (r == 0) {
        r = lease_decode(id, value, &lease);
    }
    if (r != 0) {
        return r;
    }
    struct seen_inode *file = map_get_u64(&checker->inodes, id);
    if (!file || file->row.lease_epoch != lease.lease.epoch) {
        return BAD("lease of inode %llu does not agree with it", ID(id));
    }
    file->leased = true;
    return 0;
}

static int check_queue(struct checker *checker, struct span key)
{
    const uint8_t *bytes = key.data;
    inode_id id = 0;
    int r = row_key_read_u64(key, bytes[0], &id);
    struct seen_inode *inode = r == 0 ? map_get_u64(&checker->inodes, id) : NULL;
    if (!inode) {
        return BAD("queue '%c' names inode %llu, which is missing", bytes[0], ID(id));
    }
    inode->queued |= bytes[0] == ROW_REMOVAL;
    inode->rewanted |= bytes[0] == ROW_REWANT;
    return 0;
}

static int check_reply(struct checker *checker, struct span key, struct span value)
{
    struct reply_row reply;
    session_id id = 0;
    uint64_t seq = 0;
    int r = row_key_read_u64_pair(key, ROW_REPLY, &id, &seq);
    if (r == 0) {
        r = reply_decode(value, &reply);
    }
    if (r < 0) {
        return r;
    }
    const struct session_row *session = map_get_u64(&checker->sessions, id);
    if (!session || seq < session->acked_below || seq >= session->next_seq ||
        seq - session->acked_below >= SESSION_WINDOW_COUNT_MAX) {
        return BAD("reply %llu of session %llu is outside of its window", ID(seq), ID(id));
    }
    return 0;
}

static int check_due(struct checker *checker, struct span key)
{
    time_ms due_ms = 0;
    session_id id = 0;
    int r = row_key_read_u64_pair(key, ROW_SESSION_DUE, &due_ms, &id);
    const struct session_row *session = r == 0 ? map_get_u64(&checker->sessions, id) : NULL;
    if (!session || session->due_ms != due_ms) {
        return BAD("session %llu is not due at %llu", ID(id), ID(due_ms));
    }
    return 0;
}

static int check_open_mark(struct checker *checker, struct span key)
{
    chunk_id id = 0;
    int r = row_key_read_u64(key, ROW_OPEN_CHUNK, &id);
    struct seen_chunk *chunk = r == 0 ? map_get_u64(&checker->chunks, id) : NULL;
    if (!chunk) {
        return BAD("chunk %llu is marked open, but missing", ID(id));
    }
    chunk->marked = true;
    return 0;
}

static int second_pass(void *arg, struct span key, struct span value)
{
    struct checker *checker = arg;
    const uint8_t *bytes = key.data;
    int r = 0;
    switch (bytes[0]) {
    case ROW_DIRENT:
        r = check_dirent(checker, key, value);
        break;
    case ROW_EXTENT:
        r = check_extent(checker, key, value);
        break;
    case ROW_XATTR:
        r = check_xattr(checker, key, value);
        break;
    case ROW_LEASE:
        r = check_lease(checker, key, value);
        break;
    case ROW_REMOVAL:
    case ROW_REWANT:
        r = check_queue(checker, key);
        break;
    case ROW_REPLY:
        r = check_reply(checker, key, value);
        break;
    case ROW_SESSION_DUE:
        r = check_due(checker, key);
        break;
    case ROW_OPEN_CHUNK:
        r = check_open_mark(checker, key);
        break;
    default:
        break;
    }
    return r < 0 && !(checker->e && checker->e->code) ? bad_row(checker, key, r) : r;
}

/* ---- What the passes have collected ---------------------------------------------------------- */

/* Adds an inode to everything above it. Steps are bounded, so a cycle is found. */
static int add_up(struct checker *checker, struct seen_inode *inode)
{
    bool file = inode->row.kind == INODE_FILE;
    int64_t bytes = file ? (int64_t)inode->row.length : 0;
    struct seen_inode *at = inode;
    while (at->row.parent != 0) {
        if (++inode->depth > LIMIT_DEPTH_MAX) {
            return BAD("inode %llu hangs too deep", ID(inode->id));
        }
        at = map_get_u64(&checker->inodes, at->row.parent);
        if (!at) {
            return BAD("inode %llu hangs on nothing", ID(inode->id));
        }
        at->below.files += file;
        at->below.directories += !file;
        at->below.bytes += bytes;
        at->below.replica_bytes += bytes * inode->row.replication;
        at->below.reserved += file ? (int64_t)(inode->row.reserved * inode->row.replication) : 0;
        if (at->height < inode->depth) {
            at->height = inode->depth;
        }
    }
    return 0;
}

/* In the tree, unnamed under a lease, or queued for removal: exactly one of them. */
static int check_place(struct checker *checker, const struct seen_inode *inode)
{
    const struct inode_row *row = &inode->row;
    bool unlinked = row->flags & INODE_UNLINKED;
    bool unnamed = row->flags & INODE_UNNAMED;
    bool root = inode->id == NS_ROOT;
    if (inode->named + unlinked + unnamed + root != 1 || unlinked != inode->queued) {
        return BAD("inode %llu is lost, or in two places", ID(inode->id));
    }
    if (inode->leased != ((row->flags & INODE_LEASED) != 0) || (unnamed && !inode->leased)) {
        return BAD("inode %llu: its lease does not agree with its flags", ID(inode->id));
    }
    if (inode->named != (row->parent != 0) || (row->parent == 0 && row->name[0])) {
        return BAD("inode %llu: its parent does not agree", ID(inode->id));
    }
    return 0;
}

/* Directories below the top of an unlinked subtree lose entries before they go: nothing holds for
 * what is unlinked but its references. */
static bool is_unlinked(const struct checker *checker, const struct seen_inode *inode)
{
    const struct seen_inode *at = inode;
    while (at && at->row.parent != 0) {
        at = map_get_u64(&checker->inodes, at->row.parent);
    }
    return !at || (at->row.flags & INODE_UNLINKED);
}

static int check_inode(struct checker *checker, const struct seen_inode *inode)
{
    const struct inode_row *row = &inode->row;
    const struct ns_delta *below = &inode->below;
    int r = check_place(checker, inode);
    if (r == 0 && row->xattr_count != inode->xattrs) {
        r = BAD("inode %llu: %u extended attributes, %u found", ID(inode->id), row->xattr_count,
                inode->xattrs);
    }
    if (r < 0 || is_unlinked(checker, inode)) {
        return r;
    }
    if (row->kind == INODE_FILE && row->reserved > 0 &&
        (!inode->open || row->reserved != row->chunk_bytes)) {
        return BAD("file %llu: %llu bytes are reserved, but not for an open chunk", ID(inode->id),
                   ID(row->reserved));
    }
    if (row->kind == INODE_FILE) {
        return inode->end == row->length && inode->gap == 0
                   ? 0
                   : BAD("file %llu: length %llu, extents end at %llu", ID(inode->id),
                         ID(row->length), ID(inode->end));
    }
    if (row->child_count != inode->entries || row->files != (uint64_t)below->files ||
        row->directories != (uint64_t)below->directories || row->bytes != (uint64_t)below->bytes ||
        row->replica_bytes != (uint64_t)below->replica_bytes ||
        row->reserved != (uint64_t)below->reserved) {
        return BAD("directory %llu: its counters are not the sum of what is below", ID(inode->id));
    }
    return row->height >= inode->height
               ? 0
               : BAD("directory %llu: it is higher than it says", ID(inode->id));
}

static int check_chunk(struct checker *checker, const struct seen_chunk *chunk)
{
    const struct chunk_record *record = &chunk->record;
    const struct seen_inode *file = map_get_u64(&checker->inodes, record->inode);
    if (chunk->references != record->references || record->references == 0) {
        return BAD("chunk %llu: %u references, %u found", ID(record->ref.id), record->references,
                   chunk->references);
    }
    if (chunk->marked != (record->state != CHUNK_SEALED)) {
        return BAD("chunk %llu: its open mark does not agree", ID(record->ref.id));
    }
    if (record->wanted != file->row.replication && !file->rewanted && !is_unlinked(checker, file)) {
        return BAD("chunk %llu: wants %u copies, its file %u", ID(record->ref.id), record->wanted,
                   file->row.replication);
    }
    return 0;
}

static int check_count(struct checker *checker, enum row_type type, uint64_t count)
{
    uint64_t found = checker->counts[type];
    return found == count
               ? 0
               : BAD("table '%c': %llu rows counted, %llu found", type, ID(count), ID(found));
}

static int check_totals(struct checker *checker)
{
    const struct meta_row *meta = &checker->meta;
    int r = check_count(checker, ROW_CHUNK, meta->chunks);
    r = r < 0 ? r : check_count(checker, ROW_LEASE, meta->leases);
    r = r < 0 ? r : check_count(checker, ROW_SESSION, meta->sessions);
    r = r < 0 ? r : check_count(checker, ROW_SESSION_DUE, meta->sessions);
    r = r < 0 ? r : check_count(checker, ROW_FENCE, meta->fences);
    r = r < 0 ? r : check_count(checker, ROW_REMOVAL, meta->removal_queue);
    r = r < 0 ? r : check_count(checker, ROW_REWANT, meta->rewant_queue);
    r = r < 0 ? r : check_count(checker, ROW_SERVER_KEY, checker->counts[ROW_SERVER]);
    if (r == 0 && meta->era.floor == 0) { /* an era leaves some ids out */
        r = check_count(checker, ROW_SERVER, meta->next_server - 1);
    }
    if (r == 0 && !map_get_u64(&checker->inodes, NS_ROOT)) {
        r = BAD("there is no root");
    }
    return r;
}

static int check_collected(struct checker *checker)
{
    int r = check_totals(checker);
    MAP_FOR_EACH(it, &checker->inodes)
    {
        r = r < 0 ? r : add_up(checker, it.value);
    }
    MAP_FOR_EACH(it, &checker->inodes)
    {
        r = r < 0 ? r : check_inode(checker, it.value);
    }
    MAP_FOR_EACH(it, &checker->chunks)
    {
        r = r < 0 ? r : check_chunk(checker, it.value);
    }
    return r;
}

static int check_formatted(struct checker *checker)
{
    struct kv_range all = {.reverse = false};
    int r = kv_view_scan(checker->view, &all, first_pass, checker);
    if (r == 0) {
        r = kv_view_scan(checker->view, &all, second_pass, checker);
    }
    return r < 0 ? r : check_collected(checker);
}

int namespace_check(const struct kv_view *view, struct err *e)
{
    struct err local = ERR_INIT;
    struct checker checker = {.view = view, .e = &local};
    struct buf value = BUF_INIT;
    struct row_key key = row_key_table(ROW_META);
    arena_init(&checker.memory, 0);
    map_init(&checker.inodes, 0);
    map_init(&checker.chunks, 0);
    map_init(&checker.sessions, 0);
    int r = kv_view_get(view, row_key_span(&key), &value);
    if (r == 0) {
        r = meta_decode((struct span){value.data, value.length}, &checker.meta);
        r = r < 0 ? r : check_formatted(&checker);
    } else if (r == ERR_NOT_FOUND) {
        r = 0;
    }
    buf_deinit(&value);
    map_deinit(&checker.inodes);
    map_deinit(&checker.chunks);
    map_deinit(&checker.sessions);
    arena_deinit(&checker.memory);
    return r < 0 ? err_set(e, r, "%s", err_message(&local)) : 0;
}
