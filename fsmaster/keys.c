/* See keys.h. Values are written field by field through buf_append_*() and read through a cursor
 * that checks what is left, so that no bytes can be read beyond their end. A decoder also checks
 * the bounds that the rest of the code relies on (known kinds, counts that fit their arrays,
 * strings that fit theirs and hold no NUL). */
#include "fsmaster/keys.h"

#include <string.h>

#include "common/arena.h"
#include "common/check.h"

enum {
    ROW_FORMAT = 1,
    META_FORMAT_ERA = 2,     /* of ROW_META alone: the era stands at its end */
    INODE_FORMAT_MORE = 2,   /* of ROW_INODE alone: what most inodes have not stands at its end */
    SESSION_FORMAT_SEQ = 2,  /* of ROW_SESSION alone: the next seq stands at its end */
    SERVER_FORMAT_ADMIN = 2, /* of ROW_SERVER alone: what an operator said stands at its end */
};

/* ---- Keys ------------------------------------------------------------------------------------ */

static void key_add(struct row_key *key, const void *data, size_t length)
{
    CHECK(length <= sizeof(key->bytes) - key->length);
    if (length > 0) {
        memcpy(key->bytes + key->length, data, length);
    }
    key->length += length;
}

static void key_add_u64(struct row_key *key, uint64_t number)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    }
    key_add(key, bytes, sizeof(bytes));
}

struct row_key row_key_table(enum row_type type)
{
    struct row_key key;
    key.bytes[0] = (uint8_t)type;
    key.length = 1;
    return key;
}

struct row_key row_key_u64(enum row_type type, uint64_t number)
{
    struct row_key key = row_key_table(type);
    key_add_u64(&key, number);
    return key;
}

struct row_key row_key_u64_pair(enum row_type type, uint64_t first, uint64_t second)
{
    struct row_key key = row_key_u64(type, first);
    key_add_u64(&key, second);
    return key;
}

struct row_key row_key_dirent(inode_id parent, struct span name)
{
    struct row_key key = row_key_u64(ROW_DIRENT, parent);
    key_add(&key, name.data, name.length);
    return key;
}

struct row_key row_key_xattr(inode_id inode, struct span name)
{
    struct row_key key = row_key_u64(ROW_XATTR, inode);
    key_add(&key, name.data, name.length);
    return key;
}

struct row_key row_key_fence(struct span name)
{
    struct row_key key = row_key_table(ROW_FENCE);
    key_add(&key, name.data, name.length);
    return key;
}

struct row_key row_key_server_key(const struct member_key *member)
{
    struct row_key key = row_key_table(ROW_SERVER_KEY);
    key_add(&key, member->bytes, sizeof(member->bytes));
    return key;
}

static struct cursor key_cursor(struct span key, enum row_type type)
{
    struct cursor c = cursor_of(key.data, key.length);
    if (cursor_u8(&c) != (uint8_t)type) {
        c.failed = true;
    }
    return c;
}

int row_key_read_u64(struct span key, enum row_type type, uint64_t *ret_number)
{
    struct cursor c = key_cursor(key, type);
    uint64_t number = cursor_u64be(&c);
    int r = cursor_finish(&c);
    if (r == 0) {
        *ret_number = number;
    }
    return r;
}

int row_key_read_u64_pair(struct span key, enum row_type type, uint64_t *ret_first,
                          uint64_t *ret_second)
{
    struct cursor c = key_cursor(key, type);
    uint64_t first = cursor_u64be(&c);
    uint64_t second = cursor_u64be(&c);
    int r = cursor_finish(&c);
    if (r == 0) {
        *ret_first = first;
        *ret_second = second;
    }
    return r;
}

static int read_named(struct span key, enum row_type type, inode_id *ret_inode,
                      struct span *ret_name)
{
    struct cursor c = key_cursor(key, type);
    inode_id inode = cursor_u64be(&c);
    struct span name = cursor_bytes(&c, c.left);
    int r = cursor_finish(&c);
    if (r < 0 || name.length == 0 || name.length > LIMIT_NAME_BYTES_MAX) {
        return ERR_CORRUPT;
    }
    *ret_inode = inode;
    *ret_name = name;
    return 0;
}

int row_key_read_dirent(struct span key, inode_id *ret_parent, struct span *ret_name)
{
    return read_named(key, ROW_DIRENT, ret_parent, ret_name);
}

