/* Bytes that a writer may have to send again: a queue of segments, addressed by file offset, filled
 * at its end and freed at its start. Parts of it are handed to streams by reference, so bytes are
 * never moved; a segment lives until the last stream lets go of it. */
#ifndef CLIENT_WRITE_BUFFER_H
#define CLIENT_WRITE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include "common/list.h"
#include "common/rpc/rpc_bytes.h"

struct write_buffer {
    struct list segments;
    uint64_t start; /* file offset of the first byte that is kept */
    uint64_t end;   /* where the next byte goes */
};

void write_buffer_init(struct write_buffer *b, uint64_t offset);
void write_buffer_deinit(struct write_buffer *b);
void write_buffer_append(struct write_buffer *b, const void *data, size_t length);
/* Bytes below are not needed any more. */
void write_buffer_free_below(struct write_buffer *b, uint64_t offset);
/* [offset, offset + length) by reference; the caller unrefs it. At most DATA_MESSAGE_BYTES_MAX. */
struct rpc_bytes *write_buffer_part(const struct write_buffer *b, uint64_t offset, size_t length);

#endif
