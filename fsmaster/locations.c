/* The table is SHARD_COUNT small open-addressing tables of 32-byte records, chosen by the top bits
 * of the hash. Each grows by a quarter when five sixths full, so memory stays within 46 bytes per
 * record plus a constant, and no step moves more than one shard.
 *
 * A record has room for three replicas that agree with it, four bytes each. Everything else, the
 * fourth good copy included, stands in `odd`, a side table by chunk id with full details; it is
 * small because disagreement is short-lived.
 *
 * A replica carries the generation (8 bits) of its server's report that named it last. A full list
 * raises the generation at its begin; at its end replicas of older generations stop counting at
 * once, everywhere, and the sweep takes them out of the table later. Before a generation number
 * comes round again the sweep must have gone round: report_begin() checks. */
#include "fsmaster/locations.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/err.h"
#include "common/hash.h"
#include "common/macros.h"
#include "common/map.h"

enum {
    SHARD_BITS = 12,
    SHARD_COUNT = 1 << SHARD_BITS,
    SLOT_COUNT = 3,
    SERVER_INDEX_MAX = (1 << 20) - 1,
    GENERATIONS_UNSWEPT_MAX = 200, /* of 256 */
};

enum replica_flag {
    REPLICA_ASSUMED = 1,
    REPLICA_SEALED = 2,
    REPLICA_DAMAGED = 4,
};

/* Slot: server index << 12 | generation << 4 | flags; 0 is empty, since indexes begin at 1. */
struct record {
    uint64_t id; /* 0: no record */
    uint32_t version;
    uint32_t length;
    uint32_t slots[SLOT_COUNT]; /* replicas that agree */
    uint8_t wanted;
    uint8_t state; /* enum location_state */
    uint8_t class; /* enum location_class */
    uint8_t flags; /* of the record, below */
};
static_assert(sizeof(struct record) == 32, "memory per chunk");

enum record_flag {
    RECORD_HAS_ODD = 1,       /* there is a struct odd for it */
    RECORD_RUMOUR_SEALED = 2, /* RUMOURED: the first report said so */
    RECORD_RUMOUR_DAMAGED = 4,
};

struct detail {
    uint32_t server; /* index */
    uint32_t version;
    uint32_t length;
    uint8_t generation;
    uint8_t flags; /* enum replica_flag */
};

struct odd {
    uint32_t count;
    uint32_t capacity;
    struct detail *details;
};

struct shard {
    struct record *rows;
    uint32_t capacity;
    uint32_t count;
};

struct server {
    server_id id;
    uint32_t index;
    bool live;
    uint8_t admin;      /* enum server_admin */
    uint8_t generation; /* given to replicas reported now */
    uint8_t valid_from; /* replicas of this generation up to `generation` count */
    uint8_t swept;      /* valid_from when the last complete sweep began */
    uint8_t sweeping;   /* valid_from when the current sweep began */
    uint64_t replicas;  /* in the table, valid or not */
};

struct locations {
    struct shard shards[SHARD_COUNT];
    struct map odds;          /* chunk id -> struct odd */
    struct map servers_by_id; /* struct server */
    struct server **servers;  /* by index; [0] is NULL */
    uint32_t server_count;    /* indexes in use, with 0 */
    uint64_t classes[LOCATION_CLASS_COUNT];
    uint64_t count;
    uint32_t sweep_at;   /* next shard */
    uint32_t sweep_left; /* shards until the round is complete; 0: no need */
    location_care_fn care;
    void *care_arg;
    size_t bytes; /* of shards and odds */
};

struct locations *locations_new(location_care_fn care, void *arg)
{
    struct locations *l = xcalloc(1, sizeof(*l));
    map_init(&l->odds, 0);
    map_init(&l->servers_by_id, 0);
    l->servers = xcalloc(1, sizeof(struct server *));
    l->server_count = 1;
    l->care = care;
    l->care_arg = arg;
    return l;
}

