#include "common/path.h"

#include <string.h>

#include "common/check.h"
#include "common/limits.h"
#include "common/parse.h"

static bool has_control(const char *name, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c < 0x20 || c == 0x7f) {
            return true;
        }
    }
    return false;
}

static bool is_dots(const char *name, size_t length)
{
    return (length == 1 && name[0] == '.') || (length == 2 && name[0] == '.' && name[1] == '.');
}

/* The name itself is not quoted where it could hold bytes that a terminal would act on. */
int path_check_name(const char *name, size_t length, struct err *e)
{
    if (length == 0) {
        return err_set(e, ERR_INVALID, "empty name in a path");
    }
    if (length > LIMIT_NAME_BYTES_MAX) {
        return err_set(e, ERR_TOO_LARGE, "a name in a path has %zu bytes, %d are allowed", length,
                       LIMIT_NAME_BYTES_MAX);
    }
    if (has_control(name, length)) {
        return err_set(e, ERR_INVALID, "control character in a path");
    }
    if (!utf8_valid(name, length)) {
        return err_set(e, ERR_INVALID, "a path is not valid UTF-8");
    }
    if (memchr(name, '/', length) != NULL) {
        return err_set(e, ERR_INVALID, "slash in a name");
    }
    if (is_dots(name, length)) {
        return err_set(e, ERR_INVALID, "\"%.*s\" is not a name", (int)length, name);
    }
    return 0;
}

static int check_size(size_t length, size_t depth, struct err *e)
{
    if (length > LIMIT_PATH_BYTES_MAX) {
        return err_set(e, ERR_TOO_LARGE, "a path has more than %d bytes", LIMIT_PATH_BYTES_MAX);
    }
    if (depth > LIMIT_DEPTH_MAX) {
        return err_set(e, ERR_TOO_LARGE, "a path has more than %d components", LIMIT_DEPTH_MAX);
    }
    return 0;
}

int path_check(const char *path, size_t length, struct err *e)
{
    if (length == 0 || path[0] != '/') {
        return err_set(e, ERR_INVALID, "a path does not begin with a slash");
    }
    int r = check_size(length, 0, e);
    size_t depth = 0;
    for (size_t at = 1; r == 0 && length > 1 && at <= length; depth++) {
        const char *slash = memchr(path + at, '/', length - at);
        size_t end = slash != NULL ? (size_t)(slash - path) : length;
        r = path_check_name(path + at, end - at, e);
        at = end + 1;
    }
    return r < 0 ? r : check_size(length, depth, e);
}

/* Appends "/name" for each component of typed, but none for empty ones and ".". */
static int append_components(const char *typed, struct buf *out, struct err *e)
{
    while (*typed != 0) {
        size_t length = strcspn(typed, "/");
        bool dropped = length == 0 || (length == 1 && typed[0] == '.');
        if (length == 2 && memcmp(typed, "..", 2) == 0) {
            return err_set(e, ERR_INVALID, "\"..\" is not supported in store paths");
        }
        if (!dropped) {
            int r = path_check_name(typed, length, e);
            if (r < 0) {
                return r;
            }
            buf_append_byte(out, '/');
            buf_append(out, typed, length);
        }
        typed += length + (typed[length] == '/');
    }
    return 0;
}

int path_normalize(const char *typed, const char *base, struct buf *out, struct err *e)
{
    struct buf path = BUF_INIT;
    int r = 0;
    if (typed[0] == 0) {
        r = err_set(e, ERR_INVALID, "empty path");
    } else if (strlen(typed) > 2 * (size_t)LIMIT_PATH_BYTES_MAX) {
        r = err_set(e, ERR_TOO_LARGE, "a path has more than %d bytes", LIMIT_PATH_BYTES_MAX);
    } else if (typed[0] != '/') {
        r = append_components(base, &path, e);
    }
    if (r == 0) {
        r = append_components(typed, &path, e);
    }
    if (r == 0) {
        if (path.length == 0) {
            buf_append_byte(&path, '/');
        }
        r = path_check(path.data, path.length, e);
    }
    if (r == 0) {
        buf_append(out, path.data, path.length);
    }
    buf_deinit(&path);
    return r;
}

static const char scheme[] = "hdfs://";

bool path_has_scheme(const char *typed)
{
    return strncmp(typed, scheme, sizeof(scheme) - 1) == 0;
}

const char *path_without_scheme(const char *typed)
{
    if (!path_has_scheme(typed)) {
        return typed;
    }
    const char *path = strchr(typed + sizeof(scheme) - 1, '/');
    return path ? path : "/";
}

bool path_next(const char **at, struct span *ret_name)
{
    const char *name = **at == '/' ? *at + 1 : *at;
    if (*name == 0) {
        return false;
    }
    size_t length = strcspn(name, "/");
    *ret_name = (struct span){name, length};
    *at = name + length;
    return true;
}

const char *path_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    CHECK(slash != NULL);
    return slash + 1;
}

int path_split(const char *path, struct buf *parent, const char **ret_name)
{
    const char *name = path_name(path);
    if (*name == 0) {
        return ERR_INVALID;
    }
    size_t parent_length = (size_t)(name - path) - 1;
    buf_append(parent, path, parent_length > 0 ? parent_length : 1);
    *ret_name = name;
    return 0;
}

bool path_is_under(const char *path, const char *ancestor)
{
    size_t length = strlen(ancestor);
    if (length == 1) {
        return true;
    }
    return strncmp(path, ancestor, length) == 0 && (path[length] == '/' || path[length] == 0);
}

size_t path_depth(const char *path)
{
    struct span name;
    size_t depth = 0;
    while (path_next(&path, &name)) {
        depth++;
    }
    return depth;
}
