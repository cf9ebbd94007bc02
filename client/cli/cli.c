/* See cli.h. */
#include "client/cli/cli.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/macros.h"
#include "common/parse.h"

/* ---- Errors --------------------------------------------------------------------------------- */

static void clear_line(struct cli *cli)
{
    if (cli->progress.shown) {
        (void)fputs("\r\033[K", stderr);
        cli->progress.shown = false;
    }
}

static void complain(struct cli *cli, const char *path, const char *text)
{
    sync_enter(&cli->lock);
    (void)fflush(stdout);
    clear_line(cli);
    if (path) {
        (void)fprintf(stderr, "%s: `%s': %s\n", cli->command->name, path, text);
    } else {
        (void)fprintf(stderr, "%s: %s\n", cli->command->name, text);
    }
    cli->status = 1;
    sync_leave(&cli->lock);
}

const char *cli_error_text(int code)
{
    switch (code) {
    case DFS_ENOT_FOUND:
        return "No such file or directory";
    case DFS_EEXISTS:
        return "File exists";
    case DFS_ENOT_DIR:
        return "Is not a directory";
    case DFS_EIS_DIR:
        return "Is a directory";
    case DFS_ENOT_EMPTY:
        return "Directory is not empty";
    default:
        return dfs_error_text(code);
    }
}

void cli_error(struct cli *cli, const char *path, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    complain(cli, path, text);
}

/* Errors that say all by their name; the others come with their story. */
static bool is_plain(int code)
{
    return code == DFS_ENOT_FOUND || code == DFS_EEXISTS || code == DFS_ENOT_DIR ||
           code == DFS_EIS_DIR || code == DFS_ENOT_EMPTY || code == DFS_ECYCLE;
}

/* Errors of the chunkservers' state, which a look at them explains. */
static bool is_of_servers(int code)
{
    return code == DFS_EFEW_SERVERS || code == DFS_ENO_SPACE;
}

void cli_dfs_error(struct cli *cli, const char *path, const struct dfs_err *e)
{
    const char *text = is_plain(e->code) ? cli_error_text(e->code) : e->msg;
    size_t length = path ? strlen(path) : 0;
    if (length > 0 && strncmp(text, path, length) == 0 && strncmp(text + length, ": ", 2) == 0) {
        text += length + 2; /* the path stands there already */
    }
    if (is_of_servers(e->code)) {
        cli_error(cli, path, "%s; `dfs report' shows their state", text);
    } else {
        complain(cli, path, text);
    }
}

void cli_err(struct cli *cli, const char *path, const struct err *e)
{
    complain(cli, path, err_message(e));
}

void cli_not_found(struct cli *cli, const char *path)
{
    complain(cli, path, cli_error_text(DFS_ENOT_FOUND));
}

/* ---- Progress ------------------------------------------------------------------------------- */

void cli_progress_begin(struct cli *cli, const char *verb)
{
    progress_begin(&cli->progress, verb, cli->err_tty && !cli->options.quiet, 0);
}

void cli_progress_expect(struct cli *cli, uint64_t bytes)
{
    sync_enter(&cli->lock);
    cli->progress.total += bytes;
    sync_leave(&cli->lock);
}

void cli_progress_add(struct cli *cli, uint64_t bytes)
{
    sync_enter(&cli->lock);
    progress_add(&cli->progress, bytes);
    sync_leave(&cli->lock);
}

void cli_progress_file(struct cli *cli)
{
    sync_enter(&cli->lock);
    cli->progress.files++;
    sync_leave(&cli->lock);
}

void cli_progress_end(struct cli *cli, bool silent)
{
    struct progress *p = &cli->progress;
    progress_end(p);
    if (cli->options.json && !silent) {
        cli_print_json(json_pack("{s:I, s:I, s:f}", "files", (json_int_t)p->files, "bytes",
                                 (json_int_t)p->done, "seconds", progress_seconds(p)));
    }
}

/* ---- Connecting ----------------------------------------------------------------------------- */

/* In whichever thread the call is. A line of its own, on a terminal too: nobody tells us when the
 * wait is over, and what is printed then must not go on in this line. */
