/* The append core alone: each rule by itself, then a chain of cores over random schedules against a
 * model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "chunkserver/append.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/rng.h"

enum { BLOCK = CHUNK_BLOCK_BYTES, CHUNK_BYTES = 16 * CHUNK_BYTES_MIN };

static struct append make(server_id self, server_id next)
{
    struct append a;
    struct append_start start = {.chunk = {7, 1},
                                 .self = self,
                                 .next = next,
                                 .first = self == 1,
                                 .chunk_bytes = CHUNK_BYTES,
                                 .now = 1000};
    append_init(&a, &start);
    return a;
}

static struct append_message data(uint64_t offset, uint64_t length, const uint32_t *crcs)
{
    struct append_message m = {.offset = offset, .length = length, .crcs = crcs};
    m.crc_count = length == 0 ? 0 : (size_t)((offset + length - 1) / BLOCK - offset / BLOCK + 1);
    return m;
}

static const uint32_t crcs[20] = {11, 12, 13, 14, 15, 16};

static void test_last_replica_acks_what_it_wrote(void **state)
{
    (void)state;
    struct append a = make(3, 0);
    struct append_update u;
    struct append_message m = data(0, 100, crcs);
    append_message(&a, &m, 1000, &u);
    assert_true(u.write);
    assert_false(u.forward);
    assert_false(u.ack);
    assert_int_equal(u.todo.length, 100);
    assert_int_equal(u.todo.seed, 0);
    append_own_done(&a, (struct append_progress){.written = 100}, 1001, &u);
    assert_true(u.ack);
    assert_int_equal(u.reply.written, 100);
    assert_int_equal(u.reply.durable, 0);
    append_check(&a);
}

static void test_ack_is_the_smaller_side(void **state)
{
    (void)state;
    struct append a = make(1, 2);
    struct append_update u;
    struct append_message m = data(0, 2 * BLOCK, crcs);
    append_message(&a, &m, 1000, &u);
    assert_true(u.forward);
    struct append_ack down = {.written = BLOCK};
    append_down_ack(&a, &down, NULL, 1001, &u);
    assert_false(u.ack);
    append_own_done(&a, (struct append_progress){.written = 2 * BLOCK}, 1002, &u);
    assert_true(u.ack);
    assert_int_equal(u.reply.written, BLOCK);
    down.written = 2 * BLOCK;
    append_down_ack(&a, &down, NULL, 1003, &u);
    assert_int_equal(u.reply.written, 2 * BLOCK);
    append_check(&a);
}

static void test_running_crc_of_a_split_block(void **state)
{
    (void)state;
    struct append a = make(3, 0);
    struct append_update u;
    struct append_message m = data(0, 1000, &crcs[0]);
    append_message(&a, &m, 1000, &u);
    m = data(1000, BLOCK, &crcs[1]); /* the rest of block 0 (crc 12), a part of block 1 (crc 13) */
    append_message(&a, &m, 1000, &u);
    assert_int_equal(u.todo.seed, 11);
    assert_int_equal(u.todo.crc_first, 0);
    m = data(BLOCK + 1000, BLOCK - 1000, &crcs[3]);
    append_message(&a, &m, 1000, &u);
    assert_int_equal(u.todo.seed, 13);
    m = data(2 * BLOCK, 5, &crcs[4]);
    append_message(&a, &m, 1000, &u);
    assert_int_equal(u.todo.seed, 0);
}

static void test_retry_is_skipped_but_forwarded(void **state)
{
    (void)state;
    struct append a = make(1, 2);
    struct append_update u;
    struct append_message m = data(0, BLOCK + 10, crcs);
    append_message(&a, &m, 1000, &u);
    append_message(&a, &m, 1000, &u);
    assert_false(u.write);
    assert_true(u.forward);
    m = data(0, 2 * BLOCK, crcs);
    append_message(&a, &m, 1000, &u);
    assert_true(u.write);
    assert_int_equal(u.todo.skip, BLOCK + 10);
    assert_int_equal(u.todo.offset, BLOCK + 10);
    assert_int_equal(u.todo.length, BLOCK - 10);
    assert_int_equal(u.todo.crc_first, 1);
    assert_int_equal(u.todo.seed, 12);
    append_check(&a);
}

