#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/config.h"
#include "common/macros.h"
#include "common/sys.h"

struct options {
    const char *data;
    const char *level;
    const char *masters_text;
    int64_t count;
    uint64_t cache_bytes;
    uint64_t wait_ms;
    bool verbose;
    bool sync;
    struct config_list masters;
    struct config_list defines;
};

static const struct config_row rows[] = {
    {.key = "data",
     .letter = 'd',
     .type = CONFIG_STRING,
     .offset = offsetof(struct options, data),
     .value_name = "DIR",
     .help = "Directory for chunks.",
     .flags = CONFIG_REQUIRED},
    {.key = "log-level",
     .type = CONFIG_STRING,
     .offset = offsetof(struct options, level),
     .default_text = "info",
     .choices = "error|warning|info|debug",
     .help = "What is logged."},
    {.key = "", .type = CONFIG_HEADING, .help = "Limits"},
    {.key = "count",
     .letter = 'n',
     .type = CONFIG_INT,
     .offset = offsetof(struct options, count),
     .default_text = "-3",
     .min = -5,
     .max = 100,
     .help = "How many."},
    {.key = "cache",
     .type = CONFIG_SIZE,
     .offset = offsetof(struct options, cache_bytes),
     .default_text = "64M",
     .min = 1 << 20,
     .max = INT64_MAX,
     .help = "Memory for the block cache, which holds the blocks that were read last, so that they "
             "need "
             "not be read again."},
    {.key = "wait",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct options, wait_ms),
     .default_text = "5s",
     .help = "Patience."},
    {.key = "verbose",
     .letter = 'v',
     .type = CONFIG_BOOL,
     .offset = offsetof(struct options, verbose),
     .help = "Say more.",
     .flags = CONFIG_FLAG_ONLY},
    {.key = "sync",
     .letter = 's',
     .type = CONFIG_BOOL,
     .offset = offsetof(struct options, sync),
     .default_text = "true",
     .help = "Wait for the disk."},
    {.key = "masters",
     .type = CONFIG_LIST,
     .offset = offsetof(struct options, masters),
     .default_text = "a:1,b:2",
     .env = "DFS_MASTER",
     .help = "File masters."},
    {.key = "define",
     .letter = 'D',
     .type = CONFIG_REPEAT,
     .offset = offsetof(struct options, defines),
     .help = "A definition."},
};

static const struct config_program program = {.name = "chunkserver",
                                              .summary = "keep chunks and serve them",
                                              .arguments = "[FILE]...",
                                              .description = "First paragraph.\n\nSecond one.",
                                              .footer = "Exit codes: 0, 1, 2.",
                                              .rows = rows,
                                              .row_count = ARRAY_COUNT(rows)};

static const char *environment[8]; /* name, value, ..., NULL */

static const char *fake_getenv(const char *name)
{
    for (size_t i = 0; environment[i] != NULL; i += 2) {
        if (strcmp(environment[i], name) == 0) {
            return environment[i + 1];
        }
    }
    return NULL;
}

struct fixture {
    struct config config;
    struct options options;
    struct err e;
    struct buf dir;
    struct buf file;
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.dir = BUF_INIT, .file = BUF_INIT};
    environment[0] = NULL;
    *state = &f;
    int r = sys_make_temp_dir("test-config", &f.dir, NULL);
    buf_printf(&f.file, "%s/trireme.conf", f.dir.data);
    return r;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    int r = sys_remove_tree(f->dir.data, NULL);
    config_deinit(&f->config);
    buf_deinit(&f->dir);
    buf_deinit(&f->file);
    return r;
}

/* Parses a command line of words separated by single spaces. */
static int parse(struct fixture *f, const struct config_program *p, const char *line)
{
    static char name[] = "program", words[1000];
    char *argv[40] = {name};
    int argc = 1;
    snprintf(words, sizeof(words), "%s", line);
    for (char *at = words; *at != 0 && argc < 40;) {
        argv[argc++] = at;
        at += strcspn(at, " ");
        if (*at != 0) {
            *at++ = 0;
        }
    }
    config_deinit(&f->config);
    memset(&f->e, 0, sizeof(f->e));
    struct config_input in = {argc, argv, fake_getenv, f->file.data};
    return config_parse(&f->config, p, &f->options, &in, &f->e);
}

