/* A line is formatted on the caller's stack without any lock; the lock is held only while the sink
 * gets it. */
#include "common/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/macros.h"

static const char *const level_names[] = {"error", "warning", "info", "debug"};
static const char *const journal_prefixes[] = {"<3>", "<4>", "<6>", "<7>"}; /* syslog's numbers */

/* A line that stderr does not take is lost: there is nowhere to report it. */
static void write_to_stderr(void *context, const char *line, size_t length)
{
    (void)context;
    ssize_t written = write(STDERR_FILENO, line, length);
    (void)written;
}

/* systemd names the socket that it gave us as stderr; somebody may have put another file there. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat stat;
    char own[64];
    if (stream == NULL || fstat(STDERR_FILENO, &stat) < 0) {
        return false;
    }
    (void)snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)stat.st_dev, (uintmax_t)stat.st_ino);
    return strcmp(stream, own) == 0;
}

static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;
static log_sink_fn sink = write_to_stderr;
static void *sink_context;
static atomic_int threshold = LOG_LEVEL_WARNING;
static atomic_bool to_journal;

void log_init(enum log_level level, log_sink_fn new_sink, void *context)
{
    pthread_mutex_lock(&sink_lock);
    sink = new_sink != NULL ? new_sink : write_to_stderr;
    sink_context = context;
    atomic_store_explicit(&to_journal, new_sink == NULL && stderr_is_journal(),
                          memory_order_relaxed);
    pthread_mutex_unlock(&sink_lock);
    log_set_level(level);
}

int log_level_from_name(const char *name, enum log_level *ret_level, struct err *e)
{
    for (size_t i = 0; i < ARRAY_COUNT(level_names); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    }
    return err_set(e, ERR_INVALID, "log level \"%s\" is not error, warning, info or debug", name);
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&threshold, memory_order_relaxed);
}

/* Adds text to a line of at most LOG_LINE_BYTES_MAX bytes with its control characters as \n, \t or
 * \x1b, and marks what does not fit. One byte stays free for the newline. */
static size_t append_escaped(char *line, size_t length, const char *text)
{
    static const char cut[] = "...";
    size_t room = LOG_LINE_BYTES_MAX - 1 - strlen(cut);
    for (; *text != 0; text++) {
        unsigned char c = (unsigned char)*text;
        char piece[5] = {(char)c, 0};
        if (c == '\n' || c == '\t') {
            (void)snprintf(piece, sizeof(piece), "\\%c", c == '\n' ? 'n' : 't');
        } else if (c < 0x20 || c == 0x7f) {
            (void)snprintf(piece, sizeof(piece), "\\x%02x", c);
        }
        size_t piece_length = strlen(piece);
        if (length + piece_length > room) {
            memcpy(line + length, cut, strlen(cut));
            return length + strlen(cut);
        }
        memcpy(line + length, piece, piece_length);
        length += piece_length;
    }
    return length;
}

void log_event(enum log_level level, const char *module, const char *format, ...)
{
    if (!log_enabled(level)) {
        return;
    }
    char text[LOG_LINE_BYTES_MAX], line[LOG_LINE_BYTES_MAX], head[128], when[CLOCK_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    int printed = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (printed <
        0) { /* an argument that cannot be shown; the format itself still says what happened */
        (void)snprintf(text, sizeof(text), "%s", format);
    }
    bool prefixed = atomic_load_explicit(&to_journal, memory_order_relaxed);
    (void)snprintf(head, sizeof(head), "%s%s %s %s: ", prefixed ? journal_prefixes[level] : "",
                   clock_format_utc(clock_wall_ms(), when), level_names[level], module);
    size_t length = append_escaped(line, 0, head);
    length = append_escaped(line, length, text);
    line[length++] = '\n';

    pthread_mutex_lock(&sink_lock);
    sink(sink_context, line, length);
    pthread_mutex_unlock(&sink_lock);
}
