/* See write_buffer.h. */
#include "client/write_buffer.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/limits.h"
#include "common/macros.h"

enum {
    SEGMENT_BYTES = DATA_MESSAGE_BYTES_MAX,
    SEGMENT_BYTES_SMALL = 64 * 1024, /* the first one of a file: most files are small */
    PARTS_MAX = 8,
};

struct segment {
    struct list link;
    uint64_t offset; /* in the file */
    size_t used;
    size_t capacity;
    char *data;
    struct rpc_bytes *bytes; /* all of data; the segment's own reference */
};

void write_buffer_init(struct write_buffer *b, uint64_t offset)
{
    list_init(&b->segments);
    b->start = offset;
    b->end = offset;
}

static void segment_free(struct segment *s)
{
    list_remove(&s->link);
    rpc_bytes_unref(s->bytes); /* frees the data when no stream has it any more */
    free(s);
}

void write_buffer_deinit(struct write_buffer *b)
{
    LIST_FOR_EACH_SAFE(node, &b->segments)
    {
        segment_free(LIST_ENTRY(node, struct segment, link));
    }
}

static struct segment *segment_new(struct write_buffer *b)
{
    struct segment *s = xcalloc(1, sizeof(*s));
    s->offset = b->end;
    s->capacity = list_empty(&b->segments) && b->end == 0 ? SEGMENT_BYTES_SMALL : SEGMENT_BYTES;
    s->data = xmalloc(s->capacity);
    s->bytes = rpc_bytes_wrap(s->data, s->capacity, free, s->data);
    list_push_back(&b->segments, &s->link);
    return s;
}

void write_buffer_append(struct write_buffer *b, const void *data, size_t length)
{
    const char *from = data;
    while (length > 0) {
        struct segment *s = list_empty(&b->segments)
                                ? segment_new(b)
                                : LIST_ENTRY(list_last(&b->segments), struct segment, link);
        if (s->used == s->capacity) {
            s = segment_new(b);
        }
        size_t run = MIN(length, s->capacity - s->used);
        memcpy(s->data + s->used, from, run);
        s->used += run;
        b->end += run;
        from += run;
        length -= run;
    }
}

void write_buffer_free_below(struct write_buffer *b, uint64_t offset)
{
    CHECK(offset <= b->end);
    b->start = MAX(b->start, offset);
    LIST_FOR_EACH_SAFE(node, &b->segments)
    {
        struct segment *s = LIST_ENTRY(node, struct segment, link);
        if (s->used < s->capacity || s->offset + s->used > offset) {
            break;
        }
        segment_free(s);
    }
}

struct rpc_bytes *write_buffer_part(const struct write_buffer *b, uint64_t offset, size_t length)
{
    struct rpc_bytes *parts[PARTS_MAX];
    size_t count = 0;
    CHECK(offset >= b->start);
    CHECK(offset + length <= b->end);
    LIST_FOR_EACH(node, &b->segments)
    {
        struct segment *s = LIST_ENTRY(node, struct segment, link);
        if (length == 0 || s->offset + s->used <= offset) {
            continue;
        }
        size_t skip = (size_t)(offset - s->offset);
        size_t run = MIN(length, s->used - skip);
        CHECK(count < PARTS_MAX);
        parts[count++] = rpc_bytes_part(s->bytes, skip, run);
        offset += run;
        length -= run;
    }
    struct rpc_bytes *all = count == 1 ? rpc_bytes_ref(parts[0]) : rpc_bytes_join(parts, count);
    for (size_t i = 0; i < count; i++) {
        rpc_bytes_unref(parts[i]);
    }
    return all;
}
