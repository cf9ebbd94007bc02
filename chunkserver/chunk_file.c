/* Layout: DATA/chunks/HH/IIIIIIIIIIIIIIII, HH the last byte of the chunk id in hex, so that a
 * directory holds a 256th of the chunks whatever the ids; each is made with its first chunk. A copy
 * in progress has ".copy" appended and a file in the trash ".VERSION"; the index never names the
 * former, so the next start removes all that a crash has left.
 *
 * Crash argument. A file becomes part of a chunk only by an index entry written after its pwrite
 * returned (a killed process loses nothing) and, for a seal, after fdatasync of the file and fsync
 * of its directory (a power cut loses nothing). Bytes beyond the indexed length are never read. */
#include "chunkserver/chunk_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/check.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/sys.h"

enum { NAME_BYTES = 64, ID_DIGITS = 16 };

static const char copy_suffix[] = ".copy";

static const struct chunk_file_calls real_calls = {
    .pwritev = pwritev,
    .fallocate = fallocate,
    .fdatasync = fdatasync,
    .fsync = fsync,
    .pread = pread,
};
static const struct chunk_file_calls *calls = &real_calls;

void chunk_file_install_calls(const struct chunk_file_calls *replacement)
{
    calls = replacement != NULL ? replacement : &real_calls;
}

static void name_format(char name[NAME_BYTES], chunk_id id, const char *suffix)
{
    int n = snprintf(name, NAME_BYTES, "%016" PRIx64 "%s", id, suffix);
    CHECK(n > 0 && n < NAME_BYTES);
}

static void trash_name_format(char name[NAME_BYTES], struct chunk_ref chunk)
{
    int n = snprintf(name, NAME_BYTES, "%016" PRIx64 ".%" PRIu64, chunk.id, chunk.version);
    CHECK(n > 0 && n < NAME_BYTES);
}

/* ---- One file ---- */

static int file_open(int dir_fd, chunk_id id, const char *suffix, int flags, struct chunk_file *ret,
                     struct err *e)
{
    char name[NAME_BYTES];
    name_format(name, id, suffix);
    int fd = openat(dir_fd, name, flags | O_CLOEXEC, 0644);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
        return err_set(e, ERR_BUSY, "open chunk file %s: %s", name, strerror(errno));
    }
    if (fd < 0) {
        return err_errno(e, "open chunk file %s", name);
    }
    *ret = (struct chunk_file){.fd = fd, .dir_fd = dir_fd, .id = id};
    return 0;
}

static int file_create(struct chunk_dirs *d, chunk_id id, const char *suffix,
                       struct chunk_file *ret, struct err *e)
{
    int dir_fd = chunk_dirs_make(d, id, e);
    int r = MIN(dir_fd, 0);
    r = r < 0 ? r : file_open(dir_fd, id, suffix, O_RDWR | O_CREAT | O_TRUNC, ret, e);
    if (r == 0) {
        ret->made_in = d;
        ret->entry_new = true;
    }
    return r;
}

int chunk_file_create(struct chunk_dirs *d, chunk_id id, struct chunk_file *ret, struct err *e)
{
    return file_create(d, id, "", ret, e);
}

int chunk_file_create_copy(struct chunk_dirs *d, chunk_id id, struct chunk_file *ret, struct err *e)
{
    return file_create(d, id, copy_suffix, ret, e);
}

int chunk_file_open(const struct chunk_dirs *d, chunk_id id, bool writable, struct chunk_file *ret,
                    struct err *e)
{
    int dir_fd = chunk_dirs_find(d, id);
    if (dir_fd < 0) {
        return err_set(e, ERR_NOT_FOUND, "there is no file of chunk %" PRIu64, id);
    }
    return file_open(dir_fd, id, "", writable ? O_RDWR : O_RDONLY, ret, e);
}

void chunk_file_close(struct chunk_file *f)
{
    if (f->fd >= 0) {
        sys_close(&f->fd);
    }
}

