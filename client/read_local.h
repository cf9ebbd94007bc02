/* A sealed chunk on this host, read through its descriptor (docs/formats.md 7): the chunkserver
 * passes it with the checksums, and the bytes come from the page cache without another process.
 * Every byte is verified here. One thread. */
#ifndef CLIENT_READ_LOCAL_H
#define CLIENT_READ_LOCAL_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/ids.h"

enum { READ_PIECE_BYTES = 256 * 1024 }; /* verified while it is in the L2 cache */

struct read_local {
    int fd; /* -1: none */
    chunk_id chunk;
    uint64_t length; /* of the chunk */
    uint32_t *crcs;  /* one for each block */
    uint8_t
        *window; /* READ_PIECE_BYTES, for requests that end inside of a block; NULL until needed */
    uint64_t window_offset;
    uint64_t window_length; /* verified bytes in it */
};

void read_local_init(struct read_local *l);
void read_local_deinit(struct read_local *l);

/* Asks the chunkserver behind the socket for the chunk; the one before is let go. Any error means
 * "read it another way". */
int read_local_open(struct read_local *l, const char *socket_path, struct chunk_ref chunk,
                    uint64_t length, struct err *e) MUST_CHECK;
/* All of [offset, offset + length), which lies within the chunk. ERR_CORRUPT: a block differs from
 * its checksum. */
int read_local_bytes(struct read_local *l, void *data, size_t length, uint64_t offset,
                     struct err *e) MUST_CHECK;

/* The reply's bytes, from a peer: fills version, length, and crcs, which the caller frees. The
 * server's refusal is returned as its code. */
struct read_local_reply {
    uint64_t version;
    uint64_t length;
    uint32_t *crcs;
};
int read_local_reply_decode(const void *data, size_t length, struct read_local_reply *ret,
                            struct err *e) MUST_CHECK;

#endif
