/* struct disk over POSIX: one directory descriptor, names resolved with the *at() calls, so that a
 * directory that is renamed or replaced under us is never mixed with another. fdatasync is enough
 * for file contents: POSIX has it write the length too when that is needed to read the data back.
 */
#include "common/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/check.h"

struct disk_posix {
    struct disk disk; /* first */
    int directory_fd;
};

struct disk_posix_file {
    struct disk_file file; /* first */
    int fd;
    char name[NAME_MAX + 1]; /* for error texts only; a rename does not follow */
};

static int directory_of(struct disk *d)
{
    return ((struct disk_posix *)d)->directory_fd;
}

static struct disk_posix_file *posix_of(struct disk_file *f)
{
    return (struct disk_posix_file *)f;
}

static int posix_open(struct disk *d, const char *name, enum disk_open how,
                      struct disk_file **ret_file, struct err *e)
{
    CHECK(strchr(name, '/') == NULL);
    int flags = O_RDWR | O_CLOEXEC | (how == DISK_OPEN_CREATE ? O_CREAT | O_EXCL : 0);
    int fd = openat(directory_of(d), name, flags, 0640);
    if (fd < 0) {
        return err_errno(e, "open %s", name);
    }
    struct disk_posix_file *f = xcalloc(1, sizeof(*f));
    f->file.ops = d->ops;
    f->fd = fd;
    (void)snprintf(f->name, sizeof(f->name), "%s", name);
    *ret_file = &f->file;
    return 0;
}

static int posix_rename(struct disk *d, const char *from, const char *to, struct err *e)
{
    if (renameat(directory_of(d), from, directory_of(d), to) != 0) {
        return err_errno(e, "rename %s to %s", from, to);
    }
    return 0;
}

static int posix_unlink(struct disk *d, const char *name, struct err *e)
{
    return unlinkat(directory_of(d), name, 0) == 0 ? 0 : err_errno(e, "unlink %s", name);
}

static int posix_list(struct disk *d, disk_visit_fn visit, void *arg, struct err *e)
{
    int fd = openat(directory_of(d), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    if (!directory) {
        int r = err_errno(e, "open directory");
        if (fd >= 0) {
            (void)close(fd);
        }
        return r;
    }
    for (;;) {
        errno = 0;
        const struct dirent *row = readdir(directory);
        if (!row) {
            break;
        }
        if (strcmp(row->d_name, ".") != 0 && strcmp(row->d_name, "..") != 0) {
            visit(arg, row->d_name);
        }
    }
    int r = errno ? err_errno(e, "read directory") : 0;
    (void)closedir(directory);
    return r;
}

static int posix_sync_names(struct disk *d, struct err *e)
{
    return fsync(directory_of(d)) == 0 ? 0 : err_errno(e, "fsync directory");
}

static void posix_free(struct disk *d)
{
    (void)close(directory_of(d));
    free(d);
}

static int posix_read(struct disk_file *f, void *to, size_t length, uint64_t offset, struct err *e)
{
    CHECK(length <= INT_MAX);
    struct disk_posix_file *p = posix_of(f);
    size_t done = 0;
    while (done < length) {
        ssize_t n = pread(p->fd, (char *)to + done, length - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_errno(e, "read %s", p->name);
        }
        if (n == 0) {
            break;
        }
        done += (size_t)n;
    }
    return (int)done;
}

static int posix_write(struct disk_file *f, struct span data, uint64_t offset, struct err *e)
{
    struct disk_posix_file *p = posix_of(f);
    const char *at = data.data;
    size_t left = data.length;
    while (left > 0) {
        ssize_t n = pwrite(p->fd, at, left, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return err_errno(e, "write %s", p->name);
        }
        at += n;
        left -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

static int posix_sync(struct disk_file *f, struct err *e)
{
    return fdatasync(posix_of(f)->fd) == 0 ? 0 : err_errno(e, "fdatasync %s", posix_of(f)->name);
}

static int posix_size(struct disk_file *f, uint64_t *ret_bytes, struct err *e)
{
    struct stat st;
    if (fstat(posix_of(f)->fd, &st) != 0) {
        return err_errno(e, "stat %s", posix_of(f)->name);
    }
    *ret_bytes = (uint64_t)st.st_size;
    return 0;
}

static int posix_truncate(struct disk_file *f, uint64_t bytes, struct err *e)
{
    int r = ftruncate(posix_of(f)->fd, (off_t)bytes);
    return r == 0 ? 0 : err_errno(e, "truncate %s", posix_of(f)->name);
}

static int posix_preallocate(struct disk_file *f, uint64_t bytes, struct err *e)
{
    int r = 0;
    do {
        r = fallocate(posix_of(f)->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes);
    } while (r != 0 && errno == EINTR);
    if (r != 0 && errno != EOPNOTSUPP && errno != ENOSYS) {
        return err_errno(e, "preallocate %s", posix_of(f)->name);
    }
    return 0;
}

static void posix_close(struct disk_file *f)
{
    (void)close(posix_of(f)->fd);
    free(f);
}

static const struct disk_ops posix_ops = {
    .open = posix_open,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .list = posix_list,
    .sync_names = posix_sync_names,
    .free = posix_free,
    .read = posix_read,
    .write = posix_write,
    .sync = posix_sync,
    .size = posix_size,
    .truncate = posix_truncate,
    .preallocate = posix_preallocate,
    .close = posix_close,
};

int disk_posix_open(const char *directory, struct disk **ret_disk, struct err *e)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_errno(e, "open %s", directory);
    }
    struct disk_posix *d = xcalloc(1, sizeof(*d));
    d->disk.ops = &posix_ops;
    d->directory_fd = fd;
    *ret_disk = &d->disk;
    return 0;
}
