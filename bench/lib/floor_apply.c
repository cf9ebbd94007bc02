/* The floor of what a file master does with a committed create: decoding it and applying it to its
 * state, with nothing around that; see floor.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lib/floor.h"
#include "bench/lib/load.h"
#include "common/alloc.h"
#include "common/sys.h"
#include "fsmaster/command_rpc.h"
#include "fsmaster/state.h"

struct applier {
    struct state *state;
    struct arena arena;
    struct buf bytes;
    log_index index;
};

static void check(const struct applied_group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        const struct apply_result *result = &group->entries[i].result;
        int code = result->code;
        for (uint32_t k = 0; code == 0 && k < result->result_count; k++) {
            code = result->results[k].code;
        }
        if (code < 0) {
            bench_fail("apply: %s", err_text(code));
        }
    }
}

static void apply(struct applier *a, const struct consensus_entry *entries, size_t count)
{
    void *outcome = NULL;
    struct err e = ERR_INIT;
    if (state_apply(a->state, entries, count, &outcome, &e) < 0) {
        bench_fail("%s", err_message(&e));
    }
    check(outcome);
    applied_group_free(outcome);
    arena_reset(&a->arena);
    buf_clear(&a->bytes);
}

/* Its bytes stand in a->bytes from *ret_at on: the buffer may still move. */
static struct consensus_entry encoded(struct applier *a, const struct command_entry *entry,
                                      size_t *ret_at)
{
    struct err e = ERR_INIT;
    *ret_at = a->bytes.length;
    if (command_encode(entry, &a->arena, &a->bytes, &e) < 0) {
        bench_fail("%s", err_message(&e));
    }
    return (struct consensus_entry){.index = ++a->index,
                                    .term = 1,
                                    .type = LOG_ENTRY_COMMAND,
                                    .bytes = {NULL, a->bytes.length - *ret_at}};
}

static void apply_one(struct applier *a, const struct command_entry *entry)
{
    size_t at;
    struct consensus_entry one = encoded(a, entry, &at);
    one.bytes.data = a->bytes.data + at;
    apply(a, &one, 1);
}

static struct command_entry request_of(uint64_t session, const struct operation *operations,
                                       uint32_t count)
{
    return (struct command_entry){.kind = ENTRY_MUTATE,
                                  .cluster_ms = 1,
                                  .wall_ms = 1,
                                  .caller = {.user = "root", .is_superuser = true},
                                  .mutate = {session, operations[0].seq, operations, count}};
}

static void prepare(struct applier *a)
{
    struct command_entry format = {.kind = ENTRY_FORMAT, .format = {"bench", "root", 3}};
    char name[LOAD_PATH_BYTES];
    apply_one(a, &format);
    for (uint32_t i = 0; i < LOAD_DIRECTORIES; i++) {
        (void)snprintf(name, sizeof(name), "/d%02u", i);
        struct operation op = {
            .seq = i + 1, .kind = OPERATION_MKDIR, .mkdir = {.path = name, .mode = 0}};
        struct command_entry entry = request_of(1, &op, 1);
        apply_one(a, &entry);
    }
}

/* One group: `count` entries of `ops` creates each, as that many sessions would ask for. */
static void apply_group(struct applier *a, uint32_t count, uint32_t ops, uint64_t seq)
{
    struct consensus_entry *entries = arena_alloc(&a->arena, count * sizeof(*entries));
    size_t *at = arena_alloc(&a->arena, count * sizeof(*at));
    for (uint32_t i = 0; i < count; i++) {
        struct operation *operations = arena_alloc(&a->arena, ops * sizeof(*operations));
        memset(operations, 0, ops * sizeof(*operations));
        for (uint32_t k = 0; k < ops; k++) {
            char *path = arena_alloc(&a->arena, LOAD_PATH_BYTES);
            load_next_path(path);
            operations[k].seq = seq + k;
            operations[k].kind = OPERATION_CREATE;
            operations[k].create.path = path;
        }
        struct command_entry entry = request_of(2 + i, operations, ops);
        entries[i] = encoded(a, &entry, &at[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        entries[i].bytes.data = a->bytes.data + at[i];
    }
    apply(a, entries, count);
}

double floor_apply_us(const struct floor *f, uint32_t count, uint32_t ops, uint32_t operations)
{
    struct applier a = {0};
    struct bench_time time;
    struct err e = ERR_INIT;
    uint64_t seq = 1;
    uint64_t done = 0;
    char *directory = xprintf("%s/floor-apply", f->directory);
    struct state_options options = {.data = directory};
    if (sys_mkdir_p(directory, &e) < 0 || state_open(&options, &a.state, &e) < 0) {
        bench_fail("%s", err_message(&e));
    }
    arena_init(&a.arena, 0);
    buf_init(&a.bytes);
    prepare(&a);
    bench_start(&time);
    for (; done < operations; done += (uint64_t)count * ops) {
        apply_group(&a, count, ops, seq);
        seq += ops;
    }
    bench_stop(&time);
    state_close(a.state);
    arena_deinit(&a.arena);
    buf_deinit(&a.bytes);
    if (sys_remove_tree(directory, &e) < 0) {
        bench_fail("%s", err_message(&e));
    }
    free(directory);
    return time.cpu_s / (double)done * 1e6;
}
