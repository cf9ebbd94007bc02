/* See leaving.h. Two maps by server: the round that is complete, and the one that goes on. */
#include "fsmaster/leaving.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/map.h"

struct leaving {
    const struct locations *locations;
    struct map counted; /* server id -> struct leaving_count, of the last complete round */
    struct map counting;
    uint32_t cursor;
    bool complete; /* there is a last one */
};

struct leaving *leaving_new(const struct locations *locations)
{
    struct leaving *v = xcalloc(1, sizeof(*v));
    v->locations = locations;
    map_init(&v->counted, 0);
    map_init(&v->counting, 0);
    return v;
}

static void counts_clear(struct map *counts)
{
    MAP_FOR_EACH(it, counts)
    {
        free(it.value);
    }
    map_clear(counts);
}

void leaving_free(struct leaving *v)
{
    if (!v) {
        return;
    }
    counts_clear(&v->counted);
    counts_clear(&v->counting);
    map_deinit(&v->counted);
    map_deinit(&v->counting);
    free(v);
}

void leaving_restart(struct leaving *v)
{
    counts_clear(&v->counted);
    counts_clear(&v->counting);
    v->cursor = 0;
    v->complete = false;
}

static struct leaving_count *count_of(struct leaving *v, server_id server)
{
    struct leaving_count *count = map_get_u64(&v->counting, server);
    if (!count) {
        count = xcalloc(1, sizeof(*count));
        (void)map_put_u64(&v->counting, server, count);
    }
    return count;
}

static void count_sealed(struct leaving_count *count, const struct location *chunk,
                         const struct location_replica *replica)
{
    bool needed =
        replica->admin == SERVER_DECOMMISSIONED ? location_lacks(chunk) : chunk->serving_count == 0;
    count->chunks++;
    if (!needed) {
        return;
    }
    count->needed++;
    count->last += chunk->good_count == (replica->good ? 1U : 0U);
    if (count->sample_count < LEAVING_SAMPLE_COUNT) {
        count->samples[count->sample_count++] = chunk->chunk.id;
    }
}

/* What is not as the chunk should be is worth nothing beside a good copy, but may be all that there
 * is without one; and a recovery waits for whoever held the version before its own. */
static bool is_superfluous(const struct location *chunk, const struct location_replica *replica)
{
    return !replica->agrees && chunk->state == LOCATION_SEALED && chunk->good_count > 0;
}

static void look_at(void *arg, chunk_id id)
{
    struct leaving *v = arg;
    struct location chunk;
    if (!locations_find(v->locations, id, &chunk) || chunk.state == LOCATION_RUMOURED) {
        return;
    }
    for (uint32_t i = 0; i < chunk.count; i++) {
        const struct location_replica *replica = &chunk.replicas[i];
        if (replica->admin == SERVER_IN_SERVICE || is_superfluous(&chunk, replica)) {
            continue;
        }
        struct leaving_count *count = count_of(v, replica->server);
        if (chunk.state == LOCATION_SEALED) {
            count_sealed(count, &chunk, replica);
        } else {
            count->chunks++;
            count->writing++;
        }
    }
}

bool leaving_step(struct leaving *v, size_t budget)
{
    if (locations_visit_leaving(v->locations, &v->cursor, budget, look_at, v)) {
        return false;
    }
    struct map before = v->counted;
    v->counted = v->counting;
    v->counting = before;
    counts_clear(&v->counting);
    v->cursor = 0;
    v->complete = true;
    return true;
}

bool leaving_find(const struct leaving *v, server_id server, struct leaving_count *ret)
{
    const struct leaving_count *count = map_get_u64(&v->counted, server);
    if (!v->complete) {
        return false;
    }
    *ret = count ? *count : (struct leaving_count){0};
    return true;
}
