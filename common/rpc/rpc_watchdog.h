/* systemd's watchdog, fed by a loop's own timer: it beats while the loop's thread goes round and
 * handles its events, and nobody else beats for it, so a thread that hangs is found. For the owner
 * of a daemon; loop's thread.
 *
 * A hung disk is not found by it, and must not be: owners leave their disks to other threads, and
 * what such a disk means is decided by those who know (a leader steps down, a writer goes to other
 * servers). A new process would only wait for the same disk. */
#ifndef COMMON_RPC_RPC_WATCHDOG_H
#define COMMON_RPC_RPC_WATCHDOG_H

#include <stdbool.h>

#include "common/ids.h" /* time_ms */
#include "common/rpc/rpc.h"

struct rpc_watchdog {
    struct rpc_loop *loop;
    struct rpc_timer timer;
    time_ms every_ms; /* between two beats; 0: systemd does not ask for any */
    bool complained;  /* the latest beat was not heard, and the log has it */
};

/* Beats now and from now on. systemd watches from the first beat on, also before READY=1: start it
 * when the loop is about to go round, and not before something that blocks. Does nothing when
 * systemd does not ask for it. */
void rpc_watchdog_start(struct rpc_watchdog *w, struct rpc_loop *loop);

/* No beat any more: when the daemon drains, before it says so (a beat after STOPPING=1 would make
 * systemd watch again), and before the loop is freed. Accepts a zeroed one, and twice. */
void rpc_watchdog_stop(struct rpc_watchdog *w);

#endif
