/* Calls of the file master to chunkservers, in plain structs: Fence, SealReplica, DeleteChunks,
 * CopyChunk. Owner thread; done runs on the owner too, through its mailbox. Any failure to get an
 * answer is just that: whoever asked asks again, since every one of these is idempotent. */
#ifndef FSMASTER_CHUNK_RPC_H
#define FSMASTER_CHUNK_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/list.h"
#include "common/mailbox.h"
#include "fsmaster/command.h" /* struct server_record */

struct rpc_loop;
struct rpc_pending;
struct rpc_pool;

enum chunk_call_kind {
    CHUNK_CALL_FENCE,  /* chunk at its old version, new_version */
    CHUNK_CALL_SEAL,   /* chunk at its sealed version, length, fenced_version */
    CHUNK_CALL_DELETE, /* items */
    CHUNK_CALL_COPY,   /* chunk, length, chunk_bytes, sources */
};

struct chunk_delete {
    struct chunk_ref chunk;
    uint32_t copies_left;
};

struct chunk_call {
    /* Question: filled in by the asker; what it points to lives in `arena`. */
    enum chunk_call_kind kind;
    server_id server;
    const char *address;
    term_no term;
    const char *cluster_id;
    struct chunk_ref chunk;
    uint64_t new_version;
    uint64_t fenced_version;
    uint64_t length;
    uint64_t chunk_bytes;
    time_ms timeout_ms;
    const struct chunk_delete *items;
    size_t item_count;
    const struct server_record *sources;
    size_t source_count;

    /* Answer. */
    int code;                        /* 0, or ERR_* */
    const char *text;                /* for the log, "" for 0 */
    bool found;                      /* FENCE */
    bool disk_failed;                /* FENCE: it goes on without one */
    uint64_t start_count;            /* FENCE: of the process that answered */
    bool clean;                      /* FENCE */
    bool kept;                       /* SEAL */
    uint64_t held;                   /* FENCE: bytes */
    const struct chunk_ref *deleted; /* DELETE */
    size_t deleted_count;

    /* Runs once on the owner; frees the call with chunk_call_free(). */
    void (*done)(struct chunk_call *call);
    void *context;  /* the asker's */
    void *arg;      /* likewise */
    uint64_t round; /* likewise */

    struct arena arena;
    struct list link; /* in the list of calls in progress; private from here on */
    struct mailbox *home;
    struct mail mail;
    struct rpc_pending *pending;
};

/* Zeroed but for kind, with an empty arena. Never NULL. */
struct chunk_call *chunk_call_new(enum chunk_call_kind kind);
void chunk_call_free(struct chunk_call *call); /* accepts NULL */

/* Where calls are made from; the server's own. */
struct chunk_caller {
    struct rpc_loop *loop;
    struct rpc_pool *pool;
    struct mailbox *home;
    struct list calls; /* in progress */
};

/* Sends it; a slot for the answer is reserved at home (CHECK: there is room). */
void chunk_call_start(struct chunk_call *call, struct chunk_caller *caller);

/* All calls in progress fail soon. */
void chunk_calls_cancel(struct chunk_caller *caller);

#endif
