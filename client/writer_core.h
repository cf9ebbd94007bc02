/* What a writer does next: the rules of the append path on the client's side (DESIGN 4 "Append: one
 * write path"). Pure: events go in, writer_next() says what to do; no I/O, clock, threads or memory
 * of its own. Owned by one file.
 *
 * A file is written chunk by chunk. Offsets are in the file, unless they say "in the chunk".
 *
 *     sealed ...... base ...... acked ...... sent ...... end
 *     (never again) |<------- the present chunk ------->| (not sent yet)
 *
 * Everything from `base` + acked on may be needed again, so the shell keeps those bytes until
 * writer_kept_from() has passed them. On a failure the chunk is sealed by the file master at a
 * length that is at least `acked`, and what lies beyond goes into the next chunk. If nothing of it
 * was ever acknowledged, the chunk is given up instead, which needs no answer of its servers.
 *
 *     EMPTY -> (ALLOCATE) -> OPEN -> (SEND...) -> (FINISH) -> FINISHING -> EMPTY
 *                             |                                   |
 *                             +--------> BROKEN <-----------------+
 *                                   (RECOVER or ABANDON) -> EMPTY */
#ifndef CLIENT_WRITER_CORE_H
#define CLIENT_WRITER_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/ids.h"

enum writer_phase {
    WRITER_EMPTY,     /* there is no chunk that takes bytes */
    WRITER_OPEN,      /* a stream takes bytes */
    WRITER_FINISHING, /* all of this chunk is sent and it is to be sealed */
    WRITER_BROKEN,    /* the stream is gone: the chunk must be settled with the master */
};

enum writer_do {
    WRITER_WAIT,     /* for an event, or for more bytes */
    WRITER_ALLOCATE, /* next chunk at `offset`, sealing `chunk` (if any) at `length` */
    WRITER_SEND,     /* `length` bytes at `offset` in the chunk; 0: a message without data */
    WRITER_FINISH,   /* as WRITER_SEND, and seal at the end of that */
    WRITER_RECOVER,  /* ask for the seal of `chunk`, of which `length` bytes were acknowledged */
    WRITER_ABANDON,  /* give `chunk` up */
    WRITER_CLOSE,    /* everything is sealed but, if it is named, `chunk`, which is `length` long */
};

struct writer_step {
    enum writer_do what;
    struct chunk_ref chunk;
    uint64_t offset;
    uint64_t length;
    bool sync; /* WRITER_SEND: and make durable */
};

/* Open struct for tests and messages; change it only through the functions. */
struct writer {
    enum writer_phase phase;
    uint64_t chunk_bytes;
    uint64_t base;             /* where the present or the next chunk begins */
    uint64_t end;              /* bytes taken from the user */
    struct chunk_ref chunk;    /* not in WRITER_EMPTY */
    uint64_t sent;             /* in the chunk */
    uint64_t acked;            /* in the chunk: all replicas have it */
    uint64_t durable;          /* in the chunk: ... durably */
    uint64_t sync_sent;        /* in the chunk: asked to be durable */
    struct chunk_ref previous; /* sealed by its replicas, the master is told next; id 0: none */
    uint64_t previous_length;
    uint64_t sync_wanted; /* in the file: the user waits for this much to be durable */
    uint64_t push_wanted; /* in the file: this much goes out, though it fill no message */
    bool closing;         /* no more bytes come */
};

/* A file of `length` bytes, all sealed. chunk_bytes is a multiple of the block size. */
void writer_init(struct writer *w, uint64_t length, uint64_t chunk_bytes);

/* What to do now. It changes nothing: asked again before the event that belongs to it, the answer
 * is the same. */
void writer_next(const struct writer *w, struct writer_step *ret);

/* ---- From the user -------------------------------------------------------------------------- */

void writer_took(struct writer *w, uint64_t bytes); /* not after writer_close() */
void writer_sync(struct writer *w);                 /* everything so far must become durable */
void writer_push(struct writer *w);                 /* what there is goes out: the user pauses */
void writer_close(struct writer *w);                /* no more bytes; everything is to be sealed */
bool writer_synced(const struct writer *w);
uint64_t writer_kept_from(const struct writer *w); /* bytes below are not needed any more */
uint64_t writer_in_flight(const struct writer *w); /* bytes from there to the end */

/* ---- What became of a step ------------------------------------------------------------------ */

void writer_allocated(struct writer *w, struct chunk_ref chunk);
void writer_sent(struct writer *w, const struct writer_step *step); /* WRITER_SEND, WRITER_FINISH */
/* An acknowledgement of the chunk. ERR_INVALID: it claims what cannot be; the stream is broken. */
int writer_acked(struct writer *w, uint64_t written, uint64_t durable, bool sealed) MUST_CHECK;
/* The stream failed or fell silent. No-op without one. */
void writer_failed(struct writer *w);
/* The master sealed the chunk at `length`, 0 for "it is gone". ERR_CORRUPT: less than was
 * acknowledged or more than was sent, so nothing can be right any more. */
int writer_recovered(struct writer *w, uint64_t length) MUST_CHECK;
void writer_abandoned(struct writer *w);

/* Invariants that hold between events; CHECKs them. */
void writer_check(const struct writer *w);

#endif
