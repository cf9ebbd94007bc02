/* Field by field, both ways. Small macros keep the many equal lines equal. */
#include "mapreduce/mr_rpc.h"

#include <string.h>

#include "common/limits.h"
#include "common/macros.h"
#include "mapreduce/mr_pack.h"

#define NEW(arena, type, init_function)                                                            \
    ({                                                                                             \
        type *new_ = arena_alloc(arena, sizeof(type));                                             \
        init_function(new_);                                                                       \
        new_;                                                                                      \
    })
/* Same-named scalar, and string (protobuf-c's are char *, and not written to). */
#define SAME(field) to->field = from->field
#define TEXT(field) to->field = (char *)from->field
#define COPY(field) to->field = arena_strdup(arena, from->field)

static int too_many(struct err *e, const char *what, size_t count, size_t max)
{
    return err_set(e, ERR_INVALID, "%zu %s, at most %zu are allowed", count, what, max);
}

/* ---- Parts ---- */

static Trireme__V1__JobFile *file_to_wire(const struct job_file *from, struct arena *arena)
{
    Trireme__V1__JobFile *to = NEW(arena, Trireme__V1__JobFile, trireme__v1__job_file__init);
    TEXT(store_path);
    TEXT(name);
    SAME(executable);
    SAME(length);
    SAME(crc32c);
    to->data = (ProtobufCBinaryData){from->data.length, (uint8_t *)from->data.data};
    return to;
}

static int file_from_wire(const Trireme__V1__JobFile *from, struct arena *arena,
                          struct job_file *to, struct err *e)
{
    if (from->name[0] == '\0' || strchr(from->name, '/') || strcmp(from->name, ".") == 0 ||
        strcmp(from->name, "..") == 0 || strlen(from->name) > LIMIT_NAME_BYTES_MAX) {
        return err_set(e, ERR_INVALID, "job file name '%.100s'", from->name);
    }
    COPY(store_path);
    COPY(name);
    SAME(executable);
    SAME(length);
    SAME(crc32c);
    to->data = (struct span){arena_copy(arena, from->data.data, from->data.len), from->data.len};
    return 0;
}

static Trireme__V1__Setting **settings_to_wire(const struct job_setting *items, size_t count,
                                               struct arena *arena)
{
    Trireme__V1__Setting **list = arena_calloc(arena, (count + 1) * sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        list[i] = NEW(arena, Trireme__V1__Setting, trireme__v1__setting__init);
        list[i]->name = (char *)items[i].name;
        list[i]->value = (char *)items[i].value;
    }
    return list;
}

static struct job_setting *settings_from_wire(Trireme__V1__Setting **list, size_t count,
                                              struct arena *arena)
{
    struct job_setting *items = arena_calloc(arena, (count + 1) * sizeof(*items));
    for (size_t i = 0; i < count; i++) {
        items[i].name = arena_strdup(arena, list[i]->name);
        items[i].value = arena_strdup(arena, list[i]->value);
    }
    return items;
}

static Trireme__V1__Counter **counters_to_wire(const struct job_counters *counters,
                                               struct arena *arena)
{
    Trireme__V1__Counter **list = arena_calloc(arena, (counters->count + 1) * sizeof(*list));
    for (size_t i = 0; i < counters->count; i++) {
        list[i] = NEW(arena, Trireme__V1__Counter, trireme__v1__counter__init);
        list[i]->group = (char *)counters->items[i].group;
        list[i]->name = (char *)counters->items[i].name;
        list[i]->value = counters->items[i].value;
    }
    return list;
}

static int counters_from_wire(Trireme__V1__Counter **list, size_t count, struct arena *arena,
                              struct job_counters *ret, struct err *e)
{
    if (count > JOB_COUNTER_COUNT_MAX) {
        return too_many(e, "counters", count, JOB_COUNTER_COUNT_MAX);
    }
    ret->items = arena_calloc(arena, (count + 1) * sizeof(ret->items[0]));
    ret->count = count;
    for (size_t i = 0; i < count; i++) {
        ret->items[i].group = arena_strdup(arena, list[i]->group);
        ret->items[i].name = arena_strdup(arena, list[i]->name);
        ret->items[i].value = list[i]->value;
    }
    return 0;
}

