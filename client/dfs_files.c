/* The file calls of dfs.h. */
#include <stdlib.h>
#include <string.h>

#include "client/chunk_rpc.h"
#include "client/file.h"
#include "client/fs_rpc.h"
#include "client/names.h"
#include "common/alloc.h"

/* ---- Opening -------------------------------------------------------------------------------- */

static struct dfs_file *file_new(struct dfs *dfs)
{
    struct dfs_file *file = xcalloc(1, sizeof(*file));
    file->dfs = dfs;
    return file;
}

static int check_start(const struct file_write_start *start, struct err *e)
{
    if (start->inode == 0 || start->chunk_bytes < CHUNK_BYTES_MIN ||
        start->chunk_bytes > CHUNK_BYTES_MAX || start->chunk_bytes % CHUNK_BLOCK_BYTES != 0) {
        return err_set(e, ERR_CORRUPT, "the file master gave a file of %llu bytes a chunk",
                       (unsigned long long)start->chunk_bytes);
    }
    return 0;
}

static int create(struct dfs *dfs, const struct fs_op *op, const char *name, struct dfs_file **ret,
                  struct err *e)
{
    struct call c;
    struct fs_result result;
    call_begin(&c, dfs);
    struct file_write_start start = {
        .asked_ms = clock_boot_ms(), .named = op->path != NULL, .first = &result};
    int r = fs_mutate(&c, op, &result, e);
    if (r == 0) {
        start.inode = result.inode;
        start.lease_epoch = result.lease_epoch;
        start.chunk_bytes = result.chunk_bytes;
        r = check_start(&start, e);
    }
    if (r == 0 && op->length > 0 && result.replica_count > 0) {
        chunk_connect(dfs, result.replicas[0].address); /* bytes will come */
    }
    if (r == 0) {
        *ret = file_new(dfs);
        (*ret)->writer = file_write_new(dfs, c.loop, &start, name);
        call_end_on(&c); /* the loop is the file's now */
    } else {
        call_end(&c);
    }
    return r;
}

int dfs_create(struct dfs *dfs, const char *path, const struct dfs_create_options *options,
               struct dfs_file **ret, struct dfs_err *ret_e)
{
    static const struct dfs_create_options none;
    const struct dfs_create_options *o = options ? options : &none;
    struct err e = ERR_INIT;
    struct buf name = BUF_INIT, link = BUF_INIT;
    struct fs_op op = {.kind = FS_CREATE,
                       .mode = o->mode,
                       .replication = o->replication,
                       .chunk_bytes = o->chunk_bytes,
                       .replace = o->flags & DFS_REPLACE,
                       .parents = o->flags & DFS_PARENTS,
                       .first_chunk = true,
                       .host = dfs->host,
                       .length = o->link_bytes};
    int r = path ? names_resolve(dfs, path, &name, &e) : 0;
    if (r == 0 && o->link_path) {
        r = names_resolve(dfs, o->link_path, &link, &e);
    }
    if (r == 0) {
        op.path = path ? name.data : NULL;
        op.target = o->link_path ? link.data : NULL;
        const char *name_told = path ? path : o->link_path; /* NULL: by no name at all */
        r = create(dfs, &op, name_told ? name_told : "unnamed file", ret, &e);
    }
    buf_deinit(&name);
    buf_deinit(&link);
    return dfs_finish(ret_e, r, &e);
}

/* Two changes in one message. */
static int change_both(struct call *c, struct fs_op ops[2], struct fs_outcome outcomes[2],
                       struct err *e)
{
    int r = names_place(c, &ops[0], e);
    if (r == 0) {
        r = names_place(c, &ops[1], e);
    }
    return r < 0 ? r : fs_mutate_all(c, ops, 2, outcomes, e);
}

/* The time is set if there is something, a file is made if there is nothing; one of both fails.
 * What was made is then closed, and gets its time. */
