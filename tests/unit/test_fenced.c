/* What a chunkserver remembers of fences: the highest version of each chunk, as many chunks as
 * there is room for, the oldest out first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chunkserver/fenced.h"
#include "common/limits.h"

static void test_the_highest_version_counts(void **state)
{
    struct fenced f = {0};
    (void)state;
    assert_int_equal(fenced_version(&f, 7), 0);
    fenced_put(&f, (struct chunk_ref){7, 3});
    fenced_put(&f, (struct chunk_ref){7, 2});
    assert_int_equal(fenced_version(&f, 7), 3);
    fenced_put(&f, (struct chunk_ref){7, 4});
    assert_int_equal(fenced_version(&f, 7), 4);
    assert_int_equal(fenced_version(&f, 8), 0);
    fenced_deinit(&f);
    assert_int_equal(fenced_version(&f, 7), 0);
    fenced_deinit(&f);
}

static void test_the_oldest_makes_room(void **state)
{
    struct fenced f = {0};
    (void)state;
    for (chunk_id id = 1; id <= 2 * FENCED_COUNT_MAX + 5; id++) {
        fenced_put(&f, (struct chunk_ref){id, 2});
        fenced_put(&f, (struct chunk_ref){id, 3}); /* takes no second place */
        assert_int_equal(fenced_version(&f, id), 3);
        if (id > FENCED_COUNT_MAX) {
            assert_int_equal(fenced_version(&f, id - FENCED_COUNT_MAX), 0);
            assert_int_equal(fenced_version(&f, id - FENCED_COUNT_MAX + 1), 3);
        }
    }
    fenced_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_highest_version_counts),
        cmocka_unit_test(test_the_oldest_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
