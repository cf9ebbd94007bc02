/* See fd_watch.h. The epoll thread hands each event to the loop by rpc_loop_post(); EPOLLONESHOT
 * keeps a watch quiet until it is armed. */
#include "mapreduce/fd_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/sys.h"

struct fd_watcher {
    struct rpc_loop *loop;
    int epoll_fd;
    int stop_fd; /* eventfd: written once, to end the thread */
    pthread_t thread;
};

struct fd_watch {
    struct fd_watcher *watcher;
    int fd;
    bool writer; /* fd is a duplicate of our own: epoll knows one watch per descriptor */
    bool armed;  /* writer: registered, an event will come */
    rpc_fn ready;
    void *arg;
    rpc_fn gone; /* not NULL: it ends with the next event */
    void *gone_arg;
};

static void arm(struct fd_watch *watch)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT,
                                .data = {.ptr = watch}};
    int r = epoll_ctl(watch->watcher->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
    CHECK(r == 0);
}

static void watch_gone(struct fd_watch *watch)
{
    watch->gone(watch->gone_arg);
    free(watch);
}

static void on_event(void *arg)
{
    struct fd_watch *watch = arg;
    if (!watch->gone) {
        watch->ready(watch->arg);
    }
    if (!watch->gone) {
        arm(watch);
        return;
    }
    (void)epoll_ctl(watch->watcher->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch_gone(watch);
}

/* A writer that is not armed stands in no epoll: its end is posted in place of an event. */
static void on_writer_event(void *arg)
{
    struct fd_watch *watch = arg;
    if (watch->armed) {
        watch->armed = false;
        (void)epoll_ctl(watch->watcher->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    }
    if (!watch->gone) {
        watch->ready(watch->arg);
        return;
    }
    sys_close(&watch->fd);
    watch_gone(watch);
}

static void *run(void *arg)
{
    struct fd_watcher *w = arg;
    for (;;) {
        struct epoll_event events[32];
        int n = epoll_wait(w->epoll_fd, events, 32, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) {
                return NULL;
            }
            struct fd_watch *watch = events[i].data.ptr;
            rpc_loop_post(w->loop, watch->writer ? on_writer_event : on_event, watch);
        }
    }
}

int fd_watcher_start(struct rpc_loop *loop, struct fd_watcher **ret, struct err *e)
{
    struct fd_watcher *w = xcalloc(1, sizeof(*w));
    w->loop = loop;
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    w->stop_fd = eventfd(0, EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (w->epoll_fd < 0 || w->stop_fd < 0 ||
        epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->stop_fd, &event) < 0) {
        int r = err_errno(e, "epoll");
        sys_close(&w->epoll_fd);
        sys_close(&w->stop_fd);
        free(w);
        return r;
    }
    int failure = pthread_create(&w->thread, NULL, run, w);
    CHECK(failure == 0);
    *ret = w;
    return 0;
}

void fd_watcher_stop(struct fd_watcher *w)
{
    if (!w) {
        return;
    }
    uint64_t one = 1;
    ssize_t n = write(w->stop_fd, &one, sizeof(one));
    CHECK(n == (ssize_t)sizeof(one));
    (void)pthread_join(w->thread, NULL);
    sys_close(&w->epoll_fd);
    sys_close(&w->stop_fd);
    free(w);
}

int fd_watch_new(struct fd_watcher *w, int fd, rpc_fn ready, void *arg, struct fd_watch **ret,
                 struct err *e)
{
    struct fd_watch *watch = xcalloc(1, sizeof(*watch));
    *watch = (struct fd_watch){.watcher = w, .fd = fd, .ready = ready, .arg = arg};
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT,
                                .data = {.ptr = watch}};
    if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        free(watch);
        return err_errno(e, "epoll_ctl");
    }
    *ret = watch;
    return 0;
}

int fd_watch_new_writer(struct fd_watcher *w, int fd, rpc_fn ready, void *arg,
                        struct fd_watch **ret, struct err *e)
{
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0) {
        return err_errno(e, "dup");
    }
    struct fd_watch *watch = xcalloc(1, sizeof(*watch));
    *watch = (struct fd_watch){.watcher = w, .fd = own, .writer = true, .ready = ready, .arg = arg};
    *ret = watch;
    return 0;
}

void fd_watch_want(struct fd_watch *watch)
{
    CHECK(watch->writer);
    if (watch->armed || watch->gone) {
        return;
    }
    struct epoll_event event = {.events = EPOLLOUT | EPOLLONESHOT, .data = {.ptr = watch}};
    int r = epoll_ctl(watch->watcher->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event);
    CHECK(r == 0);
    watch->armed = true;
}

void fd_watch_end(struct fd_watch *watch, rpc_fn gone, void *arg)
{
    watch->gone = gone;
    watch->gone_arg = arg;
    (void)shutdown(watch->fd, SHUT_RDWR); /* makes an armed watch fire */
    if (watch->writer && !watch->armed) {
        rpc_loop_post(watch->watcher->loop, on_writer_event, watch);
    }
}
