/* kv over RocksDB: its views against the twin in memory with random work, durability across an
 * abrupt end, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/kv.h"
#include "common/rng.h"
#include "common/sys.h"
#include "tests/lib/mem_kv.h"

static struct buf directory;

static int setup(void **state)
{
    (void)state;
    buf_init(&directory);
    return sys_make_temp_dir("kv", &directory, NULL);
}

static int teardown(void **state)
{
    (void)state;
    int r = sys_remove_tree(directory.data, NULL);
    buf_deinit(&directory);
    return r;
}

static struct span text(const char *string)
{
    return (struct span){string, strlen(string)};
}

static const char *path_of(const char *name)
{
    static char path[4][256];
    static unsigned turn;
    turn = (turn + 1) % 4;
    (void)snprintf(path[turn], sizeof(path[turn]), "%s/%s", directory.data, name);
    return path[turn];
}

static struct kv *open_kv(const char *name, bool wal)
{
    struct kv *kv = NULL;
    struct err e = ERR_INIT;
    if (kv_open(path_of(name), &(struct kv_options){.wal = wal}, &kv, &e) < 0) {
        fail_msg("%s", err_message(&e));
    }
    return kv;
}

static void put(struct kv *kv, const char *key, const char *value, enum kv_durability durability)
{
    struct kv_batch *b = kv_batch_new(kv);
    kv_batch_put(b, text(key), text(value));
    assert_int_equal(kv_write(kv, b, durability, NULL), 0);
    assert_int_equal(kv_batch_count(b), 0);
    kv_batch_free(b);
}

static void assert_value(struct kv *kv, const char *key, const char *value)
{
    struct buf got = BUF_INIT;
    int r = kv_get(kv, NULL, text(key), &got, NULL);
    assert_int_equal(r, value ? 0 : ERR_NOT_FOUND);
    if (value) {
        assert_string_equal(got.data, value);
    }
    buf_deinit(&got);
}

static int collect(void *arg, struct span key, struct span value)
{
    struct buf *out = arg;
    buf_append(out, key.data, key.length);
    buf_append_byte(out, '=');
    buf_append(out, value.data, value.length);
    buf_append_byte(out, '\n');
    return 0;
}

static struct span random_key(struct rng *rng, char bytes[3])
{
    size_t length = 1 + rng_below(rng, 3);
    for (size_t i = 0; i < length; i++) {
        bytes[i] = "\0ab\xff"[rng_below(rng, 4)];
    }
    return (struct span){bytes, length};
}

static void compare_views(const struct kv_view *a, const struct kv_view *b, struct rng *rng)
{
    char bytes[2][3];
    struct buf got[2] = {BUF_INIT, BUF_INIT};
    struct span key = random_key(rng, bytes[0]);
    int r = kv_view_get(a, key, &got[0]);
    assert_int_equal(r, kv_view_get(b, key, &got[1]));
    assert_int_equal(got[0].length, got[1].length);
    assert_memory_equal(got[0].data, got[1].data, got[0].length);

    struct kv_range range = {.reverse = rng_below(rng, 2)};
    range.start = rng_below(rng, 3) ? random_key(rng, bytes[0]) : (struct span){0};
    range.end = rng_below(rng, 3) ? random_key(rng, bytes[1]) : (struct span){0};
    buf_clear(&got[0]);
    buf_clear(&got[1]);
    assert_int_equal(kv_view_scan(a, &range, collect, &got[0]), 0);
    assert_int_equal(kv_view_scan(b, &range, collect, &got[1]), 0);
    assert_int_equal(got[0].length, got[1].length);
    assert_memory_equal(got[0].data, got[1].data, got[0].length);
    buf_deinit(&got[0]);
    buf_deinit(&got[1]);
}

/* Puts, dels, gets and scans on the batch's view and in memory must always agree, before and after
 * writes and flushes. */