static Trireme__V1__Locality *locality_to_wire(const struct job_locality *from, struct arena *arena)
{
    Trireme__V1__Locality *to = NEW(arena, Trireme__V1__Locality, trireme__v1__locality__init);
    SAME(tasks_host);
    SAME(tasks_rack);
    SAME(tasks_remote);
    SAME(bytes_host);
    SAME(bytes_rack);
    SAME(bytes_remote);
    return to;
}

static struct job_locality locality_from_wire(const Trireme__V1__Locality *from)
{
    struct job_locality locality = {0};
    struct job_locality *to = &locality;
    if (from) {
        SAME(tasks_host);
        SAME(tasks_rack);
        SAME(tasks_remote);
        SAME(bytes_host);
        SAME(bytes_rack);
        SAME(bytes_remote);
    }
    return locality;
}

static char **texts_to_wire(const char *const *texts, size_t count, struct arena *arena)
{
    return arena_copy(arena, texts, count * sizeof(texts[0]));
}

static const char **texts_from_wire(char **texts, size_t count, struct arena *arena)
{
    const char **list = arena_calloc(arena, (count + 1) * sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        list[i] = arena_strdup(arena, texts[i]);
    }
    return list;
}

/* ---- Job ---- */

Trireme__V1__JobSpec *job_spec_to_wire(const struct job_spec *from, struct arena *arena)
{
    Trireme__V1__JobSpec *to = NEW(arena, Trireme__V1__JobSpec, trireme__v1__job_spec__init);
    TEXT(name);
    TEXT(output);
    TEXT(mapper);
    TEXT(reducer);
    TEXT(combiner);
    to->n_inputs = from->input_count;
    to->inputs = texts_to_wire(from->inputs, from->input_count, arena);
    to->library = from->library ? file_to_wire(from->library, arena) : NULL;
    to->n_files = from->file_count;
    to->files = arena_calloc(arena, (from->file_count + 1) * sizeof(to->files[0]));
    for (size_t i = 0; i < from->file_count; i++) {
        to->files[i] = file_to_wire(&from->files[i], arena);
    }
    to->n_settings = from->setting_count;
    to->settings = settings_to_wire(from->settings, from->setting_count, arena);
    to->n_environment = from->environment_count;
    to->environment = settings_to_wire(from->environment, from->environment_count, arena);
    SAME(reduces);
    SAME(map_only);
    SAME(split_bytes);
    SAME(sort_memory_bytes);
    SAME(task_memory_bytes);
    SAME(task_timeout_ms);
    SAME(attempts_max);
    SAME(input_format);
    SAME(output_format);
    SAME(record_bytes);
    SAME(output_replication);
    SAME(locality_blind);
    SAME(speculative_off);
    SAME(skip_records);
    SAME(skip_groups);
    return to;
}

static int job_spec_check(const Trireme__V1__JobSpec *wire, struct err *e)
{
    if (wire->n_inputs == 0 || wire->n_inputs > JOB_INPUT_COUNT_MAX) {
        return too_many(e, "inputs", wire->n_inputs, JOB_INPUT_COUNT_MAX);
    }
    if (wire->n_files > JOB_FILE_COUNT_MAX) {
        return too_many(e, "files", wire->n_files, JOB_FILE_COUNT_MAX);
    }
    if (wire->n_settings > JOB_SETTING_COUNT_MAX || wire->n_environment > JOB_SETTING_COUNT_MAX) {
        return too_many(e, "settings", wire->n_settings + wire->n_environment,
                        JOB_SETTING_COUNT_MAX);
    }
    if (wire->reduces > JOB_REDUCE_COUNT_MAX) {
        return too_many(e, "reduces", wire->reduces, JOB_REDUCE_COUNT_MAX);
    }
    if (wire->skip_records > MR_SKIPS_MAX || wire->skip_groups > MR_SKIPS_MAX) {
        return too_many(e, "records to skip", MAX(wire->skip_records, wire->skip_groups),
                        MR_SKIPS_MAX);
    }
    return 0;
}

