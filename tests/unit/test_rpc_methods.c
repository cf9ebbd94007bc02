/* The method tables against their .proto files. A subsystem adds its own table here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "chunkserver/methods_rpc.h"
#include "common/macros.h"
#include "common/rpc/rpc_server.h"
#include "fsmaster/server_admin.h"
#include "fsmaster/server_internal.h"
#include "mapreduce/mr_methods.h"
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

/* Tables of one side only: what they name must be as the .proto has it. */
static void check_part(const char *proto, const struct rpc_method *methods, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct rpc_method *one = &methods[i];
        struct err e = ERR_INIT;
        if (rpc_methods_check(proto, &one, 1, &e) < 0) {
            fail_msg("%s", err_message(&e));
        }
    }
}

static void test_chunkserver(void **state)
{
    (void)state;
    const struct rpc_method *methods[CHUNKSERVER_METHOD_COUNT];
    for (size_t i = 0; i < CHUNKSERVER_METHOD_COUNT; i++) {
        methods[i] = &chunkserver_methods[i];
    }
    check_table("proto/chunk.proto", methods, CHUNKSERVER_METHOD_COUNT);
    check_part("proto/fs.proto", report_methods, FSMASTER_REPORT_METHOD_COUNT);
}

enum { FSMASTER_METHOD_COUNT_MAX = 32 };

/* Appends the methods of a service to a list; returns its length. */
static size_t take_methods(const struct rpc_service_row *rows, const struct rpc_method **methods,
                           size_t count)
{
    for (; rows->method; rows++) {
        assert_true(count < FSMASTER_METHOD_COUNT_MAX);
        methods[count++] = rows->method;
    }
    return count;
}

static void test_fsmaster(void **state)
{
    (void)state;
    const struct rpc_method *methods[FSMASTER_METHOD_COUNT_MAX];
    size_t count = take_methods(fs_service, methods, 0);
    count = take_methods(chunkservers_service, methods, count);
    count = take_methods(admin_service, methods, count);
    check_table("proto/fs.proto", methods, count);
    count = take_methods(raft_stream_service, methods, 0);
    count = take_methods(raft_admin_service, methods, count);
    count = take_methods(backup_service, methods, count);
    count = take_methods(orphans_service, methods, count);
    check_table("proto/raft.proto", methods, count);
}

static void test_mapreduce(void **state)
{
    (void)state;
    const struct rpc_method *methods[] = {
        &mr_submit,  &mr_watch, &mr_get_job,     &mr_list_jobs,     &mr_kill,
        &mr_workers, &mr_work,  &mr_task_report, &mr_fetch_segment, &mr_read_log};
    check_table("proto/mr.proto", methods, ARRAY_COUNT(methods));
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
        cmocka_unit_test(test_chunkserver),
        cmocka_unit_test(test_fsmaster),
        cmocka_unit_test(test_mapreduce),
        cmocka_unit_test(test_differences_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
