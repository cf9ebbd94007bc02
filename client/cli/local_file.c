/* See local_file.h.
 *
 * A file without a name (O_TMPFILE) goes with the process, however that ends, and nobody else can
 * open it. It gets its name by link(2), which never replaces anything; where something is to be
 * replaced it gets a name beside it first, for the moment until rename(2). */
#include "client/cli/local_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/rng.h"
#include "common/sys.h"

enum { NAME_TRIES_MAX = 100 }; /* random names that are taken */

/* ---- What stands there ---------------------------------------------------------------------- */

enum place {
    PLACE_FREE,
    PLACE_FILE,
    PLACE_DIRECTORY,
    PLACE_DIRECT,  /* a device, a FIFO, a socket, or what our standard output is */
    PLACE_NOWHERE, /* a link that leads nowhere; errno says why */
};

static enum place place_of(const char *target)
{
    struct stat st, link, out;
    if (stat(target, &st) < 0) {
        int reason = errno;
        bool nothing = lstat(target, &link) < 0;
        errno = reason;
        return nothing ? PLACE_FREE : PLACE_NOWHERE;
    }
    if (S_ISDIR(st.st_mode)) {
        return PLACE_DIRECTORY;
    }
    if (!S_ISREG(st.st_mode)) {
        return PLACE_DIRECT;
    }
    /* /dev/stdout: a file put in the place of the one that the shell opened would not be seen. */
    bool ours = lstat(target, &link) == 0 && S_ISLNK(link.st_mode) &&
                fstat(STDOUT_FILENO, &out) == 0 && out.st_dev == st.st_dev &&
                out.st_ino == st.st_ino;
    return ours ? PLACE_DIRECT : PLACE_FILE;
}

bool local_file_may_write(struct cli *cli, const char *target, bool force)
{
    switch (place_of(target)) {
    case PLACE_FREE:
        return true;
    case PLACE_DIRECTORY:
        cli_error(cli, target, "%s", strerror(EISDIR));
        return false;
    case PLACE_NOWHERE:
        cli_error(cli, target, "a symbolic link that leads nowhere: %s", strerror(errno));
        return false;
    case PLACE_DIRECT:
        if (!force) {
            cli_error(cli, target, "%s; -f writes into it", strerror(EEXIST));
        }
        return force;
    case PLACE_FILE:
    default:
        if (!force) {
            cli_error(cli, target, "%s; -f replaces it", strerror(EEXIST));
        }
        return force;
    }
}

bool local_file_is_direct(const char *target)
{
    return place_of(target) == PLACE_DIRECT;
}

/* What the name is in: all before the last slash, with it. */
static char *directory_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? xstrndup(name, (size_t)(slash - name) + 1) : xstrdup(".");
}

/* The same of what may be written as "directory/". */
static char *place_for(const char *target)
{
    size_t length = strlen(target);
    while (length > 1 && target[length - 1] == '/') {
        length--;
    }
    char *name = xstrndup(target, length);
    char *directory = directory_of(name);
    free(name);
    return directory;
}

bool local_file_has_place(struct cli *cli, const char *target)
{
    struct stat st;
    char *directory = place_for(target);
    bool there = stat(directory, &st) == 0; /* with its slash: a directory and nothing else */
    if (!there) {
        cli_error(cli, target, "%s", strerror(errno));
    }
    free(directory);
    return there;
}

/* ---- Beginning ------------------------------------------------------------------------------ */

/* ".NAME.SUFFIX" beside the target. */
static char *name_beside(const char *target, const char *suffix)
{
    char *name = cli_base_name(target);
    const char *slash = strrchr(target, '/');
    size_t length = slash ? (size_t)(slash - target) + 1 : 0;
    char *path = xprintf("%.*s.%.200s.%s", (int)length, target, name, suffix);
    free(name);
    return path;
}

/* Another one each time. */
static char *random_name_beside(const char *target)
{
    char suffix[64];
    (void)snprintf(suffix, sizeof(suffix), "dfs-get.%016" PRIx64, rng_entropy_u64());
    return name_beside(target, suffix);
}

static void name_of_descriptor(int fd, char name[64])
{
    (void)snprintf(name, 64, "/proc/self/fd/%d", fd);
}

static int open_unnamed(const char *target)
{
    char name[64];
    char *directory = directory_of(target);
    int fd = sys_open(directory, O_RDWR | O_TMPFILE, 0666, NULL);
    free(directory);
    name_of_descriptor(fd, name);
    if (fd >= 0 && access(name, F_OK) < 0) { /* without /proc it would never get a name */
        sys_close(&fd);
    }
    return fd;
}

/* Made by us and by nobody else: a name that is there already is somebody's file. */
static int open_named(struct local_file *f)
{
    int fd = -1;
    for (int i = 0; fd < 0 && i < NAME_TRIES_MAX; i++) {
        f->temporary = random_name_beside(f->target);
        fd = sys_open(f->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0666, NULL);
        int reason = errno;
        if (fd < 0) {
            free(f->temporary);
            f->temporary = NULL;
        }
        errno = reason;
        if (fd < 0 && reason != EEXIST) {
            break;
        }
    }
    return fd;
}

static int open_direct(const char *target)
{
    struct stat st, out;
    bool ours = stat(target, &st) == 0 && fstat(STDOUT_FILENO, &out) == 0 &&
                st.st_dev == out.st_dev && st.st_ino == out.st_ino;
    return ours ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                : sys_open(target, O_WRONLY | O_NOCTTY, 0, NULL);
}