int job_spec_from_wire(const Trireme__V1__JobSpec *from, struct arena *arena, struct job_spec *ret,
                       struct err *e)
{
    struct job_spec spec = {0};
    struct job_spec *to = &spec;
    int r = job_spec_check(from, e);
    if (r < 0) {
        return r;
    }
    COPY(name);
    COPY(output);
    COPY(mapper);
    COPY(reducer);
    COPY(combiner);
    to->input_count = from->n_inputs;
    to->inputs = texts_from_wire(from->inputs, from->n_inputs, arena);
    if (from->library) {
        to->library = arena_calloc(arena, sizeof(*to->library));
        r = file_from_wire(from->library, arena, to->library, e);
    }
    to->file_count = from->n_files;
    to->files = arena_calloc(arena, (from->n_files + 1) * sizeof(to->files[0]));
    for (size_t i = 0; i < from->n_files && r == 0; i++) {
        r = file_from_wire(from->files[i], arena, &to->files[i], e);
    }
    to->setting_count = from->n_settings;
    to->settings = settings_from_wire(from->settings, from->n_settings, arena);
    to->environment_count = from->n_environment;
    to->environment = settings_from_wire(from->environment, from->n_environment, arena);
    SAME(reduces);
    SAME(map_only);
    SAME(split_bytes);
    SAME(sort_memory_bytes);
    SAME(task_memory_bytes);
    SAME(task_timeout_ms);
    SAME(attempts_max);
    SAME(input_format);
    SAME(output_format);
    SAME(record_bytes);
    SAME(output_replication);
    SAME(locality_blind);
    SAME(speculative_off);
    SAME(skip_records);
    SAME(skip_groups);
    if (r == 0) {
        *ret = spec;
    }
    return r;
}

Trireme__V1__JobRecord *job_record_to_wire(const struct job_record *from, struct arena *arena)
{
    Trireme__V1__JobRecord *to = NEW(arena, Trireme__V1__JobRecord, trireme__v1__job_record__init);
    to->format = TRIREME_DISK_FORMAT;
    TEXT(job);
    TEXT(submission);
    TEXT(user);
    SAME(number);
    SAME(submitted_ms);
    to->spec = job_spec_to_wire(&from->spec, arena);
    return to;
}

int job_record_from_wire(const Trireme__V1__JobRecord *from, struct arena *arena,
                         struct job_record *ret, struct err *e)
{
    struct job_record record = {0};
    struct job_record *to = &record;
    if (from->format > TRIREME_DISK_FORMAT) {
        return err_set(e, ERR_VERSION, "job record of format %u, newer than %d", from->format,
                       TRIREME_DISK_FORMAT);
    }
    if (!from->spec || from->number == 0) {
        return err_set(e, ERR_CORRUPT, "job record without a job");
    }
    COPY(job);
    COPY(submission);
    COPY(user);
    SAME(number);
    SAME(submitted_ms);
    int r = job_spec_from_wire(from->spec, arena, &to->spec, e);
    if (r == 0) {
        *ret = record;
    }
    return r;
}

Trireme__V1__JobStatus *job_status_to_wire(const struct job_status *from, struct arena *arena)
{
    Trireme__V1__JobStatus *to = NEW(arena, Trireme__V1__JobStatus, trireme__v1__job_status__init);
    TEXT(job);
    TEXT(name);
    TEXT(user);
    TEXT(output);
    TEXT(failure);
    TEXT(waiting);
    to->state = (Trireme__V1__JobState)from->state;
    SAME(submitted_ms);
    SAME(started_ms);
    SAME(ended_ms);
    SAME(maps);
    SAME(maps_done);
    SAME(maps_running);
    SAME(reduces);
    SAME(reduces_done);
    SAME(reduces_running);
    SAME(map_permille);
    SAME(reduce_permille);
    SAME(attempts_failed);
    SAME(attempts_lost);
    SAME(attempts_backup);
    to->locality = locality_to_wire(&from->locality, arena);
    to->n_counters = from->counters.count;
    to->counters = counters_to_wire(&from->counters, arena);
    return to;
}

