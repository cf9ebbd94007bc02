/* Jobs, states, assignments and beats through their bytes and back; what is refused on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/mr.pb-c.h"

#include "common/alloc.h"
#include "common/limits.h"
#include "common/macros.h"
#include "mapreduce/mr_pack.h"
#include "mapreduce/mr_rpc.h"

static const char *inputs[] = {"/books", "/more/*.txt"};
static struct job_file library = {.store_path = "/system/mr/uploads/x/wc.so",
                                  .name = "wc.so",
                                  .executable = true,
                                  .length = 12345,
                                  .crc32c = 0xdeadbeef};
static struct job_file files[] = {{.store_path = "",
                                   .name = "m.py",
                                   .length = 10,
                                   .crc32c = 1,
                                   .data = {"0123\0"
                                            "56789",
                                            10}},
                                  {.store_path = "/u/d", .name = "data"}};
static struct job_setting settings[] = {{"a", "1"}, {"b.c", ""}, {"tab", "x\ty"}};
static struct job_setting environment[] = {{"LANG", "C"}};

static struct job_spec full_spec(void)
{
    return (struct job_spec){.name = "word count",
                             .inputs = inputs,
                             .input_count = 2,
                             .output = "/out",
                             .library = &library,
                             .mapper = "./m.py -x",
                             .reducer = "NONE",
                             .combiner = "uniq -c",
                             .files = files,
                             .file_count = 2,
                             .reduces = 7,
                             .map_only = true,
                             .settings = settings,
                             .setting_count = 3,
                             .environment = environment,
                             .environment_count = 1,
                             .split_bytes = 1ULL << 40,
                             .sort_memory_bytes = 1 << 20,
                             .task_memory_bytes = 3,
                             .task_timeout_ms = 4,
                             .attempts_max = 5,
                             .input_format = 255,
                             .output_format = 1,
                             .record_bytes = 100,
                             .output_replication = 2,
                             .locality_blind = true,
                             .speculative_off = true,
                             .skip_records = 6,
                             .skip_groups = MR_SKIPS_MAX};
}

static void assert_file(const struct job_file *a, const struct job_file *b)
{
    assert_string_equal(a->store_path, b->store_path);
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->executable, b->executable);
    assert_int_equal(a->length, b->length);
    assert_int_equal(a->crc32c, b->crc32c);
    assert_int_equal(a->data.length, b->data.length);
    assert_memory_equal(a->data.data ? a->data.data : "", b->data.data ? b->data.data : "",
                        a->data.length);
}

static void assert_settings(const struct job_setting *a, const struct job_setting *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(a[i].name, b[i].name);
        assert_string_equal(a[i].value, b[i].value);
    }
}

static void assert_spec(const struct job_spec *a, const struct job_spec *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->input_count, b->input_count);
    for (size_t i = 0; i < a->input_count; i++) {
        assert_string_equal(a->inputs[i], b->inputs[i]);
    }
    assert_string_equal(a->output, b->output);
    assert_int_equal(a->library != NULL, b->library != NULL);
    if (a->library) {
        assert_file(a->library, b->library);
    }
    assert_string_equal(a->mapper, b->mapper);
    assert_string_equal(a->reducer, b->reducer);
    assert_string_equal(a->combiner, b->combiner);
    assert_int_equal(a->file_count, b->file_count);
    for (size_t i = 0; i < a->file_count; i++) {
        assert_file(&a->files[i], &b->files[i]);
    }
    assert_int_equal(a->setting_count, b->setting_count);
    assert_settings(a->settings, b->settings, a->setting_count);
    assert_int_equal(a->environment_count, b->environment_count);
    assert_settings(a->environment, b->environment, a->environment_count);
    assert_int_equal(a->reduces, b->reduces);
    assert_int_equal(a->map_only, b->map_only);
    assert_int_equal(a->split_bytes, b->split_bytes);
    assert_int_equal(a->sort_memory_bytes, b->sort_memory_bytes);
    assert_int_equal(a->task_memory_bytes, b->task_memory_bytes);
    assert_int_equal(a->task_timeout_ms, b->task_timeout_ms);
    assert_int_equal(a->attempts_max, b->attempts_max);
    assert_int_equal(a->input_format, b->input_format);
    assert_int_equal(a->output_format, b->output_format);
    assert_int_equal(a->record_bytes, b->record_bytes);
    assert_int_equal(a->output_replication, b->output_replication);
    assert_int_equal(a->locality_blind, b->locality_blind);
    assert_int_equal(a->speculative_off, b->speculative_off);
    assert_int_equal(a->skip_records, b->skip_records);
    assert_int_equal(a->skip_groups, b->skip_groups);
}

static struct span span_of(const struct buf *b)
{
    return (struct span){b->data, b->length};
}

static void test_spec(void **state)
{
    (void)state;
    struct job_spec least = {.name = "",
                             .inputs = inputs,
                             .input_count = 1,
                             .output = "",
                             .mapper = "",
                             .reducer = "",
                             .combiner = ""};
    struct job_spec specs[] = {full_spec(), least};
    for (size_t i = 0; i < ARRAY_COUNT(specs); i++) {
        struct buf bytes = BUF_INIT;
        struct arena arena = ARENA_INIT;
        struct job_spec back;
        job_spec_pack(&specs[i], &bytes);
        assert_int_equal(job_spec_unpack(span_of(&bytes), &arena, &back, NULL), 0);
        memset(bytes.data, 0xff, bytes.length); /* nothing points into the bytes */
        assert_spec(&specs[i], &back);
        arena_deinit(&arena);
        buf_deinit(&bytes);
    }
}

