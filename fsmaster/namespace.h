/* The namespace: names, files, chunks, leases, fences and sessions, changed only by log entries.
 * Pure core of the file master (DESIGN 4 "Model"): no I/O but through struct kv_view, no clock, no
 * random numbers, no soft state. Owner: the apply thread for everything down to "Reads"; reads work
 * on any thread over a view of its own (a snapshot).
 *
 * Apply is total and deterministic: whatever an entry says, it gives a result, and equal entries on
 * equal states give equal states and results, byte for byte, however they are batched. An operation
 * that gives an error has changed nothing but its session. The keys are in docs/formats.md.
 *
 * Use, one batch of committed entries at a time:
 *
 *     namespace_begin(ns, &view);
 *     for each entry: r = namespace_apply(ns, &entry, at, arena, &result);  answer, run effects
 *     r = namespace_end(ns);      writes cached inodes, counters and the applied position
 *     commit the view's batch
 *
 * A negative value from apply or end means that the storage below failed or holds bytes that are
 * not ours (ERR_IO, ERR_CORRUPT, ERR_VERSION), or that the entry is of a kind this program does not
 * know (ERR_UNSUPPORTED): the caller drops the batch and stops the member. */
#ifndef FSMASTER_NAMESPACE_H
#define FSMASTER_NAMESPACE_H

#include "common/kvview.h"
#include "common/limits.h"
#include "fsmaster/command.h"

struct arena;
struct namespace; /* the batch in progress: cached inodes, sessions and counters */

/* ---- Apply ----------------------------------------------------------------------------------- */

struct log_position {
    log_index index; /* of the last applied entry; 0: none */
    term_no term;
};

/* What the shell's soft state must learn, in the order in which it happened. Every member gets the
 * same effects; what only a leader does (telling chunkservers) the shell decides. */
enum effect_kind {
    EFFECT_CHUNK_ALLOCATED,  /* inode, chunk, servers, wanted, length = most bytes of the chunk */
    EFFECT_CHUNK_SEALING,    /* inode, chunk at its new version, servers */
    EFFECT_CHUNK_SEALED,     /* inode, chunk, length, wanted, servers (the set that was open) */
    EFFECT_CHUNK_FREED,      /* chunk at its last version; servers if it was not sealed */
    EFFECT_CHUNK_WANTED,     /* chunk, length, wanted: replication of its file has changed */
    EFFECT_LEASE_GRANTED,    /* inode, epoch, session, wanted: of the file's next chunk */
    EFFECT_LEASE_ORPHANED,   /* inode, epoch: nobody renews it; recover the last chunk, expire it */
    EFFECT_LEASE_ENDED,      /* inode, epoch */
    EFFECT_SERVER_CHANGED,   /* server: registered, or an operator has decided about it */
    EFFECT_REMOVAL_QUEUED,   /* inode: propose ENTRY_REAP while namespace_totals say so */
    EFFECT_ERA_BEGUN,        /* leases from before are nobody's */
    EFFECT_ORPHANS_RELEASED, /* what was kept because of that may be looked at again */
};

struct effect {
    enum effect_kind kind;
    inode_id inode;
    struct chunk_ref chunk;
    uint64_t length;
    uint64_t epoch;
    session_id session;
    const server_id *servers; /* in the arena */
    uint32_t server_count;
    uint32_t wanted;
    const struct server_record *server; /* in the arena */
};

struct apply_result {
    int code;         /* of an internal command: 0 or ERR_*; of ENTRY_MUTATE always 0 */
    const char *text; /* for a human, "" for 0 */
    const struct op_result *results; /* ENTRY_MUTATE: one for each operation, in order */
    uint32_t result_count;
    const struct effect *effects;
    uint32_t effect_count;
    server_id server;       /* ENTRY_REGISTER_SERVER, ENTRY_ADMIN_SERVER */
    struct chunk_ref chunk; /* ENTRY_SEAL_BEGIN and _END: as it is now */
    uint64_t length;        /* ENTRY_SEAL_END: sealed length, 0 when the extent is gone */
    bool more; /* ENTRY_REAP: queues are not empty yet; ENTRY_TICK: more sessions are due */
};

/* Never NULL. Users choose names, so a server gives the caches' hashes a random seed; no state or
 * result depends on it. namespace_free() accepts NULL. */
struct namespace *namespace_new(uint64_t seed);
void namespace_free(struct namespace *ns);

/* Starts a batch over view, which must live until namespace_end(); drops whatever was left of a
 * batch that was given up before its end. One that has ended counts as committed: what it read and
 * wrote is remembered for the next one over the same view. If it is lost after that, so is ns. */
void namespace_begin(struct namespace *ns, const struct kv_view *view);

