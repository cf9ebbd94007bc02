/* Extended attributes: named values that users hang on files and directories.
 *
 * Each is a row of its own, so that nothing else ever reads or writes them: a stat, a counter that
 * changes, a rename cost what they did. The inode knows how many there are; most have none, and
 * nobody looks for any then. They are few and small (XATTR_COUNT_MAX, XATTR_VALUE_BYTES_MAX), so
 * they go in the same step as their inode.
 *
 * Only "user." names: what those of a system would mean, nothing here gives them. */
#include "fsmaster/namespace_xattr.h"

#include <string.h>

#include "common/path.h"

static const char prefix[] = "user.";
enum { PREFIX_BYTES = sizeof(prefix) - 1 };

/* ---- Changes --------------------------------------------------------------------------------- */

static int check_set(struct namespace *ns, const struct op_set_xattr *op)
{
    size_t length = strlen(op->name);
    if (op->mode > XATTR_REMOVE) {
        return err_set(&ns->err, ERR_UNSUPPORTED, "unknown way to set an extended attribute");
    }
    if (length <= PREFIX_BYTES || strncmp(op->name, prefix, PREFIX_BYTES) != 0 ||
        path_check_name(op->name, length, NULL) < 0) {
        return err_set(&ns->err, ERR_INVALID,
                       "names of extended attributes begin with \"%s\", have at most %d bytes, no "
                       "slash and no control characters",
                       prefix, LIMIT_NAME_BYTES_MAX);
    }
    if (op->value.length > XATTR_VALUE_BYTES_MAX) {
        return err_set(&ns->err, ERR_TOO_LARGE, "%s: %zu bytes, at most %d", op->name,
                       op->value.length, XATTR_VALUE_BYTES_MAX);
    }
    return 0;
}

/* In a sticky directory, which all may write, it is its owner's affair. */
static int check_rights(struct namespace *ns, const struct op_set_xattr *op,
                        const struct ns_node *node)
{
    if ((node->row.mode & NS_MODE_STICKY) && !ns_is_owner(ns, node)) {
        return err_set(&ns->err, ERR_PERMISSION, "%s: permission denied: owned by %s", op->path,
                       node->row.owner);
    }
    return ns_need(ns, node, NS_WRITE, op->path);
}

/* Does the mode fit with whether it is there? */
static int check_mode(struct namespace *ns, const struct op_set_xattr *op,
                      const struct ns_node *node, bool exists)
{
    if (!exists && (op->mode == XATTR_REPLACE || op->mode == XATTR_REMOVE)) {
        return err_set(&ns->err, ERR_NO_XATTR, "%s: no extended attribute %s", op->path, op->name);
    }
    if (exists && op->mode == XATTR_CREATE) {
        return err_set(&ns->err, ERR_EXISTS, "%s: extended attribute %s exists", op->path,
                       op->name);
    }
    if (!exists && node->row.xattr_count >= XATTR_COUNT_MAX) {
        return err_set(&ns->err, ERR_TOO_LARGE, "%s: more than %d extended attributes", op->path,
                       XATTR_COUNT_MAX);
    }
    return 0;
}

int ns_apply_set_xattr(struct namespace *ns, const struct op_set_xattr *op,
                       struct op_result *result)
{
    struct ns_walk walk;
    int r = ns_walk_existing(ns, op->path, &walk);
    r = r < 0 ? r : check_set(ns, op);
    r = r < 0 ? r : check_rights(ns, op, walk.node);
    if (r < 0) {
        return r;
    }
    struct ns_node *node = walk.node;
    struct row_key key = row_key_xattr(node->id, (struct span){op->name, strlen(op->name)});
    r = node->row.xattr_count > 0 ? ns_get(ns, &key) : ERR_NOT_FOUND;
    if (ns->broken) {
        return ns->broken;
    }
    bool exists = r == 0;
    r = check_mode(ns, op, node, exists);
    if (r < 0) {
        return r;
    }
    if (op->mode == XATTR_REMOVE) {
        ns_del(ns, &key);
        node->row.xattr_count--;
    } else {
        xattr_encode(op->value, &ns->value);
        ns_put(ns, &key);
        node->row.xattr_count += !exists;
    }
    ns_touch(ns, node);
    result->inode = node->id;
    return 0;
}

