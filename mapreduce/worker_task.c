/* Task processes: warm ones wait for their attempt; a running one tells by its pipe; the end of a
 * process is known when its pipe has ended and the spawner has told its status, in either order. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/parse.h"
#include "common/sys.h"
#include "mapreduce/engine/skip_note.h"
#include "mapreduce/mr_pack.h"
#include "mapreduce/task_note.h"
#include "mapreduce/task_report.h"
#include "mapreduce/worker_internal.h"

enum { TASK_TIMEOUT_NONE = 0 };

/* ---- Ends ---- */

/* The last lines of the attempt's log, as text whatever its bytes are. */
static const char *read_log_tail(const struct task *task, struct arena *arena)
{
    struct buf path = BUF_INIT;
    char *bytes = arena_alloc(arena, WORKER_STDERR_BYTES);
    const char *tail = "";
    task_path(TASK_PATH_LOG, task->w->options.data, task->job, task->attempt, &path);
    int fd = open(path.data, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (fd >= 0 && fstat(fd, &stat) == 0) {
        off_t from = stat.st_size > WORKER_STDERR_BYTES ? stat.st_size - WORKER_STDERR_BYTES : 0;
        ssize_t n = pread(fd, bytes, WORKER_STDERR_BYTES, from);
        tail = task_text_tail(bytes, n > 0 ? (size_t)n : 0, arena);
    }
    sys_close(&fd);
    buf_deinit(&path);
    return tail;
}

static void describe_end(const struct task *task, struct buf *out)
{
    if (WIFSIGNALED(task->status)) {
        const char *name = strsignal(WTERMSIG(task->status));
        buf_printf(out, "was killed by signal %d (%s)", WTERMSIG(task->status), name);
    } else {
        buf_printf(out, "ended with status %d", WEXITSTATUS(task->status));
    }
}

static void describe_death(const struct task *task, struct buf *out)
{
    if (task->spawn_errno != 0) {
        buf_printf(out, "the worker cannot start a process: %s", strerror(task->spawn_errno));
    } else if (task->end_reason) {
        buf_append_str(out, task->end_reason);
    } else if (!task->begun) {
        buf_append_str(out, "the worker's task program (mrtask) ");
        describe_end(task, out);
        buf_append_str(out, " before it took a task; see the log of mrworker");
    } else {
        buf_append_str(out, "the task's process ");
        describe_end(task, out);
        buf_append_str(out, WIFSIGNALED(task->status) ? "" : " before its task did");
        if (WIFSIGNALED(task->status) && WTERMSIG(task->status) == SIGKILL) {
            buf_append_str(out, ": as the kernel does when memory runs out");
        }
        if (task->memory_bytes > 0) {
            char size[FORMAT_TEXT_BYTES];
            buf_printf(out, "; its memory is limited to %s (--task-memory)",
                       format_bytes(task->memory_bytes, size));
        }
    }
}

static struct past_attempt past_of(const struct task *task, const struct attempt_end *end,
                                   const char *state)
{
    return (struct past_attempt){.end = *end,
                                 .state = state,
                                 .started_ms = task->started_ms,
                                 .ended_ms = clock_wall_ms(),
                                 .held = task->holds && end->code == 0,
                                 .plan = task->plan};
}

/* The record that user code had when its process ended: its ordinal + 1, and a word about it. */
static uint64_t find_bad_record(const struct task *task, struct buf *text)
{
    struct skip_note note;
    if (!task_note_read(task->w->options.data, task->job, task->attempt, &note)) {
        return 0;
    }
    buf_append_str(text, "; it was at ");
    skip_note_text(&note, task->reduce, text);
    return note.record;
}

/* A process that ended without a word about its attempt. */
static void report_death(struct task *task)
{
    struct buf text = BUF_INIT;
    struct arena arena = ARENA_INIT;
    describe_death(task, &text);
    bool ours = !task->begun || task->w->spawner_gone;
    uint64_t bad_record = ours || !task->skips ? 0 : find_bad_record(task, &text);
    struct attempt_end end = {.attempt = task->attempt,
                              .code = ours ? ERR_UNAVAILABLE : ERR_TASK,
                              .text = text.data,
                              .stderr_tail = read_log_tail(task, &arena),
                              .not_started = ours,
                              .bad_record = bad_record};
    struct past_attempt past = past_of(task, &end, ours ? "lost" : "failed");
    task->reported = true;
    worker_tell_end(task->w, task->job, &past);
    arena_deinit(&arena);
    buf_deinit(&text);
}

static void remove_work_directory(const struct task *task)
{
    struct buf path = BUF_INIT;
    task_path(TASK_PATH_WORK, task->w->options.data, task->job, task->attempt, &path);
    worker_remove_tree(task->w, path.data);
    buf_deinit(&path);
}

/* Frees the task when process, pipe and watches are all gone. */
static void task_settle(struct task *task)
{
    if (!task->exited || task->watches > 0) {
        return;
    }
    if (task->attempt && !task->reported) {
        report_death(task);
    }
    if (task->attempt) {
        remove_work_directory(task);
        worker_logs_note(task->w, task);
    }
    struct mr_worker_process *w = task->w;
    list_remove(&task->link);
    buf_deinit(&task->in);
    buf_deinit(&task->out);
    free(task->job);
    free(task->attempt);
    free(task->text);
    free(task);
    if (w->leaving) {
        tasks_close(w);
    } else {
        tasks_warm(w);
    }
}

static void on_watch_gone(void *arg)
{
    struct task *task = arg;
    sys_close(&task->fd);
    task->watches--;
    task_settle(task);
}

static void on_out_watch_gone(void *arg)
{
    struct task *task = arg;
    task->watches--;
    task_settle(task);
}

static void task_hang_up(struct task *task)
{
    if (task->hung_up) {
        return;
    }
    task->hung_up = true;
    fd_watch_end(task->watch, on_watch_gone, task);
    if (task->out_watch) {
        fd_watch_end(task->out_watch, on_out_watch_gone, task);
    }
}

void task_kill(struct task *task, const char *reason)
{
    struct err e = ERR_INIT;
    task->reported = task->reported || reason == NULL;
    task->end_reason = reason;
    if (!task->exited && spawner_kill(task->w->options.spawner, task->id, &e) < 0) {
        log_error("mrworker", "task not killed error=\"%s\"", err_message(&e));
    }
    task_hang_up(task);
}

void task_drop(struct task *task, const char *state, const char *text)
{
    if (task->attempt && !task->reported) {
        struct attempt_end end = {
            .attempt = task->attempt, .code = ERR_CANCELLED, .text = text, .stderr_tail = ""};
        struct past_attempt past = past_of(task, &end, state);
        worker_note_end(task->w, task->job, &past);
    }
    task_kill(task, NULL);
}

void tasks_drop_all(struct mr_worker_process *w, const char *text)
{
    LIST_FOR_EACH_SAFE(node, &w->tasks)
    {
        task_drop(LIST_ENTRY(node, struct task, link), "lost", text);
    }
}

void tasks_check_timeouts(struct mr_worker_process *w)
{
    time_ms now = clock_mono_ms();
    LIST_FOR_EACH_SAFE(node, &w->tasks)
    {
        struct task *task = LIST_ENTRY(node, struct task, link);
        bool silent = task->timeout_ms != TASK_TIMEOUT_NONE && now - task->alive > task->timeout_ms;
        if (silent && !task->hung_up) { /* also one that has told its end and does not go */
            counter_add(w->metrics.timeouts, !task->reported);
            task_kill(task,
                      task->reported
                          ? NULL
                          : "no sign of progress within the task's time limit (mr run --timeout): "
                            "killed");
        }
    }
}

/* ---- What a task says ---- */

static void take_progress(struct task *task, const struct attempt_progress *progress)
{
    if (strcmp(progress->attempt, task->attempt) == 0) {
        task->permille = progress->permille;
        free(task->text);
        task->text = xstrdup(progress->status);
    }
}

static void take_end(struct task *task, const struct attempt_end *end)
{
    if (!task->reported && strcmp(end->attempt, task->attempt) == 0) {
        struct past_attempt past = past_of(task, end, end->code == 0 ? "succeeded" : "failed");
        task->reported = true;
        worker_tell_end(task->w, task->job, &past);
    }
}

static int take_frame(struct task *task, enum task_frame_kind kind, struct span payload,
                      struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct worker_message message;
    if (kind != TASK_BEAT || !task->attempt) {
        return err_set(e, ERR_CORRUPT, "unexpected frame %d", (int)kind);
    }
    int r = worker_message_unpack(payload, &arena, &message, e);
    if (r == 0 && !message.beat) {
        r = err_set(e, ERR_CORRUPT, "not a beat");
    }
    if (r == 0) {
        task->alive = clock_mono_ms();
        task->begun = true;
        task->w->warm_wait_ms = 0;
        for (size_t i = 0; i < message.beat->running_count; i++) {
            take_progress(task, &message.beat->running[i]);
        }
        for (size_t i = 0; i < message.beat->ended_count; i++) {
            take_end(task, &message.beat->ended[i]);
        }
    }
    arena_deinit(&arena);
    return r;
}

static int take_frames(struct task *task, struct err *e)
{
    enum task_frame_kind kind = TASK_BEAT;
    struct span payload;
    int r = 0;
    while (r == 0 && task_frame_take(&task->in, &task->in_at, &kind, &payload, &r)) {
        r = take_frame(task, kind, payload, e);
    }
    size_t left = task->in.length - task->in_at;
    memmove(task->in.data, task->in.data + task->in_at, left);
    task->in.length = left;
    task->in_at = 0;
    return r;
}

static void on_pipe_ready(void *arg)
{
    struct task *task = arg;
    struct err e = ERR_INIT;
    buf_reserve(&task->in, WORKER_PIPE_BYTES_MAX);
    ssize_t n =
        recv(task->fd, task->in.data + task->in.length, WORKER_PIPE_BYTES_MAX, MSG_DONTWAIT);
    if (n > 0) {
        task->in.length += (size_t)n;
        if (take_frames(task, &e) < 0) {
            log_warning("mrworker", "task says what is not understood attempt=%s error=\"%s\"",
                        task->attempt ? task->attempt : "-", err_message(&e));
            task_kill(task, "the task's process broke the protocol with its worker");
        }
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        task_hang_up(task);
    }
}

/* ---- What a task is told ---- */

static void on_pipe_writable(void *arg);

/* Writes what the pipe takes; the rest goes when it takes more. ERR_*: the task is gone. */
static int task_flush(struct task *task, struct err *e)
{
    while (task->out_at < task->out.length) {
        ssize_t n = send(task->fd, task->out.data + task->out_at, task->out.length - task->out_at,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            task->out_at += (size_t)n;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            return err_errno(e, "write to the task's pipe");
        }
    }
    if (task->out_at == task->out.length) {
        buf_clear(&task->out);
        task->out_at = 0;
        return 0;
    }
    if (!task->out_watch) {
        int r = fd_watch_new_writer(task->w->watcher, task->fd, on_pipe_writable, task,
                                    &task->out_watch, e);
        if (r < 0) {
            return r;
        }
        task->watches++;
    }
    fd_watch_want(task->out_watch);
    return 0;
}

static int task_tell(struct task *task, enum task_frame_kind kind,
                     const struct master_message *message, struct err *e)
{
    struct buf bytes = BUF_INIT;
    master_message_pack(message, &bytes);
    task_frame_append(kind, (struct span){bytes.data, bytes.length}, &task->out);
    buf_deinit(&bytes);
    return task_flush(task, e);
}

/* News of maps, page by page while the pipe takes them. They wait with the job, not here: a task
 * that does not read costs one page. */
static void task_tell_maps(struct task *task, const struct worker_job *job)
{
    struct map_done page[MAP_DONE_PAGE_COUNT];
    struct err e = ERR_INIT;
    bool wants = !task->reported && !task->hung_up;
    while (wants && task->told < job->map_count && task->out.length == 0) {
        struct master_message message = {.map_done = page};
        while (task->told < job->map_count && message.map_done_count < MAP_DONE_PAGE_COUNT) {
            const struct known_map *known = &job->maps[task->told++];
            page[message.map_done_count++] =
                (struct map_done){.job = job->id,
                                  .map = known->map,
                                  .attempt = known->attempt ? known->attempt : "",
                                  .address = known->address,
                                  .host = "",
                                  .withdrawn = known->attempt == NULL};
        }
        if (task_tell(task, TASK_MAP_DONE, &message, &e) < 0) {
            task_hang_up(task);
            wants = false;
        }
    }
}

static void on_pipe_writable(void *arg)
{
    struct task *task = arg;
    struct err e = ERR_INIT;
    if (task_flush(task, &e) < 0) {
        task_hang_up(task);
        return;
    }
    const struct worker_job *job = task->reduce ? map_get_str(&task->w->jobs, task->job) : NULL;
    if (job) {
        task_tell_maps(task, job);
    }
}

/* ---- Starting ---- */

/* One more process. NULL: it could not be asked for; the log says why. */
static struct task *task_new(struct mr_worker_process *w)
{
    struct err e = ERR_INIT;
    int fds[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        log_error("mrworker", "no pipe for a task error=\"%s\"", strerror(errno));
        return NULL;
    }
    struct task *task = xcalloc(1, sizeof(*task));
    task->w = w;
    task->id = w->next_task++;
    task->fd = fds[0];
    buf_init(&task->in);
    buf_init(&task->out);
    list_init(&task->link);
    int r = spawner_spawn(w->options.spawner, task->id, fds[1], &e);
    sys_close(&fds[1]);
    r = r < 0 ? r : fd_watch_new(w->watcher, task->fd, on_pipe_ready, task, &task->watch, &e);
    if (r < 0) {
        log_error("mrworker", "no process for a task error=\"%s\"", err_message(&e));
        sys_close(&task->fd);
        buf_deinit(&task->in);
        free(task);
        return NULL;
    }
    task->watches = 1;
    return task;
}

/* A program that cannot run must not be started in a tight loop. */
static void warm_later(struct mr_worker_process *w)
{
    time_ms wait = 2 * w->warm_wait_ms;
    wait = wait < WORKER_WARM_WAIT_MS_MIN ? WORKER_WARM_WAIT_MS_MIN : wait;
    w->warm_wait_ms = wait < WORKER_WARM_WAIT_MS_MAX ? wait : WORKER_WARM_WAIT_MS_MAX;
    w->warm_after = clock_mono_ms() + w->warm_wait_ms;
}

void tasks_warm(struct mr_worker_process *w)
{
    bool failing = w->warm_wait_ms > 0 && clock_mono_ms() < w->warm_after;
    if (failing || rpc_timer_is_set(&w->quiet_timer)) {
        return;
    }
    size_t warm = list_count(&w->warm);
    size_t wanted = w->options.slots < WORKER_WARM_MAX ? w->options.slots : WORKER_WARM_MAX;
    while (warm < wanted && !w->spawner_gone) {
        struct task *task = task_new(w);
        if (!task) {
            warm_later(w);
            return;
        }
        list_push_back(&w->warm, &task->link);
        warm++;
    }
}

static void on_quiet_timer(void *arg)
{
    tasks_warm(arg);
}

/* A process was taken. To start another needs a processor for some milliseconds, about as long as
 * the task of a short job runs, so it has to wait; but not in a row of short tasks, where the next
 * one needs it. */
static void tasks_warm_soon(struct mr_worker_process *w)
{
    time_ms now = clock_mono_ms();
    bool row = now - w->started_ms < WORKER_ROW_MS;
    w->started_ms = now;
    if (row) {
        rpc_timer_cancel(w->options.loop, &w->quiet_timer);
        tasks_warm(w);
    } else {
        rpc_timer_set(w->options.loop, &w->quiet_timer, now + WORKER_QUIET_MS, on_quiet_timer, w);
    }
}

static void refuse(struct mr_worker_process *w, const struct assignment *a, const char *text)
{
    struct past_attempt past = {.end = {.attempt = a->attempt,
                                        .code = ERR_UNAVAILABLE,
                                        .text = text,
                                        .stderr_tail = "",
                                        .not_started = true},
                                .state = "lost",
                                .started_ms = clock_wall_ms(),
                                .ended_ms = clock_wall_ms()};
    worker_tell_end(w, a->job, &past);
}

/* A process that waits; not one that has ended and is only not yet told. */
static struct task *take_warm(struct mr_worker_process *w)
{
    LIST_FOR_EACH(node, &w->warm)
    {
        struct task *task = LIST_ENTRY(node, struct task, link);
        if (!task->hung_up) {
            list_remove(node);
            return task;
        }
    }
    return NULL;
}

void task_start(struct mr_worker_process *w, const struct assignment *a,
                const struct job_spec *spec)
{
    struct task *task = take_warm(w);
    task = task ? task : task_new(w);
    if (!task) {
        refuse(w, a, "the worker cannot start a process; see the log of mrworker");
        return;
    }
    struct assignment whole = *a;
    whole.spec = (struct job_spec *)spec;
    struct master_message message = {.assign = &whole, .assign_count = 1};
    struct err e = ERR_INIT;
    task->job = xstrdup(a->job);
    task->attempt = xstrdup(a->attempt);
    task->reduce = a->reduce;
    task->holds = !a->reduce && a->reduces > 0;
    task->plan = a->plan;
    task->memory_bytes = spec->task_memory_bytes;
    task->skips = (a->reduce ? spec->skip_groups : spec->skip_records) > 0;
    task->started_ms = clock_wall_ms();
    task->alive = clock_mono_ms();
    task->timeout_ms = spec->task_timeout_ms ? spec->task_timeout_ms : w->options.task_timeout_ms;
    worker_metrics_started(&w->metrics, a->reduce);
    list_push_back(&w->tasks, &task->link);
    if (task_tell(task, TASK_ASSIGN, &message, &e) <
        0) { /* it has died while warm: not the attempt's fault */
        task->reported = true;
        refuse(w, a, err_message(&e));
        task_kill(task, NULL);
    }
    const struct worker_job *job = a->reduce ? map_get_str(&w->jobs, a->job) : NULL;
    if (job) {
        task_tell_maps(task, job);
    }
    tasks_warm_soon(w);
}

void tasks_tell_maps(struct mr_worker_process *w, const struct worker_job *job)
{
    LIST_FOR_EACH_SAFE(node, &w->tasks)
    {
        struct task *task = LIST_ENTRY(node, struct task, link);
        if (task->reduce && task->out.length == 0 && strcmp(task->job, job->id) == 0) {
            task_tell_maps(task, job);
        }
    }
}

/* ---- What the spawner says ---- */

static struct task *find_task(struct mr_worker_process *w, uint64_t id)
{
    struct list *lists[] = {&w->tasks, &w->warm};
    for (int i = 0; i < 2; i++) {
        LIST_FOR_EACH(node, lists[i])
        {
            struct task *task = LIST_ENTRY(node, struct task, link);
            /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): who frees a task takes it off its list */
            if (task->id == id) {
                return task;
            }
        }
    }
    return NULL;
}

