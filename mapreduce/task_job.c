/* See task_job.h. */
#include "mapreduce/task_job.h"

#include <string.h>

#include "common/macros.h"

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
    job->sort_bytes = spec->sort_memory_bytes ? spec->sort_memory_bytes : options->sort_bytes;
    job->program_bytes = spec->task_memory_bytes;
    if (spec->task_memory_bytes > 0) { /* the rest is for the user's code */
        job->sort_bytes = MIN(job->sort_bytes, spec->task_memory_bytes / 4);
    }
    int r = set_all(&job->settings, spec->settings, spec->setting_count, e);
    r = r < 0 ? r : set_all(&job->environment, spec->environment, spec->environment_count, e);
    return r < 0 ? r : job_resolve(job, e);
}
