/* See skip.h. */
#include "mapreduce/engine/skip.h"

#include <inttypes.h>
#include <string.h>

#include "common/macros.h"

void skip_init(struct skip *s, const struct task_skip *task, const struct task_events *events,
               bool reduce)
{
    *s = (struct skip){.task = task, .events = events, .reduce = reduce};
}

static void note_name(struct skip_note *note, struct mr_span name)
{
    size_t length = MIN(name.length, (size_t)SKIP_NAME_BYTES);
    if (length > 0) {
        memcpy(note->name, name.data, length);
    }
    note->name_length = (uint32_t)length;
}

void skip_file(struct skip *s, const char *name)
{
    s->name = mr_string(name);
    if (s->task && s->task->note) {
        note_name(s->task->note, s->name);
    }
}

static bool is_listed(struct skip *s, uint64_t ordinal)
{
    bool listed = s->next < s->task->count && s->task->ordinals[s->next] == ordinal;
    s->next += listed;
    return listed;
}

bool skip_record(struct skip *s, uint64_t offset)
{
    uint64_t ordinal = s->ordinal++;
    struct skip_note *note = s->task->note;
    if (is_listed(s, ordinal)) {
        return true;
    }
    if (note) {
        note->offset = offset;
        note->record = ordinal + 1;
    }
    return false;
}

bool skip_group(struct skip *s, struct mr_span key)
{
    uint64_t ordinal = s->ordinal++;
    struct skip_note *note = s->task->note;
    if (is_listed(s, ordinal)) {
        return true;
    }
    if (note) {
        note_name(note, key);
        note->record = ordinal + 1;
    }
    return false;
}

uint64_t skip_pause(struct skip *s)
{
    uint64_t record = 0;
    if (s->task && s->task->note) {
        record = s->task->note->record;
        s->task->note->record = 0;
    }
    return record;
}

void skip_resume(struct skip *s, uint64_t record)
{
    if (s->task && s->task->note) {
        s->task->note->record = record;
    }
}

void skip_tell(const struct task_events *events, const struct skip_place *place, uint64_t size,
               const char *why)
{
    if (!events || !events->stderr_line) {
        return;
    }
    struct buf line = BUF_INIT;
    buf_append_str(&line, "skipped: ");
    skip_place_text(place, &line);
    buf_printf(&line, ", %" PRIu64 " %s: %s", size, place->reduce ? "values" : "bytes", why);
    events->stderr_line(events->arg, line.data, line.length);
    buf_deinit(&line);
}

void skip_tell_last(const struct skip *s, uint64_t offset, struct mr_span name, uint64_t size)
{
    struct skip_place place = {
        .reduce = s->reduce, .ordinal = s->ordinal - 1, .name = name, .offset = offset};
    skip_tell(s->events, &place, size, "it has ended two attempts");
}
