/* dfs why: what the chunks of a path, one chunk, or a chunkserver wait for, as the file master
 * itself reasons. Chunks that are as they should be are only counted. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "client/cli/servers.h"
#include "client/cli/walk.h"
#include "common/alloc.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/parse.h"

/* Chunks are asked about in such numbers. */
enum { PAGE = NAMESPACE_LOCATE_COUNT_MAX };

struct asked {
    char *path; /* NULL: the chunk was named itself */
    uint64_t offset;
};

struct why {
    struct cli *cli;
    struct asked asked[PAGE];
    uint64_t chunks[PAGE];
    size_t count;
    uint64_t fine; /* wait for nothing */
    uint64_t waiting;
    json_t *json; /* NULL: lines */
};

/* ---- One chunk ------------------------------------------------------------------------------ */

enum { ADMIN_COUNT = DFS_IN_MAINTENANCE + 1 };

/* Of the state of the copy's server; one of a newer file master counts as the first. */
static const char *admin_of(const struct dfs_explained_copy *c,
                            const char *const texts[ADMIN_COUNT])
{
    return texts[(unsigned)c->admin < ADMIN_COUNT ? c->admin : DFS_IN_SERVICE];
}

static json_t *explanation_json(const struct asked *asked, const struct dfs_explanation *x)
{
    static const char *const names[ADMIN_COUNT] = {[DFS_IN_SERVICE] = "in-service",
                                                   [DFS_DECOMMISSIONED] = "decommissioned",
                                                   [DFS_IN_MAINTENANCE] = "in-maintenance"};
    json_t *copies = json_array(), *awaited = json_array();
    for (size_t i = 0; i < x->copy_count; i++) {
        const struct dfs_explained_copy *c = &x->copies[i];
        (void)json_array_append_new(
            copies,
            json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:s, s:I, s:I}", "host", c->host, "live",
                      (int)c->live, "good", (int)c->good, "damaged", (int)c->damaged, "sealed",
                      (int)c->sealed, "assumed", (int)c->assumed, "admin", admin_of(c, names),
                      "version", (json_int_t)c->version, "length", (json_int_t)c->length));
    }
    for (size_t i = 0; i < x->awaited_count; i++) {
        (void)json_array_append_new(awaited, json_string(x->awaited[i]));
    }
    json_t *o = json_pack("{s:I, s:b, s:I, s:I, s:I, s:I, s:s, s:s, s:b, s:I, s:I, s:I, s:o, s:o}",
                          "chunk", (json_int_t)x->chunk, "known", (int)x->known, "version",
                          (json_int_t)x->version, "length", (json_int_t)x->length, "wanted",
                          (json_int_t)x->wanted, "good", (json_int_t)x->good, "reason", x->reason,
                          "waits_for", x->waits_for, "queued", (int)x->queued, "queued_ms",
                          (json_int_t)x->queued_ms, "retry_ms", (json_int_t)x->retry_ms, "put_offs",
                          (json_int_t)x->put_offs, "copies", copies, "awaited", awaited);
    if (asked->path) {
        (void)json_object_set_new(o, "path", json_string(asked->path));
        (void)json_object_set_new(o, "offset", json_integer((json_int_t)asked->offset));
    }
    return o;
}

static void print_copy(const struct dfs_explanation *x, const struct dfs_explained_copy *c)
{
    (void)printf("    %s: %s", c->host,
                 c->damaged ? "damaged"
                 : !c->live ? "its chunkserver is dead"
                 : c->good  ? "good"
                            : "not as it should be");
    if (!c->good && (c->version != x->version || c->length != x->length)) {
        (void)printf(", version %" PRIu64 " with %" PRIu64 " bytes%s", c->version, c->length,
                     c->sealed ? "" : ", not sealed");
    }
    static const char *const texts[ADMIN_COUNT] = {
        [DFS_IN_SERVICE] = "",
        [DFS_DECOMMISSIONED] = ", does not count: its chunkserver is decommissioned",
        [DFS_IN_MAINTENANCE] = ", counts: its chunkserver is in maintenance"};
    (void)printf("%s%s\n", c->assumed ? ", not reported yet" : "", admin_of(c, texts));
}

