/* Ranges of keys: encoding, choice and search; see partition.h. */
#include "mapreduce/engine/partition.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/parse.h"
#include "mapreduce/engine/job.h"
#include "mapreduce/engine/record.h"

struct partition_range {
    uint64_t prefix; /* key_prefix(key): decides nearly always, without a look at the key */
    struct mr_span key;
};

void partitioner_init(struct partitioner *p, uint32_t reduces)
{
    CHECK(reduces > 0);
    *p = (struct partitioner){.reduces = reduces};
}

void partitioner_deinit(struct partitioner *p)
{
    free(p->ranges);
    free(p->memory);
    *p = (struct partitioner){0};
}

static int decode_boundary(const char *hex, size_t digits, uint8_t *bytes, struct err *e)
{
    char *copy = xstrndup(hex, digits);
    int r = digits % 2 == 0 ? parse_hex(copy, bytes, digits / 2, e)
                            : err_set(e, ERR_INVALID, "odd number of digits");
    free(copy);
    return r;
}

int partitioner_set_boundaries(struct partitioner *p, const char *text, struct err *e)
{
    uint32_t wanted = p->reduces - 1;
    p->ranges = xcalloc((size_t)wanted + 1, sizeof(*p->ranges));
    p->memory = xmalloc(strlen(text) + 1);
    uint8_t *memory = p->memory;
    const char *at = text;
    for (uint32_t i = 0; i < wanted; i++) {
        size_t digits = strcspn(at, ",");
        int r = decode_boundary(at, digits, memory, e);
        if (r < 0) {
            return err_wrap(e, r, "%s, boundary %u", PARTITION_BOUNDARIES_SETTING, i + 1);
        }
        struct partition_range *range = &p->ranges[i];
        range->key = mr_bytes(memory, digits / 2);
        range->prefix = key_prefix(memory, digits / 2);
        if (i > 0 && key_compare(p->ranges[i - 1].key, range->key) > 0) {
            return err_set(e, ERR_INVALID, "%s: boundary %u is below the one before",
                           PARTITION_BOUNDARIES_SETTING, i + 1);
        }
        memory += digits / 2;
        at += digits;
        if (i + 1 < wanted && *at != ',') {
            return err_set(e, ERR_INVALID, "%s: %u boundaries, %u needed for %u reduces",
                           PARTITION_BOUNDARIES_SETTING, i + 1, wanted, p->reduces);
        }
        at += *at == ',';
    }
    return *at == '\0' ? 0
                       : err_set(e, ERR_INVALID, "%s: more than %u boundaries",
                                 PARTITION_BOUNDARIES_SETTING, wanted);
}

uint32_t partition_by_range(const struct partitioner *p, struct mr_span key)
{
    uint64_t prefix = key_prefix(key.data, key.length);
    uint32_t low = 0; /* boundaries below `low` are not above the key */
    uint32_t high = p->reduces - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct partition_range *range = &p->ranges[middle];
        bool reached =
            prefix != range->prefix ? prefix > range->prefix : key_compare(key, range->key) >= 0;
        if (reached) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint32_t partition_by_fields(const struct partitioner *p, struct mr_span key)
{
    const struct job *job = p->job;
    struct mr_span plain;
    if (job_plain_key(job, key, &plain, NULL) < 0) {
        return p->reduces;
    }
    return job->partition_by_fields
               ? partition_scale(keyfields_hash(&job->partition_fields, plain), p->reduces)
               : partition_by_hash(plain, p->reduces);
}

static int compare_keys(const void *a, const void *b)
{
    return key_compare(*(const struct mr_span *)a, *(const struct mr_span *)b);
}

void partition_choose(struct mr_span *keys, size_t count, uint32_t reduces, struct buf *out)
{
    qsort(keys, count, sizeof(*keys), compare_keys);
    for (uint32_t i = 1; i < reduces; i++) {
        struct mr_span key = count > 0 ? keys[count * i / reduces] : mr_bytes(NULL, 0);
        char *hex = xmalloc(2 * key.length + 1);
        buf_append_str(out, i > 1 ? "," : "");
        buf_append_str(out, format_hex(key.data, key.length, hex));
        free(hex);
    }
}
