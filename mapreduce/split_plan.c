/* Cutting large files and combining small ones; see split_plan.h for the rules. */
#include "mapreduce/split_plan.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/map.h"

enum {
    TALLY_MAX = 64,        /* distinct hosts weighed per split; more are left out */
    SPLIT_COMMON_MAX = 16, /* hosts of one extent looked at for what neighbours have in common */
};

/* Bytes of one split by host. */
struct tally {
    const char *hosts[TALLY_MAX];
    const char *racks[TALLY_MAX];
    uint64_t bytes[TALLY_MAX];
    uint32_t count;
};

struct planner {
    const struct plan_file *files;
    uint64_t split_bytes;
    uint64_t near_bytes;
    bool whole_files;
    bool combine_whole; /* also small files that stay whole for themselves */
    struct arena *arena;
    struct plan_split *splits; /* grows; copied into the arena at the end */
    size_t count;
    size_t capacity;
};

/* A combined split that still takes files. */
struct group {
    uint32_t *files; /* indexes */
    size_t count;
    size_t capacity;
    uint64_t bytes;
};

static void tally_add(struct tally *tally, const struct plan_extent *extent, uint64_t bytes)
{
    for (uint32_t h = 0; h < extent->host_count; h++) {
        uint32_t at = 0;
        while (at < tally->count && strcmp(tally->hosts[at], extent->hosts[h]) != 0) {
            at++;
        }
        if (at == TALLY_MAX) {
            return;
        }
        if (at == tally->count) {
            tally->hosts[at] = extent->hosts[h];
            tally->racks[at] = extent->racks[h];
            tally->bytes[at] = 0;
            tally->count++;
        }
        tally->bytes[at] += bytes;
    }
}

/* Weighs the extents under one piece. */
static void tally_piece(struct tally *tally, const struct plan_file *file,
                        const struct plan_piece *piece)
{
    uint64_t end = piece->offset + piece->length;
    for (size_t i = 0; i < file->extent_count; i++) {
        const struct plan_extent *extent = &file->extents[i];
        uint64_t from = extent->offset > piece->offset ? extent->offset : piece->offset;
        uint64_t extent_end = extent->offset + extent->length;
        uint64_t to = extent_end < end ? extent_end : end;
        if (from < to) {
            tally_add(tally, extent, to - from);
        }
    }
}

/* The heaviest hosts, in order of weight, equal weights in order of appearance. */
static void split_set_hosts(struct plan_split *split, struct tally *tally)
{
    while (split->host_count < SPLIT_HOSTS_MAX) {
        uint32_t best = TALLY_MAX;
        for (uint32_t i = 0; i < tally->count; i++) {
            if (tally->bytes[i] > 0 &&
                (best == TALLY_MAX || tally->bytes[i] > tally->bytes[best])) {
                best = i;
            }
        }
        if (best == TALLY_MAX) {
            return;
        }
        split->hosts[split->host_count] = tally->hosts[best];
        split->racks[split->host_count] = tally->racks[best];
        split->host_count++;
        tally->bytes[best] = 0;
    }
}

/* Adds a split of these pieces, which are copied. */
static void add_split(struct planner *p, const struct plan_piece *pieces, uint32_t count)
{
    if (p->count == p->capacity) {
        p->capacity = p->capacity ? 2 * p->capacity : 64;
        p->splits = xreallocarray(p->splits, p->capacity, sizeof(p->splits[0]));
    }
    struct plan_split *split = &p->splits[p->count++];
    memset(split, 0, sizeof(*split));
    split->pieces = arena_copy(p->arena, pieces, count * sizeof(pieces[0]));
    split->piece_count = count;
    struct tally tally = {.count = 0};
    for (uint32_t i = 0; i < count; i++) {
        split->bytes += pieces[i].length;
        tally_piece(&tally, &p->files[pieces[i].file], &pieces[i]);
    }
    split_set_hosts(split, &tally);
}

/* Cuts [offset, offset + length) of a file into even pieces of at most the wanted size. */
static void add_range(struct planner *p, uint32_t file, uint64_t offset, uint64_t length)
{
    uint64_t parts = (length + p->split_bytes - 1) / p->split_bytes;
    for (uint64_t i = 0; i < parts; i++) {
        uint64_t from = length / parts * i;
        uint64_t to = i + 1 == parts ? length : length / parts * (i + 1);
        struct plan_piece piece = {.file = file, .offset = offset + from, .length = to - from};
        add_split(p, &piece, 1);
    }
}

/* Hosts that hold every extent of a range. */
struct common_hosts {
    const char *names[SPLIT_COMMON_MAX];
    uint32_t count;
};

static bool extent_has(const struct plan_extent *extent, const char *host)
{
    for (uint32_t h = 0; h < extent->host_count; h++) {
        if (strcmp(extent->hosts[h], host) == 0) {
            return true;
        }
    }
    return false;
}

static struct common_hosts hosts_of(const struct plan_extent *extent)
{
    struct common_hosts common = {.count = 0};
    for (uint32_t h = 0; h < extent->host_count && h < SPLIT_COMMON_MAX; h++) {
        common.names[common.count++] = extent->hosts[h];
    }
    return common;
}

static struct common_hosts hosts_shared(const struct common_hosts *hosts,
                                        const struct plan_extent *extent)
{
    struct common_hosts common = {.count = 0};
    for (uint32_t i = 0; i < hosts->count; i++) {
        if (extent_has(extent, hosts->names[i])) {
            common.names[common.count++] = hosts->names[i];
        }
    }
    return common;
}

