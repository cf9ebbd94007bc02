/* Concurrent clients that change and read a few directories, and write down what each call was
 * told: a history for the linearizability checker, tests/lib/lin.h.
 *
 *     history FILE SEED PREFIX          DFS_MASTER names the cluster
 *
 * Makes PREFIX-a, PREFIX-b..., prints `running` when every client has been answered once, and goes
 * on until its standard input ends. No operation leaves its directory. Each client is a process and
 * a connection of its own.
 *
 * Half of them give up soon, so that there are operations whose outcome nobody was told. The last
 * ones know only one member at a time and wait for it: whoever was stopped while he led finds their
 * questions when he wakes, and must not answer from what he remembers. The others ask elsewhere by
 * then.
 *
 * What a created thing is called by is its
 * permission bits, which are chosen before the call: it is known even when the answer is not. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <trireme/dfs.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/rng.h"

enum {
    CLIENT_COUNT = 8,
    FAITHFUL_COUNT = 2,                /* of them, to one member each for... */
    FAITHFUL_OPERATION_COUNT_MAX = 10, /* ... at most so many operations */
    MEMBER_COUNT_MAX = 16,
    DIRECTORY_COUNT = 3,
    NAME_COUNT = 6,
    TOKEN_COUNT = 4095 / CLIENT_COUNT, /* of each client: permission bits have 12 bits */
    OPERATION_COUNT_MIN = 80,          /* of each client, whenever the end is asked for */
    OPERATION_COUNT_MAX = 1200,        /* of each client; the checker takes 4096 in a directory */
    PAUSE_MS_MAX = 8,                  /* between two operations */
    PATIENCE_MS = 60 * 1000,
    IMPATIENCE_MS = 400,
};

/* What the processes know of each other. */
struct shared {
    volatile bool stop;
    volatile bool runs[CLIENT_COUNT];
};

struct client {
    uint32_t number;
    const char *prefix;
    struct rng rng;
    struct dfs *dfs;
    uint32_t tokens; /* used so far */
    struct buf lines;
};

/* What is done next: its text is the beginning of a line of the history. */
struct operation {
    char path[256];
    char target[256];
    char text[600];
    uint32_t token;
};

static void die(const char *what, const struct dfs_err *e)
{
    (void)fprintf(stderr, "history: %s: %s\n", what, e->msg);
    _exit(1);
}

/* ---- Outcomes ---- */

/* The word for a change's outcome. A read that failed says nothing; a change may say that it does
 * not know. */
static const char *word(const struct operation *op, int r, const struct dfs_err *e)
{
    switch (r) {
    case 0:
        return "ok";
    case DFS_EEXISTS:
        return "exists";
    case DFS_ENOT_FOUND:
        return "absent";
    case DFS_EUNKNOWN:
        return "unknown";
    case DFS_ETIMEOUT:
    case DFS_EUNAVAILABLE:
    case DFS_EBUSY:
        return "failed";
    default:
        die(op->text, e); /* an outcome that the model does not have */
        return "";
    }
}

static void record(struct client *c, const struct operation *op, uint64_t began,
                   const char *outcome)
{
    buf_printf(&c->lines, "%" PRIu32 " %" PRIu64 " %" PRIu64 " %s = %s\n", c->number, began,
               clock_mono_us(), op->text, outcome);
}

/* ---- Operations ---- */

static void choose_path(struct client *c, uint64_t directory, char path[256])
{
    (void)snprintf(path, 256, "%s-%c/%c", c->prefix, (int)('a' + directory),
                   (int)('n' + rng_below(&c->rng, NAME_COUNT)));
}

static void describe(struct operation *op, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    (void)vsnprintf(op->text, sizeof(op->text), format, list);
    va_end(list);
}

