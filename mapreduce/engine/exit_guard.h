/* User code that runs in our own process may call exit(), which would end it in the middle of a job
 * with the status that it gives, 0 perhaps. While the guard is up such a call says so, removes what
 * must not stay behind and ends the process with status 1. Process-wide; for the one thread that
 * runs user code. Processes that it forks are left alone; _exit() cannot be caught. */
#ifndef MAPREDUCE_ENGINE_EXIT_GUARD_H
#define MAPREDUCE_ENGINE_EXIT_GUARD_H

/* `who` begins the message, "mr run"; borrowed. */
void exit_guard_begin(const char *who);
void exit_guard_end(void);

/* What is removed then, too: an absolute path, borrowed until the next call. NULL: nothing. */
void exit_guard_directory(const char *path);

#endif
