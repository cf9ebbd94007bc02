/* fsmaster/placement: distinct servers, hosts and racks where there are such, near the writer, by
 * weight; and what each rule gives way to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/rng.h"
#include "fsmaster/placement.h"

enum { GIB = 1 << 30, SERVERS_MAX = 2000 };

static struct placement_server servers[SERVERS_MAX];

/* count servers, one per host, hosts_per_rack of them in a rack; ids from 1, labels from 1. */
static struct placement_request cluster(size_t count, uint32_t hosts_per_rack)
{
    for (size_t i = 0; i < count; i++) {
        servers[i] = (struct placement_server){.id = i + 1,
                                               .host = (uint32_t)i + 1,
                                               .rack = (uint32_t)i / hosts_per_rack + 1,
                                               .free_bytes = 100ULL * GIB,
                                               .usable = true};
    }
    return (struct placement_request){
        .servers = servers, .server_count = count, .wanted = 3, .chunk_bytes = 64 << 20};
}

static const struct placement_server *of(server_id id)
{
    return &servers[id - 1];
}

static void test_racks_and_hosts(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 1);
    struct placement_request request = cluster(12, 4);
    request.writer_host = 6;
    for (int i = 0; i < 1000; i++) {
        server_id chosen[CHUNK_REPLICAS_MAX];
        assert_int_equal(placement_choose(&request, &rng, chosen), 3);
        assert_int_equal(chosen[0], 6);
        assert_int_not_equal(of(chosen[1])->rack, of(chosen[0])->rack);
        assert_int_equal(of(chosen[2])->rack, of(chosen[1])->rack);
        assert_int_not_equal(chosen[2], chosen[1]);
    }
}

static void test_one_rack_and_few(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 2);
    server_id chosen[CHUNK_REPLICAS_MAX];
    struct placement_request request = cluster(4, 100);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(placement_choose(&request, &rng, chosen), 3);
        assert_true(chosen[0] != chosen[1] && chosen[1] != chosen[2] && chosen[0] != chosen[2]);
    }
    server_id exclude[] = {1, 3};
    request.exclude = exclude;
    request.exclude_count = 2;
    assert_int_equal(placement_choose(&request, &rng, chosen), 2);
    assert_true(chosen[0] + chosen[1] == 6);
    servers[1].usable = false;
    servers[3].free_bytes = 1 << 20;
    assert_int_equal(placement_choose(&request, &rng, chosen), 0);
    request.server_count = 0;
    assert_int_equal(placement_choose(&request, &rng, chosen), 0);
}

static void test_same_host_only_at_need(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 3);
    server_id chosen[CHUNK_REPLICAS_MAX];
    struct placement_request request = cluster(6, 100);
    for (int i = 0; i < 6; i++) {
        servers[i].host = i < 4 ? 1 : 2; /* four disks on one host, two on another */
    }
    for (int i = 0; i < 100; i++) {
        assert_int_equal(placement_choose(&request, &rng, chosen), 3);
        int on_first = 0;
        for (int k = 0; k < 3; k++) {
            on_first += of(chosen[k])->host == 1;
        }
        assert_in_range(on_first, 1, 2); /* both hosts are used */
    }
}

static void test_holders_steer(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 4);
    server_id chosen[CHUNK_REPLICAS_MAX];
    struct placement_request request = cluster(8, 4);
    server_id holders[] = {1, 2};
    request.holders = holders;
    request.holder_count = 2;
    request.wanted = 1;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(placement_choose(&request, &rng, chosen), 1);
        assert_int_equal(of(chosen[0])->rack, 2); /* both copies were in one rack */
    }
}

static void test_weight(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 5);
    struct placement_request request = cluster(10, 100);
    servers[0].free_bytes *= 4;
    servers[1].load = 1000;
    request.wanted = 1;
    int hits[11] = {0};
    for (int i = 0; i < 10000; i++) {
        server_id chosen[CHUNK_REPLICAS_MAX];
        assert_int_equal(placement_choose(&request, &rng, chosen), 1);
        hits[chosen[0]]++;
    }
    assert_in_range(hits[1], 2900, 3800); /* 4 of 12 */
    assert_in_range(hits[2], 0, 60);
    assert_in_range(hits[3], 600, 1050);
}

static void test_large_cluster(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 6);
    struct placement_request request = cluster(SERVERS_MAX, 40);
    static int hits[SERVERS_MAX + 1];
    for (int i = 0; i < 20000; i++) {
        server_id chosen[CHUNK_REPLICAS_MAX];
        assert_int_equal(placement_choose(&request, &rng, chosen), 3);
        assert_int_not_equal(of(chosen[1])->rack, of(chosen[0])->rack);
        assert_int_equal(of(chosen[2])->rack, of(chosen[1])->rack);
        for (int k = 0; k < 3; k++) {
            hits[chosen[k]]++;
        }
    }
    for (int i = 1; i <= SERVERS_MAX; i++) {
        assert_in_range(hits[i], 5, 90); /* 30 on average: nobody starves, nobody drowns */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_racks_and_hosts),
        cmocka_unit_test(test_one_rack_and_few),
        cmocka_unit_test(test_same_host_only_at_need),
        cmocka_unit_test(test_holders_steer),
        cmocka_unit_test(test_weight),
        cmocka_unit_test(test_large_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
