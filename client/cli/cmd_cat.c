/* dfs cat, text, head, tail: bytes to standard output; and checksum, which only counts them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/crc32c.h"
#include "common/inflate.h"
#include "common/macros.h"
#include "common/sys.h"

enum { BUFFER_BYTES = 1024 * 1024, FOLLOW_MS = 500 };

/* Prints [*at, end) and moves *at on. A reader that went away is not an error worth words. */
static bool print_range(struct cli *cli, struct dfs_file *file, const char *path, uint64_t *at,
                        uint64_t end)
{
    struct dfs_err e = {0};
    struct err le = ERR_INIT;
    char *buffer = xmalloc(BUFFER_BYTES);
    int64_t n = 1;
    bool ok = true;
    while (ok && *at < end && n > 0) {
        n = dfs_pread(file, buffer, (size_t)MIN(end - *at, (uint64_t)BUFFER_BYTES), *at, &e);
        if (n < 0) {
            cli_dfs_error(cli, path, &e);
            ok = false;
        } else if (sys_write_full(STDOUT_FILENO, buffer, (size_t)n, &le) < 0) {
            cli_err(cli, NULL, &le);
            ok = false;
        } else {
            *at += (uint64_t)n;
        }
    }
    free(buffer);
    return ok;
}

static struct dfs_file *open_file(struct cli *cli, const char *path)
{
    struct dfs_err e = {0};
    struct dfs_file *file = NULL;
    if (dfs_open(cli->dfs, path, &file, &e) < 0) {
        cli_dfs_error(cli, path, &e);
        return NULL;
    }
    return file;
}

static int run_cat(struct cli *cli)
{
    struct cli_paths paths = {NULL, 0};
    (void)cli_expand_arguments(cli, 0, cli->argument_count, &paths);
    for (size_t i = 0; i < paths.count; i++) {
        uint64_t at = 0;
        struct dfs_file *file = open_file(cli, paths.items[i]);
        if (file) {
            (void)print_range(cli, file, paths.items[i], &at, UINT64_MAX);
            (void)dfs_close(file, NULL);
        }
    }
    cli_paths_free(&paths);
    return cli->status;
}

/* ---- text ----------------------------------------------------------------------------------- */

/* What comes out of a piece of the file. */
static int print_inflated(struct inflate *f, const void *data, size_t length, struct err *e)
{
    struct span text;
    int r;
    inflate_put(f, data, length);
    while ((r = inflate_next(f, &text, e)) > 0) {
        r = sys_write_full(STDOUT_FILENO, text.data, text.length, e);
        if (r < 0) {
            break;
        }
    }
    return r;
}

/* The whole file through `f`, or as it is if that is NULL; its first n bytes are in the buffer. */
static int print_text(struct dfs_file *file, struct inflate *f, char *buffer, int64_t n,
                      struct err *e)
{
    struct dfs_err de = {0};
    uint64_t at = 0;
    while (n > 0) {
        int r = f ? print_inflated(f, buffer, (size_t)n, e)
                  : sys_write_full(STDOUT_FILENO, buffer, (size_t)n, e);
        if (r < 0) {
            return r;
        }
        at += (uint64_t)n;
        n = dfs_pread(file, buffer, BUFFER_BYTES, at, &de);
    }
    if (n < 0) {
        return err_set(e, (int)n, "%s", de.msg);
    }
    return f ? inflate_end(f, e) : 0;
}

static void text_of(struct cli *cli, const char *path)
{
    struct dfs_err e = {0};
    struct err le = ERR_INIT;
    struct dfs_file *file = open_file(cli, path);
    if (!file) {
        return;
    }
    char *buffer = xmalloc(BUFFER_BYTES);
    int64_t n = dfs_pread(file, buffer, BUFFER_BYTES, 0, &e);
    if (n < 0) {
        cli_dfs_error(cli, path, &e);
    } else {
        enum inflate_kind kind = inflate_kind_of(buffer, (size_t)n);
        struct inflate *f = kind ? inflate_new(kind) : NULL;
        if (print_text(file, f, buffer, n, &le) < 0) {
            cli_err(cli, path, &le);
        }
        inflate_free(f);
    }
    free(buffer);
    (void)dfs_close(file, NULL);
}

static int run_text(struct cli *cli)
{
    struct cli_paths paths = {NULL, 0};
    (void)cli_expand_arguments(cli, 0, cli->argument_count, &paths);
    for (size_t i = 0; i < paths.count; i++) {
        text_of(cli, paths.items[i]);
    }
    cli_paths_free(&paths);
    return cli->status;
}

/* ---- head and tail -------------------------------------------------------------------------- */

static int run_head(struct cli *cli)
{
    uint64_t at = 0;
    struct dfs_file *file = open_file(cli, cli->arguments[0]);
    if (file) {
        (void)print_range(cli, file, cli->arguments[0], &at, cli->options.bytes);
        (void)dfs_close(file, NULL);
    }
    return cli->status;
}

static int run_tail(struct cli *cli)
{
    struct dfs_err e = {0};
    const char *path = cli->arguments[0];
    uint64_t length = 0;
    struct dfs_file *file = open_file(cli, path);
    if (!file) {
        return cli->status;
    }
    if (dfs_length(file, &length, &e) < 0) {
        cli_dfs_error(cli, path, &e);
    } else {
        uint64_t at = length - MIN(length, cli->options.bytes);
        bool ok = print_range(cli, file, path, &at, length);
        while (ok && cli->options.follow) {
            /* Opened anew, because a file that was closed may be opened again for appending. */
            clock_sleep_ms(FOLLOW_MS);
            (void)dfs_close(file, NULL);
            file = open_file(cli, path);
            ok = file && print_range(cli, file, path, &at, UINT64_MAX);
        }
    }
    if (file) {
        (void)dfs_close(file, NULL);
    }
    return cli->status;
}

