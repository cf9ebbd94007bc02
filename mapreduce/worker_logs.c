/* See worker_logs.h. A task's log is a descriptor of the user's process, and of all that it starts:
 * nobody can count what goes through it, and a limit of the process would be one for all its files.
 * So its length is looked at with each beat, and once more when the attempt has ended. */
#include "mapreduce/worker_logs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/parse.h"
#include "common/sys.h"
#include "mapreduce/worker_internal.h"

/* ---- One log ---- */

/* From the start of a line, if there is one. */
static int read_tail(int fd, uint64_t size, uint64_t length, struct buf *out, struct err *e)
{
    char *bytes = xmalloc(length + 1);
    int r = sys_pread_full(fd, bytes, length, size - length, e);
    if (r == 0) {
        const char *newline = memchr(bytes, '\n', length);
        size_t skip = newline ? (size_t)(newline + 1 - bytes) : 0;
        buf_append(out, bytes + skip, length - skip);
    }
    free(bytes);
    return r;
}

/* What is written between the reading and the cut is left out with the rest. */
static int cut_middle(int fd, uint64_t size, uint64_t bytes_max, struct err *e)
{
    struct buf rest = BUF_INIT;
    char shown[FORMAT_TEXT_BYTES];
    buf_printf(&rest,
               "\n[mrworker: the middle of this log is left out, it is longer than %s (mrworker "
               "--task-log-max)]\n",
               format_bytes(bytes_max, shown));
    int r = read_tail(fd, size, bytes_max / 4, &rest, e);
    if (r == 0 && ftruncate(fd, (off_t)(bytes_max / 2)) < 0) {
        r = err_errno(e, "truncate");
    }
    r = r < 0 ? r : sys_write_full(fd, rest.data, rest.length, e);
    buf_deinit(&rest);
    return r;
}

int log_trim(const char *path, uint64_t bytes_max, struct err *e)
{
    struct stat stat;
    int fd = sys_open(path, O_RDWR | O_APPEND, 0, e);
    if (fd < 0) {
        return fd == ERR_NOT_FOUND ? 0 : fd; /* an attempt that has not begun */
    }
    int r = fstat(fd, &stat) < 0 ? err_errno(e, "stat") : 0;
    if (r == 0 && (uint64_t)stat.st_size > bytes_max) {
        r = cut_middle(fd, (uint64_t)stat.st_size, bytes_max, e);
        r = r < 0 ? r : 1;
    }
    sys_close(&fd);
    return r < 0 ? err_wrap(e, r, "%s", path) : r;
}

/* ---- All of them ---- */

struct job_logs {
    char *name;
    time_ms written_ms; /* wall: the last time */
    uint64_t bytes;
};

struct logs {
    struct job_logs *items;
    size_t count;
    size_t capacity;
    uint64_t bytes;
};

static time_ms written_ms(const struct stat *stat)
{
    return (time_ms)stat->st_mtim.tv_sec * 1000 + (time_ms)stat->st_mtim.tv_nsec / 1000000;
}

/* Length and age of what is in one job's directory. False: it is none. */
static bool look_at(const char *path, struct job_logs *ret)
{
    struct stat stat;
    DIR *dir = opendir(path);
    if (!dir || fstat(dirfd(dir), &stat) < 0) {
        (void)(dir ? closedir(dir) : 0);
        return false;
    }
    ret->written_ms = written_ms(&stat);
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (fstatat(dirfd(dir), entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(stat.st_mode)) {
            ret->written_ms = MAX(ret->written_ms, written_ms(&stat));
            ret->bytes += (uint64_t)stat.st_size;
        }
    }
    (void)closedir(dir);
    return true;
}

static void find_logs(const char *directory, struct logs *all)
{
    DIR *dir = opendir(directory);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL) {
        struct buf path = BUF_INIT;
        struct job_logs one = {0};
        buf_printf(&path, "%s/%s", directory, entry->d_name);
        if (entry->d_name[0] != '.' && look_at(path.data, &one)) {
            if (all->count == all->capacity) {
                all->capacity = all->capacity ? 2 * all->capacity : 64;
                all->items = xreallocarray(all->items, all->capacity, sizeof(all->items[0]));
            }
            one.name = xstrdup(entry->d_name);
            all->items[all->count++] = one;
            all->bytes += one.bytes;
        }
        buf_deinit(&path);
    }
    (void)(dir ? closedir(dir) : 0);
}

static int older_first(const void *a, const void *b)
{
    const struct job_logs *x = a;
    const struct job_logs *y = b;
    return (x->written_ms > y->written_ms) - (x->written_ms < y->written_ms);
}

static bool holds_name(const struct buf *names, const char *name)
{
    for (size_t at = 0; at < names->length; at += strlen(names->data + at) + 1) {
        if (strcmp(names->data + at, name) == 0) {
            return true;
        }
    }
    return false;
}

