/* The spawner: a small process that the worker forks before gRPC starts threads, and that forks and
 * execs every task process (never fork after grpc_init, DESIGN 3). It also reaps them, kills their
 * process groups on demand, and ends them all when the worker is gone. The two talk over a
 * SOCK_SEQPACKET pair; the task's own pipe is handed along as a descriptor. */
#ifndef MAPREDUCE_SPAWNER_H
#define MAPREDUCE_SPAWNER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

struct spawner {
    int fd;    /* our end; readable when there is an event */
    pid_t pid; /* of the spawner process */
};

/* Forks it. Before any thread exists. `argv` is what each task runs, NULL-terminated, argv[0] a
 * path. */
int spawner_start(struct spawner *s, char *const *argv, struct err *e) MUST_CHECK;

/* Asks for one more process, known by `id` from here on (not 0, never used again). Its TASK_PIPE_FD
 * will be `pipe`, which stays the caller's to close. Does not block. */
int spawner_spawn(struct spawner *s, uint64_t id, int pipe, struct err *e) MUST_CHECK;

/* SIGKILL to the process group of `id`; nothing happens if it has ended. */
int spawner_kill(struct spawner *s, uint64_t id, struct err *e) MUST_CHECK;

/* A process ended, or could not be started. */
struct spawner_event {
    uint64_t id;
    int status;      /* as waitpid() gives it */
    int spawn_errno; /* not 0: it was never started */
};
/* 1 and an event, 0: none now, ERR_*: the spawner is gone, and all tasks with it. */
int spawner_next(struct spawner *s, struct spawner_event *ret, struct err *e) MUST_CHECK;

/* Ends all tasks and the spawner. Accepts a zeroed one. */
void spawner_stop(struct spawner *s);

#endif
