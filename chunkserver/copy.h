/* CopyChunk: pulls a sealed chunk from one of its holders, verifies every block, makes it durable
 * and only then enters it into the index. Until then nothing of it counts. A copy that is given up
 * takes its file along; one that a crash leaves goes at the next start. */
#ifndef CHUNKSERVER_COPY_H
#define CHUNKSERVER_COPY_H

#include <stddef.h>
#include <stdint.h>

#include "common/ids.h"
#include "common/limits.h"

struct server;

struct copy_request {
    struct chunk_ref chunk;
    uint64_t length;
    uint64_t chunk_bytes;
    char sources[CHUNK_REPLICAS_MAX][LIMIT_ADDRESS_BYTES_MAX]; /* tried in order */
    size_t source_count;                                       /* at least 1 */
    term_no term;                                              /* of the master that asks */
};

/* On the owner, once. text: of an error. */
typedef void (*copy_done_fn)(void *arg, int code, const char *text);

/* From the owner. 0 also if the chunk is here already. ERR_STALE: a newer version is here. */
void copy_start(struct server *s, const struct copy_request *request, copy_done_fn done, void *arg);

#endif
