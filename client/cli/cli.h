/* The dfs command: what its subcommands share. main() owns the struct, and its thread runs the
 * command; those that copy many files have workers (transfer.h), which may call what is marked so.
 */
#ifndef CLIENT_CLI_CLI_H
#define CLIENT_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <trireme/dfs_cluster.h>

#include "client/cli/progress.h"
#include "client/sync.h"
#include "common/config.h"
#include "common/err.h"

#define CLI_TRASH_KEEP_UNSAID UINT64_MAX

/* Targets of all flags of all subcommands; each uses those that its table names. */
struct cli_options {
    const char *master;
    const char *user;
    const char *host;
    const char *rack;
    uint64_t timeout_ms;
    uint64_t stale_ms;
    const char *tls_ca;
    const char *tls_cert;
    const char *tls_key;
    bool json;
    bool quiet;
    bool no_local_reads;

    bool recursive;
    bool force;
    bool human;
    bool parents;
    bool directory; /* ls -d, test -d */
    bool names_only;
    bool by_time;
    bool by_size;
    bool reverse;
    bool summary;
    bool exists; /* test */
    bool is_file;
    bool not_empty;
    bool is_empty;
    bool readable;
    bool writable;
    bool follow;
    bool wait;
    bool skip_trash;
    bool trash;             /* rm: unless skipped */
    bool immediate;         /* expunge */
    uint64_t trash_keep_ms; /* CLI_TRASH_KEEP_UNSAID: the file master sees to it */
    bool sync;
    bool preserve;
    bool remove_source;
    bool hadoop; /* in the form of its tools */
    bool safemode;
    bool files; /* fsck; the next ones, too */
    bool blocks;
    bool locations;
    bool open_files;
    bool resume;             /* get -c */
    bool verify;             /* checksum */
    bool newline;            /* getmerge -nl */
    bool skip_empty;         /* getmerge */
    bool no_create;          /* touch -c */
    bool atime_only;         /* touch -a */
    bool mtime_only;         /* touch -m */
    const char *time_text;   /* touch -t */
    bool quota;              /* count -q */
    bool usage;              /* count -u */
    const char *names_quota; /* admin quota; the next one, too */
    const char *space_quota;
    const char *value; /* setfattr; the next one, too */
    const char *remove_name;
    const char *encoding; /* getfattr; the next one, too */
    bool dump;
    bool header; /* count -v, du -v */
    bool print0; /* find; the next ones, too */
    bool empty;
    const char *name;
    const char *iname;
    const char *type;
    const char *size;
    const char *mtime;
    const char *newer;
    const char *of_user;
    const char *of_group;
    int64_t depth_min;
    int64_t depth_max;
    bool accepted; /* what is understood and changes nothing */
    int64_t replication;
    int64_t threads;
    uint64_t chunk_bytes;
    uint64_t bytes;
    const char *format;
    const char *from;  /* admin backup */
    int64_t for_ms;    /* admin maintenance */
    int64_t threshold; /* admin balance; the next one, too */
    uint64_t rate_bytes;
};

struct cli;

/* One subcommand. */
struct cli_command {
    const char *name;
    const char *summary;
    const char *arguments;   /* for the usage line */
    const char *description; /* paragraphs of its page */
    const char *footer;      /* examples */
    const struct config_row *rows;
    size_t row_count;
    size_t arguments_min, arguments_max;
    bool raw;                                 /* prints a file's bytes: no --json */
    const char *(*respell)(const char *flag); /* hadoop's way of writing one; NULL: none */
    /* What this machine alone can tell, before the store is asked: local files that are not there.
     * False: it said so, and there is nothing left to do. NULL: nothing is to be told. */
    bool (*check)(struct cli *cli);
    int (*run)(struct cli *cli); /* returns the exit status */
};

/* A list of paths; release with cli_paths_free(). */
struct cli_paths {
    char **items;
    size_t count;
};

struct cli {
    const struct cli_command *command;
    struct cli_options options;
    struct config config;
    const char **arguments;
    size_t argument_count;
    struct cli_paths sources; /* of put: local files, patterns replaced; main() frees them */
    size_t sources_missing;   /* those that are not among them: it has been said */
    const char *master_where; /* "DFS_MASTER" or "--master": who says which store */
    struct dfs *dfs;          /* NULL until cli_connect() */
    bool out_tty;
    bool err_tty;
    struct sync_lock lock;    /* guards what follows while there are workers */
    struct progress progress; /* of the bytes that are copied */
    int status;               /* 0, or 1 once something has failed */
    char reason[512];         /* why it waited last: it has been said */
};