static void expect_refused(struct append_message m)
{
    struct append a = make(1, 2);
    struct append_update u;
    struct append_message first = data(0, 10, crcs);
    append_message(&a, &first, 1000, &u);
    append_message(&a, &m, 1000, &u);
    assert_false(u.write);
    assert_false(u.forward);
    assert_true(u.ack);
    assert_true(u.end);
    assert_int_equal(u.reply.failure, ERR_INVALID);
    assert_int_equal(u.reply.blamed, 0);
    append_check(&a);
    append_message(&a, &first, 1000, &u); /* over: nothing more comes of it */
    assert_false(u.ack);
}

static void test_writers_faults_are_refused(void **state)
{
    (void)state;
    expect_refused(data(11, 10, crcs));          /* gap */
    expect_refused(data(10, CHUNK_BYTES, crcs)); /* beyond the chunk */
    expect_refused(data(UINT64_MAX, 2, crcs));   /* overflow */
    struct append_message m = data(10, 2 * BLOCK, crcs);
    m.crc_count--;
    expect_refused(m);
    m = data(10, 0, NULL);
    m.acked = 1; /* nothing is written yet */
    expect_refused(m);
    m = data(9, 0, NULL);
    m.finish = true; /* not at the end */
    expect_refused(m);
    m = data(0, 9, crcs);
    m.finish = true; /* the same with data */
    expect_refused(m);
}

/* All that a small chunk is: one message after the open. */
static void test_finish_comes_with_the_last_bytes(void **state)
{
    (void)state;
    struct append a = make(1, 2);
    struct append_update u;
    struct append_message m = data(0, 10, crcs);
    m.finish = true;
    append_message(&a, &m, 1000, &u);
    assert_true(u.write);
    assert_true(u.seal);
    assert_true(u.forward);
    assert_int_equal(u.todo.length, 10);
    append_message(&a, &m, 1000, &u); /* a retry */
    assert_false(u.write);
    assert_false(u.seal);
    assert_false(u.end);
    struct append_ack down = {.written = 10, .durable = 10, .sealed = true};
    append_down_ack(&a, &down, NULL, 1001, &u);
    assert_false(u.ack);
    append_own_done(&a, (struct append_progress){.written = 10, .durable = 10, .sealed = true},
                    1002, &u);
    assert_true(u.end);
    assert_true(u.reply.sealed);
    assert_int_equal(u.reply.written, 10);
    append_check(&a);
}

static void test_finish_may_repeat_bytes_before_the_last(void **state)
{
    (void)state;
    struct append a = make(3, 0);
    struct append_update u;
    struct append_message m = data(0, BLOCK, crcs);
    append_message(&a, &m, 1000, &u);
    m = data(0, BLOCK + 5, crcs);
    m.finish = true;
    append_message(&a, &m, 1000, &u);
    assert_true(u.seal);
    assert_int_equal(u.todo.offset, BLOCK);
    assert_int_equal(u.todo.skip, BLOCK);
    assert_int_equal(u.todo.length, 5);
    append_check(&a);
}

static void test_finish_seals_once_all_have(void **state)
{
    (void)state;
    struct append a = make(1, 2);
    struct append_update u;
    struct append_message m = data(0, 10, crcs);
    append_message(&a, &m, 1000, &u);
    m = data(10, 0, NULL);
    m.finish = true;
    append_message(&a, &m, 1000, &u);
    assert_true(u.seal);
    assert_true(u.forward);
    append_message(&a, &m, 1000, &u); /* a retried finish */
    assert_false(u.seal);
    assert_false(u.end);
    struct append_ack down = {.written = 10, .durable = 10, .sealed = true};
    append_down_ack(&a, &down, NULL, 1001, &u);
    assert_false(u.ack);
    struct append_progress own = {.written = 10, .durable = 10, .sealed = true};
    append_own_done(&a, own, 1002, &u);
    assert_true(u.ack);
    assert_true(u.end);
    assert_true(u.reply.sealed);
    assert_int_equal(u.reply.failure, 0);
    assert_int_equal(a.phase, APPEND_SEALED);
    append_check(&a);
}

static void test_data_after_finish_is_refused(void **state)
{
    (void)state;
    struct append a = make(3, 0);
    struct append_update u;
    struct append_message m = {.finish = true};
    append_message(&a, &m, 1000, &u);
    m = data(0, 1, crcs);
    append_message(&a, &m, 1000, &u);
    assert_int_equal(u.reply.failure, ERR_INVALID);

    a = make(3, 0);
    m = data(0, 5, crcs);
    m.finish = true;
    append_message(&a, &m, 1000, &u);
    m = data(0, 6, crcs); /* another final length */
    m.finish = true;
    append_message(&a, &m, 1000, &u);
    assert_int_equal(u.reply.failure, ERR_INVALID);
}

