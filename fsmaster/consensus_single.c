/* A cluster of one member behind consensus.h.
 *
 * One flush is in flight at a time; what is proposed meanwhile waits and goes together in the next
 * (group commit), so throughput adapts to the disk without a timer. The log thread hands a synced
 * flush straight to the apply thread, and its completion to the owner, who begins the next flush
 * while the first is being applied. At most APPLIES_MAX flushes wait to be applied: when apply is
 * the slower one, flushes grow instead of queueing up.
 *
 * Terms: a start raises the term by one, durably, before anything is proposed, and leads once the
 * empty entry of that term is applied; chunkservers refuse commands of lower terms.
 *
 * Crash argument: an entry is applied after its sync, so the state never holds what the log may
 * lose; the state's own applied index moves in the batch that it describes, so replay begins
 * exactly where the state stands; the log is cut only at an index read back from the state after it
 * was made durable. */
#include "fsmaster/consensus.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/disk.h"
#include "common/macros.h"
#include "common/metrics.h"
#include "common/raft/log_store.h"
#include "common/rng.h"
#include "common/workpool.h"

enum {
    APPLIES_MAX = 2,            /* flushes that wait for or are in apply */
    FLUSH_COUNT_MAX = 4096,     /* entries of one flush */
    QUEUE_COUNT_MAX = 32768,    /* proposals that wait for a flush; then ERR_BUSY */
    REPLAY_BYTES = 1024 * 1024, /* of the log at a time */
};

/* Metrics; each may be NULL. */
struct gauges {
    struct histogram *sync;  /* append and sync of one flush */
    struct histogram *apply; /* one batch */
    struct counter *entries;
    struct counter *flushes;
    struct counter *bytes;
    struct gauge *queued;
};

/* A group of entries on its way through log and apply. */
struct flush {
    struct consensus *c;
    struct job log_job;
    struct job apply_job;
    struct log_entry *records;       /* for the log */
    struct consensus_entry *entries; /* for the machine; bytes are the records' */
    size_t count;
    size_t bytes;
    struct log_hard_state hard; /* written with it if has_hard */
    bool has_hard;
    bool replayed;        /* from the log: nothing to write */
    unsigned owed;        /* completions to come; apply's may overtake the log's */
    struct log_read read; /* replayed: what the entries' bytes stand in */
    int log_code;         /* of the log thread */
    int code;             /* of apply */
    struct err err;
    void *outcome;
    uint64_t sync_us;
    uint64_t apply_us;
};

/* Everything on the log thread besides flushes: ticks and cuts. */
struct upkeep {
    struct consensus *c;
    struct job job;
    bool busy;
    bool cut;        /* cut up to `index`, else tick */
    log_index index; /* persist: result; cut: up to here */
    int code;
    struct err err;
};

struct consensus {
    struct consensus_options options;
    struct disk *disk;
    struct log_store *log; /* log thread, once started */
    struct workpool *log_pool;
    struct workpool *apply_pool;
    struct strand apply_strand;

    struct list queue; /* proposals not yet in a flush */
    size_t queue_count;
    size_t queue_bytes;
    struct list refused; /* proposals that get their refusal at the next turn */
    struct mail refuse_mail;
    bool refuse_posted;

    struct log_hard_state hard;
    log_index last;    /* given out to entries */
    log_index durable; /* synced */
    log_index applied;
    bool flushing;     /* on the log thread */
    unsigned applying; /* flushes after it */
    bool leading;
    bool closed;
    bool broken;
    uint64_t unpersisted_bytes; /* of log since the last persist began */
    struct upkeep persist;      /* on a worker */
    struct upkeep upkeep;       /* on the log thread */
    time_ms ticked_ms;
    struct gauges gauges;
    char address[LIMIT_ADDRESS_BYTES_MAX];
};

static void flush_next(struct consensus *c);
static void replay_next(struct consensus *c);

static void fail(struct consensus *c, const struct err *e)
{
    if (c->broken) {
        return;
    }
    c->broken = true;
    c->leading = false;
    c->options.machine.failed(c->options.machine.owner_ctx, e);
}

/* ---- One flush ------------------------------------------------------------------------------ */

static struct flush *flush_new(struct consensus *c, size_t count)
{
    struct flush *f = xcalloc(1, sizeof(*f));
    f->c = c;
    f->entries = xcalloc(count ? count : 1, sizeof(*f->entries));
    f->records = xcalloc(count ? count : 1, sizeof(*f->records));
    log_read_init(&f->read);
    return f;
}

