/* One buffer slides over the file: data[begin, end) are the bytes at file offset `base` + index
 * that were read and not yet handed out. Reading stops at the split's end and goes on behind it in
 * small pieces only until the last record is whole, so that a split costs its own bytes and little
 * more.
 *
 * Batches point into the buffer; it only moves in input_next(). The buffer grows when one record
 * does not fit, up to the limit for records, and that is the only way in which it grows. */
#include "mapreduce/engine/input.h"

#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/limits.h"
#include "common/macros.h"

enum { TAIL_READ_BYTES = 16 * 1024 }; /* a piece behind the split's end */

struct input {
    struct input_options options;
    struct source *source; /* borrowed */
    uint64_t split_start;
    uint64_t split_end;
    bool skip_first; /* a line reader has to drop what the previous split owns */
    bool at_end;     /* the source has no more bytes behind data[end) */
    bool done;       /* all of the split's records were handed out */

    uint64_t base; /* file offset of data[0] */
    char *data;
    size_t begin;
    size_t end;
    size_t capacity;

    uint64_t taken; /* of a source that says so */
    uint64_t bytes_read;
    uint64_t keys[MR_BATCH_COUNT_MAX]; /* offsets, little-endian: what the records' keys point at */
    struct mr_record records[MR_BATCH_COUNT_MAX];
};

struct input *input_new(const struct input_options *options)
{
    CHECK(options->format != MR_INPUT_FIXED || options->record_bytes > 0);
    CHECK(options->record_bytes_max <= MR_RECORD_BYTES_MAX);
    struct input *in = xcalloc(1, sizeof(*in));
    in->options = *options;
    in->done = true;
    in->capacity = MR_INPUT_BUFFER_BYTES;
    in->data = xmalloc(in->capacity);
    return in;
}

void input_free(struct input *in)
{
    if (in) {
        free(in->data);
        free(in);
    }
}

void input_begin(struct input *in, struct source *source, uint64_t start, uint64_t length)
{
    in->source = source;
    in->taken = 0;
    in->split_start = start;
    in->split_end = start + MIN(length, UINT64_MAX - start);
    in->skip_first = false;
    in->at_end = false;
    in->done = length == 0;
    in->base = start;
    in->begin = in->end = 0;
    switch (in->options.format) {
    case MR_INPUT_FIXED: {
        uint64_t over = start % in->options.record_bytes;
        in->base = over == 0 ? start : start + in->options.record_bytes - over;
        break;
    }
    case MR_INPUT_FILES:
        in->done = start != 0;
        break;
    case MR_INPUT_LINES:
    case MR_INPUT_BLOCKS:
        in->skip_first = start > 0;
        in->base = start > 0 ? start - 1 : 0;
        break;
    }
}

static uint64_t offset_of(const struct input *in, size_t index)
{
    return in->base + index;
}

static int refuse_record(const struct input *in, struct err *e)
{
    return err_set(e, ERR_TOO_LARGE,
                   "%s: record at offset %" PRIu64 " is longer than %" PRIu64 " bytes",
                   in->source->name, offset_of(in, in->begin), in->options.record_bytes_max);
}

/* Makes room behind data[end): moves what is left to the front, grows only if that is all in use.
 */
static int make_room(struct input *in, struct err *e)
{
    size_t held = in->end - in->begin;
    if (in->begin > 0) {
        memmove(in->data, in->data + in->begin, held);
        in->base += in->begin;
        in->begin = 0;
        in->end = held;
    }
    if (held < in->capacity) {
        return 0;
    }
    if (held > in->options.record_bytes_max) {
        return refuse_record(in, e);
    }
    size_t capacity = MIN(2 * in->capacity, (size_t)MR_RECORD_BYTES_MAX + MR_INPUT_BUFFER_BYTES);
    CHECK(capacity > held);
    char *data = realloc(in->data, capacity);
    if (!data) {
        return err_set(e, ERR_TOO_LARGE, "%s: no memory for the record at offset %" PRIu64,
                       in->source->name, offset_of(in, in->begin));
    }
    in->data = data;
    in->capacity = capacity;
    return 0;
}

