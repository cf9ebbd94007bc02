/* mem_kv against the contract of kvview.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/mem_kv.h"

static struct span text(const char *string)
{
    return (struct span){string, strlen(string)};
}

static int collect(void *arg, struct span key, struct span value)
{
    struct buf *out = arg;
    buf_append(out, key.data, key.length);
    buf_append_byte(out, '=');
    buf_append(out, value.data, value.length);
    buf_append_byte(out, ' ');
    return out->length > 100 ? 7 : 0;
}

static void assert_scan(const struct kv_view *view, struct kv_range range, const char *expected)
{
    struct buf out = BUF_INIT;
    assert_int_equal(kv_view_scan(view, &range, collect, &out), 0);
    assert_string_equal(out.data, expected);
    buf_deinit(&out);
}

static void test_put_get_del_scan(void **state)
{
    (void)state;
    struct mem_kv kv;
    struct buf value = BUF_INIT;
    mem_kv_init(&kv);
    struct kv_view view = mem_kv_view(&kv);
    assert_int_equal(kv_view_get(&view, text("a"), &value), ERR_NOT_FOUND);
    kv_view_put(&view, text("b"), text("2"));
    kv_view_put(&view, text("ab"), text("x"));
    kv_view_put(&view, text("a"), text("1"));
    kv_view_put(&view, text("ab"), text("3"));
    assert_int_equal(kv_view_get(&view, text("ab"), &value), 0);
    assert_string_equal(value.data, "3");
    assert_scan(&view, (struct kv_range){0}, "a=1 ab=3 b=2 ");
    assert_scan(&view, (struct kv_range){.reverse = true}, "b=2 ab=3 a=1 ");
    assert_scan(&view, (struct kv_range){text("aa"), text("b"), false}, "ab=3 ");
    assert_scan(&view, (struct kv_range){text("c"), text("b"), true}, "");
    kv_view_del(&view, text("ab"));
    kv_view_del(&view, text("zz"));
    assert_scan(&view, (struct kv_range){0}, "a=1 b=2 ");

    struct mem_kv copy = {0};
    mem_kv_copy(&copy, &kv);
    assert_true(mem_kv_equal(&copy, &kv));
    kv_view_put(&view, text("a"), text("other"));
    assert_false(mem_kv_equal(&copy, &kv));

    kv.fail_countdown = 2;
    assert_int_equal(kv_view_get(&view, text("a"), &value), 0);
    assert_int_equal(kv_view_get(&view, text("a"), &value), ERR_IO);
    assert_int_equal(kv_view_get(&view, text("a"), &value), 0);
    mem_kv_deinit(&copy);
    mem_kv_deinit(&kv);
    buf_deinit(&value);
}

static void test_prefix_end(void **state)
{
    (void)state;
    struct buf end = BUF_INIT;
    kv_prefix_end(text("ab"), &end);
    assert_string_equal(end.data, "ac");
    kv_prefix_end(text("a\xff\xff"), &end);
    assert_string_equal(end.data, "b");
    kv_prefix_end(text("\xff"), &end);
    assert_int_equal(end.length, 0);
    buf_deinit(&end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get_del_scan),
        cmocka_unit_test(test_prefix_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
