/* What goes in the background, in steps of bounded size.
 *
 * Removal: a deleted subtree leaves the tree in one step; its top waits in a queue of inodes
 * (ROW_REMOVAL) and Reap takes it apart: files give back their chunks, directories inside it join
 * the queue themselves. A small file or an empty directory goes at once, without the queue.
 *
 * Replication: a file whose wanted copies have changed waits in ROW_REWANT, with the offset up to
 * which its chunks know. */
#include <string.h>

#include "common/check.h"
#include "fsmaster/namespace_internal.h"

/* ---- Collecting rows: a scan may not change the view, so its rows are copied first --------------
 */

struct picked {
    uint64_t offset;          /* extent */
    struct extent_row extent; /* extent */
    char *name;               /* dirent: the name */
    struct dirent_row dirent; /* dirent */
};

struct picking {
    struct namespace *ns;
    struct picked *rows;
    uint32_t count;
    uint32_t count_max;
};

static int pick_extent(void *arg, struct span key, struct span value)
{
    struct picking *picking = arg;
    struct picked *row = &picking->rows[picking->count];
    inode_id inode = 0;
    int r = row_key_read_u64_pair(key, ROW_EXTENT, &inode, &row->offset);
    if (r == 0) {
        r = extent_decode(value, &row->extent);
    }
    if (r == 0) {
        picking->count++;
    }
    return r < 0 ? r : picking->count == picking->count_max;
}

static int pick_dirent(void *arg, struct span key, struct span value)
{
    struct picking *picking = arg;
    struct picked *row = &picking->rows[picking->count];
    struct span name = {0};
    inode_id parent = 0;
    int r = row_key_read_dirent(key, &parent, &name);
    if (r == 0) {
        r = dirent_decode(value, &row->dirent);
    }
    if (r == 0) {
        row->name = arena_strndup(picking->ns->arena, name.data, name.length);
        picking->count++;
    }
    return r < 0 ? r : picking->count == picking->count_max;
}

/* At most count_max rows from start on, below the end of inode's rows in that table. */
static int pick(struct namespace *ns, struct picking *picking, const struct row_key *start,
                const struct row_key *end, uint32_t count_max)
{
    bool extents = start->bytes[0] == ROW_EXTENT;
    struct kv_range range = {row_key_span(start), row_key_span(end), false};
    CHECK(count_max > 0);
    *picking = (struct picking){.ns = ns, .count_max = count_max};
    picking->rows = arena_alloc(ns->arena, count_max * sizeof(struct picked));
    int r = kv_view_scan(ns->view, &range, extents ? pick_extent : pick_dirent, picking);
    return r < 0 ? ns_broken(ns, r) : 0;
}

static uint32_t spend(uint32_t *budget, uint32_t count)
{
    uint32_t spent = count < *budget ? count : *budget;
    *budget -= spent;
    return spent;
}

/* ---- Removal
 * ------------------------------------------------------------------------------------- */

static int forget_rewant(struct namespace *ns, inode_id inode)
{
    struct row_key key = row_key_u64(ROW_REWANT, inode);
    int r = ns->meta.rewant_queue > 0 ? ns_get(ns, &key) : ERR_NOT_FOUND;
    if (r == 0) {
        ns_del(ns, &key);
        ns->meta.rewant_queue--;
        ns->meta_dirty = true;
    }
    return r == ERR_NOT_FOUND ? 0 : r;
}

/* Gives back at most *budget chunks of a file. ret_empty: none is left. */
static int release_extents(struct namespace *ns, const struct ns_node *file, uint32_t *budget,
                           bool *ret_empty)
{
    struct row_key start = row_key_u64_pair(ROW_EXTENT, file->id, 0);
    struct row_key end = row_key_u64(ROW_EXTENT, file->id + 1);
    struct picking picking;
    uint32_t asked = *budget;
    int r = pick(ns, &picking, &start, &end, asked);
    for (uint32_t i = 0; r == 0 && i < picking.count; i++) {
        struct row_key key = row_key_u64_pair(ROW_EXTENT, file->id, picking.rows[i].offset);
        ns_del(ns, &key);
        r = ns_chunk_release(ns, picking.rows[i].extent.chunk);
    }
    if (r == 0) {
        spend(budget, picking.count);
        *ret_empty = picking.count < asked;
    }
    return r;
}

