/* A reduce's segments from its own disk and from a real server of another worker: into memory and
 * files, late, withdrawn, gone, damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/rpc/rpc.h"
#include "common/rpc/rpc_server.h"
#include "common/sys.h"
#include "mapreduce/task_pipe.h"
#include "mapreduce/task_shuffle.h"
#include "mapreduce/worker_serve.h"

enum { PARTITIONS = 3, RECORDS = 3000, BIG_RECORDS = 200000 };

static const char job[] = "job_1_0001";

struct fixture {
    struct buf here;  /* data directory of our own worker */
    struct buf there; /* of the other one, which the server serves */
    struct rpc_loop *server_loop;
    struct rpc_server *server;
    char address[64];
    struct rpc_loop *loop;
    struct rpc_pool *pool;
    struct rpc_timer timer; /* for what is told later */
    struct metrics *metrics;
    struct worker_serve serving;
    struct shuffle *shuffle;
    uint32_t progress; /* as last told */
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    const char *address = "127.0.0.1:0";
    rpc_init();
    buf_init(&f->here);
    buf_init(&f->there);
    assert_int_equal(sys_make_temp_dir("shuffle-here", &f->here, NULL), 0);
    assert_int_equal(sys_make_temp_dir("shuffle-there", &f->there, NULL), 0);
    f->server_loop = rpc_loop_new();
    f->loop = rpc_loop_new();
    f->pool = rpc_pool_new(NULL, "ada");
    f->metrics = metrics_new();
    worker_serve_init(&f->serving, f->there.data, f->metrics);
    struct rpc_service service = {.rows = mr_worker_rows, .service = &f->serving};
    struct rpc_server_options options = {.addresses = &address,
                                         .address_count = 1,
                                         .class = RPC_BULK,
                                         .loops = &f->server_loop,
                                         .loop_count = 1,
                                         .services = &service,
                                         .service_count = 1};
    assert_int_equal(rpc_server_new(&options, &f->server, NULL), 0);
    assert_int_equal(rpc_loop_start_thread(f->server_loop, "server", NULL), 0);
    (void)snprintf(f->address, sizeof(f->address), "127.0.0.1:%d", rpc_server_port(f->server, 0));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    rpc_timer_cancel(f->loop, &f->timer);
    shuffle_free(f->shuffle);
    rpc_pool_free(f->pool);
    rpc_loop_free(f->loop);
    rpc_server_drain(f->server, clock_mono_ms());
    rpc_server_free(f->server);
    metrics_free(f->metrics);
    rpc_loop_join_thread(f->server_loop);
    rpc_loop_free(f->server_loop);
    int r = sys_remove_tree(f->here.data, NULL) + sys_remove_tree(f->there.data, NULL);
    buf_deinit(&f->here);
    buf_deinit(&f->there);
    free(f);
    rpc_exit();
    return r;
}

/* ---- Map outputs ---- */

static char *attempt_of(uint32_t map, uint32_t number)
{
    static char names[4][ATTEMPT_NAME_BYTES_MAX];
    static int next;
    struct attempt_name name = {.fence = 1, .job = 1, .task = map, .number = number};
    char *text = names[next++ % 4];
    attempt_name_format(&name, text);
    return text;
}

/* Partition 0 is empty, 1 has `records`, 2 has one. */
static void make_output(const struct buf *data, uint32_t map, uint32_t number, int records)
{
    struct region memory = REGION_INIT;
    struct buf path = BUF_INIT;
    struct sink *sink = NULL;
    struct run_writer w;
    struct run_index index;
    task_path(TASK_PATH_MAP_OUTPUT, data->data, job, attempt_of(map, number), &path);
    char *slash = strrchr(path.data, '/');
    *slash = '\0';
    assert_int_equal(sys_mkdir_p(path.data, NULL), 0);
    *slash = '/';
    assert_int_equal(sink_create_file(path.data, &sink, NULL), 0);
    run_writer_init(&w, sink, &memory, PARTITIONS, false);
    assert_int_equal(run_writer_end_segment(&w, NULL), 0);
    for (int i = 0; i < records; i++) {
        char key[32];
        int length = snprintf(key, sizeof(key), "map%u-%08d", map, i);
        assert_int_equal(run_writer_add(&w, mr_bytes(key, (size_t)length), mr_string("v"), NULL),
                         0);
    }
    assert_int_equal(run_writer_end_segment(&w, NULL), 0);
    assert_int_equal(run_writer_add(&w, mr_string("only"), mr_string(""), NULL), 0);
    assert_int_equal(run_writer_end_segment(&w, NULL), 0);
    assert_int_equal(run_writer_finish(&w, &index, NULL), 0);
    run_writer_deinit(&w);
    run_index_deinit(&index);
    sink_free(sink);
    region_deinit(&memory);
    buf_deinit(&path);
}

static void tell(struct fixture *f, uint32_t map, const char *attempt, const char *address)
{
    struct map_done done = {.job = job,
                            .map = map,
                            .attempt = attempt,
                            .address = address ? address : "",
                            .host = "h",
                            .withdrawn = address == NULL};
    assert_int_equal(shuffle_told(f->shuffle, &done, NULL), 0);
}

