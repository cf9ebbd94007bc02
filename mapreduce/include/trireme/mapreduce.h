/* Trireme MapReduce: what a job written in C includes. This header is the whole programming
 * interface and its manual.
 *
 * A job is a shared object that exports one function, mr_job_v1(), which returns a table of your
 * functions:
 *
 *     #include <trireme/mapreduce.h>
 *
 *     static void map(struct mr_ctx *ctx, struct mr_span key, struct mr_span value)
 *     { ... mr_emit(ctx, k, v); ... }
 *     static void reduce(struct mr_ctx *ctx, struct mr_span key, struct mr_values *values)
 *     { ... }
 *
 *     static const struct mr_job job = {
 *         MR_JOB_HEADER, .name = "example", .map = map, .reduce = reduce};
 *
 *     MR_EXPORT const struct mr_job *mr_job_v1(void) { return &job; }
 *
 *     cc -O2 -shared -fPIC -o example.so example.c        (nothing to link against)
 *     mr run --lib example.so -i /in -o /out              (or, on local files: mr run --local ...)
 *
 * What happens. The input is cut into splits; one map task per split calls map() for each record.
 * What it emits goes to partition number hash(key) mod R, where R is the number of reduce tasks.
 * Each reduce task gets the records of one partition, sorted by the bytes of their keys, and calls
 * reduce() once per distinct key with all of its values; what it emits becomes the file part-0000N
 * of the output directory. With R = 0 what map() emits is the output.
 *
 * Keys and values are byte strings of any length and content, NUL and empty included. Keys compare
 * as unsigned bytes, a prefix before the longer key. Values of one key keep the order in which one
 * map task emitted them; between map tasks the order is that of the splits unless the job is run
 * again after a failure, so do not depend on it.
 *
 * Tasks may run more than once: after a failure, or twice at a time to overtake a slow machine.
 * Only one run counts. So the functions must depend on their arguments and the configuration alone,
 * and must leave no traces elsewhere. One task runs in one thread, and several may follow each
 * other in one process: keep no state in static variables; ctx->user is the place for it.
 *
 * Lifetime of memory. Everything that you are handed (key, value, records, values) belongs to the
 * host and is valid until your function returns, except where it says less; copy what you keep.
 * Everything that you hand over (to mr_emit() and the others) is copied before the call returns.
 *
 * Errors. Call mr_fail() with a text that tells the user what is wrong with the input; the attempt
 * fails with it after your function returns. Errors of the host (disk full, for instance) end the
 * task likewise; there is nothing to check. */
#ifndef TRIREME_MAPREDUCE_H
#define TRIREME_MAPREDUCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The binary interface. A host refuses a job whose number it does not know; structs only grow at
 * their end, and their `size` says how much of them the other side has. */
#define MR_ABI 1u

/* A run of bytes that somebody else owns. */
struct mr_span {
    const void *data; /* may be NULL only when length is 0 */
    size_t length;
};

struct mr_record {
    struct mr_span key;
    struct mr_span value;
};

/* The task that is running. The host makes one per task attempt. */
struct mr_ctx {
    const struct mr_host *host; /* the host's functions, for the inline functions below */
    void *user;                 /* yours: NULL before setup(), free what it holds in cleanup() */
};

/* The values of one key, in a reduce or combine call. */
struct mr_values {
    bool (*next)(struct mr_values *values, struct mr_span *ret_value);
};

/* Shape of the records that map() gets. .gz, .bz2, .zst and .lz4 are decompressed first. */
enum mr_input {
    MR_INPUT_LINES = 0, /* key: offset in the file, 8 bytes, see mr_get_u64(); value: the line
                           without its newline */
    MR_INPUT_BLOCKS,    /* key: offset; value: many whole lines with their newlines. Fast, if lines
                           mean nothing to you */
    MR_INPUT_FIXED,     /* key: offset; value: input_record_bytes bytes; a file is whole records */
    MR_INPUT_FILES,     /* key: the file's path; value: the whole file, as it is */
};

/* How emitted records become bytes of the output files. */
enum mr_output {
    MR_OUTPUT_TEXT = 0, /* key TAB value NEWLINE; key NEWLINE if the value is empty */
    MR_OUTPUT_RAW,      /* key and value as they are, nothing between */
};

