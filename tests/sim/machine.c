/* See machine.h. */
#include "tests/sim/machine.h"

#include <string.h>

#include "common/check.h"
#include "common/crc32c.h"
#include "common/hash.h"

enum command { COMMAND_PUT = 1, COMMAND_TICK = 2 };

/* ---- digest: the exclusive or of one hash per part, so that a change costs two hashes ---- */

static uint64_t hash_register(const struct machine *m, uint32_t key)
{
    const struct machine_register *r = &m->registers[key];
    return hash_u64(hash_u64(r->version * 64 + key + 1) ^ r->op);
}

static uint64_t hash_session(const struct machine_session *s)
{
    uint64_t hash = hash_u64(s->id ^ hash_u64(s->acked_below ^ hash_u64(s->touched_ms)));
    for (size_t i = 0; i < MACHINE_WINDOW; i++) {
        hash = hash_u64(hash ^ s->replies[i].seq) ^ s->replies[i].version;
    }
    return s->id == 0 ? 0 : hash_u64(hash);
}

static uint64_t hash_rest(const struct machine *m)
{
    return hash_u64(m->cluster_ms ^ hash_u64(m->config_index ^ hash_u64(m->config_hash)));
}

uint64_t machine_digest(const struct machine *m)
{
    uint64_t digest = hash_rest(m);
    for (uint32_t i = 0; i < MACHINE_KEY_COUNT; i++) {
        digest ^= hash_register(m, i);
    }
    for (size_t i = 0; i < MACHINE_SESSION_COUNT; i++) {
        digest ^= hash_session(&m->sessions[i]);
    }
    return digest;
}

void machine_init(struct machine *m)
{
    memset(m, 0, sizeof(*m));
    m->digest = machine_digest(m);
}

/* ---- commands ---- */

void machine_encode_put(const struct machine_put *put, size_t filler_bytes, struct buf *out)
{
    buf_append_byte(out, COMMAND_PUT);
    buf_append_u64le(out, put->session);
    buf_append_u64le(out, put->seq);
    buf_append_u64le(out, put->acked_below);
    buf_append_u32le(out, put->op);
    buf_append_u32le(out, put->key);
    buf_append_fill(out, (uint8_t)put->op, filler_bytes);
}

void machine_encode_tick(uint64_t cluster_ms, struct buf *out)
{
    buf_append_byte(out, COMMAND_TICK);
    buf_append_u64le(out, cluster_ms);
}

bool machine_decode_put(struct span data, struct machine_put *ret_put)
{
    struct cursor c = cursor_of(data.data, data.length);
    if (cursor_u8(&c) != COMMAND_PUT) {
        return false;
    }
    ret_put->session = cursor_u64le(&c);
    ret_put->seq = cursor_u64le(&c);
    ret_put->acked_below = cursor_u64le(&c);
    ret_put->op = cursor_u32le(&c);
    ret_put->key = cursor_u32le(&c);
    return !c.failed && ret_put->key < MACHINE_KEY_COUNT && ret_put->session != 0;
}

static struct machine_session *find_session(struct machine *m, uint64_t id)
{
    for (size_t i = 0; i < MACHINE_SESSION_COUNT; i++) {
        if (m->sessions[i].id == id) {
            return &m->sessions[i];
        }
    }
    return NULL;
}

static struct machine_reply put_in_session(struct machine *m, struct machine_session *s,
                                           const struct machine_put *put)
{
    struct machine_window_slot *slot = &s->replies[put->seq % MACHINE_WINDOW];
    s->touched_ms = m->cluster_ms;
    for (size_t i = 0; i < MACHINE_WINDOW && put->acked_below > s->acked_below; i++) {
        if (s->replies[i].seq < put->acked_below) {
            s->replies[i] = (struct machine_window_slot){0};
        }
    }
    s->acked_below = put->acked_below > s->acked_below ? put->acked_below : s->acked_below;
    if (put->seq < s->acked_below) {
        return (struct machine_reply){.result = MACHINE_STALE};
    }
    if (put->seq >= s->acked_below + MACHINE_WINDOW) {
        return (struct machine_reply){.result = MACHINE_BUSY};
    }
    if (slot->seq == put->seq) {
        return (struct machine_reply){MACHINE_DONE, true, slot->version};
    }
    struct machine_register *target = &m->registers[put->key];
    m->digest ^= hash_register(m, put->key);
    target->version++;
    target->op = put->op;
    m->digest ^= hash_register(m, put->key);
    *slot = (struct machine_window_slot){put->seq, target->version};
    return (struct machine_reply){MACHINE_DONE, false, target->version};
}

