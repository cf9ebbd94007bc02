/* mr run's options as jobs: Hadoop's spellings and settings, commands and their files, the line
 * that shows progress. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/crc32c.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/sys.h"
#include "mapreduce/mr/options.h"
#include "mapreduce/mr/progress.h"
#include "mapreduce/mr/show.h"
#include "mapreduce/mr/spec.h"
#include "mapreduce/mr/upload.h"

struct parsed {
    struct run_command command;
    struct job job;
    struct arena arena;
    struct job_spec spec;
    struct err err;
};

static int parse(struct parsed *p, const char *const *words)
{
    static char run[] = "run";
    char *argv[64] = {run};
    int argc = 1;
    for (; words[argc - 1]; argc++) {
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
    }
    *p = (struct parsed){.arena = ARENA_INIT};
    int code = run_command_parse(&p->command, argc, argv);
    if (code >= 0) {
        return code;
    }
    int r = run_command_job(&p->command, NULL, &p->job, &p->err);
    return r < 0 ? r : spec_fill(&p->command, &p->job, &p->arena, &p->spec, &p->err);
}

static void parsed_deinit(struct parsed *p)
{
    job_deinit(&p->job);
    run_command_deinit(&p->command);
    arena_deinit(&p->arena);
}

#define PARSE(p, ...) parse(p, (const char *const[]){__VA_ARGS__, NULL})

static void test_hadoop_spellings(void **state)
{
    (void)state;
    struct parsed p;
    assert_int_equal(PARSE(&p, "-D", "mapreduce.job.name=n", "-D", "mapreduce.task.timeout=5000",
                           "-files", "a,b#c", "-input", "/x", "-input", "/y", "-output", "/z",
                           "-mapper", "cat", "-reducer", "wc", "-numReduceTasks", "3", "-cmdenv",
                           "LANG=C", "-file", "f"),
                     0);
    const struct run_options *o = &p.command.options;
    assert_int_equal(o->inputs.count, 2);
    assert_string_equal(o->output, "/z");
    assert_int_equal(o->files.count, 1);
    assert_int_equal(o->more_files.count, 2);
    assert_string_equal(o->more_files.items[1], "b#c");
    assert_string_equal(p.spec.name, "n");
    assert_int_equal(p.spec.task_timeout_ms, 5000);
    assert_int_equal(p.spec.reduces, 3);
    assert_false(p.spec.map_only);
    assert_int_equal(p.spec.environment_count, 1);
    assert_string_equal(p.spec.environment[0].name, "LANG");
    assert_int_equal(p.spec.input_format, MR_INPUT_LINES);
    parsed_deinit(&p);
}

static const char *setting(const struct parsed *p, const char *name)
{
    const char *value = settings_get(&p->job.settings, name);
    return value ? value : "(not set)";
}

/* Each with the flag that it stands for. */
static void test_other_spellings(void **state)
{
    (void)state;
    struct parsed p;
    assert_int_equal(PARSE(&p, "-mapper", "cat", "-combiner", "c", "-name", "n", "-jobconf", "a=1",
                           "--define", "b=2", "--numReduceTasks", "2", "--split", "1M",
                           "-partitioner", "total", "--parallel", "3", "--no-speculative"),
                     0);
    assert_string_equal(p.command.options.combiner, "c");
    assert_string_equal(p.spec.name, "n");
    assert_string_equal(setting(&p, "a"), "1");
    assert_string_equal(setting(&p, "b"), "2");
    assert_int_equal(p.spec.reduces, 2);
    assert_int_equal(p.spec.split_bytes, 1 << 20);
    assert_true(p.job.total_order);
    assert_int_equal(p.command.options.parallel, 3);
    assert_true(p.spec.speculative_off);
    parsed_deinit(&p);
    assert_int_equal(PARSE(&p, "-lib", "x.so", "--mapper", "cat", "--reduces", "5", "-j", "4",
                           "--key-fields", "2", "--field-separator", ",", "--partition-by", "1,1",
                           "--sort-by", "1,1 2,2nr"),
                     0);
    assert_string_equal(p.command.options.library, "x.so");
    assert_int_equal(p.spec.reduces, 5);
    assert_int_equal(p.command.options.parallel, 4);
    assert_string_equal(setting(&p, "stream.num.map.output.key.fields"), "2");
    assert_string_equal(setting(&p, "stream.map.output.field.separator"), ",");
    assert_string_equal(setting(&p, "mapreduce.map.output.key.field.separator"), ",");
    assert_string_equal(setting(&p, "mapreduce.partition.keypartitioner.options"), "1,1");
    assert_string_equal(setting(&p, "mapreduce.partition.keycomparator.options"), "1,1 2,2nr");
    parsed_deinit(&p);
}

