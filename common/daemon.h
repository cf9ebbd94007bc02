/* What every daemon does around its work: end on a signal, tell systemd and scripts when it is
 * ready. Called from main().
 *
 *     signals = daemon_signals_start(on_signal, server);     first, before any thread exists
 *     ... start, listen ...
 *     daemon_ready(options.ready_fd, address);
 *     ... run until on_signal made the owner drain ...
 *     daemon_stopping();  ... drain ...  daemon_signals_stop(signals);
 */
#ifndef COMMON_DAEMON_H
#define COMMON_DAEMON_H

#include "common/err.h"

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

/* How a daemon ends that cannot go on: 3 when its disk failed (ERR_IO, ERR_NO_SPACE, ERR_CORRUPT),
 * so that nothing starts it on that disk again before somebody has looked (the unit files say so):
 * after a failed flush what is read back need not be what the disk has. Else 1. */
enum { DAEMON_EXIT_FAILED = 1, DAEMON_EXIT_DISK = 3 };
int daemon_exit_status(const struct err *e);

/* One message to systemd's NOTIFY_SOCKET, such as "STATUS=waiting for quorum". Nothing happens
 * without systemd. */
int daemon_notify(const char *state, struct err *e) MUST_CHECK;

#endif
