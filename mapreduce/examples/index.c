/* Inverted index: for each word, the files that it occurs in.
 *
 *     mr run --lib index.so -i /books -o /index
 *
 * Output lines: word TAB file, file, ... A file goes to one map task whole, so all occurrences of a
 * word in a file are neighbours among the word's values: dropping repetitions needs no memory. */
#include <stdlib.h>

#include <trireme/mapreduce.h>

enum { WORDS = 512 };

static void map(struct mr_ctx *ctx, struct mr_span path, struct mr_span text)
{
    struct mr_span words[WORDS];
    struct mr_record records[WORDS];
    size_t count;
    while ((count = mr_split_words(ctx, &text, words, WORDS)) > 0) {
        for (size_t i = 0; i < count; i++) {
            records[i] = (struct mr_record){words[i], path};
        }
        mr_emit_batch(ctx, records, count);
    }
}

/* A byte string that grows. */
struct text {
    char *data;
    size_t length;
    size_t capacity;
};

static void append(struct text *text, struct mr_span bytes)
{
    if (bytes.length == 0) { /* an empty text has no data, and memcpy() refuses NULL */
        return;
    }
    if (text->length + bytes.length > text->capacity) {
        text->capacity = 2 * (text->length + bytes.length);
        text->data = realloc(text->data, text->capacity);
        if (!text->data) {
            abort();
        }
    }
    memcpy(text->data + text->length, bytes.data, bytes.length);
    text->length += bytes.length;
}

/* The next value that is not *last, which it becomes. A value is valid until the next one is asked
 * for, so *last is a copy. */
static bool next_other(struct mr_values *values, struct text *last, struct mr_span *ret_value)
{
    while (mr_values_next(values, ret_value)) {
        if (!mr_equal(*ret_value, mr_bytes(last->data, last->length))) {
            last->length = 0;
            append(last, *ret_value);
            return true;
        }
    }
    return false;
}

static void combine(struct mr_ctx *ctx, struct mr_span word, struct mr_values *paths)
{
    struct text last = {0};
    struct mr_span path;
    while (next_other(paths, &last, &path)) {
        mr_emit(ctx, word, path);
    }
    free(last.data);
}

static void reduce(struct mr_ctx *ctx, struct mr_span word, struct mr_values *paths)
{
    struct text last = {0};
    struct text list = {0};
    struct mr_span path;
    while (next_other(paths, &last, &path)) {
        if (list.length > 0) {
            append(&list, mr_string(", "));
        }
        append(&list, path);
    }
    mr_emit(ctx, word, mr_bytes(list.data, list.length));
    free(list.data);
    free(last.data);
}

static const struct mr_job job = {
    MR_JOB_HEADER,      .name = "index",  .map = map,
    .combine = combine, .reduce = reduce, .input = MR_INPUT_FILES,
};

const struct mr_job *mr_job_v1(void)
{
    return &job;
}
