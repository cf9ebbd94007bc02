/* The writer's rules against a model of file master and chunkservers that fail at random: in the
 * end the file has exactly the bytes that were written, and nothing acknowledged was ever lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/writer_core.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/rng.h"

enum { KB = 1024, MESSAGE = DATA_MESSAGE_BYTES_MAX, CHUNK = 2 * MESSAGE };

static struct writer_step next(struct writer *w)
{
    struct writer_step step, twice;
    writer_check(w);
    writer_next(w, &step);
    writer_next(w, &twice);
    assert_memory_equal(&step, &twice, sizeof(step));
    return step;
}

#define ASSERT_STEP(w, wanted, at, many)                                                           \
    do {                                                                                           \
        struct writer_step step_ = next(w);                                                        \
        assert_int_equal(step_.what, wanted);                                                      \
        assert_int_equal(step_.offset, at);                                                        \
        assert_int_equal(step_.length, many);                                                      \
    } while (0)

static void do_send(struct writer *w)
{
    struct writer_step step = next(w);
    writer_sent(w, &step);
}

static void empty_file(void **state)
{
    (void)state;
    struct writer w;
    writer_init(&w, 0, CHUNK);
    assert_int_equal(next(&w).what, WRITER_WAIT);
    assert_true(writer_synced(&w));
    writer_close(&w);
    struct writer_step step = next(&w);
    assert_int_equal(step.what, WRITER_CLOSE);
    assert_int_equal(step.chunk.id, 0);
}

/* The least that a small file can cost: the finish travels with the data. */
static void small_file(void **state)
{
    (void)state;
    struct writer w;
    writer_init(&w, 0, CHUNK);
    writer_took(&w, 100);
    writer_close(&w);
    ASSERT_STEP(&w, WRITER_ALLOCATE, 0, 0);
    writer_allocated(&w, (struct chunk_ref){5, 1});
    ASSERT_STEP(&w, WRITER_FINISH, 0, 100);
    do_send(&w);
    assert_int_equal(next(&w).what, WRITER_WAIT);
    assert_int_equal(writer_acked(&w, 100, 0, false), 0);
    assert_int_equal(next(&w).what, WRITER_WAIT);
    assert_int_equal(writer_acked(&w, 100, 100, true), 0);
    struct writer_step step = next(&w);
    assert_int_equal(step.what, WRITER_CLOSE);
    assert_int_equal(step.chunk.id, 5);
    assert_int_equal(step.length, 100);
}

static void messages_end_at_blocks(void **state)
{
    (void)state;
    struct writer w;
    writer_init(&w, 0, CHUNK);
    writer_took(&w, 3 * MESSAGE);
    writer_allocated(&w, (struct chunk_ref){5, 1});
    ASSERT_STEP(&w, WRITER_SEND, 0, MESSAGE);
    do_send(&w);
    assert_int_equal(writer_acked(&w, MESSAGE, 0, false), 0);
    ASSERT_STEP(&w, WRITER_FINISH, MESSAGE, MESSAGE);
    do_send(&w);
    assert_int_equal(writer_acked(&w, CHUNK, CHUNK, true), 0);
    struct writer_step step = next(&w);
    assert_int_equal(step.what, WRITER_ALLOCATE);
    assert_int_equal(step.offset, CHUNK);
    assert_int_equal(step.chunk.id, 5);
    assert_int_equal(step.length, CHUNK);
}

/* A chunk that fills is shown to readers when it is sealed, so it must not be one that a failure
 * gives up. */
static void full_chunk_is_finished_once_some_of_it_is_acknowledged(void **state)
{
    (void)state;
    struct writer w;
    writer_init(&w, 0, CHUNK);
    writer_took(&w, 3 * MESSAGE);
    writer_allocated(&w, (struct chunk_ref){5, 1});
    do_send(&w);
    ASSERT_STEP(&w, WRITER_SEND, MESSAGE, MESSAGE);
    do_send(&w);
    assert_int_equal(next(&w).what, WRITER_WAIT);
    assert_int_equal(writer_acked(&w, 1, 0, false), 0);
    ASSERT_STEP(&w, WRITER_FINISH, CHUNK, 0);
    do_send(&w);
    writer_failed(&w);
    assert_int_equal(next(&w).what, WRITER_RECOVER);
}

static void finish_makes_durable_without_a_sync(void **state)
{
    (void)state;
    struct writer w;
    writer_init(&w, 0, CHUNK);
    writer_took(&w, 100);
    writer_sync(&w);
    writer_close(&w);
    writer_allocated(&w, (struct chunk_ref){5, 1});
    ASSERT_STEP(&w, WRITER_FINISH, 0, 100);
    assert_false(next(&w).sync);
    do_send(&w);
    assert_int_equal(writer_acked(&w, 100, 100, true), 0);
    assert_true(writer_synced(&w));
}

