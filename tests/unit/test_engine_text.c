/* The engine's small readers of text: words, reports on stderr, commands, fields, partitions,
 * settings, counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/limits.h"
#include "common/rng.h"
#include "mapreduce/engine/command.h"
#include "mapreduce/engine/counters.h"
#include "mapreduce/engine/partition.h"
#include "mapreduce/engine/report.h"
#include "mapreduce/engine/settings.h"
#include "mapreduce/engine/stream.h"
#include "mapreduce/engine/words.h"

/* ---- Words ---- */

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= 9 && c <= 13);
}

static void check_words(const char *text, size_t length, size_t most)
{
    struct mr_span rest = mr_bytes(text, length);
    struct mr_span words[200];
    size_t at = 0;
    size_t count;
    while ((count = words_split(&rest, words, most)) > 0) {
        assert_true(count <= most);
        for (size_t i = 0; i < count; i++) {
            while (is_space((unsigned char)text[at])) {
                at++;
            }
            size_t end = at;
            while (end < length && !is_space((unsigned char)text[end])) {
                end++;
            }
            assert_ptr_equal(words[i].data, text + at);
            assert_int_equal(words[i].length, end - at);
            at = end;
        }
    }
    while (at < length && is_space((unsigned char)text[at])) {
        at++;
    }
    assert_int_equal(at, length);
}

static void test_words(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 1);
    for (int i = 0; i < 3000; i++) {
        size_t length = rng_below(&rng, 300);
        char *text = xmalloc(length + 1); /* its own memory: reads beyond are seen */
        uint64_t density = rng_range(&rng, 1, 20);
        for (size_t k = 0; k < length; k++) {
            uint64_t byte = rng_below(&rng, 256);
            text[k] = rng_below(&rng, density) == 0 ? " \t\n\v\f\r"[byte % 6] : (char)byte;
        }
        check_words(text, length, 200);
        check_words(text, length, 1 + rng_below(&rng, 5));
        free(text);
    }
    struct mr_span none = mr_bytes(NULL, 0);
    struct mr_span words[1];
    assert_int_equal(words_split(&none, words, 1), 0);
}

/* ---- Reports ---- */

static struct report parse(const char *line)
{
    return report_parse((struct span){line, strlen(line)}, "reporter:");
}

static void test_reports(void **state)
{
    (void)state;
    struct report r = parse("reporter:counter:My Group,Bad lines,42");
    assert_int_equal(r.kind, REPORT_COUNTER);
    assert_int_equal(r.amount, 42);
    assert_memory_equal(r.group.data, "My Group", r.group.length);
    assert_memory_equal(r.name.data, "Bad lines", r.name.length);
    assert_int_equal(parse("reporter:counter:g,n,-7").amount, -7);
    assert_int_equal(parse("reporter:counter:g,n,1\r").kind, REPORT_COUNTER);
    r = parse("reporter:status:half way");
    assert_int_equal(r.kind, REPORT_STATUS);
    assert_memory_equal(r.text.data, "half way", r.text.length);
    static const char *const logs[] = {"",
                                       "reporter:",
                                       "reporter:counter:g,n",
                                       "reporter:counter:g,n,",
                                       "reporter:counter:g,n,x",
                                       "reporter:counter:g,n,1,2",
                                       "reporter:counter:g,n,99999999999999999999",
                                       " reporter:status:x",
                                       "Traceback"};
    for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]); i++) {
        assert_int_equal(parse(logs[i]).kind, REPORT_LOG);
    }
}

/* ---- Commands ---- */

