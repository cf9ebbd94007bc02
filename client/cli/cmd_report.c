/* dfs report and dfs loc: the cluster's servers, and where a file's chunks are. Tables on a
 * terminal, TAB-separated lines without a heading line in a pipe. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/hadoop.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "client/cli/servers.h"
#include "client/cli/table.h"
#include "common/alloc.h"
#include "common/macros.h"
#include "common/parse.h"

/* Sizes for people on a terminal, bytes in a pipe. */
static char *size_text(const struct cli *cli, uint64_t bytes, char text[FORMAT_TEXT_BYTES])
{
    return cli->out_tty ? format_bytes(bytes, text) : table_number(bytes, text);
}

/* ---- report --------------------------------------------------------------------------------- */

static json_t *server_json(const struct dfs_server_status *s)
{
    json_t *json =
        json_pack("{s:I, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I}", "id", (json_int_t)s->id,
                  "host", s->host, "rack", s->rack, "address", s->address, "live", (int)s->live,
                  "heartbeat_age_ms", (json_int_t)s->heartbeat_age_ms, "capacity_bytes",
                  (json_int_t)s->capacity_bytes, "free_bytes", (json_int_t)s->free_bytes,
                  "used_bytes", (json_int_t)s->used_bytes, "chunks", (json_int_t)s->chunk_count);
    server_state_json(s, json);
    return json;
}

static void report_json(const struct dfs_report *r)
{
    json_t *servers = json_array();
    for (size_t i = 0; i < r->server_count; i++) {
        (void)json_array_append_new(servers, server_json(&r->servers[i]));
    }
    json_t *chunks =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "total", (json_int_t)r->chunk_count,
                  "under_replicated", (json_int_t)r->under_replicated, "missing",
                  (json_int_t)r->missing, "unheard", (json_int_t)r->unheard, "repair_queue",
                  (json_int_t)r->repair_queue, "repairing", (json_int_t)r->repairing);
    cli_print_json(json_pack(
        "{s:s, s:i, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "cluster_id", r->cluster_id,
        "default_replication", (int)r->default_replication, "servers", servers, "chunks", chunks,
        "files", (json_int_t)r->file_count, "directories", (json_int_t)r->directory_count, "bytes",
        (json_int_t)r->byte_count, "removal_queue", (json_int_t)r->removal_queue,
        "replicas_deleting", (json_int_t)r->replicas_deleting, "applied_index",
        (json_int_t)r->applied_index, "term", (json_int_t)r->term, "orphans",
        json_pack("{s:I, s:b, s:I}", "count", (json_int_t)r->orphans, "kept", (int)r->orphans_kept,
                  "restored_ms", (json_int_t)r->restored_ms)));
}

/* "live", or "decommissioning", or "dead,in-maintenance". */
static char *state_text(const struct dfs_server_status *s)
{
    if (s->admin == DFS_IN_SERVICE) {
        return xstrdup(s->live ? "live" : "dead");
    }
    return xprintf("%s%s", s->live ? "" : "dead,", server_state_name(s));
}

static void report_leaving(const struct dfs_report *r)
{
    for (size_t i = 0; i < r->server_count; i++) {
        const struct dfs_server_status *s = &r->servers[i];
        if (s->admin != DFS_IN_SERVICE) {
            char *text = server_leaving_text(s);
            (void)printf("Chunkserver %llu (%s): %s\n", (unsigned long long)s->id, s->host, text);
            free(text);
        }
    }
}

static void report_failed_disks(const struct dfs_report *r)
{
    for (size_t i = 0; i < r->server_count; i++) {
        const struct dfs_server_status *s = &r->servers[i];
        for (size_t j = 0; j < s->failed_disk_count; j++) {
            (void)printf("Chunkserver %llu (%s) goes on without a disk: %s\n",
                         (unsigned long long)s->id, s->host, s->failed_disks[j]);
        }
    }
}