static int count_progress(void *arg, uint32_t fetched, uint32_t maps, struct err *e)
{
    (void)maps;
    (void)e;
    ((struct fixture *)arg)->progress = fetched;
    return 0;
}

static void make_shuffle(struct fixture *f, uint32_t maps, uint32_t partition)
{
    struct shuffle_options options = {.loop = f->loop,
                                      .pool = f->pool,
                                      .data = f->here.data,
                                      .job = job,
                                      .address = TASK_ADDRESS_LOCAL,
                                      .temp_directory = f->here.data,
                                      .partition = partition,
                                      .maps = maps,
                                      .memory_bytes = 1024 * 1024,
                                      .progress = count_progress,
                                      .arg = f};
    shuffle_free(f->shuffle);
    f->shuffle = shuffle_new(&options);
}

/* Reads a segment as a merge does. Returns its records, or the reader's error. */
static int64_t read_segment(const struct task_segment *segment)
{
    struct run_reader reader;
    struct mr_record record;
    int64_t count = 0;
    if (segment->length == 0) {
        return 0;
    }
    run_reader_init(&reader);
    run_reader_begin(&reader, segment->source, segment->offset, segment->length);
    int r;
    while ((r = run_reader_next(&reader, &record, NULL)) > 0) {
        count++;
    }
    run_reader_deinit(&reader);
    return r < 0 ? r : count;
}

/* ---- Tests ---- */

static void test_from_here_and_there(void **state)
{
    struct fixture *f = *state;
    static const int64_t wanted[PARTITIONS] = {0, RECORDS, 1};
    for (uint32_t map = 0; map < 12; map++) {
        make_output(map % 2 ? &f->there : &f->here, map, 0, RECORDS);
    }
    for (uint32_t partition = 0; partition < PARTITIONS; partition++) {
        make_shuffle(f, 12, partition);
        for (uint32_t map = 0; map < 12; map++) {
            tell(f, map, attempt_of(map, 0), map % 2 ? f->address : TASK_ADDRESS_LOCAL);
        }
        assert_int_equal(shuffle_run(f->shuffle, NULL), 0);
        for (uint32_t map = 0; map < 12; map++) {
            const struct task_segment *segment = &shuffle_segments(f->shuffle)[map];
            assert_int_equal(read_segment(segment), wanted[partition]);
            assert_int_equal(segment->records, wanted[partition]);
        }
        assert_int_equal(shuffle_find_corrupt(f->shuffle), 0);
    }
    shuffle_free(f->shuffle);
    f->shuffle = NULL;
}

static void test_larger_than_memory(void **state)
{
    struct fixture *f = *state;
    make_output(&f->there, 0, 0, BIG_RECORDS); /* does not fit: a file */
    make_output(&f->there, 1, 0, RECORDS);     /* fits beside it */
    make_shuffle(f, 2, 1);
    tell(f, 0, attempt_of(0, 0), f->address);
    tell(f, 1, attempt_of(1, 0), f->address);
    assert_int_equal(shuffle_run(f->shuffle, NULL), 0);
    assert_int_equal(read_segment(&shuffle_segments(f->shuffle)[0]), BIG_RECORDS);
    assert_int_equal(read_segment(&shuffle_segments(f->shuffle)[0]), BIG_RECORDS); /* again */
    assert_int_equal(read_segment(&shuffle_segments(f->shuffle)[1]), RECORDS);
}

static void tell_the_rest(void *arg)
{
    struct fixture *f = arg;
    tell(f, 1, attempt_of(1, 0), NULL);       /* withdrawn before it could be had */
    tell(f, 1, attempt_of(1, 1), f->address); /* its successor */
    tell(f, 0, attempt_of(0, 0), NULL);       /* fetched already: kept */
    tell(f, 2, attempt_of(2, 0), TASK_ADDRESS_LOCAL);
}

static void test_told_while_it_runs(void **state)
{
    struct fixture *f = *state;
    make_output(&f->there, 0, 0, RECORDS);
    make_output(&f->there, 1, 1, RECORDS);
    make_output(&f->here, 2, 0, RECORDS);
    make_shuffle(f, 3, 1);
    tell(f, 0, attempt_of(0, 0), f->address);
    tell(f, 1, attempt_of(1, 0), "127.0.0.1:1"); /* nobody there: it is tried again for a while */
    rpc_timer_set(f->loop, &f->timer, clock_mono_ms() + 50, tell_the_rest, f);
    assert_int_equal(shuffle_run(f->shuffle, NULL), 0);
    for (uint32_t map = 0; map < 3; map++) {
        assert_int_equal(read_segment(&shuffle_segments(f->shuffle)[map]), RECORDS);
    }
    assert_true(f->progress >= 1);
}

static void assert_lost(struct fixture *f, uint32_t map, const char *attempt)
{
    struct arena arena = ARENA_INIT;
    struct attempt_end end = {0};
    shuffle_lost(f->shuffle, &arena, &end);
    assert_int_equal(end.lost_count, 1);
    assert_int_equal(end.lost_maps[0], map);
    assert_string_equal(end.lost_map_attempts[0], attempt);
    arena_deinit(&arena);
}

