/* Configuration: one table per program (or subcommand) gives its flags, environment variables, file
 * keys, defaults, help text and reference page. main() calls it before threads start; afterwards
 * the values are read-only.
 *
 *     struct options { const char *data; uint64_t cache_bytes; };
 *
 *     static const struct config_row rows[] = {
 *         {.key = "data", .type = CONFIG_STRING, .offset = offsetof(struct options, data),
 *          .value_name = "DIR", .help = "Directory for chunks.", .flags = CONFIG_REQUIRED},
 *         {.key = "cache", .type = CONFIG_SIZE, .offset = offsetof(struct options, cache_bytes),
 *          .default_text = "64M", .min = 1 << 20, .max = INT64_MAX, .help = "Memory to use."},
 *     };
 *     static const struct config_program program = {
 *         .name = "chunkserver", .summary = "keep chunks", .rows = rows, .row_count = 2};
 *
 *     int exit_code = config_start(&config, &program, &options, argc, argv);
 *     if (exit_code >= 0) { return exit_code; }
 *
 * Precedence: flag, then environment, then file, then default. The key "data-dir" is the flag
 * "--data-dir", the variable TRIREME_DATA_DIR and the line "data-dir = ..." in section [program] or
 * [all] of trireme.conf. The file is the one that "--config" names, else TRIREME_CONFIG, else
 * /etc/trireme/trireme.conf if that exists. Unknown flags, keys and sections are refused; below
 * [all] a key is also accepted if it is one of those that only other programs have. */
#ifndef COMMON_CONFIG_H
#define COMMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"

struct config_list {
    const char **items; /* count strings */
    size_t count;
};

/* What a value is, and the type of the target at `offset`. */
enum config_type {
    /* const char *; NULL when not set and without default. */
    CONFIG_STRING,
    /* int64_t, within min..max. */
    CONFIG_INT,
    /* uint64_t bytes, "64M", within min..max. */
    CONFIG_SIZE,
    /* uint64_t milliseconds, "5s", within min..max. */
    CONFIG_DURATION,
    /* bool; the flag alone means true, --no-KEY false. */
    CONFIG_BOOL,
    /* struct config_list; items between commas, and each repetition of the flag adds. */
    CONFIG_LIST,
    /* struct config_list; each repetition of the flag adds one item, commas and all. */
    CONFIG_REPEAT,
    /* No target: `help` is a heading for the rows below it. */
    CONFIG_HEADING,
};

/* Bits of config_row.flags. */
enum config_flags {
    CONFIG_REQUIRED = 1,  /* no default, must be given */
    CONFIG_FLAG_ONLY = 2, /* neither environment nor file: what is meant for one call */
    CONFIG_HIDDEN = 4,    /* works, but is not shown: for tests */
};

struct config_row {
    const char *key; /* "data-dir"; "" for CONFIG_HEADING */
    char letter;     /* 'd' for -d; 0 for none */
    enum config_type type;
    size_t offset;            /* of the target in the options struct */
    const char *value_name;   /* "DIR" in --help; NULL takes one that fits the type */
    const char *default_text; /* as a user would type it; NULL leaves zero */
    const char *help;         /* sentences; wrapped for the terminal */
    const char *env;          /* NULL: TRIREME_<KEY>; another name such as "DFS_MASTER" */
    const char *shared_key; /* in the file also this, which daemons call it below [all]; or NULL */
    const char *choices;    /* CONFIG_STRING: "error|warning|info|debug"; NULL: anything */
    int64_t min, max;       /* numbers; both 0: no bounds */
    unsigned flags;         /* enum config_flags */
};

struct config_program {
    const char *name;      /* "chunkserver", "dfs put"; its first word is the section of the file */
    const char *summary;   /* one line without a full stop */
    const char *arguments; /* "COMMAND [ARG]..." for the usage line; NULL: none are allowed */
    const char *description; /* paragraphs below the usage line; NULL for none */
    const char *footer;      /* examples, exit codes; shown as it is; NULL for none */
    const char *version;     /* for --version; NULL: config_version() */
    const struct config_row *rows;
    size_t row_count;
    bool stop_at_argument; /* the first argument ends the flags: programs with subcommands */
    bool one_dash;         /* whole words after one dash, too, as Hadoop has them: -skipTrash is
                              --skip-trash */
};

enum config_source { CONFIG_DEFAULT, CONFIG_FROM_FILE, CONFIG_FROM_ENV, CONFIG_FROM_FLAG };

struct config {
    struct arena arena;          /* owns all strings of the options and below */
    enum config_source *sources; /* one per row: who set it */
    const char **wheres;         /* one per row: "--cache", "TRIREME_CACHE" or "FILE:12: cache";
                                    NULL: nobody has set it */
    const char **arguments;      /* positional, NULL-terminated; borrowed from argv */
    size_t argument_count;
    bool wants_help;     /* a flag asked for it; then nothing else was checked */
    bool wants_version;  /* so */
    bool wants_markdown; /* so */
    bool wants_man;      /* so */
};

/* What is looked at, so that tests and subcommands can give their own. */
struct config_input {
    int argc; /* argv[0] is skipped */
    char **argv;
    const char *(*getenv)(const char *name); /* NULL: the process's environment */
    const char *file; /* default path of the file; NULL: /etc/trireme/trireme.conf */
};

/* The whole of main()'s part: parses, prints what --help, --version, --help-markdown and --help-man
 * ask for, or the error with a hint on stderr. Returns -1 to go on, else the exit code: 0, or 2 for
 * usage. The rows' targets in `options` are zeroed first. */
int config_start(struct config *c, const struct config_program *p, void *options, int argc,
                 char **argv);

/* The same without printing. ERR_INVALID: e names the flag, variable or file:line, and what is
 * allowed. config_deinit() in either case; it ends the strings in options. */
int config_parse(struct config *c, const struct config_program *p, void *options,
                 const struct config_input *input, struct err *e) MUST_CHECK;
void config_deinit(struct config *c); /* accepts NULL and zeroed */

/* Where the row's value comes from, for an error about it that only its user finds: "--cache",
 * "TRIREME_CACHE", "trireme.conf:12: cache". Without a value: the flag. Lives as long as c. */
const char *config_where(struct config *c, const struct config_program *p, const char *key);

/* Only the file's part, from memory; `name` stands in errors. For fuzzing and tests. */
int config_check_text(const struct config_program *p, const char *name, const char *text,
                      size_t length, struct err *e) MUST_CHECK;

/* The contents of a man page, at most 80 columns wide. */
void config_print_help(const struct config_program *p, struct buf *out);
/* The reference page. */
void config_print_markdown(const struct config_program *p, struct buf *out);
/* The man page, section 1, in the man(7) macros: "dfs put" is dfs-put(1). */
void config_print_man(const struct config_program *p, struct buf *out);

/* {"key": {"value": "64M", "from": "default"}, ...}, for /varz: values as a user would type them,
 * null when not set; from is default, file, environment or flag. No option is a secret: keys and
 * certificates are named by their files. */
void config_json(const struct config *c, const struct config_program *p, const void *options,
                 struct buf *out);

/* "0.1.0": the version that was built. */
const char *config_version(void);

#endif
