/* The log store on a real disk and its promises one by one; crashes are enumerated in
 * test_log_store_crash.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/disk.h"
#include "common/limits.h"
#include "common/raft/log_store.h"
#include "common/sys.h"
#include "tests/lib/fake_disk.h"

#define SEGMENT_1 "segment-0000000000000001"

enum { SEGMENT_BYTES = 16384, LONG_SEGMENT_BYTES = 65536 };

static struct log_store *open_log(struct disk *d, uint64_t segment_bytes)
{
    struct log_store *s = NULL;
    struct err e = ERR_INIT;
    struct log_store_options options = {d, segment_bytes, 42};
    if (log_store_open(&options, &s, &e) < 0) {
        fail_msg("%s", err_message(&e));
    }
    return s;
}

static void append(struct log_store *s, term_no term, const char *data, size_t length)
{
    struct log_entry entry = {log_store_last(s) + 1, term, 9, {data, length}};
    assert_int_equal(log_store_append(s, NULL, &entry, 1, NULL), 0);
}

static void append_text(struct log_store *s, term_no term, const char *text)
{
    append(s, term, text, strlen(text));
}

static void assert_entry(struct log_store *s, log_index index, term_no term, const char *text)
{
    struct log_read read;
    log_read_init(&read);
    assert_true(log_store_read(s, index, index + 1, 1, &read, NULL) == 1);
    assert_int_equal(read.entries[0].index, index);
    assert_int_equal(read.entries[0].term, term);
    assert_int_equal(read.entries[0].type, 9);
    assert_int_equal(read.entries[0].data.length, strlen(text));
    assert_memory_equal(read.entries[0].data.data, text, strlen(text));
    log_read_deinit(&read);
}

static void test_real_disk(void **state)
{
    (void)state;
    struct disk *d = NULL;
    struct buf directory = BUF_INIT;
    assert_int_equal(sys_make_temp_dir("log", &directory, NULL), 0);
    assert_int_equal(disk_posix_open(directory.data, &d, NULL), 0);
    struct log_store *s = open_log(d, 0);
    assert_int_equal(log_store_last(s), 0);
    struct log_hard_state hard = {3, 2};
    assert_int_equal(log_store_append(s, &hard, NULL, 0, NULL), 0);
    append_text(s, 3, "one");
    append_text(s, 3, "");
    append_text(s, 3, "three");
    assert_int_equal(log_store_truncate(s, 3, NULL), 0);
    append_text(s, 4, "three again");
    assert_int_equal(log_store_sync(s, NULL), 0);
    assert_int_equal(log_store_stats(s).sync_count, 1);
    log_store_close(s);

    s = open_log(d, 0);
    term_no term = 0;
    assert_int_equal(log_store_hard(s).term, 3);
    assert_int_equal(log_store_hard(s).vote, 2);
    assert_int_equal(log_store_last(s), 3);
    assert_entry(s, 1, 3, "one");
    assert_entry(s, 2, 3, "");
    assert_entry(s, 3, 4, "three again");
    assert_int_equal(log_store_term(s, 3, &term), 0);
    assert_int_equal(term, 4);
    assert_int_equal(log_store_term(s, 4, &term), ERR_NOT_FOUND);
    assert_int_equal(log_store_stats(s).torn_count, 0);
    log_store_close(s);
    disk_free(d);
    assert_int_equal(sys_remove_tree(directory.data, NULL), 0);
    buf_deinit(&directory);
}

static void test_segments_are_dropped_and_recycled(void **state)
{
    (void)state;
    char data[3000] = {'x'};
    struct fake_disk *d = fake_disk_new();
    struct log_store *s = open_log(fake_disk_as_disk(d), SEGMENT_BYTES);
    for (int i = 0; i < 100; i++) {
        append(s, 1, data, sizeof(data));
        if (i % 10 == 9) {
            assert_int_equal(log_store_compact(s, log_store_last(s) - 2, NULL), 0);
            assert_true(log_store_stats(s).segment_count <= 3);
            assert_true(log_store_start(s) <= log_store_last(s) - 2);
        }
    }
    struct log_store_stats stats = log_store_stats(s);
    assert_true(stats.recycled_count > 10);
    assert_true(stats.spare_count <= LOG_SPARE_COUNT_MAX);
    assert_true(fake_disk_files(d) <= 6);
    log_index start = log_store_start(s);
    log_store_close(s);
    s = open_log(fake_disk_as_disk(d), SEGMENT_BYTES);
    assert_int_equal(log_store_last(s), 100);
    assert_int_equal(log_store_start(s), start);

    assert_int_equal(log_store_reset(s, 5000, 8, NULL), 0);
    assert_int_equal(log_store_last(s), 5000);
    assert_int_equal(log_store_stats(s).segment_count, 1);
    append_text(s, 9, "after the snapshot");
    log_store_close(s);
    s = open_log(fake_disk_as_disk(d), SEGMENT_BYTES);
    term_no term = 0;
    assert_int_equal(log_store_start(s), 5000);
    assert_int_equal(log_store_term(s, 5000, &term), 0);
    assert_int_equal(term, 8);
    assert_entry(s, 5001, 9, "after the snapshot");
    log_store_close(s);
    fake_disk_free(d);
}

static void test_limits(void **state)
{
    (void)state;
    struct fake_disk *d = fake_disk_new();
    struct log_store *s = open_log(fake_disk_as_disk(d), 0);
    char *big = calloc(1, LOG_ENTRY_BYTES_MAX + 1);
    assert_non_null(big);
    struct log_entry entries[4];
    for (size_t i = 0; i < 4; i++) {
        entries[i] = (struct log_entry){i + 1, 1, 0, {big, LOG_ENTRY_BYTES_MAX}};
    }
    struct log_entry over = {1, 1, 0, {big, LOG_ENTRY_BYTES_MAX + 1}};
    assert_int_equal(log_store_append(s, NULL, &over, 1, NULL), ERR_TOO_LARGE);
    assert_int_equal(log_store_append(s, NULL, entries, 4, NULL), 0);
    assert_int_equal(log_store_last(s), 4);
    assert_int_equal(log_store_stats(s).batch_count, 4); /* cut to what one batch may hold */

    struct log_read read;
    log_read_init(&read);
    assert_int_equal(log_store_read(s, 1, 5, 1, &read, NULL), 1);
    assert_int_equal(log_store_read(s, 3, 9, SIZE_MAX, &read, NULL), 2);
    assert_int_equal(read.entries[1].data.length, LOG_ENTRY_BYTES_MAX);
    assert_int_equal(log_store_read(s, 5, 6, 1, &read, NULL), ERR_NOT_FOUND);
    assert_int_equal(log_store_read(s, 0, 6, 1, &read, NULL), ERR_NOT_FOUND);
    log_read_deinit(&read);
    log_store_close(s);
    free(big);
    fake_disk_free(d);
}