void locations_free(struct locations *l)
{
    if (!l) {
        return;
    }
    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        free(l->shards[i].rows);
    }
    MAP_FOR_EACH(it, &l->odds)
    {
        free(((struct odd *)it.value)->details);
        free(it.value);
    }
    map_deinit(&l->odds);
    map_deinit(&l->servers_by_id);
    for (uint32_t i = 1; i < l->server_count; i++) {
        free(l->servers[i]);
    }
    free(l->servers);
    free(l);
}

/* ---- The table ------------------------------------------------------------------------------ */

static struct shard *shard_of(const struct locations *l, uint64_t hash)
{
    return (struct shard *)&l->shards[hash >> (64 - SHARD_BITS)];
}

static uint32_t home_of(const struct shard *shard, uint64_t hash)
{
    return (uint32_t)(((hash & UINT32_MAX) * shard->capacity) >> 32);
}

static struct record *record_find(const struct locations *l, chunk_id id)
{
    uint64_t hash = hash_u64(id);
    const struct shard *shard = shard_of(l, hash);
    if (shard->count == 0) {
        return NULL;
    }
    for (uint32_t at = home_of(shard, hash); shard->rows[at].id != 0;
         at = at + 1 == shard->capacity ? 0 : at + 1) {
        if (shard->rows[at].id == id) {
            return &shard->rows[at];
        }
    }
    return NULL;
}

static struct record *row_claim(struct shard *shard, uint64_t hash)
{
    uint32_t at = home_of(shard, hash);
    while (shard->rows[at].id != 0) {
        at = at + 1 == shard->capacity ? 0 : at + 1;
    }
    return &shard->rows[at];
}

static void shard_resize(struct locations *l, struct shard *shard, uint32_t capacity)
{
    struct shard resized = {xcalloc(capacity, sizeof(struct record)), capacity, shard->count};
    for (uint32_t i = 0; i < shard->capacity; i++) {
        if (shard->rows[i].id != 0) {
            *row_claim(&resized, hash_u64(shard->rows[i].id)) = shard->rows[i];
        }
    }
    l->bytes += (size_t)capacity * sizeof(struct record);
    l->bytes -= (size_t)shard->capacity * sizeof(struct record);
    free(shard->rows);
    *shard = resized;
}

static struct record *record_add(struct locations *l, chunk_id id)
{
    uint64_t hash = hash_u64(id);
    struct shard *shard = shard_of(l, hash);
    if ((uint64_t)(shard->count + 1) * 6 > (uint64_t)shard->capacity * 5) {
        shard_resize(l, shard, shard->capacity + shard->capacity / 4 + 4);
    }
    struct record *record = row_claim(shard, hash);
    memset(record, 0, sizeof(*record));
    record->id = id;
    record->state = LOCATION_RUMOURED;
    record->class = LOCATION_CLASS_RUMOURED;
    shard->count++;
    l->count++;
    l->classes[record->class]++;
    return record;
}

/* Takes a row out and closes the gap, so that no probe meets a false end. */
static void row_release(struct shard *shard, uint32_t hole)
{
    uint32_t at = hole;
    for (;;) {
        at = at + 1 == shard->capacity ? 0 : at + 1;
        if (shard->rows[at].id == 0) {
            break;
        }
        uint32_t home = home_of(shard, hash_u64(shard->rows[at].id));
        /* The row may move back into the hole unless its home lies cyclically in (hole, at]. */
        bool stays = hole <= at ? hole < home && home <= at : hole < home || home <= at;
        if (!stays) {
            shard->rows[hole] = shard->rows[at];
            hole = at;
        }
    }
    memset(&shard->rows[hole], 0, sizeof(shard->rows[hole]));
    shard->count--;
}

/* ---- Servers -------------------------------------------------------------------------------- */

static struct server *server_get(struct locations *l, server_id id)
{
    struct server *server = map_get_u64(&l->servers_by_id, id);
    if (server) {
        return server;
    }
    CHECK(l->server_count < SERVER_INDEX_MAX);
    server = xcalloc(1, sizeof(*server));
    server->id = id;
    server->index = l->server_count;
    l->servers = xreallocarray(l->servers, (size_t)l->server_count + 1, sizeof(struct server *));
    l->servers[l->server_count++] = server;
    (void)map_put_u64(&l->servers_by_id, id, server);
    return server;
}

