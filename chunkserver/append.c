/* See append.h for the rules. Invariants between events (append_check):
 *   acked <= own.written <= accepted <= chunk_bytes
 *   own.durable <= own.written, sealed => durable == written == accepted
 *   what was acknowledged <= min(own, down), and never falls
 * The CRC of a message's first block continues the value that the writer gave for the message
 * before; it is used as the seed before that message was verified, so that all messages can be
 * verified independently: if the earlier one turns out wrong the stream fails anyway, and own
 * progress is only reported in order. */
#include "chunkserver/append.h"

#include <inttypes.h>
#include <string.h>

#include "common/check.h"
#include "common/limits.h"
#include "common/macros.h"

static bool is_last(const struct append *a)
{
    return a->start.next == 0;
}

bool append_is_over(const struct append *a)
{
    return a->phase == APPEND_SEALED || a->phase == APPEND_FAILED;
}

static bool progress_owed(const struct append *a, const struct append_progress *p)
{
    return p->written < a->accepted || p->durable < a->sync_wanted ||
           (a->phase == APPEND_FINISHING && !p->sealed);
}

static bool own_owes(const struct append *a)
{
    return progress_owed(a, &a->own);
}

static bool down_owes(const struct append *a)
{
    return !is_last(a) && progress_owed(a, &a->down);
}

void append_init(struct append *a, const struct append_start *start)
{
    CHECK(start->length <= start->chunk_bytes);
    CHECK(start->durable <= start->length);
    CHECK(start->acked <= start->length);
    *a = (struct append){
        .phase = APPEND_STREAMING,
        .start = *start,
        .accepted = start->length,
        .tail_crc = start->tail_crc,
        .acked = start->acked,
        .own = {.written = start->length, .durable = start->durable},
        .sent_ms = start->now,
        .own_since_ms = start->now,
        .down_since_ms = start->now,
        .tick_ms = start->now,
    };
}

/* What upstream may be told: the smaller of both sides. */
static struct append_ack joint_progress(const struct append *a)
{
    struct append_ack joint = {
        .written = a->own.written, .durable = a->own.durable, .sealed = a->own.sealed};
    if (!is_last(a)) {
        joint.written = MIN(joint.written, a->down.written);
        joint.durable = MIN(joint.durable, a->down.durable);
        joint.sealed = joint.sealed && a->down.sealed;
    }
    return joint;
}

static void send_ack(struct append *a, struct append_ack ack, time_ms now,
                     struct append_update *ret)
{
    a->sent = ack;
    a->sent_ms = now;
    ret->ack = true;
    ret->reply = ack;
}

static void fail(struct append *a, int code, server_id blamed, struct append_update *ret)
{
    CHECK(!append_is_over(a));
    CHECK(code < 0);
    a->phase = APPEND_FAILED;
    a->blamed = blamed;
    struct append_ack ack = joint_progress(a);
    ack.sealed = false;
    ack.failure = code;
    ack.blamed = blamed;
    send_ack(a, ack, a->sent_ms, ret);
    ret->end = true;
}

/* Sends what is new, and ends the stream when everything is sealed. */
static void acknowledge(struct append *a, time_ms now, struct append_update *ret)
{
    struct append_ack joint = joint_progress(a);
    if (joint.written == a->sent.written && joint.durable == a->sent.durable &&
        joint.sealed == a->sent.sealed) {
        return;
    }
    send_ack(a, joint, now, ret);
    if (joint.sealed) {
        a->phase = APPEND_SEALED;
        ret->end = true;
    }
}

static uint64_t blocks_touched(uint64_t offset, uint64_t length)
{
    if (length == 0) {
        return 0;
    }
    return (offset + length - 1) / CHUNK_BLOCK_BYTES - offset / CHUNK_BLOCK_BYTES + 1;
}

