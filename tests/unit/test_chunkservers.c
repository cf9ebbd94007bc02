/* fsmaster/chunkservers: who is live, which start of a process speaks, labels as numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fsmaster/chunkservers.h"

static struct server_record record(server_id id, const char *host, const char *rack)
{
    struct server_record r = {
        .id = id, .host = host, .rack = rack, .address = "127.0.0.1:1", .local_socket = ""};
    r.key.bytes[0] = (uint8_t)id;
    return r;
}

static void test_states(void **state)
{
    (void)state;
    struct chunkservers *c = chunkservers_new(1000);
    struct server_record first = record(1, "a", "r");
    struct server_record second = record(2, "b", "r");
    struct chunkserver *one = chunkservers_put(c, &first, 0);
    struct chunkserver *two = chunkservers_put(c, &second, 0);
    struct chunkserver *heard = NULL;
    bool revived = false;
    assert_int_equal(chunkservers_hear(c, 1, 1, 0, &heard, &revived), ERR_NOT_FOUND);
    assert_false(chunkservers_all_reported(c)); /* expected ones are waited for */
    assert_true(chunkservers_join(c, one, 5, 100));
    assert_int_equal(chunkservers_hear(c, 1, 4, 200, &heard, &revived), ERR_STALE);
    assert_int_equal(chunkservers_hear(c, 1, 6, 200, &heard, &revived), ERR_NOT_FOUND);
    assert_int_equal(chunkservers_hear(c, 1, 5, 900, &heard, &revived), 0);
    assert_ptr_equal(heard, one);
    assert_false(revived);
    assert_false(chunkservers_settled(c, 900));
    one->reported = true;
    assert_false(chunkservers_settled(c, 900)); /* the other may yet come */
    assert_ptr_equal(chunkservers_expire(c, 999), NULL);
    assert_ptr_equal(chunkservers_expire(c, 1000), two); /* never came */
    assert_ptr_equal(chunkservers_expire(c, 1000), NULL);
    assert_true(chunkservers_all_reported(c));
    assert_int_equal(chunkservers_live_count(c), 1);
    assert_ptr_equal(chunkservers_expire(c, 1900), one);
    assert_int_equal(chunkservers_hear(c, 1, 5, 2000, &heard, &revived), 0);
    assert_true(revived);
    assert_false(one->reported); /* what was decided meanwhile it has not heard */
    one->term = 3;
    assert_true(chunkservers_all_in_term(c, 3)); /* the other is dead */
    assert_false(chunkservers_all_in_term(c, 4));
    assert_false(chunkservers_join(c, one, 6, 2000)); /* it was live */
    assert_false(one->reported);
    assert_false(chunkservers_all_in_term(c, 3)); /* another process */
    assert_false(chunkservers_settled(c, 2999));
    assert_true(chunkservers_settled(c, 3000)); /* whoever does not report holds nobody up */
    assert_false(chunkservers_all_reported(c));
    chunkservers_free(c);
}

static void test_failed_disks(void **state)
{
    (void)state;
    struct chunkservers *c = chunkservers_new(1000);
    struct server_record first = record(1, "a", "r");
    struct chunkserver *one = chunkservers_put(c, &first, 0);
    char text[] = "data directory /a: gone";
    char *texts[] = {text, text};
    assert_false(chunkserver_set_failed_disks(one, NULL, 0));
    assert_true(chunkserver_set_failed_disks(one, texts, 1));
    text[0] = 'D'; /* it has its own copy */
    assert_string_equal(one->failed_disks[0], "data directory /a: gone");
    assert_false(chunkserver_set_failed_disks(one, texts, 1));
    assert_true(chunkserver_set_failed_disks(one, texts, 2));
    assert_int_equal(one->failed_disk_count, 2);
    assert_false(chunkserver_set_failed_disks(one, NULL, 0));
    assert_int_equal(one->failed_disk_count, 0);
    assert_true(chunkserver_set_failed_disks(one, texts, 1));
    chunkservers_free(c);
}

static void test_out_of_service(void **state)
{
    (void)state;
    struct chunkservers *c = chunkservers_new(1000);
    struct server_record first = record(1, "a", "r");
    struct server_record second = record(2, "b", "r");
    size_t count = 0;
    (void)chunkservers_join(c, chunkservers_put(c, &first, 0), 1, 0);
    second.admin = SERVER_IN_MAINTENANCE;
    second.until_ms = 77;
    struct chunkserver *two = chunkservers_put(c, &second, 0);
    assert_int_equal(two->record.until_ms, 77);
    assert_int_equal(chunkservers_leaving_count(c), 1);
    assert_int_equal(chunkservers_away_count(c), 1); /* never heard: it may hold anything */
    (void)chunkservers_join(c, two, 1, 100);
    assert_int_equal(chunkservers_away_count(c), 0); /* it will say */
    assert_false(chunkservers_candidates(c, &count)[1].usable);
    two->reported = true;
    assert_ptr_equal(chunkservers_expire(c, 1000), chunkservers_find(c, 1));
    assert_ptr_equal(chunkservers_expire(c, 1100), two);
    assert_int_equal(chunkservers_away_count(c), 0); /* it is away, but has been heard */
    chunkservers_ask_again(c, 1200);
    assert_int_equal(chunkservers_away_count(c), 1);
    second.admin = SERVER_DECOMMISSIONED;
    (void)chunkservers_put(c, &second, 1300);
    assert_int_equal(chunkservers_away_count(c), 0); /* its copies would not count */
    (void)chunkservers_join(c, two, 2, 1300);
    assert_false(chunkservers_candidates(c, &count)[1].usable);
    second.admin = SERVER_IN_SERVICE;
    (void)chunkservers_put(c, &second, 1400);
    assert_true(chunkservers_candidates(c, &count)[1].usable);
    assert_int_equal(chunkservers_leaving_count(c), 0);
    chunkservers_free(c);
}

static void test_labels_and_candidates(void **state)
{
    (void)state;
    struct chunkservers *c = chunkservers_new(1000);
    struct server_record first = record(1, "a", "r1");
    struct server_record second = record(2, "a", "r2");
    struct chunkserver *one = chunkservers_put(c, &first, 0);
    (void)chunkservers_put(c, &second, 0);
    assert_int_equal(chunkservers_host(c, "b"), 0);
    assert_int_not_equal(chunkservers_host(c, "a"), 0);
    first.host = "b"; /* it moved */
    assert_ptr_equal(chunkservers_put(c, &first, 5), one);
    assert_ptr_equal(chunkservers_find_key(c, first.key), one);
    assert_int_equal(one->host, chunkservers_host(c, "b"));
    (void)chunkservers_join(c, one, 1, 0);
    struct chunkserver_load load = {.free_bytes = 77, .streams = 3};
    one->allocated = 8;
    chunkserver_set_load(one, &load);
    size_t count = 0;
    const struct placement_server *candidates = chunkservers_candidates(c, &count);
    assert_int_equal(count, 2);
    assert_int_equal(candidates[0].free_bytes, 77);
    assert_int_equal(candidates[0].load, 4 + 3);
    assert_true(candidates[0].usable);
    assert_false(candidates[1].usable);
    assert_int_not_equal(candidates[0].rack, candidates[1].rack);
    chunkservers_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_failed_disks),
        cmocka_unit_test(test_out_of_service),
        cmocka_unit_test(test_labels_and_candidates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
