/* What log_store.c (writing, reading) and log_recover.c (opening) share. Nobody else includes it.
 */
#ifndef COMMON_RAFT_LOG_STORE_INTERNAL_H
#define COMMON_RAFT_LOG_STORE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/raft/log_store.h"

enum { LOG_NAME_BYTES = 32 };

#define LOG_SEGMENT_PREFIX "segment-" /* and the number, 16 hexadecimal digits */
#define LOG_SPARE_PREFIX   "spare-"   /* likewise; the number that it had in use */
#define LOG_NEW_NAME       "new"      /* a segment before it is complete */

/* Where an entry is. */
struct log_slot {
    term_no term;
    uint32_t segment; /* number */
    uint32_t offset;  /* of its record in that file */
    uint32_t length;  /* of its data */
};

struct log_segment {
    uint64_t number;
    struct disk_file *file;
    uint64_t file_bytes; /* its length: beyond it, blocks were never written */
};

struct log_store {
    struct disk *disk;
    uint64_t segment_bytes;
    uint64_t salt_seed;

    struct log_segment
        *segments; /* oldest first, numbers without gaps; the last one is written to */
    size_t segment_count;
    uint64_t *spares; /* numbers in the names of spare files */
    size_t spare_count;
    bool spares_settled; /* the renames that made them are durable */
    uint64_t salt;       /* of the last segment */
    uint64_t write_at;   /* end of the last batch in the last segment */

    uint64_t last_seq;     /* newest batch written */
    uint64_t synced_seq;   /* newest batch that is durable */
    log_index synced_last; /* last index as of synced_seq */
    uint64_t epoch;        /* of this open */
    bool covered;          /* the last batch is empty: nothing is left to record */

    struct log_hard_state hard;
    log_index start_index;
    term_no start_term;
    log_index base;         /* index of slots[slot_head]; start_index + 1 except while replaying */
    struct log_slot *slots; /* ring-less deque: live ones are slots[slot_head ... + slot_count) */
    size_t slot_head;
    size_t slot_count;
    size_t slot_capacity;

    struct buf out;        /* the batch being built */
    uint64_t tick_seq;     /* last_seq at the tick that first saw it */
    time_ms tick_since_ms; /* when that was */
    int failed;            /* first fatal error, 0 while healthy */
    struct log_store_stats stats;
};

static inline log_index log_last(const struct log_store *s)
{
    return s->base + s->slot_count - 1;
}

static inline struct log_segment *log_current(struct log_store *s)
{
    return &s->segments[s->segment_count - 1];
}

void log_name(char ret_name[LOG_NAME_BYTES], const char *prefix, uint64_t number);

void log_slots_push(struct log_store *s, struct log_slot slot);
void log_slots_cut(struct log_store *s, log_index from);   /* forget entries from this index on */
void log_slots_drop(struct log_store *s, log_index up_to); /* forget entries up to this index */
void log_slots_restart(struct log_store *s,
                       log_index first); /* forget all; the next one is first */

/* Adds an opened file as the newest segment. */
void log_segment_add(struct log_store *s, uint64_t number, struct disk_file *file,
                     uint64_t file_bytes);

/* Makes the next segment, empty and durable, the one that is written to. The one before it is
 * synced first. */
int log_segment_begin(struct log_store *s, uint64_t number, struct err *e) MUST_CHECK;

/* Turns the oldest `count` segments into spares, or removes them. */
int log_segments_drop(struct log_store *s, size_t count, struct err *e) MUST_CHECK;

/* Turns an old file into a spare, or removes it when there are enough. */
int log_file_retire(struct log_store *s, uint64_t number, struct err *e) MUST_CHECK;

/* Writes a batch without records. Syncs nothing. */
int log_write_empty(struct log_store *s, struct err *e) MUST_CHECK;

#endif
