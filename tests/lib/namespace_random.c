/* See namespace_random.h. */
#include "tests/lib/namespace_random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "fsmaster/keys.h"
#include "tests/lib/mem_kv.h"

enum { SERVER_COUNT = 3 };

/* ---- Entries --------------------------------------------------------------------------------- */

void random_entries_init(struct random_entries *r, struct span bytes, struct arena *arena)
{
    memset(r, 0, sizeof(*r));
    r->bytes = cursor_of(bytes.data, bytes.length);
    r->arena = arena;
}

static uint32_t pick(struct random_entries *r, uint32_t count)
{
    return cursor_u8(&r->bytes) % count;
}

static bool coin(struct random_entries *r)
{
    return pick(r, 2);
}

static const char *pick_path(struct random_entries *r)
{
    static const char *const names[] = {"a", "b", "c"};
    static const char *const odd[] = {"/", "", "/tmp", "/user", "/tmp/", "/x/y", "//", "/tmp/\xff"};
    uint32_t depth = pick(r, 16) ? pick(r, 2) : pick(r, 5);
    if (depth == 0 && pick(r, 4) == 0) {
        return odd[pick(r, 8)];
    }
    char *path = arena_alloc(r->arena, 32);
    size_t length = 4;
    memcpy(path, "/tmp", 5);
    for (uint32_t i = 0; i <= depth; i++) {
        path[length++] = '/';
        path[length++] = names[pick(r, 3)][0];
    }
    path[length] = 0;
    return path;
}

static uint64_t pick_length(struct random_entries *r)
{
    static const uint64_t lengths[] = {0, 1, 65536, CHUNK_BYTES_MIN, CHUNK_BYTES_MIN + 1};
    return lengths[pick(r, 5)];
}

/* A file opened before, mostly as it is; `off` makes some number wrong. */
static uint32_t pick_file(struct random_entries *r, uint64_t *ret_off)
{
    *ret_off = pick(r, 16) == 0;
    uint32_t back = pick(r, 4) ? 0 : pick(r, 3);
    return (r->file_at + RANDOM_FILE_COUNT - back) % RANDOM_FILE_COUNT;
}

static struct chunk_ref pick_chunk(struct random_entries *r, uint32_t file)
{
    struct chunk_ref chunk = r->files[file].chunk;
    switch (pick(r, 12)) {
    case 0:
        return (struct chunk_ref){0, 0};
    case 1:
        return (struct chunk_ref){pick(r, 16), 1 + pick(r, 3)};
    case 2:
        chunk.version++;
        return chunk;
    default:
        return chunk;
    }
}

/* SERVER_COUNT of them; wrong: some are not known. */
static const server_id *pick_servers(struct random_entries *r, bool wrong)
{
    server_id *servers = arena_alloc(r->arena, SERVER_COUNT * sizeof(server_id));
    for (uint32_t i = 0; i < SERVER_COUNT; i++) {
        servers[i] = i + 1 + (wrong && coin(r) ? 7 : 0);
    }
    return servers;
}

static void make_create(struct random_entries *r, struct operation *op)
{
    op->create = (struct op_create){.path = pick(r, 4) ? pick_path(r) : "",
                                    .replication = pick(r, 4),
                                    .chunk_bytes = CHUNK_BYTES_MIN,
                                    .replace = coin(r),
                                    .parents = pick(r, 4) > 0,
                                    .first_chunk = coin(r),
                                    .writer_host = "",
                                    .link_path = coin(r) ? pick_path(r) : "",
                                    .link_bytes = pick_length(r)};
    if (op->create.first_chunk) {
        op->create.servers = pick_servers(r, pick(r, 8) == 0);
        op->create.server_count = pick(r, SERVER_COUNT + 1);
    }
}

