/* See command_rpc.h. Two directions for each message, side by side. Strings and arrays are borrowed
 * wherever both sides can share them. */
#include "fsmaster/command_rpc.h"

#include <string.h>

#include "common/arena.h"
#include "common/check.h"
#include "common/parse.h"
#include "proto/fslog.pb-c.h"

/* ---- Helpers --------------------------------------------------------------------------------- */

static void *arena_proto_alloc(void *arena, size_t size)
{
    return arena_try_alloc(arena, size);
}

static void arena_proto_free(void *arena, void *memory)
{
    (void)arena;
    (void)memory;
}

static struct chunk_ref chunk_ref_of(const Trireme__V1__ChunkRef *ref)
{
    return ref ? (struct chunk_ref){ref->id, ref->version} : (struct chunk_ref){0, 0};
}

/* NULL for none. */
static Trireme__V1__ChunkRef *proto_chunk_ref(struct chunk_ref ref, struct arena *arena)
{
    if (ref.id == 0) {
        return NULL;
    }
    Trireme__V1__ChunkRef *m = arena_alloc(arena, sizeof(*m));
    trireme__v1__chunk_ref__init(m);
    m->id = ref.id;
    m->version = ref.version;
    return m;
}

/* protobuf-c's structs want char *, which it does not write through while packing. */
static char *proto_string(const char *string)
{
    return (char *)string;
}

static uint64_t *proto_numbers(const uint64_t *numbers)
{
    return (uint64_t *)numbers;
}

