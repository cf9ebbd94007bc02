/* Processes of this build that a benchmark starts and measures. Main thread. Between fork and exec
 * nothing is called that needs a lock, so this may be done after rpc_init() too. A failure ends the
 * benchmark. */
#ifndef BENCH_LIB_PROCESS_H
#define BENCH_LIB_PROCESS_H

#include <stddef.h>
#include <sys/types.h>

enum { PROCESS_ARGUMENT_COUNT_MAX = 24, PROCESS_ADDRESS_BYTES = 128, PROCESS_LINE_BYTES = 512 };

struct process {
    pid_t pid; /* 0: ended */
    char address[PROCESS_ADDRESS_BYTES];
    int ready_fd; /* read end, until it is ready; else -1 */
};

/* Starts bin/PROGRAM of this build; arguments without its name, NULL-terminated, to which
 * `--ready-fd FD` is added. */
void process_start(struct process *p, const char *program, const char *const *arguments);
/* Until it says `ready HOST:PORT`, which becomes its address. */
void process_await(struct process *p);

void process_stop(struct process *p); /* SIGTERM; must end with 0 */
void process_kill(struct process *p); /* SIGKILL */

/* A program that says one line on its stdout when it is ready, and ends when its stdin is closed.
 */
struct helper {
    pid_t pid;
    int stdin_fd;
    char line[PROCESS_LINE_BYTES]; /* "": it ended without a word */
};

/* arguments[0] is the path of the program; NULL-terminated. */
void helper_start(struct helper *h, const char *const *arguments);
int helper_stop(struct helper *h); /* its exit status */

/* CPU seconds so far, of all its threads that live; 0 when it is gone. */
double process_cpu(pid_t pid);

/* TCP ports of 127.0.0.1 that are free at the moment, all different. */
void process_free_ports(int *ports, size_t count);

/* The file of this build that lies at `path` from its root ("bin/fsmaster"). Caller frees. */
char *process_build_path(const char *path);

#endif
