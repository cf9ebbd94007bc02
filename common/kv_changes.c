/* See kv_changes.h. A table is what begins with one byte: a sorted run, and behind it what came
 * since the last walk. A short tail is put in its place one by one, a long one by sorting the
 * whole; so walks between single changes cost no more than a move of pointers. */
#include "common/kv_changes.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/check.h"
#include "common/macros.h"
#include "common/map.h"

enum {
    TABLE_COUNT = 256,
    TAIL_COUNT_MAX = 8,         /* put in place one by one */
    SPARE_CAPACITY_MAX = 16384, /* of the hash, kept over a clear */
    SPARSE_PART = 16,           /* with fewer in it than this part of its capacity it is sparse */
};

struct table {
    struct kv_change **list;
    size_t count;
    size_t sorted; /* of them, at the beginning */
    size_t capacity;
};

struct kv_changes {
    struct map by_key;
    struct arena arena; /* changes, keys and values */
    size_t count;
    size_t bytes;
    struct table tables[TABLE_COUNT];
};

struct kv_changes *kv_changes_new(void)
{
    struct kv_changes *c = xcalloc(1, sizeof(*c));
    map_init(&c->by_key, 0);
    arena_init(&c->arena, 0);
    return c;
}

void kv_changes_free(struct kv_changes *c)
{
    if (!c) {
        return;
    }
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        free(c->tables[i].list);
    }
    map_deinit(&c->by_key);
    arena_deinit(&c->arena);
    free(c);
}

/* A map that was large once is passed over only when that is not much more than what is in it. */
static void clear_map(struct kv_changes *c)
{
    if (c->by_key.capacity > SPARE_CAPACITY_MAX) {
        map_deinit(&c->by_key);
        return;
    }
    if (c->count > c->by_key.capacity / SPARSE_PART) {
        map_clear(&c->by_key);
        return;
    }
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        for (size_t k = 0; k < c->tables[i].count; k++) {
            struct span key = c->tables[i].list[k]->key;
            (void)map_remove_bytes(&c->by_key, key.data, key.length);
        }
    }
}

void kv_changes_clear(struct kv_changes *c)
{
    clear_map(c);
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        c->tables[i].count = 0;
        c->tables[i].sorted = 0;
    }
    arena_reset(&c->arena);
    c->count = 0;
    c->bytes = 0;
}

/* ---- Changing -------------------------------------------------------------------------------- */

static uint64_t order_of(struct span key)
{
    const uint8_t *bytes = key.data;
    uint64_t order = 0;
    for (size_t i = 1; i <= sizeof(order); i++) {
        order = order << 8 | (i < key.length ? bytes[i] : 0);
    }
    return order;
}

static struct kv_change *add(struct kv_changes *c, struct span key)
{
    struct kv_change *change = arena_alloc(&c->arena, sizeof(*change) + key.length);
    char *copy = (char *)(change + 1);
    memcpy(copy, key.data, key.length);
    *change = (struct kv_change){.key = {copy, key.length}, .order = order_of(key)};
    map_put_bytes(&c->by_key, copy, key.length, change);
    struct table *table = &c->tables[(uint8_t)copy[0]];
    if (table->count == table->capacity) {
        table->capacity = table->capacity ? 2 * table->capacity : 64;
        table->list = xreallocarray(table->list, table->capacity, sizeof(table->list[0]));
    }
    table->list[table->count++] = change;
    c->count++;
    c->bytes += key.length;
    return change;
}

static struct kv_change *change_of(struct kv_changes *c, struct span key)
{
    CHECK(key.length > 0);
    struct kv_change *change = map_get_bytes(&c->by_key, key.data, key.length);
    return change ? change : add(c, key);
}

static void set_value(struct kv_changes *c, struct kv_change *change, struct span value)
{
    if (value.length > change->value_room) {
        change->value.data = arena_alloc(&c->arena, value.length);
        change->value_room = value.length;
    }
    if (value.length > 0) {
        memcpy((void *)change->value.data, value.data, value.length);
    }
    change->value.length = value.length;
    change->deleted = false;
    c->bytes += value.length;
}

void kv_changes_put(struct kv_changes *c, struct span key, struct span value)
{
    set_value(c, change_of(c, key), value);
}

void kv_changes_put_new(struct kv_changes *c, struct span key, struct span value)
{
    CHECK(key.length > 0);
    struct kv_change *change = map_get_bytes(&c->by_key, key.data, key.length);
    if (!change) {
        change = add(c, key);
        change->is_new = true;
    }
    set_value(c, change, value);
}

void kv_changes_del(struct kv_changes *c, struct span key)
{
    struct kv_change *change = change_of(c, key);
    change->deleted = true;
    change->value.length = 0;
}

void kv_changes_absent(struct kv_changes *c, struct span key)
{
    struct kv_change *change = add(c, key);
    change->deleted = true;
    change->is_new = true;
}