static void write_file(struct fixture *f, const char *text)
{
    assert_int_equal(sys_write_file_atomic(f->file.data, text, strlen(text), NULL), 0);
}

static void expect_error(struct fixture *f, const char *line, const char *part)
{
    if (parse(f, &program, line) != ERR_INVALID || strstr(f->e.msg, part) == NULL) {
        fail_msg("\"%s\" gave \"%s\", not \"%s\"", line, f->e.msg, part);
    }
}

static void defaults(void **state)
{
    struct fixture *f = *state;
    const struct options *o = &f->options;
    assert_int_equal(parse(f, &program, "--data /d"), 0);
    assert_string_equal(o->data, "/d");
    assert_string_equal(o->level, "info");
    assert_int_equal(o->count, -3);
    assert_int_equal(o->cache_bytes, 64 << 20);
    assert_int_equal(o->wait_ms, 5000);
    assert_false(o->verbose);
    assert_true(o->sync);
    assert_int_equal(o->masters.count, 2);
    assert_string_equal(o->masters.items[1], "b:2");
    assert_int_equal(o->defines.count, 0);
}

static void forms_of_flags(void **state)
{
    struct fixture *f = *state;
    const struct options *o = &f->options;
    assert_int_equal(parse(f, &program,
                           "-d /x --count=7 one -vn 9 --no-sync -Da=b,c -D d --masters x:1 "
                           "--masters=y:2,z:3 - -- --two"),
                     0);
    assert_string_equal(o->data, "/x");
    assert_int_equal(o->count, 9);
    assert_true(o->verbose);
    assert_false(o->sync);
    assert_int_equal(o->defines.count, 2);
    assert_string_equal(o->defines.items[0], "a=b,c");
    assert_int_equal(o->masters.count, 3);
    assert_string_equal(o->masters.items[0], "x:1");
    assert_string_equal(o->masters.items[2], "z:3");
    assert_int_equal(f->config.argument_count, 3);
    assert_string_equal(f->config.arguments[0], "one");
    assert_string_equal(f->config.arguments[1], "-");
    assert_string_equal(f->config.arguments[2], "--two");
    assert_null(f->config.arguments[3]);
    assert_int_equal(parse(f, &program, "-d /x --verbose=false --sync=off"), 0);
    assert_false(o->verbose);
    assert_false(o->sync);
}

static void the_stronger_source_wins(void **state)
{
    struct fixture *f = *state;
    write_file(
        f, "[all]\ndata = /all\nmasters = f:1\n[chunkserver]\ncount = 1\ncache = 2M\nwait = 1s\n");
    environment[0] = "TRIREME_COUNT";
    environment[1] = "2";
    environment[2] = "TRIREME_CACHE";
    environment[3] = "3M";
    environment[4] = "DFS_MASTER";
    environment[5] = "e:1,e:2";
    environment[6] = NULL;
    assert_int_equal(parse(f, &program, "--count 3"), 0);
    assert_string_equal(f->options.data, "/all");
    assert_int_equal(f->options.count, 3);
    assert_int_equal(f->options.cache_bytes, 3 << 20);
    assert_int_equal(f->options.wait_ms, 1000);
    assert_int_equal(f->options.masters.count, 2);
    assert_string_equal(f->options.masters.items[0], "e:1");

    struct buf json = BUF_INIT;
    config_json(&f->config, &program, &f->options, &json);
    assert_string_equal(json.data,
                        "{\"data\": {\"value\": \"/all\", \"from\": \"file\"}, "
                        "\"log-level\": {\"value\": \"info\", \"from\": \"default\"}, "
                        "\"count\": {\"value\": \"3\", \"from\": \"flag\"}, "
                        "\"cache\": {\"value\": \"3M\", \"from\": \"environment\"}, "
                        "\"wait\": {\"value\": \"1s\", \"from\": \"file\"}, "
                        "\"verbose\": {\"value\": \"false\", \"from\": \"default\"}, "
                        "\"sync\": {\"value\": \"true\", \"from\": \"default\"}, "
                        "\"masters\": {\"value\": \"e:1,e:2\", \"from\": \"environment\"}, "
                        "\"define\": {\"value\": null, \"from\": \"default\"}}");
    buf_deinit(&json);
}