/* One of its completions has been dealt with. */
static void flush_settle(struct flush *f)
{
    if (--f->owed > 0) {
        return;
    }
    log_read_deinit(&f->read);
    free(f->entries);
    free(f->records);
    free(f);
}

static void flush_add(struct flush *f, struct log_entry record, struct proposal *proposal)
{
    f->entries[f->count] = (struct consensus_entry){
        .index = record.index, .term = record.term, .bytes = record.data, .proposal = proposal};
    f->records[f->count] = record;
    f->bytes += record.data.length;
    f->count++;
}

static void apply_on_worker(struct job *job)
{
    struct flush *f = CONTAINER_OF(job, struct flush, apply_job);
    uint64_t begun_us = clock_mono_us();
    const struct consensus_machine *machine = &f->c->options.machine;
    f->code = machine->apply(machine->ctx, f->entries, f->count, &f->outcome, &f->err);
    f->apply_us = clock_mono_us() - begun_us;
}

/* A disk without space leaves the log usable: what this flush wrote of itself is taken back, so
 * that its refusal is definite. */
static int take_back(struct flush *f)
{
    struct consensus *c = f->c;
    struct err e = ERR_INIT;
    int r = 0;
    if (log_store_last(c->log) >= f->records[0].index) {
        r = log_store_truncate(c->log, f->records[0].index, &e);
    }
    if (r == 0) {
        r = log_store_sync(c->log, &e);
    }
    if (r < 0) {
        f->err = e;
        return err_wrap(&f->err, r, "take back after a full disk");
    }
    return ERR_NO_SPACE;
}

static void log_on_worker(struct job *job)
{
    struct flush *f = CONTAINER_OF(job, struct flush, log_job);
    struct consensus *c = f->c;
    uint64_t begun_us = clock_mono_us();
    f->log_code =
        log_store_append(c->log, f->has_hard ? &f->hard : NULL, f->records, f->count, &f->err);
    if (f->log_code == 0) {
        f->log_code = log_store_sync(c->log, &f->err);
    } else if (f->log_code == ERR_NO_SPACE) {
        f->log_code = take_back(f);
    }
    f->sync_us = clock_mono_us() - begun_us;
    if (f->log_code == 0) {
        workpool_submit_reserved(c->apply_pool, &c->apply_strand, &f->apply_job, c->options.owner);
    }
}

static void refuse_all(struct flush *f, int code)
{
    for (size_t i = 0; i < f->count; i++) {
        if (f->entries[i].proposal) {
            f->entries[i].proposal->done(f->entries[i].proposal, code, NULL);
        }
    }
}

static void log_failed(struct flush *f)
{
    struct consensus *c = f->c;
    mailbox_unreserve(c->options.owner); /* apply's slot */
    c->applying--;
    f->owed--;
    if (f->code == ERR_NO_SPACE) {
        c->last = f->records[0].index - 1;
        refuse_all(f, ERR_NO_SPACE);
    } else {
        (void)err_wrap(&f->err, f->code, "write the log");
        fail(c, &f->err);
        refuse_all(f, ERR_UNKNOWN);
    }
}

static void log_done(struct job *job)
{
    struct flush *f = CONTAINER_OF(job, struct flush, log_job);
    struct consensus *c = f->c;
    c->flushing = false;
    if (c->gauges.sync) {
        histogram_observe(c->gauges.sync, f->sync_us);
    }
    if (f->log_code == 0) {
        c->durable = f->records[f->count - 1].index;
        c->unpersisted_bytes += f->bytes + f->count * LOG_RECORD_HEADER_BYTES;
    } else {
        f->code = f->log_code;
        log_failed(f);
    }
    flush_settle(f);
    flush_next(c);
}

static struct consensus_status status_of(const struct consensus *c)
{
    struct consensus_status status = {
        .is_leader = c->leading, .term = c->hard.term, .applied = c->applied, .last = c->durable};
    memcpy(status.leader, c->address, sizeof(status.leader));
    return status;
}

