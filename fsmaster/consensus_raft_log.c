/* Work for the log thread: one thread, jobs in the order in which the owner gave them. So an entry
 * is read as the log was when it was asked for, and a cut or a reset happens between two writes,
 * never inside one.
 *
 * Group commit: one write is in flight; what updates ask meanwhile gathers in c->pending and goes
 * together. Steps without a truncation join the one before: the store then writes one batch. That a
 * hard state so comes before entries of earlier updates is safe: a batch is there as a whole or
 * not, all of it before the sync that anybody waits for. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/mailbox.h"
#include "common/rng.h"
#include "fsmaster/consensus_raft_internal.h"
#include "fsmaster/raft_transport.h"

/* A slot for the completion is reserved first, so that it cannot fail later. */
void consensus_job_start(struct consensus *c, struct workpool *pool, struct job *job)
{
    CHECK(mailbox_reserve(c->options.owner) == 0);
    c->jobs++;
    workpool_submit_reserved(pool, NULL, job, c->options.owner);
}

void consensus_job_end(struct consensus *c)
{
    CHECK(c->jobs > 0);
    c->jobs--;
}

/* ---- Held messages --------------------------------------------------------------------------- */

void log_hold_messages(struct consensus *c, const struct raft_update *u)
{
    size_t end = c->held_head + c->held_count + u->send_after_count;
    if (c->held_head > 0 && end > c->held_capacity) {
        memmove(c->held, c->held + c->held_head, c->held_count * sizeof(c->held[0]));
        c->held_head = 0;
        end = c->held_count + u->send_after_count;
    }
    if (end > c->held_capacity) {
        c->held_capacity = 2 * end;
        c->held = xreallocarray(c->held, c->held_capacity, sizeof(c->held[0]));
    }
    for (size_t i = 0; i < u->send_after_count; i++) {
        CHECK(u->send_after[i].kind != RAFT_APPEND && u->send_after[i].kind != RAFT_SNAPSHOT);
        c->held[c->held_head + c->held_count++] =
            (struct held_message){u->send_after[i], u->after_seq};
    }
}

void log_release_held(struct consensus *c)
{
    while (c->held_count > 0 && c->held[c->held_head].after_seq <= c->durable_seq) {
        if (c->options.transport) {
            raft_transport_send(c->options.transport, &c->held[c->held_head].message);
        }
        c->held_head++;
        c->held_count--;
    }
}

/* ---- Writes ---------------------------------------------------------------------------------- */

static int write_step(struct log_write *w, const struct write_step *step)
{
    struct consensus *c = w->c;
    int r = 0;
    if (step->truncate > 0) {
        r = log_store_truncate(c->log, step->truncate, &w->err);
    }
    if (r == 0 && (step->has_hard || step->count > 0)) {
        r = log_store_append(c->log, step->has_hard ? &step->hard : NULL,
                             w->run.entries + step->first, step->count, &w->err);
    }
    return r;
}

static void write_on_log(struct job *job)
{
    struct log_write *w = CONTAINER_OF(job, struct log_write, job);
    uint64_t begun_us = clock_mono_us();
    for (size_t i = 0; i < w->step_count && w->code == 0; i++) {
        w->code = write_step(w, &w->steps[i]);
    }
    if (w->code == 0) {
        w->code = log_store_sync(w->c->log, &w->err);
    }
    w->us = clock_mono_us() - begun_us;
}

static void write_free(struct log_write *w)
{
    if (w) {
        entry_run_deinit(&w->run);
        free(w->steps);
        free(w);
    }
}

static void write_done(struct job *job)
{
    struct log_write *w = CONTAINER_OF(job, struct log_write, job);
    struct consensus *c = w->c;
    struct err e = ERR_INIT;
    consensus_job_end(c);
    c->writing = false;
    if (c->hung_told) {
        log_warning("raft", "the log's disk is back after_ms=%" PRIu64, w->us / 1000);
        c->hung_told = false;
    }
    if (w->code < 0) {
        (void)err_wrap(&w->err, w->code, "write the log");
        consensus_fail(c, &w->err);
    } else if (!c->broken) {
        if (c->gauges.sync) {
            histogram_observe(c->gauges.sync, w->us);
            counter_add(c->gauges.flushes, 1);
        }
        c->durable_seq = w->seq;
        log_release_held(c);
        apply_next(c);
        log_write_next(c); /* the disk goes on while we think */
        struct raft_event event = {.kind = RAFT_WRITTEN, .written = {.seq = w->seq}};
        if (consensus_step(c, &event, &e) < 0) {
            consensus_fail(c, &e);
        }
        consensus_propose_next(c);
    }
    write_free(w);
}

