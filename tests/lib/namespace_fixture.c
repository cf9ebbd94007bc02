/* See namespace_fixture.h. */
#include "tests/lib/namespace_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"

void fixture_init_empty(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    mem_kv_init(&f->kv);
    f->view = mem_kv_view(&f->kv);
    f->ns = namespace_new(1);
    arena_init(&f->arena, 0);
    f->cluster_ms = 1000;
    f->wall_ms = 1700000000000;
    f->caller = (struct caller){.user = "ada"};
    f->session = 1;
}

void fixture_deinit(struct fixture *f)
{
    namespace_free(f->ns);
    mem_kv_deinit(&f->kv);
    arena_deinit(&f->arena);
}

const struct apply_result *fixture_apply(struct fixture *f, struct command_entry entry)
{
    struct err e = ERR_INIT;
    entry.cluster_ms = ++f->cluster_ms;
    entry.wall_ms = ++f->wall_ms;
    entry.caller = f->caller;
    f->at.index++;
    f->at.term = 1;
    namespace_begin(f->ns, &f->view);
    CHECK(namespace_apply(f->ns, &entry, f->at, &f->arena, &f->result) == 0);
    CHECK(namespace_end(f->ns) == 0);
    if (!f->unchecked && namespace_check(&f->view, &e) < 0) {
        (void)fprintf(stderr, "entry %llu, kind %d: %s\n", (unsigned long long)f->at.index,
                      entry.kind, e.msg);
        abort();
    }
    return &f->result;
}

void fixture_init(struct fixture *f)
{
    fixture_init_empty(f);
    struct command_entry format = {
        .kind = ENTRY_FORMAT,
        .format = {.cluster_id = "c1", .superuser = "root", .default_replication = 3}};
    CHECK(fixture_apply(f, format)->code == 0);
    for (uint8_t i = 1; i <= FIXTURE_SERVER_COUNT; i++) {
        struct command_entry server = {.kind = ENTRY_REGISTER_SERVER,
                                       .register_server = {.key = {{i}},
                                                           .host = "h",
                                                           .rack = "r",
                                                           .address = "127.0.0.1:1",
                                                           .local_socket = ""}};
        CHECK(fixture_apply(f, server)->server == i);
    }
}

struct op_result fixture_run(struct fixture *f, struct operation op)
{
    op.seq = ++f->seq;
    struct command_entry entry = {
        .kind = ENTRY_MUTATE,
        .mutate = {
            .session = f->session, .acked_below = op.seq, .operations = &op, .operation_count = 1}};
    return fixture_apply(f, entry)->results[0];
}

static int64_t inode_or_code(const struct op_result *result)
{
    return result->code < 0 ? result->code : (int64_t)result->inode;
}

int64_t fixture_mkdir(struct fixture *f, const char *path)
{
    struct op_result r =
        fixture_run(f, (struct operation){.kind = OPERATION_MKDIR, .mkdir = {.path = path}});
    return inode_or_code(&r);
}

struct op_result fixture_create(struct fixture *f, const char *path)
{
    struct op_create create = {.path = path, .chunk_bytes = FIXTURE_MIB, .link_path = ""};
    return fixture_run(f, (struct operation){.kind = OPERATION_CREATE, .create = create});
}

struct op_result fixture_allocate(struct fixture *f, const struct op_result *file, uint64_t offset,
                                  struct chunk_ref previous, uint64_t previous_length)
{
    static const server_id servers[] = {1, 2, 3};
    return fixture_run(f, (struct operation){.kind = OPERATION_ALLOCATE,
                                             .allocate = {.inode = file->inode,
                                                          .lease_epoch = file->lease_epoch,
                                                          .offset = offset,
                                                          .previous = previous,
                                                          .previous_length = previous_length,
                                                          .writer_host = "",
                                                          .servers = servers,
                                                          .server_count = 3}});
}

struct op_result fixture_close(struct fixture *f, const struct op_result *file,
                               struct chunk_ref chunk, uint64_t length, const char *link_path)
{
    return fixture_run(f, (struct operation){.kind = OPERATION_CLOSE,
                                             .close = {.inode = file->inode,
                                                       .lease_epoch = file->lease_epoch,
                                                       .chunk = chunk,
                                                       .length = length,
                                                       .link_path = link_path}});
}

int64_t fixture_touch(struct fixture *f, const char *path)
{
    return fixture_file(f, path, 0, 0);
}

int64_t fixture_file(struct fixture *f, const char *path, uint32_t chunk_count, uint64_t tail)
{
    struct op_result file = fixture_create(f, path);
    struct chunk_ref last = {0, 0};
    if (file.code < 0) {
        return file.code;
    }
    for (uint32_t i = 0; i < chunk_count; i++) {
        struct op_result chunk =
            fixture_allocate(f, &file, (uint64_t)i * FIXTURE_MIB, last, i ? FIXTURE_MIB : 0);
        CHECK(chunk.code == 0);
        last = chunk.chunk;
    }
    struct op_result closed = fixture_close(f, &file, last, chunk_count ? tail : 0, "");
    return inode_or_code(&closed);
}

int fixture_rename(struct fixture *f, const char *source, const char *target, bool replace)
{
    return fixture_run(
               f, (struct operation){.kind = OPERATION_RENAME, .rename = {source, target, replace}})
        .code;
}

int fixture_delete(struct fixture *f, const char *path, bool recursive)
{
    return fixture_run(f,
                       (struct operation){.kind = OPERATION_DELETE, .delete_ = {path, recursive}})
        .code;
}

void fixture_reap(struct fixture *f)
{
    do {
        CHECK(fixture_apply(f, (struct command_entry){.kind = ENTRY_REAP, .reap = {3}})->code == 0);
    } while (f->result.more);
}

int64_t fixture_stat(struct fixture *f, const char *path, struct attributes *ret)
{
    struct attributes attributes;
    struct target target = {.path = path};
    int r = namespace_stat(&f->view, &f->caller, &target, &f->arena, &attributes);
    if (r < 0) {
        return r;
    }
    if (ret) {
        *ret = attributes;
    }
    return (int64_t)attributes.inode;
}

uint32_t fixture_effects(const struct fixture *f, enum effect_kind kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < f->result.effect_count; i++) {
        count += f->result.effects[i].kind == kind;
    }
    return count;
}
