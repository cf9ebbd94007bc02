/* The hash map: open addressing with linear probing; keys are numbers or byte strings, values are
 * pointers. One thread at a time.
 *
 * The map owns neither keys nor values. A byte-string key is borrowed and must live as long as its
 * entry, so it normally stands inside the value. A value is never NULL, so that NULL can say
 * "absent". One map has one kind of key.
 *
 * Order of iteration follows from keys, seed and history alone, so a simulation replays. Maps whose
 * keys a peer chooses take a random seed, so that nobody can make them slow.
 *
 *     struct map files = MAP_INIT;
 *     map_put_u64(&files, file->id, file);
 *     MAP_FOR_EACH(it, &files) { struct file *file = it.value; ... } */
#ifndef COMMON_MAP_H
#define COMMON_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h" /* struct span */

struct map_slot; /* one entry, 24 bytes; private to map.c */

struct map {
    struct map_slot *slots; /* NULL while nothing was ever put */
    size_t count;           /* entries */
    size_t capacity;        /* slots: 0 or a power of two; at most 3/4 are filled */
    uint64_t seed;          /* of the hash; fixed while the map has entries */
};

#define MAP_INIT                                                                                   \
    {                                                                                              \
        NULL, 0, 0, 0                                                                              \
    }

void map_init(struct map *m, uint64_t seed);
void map_deinit(struct map *m); /* accepts NULL and zeroed; leaves an empty, usable map */
void map_clear(struct map *m);  /* no entries, memory kept */

/* Room for `count` entries in all without growing. */
void map_reserve(struct map *m, size_t count);

/* NULL: absent. */
void *map_get_u64(const struct map *m, uint64_t key);
void *map_get_bytes(const struct map *m, const void *key, size_t length);
void *map_get_str(const struct map *m, const char *key);

/* Adds or replaces. Returns the value replaced, else NULL. A replaced byte-string key is borrowed
 * from the new caller. */
void *map_put_u64(struct map *m, uint64_t key, void *value);
void *map_put_bytes(struct map *m, const void *key, size_t length, void *value);
void *map_put_str(struct map *m, const char *key, void *value);

/* Returns the value removed, NULL if there was none. */
void *map_remove_u64(struct map *m, uint64_t key);
void *map_remove_bytes(struct map *m, const void *key, size_t length);
void *map_remove_str(struct map *m, const char *key);

/* Iteration meets each entry once. During it the current entry may be removed and current values
 * may be replaced; nothing may be added, and no entry that is still to come removed. */
struct map_iter {
    const struct map *map;
    size_t at;         /* slot of the current entry */
    size_t left;       /* slots still to look at */
    uint64_t key;      /* of the current entry, in a map of numbers */
    struct span bytes; /* of the current entry, in a map of byte strings */
    void *value;       /* of the current entry */
};

struct map_iter map_iter_begin(const struct map *m);
bool map_iter_next(struct map_iter *it); /* false: no more */

#define MAP_FOR_EACH(it, m) for (struct map_iter it = map_iter_begin(m); map_iter_next(&(it));)

#endif