static void apply_done(struct job *job)
{
    struct flush *f = CONTAINER_OF(job, struct flush, apply_job);
    struct consensus *c = f->c;
    const struct consensus_machine *machine = &c->options.machine;
    c->applying--;
    if (f->code < 0) {
        (void)err_wrap(&f->err, f->code, "apply the log");
        fail(c, &f->err);
        refuse_all(f, ERR_UNKNOWN);
        flush_settle(f);
        return;
    }
    c->applied = f->entries[f->count - 1].index;
    c->durable = MAX(c->durable, c->applied);
    if (c->gauges.apply) {
        histogram_observe(c->gauges.apply, f->apply_us);
        counter_add(c->gauges.entries, f->count);
        counter_add(c->gauges.bytes, f->bytes);
        counter_add(c->gauges.flushes, 1);
    }
    bool replayed = f->replayed;
    bool takes_lead = !replayed && !c->leading && !c->broken && f->entries[0].bytes.length == 0 &&
                      f->entries[0].term == c->hard.term;
    machine->applied(machine->owner_ctx, f->outcome);
    flush_settle(f);
    if (replayed) {
        replay_next(c);
        return;
    }
    if (takes_lead) {
        c->leading = true;
        struct consensus_status status = status_of(c);
        machine->changed(machine->owner_ctx, &status);
    }
    flush_next(c);
}

/* Slots for both completions are reserved before anything starts, so neither can fail later. */
static bool flush_submit(struct consensus *c, struct flush *f)
{
    struct mailbox *owner = c->options.owner;
    if (mailbox_reserve(owner) < 0) {
        return false;
    }
    if (mailbox_reserve(owner) < 0) {
        mailbox_unreserve(owner);
        return false;
    }
    f->log_job = (struct job){.run = log_on_worker, .done = log_done};
    f->apply_job = (struct job){.run = apply_on_worker, .done = apply_done};
    f->owed = 2;
    c->flushing = true;
    c->applying++;
    workpool_submit_reserved(c->log_pool, NULL, &f->log_job, owner);
    return true;
}

static void flush_next(struct consensus *c)
{
    if (c->flushing || c->broken || c->applying >= APPLIES_MAX || list_empty(&c->queue) ||
        !c->leading) {
        return;
    }
    struct flush *f = flush_new(c, MIN(c->queue_count, (size_t)FLUSH_COUNT_MAX));
    size_t room = MIN(c->queue_count, (size_t)FLUSH_COUNT_MAX);
    while (f->count < room && f->bytes < LOG_BATCH_BYTES_MAX) {
        struct proposal *p = LIST_ENTRY(list_pop_front(&c->queue), struct proposal, link);
        c->queue_count--;
        c->queue_bytes -= p->bytes.length;
        c->last++;
        struct log_entry record = {
            .index = c->last, .term = c->hard.term, .type = LOG_ENTRY_COMMAND, .data = p->bytes};
        flush_add(f, record, p);
    }
    if (c->gauges.queued) {
        gauge_set(c->gauges.queued, (int64_t)c->queue_count);
    }
    /* Reserved slots are sized for this (server.c): a refusal is our own mistake. */
    CHECK(flush_submit(c, f));
}

/* ---- Start: replay, then a term of our own --------------------------------------------------- */

static void lead(struct consensus *c)
{
    struct flush *f = flush_new(c, 1);
    c->hard.term++;
    c->hard.vote = 1;
    f->hard = c->hard;
    f->has_hard = true;
    c->last++;
    struct log_entry record = {.index = c->last, .term = c->hard.term, .type = LOG_ENTRY_EMPTY};
    flush_add(f, record, NULL);
    CHECK(flush_submit(c, f));
}

static void replay_on_worker(struct job *job)
{
    struct flush *f = CONTAINER_OF(job, struct flush, apply_job);
    struct consensus *c = f->c;
    log_index from = c->applied + 1;
    f->code = log_store_read(c->log, from, c->last + 1, REPLAY_BYTES, &f->read, &f->err);
    if (f->code < 0) {
        (void)err_wrap(&f->err, f->code, "read the log at %" PRIu64, from);
        return;
    }
    f->code = 0;
    free(f->entries);
    f->entries = xcalloc(f->read.count, sizeof(*f->entries));
    f->count = f->read.count;
    for (size_t i = 0; i < f->count; i++) {
        const struct log_entry *record = &f->read.entries[i];
        f->entries[i] = (struct consensus_entry){
            .index = record->index, .term = record->term, .bytes = record->data};
    }
    apply_on_worker(job);
}

