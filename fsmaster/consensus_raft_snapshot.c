/* Snapshots (DESIGN 5). Out: a worker makes a checkpoint and reads from inside it where it stands;
 * one strand of workers fills in the pieces that the library asks for. In: another strand unpacks
 * pieces as they come.
 *
 * Installing, step by step, each one only when the one before is done:
 *   1. checking    the unpacked copy is synced, opened, and stands where the leader said
 *   2. waiting     nothing is in apply, persist or cut, and no write of the log is under way or due
 *   3. switching   on the apply thread, with no reader left: the machine takes the copy
 *   4. resetting   the log forgets its entries
 * A failure of 1 is the leader's snapshot's: it begins again. After that the member stops: what a
 * crash leaves of 3 and 4 is put right at the next start (docs/raft-shell.md). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/mailbox.h"
#include "common/snapshot_stream.h"
#include "common/sys.h"
#include "fsmaster/consensus_raft_internal.h"
#include "fsmaster/raft_transport.h"

enum install_step {
    INSTALL_NONE,
    INSTALL_CHECKING,
    INSTALL_WAITING,
    INSTALL_SWITCHING,
    INSTALL_RESETTING
};

/* One at a time: making a checkpoint, or letting go of one. */
struct making {
    struct job job;
    struct consensus *c;
    bool busy;
    struct snapshot_source *old;  /* to be let go of */
    struct snapshot_source *made; /* result */
    struct consensus_position at; /* of it */
    int code;
    struct err err;
};

/* A piece on its way in, or the end of all pieces. */
struct storing {
    struct job job;
    struct consensus *c;
    bool busy;
    bool begin; /* a new sink first */
    struct buf data;
    struct consensus_position found; /* checking: what stands in it */
    int code;
    struct err err;
};

struct snapshots {
    struct strand out_strand; /* making and reading pieces */
    struct strand in_strand;  /* storing and checking */
    char *out_directory;
    char *in_directory;

    struct making making;
    struct snapshot_source *source; /* out strand, but for its lifetime; NULL: none */
    struct consensus_position at;   /* of source */
    time_ms asked_ms;               /* when a piece of it was last asked for */
    time_ms again_ms;               /* after a failure */
    log_index
        hold; /* while one is made: it will stand here or later, so the log is kept from here */

    struct storing storing;
    struct snapshot_sink *sink; /* in strand; NULL: none */
    enum install_step step;
    struct raft_snapshot wanted; /* being installed */
    struct job switching;
    struct upkeep resetting;
    int code; /* of switching */
    struct err err;
};

/* ---- Out: making ----------------------------------------------------------------------------- */

static void make_on_worker(struct job *job)
{
    struct making *m = CONTAINER_OF(job, struct making, job);
    struct consensus *c = m->c;
    const struct consensus_machine *machine = &c->options.machine;
    const char *directory = c->snapshots->out_directory;
    snapshot_source_close(m->old);
    m->code = sys_remove_tree(directory, &m->err);
    m->code = m->code < 0 ? m->code : machine->checkpoint(machine->ctx, directory, &m->err);
    m->code = m->code < 0 ? m->code : machine->inspect(machine->ctx, directory, &m->at, &m->err);
    if (m->code == 0) {
        m->code = snapshot_source_open(directory, m->at.index, m->at.term, &m->made, &m->err);
    }
}

static void let_go_on_worker(struct job *job)
{
    struct making *m = CONTAINER_OF(job, struct making, job);
    snapshot_source_close(m->old);
    m->code = sys_remove_tree(m->c->snapshots->out_directory, &m->err);
}

static void start_making(struct consensus *c, void (*run)(struct job *), void (*done)(struct job *))
{
    struct snapshots *s = c->snapshots;
    s->making = (struct making){.c = c, .busy = true, .old = s->source};
    s->making.job = (struct job){.run = run, .done = done};
    s->source = NULL;
    CHECK(mailbox_reserve(c->options.owner) == 0);
    c->jobs++;
    workpool_submit_reserved(c->options.workers, &s->out_strand, &s->making.job, c->options.owner);
}

static void let_go_done(struct job *job)
{
    struct making *m = CONTAINER_OF(job, struct making, job);
    struct consensus *c = m->c;
    m->busy = false;
    consensus_job_end(c);
    if (m->code < 0) {
        log_warning("raft", "a snapshot could not be removed: %s", err_message(&m->err));
    }
    snapshots_next(c);
}