int row_key_read_xattr(struct span key, inode_id *ret_inode, struct span *ret_name)
{
    return read_named(key, ROW_XATTR, ret_inode, ret_name);
}

/* ---- Common parts of values ------------------------------------------------------------------ */

static void begin(struct buf *b)
{
    buf_clear(b);
    buf_append_byte(b, ROW_FORMAT);
}

static void put_string(struct buf *b, const char *string)
{
    size_t length = strlen(string);
    buf_append_varint(b, length);
    buf_append(b, string, length);
}

/* A value being read: the cursor, and whether its format is newer than ours. */
struct reader {
    struct cursor c;
    bool newer;
};

static struct reader reader_of(struct span value)
{
    struct reader r = {cursor_of(value.data, value.length), false};
    uint8_t format = cursor_u8(&r.c);
    r.newer = format > ROW_FORMAT;
    if (format != ROW_FORMAT) {
        r.c.failed = true;
    }
    return r;
}

static int reader_finish(const struct reader *r)
{
    return r->newer ? ERR_VERSION : cursor_finish(&r->c);
}

/* Borrowed from the value. */
static struct span take_string(struct reader *r, size_t bytes_max)
{
    uint64_t length = cursor_varint(&r->c);
    if (length > bytes_max) {
        r->c.failed = true;
        return (struct span){"", 0};
    }
    struct span s = cursor_bytes(&r->c, (size_t)length);
    if (r->c.failed || (s.length > 0 && memchr(s.data, 0, s.length))) {
        r->c.failed = true;
        return (struct span){"", 0};
    }
    return s;
}

/* Into an array of bytes_max + 1. */
static void take_chars(struct reader *r, char *to, size_t bytes_max)
{
    struct span s = take_string(r, bytes_max);
    if (s.length > 0) {
        memcpy(to, s.data, s.length);
    }
    to[s.length] = 0;
}

/* A number that must be within [low, high]. */
static uint8_t take_u8_in(struct reader *r, uint8_t low, uint8_t high)
{
    uint8_t value = cursor_u8(&r->c);
    if (value < low || value > high) {
        r->c.failed = true;
        return low;
    }
    return value;
}

static void put_servers(struct buf *b, const server_id *servers, uint32_t count)
{
    buf_append_varint(b, count);
    for (uint32_t i = 0; i < count; i++) {
        buf_append_u64le(b, servers[i]);
    }
}

static uint32_t take_servers(struct reader *r, server_id *servers)
{
    uint64_t count = cursor_varint(&r->c);
    if (count > CHUNK_REPLICAS_MAX) {
        r->c.failed = true;
        return 0;
    }
    for (uint64_t i = 0; i < count; i++) {
        servers[i] = cursor_u64le(&r->c);
    }
    return (uint32_t)count;
}

/* ---- Values ---------------------------------------------------------------------------------- */

void applied_encode(const struct log_position *applied, struct buf *ret_value)
{
    begin(ret_value);
    buf_append_u64le(ret_value, applied->index);
    buf_append_u64le(ret_value, applied->term);
}

int applied_decode(struct span value, struct log_position *ret)
{
    struct reader r = reader_of(value);
    ret->index = cursor_u64le(&r.c);
    ret->term = cursor_u64le(&r.c);
    return reader_finish(&r);
}

void members_encode(log_index index, struct span config, struct buf *ret_value)
{
    begin(ret_value);
    buf_append_u64le(ret_value, index);
    buf_append(ret_value, config.data, config.length);
}

int members_decode(struct span value, log_index *ret_index, struct span *ret_config)
{
    struct reader r = reader_of(value);
    *ret_index = cursor_u64le(&r.c);
    *ret_config = cursor_bytes(&r.c, r.c.left);
    return reader_finish(&r);
}

void meta_encode(const struct meta_row *meta, struct buf *ret_value)
{
    buf_clear(ret_value);
    buf_append_byte(ret_value, meta->era.floor ? META_FORMAT_ERA : ROW_FORMAT);
    put_string(ret_value, meta->cluster_id);
    put_string(ret_value, meta->superuser);
    buf_append_u32le(ret_value, meta->default_replication);
    buf_append_u64le(ret_value, meta->next_inode);
    buf_append_u64le(ret_value, meta->next_chunk);
    buf_append_u64le(ret_value, meta->next_server);
    buf_append_u64le(ret_value, meta->cluster_ms);
    buf_append_u64le(ret_value, meta->chunks);
    buf_append_u64le(ret_value, meta->leases);
    buf_append_u64le(ret_value, meta->sessions);
    buf_append_u64le(ret_value, meta->fences);
    buf_append_u64le(ret_value, meta->removal_queue);
    buf_append_u64le(ret_value, meta->rewant_queue);
    if (meta->era.floor) {
        buf_append_u64le(ret_value, meta->era.floor);
        buf_append_u64le(ret_value, meta->era.begun_ms);
        buf_append_u64le(ret_value, meta->era.wall_ms);
        buf_append_byte(ret_value, meta->era.keeps_orphans);
    }
}

