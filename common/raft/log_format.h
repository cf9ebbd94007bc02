/* Bytes of the Raft log's segment files: encode and decode, nothing else; docs/formats-log.md has
 * the layout. Pure. The decoders take any bytes; what they return is verified by CRC32C, not by
 * meaning. */
#ifndef COMMON_RAFT_LOG_FORMAT_H
#define COMMON_RAFT_LOG_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/ids.h"

enum {
    LOG_SEGMENT_HEADER_BYTES = 4096, /* one disk block, so that batches never share one with it */
    LOG_BATCH_HEADER_BYTES = 64,
    LOG_RECORD_HEADER_BYTES = 32,
    LOG_ALIGN_BYTES = 8, /* of batches and records; padding is zero */
};

struct log_hard_state {
    term_no term;  /* current term, never lower than that of any entry */
    uint64_t vote; /* member voted for in that term; 0: none */
};

/* First block of a segment: who it is, and the state of the log where it begins, so that the
 * segments before it can go. */
struct log_segment_header {
    uint64_t number;    /* rises by one from segment to segment; also in the file's name */
    uint64_t salt;      /* in each of its batches: older bytes of a recycled file never match */
    uint64_t first_seq; /* of its first batch; the segment before it ends at first_seq - 1, all of
                           it synced */
    uint64_t epoch;     /* of the writer that made it */
    struct log_hard_state hard; /* as of the batch before first_seq */
    log_index start_index; /* entries up to this one are gone (compacted, or within a snapshot) */
    term_no start_term;    /* of that entry; both 0 at the beginning of time */
    log_index
        last_index; /* of the entry before the first one here; start_index when there is none */
};

/* Appends exactly LOG_SEGMENT_HEADER_BYTES. */
void log_segment_header_encode(const struct log_segment_header *h, struct buf *out);

/* ERR_CORRUPT, or ERR_VERSION for a segment of a newer program. */
int log_segment_header_decode(struct span image, struct log_segment_header *ret_header,
                              struct err *e) MUST_CHECK;

struct log_batch {
    uint64_t seq;        /* rises by one from batch to batch over all segments */
    uint64_t epoch;      /* of the writer: rises by one each time that the log is opened */
    uint64_t synced_seq; /* all batches up to this one were durable before this one was written */
    log_index
        synced_last; /* the last index of the log as of synced_seq; for people and error texts */
    uint32_t record_count;
    uint32_t body_bytes; /* of the records that follow the header */
};

/* Completes out->data[at ...], where the caller has left LOG_BATCH_HEADER_BYTES for the header
 * before the records; b->body_bytes is taken from out->length. */
void log_batch_seal(struct log_batch *b, uint64_t salt, struct buf *out, size_t at);

enum log_batch_found {
    LOG_BATCH_NONE,  /* no header of this segment here: never written, or damaged */
    LOG_BATCH_TORN,  /* a good header, but its records are damaged or cut; *ret_batch is set */
    LOG_BATCH_INTACT /* header and records verified */
};

/* Looks for a batch at `offset`. Never reads beyond the image. */
enum log_batch_found log_batch_decode(struct span image, size_t offset, uint64_t salt,
                                      struct log_batch *ret_batch);

/* Whole length of a batch, header included. */
static inline size_t log_batch_bytes(const struct log_batch *b)
{
    return LOG_BATCH_HEADER_BYTES + (size_t)b->body_bytes;
}

enum log_record_kind {
    LOG_RECORD_ENTRY = 1,    /* index, term, type, data */
    LOG_RECORD_HARD = 2,     /* term; index holds the vote */
    LOG_RECORD_TRUNCATE = 3, /* entries from index on are gone */
    LOG_RECORD_START = 4,    /* entries up to index, whose term is term, are gone */
    LOG_RECORD_RESET =
        5, /* all entries are gone; the next one is index + 1, after an entry of term */
};

struct log_record {
    enum log_record_kind kind;
    uint8_t type; /* of an entry; the caller's */
    uint64_t index;
    uint64_t term;
    struct span data; /* of an entry */
};

static inline size_t log_record_bytes(size_t data_length)
{
    return LOG_RECORD_HEADER_BYTES +
           ((data_length + LOG_ALIGN_BYTES - 1) & ~(size_t)(LOG_ALIGN_BYTES - 1));
}

void log_record_encode(const struct log_record *r, struct buf *out);

/* Takes one record off the cursor; its data stays in the cursor's memory. ERR_CORRUPT: none is
 * there, it is damaged, or of a kind that we do not know. */
int log_record_decode(struct cursor *c, struct log_record *ret_record) MUST_CHECK;

#endif
