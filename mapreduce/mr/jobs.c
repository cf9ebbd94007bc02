/* mr list, history, status, kill, counters, why, workers. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/macros.h"
#include "common/parse.h"
#include "mapreduce/mr/commands.h"
#include "mapreduce/mr/listing.h"
#include "mapreduce/mr/look.h"
#include "mapreduce/mr/show.h"

static const struct config_row look_rows[] = {
    LOOK_JSON,
    CLUSTER_ROWS(struct look_options),
};

/* ---- list, history ---- */

static void add_job_row(struct listing *t, const struct job_status *s)
{
    char submitted[CLOCK_TEXT_BYTES];
    char took[FORMAT_TEXT_BYTES];
    listing_add(t, "%s", s->job);
    listing_add(t, "%s", job_state_name(s->state));
    listing_add(t, "%s", s->user);
    listing_add(t, "%" PRIu32 "%%", s->map_permille / 10);
    listing_add(t, "%" PRIu32 "%%", s->reduce_permille / 10);
    listing_add(t, "%s", clock_format_utc(s->submitted_ms, submitted));
    listing_add(t, "%s", format_duration(show_elapsed_ms(s), took));
    listing_add(t, "%s", s->name);
}

static void print_jobs(const struct job_list *jobs)
{
    static const struct listing_column columns[] = {
        {"JOB", false},   {"STATE", false},     {"USER", false}, {"MAP", true},
        {"REDUCE", true}, {"SUBMITTED", false}, {"TIME", true},  {"NAME", false},
    };
    struct listing listing;
    listing_init(&listing, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < jobs->count; i++) {
        add_job_row(&listing, &jobs->items[i]);
    }
    listing_print(&listing);
    listing_deinit(&listing);
}

static int list_jobs(const struct config_program *program, int argc, char **argv, bool all)
{
    struct look l;
    struct job_list jobs = {NULL, 0};
    int code = look_begin(&l, program, argc, argv);
    if (code >= 0) {
        return look_end(&l, code);
    }
    int r = mr_client_list_jobs(l.client, all || l.options.all, &l.arena, &jobs, &l.err);
    if (r == 0 && l.options.cluster.json) {
        json_t *list = json_array();
        for (size_t i = 0; i < jobs.count; i++) {
            list = show_append(list, show_status_json(&jobs.items[i]));
        }
        r = show_json(list);
    } else if (r == 0) {
        print_jobs(&jobs);
    }
    return look_end(&l, r);
}

static const struct config_row list_rows[] = {
    {.key = "all",
     .letter = 'a',
     .type = CONFIG_BOOL,
     .offset = offsetof(struct look_options, all),
     .flags = CONFIG_FLAG_ONLY,
     .help = "Also those that have ended, as far as they are remembered."},
    LOOK_JSON,
    CLUSTER_ROWS(struct look_options),
};

int command_list(int argc, char **argv)
{
    static const struct config_program program = {
        .name = "mr list",
        .summary = "list jobs",
        .description = "Lists the jobs that have not ended, newest first: id, state, user, percent "
                       "of map and reduce, when it was submitted (UTC), time, name. Piped, fields "
                       "are divided by TABs and there is no heading.",
        .rows = list_rows,
        .row_count = ARRAY_COUNT(list_rows),
        .footer = "Examples:\n"
                  "  mr list\n"
                  "  mr list --all --json | jq '.[] | select(.state == \"failed\") | .job'\n",
    };
    return list_jobs(&program, argc, argv, false);
}

int command_history(int argc, char **argv)
{
    static const struct config_program program = {
        .name = "mr history",
        .summary = "list all jobs that are remembered",
        .description = "The same as mr list --all. mrmaster's --history says for how long ended "
                       "jobs are remembered.",
        .rows = look_rows,
        .row_count = ARRAY_COUNT(look_rows),
        .footer = "Example:\n  mr history\n",
    };
    return list_jobs(&program, argc, argv, true);
}

/* ---- status, counters ---- */

static void print_tasks(const char *what, const uint32_t counts[3], uint32_t permille)
{
    (void)printf("%s: %" PRIu32 " of %" PRIu32 " done, %" PRIu32 " running (%" PRIu32 " %%)\n",
                 what, counts[1], counts[0], counts[2], permille / 10);
}

static void print_status(const struct job_status *s)
{
    char submitted[CLOCK_TEXT_BYTES];
    char took[FORMAT_TEXT_BYTES];
    const uint32_t maps[3] = {s->maps, s->maps_done, s->maps_running};
    const uint32_t reduces[3] = {s->reduces, s->reduces_done, s->reduces_running};
    (void)printf("%s %s (%s)\n", s->job, job_state_name(s->state), s->name);
    (void)printf("Submitted: %s by %s, %s %s\n", clock_format_utc(s->submitted_ms, submitted),
                 s->user, job_state_ended(s->state) ? "took" : "for",
                 format_duration(show_elapsed_ms(s), took));
    (void)printf("Output: %s\n", s->output);
    print_tasks("Maps", maps, s->map_permille);
    print_tasks("Reduces", reduces, s->reduce_permille);
    show_locality(stdout, s);
    show_attempts(stdout, s);
    if (s->waiting[0] != '\0') {
        (void)printf("Waiting: %s\n", s->waiting);
    }
    if (s->failure[0] != '\0') {
        (void)printf("%s:\n%s\n",
                     s->state == JOB_STATE_FAILED ? "Failure" : "Last failure of an attempt",
                     s->failure);
    }
}

