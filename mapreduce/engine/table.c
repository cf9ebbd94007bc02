/* Open addressing with linear probing. A key of at most 16 bytes is compared as two words and needs
 * one cache line; keys come in batches, so that the lines of a whole batch are fetched at the same
 * time: first all hashes and prefetches, then all look-ups (docs/mapreduce-engine.md has figures).
 */
#include "mapreduce/engine/table.h"

#include <string.h>

#include "common/check.h"
#include "common/hash.h"
#include "common/macros.h"
#include "common/rng.h"
#include "mapreduce/engine/record.h"

enum {
    CAPACITY_FIRST = 16 * 1024,
    BATCH = 64, /* look-ups whose cache lines are on their way together */
    PAGE_BYTES = 4096,
};

static_assert(sizeof(struct table_slot) == 32, "two slots in a cache line");
static_assert(offsetof(struct table_slot, rest) == offsetof(struct table_slot, head) + 8,
              "a short key is contiguous");

struct probe {
    uint64_t head;
    uint64_t rest;
    uint32_t hash;
};

void table_init(struct table *t, enum mr_aggregate aggregate, size_t bytes_max)
{
    size_t slots_max = aggregate == MR_AGGREGATE_NONE ? bytes_max / 4 : bytes_max / 4 * 3;
    *t = (struct table){.aggregate = aggregate, .seed = rng_entropy_u64()};
    t->capacity_max = 1024;
    while (t->capacity_max * 2 * sizeof(struct table_slot) <= slots_max) {
        t->capacity_max *= 2;
    }
    t->capacity = MIN((size_t)CAPACITY_FIRST, t->capacity_max);
    t->bytes_max = MIN(MAX(bytes_max - slots_max, (size_t)4096), (size_t)UINT32_MAX);
    region_reserve(&t->slots, t->capacity * sizeof(struct table_slot));
    region_reserve(&t->bytes, t->bytes_max);
    table_clear(t);
}

void table_deinit(struct table *t)
{
    region_deinit(&t->slots);
    region_deinit(&t->bytes);
    *t = (struct table){0};
}

static struct table_slot *slots_of(const struct table *t)
{
    return (void *)t->slots.data;
}

void table_clear(struct table *t)
{
    memset(t->slots.data, 0, t->capacity * sizeof(struct table_slot));
    t->count = 0;
    t->bytes_used = 1;
}

/* ---- Look-up ---- */

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Masks for the first n bytes of 16; little-endian, like the rest of this fast path. */
static const uint64_t masks[9] = {0,
                                  0xff,
                                  0xffff,
                                  0xffffff,
                                  0xffffffff,
                                  0xffffffffff,
                                  0xffffffffffff,
                                  0xffffffffffffff,
                                  0xffffffffffffffff};

#ifndef __has_feature
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer) ||                           \
    __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#define READ_BEYOND 0
#else
#define READ_BEYOND 1
#endif

/* The key's first 16 bytes as two words, NULs behind a shorter key. Reads 16 bytes at once where
 * that cannot leave the page that the key begins in, whatever lies behind the key; the branch is
 * foreseen well, one on the key's length would not be. */
static inline void load_key(struct probe *p, const uint8_t *key, size_t length)
{
    if (READ_BEYOND && length <= TABLE_INLINE_BYTES && length > 0 &&
        ((uintptr_t)key & (PAGE_BYTES - 1)) <= PAGE_BYTES - TABLE_INLINE_BYTES) {
        uint64_t words[2];
        memcpy(words, key, sizeof(words));
        p->head = words[0] & masks[MIN(length, (size_t)8)];
        p->rest = words[1] & masks[length > 8 ? length - 8 : 0];
        return;
    }
    uint8_t bytes[TABLE_INLINE_BYTES] = {0};
    if (length > 0) {
        memcpy(bytes, key, MIN(length, sizeof(bytes)));
    }
    memcpy(&p->head, bytes, 8);
    memcpy(&p->rest, bytes + 8, 8);
}

