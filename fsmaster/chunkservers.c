/* Servers in an array, by id and by key in maps. Labels become small numbers, so that placement
 * compares numbers. Expiry looks at all servers, which are at most some ten thousand, about ten
 * times a second. */
#include "fsmaster/chunkservers.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/map.h"

struct label {
    uint32_t number;
    char name[];
};

struct chunkservers {
    struct map by_id;
    struct map by_key; /* key bytes of the record */
    struct map hosts;  /* name -> struct label */
    struct map racks;
    struct chunkserver **servers;
    size_t count;
    struct placement_server *candidates; /* one per server, filled when asked */
    time_ms dead_ms;
};

struct chunkservers *chunkservers_new(time_ms dead_ms)
{
    struct chunkservers *c = xcalloc(1, sizeof(*c));
    map_init(&c->by_id, 0);
    map_init(&c->by_key, 0);
    map_init(&c->hosts, 0);
    map_init(&c->racks, 0);
    c->dead_ms = dead_ms;
    return c;
}

static void record_deinit(struct server_record *record)
{
    free((char *)record->host);
    free((char *)record->rack);
    free((char *)record->address);
    free((char *)record->local_socket);
}

static void labels_deinit(struct map *labels)
{
    MAP_FOR_EACH(it, labels)
    {
        free(it.value);
    }
    map_deinit(labels);
}

void chunkservers_free(struct chunkservers *c)
{
    if (!c) {
        return;
    }
    for (size_t i = 0; i < c->count; i++) {
        record_deinit(&c->servers[i]->record);
        (void)chunkserver_set_failed_disks(c->servers[i], NULL, 0);
        free(c->servers[i]);
    }
    free(c->servers);
    free(c->candidates);
    map_deinit(&c->by_id);
    map_deinit(&c->by_key);
    labels_deinit(&c->hosts);
    labels_deinit(&c->racks);
    free(c);
}

static uint32_t label_number(struct map *labels, const char *name)
{
    struct label *label = map_get_str(labels, name);
    if (!label) {
        size_t length = strlen(name);
        label = xcalloc(1, sizeof(*label) + length + 1);
        memcpy(label->name, name, length + 1);
        label->number = (uint32_t)labels->count + 1;
        (void)map_put_str(labels, label->name, label);
    }
    return label->number;
}

struct chunkserver *chunkservers_put(struct chunkservers *c, const struct server_record *record,
                                     time_ms now)
{
    struct chunkserver *server = map_get_u64(&c->by_id, record->id);
    if (!server) {
        server = xcalloc(1, sizeof(*server));
        server->place = c->count;
        server->heard_ms = now;
        c->servers = xreallocarray(c->servers, c->count + 1, sizeof(struct chunkserver *));
        c->candidates = xreallocarray(c->candidates, c->count + 1, sizeof(*c->candidates));
        c->servers[c->count++] = server;
        (void)map_put_u64(&c->by_id, record->id, server);
    }
    struct server_record old = server->record;
    server->record = (struct server_record){.id = record->id,
                                            .key = record->key,
                                            .host = xstrdup(record->host),
                                            .rack = xstrdup(record->rack),
                                            .address = xstrdup(record->address),
                                            .local_socket = xstrdup(record->local_socket),
                                            .admin = record->admin,
                                            .until_ms = record->until_ms};
    record_deinit(&old);
    (void)map_put_bytes(&c->by_key, server->record.key.bytes, sizeof(server->record.key.bytes),
                        server);
    server->host = label_number(&c->hosts, server->record.host);
    server->rack = label_number(&c->racks, server->record.rack);
    return server;
}

struct chunkserver *chunkservers_find(const struct chunkservers *c, server_id id)
{
    return map_get_u64(&c->by_id, id);
}

struct chunkserver *chunkservers_find_key(const struct chunkservers *c, struct member_key key)
{
    return map_get_bytes(&c->by_key, key.bytes, sizeof(key.bytes));
}

size_t chunkservers_count(const struct chunkservers *c)
{
    return c->count;
}

struct chunkserver *chunkservers_at(const struct chunkservers *c, size_t place)
{
    return c->servers[place];
}

bool chunkservers_join(struct chunkservers *c, struct chunkserver *server, uint64_t start_count,
                       time_ms now)
{
    (void)c;
    bool was_live = server->state == CHUNKSERVER_LIVE;
    server->state = CHUNKSERVER_LIVE;
    server->joined = true;
    server->reported = false;
    server->listing = false;
    server->joined_ms = now;
    server->start_count = start_count;
    server->sequence = 0;
    server->heard_ms = now;
    return !was_live;
}

void chunkserver_ask_again(struct chunkserver *server, time_ms now)
{
    server->reported = false;
    server->listing = false;
    server->joined_ms = now;
}

void chunkservers_ask_again(struct chunkservers *c, time_ms now)
{
    for (size_t i = 0; i < c->count; i++) {
        chunkserver_ask_again(c->servers[i], now);
    }
}

