/* Three pipes and poll(): whoever calls here moves bytes until its own are taken, reading whatever
 * the program prints meanwhile. Our ends never block. SIGPIPE stays blocked in this thread for the
 * program's life, so that a program that stops reading is an EPIPE and nothing else of the process
 * is changed. See stream.h. */
#include "mapreduce/engine/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/parse.h"
#include "common/sys.h"
#include "mapreduce/engine/command.h"
#include "mapreduce/engine/report.h"

enum {
    PIPE_BYTES = 1024 * 1024, /* asked of the kernel; fewer turns of the two processes */
    READ_BYTES = 256 * 1024,
    GATHER_BYTES = 128 * 1024, /* records become one write() */
};

/* Bytes from one of the program's pipes on their way to become lines. */
struct lines {
    int fd;     /* -1: ended */
    char *data; /* [0, length) is the beginning of a line */
    size_t length;
    size_t capacity;
    size_t line_max; /* longer ones: see each use */
};

struct stream {
    struct stream_options options;
    pid_t pid; /* 0: it has been waited for */
    int input; /* its stdin; -1: closed by us or by it */
    bool deaf; /* closed by it */
    struct lines output;
    struct lines errors;
    struct buf gather; /* records for stdin */
    sigset_t old_mask; /* of this thread's signals */
    bool blocked;      /* SIGPIPE, by us */
};

/* ---- Start ---- */

static void block_sigpipe(struct stream *s)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGPIPE);
    s->blocked = pthread_sigmask(SIG_BLOCK, &set, &s->old_mask) == 0;
}

static void restore_sigpipe(struct stream *s)
{
    if (!s->blocked) {
        return;
    }
    if (!sigismember(&s->old_mask, SIGPIPE)) { /* take ours before it can be delivered */
        sigset_t set;
        struct timespec now = {0, 0};
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGPIPE);
        (void)sigtimedwait(&set, NULL, &now);
    }
    (void)pthread_sigmask(SIG_SETMASK, &s->old_mask, NULL);
    s->blocked = false;
}

/* Why it could not be started, and what to do about it. */
static const char *start_hint(int code)
{
    switch (code) {
    case ENOENT:
        return "no such program on this machine; send it along with --file PATH, or install it";
    case EACCES:
        return "it may not be executed; chmod +x it before it is sent";
    case ENOEXEC:
        return "it is no program; a script's first line is #!INTERPRETER";
    default:
        return strerror(code);
    }
}

static int spawn(struct stream *s, const struct child_command *command, const int ends[3],
                 struct err *e)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t pipe_only;
    const char *directory = s->options.identity->work_directory;
    (void)sigemptyset(&none);
    (void)sigemptyset(&pipe_only);
    (void)sigaddset(&pipe_only, SIGPIPE);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attributes);
    int r = 0;
    for (int fd = 0; fd < 3 && r == 0; fd++) {
        r = posix_spawn_file_actions_adddup2(&actions, ends[fd], fd);
    }
    if (r == 0 && directory) {
        r = posix_spawn_file_actions_addchdir_np(&actions, directory);
    }
    r = r ? r : posix_spawnattr_setsigmask(&attributes, &none);
    r = r ? r : posix_spawnattr_setsigdefault(&attributes, &pipe_only);
    r = r ? r
          : posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    r = r ? r
          : posix_spawnp(&s->pid, command->argv[0], &actions, &attributes, command->argv,
                         command->envp);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    if (r != 0) {
        s->pid = 0;
        return err_set(e, ERR_TASK, "cannot start '%.120s': %s", s->options.command, start_hint(r));
    }
    return 0;
}

/* The program under a limit of its address space, which must hold from its first instruction: a
 * shell sets it and becomes the program. */
