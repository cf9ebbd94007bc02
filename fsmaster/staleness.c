/* See staleness.h. */
#include "fsmaster/staleness.h"

#include "common/check.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/macros.h"

void staleness_init(struct staleness *s, log_index applied)
{
    *s = (struct staleness){.applied = applied};
    list_init(&s->waiting);
    list_init(&s->decided);
}

static bool is_reached(const struct staleness *s, log_index index)
{
    return index > 0 && index <= s->applied;
}

static bool may_answer(const struct staleness *s, const struct stale_read *read)
{
    bool young = s->held.index > 0 && s->held.asked_ms >= read->since_ms;
    return (young || is_reached(s, read->index)) && read->at_least <= s->applied;
}

static void decide(struct staleness *s, struct stale_read *read, int code)
{
    list_remove(&read->link);
    read->code = code;
    list_push_back(&s->decided, &read->link);
}

/* Of two that are reached the younger one is of use. */
static void take_mark(struct staleness *s, struct staleness_mark mark)
{
    if (s->held.index == 0 || mark.asked_ms > s->held.asked_ms) {
        s->held = mark;
    }
}

/* Something has changed for those that wait. */
static void look(struct staleness *s)
{
    if (is_reached(s, s->coming.index)) {
        take_mark(s, s->coming);
        s->coming = (struct staleness_mark){0, 0};
    }
    LIST_FOR_EACH_SAFE(node, &s->waiting)
    {
        struct stale_read *read = LIST_ENTRY(node, struct stale_read, link);
        if (may_answer(s, read)) {
            decide(s, read, 0);
        }
    }
}

bool staleness_read(struct staleness *s, struct stale_read *read)
{
    read->index = 0;
    list_init(&read->link);
    if (may_answer(s, read)) {
        return true;
    }
    list_push_back(&s->waiting, &read->link);
    return false;
}

/* ---- Questions ------------------------------------------------------------------------------ */

/* A read that waits for nothing but the state has an index, or has a mark that will do. */
static bool needs_answer(const struct staleness *s, const struct stale_read *read)
{
    bool young = s->held.index > 0 && s->held.asked_ms >= read->since_ms;
    return read->index == 0 && !young;
}

bool staleness_wants(const struct staleness *s, time_ms now)
{
    if (s->asking) {
        return false;
    }
    LIST_FOR_EACH(node, &s->waiting)
    {
        if (needs_answer(s, LIST_ENTRY(node, struct stale_read, link))) {
            return true;
        }
    }
    return s->question == 0 || now >= s->asked_ms + STALENESS_IDLE_MS;
}

uint64_t staleness_ask(struct staleness *s, time_ms now)
{
    CHECK(!s->asking);
    s->asking = true;
    s->asked_ms = now;
    return ++s->question;
}

void staleness_answer(struct staleness *s, uint64_t question, log_index index)
{
    if (!s->asking || question != s->question || index == 0) {
        return;
    }
    s->asking = false;
    struct staleness_mark mark = {index, s->asked_ms};
    if (is_reached(s, index)) {
        take_mark(s, mark);
    } else if (s->coming.index == 0) {
        s->coming = mark;
    }
    LIST_FOR_EACH(node, &s->waiting)
    {
        struct stale_read *read = LIST_ENTRY(node, struct stale_read, link);
        if (read->index == 0 && s->asked_ms >= read->since_ms) {
            read->index = index;
        }
    }
    look(s);
}

void staleness_fail(struct staleness *s, uint64_t question)
{
    if (!s->asking || question != s->question) {
        return;
    }
    s->asking = false;
    LIST_FOR_EACH_SAFE(node, &s->waiting)
    {
        struct stale_read *read = LIST_ENTRY(node, struct stale_read, link);
        if (needs_answer(s, read)) {
            decide(s, read, ERR_NOT_LEADER);
        }
    }
}

/* ---- The state and the time ----------------------------------------------------------------- */

void staleness_applied(struct staleness *s, log_index index)
{
    s->applied = MAX(s->applied, index);
    look(s);
}

void staleness_tick(struct staleness *s, time_ms now)
{
    LIST_FOR_EACH_SAFE(node, &s->waiting)
    {
        struct stale_read *read = LIST_ENTRY(node, struct stale_read, link);
        if (now >= read->give_up_ms) {
            decide(s, read, ERR_NOT_LEADER);
        }
    }
}

struct stale_read *staleness_next(struct staleness *s, int *ret_code)
{
    if (list_empty(&s->decided)) {
        return NULL;
    }
    struct stale_read *read = LIST_ENTRY(list_pop_front(&s->decided), struct stale_read, link);
    *ret_code = read->code;
    return read;
}