static bool is_valid(const struct server *server, uint8_t generation)
{
    return (uint8_t)(generation - server->valid_from) <=
           (uint8_t)(server->generation - server->valid_from);
}

/* ---- Slots and odd replicas ----------------------------------------------------------------- */

static struct server *slot_server(const struct locations *l, uint32_t slot)
{
    return l->servers[slot >> 12];
}

static bool slot_valid(const struct locations *l, uint32_t slot)
{
    return is_valid(slot_server(l, slot), (uint8_t)(slot >> 4));
}

static struct odd *odd_of(const struct locations *l, const struct record *record)
{
    return record->flags & RECORD_HAS_ODD ? map_get_u64(&l->odds, record->id) : NULL;
}

static void odd_free(struct locations *l, struct record *record)
{
    struct odd *odd = map_remove_u64(&l->odds, record->id);
    record->flags &= (uint8_t)~RECORD_HAS_ODD;
    if (odd) {
        l->bytes -= sizeof(*odd) + odd->capacity * sizeof(struct detail);
        free(odd->details);
        free(odd);
    }
}

static void odd_drop(struct locations *l, struct record *record, uint32_t at)
{
    struct odd *odd = odd_of(l, record);
    l->servers[odd->details[at].server]->replicas--;
    odd->details[at] = odd->details[--odd->count];
    if (odd->count == 0) {
        odd_free(l, record);
    }
}

static void odd_add(struct locations *l, struct record *record, const struct detail *detail)
{
    struct odd *odd = odd_of(l, record);
    if (!odd) {
        odd = xcalloc(1, sizeof(*odd));
        (void)map_put_u64(&l->odds, record->id, odd);
        record->flags |= RECORD_HAS_ODD;
        l->bytes += sizeof(*odd);
    }
    if (odd->count >= LOCATION_REPLICAS_MAX - SLOT_COUNT) {
        return;
    }
    if (odd->count == odd->capacity) {
        uint32_t capacity = odd->capacity ? 2 * odd->capacity : 2;
        odd->details = xreallocarray(odd->details, capacity, sizeof(struct detail));
        l->bytes += (capacity - odd->capacity) * sizeof(struct detail);
        odd->capacity = capacity;
    }
    odd->details[odd->count++] = *detail;
    l->servers[detail->server]->replicas++;
}

static bool agrees(const struct record *record, const struct detail *detail)
{
    bool damaged = (detail->flags & REPLICA_DAMAGED) != 0;
    bool sealed = (detail->flags & REPLICA_SEALED) != 0;
    if (detail->version != record->version) {
        return false;
    }
    switch ((enum location_state)record->state) {
    case LOCATION_OPEN:
    case LOCATION_SEALING:
        return !damaged;
    case LOCATION_SEALED:
        return !damaged && sealed && detail->length == record->length;
    case LOCATION_RUMOURED:
        break;
    }
    return detail->length == record->length &&
           sealed == ((record->flags & RECORD_RUMOUR_SEALED) != 0) &&
           damaged == ((record->flags & RECORD_RUMOUR_DAMAGED) != 0);
}

/* A slot as a detail: what it agreed with when it was put in. */
static struct detail slot_detail(const struct record *record, uint32_t slot)
{
    uint32_t flags = slot & (REPLICA_ASSUMED | REPLICA_SEALED);
    if (record->state == LOCATION_RUMOURED && record->flags & RECORD_RUMOUR_DAMAGED) {
        flags |= REPLICA_DAMAGED;
    }
    return (struct detail){.server = slot >> 12,
                           .version = record->version,
                           .length = record->length,
                           .generation = (uint8_t)(slot >> 4),
                           .flags = (uint8_t)flags};
}

/* A server has sealed its replica and the log does not say so yet: what it said must be kept whole,
 * since it will not say it again. */