static int spawn_limited(struct stream *s, const struct child_command *command, const int ends[3],
                         struct err *e)
{
    enum { SHELL_WORDS = 3 };
    uint64_t most = s->options.job->program_bytes;
    if (most == 0) {
        return spawn(s, command, ends, e);
    }
    size_t words = 0;
    while (command->argv[words]) {
        words++;
    }
    struct child_command limited = {xcalloc(SHELL_WORDS + words + 1, sizeof(char *)),
                                    command->envp};
    limited.argv[0] = xstrdup("/bin/sh");
    limited.argv[1] = xstrdup("-c");
    limited.argv[2] = xprintf("ulimit -v %" PRIu64 " && exec \"$0\" \"$@\"", most / 1024);
    memcpy(limited.argv + SHELL_WORDS, command->argv, words * sizeof(char *));
    int r = spawn(s, &limited, ends, e);
    for (int i = 0; i < SHELL_WORDS; i++) {
        free(limited.argv[i]);
    }
    free(limited.argv);
    return r;
}

/* A pipe whose `ours` end does not block. */
static int make_pipe(int ends[2], int ours, struct err *e)
{
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return err_errno(e, "pipe");
    }
    (void)fcntl(ends[ours], F_SETPIPE_SZ, PIPE_BYTES); /* a wish */
    if (fcntl(ends[ours], F_SETFL, O_NONBLOCK) < 0) {
        return err_errno(e, "pipe");
    }
    return 0;
}

static int start(struct stream *s, struct err *e)
{
    struct command_options wanted = {s->options.command,     s->options.job,
                                     s->options.identity,    s->options.splits,
                                     s->options.split_count, s->options.is_map};
    struct child_command command = {NULL, NULL};
    int in[2] = {-1, -1};
    int out[2] = {-1, -1};
    int err[2] = {-1, -1};
    int r = child_command_init(&command, &wanted, e);
    r = r < 0 ? r : make_pipe(in, 1, e);
    r = r < 0 ? r : make_pipe(out, 0, e);
    r = r < 0 ? r : make_pipe(err, 0, e);
    if (r == 0) {
        int theirs[3] = {in[0], out[1], err[1]};
        r = spawn_limited(s, &command, theirs, e);
    }
    s->input = in[1];
    s->output.fd = out[0];
    s->errors.fd = err[0];
    sys_close(&in[0]);
    sys_close(&out[1]);
    sys_close(&err[1]);
    child_command_deinit(&command);
    return r;
}

int stream_start(const struct stream_options *options, struct stream **ret_stream, struct err *e)
{
    struct stream *s = xcalloc(1, sizeof(*s));
    s->options = *options;
    s->input = s->output.fd = s->errors.fd = -1;
    s->output.line_max = MR_RECORD_BYTES_MAX;
    s->errors.line_max = MR_STDERR_LINE_BYTES_MAX;
    buf_init(&s->gather);
    block_sigpipe(s);
    int r = start(s, e);
    if (r < 0) {
        stream_free(s);
        return r;
    }
    *ret_stream = s;
    return 0;
}

/* ---- What it prints ---- */

static void keep_tail(struct buf *tail, const char *line, size_t length)
{
    enum { HELD_BYTES_MAX = 2 * MR_STDERR_TAIL_BYTES }; /* so that few lines cost a move */
    buf_append(tail, line, length);
    buf_append_byte(tail, '\n');
    if (tail->length > HELD_BYTES_MAX) {
        size_t drop = tail->length - MR_STDERR_TAIL_BYTES;
        const char *newline = memchr(tail->data + drop, '\n', tail->length - drop);
        drop = newline ? (size_t)(newline + 1 - tail->data) : drop;
        memmove(tail->data, tail->data + drop, tail->length - drop + 1);
        tail->length -= drop;
    }
}

static void take_error_line(struct stream *s, const char *line, size_t length)
{
    const struct task_events *events = s->options.events;
    struct report report =
        report_parse((struct span){line, length}, s->options.job->reporter_prefix);
    if (report.kind == REPORT_COUNTER) {
        counters_add_named(s->options.counters, report.group, report.name, report.amount);
    } else if (report.kind == REPORT_STATUS) {
        if (events && events->status) {
            char *text =
                xstrndup(report.text.data, MIN(report.text.length, (size_t)MR_STATUS_BYTES_MAX));
            events->status(events->arg, text);
            free(text);
        }
    } else {
        keep_tail(s->options.stderr_tail, line, length);
        if (events && events->stderr_line) {
            events->stderr_line(events->arg, line, length);
        }
    }
}

