/* One small state machine per master: register, then either a page of the full report or a
 * heartbeat, one call in flight at a time. A timer starts the next: at once after a page, soon
 * after a change, else every HEARTBEAT_MS.
 *
 * Changes are ids in `changed` and references in `removed`. A heartbeat moves them to `sent`; when
 * it fails they come back, so each is sent until acknowledged. What is sent is looked up when it is
 * sent: always the newest state. While a full report is under way nothing else is sent, so that its
 * last page ("what was not named is gone") cannot undo a change reported in between. */
#include "chunkserver/report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "chunkserver/health.h"
#include "chunkserver/report_rpc.h"
#include "chunkserver/server.h"
#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/metrics.h"

/* Changes of chunks, each id once: the value says whether the chunk was removed. */
struct removal {
    struct chunk_ref ref;
};

struct master {
    struct report *report;
    char *address;
    struct rpc_channel *channel;
    struct rpc_timer timer;
    struct rpc_pending *pending; /* the call in flight; NULL: none */
    bool registered;
    time_ms answered_ms; /* mono; last good answer, 0: none yet */
    struct err failure;  /* of the latest call; the first in a row is logged. Code 0: none */
    bool want_full;      /* a full report is due or under way */
    bool scanning;       /* a worker fetches the ids of a page */
    bool first, last;    /* of the page under way */
    bool again;          /* the list begins anew when what is on its way has been answered */
    chunk_id after;      /* pages so far end here */
    uint64_t sequence;
    struct map changed; /* id -> &here or struct removal */
    struct map sent;    /* the same, of the heartbeat in flight */
    struct task task;
    chunk_id *page; /* ids, ascending; with room for a page of each disk */
    size_t page_count;
};

struct report {
    struct server *server;
    void (*on_registered)(struct server *s); /* NULL once called */
    bool stopped;
    size_t master_count;
    struct master masters[];
};

static char here; /* value of a changed chunk that exists */

static void act(void *arg);

static void act_in(struct master *m, time_ms delay)
{
    if (!m->report->stopped) {
        rpc_timer_set(server_owner(m->report->server), &m->timer, clock_mono_ms() + delay, act, m);
    }
}

/* ---- Changes ---- */

static void removal_free(void *value)
{
    if (value != NULL && value != (void *)&here) {
        free(value);
    }
}

static void clear_changes(struct map *changes)
{
    MAP_FOR_EACH(it, changes)
    {
        removal_free(it.value);
    }
    map_clear(changes);
}

static bool is_idle(const struct master *m)
{
    return m->registered && m->pending == NULL && !m->scanning;
}

static void list_from_start(struct master *m)
{
    m->again = false;
    m->want_full = true;
    m->first = true;
}

/* A page that is on its way was looked up before: it is not the first of the new list, and its
 * answer must not end the matter. */
static void list_anew(struct master *m)
{
    if (m->pending != NULL || m->scanning) {
        m->again = true;
    } else {
        list_from_start(m);
    }
}

static void note(struct master *m, chunk_id id, void *value)
{
    if (m->changed.count >= REPORT_BACKLOG_COUNT_MAX) { /* that master has been away for long */
        clear_changes(&m->changed);
        list_anew(m);
    }
    removal_free(map_put_u64(&m->changed, id, value));
    if (is_idle(m) && m->timer.at > clock_mono_ms() + REPORT_DELTA_MS) {
        act_in(m, REPORT_DELTA_MS);
    }
}

void report_all(struct report *r)
{
    for (size_t i = 0; r != NULL && i < r->master_count; i++) {
        struct master *m = &r->masters[i];
        list_anew(m);
        if (is_idle(m)) {
            act_in(m, 0);
        }
    }
}

void report_changed(struct report *r, chunk_id id)
{
    for (size_t i = 0; r != NULL && i < r->master_count; i++) {
        note(&r->masters[i], id, &here);
    }
}

void report_removed(struct report *r, struct chunk_ref ref)
{
    for (size_t i = 0; r != NULL && i < r->master_count; i++) {
        struct removal *removal = xmalloc(sizeof(*removal));
        removal->ref = ref;
        note(&r->masters[i], ref.id, removal);
    }
}

