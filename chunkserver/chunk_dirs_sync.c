#include "chunkserver/chunk_dirs_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/check.h"
#include "common/macros.h"
#include "common/sys.h"

enum { HASH_NAME_BYTES = 8 };

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

int chunk_dirs_find(const struct chunk_dirs *d, chunk_id id)
{
    return atomic_load_explicit(&d->hashed[id % CHUNK_DIR_COUNT], memory_order_acquire);
}

/* Makes it with the first chunk that belongs there. Two threads may both come here: the directory
 * that one of them opened stays, the other closes its own. */
int chunk_dirs_make(struct chunk_dirs *d, chunk_id id, struct err *e)
{
    int fd = chunk_dirs_find(d, id);
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
    if (r == 0 && (fsync(d->chunks) < 0 || fsync(top) < 0)) {
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

int chunk_dirs_sync(struct chunk_dirs *d, chunk_id id, int (*sync)(int fd), struct err *e)
{
    int dir_fd = chunk_dirs_find(d, id);
    atomic_bool *durable = &d->durable[id % CHUNK_DIR_COUNT];
    CHECK(dir_fd >= 0);
    if (sync(dir_fd) < 0) {
        return err_errno(e, "fsync of the directory of chunk %" PRIu64, id);
    }
    if (!atomic_load(durable)) {
        if (sync(d->chunks) < 0) {
            return err_errno(e, "fsync of the directory of chunks");
        }
        atomic_store(durable, true);
    }
    return 0;
}