/* ---- The end of their inode ------------------------------------------------------------------ */

/* A scan may not change the view, so keys are copied first. */
struct picking {
    struct row_key keys[XATTR_COUNT_MAX];
    uint32_t count;
};

static int pick(void *arg, struct span key, struct span value)
{
    struct picking *picking = arg;
    (void)value;
    if (picking->count == XATTR_COUNT_MAX || key.length > sizeof(picking->keys[0].bytes)) {
        return ERR_CORRUPT;
    }
    struct row_key *to = &picking->keys[picking->count++];
    memcpy(to->bytes, key.data, key.length);
    to->length = key.length;
    return 0;
}

static struct kv_range rows_of(inode_id inode, struct row_key *start, struct row_key *end)
{
    *start = row_key_u64(ROW_XATTR, inode);
    *end = row_key_u64(ROW_XATTR, inode + 1);
    return (struct kv_range){row_key_span(start), row_key_span(end), false};
}

int ns_xattrs_remove(struct namespace *ns, struct ns_node *node)
{
    struct row_key start;
    struct row_key end;
    if (node->row.xattr_count == 0) {
        return 0;
    }
    struct picking *picking = arena_alloc(ns->arena, sizeof(*picking));
    picking->count = 0;
    struct kv_range range = rows_of(node->id, &start, &end);
    int r = kv_view_scan(ns->view, &range, pick, picking);
    if (r < 0) {
        return ns_broken(ns, r);
    }
    for (uint32_t i = 0; i < picking->count; i++) {
        ns_del(ns, &picking->keys[i]);
    }
    node->row.xattr_count = 0;
    return 0;
}

/* ---- Reads ----------------------------------------------------------------------------------- */

struct listing {
    struct arena *arena;
    struct xattr *items;
    uint32_t count;
};

static int list_visit(void *arg, struct span key, struct span value)
{
    struct listing *listing = arg;
    struct span name = {0};
    struct span bytes = {0};
    inode_id inode = 0;
    int r = listing->count == XATTR_COUNT_MAX ? ERR_CORRUPT : 0;
    r = r < 0 ? r : row_key_read_xattr(key, &inode, &name);
    r = r < 0 ? r : xattr_decode(value, &bytes);
    if (r < 0) {
        return r;
    }
    struct xattr *item = &listing->items[listing->count++];
    item->name = arena_strndup(listing->arena, name.data, name.length);
    item->value = (struct span){arena_copy(listing->arena, bytes.data, bytes.length), bytes.length};
    return 0;
}

static int list(struct namespace *ns, const struct target *target, struct xattrs *ret)
{
    struct ns_node *node = NULL;
    struct listing listing = {.arena = ns->arena};
    struct row_key start;
    struct row_key end;
    int r = ns_find(ns, target, &node);
    if (r == 0 && !ns_permits(ns, node, NS_READ)) {
        r = ERR_PERMISSION;
    }
    if (r == 0 && node->row.xattr_count > 0) {
        listing.items = arena_alloc(ns->arena, XATTR_COUNT_MAX * sizeof(struct xattr));
        struct kv_range range = rows_of(node->id, &start, &end);
        r = kv_view_scan(ns->view, &range, list_visit, &listing);
        r = r < 0 ? ns_broken(ns, r) : 0;
    }
    *ret = (struct xattrs){listing.items, listing.count};
    return r;
}

int namespace_xattrs(const struct kv_view *view, const struct caller *caller,
                     const struct target *target, struct arena *arena, struct xattrs *ret)
{
    struct namespace ns;
    ns_init(&ns, view, caller, arena);
    int r = list(&ns, target, ret);
    ns_deinit(&ns);
    return r;
}
