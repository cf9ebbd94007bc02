/* See log_model.h. */
#include "tests/lib/log_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/rng.h"

enum { DATA_BYTES_MAX = 1500 };

/* The data of an entry follows from its stamp: length and bytes. */
static struct span data_of(uint64_t stamp, char bytes[DATA_BYTES_MAX])
{
    struct rng rng;
    rng_seed(&rng, stamp);
    size_t length = rng_below(&rng, 4) == 0 ? rng_below(&rng, DATA_BYTES_MAX) : rng_below(&rng, 40);
    rng_fill(&rng, bytes, length);
    return (struct span){bytes, length};
}

void log_runner_init(struct log_runner *r)
{
    memset(r, 0, sizeof(*r));
    r->disk = fake_disk_new();
    r->salt_seed = 7;
    r->history = xcalloc(MODEL_HISTORY_MAX, sizeof(struct model));
    r->count = 1;
}

void log_runner_deinit(struct log_runner *r)
{
    log_store_close(r->store);
    fake_disk_free(r->disk);
    free(r->history);
}

/* Whether the store, as its functions tell, is this version; reads every entry. */
static bool matches(struct log_runner *r, const struct model *m)
{
    struct log_store *s = r->store;
    struct log_hard_state hard = log_store_hard(s);
    log_index start = log_store_start(s);
    term_no term = 0;
    if (log_store_last(s) != m->last || hard.term != m->hard.term || hard.vote != m->hard.vote ||
        start < m->start_least || start > m->start_most) {
        return false;
    }
    if (log_store_term(s, start, &term) != 0 || term != m->entries[start].term) {
        return false;
    }
    struct log_read read;
    bool same = true;
    log_read_init(&read);
    for (log_index at = start + 1; at <= m->last && same;) {
        int n = log_store_read(s, at, m->last + 1, 2000, &read, NULL);
        assert_true(n > 0);
        for (int i = 0; i < n; i++) {
            char bytes[DATA_BYTES_MAX];
            const struct log_entry *got = &read.entries[i];
            struct span data = data_of(m->entries[at].stamp, bytes);
            same = same && got->index == at && got->term == m->entries[at].term &&
                   got->type == (uint8_t)m->entries[at].stamp && got->data.length == data.length &&
                   memcmp(got->data.data, data.data, data.length) == 0;
            at++;
        }
    }
    log_read_deinit(&read);
    return same;
}

int log_runner_open(struct log_runner *r, struct err *e)
{
    struct log_store_options options = {
        .disk = fake_disk_as_disk(r->disk),
        .segment_bytes = MODEL_SEGMENT_BYTES,
        .salt_seed = r->salt_seed,
    };
    int code = log_store_open(&options, &r->store, e);
    if (code < 0) {
        r->store = NULL;
        return code;
    }
    size_t found = r->count;
    for (size_t i = r->count; i-- > r->durable && found == r->count;) {
        found = matches(r, &r->history[i]) ? i : found;
    }
    if (found == r->count) {
        fail_msg("recovered a log (last %lu, term %lu) that is none of the versions %zu to %zu",
                 (unsigned long)log_store_last(r->store),
                 (unsigned long)log_store_hard(r->store).term, r->durable, r->count - 1);
    }
    if (found > 0) {
        memcpy(&r->history[0], &r->history[found], sizeof(struct model));
    }
    r->count = 1;
    r->durable = 0;
    return 0;
}

void log_runner_crash(struct log_runner *r, enum fake_crash how, uint64_t seed)
{
    log_store_close(r->store);
    r->store = NULL;
    fake_disk_crash(r->disk, how, seed);
}

void log_runner_check(struct log_runner *r)
{
    assert_true(matches(r, &r->history[r->count - 1]));
}

static struct model *next_version(struct log_runner *r)
{
    CHECK(r->count < MODEL_HISTORY_MAX);
    memcpy(&r->history[r->count], &r->history[r->count - 1], sizeof(struct model));
    return &r->history[r->count++];
}

static int do_append(struct log_runner *r, struct log_op op)
{
    struct model *m = next_version(r);
    struct log_entry entries[8];
    static char bytes[8][DATA_BYTES_MAX];
    size_t count = 0;
    if (op.kind != LOG_OP_APPEND) {
        m->hard = (struct log_hard_state){m->hard.term + 1, op.amount};
    }
    while (op.kind != LOG_OP_VOTE && count < op.amount && count < 8 && m->last < MODEL_INDEX_MAX) {
        uint64_t stamp = ++r->stamp;
        m->entries[++m->last] = (struct model_entry){m->hard.term, stamp};
        entries[count] = (struct log_entry){m->last, m->hard.term, (uint8_t)stamp, {0}};
        entries[count].data = data_of(stamp, bytes[count]);
        count++;
    }
    return log_store_append(r->store, op.kind == LOG_OP_APPEND ? NULL : &m->hard, entries, count,
                            NULL);
}

static int do_compact(struct log_runner *r, uint32_t keep)
{
    struct model *m = next_version(r);
    log_index kept = m->last - m->start_most;
    log_index index = m->last - (keep < kept ? keep : kept);
    m->start_most = index;
    return log_store_compact(r->store, index, NULL);
}

static int do_reset(struct log_runner *r, uint32_t ahead)
{
    struct model *m = next_version(r);
    log_index index = m->last + ahead;
    if (index > MODEL_INDEX_MAX) {
        r->count--;
        return 0;
    }
    m->hard.term += 1;
    int code = log_store_append(r->store, &m->hard, NULL, 0, NULL);
    if (code < 0) {
        return code;
    }
    m = next_version(r);
    m->last = m->start_least = m->start_most = index;
    m->entries[index].term = m->hard.term;
    return log_store_reset(r->store, index, m->hard.term, NULL);
}

static int do_idle(struct log_runner *r)
{
    int code = log_store_tick(r->store, r->now, NULL);
    r->now += 1000000;
    return code < 0 ? code : log_store_tick(r->store, r->now, NULL);
}

int log_runner_do(struct log_runner *r, struct log_op op)
{
    const struct model *now = &r->history[r->count - 1];
    log_index kept = now->last - now->start_most;
    int code = 0;
    switch (op.kind) {
    case LOG_OP_APPEND:
    case LOG_OP_VOTE:
    case LOG_OP_BOTH:
        return do_append(r, op);
    case LOG_OP_TRUNCATE: {
        struct model *m = next_version(r);
        m->last -= op.amount < kept ? op.amount : kept;
        return log_store_truncate(r->store, m->last + 1, NULL);
    }
    case LOG_OP_SYNC:
        code = log_store_sync(r->store, NULL);
        break;
    case LOG_OP_COMPACT:
        return do_compact(r, op.amount);
    case LOG_OP_RESET:
        code = do_reset(r, op.amount);
        break;
    case LOG_OP_IDLE:
    case LOG_OP_KIND_COUNT:
        return do_idle(r);
    }
    if (code == 0) {
        r->durable = r->count - 1;
    }
    return code;
}
