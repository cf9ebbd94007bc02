/* Committed entries on their way to the machine, and what follows from having applied them: the
 * state is persisted each time that enough log has come together, and the log is cut behind it.
 *
 * Batches go through one strand of one thread, so the machine sees each entry once, in order. At
 * most APPLIES_MAX wait: when apply is the slower one, batches grow instead of queueing up. */
#include <inttypes.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/mailbox.h"
#include "fsmaster/consensus_raft_internal.h"

struct apply_batch {
    struct job job;
    struct consensus *c;
    struct entry_run run; /* what the entries' bytes stand in */
    struct consensus_entry *entries;
    size_t count;
    int code;
    struct err err;
    void *outcome;
    uint64_t us;
};

static void upkeep_next(struct consensus *c);

static void apply_on_worker(struct job *job)
{
    struct apply_batch *b = CONTAINER_OF(job, struct apply_batch, job);
    uint64_t begun_us = clock_mono_us();
    const struct consensus_machine *machine = &b->c->options.machine;
    b->code = machine->apply(machine->ctx, b->entries, b->count, &b->outcome, &b->err);
    b->us = clock_mono_us() - begun_us;
}

static void batch_free(struct apply_batch *b)
{
    entry_run_deinit(&b->run);
    free(b->entries);
    free(b);
}

static void batch_failed(struct apply_batch *b)
{
    (void)err_wrap(&b->err, b->code, "apply the log");
    consensus_fail(b->c, &b->err);
    for (size_t i = 0; i < b->count; i++) {
        if (b->entries[i].proposal) {
            b->entries[i].proposal->done(b->entries[i].proposal, ERR_UNKNOWN, NULL);
        }
    }
}

static void apply_done(struct job *job)
{
    struct apply_batch *b = CONTAINER_OF(job, struct apply_batch, job);
    struct consensus *c = b->c;
    const struct consensus_machine *machine = &c->options.machine;
    c->applying--;
    if (b->code < 0) {
        batch_failed(b);
        batch_free(b);
        return;
    }
    c->applied = b->entries[b->count - 1].index;
    c->applied_term = b->entries[b->count - 1].term;
    /* Also what a start replays: else short lives in a row would each replay more. */
    c->unpersisted_bytes += b->run.bytes + b->count * LOG_RECORD_HEADER_BYTES;
    if (c->gauges.apply) {
        histogram_observe(c->gauges.apply, b->us);
        counter_add(c->gauges.entries, b->count);
        counter_add(c->gauges.bytes, b->run.bytes);
        counter_add(c->gauges.batches, 1);
    }
    machine->applied(machine->owner_ctx, b->outcome);
    batch_free(b);
    entry_cache_trim(&c->cache, MIN(c->applied, c->status.durable), RAFT_CACHE_BYTES_MAX);
    apply_next(c);
    consensus_look(c);
    consensus_reads_settle(c);
    snapshots_next(c);
    consensus_propose_next(c);
    upkeep_next(c);
}

/* Takes the run. Proposals made here meet their entries: both are in the order of the log. */
static void batch_submit(struct consensus *c, struct entry_run *run)
{
    struct apply_batch *b = xcalloc(1, sizeof(*b));
    b->c = c;
    b->run = *run;
    b->count = run->count;
    b->entries = xcalloc(b->count, sizeof(*b->entries));
    for (size_t i = 0; i < b->count; i++) {
        const struct log_entry *entry = &b->run.entries[i];
        struct list *first = list_first(&c->waiting);
        struct proposal *p = first ? LIST_ENTRY(first, struct proposal, link) : NULL;
        CHECK(!p || p->index >= entry->index);
        if (p && p->index == entry->index) {
            list_remove(first);
        } else {
            p = NULL;
        }
        b->entries[i] = (struct consensus_entry){.index = entry->index,
                                                 .term = entry->term,
                                                 .type = (enum log_entry_type)entry->type,
                                                 .bytes = entry->data,
                                                 .proposal = p};
    }
    c->given = b->entries[b->count - 1].index;
    c->applying++;
    b->job = (struct job){.run = apply_on_worker, .done = apply_done};
    CHECK(mailbox_reserve(c->options.owner) == 0);
    workpool_submit_reserved(c->apply_pool, &c->apply_strand, &b->job, c->options.owner);
}

/* Entries that are no longer in memory: a start, or a machine that is far behind. */
static void fetched(struct log_fetch *fetch)
{
    struct consensus *c = fetch->c;
    c->fetching = false;
    if (fetch->code == ERR_NOT_FOUND && !c->broken) {
        struct err e = ERR_INIT;
        (void)err_wrap(&e, ERR_CORRUPT, "entry %" PRIu64 " is committed, but not in the log",
                       fetch->from);
        consensus_fail(c, &e);
    }
    if (c->broken) {
        entry_run_deinit(&fetch->run);
    } else {
        batch_submit(c, &fetch->run);
        apply_next(c);
    }
    free(fetch);
}