static void take_era(struct reader *r, struct era *ret)
{
    ret->floor = cursor_u64le(&r->c);
    ret->begun_ms = cursor_u64le(&r->c);
    ret->wall_ms = cursor_u64le(&r->c);
    ret->keeps_orphans = take_u8_in(r, 0, 1);
    r->c.failed = r->c.failed || ret->floor == 0;
}

int meta_decode(struct span value, struct meta_row *ret)
{
    struct reader r = {cursor_of(value.data, value.length), false};
    uint8_t format = take_u8_in(&r, ROW_FORMAT, UINT8_MAX);
    r.newer = format > META_FORMAT_ERA;
    take_chars(&r, ret->cluster_id, LIMIT_NAME_BYTES_MAX);
    take_chars(&r, ret->superuser, LIMIT_HOST_BYTES_MAX);
    ret->default_replication = cursor_u32le(&r.c);
    ret->next_inode = cursor_u64le(&r.c);
    ret->next_chunk = cursor_u64le(&r.c);
    ret->next_server = cursor_u64le(&r.c);
    ret->cluster_ms = cursor_u64le(&r.c);
    ret->chunks = cursor_u64le(&r.c);
    ret->leases = cursor_u64le(&r.c);
    ret->sessions = cursor_u64le(&r.c);
    ret->fences = cursor_u64le(&r.c);
    ret->removal_queue = cursor_u64le(&r.c);
    ret->rewant_queue = cursor_u64le(&r.c);
    ret->era = (struct era){0};
    if (format == META_FORMAT_ERA) {
        take_era(&r, &ret->era);
    }
    return reader_finish(&r);
}

void dirent_encode(const struct dirent_row *dirent, struct buf *ret_value)
{
    begin(ret_value);
    buf_append_u64le(ret_value, dirent->inode);
    buf_append_byte(ret_value, (uint8_t)dirent->kind);
}

int dirent_decode(struct span value, struct dirent_row *ret)
{
    struct reader r = reader_of(value);
    ret->inode = cursor_u64le(&r.c);
    ret->kind = take_u8_in(&r, INODE_FILE, INODE_DIRECTORY);
    return reader_finish(&r);
}

/* Most inodes have none of what format 2 adds, and their rows the bytes that they always had. */
static bool inode_is_plain(const struct inode_row *inode)
{
    return !(inode->flags & INODE_LIMITED) && inode->reserved == 0 && inode->xattr_count == 0;
}

void inode_encode(const struct inode_row *inode, struct buf *ret_value)
{
    bool plain = inode_is_plain(inode);
    buf_clear(ret_value);
    buf_append_byte(ret_value, plain ? ROW_FORMAT : INODE_FORMAT_MORE);
    buf_append_byte(ret_value, (uint8_t)inode->kind);
    buf_append_byte(ret_value, inode->flags);
    buf_append_u32le(ret_value, inode->mode);
    put_string(ret_value, inode->owner);
    put_string(ret_value, inode->group);
    buf_append_u64le(ret_value, inode->mtime_ms);
    buf_append_u64le(ret_value, inode->parent);
    put_string(ret_value, inode->name);
    if (inode->kind == INODE_FILE) {
        buf_append_u32le(ret_value, inode->replication);
        buf_append_u64le(ret_value, inode->chunk_bytes);
        buf_append_u64le(ret_value, inode->length);
        buf_append_u64le(ret_value, inode->lease_epoch);
    } else {
        buf_append_u64le(ret_value, inode->child_count);
        buf_append_u64le(ret_value, inode->files);
        buf_append_u64le(ret_value, inode->directories);
        buf_append_u64le(ret_value, inode->bytes);
        buf_append_u64le(ret_value, inode->replica_bytes);
        buf_append_u32le(ret_value, inode->height);
    }
    if (!plain) {
        buf_append_u64le(ret_value, inode->names_quota);
        buf_append_u64le(ret_value, inode->space_quota);
        buf_append_u64le(ret_value, inode->reserved);
        buf_append_u32le(ret_value, inode->xattr_count);
    }
}