/* A warm process that ends by itself: something is wrong with the program; another one is tried
 * later. */
static void on_process_ended(struct mr_worker_process *w, const struct spawner_event *event)
{
    struct task *task = find_task(w, event->id);
    if (!task) {
        return;
    }
    task->exited = true;
    task->status = event->status;
    task->spawn_errno = event->spawn_errno;
    if (!task->attempt && !w->leaving) {
        struct buf why = BUF_INIT;
        warm_later(w);
        describe_death(task, &why);
        log_error("mrworker", "no task process error=\"%s\" next_try_ms=%" PRIu64, why.data,
                  w->warm_wait_ms);
        buf_deinit(&why);
        list_remove(&task->link);
        list_push_back(&w->tasks, &task->link);
    }
    task_settle(
        task); /* not yet, if bytes that it wrote before are still in the pipe: their end follows */
}

static void on_spawner_watch_gone(void *arg)
{
    struct mr_worker_process *w = arg;
    w->spawner_watch = NULL;
}

static void spawner_watch_end(struct mr_worker_process *w)
{
    if (w->spawner_watch && !w->spawner_watch_ending) {
        w->spawner_watch_ending = true;
        fd_watch_end(w->spawner_watch, on_spawner_watch_gone, w);
    }
}

void tasks_close(struct mr_worker_process *w)
{
    if (list_empty(&w->tasks) && list_empty(&w->warm)) {
        spawner_watch_end(w);
    }
}

