/* What settings mean, in one place; and the library's door. See job.h. */
#include "mapreduce/engine/job.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/limits.h"
#include "mapreduce/engine/inflated.h"
#include "mapreduce/engine/partition.h"

static_assert((int)MR_ABI == (int)TRIREME_ABI, "the public header and our limits agree");

enum { SORT_BYTES_MIN = 1024 * 1024 };

void job_deinit(struct job *j)
{
    settings_deinit(&j->settings);
    settings_deinit(&j->environment);
}

static int copy_separator(const struct job *j, const char *name, char ret[8], struct err *e)
{
    const char *text = settings_get(&j->settings, name);
    text = text ? text : "\t";
    size_t length = strlen(text);
    if (length < 1 || length > 7) {
        return err_set(e, ERR_INVALID, "setting %s: a separator has 1 to 7 bytes", name);
    }
    memcpy(ret, text, length + 1);
    return 0;
}

static int resolve_text(struct job *j, struct err *e)
{
    uint64_t fields = 1;
    int r =
        copy_separator(j, "mapreduce.output.textoutputformat.separator", j->output_separator, e);
    r = r < 0 ? r
              : copy_separator(j, "stream.map.output.field.separator", j->map_fields.separator, e);
    r = r < 0 ? r
              : copy_separator(j, "stream.reduce.input.field.separator", j->reduce_input.separator,
                               e);
    r = r < 0 ? r
              : settings_get_u64(&j->settings, "stream.num.map.output.key.fields", 1, &fields, e);
    r = r < 0 ? r
              : settings_get_bool(&j->settings, "stream.compat.trailing.tab", false,
                                  &j->keep_trailing_tab, e);
    r = r < 0 ? r
              : settings_get_bool(&j->settings, "stream.non.zero.exit.is.failure", true,
                                  &j->exit_status_matters, e);
    if (r == 0 && (fields < 1 || fields > UINT32_MAX)) {
        r = err_set(e, ERR_INVALID, "setting stream.num.map.output.key.fields: at least 1");
    }
    j->map_fields.fields = (uint32_t)fields;
    j->reduce_input.fields = 1;
    const char *prefix = settings_get(&j->settings, "stream.stderr.reporter.prefix");
    j->reporter_prefix = prefix ? prefix : "reporter:";
    return r;
}

static int resolve_formats(struct job *j, struct err *e)
{
    const struct mr_job *native = j->native;
    uint32_t input = j->input_format;
    if (input == JOB_FORMAT_DEFAULT) {
        input = native && !j->map_command ? native->input : MR_INPUT_LINES;
    }
    uint32_t output = j->output_format;
    if (output == JOB_FORMAT_DEFAULT) {
        output = native ? native->output : MR_OUTPUT_TEXT;
    }
    if (input > MR_INPUT_FILES || output > MR_OUTPUT_RAW) {
        return err_set(e, ERR_INVALID, "unknown input or output format");
    }
    j->input = (enum mr_input)input;
    j->output = (enum mr_output)output;
    if (j->record_bytes == 0 && native) {
        j->record_bytes = native->input_record_bytes;
    }
    if (j->input == MR_INPUT_FIXED && j->record_bytes == 0) {
        return err_set(e, ERR_INVALID, "records of fixed length need their length");
    }
    return 0;
}

