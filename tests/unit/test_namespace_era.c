/* fsmaster/namespace: a state that goes on without a part of its history gives out nothing that the
 * lost part may have given out, and believes no session or lease from before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fsmaster/keys.h"
#include "tests/lib/namespace_fixture.h"

static const uint64_t FLOOR = UINT64_C(1) << 51;

static int setup(void **state)
{
    static struct fixture f;
    fixture_init(&f);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture_deinit(*state);
    return 0;
}

static const struct apply_result *begin_era(struct fixture *f, uint64_t floor)
{
    const struct apply_result *result =
        fixture_apply(f, (struct command_entry){.kind = ENTRY_BEGIN_ERA, .era_floor = floor});
    struct namespace_totals totals;
    assert_int_equal(namespace_totals(&f->view, &totals), 0);
    f->cluster_ms = totals.cluster_ms; /* a leader goes on from there */
    return result;
}

static struct era era_of(const struct fixture *f)
{
    struct namespace_totals totals;
    assert_int_equal(namespace_totals(&f->view, &totals), 0);
    return totals.era;
}

static void new_session(struct fixture *f)
{
    f->session++;
    f->seq = 0;
}

static uint64_t raise_fence(struct fixture *f)
{
    struct op_result r =
        fixture_run(f, (struct operation){.kind = OPERATION_RAISE_FENCE, .raise_fence = {"fence"}});
    assert_int_equal(r.code, 0);
    return r.fence_epoch;
}

static void test_numbers_start_at_the_floor(void **state)
{
    struct fixture *f = *state;
    assert_true(fixture_file(f, "/tmp/before", 1, 7) < 1000);
    assert_int_equal(raise_fence(f), 1);
    assert_int_equal(begin_era(f, FLOOR)->code, 0);
    assert_int_equal(fixture_effects(f, EFFECT_ERA_BEGUN), 1);
    new_session(f);
    assert_int_equal(raise_fence(f), FLOOR);
    assert_int_equal(raise_fence(f), FLOOR + 1);
    struct op_result file = fixture_create(f, "/tmp/after");
    assert_int_equal(file.code, 0);
    assert_true(file.inode >= FLOOR);
    assert_int_equal(file.lease_epoch, FLOOR);
    struct op_result chunk = fixture_allocate(f, &file, 0, (struct chunk_ref){0, 0}, 0);
    assert_int_equal(chunk.code, 0);
    assert_int_equal(chunk.chunk.id, FLOOR);
    assert_int_equal(chunk.chunk.version, 1); /* its id is new */
    /* An old file gets its next lease far above whatever others were told. */
    struct op_result again = fixture_run(
        f, (struct operation){.kind = OPERATION_ACQUIRE_LEASE, .acquire_lease = {"/tmp/before"}});
    assert_int_equal(again.code, 0);
    assert_int_equal(again.lease_epoch, FLOOR);
}

static void test_servers_leave_a_gap(void **state)
{
    struct fixture *f = *state;
    struct command_entry entry = {
        .kind = ENTRY_REGISTER_SERVER,
        .register_server = {
            .key = {{9, 9}}, .host = "new", .rack = "r", .address = "new:1", .local_socket = ""}};
    assert_int_equal(begin_era(f, FLOOR)->code, 0);
    assert_int_equal(fixture_apply(f, entry)->code, 0);
    assert_true(f->result.server > FIXTURE_SERVER_COUNT + 64);
    assert_true(f->result.server < FIXTURE_SERVER_COUNT + 300);
}

/* A floor that is too low for what the state itself has given out is raised; eras only rise. */
static void test_floor_is_raised(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(begin_era(f, 1)->code, 0);
    uint64_t first = era_of(f).floor;
    assert_true(first > 1 << 20);
    assert_int_equal(begin_era(f, FLOOR)->code, 0);
    assert_int_equal(era_of(f).floor, FLOOR);
    assert_int_equal(begin_era(f, first)->code, 0);
    assert_true(era_of(f).floor > FLOOR);
    assert_int_equal(begin_era(f, UINT64_MAX)->code, ERR_INVALID);
    assert_true(era_of(f).floor < 2 * FLOOR);
}

static void test_old_sessions_are_stale(void **state)
{
    struct fixture *f = *state;
    struct attributes a;
    assert_true(fixture_mkdir(f, "/tmp/one") > 0);
    assert_int_equal(begin_era(f, FLOOR)->code, 0);
    assert_int_equal(fixture_mkdir(f, "/tmp/two"), ERR_STALE);
    assert_int_equal(fixture_stat(f, "/tmp/two", &a), ERR_NOT_FOUND);
    new_session(f);
    assert_true(fixture_mkdir(f, "/tmp/two") > 0);
    assert_true(fixture_mkdir(f, "/tmp/three") > 0);
    /* The stale one is also due. */
    assert_int_equal(fixture_apply(f, (struct command_entry){.kind = ENTRY_TICK})->code, 0);
    struct namespace_totals totals;
    assert_int_equal(namespace_totals(&f->view, &totals), 0);
    assert_int_equal(totals.sessions, 1);
}