extern const struct cli_command *const cli_commands[];
extern const size_t cli_command_count;
/* Another name of a command, most of them from hadoop fs. */
struct cli_alias {
    const char *name;
    const char *command;
    const char *flag; /* that the name implies; NULL: none */
};
extern const struct cli_alias cli_aliases[];
extern const size_t cli_alias_count;
/* By name or alias; NULL. */
const struct cli_command *cli_find(const char *name);
/* The command that was probably meant; NULL: nothing is near. */
const struct cli_command *cli_nearest(const char *name);

/* Parses the flags of cli->command; argv[0] is the name it was called by. -1 to go on, else the
 * exit status. */
int cli_parse(struct cli *cli, int argc, char **argv);
/* The program of a command, for its page; release *ret_rows with free(). */
struct config_program cli_program(const struct cli_command *command, struct config_row **ret_rows,
                                  char **ret_name);

/* Connects; false: it said why not, status 1 or 2 is set. */
bool cli_connect(struct cli *cli);

/* "VERB: `PATH': text" on stderr, and status 1. Any thread. */
void cli_error(struct cli *cli, const char *path, const char *format, ...) ERR_PRINTF(3, 4);
void cli_dfs_error(struct cli *cli, const char *path, const struct dfs_err *e);
void cli_err(struct cli *cli, const char *path, const struct err *e);
/* In the words of hadoop fs, which scripts look for: "No such file or directory". */
const char *cli_error_text(int code);
/* "No such file or directory", status 1. */
void cli_not_found(struct cli *cli, const char *path);

/* The line about progress, on a terminal and without --quiet; total 0: not known yet. */
void cli_progress_begin(struct cli *cli, const char *verb);
void cli_progress_expect(struct cli *cli, uint64_t bytes); /* so many more */
void cli_progress_add(struct cli *cli, uint64_t bytes);    /* any thread */
void cli_progress_file(struct cli *cli);                   /* one is complete; any thread */
/* Takes the line away; with --json says what was done, unless silent: stdout has the bytes. */
void cli_progress_end(struct cli *cli, bool silent);

/* Set by SIGINT and SIGTERM once cli_catch_signals() ran; the next one ends the process. */
bool cli_interrupted(void);
void cli_catch_signals(void);
enum { CLI_INTERRUPTED = 130 };

/* Prints a JSON value, with a newline, and releases it. */
void cli_print_json(json_t *value);
json_t *cli_stat_json(const char *path, const struct dfs_stat *stat);

void cli_paths_add(struct cli_paths *paths, const char *path);
void cli_paths_free(struct cli_paths *paths);
/* Replaces patterns (* ? [...]) by what they match, in order. A pattern without a match is an error
 * like that of a missing file; a path without pattern characters is taken as it is, and so is one
 * with them that is there under that very name. False: it said what is wrong. */
bool cli_expand(struct cli *cli, const char *pattern, struct cli_paths *paths);
/* All arguments from `from` to before `to`. */
bool cli_expand_arguments(struct cli *cli, size_t from, size_t to, struct cli_paths *paths);
/* "DIR/NAME", also for "/" and "". The caller frees it. */
char *cli_join(const char *directory, const char *name);
/* The last component of a local or store path, without trailing slashes. The caller frees it. */
char *cli_base_name(const char *path);
/* Whether the path can only be that of a directory: it ends in `/`, `/.` or `/..`. */
bool cli_names_directory(const char *path);
/* Whether what is copied or moved can become `target`: a file cannot where the name says that it is
 * a directory and none is there. False: it said why. */
bool cli_may_become(struct cli *cli, const char *target, bool from_directory);
/* Its last part is `.` or `..`. */
bool cli_is_dots(const char *path);
/* What a source in the store that is copied is called in the directory that it goes into: "" for
 * the root and for what ends in `.` or `..`, whose contents go there themselves, as cp does. NULL:
 * it said why. The caller frees it. */
char *cli_source_name(struct cli *cli, const char *source);
/* What it really is called, for one that is moved; "" for the root only. */
char *cli_resolved_name(struct cli *cli, const char *source);
/* 1 and filled, 0: does not exist, -1: it said what is wrong. */
int cli_stat(struct cli *cli, const char *path, struct dfs_stat *ret);
/* Whether `path` is an existing directory; false with status 1 after an error. */
bool cli_is_directory(struct cli *cli, const char *path);

/* An existing directory is fine. The user's own one is made on the way; elsewhere a missing parent
 * is an error. False: it said why. */
bool cli_make_directory(struct cli *cli, const char *path);

/* What quotas of a directory are compared with; 0 for a file. */
uint64_t cli_names_used(const struct dfs_stat *stat);
uint64_t cli_space_used(const struct dfs_stat *stat);

/* "2026-03-01 12:34" in local time, as hadoop fs shows it. */
void cli_format_time(uint64_t mtime_ms, char text[32]);
/* "drwxr-xr-x". */
void cli_format_mode(const struct dfs_stat *stat, char text[16]);

#endif