/* 0, or the reason why the writer's message is refused, in a->failure. */
static int message_check(struct append *a, const struct append_message *m)
{
    struct err *e = &a->failure;
    uint64_t limit = a->start.chunk_bytes;
    if (m->offset > limit || m->length > limit - m->offset) {
        return err_set(e, ERR_INVALID, "append to chunk %" PRIu64 " beyond its %" PRIu64 " bytes",
                       a->start.chunk.id, limit);
    }
    if (m->offset > a->accepted) {
        return err_set(e, ERR_INVALID,
                       "append to chunk %" PRIu64 " at %" PRIu64 " leaves a gap after %" PRIu64,
                       a->start.chunk.id, m->offset, a->accepted);
    }
    if (m->length > DATA_MESSAGE_BYTES_MAX ||
        m->crc_count != blocks_touched(m->offset, m->length)) {
        return err_set(e, ERR_INVALID,
                       "append to chunk %" PRIu64 ": %" PRIu64 " bytes at %" PRIu64
                       " with %zu checksums",
                       a->start.chunk.id, m->length, m->offset, m->crc_count);
    }
    if (m->acked > a->own.written) {
        return err_set(e, ERR_INVALID,
                       "append to chunk %" PRIu64 ": watermark %" PRIu64 " beyond %" PRIu64,
                       a->start.chunk.id, m->acked, a->own.written);
    }
    if (m->finish && m->offset + m->length < a->accepted) {
        return err_set(e, ERR_INVALID,
                       "finish of chunk %" PRIu64 " at %" PRIu64 ", it has %" PRIu64 " bytes",
                       a->start.chunk.id, m->offset + m->length, a->accepted);
    }
    if (a->phase == APPEND_FINISHING && m->offset + m->length > a->accepted) {
        return err_set(e, ERR_INVALID, "append to chunk %" PRIu64 " after its finish",
                       a->start.chunk.id);
    }
    return 0;
}

static void accept_data(struct append *a, const struct append_message *m, struct append_update *ret)
{
    uint64_t end = m->offset + m->length;
    if (end <= a->accepted) {
        return; /* all of it is a retry */
    }
    uint64_t skip = a->accepted - m->offset;
    uint64_t first_block = m->offset / CHUNK_BLOCK_BYTES;
    ret->write = true;
    ret->todo = (struct append_write){
        .offset = a->accepted,
        .skip = skip,
        .length = m->length - skip,
        .seed = a->accepted % CHUNK_BLOCK_BYTES == 0 ? 0 : a->tail_crc,
        .crc_first = (size_t)(a->accepted / CHUNK_BLOCK_BYTES - first_block),
    };
    a->accepted = end;
    a->tail_crc = end % CHUNK_BLOCK_BYTES == 0 ? 0 : m->crcs[m->crc_count - 1];
}

void append_message(struct append *a, const struct append_message *m, time_ms now,
                    struct append_update *ret)
{
    *ret = (struct append_update){0};
    if (append_is_over(a)) {
        return;
    }
    int r = message_check(a, m);
    if (r < 0) {
        fail(a, r, 0, ret);
        return;
    }
    bool owned = own_owes(a);
    bool down_owed = down_owes(a);
    accept_data(a, m, ret);
    if (m->acked > a->acked) {
        a->acked = m->acked;
        ret->watermark = true;
    }
    if (m->sync && a->accepted > a->sync_wanted) {
        a->sync_wanted = a->accepted;
        ret->sync = a->own.durable < a->accepted;
    }
    if (m->finish && a->phase == APPEND_STREAMING) {
        a->phase = APPEND_FINISHING;
        ret->seal = true;
    }
    ret->forward = !is_last(a);
    if (!owned) {
        a->own_since_ms = now;
    }
    if (!down_owed) {
        a->down_since_ms = now;
    }
}

void append_own_done(struct append *a, struct append_progress own, time_ms now,
                     struct append_update *ret)
{
    *ret = (struct append_update){0};
    CHECK(own.written >= a->own.written);
    CHECK(own.written <= a->accepted);
    CHECK(own.durable <= own.written);
    CHECK(!own.sealed || own.durable == own.written);
    a->own.written = own.written;
    a->own.durable = MAX(own.durable, a->own.durable);
    a->own.sealed = own.sealed;
    a->own_since_ms = now;
    if (append_is_over(a)) {
        return;
    }
    if (a->held_failure != 0 && own.written == a->accepted) {
        fail(a, a->held_failure, a->held_blamed, ret);
        return;
    }
    acknowledge(a, now, ret);
}

void append_own_failed(struct append *a, const struct err *why, time_ms now,
                       struct append_update *ret)
{
    *ret = (struct append_update){0};
    (void)now;
    if (append_is_over(a)) {
        return;
    }
    a->failure = *why;
    /* Bytes that differ at the first replica came wrong from the writer. At a later one the hop
     * before decides: it passes our word on only if its own bytes were right. */
    bool writers_fault = why->code == ERR_CORRUPT && a->start.first;
    fail(a, why->code, writers_fault ? 0 : a->start.self, ret);
}

