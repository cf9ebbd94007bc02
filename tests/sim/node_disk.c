/* The log of one node: the mirror in memory, the thread that writes and flushes, and the bytes of
 * messages. What the library gives out goes into a queue; the disk takes all that is queued, writes
 * it, and is then busy with one flush. A crash before its end finds the writes unsynced. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "tests/sim/judge.h"
#include "tests/sim/node.h"
#include "tests/sim/scenario.h"

/* ---- the mirror ---- */

void mirror_push(struct mirror *m, struct mirror_entry entry)
{
    if (m->head + m->count == m->capacity) {
        if (m->head > m->capacity / 2) {
            memmove(m->entries, m->entries + m->head, m->count * sizeof(entry));
            m->head = 0;
        } else {
            m->capacity = m->capacity ? 2 * m->capacity : 256;
            m->entries = xreallocarray(m->entries, m->capacity, sizeof(entry));
        }
    }
    m->entries[m->head + m->count++] = entry;
}

void mirror_reset(struct mirror *m, log_index start, term_no term)
{
    m->start = start;
    m->start_term = term;
    m->head = 0;
    m->count = 0;
}

term_no mirror_term(struct mirror *m, log_index index)
{
    CHECK(index >= m->start);
    CHECK(index <= mirror_last(m));
    return index == m->start ? m->start_term : mirror_at(m, index)->term;
}

/* The log store has dropped entries up to this one. */
static void mirror_drop(struct mirror *m, log_index up_to)
{
    size_t count = (size_t)(up_to - m->start);
    m->start_term = mirror_term(m, up_to);
    m->start = up_to;
    m->head += count;
    m->count -= count;
}

/* ---- writing ---- */

static void write_free(struct disk_write *w)
{
    free(w->entries);
    free(w);
}

static void writes_free(struct disk_write *w)
{
    while (w) {
        struct disk_write *next = w->next;
        write_free(w);
        w = next;
    }
}

void node_disk_forget(struct node *n)
{
    writes_free(n->queue);
    writes_free(n->flight);
    n->queue = n->flight = NULL;
    n->queue_end = &n->queue;
    n->flushing = false;
    while (n->waiting) {
        struct packet *p = n->waiting;
        n->waiting = p->next;
        packet_free(p);
    }
    n->waiting_end = &n->waiting;
}

static struct disk_write *copy_write(const struct raft_update *u)
{
    struct disk_write *w = xcalloc(1, sizeof(*w));
    w->seq = u->write.seq;
    w->has_hard = u->write.has_hard;
    w->hard = u->write.hard;
    w->truncate = u->write.truncate;
    w->count = u->write.count;
    size_t bytes = w->count * sizeof(struct log_entry);
    for (size_t i = 0; i < w->count; i++) {
        bytes += u->write.entries[i].data.length;
    }
    if (w->count > 0) {
        w->entries = xmalloc(bytes);
    }
    char *at = (char *)(w->entries + w->count);
    for (size_t i = 0; i < w->count; i++) {
        w->entries[i] = u->write.entries[i];
        if (w->entries[i].data.length > 0) {
            memcpy(at, w->entries[i].data.data, w->entries[i].data.length);
        }
        w->entries[i].data.data = at;
        at += w->entries[i].data.length;
    }
    return w;
}

void node_write(struct node *n, const struct raft_update *u)
{
    struct disk_write *w = copy_write(u);
    if (w->truncate > 0) {
        judge_truncate(n, w->truncate);
        n->log.count = (size_t)(w->truncate - n->log.start - 1);
        n->durable_last = w->truncate - 1 < n->durable_last ? w->truncate - 1 : n->durable_last;
    }
    for (size_t i = 0; i < w->count; i++) {
        const struct log_entry *e = &w->entries[i];
        uint64_t chain = judge_entry(n, e);
        mirror_push(&n->log, (struct mirror_entry){e->term, e->type, e->data, chain});
        sim_mix(n->sim, chain);
    }
    *n->queue_end = w;
    n->queue_end = &w->next;
}

