/* See mem_kv.h. Rows are found by binary search in byte order, the order of RocksDB's default
 * comparator. */
#include "tests/lib/mem_kv.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"

void mem_kv_init(struct mem_kv *kv)
{
    memset(kv, 0, sizeof(*kv));
}

static void row_free(struct mem_kv_row *row)
{
    buf_deinit(&row->key);
    buf_deinit(&row->value);
    free(row);
}

void mem_kv_deinit(struct mem_kv *kv)
{
    if (!kv) {
        return;
    }
    for (size_t i = 0; i < kv->count; i++) {
        row_free(kv->rows[i]);
    }
    free(kv->rows);
    memset(kv, 0, sizeof(*kv));
}

static int compare(const struct buf *key, struct span with)
{
    size_t common = key->length < with.length ? key->length : with.length;
    int order = common ? memcmp(key->data, with.data, common) : 0;
    if (order != 0) {
        return order;
    }
    return (key->length > with.length) - (key->length < with.length);
}

/* Index of the first row whose key is not below `key`. */
static size_t lower_bound(const struct mem_kv *kv, struct span key)
{
    size_t low = 0;
    size_t high = kv->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&kv->rows[middle]->key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool fault_due(struct mem_kv *kv)
{
    return kv->fail_countdown > 0 && --kv->fail_countdown == 0;
}

static bool row_is(const struct mem_kv *kv, size_t at, struct span key)
{
    return at < kv->count && compare(&kv->rows[at]->key, key) == 0;
}

static int mem_kv_get(void *ctx, struct span key, struct buf *ret_value)
{
    struct mem_kv *kv = ctx;
    if (fault_due(kv)) {
        return ERR_IO;
    }
    size_t at = lower_bound(kv, key);
    if (!row_is(kv, at, key)) {
        return ERR_NOT_FOUND;
    }
    buf_clear(ret_value);
    buf_append(ret_value, kv->rows[at]->value.data, kv->rows[at]->value.length);
    return 0;
}

static void insert_row(struct mem_kv *kv, size_t at, struct span key)
{
    if (kv->count == kv->capacity) {
        kv->capacity = kv->capacity ? kv->capacity * 2 : 64;
        kv->rows = xreallocarray(kv->rows, kv->capacity, sizeof(struct mem_kv_row *));
    }
    struct mem_kv_row *row = xcalloc(1, sizeof(*row));
    buf_init(&row->key);
    buf_init(&row->value);
    buf_append(&row->key, key.data, key.length);
    memmove(kv->rows + at + 1, kv->rows + at, (kv->count - at) * sizeof(struct mem_kv_row *));
    kv->rows[at] = row;
    kv->count++;
}

static void mem_kv_put(void *ctx, struct span key, struct span value)
{
    struct mem_kv *kv = ctx;
    CHECK(!kv->scanning);
    CHECK(key.length > 0);
    size_t at = lower_bound(kv, key);
    if (!row_is(kv, at, key)) {
        insert_row(kv, at, key);
    }
    buf_clear(&kv->rows[at]->value);
    buf_append(&kv->rows[at]->value, value.data, value.length);
}

static void mem_kv_put_new(void *ctx, struct span key, struct span value)
{
    const struct mem_kv *kv = ctx;
    CHECK(!row_is(kv, lower_bound(kv, key), key));
    mem_kv_put(ctx, key, value);
}

static void mem_kv_del(void *ctx, struct span key)
{
    struct mem_kv *kv = ctx;
    CHECK(!kv->scanning);
    size_t at = lower_bound(kv, key);
    if (!row_is(kv, at, key)) {
        return;
    }
    row_free(kv->rows[at]);
    kv->count--;
    memmove(kv->rows + at, kv->rows + at + 1, (kv->count - at) * sizeof(struct mem_kv_row *));
}

static int mem_kv_scan(void *ctx, const struct kv_range *range, kv_visit_fn visit, void *arg)
{
    struct mem_kv *kv = ctx;
    if (fault_due(kv)) {
        return ERR_IO;
    }
    size_t first = range->start.length ? lower_bound(kv, range->start) : 0;
    size_t last = range->end.length ? lower_bound(kv, range->end) : kv->count;
    bool outer = kv->scanning;
    int r = 0;
    kv->scanning = true;
    for (size_t i = first; i < last && r == 0; i++) {
        const struct mem_kv_row *row = kv->rows[range->reverse ? last - 1 - (i - first) : i];
        r = visit(arg, (struct span){row->key.data, row->key.length},
                  (struct span){row->value.data, row->value.length});
    }
    kv->scanning = outer;
    return r;
}

struct kv_view mem_kv_view(struct mem_kv *kv)
{
    return (struct kv_view){kv, mem_kv_get, mem_kv_put, mem_kv_put_new, mem_kv_del, mem_kv_scan};
}

void mem_kv_copy(struct mem_kv *to, const struct mem_kv *from)
{
    mem_kv_deinit(to);
    mem_kv_init(to);
    for (size_t i = 0; i < from->count; i++) {
        const struct mem_kv_row *row = from->rows[i];
        mem_kv_put(to, (struct span){row->key.data, row->key.length},
                   (struct span){row->value.data, row->value.length});
    }
}

bool mem_kv_equal(const struct mem_kv *a, const struct mem_kv *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        const struct buf *value = &b->rows[i]->value;
        if (compare(&a->rows[i]->key,
                    (struct span){b->rows[i]->key.data, b->rows[i]->key.length}) ||
            compare(&a->rows[i]->value, (struct span){value->data, value->length})) {
            return false;
        }
    }
    return true;
}
