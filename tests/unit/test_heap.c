#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/heap.h"
#include "common/macros.h"
#include "common/rng.h"

enum { TIMERS = 200 };

struct timer {
    uint64_t due;
    struct heap_node node;
};

static bool due_before(const struct heap_node *a, const struct heap_node *b)
{
    return CONTAINER_OF(a, struct timer, node)->due < CONTAINER_OF(b, struct timer, node)->due;
}

static void check(const struct heap *h)
{
    for (size_t i = 0; i < h->count; i++) {
        assert_int_equal(h->nodes[i]->position, i + 1);
        if (i > 0) {
            assert_false(due_before(h->nodes[i], h->nodes[(i + 1) / 2 - 1]));
        }
    }
}

static void pops_in_order(void **state)
{
    struct heap h;
    struct rng r;
    struct timer timers[TIMERS] = {0};
    (void)state;
    heap_init(&h, due_before);
    rng_seed(&r, 1);
    assert_null(heap_first(&h));
    assert_null(heap_pop(&h));
    for (size_t i = 0; i < TIMERS; i++) {
        timers[i].due = rng_below(&r, 100);
        heap_push(&h, &timers[i].node);
    }
    uint64_t last = 0;
    for (size_t i = 0; i < TIMERS; i++) {
        struct heap_node *first = heap_first(&h);
        assert_ptr_equal(heap_pop(&h), first);
        assert_int_equal(first->position, 0);
        uint64_t due = CONTAINER_OF(first, struct timer, node)->due;
        assert_true(due >= last);
        last = due;
    }
    assert_null(heap_pop(&h));
    heap_deinit(&h);
    heap_deinit(NULL);
}

static void any_node_moves_and_leaves(void **state)
{
    struct heap h;
    struct rng r;
    struct timer timers[TIMERS] = {0};
    (void)state;
    heap_init(&h, due_before);
    rng_seed(&r, 2);
    for (unsigned step = 0; step < 20000; step++) {
        struct timer *t = &timers[rng_below(&r, TIMERS)];
        if (rng_below(&r, 3) == 0) {
            heap_remove(&h, &t->node);
            assert_int_equal(t->node.position, 0);
        } else {
            t->due = rng_below(&r, 1000);
            heap_update(&h, &t->node);
            assert_true(t->node.position > 0);
        }
        if (step % 50 == 0) {
            check(&h);
        }
    }
    heap_deinit(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pops_in_order),
        cmocka_unit_test(any_node_moves_and_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
