/* The dfs command: what its subcommands share. One thread; main() owns the struct. */
#ifndef CLIENT_CLI_CLI_H
#define CLIENT_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <trireme/dfs.h>

#include "common/buf.h"
#include "common/config.h"
#include "common/err.h"

/* Targets of all flags of all subcommands; each uses those that its table names. */
struct cli_options {
    const char *master;
    const char *user;
    const char *host;
    const char *rack;
    uint64_t timeout_ms;
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
    bool follow;
    bool wait;
    bool skip_trash;
    bool sync;
    int64_t replication;
    uint64_t chunk_bytes;
    uint64_t bytes;
    const char *format;
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
    bool raw;                    /* prints a file's bytes: no --json */
    int (*run)(struct cli *cli); /* returns the exit status */
};

struct cli {
    const struct cli_command *command;
    struct cli_options options;
    struct config config;
    const char **arguments;
    size_t argument_count;
    struct dfs *dfs; /* NULL until cli_connect() */
    bool out_tty;
    bool err_tty;
    int status;       /* 0, or 1 once something has failed */
    char reason[512]; /* why it waited last */
    bool waited;      /* a line about waiting stands on the terminal */
};

extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;
/* By name or alias; NULL. */
const struct cli_command *cli_find(const char *name);
/* The command that was probably meant; NULL: nothing is near. */
const struct cli_command *cli_nearest(const char *name);

/* Parses the flags of cli->command. -1 to go on, else the exit status. */
int cli_parse(struct cli *cli, int argc, char **argv);
/* The program of a command, for its page; release *ret_rows with free(). */
struct config_program cli_program(const struct cli_command *command, struct config_row **ret_rows,
                                  char **ret_name);

/* Connects; false: it said why not, status 1 or 2 is set. */
bool cli_connect(struct cli *cli);

/* "VERB: `PATH': text" on stderr, and status 1. */
void cli_error(struct cli *cli, const char *path, const char *format, ...) ERR_PRINTF(3, 4);
void cli_dfs_error(struct cli *cli, const char *path, const struct dfs_err *e);
void cli_err(struct cli *cli, const char *path, const struct err *e);

/* Set by SIGINT and SIGTERM once cli_catch_signals() ran; the next one ends the process. */
bool cli_interrupted(void);
void cli_catch_signals(void);
enum { CLI_INTERRUPTED = 130 };

/* Prints a JSON value, with a newline, and releases it. */
void cli_print_json(json_t *value);
json_t *cli_stat_json(const char *path, const struct dfs_stat *stat);

/* A list of store paths; release with cli_paths_free(). */
struct cli_paths {
    char **items;
    size_t count;
};
void cli_paths_add(struct cli_paths *paths, const char *path);
void cli_paths_free(struct cli_paths *paths);
/* Replaces patterns (* ? [...]) by what they match, in order. A pattern without a match is an error
 * like that of a missing file; a path without pattern characters is taken as it is. False: it said
 * what is wrong. */
bool cli_expand(struct cli *cli, const char *pattern, struct cli_paths *paths);
/* All arguments from `from` to before `to`. */
bool cli_expand_arguments(struct cli *cli, size_t from, size_t to, struct cli_paths *paths);
/* "DIR/NAME", also for "/" and "". The caller frees it. */
char *cli_join(const char *directory, const char *name);
/* The last component of a local or store path, without trailing slashes. The caller frees it. */
char *cli_base_name(const char *path);
/* 1 and filled, 0: does not exist, -1: it said what is wrong. */
int cli_stat(struct cli *cli, const char *path, struct dfs_stat *ret);
/* Whether `path` is an existing directory; false with status 1 after an error. */
bool cli_is_directory(struct cli *cli, const char *path);

/* "2026-03-01 12:34" in local time, as hadoop fs shows it. */
void cli_format_time(uint64_t mtime_ms, char text[32]);
/* "drwxr-xr-x". */
void cli_format_mode(const struct dfs_stat *stat, char text[16]);

/* ---- The subcommands ---- */
int cli_ls(struct cli *cli);
int cli_put(struct cli *cli);
int cli_append(struct cli *cli);
int cli_get(struct cli *cli);
int cli_cat(struct cli *cli);
int cli_head(struct cli *cli);
int cli_tail(struct cli *cli);
int cli_mkdir(struct cli *cli);
int cli_rm(struct cli *cli);
int cli_rmdir(struct cli *cli);
int cli_mv(struct cli *cli);
int cli_rename(struct cli *cli);
int cli_touchz(struct cli *cli);
int cli_chmod(struct cli *cli);
int cli_chown(struct cli *cli);
int cli_chgrp(struct cli *cli);
int cli_setrep(struct cli *cli);
int cli_test(struct cli *cli);
int cli_stat_command(struct cli *cli);
int cli_du(struct cli *cli);
int cli_count(struct cli *cli);
int cli_df(struct cli *cli);
int cli_loc(struct cli *cli);
int cli_report(struct cli *cli);
int cli_admin(struct cli *cli);

#endif
