/* Which chunks a file master has fenced lately, whether they were here or not: a writer that comes
 * after the fence must not begin such a chunk at an old version, because nobody will look for it
 * again. A replica that is here says so by its record; this is for those that are not. In memory,
 * bounded: the oldest goes first. Pure; owner thread. */
#ifndef CHUNKSERVER_FENCED_H
#define CHUNKSERVER_FENCED_H

#include <stddef.h>
#include <stdint.h>

#include "common/ids.h"
#include "common/map.h"

/* Zeroed: empty. */
struct fenced {
    struct map versions;    /* id -> its place in `refs` */
    struct chunk_ref *refs; /* a ring of FENCED_COUNT_MAX; NULL while empty */
    size_t count;           /* of them in use */
    size_t oldest;          /* the next to go when all are */
};

/* Writers at versions below that of `chunk` come too late. */
void fenced_put(struct fenced *f, struct chunk_ref chunk);
/* The highest version that the chunk was fenced with; 0: none is known. */
uint64_t fenced_version(const struct fenced *f, chunk_id id);
void fenced_deinit(struct fenced *f);

#endif
