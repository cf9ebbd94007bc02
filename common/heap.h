/* Binary min-heap of intrusive nodes, each of which knows its place, so that any of them can be
 * removed or moved in O(log n): timers, repair queue. One thread at a time. The heap owns its
 * array, never the nodes.
 *
 *     static bool due_before(const struct heap_node *a, const struct heap_node *b)
 *     {
 *         return CONTAINER_OF(a, struct timer, node)->due_ms < CONTAINER_OF(b, struct timer,
 * node)->due_ms;
 *     }
 *     struct heap timers;
 *     heap_init(&timers, due_before);
 *     heap_push(&timers, &timer->node);
 */
#ifndef COMMON_HEAP_H
#define COMMON_HEAP_H

#include <stdbool.h>
#include <stddef.h>

struct heap_node {
    size_t position; /* 1-based place in the array; 0 is "in no heap", so a zeroed node is ready for
                        use */
};

/* A strict order: true if a must come out before b. Equal nodes come out in any order. */
typedef bool (*heap_less_fn)(const struct heap_node *a, const struct heap_node *b);

struct heap {
    struct heap_node **nodes; /* nodes[i]->position == i + 1 */
    size_t count;             /* nodes in the heap */
    size_t capacity;          /* of the array */
    heap_less_fn less;
};

void heap_init(struct heap *h, heap_less_fn less);
void heap_deinit(
    struct heap *h); /* accepts NULL and zeroed; nodes still in it keep a stale position */

void heap_push(struct heap *h, struct heap_node *node); /* node in no heap */
struct heap_node *heap_first(const struct heap *h);     /* the least one; NULL when empty */
struct heap_node *heap_pop(struct heap *h);             /* removes the least one; NULL when empty */
void heap_remove(struct heap *h, struct heap_node *node); /* nothing happens if it is in no heap */
void heap_update(
    struct heap *h,
    struct heap_node *node); /* after its order changed, either way; pushes a new one */

#endif