static void test_files_of_a_spec(void **state)
{
    (void)state;
    struct job_file own_library = library;
    struct job_file own_files[] = {files[0], files[1]};
    struct job_spec spec = {.library = &own_library, .files = own_files, .file_count = 2};
    assert_int_equal(job_spec_file_count(&spec), 3);
    assert_ptr_equal(job_spec_file(&spec, 0), &own_library);
    assert_ptr_equal(job_spec_file(&spec, 2), &own_files[1]);
    job_spec_drop_data(&spec);
    assert_int_equal(own_files[0].data.length, 0);
    assert_int_equal(own_files[0].length, 10); /* it is known how long it is */
    spec.library = NULL;
    assert_int_equal(job_spec_file_count(&spec), 2);
    assert_ptr_equal(job_spec_file(&spec, 0), &own_files[0]);
}

static void test_record(void **state)
{
    (void)state;
    struct job_record record = {.job = "job_3_0001",
                                .number = 1,
                                .submission = "0123456789abcdef0123456789abcdef",
                                .user = "ada",
                                .submitted_ms = 1700000000000,
                                .spec = full_spec()};
    struct buf bytes = BUF_INIT;
    struct arena arena = ARENA_INIT;
    struct job_record back;
    job_record_pack(&record, &bytes);
    assert_int_equal(job_record_unpack(span_of(&bytes), &arena, &back, NULL), 0);
    assert_string_equal(back.job, record.job);
    assert_int_equal(back.number, 1);
    assert_string_equal(back.submission, record.submission);
    assert_string_equal(back.user, "ada");
    assert_int_equal(back.submitted_ms, record.submitted_ms);
    assert_spec(&record.spec, &back.spec);
    record.number = 0;
    buf_clear(&bytes);
    job_record_pack(&record, &bytes);
    assert_int_equal(job_record_unpack(span_of(&bytes), &arena, &back, NULL), ERR_CORRUPT);
    assert_int_equal(job_record_unpack((struct span){"\xff\xff", 2}, &arena, &back, NULL),
                     ERR_CORRUPT);
    arena_deinit(&arena);
    buf_deinit(&bytes);
}

static struct job_counter counters[] = {{"g", "n", -5}, {"g", "m", INT64_MAX}};
static const struct job_locality locality = {1, 2, 3, 4, 5, 6};

static void assert_counters(const struct job_counters *a)
{
    assert_int_equal(a->count, 2);
    assert_string_equal(a->items[0].group, "g");
    assert_string_equal(a->items[1].name, "m");
    assert_true(a->items[0].value == -5);
    assert_true(a->items[1].value == INT64_MAX);
}

