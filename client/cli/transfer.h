/* Files copied several at a time, for put, get and cp. The command's thread finds what to copy,
 * makes the directories, and hands the files over; workers copy them. Errors are said as they
 * happen and do not keep the other files from being copied. */
#ifndef CLIENT_CLI_TRANSFER_H
#define CLIENT_CLI_TRANSFER_H

#include "client/cli/cli.h"
#include "client/cli/preserve.h"
#include "common/workpool.h"

enum {
    TRANSFER_BUFFER_BYTES = 1024 * 1024, /* of each worker */
    TRANSFER_WAITING_MAX = 1024,         /* handed over and not done; then the finder waits */
};

/* One file. */
struct transfer_item {
    char *source;  /* owned */
    char *target;  /* owned */
    bool at_stdio; /* "-": runs at once, on the command's thread, so that Ctrl-C reaches its read()
                    */
    bool kept;     /* the source is not ours to remove, whatever --move says */

    /* Private to transfer.c. */
    struct dfs_file *from; /* the source, if it was opened; owned */
    struct job job;
    struct transfer *transfer;
};

struct transfer;
/* Copies one file with a buffer of TRANSFER_BUFFER_BYTES; says itself what goes wrong. */
typedef void (*transfer_copy_fn)(struct cli *cli, struct transfer_item *item, char *buffer);

/* Begins the progress line under the command's name; threads as --threads says. */
struct transfer *transfer_new(struct cli *cli, transfer_copy_fn copy);
/* Takes both names, which came from malloc(), and the source in the store if it is open already
 * (NULL: it is not). A file that stays the only one is copied on the command's thread. */
void transfer_take_file(struct transfer *t, char *source, char *target, struct dfs_file *from);
/* A local source that is not removed. */
void transfer_take_kept(struct transfer *t, char *source, char *target);
void transfer_stdio(struct transfer *t, const char *source, const char *target,
                    struct dfs_file *from);

/* What the user names as a source in the store. If it is the only one, and a file, it comes open:
 * that tells as much as asking what it is, and has to be done next. The caller closes it, or hands
 * it over; *ret_file is NULL for all others. False: it said why. */
bool transfer_find(struct cli *cli, const char *path, bool only, struct dfs_stat *ret_stat,
                   struct dfs_file **ret_file);
/* The item's source in the store, open, and what it is; closed with the item. NULL: it said why. */
struct dfs_file *transfer_open(struct cli *cli, struct transfer_item *item,
                               struct dfs_stat *ret_stat);

/* cli_stat() has just said that of the path (`found`), so whoever copies to it need not ask. Before
 * any file is taken. */
void transfer_know_target(struct transfer *t, const char *path, int found,
                          const struct dfs_stat *stat);
/* cli_stat() of the item's target. */
int transfer_stat_target(struct cli *cli, const struct transfer_item *item, struct dfs_stat *ret);

/* Two sources of one command may become the same file, and several files are copied at a time. What
 * the user has named as sources, before any file is taken. */
void transfer_expect(struct transfer *t, const struct cli_paths *sources);
/* False: no two of them can, and it need not be asked. */
bool transfer_may_repeat(const struct transfer *t);
/* Whether an earlier file of this command becomes `target`, a name with one spelling. */
bool transfer_repeats(struct transfer *t, const char *target);
/* The same, of a target in the store. All that was taken is done if so, so that one file comes
 * after the other as the user has named them. */
bool transfer_repeats_in_store(struct transfer *t, const char *target);

/* A directory that was copied gets its attributes when all files are in it. The copy is ours; where
 * `apply` is preserve_in_store() or preserve_locally(). */
typedef void (*transfer_apply_fn)(struct cli *cli, const char *path, const struct preserved *p);
void transfer_late(struct transfer *t, const char *path, const struct preserved *p,
                   transfer_apply_fn apply);

/* Waits for all files, sets the late attributes, ends the progress line (without words of JSON if
 * `silent`), frees t. The exit status. */
int transfer_finish(struct transfer *t, bool silent);

#endif
