/* Map output files: what is written is read, damage anywhere is noticed, and merges of any number
 * of runs give the order of a stable sort. */
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
#include "common/limits.h"
#include "common/rng.h"
#include "common/sys.h"
#include "mapreduce/engine/merge.h"
#include "mapreduce/engine/record.h"
#include "mapreduce/engine/runset.h"

struct file {
    struct buf bytes;
    struct run_index index;
};

/* A run of 3 partitions: the second is empty, the third has large and empty records. */
static void write_file(struct file *f, bool compress)
{
    struct region memory = REGION_INIT;
    struct run_writer w;
    buf_init(&f->bytes);
    struct sink *sink = sink_of_buf(&f->bytes);
    run_writer_init(&w, sink, &memory, 3, compress);
    for (int i = 0; i < 20000; i++) {
        char key[16];
        int length = snprintf(key, sizeof(key), "key%06d", i);
        assert_int_equal(
            run_writer_add(&w, mr_bytes(key, (size_t)length), mr_string("value"), NULL), 0);
    }
    assert_int_equal(run_writer_end_segment(&w, NULL), 0);
    assert_int_equal(run_writer_end_segment(&w, NULL), 0);
    char *large = xcalloc(1, MR_BLOCK_BYTES * 3);
    assert_int_equal(run_writer_add(&w, mr_bytes(NULL, 0), mr_bytes(NULL, 0), NULL), 0);
    assert_int_equal(run_writer_add(&w, mr_string("a"), mr_bytes(large, MR_BLOCK_BYTES * 3), NULL),
                     0);
    assert_int_equal(run_writer_add(&w, mr_bytes(large, MR_BLOCK_BYTES), mr_string("b"), NULL), 0);
    assert_int_equal(run_writer_add(&w, mr_string("c"), mr_bytes(NULL, 0), NULL), 0);
    free(large);
    assert_int_equal(run_writer_end_segment(&w, NULL), 0);
    assert_int_equal(run_writer_finish(&w, &f->index, NULL), 0);
    run_writer_deinit(&w);
    sink_free(sink);
    region_deinit(&memory);
}

static void file_deinit(struct file *f)
{
    buf_deinit(&f->bytes);
    run_index_deinit(&f->index);
}

/* Reads all of a file; the number of records, or the first error. */
static int64_t read_all(const void *data, size_t length)
{
    struct source *source = source_of_memory(data, length, "run");
    struct run_index index = {NULL, 0};
    struct run_reader reader;
    int64_t records = 0;
    run_reader_init(&reader);
    int64_t r = run_index_read(source, &index, NULL);
    for (uint32_t p = 0; p < index.count && r >= 0; p++) {
        struct mr_record record;
        run_reader_begin(&reader, source, index.segments[p].offset, index.segments[p].length);
        while ((r = run_reader_next(&reader, &record, NULL)) > 0) {
            records++;
        }
    }
    run_reader_deinit(&reader);
    run_index_deinit(&index);
    source_free(source);
    return r < 0 ? r : records;
}

static void check_file(bool compress)
{
    struct file f;
    write_file(&f, compress);
    assert_int_equal(f.index.count, 3);
    assert_int_equal(f.index.segments[0].records, 20000);
    assert_int_equal(f.index.segments[1].length, 0);
    assert_int_equal(f.index.segments[2].records, 4);
    assert_int_equal(read_all(f.bytes.data, f.bytes.length), 20004);

    struct source *source = source_of_memory(f.bytes.data, f.bytes.length, "run");
    struct run_reader reader;
    struct mr_record record;
    run_reader_init(&reader);
    run_reader_begin(&reader, source, f.index.segments[0].offset, f.index.segments[0].length);
    for (int i = 0; i < 20000; i++) {
        char key[16];
        int length = snprintf(key, sizeof(key), "key%06d", i);
        assert_int_equal(run_reader_next(&reader, &record, NULL), 1);
        assert_true(mr_equal(record.key, mr_bytes(key, (size_t)length)));
        assert_true(mr_equal(record.value, mr_string("value")));
    }
    assert_int_equal(run_reader_next(&reader, &record, NULL), 0);
    run_reader_deinit(&reader);
    source_free(source);
    file_deinit(&f);
}

static void test_write_and_read(void **state)
{
    (void)state;
    check_file(false);
    check_file(true);
}

static void test_damage_is_noticed(void **state)
{
    (void)state;
    for (int compress = 0; compress < 2; compress++) {
        struct file f;
        write_file(&f, compress != 0);
        struct rng rng;
        rng_seed(&rng, 3);
        for (int i = 0; i < 400; i++) { /* the first and last bytes, and some between */
            size_t at = i < 100   ? (size_t)i
                        : i < 300 ? f.bytes.length - (size_t)i + 99
                                  : rng_below(&rng, f.bytes.length);
            char before = f.bytes.data[at];
            f.bytes.data[at] ^= (char)(1 << rng_below(&rng, 8));
            int64_t r = read_all(f.bytes.data, f.bytes.length);
            assert_true(r == ERR_CORRUPT || r == ERR_VERSION);
            f.bytes.data[at] = before;
        }
        for (size_t cut = 1; cut < 200; cut += 7) {
            assert_true(read_all(f.bytes.data, f.bytes.length - cut) < 0);
        }
        file_deinit(&f);
    }
}

/* ---- Merging ---- */

enum { PARTITIONS = 2 };

