/* See preserve.h. */
#include "client/cli/preserve.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { NAME_BUFFER_BYTES = 16 * 1024, MODE_BITS = 01777 };

void preserved_from_store(struct preserved *p, const struct dfs_stat *stat)
{
    *p = (struct preserved){.mode = stat->mode & MODE_BITS, .mtime_ms = stat->mtime_ms};
    (void)snprintf(p->owner, sizeof(p->owner), "%s", stat->owner);
    (void)snprintf(p->group, sizeof(p->group), "%s", stat->group);
}

void preserved_from_local(struct preserved *p, const struct stat *st)
{
    char buffer[NAME_BUFFER_BYTES];
    struct passwd user, *found_user = NULL;
    struct group group, *found_group = NULL;
    *p = (struct preserved){.mode = st->st_mode & MODE_BITS,
                            .mtime_ms = (uint64_t)st->st_mtim.tv_sec * 1000 +
                                        (uint64_t)st->st_mtim.tv_nsec / 1000000};
    if (getpwuid_r(st->st_uid, &user, buffer, sizeof(buffer), &found_user) == 0 && found_user) {
        (void)snprintf(p->owner, sizeof(p->owner), "%s", user.pw_name);
    }
    if (getgrgid_r(st->st_gid, &group, buffer, sizeof(buffer), &found_group) == 0 && found_group) {
        (void)snprintf(p->group, sizeof(p->group), "%s", group.gr_name);
    }
}

/* All in one step, or all but owner and group in a second one. */
void preserve_in_store(struct cli *cli, const char *path, const struct preserved *p)
{
    struct dfs_err e = {0};
    struct dfs_attributes attributes = {.set_mode = true,
                                        .mode = p->mode,
                                        .set_mtime = true,
                                        .mtime_ms = p->mtime_ms,
                                        .set_owner = p->owner[0] != '\0',
                                        .owner = p->owner,
                                        .set_group = p->group[0] != '\0',
                                        .group = p->group};
    int r = dfs_set_attributes(cli->dfs, path, &attributes, &e);
    if (r == DFS_EPERMISSION) {
        attributes.set_owner = attributes.set_group = false;
        r = dfs_set_attributes(cli->dfs, path, &attributes, &e);
    }
    if (r < 0) {
        cli_dfs_error(cli, path, &e);
    }
}

static void give_away(const char *path, const struct preserved *p)
{
    char buffer[NAME_BUFFER_BYTES];
    struct passwd user, *found_user = NULL;
    struct group group, *found_group = NULL;
    uid_t uid = (uid_t)-1;
    gid_t gid = (gid_t)-1;
    if (getpwnam_r(p->owner, &user, buffer, sizeof(buffer), &found_user) == 0 && found_user) {
        uid = user.pw_uid;
    }
    if (getgrnam_r(p->group, &group, buffer, sizeof(buffer), &found_group) == 0 && found_group) {
        gid = group.gr_gid;
    }
    int r = chown(path, uid, gid); /* of what a link leads to, like the rest */
    (void)r; /* allowed to the superuser only, and names may be unknown here */
}

void preserve_locally(struct cli *cli, const char *path, const struct preserved *p)
{
    struct timespec times[2] = {
        {.tv_sec = 0, .tv_nsec = UTIME_OMIT},
        {.tv_sec = (time_t)(p->mtime_ms / 1000), .tv_nsec = (long)(p->mtime_ms % 1000) * 1000000},
    };
    give_away(path, p);
    if (chmod(path, p->mode) < 0 || utimensat(AT_FDCWD, path, times, 0) < 0) {
        cli_error(cli, path, "%s", strerror(errno));
    }
}
