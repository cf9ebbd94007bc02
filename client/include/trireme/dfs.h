/* libdfs: the programming interface of the Trireme store. This header is the manual.
 *
 * One `struct dfs` is a connection to one cluster; it may be used by any number of threads at once.
 * One `struct dfs_file` may be used by one thread at a time. All calls block; those that change
 * something retry by themselves, with the same sequence number, so that a retry never runs twice,
 * for at most `timeout_ms` of the connection (2 minutes unless set).
 *
 * Errors. Functions return 0 (or a count) or a negative DFS_E* number, and fill `struct dfs_err` if
 * one is given. Every error is definite (nothing happened) unless `unknown` is set: then the
 * operation may or may not have happened, which only a time-out of something already sent can
 * cause.
 *
 * Paths. Absolute, or relative to /user/<name>; "." and ".." and repeated slashes are resolved
 * here. UTF-8, at most 4096 bytes, components at most 255.
 *
 * Promises (docs/consistency.md): namespace operations are linearizable and exactly once; a reader
 * after close sees every byte; a reader of an open file sees a prefix of the acknowledged bytes and
 * never less than before; a wrong byte is never returned, every 64 KiB block is verified against
 * its CRC32C here in the client. */
#ifndef TRIREME_DFS_H
#define TRIREME_DFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DFS_EXPORT __attribute__((visibility("default")))

/* Errors. The values equal the ERR_* of common/err.h; their names travel, their numbers do not. */
enum dfs_error {
    DFS_EINVALID = -1,
    DFS_ENOT_FOUND = -2,
    DFS_EEXISTS = -3,
    DFS_ENOT_DIR = -4,
    DFS_EIS_DIR = -5,
    DFS_ENOT_EMPTY = -6,
    DFS_ECYCLE = -7,
    DFS_EPERMISSION = -8,
    DFS_EBUSY = -9,
    DFS_ENO_SPACE = -10,
    DFS_EIO = -11,
    DFS_ECORRUPT = -12,
    DFS_ETOO_LARGE = -13,
    DFS_ETIMEOUT = -14,
    DFS_EUNAVAILABLE = -15,
    DFS_EUNKNOWN = -16,
    DFS_ELEASE = -19,
    DFS_ESTALE = -20,
    DFS_EFENCED = -21,
    DFS_EPRECONDITION = -22,
    DFS_ENO_REPLICA = -23,
    DFS_EFEW_SERVERS = -24,
    DFS_EVERSION = -25,
    DFS_EQUOTA = -35,
    DFS_ENO_XATTR = -36,
};

struct dfs_err {
    int code;      /* DFS_E* */
    bool unknown;  /* the operation may have happened */
    char msg[512]; /* for a human: names the thing and the cause */
};

DFS_EXPORT const char *dfs_error_text(int code); /* "no such file or directory"; static memory */

/* ---- Connection ------------------------------------------------------------------------------ */

struct dfs;

struct dfs_options {
    const char *masters; /* "host:port[,host:port...]"; NULL: $DFS_MASTER */
    const char *user;    /* NULL: the login name, or with TLS whom the certificate names; another
                            name there is for the superuser alone, and ignored from others */
    const char *
        host; /* this machine's host label, for nearness; NULL: $TRIREME_HOST, else the host name */
    const char *rack;    /* NULL: $TRIREME_RACK, else "default" */
    uint32_t timeout_ms; /* 0: 120000; how long a call retries before it gives up */
    const char *tls_ca;  /* all three or none: PEM files of the cluster's CA and the user's
                            certificate and key */
    const char *tls_cert;
    const char *tls_key;
    uint32_t staleness_ms; /* 0: reads of names see every change that was acknowledged before. Else
                              they may miss what is younger than this, never what this connection
                              has seen or done itself, and any file master answers them */
    bool no_local_reads;   /* read every byte through the chunkserver (measurement, tests) */
    void (*waiting)(void *arg, const char *what); /* told once a second why a call waits: "2
                                                     chunkservers needed, 1 live" */
    void *waiting_arg;
    const char *masters_where; /* who named `masters`, for errors: "--master", "my.conf:3"; NULL:
                                  not told */
};

/* Does not wait for the cluster: the first call does. options may be NULL. Caller closes with
 * dfs_disconnect(). */
DFS_EXPORT int dfs_connect(const struct dfs_options *options, struct dfs **ret, struct dfs_err *e);
DFS_EXPORT void dfs_disconnect(struct dfs *dfs); /* accepts NULL; all files must be closed */
DFS_EXPORT const char *dfs_user(const struct dfs *dfs);

/* Makes `path` absolute and normal. Caller frees *ret with free(). */
DFS_EXPORT int dfs_resolve_path(struct dfs *dfs, const char *path, char **ret, struct dfs_err *e);

/* ---- Names ----------------------------------------------------------------------------------- */

