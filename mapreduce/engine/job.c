/* What settings mean, in one place; and the library's door. See job.h. */
#include "mapreduce/engine/job.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/limits.h"
#include "common/macros.h"
#include "mapreduce/engine/inflated.h"
#include "mapreduce/engine/partition.h"

static_assert((int)MR_ABI == (int)TRIREME_ABI, "the public header and our limits agree");

enum {
    SORT_BYTES_MIN = 1024 * 1024,
    JOB_BYTES_MIN = offsetof(struct mr_job, outputs), /* a table as the first hosts had it */
};

void job_deinit(struct job *j)
{
    settings_deinit(&j->settings);
    settings_deinit(&j->environment);
}

/* The setting's value under its name of today or its older one (NULL: none); NULL: not set. */
static const char *either(const struct job *j, const char *name, const char *old)
{
    const char *text = settings_get(&j->settings, name);
    return text || !old ? text : settings_get(&j->settings, old);
}

static int copy_separator(const struct job *j, const char *name, char ret[8], struct err *e)
{
    bool of_keys = strcmp(name, JOB_KEY_SEPARATOR_SETTING) == 0;
    const char *text = either(j, name, of_keys ? "map.output.key.field.separator" : NULL);
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
    r = r < 0 ? r : copy_separator(j, JOB_FIELD_SEPARATOR_SETTING, j->map_fields.separator, e);
    r = r < 0 ? r
              : copy_separator(j, "stream.reduce.input.field.separator", j->reduce_input.separator,
                               e);
    r = r < 0 ? r : settings_get_u64(&j->settings, JOB_KEY_FIELDS_SETTING, 1, &fields, e);
    r = r < 0 ? r
              : settings_get_bool(&j->settings, "stream.compat.trailing.tab", false,
                                  &j->keep_trailing_tab, e);
    r = r < 0 ? r
              : settings_get_bool(&j->settings, "stream.non.zero.exit.is.failure", true,
                                  &j->exit_status_matters, e);
    if (r == 0 && (fields < 1 || fields > UINT32_MAX)) {
        r = err_set(e, ERR_INVALID, "setting " JOB_KEY_FIELDS_SETTING ": at least 1");
    }
    j->map_fields.fields = (uint32_t)fields;
    j->reduce_input.fields = 1;
    const char *prefix = settings_get(&j->settings, "stream.stderr.reporter.prefix");
    j->reporter_prefix = prefix ? prefix : "reporter:";
    return r;
}

/* ---- Which reduce, which order ---- */

/* Hadoop's classes are known by the last part of their names. */
static bool is_class(const char *name, const char *wanted)
{
    const char *dot = strrchr(name, '.');
    return strcmp(dot ? dot + 1 : name, wanted) == 0;
}

static int resolve_partitioner(struct job *j, struct err *e)
{
    const char *name = either(j, JOB_PARTITIONER_SETTING, "mapreduce.job.partitioner.class");
    name = name ? name : settings_get(&j->settings, "mapred.partitioner.class");
    name = name ? name : "hash";
    if (strcmp(name, "total") == 0 || is_class(name, "TotalOrderPartitioner")) {
        j->total_order = true;
    } else if (is_class(name, "KeyFieldBasedPartitioner")) {
        j->partition_by_fields = true;
    } else if (strcmp(name, "hash") != 0 && !is_class(name, "HashPartitioner")) {
        return err_set(e, ERR_INVALID,
                       "partitioner '%s' is not known: hash, total, KeyFieldBasedPartitioner",
                       name);
    }
    const char *options =
        either(j, JOB_PARTITION_OPTIONS_SETTING, "mapred.text.key.partitioner.options");
    const char *count = settings_get(&j->settings, "num.key.fields.for.partition");
    char first[32] = "";
    if (!options && count) {
        (void)snprintf(first, sizeof(first), "-k1,%.20s", count);
    }
    options = options ? options : first;
    j->partition_by_fields = j->partition_by_fields || options[0] != '\0';
    int r = keyfields_parse(&j->partition_fields, options, e);
    return r < 0 ? err_wrap(e, r, "setting " JOB_PARTITION_OPTIONS_SETTING) : 0;
}

static int resolve_comparator(struct job *j, struct err *e)
{
    const char *name = either(j, "mapreduce.job.output.key.comparator.class",
                              "mapred.output.key.comparator.class");
    const char *options = either(j, JOB_SORT_OPTIONS_SETTING, "mapred.text.key.comparator.options");
    if (name && !is_class(name, "KeyFieldBasedComparator")) {
        return err_set(e, ERR_INVALID, "comparator '%s' is not known: KeyFieldBasedComparator",
                       name);
    }
    j->sort_by_fields = options && options[0] != '\0';
    int r = keyfields_parse(&j->sort_fields, options ? options : "", e);
    return r < 0 ? err_wrap(e, r, "setting " JOB_SORT_OPTIONS_SETTING) : 0;
}

/* Parts of keys are a matter of programs' lines: a library has partition(), and emits keys whose
 * bytes are in the order that it wants. */
