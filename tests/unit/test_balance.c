/* fsmaster/balance: what is moved where; and that moves end, evenly, with racks and hosts kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/rng.h"
#include "fsmaster/balance.h"

static struct balance_server server(server_id id, uint32_t host, uint32_t rack, double used)
{
    return (struct balance_server){
        .id = id, .host = host, .rack = rack, .used = used, .room = 1000, .takes = true};
}

static void add_copy(struct location *chunk, server_id id)
{
    chunk->replicas[chunk->count++] =
        (struct location_replica){.server = id, .agrees = true, .good = true, .live = true};
    chunk->good_count = chunk->serving_count = chunk->counted = chunk->count;
}

static struct location chunk_on(uint64_t length, server_id a, server_id b)
{
    struct location chunk = {
        .chunk = {1, 1}, .state = LOCATION_SEALED, .length = length, .wanted = 2};
    add_copy(&chunk, a);
    add_copy(&chunk, b);
    return chunk;
}

static void test_who_gives(void **state)
{
    (void)state;
    struct balance_server servers[] = {server(1, 1, 1, 500), server(2, 2, 1, 520),
                                       server(3, 3, 2, 480)};
    struct balance_view view = {.servers = servers, .count = 3, .threshold = 0.1};
    balance_begin(&view);
    assert_true(balance_is_even(&view));
    assert_null(balance_source(&view, 0));
    servers[0].used = 900; /* mean 633: 1 is over, the others are under */
    balance_begin(&view);
    assert_false(balance_is_even(&view));
    assert_int_equal(balance_source(&view, 0)->id, 1);
    assert_null(balance_source(&view, 1)); /* the others are below the mean */
    servers[1].used = 900;
    servers[2].used = 100;
    balance_begin(&view);
    assert_int_equal(balance_source(&view, 0)->id, 1); /* as full: the lower id first */
    assert_int_equal(balance_source(&view, 1)->id, 2);
    assert_null(balance_source(&view, 2));
    view.count = 0;
    balance_begin(&view);
    assert_true(balance_is_even(&view));
    servers[0].room = 0; /* it has just registered */
    view.count = 1;
    balance_begin(&view);
    assert_null(balance_source(&view, 0));
}

static void test_where_to(void **state)
{
    (void)state;
    struct balance_server servers[] = {server(1, 1, 1, 900), server(2, 2, 2, 500),
                                       server(3, 3, 1, 100), server(4, 4, 2, 50)};
    struct balance_view view = {.servers = servers, .count = 4, .threshold = 0.1};
    balance_begin(&view);
    struct location chunk = chunk_on(10, 1, 2);
    /* Server 4 is emptier, but then both copies would be in rack 2. */
    assert_int_equal(balance_target(&view, &chunk, &servers[0])->id, 3);
    servers[1].rack = 1; /* rack 1 stays in any case */
    assert_int_equal(balance_target(&view, &chunk, &servers[0])->id, 4);
    servers[3].host = 2; /* the host of the other copy */
    assert_int_equal(balance_target(&view, &chunk, &servers[0])->id, 3);
    servers[2].takes = false;
    assert_null(balance_target(&view, &chunk, &servers[0]));
    servers[2].takes = true;
    assert_null(balance_target(&view, &chunk, &servers[2])); /* it has none */
    chunk.length = 600;                                      /* it would turn round */
    assert_null(balance_target(&view, &chunk, &servers[0]));
    chunk = chunk_on(10, 1, 2);
    chunk.wanted = 3; /* it has other troubles */
    assert_null(balance_target(&view, &chunk, &servers[0]));
    chunk = chunk_on(10, 1, 3);
    assert_int_equal(balance_target(&view, &chunk, &servers[0])->id, 4);
}

/* ---- Whole clusters ---------------------------------------------------------------------------
 */

enum { SERVERS = 12, CHUNKS = 3000 };

struct cluster {
    struct balance_server servers[SERVERS];
    struct balance_view view;
    struct location chunks[CHUNKS];
};

static uint32_t racks_of(const struct cluster *c, const struct location *chunk)
{
    uint32_t racks = 0;
    for (uint32_t i = 0; i < chunk->count; i++) {
        racks |= 1U << c->servers[chunk->replicas[i].server - 1].rack;
    }
    return (uint32_t)__builtin_popcount(racks);
}

static void fill(struct cluster *c, struct rng *rng)
{
    memset(c, 0, sizeof(*c));
    c->view = (struct balance_view){.servers = c->servers, .count = SERVERS, .threshold = 0.05};
    for (uint32_t i = 0; i < SERVERS; i++) {
        c->servers[i] = server(i + 1, i + 1, 1 + i % 3, 0);
        c->servers[i].room = 3000 + (double)rng_below(rng, 3) * 1000;
    }
    for (int i = 0; i < CHUNKS; i++) {
        server_id first = 1 + rng_below(rng, SERVERS / 2); /* the other half is empty */
        server_id second = 1 + (first + rng_below(rng, 5)) % (SERVERS / 2);
        if (second == first) {
            second = 1 + first % (SERVERS / 2);
        }
        c->chunks[i] = chunk_on(1 + rng_below(rng, 4), first, second);
        c->servers[first - 1].used += (double)c->chunks[i].length;
        c->servers[second - 1].used += (double)c->chunks[i].length;
    }
    balance_begin(&c->view);
}

static bool move_one(struct cluster *c, struct location *chunk, const struct balance_server *source)
{
    uint32_t racks = racks_of(c, chunk);
    const struct balance_server *target = balance_target(&c->view, chunk, source);
    if (!target) {
        return false;
    }
    for (uint32_t i = 0; i < chunk->count; i++) {
        assert_int_not_equal(chunk->replicas[i].server, target->id);
        if (chunk->replicas[i].server == source->id) {
            c->servers[source->id - 1].used -= (double)chunk->length;
            c->servers[target->id - 1].used += (double)chunk->length;
            chunk->replicas[i].server = target->id;
            break;
        }
    }
    assert_true(racks_of(c, chunk) >= racks);
    balance_begin(&c->view);
    return true;
}

static void test_moves_end(void **state)
{
    (void)state;
    static struct cluster c;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct rng rng;
        rng_seed(&rng, seed);
        fill(&c, &rng);
        assert_false(balance_is_even(&c.view));
        int moves = 0;
        for (uint32_t rank = 0; balance_source(&c.view, rank); rank++) {
            bool found = false;
            for (int i = 0; i < CHUNKS; i++) {
                const struct balance_server *source = balance_source(&c.view, rank);
                if (source && move_one(&c, &c.chunks[i], source)) {
                    found = true;
                    moves++;
                }
            }
            assert_true(moves <= 2 * CHUNKS); /* no copy goes round in circles */
            rank = found ? UINT32_MAX : rank;
        }
        assert_true(balance_is_even(&c.view));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_gives),
        cmocka_unit_test(test_where_to),
        cmocka_unit_test(test_moves_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