static void down_failed(struct append *a, const struct append_ack *ack, const char *text,
                        struct append_update *ret)
{
    const char *what = text != NULL && text[0] != '\0' ? text : err_text(ack->failure);
    (void)err_set(&a->failure, ack->failure, "%s", what);
    if (ack->failure == ERR_CORRUPT && own_owes(a)) {
        a->held_failure = ack->failure;
        a->held_blamed = ack->blamed;
        return;
    }
    fail(a, ack->failure, ack->blamed, ret);
}

void append_down_ack(struct append *a, const struct append_ack *ack, const char *text, time_ms now,
                     struct append_update *ret)
{
    *ret = (struct append_update){0};
    if (append_is_over(a) || a->held_failure != 0) {
        return;
    }
    a->down_since_ms = now;
    bool beyond = ack->written > a->accepted || ack->durable > ack->written ||
                  (ack->sealed && (a->phase != APPEND_FINISHING || ack->durable != a->accepted));
    if (beyond) {
        (void)err_set(&a->failure, ERR_INVALID,
                      "server %" PRIu64 " acknowledged more than it was sent of chunk %" PRIu64,
                      a->start.next, a->start.chunk.id);
        fail(a, ERR_INVALID, a->start.next, ret);
        return;
    }
    a->down.written = MAX(a->down.written, ack->written);
    a->down.durable = MAX(a->down.durable, ack->durable);
    a->down.sealed = a->down.sealed || ack->sealed;
    if (ack->failure != 0) {
        down_failed(a, ack, text, ret);
        return;
    }
    acknowledge(a, now, ret);
}

void append_down_broken(struct append *a, const char *text, time_ms now, struct append_update *ret)
{
    *ret = (struct append_update){0};
    (void)now;
    if (append_is_over(a) || a->held_failure != 0 || a->down.sealed) {
        return;
    }
    (void)err_set(&a->failure, ERR_UNAVAILABLE, "server %" PRIu64 ": %s", a->start.next, text);
    fail(a, ERR_UNAVAILABLE, a->start.next, ret);
}

void append_stop(struct append *a, int code, const char *text, struct append_update *ret)
{
    *ret = (struct append_update){0};
    if (append_is_over(a)) {
        return;
    }
    (void)err_set(&a->failure, code, "chunk %" PRIu64 ": %s", a->start.chunk.id, text);
    fail(a, code, 0, ret);
}

void append_tick(struct append *a, time_ms now, struct append_update *ret)
{
    *ret = (struct append_update){0};
    if (append_is_over(a)) {
        return;
    }
    bool was_stopped = now - a->tick_ms > APPEND_STALL_MS;
    a->tick_ms = now;
    if (was_stopped) {
        a->own_since_ms = now;
        a->down_since_ms = now;
    }
    if (own_owes(a) && now - a->own_since_ms >= APPEND_DISK_HUNG_MS) {
        (void)err_set(&a->failure, ERR_TIMEOUT,
                      "server %" PRIu64 ": the disk hangs, chunk %" PRIu64, a->start.self,
                      a->start.chunk.id);
        fail(a, ERR_TIMEOUT, a->start.self, ret);
        return;
    }
    if (down_owes(a) && a->held_failure == 0 && now - a->down_since_ms >= HOP_SILENT_MS) {
        (void)err_set(&a->failure, ERR_TIMEOUT,
                      "server %" PRIu64 " is silent and owes chunk %" PRIu64, a->start.next,
                      a->start.chunk.id);
        fail(a, ERR_TIMEOUT, a->start.next, ret);
        return;
    }
    if ((own_owes(a) || down_owes(a)) && now - a->sent_ms >= APPEND_ALIVE_MS) {
        send_ack(a, a->sent, now, ret);
    }
}

void append_check(const struct append *a)
{
    CHECK(a->acked <= a->own.written);
    CHECK(a->own.durable <= a->own.written);
    CHECK(a->own.written <= a->accepted);
    CHECK(a->accepted <= a->start.chunk_bytes);
    CHECK(!a->own.sealed || a->own.durable == a->accepted);
    CHECK(a->sent.written <= a->own.written);
    CHECK(a->sent.durable <= a->own.durable);
    CHECK(is_last(a) || a->sent.written <= a->down.written);
    CHECK(is_last(a) || a->sent.durable <= a->down.durable);
    CHECK(a->phase != APPEND_SEALED || (a->own.sealed && (is_last(a) || a->down.sealed)));
    CHECK((a->phase == APPEND_FAILED) == (a->sent.failure != 0));
}
