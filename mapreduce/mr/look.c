/* See look.h. */
#include "mapreduce/mr/look.h"

int look_begin(struct look *l, const struct config_program *program, int argc, char **argv)
{
    *l = (struct look){.verb = program->name, .arena = ARENA_INIT};
    int code = config_start(&l->config, program, &l->options, argc, argv);
    if (code >= 0) {
        return code;
    }
    int r = cluster_open_client(&l->options.cluster, CLUSTER_LOOK_MS, &l->client, &l->err);
    return r < 0 ? cluster_fail(l->verb, r, &l->err) : -1;
}

int look_end(struct look *l, int code)
{
    if (code < 0) {
        code = cluster_fail(l->verb, code, &l->err);
    }
    mr_client_close(l->client);
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
