/* Units gather until there are enough of them, and are given to one process. If it fails, half of
 * them are tried, and so on, until the one that fails alone is found; the search then goes on
 * behind it. So one bad unit of n costs about log2 n runs, and what comes before it runs once more.
 *
 * Units lie one behind the other in one buffer, so that any row of them is one write. */
#include "mapreduce/engine/careful.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/limits.h"
#include "common/macros.h"

struct unit {
    size_t begin;      /* of its bytes in `data`; they end where the next one's begin */
    size_t name_begin; /* in `names` */
    size_t name_length;
    uint64_t offset;
    uint64_t pieces;
};

struct careful {
    struct stream_options options; /* the caller's */
    const struct task_skip *skip;
    struct buf data;
    struct buf names;
    struct unit *units; /* room for MR_CAREFUL_RECORDS */
    size_t count;
    uint64_t first; /* ordinal of units[0] */
    uint64_t left_out;
    uint64_t left_out_pieces;
    bool ran; /* once at least, of the split */

    /* Of the run under way: */
    struct buf printed;  /* its lines, each with a newline */
    size_t printed_most; /* more than that is not kept ... */
    bool printed_more;   /* ... and fails the run */
};

struct careful *careful_new(const struct stream_options *options, const struct task_skip *skip)
{
    struct careful *c = xcalloc(1, sizeof(*c));
    c->options = *options;
    c->skip = skip;
    buf_init(&c->data);
    buf_init(&c->names);
    buf_init(&c->printed);
    c->units = xcalloc(MR_CAREFUL_RECORDS, sizeof(c->units[0]));
    return c;
}

void careful_free(struct careful *c)
{
    if (c) {
        buf_deinit(&c->data);
        buf_deinit(&c->names);
        buf_deinit(&c->printed);
        free(c->units);
        free(c);
    }
}

static struct skip_place place_of(const struct careful *c, size_t i)
{
    const struct unit *unit = &c->units[i];
    return (struct skip_place){.reduce = !c->options.is_map,
                               .ordinal = c->first + i,
                               .name =
                                   mr_bytes(c->names.data + unit->name_begin, unit->name_length),
                               .offset = unit->offset};
}

static size_t end_of(const struct careful *c, size_t i)
{
    return i + 1 < c->count ? c->units[i + 1].begin : c->data.length;
}

/* ---- One run ---- */

static void keep_line(void *arg, struct mr_span line)
{
    struct careful *c = arg;
    c->printed_more |= line.length >= c->printed_most - MIN(c->printed.length, c->printed_most);
    if (!c->printed_more) {
        buf_append(&c->printed, line.data, line.length);
        buf_append_byte(&c->printed, '\n');
    }
}

static void hand_on(struct careful *c)
{
    const char *at = c->printed.data;
    const char *end = at + c->printed.length;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        c->options.line(c->options.arg, mr_bytes(at, (size_t)(newline - at)));
        at = newline + 1;
    }
}

/* Units [first, first + count) in a process of their own. *ret_bad: it ended badly, with *e. */
static int run(struct careful *c, size_t first, size_t count, bool *ret_bad, struct err *e)
{
    struct counters counters;
    struct stream *stream = NULL;
    struct stream_options options = c->options;
    size_t begin = count > 0 ? c->units[first].begin : 0;
    size_t end = count > 0 ? end_of(c, first + count - 1) : 0;
    counters_init(&counters);
    options.counters = &counters;
    options.line = keep_line;
    options.arg = c;
    buf_clear(&c->printed);
    c->printed_more = false;
    c->printed_most = count > 1 ? (size_t)MR_CAREFUL_PRINTED_BYTES_MAX : SIZE_MAX;
    c->ran = true;
    int r = stream_start(&options, &stream, e);
    if (r == 0) {
        r = stream_write_block(stream, mr_bytes(c->data.data + begin, end - begin), false, e);
        r = r < 0 ? r : stream_finish(stream, e);
        *ret_bad = r == ERR_TASK || r == ERR_TOO_LARGE || (r == 0 && c->printed_more);
    }
    stream_free(stream);
    if (r == 0 && !c->printed_more) {
        hand_on(c);
        counters_merge(c->options.counters, &counters);
    } else {
        counters_add(c->options.counters, COUNTER_CPU_MS, (uint64_t)counters.fixed[COUNTER_CPU_MS]);
    }
    counters_deinit(&counters);
    const struct task_events *events = c->options.events;
    if (events && events->alive) {
        events->alive(events->arg);
    }
    return *ret_bad ? 0 : r;
}

