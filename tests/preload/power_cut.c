/* A power cut for one process: LD_PRELOAD it, and at a chosen call everything below a directory
 * falls back to what was synced.
 *
 * Each change below POWER_CUT_DIR leaves a record of how to undo it. Syncing a file drops the
 * records of its bytes and length, syncing a directory those of the names in it; a name is durable
 * by its directory alone. At the cut the records that are left are undone, newest first, and the
 * process ends. It is as if the machine's memory had been lost, only that the kernel's cache is not
 * asked: nothing of this depends on the file system underneath.
 *
 *     POWER_CUT_DIR     the directory; exists
 *     POWER_CUT_SHADOW  an empty one beside it, for files that were removed or replaced
 *     POWER_CUT_AFTER   the cut comes in place of this call that changes or syncs; 0: never
 *     POWER_CUT_SEED    0: all that is not synced is lost. Else of each file and directory some of
 *                       the oldest changes survive, as when the kernel had just begun to write
 *     POWER_CUT_LIES    1: syncing does nothing, to prove that a test would notice
 *
 * Not seen: mapped memory, streams of stdio (RocksDB's info log), io_uring, O_DIRECT. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FD_COUNT_MAX = 1 << 16, EXIT_STATUS = 99 };

/* A file or a directory that has records. */
struct node {
    dev_t dev;
    ino_t ino;
    int fd;          /* our own; holds the inode */
    size_t records;  /* not synced */
    size_t survives; /* at the cut: so many of the oldest are kept */
    struct node *next;
};

enum kind {
    BYTES,   /* a range and the length were otherwise */
    MADE,    /* a name came; file, link or directory */
    REMOVED, /* a name went; what it named lies in the shadow as `saved` */
    RENAMED, /* name in node to target_name in target; what that named before is `saved`, or "" */
};

struct record {
    enum kind kind;
    struct node *node; /* whose sync makes it durable; NULL: dropped */
    struct node *target;
    char *name;
    char *target_name;
    char saved[24];
    off_t offset;
    size_t length;
    char *bytes;
    off_t size;
};

/* A name: its directory, opened, and the last part of the path. */
struct place {
    int directory; /* -1: not below ours */
    char base[NAME_MAX + 1];
};