static void test_old_leases_are_stale(void **state)
{
    struct fixture *f = *state;
    struct op_result file = fixture_create(f, "/tmp/open");
    struct op_result chunk = fixture_allocate(f, &file, 0, (struct chunk_ref){0, 0}, 0);
    assert_int_equal(chunk.code, 0);
    assert_int_equal(begin_era(f, FLOOR)->code, 0);
    new_session(f);
    assert_int_equal(fixture_close(f, &file, chunk.chunk, 5, "").code, ERR_STALE);
    struct op_result next = fixture_allocate(f, &file, 5, chunk.chunk, 5);
    assert_int_equal(next.code, ERR_STALE);
    /* The leader seals the chunk, at a version of this era, and ends the lease. */
    struct era era = era_of(f);
    uint64_t version = era_version(&era, chunk.chunk.version);
    assert_int_equal(version, FLOOR >> 20);
    struct command_entry begin = {.kind = ENTRY_SEAL_BEGIN,
                                  .seal_begin = {chunk.chunk.id, chunk.chunk.version + 1, ""}};
    assert_int_equal(fixture_apply(f, begin)->code, ERR_STALE);
    begin.seal_begin.new_version = version;
    assert_int_equal(fixture_apply(f, begin)->code, 0);
    struct command_entry end = {.kind = ENTRY_SEAL_END,
                                .seal_end = {{chunk.chunk.id, version}, 5, false}};
    assert_int_equal(fixture_apply(f, end)->code, 0);
    struct lease_ref lease = {file.inode, file.lease_epoch};
    struct command_entry expire = {.kind = ENTRY_EXPIRE_LEASES, .expire_leases = {&lease, 1}};
    assert_int_equal(fixture_apply(f, expire)->code, 0);
    assert_int_equal(fixture_effects(f, EFFECT_LEASE_ENDED), 1);
    struct attributes a;
    assert_true(fixture_stat(f, "/tmp/open", &a) > 0);
    assert_int_equal(a.length, 5);
}

/* A sealing that was under way when the backup was made may have ended otherwise since. */
static void test_old_sealing_is_begun_again(void **state)
{
    struct fixture *f = *state;
    struct op_result file = fixture_create(f, "/tmp/open");
    struct op_result chunk = fixture_allocate(f, &file, 0, (struct chunk_ref){0, 0}, 0);
    struct command_entry begin = {.kind = ENTRY_SEAL_BEGIN, .seal_begin = {chunk.chunk.id, 2, ""}};
    assert_int_equal(fixture_apply(f, begin)->code, 0);
    assert_int_equal(begin_era(f, FLOOR)->code, 0);
    begin.seal_begin.new_version = FLOOR >> 20;
    assert_int_equal(fixture_apply(f, begin)->code, 0);
    assert_int_equal(f->result.chunk.version, FLOOR >> 20);
    assert_int_equal(fixture_apply(f, begin)->code, 0); /* again: nothing changes */
    assert_int_equal(f->result.chunk.version, FLOOR >> 20);
}

static void test_mark(void **state)
{
    struct fixture *f = *state;
    struct command_entry release = {.kind = ENTRY_RELEASE_ORPHANS};
    struct era era = era_of(f);
    assert_int_equal(era.floor, 0);
    assert_false(era_keeps(&era, 1));
    assert_int_equal(era_version(&era, 1), 2);
    assert_int_equal(fixture_apply(f, release)->code, ERR_PRECONDITION);
    assert_int_equal(begin_era(f, FLOOR)->code, 0);
    era = era_of(f);
    assert_true(era_keeps(&era, FLOOR - 1));
    assert_false(era_keeps(&era, FLOOR)); /* made since: known to be gone when it is unknown */
    assert_int_equal(era.wall_ms, f->wall_ms);
    assert_int_equal(fixture_apply(f, release)->code, 0);
    assert_int_equal(fixture_effects(f, EFFECT_ORPHANS_RELEASED), 1);
    era = era_of(f);
    assert_int_equal(era.floor, FLOOR);
    assert_false(era_keeps(&era, 1));
    assert_int_equal(fixture_apply(f, release)->code, ERR_PRECONDITION);
}

/* The same backup restored twice, an hour apart: the second era begins above what the first one can
 * have given out. */
static void test_floor_grows_with_the_clock(void **state)
{
    (void)state;
    const time_ms now = UINT64_C(1800000000000);
    uint64_t first = era_floor(1000, now);
    assert_int_equal(first, UINT64_C(1800000000) << 20);
    assert_true(era_floor(1000, now + 3600000) - first == UINT64_C(3600) << 20);
    assert_int_equal(era_floor(first, 0), first + (1 << 20)); /* a clock that was set back */
    assert_true(first < UINT64_C(1) << 53);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_numbers_start_at_the_floor, setup, teardown),
        cmocka_unit_test_setup_teardown(test_servers_leave_a_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_floor_is_raised, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_sessions_are_stale, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_leases_are_stale, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_sealing_is_begun_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mark, setup, teardown),
        cmocka_unit_test(test_floor_grows_with_the_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
