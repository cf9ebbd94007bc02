/* Soft state from the state on disk, at start. What is small (servers, leases, unsealed chunks) is
 * read at once; the records of sealed chunks, of which there may be a thousand million, come page
 * by page from a worker while the server already serves. Until a chunk's page has come, it is
 * rumoured at most, and nothing is decided about it.
 *
 * A page is read on a snapshot that is newer than its submission; an effect that reaches the owner
 * between submission and arrival may be newer than the snapshot. So what effects said meanwhile is
 * remembered (scan_touch) and wins over the page. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "fsmaster/server_internal.h"

enum { SCAN_PAGE_COUNT = 4096 };

/* ---- At once -------------------------------------------------------------------------------- */

struct tables {
    struct server *server;
    const struct kv_view *view;
    time_ms now;
};

static int take_server(void *arg, const struct server_record *record)
{
    const struct tables *t = arg;
    (void)chunkservers_put(t->server->servers, record, t->now);
    (void)locations_set_admin(t->server->locations, record->id, record->admin);
    return 0;
}

static int take_lease(void *arg, const struct lease_record *lease)
{
    const struct tables *t = arg;
    struct caller root = {.user = "", .is_superuser = true};
    struct target target = {.path = "", .inode = lease->inode};
    struct attributes attributes = {.replication = 0};
    struct arena arena = ARENA_INIT;
    int r = namespace_stat(t->view, &root, &target, &arena, &attributes);
    arena_deinit(&arena);
    if (r < 0 && r != ERR_NOT_FOUND) {
        return r;
    }
    lease_table_grant(t->server->leases, lease->inode, lease->epoch, attributes.replication,
                      t->now);
    if (lease->session == 0 || lease->epoch < t->server->totals.era.floor) {
        lease_table_orphan(t->server->leases, lease->inode, lease->epoch);
    }
    return 0;
}

static void learn(struct server *s, const struct chunk_record *record)
{
    static const enum location_state states[] = {[CHUNK_OPEN] = LOCATION_OPEN,
                                                 [CHUNK_SEALING] = LOCATION_SEALING,
                                                 [CHUNK_SEALED] = LOCATION_SEALED};
    struct location_fact fact = {.chunk = record->ref,
                                 .state = states[record->state],
                                 .length = record->length,
                                 .wanted = record->wanted};
    if (record->state == CHUNK_OPEN) {
        fact.servers = record->servers;
        fact.server_count = record->server_count;
    }
    locations_learn(s->locations, &fact);
}

static int take_unsealed(void *arg, const struct chunk_record *record)
{
    const struct tables *t = arg;
    learn(t->server, record);
    return 0;
}

int scan_tables(struct server *s, struct err *e)
{
    struct state_read read;
    state_read_begin(s->state, &read);
    struct tables tables = {s, &read.view, clock_mono_ms()};
    int r = 0;
    if (s->totals.cluster_id[0] != '\0') {
        r = namespace_scan_servers(&read.view, take_server, &tables);
        r = r < 0 ? r : namespace_scan_leases(&read.view, 0, take_lease, &tables);
        r = r < 0 ? r : namespace_scan_open_chunks(&read.view, 0, take_unsealed, &tables);
    }
    if (r < 0) {
        r = err_set(e, r, "read the tables of the state: %s", err_message(state_read_error(&read)));
    }
    state_read_end(&read);
    return r;
}

/* ---- Page by page --------------------------------------------------------------------------- */

struct touch {
    bool freed;
    bool learned;    /* an effect said its state */
    uint32_t wanted; /* 0: nothing about that */
};

void scan_touch(struct server *s, chunk_id chunk, bool freed, uint32_t wanted)
{
    if (s->scan.complete || !s->scan.busy) {
        return;
    }
    struct touch *touch = map_get_u64(&s->scan.touched, chunk);
    if (!touch) {
        touch = xcalloc(1, sizeof(*touch));
        (void)map_put_u64(&s->scan.touched, chunk, touch);
    }
    touch->freed = freed;
    struct location known;
    touch->learned =
        locations_find(s->locations, chunk, &known) && known.state != LOCATION_RUMOURED;
    touch->wanted = wanted ? wanted : touch->wanted;
}

static void touches_clear(struct scan *scan)
{
    MAP_FOR_EACH(it, &scan->touched)
    {
        free(it.value);
    }
    map_clear(&scan->touched);
}

static int collect(void *arg, const struct chunk_record *record)
{
    struct scan *scan = arg;
    if (scan->row_count == SCAN_PAGE_COUNT) {
        return 1;
    }
    scan->rows[scan->row_count++] = *record;
    return 0;
}

static void page_on_worker(struct job *job)
{
    struct scan *scan = CONTAINER_OF(job, struct scan, job);
    struct server *s = CONTAINER_OF(scan, struct server, scan);
    struct state_read read;
    scan->row_count = 0;
    state_read_begin(s->state, &read);
    scan->code = namespace_scan_chunks(&read.view, scan->after, collect, scan);
    state_read_end(&read);
}

static void take_row(struct server *s, struct chunk_record *record)
{
    const struct touch *touch = map_get_u64(&s->scan.touched, record->ref.id);
    if (!touch) {
        if (record->state == CHUNK_SEALED) {
            learn(s, record);
        }
        return;
    }
    if (touch->freed) {
        return;
    }
    record->wanted = touch->wanted ? touch->wanted : record->wanted;
    if (touch->learned) {
        locations_set_wanted(s->locations, record->ref.id, record->wanted);
    } else {
        learn(s, record);
    }
}

static void page_done(struct job *job)
{
    struct scan *scan = CONTAINER_OF(job, struct scan, job);
    struct server *s = CONTAINER_OF(scan, struct server, scan);
    server_job_end(s);
    scan->busy = false;
    if (scan->code < 0) {
        if (scan->code != ERR_UNAVAILABLE && s->failure.code == 0) {
            (void)err_set(&s->failure, scan->code, "read the chunk records: %s",
                          err_text(scan->code));
        }
        return; /* ERR_UNAVAILABLE: not formatted yet */
    }
    for (size_t i = 0; i < scan->row_count; i++) {
        take_row(s, &scan->rows[i]);
    }
    touches_clear(scan);
    if (scan->code == 0) {
        scan->complete = true;
        log_info("fsmaster", "all chunk records read chunks=%llu",
                 (unsigned long long)locations_count(s->locations));
        free(scan->rows);
        scan->rows = NULL;
        locations_sweep_again(s->locations); /* rumours that were put off */
        repair_queue_hurry(s->repair);
        return;
    }
    scan->after = scan->rows[scan->row_count - 1].ref.id;
    scan_tick(s);
}

void scan_tick(struct server *s)
{
    struct scan *scan = &s->scan;
    if (scan->complete || scan->busy || s->stopping || s->totals.cluster_id[0] == '\0' ||
        consensus_is_installing(s->consensus)) {
        return;
    }
    if (!scan->rows) {
        scan->rows = xcalloc(SCAN_PAGE_COUNT, sizeof(*scan->rows));
    }
    scan->busy = true;
    server_job_start(s, &scan->job, page_on_worker, page_done);
}

void scan_restart(struct server *s)
{
    CHECK(!s->scan.busy);
    touches_clear(&s->scan);
    s->scan.after = 0;
    s->scan.complete = false;
}

void scan_free(struct server *s)
{
    touches_clear(&s->scan);
    map_deinit(&s->scan.touched);
    free(s->scan.rows);
}
