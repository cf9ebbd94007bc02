/* mrtask: runs one map or reduce attempt. Started by mrworker before it is needed, so that a task
 * begins without waiting for a process: all that takes time and needs no assignment is done first.
 *
 * Threads: the main thread runs the attempt, and user code in it. A reader takes frames from the
 * pipe and posts them to the loop; when the worker's end closes it ends the process and all that it
 * started, so that nothing outlives its worker. A user's crash is not caught: the worker sees it.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/log.h"
#include "mapreduce/mr_pack.h"
#include "mapreduce/mrtask/attempt.h"
#include "mapreduce/task_pipe.h"

enum { READ_BYTES = 64 * 1024 };

struct process {
    struct task_environment env;
    struct arena arena;
    struct master_message message; /* with the assignment; in the arena */
    struct buf in;                 /* read from the pipe; the reader's once it runs */
    size_t at;                     /* consumed of it */
    struct attempt attempt;
};

/* ---- The pipe ---- */

/* Appends what has come. False: the worker's end is closed. */
static bool read_some(struct process *p)
{
    if (p->at == p->in.length) {
        buf_clear(&p->in);
        p->at = 0;
    }
    buf_reserve(&p->in, READ_BYTES);
    ssize_t n;
    do {
        n = read(TASK_PIPE_FD, p->in.data + p->in.length, READ_BYTES);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        return false;
    }
    p->in.length += (size_t)n;
    return true;
}

/* Waits for the next frame. ERR_EOF: the worker is gone. */
static int next_frame(struct process *p, enum task_frame_kind *ret_kind, struct span *ret_payload)
{
    for (;;) {
        int code = 0;
        if (task_frame_take(&p->in, &p->at, ret_kind, ret_payload, &code)) {
            return 0;
        }
        if (code < 0) {
            return code;
        }
        if (!read_some(p)) {
            return ERR_EOF;
        }
    }
}

static int read_assignment(struct process *p, struct err *e)
{
    enum task_frame_kind kind;
    struct span payload;
    int r = next_frame(p, &kind, &payload);
    if (r < 0) {
        return r;
    }
    r = kind == TASK_ASSIGN ? master_message_unpack(payload, &p->arena, &p->message, e)
                            : err_set(e, ERR_INVALID, "a frame of kind %d came first", (int)kind);
    if (r == 0 && p->message.assign_count != 1) {
        r = err_set(e, ERR_INVALID, "%zu assignments instead of one", p->message.assign_count);
    }
    return r;
}

/* ---- The reader ---- */

struct told {
    struct process *p;
    struct arena arena;
    struct master_message message;
};

static void ignore(const char *what, const struct err *e)
{
    log_warning("mrtask", "%s ignored error=\"%s\"", what, err_message(e));
}

/* On the main thread, while it drives the loop. */
static void told_on_loop(void *arg)
{
    struct told *t = arg;
    for (size_t i = 0; i < t->message.map_done_count; i++) {
        struct err e = ERR_INIT;
        if (shuffle_told(t->p->attempt.shuffle, &t->message.map_done[i], &e) < 0) {
            ignore("map", &e);
        }
    }
    arena_deinit(&t->arena);
    free(t);
}

static void take_frame(struct process *p, enum task_frame_kind kind, struct span payload)
{
    if (kind != TASK_MAP_DONE || !p->attempt.shuffle) {
        return;
    }
    struct told *t = xcalloc(1, sizeof(*t));
    struct err e = ERR_INIT;
    t->p = p;
    if (master_message_unpack(payload, &t->arena, &t->message, &e) == 0) {
        rpc_loop_post(p->attempt.loop, told_on_loop, t);
        return;
    }
    ignore("frame", &e);
    arena_deinit(&t->arena);
    free(t);
}

static void *reader_main(void *arg)
{
    struct process *p = arg;
    enum task_frame_kind kind;
    struct span payload;
    while (next_frame(p, &kind, &payload) == 0) {
        take_frame(p, kind, payload);
    }
    if (getpgrp() == getpid()) {
        (void)kill(0, SIGKILL); /* with the user's programs */
    }
    _exit(1);
}

static int start_reader(struct process *p, struct err *e)
{
    pthread_t thread;
    int r = pthread_create(&thread, NULL, reader_main, p);
    if (r != 0) {
        errno = r;
        return err_errno(e, "start a thread");
    }
    (void)pthread_detach(thread);
    return 0;
}

/* ---- */

static int run(struct process *p, struct err *e)
{
    int r = read_assignment(p, e);
    if (r == ERR_EOF) {
        return 0; /* never needed */
    }
    if (r == 0 && p->env.tls_ca) {
        r = rpc_tls_new(p->env.tls_ca, p->env.tls_cert, p->env.tls_key, &p->attempt.tls, e);
    }
    if (r < 0) {
        return r;
    }
    const struct assignment *assignment = &p->message.assign[0];
    attempt_init(&p->attempt, &p->env, assignment, TASK_PIPE_FD);
    r = r < 0 ? r : start_reader(p, e);
    return r < 0 ? r : attempt_run(&p->attempt, e);
}

int main(void)
{
    static struct process p;
    struct err e = ERR_INIT;
    (void)setpgid(0, 0); /* the worker may have done it already */
    (void)signal(SIGPIPE, SIG_IGN);
    /* glibc reserves up to 128 MiB of address space per arena, a thread's at any time: too much
     * below a limit of the task's memory. */
    (void)mallopt(M_ARENA_MAX, 1);
    buf_init(&p.in);
    int r = task_environment_read(&p.env, &e);
    if (r == 0 && fcntl(TASK_PIPE_FD, F_SETFD, FD_CLOEXEC) < 0) {
        r = err_errno(&e, "descriptor %d", TASK_PIPE_FD);
    }
    if (r == 0) {
        rpc_init();
        r = run(&p, &e);
    }
    if (r < 0) {
        log_error("mrtask", "cannot run error=\"%s\"", err_message(&e));
    }
    (void)fflush(NULL);
    _exit(r < 0 ? 1
                : 0); /* without the destructors of the user's library, and of what still runs */
}