static void make_allocate(struct random_entries *r, struct operation *op)
{
    uint64_t off = 0;
    uint32_t file = pick_file(r, &off);
    uint64_t length = pick_length(r);
    const server_id *servers = pick_servers(r, off != 0);
    op->allocate = (struct op_allocate){
        .inode = r->files[file].inode,
        .lease_epoch = r->files[file].epoch + off,
        .previous = pick_chunk(r, file),
        .previous_length = length,
        .offset = r->files[file].end + (pick(r, 8) ? length : 0),
        .writer_host = "",
        .servers = servers,
        .server_count = pick(r, SERVER_COUNT + 1),
    };
}

static void make_writer_operation(struct random_entries *r, struct operation *op)
{
    uint64_t off = 0;
    uint32_t file = pick_file(r, &off);
    inode_id inode = r->files[file].inode;
    uint64_t epoch = r->files[file].epoch + off;
    switch (pick(r, 4)) {
    case 0:
        op->kind = OPERATION_SEAL_CHUNK;
        op->seal_chunk = (struct op_seal_chunk){inode, epoch, pick_chunk(r, file), pick_length(r)};
        break;
    case 1:
        op->kind = OPERATION_ABANDON_CHUNK;
        op->abandon_chunk = (struct op_abandon_chunk){inode, epoch, pick_chunk(r, file)};
        break;
    case 2:
        op->kind = OPERATION_ABANDON;
        op->abandon = (struct op_abandon){inode, epoch};
        break;
    default:
        op->kind = OPERATION_CLOSE;
        op->close = (struct op_close){
            inode,   epoch,   pick_chunk(r, file), pick_length(r), coin(r) ? pick_path(r) : "",
            coin(r), coin(r), pick(r, 2)};
    }
}

static void make_set_attributes(struct random_entries *r, struct operation *op)
{
    static const char *const users[] = {"ada", "bob", "", "x/y"};
    op->set_attributes = (struct op_set_attributes){.path = pick_path(r),
                                                    .fields = pick(r, 33),
                                                    .mode = coin(r) ? 0777 : pick(r, 256),
                                                    .owner = users[pick(r, 4)],
                                                    .group = users[pick(r, 4)],
                                                    .mtime_ms = pick(r, 9),
                                                    .replication = pick(r, 6)};
}

/* Often so tight that most of what follows is refused, sometimes gone again. */
static void make_set_quota(struct random_entries *r, struct operation *op)
{
    static const uint64_t names[] = {QUOTA_NONE, 0, 1, 2, 3, 5, 8, QUOTA_VALUE_MAX + 1};
    uint64_t space = coin(r) ? QUOTA_NONE : (uint64_t)pick(r, 9) * CHUNK_BYTES_MIN;
    op->set_quota = (struct op_set_quota){.path = pick(r, 4) ? pick_path(r) : "/",
                                          .fields = pick(r, 32) ? pick(r, 4) : 8,
                                          .names = names[pick(r, 8)],
                                          .space = space};
}

static void make_set_xattr(struct random_entries *r, struct operation *op)
{
    static const char *const names[] = {"user.a", "user.b", "user.c", "user.", "a", "user.x/y"};
    static const char bytes[] = "0123456789";
    op->set_xattr = (struct op_set_xattr){.path = pick_path(r),
                                          .name = names[pick(r, 8) ? pick(r, 3) : pick(r, 6)],
                                          .value = {bytes, pick(r, 11)},
                                          .mode = pick(r, 16) ? pick(r, 4) : 4};
}