static struct write_step *new_step(struct log_write *w)
{
    if (w->step_count == w->step_capacity) {
        w->step_capacity = w->step_capacity ? 2 * w->step_capacity : 4;
        w->steps = xreallocarray(w->steps, w->step_capacity, sizeof(w->steps[0]));
    }
    struct write_step *step = &w->steps[w->step_count++];
    *step = (struct write_step){.first = w->run.count};
    return step;
}

void log_queue_write(struct consensus *c, const struct raft_update *u)
{
    if (!c->pending) {
        c->pending = xcalloc(1, sizeof(*c->pending));
        c->pending->c = c;
    }
    struct log_write *w = c->pending;
    bool joins = w->step_count > 0 && u->write.truncate == 0;
    struct write_step *step = joins ? &w->steps[w->step_count - 1] : new_step(w);
    if (u->write.has_hard) {
        step->has_hard = true;
        step->hard = u->write.hard;
    }
    if (u->write.truncate > 0) {
        step->truncate = u->write.truncate;
        entry_cache_truncate(&c->cache, u->write.truncate);
    }
    if (u->write.count > 0) {
        entry_cache_add(&c->cache, u->write.entries, u->write.count);
        size_t taken =
            entry_run_take(&w->run, &c->cache, u->write.entries[0].index, u->write.count, SIZE_MAX);
        CHECK(taken == u->write.count);
        step->count += taken;
    }
    w->seq = u->write.seq;
}

void log_write_next(struct consensus *c)
{
    if (c->writing || !c->pending || c->broken) {
        return;
    }
    struct log_write *w = c->pending;
    c->pending = NULL;
    c->writing = true;
    c->write_begun_ms = clock_mono_ms();
    w->job = (struct job){.run = write_on_log, .done = write_done};
    consensus_job_start(c, c->log_pool, &w->job);
}

/* ---- Reads ----------------------------------------------------------------------------------- */

static void fetch_on_log(struct job *job)
{
    struct log_fetch *f = CONTAINER_OF(job, struct log_fetch, job);
    struct log_read read;
    log_read_init(&read);
    while (f->code >= 0 && f->run.count < f->count && f->run.bytes < f->bytes_max) {
        log_index from = f->from + f->run.count;
        f->code = log_store_read(f->c->log, from, f->from + f->count, f->bytes_max - f->run.bytes,
                                 &read, &f->err);
        if (f->code > 0) {
            entry_run_copy(&f->run, read.entries, read.count);
        }
    }
    f->code = f->run.count > 0 ? 0 : f->code;
    log_read_deinit(&read);
}

static void fetch_done(struct job *job)
{
    struct log_fetch *f = CONTAINER_OF(job, struct log_fetch, job);
    struct consensus *c = f->c;
    consensus_job_end(c);
    if (f->code < 0 && f->code != ERR_NOT_FOUND) {
        (void)err_wrap(&f->err, f->code, "read the log at entry %" PRIu64, f->from);
        consensus_fail(c, &f->err);
    }
    f->done(f);
}

void log_fetch_start(struct consensus *c, struct log_fetch *fetch)
{
    fetch->c = c;
    fetch->job = (struct job){.run = fetch_on_log, .done = fetch_done};
    consensus_job_start(c, c->log_pool, &fetch->job);
}

/* ---- Upkeep ---------------------------------------------------------------------------------- */

static bool is_low_on_space(const struct consensus *c)
{
    struct statvfs fs;
    return statvfs(c->options.directory, &fs) == 0 &&
           (uint64_t)fs.f_bavail * fs.f_frsize < RAFT_SPACE_MIN_BYTES;
}

/* What peers need is kept, but a peer that is away for long gets a snapshot rather than all our
 * disk. */
static int cut(struct upkeep *u)
{
    struct consensus *c = u->c;
    uint64_t segment_bytes =
        c->options.segment_bytes ? c->options.segment_bytes : LOG_SEGMENT_BYTES;
    uint64_t keep_bytes = c->options.keep_bytes ? c->options.keep_bytes : RAFT_KEEP_BYTES_MAX;
    bool too_long = log_store_stats(c->log).segment_count * segment_bytes > keep_bytes;
    log_index index = too_long ? u->index : MIN(u->index, u->keep);
    return log_store_compact(c->log, MIN(index, log_store_last(c->log)), &u->err);
}

