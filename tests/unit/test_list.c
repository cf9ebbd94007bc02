#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/list.h"

struct item {
    int value;
    struct list link;
};

/* The values of the list as one decimal number, read forwards; checks that it reads the same
 * backwards. */
static int digits(const struct list *head)
{
    int forwards = 0, backwards = 0, unit = 1;
    LIST_FOR_EACH(node, head)
    {
        forwards = forwards * 10 + LIST_ENTRY(node, struct item, link)->value;
    }
    for (const struct list *node = head->prev; node != head; node = node->prev) {
        backwards += unit * LIST_ENTRY(node, struct item, link)->value;
        unit *= 10;
    }
    assert_int_equal(forwards, backwards);
    return forwards;
}

static void fill(struct list *head, struct item *items, int count, int first)
{
    for (int i = 0; i < count; i++) {
        items[i].value = first + i;
        list_init(&items[i].link);
        list_push_back(head, &items[i].link);
    }
}

static void pushes_and_removals(void **state)
{
    struct list head = LIST_INIT(head);
    struct item items[5];
    (void)state;
    assert_true(list_empty(&head));
    assert_null(list_first(&head));
    assert_null(list_last(&head));
    assert_null(list_pop_front(&head));
    fill(&head, items, 4, 1);
    items[4].value = 9;
    list_push_front(&head, &items[4].link);
    assert_int_equal(digits(&head), 91234);
    list_remove(&items[1].link);
    list_remove(&items[1].link);
    assert_false(list_linked(&items[1].link));
    assert_int_equal(digits(&head), 9134);
    list_insert_before(&items[2].link, &items[1].link);
    assert_int_equal(digits(&head), 91234);
    assert_ptr_equal(list_pop_front(&head), &items[4].link);
    assert_ptr_equal(list_first(&head), &items[0].link);
    assert_ptr_equal(list_last(&head), &items[3].link);
}

static void safe_iteration_removes(void **state)
{
    struct list head = LIST_INIT(head);
    struct item items[6];
    (void)state;
    fill(&head, items, 6, 1);
    LIST_FOR_EACH_SAFE(node, &head)
    {
        if (LIST_ENTRY(node, struct item, link)->value % 2 == 0) {
            list_remove(node);
        }
    }
    assert_int_equal(digits(&head), 135);
}

static void splicing(void **state)
{
    struct list a = LIST_INIT(a), b = LIST_INIT(b);
    struct item some[2], more[2];
    (void)state;
    list_splice_back(&a, &b);
    assert_true(list_empty(&a));
    fill(&b, some, 2, 1);
    list_splice_back(&a, &b);
    assert_true(list_empty(&b));
    fill(&b, more, 2, 3);
    list_splice_back(&a, &b);
    assert_int_equal(digits(&a), 1234);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pushes_and_removals),
        cmocka_unit_test(safe_iteration_removes),
        cmocka_unit_test(splicing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
