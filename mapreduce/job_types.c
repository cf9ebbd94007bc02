/* Names of states and attempts, and a job's files; the other structs need no code. */
#include "mapreduce/job_types.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/check.h"

size_t job_spec_file_count(const struct job_spec *spec)
{
    return spec->file_count + (spec->library ? 1 : 0);
}

struct job_file *job_spec_file(const struct job_spec *spec, size_t i)
{
    CHECK(i < job_spec_file_count(spec));
    if (spec->library && i == 0) {
        return spec->library;
    }
    return &spec->files[i - (spec->library ? 1 : 0)];
}

bool job_spec_has_uploads(const struct job_spec *spec)
{
    bool has = false;
    for (size_t i = 0; i < job_spec_file_count(spec); i++) {
        has = has || job_spec_file(spec, i)->store_path[0] != '\0';
    }
    return has;
}

void job_spec_drop_data(struct job_spec *spec)
{
    for (size_t i = 0; i < job_spec_file_count(spec); i++) {
        job_spec_file(spec, i)->data = (struct span){NULL, 0};
    }
}

const char *job_state_name(enum job_state state)
{
    static const char *const names[JOB_STATE_COUNT] = {
        "unknown", "queued", "running", "committing", "succeeded", "failed", "killed"};
    return (unsigned)state < JOB_STATE_COUNT ? names[state] : names[0];
}

void job_outcome_succeed(struct job_outcome *outcome)
{
    outcome->status.state = JOB_STATE_SUCCEEDED;
    outcome->status.failure = "";
}

void attempt_name_format(const struct attempt_name *name, char ret[ATTEMPT_NAME_BYTES_MAX])
{
    int length = snprintf(
        ret, ATTEMPT_NAME_BYTES_MAX, "attempt_%" PRIu64 "_%04" PRIu64 "_%c_%06" PRIu32 "_%" PRIu32,
        name->fence, name->job, name->reduce ? 'r' : 'm', name->task, name->number);
    CHECK(length > 0 && length < ATTEMPT_NAME_BYTES_MAX);
}

bool attempt_name_parse(const char *text, struct attempt_name *ret)
{
    struct attempt_name name = {0};
    char kind = 0;
    int used = 0;
    if (strlen(text) >= ATTEMPT_NAME_BYTES_MAX) {
        return false;
    }
    /* NOLINTNEXTLINE(cert-err34-c): what overflows is another number when it is written again */
    int fields = sscanf(text, "attempt_%20" SCNu64 "_%20" SCNu64 "_%c_%9" SCNu32 "_%9" SCNu32 "%n",
                        &name.fence, &name.job, &kind, &name.task, &name.number, &used);
    if (fields != 5 || (kind != 'm' && kind != 'r') || text[used] != '\0') {
        return false;
    }
    name.reduce = kind == 'r';
    char again[ATTEMPT_NAME_BYTES_MAX];
    attempt_name_format(&name, again);
    if (strcmp(again, text) != 0) {
        return false; /* signs, blanks and other spellings of the same numbers */
    }
    *ret = name;
    return true;
}
