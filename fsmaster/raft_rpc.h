/* The service trireme.v1.Raft: Raft's messages between wire and plain structs, and the table of its
 * methods. What it means is elsewhere: raft_transport.h moves messages, server_raft.c answers
 * operators. Converters are pure; any thread. */
#ifndef FSMASTER_RAFT_RPC_H
#define FSMASTER_RAFT_RPC_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/ident.h"
#include "common/raft/raft.h"
#include "common/rpc/rpc.h"
#include "common/rpc/rpc_bytes.h"

/* What is around each message. */
struct raft_envelope {
    struct cluster_id cluster;
    struct member_key from;
    struct member_key to;
};

/* The first message of a stream. */
struct raft_hello {
    uint32_t wire_version;
    char address[LIMIT_ADDRESS_BYTES_MAX]; /* of the sender */
};

extern const struct rpc_method raft_method_messages;
extern const struct rpc_method raft_method_snapshots;

/* The entries of an APPEND and the data of a SNAPSHOT are filled in. The caller owns the result. */
struct rpc_bytes *raft_message_pack(const struct raft_envelope *envelope,
                                    const struct raft_message *message);
struct rpc_bytes *raft_hello_pack(const struct raft_envelope *envelope,
                                  const struct raft_hello *hello);

struct raft_unpacked {
    struct raft_envelope envelope;
    bool is_hello;
    struct raft_hello hello;
    struct raft_message message; /* unless hello; entries and data live in the arena */
};

/* Any bytes. ERR_CORRUPT, or ERR_TOO_LARGE: not such a message, or one that no honest member sends:
 * too many entries, or an entry that does not fit into a log. */
int raft_message_unpack(const struct rpc_bytes *packed, struct arena *arena,
                        struct raft_unpacked *ret, struct err *e) MUST_CHECK;

/* ---- Identify --------------------------------------------------------------------------------
 */

/* What a data directory says of itself. */
struct raft_identity {
    uint64_t id;
    struct member_key key;
    struct cluster_id cluster; /* unknown: of none yet */
    bool empty;                /* neither log nor state */
    uint32_t wire_version;
    char address[LIMIT_ADDRESS_BYTES_MAX];
};

/* Runs on the loop's thread; identity is NULL unless code is 0. */
typedef void (*raft_identify_fn)(void *arg, int code, const char *text,
                                 const struct raft_identity *identity);

struct rpc_pending *raft_identify_start(struct rpc_loop *loop, struct rpc_channel *channel,
                                        time_ms deadline, raft_identify_fn done, void *arg);

/* ---- ReadIndex -------------------------------------------------------------------------------
 */

/* Runs on the loop's thread. code 0: nothing after index was committed when the question came. */
typedef void (*raft_read_index_fn)(void *arg, int code, log_index index);

struct raft_read_index {
    struct rpc_channel *channel; /* to the leader; borrowed for the start */
    struct cluster_id cluster;   /* the asker's */
    time_ms deadline;
    raft_read_index_fn done;
    void *arg;
};
/* The caller drops the handle, in any case. */
struct rpc_pending *raft_read_index_start(struct rpc_loop *loop, const struct raft_read_index *ask);

#endif