static bool is_ahead(const struct record *record, const struct detail *detail)
{
    return (record->state == LOCATION_OPEN || record->state == LOCATION_SEALING) &&
           (detail->flags & REPLICA_SEALED) != 0;
}

static void replica_put(struct locations *l, struct record *record, const struct detail *detail)
{
    if (agrees(record, detail) && !is_ahead(record, detail)) {
        for (int i = 0; i < SLOT_COUNT; i++) {
            if (record->slots[i] == 0) {
                record->slots[i] = detail->server << 12 | (uint32_t)detail->generation << 4 |
                                   (detail->flags & (REPLICA_ASSUMED | REPLICA_SEALED));
                l->servers[detail->server]->replicas++;
                return;
            }
        }
    }
    odd_add(l, record, detail);
}

/* Removes what is known of server's replica. True and the detail if there was one. */
static bool replica_take(struct locations *l, struct record *record, uint32_t server,
                         struct detail *ret)
{
    for (int i = 0; i < SLOT_COUNT; i++) {
        if (record->slots[i] >> 12 == server && record->slots[i] != 0) {
            *ret = slot_detail(record, record->slots[i]);
            record->slots[i] = 0;
            l->servers[server]->replicas--;
            return true;
        }
    }
    struct odd *odd = odd_of(l, record);
    for (uint32_t i = 0; odd && i < odd->count; i++) {
        if (odd->details[i].server == server) {
            *ret = odd->details[i];
            odd_drop(l, record, i);
            return true;
        }
    }
    return false;
}

/* ---- Judging a record ----------------------------------------------------------------------- */

/* What stands in a record, counted. */
struct tally {
    uint32_t good;    /* agree, on live servers */
    uint32_t serving; /* of them those on servers in service */
    uint32_t counted; /* those, and what agrees on servers in maintenance */
    uint32_t other;   /* odd ones on live servers */
    uint32_t all;     /* valid ones, live or not */
};

static void tally_add(struct tally *tally, const struct server *server, bool agrees)
{
    bool serves = agrees && server->live && server->admin == SERVER_IN_SERVICE;
    tally->all++;
    tally->good += agrees && server->live;
    tally->serving += serves;
    tally->counted += serves || (agrees && server->admin == SERVER_IN_MAINTENANCE);
    tally->other += !agrees && server->live;
}

static struct tally tally_of(const struct locations *l, const struct record *record)
{
    struct tally tally = {.all = 0};
    for (int i = 0; i < SLOT_COUNT; i++) {
        uint32_t slot = record->slots[i];
        if (slot != 0 && slot_valid(l, slot)) {
            tally_add(&tally, slot_server(l, slot), true);
        }
    }
    const struct odd *odd = odd_of(l, record);
    for (uint32_t i = 0; odd && i < odd->count; i++) {
        const struct server *server = l->servers[odd->details[i].server];
        if (is_valid(server, odd->details[i].generation)) {
            tally_add(&tally, server, agrees(record, &odd->details[i]));
        }
    }
    return tally;
}

static enum location_class class_of(const struct record *record, const struct tally *tally)
{
    switch ((enum location_state)record->state) {
    case LOCATION_RUMOURED:
        return LOCATION_CLASS_RUMOURED;
    case LOCATION_OPEN:
    case LOCATION_SEALING:
        return LOCATION_CLASS_WRITING;
    case LOCATION_SEALED:
        break;
    }
    if (tally->good == 0) {
        return LOCATION_CLASS_NONE;
    }
    if (tally->counted < record->wanted || tally->serving == 0) {
        return LOCATION_CLASS_UNDER; /* as location_lacks() */
    }
    bool extra = tally->serving > record->wanted || tally->other > 0;
    return extra ? LOCATION_CLASS_EXTRA : LOCATION_CLASS_OK;
}