/* Conditions that must hold at the moment a change is applied, else DFS_EPRECONDITION and nothing
 * changes. */
struct dfs_condition {
    enum { DFS_PATH_ABSENT = 1, DFS_PATH_IS, DFS_FENCE_IS } kind;
    const char *name; /* path, or the fence's name */
    uint64_t number;  /* PATH_IS: inode; FENCE_IS: epoch */
};
struct dfs_conditions {
    const struct dfs_condition *items;
    size_t count;
};

struct dfs_stat {
    uint64_t inode;
    bool directory;
    bool open;     /* a writer has it: more may come */
    uint32_t mode; /* permission bits */
    char owner[256];
    char group[256];
    uint64_t mtime_ms;    /* wall clock */
    uint64_t length;      /* of a file: its sealed bytes */
    uint32_t replication; /* wanted copies */
    uint64_t chunk_bytes;
    uint64_t child_count; /* of a directory; then totals of everything below it */
    uint64_t subtree_files;
    uint64_t subtree_directories;
    uint64_t subtree_bytes;
    uint64_t subtree_replica_bytes;
    uint32_t xattr_count; /* see dfs_xattr.h */
    uint64_t names_quota; /* DFS_NO_QUOTA: none, as the next one; see dfs_admin.h */
    uint64_t space_quota;
    uint64_t reserved_bytes; /* promised to open chunks below a quota: counts as space */
};
#define DFS_NO_QUOTA UINT64_MAX

DFS_EXPORT int dfs_stat(struct dfs *dfs, const char *path, struct dfs_stat *ret, struct dfs_err *e);

enum { DFS_READ = 4, DFS_WRITE = 2, DFS_EXECUTE = 1 };
/* 0 if this user may do all that with the path, by its mode; DFS_EPERMISSION if not. */
DFS_EXPORT int dfs_access(struct dfs *dfs, const char *path, unsigned what, struct dfs_err *e);

enum { DFS_PARENTS = 1, DFS_REPLACE = 2, DFS_RECURSIVE = 4 }; /* flags of the calls below */

/* DFS_PARENTS: make missing parents and accept an existing directory. mode 0: 0755. */
DFS_EXPORT int dfs_mkdir(struct dfs *dfs, const char *path, uint32_t mode, int flags,
                         const struct dfs_conditions *conditions, struct dfs_err *e);
/* Atomic. DFS_REPLACE: over a file by a file, over an empty directory by a directory. */
DFS_EXPORT int dfs_rename(struct dfs *dfs, const char *source, const char *target, int flags,
                          const struct dfs_conditions *conditions, struct dfs_err *e);
/* DFS_RECURSIVE for directories with entries. Answers in O(1); space comes back in the background.
 */
DFS_EXPORT int dfs_delete(struct dfs *dfs, const char *path, int flags,
                          const struct dfs_conditions *conditions, struct dfs_err *e);

struct dfs_attributes {
    bool set_mode, set_owner, set_group, set_mtime, set_replication;
    uint32_t mode;
    const char *owner;
    const char *group;
    uint64_t mtime_ms;
    uint32_t replication;
};
DFS_EXPORT int dfs_set_attributes(struct dfs *dfs, const char *path,
                                  const struct dfs_attributes *attributes, struct dfs_err *e);

/* Sets the time of the last change; what is not there becomes an empty file. */
DFS_EXPORT int dfs_touch(struct dfs *dfs, const char *path, uint64_t mtime_ms, struct dfs_err *e);

/* Raises the named fence: whoever held it before is refused by DFS_FENCE_IS from now on. */
DFS_EXPORT int dfs_raise_fence(struct dfs *dfs, const char *name, uint64_t *ret_epoch,
                               struct dfs_err *e);

/* A directory's entries in byte order of their names, read in pages as needed. */
struct dfs_dir;
DFS_EXPORT int dfs_dir_open(struct dfs *dfs, const char *path, struct dfs_dir **ret,
                            struct dfs_err *e);
/* 1 and the next entry, 0 at the end, or an error. *ret_name is valid until the next call. */
DFS_EXPORT int dfs_dir_next(struct dfs_dir *dir, const char **ret_name, struct dfs_stat *ret_stat,
                            struct dfs_err *e);
DFS_EXPORT void dfs_dir_close(struct dfs_dir *dir);

/* ---- Where bytes are ------------------------------------------------------------------------- */

struct dfs_replica {
    uint64_t server;
    const char *host;
    const char *rack;
    const char *address;
};
struct dfs_extent {
    uint64_t offset; /* in the file */
    uint64_t length;
    uint64_t chunk;
    uint64_t version;
    bool open;
    bool unheard; /* the master has just started and has not heard of its replicas yet */
    struct dfs_replica *replicas;
    size_t replica_count;
};
struct dfs_extents {
    struct dfs_extent *items;
    size_t count;
};
/* All extents of a range (length 0: to the end). Release with dfs_extents_free(). */
DFS_EXPORT int dfs_locate(struct dfs *dfs, const char *path, uint64_t offset, uint64_t length,
                          struct dfs_extents *ret, struct dfs_err *e);