static void compare_with_memory(const char *name, struct kv_batch *new_batch(struct kv *kv))
{
    struct rng rng;
    struct mem_kv memory;
    rng_seed(&rng, 1);
    mem_kv_init(&memory);
    struct kv *kv = open_kv(name, false);
    struct kv_batch *batch = new_batch(kv);
    struct kv_view views[2] = {kv_batch_view(batch), mem_kv_view(&memory)};
    for (int i = 0; i < 6000; i++) {
        char bytes[3];
        char number[16];
        struct span key = random_key(&rng, bytes);
        bool deletes = rng_below(&rng, 3) == 0;
        (void)snprintf(number, sizeof(number), "%d", i);
        struct buf had = BUF_INIT;
        bool is_new = !deletes && kv_view_get(&views[1], key, &had) == ERR_NOT_FOUND;
        buf_deinit(&had);
        for (int v = 0; v < 2 && is_new; v++) {
            kv_view_put_new(&views[v], key, text(number));
        }
        for (int v = 0; v < 2 && !deletes && !is_new; v++) {
            kv_view_put(&views[v], key, text(number));
        }
        for (int v = 0; v < 2 && deletes; v++) {
            kv_view_del(&views[v], key);
        }
        compare_views(&views[0], &views[1], &rng);
        if (rng_below(&rng, 30) == 0) {
            assert_int_equal(kv_write(kv, batch, KV_UNSYNCED, NULL), 0);
        }
        if (rng_below(&rng, 1000) == 0) {
            assert_int_equal(kv_flush(kv, NULL), 0);
        }
    }
    kv_batch_free(batch);
    mem_kv_deinit(&memory);
    kv_close(kv);
}

static void test_batch_view_is_like_memory(void **state)
{
    (void)state;
    compare_with_memory("view", kv_batch_new);
    compare_with_memory("sole", kv_batch_new_sole);
}

static void test_snapshot(void **state)
{
    (void)state;
    struct buf got = BUF_INIT;
    struct kv *kv = open_kv("snapshot", true);
    put(kv, "a", "old", KV_UNSYNCED);
    struct kv_snapshot *snapshot = kv_snapshot_new(kv);
    put(kv, "a", "new", KV_UNSYNCED);
    put(kv, "b", "new", KV_UNSYNCED);
    struct kv_view view = kv_snapshot_view(snapshot);
    assert_int_equal(kv_view_get(&view, text("a"), &got), 0);
    assert_string_equal(got.data, "old");
    assert_int_equal(kv_view_get(&view, text("b"), &got), ERR_NOT_FOUND);
    buf_clear(&got);
    assert_int_equal(kv_view_scan(&view, &(struct kv_range){0}, collect, &got), 0);
    assert_string_equal(got.data, "a=old\n");
    assert_value(kv, "a", "new");
    kv_snapshot_free(snapshot);
    kv_close(kv);
    buf_deinit(&got);
}

/* Runs work in a child that ends without closing the database, as kill -9 would. */
static void in_killed_child(void (*work)(struct kv *), const char *name, bool wal)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        work(open_kv(name, wal));
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void write_some(struct kv *kv)
{
    struct buf got = BUF_INIT;
    put(kv, "flushed", "1", KV_UNSYNCED);
    put(kv, "applied", "7", KV_UNSYNCED);
    if (kv_get_persisted(kv, text("applied"), &got, NULL) != ERR_NOT_FOUND ||
        kv_flush(kv, NULL) != 0) {
        _exit(1);
    }
    put(kv, "lost", "1", KV_UNSYNCED);
    put(kv, "applied", "8", KV_UNSYNCED);
    if (kv_get_persisted(kv, text("applied"), &got, NULL) != 0 || strcmp(got.data, "7") != 0 ||
        kv_get(kv, NULL, text("applied"), &got, NULL) != 0 || strcmp(got.data, "8") != 0) {
        _exit(2);
    }
}

