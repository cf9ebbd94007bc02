/* One directory of files behind a vtable: what the log store needs of an operating system, so that
 * the simulator and the crash tests (tests/lib/fake_disk.h) run the very code that ships.
 * disk_posix_open() gives the real one. Names are single path components. Owner: whoever opened it;
 * one thread at a time per disk, except that distinct files of the real one may be used from
 * distinct threads.
 *
 * What a crash may do, and therefore what a user of this interface must assume: bytes written since
 * the file's last disk_sync() may be there, or not, in any combination of 512-byte sectors; a
 * sector is old or new as a whole, so bytes that a write does not change stay intact. Names made,
 * renamed or removed since the last disk_sync_names() may have happened or not, in any combination;
 * each rename is atomic. A failed sync leaves unknown contents: never retry it. */
#ifndef COMMON_DISK_H
#define COMMON_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

enum disk_open {
    DISK_OPEN_EXISTING, /* read and write; ERR_NOT_FOUND when absent */
    DISK_OPEN_CREATE,   /* a new, empty file; ERR_EXISTS when there is one */
};

struct disk;      /* first member of an implementation's own struct */
struct disk_file; /* likewise, an open file */

/* Called for each name. name is borrowed until it returns. */
typedef void (*disk_visit_fn)(void *arg, const char *name);

struct disk_ops {
    int (*open)(struct disk *d, const char *name, enum disk_open how, struct disk_file **ret_file,
                struct err *e);
    int (*rename)(struct disk *d, const char *from, const char *to, struct err *e);
    int (*unlink)(struct disk *d, const char *name, struct err *e);
    int (*list)(struct disk *d, disk_visit_fn visit, void *arg, struct err *e);
    int (*sync_names)(struct disk *d, struct err *e);
    void (*free)(struct disk *d);

    int (*read)(struct disk_file *f, void *to, size_t length, uint64_t offset, struct err *e);
    int (*write)(struct disk_file *f, struct span data, uint64_t offset, struct err *e);
    int (*sync)(struct disk_file *f, struct err *e);
    int (*size)(struct disk_file *f, uint64_t *ret_bytes, struct err *e);
    int (*truncate)(struct disk_file *f, uint64_t bytes, struct err *e);
    int (*preallocate)(struct disk_file *f, uint64_t bytes, struct err *e);
    void (*close)(struct disk_file *f);
};

struct disk {
    const struct disk_ops *ops;
};

struct disk_file {
    const struct disk_ops *ops;
};

/* The directory must exist. Errors: as open(2). Release with disk_free(), which closes no files. */
int disk_posix_open(const char *directory, struct disk **ret_disk, struct err *e) MUST_CHECK;

static inline void disk_free(struct disk *d)
{
    if (d) {
        d->ops->free(d);
    }
}

static inline MUST_CHECK int disk_open(struct disk *d, const char *name, enum disk_open how,
                                       struct disk_file **ret_file, struct err *e)
{
    return d->ops->open(d, name, how, ret_file, e);
}

/* Replaces `to` if there is one. Atomic; durable after disk_sync_names(). */
static inline MUST_CHECK int disk_rename(struct disk *d, const char *from, const char *to,
                                         struct err *e)
{
    return d->ops->rename(d, from, to, e);
}

static inline MUST_CHECK int disk_unlink(struct disk *d, const char *name, struct err *e)
{
    return d->ops->unlink(d, name, e);
}

/* Visits every file, in no particular order. The visitor must not change the disk. */
static inline MUST_CHECK int disk_list(struct disk *d, disk_visit_fn visit, void *arg,
                                       struct err *e)
{
    return d->ops->list(d, visit, arg, e);
}

/* Makes all creations, renames and removals of names durable. */
static inline MUST_CHECK int disk_sync_names(struct disk *d, struct err *e)
{
    return d->ops->sync_names(d, e);
}

/* Returns the bytes read, fewer than length only at the end of the file. length <= INT_MAX. */
static inline MUST_CHECK int disk_read(struct disk_file *f, void *to, size_t length,
                                       uint64_t offset, struct err *e)
{
    return f->ops->read(f, to, length, offset, e);
}

/* Writes all of data, making the file longer where needed. After an error any part may have been
 * written. */
static inline MUST_CHECK int disk_write(struct disk_file *f, struct span data, uint64_t offset,
                                        struct err *e)
{
    return f->ops->write(f, data, offset, e);
}

/* Makes everything written to the file durable, and its length; not its name. */
static inline MUST_CHECK int disk_sync(struct disk_file *f, struct err *e)
{
    return f->ops->sync(f, e);
}

static inline MUST_CHECK int disk_size(struct disk_file *f, uint64_t *ret_bytes, struct err *e)
{
    return f->ops->size(f, ret_bytes, e);
}

static inline MUST_CHECK int disk_truncate(struct disk_file *f, uint64_t bytes, struct err *e)
{
    return f->ops->truncate(f, bytes, e);
}

/* Reserves space for the first `bytes` bytes without changing the length, so that writes below it
 * do not run out of space. Does nothing on file systems that cannot. */
static inline MUST_CHECK int disk_preallocate(struct disk_file *f, uint64_t bytes, struct err *e)
{
    return f->ops->preallocate(f, bytes, e);
}

static inline void disk_close(struct disk_file *f)
{
    if (f) {
        f->ops->close(f);
    }
}

#endif
