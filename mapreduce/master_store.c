/* mrmaster's blocking work in the store; see master_store.h for what lies where.
 *
 * Crash argument. The record is written first, so an acknowledged submission is found again. The
 * hidden directory is made second; a crash between the two leaves a record without one, which the
 * next start makes. The plan is noted before the first task begins: what lies in the hidden
 * directory of a job without one is an earlier job's, and goes. How a job ends is noted before the
 * rename or the removal that ends it: job_notes.h. Each step here can be done twice. */
#include "mapreduce/master_store.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <trireme/dfs.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/check.h"
#include "common/hash.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/parse.h"
#include "common/path.h"
#include "mapreduce/engine/inflated.h"
#include "mapreduce/engine/job.h"
#include "mapreduce/job_notes.h"
#include "mapreduce/store_err.h"
#include "mapreduce/task_commit.h"

#define ROSTER_DIRECTORY MR_SYSTEM_DIRECTORY "/workers"

enum {
    SPLIT_BYTES_MIN = 4 * 1024 * 1024, /* smaller splits cost more than they spread */
    TASKS_PER_SLOT = 3,   /* maps per slot, so that fast workers do more (OSDI'04 3.5) */
    INPUT_DEPTH_MAX = 64, /* directories below an input */
};

/* ---- Small parts ---- */

const char *hidden_directory(const char *output, struct arena *arena)
{
    const char *name = path_name(output);
    return arena_printf(arena, "%.*s._mr_%s", (int)(name - output), output, name);
}

const char *part_name(uint32_t task, struct arena *arena)
{
    return arena_printf(arena, "part-%05u", task);
}

/* NULL: not set. */
static const char *spec_setting(const struct job_spec *spec, const char *name)
{
    for (size_t i = 0; i < spec->setting_count; i++) {
        if (strcmp(spec->settings[i].name, name) == 0) {
            return spec->settings[i].value;
        }
    }
    return NULL;
}

/* ---- Start ---- */

int store_open(struct dfs *dfs, uint64_t *ret_fence, struct err *e)
{
    struct dfs_err de = {0};
    if (dfs_raise_fence(dfs, MR_FENCE_NAME, ret_fence, &de) < 0) {
        return err_from_dfs(e, &de, "raise the fence %s", MR_FENCE_NAME);
    }
    struct store_conditions c;
    const struct dfs_conditions *conditions = store_fenced(&c, *ret_fence);
    if (dfs_mkdir(dfs, MR_JOBS_DIRECTORY, 0755, DFS_PARENTS, conditions, &de) < 0) {
        return err_from_dfs(e, &de, "make %s (mrmaster must run as the store's superuser)",
                            MR_JOBS_DIRECTORY);
    }
    if (dfs_mkdir(dfs, MR_UPLOADS_DIRECTORY, 01777, DFS_PARENTS, conditions, &de) < 0) {
        return err_from_dfs(e, &de, "make %s", MR_UPLOADS_DIRECTORY);
    }
    if (dfs_mkdir(dfs, ROSTER_DIRECTORY, 0755, DFS_PARENTS, conditions, &de) < 0) {
        return err_from_dfs(e, &de, "make %s", ROSTER_DIRECTORY);
    }
    return 0;
}

/* A change that changes nothing, for the sake of its condition. */
int store_check_fence(struct store_at at, struct err *e)
{
    struct dfs_err de = {0};
    struct store_conditions c;
    int r =
        dfs_mkdir(at.dfs, MR_JOBS_DIRECTORY, 0755, DFS_PARENTS, store_fenced(&c, at.fence), &de);
    if (r == DFS_EPRECONDITION && !de.unknown) {
        return err_set(e, ERR_FENCED, "%s", de.msg);
    }
    return r < 0 ? err_from_dfs(e, &de, "make %s", MR_JOBS_DIRECTORY) : 0;
}

/* ---- The roster ---- */

int store_read_roster(struct dfs *dfs, char ***ret, size_t *ret_count, struct err *e)
{
    enum { ROSTER_COUNT_MAX = 100000 };
    struct dfs_dir *dir = NULL;
    struct dfs_err de = {0};
    struct dfs_stat stat;
    const char *name = NULL;
    char **names = NULL;
    size_t count = 0;
    int r = dfs_dir_open(dfs, ROSTER_DIRECTORY, &dir, &de);
    while (r >= 0 && count < ROSTER_COUNT_MAX && (r = dfs_dir_next(dir, &name, &stat, &de)) == 1) {
        names = xreallocarray(names, count + 1, sizeof(names[0]));
        names[count++] = xstrdup(name);
    }
    dfs_dir_close(dir);
    if (r < 0) {
        for (size_t i = 0; i < count; i++) {
            free(names[i]);
        }
        free(names);
        return err_from_dfs(e, &de, "list %s", ROSTER_DIRECTORY);
    }
    *ret = names;
    *ret_count = count;
    return 0;
}