/* ---- checksum ------------------------------------------------------------------------------- */

/* Reads all bytes, which compares each block with its checksum on the way. */
static int read_checksum(struct dfs_file *file, uint64_t length, uint32_t *ret, struct dfs_err *e)
{
    char *buffer = xmalloc(BUFFER_BYTES);
    uint32_t crc = 0;
    uint64_t at = 0;
    int64_t n = 1;
    while (n > 0 && at < length) {
        n = dfs_pread(file, buffer, (size_t)MIN(length - at, (uint64_t)BUFFER_BYTES), at, e);
        if (n > 0) {
            crc = crc32c_extend(crc, buffer, (size_t)n);
            at += (uint64_t)n;
        }
    }
    free(buffer);
    *ret = crc;
    return n < 0 ? (int)n : 0;
}

static void checksum_of(struct cli *cli, const char *path, json_t *json)
{
    static const char algorithm[] = "COMPOSITE-CRC32C";
    struct dfs_err e = {0};
    uint64_t length = 0;
    uint32_t crc = 0;
    char text[16];
    struct dfs_file *file = open_file(cli, path);
    if (!file) {
        return;
    }
    int r = dfs_length(file, &length, &e);
    if (r == 0) {
        r = cli->options.verify ? read_checksum(file, length, &crc, &e)
                                : dfs_checksum(file, 0, length, &crc, &e);
    }
    (void)dfs_close(file, NULL);
    (void)snprintf(text, sizeof(text), "%08x", crc);
    if (r < 0) {
        cli_dfs_error(cli, path, &e);
    } else if (json) {
        (void)json_array_append_new(json, json_pack("{s:s, s:s, s:s, s:I}", "path", path,
                                                    "algorithm", algorithm, "checksum", text,
                                                    "bytes", (json_int_t)length));
    } else {
        (void)printf("%s\t%s\t%s\n", path, algorithm, text);
    }
}

static int run_checksum(struct cli *cli)
{
    struct cli_paths paths = {NULL, 0};
    json_t *json = cli->options.json ? json_array() : NULL;
    (void)cli_expand_arguments(cli, 0, cli->argument_count, &paths);
    for (size_t i = 0; i < paths.count; i++) {
        checksum_of(cli, paths.items[i], json);
    }
    if (json) {
        cli_print_json(json);
    }
    cli_paths_free(&paths);
    return cli->status;
}

/* ---- Pages ---------------------------------------------------------------------------------- */

const struct cli_command cli_cat_page = {
    .name = "cat",
    .summary = "print files",
    .run = run_cat,
    .raw = true,
    .arguments = "PATH...",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .description = "Prints files one after the other.",
    .footer = "Examples:\n"
              "  dfs cat /books/book.txt | wc -w\n"
              "  dfs cat '/counts/part-*' | sort -t$'\\t' -k2,2nr | head",
};

const struct cli_command cli_text_page = {
    .name = "text",
    .summary = "print files, compressed ones as text",
    .run = run_text,
    .raw = true,
    .arguments = "PATH...",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .description =
        "Prints files one after the other. What begins as gzip, bzip2, zstd or lz4 does is "
        "decompressed, whatever its name; the rest comes as it is.",
    .footer = "Examples:\n  dfs text /logs/2026-03-01.gz | grep -c ERROR",
};

static const struct config_row head_rows[] = {
    {ONCE("bytes", CONFIG_SIZE, bytes), .letter = 'c', .value_name = "SIZE", .default_text = "1K",
     .min = 0, .max = INT64_MAX, .help = "How much to print."},
};

const struct cli_command cli_head_page = {
    .name = "head",
    .summary = "print the beginning of a file",
    .run = run_head,
    ROWS(head_rows),
    .raw = true,
    .arguments = "PATH",
    .arguments_min = 1,
    .arguments_max = 1,
    .footer = "Examples:\n  dfs head -c 100 /books/book.txt",
};

static const struct config_row tail_rows[] = {
    {ONCE("bytes", CONFIG_SIZE, bytes), .letter = 'c', .value_name = "SIZE", .default_text = "1K",
     .min = 0, .max = INT64_MAX, .help = "How much to print."},
    {ONCE("follow", CONFIG_BOOL, follow), .letter = 'f',
     .help = "Go on with what is written to the file later, until interrupted."},
};

const struct cli_command cli_tail_page = {
    .name = "tail",
    .summary = "print the end of a file",
    .run = run_tail,
    ROWS(tail_rows),
    .raw = true,
    .arguments = "PATH",
    .arguments_min = 1,
    .arguments_max = 1,
    .footer = "Examples:\n  dfs tail -f /logs/today",
};

static const struct config_row checksum_rows[] = {
    {ONCE("verify", CONFIG_BOOL, verify),
     .help = "Read every byte and compare it with what is kept, instead of trusting that."},
};

const struct cli_command cli_checksum_page = {
    .name = "checksum",
    .summary = "show checksums of files",
    .run = run_checksum,
    ROWS(checksum_rows),
    .arguments = "PATH...",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .description =
        "Path, algorithm, checksum: the CRC32C of all bytes of the file, in hexadecimal. "
        "It depends on the bytes alone, not on how they are cut into chunks, and equals "
        "what hadoop fs -checksum says of such a file with "
        "dfs.checksum.combine.mode=COMPOSITE_CRC. It is combined from the checksums that "
        "chunkservers keep of each block, so that no byte moves.",
    .footer = "Examples:\n  dfs checksum '/books/*.txt'",
};
