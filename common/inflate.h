/* Decompression of gzip, bzip2, zstd and lz4 (frame format) as a stream: pieces of any size go in,
 * pieces come out when they are asked for. Members or frames that follow each other are one text,
 * as their tools have it, and checksums are verified. No input or output of its own; one thread.
 * Memory is bounded, whatever the input says: one piece of output, and a window; windows beyond
 * 1 << INFLATE_WINDOW_LOG_MAX are refused. */
#ifndef COMMON_INFLATE_H
#define COMMON_INFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

enum inflate_kind { INFLATE_NONE, INFLATE_GZIP, INFLATE_ZSTD, INFLATE_LZ4, INFLATE_BZIP2 };

enum { INFLATE_MAGIC_BYTES = 4 }; /* of a beginning, to tell what it is */

/* INFLATE_NONE: not one of them, or fewer bytes than that. */
enum inflate_kind inflate_kind_of(const void *head, size_t length);

/* By the end of a file's name: .gz, .zst, .lz4, .bz2; else INFLATE_NONE. */
enum inflate_kind inflate_kind_of_name(const char *name);

/* The format that a name stands for and that is known but not read ("xz" for .xz); NULL: none. */
const char *inflate_unsupported(const char *name);

struct inflate;

/* Never NULL; not of INFLATE_NONE. */
struct inflate *inflate_new(enum inflate_kind kind);
void inflate_free(struct inflate *f); /* accepts NULL */

/* The next piece of input, borrowed until inflate_next() has returned 0, as it has for the one
 * before. */
void inflate_put(struct inflate *f, const void *data, size_t length);

/* 1: *ret is the next piece of what comes out, never empty, valid until the next call. 0: what was
 * put is used up. ERR_CORRUPT: e says what is wrong, and after how many bytes of input; nothing
 * more can be asked for. */
int inflate_next(struct inflate *f, struct span *ret, struct err *e) MUST_CHECK;

/* No more input, and inflate_next() has returned 0. ERR_CORRUPT: it ended in the middle. */
int inflate_end(const struct inflate *f, struct err *e) MUST_CHECK;

/* Bytes of input that were used. */
uint64_t inflate_taken(const struct inflate *f);

#endif