int store_roster_add(struct store_at at, const char *name, struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct dfs_err de = {0};
    struct store_conditions c;
    const char *path = arena_printf(&arena, ROSTER_DIRECTORY "/%s", name);
    int r = dfs_mkdir(at.dfs, path, 0755, DFS_PARENTS, store_fenced(&c, at.fence), &de);
    r = r < 0 ? err_from_dfs(e, &de, "make %s", path) : 0;
    arena_deinit(&arena);
    return r;
}

int store_roster_remove(struct store_at at, const char *name, struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct dfs_err de = {0};
    struct store_conditions c;
    const char *path = arena_printf(&arena, ROSTER_DIRECTORY "/%s", name);
    int r = dfs_delete(at.dfs, path, DFS_RECURSIVE, store_fenced(&c, at.fence), &de);
    r = r < 0 && r != DFS_ENOT_FOUND ? err_from_dfs(e, &de, "remove %s", path) : 0;
    arena_deinit(&arena);
    return r;
}

/* ---- Submission ---- */

static bool has_glob(const char *text)
{
    return strpbrk(text, "*?[") != NULL;
}

static int output_exists(const struct job_spec *spec, struct err *e)
{
    return err_set(
        e, ERR_EXISTS,
        "output directory %s already exists; remove it with dfs rm -r, or choose another "
        "--output",
        spec->output);
}

int store_check_submission(struct dfs *user, const struct job_spec *spec, struct err *e)
{
    struct dfs_err de = {0};
    struct dfs_stat stat;
    int r = dfs_stat(user, spec->output, &stat, &de);
    if (r == 0) {
        return output_exists(spec, e);
    }
    if (r != DFS_ENOT_FOUND) {
        return err_from_dfs(e, &de, "output %s", spec->output);
    }
    for (size_t i = 0; i < spec->input_count; i++) {
        const char *input = spec->inputs[i];
        if (has_glob(input)) {
            continue; /* planning says which pattern matches nothing */
        }
        if (path_is_under(spec->output, input)) {
            return err_set(e, ERR_INVALID, "output %s lies inside the input %s", spec->output,
                           input);
        }
        r = dfs_stat(user, input, &stat, &de);
        if (r == DFS_ENOT_FOUND) {
            return err_set(e, ERR_NOT_FOUND,
                           "input %s does not exist in the store; see dfs ls. Local files come "
                           "there with dfs put, or stay with mr run --local",
                           input);
        }
        if (r < 0) {
            return err_from_dfs(e, &de, "input %s", input);
        }
    }
    return 0;
}

int store_check_uploads(struct dfs *user, const char *submission, const struct job_spec *spec,
                        struct err *e)
{
    if (!job_spec_has_uploads(spec)) {
        return 0;
    }
    struct arena arena = ARENA_INIT;
    struct dfs_err de = {0};
    const char *directory = arena_printf(&arena, MR_UPLOADS_DIRECTORY "/%s", submission);
    int r = dfs_access(user, directory, DFS_WRITE, &de);
    r = r < 0 ? err_from_dfs(e, &de, "files of the submission") : 0;
    arena_deinit(&arena);
    return r;
}

/* Of two jobs only one can have it. fresh: it must not be there either. */
static int make_hidden(struct store_at user, const char *hidden, const char *output, bool fresh,
                       struct dfs_err *de)
{
    struct store_conditions c;
    (void)store_fenced(&c, user.fence);
    (void)store_and(&c, (struct dfs_condition){.kind = DFS_PATH_ABSENT, .name = output});
    if (fresh) {
        (void)store_and(&c, (struct dfs_condition){.kind = DFS_PATH_ABSENT, .name = hidden});
    }
    return dfs_mkdir(user.dfs, hidden, 0755, DFS_PARENTS, &c.list, de);
}