static void replay_next(struct consensus *c)
{
    if (c->closed || c->broken) {
        return;
    }
    if (c->applied == c->last) {
        lead(c);
        return;
    }
    struct flush *f = flush_new(c, 0);
    f->replayed = true;
    f->owed = 1;
    f->apply_job = (struct job){.run = replay_on_worker, .done = apply_done};
    c->applying++;
    CHECK(mailbox_reserve(c->options.owner) == 0);
    workpool_submit_reserved(c->apply_pool, &c->apply_strand, &f->apply_job, c->options.owner);
}

static void make_gauges(struct consensus *c, struct metrics *m)
{
    if (!m) {
        return;
    }
    c->gauges = (struct gauges){
        .sync = metrics_histogram(m, "fsmaster_log_flush_seconds", NULL,
                                  "Append and sync of one group of entries."),
        .apply = metrics_histogram(m, "fsmaster_apply_seconds", NULL, "Applying one group."),
        .entries = metrics_counter(m, "fsmaster_log_entries_total", NULL, "Entries applied."),
        .flushes = metrics_counter(m, "fsmaster_log_flushes_total", NULL, "Groups applied."),
        .bytes = metrics_counter(m, "fsmaster_log_bytes_total", NULL, "Bytes of entries applied."),
        .queued = metrics_gauge(m, "fsmaster_proposals_queued", NULL,
                                "Proposals that wait for the flush in flight."),
    };
}

static int open_log(struct consensus *c, struct err *e)
{
    int r = disk_posix_open(c->options.directory, &c->disk, e);
    if (r < 0) {
        return r;
    }
    struct log_store_options options = {
        .disk = c->disk, .segment_bytes = c->options.segment_bytes, .salt_seed = rng_entropy_u64()};
    r = log_store_open(&options, &c->log, e);
    if (r < 0) {
        return r;
    }
    c->hard = log_store_hard(c->log);
    c->last = log_store_last(c->log);
    if (c->applied < log_store_start(c->log)) {
        return err_set(e, ERR_CORRUPT,
                       "the state stands at entry %" PRIu64 " but the log begins after %" PRIu64,
                       c->applied, log_store_start(c->log));
    }
    if (c->applied > c->last) {
        return err_set(e, ERR_CORRUPT,
                       "the state stands at entry %" PRIu64 " but the log ends at %" PRIu64
                       ": synced entries are missing",
                       c->applied, c->last);
    }
    return 0;
}

static void give_refusals(struct mail *mail)
{
    struct consensus *c = CONTAINER_OF(mail, struct consensus, refuse_mail);
    struct list refused = LIST_INIT(refused);
    c->refuse_posted = false;
    list_splice_back(&refused, &c->refused);
    while (!list_empty(&refused)) {
        struct proposal *p = LIST_ENTRY(list_pop_front(&refused), struct proposal, link);
        p->done(p, p->refusal, NULL);
    }
}

int consensus_start(const struct consensus_options *options, struct consensus **ret_consensus,
                    struct err *e)
{
    struct consensus *c = xcalloc(1, sizeof(*c));
    c->options = *options;
    c->applied = options->applied;
    list_init(&c->queue);
    list_init(&c->refused);
    c->refuse_mail.handle = give_refusals;
    c->persist.c = c;
    c->upkeep.c = c;
    size_t length = strnlen(options->address, sizeof(c->address) - 1);
    memcpy(c->address, options->address, length);
    int r = open_log(c, e);
    if (r < 0) {
        log_store_close(c->log);
        disk_free(c->disk);
        free(c);
        return err_wrap(e, r, "log in %s", options->directory);
    }
    c->durable = c->last;
    c->log_pool = workpool_new("log", 1, 16);
    c->apply_pool = workpool_new("apply", 1, 16);
    make_gauges(c, options->metrics);
    replay_next(c);
    *ret_consensus = c;
    return 0;
}

/* ---- Upkeep: ticks, persists, cuts ----------------------------------------------------------- */

static void upkeep_on_worker(struct job *job)
{
    struct upkeep *u = CONTAINER_OF(job, struct upkeep, job);
    struct consensus *c = u->c;
    u->code = u->cut ? log_store_compact(c->log, u->index, &u->err)
                     : log_store_tick(c->log, clock_mono_ms(), &u->err);
}

static void upkeep_done(struct job *job)
{
    struct upkeep *u = CONTAINER_OF(job, struct upkeep, job);
    u->busy = false;
    if (u->code < 0 && u->code != ERR_NO_SPACE) {
        (void)err_wrap(&u->err, u->code, "care for the log");
        fail(u->c, &u->err);
    }
}