#define MAKE(type, name, arena)                                                                    \
    Trireme__V1__##type *name = arena_alloc(arena, sizeof(*name));                                 \
    *name = (Trireme__V1__##type)

/* ---- Preconditions --------------------------------------------------------------------------- */

static struct precondition precondition_of(const Trireme__V1__Precondition *m)
{
    switch (m->kind_case) {
    case TRIREME__V1__PRECONDITION__KIND_PATH_ABSENT:
        return (struct precondition){PRECONDITION_PATH_ABSENT, m->path_absent, 0};
    case TRIREME__V1__PRECONDITION__KIND_PATH_IS:
        return (struct precondition){PRECONDITION_PATH_IS, m->path_is->path, m->path_is->inode};
    case TRIREME__V1__PRECONDITION__KIND_FENCE_IS:
        return (struct precondition){PRECONDITION_FENCE_IS, m->fence_is->name, m->fence_is->epoch};
    default:
        return (struct precondition){PRECONDITION_NONE, "", 0};
    }
}

static Trireme__V1__Precondition *proto_precondition(const struct precondition *p,
                                                     struct arena *arena)
{
    MAKE(Precondition, m, arena) TRIREME__V1__PRECONDITION__INIT;
    if (p->kind == PRECONDITION_PATH_ABSENT) {
        m->kind_case = TRIREME__V1__PRECONDITION__KIND_PATH_ABSENT;
        m->path_absent = proto_string(p->name);
    } else if (p->kind == PRECONDITION_PATH_IS) {
        MAKE(PathIs, path_is, arena) TRIREME__V1__PATH_IS__INIT;
        path_is->path = proto_string(p->name);
        path_is->inode = p->number;
        m->kind_case = TRIREME__V1__PRECONDITION__KIND_PATH_IS;
        m->path_is = path_is;
    } else if (p->kind == PRECONDITION_FENCE_IS) {
        MAKE(FenceIs, fence_is, arena) TRIREME__V1__FENCE_IS__INIT;
        fence_is->name = proto_string(p->name);
        fence_is->epoch = p->number;
        m->kind_case = TRIREME__V1__PRECONDITION__KIND_FENCE_IS;
        m->fence_is = fence_is;
    }
    return m;
}

/* ---- Operations from protobuf ---------------------------------------------------------------- */

static void create_of(const Trireme__V1__Create *m, struct op_create *ret)
{
    *ret = (struct op_create){
        .path = m->path,
        .mode = m->mode,
        .replication = m->replication,
        .chunk_bytes = m->chunk_bytes,
        .replace = m->replace,
        .parents = m->parents,
        .first_chunk = m->first_chunk,
        .writer_host = m->writer_host,
        .servers = m->servers,
        .server_count = (uint32_t)m->n_servers,
        .link_path = m->link_path,
        .link_bytes = m->link_bytes,
    };
}

static void allocate_of(const Trireme__V1__Allocate *m, struct op_allocate *ret)
{
    *ret = (struct op_allocate){
        .inode = m->inode,
        .lease_epoch = m->lease_epoch,
        .offset = m->offset,
        .previous = chunk_ref_of(m->previous),
        .previous_length = m->previous_length,
        .writer_host = m->writer_host,
        .exclude = m->exclude,
        .exclude_count = (uint32_t)m->n_exclude,
        .servers = m->servers,
        .server_count = (uint32_t)m->n_servers,
    };
}

static void close_of(const Trireme__V1__Close *m, struct op_close *ret)
{
    *ret = (struct op_close){
        .inode = m->inode,
        .lease_epoch = m->lease_epoch,
        .chunk = chunk_ref_of(m->chunk),
        .length = m->length,
        .link_path = m->link_path,
        .replace = m->replace,
        .parents = m->parents,
        .mtime_ms = m->mtime_ms,
    };
}

static void set_attributes_of(const Trireme__V1__SetAttributes *m, struct op_set_attributes *ret)
{
    *ret = (struct op_set_attributes){
        .path = m->path,
        .fields = m->fields,
        .mode = m->mode,
        .owner = m->owner,
        .group = m->group,
        .mtime_ms = m->mtime_ms,
        .replication = m->replication,
    };
}

/* Those that write to the tree by path. */
static bool path_operation_of(const Trireme__V1__Operation *m, struct operation *ret)
{
    switch (m->kind_case) {
    case TRIREME__V1__OPERATION__KIND_MKDIR:
        ret->kind = OPERATION_MKDIR;
        ret->mkdir = (struct op_mkdir){m->mkdir->path, m->mkdir->mode, m->mkdir->parents};
        return true;
    case TRIREME__V1__OPERATION__KIND_CREATE:
        ret->kind = OPERATION_CREATE;
        create_of(m->create, &ret->create);
        return true;
    case TRIREME__V1__OPERATION__KIND_ACQUIRE_LEASE:
        ret->kind = OPERATION_ACQUIRE_LEASE;
        ret->acquire_lease = (struct op_acquire_lease){m->acquire_lease->path};
        return true;
    case TRIREME__V1__OPERATION__KIND_RENAME:
        ret->kind = OPERATION_RENAME;
        ret->rename = (struct op_rename){m->rename->source, m->rename->target, m->rename->replace};
        return true;
    case TRIREME__V1__OPERATION__KIND_DELETE:
        ret->kind = OPERATION_DELETE;
        ret->delete_ = (struct op_delete){m->delete_->path, m->delete_->recursive};
        return true;
    case TRIREME__V1__OPERATION__KIND_SET_ATTRIBUTES:
        ret->kind = OPERATION_SET_ATTRIBUTES;
        set_attributes_of(m->set_attributes, &ret->set_attributes);
        return true;
    case TRIREME__V1__OPERATION__KIND_RAISE_FENCE:
        ret->kind = OPERATION_RAISE_FENCE;
        ret->raise_fence = (struct op_raise_fence){m->raise_fence->name};
        return true;
    case TRIREME__V1__OPERATION__KIND_SET_QUOTA:
        ret->kind = OPERATION_SET_QUOTA;
        ret->set_quota = (struct op_set_quota){m->set_quota->path, m->set_quota->fields,
                                               m->set_quota->names, m->set_quota->space};
        return true;
    case TRIREME__V1__OPERATION__KIND_SET_XATTR:
        ret->kind = OPERATION_SET_XATTR;
        ret->set_xattr = (struct op_set_xattr){m->set_xattr->path,
                                               m->set_xattr->name,
                                               {m->set_xattr->value.data, m->set_xattr->value.len},
                                               m->set_xattr->mode};
        return true;
    default:
        return false;
    }
}

/* Those of a writer, by inode and lease epoch. */
static void writer_operation_of(const Trireme__V1__Operation *m, struct operation *ret)
{
    switch (m->kind_case) {
    case TRIREME__V1__OPERATION__KIND_ALLOCATE:
        ret->kind = OPERATION_ALLOCATE;
        allocate_of(m->allocate, &ret->allocate);
        break;
    case TRIREME__V1__OPERATION__KIND_SEAL_CHUNK:
        ret->kind = OPERATION_SEAL_CHUNK;
        ret->seal_chunk =
            (struct op_seal_chunk){m->seal_chunk->inode, m->seal_chunk->lease_epoch,
                                   chunk_ref_of(m->seal_chunk->chunk), m->seal_chunk->length};
        break;
    case TRIREME__V1__OPERATION__KIND_ABANDON_CHUNK:
        ret->kind = OPERATION_ABANDON_CHUNK;
        ret->abandon_chunk =
            (struct op_abandon_chunk){m->abandon_chunk->inode, m->abandon_chunk->lease_epoch,
                                      chunk_ref_of(m->abandon_chunk->chunk)};
        break;
    case TRIREME__V1__OPERATION__KIND_CLOSE:
        ret->kind = OPERATION_CLOSE;
        close_of(m->close, &ret->close);
        break;
    case TRIREME__V1__OPERATION__KIND_ABANDON:
        ret->kind = OPERATION_ABANDON;
        ret->abandon = (struct op_abandon){m->abandon->inode, m->abandon->lease_epoch};
        break;
    default:
        ret->kind = OPERATION_NONE;
    }
}

static int operation_of(const Trireme__V1__Operation *m, struct arena *arena, struct operation *ret,
                        struct err *e)
{
    *ret = (struct operation){.seq = m->seq};
    if (m->n_preconditions > NAMESPACE_PRECONDITION_COUNT_MAX) {
        return err_set(e, ERR_TOO_LARGE, "an operation with %zu preconditions, at most %d",
                       m->n_preconditions, NAMESPACE_PRECONDITION_COUNT_MAX);
    }
    struct precondition *preconditions =
        arena_alloc(arena, m->n_preconditions * sizeof(struct precondition));
    for (size_t i = 0; i < m->n_preconditions; i++) {
        preconditions[i] = precondition_of(m->preconditions[i]);
    }
    ret->preconditions = preconditions;
    ret->precondition_count = (uint32_t)m->n_preconditions;
    if (!path_operation_of(m, ret)) {
        writer_operation_of(m, ret);
    }
    return 0;
}

static int mutate_of(const Trireme__V1__MutateRequest *m, struct arena *arena,
                     struct cmd_mutate *ret, struct err *e)
{
    if (m->n_operations > NAMESPACE_BATCH_COUNT_MAX) {
        return err_set(e, ERR_TOO_LARGE, "%zu operations in one request, at most %d",
                       m->n_operations, NAMESPACE_BATCH_COUNT_MAX);
    }
    struct operation *operations = arena_alloc(arena, m->n_operations * sizeof(struct operation));
    for (size_t i = 0; i < m->n_operations; i++) {
        int r = operation_of(m->operations[i], arena, &operations[i], e);
        if (r < 0) {
            return r;
        }
    }
    *ret = (struct cmd_mutate){.session = m->session,
                               .acked_below = m->acked_below,
                               .operations = operations,
                               .operation_count = (uint32_t)m->n_operations};
    return 0;
}

int command_from_request(const ProtobufCMessage *request, struct arena *arena,
                         struct cmd_mutate *ret, struct err *e)
{
    CHECK(request->descriptor == &trireme__v1__mutate_request__descriptor);
    int r = mutate_of((const Trireme__V1__MutateRequest *)request, arena, ret, e);
    for (uint32_t i = 0; r == 0 && i < ret->operation_count; i++) {
        struct operation *op = (struct operation *)&ret->operations[i];
        if (op->kind == OPERATION_ALLOCATE) {
            op->allocate.servers = NULL;
            op->allocate.server_count = 0;
        } else if (op->kind == OPERATION_CREATE) {
            op->create.servers = NULL;
            op->create.server_count = 0;
        }
    }
    return r;
}

/* ---- Operations to protobuf ------------------------------------------------------------------ */

static void proto_allocate(const struct op_allocate *op, struct arena *arena,
                           Trireme__V1__Operation *to)
{
    MAKE(Allocate, m, arena) TRIREME__V1__ALLOCATE__INIT;
    m->inode = op->inode;
    m->lease_epoch = op->lease_epoch;
    m->offset = op->offset;
    m->previous = proto_chunk_ref(op->previous, arena);
    m->previous_length = op->previous_length;
    m->writer_host = proto_string(op->writer_host);
    m->n_exclude = op->exclude_count;
    m->exclude = proto_numbers(op->exclude);
    m->n_servers = op->server_count;
    m->servers = proto_numbers(op->servers);
    to->kind_case = TRIREME__V1__OPERATION__KIND_ALLOCATE;
    to->allocate = m;
}

static void proto_close(const struct op_close *op, struct arena *arena, Trireme__V1__Operation *to)
{
    MAKE(Close, m, arena) TRIREME__V1__CLOSE__INIT;
    m->inode = op->inode;
    m->lease_epoch = op->lease_epoch;
    m->chunk = proto_chunk_ref(op->chunk, arena);
    m->length = op->length;
    m->link_path = proto_string(op->link_path);
    m->replace = op->replace;
    m->parents = op->parents;
    m->mtime_ms = op->mtime_ms;
    to->kind_case = TRIREME__V1__OPERATION__KIND_CLOSE;
    to->close = m;
}

static void proto_create(const struct op_create *op, struct arena *arena,
                         Trireme__V1__Operation *to)
{
    MAKE(Create, m, arena) TRIREME__V1__CREATE__INIT;
    m->path = proto_string(op->path);
    m->mode = op->mode;
    m->replication = op->replication;
    m->chunk_bytes = op->chunk_bytes;
    m->replace = op->replace;
    m->parents = op->parents;
    m->first_chunk = op->first_chunk;
    m->writer_host = proto_string(op->writer_host);
    m->n_servers = op->server_count;
    m->servers = proto_numbers(op->servers);
    m->link_path = proto_string(op->link_path);
    m->link_bytes = op->link_bytes;
    to->kind_case = TRIREME__V1__OPERATION__KIND_CREATE;
    to->create = m;
}

static void proto_mkdir(const struct op_mkdir *op, struct arena *arena, Trireme__V1__Operation *to)
{
    MAKE(Mkdir, m, arena) TRIREME__V1__MKDIR__INIT;
    m->path = proto_string(op->path);
    m->mode = op->mode;
    m->parents = op->parents;
    to->kind_case = TRIREME__V1__OPERATION__KIND_MKDIR;
    to->mkdir = m;
}

static void proto_acquire_lease(const struct op_acquire_lease *op, struct arena *arena,
                                Trireme__V1__Operation *to)
{
    MAKE(AcquireLease, m, arena) TRIREME__V1__ACQUIRE_LEASE__INIT;
    m->path = proto_string(op->path);
    to->kind_case = TRIREME__V1__OPERATION__KIND_ACQUIRE_LEASE;
    to->acquire_lease = m;
}

static void proto_seal_chunk(const struct op_seal_chunk *op, struct arena *arena,
                             Trireme__V1__Operation *to)
{
    MAKE(SealChunk, m, arena) TRIREME__V1__SEAL_CHUNK__INIT;
    m->inode = op->inode;
    m->lease_epoch = op->lease_epoch;
    m->chunk = proto_chunk_ref(op->chunk, arena);
    m->length = op->length;
    to->kind_case = TRIREME__V1__OPERATION__KIND_SEAL_CHUNK;
    to->seal_chunk = m;
}

static void proto_abandon_chunk(const struct op_abandon_chunk *op, struct arena *arena,
                                Trireme__V1__Operation *to)
{
    MAKE(AbandonChunk, m, arena) TRIREME__V1__ABANDON_CHUNK__INIT;
    m->inode = op->inode;
    m->lease_epoch = op->lease_epoch;
    m->chunk = proto_chunk_ref(op->chunk, arena);
    to->kind_case = TRIREME__V1__OPERATION__KIND_ABANDON_CHUNK;
    to->abandon_chunk = m;
}

static void proto_abandon(const struct op_abandon *op, struct arena *arena,
                          Trireme__V1__Operation *to)
{
    MAKE(Abandon, m, arena) TRIREME__V1__ABANDON__INIT;
    m->inode = op->inode;
    m->lease_epoch = op->lease_epoch;
    to->kind_case = TRIREME__V1__OPERATION__KIND_ABANDON;
    to->abandon = m;
}

static void proto_rename(const struct op_rename *op, struct arena *arena,
                         Trireme__V1__Operation *to)
{
    MAKE(Rename, m, arena) TRIREME__V1__RENAME__INIT;
    m->source = proto_string(op->source);
    m->target = proto_string(op->target);
    m->replace = op->replace;
    to->kind_case = TRIREME__V1__OPERATION__KIND_RENAME;
    to->rename = m;
}

static void proto_delete(const struct op_delete *op, struct arena *arena,
                         Trireme__V1__Operation *to)
{
    MAKE(Delete, m, arena) TRIREME__V1__DELETE__INIT;
    m->path = proto_string(op->path);
    m->recursive = op->recursive;
    to->kind_case = TRIREME__V1__OPERATION__KIND_DELETE;
    to->delete_ = m;
}

static void proto_set_attributes(const struct op_set_attributes *op, struct arena *arena,
                                 Trireme__V1__Operation *to)
{
    MAKE(SetAttributes, m, arena) TRIREME__V1__SET_ATTRIBUTES__INIT;
    m->path = proto_string(op->path);
    m->fields = op->fields;
    m->mode = op->mode;
    m->owner = proto_string(op->owner);
    m->group = proto_string(op->group);
    m->mtime_ms = op->mtime_ms;
    m->replication = op->replication;
    to->kind_case = TRIREME__V1__OPERATION__KIND_SET_ATTRIBUTES;
    to->set_attributes = m;
}

static void proto_raise_fence(const struct op_raise_fence *op, struct arena *arena,
                              Trireme__V1__Operation *to)
{
    MAKE(RaiseFence, m, arena) TRIREME__V1__RAISE_FENCE__INIT;
    m->name = proto_string(op->name);
    to->kind_case = TRIREME__V1__OPERATION__KIND_RAISE_FENCE;
    to->raise_fence = m;
}

static void proto_set_quota(const struct op_set_quota *op, struct arena *arena,
                            Trireme__V1__Operation *to)
{
    MAKE(SetQuota, m, arena) TRIREME__V1__SET_QUOTA__INIT;
    m->path = proto_string(op->path);
    m->fields = op->fields;
    m->names = op->names;
    m->space = op->space;
    to->kind_case = TRIREME__V1__OPERATION__KIND_SET_QUOTA;
    to->set_quota = m;
}

static void proto_set_xattr(const struct op_set_xattr *op, struct arena *arena,
                            Trireme__V1__Operation *to)
{
    MAKE(SetXattr, m, arena) TRIREME__V1__SET_XATTR__INIT;
    m->path = proto_string(op->path);
    m->name = proto_string(op->name);
    m->value.data = (uint8_t *)op->value.data; /* only read */
    m->value.len = op->value.length;
    m->mode = op->mode;
    to->kind_case = TRIREME__V1__OPERATION__KIND_SET_XATTR;
    to->set_xattr = m;
}

static void proto_operation_kind(const struct operation *op, struct arena *arena,
                                 Trireme__V1__Operation *to)
{
    switch (op->kind) {
    case OPERATION_NONE:
        break;
    case OPERATION_MKDIR:
        proto_mkdir(&op->mkdir, arena, to);
        break;
    case OPERATION_CREATE:
        proto_create(&op->create, arena, to);
        break;
    case OPERATION_ACQUIRE_LEASE:
        proto_acquire_lease(&op->acquire_lease, arena, to);
        break;
    case OPERATION_ALLOCATE:
        proto_allocate(&op->allocate, arena, to);
        break;
    case OPERATION_SEAL_CHUNK:
        proto_seal_chunk(&op->seal_chunk, arena, to);
        break;
    case OPERATION_ABANDON_CHUNK:
        proto_abandon_chunk(&op->abandon_chunk, arena, to);
        break;
    case OPERATION_CLOSE:
        proto_close(&op->close, arena, to);
        break;
    case OPERATION_ABANDON:
        proto_abandon(&op->abandon, arena, to);
        break;
    case OPERATION_RENAME:
        proto_rename(&op->rename, arena, to);
        break;
    case OPERATION_DELETE:
        proto_delete(&op->delete_, arena, to);
        break;
    case OPERATION_SET_ATTRIBUTES:
        proto_set_attributes(&op->set_attributes, arena, to);
        break;
    case OPERATION_RAISE_FENCE:
        proto_raise_fence(&op->raise_fence, arena, to);
        break;
    case OPERATION_SET_QUOTA:
        proto_set_quota(&op->set_quota, arena, to);
        break;
    case OPERATION_SET_XATTR:
        proto_set_xattr(&op->set_xattr, arena, to);
        break;
    }
}

static Trireme__V1__Operation *proto_operation(const struct operation *op, struct arena *arena)
{
    MAKE(Operation, m, arena) TRIREME__V1__OPERATION__INIT;
    m->seq = op->seq;
    m->n_preconditions = op->precondition_count;
    m->preconditions = arena_alloc(arena, op->precondition_count * sizeof(*m->preconditions));
    for (uint32_t i = 0; i < op->precondition_count; i++) {
        m->preconditions[i] = proto_precondition(&op->preconditions[i], arena);
    }
    proto_operation_kind(op, arena, m);
    return m;
}

/* ---- Entries to protobuf --------------------------------------------------------------------- */

static Trireme__V1__MutateRequest *proto_mutate(const struct cmd_mutate *cmd, struct arena *arena)
{
    MAKE(MutateRequest, m, arena) TRIREME__V1__MUTATE_REQUEST__INIT;
    m->session = cmd->session;
    m->acked_below = cmd->acked_below;
    m->n_operations = cmd->operation_count;
    m->operations = arena_alloc(arena, cmd->operation_count * sizeof(*m->operations));
    for (uint32_t i = 0; i < cmd->operation_count; i++) {
        m->operations[i] = proto_operation(&cmd->operations[i], arena);
    }
    return m;
}

static Trireme__V1__LogFormat *proto_format(const struct cmd_format *cmd, struct arena *arena)
{
    MAKE(LogFormat, m, arena) TRIREME__V1__LOG_FORMAT__INIT;
    m->cluster_id = proto_string(cmd->cluster_id);
    m->superuser = proto_string(cmd->superuser);
    m->default_replication = cmd->default_replication;
    return m;
}

static Trireme__V1__LogRegisterServer *proto_register_server(const struct cmd_register_server *cmd,
                                                             struct arena *arena)
{
    MAKE(LogRegisterServer, m, arena) TRIREME__V1__LOG_REGISTER_SERVER__INIT;
    m->member_key.len = sizeof(cmd->key.bytes);
    m->member_key.data = (uint8_t *)cmd->key.bytes;
    m->host = proto_string(cmd->host);
    m->rack = proto_string(cmd->rack);
    m->address = proto_string(cmd->address);
    m->local_socket = proto_string(cmd->local_socket);
    return m;
}

static Trireme__V1__LogSealBegin *proto_seal_begin(const struct cmd_seal_begin *cmd,
                                                   struct arena *arena)
{
    MAKE(LogSealBegin, m, arena) TRIREME__V1__LOG_SEAL_BEGIN__INIT;
    m->chunk = cmd->chunk;
    m->new_version = cmd->new_version;
    m->reason = proto_string(cmd->reason);
    return m;
}

static Trireme__V1__LogSealEnd *proto_seal_end(const struct cmd_seal_end *cmd, struct arena *arena)
{
    MAKE(LogSealEnd, m, arena) TRIREME__V1__LOG_SEAL_END__INIT;
    m->chunk = proto_chunk_ref(cmd->chunk, arena);
    m->length = cmd->length;
    m->drop = cmd->drop;
    return m;
}

static Trireme__V1__LogExpireLeases *proto_expire_leases(const struct cmd_expire_leases *cmd,
                                                         struct arena *arena)
{
    MAKE(LogExpireLeases, m, arena) TRIREME__V1__LOG_EXPIRE_LEASES__INIT;
    m->n_leases = cmd->count;
    m->leases = arena_alloc(arena, cmd->count * sizeof(*m->leases));
    for (uint32_t i = 0; i < cmd->count; i++) {
        MAKE(LogExpireLeases__Lease, lease, arena) TRIREME__V1__LOG_EXPIRE_LEASES__LEASE__INIT;
        lease->inode = cmd->leases[i].inode;
        lease->epoch = cmd->leases[i].epoch;
        m->leases[i] = lease;
    }
    return m;
}

static Trireme__V1__LogAdminServer *proto_admin_server(const struct cmd_admin_server *cmd,
                                                       struct arena *arena)
{
    MAKE(LogAdminServer, m, arena) TRIREME__V1__LOG_ADMIN_SERVER__INIT;
    m->server = cmd->server;
    m->state = (Trireme__V1__AdminState)cmd->state;
    m->until_ms = cmd->until_ms;
    m->over = cmd->over;
    return m;
}

static void proto_command(const struct command_entry *entry, struct arena *arena,
                          Trireme__V1__LogEntry *m)
{
    static const Trireme__V1__LogEntry__CommandCase cases[] = {
        [ENTRY_NONE] = TRIREME__V1__LOG_ENTRY__COMMAND__NOT_SET,
        [ENTRY_NOOP] = TRIREME__V1__LOG_ENTRY__COMMAND_NOOP,
        [ENTRY_FORMAT] = TRIREME__V1__LOG_ENTRY__COMMAND_FORMAT,
        [ENTRY_MUTATE] = TRIREME__V1__LOG_ENTRY__COMMAND_MUTATE,
        [ENTRY_REGISTER_SERVER] = TRIREME__V1__LOG_ENTRY__COMMAND_REGISTER_SERVER,
        [ENTRY_SEAL_BEGIN] = TRIREME__V1__LOG_ENTRY__COMMAND_SEAL_BEGIN,
        [ENTRY_SEAL_END] = TRIREME__V1__LOG_ENTRY__COMMAND_SEAL_END,
        [ENTRY_EXPIRE_LEASES] = TRIREME__V1__LOG_ENTRY__COMMAND_EXPIRE_LEASES,
        [ENTRY_TICK] = TRIREME__V1__LOG_ENTRY__COMMAND_TICK,
        [ENTRY_REAP] = TRIREME__V1__LOG_ENTRY__COMMAND_REAP,
        [ENTRY_BEGIN_ERA] = TRIREME__V1__LOG_ENTRY__COMMAND_BEGIN_ERA,
        [ENTRY_RELEASE_ORPHANS] = TRIREME__V1__LOG_ENTRY__COMMAND_RELEASE_ORPHANS,
        [ENTRY_ADMIN_SERVER] = TRIREME__V1__LOG_ENTRY__COMMAND_ADMIN_SERVER,
    };
    m->command_case = cases[entry->kind];
    switch (entry->kind) {
    case ENTRY_NONE:
        break;
    case ENTRY_NOOP:
        m->noop = arena_alloc(arena, sizeof(*m->noop));
        trireme__v1__log_noop__init(m->noop);
        break;
    case ENTRY_FORMAT:
        m->format = proto_format(&entry->format, arena);
        break;
    case ENTRY_MUTATE:
        m->mutate = proto_mutate(&entry->mutate, arena);
        break;
    case ENTRY_REGISTER_SERVER:
        m->register_server = proto_register_server(&entry->register_server, arena);
        break;
    case ENTRY_SEAL_BEGIN:
        m->seal_begin = proto_seal_begin(&entry->seal_begin, arena);
        break;
    case ENTRY_SEAL_END:
        m->seal_end = proto_seal_end(&entry->seal_end, arena);
        break;
    case ENTRY_EXPIRE_LEASES:
        m->expire_leases = proto_expire_leases(&entry->expire_leases, arena);
        break;
    case ENTRY_TICK:
        m->tick = arena_alloc(arena, sizeof(*m->tick));
        trireme__v1__log_tick__init(m->tick);
        break;
    case ENTRY_REAP:
        m->reap = arena_alloc(arena, sizeof(*m->reap));
        trireme__v1__log_reap__init(m->reap);
        m->reap->count = entry->reap.count;
        break;
    case ENTRY_BEGIN_ERA:
        m->begin_era = arena_alloc(arena, sizeof(*m->begin_era));
        trireme__v1__log_begin_era__init(m->begin_era);
        m->begin_era->floor = entry->era_floor;
        break;
    case ENTRY_RELEASE_ORPHANS:
        m->release_orphans = arena_alloc(arena, sizeof(*m->release_orphans));
        trireme__v1__log_release_orphans__init(m->release_orphans);
        break;
    case ENTRY_ADMIN_SERVER:
        m->admin_server = proto_admin_server(&entry->admin_server, arena);
        break;
    }
}

int command_encode(const struct command_entry *entry, struct arena *arena, struct buf *out,
                   struct err *e)
{
    Trireme__V1__LogEntry m = TRIREME__V1__LOG_ENTRY__INIT;
    m.cluster_ms = entry->cluster_ms;
    m.wall_ms = entry->wall_ms;
    if (entry->kind == ENTRY_MUTATE) {
        m.user = proto_string(entry->caller.user);
        m.n_groups = entry->caller.group_count;
        m.groups = (char **)entry->caller.groups;
        m.is_superuser = entry->caller.is_superuser;
    }
    proto_command(entry, arena, &m);
    size_t length = trireme__v1__log_entry__get_packed_size(&m);
    if (length > LOG_ENTRY_BYTES_MAX) {
        return err_set(e, ERR_TOO_LARGE, "a log entry of %zu bytes, at most %d", length,
                       LOG_ENTRY_BYTES_MAX);
    }
    buf_reserve(out, length);
    trireme__v1__log_entry__pack(&m, (uint8_t *)out->data + out->length);
    out->length += length;
    out->data[out->length] = 0;
    return 0;
}

/* ---- Entries from protobuf ------------------------------------------------------------------- */

/* Does the message, or one inside it, hold fields that this program does not know? */
/* NOLINTNEXTLINE(misc-no-recursion): messages nest at most three deep here */
static bool has_unknown(const ProtobufCMessage *m)
{
    bool found = m->n_unknown_fields > 0;
    for (unsigned i = 0; !found && i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &m->descriptor->fields[i];
        const uint8_t *at = (const uint8_t *)m + field->offset;
        const uint8_t *quantifier = (const uint8_t *)m + field->quantifier_offset;
        if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
            continue;
        }
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count = *(const size_t *)(const void *)quantifier;
            ProtobufCMessage *const *list = *(ProtobufCMessage *const *const *)(const void *)at;
            for (size_t j = 0; !found && j < count; j++) {
                found = has_unknown(list[j]);
            }
            continue;
        }
        bool chosen = !(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) ||
                      *(const uint32_t *)(const void *)quantifier == field->id;
        const ProtobufCMessage *inner = *(ProtobufCMessage *const *)(const void *)at;
        found = chosen && inner && has_unknown(inner);
    }
    return found;
}

