/* The order of a start: which identity counts (of a directory that a cluster has accepted, else of
 * one that there is, else a new one) -> each directory: made if the server is new, locked, compared
 * -> chunk directories, of which unfinished copies are removed, and index -> one start count above
 * all of theirs, written to each.
 *
 * A directory that is not there is made only when the whole server is new: on a server that has
 * chunks it is a disk that is not mounted. One that is there and empty is a new disk.
 *
 * Start counts. A directory that was away for some starts has a lower one than the others. The
 * present start is above all of them, so an open chunk of any directory whose version was granted
 * in an earlier start is seen to be unclean. */
#include "chunkserver/disks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/sys.h"

static const char role[] = "chunkserver";

/* ---- Identity ---- */

/* Into d->ident, if there is one; *ret_new: there is none, the server is new. An error: none can be
 * read, and one that cannot need not be nobody's. */
static int find_ident(struct disks *d, bool *ret_new, struct err *e)
{
    bool found = false;
    int code = 0;
    for (size_t i = 0; i < d->count; i++) {
        struct ident id;
        struct err why = ERR_INIT;
        int r = datadir_peek(d->list[i].path, &id, &why);
        if (r == 0 && strcmp(id.role, role) != 0) {
            return err_set(e, ERR_INVALID, "data directory %s: belongs to a %s, not a %s",
                           d->list[i].path, id.role, role);
        }
        if (r < 0) {
            code = r == ERR_NOT_FOUND || code < 0
                       ? code
                       : err_set(e, r, "data directory %s: %s", d->list[i].path, err_message(&why));
        } else if (!found ||
                   (cluster_id_known(id.cluster) && !cluster_id_known(d->ident.cluster))) {
            d->ident = id;
            found = true;
        }
    }
    *ret_new = !found;
    if (found) {
        *e = (struct err)ERR_INIT;
    }
    return found ? 0 : code;
}

static int check_different(const struct disks *d, const struct disk *disk,
                           const struct stat *status, struct err *e)
{
    for (const struct disk *other = d->list; other != disk; other++) {
        struct stat of_other;
        if (stat(other->path, &of_other) == 0 && of_other.st_dev == status->st_dev &&
            of_other.st_ino == status->st_ino) {
            return err_set(e, ERR_INVALID, "data directories %s and %s are the same", other->path,
                           disk->path);
        }
    }
    return 0;
}

static int open_dir(struct disks *d, struct disk *disk, bool is_new, struct err *e)
{
    struct stat status = {0};
    int r = is_new ? sys_mkdir_p(disk->path, e) : 0;
    if (r == 0 && stat(disk->path, &status) < 0) {
        r = errno == ENOENT ? err_set(e, ERR_NOT_FOUND, "it is not there") : err_errno(e, "stat");
    }
    if (r < 0) {
        return err_wrap(e, r, "data directory %s", disk->path);
    }
    disk->file_system = status.st_dev;
    r = check_different(d, disk, &status, e);
    if (r < 0) {
        return r;
    }
    if (!member_key_equal(d->ident.key, (struct member_key){{0}})) {
        return datadir_join(&disk->dir, disk->path, &d->ident, e);
    }
    r = datadir_open(&disk->dir, disk->path, role, e);
    if (r == 0) {
        d->ident = disk->dir.ident; /* the others get the same */
    }
    return r;
}

/* ---- Failures ---- */

/* What a broken, missing or full disk says, as opposed to a mistake in the settings. */
static bool is_of_disk(int code)
{
    return code == ERR_IO || code == ERR_CORRUPT || code == ERR_NO_SPACE || code == ERR_NOT_FOUND ||
           code == ERR_NOT_DIR || code == ERR_PERMISSION;
}

size_t disks_fail(struct disks *d, struct disk *disk)
{
    return disk_fails(&disk->state, &d->failures);
}

bool disks_can_lose(const struct disks *d, size_t failed)
{
    return failed <= d->failed_max && failed < d->count;
}

