/* One socket pair per child. To the child: task numbers. From it: frames of {u32 length, u32 kind,
 * u32 number, bytes}. A child leaves when its socket ends, so none outlives the parent. */
#include "mapreduce/engine/local_pool.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/sys.h"

enum frame_kind { FRAME_DONE, FRAME_FAILED, FRAME_PROGRESS };

enum {
    FRAME_HEAD_BYTES = 12,
    FRAME_BYTES_MAX = 16 * 1024 * 1024, /* an answer: counters and a few lines of text */
    REPORT_MS = 100,
};

struct child {
    pid_t pid;
    int fd;
    bool busy;
    uint32_t number; /* of its task */
};

/* ---- In the child ---- */

static _Thread_local int report_fd = -1; /* the child's socket; -1 in the parent */
static _Thread_local uint32_t report_number;
static _Thread_local time_ms reported_ms;

static int send_frame(int fd, enum frame_kind kind, uint32_t number, struct span bytes)
{
    struct buf frame = BUF_INIT;
    buf_append_u32le(&frame, (uint32_t)bytes.length);
    buf_append_u32le(&frame, kind);
    buf_append_u32le(&frame, number);
    buf_append(&frame, bytes.data, bytes.length);
    int r = sys_write_full(fd, frame.data, frame.length, NULL);
    buf_deinit(&frame);
    return r;
}

void local_pool_report(uint32_t permille)
{
    time_ms now = clock_mono_ms();
    if (report_fd < 0 || now - reported_ms < REPORT_MS) {
        return;
    }
    reported_ms = now;
    (void)send_frame(report_fd, FRAME_PROGRESS, report_number,
                     (struct span){&permille, sizeof(permille)});
}

static void child_loop(const struct local_pool_run *run, int fd)
{
    uint32_t number;
    report_fd = fd;
    while (sys_read_full(fd, &number, sizeof(number), NULL) == 0) {
        struct buf answer = BUF_INIT;
        struct err e = ERR_INIT;
        report_number = number;
        int r = run->task(run->arg, number, &answer, &e);
        if (r < 0) { /* the error, then the answer: they go one after the other */
            (void)send_frame(fd, FRAME_FAILED, number, (struct span){&e, sizeof(e)});
        }
        if (send_frame(fd, FRAME_DONE, number, (struct span){answer.data, answer.length}) < 0) {
            break;
        }
        buf_deinit(&answer);
    }
}

/* ---- In the parent ---- */

static int start_child(const struct local_pool_run *run, struct child *children, size_t index,
                       struct err *e)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        return err_errno(e, "socketpair");
    }
    pid_t pid = fork();
    if (pid < 0) {
        int r = err_errno(e, "fork");
        sys_close(&ends[0]);
        sys_close(&ends[1]);
        return r;
    }
    if (pid == 0) {
        (void)signal(SIGPIPE, SIG_IGN); /* the parent is gone: the write says so */
        for (size_t i = 0; i < index; i++) {
            sys_close(&children[i].fd);
        }
        sys_close(&ends[0]);
        child_loop(run, ends[1]);
        _exit(0);
    }
    sys_close(&ends[1]);
    children[index] = (struct child){pid, ends[0], false, 0};
    return 0;
}

static int give(struct child *child, uint32_t number)
{
    child->busy = true;
    child->number = number;
    ssize_t n = send(child->fd, &number, sizeof(number), MSG_NOSIGNAL);
    return n == sizeof(number) ? 0 : ERR_IO; /* its death is seen when its answer is read */
}

