/* See fenced.h. */
#include "chunkserver/fenced.h"

#include <stdlib.h>

#include "common/alloc.h"
#include "common/limits.h"
#include "common/macros.h"

/* The place for one more; the oldest makes room. */
static struct chunk_ref *take_place(struct fenced *f)
{
    if (f->refs == NULL) {
        f->refs = xcalloc(FENCED_COUNT_MAX, sizeof(*f->refs));
    }
    if (f->count < FENCED_COUNT_MAX) {
        return &f->refs[f->count++];
    }
    struct chunk_ref *place = &f->refs[f->oldest];
    f->oldest = (f->oldest + 1) % FENCED_COUNT_MAX;
    (void)map_remove_u64(&f->versions, place->id);
    return place;
}

void fenced_put(struct fenced *f, struct chunk_ref chunk)
{
    struct chunk_ref *known = map_get_u64(&f->versions, chunk.id);
    if (known != NULL) {
        known->version = MAX(known->version, chunk.version);
        return;
    }
    struct chunk_ref *place = take_place(f);
    *place = chunk;
    (void)map_put_u64(&f->versions, chunk.id, place);
}

uint64_t fenced_version(const struct fenced *f, chunk_id id)
{
    const struct chunk_ref *known = map_get_u64(&f->versions, id);
    return known != NULL ? known->version : 0;
}

void fenced_deinit(struct fenced *f)
{
    map_deinit(&f->versions);
    free(f->refs);
    *f = (struct fenced){0};
}