int disks_leave_out(struct disks *d, struct disk *disk, int code, struct err *e)
{
    if (!is_of_disk(code) || d->count == 1 || disk_has_failed(&disk->state)) {
        return code;
    }
    size_t failed = disks_fail(d, disk);
    CHECK(failed > 0);
    disk->failure = *e;
    *e = (struct err)ERR_INIT;
    if (disks_can_lose(d, failed)) {
        return 0;
    }
    const char *hint = code == ERR_NOT_FOUND ? "; for a new disk, make an empty directory" : "";
    return err_set(e, code,
                   "%s. %zu of %zu data directories cannot be used, --failed-disks-max allows %zu: "
                   "mount or repair the disk, or take it out of --data, or allow it to be missing, "
                   "and its chunks are copied anew from other servers%s",
                   err_message(&disk->failure), failed, d->count, d->failed_max, hint);
}

/* ---- Open and close ---- */

static int open_disk(struct disks *d, struct disk *disk, bool is_new, struct err *e)
{
    int r = open_dir(d, disk, is_new, e);
    if (r == 0) {
        r = chunk_dirs_open(&disk->chunks.dirs, disk->path, e);
    }
    if (r == 0) {
        r = chunk_file_remove_copies(&disk->chunks.dirs, &disk->copies_removed, e);
        r = r < 0 ? err_wrap(e, r, "data directory %s", disk->path) : 0;
    }
    if (r == 0) {
        r = chunk_index_open(disk->path, &disk->chunks.index, e);
    }
    if (r < 0) {
        return r;
    }
    d->start_count = MAX(d->start_count, chunk_index_start_count(disk->chunks.index));
    d->term = MAX(d->term, chunk_index_term(disk->chunks.index));
    return 0;
}

static void allocate(struct disks *d, const struct config_list *paths)
{
    d->count = paths->count;
    d->list = xcalloc(d->count, sizeof(*d->list));
    d->turns = xcalloc(d->count, sizeof(*d->turns));
    disk_failures_init(&d->failures);
    for (size_t i = 0; i < d->count; i++) {
        d->list[i].path = paths->items[i];
        d->list[i].number = i;
        d->list[i].dir.lock_fd = -1;
        disk_state_init(&d->list[i].state);
        chunk_dirs_init(&d->list[i].chunks.dirs);
    }
}

int disks_open(struct disks *d, const struct config_list *paths, size_t failed_max, struct err *e)
{
    *d = (struct disks){.failed_max = failed_max};
    if (paths->count == 0 || paths->count > DISK_COUNT_MAX) {
        return err_set(e, ERR_INVALID, "--data: 1 to %d directories", DISK_COUNT_MAX);
    }
    allocate(d, paths);
    bool is_new = false;
    int r = find_ident(d, &is_new, e);
    for (size_t i = 0; r == 0 && i < d->count; i++) {
        struct disk *disk = &d->list[i];
        r = open_disk(d, disk, is_new, e);
        r = r < 0 ? disks_leave_out(d, disk, r, e) : 0;
    }
    d->start_count++;
    for (size_t i = 0; r == 0 && i < d->count; i++) {
        struct disk *disk = &d->list[i];
        if (!disk_has_failed(&disk->state)) {
            r = chunk_index_begin(disk->chunks.index, d->start_count, e);
            r = r < 0 ? disks_leave_out(d, disk, r, e) : 0;
        }
    }
    return r;
}

void disks_close(struct disks *d)
{
    for (size_t i = 0; i < d->count; i++) {
        chunk_index_close(d->list[i].chunks.index);
        chunk_dirs_close(&d->list[i].chunks.dirs);
        datadir_close(&d->list[i].dir);
    }
    free(d->list);
    free(d->turns);
    *d = (struct disks){0};
}

struct disk *disks_first(const struct disks *d)
{
    for (size_t i = 0; i < d->count; i++) {
        if (!disk_has_failed(&d->list[i].state)) {
            return &d->list[i];
        }
    }
    return &d->list[0]; /* the process is ending */
}

int disks_find(const struct disks *d, chunk_id id, struct disk **ret,
               struct chunk_record *ret_record, struct err *e)
{
    for (size_t i = 0; i < d->count; i++) {
        struct disk *disk = &d->list[i];
        if (disk_has_failed(&disk->state)) {
            continue;
        }
        int r = chunk_index_get(disk->chunks.index, id, ret_record, e);
        if (r != ERR_NOT_FOUND) {
            *ret = disk;
            return r;
        }
    }
    return err_set(e, ERR_NOT_FOUND, "chunk %" PRIu64 " is not on this server", id);
}