/* Applies one committed entry. `at` must be above the position before. All that *ret_result points
 * to lives in arena. */
int namespace_apply(struct namespace *ns, const struct command_entry *entry, struct log_position at,
                    struct arena *arena, struct apply_result *ret_result) MUST_CHECK;

/* Entries of other modules (membership) that change nothing here but count as applied. */
void namespace_skip(struct namespace *ns, struct log_position at);

/* Writes what the batch changed into the view. Does not commit it. */
int namespace_end(struct namespace *ns) MUST_CHECK;

/* ---- Reads: pure, over any view; all need a formatted namespace, else ERR_UNAVAILABLE -------- */

enum inode_kind {
    INODE_FILE = 1,
    INODE_DIRECTORY = 2,
};

struct attributes {
    inode_id inode;
    enum inode_kind kind;
    uint32_t mode; /* 07777 bits */
    const char *owner;
    const char *group;
    uint64_t mtime_ms;    /* wall */
    uint64_t length;      /* of a file: its sealed bytes */
    uint32_t replication; /* 0 for a directory */
    uint64_t chunk_bytes; /* 0 for a directory */
    bool open;            /* a writer holds its lease */
    uint64_t child_count; /* of a directory, as all below */
    uint64_t subtree_files;
    uint64_t subtree_directories; /* itself not counted */
    uint64_t subtree_bytes;
    uint64_t subtree_replica_bytes; /* bytes times wanted copies */
    uint64_t names_quota;           /* QUOTA_NONE: none, as the next one */
    uint64_t space_quota;
    uint32_t xattr_count;
    uint64_t reserved_bytes; /* below a directory: promised to open chunks; counts as space */
};

/* What a read is about: a path, or an inode if path is "". */
struct target {
    const char *path;
    inode_id inode;
    uint32_t access; /* of Stat: what the caller must be allowed: 4 read, 2 write ... */
};

/* ERR_NOT_FOUND, ERR_NOT_DIR, ERR_PERMISSION (execute on the way), ERR_INVALID (path). Strings of
 * *ret live in arena. An unnamed file is seen by its inode only, by its owner and a superuser. */
int namespace_stat(const struct kv_view *view, const struct caller *caller,
                   const struct target *target, struct arena *arena,
                   struct attributes *ret) MUST_CHECK;
/* A read's ERR_PERMISSION in words; target->access: what of the target was needed. */
void namespace_refusal(const struct kv_view *view, const struct caller *caller,
                       const struct target *target, struct arena *arena, struct err *e);

struct list_entry {
    const char *name;
    struct attributes attributes;
};

struct list_page {
    const struct list_entry *entries; /* in byte order of names */
    uint32_t count;
    bool more;
};

/* One page: names after `after`, at most limit (0 or above NAMESPACE_LIST_COUNT_MAX: that). A file
 * gives one entry with its own name. Needs read permission on the directory. */
struct list_request {
    const char *path;
    const char *after;
    uint32_t limit;
};
int namespace_list(const struct kv_view *view, const struct caller *caller,
                   const struct list_request *request, struct arena *arena,
                   struct list_page *ret) MUST_CHECK;

/* Extended attributes, which live in arena. Needs read permission. */
int namespace_xattrs(const struct kv_view *view, const struct caller *caller,
                     const struct target *target, struct arena *arena,
                     struct xattrs *ret) MUST_CHECK;

enum chunk_state {
    CHUNK_OPEN = 1,    /* its set of servers appends */
    CHUNK_SEALING = 2, /* version raised; length not settled yet */
    CHUNK_SEALED = 3,  /* never changes */
};

struct chunk_record {
    struct chunk_ref ref;
    enum chunk_state state;
    uint64_t length;     /* sealed bytes; 0 before */
    uint64_t bytes_max;  /* it never grows beyond: the chunk size of its file */
    uint32_t references; /* extents that name it */
    uint32_t wanted;     /* copies */
    inode_id inode;      /* the file that it was allocated for, which is the only one while open */
    uint64_t offset;     /* of its extent in that file */
    uint64_t open_version; /* that the set below was given; fences name it */
    uint32_t server_count; /* the set named by the allocation; 0 once sealed */
    server_id servers[CHUNK_REPLICAS_MAX];
};

struct located_extent {
    uint64_t offset; /* in the file */
    uint64_t length; /* of the file that it holds; 0 while not sealed */
    struct chunk_record chunk;
};

struct located {
    struct attributes attributes;
    const struct located_extent *extents; /* in order */
    uint32_t count;                       /* at most NAMESPACE_LOCATE_COUNT_MAX */
    bool more;
};

/* Extents that touch [offset, offset + length), length 0: to the end. Needs read permission on the
 * file. ERR_IS_DIR. */