static void sync_sends_what_is_there(void **state)
{
    (void)state;
    struct writer w;
    writer_init(&w, 0, CHUNK);
    writer_took(&w, 100);
    writer_allocated(&w, (struct chunk_ref){5, 1});
    assert_int_equal(next(&w).what, WRITER_WAIT); /* too little for a message */
    writer_sync(&w);
    ASSERT_STEP(&w, WRITER_SEND, 0, 100);
    assert_true(next(&w).sync);
    do_send(&w);
    assert_int_equal(next(&w).what, WRITER_WAIT);
    assert_false(writer_synced(&w));
    assert_int_equal(writer_acked(&w, 100, 100, false), 0);
    assert_true(writer_synced(&w));
    /* The next message ends at a block boundary again. */
    writer_took(&w, 2 * MESSAGE);
    ASSERT_STEP(&w, WRITER_SEND, 100, MESSAGE - 100);
}

static void push_sends_what_fills_no_message(void **state)
{
    (void)state;
    struct writer w;
    writer_init(&w, 0, CHUNK);
    writer_took(&w, 100);
    writer_push(&w); /* before there is a chunk */
    writer_took(&w, 100);
    writer_allocated(&w, (struct chunk_ref){5, 1});
    ASSERT_STEP(&w, WRITER_SEND, 0, 200);
    assert_false(next(&w).sync);
    do_send(&w);
    writer_took(&w, 50);
    assert_int_equal(next(&w).what, WRITER_WAIT);
    writer_push(&w);
    ASSERT_STEP(&w, WRITER_SEND, 200, 50);
    do_send(&w);
    assert_int_equal(next(&w).what, WRITER_WAIT);
    assert_int_equal(writer_acked(&w, 250, 0, false), 0);
    /* The next message ends at a block boundary again. */
    writer_took(&w, 2 * MESSAGE);
    ASSERT_STEP(&w, WRITER_SEND, 250, MESSAGE - 250);
}

static void nothing_acknowledged_is_abandoned(void **state)
{
    (void)state;
    struct writer w;
    writer_init(&w, 0, CHUNK);
    writer_took(&w, MESSAGE);
    writer_allocated(&w, (struct chunk_ref){5, 1});
    do_send(&w);
    writer_failed(&w);
    assert_int_equal(next(&w).what, WRITER_ABANDON);
    writer_abandoned(&w);
    ASSERT_STEP(&w, WRITER_ALLOCATE, 0, 0);
    assert_int_equal(writer_kept_from(&w), 0);
}

static void the_rest_goes_into_a_new_chunk(void **state)
{
    (void)state;
    struct writer w;
    writer_init(&w, 0, CHUNK);
    writer_took(&w, 2 * MESSAGE);
    writer_allocated(&w, (struct chunk_ref){5, 1});
    do_send(&w);
    do_send(&w);
    assert_int_equal(writer_acked(&w, 64 * KB, 0, false), 0);
    writer_failed(&w);
    struct writer_step step = next(&w);
    assert_int_equal(step.what, WRITER_RECOVER);
    assert_int_equal(step.length, 64 * KB);
    assert_int_equal(writer_recovered(&w, 100 * KB), 0);
    ASSERT_STEP(&w, WRITER_ALLOCATE, 100 * KB, 0);
    assert_int_equal(writer_kept_from(&w), 100 * KB);
    writer_allocated(&w, (struct chunk_ref){6, 1});
    ASSERT_STEP(&w, WRITER_SEND, 0, MESSAGE);
}

static void impossible_answers_are_refused(void **state)
{
    (void)state;
    struct writer w;
    writer_init(&w, 0, CHUNK);
    writer_took(&w, MESSAGE);
    writer_allocated(&w, (struct chunk_ref){5, 1});
    do_send(&w);
    assert_int_equal(writer_acked(&w, MESSAGE + 1, 0, false), ERR_INVALID);
    assert_int_equal(writer_acked(&w, 10, 11, false), ERR_INVALID);
    assert_int_equal(writer_acked(&w, MESSAGE, MESSAGE, true), ERR_INVALID);
    assert_int_equal(writer_acked(&w, 1000, 0, false), 0);
    writer_failed(&w);
    assert_int_equal(writer_recovered(&w, 999), ERR_CORRUPT);
    assert_int_equal(writer_recovered(&w, MESSAGE + 1), ERR_CORRUPT);
    assert_int_equal(writer_recovered(&w, 1000), 0);
}

/* ---- Model ---- */

/* The bytes of a file are its offsets, so a file is right when its extents are. */
struct model {
    struct rng rng;
    uint64_t sealed; /* of the file, at the master */
    uint64_t next_id;
    bool open; /* the master knows an open chunk ... */
    struct chunk_ref chunk;
    uint64_t held; /* ... of which all replicas hold this much */
    uint64_t told; /* ... and the writer was told of this much */
    bool finished;
    bool shown; /* ... and readers may see all of it, if the finish goes through */
};