/* The child is gone without an answer: the reason is in its exit status. */
static int explain_death(struct child *child, struct err *e)
{
    int status = 0;
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {
    }
    child->pid = 0;
    sys_close(&child->fd);
    if (WIFSIGNALED(status)) {
        return err_set(e, ERR_TASK, "the user's code was ended by signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    }
    return err_set(e, ERR_TASK, "the user's code called exit(%d)", WEXITSTATUS(status));
}

struct frame {
    enum frame_kind kind;
    uint32_t number;
    struct buf bytes;
};

/* ERR_EOF: the child has ended. */
static int read_frame(int fd, struct frame *ret)
{
    uint8_t head[FRAME_HEAD_BYTES];
    if (sys_read_full(fd, head, sizeof(head), NULL) < 0) {
        return ERR_EOF;
    }
    struct cursor c = cursor_of(head, sizeof(head));
    uint32_t length = cursor_u32le(&c);
    ret->kind = (enum frame_kind)cursor_u32le(&c);
    ret->number = cursor_u32le(&c);
    if (length > FRAME_BYTES_MAX) {
        return ERR_EOF; /* user code has written into our socket */
    }
    buf_clear(&ret->bytes);
    buf_reserve(&ret->bytes, length);
    if (sys_read_full(fd, ret->bytes.data, length, NULL) < 0) {
        return ERR_EOF;
    }
    ret->bytes.length = length;
    return 0;
}

/* Takes in what a child has to say. */
static int hear(const struct local_pool_run *run, struct child *child, struct err *failure,
                uint32_t *done, struct err *e)
{
    struct frame frame = {.bytes = BUF_INIT};
    int r = read_frame(child->fd, &frame);
    if (r < 0) {
        r = explain_death(child, e);
        r = run->done(run->arg, child->number, r, (struct span){NULL, 0}, e);
        child->busy = false;
        (*done)++;
    } else if (frame.kind == FRAME_PROGRESS && frame.bytes.length == sizeof(uint32_t)) {
        uint32_t permille;
        memcpy(&permille, frame.bytes.data, sizeof(permille));
        if (run->progress) {
            run->progress(run->arg, frame.number, permille);
        }
    } else if (frame.kind == FRAME_FAILED && frame.bytes.length == sizeof(*failure)) {
        memcpy(failure, frame.bytes.data, sizeof(*failure));
        failure->msg[sizeof(failure->msg) - 1] = '\0';
    } else if (frame.kind == FRAME_DONE) {
        int code = failure->code < 0 ? err_set(e, failure->code, "%s", failure->msg) : 0;
        failure->code = 0;
        r = run->done(run->arg, frame.number, code,
                      (struct span){frame.bytes.data, frame.bytes.length}, e);
        child->busy = false;
        (*done)++;
    }
    buf_deinit(&frame.bytes);
    return r;
}

static int deal(const struct local_pool_run *run, struct child *children, size_t count,
                struct err *e)
{
    struct err *failures = xcalloc(count, sizeof(*failures));
    struct pollfd *fds = xcalloc(count, sizeof(*fds));
    uint32_t next = 0;
    uint32_t done = 0;
    int r = 0;
    while (done < run->count && r == 0) {
        for (size_t i = 0; i < count; i++) {
            if (!children[i].busy && children[i].fd >= 0 && next < run->count) {
                (void)give(&children[i], next++);
            }
            fds[i] = (struct pollfd){.fd = children[i].fd, .events = POLLIN};
        }
        if (poll(fds, (nfds_t)count, -1) < 0 && errno != EINTR) {
            r = err_errno(e, "poll");
        }
        for (size_t i = 0; i < count && r == 0; i++) {
            if (fds[i].revents) {
                r = hear(run, &children[i], &failures[i], &done, e);
            }
        }
    }
    free(fds);
    free(failures);
    return r;
}

static void stop_children(struct child *children, size_t count, bool kill_them)
{
    for (size_t i = 0; i < count; i++) {
        sys_close(&children[i].fd);
        if (children[i].pid > 0 && kill_them) {
            (void)kill(children[i].pid, SIGKILL);
        }
    }
    for (size_t i = 0; i < count; i++) {
        while (children[i].pid > 0 && waitpid(children[i].pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
}

static int run_here(const struct local_pool_run *run, struct err *e)
{
    int r = 0;
    for (uint32_t i = 0; i < run->count && r == 0; i++) {
        struct buf answer = BUF_INIT;
        r = run->task(run->arg, i, &answer, e);
        r = run->done(run->arg, i, r, (struct span){answer.data, answer.length}, e);
        buf_deinit(&answer);
    }
    return r;
}

int local_pool_run(const struct local_pool_run *run, struct err *e)
{
    if (run->parallel <= 1) {
        return run_here(run, e);
    }
    size_t count = MIN(run->parallel, run->count);
    struct child *children = xcalloc(count + 1, sizeof(*children));
    size_t started = 0;
    int r = 0;
    while (started < count && r == 0) {
        r = start_child(run, children, started, e);
        started += r == 0;
    }
    r = r < 0 ? r : deal(run, children, count, e);
    stop_children(children, started, r < 0);
    free(children);
    return r;
}
