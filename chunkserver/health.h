/* Whether a chunkserver is well and, if not, why; and its state in short: what /healthz and /varz
 * tell people, decided and worded from plain facts. Pure. */
#ifndef CHUNKSERVER_HEALTH_H
#define CHUNKSERVER_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/ids.h"

/* A file master of --masters. */
struct health_master {
    const char *address;
    bool registered;     /* it has accepted us, and knows us still */
    time_ms answered_ms; /* its last answer without an error; 0: none yet */
    const char *error;   /* of the latest call; "": none */
};

/* A data directory. */
struct health_disk {
    const char *path;
    bool failed;
    const char *failure;     /* what happened to it, with its path; "": not known yet, or nothing */
    uint64_t capacity_bytes; /* of its file system, or what it may hold at most; 0 if it failed, */
    uint64_t free_bytes;     /* like this */
    uint64_t used_bytes;     /* by chunks */
};

/* All times are of the same clock. */
struct health {
    time_ms now_ms;
    time_ms started_ms;
    server_id server; /* 0: no file master has given one yet */
    bool draining;
    uint64_t chunk_count;
    uint64_t stream_count;
    const struct health_master *masters;
    size_t master_count; /* 0: the server reports to nobody */
    const struct health_disk *disks;
    size_t disk_count;
};

/* Why the server is not well, in one line; appends nothing if it is:
 * - it drains; then nothing else counts, since nothing is done about it any more;
 * - no file master has answered for MASTERS_SILENT_MS, or none has since the start. One is enough:
 *   each is told everything, and what is wrong with the others they say themselves;
 * - a disk has failed, and the server goes on without;
 * - no disk has room for a chunk of CHUNK_BYTES_DEFAULT: file masters place nothing of usual size
 *   here. */
void health_trouble(const struct health *h, struct buf *out);

/* Members of a JSON object, without its braces. */
void health_state(const struct health *h, struct buf *out);

#endif
