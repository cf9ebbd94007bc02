/* The calls of `mr` to mrmaster and mrworkers, in plain structs. Blocking; one thread. A mrmaster
 * that cannot be reached, or is just starting, is tried again for as long as the caller has
 * patience; every call here may be made twice without harm. */
#ifndef MAPREDUCE_MR_CLIENT_H
#define MAPREDUCE_MR_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "mapreduce/job_types.h"

struct mr_client;

struct mr_client_options {
    const char *addresses; /* "HOST:PORT[,HOST:PORT...]" of the mrmaster and its standby */
    const char *where;     /* who said so: "MR_MASTER"; for errors */
    const char *user;      /* borrowed for life, like all strings here */
    const char *tls_ca;    /* all three or none */
    const char *tls_cert;
    const char *tls_key;
    time_ms patience_ms; /* how long a mrmaster that cannot be reached is tried again */
    /* Told why a call waits, each time it changes. May be NULL. */
    void (*waiting)(const char *why, time_ms patience_ms);
    /* Asked now and then while a call waits: true ends it with ERR_CANCELLED. May be NULL. */
    bool (*interrupted)(void);
};

/* ERR_INVALID: malformed addresses. Nothing is connected yet. */
int mr_client_open(const struct mr_client_options *options, struct mr_client **ret_client,
                   struct err *e) MUST_CHECK;
void mr_client_close(struct mr_client *c); /* accepts NULL */

/* Everything that is returned lies in the arena. */
int mr_client_submit(struct mr_client *c, const char *submission, const struct job_spec *spec,
                     struct arena *arena, const char **ret_job, struct err *e) MUST_CHECK;
int mr_client_get_job(struct mr_client *c, const char *job, struct arena *arena,
                      struct job_status *ret_status, struct err *e) MUST_CHECK;

struct job_list {
    struct job_status *items; /* newest first; without counters */
    size_t count;
};
int mr_client_list_jobs(struct mr_client *c, bool all, struct arena *arena,
                        struct job_list *ret_list, struct err *e) MUST_CHECK;

/* Waits until the output can no longer appear, or has. */
int mr_client_kill(struct mr_client *c, const char *job, enum job_state *ret_state,
                   struct err *e) MUST_CHECK;

struct attempt_info {
    const char *attempt;
    const char *host;
    const char *address;
    const char *state;
    time_ms started_ms; /* wall */
    time_ms ended_ms;   /* 0: it runs */
    const char *error;
    const char *stderr_tail;
};
struct attempt_list {
    struct attempt_info *items; /* in the order in which they began */
    size_t count;
};
int mr_client_list_attempts(struct mr_client *c, const char *job, bool failed_only,
                            struct arena *arena, struct attempt_list *ret_list,
                            struct err *e) MUST_CHECK;

struct worker_info {
    const char *host;
    const char *rack;
    const char *address;
    uint32_t slots;
    uint32_t busy;
    bool live;
    bool avoided;        /* it cannot start tasks just now */
    const char *trouble; /* why; "" unless avoided */
};
struct worker_list {
    struct worker_info *items;
    size_t count;
};
int mr_client_list_workers(struct mr_client *c, struct arena *arena, struct worker_list *ret_list,
                           struct err *e) MUST_CHECK;

/* Calls on_status for each state of the job until it has ended. */
typedef void (*mr_client_status_fn)(void *arg, const struct job_status *status);
int mr_client_watch(struct mr_client *c, const char *job, mr_client_status_fn on_status, void *arg,
                    struct err *e) MUST_CHECK;

/* Reads an attempt's log from its worker. take() below 0 ends it with that error. */
typedef int (*mr_client_log_fn)(void *arg, const void *data, size_t length, struct err *e);
int mr_client_read_log(struct mr_client *c, const struct attempt_info *attempt,
                       mr_client_log_fn take, void *arg, struct err *e) MUST_CHECK;

#endif