int job_status_from_wire(const Trireme__V1__JobStatus *from, struct arena *arena,
                         struct job_status *ret, struct err *e)
{
    struct job_status status = {0};
    struct job_status *to = &status;
    COPY(job);
    COPY(name);
    COPY(user);
    COPY(output);
    COPY(failure);
    COPY(waiting);
    bool known = (unsigned)from->state < JOB_STATE_COUNT;
    to->state = known ? (enum job_state)from->state : JOB_STATE_UNKNOWN;
    SAME(submitted_ms);
    SAME(started_ms);
    SAME(ended_ms);
    SAME(maps);
    SAME(maps_done);
    SAME(maps_running);
    SAME(reduces);
    SAME(reduces_done);
    SAME(reduces_running);
    SAME(map_permille);
    SAME(reduce_permille);
    SAME(attempts_failed);
    SAME(attempts_lost);
    SAME(attempts_backup);
    to->locality = locality_from_wire(from->locality);
    int r = counters_from_wire(from->counters, from->n_counters, arena, &to->counters, e);
    if (r == 0) {
        *ret = status;
    }
    return r;
}

Trireme__V1__JobOutcome *job_outcome_to_wire(const struct job_outcome *from, struct arena *arena)
{
    Trireme__V1__JobOutcome *to =
        NEW(arena, Trireme__V1__JobOutcome, trireme__v1__job_outcome__init);
    to->format = TRIREME_DISK_FORMAT;
    SAME(hidden);
    to->status = job_status_to_wire(&from->status, arena);
    return to;
}

int job_outcome_from_wire(const Trireme__V1__JobOutcome *from, struct arena *arena,
                          struct job_outcome *ret, struct err *e)
{
    if (from->format > TRIREME_DISK_FORMAT) {
        return err_set(e, ERR_VERSION, "job outcome of format %u, newer than %d", from->format,
                       TRIREME_DISK_FORMAT);
    }
    if (from->format == 0 || !from->status) {
        return err_set(e, ERR_CORRUPT, "job outcome without a status");
    }
    int r = job_status_from_wire(from->status, arena, &ret->status, e);
    if (r == 0) {
        ret->hidden = from->hidden;
    }
    return r;
}

/* ---- Worker to master ---- */

static Trireme__V1__WorkerHello *hello_to_wire(const struct worker_hello *from, struct arena *arena)
{
    Trireme__V1__WorkerHello *to =
        NEW(arena, Trireme__V1__WorkerHello, trireme__v1__worker_hello__init);
    to->member_key.data = (uint8_t *)from->key.bytes;
    to->member_key.len = sizeof(from->key.bytes);
    TEXT(host);
    TEXT(rack);
    TEXT(address);
    SAME(slots);
    to->wire_version = TRIREME_WIRE_VERSION;
    return to;
}

static int hello_from_wire(const Trireme__V1__WorkerHello *from, struct arena *arena,
                           struct worker_hello *to, struct err *e)
{
    if (from->member_key.len != sizeof(to->key.bytes)) {
        return err_set(e, ERR_INVALID, "worker key of %zu bytes", from->member_key.len);
    }
    if (from->wire_version > TRIREME_WIRE_VERSION) {
        return err_set(e, ERR_VERSION, "worker speaks wire version %u, newer than %d",
                       from->wire_version, TRIREME_WIRE_VERSION);
    }
    if (from->slots == 0 || from->slots > WORKER_SLOT_COUNT_MAX) {
        return err_set(e, ERR_INVALID, "worker with %u slots, 1 to %d are allowed", from->slots,
                       WORKER_SLOT_COUNT_MAX);
    }
    memcpy(to->key.bytes, from->member_key.data, sizeof(to->key.bytes));
    COPY(host);
    COPY(rack);
    COPY(address);
    SAME(slots);
    return 0;
}