static void expect_unheeded(const struct parsed *p, const char *wanted)
{
    struct buf text = BUF_INIT;
    run_command_unheeded(&p->command, &text);
    assert_string_equal(text.length ? text.data : "", wanted);
    buf_deinit(&text);
}

static void test_flags_that_change_nothing_are_named(void **state)
{
    (void)state;
    struct parsed p;
    assert_int_equal(PARSE(&p, "--local", "--mapper", "cat", "-j", "2", "-q", "--memory", "64M"),
                     0);
    expect_unheeded(&p, "");
    parsed_deinit(&p);
    assert_int_equal(PARSE(&p, "--local", "--mapper", "cat", "--timeout", "5s"), 0);
    expect_unheeded(&p, "--timeout changes nothing with --local: only a cluster heeds it");
    parsed_deinit(&p);
    assert_int_equal(PARSE(&p, "--local", "--mapper", "cat", "--timeout", "5s", "--no-detach",
                           "--json", "--attempts", "2", "--task-memory", "64M"),
                     0);
    expect_unheeded(&p, "--task-memory, --timeout, --attempts and --json change nothing with "
                        "--local: only a cluster heeds them");
    parsed_deinit(&p);
    assert_int_equal(PARSE(&p, "--mapper", "cat", "--timeout", "5s", "--detach"), 0);
    expect_unheeded(&p, "");
    parsed_deinit(&p);
    assert_int_equal(PARSE(&p, "--mapper", "cat", "-j", "2"), 0);
    expect_unheeded(&p, "--parallel changes nothing without --local: on a cluster the workers' "
                        "slots say how many tasks run at a time");
    parsed_deinit(&p);
}

/* Neither is taken for letters with a value: -i nputs, -o utputformat, -r educedebug. */
static void test_words_that_are_none(void **state)
{
    (void)state;
    static const char *const none[] = {
        "-inputformat", "-outputformat", "-inputreader",  "-io",       "-lazyOutput", "-mapdebug",
        "-reducedebug", "-background",   "-verbose",      "-info",     "-cacheFile",  "-libjars",
        "-archives",    "-conf",         "-cacheArchive", "-fs",       "-jt",         "-inputs",
        "-outputs",     "-reducers",     "-maper",        "-combiners"};
    for (size_t i = 0; i < ARRAY_COUNT(none); i++) {
        struct parsed p;
        assert_int_equal(PARSE(&p, "--mapper", "cat", none[i], "x"), 2);
        parsed_deinit(&p);
    }
    struct parsed p; /* letters with their values are what they were */
    assert_int_equal(PARSE(&p, "--mapper", "cat", "-i/in/a", "-o/out", "-r3", "-j2", "-Da=1"), 0);
    assert_string_equal(p.command.options.inputs.items[0], "/in/a");
    assert_string_equal(p.command.options.output, "/out");
    assert_int_equal(p.spec.reduces, 3);
    parsed_deinit(&p);
}