/* Reads more behind data[end), or sets at_end. */
static int fill(struct input *in, struct err *e)
{
    int r = make_room(in, e);
    if (r < 0) {
        return r;
    }
    uint64_t at = offset_of(in, in->end);
    size_t want = in->capacity - in->end;
    uint64_t ahead = at < in->split_end ? in->split_end - at : TAIL_READ_BYTES;
    want = MIN(want, ahead);
    int64_t n = in->source->read(in->source, at, in->data + in->end, want, e);
    if (n < 0) {
        return (int)n;
    }
    in->at_end = n == 0;
    in->end += (size_t)n;
    uint64_t taken = in->source->taken ? in->source->taken(in->source) : in->taken + (uint64_t)n;
    in->bytes_read += taken - in->taken;
    in->taken = taken;
    return 0;
}

/* Drops the rest of the line that began in the previous split. */
static int skip_first_line(struct input *in, struct err *e)
{
    for (;;) {
        char *newline =
            in->end > in->begin ? memchr(in->data + in->begin, '\n', in->end - in->begin) : NULL;
        if (newline) {
            in->begin = (size_t)(newline + 1 - in->data);
            break;
        }
        in->begin = in->end; /* not a record of ours: its length does not matter */
        if (in->at_end || offset_of(in, in->begin) >= in->split_end) {
            break;
        }
        int r = fill(in, e);
        if (r < 0) {
            return r;
        }
    }
    in->skip_first = false;
    return 0;
}

static void put_record(struct input *in, size_t index, const char *data, size_t length)
{
    in->keys[index] = htole64(offset_of(in, (size_t)(data - in->data)));
    in->records[index].key = mr_bytes(&in->keys[index], sizeof(in->keys[index]));
    in->records[index].value = mr_bytes(data, length);
}

static bool split_is_over(const struct input *in)
{
    return offset_of(in, in->begin) >= in->split_end;
}

/* Hands out the whole lines that are in the buffer. Returns their number. */
static size_t take_lines(struct input *in)
{
    size_t count = 0;
    const char *at = in->data + in->begin;
    const char *end = in->data + in->end;
    uint64_t left = in->split_end - in->base;
    const char *stop =
        left < in->end ? in->data + left : end; /* lines beginning there are not ours */
    while (count < MR_BATCH_COUNT_MAX && at < stop) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline) {
            break;
        }
        put_record(in, count++, at, (size_t)(newline - at));
        at = newline + 1;
    }
    in->begin = (size_t)(at - in->data);
    return count;
}

static int check_lengths(struct input *in, size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        if (in->records[i].value.length > in->options.record_bytes_max) {
            in->begin = (size_t)((const char *)in->records[i].value.data - in->data);
            return refuse_record(in, e);
        }
    }
    return 0;
}

static int next_lines(struct input *in, struct input_batch *batch, struct err *e)
{
    while (!split_is_over(in)) {
        size_t count = in->end > in->begin ? take_lines(in) : 0;
        if (count == 0 && in->at_end && in->end > in->begin) { /* no newline at the file's end */
            put_record(in, count++, in->data + in->begin, in->end - in->begin);
            in->begin = in->end;
        }
        if (count > 0) {
            *batch = (struct input_batch){in->records, count, count};
            return check_lengths(in, count, e);
        }
        if (in->at_end) {
            break;
        }
        int r = fill(in, e);
        if (r < 0) {
            return r;
        }
    }
    in->done = true;
    return 0;
}

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
__attribute__((target_clones("avx2", "default"), optimize("O3")))
#endif
static uint64_t
count_newlines(const char *data, size_t length)
{
    uint64_t count = 0;
    while (length > 0) {
        size_t run = MIN(length, (size_t)255); /* a byte counter per lane cannot overflow */
        uint8_t part = 0;
        for (size_t i = 0; i < run; i++) {
            part = (uint8_t)(part + (data[i] == '\n'));
        }
        count += part;
        data += run;
        length -= run;
    }
    return count;
}

/* The end of the whole lines in the buffer that are ours; `begin` when there is none. *ret_last: no
 * line of ours follows. */