static void test_empty_chunk_is_sealed(void **state)
{
    (void)state;
    struct append a = make(3, 0);
    struct append_update u;
    struct append_message m = {.finish = true};
    append_message(&a, &m, 1000, &u);
    assert_true(u.seal);
    append_own_done(&a, (struct append_progress){.sealed = true}, 1001, &u);
    assert_true(u.end);
    assert_true(u.reply.sealed);
}

static void test_sync_is_acknowledged_when_both_are_durable(void **state)
{
    (void)state;
    struct append a = make(1, 2);
    struct append_update u;
    struct append_message m = data(0, 10, crcs);
    m.sync = true;
    append_message(&a, &m, 1000, &u);
    assert_true(u.write);
    assert_true(u.sync);
    append_own_done(&a, (struct append_progress){.written = 10, .durable = 10}, 1001, &u);
    assert_false(u.ack);
    struct append_ack down = {.written = 10};
    append_down_ack(&a, &down, NULL, 1001, &u);
    assert_int_equal(u.reply.durable, 0);
    down.durable = 10;
    append_down_ack(&a, &down, NULL, 1001, &u);
    assert_int_equal(u.reply.durable, 10);
    append_check(&a);
}

static void test_watermark_rises_only(void **state)
{
    (void)state;
    struct append a = make(3, 0);
    struct append_update u;
    struct append_message m = data(0, 10, crcs);
    append_message(&a, &m, 1000, &u);
    append_own_done(&a, (struct append_progress){.written = 10}, 1001, &u);
    m = data(10, 0, NULL);
    m.acked = 8;
    append_message(&a, &m, 1002, &u);
    assert_true(u.watermark);
    assert_int_equal(a.acked, 8);
    m.acked = 5;
    append_message(&a, &m, 1003, &u);
    assert_false(u.watermark);
    assert_int_equal(a.acked, 8);
}

/* Blame. */

static void test_own_disk_blames_itself(void **state)
{
    (void)state;
    struct append a = make(2, 3);
    struct append_update u;
    struct err why = {ERR_NO_SPACE, "disk full"};
    append_own_failed(&a, &why, 1000, &u);
    assert_true(u.end);
    assert_int_equal(u.reply.failure, ERR_NO_SPACE);
    assert_int_equal(u.reply.blamed, 2);
    assert_string_equal(a.failure.msg, "disk full");
}

static void test_broken_connection_blames_the_next(void **state)
{
    (void)state;
    struct append a = make(1, 2);
    struct append_update u;
    append_down_broken(&a, "connection refused", 1000, &u);
    assert_int_equal(u.reply.failure, ERR_UNAVAILABLE);
    assert_int_equal(u.reply.blamed, 2);
}

static void test_names_from_downstream_are_passed_on(void **state)
{
    (void)state;
    struct append a = make(1, 2);
    struct append_update u;
    struct append_ack down = {.failure = ERR_TIMEOUT, .blamed = 3};
    append_down_ack(&a, &down, "server 3 is silent", 1000, &u);
    assert_int_equal(u.reply.failure, ERR_TIMEOUT);
    assert_int_equal(u.reply.blamed, 3);
    assert_string_equal(a.failure.msg, "server 3 is silent");
}

static void test_corruption_is_the_writers_if_the_first_saw_it_too(void **state)
{
    (void)state;
    struct err corrupt = {ERR_CORRUPT, "block 0"};
    struct append_ack down = {.failure = ERR_CORRUPT, .blamed = 2};
    struct append_update u;
    struct append_message m = data(0, 10, crcs);

    struct append a = make(1, 2);
    append_message(&a, &m, 1000, &u);
    append_down_ack(&a, &down, NULL, 1001, &u); /* downstream was faster: our verdict first */
    assert_false(u.ack);
    append_own_failed(&a, &corrupt, 1002, &u);
    assert_int_equal(u.reply.failure, ERR_CORRUPT);
    assert_int_equal(u.reply.blamed, 0);

    a = make(1, 2);
    append_message(&a, &m, 1000, &u);
    append_down_ack(&a, &down, NULL, 1001, &u);
    append_own_done(&a, (struct append_progress){.written = 10}, 1002, &u); /* ours was right */
    assert_int_equal(u.reply.failure, ERR_CORRUPT);
    assert_int_equal(u.reply.blamed, 2);
    append_check(&a);
}

