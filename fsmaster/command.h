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
#include "fsmaster/operation.h"
#include "fsmaster/server_record.h"

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