int store_reserve(struct store_at user, const struct job_spec *spec, bool fresh,
                  uint64_t *ret_inode, struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct store_conditions c;
    struct dfs_err de = {0};
    struct dfs_stat stat = {0};
    const char *hidden = hidden_directory(spec->output, &arena);
    int r = make_hidden(user, hidden, spec->output, fresh, &de);
    if (r == DFS_EPRECONDITION && fresh) { /* it is there: what another job left */
        r = dfs_delete(user.dfs, hidden, DFS_RECURSIVE, store_fenced(&c, user.fence), &de);
        r = r < 0 && r != DFS_ENOT_FOUND ? r : make_hidden(user, hidden, spec->output, true, &de);
    }
    if (r == DFS_EPRECONDITION && dfs_stat(user.dfs, spec->output, &stat, NULL) == 0) {
        r = output_exists(spec, e);
    } else if (r < 0) {
        r = err_from_dfs(e, &de, "make %s", hidden);
    } else if (dfs_stat(user.dfs, hidden, &stat, &de) < 0) {
        r = err_from_dfs(e, &de, "stat %s", hidden);
    }
    if (r == 0) {
        *ret_inode = stat.inode;
    }
    arena_deinit(&arena);
    return r;
}

uint64_t plan_digest(const struct job_plan *plan)
{
    uint64_t digest = hash_u64(plan->map_count);
    for (uint32_t m = 0; m < plan->map_count; m++) {
        const struct job_map *map = &plan->maps[m];
        digest = hash_u64(digest ^ map->split_count);
        for (size_t i = 0; i < map->split_count; i++) {
            const struct input_split *split = &map->splits[i];
            uint64_t numbers[] = {split->offset, split->length, split->file_length, split->inode};
            digest = hash_bytes(split->path, strlen(split->path), digest);
            digest = hash_bytes(numbers, sizeof(numbers), digest);
        }
    }
    return digest;
}

/* ---- Planning ---- */

/* Files found so far. */
struct inputs {
    struct dfs *dfs;
    struct arena *arena;
    struct plan_file *files;
    size_t count;
    size_t capacity;
};

static void add_file(struct inputs *in, const char *path, const struct dfs_stat *stat)
{
    if (in->count == in->capacity) {
        in->capacity = in->capacity ? 2 * in->capacity : 64;
        in->files = xreallocarray(in->files, in->capacity, sizeof(in->files[0]));
    }
    in->files[in->count++] = (struct plan_file){
        .path = arena_strdup(in->arena, path), .inode = stat->inode, .length = stat->length};
}

/* Names that begin so are not data: _SUCCESS, hidden directories. */
static bool is_hidden_name(const char *name)
{
    return name[0] == '_' || name[0] == '.';
}

/* Directories still to list, as a stack instead of recursion. */
struct to_list {
    const char *path;
    int depth;
};
struct stack {
    struct to_list *items;
    size_t count;
    size_t capacity;
};

static void stack_push(struct stack *s, const char *path, int depth)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 16;
        s->items = xreallocarray(s->items, s->capacity, sizeof(s->items[0]));
    }
    s->items[s->count++] = (struct to_list){path, depth};
}

/* Adds a directory's files, puts its directories on the stack. With a pattern: only names that
 * match. */
static int list_one(struct inputs *in, struct stack *stack, struct to_list at, const char *pattern,
                    size_t *matched, struct err *e)
{
    struct dfs_dir *dir = NULL;
    struct dfs_err de = {0};
    struct dfs_stat stat;
    const char *name = NULL;
    int r = dfs_dir_open(in->dfs, at.path, &dir, &de);
    while (r >= 0 && (r = dfs_dir_next(dir, &name, &stat, &de)) == 1) {
        bool wanted = pattern ? fnmatch(pattern, name, FNM_PERIOD) == 0 : !is_hidden_name(name);
        if (!wanted) {
            continue;
        }
        (*matched)++;
        const char *slash = strcmp(at.path, "/") == 0 ? "" : "/";
        const char *path = arena_printf(in->arena, "%s%s%s", at.path, slash, name);
        if (!stat.directory) {
            add_file(in, path, &stat);
        } else if (at.depth < INPUT_DEPTH_MAX) {
            stack_push(stack, path, at.depth + 1);
        } else {
            dfs_dir_close(dir);
            return err_set(e, ERR_TOO_LARGE, "input %s: more than %d levels of directories", path,
                           INPUT_DEPTH_MAX);
        }
    }
    dfs_dir_close(dir);
    return r < 0 ? err_from_dfs(e, &de, "list %s", at.path) : 0;
}