static bool quota_value_ok(uint64_t value)
{
    return value == QUOTA_NONE || value <= QUOTA_VALUE_MAX;
}

/* What format 2 adds. Only a directory has quotas, and a row that adds nothing is not ours. */
static void take_more(struct reader *r, struct inode_row *ret)
{
    ret->names_quota = cursor_u64le(&r->c);
    ret->space_quota = cursor_u64le(&r->c);
    ret->reserved = cursor_u64le(&r->c);
    ret->xattr_count = cursor_u32le(&r->c);
    bool limited = ret->names_quota != QUOTA_NONE || ret->space_quota != QUOTA_NONE;
    if (limited != ((ret->flags & INODE_LIMITED) != 0) || inode_is_plain(ret) ||
        (limited && ret->kind != INODE_DIRECTORY) || !quota_value_ok(ret->names_quota) ||
        !quota_value_ok(ret->space_quota) || ret->xattr_count > XATTR_COUNT_MAX) {
        r->c.failed = true;
    }
}

/* Clears the fields of the other kind, but not the tails of the strings: rows are copied often. */
int inode_decode(struct span value, struct inode_row *ret)
{
    struct reader r = {cursor_of(value.data, value.length), false};
    uint8_t format = take_u8_in(&r, ROW_FORMAT, UINT8_MAX);
    r.newer = format > INODE_FORMAT_MORE;
    bool plain = format == ROW_FORMAT;
    uint8_t flags_max = INODE_LEASED | INODE_UNNAMED | INODE_UNLINKED;
    flags_max |= plain ? 0 : INODE_LIMITED;
    ret->kind = take_u8_in(&r, INODE_FILE, INODE_DIRECTORY);
    ret->flags = take_u8_in(&r, 0, flags_max);
    ret->mode = cursor_u32le(&r.c);
    take_chars(&r, ret->owner, LIMIT_HOST_BYTES_MAX);
    take_chars(&r, ret->group, LIMIT_HOST_BYTES_MAX);
    ret->mtime_ms = cursor_u64le(&r.c);
    ret->parent = cursor_u64le(&r.c);
    take_chars(&r, ret->name, LIMIT_NAME_BYTES_MAX);
    bool file = ret->kind == INODE_FILE;
    ret->replication = file ? cursor_u32le(&r.c) : 0;
    ret->chunk_bytes = file ? cursor_u64le(&r.c) : 0;
    ret->length = file ? cursor_u64le(&r.c) : 0;
    ret->lease_epoch = file ? cursor_u64le(&r.c) : 0;
    ret->child_count = file ? 0 : cursor_u64le(&r.c);
    ret->files = file ? 0 : cursor_u64le(&r.c);
    ret->directories = file ? 0 : cursor_u64le(&r.c);
    ret->bytes = file ? 0 : cursor_u64le(&r.c);
    ret->replica_bytes = file ? 0 : cursor_u64le(&r.c);
    ret->height = file ? 0 : cursor_u32le(&r.c);
    ret->names_quota = QUOTA_NONE;
    ret->space_quota = QUOTA_NONE;
    ret->reserved = 0;
    ret->xattr_count = 0;
    if (!plain) {
        take_more(&r, ret);
    }
    return reader_finish(&r);
}

void extent_encode(const struct extent_row *extent, struct buf *ret_value)
{
    begin(ret_value);
    buf_append_u64le(ret_value, extent->chunk);
    buf_append_u64le(ret_value, extent->length);
}

int extent_decode(struct span value, struct extent_row *ret)
{
    struct reader r = reader_of(value);
    ret->chunk = cursor_u64le(&r.c);
    ret->length = cursor_u64le(&r.c);
    return reader_finish(&r);
}

void chunk_encode(const struct chunk_record *chunk, struct buf *ret_value)
{
    begin(ret_value);
    buf_append_u64le(ret_value, chunk->ref.version);
    buf_append_byte(ret_value, (uint8_t)chunk->state);
    buf_append_u64le(ret_value, chunk->length);
    buf_append_u64le(ret_value, chunk->bytes_max);
    buf_append_u32le(ret_value, chunk->references);
    buf_append_u32le(ret_value, chunk->wanted);
    buf_append_u64le(ret_value, chunk->inode);
    buf_append_u64le(ret_value, chunk->offset);
    if (chunk->state != CHUNK_SEALED) {
        buf_append_u64le(ret_value, chunk->open_version);
        put_servers(ret_value, chunk->servers, chunk->server_count);
    }
}