static void make_operation(struct random_entries *r, struct operation *op)
{
    op->kind = pick(r, OPERATION_KIND_COUNT + 3);
    switch (op->kind) {
    case OPERATION_MKDIR:
        op->mkdir = (struct op_mkdir){pick_path(r), 0, pick(r, 4) > 0};
        break;
    case OPERATION_CREATE:
        make_create(r, op);
        break;
    case OPERATION_ACQUIRE_LEASE:
        op->acquire_lease.path = pick_path(r);
        break;
    case OPERATION_SEAL_CHUNK:
    case OPERATION_ABANDON_CHUNK:
    case OPERATION_ABANDON:
    case OPERATION_CLOSE:
        make_writer_operation(r, op);
        break;
    case OPERATION_RENAME:
        op->rename = (struct op_rename){pick_path(r), pick_path(r), coin(r)};
        break;
    case OPERATION_DELETE:
        op->delete_ = (struct op_delete){pick_path(r), coin(r)};
        break;
    case OPERATION_SET_ATTRIBUTES:
        make_set_attributes(r, op);
        break;
    case OPERATION_RAISE_FENCE:
        op->raise_fence.name = coin(r) ? "f" : "";
        break;
    case OPERATION_SET_QUOTA:
        make_set_quota(r, op);
        break;
    case OPERATION_SET_XATTR:
        make_set_xattr(r, op);
        break;
    case OPERATION_NONE:
        break;
    default: /* most of all: files that grow */
        op->kind = OPERATION_ALLOCATE;
        make_allocate(r, op);
    }
}

static const struct precondition *make_precondition(struct random_entries *r)
{
    struct precondition *p = arena_alloc(r->arena, sizeof(*p));
    p->kind = pick(r, 4);
    p->name = p->kind == PRECONDITION_FENCE_IS ? "f" : pick_path(r);
    p->number = pick(r, 8);
    return p;
}

static void make_mutate(struct random_entries *r, struct command_entry *entry)
{
    static const char *const users[] = {"ada", "ada", "root", "bob"};
    uint32_t count = 1 + pick(r, 3);
    uint32_t session = pick(r, 4) ? pick(r, 3) : pick(r, 4);
    bool repeat = pick(r, 8) == 0 && r->seq[session] > 0;
    struct operation *ops = arena_calloc(r->arena, count * sizeof(*ops));
    if (r->acked[session] == 0) {
        r->acked[session] = 1; /* opens it */
    } else if (pick(r, 4) == 0) {
        r->acked[session] = r->seq[session] + 1 - pick(r, 3);
    }
    for (uint32_t i = 0; i < count; i++) {
        ops[i].seq = repeat ? r->seq[session] : ++r->seq[session];
        make_operation(r, &ops[i]);
        if (pick(r, 16) == 0) {
            ops[i].preconditions = make_precondition(r);
            ops[i].precondition_count = 1;
        }
    }
    uint32_t user = pick(r, 32) == 0 ? pick(r, 4) : session;
    entry->kind = ENTRY_MUTATE;
    entry->caller = (struct caller){.user = users[user], .is_superuser = user == 2};
    entry->mutate = (struct cmd_mutate){session + 1, r->acked[session], ops, count};
}

static void make_internal(struct random_entries *r, struct command_entry *entry)
{
    uint64_t off = 0;
    uint32_t file = pick_file(r, &off);
    struct lease_ref *lease = arena_alloc(r->arena, sizeof(*lease));
    struct chunk_ref chunk = pick_chunk(r, file);
    switch (pick(r, 7)) {
    case 0:
        entry->kind = ENTRY_SEAL_BEGIN;
        entry->seal_begin = (struct cmd_seal_begin){chunk.id, chunk.version + 1, ""};
        break;
    case 1:
        entry->kind = ENTRY_SEAL_END;
        entry->seal_end = (struct cmd_seal_end){chunk, pick_length(r), pick(r, 4) == 0};
        break;
    case 2:
        *lease = (struct lease_ref){r->files[file].inode, r->files[file].epoch + off};
        entry->kind = ENTRY_EXPIRE_LEASES;
        entry->expire_leases = (struct cmd_expire_leases){lease, 1};
        break;
    case 3:
        entry->kind = ENTRY_TICK;
        entry->cluster_ms = r->cluster_ms += pick(r, 16) == 0 ? SESSION_LIFE_MS : 1;
        break;
    case 4:
        entry->kind = ENTRY_NOOP;
        break;
    case 5:
        entry->kind = ENTRY_ADMIN_SERVER;
        entry->admin_server.server = pick(r, SERVER_COUNT + 2);
        entry->admin_server.state = pick(r, SERVER_ADMIN_COUNT + 1);
        entry->admin_server.until_ms =
            entry->admin_server.state == SERVER_IN_MAINTENANCE ? entry->cluster_ms + pick(r, 4) : 0;
        entry->admin_server.over = pick(r, 2);
        break;
    default:
        entry->kind = ENTRY_REAP;
        entry->reap.count = pick(r, 8);
    }
}