/* One input as given: a file, a directory with all below it, or a pattern in the last component. */
static int expand_input(struct inputs *in, const char *input, struct err *e)
{
    struct stack stack = {0};
    struct dfs_err de = {0};
    struct dfs_stat stat;
    size_t matched = 0;
    int r = 0;
    if (has_glob(path_name(input))) {
        const char *pattern = path_name(input);
        size_t parent_length = (size_t)(pattern - input) - 1;
        const char *parent = arena_strndup(in->arena, parent_length ? input : "/",
                                           parent_length ? parent_length : 1);
        r = list_one(in, &stack, (struct to_list){parent, 0}, pattern, &matched, e);
        if (r == 0 && matched == 0) {
            r = err_set(e, ERR_NOT_FOUND, "input %s: no file of the store matches; see dfs ls",
                        input);
        }
    } else if (dfs_stat(in->dfs, input, &stat, &de) < 0) {
        r = err_from_dfs(e, &de, "input %s", input);
    } else if (stat.directory) {
        stack_push(&stack, input, 0);
    } else {
        add_file(in, input, &stat);
    }
    while (r == 0 && stack.count > 0) {
        struct to_list at = stack.items[--stack.count];
        r = list_one(in, &stack, at, NULL, &matched, e);
    }
    free(stack.items);
    return r;
}

/* Asks where a file's chunks are and keeps the labels in the arena. */
static int locate_file(struct inputs *in, struct plan_file *file, struct err *e)
{
    struct dfs_extents extents = {0};
    struct dfs_err de = {0};
    if (dfs_locate(in->dfs, file->path, 0, 0, &extents, &de) < 0) {
        return err_from_dfs(e, &de, "locate %s", file->path);
    }
    struct plan_extent *list = arena_calloc(in->arena, (extents.count + 1) * sizeof(*list));
    size_t used = 0;
    for (size_t i = 0; i < extents.count; i++) {
        const struct dfs_extent *from = &extents.items[i];
        if (from->length == 0 || from->offset >= file->length) {
            continue; /* an open chunk, or one that came after the stat */
        }
        const char **hosts =
            arena_calloc(in->arena, 2 * (from->replica_count + 1) * sizeof(*hosts));
        const char **racks = hosts + from->replica_count + 1;
        for (size_t h = 0; h < from->replica_count; h++) {
            hosts[h] = arena_strdup(in->arena, from->replicas[h].host);
            racks[h] = arena_strdup(in->arena, from->replicas[h].rack);
        }
        list[used++] = (struct plan_extent){
            .offset = from->offset,
            .length = from->length,
            .hosts = hosts,
            .racks = racks,
            .host_count = (uint32_t)from->replica_count,
        };
    }
    file->extents = list;
    file->extent_count = used;
    dfs_extents_free(&extents);
    return 0;
}

/* Whether the spec lets compressed input be read as text. */
static int spec_decompresses(const struct job_spec *spec, bool *ret, struct err *e)
{
    const char *text = spec_setting(spec, INFLATED_SETTING);
    *ret = true;
    int r = text ? parse_bool(text, ret, e) : 0;
    return r < 0 ? err_wrap(e, r, "setting " INFLATED_SETTING) : 0;
}

/* Finds the files that cannot be cut. */
static int mark_compressed(struct inputs *in, const struct job_spec *spec, struct err *e)
{
    bool decompress = true;
    int r = spec_decompresses(spec, &decompress, e);
    for (size_t i = 0; i < in->count && decompress && r == 0; i++) {
        enum inflate_kind kind = INFLATE_NONE;
        r = inflated_kind(in->files[i].path, (enum mr_input)spec->input_format, &kind, e);
        in->files[i].whole = kind != INFLATE_NONE;
    }
    return r;
}

/* Three tasks per slot, but no split larger than a chunk should be or smaller than is worth a task.
 */
static uint64_t choose_split_bytes(uint64_t bytes, uint32_t slots)
{
    uint64_t tasks = (uint64_t)TASKS_PER_SLOT * (slots ? slots : 1);
    uint64_t size = bytes / tasks + 1;
    if (size > CHUNK_BYTES_DEFAULT) {
        return CHUNK_BYTES_DEFAULT;
    }
    return size < SPLIT_BYTES_MIN ? SPLIT_BYTES_MIN : size;
}

