/* The methods of trireme.v1.Chunkserver, as servers and clients name them. Immutable; any thread.
 */
#ifndef CHUNKSERVER_METHODS_RPC_H
#define CHUNKSERVER_METHODS_RPC_H

#include "common/rpc/rpc.h"

enum {
    CHUNKSERVER_APPEND,
    CHUNKSERVER_READ,
    CHUNKSERVER_STAT_CHUNK,
    CHUNKSERVER_CHECKSUM_CHUNK,
    CHUNKSERVER_FENCE,
    CHUNKSERVER_SEAL_REPLICA,
    CHUNKSERVER_DELETE_CHUNKS,
    CHUNKSERVER_COPY_CHUNK,
    CHUNKSERVER_METHOD_COUNT
};
extern const struct rpc_method chunkserver_methods[CHUNKSERVER_METHOD_COUNT];

enum {
    FSMASTER_REGISTER,
    FSMASTER_HEARTBEAT,
    FSMASTER_REPORT_CHUNKS,
    FSMASTER_REPORT_METHOD_COUNT
};
extern const struct rpc_method report_methods[FSMASTER_REPORT_METHOD_COUNT]; /* those we call */

#endif