static struct {
    bool active;
    bool lies;
    char directory[PATH_MAX];
    int shadow;
    uint64_t after, calls, saved_count;
    uint64_t seed;
    struct node *nodes;
    struct record *records;
    size_t count, capacity;
    bool tracked[FD_COUNT_MAX]; /* descriptors of files below our directory */
} cut = {.shadow = -1};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The next definition of a function: libc's. */
#define REAL(name, ...)                                                                            \
    static __typeof__(name) *real;                                                                 \
    if (!real) {                                                                                   \
        *(void **)&real = dlsym(RTLD_NEXT, #name);                                                 \
    }                                                                                              \
    __VA_ARGS__

static int real_openat(int directory, const char *path, int flags, mode_t mode)
{
    REAL(openat, return real(directory, path, flags | O_CLOEXEC, mode);)
}

static int real_close(int fd)
{
    REAL(close, return real(fd);)
}

static int real_renameat(int from, const char *name, int to, const char *target)
{
    REAL(renameat, return real(from, name, to, target);)
}

static int real_unlinkat(int directory, const char *name, int flags)
{
    REAL(unlinkat, return real(directory, name, flags);)
}

static ssize_t real_pwrite(int fd, const void *data, size_t length, off_t offset)
{
    REAL(pwrite, return real(fd, data, length, offset);)
}

static int real_ftruncate(int fd, off_t size)
{
    REAL(ftruncate, return real(fd, size);)
}

/* The tool itself is broken, or the disk below it. */
static void must(bool good, const char *what)
{
    if (!good) {
        (void)dprintf(STDERR_FILENO, "power_cut: %s: %s\n", what, strerror(errno));
        _exit(EXIT_STATUS + 1);
    }
}

/* ---- Nodes and records ---- */

static struct node *node_find(const struct stat *st)
{
    struct node *n = cut.nodes;
    while (n && (n->dev != st->st_dev || n->ino != st->st_ino)) {
        n = n->next;
    }
    return n;
}

/* The node of an open file, made if need be. */
static struct node *node_of(int fd)
{
    struct stat st;
    char path[64];
    must(fstat(fd, &st) == 0, "fstat");
    struct node *n = node_find(&st);
    if (!n) {
        n = calloc(1, sizeof(*n));
        must(n != NULL, "memory");
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        int flags = S_ISDIR(st.st_mode) ? O_RDONLY | O_DIRECTORY : O_RDWR;
        *n = (struct node){st.st_dev, st.st_ino, real_openat(AT_FDCWD, path, flags, 0),
                           0,         0,         cut.nodes};
        must(n->fd >= 0, path);
        cut.nodes = n;
    }
    return n;
}

static struct record *record_add(enum kind kind, struct node *node)
{
    if (cut.count == cut.capacity) {
        cut.capacity = cut.capacity ? 2 * cut.capacity : 256;
        cut.records = realloc(cut.records, cut.capacity * sizeof(*cut.records));
        must(cut.records != NULL, "memory");
    }
    struct record *r = &cut.records[cut.count++];
    *r = (struct record){.kind = kind, .node = node, .target = node};
    node->records++;
    return r;
}

static void forget(struct node *node);

/* What lies in the shadow is really gone now, with what was known of it. */
static void shadow_drop(const char *saved)
{
    struct stat st;
    if (saved[0] == '\0' || fstatat(cut.shadow, saved, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return;
    }
    if (S_ISDIR(st.st_mode)) {
        (void)real_unlinkat(cut.shadow, saved, AT_REMOVEDIR);
        return;
    }
    (void)real_unlinkat(cut.shadow, saved, 0);
    struct node *node = st.st_nlink == 1 ? node_find(&st) : NULL;
    if (node) {
        forget(node);
    }
}

static void record_drop(struct record *r)
{
    r->node->records--;
    r->node = NULL;
    free(r->bytes);
    free(r->name);
    free(r->target_name);
    shadow_drop(r->saved);
}

static void nodes_sweep(void)
{
    struct node **at = &cut.nodes;
    while (*at) {
        struct node *n = *at;
        if (n->records > 0) {
            at = &n->next;
            continue;
        }
        *at = n->next;
        (void)real_close(n->fd);
        free(n);
    }
}

/* Its changes are durable. A rename is so as soon as either directory is. */
static void forget(struct node *node)
{
    for (size_t i = 0; i < cut.count; i++) {
        struct record *r = &cut.records[i];
        if (r->node && (r->node == node || r->target == node)) {
            record_drop(r);
        }
    }
}

static void synced(int fd)
{
    struct stat st;
    must(fstat(fd, &st) == 0, "fstat");
    struct node *node = node_find(&st);
    if (!node || cut.lies) {
        return;
    }
    forget(node);
    size_t kept = 0;
    for (size_t i = 0; i < cut.count; i++) {
        if (cut.records[i].node) {
            cut.records[kept++] = cut.records[i];
        }
    }
    cut.count = kept;
    for (size_t i = 0; i < kept; i++) { /* a rename's second directory must stay, too */
        cut.records[i].target->records++;
    }
    nodes_sweep();
    for (size_t i = 0; i < kept; i++) {
        cut.records[i].target->records--;
    }
}

/* ---- The cut ---- */

static void undo(struct record *r)
{
    if (r->kind == BYTES) {
        must(real_pwrite(r->node->fd, r->bytes, r->length, r->offset) == (ssize_t)r->length &&
                 real_ftruncate(r->node->fd, r->size) == 0,
             "undo bytes");
        return;
    }
    char aside[24];
    if (r->kind == MADE) { /* a directory may have names that survive: aside with all of it */
        (void)snprintf(aside, sizeof(aside), "%lu", (unsigned long)++cut.saved_count);
        (void)real_renameat(r->node->fd, r->name, cut.shadow, aside);
    } else if (r->kind == RENAMED) {
        (void)real_renameat(r->target->fd, r->target_name, r->node->fd, r->name);
    }
    if (r->saved[0]) {
        const char *name = r->kind == RENAMED ? r->target_name : r->name;
        (void)real_renameat(cut.shadow, r->saved, r->target->fd, name);
    }
}

/* splitmix64: this library links nothing, not even common/rng. */
static uint64_t next_choice(void)
{
    uint64_t z = cut.seed += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static void choose_survivors(void)
{
    for (struct node *n = cut.nodes; n && cut.seed; n = n->next) {
        n->survives = next_choice() % (n->records + 1);
    }
}

__attribute__((noreturn)) static void cut_now(void)
{
    size_t writes = 0, names = 0, survived = 0;
    uint64_t bytes = 0;
    choose_survivors();
    for (size_t i = cut.count; i-- > 0;) {
        struct record *r = &cut.records[i];
        if (!r->node) {
            continue;
        }
        if (r->node->records-- <= r->node->survives) {
            survived++;
            continue;
        }
        undo(r);
        writes += r->kind == BYTES;
        names += r->kind != BYTES;
        bytes += r->kind == BYTES ? r->length : 0;
    }
    (void)dprintf(
        STDERR_FILENO,
        "power_cut: call=%lu writes_lost=%zu names_lost=%zu survived=%zu bytes_back=%lu\n",
        (unsigned long)cut.calls, writes, names, survived, (unsigned long)bytes);
    _exit(EXIT_STATUS);
}

/* In front of each call that changes or syncs something; the lock is held from here on. */
static void begin(void)
{
    (void)pthread_mutex_lock(&lock);
    if (++cut.calls == cut.after) {
        cut_now(); /* and nobody gets the lock any more */
    }
}

static void end(void)
{
    (void)pthread_mutex_unlock(&lock);
}

/* ---- Where things are ---- */

static bool is_ours(int fd)
{
    char link[64], path[PATH_MAX];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    size_t length = strlen(cut.directory);
    return n >= (ssize_t)length && memcmp(path, cut.directory, length) == 0 &&
           (n == (ssize_t)length || path[length] == '/');
}

static struct place place_of(int directory, const char *path)
{
    struct place p = {.directory = -1};
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    if (!cut.active || base[0] == '\0' || strlen(base) > NAME_MAX || strlen(path) >= PATH_MAX) {
        return p;
    }
    (void)snprintf(parent, sizeof(parent), "%.*s", slash ? (int)(slash - path) + 1 : 1,
                   slash ? path : ".");
    (void)snprintf(p.base, sizeof(p.base), "%s", base);
    p.directory = real_openat(directory, parent, O_RDONLY | O_DIRECTORY, 0);
    if (p.directory >= 0 && !is_ours(p.directory)) {
        (void)real_close(p.directory);
        p.directory = -1;
    }
    return p;
}

static void place_close(struct place *p)
{
    if (p->directory >= 0) {
        int kept = errno;
        (void)real_close(p->directory);
        errno = kept;
    }
}

static bool exists(const struct place *p)
{
    struct stat st;
    return fstatat(p->directory, p->base, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool is_tracked(int fd)
{
    return cut.active && fd >= 0 && fd < FD_COUNT_MAX && cut.tracked[fd];
}

/* ---- Bytes ---- */

/* The range's bytes and the length, as they are now. */
static void keep_bytes(int fd, off_t offset, off_t length)
{
    struct stat st;
    struct node *node = node_of(fd);
    must(fstat(fd, &st) == 0, "fstat");
    struct record *r = record_add(BYTES, node);
    r->size = st.st_size;
    r->offset = offset;
    if (offset < st.st_size && length > 0) {
        r->length = (size_t)(length < st.st_size - offset ? length : st.st_size - offset);
        r->bytes = malloc(r->length);
        must(r->bytes && pread(node->fd, r->bytes, r->length, offset) == (ssize_t)r->length,
             "read what is overwritten");
    }
}

ssize_t write(int fd, const void *data, size_t length)
{
    REAL(write, )
    if (!is_tracked(fd)) {
        return real(fd, data, length);
    }
    begin();
    off_t at = lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    keep_bytes(fd, at, (off_t)length);
    ssize_t n = real(fd, data, length);
    end();
    return n;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    if (!is_tracked(fd)) {
        return real_pwrite(fd, data, length, offset);
    }
    begin();
    keep_bytes(fd, offset, (off_t)length);
    ssize_t n = real_pwrite(fd, data, length, offset);
    end();
    return n;
}

int ftruncate(int fd, off_t size)
{
    if (!is_tracked(fd)) {
        return real_ftruncate(fd, size);
    }
    begin();
    keep_bytes(fd, size, LONG_MAX);
    int r = real_ftruncate(fd, size);
    end();
    return r;
}

int fallocate(int fd, int mode, off_t offset, off_t length)
{
    REAL(fallocate, )
    if (!is_tracked(fd) || mode == FALLOC_FL_KEEP_SIZE) {
        return real(fd, mode, offset, length);
    }
    begin();
    keep_bytes(fd, offset, length);
    int r = real(fd, mode, offset, length);
    end();
    return r;
}

static int sync_file(int fd)
{
    begin();
    synced(fd);
    end();
    return 0;
}

int fsync(int fd)
{
    REAL(fsync, return is_tracked(fd) ? sync_file(fd) : real(fd);)
}

int fdatasync(int fd)
{
    REAL(fdatasync, return is_tracked(fd) ? sync_file(fd) : real(fd);)
}

/* ---- Names ---- */

static struct record *record_name(enum kind kind, const struct place *p)
{
    struct record *r = record_add(kind, node_of(p->directory));
    r->name = strdup(p->base);
    return r;
}

/* Moves what is there into the shadow; its name in there into saved. */
static int put_aside(const struct place *p, char saved[24])
{
    (void)snprintf(saved, 24, "%lu", (unsigned long)++cut.saved_count);
    return real_renameat(p->directory, p->base, cut.shadow, saved);
}

static int open_ours(int directory, const char *path, int flags, mode_t mode)
{
    struct place p = {.directory = -1};
    if (cut.active && (flags & (O_CREAT | O_TRUNC))) {
        p = place_of(directory, path);
    }
    if (p.directory < 0) {
        return real_openat(directory, path, flags, mode);
    }
    begin();
    bool was_there = exists(&p);
    int fd = real_openat(directory, path, flags & ~O_TRUNC, mode);
    if (fd >= 0 && !was_there) {
        (void)record_name(MADE, &p);
    } else if (fd >= 0 && (flags & O_TRUNC)) {
        keep_bytes(fd, 0, LONG_MAX);
        must(real_ftruncate(fd, 0) == 0, "truncate");
    }
    end();
    place_close(&p);
    return fd;
}

int openat(int directory, const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    int fd = open_ours(directory, path, flags, mode);
    if (fd >= 0 && fd < FD_COUNT_MAX) {
        cut.tracked[fd] = cut.active && is_ours(fd);
    }
    return fd;
}

int open(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    return openat(AT_FDCWD, path, flags, mode);
}

int close(int fd)
{
    if (fd >= 0 && fd < FD_COUNT_MAX) {
        cut.tracked[fd] = false;
    }
    return real_close(fd);
}

int renameat(int from, const char *name, int to, const char *target)
{
    struct place source = place_of(from, name);
    struct place sink = place_of(to, target);
    if (source.directory < 0 || sink.directory < 0) {
        place_close(&source);
        place_close(&sink);
        return real_renameat(from, name, to, target);
    }
    begin();
    char saved[24] = "";
    int r = exists(&source) ? 0 : -1;
    errno = ENOENT;
    if (r == 0 && exists(&sink)) {
        r = put_aside(&sink, saved);
    }
    r = r == 0 ? real_renameat(from, name, to, target) : r;
    if (r == 0) {
        struct record *record = record_name(RENAMED, &source);
        record->target = node_of(sink.directory);
        record->target_name = strdup(sink.base);
        memcpy(record->saved, saved, sizeof(saved));
    }
    end();
    place_close(&source);
    place_close(&sink);
    return r;
}

int rename(const char *name, const char *target)
{
    return renameat(AT_FDCWD, name, AT_FDCWD, target);
}

static bool is_empty(const struct place *p)
{
    int fd = real_openat(p->directory, p->base, O_RDONLY | O_DIRECTORY, 0);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    must(d != NULL, p->base);
    size_t count = 0;
    while (readdir(d)) {
        count++;
    }
    (void)closedir(d);
    return count == 2; /* itself and its parent */
}

/* 0, or the errno that unlinkat() would give. It is moved, not removed, so the kernel does not say.
 */
static int refusal(const struct place *p, int flags)
{
    struct stat st;
    if (fstatat(p->directory, p->base, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno;
    }
    if (!(flags & AT_REMOVEDIR)) {
        return S_ISDIR(st.st_mode) ? EISDIR : 0;
    }
    if (!S_ISDIR(st.st_mode)) {
        return ENOTDIR;
    }
    return is_empty(p) ? 0 : ENOTEMPTY;
}

int unlinkat(int directory, const char *name, int flags)
{
    struct place p = place_of(directory, name);
    if (p.directory < 0) {
        return real_unlinkat(directory, name, flags);
    }
    begin();
    char saved[24];
    errno = refusal(&p, flags);
    int r = errno == 0 ? put_aside(&p, saved) : -1;
    if (r == 0) {
        memcpy(record_name(REMOVED, &p)->saved, saved, sizeof(saved));
    }
    end();
    place_close(&p);
    return r;
}

int unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

int rmdir(const char *name)
{
    return unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}

int remove(const char *name)
{
    int r = unlinkat(AT_FDCWD, name, 0);
    return r != 0 && errno == EISDIR ? rmdir(name) : r;
}

/* A new name for nothing, a directory or another file. */
static int make(const char *path, int (*how)(void *arg), void *arg)
{
    struct place p = place_of(AT_FDCWD, path);
    if (p.directory < 0) {
        return how(arg);
    }
    begin();
    int r = how(arg);
    if (r == 0) {
        (void)record_name(MADE, &p);
    }
    end();
    place_close(&p);
    return r;
}

struct making {
    const char *from;
    const char *path;
    mode_t mode;
};

static int real_mkdir(void *arg)
{
    const struct making *m = arg;
    return mkdirat(AT_FDCWD, m->path, m->mode);
}

static int real_link(void *arg)
{
    const struct making *m = arg;
    return linkat(AT_FDCWD, m->from, AT_FDCWD, m->path, 0);
}

int mkdir(const char *path, mode_t mode)
{
    return make(path, real_mkdir, &(struct making){.path = path, .mode = mode});
}

int link(const char *from, const char *path)
{
    return make(path, real_link, &(struct making){.from = from, .path = path});
}

/* ---- Start ---- */

static uint64_t number(const char *variable)
{
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void start(void)
{
    const char *directory = getenv("POWER_CUT_DIR");
    const char *shadow = getenv("POWER_CUT_SHADOW");
    if (!directory || !shadow) {
        return;
    }
    must(realpath(directory, cut.directory) != NULL, directory);
    cut.shadow = real_openat(AT_FDCWD, shadow, O_RDONLY | O_DIRECTORY, 0);
    must(cut.shadow >= 0, shadow);
    cut.after = number("POWER_CUT_AFTER");
    cut.seed = number("POWER_CUT_SEED");
    cut.lies = number("POWER_CUT_LIES") != 0;
    cut.active = true;
}
