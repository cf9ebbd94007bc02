/* Layout: DATA/chunks/HH/IIIIIIIIIIIIIIII, HH the last byte of the chunk id in hex, so that a
 * directory holds a 256th of the chunks whatever the ids; each is made with its first chunk. A copy
 * in progress has ".copy" appended and a file in the trash ".VERSION"; the index never names the
 * former, and the next attempt empties it.
 *
 * Crash argument. A file becomes part of a chunk only by an index entry written after its pwrite
 * returned (a killed process loses nothing) and, for a seal, after fdatasync of the file and fsync
 * of its directory (a power cut loses nothing). Bytes beyond the indexed length are never read. */
#include "chunkserver/chunk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/check.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/sys.h"

enum { NAME_BYTES = 64, HASH_NAME_BYTES = 8 };

static const struct chunk_file_calls real_calls = {
    .pwritev = pwritev,
    .fallocate = fallocate,
    .fdatasync = fdatasync,
    .fsync = fsync,
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

/* ---- Directories ---- */

static int subdir_open(int parent, const char *name, struct err *e)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? err_errno(e, "open %s", name) : fd;
}

/* Opens it; makes it first, not yet durably, if there is none. */
static int subdir_make(int parent, const char *name, struct err *e)
{
    if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST) {
        return err_errno(e, "mkdir %s", name);
    }
    return subdir_open(parent, name, e);
}

static void hash_name(char name[HASH_NAME_BYTES], size_t i)
{
    int n = snprintf(name, HASH_NAME_BYTES, "%02zx", i);
    CHECK(n == 2);
}

/* -1: there is none yet. */
static int dir_of(const struct chunk_dirs *d, chunk_id id)
{
    return atomic_load_explicit(&d->hashed[id % CHUNK_DIR_COUNT], memory_order_acquire);
}

/* Makes it with the first chunk that belongs there. Two threads may both come here: the directory
 * that one of them opened stays, the other closes its own. */
static int dir_make(struct chunk_dirs *d, chunk_id id, struct err *e)
{
    int fd = dir_of(d, id);
    if (fd >= 0) {
        return fd;
    }
    char name[HASH_NAME_BYTES];
    hash_name(name, id % CHUNK_DIR_COUNT);
    fd = subdir_make(d->chunks, name, e);
    int none = -1;
    if (fd >= 0 && !atomic_compare_exchange_strong(&d->hashed[id % CHUNK_DIR_COUNT], &none, fd)) {
        sys_close(&fd);
        fd = none;
    }
    return fd;
}

void chunk_dirs_init(struct chunk_dirs *d)
{
    d->chunks = -1;
    d->trash = -1;
    for (size_t i = 0; i < CHUNK_DIR_COUNT; i++) {
        atomic_init(&d->hashed[i], -1);
        atomic_init(&d->durable[i], false);
    }
}

int chunk_dirs_open(struct chunk_dirs *d, const char *data_path, struct err *e)
{
    chunk_dirs_init(d);
    int top = sys_open(data_path, O_RDONLY | O_DIRECTORY, 0, e);
    d->chunks = top < 0 ? top : subdir_make(top, "chunks", e);
    d->trash = d->chunks < 0 ? d->chunks : subdir_make(top, "trash", e);
    int r = MIN(d->trash, 0);
    for (size_t i = 0; r == 0 && i < CHUNK_DIR_COUNT; i++) {
        char name[HASH_NAME_BYTES];
        hash_name(name, i);
        int fd = subdir_open(d->chunks, name, e);
        r = fd < 0 && fd != ERR_NOT_FOUND ? fd : 0;
        atomic_init(&d->hashed[i], MAX(fd, -1));
        atomic_init(&d->durable[i], fd >= 0);
    }
    if (r == 0 && (calls->fsync(d->chunks) < 0 || calls->fsync(top) < 0)) {
        r = err_errno(e, "fsync of directories"); /* also of those that a killed process made */
    }
    sys_close(&top);
    return r < 0 ? err_wrap(e, r, "%s", data_path) : 0;
}

void chunk_dirs_close(struct chunk_dirs *d)
{
    for (size_t i = 0; i < CHUNK_DIR_COUNT; i++) {
        int fd = atomic_exchange(&d->hashed[i], -1);
        sys_close(&fd);
    }
    sys_close(&d->chunks);
    sys_close(&d->trash);
}

/* ---- One file ---- */

static int file_open(int dir_fd, chunk_id id, const char *suffix, int flags, struct chunk_file *ret,
                     struct err *e)
{
    char name[NAME_BYTES];
    name_format(name, id, suffix);
    int fd = openat(dir_fd, name, flags | O_CLOEXEC, 0644);
    if (fd < 0) {
        return err_errno(e, "open chunk file %s", name);
    }
    *ret = (struct chunk_file){.fd = fd, .dir_fd = dir_fd, .id = id};
    return 0;
}

static int file_create(struct chunk_dirs *d, chunk_id id, const char *suffix,
                       struct chunk_file *ret, struct err *e)
{
    int dir_fd = dir_make(d, id, e);
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
    return file_create(d, id, ".copy", ret, e);
}

int chunk_file_open(const struct chunk_dirs *d, chunk_id id, bool writable, struct chunk_file *ret,
                    struct err *e)
{
    int dir_fd = dir_of(d, id);
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
    int r = sys_pread_full(f->fd, data, length, offset, e);
    if (r == ERR_EOF) {
        return err_set(e, ERR_CORRUPT, "chunk %" PRIu64 ": its file ends before %" PRIu64, f->id,
                       offset + length);
    }
    return r < 0 ? err_wrap(e, r, "chunk %" PRIu64, f->id) : 0;
}

/* Makes the name of a new file durable, and that of its directory if that is new too. */
static int entry_sync(struct chunk_file *f, struct err *e)
{
    struct chunk_dirs *d = f->made_in;
    CHECK(d != NULL);
    atomic_bool *durable = &d->durable[f->id % CHUNK_DIR_COUNT];
    if (calls->fsync(f->dir_fd) < 0) {
        return err_errno(e, "fsync of the directory of chunk %" PRIu64, f->id);
    }
    if (!atomic_load(durable)) {
        if (calls->fsync(d->chunks) < 0) {
            return err_errno(e, "fsync of the directory of chunks");
        }
        atomic_store(durable, true);
    }
    f->entry_new = false;
    return 0;
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

int chunk_file_trash(const struct chunk_dirs *d, struct chunk_ref chunk, struct err *e)
{
    char name[NAME_BYTES];
    char trash_name[NAME_BYTES];
    name_format(name, chunk.id, "");
    trash_name_format(trash_name, chunk);
    int dir_fd = dir_of(d, chunk.id);
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
    int dir_fd = dir_of(d, chunk.id);
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
    name_format(from, f->id, ".copy");
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
    name_format(name, f->id, ".copy");
    (void)unlinkat(f->dir_fd, name, 0); /* the next attempt empties one that stays */
    chunk_file_close(f);
}
