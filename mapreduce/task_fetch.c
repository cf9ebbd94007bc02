/* A state per map, and two queues through them: those that can be fetched now, and those that wait
 * after a failure, in order of time. See task_fetch.h. */
#include "mapreduce/task_fetch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/list.h"
#include "common/map.h"

enum { LOOK_AHEAD = 32 }; /* for a worker that is not being fetched from */

enum fetch_state {
    FETCH_UNKNOWN, /* not finished, or withdrawn */
    FETCH_READY,   /* in `ready` */
    FETCH_WAITING, /* failed, in `waiting` */
    FETCH_RUNNING,
    FETCH_DONE,
    FETCH_LOST,
};

struct fetch_map {
    struct list link;
    enum fetch_state state;
    uint32_t failures; /* of this attempt's output */
    time_ms retry_ms;  /* mono; while waiting */
    char *attempt;     /* NULL: unknown */
    char *address;
    bool withdrawn;     /* while running: nobody wants this attempt's output any more */
    char *next_attempt; /* while running: the successor; NULL: not known yet */
    char *next_address;
};

/* Fetches under way from one worker. */
struct fetch_worker {
    uint32_t running;
    char address[]; /* key */
};

struct fetch_plan {
    struct fetch_map *maps;
    uint32_t count;
    uint32_t fetched;
    uint32_t running;
    uint32_t *lost; /* map numbers */
    size_t lost_count;
    struct list ready;
    struct list waiting; /* by retry_ms */
    struct map workers;  /* address -> struct fetch_worker, those with running > 0 */
};

struct fetch_plan *fetch_plan_new(uint32_t maps)
{
    struct fetch_plan *p = xcalloc(1, sizeof(*p));
    p->maps = xcalloc((size_t)maps + 1, sizeof(*p->maps));
    p->lost = xcalloc((size_t)maps + 1, sizeof(*p->lost));
    p->count = maps;
    list_init(&p->ready);
    list_init(&p->waiting);
    map_init(&p->workers, 0);
    for (uint32_t i = 0; i < maps; i++) {
        list_init(&p->maps[i].link);
    }
    return p;
}

void fetch_plan_free(struct fetch_plan *p)
{
    if (!p) {
        return;
    }
    for (uint32_t i = 0; i < p->count; i++) {
        free(p->maps[i].attempt);
        free(p->maps[i].address);
        free(p->maps[i].next_attempt);
        free(p->maps[i].next_address);
    }
    MAP_FOR_EACH(it, &p->workers)
    {
        free(it.value);
    }
    map_deinit(&p->workers);
    free(p->maps);
    free(p->lost);
    free(p);
}

/* ---- What is told ---- */

static void make_ready(struct fetch_plan *p, struct fetch_map *map)
{
    list_remove(&map->link);
    map->state = FETCH_READY;
    list_push_back(&p->ready, &map->link);
}

static void forget_output(struct fetch_map *map)
{
    list_remove(&map->link);
    map->state = FETCH_UNKNOWN;
    free(map->attempt);
    free(map->address);
    map->attempt = map->address = NULL;
}

static void set_output(struct fetch_map *map, char *attempt, char *address)
{
    free(map->attempt);
    free(map->address);
    map->attempt = attempt;
    map->address = address;
    map->failures = 0;
    map->withdrawn = false;
}

/* While an output is being fetched its texts stay; what replaces it is noted beside it. */
static void told_while_running(struct fetch_map *map, const struct map_done *done)
{
    CHECK(map->attempt != NULL);
    bool same = !done->withdrawn && strcmp(map->attempt, done->attempt) == 0;
    bool other = !done->withdrawn && !same;
    free(map->next_attempt);
    free(map->next_address);
    map->next_attempt = other ? xstrdup(done->attempt) : NULL;
    map->next_address = other ? xstrdup(done->address) : NULL;
    map->withdrawn = !same;
}

int fetch_plan_told(struct fetch_plan *p, const struct map_done *done, struct err *e)
{
    if (done->map >= p->count) {
        return err_set(e, ERR_INVALID, "told of map %" PRIu32 " of %" PRIu32, done->map, p->count);
    }
    struct fetch_map *map = &p->maps[done->map];
    bool same = map->attempt && strcmp(map->attempt, done->attempt) == 0;
    switch (map->state) {
    case FETCH_DONE:
    case FETCH_LOST:
        break;
    case FETCH_RUNNING:
        told_while_running(map, done);
        break;
    case FETCH_UNKNOWN:
    case FETCH_READY:
    case FETCH_WAITING:
        if (done->withdrawn) {
            forget_output(map);
        } else if (!same) {
            set_output(map, xstrdup(done->attempt), xstrdup(done->address));
            make_ready(p, map);
        }
        break;
    }
    return 0;
}

/* ---- What is fetched ---- */

