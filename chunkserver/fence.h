/* What a file master orders for one chunk: fence, seal, delete (proto/chunk.proto). Each is a
 * command (command.h): the caller fills in the request, command_start() runs it, `done` finds the
 * reply. Terms and cluster ids were checked before (server_check_master). */
#ifndef CHUNKSERVER_FENCE_H
#define CHUNKSERVER_FENCE_H

#include "chunkserver/command.h"

struct fence {
    struct command command;
    struct chunk_ref chunk; /* old version */
    uint64_t new_version;
    bool found;      /* reply: false is no answer */
    uint64_t length; /* reply */
    bool clean;      /* reply */
};

struct seal {
    struct command command;
    struct chunk_ref chunk; /* the sealed version */
    uint64_t length;        /* at which it is sealed */
    uint64_t
        fenced_version; /* a replica at this or a lower version is adopted if it is long enough */
    bool kept;          /* reply */
};

struct remove {
    struct command command;
    struct chunk_ref chunk; /* only a replica at this version or below goes */
    uint64_t trash_ms;      /* how long the bytes wait */
    bool removed;           /* reply */
};

void fence_init(struct fence *f);
void seal_init(struct seal *s);
void remove_init(struct remove *r);

#endif
