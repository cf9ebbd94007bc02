/* Which disks of a chunkserver have failed, as every thread may ask and say. A disk that has failed
 * stays so until the process ends: after a failed flush nobody knows what it has. */
#ifndef CHUNKSERVER_DISK_STATE_SYNC_H
#define CHUNKSERVER_DISK_STATE_SYNC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

/* Those of one server; the field is this module's. */
struct disk_failures {
    atomic_size_t count;
};

/* One disk; the field is this module's. */
struct disk_state {
    atomic_bool failed;
};

void disk_failures_init(struct disk_failures *all);
void disk_state_init(struct disk_state *disk);

bool disk_has_failed(const struct disk_state *disk);
size_t disk_failures_count(const struct disk_failures *all);

/* The disk has failed. Returns how many have by now, or 0 if somebody has said it of this one
 * before. */
size_t disk_fails(struct disk_state *disk, struct disk_failures *all) MUST_CHECK;

#endif