static int touch(struct call *c, const char *path, const struct dfs_attributes *attributes,
                 struct err *e)
{
    struct fs_outcome outcomes[2];
    struct fs_op set = {.kind = FS_SET_ATTRIBUTES, .path = path, .attributes = attributes};
    struct fs_op create = {.kind = FS_CREATE, .path = path};
    int r = change_both(c, (struct fs_op[]){set, create}, outcomes, e);
    if (r == 0 && outcomes[1].error.code < 0) {
        int code = outcomes[0].error.code;
        *e = outcomes[code == ERR_NOT_FOUND || code == ERR_NOT_DIR ? 1 : 0].error;
        return e->code;
    }
    if (r == 0) {
        struct fs_op close = {.kind = FS_CLOSE,
                              .inode = outcomes[1].result.inode,
                              .lease_epoch = outcomes[1].result.lease_epoch};
        r = change_both(c, (struct fs_op[]){close, set}, outcomes, e);
    }
    if (r == 0) {
        *e = outcomes[outcomes[0].error.code < 0 ? 0 : 1].error;
        r = e->code;
    }
    return r;
}

int dfs_touch(struct dfs *dfs, const char *path, uint64_t mtime_ms, struct dfs_err *ret_e)
{
    struct dfs_attributes attributes = {.set_mtime = true, .mtime_ms = mtime_ms};
    struct err e = ERR_INIT;
    struct call c;
    call_begin(&c, dfs);
    int r = touch(&c, path ? path : "", &attributes, &e);
    call_end(&c);
    return dfs_finish(ret_e, r, &e);
}

/* A chunk that the writer before left open is sealed first. */
static int recover_open(struct dfs *dfs, const struct fs_result *got, uint64_t *length,
                        struct err *e)
{
    struct call c;
    struct fs_recover what = {
        .inode = got->inode, .lease_epoch = got->lease_epoch, .chunk = got->open_chunk};
    uint64_t sealed = 0;
    int r;
    call_begin(&c, dfs);
    for (;;) {
        r = fs_recover_chunk(&c, &what, &sealed, e);
        if ((r != ERR_NO_REPLICA && r != ERR_BUSY) || !call_pause(&c, call_jitter(&c, 300))) {
            break;
        }
        call_waits(&c, e ? err_message(e) : "a seal");
    }
    call_end(&c);
    if (r == 0 && sealed > got->chunk_bytes) {
        r = err_set(e, ERR_CORRUPT, "a chunk was sealed beyond its size");
    }
    *length += sealed;
    return r;
}

int dfs_append(struct dfs *dfs, const char *path, struct dfs_file **ret, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct fs_result got;
    struct fs_op op = {.kind = FS_ACQUIRE_LEASE, .path = path ? path : ""};
    time_ms asked_ms = clock_boot_ms();
    int r = names_change(dfs, &op, &got, ret_e);
    if (r < 0) {
        return r;
    }
    struct file_write_start start = {.inode = got.inode,
                                     .lease_epoch = got.lease_epoch,
                                     .asked_ms = asked_ms,
                                     .chunk_bytes = got.chunk_bytes,
                                     .length = got.length,
                                     .named = true};
    r = check_start(&start, &e);
    if (r == 0 && got.open_chunk.id != 0) {
        r = recover_open(dfs, &got, &start.length, &e);
    }
    if (r < 0) {
        return dfs_fail(ret_e, r, &e);
    }
    struct dfs_file *file = file_new(dfs);
    file->writer = file_write_new(dfs, dfs_loop_borrow(dfs), &start, path);
    *ret = file;
    return 0;
}

int dfs_open(struct dfs *dfs, const char *path, struct dfs_file **ret, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct buf name = BUF_INIT;
    struct file_read *reader = NULL;
    int r = names_resolve(dfs, path, &name, &e);
    if (r == 0) {
        r = file_read_open(dfs, name.data, &reader, &e);
    }
    buf_deinit(&name);
    if (r < 0) {
        return dfs_fail(ret_e, r, &e);
    }
    *ret = file_new(dfs);
    (*ret)->reader = reader;
    return 0;
}