DFS_EXPORT void dfs_extents_free(struct dfs_extents *extents);

/* ---- Writing --------------------------------------------------------------------------------- */

struct dfs_file;

struct dfs_create_options {
    uint32_t mode;         /* 0: 0644 */
    uint32_t replication;  /* 0: the cluster's default */
    uint64_t chunk_bytes;  /* 0: 64 MiB */
    int flags;             /* DFS_REPLACE, DFS_PARENTS */
    const char *link_path; /* of an unnamed file: where dfs_close_link() will put it, if that is
                              known, and about how long it will be: refused with DFS_EQUOTA now
                              rather than then */
    uint64_t link_bytes;
};

/* A new file under a writer's lease, which is renewed in the background. path NULL: unnamed, nobody
 * sees it until dfs_close_link(); abandoned if never linked. options may be NULL. */
DFS_EXPORT int dfs_create(struct dfs *dfs, const char *path,
                          const struct dfs_create_options *options, struct dfs_file **ret,
                          struct dfs_err *e);
/* Goes on at the end of an existing file. DFS_ELEASE while another client writes it. */
DFS_EXPORT int dfs_append(struct dfs *dfs, const char *path, struct dfs_file **ret,
                          struct dfs_err *e);

/* Takes all `length` bytes or fails. Returns before they are acknowledged: dfs_sync() and
 * dfs_close() wait. A lost replica is dealt with inside (the chunk is sealed, writing goes on in
 * the next); an error here is final for this file. Of a file that has a name, readers see what was
 * written a moment after the writer pauses; should a replica be lost in the pause, after the next
 * call, which may be a write of 0 bytes. */
DFS_EXPORT int dfs_write(struct dfs_file *file, const void *data, size_t length, struct dfs_err *e);
/* All bytes so far are durable on all replicas when it returns. */
DFS_EXPORT int dfs_sync(struct dfs_file *file, struct dfs_err *e);
/* Makes everything durable, ends the lease, frees the file whatever is returned. */
DFS_EXPORT int dfs_close(struct dfs_file *file, struct dfs_err *e);
/* For an unnamed file: also gives it its name, in the same atomic step. flags: DFS_REPLACE,
 * DFS_PARENTS. ret_inode may be NULL. */
DFS_EXPORT int dfs_close_link(struct dfs_file *file, const char *path, int flags,
                              const struct dfs_conditions *conditions, uint64_t *ret_inode,
                              struct dfs_err *e);
/* Gives an unnamed file up, or a named one as far as it is sealed. Frees it. Accepts NULL and
 * read-only files. */
DFS_EXPORT void dfs_abandon(struct dfs_file *file);

/* ---- Reading --------------------------------------------------------------------------------- */

DFS_EXPORT int dfs_open(struct dfs *dfs, const char *path, struct dfs_file **ret,
                        struct dfs_err *e);
/* What dfs_stat() would have said when the file master was last asked where its bytes are: of a
 * file of less than a thousand chunks, at the opening. */
DFS_EXPORT int dfs_fstat(struct dfs_file *file, struct dfs_stat *ret, struct dfs_err *e);
/* Bytes readable now; grows while a writer is at it. */
DFS_EXPORT int dfs_length(struct dfs_file *file, uint64_t *ret, struct dfs_err *e);
/* Up to `length` verified bytes at `offset`; fewer only at the end of what can be read; 0 at the
 * end. */
DFS_EXPORT int64_t dfs_pread(struct dfs_file *file, void *data, size_t length, uint64_t offset,
                             struct dfs_err *e);

/* The CRC32C of [offset, offset + length), which must lie within what can be read (DFS_EINVALID).
 * Chunks that are sealed answer from the checksums that their servers keep, so that hardly a byte
 * is moved; only blocks of which the range has a part, and open chunks, are read. It therefore
 * tells what the bytes are by the books; dfs_pread() compares the bytes with them. */
DFS_EXPORT int dfs_checksum(struct dfs_file *file, uint64_t offset, uint64_t length,
                            uint32_t *ret_crc32c, struct dfs_err *e);

/* Where this file's bytes came from so far, for locality figures. Closing (dfs_close) frees a
 * read-only file too. */
struct dfs_read_stats {
    uint64_t bytes_local; /* by descriptor, or from a chunkserver of this host label */
    uint64_t bytes_rack;
    uint64_t bytes_remote;
    uint64_t replicas_failed; /* replicas given up: unreachable, slow or with a wrong block */
};
DFS_EXPORT void dfs_read_stats(const struct dfs_file *file, struct dfs_read_stats *ret);

#ifdef __cplusplus
}
#endif

#endif
