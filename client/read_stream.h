/* Bytes of one replica over the network: a Read stream with read-ahead. Messages are verified as
 * they come and wait in a queue of bounded size until they are taken. One thread, which steps the
 * loop in read_stream_take(). */
#ifndef CLIENT_READ_STREAM_H
#define CLIENT_READ_STREAM_H

#include "client/chunk_rpc.h"

struct read_stream;

/* Asks for what `read` says; length 0: to the end, read ahead while nobody takes. */
struct read_stream_place {
    struct dfs *dfs;
    struct rpc_loop *loop;
    const char *address;
};
int read_stream_open(const struct read_stream_place *place, const struct chunk_read *read,
                     struct read_stream **ret, struct err *e) MUST_CHECK;
void read_stream_free(struct read_stream *s); /* accepts NULL; steps the loop until it is closed */

/* The user's call ends and the stream stays for the next one. */
void read_stream_pause(struct read_stream *s);

uint64_t read_stream_offset(const struct read_stream *s); /* in the chunk, of the next byte */

/* Up to `length` bytes from there on; waits for the first. 0: the replica has no more to give.
 * ERR_TIMEOUT: silent for too long; ERR_CORRUPT: a wrong block; else why the stream failed. */
int64_t read_stream_take(struct read_stream *s, void *data, size_t length,
                         struct err *e) MUST_CHECK;

#endif
