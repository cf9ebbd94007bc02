/* The loser tree of Knuth 5.4.1: an inner node keeps the run that lost there, so replacing the
 * winner costs one comparison per level. Leaves are numbered count .. 2 count - 1, the parent of n
 * is n / 2. */
#include "mapreduce/engine/merge.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/limits.h"
#include "common/macros.h"
#include "mapreduce/engine/record.h"

enum { ALIVE_RECORDS = 16 }; /* a reduce may do much with each; asking the clock costs 2 ns each */

void merge_init(struct merge *m)
{
    *m = (struct merge){0};
}

void merge_deinit(struct merge *m)
{
    for (uint32_t i = 0; i < m->capacity; i++) {
        run_reader_deinit(&m->runs[i].reader);
    }
    free(m->runs);
    free(m->tree);
    *m = (struct merge){0};
}

void merge_begin(struct merge *m)
{
    m->count = 0;
    m->started = false;
    m->records = m->bytes = 0;
}

void merge_add(struct merge *m, struct source *source, uint64_t offset, uint64_t length)
{
    CHECK(m->count < MR_FAN_IN_MAX);
    if (m->count == m->capacity) {
        m->capacity = m->capacity ? 2 * m->capacity : 8;
        m->runs = xreallocarray(m->runs, m->capacity, sizeof(*m->runs));
        m->tree = xreallocarray(m->tree, m->capacity, sizeof(*m->tree));
        for (uint32_t i = m->count; i < m->capacity; i++) {
            run_reader_init(&m->runs[i].reader);
        }
    }
    run_reader_begin(&m->runs[m->count++].reader, source, offset, length);
}

static int advance(struct merge_run *run, struct err *e)
{
    int r = run_reader_next(&run->reader, &run->record, e);
    run->ended = r == 0;
    if (r > 0) {
        run->prefix = key_prefix(run->record.key.data, run->record.key.length);
    }
    return r;
}

/* Whether run a's record goes before run b's. */
static inline bool is_before(const struct merge *m, uint32_t a, uint32_t b)
{
    const struct merge_run *x = &m->runs[a];
    const struct merge_run *y = &m->runs[b];
    if (x->ended || y->ended) {
        return !x->ended || (y->ended && a < b);
    }
    if (x->prefix != y->prefix) {
        return x->prefix < y->prefix;
    }
    int order = key_compare(x->record.key, y->record.key);
    return order != 0 ? order < 0 : a < b;
}

/* Plays the winner of leaf `run` up to the root. */
static inline void replay(struct merge *m, uint32_t run)
{
    uint32_t winner = run;
    for (uint32_t node = (run + m->count) / 2; node > 0; node /= 2) {
        if (is_before(m, m->tree[node], winner)) {
            uint32_t loser = winner;
            winner = m->tree[node];
            m->tree[node] = loser;
        }
    }
    m->tree[0] = winner;
}

/* Fills the tree from its leaves: winners[n] is who won at node n. */
static void build(struct merge *m)
{
    uint32_t winners[2 * MR_FAN_IN_MAX];
    CHECK(m->count > 1);
    for (uint32_t i = 0; i < m->count; i++) {
        winners[m->count + i] = i;
    }
    for (size_t node = m->count - 1; node > 0; node--) {
        uint32_t a = winners[2 * node];
        uint32_t b = winners[2 * node + 1];
        bool a_wins = is_before(m, a, b);
        winners[node] = a_wins ? a : b;
        m->tree[node] = a_wins ? b : a;
    }
    m->tree[0] = winners[1];
}

static int start(struct merge *m, struct err *e)
{
    for (uint32_t i = 0; i < m->count; i++) {
        int r = advance(&m->runs[i], e);
        if (r < 0) {
            return r;
        }
    }
    if (m->count == 1) {
        m->tree[0] = 0;
    } else {
        build(m);
    }
    m->started = true;
    return 0;
}

int merge_next(struct merge *m, struct mr_record *ret, struct err *e)
{
    if (m->count == 0) {
        return 0;
    }
    if (!m->started) {
        int r = start(m, e);
        if (r < 0) {
            return r;
        }
    } else {
        uint32_t winner = m->tree[0];
        if (m->runs[winner].ended) {
            return 0;
        }
        int r = advance(&m->runs[winner], e);
        if (r < 0) {
            return r;
        }
        replay(m, winner);
    }
    const struct merge_run *run = &m->runs[m->tree[0]];
    if (run->ended) {
        return 0;
    }
    *ret = run->record;
    m->records++;
    if (m->records % ALIVE_RECORDS == 0 && m->alive) { /* also within the values of one key */
        m->alive(m->alive_arg);
    }
    m->bytes += ret->key.length + ret->value.length;
    return 1;
}

/* ---- The values of one key ---- */

/* Reads the next record into g->record unless one is pending. False at the end or on an error. */
static bool group_read(struct group *g)
{
    if (g->pending) {
        return true;
    }
    if (g->ended || g->error < 0) {
        return false;
    }
    int r = merge_next(g->merge, &g->record, g->e);
    g->error = r < 0 ? r : 0;
    g->ended = r == 0;
    g->pending = r > 0;
    return r > 0;
}

static bool values_next(struct mr_values *values, struct mr_span *ret_value)
{
    struct group *g = CONTAINER_OF(values, struct group, values);
    if (!group_read(g)) {
        return false;
    }
    if (!g->first) {
        struct mr_span key = mr_bytes(g->key.data, g->key.length);
        if (!mr_equal(g->record.key, key)) {
            return false;
        }
    }
    g->first = false;
    g->pending = false;
    g->taken++;
    *ret_value = g->record.value;
    return true;
}

void group_init(struct group *g, struct merge *merge, struct err *e)
{
    *g = (struct group){.values = {values_next}, .merge = merge, .key = BUF_INIT, .e = e};
}

void group_deinit(struct group *g)
{
    buf_deinit(&g->key);
}

int group_next(struct group *g, struct mr_span *ret_key)
{
    struct mr_span skipped;
    while (g->merge->records > 0 && values_next(&g->values, &skipped)) {
    }
    if (!group_read(g)) {
        return g->error;
    }
    buf_clear(&g->key);
    buf_append(&g->key, g->record.key.data, g->record.key.length);
    g->first = true;
    *ret_key = mr_bytes(g->key.data, g->key.length);
    return 1;
}