/* A file or, as often, a directory. */
static void do_create(struct client *c, struct operation *op)
{
    struct dfs_err e = {0};
    struct dfs_file *file = NULL;
    op->token = c->number * TOKEN_COUNT + ++c->tokens;
    struct dfs_create_options options = {.mode = op->token};
    bool is_file = rng_below(&c->rng, 2) == 0;
    describe(op, "create %s %" PRIu32, op->path, op->token);
    uint64_t began = clock_mono_us();
    int r = is_file ? dfs_create(c->dfs, op->path, &options, &file, &e)
                    : dfs_mkdir(c->dfs, op->path, op->token, 0, NULL, &e);
    record(c, op, began, word(op, r, &e));
    if (file) {
        (void)dfs_close(file, &e); /* somebody may have removed it by now */
    }
}

static void do_delete(struct client *c, struct operation *op)
{
    struct dfs_err e = {0};
    describe(op, "delete %s", op->path);
    uint64_t began = clock_mono_us();
    int r = dfs_delete(c->dfs, op->path, 0, NULL, &e);
    record(c, op, began, word(op, r, &e));
}

static void do_rename(struct client *c, struct operation *op)
{
    struct dfs_err e = {0};
    describe(op, "rename %s %s", op->path, op->target);
    uint64_t began = clock_mono_us();
    int r = dfs_rename(c->dfs, op->path, op->target, 0, NULL, &e);
    record(c, op, began, word(op, r, &e));
}

static void do_stat(struct client *c, struct operation *op)
{
    struct dfs_err e = {0};
    struct dfs_stat stat;
    char seen[32];
    describe(op, "stat %s", op->path);
    uint64_t began = clock_mono_us();
    int r = dfs_stat(c->dfs, op->path, &stat, &e);
    const char *outcome = word(op, r, &e);
    if (r == 0) {
        (void)snprintf(seen, sizeof(seen), "%" PRIu32, stat.mode);
        outcome = seen;
    }
    record(c, op, began, outcome);
}

static void do_list(struct client *c, struct operation *op)
{
    struct dfs_err e = {0};
    struct dfs_dir *dir = NULL;
    struct buf names = BUF_INIT;
    const char *name;
    *strrchr(op->path, '/') = '\0';
    describe(op, "list %s", op->path);
    uint64_t began = clock_mono_us();
    int r = dfs_dir_open(c->dfs, op->path, &dir, &e);
    while (r == 0 && (r = dfs_dir_next(dir, &name, NULL, &e)) == 1) {
        buf_printf(&names, "%s%s", names.length ? "," : "", name);
        r = 0;
        if (names.length > 2 * NAME_COUNT) {
            die("a list has names twice", &e);
        }
    }
    dfs_dir_close(dir);
    const char *outcome = word(op, r, &e);
    if (r == 0) {
        outcome = names.length ? names.data : "-";
    }
    record(c, op, began, outcome);
    buf_deinit(&names);
}

static void do_something(struct client *c)
{
    struct operation op;
    uint64_t directory = rng_below(&c->rng, DIRECTORY_COUNT);
    uint64_t what = rng_below(&c->rng, 100);
    choose_path(c, directory, op.path);
    choose_path(c, directory, op.target);
    if (what < 30 && c->tokens + 1 < TOKEN_COUNT) {
        do_create(c, &op);
    } else if (what < 45) {
        do_delete(c, &op);
    } else if (what < 65 && strcmp(op.path, op.target) != 0) {
        do_rename(c, &op);
    } else if (what < 90) {
        do_stat(c, &op);
    } else {
        do_list(c, &op);
    }
}

/* ---- Processes ---- */

/* To all members (one NULL), or to that one alone. */
static void connect_client(struct client *c, const char *one)
{
    struct dfs_err e = {0};
    bool soon = c->number % 2 && !one;
    struct dfs_options options = {.masters = one,
                                  .timeout_ms = soon ? (uint32_t)IMPATIENCE_MS : PATIENCE_MS};
    dfs_disconnect(c->dfs);
    if (dfs_connect(&options, &c->dfs, &e) < 0) {
        die("connect", &e);
    }
}

static bool is_faithful(const struct client *c)
{
    return c->number >= CLIENT_COUNT - FAITHFUL_COUNT;
}

