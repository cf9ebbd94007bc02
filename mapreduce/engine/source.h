/* Where bytes come from and where they go: the two small interfaces by which local files, files of
 * the store, descriptors and memory plug into the engine. One thread at a time per object.
 *
 * A caller embeds the struct as the first member of its own and fills in the functions. The engine
 * asks for offsets in rising order, each read beginning where the last one ended (after the first),
 * so an implementation that reads ahead does well and one over a pipe is possible. */
#ifndef MAPREDUCE_ENGINE_SOURCE_H
#define MAPREDUCE_ENGINE_SOURCE_H

#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

struct source {
    const char *name; /* for error texts, and the file's name that tasks see; owned by the source */
    uint64_t length;  /* of the whole file; reads beyond it give 0 bytes */

    /* Reads up to `length` bytes. Returns how many: 0 only at the end of the file. */
    int64_t (*read)(struct source *s, uint64_t offset, void *data, size_t length, struct err *e);
    /* Bytes of the file that were read so far, for a source that hands out others than it reads
     * (inflated.h). NULL: it hands out what it reads. */
    uint64_t (*taken)(const struct source *s);
    void (*free)(struct source *s); /* may be NULL */
};

struct sink {
    const char *name; /* for error texts */

    int (*write)(struct sink *s, const void *data, size_t length, struct err *e);
    /* All was written: flush, and find out whether it all arrived. Once, after the last write. */
    int (*finish)(struct sink *s, struct err *e);
    void (*free)(struct sink *s); /* without finish(): what was written may be thrown away */
};

/* Reads all `length` bytes or fails; ERR_EOF when the file ends before. */
int source_read_full(struct source *s, uint64_t offset, void *data, size_t length,
                     struct err *e) MUST_CHECK;
void source_free(struct source *s); /* accepts NULL */
void sink_free(struct sink *s);     /* accepts NULL */

/* A local file, opened for reading. */
int source_open_file(const char *path, struct source **ret_source, struct err *e) MUST_CHECK;

/* An open descriptor that the source closes at its end; `length` is that of the file. */
struct source *source_take_fd(int fd, const char *name, uint64_t length);

/* Borrowed memory. */
struct source *source_of_memory(const void *data, size_t length, const char *name);

/* A new local file; an existing one is emptied. finish() closes it without fsync: what the engine
 * writes by itself is made again after a crash. */
int sink_create_file(const char *path, struct sink **ret_sink, struct err *e) MUST_CHECK;

/* Appends to the caller's buf. */
struct sink *sink_of_buf(struct buf *out);

#endif
