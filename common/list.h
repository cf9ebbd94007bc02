/* Intrusive doubly linked list: a `struct list` is a head, or a node inside the struct that is
 * listed. One thread at a time. The list owns nothing. A node that is in no list points at itself,
 * so list_remove() may be called twice.
 *
 *     struct list waiting = LIST_INIT(waiting);
 *     list_push_back(&waiting, &job->link);
 *     LIST_FOR_EACH(node, &waiting) { struct job *job = LIST_ENTRY(node, struct job, link); ... }
 *
 * A head must not be moved or copied while it has nodes. */
#ifndef COMMON_LIST_H
#define COMMON_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "common/macros.h"

struct list {
    struct list *next; /* first node of a head; itself when empty */
    struct list *prev; /* last node of a head; itself when empty */
};

#define LIST_INIT(name)                                                                            \
    {                                                                                              \
        &(name), &(name)                                                                           \
    }
#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)

/* The body must not remove `node`; LIST_FOR_EACH_SAFE allows removing or freeing `node`, but not
 * its successor. */
#define LIST_FOR_EACH(node, head)                                                                  \
    for (struct list *node = (head)->next; node != (head); node = node->next)
#define LIST_FOR_EACH_SAFE(node, head)                                                             \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head);              \
         node = node##_next, node##_next = node->next)

static inline void list_init(struct list *l)
{
    l->next = l;
    l->prev = l;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

/* Whether an initialised node is in a list. */
static inline bool list_linked(const struct list *node)
{
    return node->next != node;
}

/* Puts node in front of `at`, which may be a head: then it becomes the last one. */
static inline void list_insert_before(struct list *at, struct list *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    list_insert_before(head, node);
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_insert_before(head->next, node);
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* O(n). */
static inline size_t list_count(const struct list *head)
{
    size_t count = 0;
    for (const struct list *node = head->next; node != head; node = node->next) {
        count++;
    }
    return count;
}

/* NULL when empty. */
static inline struct list *list_first(const struct list *head)
{
    return list_empty(head) ? NULL : head->next;
}

static inline struct list *list_last(const struct list *head)
{
    return list_empty(head) ? NULL : head->prev;
}

/* Removes and returns the first node; NULL when empty. */
static inline struct list *list_pop_front(struct list *head)
{
    struct list *node = list_first(head);
    if (node != NULL) {
        list_remove(node);
    }
    return node;
}

/* Moves all nodes of `from` to the end of `head`; `from` is empty afterwards. */
static inline void list_splice_back(struct list *head, struct list *from)
{
    if (list_empty(from)) {
        return;
    }
    from->next->prev = head->prev;
    from->prev->next = head;
    head->prev->next = from->next;
    head->prev = from->prev;
    list_init(from);
}

#endif
