/* Local reads: a Unix socket where a client on the same host gets a read-only descriptor of a
 * sealed chunk and its CRCs, and then reads the page cache by itself (docs/formats.md 7). A thread
 * of its own, which reads the index only: nothing here changes anything.
 *
 * Who may ask: as on the gRPC port without TLS, whoever can reach the socket, which the modes of
 * the data directory and of the socket decide; the peer's credentials are logged. */
#ifndef CHUNKSERVER_LOCAL_READ_H
#define CHUNKSERVER_LOCAL_READ_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/ids.h"

struct local_read;
struct server;

/* Binds the socket and fills in server.local_socket; without one (its path is too long and so is
 * the short one that replaces it) only a warning is logged: readers then use Read. */
int local_read_start(struct server *s, struct local_read **ret, struct err *e) MUST_CHECK;
void local_read_stop(struct local_read *l); /* accepts NULL */

enum { LOCAL_REQUEST_BYTES = 20 };
/* ERR_INVALID: not a request. */
int local_request_decode(const void *data, size_t length, struct chunk_ref *ret) MUST_CHECK;

struct local_reply {
    int code; /* 0 or ERR_* */
    uint64_t version;
    uint64_t length;
    const uint32_t *crcs; /* borrowed */
    uint32_t crc_count;
};
void local_reply_encode(const struct local_reply *reply, struct buf *out);

#endif