static void take_line(struct stream *s, struct lines *from, const char *line, size_t length)
{
    if (from == &s->output) {
        s->options.line(s->options.arg, mr_bytes(line, length));
    } else {
        take_error_line(s, line, length);
    }
}

/* Hands on the whole lines in the buffer; `scanned` bytes are known to have no newline. */
static void take_lines(struct stream *s, struct lines *from, size_t scanned)
{
    size_t begin = 0;
    for (;;) {
        size_t look = MAX(begin, scanned);
        char *newline = memchr(from->data + look, '\n', from->length - look);
        if (!newline) {
            break;
        }
        size_t end = (size_t)(newline - from->data);
        take_line(s, from, from->data + begin, end - begin);
        begin = end + 1;
    }
    if (begin > 0) {
        memmove(from->data, from->data + begin, from->length - begin);
        from->length -= begin;
    }
}

static int make_room(struct stream *s, struct lines *from, struct err *e)
{
    if (from->length > from->line_max) {
        if (from == &s->output) {
            return err_set(e, ERR_TOO_LARGE, "'%s' printed a line of more than %zu bytes",
                           s->options.command, from->line_max);
        }
        take_error_line(s, from->data, from->length); /* in pieces: it is only for people */
        from->length = 0;
    }
    if (from->capacity - from->length < READ_BYTES / 2) {
        from->capacity = MAX(2 * from->capacity, (size_t)READ_BYTES);
        from->data = xrealloc(from->data, from->capacity);
    }
    return 0;
}

/* Reads what is there. */
static int drink(struct stream *s, struct lines *from, struct err *e)
{
    int r = make_room(s, from, e);
    if (r < 0) {
        return r;
    }
    ssize_t n = read(from->fd, from->data + from->length, from->capacity - from->length);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR
                   ? 0
                   : err_errno(e, "read from '%s'", s->options.command);
    }
    if (n == 0) { /* the last line needs no newline */
        if (from->length > 0) {
            take_line(s, from, from->data, from->length);
            from->length = 0;
        }
        sys_close(&from->fd);
        return 0;
    }
    const struct task_events *events = s->options.events;
    if (events && events->alive) {
        events->alive(events->arg);
    }
    size_t scanned = from->length;
    from->length += (size_t)n;
    take_lines(s, from, scanned);
    return 0;
}

/* Waits until a pipe can be moved and reads what can be read. */
static int wait_and_drink(struct stream *s, bool want_write, struct err *e)
{
    struct pollfd fds[3] = {{.fd = s->output.fd, .events = POLLIN},
                            {.fd = s->errors.fd, .events = POLLIN},
                            {.fd = want_write ? s->input : -1, .events = POLLOUT}};
    if (poll(fds, ARRAY_COUNT(fds), -1) < 0) {
        return errno == EINTR ? 0 : err_errno(e, "poll");
    }
    int r = fds[0].revents ? drink(s, &s->output, e) : 0;
    return r == 0 && fds[1].revents ? drink(s, &s->errors, e) : r;
}

/* ---- What it reads ---- */

