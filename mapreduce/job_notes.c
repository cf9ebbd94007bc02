/* See job_notes.h. */
#include "mapreduce/job_notes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <trireme/dfs_xattr.h>

#include "common/alloc.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/parse.h"
#include "mapreduce/master_store.h"
#include "mapreduce/mr_pack.h"
#include "mapreduce/store_err.h"

#define NOTE_PLAN    "user.mr.plan"
#define NOTE_OUTCOME "user.mr.outcome"
#define NOTE_SETTLED "user.mr.settled"

static const char *directory_of(const char *job, struct arena *arena)
{
    return arena_printf(arena, MR_JOBS_DIRECTORY "/%s", job);
}

/* ---- Records ---- */

int job_notes_write_record(struct store_at at, const char *job, struct span record, struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct store_conditions c;
    const char *path = arena_printf(&arena, MR_JOBS_DIRECTORY "/%s/spec", job);
    int r = store_file_write(at.dfs, path, record, DFS_PARENTS, store_fenced(&c, at.fence), e);
    arena_deinit(&arena);
    return r;
}

int job_notes_read_record(struct dfs *dfs, const char *job, struct arena *arena,
                          struct job_record *ret, struct err *e)
{
    struct buf bytes = BUF_INIT;
    int r = store_file_read(dfs, arena_printf(arena, MR_JOBS_DIRECTORY "/%s/spec", job), &bytes, e);
    r = r < 0 ? r : job_record_unpack((struct span){bytes.data, bytes.length}, arena, ret, e);
    buf_deinit(&bytes);
    return r;
}

/* ---- Notes ---- */

static int write_note(struct store_at at, const char *job, const char *name, struct span value,
                      const struct dfs_conditions *conditions, struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct dfs_err de = {0};
    struct dfs_xattr xattr = {name, value.data, value.length};
    int r =
        dfs_set_xattr(at.dfs, directory_of(job, &arena), &xattr, DFS_XATTR_SET, conditions, &de);
    r = r < 0 ? err_from_dfs(e, &de, "note %s of %s", name, job) : 0;
    arena_deinit(&arena);
    return r;
}

/* name NULL: all. ERR_NOT_FOUND: it, or the job, is not there. Release with dfs_xattrs_free(). */
static int read_notes(struct dfs *dfs, const char *job, const char *name, struct dfs_xattrs *ret,
                      struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct dfs_err de = {0};
    int r = dfs_get_xattrs(dfs, directory_of(job, &arena), name, ret, &de);
    if (r == DFS_ENO_XATTR) {
        r = err_set(e, ERR_NOT_FOUND, "%s has no note %s", job, name);
    } else if (r < 0) {
        r = err_from_dfs(e, &de, "notes of %s", job);
    }
    arena_deinit(&arena);
    return r;
}

static const struct dfs_xattr *note_of(const struct dfs_xattrs *notes, const char *name)
{
    for (size_t i = 0; i < notes->count; i++) {
        if (strcmp(notes->items[i].name, name) == 0) {
            return &notes->items[i];
        }
    }
    return NULL;
}

/* ---- The plan ---- */

static int parse_plan(const char *job, const char *text, struct plan_note *ret, struct err *e)
{
    uint64_t numbers[4] = {0};
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        char number[FORMAT_TEXT_BYTES] = "";
        size_t length = strcspn(text, " ");
        memcpy(number, text, MIN(length, sizeof(number) - 1));
        if (parse_u64(number, &numbers[i], e) < 0) {
            return err_set(e, ERR_CORRUPT, "note of the plan of %s", job);
        }
        text += length + (text[length] != '\0');
    }
    *ret = (struct plan_note){.slots = (uint32_t)numbers[0],
                              .reduces = (uint32_t)numbers[1],
                              .digest = numbers[2],
                              .hidden = numbers[3]};
    return 0;
}

int job_notes_read_plan(struct dfs *dfs, const char *job, struct plan_note *ret, struct err *e)
{
    struct dfs_xattrs notes = {NULL, 0};
    int r = read_notes(dfs, job, NOTE_PLAN, &notes, e);
    r = r < 0 ? r : parse_plan(job, notes.items[0].value, ret, e);
    dfs_xattrs_free(&notes);
    return r;
}

int job_notes_write_plan(struct store_at at, const char *job, const struct plan_note *note,
                         struct err *e)
{
    struct store_conditions c;
    struct buf text = BUF_INIT;
    buf_printf(&text, "%" PRIu32 " %" PRIu32 " %" PRIu64 " %" PRIu64, note->slots, note->reduces,
               note->digest, note->hidden);
    int r = write_note(at, job, NOTE_PLAN, (struct span){text.data, text.length},
                       store_fenced(&c, at.fence), e);
    buf_deinit(&text);
    return r;
}

/* ---- The end ---- */

static const char *outcome_path(const char *job, struct arena *arena)
{
    return arena_printf(arena, MR_JOBS_DIRECTORY "/%s/outcome", job);
}