/* A file without bytes has no records, unless it is one. */
static bool has_records(const struct planner *p, const struct plan_file *file)
{
    return file->length > 0 || p->whole_files;
}

static void cut_file(struct planner *p, uint32_t number)
{
    const struct plan_file *file = &p->files[number];
    if (p->whole_files || file->whole || file->extent_count == 0) {
        struct plan_piece piece = {.file = number, .offset = 0, .length = file->length};
        add_split(p, &piece, 1);
        return;
    }
    uint64_t start = file->extents[0].offset;
    uint64_t end = start;
    struct common_hosts hosts = {.count = 0};
    for (size_t i = 0; i < file->extent_count; i++) {
        const struct plan_extent *extent = &file->extents[i];
        struct common_hosts shared = hosts_shared(&hosts, extent);
        bool too_long = extent->offset + extent->length - start > p->split_bytes;
        bool elsewhere = shared.count == 0 && end - start >= p->near_bytes;
        if (end > start && (too_long || elsewhere)) {
            add_range(p, number, start, end - start);
            start = end;
        }
        hosts = end == start ? hosts_of(extent) : shared;
        end = extent->offset + extent->length;
    }
    if (end > start) {
        add_range(p, number, start, end - start);
    }
}

static void group_finish(struct planner *p, struct group *group)
{
    struct plan_piece *pieces = xcalloc(group->count, sizeof(pieces[0]));
    for (size_t i = 0; i < group->count; i++) {
        pieces[i] = (struct plan_piece){group->files[i], 0, p->files[group->files[i]].length};
    }
    add_split(p, pieces, (uint32_t)group->count);
    free(pieces);
    free(group->files);
    *group = (struct group){0};
}

static void group_add(struct planner *p, struct group *group, uint32_t file)
{
    if (group->count > 0 && (group->bytes + p->files[file].length > p->split_bytes ||
                             group->count == SPLIT_FILES_MAX)) {
        group_finish(p, group);
    }
    if (group->count == group->capacity) {
        group->capacity = group->capacity ? 2 * group->capacity : 16;
        group->files = xreallocarray(group->files, group->capacity, sizeof(group->files[0]));
    }
    group->files[group->count++] = file;
    group->bytes += p->files[file].length;
}

/* The group in which this small file costs least: the fullest one among its hosts', so that groups
 * fill up. */
static struct group *group_for(struct map *groups, const struct plan_file *file)
{
    static const char *const nowhere[] = {""};
    bool placed = file->extent_count > 0 && file->extents[0].host_count > 0;
    const char *const *hosts = placed ? file->extents[0].hosts : nowhere;
    uint32_t count = placed ? file->extents[0].host_count : 1;
    struct group *best = NULL;
    for (uint32_t h = 0; h < count; h++) {
        struct group *group = map_get_str(groups, hosts[h]);
        if (group && (!best || group->bytes > best->bytes)) {
            best = group;
        }
    }
    if (!best) {
        best = xcalloc(1, sizeof(*best));
        map_put_str(groups, hosts[0], best);
    }
    return best;
}

static bool is_small(const struct planner *p, const struct plan_file *file)
{
    return file->length < p->split_bytes / 2 && (!file->whole || p->combine_whole);
}

static void combine_small_files(struct planner *p, size_t file_count)
{
    struct map groups;
    map_init(&groups, 0);
    for (size_t f = 0; f < file_count; f++) {
        if (has_records(p, &p->files[f]) && is_small(p, &p->files[f])) {
            group_add(p, group_for(&groups, &p->files[f]), (uint32_t)f);
        }
    }
    MAP_FOR_EACH(it, &groups)
    {
        struct group *group = it.value;
        if (group->count > 0) {
            group_finish(p, group);
        }
        free(group->files);
        free(group);
    }
    map_deinit(&groups);
}

static int largest_first(const void *a, const void *b)
{
    const struct plan_split *x = a;
    const struct plan_split *y = b;
    if (x->bytes != y->bytes) {
        return x->bytes < y->bytes ? 1 : -1;
    }
    const struct plan_piece *p = x->pieces;
    const struct plan_piece *q = y->pieces;
    if (p->file != q->file) {
        return p->file < q->file ? -1 : 1;
    }
    return (p->offset > q->offset) - (p->offset < q->offset);
}

void split_plan(const struct plan_file *files, size_t file_count,
                const struct plan_options *options, struct arena *arena, struct plan *ret)
{
    CHECK(options->split_bytes > 0);
    CHECK(options->splits_max > 0);
    struct planner p = {.files = files,
                        .split_bytes = options->split_bytes,
                        .near_bytes = options->near_bytes,
                        .whole_files = options->whole_files,
                        .combine_whole = file_count > options->splits_max,
                        .arena = arena};
    ret->bytes = 0;
    for (size_t f = 0; f < file_count; f++) {
        ret->bytes += files[f].length;
    }
    uint64_t least = ret->bytes / options->splits_max + 1;
    p.split_bytes = p.split_bytes > least ? p.split_bytes : least;
    for (size_t f = 0; f < file_count; f++) {
        if (has_records(&p, &files[f]) && !is_small(&p, &files[f])) {
            cut_file(&p, (uint32_t)f);
        }
    }
    combine_small_files(&p, file_count);
    if (p.count > 0) {
        qsort(p.splits, p.count, sizeof(p.splits[0]), largest_first);
    }
    ret->splits = arena_copy(arena, p.splits, p.count * sizeof(p.splits[0]));
    ret->split_count = (uint32_t)p.count;
    free(p.splits);
}