int chunk_decode(chunk_id id, struct span value, struct chunk_record *ret)
{
    struct reader r = reader_of(value);
    ret->ref.id = id;
    ret->ref.version = cursor_u64le(&r.c);
    ret->state = take_u8_in(&r, CHUNK_OPEN, CHUNK_SEALED);
    ret->length = cursor_u64le(&r.c);
    ret->bytes_max = cursor_u64le(&r.c);
    ret->references = cursor_u32le(&r.c);
    ret->wanted = cursor_u32le(&r.c);
    ret->inode = cursor_u64le(&r.c);
    ret->offset = cursor_u64le(&r.c);
    bool sealed = ret->state == CHUNK_SEALED;
    ret->open_version = sealed ? 0 : cursor_u64le(&r.c);
    ret->server_count = sealed ? 0 : take_servers(&r, ret->servers);
    return reader_finish(&r);
}

void lease_encode(const struct lease_row *lease, struct buf *ret_value)
{
    begin(ret_value);
    buf_append_u64le(ret_value, lease->lease.epoch);
    buf_append_u64le(ret_value, lease->lease.session);
    buf_append_u64le(ret_value, lease->lease.granted_ms);
    put_string(ret_value, lease->user);
}

int lease_decode(inode_id inode, struct span value, struct lease_row *ret)
{
    struct reader r = reader_of(value);
    ret->lease.inode = inode;
    ret->lease.epoch = cursor_u64le(&r.c);
    ret->lease.session = cursor_u64le(&r.c);
    ret->lease.granted_ms = cursor_u64le(&r.c);
    take_chars(&r, ret->user, LIMIT_HOST_BYTES_MAX);
    return reader_finish(&r);
}

void fence_encode(const struct fence_row *fence, struct buf *ret_value)
{
    begin(ret_value);
    buf_append_u64le(ret_value, fence->epoch);
    buf_append_u64le(ret_value, fence->raised_ms);
    put_string(ret_value, fence->owner);
}

int fence_decode(struct span value, struct fence_row *ret)
{
    struct reader r = reader_of(value);
    ret->epoch = cursor_u64le(&r.c);
    ret->raised_ms = cursor_u64le(&r.c);
    take_chars(&r, ret->owner, LIMIT_HOST_BYTES_MAX);
    return reader_finish(&r);
}

void session_encode(const struct session_row *session, struct buf *ret_value)
{
    bool old = session->next_seq == SESSION_SEQ_UNKNOWN;
    buf_clear(ret_value);
    buf_append_byte(ret_value, old ? ROW_FORMAT : SESSION_FORMAT_SEQ);
    buf_append_u64le(ret_value, session->acked_below);
    buf_append_u64le(ret_value, session->used_ms);
    buf_append_u64le(ret_value, session->due_ms);
    put_string(ret_value, session->user);
    if (!old) {
        buf_append_u64le(ret_value, session->next_seq);
    }
}

int session_decode(struct span value, struct session_row *ret)
{
    struct reader r = {cursor_of(value.data, value.length), false};
    uint8_t format = take_u8_in(&r, ROW_FORMAT, UINT8_MAX);
    r.newer = format > SESSION_FORMAT_SEQ;
    ret->acked_below = cursor_u64le(&r.c);
    ret->used_ms = cursor_u64le(&r.c);
    ret->due_ms = cursor_u64le(&r.c);
    take_chars(&r, ret->user, LIMIT_HOST_BYTES_MAX);
    ret->next_seq = SESSION_SEQ_UNKNOWN;
    if (format == SESSION_FORMAT_SEQ) {
        ret->next_seq = cursor_u64le(&r.c);
        r.c.failed = r.c.failed || ret->next_seq == SESSION_SEQ_UNKNOWN;
    }
    return reader_finish(&r);
}

/* The error stands by name, as everywhere outside a process (docs/formats.md). */
void reply_encode(const struct reply_row *reply, struct buf *ret_value)
{
    begin(ret_value);
    put_string(ret_value, reply->code == 0 ? "" : err_name(reply->code));
    buf_append_varint(ret_value, reply->inode);
    buf_append_varint(ret_value, reply->lease_epoch);
    buf_append_varint(ret_value, reply->fence_epoch);
    buf_append_varint(ret_value, reply->length);
    buf_append_varint(ret_value, reply->chunk.id);
    buf_append_varint(ret_value, reply->chunk.version);
    buf_append_varint(ret_value, reply->open_chunk.id);
    buf_append_varint(ret_value, reply->open_chunk.version);
    buf_append_varint(ret_value, reply->chunk_bytes);
    buf_append_u32le(ret_value, reply->replication);
    put_servers(ret_value, reply->servers, reply->server_count);
}

