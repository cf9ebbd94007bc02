/* Sort: all output files together, part-00000, part-00001 and so on, are in order.
 *
 * Lines, by their bytes:
 *     mr run --lib sort.so -r 8 -i /in -o /sorted
 * Records of 100 bytes, by their first 10:
 *     mr run --lib sort.so -r 8 --format fixed:100 --output-format raw -D sort.key.bytes=10 \
 *         -i /in -o /sorted
 *
 * There is little to do: the framework sorts by key anyway, and MR_ORDER_TOTAL makes it give each
 * reduce task a range of keys, whose borders it finds by running map() on samples of the input.
 * Without a reduce function every record is written as it is. */
#include <stdlib.h>

#include <trireme/mapreduce.h>

struct sort {
    size_t key_bytes;
};

static int setup(struct mr_ctx *ctx)
{
    const char *bytes = mr_config(ctx, "sort.key.bytes");
    struct sort *sort = calloc(1, sizeof(*sort));
    if (!sort) {
        return -1;
    }
    sort->key_bytes = bytes ? strtoul(bytes, NULL, 10) : SIZE_MAX;
    ctx->user = sort;
    return 0;
}

static void cleanup(struct mr_ctx *ctx)
{
    free(ctx->user);
}

static void map_batch(struct mr_ctx *ctx, const struct mr_record *records, size_t count)
{
    enum { BATCH = 256 };
    struct mr_record out[BATCH];
    const struct sort *sort = ctx->user;
    for (size_t done = 0; done < count;) {
        size_t n = 0;
        for (; n < BATCH && done < count; n++, done++) {
            struct mr_span record = records[done].value;
            size_t key = record.length < sort->key_bytes ? record.length : sort->key_bytes;
            out[n].key = mr_bytes(record.data, key);
            out[n].value = mr_bytes((const char *)record.data + key, record.length - key);
        }
        mr_emit_batch(ctx, out, n);
    }
}

static const struct mr_job job = {
    MR_JOB_HEADER,      .name = "sort",         .setup = setup,
    .cleanup = cleanup, .map_batch = map_batch, .order = MR_ORDER_TOTAL,
};

const struct mr_job *mr_job_v1(void)
{
    return &job;
}