/* Takes at most *budget rows off a file that is out of the tree, and the inode with the last. */
static int remove_file(struct namespace *ns, struct ns_node *file, uint32_t *budget, bool *ret_done)
{
    bool empty = false;
    int r = release_extents(ns, file, budget, &empty);
    if (r == 0 && empty) {
        r = forget_rewant(ns, file->id);
        file->deleted = true;
    }
    *ret_done = empty;
    return r;
}

static void enqueue(struct namespace *ns, struct ns_node *node)
{
    struct row_key key = row_key_u64(ROW_REMOVAL, node->id);
    mark_encode(&ns->value);
    ns_put(ns, &key);
    node->row.flags = INODE_UNLINKED;
    node->row.parent = 0;
    node->row.name[0] = 0;
    node->dirty = true;
    ns->meta.removal_queue++;
    ns->meta_dirty = true;
    ns_effect(ns, EFFECT_REMOVAL_QUEUED)->inode = node->id;
}

int ns_remove(struct namespace *ns, struct ns_node *node)
{
    uint32_t budget = NAMESPACE_INLINE_COUNT_MAX;
    bool done = false;
    int r = ns_lease_end(ns, node);
    if (r == 0 && node->row.kind == INODE_FILE) {
        r = remove_file(ns, node, &budget, &done);
    } else if (r == 0 && node->row.child_count == 0) {
        node->deleted = true;
        done = true;
    }
    if (r == 0 && !done) {
        enqueue(ns, node);
    }
    return r;
}

/* An entry of a directory that is being taken apart. */
static int remove_entry(struct namespace *ns, inode_id directory, const struct picked *row)
{
    struct ns_node *child = NULL;
    struct row_key key = row_key_dirent(directory, (struct span){row->name, strlen(row->name)});
    ns_del(ns, &key);
    int r = ns_node_get_known(ns, row->dirent.inode, &child);
    return r < 0 ? r : ns_remove(ns, child);
}

static int remove_directory(struct namespace *ns, struct ns_node *directory, uint32_t *budget,
                            bool *ret_done)
{
    struct row_key start = row_key_u64(ROW_DIRENT, directory->id);
    struct row_key end = row_key_u64(ROW_DIRENT, directory->id + 1);
    struct picking picking;
    uint32_t asked = *budget;
    int r = pick(ns, &picking, &start, &end, asked);
    for (uint32_t i = 0; r == 0 && i < picking.count; i++) {
        r = remove_entry(ns, directory->id, &picking.rows[i]);
    }
    if (r == 0) {
        spend(budget, picking.count);
        *ret_done = picking.count < asked;
        directory->deleted = *ret_done;
    }
    return r;
}

/* ---- Replication
 * ---------------------------------------------------------------------------------- */

/* Tells at most *budget chunks from *offset on; *offset is the next one's then. */
static int rewant_extents(struct namespace *ns, const struct ns_node *file, uint64_t *offset,
                          uint32_t *budget, bool *ret_done)
{
    struct row_key start = row_key_u64_pair(ROW_EXTENT, file->id, *offset);
    struct row_key end = row_key_u64(ROW_EXTENT, file->id + 1);
    struct picking picking;
    struct chunk_record chunk;
    uint32_t asked = *budget;
    int r = pick(ns, &picking, &start, &end, asked);
    for (uint32_t i = 0; r == 0 && i < picking.count; i++) {
        r = ns_chunk_get(ns, picking.rows[i].extent.chunk, &chunk);
        if (r < 0) {
            return r == ERR_NOT_FOUND ? ns_broken(ns, ERR_CORRUPT) : r;
        }
        *offset = picking.rows[i].offset + 1;
        if (chunk.wanted != file->row.replication) {
            chunk.wanted = file->row.replication;
            ns_chunk_put(ns, &chunk);
            struct effect *effect = ns_effect(ns, EFFECT_CHUNK_WANTED);
            effect->inode = file->id;
            effect->chunk = chunk.ref;
            effect->length = chunk.length;
            effect->wanted = chunk.wanted;
        }
    }
    if (r == 0) {
        spend(budget, picking.count);
        *ret_done = picking.count < asked;
    }
    return r;
}