static void model_allocate(struct model *m, struct writer *w, const struct writer_step *step)
{
    if (m->open) { /* the one before is sealed in the same step */
        assert_int_equal(step->chunk.id, m->chunk.id);
        assert_int_equal(step->length, m->held);
        m->sealed += step->length;
    } else {
        assert_int_equal(step->chunk.id, 0);
    }
    assert_int_equal(step->offset, m->sealed);
    m->open = true;
    m->chunk = (struct chunk_ref){m->next_id++, 1};
    m->held = m->told = 0;
    m->finished = m->shown = false;
    writer_allocated(w, m->chunk);
}

static void model_settle(struct model *m, struct writer *w, const struct writer_step *step)
{
    assert_int_equal(step->chunk.id, m->chunk.id);
    m->open = false;
    if (step->what == WRITER_ABANDON) {
        assert_int_equal(m->told, 0);
        assert_false(m->shown);
        writer_abandoned(w);
        return;
    }
    assert_int_equal(step->length, m->told);
    uint64_t length = rng_range(&m->rng, m->told, m->held);
    assert_int_equal(writer_recovered(w, length), 0);
    m->sealed += length;
}

static void model_event(struct model *m, struct writer *w)
{
    bool streams = w->phase == WRITER_OPEN || w->phase == WRITER_FINISHING;
    if (!streams) {
        return;
    }
    m->held = rng_range(&m->rng, m->held, w->sent);
    switch (rng_below(&m->rng, 8)) {
    case 0:
        writer_failed(w);
        break;
    case 1:
        if (w->phase == WRITER_FINISHING) {
            m->held = m->told = w->sent;
            m->finished = true;
            assert_int_equal(writer_acked(w, w->sent, w->sent, true), 0);
            break;
        } /* fall through */
    default:
        m->told = rng_range(&m->rng, m->told, m->held);
        assert_int_equal(writer_acked(w, m->told, rng_range(&m->rng, w->durable, m->told), false),
                         0);
        break;
    }
}

static void run(uint64_t seed)
{
    struct model m = {.next_id = 1};
    struct writer w;
    rng_seed(&m.rng, seed);
    uint64_t length = rng_below(&m.rng, 4) * CHUNK + rng_below(&m.rng, 3 * CHUNK_BLOCK_BYTES);
    uint64_t taken = 0;
    writer_init(&w, 0, CHUNK);
    for (int i = 0; i < 100000; i++) {
        struct writer_step step = next(&w);
        uint64_t kept = writer_kept_from(&w);
        assert_true(kept <= m.sealed + (m.open ? m.held : 0));
        if (taken < length && rng_below(&m.rng, 3) == 0) {
            uint64_t some = rng_range(&m.rng, 1, MIN(length - taken, (uint64_t)MESSAGE));
            writer_took(&w, some);
            taken += some;
        } else if (rng_below(&m.rng, 20) == 0) {
            writer_sync(&w);
        } else if (rng_below(&m.rng, 20) == 0) {
            writer_push(&w);
        } else if (taken == length && !w.closing) {
            writer_close(&w);
        } else if (step.what == WRITER_ALLOCATE) {
            model_allocate(&m, &w, &step);
        } else if (step.what == WRITER_SEND || step.what == WRITER_FINISH) {
            assert_true(step.length <= MESSAGE);
            uint64_t end = step.offset + step.length;
            assert_true(end % CHUNK_BLOCK_BYTES == 0 || w.base + end == w.end);
            /* The first server shows a sealed chunk whose writer has told it a watermark. */
            m.shown = step.what == WRITER_FINISH && w.acked > 0;
            assert_true(step.what == WRITER_SEND || w.closing || m.shown);
            writer_sent(&w, &step);
        } else if (step.what == WRITER_RECOVER || step.what == WRITER_ABANDON) {
            model_settle(&m, &w, &step);
        } else if (step.what == WRITER_CLOSE) {
            m.sealed += step.length;
            assert_int_equal(m.sealed, length);
            assert_true(writer_synced(&w));
            return;
        }
        assert_true(writer_kept_from(&w) >= kept);
        model_event(&m, &w);
    }
    fail_msg("seed %llu: no end", (unsigned long long)seed);
}

static void random_failures(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        run(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_file),
        cmocka_unit_test(small_file),
        cmocka_unit_test(messages_end_at_blocks),
        cmocka_unit_test(full_chunk_is_finished_once_some_of_it_is_acknowledged),
        cmocka_unit_test(finish_makes_durable_without_a_sync),
        cmocka_unit_test(sync_sends_what_is_there),
        cmocka_unit_test(push_sends_what_fills_no_message),
        cmocka_unit_test(nothing_acknowledged_is_abandoned),
        cmocka_unit_test(the_rest_goes_into_a_new_chunk),
        cmocka_unit_test(impossible_answers_are_refused),
        cmocka_unit_test(random_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
