/* bench/namespace: what the file master's pure core costs on its RocksDB, without network and log:
 * operations per second of one apply thread and of one reading thread, each the median of the runs.
 * One run is `count` operations on a fresh database that holds `count` files before the reads. */
#include <stdio.h>
#include <string.h>

#include "bench/lib/report.h"
#include "common/arena.h"
#include "common/kv.h"
#include "common/sys.h"
#include "fsmaster/command_rpc.h"
#include "fsmaster/namespace.h"

enum { DIRECTORY_COUNT = 100, PATH_BYTES = 64, COUNT_MAX = 200 * 1000 };

struct world {
    struct kv *kv;
    struct kv_batch *batch;
    struct kv_view view;
    struct namespace *ns;
    struct arena arena;
    uint64_t index;
    uint64_t seq;
    uint32_t pending;    /* entries in the batch */
    uint32_t batch_size; /* entries of one batch */
};

static const struct caller caller = {.user = "root", .is_superuser = true};

static void fail_if(int r, const char *what)
{
    if (r < 0) {
        bench_fail("%s: %s", what, err_text(r));
    }
}

static void commit(struct world *w)
{
    struct err e = ERR_INIT;
    if (w->pending > 0) {
        fail_if(namespace_end(w->ns), "end of batch");
        fail_if(kv_write(w->kv, w->batch, KV_UNSYNCED, &e), "write");
    }
    w->pending = 0;
    arena_reset(&w->arena);
}

static struct apply_result apply(struct world *w, const struct command_entry *entry)
{
    struct apply_result result;
    if (w->pending == 0) {
        namespace_begin(w->ns, &w->view);
    }
    w->pending++;
    w->index++;
    fail_if(namespace_apply(w->ns, entry, (struct log_position){w->index, 1}, &w->arena, &result),
            "apply");
    return result;
}

static struct op_result run(struct world *w, struct operation op)
{
    op.seq = ++w->seq;
    struct command_entry entry = {.kind = ENTRY_MUTATE,
                                  .cluster_ms = w->index,
                                  .wall_ms = w->index,
                                  .caller = caller,
                                  .mutate = {1, op.seq, &op, 1}};
    struct apply_result result = apply(w, &entry);
    struct op_result first = result.results[0];
    fail_if(first.code, "operation");
    if (w->pending == w->batch_size) {
        commit(w);
    }
    return first;
}

static void file_path(char path[PATH_BYTES], uint32_t i)
{
    (void)snprintf(path, PATH_BYTES, "/user/bench/dir-%02u/file-%08u", i % DIRECTORY_COUNT, i);
}

static void world_open(struct world *w, const char *path, uint32_t batch_size)
{
    struct err e = ERR_INIT;
    struct kv_options options = {.cache_bytes = 64 << 20, .write_buffer_bytes = 64 << 20};
    char name[PATH_BYTES];
    memset(w, 0, sizeof(*w));
    if (kv_open(path, &options, &w->kv, &e) < 0) {
        bench_fail("%s", err_message(&e));
    }
    w->batch = kv_batch_new(w->kv);
    w->view = kv_batch_view(w->batch);
    w->ns = namespace_new(3);
    arena_init(&w->arena, 0);
    w->batch_size = batch_size;
    struct command_entry format = {.kind = ENTRY_FORMAT, .format = {"bench", "root", 3}};
    apply(w, &format);
    commit(w);
    for (uint32_t i = 0; i < DIRECTORY_COUNT; i++) {
        (void)snprintf(name, sizeof(name), "/user/bench/dir-%02u", i);
        run(w, (struct operation){.kind = OPERATION_MKDIR, .mkdir = {name, 0, true}});
    }
    commit(w);
}

static void world_close(struct world *w)
{
    namespace_free(w->ns);
    kv_batch_free(w->batch);
    kv_close(w->kv);
    arena_deinit(&w->arena);
}

/* ---- What is measured: each does `count` operations ------------------------------------------ */

static void do_create(struct world *w, uint32_t count)
{
    char path[PATH_BYTES];
    for (uint32_t i = 0; i < count; i++) {
        file_path(path, i);
        run(w, (struct operation){.kind = OPERATION_CREATE, .create = {.path = path}});
    }
    commit(w);
}

/* What a check on the way to the root adds. */
static void setup_quota(struct world *w, uint32_t count)
{
    struct op_set_quota quota = {
        .path = "/user", .fields = QUOTA_NAMES, .names = (uint64_t)count * 1000};
    run(w, (struct operation){.kind = OPERATION_SET_QUOTA, .set_quota = quota});
    commit(w);
}

static void do_put(struct world *w, uint32_t count)
{
    char path[PATH_BYTES];
    for (uint32_t i = 0; i < count; i++) {
        file_path(path, i);
        struct op_result file = run(w, (struct operation){.kind = OPERATION_CREATE,
                                                          .create = {.path = "", .link_path = ""}});
        struct op_close close = {
            .inode = file.inode, .lease_epoch = file.lease_epoch, .link_path = path};
        run(w, (struct operation){.kind = OPERATION_CLOSE, .close = close});
    }
    commit(w);
}

static void do_rename(struct world *w, uint32_t count)
{
    char path[PATH_BYTES];
    char other[PATH_BYTES];
    for (uint32_t i = 0; i < count; i++) {
        file_path(path, i);
        file_path(other, i + COUNT_MAX);
        run(w, (struct operation){.kind = OPERATION_RENAME, .rename = {path, other, false}});
    }
    commit(w);
}

