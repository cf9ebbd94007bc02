#include "common/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/macros.h"
#include "common/rng.h"

/* Linux moves at most 2 GiB - 4 KiB in one call; a smaller bound keeps a signal from waiting long.
 */
enum { TRANSFER_BYTES_MAX = 64 * 1024 * 1024 };

int sys_read_full(int fd, void *data, size_t length, struct err *e)
{
    char *at = data;
    while (length > 0) {
        ssize_t n = read(fd, at, MIN(length, (size_t)TRANSFER_BYTES_MAX));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_errno(e, "read");
        }
        if (n == 0) {
            return err_set(e, ERR_EOF, "read: %zu bytes are missing", length);
        }
        at += n;
        length -= (size_t)n;
    }
    return 0;
}

int sys_write_full(int fd, const void *data, size_t length, struct err *e)
{
    const char *at = data;
    while (length > 0) {
        ssize_t n = write(fd, at, MIN(length, (size_t)TRANSFER_BYTES_MAX));
        if (n < 0 && errno != EINTR) {
            return err_errno(e, "write");
        }
        at += MAX(n, 0);
        length -= (size_t)MAX(n, 0);
    }
    return 0;
}

int sys_pread_full(int fd, void *data, size_t length, uint64_t offset, struct err *e)
{
    char *at = data;
    while (length > 0) {
        ssize_t n = pread(fd, at, MIN(length, (size_t)TRANSFER_BYTES_MAX), (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_errno(e, "pread");
        }
        if (n == 0) {
            return err_set(e, ERR_EOF, "pread: %zu bytes are missing", length);
        }
        at += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return 0;
}

int sys_pwrite_full(int fd, const void *data, size_t length, uint64_t offset, struct err *e)
{
    const char *at = data;
    while (length > 0) {
        ssize_t n = pwrite(fd, at, MIN(length, (size_t)TRANSFER_BYTES_MAX), (off_t)offset);
        if (n < 0 && errno != EINTR) {
            return err_errno(e, "pwrite");
        }
        at += MAX(n, 0);
        offset += (uint64_t)MAX(n, 0);
        length -= (size_t)MAX(n, 0);
    }
    return 0;
}

int sys_open(const char *path, int flags, mode_t mode, struct err *e)
{
    int fd = -1;
    do {
        fd = open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? err_errno(e, "open %s", path) : fd;
}

/* Linux closes the descriptor also when it reports an error, and what must be on disk was synced
 * before. */
void sys_close(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
    *fd = -1;
}

int sys_end_stdout(struct err *e)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return err_set(e, ERR_IO, "cannot write to standard output");
    }
    if (close(STDOUT_FILENO) < 0 && errno != EBADF) {
        return err_errno(e, "cannot write to standard output");
    }
    return 0;
}

int sys_read_file(const char *path, size_t bytes_max, struct buf *out, struct err *e)
{
    enum { STEP_BYTES = 64 * 1024 };
    size_t start = out->length;
    int fd = sys_open(path, O_RDONLY, 0, e);
    int r = fd < 0 ? fd : 0;
    while (r == 0) {
        buf_reserve(out, STEP_BYTES);
        ssize_t n = read(fd, out->data + out->length, STEP_BYTES);
        if (n < 0 && errno != EINTR) {
            r = err_errno(e, "read %s", path);
        } else if (n > 0) {
            out->length += (size_t)n;
        } else if (n == 0) {
            break;
        }
        if (out->length - start > bytes_max) {
            r = err_set(e, ERR_TOO_LARGE, "%s has more than %zu bytes", path, bytes_max);
        }
    }
    if (r < 0) {
        out->length = start;
    }
    if (out->capacity > 0) {
        out->data[out->length] = 0;
    }
    sys_close(&fd);
    return r;
}

int sys_fsync_dir(const char *path, struct err *e)
{
    int fd = sys_open(path, O_RDONLY | O_DIRECTORY, 0, e);
    if (fd < 0) {
        return fd;
    }
    int r = fsync(fd) < 0 ? err_errno(e, "fsync %s", path) : 0;
    sys_close(&fd);
    return r;
}

/* Appends what stands before the last slash: "." for a bare name, "/" for a name in the root. */
static void append_parent(struct buf *out, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        buf_append_byte(out, '.');
    } else {
        buf_append(out, path, slash == path ? 1 : (size_t)(slash - path));
    }
}

