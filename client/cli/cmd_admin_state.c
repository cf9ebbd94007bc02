/* dfs admin backup, orphans, release-orphans: the state of the file masters as a file, and what is
 * left over after it was restored. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <trireme/dfs_admin.h>

#include "client/cli/admin.h"
#include "client/cli/local_file.h"
#include "client/cli/progress.h"
#include "client/cli/table.h"
#include "common/alloc.h"
#include "common/parse.h"
#include "common/sys.h"

/* ---- backup --------------------------------------------------------------------------------- */

struct backup {
    struct cli *cli;
    char *target; /* owned */
    bool begun;
    struct local_file file;
    struct progress progress;
};

/* In a directory the file says itself what it is. */
static char *target_of(const char *argument, const struct dfs_backup *about)
{
    struct stat st;
    if (stat(argument, &st) == 0 && S_ISDIR(st.st_mode)) {
        return xprintf("%s/trireme-%.8s-%" PRIu64 ".backup", argument, about->cluster_id,
                       about->index);
    }
    return xstrdup(argument);
}

static bool begin(struct backup *b, const struct dfs_backup *about)
{
    struct cli *cli = b->cli;
    b->target = target_of(cli->arguments[1], about);
    b->begun = local_file_may_write(cli, b->target, cli->options.force) &&
               local_file_begin(cli, &b->file, b->target);
    b->file.durable = true; /* before we say that it is there */
    progress_begin(&b->progress, "backup", cli->err_tty && !cli->options.quiet, about->bytes);
    return b->begun;
}

static int take_piece(void *arg, const struct dfs_backup *about, const void *data, size_t length)
{
    struct backup *b = arg;
    struct err e = ERR_INIT;
    if (!b->target && !begin(b, about)) {
        return -1;
    }
    if (cli_interrupted()) {
        b->cli->status = CLI_INTERRUPTED;
        return -1;
    }
    if (sys_write_full(b->file.fd, data, length, &e) < 0) {
        cli_err(b->cli, b->target, &e);
        return -1;
    }
    progress_add(&b->progress, length);
    return 0;
}

static void say_done(const struct backup *b, const struct dfs_backup *about)
{
    char size[FORMAT_TEXT_BYTES];
    if (b->cli->options.json) {
        cli_print_json(json_pack(
            "{s:s, s:s, s:I, s:s, s:I, s:I, s:I, s:f}", "file", b->target, "cluster_id",
            about->cluster_id, "member", (json_int_t)about->member, "address", about->address,
            "index", (json_int_t)about->index, "term", (json_int_t)about->term, "bytes",
            (json_int_t)about->bytes, "seconds", progress_seconds(&b->progress)));
    } else {
        (void)printf("%s: entry %" PRIu64 " of term %" PRIu64 ", %s, from member %" PRIu64 "\n",
                     b->target, about->index, about->term, format_bytes(about->bytes, size),
                     about->member);
    }
}

bool admin_backup_check(struct cli *cli)
{
    const char *target = cli->arguments[1];
    struct stat st;
    return (stat(target, &st) == 0 && S_ISDIR(st.st_mode)) ||
           (local_file_may_write(cli, target, cli->options.force) &&
            local_file_has_place(cli, target));
}

int admin_backup(struct cli *cli)
{
    struct dfs_err e = {0};
    struct dfs_backup about;
    struct backup b = {.cli = cli};
    const char *from = cli->options.from && cli->options.from[0] ? cli->options.from : NULL;
    cli_catch_signals();
    int r = dfs_backup(cli->dfs, from, take_piece, &b, &about, &e);
    progress_end(&b.progress);
    bool ok = b.begun && local_file_end(cli, &b.file, r == 0, cli->options.force);
    if (r < 0 && cli->status == 0) {
        cli_dfs_error(cli, cli->arguments[1], &e);
    } else if (ok) {
        say_done(&b, &about);
    }
    free(b.target);
    return cli->status;
}

