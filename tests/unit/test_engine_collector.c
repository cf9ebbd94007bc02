/* The map side: whatever the budget, combiner and number of partitions, the map output is that of a
 * plain reference: all records, each in its partition, in order; combined or not, the same sums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/rng.h"
#include "common/sys.h"
#include "mapreduce/engine/collector.h"
#include "mapreduce/engine/merge.h"

struct fixture {
    struct buf directory;
    char *path; /* of the map output file */
};

static int make_fixture(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    buf_init(&f->directory);
    assert_int_equal(sys_make_temp_dir("test_engine_collector", &f->directory, NULL), 0);
    f->path = xprintf("%s/out", f->directory.data);
    *state = f;
    return 0;
}

static int drop_fixture(void **state)
{
    struct fixture *f = *state;
    (void)unlink(f->path);
    assert_int_equal(rmdir(f->directory.data), 0); /* no spill is left */
    buf_deinit(&f->directory);
    free(f->path);
    free(f);
    return 0;
}

/* The n-th record of a test: keys with NULs, empty ones, short and long ones, and values of 8
 * bytes. */
struct sample {
    uint8_t key[64];
    size_t key_length;
    int64_t value;
};

static struct sample sample_of(uint64_t n, uint64_t distinct)
{
    struct rng rng;
    struct sample s = {.value = (int64_t)(n % 1000)};
    rng_seed(&rng, n);
    uint64_t which = rng_below(&rng, distinct);
    rng_seed(&rng, which);
    s.key_length = rng_below(&rng, 40);
    rng_fill(&rng, s.key, s.key_length);
    if (s.key_length >= 8) {
        memcpy(s.key, &which, sizeof(which)); /* distinct, and NULs in it */
    }
    return s;
}

static struct collector_options options_of(const struct fixture *f, const struct partitioner *p,
                                           size_t memory)
{
    return (struct collector_options){
        .memory_bytes = memory, .directory = f->directory.data, .name = "t", .partitioner = p};
}

struct totals {
    uint64_t records;
    int64_t sum;
    uint64_t mix; /* of all (key, value) without regard to their order */
};

static uint64_t mix(struct mr_span key, int64_t value)
{
    return hash_bytes(key.data, key.length, 1) * (uint64_t)value;
}

/* Reads a map output file back; checks order and partitions. */
static struct totals read_output(const struct fixture *f, const struct partitioner *p,
                                 bool combined)
{
    struct totals totals = {0};
    struct source *source;
    struct run_index index;
    struct run_reader reader;
    run_reader_init(&reader);
    assert_int_equal(source_open_file(f->path, &source, NULL), 0);
    assert_int_equal(run_index_read(source, &index, NULL), 0);
    assert_int_equal(index.count, p->reduces);
    for (uint32_t i = 0; i < index.count; i++) {
        struct mr_record record;
        struct buf last = BUF_INIT;
        uint64_t records = 0;
        run_reader_begin(&reader, source, index.segments[i].offset, index.segments[i].length);
        while (run_reader_next(&reader, &record, NULL) > 0) {
            int order = key_compare(mr_bytes(last.data, last.length), record.key);
            assert_true(records == 0 || order < 0 || (!combined && order == 0));
            assert_int_equal(partition_of(p, record.key), i);
            buf_clear(&last);
            buf_append(&last, record.key.data, record.key.length);
            totals.sum += mr_get_i64(record.value);
            totals.mix += mix(record.key, mr_get_i64(record.value));
            records++;
        }
        assert_int_equal(records, index.segments[i].records);
        totals.records += records;
        buf_deinit(&last);
    }
    run_reader_deinit(&reader);
    run_index_deinit(&index);
    source_free(source);
    return totals;
}

static struct totals emit_samples(struct collector *c, uint64_t count, uint64_t distinct)
{
    struct totals totals = {0};
    for (uint64_t n = 0; n < count; n++) {
        struct sample s = sample_of(n, distinct);
        struct mr_span key = mr_bytes(s.key, s.key_length);
        if (n % 3 == 0) {
            collector_emit_keys_i64(c, &key, 1, s.value);
        } else {
            collector_emit(c, key, mr_bytes(&s.value, sizeof(s.value)));
        }
        totals.records++;
        totals.sum += s.value;
        totals.mix += mix(key, s.value);
    }
    return totals;
}

