/* See raft_log.h. */
#include "common/raft/raft_log.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/macros.h"

static const struct raft_slot *slot_of(const struct raft_log *l, log_index index)
{
    CHECK(raft_log_has(l, index));
    return &l->slots[l->head + (size_t)(index - l->start)];
}

static void push(struct raft_log *l, struct raft_slot slot)
{
    if (l->head + l->count == l->capacity) {
        if (l->head > l->capacity / 2) {
            memmove(l->slots, l->slots + l->head, l->count * sizeof(slot));
            l->head = 0;
        } else {
            l->capacity = l->capacity > 0 ? 2 * l->capacity : 64;
            l->slots = xreallocarray(l->slots, l->capacity, sizeof(slot));
        }
    }
    l->slots[l->head + l->count++] = slot;
}

static void begin_at(struct raft_log *l, log_index start, term_no term)
{
    l->head = 0;
    l->count = 0;
    l->start = start;
    l->durable = start;
    push(l, (struct raft_slot){.term = term});
}

void raft_log_init(struct raft_log *l, log_index start, term_no start_term)
{
    *l = (struct raft_log){0};
    begin_at(l, start, start_term);
}

void raft_log_deinit(struct raft_log *l)
{
    free(l->slots);
    *l = (struct raft_log){0};
}

/* ---- looking ---- */

log_index raft_log_last(const struct raft_log *l)
{
    return l->start + l->count - 1;
}

bool raft_log_has(const struct raft_log *l, log_index index)
{
    return index >= l->start && index - l->start < l->count;
}

term_no raft_log_term(const struct raft_log *l, log_index index)
{
    return slot_of(l, index)->term;
}

term_no raft_log_last_term(const struct raft_log *l)
{
    return raft_log_term(l, raft_log_last(l));
}

bool raft_log_matches(const struct raft_log *l, log_index index, term_no t)
{
    return raft_log_has(l, index) && raft_log_term(l, index) == t;
}

bool raft_log_is_newer(const struct raft_log *l, log_index last, term_no last_term)
{
    term_no own = raft_log_last_term(l);
    return own != last_term ? own > last_term : raft_log_last(l) > last;
}

log_index raft_log_back_up(const struct raft_log *l, log_index from, term_no term)
{
    if (from <= l->start) {
        return l->start;
    }
    /* Terms never fall along the log, so this is a binary search: [low, high) holds the answer. */
    log_index low = l->start;
    log_index high = MIN(from, raft_log_last(l)) + 1;
    while (high - low > 1) {
        log_index middle = low + (high - low) / 2;
        if (raft_log_term(l, middle) <= term) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

uint64_t raft_log_bytes(const struct raft_log *l, log_index after, log_index to)
{
    return slot_of(l, to)->end - slot_of(l, after)->end;
}

size_t raft_log_batch(const struct raft_log *l, log_index after, uint64_t bytes_max,
                      size_t count_max)
{
    size_t left = (size_t)(raft_log_last(l) - after);
    size_t most = MIN(left, count_max);
    size_t count = MIN(most, 1);
    while (count < most && raft_log_bytes(l, after, after + count + 1) <= bytes_max) {
        count++;
    }
    return count;
}

/* ---- changing ---- */

void raft_log_append(struct raft_log *l, term_no term, size_t data_length)
{
    const struct raft_slot *last = slot_of(l, raft_log_last(l));
    CHECK(term >= last->term);
    push(l, (struct raft_slot){term, last->end + data_length + RAFT_ENTRY_OVERHEAD_BYTES});
}

static struct raft_write *pending_at(struct raft_log *l, size_t i)
{
    return &l->pending[(l->pending_first + i) % RAFT_WRITE_COUNT_MAX];
}

/* Nothing that is durable, or will be by a pending write, reaches beyond `last` any more. */
static void vouch_at_most(struct raft_log *l, log_index last)
{
    l->durable = MIN(l->durable, last);
    for (size_t i = 0; i < l->pending_count; i++) {
        pending_at(l, i)->last = MIN(pending_at(l, i)->last, last);
    }
}

void raft_log_truncate(struct raft_log *l, log_index from)
{
    CHECK(from > l->start);
    CHECK(from <= raft_log_last(l) + 1);
    l->count = (size_t)(from - l->start);
    vouch_at_most(l, from - 1);
}

void raft_log_compact(struct raft_log *l, log_index index)
{
    CHECK(index >= l->start);
    CHECK(index <= l->durable);
    size_t gone = (size_t)(index - l->start);
    l->head += gone;
    l->count -= gone;
    l->start = index;
}

void raft_log_reset(struct raft_log *l, log_index index, term_no term)
{
    begin_at(l, index, term);
    vouch_at_most(l, index);
}

void raft_log_restored(struct raft_log *l)
{
    CHECK(l->seq == 0);
    l->durable = raft_log_last(l);
}

/* ---- writes ---- */

uint64_t raft_log_write(struct raft_log *l, time_ms now)
{
    l->seq++;
    if (l->pending_count < RAFT_WRITE_COUNT_MAX) {
        l->pending_count++;
        pending_at(l, l->pending_count - 1)->since_ms = now;
    } /* else the newest takes it in: it is then done only when both are, which errs safely */
    struct raft_write *newest = pending_at(l, l->pending_count - 1);
    newest->seq = l->seq;
    newest->last = raft_log_last(l);
    return l->seq;
}

bool raft_log_written(struct raft_log *l, uint64_t seq)
{
    if (seq > l->seq) {
        return false;
    }
    while (l->pending_count > 0 && pending_at(l, 0)->seq <= seq) {
        l->durable = MAX(l->durable, pending_at(l, 0)->last);
        l->pending_first = (l->pending_first + 1) % RAFT_WRITE_COUNT_MAX;
        l->pending_count--;
    }
    l->done_seq = MAX(l->done_seq, seq);
    return true;
}

bool raft_log_pending_since(const struct raft_log *l, time_ms *ret_since_ms)
{
    if (l->pending_count == 0) {
        return false;
    }
    *ret_since_ms = l->pending[l->pending_first].since_ms;
    return true;
}

void raft_log_check(const struct raft_log *l)
{
    CHECK(l->count >= 1);
    CHECK(l->durable >= l->start);
    CHECK(l->durable <= raft_log_last(l));
    CHECK(l->done_seq <= l->seq);
    for (size_t i = 1; i < l->count; i++) {
        CHECK(l->slots[l->head + i].term >= l->slots[l->head + i - 1].term);
        CHECK(l->slots[l->head + i].end > l->slots[l->head + i - 1].end);
    }
    for (size_t i = 0; i < l->pending_count; i++) {
        const struct raft_write *w = &l->pending[(l->pending_first + i) % RAFT_WRITE_COUNT_MAX];
        CHECK(w->seq > l->done_seq);
        CHECK(w->last <= raft_log_last(l));
    }
}