static Trireme__V1__AttemptEnd *end_to_wire(const struct attempt_end *from, struct arena *arena)
{
    Trireme__V1__AttemptEnd *to =
        NEW(arena, Trireme__V1__AttemptEnd, trireme__v1__attempt_end__init);
    TEXT(attempt);
    TEXT(stderr_tail);
    to->ok = from->code == 0;
    to->error_name = (char *)(from->code == 0 ? "" : err_name(from->code));
    to->error_text = (char *)from->text;
    to->n_counters = from->counters.count;
    to->counters = counters_to_wire(&from->counters, arena);
    to->locality = locality_to_wire(&from->locality, arena);
    to->n_lost_maps = from->lost_count;
    to->lost_maps = from->lost_maps;
    to->n_lost_map_attempts = from->lost_count;
    to->lost_map_attempts = texts_to_wire(from->lost_map_attempts, from->lost_count, arena);
    SAME(committed);
    SAME(output_inode);
    SAME(not_started);
    SAME(bad_record);
    return to;
}

static int end_from_wire(const Trireme__V1__AttemptEnd *from, struct arena *arena,
                         struct attempt_end *to, struct err *e)
{
    if (from->n_lost_maps != from->n_lost_map_attempts) {
        return err_set(e, ERR_INVALID, "lost maps and their attempts differ in number");
    }
    COPY(attempt);
    COPY(stderr_tail);
    to->code = from->ok ? 0 : err_from_name(from->error_name);
    to->code = !from->ok && to->code == 0 ? ERR_TASK : to->code;
    to->text = arena_strdup(arena, from->error_text);
    to->locality = locality_from_wire(from->locality);
    to->lost_count = from->n_lost_maps;
    to->lost_maps = arena_copy(arena, from->lost_maps, from->n_lost_maps * sizeof(uint32_t));
    to->lost_map_attempts =
        texts_from_wire(from->lost_map_attempts, from->n_lost_map_attempts, arena);
    SAME(committed);
    SAME(output_inode);
    SAME(not_started);
    SAME(bad_record);
    return counters_from_wire(from->counters, from->n_counters, arena, &to->counters, e);
}

static Trireme__V1__WorkerBeat *beat_to_wire(const struct worker_beat *from, struct arena *arena)
{
    Trireme__V1__WorkerBeat *to =
        NEW(arena, Trireme__V1__WorkerBeat, trireme__v1__worker_beat__init);
    SAME(sequence);
    to->n_running = from->running_count;
    to->running = arena_calloc(arena, (from->running_count + 1) * sizeof(to->running[0]));
    for (size_t i = 0; i < from->running_count; i++) {
        to->running[i] =
            NEW(arena, Trireme__V1__AttemptProgress, trireme__v1__attempt_progress__init);
        to->running[i]->attempt = (char *)from->running[i].attempt;
        to->running[i]->permille = from->running[i].permille;
        to->running[i]->status = (char *)from->running[i].status;
    }
    to->n_ended = from->ended_count;
    to->ended = arena_calloc(arena, (from->ended_count + 1) * sizeof(to->ended[0]));
    for (size_t i = 0; i < from->ended_count; i++) {
        to->ended[i] = end_to_wire(&from->ended[i], arena);
    }
    return to;
}

static int beat_from_wire(const Trireme__V1__WorkerBeat *from, struct arena *arena,
                          struct worker_beat *to, struct err *e)
{
    SAME(sequence);
    to->running_count = from->n_running;
    to->running = arena_calloc(arena, (from->n_running + 1) * sizeof(to->running[0]));
    for (size_t i = 0; i < from->n_running; i++) {
        to->running[i].attempt = arena_strdup(arena, from->running[i]->attempt);
        to->running[i].permille = from->running[i]->permille;
        to->running[i].status = arena_strdup(arena, from->running[i]->status);
    }
    to->ended_count = from->n_ended;
    to->ended = arena_calloc(arena, (from->n_ended + 1) * sizeof(to->ended[0]));
    int r = 0;
    for (size_t i = 0; i < from->n_ended && r == 0; i++) {
        r = end_from_wire(from->ended[i], arena, &to->ended[i], e);
    }
    return r;
}