static void print_explanation(const struct asked *asked, const struct dfs_explanation *x)
{
    char text[FORMAT_TEXT_BYTES];
    if (asked->path) {
        (void)printf("%s: chunk %" PRIu64 " at %" PRIu64, asked->path, x->chunk, asked->offset);
    } else {
        (void)printf("chunk %" PRIu64, x->chunk);
    }
    if (!x->known) {
        (void)printf(": nothing is known of it\n");
        return;
    }
    (void)printf(": version %" PRIu64 ", %u of %u copies; waits for %s\n", x->version, x->good,
                 x->wanted, x->waits_for);
    for (size_t i = 0; i < x->awaited_count; i++) {
        (void)printf("    %s: has to answer\n", x->awaited[i]);
    }
    for (size_t i = 0; i < x->copy_count; i++) {
        print_copy(x, &x->copies[i]);
    }
    if (x->queued) {
        (void)printf("    in the queue for %s", format_duration(x->queued_ms, text));
        if (x->put_offs > 0) {
            (void)printf(", looked at %u times in vain", x->put_offs);
        }
        if (x->retry_ms > 0) {
            (void)printf(", again in %s", format_duration(x->retry_ms, text));
        }
        (void)fputc('\n', stdout);
    }
}

/* ---- Pages of chunks ------------------------------------------------------------------------ */

static void ask(struct why *w)
{
    struct dfs_err e = {0};
    struct dfs_explanations got;
    if (w->count > 0 && dfs_explain(w->cli->dfs, w->chunks, w->count, &got, &e) < 0) {
        cli_dfs_error(w->cli, NULL, &e);
    } else if (w->count > 0) {
        for (size_t i = 0; i < got.count; i++) {
            const struct dfs_explanation *x = &got.items[i];
            bool fine = x->known && strcmp(x->reason, "nothing") == 0;
            w->fine += fine;
            w->waiting += !fine;
            if (w->json) {
                (void)json_array_append_new(w->json, explanation_json(&w->asked[i], x));
            } else if (!fine || !w->asked[i].path) {
                print_explanation(&w->asked[i], x);
            }
        }
        dfs_explanations_free(&got);
    }
    for (size_t i = 0; i < w->count; i++) {
        free(w->asked[i].path);
    }
    w->count = 0;
}

static void add_chunk(struct why *w, uint64_t chunk, const char *path, uint64_t offset)
{
    if (w->count == PAGE) {
        ask(w);
    }
    w->chunks[w->count] = chunk;
    w->asked[w->count++] = (struct asked){path ? xstrdup(path) : NULL, offset};
}

static bool visit(struct walk *walk, const char *path, const struct dfs_stat *stat, int depth)
{
    struct why *w = walk->arg;
    struct dfs_err e = {0};
    struct dfs_extents extents;
    (void)depth;
    if (stat->directory) {
        return true;
    }
    if (dfs_locate(w->cli->dfs, path, 0, 0, &extents, &e) < 0) {
        if (e.code != DFS_ENOT_FOUND) { /* else it was removed meanwhile */
            cli_dfs_error(w->cli, path, &e);
        }
        return true;
    }
    for (size_t i = 0; i < extents.count; i++) {
        add_chunk(w, extents.items[i].chunk, path, extents.items[i].offset);
    }
    dfs_extents_free(&extents);
    return true;
}

/* ---- Servers -------------------------------------------------------------------------------- */

static void print_server(const struct dfs_server_status *s)
{
    char age[FORMAT_TEXT_BYTES], space[FORMAT_TEXT_BYTES];
    (void)printf("chunkserver %" PRIu64 " (%s, %s): ", s->id, s->host, s->address);
    if (s->admin != DFS_IN_SERVICE) {
        char *text = server_leaving_text(s);
        (void)printf("%s\n    ", text);
        free(text);
    }
    format_duration(s->heartbeat_age_ms, age);
    if (!s->live) {
        (void)printf("dead: nothing heard of it for %s; its %" PRIu64 " chunks %s\n", age,
                     s->chunk_count,
                     s->admin == DFS_IN_MAINTENANCE
                         ? "count as there"
                         : "are copied from other servers as far as others have them");
    } else if (s->free_bytes < (uint64_t)CHUNK_DISK_FREE_BYTES_MIN) {
        (void)printf("live, but it has no room for chunks: %s are free\n",
                     format_bytes(s->free_bytes, space));
    } else {
        (void)printf("live, waits for nothing: heard %s ago, %" PRIu64 " chunks, %s free\n", age,
                     s->chunk_count, format_bytes(s->free_bytes, space));
    }
    for (size_t i = 0; i < s->failed_disk_count; i++) {
        (void)printf("    goes on without a disk: %s\n", s->failed_disks[i]);
    }
}

