/* A local file that appears when it is complete. Until then it has no name at all, where the file
 * system has such files, else one of its own beside the target. A symbolic link leads to the file
 * that is meant; devices, FIFOs and our standard output are written where they stand. One thread.
 */
#ifndef CLIENT_CLI_LOCAL_FILE_H
#define CLIENT_CLI_LOCAL_FILE_H

#include <stdbool.h>

#include "client/cli/cli.h"

struct local_file {
    int fd;
    bool direct;       /* the target itself: what is written has happened */
    bool kept;         /* stays, under its temporary name, when it is not completed */
    bool durable;      /* for the caller to set: on the disk, with its name, when it is complete */
    char *temporary;   /* owned; NULL: it has no name */
    char *target;      /* owned; where links led; NULL: direct */
    const char *asked; /* what the user calls it */
};

/* What stands there already is an error unless `force`; a directory always is, and a link to
 * nothing. False: it said why. */
bool local_file_may_write(struct cli *cli, const char *target, bool force);
/* Whether it can only be written where it stands. */
bool local_file_is_direct(const char *target);
/* Whether the directory that the target is to be in is there. False: it said so. */
bool local_file_has_place(struct cli *cli, const char *target);
/* False: it said why, and there is nothing to end. `target` is borrowed. */
bool local_file_begin(struct cli *cli, struct local_file *f, const char *target);
/* The same with a name that the next call finds again, with what is in it then. */
bool local_file_begin_kept(struct cli *cli, struct local_file *f, const char *target);
/* Gives the file its name if `ok`, else, and if that fails, removes it unless it is kept. Without
 * `force`, what has appeared there meanwhile is not replaced either. Whether it has its name. */
bool local_file_end(struct cli *cli, struct local_file *f, bool ok, bool force);
/* Puts what was written to fd on the disk, and the name `target`. False: it said why not. */
bool local_file_sync(struct cli *cli, int fd, const char *target);
/* The name alone. */
bool local_file_sync_name(struct cli *cli, const char *target);

#endif
