/* Word count: how often does each word occur? Words are what white space divides.
 *
 *     mr run --lib wordcount.so -i /books -o /counts
 *
 * Output lines: word TAB count. The map function asks for whole blocks of text, since lines mean
 * nothing to it, and hands over its words in batches; the ready-made combiner adds up the ones
 * before anything is sorted or sent. */
#include <stdio.h>

#include <trireme/mapreduce.h>

enum { WORDS = 512 };

static void map(struct mr_ctx *ctx, struct mr_span offset, struct mr_span text)
{
    (void)offset;
    struct mr_span words[WORDS];
    size_t count;
    while ((count = mr_split_words(ctx, &text, words, WORDS)) > 0) {
        mr_emit_keys_i64(ctx, words, count, 1);
    }
}

static void reduce(struct mr_ctx *ctx, struct mr_span word, struct mr_values *counts)
{
    struct mr_span count;
    int64_t sum = 0;
    while (mr_values_next(counts, &count)) {
        sum += mr_get_i64(count);
    }
    char text[24];
    int length = snprintf(text, sizeof(text), "%lld", (long long)sum);
    mr_emit(ctx, word, mr_bytes(text, (size_t)length));
}

static const struct mr_job job = {
    MR_JOB_HEADER,    .name = "wordcount",           .map = map,
    .reduce = reduce, .aggregate = MR_AGGREGATE_SUM, .input = MR_INPUT_BLOCKS,
};

const struct mr_job *mr_job_v1(void)
{
    return &job;
}
