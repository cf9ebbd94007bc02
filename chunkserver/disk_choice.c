/* The turns are a smooth weighted round robin: each candidate is credited with its room, the one
 * with the most credit takes the chunk and pays the sum of all. So nobody is starved, and two disks
 * with the same room simply alternate. */
#include "chunkserver/disk_choice.h"

#include "common/limits.h"
#include "common/macros.h"

enum { WEIGHT_SHIFT = 20 }; /* weights are MiB, so that sums of credits stay far from overflow */

uint64_t disk_room(const struct disk_offer *offer, uint64_t limit_bytes)
{
    if (offer->failed) {
        return 0;
    }
    uint64_t room = offer->available_bytes;
    if (limit_bytes > 0) {
        room = MIN(room, limit_bytes - MIN(limit_bytes, offer->used_bytes));
    }
    return room;
}

static int most_room(const struct disk_offer *offers, size_t count, uint64_t limit_bytes,
                     uint64_t least_bytes)
{
    int best = -1;
    uint64_t most = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t room = disk_room(&offers[i], limit_bytes);
        if (!offers[i].failed && room >= least_bytes && (best < 0 || room > most)) {
            best = (int)i;
            most = room;
        }
    }
    return best;
}

int disk_choice(const struct disk_offer *offers, struct disk_turn *turns, size_t count,
                uint64_t limit_bytes, const struct disk_need *need)
{
    int best = -1;
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t room = disk_room(&offers[i], limit_bytes);
        if (offers[i].failed || room < need->whole_bytes) {
            turns[i].credit = 0; /* when it is a candidate again, it has nothing to catch up with */
            continue;
        }
        int64_t weight = (int64_t)(room >> WEIGHT_SHIFT) + 1;
        turns[i].credit += weight;
        sum += weight;
        best = best < 0 || turns[i].credit > turns[best].credit ? (int)i : best;
    }
    if (best < 0) {
        return most_room(offers, count, limit_bytes, need->least_bytes);
    }
    turns[best].credit -= sum;
    return best;
}

/* Whether a disk before this one, that has not failed, is on the same file system. */
static bool is_counted(const struct disk_offer *offers, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (!offers[j].failed && offers[j].file_system == offers[i].file_system) {
            return true;
        }
    }
    return false;
}

void disk_sums(const struct disk_offer *offers, size_t count, uint64_t limit_bytes,
               uint64_t *ret_capacity, uint64_t *ret_available)
{
    uint64_t capacity = 0;
    uint64_t available = 0;
    uint64_t largest = 0;
    for (size_t i = 0; i < count; i++) {
        if (offers[i].failed) {
            continue;
        }
        bool counted = is_counted(offers, i);
        largest = MAX(largest, disk_room(&offers[i], limit_bytes));
        capacity += limit_bytes > 0 ? limit_bytes : counted ? 0 : offers[i].capacity_bytes;
        if (counted) {
            continue;
        }
        uint64_t rooms = 0;
        for (size_t j = i; j < count; j++) {
            bool shares = offers[j].file_system == offers[i].file_system;
            rooms += shares ? disk_room(&offers[j], limit_bytes) : 0;
        }
        available += MIN(rooms, offers[i].available_bytes);
    }
    *ret_capacity = capacity;
    *ret_available = largest < CHUNK_BYTES_DEFAULT ? largest : available;
}

bool disk_claim_is_better(const struct disk_claim *a, const struct disk_claim *b)
{
    if (a->version != b->version) {
        return a->version > b->version;
    }
    if (a->sealed != b->sealed) {
        return a->sealed;
    }
    if (a->damaged != b->damaged) {
        return b->damaged;
    }
    return a->length > b->length;
}