static void plan_to_maps(const struct inputs *in, const struct plan *plan, struct job_plan *ret)
{
    ret->bytes = plan->bytes;
    ret->map_count = plan->split_count;
    ret->maps = arena_calloc(in->arena, (plan->split_count + 1) * sizeof(ret->maps[0]));
    for (uint32_t i = 0; i < plan->split_count; i++) {
        const struct plan_split *from = &plan->splits[i];
        struct job_map *map = &ret->maps[i];
        map->bytes = from->bytes;
        map->host_count = from->host_count;
        map->hosts = arena_copy(in->arena, from->hosts, sizeof(from->hosts));
        map->racks = arena_copy(in->arena, from->racks, sizeof(from->racks));
        map->split_count = from->piece_count;
        map->splits = arena_calloc(in->arena, from->piece_count * sizeof(map->splits[0]));
        for (uint32_t p = 0; p < from->piece_count; p++) {
            CHECK(from->pieces[p].file < in->count);
            const struct plan_file *file = &in->files[from->pieces[p].file];
            map->splits[p] = (struct input_split){.path = file->path,
                                                  .offset = from->pieces[p].offset,
                                                  .length = from->pieces[p].length,
                                                  .file_length = file->length,
                                                  .inode = file->inode};
        }
    }
}

int store_plan(struct dfs *user, const struct job_spec *spec, uint32_t slots, struct arena *arena,
               struct job_plan *ret, struct err *e)
{
    struct inputs in = {.dfs = user, .arena = arena};
    int r = 0;
    for (size_t i = 0; i < spec->input_count && r == 0; i++) {
        r = expand_input(&in, spec->inputs[i], e);
    }
    r = r < 0 ? r : mark_compressed(&in, spec, e);
    uint64_t bytes = 0;
    for (size_t i = 0; i < in.count && r == 0; i++) {
        bytes += in.files[i].length;
        r = in.files[i].length > 0 ? locate_file(&in, &in.files[i], e) : 0;
    }
    if (r == 0) {
        struct plan_options options = {
            .split_bytes = spec->split_bytes ? spec->split_bytes : choose_split_bytes(bytes, slots),
            .splits_max = JOB_MAP_COUNT_MAX,
            .near_bytes = SPLIT_BYTES_MIN,
            .whole_files = spec->input_format == MR_INPUT_FILES,
        };
        struct plan plan;
        split_plan(in.files, in.count, &options, arena, &plan);
        plan_to_maps(&in, &plan, ret);
    }
    free(in.files);
    return r;
}

/* With named outputs: what committed tasks have not moved to where it belongs. */
static int settle_tasks(struct store_at user, const struct job_spec *spec, bool all, struct err *e)
{
    struct arena arena = ARENA_INIT;
    int r = 0;
    if (spec_setting(spec, JOB_OUTPUTS_SETTING)) {
        struct task_place at = {.dfs = user.dfs,
                                .hidden = hidden_directory(spec->output, &arena),
                                .fence_name = MR_FENCE_NAME,
                                .fence_epoch = user.fence};
        r = task_commit_settle(&at, all, e);
    }
    arena_deinit(&arena);
    return r;
}

int store_find_committed(struct store_at user, const struct job_spec *spec, uint32_t **ret,
                         size_t *ret_count, struct err *e)
{
    int settled = settle_tasks(user, spec, false, e);
    if (settled < 0) {
        return settled;
    }
    struct arena arena = ARENA_INIT;
    struct dfs_dir *dir = NULL;
    struct dfs_err de = {0};
    struct dfs_stat stat;
    const char *name = NULL;
    uint32_t *parts = NULL;
    size_t count = 0;
    int r = dfs_dir_open(user.dfs, hidden_directory(spec->output, &arena), &dir, &de);
    while (r >= 0 && (r = dfs_dir_next(dir, &name, &stat, &de)) == 1) {
        char *end = NULL;
        unsigned long part = strncmp(name, "part-", 5) == 0 ? strtoul(name + 5, &end, 10) : 0;
        if (end && end != name + 5 && *end == '\0' && part < JOB_MAP_COUNT_MAX) {
            parts = xreallocarray(parts, count + 1, sizeof(parts[0]));
            parts[count++] = (uint32_t)part;
        }
    }
    dfs_dir_close(dir);
    arena_deinit(&arena);
    if (r < 0) {
        free(parts);
        return err_from_dfs(e, &de, "list the parts of %s", spec->output);
    }
    *ret = parts;
    *ret_count = count;
    return 0;
}