static void test_status(void **state)
{
    (void)state;
    struct job_status status = {.job = "job_3_0001",
                                .state = JOB_STATE_FAILED,
                                .name = "n",
                                .user = "ada",
                                .output = "/o",
                                .submitted_ms = 1,
                                .started_ms = 2,
                                .ended_ms = 3,
                                .maps = 4,
                                .maps_done = 5,
                                .maps_running = 6,
                                .reduces = 7,
                                .reduces_done = 8,
                                .reduces_running = 9,
                                .map_permille = 10,
                                .reduce_permille = 11,
                                .attempts_failed = 12,
                                .attempts_lost = 13,
                                .attempts_backup = 14,
                                .locality = locality,
                                .counters = {counters, 2},
                                .failure = "why\nthis",
                                .waiting = "for"};
    struct arena arena = ARENA_INIT;
    struct job_status back;
    assert_int_equal(job_status_copy(&status, &arena, &back, NULL), 0);
    assert_string_equal(back.job, status.job);
    assert_int_equal(back.state, JOB_STATE_FAILED);
    assert_string_equal(back.failure, "why\nthis");
    assert_string_equal(back.waiting, "for");
    assert_string_equal(back.output, "/o");
    const uint32_t numbers[] = {back.maps,          back.maps_done,       back.maps_running,
                                back.reduces,       back.reduces_done,    back.reduces_running,
                                back.map_permille,  back.reduce_permille, back.attempts_failed,
                                back.attempts_lost, back.attempts_backup};
    for (uint32_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        assert_int_equal(numbers[i], 4 + i);
    }
    assert_int_equal(back.submitted_ms + back.started_ms * 10 + back.ended_ms * 100, 321);
    assert_memory_equal(&back.locality, &locality, sizeof(locality));
    assert_counters(&back.counters);
    status.state = (enum job_state)99; /* of a newer mrmaster */
    assert_int_equal(job_status_copy(&status, &arena, &back, NULL), 0);
    assert_int_equal(back.state, JOB_STATE_UNKNOWN);
    arena_deinit(&arena);
}

static void test_outcome(void **state)
{
    (void)state;
    struct job_outcome outcome = {.hidden = 1ULL << 40,
                                  .status = {.job = "job_3_0001",
                                             .state = JOB_STATE_KILLED,
                                             .name = "n",
                                             .user = "ada",
                                             .output = "/o",
                                             .counters = {counters, 2},
                                             .failure = "",
                                             .waiting = ""}};
    struct buf bytes = BUF_INIT;
    struct arena arena = ARENA_INIT;
    struct job_outcome back;
    job_outcome_pack(&outcome, &bytes);
    assert_int_equal(job_outcome_unpack(span_of(&bytes), &arena, &back, NULL), 0);
    assert_int_equal(back.hidden, outcome.hidden);
    assert_int_equal(back.status.state, JOB_STATE_KILLED);
    assert_string_equal(back.status.output, "/o");
    assert_counters(&back.status.counters);
    assert_true(bytes.length > 0); /* a note of none says that there is a file */
    assert_int_equal(job_outcome_unpack((struct span){"", 0}, &arena, &back, NULL), ERR_CORRUPT);
    static const char newer[] = {010, TRIREME_DISK_FORMAT + 1}; /* field 1 */
    assert_int_equal(job_outcome_unpack((struct span){newer, sizeof(newer)}, &arena, &back, NULL),
                     ERR_VERSION);
    arena_deinit(&arena);
    buf_deinit(&bytes);
}

