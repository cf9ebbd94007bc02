/* Decides among the disks of one chunkserver: which takes a new chunk, how much room they have
 * together, and which of two copies of a chunk counts. Pure; the owner thread's. */
#ifndef CHUNKSERVER_DISK_CHOICE_H
#define CHUNKSERVER_DISK_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ids.h"

/* What a disk, which means a data directory, offers. */
struct disk_offer {
    bool failed;              /* offers nothing; the rest is not looked at */
    uint64_t file_system;     /* two directories may share one */
    uint64_t capacity_bytes;  /* of the file system */
    uint64_t available_bytes; /* for chunks, of the file system */
    uint64_t used_bytes;      /* by the chunks of this directory */
};

/* How often each disk was passed over, so that choices follow the proportions without chance:
 * zeroed at first. */
struct disk_turn {
    int64_t credit;
};

/* What a new chunk asks for. */
struct disk_need {
    uint64_t least_bytes; /* there is no point without so many */
    uint64_t whole_bytes; /* it may grow so far; at least least_bytes */
};

/* What a directory has room for: `limit_bytes` (0: no limit) is what it may hold at most. */
uint64_t disk_room(const struct disk_offer *offer, uint64_t limit_bytes);

/* The index of the disk that takes a chunk, -1: none has room. Those with room for the whole chunk
 * take turns in proportion to their room; if there is none, the one with the most room takes it if
 * that is enough at least. turns: one for each disk, changed by this. */
int disk_choice(const struct disk_offer *offers, struct disk_turn *turns, size_t count,
                uint64_t limit_bytes, const struct disk_need *need);

/* All of them together. A file system that several share counts once. While none has room for a
 * chunk of CHUNK_BYTES_DEFAULT, only the largest room is available: what a chunk needs must be in
 * one place, and file masters give chunks to those who have so much. */
void disk_sums(const struct disk_offer *offers, size_t count, uint64_t limit_bytes,
               uint64_t *ret_capacity, uint64_t *ret_available);

/* What two directories say of the same chunk. */
struct disk_claim {
    uint64_t version;
    uint64_t length;
    bool sealed;
    bool damaged;
};

/* Whether a goes before b: the higher version, then sealed, then undamaged, then the longer one. A
 * lower version is what a disk that was away has not heard of. Of equals neither does. */
bool disk_claim_is_better(const struct disk_claim *a, const struct disk_claim *b);

#endif
