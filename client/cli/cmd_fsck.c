/* dfs fsck: walks a tree, asks where each chunk is, and says which have fewer copies than they
 * should. Nothing is repaired: the file master does that by itself (`dfs report` shows how far it
 * is). --hadoop has the form of hdfs fsck. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trireme/dfs_admin.h>

#include "client/cli/cli.h"
#include "client/cli/hadoop.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "client/cli/walk.h"
#include "common/clock.h"
#include "common/macros.h"
#include "common/parse.h"

enum chunk_health {
    CHUNK_WHOLE,
    CHUNK_OPEN,
    CHUNK_UNHEARD,
    CHUNK_UNDER,
    CHUNK_OVER,
    CHUNK_MISSING
};
static const char *const health_names[] = {
    "whole", "open", "not heard of yet", "under-replicated", "over-replicated", "missing"};
enum { HEALTH_COUNT = ARRAY_COUNT(health_names) };

struct fsck {
    uint64_t directories, files, bytes;
    uint64_t chunks;               /* sealed ones and open ones */
    uint64_t health[HEALTH_COUNT]; /* of them */
    uint64_t copies;               /* of sealed chunks */
    uint64_t copies_missing;
    uint64_t sealed, sealed_bytes;
    uint64_t sealed_there; /* with a copy at least */
    uint64_t damaged_files, missing_bytes;
    json_t *problems; /* NULL: lines */
    struct dfs_orphans
        *orphans; /* of a store that was restored; NULL: none are kept, or not asked */
};

/* The replicas of an open chunk are those servers it was given that live, whether or not they have
 * reported it yet: a chunk that has only just been given has all of them. With none left, what a
 * writer had synced in it cannot be read; how much that is, only those servers know. */
static enum chunk_health health_of(const struct dfs_extent *x, uint32_t wanted)
{
    return x->replica_count == 0 && x->unheard ? CHUNK_UNHEARD
           : x->replica_count == 0             ? CHUNK_MISSING
           : x->open                           ? CHUNK_OPEN
           : x->replica_count < wanted         ? CHUNK_UNDER
           : x->replica_count > wanted         ? CHUNK_OVER
                                               : CHUNK_WHOLE;
}

/* ---- Lines ---------------------------------------------------------------------------------- */

static void print_problem(const struct cli *cli, struct fsck *f, const char *path,
                          const struct dfs_extent *x, const struct dfs_stat *stat)
{
    enum chunk_health health = health_of(x, stat->replication);
    if (f->problems) {
        (void)json_array_append_new(
            f->problems,
            json_pack("{s:s, s:I, s:I, s:I, s:s, s:I, s:I}", "path", path, "chunk",
                      (json_int_t)x->chunk, "offset", (json_int_t)x->offset, "length",
                      (json_int_t)x->length, "health", health_names[health], "copies",
                      (json_int_t)x->replica_count, "wanted", (json_int_t)stat->replication));
    } else if (!cli->options.hadoop) {
        (void)printf("%s: chunk %" PRIu64 " at %" PRIu64 ": %s, %zu of %u copies\n", path, x->chunk,
                     x->offset, health_names[health], x->replica_count, stat->replication);
    } else if (health == CHUNK_UNDER) {
        (void)printf("%s:  Under replicated blk_%" PRIu64 "_%" PRIu64
                     ". Target Replicas is %u but found %zu live replica(s).\n",
                     path, x->chunk, x->version, stat->replication, x->replica_count);
    }
}

/* A line of --blocks, in both forms. */
static void print_chunk(const struct cli *cli, size_t number, const struct dfs_extent *x)
{
    (void)printf("%zu. blk_%" PRIu64 "_%" PRIu64 " len=%" PRIu64 " Live_repl=%zu", number, x->chunk,
                 x->version, x->length, x->replica_count);
    if (x->replica_count == 0) {
        (void)printf(x->unheard ? " UNHEARD" : " MISSING!");
    }
    for (size_t i = 0; cli->options.locations && i < x->replica_count; i++) {
        (void)printf("%s%s", i == 0 ? "  [" : ", ", x->replicas[i].address);
    }
    (void)printf("%s%s\n", x->open ? " OPENFORWRITE" : "",
                 cli->options.locations && x->replica_count > 0 ? "]" : "");
}