static Trireme__V1__WorkerPast *past_to_wire(const struct worker_past *from, struct arena *arena)
{
    Trireme__V1__WorkerPast *to =
        NEW(arena, Trireme__V1__WorkerPast, trireme__v1__worker_past__init);
    SAME(last);
    to->n_jobs = from->job_count;
    to->jobs = texts_to_wire(from->jobs, from->job_count, arena);
    to->n_attempts = from->attempt_count;
    to->attempts = arena_calloc(arena, (from->attempt_count + 1) * sizeof(to->attempts[0]));
    for (size_t i = 0; i < from->attempt_count; i++) {
        const struct past_attempt *past = &from->attempts[i];
        Trireme__V1__PastAttempt *wire =
            NEW(arena, Trireme__V1__PastAttempt, trireme__v1__past_attempt__init);
        wire->end = end_to_wire(&past->end, arena);
        wire->state = (char *)past->state;
        wire->started_ms = past->started_ms;
        wire->ended_ms = past->ended_ms;
        wire->held = past->held;
        wire->plan = past->plan;
        to->attempts[i] = wire;
    }
    return to;
}

static int past_from_wire(const Trireme__V1__WorkerPast *from, struct arena *arena,
                          struct worker_past *to, struct err *e)
{
    SAME(last);
    to->job_count = from->n_jobs;
    to->jobs = texts_from_wire(from->jobs, from->n_jobs, arena);
    to->attempt_count = from->n_attempts;
    to->attempts = arena_calloc(arena, (from->n_attempts + 1) * sizeof(to->attempts[0]));
    for (size_t i = 0; i < from->n_attempts; i++) {
        const Trireme__V1__PastAttempt *wire = from->attempts[i];
        struct past_attempt *past = &to->attempts[i];
        if (!wire->end) {
            return err_set(e, ERR_INVALID, "a past attempt without its end");
        }
        int r = end_from_wire(wire->end, arena, &past->end, e);
        if (r < 0) {
            return r;
        }
        past->state = arena_strdup(arena, wire->state);
        past->started_ms = wire->started_ms;
        past->ended_ms = wire->ended_ms;
        past->held = wire->held;
        past->plan = wire->plan;
    }
    return 0;
}

Trireme__V1__WorkerMessage *worker_message_to_wire(const struct worker_message *from,
                                                   struct arena *arena)
{
    Trireme__V1__WorkerMessage *to =
        NEW(arena, Trireme__V1__WorkerMessage, trireme__v1__worker_message__init);
    to->hello = from->hello ? hello_to_wire(from->hello, arena) : NULL;
    to->beat = from->beat ? beat_to_wire(from->beat, arena) : NULL;
    to->past = from->past ? past_to_wire(from->past, arena) : NULL;
    return to;
}

int worker_message_from_wire(const Trireme__V1__WorkerMessage *from, struct arena *arena,
                             struct worker_message *ret, struct err *e)
{
    struct worker_message message = {0};
    int r = 0;
    if ((from->hello != NULL) + (from->beat != NULL) + (from->past != NULL) != 1) {
        return err_set(e, ERR_INVALID, "worker message must be one of hello, past and beat");
    }
    if (from->hello) {
        message.hello = arena_calloc(arena, sizeof(*message.hello));
        r = hello_from_wire(from->hello, arena, message.hello, e);
    } else if (from->past) {
        message.past = arena_calloc(arena, sizeof(*message.past));
        r = past_from_wire(from->past, arena, message.past, e);
    } else {
        message.beat = arena_calloc(arena, sizeof(*message.beat));
        r = beat_from_wire(from->beat, arena, message.beat, e);
    }
    if (r == 0) {
        *ret = message;
    }
    return r;
}

/* ---- Master to worker ---- */

