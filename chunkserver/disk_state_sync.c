#include "chunkserver/disk_state_sync.h"

void disk_failures_init(struct disk_failures *all)
{
    atomic_init(&all->count, 0);
}

void disk_state_init(struct disk_state *disk)
{
    atomic_init(&disk->failed, false);
}

bool disk_has_failed(const struct disk_state *disk)
{
    return atomic_load(&disk->failed);
}

size_t disk_failures_count(const struct disk_failures *all)
{
    return atomic_load(&all->count);
}

size_t disk_fails(struct disk_state *disk, struct disk_failures *all)
{
    return atomic_exchange(&disk->failed, true) ? 0 : atomic_fetch_add(&all->count, 1) + 1;
}