static void check_command(const char *text, const char *expected)
{
    struct job job = {.id = "job_local_0001", .reduces = 2};
    struct task_identity identity = {.number = 3, .attempt_id = "attempt_x"};
    struct child_command c;
    struct buf got = BUF_INIT;
    assert_int_equal(settings_set(&job.settings, "my.own-setting", "17", NULL), 0);
    assert_int_equal(settings_set(&job.environment, "EXTRA", "yes", NULL), 0);
    struct command_options options = {
        .text = text, .job = &job, .identity = &identity, .is_map = true};
    assert_int_equal(child_command_init(&c, &options, NULL), 0);
    for (char **arg = c.argv; *arg; arg++) {
        buf_printf(&got, "[%s]", *arg);
    }
    assert_string_equal(got.data, expected);
    buf_clear(&got);
    for (char **variable = c.envp; *variable; variable++) {
        buf_printf(&got, "\n%s\n", *variable);
    }
    static const char *const variables[] = {
        "\nmy_own_setting=17\n",          "\nEXTRA=yes\n",
        "\nmapreduce_task_partition=3\n", "\nmapreduce_task_is_map=true\n",
        "\nmapreduce_job_reduces=2\n",    "\nmapred_task_id=attempt_x\n"};
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        assert_non_null(strstr(got.data, variables[i]));
    }
    child_command_deinit(&c);
    buf_deinit(&got);
    job_deinit(&job);
}

static void test_commands(void **state)
{
    (void)state;
    check_command("cat", "[cat]");
    check_command("  ./m.py  --flag   x ", "[./m.py][--flag][x]");
    check_command("awk 'a b' \"c d\" e'f'g ''", "[awk][a b][c d][efg][]");
    check_command("sort | uniq -c", "[/bin/sh][-c][sort | uniq -c]");
    check_command("LC_ALL=C sort", "[/bin/sh][-c][LC_ALL=C sort]");
    check_command("sort --key=2", "[sort][--key=2]");
    struct job job = {0};
    struct task_identity identity = {0};
    struct child_command c;
    struct err e = ERR_INIT;
    struct command_options options = {.text = "cat 'x", .job = &job, .identity = &identity};
    assert_int_equal(child_command_init(&c, &options, &e), ERR_INVALID);
    options.text = "   ";
    assert_int_equal(child_command_init(&c, &options, &e), ERR_INVALID);
}

static void check_cut(const char *separator, uint32_t fields, const char *line, const char *key,
                      const char *value)
{
    struct job_fields f = {.fields = fields};
    (void)snprintf(f.separator, sizeof(f.separator), "%s", separator);
    struct mr_record record = stream_cut_line(&f, mr_string(line));
    assert_true(mr_equal(record.key, mr_string(key)));
    assert_true(mr_equal(record.value, mr_string(value)));
}

static void test_fields(void **state)
{
    (void)state;
    check_cut("\t", 1, "key\tvalue\tmore", "key", "value\tmore");
    check_cut("\t", 1, "no tab", "no tab", "");
    check_cut("\t", 1, "\tvalue", "", "value");
    check_cut("\t", 1, "key\t", "key", "");
    check_cut("\t", 1, "", "", "");
    check_cut(".", 2, "a.b.c.d", "a.b", "c.d");
    check_cut(".", 3, "a.b", "a.b", "");
    check_cut("::", 1, "a:b::c", "a:b", "c");
}

/* ---- Partitions ---- */

static void test_partitions(void **state)
{
    (void)state;
    /* Part of the formats: these never change. */
    assert_int_equal(partition_by_hash(mr_string("trireme"), 1000),
                     (uint32_t)(((hash_bytes("trireme", 7, 0) >> 32) * 1000) >> 32));
    struct partitioner p;
    struct buf text = BUF_INIT;
    struct mr_span keys[] = {mr_string("m"), mr_string("z"), mr_string("a"), mr_string("g")};
    partition_choose(keys, 4, 4, &text);
    assert_string_equal(text.data, "67,6d,7a"); /* g, m, z */
    partitioner_init(&p, 4);
    assert_int_equal(partitioner_set_boundaries(&p, text.data, NULL), 0);
    static const char *const probes[] = {"",  "a", "f\xff", "g", "ga", "lzzzzzzzzzz",
                                         "m", "y", "z",     "zz"};
    static const uint32_t expected[] = {0, 0, 0, 1, 1, 1, 2, 2, 3, 3};
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(partition_of(&p, mr_string(probes[i])), expected[i]);
    }
    partitioner_deinit(&p);
    static const char *const bad[] = {"", "67", "67,6d,7a,7b", "6,6d,7a", "7a,6d,67", "xx,6d,7a"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        partitioner_init(&p, 4);
        assert_int_equal(partitioner_set_boundaries(&p, bad[i], NULL), ERR_INVALID);
        partitioner_deinit(&p);
    }
    buf_deinit(&text);
}