static void rewant_put(struct namespace *ns, inode_id inode, uint64_t offset)
{
    struct row_key key = row_key_u64(ROW_REWANT, inode);
    number_encode(offset, &ns->value);
    ns_put(ns, &key);
}

int ns_rewant(struct namespace *ns, struct ns_node *file)
{
    uint64_t offset = 0;
    uint32_t budget = NAMESPACE_INLINE_COUNT_MAX;
    bool done = false;
    int r = forget_rewant(ns, file->id);
    if (r == 0) {
        r = rewant_extents(ns, file, &offset, &budget, &done);
    }
    if (r == 0 && !done) {
        rewant_put(ns, file->id, offset);
        ns->meta.rewant_queue++;
        ns->meta_dirty = true;
        ns_effect(ns, EFFECT_REMOVAL_QUEUED)->inode = file->id;
    }
    return r;
}

/* ---- The step
 * -------------------------------------------------------------------------------------- */

static int first_id(void *arg, struct span key, struct span value)
{
    const uint8_t *bytes = key.data;
    (void)value;
    int r = key.length > 0 ? row_key_read_u64(key, bytes[0], arg) : ERR_CORRUPT;
    return r < 0 ? r : 1;
}

/* The first inode of a queue; ERR_NOT_FOUND. */
static int queue_first(struct namespace *ns, enum row_type queue, inode_id *ret)
{
    struct row_key start = row_key_u64(queue, 0);
    struct row_key end = row_key_table(queue + 1);
    struct kv_range range = {row_key_span(&start), row_key_span(&end), false};
    int r = kv_view_scan(ns->view, &range, first_id, ret);
    if (r < 0) {
        return ns_broken(ns, r);
    }
    return r == 0 ? ERR_NOT_FOUND : 0;
}

static int remove_step(struct namespace *ns, uint32_t *budget)
{
    inode_id inode = 0;
    struct ns_node *node = NULL;
    bool done = false;
    int r = queue_first(ns, ROW_REMOVAL, &inode);
    if (r == 0) {
        r = ns_node_get_known(ns, inode, &node);
    }
    if (r < 0) {
        return r == ERR_NOT_FOUND ? ns_broken(ns, ERR_CORRUPT) : r;
    }
    r = node->row.kind == INODE_FILE ? remove_file(ns, node, budget, &done)
                                     : remove_directory(ns, node, budget, &done);
    if (r == 0 && done) {
        struct row_key key = row_key_u64(ROW_REMOVAL, inode);
        ns_del(ns, &key);
        ns->meta.removal_queue--;
        ns->meta_dirty = true;
        spend(budget, 1); /* the inode itself */
    }
    return r;
}

static int rewant_step(struct namespace *ns, uint32_t *budget)
{
    inode_id inode = 0;
    uint64_t offset = 0;
    struct ns_node *file = NULL;
    bool done = false;
    int r = queue_first(ns, ROW_REWANT, &inode);
    if (r == 0) {
        struct row_key key = row_key_u64(ROW_REWANT, inode);
        r = ns_get(ns, &key);
    }
    if (r == 0) {
        r = ns_decoded(ns, number_decode(ns_value(ns), &offset));
    }
    if (r == 0) {
        r = ns_node_get_known(ns, inode, &file);
    }
    if (r == 0) {
        r = rewant_extents(ns, file, &offset, budget, &done);
    }
    if (r < 0) {
        return r == ERR_NOT_FOUND ? ns_broken(ns, ERR_CORRUPT) : r;
    }
    if (!done) {
        rewant_put(ns, inode, offset);
        return 0;
    }
    spend(budget, 1);
    return forget_rewant(ns, inode);
}

int ns_apply_reap(struct namespace *ns, const struct cmd_reap *cmd, struct apply_result *result)
{
    uint32_t budget = cmd->count;
    int r = 0;
    if (budget == 0 || budget > NAMESPACE_REAP_COUNT_MAX) {
        return ERR_INVALID;
    }
    while (r == 0 && budget > 0 && ns->meta.rewant_queue > 0) {
        r = rewant_step(ns, &budget);
    }
    while (r == 0 && budget > 0 && ns->meta.removal_queue > 0) {
        r = remove_step(ns, &budget);
    }
    result->more = ns->meta.removal_queue + ns->meta.rewant_queue > 0;
    return r;
}