/* Space for `end` bytes, in steps, so that a short file never holds much more than it needs. */
static int reserve(struct chunk_file *f, uint64_t end, struct err *e)
{
    if (end <= f->allocated || f->limit == 0) {
        return 0;
    }
    uint64_t wanted = (end + CHUNK_RESERVE_BYTES - 1) / CHUNK_RESERVE_BYTES * CHUNK_RESERVE_BYTES;
    wanted = MIN(wanted, MAX(f->limit, end));
    off_t from = (off_t)f->allocated;
    struct statvfs fs;
    if (fstatvfs(f->fd, &fs) == 0 &&
        (uint64_t)fs.f_bavail * fs.f_frsize < CHUNK_DISK_FREE_BYTES_MIN) {
        return err_set(e, ERR_NO_SPACE, "the volume is full, chunk %" PRIu64, f->id);
    }
    if (calls->fallocate(f->fd, FALLOC_FL_KEEP_SIZE, from, (off_t)(wanted - f->allocated)) < 0) {
        if (errno != EOPNOTSUPP && errno != EINTR) {
            return err_errno(e, "reserve space for chunk %" PRIu64, f->id);
        }
        f->limit = 0; /* a file system without it: the write itself will meet a full disk */
        return 0;
    }
    f->allocated = wanted;
    return 0;
}

/* Asks for the write-back of bytes that are complete, long before the sync that waits for it. The
 * result is advice only: errors come back from the sync. */
static void start_writeback(struct chunk_file *f, uint64_t end)
{
    uint64_t whole = end / CHUNK_WRITEBACK_BYTES * CHUNK_WRITEBACK_BYTES;
    if (whole > f->started) {
        (void)sync_file_range(f->fd, (off_t)f->started, (off_t)(whole - f->started),
                              SYNC_FILE_RANGE_WRITE);
        f->started = whole;
    }
}

static void iov_advance(struct iovec **iov, int *iov_count, size_t done)
{
    while (done > 0) {
        CHECK(*iov_count > 0);
        size_t part = MIN(done, (*iov)->iov_len);
        (*iov)->iov_base = (char *)(*iov)->iov_base + part;
        (*iov)->iov_len -= part;
        done -= part;
        if ((*iov)->iov_len == 0) {
            (*iov)++;
            (*iov_count)--;
        }
    }
}

int chunk_file_write(struct chunk_file *f, uint64_t offset, struct iovec *iov, int iov_count,
                     struct err *e)
{
    uint64_t end = offset;
    for (int i = 0; i < iov_count; i++) {
        end += iov[i].iov_len;
    }
    int r = reserve(f, end, e);
    while (r == 0 && offset < end) {
        ssize_t n = calls->pwritev(f->fd, iov, iov_count, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno;
            return err_errno(e, "write chunk %" PRIu64 " at %" PRIu64, f->id, offset);
        }
        offset += (uint64_t)n;
        iov_advance(&iov, &iov_count, (size_t)n);
    }
    if (r == 0) {
        start_writeback(f, end);
    }
    return r;
}