static void says_where_a_value_is_from(void **state)
{
    struct fixture *f = *state;
    environment[0] = "DFS_MASTER";
    environment[1] = "e:1";
    environment[2] = NULL;
    assert_int_equal(parse(f, &program, "--data /x -n 3"), 0);
    assert_string_equal(config_where(&f->config, &program, "masters"), "DFS_MASTER");
    assert_string_equal(config_where(&f->config, &program, "data"), "--data");
    assert_string_equal(config_where(&f->config, &program, "count"), "-n");
    assert_string_equal(config_where(&f->config, &program, "cache"), "--cache");
    environment[0] = NULL;
}

/* A command has one master to give, the file's [all] has `masters` for everybody. */
static void the_file_may_use_the_name_that_daemons_have(void **state)
{
    static const struct config_row one[] = {{.key = "master",
                                             .type = CONFIG_STRING,
                                             .offset = offsetof(struct options, data),
                                             .env = "DFS_MASTER",
                                             .shared_key = "masters",
                                             .help = "File masters."}};
    const struct config_program command = {
        .name = "dfs", .summary = "work with files", .rows = one, .row_count = 1};
    struct fixture *f = *state;
    write_file(f, "[all]\nmasters = a:1,b:1\n");
    assert_int_equal(parse(f, &command, ""), 0);
    assert_string_equal(f->options.data, "a:1,b:1");
    assert_non_null(
        strstr(config_where(&f->config, &command, "master"), "trireme.conf:2: masters"));
    assert_int_equal(parse(f, &command, "--master c:1"), 0);
    assert_string_equal(f->options.data, "c:1");
    write_file(f, "[dfs]\nmaster = d:1\n");
    assert_int_equal(parse(f, &command, ""), 0);
    assert_string_equal(f->options.data, "d:1");
    assert_int_equal(parse(f, &command, "--masters e:1"), ERR_INVALID); /* in the file only */
}

static void errors_name_their_place(void **state)
{
    struct fixture *f = *state;
    expect_error(f, "", "option --data is required");
    expect_error(f, "--cahce 1M", "unknown option --cahce; did you mean --cache?");
    expect_error(f, "--nothing-like-it", "unknown option --nothing-like-it");
    expect_error(f, "-x", "unknown option -x");
    expect_error(f, "-bogus", "unknown option -bogus");
    expect_error(f, "-cahce 1M", "unknown option -cahce; did you mean --cache?");
    expect_error(f, "--cache", "option --cache needs a value");
    expect_error(f, "-n", "option -n needs a value");
    expect_error(f, "--cache 1X", "--cache: \"1X\" is not a size such as");
    expect_error(f, "--cache 1K", "--cache: 1K is not within 1M and");
    expect_error(f, "--count 101", "--count: 101 is not within -5 and 100");
    expect_error(f, "-n 1.5", "-n: \"1.5\" is not a whole number");
    expect_error(f, "--log-level loud", "\"loud\" is not one of error|warning|info|debug");
    expect_error(f, "--no-data", "unknown option --no-data");
    expect_error(f, "--sync=maybe", "--sync: \"maybe\" is not true");
    environment[0] = "TRIREME_WAIT";
    environment[1] = "5";
    environment[2] = NULL;
    expect_error(f, "-d /x", "TRIREME_WAIT: \"5\" is not a duration");
}

