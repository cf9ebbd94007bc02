/* fsmaster/leases: due after the soft time without renewal, once; orphans at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fsmaster/leases.h"

static void test_due_in_order(void **state)
{
    (void)state;
    struct lease_table *t = lease_table_new(1000);
    struct lease_due due;
    lease_table_grant(t, 1, 1, 3, 0);
    lease_table_grant(t, 2, 7, 0, 100);
    assert_int_equal(lease_table_copies(t, 1), 3);
    assert_int_equal(lease_table_copies(t, 9), 0);
    assert_false(lease_table_due(t, 999, &due));
    assert_true(lease_table_renew(t, 1, 1, 999));
    assert_false(lease_table_renew(t, 1, 2, 999));
    assert_true(lease_table_due(t, 1100, &due));
    assert_int_equal(due.inode, 2);
    assert_int_equal(due.epoch, 7);
    assert_false(lease_table_due(t, 1100, &due));
    assert_false(lease_table_renew(t, 2, 7, 1100)); /* it is ending */
    lease_table_retry(t, 2, 7, 1100, 50);
    assert_false(lease_table_due(t, 1149, &due));
    assert_true(lease_table_due(t, 1150, &due));
    lease_table_end(t, 2, 6);
    assert_int_equal(lease_table_count(t), 2);
    lease_table_end(t, 2, 7);
    lease_table_retry(t, 2, 7, 1150, 50); /* gone: nothing */
    assert_int_equal(lease_table_count(t), 1);
    assert_true(lease_table_due(t, 1999, &due));
    assert_int_equal(due.inode, 1);
    lease_table_free(t);
}

static void test_all_orphaned(void **state)
{
    (void)state;
    struct lease_table *t = lease_table_new(1000);
    struct lease_due due;
    lease_table_grant(t, 1, 1, 3, 0);
    lease_table_grant(t, 2, 1, 3, 0);
    lease_table_orphan_all(t);
    lease_table_grant(t, 3, 1, 3, 1);
    assert_false(lease_table_renew(t, 1, 1, 1));
    assert_true(lease_table_renew(t, 3, 1, 1));
    assert_true(lease_table_due(t, 1, &due));
    assert_true(lease_table_due(t, 1, &due));
    assert_false(lease_table_due(t, 1, &due));
    lease_table_free(t);
}

static void test_orphan_and_takeover(void **state)
{
    (void)state;
    struct lease_table *t = lease_table_new(1000);
    struct lease_due due;
    lease_table_grant(t, 5, 1, 2, 0);
    lease_table_orphan(t, 5, 2); /* another epoch */
    assert_false(lease_table_due(t, 1, &due));
    lease_table_orphan(t, 5, 1);
    assert_false(lease_table_renew(t, 5, 1, 1));
    assert_true(lease_table_due(t, 1, &due));
    lease_table_grant(t, 5, 2, 0, 10); /* taken over while ending */
    assert_true(lease_table_renew(t, 5, 2, 11));
    assert_false(lease_table_renew(t, 5, 1, 11));
    assert_int_equal(lease_table_copies(t, 5), 2);
    assert_false(lease_table_due(t, 1010, &due));
    assert_true(lease_table_due(t, 1011, &due));
    lease_table_free(t);
}

static void test_new_leader_renews_all(void **state)
{
    (void)state;
    struct lease_table *t = lease_table_new(1000);
    struct lease_due due;
    for (inode_id i = 1; i <= 100; i++) {
        lease_table_grant(t, i, 1, 1, 0);
    }
    lease_table_renew_all(t, 5000);
    assert_false(lease_table_due(t, 5999, &due));
    for (int i = 0; i < 100; i++) {
        assert_true(lease_table_due(t, 6000, &due));
    }
    assert_false(lease_table_due(t, 6000, &due));
    lease_table_free(t);
}

/* What an earlier lead had begun to end may have been renewed with the leader between. */
static void test_leading_again(void **state)
{
    (void)state;
    struct lease_table *t = lease_table_new(1000);
    struct lease_due due;
    for (inode_id i = 1; i <= 3; i++) {
        lease_table_grant(t, i, 1, 1, 0);
    }
    lease_table_orphan(t, 3, 1);
    for (inode_id i = 1; i <= 3; i++) {
        assert_true(lease_table_due(t, 1000, &due));
    }
    lease_table_retry(t, 1, 1, 1000, 500);
    lease_table_renew_all(t, 5000);
    lease_table_retry(t, 2, 1, 5001, 500); /* it was on its way */
    lease_table_retry(t, 3, 1, 5001, 500);
    assert_false(lease_table_due(t, 5500, &due));
    assert_true(lease_table_renew(t, 1, 1, 5500));
    assert_true(lease_table_renew(t, 2, 1, 5500));
    assert_true(lease_table_due(t, 5501, &due));
    assert_int_equal(due.inode, 3); /* nobody renews that one */
    assert_false(lease_table_due(t, 6499, &due));
    assert_true(lease_table_due(t, 6500, &due));
    lease_table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_due_in_order),  cmocka_unit_test(test_orphan_and_takeover),
        cmocka_unit_test(test_all_orphaned),  cmocka_unit_test(test_new_leader_renews_all),
        cmocka_unit_test(test_leading_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
