/* The only place where time is read. Any thread. Pure cores do not come here: they are told `now`
 * in their events.
 *
 * Monotonic time measures and times out; it never jumps, has no meaning between machines or
 * restarts, and stands still while the machine sleeps. Wall time is for people (mtime, log lines)
 * and decides nothing. A test or simulator installs its own clock before it starts threads. */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "common/ids.h" /* time_ms */

struct clock {
    uint64_t (*mono_us)(void *context); /* never decreases */
    uint64_t (*wall_ms)(void *context); /* since 1970, UTC */
    void *context;
};

#define CLOCK_NEVER UINT64_MAX /* a deadline that does not come */

time_ms clock_mono_ms(void);
uint64_t clock_mono_us(void);
time_ms clock_wall_ms(void);
/* As monotonic time, but it goes on while the machine sleeps: for what another machine counts down
 * meanwhile. With an installed clock its monotonic time. */
time_ms clock_boot_ms(void);

/* CPU time that this process has used so far, all threads; for tests and benchmarks. Always the
 * real one. */
uint64_t clock_cpu_us(void);

/* Milliseconds from now to the deadline: 0 when it has passed, CLOCK_NEVER for CLOCK_NEVER. */
time_ms clock_until_ms(time_ms deadline_mono_ms);

/* Waits in real time, also when interrupted by signals. For commands and tests; daemons wait on
 * their mailbox. */
void clock_sleep_ms(time_ms duration_ms);

enum { CLOCK_TEXT_BYTES = 32 };
/* "2026-03-01T12:34:56.789Z" into text. Returns text. */
char *clock_format_utc(time_ms wall_ms, char text[CLOCK_TEXT_BYTES]);

/* Replaces the process's clock, which the caller keeps alive; NULL brings the real one back. */
void clock_install(const struct clock *replacement);
/* The real one, for a replacement that goes by it. */
const struct clock *clock_real(void);

#endif