/* ---- Settings and counters ---- */

static void test_settings(void **state)
{
    (void)state;
    struct settings s = SETTINGS_INIT;
    bool flag = false;
    uint64_t number = 0;
    assert_int_equal(settings_set_pair(&s, "b=2", NULL), 0);
    assert_int_equal(settings_set_pair(&s, "a=x=y", NULL), 0);
    assert_int_equal(settings_set_pair(&s, "b=3", NULL), 0);
    assert_int_equal(settings_set_pair(&s, "empty=", NULL), 0);
    assert_int_equal(settings_set_pair(&s, "nothing", NULL), ERR_INVALID);
    assert_int_equal(settings_set_pair(&s, "=x", NULL), ERR_INVALID);
    assert_string_equal(settings_get(&s, "a"), "x=y");
    assert_string_equal(settings_get(&s, "b"), "3");
    assert_string_equal(settings_get(&s, "empty"), "");
    assert_null(settings_get(&s, "c"));
    assert_int_equal(s.count, 3);
    assert_int_equal(settings_get_u64(&s, "b", 9, &number, NULL), 0);
    assert_int_equal(number, 3);
    assert_int_equal(settings_get_u64(&s, "c", 9, &number, NULL), 0);
    assert_int_equal(number, 9);
    assert_int_equal(settings_get_bool(&s, "a", false, &flag, NULL), ERR_INVALID);
    settings_deinit(&s);
}

static struct span text_span(const char *text)
{
    return (struct span){text, strlen(text)};
}

static void test_counters(void **state)
{
    (void)state;
    struct counters a;
    struct counters b;
    struct buf encoded = BUF_INIT;
    counters_init(&a);
    counters_init(&b);
    counters_add(&a, COUNTER_MAP_INPUT_RECORDS, 5);
    counters_add_named(&a, text_span("g"), text_span("tab\there"), 7);
    counters_add_named(&a, text_span("Map-Reduce Framework"), text_span("Map input records"), 1);
    counters_encode(&a, &encoded);
    assert_int_equal(counters_decode(&b, encoded.data, encoded.length), 0);
    assert_int_equal(counters_decode(&b, encoded.data, encoded.length), 0);
    assert_int_equal(counters_get(&b, "g", "tab here"), 14);
    assert_int_equal(counters_get(&b, "Map-Reduce Framework", "Map input records"), 12);
    assert_int_equal(counters_get(&b, "g", "none"), 0);
    static const char *const bad[] = {"x", "g\tn\n", "g\tn\tx\n", "g\tn\t1", "g\tn\t1\nx\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(counters_decode(&b, bad[i], strlen(bad[i])), ERR_CORRUPT);
    }
    for (int i = 0; i < 3000; i++) { /* a program cannot fill our memory with names */
        char name[24];
        (void)snprintf(name, sizeof(name), "%d", i);
        counters_add_named(&a, text_span("many"), text_span(name), 1);
    }
    assert_int_equal(a.user_count, MR_COUNTERS_MAX);
    buf_deinit(&encoded);
    counters_deinit(&a);
    counters_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),      cmocka_unit_test(test_reports),
        cmocka_unit_test(test_commands),   cmocka_unit_test(test_fields),
        cmocka_unit_test(test_partitions), cmocka_unit_test(test_settings),
        cmocka_unit_test(test_counters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