struct locate_request {
    struct target target;
    uint64_t offset;
    uint64_t length;
};
int namespace_locate(const struct kv_view *view, const struct caller *caller,
                     const struct locate_request *request, struct arena *arena,
                     struct located *ret) MUST_CHECK;

/* Full path of an inode, for logs and `dfs why`: ERR_NOT_FOUND for one that has none. */
int namespace_path(const struct kv_view *view, inode_id inode, struct buf *ret_path) MUST_CHECK;

/* The state was once restored from a backup, or taken over from one survivor (ENTRY_BEGIN_ERA).
 * Whatever was given out before, also by a history that is lost, is below floor: ids of inodes and
 * chunks, epochs of leases and fences; chunks that get a new version get at least era_version(). */
struct era {
    uint64_t floor;   /* of the last era; 0: the state has never been torn from its history */
    time_ms begun_ms; /* cluster; sessions not used since are stale */
    time_ms wall_ms;
    bool keeps_orphans; /* replicas of chunks below floor are not deleted: no operator has released
                           them yet */
};

/* Above `seen` and above what any era begun earlier, by whatever copy of the state, has given out:
 * clocks go on even where counters were set back. */
uint64_t era_floor(uint64_t seen, time_ms wall_ms);
/* Of a chunk that is sealed by the master: the next one, or the first one of the era. */
uint64_t era_version(const struct era *era, uint64_t version);
/* No replica of this chunk may be deleted. */
static inline bool era_keeps(const struct era *era, chunk_id chunk)
{
    return era->keeps_orphans && chunk < era->floor;
}

/* Counters and identity of the whole, O(1). */
struct namespace_totals {
    char cluster_id[LIMIT_NAME_BYTES_MAX + 1]; /* "" before ENTRY_FORMAT */
    uint32_t default_replication;
    time_ms cluster_ms; /* a new leader goes on from here */
    struct log_position applied;
    uint64_t files;
    uint64_t directories; /* with the root */
    uint64_t bytes;
    uint64_t chunks;
    chunk_id next_chunk; /* to be allocated */
    uint64_t leases, sessions;
    uint64_t servers;
    uint64_t removal_queue; /* inodes that wait for ENTRY_REAP */
    uint64_t rewant_queue;  /* files whose chunks wait for a changed replication, ENTRY_REAP too */
    struct era era;
};
/* Works before ENTRY_FORMAT too: all zero then but applied. */
int namespace_totals(const struct kv_view *view, struct namespace_totals *ret) MUST_CHECK;

/* One row each; ERR_NOT_FOUND. */
struct lease_record {
    inode_id inode;
    uint64_t epoch;
    session_id session; /* 0: orphaned, nobody renews it */
    time_ms granted_ms; /* cluster */
};
int namespace_lease(const struct kv_view *view, inode_id inode,
                    struct lease_record *ret) MUST_CHECK;
int namespace_chunk(const struct kv_view *view, chunk_id chunk,
                    struct chunk_record *ret) MUST_CHECK;
/* The last chunk of a file if it is not sealed; ERR_NOT_FOUND otherwise. */
int namespace_open_chunk(const struct kv_view *view, inode_id inode,
                         struct chunk_record *ret) MUST_CHECK;

/* Whole tables, for a shell that starts: rows after the given id in ascending order. visit returns
 * 0 to go on, anything else to stop, which is then returned. Strings of a server live until visit
 * returns. */
typedef int (*namespace_lease_fn)(void *arg, const struct lease_record *lease);
typedef int (*namespace_chunk_fn)(void *arg, const struct chunk_record *chunk);
typedef int (*namespace_server_fn)(void *arg, const struct server_record *server);
int namespace_scan_leases(const struct kv_view *view, inode_id after, namespace_lease_fn visit,
                          void *arg) MUST_CHECK;
int namespace_scan_chunks(const struct kv_view *view, chunk_id after, namespace_chunk_fn visit,
                          void *arg) MUST_CHECK;
/* Open and sealing ones only. */
int namespace_scan_open_chunks(const struct kv_view *view, chunk_id after, namespace_chunk_fn visit,
                               void *arg) MUST_CHECK;
int namespace_scan_servers(const struct kv_view *view, namespace_server_fn visit,
                           void *arg) MUST_CHECK;

/* ---- Checking -------------------------------------------------------------------------------- */

/* Walks everything, O(n) time and memory: every inode reachable exactly once or queued for removal,
 * subtree counters, extents without gaps, chunk references, leases, sessions and totals. 0, or
 * ERR_CORRUPT with the first violation in e. */
int namespace_check(const struct kv_view *view, struct err *e) MUST_CHECK;

#endif