static void fetch_next(struct consensus *c)
{
    struct log_fetch *fetch = xcalloc(1, sizeof(*fetch));
    *fetch =
        (struct log_fetch){.from = c->given + 1,
                           .count = (size_t)MIN(c->commit - c->given, (log_index)BATCH_COUNT_MAX),
                           .bytes_max = FETCH_BYTES,
                           .done = fetched};
    c->fetching = true;
    log_fetch_start(c, fetch);
}

/* A client waits for what a follower writes, and hardly anybody for what it applies: the write in
 * flight goes first, and more entries are then applied together. */
static bool apply_can_wait(const struct consensus *c)
{
    return c->writing && c->status.role != RAFT_LEADER && c->commit - c->given < APPLY_LATE_COUNT;
}

void apply_next(struct consensus *c)
{
    if (apply_can_wait(c)) {
        return; /* until that write is done: before the next one begins */
    }
    while (c->applying < APPLIES_MAX && c->given < c->commit && !c->fetching && !c->installing &&
           !c->broken) {
        struct entry_run run = {0};
        size_t count = (size_t)MIN(c->commit - c->given, (log_index)BATCH_COUNT_MAX);
        if (entry_run_take(&run, &c->cache, c->given + 1, count, LOG_BATCH_BYTES_MAX) == 0) {
            fetch_next(c);
        } else {
            batch_submit(c, &run);
        }
    }
}

/* ---- Persist and cut --------------------------------------------------------------------------
 */

static void persist_on_worker(struct job *job)
{
    struct upkeep *u = CONTAINER_OF(job, struct upkeep, job);
    const struct consensus_machine *machine = &u->c->options.machine;
    u->code = machine->persist(machine->ctx, &u->index, &u->err);
}

static void cut_done(struct job *job);

/* The log is cut only at what was read back from the state after it was made durable. */
static void cut_start(struct consensus *c, log_index index)
{
    c->upkeep.index = index;
    c->upkeep.keep = MIN(c->keep, snapshots_hold(c));
    log_upkeep_start(c, &c->upkeep, UPKEEP_CUT, cut_done);
}

static void persist_done(struct job *job)
{
    struct upkeep *u = CONTAINER_OF(job, struct upkeep, job);
    struct consensus *c = u->c;
    u->busy = false;
    consensus_job_end(c);
    if (u->code < 0) {
        (void)err_wrap(&u->err, u->code, "make the state durable");
        consensus_fail(c, &u->err);
    } else {
        c->cut_due = true;
        upkeep_next(c);
    }
    snapshots_next(c);
}

static void upkeep_failed(struct upkeep *u)
{
    (void)err_wrap(&u->err, u->code, "care for the log");
    consensus_fail(u->c, &u->err);
}

static void cut_done(struct job *job)
{
    struct upkeep *u = CONTAINER_OF(job, struct upkeep, job);
    struct consensus *c = u->c;
    u->busy = false;
    consensus_job_end(c);
    if (u->code < 0) {
        upkeep_failed(u);
    } else if (!c->broken && !c->installing && u->start > c->log_start) {
        struct raft_event event = {.kind = RAFT_COMPACTED,
                                   .snapshot = {.index = u->start, .last_term = u->start_term}};
        struct err e = ERR_INIT;
        c->log_start = u->start;
        if (consensus_step(c, &event, &e) < 0) {
            consensus_fail(c, &e);
        }
    }
    snapshots_next(c);
}

static void tick_done(struct job *job)
{
    struct upkeep *u = CONTAINER_OF(job, struct upkeep, job);
    struct consensus *c = u->c;
    u->busy = false;
    consensus_job_end(c);
    if (u->code < 0 && u->code != ERR_NO_SPACE) {
        upkeep_failed(u);
    }
    if (u->low_space != c->low_space) {
        log_warning("raft", "%s dir=%s least=%d",
                    u->low_space ? "the log's disk is nearly full, changes are refused"
                                 : "the log's disk has room again",
                    c->options.directory, RAFT_SPACE_MIN_BYTES);
        c->low_space = u->low_space;
    }
    snapshots_next(c);
}

static void upkeep_next(struct consensus *c)
{
    uint64_t enough = c->options.persist_bytes ? c->options.persist_bytes : LOG_PERSIST_BYTES;
    if (c->installing || c->broken) {
        return;
    }
    if (!c->persist.busy && !c->cut_due && c->unpersisted_bytes >= enough) {
        c->persist.c = c;
        c->persist.busy = true;
        c->persist.err = (struct err)ERR_INIT;
        c->persist.job = (struct job){.run = persist_on_worker, .done = persist_done};
        c->unpersisted_bytes = 0;
        consensus_job_start(c, c->options.workers, &c->persist.job);
    }
    if (c->cut_due && !c->persist.busy && !c->upkeep.busy) {
        c->cut_due = false;
        cut_start(c, c->persist.index);
    }
}

void apply_tick(struct consensus *c, time_ms now)
{
    upkeep_next(c);
    if (!c->upkeep.busy && !c->installing && now >= c->log_ticked_ms + LOG_IDLE_MS) {
        c->log_ticked_ms = now;
        log_upkeep_start(c, &c->upkeep, UPKEEP_TICK, tick_done);
    }
}
