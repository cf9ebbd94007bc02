/* libdfs for operators: chunkservers in and out of service, the group of file masters. As in dfs.h:
 * functions return 0 or a negative DFS_E* number and fill `struct dfs_err`; they may be called from
 * any thread. */
#ifndef TRIREME_DFS_ADMIN_H
#define TRIREME_DFS_ADMIN_H

#include <trireme/dfs.h>
#include <trireme/dfs_cluster.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Takes a chunkserver out of service, or back into it; returns when that is in the log, and
 * dfs_report() says how far it is. for_ms: of DFS_IN_MAINTENANCE, 1 ms to 30 days. DFS_ENOT_FOUND:
 * no server has this id. */
DFS_EXPORT int dfs_admin_server(struct dfs *dfs, uint64_t server, enum dfs_admin_state state,
                                uint64_t for_ms, struct dfs_err *e);

/* Moves copies from full chunkservers to empty ones, as long as this is asked again within ten
 * seconds. threshold: how far from the mean a server may be, 0.001 to 1 of its disk. rate_bytes: a
 * second, in the whole cluster; 0: stop. There are never fewer copies than before. */
struct dfs_balance {
    bool all_heard;           /* every live chunkserver has reported; nothing is moved before */
    bool even;                /* none is further from the mean */
    bool stuck;               /* some are, and no copy can go elsewhere */
    double least, mean, most; /* how full servers are, 0 to 1 */
    uint64_t moving;          /* chunks */
    uint64_t moved_chunks, moved_bytes;
};
DFS_EXPORT int dfs_balance(struct dfs *dfs, double threshold, uint64_t rate_bytes,
                           struct dfs_balance *ret, struct dfs_err *e);

/* One file master. What the leader says of it, then what it says itself. */
struct dfs_master_status {
    uint64_t id;
    char key[40];      /* of its data directory, hexadecimal */
    char address[320]; /* HOST:PORT */
    char role[16];     /* "leader", "follower", "learner", "candidate"... */
    bool voter;
    bool known;     /* the next five are: a leader was asked, or this member itself */
    uint64_t match; /* entries that are known to be durable there */
    uint64_t lag;   /* entries that it is behind the leader */
    char state[16]; /* how it is sent entries: "probe", "replicate", "snapshot"; "": not */
    bool heard;     /* it has answered this leader */
    uint64_t heard_age_ms;
    bool reachable; /* it answered just now; the rest is its own view */
    uint64_t term;
    uint64_t last; /* entry of its log */
    uint64_t commit;
    uint64_t applied;
};

struct dfs_group {
    char cluster_id[64];
    uint64_t asked;  /* id of the member whose view this is */
    char key[40];    /* of its data directory */
    char role[16];   /* its role */
    uint64_t leader; /* id; 0: it knows none */
    uint64_t term;
    uint64_t commit, applied, first, last;
    uint64_t config_index; /* entry that made this configuration */
    struct dfs_master_status *members;
    size_t member_count;
};

/* The leader's view; if none is found within a few seconds, that of any file master that answers.
 * Release with dfs_group_free(). */
DFS_EXPORT int dfs_group(struct dfs *dfs, struct dfs_group **ret, struct dfs_err *e);
DFS_EXPORT void dfs_group_free(struct dfs_group *group); /* accepts NULL */

enum dfs_group_change {
    DFS_GROUP_ADD =
        1, /* the file master at `address`, as a learner: it gets the log, has no vote */
    DFS_GROUP_PROMOTE, /* a learner that has caught up gets its vote */
    DFS_GROUP_REMOVE,
};

/* Returns when it is committed. id: for promote and remove; address: for add. *ret_id is the
 * member's. DFS_EBUSY: another change is under way, or the learner is still far behind. */
DFS_EXPORT int dfs_group_change(struct dfs *dfs, enum dfs_group_change change, uint64_t id,
                                const char *address, uint64_t *ret_id, struct dfs_err *e);

/* Hands leadership to this member; 0: to whoever is closest. Returns when it has begun. */
DFS_EXPORT int dfs_group_transfer(struct dfs *dfs, uint64_t id, struct dfs_err *e);

/* ---- Quotas ----------------------------------------------------------------------------------
 */

/* What to set; DFS_NO_QUOTA takes one away. */
struct dfs_quota {
    bool set_names, set_space;
    uint64_t names; /* files and directories below, and the directory itself; from 1 */
    uint64_t space; /* bytes of all copies, open chunks at their most; from 0 */
};

/* Limits what may be below a directory; the superuser alone. What is there already may be more:
 * then only what adds to it is refused, with DFS_EQUOTA. dfs_stat() tells the quotas and what they
 * are compared with: subtree_files + subtree_directories + 1, and subtree_replica_bytes +
 * reserved_bytes. DFS_ENOT_DIR for a file. */
DFS_EXPORT int dfs_set_quota(struct dfs *dfs, const char *path, const struct dfs_quota *quota,
                             struct dfs_err *e);

/* ---- The state of the file masters ------------------------------------------------------------
 */

struct dfs_backup {
    char cluster_id[64];
    uint64_t member; /* that made the copy */
    char address[320];
    uint64_t index; /* the copy stands at this entry of the log ... */
    uint64_t term;  /* ... of this term */
    uint64_t bytes;
};

/* Copies the file masters' state (names, files, chunks: not the chunks' bytes) as it stands at one
 * moment, and checks it on the way. write gets all its bytes in order; anything but 0 from it ends
 * the copy with DFS_EIO. from: HOST:PORT of a file master, whose state may be a little
 * behind; NULL: the leader, whose copy has everything acknowledged before. *ret is filled before
 * write is called. DFS_ECORRUPT: what came is damaged. */
typedef int (*dfs_backup_write)(void *arg, const struct dfs_backup *backup, const void *data,
                                size_t length);
DFS_EXPORT int dfs_backup(struct dfs *dfs, const char *from, dfs_backup_write write, void *arg,
                          struct dfs_backup *ret, struct dfs_err *e);

/* A chunk that the file masters do not know, or know at a lower version than some replicas have. */
struct dfs_orphan {
    uint64_t chunk;
    uint64_t known_version; /* 0: not known */
    struct dfs_orphan_replica {
        uint64_t server;
        uint64_t version;
        uint64_t length;
    } * replicas;
    size_t replica_count;
};

struct dfs_orphans {
    bool kept;            /* the state was restored: nothing of it is deleted before a release */
    uint64_t floor;       /* chunks below this, that is */
    uint64_t restored_ms; /* wall clock; 0: never */
    bool complete;        /* every chunkserver has reported to the leader */
    struct dfs_orphan *items;
    size_t count;
};

DFS_EXPORT int dfs_orphans(struct dfs *dfs, struct dfs_orphans **ret, struct dfs_err *e);
DFS_EXPORT void dfs_orphans_free(struct dfs_orphans *orphans); /* accepts NULL */
/* What was kept is deleted from now on. DFS_EPRECONDITION: nothing is kept. */
DFS_EXPORT int dfs_orphans_release(struct dfs *dfs, struct dfs_err *e);

#ifdef __cplusplus
}
#endif

#endif
