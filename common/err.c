/* Error texts and their mapping to and from errno and names; see err.h for the rules. */
#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* The analyzer's view of them in err.h is for callers. */
#undef err_set
#undef err_errno
#undef err_wrap

struct err_row {
    int code;
    const char *name;
    const char *text;
};

static const struct err_row rows[] = {
#define ERR_ROW(name, value, text) {name, #name, text},
    ERR_TABLE(ERR_ROW)
#undef ERR_ROW
};

enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

static const struct err_row *row_of(int code)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (rows[i].code == code) {
            return &rows[i];
        }
    }
    return NULL;
}

/* Marks a message that did not fit, so that nobody takes the cut text for the whole. */
static void mark_cut(char *msg, int length)
{
    if (length >= ERR_MSG_BYTES_MAX) {
        memcpy(msg + ERR_MSG_BYTES_MAX - 4, "...", 4);
    }
}

int err_set(struct err *e, int code, const char *format, ...)
{
    if (!e) {
        return code;
    }
    va_list args;
    va_start(args, format);
    int length = vsnprintf(e->msg, sizeof(e->msg), format, args);
    va_end(args);
    e->code = code;
    mark_cut(e->msg, length);
    return code;
}

/* Makes e->msg "<prefix>: <suffix>". The suffix may be e->msg itself. */
static void join(struct err *e, const char *prefix, const char *suffix)
{
    char whole[2 * ERR_MSG_BYTES_MAX + 4];
    int length = snprintf(whole, sizeof(whole), "%s: %s", prefix, suffix);
    size_t keep = (size_t)length < sizeof(e->msg) ? (size_t)length : sizeof(e->msg) - 1;
    memcpy(e->msg, whole, keep);
    e->msg[keep] = '\0';
    mark_cut(e->msg, length);
}

int err_errno(struct err *e, const char *format, ...)
{
    int saved = errno;
    int code = err_from_errno(saved);
    if (!e) {
        return code;
    }
    char prefix[ERR_MSG_BYTES_MAX];
    char reason[128];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(prefix, sizeof(prefix), format, args);
    va_end(args);
    e->code = code;
    join(e, prefix, strerror_r(saved, reason, sizeof(reason)));
    errno = saved;
    return code;
}

int err_wrap(struct err *e, int code, const char *format, ...)
{
    if (!e) {
        return code;
    }
    char prefix[ERR_MSG_BYTES_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(prefix, sizeof(prefix), format, args);
    va_end(args);
    e->code = code;
    join(e, prefix, e->msg[0] ? e->msg : err_text(code));
    return code;
}

int err_from_errno(int errno_value)
{
    switch (errno_value) {
    case EINVAL:
    case ENAMETOOLONG:
        return ERR_INVALID;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case ENOTDIR:
        return ERR_NOT_DIR;
    case EISDIR:
        return ERR_IS_DIR;
    case ENOTEMPTY:
        return ERR_NOT_EMPTY;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_PERMISSION;
    case EAGAIN:
    case EBUSY:
    case EADDRINUSE:
        return ERR_BUSY;
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case EFBIG:
        return ERR_TOO_LARGE;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return ERR_UNAVAILABLE;
    default:
        return ERR_IO;
    }
}

const char *err_name(int code)
{
    if (code >= 0) {
        return "OK";
    }
    const struct err_row *row = row_of(code);
    return row ? row->name : "ERR_INTERNAL";
}

const char *err_text(int code)
{
    if (code >= 0) {
        return "success";
    }
    const struct err_row *row = row_of(code);
    return row ? row->text : "internal error";
}

int err_from_name(const char *name)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return rows[i].code;
        }
    }
    return strcmp(name, "OK") == 0 ? 0 : ERR_UNKNOWN;
}

const char *err_message(const struct err *e)
{
    return e->msg[0] ? e->msg : err_text(e->code);
}