static void worker_begin(struct fetch_plan *p, const char *address)
{
    struct fetch_worker *worker = map_get_str(&p->workers, address);
    if (!worker) {
        size_t length = strlen(address) + 1;
        worker = xcalloc(1, sizeof(*worker) + length);
        memcpy(worker->address, address, length);
        map_put_str(&p->workers, worker->address, worker);
    }
    worker->running++;
}

static void worker_end(struct fetch_plan *p, const char *address)
{
    struct fetch_worker *worker = map_get_str(&p->workers, address);
    CHECK(worker != NULL);
    worker->running--;
    if (worker->running == 0) {
        (void)map_remove_str(&p->workers, address);
        free(worker);
    }
}

static struct fetch_map *choose(struct fetch_plan *p)
{
    int looked = 0;
    LIST_FOR_EACH(node, &p->ready)
    {
        struct fetch_map *map = LIST_ENTRY(node, struct fetch_map, link);
        if (!map_get_str(&p->workers, map->address)) {
            return map;
        }
        if (++looked == LOOK_AHEAD) {
            break;
        }
    }
    struct list *first = list_first(&p->ready);
    return first ? LIST_ENTRY(first, struct fetch_map, link) : NULL;
}

bool fetch_plan_next(struct fetch_plan *p, time_ms now, struct fetch_wanted *ret)
{
    struct list *first;
    while ((first = list_first(&p->waiting)) != NULL &&
           LIST_ENTRY(first, struct fetch_map, link)->retry_ms <= now) {
        make_ready(p, LIST_ENTRY(first, struct fetch_map, link));
    }
    struct fetch_map *map = choose(p);
    if (!map) {
        return false;
    }
    list_remove(&map->link);
    map->state = FETCH_RUNNING;
    p->running++;
    worker_begin(p, map->address);
    *ret = (struct fetch_wanted){(uint32_t)(map - p->maps), map->attempt, map->address};
    return true;
}

time_ms fetch_plan_wake(const struct fetch_plan *p)
{
    struct list *first = list_first(&p->waiting);
    return first ? LIST_ENTRY(first, struct fetch_map, link)->retry_ms : CLOCK_NEVER;
}

static struct fetch_map *end_running(struct fetch_plan *p, uint32_t number)
{
    CHECK(number < p->count);
    struct fetch_map *map = &p->maps[number];
    CHECK(map->state == FETCH_RUNNING);
    p->running--;
    worker_end(p, map->address);
    return map;
}

void fetch_plan_done(struct fetch_plan *p, uint32_t number)
{
    struct fetch_map *map = end_running(p, number);
    map->state = FETCH_DONE;
    p->fetched++;
}

static void wait_for_retry(struct fetch_plan *p, struct fetch_map *map, time_ms now)
{
    map->retry_ms = now + ((time_ms)TASK_FETCH_RETRY_MS << (2 * (map->failures - 1)));
    map->state = FETCH_WAITING;
    struct list *at = &p->waiting; /* behind all that come earlier; few wait at a time */
    while (at->prev != &p->waiting &&
           LIST_ENTRY(at->prev, struct fetch_map, link)->retry_ms > map->retry_ms) {
        at = at->prev;
    }
    list_insert_before(at, &map->link);
}

bool fetch_plan_failed(struct fetch_plan *p, uint32_t number, bool gone, time_ms now)
{
    struct fetch_map *map = end_running(p, number);
    if (map->withdrawn && map->next_attempt) {
        set_output(map, map->next_attempt, map->next_address);
        map->next_attempt = map->next_address = NULL;
        make_ready(p, map);
        return false;
    }
    if (map->withdrawn) {
        forget_output(map);
        map->withdrawn = false;
        return false;
    }
    map->failures++;
    if (gone || map->failures >= TASK_FETCH_TRIES) {
        map->state = FETCH_LOST;
        p->lost[p->lost_count++] = number;
        return true;
    }
    wait_for_retry(p, map, now);
    return false;
}

/* ---- Looking ---- */

uint32_t fetch_plan_fetched(const struct fetch_plan *p)
{
    return p->fetched;
}

uint32_t fetch_plan_fetching(const struct fetch_plan *p)
{
    return p->running;
}

bool fetch_plan_complete(const struct fetch_plan *p)
{
    return p->fetched == p->count;
}

const char *fetch_plan_attempt(const struct fetch_plan *p, uint32_t map)
{
    return map < p->count && p->maps[map].attempt ? p->maps[map].attempt : "";
}

const char *fetch_plan_address(const struct fetch_plan *p, uint32_t map)
{
    return map < p->count && p->maps[map].address ? p->maps[map].address : "";
}

bool fetch_plan_lost(const struct fetch_plan *p, size_t n, struct fetch_wanted *ret)
{
    if (n >= p->lost_count) {
        return false;
    }
    const struct fetch_map *map = &p->maps[p->lost[n]];
    *ret = (struct fetch_wanted){p->lost[n], map->attempt, map->address};
    return true;
}
