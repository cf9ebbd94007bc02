/* See balance.h. */
#include "fsmaster/balance.h"

static double fill_of(double used, double room)
{
    return room > 0 ? used / room : 1; /* without any room nothing may come */
}

void balance_begin(struct balance_view *view)
{
    double used = 0, room = 0;
    for (size_t i = 0; i < view->count; i++) {
        struct balance_server *server = &view->servers[i];
        server->fill = fill_of(server->used, server->room);
        used += server->used;
        room += server->room;
    }
    view->mean = room > 0 ? used / room : 0;
    view->any_over = view->any_under = false;
    for (size_t i = 0; i < view->count; i++) {
        const struct balance_server *server = &view->servers[i];
        view->any_over = view->any_over || server->fill > view->mean + view->threshold;
        view->any_under =
            view->any_under || (server->room > 0 && server->fill < view->mean - view->threshold);
    }
}

bool balance_is_even(const struct balance_view *view)
{
    return !view->any_over && !view->any_under;
}

static bool may_give(const struct balance_view *view, const struct balance_server *server)
{
    bool over = server->fill > view->mean + view->threshold;
    return server->room > 0 && (over || (view->any_under && server->fill > view->mean));
}

/* Fuller, or as full and of a lower id. */
static bool goes_before(const struct balance_server *a, const struct balance_server *b)
{
    return a->fill > b->fill || (a->fill >= b->fill && a->id < b->id);
}

const struct balance_server *balance_source(const struct balance_view *view, uint32_t rank)
{
    const struct balance_server *last = NULL;
    for (uint32_t place = 0; place <= rank; place++) {
        const struct balance_server *next = NULL;
        for (size_t i = 0; i < view->count; i++) {
            const struct balance_server *server = &view->servers[i];
            bool later = !last || goes_before(last, server);
            if (server != last && later && may_give(view, server) &&
                (!next || goes_before(server, next))) {
                next = server;
            }
        }
        if (!next) {
            return NULL;
        }
        last = next;
    }
    return last;
}

const struct balance_server *balance_find(const struct balance_view *view, server_id id)
{
    size_t low = 0, high = view->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (view->servers[middle].id == id) {
            return &view->servers[middle];
        }
        if (view->servers[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

/* What else has a copy, as placement sees it. */
struct others {
    uint32_t hosts[LOCATION_REPLICAS_MAX];
    uint32_t racks[LOCATION_REPLICAS_MAX];
    uint32_t count;
};

static bool among(const uint32_t *labels, uint32_t count, uint32_t label)
{
    for (uint32_t i = 0; i < count; i++) {
        if (labels[i] == label) {
            return true;
        }
    }
    return false;
}

/* The target adds what the source took away: a label that no other copy has, if it had one. */
static bool keeps_spread(const struct others *others, const struct balance_server *source,
                         const struct balance_server *target)
{
    bool lost_host = !among(others->hosts, others->count, source->host);
    bool lost_rack = !among(others->racks, others->count, source->rack);
    return (!lost_host || !among(others->hosts, others->count, target->host)) &&
           (!lost_rack || !among(others->racks, others->count, target->rack));
}

static bool is_better(const struct balance_view *view, const struct balance_server *source,
                      const struct balance_server *target, double bytes)
{
    bool over = source->fill > view->mean + view->threshold;
    bool under = target->fill < view->mean - view->threshold;
    double left = fill_of(source->used - bytes, source->room);
    double made = fill_of(target->used + bytes, target->room);
    return (over || under) && target->fill < view->mean && made <= left;
}

const struct balance_server *balance_target(const struct balance_view *view,
                                            const struct location *chunk,
                                            const struct balance_server *source)
{
    const struct balance_server *best = NULL;
    struct others others = {.count = 0};
    bool is_there = false;
    if (chunk->state != LOCATION_SEALED || chunk->serving_count != chunk->wanted ||
        chunk->count != chunk->wanted || chunk->length == 0) {
        return NULL;
    }
    for (uint32_t i = 0; i < chunk->count; i++) {
        const struct balance_server *holder = balance_find(view, chunk->replicas[i].server);
        if (chunk->replicas[i].server == source->id) {
            is_there = true;
        } else if (holder) {
            others.hosts[others.count] = holder->host;
            others.racks[others.count++] = holder->rack;
        }
    }
    for (size_t i = 0; is_there && i < view->count; i++) {
        const struct balance_server *target = &view->servers[i];
        bool holds = false;
        for (uint32_t k = 0; k < chunk->count; k++) {
            holds = holds || chunk->replicas[k].server == target->id;
        }
        if (!holds && target->takes && target->room > 0 &&
            is_better(view, source, target, (double)chunk->length) &&
            keeps_spread(&others, source, target) && (!best || target->fill < best->fill)) {
            best = target;
        }
    }
    return best;
}
