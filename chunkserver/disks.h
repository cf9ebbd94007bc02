/* The data directories of a chunkserver, one for each of its disks (docs/formats.md 6). Each is
 * complete by itself: IDENTITY, LOCK, an index, chunk files and trash; all have the same identity.
 * A chunk lies wholly in one of them.
 *
 * Opened and closed by the main thread. Workers and loops use a disk by a pointer that stays valid;
 * the fields that are the owner's are marked. A disk that fails, at the start or later, stays in
 * the list: disk_has_failed(&disk->state). */
#ifndef CHUNKSERVER_DISKS_H
#define CHUNKSERVER_DISKS_H

#include <stddef.h>
#include <stdint.h>

#include "chunkserver/disk_choice.h"
#include "chunkserver/disk_state_sync.h"
#include "chunkserver/replica.h" /* struct chunk_disk */
#include "common/config.h"       /* struct config_list */
#include "common/err.h"
#include "common/ident.h"

struct scrub;
struct trash;
struct workpool;

struct disk {
    struct chunk_disk chunks; /* index and directories; not open if it failed at the start */
    struct disk_state state;  /* any thread */
    struct datadir dir;       /* the lock, too */
    const char *path;         /* as given; borrowed */
    size_t number;            /* place in the list */
    uint64_t file_system;     /* number of its device: directories may share one */
    struct workpool *pool;    /* threads that work on it alone; NULL: the server's do */
    size_t copies_removed;    /* at the start: files of copies that did not come to their end */

    /* The owner's. */
    uint64_t used_bytes; /* by chunks in the table */
    struct err failure;  /* why it failed */
    struct trash *trash; /* NULL: it failed at the start */
    struct scrub *scrub; /* likewise */
};

struct disks {
    struct disk *list;
    struct disk_turn *turns; /* the owner's; as many */
    size_t count;
    size_t failed_max;             /* --failed-disks-max */
    struct disk_failures failures; /* any thread */
    struct ident ident;            /* of all of them; the owner's */
    uint64_t start_count;          /* of this start: above that of any start before */
    term_no term;                  /* highest that any of them has, at the start */
};

/* Opens and locks all of them; makes those that are not there if none is. Those that cannot be used
 * are marked as failed if failed_max allows that, with disk->failure. Errors that are an operator's
 * mistake are never allowed for: ERR_INVALID: not a data directory, or one given twice; ERR_BUSY,
 * ERR_VERSION; ERR_WRONG_CLUSTER: directories of two servers. disks_close() in either case. */
int disks_open(struct disks *d, const struct config_list *paths, size_t failed_max,
               struct err *e) MUST_CHECK;
void disks_close(struct disks *d); /* accepts zeroed and half-opened */

/* The first that has not failed; there always is one. */
struct disk *disks_first(const struct disks *d);

/* Where a chunk is, as the indexes alone say. Any thread. ERR_NOT_FOUND. */
int disks_find(const struct disks *d, chunk_id id, struct disk **ret,
               struct chunk_record *ret_record, struct err *e) MUST_CHECK;

/* At the start a disk has met the error `code` of *e: marked as failed if it can be gone on
 * without, else the error is told with what to do. */
int disks_leave_out(struct disks *d, struct disk *disk, int code, struct err *e) MUST_CHECK;

/* Marks a disk as failed. Returns 0 if it was, else how many have failed by now, which may be more
 * than the server can go on with: disks_can_lose(). Any thread. */
size_t disks_fail(struct disks *d, struct disk *disk) MUST_CHECK;
bool disks_can_lose(const struct disks *d, size_t failed);

#endif
