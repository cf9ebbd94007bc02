/* See task_report.h. */
#include "mapreduce/task_report.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/parse.h"
#include "mapreduce/mr_pack.h"
#include "mapreduce/task_pipe.h"

void task_report_init(struct task_report *r, int fd, const char *attempt)
{
    *r = (struct task_report){.fd = fd, .attempt = attempt};
}

void task_report_deinit(struct task_report *r)
{
    free(r->status);
    r->status = NULL;
}

static int send_beat(struct task_report *r, const struct worker_beat *beat, struct err *e)
{
    struct buf bytes = BUF_INIT;
    struct worker_beat copy = *beat;
    struct worker_message message = {.beat = &copy};
    worker_message_pack(&message, &bytes);
    int code = task_frame_write(r->fd, TASK_BEAT, (struct span){bytes.data, bytes.length}, e);
    buf_deinit(&bytes);
    return code;
}

int task_report_progress(struct task_report *r, uint32_t permille, struct err *e)
{
    time_ms now = clock_mono_ms();
    r->permille = permille > r->permille ? permille : r->permille;
    if (now < r->next_ms) {
        return 0;
    }
    r->next_ms = now + TASK_BEAT_MS;
    struct attempt_progress progress = {
        .attempt = r->attempt, .permille = r->permille, .status = r->status ? r->status : ""};
    struct worker_beat beat = {.running = &progress, .running_count = 1};
    return send_beat(r, &beat, e);
}

void task_report_set_status(struct task_report *r, const char *text)
{
    free(r->status);
    r->status = xstrdup(text);
}

int task_report_end(struct task_report *r, const struct attempt_end *end, struct err *e)
{
    struct attempt_end copy = *end;
    struct worker_beat beat = {.ended = &copy, .ended_count = 1};
    return send_beat(r, &beat, e);
}

const char *task_text(const void *bytes, size_t length, struct arena *arena)
{
    char *text = arena_strndup(arena, bytes, length);
    bool utf8 = utf8_valid(text, length);
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        bool control = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f;
        if (control || (byte >= 0x80 && !utf8)) {
            text[i] = '?';
        }
    }
    return text;
}

const char *task_text_tail(const void *bytes, size_t length, struct arena *arena)
{
    const char *begin = bytes;
    if (length > MR_STDERR_TAIL_BYTES) {
        const char *cut = begin + length - MR_STDERR_TAIL_BYTES;
        const char *newline = memchr(cut - 1, '\n', MR_STDERR_TAIL_BYTES);
        const char *from = newline ? newline + 1 : cut;
        length -= (size_t)(from - begin);
        begin = from;
    }
    return task_text(begin, length, arena);
}

struct gathering {
    struct arena *arena;
    struct job_counters counters;
    size_t capacity;
};

static void count_one(void *arg, const char *group, const char *name, int64_t value)
{
    (void)group;
    (void)name;
    (void)value;
    ((struct gathering *)arg)->capacity++;
}

static void add_one(void *arg, const char *group, const char *name, int64_t value)
{
    struct gathering *g = arg;
    g->counters.items[g->counters.count++] = (struct job_counter){
        task_text(group, strlen(group), g->arena), task_text(name, strlen(name), g->arena), value};
}

struct job_counters task_report_counters(const struct counters *counters, struct arena *arena)
{
    struct gathering g = {arena, {NULL, 0}, 0};
    counters_visit(counters, count_one, &g);
    g.counters.items = arena_calloc(arena, (g.capacity + 1) * sizeof(g.counters.items[0]));
    counters_visit(counters, add_one, &g);
    return g.counters;
}