static void test_without_wal_what_is_flushed_stays(void **state)
{
    (void)state;
    in_killed_child(write_some, "nowal", false);
    struct kv *kv = open_kv("nowal", false);
    assert_value(kv, "flushed", "1");
    assert_value(kv, "applied", "7");
    assert_value(kv, "lost", NULL);
    put(kv, "closed", "1", KV_UNSYNCED);
    kv_close(kv); /* flushes */
    kv = open_kv("nowal", false);
    assert_value(kv, "closed", "1");
    kv_close(kv);
}

static void write_unsynced(struct kv *kv)
{
    put(kv, "unsynced", "1", KV_UNSYNCED);
    put(kv, "synced", "1", KV_SYNCED);
    put(kv, "after", "1", KV_UNSYNCED);
    if (kv_sync(kv, NULL) != 0) { /* that it reaches the disk is for the crash tests to show */
        _exit(1);
    }
    put(kv, "later", "1", KV_UNSYNCED);
}

static void test_with_wal_all_stays(void **state)
{
    (void)state;
    in_killed_child(write_unsynced, "wal", true);
    struct kv *kv = open_kv("wal", true);
    assert_value(kv, "unsynced", "1");
    assert_value(kv, "later", "1");
    assert_value(kv, "synced", "1");
    assert_value(kv, "after", "1");
    kv_close(kv);
}

static void test_checkpoint(void **state)
{
    (void)state;
    struct kv *kv = open_kv("source", false);
    put(kv, "a", "1", KV_UNSYNCED);
    assert_int_equal(kv_checkpoint(kv, path_of("copy"), NULL), 0);
    put(kv, "a", "2", KV_UNSYNCED);
    struct kv *copy = open_kv("copy", false);
    assert_value(copy, "a", "1");
    assert_value(kv, "a", "2");
    assert_true(kv_checkpoint(kv, path_of("copy"), NULL) < 0);
    kv_close(copy);
    kv_close(kv);
}

static void test_errors(void **state)
{
    (void)state;
    struct kv *kv = open_kv("errors", true);
    struct kv *second = NULL;
    struct err e = ERR_INIT;
    struct kv_options options = {.wal = true, .must_exist = true};
    assert_int_equal(kv_open(path_of("errors"), &options, &second, &e), ERR_BUSY);
    assert_int_equal(kv_open(path_of("nothing"), &options, &second, &e), ERR_NOT_FOUND);
    assert_int_equal(kv_open(path_of("no/such/parent"), &options, &second, &e), ERR_NOT_FOUND);
    put(kv, "a", "1", KV_SYNCED);
    kv_close(kv);
    assert_int_equal(
        sys_write_file_atomic(path_of("errors/CURRENT"), "MANIFEST-999999\n", 16, NULL), 0);
    int r = kv_open(path_of("errors"), &options, &second, &e);
    assert_true(r == ERR_CORRUPT || r == ERR_NOT_FOUND || r == ERR_IO);
}

static void test_open_is_quick(void **state)
{
    (void)state;
    uint64_t start = clock_mono_us();
    struct kv *kv = open_kv("quick", true);
    uint64_t created = clock_mono_us();
    put(kv, "a", "1", KV_SYNCED);
    uint64_t written = clock_mono_us();
    kv_close(kv);
    uint64_t closed = clock_mono_us();
    kv = open_kv("quick", true);
    uint64_t opened = clock_mono_us();
    struct kv_stats stats = kv_stats(kv);
    assert_int_equal(stats.key_count, 1);
    kv_close(kv);
    print_message("create %lu us, synced write %lu us, close %lu us, open %lu us\n",
                  (unsigned long)(created - start), (unsigned long)(written - created),
                  (unsigned long)(closed - written), (unsigned long)(opened - closed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_wal_what_is_flushed_stays), /* first: they fork */
        cmocka_unit_test(test_with_wal_all_stays),
        cmocka_unit_test(test_batch_view_is_like_memory),
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_open_is_quick),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