/* A line of --files. */
static void print_file(const char *path, const struct dfs_stat *stat,
                       const struct dfs_extents *extents, const uint64_t *health)
{
    (void)printf("%s %" PRIu64 " bytes, replicated: replication=%u, %zu block(s): ", path,
                 stat->length, stat->replication, extents->count);
    if (health[CHUNK_MISSING]) {
        (void)printf(" MISSING %" PRIu64 " blocks\n", health[CHUNK_MISSING]);
    } else if (health[CHUNK_UNDER]) {
        (void)printf(" Under replicated %" PRIu64 " blocks\n", health[CHUNK_UNDER]);
    } else {
        (void)printf(" %s\n", stat->open ? "OPENFORWRITE" : "OK");
    }
}

/* ---- Counting ------------------------------------------------------------------------------- */

static void count_chunk(struct fsck *f, const struct dfs_extent *x, uint32_t wanted)
{
    f->chunks++;
    f->health[health_of(x, wanted)]++;
    if (!x->open) {
        f->sealed++;
        f->sealed_bytes += x->length;
        f->sealed_there += x->replica_count > 0;
        f->copies += x->replica_count;
        f->copies_missing += wanted - MIN(wanted, x->replica_count);
    }
    if (health_of(x, wanted) == CHUNK_MISSING) {
        f->missing_bytes += x->length;
    }
}

static void check_file(struct cli *cli, struct fsck *f, const char *path,
                       const struct dfs_stat *stat)
{
    const struct cli_options *o = &cli->options;
    struct dfs_err e = {0};
    struct dfs_extents extents;
    uint64_t health[HEALTH_COUNT] = {0};
    if (dfs_locate(cli->dfs, path, 0, 0, &extents, &e) < 0) {
        if (e.code != DFS_ENOT_FOUND) { /* else it was removed meanwhile */
            cli_dfs_error(cli, path, &e);
        }
        return;
    }
    f->files++;
    f->bytes += stat->length;
    for (size_t i = 0; i < extents.count; i++) {
        enum chunk_health h = health_of(&extents.items[i], stat->replication);
        health[h]++;
        count_chunk(f, &extents.items[i], stat->replication);
        if (h >= CHUNK_UNHEARD) {
            print_problem(cli, f, path, &extents.items[i], stat);
        }
    }
    f->damaged_files += health[CHUNK_MISSING] > 0;
    if (health[CHUNK_MISSING] && o->hadoop && !o->files) {
        (void)printf("%s: MISSING %" PRIu64 " blocks\n", path, health[CHUNK_MISSING]);
    }
    if ((o->files || (o->open_files && stat->open)) && !f->problems) {
        print_file(path, stat, &extents, health);
    }
    for (size_t i = 0; o->blocks && !f->problems && i < extents.count; i++) {
        print_chunk(cli, i, &extents.items[i]);
    }
    dfs_extents_free(&extents);
}

static bool visit(struct walk *w, const char *path, const struct dfs_stat *stat, int depth)
{
    (void)depth;
    struct fsck *f = w->arg;
    if (!stat->directory) {
        check_file(w->cli, f, path, stat);
        return true;
    }
    f->directories++;
    if (w->cli->options.files && !f->problems) {
        (void)printf("%s <dir>\n", path);
    }
    return true;
}

/* ---- Orphans -------------------------------------------------------------------------------- */

/* What a restored state does not know is set aside until an operator releases it. That concerns the
 * store as a whole, so it is asked when "/" is checked. */
static void find_orphans(struct cli *cli, struct fsck *f)
{
    struct dfs_err e = {0};
    if (dfs_orphans(cli->dfs, &f->orphans, &e) < 0) {
        cli_dfs_error(cli, NULL, &e);
        return;
    }
    if (!f->orphans->kept) {
        dfs_orphans_free(f->orphans);
        f->orphans = NULL;
    }
}

static void print_orphans(const struct fsck *f)
{
    uint64_t bytes = 0;
    char size[FORMAT_TEXT_BYTES];
    for (size_t i = 0; i < f->orphans->count; i++) {
        const struct dfs_orphan *o = &f->orphans->items[i];
        uint64_t longest = 0;
        for (size_t k = 0; k < o->replica_count; k++) {
            longest = MAX(longest, o->replicas[k].length);
        }
        bytes += longest;
        (void)printf("chunk %" PRIu64 ": set aside, %zu copies of %" PRIu64 " bytes, no file%s\n",
                     o->chunk, o->replica_count, longest,
                     o->known_version ? " at this version" : "");
    }
    (void)printf("Set aside: %zu chunks, %s%s; `dfs admin orphans' says where, `dfs admin "
                 "release-orphans' lets them go\n",
                 f->orphans->count, format_bytes(bytes, size),
                 f->orphans->complete ? "" : " so far");
}