/* All processes have died with the spawner, and nobody will tell their ends. */
static void on_spawner_gone(struct mr_worker_process *w)
{
    struct list *lists[] = {&w->tasks, &w->warm};
    for (int i = 0; i < 2; i++) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): who frees a task takes it off its list */
        LIST_FOR_EACH_SAFE(node, lists[i])
        {
            struct task *task = LIST_ENTRY(node, struct task, link);
            if (!task->exited) {
                task->exited = true;
                task->status = SIGKILL;
                task->end_reason = "the worker has lost its task processes";
            }
            task_hang_up(task);
            task_settle(task);
        }
    }
    spawner_watch_end(w);
}

static void on_spawner_ready(void *arg)
{
    struct mr_worker_process *w = arg;
    struct spawner_event event;
    struct err e = ERR_INIT;
    int r = 0;
    while ((r = spawner_next(w->options.spawner, &event, &e)) == 1) {
        on_process_ended(w, &event);
    }
    if (r < 0 && !w->spawner_gone &&
        !w->spawner_watch_ending) { /* else we have hung up ourselves */
        w->spawner_gone = true;
        on_spawner_gone(w);
        log_error("mrworker", "spawner lost, the worker ends error=\"%s\"", err_message(&e));
        (void)kill(getpid(), SIGTERM); /* nothing can run here any more: drain, and let whoever
                                          started us start us again */
    }
}

int tasks_open(struct mr_worker_process *w, struct err *e)
{
    int r = fd_watcher_start(w->options.loop, &w->watcher, e);
    return r < 0 ? r
                 : fd_watch_new(w->watcher, w->options.spawner->fd, on_spawner_ready, w,
                                &w->spawner_watch, e);
}
