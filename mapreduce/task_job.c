/* See task_job.h. */
#include "mapreduce/task_job.h"

#include <string.h>

#include "common/macros.h"
#include "common/parse.h"

static int set_all(struct settings *settings, const struct job_setting *items, size_t count,
                   struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        int r = settings_set(settings, items[i].name, items[i].value, e);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static const char *command_of(const char *text)
{
    return text[0] == '\0' || strcmp(text, "NONE") == 0 ? NULL : text;
}

/* What is no number is refused by job_resolve(), with the setting's name. */
static uint64_t setting_bytes(const struct job_spec *spec)
{
    uint64_t mb = 0;
    for (size_t i = 0; i < spec->setting_count; i++) {
        const struct job_setting *row = &spec->settings[i];
        if (strcmp(row->name, JOB_SORT_MB_SETTING) == 0 && parse_u64(row->value, &mb, NULL) < 0) {
            mb = 0;
        }
    }
    return MIN(mb, (uint64_t)UINT32_MAX >> 20) << 20; /* as much as --memory can be */
}

uint64_t task_job_sort_bytes(const struct job_spec *spec, uint64_t otherwise)
{
    uint64_t bytes = spec->sort_memory_bytes > 0 ? spec->sort_memory_bytes : setting_bytes(spec);
    bytes = bytes > 0 ? bytes : otherwise > 0 ? otherwise : JOB_SORT_BYTES_DEFAULT;
    return spec->task_memory_bytes > 0 ? MIN(bytes, spec->task_memory_bytes / 4) : bytes;
}

int task_job_init(struct job *job, const struct task_job_options *options, struct err *e)
{
    const struct job_spec *spec = options->spec;
    job->id = options->id;
    job->name = spec->name;
    job->native = options->native;
    job->map_command = command_of(spec->mapper);
    job->combine_command = command_of(spec->combiner);
    job->reduce_command = command_of(spec->reducer);
    job->reduces = options->reduces;
    job->input_format = spec->input_format;
    job->output_format = spec->output_format;
    job->record_bytes = spec->record_bytes;
    job->sort_bytes = task_job_sort_bytes(spec, options->sort_bytes);
    job->program_bytes = spec->task_memory_bytes;
    int r = set_all(&job->settings, spec->settings, spec->setting_count, e);
    r = r < 0 ? r : set_all(&job->environment, spec->environment, spec->environment_count, e);
    return r < 0 ? r : job_resolve(job, e);
}