static Trireme__V1__MapDone **map_done_to_wire(const struct map_done *items, size_t count,
                                               struct arena *arena)
{
    Trireme__V1__MapDone **list = arena_calloc(arena, (count + 1) * sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        const struct map_done *from = &items[i];
        Trireme__V1__MapDone *to = NEW(arena, Trireme__V1__MapDone, trireme__v1__map_done__init);
        TEXT(job);
        TEXT(attempt);
        TEXT(address);
        TEXT(host);
        SAME(map);
        SAME(withdrawn);
        list[i] = to;
    }
    return list;
}

static struct map_done *map_done_from_wire(Trireme__V1__MapDone **list, size_t count,
                                           struct arena *arena)
{
    struct map_done *items = arena_calloc(arena, (count + 1) * sizeof(*items));
    for (size_t i = 0; i < count; i++) {
        const Trireme__V1__MapDone *from = list[i];
        struct map_done *to = &items[i];
        COPY(job);
        COPY(attempt);
        COPY(address);
        COPY(host);
        SAME(map);
        SAME(withdrawn);
    }
    return items;
}

static Trireme__V1__Assignment *assignment_to_wire(const struct assignment *from,
                                                   struct arena *arena)
{
    Trireme__V1__Assignment *to =
        NEW(arena, Trireme__V1__Assignment, trireme__v1__assignment__init);
    TEXT(job);
    TEXT(attempt);
    TEXT(hidden_directory);
    TEXT(output_name);
    TEXT(fence_name);
    TEXT(user);
    SAME(task);
    SAME(reduce);
    SAME(maps);
    SAME(reduces);
    SAME(fence_epoch);
    SAME(hidden_inode);
    SAME(plan);
    SAME(careful);
    to->n_skip = from->skip_count;
    to->skip = from->skip;
    to->spec = from->spec ? job_spec_to_wire(from->spec, arena) : NULL;
    to->n_splits = from->split_count;
    to->splits = arena_calloc(arena, (from->split_count + 1) * sizeof(to->splits[0]));
    for (size_t i = 0; i < from->split_count; i++) {
        to->splits[i] = NEW(arena, Trireme__V1__InputSplit, trireme__v1__input_split__init);
        to->splits[i]->path = (char *)from->splits[i].path;
        to->splits[i]->offset = from->splits[i].offset;
        to->splits[i]->length = from->splits[i].length;
        to->splits[i]->file_length = from->splits[i].file_length;
        to->splits[i]->inode = from->splits[i].inode;
    }
    return to;
}

static int assignment_from_wire(const Trireme__V1__Assignment *from, struct arena *arena,
                                struct assignment *to, struct err *e)
{
    COPY(job);
    COPY(attempt);
    COPY(hidden_directory);
    COPY(output_name);
    COPY(fence_name);
    COPY(user);
    SAME(task);
    SAME(reduce);
    SAME(maps);
    SAME(reduces);
    SAME(fence_epoch);
    SAME(hidden_inode);
    SAME(plan);
    to->split_count = from->n_splits;
    to->splits = arena_calloc(arena, (from->n_splits + 1) * sizeof(to->splits[0]));
    for (size_t i = 0; i < from->n_splits; i++) {
        to->splits[i].path = arena_strdup(arena, from->splits[i]->path);
        to->splits[i].offset = from->splits[i]->offset;
        to->splits[i].length = from->splits[i]->length;
        to->splits[i].file_length = from->splits[i]->file_length;
        to->splits[i].inode = from->splits[i]->inode;
    }
    if (from->n_skip > MR_SKIPS_MAX) {
        return too_many(e, "records to skip", from->n_skip, MR_SKIPS_MAX);
    }
    SAME(careful);
    to->skip_count = from->n_skip;
    to->skip = arena_copy(arena, from->skip, from->n_skip * sizeof(to->skip[0]));
    if (!from->spec) {
        return 0;
    }
    to->spec = arena_calloc(arena, sizeof(*to->spec));
    return job_spec_from_wire(from->spec, arena, to->spec, e);
}