/* By host label or address. 1: found, 0: no, -1: it said why not. */
static int explain_server(struct why *w, const char *name)
{
    struct dfs_err e = {0};
    struct dfs_report *report = NULL;
    int found = 0;
    if (dfs_report(w->cli->dfs, &report, &e) < 0) {
        cli_dfs_error(w->cli, NULL, &e);
        return -1;
    }
    for (size_t i = 0; i < report->server_count; i++) {
        const struct dfs_server_status *s = &report->servers[i];
        if (strcmp(name, s->host) != 0 && strcmp(name, s->address) != 0) {
            continue;
        }
        found = 1;
        if (w->json) {
            json_t *json =
                json_pack("{s:I, s:s, s:s, s:b, s:I, s:I, s:I}", "server", (json_int_t)s->id,
                          "host", s->host, "address", s->address, "live", (int)s->live,
                          "heartbeat_age_ms", (json_int_t)s->heartbeat_age_ms, "chunks",
                          (json_int_t)s->chunk_count, "free_bytes", (json_int_t)s->free_bytes);
            server_state_json(s, json);
            (void)json_array_append_new(w->json, json);
        } else {
            print_server(s);
        }
    }
    dfs_report_free(report);
    return found;
}

/* ---- The command ---------------------------------------------------------------------------- */

static void explain_argument(struct why *w, const char *argument)
{
    uint64_t chunk = 0;
    struct dfs_stat stat;
    struct walk walk = {.cli = w->cli, .visit = visit, .arg = w};
    if (argument[0] != '/' && parse_u64(argument, &chunk, NULL) == 0) {
        add_chunk(w, chunk, NULL, 0);
        ask(w);
        return;
    }
    if (argument[0] != '/' && explain_server(w, argument) != 0) {
        return;
    }
    int r = cli_stat(w->cli, argument, &stat);
    if (r == 0) {
        cli_error(w->cli, argument, "%s",
                  argument[0] == '/' ? cli_error_text(DFS_ENOT_FOUND)
                                     : "No such path, chunk or chunkserver");
    }
    if (r <= 0) {
        return;
    }
    w->fine = w->waiting = 0;
    walk_from(&walk, argument, &stat);
    ask(w);
    if (!w->json && w->cli->status == 0) {
        (void)printf("%s: %" PRIu64 " chunks are as they should be, %" PRIu64 " wait\n", argument,
                     w->fine, w->waiting);
    }
}

static int run_why(struct cli *cli)
{
    struct why *w = xcalloc(1, sizeof(*w));
    w->cli = cli;
    w->json = cli->options.json ? json_array() : NULL;
    for (size_t i = 0; i < cli->argument_count; i++) {
        explain_argument(w, cli->arguments[i]);
    }
    if (cli->argument_count == 0) {
        explain_argument(w, "/");
    }
    if (w->json) {
        cli_print_json(w->json);
    }
    free(w);
    return cli->status;
}

/* ---- Page ----------------------------------------------------------------------------------- */

const struct cli_command cli_why_page = {
    .name = "why",
    .summary = "say what chunks wait for",
    .run = run_why,
    .arguments = "[PATH|CHUNK|HOST]...",
    .arguments_max = ARGUMENTS_MANY,
    .description =
        "For each chunk below PATH, or the chunk of that number, that is not as it should be: how "
        "many copies it has of those wanted, what the file master waits for, where the copies are "
        "and how they are. Of a chunkserver, by its host label or address: whether it is heard and "
        "has room. Without an argument: the whole store.",
    .footer = "Examples:\n"
              "  dfs why /books/book.txt\n"
              "  dfs why 4711 host3\n"
              "  dfs why --json / | jq '.[] | select(.reason != \"nothing\")'",
};
