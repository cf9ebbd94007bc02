/* See spec.h. */
#include "mapreduce/mr/spec.h"

#include <string.h>

#include "common/limits.h"
#include "common/macros.h"

int spec_commands(const struct run_command *command, struct uploads *uploads, struct arena *arena,
                  struct job_spec *spec, struct err *e)
{
    const struct run_options *o = &command->options;
    int r = o->library ? uploads_add(uploads, o->library, true, e) : 0;
    for (size_t i = 0; i < o->files.count && r == 0; i++) {
        r = uploads_add(uploads, o->files.items[i], false, e);
    }
    for (size_t i = 0; i < o->more_files.count && r == 0; i++) {
        r = uploads_add(uploads, o->more_files.items[i], false, e);
    }
    r = r < 0 ? r : uploads_localize(uploads, o->mapper, &spec->mapper, e);
    r = r < 0 ? r : uploads_localize(uploads, o->combiner, &spec->combiner, e);
    r = r < 0 ? r : uploads_localize(uploads, o->reducer, &spec->reducer, e);
    spec->mapper = arena_strdup(arena, spec->mapper ? spec->mapper : "");
    spec->combiner = arena_strdup(arena, spec->combiner ? spec->combiner : "");
    spec->reducer = arena_strdup(arena, spec->reducer ? spec->reducer : "");
    return r;
}

static struct job_setting *copy_settings(const struct settings *from, struct arena *arena)
{
    struct job_setting *to = arena_calloc(arena, (from->count + 1) * sizeof(*to));
    for (size_t i = 0; i < from->count; i++) {
        to[i].name = arena_strdup(arena, from->rows[i].name);
        to[i].value = arena_strdup(arena, from->rows[i].value);
    }
    return to;
}

void spec_settings(const struct job *job, struct arena *arena, struct job_spec *spec)
{
    spec->setting_count = job->settings.count;
    spec->settings = copy_settings(&job->settings, arena);
    spec->environment_count = job->environment.count;
    spec->environment = copy_settings(&job->environment, arena);
}

void spec_files(const struct uploads *uploads, struct arena *arena, struct job_spec *spec)
{
    spec->files = arena_calloc(arena, (uploads->count + 1) * sizeof(spec->files[0]));
    spec->file_count = 0;
    spec->library = NULL;
    for (size_t i = 0; i < uploads->count; i++) {
        const struct upload_file *from = &uploads->files[i];
        if (from->library) {
            spec->library = arena_copy(arena, &from->file, sizeof(from->file));
        } else {
            spec->files[spec->file_count++] = from->file;
        }
    }
}

/* Hadoop's users write Long.MAX_VALUE for "all". */
static int take_skips(const struct settings *s, const char *name, uint32_t *ret, struct err *e)
{
    uint64_t most = 0;
    int r = settings_get_u64(s, name, 0, &most, e);
    *ret = (uint32_t)MIN(most, (uint64_t)MR_SKIPS_MAX);
    return r;
}

/* Settings under Hadoop's names that mrmaster, not the engine, acts on. */
static int take_settings(const struct settings *s, struct job_spec *spec, struct err *e)
{
    uint64_t maps = 4;
    uint64_t reduces = 4;
    bool speculative_maps = true;
    bool speculative_reduces = true;
    int r = settings_get_u64(s, "mapreduce.task.timeout", 0, &spec->task_timeout_ms, e);
    r = r < 0 ? r : settings_get_u64(s, "mapreduce.map.maxattempts", 0, &maps, e);
    r = r < 0 ? r : settings_get_u64(s, "mapreduce.reduce.maxattempts", 0, &reduces, e);
    r = r < 0 ? r
              : settings_get_size(s, "mapreduce.input.fileinputformat.split.maxsize", 0,
                                  &spec->split_bytes, e);
    r = r < 0 ? r : settings_get_bool(s, "mapreduce.map.speculative", true, &speculative_maps, e);
    r = r < 0 ? r
              : settings_get_bool(s, "mapreduce.reduce.speculative", true, &speculative_reduces, e);
    r = r < 0 ? r : take_skips(s, "mapreduce.map.skip.maxrecords", &spec->skip_records, e);
    r = r < 0 ? r : take_skips(s, "mapreduce.reduce.skip.maxgroups", &spec->skip_groups, e);
    uint64_t attempts = maps > reduces ? maps : reduces;
    spec->attempts_max = attempts < 100 ? (uint32_t)attempts : 100;
    spec->speculative_off = !speculative_maps || !speculative_reduces;
    return r;
}

int spec_fill(const struct run_command *command, const struct job *job, struct arena *arena,
              struct job_spec *spec, struct err *e)
{
    const struct run_options *o = &command->options;
    int r = take_settings(&job->settings, spec, e);
    if (r < 0) {
        return r;
    }
    const char *name = settings_get(&job->settings, "mapreduce.job.name");
    spec->name = o->name ? o->name : name ? name : job->name ? job->name : "job";
    spec->map_only = job->reduces == 0;
    spec->reduces = run_command_says_reduces(command) ? job->reduces : 0;
    spec->sort_memory_bytes = o->memory_bytes;
    spec->task_memory_bytes = o->task_memory_bytes;
    spec->input_format = (uint32_t)job->input; /* as resolved: mrmaster cannot ask the library */
    spec->output_format = (uint32_t)job->output;
    spec->record_bytes = job->record_bytes;
    spec->output_replication = (uint32_t)o->output_replication;
    spec->locality_blind = o->locality_blind;
    spec->speculative_off = spec->speculative_off || o->no_speculative;
    spec->split_bytes = o->split_bytes > 0 ? o->split_bytes : spec->split_bytes;
    spec->task_timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : spec->task_timeout_ms;
    spec->attempts_max = o->attempts > 0 ? (uint32_t)o->attempts : spec->attempts_max;
    if (o->skip_bad_records > 0) {
        spec->skip_records = spec->skip_groups = (uint32_t)o->skip_bad_records;
    }
    spec_settings(job, arena, spec);
    return 0;
}
