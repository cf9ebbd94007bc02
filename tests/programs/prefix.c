/* Writes a file under its name, in pieces of odd sizes, while two readers, each a process of its
 * own, follow it. Checks what docs/consistency.md promises of an open file: a reader sees a prefix
 * of the bytes written, never others, never less than before; what was synced becomes visible
 * without more being written; after close all of it is there. With `die` the writer ends in the
 * middle without a word: what readers saw is still there when the file has been closed for it.
 *
 *     prefix PATH BYTES SEED [die]          DFS_MASTER names the cluster */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

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
    PATIENCE_MS = 60 * 1000,
};

/* What the processes know of each other. */
struct shared {
    volatile uint64_t written; /* given to dfs_write(), or about to be */
    volatile uint64_t synced;
    volatile bool created;
};

struct test {
    const char *path;
    char *bytes; /* all that will be written */
    uint64_t length;
    struct rng rng;
    struct shared *shared;
    struct dfs *dfs;
    struct dfs_file *file;
};

struct reader {
    uint64_t seen;
    unsigned looks, grew;
    char buffer[READ_BYTES];
};

static void must(int64_t r, const char *what, const struct dfs_err *e)
{
    if (r < 0) {
        (void)fprintf(stderr, "prefix: %s: %s\n", what, e->msg);
        _exit(1);
    }
}

static void wrong(const char *what, uint64_t a, uint64_t b)
{
    (void)fprintf(stderr, "prefix: %s: %" PRIu64 ", %" PRIu64 "\n", what, a, b);
    _exit(1);
}

/* ---- A reader ---- */

/* One range that the reader may see, compared with what was written. */
static void compare(struct test *t, struct reader *r, uint64_t from, uint64_t to)
{
    struct dfs_err e;
    while (from < to) {
        int64_t n = dfs_pread(t->file, r->buffer, READ_BYTES, from, &e);
        must(n, "read", &e);
        uint64_t written = t->shared->written;
        if (n == 0) {
            wrong("the file ends before its length", from, to);
        }
        if (from + (uint64_t)n > written) {
            wrong("more bytes than were written", from + (uint64_t)n, written);
        }
        if (memcmp(r->buffer, t->bytes + from, (size_t)n) != 0) {
            wrong("other bytes than were written, from", from, from + (uint64_t)n);
        }
        from += (uint64_t)n;
    }
}

static void look(struct test *t, struct reader *r)
{
    struct dfs_err e;
    uint64_t length = 0;
    must(dfs_length(t->file, &length, &e), "length", &e);
    uint64_t written = t->shared->written;
    if (length < r->seen) {
        wrong("a reader sees less than before", length, r->seen);
    }
    if (length > written) {
        wrong("longer than what was written", length, written);
    }
    uint64_t back = rng_below(&t->rng, 100 * 1000);
    compare(t, r, r->seen > back ? r->seen - back : 0, length);
    r->looks++;
    r->grew += length > r->seen;
    r->seen = length;
}

/* Until nobody writes any more. */
static void follow(struct test *t, struct reader *r)
{
    struct dfs_err e;
    struct dfs_stat stat = {.open = true};
    uint64_t synced = 0;
    time_ms progress_ms = clock_mono_ms();
    while (stat.open) {
        must(dfs_stat(t->dfs, t->path, &stat, &e), "stat", &e);
        look(t, r);
        if (t->shared->synced != synced || r->seen >= synced) {
            synced = t->shared->synced;
            progress_ms = clock_mono_ms();
        } else if (clock_mono_ms() > progress_ms + PATIENCE_MS) {
            wrong("synced bytes do not become visible", r->seen, synced);
        }
    }
}

static int run_reader(struct test *t, int number)
{
    struct dfs_err e;
    struct reader *r = xcalloc(1, sizeof(*r));
    while (!t->shared->created) {
        clock_sleep_ms(1);
    }
    must(dfs_connect(NULL, &t->dfs, &e), "connect", &e);
    must(dfs_open(t->dfs, t->path, &t->file, &e), "open", &e);
    follow(t, r);
    look(t, r);
    if (r->seen < t->shared->synced) {
        wrong("synced bytes are lost", r->seen, t->shared->synced);
    }
    must(dfs_close(t->file, &e), "close", &e);
    must(dfs_open(t->dfs, t->path, &t->file, &e), "open again", &e);
    compare(t, r, 0, r->seen);
    printf("reader %d: %u looks, the file had grown at %u of them, %" PRIu64 " bytes in the end\n",
           number, r->looks, r->grew, r->seen);
    (void)fflush(stdout);
    must(dfs_close(t->file, &e), "close", &e);
    dfs_disconnect(t->dfs);
    free(r);
    return 0;
}

/* ---- The writer ---- */

static void write_piece(struct test *t, uint64_t end)
{
    struct dfs_err e;
    uint64_t at = t->shared->written;
    uint64_t piece = rng_range(&t->rng, 1, PIECE_BYTES_MAX);
    piece = piece < end - at ? piece : end - at;
    t->shared->written = at + piece; /* before: readers may be fast */
    must(dfs_write(t->file, t->bytes + at, (size_t)piece, &e), "write", &e);
    if (rng_below(&t->rng, SYNC_ONE_IN) == 0) {
        must(dfs_sync(t->file, &e), "sync", &e);
        t->shared->synced = at + piece;
    }
}

static int run_writer(struct test *t, bool dies)
{
    struct dfs_err e;
    struct dfs_create_options options = {.chunk_bytes = CHUNK_BYTES};
    uint64_t end = dies ? rng_range(&t->rng, t->length / 2, t->length) : t->length;
    must(dfs_connect(NULL, &t->dfs, &e), "connect", &e);
    must(dfs_create(t->dfs, t->path, &options, &t->file, &e), "create", &e);
    t->shared->created = true;
    while (t->shared->written < end) {
        write_piece(t, end);
        clock_sleep_ms(PAUSE_MS);
    }
    if (dies) {
        _exit(0);
    }
    must(dfs_close(t->file, &e), "close", &e);
    t->shared->synced = t->length;
    dfs_disconnect(t->dfs);
    return 0;
}

/* ---- Processes; each connects for itself, none of them had a connection before the fork ---- */

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 5) {
        (void)fprintf(stderr, "usage: prefix PATH BYTES SEED [die]\n");
        return 2;
    }
    struct test t = {.path = argv[1], .length = strtoull(argv[2], NULL, 10)};
    uint64_t seed = strtoull(argv[3], NULL, 10);
    t.shared =
        mmap(NULL, sizeof(*t.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (t.shared == MAP_FAILED) {
        perror("prefix: mmap");
        return 1;
    }
    t.bytes = xmalloc(t.length);
    rng_seed(&t.rng, seed);
    rng_fill(&t.rng, t.bytes, t.length);
    for (int i = 0; i <= READER_COUNT; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            perror("prefix: fork");
            return 1;
        }
        if (pid == 0) {
            rng_seed(&t.rng, seed + (uint64_t)i);
            exit(i < READER_COUNT ? run_reader(&t, i) : run_writer(&t, argc == 5));
        }
    }
    int failures = 0;
    int status;
    while (wait(&status) > 0) {
        failures += status != 0;
    }
    free(t.bytes);
    return failures > 0;
}