static void do_delete(struct world *w, uint32_t count)
{
    char path[PATH_BYTES];
    for (uint32_t i = 0; i < count; i++) {
        file_path(path, i + COUNT_MAX);
        run(w, (struct operation){.kind = OPERATION_DELETE, .delete_ = {path, false}});
    }
    commit(w);
}

static void setup_delete(struct world *w, uint32_t count)
{
    do_create(w, count);
    do_rename(w, count);
}

static void do_stat(struct world *w, uint32_t count)
{
    char path[PATH_BYTES];
    struct attributes attributes;
    struct kv_snapshot *snapshot = kv_snapshot_new(w->kv);
    struct kv_view view = kv_snapshot_view(snapshot);
    for (uint32_t i = 0; i < count; i++) {
        struct target target = {.path = path};
        file_path(path, (uint32_t)(i * 2654435761u % count));
        fail_if(namespace_stat(&view, &caller, &target, &w->arena, &attributes), "stat");
        arena_reset(&w->arena);
    }
    kv_snapshot_free(snapshot);
}

static void do_list(struct world *w, uint32_t count)
{
    char path[PATH_BYTES];
    struct kv_snapshot *snapshot = kv_snapshot_new(w->kv);
    struct kv_view view = kv_snapshot_view(snapshot);
    struct list_page page = {0};
    for (uint32_t listed = 0, i = 0; listed < count; listed += page.count, i++) {
        (void)snprintf(path, sizeof(path), "/user/bench/dir-%02u", i % DIRECTORY_COUNT);
        struct list_request request = {path, "", 0};
        fail_if(namespace_list(&view, &caller, &request, &w->arena, &page), "list");
        arena_reset(&w->arena);
    }
    kv_snapshot_free(snapshot);
}

static void do_codec(struct world *w, uint32_t count)
{
    struct buf bytes = BUF_INIT;
    char path[PATH_BYTES];
    for (uint32_t i = 0; i < count; i++) {
        file_path(path, i);
        struct operation op = {.seq = i, .kind = OPERATION_CREATE, .create = {.path = path}};
        struct command_entry entry = {
            .kind = ENTRY_MUTATE, .caller = caller, .mutate = {1, i, &op, 1}};
        buf_clear(&bytes);
        fail_if(command_encode(&entry, &w->arena, &bytes, NULL), "encode");
        fail_if(command_decode((struct span){bytes.data, bytes.length}, &w->arena, &entry, NULL),
                "decode");
        arena_reset(&w->arena);
    }
    buf_deinit(&bytes);
}

/* ---- Rows ------------------------------------------------------------------------------------ */

static const struct row {
    const char *name;
    void (*setup)(struct world *w, uint32_t count); /* untimed; NULL: none */
    void (*work)(struct world *w, uint32_t count);
    uint32_t batch_size; /* entries of one RocksDB write */
} rows[] = {
    {"create, batches of 1", NULL, do_create, 1},
    {"create, batches of 16", NULL, do_create, 16},
    {"create, batches of 256", NULL, do_create, 256},
    {"create below a quota, of 256", setup_quota, do_create, 256},
    {"create unnamed + close, of 256", NULL, do_put, 256},
    {"rename, of 256", do_create, do_rename, 256},
    {"delete, of 256", setup_delete, do_delete, 256},
    {"stat, 4 components", do_create, do_stat, 256},
    {"list, per entry", do_create, do_list, 256},
    {"entry encoded and decoded", NULL, do_codec, 256},
};

static void run_row(const struct bench_options *o, const struct row *row, const char *directory,
                    uint32_t count)
{
    double rates[100];
    double cpu_us[100];
    struct buf path = BUF_INIT;
    struct err e = ERR_INIT;
    for (uint32_t i = 0; i < o->runs; i++) {
        struct world w;
        struct bench_time t;
        buf_clear(&path);
        buf_printf(&path, "%s/kv", directory);
        world_open(&w, path.data, row->batch_size);
        if (row->setup) {
            row->setup(&w, count);
        }
        bench_start(&t);
        row->work(&w, count);
        bench_stop(&t);
        rates[i] = count / t.wall_s;
        cpu_us[i] = t.cpu_s / count * 1e6;
        world_close(&w);
        if (sys_remove_tree(path.data, &e) < 0) {
            bench_fail("%s", err_message(&e));
        }
    }
    double rate = bench_median(rates, o->runs);
    double cpu = bench_median(cpu_us, o->runs);
    (void)printf(o->json ? "{\"name\":\"%s\",\"per_second\":%.0f,\"cpu_us\":%.2f}\n"
                         : "%-32s %10.0f /s %8.2f CPU-us\n",
                 row->name, rate, cpu);
    buf_deinit(&path);
}

int main(int argc, char **argv)
{
    struct bench_options options = {.name = "namespace", .bytes = 50000000, .runs = 5};
    struct buf directory = BUF_INIT;
    struct err e = ERR_INIT;
    bench_options_parse(&options, argc, argv);
    if (options.directory) {
        buf_append_str(&directory, options.directory);
    } else if (sys_make_temp_dir("trireme-namespace", &directory, &e) < 0) {
        bench_fail("%s", err_message(&e));
    }
    uint32_t count = (uint32_t)(options.bytes / 1000); /* --mb N: thousands of operations */
    count = count < COUNT_MAX ? count : COUNT_MAX;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (bench_wanted(&options, rows[i].name)) {
            run_row(&options, &rows[i], directory.data, count);
        }
    }
    if (!options.directory && sys_remove_tree(directory.data, &e) < 0) {
        bench_fail("%s", err_message(&e));
    }
    buf_deinit(&directory);
    return 0;
}