/* One batch may be of the very size that brings old, once lost ones right behind new ones. They
 * must not come back. */
static void resurrect(size_t length, uint64_t seed)
{
    char data[64] = {0};
    struct fake_disk *d = fake_disk_new();
    struct log_store *s = open_log(fake_disk_as_disk(d), SEGMENT_BYTES);
    append_text(s, 1, "synced");
    assert_int_equal(log_store_sync(s, NULL), 0);
    for (term_no term = 2; term < 6; term++) {
        struct log_hard_state hard = {term, 1};
        assert_int_equal(log_store_append(s, &hard, NULL, 0, NULL), 0);
    }
    append_text(s, 1, "lost");
    log_store_close(s);
    fake_disk_crash(d, FAKE_CRASH_SUBSET, seed);

    s = open_log(fake_disk_as_disk(d), SEGMENT_BYTES);
    log_index last = log_store_last(s);
    append(s, 7, data, length);
    assert_int_equal(log_store_sync(s, NULL), 0);
    struct log_hard_state hard = log_store_hard(s);
    log_store_close(s);
    s = open_log(fake_disk_as_disk(d), SEGMENT_BYTES);
    assert_int_equal(log_store_last(s), last + 1);
    assert_int_equal(log_store_hard(s).term, hard.term);
    log_store_close(s);
    fake_disk_free(d);
}

static void test_what_was_cut_stays_cut(void **state)
{
    (void)state;
    for (size_t length = 0; length <= 64; length += 8) {
        for (uint64_t seed = 0; seed < 100; seed++) {
            resurrect(length, seed);
        }
    }
}

/* A log of synced entries; each one's batch is vouched for by the next, the last by the idle batch
 * if `idle`. */
static struct fake_disk *make_synced_log(bool idle)
{
    struct fake_disk *d = fake_disk_new();
    struct log_store *s = open_log(fake_disk_as_disk(d), LONG_SEGMENT_BYTES);
    for (int i = 0; i < 5; i++) {
        append_text(s, 1, "synced");
        assert_int_equal(log_store_sync(s, NULL), 0);
    }
    if (idle) {
        assert_int_equal(log_store_tick(s, 100, NULL), 0);
        assert_int_equal(log_store_tick(s, 100 + LOG_IDLE_MS, NULL), 0);
        uint64_t batches = log_store_stats(s).batch_count;
        assert_int_equal(batches, 6);
        assert_int_equal(log_store_tick(s, 100 + 9 * LOG_IDLE_MS, NULL), 0);
        assert_int_equal(log_store_stats(s).batch_count, batches);
    }
    log_store_close(s);
    return d;
}

