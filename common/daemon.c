/* Signals arrive as bytes of a signalfd on a thread of their own, so that the callback runs in
 * ordinary code and may take locks. A second descriptor ends that thread. systemd's protocol is one
 * datagram to a Unix socket (sd_notify(3)), which spares a library. */
#include "common/daemon.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/check.h"
#include "common/macros.h"
#include "common/parse.h"
#include "common/sys.h"

struct daemon_signals {
    daemon_signal_fn on_signal;
    void *context;
    int signal_fd; /* SIGTERM, SIGINT */
    int stop_fd;   /* readable: the thread ends */
    pthread_t thread;
};

static void fill_set(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
}

static void *watch(void *argument)
{
    struct daemon_signals *s = argument;
    int count = 0;
    for (;;) {
        struct pollfd fds[2] = {{.fd = s->signal_fd, .events = POLLIN},
                                {.fd = s->stop_fd, .events = POLLIN}};
        int ready = poll(fds, 2, -1);
        CHECK(ready > 0 || errno == EINTR);
        if (fds[1].revents != 0) {
            return NULL;
        }
        struct signalfd_siginfo info;
        if (fds[0].revents != 0 &&
            read(s->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
            count++;
            s->on_signal(s->context, (int)info.ssi_signo, count);
        }
    }
}

struct daemon_signals *daemon_signals_start(daemon_signal_fn on_signal, void *context)
{
    struct daemon_signals *s = xcalloc(1, sizeof(*s));
    sigset_t set;
    s->on_signal = on_signal;
    s->context = context;
    fill_set(&set);
    (void)signal(SIGPIPE, SIG_IGN);
    int r = pthread_sigmask(SIG_BLOCK, &set, NULL);
    CHECK(r == 0);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    CHECK(s->signal_fd >= 0);
    s->stop_fd = eventfd(0, EFD_CLOEXEC);
    CHECK(s->stop_fd >= 0);
    r = pthread_create(&s->thread, NULL, watch, s);
    CHECK(r == 0);
    (void)pthread_setname_np(s->thread, "signals");
    return s;
}

void daemon_signals_stop(struct daemon_signals *s)
{
    if (s == NULL) {
        return;
    }
    int r = eventfd_write(s->stop_fd, 1);
    CHECK(r == 0);
    (void)pthread_join(s->thread, NULL);
    sys_close(&s->signal_fd);
    sys_close(&s->stop_fd);
    free(s);
}

void daemon_signals_child(void)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

int daemon_ready(int ready_fd, const char *address, struct err *e)
{
    int r = 0;
    if (ready_fd >= 0) {
        struct buf line = BUF_INIT;
        buf_printf(&line, "ready %s\n", address);
        r = sys_write_full(ready_fd, line.data, line.length, e);
        if (r < 0) {
            r = err_wrap(e, r, "ready descriptor %d", ready_fd);
        }
        sys_close(&ready_fd);
        buf_deinit(&line);
    }
    if (r == 0) {
        struct buf state = BUF_INIT;
        buf_printf(&state, "READY=1\nSTATUS=serving at %s", address);
        r = daemon_notify(state.data, DAEMON_NOTIFY_SURELY, e);
        buf_deinit(&state);
    }
    return r;
}

void daemon_stopping(void)
{
    int ignored = daemon_notify("STOPPING=1\nSTATUS=finishing what is in progress",
                                DAEMON_NOTIFY_SURELY, NULL);
    (void)ignored; /* we end in any case */
}

void daemon_status(const char *text)
{
    struct buf state = BUF_INIT;
    buf_printf(&state, "STATUS=%s", text);
    int ignored = daemon_notify(state.data, DAEMON_NOTIFY_NOW, NULL);
    (void)ignored; /* only for people, who have the log as well */
    buf_deinit(&state);
}

/* ---- systemd's protocol ---- */

enum { NOTIFY_WAIT_S = 5 }; /* a systemd that hangs must not keep us from serving, or from ending */

int daemon_notify(const char *state, enum daemon_notify_how how, struct err *e)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (path == NULL || path[0] == 0) {
        return 0;
    }
    size_t length = strlen(path);
    if (length >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@')) {
        return err_set(e, ERR_INVALID, "NOTIFY_SOCKET \"%.100s\" is not a socket's path", path);
    }
    memcpy(to.sun_path, path, length);
    if (path[0] == '@') {
        to.sun_path[0] = 0; /* abstract */
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_errno(e, "socket");
    }
    socklen_t to_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    int flags = MSG_NOSIGNAL | (how == DAEMON_NOTIFY_NOW ? MSG_DONTWAIT : 0);
    const struct timeval patience = {.tv_sec = NOTIFY_WAIT_S};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    ssize_t sent = sendto(fd, state, strlen(state), flags, (struct sockaddr *)&to, to_length);
    int r = 0;
    if (sent < 0) {
        r = errno == EAGAIN ? err_set(e, ERR_BUSY, "notify %s: systemd does not read it", path)
                            : err_errno(e, "notify %s", path);
    }
    sys_close(&fd);
    return r;
}

void daemon_notify_child(void)
{
    static const char *const names[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        (void)unsetenv(names[i]); /* fails on a bad name only */
    }
}

/* ---- systemd's watchdog ---- */

int daemon_watchdog_every(const char *usec, const char *pid, uint64_t self, time_ms *ret_every_ms,
                          struct err *e)
{
    enum { BEATS = 2, USEC_PER_MS = 1000 }; /* sd_watchdog_enabled(3) asks for half */
    uint64_t allowed_us = 0;
    uint64_t watched = self;
    int r = usec != NULL ? parse_u64(usec, &allowed_us, e) : 0;
    if (r < 0) {
        return err_wrap(e, r, "WATCHDOG_USEC");
    }
    r = pid != NULL ? parse_u64(pid, &watched, e) : 0;
    if (r < 0) {
        return err_wrap(e, r, "WATCHDOG_PID");
    }
    bool ours = allowed_us > 0 && watched == self;
    *ret_every_ms = ours ? MAX(allowed_us / BEATS / USEC_PER_MS, 1) : 0;
    return 0;
}

time_ms daemon_watchdog_next(time_ms every_ms, time_ms now, bool heard)
{
    enum { SOONER = 10 };
    return now + (heard ? every_ms : MAX(every_ms / SOONER, 1));
}

int daemon_exit_status(const struct err *e)
{
    bool disk = e->code == ERR_IO || e->code == ERR_NO_SPACE || e->code == ERR_CORRUPT;
    return disk ? DAEMON_EXIT_DISK : DAEMON_EXIT_FAILED;
}
