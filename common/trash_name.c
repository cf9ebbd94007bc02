/* See trash_name.h. */
#include "common/trash_name.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void trash_checkpoint_name(uint64_t wall_ms, char text[TRASH_CHECKPOINT_BYTES])
{
    struct tm broken;
    time_t seconds = (time_t)(wall_ms / 1000);
    text[0] = '\0';
    if (gmtime_r(&seconds, &broken)) {
        (void)snprintf(text, TRASH_CHECKPOINT_BYTES, "%02u%02u%02u%02u%02u%02u",
                       (unsigned)broken.tm_year % 100, (unsigned)broken.tm_mon % 12 + 1,
                       (unsigned)broken.tm_mday % 32, (unsigned)broken.tm_hour % 24,
                       (unsigned)broken.tm_min % 60, (unsigned)broken.tm_sec % 61);
    }
}

bool trash_checkpoint_time(const char *name, uint64_t *ret_wall_ms)
{
    struct tm broken = {0};
    if (strspn(name, "0123456789") != 12 || name[12] != '\0') {
        return false;
    }
    const char *end = strptime(name, "%y%m%d%H%M%S", &broken);
    if (!end || *end != '\0') {
        return false;
    }
    *ret_wall_ms = (uint64_t)timegm(&broken) * 1000;
    return true;
}