static int write_one(struct node *n, const struct disk_write *w, struct err *e)
{
    int r = 0;
    const struct log_hard_state *hard = w->has_hard ? &w->hard : NULL;
    scenario_note(n, w->truncate > 0 ? BOUNDARY_TRUNCATE : hard ? BOUNDARY_VOTE : BOUNDARY_APPEND);
    if (w->truncate > 0) {
        r = hard ? log_store_append(n->store, hard, NULL, 0, e) : 0;
        hard = NULL;
        r = r < 0 ? r : log_store_truncate(n->store, w->truncate, e);
    }
    return r < 0 ? r : log_store_append(n->store, hard, w->entries, w->count, e);
}

static sim_us flush_time(struct node *n)
{
    sim_us time = 50 + sim_about(n->sim, n->sim->plan.flush_us);
    return n->slow > 0 ? time * n->slow : time;
}

void node_disk_go(struct node *n)
{
    struct err e = ERR_INIT;
    if (n->flushing || !n->queue) {
        return;
    }
    for (struct disk_write *w = n->queue; w; w = w->next) {
        if (write_one(n, w, &e) < 0) {
            sim_trace(n->sim, "node %u: %s", n->slot, err_message(&e));
            node_give_up(n, SIM_CRASH_SUBSET);
            return;
        }
    }
    n->flight = n->queue;
    n->queue = NULL;
    n->queue_end = &n->queue;
    n->flushing = true;
    sim_after(n->sim, flush_time(n), EVENT_DISK, n);
}

/* These entries are in the log store now; their bytes go with the write. */
static void settle(struct node *n, const struct disk_write *w)
{
    for (size_t i = 0; i < w->count; i++) {
        log_index index = w->entries[i].index;
        if (index > n->log.start && index <= mirror_last(&n->log)) {
            struct mirror_entry *m = mirror_at(&n->log, index);
            if (m->data.data == w->entries[i].data.data) {
                m->data.data = NULL;
            }
        }
    }
}

static void note_durable(struct node *n)
{
    n->durable_last = log_store_last(n->store);
    n->durable_hard = log_store_hard(n->store);
    for (struct disk_write *w = n->queue; w; w = w->next) {
        if (w->truncate > 0 && w->truncate <= n->durable_last) {
            n->durable_last = w->truncate - 1;
        }
    }
    while (n->flight) {
        struct disk_write *w = n->flight;
        n->durable_seq = w->seq;
        settle(n, w);
        n->flight = w->next;
        write_free(w);
    }
}

void node_on_disk(struct node *n, struct event *ev)
{
    struct err e = ERR_INIT;
    struct raft_update u;
    (void)ev;
    if (n->hung) {
        sim_after(n->sim, 20 * 1000, EVENT_DISK, n);
        return;
    }
    n->sim->stats->flushes++;
    scenario_note(n, BOUNDARY_FLUSH);
    if (log_store_sync(n->store, &e) < 0) {
        sim_trace(n->sim, "node %u: %s", n->slot, err_message(&e));
        node_give_up(n, SIM_CRASH_SUBSET);
        return;
    }
    n->flushing = false;
    note_durable(n);
    node_release(n);
    if (!n->failing) {
        (void)node_step(
            n, &(struct raft_event){.kind = RAFT_WRITTEN, .written.seq = n->durable_seq}, &u);
    }
}