/* Takes the record out altogether. The pointer is no longer a record afterwards. */
static void record_remove(struct locations *l, struct record *record)
{
    for (int i = 0; i < SLOT_COUNT; i++) {
        if (record->slots[i] != 0) {
            slot_server(l, record->slots[i])->replicas--;
        }
    }
    while (record->flags & RECORD_HAS_ODD) {
        odd_drop(l, record, 0);
    }
    l->classes[record->class]--;
    l->count--;
    struct shard *shard = shard_of(l, hash_u64(record->id));
    row_release(shard, (uint32_t)(record - shard->rows));
    if (shard->capacity > 64 && shard->count < shard->capacity / 4) {
        shard_resize(l, shard, shard->capacity / 2);
    }
}

/* After a change: counts it anew and asks for care. */
static void record_judge(struct locations *l, struct record *record)
{
    struct tally tally = tally_of(l, record);
    enum location_class class = class_of(record, &tally);
    if (class != record->class) {
        l->classes[record->class]--;
        l->classes[class]++;
        record->class = (uint8_t) class;
    }
    bool quiet = class == LOCATION_CLASS_OK || class == LOCATION_CLASS_WRITING ||
                 (class == LOCATION_CLASS_NONE && tally.other == 0);
    if (!quiet && l->care) {
        l->care(l->care_arg, record->id, class);
    }
}

/* ---- What the log says ---------------------------------------------------------------------- */

/* All replicas of a record as details; the record has none afterwards. */
static uint32_t replicas_detach(struct locations *l, struct record *record,
                                struct detail ret[LOCATION_REPLICAS_MAX])
{
    uint32_t count = 0;
    for (int i = 0; i < SLOT_COUNT; i++) {
        if (record->slots[i] != 0) {
            ret[count++] = slot_detail(record, record->slots[i]);
            slot_server(l, record->slots[i])->replicas--;
            record->slots[i] = 0;
        }
    }
    while (record->flags & RECORD_HAS_ODD) {
        ret[count++] = odd_of(l, record)->details[0];
        odd_drop(l, record, 0);
    }
    return count;
}

/* The set of a fact holds it by definition, unless a member has said that its replica of this very
 * version is damaged, or meanwhile, in a full list, that it has none: of a sealed one it will not
 * say so again. */
static void assume_set(struct locations *l, struct record *record, const struct location_fact *fact,
                       bool was_open)
{
    bool only_known = was_open && fact->state == LOCATION_SEALED;
    uint8_t flags = REPLICA_ASSUMED | (fact->state == LOCATION_SEALED ? REPLICA_SEALED : 0);
    for (uint32_t i = 0; i < fact->server_count; i++) {
        struct server *server = server_get(l, fact->servers[i]);
        struct detail detail = {.server = server->index,
                                .version = record->version,
                                .length = record->length,
                                .generation = server->generation,
                                .flags = flags};
        struct detail before = {0};
        bool had = replica_take(l, record, server->index, &before);
        if (only_known && !(had && is_valid(server, before.generation))) {
            continue;
        }
        if (had && before.flags & REPLICA_DAMAGED && before.version == record->version) {
            detail = before;
        } else if (had && agrees(record, &before)) {
            detail.flags = before.flags;
            detail.length = before.length;
        }
        replica_put(l, record, &detail);
    }
}

void locations_learn(struct locations *l, const struct location_fact *fact)
{
    CHECK(fact->state != LOCATION_RUMOURED);
    CHECK(fact->chunk.version <= UINT32_MAX);
    CHECK(fact->length <= CHUNK_BYTES_MAX);
    struct record *record = record_find(l, fact->chunk.id);
    if (!record) {
        record = record_add(l, fact->chunk.id);
    }
    struct detail replicas[LOCATION_REPLICAS_MAX];
    uint32_t count = replicas_detach(l, record, replicas);
    bool was_open = record->state == LOCATION_OPEN;
    if (was_open || record->state == LOCATION_SEALING) {
        /* How long they are was not kept while it changed all the time. */
        for (uint32_t i = 0; i < count; i++) {
            replicas[i].flags |= replicas[i].length == 0 ? REPLICA_ASSUMED : 0;
        }
    }
    record->version = (uint32_t)fact->chunk.version;
    record->length = (uint32_t)fact->length;
    record->state = (uint8_t)fact->state;
    record->flags = 0;
    if (fact->wanted != 0) {
        record->wanted = (uint8_t)MIN(fact->wanted, (uint32_t)UINT8_MAX);
    }
    for (uint32_t i = 0; i < count; i++) {
        replica_put(l, record, &replicas[i]);
    }
    assume_set(l, record, fact, was_open);
    record_judge(l, record);
}