static json_t *orphans_json(const struct fsck *f)
{
    json_t *items = json_array();
    for (size_t i = 0; i < f->orphans->count; i++) {
        const struct dfs_orphan *o = &f->orphans->items[i];
        for (size_t k = 0; k < o->replica_count; k++) {
            (void)json_array_append_new(
                items, json_pack("{s:I, s:I, s:I, s:I}", "chunk", (json_int_t)o->chunk, "server",
                                 (json_int_t)o->replicas[k].server, "version",
                                 (json_int_t)o->replicas[k].version, "length",
                                 (json_int_t)o->replicas[k].length));
        }
    }
    return items;
}

/* ---- The end -------------------------------------------------------------------------------- */

static void print_json(struct fsck *f)
{
    json_t *chunks = json_pack("{s:I}", "total", (json_int_t)f->chunks);
    static const char *const keys[] = {"whole",           "open",   "unheard", "under_replicated",
                                       "over_replicated", "missing"};
    for (size_t i = 0; i < HEALTH_COUNT; i++) {
        (void)json_object_set_new(chunks, keys[i], json_integer((json_int_t)f->health[i]));
    }
    json_t *json =
        json_pack("{s:b, s:I, s:I, s:I, s:I, s:o, s:o}", "healthy",
                  (int)(f->health[CHUNK_MISSING] == 0), "directories", (json_int_t)f->directories,
                  "files", (json_int_t)f->files, "bytes", (json_int_t)f->bytes, "damaged_files",
                  (json_int_t)f->damaged_files, "chunks", chunks, "problems", f->problems);
    if (f->orphans) {
        (void)json_object_set_new(json, "set_aside", orphans_json(f));
    }
    cli_print_json(json);
}

static void print_summary(const struct fsck *f)
{
    char size[FORMAT_TEXT_BYTES];
    (void)printf("Files: %" PRIu64 " in %" PRIu64 " directories, %s; %" PRIu64 " damaged\n",
                 f->files, f->directories, format_bytes(f->bytes, size), f->damaged_files);
    (void)printf("Chunks: %" PRIu64, f->chunks);
    for (size_t i = 0; i < HEALTH_COUNT; i++) {
        (void)printf(", %s %" PRIu64, health_names[i], f->health[i]);
    }
    (void)printf("\n%s\n", f->health[CHUNK_MISSING] ? "CORRUPT: bytes are missing" : "HEALTHY");
}

static void print_part(const char *what, uint64_t part, uint64_t whole)
{
    (void)printf(" %s:\t%" PRIu64 " (%.1f %%)\n", what, part,
                 whole ? (double)part * 100 / (double)whole : 0.0);
}

static void print_hadoop_summary(const struct fsck *f, const struct dfs_report *report)
{
    size_t live = 0;
    for (size_t i = 0; i < report->server_count; i++) {
        live += report->servers[i].live;
    }
    (void)printf("\nStatus: %s\n Number of data-nodes:\t%zu\n Total dirs:\t\t\t%" PRIu64 "\n\n",
                 f->health[CHUNK_MISSING] ? "CORRUPT" : "HEALTHY", live, f->directories);
    (void)printf("Replicated Blocks:\n Total size:\t%" PRIu64 " B\n Total files:\t%" PRIu64
                 "\n Total blocks (validated):\t%" PRIu64 " (avg. block size %" PRIu64 " B)\n",
                 f->bytes, f->files, f->sealed, f->sealed ? f->sealed_bytes / f->sealed : 0);
    if (f->health[CHUNK_MISSING]) {
        (void)printf("  ********************************\n  CORRUPT FILES:\t%" PRIu64
                     "\n  MISSING BLOCKS:\t%" PRIu64 "\n  MISSING SIZE:\t\t%" PRIu64
                     " B\n  ********************************\n",
                     f->damaged_files, f->health[CHUNK_MISSING], f->missing_bytes);
    }
    print_part("Minimally replicated blocks", f->sealed_there, f->sealed);
    print_part("Over-replicated blocks", f->health[CHUNK_OVER], f->sealed);
    print_part("Under-replicated blocks", f->health[CHUNK_UNDER], f->sealed);
    (void)printf(" Default replication factor:\t%u\n Average block replication:\t%.1f\n"
                 " Missing blocks:\t\t%" PRIu64 "\n",
                 report->default_replication,
                 f->sealed ? (double)f->copies / (double)f->sealed : 0.0, f->health[CHUNK_MISSING]);
    print_part("Missing replicas", f->copies_missing, f->copies + f->copies_missing);
    (void)printf(" Blocks queued for replication:\t%" PRIu64 "\n", report->repair_queue);
}

