/* See show.h. */
#include "mapreduce/mr/show.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/parse.h"
#include "mapreduce/engine/counters.h"

time_ms show_elapsed_ms(const struct job_status *status)
{
    time_ms end = status->ended_ms > 0 ? status->ended_ms : clock_wall_ms();
    return end > status->submitted_ms ? end - status->submitted_ms : 0;
}

/* ---- Counters ---- */

/* Through the engine's own struct, which knows their order. */
static void visit_counters(const struct job_status *status, counters_visit_fn visit, void *arg)
{
    struct counters counters;
    counters_init(&counters);
    for (size_t i = 0; i < status->counters.count; i++) {
        const struct job_counter *from = &status->counters.items[i];
        counters_add_named(&counters, (struct span){from->group, strlen(from->group)},
                           (struct span){from->name, strlen(from->name)}, from->value);
    }
    counters_visit(&counters, visit, arg);
    counters_deinit(&counters);
}

struct counter_print {
    FILE *to;
    char group[512]; /* under whose heading we are */
};

static void print_counter(void *arg, const char *group, const char *name, int64_t value)
{
    struct counter_print *p = arg;
    if (strcmp(p->group, group) != 0) {
        (void)fprintf(p->to, "\t%s\n", group);
        (void)snprintf(p->group, sizeof(p->group), "%s", group);
    }
    (void)fprintf(p->to, "\t\t%s=%" PRId64 "\n", name, value);
}

void show_counter_lines(FILE *to, const struct job_status *status)
{
    struct counter_print print = {to, ""};
    visit_counters(status, print_counter, &print);
}

void show_counters(FILE *to, const struct job_status *status)
{
    (void)fprintf(to, "Counters:\n");
    show_counter_lines(to, status);
}

static void count_counter(void *arg, const char *group, const char *name, int64_t value)
{
    (void)group;
    (void)name;
    (void)value;
    ++*(size_t *)arg;
}

size_t show_count_counters(const struct job_status *status)
{
    size_t count = 0;
    visit_counters(status, count_counter, &count);
    return count;
}

/* ---- Locality and attempts ---- */

static unsigned percent(uint64_t part, uint64_t all)
{
    return all > 0 ? (unsigned)(part * 100 / all) : 0;
}

void show_locality(FILE *to, const struct job_status *status)
{
    const struct job_locality *l = &status->locality;
    uint64_t tasks = l->tasks_host + l->tasks_rack + l->tasks_remote;
    uint64_t bytes = l->bytes_host + l->bytes_rack + l->bytes_remote;
    char host[FORMAT_TEXT_BYTES];
    char rack[FORMAT_TEXT_BYTES];
    char remote[FORMAT_TEXT_BYTES];
    if (tasks > 0) {
        (void)fprintf(to,
                      "Map tasks: %" PRIu64 " on a host of their input, %" PRIu64
                      " in its rack, %" PRIu64 " elsewhere (%u %% local)\n",
                      l->tasks_host, l->tasks_rack, l->tasks_remote, percent(l->tasks_host, tasks));
    }
    if (bytes > 0) {
        (void)fprintf(to, "Input bytes: %s on-host, %s in-rack, %s elsewhere (%u %% local)\n",
                      format_bytes(l->bytes_host, host), format_bytes(l->bytes_rack, rack),
                      format_bytes(l->bytes_remote, remote), percent(l->bytes_host, bytes));
    }
}

void show_attempts(FILE *to, const struct job_status *status)
{
    if (status->attempts_failed + status->attempts_lost + status->attempts_backup == 0) {
        return;
    }
    (void)fprintf(to,
                  "Attempts: %" PRIu32 " failed, %" PRIu32 " lost with or by their worker, %" PRIu32
                  " started as backups\n",
                  status->attempts_failed, status->attempts_lost, status->attempts_backup);
}

