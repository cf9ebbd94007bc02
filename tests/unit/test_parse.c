#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/parse.h"

struct number_case {
    const char *text;
    bool good;
    uint64_t value;
};

static void check_all(int (*parse)(const char *, uint64_t *, struct err *),
                      const struct number_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct err e = ERR_INIT;
        uint64_t value = 42;
        int r = parse(cases[i].text, &value, &e);
        if (r != (cases[i].good ? 0 : ERR_INVALID) ||
            value != (cases[i].good ? cases[i].value : 42)) {
            fail_msg("\"%s\": %d, %llu", cases[i].text, r, (unsigned long long)value);
        }
        assert_int_equal(e.msg[0] != 0, !cases[i].good);
    }
}

static void whole_numbers(void **state)
{
    static const struct number_case cases[] = {
        {"0", true, 0},     {"18446744073709551615", true, UINT64_MAX},
        {"007", true, 7},   {"18446744073709551616", false, 0},
        {"", false, 0},     {"-1", false, 0},
        {"+1", false, 0},   {" 1", false, 0},
        {"1 ", false, 0},   {"1x", false, 0},
        {"0x10", false, 0}, {"99999999999999999999999", false, 0},
    };
    int64_t value = 0;
    (void)state;
    check_all(parse_u64, cases, ARRAY_COUNT(cases));
    assert_int_equal(parse_i64("-9223372036854775808", &value, NULL), 0);
    assert_true(value == INT64_MIN);
    assert_int_equal(parse_i64("9223372036854775807", &value, NULL), 0);
    assert_true(value == INT64_MAX);
    assert_int_equal(parse_i64("9223372036854775808", &value, NULL), ERR_INVALID);
    assert_int_equal(parse_i64("-9223372036854775809", &value, NULL), ERR_INVALID);
    assert_int_equal(parse_i64("--1", &value, NULL), ERR_INVALID);
    assert_int_equal(parse_i64("-", &value, NULL), ERR_INVALID);
}

static void sizes(void **state)
{
    static const struct number_case cases[] = {
        {"0", true, 0},
        {"4096", true, 4096},
        {"64K", true, 64 << 10},
        {"64k", true, 64 << 10},
        {"64KiB", true, 64 << 10},
        {"64MB", true, 64 << 20},
        {"1.5G", true, 3ULL << 29},
        {"0.5", true, 0},
        {"2T", true, 2ULL << 40},
        {"16383P", true, 16383ULL << 50},
        {"16384P", false, 0},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551615K", false, 0},
        {"1.0000000001G", false, 0},
        {"1.", false, 0},
        {".5M", false, 0},
        {"1.5.5M", false, 0},
        {"M", false, 0},
        {"-1M", false, 0},
        {"64 M", false, 0},
        {"1X", false, 0},
    };
    (void)state;
    check_all(parse_size, cases, ARRAY_COUNT(cases));
}

static void durations(void **state)
{
    static const struct number_case cases[] = {
        {"0", true, 0},         {"250ms", true, 250},     {"5s", true, 5000},
        {"1.5m", true, 90000},  {"90min", true, 5400000}, {"2h", true, 7200000},
        {"1d", true, 86400000}, {"5", false, 0},          {"s", false, 0},
        {"5 s", false, 0},      {"0.0", false, 0},
    };
    (void)state;
    check_all(parse_duration, cases, ARRAY_COUNT(cases));
}

static void booleans(void **state)
{
    bool value = false;
    (void)state;
    assert_int_equal(parse_bool("yes", &value, NULL), 0);
    assert_true(value);
    assert_int_equal(parse_bool("0", &value, NULL), 0);
    assert_false(value);
    assert_int_equal(parse_bool("TRUE", &value, NULL), ERR_INVALID);
    assert_int_equal(parse_bool("", &value, NULL), ERR_INVALID);
}

static void test_address_list(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    assert_int_equal(address_list_check("a:1", &e), 0);
    assert_int_equal(address_list_check("a:1,[::1]:2, c.d:65535", &e), 0);
    static const char *const bad[] = {"b", "b:", ":2", "b:0", "b:65536", "b:x"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        char text[64];
        char wanted[64];
        (void)snprintf(text, sizeof(text), "a:1,%s,c:3", bad[i]);
        (void)snprintf(wanted, sizeof(wanted), "'%s' is not HOST:PORT, such as host:9000", bad[i]);
        assert_int_equal(address_list_check(text, &e), ERR_INVALID);
        assert_string_equal(e.msg, wanted);
    }
    char long_one[400];
    memset(long_one, 'a', sizeof(long_one) - 1);
    long_one[sizeof(long_one) - 1] = 0;
    assert_int_equal(address_list_check(long_one, NULL), ERR_INVALID);
}

