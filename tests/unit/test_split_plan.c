/* Split planning: every byte in exactly one split, cuts at chunk borders, small files together,
 * hosts by weight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/rng.h"
#include "mapreduce/split_plan.h"

static const char *const names[] = {"h0", "h1", "h2", "h3", "h4", "h5", "h6"};
static const char *const racks[] = {"r0", "r0", "r0", "r1", "r1", "r1", "r1"};

static const struct plan_options mib = {
    .split_bytes = 1 << 20, .splits_max = 1000, .near_bytes = 1 << 20};

static void a_file_is_cut_at_its_chunks(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct plan_extent extents[3] = {{0, 1 << 20, &names[0], &racks[0], 2},
                                     {1 << 20, 1 << 20, &names[2], &racks[2], 2},
                                     {2 << 20, 700000, &names[4], &racks[4], 2}};
    struct plan_file file = {
        .path = "/a", .length = (2 << 20) + 700000, .extents = extents, .extent_count = 3};
    struct plan plan;
    split_plan(&file, 1, &mib, &arena, &plan);
    assert_int_equal(plan.split_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(plan.splits[i].pieces[0].offset, extents[i].offset);
        assert_int_equal(plan.splits[i].bytes, extents[i].length);
        assert_int_equal(plan.splits[i].host_count, 2);
        assert_string_equal(plan.splits[i].hosts[0], extents[i].hosts[0]);
        assert_string_equal(plan.splits[i].racks[1], extents[i].racks[1]);
    }
    arena_deinit(&arena);
}

static void short_neighbours_are_joined_and_long_extents_cut_evenly(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct plan_extent extents[4] = {{0, 300000, &names[0], &racks[0], 1},
                                     {300000, 300000, &names[0], &racks[0], 1},
                                     {600000, 400000, &names[1], &racks[1], 1},
                                     {1000000, 3 << 20, &names[2], &racks[2], 1}};
    struct plan_file file = {
        .path = "/a", .length = 1000000 + (3 << 20), .extents = extents, .extent_count = 4};
    struct plan plan;
    split_plan(&file, 1, &mib, &arena, &plan);
    assert_int_equal(plan.split_count, 4);
    assert_int_equal(plan.splits[3].bytes, 1000000);
    assert_string_equal(plan.splits[3].hosts[0], "h0");
    assert_int_equal(plan.splits[0].bytes, 1 << 20);
    arena_deinit(&arena);
}

static void neighbours_on_other_hosts_stay_apart(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct plan_extent extents[4] = {{0, 100000, &names[0], &racks[0], 2},
                                     {100000, 100000, &names[1], &racks[1], 2},
                                     {200000, 100000, &names[3], &racks[3], 2},
                                     {300000, 100000, &names[4], &racks[4], 1}};
    struct plan_file file = {.path = "/a", .length = 400000, .extents = extents, .extent_count = 4};
    struct plan_options options = {.split_bytes = 400000, .splits_max = 10, .near_bytes = 150000};
    struct plan plan;
    split_plan(&file, 1, &options, &arena, &plan);
    assert_int_equal(plan.split_count, 2);
    assert_int_equal(plan.splits[0].bytes, 200000);
    assert_string_equal(plan.splits[0].hosts[0], "h1"); /* the one that both extents have */
    assert_string_equal(plan.splits[1].hosts[0], "h4");
    options.near_bytes = 300000; /* too small for a task of its own */
    split_plan(&file, 1, &options, &arena, &plan);
    assert_int_equal(plan.split_count, 2);
    assert_int_equal(plan.splits[0].bytes, 300000);
    arena_deinit(&arena);
}

static void small_files_share_splits(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct plan_extent extents[2] = {{0, 1000, &names[0], &racks[0], 2},
                                     {0, 1000, &names[5], &racks[5], 2}};
    struct plan_file files[3000];
    for (int i = 0; i < 3000; i++) {
        files[i] = (struct plan_file){
            .path = "/a", .length = 1000, .extents = &extents[i % 2], .extent_count = 1};
    }
    struct plan plan;
    split_plan(files, 3000, &mib, &arena, &plan);
    assert_int_equal(plan.split_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        bool first = strcmp(plan.splits[i].hosts[0], "h0") == 0;
        for (uint32_t j = 0; j < plan.splits[i].piece_count; j++) {
            assert_int_equal(plan.splits[i].pieces[j].file % 2, first ? 0 : 1);
        }
    }
    arena_deinit(&arena);
}

static void nothing_comes_of_empty_files(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct plan_file files[2] = {{.path = "/a"}, {.path = "/b"}};
    struct plan plan;
    split_plan(files, 2, &mib, &arena, &plan);
    assert_int_equal(plan.split_count, 0);
    split_plan(files, 0, &mib, &arena, &plan);
    assert_int_equal(plan.split_count, 0);
    arena_deinit(&arena);
}

static void an_empty_file_is_a_record_where_files_are(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct plan_extent extent = {0, 1 << 20, &names[0], &racks[0], 1};
    struct plan_file files[3] = {
        {.path = "/a"},
        {.path = "/large", .length = 1 << 20, .extents = &extent, .extent_count = 1},
        {.path = "/b"}};
    struct plan_options options = mib;
    options.whole_files = true;
    struct plan plan;
    split_plan(files, 3, &options, &arena, &plan);
    assert_int_equal(plan.split_count, 2);
    assert_int_equal(plan.splits[0].pieces[0].file, 1);
    assert_int_equal(plan.splits[1].bytes, 0);
    assert_int_equal(plan.splits[1].piece_count, 2);
    assert_int_equal(plan.splits[1].pieces[0].file, 0);
    assert_int_equal(plan.splits[1].pieces[1].file, 2);
    assert_int_equal(plan.splits[1].pieces[1].length, 0);
    split_plan(files, 1, &options, &arena, &plan);
    assert_int_equal(plan.split_count, 1);
    arena_deinit(&arena);
}

