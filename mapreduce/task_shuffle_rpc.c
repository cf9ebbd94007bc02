/* One stream per fetch, at most TASK_FETCH_COUNT of them. A segment is checked by the engine's
 * reader when it is merged; here only its length is. What fails is tried again from its beginning.
 * See task_shuffle.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/mr.pb-c.h"

#include "common/alloc.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/rpc/rpc.h"
#include "common/rpc/rpc_bytes.h"
#include "common/rpc/rpc_stream.h"
#include "mapreduce/mr_methods.h"
#include "mapreduce/task_fetch.h"
#include "mapreduce/task_pipe.h"
#include "mapreduce/task_shuffle.h"

enum { SHUFFLE_BEAT_MS = 1000 };

/* One map's bytes, as they arrive and as they stay. */
struct segment {
    char *memory; /* NULL: in a file, or not here */
    char *path;   /* of the file with it; NULL: in memory */
    bool ours;    /* the file was made here */
};

struct fetch {
    struct shuffle *shuffle;
    struct rpc_stream *stream; /* NULL: this slot is free */
    uint32_t map;
    bool announced;    /* the header has come */
    uint64_t length;   /* of the whole segment, as announced */
    uint64_t records;  /* so */
    uint64_t received; /* bytes so far */
    char *memory;      /* being filled; NULL: the file is */
    struct sink *file; /* being filled */
    char *path;        /* of the file */
    struct rpc_timer idle;
    struct err err; /* why it was cancelled here */
    bool ours;      /* that is about our own file: the output is as good as ever */
};

struct shuffle {
    struct shuffle_options options;
    struct fetch_plan *plan;
    struct task_segment *segments; /* by map */
    struct segment *kept;          /* by map */
    uint64_t memory_used;
    struct fetch fetches[TASK_FETCH_COUNT];
    struct rpc_timer retry;
    struct err err; /* of the first output that was lost, or of what ended it here */
    bool ours;      /* it ended here: no output is to be called lost */
    uint32_t *corrupt;
    uint32_t corrupt_count;
};

/* ---- Sources of segments in files ----
 *
 * A reduce may have more map outputs on its own disk than a process may have open files, so a file
 * is open only while its segment is being read. */

struct lazy_source {
    struct source base;
    char *path;
    uint64_t end; /* of the segment: read up to there, the file is closed */
    struct source *file;
};

static int64_t lazy_read(struct source *s, uint64_t offset, void *data, size_t length,
                         struct err *e)
{
    struct lazy_source *l = CONTAINER_OF(s, struct lazy_source, base);
    if (offset >= l->end) {
        return 0;
    }
    int r = l->file ? 0 : source_open_file(l->path, &l->file, e);
    if (r < 0) {
        return r;
    }
    int64_t n = l->file->read(l->file, offset, data, MIN(length, (size_t)(l->end - offset)), e);
    if (n > 0 && offset + (uint64_t)n >= l->end) {
        source_free(l->file);
        l->file = NULL;
    }
    return n;
}

static void lazy_free(struct source *s)
{
    struct lazy_source *l = CONTAINER_OF(s, struct lazy_source, base);
    source_free(l->file);
    free(l->path);
    free(l);
}

static struct source *lazy_source_new(const char *path, uint64_t end)
{
    struct lazy_source *l = xcalloc(1, sizeof(*l));
    l->path = xstrdup(path);
    l->end = end;
    l->base = (struct source){.name = l->path, .length = end, .read = lazy_read, .free = lazy_free};
    return &l->base;
}

/* ---- Life ---- */

struct shuffle *shuffle_new(const struct shuffle_options *options)
{
    struct shuffle *s = xcalloc(1, sizeof(*s));
    s->options = *options;
    s->plan = fetch_plan_new(options->maps);
    s->segments = xcalloc((size_t)options->maps + 1, sizeof(*s->segments));
    s->kept = xcalloc((size_t)options->maps + 1, sizeof(*s->kept));
    return s;
}

void shuffle_free(struct shuffle *s)
{
    if (!s) {
        return;
    }
    for (uint32_t i = 0; i < s->options.maps; i++) {
        source_free(s->segments[i].source);
        free(s->kept[i].memory);
        if (s->kept[i].ours) {
            (void)unlink(s->kept[i].path);
        }
        free(s->kept[i].path);
    }
    fetch_plan_free(s->plan);
    free(s->segments);
    free(s->kept);
    free(s->corrupt);
    free(s);
}