static int push(struct stream *s, const char *data, size_t length, struct err *e)
{
    while (length > 0 && !s->deaf) {
        ssize_t n = write(s->input, data, length);
        if (n > 0) {
            data += n;
            length -= (size_t)n;
            continue;
        }
        if (n < 0 && errno == EPIPE) {
            s->deaf = true;
            sys_close(&s->input);
        } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return err_errno(e, "write to '%s'", s->options.command);
        } else {
            int r = wait_and_drink(s, true, e);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

static int push_gathered(struct stream *s, struct err *e)
{
    int r = push(s, s->gather.data, s->gather.length, e);
    buf_clear(&s->gather);
    return r;
}

int stream_write_block(struct stream *s, struct mr_span block, bool whole_lines, struct err *e)
{
    int r = push(s, block.data, block.length, e);
    if (r == 0 && whole_lines && block.length > 0 &&
        ((const char *)block.data)[block.length - 1] != '\n') {
        r = push(s, "\n", 1, e);
    }
    return r;
}

void stream_append_record(const struct job *job, const struct mr_record *record, struct buf *out)
{
    buf_append(out, record->key.data, record->key.length);
    if (record->value.length > 0 || job->keep_trailing_tab) {
        buf_append_str(out, job->reduce_input.separator);
        buf_append(out, record->value.data, record->value.length);
    }
    buf_append_byte(out, '\n');
}

int stream_write_record(struct stream *s, const struct mr_record *record, struct err *e)
{
    stream_append_record(s->options.job, record, &s->gather);
    return s->gather.length >= GATHER_BYTES ? push_gathered(s, e) : 0;
}

bool stream_is_deaf(const struct stream *s)
{
    return s->deaf;
}

/* ---- End ---- */

/* What a signal most often means, for those who do not know it by heart. */
static const char *signal_hint(int number)
{
    return number == SIGKILL   ? ": as the kernel does when memory runs out"
           : number == SIGXCPU ? ": it used up its processor time"
                               : "";
}

/* As a shell tells of a signal: 128 and its number. */
static int exit_failed(const struct stream *s, int status, struct err *e)
{
    uint64_t most = s->options.job->program_bytes;
    char size[FORMAT_TEXT_BYTES];
    char limit[FORMAT_TEXT_BYTES + 64] = "";
    if (most > 0) {
        (void)snprintf(limit, sizeof(limit), "; its memory is limited to %s (--task-memory)",
                       format_bytes(most, size));
    }
    if (status > 128 && strsignal(status - 128)) {
        return err_set(e, ERR_TASK, "'%.80s' exited with status %d (signal %d, %s%s)%s",
                       s->options.command, status, status - 128, strsignal(status - 128),
                       signal_hint(status - 128), limit);
    }
    const char *hint = status == 127   ? " (not found: send it along with --file PATH)"
                       : status == 126 ? " (not executable: chmod +x, and a first line #!)"
                                       : "";
    return err_set(e, ERR_TASK, "'%.80s' exited with status %d%s%s", s->options.command, status,
                   hint, limit);
}

static int wait_for_exit(struct stream *s, struct err *e)
{
    int status = 0;
    struct rusage usage;
    while (wait4(s->pid, &status, 0, &usage) < 0) {
        if (errno != EINTR) {
            return err_errno(e, "wait for '%s'", s->options.command);
        }
    }
    s->pid = 0;
    uint64_t ms = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
                  (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
    counters_add(s->options.counters, COUNTER_CPU_MS, ms);
    if (WIFSIGNALED(status)) {
        return err_set(e, ERR_TASK, "'%.120s' was ended by signal %d (%s%s)", s->options.command,
                       WTERMSIG(status), strsignal(WTERMSIG(status)),
                       signal_hint(WTERMSIG(status)));
    }
    bool failed = WEXITSTATUS(status) != 0 && s->options.job->exit_status_matters;
    return failed ? exit_failed(s, WEXITSTATUS(status), e) : 0;
}

int stream_finish(struct stream *s, struct err *e)
{
    int r = push_gathered(s, e);
    sys_close(&s->input);
    while (r == 0 && (s->output.fd >= 0 || s->errors.fd >= 0)) {
        r = wait_and_drink(s, false, e);
    }
    return r < 0 ? r : wait_for_exit(s, e);
}

void stream_free(struct stream *s)
{
    if (!s) {
        return;
    }
    if (s->pid > 0) {
        (void)kill(s->pid, SIGKILL);
        while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    sys_close(&s->input);
    sys_close(&s->output.fd);
    sys_close(&s->errors.fd);
    free(s->output.data);
    free(s->errors.data);
    buf_deinit(&s->gather);
    restore_sigpipe(s);
    free(s);
}

/* ---- Lines ---- */

struct mr_record stream_cut_line(const struct job_fields *fields, struct mr_span line)
{
    size_t separator = strlen(fields->separator);
    const char *at = line.data;
    const char *end = at + line.length;
    struct mr_record record = {line, mr_bytes(NULL, 0)};
    for (uint32_t left = fields->fields; line.length > 0 && at < end; left--) {
        const char *found = memmem(at, (size_t)(end - at), fields->separator, separator);
        if (!found) {
            break;
        }
        if (left == 1) {
            record.key = mr_bytes(line.data, (size_t)(found - (const char *)line.data));
            record.value = mr_bytes(found + separator, (size_t)(end - found) - separator);
            break;
        }
        at = found + separator;
    }
    return record;
}
