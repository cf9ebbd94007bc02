/* The directories of chunk files: DATA/chunks/HH, HH the last byte of the chunk id, and DATA/trash
 * (docs/formats.md 6). A directory of chunks is made with the first chunk that belongs there, by
 * whichever thread comes first, and stays open: any thread may use it from then on. Everything here
 * may block on the disk. */

#ifndef CHUNKSERVER_CHUNK_DIRS_SYNC_H
#define CHUNKSERVER_CHUNK_DIRS_SYNC_H

#include <stdatomic.h>
#include <stdbool.h>

#include "common/err.h"
#include "common/ids.h"

enum { CHUNK_DIR_COUNT = 256 };

/* Those of one data directory. The fields are this module's, but for trash. */
struct chunk_dirs {
    atomic_int hashed[CHUNK_DIR_COUNT];   /* descriptors of HH; -1: there is none yet */
    atomic_bool durable[CHUNK_DIR_COUNT]; /* its entry in DATA/chunks */
    int chunks;                           /* DATA/chunks; -1 when closed */
    int trash;                            /* DATA/trash; -1 when closed */
};

/* Nothing is open; that can be closed. */
void chunk_dirs_init(struct chunk_dirs *d);

/* Opens those that are there; makes chunks and trash, durably, if the data directory is new. */
int chunk_dirs_open(struct chunk_dirs *d, const char *data_path, struct err *e) MUST_CHECK;
void chunk_dirs_close(struct chunk_dirs *d); /* accepts one that chunk_dirs_open() failed on */

/* The descriptor of a chunk's directory, which stays d's; -1: there is none, nor any chunk in it.
 */
int chunk_dirs_find(const struct chunk_dirs *d, chunk_id id) MUST_CHECK;

/* The same; makes it, not yet durably, if there is none. Negative: an error of err.h. */
int chunk_dirs_make(struct chunk_dirs *d, chunk_id id, struct err *e) MUST_CHECK;

/* The names in a chunk's directory, and its own, are durable when this returns 0. On an error the
 * caller stops the process, as chunk_file.h says. The directory was made; sync is fsync. */
int chunk_dirs_sync(struct chunk_dirs *d, chunk_id id, int (*sync)(int fd),
                    struct err *e) MUST_CHECK;

#endif