static void test_gone(void **state)
{
    struct fixture *f = *state;
    static const char *addresses[] = {NULL, TASK_ADDRESS_LOCAL, "127.0.0.1:1"};
    make_output(&f->there, 0, 0, RECORDS);
    for (int i = 0; i < 3; i++) { /* the worker has it not, we have it not, no worker is there */
        struct err e = ERR_INIT;
        make_shuffle(f, 2, 1);
        tell(f, 0, attempt_of(0, 0), f->address);
        tell(f, 1, attempt_of(1, 7), addresses[i] ? addresses[i] : f->address);
        assert_int_equal(shuffle_run(f->shuffle, &e), ERR_UNAVAILABLE);
        assert_non_null(strstr(e.msg, attempt_of(1, 7)));
        assert_lost(f, 1, attempt_of(1, 7));
    }
}

static void test_damaged(void **state)
{
    struct fixture *f = *state;
    struct buf path = BUF_INIT;
    make_output(&f->here, 0, 0, RECORDS);
    make_output(&f->here, 1, 0, RECORDS);
    make_output(&f->there, 2, 0, RECORDS);
    make_shuffle(f, 3, 1);
    task_path(TASK_PATH_MAP_OUTPUT, f->here.data, job, attempt_of(1, 0), &path);
    FILE *file = fopen(path.data, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 1000, SEEK_SET), 0);
    assert_int_equal(fputc(0xee, file), 0xee);
    assert_int_equal(fclose(file), 0);
    tell(f, 0, attempt_of(0, 0), TASK_ADDRESS_LOCAL);
    tell(f, 1, attempt_of(1, 0), TASK_ADDRESS_LOCAL);
    tell(f, 2, attempt_of(2, 0), f->address);
    assert_int_equal(shuffle_run(f->shuffle, NULL), 0); /* checksums are the reader's */
    assert_int_equal(read_segment(&shuffle_segments(f->shuffle)[1]), ERR_CORRUPT);
    assert_int_equal(shuffle_find_corrupt(f->shuffle), 1);
    assert_lost(f, 1, attempt_of(1, 0));
    buf_deinit(&path);
}

/* The disk for segments is full, or not there: that is said, and no output is called lost. */
static void test_own_disk(void **state)
{
    struct fixture *f = *state;
    struct buf full = BUF_INIT;
    struct buf missing = BUF_INIT;
    make_output(&f->there, 0, 0, BIG_RECORDS);
    make_output(&f->there, 1, 0, BIG_RECORDS);
    buf_printf(&full, "%s/segment-000000", f->here.data);
    buf_printf(&missing, "%s/missing", f->here.data);
    assert_int_equal(symlink("/dev/full", full.data), 0);
    for (int i = 0; i < 2; i++) {
        struct err e = ERR_INIT;
        struct arena arena = ARENA_INIT;
        struct attempt_end end = {.lost_count = 77};
        struct shuffle_options options = {.loop = f->loop,
                                          .pool = f->pool,
                                          .data = f->here.data,
                                          .job = job,
                                          .address = TASK_ADDRESS_LOCAL,
                                          .temp_directory = i == 0 ? f->here.data : missing.data,
                                          .partition = 1,
                                          .maps = 3, /* one is never told of */
                                          .memory_bytes = 1024};
        shuffle_free(f->shuffle);
        f->shuffle = shuffle_new(&options);
        tell(f, 0, attempt_of(0, 0), f->address);
        tell(f, 1, attempt_of(1, 0), f->address);
        assert_int_equal(shuffle_run(f->shuffle, &e), i == 0 ? ERR_NO_SPACE : ERR_NOT_FOUND);
        assert_non_null(strstr(e.msg, i == 0 ? full.data : missing.data));
        shuffle_lost(f->shuffle, &arena, &end);
        assert_int_equal(end.lost_count, 0);
        arena_deinit(&arena);
    }
    buf_deinit(&full);
    buf_deinit(&missing);
}

static int stop(void *arg, uint32_t fetched, uint32_t maps, struct err *e)
{
    (void)arg;
    (void)fetched;
    (void)maps;
    return err_set(e, ERR_CANCELLED, "the worker is gone");
}

static void test_stopped(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct shuffle_options options = {.loop = f->loop,
                                      .pool = f->pool,
                                      .data = f->here.data,
                                      .job = job,
                                      .address = TASK_ADDRESS_LOCAL,
                                      .temp_directory = f->here.data,
                                      .maps = 1,
                                      .memory_bytes = 1024 * 1024,
                                      .progress = stop};
    make_output(&f->there, 0, 0, BIG_RECORDS);
    f->shuffle = shuffle_new(&options);
    tell(f, 0, attempt_of(0, 0), f->address);
    assert_int_equal(shuffle_run(f->shuffle, &e), ERR_CANCELLED); /* its fetch has ended too */
    assert_string_equal(e.msg, "the worker is gone");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_from_here_and_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_larger_than_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_told_while_it_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_own_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopped, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