int reply_decode(struct span value, struct reply_row *ret)
{
    char name[64];
    struct reader r = reader_of(value);
    take_chars(&r, name, sizeof(name) - 1);
    ret->code = name[0] ? err_from_name(name) : 0;
    ret->inode = cursor_varint(&r.c);
    ret->lease_epoch = cursor_varint(&r.c);
    ret->fence_epoch = cursor_varint(&r.c);
    ret->length = cursor_varint(&r.c);
    ret->chunk.id = cursor_varint(&r.c);
    ret->chunk.version = cursor_varint(&r.c);
    ret->open_chunk.id = cursor_varint(&r.c);
    ret->open_chunk.version = cursor_varint(&r.c);
    ret->chunk_bytes = cursor_varint(&r.c);
    ret->replication = cursor_u32le(&r.c);
    ret->server_count = take_servers(&r, ret->servers);
    return reader_finish(&r);
}

/* A server in service has the bytes of format 1. */
void server_encode(const struct server_record *server, struct buf *ret_value)
{
    buf_clear(ret_value);
    buf_append_byte(ret_value, server->admin ? SERVER_FORMAT_ADMIN : ROW_FORMAT);
    buf_append(ret_value, server->key.bytes, sizeof(server->key.bytes));
    put_string(ret_value, server->host);
    put_string(ret_value, server->rack);
    put_string(ret_value, server->address);
    put_string(ret_value, server->local_socket);
    if (server->admin) {
        buf_append_byte(ret_value, (uint8_t)server->admin);
        buf_append_u64le(ret_value, server->until_ms);
    }
}

static const char *take_copy(struct reader *r, size_t bytes_max, struct arena *arena)
{
    struct span s = take_string(r, bytes_max);
    return arena_strndup(arena, s.data, s.length);
}

int server_decode(server_id id, struct span value, struct arena *arena, struct server_record *ret)
{
    struct reader r = {cursor_of(value.data, value.length), false};
    uint8_t format = take_u8_in(&r, ROW_FORMAT, UINT8_MAX);
    r.newer = format > SERVER_FORMAT_ADMIN;
    ret->id = id;
    struct span key = cursor_bytes(&r.c, sizeof(ret->key.bytes));
    if (!r.c.failed) {
        memcpy(ret->key.bytes, key.data, sizeof(ret->key.bytes));
    }
    ret->host = take_copy(&r, LIMIT_HOST_BYTES_MAX, arena);
    ret->rack = take_copy(&r, LIMIT_HOST_BYTES_MAX, arena);
    ret->address = take_copy(&r, LIMIT_ADDRESS_BYTES_MAX, arena);
    ret->local_socket = take_copy(&r, LIMIT_PATH_BYTES_MAX, arena);
    ret->admin = SERVER_IN_SERVICE;
    ret->until_ms = 0;
    if (format == SERVER_FORMAT_ADMIN) {
        ret->admin = (enum server_admin)take_u8_in(&r, 1, SERVER_ADMIN_COUNT - 1);
        ret->until_ms = cursor_u64le(&r.c);
    }
    return reader_finish(&r);
}

void number_encode(uint64_t number, struct buf *ret_value)
{
    begin(ret_value);
    buf_append_u64le(ret_value, number);
}

int number_decode(struct span value, uint64_t *ret)
{
    struct reader r = reader_of(value);
    uint64_t number = cursor_u64le(&r.c);
    int code = reader_finish(&r);
    if (code == 0) {
        *ret = number;
    }
    return code;
}

void xattr_encode(struct span bytes, struct buf *ret_value)
{
    begin(ret_value);
    buf_append(ret_value, bytes.data, bytes.length);
}

int xattr_decode(struct span value, struct span *ret)
{
    struct reader r = reader_of(value);
    *ret = cursor_bytes(&r.c, r.c.left);
    if (ret->length > XATTR_VALUE_BYTES_MAX) {
        r.c.failed = true;
    }
    return reader_finish(&r);
}

void mark_encode(struct buf *ret_value)
{
    begin(ret_value);
}