/* The first entries: the namespace and its servers. */
static bool make_start(const struct random_entries *r, struct command_entry *entry)
{
    if (r->made == 1) {
        entry->kind = ENTRY_FORMAT;
        entry->format = (struct cmd_format){"c", "root", 2};
    } else if (r->made <= 1 + SERVER_COUNT) {
        entry->kind = ENTRY_REGISTER_SERVER;
        entry->register_server =
            (struct cmd_register_server){{{(uint8_t)r->made}}, "h", "r", "a:1", ""};
    }
    return r->made <= 1 + SERVER_COUNT;
}

bool random_entries_next(struct random_entries *r, struct command_entry *ret)
{
    if (r->bytes.left == 0) {
        return false;
    }
    *ret = (struct command_entry){.cluster_ms = ++r->cluster_ms, .wall_ms = 1000 + r->made};
    ret->caller.user = "";
    r->made++;
    if (!make_start(r, ret)) {
        if (pick(r, 6) == 0) {
            make_internal(r, ret);
        } else {
            make_mutate(r, ret);
        }
    }
    return true;
}

static void learn_operation(struct random_entries *r, const struct operation *op,
                            const struct op_result *result)
{
    if (result->code < 0) {
        return;
    }
    if (result->lease_epoch > 0) {
        r->file_at = (r->file_at + 1) % RANDOM_FILE_COUNT;
        r->files[r->file_at].inode = result->inode;
        r->files[r->file_at].epoch = result->lease_epoch;
        r->files[r->file_at].chunk = result->chunk.id ? result->chunk : result->open_chunk;
        r->files[r->file_at].end = result->length;
    }
    for (uint32_t i = 0; i < RANDOM_FILE_COUNT; i++) {
        if (result->inode == r->files[i].inode && op->kind == OPERATION_ALLOCATE) {
            r->files[i].chunk = result->chunk;
            r->files[i].end = op->allocate.offset;
        }
    }
}

void random_entries_learn(struct random_entries *r, const struct command_entry *entry,
                          const struct apply_result *result)
{
    for (uint32_t i = 0; entry->kind == ENTRY_MUTATE && i < result->result_count; i++) {
        if (strstr(result->results[i].text, "unknown session")) { /* expired: open it again */
            r->acked[entry->mutate.session - 1] = 0;
            r->seq[entry->mutate.session - 1] = 0;
        }
        learn_operation(r, &entry->mutate.operations[i], &result->results[i]);
    }
    for (uint32_t i = 0; result->chunk.id > 0 && i < RANDOM_FILE_COUNT; i++) {
        if (r->files[i].chunk.id == result->chunk.id) {
            r->files[i].chunk = result->chunk;
        }
    }
}

/* ---- Two copies ------------------------------------------------------------------------------ */

struct copy {
    struct mem_kv kv;
    struct kv_view view;
    struct namespace *ns;
    bool in_batch;
};

static void copy_init(struct copy *c, uint64_t seed)
{
    memset(c, 0, sizeof(*c));
    mem_kv_init(&c->kv);
    c->view = mem_kv_view(&c->kv);
    c->ns = namespace_new(seed);
}

static void copy_deinit(struct copy *c)
{
    namespace_free(c->ns);
    mem_kv_deinit(&c->kv);
}

