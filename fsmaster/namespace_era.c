/* Eras: what happens to the state when it goes on without a part of its history (restored from a
 * backup, or taken over from one survivor of a lost quorum). See struct era.
 *
 * The lost history may have given out ids, epochs and versions that this state has never heard of,
 * and clients and chunkservers still have them. So everything from now on starts at a floor above
 * all that: one number for all of them, which also grows with the wall clock, because the same
 * backup may be restored twice, and the second era must not give out what the first one did.
 *
 * Nothing is walked: old sessions are known by the cluster time when they were last used, old
 * leases by their epochs, and unsealed chunks get the era's version when they are sealed. */
#include "fsmaster/namespace_internal.h"

enum {
    FLOOR_GAP = 1 << 20,     /* above everything seen, even if the clock is of no help ... */
    FLOOR_SECOND_SHIFT = 20, /* ... and a million ids for each second since 1970: below 2^53, so
                                that JSON's readers keep every digit */
    SERVER_GAP_MIN = 64,     /* ids of chunkservers are few (NAMESPACE_SERVER_COUNT_MAX) */
    SERVER_GAP_SPREAD = 192,
};

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t era_floor(uint64_t seen, time_ms wall_ms)
{
    return max_u64(seen + FLOOR_GAP, (wall_ms / 1000) << FLOOR_SECOND_SHIFT);
}

uint64_t era_version(const struct era *era, uint64_t version)
{
    /* Versions have 32 bits in the table of locations; the seconds do until 2106. */
    return max_u64(version + 1, (era->floor >> FLOOR_SECOND_SHIFT) & UINT32_MAX);
}

int ns_apply_begin_era(struct namespace *ns, uint64_t floor)
{
    struct meta_row *meta = &ns->meta;
    uint64_t given = max_u64(meta->era.floor, max_u64(meta->next_inode, meta->next_chunk));
    if (floor > UINT64_MAX / 2) {
        return ERR_INVALID; /* nothing would be left to count with */
    }
    floor = max_u64(floor, given + FLOOR_GAP);
    uint32_t second = (uint32_t)(floor >> FLOOR_SECOND_SHIFT);
    meta->next_inode = floor;
    meta->next_chunk = floor;
    meta->next_server += SERVER_GAP_MIN + second % SERVER_GAP_SPREAD;
    meta->cluster_ms += SESSION_LIFE_MS; /* what is stale is also due */
    meta->era = (struct era){.floor = floor,
                             .begun_ms = meta->cluster_ms,
                             .wall_ms = ns->wall_ms,
                             .keeps_orphans = true};
    ns->meta_dirty = true;
    ns_effect(ns, EFFECT_ERA_BEGUN);
    return 0;
}

int ns_apply_release_orphans(struct namespace *ns)
{
    if (!ns->meta.era.keeps_orphans) {
        return err_set(&ns->err, ERR_PRECONDITION, "no orphans are kept");
    }
    ns->meta.era.keeps_orphans = false;
    ns->meta_dirty = true;
    ns_effect(ns, EFFECT_ORPHANS_RELEASED);
    return 0;
}