/* Drops what the persisted state has and nobody is waiting for, or what is too much to keep. */
void node_cut_log(struct node *n)
{
    struct err e = ERR_INIT;
    struct raft_update u;
    log_index to = n->persisted->applied;
    if (n->keep < to) {
        to = to - n->keep > n->sim->plan.log_bound ? to - n->sim->plan.log_bound : n->keep;
    }
    if (to <= n->log.start || to - n->log.start < n->sim->plan.persist_count / 4) {
        return;
    }
    scenario_note(n, BOUNDARY_COMPACT);
    if (log_store_compact(n->store, to, &e) < 0) {
        sim_trace(n->sim, "node %u: %s", n->slot, err_message(&e));
        node_give_up(n, SIM_CRASH_SUBSET);
        return;
    }
    log_index start = log_store_start(n->store);
    if (start == n->log.start) {
        return;
    }
    mirror_drop(&n->log, start);
    n->sim->stats->compactions++;
    (void)node_step(
        n,
        &(struct raft_event){.kind = RAFT_COMPACTED,
                             .snapshot = {.index = start, .last_term = n->log.start_term}},
        &u);
}

/* ---- reading ---- */

bool node_read(struct node *n, log_index from, log_index to)
{
    struct err e = ERR_INIT;
    int r = log_store_read(n->store, from, to + 1, 64 * 1024, &n->read, &e);
    if (r < 0) {
        sim_trace(n->sim, "node %u: %s", n->slot, err_message(&e));
        if (sim_disk_struck(n->disk).read_errors == n->struck.read_errors &&
            !sim_disk_stopped(n->disk)) {
            sim_fail(n->sim, "log store", "node %u cannot read entry %lu: %s", n->slot,
                     (unsigned long)from, err_message(&e));
        }
        node_give_up(n, SIM_CRASH_SUBSET);
        return false;
    }
    return true;
}

/* Adds an entry to what the packet carries; bytes are referred to by offset until it is complete.
 */
static void collect(struct buf *heads, struct buf *bytes, struct log_entry entry)
{
    size_t at = bytes->length;
    buf_append(bytes, entry.data.data, entry.data.length);
    entry.data.data = (const void *)at; /* NOLINT(performance-no-int-to-ptr) */
    buf_append(heads, &entry, sizeof(entry));
}

static bool collect_entries(struct node *n, const struct raft_append *a, struct buf *heads,
                            struct buf *bytes)
{
    log_index index = a->prev_index + 1;
    log_index last = a->prev_index + a->count;
    while (index <= last) {
        const struct mirror_entry *m = mirror_at(&n->log, index);
        if (m->data.data) {
            collect(heads, bytes, (struct log_entry){index, m->term, m->type, m->data});
            index++;
            continue;
        }
        log_index end = index;
        while (end < last && !mirror_at(&n->log, end + 1)->data.data) {
            end++;
        }
        if (!node_read(n, index, end)) {
            return false;
        }
        for (size_t i = 0; i < n->read.count; i++) {
            CHECK(n->read.entries[i].term == mirror_at(&n->log, index)->term);
            collect(heads, bytes, n->read.entries[i]);
            index++;
        }
    }
    return true;
}

bool node_fill(struct node *n, struct packet *p)
{
    static struct buf heads = BUF_INIT; /* reused from message to message */
    static struct buf bytes = BUF_INIT;
    struct raft_append *a = &p->message.append;
    if (a->prev_index + 1 <= n->log.start || a->prev_index + a->count > mirror_last(&n->log)) {
        sim_fail(n->sim, "protocol", "node %u sends entries %lu to %lu, has %lu to %lu", n->slot,
                 (unsigned long)a->prev_index + 1, (unsigned long)(a->prev_index + a->count),
                 (unsigned long)n->log.start + 1, (unsigned long)mirror_last(&n->log));
    }
    buf_clear(&heads);
    buf_clear(&bytes);
    if (!collect_entries(n, a, &heads, &bytes)) {
        return false;
    }
    p->body_bytes = heads.length + bytes.length;
    p->body = xmalloc(p->body_bytes);
    memcpy(p->body, heads.data, heads.length);
    memcpy((char *)p->body + heads.length, bytes.data, bytes.length);
    struct log_entry *entries = p->body;
    for (size_t i = 0; i < a->count; i++) {
        entries[i].data.data = (char *)p->body + heads.length + (size_t)entries[i].data.data;
    }
    a->entries = entries;
    return true;
}