int chunk_file_read(const struct chunk_file *f, uint64_t offset, void *data, size_t length,
                    struct err *e)
{
    char *at = data;
    uint64_t end = offset + length;
    while (offset < end) {
        ssize_t n = calls->pread(f->fd, at, (size_t)(end - offset), (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_errno(e, "read chunk %" PRIu64 " at %" PRIu64, f->id, offset);
        }
        if (n == 0) {
            return err_set(e, ERR_CORRUPT, "chunk %" PRIu64 ": its file ends before %" PRIu64,
                           f->id, end);
        }
        at += n;
        offset += (uint64_t)n;
    }
    return 0;
}

/* Makes the name of a new file durable. */
static int entry_sync(struct chunk_file *f, struct err *e)
{
    int r = chunk_dirs_sync(f->made_in, f->id, calls->fsync, e);
    if (r == 0) {
        f->entry_new = false;
    }
    return r;
}

int chunk_file_sync(struct chunk_file *f, struct err *e)
{
    if (calls->fdatasync(f->fd) < 0) {
        return err_errno(e, "fdatasync of chunk %" PRIu64, f->id);
    }
    return f->entry_new ? entry_sync(f, e) : 0;
}

int chunk_file_cut(struct chunk_file *f, uint64_t length, struct err *e)
{
    if (ftruncate(f->fd, (off_t)length) < 0) {
        return err_errno(e, "truncate chunk %" PRIu64, f->id);
    }
    f->allocated = MIN(f->allocated, length);
    return 0;
}

/* ---- Trash and copies ---- */

bool chunk_file_exists(const struct chunk_dirs *d, chunk_id id)
{
    char name[NAME_BYTES];
    int dir_fd = chunk_dirs_find(d, id);
    name_format(name, id, "");
    return dir_fd >= 0 && faccessat(dir_fd, name, F_OK, 0) == 0;
}

int chunk_file_trash(const struct chunk_dirs *d, struct chunk_ref chunk, struct err *e)
{
    char name[NAME_BYTES];
    char trash_name[NAME_BYTES];
    name_format(name, chunk.id, "");
    trash_name_format(trash_name, chunk);
    int dir_fd = chunk_dirs_find(d, chunk.id);
    if (dir_fd >= 0 && renameat(dir_fd, name, d->trash, trash_name) < 0 && errno != ENOENT) {
        return err_errno(e, "move chunk file %s to the trash", name);
    }
    return 0;
}

int chunk_file_trash_remove(const struct chunk_dirs *d, struct chunk_ref chunk, struct err *e)
{
    char name[NAME_BYTES];
    trash_name_format(name, chunk);
    if (unlinkat(d->trash, name, 0) < 0 && errno != ENOENT) {
        return err_errno(e, "remove %s from the trash", name);
    }
    return 0;
}

int chunk_file_trash_link(const struct chunk_dirs *d, struct chunk_ref chunk, struct err *e)
{
    char name[NAME_BYTES];
    char trash_name[NAME_BYTES];
    name_format(name, chunk.id, "");
    trash_name_format(trash_name, chunk);
    int dir_fd = chunk_dirs_find(d, chunk.id);
    errno = ENOENT; /* of a directory that is not there */
    if ((dir_fd < 0 || linkat(dir_fd, name, d->trash, trash_name, 0) < 0) && errno != EEXIST) {
        return err_errno(e, "link chunk file %s into the trash", name);
    }
    return 0;
}

int chunk_file_bytes(const struct chunk_file *f, uint64_t *ret, struct err *e)
{
    struct stat status;
    if (fstat(f->fd, &status) < 0) {
        return err_errno(e, "stat chunk %" PRIu64, f->id);
    }
    *ret = (uint64_t)status.st_size;
    return 0;
}

int chunk_file_adopt_copy(struct chunk_file *f, struct err *e)
{
    char from[NAME_BYTES];
    char to[NAME_BYTES];
    name_format(from, f->id, copy_suffix);
    name_format(to, f->id, "");
    if (calls->fdatasync(f->fd) < 0) {
        return err_errno(e, "fdatasync of chunk %" PRIu64, f->id);
    }
    if (renameat(f->dir_fd, from, f->dir_fd, to) < 0) {
        return err_errno(e, "rename the copy of chunk %" PRIu64, f->id);
    }
    return entry_sync(f, e);
}

void chunk_file_remove_copy(struct chunk_file *f)
{
    char name[NAME_BYTES];
    if (f->fd < 0) {
        return;
    }
    name_format(name, f->id, copy_suffix);
    (void)unlinkat(f->dir_fd, name, 0); /* one that stays goes at the next start */
    chunk_file_close(f);
}

static bool is_copy_name(const char *name)
{
    return strspn(name, "0123456789abcdef") == ID_DIGITS &&
           strcmp(name + ID_DIGITS, copy_suffix) == 0;
}

static int remove_copies_in(int dir_fd, size_t *count, struct err *e)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a place of its own */
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        int r = err_errno(e, "open a directory of chunks");
        sys_close(&fd);
        return r;
    }
    int r = 0;
    const struct dirent *entry;
    errno = 0;
    while (r == 0 && (entry = readdir(dir)) != NULL) {
        if (is_copy_name(entry->d_name)) {
            r = unlinkat(dir_fd, entry->d_name, 0) < 0 ? err_errno(e, "remove %s", entry->d_name)
                                                       : 0;
            *count += r == 0;
        }
        errno = 0;
    }
    if (r == 0 && errno != 0) {
        r = err_errno(e, "read a directory of chunks");
    }
    (void)closedir(dir); /* was only read */
    return r;
}

int chunk_file_remove_copies(const struct chunk_dirs *d, size_t *ret_count, struct err *e)
{
    size_t count = 0;
    int r = 0;
    for (chunk_id i = 0; r == 0 && i < CHUNK_DIR_COUNT; i++) {
        int dir_fd = chunk_dirs_find(d, i);
        r = dir_fd >= 0 ? remove_copies_in(dir_fd, &count, e) : 0;
    }
    if (r == 0) {
        *ret_count = count;
    }
    return r;
}
