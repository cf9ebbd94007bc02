/* The log of a process: one line per event. Any thread.
 *
 *     2026-03-01T12:34:56.789Z info fsmaster: chunkserver joined server=7 host=a
 *
 *     log_info("fsmaster", "chunkserver joined server=%" PRIu64 " host=%s", id, host);
 *
 * Libraries do not log errors, they return them; the place that handles an error logs it, once. The
 * text says what happened, the values follow as key=value. Control characters in a line (a peer's
 * string may hold some) are escaped, so that an event is always one line; lines beyond
 * LOG_LINE_BYTES_MAX are cut with "...".
 *
 * Where stderr is systemd's journal, "<3>" to "<7>" stand before a line, as sd-daemon(3) says: the
 * journal takes the level from it, for `journalctl -p`, and does not show it. */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

enum { LOG_LINE_BYTES_MAX = 4096 };

/* Gets one whole line with its newline. Calls do not overlap. It must not log. */
typedef void (*log_sink_fn)(void *context, const char *line, size_t length);

/* Before threads start. sink NULL is stderr, one write() per line, or the journal behind it.
 * Without log_init(): warnings and errors to stderr. */
void log_init(enum log_level level, log_sink_fn sink, void *context);

/* "error", "warning", "info", "debug". ERR_INVALID for another name; e says which there are. */
int log_level_from_name(const char *name, enum log_level *ret_level, struct err *e) MUST_CHECK;
const char *log_level_name(enum log_level level);
void log_set_level(enum log_level level); /* any time, any thread */

/* Whether a line of this level goes out; to avoid costly arguments. */
bool log_enabled(enum log_level level);

/* The macros below are the way in. `module` is a short name without spaces. */
void log_event(enum log_level level, const char *module, const char *format, ...) ERR_PRINTF(3, 4);

#define LOG_AT(level, ...)                                                                         \
    do {                                                                                           \
        if (log_enabled(level)) {                                                                  \
            log_event(level, __VA_ARGS__);                                                         \
        }                                                                                          \
    } while (0)
#define log_error(...)   LOG_AT(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) LOG_AT(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    LOG_AT(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   LOG_AT(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