static int register_server_of(const Trireme__V1__LogRegisterServer *m,
                              struct cmd_register_server *ret, struct err *e)
{
    if (m->member_key.len != sizeof(ret->key.bytes)) {
        return err_set(e, ERR_CORRUPT, "log entry: a member key of %zu bytes", m->member_key.len);
    }
    memcpy(ret->key.bytes, m->member_key.data, sizeof(ret->key.bytes));
    ret->host = m->host;
    ret->rack = m->rack;
    ret->address = m->address;
    ret->local_socket = m->local_socket;
    return 0;
}

static void expire_leases_of(const Trireme__V1__LogExpireLeases *m, struct arena *arena,
                             struct cmd_expire_leases *ret)
{
    struct lease_ref *leases = arena_alloc(arena, m->n_leases * sizeof(struct lease_ref));
    for (size_t i = 0; i < m->n_leases; i++) {
        leases[i] = (struct lease_ref){m->leases[i]->inode, m->leases[i]->epoch};
    }
    *ret = (struct cmd_expire_leases){leases, (uint32_t)m->n_leases};
}

static int command_of(const Trireme__V1__LogEntry *m, struct arena *arena,
                      struct command_entry *ret, struct err *e)
{
    switch (m->command_case) {
    case TRIREME__V1__LOG_ENTRY__COMMAND_NOOP:
        ret->kind = ENTRY_NOOP;
        return 0;
    case TRIREME__V1__LOG_ENTRY__COMMAND_FORMAT:
        ret->kind = ENTRY_FORMAT;
        ret->format = (struct cmd_format){m->format->cluster_id, m->format->superuser,
                                          m->format->default_replication};
        return 0;
    case TRIREME__V1__LOG_ENTRY__COMMAND_MUTATE:
        ret->kind = ENTRY_MUTATE;
        return mutate_of(m->mutate, arena, &ret->mutate, e);
    case TRIREME__V1__LOG_ENTRY__COMMAND_REGISTER_SERVER:
        ret->kind = ENTRY_REGISTER_SERVER;
        return register_server_of(m->register_server, &ret->register_server, e);
    case TRIREME__V1__LOG_ENTRY__COMMAND_SEAL_BEGIN:
        ret->kind = ENTRY_SEAL_BEGIN;
        ret->seal_begin = (struct cmd_seal_begin){m->seal_begin->chunk, m->seal_begin->new_version,
                                                  m->seal_begin->reason};
        return 0;
    case TRIREME__V1__LOG_ENTRY__COMMAND_SEAL_END:
        ret->kind = ENTRY_SEAL_END;
        ret->seal_end = (struct cmd_seal_end){chunk_ref_of(m->seal_end->chunk), m->seal_end->length,
                                              m->seal_end->drop};
        return 0;
    case TRIREME__V1__LOG_ENTRY__COMMAND_EXPIRE_LEASES:
        ret->kind = ENTRY_EXPIRE_LEASES;
        expire_leases_of(m->expire_leases, arena, &ret->expire_leases);
        return 0;
    case TRIREME__V1__LOG_ENTRY__COMMAND_TICK:
        ret->kind = ENTRY_TICK;
        return 0;
    case TRIREME__V1__LOG_ENTRY__COMMAND_REAP:
        ret->kind = ENTRY_REAP;
        ret->reap = (struct cmd_reap){m->reap->count};
        return 0;
    case TRIREME__V1__LOG_ENTRY__COMMAND_BEGIN_ERA:
        ret->kind = ENTRY_BEGIN_ERA;
        ret->era_floor = m->begin_era->floor;
        return 0;
    case TRIREME__V1__LOG_ENTRY__COMMAND_RELEASE_ORPHANS:
        ret->kind = ENTRY_RELEASE_ORPHANS;
        return 0;
    case TRIREME__V1__LOG_ENTRY__COMMAND_ADMIN_SERVER:
        ret->kind = ENTRY_ADMIN_SERVER;
        ret->admin_server =
            (struct cmd_admin_server){m->admin_server->server, (uint32_t)m->admin_server->state,
                                      m->admin_server->until_ms, m->admin_server->over};
        return 0;
    default:
        return err_set(e, ERR_VERSION, "log entry: an unknown command");
    }
}

