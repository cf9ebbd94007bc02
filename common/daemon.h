/* What every daemon does around its work: end on a signal, tell systemd and scripts when it is
 * ready. Called from main().
 *
 *     signals = daemon_signals_start(on_signal, server);     first, before any thread exists
 *     ... start, listen ...
 *     daemon_ready(options.ready_fd, address);
 *     ... run, with rpc_watchdog_start() on the owner's loop, until on_signal made the owner drain
 * ... rpc_watchdog_stop();  daemon_stopping();  ... drain ...  daemon_signals_stop(signals);
 */
#ifndef COMMON_DAEMON_H
#define COMMON_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/ids.h" /* time_ms */

struct daemon_signals;

/* Runs on the signal thread at each SIGTERM or SIGINT; normally it wakes the owner, which drains.
 * count is 1 the first time: an impatient second signal may end the process at once. */
typedef void (*daemon_signal_fn)(void *context, int signal_number, int count);

/* Blocks SIGTERM and SIGINT in this and all later threads, ignores SIGPIPE, and starts the signal
 * thread. Aborts if the system gives no thread. Children must unblock: daemon_signals_child() right
 * after fork. */
struct daemon_signals *daemon_signals_start(daemon_signal_fn on_signal, void *context);
void daemon_signals_stop(struct daemon_signals *s); /* joins the thread; accepts NULL */

/* In a forked child before exec: signal mask and dispositions as a fresh program expects them.
 * Async-signal-safe. */
void daemon_signals_child(void);

/* Tells whoever waits that we serve at `address`: writes "ready <address>\n" to ready_fd and closes
 * it (-1: none), and READY=1 to systemd. */
int daemon_ready(int ready_fd, const char *address, struct err *e) MUST_CHECK;
void daemon_stopping(void); /* STOPPING=1 */

/* One line for people, which `systemctl status` shows until the next one: what a start waits for.
 * Any thread; never waits. daemon_ready() and daemon_stopping() say their own. */
void daemon_status(const char *text);

/* How a daemon ends that cannot go on: 3 when its disk failed (ERR_IO, ERR_NO_SPACE, ERR_CORRUPT),
 * so that nothing starts it on that disk again before somebody has looked (the unit files say so):
 * after a failed flush what is read back need not be what the disk has. Else 1. */
enum { DAEMON_EXIT_FAILED = 1, DAEMON_EXIT_DISK = 3 };
int daemon_exit_status(const struct err *e);

/* ---- systemd's protocol ---- */

enum daemon_notify_how {
    DAEMON_NOTIFY_SURELY, /* waits for room, some seconds: what systemd should hear */
    DAEMON_NOTIFY_NOW,    /* ERR_BUSY when there is none at the moment: what is said again anyhow */
};

/* One message to systemd's NOTIFY_SOCKET, such as "STATUS=waiting for quorum". Nothing happens
 * without systemd. Any thread. */
int daemon_notify(const char *state, enum daemon_notify_how how, struct err *e) MUST_CHECK;

/* In a forked child that is none of the daemon's: what it starts shall not think that systemd
 * listens to it, or waits for its beats. Changes the environment: with one thread only. */
void daemon_notify_child(void);

/* ---- systemd's watchdog (WatchdogSec= in the units): who says nothing for so long is ended and
 * started anew. The beats themselves: common/rpc/rpc_watchdog.h. ---- */

/* How often process `self` has to say something: half of the time that systemd allows in
 * $WATCHDOG_USEC, given here, NULL if not set. 0: nobody waits for that, for $WATCHDOG_PID names
 * another process, say. ERR_INVALID: no numbers. Pure. */
int daemon_watchdog_every(const char *usec, const char *pid, uint64_t self, time_ms *ret_every_ms,
                          struct err *e) MUST_CHECK;

/* When the next beat is due after one at `now`. One that was not heard is said again soon, several
 * times before systemd loses patience. Pure. */
time_ms daemon_watchdog_next(time_ms every_ms, time_ms now, bool heard);

#endif
