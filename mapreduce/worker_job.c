/* Jobs on a worker: their library and side files are fetched once, checked against the submission's
 * CRC, and are complete before the first task sees them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/sys.h"
#include "mapreduce/job_files.h"
#include "mapreduce/mr_pack.h"
#include "mapreduce/worker_internal.h"

/* ---- Fetching, on a pool thread: touches only its own struct ---- */

struct load {
    struct job work;
    struct mr_worker_process *w;
    struct worker_job *job;
    struct dfs *dfs;
    const char *id;              /* the job's, which waits for us */
    const struct job_spec *spec; /* likewise */
    char *directory;
    int code;
    struct err err;
};

static void load_done(void *arg);

static void load_run(struct job *work)
{
    struct load *load = CONTAINER_OF(work, struct load, work);
    load->code = job_files_fetch(load->dfs, load->id, load->spec, load->directory, &load->err);
    rpc_loop_post(load->w->options.loop, load_done, load);
}

/* ---- Removing, likewise: a large job's outputs may take a slow disk minutes ---- */

struct removal {
    struct job work;
    char *path;
};

static void removal_run(struct job *work)
{
    struct removal *removal = CONTAINER_OF(work, struct removal, work);
    struct err e = ERR_INIT;
    if (sys_remove_tree(removal->path, &e) < 0) {
        log_warning("mrworker", "files stay until the next start error=\"%s\"", err_message(&e));
    }
    free(removal->path);
    free(removal);
}

/* ---- On the loop ---- */

void worker_remove_tree(struct mr_worker_process *w, const char *path)
{
    struct removal *removal = xcalloc(1, sizeof(*removal));
    removal->work.run = removal_run;
    removal->path = xprintf("%s/jobs/removed-%" PRIu64, w->options.data, w->next_removal++);
    if (rename(path, removal->path) == 0) {
        workpool_submit_reserved(w->pool, &w->removals, &removal->work, NULL);
        return;
    }
    if (errno != ENOENT) { /* which means: never made, or in a tree that goes already */
        struct err e = ERR_INIT;
        (void)err_errno(&e, "rename %s", path);
        log_warning("mrworker", "files stay until the next start error=\"%s\"", err_message(&e));
    }
    free(removal->path);
    free(removal);
}

void worker_job_free(struct worker_job *job)
{
    arena_deinit(&job->arena);
    arena_deinit(&job->map_arena);
    ends_free(&job->past);
    free(job->maps);
    free(job->id);
    free(job);
}

static void assigned_free(struct assigned *assigned)
{
    list_remove(&assigned->link);
    arena_deinit(&assigned->arena);
    free(assigned);
}

/* Whether a job's files cannot be had by any worker; else it is this worker's trouble, or the
 * store's, and will pass. */
static bool files_are_wrong(int code)
{
    return code == ERR_CORRUPT || code == ERR_INVALID || code == ERR_NOT_FOUND ||
           code == ERR_PERMISSION;
}

/* The files are here, or could not be had: what waited for them goes on. */
static void release_waiting(struct mr_worker_process *w, struct worker_job *job)
{
    LIST_FOR_EACH_SAFE(node, &job->waiting)
    {
        struct assigned *assigned = LIST_ENTRY(node, struct assigned, link);
        if (job->files == FILES_READY) {
            task_start(w, &assigned->a, &job->spec);
        } else {
            bool ours = !files_are_wrong(job->files_err.code);
            struct past_attempt past = {.end = {.attempt = assigned->a.attempt,
                                                .code = job->files_err.code,
                                                .text = err_message(&job->files_err),
                                                .stderr_tail = "",
                                                .not_started = ours},
                                        .state = ours ? "lost" : "failed",
                                        .started_ms = clock_wall_ms(),
                                        .ended_ms = clock_wall_ms()};
            worker_tell_end(w, job->id, &past);
        }
        assigned_free(assigned);
    }
}

static void remove_directory(struct mr_worker_process *w, const char *id)
{
    struct buf path = BUF_INIT;
    task_path(TASK_PATH_JOB, w->options.data, id, NULL, &path);
    worker_remove_tree(w, path.data);
    buf_deinit(&path);
}

static void load_done(void *arg)
{
    struct load *load = arg;
    struct mr_worker_process *w = load->w;
    struct worker_job *job = load->job;
    w->loading--;
    job->files = load->code == 0 ? FILES_READY : FILES_FAILED;
    job->files_err = load->err;
    if (load->code < 0) {
        log_warning("mrworker", "files of a job missing job=%s error=\"%s\"", job->id,
                    err_message(&load->err));
    }
    if (job->forgotten) {
        remove_directory(w, job->id);
        worker_job_free(job);
    } else {
        release_waiting(w, job);
    }
    free(load->directory);
    free(load);
}

static void load_start(struct mr_worker_process *w, struct worker_job *job)
{
    struct load *load = xcalloc(1, sizeof(*load));
    struct buf path = BUF_INIT;
    task_path(TASK_PATH_FILES, w->options.data, job->id, NULL, &path);
    load->work.run = load_run;
    load->w = w;
    load->job = job;
    load->dfs = w->dfs;
    load->id = job->id;
    load->spec = &job->spec;
    load->directory = buf_detach(&path, NULL);
    job->files = FILES_LOADING;
    w->loading++;
    int r = workpool_submit(w->pool, &load->work, NULL);
    CHECK(r == 0); /* the pool takes more than mrmaster has jobs */
}

