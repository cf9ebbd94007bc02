/* Decompression of gzip, zstd and lz4 (frame format) as a stream: pieces of any size go in, pieces
 * come out. Members or frames that follow each other are one text, as their tools have it, and
 * checksums are verified. No input or output of its own; one thread. Memory is bounded: windows
 * beyond 1 << INFLATE_WINDOW_LOG_MAX are refused. */
#ifndef COMMON_INFLATE_H
#define COMMON_INFLATE_H

#include <stddef.h>

#include "common/err.h"

enum inflate_kind { INFLATE_NONE, INFLATE_GZIP, INFLATE_ZSTD, INFLATE_LZ4 };

enum { INFLATE_MAGIC_BYTES = 4 }; /* of a beginning, to tell what it is */

/* INFLATE_NONE: not one of them, or fewer bytes than that. */
enum inflate_kind inflate_kind_of(const void *head, size_t length);

struct inflate;

/* Takes a piece of what came out; borrowed for the call. Below 0 ends it: inflate_feed() returns
 * that. */
typedef int (*inflate_out_fn)(void *arg, const void *data, size_t length, struct err *e);

/* Never NULL; not of INFLATE_NONE. */
struct inflate *inflate_new(enum inflate_kind kind, inflate_out_fn out, void *arg);
void inflate_free(struct inflate *f); /* accepts NULL */

/* The next piece of input. ERR_CORRUPT: e says what is wrong with it; nothing more can be fed. */
int inflate_feed(struct inflate *f, const void *data, size_t length, struct err *e) MUST_CHECK;
/* No more input. ERR_CORRUPT: it ended in the middle. */
int inflate_end(const struct inflate *f, struct err *e) MUST_CHECK;

#endif
