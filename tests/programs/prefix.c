/* Writes a file under its name, in pieces of odd sizes, while two readers with connections of their
 * own follow it. Checks what docs/consistency.md promises of an open file: a reader sees a prefix
 * of the bytes written, never others, never less than before; what was synced becomes visible
 * without more being written; after close all of it is there.
 *
 *     prefix PATH BYTES SEED          DFS_MASTER names the cluster */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trireme/dfs.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/rng.h"

enum {
    PIECE_BYTES_MAX = 200 * 1000,
    READ_BYTES = 300 * 1000,
    READER_COUNT = 2,
    CHUNK_BYTES = 1024 * 1024,
    SYNC_ONE_IN = 4, /* pieces; the others wait in the writer until a message is full */
    PAUSE_MS = 5,    /* between pieces, so that the test's kill meets the writer */
    PATIENCE_MS = 20 * 1000,
};

struct reader {
    struct dfs *dfs;
    struct dfs_file *file;
    uint64_t seen;
    unsigned looks, grew;
};

struct test {
    char *bytes; /* all that will be written */
    uint64_t length;
    uint64_t written;
    struct rng rng;
    struct dfs *dfs;
    struct dfs_file *file;
    struct reader readers[READER_COUNT];
    char *buffer;
};

static void must(int64_t r, const char *what, const struct dfs_err *e)
{
    if (r < 0) {
        (void)fprintf(stderr, "prefix: %s: %s\n", what, e->msg);
        exit(1);
    }
}

static void wrong(const char *what, uint64_t a, uint64_t b)
{
    (void)fprintf(stderr, "prefix: %s: %" PRIu64 ", %" PRIu64 "\n", what, a, b);
    exit(1);
}

/* One range that the reader may see, compared with what was written. */
static void compare(struct test *t, struct reader *r, uint64_t from, uint64_t to)
{
    struct dfs_err e;
    while (from < to) {
        int64_t n = dfs_pread(r->file, t->buffer, READ_BYTES, from, &e);
        must(n, "read", &e);
        if (n == 0) {
            wrong("the file ends before its length", from, to);
        }
        if (from + (uint64_t)n > t->written) {
            wrong("more bytes than were written", from + (uint64_t)n, t->written);
        }
        if (memcmp(t->buffer, t->bytes + from, (size_t)n) != 0) {
            wrong("other bytes than were written, from", from, from + (uint64_t)n);
        }
        from += (uint64_t)n;
    }
}

static void look(struct test *t, struct reader *r)
{
    struct dfs_err e;
    uint64_t length = 0;
    must(dfs_length(r->file, &length, &e), "length", &e);
    if (length < r->seen) {
        wrong("a reader sees less than before", length, r->seen);
    }
    if (length > t->written) {
        wrong("longer than what was written", length, t->written);
    }
    uint64_t back = rng_below(&t->rng, 100 * 1000);
    compare(t, r, r->seen > back ? r->seen - back : 0, length);
    r->looks++;
    r->grew += length > r->seen;
    r->seen = length;
}

static void write_piece(struct test *t)
{
    struct dfs_err e;
    uint64_t left = t->length - t->written;
    uint64_t piece = rng_range(&t->rng, 1, PIECE_BYTES_MAX);
    piece = piece < left ? piece : left;
    const char *bytes = t->bytes + t->written;
    t->written += piece; /* before: readers may be fast */
    must(dfs_write(t->file, bytes, (size_t)piece, &e), "write", &e);
    if (rng_below(&t->rng, SYNC_ONE_IN) == 0) {
        must(dfs_sync(t->file, &e), "sync", &e);
    }
}

static void open_all(struct test *t, const char *path)
{
    struct dfs_err e;
    struct dfs_create_options options = {.chunk_bytes = CHUNK_BYTES};
    must(dfs_connect(NULL, &t->dfs, &e), "connect", &e);
    must(dfs_create(t->dfs, path, &options, &t->file, &e), "create", &e);
    for (int i = 0; i < READER_COUNT; i++) {
        must(dfs_connect(NULL, &t->readers[i].dfs, &e), "connect", &e);
        must(dfs_open(t->readers[i].dfs, path, &t->readers[i].file, &e), "open", &e);
    }
}

/* Until every reader sees all of it, though nothing more is written. */
static void wait_for_all(struct test *t)
{
    time_ms give_up = clock_mono_ms() + PATIENCE_MS;
    for (int i = 0; i < READER_COUNT; i++) {
        while (t->readers[i].seen < t->length) {
            if (clock_mono_ms() > give_up) {
                wrong("synced bytes do not become visible", t->readers[i].seen, t->length);
            }
            look(t, &t->readers[i]);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        (void)fprintf(stderr, "usage: prefix PATH BYTES SEED\n");
        return 2;
    }
    struct test t = {.length = strtoull(argv[2], NULL, 10)};
    struct dfs_err e;
    rng_seed(&t.rng, strtoull(argv[3], NULL, 10));
    t.bytes = xmalloc(t.length);
    t.buffer = xmalloc(READ_BYTES);
    rng_fill(&t.rng, t.bytes, t.length);
    open_all(&t, argv[1]);
    while (t.written < t.length) {
        write_piece(&t);
        look(&t, &t.readers[rng_below(&t.rng, READER_COUNT)]);
        clock_sleep_ms(PAUSE_MS);
    }
    must(dfs_sync(t.file, &e), "sync", &e);
    wait_for_all(&t);
    must(dfs_close(t.file, &e), "close", &e);
    for (int i = 0; i < READER_COUNT; i++) {
        struct reader *r = &t.readers[i];
        r->seen = 0;
        look(&t, r);
        printf("reader %d: %u looks, the file had grown at %u of them\n", i, r->looks, r->grew);
        must(dfs_close(r->file, &e), "close reader", &e);
        dfs_disconnect(r->dfs);
    }
    dfs_disconnect(t.dfs);
    free(t.bytes);
    free(t.buffer);
    return 0;
}