static int job_add(struct mr_worker_process *w, const struct assignment *a, struct worker_job **ret,
                   struct err *e)
{
    if (!a->spec) {
        return err_set(e, ERR_INVALID, "first task of %s came without its job", a->job);
    }
    struct worker_job *job = xcalloc(1, sizeof(*job));
    struct buf bytes = BUF_INIT;
    arena_init(&job->arena, 0);
    arena_init(&job->map_arena, 0);
    job_spec_pack(a->spec, &bytes);
    int r = job_spec_unpack((struct span){bytes.data, bytes.length}, &job->arena, &job->spec, e);
    buf_deinit(&bytes);
    job->id = xstrdup(a->job);
    list_init(&job->waiting);
    list_init(&job->past);
    if (r < 0) {
        worker_job_free(job);
        return r;
    }
    map_put_str(&w->jobs, job->id, job);
    load_start(w, job);
    *ret = job;
    return 0;
}

/* Keeps an assignment until the files are here. */
static int keep_assignment(struct worker_job *job, const struct assignment *a, struct err *e)
{
    struct assigned *assigned = xcalloc(1, sizeof(*assigned));
    struct assignment bare = *a;
    struct master_message message = {.assign = &bare, .assign_count = 1};
    struct master_message copy = {0};
    struct buf bytes = BUF_INIT;
    bare.spec = NULL;
    arena_init(&assigned->arena, 0);
    list_init(&assigned->link);
    master_message_pack(&message, &bytes);
    int r =
        master_message_unpack((struct span){bytes.data, bytes.length}, &assigned->arena, &copy, e);
    buf_deinit(&bytes);
    if (r < 0) {
        assigned_free(assigned);
        return r;
    }
    assigned->a = copy.assign[0];
    list_push_back(&job->waiting, &assigned->link);
    return 0;
}

/* Names become paths here: only what mrmaster can have made is taken. */
static int check_names(const struct assignment *a, struct err *e)
{
    struct attempt_name name;
    bool job_ok = strncmp(a->job, "job_", 4) == 0 &&
                  strspn(a->job + 4, "0123456789_") == strlen(a->job + 4) &&
                  strlen(a->job) < ATTEMPT_NAME_BYTES_MAX;
    return job_ok && attempt_name_parse(a->attempt, &name)
               ? 0
               : err_set(e, ERR_INVALID, "assignment of '%.100s' in '%.100s'", a->attempt, a->job);
}

int worker_take_assignment(struct mr_worker_process *w, const struct assignment *a, struct err *e)
{
    int r = check_names(a, e);
    if (r < 0) {
        return r;
    }
    struct worker_job *job = map_get_str(&w->jobs, a->job);
    if (!job) {
        r = job_add(w, a, &job, e);
        if (r < 0) {
            return r;
        }
    } else if (job->files == FILES_FAILED) {
        load_start(w, job);
    }
    if (job->files == FILES_READY) {
        task_start(w, a, &job->spec);
        return 0;
    }
    return keep_assignment(job, a, e);
}

static void job_note_map(const struct mr_worker_process *w, struct worker_job *job,
                         const struct map_done *done)
{
    if (job->map_count == job->map_capacity) {
        job->map_capacity = job->map_capacity ? 2 * job->map_capacity : 64;
        job->maps = xreallocarray(job->maps, job->map_capacity, sizeof(job->maps[0]));
    }
    bool here = strcmp(done->address, w->options.address) == 0;
    job->maps[job->map_count++] = (struct known_map){
        .map = done->map,
        .attempt = done->withdrawn ? NULL : arena_strdup(&job->map_arena, done->attempt),
        .address = here ? TASK_ADDRESS_LOCAL : arena_strdup(&job->map_arena, done->address)};
}

void worker_take_maps(struct mr_worker_process *w, const struct map_done *list, size_t count)
{
    struct worker_job *job = NULL;
    for (size_t i = 0; i < count; i++) {
        bool same = i > 0 && strcmp(list[i].job, list[i - 1].job) == 0;
        if (job && !same) {
            tasks_tell_maps(w, job);
        }
        job = same ? job : map_get_str(&w->jobs, list[i].job);
        if (job) {
            job_note_map(w, job, &list[i]);
        }
    }
    if (job) {
        tasks_tell_maps(w, job);
    }
}

void worker_drop_waiting(struct mr_worker_process *w, const char *attempt)
{
    MAP_FOR_EACH(it, &w->jobs)
    {
        struct worker_job *job = it.value;
        LIST_FOR_EACH_SAFE(node, &job->waiting)
        {
            struct assigned *assigned = LIST_ENTRY(node, struct assigned, link);
            if (!attempt || strcmp(assigned->a.attempt, attempt) == 0) {
                assigned_free(assigned);
            }
        }
    }
}

static void drop_job(struct mr_worker_process *w, struct worker_job *job)
{
    LIST_FOR_EACH_SAFE(node, &w->tasks)
    {
        struct task *task = LIST_ENTRY(node, struct task, link);
        if (task->job && strcmp(task->job, job->id) == 0) {
            task_kill(task, NULL);
        }
    }
    LIST_FOR_EACH_SAFE(node, &job->waiting)
    {
        assigned_free(LIST_ENTRY(node, struct assigned, link));
    }
    if (job->files == FILES_LOADING) {
        job->forgotten = true;
        return;
    }
    remove_directory(w, job->id);
    worker_job_free(job);
}

void worker_forget(struct mr_worker_process *w, const char *id)
{
    struct worker_job *job = map_remove_str(&w->jobs, id);
    if (job) {
        drop_job(w, job);
    }
}

void worker_forget_maps(struct mr_worker_process *w)
{
    MAP_FOR_EACH(it, &w->jobs)
    {
        struct worker_job *job = it.value;
        job->map_count = 0;
        arena_reset(&job->map_arena);
    }
}
