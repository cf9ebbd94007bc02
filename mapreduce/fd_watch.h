/* Tells a loop's thread that a descriptor can be read, or written: gRPC's completion queue knows
 * only its own sockets. One thread waits in epoll and posts; it touches nothing else. Each watch
 * fires once and is armed again only after that, on the loop's thread, so at most one event of a
 * watch is under way, and a watch that ends can be freed by its last event. */
#ifndef MAPREDUCE_FD_WATCH_H
#define MAPREDUCE_FD_WATCH_H

#include "common/err.h"
#include "common/rpc/rpc.h"

struct fd_watcher; /* the thread */
struct fd_watch;   /* one descriptor */

int fd_watcher_start(struct rpc_loop *loop, struct fd_watcher **ret, struct err *e) MUST_CHECK;
/* Every watch has ended. Joins the thread. Accepts NULL. */
void fd_watcher_stop(struct fd_watcher *w);

/* Calls ready(arg) on the loop's thread whenever fd can be read, has an error or was hung up, again
 * and again until fd_watch_end(). fd is a socket; it stays the caller's. Loop's thread. */
int fd_watch_new(struct fd_watcher *w, int fd, rpc_fn ready, void *arg, struct fd_watch **ret,
                 struct err *e) MUST_CHECK;

/* A watch for room to write: calls ready(arg) once after each fd_watch_want(), when fd takes bytes
 * again or is broken. Beside a watch that reads, on the same socket. Loop's thread. */
int fd_watch_new_writer(struct fd_watcher *w, int fd, rpc_fn ready, void *arg,
                        struct fd_watch **ret, struct err *e) MUST_CHECK;
/* Asked twice before it is answered is once. */
void fd_watch_want(struct fd_watch *watch);

/* No more calls. Shuts the socket down and calls gone(arg) on the loop's thread when nothing refers
 * to the watch any more; close fd there. */
void fd_watch_end(struct fd_watch *watch, rpc_fn gone, void *arg);

#endif