void locations_set_wanted(struct locations *l, chunk_id chunk, uint32_t wanted)
{
    struct record *record = record_find(l, chunk);
    if (record && record->state != LOCATION_RUMOURED) {
        record->wanted = (uint8_t)MIN(wanted, (uint32_t)UINT8_MAX);
        record_judge(l, record);
    }
}

void locations_forget(struct locations *l, chunk_id chunk)
{
    struct record *record = record_find(l, chunk);
    if (record) {
        record_remove(l, record);
    }
}

static bool record_is_empty(const struct record *record)
{
    return record->state == LOCATION_RUMOURED && record->slots[0] == 0 && record->slots[1] == 0 &&
           record->slots[2] == 0 && !(record->flags & RECORD_HAS_ODD);
}

void locations_disown(struct locations *l, chunk_id chunk)
{
    struct record *record = record_find(l, chunk);
    if (!record) {
        return;
    }
    struct detail replicas[LOCATION_REPLICAS_MAX];
    uint32_t count = replicas_detach(l, record, replicas);
    record->flags = record->state == LOCATION_SEALED ? RECORD_RUMOUR_SEALED : 0;
    record->state = LOCATION_RUMOURED;
    record->wanted = 0;
    for (uint32_t i = 0; i < count; i++) {
        replica_put(l, record, &replicas[i]);
    }
    if (record_is_empty(record)) {
        record_remove(l, record);
    } else {
        record_judge(l, record);
    }
}

/* ---- What servers say ----------------------------------------------------------------------- */

int locations_report(struct locations *l, server_id id, const struct location_report *report)
{
    if (report->chunk.id == 0 || report->chunk.version == 0 || report->chunk.version > UINT32_MAX ||
        report->length > CHUNK_BYTES_MAX) {
        return ERR_INVALID;
    }
    struct server *server = server_get(l, id);
    struct record *record = record_find(l, report->chunk.id);
    if (!record) {
        record = record_add(l, report->chunk.id);
        record->version = (uint32_t)report->chunk.version;
        record->length = (uint32_t)report->length;
        record->flags |= report->sealed ? RECORD_RUMOUR_SEALED : 0;
        record->flags |= report->damaged ? RECORD_RUMOUR_DAMAGED : 0;
    }
    struct detail detail = {
        .server = server->index,
        .version = (uint32_t)report->chunk.version,
        .length = (uint32_t)report->length,
        .generation = server->generation,
        .flags = (uint8_t)((report->sealed ? REPLICA_SEALED : 0) |
                           (report->damaged ? REPLICA_DAMAGED : 0)),
    };
    struct detail before;
    (void)replica_take(l, record, server->index, &before);
    replica_put(l, record, &detail);
    record_judge(l, record);
    return 0;
}

void locations_remove(struct locations *l, server_id id, chunk_id chunk)
{
    const struct server *server = map_get_u64(&l->servers_by_id, id);
    struct record *record = record_find(l, chunk);
    struct detail before;
    if (!server || !record || !replica_take(l, record, server->index, &before)) {
        return;
    }
    if (record_is_empty(record)) {
        record_remove(l, record);
    } else {
        record_judge(l, record);
    }
}

static void need_sweep(struct locations *l)
{
    /* The shards not yet visited of a running round would do for some of them only: start over. */
    l->sweep_left = SHARD_COUNT;
    for (uint32_t i = 1; i < l->server_count; i++) {
        l->servers[i]->sweeping = l->servers[i]->valid_from;
    }
}

