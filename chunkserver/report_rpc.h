/* The three calls of a chunkserver to a file master, between plain structs and the wire. Owner's
 * loop. */
#ifndef CHUNKSERVER_REPORT_RPC_H
#define CHUNKSERVER_REPORT_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ident.h"
#include "common/ids.h"
#include "common/rpc/rpc.h"

struct report_replica {
    struct chunk_ref ref;
    uint64_t length;
    bool sealed;
    bool damaged;
};

struct report_register {
    struct cluster_id cluster; /* zero: not known yet */
    struct member_key key;
    const char *host, *rack, *address, *local_socket;
    uint64_t start_count;
    uint64_t capacity_bytes, free_bytes;
};

struct report_heartbeat {
    server_id server;
    uint64_t start_count;
    uint64_t capacity_bytes, free_bytes, chunk_count, used_bytes;
    const struct report_replica *changed; /* borrowed */
    size_t changed_count;
    const struct chunk_ref *removed; /* borrowed */
    size_t removed_count;
    uint64_t sequence;
    uint32_t streams;
    const char *const *failed_disks; /* borrowed */
    size_t failed_disk_count;
    term_no term; /* highest seen */
};

struct report_page {
    server_id server;
    uint64_t start_count;
    const struct report_replica *replicas; /* borrowed; ascending */
    size_t replica_count;
    bool first, last;
};

/* Reply of any of the three. */
struct report_reply {
    int code; /* 0 or ERR_* */
    const char *text;
    struct cluster_id cluster; /* Register */
    server_id server;          /* Register */
    term_no term;              /* Register, Heartbeat */
    bool register_again;       /* Heartbeat */
    bool report_again;         /* Heartbeat */
};

/* Where a call goes; done runs once on the loop, with what it needs valid until it returns. */
struct report_call {
    struct rpc_loop *loop;
    struct rpc_channel *channel;
    void (*done)(void *arg, const struct report_reply *reply);
    void *arg;
};

/* The caller owns the handle (rpc_pending_unref). */
struct rpc_pending *report_send_register(const struct report_call *call,
                                         const struct report_register *r);
struct rpc_pending *report_send_heartbeat(const struct report_call *call,
                                          const struct report_heartbeat *h);
struct rpc_pending *report_send_page(const struct report_call *call, const struct report_page *p);

#endif
