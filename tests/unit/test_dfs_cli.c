/* The dfs command without a cluster: its table, its arguments, modes, the progress line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/cli/cli.h"
#include "client/cli/mode.h"
#include "client/cli/progress.h"
#include "client/cli/trash.h"
#include "common/macros.h"

static int parse(struct cli *cli, const char *command, const char *words)
{
    static char text[1000];
    static char *argv[50];
    int argc = 0;
    char *state = NULL;
    memset(cli, 0, sizeof(*cli));
    cli->command = cli_find(command);
    assert_non_null(cli->command);
    (void)snprintf(text, sizeof(text), "%s %s", command, words);
    for (char *w = strtok_r(text, " ", &state); w; w = strtok_r(NULL, " ", &state)) {
        argv[argc++] = w;
    }
    argv[argc] = NULL;
    return cli_parse(cli, argc, argv);
}

static void flags_of_hadoop_fs(void **state)
{
    (void)state;
    struct cli cli;
    assert_int_equal(parse(&cli, "ls", "-lR /a"), 2);
    assert_int_equal(parse(&cli, "ls", "-hR -t -r /a /b"), -1);
    assert_true(cli.options.human);
    assert_true(cli.options.recursive);
    assert_true(cli.options.by_time);
    assert_true(cli.options.reverse);
    assert_int_equal(cli.argument_count, 2);
    config_deinit(&cli.config);
    assert_int_equal(parse(&cli, "rm", "-r -f -skipTrash /a"), -1);
    assert_true(cli.options.recursive);
    assert_true(cli.options.force);
    assert_true(cli.options.skip_trash);
    config_deinit(&cli.config);
    assert_int_equal(parse(&cli, "rm", "-R /a"), -1);
    assert_true(cli.options.recursive);
    config_deinit(&cli.config);
    assert_int_equal(parse(&cli, "put", "-f --chunk-size 4M --replication 2 - /a"), -1);
    assert_int_equal(cli.options.chunk_bytes, 4 << 20);
    assert_int_equal(cli.options.replication, 2);
    assert_string_equal(cli.arguments[0], "-");
    config_deinit(&cli.config);
    assert_int_equal(parse(&cli, "tail", "-f /a"), -1);
    assert_int_equal(cli.options.bytes, 1024);
    config_deinit(&cli.config);
}

static void names_of_hadoop_fs(void **state)
{
    (void)state;
    struct cli cli;
    for (size_t i = 0; i < cli_alias_count; i++) {
        assert_non_null(cli_find(cli_aliases[i].name));
        assert_string_equal(cli_find(cli_aliases[i].name)->name, cli_aliases[i].command);
        assert_int_equal(parse(&cli, cli_aliases[i].name, "/a /b"),
                         -1); /* its flag is one of ours */
        config_deinit(&cli.config);
    }
    assert_int_equal(parse(&cli, "lsr", "/a"), -1);
    assert_true(cli.options.recursive);
    config_deinit(&cli.config);
    assert_int_equal(parse(&cli, "ls", "/a"), -1);
    assert_false(cli.options.recursive);
    config_deinit(&cli.config);
    assert_int_equal(parse(&cli, "moveFromLocal", "-f a /a"), -1);
    assert_true(cli.options.remove_source);
    assert_true(cli.options.force);
    config_deinit(&cli.config);
    assert_int_equal(parse(&cli, "cp", "-ptopax -t 9 /a /b"), -1);
    assert_true(cli.options.preserve);
    assert_int_equal(cli.options.threads, 9);
    config_deinit(&cli.config);
    assert_int_equal(parse(&cli, "get", "-p -ignoreCrc -crc /a"), -1);
    assert_true(cli.options.preserve);
    assert_int_equal(cli.argument_count, 1);
    config_deinit(&cli.config);
}

static void numbers_of_arguments(void **state)
{
    (void)state;
    struct cli cli;
    assert_int_equal(parse(&cli, "put", ""), 2);
    assert_int_equal(parse(&cli, "rename", "/a"), 2);
    assert_int_equal(parse(&cli, "rename", "/a /b /c"), 2);
    assert_int_equal(parse(&cli, "report", "x"), 2);
    assert_int_equal(parse(&cli, "cat", "--json /a"), 2); /* prints bytes */
    assert_int_equal(parse(&cli, "ls", ""), -1);
    config_deinit(&cli.config);
}

static void every_command_has_a_page(void **state)
{
    (void)state;
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *c = cli_commands[i];
        struct config_row *rows = NULL;
        char *name = NULL;
        struct buf text = BUF_INIT;
        struct config_program program = cli_program(c, &rows, &name);
        config_print_help(&program, &text);
        assert_non_null(strstr(text.data, "Examples:"));
        assert_non_null(strstr(text.data, "DFS_MASTER"));
        assert_ptr_equal(cli_find(c->name), c);
        for (size_t a = 0; a < program.row_count; a++) { /* no letter or key twice */
            for (size_t b = a + 1; b < program.row_count; b++) {
                assert_true(rows[a].letter == 0 || rows[a].letter != rows[b].letter);
                assert_true(strcmp(rows[a].key, rows[b].key) != 0 || rows[a].key[0] == '\0');
            }
        }
        buf_deinit(&text);
        free(rows);
        free(name);
    }
}

