/* A struct disk in memory that can fail, stop and lose what was not synced, as disk.h says that a
 * crash may. One thread.
 *
 * Every operation that changes something (create, write, sync, truncate, preallocate, rename,
 * unlink, sync_names) is counted. A test loops: script with the stop at operation n, crash, open
 * again, compare with a model, until the script ends without meeting the stop. */
#ifndef TESTS_LIB_FAKE_DISK_H
#define TESTS_LIB_FAKE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/disk.h"

/* What happens to changes that were not synced. */
enum fake_crash {
    FAKE_CRASH_KILL,   /* the process dies, the machine goes on: nothing is lost, nothing becomes
                          durable */
    FAKE_CRASH_DROP,   /* power failure: all of it is lost */
    FAKE_CRASH_PREFIX, /* power failure: the changes up to a random one survive, in their order */
    FAKE_CRASH_TORN,   /* as PREFIX, and the next write survives in part: some of its sectors */
    FAKE_CRASH_SUBSET, /* power failure: any change, and any sector of a write, survives or does not
                        */
};

enum { FAKE_CRASH_COUNT = FAKE_CRASH_SUBSET + 1 };

struct fake_disk; /* embeds struct disk */

struct fake_disk *fake_disk_new(void);
void fake_disk_free(struct fake_disk *d); /* accepts NULL; disk_free() on its disk does nothing */
struct disk *fake_disk_as_disk(struct fake_disk *d);

/* The n-th change from now fails with code, once; 0: none. A failing write has written some of its
 * sectors first when `partly`. A failed sync has made nothing durable, and what was written stays
 * readable, as after a real one. */
void fake_disk_fail_at(struct fake_disk *d, uint64_t n, int code, bool partly);

/* The n-th change from now and everything after it, reads too, fails with ERR_IO and has no effect;
 * 0: never. */
void fake_disk_stop_at(struct fake_disk *d, uint64_t n);
bool fake_disk_stopped(const struct fake_disk *d);

/* Ends a stop and gives the disk's contents after a crash; the choices that a mode leaves open come
 * from seed. Open files must have been closed. */
void fake_disk_crash(struct fake_disk *d, enum fake_crash how, uint64_t seed);

uint64_t fake_disk_changes(const struct fake_disk *d);    /* counted since the start */
uint64_t fake_disk_syncs(const struct fake_disk *d);      /* of file contents */
uint64_t fake_disk_files(const struct fake_disk *d);      /* names now visible */
uint64_t fake_disk_open_files(const struct fake_disk *d); /* not yet closed */

/* Direct access to a file's bytes as now visible, for tests that damage them; synced at once. NULL:
 * no such file. The pointer is valid until the next change. */
uint8_t *fake_disk_bytes(struct fake_disk *d, const char *name, size_t *ret_length);
void fake_disk_put(struct fake_disk *d, const char *name, struct span content);

#endif