int shuffle_told(struct shuffle *s, const struct map_done *done, struct err *e)
{
    if (strcmp(done->job, s->options.job) != 0) {
        return 0; /* of another job that this worker has reduces of */
    }
    return fetch_plan_told(s->plan, done, e);
}

static void fetch_failed(struct shuffle *s, const struct fetch_wanted *wanted, bool gone,
                         const struct err *why)
{
    struct err text = ERR_INIT;
    (void)err_set(&text, ERR_UNAVAILABLE, "output of %s on %s cannot be fetched: %s",
                  wanted->attempt, wanted->address, err_message(why));
    if (fetch_plan_failed(s->plan, wanted->map, gone, clock_mono_ms()) && s->err.code == 0) {
        s->err = text;
    }
}

/* ---- From this worker's own disk ---- */

static void take_local(struct shuffle *s, const struct fetch_wanted *wanted)
{
    struct err e = ERR_INIT;
    struct buf path = BUF_INIT;
    struct source *file = NULL;
    struct run_index index = {NULL, 0};
    task_path(TASK_PATH_MAP_OUTPUT, s->options.data, s->options.job, wanted->attempt, &path);
    int r = source_open_file(path.data, &file, &e);
    r = r < 0 ? r : run_index_read(file, &index, &e);
    if (r == 0 && s->options.partition >= index.count) {
        r = err_set(&e, ERR_CORRUPT, "%s: has %" PRIu32 " partitions", path.data, index.count);
    }
    source_free(file);
    if (r < 0) {
        fetch_failed(s, wanted, r == ERR_NOT_FOUND || r == ERR_CORRUPT, &e);
    } else {
        const struct run_segment *from = &index.segments[s->options.partition];
        s->segments[wanted->map] = (struct task_segment){
            .source =
                from->length > 0 ? lazy_source_new(path.data, from->offset + from->length) : NULL,
            .offset = from->offset,
            .length = from->length,
            .records = from->records};
        fetch_plan_done(s->plan, wanted->map);
    }
    run_index_deinit(&index);
    buf_deinit(&path);
}

/* ---- Over the network ---- */

static void idle_too_long(void *arg)
{
    struct fetch *f = arg;
    (void)err_set(&f->err, ERR_TIMEOUT, "nothing came for %d s", TASK_FETCH_IDLE_MS / 1000);
    rpc_stream_cancel(f->stream);
}

static void watch_idle(struct fetch *f)
{
    rpc_timer_set(f->shuffle->options.loop, &f->idle, clock_mono_ms() + TASK_FETCH_IDLE_MS,
                  idle_too_long, f);
}

/* Finds room for the segment: memory while there is some, else a file. */
static int take_header(struct fetch *f, struct span packed)
{
    struct shuffle *s = f->shuffle;
    struct arena arena = ARENA_INIT;
    ProtobufCMessage *message = NULL;
    int r = rpc_unpack(&trireme__v1__fetch_header__descriptor, packed, &arena, &message);
    if (r == 0) {
        const Trireme__V1__FetchHeader *header = (const Trireme__V1__FetchHeader *)message;
        f->announced = true;
        f->length = header->segment_bytes;
        f->records = header->records;
    }
    arena_deinit(&arena);
    if (r < 0) {
        return err_set(&f->err, r, "not a FetchHeader");
    }
    if (f->length <= s->options.memory_bytes - s->memory_used) {
        f->memory = malloc(f->length + 1);
    }
    if (f->memory) {
        s->memory_used += f->length;
        return 0;
    }
    f->path = xprintf("%s/segment-%06" PRIu32, s->options.temp_directory, f->map);
    r = sink_create_file(f->path, &f->file, &f->err);
    f->ours = r < 0;
    return r;
}

static int take_data(struct fetch *f, const struct rpc_bytes *data)
{
    size_t length = rpc_bytes_length(data);
    if (!f->announced || length > f->length - f->received) {
        return err_set(&f->err, ERR_CORRUPT, "more bytes than were announced");
    }
    if (f->memory) {
        rpc_bytes_read(data, 0, f->memory + f->received, length);
        f->received += length;
        return 0;
    }
    struct iovec iov[16];
    size_t at = 0;
    int count;
    while ((count = rpc_bytes_iov(data, at, iov, ARRAY_COUNT(iov))) > 0) {
        for (int i = 0; i < count; i++) {
            int r = f->file->write(f->file, iov[i].iov_base, iov[i].iov_len, &f->err);
            if (r < 0) {
                f->ours = true;
                return r;
            }
            at += iov[i].iov_len;
        }
    }
    f->received += length;
    return 0;
}

