/* fsmaster/state: whole groups gather in a batch that is written when somebody must see it; nothing
 * of that may be noticed by who reads, makes durable, copies or starts again. */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/arena.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/sys.h"
#include "fsmaster/command_rpc.h"
#include "fsmaster/state.h"

enum { MANY = 3000 }; /* more keys than a batch keeps */

struct fixture {
    struct buf directory;
    struct state *state;
    log_index last;
};

static struct state *open_state(const struct fixture *f)
{
    struct state *s = NULL;
    struct err e = ERR_INIT;
    if (state_open(&(struct state_options){.data = f->directory.data}, &s, &e) < 0) {
        fail_msg("%s", err_message(&e));
    }
    return s;
}

static int apply_bytes(struct fixture *f, struct span bytes, struct err *e)
{
    void *outcome = NULL;
    struct consensus_entry entry = {
        .index = f->last + 1, .term = 1, .type = LOG_ENTRY_COMMAND, .bytes = bytes};
    int r = state_apply(f->state, &entry, 1, &outcome, e);
    if (r == 0) {
        f->last++;
        applied_group_free(outcome);
    }
    return r;
}

/* A group of one entry. */
static void apply(struct fixture *f, const struct command_entry *command)
{
    struct arena arena;
    struct buf bytes = BUF_INIT;
    struct err e = ERR_INIT;
    arena_init(&arena, 0);
    int r = command_encode(command, &arena, &bytes, &e);
    r = r < 0 ? r : apply_bytes(f, (struct span){bytes.data, bytes.length}, &e);
    if (r < 0) {
        fail_msg("%s", err_message(&e));
    }
    buf_deinit(&bytes);
    arena_deinit(&arena);
}

/* The session has one operation at a time: each acknowledges the reply before it. */
static void make_directory(struct fixture *f, uint64_t seq)
{
    char path[32];
    (void)snprintf(path, sizeof(path), "/%" PRIu64, seq);
    struct operation op = {.seq = seq, .kind = OPERATION_MKDIR, .mkdir = {.path = path}};
    struct command_entry entry = {.kind = ENTRY_MUTATE,
                                  .cluster_ms = 1,
                                  .wall_ms = 1,
                                  .caller = {.user = "root", .is_superuser = true},
                                  .mutate = {7, seq, &op, 1}};
    apply(f, &entry);
}

static void assert_readable(struct state *s, log_index applied, uint64_t directories)
{
    struct state_read read;
    struct arena arena;
    struct caller caller = {.user = "root", .is_superuser = true};
    struct attributes attributes;
    log_index got = 0;
    char path[32];
    arena_init(&arena, 0);
    state_read_begin(s, &read);
    assert_int_equal(state_read_applied(&read, &got), 0);
    assert_int_equal(got, applied);
    for (uint64_t seq = directories > 20 ? directories - 20 : 1; seq <= directories + 1; seq++) {
        (void)snprintf(path, sizeof(path), "/%" PRIu64, seq);
        struct target target = {.path = path};
        assert_int_equal(namespace_stat(&read.view, &caller, &target, &arena, &attributes),
                         seq <= directories ? 0 : ERR_NOT_FOUND);
    }
    state_read_end(&read);
    arena_deinit(&arena);
}

static int setup(void **ret)
{
    static struct fixture f;
    struct command_entry format = {.kind = ENTRY_FORMAT, .format = {"test", "root", 3}};
    f = (struct fixture){.directory = BUF_INIT};
    *ret = &f;
    if (sys_make_temp_dir("state", &f.directory, NULL) < 0) {
        return -1;
    }
    f.state = open_state(&f);
    apply(&f, &format);
    return 0;
}

static int teardown(void **fixture)
{
    struct fixture *f = *fixture;
    state_close(f->state);
    int r = sys_remove_tree(f->directory.data, NULL);
    buf_deinit(&f->directory);
    return r;
}

static void test_reads_see_what_was_applied(void **fixture)
{
    struct fixture *f = *fixture;
    uint64_t seq = 0;
    assert_readable(f->state, f->last, seq);
    for (int i = 0; i < 200; i++) { /* written at once for a while after each read, then not */
        make_directory(f, ++seq);
        if (i % 67 == 0 || i < 5) {
            assert_readable(f->state, f->last, seq);
        }
    }
    while (seq < MANY) {
        make_directory(f, ++seq);
    }
    assert_readable(f->state, f->last, seq);
}