static void errors_of_the_file_name_the_line(void **state)
{
    static const struct {
        const char *text;
        const char *part;
    } cases[] = {
        {"[chunkserver]\n\ncahce = 1M\n",
         "trireme.conf:3: unknown key \"cahce\" in section [chunkserver]"},
        {"[all]\nfoo = 1\n", ":2: unknown key \"foo\" in section [all]"},
        {"[chunkserevr]\ncache = 1M\n", ":2: unknown section [chunkserevr]"},
        {"cache = 1M\n", ":1: unknown section []"},
        {"[chunkserver]\ncache = 1X\n", ":2: cache: \"1X\" is not a size"},
        {"[chunkserver]\ncount = 1\n; x\ncount = 2\n", ":4: count is set twice"},
        {"[chunkserver]\nverbose = true\n", ":2: unknown key \"verbose\""},
        {"[chunkserver]\nnonsense\n", ":2: neither a [section] nor key = value"},
        {"[chunkserver\n", ":1: neither"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        write_file(f, cases[i].text);
        expect_error(f, "-d /x --count 5 --cache 5M", cases[i].part);
    }
    struct buf text = BUF_INIT;
    buf_append_str(&text, "[chunkserver]\ndata = ");
    buf_append_fill(&text, 'x', 9000);
    write_file(f, text.data);
    expect_error(f, "-d /x", ":2: the line has a NUL or more than");
    buf_deinit(&text);
}

static void other_programs_sections_are_skipped(void **state)
{
    struct fixture *f = *state;
    write_file(f, "# all hosts\n[all]\nsuperuser = root\n[fsmaster]\nanything = 1\n"
                  "[chunkserver]\n  data = /a b ; comment\n  define = x=1\n  define = y=2\n");
    assert_int_equal(parse(f, &program, ""), 0);
    assert_string_equal(f->options.data, "/a b");
    assert_int_equal(f->options.defines.count, 2);
    assert_string_equal(f->options.defines.items[1], "y=2");
}

static void named_files_must_exist(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, &program, "-d /x"), 0);
    assert_int_equal(parse(f, &program, "-d /x --config /no/such"), ERR_NOT_FOUND);
    environment[0] = "TRIREME_CONFIG";
    environment[1] = "/no/such";
    environment[2] = NULL;
    assert_int_equal(parse(f, &program, "-d /x"), ERR_NOT_FOUND);
    write_file(f, "[chunkserver]\ndata = /named\n");
    environment[1] = f->file.data;
    assert_int_equal(parse(f, &program, ""), 0);
    assert_string_equal(f->options.data, "/named");
}

static void subcommands_get_the_rest(void **state)
{
    static const struct config_row global[] = {{.key = "verbose",
                                                .letter = 'v',
                                                .type = CONFIG_BOOL,
                                                .help = "Say more.",
                                                .offset = offsetof(struct options, verbose),
                                                .flags = CONFIG_FLAG_ONLY}};
    const struct config_program p = {.name = "dfs",
                                     .summary = "x",
                                     .arguments = "COMMAND [ARG]...",
                                     .rows = global,
                                     .row_count = 1,
                                     .stop_at_argument = true};
    struct fixture *f = *state;
    assert_int_equal(parse(f, &p, "-v put -x --help"), 0);
    assert_true(f->options.verbose);
    assert_false(f->config.wants_help);
    assert_int_equal(f->config.argument_count, 3);
    assert_string_equal(f->config.arguments[0], "put");
    assert_string_equal(f->config.arguments[2], "--help");
    const struct config_program bare = {
        .name = "x", .summary = "x", .rows = global, .row_count = 1};
    assert_int_equal(parse(f, &bare, "surprise"), ERR_INVALID);
    assert_string_equal(f->e.msg, "unexpected argument \"surprise\"");
    assert_int_equal(parse(f, &bare, "--config x"), ERR_INVALID);
}