static void on_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct fetch *f = rpc_stream_state(stream);
    struct rpc_data_message message = {0};
    int r = rpc_data_message_parse(bytes, &message);
    if (r < 0) {
        (void)err_set(&f->err, r, "not a FetchMessage");
    } else if (message.header.length > 0 && !f->announced) {
        r = take_header(f, message.header);
    } else if (!f->announced) { /* an empty segment's header has no bytes at all */
        r = take_header(f, (struct span){"", 0});
    }
    r = r < 0 ? r : take_data(f, message.data);
    rpc_data_message_deinit(&message);
    if (r < 0) {
        rpc_stream_cancel(stream);
    } else {
        watch_idle(f);
        rpc_stream_read(stream);
    }
}

/* The segment is whole: it moves into its place. */
static int keep(struct fetch *f)
{
    struct shuffle *s = f->shuffle;
    struct segment *to = &s->kept[f->map];
    int r = f->file ? f->file->finish(f->file, &f->err) : 0;
    if (r < 0) {
        f->ours = true;
        return r;
    }
    struct source *source = f->memory ? source_of_memory(f->memory, f->length, "segment in memory")
                                      : lazy_source_new(f->path, f->length);
    *to = (struct segment){.memory = f->memory, .path = f->path, .ours = f->path != NULL};
    f->memory = NULL;
    f->path = NULL;
    s->segments[f->map] = (struct task_segment){
        .source = source, .offset = 0, .length = f->length, .records = f->records};
    return 0;
}

static void fetch_clear(struct fetch *f)
{
    struct shuffle *s = f->shuffle;
    if (f->memory) {
        s->memory_used -= f->length;
        free(f->memory);
    }
    sink_free(f->file);
    if (f->path) {
        (void)unlink(f->path);
        free(f->path);
    }
    rpc_timer_cancel(s->options.loop, &f->idle);
    *f = (struct fetch){.shuffle = s};
}

static void fetch_some(struct shuffle *s);

static void on_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct fetch *f = rpc_stream_state(stream);
    struct shuffle *s = f->shuffle;
    int r = f->err.code;
    bool gone = r == 0 && result->definite &&
                (result->code == ERR_NOT_FOUND || result->code == ERR_CORRUPT);
    if (r == 0 && result->code < 0) {
        r = err_set(&f->err, result->code, "%s", result->text);
    } else if (r == 0 && (!f->announced || f->received < f->length)) {
        r = err_set(&f->err, ERR_EOF, "it ended after %" PRIu64 " of %" PRIu64 " bytes",
                    f->received, f->length);
    }
    r = r < 0 ? r : keep(f);
    if (r == 0) {
        fetch_plan_done(s->plan, f->map);
    } else if (f->ours) {
        if (s->err.code == 0) {
            s->err = f->err;
            s->ours = true;
        }
    } else if (s->err.code == 0 || gone) { /* else it was only cancelled */
        struct fetch_wanted wanted = {f->map, fetch_plan_attempt(s->plan, f->map),
                                      fetch_plan_address(s->plan, f->map)};
        fetch_failed(s, &wanted, gone, &f->err);
    }
    fetch_clear(f);
    fetch_some(s);
}

static const struct rpc_stream_ops fetch_ops = {.on_message = on_message, .on_close = on_close};

static void open_stream(struct shuffle *s, struct fetch *f, const struct fetch_wanted *wanted)
{
    struct err e = ERR_INIT;
    struct rpc_channel *channel = NULL;
    if (rpc_pool_get(s->options.pool, wanted->address, RPC_BULK, &channel, &e) < 0) {
        fetch_failed(s, wanted, false, &e);
        return;
    }
    Trireme__V1__FetchRequest message;
    trireme__v1__fetch_request__init(&message);
    message.attempt = (char *)wanted->attempt;
    message.partition = s->options.partition;
    struct rpc_request request = {.channel = channel,
                                  .method = &mr_fetch_segment,
                                  .message = &message.base,
                                  .deadline = RPC_NO_DEADLINE};
    *f = (struct fetch){.shuffle = s, .map = wanted->map};
    f->stream = rpc_stream_open(s->options.loop, &request, &fetch_ops, f);
    rpc_channel_unref(channel);
    watch_idle(f);
    rpc_stream_read(f->stream);
}

static struct fetch *free_slot(struct shuffle *s)
{
    for (size_t i = 0; i < ARRAY_COUNT(s->fetches); i++) {
        if (!s->fetches[i].stream) {
            return &s->fetches[i];
        }
    }
    return NULL;
}

