/* The service table of trireme.v1.Chunkserver: each method with its steps. */
#ifndef CHUNKSERVER_CHUNKSERVER_RPC_H
#define CHUNKSERVER_CHUNKSERVER_RPC_H

#include "common/rpc/rpc_server.h"

extern const struct rpc_service_row chunkserver_rows[]; /* service is struct server */

#endif
