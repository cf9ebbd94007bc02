/* A writer that comes late: creates a file, writes and syncs the first bytes, waits for a line on
 * its input, and then goes on as if so much time had passed meanwhile. Says what it does on its
 * output, and ends without closing the file: "created", then "synced" or "refused CODE TEXT".
 *
 *     late PATH FIRST_BYTES PASSED_MS TIMEOUT_MS          DFS_MASTER names the cluster
 *
 * The time that passes is that of libdfs alone: gRPC and the cluster have theirs. */
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trireme/dfs.h>

#include "common/clock.h"
#include "common/err.h"

enum { BYTES = 1000 };

static atomic_uint_fast64_t passed_us;

static uint64_t late_mono_us(void *context)
{
    (void)context;
    return clock_real()->mono_us(clock_real()->context) + atomic_load(&passed_us);
}

static uint64_t late_wall_ms(void *context)
{
    (void)context;
    return clock_real()->wall_ms(clock_real()->context) + atomic_load(&passed_us) / 1000;
}

static void must(int r, const char *what, const struct dfs_err *e)
{
    if (r < 0) {
        (void)fprintf(stderr, "late: %s: %s\n", what, e->msg);
        exit(1);
    }
}

static int write_and_sync(struct dfs_file *file, size_t length, struct dfs_err *e)
{
    char *bytes = malloc(length + 1);
    if (!bytes) {
        abort();
    }
    memset(bytes, 'x', length);
    int r = dfs_write(file, bytes, length, e);
    free(bytes);
    return r < 0 ? r : dfs_sync(file, e);
}

static void say(const char *what)
{
    (void)puts(what);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    const struct clock late_clock = {late_mono_us, late_wall_ms, NULL};
    struct dfs_options options = {0};
    struct dfs *dfs = NULL;
    struct dfs_file *file = NULL;
    struct dfs_err e;
    if (argc != 5) {
        (void)fprintf(stderr, "usage: late PATH FIRST_BYTES PASSED_MS TIMEOUT_MS\n");
        return 2;
    }
    clock_install(&late_clock);
    options.timeout_ms = (uint32_t)strtoul(argv[4], NULL, 10);
    must(dfs_connect(&options, &dfs, &e), "connect", &e);
    must(dfs_create(dfs, argv[1], NULL, &file, &e), "create", &e);
    must(write_and_sync(file, strtoul(argv[2], NULL, 10), &e), "write", &e);
    say("created");
    (void)getchar();
    atomic_store(&passed_us, strtoull(argv[3], NULL, 10) * 1000);
    if (write_and_sync(file, BYTES, &e) < 0) {
        printf("refused %s %s\n", err_name(e.code), e.msg);
    } else {
        say("synced");
    }
    (void)fflush(stdout);
    _Exit(0); /* as a writer that dies */
}
