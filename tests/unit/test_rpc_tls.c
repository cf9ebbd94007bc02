/* Mutual TLS with a CA made for this test by openssl(1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/rpc/rpc_server.h"
#include "common/sys.h"
#include "proto/echo.pb-c.h"
#include "tests/lib/echo_rpc.h"
#include "tests/lib/rpc_fixture.h"

static struct buf directory = BUF_INIT;

/* Before rpc_init(): gRPC and fork do not go together. */
static int make_certificates(void)
{
    static const char script[] =
        "set -e; cd \"$0\"; exec 2>/dev/null\n"
        "key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'\n"
        "for ca in ca other; do openssl req -x509 $key -keyout $ca.key -out $ca.pem -days 2 "
        "-subj /CN=$ca; done\n"
        "make() { openssl req $key -keyout $1.key -out $1.csr -subj /CN=$1\n"
        "  printf 'subjectAltName=IP:127.0.0.1,DNS:localhost' > ext\n"
        "  openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -CAcreateserial -days 2 "
        "-extfile ext -out $1.pem; }\n"
        "make server ca; make alice ca; make mallory other\n";
    struct buf command = BUF_INIT;
    struct err e = ERR_INIT;
    if (sys_make_temp_dir("trireme-tls", &directory, &e) < 0) {
        return -1;
    }
    buf_printf(&command, "sh -c '");
    for (const char *at = script; *at != '\0'; at++) {
        buf_append_str(&command, *at == '\'' ? "'\\''" : (char[]){*at, '\0'});
    }
    buf_printf(&command, "' '%s'", directory.data);
    int r = system(command.data); /* NOLINT: a test, with a command of its own */
    buf_deinit(&command);
    return r;
}

static struct rpc_tls *tls_of(const char *ca, const char *name)
{
    char *paths[3] = {xprintf("%s/%s.pem", directory.data, ca),
                      xprintf("%s/%s.pem", directory.data, name),
                      xprintf("%s/%s.key", directory.data, name)};
    struct rpc_tls *tls = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(rpc_tls_new(paths[0], paths[1], paths[2], &tls, &e), 0);
    for (size_t i = 0; i < 3; i++) {
        free(paths[i]);
    }
    return tls;
}

/* A call that asks who the server takes us for. tls NULL: plain text. */
static int ask(struct rpc_fixture *f, struct rpc_tls *tls, const char *server_name,
               struct rpc_result *ret_result, Trireme__V1__EchoReply **ret_reply)
{
    struct rpc_channel_options options = {.address = f->address,
                                          .class = RPC_CONTROL,
                                          .tls = tls,
                                          .user = "root",
                                          .server_name = server_name};
    struct rpc_channel *channel;
    assert_int_equal(rpc_channel_open(&options, &channel, NULL), 0);
    rpc_tls_free(tls);
    Trireme__V1__EchoRequest message = TRIREME__V1__ECHO_REQUEST__INIT;
    message.text = (char *)"who";
    struct rpc_request request = {channel, &echo_unary, &message.base, clock_mono_ms() + 10000};
    ProtobufCMessage *reply = NULL;
    int r = rpc_call(f->loop, &request, &f->arena, &reply, ret_result);
    *ret_reply = (Trireme__V1__EchoReply *)reply;
    rpc_channel_unref(channel);
    return r;
}

static int setup(void **state)
{
    (void)rpc_fixture_setup(state);
    struct rpc_tls *tls = tls_of("ca", "server");
    rpc_fixture_restart(*state, &(struct rpc_server_options){.tls = tls});
    rpc_tls_free(tls);
    return 0;
}

static void test_user_is_the_common_name(void **state)
{
    struct rpc_result result;
    Trireme__V1__EchoReply *reply;
    assert_int_equal(ask(*state, tls_of("ca", "alice"), NULL, &result, &reply), 0);
    assert_string_equal(reply->user, "alice"); /* not "root", which it only says */
    assert_true(reply->authenticated);
}

static void test_server_name_is_checked(void **state)
{
    struct rpc_result result;
    Trireme__V1__EchoReply *reply;
    assert_int_equal(ask(*state, tls_of("ca", "alice"), "localhost", &result, &reply), 0);
    assert_int_equal(ask(*state, tls_of("ca", "alice"), "elsewhere", &result, &reply),
                     ERR_UNAVAILABLE);
    assert_true(result.definite);
}

/* With TLS 1.3 a client believes itself connected before the server has looked at its certificate,
 * so a refusal may come during the call: never success, and never a wrong "definite". */
static void check_refused(const struct rpc_result *result)
{
    assert_true(result->code == ERR_UNAVAILABLE || result->code == ERR_UNKNOWN);
    assert_int_equal(result->cause, ERR_UNAVAILABLE);
    assert_int_equal(result->definite, result->code == ERR_UNAVAILABLE);
}

static void test_others_are_refused(void **state)
{
    struct rpc_result result;
    Trireme__V1__EchoReply *reply;
    (void)ask(*state, NULL, NULL, &result, &reply); /* plain text */
    check_refused(&result);
    (void)ask(*state, tls_of("ca", "mallory"), NULL, &result, &reply); /* of another CA */
    check_refused(&result);
    (void)ask(*state, tls_of("other", "alice"), NULL, &result, &reply); /* trusts another CA */
    check_refused(&result);
    assert_int_equal(rpc_server_stats(((struct rpc_fixture *)*state)->server).calls, 0);
}

static void test_files_are_checked(void **state)
{
    (void)state;
    struct rpc_tls *tls = NULL;
    struct err e = ERR_INIT;
    char *ca = xprintf("%s/ca.pem", directory.data);
    char *no_pem = xprintf("%s/ext", directory.data);
    assert_int_equal(rpc_tls_new(ca, "/nowhere/cert.pem", ca, &tls, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "/nowhere/cert.pem"));
    assert_int_equal(rpc_tls_new(ca, ca, no_pem, &tls, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "private key"));
    free(ca);
    free(no_pem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_user_is_the_common_name, setup, rpc_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_server_name_is_checked, setup, rpc_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_others_are_refused, setup, rpc_fixture_teardown),
        cmocka_unit_test(test_files_are_checked),
    };
    if (make_certificates() != 0) {
        (void)fprintf(stderr, "cannot make certificates with openssl\n");
        return 1;
    }
    rpc_init();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rpc_exit();
    int kept = sys_remove_tree(directory.data, NULL);
    buf_deinit(&directory);
    return failed != 0 || kept < 0;
}
