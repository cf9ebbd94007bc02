/* Commands: what the file master's log says, as plain structs. Pure data; any thread.
 *
 * A log entry is either one client request (ENTRY_MUTATE: up to 1024 operations of one session) or
 * one internal command that the leader proposes. command_rpc.h turns bytes into these structs and
 * back, namespace.h applies them, the shell answers. Times, random numbers and chosen servers
 * stand in the entry, so that every member comes to the same state.
 *
 * Ownership: every pointer in these structs is borrowed; decoded ones live in the arena that was
 * given to the decoder. Strings are NUL-terminated and never NULL ("" is absent). Numbers and paths
 * are NOT checked here: whatever a peer sends, apply gives a result. */
#ifndef FSMASTER_COMMAND_H
#define FSMASTER_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/ids.h"
#include "fsmaster/server_record.h"

/* Who asks. The shell fills it from the authenticated name. */
struct caller {
    const char *user;          /* authenticated name */
    const char *const *groups; /* besides the group that has the user's own name */
    uint32_t group_count;
    bool is_superuser; /* passes every permission check */
};

/* ---- Operations of clients (proto/fs.proto says what each field means) ----------------------- */

enum operation_kind {
    OPERATION_NONE = 0, /* of a newer client: ERR_UNSUPPORTED */
    OPERATION_MKDIR,
    OPERATION_CREATE,
    OPERATION_ACQUIRE_LEASE,
    OPERATION_ALLOCATE,
    OPERATION_SEAL_CHUNK,
    OPERATION_ABANDON_CHUNK,
    OPERATION_CLOSE,
    OPERATION_ABANDON,
    OPERATION_RENAME,
    OPERATION_DELETE,
    OPERATION_SET_ATTRIBUTES,
    OPERATION_RAISE_FENCE,
};

enum precondition_kind {
    PRECONDITION_NONE = 0, /* of a newer client: never holds */
    PRECONDITION_PATH_ABSENT,
    PRECONDITION_PATH_IS,  /* path names inode `number` */
    PRECONDITION_FENCE_IS, /* fence `name` has epoch `number` */
};

struct precondition {
    enum precondition_kind kind;
    const char *name; /* path or fence */
    uint64_t number;  /* inode or epoch */
};

struct op_mkdir {
    const char *path;
    uint32_t mode; /* 0: 0755 */
    bool parents;
};

struct op_create {
    const char *path; /* "": unnamed */
    uint32_t mode;    /* 0: 0644 */
    uint32_t replication;
    uint64_t chunk_bytes;
    bool replace;
    bool parents;
    bool first_chunk;         /* for the leader's placement only; apply ignores it */
    const char *writer_host;  /* likewise */
    const server_id *servers; /* of a first chunk, as in op_allocate ... */
    uint32_t server_count;    /* ... 0: none is made */
};

struct op_acquire_lease {
    const char *path;
};

struct op_allocate {
    inode_id inode;
    uint64_t lease_epoch;
    uint64_t offset;           /* must be the end of the last extent, once `previous` is sealed */
    struct chunk_ref previous; /* id 0: none */
    uint64_t previous_length;
    const char *writer_host;  /* for the leader's placement only; apply ignores it */
    const server_id *exclude; /* likewise */
    uint32_t exclude_count;   /* likewise */
    const server_id *servers; /* the set in chain order, put in by the leader before it proposes */
    uint32_t server_count;    /* 0 gives ERR_FEW_SERVERS at apply */
    int refusal;              /* 0, or the ERR_* that placement gave: apply answers with it */
};

struct op_seal_chunk {
    inode_id inode;
    uint64_t lease_epoch;
    struct chunk_ref chunk;
    uint64_t length; /* 0: as OPERATION_ABANDON_CHUNK */
};

struct op_abandon_chunk {
    inode_id inode;
    uint64_t lease_epoch;
    struct chunk_ref chunk;
};

struct op_close {
    inode_id inode;
    uint64_t lease_epoch;
    struct chunk_ref chunk; /* id 0: the last chunk is sealed already, or there is none */
    uint64_t length;        /* of that chunk; 0 drops it */
    const char *link_path;  /* "": the file has its name */
    bool replace;
    bool parents;
    uint64_t mtime_ms; /* wall; 0: the entry's */
};

struct op_abandon {
    inode_id inode;
    uint64_t lease_epoch;
};

struct op_rename {
    const char *source;
    const char *target;
    bool replace;
};

struct op_delete {
    const char *path;
    bool recursive;
};

enum attribute_field {
    ATTRIBUTE_MODE = 1,
    ATTRIBUTE_OWNER = 2,
    ATTRIBUTE_GROUP = 4,
    ATTRIBUTE_MTIME = 8,
    ATTRIBUTE_REPLICATION = 16,
};

struct op_set_attributes {
    const char *path;
    uint32_t fields; /* bits of enum attribute_field; an unknown bit is ERR_UNSUPPORTED */
    uint32_t mode;
    const char *owner;
    const char *group;
    uint64_t mtime_ms; /* wall */
    uint32_t replication;
};

struct op_raise_fence {
    const char *name;
};

