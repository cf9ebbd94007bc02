/* Grep: the lines that match a regular expression (PCRE2's, compiled to machine code).
 *
 *     mr run --lib grep.so -D grep.pattern='err(or)?[0-9]+' -r 0 -i /logs -o /hits
 *
 * With -r 0 the hits of each map task are a file, in the order of the input; with reduces they are
 * sorted. Whole blocks of lines are searched at once, which is many times faster than line by line;
 * a hit is then checked within its line, because a pattern like [^a] also matches a newline. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#include <trireme/mapreduce.h>

struct grep {
    pcre2_code *code;
    pcre2_match_data *match;
};

static int setup(struct mr_ctx *ctx)
{
    int error;
    PCRE2_SIZE at;
    const char *pattern = mr_config(ctx, "grep.pattern");
    if (!pattern) {
        mr_fail(ctx, "grep: set the pattern with -D grep.pattern=REGEX");
        return -1;
    }
    struct grep *grep = calloc(1, sizeof(*grep));
    if (!grep) {
        return -1;
    }
    ctx->user = grep;
    grep->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_MULTILINE, &error,
                               &at, NULL);
    if (!grep->code) {
        char reason[200];
        char text[300];
        pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof(reason));
        (void)snprintf(text, sizeof(text), "grep: pattern, character %zu: %s", (size_t)at, reason);
        mr_fail(ctx, text);
        return -1;
    }
    pcre2_jit_compile(grep->code, PCRE2_JIT_COMPLETE); /* without it matching is only slower */
    grep->match = pcre2_match_data_create(1, NULL);
    return grep->match ? 0 : -1;
}

static void cleanup(struct mr_ctx *ctx)
{
    struct grep *grep = ctx->user;
    pcre2_match_data_free(grep->match);
    pcre2_code_free(grep->code);
    free(grep);
}

static bool matches(struct mr_ctx *ctx, const char *text, size_t length, size_t *ret_at)
{
    const struct grep *grep = ctx->user;
    int r = pcre2_match(grep->code, (PCRE2_SPTR)text, length, 0, 0, grep->match, NULL);
    if (r < PCRE2_ERROR_NOMATCH) {
        mr_fail(ctx, "grep: the pattern needs too much memory or too many steps for a line");
    }
    *ret_at = r < 0 ? length : pcre2_get_ovector_pointer(grep->match)[0];
    return r >= 0;
}

static void map(struct mr_ctx *ctx, struct mr_span offset, struct mr_span lines)
{
    (void)offset;
    const char *at = lines.data;
    const char *end = at + lines.length;
    size_t hit;
    while (at < end && matches(ctx, at, (size_t)(end - at), &hit)) {
        if (at + hit == end) {
            break; /* an empty match behind the last newline is no line */
        }
        const char *before = memrchr(at, '\n', hit);
        const char *line = before ? before + 1 : at;
        const char *newline = memchr(at + hit, '\n', (size_t)(end - at) - hit);
        newline = newline ? newline : end;
        if (matches(ctx, line, (size_t)(newline - line), &hit)) {
            mr_emit(ctx, mr_bytes(line, (size_t)(newline - line)), mr_bytes(NULL, 0));
            mr_counter_add(ctx, "grep", "Matching lines", 1);
        }
        at = newline < end ? newline + 1 : end;
    }
}

static const struct mr_job job = {
    MR_JOB_HEADER,      .name = "grep", .setup = setup,
    .cleanup = cleanup, .map = map,     .input = MR_INPUT_BLOCKS,
};

const struct mr_job *mr_job_v1(void)
{
    return &job;
}
