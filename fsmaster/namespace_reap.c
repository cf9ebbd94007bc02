/* What goes in the background, in steps of bounded size.
 *
 * Removal: a deleted subtree leaves the tree in one step; its top waits in a queue of inodes
 * (ROW_REMOVAL) and Reap takes it apart: files give back their chunks, directories inside it join
 * the queue themselves. A small file or an empty directory goes at once, without the queue.
 *
 * Replication: a file whose wanted copies have changed waits in ROW_REWANT.
 *
 * Both queues keep the file offset at which to go on. Extents follow each other without a gap, so
 * they are walked by point reads, which cost a tenth of a scan over a batch. */
#include <string.h>

#include "common/check.h"
#include "fsmaster/namespace_chunk.h"
#include "fsmaster/namespace_internal.h"
#include "fsmaster/namespace_xattr.h"

/* ---- Walking extents ------------------------------------------------------------------------- */

typedef int (*extent_fn)(struct namespace *ns, const struct ns_node *file, uint64_t offset,
                         chunk_id chunk);

/* Calls work for at most *budget extents from *offset on, which is where to go on then. ret_done:
 * there are no more. */
static int extents_walk(struct namespace *ns, const struct ns_node *file, uint64_t *offset,
                        uint32_t *budget, extent_fn work, bool *ret_done)
{
    bool done = false;
    int r = 0;
    while (r == 0 && !done && *budget > 0) {
        struct extent_row extent = {0, 0};
        struct row_key key = row_key_u64_pair(ROW_EXTENT, file->id, *offset);
        r = ns_get(ns, &key);
        if (r == ERR_NOT_FOUND) {
            *ret_done = true;
            return 0;
        }
        if (r == 0) {
            r = ns_decoded(ns, extent_decode(ns_value(ns), &extent));
        }
        if (r == 0) {
            r = work(ns, file, *offset, extent.chunk);
        }
        *offset += extent.length;
        done = extent.length == 0; /* not sealed, so it is the last */
        *budget -= 1;
    }
    *ret_done = done;
    return r;
}

/* ---- Removal --------------------------------------------------------------------------------- */

/* The row of an inode of which nothing else is left. */
static int inode_end(struct namespace *ns, struct ns_node *node)
{
    int r = ns_xattrs_remove(ns, node);
    ns_delete(ns, node);
    return r;
}

static void rewant_forget(struct namespace *ns, inode_id inode)
{
    struct row_key key = row_key_u64(ROW_REWANT, inode);
    ns_del(ns, &key);
    ns->meta.rewant_queue--;
    ns->meta_dirty = true;
}

static int rewant_forget_if_queued(struct namespace *ns, inode_id inode)
{
    struct row_key key = row_key_u64(ROW_REWANT, inode);
    int r = ns->meta.rewant_queue > 0 ? ns_get(ns, &key) : ERR_NOT_FOUND;
    if (r == 0) {
        rewant_forget(ns, inode);
    }
    return r == ERR_NOT_FOUND ? 0 : r;
}

static int release_extent(struct namespace *ns, const struct ns_node *file, uint64_t offset,
                          chunk_id chunk)
{
    struct row_key key = row_key_u64_pair(ROW_EXTENT, file->id, offset);
    ns_del(ns, &key);
    return ns_chunk_release(ns, chunk);
}

/* Gives back at most *budget chunks of a file that is out of the tree; the inode goes with the
 * last. */
static int remove_file(struct namespace *ns, struct ns_node *file, uint64_t *offset,
                       uint32_t *budget, bool *ret_done)
{
    int r = extents_walk(ns, file, offset, budget, release_extent, ret_done);
    if (r == 0 && *ret_done) {
        r = rewant_forget_if_queued(ns, file->id);
        r = r < 0 ? r : inode_end(ns, file);
    }
    return r;
}

static void queue_put(struct namespace *ns, enum row_type queue, inode_id inode, uint64_t offset)
{
    struct row_key key = row_key_u64(queue, inode);
    number_encode(offset, &ns->value);
    ns_put(ns, &key);
}