/* ---- The end of a job: done as its user, looked at as mrmaster's own, who may look anywhere ----
 */

static struct dfs_condition hidden_is(const char *hidden, uint64_t inode)
{
    return (struct dfs_condition){.kind = DFS_PATH_IS, .name = hidden, .number = inode};
}

int store_mark_success(struct store_at user, const struct job_spec *spec, uint64_t hidden_inode,
                       struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct store_conditions c;
    const char *hidden = hidden_directory(spec->output, &arena);
    const char *path = arena_printf(&arena, "%s/_SUCCESS", hidden);
    (void)store_fenced(&c, user.fence);
    int r = store_file_write(user.dfs, path, (struct span){"", 0}, DFS_REPLACE,
                             store_and(&c, hidden_is(hidden, hidden_inode)), e);
    arena_deinit(&arena);
    return r;
}

static int rename_hidden(struct store_at user, const char *output, uint64_t hidden_inode,
                         struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct dfs_err de = {0};
    struct store_conditions c;
    const char *hidden = hidden_directory(output, &arena);
    (void)store_fenced(&c, user.fence);
    int r = dfs_rename(user.dfs, hidden, output, 0, store_and(&c, hidden_is(hidden, hidden_inode)),
                       &de);
    r = r < 0 ? err_from_dfs(e, &de, "rename %s to %s", hidden, output) : 0;
    arena_deinit(&arena);
    return r;
}

int store_commit(struct store_at system, struct store_at user, const struct job_spec *spec,
                 const struct job_outcome *outcome, bool marked, struct err *e)
{
    int r = settle_tasks(user, spec, true, e);
    if (r == 0 && !marked) {
        r = store_mark_success(user, spec, outcome->hidden, e);
    }
    r = r < 0 ? r : job_notes_write_outcome(system, outcome, true, e);
    r = r < 0 ? r : rename_hidden(user, spec->output, outcome->hidden, e);
    if (r != ERR_PRECONDITION && r != ERR_NOT_FOUND) {
        return r;
    }
    bool stands = false; /* by a rename whose reply was lost */
    struct err look = ERR_INIT;
    int looked = store_is_at(system.dfs, spec->output, outcome->hidden, &stands, &look);
    if (looked < 0) {
        *e = look;
        return looked;
    }
    return stands ? 0 : r;
}

/* 1: it was not there any more. */
static int remove_hidden(struct store_at system, struct store_at user, const struct job_spec *spec,
                         uint64_t hidden_inode, struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct dfs_err de = {0};
    struct store_conditions c;
    const char *hidden = hidden_directory(spec->output, &arena);
    (void)store_fenced(&c, user.fence);
    int r = dfs_delete(user.dfs, hidden, DFS_RECURSIVE,
                       store_and(&c, hidden_is(hidden, hidden_inode)), &de);
    if (r < 0) {
        bool stands = true;
        r = store_is_at(system.dfs, hidden, hidden_inode, &stands, e);
        if (r == 0) {
            r = stands ? err_from_dfs(e, &de, "remove %s", hidden) : 1;
        }
    }
    arena_deinit(&arena);
    return r;
}

/* The hidden directory cannot be removed, for good (`code`): the end that is noted holds all the
 * same, and must not wait for it. */
static int settle_standing(struct store_at system, const char *job, int code, struct err *e)
{
    struct err settling = ERR_INIT;
    int r = job_notes_settle(system, job, &settling);
    if (r == 0 || !store_is_away(r)) {
        return code;
    }
    *e = settling;
    return r;
}

int store_discard(struct store_at system, struct store_at user, const struct job_spec *spec,
                  struct job_outcome *outcome, struct err *e)
{
    uint64_t hidden = outcome->hidden;
    bool committed = false;
    int r = hidden ? store_is_at(system.dfs, spec->output, hidden, &committed, e) : 0;
    if (r == 0 && !committed) {
        r = job_notes_write_outcome(system, outcome, false, e);
        if (r < 0 || hidden == 0) {
            return r;
        }
        r = remove_hidden(system, user, spec, hidden, e);
        if (r < 0 && !store_is_away(r)) {
            return settle_standing(system, outcome->status.job, r, e);
        }
        r = r == 1 ? store_is_at(system.dfs, spec->output, hidden, &committed, e) : r;
    }
    if (r == 0 && committed) {
        job_outcome_succeed(outcome);
        r = job_notes_write_outcome(system, outcome, false, e);
    }
    return r;
}
