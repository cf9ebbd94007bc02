/* Inside the namespace core: what its .c files share. Nobody else includes this.
 *
 * How an operation is written: check everything first, change afterwards. Functions that only look
 * (walk, permits, plan) may give any ERR_*; functions that change may fail only because the storage
 * below is broken. Such a failure is remembered in ns->broken and ends the whole batch, so that no
 * code has to undo anything.
 *
 * Inodes, sessions and counters are cached and written once in a batch, at its end; all other rows
 * go through the view at once. The next batch finds what was cached: apply is the only writer, so
 * it is what the view would give. */
#ifndef FSMASTER_NAMESPACE_INTERNAL_H
#define FSMASTER_NAMESPACE_INTERNAL_H

#include "common/arena.h"
#include "common/check.h"
#include "common/map.h"
#include "fsmaster/keys.h"
#include "fsmaster/namespace.h"

enum {
    NS_ROOT = 1, /* inode of "/" */
    NS_READ = 4, /* bits of a permission check */
    NS_WRITE = 2,
    NS_EXECUTE = 1,
    NS_MODE_MAX = 07777,
    NS_MODE_STICKY = 01000,
    NS_CACHE_COUNT_MAX = 4096, /* inodes and sessions kept from one batch to the next */
};

/* A cached inode. Pointers to it are good for the whole batch. */
struct ns_node {
    inode_id id;
    bool touched;         /* row must be written at the end of the batch */
    bool deleted;         /* its row must be deleted then; nobody finds it any more */
    struct ns_node *next; /* touched: the one before it */
    struct inode_row row;
};

/* A cached entry of a directory that is a directory itself: what most steps of a walk go through.
 */
struct ns_entry {
    struct ns_node *node;
    struct row_key key; /* the map borrows it */
};

/* A cached session. */
struct ns_session {
    session_id id;
    bool touched;
    bool deleted;
    struct ns_session *next; /* touched: the one before it */
    struct session_row row;
};

struct namespace
{
    const struct kv_view *view;
    const void *storage; /* context of the view, by which one knows whether it is the same */
    struct arena memory; /* nodes, entries and sessions */
    struct map nodes;    /* inode_id -> struct ns_node */
    struct map entries;  /* key of ROW_DIRENT -> struct ns_entry */
    struct map sessions; /* session_id -> struct ns_session */
    struct ns_node *touched_nodes; /* since the batch began, newest first */
    struct ns_session *touched_sessions;
    struct buf value;     /* scratch: the value read or written last */
    struct meta_row meta; /* cluster_id "": not formatted */
    struct log_position applied;
    bool meta_loaded; /* meta and applied are those of the view */
    bool meta_dirty;
    bool applied_dirty;
    bool ended; /* the batch is over; the cache is as the view */
    int broken; /* 0, or what the storage gave: the batch is lost */

    /* The entry in progress. */
    struct arena *arena;         /* results live here */
    const struct caller *caller; /* who asks; NULL for internal commands */
    session_id session;          /* of ENTRY_MUTATE */
    time_ms wall_ms;             /* the entry's */
    struct err err;              /* text of the operation's failure */
    struct effect *effects;      /* of the entry so far; heap, kept between entries */
    uint32_t effect_count;
    uint32_t effect_capacity;
};

/* ---- namespace.c: rows ----------------------------------------------------------------------- */

/* Prepares ns (zeroed, on the stack) for reads over view; release with ns_deinit(). */
void ns_init(struct namespace *ns, const struct kv_view *view, const struct caller *caller,
             struct arena *arena);
void ns_deinit(struct namespace *ns);

/* Remembers that the storage is broken. Returns code. */
static inline int ns_broken(struct namespace *ns, int code)
{
    CHECK(code < 0);
    if (ns->broken == 0) {
        ns->broken = code;
    }
    return code;
}

/* The row into ns->value. ERR_NOT_FOUND, or broken. */
int ns_get(struct namespace *ns, const struct row_key *key) MUST_CHECK;
/* The same for a row that must be there: its absence is ERR_CORRUPT and broken. */
int ns_get_known(struct namespace *ns, const struct row_key *key) MUST_CHECK;
/* What is in ns->value. */
void ns_put(struct namespace *ns, const struct row_key *key);
void ns_del(struct namespace *ns, const struct row_key *key);
static inline struct span ns_value(const struct namespace *ns)
{
    return (struct span){ns->value.data, ns->value.length};
}
/* A decoder's result: anything but 0 is broken. */
static inline int ns_decoded(struct namespace *ns, int code)
{
    return code < 0 ? ns_broken(ns, code) : 0;
}