static void removal_enqueue(struct namespace *ns, struct ns_node *node, uint64_t offset)
{
    queue_put(ns, ROW_REMOVAL, node->id, offset);
    node->row.flags = INODE_UNLINKED;
    node->row.names_quota = QUOTA_NONE;
    node->row.space_quota = QUOTA_NONE;
    node->row.parent = 0;
    node->row.name[0] = 0;
    ns_touch(ns, node);
    ns->meta.removal_queue++;
    ns->meta_dirty = true;
    ns_effect(ns, EFFECT_REMOVAL_QUEUED)->inode = node->id;
}

int ns_remove(struct namespace *ns, struct ns_node *node)
{
    uint64_t offset = 0;
    uint32_t budget = NAMESPACE_INLINE_COUNT_MAX;
    bool done = false;
    int r = ns_lease_end(ns, node);
    if (r == 0 && node->row.kind == INODE_FILE) {
        r = remove_file(ns, node, &offset, &budget, &done);
    } else if (r == 0 && node->row.child_count == 0) {
        r = inode_end(ns, node);
        done = true;
    }
    if (r == 0 && !done) {
        removal_enqueue(ns, node, offset);
    }
    return r;
}

/* ---- Directories: a scan may not change the view, so entries are copied first ---------------- */

struct picked {
    char *name;
    inode_id inode;
};

struct picking {
    struct arena *arena;
    struct picked *rows;
    uint32_t count;
    uint32_t count_max;
};

static int pick_dirent(void *arg, struct span key, struct span value)
{
    struct picking *picking = arg;
    struct picked *row = &picking->rows[picking->count];
    struct dirent_row dirent;
    struct span name = {0};
    inode_id parent = 0;
    int r = row_key_read_dirent(key, &parent, &name);
    if (r == 0) {
        r = dirent_decode(value, &dirent);
    }
    if (r == 0) {
        row->name = arena_strndup(picking->arena, name.data, name.length);
        row->inode = dirent.inode;
        picking->count++;
    }
    return r < 0 ? r : picking->count == picking->count_max;
}

/* The first count_max entries of a directory. */
static int pick_dirents(struct namespace *ns, inode_id directory, uint32_t count_max,
                        struct picking *picking)
{
    struct row_key start = row_key_u64(ROW_DIRENT, directory);
    struct row_key end = row_key_u64(ROW_DIRENT, directory + 1);
    struct kv_range range = {row_key_span(&start), row_key_span(&end), false};
    CHECK(count_max > 0);
    *picking = (struct picking){.arena = ns->arena, .count_max = count_max};
    picking->rows = arena_alloc(ns->arena, count_max * sizeof(struct picked));
    int r = kv_view_scan(ns->view, &range, pick_dirent, picking);
    return r < 0 ? ns_broken(ns, r) : 0;
}

static int remove_entry(struct namespace *ns, inode_id directory, const struct picked *row)
{
    struct ns_node *child = NULL;
    struct row_key key = row_key_dirent(directory, (struct span){row->name, strlen(row->name)});
    ns_del(ns, &key);
    int r = ns_node_get_known(ns, row->inode, &child);
    return r < 0 ? r : ns_remove(ns, child);
}

static int remove_directory(struct namespace *ns, struct ns_node *directory, uint32_t *budget,
                            bool *ret_done)
{
    struct picking picking;
    uint32_t asked = *budget;
    int r = pick_dirents(ns, directory->id, asked, &picking);
    for (uint32_t i = 0; r == 0 && i < picking.count; i++) {
        r = remove_entry(ns, directory->id, &picking.rows[i]);
    }
    if (r == 0) {
        *budget -= picking.count;
        *ret_done = picking.count < asked;
        if (*ret_done) {
            r = inode_end(ns, directory);
        }
    }
    return r;
}

/* ---- Replication ----------------------------------------------------------------------------- */

