/* Both sides of the spawner; see spawner.h.
 *
 * The process side uses only async-signal-safe calls after fork() and keeps a small table of its
 * children. It learns of their end by a signalfd, so that one poll() sees everything. End of file
 * on its socket means that the worker is gone, however it went. */
#include "mapreduce/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/daemon.h"
#include "common/sys.h"
#include "mapreduce/task_pipe.h"

enum request_kind { REQUEST_SPAWN = 1, REQUEST_KILL = 2 };

struct request {
    enum request_kind kind;
    uint64_t id;
};

/* ---- The process ---- */

struct child {
    uint64_t id;
    pid_t pid;
};

struct children {
    struct child *items;
    size_t count;
    size_t capacity;
};

static void children_add(struct children *c, struct child child)
{
    if (c->count == c->capacity) {
        c->capacity = c->capacity ? 2 * c->capacity : 16;
        c->items = xreallocarray(c->items, c->capacity, sizeof(c->items[0]));
    }
    c->items[c->count++] = child;
}

static void tell(int fd, struct spawner_event event)
{
    ssize_t n = 0;
    do {
        n = send(fd, &event, sizeof(event), MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    /* Any other failure: the worker is gone, which poll() sees as well. */
}

/* Receives one request and the descriptor that may come with it (-1: none). False: the worker is
 * gone. */
static bool receive(int fd, struct request *ret, int *ret_pipe)
{
    struct iovec iov = {ret, sizeof(*ret)};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    *ret_pipe = -1;
    ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (n < 0) {
        ret->kind = (enum request_kind)0;
        return errno == EINTR;
    }
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS) {
        memcpy(ret_pipe, CMSG_DATA(header), sizeof(int));
    }
    return n == (ssize_t)sizeof(*ret);
}

/* Closes all of a process's descriptors from `first` on, but one. */
static void close_from(int first, int but)
{
    if (but > first) {
        (void)close_range((unsigned)first, (unsigned)but - 1, 0);
    }
    (void)close_range((unsigned)(but >= first ? but + 1 : first), UINT_MAX, 0);
}

/* In the child: never returns. The task has 0, 1, 2 and its pipe, and nothing else of ours. */
static void exec_task(int pipe, char *const *argv)
{
    daemon_signals_child();
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(pipe, TASK_PIPE_FD) < 0) {
        _exit(126);
    }
    if (pipe == TASK_PIPE_FD) {
        (void)fcntl(pipe, F_SETFD, 0);
    }
    close_from(TASK_PIPE_FD + 1, -1);
    execv(argv[0], argv);
    _exit(127);
}

static void handle_spawn(int fd, struct children *children, uint64_t id, int pipe,
                         char *const *argv)
{
    pid_t pid = pipe >= 0 ? fork() : -1;
    if (pid == 0) {
        exec_task(pipe, argv);
    }
    if (pid < 0) {
        tell(fd, (struct spawner_event){.id = id, .spawn_errno = pipe >= 0 ? errno : EBADF});
        return;
    }
    (void)setpgid(pid, pid); /* both sides do it: whoever is first */
    children_add(children, (struct child){id, pid});
}

static void handle_kill(const struct children *children, uint64_t id)
{
    for (size_t i = 0; i < children->count; i++) {
        if (children->items[i].id == id) {
            (void)kill(-children->items[i].pid, SIGKILL);
        }
    }
}

static void reap(int fd, struct children *children)
{
    siginfo_t ended = {0};
    while (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid != 0) {
        int status = 0;
        pid_t pid = ended.si_pid;
        (void)kill(-pid, SIGKILL); /* what the task left running goes with it, while the number
                                      cannot be anybody else's */
        (void)waitpid(pid, &status, 0);
        ended.si_pid = 0;
        for (size_t i = 0; i < children->count; i++) {
            if (children->items[i].pid == pid) {
                tell(fd, (struct spawner_event){.id = children->items[i].id, .status = status});
                children->items[i] = children->items[--children->count];
                break;
            }
        }
    }
}

static void spawner_process(int fd, char *const *argv)
{
    struct children children = {0};
    sigset_t mask;
    daemon_notify_child();
    close_from(STDERR_FILENO + 1, fd); /* the data directory's lock, say: it is the worker's */
    (void)sigfillset(&mask);
    (void)sigprocmask(SIG_SETMASK, &mask, NULL); /* the worker ends us, by closing its end */
    (void)sigemptyset(&mask);
    (void)sigaddset(&mask, SIGCHLD);
    struct pollfd fds[2] = {
        {.fd = fd, .events = POLLIN},
        {.fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN}};
    bool worker_lives = fds[1].fd >= 0;
    while (worker_lives) {
        if (poll(fds, 2, -1) < 0) {
            continue; /* EINTR */
        }
        if (fds[1].revents) {
            struct signalfd_siginfo info;
            while (read(fds[1].fd, &info, sizeof(info)) > 0) {
            }
            reap(fd, &children);
        }
        if (fds[0].revents) {
            struct request request = {0};
            int pipe = -1;
            worker_lives = receive(fd, &request, &pipe);
            if (worker_lives && request.kind == REQUEST_SPAWN) {
                handle_spawn(fd, &children, request.id, pipe, argv);
            } else if (worker_lives && request.kind == REQUEST_KILL) {
                handle_kill(&children, request.id);
            }
            sys_close(&pipe);
        }
    }
    for (size_t i = 0; i < children.count; i++) {
        (void)kill(-children.items[i].pid, SIGKILL);
    }
    _exit(0);
}

/* ---- The worker's side ---- */

int spawner_start(struct spawner *s, char *const *argv, struct err *e)
{
    int fds[2] = {-1, -1};
    if (access(argv[0], X_OK) < 0) {
        return err_errno(e, "task program %s", argv[0]);
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
        return err_errno(e, "socketpair");
    }
    pid_t pid = fork();
    if (pid < 0) {
        int r = err_errno(e, "fork the spawner");
        sys_close(&fds[0]);
        sys_close(&fds[1]);
        return r;
    }
    if (pid == 0) {
        (void)close(fds[0]);
        spawner_process(fds[1], argv);
    }
    (void)close(fds[1]);
    s->fd = fds[0];
    s->pid = pid;
    return 0;
}

static int send_request(struct spawner *s, struct request request, int pipe, struct err *e)
{
    struct iovec iov = {&request, sizeof(request)};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (pipe >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &pipe, sizeof(int));
    }
    ssize_t n = 0;
    do {
        n = sendmsg(s->fd, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? err_errno(e, "ask the spawner") : 0;
}

int spawner_spawn(struct spawner *s, uint64_t id, int pipe, struct err *e)
{
    return send_request(s, (struct request){REQUEST_SPAWN, id}, pipe, e);
}

int spawner_kill(struct spawner *s, uint64_t id, struct err *e)
{
    return send_request(s, (struct request){REQUEST_KILL, id}, -1, e);
}

int spawner_next(struct spawner *s, struct spawner_event *ret, struct err *e)
{
    struct spawner_event event;
    ssize_t n = recv(s->fd, &event, sizeof(event), MSG_DONTWAIT);
    if (n == (ssize_t)sizeof(event)) {
        *ret = event;
        return 1;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    return n < 0 ? err_errno(e, "hear the spawner")
                 : err_set(e, ERR_UNAVAILABLE, "the spawner has ended");
}

void spawner_stop(struct spawner *s)
{
    if (s->pid > 0) {
        sys_close(&s->fd);
        (void)waitpid(s->pid, NULL, 0);
        s->pid = 0;
    }
}
