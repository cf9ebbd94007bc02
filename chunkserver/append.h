/* Append ordering: what one replica does with the messages of one Append stream (DESIGN 4, "Append:
 * one write path"). Pure: events and `now` go in, an update comes out; no I/O, clock, threads or
 * memory of its own. Owned by one stream; one thread at a time.
 *
 * The shell (chain.c) queues the own work it is asked for, in the order asked, and reports progress
 * as "all up to here"; it passes messages on downstream; it sends the acknowledgements it is given.
 * The core answers for four rules:
 *   1. An acknowledgement is the smaller of what this replica and the one after it have.
 *   2. Bytes at or below what was accepted are a retry and change nothing; a gap is refused.
 *   3. The watermark (`acked`), up to which readers are served, never passes the own bytes.
 *   4. A failure names the server at fault: this one for its own disk, the next one if it cannot be
 *      reached or is silent, whoever the next one names, nobody if the writer is wrong or fenced.
 *
 * Silence. A hop that owes something and is alive repeats its last acknowledgement every
 * APPEND_ALIVE_MS, so a hop that waits for its own successor is not silent, and only the hop that
 * really hangs is named after HOP_SILENT_MS. A disk that takes longer than APPEND_DISK_HUNG_MS is
 * named by its own server. When this process itself was stopped for a while (two ticks far apart),
 * nobody else is blamed for that time. */
#ifndef CHUNKSERVER_APPEND_H
#define CHUNKSERVER_APPEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/ids.h"

enum append_phase {
    APPEND_STREAMING, /* data may come */
    APPEND_FINISHING, /* the writer has named the final length */
    APPEND_SEALED,    /* this replica and all after it have sealed: over */
    APPEND_FAILED,    /* over; `failure` and `blamed` say why */
};

/* What a replica holds when a stream is opened. */
struct append_start {
    struct chunk_ref chunk; /* for error texts */
    server_id self;         /* this server */
    server_id next;         /* the next one in the chain; 0: this is the last */
    bool first;             /* this server is the writer's direct peer */
    uint64_t chunk_bytes;   /* the chunk never grows beyond */
    uint64_t length;        /* bytes held, verified */
    uint64_t durable;       /* of those, durable; <= length */
    uint64_t acked;         /* watermark known so far; <= length */
    uint32_t tail_crc;      /* CRC32C of the last block's bytes, 0 if length is a block boundary */
    time_ms now;            /* monotonic */
};

/* One message of the stream, after the open. */
struct append_message {
    uint64_t offset; /* in the chunk, of the first byte of data */
    uint64_t length; /* bytes of data */
    const uint32_t
        *crcs; /* of each block that data touches, as proto/chunk.proto has it; borrowed */
    size_t crc_count;
    uint64_t acked; /* the writer's watermark */
    bool finish;    /* seal at the end of this message, which is the final length */
    bool sync;      /* make everything up to the end of this message durable */
};

/* Own work on the data of one message. */
struct append_write {
    uint64_t offset;  /* in the chunk, of the first new byte */
    uint64_t skip;    /* bytes of the message's data that are a retry: leave them out */
    uint64_t length;  /* new bytes, > 0 */
    uint32_t seed;    /* CRC of the first block's bytes before `offset` */
    size_t crc_first; /* index into the message's crcs of the block that `offset` is in */
};

/* An acknowledgement to send upstream. */
struct append_ack {
    uint64_t written; /* this replica and all after it hold the bytes up to here */
    uint64_t durable; /* ... durably */
    bool sealed;      /* ... and have sealed the chunk */
    int failure;      /* 0 or ERR_*: then it is the last one */
    server_id blamed; /* with failure: the server at fault, 0 for none */
};

/* What to do, in this order. Zeroed means nothing. */
struct append_update {
    bool forward;   /* pass the message on as it is; never set on the last replica */
    bool write;     /* queue `todo` */
    bool sync;      /* queue: make durable what was queued before */
    bool seal;      /* queue: make durable and seal at the accepted length */
    bool watermark; /* append_acked() has risen */
    bool ack;       /* send `reply` upstream */
    bool end;       /* with the ack the stream is over: status OK; on failure cancel downstream */
    struct append_write todo; /* valid if write */
    struct append_ack reply;  /* valid if ack */
};

/* All offsets of one side. Each only rises. */
struct append_progress {
    uint64_t written; /* pwrite returned and the index entry stands */
    uint64_t durable;
    bool sealed;
};

/* Open struct for tests and status pages; change it only through the functions. */
struct append {
    enum append_phase phase;
    struct append_start start;   /* as given */
    uint64_t accepted;           /* bytes taken from upstream: own work up to here is asked for */
    uint32_t tail_crc;           /* of the last block as of `accepted` */
    uint64_t acked;              /* watermark */
    uint64_t sync_wanted;        /* the highest end of a sync */
    struct append_progress own;  /* this replica */
    struct append_progress down; /* the next one; unused on the last */
    struct append_ack sent;      /* the last acknowledgement */
    time_ms sent_ms;             /* when it went */
    time_ms own_since_ms;        /* own work has been owed without progress since */
    time_ms down_since_ms;       /* the next one owes and was last heard then */
    time_ms tick_ms;             /* last tick */
    int held_failure; /* the next one's ERR_CORRUPT, waiting for our own verdict; else 0 */
    server_id held_blamed;
    server_id blamed;   /* in APPEND_FAILED */
    struct err failure; /* in APPEND_FAILED: code and text for a human */
};

void append_init(struct append *a, const struct append_start *start);

/* A message from upstream. Faults of the writer (gap, over the chunk's size, wrong CRC count,
 * watermark beyond our bytes, a final length below what was accepted, data after finish) end the
 * stream with ERR_INVALID and nobody blamed. */
void append_message(struct append *a, const struct append_message *m, time_ms now,
                    struct append_update *ret);

/* Own work is done up to here (all values are totals). Also right after a failure: it changes
 * nothing then. */
void append_own_done(struct append *a, struct append_progress own, time_ms now,
                     struct append_update *ret);

/* Own work failed: ERR_CORRUPT (a block differs from its CRC), ERR_NO_SPACE, ERR_IO ... */
void append_own_failed(struct append *a, const struct err *why, time_ms now,
                       struct append_update *ret);

/* An acknowledgement from downstream. text: of its failure, may be NULL. */
void append_down_ack(struct append *a, const struct append_ack *ack, const char *text, time_ms now,
                     struct append_update *ret);

/* The stream to the next replica could not be opened or ended without saying why. */
void append_down_broken(struct append *a, const char *text, time_ms now, struct append_update *ret);

/* A newer version was recorded (ERR_FENCED), the server drains (ERR_UNAVAILABLE), or the writer has
 * left (ERR_CANCELLED). */
void append_stop(struct append *a, int code, const char *text, struct append_update *ret);

/* Every APPEND_TICK_MS or so. */
void append_tick(struct append *a, time_ms now, struct append_update *ret);

bool append_is_over(const struct append *a); /* sealed or failed */

/* Invariants that hold between events; CHECKs them. For tests and DCHECK builds. */
void append_check(const struct append *a);

#endif
