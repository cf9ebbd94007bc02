/* Which disk takes a chunk, how much room there is, and which of two copies counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chunkserver/disk_choice.h"
#include "common/limits.h"
#include "common/macros.h"

#define MIB ((uint64_t)1024 * 1024)
#define GIB (1024 * MIB)

enum { COUNT = 3 };

static const struct disk_need chunk = {.least_bytes = 1, .whole_bytes = 64 * MIB};

static struct disk_offer disk_of(uint64_t number, uint64_t available)
{
    return (struct disk_offer){
        .file_system = number, .capacity_bytes = 1000 * GIB, .available_bytes = available};
}

/* How many of `rounds` chunks each gets, when chunks take no room. */
static void deal(const struct disk_offer *offers, int rounds, int got[COUNT])
{
    struct disk_turn turns[COUNT] = {{0}};
    for (int i = 0; i < COUNT; i++) {
        got[i] = 0;
    }
    for (int i = 0; i < rounds; i++) {
        int taken = disk_choice(offers, turns, COUNT, 0, &chunk);
        assert_in_range(taken, 0, COUNT - 1);
        got[taken]++;
    }
}

static void chunks_follow_the_free_space(void **state)
{
    (void)state;
    struct disk_offer offers[COUNT] = {disk_of(1, 100 * GIB), disk_of(2, 300 * GIB),
                                       disk_of(3, 600 * GIB)};
    int got[COUNT];
    deal(offers, 1000, got);
    assert_int_equal(got[0], 100);
    assert_int_equal(got[1], 300);
    assert_int_equal(got[2], 600);
}

static void equal_disks_alternate(void **state)
{
    (void)state;
    struct disk_offer offers[2] = {disk_of(1, 10 * GIB), disk_of(2, 10 * GIB)};
    struct disk_turn turns[2] = {{0}};
    int last = disk_choice(offers, turns, 2, 0, &chunk);
    for (int i = 0; i < 20; i++) {
        int next = disk_choice(offers, turns, 2, 0, &chunk);
        assert_int_equal(next, 1 - last);
        last = next;
    }
}

static void one_that_fills_falls_behind(void **state)
{
    (void)state;
    struct disk_offer offers[2] = {disk_of(1, 100 * GIB), disk_of(2, 50 * GIB)};
    struct disk_turn turns[2] = {{0}};
    for (int i = 0; i < 2000; i++) {
        int taken = disk_choice(offers, turns, 2, 0, &chunk);
        assert_in_range(taken, 0, 1);
        offers[taken].available_bytes -= 64 * MIB;
    }
    /* 125 of 150 GiB are gone, and both are as full as each other. */
    assert_in_range(offers[0].available_bytes, 16 * GIB, 17 * GIB);
    assert_in_range(offers[1].available_bytes, 8 * GIB, 9 * GIB);
}

static void full_and_failed_disks_take_nothing(void **state)
{
    (void)state;
    struct disk_offer offers[COUNT] = {disk_of(1, 63 * MIB), disk_of(2, 900 * GIB),
                                       disk_of(3, 64 * MIB)};
    offers[1].failed = true;
    int got[COUNT];
    deal(offers, 10, got);
    assert_int_equal(got[2], 10);
}

static void without_room_for_all_of_it_the_emptiest_begins_it(void **state)
{
    (void)state;
    struct disk_turn turns[COUNT] = {{0}};
    struct disk_offer offers[COUNT] = {disk_of(1, 3 * MIB), disk_of(2, 5 * MIB), disk_of(3, MIB)};
    assert_int_equal(disk_choice(offers, turns, COUNT, 0, &chunk), 1);
    struct disk_need copy = {.least_bytes = 5 * MIB + 1, .whole_bytes = 5 * MIB + 1};
    assert_int_equal(disk_choice(offers, turns, COUNT, 0, &copy), -1);
    for (int i = 0; i < COUNT; i++) {
        offers[i].available_bytes = 0;
    }
    assert_int_equal(disk_choice(offers, turns, COUNT, 0, &chunk), -1);
    struct disk_need nothing = {0}; /* a copy of an empty chunk */
    assert_in_range(disk_choice(offers, turns, COUNT, 0, &nothing), 0, COUNT - 1);
    for (int i = 0; i < COUNT; i++) {
        offers[i].failed = true;
    }
    assert_int_equal(disk_choice(offers, turns, COUNT, 0, &nothing), -1);
}