/* A connection to any one member. */
static void turn_to_one(struct client *c)
{
    const char *members[MEMBER_COUNT_MAX];
    size_t count = 0;
    char *save = NULL;
    char *list = xstrdup(getenv("DFS_MASTER"));
    for (char *at = strtok_r(list, ",", &save); at && count < MEMBER_COUNT_MAX;
         at = strtok_r(NULL, ",", &save)) {
        members[count++] = at;
    }
    connect_client(c, members[rng_below(&c->rng, count)]);
    free(list);
}

static void run_client(struct client *c, struct shared *shared, const char *file)
{
    uint64_t faithful = 0; /* operations left with this one */
    connect_client(c, NULL);
    for (int i = 0; i < OPERATION_COUNT_MAX && (i < OPERATION_COUNT_MIN || !shared->stop); i++) {
        if (is_faithful(c) && faithful-- == 0) {
            turn_to_one(c);
            faithful = rng_below(&c->rng, FAITHFUL_OPERATION_COUNT_MAX);
        }
        do_something(c);
        shared->runs[c->number] = true;
        clock_sleep_ms(rng_below(&c->rng, PAUSE_MS_MAX + 1));
    }
    dfs_disconnect(c->dfs);
    int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    struct dfs_err e = {.msg = "cannot be written"};
    /* One write: the kernel puts it at the end as a whole. */
    if (fd < 0 || write(fd, c->lines.data, c->lines.length) != (ssize_t)c->lines.length ||
        close(fd) < 0) {
        die(file, &e);
    }
}

static void make_directories(const char *prefix)
{
    struct dfs_err e = {0};
    struct dfs *dfs = NULL;
    if (dfs_connect(NULL, &dfs, &e) < 0) {
        die("connect", &e);
    }
    for (int i = 0; i < DIRECTORY_COUNT; i++) {
        char path[256];
        (void)snprintf(path, sizeof(path), "%s-%c", prefix, 'a' + i);
        if (dfs_mkdir(dfs, path, 0, 0, NULL, &e) < 0) {
            die(path, &e);
        }
    }
    dfs_disconnect(dfs);
}

/* gRPC and fork() do not go together: whoever uses it is a process that has not forked since. */
static pid_t in_child(void)
{
    pid_t pid = fork();
    if (pid < 0) {
        perror("history: fork");
        _exit(1);
    }
    return pid;
}

static bool ended_well(pid_t pid)
{
    int status = 1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status == 0;
}

int main(int argc, char **argv)
{
    pid_t children[CLIENT_COUNT];
    bool good = true;
    if (argc != 4) {
        (void)fprintf(stderr, "usage: history FILE SEED PREFIX\n");
        return 2;
    }
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t maker = in_child();
    if (maker == 0) {
        make_directories(argv[3]);
        _exit(0);
    }
    if (!ended_well(maker)) {
        return 1;
    }
    for (uint32_t i = 0; i < CLIENT_COUNT; i++) {
        children[i] = in_child();
        if (children[i] == 0) {
            struct client *c = xcalloc(1, sizeof(*c));
            *c = (struct client){.number = i, .prefix = argv[3], .lines = BUF_INIT};
            rng_seed(&c->rng, strtoull(argv[2], NULL, 10) * CLIENT_COUNT + i);
            run_client(c, shared, argv[1]);
            _exit(0);
        }
    }
    for (int i = 0; i < CLIENT_COUNT; i++) {
        while (!shared->runs[i] && waitpid(children[i], NULL, WNOHANG) == 0) {
            clock_sleep_ms(1);
        }
    }
    (void)printf("running\n");
    (void)fflush(stdout);
    char ignored[64];
    while (read(STDIN_FILENO, ignored, sizeof(ignored)) > 0) {
    }
    shared->stop = true;
    for (int i = 0; i < CLIENT_COUNT; i++) {
        good = ended_well(children[i]) && good;
    }
    return good ? 0 : 1;
}