static void made(struct job *job)
{
    struct making *m = CONTAINER_OF(job, struct making, job);
    struct consensus *c = m->c;
    struct snapshots *s = c->snapshots;
    m->busy = false;
    consensus_job_end(c);
    s->asked_ms = clock_mono_ms();
    if (m->code < 0) {
        log_warning("raft", "no snapshot could be made: %s", err_message(&m->err));
        s->again_ms = s->asked_ms + RAFT_PIECE_RETRY_MS;
        return;
    }
    s->source = m->made;
    s->at = m->at;
    struct raft_event event = {.kind = RAFT_SNAPSHOT_MADE,
                               .snapshot = {.index = m->at.index,
                                            .last_term = m->at.term,
                                            .bytes = snapshot_source_bytes(s->source)}};
    log_info("raft", "snapshot made index=%" PRIu64 " bytes=%" PRIu64, m->at.index,
             event.snapshot.bytes);
    if (consensus_step(c, &event, &m->err) < 0 && !c->broken) {
        log_info("raft", "snapshot of no use: %s", err_message(&m->err));
    }
}

/* A member that is away for days would else have one made for it each time the log is cut. */
static bool somebody_waits(const struct consensus *c, time_ms now)
{
    struct raft_peer peers[RAFT_MEMBER_COUNT_MAX];
    size_t count = raft_peers(c->raft, peers);
    for (size_t i = 0; i < count; i++) {
        if (peers[i].state == RAFT_PEER_SNAPSHOT && peers[i].heard_ms > 0 &&
            now < peers[i].heard_ms + SNAPSHOT_HEARD_MS) {
            return true;
        }
    }
    return false;
}

/* The library says that a member needs one, until it has one that it can use. */
static void want(struct consensus *c)
{
    struct snapshots *s = c->snapshots;
    time_ms now = clock_mono_ms();
    if (!s->making.busy && !c->closed && now >= s->again_ms && somebody_waits(c, now)) {
        s->hold = c->applied;
        start_making(c, make_on_worker, made);
    }
}

/* Files that a checkpoint alone holds take space as the state moves on. */
void snapshots_tick(struct consensus *c, time_ms now)
{
    struct snapshots *s = c->snapshots;
    if (s->source && !s->making.busy && now >= s->asked_ms + SNAPSHOT_IDLE_MS) {
        struct raft_event event = {.kind = RAFT_SNAPSHOT_MADE};
        (void)consensus_step(c, &event, NULL);
        start_making(c, let_go_on_worker, let_go_done);
    }
}

/* ---- Out: pieces ----------------------------------------------------------------------------- */

struct piece {
    struct job job;
    struct consensus *c;
    struct snapshot_source *source;
    struct raft_message message;
    struct buf data;
    int code;
    struct err err;
};

static void piece_on_worker(struct job *job)
{
    struct piece *p = CONTAINER_OF(job, struct piece, job);
    p->code = snapshot_source_read(p->source, p->message.snapshot.offset, SNAPSHOT_PIECE_BYTES,
                                   &p->data, &p->err);
}

static void piece_done(struct job *job)
{
    struct piece *p = CONTAINER_OF(job, struct piece, job);
    struct consensus *c = p->c;
    consensus_job_end(c);
    if (p->code < 0) {
        log_warning("raft", "a snapshot cannot be read: %s", err_message(&p->err));
    } else if (p->code > 0 && !c->broken) {
        p->message.snapshot.data = (struct span){p->data.data, p->data.length};
        raft_transport_send(c->options.transport, &p->message);
    }
    buf_deinit(&p->data);
    free(p);
}

void snapshots_send(struct consensus *c, const struct raft_message *message)
{
    struct snapshots *s = c->snapshots;
    if (!s->source || s->at.index != message->snapshot.index) {
        return; /* asked for again */
    }
    struct piece *p = xcalloc(1, sizeof(*p));
    *p = (struct piece){.c = c, .source = s->source, .message = *message};
    buf_init(&p->data);
    s->asked_ms = clock_mono_ms();
    p->job = (struct job){.run = piece_on_worker, .done = piece_done};
    CHECK(mailbox_reserve(c->options.owner) == 0);
    c->jobs++;
    workpool_submit_reserved(c->options.workers, &s->out_strand, &p->job, c->options.owner);
}

/* ---- In: pieces ------------------------------------------------------------------------------ */