Trireme__V1__MasterMessage *master_message_to_wire(const struct master_message *from,
                                                   struct arena *arena)
{
    Trireme__V1__MasterMessage *to =
        NEW(arena, Trireme__V1__MasterMessage, trireme__v1__master_message__init);
    to->n_assign = from->assign_count;
    to->assign = arena_calloc(arena, (from->assign_count + 1) * sizeof(to->assign[0]));
    for (size_t i = 0; i < from->assign_count; i++) {
        to->assign[i] = assignment_to_wire(&from->assign[i], arena);
    }
    to->n_map_done = from->map_done_count;
    to->map_done = map_done_to_wire(from->map_done, from->map_done_count, arena);
    to->n_kill = from->kill_count;
    to->kill = texts_to_wire(from->kill, from->kill_count, arena);
    to->n_forget_jobs = from->forget_count;
    to->forget_jobs = texts_to_wire(from->forget_jobs, from->forget_count, arena);
    SAME(ack_sequence);
    return to;
}

int master_message_from_wire(const Trireme__V1__MasterMessage *from, struct arena *arena,
                             struct master_message *ret, struct err *e)
{
    struct master_message message = {0};
    struct master_message *to = &message;
    int r = 0;
    to->assign_count = from->n_assign;
    to->assign = arena_calloc(arena, (from->n_assign + 1) * sizeof(to->assign[0]));
    for (size_t i = 0; i < from->n_assign && r == 0; i++) {
        r = assignment_from_wire(from->assign[i], arena, &to->assign[i], e);
    }
    to->map_done_count = from->n_map_done;
    to->map_done = map_done_from_wire(from->map_done, from->n_map_done, arena);
    to->kill_count = from->n_kill;
    to->kill = texts_from_wire(from->kill, from->n_kill, arena);
    to->forget_count = from->n_forget_jobs;
    to->forget_jobs = texts_from_wire(from->forget_jobs, from->n_forget_jobs, arena);
    SAME(ack_sequence);
    if (r == 0) {
        *ret = message;
    }
    return r;
}

/* ---- Bytes ---- */

#define DEFINE_PACK(name, Wire, wire)                                                              \
    void name##_pack(const struct name *from, struct buf *out)                                     \
    {                                                                                              \
        struct arena arena = ARENA_INIT;                                                           \
        Trireme__V1__##Wire *message = name##_to_wire(from, &arena);                               \
        size_t size = trireme__v1__##wire##__get_packed_size(message);                             \
        buf_reserve(out, size);                                                                    \
        (void)trireme__v1__##wire##__pack(message, (uint8_t *)out->data + out->length);            \
        out->length += size;                                                                       \
        out->data[out->length] = '\0';                                                             \
        arena_deinit(&arena);                                                                      \
    }                                                                                              \
    int name##_unpack(struct span bytes, struct arena *arena, struct name *ret, struct err *e)     \
    {                                                                                              \
        Trireme__V1__##Wire *message =                                                             \
            trireme__v1__##wire##__unpack(NULL, bytes.length, bytes.data);                         \
        if (!message) {                                                                            \
            return err_set(e, ERR_CORRUPT, "not a " #Wire " message of %zu bytes", bytes.length);  \
        }                                                                                          \
        int r = name##_from_wire(message, arena, ret, e);                                          \
        trireme__v1__##wire##__free_unpacked(message, NULL);                                       \
        return r;                                                                                  \
    }

DEFINE_PACK(job_spec, JobSpec, job_spec)
DEFINE_PACK(job_record, JobRecord, job_record)
DEFINE_PACK(job_status, JobStatus, job_status)
DEFINE_PACK(job_outcome, JobOutcome, job_outcome)
DEFINE_PACK(worker_message, WorkerMessage, worker_message)
DEFINE_PACK(master_message, MasterMessage, master_message)

#define DEFINE_COPY(name)                                                                          \
    int name##_copy(const struct name *from, struct arena *arena, struct name *ret, struct err *e) \
    {                                                                                              \
        struct buf bytes = BUF_INIT;                                                               \
        name##_pack(from, &bytes);                                                                 \
        int r = name##_unpack((struct span){bytes.data, bytes.length}, arena, ret, e);             \
        buf_deinit(&bytes);                                                                        \
        return r;                                                                                  \
    }

DEFINE_COPY(job_status)
DEFINE_COPY(job_record)
