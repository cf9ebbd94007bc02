/* What libdfs and the file master say to each other, as plain structs: fs_rpc.c alone knows the
 * generated types. Strings and arrays of replies live in the arena that the call was given. */
#ifndef CLIENT_FS_TYPES_H
#define CLIENT_FS_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <trireme/dfs_admin.h>
#include <trireme/dfs_cluster.h>
#include <trireme/dfs_xattr.h>

#include "common/err.h"
#include "common/ids.h"

/* proto Server. */
struct fs_server {
    server_id id;
    const char *host;
    const char *rack;
    const char *address;
    const char *local_socket;
};

enum fs_op_kind {
    FS_MKDIR,
    FS_CREATE,
    FS_ACQUIRE_LEASE,
    FS_ALLOCATE,
    FS_ABANDON_CHUNK,
    FS_CLOSE,
    FS_ABANDON,
    FS_RENAME,
    FS_DELETE,
    FS_SET_ATTRIBUTES,
    FS_RAISE_FENCE,
    FS_SET_QUOTA,
    FS_SET_XATTR,
};

enum { FS_XATTR_REMOVE = 3 };

/* One change; only what its kind needs is set. Everything borrowed for the call. */
struct fs_op {
    enum fs_op_kind kind;
    const struct dfs_conditions *conditions; /* NULL: none */
    const char *path;                        /* also a link's path, a fence's name; NULL: "" */
    const char *target;                      /* FS_RENAME; FS_CREATE: where it will be linked */
    bool replace, parents, recursive;
    uint32_t mode;
    uint32_t replication;
    uint64_t chunk_bytes;
    inode_id inode;
    uint64_t lease_epoch;
    struct chunk_ref chunk; /* id 0: absent; FS_ALLOCATE: the one before */
    uint64_t length;        /* of that chunk; FS_CREATE: about how long it will be */
    uint64_t offset;        /* FS_ALLOCATE */
    bool first_chunk;       /* FS_CREATE */
    const char *host;       /* FS_ALLOCATE, FS_CREATE with a first chunk: the writer's */
    const server_id *exclude;
    size_t exclude_count;
    const struct dfs_attributes *attributes; /* FS_SET_ATTRIBUTES */
    const struct dfs_quota *quota;           /* FS_SET_QUOTA */
    const struct dfs_xattr *xattr;           /* FS_SET_XATTR; the next one, too */
    int xattr_mode;                          /* enum dfs_xattr_mode, or FS_XATTR_REMOVE */
};

/* proto OperationResult. */
struct fs_result {
    inode_id inode;
    uint64_t lease_epoch;
    uint64_t fence_epoch;
    uint64_t length;
    uint64_t chunk_bytes;
    struct chunk_ref chunk;
    struct chunk_ref open_chunk;
    struct fs_server *replicas;
    size_t replica_count;
};

/* How one of several operations went. */
struct fs_outcome {
    struct fs_result result; /* unless it failed */
    struct err error;        /* code 0: it did not */
};

struct fs_entry {
    const char *name;
    struct dfs_stat stat;
};

struct fs_list {
    struct fs_entry *entries;
    size_t count;
    bool more;
};

struct fs_extent {
    uint64_t offset; /* in the file */
    uint64_t length; /* 0 while open */
    struct chunk_ref chunk;
    bool open;
    bool unheard;
    const struct fs_server **replicas;
    size_t replica_count;
};

struct fs_located {
    struct dfs_stat stat;
    struct fs_extent *extents;
    size_t count;
    bool more;
};

struct fs_recover {
    inode_id inode;
    uint64_t lease_epoch;
    struct chunk_ref chunk;
    uint64_t acked_length;
    const server_id *blamed;
    size_t blamed_count;
};

struct fs_lease {
    inode_id inode;
    uint64_t epoch;
};

#endif