static void store_on_worker(struct job *job)
{
    struct storing *t = CONTAINER_OF(job, struct storing, job);
    struct snapshots *s = t->c->snapshots;
    if (t->begin) {
        snapshot_sink_close(s->sink);
        s->sink = NULL;
        t->code = snapshot_sink_open(s->in_directory, &s->sink, &t->err);
    } else if (!s->sink) {
        t->code = err_set(&t->err, ERR_STALE, "a piece of a snapshot that is gone");
    }
    if (t->code == 0) {
        t->code =
            snapshot_sink_write(s->sink, (struct span){t->data.data, t->data.length}, &t->err);
    }
}

static void storing_start(struct consensus *c, void (*run)(struct job *),
                          void (*done)(struct job *))
{
    struct storing *t = &c->snapshots->storing;
    CHECK(!t->busy);
    t->c = c;
    t->busy = true;
    t->code = 0;
    t->err = (struct err)ERR_INIT;
    t->job = (struct job){.run = run, .done = done};
    CHECK(mailbox_reserve(c->options.owner) == 0);
    c->jobs++;
    workpool_submit_reserved(c->options.workers, &c->snapshots->in_strand, &t->job,
                             c->options.owner);
}

static void stored(struct job *job)
{
    struct storing *t = CONTAINER_OF(job, struct storing, job);
    struct consensus *c = t->c;
    struct err e = ERR_INIT;
    t->busy = false;
    consensus_job_end(c);
    struct raft_event event = {.kind = RAFT_SNAPSHOT_STORED};
    event.snapshot.failed = t->code < 0;
    event.snapshot.offset = t->code < 0 ? 0 : snapshot_sink_received(c->snapshots->sink);
    if (t->code < 0) {
        log_warning("raft", "a snapshot is not taken: %s", err_message(&t->err));
    }
    if (consensus_step(c, &event, &e) < 0 && !c->broken) {
        log_info("raft", "a piece that nobody waits for: %s", err_message(&e));
    }
}

static void store(struct consensus *c, const struct raft_snapshot *piece)
{
    struct storing *t = &c->snapshots->storing;
    t->begin = piece->offset == 0;
    buf_clear(&t->data);
    buf_append(&t->data, piece->data.data, piece->data.length);
    storing_start(c, store_on_worker, stored);
}

/* ---- In: installing -------------------------------------------------------------------------- */

static void check_on_worker(struct job *job)
{
    struct storing *t = CONTAINER_OF(job, struct storing, job);
    struct snapshots *s = t->c->snapshots;
    const struct consensus_machine *machine = &t->c->options.machine;
    t->code = s->sink ? snapshot_sink_finish(s->sink, &t->err) : ERR_STALE;
    if (t->code == 0) {
        t->code = machine->inspect(machine->ctx, s->in_directory, &t->found, &t->err);
    }
    if (t->code == 0 && (t->found.index != s->wanted.index ||
                         t->found.term != s->wanted.last_term || t->found.config.count == 0)) {
        t->code = err_set(&t->err, ERR_CORRUPT,
                          "the snapshot stands at entry %" PRIu64 " of term %" PRIu64
                          ", not at %" PRIu64 " of %" PRIu64,
                          t->found.index, t->found.term, s->wanted.index, s->wanted.last_term);
    }
    snapshot_sink_close(s->sink);
    s->sink = NULL;
}

static void installed_event(struct consensus *c, bool failed)
{
    struct snapshots *s = c->snapshots;
    struct err e = ERR_INIT;
    struct raft_event event = {.kind = RAFT_INSTALLED,
                               .snapshot = {.index = s->wanted.index,
                                            .last_term = s->wanted.last_term,
                                            .failed = failed,
                                            .config = &s->storing.found.config,
                                            .config_index = s->storing.found.config_index}};
    s->step = INSTALL_NONE;
    c->installing = false;
    if (consensus_step(c, &event, &e) < 0) {
        consensus_fail(c, &e);
    }
}

static void checked(struct job *job)
{
    struct storing *t = CONTAINER_OF(job, struct storing, job);
    struct consensus *c = t->c;
    t->busy = false;
    consensus_job_end(c);
    if (t->code < 0) {
        log_warning("raft", "a snapshot is not installed index=%" PRIu64 ": %s",
                    c->snapshots->wanted.index, err_message(&t->err));
        installed_event(c, true);
        return;
    }
    c->snapshots->step = INSTALL_WAITING;
    snapshots_next(c);
}