/* One that does not fit into a note (some hundred counters) is a file, which the note, then empty,
 * points to: with the note it counts, whatever was there before. */
int job_notes_write_outcome(struct store_at at, const struct job_outcome *outcome, bool in_place,
                            struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct store_conditions c;
    struct buf bytes = BUF_INIT;
    const char *job = outcome->status.job;
    int r = 0;
    job_outcome_pack(outcome, &bytes);
    struct span value = {bytes.data, bytes.length};
    (void)store_fenced(&c, at.fence);
    if (in_place) {
        (void)store_and(
            &c, (struct dfs_condition){.kind = DFS_PATH_IS,
                                       .name = hidden_directory(outcome->status.output, &arena),
                                       .number = outcome->hidden});
    }
    if (value.length > XATTR_VALUE_BYTES_MAX) {
        r = store_file_write(at.dfs, outcome_path(job, &arena), value, DFS_REPLACE, &c.list, e);
        value.length = 0;
    }
    r = r < 0 ? r : write_note(at, job, NOTE_OUTCOME, value, &c.list, e);
    buf_deinit(&bytes);
    arena_deinit(&arena);
    return r;
}

int job_notes_drop_outcome(struct store_at at, const char *job, struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct store_conditions c;
    struct dfs_err de = {0};
    int r = dfs_remove_xattr(at.dfs, directory_of(job, &arena), NOTE_OUTCOME,
                             store_fenced(&c, at.fence), &de);
    r = r < 0 && r != DFS_ENO_XATTR ? err_from_dfs(e, &de, "note " NOTE_OUTCOME " of %s", job) : 0;
    arena_deinit(&arena);
    return r;
}

int job_notes_settle(struct store_at at, const char *job, struct err *e)
{
    struct store_conditions c;
    return write_note(at, job, NOTE_SETTLED, (struct span){"", 0}, store_fenced(&c, at.fence), e);
}

/* What ends the job has happened if its hidden directory is not in its place. Where it stands as
 * the output the job has succeeded: a rename came after a look that did not find it. */
static int has_happened(struct dfs *dfs, struct job_outcome *outcome, bool *ret, struct err *e)
{
    struct arena arena = ARENA_INIT;
    const char *output = outcome->status.output;
    bool hidden = false;
    bool stands = false;
    int r = store_is_at(dfs, hidden_directory(output, &arena), outcome->hidden, &hidden, e);
    if (r == 0 && !hidden) {
        r = store_is_at(dfs, output, outcome->hidden, &stands, e);
    }
    if (r == 0 && stands) {
        job_outcome_succeed(outcome);
    }
    *ret = !hidden;
    arena_deinit(&arena);
    return r;
}

static int unpack_outcome(struct dfs *dfs, const char *job, const struct dfs_xattr *note,
                          struct arena *arena, struct job_outcome *ret, struct err *e)
{
    struct buf bytes = BUF_INIT;
    struct span value = {note->value, note->length};
    int r = 0;
    if (value.length == 0) {
        r = store_file_read(dfs, outcome_path(job, arena), &bytes, e);
        value = (struct span){bytes.data, bytes.length};
    }
    r = r < 0 ? r : job_outcome_unpack(value, arena, ret, e);
    buf_deinit(&bytes);
    return r;
}

static int read_end(struct dfs *dfs, const char *job, struct arena *arena, struct job_found *ret,
                    struct err *e)
{
    struct dfs_xattrs notes = {NULL, 0};
    struct job_outcome *outcome = arena_calloc(arena, sizeof(*outcome));
    int r = read_notes(dfs, job, NULL, &notes, e);
    const struct dfs_xattr *note = r == 0 ? note_of(&notes, NOTE_OUTCOME) : NULL;
    bool ended = note != NULL && note_of(&notes, NOTE_SETTLED) != NULL;
    ret->settled = ended;
    if (note) {
        r = unpack_outcome(dfs, job, note, arena, outcome, e);
    }
    if (r == 0 && note && !ended) {
        r = has_happened(dfs, outcome, &ended, e);
    }
    if (r == 0 && ended) {
        ret->outcome = outcome;
    }
    dfs_xattrs_free(&notes);
    return r;
}

/* ---- All of them ---- */

/* Small files are of no use here, and there may be thousands of jobs. */
static int read_bare_record(struct dfs *dfs, const char *job, struct arena *arena,
                            struct job_record *ret, struct err *e)
{
    struct arena whole = ARENA_INIT;
    struct job_record record;
    int r = job_notes_read_record(dfs, job, &whole, &record, e);
    if (r == 0) {
        job_spec_drop_data(&record.spec);
        r = job_record_copy(&record, arena, ret, e);
    }
    arena_deinit(&whole);
    return r;
}

/* Of "job_<fence>_<number>"; 0: it is none. */
static uint64_t number_of(const char *job)
{
    const char *last = strrchr(job, '_');
    return last ? strtoull(last + 1, NULL, 10) : 0;
}

