/* The bytes of the chunk index (docs/formats.md 6): records to bytes and back. Pure. Decoders take
 * untrusted bytes and return ERR_CORRUPT, or ERR_VERSION for a newer format; they write *ret only
 * on success. */
#ifndef CHUNKSERVER_CHUNK_RECORD_H
#define CHUNKSERVER_CHUNK_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/ids.h"
#include "common/limits.h"

enum chunk_state {
    CHUNK_OPEN = 1,   /* being written at this version */
    CHUNK_FENCED = 2, /* its writers were ended; waits for the length at which it is sealed */
    CHUNK_SEALED = 3, /* never changes again */
};

struct chunk_record {
    struct chunk_ref ref;
    enum chunk_state state;
    bool inlined;           /* the bytes stand in the index, there is no file */
    bool damaged;           /* a block did not match its CRC: not counted as a replica any more */
    bool clean;             /* fenced: was not restarted since the fenced version was granted */
    uint64_t length;        /* bytes that count */
    uint64_t durable;       /* of those, synced; a power cut leaves at least them */
    uint32_t durable_crc;   /* CRC of the last block as of `durable`, 0 at a block boundary */
    uint64_t acked;         /* watermark when it was last written */
    uint64_t granted_start; /* the start count in which this version was granted here */
    uint64_t chunk_bytes;   /* the chunk never grows beyond */
};

/* CRCs of CRC_SEGMENT_BLOCKS consecutive blocks. `length` is the chunk's as of this write, so that
 * a segment alone says how many bytes its last value covers. */
enum { CRC_SEGMENT_BLOCKS = 256 };
struct crc_segment {
    uint64_t length; /* of the chunk */
    uint32_t count;  /* values in use */
    uint32_t values[CRC_SEGMENT_BLOCKS];
};

/* Bytes of an inlined chunk. */
struct inline_data {
    uint32_t crc;      /* of all of them */
    struct span bytes; /* borrowed from the decoded value */
};

/* A deleted chunk whose file waits in the trash. */
struct trash_entry {
    time_ms due_wall_ms; /* when it goes */
    struct chunk_ref ref;
    bool inlined; /* there is no file */
};

void chunk_record_encode(const struct chunk_record *record, struct buf *out);
int chunk_record_decode(chunk_id id, struct span value, struct chunk_record *ret) MUST_CHECK;

void crc_segment_encode(const struct crc_segment *segment, struct buf *out);
int crc_segment_decode(struct span value, struct crc_segment *ret) MUST_CHECK;

void inline_data_encode(const struct inline_data *data, struct buf *out);
int inline_data_decode(struct span value, struct inline_data *ret) MUST_CHECK;

void index_number_encode(uint64_t number, struct buf *out);
int index_number_decode(struct span value, uint64_t *ret) MUST_CHECK;

/* Keys. */
void chunk_key(chunk_id id, struct buf *out);                         /* c */
void crc_segment_key(chunk_id id, uint32_t segment, struct buf *out); /* b */
void inline_key(chunk_id id, struct buf *out);                        /* d */
void trash_key(const struct trash_entry *entry, struct buf *out);     /* x */
int chunk_key_decode(struct span key, chunk_id *ret) MUST_CHECK;
int trash_decode(struct span key, struct span value, struct trash_entry *ret) MUST_CHECK;
void trash_value_encode(const struct trash_entry *entry, struct buf *out);
extern const struct span term_key;        /* t */
extern const struct span start_count_key; /* n */

/* Blocks of a chunk of `length` bytes. */
static inline uint32_t block_count(uint64_t length)
{
    return (uint32_t)((length + CHUNK_BLOCK_BYTES - 1) / CHUNK_BLOCK_BYTES);
}

#endif
