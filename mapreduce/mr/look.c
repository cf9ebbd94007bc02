/* See look.h. */
#include "mapreduce/mr/look.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int look_begin(struct look *l, const struct config_program *program, int argc, char **argv)
{
    *l = (struct look){.verb = program->name, .arena = ARENA_INIT};
    int code = config_start(&l->config, program, &l->options, argc, argv);
    if (code >= 0) {
        return code;
    }
    cluster_note_where(&l->options.cluster, &l->config, program);
    int r = cluster_open_client(&l->options.cluster, CLUSTER_LOOK_MS, &l->client, &l->err);
    return r < 0 ? cluster_fail(l->verb, r, &l->err) : -1;
}

int look_end(struct look *l, int code)
{
    if (code < 0) {
        code = cluster_fail(l->verb, code, &l->err);
    }
    cluster_leave(l->client, NULL);
    arena_deinit(&l->arena);
    config_deinit(&l->config);
    return code;
}

int look_job(struct look *l, size_t position, const char **ret_job)
{
    if (position < l->config.argument_count) {
        *ret_job = l->config.arguments[position];
        return 0;
    }
    struct job_list jobs = {NULL, 0};
    int r = mr_client_list_jobs(l->client, true, &l->arena, &jobs, &l->err);
    if (r == 0 && jobs.count == 0) {
        r = err_set(&l->err, ERR_NOT_FOUND, "there are no jobs yet");
    }
    if (r == 0) {
        *ret_job = jobs.items[0].job;
    }
    return r;
}

/* ---- Attempts by name ---- */

int look_bad_attempt(const char *text, struct err *e)
{
    return err_set(e, ERR_INVALID,
                   "'%s' is not the name of an attempt, such as attempt_1_0001_m_000003_0; "
                   "mr logs JOB lists a job's",
                   text);
}

int look_no_attempt(const char *attempt, const char *job, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "%s: %s has no such attempt; mr logs %s lists those it has",
                   attempt, job, job);
}

/* The first number in an attempt's name is the fence of the mrmaster that made it, which need not
 * be the one of its job's id. Numbers of jobs are never used again, so the second one is enough. */
int look_job_of_attempt(struct mr_client *client, const char *attempt, struct arena *arena,
                        const char **ret_job, struct err *e)
{
    struct job_list jobs = {NULL, 0};
    struct attempt_name name;
    if (!attempt_name_parse(attempt, &name)) {
        return look_bad_attempt(attempt, e);
    }
    int r = mr_client_list_jobs(client, true, arena, &jobs, e);
    for (size_t i = 0; i < jobs.count && r == 0; i++) {
        const char *number = strrchr(jobs.items[i].job, '_');
        if (number && strtoull(number + 1, NULL, 10) == name.job) {
            *ret_job = jobs.items[i].job;
            return 0;
        }
    }
    return r < 0 ? r
                 : err_set(e, ERR_NOT_FOUND,
                           "%s: no job of number %" PRIu64
                           " is remembered; mr list --all lists those that are",
                           attempt, name.job);
}
