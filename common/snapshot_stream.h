/* A snapshot of the state as one string of bytes, as Raft carries it from member to member: a
 * header, then each file of a checkpoint followed by its CRC32C (docs/formats.md). Whoever has the
 * struct: one thread at a time; all but encode and decode block on the disk. */
#ifndef COMMON_SNAPSHOT_STREAM_H
#define COMMON_SNAPSHOT_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/ids.h"

enum { SNAPSHOT_NAME_BYTES = 64 };

struct snapshot_file {
    char name[SNAPSHOT_NAME_BYTES]; /* letters, digits, '.', '-', '_'; not "." or ".." */
    uint64_t bytes;
};

struct snapshot_header {
    log_index index; /* the state after this entry ... */
    term_no term;    /* ... of this term */
    struct snapshot_file *files;
    size_t file_count;
};

void snapshot_header_deinit(struct snapshot_header *h); /* accepts zeroed */
void snapshot_header_encode(const struct snapshot_header *h, struct buf *out);
/* Any bytes, of which the header may be the beginning. Returns its length; 0: there is more of it
 * to come; ERR_CORRUPT, ERR_VERSION, ERR_TOO_LARGE. */
int snapshot_header_decode(struct span bytes, struct snapshot_header *ret_header,
                           struct err *e) MUST_CHECK;
/* Length of the whole. */
uint64_t snapshot_bytes(const struct snapshot_header *h);

/* ---- Out of a directory -----------------------------------------------------------------------
 */

/* Nobody changes the directory while a source has it. */
struct snapshot_source;
int snapshot_source_open(const char *directory, log_index index, term_no term,
                         struct snapshot_source **ret, struct err *e) MUST_CHECK;
void snapshot_source_close(struct snapshot_source *s); /* accepts NULL */
uint64_t snapshot_source_bytes(const struct snapshot_source *s);
/* Appends up to length bytes of the whole from offset on. Cheap where the last one ended. Returns
 * how many; 0 at the end. */
int snapshot_source_read(struct snapshot_source *s, uint64_t offset, size_t length, struct buf *out,
                         struct err *e) MUST_CHECK;

/* ---- Into a directory -------------------------------------------------------------------------
 */

struct snapshot_sink;
/* Replaces the directory; NULL: checks what comes and writes nothing. */
int snapshot_sink_open(const char *directory, struct snapshot_sink **ret, struct err *e) MUST_CHECK;
void snapshot_sink_close(struct snapshot_sink *s); /* accepts NULL; the directory stays */
uint64_t snapshot_sink_received(const struct snapshot_sink *s);
/* The next bytes. ERR_CORRUPT: a CRC does not fit. */
int snapshot_sink_write(struct snapshot_sink *s, struct span data, struct err *e) MUST_CHECK;
/* Everything has come: makes it durable. ERR_CORRUPT: something is missing. */
int snapshot_sink_finish(struct snapshot_sink *s, struct err *e) MUST_CHECK;
const struct snapshot_header *snapshot_sink_header(const struct snapshot_sink *s);

#endif