static inline void probe_of(const struct table *t, struct mr_span key, struct probe *p)
{
    load_key(p, key.data, key.length);
    uint64_t hash;
    if (key.length <= TABLE_INLINE_BYTES) {
        hash = fold(p->head ^ t->seed, p->rest ^ 0xe7037ed1a0b428dbULL ^ key.length);
    } else {
        hash = hash_bytes(key.data, key.length, t->seed);
    }
    p->hash = (uint32_t)(hash ^ (hash >> 32));
}

static inline bool slot_has(const struct table *t, const struct table_slot *slot,
                            struct mr_span key, const struct probe *p)
{
    uint64_t head;
    memcpy(&head, slot->head, 8);
    if (slot->length != (uint32_t)key.length + 1 || head != p->head) {
        return false;
    }
    if (key.length <= TABLE_INLINE_BYTES) {
        uint64_t rest;
        memcpy(&rest, slot->rest, 8);
        return rest == p->rest;
    }
    return slot->hash == p->hash &&
           memcmp(t->bytes.data + slot->position, key.data, key.length) == 0;
}

/* The key's slot or the free slot where it belongs. There always is a free one. */
static inline struct table_slot *slot_find(const struct table *t, struct mr_span key,
                                           const struct probe *p)
{
    struct table_slot *slots = slots_of(t);
    size_t mask = t->capacity - 1;
    size_t at = p->hash & mask;
    while (slots[at].length != 0 && !slot_has(t, &slots[at], key, p)) {
        at = (at + 1) & mask;
    }
    return &slots[at];
}

/* ---- Adding ---- */

/* Twice the slots. Their order of equal hashes may change, nothing depends on it. */
static void grow(struct table *t)
{
    struct region old = t->slots;
    size_t old_capacity = t->capacity;
    t->slots = (struct region)REGION_INIT;
    t->capacity *= 2;
    region_reserve(&t->slots, t->capacity * sizeof(struct table_slot));
    memset(t->slots.data, 0, t->capacity * sizeof(struct table_slot));
    const struct table_slot *from = (void *)old.data;
    struct table_slot *to = slots_of(t);
    size_t mask = t->capacity - 1;
    for (size_t i = 0; i < old_capacity; i++) {
        if (from[i].length != 0) {
            size_t at = from[i].hash & mask;
            while (to[at].length != 0) {
                at = (at + 1) & mask;
            }
            to[at] = from[i];
        }
    }
    region_deinit(&old);
}

/* Room for `extra` more keys at a load of at most 3/4. */
static bool make_room(struct table *t, size_t extra)
{
    while ((t->count + extra) * 4 > t->capacity * 3) {
        if (t->capacity == t->capacity_max) {
            return false;
        }
        grow(t);
    }
    return true;
}

/* Makes a free slot the key's. False: no room for the bytes of a long key. */
static inline bool slot_take(struct table *t, struct table_slot *slot, struct mr_span key,
                             const struct probe *p)
{
    memcpy(slot->head, &p->head, 8);
    if (key.length <= TABLE_INLINE_BYTES) {
        memcpy(slot->rest, &p->rest, 8);
    } else {
        if (key.length > t->bytes_max - t->bytes_used) {
            return false;
        }
        memcpy(t->bytes.data + t->bytes_used, key.data, key.length);
        slot->position = t->bytes_used;
        t->bytes_used += key.length;
    }
    slot->hash = p->hash;
    slot->length = (uint32_t)key.length + 1;
    t->count++;
    return true;
}

static inline void aggregate(enum mr_aggregate kind, int64_t *number, int64_t value)
{
    switch (kind) {
    case MR_AGGREGATE_MIN:
        *number = MIN(*number, value);
        break;
    case MR_AGGREGATE_MAX:
        *number = MAX(*number, value);
        break;
    case MR_AGGREGATE_SUM:
    case MR_AGGREGATE_NONE:
        *number = (int64_t)((uint64_t)*number + (uint64_t)value);
        break;
    }
}