/* Where the target's links lead; the caller frees it. */
static char *follow(const char *target)
{
    struct stat st;
    bool link = lstat(target, &st) == 0 && S_ISLNK(st.st_mode);
    return link ? realpath(target, NULL) : xstrdup(target);
}

/* The temporary name is ours alone: the user asked for the target. */
static bool cannot_begin(struct cli *cli, struct local_file *f, const char *why)
{
    cli_error(cli, f->asked, "%s", why);
    free(f->temporary);
    free(f->target);
    return false;
}

bool local_file_begin(struct cli *cli, struct local_file *f, const char *target)
{
    *f = (struct local_file){.fd = -1, .asked = target, .direct = local_file_is_direct(target)};
    if (f->direct) { /* also what has no other name: /dev/stdout may lead to a pipe */
        f->fd = open_direct(target);
    } else if ((f->target = follow(target)) != NULL) {
        f->fd = open_unnamed(f->target);
        f->fd = f->fd < 0 ? open_named(f) : f->fd;
    }
    return f->fd >= 0 || cannot_begin(cli, f, strerror(errno));
}

/* Whether the name is still that of the file we have opened: who was at it before us may just have
 * completed it. */
static bool is_at(int fd, const char *name)
{
    struct stat st, there;
    return fstat(fd, &st) == 0 && lstat(name, &there) == 0 && st.st_dev == there.st_dev &&
           st.st_ino == there.st_ino;
}

bool local_file_begin_kept(struct cli *cli, struct local_file *f, const char *target)
{
    *f = (struct local_file){.fd = -1, .kept = true, .asked = target, .target = follow(target)};
    if (f->target) {
        f->temporary = name_beside(f->target, "dfs-part");
        f->fd = sys_open(f->temporary, O_RDWR | O_CREAT | O_NOFOLLOW, 0666, NULL);
    }
    if (f->fd < 0) {
        return cannot_begin(cli, f, strerror(errno));
    }
    if (flock(f->fd, LOCK_EX | LOCK_NB) < 0 || !is_at(f->fd, f->temporary)) {
        sys_close(&f->fd);
        return cannot_begin(cli, f, "another get is writing it");
    }
    return true;
}

/* ---- The end -------------------------------------------------------------------------------- */

bool local_file_sync_name(struct cli *cli, const char *target)
{
    struct err e = ERR_INIT;
    char *directory = place_for(target);
    bool ok = sys_fsync_dir(directory, &e) == 0;
    if (!ok) {
        cli_err(cli, target, &e);
    }
    free(directory);
    return ok;
}

/* A pipe or a terminal has no disk. */
static bool sync_bytes(struct cli *cli, int fd, const char *target)
{
    if (fsync(fd) < 0 && errno != EINVAL && errno != EROFS) {
        cli_error(cli, target, "fsync: %s", strerror(errno));
        return false;
    }
    return true;
}

bool local_file_sync(struct cli *cli, int fd, const char *target)
{
    return sync_bytes(cli, fd, target) && local_file_sync_name(cli, target);
}

/* Some file systems tell only when a descriptor is closed that bytes have no room. Here that comes
 * before the file has its name. */
static bool flush(struct cli *cli, const struct local_file *f)
{
    int copy = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
    bool ok = copy >= 0 && close(copy) == 0;
    if (!ok) {
        cli_error(cli, f->asked, "%s", strerror(errno));
    }
    return ok;
}

static int link_unnamed(int fd, const char *to)
{
    char name[64];
    name_of_descriptor(fd, name);
    return linkat(AT_FDCWD, name, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
}

static int link_beside(struct local_file *f)
{
    int r = -1;
    for (int i = 0; r < 0 && i < NAME_TRIES_MAX; i++) {
        char *name = random_name_beside(f->target);
        r = link_unnamed(f->fd, name);
        if (r == 0) {
            f->temporary = name;
            break;
        }
        int reason = errno;
        free(name);
        errno = reason;
        if (reason != EEXIST) {
            break;
        }
    }
    return r;
}

/* Replaces nothing. */
static int rename_to_free(const struct local_file *f)
{
    int r = renameat2(AT_FDCWD, f->temporary, AT_FDCWD, f->target, RENAME_NOREPLACE);
    if (r < 0 && errno == EINVAL) { /* a file system without that flag */
        r = link(f->temporary, f->target);
        if (r == 0) {
            (void)unlink(f->temporary);
        } else if (errno == EPERM || errno == EOPNOTSUPP) { /* nor links */
            r = rename(f->temporary, f->target);
        }
    }
    return r;
}

static int take_name(struct local_file *f, bool force)
{
    if (!f->temporary) {
        int r = link_unnamed(f->fd, f->target);
        if (r == 0 || errno != EEXIST || !force) {
            return r;
        }
        r = link_beside(f);
        if (r < 0) {
            return r;
        }
    }
    return force ? rename(f->temporary, f->target) : rename_to_free(f);
}

static bool give_name(struct cli *cli, struct local_file *f, bool force)
{
    int r = take_name(f, force);
    if (r < 0) {
        cli_error(cli, f->asked, "%s", strerror(errno));
    }
    return r == 0;
}

bool local_file_end(struct cli *cli, struct local_file *f, bool ok, bool force)
{
    ok = ok && (!f->durable || sync_bytes(cli, f->fd, f->asked)) && flush(cli, f);
    bool named = ok && (f->direct || give_name(cli, f, force));
    ok = named && (f->direct || !f->durable || local_file_sync_name(cli, f->target));
    if (!named && f->temporary && !f->kept) {
        (void)unlink(f->temporary);
    }
    sys_close(&f->fd);
    free(f->temporary);
    free(f->target);
    return ok;
}