static void test_reduces(void **state)
{
    (void)state;
    static const struct {
        const char *words[6];
        uint32_t reduces;
        bool map_only;
    } table[] = {
        {{"--mapper", "cat"}, 0, false}, /* the master chooses */
        {{"--mapper", "cat", "-r", "1"}, 1, false},
        {{"--mapper", "cat", "-r", "0"}, 0, true},
        {{"--mapper", "cat", "--map-only"}, 0, true},
        {{"--mapper", "cat", "--reducer", "NONE"}, 0, true},
        {{"--mapper", "cat", "-D", "mapreduce.job.reduces=4"}, 4, false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        struct parsed p;
        assert_int_equal(parse(&p, table[i].words), 0);
        assert_int_equal(p.spec.reduces, table[i].reduces);
        assert_int_equal(p.spec.map_only, table[i].map_only);
        parsed_deinit(&p);
    }
}

static void test_flags_before_settings(void **state)
{
    (void)state;
    struct parsed p;
    assert_int_equal(PARSE(&p, "--mapper", "cat", "--name", "mine", "-D", "mapreduce.job.name=n",
                           "--timeout", "2s", "-D", "mapreduce.task.timeout=1", "--attempts", "2",
                           "-D", "mapreduce.map.maxattempts=9", "--split-size", "1M", "-D",
                           "mapreduce.map.speculative=false", "--task-memory", "64M"),
                     0);
    assert_string_equal(p.spec.name, "mine");
    assert_int_equal(p.spec.task_timeout_ms, 2000);
    assert_int_equal(p.spec.attempts_max, 2);
    assert_int_equal(p.spec.split_bytes, 1 << 20);
    assert_int_equal(p.spec.task_memory_bytes, 64 << 20);
    assert_true(p.spec.speculative_off);
    parsed_deinit(&p);
}

static void test_skipping(void **state)
{
    static const struct {
        const char *words[8];
        uint32_t records, groups;
    } table[] = {
        {{"--mapper", "cat"}, 0, 0},
        {{"--mapper", "cat", "--skip-bad-records", "3"}, 3, 3},
        {{"--mapper", "cat", "-D", "mapreduce.map.skip.maxrecords=4"}, 4, 0},
        {{"--mapper", "cat", "-D", "mapreduce.reduce.skip.maxgroups=9223372036854775807"},
         0,
         MR_SKIPS_MAX},
        {{"--mapper", "cat", "-D", "mapreduce.map.skip.maxrecords=4", "--skip-bad-records", "2"},
         2,
         2},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        struct parsed p;
        assert_int_equal(parse(&p, table[i].words), 0);
        assert_int_equal(p.spec.skip_records, table[i].records);
        assert_int_equal(p.spec.skip_groups, table[i].groups);
        parsed_deinit(&p);
    }
}

static void test_refused(void **state)
{
    (void)state;
    struct parsed p;
    assert_int_equal(PARSE(&p, "--mapper", "cat", "--map-only", "--reducer", "wc"), ERR_INVALID);
    parsed_deinit(&p);
    assert_int_equal(PARSE(&p, "--mapper", "cat", "-r", "many"), ERR_INVALID);
    parsed_deinit(&p);
    assert_int_equal(PARSE(&p, "--mapper", "cat", "-D", "mapreduce.task.timeout=x"), ERR_INVALID);
    parsed_deinit(&p);
    assert_int_equal(PARSE(&p, "-o", "/x"), ERR_INVALID); /* nothing to run */
    parsed_deinit(&p);
}

/* ---- Commands ---- */

static void make_file_of(const char *path, size_t bytes)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    while (bytes-- > 0) {
        assert_int_equal(fputc('x', f), 'x');
    }
    assert_int_equal(fclose(f), 0);
}

static void make_file(const char *path)
{
    make_file_of(path, 0);
}

static void assert_localized(struct uploads *u, const char *command, const char *wanted)
{
    const char *got = NULL;
    assert_int_equal(uploads_localize(u, command, &got, NULL), 0);
    assert_string_equal(got, wanted);
}

static void test_commands(void **state)
{
    (void)state;
    struct buf directory = BUF_INIT;
    struct uploads u;
    assert_int_equal(sys_make_temp_dir("mr-command", &directory, NULL), 0);
    assert_int_equal(chdir(directory.data), 0);
    assert_int_equal(mkdir("bin", 0755), 0);
    make_file("m.py");
    make_file("bin/r.py");
    make_file("grep"); /* not named by --file: the system's is meant */
    uploads_init(&u);
    assert_int_equal(uploads_add(&u, "m.py", false, NULL), 0);
    assert_int_equal(uploads_add(&u, "m.py", false, NULL), 0); /* twice is once */
    assert_int_equal(u.count, 1);
    assert_false(u.files[0].executable);
    assert_localized(&u, "./m.py --x 'y z'", "./m.py --x 'y z'");
    assert_localized(&u, "m.py", "./m.py");
    assert_true(u.files[0].executable);
    assert_localized(&u, "grep -v x", "grep -v x");
    assert_localized(&u, "/bin/cat", "/bin/cat");
    assert_localized(&u, "cat | sort", "cat | sort");
    assert_localized(&u, "'m.py' x", "'m.py' x");
    assert_localized(&u, "bin/r.py\tz", "./r.py\tz"); /* found here, and added */
    assert_int_equal(u.count, 2);
    assert_string_equal(u.files[1].name, "r.py");
    assert_int_equal(uploads_add(&u, "bin/r.py#m.py", false, NULL), ERR_INVALID);
    assert_int_equal(uploads_add(&u, "bin/r.py#a/b", false, NULL), ERR_INVALID);
    assert_int_equal(uploads_add(&u, "bin", false, NULL), ERR_UNSUPPORTED);
    assert_int_equal(uploads_add(&u, "none", false, NULL), ERR_NOT_FOUND);
    uploads_deinit(&u);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(sys_remove_tree(directory.data, NULL), 0);
    buf_deinit(&directory);
}