static void copy_end(struct copy *c)
{
    if (c->in_batch) {
        CHECK(namespace_end(c->ns) == 0);
    }
    c->in_batch = false;
}

static void copy_apply(struct copy *c, const struct command_entry *entry, uint64_t index,
                       struct arena *arena, struct apply_result *ret)
{
    if (!c->in_batch) {
        namespace_begin(c->ns, &c->view);
    }
    c->in_batch = true;
    CHECK(namespace_apply(c->ns, entry, (struct log_position){index, 1}, arena, ret) == 0);
}

/* The batch ends; sometimes the copy goes on in a new process with a snapshot of its state. */
static void copy_move(struct copy *c, bool snapshot)
{
    copy_end(c);
    if (snapshot) {
        struct copy moved;
        copy_init(&moved, 3);
        mem_kv_copy(&moved.kv, &c->kv);
        copy_deinit(c);
        *c = moved;
        c->view = mem_kv_view(&c->kv);
    }
}

static void check_invariants(struct copy *c)
{
    struct err e = ERR_INIT;
    if (namespace_check(&c->view, &e) < 0) {
        (void)fprintf(stderr, "%s\n", e.msg);
        CHECK(!"invariants");
    }
}

/* Rows that a failed operation may change: its session's, and the position. The identity row is
 * compared by what it counts. */
static bool same_but_sessions(const struct mem_kv *a, const struct mem_kv *b)
{
    size_t i = 0;
    size_t j = 0;
    for (;; i++, j++) {
        while (i < a->count && strchr("acrst", a->rows[i]->key.data[0])) {
            i++;
        }
        while (j < b->count && strchr("acrst", b->rows[j]->key.data[0])) {
            j++;
        }
        if (i == a->count || j == b->count) {
            return i == a->count && j == b->count;
        }
        const struct mem_kv_row *x = a->rows[i];
        const struct mem_kv_row *y = b->rows[j];
        if (x->key.length != y->key.length || x->value.length != y->value.length ||
            memcmp(x->key.data, y->key.data, x->key.length) != 0 ||
            memcmp(x->value.data, y->value.data, x->value.length) != 0) {
            return false;
        }
    }
}

/* Everything that the results say; addresses of equal strings differ, so field by field. */
static bool same_results(const struct apply_result *a, const struct apply_result *b)
{
    bool same = a->code == b->code && a->result_count == b->result_count &&
                a->effect_count == b->effect_count && a->more == b->more &&
                a->chunk.version == b->chunk.version && a->length == b->length &&
                strcmp(a->text, b->text) == 0;
    for (uint32_t i = 0; same && i < a->result_count; i++) {
        const struct op_result *x = &a->results[i];
        const struct op_result *y = &b->results[i];
        same = x->code == y->code && strcmp(x->text, y->text) == 0 && x->inode == y->inode &&
               x->lease_epoch == y->lease_epoch && x->fence_epoch == y->fence_epoch &&
               x->length == y->length && x->chunk.id == y->chunk.id && x->repeated == y->repeated &&
               x->replica_count == y->replica_count;
    }
    for (uint32_t i = 0; same && i < a->effect_count; i++) {
        same = a->effects[i].kind == b->effects[i].kind &&
               a->effects[i].inode == b->effects[i].inode &&
               a->effects[i].chunk.id == b->effects[i].chunk.id &&
               a->effects[i].epoch == b->effects[i].epoch;
    }
    return same;
}

/* How many succeeded; `all_failed` when there was at least one operation and none did. */
static uint64_t count_success(const struct command_entry *entry, const struct apply_result *result,
                              bool *ret_all_failed)
{
    uint64_t count = entry->kind != ENTRY_MUTATE && result->code == 0;
    for (uint32_t i = 0; i < result->result_count; i++) {
        count += result->results[i].code == 0;
    }
    *ret_all_failed = count == 0;
    return count;
}

/* ---- Quotas ---------------------------------------------------------------------------------- */

