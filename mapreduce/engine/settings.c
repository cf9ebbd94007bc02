/* A sorted array: jobs have tens of settings, look-ups are rare and iteration must have an order.
 */
#include "mapreduce/engine/settings.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/limits.h"
#include "common/parse.h"

void settings_deinit(struct settings *s)
{
    if (!s) {
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        free(s->rows[i].name);
        free(s->rows[i].value);
    }
    free(s->rows);
    *s = (struct settings)SETTINGS_INIT;
}

/* The index of the first row whose name is not below `name`. */
static size_t lower_bound(const struct settings *s, const char *name)
{
    size_t low = 0;
    size_t high = s->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(s->rows[middle].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

int settings_set(struct settings *s, const char *name, const char *value, struct err *e)
{
    if (name[0] == '\0') {
        return err_set(e, ERR_INVALID, "a setting needs a name");
    }
    size_t at = lower_bound(s, name);
    bool known = at < s->count && strcmp(s->rows[at].name, name) == 0;
    size_t bytes = s->bytes + strlen(value);
    bytes = known ? bytes - strlen(s->rows[at].value) : bytes + strlen(name);
    if (bytes > MR_SETTINGS_BYTES_MAX) {
        return err_set(e, ERR_TOO_LARGE, "the job's settings exceed %d bytes with '%.64s'",
                       MR_SETTINGS_BYTES_MAX, name);
    }
    s->bytes = bytes;
    if (known) {
        char *copy = xstrdup(value); /* first: value may be the one that it replaces */
        free(s->rows[at].value);
        s->rows[at].value = copy;
        return 0;
    }
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 16;
        s->rows = xreallocarray(s->rows, s->capacity, sizeof(*s->rows));
    }
    memmove(&s->rows[at + 1], &s->rows[at], (s->count - at) * sizeof(*s->rows));
    s->rows[at] = (struct setting){xstrdup(name), xstrdup(value)};
    s->count++;
    return 0;
}

int settings_set_pair(struct settings *s, const char *pair, struct err *e)
{
    const char *equal = strchr(pair, '=');
    if (!equal) {
        return err_set(e, ERR_INVALID, "'%s' is not of the form name=value", pair);
    }
    char *name = xstrndup(pair, (size_t)(equal - pair));
    int r = settings_set(s, name, equal + 1, e);
    free(name);
    return r;
}

const char *settings_get(const struct settings *s, const char *name)
{
    size_t at = lower_bound(s, name);
    return at < s->count && strcmp(s->rows[at].name, name) == 0 ? s->rows[at].value : NULL;
}

int settings_get_u64(const struct settings *s, const char *name, uint64_t otherwise, uint64_t *ret,
                     struct err *e)
{
    const char *text = settings_get(s, name);
    uint64_t value = otherwise;
    int r = text ? parse_u64(text, &value, e) : 0;
    if (r < 0) {
        return err_wrap(e, r, "setting %s", name);
    }
    *ret = value;
    return 0;
}

int settings_get_size(const struct settings *s, const char *name, uint64_t otherwise, uint64_t *ret,
                      struct err *e)
{
    const char *text = settings_get(s, name);
    uint64_t value = otherwise;
    int r = text ? parse_size(text, &value, e) : 0;
    if (r < 0) {
        return err_wrap(e, r, "setting %s", name);
    }
    *ret = value;
    return 0;
}

int settings_get_bool(const struct settings *s, const char *name, bool otherwise, bool *ret,
                      struct err *e)
{
    const char *text = settings_get(s, name);
    bool value = otherwise;
    int r = text ? parse_bool(text, &value, e) : 0;
    if (r < 0) {
        return err_wrap(e, r, "setting %s", name);
    }
    *ret = value;
    return 0;
}