void locations_report_begin(struct locations *l, server_id id)
{
    struct server *server = server_get(l, id);
    if ((uint8_t)(server->generation - server->swept) < GENERATIONS_UNSWEPT_MAX) {
        server->generation++;
    }
}

void locations_report_end(struct locations *l, server_id id)
{
    struct server *server = server_get(l, id);
    if (server->valid_from != server->generation) {
        server->valid_from = server->generation;
        need_sweep(l);
    }
}

void locations_set_live(struct locations *l, server_id id, bool live)
{
    struct server *server = server_get(l, id);
    if (server->live == live) {
        return;
    }
    server->live = live;
    if (server->replicas > 0) {
        need_sweep(l);
    }
}

bool locations_set_admin(struct locations *l, server_id id, enum server_admin admin)
{
    struct server *server = server_get(l, id);
    if (server->admin == (uint8_t)admin) {
        return false;
    }
    server->admin = (uint8_t)admin;
    if (server->replicas > 0) {
        need_sweep(l);
    }
    return true;
}

/* ---- Questions ------------------------------------------------------------------------------ */

static void fill_replica(const struct locations *l, const struct record *record,
                         const struct detail *detail, struct location *ret)
{
    const struct server *server = l->servers[detail->server];
    if (!is_valid(server, detail->generation) || ret->count == LOCATION_REPLICAS_MAX) {
        return;
    }
    struct location_replica *replica = &ret->replicas[ret->count++];
    replica->server = server->id;
    replica->version = detail->version;
    replica->length = detail->length;
    replica->live = server->live;
    replica->admin = (enum server_admin)server->admin;
    replica->agrees = agrees(record, detail);
    replica->good = server->live && replica->agrees;
    replica->sealed = (detail->flags & REPLICA_SEALED) != 0;
    replica->damaged = (detail->flags & REPLICA_DAMAGED) != 0;
    replica->assumed = (detail->flags & REPLICA_ASSUMED) != 0;
    ret->good_count += replica->good;
    ret->serving_count += location_serves(replica);
    ret->counted += location_counts(replica);
}

bool locations_find(const struct locations *l, chunk_id chunk, struct location *ret)
{
    const struct record *record = record_find(l, chunk);
    if (!record) {
        return false;
    }
    ret->chunk = (struct chunk_ref){record->id, record->version};
    ret->state = (enum location_state)record->state;
    ret->class = (enum location_class)record->class;
    ret->length = record->length;
    ret->wanted = record->wanted;
    ret->good_count = ret->serving_count = ret->counted = 0;
    ret->count = 0;
    for (int i = 0; i < SLOT_COUNT; i++) {
        if (record->slots[i] != 0) {
            struct detail detail = slot_detail(record, record->slots[i]);
            fill_replica(l, record, &detail, ret);
        }
    }
    const struct odd *odd = odd_of(l, record);
    for (uint32_t i = 0; odd && i < odd->count; i++) {
        fill_replica(l, record, &odd->details[i], ret);
    }
    return true;
}

bool locations_visit_odd(const struct locations *l, uint32_t *cursor, location_visit_fn visit,
                         void *arg)
{
    if (*cursor < SHARD_COUNT) {
        const struct shard *shard = &l->shards[(*cursor)++];
        for (uint32_t i = 0; i < shard->capacity; i++) {
            const struct record *row = &shard->rows[i];
            if (row->id != 0 &&
                (row->state == LOCATION_RUMOURED || (row->flags & RECORD_HAS_ODD))) {
                visit(arg, row->id);
            }
        }
    }
    return *cursor < SHARD_COUNT;
}

/* Whom a visit is about: NULL is any server that is not in service. */
static bool is_meant(const struct server *wanted, const struct server *server)
{
    return wanted ? server == wanted : server->admin != SERVER_IN_SERVICE;
}

static bool has_meant(const struct locations *l, const struct record *row,
                      const struct server *wanted)
{
    for (int i = 0; i < SLOT_COUNT; i++) {
        if (row->slots[i] != 0 && is_meant(wanted, slot_server(l, row->slots[i]))) {
            return true;
        }
    }
    const struct odd *odd = odd_of(l, row);
    for (uint32_t i = 0; odd && i < odd->count; i++) {
        if (is_meant(wanted, l->servers[odd->details[i].server])) {
            return true;
        }
    }
    return false;
}

