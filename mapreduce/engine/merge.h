/* Merges sorted runs: a loser tree over their readers, with the first 8 bytes of each run's key at
 * hand. Records with equal keys come in the order of their runs. One thread. */
#ifndef MAPREDUCE_ENGINE_MERGE_H
#define MAPREDUCE_ENGINE_MERGE_H

#include <stddef.h>
#include <stdint.h>

#include "mapreduce/engine/run.h"

struct merge_run {
    struct run_reader reader;
    struct mr_record record; /* its first record that was not merged yet */
    uint64_t prefix;         /* key_prefix() of it */
    bool ended;              /* it has none; behind all others */
};

struct merge {
    struct merge_run *runs; /* `capacity` of them, buffers are kept over merges */
    uint32_t *tree;         /* [0] the winner, [1, count) the loser of each inner node */
    uint32_t count;         /* runs of this merge */
    uint32_t capacity;
    bool started;             /* the winner's record was handed out */
    uint64_t records;         /* handed out so far */
    uint64_t bytes;           /* of their keys and values */
    void (*alive)(void *arg); /* called now and then; NULL: not. Set after merge_init() */
    void *alive_arg;
};

void merge_init(struct merge *m);
void merge_deinit(struct merge *m); /* accepts zeroed */

/* Begins a merge without runs, then adds at most MR_FAN_IN_MAX of them. Sources are borrowed. */
void merge_begin(struct merge *m);
void merge_add(struct merge *m, struct source *source, uint64_t offset, uint64_t length);

/* 1: *ret is the next record, valid until the next call; 0: end; or the error of a reader. */
int merge_next(struct merge *m, struct mr_record *ret, struct err *e) MUST_CHECK;

/* ---- The values of one key ---- */

/* Walks over a merge key by key. */
struct group {
    struct mr_values values; /* for the user's function: the current key's values */
    struct merge *merge;     /* borrowed */
    struct mr_record record; /* the next record, if `pending` */
    struct buf key;          /* the current key, copied: runs move on while values are taken */
    bool pending;            /* record was read but not handed out */
    bool first;              /* record is the first of a new key */
    bool ended;
    int error;      /* of a read within values.next(), reported by the next group_next() */
    struct err *e;  /* its text */
    uint64_t taken; /* values read since group_init(), skipped ones too */
};

void group_init(struct group *g, struct merge *merge, struct err *e);
void group_deinit(struct group *g); /* accepts zeroed */

/* 1: *ret_key is the next distinct key, valid until the next call, and g->values are its values.
 * Skips what was not taken of the previous key. 0: end; or an error. */
int group_next(struct group *g, struct mr_span *ret_key) MUST_CHECK;

#endif
