/* Check -> upload -> submit -> watch -> say how it ended. What was uploaded belongs to the job from
 * its acknowledged submission on; before that it is taken back on any failure. */
#include "mapreduce/mr/run_cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trireme/dfs.h>

#include "common/alloc.h"
#include "common/parse.h"
#include "common/rng.h"
#include "mapreduce/engine/exit_guard.h"
#include "mapreduce/master_store.h"
#include "mapreduce/mr/client.h"
#include "mapreduce/mr/hadoop_lines.h"
#include "mapreduce/mr/progress.h"
#include "mapreduce/mr/sample.h"
#include "mapreduce/mr/show.h"
#include "mapreduce/mr/spec.h"
#include "mapreduce/mr/upload.h"
#include "mapreduce/store_err.h"

enum { INTERRUPTED = 130 }; /* exit status, as a shell has it for SIGINT */

struct run {
    const struct run_command *command;
    const struct run_options *o;
    struct arena arena;
    struct job_library library;
    struct job job;
    struct job_spec spec;
    struct uploads uploads;
    struct mr_client *client;
    struct dfs *dfs;
    char submission[33];
    const char *id; /* of the job; NULL before it was submitted */
};

/* ---- What is to be run ---- */

static int resolve_path(struct run *r, const char *typed, const char **ret, struct err *e)
{
    struct dfs_err de = {0};
    char *path = NULL;
    if (dfs_resolve_path(r->dfs, typed, &path, &de) < 0) {
        return err_from_dfs(e, &de, "%s", typed);
    }
    *ret = arena_strdup(&r->arena, path);
    free(path);
    return 0;
}

static int resolve_paths(struct run *r, struct err *e)
{
    const struct config_list *inputs = &r->o->inputs;
    r->spec.inputs = arena_calloc(&r->arena, (inputs->count + 1) * sizeof(char *));
    int code = resolve_path(r, r->o->output, &r->spec.output, e);
    for (size_t i = 0; i < inputs->count && code == 0; i++) {
        code = resolve_path(r, inputs->items[i], &r->spec.inputs[i], e);
        r->spec.input_count = i + 1;
    }
    return code;
}

/* A total order needs to know how many reduces there are, and where their ranges begin. */
static bool needs_boundaries(struct run *r)
{
    uint32_t given = r->job.reduces;
    r->job.reduces = given == 1 && r->spec.reduces == 0 ? 2 : given;
    bool total = job_wants_boundaries(&r->job);
    r->job.reduces = given;
    return total && !r->spec.map_only;
}

static int find_boundaries(struct run *r, struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct worker_list workers = {NULL, 0};
    uint32_t slots = 0;
    int code = mr_client_list_workers(r->client, &arena, &workers, e);
    for (size_t i = 0; i < workers.count; i++) {
        slots += workers.items[i].slots;
    }
    arena_deinit(&arena);
    r->job.reduces = r->spec.reduces;
    code = code < 0 ? code : sample_boundaries(&r->job, r->dfs, &r->spec, slots, e);
    r->spec.reduces = r->job.reduces;
    spec_settings(&r->job, &r->arena, &r->spec);
    return code;
}

/* Everything that can be wrong with the command line is found before the cluster is asked. */
static int prepare(struct run *r, struct err *e)
{
    const struct run_options *o = r->o;
    int code = run_command_paths(r->command, e);
    code = code < 0 ? code : run_command_library(r->command, &r->library, e);
    code = code < 0 ? code : run_command_job(r->command, r->library.job, &r->job, e);
    code = code < 0 ? code : spec_fill(r->command, &r->job, &r->arena, &r->spec, e);
    code = code < 0 ? code : spec_commands(r->command, &r->uploads, &r->arena, &r->spec, e);
    code = code < 0 ? code : uploads_read_small(&r->uploads, e);
    code = code < 0 ? code : cluster_open_client(&o->cluster, CLUSTER_RUN_MS, &r->client, e);
    return code < 0 ? code : cluster_open_store(&o->cluster, &r->dfs, e);
}

/* What takes the store's time. mrmaster would find the same mistakes, but only afterwards. */
static int use_store(struct run *r, bool boundaries, struct err *e)
{
    int code = store_check_submission(r->dfs, &r->spec, e);
    code = code < 0 || !boundaries ? code : find_boundaries(r, e);
    return code < 0 ? code : uploads_send(&r->uploads, r->dfs, r->submission, e);
}

static int submit(struct run *r, struct err *e)
{
    uint8_t random[16];
    rng_entropy(random, sizeof(random));
    (void)format_hex(random, sizeof(random), r->submission);
    bool boundaries = needs_boundaries(r);
    int code = resolve_paths(r, e);
    if (code == 0 && (boundaries || !uploads_all_small(&r->uploads))) {
        code = use_store(r, boundaries, e);
    }
    if (code == 0 && cluster_interrupted()) {
        code = err_set(e, ERR_CANCELLED, "interrupted, nothing was submitted");
    }
    if (code == 0) {
        spec_files(&r->uploads, &r->arena, &r->spec);
        code = mr_client_submit(r->client, r->submission, &r->spec, &r->arena, &r->id, e);
    }
    if (code < 0 && code != ERR_UNKNOWN && r->dfs) {
        uploads_remove(&r->uploads, r->dfs);
    }
    return code;
}

/* ---- How it goes and ends ---- */