void show_skipped(FILE *to, const struct job_status *status)
{
    int64_t records = 0;
    int64_t groups = 0;
    for (size_t i = 0; i < status->counters.count; i++) {
        const struct job_counter *c = &status->counters.items[i];
        bool ours = strcmp(c->group, COUNTER_GROUP_FRAMEWORK) == 0;
        records += ours && strcmp(c->name, "Map skipped records") == 0 ? c->value : 0;
        groups += ours && strcmp(c->name, "Reduce skipped groups") == 0 ? c->value : 0;
    }
    if (records + groups <= 0) {
        return;
    }
    (void)fprintf(to,
                  "Skipped: %" PRId64 " bad records of maps, %" PRId64
                  " key groups of reduces; their results are missing from the output. mr logs %s "
                  "says which attempts left them out, mr logs %s ATTEMPT which they are\n",
                  records, groups, status->job, status->job);
}

/* ---- JSON ---- */

json_t *show_text(const char *text)
{
    json_t *string = json_string(text);
    if (string) {
        return string;
    }
    char *ascii = xstrdup(text);
    for (char *c = ascii; *c; c++) {
        *c = (unsigned char)*c < 0x80 ? *c : '?';
    }
    string = json_string(ascii);
    free(ascii);
    return string;
}

json_t *show_append(json_t *list, json_t *item)
{
    if (json_array_append_new(list, item) < 0) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static void add_counter(void *arg, const char *group, const char *name, int64_t value)
{
    json_t *counters = arg;
    json_t *of_group = json_object_get(counters, group);
    if (!of_group) {
        of_group = json_object();
        (void)json_object_set_new(counters, group, of_group);
    }
    (void)json_object_set_new(of_group, name, json_integer(value));
}

static json_t *tasks_json(const uint32_t counts[3], uint32_t permille)
{
    return json_pack("{s:I, s:I, s:I, s:f}", "total", (json_int_t)counts[0], "done",
                     (json_int_t)counts[1], "running", (json_int_t)counts[2], "percent",
                     (double)permille / 10.0);
}

static json_t *locality_json(const struct job_locality *l)
{
    return json_pack("{s:{s:I, s:I, s:I}, s:{s:I, s:I, s:I}}", "tasks", "host",
                     (json_int_t)l->tasks_host, "rack", (json_int_t)l->tasks_rack, "elsewhere",
                     (json_int_t)l->tasks_remote, "bytes", "host", (json_int_t)l->bytes_host,
                     "rack", (json_int_t)l->bytes_rack, "elsewhere", (json_int_t)l->bytes_remote);
}

json_t *show_status_json(const struct job_status *s)
{
    const uint32_t maps[3] = {s->maps, s->maps_done, s->maps_running};
    const uint32_t reduces[3] = {s->reduces, s->reduces_done, s->reduces_running};
    json_t *counters = json_object();
    visit_counters(s, add_counter, counters);
    return json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:{s:I, s:I, s:I}, s:o, s:o,"
        " s:o, s:o}",
        "job", s->job, "state", job_state_name(s->state), "name", show_text(s->name), "user",
        show_text(s->user), "output", show_text(s->output), "submitted_ms",
        (json_int_t)s->submitted_ms, "started_ms", (json_int_t)s->started_ms, "ended_ms",
        (json_int_t)s->ended_ms, "elapsed_ms", (json_int_t)show_elapsed_ms(s), "maps",
        tasks_json(maps, s->map_permille), "reduces", tasks_json(reduces, s->reduce_permille),
        "attempts", "failed", (json_int_t)s->attempts_failed, "lost", (json_int_t)s->attempts_lost,
        "backup", (json_int_t)s->attempts_backup, "locality", locality_json(&s->locality),
        "counters", counters, "failure", show_text(s->failure), "waiting", show_text(s->waiting));
}

int show_json(json_t *value)
{
    if (!value) {
        (void)fprintf(stderr, "mr: no memory for JSON\n");
        return 1;
    }
    int r = json_dumpf(value, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
    (void)fputc('\n', stdout);
    json_decref(value);
    return r == 0 && fflush(stdout) == 0 ? 0 : 1;
}