uint32_t logs_sweep(const struct logs_sweep *sweep, struct err *e)
{
    struct logs all = {0};
    uint32_t removed = 0;
    find_logs(sweep->directory, &all);
    if (all.count > 0) {
        qsort(all.items, all.count, sizeof(all.items[0]), older_first);
    }
    for (size_t i = 0; i < all.count; i++) {
        struct job_logs *one = &all.items[i];
        bool old = one->written_ms + sweep->keep_ms <= sweep->now_ms;
        if ((old || all.bytes > sweep->bytes_max) && !holds_name(sweep->live, one->name)) {
            struct buf path = BUF_INIT;
            buf_printf(&path, "%s/%s", sweep->directory, one->name);
            if (sys_remove_tree(path.data, e) == 0) {
                all.bytes -= one->bytes;
                removed++;
            }
            buf_deinit(&path);
        }
        free(one->name);
    }
    free(all.items);
    return removed;
}

/* ---- On the owner, and what it gives to a pool thread, which touches only its own struct ---- */

struct care {
    struct job work;
    struct mr_worker_process *w;
    uint64_t log_bytes_max;
    struct buf paths; /* of logs that may be too long, each with its NUL */
    bool sweeps;
    struct buf directory;
    struct logs_sweep sweep;
    struct buf live;
};

static void care_done(void *arg)
{
    struct care *care = arg;
    care->w->logs_busy = false;
    buf_deinit(&care->paths);
    buf_deinit(&care->directory);
    buf_deinit(&care->live);
    free(care);
}

static void care_run(struct job *work)
{
    struct care *care = CONTAINER_OF(work, struct care, work);
    for (size_t at = 0; at < care->paths.length; at += strlen(care->paths.data + at) + 1) {
        struct err e = ERR_INIT;
        if (log_trim(care->paths.data + at, care->log_bytes_max, &e) < 0) {
            log_warning("mrworker", "log of a task not cut error=\"%s\"", err_message(&e));
        }
    }
    if (care->sweeps) {
        struct err e = ERR_INIT;
        uint32_t removed = logs_sweep(&care->sweep, &e);
        if (e.code < 0) {
            log_warning("mrworker", "logs of a job stay error=\"%s\"", err_message(&e));
        }
        if (removed > 0) {
            log_info("mrworker", "old logs removed jobs=%" PRIu32, removed);
        }
    }
    rpc_loop_post(care->w->options.loop, care_done, care);
}

void worker_logs_note(struct mr_worker_process *w, const struct task *task)
{
    struct buf path = BUF_INIT;
    task_path(TASK_PATH_LOG, w->options.data, task->job, task->attempt, &path);
    if (w->log_paths.length + path.length < WORKER_LOG_PATHS_BYTES) { /* else the disk hangs */
        buf_append(&w->log_paths, path.data, path.length + 1);
    }
    buf_deinit(&path);
}

static void care_for_all(struct mr_worker_process *w, struct care *care)
{
    care->sweeps = true;
    buf_printf(&care->directory, "%s/logs", w->options.data);
    MAP_FOR_EACH(it, &w->jobs)
    {
        const struct worker_job *job = it.value;
        const char *number = strrchr(job->id, '_') + 1;
        buf_append(&care->live, number, strlen(number) + 1);
    }
    care->sweep = (struct logs_sweep){.directory = care->directory.data,
                                      .now_ms = clock_wall_ms(),
                                      .keep_ms = w->options.log_keep_ms,
                                      .bytes_max = w->options.log_total_bytes,
                                      .live = &care->live};
}

void worker_logs_tick(struct mr_worker_process *w)
{
    time_ms now = clock_mono_ms();
    if (w->logs_busy) {
        return;
    }
    LIST_FOR_EACH(node, &w->tasks)
    {
        const struct task *task = LIST_ENTRY(node, struct task, link);
        if (task->attempt) {
            worker_logs_note(w, task);
        }
    }
    bool sweeps = now >= w->logs_sweep_ms;
    if (w->log_paths.length == 0 && !sweeps) {
        return;
    }
    struct care *care = xcalloc(1, sizeof(*care));
    care->work.run = care_run;
    care->w = w;
    care->log_bytes_max = w->options.log_bytes_max;
    care->paths = w->log_paths;
    buf_init(&w->log_paths);
    buf_init(&care->directory);
    buf_init(&care->live);
    if (sweeps) {
        w->logs_sweep_ms = now + WORKER_LOGS_SWEEP_MS;
        care_for_all(w, care);
    }
    w->logs_busy = true;
    if (workpool_submit(w->pool, &care->work, NULL) < 0) {
        care_done(care); /* it is very busy: the next time, or when the attempt has ended */
    }
}
