/* An ordered map of byte strings as pure cores see it: four functions and a context, no RocksDB.
 * kv.c gives one over a write batch with read-your-writes, tests/lib/mem_kv.h one in memory. Owner:
 * whoever made it; one thread at a time.
 *
 * Keys order as memcmp does, a prefix before its continuations. Keys and values are any bytes, keys
 * at least one. All reads see the puts and dels made before them through the same view. An error
 * (ERR_IO, ERR_CORRUPT) means that the storage below is broken: apply stops the member, it never
 * goes on with a guess. */
#ifndef COMMON_KVVIEW_H
#define COMMON_KVVIEW_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/err.h"

/* Called for each pair of a scan, in order. key and value are borrowed until it returns. It must
 * not change the view. 0: go on; > 0: stop, and kv_view_scan() returns that value; < 0 (ERR_*):
 * likewise. */
typedef int (*kv_visit_fn)(void *arg, struct span key, struct span value);

/* What a scan covers: start <= key < end. A zeroed range is everything. */
struct kv_range {
    struct span start; /* first key of the range; empty: from the first of all */
    struct span end;   /* first key after the range; empty: to the last of all */
    bool reverse;      /* from the last key of the range down to the first */
};

struct kv_view {
    void *ctx; /* of the implementation; given back as the first argument */

    /* 0: ret_value holds the value, replacing what was in it. ERR_NOT_FOUND: no such key, ret_value
     * untouched. */
    int (*get)(void *ctx, struct span key, struct buf *ret_value);

    /* These copy what they are given and cannot fail; memory exhaustion aborts. put_new: the caller
     * knows that there is no such key, and spares whoever would look. Deleting an absent key does
     * nothing. */
    void (*put)(void *ctx, struct span key, struct span value);
    void (*put_new)(void *ctx, struct span key, struct span value);
    void (*del)(void *ctx, struct span key);

    /* 0 at the end of the range, else what visit returned, or ERR_* of the storage. */
    int (*scan)(void *ctx, const struct kv_range *range, kv_visit_fn visit, void *arg);
};

static inline MUST_CHECK int kv_view_get(const struct kv_view *view, struct span key,
                                         struct buf *ret_value)
{
    return view->get(view->ctx, key, ret_value);
}

static inline void kv_view_put(const struct kv_view *view, struct span key, struct span value)
{
    view->put(view->ctx, key, value);
}

static inline void kv_view_put_new(const struct kv_view *view, struct span key, struct span value)
{
    view->put_new(view->ctx, key, value);
}

static inline void kv_view_del(const struct kv_view *view, struct span key)
{
    view->del(view->ctx, key);
}

static inline MUST_CHECK int kv_view_scan(const struct kv_view *view, const struct kv_range *range,
                                          kv_visit_fn visit, void *arg)
{
    return view->scan(view->ctx, range, visit, arg);
}

/* Sets ret_end to the end (exclusive) of all keys that begin with prefix: the prefix up to its last
 * byte that is not 0xff, raised by one. Empty, which means no end, when there is no such byte. */
static inline void kv_prefix_end(struct span prefix, struct buf *ret_end)
{
    const uint8_t *bytes = prefix.data;
    size_t length = prefix.length;
    while (length > 0 && bytes[length - 1] == 0xff) {
        length--;
    }
    buf_clear(ret_end);
    if (length > 0) {
        buf_append(ret_end, bytes, length - 1);
        buf_append_byte(ret_end, (uint8_t)(bytes[length - 1] + 1));
    }
}

#endif