/* The heartbeat was lost: what it carried is due again, unless something newer is. */
static void take_back(struct master *m)
{
    MAP_FOR_EACH(it, &m->sent)
    {
        if (map_get_u64(&m->changed, it.key) != NULL) {
            removal_free(it.value);
        } else {
            (void)map_put_u64(&m->changed, it.key, it.value);
        }
    }
    map_clear(&m->sent);
}

static bool replica_of(const struct server *s, chunk_id id, struct report_replica *ret)
{
    const struct chunk *chunk = server_chunk(s, id);
    if (chunk == NULL) {
        return false;
    }
    *ret = (struct report_replica){.ref = chunk->ref,
                                   .length = chunk->length,
                                   .sealed = chunk->state == CHUNK_SEALED,
                                   .damaged = chunk->damaged};
    return true;
}

/* ---- Calls ---- */

static struct report_call call_of(struct master *m,
                                  void (*done)(void *, const struct report_reply *))
{
    return (struct report_call){server_owner(m->report->server), m->channel, done, m};
}

static bool call_over(struct master *m, const struct report_reply *reply)
{
    rpc_pending_unref(m->pending);
    m->pending = NULL;
    if (reply->code == 0) {
        m->answered_ms = clock_mono_ms();
        gauge_set(m->report->server->counters.masters_answered, (int64_t)(clock_wall_ms() / 1000));
        m->failure = (struct err)ERR_INIT;
        return true;
    }
    if (m->failure.code == 0 && !m->report->stopped) {
        log_warning("chunkserver", "file master does not answer address=%s error=%s: %s",
                    m->address, err_name(reply->code), reply->text);
    }
    (void)err_set(&m->failure, reply->code, "%s",
                  reply->text[0] != '\0' ? reply->text : err_text(reply->code));
    return false;
}

/* Another cluster's master, or a directory that was registered elsewhere: an operator's mistake
 * that must not be served over. */
static void adopt(struct master *m, const struct report_reply *reply)
{
    struct server *s = m->report->server;
    struct err e = ERR_INIT;
    for (size_t i = 0; i < s->disks.count; i++) {
        struct disk *disk = &s->disks.list[i];
        int r = disk_has_failed(&disk->state)
                    ? 0
                    : datadir_adopt(&disk->dir, reply->cluster, reply->server, &e);
        if (r == ERR_WRONG_CLUSTER) {
            server_fatal("refused by the file master's cluster", &e);
        } else if (r < 0) {
            server_disk_failed(s, disk, "its identity cannot be written", &e);
        }
    }
    s->disks.ident.cluster = reply->cluster;
    s->disks.ident.member = reply->server;
}

static void register_done(void *arg, const struct report_reply *reply)
{
    struct master *m = arg;
    struct report *r = m->report;
    if (reply->code == ERR_WRONG_CLUSTER && r->on_registered != NULL) {
        struct err e = ERR_INIT;
        (void)err_set(&e, reply->code, "%s: %s", m->address, reply->text);
        server_fatal("refused by the file master", &e);
    }
    if (!call_over(m, reply)) {
        act_in(m, REPORT_RETRY_MS);
        return;
    }
    adopt(m, reply);
    server_see_term(r->server, reply->term); /* a deposed leader commands nothing any more */
    log_info("chunkserver", "registered master=%s server=%" PRIu64, m->address, reply->server);
    m->registered = true;
    list_from_start(m);
    act_in(m, 0);
    if (r->on_registered != NULL && !r->stopped) {
        void (*ready)(struct server *) = r->on_registered;
        r->on_registered = NULL;
        ready(r->server);
    }
}

static void send_register(struct master *m)
{
    struct server *s = m->report->server;
    struct report_register plain = {
        .cluster = s->disks.ident.cluster,
        .key = s->disks.ident.key,
        .host = s->host.data,
        .rack = s->options->rack,
        .address = s->advertised,
        .local_socket = s->local_socket.data,
        .start_count = s->disks.start_count,
    };
    server_space(s, &plain.capacity_bytes, &plain.free_bytes);
    struct report_call call = call_of(m, register_done);
    m->pending = report_send_register(&call, &plain);
}

static void heartbeat_done(void *arg, const struct report_reply *reply)
{
    struct master *m = arg;
    bool good = call_over(m, reply);
    if (m->again) {
        list_from_start(m);
    }
    if (!good) {
        take_back(m);
        act_in(m, REPORT_RETRY_MS);
        return;
    }
    clear_changes(&m->sent);
    server_see_term(m->report->server, reply->term);
    if (reply->register_again) {
        m->registered = false;
    } else if (reply->report_again) {
        list_from_start(m);
    }
    bool more = !m->registered || m->want_full;
    act_in(m, more ? 0 : m->changed.count > 0 ? REPORT_DELTA_MS : HEARTBEAT_MS);
}

