/* See store_file.h. */
#include "mapreduce/store_file.h"

#include <inttypes.h>

#include "common/check.h"
#include "common/macros.h"
#include "mapreduce/store_err.h"

enum { FILE_BYTES_MAX = 4 * 1024 * 1024 };

const struct dfs_conditions *store_fenced(struct store_conditions *c, uint64_t fence)
{
    c->items[0] =
        (struct dfs_condition){.kind = DFS_FENCE_IS, .name = MR_FENCE_NAME, .number = fence};
    c->list = (struct dfs_conditions){c->items, 1};
    return &c->list;
}

const struct dfs_conditions *store_and(struct store_conditions *c, struct dfs_condition other)
{
    CHECK(c->list.count < ARRAY_COUNT(c->items));
    c->items[c->list.count++] = other;
    return &c->list;
}

int store_is_at(struct dfs *dfs, const char *path, uint64_t inode, bool *ret, struct err *e)
{
    struct dfs_err de = {0};
    struct dfs_stat stat;
    int r = dfs_stat(dfs, path, &stat, &de);
    if (r < 0 && r != DFS_ENOT_FOUND && r != DFS_ENOT_DIR) {
        return err_from_dfs(e, &de, "%s", path);
    }
    *ret = r == 0 && stat.inode == inode;
    return 0;
}

static int too_large(const char *path, uint64_t length, struct err *e)
{
    return err_set(e, ERR_TOO_LARGE, "%s: %" PRIu64 " bytes", path, length);
}

int store_file_write(struct dfs *dfs, const char *path, struct span bytes, int flags,
                     const struct dfs_conditions *conditions, struct err *e)
{
    if (bytes.length > FILE_BYTES_MAX) {
        return too_large(path, bytes.length, e);
    }
    struct dfs_err de = {0};
    struct dfs_file *file = NULL;
    int r = dfs_create(dfs, NULL, NULL, &file, &de);
    if (r == 0 && bytes.length > 0) {
        r = dfs_write(file, bytes.data, bytes.length, &de);
    }
    if (r < 0) {
        dfs_abandon(file);
        return err_from_dfs(e, &de, "write %s", path);
    }
    r = dfs_close_link(file, path, flags, conditions, NULL, &de);
    return r < 0 ? err_from_dfs(e, &de, "write %s", path) : 0;
}

int store_file_read(struct dfs *dfs, const char *path, struct buf *out, struct err *e)
{
    struct dfs_err de = {0};
    struct dfs_file *file = NULL;
    uint64_t length = 0;
    int r = dfs_open(dfs, path, &file, &de);
    if (r == 0) {
        r = dfs_length(file, &length, &de);
    }
    if (r < 0) {
        (void)(file ? dfs_close(file, NULL) : 0);
        return err_from_dfs(e, &de, "read %s", path);
    }
    if (length > FILE_BYTES_MAX) {
        (void)dfs_close(file, NULL);
        return too_large(path, length, e);
    }
    buf_reserve(out, length);
    int64_t n = dfs_pread(file, out->data + out->length, length, 0, &de);
    if (n > 0) {
        out->length += (size_t)n;
        out->data[out->length] = '\0';
    }
    (void)dfs_close(file, NULL);
    if (n < 0) {
        return err_from_dfs(e, &de, "read %s", path);
    }
    return (uint64_t)n == length ? 0 : err_set(e, ERR_EOF, "%s: shorter than it says", path);
}
