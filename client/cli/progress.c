/* See progress.h. */
#include "client/cli/progress.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/macros.h"
#include "common/parse.h"

enum { FIRST_MS = 1000, EVERY_MS = 200, BAR_CHARS = 20 };

void progress_begin(struct progress *p, const char *verb, bool on, uint64_t total)
{
    *p = (struct progress){.verb = verb, .on = on, .total = total, .began_ms = clock_mono_ms()};
    p->next_ms = p->began_ms + FIRST_MS;
}

double progress_seconds(const struct progress *p)
{
    return (double)(clock_mono_ms() - p->began_ms) / 1000.0;
}

void progress_format(const struct progress *p, uint64_t now_ms, char text[160])
{
    char done[FORMAT_TEXT_BYTES], total[FORMAT_TEXT_BYTES], rate[FORMAT_TEXT_BYTES];
    char eta[FORMAT_TEXT_BYTES], bar[BAR_CHARS + 1];
    uint64_t ms = MAX(now_ms - p->began_ms, 1U);
    uint64_t per_second = (uint64_t)((double)p->done * 1000.0 / (double)ms);
    format_bytes(p->done, done);
    format_bytes(per_second, rate);
    if (p->total == 0) {
        (void)snprintf(text, 160, "%s  %s  %s/s", p->verb, done, rate);
        return;
    }
    uint64_t at = MIN(p->done, p->total);
    size_t filled = (size_t)((double)at / (double)p->total * BAR_CHARS);
    memset(bar, '.', BAR_CHARS);
    memset(bar, '#', filled);
    bar[BAR_CHARS] = '\0';
    uint64_t left_ms =
        per_second ? (uint64_t)((double)(p->total - at) * 1000.0 / (double)per_second) : 0;
    format_duration(left_ms - left_ms % 1000, eta);
    (void)snprintf(text, 160, "%s [%s] %3u%%  %s of %s  %s/s  ETA %s", p->verb, bar,
                   (unsigned)((double)at * 100.0 / (double)p->total), done,
                   format_bytes(p->total, total), rate, per_second ? eta : "?");
}

void progress_add(struct progress *p, uint64_t bytes)
{
    char text[160];
    p->done += bytes;
    if (!p->on) {
        return;
    }
    uint64_t now = clock_mono_ms();
    if (now < p->next_ms) {
        return;
    }
    p->next_ms = now + EVERY_MS;
    p->shown = true;
    progress_format(p, now, text);
    (void)fprintf(stderr, "\r\033[K%s", text);
    (void)fflush(stderr);
}

void progress_end(struct progress *p)
{
    if (p->shown) {
        (void)fputs("\r\033[K", stderr);
        (void)fflush(stderr);
        p->shown = false;
    }
}