/* ERR_NOT_FOUND, or broken. */
int ns_node_get(struct namespace *ns, inode_id id, struct ns_node **ret_node) MUST_CHECK;
int ns_node_get_known(struct namespace *ns, inode_id id, struct ns_node **ret_node) MUST_CHECK;
/* It has changed: its row is written at the end of the batch. */
static inline void ns_touch(struct namespace *ns, struct ns_node *node)
{
    if (!node->touched) {
        node->touched = true;
        node->next = ns->touched_nodes;
        ns->touched_nodes = node;
    }
}
static inline void ns_delete(struct namespace *ns, struct ns_node *node)
{
    node->deleted = true;
    ns_touch(ns, node);
}
/* A new inode of the caller's: next number, zeroed but for kind, owner, group, mtime and mode. */
struct ns_node *ns_node_new(struct namespace *ns, enum inode_kind kind, uint32_t mode);

/* A zeroed effect to fill in. Valid until the next call. */
struct effect *ns_effect(struct namespace *ns, enum effect_kind kind);

/* The epoch after this one, of a lease or a fence. */
static inline uint64_t ns_next_epoch(const struct namespace *ns, uint64_t epoch)
{
    return epoch + 1 > ns->meta.era.floor ? epoch + 1 : ns->meta.era.floor;
}

/* Registered server for a reply; a server that a chunk names is never gone. Into arena. */
int ns_server_get(struct namespace *ns, server_id id, struct server_record *ret) MUST_CHECK;

/* ---- namespace_tree.c: paths, permissions, links, counters ----------------------------------- */

/* Where a path leads. */
struct ns_walk {
    const char *path;
    struct ns_node *directory; /* the deepest directory that exists on the way; NULL for "/" */
    struct ns_node *node;      /* what the path names; NULL: absent */
    const char *rest;          /* the part of path below `directory` */
    bool parent_exists;        /* `directory` is the parent of the last component */
    bool limited;              /* `directory` or one above it has a quota */
};

/* 0 also when the path is absent. ERR_INVALID, ERR_TOO_LARGE (path), ERR_NOT_DIR (a file on the
 * way), ERR_PERMISSION. */
int ns_walk(struct namespace *ns, const char *path, struct ns_walk *ret) MUST_CHECK;
/* ERR_NOT_FOUND too when it is absent. */
int ns_walk_existing(struct namespace *ns, const char *path, struct ns_walk *ret) MUST_CHECK;

bool ns_is_owner(const struct namespace *ns, const struct ns_node *node); /* or superuser */
bool ns_permits(const struct namespace *ns, const struct ns_node *node, uint32_t bits);
/* ERR_PERMISSION with the path. */
int ns_need(struct namespace *ns, const struct ns_node *node, uint32_t bits,
            const char *path) MUST_CHECK;

/* May the walk's absent path be made? ERR_NOT_FOUND: its parent is missing and `parents` is false;
 * ERR_PERMISSION. */
int ns_may_make(struct namespace *ns, const struct ns_walk *walk, bool parents) MUST_CHECK;
/* May the walk's node be taken out of its directory? ERR_PERMISSION; ERR_INVALID for "/". */
int ns_may_unlink(struct namespace *ns, const struct ns_walk *walk) MUST_CHECK;

/* The child of that name; ERR_NOT_FOUND. */
int ns_child(struct namespace *ns, inode_id parent, struct span name,
             struct ns_node **ret) MUST_CHECK;

/* Makes the directories that the walk's path lacks, up to its last component, after ns_may_make();
 * walk->directory is the parent then. */
int ns_make_parents(struct namespace *ns, struct ns_walk *walk) MUST_CHECK;
/* Both change the parent's times and everybody's counters up to the root. */
int ns_link(struct namespace *ns, struct ns_node *parent, const char *name,
            struct ns_node *child) MUST_CHECK;
int ns_unlink(struct namespace *ns, struct ns_node *child) MUST_CHECK;

