/* See raft_config.h. A configuration is kept sorted by id, so that equal memberships have equal
 * bytes; with at most RAFT_MEMBER_COUNT_MAX members every search is a loop. */
#include "common/raft/raft_config.h"

#include <inttypes.h>
#include <string.h>

enum { CONFIG_FORMAT = 1 };

raft_key raft_key_of(struct member_key directory)
{
    raft_key key = 0;
    for (size_t i = sizeof(key); i > 0; i--) {
        key = key << 8 | directory.bytes[i - 1];
    }
    return key;
}

/* ---- looking ---- */

const struct raft_member *raft_config_find(const struct raft_config *c, raft_key key)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->members[i].key == key) {
            return &c->members[i];
        }
    }
    return NULL;
}

const struct raft_member *raft_config_find_id(const struct raft_config *c, uint64_t id)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->members[i].id == id) {
            return &c->members[i];
        }
    }
    return NULL;
}

bool raft_config_is_voter(const struct raft_config *c, raft_key key)
{
    const struct raft_member *m = raft_config_find(c, key);
    return m != NULL && m->voter;
}

size_t raft_config_voter_count(const struct raft_config *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++) {
        count += c->members[i].voter;
    }
    return count;
}

size_t raft_config_quorum(const struct raft_config *c)
{
    return raft_config_voter_count(c) / 2 + 1;
}

static bool member_equal(const struct raft_member *a, const struct raft_member *b)
{
    return a->key == b->key && a->id == b->id && a->voter == b->voter &&
           memcmp(&a->directory, &b->directory, sizeof(a->directory)) == 0 &&
           strcmp(a->address, b->address) == 0;
}

bool raft_config_equal(const struct raft_config *a, const struct raft_config *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (!member_equal(&a->members[i], &b->members[i])) {
            return false;
        }
    }
    return true;
}

/* ---- changing ---- */

/* What may stand in a configuration, whoever wrote it. NULL, or what is wrong. */
static const char *member_wrong(const struct raft_member *m)
{
    size_t length = strnlen(m->address, sizeof(m->address));
    if (m->id == 0) {
        return "a member's id is 0";
    }
    if (m->key == 0 || m->key != raft_key_of(m->directory)) {
        return "a member's key is not that of a directory";
    }
    if (length == 0 || length == sizeof(m->address)) {
        return "a member has no address";
    }
    for (size_t i = 0; i < length; i++) {
        if (m->address[i] <= ' ' || m->address[i] > '~') {
            return "a member's address is not printable";
        }
    }
    return NULL;
}

static size_t position_of(const struct raft_config *c, raft_key key)
{
    size_t at = 0;
    while (at < c->count && c->members[at].key != key) {
        at++;
    }
    return at;
}

int raft_config_add_learner(struct raft_config *c, const struct raft_member *m, struct err *e)
{
    const char *wrong = member_wrong(m);
    if (wrong != NULL) {
        return err_set(e, ERR_INVALID, "%s", wrong);
    }
    if (raft_config_find_id(c, m->id) != NULL) {
        return err_set(e, ERR_EXISTS, "member %" PRIu64 " exists already", m->id);
    }
    if (raft_config_find(c, m->key) != NULL) {
        return err_set(e, ERR_EXISTS, "that directory is a member already");
    }
    if (c->count == RAFT_MEMBER_COUNT_MAX) {
        return err_set(e, ERR_NO_SPACE, "a cluster has at most %d members", RAFT_MEMBER_COUNT_MAX);
    }
    size_t at = c->count;
    for (; at > 0 && c->members[at - 1].id > m->id; at--) {
        c->members[at] = c->members[at - 1];
    }
    c->members[at] = *m;
    c->members[at].voter = false;
    c->count++;
    return 0;
}

int raft_config_promote(struct raft_config *c, raft_key key, struct err *e)
{
    size_t at = position_of(c, key);
    if (at == c->count) {
        return err_set(e, ERR_NOT_FOUND, "no such member");
    }
    if (c->members[at].voter) {
        return err_set(e, ERR_EXISTS, "member %" PRIu64 " votes already", c->members[at].id);
    }
    c->members[at].voter = true;
    return 0;
}

int raft_config_remove(struct raft_config *c, raft_key key, struct err *e)
{
    size_t at = position_of(c, key);
    if (at == c->count) {
        return err_set(e, ERR_NOT_FOUND, "no such member");
    }
    if (c->members[at].voter && raft_config_voter_count(c) == 1) {
        return err_set(e, ERR_INVALID, "member %" PRIu64 " is the last voter", c->members[at].id);
    }
    c->count--;
    for (; at < c->count; at++) {
        c->members[at] = c->members[at + 1];
    }
    memset(&c->members[c->count], 0, sizeof(c->members[0]));
    return 0;
}

/* ---- bytes: docs/formats-log.md ---- */

void raft_config_encode(const struct raft_config *c, struct buf *out)
{
    buf_append_byte(out, CONFIG_FORMAT);
    buf_append_byte(out, (uint8_t)c->count);
    for (size_t i = 0; i < c->count; i++) {
        const struct raft_member *m = &c->members[i];
        size_t length = strlen(m->address);
        buf_append_u64le(out, m->id);
        buf_append(out, m->directory.bytes, sizeof(m->directory.bytes));
        buf_append_byte(out, m->voter);
        buf_append_u16le(out, (uint16_t)length);
        buf_append(out, m->address, length);
    }
}

static int decode_member(struct cursor *in, struct raft_config *c, struct err *e)
{
    struct raft_member m = {.id = cursor_u64le(in)};
    struct span directory = cursor_bytes(in, sizeof(m.directory.bytes));
    uint8_t voter = cursor_u8(in);
    struct span address = cursor_bytes(in, cursor_u16le(in));
    if (in->failed || voter > 1 || address.length >= sizeof(m.address)) {
        return err_set(e, ERR_CORRUPT, "configuration: cut short, or a field out of range");
    }
    if (memchr(address.data, 0, address.length) != NULL) {
        return err_set(e, ERR_CORRUPT, "configuration: an address with a zero byte");
    }
    memcpy(m.directory.bytes, directory.data, directory.length);
    memcpy(m.address, address.data, address.length);
    m.key = raft_key_of(m.directory);
    if (c->count > 0 && c->members[c->count - 1].id >= m.id) {
        return err_set(e, ERR_CORRUPT, "configuration: members are not in the order of their ids");
    }
    int r = raft_config_add_learner(c, &m, e); /* with every rule for members */
    if (r < 0) {
        return err_wrap(e, ERR_CORRUPT, "configuration");
    }
    c->members[c->count - 1].voter = voter == 1;
    return 0;
}

int raft_config_decode(struct span data, struct raft_config *ret_config, struct err *e)
{
    struct raft_config c = {0};
    struct cursor in = cursor_of(data.data, data.length);
    uint8_t format = cursor_u8(&in);
    size_t count = cursor_u8(&in);
    if (in.failed || format != CONFIG_FORMAT || count > RAFT_MEMBER_COUNT_MAX) {
        return err_set(e, ERR_CORRUPT, "configuration: format %u, %zu members", format, count);
    }
    for (size_t i = 0; i < count; i++) {
        int r = decode_member(&in, &c, e);
        if (r < 0) {
            return r;
        }
    }
    if (cursor_finish(&in) < 0 || raft_config_voter_count(&c) == 0) {
        return err_set(e, ERR_CORRUPT, "configuration: trailing bytes, or nobody votes");
    }
    *ret_config = c;
    return 0;
}