static void words_after_one_dash(void **state)
{
    static const struct config_row words[] = {
        {.key = "log-level",
         .letter = 'l',
         .type = CONFIG_STRING,
         .help = "x",
         .offset = offsetof(struct options, level),
         .flags = CONFIG_FLAG_ONLY},
        {.key = "verbose",
         .letter = 'v',
         .type = CONFIG_BOOL,
         .help = "x",
         .offset = offsetof(struct options, verbose),
         .flags = CONFIG_FLAG_ONLY},
        {.key = "count",
         .letter = 'n',
         .type = CONFIG_INT,
         .help = "x",
         .offset = offsetof(struct options, count),
         .flags = CONFIG_FLAG_ONLY},
        {.key = "data",
         .type = CONFIG_STRING,
         .help = "x",
         .offset = offsetof(struct options, data)},
    };
    struct config_program p = {.name = "dfs find",
                               .summary = "x",
                               .arguments = "PATH...",
                               .rows = words,
                               .row_count = ARRAY_COUNT(words),
                               .one_dash = true};
    struct fixture *f = *state;
    assert_int_equal(parse(f, &p, "-logLevel debug -verbose -count 7 a"), 0);
    assert_string_equal(f->options.level, "debug");
    assert_true(f->options.verbose);
    assert_int_equal(f->options.count, 7);
    assert_int_equal(f->config.argument_count, 1);
    assert_int_equal(parse(f, &p, "-LOG-LEVEL info"), 0);
    assert_string_equal(f->options.level, "info");
    assert_int_equal(parse(f, &p, "-vn 6 -ldebug"), 0); /* still letters */
    assert_int_equal(f->options.count, 6);
    assert_string_equal(f->options.level, "debug");
    assert_int_equal(parse(f, &p, "-exec rm"), ERR_INVALID);
    assert_string_equal(f->e.msg, "unknown option -exec");
    assert_int_equal(parse(f, &p, "-count"), ERR_INVALID);
    assert_string_equal(f->e.msg, "option --count needs a value");
    assert_int_equal(parse(f, &p, "-data x"), ERR_INVALID); /* not a flag of one call */
    assert_int_equal(parse(f, &p, "--data x"), 0);
    p.one_dash = false;
    assert_int_equal(parse(f, &p, "-count 7"), ERR_INVALID);
}

static void help_needs_nothing_else(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, &program, "--help"), 0);
    assert_true(f->config.wants_help);
    assert_int_equal(parse(f, &program, "-vh"), 0);
    assert_true(f->config.wants_help);
    assert_int_equal(parse(f, &program, "--version"), 0);
    assert_true(f->config.wants_version);
    assert_int_equal(parse(f, &program, "--help-markdown"), 0);
    assert_true(f->config.wants_markdown);
    assert_int_equal(parse(f, &program, "--help-man"), 0);
    assert_true(f->config.wants_man);
}

static void help_is_a_page(void **state)
{
    struct buf text = BUF_INIT;
    (void)state;
    config_print_help(&program, &text);
    const char *const parts[] = {
        "chunkserver - keep chunks and serve them\n\nUsage: chunkserver [OPTION]... [FILE]...\n",
        "\nFirst paragraph.\n\nSecond one.\n",
        "  -d, --data DIR\n          Directory for chunks. Required. Environment: TRIREME_DATA.\n",
        "\nLimits:\n",
        "      --cache SIZE\n          Memory for the block cache,",
        "At least 1M. Default: 64M.",
        "One of error|warning|info|debug. Default: info.",
        "From -5 to 100.",
        "Environment: DFS_MASTER.",
        "  -v, --verbose\n          Say more.\n",
        "  -h, --help\n",
        "      --config FILE\n",
        "section [chunkserver] or [all]",
        "\nExit codes: 0, 1, 2.\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
        if (strstr(text.data, parts[i]) == NULL) {
            fail_msg("no \"%s\" in:\n%s", parts[i], text.data);
        }
    }
    for (const char *line = text.data; *line != 0; line += strcspn(line, "\n") + 1) {
        assert_true(strcspn(line, "\n") <= 80);
    }
    buf_deinit(&text);
}

