/* See entry_cache.h. */
#include "fsmaster/entry_cache.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/macros.h"

static void block_unref(struct entry_block *b)
{
    if (--b->refs == 0) {
        free(b);
    }
}

/* One block with the data of all entries; no reference is counted yet. */
static struct entry_block *block_of(const struct log_entry *entries, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += entries[i].data.length;
    }
    struct entry_block *b = xmalloc(sizeof(*b) + bytes);
    *b = (struct entry_block){.bytes = bytes};
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].data.length > 0) {
            memcpy(b->data + at, entries[i].data.data, entries[i].data.length);
        }
        at += entries[i].data.length;
    }
    return b;
}

/* ---- Cache ---------------------------------------------------------------------------------- */

void entry_cache_init(struct entry_cache *c, log_index first)
{
    *c = (struct entry_cache){.first = first};
}

static void drop_all(struct entry_cache *c)
{
    for (size_t i = 0; i < c->count; i++) {
        block_unref(c->slots[c->head + i].block);
    }
    c->head = 0;
    c->count = 0;
    c->bytes = 0;
}

void entry_cache_deinit(struct entry_cache *c)
{
    drop_all(c);
    free(c->slots);
    *c = (struct entry_cache){.first = 1};
}

void entry_cache_restart(struct entry_cache *c, log_index first)
{
    drop_all(c);
    c->first = first;
}

static void make_room(struct entry_cache *c, size_t count)
{
    if (c->head + c->count + count <= c->capacity) {
        return;
    }
    if (c->head > 0) {
        memmove(c->slots, c->slots + c->head, c->count * sizeof(c->slots[0]));
        c->head = 0;
    }
    size_t wanted = c->capacity ? c->capacity : 256;
    while (wanted < 2 * (c->count + count)) {
        wanted *= 2;
    }
    if (wanted > c->capacity) {
        c->slots = xreallocarray(c->slots, wanted, sizeof(c->slots[0]));
        c->capacity = wanted;
    }
}

void entry_cache_add(struct entry_cache *c, const struct log_entry *entries, size_t count)
{
    if (count == 0) {
        return;
    }
    CHECK(entries[0].index == c->first + c->count);
    struct entry_block *block = block_of(entries, count);
    size_t at = 0;
    make_room(c, count);
    for (size_t i = 0; i < count; i++) {
        struct cached_entry *slot = &c->slots[c->head + c->count++];
        *slot = (struct cached_entry){.entry = entries[i], .block = block};
        slot->entry.data.data = block->data + at;
        at += entries[i].data.length;
        block->refs++;
    }
    c->bytes += block->bytes;
}

void entry_cache_truncate(struct entry_cache *c, log_index from)
{
    if (from < c->first) {
        entry_cache_restart(c, from);
        return;
    }
    while (c->count > 0 && c->first + c->count > from) {
        struct cached_entry *slot = &c->slots[c->head + --c->count];
        c->bytes -= slot->entry.data.length;
        block_unref(slot->block);
    }
}

void entry_cache_trim(struct entry_cache *c, log_index index, size_t bytes_max)
{
    while (c->count > 0 && c->bytes > bytes_max && c->first <= index) {
        struct cached_entry *slot = &c->slots[c->head++];
        c->bytes -= slot->entry.data.length;
        block_unref(slot->block);
        c->count--;
        c->first++;
    }
}

const struct cached_entry *entry_cache_find(const struct entry_cache *c, log_index index)
{
    return index >= c->first && index - c->first < c->count
               ? &c->slots[c->head + (size_t)(index - c->first)]
               : NULL;
}

/* ---- Runs ----------------------------------------------------------------------------------- */

void entry_run_deinit(struct entry_run *run)
{
    for (size_t i = 0; i < run->block_count; i++) {
        block_unref(run->blocks[i]);
    }
    free(run->blocks);
    free(run->entries);
    *run = (struct entry_run){0};
}

static void run_push(struct entry_run *run, const struct log_entry *entry)
{
    if (run->count == run->capacity) {
        run->capacity = run->capacity ? 2 * run->capacity : 16;
        run->entries = xreallocarray(run->entries, run->capacity, sizeof(run->entries[0]));
    }
    run->entries[run->count++] = *entry;
    run->bytes += entry->data.length;
}

/* The entries of one block stand together, so the last one is the only candidate. */
static void run_hold(struct entry_run *run, struct entry_block *block)
{
    if (run->block_count > 0 && run->blocks[run->block_count - 1] == block) {
        return;
    }
    if (run->block_count == run->block_capacity) {
        run->block_capacity = run->block_capacity ? 2 * run->block_capacity : 4;
        run->blocks = xreallocarray(run->blocks, run->block_capacity, sizeof(run->blocks[0]));
    }
    run->blocks[run->block_count++] = block;
    block->refs++;
}

size_t entry_run_take(struct entry_run *run, const struct entry_cache *c, log_index from,
                      size_t count_max, size_t bytes_max)
{
    size_t taken = 0;
    const struct cached_entry *slot = entry_cache_find(c, from);
    while (slot && taken < count_max &&
           (run->count == 0 || run->bytes + slot->entry.data.length <= bytes_max)) {
        run_push(run, &slot->entry);
        run_hold(run, slot->block);
        taken++;
        slot = entry_cache_find(c, from + taken);
    }
    return taken;
}

void entry_run_copy(struct entry_run *run, const struct log_entry *entries, size_t count)
{
    struct entry_block *block = block_of(entries, count);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        struct log_entry entry = entries[i];
        entry.data.data = block->data + at;
        at += entry.data.length;
        run_push(run, &entry);
    }
    run_hold(run, block);
}
