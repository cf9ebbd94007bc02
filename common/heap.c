/* The children of position p are 2p and 2p + 1, its parent is p / 2; position 1 is the least node.
 * Every move of a node writes its position, which is what makes removal from the middle cheap (see
 * beanstalkd's heap.c). */
#include "common/heap.h"

#include <stdlib.h>

#include "common/alloc.h"
#include "common/check.h"

enum { HEAP_CAPACITY_MIN = 16 };

void heap_init(struct heap *h, heap_less_fn less)
{
    *h = (struct heap){.less = less};
}

void heap_deinit(struct heap *h)
{
    if (h == NULL) {
        return;
    }
    free(h->nodes);
    heap_init(h, h->less);
}

static struct heap_node *node_at(const struct heap *h, size_t position)
{
    return h->nodes[position - 1];
}

static void place(struct heap *h, struct heap_node *node, size_t position)
{
    h->nodes[position - 1] = node;
    node->position = position;
}

static void sift_up(struct heap *h, struct heap_node *node)
{
    size_t position = node->position;
    while (position > 1 && h->less(node, node_at(h, position / 2))) {
        place(h, node_at(h, position / 2), position);
        position /= 2;
    }
    place(h, node, position);
}

static void sift_down(struct heap *h, struct heap_node *node)
{
    size_t position = node->position;
    while (2 * position <= h->count) {
        size_t child = 2 * position;
        if (child < h->count && h->less(node_at(h, child + 1), node_at(h, child))) {
            child++;
        }
        if (!h->less(node_at(h, child), node)) {
            break;
        }
        place(h, node_at(h, child), position);
        position = child;
    }
    place(h, node, position);
}

void heap_push(struct heap *h, struct heap_node *node)
{
    CHECK(node->position == 0);
    if (h->count == h->capacity) {
        h->capacity = h->capacity == 0 ? HEAP_CAPACITY_MIN : h->capacity * 2;
        h->nodes = xreallocarray(h->nodes, h->capacity, sizeof(struct heap_node *));
    }
    h->count++;
    place(h, node, h->count);
    sift_up(h, node);
}

struct heap_node *heap_first(const struct heap *h)
{
    return h->count == 0 ? NULL : node_at(h, 1);
}

struct heap_node *heap_pop(struct heap *h)
{
    struct heap_node *first = heap_first(h);
    if (first != NULL) {
        heap_remove(h, first);
    }
    return first;
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    if (node->position == 0) {
        return;
    }
    CHECK(node->position <= h->count);
    CHECK(node_at(h, node->position) == node);
    struct heap_node *last = node_at(h, h->count);
    h->count--;
    if (last != node) {
        place(h, last, node->position);
        heap_update(h, last);
    }
    node->position = 0;
}

void heap_update(struct heap *h, struct heap_node *node)
{
    if (node->position == 0) {
        heap_push(h, node);
        return;
    }
    sift_up(h, node);
    sift_down(h, node);
}