static int resolve_limits(struct job *j, struct err *e)
{
    uint64_t sort_mb = 0;
    int r = settings_get_u64(&j->settings, "mapreduce.task.io.sort.mb", 0, &sort_mb, e);
    r = r < 0 ? r
              : settings_get_u64(&j->settings, "mapreduce.input.linerecordreader.line.maxlength",
                                 MR_RECORD_BYTES_MAX, &j->record_bytes_max, e);
    r = r < 0 ? r
              : settings_get_bool(&j->settings, "mapreduce.map.output.compress", false,
                                  &j->compress, e);
    r = r < 0 ? r : settings_get_bool(&j->settings, INFLATED_SETTING, true, &j->decompress, e);
    if (r < 0) {
        return r;
    }
    if (j->sort_bytes == 0 && sort_mb > 0) {
        j->sort_bytes = sort_mb <= UINT32_MAX ? sort_mb << 20 : UINT64_MAX;
    }
    if (j->sort_bytes == 0) {
        j->sort_bytes = JOB_SORT_BYTES_DEFAULT;
    }
    if (j->sort_bytes < SORT_BYTES_MIN) {
        return err_set(e, ERR_INVALID, "memory for sorting: at least 1 MiB");
    }
    if (j->record_bytes_max < 1 || j->record_bytes_max > MR_RECORD_BYTES_MAX) {
        j->record_bytes_max = MR_RECORD_BYTES_MAX;
    }
    if (j->reduces > MR_REDUCES_MAX) {
        return err_set(e, ERR_INVALID, "at most %d reduces are possible", MR_REDUCES_MAX);
    }
    return 0;
}

int job_resolve(struct job *j, struct err *e)
{
    if (!j->native && !j->map_command && !j->reduce_command) {
        return err_set(e, ERR_INVALID, "a job needs a library, a mapper or a reducer");
    }
    int r = resolve_formats(j, e);
    r = r < 0 ? r : resolve_limits(j, e);
    return r < 0 ? r : resolve_text(j, e);
}

bool job_wants_boundaries(const struct job *j)
{
    const char *partitioner = settings_get(&j->settings, "mapreduce.job.partitioner");
    bool total = j->native && j->native->order == MR_ORDER_TOTAL && !j->native->partition;
    total = total || (partitioner && strcmp(partitioner, "total") == 0);
    return total && j->reduces > 1 && !settings_get(&j->settings, PARTITION_BOUNDARIES_SETTING);
}

/* ---- The user's library ---- */

static int check_job(const char *path, const struct mr_job *job, struct err *e)
{
    if (!job) {
        return err_set(e, ERR_INVALID, "%s: mr_job_v1() gave no job", path);
    }
    if (job->abi != MR_ABI || job->size < sizeof(struct mr_job)) {
        return err_set(e, ERR_VERSION, "%s: built for interface %u, this program has %u", path,
                       job->abi, MR_ABI);
    }
    if (!job->map && !job->map_batch) {
        return err_set(e, ERR_INVALID, "%s: the job has no map function", path);
    }
    if (job->aggregate > MR_AGGREGATE_MAX || (job->aggregate && job->combine)) {
        return err_set(e, ERR_INVALID, "%s: either aggregate or combine", path);
    }
    if (job->order > MR_ORDER_TOTAL || (job->order && job->partition)) {
        return err_set(e, ERR_INVALID, "%s: either order or partition", path);
    }
    return 0;
}

int job_library_open(const char *path, struct job_library *ret_library, struct err *e)
{
    char real[PATH_MAX]; /* dlopen() would look for a name without a slash elsewhere */
    if (!realpath(path, real)) {
        return err_errno(e, "library %s", path);
    }
    void *handle = dlopen(real, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        return err_set(e, ERR_INVALID, "%s", dlerror());
    }
    const struct mr_job *(*entry)(void) = NULL;
    *(void **)&entry = dlsym(handle, "mr_job_v1"); /* as POSIX has it */
    const struct mr_job *job = NULL;
    int r = 0;
    if (!entry) {
        r = err_set(e, ERR_INVALID, "%s: has no mr_job_v1(); is it a job?", path);
    } else {
        job = entry();
        r = check_job(path, job, e);
    }
    if (r < 0) {
        (void)dlclose(handle);
        return r;
    }
    *ret_library = (struct job_library){handle, job};
    return 0;
}

void job_library_close(struct job_library *library)
{
    if (library->handle) {
        (void)dlclose(library->handle);
        *library = (struct job_library){NULL, NULL};
    }
}