struct visit {
    const struct server *wanted;
    location_visit_fn call;
    void *arg;
};

static bool visit_meant(const struct locations *l, uint32_t *cursor, size_t budget,
                        const struct visit *visit)
{
    size_t seen = 0;
    while (*cursor < SHARD_COUNT && seen < budget) {
        const struct shard *shard = &l->shards[(*cursor)++];
        seen += shard->capacity + 8;
        for (uint32_t i = 0; i < shard->capacity; i++) {
            if (shard->rows[i].id != 0 && has_meant(l, &shard->rows[i], visit->wanted)) {
                visit->call(visit->arg, shard->rows[i].id);
            }
        }
    }
    return *cursor < SHARD_COUNT;
}

bool locations_visit_leaving(const struct locations *l, uint32_t *cursor, size_t budget,
                             location_visit_fn visit, void *arg)
{
    struct visit meant = {NULL, visit, arg};
    return visit_meant(l, cursor, budget, &meant);
}

bool locations_visit_server(const struct locations *l, server_id id, uint32_t *cursor,
                            size_t budget, location_visit_fn visit, void *arg)
{
    struct visit meant = {map_get_u64(&l->servers_by_id, id), visit, arg};
    return meant.wanted && visit_meant(l, cursor, budget, &meant);
}

uint64_t locations_class_count(const struct locations *l, enum location_class class)
{
    return l->classes[class];
}

uint64_t locations_count(const struct locations *l)
{
    return l->count;
}

/* ---- Sweep ---------------------------------------------------------------------------------- */

static void drop_invalid(struct locations *l, struct record *record)
{
    for (int i = 0; i < SLOT_COUNT; i++) {
        if (record->slots[i] != 0 && !slot_valid(l, record->slots[i])) {
            slot_server(l, record->slots[i])->replicas--;
            record->slots[i] = 0;
        }
    }
    struct odd *odd = odd_of(l, record);
    uint32_t at = 0;
    while (odd && at < odd->count) {
        if (is_valid(l->servers[odd->details[at].server], odd->details[at].generation)) {
            at++;
            continue;
        }
        odd_drop(l, record, at);
        odd = odd_of(l, record);
    }
}

static void sweep_shard(struct locations *l, struct shard *shard)
{
    uint32_t at = 0;
    while (at < shard->capacity) {
        struct record *record = &shard->rows[at];
        if (record->id == 0) {
            at++;
            continue;
        }
        drop_invalid(l, record);
        if (!record_is_empty(record)) {
            record_judge(l, record);
            at++;
            continue;
        }
        uint32_t capacity = shard->capacity;
        record_remove(l, record); /* another row may stand here now: look again */
        at = shard->capacity == capacity ? at : 0;
    }
}

static void finish_round(struct locations *l)
{
    for (uint32_t i = 1; i < l->server_count; i++) {
        l->servers[i]->swept = l->servers[i]->sweeping;
    }
}

bool locations_sweep(struct locations *l, size_t budget)
{
    size_t seen = 0;
    while (l->sweep_left > 0 && seen < budget) {
        struct shard *shard = &l->shards[l->sweep_at];
        seen += shard->capacity + 8;
        sweep_shard(l, shard);
        l->sweep_at = (l->sweep_at + 1) % SHARD_COUNT;
        l->sweep_left--;
        if (l->sweep_left == 0) {
            finish_round(l);
        }
    }
    return l->sweep_left > 0;
}

bool locations_sweep_needed(const struct locations *l)
{
    return l->sweep_left > 0;
}

void locations_sweep_again(struct locations *l)
{
    need_sweep(l);
}

size_t locations_memory(const struct locations *l)
{
    return l->bytes + sizeof(*l) + l->odds.capacity * 24 +
           l->server_count * (sizeof(struct server) + sizeof(void *));
}
