/* What -p keeps of a file or directory that is copied: mode, time of the last change, owner and
 * group. */
#ifndef CLIENT_CLI_PRESERVE_H
#define CLIENT_CLI_PRESERVE_H

#include <stdint.h>
#include <sys/stat.h>

#include "client/cli/cli.h"

struct preserved {
    uint32_t mode; /* permission bits and the sticky bit */
    uint64_t mtime_ms;
    char owner[256]; /* "": not known here */
    char group[256];
};

void preserved_from_store(struct preserved *p, const struct dfs_stat *stat);
void preserved_from_local(struct preserved *p, const struct stat *st);

/* Owner and group can be given away by the superuser only; from everybody else they are kept as cp
 * -p of Unix keeps them: silently not. What else fails is said. Any thread. */
void preserve_in_store(struct cli *cli, const char *path, const struct preserved *p);
void preserve_locally(struct cli *cli, const char *path, const struct preserved *p);

/* Extended attributes, those whose names begin with "user.". A local file system that has none
 * keeps none. Any thread. */
void preserve_xattrs_within(struct cli *cli, const char *source, const char *target);
void preserve_xattrs_up(struct cli *cli, const char *local, const char *target);
void preserve_xattrs_down(struct cli *cli, const char *source, const char *local);

#endif
