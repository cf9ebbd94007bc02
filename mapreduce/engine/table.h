/* Aggregation in the mapper: a hash table from keys to one int64_t (a ready-made combiner) or to
 * the list of a key's values (a combine function). Only distinct keys are sorted and spilled
 * afterwards. Pure but for its memory; one thread. */
#ifndef MAPREDUCE_ENGINE_TABLE_H
#define MAPREDUCE_ENGINE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mapreduce/engine/region.h"
#include "trireme/mapreduce.h"

enum { TABLE_INLINE_BYTES = 16 }; /* shorter keys stand in their slot */

struct table_slot {
    uint32_t hash;   /* low bits: where the slot belongs */
    uint32_t length; /* of the key plus 1; 0: the slot is free */
    uint8_t head[8]; /* the key's first bytes, NULs behind it */
    union {
        uint8_t rest[8];   /* of a key of at most 16 bytes */
        uint64_t position; /* of a longer one, in `bytes` */
    };
    union {
        int64_t number;
        struct {
            uint32_t first; /* values, oldest first: positions in `bytes` */
            uint32_t last;
        };
    };
};

struct table {
    enum mr_aggregate aggregate; /* MR_AGGREGATE_NONE: lists of values */
    uint64_t seed;               /* nobody who chooses keys can make the table slow */
    struct region slots;
    size_t capacity;     /* slots, a power of two */
    size_t capacity_max; /* by the budget */
    size_t count;        /* keys */
    struct region bytes; /* long keys, and values in lists */
    size_t bytes_used;   /* position 0 is never given out */
    size_t bytes_max;
};

void table_init(struct table *t, enum mr_aggregate aggregate, size_t bytes_max);
void table_deinit(struct table *t); /* accepts zeroed */
void table_clear(struct table *t);

/* Aggregates values[0] with keys[0] and so on; with step 0, values[0] with every key. Returns how
 * many were taken before the table was full; the rest is for after table_clear(). */
size_t table_add_numbers(struct table *t, const struct mr_span *keys, size_t count,
                         const int64_t *values, size_t step);

/* Appends a value to a key's list. False: full, nothing was added. */
bool table_add_value(struct table *t, struct mr_span key, struct mr_span value);

/* The slots in no order: false at the end. *at begins with 0. */
bool table_next(const struct table *t, size_t *at, const struct table_slot **ret_slot);
struct mr_span table_key(const struct table *t, const struct table_slot *slot);

/* The values of a slot, as combine functions take them. */
struct table_values {
    struct mr_values values;
    const struct table *table;
    uint32_t at;    /* the next value; 0: none */
    uint64_t taken; /* values handed out */
};
void table_values_init(struct table_values *v, const struct table *t,
                       const struct table_slot *slot);

#endif