static void waiting(void *arg, const char *what)
{
    struct cli *cli = arg;
    char patience[FORMAT_TEXT_BYTES];
    if (cli->options.quiet) {
        return;
    }
    (void)format_duration_exact(cli->options.timeout_ms, patience);
    sync_enter(&cli->lock);
    if (strcmp(cli->reason, what) != 0) { /* once for each reason */
        (void)snprintf(cli->reason, sizeof(cli->reason), "%s", what);
        clear_line(cli);
        (void)fprintf(stderr, "%s: waiting: %s; gives up after %s (--timeout)\n",
                      cli->command->name, what, patience);
        (void)fflush(stderr);
    }
    sync_leave(&cli->lock);
}

bool cli_connect(struct cli *cli)
{
    const struct cli_options *o = &cli->options;
    struct dfs_err e = {0};
    struct dfs_options options = {.masters = o->master,
                                  .masters_where = cli->master_where,
                                  .user = o->user,
                                  .host = o->host,
                                  .rack = o->rack,
                                  .timeout_ms = (uint32_t)MIN(o->timeout_ms, (uint64_t)UINT32_MAX),
                                  .staleness_ms = (uint32_t)o->stale_ms,
                                  .tls_ca = o->tls_ca,
                                  .tls_cert = o->tls_cert,
                                  .tls_key = o->tls_key,
                                  .no_local_reads = o->no_local_reads,
                                  .waiting = waiting,
                                  .waiting_arg = cli};
    if (!o->master || !o->master[0]) {
        cli_error(cli, NULL,
                  "no file master is named: set DFS_MASTER=host:port or give --master, or start a "
                  "cluster with deploy/devcluster up");
        cli->status = 2;
        return false;
    }
    struct err bad = ERR_INIT;
    if (address_list_check(o->master, &bad) < 0) {
        cli_error(cli, NULL, "%s: %s", cli->master_where, err_message(&bad));
        cli->status = 2;
        return false;
    }
    if (dfs_connect(&options, &cli->dfs, &e) < 0) {
        cli_dfs_error(cli, NULL, &e);
        cli->status = 2;
        return false;
    }
    return true;
}

/* ---- Signals -------------------------------------------------------------------------------- */

enum { INTERRUPTED_S = 5 }; /* time to end by itself */

static volatile sig_atomic_t interrupted;

/* Nobody has come to look for so long: it waits for servers. */
static void on_alarm(int number)
{
    static const char text[] = "dfs: interrupted while it waited for an answer\n";
    (void)number;
    ssize_t done = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)done; /* there is nobody else to tell */
    _exit(CLI_INTERRUPTED);
}

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
    (void)alarm(INTERRUPTED_S);
}

void cli_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    action.sa_handler = on_alarm;
    (void)sigaction(SIGALRM, &action, NULL);
}

bool cli_interrupted(void)
{
    return interrupted != 0;
}

/* ---- Paths ---------------------------------------------------------------------------------- */

void cli_paths_add(struct cli_paths *paths, const char *path)
{
    paths->items = xreallocarray(paths->items, paths->count + 1, sizeof(*paths->items));
    paths->items[paths->count++] = xstrdup(path);
}

void cli_paths_free(struct cli_paths *paths)
{
    for (size_t i = 0; i < paths->count; i++) {
        free(paths->items[i]);
    }
    free(paths->items);
    *paths = (struct cli_paths){NULL, 0};
}

char *cli_join(const char *directory, const char *name)
{
    size_t length = strlen(directory);
    bool slash = length > 0 && directory[length - 1] == '/';
    return xprintf("%s%s%s", directory, slash || length == 0 ? "" : "/", name);
}

char *cli_base_name(const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    size_t start = length;
    while (start > 0 && path[start - 1] != '/') {
        start--;
    }
    return xstrndup(path + start, length - start);
}

bool cli_names_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    return (slash && slash[1] == '\0') || cli_is_dots(path);
}

bool cli_may_become(struct cli *cli, const char *target, bool from_directory)
{
    struct dfs_stat stat;
    if (from_directory || !cli_names_directory(target)) {
        return true;
    }
    int r = cli_stat(cli, target, &stat);
    if (r >= 0 && !(r > 0 && stat.directory)) {
        cli_error(cli, target, "%s", cli_error_text(r > 0 ? DFS_ENOT_DIR : DFS_ENOT_FOUND));
    }
    return r > 0 && stat.directory;
}

bool cli_is_dots(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *last = slash ? slash + 1 : path;
    return strcmp(last, ".") == 0 || strcmp(last, "..") == 0;
}