static int get_status(struct look *l, struct job_status *ret)
{
    const char *job = NULL;
    int r = look_job(l, 0, &job);
    return r < 0 ? r : mr_client_get_job(l->client, job, &l->arena, ret, &l->err);
}

int command_status(int argc, char **argv)
{
    static const struct config_program program = {
        .name = "mr status",
        .summary = "show how a job goes",
        .arguments = "[JOB]",
        .description = "Shows a job's state, how much is done, where its tasks ran and, if it "
                       "failed, why. Without JOB: the newest one.",
        .rows = look_rows,
        .row_count = ARRAY_COUNT(look_rows),
        .footer = "Examples:\n"
                  "  mr status\n"
                  "  mr status job_3_0001 --json | jq .maps.percent\n",
    };
    struct look l;
    struct job_status status;
    int code = look_begin(&l, &program, argc, argv);
    if (code >= 0) {
        return look_end(&l, code);
    }
    int r = get_status(&l, &status);
    if (r == 0 && l.options.cluster.json) {
        r = show_json(show_status_json(&status));
    } else if (r == 0) {
        print_status(&status);
    }
    return look_end(&l, r);
}

int command_counters(int argc, char **argv)
{
    static const struct config_program program = {
        .name = "mr counters",
        .summary = "show a job's counters",
        .arguments = "[JOB]",
        .description = "Shows the sums of the counters of all tasks that have finished: the "
                       "framework's own and those of the job. Without JOB: the newest one.",
        .rows = look_rows,
        .row_count = ARRAY_COUNT(look_rows),
        .footer = "Examples:\n"
                  "  mr counters job_3_0001\n"
                  "  mr counters --json | jq '.\"Map-Reduce Framework\"'\n",
    };
    struct look l;
    struct job_status status;
    int code = look_begin(&l, &program, argc, argv);
    if (code >= 0) {
        return look_end(&l, code);
    }
    int r = get_status(&l, &status);
    if (r == 0 && l.options.cluster.json) {
        json_t *all = show_status_json(&status);
        json_t *counters = json_incref(json_object_get(all, "counters"));
        json_decref(all);
        r = show_json(counters);
    } else if (r == 0) {
        show_counters(stdout, &status);
    }
    return look_end(&l, r);
}

/* ---- kill ---- */

static int kill_one(struct look *l, const char *job, json_t **list)
{
    enum job_state state = JOB_STATE_UNKNOWN;
    int r = mr_client_kill(l->client, job, &state, &l->err);
    if (r < 0) {
        return r;
    }
    *list = show_append(*list, json_pack("{s:s, s:s}", "job", job, "state", job_state_name(state)));
    if (!l->options.cluster.json) {
        (void)printf("%s %s\n", job, job_state_name(state));
    }
    return 0;
}

int command_kill(int argc, char **argv)
{
    static const struct config_program program = {
        .name = "mr kill",
        .summary = "end jobs",
        .arguments = "JOB...",
        .description = "Ends jobs of yours. Answers when a job's output can no longer appear; if "
                       "it appeared just before, the job has succeeded and stays so.",
        .rows = look_rows,
        .row_count = ARRAY_COUNT(look_rows),
        .footer = "Example:\n  mr kill job_3_0001\n",
    };
    struct look l;
    int code = look_begin(&l, &program, argc, argv);
    if (code >= 0) {
        return look_end(&l, code);
    }
    int r = 0;
    json_t *list = json_array();
    if (l.config.argument_count == 0) {
        r = err_set(&l.err, ERR_INVALID, "which job? See mr list");
    }
    for (size_t i = 0; i < l.config.argument_count && r == 0; i++) {
        r = kill_one(&l, l.config.arguments[i], &list);
    }
    if (r == 0 && l.options.cluster.json) {
        r = show_json(json_incref(list));
    }
    json_decref(list);
    return look_end(&l, r);
}

/* ---- why, workers ---- */

struct slots {
    uint32_t workers, slots, busy, avoided;
};

static struct slots count_slots(const struct worker_list *workers)
{
    struct slots sum = {0};
    for (size_t i = 0; i < workers->count; i++) {
        const struct worker_info *w = &workers->items[i];
        if (w->live) {
            sum.workers++;
            sum.slots += w->slots;
            sum.busy += w->busy;
            sum.avoided += w->avoided;
        }
    }
    return sum;
}