static int form(struct upkeep *u)
{
    struct consensus *c = u->c;
    struct log_entry entry = {.index = u->index,
                              .term = u->term,
                              .type = LOG_ENTRY_CONFIG,
                              .data = {u->config.data, u->config.length}};
    int r = log_store_append(c->log, &u->hard, &entry, 1, &u->err);
    return r < 0 ? r : log_store_sync(c->log, &u->err);
}

static void upkeep_on_log(struct job *job)
{
    struct upkeep *u = CONTAINER_OF(job, struct upkeep, job);
    struct log_store *log = u->c->log;
    switch (u->kind) {
    case UPKEEP_TICK:
        u->code = log_store_tick(log, clock_mono_ms(), &u->err);
        u->low_space = is_low_on_space(u->c);
        break;
    case UPKEEP_CUT:
        u->code = cut(u);
        break;
    case UPKEEP_RESET:
        u->code = log_store_reset(log, u->index, u->term, &u->err);
        break;
    case UPKEEP_FORM:
        u->code = form(u);
        break;
    }
    u->start = log_store_start(log);
    CHECK(log_store_term(log, u->start, &u->start_term) == 0);
}

void log_upkeep_start(struct consensus *c, struct upkeep *u, enum upkeep_kind kind,
                      void (*done)(struct job *))
{
    CHECK(!u->busy);
    u->c = c;
    u->kind = kind;
    u->busy = true;
    u->code = 0;
    u->err = (struct err)ERR_INIT;
    u->job = (struct job){.run = upkeep_on_log, .done = done};
    consensus_job_start(c, c->log_pool, &u->job);
}

/* ---- Open and close -------------------------------------------------------------------------- */

int log_reconcile(struct log_store *log, const struct consensus_position *at, struct err *e)
{
    log_index start = log_store_start(log);
    log_index last = log_store_last(log);
    term_no term = 0;
    if (at->index < start) {
        return err_set(e, ERR_CORRUPT,
                       "the state stands at entry %" PRIu64 " but the log begins after %" PRIu64,
                       at->index, start);
    }
    if (log_store_hard(log).term < at->term) {
        return err_set(e, ERR_CORRUPT,
                       "the state stands at entry %" PRIu64 " of term %" PRIu64
                       " but the log ends at %" PRIu64 " and knows term %" PRIu64
                       ": the log is gone, and with it what was promised there",
                       at->index, at->term, last, log_store_hard(log).term);
    }
    if (at->index > last || log_store_term(log, at->index, &term) < 0 || term != at->term) {
        log_warning("raft",
                    "the log starts anew behind an installed snapshot index=%" PRIu64
                    " term=%" PRIu64 " last=%" PRIu64,
                    at->index, at->term, last);
        return log_store_reset(log, at->index, at->term, e);
    }
    return 0;
}

int log_open(struct consensus *c, struct err *e)
{
    int r = disk_posix_open(c->options.directory, &c->disk, e);
    if (r < 0) {
        return r;
    }
    struct log_store_options options = {
        .disk = c->disk, .segment_bytes = c->options.segment_bytes, .salt_seed = rng_entropy_u64()};
    r = log_store_open(&options, &c->log, e);
    if (r == 0) {
        r = log_reconcile(c->log, &c->options.position, e);
    }
    return r < 0 ? err_wrap(e, r, "log in %s", c->options.directory) : 0;
}

void log_free(struct consensus *c)
{
    write_free(c->pending);
    free(c->held);
    entry_cache_deinit(&c->cache);
    log_store_close(c->log);
    disk_free(c->disk);
}

int log_has_config(struct consensus *c, bool *ret_has, struct err *e)
{
    log_index last = log_store_last(c->log);
    struct log_read read;
    int r = 0;
    bool found = false;
    log_read_init(&read);
    for (log_index at = log_store_start(c->log); r >= 0 && !found && at < last;) {
        r = log_store_read(c->log, at + 1, last + 1, FETCH_BYTES, &read, e);
        for (size_t i = 0; r >= 0 && i < read.count; i++) {
            found = found || read.entries[i].type == LOG_ENTRY_CONFIG;
            at = read.entries[i].index;
        }
    }
    log_read_deinit(&read);
    *ret_has = found;
    return r < 0 ? r : 0;
}
