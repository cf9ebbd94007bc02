#include "common/clock.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "common/check.h"
#include "common/macros.h"

static uint64_t read_us(clockid_t id)
{
    struct timespec t;
    int r = clock_gettime(id, &t);
    CHECK(r == 0);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t system_mono_us(void *context)
{
    (void)context;
    return read_us(CLOCK_MONOTONIC);
}

static uint64_t system_wall_ms(void *context)
{
    (void)context;
    return read_us(CLOCK_REALTIME) / 1000;
}

static const struct clock system_clock = {system_mono_us, system_wall_ms, NULL};
static const struct clock *current = &system_clock;

const struct clock *clock_real(void)
{
    return &system_clock;
}

void clock_install(const struct clock *replacement)
{
    current = replacement != NULL ? replacement : &system_clock;
}

uint64_t clock_mono_us(void)
{
    return current->mono_us(current->context);
}

time_ms clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

time_ms clock_wall_ms(void)
{
    return current->wall_ms(current->context);
}

time_ms clock_boot_ms(void)
{
    return current == &system_clock ? read_us(CLOCK_BOOTTIME) / 1000 : clock_mono_ms();
}

uint64_t clock_cpu_us(void)
{
    return read_us(CLOCK_PROCESS_CPUTIME_ID);
}

time_ms clock_until_ms(time_ms deadline_mono_ms)
{
    if (deadline_mono_ms == CLOCK_NEVER) {
        return CLOCK_NEVER;
    }
    time_ms now = clock_mono_ms();
    return deadline_mono_ms > now ? deadline_mono_ms - now : 0;
}

void clock_sleep_ms(time_ms duration_ms)
{
    struct timespec left = {(time_t)(duration_ms / 1000), (long)(duration_ms % 1000) * 1000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {
    }
}

/* Years of four digits only: what a damaged or hostile time says is shown as the last such moment.
 */
char *clock_format_utc(time_ms wall_ms, char text[CLOCK_TEXT_BYTES])
{
    static const time_ms year_9999_ends = 253402300799999;
    time_ms shown = MIN(wall_ms, year_9999_ends);
    time_t seconds = (time_t)(shown / 1000);
    struct tm utc;
    struct tm *converted = gmtime_r(&seconds, &utc);
    CHECK(converted != NULL);
    size_t length = strftime(text, CLOCK_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(text + length, CLOCK_TEXT_BYTES - length, ".%03uZ", (unsigned)(shown % 1000));
    return text;
}
