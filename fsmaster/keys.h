/* Rows of the file master's state: keys and values as docs/formats.md section 3 lays them out, and
 * the plain structs that they hold. Pure; any thread.
 *
 * Every value begins with a format byte. Decoders take any bytes: ERR_CORRUPT for what is not
 * ours, ERR_VERSION for a newer format. Encoders replace what is in ret_value. Numbers in keys are
 * big-endian, so that keys sort as numbers. */
#ifndef FSMASTER_KEYS_H
#define FSMASTER_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/ids.h"
#include "common/limits.h"
#include "fsmaster/command.h"
#include "fsmaster/namespace.h"

/* First byte of each key. */
enum row_type {
    ROW_APPLIED = 'a',
    ROW_META = 'c',
    ROW_DIRENT = 'd',
    ROW_EXTENT = 'e',
    ROW_FENCE = 'f',
    ROW_INODE = 'i',
    ROW_CHUNK = 'k',
    ROW_LEASE = 'l',
    ROW_MEMBERS = 'm',
    ROW_OPEN_CHUNK = 'o',
    ROW_REPLY = 'r',
    ROW_SESSION = 's',
    ROW_SESSION_DUE = 't',
    ROW_XATTR = 'u',
    ROW_SERVER = 'v',
    ROW_SERVER_KEY = 'w',
    ROW_REMOVAL = 'x',
    ROW_REWANT = 'y',
};

enum { ROW_KEY_BYTES_MAX = 1 + 8 + LIMIT_NAME_BYTES_MAX + 8 };

struct row_key {
    uint8_t bytes[ROW_KEY_BYTES_MAX];
    size_t length;
};

static inline struct span row_key_span(const struct row_key *key)
{
    return (struct span){key->bytes, key->length};
}

/* The key of a table's only row, or the prefix of all its rows. */
struct row_key row_key_table(enum row_type type);
/* One or two numbers after the type: all tables but those below. */
struct row_key row_key_u64(enum row_type type, uint64_t number);
struct row_key row_key_u64_pair(enum row_type type, uint64_t first, uint64_t second);
/* Name of at most LIMIT_NAME_BYTES_MAX bytes. */
struct row_key row_key_dirent(inode_id parent, struct span name);
struct row_key row_key_xattr(inode_id inode, struct span name);
struct row_key row_key_fence(struct span name);
struct row_key row_key_server_key(const struct member_key *member);

/* Of the keys that row_key_u64() and _pair() make; ERR_CORRUPT. */
int row_key_read_u64(struct span key, enum row_type type, uint64_t *ret_number) MUST_CHECK;
int row_key_read_u64_pair(struct span key, enum row_type type, uint64_t *ret_first,
                          uint64_t *ret_second) MUST_CHECK;
int row_key_read_dirent(struct span key, inode_id *ret_parent, struct span *ret_name) MUST_CHECK;

int row_key_read_xattr(struct span key, inode_id *ret_inode, struct span *ret_name) MUST_CHECK;

/* ---- Values ---------------------------------------------------------------------------------- */

void applied_encode(const struct log_position *applied, struct buf *ret_value);
int applied_decode(struct span value, struct log_position *ret) MUST_CHECK;

/* The newest configuration applied, which is Raft's (raft_config_encode), and its entry's index. */
void members_encode(log_index index, struct span config, struct buf *ret_value);
int members_decode(struct span value, log_index *ret_index, struct span *ret_config) MUST_CHECK;

/* The one row of identity and counters. */
struct meta_row {
    char cluster_id[LIMIT_NAME_BYTES_MAX + 1];
    char superuser[LIMIT_HOST_BYTES_MAX + 1];
    uint32_t default_replication;
    inode_id next_inode;
    chunk_id next_chunk;
    server_id next_server;
    time_ms cluster_ms;
    uint64_t chunks;        /* rows of ROW_CHUNK */
    uint64_t leases;        /* rows of ROW_LEASE */
    uint64_t sessions;      /* rows of ROW_SESSION */
    uint64_t fences;        /* rows of ROW_FENCE */
    uint64_t removal_queue; /* rows of ROW_REMOVAL */
    uint64_t rewant_queue;  /* rows of ROW_REWANT */
    struct era era;         /* a value of format 2, if there was one; else of format 1 */
};
void meta_encode(const struct meta_row *meta, struct buf *ret_value);
int meta_decode(struct span value, struct meta_row *ret) MUST_CHECK;

struct dirent_row {
    inode_id inode;
    enum inode_kind kind;
};
void dirent_encode(const struct dirent_row *dirent, struct buf *ret_value);
int dirent_decode(struct span value, struct dirent_row *ret) MUST_CHECK;

enum inode_flag {
    INODE_LEASED = 1,   /* a ROW_LEASE exists */
    INODE_UNNAMED = 2,  /* a file that was never linked */
    INODE_UNLINKED = 4, /* out of the tree, in the removal queue; what is below it is not marked */
    INODE_LIMITED = 8,  /* a directory with a quota */
};

