/* The two kinds of open files behind struct dfs_file. One thread at a time. */
#ifndef CLIENT_FILE_H
#define CLIENT_FILE_H

#include "client/fs_types.h"
#include "client/internal.h"

struct file_write;
struct file_read;

struct dfs_file {
    struct dfs *dfs;
    struct file_write *writer; /* exactly one of the two */
    struct file_read *reader;
};

/* ---- file_write.c --------------------------------------------------------------------------- */

/* What Create or AcquireLease gave. */
struct file_write_start {
    inode_id inode;
    uint64_t lease_epoch;
    time_ms asked_ms; /* before it was sent (clock_boot_ms()) */
    uint64_t chunk_bytes;
    uint64_t length;               /* sealed so far */
    bool named;                    /* readers can open it while it is written */
    const struct fs_result *first; /* its chunk and replicas are the first chunk, copied; NULL or
                                      without a chunk: none is allocated yet */
};

/* Takes the loop. Never NULL. */
struct file_write *file_write_new(struct dfs *dfs, struct rpc_loop *loop,
                                  const struct file_write_start *start, const char *name);
int file_write_bytes(struct file_write *w, const void *data, size_t length,
                     struct err *e) MUST_CHECK;
int file_write_sync(struct file_write *w, struct err *e) MUST_CHECK;
/* Seals everything and closes it with `op`, an FS_CLOSE whose path and conditions are set. On an
 * error that is not ERR_UNKNOWN the file is abandoned. file_write_free() still has to come. */
int file_write_close(struct file_write *w, struct fs_op *op, inode_id *ret_inode,
                     struct err *e) MUST_CHECK;
void file_write_abandon(struct file_write *w); /* best effort; the lease runs out otherwise */
void file_write_free(struct file_write *w);

/* ---- file_read.c ---------------------------------------------------------------------------- */

int file_read_open(struct dfs *dfs, const char *path, struct file_read **ret,
                   struct err *e) MUST_CHECK;
void file_read_stat(const struct file_read *f, struct dfs_stat *ret);
int file_read_length(struct file_read *f, uint64_t *ret, struct err *e) MUST_CHECK;
int64_t file_read_bytes(struct file_read *f, void *data, size_t length, uint64_t offset,
                        struct err *e) MUST_CHECK;
int file_read_checksum(struct file_read *f, uint64_t offset, uint64_t length, uint32_t *ret,
                       struct err *e) MUST_CHECK;
void file_read_stats(const struct file_read *f, struct dfs_read_stats *ret);
void file_read_free(struct file_read *f);

#endif