static int rewant_extent(struct namespace *ns, const struct ns_node *file, uint64_t offset,
                         chunk_id id)
{
    struct chunk_record chunk;
    (void)offset;
    int r = ns_chunk_get(ns, id, &chunk);
    if (r < 0) {
        return r == ERR_NOT_FOUND ? ns_broken(ns, ERR_CORRUPT) : r;
    }
    if (chunk.wanted != file->row.replication) {
        chunk.wanted = file->row.replication;
        ns_chunk_put(ns, &chunk);
        struct effect *effect = ns_effect(ns, EFFECT_CHUNK_WANTED);
        effect->inode = file->id;
        effect->chunk = chunk.ref;
        effect->length = chunk.length;
        effect->wanted = chunk.wanted;
    }
    return 0;
}

int ns_rewant(struct namespace *ns, struct ns_node *file)
{
    uint64_t offset = 0;
    uint32_t budget = NAMESPACE_INLINE_COUNT_MAX;
    bool done = false;
    int r = rewant_forget_if_queued(ns, file->id);
    if (r == 0) {
        r = extents_walk(ns, file, &offset, &budget, rewant_extent, &done);
    }
    if (r == 0 && !done) {
        queue_put(ns, ROW_REWANT, file->id, offset);
        ns->meta.rewant_queue++;
        ns->meta_dirty = true;
        ns_effect(ns, EFFECT_REMOVAL_QUEUED)->inode = file->id;
    }
    return r;
}

/* ---- The step -------------------------------------------------------------------------------- */

static int first_id(void *arg, struct span key, struct span value)
{
    const uint8_t *bytes = key.data;
    (void)value;
    int r = key.length > 0 ? row_key_read_u64(key, bytes[0], arg) : ERR_CORRUPT;
    return r < 0 ? r : 1;
}

/* The first inode of a queue that is not empty, and the offset to go on from. Broken only. */
static int queue_take(struct namespace *ns, enum row_type queue, struct ns_node **ret_node,
                      uint64_t *ret_offset)
{
    inode_id inode = 0;
    struct row_key start = row_key_u64(queue, 0);
    struct row_key end = row_key_table(queue + 1);
    struct kv_range range = {row_key_span(&start), row_key_span(&end), false};
    int r = kv_view_scan(ns->view, &range, first_id, &inode);
    if (r < 0) {
        return ns_broken(ns, r);
    }
    struct row_key key = row_key_u64(queue, inode);
    r = ns_get_known(ns, &key);
    if (r == 0) {
        r = ns_decoded(ns, number_decode(ns_value(ns), ret_offset));
    }
    return r < 0 ? r : ns_node_get_known(ns, inode, ret_node);
}

/* Finding the end of something costs one of the budget as well, so that a step ends whatever it
 * finds. */
static void spend_one(uint32_t *budget)
{
    *budget -= *budget > 0;
}

static int remove_step(struct namespace *ns, uint32_t *budget)
{
    struct ns_node *node = NULL;
    uint64_t offset = 0;
    bool done = false;
    int r = queue_take(ns, ROW_REMOVAL, &node, &offset);
    if (r == 0) {
        r = node->row.kind == INODE_FILE ? remove_file(ns, node, &offset, budget, &done)
                                         : remove_directory(ns, node, budget, &done);
    }
    if (r < 0 || !done) {
        if (r == 0) {
            queue_put(ns, ROW_REMOVAL, node->id, offset);
        }
        return r;
    }
    struct row_key key = row_key_u64(ROW_REMOVAL, node->id);
    ns_del(ns, &key);
    ns->meta.removal_queue--;
    ns->meta_dirty = true;
    spend_one(budget);
    return 0;
}

static int rewant_step(struct namespace *ns, uint32_t *budget)
{
    struct ns_node *file = NULL;
    uint64_t offset = 0;
    bool done = false;
    int r = queue_take(ns, ROW_REWANT, &file, &offset);
    if (r == 0) {
        r = extents_walk(ns, file, &offset, budget, rewant_extent, &done);
    }
    if (r < 0) {
        return r;
    }
    if (done) {
        rewant_forget(ns, file->id);
        spend_one(budget);
    } else {
        queue_put(ns, ROW_REWANT, file->id, offset);
    }
    return 0;
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
