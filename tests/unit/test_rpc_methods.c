/* The method tables against their .proto files. A subsystem adds its own table here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/macros.h"
#include "tests/lib/echo_rpc.h"
#include "tests/lib/rpc_methods.h"

static void check_table(const char *proto, const struct rpc_method *const *methods, size_t count)
{
    struct err e = ERR_INIT;
    size_t in_proto = 0;
    if (rpc_methods_check(proto, methods, count, &e) < 0 ||
        rpc_methods_count(proto, &in_proto, &e) < 0) {
        fail_msg("%s", err_message(&e));
    }
    assert_int_equal(in_proto, count); /* none is missing in the table */
}

static void test_echo(void **state)
{
    (void)state;
    const struct rpc_method *methods[] = {&echo_unary, &echo_client_stream, &echo_server_stream,
                                          &echo_bidi};
    check_table("proto/echo.proto", methods, ARRAY_COUNT(methods));
}

static void test_differences_are_found(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct rpc_method method = echo_bidi;
    const struct rpc_method *methods[] = {&method};
    method.kind = RPC_SERVER_STREAM;
    assert_int_equal(rpc_methods_check("proto/echo.proto", methods, 1, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "kind"));
    method = echo_bidi;
    method.reply = echo_unary.reply;
    assert_int_equal(rpc_methods_check("proto/echo.proto", methods, 1, &e), ERR_INVALID);
    method = echo_bidi;
    method.name = "/trireme.v1.Echo/Other";
    assert_int_equal(rpc_methods_check("proto/echo.proto", methods, 1, &e), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_differences_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