int command_decode(struct span bytes, struct arena *arena, struct command_entry *ret, struct err *e)
{
    ProtobufCAllocator allocator = {arena_proto_alloc, arena_proto_free, arena};
    if (bytes.length > LOG_ENTRY_BYTES_MAX) {
        return err_set(e, ERR_CORRUPT, "log entry: %zu bytes", bytes.length);
    }
    Trireme__V1__LogEntry *m = trireme__v1__log_entry__unpack(&allocator, bytes.length, bytes.data);
    if (!m) {
        return err_set(e, ERR_CORRUPT, "log entry: cannot be decoded");
    }
    if (has_unknown(&m->base)) {
        return err_set(e, ERR_VERSION, "log entry: written by a newer program");
    }
    *ret = (struct command_entry){
        .cluster_ms = m->cluster_ms,
        .wall_ms = m->wall_ms,
        .caller = {.user = m->user,
                   .groups = (const char *const *)m->groups,
                   .group_count = (uint32_t)m->n_groups,
                   .is_superuser = m->is_superuser},
    };
    return command_of(m, arena, ret, e);
}

/* ---- Replies --------------------------------------------------------------------------------- */

static Trireme__V1__Server *proto_server(const struct server_record *server, struct arena *arena)
{
    MAKE(Server, m, arena) TRIREME__V1__SERVER__INIT;
    m->id = server->id;
    m->host = proto_string(server->host);
    m->rack = proto_string(server->rack);
    m->address = proto_string(server->address);
    m->local_socket = proto_string(server->local_socket);
    return m;
}