static void upkeep_start(struct consensus *c, bool cut, log_index index)
{
    struct upkeep *u = &c->upkeep;
    u->cut = cut;
    u->index = index;
    u->err.code = 0;
    u->err.msg[0] = '\0';
    u->job = (struct job){.run = upkeep_on_worker, .done = upkeep_done};
    u->busy = workpool_submit(c->log_pool, &u->job, c->options.owner) == 0;
}

static void persist_on_worker(struct job *job)
{
    struct upkeep *u = CONTAINER_OF(job, struct upkeep, job);
    const struct consensus_machine *machine = &u->c->options.machine;
    u->code = machine->persist(machine->ctx, &u->index, &u->err);
}

static void persist_done(struct job *job)
{
    struct upkeep *u = CONTAINER_OF(job, struct upkeep, job);
    u->busy = false;
    if (u->code < 0) {
        (void)err_wrap(&u->err, u->code, "make the state durable");
        fail(u->c, &u->err);
    } else {
        u->cut = true; /* of the log, at the next tick */
    }
}

void consensus_tick(struct consensus *c, time_ms now)
{
    if (c->broken || !c->leading) {
        return;
    }
    uint64_t enough = c->options.persist_bytes ? c->options.persist_bytes : LOG_PERSIST_BYTES;
    if (!c->persist.busy && !c->persist.cut && c->unpersisted_bytes >= enough) {
        c->persist.job = (struct job){.run = persist_on_worker, .done = persist_done};
        if (workpool_submit(c->options.workers, &c->persist.job, c->options.owner) == 0) {
            c->persist.busy = true;
            c->unpersisted_bytes = 0;
        }
    }
    if (c->upkeep.busy) {
        return;
    }
    if (c->persist.cut && !c->persist.busy) {
        upkeep_start(c, true, c->persist.index);
        c->persist.cut = !c->upkeep.busy;
    } else if (now >= c->ticked_ms + LOG_IDLE_MS) {
        upkeep_start(c, false, 0);
        c->ticked_ms = now;
    }
}

/* ---- Verbs ---------------------------------------------------------------------------------- */

/* Not from within propose: the proposer may not be ready for its own completion yet. */
static void refuse(struct consensus *c, struct proposal *p, int code)
{
    p->refusal = code;
    list_push_back(&c->refused, &p->link);
    if (!c->refuse_posted) {
        CHECK(mailbox_reserve(c->options.owner) == 0);
        mailbox_post_reserved(c->options.owner, &c->refuse_mail);
        c->refuse_posted = true;
    }
}

void consensus_propose(struct consensus *c, struct proposal *p)
{
    CHECK(p->bytes.length > 0);
    if (c->closed || !c->leading) {
        refuse(c, p, ERR_NOT_LEADER);
    } else if (p->bytes.length > LOG_ENTRY_BYTES_MAX) {
        refuse(c, p, ERR_TOO_LARGE);
    } else if (c->queue_count >= QUEUE_COUNT_MAX ||
               c->queue_bytes + p->bytes.length > 4 * (size_t)LOG_BATCH_BYTES_MAX) {
        refuse(c, p, ERR_BUSY);
    } else {
        list_push_back(&c->queue, &p->link);
        c->queue_count++;
        c->queue_bytes += p->bytes.length;
        flush_next(c);
    }
}

/* With one member everything acknowledged is applied: any state from now on will do. */
void consensus_read_index(struct consensus *c, struct read_index *r)
{
    r->done(r, c->leading ? 0 : ERR_NOT_LEADER);
}

struct consensus_status consensus_status(const struct consensus *c)
{
    return status_of(c);
}

void consensus_close(struct consensus *c)
{
    c->closed = true;
}

bool consensus_idle(const struct consensus *c)
{
    return !c->flushing && c->applying == 0 && (list_empty(&c->queue) || c->broken) &&
           list_empty(&c->refused) && !c->persist.busy && !c->upkeep.busy;
}

void consensus_free(struct consensus *c)
{
    if (!c) {
        return;
    }
    CHECK(consensus_idle(c));
    workpool_free(c->log_pool);
    workpool_free(c->apply_pool);
    if (!c->broken && c->applied == c->last) {
        /* Only saves the next start its replay; a failure loses nothing. */
        (void)c->options.machine.persist(c->options.machine.ctx, &c->applied, NULL);
    }
    log_store_close(c->log);
    disk_free(c->disk);
    free(c);
}