struct reader {
    struct state *state;
    atomic_ullong told; /* the last entry whose outcome is known */
    atomic_bool stop;
    uint64_t reads;
};

/* Sees each entry whose outcome was told before, and never goes back. */
static void *read_on(void *arg)
{
    struct reader *r = arg;
    log_index seen = 0;
    while (!atomic_load(&r->stop)) {
        struct state_read read;
        log_index told = atomic_load(&r->told);
        log_index got = 0;
        state_read_begin(r->state, &read);
        CHECK(state_read_applied(&read, &got) == 0);
        CHECK(got >= told && got >= seen);
        state_read_end(&read);
        seen = got;
        r->reads++;
        if (r->reads % 64 == 0) { /* else each group would be written at once */
            clock_sleep_ms(2);
        }
    }
    return NULL;
}

static void test_reads_beside_apply(void **fixture)
{
    struct fixture *f = *fixture;
    struct reader readers[2];
    pthread_t threads[2];
    log_index index = 0;
    for (int i = 0; i < 2; i++) {
        readers[i] = (struct reader){.state = f->state};
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readers[i]), 0);
    }
    for (uint64_t seq = 1; seq <= MANY; seq++) {
        make_directory(f, seq);
        atomic_store(&readers[seq % 2].told, f->last);
        if (seq % 1000 == 0) {
            assert_int_equal(state_persist(f->state, &index, NULL), 0);
            assert_int_equal(index, f->last);
        }
    }
    for (int i = 0; i < 2; i++) {
        atomic_store(&readers[i].stop, true);
        pthread_join(threads[i], NULL);
        assert_true(readers[i].reads > 0);
    }
    assert_readable(f->state, f->last, MANY);
}

/* Though nobody has read, so that it stood in the batch alone. */
static void test_persist_and_copies_have_all_that_was_applied(void **fixture)
{
    struct fixture *f = *fixture;
    struct consensus_position at;
    log_index index = 0;
    struct buf copy = BUF_INIT;
    for (uint64_t seq = 1; seq <= 100; seq++) {
        make_directory(f, seq);
    }
    assert_int_equal(state_persist(f->state, &index, NULL), 0);
    assert_int_equal(index, f->last);
    for (uint64_t seq = 101; seq <= 110; seq++) {
        make_directory(f, seq);
    }
    buf_append_str(&copy, f->directory.data);
    buf_append_str(&copy, "/copy");
    assert_int_equal(state_checkpoint(f->state, copy.data, NULL), 0);
    assert_int_equal(state_inspect(f->state, copy.data, &at, NULL), 0);
    assert_int_equal(at.index, f->last);
    buf_deinit(&copy);
}

static void test_close_keeps_what_was_applied(void **fixture)
{
    struct fixture *f = *fixture;
    for (uint64_t seq = 1; seq <= 50; seq++) {
        make_directory(f, seq);
    }
    state_close(f->state);
    f->state = open_state(f);
    assert_readable(f->state, f->last, 50);
}

/* Half a group must not be seen nor written by anybody, nor the whole ones before it: the member
 * stops, and its next start takes them from the log. */
static void test_a_failed_group_ends_all(void **fixture)
{
    struct fixture *f = *fixture;
    struct state_read read;
    struct err e = ERR_INIT;
    struct consensus_position at;
    log_index index = 0;
    log_index seen = f->last;
    assert_readable(f->state, seen, 0);
    for (uint64_t seq = 1; seq <= 40; seq++) { /* at once for some time */
        make_directory(f, seq);
    }
    assert_int_equal(apply_bytes(f, (struct span){"\xff\xff", 2}, &e), ERR_CORRUPT);
    assert_int_equal(apply_bytes(f, (struct span){"\xff\xff", 2}, &e), ERR_CORRUPT);
    state_read_begin(f->state, &read);
    assert_int_equal(state_read_applied(&read, &index), ERR_CORRUPT);
    assert_int_equal(state_read_error(&read)->code, ERR_CORRUPT);
    state_read_end(&read);
    assert_int_equal(state_persist(f->state, &index, &e), ERR_CORRUPT);
    state_close(f->state);
    f->state = open_state(f);
    assert_int_equal(state_position(f->state, &at, &e), 0);
    assert_in_range(at.index, seen, f->last - 1);
    assert_readable(f->state, at.index, at.index - seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reads_see_what_was_applied, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reads_beside_apply, setup, teardown),
        cmocka_unit_test_setup_teardown(test_persist_and_copies_have_all_that_was_applied, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_close_keeps_what_was_applied, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failed_group_ends_all, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