void chunkservers_trust_from(struct chunkservers *c, chunk_id next)
{
    for (size_t i = 0; i < c->count; i++) {
        c->servers[i]->trusted_from = next;
    }
}

int chunkservers_hear(struct chunkservers *c, server_id id, uint64_t start_count, time_ms now,
                      struct chunkserver **ret, bool *ret_revived)
{
    struct chunkserver *server = map_get_u64(&c->by_id, id);
    if (!server || !server->joined || start_count > server->start_count) {
        return ERR_NOT_FOUND;
    }
    if (start_count < server->start_count) {
        return ERR_STALE;
    }
    *ret_revived = server->state == CHUNKSERVER_DEAD;
    if (*ret_revived) { /* what it was to delete, and what it said, may have been lost meanwhile */
        chunkserver_ask_again(server, now);
    }
    server->state = CHUNKSERVER_LIVE;
    server->heard_ms = now;
    *ret = server;
    return 0;
}

void chunkserver_set_load(struct chunkserver *server, const struct chunkserver_load *load)
{
    server->capacity_bytes = load->capacity_bytes;
    server->free_bytes = load->free_bytes;
    server->used_bytes = load->used_bytes;
    server->chunk_count = load->chunk_count;
    server->streams = load->streams;
    server->moved_bytes /= 2;
    server->allocated /= 2; /* its free space shows the older half of them by now */
}

bool chunkserver_set_failed_disks(struct chunkserver *server, char *const *texts, size_t count)
{
    bool more = count > server->failed_disk_count;
    for (size_t i = 0; i < server->failed_disk_count; i++) {
        free(server->failed_disks[i]);
    }
    free(server->failed_disks);
    server->failed_disks = count > 0 ? xcalloc(count, sizeof(char *)) : NULL;
    server->failed_disk_count = count;
    for (size_t i = 0; i < count; i++) {
        server->failed_disks[i] = xstrdup(texts[i]);
    }
    return more;
}

char **chunkserver_copy_failed_disks(const struct chunkserver *server, struct arena *arena)
{
    char **texts = arena_alloc(arena, (server->failed_disk_count + 1) * sizeof(*texts));
    for (size_t i = 0; i < server->failed_disk_count; i++) {
        texts[i] = arena_strdup(arena, server->failed_disks[i]);
    }
    return texts;
}

struct chunkserver *chunkservers_expire(struct chunkservers *c, time_ms now)
{
    for (size_t i = 0; i < c->count; i++) {
        struct chunkserver *server = c->servers[i];
        if (server->state != CHUNKSERVER_DEAD && now >= server->heard_ms + c->dead_ms) {
            server->state = CHUNKSERVER_DEAD;
            return server;
        }
    }
    return NULL;
}

bool chunkservers_all_reported(const struct chunkservers *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct chunkserver *server = c->servers[i];
        if (server->state != CHUNKSERVER_DEAD && !server->reported) {
            return false;
        }
    }
    return true;
}

bool chunkservers_settled(const struct chunkservers *c, time_ms now)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct chunkserver *server = c->servers[i];
        bool listing = server->state == CHUNKSERVER_LIVE && !server->reported &&
                       now < server->joined_ms + c->dead_ms;
        if (server->state == CHUNKSERVER_EXPECTED || listing) {
            return false;
        }
    }
    return true;
}

uint32_t chunkservers_live_count(const struct chunkservers *c)
{
    uint32_t live = 0;
    for (size_t i = 0; i < c->count; i++) {
        live += c->servers[i]->state == CHUNKSERVER_LIVE;
    }
    return live;
}

uint32_t chunkservers_away_count(const struct chunkservers *c)
{
    uint32_t away = 0;
    for (size_t i = 0; i < c->count; i++) {
        const struct chunkserver *server = c->servers[i];
        away += server->record.admin == SERVER_IN_MAINTENANCE && !server->reported &&
                server->state != CHUNKSERVER_LIVE;
    }
    return away;
}

uint32_t chunkservers_leaving_count(const struct chunkservers *c)
{
    uint32_t leaving = 0;
    for (size_t i = 0; i < c->count; i++) {
        leaving += c->servers[i]->record.admin != SERVER_IN_SERVICE;
    }
    return leaving;
}

uint32_t chunkservers_host(const struct chunkservers *c, const char *host)
{
    const struct label *label = map_get_str(&c->hosts, host);
    return label ? label->number : 0;
}

const struct placement_server *chunkservers_candidates(struct chunkservers *c, size_t *ret_count)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct chunkserver *server = c->servers[i];
        c->candidates[i] = (struct placement_server){
            .id = server->record.id,
            .host = server->host,
            .rack = server->rack,
            .free_bytes = server->free_bytes,
            .load = server->allocated + server->streams + server->copies_in + server->copies_out,
            .usable = server->state == CHUNKSERVER_LIVE && server->joined &&
                      server->record.admin == SERVER_IN_SERVICE,
        };
    }
    *ret_count = c->count;
    return c->candidates;
}