/* ---- Looking --------------------------------------------------------------------------------- */

const struct kv_change *kv_changes_find(const struct kv_changes *c, struct span key)
{
    return c->count > 0 ? map_get_bytes(&c->by_key, key.data, key.length) : NULL;
}

size_t kv_changes_count(const struct kv_changes *c)
{
    return c->count;
}

size_t kv_changes_bytes(const struct kv_changes *c)
{
    return c->bytes;
}

/* ---- Walking --------------------------------------------------------------------------------- */

/* Of keys with the same first byte. */
static int compare(const struct kv_change *a, const struct kv_change *b)
{
    if (a->order != b->order) {
        return a->order < b->order ? -1 : 1;
    }
    int order = memcmp(a->key.data, b->key.data, MIN(a->key.length, b->key.length));
    return order != 0 ? order : (a->key.length > b->key.length) - (a->key.length < b->key.length);
}

static int compare_pointers(const void *a, const void *b)
{
    return compare(*(struct kv_change *const *)a, *(struct kv_change *const *)b);
}

/* First position in the sorted run whose key is not before this one's. */
static size_t lower_bound(const struct table *table, const struct kv_change *key)
{
    size_t from = 0;
    size_t to = table->sorted;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (compare(table->list[middle], key) < 0) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

static size_t position_of(const struct table *table, struct span bound)
{
    struct kv_change key = {.key = bound, .order = order_of(bound)};
    return lower_bound(table, &key);
}

static void sort(struct table *table)
{
    if (table->count - table->sorted > TAIL_COUNT_MAX) {
        qsort(table->list, table->count, sizeof(table->list[0]), compare_pointers);
        table->sorted = table->count;
    }
    while (table->sorted < table->count) {
        struct kv_change *change = table->list[table->sorted];
        size_t at = lower_bound(table, change);
        memmove(table->list + at + 1, table->list + at,
                (table->sorted - at) * sizeof(table->list[0]));
        table->list[at] = change;
        table->sorted++;
    }
}

static bool below(struct span a, struct span b)
{
    size_t common = MIN(a.length, b.length); /* 0: b may be no bound, with no bytes */
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return order < 0 || (order == 0 && a.length < b.length);
}

/* From a position that may be one too far in the cursor's direction, into the next table that has
 * changes. */
static void settle(struct kv_cursor *cursor)
{
    const struct kv_range *range = cursor->range;
    while (cursor->at >= cursor->changes->tables[cursor->table].count) {
        if (cursor->table == cursor->last) {
            cursor->over = true;
            return;
        }
        cursor->table = range->reverse ? cursor->table - 1 : cursor->table + 1;
        struct table *table = &cursor->changes->tables[cursor->table];
        sort(table);
        cursor->at = range->reverse ? table->count - 1 : 0; /* of an empty one: beyond it */
    }
    struct span key = cursor->changes->tables[cursor->table].list[cursor->at]->key;
    cursor->over = range->reverse ? below(key, range->start)
                                  : range->end.length > 0 && !below(key, range->end);
}

/* First byte of the keys just below an upper bound; -1: there are none. */
static int table_below(struct span end)
{
    int first = end.length > 0 ? ((const uint8_t *)end.data)[0] : TABLE_COUNT;
    return end.length > 1 ? first : first - 1;
}

static int table_from(struct span start)
{
    return start.length > 0 ? ((const uint8_t *)start.data)[0] : 0;
}

/* Tables beyond the range are not even looked at: putting one in order that is being filled, for
 * each of many short walks elsewhere, would cost more than all the rest. */
void kv_cursor_begin(struct kv_cursor *cursor, struct kv_changes *c, const struct kv_range *range)
{
    int low = table_from(range->start);
    int high = table_below(range->end);
    *cursor = (struct kv_cursor){.changes = c, .range = range, .over = low > high};
    if (cursor->over) {
        return;
    }
    cursor->table = (unsigned)(range->reverse ? high : low);
    cursor->last = (unsigned)(range->reverse ? low : high);
    struct table *table = &c->tables[cursor->table];
    sort(table);
    if (!range->reverse) {
        cursor->at = range->start.length > 0 ? position_of(table, range->start) : 0;
    } else {
        cursor->at = range->end.length > 1 ? position_of(table, range->end) : table->count;
        cursor->at--; /* before the first one: beyond the table */
    }
    settle(cursor);
}

const struct kv_change *kv_cursor_get(const struct kv_cursor *cursor)
{
    return cursor->over ? NULL : cursor->changes->tables[cursor->table].list[cursor->at];
}

void kv_cursor_next(struct kv_cursor *cursor)
{
    CHECK(!cursor->over);
    cursor->at = cursor->range->reverse ? cursor->at - 1 : cursor->at + 1;
    settle(cursor);
}
