/* See session.h. */
#include "client/session.h"

#include <string.h>

#include "common/check.h"

static uint64_t *word_of(struct session *s, uint64_t seq)
{
    return &s->settled[seq % SESSION_WINDOW_COUNT_MAX / 64];
}

static uint64_t bit_of(uint64_t seq)
{
    return 1ULL << (seq % 64);
}

void session_init(struct session *s, session_id id)
{
    CHECK(id != 0);
    memset(s, 0, sizeof(*s));
    s->id = id;
    s->next = 1;
    s->acked_below = 1;
}

bool session_begin(struct session *s, unsigned count, struct session_ticket *ret)
{
    if (s->next - s->acked_below + count > SESSION_WINDOW_COUNT_MAX) {
        return false;
    }
    *ret = (struct session_ticket){s->id, s->next, s->acked_below};
    s->users += count;
    s->next += count;
    return true;
}

void session_settle(struct session *s, uint64_t seq)
{
    CHECK(seq >= s->acked_below);
    CHECK(seq < s->next);
    CHECK(!(*word_of(s, seq) & bit_of(seq)));
    *word_of(s, seq) |= bit_of(seq);
    while (s->acked_below < s->next && (*word_of(s, s->acked_below) & bit_of(s->acked_below))) {
        *word_of(s, s->acked_below) &= ~bit_of(s->acked_below);
        s->acked_below++;
    }
    s->users--;
}