static void print_why(const struct job_status *s, const struct worker_list *workers)
{
    struct slots sum = count_slots(workers);
    const struct slots *slots = &sum;
    uint32_t running = s->maps_running + s->reduces_running;
    print_status(s);
    if (s->state == JOB_STATE_FAILED) {
        (void)printf("It waits for nothing: it has failed, see above. Its attempts, and what they "
                     "said: mr logs %s\n",
                     s->job);
    } else if (job_state_ended(s->state)) {
        (void)printf("It waits for nothing: it has ended.\n");
    } else if (s->waiting[0] == '\0') {
        (void)printf("It waits for nothing: %" PRIu32 " of its tasks run now.\n", running);
    }
    (void)printf("Workers: %" PRIu32 " live with %" PRIu32 " slots, %" PRIu32 " of them busy\n",
                 slots->workers, slots->slots, slots->busy);
    for (size_t i = 0; i < workers->count; i++) {
        const struct worker_info *w = &workers->items[i];
        if (w->avoided) {
            (void)printf("%s at %s cannot start tasks: %s\n", w->host, w->address, w->trouble);
        }
    }
    if (!job_state_ended(s->state) && slots->workers == 0) {
        (void)printf("It lacks: a live worker. Start mrworker, or see its log.\n");
    } else if (!job_state_ended(s->state) && running == 0 && slots->busy >= slots->slots) {
        (void)printf("It lacks: a free slot. See mr list for the jobs that have them.\n");
    }
}

static json_t *why_json(const struct job_status *s, const struct slots *slots)
{
    return json_pack("{s:o, s:{s:I, s:I, s:I, s:I}}", "job", show_status_json(s), "workers", "live",
                     (json_int_t)slots->workers, "slots", (json_int_t)slots->slots, "busy",
                     (json_int_t)slots->busy, "avoided", (json_int_t)slots->avoided);
}

int command_why(int argc, char **argv)
{
    static const struct config_program program = {
        .name = "mr why",
        .summary = "say what a job waits for",
        .arguments = "[JOB]",
        .description = "Says why a job does not go on, if it does not, and what it lacks. Without "
                       "JOB: the newest one.",
        .rows = look_rows,
        .row_count = ARRAY_COUNT(look_rows),
        .footer = "Example:\n  mr why job_3_0001\n",
    };
    struct look l;
    struct job_status status;
    struct worker_list workers = {NULL, 0};
    int code = look_begin(&l, &program, argc, argv);
    if (code >= 0) {
        return look_end(&l, code);
    }
    int r = get_status(&l, &status);
    r = r < 0 ? r : mr_client_list_workers(l.client, &l.arena, &workers, &l.err);
    if (r == 0) {
        if (l.options.cluster.json) {
            struct slots slots = count_slots(&workers);
            r = show_json(why_json(&status, &slots));
        } else {
            print_why(&status, &workers);
        }
    }
    return look_end(&l, r);
}

static void print_workers(const struct worker_list *workers)
{
    static const struct listing_column columns[] = {
        {"HOST", false}, {"RACK", false},  {"ADDRESS", false}, {"SLOTS", true},
        {"BUSY", true},  {"STATE", false}, {"TROUBLE", false},
    };
    struct listing listing;
    listing_init(&listing, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < workers->count; i++) {
        const struct worker_info *w = &workers->items[i];
        listing_add(&listing, "%s", w->host);
        listing_add(&listing, "%s", w->rack);
        listing_add(&listing, "%s", w->address);
        listing_add(&listing, "%" PRIu32, w->slots);
        listing_add(&listing, "%" PRIu32, w->busy);
        listing_add(&listing, "%s", !w->live ? "silent" : w->avoided ? "avoided" : "live");
        listing_add(&listing, "%s", w->trouble);
    }
    listing_print(&listing);
    listing_deinit(&listing);
}

static json_t *workers_json(const struct worker_list *workers)
{
    json_t *list = json_array();
    for (size_t i = 0; i < workers->count; i++) {
        const struct worker_info *w = &workers->items[i];
        json_t *one =
            json_pack("{s:o, s:o, s:o, s:I, s:I, s:b, s:b, s:o}", "host", show_text(w->host),
                      "rack", show_text(w->rack), "address", show_text(w->address), "slots",
                      (json_int_t)w->slots, "busy", (json_int_t)w->busy, "live", w->live, "avoided",
                      w->avoided, "trouble", show_text(w->trouble));
        list = show_append(list, one);
    }
    return list;
}

int command_workers(int argc, char **argv)
{
    static const struct config_program program = {
        .name = "mr workers",
        .summary = "list the workers",
        .description = "Lists the workers that have joined: host and rack label, address, slots, "
                       "how many of them are busy, and whether a worker is live. One that could "
                       "not start a task is avoided for a while, and says why.",
        .rows = look_rows,
        .row_count = ARRAY_COUNT(look_rows),
        .footer = "Example:\n  mr workers\n",
    };
    struct look l;
    struct worker_list workers = {NULL, 0};
    int code = look_begin(&l, &program, argc, argv);
    if (code >= 0) {
        return look_end(&l, code);
    }
    int r = mr_client_list_workers(l.client, &l.arena, &workers, &l.err);
    if (r == 0 && l.options.cluster.json) {
        r = show_json(workers_json(&workers));
    } else if (r == 0) {
        print_workers(&workers);
    }
    return look_end(&l, r);
}