static void show_submitted(const struct run *r)
{
    if (r->o->hadoop && !r->o->quiet) {
        hadoop_lines_submitted(r->id);
    } else if (!r->o->quiet) {
        (void)fprintf(stderr, "%s submitted\n", r->id);
    }
}

static void show_success(const struct run *r, const struct job_status *s)
{
    char took[FORMAT_TEXT_BYTES];
    if (r->o->hadoop) {
        hadoop_lines_succeeded(s, r->o->output);
        return;
    }
    (void)fprintf(stderr, "%s succeeded in %s: %" PRIu32 " maps, %" PRIu32 " reduces\n", s->job,
                  format_duration(show_elapsed_ms(s), took), s->maps, s->reduces);
    show_locality(stderr, s);
    show_attempts(stderr, s);
    show_counters(stderr, s);
    (void)fprintf(stderr, "Output: %s\n", r->spec.output);
}

/* The attempt that a failure's last line begins with; "" if there is none. */
static const char *failed_attempt(const struct job_status *s, struct arena *arena)
{
    const char *line = strrchr(s->failure, '\n');
    line = line ? line + 1 : s->failure;
    const char *word = arena_strndup(arena, line, strcspn(line, " "));
    struct attempt_name name;
    return attempt_name_parse(word, &name) ? word : "";
}

/* The task's own last words come first: they say what the user must change. */
static void show_failure(struct run *r, const struct job_status *s)
{
    char took[FORMAT_TEXT_BYTES];
    const char *attempt = failed_attempt(s, &r->arena);
    if (r->o->hadoop) {
        hadoop_lines_failed(s, attempt);
        return;
    }
    if (s->failure[0] != '\0') {
        (void)fprintf(stderr, "%s\n", s->failure);
    }
    (void)fprintf(stderr, "%s %s after %s; there is no output\n", s->job, job_state_name(s->state),
                  format_duration(show_elapsed_ms(s), took));
    if (attempt[0] != '\0') {
        (void)fprintf(stderr, "All that this task said: mr logs %s %s\n", s->job, attempt);
    }
}

static int end_of(struct run *r, struct progress *p)
{
    const struct job_status *s = &p->last;
    bool succeeded = s->state == JOB_STATE_SUCCEEDED;
    if (!succeeded) {
        show_failure(r, s);
    } else if (!r->o->quiet) {
        show_success(r, s);
    }
    if (succeeded &&
        !r->o->hadoop) { /* whose users look at the counters; else said even if quiet */
        show_skipped(stderr, s);
    }
    int code = r->o->json ? show_json(show_status_json(s)) : 0;
    return succeeded ? code : 1;
}

/* Ctrl-C: the job goes on, unless the user has said otherwise. */
static int leave(struct run *r)
{
    if (!r->o->kill_on_interrupt) {
        (void)fprintf(stderr, "%s goes on; to end it: mr kill %s\n", r->id, r->id);
        return INTERRUPTED;
    }
    struct err e = ERR_INIT;
    enum job_state state = JOB_STATE_UNKNOWN;
    struct mr_client *client = NULL;
    cluster_forget_interrupt();
    int code = cluster_open_client(&r->o->cluster, CLUSTER_LOOK_MS, &client, &e);
    code = code < 0 ? code : mr_client_kill(client, r->id, &state, &e);
    mr_client_close(client);
    if (code < 0) {
        return cluster_fail("mr run", code, &e);
    }
    (void)fprintf(stderr, "%s %s\n", r->id, job_state_name(state));
    return INTERRUPTED;
}

static int watch(struct run *r)
{
    struct err e = ERR_INIT;
    struct progress progress;
    progress_init(&progress, r->o->quiet    ? PROGRESS_QUIET
                             : r->o->hadoop ? PROGRESS_HADOOP
                                            : PROGRESS_OURS);
    int code = mr_client_watch(r->client, r->id, progress_show, &progress, &e);
    progress_end(&progress);
    bool interrupted = code == ERR_CANCELLED && cluster_interrupted();
    if (interrupted) {
        code = leave(r);
    } else if (code < 0) {
        (void)cluster_fail("mr run", code, &e);
        (void)fprintf(stderr, "%s goes on without being watched; see mr status %s\n", r->id, r->id);
        code = 1;
    } else {
        code = end_of(r, &progress);
    }
    progress_deinit(&progress);
    return code;
}

static void release(struct run *r)
{
    cluster_leave(r->client, r->dfs);
    uploads_deinit(&r->uploads);
    job_deinit(&r->job);
    job_library_close(&r->library);
    arena_deinit(&r->arena);
}

int run_cluster(const struct run_command *command)
{
    struct run r = {.command = command, .o = &command->options, .arena = ARENA_INIT};
    struct err e = ERR_INIT;
    uploads_init(&r.uploads);
    cluster_catch_interrupt();
    exit_guard_begin("mr run"); /* the library says what the job is; samples are mapped here */
    int code = prepare(&r, &e);
    code = code < 0 ? code : submit(&r, &e);
    exit_guard_end();
    if (code < 0) {
        code = cluster_fail("mr run", code, &e);
        code = cluster_interrupted() ? INTERRUPTED : code;
    } else if (r.o->detach) {
        (void)printf("%s\n", r.id);
    } else {
        show_submitted(&r);
        code = watch(&r);
    }
    if (code != 0 && r.o->hadoop && !cluster_interrupted()) {
        hadoop_lines_end_failed();
    }
    release(&r);
    return code;
}
