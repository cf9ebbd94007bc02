/* Something happens at a chosen moment: LD_PRELOAD it into a dfs that copies, and a shell command
 * runs, once, or a call fails.
 *
 *     AT_FSYNC     runs before the first fsync()
 *     AT_PREAD     before the first pread() of a buffer of a copy: get --continue compares
 *     AT_END       after the first read() of such a buffer that finds the end of a file
 *     NO_UNNAMED   opening a file without a name fails, as on a file system that has none
 *     FULL_AT_END  closing standard output fails, as where a quota is looked at only then */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 20 };

/* The command is an ordinary process, and the next such moment is none. */
static void reach(const char *moment)
{
    const char *command = getenv(moment);
    if (!command) {
        return;
    }
    char *copy = NULL;
    if (asprintf(&copy, "unset LD_PRELOAD; %s", command) < 0 || unsetenv(moment) < 0) {
        abort();
    }
    if (system(copy) != 0) { /* NOLINT(cert-env33-c): a test says what */
        (void)fprintf(stderr, "%s: failed\n", moment);
    }
    free(copy);
}

static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) {
        abort();
    }
    return found;
}

int fsync(int fd)
{
    reach("AT_FSYNC");
    return ((int (*)(int))next("fsync"))(fd);
}

ssize_t pread(int fd, void *data, size_t length, off_t offset)
{
    if (length == COPY_BYTES) {
        reach("AT_PREAD");
    }
    return ((ssize_t(*)(int, void *, size_t, off_t))next("pread"))(fd, data, length, offset);
}

ssize_t read(int fd, void *data, size_t length)
{
    ssize_t n = ((ssize_t(*)(int, void *, size_t))next("read"))(fd, data, length);
    if (length == COPY_BYTES && n == 0) {
        reach("AT_END");
    }
    return n;
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    if ((flags & O_TMPFILE) == O_TMPFILE && getenv("NO_UNNAMED")) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return ((int (*)(const char *, int, ...))next("open"))(path, flags, mode);
}

int close(int fd)
{
    int r = ((int (*)(int))next("close"))(fd);
    if (fd == STDOUT_FILENO && r == 0 && getenv("FULL_AT_END")) {
        errno = EDQUOT;
        return -1;
    }
    return r;
}