static struct machine_reply apply_put(struct machine *m, const struct machine_put *put)
{
    struct machine_session *s = find_session(m, put->session);
    if (!s) {
        if (put->acked_below != 1) {
            return (struct machine_reply){.result = MACHINE_NO_SESSION};
        }
        s = find_session(m, 0);
        if (!s) {
            return (struct machine_reply){.result = MACHINE_BUSY};
        }
        s->id = put->session;
        s->acked_below = 1;
    } else {
        m->digest ^= hash_session(s);
    }
    struct machine_reply reply = put_in_session(m, s, put);
    m->digest ^= hash_session(s);
    return reply;
}

static void apply_tick(struct machine *m, uint64_t cluster_ms)
{
    m->cluster_ms = cluster_ms > m->cluster_ms ? cluster_ms : m->cluster_ms;
    for (size_t i = 0; i < MACHINE_SESSION_COUNT; i++) {
        struct machine_session *s = &m->sessions[i];
        if (s->id != 0 && m->cluster_ms > s->touched_ms + MACHINE_SESSION_LIFE) {
            m->digest ^= hash_session(s);
            memset(s, 0, sizeof(*s));
        }
    }
}

static void apply_config(struct machine *m, const struct log_entry *entry)
{
    CHECK(raft_config_decode(entry->data, &m->config, NULL) == 0);
    m->config_index = entry->index;
    m->config_hash = hash_bytes(entry->data.data, entry->data.length, 1);
}

struct machine_reply machine_apply(struct machine *m, const struct log_entry *entry)
{
    struct machine_reply reply = {0};
    struct machine_put put;
    CHECK(entry->index == m->applied + 1);
    if (entry->type == LOG_ENTRY_CONFIG) {
        m->digest ^= hash_rest(m);
        apply_config(m, entry);
        m->digest ^= hash_rest(m);
    } else if (entry->type == LOG_ENTRY_COMMAND && machine_decode_put(entry->data, &put)) {
        reply = apply_put(m, &put);
    } else if (entry->type == LOG_ENTRY_COMMAND) {
        struct cursor c = cursor_of(entry->data.data, entry->data.length);
        CHECK(cursor_u8(&c) == COMMAND_TICK);
        m->digest ^= hash_rest(m);
        apply_tick(m, cursor_u64le(&c));
        m->digest ^= hash_rest(m);
    }
    m->applied = entry->index;
    m->applied_term = entry->term;
    return reply;
}

/* ---- snapshots ---- */

void machine_encode(const struct machine *m, struct buf *out)
{
    size_t at = out->length;
    buf_append_u64le(out, m->applied);
    buf_append_u64le(out, m->applied_term);
    buf_append_u64le(out, m->cluster_ms);
    buf_append_u64le(out, m->config_index);
    buf_append(out, m->registers, sizeof(m->registers));
    for (size_t i = 0; i < MACHINE_SESSION_COUNT; i++) {
        if (m->sessions[i].id != 0) {
            buf_append_u64le(out, i + 1);
            buf_append(out, &m->sessions[i], sizeof(m->sessions[i]));
        }
    }
    buf_append_u64le(out, 0);
    if (m->config_index != 0) {
        raft_config_encode(&m->config, out);
    }
    buf_append_u32le(out, crc32c(out->data + at, out->length - at));
}

static bool take(struct cursor *c, void *to, size_t length)
{
    struct span bytes = cursor_bytes(c, length);
    if (!c->failed) {
        memcpy(to, bytes.data, length);
    }
    return !c->failed;
}

bool machine_decode(struct span bytes, struct machine *ret_machine)
{
    struct machine *m = ret_machine;
    if (bytes.length < 4) {
        return false;
    }
    struct cursor c = cursor_of(bytes.data, bytes.length - 4);
    struct cursor tail = cursor_of((const char *)bytes.data + bytes.length - 4, 4);
    if (cursor_u32le(&tail) != crc32c(bytes.data, bytes.length - 4)) {
        return false;
    }
    memset(m, 0, sizeof(*m));
    m->applied = cursor_u64le(&c);
    m->applied_term = cursor_u64le(&c);
    m->cluster_ms = cursor_u64le(&c);
    m->config_index = cursor_u64le(&c);
    bool good = take(&c, m->registers, sizeof(m->registers));
    for (uint64_t at = cursor_u64le(&c); at != 0 && good; at = cursor_u64le(&c)) {
        good =
            at <= MACHINE_SESSION_COUNT && take(&c, &m->sessions[at - 1], sizeof(m->sessions[0]));
    }
    if (good && m->config_index != 0) {
        struct span config = {c.at, c.left};
        good = raft_config_decode(config, &m->config, NULL) == 0;
        m->config_hash = hash_bytes(config.data, config.length, 1);
    }
    m->digest = machine_digest(m);
    return good;
}