static void on_retry(void *arg)
{
    fetch_some(arg);
}

/* Begins as many fetches as there are slots and outputs. */
static void fetch_some(struct shuffle *s)
{
    struct fetch *slot = NULL;
    struct fetch_wanted wanted;
    while (s->err.code == 0 && (slot = free_slot(s)) != NULL &&
           fetch_plan_next(s->plan, clock_mono_ms(), &wanted)) {
        if (strcmp(wanted.address, s->options.address) == 0) {
            take_local(s, &wanted);
        } else {
            open_stream(s, slot, &wanted);
        }
    }
    time_ms wake = fetch_plan_wake(s->plan);
    if (wake != CLOCK_NEVER && s->err.code == 0) {
        rpc_timer_set(s->options.loop, &s->retry, wake, on_retry, s);
    }
}

/* Waits for the ends of all streams, which point into this shuffle. */
static void settle(struct shuffle *s)
{
    rpc_timer_cancel(s->options.loop, &s->retry);
    for (size_t i = 0; i < ARRAY_COUNT(s->fetches); i++) {
        if (s->fetches[i].stream) {
            rpc_stream_cancel(s->fetches[i].stream);
        }
    }
    for (size_t i = 0; i < ARRAY_COUNT(s->fetches); i++) {
        while (s->fetches[i].stream) {
            (void)rpc_loop_step(s->options.loop, clock_mono_ms() + SHUFFLE_BEAT_MS);
        }
    }
}

int shuffle_run(struct shuffle *s, struct err *e)
{
    uint32_t told = 0;
    time_ms beat = 0;
    fetch_some(s);
    while (s->err.code == 0 && !fetch_plan_complete(s->plan)) {
        time_ms now = clock_mono_ms();
        uint32_t fetched = fetch_plan_fetched(s->plan);
        if (s->options.progress && (fetched != told || now >= beat)) {
            int r = s->options.progress(s->options.arg, fetched, s->options.maps, &s->err);
            if (r < 0) {
                s->err.code = r; /* its text, if any, is there */
                break;
            }
            told = fetched;
            beat = now + SHUFFLE_BEAT_MS;
        }
        (void)rpc_loop_step(s->options.loop, now + SHUFFLE_BEAT_MS);
        fetch_some(s); /* of what was told meanwhile */
    }
    settle(s);
    return s->err.code < 0 ? err_set(e, s->err.code, "%s", err_message(&s->err)) : 0;
}

/* ---- After it ---- */

const struct task_segment *shuffle_segments(const struct shuffle *s)
{
    return s->segments;
}

static bool segment_is_good(const struct task_segment *segment)
{
    struct run_reader reader;
    struct mr_record record;
    struct err ignored = ERR_INIT;
    if (segment->length == 0) {
        return true;
    }
    run_reader_init(&reader);
    run_reader_begin(&reader, segment->source, segment->offset, segment->length);
    int r;
    while ((r = run_reader_next(&reader, &record, &ignored)) > 0) {
    }
    run_reader_deinit(&reader);
    return r == 0;
}

uint32_t shuffle_find_corrupt(struct shuffle *s)
{
    free(s->corrupt);
    s->corrupt = xcalloc((size_t)s->options.maps + 1, sizeof(*s->corrupt));
    s->corrupt_count = 0;
    for (uint32_t i = 0; i < s->options.maps; i++) {
        if (!segment_is_good(&s->segments[i])) {
            s->corrupt[s->corrupt_count++] = i;
        }
    }
    return s->corrupt_count;
}

void shuffle_lost(const struct shuffle *s, struct arena *arena, struct attempt_end *end)
{
    struct fetch_wanted lost;
    size_t most = LOST_MAP_COUNT_MAX;
    end->lost_maps = arena_calloc(arena, most * sizeof(end->lost_maps[0]));
    end->lost_map_attempts = arena_calloc(arena, most * sizeof(end->lost_map_attempts[0]));
    end->lost_count = 0;
    if (s->ours) {
        return;
    }
    for (size_t i = 0; i < most && fetch_plan_lost(s->plan, i, &lost); i++) {
        end->lost_maps[end->lost_count] = lost.map;
        end->lost_map_attempts[end->lost_count++] = arena_strdup(arena, lost.attempt);
    }
    for (uint32_t i = 0; i < s->corrupt_count && end->lost_count < most; i++) {
        end->lost_maps[end->lost_count] = s->corrupt[i];
        end->lost_map_attempts[end->lost_count++] =
            arena_strdup(arena, fetch_plan_attempt(s->plan, s->corrupt[i]));
    }
}