static size_t block_end(const struct input *in, bool *ret_last)
{
    const char *from = in->data + in->begin;
    uint64_t left = in->split_end - in->base; /* index of the first byte behind the split */
    *ret_last = false;
    if (in->options.single_lines) {
        const char *newline = memchr(from, '\n', in->end - in->begin);
        *ret_last = !newline && in->at_end;
        return newline ? (size_t)(newline + 1 - in->data) : *ret_last ? in->end : in->begin;
    }
    if (left <= in->end) { /* our last line is the one that holds or ends at byte left - 1 */
        const char *last = in->data + MAX(left, in->begin + 1) - 1;
        const char *newline = memchr(last, '\n', (size_t)(in->data + in->end - last));
        if (newline) {
            *ret_last = true;
            return (size_t)(newline + 1 - in->data);
        }
    }
    if (in->at_end) {
        *ret_last = true;
        return in->end;
    }
    const char *newline = memrchr(from, '\n', in->end - in->begin);
    return newline ? (size_t)(newline + 1 - in->data) : in->begin;
}

static int next_block(struct input *in, struct input_batch *batch, struct err *e)
{
    while (!split_is_over(in)) {
        bool last = false;
        size_t end = in->end > in->begin ? block_end(in, &last) : in->begin;
        if (end > in->begin) {
            put_record(in, 0, in->data + in->begin, end - in->begin);
            uint64_t lines = count_newlines(in->data + in->begin, end - in->begin);
            lines += in->data[end - 1] != '\n';
            in->begin = end;
            in->done = last;
            *batch = (struct input_batch){in->records, 1, lines};
            return 0;
        }
        if (in->at_end) {
            break;
        }
        int r = fill(in, e);
        if (r < 0) {
            return r;
        }
    }
    in->done = true;
    return 0;
}

static int next_fixed(struct input *in, struct input_batch *batch, struct err *e)
{
    size_t bytes = in->options.record_bytes;
    while (!split_is_over(in)) {
        size_t count = 0;
        while (count < MR_BATCH_COUNT_MAX && in->end - in->begin >= bytes && !split_is_over(in)) {
            put_record(in, count++, in->data + in->begin, bytes);
            in->begin += bytes;
        }
        if (count > 0) {
            *batch = (struct input_batch){in->records, count, count};
            return 0;
        }
        if (in->at_end) {
            break;
        }
        int r = bytes <= in->options.record_bytes_max ? fill(in, e) : refuse_record(in, e);
        if (r < 0) {
            return r;
        }
    }
    if (!split_is_over(in) && in->end > in->begin) {
        return err_set(e, ERR_CORRUPT,
                       "%s: ends inside the record at offset %" PRIu64 ": %zu bytes of %zu",
                       in->source->name, offset_of(in, in->begin), in->end - in->begin, bytes);
    }
    in->done = true;
    return 0;
}

static int next_file(struct input *in, struct input_batch *batch, struct err *e)
{
    in->split_end = UINT64_MAX;
    while (!in->at_end) {
        if (in->end - in->begin > in->options.record_bytes_max) {
            return refuse_record(in, e);
        }
        int r = fill(in, e);
        if (r < 0) {
            return r;
        }
    }
    in->records[0].key = mr_string(in->source->name);
    in->records[0].value = mr_bytes(in->data + in->begin, in->end - in->begin);
    in->begin = in->end;
    in->done = true;
    *batch = (struct input_batch){in->records, 1, 1};
    return 0;
}

int input_next(struct input *in, struct input_batch *ret_batch, struct err *e)
{
    *ret_batch = (struct input_batch){NULL, 0, 0};
    if (in->skip_first && !in->done) {
        int r = skip_first_line(in, e);
        if (r < 0) {
            return r;
        }
    }
    if (in->done) {
        return 0;
    }
    switch (in->options.format) {
    case MR_INPUT_FIXED:
        return next_fixed(in, ret_batch, e);
    case MR_INPUT_FILES:
        return next_file(in, ret_batch, e);
    case MR_INPUT_BLOCKS:
        return next_block(in, ret_batch, e);
    case MR_INPUT_LINES:
        break;
    }
    return next_lines(in, ret_batch, e);
}

uint64_t input_done(const struct input *in)
{
    if (in->source->taken) {
        return MIN(in->taken, in->source->length);
    }
    uint64_t at = offset_of(in, in->begin);
    at = in->done ? in->split_end : MIN(at, in->split_end);
    return at > in->split_start ? at - in->split_start : 0;
}

uint64_t input_bytes_read(const struct input *in)
{
    return in->bytes_read;
}
