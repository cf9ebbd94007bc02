/* Chunk files: data only, one file per chunk in DATA/chunks/HH/ (docs/formats.md 6). Any thread;
 * one at a time per file. Everything here may block on the disk.
 *
 * Nothing here decides what counts: that is the index. Bytes beyond the length that the index has
 * are garbage of a write that did not end.
 *
 * When chunk_file_sync() or chunk_file_adopt_copy() fails, the kernel may have dropped the dirty
 * pages and will not say so again (Rebello et al., ATC 2020): the caller stops the process, and
 * after the restart only what verifies against the index counts. */

#ifndef CHUNKSERVER_CHUNK_FILE_H
#define CHUNKSERVER_CHUNK_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "chunkserver/chunk_dirs_sync.h"
#include "common/err.h"
#include "common/ids.h"

struct chunk_file {
    int fd;             /* -1 when closed */
    int dir_fd;         /* of its directory; borrowed from chunk_dirs */
    uint64_t allocated; /* bytes reserved on the disk so far */
    uint64_t limit;     /* never reserve beyond: the chunk's size; 0: reserve nothing */
    uint64_t started;   /* bytes whose write-back was started */
    bool entry_new;     /* the directory entry is not yet durable */
    chunk_id id;
    struct chunk_dirs *made_in; /* borrowed; NULL: it was there */
};

#define CHUNK_FILE_CLOSED                                                                          \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* A new, empty file; one that an unfinished attempt left is emptied. */
int chunk_file_create(struct chunk_dirs *d, chunk_id id, struct chunk_file *ret,
                      struct err *e) MUST_CHECK;

/* ERR_NOT_FOUND: there is none. */
int chunk_file_open(const struct chunk_dirs *d, chunk_id id, bool writable, struct chunk_file *ret,
                    struct err *e) MUST_CHECK;
void chunk_file_close(struct chunk_file *f); /* accepts closed */

/* Writes all of iov at offset; iov is used up. Reserves space ahead, so that a full disk is met
 * before the bytes are: ERR_NO_SPACE. Starts the write-back of what has grown old, so that the sync
 * at the end finds little to do. */
int chunk_file_write(struct chunk_file *f, uint64_t offset, struct iovec *iov, int iov_count,
                     struct err *e) MUST_CHECK;

/* ERR_CORRUPT: the file ends before. */
int chunk_file_read(const struct chunk_file *f, uint64_t offset, void *data, size_t length,
                    struct err *e) MUST_CHECK;

/* Data and, for a new file, its directory entry are durable when this returns 0. */
int chunk_file_sync(struct chunk_file *f, struct err *e) MUST_CHECK;

/* The file ends at length; what was reserved beyond is given back. Not yet durable. */
int chunk_file_cut(struct chunk_file *f, uint64_t length, struct err *e) MUST_CHECK;

/* Whether there is a file by the chunk's name. */
bool chunk_file_exists(const struct chunk_dirs *d, chunk_id id);

/* Moves a file to the trash / removes it there. No error if it is not there, so that both can be
 * repeated after a crash. */
int chunk_file_trash(const struct chunk_dirs *d, struct chunk_ref chunk, struct err *e) MUST_CHECK;
int chunk_file_trash_remove(const struct chunk_dirs *d, struct chunk_ref chunk,
                            struct err *e) MUST_CHECK;

/* Gives the file a second name in the trash, so that its bytes outlive a copy that takes its first.
 */
int chunk_file_trash_link(const struct chunk_dirs *d, struct chunk_ref chunk,
                          struct err *e) MUST_CHECK;

/* Size of the file, which may be more than counts. */
int chunk_file_bytes(const struct chunk_file *f, uint64_t *ret, struct err *e) MUST_CHECK;

/* Names a file that a copy has filled by its chunk, replacing an older one; durable when it
 * returns. The file was made by chunk_file_create_copy(), which takes no name that a chunk has. */
int chunk_file_create_copy(struct chunk_dirs *d, chunk_id id, struct chunk_file *ret,
                           struct err *e) MUST_CHECK;
int chunk_file_adopt_copy(struct chunk_file *f, struct err *e) MUST_CHECK;
void chunk_file_remove_copy(struct chunk_file *f); /* accepts closed */
/* Removes all that copies have left which a crash or a failure kept from their end. At the start,
 * before there are copies in progress; reads every directory of chunks. */
int chunk_file_remove_copies(const struct chunk_dirs *d, size_t *ret_count,
                             struct err *e) MUST_CHECK;

/* The system calls that tests make fail. Installed before threads start; NULL: the real ones. */
struct chunk_file_calls {
    ssize_t (*pwritev)(int fd, const struct iovec *iov, int count, off_t offset);
    int (*fallocate)(int fd, int mode, off_t offset, off_t length);
    int (*fdatasync)(int fd);
    int (*fsync)(int fd);
    ssize_t (*pread)(int fd, void *data, size_t length, off_t offset);
};
void chunk_file_install_calls(const struct chunk_file_calls *replacement);

#endif