static void test_beat(void **state)
{
    (void)state;
    struct attempt_progress running = {"attempt_1_1_m_000000_0", 333, "reading"};
    uint32_t lost[] = {4, 2};
    const char *lost_attempts[] = {"a", "b"};
    struct attempt_end ends[] = {{.attempt = "ok",
                                  .text = "",
                                  .stderr_tail = "",
                                  .counters = {counters, 2},
                                  .locality = locality},
                                 {.attempt = "bad",
                                  .code = ERR_TASK,
                                  .text = "mr_fail",
                                  .stderr_tail = "last\nwords\n",
                                  .lost_maps = lost,
                                  .lost_map_attempts = lost_attempts,
                                  .lost_count = 2,
                                  .committed = true,
                                  .output_inode = 77,
                                  .bad_record = UINT64_MAX}};
    struct worker_beat beat = {&running, 1, ends, 2, 9};
    struct worker_message message = {.beat = &beat};
    struct worker_message back;
    struct buf bytes = BUF_INIT;
    struct arena arena = ARENA_INIT;
    worker_message_pack(&message, &bytes);
    assert_int_equal(worker_message_unpack(span_of(&bytes), &arena, &back, NULL), 0);
    assert_null(back.hello);
    assert_int_equal(back.beat->sequence, 9);
    assert_int_equal(back.beat->running_count, 1);
    assert_int_equal(back.beat->running[0].permille, 333);
    assert_string_equal(back.beat->running[0].status, "reading");
    const struct attempt_end *ok = &back.beat->ended[0];
    assert_int_equal(ok->code, 0);
    assert_counters(&ok->counters);
    assert_memory_equal(&ok->locality, &locality, sizeof(locality));
    const struct attempt_end *bad = &back.beat->ended[1];
    assert_int_equal(bad->code, ERR_TASK);
    assert_string_equal(bad->text, "mr_fail");
    assert_string_equal(bad->stderr_tail, "last\nwords\n");
    assert_int_equal(bad->lost_count, 2);
    assert_memory_equal(bad->lost_maps, lost, sizeof(lost));
    assert_string_equal(bad->lost_map_attempts[1], "b");
    assert_true(bad->committed);
    assert_int_equal(bad->output_inode, 77);
    assert_true(bad->bad_record == UINT64_MAX);
    assert_int_equal(ok->bad_record, 0);
    arena_deinit(&arena);
    buf_deinit(&bytes);
}

static void test_hello(void **state)
{
    (void)state;
    struct worker_hello hello = {.host = "h", .rack = "r", .address = "h:1", .slots = 2};
    struct worker_message message = {.hello = &hello};
    struct worker_message back;
    struct buf bytes = BUF_INIT;
    struct arena arena = ARENA_INIT;
    memset(hello.key.bytes, 7, sizeof(hello.key.bytes));
    worker_message_pack(&message, &bytes);
    assert_int_equal(worker_message_unpack(span_of(&bytes), &arena, &back, NULL), 0);
    assert_null(back.beat);
    assert_memory_equal(&back.hello->key, &hello.key, sizeof(hello.key));
    assert_string_equal(back.hello->address, "h:1");
    assert_int_equal(back.hello->slots, 2);
    hello.slots = WORKER_SLOT_COUNT_MAX + 1;
    buf_clear(&bytes);
    worker_message_pack(&message, &bytes);
    assert_int_equal(worker_message_unpack(span_of(&bytes), &arena, &back, NULL), ERR_INVALID);
    assert_int_equal(worker_message_unpack((struct span){"", 0}, &arena, &back, NULL),
                     ERR_INVALID); /* neither of the two */
    arena_deinit(&arena);
    buf_deinit(&bytes);
}

static void test_past(void **state)
{
    (void)state;
    const char *jobs[] = {"job_1_0001", "job_1_0002"};
    struct past_attempt attempts[] = {{.end = {.attempt = "attempt_1_0001_m_000000_0",
                                               .text = "",
                                               .stderr_tail = "",
                                               .counters = {counters, 2}},
                                       .state = "succeeded",
                                       .started_ms = 5,
                                       .ended_ms = 6,
                                       .held = true,
                                       .plan = UINT64_MAX},
                                      {.end = {.attempt = "b",
                                               .code = ERR_UNAVAILABLE,
                                               .text = "none",
                                               .stderr_tail = "",
                                               .not_started = true},
                                       .state = "lost"}};
    struct worker_past past = {jobs, 2, attempts, 2, true};
    struct worker_message message = {.past = &past};
    struct worker_message back;
    struct buf bytes = BUF_INIT;
    struct arena arena = ARENA_INIT;
    worker_message_pack(&message, &bytes);
    assert_int_equal(worker_message_unpack(span_of(&bytes), &arena, &back, NULL), 0);
    assert_null(back.hello);
    assert_null(back.beat);
    assert_true(back.past->last);
    assert_int_equal(back.past->job_count, 2);
    assert_string_equal(back.past->jobs[1], "job_1_0002");
    assert_int_equal(back.past->attempt_count, 2);
    const struct past_attempt *first = &back.past->attempts[0];
    assert_string_equal(first->end.attempt, attempts[0].end.attempt);
    assert_counters(&first->end.counters);
    assert_string_equal(first->state, "succeeded");
    assert_int_equal(first->started_ms, 5);
    assert_int_equal(first->ended_ms, 6);
    assert_true(first->held);
    assert_true(first->plan == UINT64_MAX);
    assert_true(back.past->attempts[1].end.not_started);
    assert_false(back.past->attempts[1].held);
    arena_deinit(&arena);
    buf_deinit(&bytes);
}