static void nearest(void **state)
{
    (void)state;
    assert_string_equal(cli_nearest("sl")->name, "ls");
    assert_string_equal(cli_nearest("mkdri")->name, "mkdir");
    assert_string_equal(cli_nearest("reprot")->name, "report");
    assert_null(cli_nearest("zzzzzz"));
    assert_null(cli_find("lsx"));
}

static void modes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t from;
        bool directory;
        uint32_t to;
    } good[] = {
        {"755", 0, false, 0755},         {"0", 0777, false, 0},
        {"1777", 0, true, 01777},        {"u+x", 0644, false, 0744},
        {"a-w", 0666, false, 0444},      {"u=rw,go=", 0777, false, 0600},
        {"+x", 0644, false, 0755},       {"go-rwx", 0755, false, 0700},
        {"a+X", 0644, false, 0644},      {"a+X", 0744, false, 0755},
        {"a+X", 0644, true, 0755},       {"+t", 0777, true, 01777},
        {"u+r,g+w,o=x", 0, false, 0421},
    };
    static const char *const bad[] = {"", "8", "99999", "u", "u+", "z+x", "u+q", "u+x,", "77777"};
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        uint32_t mode = 0;
        assert_int_equal(mode_apply(good[i].text, good[i].from, good[i].directory, &mode), 0);
        assert_int_equal(mode, good[i].to);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        uint32_t mode = 0;
        if (strcmp(bad[i], "u+") != 0) { /* chmod(1) takes it too: nothing is added */
            assert_int_equal(mode_apply(bad[i], 0, false, &mode), ERR_INVALID);
        }
    }
}

static void progress_line(void **state)
{
    (void)state;
    char text[160];
    struct progress p = {.verb = "put", .total = 4096, .done = 1024, .began_ms = 1000};
    progress_format(&p, 2000, text);
    assert_string_equal(text,
                        "put [#####...............]  25%  1.0 K of 4.0 K  1.0 K/s  ETA 3.0 s");
    p.total = 0;
    progress_format(&p, 2000, text);
    assert_string_equal(text, "put  1.0 K  1.0 K/s");
}

static void trash_names(void **state)
{
    (void)state;
    static const char *const not_checkpoints[] = {
        "Current", "", "26030112345", "2603011234567", "260301x23456", "261301000000"};
    char text[16];
    uint64_t ms = 0;
    trash_checkpoint_name(1772368496789, text); /* 2026-03-01 12:34:56.789 UTC */
    assert_string_equal(text, "260301123456");
    assert_true(trash_checkpoint_time(text, &ms));
    assert_int_equal(ms, 1772368496000);
    for (size_t i = 0; i < ARRAY_COUNT(not_checkpoints); i++) {
        assert_false(trash_checkpoint_time(not_checkpoints[i], &ms));
    }
    struct trash t = {.top = (char *)"/user/ada/.Trash"};
    assert_int_equal(trash_fits(&t, "/books"), TRASH_FITS);
    assert_int_equal(trash_fits(&t, "/user/ada/book"), TRASH_FITS);
    assert_int_equal(trash_fits(&t, "/user/ada/.Trash2"), TRASH_FITS);
    assert_int_equal(trash_fits(&t, "/user/ada/.Trash/Current/x"), TRASH_WITHIN);
    assert_int_equal(trash_fits(&t, "/user/ada/.Trash"), TRASH_CONTAINS);
    assert_int_equal(trash_fits(&t, "/user/ada"), TRASH_CONTAINS);
    assert_int_equal(trash_fits(&t, "/"), TRASH_CONTAINS);
}

static void names(void **state)
{
    (void)state;
    char *text = cli_join("/a", "b");
    assert_string_equal(text, "/a/b");
    free(text);
    text = cli_join("/", "b");
    assert_string_equal(text, "/b");
    free(text);
    text = cli_base_name("a/b//");
    assert_string_equal(text, "b");
    free(text);
    text = cli_base_name("b");
    assert_string_equal(text, "b");
    free(text);
    static const char *const directories[] = {"/", "/a/", "/a//", "a/.", "/a/..", ".", ".."};
    for (size_t i = 0; i < ARRAY_COUNT(directories); i++) {
        assert_true(cli_names_directory(directories[i]));
    }
    static const char *const others[] = {"/a", "a", "-", "/a/...", "/a/.b", "..a"};
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        assert_false(cli_names_directory(others[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_of_hadoop_fs),
        cmocka_unit_test(names_of_hadoop_fs),
        cmocka_unit_test(numbers_of_arguments),
        cmocka_unit_test(every_command_has_a_page),
        cmocka_unit_test(nearest),
        cmocka_unit_test(modes),
        cmocka_unit_test(progress_line),
        cmocka_unit_test(trash_names),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