static void test_lying_successor_is_blamed(void **state)
{
    (void)state;
    struct append a = make(1, 2);
    struct append_update u;
    struct append_ack down = {.written = 1};
    append_down_ack(&a, &down, NULL, 1000, &u);
    assert_int_equal(u.reply.failure, ERR_INVALID);
    assert_int_equal(u.reply.blamed, 2);
}

static void ticks(struct append *a, time_ms *now, time_ms ms, struct append_update *u)
{
    for (time_ms end = *now + ms; *now < end && !append_is_over(a);) {
        *now += APPEND_TICK_MS;
        append_tick(a, *now, u);
    }
}

static void test_silent_hop_is_named_and_waiting_hops_are_not(void **state)
{
    (void)state;
    struct append a = make(1, 2);
    struct append_update u;
    struct append_message m = data(0, 10, crcs);
    time_ms now = 1000;
    append_message(&a, &m, now, &u);
    append_own_done(&a, (struct append_progress){.written = 10}, now, &u);
    struct append_ack alive = {0};
    for (int i = 0; i < 10; i++) { /* the next one waits for its own successor, and says so */
        ticks(&a, &now, APPEND_ALIVE_MS, &u);
        append_down_ack(&a, &alive, NULL, now, &u);
        assert_false(append_is_over(&a));
        assert_true(a.sent_ms > 1000); /* we show signs of life too */
    }
    time_ms heard = now;
    ticks(&a, &now, 2 * HOP_SILENT_MS, &u);
    assert_int_equal(now - heard, HOP_SILENT_MS);
    assert_int_equal(u.reply.failure, ERR_TIMEOUT);
    assert_int_equal(u.reply.blamed, 2);
}

static void test_nobody_is_blamed_for_our_own_sleep(void **state)
{
    (void)state;
    struct append a = make(1, 2);
    struct append_update u;
    struct append_message m = data(0, 10, crcs);
    append_message(&a, &m, 1000, &u);
    append_tick(&a, 1000 + 60 * 1000, &u); /* stopped for a minute */
    assert_false(append_is_over(&a));
    time_ms now = 61 * 1000;
    ticks(&a, &now, HOP_SILENT_MS, &u);
    assert_true(append_is_over(&a));
    assert_int_equal(a.blamed, 2);
}

static void test_idle_stream_lives_for_ever(void **state)
{
    (void)state;
    struct append a = make(1, 2);
    struct append_update u;
    time_ms now = 1000;
    ticks(&a, &now, 100 * HOP_SILENT_MS, &u);
    assert_false(append_is_over(&a));
    assert_false(u.ack);
}

static void test_hung_disk_names_itself(void **state)
{
    (void)state;
    struct append a = make(3, 0);
    struct append_update u;
    struct append_message m = data(0, 10, crcs);
    time_ms now = 1000;
    append_message(&a, &m, now, &u);
    ticks(&a, &now, 2 * APPEND_DISK_HUNG_MS, &u);
    assert_int_equal(a.failure.code, ERR_TIMEOUT);
    assert_int_equal(a.blamed, 3);
    append_own_done(&a, (struct append_progress){.written = 10}, now, &u); /* late, harmless */
    assert_false(u.ack);
}

static void test_fence_ends_it_with_nobody_blamed(void **state)
{
    (void)state;
    struct append a = make(1, 2);
    struct append_update u;
    struct append_message m = data(0, 10, crcs);
    append_message(&a, &m, 1000, &u);
    append_own_done(&a, (struct append_progress){.written = 10}, 1000, &u);
    append_stop(&a, ERR_FENCED, "version 2 was granted", &u);
    assert_true(u.end);
    assert_int_equal(u.reply.failure, ERR_FENCED);
    assert_int_equal(u.reply.blamed, 0);
    struct append_ack late = {.written = 10};
    append_down_ack(&a, &late, NULL, 1001, &u);
    assert_false(u.ack); /* after the fence nothing more is acknowledged */
}

/* A chain of three cores with queues between them, run by a random schedule. The model knows the
 * truth: what each replica has really written. */
enum { HOPS = 3, QUEUE = 8192, WRITER_MESSAGES_MAX = 1000 };

struct link {
    struct append_message m[QUEUE]; /* towards the hop */
    struct append_ack ack[QUEUE];   /* back from it */
    size_t m_head, m_tail, ack_head, ack_tail;
};

