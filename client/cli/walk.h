/* Everything below a path of the store, for get, cp, find, fsck and whatever has -R. */
#ifndef CLIENT_CLI_WALK_H
#define CLIENT_CLI_WALK_H

#include "client/cli/cli.h"

struct walk {
    struct cli *cli;
    /* Called for the path itself and all below it: a directory before what is in it, entries in
     * byte order of their names. `path` begins with the path that the walk began at. False: what is
     * in this directory is left out. */
    bool (*visit)(struct walk *w, const char *path, const struct dfs_stat *stat, int depth);
    void *arg; /* for visit */
};

/* Says what cannot be read and goes on with the rest; stops when interrupted. */
void walk_from(struct walk *w, const char *path, const struct dfs_stat *stat);
/* The same, finding out what is there first. */
void walk_path(struct walk *w, const char *path);

#endif