/* One tree in the form of hdfs fsck. */
static void check_hadoop(struct walk *w, const char *path)
{
    struct fsck *f = w->arg;
    struct dfs_err e = {0};
    struct dfs_report *report = NULL;
    char date[64];
    uint64_t began_ms = clock_mono_ms();
    hadoop_date_text(clock_wall_ms(), date);
    (void)printf("FSCK started by %s (auth:SIMPLE) for path %s at %s\n", dfs_user(w->cli->dfs),
                 path, date);
    walk_path(w, path);
    if (w->cli->status || dfs_report(w->cli->dfs, &report, &e) < 0) {
        if (e.code) {
            cli_dfs_error(w->cli, NULL, &e);
        }
        return;
    }
    print_hadoop_summary(f, report);
    dfs_report_free(report);
    hadoop_date_text(clock_wall_ms(), date);
    (void)printf("FSCK ended at %s in %" PRIu64 " milliseconds\n\n\n"
                 "The filesystem under path '%s' is %s\n",
                 date, clock_mono_ms() - began_ms, path,
                 f->health[CHUNK_MISSING] ? "CORRUPT" : "HEALTHY");
}

static int run_fsck(struct cli *cli)
{
    struct cli_paths paths = {NULL, 0};
    struct fsck f = {.problems = cli->options.json ? json_array() : NULL};
    struct walk walk = {.cli = cli, .visit = visit, .arg = &f};
    if (cli->argument_count == 0) {
        cli_paths_add(&paths, "/");
    }
    (void)cli_expand_arguments(cli, 0, cli->argument_count, &paths);
    for (size_t i = 0; i < paths.count; i++) {
        if (cli->options.hadoop) {
            check_hadoop(&walk, paths.items[i]);
        } else {
            walk_path(&walk, paths.items[i]);
        }
        if (strcmp(paths.items[i], "/") == 0 && !cli->options.hadoop && !f.orphans) {
            find_orphans(cli, &f);
        }
    }
    if (f.orphans && !f.problems) {
        print_orphans(&f);
    }
    if (f.problems) {
        print_json(&f);
    } else if (!cli->options.hadoop && (f.files > 0 || f.directories > 0)) {
        print_summary(&f);
    }
    dfs_orphans_free(f.orphans);
    cli_paths_free(&paths);
    return cli->status || f.health[CHUNK_MISSING] > 0;
}

/* ---- Page ----------------------------------------------------------------------------------- */

static const struct config_row fsck_rows[] = {
    {ONCE("files", CONFIG_BOOL, files), .help = "A line for each file and directory."},
    {ONCE("blocks", CONFIG_BOOL, blocks), .help = "A line for each chunk."},
    {ONCE("locations", CONFIG_BOOL, locations), .help = "With --blocks: where the copies are."},
    {ONCE("openforwrite", CONFIG_BOOL, open_files),
     .help = "A line for each file that is written."},
    {ONCE("hadoop", CONFIG_BOOL, hadoop), .help = "In the form of hdfs fsck, which has this on."},
    {ACCEPTED("showprogress"), .help = "It is quick."},
    {ACCEPTED("includeSnapshots"), .help = "There are none."},
};

const struct cli_command cli_fsck_page = {
    .name = "fsck",
    .summary = "find chunks that have too few copies",
    .run = run_fsck,
    ROWS(fsck_rows),
    .arguments = "[PATH]...",
    .arguments_max = ARGUMENTS_MANY,
    .description =
        "Looks where each chunk below PATH, or in the whole store, is, and prints a line for each "
        "that has fewer live copies than wanted, or more, or none. Nothing is changed: missing "
        "copies are made by the file master. Of the whole store, `dfs fsck /', it also lists the "
        "chunks that a restored state does not know and that are set aside (`dfs admin orphans'). "
        "The bytes are not read; `dfs checksum --verify' does "
        "that. A chunk that is being written is missing, too, when none of its chunkservers "
        "lives.\n"
        "Exit status: 0 no byte is missing, 1 a chunk has no live copy.",
    .footer = "Examples:\n"
              "  dfs fsck\n"
              "  dfs fsck -files -blocks -locations /books\n"
              "  dfs fsck --json / | jq '.problems[].path'",
};
