/* See local_file.h. */
#include "client/cli/local_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/sys.h"

bool local_file_may_write(struct cli *cli, const char *target, bool force)
{
    struct stat st;
    if (lstat(target, &st) < 0) {
        return true;
    }
    if (S_ISDIR(st.st_mode)) {
        cli_error(cli, target, "%s", strerror(EISDIR));
    } else if (!force) {
        cli_error(cli, target, "%s; -f replaces it", strerror(EEXIST));
    }
    return !S_ISDIR(st.st_mode) && force;
}

bool local_file_has_place(struct cli *cli, const char *target)
{
    struct stat st;
    size_t length = strlen(target);
    while (length > 1 && target[length - 1] == '/') {
        length--;
    }
    while (length > 0 && target[length - 1] != '/') {
        length--;
    }
    char *directory = length > 0 ? xstrndup(target, length) : xstrdup(".");
    bool there = stat(directory, &st) == 0; /* with its slash: a directory and nothing else */
    if (!there) {
        cli_error(cli, target, "%s", strerror(errno));
    }
    free(directory);
    return there;
}

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

/* The temporary name is ours alone: the user asked for the target. After sys_open() failed. */
static void cannot_begin(struct cli *cli, const char *target)
{
    cli_error(cli, target, "%s", strerror(errno));
}

bool local_file_begin(struct cli *cli, struct local_file *f, const char *target)
{
    char suffix[32];
    (void)snprintf(suffix, sizeof(suffix), "dfs-get.%d", (int)getpid());
    *f = (struct local_file){.temporary = name_beside(target, suffix), .target = target};
    f->fd = sys_open(f->temporary, O_RDWR | O_CREAT | O_TRUNC, 0666, NULL);
    if (f->fd < 0) {
        cannot_begin(cli, target);
        free(f->temporary);
        return false;
    }
    return true;
}

bool local_file_begin_kept(struct cli *cli, struct local_file *f, const char *target)
{
    *f = (struct local_file){
        .kept = true, .temporary = name_beside(target, "dfs-part"), .target = target};
    f->fd = sys_open(f->temporary, O_RDWR | O_CREAT, 0666, NULL);
    if (f->fd < 0) {
        cannot_begin(cli, target);
    } else if (flock(f->fd, LOCK_EX | LOCK_NB) < 0) {
        cli_error(cli, target, "another get is writing it");
        sys_close(&f->fd);
    }
    if (f->fd < 0) {
        free(f->temporary);
    }
    return f->fd >= 0;
}

static bool give_name(struct cli *cli, const struct local_file *f, bool force)
{
    unsigned flags = force ? 0 : RENAME_NOREPLACE;
    int r = renameat2(AT_FDCWD, f->temporary, AT_FDCWD, f->target, flags);
    if (r < 0 && errno == EINVAL) { /* a file system without that flag */
        r = rename(f->temporary, f->target);
    }
    if (r < 0) {
        cli_error(cli, f->target, "%s", strerror(errno));
    }
    return r == 0;
}

bool local_file_end(struct cli *cli, struct local_file *f, bool ok, bool force)
{
    if (close(f->fd) < 0 && ok) {
        cli_error(cli, f->target, "%s", strerror(errno));
        ok = false;
    }
    ok = ok && give_name(cli, f, force);
    if (!ok && !f->kept) {
        (void)unlink(f->temporary);
    }
    free(f->temporary);
    return ok;
}
