/* The trash of a user, as hadoop fs has it: rm moves to /user/NAME/.Trash/Current/PATH. From time
 * to time Current becomes a checkpoint, .Trash/YYMMDDHHMMSS (UTC), and checkpoints that are old
 * enough are deleted: by the file master, by expunge, and by an rm that is told --trash-keep. */
#ifndef CLIENT_CLI_TRASH_H
#define CLIENT_CLI_TRASH_H

#include "client/cli/cli.h"
#include "common/trash_name.h"

struct trash {
    struct cli *cli;
    char *home;    /* /user/NAME */
    char *top;     /* /user/NAME/.Trash */
    char *current; /* ... /Current */
    bool looked;   /* whether emptying is due was looked at already */
};

/* False: it said why not. Release with trash_deinit() in either case. */
bool trash_init(struct trash *t, struct cli *cli);
void trash_deinit(struct trash *t);

enum trash_fit {
    TRASH_FITS,
    TRASH_WITHIN,   /* the path is in the trash: it is deleted for good */
    TRASH_CONTAINS, /* the trash is in it */
};
/* `path` is absolute. */
enum trash_fit trash_fits(const struct trash *t, const char *path);

/* Moves there what is at the absolute path; `seen`: it was there just now. 0, or DFS_E* with *e
 * filled. Says where to on a terminal. */
int trash_put(struct trash *t, const char *path, bool seen, struct dfs_err *e);

/* Makes Current a checkpoint if `now`, deletes checkpoints older than keep_ms. False: it said why.
 */
bool trash_empty(struct trash *t, bool checkpoint, uint64_t keep_ms);

/* Moves back what was removed last under that absolute path. False: it said why. */
bool trash_take_back(struct trash *t, const char *path);

#endif