static int64_t finish(struct collector *c, const struct fixture *f, struct counters *counters)
{
    struct run_index index = {NULL, 0};
    struct err e = ERR_INIT;
    int r = collector_finish(c, f->path, counters, &index, &e);
    run_index_deinit(&index);
    collector_free(c);
    return r;
}

static const size_t budgets[] = {256 * 1024, 700 * 1024, 64 * 1024 * 1024};
static const uint32_t reduces[] = {1, 2, 13};

static void test_plain(void **state)
{
    const struct fixture *f = *state;
    for (size_t b = 0; b < 3; b++) {
        for (size_t r = 0; r < 3; r++) {
            struct partitioner p;
            struct counters counters;
            counters_init(&counters);
            partitioner_init(&p, reduces[r]);
            struct collector_options options = options_of(f, &p, budgets[b]);
            options.compress = r == 1;
            struct collector *c = collector_new(&options);
            struct totals expected = emit_samples(c, 50000, 1000000);
            assert_int_equal(finish(c, f, &counters), 0);
            struct totals got = read_output(f, &p, false);
            assert_memory_equal(&got, &expected, sizeof(got));
            assert_int_equal(counters.fixed[COUNTER_MAP_OUTPUT_RECORDS], 50000);
            counters_deinit(&counters);
            partitioner_deinit(&p);
        }
    }
}

static void count_call(void *arg)
{
    ++*(uint64_t *)arg;
}

/* Merging spills may take longer than a task may be silent. */
static void test_signs_of_life(void **state)
{
    const struct fixture *f = *state;
    struct partitioner p;
    struct counters counters;
    uint64_t alive = 0;
    counters_init(&counters);
    partitioner_init(&p, 2);
    struct collector_options options = options_of(f, &p, budgets[0]);
    options.alive = count_call;
    options.alive_arg = &alive;
    struct collector *c = collector_new(&options);
    (void)emit_samples(c, 50000, 1000000);
    assert_true(alive > 0); /* spills */
    alive = 0;
    assert_int_equal(finish(c, f, &counters), 0);
    assert_true(alive > 1000);
    counters_deinit(&counters);
    partitioner_deinit(&p);
}

static int sum_combine(void *arg, struct mr_span key, struct mr_values *values, struct err *e)
{
    struct collector *c = *(struct collector **)arg;
    struct mr_span value;
    int64_t sum = 0;
    (void)e;
    while (mr_values_next(values, &value)) {
        sum += mr_get_i64(value);
    }
    collector_emit_combined(c, key, mr_bytes(&sum, sizeof(sum)));
    return 0;
}

/* A ready-made and a written combiner give the same output as none, summed up per key. */
static void test_combiners(void **state)
{
    const struct fixture *f = *state;
    for (int kind = 0; kind < 2; kind++) {
        for (size_t b = 0; b < 3; b++) {
            for (size_t distinct = 10; distinct <= 100000; distinct *= 100) {
                struct partitioner p;
                struct counters counters;
                struct collector *c;
                counters_init(&counters);
                partitioner_init(&p, 3);
                struct collector_options options = options_of(f, &p, budgets[b]);
                if (kind == 0) {
                    options.aggregate = MR_AGGREGATE_SUM;
                } else {
                    options.combiner = (struct combiner){.arg = &c, .combine = sum_combine};
                }
                c = collector_new(&options);
                struct totals expected = emit_samples(c, 50000, distinct);
                assert_int_equal(finish(c, f, &counters), 0);
                struct totals got = read_output(f, &p, false);
                assert_int_equal(got.sum, expected.sum);
                assert_int_equal(got.mix, expected.mix);
                if (b == 2) { /* it all fitted: each key once */
                    got = read_output(f, &p, true);
                    assert_true(got.records <= distinct);
                }
                counters_deinit(&counters);
                partitioner_deinit(&p);
            }
        }
    }
}

static void test_min_and_max(void **state)
{
    const struct fixture *f = *state;
    for (enum mr_aggregate kind = MR_AGGREGATE_MIN; kind <= MR_AGGREGATE_MAX; kind++) {
        struct partitioner p;
        struct counters counters;
        counters_init(&counters);
        partitioner_init(&p, 1);
        struct collector_options options = options_of(f, &p, 1 << 20);
        options.aggregate = kind;
        struct collector *c = collector_new(&options);
        for (int64_t i = -50000; i <= 50000; i++) {
            struct mr_span key = mr_string(i % 2 ? "odd" : "even");
            collector_emit_keys_i64(c, &key, 1, i);
        }
        assert_int_equal(finish(c, f, &counters), 0);
        struct totals got = read_output(f, &p, true);
        assert_int_equal(got.records, 2);
        assert_int_equal(got.sum, kind == MR_AGGREGATE_MIN ? -99999 : 99999);
        counters_deinit(&counters);
        partitioner_deinit(&p);
    }
}