static void report_servers(const struct cli *cli, const struct dfs_report *r)
{
    static const struct column columns[] = {
        {"ID", true},    {"HOST", false},    {"RACK", false}, {"ADDRESS", false}, {"STATE", false},
        {"HEARD", true}, {"CAPACITY", true}, {"FREE", true},  {"USED", true},     {"CHUNKS", true},
    };
    struct libscols_table *table = table_new(cli, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < r->server_count; i++) {
        char texts[6][FORMAT_TEXT_BYTES];
        const struct dfs_server_status *s = &r->servers[i];
        char *state = state_text(s);
        const char *fields[] = {
            table_number(s->id, texts[0]),
            s->host,
            s->rack,
            s->address,
            state,
            cli->out_tty ? format_duration(s->heartbeat_age_ms, texts[1])
                         : table_number(s->heartbeat_age_ms, texts[1]),
            size_text(cli, s->capacity_bytes, texts[2]),
            size_text(cli, s->free_bytes, texts[3]),
            size_text(cli, s->used_bytes, texts[4]),
            table_number(s->chunk_count, texts[5]),
        };
        table_add(table, fields, ARRAY_COUNT(fields));
        free(state);
    }
    table_end(table);
}

static void report_text(const struct cli *cli, const struct dfs_report *r)
{
    char size[FORMAT_TEXT_BYTES];
    size_t live = 0;
    for (size_t i = 0; i < r->server_count; i++) {
        live += r->servers[i].live;
    }
    (void)printf("Cluster %s: %zu of %zu chunkservers live\n", r->cluster_id, live,
                 r->server_count);
    (void)printf("Files: %llu in %llu directories, %s\n", (unsigned long long)r->file_count,
                 (unsigned long long)r->directory_count, format_bytes(r->byte_count, size));
    (void)printf("Default replication: %u%s\n", r->default_replication,
                 r->default_replication == 1 ? " (set up as one machine: a lost disk is lost data)"
                                             : "");
    (void)printf("Chunks: %llu, under-replicated %llu, missing %llu, not heard of yet %llu; "
                 "repair: %llu queued, %llu running\n",
                 (unsigned long long)r->chunk_count, (unsigned long long)r->under_replicated,
                 (unsigned long long)r->missing, (unsigned long long)r->unheard,
                 (unsigned long long)r->repair_queue, (unsigned long long)r->repairing);
    if (r->removal_queue || r->replicas_deleting) {
        (void)printf("Removal: %llu inodes queued, %llu replicas being deleted\n",
                     (unsigned long long)r->removal_queue,
                     (unsigned long long)r->replicas_deleting);
    }
    if (r->orphans_kept) {
        (void)printf("Restored from a backup or a survivor: %llu chunks that no file has are kept "
                     "until `dfs admin release-orphans'\n",
                     (unsigned long long)r->orphans);
    }
    report_leaving(r);
    report_failed_disks(r);
    if (r->server_count > 0) {
        (void)fputc('\n', stdout);
        report_servers(cli, r);
    }
}

static int run_report(struct cli *cli)
{
    struct dfs_err e = {0};
    struct dfs_report *report = NULL;
    if (dfs_report(cli->dfs, &report, &e) < 0) {
        cli_dfs_error(cli, NULL, &e);
        return cli->status;
    }
    if (cli->options.json) {
        report_json(report);
    } else if (cli->options.safemode) {
        (void)printf("Safe mode is OFF\n"); /* there is none: a file master has answered */
    } else if (cli->options.hadoop) {
        hadoop_print_report(report);
    } else {
        report_text(cli, report);
    }
    dfs_report_free(report);
    return cli->status;
}

/* ---- loc ------------------------------------------------------------------------------------ */

static char *hosts_of(const struct dfs_extent *x)
{
    struct buf text = BUF_INIT;
    for (size_t i = 0; i < x->replica_count; i++) {
        buf_printf(&text, "%s%s", i ? "," : "", x->replicas[i].host);
    }
    if (x->replica_count == 0) {
        buf_append_str(&text, x->unheard ? "(not heard of yet)" : "(none)");
    }
    char *copy = xstrdup(text.data);
    buf_deinit(&text);
    return copy;
}

