/* Where bytes are, and how the cluster is: the last calls of dfs.h. */
#include <stdlib.h>
#include <string.h>

#include <trireme/dfs_admin.h>

#include "client/fs_rpc.h"
#include "client/internal.h"
#include "client/names.h"
#include "common/alloc.h"
#include "common/limits.h"
#include "common/macros.h"

/* ---- Locate --------------------------------------------------------------------------------- */

static void extent_copy(const struct fs_extent *from, struct dfs_extent *to)
{
    *to = (struct dfs_extent){
        .offset = from->offset,
        .length = from->length,
        .chunk = from->chunk.id,
        .version = from->chunk.version,
        .open = from->open,
        .unheard = from->unheard,
        .replicas = xcalloc(from->replica_count + 1, sizeof(*to->replicas)),
        .replica_count = from->replica_count,
    };
    for (size_t i = 0; i < from->replica_count; i++) {
        to->replicas[i] = (struct dfs_replica){
            .server = from->replicas[i]->id,
            .host = xstrdup(from->replicas[i]->host),
            .rack = xstrdup(from->replicas[i]->rack),
            .address = xstrdup(from->replicas[i]->address),
        };
    }
}

static int locate_all(struct dfs *dfs, struct fs_range *range, struct dfs_extents *ret,
                      struct err *e)
{
    uint64_t end = range->length ? range->offset + range->length : UINT64_MAX;
    struct fs_located page = {.more = true};
    while (page.more) {
        struct call c;
        call_begin(&c, dfs);
        int r = fs_locate(&c, range, &page, e);
        if (r == 0 && page.count > 0) {
            ret->items = xreallocarray(ret->items, ret->count + page.count, sizeof(*ret->items));
            for (size_t i = 0; i < page.count; i++) {
                extent_copy(&page.extents[i], &ret->items[ret->count++]);
            }
            const struct dfs_extent *last = &ret->items[ret->count - 1];
            range->offset = last->offset + last->length;
            range->length = end == UINT64_MAX ? 0 : end - MIN(end, range->offset);
        }
        page.more = page.more && page.count > 0 && range->offset < end;
        call_end(&c);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int dfs_locate(struct dfs *dfs, const char *path, uint64_t offset, uint64_t length,
               struct dfs_extents *ret, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct buf name = BUF_INIT;
    memset(ret, 0, sizeof(*ret));
    int r = names_resolve(dfs, path, &name, &e);
    if (r == 0) {
        struct fs_range range = {.path = name.data, .offset = offset, .length = length};
        r = locate_all(dfs, &range, ret, &e);
    }
    if (r < 0) {
        dfs_extents_free(ret);
    }
    buf_deinit(&name);
    return dfs_finish(ret_e, r, &e);
}

void dfs_extents_free(struct dfs_extents *extents)
{
    for (size_t i = 0; i < extents->count; i++) {
        struct dfs_extent *extent = &extents->items[i];
        for (size_t j = 0; j < extent->replica_count; j++) {
            free((char *)extent->replicas[j].host);
            free((char *)extent->replicas[j].rack);
            free((char *)extent->replicas[j].address);
        }
        free(extent->replicas);
    }
    free(extents->items);
    memset(extents, 0, sizeof(*extents));
}

/* ---- Report --------------------------------------------------------------------------------- */

int dfs_report(struct dfs *dfs, struct dfs_report **ret, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct call c;
    call_begin(&c, dfs);
    int r = fs_report(&c, ret, &e);
    call_end(&c);
    return dfs_finish(ret_e, r, &e);
}

void dfs_report_free(struct dfs_report *report)
{
    if (report) {
        for (size_t i = 0; i < report->server_count; i++) {
            struct dfs_server_status *server = &report->servers[i];
            for (size_t j = 0; j < server->failed_disk_count; j++) {
                free(server->failed_disks[j]);
            }
            free(server->failed_disks);
        }
        free(report->servers);
        free(report);
    }
}

int dfs_admin_server(struct dfs *dfs, uint64_t server, enum dfs_admin_state state, uint64_t for_ms,
                     struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct call c;
    call_begin(&c, dfs);
    int r = fs_admin_server(&c, server, state, for_ms, &e);
    call_end(&c);
    return dfs_finish(ret_e, r, &e);
}

int dfs_balance(struct dfs *dfs, double threshold, uint64_t rate_bytes, struct dfs_balance *ret,
                struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct call c;
    call_begin(&c, dfs);
    int r = fs_balance(&c, threshold, rate_bytes, ret, &e);
    call_end(&c);
    return dfs_finish(ret_e, r, &e);
}

/* ---- Explain -------------------------------------------------------------------------------- */

int dfs_explain(struct dfs *dfs, const uint64_t *chunks, size_t count, struct dfs_explanations *ret,
                struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    int r = 0;
    memset(ret, 0, sizeof(*ret));
    for (size_t at = 0; r == 0 && at < count;) {
        struct call c;
        size_t part = MIN(count - at, (size_t)NAMESPACE_LOCATE_COUNT_MAX);
        call_begin(&c, dfs);
        r = fs_explain(&c, chunks + at, part, ret, &e);
        call_end(&c);
        at += part;
    }
    if (r < 0) {
        dfs_explanations_free(ret);
    }
    return dfs_finish(ret_e, r, &e);
}

void dfs_explanations_free(struct dfs_explanations *explanations)
{
    for (size_t i = 0; i < explanations->count; i++) {
        struct dfs_explanation *x = &explanations->items[i];
        for (size_t k = 0; k < x->copy_count; k++) {
            free((char *)x->copies[k].host);
        }
        for (size_t k = 0; k < x->awaited_count; k++) {
            free((char *)x->awaited[k]);
        }
        free((char *)x->reason);
        free((char *)x->waits_for);
        free(x->copies);
        free(x->awaited);
    }
    free(explanations->items);
    memset(explanations, 0, sizeof(*explanations));
}