/* Ready-made combiners for values that are one int64_t each (mr_emit_i64()). They are much faster
 * than a combine() function because no call is made per record. */
enum mr_aggregate {
    MR_AGGREGATE_NONE = 0,
    MR_AGGREGATE_SUM, /* wraps around on overflow */
    MR_AGGREGATE_MIN,
    MR_AGGREGATE_MAX,
};

/* Which reduce task gets a key, when there is no partition() function. */
enum mr_order {
    MR_ORDER_HASH = 0, /* evenly spread; each output file is in order for itself */
    MR_ORDER_TOTAL,    /* ranges of keys, found by sampling the input: part-00000, part-00001...
                          together are in order */
};

/* A job: what mr_job_v1() returns. Static memory. Only `map` or `map_batch` is required; leave the
 * rest out. */
struct mr_job {
    uint32_t abi;  /* MR_ABI    \ both by writing */
    uint32_t size; /* its size  / MR_JOB_HEADER   */
    const char *name;

    /* Called once per task before and after everything else. A value other than 0 from setup fails
     * the attempt (call mr_fail() to say why). cleanup is called after a successful setup only,
     * also when the task has failed; it may still emit, which in a map task is the place to hand
     * over what was gathered in ctx->user. */
    int (*setup)(struct mr_ctx *ctx);
    void (*cleanup)(struct mr_ctx *ctx);

    /* Called for each record, or for each batch of records if map_batch is given (then map is not
     * used). A batch has at least one record and as many as the host finds practical; all of them
     * are valid until the call returns. */
    void (*map)(struct mr_ctx *ctx, struct mr_span key, struct mr_span value);
    void (*map_batch)(struct mr_ctx *ctx, const struct mr_record *records, size_t count);

    /* Called once per distinct key. NULL: every value is written with its key (identity). */
    void (*reduce)(struct mr_ctx *ctx, struct mr_span key, struct mr_values *values);

    /* Shrinks map output before it travels: gets some of the values of a key and emits fewer, under
     * the same key. The host calls it as often as it likes, never included, on results of earlier
     * calls too. */
    void (*combine)(struct mr_ctx *ctx, struct mr_span key, struct mr_values *values);
    enum mr_aggregate aggregate; /* instead of combine */

    /* The number of the reduce task for a key, below `reduces` (which is at least 1). */
    uint32_t (*partition)(struct mr_ctx *ctx, struct mr_span key, uint32_t reduces);
    enum mr_order order; /* instead of partition */

    /* Defaults; the command line may say otherwise. */
    enum mr_input input;
    enum mr_output output;
    uint32_t input_record_bytes; /* for MR_INPUT_FIXED */

    /* Outputs beside the parts, for mr_emit_to(): at most 32 names of letters, digits, _ and -,
     * NULL behind the last. NULL: none. */
    const char *const *outputs;
};

/* The host's functions. Call them by the inline functions below. */
struct mr_host {
    uint32_t abi;
    uint32_t size;
    void (*emit)(struct mr_ctx *ctx, struct mr_span key, struct mr_span value);
    void (*emit_batch)(struct mr_ctx *ctx, const struct mr_record *records, size_t count);
    void (*emit_keys_i64)(struct mr_ctx *ctx, const struct mr_span *keys, size_t count,
                          int64_t value);
    void (*counter_add)(struct mr_ctx *ctx, const char *group, const char *name, int64_t amount);
    void (*status)(struct mr_ctx *ctx, const char *text);
    const char *(*config)(struct mr_ctx *ctx, const char *name);
    void (*fail_task)(struct mr_ctx *ctx, const char *text);
    size_t (*split_words)(struct mr_span *text, struct mr_span *words, size_t words_max);
    void (*emit_to)(struct mr_ctx *ctx, const char *output, struct mr_span key,
                    struct mr_span value);
};

#define MR_JOB_HEADER .abi = MR_ABI, .size = (uint32_t)sizeof(struct mr_job)
#define MR_EXPORT     __attribute__((visibility("default")))

MR_EXPORT const struct mr_job *mr_job_v1(void);

