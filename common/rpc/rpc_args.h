/* The channel and server arguments of DESIGN 3 in one table, and a view of it for the test. Pure.
 */
#ifndef COMMON_RPC_RPC_ARGS_H
#define COMMON_RPC_RPC_ARGS_H

#include <stddef.h>

#include "common/rpc/rpc.h"

/* One integer argument by gRPC's own key. */
struct rpc_arg {
    const char *key;
    int value;
};

/* Copies the rows that apply into out. Returns how many; out has room for count_max. */
size_t rpc_args_rows(bool server, enum rpc_class class, struct rpc_arg *out, size_t count_max);

#endif
