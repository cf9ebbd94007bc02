/* See progress.h. */
#include "mapreduce/mr/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/parse.h"
#include "mapreduce/mr/hadoop_lines.h"
#include "mapreduce/mr_pack.h"

enum { ETA_PERMILLE_MIN = 30, ETA_AFTER_MS = 1000 }; /* before that it would be a guess */

void progress_init(struct progress *p, enum progress_style style)
{
    *p = (struct progress){.style = style,
                           .terminal = style == PROGRESS_OURS && isatty(STDERR_FILENO) == 1,
                           .shown = BUF_INIT,
                           .arena = ARENA_INIT};
}

void progress_deinit(struct progress *p)
{
    buf_deinit(&p->shown);
    arena_deinit(&p->arena);
}

time_ms progress_eta_ms(const struct job_status *s, time_ms elapsed_ms)
{
    uint32_t permille =
        s->reduces > 0 ? (s->map_permille + s->reduce_permille) / 2 : s->map_permille;
    if (permille < ETA_PERMILLE_MIN || permille >= 1000 || elapsed_ms < ETA_AFTER_MS) {
        return UINT64_MAX;
    }
    return elapsed_ms * (1000 - permille) / permille;
}

void progress_text(const struct job_status *s, time_ms eta_ms, struct buf *out)
{
    char eta[FORMAT_TEXT_BYTES];
    uint64_t tasks = s->locality.tasks_host + s->locality.tasks_rack + s->locality.tasks_remote;
    buf_printf(out, "map %" PRIu32 "%% (%" PRIu32 "/%" PRIu32 ")", s->map_permille / 10,
               s->maps_done, s->maps);
    if (s->reduces > 0) {
        buf_printf(out, "  reduce %" PRIu32 "%% (%" PRIu32 "/%" PRIu32 ")", s->reduce_permille / 10,
                   s->reduces_done, s->reduces);
    }
    buf_printf(out, "  running %" PRIu32, s->maps_running + s->reduces_running);
    if (tasks > 0) {
        buf_printf(out, "  local %" PRIu64 "%%", s->locality.tasks_host * 100 / tasks);
    }
    if (s->attempts_failed > 0) {
        buf_printf(out, "  failed %" PRIu32, s->attempts_failed);
    }
    if (eta_ms != UINT64_MAX) {
        buf_printf(out, "  %s left", format_duration(eta_ms, eta));
    } else if (s->waiting[0] != '\0') {
        buf_printf(out, "  (%s)", s->waiting);
    }
}

static void show_terminal(struct progress *p, const struct buf *text)
{
    (void)fprintf(stderr, "\r%s\033[K", text->data);
    (void)fflush(stderr);
    p->line_open = true;
}

static void show_plain(struct progress *p, const struct buf *text)
{
    bool hadoop = p->style == PROGRESS_HADOOP;
    time_ms now = clock_mono_ms();
    bool same =
        text->length == p->shown.length && memcmp(text->data, p->shown.data, text->length) == 0;
    if (now < p->plain_ms || same) {
        return;
    }
    p->plain_ms = now + (hadoop ? HADOOP_LINES_POLL_MS : PROGRESS_PLAIN_MS);
    buf_clear(&p->shown);
    buf_append(&p->shown, text->data, text->length);
    if (hadoop) {
        hadoop_lines_progress(text->data);
    } else {
        (void)fprintf(stderr, "%s\n", text->data);
    }
}

static void add_text(struct progress *p, const struct job_status *status, struct buf *text)
{
    time_ms now = clock_mono_ms();
    p->began_ms = p->began_ms > 0 ? p->began_ms : now;
    if (p->style == PROGRESS_HADOOP) {
        hadoop_lines_progress_text(status, text);
    } else {
        progress_text(status, progress_eta_ms(status, now - p->began_ms), text);
    }
}

void progress_show(void *arg, const struct job_status *status)
{
    struct progress *p = arg;
    arena_reset(&p->arena);
    p->seen = job_status_copy(status, &p->arena, &p->last, NULL) == 0;
    bool ended = job_state_ended(status->state); /* which has words of its own */
    if (p->style == PROGRESS_QUIET || status->state < JOB_STATE_RUNNING ||
        (ended && (p->style != PROGRESS_HADOOP || status->state != JOB_STATE_SUCCEEDED))) {
        return;
    }
    struct buf text = BUF_INIT;
    add_text(p, status, &text);
    p->plain_ms = ended ? 0 : p->plain_ms; /* all is done: Hadoop says so at once */
    if (p->terminal) {
        show_terminal(p, &text);
    } else {
        show_plain(p, &text);
    }
    buf_deinit(&text);
}

void progress_end(struct progress *p)
{
    if (p->line_open) {
        (void)fputc('\n', stderr);
        p->line_open = false;
    }
}
