/* Which copies to move so that disks are about equally full. Pure; any thread.
 *
 * How full a server is: what its chunks take of what they and the free space are together. The mean
 * is that of all servers together. A server is *over* or *under* when it is more than the threshold
 * away from the mean. A move goes from a server above the mean to one below it, and one of the two
 * is over or under. It leaves the source at least as full as it makes the target, so that moves
 * never turn back, and the chunk on as many racks and hosts as before. */
#ifndef FSMASTER_BALANCE_H
#define FSMASTER_BALANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ids.h"
#include "fsmaster/locations.h"

struct balance_server {
    server_id id;
    uint32_t host; /* labels as numbers, as in placement.h */
    uint32_t rack;
    double used; /* bytes, with moves in progress taken as done */
    double room; /* used and free together */
    bool takes;  /* it is not busy with other copies */
    double fill; /* 0 to 1; set by balance_begin() */
};

struct balance_view {
    struct balance_server *servers; /* live ones in service, in ascending order of ids */
    size_t count;
    double threshold; /* of fill: 0.1 is ten percent of a disk */
    double mean;      /* set by balance_begin(), as the next two */
    bool any_over;
    bool any_under;
};

/* Fills in what is derived. */
void balance_begin(struct balance_view *view);
/* Nobody is over or under: there is nothing to do. */
bool balance_is_even(const struct balance_view *view);
/* The fullest server that may give something and is in place `rank` of those, from 0; NULL: no. */
const struct balance_server *balance_source(const struct balance_view *view, uint32_t rank);
/* The server of that id; NULL: it is not in the view. */
const struct balance_server *balance_find(const struct balance_view *view, server_id id);
/* Where the source's copy of the chunk should go: the emptiest server that will do; NULL: nowhere.
 * Only chunks that are as they should be are moved. */
const struct balance_server *balance_target(const struct balance_view *view,
                                            const struct location *chunk,
                                            const struct balance_server *source);

#endif
