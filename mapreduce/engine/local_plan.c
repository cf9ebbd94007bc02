/* Large files are cut at multiples of the split size, wherever a record may be; small ones share a
 * map task. See local_plan.h. */
#include "mapreduce/engine/local_plan.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/limits.h"
#include "common/macros.h"
#include "mapreduce/engine/inflated.h"

enum {
    SPLIT_BYTES_MIN = 4 * 1024 * 1024,
    TASKS_PER_CHILD = 3, /* so that the last one to finish is not far behind */
};

void local_plan_deinit(struct local_plan *plan)
{
    for (size_t i = 0; i < plan->file_count; i++) {
        free(plan->files[i].path);
    }
    free(plan->files);
    free(plan->pieces);
    free(plan->firsts);
    *plan = (struct local_plan){0};
}

/* Takes path. */
static void add_file(struct local_plan *plan, char *path, uint64_t length)
{
    plan->files = xreallocarray(plan->files, plan->file_count + 1, sizeof(*plan->files));
    struct local_file *file = &plan->files[plan->file_count++];
    file->path = path;
    file->length = length;
    plan->bytes += length;
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && entry->d_name[0] != '_';
}

/* The regular files of a directory, in the order of their names. */
static int add_directory(struct local_plan *plan, const char *directory, struct err *e)
{
    struct dirent **entries = NULL;
    int count = scandir(directory, &entries, not_hidden, alphasort);
    if (count < 0) {
        return err_errno(e, "input %s", directory);
    }
    int r = 0;
    for (int i = 0; i < count; i++) {
        struct stat st;
        char *path = xprintf("%s/%s", directory, entries[i]->d_name);
        free(entries[i]);
        if (r == 0 && stat(path, &st) < 0) {
            r = err_errno(e, "input %s", path);
        }
        if (r == 0 && S_ISREG(st.st_mode)) {
            add_file(plan, path, (uint64_t)st.st_size);
        } else {
            free(path);
        }
    }
    free(entries);
    return r;
}

static int add_input(struct local_plan *plan, const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        return err_errno(e, "input %s", path);
    }
    if (S_ISDIR(st.st_mode)) {
        return add_directory(plan, path, e);
    }
    if (!S_ISREG(st.st_mode)) {
        return err_set(e, ERR_INVALID, "input %s: not a regular file", path);
    }
    add_file(plan, xstrdup(path), (uint64_t)st.st_size);
    return 0;
}

static uint64_t split_bytes_of(const struct local_plan *plan, const struct local_options *o,
                               uint32_t parallel)
{
    if (o->split_bytes > 0) {
        return o->split_bytes;
    }
    uint64_t share = plan->bytes / ((uint64_t)parallel * TASKS_PER_CHILD) + 1;
    return MIN(MAX(share, (uint64_t)SPLIT_BYTES_MIN), (uint64_t)CHUNK_BYTES_DEFAULT);
}

static void add_piece(struct local_plan *plan, struct local_piece piece)
{
    plan->pieces = xreallocarray(plan->pieces, plan->piece_count + 1, sizeof(*plan->pieces));
    plan->pieces[plan->piece_count++] = piece;
}

/* Makes the next map task begin with the next piece. */
static void begin_map(struct local_plan *plan)
{
    plan->maps += plan->piece_count > plan->firsts[plan->maps];
    plan->firsts = xreallocarray(plan->firsts, (size_t)plan->maps + 2, sizeof(*plan->firsts));
    plan->firsts[plan->maps] = plan->piece_count;
}

/* A file that may be cut; `whole`: it is a record, also without bytes. *held: bytes of the map task
 * that is being filled. */
static void add_plain(struct local_plan *plan, const struct local_file *file, bool whole,
                      uint64_t split, uint64_t *held)
{
    uint64_t at = 0;
    while (at < file->length || (whole && at == 0)) {
        uint64_t length = whole ? file->length : MIN(file->length - at, split - *held);
        add_piece(plan, (struct local_piece){file->path, at, length});
        at += MAX(length, (uint64_t)1);
        *held += length;
        if (*held >= split) {
            begin_map(plan);
            *held = 0;
        }
    }
}

/* A compressed file has a map task of its own. */
static void add_compressed(struct local_plan *plan, const struct local_file *file, uint64_t *held)
{
    begin_map(plan);
    if (file->length > 0) {
        add_piece(plan, (struct local_piece){file->path, 0, file->length});
        begin_map(plan);
    }
    *held = 0;
}

static int make_maps(struct local_plan *plan, const struct job *job, uint64_t split, struct err *e)
{
    uint64_t held = 0;
    plan->firsts = xcalloc(2, sizeof(*plan->firsts));
    for (size_t i = 0; i < plan->file_count; i++) {
        const struct local_file *file = &plan->files[i];
        enum inflate_kind kind = INFLATE_NONE;
        int r = job->decompress ? inflated_kind(file->path, job->input, &kind, e) : 0;
        if (r < 0) {
            return r;
        }
        if (kind != INFLATE_NONE) {
            add_compressed(plan, file, &held);
        } else {
            add_plain(plan, file, job->input == MR_INPUT_FILES, split, &held);
        }
    }
    begin_map(plan);
    return 0;
}

int local_plan_init(struct local_plan *plan, const struct local_options *options, uint32_t parallel,
                    struct err *e)
{
    *plan = (struct local_plan){0};
    for (size_t i = 0; i < options->input_count; i++) {
        int r = add_input(plan, options->inputs[i], e);
        if (r < 0) {
            local_plan_deinit(plan);
            return r;
        }
    }
    int r = make_maps(plan, options->job, split_bytes_of(plan, options, parallel), e);
    if (r < 0) {
        local_plan_deinit(plan);
    }
    return r;
}