struct operation {
    uint64_t seq; /* from 1 in its session */
    enum operation_kind kind;
    const struct precondition *preconditions;
    uint32_t precondition_count;
    union {
        struct op_mkdir mkdir;
        struct op_create create;
        struct op_acquire_lease acquire_lease;
        struct op_allocate allocate;
        struct op_seal_chunk seal_chunk;
        struct op_abandon_chunk abandon_chunk;
        struct op_close close;
        struct op_abandon abandon;
        struct op_rename rename;
        struct op_delete delete_;
        struct op_set_attributes set_attributes;
        struct op_raise_fence raise_fence;
    };
};

/* ---- Internal commands ----------------------------------------------------------------------- */

/* Makes the empty namespace: root (0755), /user and /tmp (01777), owned by superuser. ERR_EXISTS
 * when it was made. Every other entry before it gives ERR_UNAVAILABLE. */
struct cmd_format {
    const char *cluster_id; /* 1..LIMIT_NAME_BYTES_MAX bytes */
    const char *superuser;
    uint32_t default_replication; /* 1..CHUNK_REPLICAS_MAX */
};

/* A chunkserver, new or with changed labels or addresses; known again by its member key. */
struct cmd_register_server {
    struct member_key key;
    const char *host;
    const char *rack;
    const char *address;
    const char *local_socket;
};

/* An open (or sealing) chunk gets version new_version = era_version() of its own and is SEALING
 * from now on: its writer is refused. Again with the version that it has: 0 and nothing changes. */
struct cmd_seal_begin {
    chunk_id chunk;
    uint64_t new_version;
    const char *reason; /* for the log's reader; not kept */
};

/* Ends the sealing of chunk (its version must be the current one): the length, or the whole extent
 * goes (drop, or length 0). Again with the same length: 0 and nothing changes. */
struct cmd_seal_end {
    struct chunk_ref chunk;
    uint64_t length;
    bool drop;
};

/* Leases that the leader has not seen renewed. An item whose epoch is not current is skipped; one
 * whose file is named and has an unsealed last chunk is skipped (recover it first). */
struct lease_ref {
    inode_id inode;
    uint64_t epoch;
};
struct cmd_expire_leases {
    const struct lease_ref *leases;
    uint32_t count; /* at most NAMESPACE_BATCH_COUNT_MAX */
};

/* One background step: removes what was deleted and carries out changed replication, at most count
 * directory entries or extents; with the entry of a small file go its few extents. */
struct cmd_reap {
    uint32_t count; /* 1..NAMESPACE_REAP_COUNT_MAX */
};
/* One client request. */
struct cmd_mutate {
    session_id session;
    uint64_t acked_below;
    const struct operation *operations;
    uint32_t operation_count;
};

enum entry_kind {
    ENTRY_NONE = 0,        /* never valid: an unknown command stops the member (DESIGN 4) */
    ENTRY_NOOP,            /* a leader's first entry */
    ENTRY_FORMAT,          /* format */
    ENTRY_MUTATE,          /* mutate */
    ENTRY_REGISTER_SERVER, /* register_server */
    ENTRY_SEAL_BEGIN,      /* seal_begin */
    ENTRY_SEAL_END,        /* seal_end */
    ENTRY_EXPIRE_LEASES,   /* expire_leases */
    ENTRY_TICK,            /* cluster time goes on; expires sessions, a bounded number */
    ENTRY_REAP,            /* reap */
    ENTRY_BEGIN_ERA,       /* era_floor: a part of the history may be lost (namespace_era.c) */
    ENTRY_RELEASE_ORPHANS, /* ends the mark that ENTRY_BEGIN_ERA set; ERR_PRECONDITION: none */
    ENTRY_ADMIN_SERVER,    /* admin_server */
};

struct command_entry {
    enum entry_kind kind;
    time_ms cluster_ms;   /* the proposer's cluster time; the state's never goes back */
    time_ms wall_ms;      /* for mtime only */
    struct caller caller; /* of ENTRY_MUTATE */
    union {
        struct cmd_format format;
        struct cmd_mutate mutate;
        struct cmd_register_server register_server;
        struct cmd_seal_begin seal_begin;
        struct cmd_seal_end seal_end;
        struct cmd_expire_leases expire_leases;
        struct cmd_reap reap;
        uint64_t era_floor; /* of ENTRY_BEGIN_ERA: at least this; see struct era */
        struct cmd_admin_server admin_server;
    };
};

/* ---- Results --------------------------------------------------------------------------------- */

/* Outcome of one operation. Fields that the operation does not give are 0. */
struct op_result {
    int code;         /* 0 or ERR_* */
    const char *text; /* "" or for a human; names the path */
    inode_id inode;
    uint64_t lease_epoch;
    uint64_t fence_epoch;
    uint64_t length;
    struct chunk_ref chunk;
    struct chunk_ref open_chunk;
    const struct server_record *replicas; /* of an allocated `chunk`: in chain order */
    uint32_t replica_count;
    uint64_t chunk_bytes;
    uint32_t replication;
    bool repeated; /* the reply kept from the first time; nothing ran now */
};

#endif