struct inode_row {
    enum inode_kind kind;
    uint8_t flags; /* enum inode_flag */
    uint32_t mode;
    uint64_t mtime_ms;
    inode_id parent;                      /* 0: root, unnamed or unlinked */
    char owner[LIMIT_HOST_BYTES_MAX + 1]; /* never empty */
    char group[LIMIT_HOST_BYTES_MAX + 1]; /* never empty */
    char name[LIMIT_NAME_BYTES_MAX + 1];  /* in parent; "" when parent is 0 */
    uint32_t replication;                 /* file, as down to lease_epoch */
    uint64_t chunk_bytes;                 /* size of new chunks */
    uint64_t length;                      /* end of the last sealed extent */
    uint64_t lease_epoch;                 /* of the last lease given, 0: none yet */
    uint64_t child_count;                 /* directory, as all below */
    uint64_t files;                       /* below it, at any depth */
    uint64_t directories;                 /* likewise */
    uint64_t bytes;                       /* sum of their lengths */
    uint64_t replica_bytes;               /* sum of length times replication */
    uint32_t height;                      /* no branch below is deeper; an upper bound */
    uint64_t names_quota; /* QUOTA_NONE, or most names in it with itself; set: INODE_LIMITED */
    uint64_t space_quota; /* QUOTA_NONE, or most bytes of all copies below it; likewise */
    uint32_t xattr_count; /* rows of ROW_XATTR */
    uint64_t reserved;    /* file: promised to its open chunk, for each copy; directory: sum of
                             that times replication (namespace_quota.c) */
};
void inode_encode(const struct inode_row *inode, struct buf *ret_value);
int inode_decode(struct span value, struct inode_row *ret) MUST_CHECK;

struct extent_row {
    chunk_id chunk;
    uint64_t length; /* 0 while the chunk is not sealed */
};
void extent_encode(const struct extent_row *extent, struct buf *ret_value);
int extent_decode(struct span value, struct extent_row *ret) MUST_CHECK;

/* ref.id comes from the key. */
void chunk_encode(const struct chunk_record *chunk, struct buf *ret_value);
int chunk_decode(chunk_id id, struct span value, struct chunk_record *ret) MUST_CHECK;

struct lease_row {
    struct lease_record lease;           /* inode comes from the key */
    char user[LIMIT_HOST_BYTES_MAX + 1]; /* who may write under it; "" when orphaned */
};
void lease_encode(const struct lease_row *lease, struct buf *ret_value);
int lease_decode(inode_id inode, struct span value, struct lease_row *ret) MUST_CHECK;

struct fence_row {
    uint64_t epoch;
    time_ms raised_ms; /* cluster */
    char owner[LIMIT_HOST_BYTES_MAX + 1];
};
void fence_encode(const struct fence_row *fence, struct buf *ret_value);
int fence_decode(struct span value, struct fence_row *ret) MUST_CHECK;

struct session_row {
    uint64_t acked_below;                /* replies below are gone */
    time_ms used_ms;                     /* cluster time of the last request */
    time_ms due_ms;                      /* of its ROW_SESSION_DUE: when Tick looks at it */
    char user[LIMIT_HOST_BYTES_MAX + 1]; /* whose it is */
    uint64_t next_seq; /* no operation from here on was run; SESSION_SEQ_UNKNOWN: an old row */
};
#define SESSION_SEQ_UNKNOWN UINT64_MAX
void session_encode(const struct session_row *session, struct buf *ret_value);
int session_decode(struct span value, struct session_row *ret) MUST_CHECK;

/* A kept reply: op_result without its text (which is made again from the request) and with the ids
 * of its replicas only, so that a repeated reply names their present addresses. */
struct reply_row {
    int code;
    inode_id inode;
    uint64_t lease_epoch;
    uint64_t fence_epoch;
    uint64_t length;
    struct chunk_ref chunk;
    struct chunk_ref open_chunk;
    uint64_t chunk_bytes;
    uint32_t replication;
    uint32_t server_count;
    server_id servers[CHUNK_REPLICAS_MAX];
};
void reply_encode(const struct reply_row *reply, struct buf *ret_value);
int reply_decode(struct span value, struct reply_row *ret) MUST_CHECK;

/* Strings of the decoded record live in arena; id comes from the key. */
void server_encode(const struct server_record *server, struct buf *ret_value);
int server_decode(server_id id, struct span value, struct arena *arena,
                  struct server_record *ret) MUST_CHECK;

/* ROW_SERVER_KEY (the id), ROW_REMOVAL and ROW_REWANT (the next offset). */
void number_encode(uint64_t number, struct buf *ret_value);
int number_decode(struct span value, uint64_t *ret) MUST_CHECK;

/* ROW_XATTR: any bytes, XATTR_VALUE_BYTES_MAX at most; borrowed from the value. */
void xattr_encode(struct span bytes, struct buf *ret_value);
int xattr_decode(struct span value, struct span *ret) MUST_CHECK;

/* ROW_OPEN_CHUNK and ROW_SESSION_DUE: the format byte alone. */
void mark_encode(struct buf *ret_value);

#endif
