/* Which reduce task gets a key: by hash, by ranges or by the user's function. One thread.
 *
 * By hash: the upper 32 bits of hash_bytes(key, 0), scaled to the number of reduces. The result is
 * the same on every machine and in every version; it is part of our formats (docs/formats-mr.md).
 * By fields of a key: the same of keyfields_hash().
 */
#ifndef MAPREDUCE_ENGINE_PARTITION_H
#define MAPREDUCE_ENGINE_PARTITION_H

#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/hash.h"
#include "trireme/mapreduce.h"

/* The setting in which a totally ordered job's boundaries travel: R - 1 keys, in hexadecimal,
 * divided by commas. Partition i has the keys below boundary i and not below boundary i - 1. */
#define PARTITION_BOUNDARIES_SETTING "mapreduce.partition.boundaries"

struct job;
struct partition_range; /* a boundary and its prefix; private to partition.c */

struct partitioner {
    uint32_t reduces;                                                               /* above 0 */
    uint32_t (*function)(struct mr_ctx *ctx, struct mr_span key, uint32_t reduces); /* or NULL */
    struct mr_ctx *ctx;    /* for function; borrowed */
    const struct job *job; /* if its keys go by fields, or are coded; else NULL; borrowed */
    struct partition_range *ranges; /* reduces - 1 of them, ascending; NULL: not by ranges */
    uint8_t *memory;                /* what the boundaries' keys point into */
};

/* By hash, unless a function or boundaries are set afterwards. */
void partitioner_init(struct partitioner *p, uint32_t reduces);
void partitioner_deinit(struct partitioner *p); /* accepts zeroed */

/* From the text of the setting. ERR_INVALID: not R - 1 ascending keys. */
int partitioner_set_boundaries(struct partitioner *p, const char *text, struct err *e) MUST_CHECK;

/* Chooses R - 1 boundaries from sampled keys, which it sorts; appends the setting's text. */
void partition_choose(struct mr_span *keys, size_t count, uint32_t reduces, struct buf *out);

uint32_t partition_by_range(const struct partitioner *p, struct mr_span key);

/* As p->job has it. A key that cannot be made plain goes to no partition: the result is not below
 * the number of reduces. */
uint32_t partition_by_fields(const struct partitioner *p, struct mr_span key);

static inline uint32_t partition_scale(uint64_t hash, uint32_t reduces)
{
    return (uint32_t)(((hash >> 32) * reduces) >> 32);
}

static inline uint32_t partition_by_hash(struct mr_span key, uint32_t reduces)
{
    return partition_scale(hash_bytes(key.data, key.length, 0), reduces);
}

/* The partition of a key; what a user's function gave is not checked here. */
static inline uint32_t partition_of(const struct partitioner *p, struct mr_span key)
{
    if (p->reduces == 1) {
        return 0;
    }
    if (p->job) {
        return partition_by_fields(p, key);
    }
    if (p->function) {
        return p->function(p->ctx, key, p->reduces);
    }
    return p->ranges ? partition_by_range(p, key) : partition_by_hash(key, p->reduces);
}

#endif