struct model {
    struct rng rng;
    struct append hop[HOPS];
    struct link in[HOPS];                       /* in[i]: into hop i; in[0] from the writer */
    struct append_progress todo[HOPS];          /* own work asked for */
    struct append_progress done[HOPS];          /* own work really done */
    uint32_t crcs[WRITER_MESSAGES_MAX + 2][20]; /* of the writer's messages */
    uint64_t sent, target;                      /* by the writer */
    uint64_t acked;                             /* to the writer */
    bool finished, over;
    struct append_ack last;
    int dead; /* a hop that says nothing any more; -1: none */
    time_ms now;
};

static struct model model;

/* Stands for the CRC of the block that ends, so far, at `end`. */
static uint32_t crc_at(uint64_t end)
{
    return (uint32_t)(end * 2654435761u + 1);
}

static void model_apply(struct model *s, int i, const struct append_update *u)
{
    append_check(&s->hop[i]);
    struct append_progress *todo = &s->todo[i];
    if (u->write) {
        assert_int_equal(u->todo.offset, todo->written);
        bool fresh = u->todo.offset % BLOCK == 0;
        assert_int_equal(u->todo.seed, fresh ? 0 : crc_at(u->todo.offset));
        todo->written += u->todo.length;
    }
    if (u->sync || u->seal) {
        todo->durable = todo->written;
        todo->sealed = todo->sealed || u->seal;
    }
    if (u->ack) {
        struct link *in = &s->in[i];
        assert_true(u->reply.written <= s->done[i].written);
        assert_true(u->reply.durable <= s->done[i].durable);
        assert_true(!u->reply.sealed || s->done[i].sealed);
        assert_true(in->ack_tail < QUEUE);
        in->ack[in->ack_tail++] = u->reply;
    }
}

static void model_writer(struct model *s)
{
    struct link *out = &s->in[0];
    uint64_t offset = s->sent;
    if (s->sent > 0 && rng_below(&s->rng, 8) == 0) {
        offset = rng_below(&s->rng, s->sent); /* a retry, in part or in whole */
    }
    uint64_t length = rng_below(&s->rng, 3) == 0 ? rng_below(&s->rng, 4 * BLOCK)
                                                 : (rng_below(&s->rng, 3) + 1) * BLOCK;
    if (out->m_tail + 2 >= WRITER_MESSAGES_MAX) {
        length = DATA_MESSAGE_BYTES_MAX; /* come to an end */
    }
    length = MIN(length, s->target - offset);
    uint32_t *values = s->crcs[out->m_tail];
    struct append_message m = data(offset, length, values);
    for (size_t b = 0; b < m.crc_count; b++) {
        uint64_t block_end = (offset / BLOCK + b + 1) * BLOCK;
        values[b] = crc_at(MIN(block_end, offset + length));
    }
    m.acked = s->acked;
    m.sync = rng_below(&s->rng, 10) == 0;
    s->sent = MAX(s->sent, offset + length);
    m.finish = offset + length == s->target && rng_below(&s->rng, 2) == 0;
    s->finished = m.finish;
    out->m[out->m_tail++] = m;
    if (s->sent == s->target && !s->finished) {
        out->m[out->m_tail++] = (struct append_message){.offset = s->target, .finish = true};
        s->finished = true;
    }
}

static void model_work(struct model *s, int i)
{
    struct append_progress *done = &s->done[i];
    const struct append_progress *todo = &s->todo[i];
    done->written += rng_below(&s->rng, todo->written - done->written + 1);
    if (done->written >= todo->durable) {
        done->durable = todo->durable;
    }
    done->sealed = todo->sealed && done->durable == todo->written;
    struct append_update u;
    append_own_done(&s->hop[i], *done, s->now, &u);
    model_apply(s, i, &u);
}

static void model_hop(struct model *s, int i)
{
    struct append_update u = {0};
    struct link *in = &s->in[i];
    struct link *out = i + 1 < HOPS ? &s->in[i + 1] : NULL;
    uint64_t what = rng_below(&s->rng, 3);
    if (what == 0 && in->m_head < in->m_tail) {
        struct append_message m = in->m[in->m_head++];
        append_message(&s->hop[i], &m, s->now, &u);
        if (u.forward) {
            assert_true(out != NULL && out->m_tail < QUEUE);
            out->m[out->m_tail++] = m;
        }
        model_apply(s, i, &u);
    } else if (what == 1) {
        model_work(s, i);
    } else if (what == 2 && out != NULL && out->ack_head < out->ack_tail) {
        append_down_ack(&s->hop[i], &out->ack[out->ack_head++], NULL, s->now, &u);
        model_apply(s, i, &u);
    }
}

