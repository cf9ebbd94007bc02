/* Changes to an ordered map that are not written yet: at most one for each key, the newest. Found
 * by hash, walked in the order of keys, both as cheap as one can make them: a file master's apply
 * thread makes half a dozen for each operation and asks as often. Pure; one thread at a time.
 *
 * Order is made when somebody walks, by first byte of the key, so what is only put and asked for is
 * never sorted but once, for the write. */
#ifndef COMMON_KV_CHANGES_H
#define COMMON_KV_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/kvview.h"

struct kv_change {
    struct span key;
    struct span value; /* of a put */
    bool deleted;      /* a del */
    bool is_new;       /* the map below has no such key: a del of it is nothing to write */
    uint64_t order;    /* private: bytes 1 to 8 of the key, as a number that sorts alike */
    size_t value_room; /* private: bytes that value may take where it stands */
};

struct kv_changes;

struct kv_changes *kv_changes_new(void);
void kv_changes_free(struct kv_changes *c); /* accepts NULL */
void kv_changes_clear(struct kv_changes *c);

/* These copy. Keys have at least one byte. What was found or stood on before is not valid any more.
 */
void kv_changes_put(struct kv_changes *c, struct span key, struct span value);
/* The map below has no such key, but for what a change here has put there. */
void kv_changes_put_new(struct kv_changes *c, struct span key, struct span value);
void kv_changes_del(struct kv_changes *c, struct span key);

/* The map below has no such key, nor a change here. A put upon it that is deleted again leaves
 * nothing to write, and so does a kv_changes_put_new(). */
void kv_changes_absent(struct kv_changes *c, struct span key);

const struct kv_change *kv_changes_find(const struct kv_changes *c, struct span key); /* or NULL */
size_t kv_changes_count(const struct kv_changes *c);
size_t kv_changes_bytes(const struct kv_changes *c); /* of keys and values, replaced ones too */

/* A walk over the changes of a range, in its direction. */
struct kv_cursor {
    struct kv_changes *changes;
    const struct kv_range *range;
    unsigned table; /* first byte of the keys that it is among */
    unsigned last;  /* the last one that the range touches, in its direction */
    size_t at;      /* in their order */
    bool over;
};

/* Stands on the first one. The range must outlive the cursor; no change meanwhile. */
void kv_cursor_begin(struct kv_cursor *cursor, struct kv_changes *c, const struct kv_range *range);
const struct kv_change *kv_cursor_get(const struct kv_cursor *cursor); /* NULL: no more */
void kv_cursor_next(struct kv_cursor *cursor);

#endif
