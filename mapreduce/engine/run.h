/* Sorted runs on local disk: the output of a map task, and what it spills on the way. One file has
 * R segments, one per partition; a segment is a row of checksummed blocks of sorted records and can
 * be read, and sent to another machine, alone. docs/formats-mr.md has the bytes.
 *
 * Writers and readers are used by one thread. Readers believe nothing that they read. */
#ifndef MAPREDUCE_ENGINE_RUN_H
#define MAPREDUCE_ENGINE_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mapreduce/engine/region.h"
#include "mapreduce/engine/source.h"
#include "trireme/mapreduce.h"

struct run_segment {
    uint64_t offset;    /* in the file */
    uint64_t length;    /* bytes in the file */
    uint64_t records;   /* in the segment */
    uint64_t raw_bytes; /* of its encoded records, before compression */
    uint32_t crc;       /* CRC32C of the segment's bytes in the file */
};

struct run_index {
    struct run_segment *segments; /* `count` of them, by partition; owned */
    uint32_t count;
};

void run_index_deinit(struct run_index *index); /* accepts NULL and zeroed */

/* Reads the index at a file's end. ERR_CORRUPT, ERR_VERSION. */
int run_index_read(struct source *file, struct run_index *ret_index, struct err *e) MUST_CHECK;

/* One partition of one map output. The source is borrowed. */
struct task_segment {
    struct source *source;
    uint64_t offset;
    uint64_t length;
    uint64_t records;
};

/* ---- Writing ---- */

struct run_writer {
    struct sink *sink;          /* borrowed */
    struct region *memory;      /* borrowed: blocks gather there until they are written */
    bool compress;              /* LZ4 where it makes a block smaller */
    struct run_index index;     /* being filled */
    struct run_segment segment; /* the current one */
    uint64_t written;           /* bytes of the file that went to the sink or wait in memory */
    uint8_t *block;             /* the current block's header */
    uint8_t *at;                /* where its next record goes */
    uint8_t *limit;             /* end of the room for it */
    uint8_t *pack;              /* room for a compressed block; NULL without compression */
};

/* Begins a file of `partitions` segments. The sink and the memory stay borrowed until
 * run_writer_deinit(); the memory may serve another writer after that. */
void run_writer_init(struct run_writer *w, struct sink *sink, struct region *memory,
                     uint32_t partitions, bool compress);
void run_writer_deinit(struct run_writer *w); /* accepts zeroed */

/* Appends a record to the current segment; the caller keeps them in order. */
int run_writer_add(struct run_writer *w, struct mr_span key, struct mr_span value,
                   struct err *e) MUST_CHECK;
/* The same for a record as record_put() encodes it. */
int run_writer_add_encoded(struct run_writer *w, const uint8_t *record, size_t length,
                           struct err *e) MUST_CHECK;

/* Ends the current segment and begins that of the next partition. Call once per partition. */
int run_writer_end_segment(struct run_writer *w, struct err *e) MUST_CHECK;

/* After the last segment: writes the index and finishes the sink. *ret_index is the caller's. */
int run_writer_finish(struct run_writer *w, struct run_index *ret_index, struct err *e) MUST_CHECK;

/* ---- Reading ---- */

struct run_reader {
    struct source *source; /* borrowed */
    uint64_t offset;       /* of the next unread byte in the source */
    uint64_t left;         /* bytes of the segment from there on */
    uint8_t *buffer;       /* bytes read, [begin, end) not yet decoded */
    size_t begin;
    size_t end;
    size_t capacity;
    uint8_t *raw; /* the decompressed block */
    size_t raw_capacity;
    const uint8_t *at;   /* next record in the current block */
    const uint8_t *stop; /* the block's end */
};

void run_reader_init(struct run_reader *r);
void run_reader_deinit(struct run_reader *r); /* accepts zeroed */

/* Begins with the segment at [offset, offset + length). Borrows the source. Buffers are kept. */
void run_reader_begin(struct run_reader *r, struct source *source, uint64_t offset,
                      uint64_t length);

/* 1: *ret is the next record, valid until the next call; 0: the segment's end. ERR_CORRUPT names
 * file and offset. */
int run_reader_next(struct run_reader *r, struct mr_record *ret, struct err *e) MUST_CHECK;

#endif
