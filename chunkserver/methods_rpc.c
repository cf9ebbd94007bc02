/* Names, kinds and types; the kinds are compared with the .proto files by a test. */
#include "chunkserver/methods_rpc.h"

#include "proto/chunk.pb-c.h"
#include "proto/fs.pb-c.h"

#define CHUNKSERVER "/trireme.v1.Chunkserver/"
#define FSMASTER    "/trireme.v1.FsMaster/"

const struct rpc_method chunkserver_methods[CHUNKSERVER_METHOD_COUNT] = {
    [CHUNKSERVER_APPEND] = {CHUNKSERVER "Append", RPC_BIDI,
                            &trireme__v1__append_message__descriptor,
                            &trireme__v1__append_ack__descriptor},
    [CHUNKSERVER_READ] = {CHUNKSERVER "Read", RPC_SERVER_STREAM,
                          &trireme__v1__read_request__descriptor,
                          &trireme__v1__read_message__descriptor},
    [CHUNKSERVER_STAT_CHUNK] = {CHUNKSERVER "StatChunk", RPC_UNARY,
                                &trireme__v1__stat_chunk_request__descriptor,
                                &trireme__v1__stat_chunk_reply__descriptor},
    [CHUNKSERVER_CHECKSUM_CHUNK] = {CHUNKSERVER "ChecksumChunk", RPC_UNARY,
                                    &trireme__v1__checksum_chunk_request__descriptor,
                                    &trireme__v1__checksum_chunk_reply__descriptor},
    [CHUNKSERVER_FENCE] = {CHUNKSERVER "Fence", RPC_UNARY, &trireme__v1__fence_request__descriptor,
                           &trireme__v1__fence_reply__descriptor},
    [CHUNKSERVER_SEAL_REPLICA] = {CHUNKSERVER "SealReplica", RPC_UNARY,
                                  &trireme__v1__seal_replica_request__descriptor,
                                  &trireme__v1__seal_replica_reply__descriptor},
    [CHUNKSERVER_DELETE_CHUNKS] = {CHUNKSERVER "DeleteChunks", RPC_UNARY,
                                   &trireme__v1__delete_chunks_request__descriptor,
                                   &trireme__v1__delete_chunks_reply__descriptor},
    [CHUNKSERVER_COPY_CHUNK] = {CHUNKSERVER "CopyChunk", RPC_UNARY,
                                &trireme__v1__copy_chunk_request__descriptor,
                                &trireme__v1__copy_chunk_reply__descriptor},
};

const struct rpc_method report_methods[FSMASTER_REPORT_METHOD_COUNT] = {
    [FSMASTER_REGISTER] = {FSMASTER "RegisterServer", RPC_UNARY,
                           &trireme__v1__register_request__descriptor,
                           &trireme__v1__register_reply__descriptor},
    [FSMASTER_HEARTBEAT] = {FSMASTER "Heartbeat", RPC_UNARY,
                            &trireme__v1__heartbeat_request__descriptor,
                            &trireme__v1__heartbeat_reply__descriptor},
    [FSMASTER_REPORT_CHUNKS] = {FSMASTER "ReportChunks", RPC_UNARY,
                                &trireme__v1__report_chunks_request__descriptor,
                                &trireme__v1__report_chunks_reply__descriptor},
};
