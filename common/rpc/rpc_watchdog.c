/* Each beat is a datagram that does not wait: a systemd that is stuck must not stop us in turn. */
#include "common/rpc/rpc_watchdog.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/daemon.h"
#include "common/log.h"

static void beat(void *arg)
{
    struct rpc_watchdog *w = arg;
    struct err e = ERR_INIT;
    bool heard = daemon_notify("WATCHDOG=1", DAEMON_NOTIFY_NOW, &e) == 0;
    if (!heard && !w->complained) {
        log_warning("watchdog", "systemd does not hear that we are alive error=\"%s\"",
                    err_message(&e));
    }
    w->complained = !heard;
    rpc_timer_set(w->loop, &w->timer, daemon_watchdog_next(w->every_ms, clock_mono_ms(), heard),
                  beat, w);
}

void rpc_watchdog_start(struct rpc_watchdog *w, struct rpc_loop *loop)
{
    struct err e = ERR_INIT;
    *w = (struct rpc_watchdog){.loop = loop};
    if (daemon_watchdog_every(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"), (uint64_t)getpid(),
                              &w->every_ms, &e) < 0) {
        log_warning("watchdog", "not watched by systemd error=\"%s\"", err_message(&e));
    }
    if (w->every_ms > 0) {
        beat(w);
    }
}

void rpc_watchdog_stop(struct rpc_watchdog *w)
{
    if (w->every_ms > 0) {
        rpc_timer_cancel(w->loop, &w->timer);
        w->every_ms = 0;
    }
}