/* `ls -h` means something else, and its page must not say otherwise. */
static void help_gives_way_to_a_letter(void **state)
{
    static const struct config_row human[] = {
        {.key = "human", .letter = 'h', .type = CONFIG_BOOL, .help = "Round sizes."},
    };
    static const struct config_program ls = {
        .name = "ls", .summary = "list", .rows = human, .row_count = 1};
    struct buf text = BUF_INIT;
    (void)state;
    config_print_help(&ls, &text);
    assert_non_null(strstr(text.data, "  -h, --human\n"));
    assert_non_null(strstr(text.data, "      --help\n"));
    assert_null(strstr(text.data, "-h, --help"));
    buf_deinit(&text);
}

static void the_reference_page_has_every_option(void **state)
{
    struct buf text = BUF_INIT;
    (void)state;
    config_print_markdown(&program, &text);
    assert_non_null(strstr(text.data, "## chunkserver\n\nkeep chunks and serve them.\n"));
    assert_non_null(strstr(
        text.data, "| `--data DIR`, `-d` | `TRIREME_DATA` | Directory for chunks. Required. |\n"));
    assert_non_null(strstr(text.data, "error\\|warning\\|info\\|debug"));
    assert_non_null(strstr(text.data, "\n### Limits\n\n| option | environment | meaning |\n"));
    assert_non_null(strstr(text.data, "| `--verbose`, `-v` |  | Say more. |\n"));
    buf_deinit(&text);
}

static void the_man_page_is_of_roff(void **state)
{
    static const struct config_row tricky[] = {
        {.key = "dot-dir",
         .letter = 'd',
         .type = CONFIG_STRING,
         .value_name = "DIR",
         .help = ".hidden isn't a \\request.",
         .flags = CONFIG_FLAG_ONLY},
    };
    static const struct config_program p = {
        .name = "dfs put",
        .summary = "copy",
        .arguments = "FILE...",
        .rows = tricky,
        .row_count = 1,
        .description = "One.\n.Two.",
        .footer = "Examples:\n  dfs put 'a-*' /b\n\nExit status:\n  0 done"};
    static const char *const parts[] = {
        ".TH DFS-PUT 1 \"\" \"Trireme ",
        ".SH NAME\ndfs-put \\- copy\n",
        "\\fBdfs put\\fR [\\fIOPTION\\fR]... FILE...\n",
        ".SH DESCRIPTION\nOne.\n.PP\n\\&.Two.\n",
        ".TP\n\\fB\\-d\\fR, \\fB\\-\\-dot\\-dir\\fR \\fIDIR\\fR\n"
        "\\&.hidden isn\\(aqt a \\erequest.\n",
        ".SH EXAMPLES\n.nf\ndfs put \\(aqa\\-*\\(aq /b\n\n.fi\n.SH EXIT STATUS\n.nf\n0 done\n.fi\n",
    };
    struct buf text = BUF_INIT;
    (void)state;
    config_print_man(&p, &text);
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
        if (strstr(text.data, parts[i]) == NULL) {
            fail_msg("no \"%s\" in:\n%s", parts[i], text.data);
        }
    }
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(forms_of_flags, setup, teardown),
        cmocka_unit_test_setup_teardown(the_stronger_source_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(says_where_a_value_is_from, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_name_their_place, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_of_the_file_name_the_line, setup, teardown),
        cmocka_unit_test_setup_teardown(other_programs_sections_are_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(named_files_must_exist, setup, teardown),
        cmocka_unit_test_setup_teardown(subcommands_get_the_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(words_after_one_dash, setup, teardown),
        cmocka_unit_test_setup_teardown(help_needs_nothing_else, setup, teardown),
        cmocka_unit_test(help_is_a_page),
        cmocka_unit_test_setup_teardown(the_file_may_use_the_name_that_daemons_have, setup,
                                        teardown),
        cmocka_unit_test(help_gives_way_to_a_letter),
        cmocka_unit_test(the_reference_page_has_every_option),
        cmocka_unit_test(the_man_page_is_of_roff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