static size_t failed_disks_of(const struct server *s, const char *ret_texts[DISK_COUNT_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < s->disks.count; i++) {
        if (s->disks.list[i].failure.code < 0) {
            ret_texts[count++] = err_message(&s->disks.list[i].failure);
        }
    }
    return count;
}

static void send_heartbeat(struct master *m)
{
    struct server *s = m->report->server;
    size_t count = MIN(m->changed.count, (size_t)REPORT_PAGE_COUNT_MAX);
    struct report_replica *changed = xreallocarray(NULL, count + 1, sizeof(*changed));
    struct chunk_ref *removed = xreallocarray(NULL, count + 1, sizeof(*removed));
    const char *failed_disks[DISK_COUNT_MAX];
    struct report_heartbeat plain = {
        .failed_disks = failed_disks,
        .failed_disk_count = failed_disks_of(s, failed_disks),
        .server = s->disks.ident.member,
        .start_count = s->disks.start_count,
        .chunk_count = s->chunks.count,
        .used_bytes = s->used_bytes,
        .changed = changed,
        .removed = removed,
        .sequence = ++m->sequence,
        .streams = (uint32_t)MIN(s->stream_count, (uint64_t)UINT32_MAX),
        .term = s->term,
    };
    size_t taken = 0;
    MAP_FOR_EACH(it, &m->changed)
    {
        if (taken++ == count) {
            break;
        }
        const struct removal *removal = it.value == (void *)&here ? NULL : it.value;
        (void)map_put_u64(&m->sent, it.key, it.value);
        (void)map_remove_u64(&m->changed, it.key);
        if (removal != NULL) {
            removed[plain.removed_count++] = removal->ref;
        } else if (replica_of(s, it.key, &changed[plain.changed_count])) {
            plain.changed_count++;
        }
    }
    server_space(s, &plain.capacity_bytes, &plain.free_bytes);
    struct report_call call = call_of(m, heartbeat_done);
    m->pending = report_send_heartbeat(&call, &plain);
    free(changed);
    free(removed);
}

/* ---- Full report ---- */

/* Ids of one disk, for a page. */
struct collected {
    chunk_id *ids;
    size_t count;
};

static int collect(void *arg, const struct chunk_record *record)
{
    struct collected *c = arg;
    c->ids[c->count++] = record->ref.id;
    return c->count == REPORT_PAGE_COUNT_MAX ? 1 : 0;
}

