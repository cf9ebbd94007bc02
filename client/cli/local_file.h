/* A local file that appears when it is complete: written under a temporary name beside it, then
 * renamed. One thread. */
#ifndef CLIENT_CLI_LOCAL_FILE_H
#define CLIENT_CLI_LOCAL_FILE_H

#include <stdbool.h>

#include "client/cli/cli.h"

struct local_file {
    int fd;
    bool kept;       /* stays, under its temporary name, when it is not completed */
    char *temporary; /* owned */
    const char *target;
};

/* What stands there already is an error unless `force`; a directory always is. False: it said why.
 */
bool local_file_may_write(struct cli *cli, const char *target, bool force);
/* Whether the directory that the target is to be in is there. False: it said so. */
bool local_file_has_place(struct cli *cli, const char *target);
/* False: it said why, and there is nothing to end. `target` is borrowed. */
bool local_file_begin(struct cli *cli, struct local_file *f, const char *target);
/* The same with a name that the next call finds again, with what is in it then. */
bool local_file_begin_kept(struct cli *cli, struct local_file *f, const char *target);
/* Gives the file its name if `ok`, else, and if that fails, removes it unless it is kept. Without
 * `force`, what has appeared there meanwhile is not replaced either. Whether it has its name. */
bool local_file_end(struct cli *cli, struct local_file *f, bool ok, bool force);

#endif