static void addresses(void **state)
{
    char host[16];
    uint16_t port = 0;
    (void)state;
    assert_int_equal(parse_address("example:9000", host, sizeof(host), &port, NULL), 0);
    assert_string_equal(host, "example");
    assert_int_equal(port, 9000);
    assert_int_equal(parse_address("[::1]:0", host, sizeof(host), &port, NULL), 0);
    assert_string_equal(host, "::1");
    assert_int_equal(parse_address(":65535", host, sizeof(host), &port, NULL), 0);
    assert_string_equal(host, "");
    assert_int_equal(port, 65535);
    static const char *const bad[] = {"example",
                                      "example:",
                                      "example:65536",
                                      "::1:9000",
                                      "example:port",
                                      "",
                                      "a-name-that-is-too-long:1"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_int_equal(parse_address(bad[i], host, sizeof(host), &port, NULL), ERR_INVALID);
    }
}

static void hexadecimal(void **state)
{
    uint8_t bytes[3] = {9, 9, 9};
    char text[7];
    (void)state;
    assert_int_equal(parse_hex("00fFa1", bytes, 3, NULL), 0);
    assert_memory_equal(bytes, "\x00\xff\xa1", 3);
    assert_string_equal(format_hex(bytes, 3, text), "00ffa1");
    assert_int_equal(parse_hex("00ffa", bytes, 3, NULL), ERR_INVALID);
    assert_int_equal(parse_hex("00ffa1a", bytes, 3, NULL), ERR_INVALID);
    assert_int_equal(parse_hex("00ffag", bytes, 3, NULL), ERR_INVALID);
}

static void shown_forms(void **state)
{
    char text[FORMAT_TEXT_BYTES];
    (void)state;
    assert_string_equal(format_bytes(0, text), "0");
    assert_string_equal(format_bytes(1023, text), "1023");
    assert_string_equal(format_bytes(1024, text), "1.0 K");
    assert_string_equal(format_bytes(64 << 20, text), "64.0 M");
    assert_string_equal(format_bytes((1 << 20) - 1, text), "1.0 M");
    assert_string_equal(format_bytes(UINT64_MAX, text), "16.0 E");
    assert_string_equal(format_duration(12, text), "12 ms");
    assert_string_equal(format_duration(3450, text), "3.4 s");
    assert_string_equal(format_duration(125000, text), "2m05s");
    assert_string_equal(format_duration(11040000, text), "3h04m");
    assert_string_equal(format_duration(183600000, text), "2d03h");
}

static void exact_forms_parse_back(void **state)
{
    static const uint64_t values[] = {0,     1,     999,      1000,    1024,
                                      60000, 90000, 86400000, 3 << 20, UINT64_MAX};
    char text[FORMAT_TEXT_BYTES];
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        uint64_t back = 1;
        assert_int_equal(parse_size(format_size_exact(values[i], text), &back, NULL), 0);
        assert_true(back == values[i]);
        assert_int_equal(parse_duration(format_duration_exact(values[i], text), &back, NULL), 0);
        assert_true(back == values[i]);
    }
    assert_string_equal(format_size_exact(64 << 20, text), "64M");
    assert_string_equal(format_duration_exact(120000, text), "2m");
}

static void distances(void **state)
{
    (void)state;
    assert_int_equal(text_distance("", ""), 0);
    assert_int_equal(text_distance("", "abc"), 3);
    assert_int_equal(text_distance("cache", "cahce"), 1);
    assert_int_equal(text_distance("cache", "cach"), 1);
    assert_int_equal(text_distance("cache", "casche"), 1);
    assert_int_equal(text_distance("kitten", "sitting"), 3);
}

static void utf8(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"plain", true},         {"\xc3\xa9", true},
        {"\xe2\x82\xac", true},  {"\xf0\x9f\x98\x80", true},
        {"\x80", false},         {"\xc0\xaf", false},
        {"\xc3", false},         {"\xe0\x80\xaf", false},
        {"\xed\xa0\x80", false}, {"\xf4\x90\x80\x80", false},
        {"\xf5", false},         {"a\xff", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_int_equal(utf8_valid(cases[i].text, strlen(cases[i].text)), cases[i].valid);
    }
    assert_true(utf8_valid("a\0b", 3));
}

static void advertised_addresses(void **state)
{
    (void)state;
    static const char *const nobody[] = {":7000",   "0.0.0.0:7000", "[::]:7000", "[0:0::0]:7000",
                                         "[]:7000", "0:7000",       "7000",      ""};
    static const char *const somebody[] = {"a:7000", "127.0.0.1:0", "[::1]:7000", "10.0.0.0:7000",
                                           "[fe80::]:7000"};
    for (size_t i = 0; i < ARRAY_COUNT(nobody); i++) {
        struct err e = ERR_INIT;
        assert_int_equal(address_advertised_check(nobody[i], &e), ERR_INVALID);
        assert_true(i > 5 || strstr(e.msg, "--advertise"));
    }
    for (size_t i = 0; i < ARRAY_COUNT(somebody); i++) {
        assert_int_equal(address_advertised_check(somebody[i], NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_list),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(sizes),
        cmocka_unit_test(durations),
        cmocka_unit_test(booleans),
        cmocka_unit_test(addresses),
        cmocka_unit_test(advertised_addresses),
        cmocka_unit_test(hexadecimal),
        cmocka_unit_test(shown_forms),
        cmocka_unit_test(exact_forms_parse_back),
        cmocka_unit_test(distances),
        cmocka_unit_test(utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
