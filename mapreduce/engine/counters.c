/* Framework counters in an array, the user's in a map; see counters.h. */
#include "mapreduce/engine/counters.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/parse.h"

struct counter_user {
    int64_t value;
    char *key; /* "group TAB name" */
};

struct fixed_row {
    const char *group;
    const char *name;
};

static const struct fixed_row fixed_rows[] = {
#define COUNTER_ROW(id, group, name) {group, name},
    COUNTER_TABLE(COUNTER_ROW)
#undef COUNTER_ROW
};

void counters_init(struct counters *c)
{
    *c = (struct counters){.by_name = MAP_INIT};
}

void counters_deinit(struct counters *c)
{
    if (!c) {
        return;
    }
    for (size_t i = 0; i < c->user_count; i++) {
        free(c->users[i]->key);
        free(c->users[i]);
    }
    free(c->users);
    map_deinit(&c->by_name);
    counters_init(c);
}

void counters_clear(struct counters *c)
{
    counters_deinit(c);
}

static void append_name(struct buf *out, struct span name)
{
    const char *at = name.data;
    for (size_t i = 0; i < name.length && i < MR_COUNTER_NAME_BYTES_MAX; i++) {
        bool divides = at[i] == '\t' || at[i] == '\n' || at[i] == '\0';
        buf_append_byte(out, divides ? ' ' : (uint8_t)at[i]);
    }
}

static bool span_is(struct span s, const char *string)
{
    return s.length == strlen(string) && memcmp(s.data, string, s.length) == 0;
}

/* Which of ours has that name; COUNTER_COUNT: none. */
static size_t fixed_find(struct span group, struct span name)
{
    size_t i = 0;
    while (i < COUNTER_COUNT &&
           !(span_is(name, fixed_rows[i].name) && span_is(group, fixed_rows[i].group))) {
        i++;
    }
    return i;
}

bool counters_is_fixed(struct span group, struct span name)
{
    return fixed_find(group, name) < COUNTER_COUNT;
}

static struct counter_user *user_add(struct counters *c, const struct buf *key)
{
    if (c->user_count == MR_COUNTERS_MAX) {
        return NULL;
    }
    struct counter_user *user = xcalloc(1, sizeof(*user));
    user->key = xstrndup(key->data, key->length);
    c->users = xreallocarray(c->users, c->user_count + 1, sizeof(struct counter_user *));
    c->users[c->user_count++] = user;
    map_put_bytes(&c->by_name, user->key, key->length, user);
    return user;
}

void counters_add_named(struct counters *c, struct span group, struct span name, int64_t amount)
{
    size_t fixed = fixed_find(group, name);
    if (fixed < COUNTER_COUNT) { /* a program may send any number, so the sum may wrap */
        c->fixed[fixed] = (int64_t)((uint64_t)c->fixed[fixed] + (uint64_t)amount);
        return;
    }
    struct buf key = BUF_INIT;
    append_name(&key, group);
    buf_append_byte(&key, '\t');
    append_name(&key, name);
    struct counter_user *user = map_get_bytes(&c->by_name, key.data, key.length);
    user = user ? user : user_add(c, &key);
    if (user) {
        user->value = (int64_t)((uint64_t)user->value + (uint64_t)amount);
    }
    buf_deinit(&key);
}

struct merge_arg {
    struct counters *into;
};

static void merge_one(void *arg, const char *group, const char *name, int64_t value)
{
    struct merge_arg *merge = arg;
    counters_add_named(merge->into, (struct span){group, strlen(group)},
                       (struct span){name, strlen(name)}, value);
}

void counters_merge(struct counters *into, const struct counters *from)
{
    struct merge_arg merge = {into};
    counters_visit(from, merge_one, &merge);
}

int64_t counters_get(const struct counters *c, const char *group, const char *name)
{
    for (size_t i = 0; i < COUNTER_COUNT; i++) {
        if (strcmp(name, fixed_rows[i].name) == 0 && strcmp(group, fixed_rows[i].group) == 0) {
            return c->fixed[i];
        }
    }
    struct buf key = BUF_INIT;
    buf_printf(&key, "%s\t%s", group, name);
    struct counter_user *user = map_get_bytes(&c->by_name, key.data, key.length);
    buf_deinit(&key);
    return user ? user->value : 0;
}

void counters_visit(const struct counters *c, counters_visit_fn visit, void *arg)
{
    for (size_t i = 0; i < COUNTER_COUNT; i++) {
        if (c->fixed[i] != 0) {
            visit(arg, fixed_rows[i].group, fixed_rows[i].name, c->fixed[i]);
        }
    }
    for (size_t i = 0; i < c->user_count; i++) {
        char *group = xstrdup(c->users[i]->key);
        char *tab = strchr(group, '\t');
        *tab = '\0';
        visit(arg, group, tab + 1, c->users[i]->value);
        free(group);
    }
}

static void encode_one(void *arg, const char *group, const char *name, int64_t value)
{
    buf_printf(arg, "%s\t%s\t%" PRId64 "\n", group, name, value);
}

void counters_encode(const struct counters *c, struct buf *out)
{
    counters_visit(c, encode_one, out);
}

static int decode_line(struct counters *c, const char *line, size_t length)
{
    const char *first = memchr(line, '\t', length);
    const char *second =
        first ? memchr(first + 1, '\t', length - (size_t)(first + 1 - line)) : NULL;
    if (!second || length - (size_t)(second + 1 - line) > 20) {
        return ERR_CORRUPT;
    }
    char number[21] = {0};
    memcpy(number, second + 1, length - (size_t)(second + 1 - line));
    int64_t value = 0;
    if (parse_i64(number, &value, NULL) < 0) {
        return ERR_CORRUPT;
    }
    counters_add_named(c, (struct span){line, (size_t)(first - line)},
                       (struct span){first + 1, (size_t)(second - first - 1)}, value);
    return 0;
}

int counters_decode(struct counters *c, const void *data, size_t length)
{
    const char *at = data;
    const char *end = at + length;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline || decode_line(c, at, (size_t)(newline - at)) < 0) {
            return ERR_CORRUPT;
        }
        at = newline + 1;
    }
    return 0;
}