static void too_many_splits_become_larger_ones(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct plan_extent extent = {0, 100 << 20, &names[0], &racks[0], 1};
    struct plan_file file = {
        .path = "/a", .length = 100 << 20, .extents = &extent, .extent_count = 1};
    struct plan_options few = {.split_bytes = 4096, .splits_max = 10};
    struct plan plan;
    split_plan(&file, 1, &few, &arena, &plan);
    assert_in_range(plan.split_count, 5, 10);
    arena_deinit(&arena);
}

/* Random files: each byte of each file is in exactly one split. */
/* A compressed file is a split of its own, however large or small, on the hosts of most of it. */
static void files_that_stay_whole(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct plan_extent extents[3] = {{0, 1 << 20, &names[0], &racks[0], 1},
                                     {1 << 20, 1 << 20, &names[2], &racks[2], 1},
                                     {2 << 20, 1 << 20, &names[2], &racks[2], 1}};
    struct plan_file files[4] = {
        {.path = "/large", .length = 3 << 20, .extents = extents, .extent_count = 3, .whole = true},
        {.path = "/small", .length = 1000, .extents = extents, .extent_count = 1, .whole = true},
        {.path = "/plain", .length = 900, .extents = extents, .extent_count = 1},
        {.path = "/plain2", .length = 800, .extents = extents, .extent_count = 1}};
    struct plan_options options = mib;
    struct plan plan;
    split_plan(files, 4, &options, &arena, &plan);
    assert_int_equal(plan.split_count, 3);
    assert_int_equal(plan.splits[0].piece_count, 1);
    assert_int_equal(plan.splits[0].bytes, 3 << 20);
    assert_string_equal(plan.splits[0].hosts[0], "h2");
    assert_int_equal(plan.splits[1].bytes, 1700);
    assert_int_equal(plan.splits[2].piece_count, 1);
    assert_int_equal(plan.splits[2].pieces[0].file, 1);
    options.splits_max = 3; /* fewer than there are files: small ones share */
    split_plan(files, 4, &options, &arena, &plan);
    assert_int_equal(plan.split_count, 2);
    assert_int_equal(plan.splits[1].bytes, 2700);
    arena_deinit(&arena);
}

static void every_byte_is_in_one_split(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 3);
    for (int round = 0; round < 200; round++) {
        struct arena arena = ARENA_INIT;
        size_t count = 1 + (size_t)rng_below(&rng, 8);
        struct plan_file *files = xcalloc(count, sizeof(*files));
        unsigned char *seen[8] = {0};
        for (size_t f = 0; f < count; f++) {
            size_t n = (size_t)rng_below(&rng, 6);
            struct plan_extent *extents = arena_calloc(&arena, (n + 1) * sizeof(*extents));
            for (size_t i = 0; i < n; i++) {
                size_t host = (size_t)rng_below(&rng, 5);
                extents[i] =
                    (struct plan_extent){files[f].length, 1 + rng_below(&rng, 3000), &names[host],
                                         &racks[host], (uint32_t)rng_below(&rng, 3)};
                files[f].length += extents[i].length;
            }
            files[f].extents = extents;
            files[f].extent_count = n;
            files[f].path = "/f";
            seen[f] = xcalloc(files[f].length + 1, 1);
        }
        struct plan_options options = {.split_bytes = 1 + rng_below(&rng, 2000),
                                       .splits_max = 1 + (uint32_t)rng_below(&rng, 50),
                                       .whole_files = rng_below(&rng, 4) == 0};
        struct plan plan;
        split_plan(files, count, &options, &arena, &plan);
        for (uint32_t s = 0; s < plan.split_count; s++) {
            assert_true(s == 0 || plan.splits[s - 1].bytes >= plan.splits[s].bytes);
            for (uint32_t i = 0; i < plan.splits[s].piece_count; i++) {
                struct plan_piece *piece = &plan.splits[s].pieces[i];
                for (uint64_t b = piece->offset; b < piece->offset + piece->length; b++) {
                    assert_true(b < files[piece->file].length);
                    seen[piece->file][b]++;
                }
            }
        }
        for (size_t f = 0; f < count; f++) {
            for (uint64_t b = 0; b < files[f].length; b++) {
                assert_int_equal(seen[f][b], 1);
            }
            free(seen[f]);
        }
        free(files);
        arena_deinit(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_cut_at_its_chunks),
        cmocka_unit_test(short_neighbours_are_joined_and_long_extents_cut_evenly),
        cmocka_unit_test(neighbours_on_other_hosts_stay_apart),
        cmocka_unit_test(small_files_share_splits),
        cmocka_unit_test(nothing_comes_of_empty_files),
        cmocka_unit_test(an_empty_file_is_a_record_where_files_are),
        cmocka_unit_test(too_many_splits_become_larger_ones),
        cmocka_unit_test(files_that_stay_whole),
        cmocka_unit_test(every_byte_is_in_one_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
