/* Linear probing: an entry sits at its home slot (the hash modulo the capacity) or in the first
 * free one after it. Invariant: no slot between an entry's home and its place is free. Removal
 * keeps it without tombstones, by moving later entries of the run back over the hole (Knuth, volume
 * 3, 6.4, algorithm R).
 *
 * Iteration goes downwards from a free slot. A removal at the current entry only moves entries that
 * were met already into its place, and never across a free slot, so each entry is met once. */
#include "common/map.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/hash.h"

enum { MAP_CAPACITY_MIN = 8 };

struct map_slot {
    union {
        uint64_t number;
        const void *bytes;
    } key;
    uint32_t length; /* of key.bytes; MAP_NUMBER for numbers */
    uint32_t hash;   /* spares most comparisons, and all hashing when the table grows */
    void *value;     /* NULL: a free slot */
};

#define MAP_NUMBER UINT32_MAX

void map_init(struct map *m, uint64_t seed)
{
    *m = (struct map){.seed = seed};
}

void map_deinit(struct map *m)
{
    if (m == NULL) {
        return;
    }
    free(m->slots);
    map_init(m, m->seed);
}

void map_clear(struct map *m)
{
    if (m->slots != NULL) {
        memset(m->slots, 0, m->capacity * sizeof(*m->slots));
    }
    m->count = 0;
}

static struct map_slot key_of_number(const struct map *m, uint64_t number)
{
    return (struct map_slot){
        .key.number = number, .length = MAP_NUMBER, .hash = (uint32_t)hash_u64(number + m->seed)};
}

static struct map_slot key_of_bytes(const struct map *m, const void *bytes, size_t length)
{
    CHECK(length < MAP_NUMBER);
    return (struct map_slot){.key.bytes = bytes,
                             .length = (uint32_t)length,
                             .hash = (uint32_t)hash_bytes(bytes, length, m->seed)};
}

static bool same_key(const struct map_slot *a, const struct map_slot *b)
{
    if (a->hash != b->hash || a->length != b->length) {
        return false;
    }
    if (a->length == MAP_NUMBER) {
        return a->key.number == b->key.number;
    }
    return a->length == 0 || memcmp(a->key.bytes, b->key.bytes, a->length) == 0;
}

/* The slot of the key, or the free one where it belongs. There is always a free one. */
static struct map_slot *find(const struct map *m, const struct map_slot *key)
{
    size_t mask = m->capacity - 1;
    size_t at = key->hash & mask;
    while (m->slots[at].value != NULL && !same_key(&m->slots[at], key)) {
        at = (at + 1) & mask;
    }
    return &m->slots[at];
}

static void resize(struct map *m, size_t capacity)
{
    CHECK(capacity <= (size_t)UINT32_MAX + 1); /* what 32 bits of hash can spread over */
    struct map old = *m;
    m->slots = xcalloc(capacity, sizeof(*m->slots));
    m->capacity = capacity;
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.slots[i].value != NULL) {
            *find(m, &old.slots[i]) = old.slots[i];
        }
    }
    free(old.slots);
}

void map_reserve(struct map *m, size_t count)
{
    size_t capacity = m->capacity > 0 ? m->capacity : MAP_CAPACITY_MIN;
    while (capacity / 4 * 3 < count) {
        capacity *= 2;
    }
    if (capacity > m->capacity) {
        resize(m, capacity);
    }
}

static void *get(const struct map *m, const struct map_slot *key)
{
    return m->count == 0 ? NULL : find(m, key)->value;
}

static void *put(struct map *m, struct map_slot key, void *value)
{
    CHECK(value != NULL);
    map_reserve(m, m->count + 1);
    struct map_slot *slot = find(m, &key);
    void *replaced = slot->value;
    key.value = value;
    *slot = key;
    m->count += replaced == NULL;
    return replaced;
}

/* Closes the hole at `hole`: the next entry of the run whose home is not between hole and itself
 * moves into it, and leaves a hole of its own, until the run ends. */
static void close_hole(struct map *m, size_t hole)
{
    size_t mask = m->capacity - 1;
    for (size_t at = (hole + 1) & mask; m->slots[at].value != NULL; at = (at + 1) & mask) {
        size_t distance_from_home = (at - m->slots[at].hash) & mask;
        size_t distance_from_hole = (at - hole) & mask;
        if (distance_from_home >= distance_from_hole) {
            m->slots[hole] = m->slots[at];
            hole = at;
        }
    }
    m->slots[hole] = (struct map_slot){0};
}

static void *remove_key(struct map *m, const struct map_slot *key)
{
    if (m->count == 0) {
        return NULL;
    }
    struct map_slot *slot = find(m, key);
    void *removed = slot->value;
    if (removed != NULL) {
        close_hole(m, (size_t)(slot - m->slots));
        m->count--;
    }
    return removed;
}

void *map_get_u64(const struct map *m, uint64_t key)
{
    struct map_slot slot = key_of_number(m, key);
    return get(m, &slot);
}

void *map_get_bytes(const struct map *m, const void *key, size_t length)
{
    struct map_slot slot = key_of_bytes(m, key, length);
    return get(m, &slot);
}

void *map_get_str(const struct map *m, const char *key)
{
    return map_get_bytes(m, key, strlen(key));
}

void *map_put_u64(struct map *m, uint64_t key, void *value)
{
    return put(m, key_of_number(m, key), value);
}

void *map_put_bytes(struct map *m, const void *key, size_t length, void *value)
{
    return put(m, key_of_bytes(m, key, length), value);
}

void *map_put_str(struct map *m, const char *key, void *value)
{
    return map_put_bytes(m, key, strlen(key), value);
}

void *map_remove_u64(struct map *m, uint64_t key)
{
    struct map_slot slot = key_of_number(m, key);
    return remove_key(m, &slot);
}

void *map_remove_bytes(struct map *m, const void *key, size_t length)
{
    struct map_slot slot = key_of_bytes(m, key, length);
    return remove_key(m, &slot);
}

void *map_remove_str(struct map *m, const char *key)
{
    return map_remove_bytes(m, key, strlen(key));
}

struct map_iter map_iter_begin(const struct map *m)
{
    struct map_iter it = {.map = m};
    if (m->count > 0) {
        while (m->slots[it.at].value != NULL) {
            it.at++;
        }
        it.left = m->capacity - 1;
    }
    return it;
}

bool map_iter_next(struct map_iter *it)
{
    const struct map *m = it->map;
    while (it->left > 0) {
        it->left--;
        it->at = (it->at - 1) & (m->capacity - 1);
        const struct map_slot *slot = &m->slots[it->at];
        if (slot->value != NULL) {
            bool number = slot->length == MAP_NUMBER;
            it->key = number ? slot->key.number : 0;
            it->bytes =
                number ? (struct span){NULL, 0} : (struct span){slot->key.bytes, slot->length};
            it->value = slot->value;
            return true;
        }
    }
    return false;
}