static void model_client(struct model *s)
{
    struct link *in = &s->in[0];
    if (in->ack_head == in->ack_tail) {
        return;
    }
    struct append_ack ack = in->ack[in->ack_head++];
    assert_true(ack.written >= s->acked);
    s->acked = ack.written;
    for (int i = 0; i < HOPS; i++) { /* the promise: every replica has what was acknowledged */
        assert_true(s->done[i].written >= ack.written);
        assert_true(s->done[i].durable >= ack.durable);
        assert_true(!ack.sealed || s->done[i].sealed);
    }
    s->last = ack;
    s->over = ack.sealed || ack.failure != 0;
}

static void model_time(struct model *s)
{
    s->now += APPEND_TICK_MS;
    for (int i = 0; i < HOPS; i++) {
        struct append_update u;
        if (i != s->dead) {
            append_tick(&s->hop[i], s->now, &u);
            model_apply(s, i, &u);
        }
    }
}

static void run_model(uint64_t seed, bool with_death)
{
    struct model *s = &model;
    memset(s, 0, sizeof(*s));
    rng_seed(&s->rng, seed);
    s->now = 1000;
    s->dead = -1;
    s->target = rng_below(&s->rng, CHUNK_BYTES + 1);
    for (int i = 0; i < HOPS; i++) {
        s->hop[i] = make((server_id)i + 1, i + 1 < HOPS ? (server_id)i + 2 : 0);
    }
    uint64_t death = with_death ? rng_below(&s->rng, 3000) : UINT64_MAX;
    for (uint64_t round = 0; !s->over && round < 100000; round++) {
        if (round == death) {
            s->dead = 1 + (int)rng_below(&s->rng, HOPS - 1);
        }
        if (rng_below(&s->rng, 64) == 0) {
            model_time(s);
        }
        uint64_t who = rng_below(&s->rng, HOPS + 2);
        if (who < HOPS && (int)who != s->dead) {
            model_hop(s, (int)who);
        } else if (who == HOPS && !s->finished) {
            model_writer(s);
        } else if (who == HOPS + 1) {
            model_client(s);
        }
    }
    assert_true(s->over);
    if (s->last.sealed) {
        assert_int_equal(s->last.written, s->target);
    } else {
        assert_true(with_death);
        assert_int_equal(s->last.failure, ERR_TIMEOUT);
        assert_int_equal(s->last.blamed, s->dead + 1);
    }
}

static void test_random_chains(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        run_model(seed, false);
        run_model(seed, true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_replica_acks_what_it_wrote),
        cmocka_unit_test(test_ack_is_the_smaller_side),
        cmocka_unit_test(test_running_crc_of_a_split_block),
        cmocka_unit_test(test_retry_is_skipped_but_forwarded),
        cmocka_unit_test(test_writers_faults_are_refused),
        cmocka_unit_test(test_finish_seals_once_all_have),
        cmocka_unit_test(test_finish_comes_with_the_last_bytes),
        cmocka_unit_test(test_finish_may_repeat_bytes_before_the_last),
        cmocka_unit_test(test_data_after_finish_is_refused),
        cmocka_unit_test(test_empty_chunk_is_sealed),
        cmocka_unit_test(test_sync_is_acknowledged_when_both_are_durable),
        cmocka_unit_test(test_watermark_rises_only),
        cmocka_unit_test(test_own_disk_blames_itself),
        cmocka_unit_test(test_broken_connection_blames_the_next),
        cmocka_unit_test(test_names_from_downstream_are_passed_on),
        cmocka_unit_test(test_corruption_is_the_writers_if_the_first_saw_it_too),
        cmocka_unit_test(test_lying_successor_is_blamed),
        cmocka_unit_test(test_silent_hop_is_named_and_waiting_hops_are_not),
        cmocka_unit_test(test_nobody_is_blamed_for_our_own_sleep),
        cmocka_unit_test(test_idle_stream_lives_for_ever),
        cmocka_unit_test(test_hung_disk_names_itself),
        cmocka_unit_test(test_fence_ends_it_with_nobody_blamed),
        cmocka_unit_test(test_random_chains),
    };
    return cmocka_run_group_tests_name("append", tests, NULL, NULL);
}