static bool sets_quota(const struct command_entry *entry)
{
    bool sets = false;
    for (uint32_t i = 0; entry->kind == ENTRY_MUTATE && i < entry->mutate.operation_count; i++) {
        sets |= entry->mutate.operations[i].kind == OPERATION_SET_QUOTA;
    }
    return sets;
}

/* Chunks that were open before there was a quota are counted when they are sealed: nobody refuses
 * that. So much may come without being asked for, at most. */
static uint64_t unasked_space(const struct apply_result *result)
{
    uint64_t space = 0;
    for (uint32_t i = 0; i < result->effect_count; i++) {
        const struct effect *effect = &result->effects[i];
        space += effect->kind == EFFECT_CHUNK_SEALED ? effect->length * CHUNK_REPLICAS_MAX : 0;
    }
    return space;
}

static bool stays_within(uint64_t quota, uint64_t before, uint64_t after)
{
    return quota == QUOTA_NONE || after <= quota || after <= before;
}

/* No directory has grown beyond its quota, whatever the entry was: the rule itself, by comparing
 * the states, and not the checks that are to keep it. */
static bool quotas_hold(const struct mem_kv *before, const struct mem_kv *after, uint64_t unasked)
{
    const struct kv_view view = mem_kv_view((struct mem_kv *)before); /* only read */
    struct buf value = BUF_INIT;
    struct inode_row was;
    struct inode_row is;
    bool hold = true;
    for (size_t i = 0; hold && i < after->count; i++) {
        struct span key = {after->rows[i]->key.data, after->rows[i]->key.length};
        const struct buf *row = &after->rows[i]->value;
        if (after->rows[i]->key.data[0] == ROW_INODE && kv_view_get(&view, key, &value) == 0 &&
            inode_decode((struct span){value.data, value.length}, &was) == 0 &&
            inode_decode((struct span){row->data, row->length}, &is) == 0 &&
            (is.flags & INODE_LIMITED)) {
            hold = stays_within(is.names_quota, was.files + was.directories + 1,
                                is.files + is.directories + 1) &&
                   stays_within(is.space_quota, was.replica_bytes + was.reserved + unasked,
                                is.replica_bytes + is.reserved);
        }
    }
    buf_deinit(&value);
    return hold;
}

uint64_t random_two_copies(struct span bytes)
{
    struct arena arena = ARENA_INIT;
    struct random_entries random;
    struct command_entry entry;
    struct copy a;
    struct copy b;
    struct mem_kv before;
    struct apply_result result_a;
    struct apply_result result_b;
    uint64_t successes = 0;
    bool all_failed = false;
    copy_init(&a, 1);
    copy_init(&b, 2);
    mem_kv_init(&before);
    random_entries_init(&random, bytes, &arena);
    while (random_entries_next(&random, &entry)) {
        mem_kv_copy(&before, &a.kv);
        copy_apply(&a, &entry, random.made, &arena, &result_a);
        copy_end(&a);
        copy_apply(&b, &entry, random.made, &arena, &result_b);
        CHECK(same_results(&result_a, &result_b));
        successes += count_success(&entry, &result_a, &all_failed);
        CHECK(!all_failed || same_but_sessions(&before, &a.kv));
        CHECK(sets_quota(&entry) || quotas_hold(&before, &a.kv, unasked_space(&result_a)));
        random_entries_learn(&random, &entry, &result_a);
        uint32_t choice = cursor_u8(&random.bytes);
        if (choice % 5 == 0) {
            copy_move(&b, choice == 0);
            CHECK(mem_kv_equal(&a.kv, &b.kv));
            check_invariants(&a);
        }
    }
    copy_end(&b);
    CHECK(mem_kv_equal(&a.kv, &b.kv));
    check_invariants(&a);
    mem_kv_deinit(&before);
    copy_deinit(&a);
    copy_deinit(&b);
    arena_deinit(&arena);
    return successes;
}