/* 0 with record.number == 0: not a job's directory, or one whose record was never linked. */
static int read_job(struct dfs *dfs, const char *name, struct arena *arena, struct job_found *ret,
                    struct err *e)
{
    int r = read_bare_record(dfs, name, arena, &ret->record, e);
    if (r == ERR_NOT_FOUND) {
        return 0;
    }
    r = r < 0 ? r : read_end(dfs, name, arena, ret, e);
    if (r < 0 && (store_is_away(r) || r == ERR_VERSION)) { /* of a newer mrmaster, which knows it */
        return err_wrap(e, r, "job %s", name);
    }
    if (r < 0) {
        struct job_record known = {.job = arena_strdup(arena, name), .number = number_of(name)};
        *ret =
            (struct job_found){.record = known, .unreadable = arena_strdup(arena, err_message(e))};
        *e = (struct err)ERR_INIT;
    }
    return 0;
}

static int by_number(const void *a, const void *b)
{
    const struct job_found *x = a;
    const struct job_found *y = b;
    return (x->record.number > y->record.number) - (x->record.number < y->record.number);
}

int job_notes_list(struct dfs *dfs, struct arena *arena, struct job_found **ret, size_t *ret_count,
                   struct err *e)
{
    struct dfs_dir *dir = NULL;
    struct dfs_err de = {0};
    struct dfs_stat stat;
    const char *name = NULL;
    struct job_found *found = NULL;
    size_t count = 0;
    int r = dfs_dir_open(dfs, MR_JOBS_DIRECTORY, &dir, &de);
    while (r >= 0 && (r = dfs_dir_next(dir, &name, &stat, &de)) == 1) {
        struct job_found job = {0};
        int code = read_job(dfs, name, arena, &job, e);
        if (code < 0) {
            free(found);
            dfs_dir_close(dir);
            return code;
        }
        if (job.record.number != 0) {
            found = xreallocarray(found, count + 1, sizeof(found[0]));
            found[count++] = job;
        }
    }
    dfs_dir_close(dir);
    if (r < 0) {
        free(found);
        return err_from_dfs(e, &de, "list %s", MR_JOBS_DIRECTORY);
    }
    if (count > 0) {
        qsort(found, count, sizeof(found[0]), by_number);
    }
    *ret = arena_copy(arena, found, count * sizeof(found[0]));
    *ret_count = count;
    free(found);
    return 0;
}

/* The directory's name, "job_<fence>_<number>", in the arena; NULL: there is none. */
static int find_job_name(struct dfs *dfs, uint64_t number, struct arena *arena, const char **ret,
                         struct err *e)
{
    struct dfs_dir *dir = NULL;
    struct dfs_err de = {0};
    struct dfs_stat stat;
    const char *name = NULL;
    *ret = NULL;
    int r = dfs_dir_open(dfs, MR_JOBS_DIRECTORY, &dir, &de);
    while (r >= 0 && !*ret && (r = dfs_dir_next(dir, &name, &stat, &de)) == 1) {
        if (number_of(name) == number) {
            *ret = arena_strdup(arena, name);
        }
    }
    dfs_dir_close(dir);
    return r < 0 ? err_from_dfs(e, &de, "list %s", MR_JOBS_DIRECTORY) : 0;
}

int job_notes_find(struct dfs *dfs, uint64_t number, struct arena *arena, struct job_record *ret,
                   struct err *e)
{
    const char *name = NULL;
    int r = find_job_name(dfs, number, arena, &name, e);
    if (r == 0) {
        r = name ? job_notes_read_record(dfs, name, arena, ret, e) : ERR_NOT_FOUND;
    }
    return r == ERR_NOT_FOUND
               ? err_set(e, r, "no job of number %" PRIu64 " is remembered; see mr history", number)
               : r;
}

static int remove_directory(struct store_at at, const char *path, struct err *e)
{
    struct dfs_err de = {0};
    struct store_conditions c;
    int r = dfs_delete(at.dfs, path, DFS_RECURSIVE, store_fenced(&c, at.fence), &de);
    return r < 0 && r != DFS_ENOT_FOUND ? err_from_dfs(e, &de, "remove %s", path) : 0;
}

int job_notes_remove_record(struct store_at at, const char *job, struct err *e)
{
    struct arena arena = ARENA_INIT;
    int r = remove_directory(at, directory_of(job, &arena), e);
    arena_deinit(&arena);
    return r;
}

int job_notes_remove(struct store_at at, const struct job_record *record, struct err *e)
{
    struct arena arena = ARENA_INIT;
    int r = 0;
    if (job_spec_has_uploads(&record->spec)) {
        r = remove_directory(
            at, arena_printf(&arena, MR_UPLOADS_DIRECTORY "/%s", record->submission), e);
    }
    arena_deinit(&arena);
    return r < 0 ? r : job_notes_remove_record(at, record->job, e);
}
