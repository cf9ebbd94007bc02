/* mr logs: the attempts of a job, and what one of them said. */
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

static time_ms took_ms(const struct attempt_info *a)
{
    time_ms end = a->ended_ms > 0 ? a->ended_ms : clock_wall_ms();
    return end > a->started_ms ? end - a->started_ms : 0;
}

static void print_attempts(const struct attempt_list *attempts)
{
    static const struct listing_column columns[] = {
        {"ATTEMPT", false}, {"STATE", false}, {"HOST", false}, {"TIME", true}, {"ERROR", false},
    };
    struct listing listing;
    listing_init(&listing, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < attempts->count; i++) {
        const struct attempt_info *a = &attempts->items[i];
        char took[FORMAT_TEXT_BYTES];
        listing_add(&listing, "%s", a->attempt);
        listing_add(&listing, "%s", a->state);
        listing_add(&listing, "%s", a->host);
        listing_add(&listing, "%s", format_duration(took_ms(a), took));
        listing_add(&listing, "%s", a->error);
    }
    listing_print(&listing);
    listing_deinit(&listing);
}

static json_t *attempt_json(const struct attempt_info *a)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:I, s:I, s:o, s:o}", "attempt", a->attempt, "state",
                     a->state, "host", show_text(a->host), "address", show_text(a->address),
                     "started_ms", (json_int_t)a->started_ms, "ended_ms", (json_int_t)a->ended_ms,
                     "error", show_text(a->error), "stderr_tail", show_text(a->stderr_tail));
}

/* ---- One attempt ---- */

static int write_out(void *arg, const void *data, size_t length, struct err *e)
{
    bool *any = arg;
    *any = *any || length > 0;
    return fwrite(data, 1, length, stdout) == length ? 0 : err_errno(e, "write to stdout");
}

/* From the worker; what mrmaster kept of it when the worker cannot be asked. */
static int print_log(struct look *l, const struct attempt_info *attempt)
{
    struct err e = ERR_INIT;
    bool any = false;
    if (l->options.cluster.json) {
        return show_json(attempt_json(attempt));
    }
    int r = mr_client_read_log(l->client, attempt, write_out, &any, &e);
    if (r < 0 && !any && attempt->stderr_tail[0] != '\0') {
        (void)fprintf(stderr, "mr logs: %s; these are its last lines as mrmaster has them:\n",
                      err_message(&e));
        (void)fputs(attempt->stderr_tail, stdout);
        return 0;
    }
    return r < 0 ? err_set(&l->err, r, "%s on %s: %s", attempt->attempt, attempt->host,
                           err_message(&e))
                 : 0;
}

static int show_attempt(struct look *l, const char *job, const char *wanted)
{
    struct attempt_list attempts = {NULL, 0};
    int r = mr_client_list_attempts(l->client, job, false, &l->arena, &attempts, &l->err);
    for (size_t i = 0; i < attempts.count && r == 0; i++) {
        if (strcmp(attempts.items[i].attempt, wanted) == 0) {
            return print_log(l, &attempts.items[i]);
        }
    }
    return r < 0 ? r : look_no_attempt(wanted, job, &l->err);
}

/* Why the list is empty, which the list itself cannot say. On stderr: programs read the list. */
static int say_none(struct look *l, const char *job)
{
    struct job_status s;
    int r = mr_client_get_job(l->client, job, &l->arena, &s, &l->err);
    if (r < 0) {
        return r;
    }
    bool none_ran = s.attempts_failed + s.attempts_lost + s.maps_done + s.maps_running == 0;
    if (s.state == JOB_STATE_FAILED && none_ran) {
        (void)fprintf(stderr, "%s failed before any of its tasks had run: %s\n", job, s.failure);
    } else if (s.attempts_failed > 0 || (!none_ran && !l->options.failed)) {
        (void)fprintf(stderr,
                      "%s: its attempts are not remembered: they ran before mrmaster was "
                      "restarted; mr status %s has its last failure\n",
                      job, job);
    } else {
        (void)fprintf(stderr, "%s (%s): %s\n", job, job_state_name(s.state),
                      none_ran ? "none of its tasks has run" : "no attempt of its tasks failed");
    }
    return 0;
}

static int show_all(struct look *l, const char *job)
{
    struct attempt_list attempts = {NULL, 0};
    int r =
        mr_client_list_attempts(l->client, job, l->options.failed, &l->arena, &attempts, &l->err);
    if (r == 0 && l->options.cluster.json) {
        json_t *list = json_array();
        for (size_t i = 0; i < attempts.count; i++) {
            list = show_append(list, attempt_json(&attempts.items[i]));
        }
        r = show_json(list);
    } else if (r == 0 && attempts.count == 0) {
        r = say_none(l, job);
    } else if (r == 0) {
        print_attempts(&attempts);
    }
    return r;
}

static int show_logs(struct look *l)
{
    const char *job = NULL;
    struct attempt_name name;
    size_t count = l->config.argument_count;
    if (count > 2) {
        return err_set(&l->err, ERR_INVALID, "one job and one attempt at most");
    }
    const char *wanted = count > 0 ? l->config.arguments[count - 1] : "";
    bool by_name = attempt_name_parse(wanted, &name);
    if (!by_name && (count == 2 || strncmp(wanted, "attempt_", strlen("attempt_")) == 0)) {
        return look_bad_attempt(wanted, &l->err);
    }
    if (by_name && count == 1) {
        int r = look_job_of_attempt(l->client, wanted, &l->arena, &job, &l->err);
        return r < 0 ? r : show_attempt(l, job, wanted);
    }
    int r = look_job(l, 0, &job);
    if (r < 0) {
        return r;
    }
    return count == 2 ? show_attempt(l, job, wanted) : show_all(l, job);
}

int command_logs(int argc, char **argv)
{
    static const struct config_row rows[] = {
        {.key = "failed",
         .type = CONFIG_BOOL,
         .offset = offsetof(struct look_options, failed),
         .flags = CONFIG_FLAG_ONLY,
         .help = "List only attempts that failed."},
        LOOK_JSON,
        CLUSTER_ROWS(struct look_options),
    };
    static const struct config_program program = {
        .name = "mr logs",
        .summary = "show what a job's tasks said",
        .arguments = "[JOB] [ATTEMPT]",
        .description =
            "With an attempt: prints everything that it wrote to stderr, from the "
            "worker where it ran. Without one: lists the job's attempts with their "
            "state, host, time and error, or says why there are none. Without JOB: those "
            "of the newest job.",
        .rows = rows,
        .row_count = ARRAY_COUNT(rows),
        .footer = "Examples:\n"
                  "  mr logs --failed\n"
                  "  mr logs attempt_3_0001_m_000003_0\n",
    };
    struct look l;
    int code = look_begin(&l, &program, argc, argv);
    if (code >= 0) {
        return look_end(&l, code);
    }
    return look_end(&l, show_logs(&l));
}