static void switch_on_worker(struct job *job)
{
    struct snapshots *s = CONTAINER_OF(job, struct snapshots, switching);
    struct consensus *c = s->storing.c;
    workpool_drain(c->options.workers); /* whoever still reads; nobody begins */
    s->code = c->options.machine.install(c->options.machine.ctx, s->in_directory, s->wanted.index,
                                         &s->err);
}

static void reset_done(struct job *job)
{
    struct upkeep *u = CONTAINER_OF(job, struct upkeep, job);
    struct consensus *c = u->c;
    struct snapshots *s = c->snapshots;
    u->busy = false;
    consensus_job_end(c);
    if (u->code < 0) {
        (void)err_wrap(&u->err, u->code, "reset the log");
        consensus_fail(c, &u->err);
        return;
    }
    c->log_start = u->index;
    c->applied = u->index;
    c->applied_term = u->term;
    c->given = u->index;
    c->commit = MAX(c->commit, u->index);
    c->unpersisted_bytes = 0;
    entry_cache_restart(&c->cache, u->index + 1);
    log_info("raft", "snapshot installed index=%" PRIu64 " term=%" PRIu64 " bytes=%" PRIu64,
             u->index, u->term, s->wanted.bytes);
    c->options.machine.installed(c->options.machine.owner_ctx);
    installed_event(c, false);
}

static void switched(struct job *job)
{
    struct snapshots *s = CONTAINER_OF(job, struct snapshots, switching);
    struct consensus *c = s->storing.c;
    consensus_job_end(c);
    if (s->code < 0) {
        (void)err_wrap(&s->err, s->code, "install a snapshot");
        consensus_fail(c, &s->err);
        return;
    }
    s->step = INSTALL_RESETTING;
    s->resetting.index = s->wanted.index;
    s->resetting.term = s->wanted.last_term;
    log_upkeep_start(c, &s->resetting, UPKEEP_RESET, reset_done);
}

void snapshots_next(struct consensus *c)
{
    struct snapshots *s = c->snapshots;
    if (s->step != INSTALL_WAITING || c->broken || c->applying > 0 || c->fetching || c->writing ||
        c->pending || c->persist.busy || c->upkeep.busy || s->making.busy || s->storing.busy) {
        return;
    }
    s->step = INSTALL_SWITCHING;
    s->err = (struct err)ERR_INIT;
    s->switching = (struct job){.run = switch_on_worker, .done = switched};
    consensus_job_start(c, c->apply_pool, &s->switching);
}

void snapshots_update(struct consensus *c, const struct raft_update *u)
{
    struct snapshots *s = c->snapshots;
    if (u->want_snapshot) {
        want(c);
    }
    if (u->store) {
        store(c, u->store);
    }
    if (u->install) {
        CHECK(s->step == INSTALL_NONE);
        s->wanted = *u->install;
        s->step = INSTALL_CHECKING;
        c->installing = true; /* nothing more is given to apply */
        storing_start(c, check_on_worker, checked);
    }
}

bool consensus_is_installing(const struct consensus *c)
{
    return c->installing;
}

log_index snapshots_hold(const struct consensus *c)
{
    return c->snapshots->making.busy ? c->snapshots->hold : UINT64_MAX;
}

/* ---- Life ------------------------------------------------------------------------------------ */

int snapshots_init(struct consensus *c, const char *scratch, struct err *e)
{
    struct snapshots *s = xcalloc(1, sizeof(*s));
    c->snapshots = s;
    s->storing.c = c;
    s->out_directory = xprintf("%s/outgoing", scratch);
    s->in_directory = xprintf("%s/incoming", scratch);
    buf_init(&s->storing.data);
    int r = sys_remove_tree(s->out_directory, e);
    return r < 0 ? r : sys_remove_tree(s->in_directory, e);
}

void snapshots_free(struct consensus *c)
{
    struct snapshots *s = c->snapshots;
    if (s) {
        snapshot_source_close(s->source);
        snapshot_sink_close(s->sink);
        buf_deinit(&s->storing.data);
        free(s->out_directory);
        free(s->in_directory);
        free(s);
    }
}

/* An installation that waits when everything ends is like one that a crash cut off. */
bool snapshots_idle(const struct consensus *c)
{
    const struct snapshots *s = c->snapshots;
    return !s->making.busy && !s->storing.busy && s->step != INSTALL_SWITCHING &&
           s->step != INSTALL_RESETTING;
}