static int write_durably(const char *path, const void *data, size_t length, struct err *e)
{
    int fd = sys_open(path, O_WRONLY | O_CREAT | O_EXCL, 0644, e);
    if (fd < 0) {
        return fd;
    }
    int r = sys_write_full(fd, data, length, e);
    if (r < 0) {
        r = err_wrap(e, r, "%s", path);
    } else if (fsync(fd) < 0) {
        r = err_errno(e, "fsync %s", path);
    }
    sys_close(&fd);
    return r;
}

int sys_write_file_atomic(const char *path, const void *data, size_t length, struct err *e)
{
    struct buf temporary = BUF_INIT;
    struct buf parent = BUF_INIT;
    buf_printf(&temporary, "%s.tmp-%016llx", path, (unsigned long long)rng_entropy_u64());
    append_parent(&parent, path);

    int r = write_durably(temporary.data, data, length, e);
    if (r == 0 && rename(temporary.data, path) < 0) {
        r = err_errno(e, "rename %s to %s", temporary.data, path);
    }
    if (r < 0) {
        (void)unlink(temporary.data);
    } else {
        r = sys_fsync_dir(parent.data, e);
    }
    buf_deinit(&parent);
    buf_deinit(&temporary);
    return r;
}

/* A new directory is synced into its parent, or a power cut could take it with all that it will
 * hold. */
static int sync_new_dir(const char *path, struct err *e)
{
    struct buf parent = BUF_INIT;
    append_parent(&parent, path);
    int r = sys_fsync_dir(parent.data, e);
    buf_deinit(&parent);
    return r;
}

static int make_dir(const char *path, bool durable, struct err *e)
{
    struct stat s;
    if (mkdir(path, 0755) == 0) {
        return durable ? sync_new_dir(path, e) : 0;
    }
    int reason = errno;
    if (reason == EEXIST && stat(path, &s) == 0) {
        return S_ISDIR(s.st_mode) ? 0 : err_set(e, ERR_NOT_DIR, "%s is not a directory", path);
    }
    errno = reason;
    return err_errno(e, "mkdir %s", path);
}

static int make_path(const char *path, bool durable, struct err *e)
{
    struct buf prefix = BUF_INIT;
    int r = 0;
    for (const char *at = path; r == 0 && *at != 0;) {
        size_t length = strspn(at, "/");
        length += strcspn(at + length, "/");
        buf_append(&prefix, at, length);
        at += length;
        r = make_dir(prefix.data, durable, e);
    }
    buf_deinit(&prefix);
    return r;
}

int sys_mkdir_p(const char *path, struct err *e)
{
    return make_path(path, true, e);
}

int sys_mkdir_scratch(const char *path, struct err *e)
{
    return make_path(path, false, e);
}

/* What somebody else removed meanwhile is gone as well. */
static int remove_entry(const char *path, const struct stat *unused, int type, struct FTW *place)
{
    (void)unused;
    (void)type;
    (void)place;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int sys_remove_tree(const char *path, struct err *e)
{
    enum { DESCRIPTORS = 16 };
    if (nftw(path, remove_entry, DESCRIPTORS, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT) {
        return err_errno(e, "remove %s", path);
    }
    return 0;
}

int sys_make_temp_dir(const char *prefix, struct buf *out, struct err *e)
{
    const char *base = getenv("TMPDIR");
    struct buf path = BUF_INIT;
    buf_printf(&path, "%s/%s-XXXXXX", base != NULL && base[0] != 0 ? base : "/tmp", prefix);
    int r = mkdtemp(path.data) == NULL ? err_errno(e, "make directory %s", path.data) : 0;
    if (r == 0) {
        buf_append(out, path.data, path.length);
    }
    buf_deinit(&path);
    return r;
}

void sys_host_name(struct buf *out)
{
    char name[LIMIT_HOST_BYTES_MAX + 1] = {0};
    bool known = gethostname(name, sizeof(name) - 1) == 0 && name[0] != 0;
    buf_append_str(out, known ? name : "localhost");
}

void sys_user_name(struct buf *out)
{
    char memory[4096];
    struct passwd entry;
    struct passwd *found = NULL;
    int r = getpwuid_r(geteuid(), &entry, memory, sizeof(memory), &found);
    if (r == 0 && found != NULL) {
        buf_append_str(out, found->pw_name);
    } else {
        buf_printf(out, "uid-%u", geteuid());
    }
}