static int resolve_order(struct job *j, struct err *e)
{
    int r = copy_separator(j, JOB_KEY_SEPARATOR_SETTING, j->sort_fields.separator, e);
    if (r < 0) {
        return r;
    }
    memcpy(j->partition_fields.separator, j->sort_fields.separator,
           sizeof(j->sort_fields.separator));
    r = resolve_partitioner(j, e);
    r = r < 0 ? r : resolve_comparator(j, e);
    if (r < 0 || (!j->partition_by_fields && !j->sort_by_fields)) {
        return r;
    }
    if (j->native && !j->map_command) {
        return err_set(e, ERR_INVALID, "fields of keys are for programs: this map is a library's");
    }
    if (j->total_order) {
        return err_set(e, ERR_INVALID, "a total order goes by whole keys, not by their fields");
    }
    return 0;
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
    int r = settings_get_u64(&j->settings, JOB_SORT_MB_SETTING, 0, &sort_mb, e);
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
    r = r < 0 ? r : resolve_text(j, e);
    return r < 0 ? r : resolve_order(j, e);
}

bool job_wants_boundaries(const struct job *j)
{
    bool total = j->native && j->native->order == MR_ORDER_TOTAL && !j->native->partition;
    total = total || j->total_order;
    return total && j->reduces > 1 && !settings_get(&j->settings, PARTITION_BOUNDARIES_SETTING);
}

size_t job_output_count(const struct job *j)
{
    size_t count = 0;
    while (j->native && j->native->outputs && j->native->outputs[count]) {
        count++;
    }
    return count;
}

/* ---- The user's library ---- */

/* Letters, digits, _ and -, the first a letter or digit; not what parts are called. */
static bool is_output_name(const char *name)
{
    size_t length =
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return length > 0 && length <= MR_OUTPUT_NAME_BYTES_MAX && name[length] == '\0' &&
           name[0] != '_' && name[0] != '-' && strcmp(name, "part") != 0;
}

static int check_outputs(const char *path, const char *const *names, struct err *e)
{
    for (size_t i = 0; names && names[i]; i++) {
        if (i == MR_NAMED_OUTPUTS_MAX) {
            return err_set(e, ERR_INVALID, "%s: more than %d outputs", path, MR_NAMED_OUTPUTS_MAX);
        }
        if (!is_output_name(names[i])) {
            return err_set(
                e, ERR_INVALID,
                "%s: output '%.100s': a name has 1 to %d letters, digits, _ and -, begins "
                "with a letter or digit and is not 'part'",
                path, names[i], MR_OUTPUT_NAME_BYTES_MAX);
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(names[k], names[i]) == 0) {
                return err_set(e, ERR_INVALID, "%s: two outputs are called '%s'", path, names[i]);
            }
        }
    }
    return 0;
}

static int check_job(const char *path, const struct mr_job *job, struct err *e)
{
    if (!job) {
        return err_set(e, ERR_INVALID, "%s: mr_job_v1() gave no job", path);
    }
    if (job->abi != MR_ABI || job->size < JOB_BYTES_MIN) {
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

/* dlerror() names the file itself, by its whole path: once is enough. */
static int not_loaded(const char *path, const char *real, struct err *e)
{
    const char *why = dlerror();
    size_t length = strlen(real);
    why = why ? why : "?";
    if (strncmp(why, real, length) == 0 && strncmp(why + length, ": ", 2) == 0) {
        why += length + 2;
    }
    return err_set(e, ERR_INVALID,
                   "library %s cannot be loaded: %s. A library is a shared object: cc -shared "
                   "-fPIC",
                   path, why);
}

int job_library_open(const char *path, struct job_library *ret_library, struct err *e)
{
    char real[PATH_MAX]; /* dlopen() would look for a name without a slash elsewhere */
    if (!realpath(path, real)) {
        return err_errno(e, "library %s", path);
    }
    void *handle = dlopen(real, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        return not_loaded(path, real, e);
    }
    const struct mr_job *(*entry)(void) = NULL;
    *(void **)&entry = dlsym(handle, "mr_job_v1"); /* as POSIX has it */
    const struct mr_job *job = NULL;
    int r = 0;
    if (!entry) {
        r = err_set(e, ERR_INVALID,
                    "library %s has no function mr_job_v1(), which gives the job; see "
                    "<trireme/mapreduce.h>",
                    path);
    } else {
        job = entry();
        r = check_job(path, job, e);
    }
    struct mr_job *copy = NULL;
    if (r == 0 && job) { /* check_job() has seen it */
        copy = xcalloc(1, sizeof(*copy));
        memcpy(copy, job, MIN((size_t)job->size, sizeof(*copy)));
        r = check_outputs(path, copy->outputs, e);
    }
    if (r < 0) {
        free(copy);
        (void)dlclose(handle);
        return r;
    }
    *ret_library = (struct job_library){handle, copy};
    return 0;
}

void job_library_close(struct job_library *library)
{
    if (library->handle) {
        free(library->job);
        (void)dlclose(library->handle);
        *library = (struct job_library){NULL, NULL};
    }
}