static void add_run(struct runset *set, struct rng *rng, uint32_t run, uint32_t *next)
{
    char *path;
    struct sink *sink;
    struct run_writer w;
    struct run_index index;
    assert_int_equal(runset_make_file(set, &path, &sink, NULL), 0);
    run_writer_init(&w, sink, set->memory, PARTITIONS, run % 2 == 0);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        uint32_t count = (uint32_t)rng_below(rng, 60);
        uint32_t key = 0;
        for (uint32_t i = 0; i < count; i++) { /* rising keys with repetitions; value: age */
            key += (uint32_t)rng_below(rng, 3);
            char text[16];
            int length = snprintf(text, sizeof(text), "prefix-%05u", key);
            uint32_t age = (*next)++;
            assert_int_equal(run_writer_add(&w, mr_bytes(text, (size_t)length),
                                            mr_bytes(&age, sizeof(age)), NULL),
                             0);
        }
        assert_int_equal(run_writer_end_segment(&w, NULL), 0);
    }
    assert_int_equal(run_writer_finish(&w, &index, NULL), 0);
    run_writer_deinit(&w);
    sink_free(sink);
    assert_int_equal(runset_keep_file(set, path, &index, NULL), 0);
}

static uint64_t check_order(struct runset *set)
{
    struct merge m;
    uint64_t records = 0;
    merge_init(&m);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        struct mr_record record;
        char last_key[32] = "";
        uint32_t last_age = 0;
        runset_merge(set, p, &m);
        while (merge_next(&m, &record, NULL) > 0) {
            uint32_t age;
            memcpy(&age, record.value.data, sizeof(age));
            int order = key_compare(mr_string(last_key), record.key);
            assert_true(order < 0 || (order == 0 && last_age < age));
            memcpy(last_key, record.key.data, record.key.length);
            last_key[record.key.length] = '\0';
            last_age = age;
            records++;
        }
    }
    merge_deinit(&m);
    return records;
}

static void count_call(void *arg)
{
    ++*(uint64_t *)arg;
}

static void test_merge_passes(void **state)
{
    (void)state;
    static const size_t run_counts[] = {0, 1, 2, 3, 7, 63, 64, 65, 150};
    static const size_t fan_ins[] = {2, 3, 10, 64};
    struct buf directory = BUF_INIT;
    struct region memory = REGION_INIT;
    assert_int_equal(sys_make_temp_dir("test_engine_run", &directory, NULL), 0);
    for (size_t n = 0; n < sizeof(run_counts) / sizeof(run_counts[0]); n++) {
        for (size_t f = 0; f < sizeof(fan_ins) / sizeof(fan_ins[0]); f++) {
            struct runset set;
            struct rng rng;
            uint32_t next = 0;
            uint64_t alive = 0;
            rng_seed(&rng, n);
            runset_init(&set, directory.data, "t", PARTITIONS, &memory);
            set.alive = count_call;
            set.alive_arg = &alive;
            for (uint32_t run = 0; run < run_counts[n]; run++) {
                add_run(&set, &rng, run, &next);
            }
            assert_int_equal(runset_shrink(&set, fan_ins[f], NULL), 0);
            assert_true(set.count <= fan_ins[f]);
            assert_true(run_counts[n] < 10 || run_counts[n] <= fan_ins[f] || alive > 0);
            assert_int_equal(check_order(&set), next);
            runset_deinit(&set);
        }
    }
    region_deinit(&memory);
    assert_int_equal(rmdir(directory.data), 0); /* all temporary files are gone */
    buf_deinit(&directory);
}

static void test_groups(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT;
    struct region memory = REGION_INIT;
    struct run_writer w;
    struct run_index index;
    struct sink *sink = sink_of_buf(&bytes);
    run_writer_init(&w, sink, &memory, 1, false);
    static const char *const keys[] = {"", "a", "a", "a", "b", "c", "c"};
    for (size_t i = 0; i < 7; i++) {
        char value[2] = {(char)('0' + i), '\0'};
        assert_int_equal(run_writer_add(&w, mr_string(keys[i]), mr_string(value), NULL), 0);
    }
    assert_int_equal(run_writer_end_segment(&w, NULL), 0);
    assert_int_equal(run_writer_finish(&w, &index, NULL), 0);
    struct source *source = source_of_memory(bytes.data, bytes.length, "run");
    for (uint64_t take = 0; take < 5; take++) { /* values not taken are skipped */
        struct merge m;
        struct group g;
        struct mr_span key;
        struct buf got = BUF_INIT;
        merge_init(&m);
        merge_begin(&m);
        merge_add(&m, source, 0, index.segments[0].length);
        group_init(&g, &m, NULL);
        while (group_next(&g, &key) > 0) {
            struct mr_span value;
            buf_append(&got, key.data, key.length);
            for (uint64_t i = 0; i < take && mr_values_next(&g.values, &value); i++) {
                buf_append(&got, value.data, value.length);
            }
            buf_append_byte(&got, ';');
        }
        static const char *const expected[] = {";a;b;c;", "0;a1;b4;c5;", "0;a12;b4;c56;",
                                               "0;a123;b4;c56;", "0;a123;b4;c56;"};
        assert_string_equal(got.data, expected[take]);
        assert_int_equal(m.records, 7);
        group_deinit(&g);
        merge_deinit(&m);
        buf_deinit(&got);
    }
    run_writer_deinit(&w);
    run_index_deinit(&index);
    source_free(source);
    sink_free(sink);
    region_deinit(&memory);
    buf_deinit(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_and_read),
        cmocka_unit_test(test_damage_is_noticed),
        cmocka_unit_test(test_merge_passes),
        cmocka_unit_test(test_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
