/* Copies of the file masters' state, and what is left over after one was restored. See dfs_admin.h.
 * All pieces of a copy come from the member that made it, whoever leads meanwhile. */
#include <stdlib.h>
#include <string.h>

#include "client/internal.h"
#include "client/master.h"
#include "client/raft_rpc.h"
#include "common/alloc.h"
#include "common/snapshot_stream.h"

enum { AGAIN_MS = 200 };

struct copy {
    struct dfs *dfs;
    dfs_backup_write write;
    void *arg;
    struct dfs_backup *about;
    struct snapshot_sink *check; /* writes nothing */
    struct raft_piece piece;
};

/* A lost reply is asked for again: the copy does not change. */
static int ask(struct call *c, const char *from, struct raft_piece *piece, struct err *e)
{
    for (;;) {
        int r = raft_backup(c, from, piece, e);
        bool again = piece->backup != 0 && (master_is_passing(r) || r == ERR_UNKNOWN);
        if (!again || !call_pause(c, AGAIN_MS)) {
            return r;
        }
    }
}

static int take(struct copy *copy, struct err *e)
{
    const struct raft_piece *p = &copy->piece;
    if (p->offset + p->data.length > p->about.bytes || p->data.length == 0) {
        return err_set(e, ERR_CORRUPT, "the file master sent %zu bytes at %llu of %llu",
                       p->data.length, (unsigned long long)p->offset,
                       (unsigned long long)p->about.bytes);
    }
    int r = snapshot_sink_write(copy->check, p->data, e);
    if (r == 0 && copy->write(copy->arg, copy->about, p->data.data, p->data.length) != 0) {
        r = err_set(e, ERR_IO, "the copy was not taken");
    }
    copy->piece.offset += p->data.length;
    return r;
}

static int next_piece(struct copy *copy, const char *from, struct err *e)
{
    struct call c;
    bool first = copy->piece.backup == 0;
    call_begin(&c, copy->dfs);
    int r = ask(&c, first ? from : copy->about->address, &copy->piece, e);
    if (r == 0 && first) {
        *copy->about = copy->piece.about;
    }
    r = r < 0 ? r : take(copy, e);
    call_end(&c);
    return r;
}

int dfs_backup(struct dfs *dfs, const char *from, dfs_backup_write write, void *arg,
               struct dfs_backup *ret, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct copy copy = {.dfs = dfs, .write = write, .arg = arg, .about = ret};
    *ret = (struct dfs_backup){.bytes = 0};
    int r = snapshot_sink_open(NULL, &copy.check, &e);
    do {
        r = r < 0 ? r : next_piece(&copy, from, &e);
    } while (r == 0 && copy.piece.offset < ret->bytes);
    r = r < 0 ? r : snapshot_sink_finish(copy.check, &e);
    snapshot_sink_close(copy.check);
    return dfs_finish(ret_e, r, &e);
}

/* ---- Orphans -------------------------------------------------------------------------------- */

static int compare_orphans(const void *a, const void *b)
{
    uint64_t x = ((const struct dfs_orphan *)a)->chunk;
    uint64_t y = ((const struct dfs_orphan *)b)->chunk;
    return (x > y) - (x < y);
}

int dfs_orphans(struct dfs *dfs, struct dfs_orphans **ret, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct call c;
    struct dfs_orphans *orphans = xcalloc(1, sizeof(*orphans));
    uint32_t cursor = 0;
    bool more = true;
    int r = 0;
    call_begin(&c, dfs);
    while (r == 0 && more) {
        r = raft_orphans(&c, &cursor, orphans, &more, &e);
    }
    call_end(&c);
    if (r < 0) {
        dfs_orphans_free(orphans);
    } else {
        qsort(orphans->items, orphans->count, sizeof(*orphans->items), compare_orphans);
        *ret = orphans;
    }
    return dfs_finish(ret_e, r, &e);
}

void dfs_orphans_free(struct dfs_orphans *orphans)
{
    if (orphans) {
        for (size_t i = 0; i < orphans->count; i++) {
            free(orphans->items[i].replicas);
        }
        free(orphans->items);
        free(orphans);
    }
}

int dfs_orphans_release(struct dfs *dfs, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct call c;
    call_begin(&c, dfs);
    int r = raft_orphans_release(&c, &e);
    call_end(&c);
    return dfs_finish(ret_e, r, &e);
}
