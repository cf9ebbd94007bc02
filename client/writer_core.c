/* See writer_core.h. */
#include "client/writer_core.h"

#include <string.h>

#include "common/check.h"
#include "common/limits.h"
#include "common/macros.h"

void writer_check(const struct writer *w)
{
    CHECK(w->base + w->sent <= w->end || w->phase == WRITER_EMPTY);
    CHECK(w->base <= w->end);
    CHECK(w->sent <= w->chunk_bytes);
    CHECK(w->acked <= w->sent);
    CHECK(w->durable <= w->acked);
    CHECK(w->sync_sent <= w->sent);
    CHECK(w->sync_wanted <= w->end);
    CHECK(w->push_wanted <= w->end);
    CHECK((w->phase == WRITER_EMPTY) == (w->chunk.id == 0));
    CHECK(w->phase == WRITER_EMPTY || w->previous.id == 0);
    CHECK((w->previous.id == 0) == (w->previous_length == 0));
}

void writer_init(struct writer *w, uint64_t length, uint64_t chunk_bytes)
{
    CHECK(chunk_bytes > 0);
    CHECK(chunk_bytes % CHUNK_BLOCK_BYTES == 0);
    memset(w, 0, sizeof(*w));
    w->chunk_bytes = chunk_bytes;
    w->base = length;
    w->end = length;
    w->sync_wanted = length;
}

/* ---- What next ------------------------------------------------------------------------------ */

static void next_empty(const struct writer *w, struct writer_step *ret)
{
    if (w->base == w->end && !w->closing) {
        return;
    }
    ret->what = w->base < w->end ? WRITER_ALLOCATE : WRITER_CLOSE;
    ret->offset = w->base;
    ret->chunk = w->previous;
    ret->length = w->previous_length;
}

/* A message is DATA_MESSAGE_BYTES_MAX at most and ends at a block boundary of the chunk. */
static uint64_t message_end(const struct writer *w)
{
    uint64_t block = w->sent - w->sent % CHUNK_BLOCK_BYTES;
    return MIN(block + DATA_MESSAGE_BYTES_MAX, w->chunk_bytes);
}

/* The chunk may be sealed once it is sent up to `to`. One that fills while the file stays open
 * waits for a first acknowledgement: the seal shows the whole of it to readers (chain.c), and then
 * it must not be given up any more. What the last chunk of a file holds is shown by the file's
 * Close. */
static bool ends_at(const struct writer *w, uint64_t to)
{
    bool last = w->closing && w->base + to == w->end;
    return last || (to == w->chunk_bytes && w->acked > 0);
}

static void next_open(const struct writer *w, struct writer_step *ret)
{
    uint64_t have = MIN(w->end - w->base, w->chunk_bytes); /* in the chunk */
    uint64_t full = message_end(w);
    bool wants_sync = w->sync_wanted > w->base + w->sync_sent;
    bool wants_push = w->push_wanted > w->base + w->sent;
    ret->offset = w->sent;
    ret->chunk = w->chunk;
    if (have > w->sent && (have >= full || w->closing || wants_sync || wants_push)) {
        uint64_t to = MIN(have, full);
        ret->what = ends_at(w, to) ? WRITER_FINISH : WRITER_SEND;
        ret->length = to - w->sent;
        ret->sync = ret->what == WRITER_SEND && wants_sync && to == have;
    } else if (ends_at(w, w->sent)) {
        ret->what = WRITER_FINISH;
    } else if (wants_sync && have == w->sent) {
        ret->what = WRITER_SEND;
        ret->sync = true;
    }
}

void writer_next(const struct writer *w, struct writer_step *ret)
{
    memset(ret, 0, sizeof(*ret));
    switch (w->phase) {
    case WRITER_EMPTY:
        next_empty(w, ret);
        break;
    case WRITER_OPEN:
        next_open(w, ret);
        break;
    case WRITER_FINISHING:
        break;
    case WRITER_BROKEN:
        ret->what = w->acked > 0 ? WRITER_RECOVER : WRITER_ABANDON;
        ret->chunk = w->chunk;
        ret->length = w->acked;
        break;
    }
}

/* ---- From the user -------------------------------------------------------------------------- */

void writer_took(struct writer *w, uint64_t bytes)
{
    CHECK(!w->closing);
    w->end += bytes;
}

void writer_sync(struct writer *w)
{
    w->sync_wanted = w->end;
}

void writer_push(struct writer *w)
{
    w->push_wanted = w->end;
}

void writer_close(struct writer *w)
{
    w->closing = true;
}

bool writer_synced(const struct writer *w)
{
    return w->base + w->durable >= w->sync_wanted;
}

uint64_t writer_kept_from(const struct writer *w)
{
    return w->base + w->acked;
}

uint64_t writer_in_flight(const struct writer *w)
{
    return w->end - writer_kept_from(w);
}

/* ---- What became of a step ------------------------------------------------------------------ */

static void chunk_over(struct writer *w)
{
    w->phase = WRITER_EMPTY;
    w->chunk = (struct chunk_ref){0, 0};
    w->sent = w->acked = w->durable = w->sync_sent = 0;
}

void writer_allocated(struct writer *w, struct chunk_ref chunk)
{
    CHECK(w->phase == WRITER_EMPTY);
    CHECK(chunk.id != 0);
    w->phase = WRITER_OPEN;
    w->chunk = chunk;
    w->previous = (struct chunk_ref){0, 0};
    w->previous_length = 0;
}

void writer_sent(struct writer *w, const struct writer_step *step)
{
    CHECK(w->phase == WRITER_OPEN);
    CHECK(step->offset == w->sent);
    w->sent += step->length;
    if (step->what == WRITER_FINISH) {
        w->phase = WRITER_FINISHING;
        return;
    }
    if (step->sync) {
        w->sync_sent = w->sent;
    }
}

int writer_acked(struct writer *w, uint64_t written, uint64_t durable, bool sealed)
{
    if (w->phase != WRITER_OPEN && w->phase != WRITER_FINISHING) {
        return 0; /* of a stream that is over */
    }
    if (written > w->sent || durable > written ||
        (sealed && (w->phase != WRITER_FINISHING || durable != w->sent))) {
        return ERR_INVALID;
    }
    w->acked = MAX(w->acked, written);
    w->durable = MAX(w->durable, durable);
    if (sealed) {
        w->previous = w->chunk;
        w->previous_length = w->sent;
        w->base += w->sent;
        chunk_over(w);
    }
    return 0;
}

void writer_failed(struct writer *w)
{
    if (w->phase == WRITER_OPEN || w->phase == WRITER_FINISHING) {
        w->phase = WRITER_BROKEN;
    }
}

int writer_recovered(struct writer *w, uint64_t length)
{
    CHECK(w->phase == WRITER_BROKEN);
    if (length < w->acked || length > w->sent) {
        return ERR_CORRUPT;
    }
    w->base += length;
    chunk_over(w);
    return 0;
}

void writer_abandoned(struct writer *w)
{
    CHECK(w->phase == WRITER_BROKEN);
    CHECK(w->acked == 0);
    chunk_over(w);
}