static int compare_ids(const void *a, const void *b)
{
    const chunk_id *x = a;
    const chunk_id *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* The next ids of each disk, of which the lowest make up the page. */
static void scan_run(struct task *t)
{
    struct master *m = CONTAINER_OF(t, struct master, task);
    struct server *s = m->report->server;
    size_t count = 0;
    m->last = true;
    for (size_t i = 0; i < s->disks.count; i++) {
        struct disk *disk = &s->disks.list[i];
        struct collected c = {m->page + count, 0};
        struct err e = ERR_INIT;
        if (disk_has_failed(&disk->state)) {
            continue;
        }
        int r = chunk_index_scan(disk->chunks.index, m->after, collect, &c, &e);
        if (r < 0) {
            server_disk_failed(s, disk, "the chunk index cannot be read", &e);
            continue;
        }
        count += c.count;
        m->last = m->last && r == 0;
    }
    qsort(m->page, count, sizeof(*m->page), compare_ids);
    m->page_count = MIN(count, (size_t)REPORT_PAGE_COUNT_MAX);
    m->last = m->last && count == m->page_count;
}

static void page_done(void *arg, const struct report_reply *reply)
{
    struct master *m = arg;
    if (!call_over(m, reply)) {
        list_from_start(m); /* the master may have lost what it had */
        m->registered = reply->code != ERR_STALE && reply->code != ERR_NOT_FOUND;
        act_in(m, REPORT_RETRY_MS);
        return;
    }
    m->first = m->again;
    m->want_full = m->again || !m->last;
    m->again = false;
    act_in(m, 0);
}

static void scan_done(struct task *t)
{
    struct master *m = CONTAINER_OF(t, struct master, task);
    struct server *s = m->report->server;
    m->scanning = false;
    struct report_replica *replicas = xreallocarray(NULL, m->page_count + 1, sizeof(*replicas));
    struct report_page plain = {
        .server = s->disks.ident.member,
        .start_count = s->disks.start_count,
        .replicas = replicas,
        .first = m->first,
        .last = m->last,
    };
    for (size_t i = 0; i < m->page_count; i++) {
        m->after = m->page[i];
        if (replica_of(s, m->page[i], &replicas[plain.replica_count])) {
            plain.replica_count++;
        }
    }
    if (!m->report->stopped) {
        struct report_call call = call_of(m, page_done);
        m->pending = report_send_page(&call, &plain);
    }
    free(replicas);
    free(m->page);
    m->page = NULL;
}

static void start_page(struct master *m)
{
    m->after = m->first ? 0 : m->after;
    m->page = xreallocarray(NULL, m->report->server->disks.count * REPORT_PAGE_COUNT_MAX,
                            sizeof(*m->page));
    m->page_count = 0;
    m->scanning = true;
    m->task.run = scan_run;
    m->task.done = scan_done;
    server_task(m->report->server, NULL, &m->task, server_owner(m->report->server));
}

static void act(void *arg)
{
    struct master *m = arg;
    if (m->pending != NULL || m->scanning || m->report->stopped) {
        return;
    }
    if (!m->registered) {
        send_register(m);
    } else if (m->want_full) {
        start_page(m);
    } else {
        send_heartbeat(m);
    }
}

/* ---- Looking ---- */

size_t report_masters(const struct report *r, struct health_master **ret)
{
    size_t count = r != NULL ? r->master_count : 0;
    struct health_master *masters = xcalloc(count + 1, sizeof(*masters));
    for (size_t i = 0; i < count; i++) {
        const struct master *m = &r->masters[i];
        masters[i] = (struct health_master){
            .address = m->address,
            .registered = m->registered,
            .answered_ms = m->answered_ms,
            .error = m->failure.code < 0 ? err_message(&m->failure) : "",
        };
    }
    *ret = masters;
    return count;
}

/* ---- Life ---- */

static void ready_without_masters(void *arg)
{
    struct report *r = arg;
    void (*ready)(struct server *) = r->on_registered;
    r->on_registered = NULL;
    ready(r->server);
}

struct report *report_new(struct server *s, void (*on_registered)(struct server *s))
{
    const struct config_list *addresses = &s->options->masters;
    struct report *r = xcalloc(1, sizeof(*r) + addresses->count * sizeof(struct master));
    r->server = s;
    r->on_registered = on_registered;
    for (size_t i = 0; i < addresses->count; i++) {
        if (addresses->items[i][0] == '\0') {
            continue; /* --masters '' */
        }
        struct master *m = &r->masters[r->master_count];
        struct err e = ERR_INIT;
        if (rpc_pool_get(s->channels, addresses->items[i], RPC_CONTROL, &m->channel, &e) < 0) {
            server_fatal("--masters", &e);
        }
        m->report = r;
        m->address = xstrdup(addresses->items[i]);
        r->master_count++;
        act_in(m, 0);
    }
    if (r->master_count == 0) {
        rpc_loop_post(server_owner(s), ready_without_masters, r);
    }
    return r;
}

void report_stop(struct report *r)
{
    r->stopped = true;
    for (size_t i = 0; i < r->master_count; i++) {
        struct master *m = &r->masters[i];
        rpc_timer_cancel(server_owner(r->server), &m->timer);
        if (m->pending != NULL) {
            rpc_pending_cancel(m->pending);
        }
    }
}

bool report_idle(const struct report *r)
{
    for (size_t i = 0; i < r->master_count; i++) {
        if (r->masters[i].pending != NULL || r->masters[i].scanning) {
            return false;
        }
    }
    return true;
}

void report_free(struct report *r)
{
    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < r->master_count; i++) {
        struct master *m = &r->masters[i];
        rpc_timer_cancel(server_owner(r->server), &m->timer);
        clear_changes(&m->changed);
        clear_changes(&m->sent);
        map_deinit(&m->changed);
        map_deinit(&m->sent);
        rpc_channel_unref(m->channel);
        free(m->address);
        free(m->page);
    }
    free(r);
}