char *cli_source_name(struct cli *cli, const char *source)
{
    return cli_is_dots(source) ? xstrdup("") : cli_resolved_name(cli, source);
}

char *cli_resolved_name(struct cli *cli, const char *source)
{
    char *path = NULL;
    struct dfs_err e = {0};
    if (dfs_resolve_path(cli->dfs, source, &path, &e) < 0) {
        cli_dfs_error(cli, source, &e);
        return NULL;
    }
    char *name = xstrdup(strrchr(path, '/') + 1);
    free(path);
    return name;
}

int cli_stat(struct cli *cli, const char *path, struct dfs_stat *ret)
{
    struct dfs_err e = {0};
    int r = dfs_stat(cli->dfs, path, ret, &e);
    if (r == DFS_ENOT_FOUND || r == DFS_ENOT_DIR) {
        return 0;
    }
    if (r < 0) {
        cli_dfs_error(cli, path, &e);
        return -1;
    }
    return 1;
}

bool cli_is_directory(struct cli *cli, const char *path)
{
    struct dfs_stat stat;
    return cli_stat(cli, path, &stat) > 0 && stat.directory;
}

bool cli_make_directory(struct cli *cli, const char *path)
{
    struct dfs_err e = {0};
    struct dfs_stat stat;
    int r = cli_stat(cli, path, &stat);
    if (r > 0 && !stat.directory) {
        cli_error(cli, path, "%s", cli_error_text(DFS_ENOT_DIR));
    }
    if (r != 0) {
        return r > 0 && stat.directory;
    }
    if (dfs_mkdir(cli->dfs, path, 0, path[0] == '/' ? 0 : DFS_PARENTS, NULL, &e) < 0) {
        cli_dfs_error(cli, path, &e);
        return false;
    }
    return true;
}

/* ---- Showing -------------------------------------------------------------------------------- */

void cli_format_time(uint64_t mtime_ms, char text[32])
{
    struct tm broken;
    time_t seconds = (time_t)(mtime_ms / 1000);
    if (!localtime_r(&seconds, &broken) || strftime(text, 32, "%Y-%m-%d %H:%M", &broken) == 0) {
        (void)snprintf(text, 32, "?");
    }
}

void cli_format_mode(const struct dfs_stat *stat, char text[16])
{
    static const char all[] = "drwxrwxrwx";
    memcpy(text, all, sizeof(all));
    if (!stat->directory) {
        text[0] = '-';
    }
    for (int i = 0; i < 9; i++) {
        if (!(stat->mode >> (8 - i) & 1)) {
            text[1 + i] = '-';
        }
    }
    if (stat->mode & 01000) {
        text[9] = text[9] == 'x' ? 't' : 'T';
    }
}

uint64_t cli_names_used(const struct dfs_stat *stat)
{
    return stat->directory ? stat->subtree_files + stat->subtree_directories + 1 : 0;
}

uint64_t cli_space_used(const struct dfs_stat *stat)
{
    return stat->subtree_replica_bytes + stat->reserved_bytes;
}

void cli_print_json(json_t *value)
{
    (void)json_dumpf(value, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    (void)fputc('\n', stdout);
    json_decref(value);
}

json_t *cli_stat_json(const char *path, const struct dfs_stat *stat)
{
    char mode[8];
    (void)snprintf(mode, sizeof(mode), "%04o", stat->mode & 07777);
    json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:I}", "path", path, "type",
                          stat->directory ? "directory" : "file", "inode", (json_int_t)stat->inode,
                          "mode", mode, "owner", stat->owner, "group", stat->group, "mtime_ms",
                          (json_int_t)stat->mtime_ms);
    json_t *more;
    if (stat->directory) {
        more = json_pack("{s:I, s:I, s:I, s:I, s:I}", "children", (json_int_t)stat->child_count,
                         "subtree_files", (json_int_t)stat->subtree_files, "subtree_directories",
                         (json_int_t)stat->subtree_directories, "subtree_bytes",
                         (json_int_t)stat->subtree_bytes, "subtree_replica_bytes",
                         (json_int_t)stat->subtree_replica_bytes);
    } else {
        more = json_pack("{s:I, s:i, s:I, s:b}", "length", (json_int_t)stat->length, "replication",
                         (int)stat->replication, "chunk_bytes", (json_int_t)stat->chunk_bytes,
                         "open", (int)stat->open);
    }
    (void)json_object_update(o, more);
    json_decref(more);
    return o;
}