/* ---- In map, reduce, combine, setup and cleanup ---- */
/* Hands a record on: from map to the reduce task of its key, from combine in place of what it was
 * given, from reduce to the output. Copies both. */
static inline void mr_emit(struct mr_ctx *ctx, struct mr_span key, struct mr_span value)
{
    ctx->host->emit(ctx, key, value);
}

/* The same for many records with one call; the fast way. */
static inline void mr_emit_batch(struct mr_ctx *ctx, const struct mr_record *records, size_t count)
{
    ctx->host->emit_batch(ctx, records, count);
}

/* Hands a record to one of the outputs that the job declares: the file NAME-0000N beside
 * part-0000N, made with the first record. In reduce, and in map of a job without reduces; elsewhere
 * the attempt fails. All files of an attempt count, or none. */
static inline void mr_emit_to(struct mr_ctx *ctx, const char *output, struct mr_span key,
                              struct mr_span value)
{
    if (ctx->host->size < offsetof(struct mr_host, emit_to) + sizeof(ctx->host->emit_to)) {
        ctx->host->fail_task(ctx, "mr_emit_to(): this worker is older than the job's library");
        return;
    }
    ctx->host->emit_to(ctx, output, key, value);
}

/* The next value of the key, valid until the next call or your function's return. False: none is
 * left, *ret_value is as before. Values come once; those that you do not ask for are skipped. */
static inline bool mr_values_next(struct mr_values *values, struct mr_span *ret_value)
{
    return values->next(values, ret_value);
}

/* Adds to a counter of the job; those of all tasks that count are summed up and shown with it. */
static inline void mr_counter_add(struct mr_ctx *ctx, const char *group, const char *name,
                                  int64_t amount)
{
    ctx->host->counter_add(ctx, group, name, amount);
}

/* Shows a line of text as the task's status, until the next one. */
static inline void mr_status(struct mr_ctx *ctx, const char *text)
{
    ctx->host->status(ctx, text);
}

/* A job setting (`mr run -D name=value`), valid for the whole task. NULL: it is not set. */
static inline const char *mr_config(struct mr_ctx *ctx, const char *name)
{
    return ctx->host->config(ctx, name);
}

/* Fails the attempt once your function has returned. The first text counts: name what is wrong. */
static inline void mr_fail(struct mr_ctx *ctx, const char *text)
{
    ctx->host->fail_task(ctx, text);
}

/* ---- Byte strings ---- */

static inline struct mr_span mr_bytes(const void *data, size_t length)
{
    struct mr_span span = {data, length};
    return span;
}

static inline struct mr_span mr_string(const char *string)
{
    return mr_bytes(string, strlen(string));
}

static inline bool mr_equal(struct mr_span a, struct mr_span b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

/* Finds words, which are divided by spaces, tabs, newlines, CR, VT and FF, with vector
 * instructions. Cuts up to words_max of them (at least 1) off the front of *text, into which they
 * point. Returns their number; 0 when only white space was left. */
static inline size_t mr_split_words(struct mr_ctx *ctx, struct mr_span *text, struct mr_span *words,
                                    size_t words_max)
{
    return ctx->host->split_words(text, words, words_max);
}

/* ---- Numbers as values: 8 bytes, least significant first on every machine ---- */

static inline uint64_t mr_get_u64(struct mr_span span)
{
    const unsigned char *byte = (const unsigned char *)span.data;
    uint64_t value = 0;
    for (size_t i = 0; i < 8 && i < span.length; i++) {
        value |= (uint64_t)byte[i] << (8 * i);
    }
    return value;
}

static inline int64_t mr_get_i64(struct mr_span span)
{
    return (int64_t)mr_get_u64(span);
}

/* Emits a number as the value. */
static inline void mr_emit_i64(struct mr_ctx *ctx, struct mr_span key, int64_t value)
{
    ctx->host->emit_keys_i64(ctx, &key, 1, value);
}

/* Emits every key with the same number: mr_emit_keys_i64(ctx, words, n, 1) counts words. */
static inline void mr_emit_keys_i64(struct mr_ctx *ctx, const struct mr_span *keys, size_t count,
                                    int64_t value)
{
    ctx->host->emit_keys_i64(ctx, keys, count, value);
}

#ifdef __cplusplus
}
#endif

#endif