/* Damages byte `at` and opens. Returns the error, or the last index. */
static int64_t open_damaged(bool idle, size_t at, struct err *e)
{
    struct fake_disk *d = make_synced_log(idle);
    struct log_store *s = NULL;
    struct log_store_options options = {fake_disk_as_disk(d), LONG_SEGMENT_BYTES, 42};
    size_t length = 0;
    uint8_t *bytes = fake_disk_bytes(d, SEGMENT_1, &length);
    assert_non_null(bytes);
    assert_true(at < length);
    bytes[at] ^= 0x10;
    int64_t r = log_store_open(&options, &s, e);
    if (r == 0) {
        r = (int64_t)log_store_last(s);
    }
    log_store_close(s);
    fake_disk_free(d);
    return r;
}

enum { BATCH_BYTES = LOG_BATCH_HEADER_BYTES + LOG_RECORD_HEADER_BYTES + 8 };

static void test_damage_to_synced_bytes_is_corruption(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    /* Every byte of header block and of all five batches. */
    for (size_t at = 0; at < LOG_SEGMENT_HEADER_BYTES + 5 * BATCH_BYTES; at++) {
        if (at == 128) {
            at = LOG_SEGMENT_HEADER_BYTES - 128; /* the padding between is all alike */
        }
        int64_t r = open_damaged(true, at, &e);
        if (r != ERR_CORRUPT && r != ERR_VERSION) {
            fail_msg("byte %zu: %ld", at, (long)r);
        }
    }
    assert_int_equal(open_damaged(true, LOG_SEGMENT_HEADER_BYTES + 3 * BATCH_BYTES, &e),
                     ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "was durable"));
    assert_int_equal(open_damaged(true, 8, &e), ERR_VERSION);
}

static void test_damage_above_is_a_torn_write(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    size_t last = LOG_SEGMENT_HEADER_BYTES + 4 * BATCH_BYTES;
    for (size_t at = last; at < last + BATCH_BYTES; at++) {
        assert_int_equal(open_damaged(false, at, &e), 4); /* nobody vouches for the last batch */
    }
    assert_int_equal(open_damaged(true, last + BATCH_BYTES, &e), 5); /* the idle batch itself */
}

static void test_torn_writes_are_counted(void **state)
{
    (void)state;
    struct fake_disk *d = make_synced_log(false);
    size_t length = 0;
    uint8_t *bytes = fake_disk_bytes(d, SEGMENT_1, &length);
    bytes[LOG_SEGMENT_HEADER_BYTES + 4 * BATCH_BYTES + LOG_BATCH_HEADER_BYTES] ^= 1;
    struct log_store *s = open_log(fake_disk_as_disk(d), LONG_SEGMENT_BYTES);
    assert_int_equal(log_store_stats(s).torn_count, 1);
    log_store_close(s);
    s = open_log(fake_disk_as_disk(d), LONG_SEGMENT_BYTES);
    assert_int_equal(log_store_stats(s).torn_count, 0);
    log_store_close(s);
    fake_disk_free(d);
}

static void test_missing_and_foreign_files(void **state)
{
    (void)state;
    char data[3000] = {0};
    struct err e = ERR_INIT;
    struct fake_disk *d = fake_disk_new();
    struct log_store *s = open_log(fake_disk_as_disk(d), SEGMENT_BYTES);
    for (int i = 0; i < 20; i++) {
        append(s, 1, data, sizeof(data));
    }
    log_store_close(s);
    struct log_store_options options = {fake_disk_as_disk(d), SEGMENT_BYTES, 1};
    assert_int_equal(disk_rename(options.disk, SEGMENT_1, "spare-0000000000000001", NULL), 0);
    assert_int_equal(log_store_open(&options, &s, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "missing"));
    fake_disk_put(d, "README", (struct span){"x", 1});
    assert_int_equal(log_store_open(&options, &s, &e), ERR_INVALID);
    fake_disk_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_disk),
        cmocka_unit_test(test_segments_are_dropped_and_recycled),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_what_was_cut_stays_cut),
        cmocka_unit_test(test_damage_to_synced_bytes_is_corruption),
        cmocka_unit_test(test_damage_above_is_a_torn_write),
        cmocka_unit_test(test_torn_writes_are_counted),
        cmocka_unit_test(test_missing_and_foreign_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