/* What changes in a directory and in all above it. */
struct ns_delta {
    int64_t files;
    int64_t directories;
    int64_t bytes;
    int64_t replica_bytes;
    int64_t reserved; /* of all copies */
};
int ns_add_up(struct namespace *ns, inode_id directory, const struct ns_delta *delta) MUST_CHECK;
/* What a node with everything below it weighs for the directories above it. */
struct ns_delta ns_weight(const struct ns_node *node);

/* In the tree, or unnamed. Broken only. */
int ns_is_live(struct namespace *ns, const struct ns_node *node, bool *ret_live) MUST_CHECK;
/* The directory above a node; NULL at the root, or at the top of an unlinked subtree. */
int ns_parent(struct namespace *ns, const struct ns_node *node, struct ns_node **ret) MUST_CHECK;
/* Components above the node; 0 for the root. */
int ns_depth(struct namespace *ns, const struct ns_node *node, uint32_t *ret_depth) MUST_CHECK;

int ns_apply_mkdir(struct namespace *ns, const struct op_mkdir *op, struct op_result *result);
int ns_apply_delete(struct namespace *ns, const struct op_delete *op, struct op_result *result);

/* namespace_read.c: what a read is about, reachable by the caller; and the full path of an inode,
 * ERR_NOT_FOUND for one that has none. */
int ns_find(struct namespace *ns, const struct target *target, struct ns_node **ret) MUST_CHECK;
int ns_path(struct namespace *ns, inode_id inode, struct buf *ret_path) MUST_CHECK;

/* ---- namespace_rename.c, namespace_attributes.c ---------------------------------------------- */

int ns_apply_rename(struct namespace *ns, const struct op_rename *op, struct op_result *result);
int ns_apply_set_attributes(struct namespace *ns, const struct op_set_attributes *op,
                            struct op_result *result);
int ns_apply_raise_fence(struct namespace *ns, const struct op_raise_fence *op,
                         struct op_result *result);
/* All must hold: 0, ERR_PRECONDITION, or what a path's walk gave. */
int ns_check_preconditions(struct namespace *ns, const struct operation *op) MUST_CHECK;

/* ---- namespace_file.c: files and their leases ------------------------------------------------ */

int ns_apply_create(struct namespace *ns, const struct op_create *op, struct op_result *result);
int ns_apply_acquire_lease(struct namespace *ns, const struct op_acquire_lease *op,
                           struct op_result *result);
int ns_apply_close(struct namespace *ns, const struct op_close *op, struct op_result *result);
int ns_apply_abandon(struct namespace *ns, const struct op_abandon *op, struct op_result *result);
int ns_apply_expire_leases(struct namespace *ns, const struct cmd_expire_leases *cmd);

/* The live file whose current lease this is. ERR_NOT_FOUND, ERR_IS_DIR, ERR_STALE,
 * ERR_PERMISSION. */
int ns_writer_file(struct namespace *ns, inode_id inode, uint64_t epoch,
                   struct ns_node **ret) MUST_CHECK;
/* Ends the lease if there is one. */
int ns_lease_end(struct namespace *ns, struct ns_node *file) MUST_CHECK;

/* ---- namespace_reap.c: what goes in the background ------------------------------------------- */

/* The node is out of the tree (or never was in it): ends its lease and removes it, at once if it is
 * small, else by the queue. */
int ns_remove(struct namespace *ns, struct ns_node *node) MUST_CHECK;
/* The file's chunks get its replication, at once if they are few. */
int ns_rewant(struct namespace *ns, struct ns_node *file) MUST_CHECK;
int ns_apply_reap(struct namespace *ns, const struct cmd_reap *cmd, struct apply_result *result);

/* ---- namespace_era.c */
int ns_apply_begin_era(struct namespace *ns, uint64_t floor);
int ns_apply_release_orphans(struct namespace *ns);
/* ---- namespace_session.c --------------------------------------------------------------------- */

/* One request: opens or finds the session, runs what was not run before. Broken only. */
int ns_apply_mutate(struct namespace *ns, const struct cmd_mutate *cmd,
                    struct apply_result *result) MUST_CHECK;
int ns_apply_tick(struct namespace *ns, struct apply_result *result) MUST_CHECK;
void ns_sessions_flush(struct namespace *ns);

#endif
