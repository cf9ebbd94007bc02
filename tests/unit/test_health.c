/* When a chunkserver calls itself unwell, in which words, and what it shows of its state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "chunkserver/health.h"
#include "common/limits.h"

#define MIB ((uint64_t)1024 * 1024)

enum { START = 1000 * 1000, NOW = START + 60 * 1000 };

/* Two file masters and two disks, all of them well. */
struct world {
    struct health health;
    struct health_master masters[2];
    struct health_disk disks[2];
};

static int setup(void **state)
{
    static struct world w;
    w = (struct world){
        .health = {.now_ms = NOW,
                   .started_ms = START,
                   .server = 3,
                   .chunk_count = 12,
                   .stream_count = 2,
                   .masters = w.masters,
                   .master_count = 2,
                   .disks = w.disks,
                   .disk_count = 2},
        .masters = {{.address = "a:1", .registered = true, .answered_ms = NOW - 10, .error = ""},
                    {.address = "b:2", .registered = true, .answered_ms = NOW - 900, .error = ""}},
        .disks = {{.path = "/d1",
                   .failure = "",
                   .capacity_bytes = 1000 * MIB,
                   .free_bytes = 900 * MIB,
                   .used_bytes = 100 * MIB},
                  {.path = "/d2",
                   .failure = "",
                   .capacity_bytes = 1000 * MIB,
                   .free_bytes = 1000 * MIB}},
    };
    *state = &w;
    return 0;
}

static void expect(const struct world *w, const char *trouble)
{
    struct buf said = BUF_INIT;
    health_trouble(&w->health, &said);
    assert_string_equal(said.data, trouble);
    buf_deinit(&said);
}

static void well(void **state)
{
    struct world *w = *state;
    expect(w, "");
    w->health.master_count = 0; /* it reports to nobody */
    expect(w, "");
}

static void one_file_master_that_answers_is_enough(void **state)
{
    struct world *w = *state;
    w->masters[0].answered_ms = 0;
    w->masters[0].error = "refused";
    w->masters[1].answered_ms = NOW - MASTERS_SILENT_MS;
    expect(w, "");
    w->masters[1].registered = false; /* that is seen to, and it answers */
    expect(w, "");
}

static void silent_file_masters_are_named(void **state)
{
    struct world *w = *state;
    w->masters[0].answered_ms = NOW - 2 * MASTERS_SILENT_MS;
    w->masters[1].answered_ms = NOW - MASTERS_SILENT_MS - 1;
    w->masters[1].error = "connection refused";
    expect(w, "no file master has answered for 10 s: a:1, b:2 (connection refused)");
}

static void at_its_start_it_waits_for_the_first(void **state)
{
    struct world *w = *state;
    w->masters[0].answered_ms = 0;
    w->masters[1].answered_ms = 0;
    expect(w, "no file master has accepted this server since its start 60 s ago: a:1, b:2");
    w->masters[1].answered_ms = NOW;
    expect(w, "");
}

static void failed_disks_are_named(void **state)
{
    struct world *w = *state;
    w->disks[1].failed = true;
    w->disks[1].failure = "data directory /d2: it is not there";
    expect(w, "a disk failed, data directory /d2: it is not there (repair or replace it, then "
              "restart the server)");
    w->disks[1].failure = ""; /* the owner has not heard why yet */
    expect(w, "a disk failed, data directory /d2: the log says why");
}

static void full_is_without_room_for_one_chunk_on_any_disk(void **state)
{
    struct world *w = *state;
    w->disks[0].free_bytes = CHUNK_BYTES_DEFAULT - 1;
    w->disks[1].free_bytes = CHUNK_BYTES_DEFAULT;
    expect(w, "");
    w->disks[1].free_bytes = 1;
    expect(w, "full: no disk has room for a chunk of 64 MiB, 63 MiB at most");
    w->disks[0].failed = true;
    w->disks[0].failure = "data directory /d1: gone";
    w->masters[0].answered_ms = w->masters[1].answered_ms = NOW - 2 * MASTERS_SILENT_MS;
    expect(w, "no file master has answered for 20 s: a:1, b:2; "
              "a disk failed, data directory /d1: gone (repair or replace it, then restart the "
              "server); full: no disk has room for a chunk of 64 MiB, 0 MiB at most");
}

static void while_it_stops_nothing_else_counts(void **state)
{
    struct world *w = *state;
    w->health.draining = true;
    w->masters[0].answered_ms = w->masters[1].answered_ms = NOW - 2 * MASTERS_SILENT_MS;
    w->disks[0].failed = true;
    expect(w, "chunkserver stops");
}

static json_t *state_of(const struct world *w)
{
    struct buf out = BUF_INIT;
    buf_append_byte(&out, '{');
    health_state(&w->health, &out);
    buf_append_byte(&out, '}');
    json_t *json = json_loads(out.data, 0, NULL);
    assert_non_null(json);
    buf_deinit(&out);
    return json;
}

static void expect_state(const struct world *w, const char *wanted)
{
    json_t *json = state_of(w);
    json_t *other = json_loads(wanted, 0, NULL);
    assert_non_null(other);
    assert_true(json_equal(json, other));
    json_decref(json);
    json_decref(other);
}

static void the_state_has_masters_and_disks(void **state)
{
    struct world *w = *state;
    w->masters[1] = (struct health_master){.address = "b:\"2\"", .error = "no answer"};
    w->disks[1] = (struct health_disk){.path = "/d2", .failed = true, .failure = "it is gone"};
    expect_state(
        w, "{\"server\": 3, \"draining\": false, \"chunks\": 12, \"streams\": 2, \"masters\": ["
           "{\"address\": \"a:1\", \"registered\": true, \"answered_age_ms\": 10, \"error\": \"\"},"
           "{\"address\": \"b:\\\"2\\\"\", \"registered\": false, \"answered_age_ms\": null, "
           "\"error\": \"no answer\"}], \"disks\": ["
           "{\"path\": \"/d1\", \"capacity_bytes\": 1048576000, \"used_bytes\": 104857600, "
           "\"free_bytes\": 943718400, \"failed\": false, \"failure\": \"\"},"
           "{\"path\": \"/d2\", \"capacity_bytes\": 0, \"used_bytes\": 0, \"free_bytes\": 0, "
           "\"failed\": true, \"failure\": \"it is gone\"}]}");
    w->health = (struct health){.draining = true};
    expect_state(w, "{\"server\": 0, \"draining\": true, \"chunks\": 0, \"streams\": 0, "
                    "\"masters\": [], \"disks\": []}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(well, setup),
        cmocka_unit_test_setup(one_file_master_that_answers_is_enough, setup),
        cmocka_unit_test_setup(silent_file_masters_are_named, setup),
        cmocka_unit_test_setup(at_its_start_it_waits_for_the_first, setup),
        cmocka_unit_test_setup(failed_disks_are_named, setup),
        cmocka_unit_test_setup(full_is_without_room_for_one_chunk_on_any_disk, setup),
        cmocka_unit_test_setup(while_it_stops_nothing_else_counts, setup),
        cmocka_unit_test_setup(the_state_has_masters_and_disks, setup),
    };
    return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
