/* See placement.h for the policy. Each position is one pass: every candidate gets a penalty from
 * the copies chosen so far, and among those of the least penalty one is drawn by weighted reservoir
 * sampling (a candidate of weight w replaces the one held with probability w / total so far). */
#include "fsmaster/placement.h"

#include "common/check.h"
#include "common/macros.h"
#include "common/rng.h"

enum {
    PENALTY_RACK = 1,        /* not the rack that the position wants */
    PENALTY_RACK_SHARED = 2, /* everything would be in one rack */
    PENALTY_HOST = 4,        /* its host has a copy already */
    PENALTY_NEVER = 8,
    WEIGHT_BITS = 20, /* of bytes that make one unit of weight: 1 MiB */
};

/* Copies placed so far: holders first, then what this call chose. */
struct placed {
    uint32_t hosts[2 * CHUNK_REPLICAS_MAX];
    uint32_t racks[2 * CHUNK_REPLICAS_MAX];
    server_id ids[2 * CHUNK_REPLICAS_MAX];
    uint32_t count;
};

static void placed_add(struct placed *placed, const struct placement_server *server)
{
    CHECK(placed->count < ARRAY_COUNT(placed->ids));
    placed->hosts[placed->count] = server->host;
    placed->racks[placed->count] = server->rack;
    placed->ids[placed->count] = server->id;
    placed->count++;
}

static bool contains(const server_id *ids, size_t count, server_id id)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

static uint32_t count_label(const uint32_t *labels, uint32_t count, uint32_t label)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        found += labels[i] == label;
    }
    return found;
}

static uint32_t penalty_of_rack(const struct placed *placed, uint32_t rack)
{
    uint32_t here = count_label(placed->racks, placed->count, rack);
    if (placed->count == 0) {
        return 0;
    }
    if (here == placed->count) {
        return PENALTY_RACK_SHARED;
    }
    uint32_t last = placed->racks[placed->count - 1];
    if (placed->count == 2) {
        return rack == last ? 0 : PENALTY_RACK;
    }
    return here * 2 > placed->count ? PENALTY_RACK : 0;
}

/* PENALTY_NEVER for a server that may not be chosen at all. */
static uint32_t penalty_of(const struct placement_request *request, const struct placed *placed,
                           const struct placement_server *server)
{
    if (!server->usable || server->free_bytes < request->chunk_bytes ||
        contains(placed->ids, placed->count, server->id) ||
        contains(request->exclude, request->exclude_count, server->id) ||
        contains(request->holders, request->holder_count, server->id)) {
        return PENALTY_NEVER;
    }
    if (placed->count == 0) {
        bool near = request->writer_host == 0 || server->host == request->writer_host;
        return near ? 0 : PENALTY_RACK;
    }
    bool host_used = count_label(placed->hosts, placed->count, server->host) > 0;
    return penalty_of_rack(placed, server->rack) + (host_used ? PENALTY_HOST : 0);
}

static uint64_t weight_of(const struct placement_server *server)
{
    return 1 + (server->free_bytes >> WEIGHT_BITS) / (4 + (uint64_t)server->load);
}

/* The draw for one position over servers [from, from + count), around the end. */
struct draw {
    const struct placement_server *best; /* NULL: none yet */
    uint32_t penalty;                    /* of best */
    uint64_t weight;                     /* of all seen with that penalty */
};

static void draw_among(struct draw *draw, const struct placement_request *request,
                       const struct placed *placed, struct rng *rng, size_t from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct placement_server *server =
            &request->servers[(from + i) % request->server_count];
        uint32_t penalty = penalty_of(request, placed, server);
        if (penalty >= PENALTY_NEVER || penalty > draw->penalty) {
            continue;
        }
        if (penalty < draw->penalty) {
            draw->penalty = penalty;
            draw->weight = 0;
        }
        uint64_t weight = weight_of(server);
        draw->weight += weight;
        if (rng_below(rng, draw->weight) < weight) {
            draw->best = server;
        }
    }
}

static const struct placement_server *choose_one(const struct placement_request *request,
                                                 const struct placed *placed, struct rng *rng)
{
    struct draw draw = {NULL, PENALTY_NEVER, 0};
    size_t total = request->server_count;
    size_t window = MIN(total, (size_t)PLACEMENT_WINDOW_COUNT);
    size_t from = total > window ? (size_t)rng_below(rng, total) : 0;
    bool local = placed->count == 0 && request->writer_host != 0;
    /* The writer's host may be anywhere: only a look at all finds it. */
    draw_among(&draw, request, placed, rng, from, local ? total : window);
    if (draw.penalty > 0 && !local && window < total) {
        draw_among(&draw, request, placed, rng, from + window, total - window);
    }
    return draw.best;
}

static void add_holders(const struct placement_request *request, struct placed *placed)
{
    size_t holders = MIN(request->holder_count, (size_t)CHUNK_REPLICAS_MAX);
    for (size_t i = 0; holders > 0 && i < request->server_count; i++) {
        if (contains(request->holders, holders, request->servers[i].id) &&
            placed->count < CHUNK_REPLICAS_MAX) {
            placed_add(placed, &request->servers[i]);
        }
    }
}

uint32_t placement_choose(const struct placement_request *request, struct rng *rng,
                          server_id ret_chosen[CHUNK_REPLICAS_MAX])
{
    CHECK(request->wanted <= CHUNK_REPLICAS_MAX);
    struct placed placed = {.count = 0};
    add_holders(request, &placed);
    uint32_t chosen = 0;
    while (chosen < request->wanted && request->server_count > 0) {
        const struct placement_server *server = choose_one(request, &placed, rng);
        if (!server) {
            break;
        }
        placed_add(&placed, server);
        ret_chosen[chosen++] = server->id;
    }
    return chosen;
}
