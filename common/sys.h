/* System calls with their loops done right: whole reads and writes, EINTR, and files that appear
 * atomically and stay after a power cut. Any thread; all may block on the disk. errno becomes ERR_*
 * here; e names the file and the call. */
#ifndef COMMON_SYS_H
#define COMMON_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buf.h"
#include "common/err.h"

/* All bytes or an error. ERR_EOF: a read met the end first. */
int sys_read_full(int fd, void *data, size_t length, struct err *e) MUST_CHECK;
int sys_write_full(int fd, const void *data, size_t length, struct err *e) MUST_CHECK;
int sys_pread_full(int fd, void *data, size_t length, uint64_t offset, struct err *e) MUST_CHECK;
int sys_pwrite_full(int fd, const void *data, size_t length, uint64_t offset,
                    struct err *e) MUST_CHECK;

/* Opens with O_CLOEXEC; never interrupted. Returns the descriptor. */
int sys_open(const char *path, int flags, mode_t mode, struct err *e) MUST_CHECK;

/* Closes *fd if it is open and sets it to -1. */
void sys_close(int *fd);

/* The end of what a program prints: flushed, and closed, because some file systems tell only then
 * that there was no room. One that was never open is fine. */
int sys_end_stdout(struct err *e) MUST_CHECK;

/* Appends the whole file to out. ERR_TOO_LARGE: more than bytes_max. */
int sys_read_file(const char *path, size_t bytes_max, struct buf *out, struct err *e) MUST_CHECK;

/* The file has the new content or the old one, whatever happens: temporary file beside it, fsync,
 * rename, fsync of the directory. When it returns 0 the content is durable. */
int sys_write_file_atomic(const char *path, const void *data, size_t length,
                          struct err *e) MUST_CHECK;

int sys_fsync_dir(const char *path, struct err *e) MUST_CHECK;

/* Makes the directory and its missing parents, mode 0755, durably; an existing one is fine. */
int sys_mkdir_p(const char *path, struct err *e) MUST_CHECK;
/* The same for what need not outlive a power cut: nothing is synced. */
int sys_mkdir_scratch(const char *path, struct err *e) MUST_CHECK;

/* Removes a file or a whole directory tree; does not follow symbolic links; no error if it is not
 * there. */
int sys_remove_tree(const char *path, struct err *e) MUST_CHECK;

/* A new empty directory, mode 0700, under $TMPDIR or /tmp. The path is appended to out. */
int sys_make_temp_dir(const char *prefix, struct buf *out, struct err *e) MUST_CHECK;

/* Name of this machine, of at most LIMIT_HOST_BYTES_MAX bytes, and of the user who runs us
 * ("uid-123" if nameless). */
void sys_host_name(struct buf *out);
void sys_user_name(struct buf *out);

#endif