/* ---- orphans -------------------------------------------------------------------------------- */

static json_t *orphan_json(const struct dfs_orphan *o)
{
    json_t *replicas = json_array();
    for (size_t i = 0; i < o->replica_count; i++) {
        (void)json_array_append_new(
            replicas, json_pack("{s:I, s:I, s:I}", "server", (json_int_t)o->replicas[i].server,
                                "version", (json_int_t)o->replicas[i].version, "length",
                                (json_int_t)o->replicas[i].length));
    }
    return json_pack("{s:I, s:o?, s:o}", "chunk", (json_int_t)o->chunk, "known_version",
                     o->known_version ? json_integer((json_int_t)o->known_version) : json_null(),
                     "replicas", replicas);
}

static void orphans_json(const struct dfs_orphans *orphans)
{
    json_t *items = json_array();
    for (size_t i = 0; i < orphans->count; i++) {
        (void)json_array_append_new(items, orphan_json(&orphans->items[i]));
    }
    cli_print_json(json_pack("{s:b, s:I, s:I, s:b, s:I, s:o}", "kept", (int)orphans->kept, "floor",
                             (json_int_t)orphans->floor, "restored_ms",
                             (json_int_t)orphans->restored_ms, "complete", (int)orphans->complete,
                             "count", (json_int_t)orphans->count, "orphans", items));
}

static void orphans_table(const struct cli *cli, const struct dfs_orphans *orphans)
{
    static const struct column columns[] = {
        {"CHUNK", true}, {"KNOWN", true}, {"VERSION", true}, {"LENGTH", true}, {"SERVER", true}};
    struct libscols_table *table = table_new(cli, columns, sizeof(columns) / sizeof(columns[0]));
    for (size_t i = 0; i < orphans->count; i++) {
        const struct dfs_orphan *o = &orphans->items[i];
        for (size_t k = 0; k < o->replica_count; k++) {
            char texts[5][FORMAT_TEXT_BYTES];
            const char *fields[] = {
                table_number(o->chunk, texts[0]),
                o->known_version ? table_number(o->known_version, texts[1]) : "-",
                table_number(o->replicas[k].version, texts[2]),
                table_number(o->replicas[k].length, texts[3]),
                table_number(o->replicas[k].server, texts[4]),
            };
            table_add(table, fields, sizeof(fields) / sizeof(fields[0]));
        }
    }
    table_end(table);
}

static void orphans_text(const struct cli *cli, const struct dfs_orphans *orphans)
{
    char when[32];
    cli_format_time(orphans->restored_ms, when);
    if (orphans->count > 0) {
        orphans_table(cli, orphans);
    }
    if (!cli->out_tty) {
        return;
    }
    (void)printf("%zu orphans%s. ", orphans->count,
                 orphans->complete ? "" : " so far: not every chunkserver has reported yet");
    if (orphans->kept) {
        (void)printf("Kept since %s, until `dfs admin release-orphans'.\n", when);
    } else {
        (void)printf("They are deleted in the background.\n");
    }
}

int admin_orphans(struct cli *cli)
{
    struct dfs_err e = {0};
    struct dfs_orphans *orphans = NULL;
    if (dfs_orphans(cli->dfs, &orphans, &e) < 0) {
        cli_dfs_error(cli, NULL, &e);
        return cli->status;
    }
    if (cli->options.json) {
        orphans_json(orphans);
    } else {
        orphans_text(cli, orphans);
    }
    dfs_orphans_free(orphans);
    return cli->status;
}

int admin_release_orphans(struct cli *cli)
{
    struct dfs_err e = {0};
    if (dfs_orphans_release(cli->dfs, &e) < 0) {
        cli_dfs_error(cli, NULL, &e);
    } else if (cli->options.json) {
        cli_print_json(json_pack("{s:b}", "released", 1));
    } else {
        (void)printf("Released: replicas of chunks that no file has are deleted from now on.\n");
    }
    return cli->status;
}
