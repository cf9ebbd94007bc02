/* Compares a table of methods with the .proto: protobuf-c keeps no streaming flags, so nothing else
 * would notice a wrong kind. Runs protoc, so call it before rpc_init(). */
#ifndef TESTS_LIB_RPC_METHODS_H
#define TESTS_LIB_RPC_METHODS_H

#include <stddef.h>

#include "common/err.h"
#include "common/rpc/rpc.h"

/* Each method's name, kind and message types must be those of the service; e says what differs.
 * proto is relative to the source root ("proto/echo.proto"), which is $TRIREME_SOURCE or an
 * ancestor of the working directory. */
int rpc_methods_check(const char *proto, const struct rpc_method *const *methods, size_t count,
                      struct err *e) MUST_CHECK;

/* How many methods the file's services have, after a successful check of any of them. */
int rpc_methods_count(const char *proto, size_t *ret_count, struct err *e) MUST_CHECK;

#endif
