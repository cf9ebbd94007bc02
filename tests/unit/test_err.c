#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"

static void names_and_texts_round_trip(void **state)
{
    (void)state;
#define ROUND_TRIP(name, value, text)                                                              \
    assert_int_equal(err_from_name(#name), name);                                                  \
    assert_string_equal(err_name(name), #name);                                                    \
    assert_string_equal(err_text(name), text);
    ERR_TABLE(ROUND_TRIP)
#undef ROUND_TRIP
    assert_string_equal(err_name(0), "OK");
    assert_string_equal(err_name(-9999), "ERR_INTERNAL");
    assert_int_equal(err_from_name("ERR_FROM_THE_FUTURE"), ERR_UNKNOWN);
}

static void text_is_prefixed_on_the_way_up(void **state)
{
    struct err e = ERR_INIT;
    (void)state;
    errno = ENOENT;
    assert_int_equal(err_errno(&e, "open %s", "/a"), ERR_NOT_FOUND);
    assert_int_equal(err_wrap(&e, e.code, "load chunk %d", 7), ERR_NOT_FOUND);
    assert_string_equal(err_message(&e), "load chunk 7: open /a: No such file or directory");
}

static void wrapping_an_empty_error_uses_its_text(void **state)
{
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(err_wrap(&e, ERR_BUSY, "submit"), ERR_BUSY);
    assert_int_equal(e.code, ERR_BUSY);
    assert_string_equal(e.msg, "submit: busy, try again");
}

static void null_only_returns_the_code(void **state)
{
    (void)state;
    errno = EACCES;
    assert_int_equal(err_errno(NULL, "open"), ERR_PERMISSION);
    assert_int_equal(err_set(NULL, ERR_STALE, "x"), ERR_STALE);
    assert_int_equal(err_wrap(NULL, ERR_STALE, "x"), ERR_STALE);
}

static void long_text_is_cut_visibly(void **state)
{
    struct err e = ERR_INIT;
    char text[2 * ERR_MSG_BYTES_MAX];
    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    assert_int_equal(err_set(&e, ERR_IO, "%s", text), ERR_IO);
    assert_int_equal(strlen(e.msg), ERR_MSG_BYTES_MAX - 1);
    assert_string_equal(e.msg + strlen(e.msg) - 3, "...");
    assert_int_equal(err_wrap(&e, ERR_IO, "outer"), ERR_IO);
    assert_memory_equal(e.msg, "outer: xxx", 10);
    assert_string_equal(e.msg + strlen(e.msg) - 3, "...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_texts_round_trip),
        cmocka_unit_test(text_is_prefixed_on_the_way_up),
        cmocka_unit_test(wrapping_an_empty_error_uses_its_text),
        cmocka_unit_test(null_only_returns_the_code),
        cmocka_unit_test(long_text_is_cut_visibly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