/* At most BATCH keys, for which there is room. Returns how many were taken. */
static inline size_t add_batch(struct table *t, const struct mr_span *keys, size_t count,
                               const int64_t *values, size_t step)
{
    struct probe probes[BATCH];
    const struct table_slot *slots = slots_of(t);
    size_t mask = t->capacity - 1;
    for (size_t i = 0; i < count; i++) {
        probe_of(t, keys[i], &probes[i]);
        __builtin_prefetch(&slots[probes[i].hash & mask], 1);
    }
    enum mr_aggregate kind = t->aggregate;
    for (size_t i = 0; i < count; i++) {
        struct table_slot *slot = slot_find(t, keys[i], &probes[i]);
        if (__builtin_expect(slot->length != 0, 1)) {
            aggregate(kind, &slot->number, values[i * step]);
        } else if (slot_take(t, slot, keys[i], &probes[i])) {
            slot->number = values[i * step];
        } else {
            return i;
        }
    }
    return count;
}

size_t table_add_numbers(struct table *t, const struct mr_span *keys, size_t count,
                         const int64_t *values, size_t step)
{
    DCHECK(t->aggregate != MR_AGGREGATE_NONE);
    size_t done = 0;
    while (done < count) {
        size_t batch = MIN(count - done, (size_t)BATCH);
        if (!make_room(t, batch)) {
            break;
        }
        size_t taken = add_batch(t, keys + done, batch, values + done * step, step);
        done += taken;
        if (taken < batch) {
            break;
        }
    }
    return done;
}

bool table_add_value(struct table *t, struct mr_span key, struct mr_span value)
{
    struct probe p;
    size_t node = sizeof(uint32_t) + RECORD_HEAD_BYTES_MAX + value.length;
    size_t key_room = key.length > TABLE_INLINE_BYTES ? key.length : 0;
    if (node + key_room > t->bytes_max - t->bytes_used || !make_room(t, 1)) {
        return false;
    }
    probe_of(t, key, &p);
    struct table_slot *slot = slot_find(t, key, &p);
    bool fresh = slot->length == 0;
    if (fresh) {
        CHECK(slot_take(t, slot, key, &p));
    }
    uint32_t position = (uint32_t)t->bytes_used;
    uint8_t *at = t->bytes.data + position;
    memset(at, 0, sizeof(uint32_t)); /* no value follows */
    at = record_put_length(at + sizeof(uint32_t), value.length);
    if (value.length > 0) {
        memcpy(at, value.data, value.length);
    }
    t->bytes_used = (size_t)(at + value.length - t->bytes.data);
    if (fresh) {
        slot->first = position;
    } else {
        memcpy(t->bytes.data + slot->last, &position, sizeof(position));
    }
    slot->last = position;
    return true;
}

/* ---- Reading ---- */

bool table_next(const struct table *t, size_t *at, const struct table_slot **ret_slot)
{
    const struct table_slot *slots = slots_of(t);
    while (*at < t->capacity) {
        const struct table_slot *slot = &slots[(*at)++];
        if (slot->length != 0) {
            *ret_slot = slot;
            return true;
        }
    }
    return false;
}

struct mr_span table_key(const struct table *t, const struct table_slot *slot)
{
    size_t length = slot->length - 1;
    return length <= TABLE_INLINE_BYTES ? mr_bytes(slot->head, length)
                                        : mr_bytes(t->bytes.data + slot->position, length);
}

static bool values_next(struct mr_values *values, struct mr_span *ret_value)
{
    struct table_values *v = CONTAINER_OF(values, struct table_values, values);
    if (v->at == 0) {
        return false;
    }
    const uint8_t *node = v->table->bytes.data + v->at;
    memcpy(&v->at, node, sizeof(v->at));
    size_t length;
    const uint8_t *data = record_get_length(node + sizeof(v->at), &length);
    *ret_value = mr_bytes(data, length);
    v->taken++;
    return true;
}

void table_values_init(struct table_values *v, const struct table *t, const struct table_slot *slot)
{
    *v = (struct table_values){.values = {values_next}, .table = t, .at = slot->first};
}
