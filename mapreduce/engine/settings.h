/* A job's settings: name=value pairs in the order of their names. One thread at a time. Owns its
 * strings; a later value for a name replaces the earlier one. */
#ifndef MAPREDUCE_ENGINE_SETTINGS_H
#define MAPREDUCE_ENGINE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct setting {
    char *name;
    char *value;
};

struct settings {
    struct setting *rows; /* sorted by name */
    size_t count;
    size_t capacity;
    size_t bytes; /* of all names and values */
};

#define SETTINGS_INIT                                                                              \
    {                                                                                              \
        NULL, 0, 0, 0                                                                              \
    }

void settings_deinit(struct settings *s); /* accepts NULL and zeroed */

/* ERR_INVALID: empty name. ERR_TOO_LARGE: all together beyond MR_SETTINGS_BYTES_MAX. */
int settings_set(struct settings *s, const char *name, const char *value, struct err *e) MUST_CHECK;

/* "name=value", as given to -D. */
int settings_set_pair(struct settings *s, const char *pair, struct err *e) MUST_CHECK;

/* NULL when not set. Valid until the next change. */
const char *settings_get(const struct settings *s, const char *name);

/* The value in its type, or `otherwise` when it is not set. ERR_INVALID names the setting. */
int settings_get_u64(const struct settings *s, const char *name, uint64_t otherwise, uint64_t *ret,
                     struct err *e) MUST_CHECK;
int settings_get_size(const struct settings *s, const char *name, uint64_t otherwise, uint64_t *ret,
                      struct err *e) MUST_CHECK;
int settings_get_bool(const struct settings *s, const char *name, bool otherwise, bool *ret,
                      struct err *e) MUST_CHECK;

#endif