/* ---- The search ---- */

static int leave_out(struct careful *c, size_t i, const struct err *why, struct err *e)
{
    struct skip_place place = place_of(c, i);
    if (c->left_out == c->skip->most) {
        struct buf text = BUF_INIT;
        skip_place_text(&place, &text);
        int r = err_set(e, ERR_TASK,
                        "%s, at %.140s; the task has left out as many as it may (mr run "
                        "--skip-bad-records %" PRIu64 ")",
                        err_message(why), text.data, c->skip->most);
        buf_deinit(&text);
        return r;
    }
    uint64_t pieces = c->units[i].pieces;
    uint64_t bytes = end_of(c, i) - c->units[i].begin;
    c->left_out++;
    c->left_out_pieces += pieces;
    skip_tell(c->options.events, &place, place.reduce ? pieces : bytes, err_message(why));
    return 0;
}

/* Below `bad_end` there is a bad unit at or behind `at`; 0: nobody knows of one. */
static int run_units(struct careful *c, struct err *e)
{
    size_t at = 0;
    size_t bad_end = 0;
    int r = 0;
    while (at < c->count && r == 0) {
        struct err why = ERR_INIT;
        bool bad = false;
        size_t size = bad_end > at ? MAX((bad_end - at) / 2, (size_t)1) : c->count - at;
        r = run(c, at, size, &bad, &why);
        if (r < 0) {
            r = err_set(e, r, "%s", err_message(&why));
        } else if (!bad) {
            at += size;
        } else if (size > 1) {
            bad_end = at + size;
        } else {
            r = leave_out(c, at, &why, e);
            at++;
            bad_end = 0;
        }
    }
    c->first += c->count;
    c->count = 0;
    buf_clear(&c->data);
    buf_clear(&c->names);
    return r;
}

int careful_begin(struct careful *c, const struct careful_unit *unit, struct err *e)
{
    bool full = c->count == MR_CAREFUL_RECORDS || c->data.length >= MR_CAREFUL_BYTES;
    int r = full ? run_units(c, e) : 0;
    if (r < 0) {
        return r;
    }
    size_t length = MIN(unit->name.length, (size_t)SKIP_NAME_BYTES);
    c->units[c->count++] = (struct unit){.begin = c->data.length,
                                         .name_begin = c->names.length,
                                         .name_length = length,
                                         .offset = unit->offset};
    buf_append(&c->names, unit->name.data, length);
    return 0;
}

int careful_add(struct careful *c, struct mr_span bytes, struct err *e)
{
    struct unit *unit = &c->units[c->count - 1];
    size_t length = c->data.length - unit->begin + bytes.length;
    if (!c->options.is_map && length > MR_CAREFUL_GROUP_BYTES_MAX) {
        struct skip_place place = place_of(c, c->count - 1);
        struct buf text = BUF_INIT;
        skip_place_text(&place, &text);
        int r = err_set(e, ERR_TOO_LARGE,
                        "to find what ends '%.60s', the values of each key must be held: more than "
                        "%d MiB of %.140s",
                        c->options.command, MR_CAREFUL_GROUP_BYTES_MAX >> 20, text.data);
        buf_deinit(&text);
        return r;
    }
    buf_append(&c->data, bytes.data, bytes.length);
    unit->pieces++;
    return 0;
}

void careful_set_split(struct careful *c, const struct task_split *split)
{
    c->options.splits = split;
    c->options.split_count = 1;
    c->ran = false;
}

int careful_finish(struct careful *c, struct err *e)
{
    bool bad = false;
    int r = c->count > 0 ? run_units(c, e) : c->ran ? 0 : run(c, 0, 0, &bad, e);
    return bad ? e->code : r;
}

uint64_t careful_skipped_units(const struct careful *c)
{
    return c->left_out;
}

uint64_t careful_skipped_pieces(const struct careful *c)
{
    return c->left_out_pieces;
}
