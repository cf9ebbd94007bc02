/* Which servers get the copies of a chunk (DESIGN 4, "Repair and care"). Pure: candidates and a
 * seeded generator in, servers in chain order out. Any thread.
 *
 * Policy, the simplest that survives a rack and keeps traffic local:
 *   first copy    on the writer's host if a usable server lives there, else anywhere
 *   second copy   on another rack than the first, if there is one
 *   third copy    on the second's rack, on another host: one hop between racks, not two
 *   more copies   on racks that hold fewest
 * A host label without a copy always goes before one with a copy; several servers on one host
 * label are used only when there are no others (one machine, many disks). Among equals the choice
 * is random, weighted by free space and against servers that were chosen or are busy just now, so
 * that an empty server is filled soon but never gets everything at once.
 *
 * Cost: beyond PLACEMENT_WINDOW_COUNT servers a random window of them is looked at, and all only
 * when the window has no ideal one: an allocation does not grow with the cluster. */
#ifndef FSMASTER_PLACEMENT_H
#define FSMASTER_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ids.h"
#include "common/limits.h"

struct rng;

enum { PLACEMENT_WINDOW_COUNT = 128 };

/* One server. Labels are numbers that are equal where the names are (chunkservers.h interns them);
 * 0 is no label. */
struct placement_server {
    server_id id;
    uint32_t host;
    uint32_t rack;
    uint64_t free_bytes;
    uint32_t load; /* allocations since its last heartbeat, streams and copies in progress */
    bool usable;   /* live, heard, not draining */
};

struct placement_request {
    const struct placement_server *servers;
    size_t server_count;
    uint32_t wanted;          /* copies to choose, at most CHUNK_REPLICAS_MAX */
    uint32_t writer_host;     /* label; 0: nowhere among the servers */
    uint64_t chunk_bytes;     /* a server with less free space is passed over */
    const server_id *exclude; /* never these */
    size_t exclude_count;
    const server_id *holders; /* have a copy already: count for hosts and racks, never chosen */
    size_t holder_count;      /* at most CHUNK_REPLICAS_MAX are looked at */
};

/* Chosen servers in chain order into ret_chosen[0 .. wanted). Returns how many: fewer than wanted
 * when there are no more usable ones. */
uint32_t placement_choose(const struct placement_request *request, struct rng *rng,
                          server_id ret_chosen[CHUNK_REPLICAS_MAX]);

#endif