/* ---- Writing -------------------------------------------------------------------------------- */

static int need_writer(const struct dfs_file *file, struct err *e)
{
    return file->writer ? 0 : err_set(e, ERR_INVALID, "the file is open for reading");
}

int dfs_write(struct dfs_file *file, const void *data, size_t length, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    int r = need_writer(file, &e);
    if (r == 0) {
        r = file_write_bytes(file->writer, data, length, &e);
    }
    return dfs_finish(ret_e, r, &e);
}

int dfs_sync(struct dfs_file *file, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    int r = need_writer(file, &e);
    if (r == 0) {
        r = file_write_sync(file->writer, &e);
    }
    return dfs_finish(ret_e, r, &e);
}

static void file_free(struct dfs_file *file)
{
    if (file->writer) {
        file_write_free(file->writer);
    }
    file_read_free(file->reader);
    free(file);
}

int dfs_close(struct dfs_file *file, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct fs_op op = {.path = NULL};
    int r = file->writer ? file_write_close(file->writer, &op, NULL, &e) : 0;
    file_free(file);
    return dfs_finish(ret_e, r, &e);
}

int dfs_close_link(struct dfs_file *file, const char *path, int flags,
                   const struct dfs_conditions *conditions, uint64_t *ret_inode,
                   struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct call c = {.dfs = file->dfs};
    struct buf name = BUF_INIT;
    int r = need_writer(file, &e);
    if (r == 0) {
        r = names_resolve(file->dfs, path, &name, &e);
    }
    if (r == 0) {
        struct fs_op op = {.path = name.data,
                           .replace = flags & DFS_REPLACE,
                           .parents = flags & DFS_PARENTS,
                           .conditions = names_conditions(&c, conditions)};
        r = file_write_close(file->writer, &op, ret_inode, &e);
    } else if (file->writer) {
        file_write_abandon(file->writer);
    }
    arena_deinit(&c.arena);
    buf_deinit(&name);
    file_free(file);
    return dfs_finish(ret_e, r, &e);
}

void dfs_abandon(struct dfs_file *file)
{
    if (!file) {
        return;
    }
    if (file->writer) {
        file_write_abandon(file->writer);
    }
    file_free(file);
}

/* ---- Reading -------------------------------------------------------------------------------- */

static int need_reader(const struct dfs_file *file, struct err *e)
{
    return file->reader ? 0 : err_set(e, ERR_INVALID, "the file is open for writing");
}

int dfs_fstat(struct dfs_file *file, struct dfs_stat *ret, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    int r = need_reader(file, &e);
    if (r == 0) {
        file_read_stat(file->reader, ret);
    }
    return dfs_finish(ret_e, r, &e);
}

int dfs_length(struct dfs_file *file, uint64_t *ret, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    int r = need_reader(file, &e);
    if (r == 0) {
        r = file_read_length(file->reader, ret, &e);
    }
    return dfs_finish(ret_e, r, &e);
}

int64_t dfs_pread(struct dfs_file *file, void *data, size_t length, uint64_t offset,
                  struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    int64_t r = need_reader(file, &e);
    if (r == 0) {
        r = file_read_bytes(file->reader, data, length, offset, &e);
    }
    return r < 0 ? dfs_fail(ret_e, (int)r, &e) : r;
}

int dfs_checksum(struct dfs_file *file, uint64_t offset, uint64_t length, uint32_t *ret_crc32c,
                 struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    int r = need_reader(file, &e);
    if (r == 0) {
        r = file_read_checksum(file->reader, offset, length, ret_crc32c, &e);
    }
    return dfs_finish(ret_e, r, &e);
}

void dfs_read_stats(const struct dfs_file *file, struct dfs_read_stats *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (file->reader) {
        file_read_stats(file->reader, ret);
    }
}
