/* A handler that is registered once and looks whether the guard is up, because handlers cannot be
 * taken back. See exit_guard.h. */
#include "mapreduce/engine/exit_guard.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/sys.h"

static struct {
    const char *who; /* NULL: the guard is down */
    const char *directory;
    pid_t pid; /* whose exit() it is: a forked child has the handler, too */
    bool registered;
} guard;

static void on_process_exit(int status, void *arg)
{
    (void)arg;
    if (!guard.who || getpid() != guard.pid) {
        return;
    }
    (void)fflush(NULL); /* what the user's code has printed */
    (void)fprintf(stderr, "%s%s: the user's code called exit(%d)\n",
                  isatty(STDERR_FILENO) ? "\r\033[K" : "", guard.who, status);
    if (guard.directory) {
        struct err ignored = ERR_INIT; /* that it ends so matters more */
        int r = sys_remove_tree(guard.directory, &ignored);
        (void)r;
    }
    _exit(1);
}

void exit_guard_begin(const char *who)
{
    if (!guard.registered) {
        guard.registered = on_exit(on_process_exit, NULL) == 0;
    }
    guard.pid = getpid();
    guard.directory = NULL;
    guard.who = who;
}

void exit_guard_end(void)
{
    guard.who = guard.directory = NULL;
}

void exit_guard_directory(const char *path)
{
    guard.directory = path;
}