static void test_skips(void **state)
{
    (void)state;
    uint64_t skips[] = {0, 7, UINT64_MAX};
    struct assignment plain = {.job = "j",
                               .attempt = "y",
                               .hidden_directory = "",
                               .output_name = "",
                               .fence_name = "",
                               .user = ""};
    struct assignment assign[] = {plain, plain};
    struct master_message message = {.assign = assign, .assign_count = 2};
    struct master_message back;
    struct buf bytes = BUF_INIT;
    struct arena arena = ARENA_INIT;
    assign[0].skip = skips;
    assign[0].skip_count = 3;
    assign[0].careful = true;
    master_message_pack(&message, &bytes);
    assert_int_equal(master_message_unpack(span_of(&bytes), &arena, &back, NULL), 0);
    assert_int_equal(back.assign[0].skip_count, 3);
    assert_memory_equal(back.assign[0].skip, skips, sizeof(skips));
    assert_true(back.assign[0].careful);
    assert_int_equal(back.assign[1].skip_count, 0);
    assert_false(back.assign[1].careful);
    assign[0].skip = xcalloc(MR_SKIPS_MAX + 1, sizeof(skips[0]));
    assign[0].skip_count = MR_SKIPS_MAX + 1;
    buf_clear(&bytes);
    master_message_pack(&message, &bytes);
    assert_int_equal(master_message_unpack(span_of(&bytes), &arena, &back, NULL), ERR_INVALID);
    free(assign[0].skip);
    arena_deinit(&arena);
    buf_deinit(&bytes);
}

static void test_master_message(void **state)
{
    (void)state;
    struct job_spec spec = full_spec();
    struct input_split splits[] = {{"/a", 1, 2, 3, 4}, {"/b", 0, UINT64_MAX, 5, 6}};
    struct map_done done[] = {{.job = "job_3_0001",
                               .attempt = "attempt",
                               .address = "h:1",
                               .host = "h",
                               .map = 5,
                               .withdrawn = true}};
    struct assignment assign[] = {{.job = "job_3_0001",
                                   .attempt = "x",
                                   .task = 8,
                                   .reduce = true,
                                   .spec = &spec,
                                   .splits = splits,
                                   .split_count = 2,
                                   .maps = 9,
                                   .reduces = 10,
                                   .hidden_directory = "/._mr_o",
                                   .hidden_inode = 77,
                                   .output_name = "part-00008",
                                   .fence_name = "mrmaster",
                                   .fence_epoch = 3,
                                   .user = "ada",
                                   .plan = UINT64_MAX - 1},
                                  {.job = "j",
                                   .attempt = "y",
                                   .hidden_directory = "",
                                   .output_name = "",
                                   .fence_name = "",
                                   .user = ""}};
    const char *kill[] = {"k1", "k2"};
    const char *forget[] = {"f1"};
    struct master_message message = {assign, 2, done, 1, kill, 2, forget, 1, 11};
    struct master_message back;
    struct buf bytes = BUF_INIT;
    struct arena arena = ARENA_INIT;
    master_message_pack(&message, &bytes);
    assert_int_equal(master_message_unpack(span_of(&bytes), &arena, &back, NULL), 0);
    assert_int_equal(back.assign_count, 2);
    const struct assignment *a = &back.assign[0];
    assert_spec(&spec, a->spec);
    assert_null(back.assign[1].spec);
    assert_int_equal(a->task, 8);
    assert_true(a->reduce);
    assert_int_equal(a->maps, 9);
    assert_int_equal(a->reduces, 10);
    assert_int_equal(a->split_count, 2);
    assert_string_equal(a->splits[1].path, "/b");
    assert_true(a->splits[1].length == UINT64_MAX);
    assert_int_equal(a->splits[0].inode, 4);
    assert_int_equal(a->splits[0].file_length, 3);
    assert_string_equal(a->hidden_directory, "/._mr_o");
    assert_int_equal(a->hidden_inode, 77);
    assert_string_equal(a->output_name, "part-00008");
    assert_string_equal(a->fence_name, "mrmaster");
    assert_int_equal(a->fence_epoch, 3);
    assert_string_equal(a->user, "ada");
    assert_true(a->plan == UINT64_MAX - 1);
    assert_int_equal(back.map_done_count, 1);
    assert_int_equal(back.map_done[0].map, 5);
    assert_string_equal(back.map_done[0].address, "h:1");
    assert_true(back.map_done[0].withdrawn);
    assert_int_equal(back.kill_count, 2);
    assert_string_equal(back.kill[1], "k2");
    assert_string_equal(back.forget_jobs[0], "f1");
    assert_int_equal(back.ack_sequence, 11);
    arena_deinit(&arena);
    buf_deinit(&bytes);
}