static void a_limit_is_of_each_directory(void **state)
{
    (void)state;
    struct disk_turn turns[2] = {{0}};
    struct disk_offer offers[2] = {disk_of(1, 10 * GIB), disk_of(2, 10 * GIB)};
    offers[0].used_bytes = 90 * MIB;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(disk_choice(offers, turns, 2, 100 * MIB, &chunk), 1);
    }
    assert_int_equal(disk_room(&offers[0], 100 * MIB), 10 * MIB);
    offers[0].used_bytes = 101 * MIB;
    assert_int_equal(disk_room(&offers[0], 100 * MIB), 0);
}

static void sums_count_a_file_system_once(void **state)
{
    (void)state;
    uint64_t capacity = 0;
    uint64_t available = 0;
    struct disk_offer offers[COUNT] = {disk_of(1, 10 * GIB), disk_of(2, 20 * GIB),
                                       disk_of(1, 10 * GIB)};
    disk_sums(offers, COUNT, 0, &capacity, &available);
    assert_int_equal(capacity, 2000 * GIB);
    assert_int_equal(available, 30 * GIB);
    offers[0].failed = true; /* its file system still counts for the other on it */
    disk_sums(offers, COUNT, 0, &capacity, &available);
    assert_int_equal(capacity, 2000 * GIB);
    assert_int_equal(available, 30 * GIB);
    offers[1].failed = true;
    disk_sums(offers, COUNT, 0, &capacity, &available);
    assert_int_equal(capacity, 1000 * GIB);
    assert_int_equal(available, 10 * GIB);
}

static void sums_obey_limits_and_file_systems(void **state)
{
    (void)state;
    uint64_t capacity = 0;
    uint64_t available = 0;
    struct disk_offer offers[COUNT] = {disk_of(1, 10 * GIB), disk_of(2, 20 * GIB),
                                       disk_of(1, 10 * GIB)};
    offers[1].used_bytes = 2 * GIB;
    disk_sums(offers, COUNT, 8 * GIB, &capacity, &available);
    assert_int_equal(capacity, 24 * GIB);
    assert_int_equal(available, 16 * GIB); /* 8 and 8 on one with 10, and 6 */
}

static void many_small_rooms_are_no_large_one(void **state)
{
    (void)state;
    uint64_t capacity = 0;
    uint64_t available = 0;
    struct disk_offer offers[COUNT] = {disk_of(1, 60 * MIB), disk_of(2, 63 * MIB),
                                       disk_of(3, 20 * MIB)};
    disk_sums(offers, COUNT, 0, &capacity, &available);
    assert_int_equal(capacity, 3000 * GIB);
    assert_int_equal(available, 63 * MIB);
    offers[2].available_bytes = 64 * MIB;
    disk_sums(offers, COUNT, 0, &capacity, &available);
    assert_int_equal(available, 187 * MIB);
}

static void the_copy_that_is_ahead_counts(void **state)
{
    (void)state;
    /* Each goes before all that follow. */
    static const struct disk_claim order[] = {
        {.version = 3, .length = 0},
        {.version = 2, .length = 9, .sealed = true},
        {.version = 2, .length = 9, .sealed = true, .damaged = true},
        {.version = 2, .length = 10},
        {.version = 2, .length = 9},
        {.version = 2, .length = 99, .damaged = true},
        {.version = 1, .length = 100, .sealed = true},
    };
    for (size_t i = 0; i < ARRAY_COUNT(order); i++) {
        for (size_t j = 0; j < ARRAY_COUNT(order); j++) {
            assert_int_equal(disk_claim_is_better(&order[i], &order[j]), i < j);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_follow_the_free_space),
        cmocka_unit_test(equal_disks_alternate),
        cmocka_unit_test(one_that_fills_falls_behind),
        cmocka_unit_test(full_and_failed_disks_take_nothing),
        cmocka_unit_test(without_room_for_all_of_it_the_emptiest_begins_it),
        cmocka_unit_test(a_limit_is_of_each_directory),
        cmocka_unit_test(sums_count_a_file_system_once),
        cmocka_unit_test(sums_obey_limits_and_file_systems),
        cmocka_unit_test(many_small_rooms_are_no_large_one),
        cmocka_unit_test(the_copy_that_is_ahead_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