/* A combiner program that lets through every second record, under keys out of order. */
static int halve(void *arg, const struct mr_record *record, struct err *e)
{
    struct collector *c = *(struct collector **)arg;
    static uint64_t seen;
    (void)e;
    if (record && seen++ % 2 == 0) {
        collector_emit_combined(c, record->key, record->value);
    }
    return 0;
}

static void test_program(void **state)
{
    const struct fixture *f = *state;
    for (size_t b = 0; b < 3; b++) {
        struct partitioner p;
        struct counters counters;
        struct collector *c;
        counters_init(&counters);
        partitioner_init(&p, 4);
        struct collector_options options = options_of(f, &p, budgets[b]);
        options.combiner = (struct combiner){.arg = &c, .feed = halve};
        c = collector_new(&options);
        (void)emit_samples(c, 40000, 1000000);
        assert_int_equal(finish(c, f, &counters), 0);
        struct totals got = read_output(f, &p, false);
        assert_int_equal(got.records, 20000);
        counters_deinit(&counters);
        partitioner_deinit(&p);
    }
}

static void test_huge_and_empty(void **state)
{
    const struct fixture *f = *state;
    for (int aggregate = 0; aggregate < 2; aggregate++) {
        struct partitioner p;
        struct counters counters;
        size_t huge = 5 << 20;
        char *data = xcalloc(1, huge);
        int64_t one = 1;
        counters_init(&counters);
        partitioner_init(&p, 2);
        struct collector_options options = options_of(f, &p, 1 << 20);
        options.aggregate = aggregate ? MR_AGGREGATE_SUM : MR_AGGREGATE_NONE;
        struct collector *c = collector_new(&options);
        for (int i = 0; i < 3; i++) { /* keys larger than the whole budget */
            collector_emit(c, mr_bytes(data, huge), mr_bytes(&one, sizeof(one)));
            collector_emit(c, mr_bytes(NULL, 0), mr_bytes(&one, sizeof(one)));
        }
        assert_int_equal(finish(c, f, &counters), 0);
        struct totals got = read_output(f, &p, false);
        assert_int_equal(got.sum, 6);
        counters_deinit(&counters);
        partitioner_deinit(&p);
        free(data);
    }
    struct partitioner p;
    struct counters counters;
    counters_init(&counters);
    partitioner_init(&p, 5);
    struct collector_options options = options_of(f, &p, 1 << 20);
    assert_int_equal(finish(collector_new(&options), f, &counters), 0);
    assert_int_equal(read_output(f, &p, true).records, 0);
    partitioner_deinit(&p);
    counters_deinit(&counters);
}

static uint32_t bad_partition(struct mr_ctx *ctx, struct mr_span key, uint32_t n)
{
    (void)ctx;
    (void)key;
    return n;
}

static void test_errors_are_kept(void **state)
{
    const struct fixture *f = *state;
    struct partitioner p;
    struct counters counters;
    struct err e = ERR_INIT;
    (void)unlink(f->path);
    counters_init(&counters);
    partitioner_init(&p, 5);
    p.function = bad_partition;
    struct collector_options options = options_of(f, &p, 1 << 20);
    struct collector *c = collector_new(&options);
    collector_emit(c, mr_string("k"), mr_string("v"));
    assert_int_equal(collector_error(c, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "partition()"));
    assert_int_equal(finish(c, f, &counters), ERR_INVALID);
    assert_int_equal(access(f->path, F_OK), -1);

    p.function = NULL;
    options.directory = "/nonexistent/directory";
    c = collector_new(&options);
    (void)emit_samples(c, 100000, 1000000);
    assert_int_equal(finish(c, f, &counters), ERR_NOT_FOUND);
    partitioner_deinit(&p);
    counters_deinit(&counters);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),          cmocka_unit_test(test_combiners),
        cmocka_unit_test(test_min_and_max),    cmocka_unit_test(test_program),
        cmocka_unit_test(test_huge_and_empty), cmocka_unit_test(test_errors_are_kept),
        cmocka_unit_test(test_signs_of_life),
    };
    return cmocka_run_group_tests(tests, make_fixture, drop_fixture);
}