static int unpack_changed(struct job_spec *spec)
{
    struct buf bytes = BUF_INIT;
    struct arena arena = ARENA_INIT;
    struct job_spec back;
    job_spec_pack(spec, &bytes);
    int r = job_spec_unpack(span_of(&bytes), &arena, &back, NULL);
    arena_deinit(&arena);
    buf_deinit(&bytes);
    return r;
}

static void test_refused_specs(void **state)
{
    (void)state;
    static const char *bad_names[] = {"", ".", "..", "a/b", "/"};
    struct job_spec spec = full_spec();
    spec.input_count = 0;
    assert_int_equal(unpack_changed(&spec), ERR_INVALID);
    spec = full_spec();
    spec.reduces = JOB_REDUCE_COUNT_MAX + 1;
    assert_int_equal(unpack_changed(&spec), ERR_INVALID);
    for (size_t i = 0; i < ARRAY_COUNT(bad_names); i++) { /* they become names of local files */
        struct job_file bad = {.store_path = "/s", .name = bad_names[i]};
        spec = full_spec();
        spec.files = &bad;
        spec.file_count = 1;
        assert_int_equal(unpack_changed(&spec), ERR_INVALID);
        spec = full_spec();
        spec.library = &bad;
        assert_int_equal(unpack_changed(&spec), ERR_INVALID);
    }
}

static void test_attempt_names(void **state)
{
    (void)state;
    static const char *none[] = {"",
                                 "attempt_1_1_x_000000_0",
                                 "attempt_1_1_m_0_0",
                                 "attempt_1_1_m_000000_0 ",
                                 "attempt_+1_1_m_000000_0",
                                 "attempt_1_1_m_000000",
                                 "../attempt_1_1_m_000000_0"};
    struct attempt_name name = {7, 12, true, 3, 1};
    struct attempt_name back;
    char text[ATTEMPT_NAME_BYTES_MAX];
    attempt_name_format(&name, text);
    assert_true(attempt_name_parse(text, &back));
    assert_int_equal(back.fence, 7);
    assert_int_equal(back.job, 12);
    assert_true(back.reduce);
    assert_int_equal(back.task, 3);
    assert_int_equal(back.number, 1);
    for (size_t i = 0; i < ARRAY_COUNT(none); i++) {
        assert_false(attempt_name_parse(none[i], &back));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spec),           cmocka_unit_test(test_record),
        cmocka_unit_test(test_outcome),        cmocka_unit_test(test_status),
        cmocka_unit_test(test_beat),           cmocka_unit_test(test_hello),
        cmocka_unit_test(test_past),           cmocka_unit_test(test_skips),
        cmocka_unit_test(test_master_message), cmocka_unit_test(test_refused_specs),
        cmocka_unit_test(test_attempt_names),  cmocka_unit_test(test_files_of_a_spec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
