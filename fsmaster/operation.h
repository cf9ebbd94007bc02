/* Operations of clients, as plain structs (proto/fs.proto says what each field means), and who asks
 * for them. A part of command.h, whose rules of ownership hold here too. */
#ifndef FSMASTER_OPERATION_H
#define FSMASTER_OPERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/ids.h"

/* Who asks. The shell fills it from the authenticated name. */
struct caller {
    const char *user;          /* authenticated name */
    const char *const *groups; /* besides the group that has the user's own name */
    uint32_t group_count;
    bool is_superuser; /* passes every permission check */
};

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
    OPERATION_SET_QUOTA,
    OPERATION_SET_XATTR,
};
enum { OPERATION_KIND_COUNT = OPERATION_SET_XATTR + 1 };

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
    const char *link_path;    /* of an unnamed file: where Close will link it; "": not told */
    uint64_t link_bytes;      /* and about how long it will be then */
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

enum quota_field {
    QUOTA_NAMES = 1,
    QUOTA_SPACE = 2,
};

#define QUOTA_NONE UINT64_MAX

struct op_set_quota {
    const char *path;
    uint32_t fields; /* bits of enum quota_field; an unknown bit is ERR_UNSUPPORTED */
    uint64_t names;  /* from 1, or QUOTA_NONE; QUOTA_VALUE_MAX at most, as the next one */
    uint64_t space;  /* bytes, every copy counted; from 0, or QUOTA_NONE */
};

struct xattr {
    const char *name;
    struct span value;
};
struct xattrs {
    const struct xattr *items; /* in byte order of names */
    uint32_t count;
};

enum xattr_mode {
    XATTR_SET = 0, /* whether it is there or not */
    XATTR_CREATE,  /* ERR_EXISTS */
    XATTR_REPLACE, /* ERR_NO_XATTR */
    XATTR_REMOVE,  /* likewise */
};

struct op_set_xattr {
    const char *path;
    const char *name; /* "user." and more */
    struct span value;
    uint32_t mode; /* enum xattr_mode; an unknown one is ERR_UNSUPPORTED */
};

struct operation {
    uint64_t seq; /* from 1 in its session */
    const struct precondition *preconditions;
    uint32_t precondition_count;
    enum operation_kind kind;
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
        struct op_set_quota set_quota;
        struct op_set_xattr set_xattr;
    };
};

#endif
