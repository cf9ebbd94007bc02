/* How the parts of a gRPC status become a struct rpc_result. Pure, so that it can be fuzzed. */
#ifndef COMMON_RPC_RPC_STATUS_H
#define COMMON_RPC_RPC_STATUS_H

#include "common/buf.h" /* struct span */
#include "common/rpc/rpc.h"

/* All bytes are a peer's. */
struct rpc_status_parts {
    int status;           /* gRPC's code */
    struct span text;     /* status details */
    struct span name;     /* metadata trireme-error; empty when absent */
    struct span leader;   /* metadata trireme-leader; empty when absent */
    struct span position; /* metadata trireme-position, likewise */
};

/* Any input gives a valid result: code 0 only for status OK, texts terminated and printable. */
void rpc_status_parse(const struct rpc_status_parts *parts, struct rpc_result *ret_result);

#endif
