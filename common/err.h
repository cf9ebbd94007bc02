/* Errors: one enum for the whole system, and a small struct that carries the text for the human who
 * must act.
 *
 * Three shapes of function (CONVENTIONS 1.5): cannot fail -> void or a value; look-up -> pointer or
 * NULL; can fail -> int, 0 (or a count) or a negative ERR_* value. Where a human needs detail, the
 * last parameter is `struct err *e`: set once where the failure happens, prefixed on the way up.
 * Every function accepts e == NULL and then only returns the code.
 *
 *     if (fd < 0) return err_errno(e, "open %s", path);
 *     if (r < 0)  return err_wrap(e, r, "load chunk %" PRIu64, id);
 *                 -> "load chunk 7: open /a/b: No such file or directory"
 *
 * Every error is definite (nothing happened) except ERR_UNKNOWN: the operation may or may not have
 * happened. */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include <stdbool.h>

/* name, value, text. Values are stable: they stand in logs and on the wire by NAME, never by
 * number. */
#define ERR_TABLE(X)                                                                               \
    X(ERR_INVALID, -1, "invalid argument")                                                         \
    X(ERR_NOT_FOUND, -2, "no such file or directory")                                              \
    X(ERR_EXISTS, -3, "already exists")                                                            \
    X(ERR_NOT_DIR, -4, "not a directory")                                                          \
    X(ERR_IS_DIR, -5, "is a directory")                                                            \
    X(ERR_NOT_EMPTY, -6, "directory not empty")                                                    \
    X(ERR_CYCLE, -7, "a directory cannot be moved into itself")                                    \
    X(ERR_PERMISSION, -8, "permission denied")                                                     \
    X(ERR_BUSY, -9, "busy, try again")                                                             \
    X(ERR_NO_SPACE, -10, "no space left")                                                          \
    X(ERR_IO, -11, "input/output error")                                                           \
    X(ERR_CORRUPT, -12, "corrupt data")                                                            \
    X(ERR_TOO_LARGE, -13, "too large")                                                             \
    X(ERR_TIMEOUT, -14, "timed out")                                                               \
    X(ERR_UNAVAILABLE, -15, "unavailable")                                                         \
    X(ERR_UNKNOWN, -16, "outcome unknown")                                                         \
    X(ERR_CANCELLED, -17, "cancelled")                                                             \
    X(ERR_NOT_LEADER, -18, "not the leader")                                                       \
    X(ERR_LEASE, -19, "the file is being written by another client")                               \
    X(ERR_STALE, -20, "stale version, epoch or session")                                           \
    X(ERR_FENCED, -21, "fenced: a newer owner has taken over")                                     \
    X(ERR_PRECONDITION, -22, "precondition failed")                                                \
    X(ERR_NO_REPLICA, -23, "no replica can be read")                                               \
    X(ERR_FEW_SERVERS, -24, "too few live chunkservers")                                           \
    X(ERR_VERSION, -25, "incompatible version")                                                    \
    X(ERR_WRONG_CLUSTER, -26, "belongs to another cluster")                                        \
    X(ERR_UNCLEAN, -27, "replica was not shut down cleanly")                                       \
    X(ERR_SEALED, -28, "chunk is sealed")                                                          \
    X(ERR_UNSUPPORTED, -29, "not supported")                                                       \
    X(ERR_TASK, -30, "task failed")                                                                \
    X(ERR_JOB, -31, "job failed")                                                                  \
    X(ERR_INTERNAL, -32, "internal error")                                                         \
    X(ERR_RESOLVE, -33, "cannot resolve address")                                                  \
    X(ERR_EOF, -34, "unexpected end of data")                                                      \
    X(ERR_QUOTA, -35, "quota exceeded")                                                            \
    X(ERR_NO_XATTR, -36, "no such extended attribute")

enum err_code {
#define ERR_ENUM(name, value, text) name = (value),
    ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
};

enum { ERR_MSG_BYTES_MAX = 512 };

struct err {
    int code;                    /* ERR_* or 0 */
    char msg[ERR_MSG_BYTES_MAX]; /* for a human; "" only while code is 0; cut with "..." */
};

#define ERR_INIT                                                                                   \
    {                                                                                              \
        0                                                                                          \
    }
#define ERR_PRINTF(a, b) __attribute__((format(printf, a, b)))
#define MUST_CHECK       __attribute__((warn_unused_result))

/* Sets e to code and text. Returns code. */
int err_set(struct err *e, int code, const char *format, ...) ERR_PRINTF(3, 4);

/* Sets e from errno: "<text>: <strerror>". Returns the ERR_* that errno maps to. */
int err_errno(struct err *e, const char *format, ...) ERR_PRINTF(2, 3);

/* Prefixes e's text with "<text>: ". If e has no text yet, uses the text of code. Returns code. */
int err_wrap(struct err *e, int code, const char *format, ...) ERR_PRINTF(3, 4);

#ifdef __clang_analyzer__
/* For clang-tidy, which does not see into err.c: what these return is never success. */
static inline int err_failure(int code)
{
    if (code >= 0) {
        __builtin_unreachable();
    }
    return code;
}
#define err_set(...)   err_failure((err_set)(__VA_ARGS__))
#define err_errno(...) err_failure((err_errno)(__VA_ARGS__))
#define err_wrap(...)  err_failure((err_wrap)(__VA_ARGS__))
#endif

/* ERR_* for an errno value; ERR_IO for those without a better name. */
int err_from_errno(int errno_value);

/* "ERR_NOT_FOUND" for the wire and logs; "OK" for 0; "ERR_INTERNAL" for a number that is none of
 * ours. Static memory. */
const char *err_name(int code);

/* "no such file or directory". Static memory. */
const char *err_text(int code);

/* The code for a name from a peer; ERR_UNKNOWN when it is none of ours (a newer peer). */
int err_from_name(const char *name);

/* e->msg if it has text, else err_text(e->code). */
const char *err_message(const struct err *e);

#endif