static json_t *extents_json(const char *path, const struct dfs_extents *extents)
{
    json_t *chunks = json_array();
    for (size_t i = 0; i < extents->count; i++) {
        const struct dfs_extent *x = &extents->items[i];
        json_t *replicas = json_array();
        for (size_t j = 0; j < x->replica_count; j++) {
            const struct dfs_replica *r = &x->replicas[j];
            (void)json_array_append_new(
                replicas, json_pack("{s:I, s:s, s:s, s:s}", "server", (json_int_t)r->server, "host",
                                    r->host, "rack", r->rack, "address", r->address));
        }
        (void)json_array_append_new(
            chunks, json_pack("{s:I, s:I, s:I, s:I, s:b, s:b, s:o}", "chunk", (json_int_t)x->chunk,
                              "version", (json_int_t)x->version, "offset", (json_int_t)x->offset,
                              "length", (json_int_t)x->length, "open", (int)x->open, "unheard",
                              (int)x->unheard, "replicas", replicas));
    }
    return json_pack("{s:s, s:o}", "path", path, "chunks", chunks);
}

static void extents_text(const struct cli *cli, const struct dfs_extents *extents)
{
    static const struct column columns[] = {
        {"CHUNK", true}, {"VERSION", true}, {"OFFSET", true}, {"LENGTH", true}, {"HOSTS", false}};
    struct libscols_table *table = table_new(cli, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < extents->count; i++) {
        const struct dfs_extent *x = &extents->items[i];
        char texts[4][FORMAT_TEXT_BYTES];
        char *hosts = hosts_of(x);
        const char *fields[] = {table_number(x->chunk, texts[0]),
                                table_number(x->version, texts[1]),
                                table_number(x->offset, texts[2]),
                                x->open ? "open" : table_number(x->length, texts[3]), hosts};
        table_add(table, fields, ARRAY_COUNT(fields));
        free(hosts);
    }
    table_end(table);
}

static int run_loc(struct cli *cli)
{
    struct cli_paths paths = {NULL, 0};
    json_t *json = cli->options.json ? json_array() : NULL;
    (void)cli_expand_arguments(cli, 0, cli->argument_count, &paths);
    for (size_t i = 0; i < paths.count; i++) {
        struct dfs_err e = {0};
        struct dfs_extents extents;
        if (dfs_locate(cli->dfs, paths.items[i], 0, 0, &extents, &e) < 0) {
            cli_dfs_error(cli, paths.items[i], &e);
            continue;
        }
        if (json) {
            (void)json_array_append_new(json, extents_json(paths.items[i], &extents));
        } else {
            if (paths.count > 1) {
                (void)printf("%s:\n", paths.items[i]);
            }
            if (extents.count > 0) {
                extents_text(cli, &extents);
            }
        }
        dfs_extents_free(&extents);
    }
    if (json) {
        cli_print_json(json);
    }
    cli_paths_free(&paths);
    return cli->status;
}

/* ---- Pages ---------------------------------------------------------------------------------- */

const struct cli_command cli_loc_page = {
    .name = "loc",
    .summary = "show on which servers a file's chunks are",
    .run = run_loc,
    .arguments = "PATH...",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .description = "One line for each chunk: its number, its version, where in the file it "
                   "begins, its length, and the hosts that hold it.",
    .footer = "Examples:\n  dfs loc /books/book.txt\n  dfs loc --json /books/book.txt",
};

static const struct config_row report_rows[] = {
    {ONCE("hadoop", CONFIG_BOOL, hadoop), .help = "In the form of hdfs dfsadmin -report."},
    {ROW("safemode", CONFIG_BOOL, safemode), .flags = CONFIG_FLAG_ONLY | CONFIG_HIDDEN,
     .help = "In the form of hdfs dfsadmin -safemode get."},
    {ACCEPTED("live"), .help = "Live and dead servers are always shown."},
    {ACCEPTED("dead"), .help = "The same."},
    {ACCEPTED("decommissioning"), .help = "The same."},
    {ACCEPTED("enteringmaintenance"), .help = "The same."},
    {ACCEPTED("inmaintenance"), .help = "The same."},
};

const struct cli_command cli_report_page = {
    .name = "report",
    .summary = "show the cluster's servers and health",
    .run = run_report,
    ROWS(report_rows),
    .arguments = NULL,
    .description = "The chunkservers with their state and space, and what the file master knows "
                   "about the chunks.",
    .footer = "Examples:\n  dfs report\n"
              "  dfs report --json | jq '.servers[] | select(.live | not) | .host'",
};