/* A text may have been cut within a character; peers refuse a string that is not UTF-8. */
static char *proto_text(const char *text, struct arena *arena)
{
    size_t length = strlen(text);
    if (utf8_valid(text, length)) {
        return proto_string(text);
    }
    char *clean = arena_strndup(arena, text, length);
    for (size_t i = 0; i < length; i++) {
        if ((uint8_t)clean[i] >= 0x80) {
            clean[i] = '?';
        }
    }
    return clean;
}

static Trireme__V1__OperationResult *proto_result(const struct op_result *result,
                                                  struct arena *arena)
{
    MAKE(OperationResult, m, arena) TRIREME__V1__OPERATION_RESULT__INIT;
    MAKE(Outcome, outcome, arena) TRIREME__V1__OUTCOME__INIT;
    outcome->error_name = proto_string(result->code ? err_name(result->code) : "");
    outcome->error_text = proto_text(result->text, arena);
    m->outcome = outcome;
    m->inode = result->inode;
    m->lease_epoch = result->lease_epoch;
    m->fence_epoch = result->fence_epoch;
    m->length = result->length;
    m->chunk = proto_chunk_ref(result->chunk, arena);
    m->open_chunk = proto_chunk_ref(result->open_chunk, arena);
    m->chunk_bytes = result->chunk_bytes;
    m->replication = result->replication;
    m->n_replicas = result->replica_count;
    m->replicas = arena_alloc(arena, result->replica_count * sizeof(*m->replicas));
    for (uint32_t i = 0; i < result->replica_count; i++) {
        m->replicas[i] = proto_server(&result->replicas[i], arena);
    }
    return m;
}

void command_to_reply(const struct apply_result *result, log_index applied, struct arena *arena,
                      ProtobufCMessage *reply)
{
    CHECK(reply->descriptor == &trireme__v1__mutate_reply__descriptor);
    Trireme__V1__MutateReply *m = (Trireme__V1__MutateReply *)reply;
    m->applied_index = applied;
    m->n_results = result->result_count;
    m->results = arena_alloc(arena, result->result_count * sizeof(*m->results));
    for (uint32_t i = 0; i < result->result_count; i++) {
        m->results[i] = proto_result(&result->results[i], arena);
    }
}