/* Which files go with the submission: those of this machine that fit, in their order. */
static void test_small_files(void **state)
{
    (void)state;
    struct buf directory = BUF_INIT;
    struct uploads u;
    assert_int_equal(sys_make_temp_dir("mr-command", &directory, NULL), 0);
    assert_int_equal(chdir(directory.data), 0);
    make_file_of("most", JOB_SMALL_BYTES_MAX - 5);
    make_file_of("more", 6);
    make_file_of("rest", 5);
    make_file("none");
    uploads_init(&u);
    assert_true(uploads_all_small(&u));
    const char *const names[] = {"most", "more", "rest", "none"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        assert_int_equal(uploads_add(&u, names[i], false, NULL), 0);
    }
    assert_int_equal(uploads_read_small(&u, NULL), 0);
    assert_true(u.files[0].small);
    assert_false(u.files[1].small);
    assert_true(u.files[2].small);
    assert_true(u.files[3].small);
    assert_false(uploads_all_small(&u));
    assert_int_equal(u.files[2].file.length, 5);
    assert_int_equal(u.files[2].file.crc32c, crc32c_extend(0, "xxxxx", 5));
    assert_memory_equal(u.files[2].file.data.data, "xxxxx", 5);
    assert_string_equal(u.files[3].file.store_path, "");
    assert_int_equal(u.files[3].file.data.length, 0);
    assert_int_equal(uploads_add(&u, "hdfs:///side", false, NULL), 0); /* it is not read here */
    assert_int_equal(unlink("rest"), 0);
    assert_int_equal(uploads_read_small(&u, NULL), ERR_NOT_FOUND);
    uploads_deinit(&u);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(sys_remove_tree(directory.data, NULL), 0);
    buf_deinit(&directory);
}

/* ---- Progress ---- */

static void test_progress(void **state)
{
    (void)state;
    struct buf text = BUF_INIT;
    struct job_status s = {.job = "j",
                           .maps = 30,
                           .maps_done = 12,
                           .maps_running = 4,
                           .map_permille = 455,
                           .reduces = 4,
                           .waiting = "",
                           .failure = ""};
    progress_text(&s, UINT64_MAX, &text);
    assert_string_equal(text.data, "map 45% (12/30)  reduce 0% (0/4)  running 4");
    buf_clear(&text);
    s.locality = (struct job_locality){.tasks_host = 9, .tasks_remote = 3};
    s.attempts_failed = 1;
    progress_text(&s, 12000, &text);
    assert_string_equal(text.data, "map 45% (12/30)  reduce 0% (0/4)  running 4  local 75%  "
                                   "failed 1  12.0 s left");
    assert_true(progress_eta_ms(&s, 1000) == 1000 * (1000 - 227) / 227);
    s.map_permille = 20;
    assert_true(progress_eta_ms(&s, 1000) == UINT64_MAX);
    s.reduces = 0;
    s.map_permille = 500;
    assert_true(progress_eta_ms(&s, 1000) == 1000);
    buf_deinit(&text);
}

/* JSON is UTF-8; what is none is shown as far as it can be, and nothing is left out of a list. */
static void test_json_of_any_bytes(void **state)
{
    (void)state;
    struct job_status status = {.job = "job_1_0001",
                                .name = "gr\xfc\xdf",
                                .user = "gr\xc3\xbc\xc3\x9f",
                                .output = "/out",
                                .failure = "\x1b[1m\xff",
                                .waiting = ""};
    json_t *json = show_status_json(&status);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "name")), "gr??");
    assert_string_equal(json_string_value(json_object_get(json, "user")), "gr\xc3\xbc\xc3\x9f");
    assert_string_equal(json_string_value(json_object_get(json, "failure")), "\x1b[1m?");
    json_t *list = show_append(json_array(), json);
    assert_int_equal(json_array_size(list), 1);
    assert_null(show_append(list, NULL));
    assert_null(show_append(NULL, json_array()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hadoop_spellings),
        cmocka_unit_test(test_other_spellings),
        cmocka_unit_test(test_flags_that_change_nothing_are_named),
        cmocka_unit_test(test_words_that_are_none),
        cmocka_unit_test(test_reduces),
        cmocka_unit_test(test_flags_before_settings),
        cmocka_unit_test(test_skipping),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_small_files),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_json_of_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
