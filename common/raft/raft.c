/* The life of a member, the dispatch of events and the making of updates. What is decided stands in
 * the other files; README.md gives an order of reading. */
#include "common/raft/raft.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/macros.h"
#include "common/raft/raft_internal.h"

/* ---- life ---- */

static uint32_t or_default(uint32_t value, uint32_t standard)
{
    return value > 0 ? value : standard;
}

static void fill_in_defaults(struct raft_options *o)
{
    o->heartbeat_ms = or_default(o->heartbeat_ms, RAFT_HEARTBEAT_MS);
    o->election_ms = or_default(o->election_ms, RAFT_ELECTION_MS);
    o->disk_hung_ms = or_default(o->disk_hung_ms, RAFT_DISK_HUNG_MS);
    o->append_bytes_max = or_default(o->append_bytes_max, RAFT_APPEND_BYTES);
    o->inflight_count_max = or_default(o->inflight_count_max, RAFT_INFLIGHT_COUNT);
    o->piece_bytes = or_default(o->piece_bytes, RAFT_PIECE_BYTES);
    if (o->uncommitted_bytes_max == 0) {
        o->uncommitted_bytes_max = RAFT_UNCOMMITTED_BYTES;
    }
}

/* NULL, or what is wrong. */
static const char *options_wrong(const struct raft_options *o)
{
    if (o->self == 0) {
        return "no key of its own";
    }
    if (o->election_ms < 2 * o->heartbeat_ms) {
        return "an election timeout must hold two heartbeats";
    }
    if (o->inflight_count_max > RAFT_INFLIGHT_COUNT_MAX || o->piece_bytes > RAFT_PIECE_BYTES_MAX) {
        return "a window or a piece is too large";
    }
    if (o->start_term > o->hard.term || o->applied < o->start_index) {
        return "the log begins after the term or the state";
    }
    if (o->config_index > o->applied || o->applied > RAFT_NUMBER_MAX ||
        o->hard.term > RAFT_NUMBER_MAX) {
        return "an index or a term out of range";
    }
    if (o->config.count > RAFT_MEMBER_COUNT_MAX ||
        (o->config.count > 0 && raft_config_voter_count(&o->config) == 0)) {
        return "a configuration without a voter";
    }
    return NULL;
}

int raft_new(const struct raft_options *options, struct raft **ret_raft, struct err *e)
{
    struct raft_options o = *options;
    fill_in_defaults(&o);
    const char *wrong = options_wrong(&o);
    if (wrong != NULL) {
        return err_set(e, ERR_INVALID, "raft: %s", wrong);
    }
    struct raft *r = xcalloc(1, sizeof(*r));
    r->self = o.self;
    r->options = o;
    r->hard = o.hard;
    r->members.config = o.config;
    r->members.index = o.config_index;
    r->commit = o.applied;
    r->ready = o.applied;
    r->now_ms = o.now_ms;
    r->role = RAFT_LEARNER;
    r->heard_ms = o.lease_reads ? MAX(o.now_ms, 1) : 0; /* it may have, before it stopped */
    rng_seed(&r->rng, o.seed);
    raft_log_init(&r->log, o.start_index, o.start_term);
    buf_init(&r->out.config_bytes);
    raft_fit_role(r);
    raft_restart_timer(r);
    if (options->founder) {
        r->election_at_ms = r->now_ms; /* there is no leader to wait for */
    }
    r->told = raft_status(r);
    *ret_raft = r;
    return 0;
}

int raft_restore(struct raft *r, const struct log_entry *entry, struct err *e)
{
    struct raft_config config;
    CHECK(r->log.seq == 0);
    if (entry->index != raft_log_last(&r->log) + 1 || entry->term < raft_log_last_term(&r->log) ||
        entry->term > r->hard.term) {
        return err_set(e, ERR_CORRUPT, "log: entry %" PRIu64 " of term %" PRIu64 " after %" PRIu64,
                       entry->index, entry->term, raft_log_last(&r->log));
    }
    if (entry->type == LOG_ENTRY_CONFIG && entry->index > r->members.index) {
        int code = raft_config_decode(entry->data, &config, e);
        if (code < 0) {
            return err_wrap(e, code, "log: entry %" PRIu64, entry->index);
        }
    }
    raft_log_append(&r->log, entry->term, entry->data.length);
    raft_log_restored(&r->log);
    if (entry->type == LOG_ENTRY_CONFIG && entry->index > r->members.index) {
        raft_config_adopt(r, &config, entry->index);
    }
    r->told = raft_status(r);
    return 0;
}

void raft_free(struct raft *r)
{
    if (r == NULL) {
        return;
    }
    raft_log_deinit(&r->log);
    free(r->out.send.items);
    free(r->out.send_after.items);
    free(r->out.entries);
    buf_deinit(&r->out.config_bytes);
    free(r);
}

/* ---- effects: collected while an event is handled ---- */

static struct raft_message *push_message(struct raft *r, struct raft_messages *list,
                                         struct raft_message head)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity > 0 ? 2 * list->capacity : 16;
        list->items = xreallocarray(list->items, list->capacity, sizeof(head));
    }
    head.from = r->self;
    head.term = r->hard.term;
    list->items[list->count] = head;
    return &list->items[list->count++];
}

struct raft_message *raft_send(struct raft *r, enum raft_message_kind kind, raft_key to)
{
    return push_message(r, &r->out.send, (struct raft_message){.kind = kind, .to = to});
}

struct raft_message *raft_send_after(struct raft *r, enum raft_message_kind kind, raft_key to)
{
    return push_message(r, &r->out.send_after, (struct raft_message){.kind = kind, .to = to});
}

void raft_set_hard(struct raft *r, term_no term, raft_key vote)
{
    CHECK(term >= r->hard.term);
    CHECK(term > r->hard.term || r->hard.vote == 0 || r->hard.vote == vote); /* 5.2: one vote */
    r->hard = (struct log_hard_state){term, vote};
    r->out.hard = true;
}

bool raft_term_is_durable(const struct raft *r)
{
    return !r->out.hard && r->hard_seq <= r->log.done_seq;
}

void raft_append_entry(struct raft *r, const struct log_entry *entry)
{
    struct raft_out *out = &r->out;
    CHECK(entry->index == raft_log_last(&r->log) + 1);
    if (out->count == out->capacity) {
        out->capacity = out->capacity > 0 ? 2 * out->capacity : 16;
        out->entries = xreallocarray(out->entries, out->capacity, sizeof(*entry));
    }
    out->entries[out->count++] = *entry;
    raft_log_append(&r->log, entry->term, entry->data.length);
}

void raft_truncate(struct raft *r, log_index from)
{
    CHECK(from > r->commit); /* what is committed stays (5.4.3) */
    CHECK(r->out.count == 0);
    raft_tell(r, "drops entries from %" PRIu64 " on", from);
    raft_config_roll_back(r, from);
    raft_log_truncate(&r->log, from);
    r->out.truncate = from;
}

uint64_t raft_name(const struct raft *r, raft_key key)
{
    const struct raft_member *m = raft_config_find(&r->members.config, key);
    return m != NULL ? m->id : key;
}

void raft_tell(const struct raft *r, const char *format, ...)
{
    char line[256];
    va_list args;
    if (r->trace == NULL) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    r->trace(r->trace_arg, line);
}

/* ---- events ---- */

static int tick(struct raft *r)
{
    if (r->role == RAFT_LEADER) {
        raft_lead_tick(r);
    } else {
        raft_election_tick(r);
    }
    return 0;
}

/* The caller's own disk. What it completes: entries towards commit, a candidate's own vote. */
static int written(struct raft *r, uint64_t seq, struct err *e)
{
    uint64_t before = r->log.done_seq;
    if (!raft_log_written(&r->log, seq)) {
        return err_set(e, ERR_INVALID, "write %" PRIu64 " was never given out", seq);
    }
    if (r->role == RAFT_CANDIDATE) {
        if (before < r->campaign.vote_seq && r->campaign.vote_seq <= seq) {
            raft_restart_timer(r); /* only now the others are asked */
        }
        raft_campaign_count(r);
    } else if (r->role == RAFT_LEADER) {
        raft_lead_commit(r);
    }
    return 0;
}

static int compacted(struct raft *r, const struct raft_event *event, struct err *e)
{
    log_index index = event->snapshot.index;
    if (index < r->log.start || index > r->ready) {
        return err_set(e, ERR_INVALID, "the log cannot begin after %" PRIu64, index);
    }
    CHECK(raft_log_term(&r->log, index) == event->snapshot.last_term);
    raft_log_compact(&r->log, index);
    return 0;
}

static int unreachable(struct raft *r, raft_key peer)
{
    struct raft_progress *p = r->role == RAFT_LEADER ? raft_progress_of(r, peer) : NULL;
    if (p != NULL && p->state == RAFT_PEER_REPLICATE) {
        raft_tell(r, "cannot reach %" PRIu64, raft_name(r, peer));
        raft_progress_probe(p, p->match + 1);
        p->paused = true; /* until the next heartbeat is answered */
    }
    return 0;
}

static int dispatch(struct raft *r, const struct raft_event *event, struct err *e)
{
    switch (event->kind) {
    case RAFT_TICK:
        return tick(r);
    case RAFT_RECEIVE:
        return raft_receive(r, event->message, e);
    case RAFT_PROPOSE:
        return raft_propose(r, event->propose.entries, event->propose.count, e);
    case RAFT_WRITTEN:
        return written(r, event->written.seq, e);
    case RAFT_READ:
        return raft_read(r, e);
    case RAFT_CHANGE:
        return raft_change(r, event, e);
    case RAFT_TRANSFER:
        return raft_transfer(r, event->peer, e);
    case RAFT_UNREACHABLE:
        return unreachable(r, event->peer);
    case RAFT_SNAPSHOT_MADE:
        return raft_snapshot_made(r, event, e);
    case RAFT_SNAPSHOT_STORED:
        return raft_snapshot_stored(r, event, e);
    case RAFT_INSTALLED:
        return raft_installed(r, event, e);
    case RAFT_COMPACTED:
        return compacted(r, event, e);
    }
    return err_set(e, ERR_INVALID, "no such event: %d", (int)event->kind);
}

/* ---- updates ---- */

static void out_clear(struct raft_out *out)
{
    struct raft_out kept = *out;
    *out = (struct raft_out){0};
    out->send.items = kept.send.items;
    out->send.capacity = kept.send.capacity;
    out->send_after.items = kept.send_after.items;
    out->send_after.capacity = kept.send_after.capacity;
    out->entries = kept.entries;
    out->capacity = kept.capacity;
    out->config_bytes = kept.config_bytes;
    buf_clear(&out->config_bytes);
}

static bool status_differs(const struct raft_status *a, const struct raft_status *b)
{
    return a->role != b->role || a->term != b->term || a->leader != b->leader ||
           a->config_index != b->config_index || a->config_committed != b->config_committed ||
           a->readable != b->readable;
}

/* Effect 2: what must be durable before `send_after` may go. */
static void update_write(struct raft *r, struct raft_update *u)
{
    struct raft_out *out = &r->out;
    if (out->hard || out->truncate > 0 || out->count > 0) {
        u->write.seq = raft_log_write(&r->log, r->now_ms);
        u->write.has_hard = out->hard;
        u->write.hard = r->hard;
        u->write.truncate = out->truncate;
        u->write.entries = out->entries;
        u->write.count = out->count;
    }
    if (out->hard) {
        r->hard_seq = u->write.seq;
    }
}

static void update_snapshots(struct raft *r, struct raft_update *u)
{
    u->want_snapshot = raft_snapshot_wanted(r);
    u->store = r->out.store;
    u->install = r->out.install ? &r->receiving.snapshot : NULL;
    u->keep = raft_keep(r);
}

static void make_update(struct raft *r, struct raft_update *u)
{
    *u = (struct raft_update){0};
    update_write(r, u);
    u->send = r->out.send.items;
    u->send_count = r->out.send.count;
    u->send_after = r->out.send_after.items;
    u->send_after_count = r->out.send_after.count;
    u->after_seq = r->log.seq;
    r->ready = MAX(r->ready, MIN(r->commit, r->log.durable));
    u->commit = r->ready;
    u->read.asked = r->out.asked;
    u->read.done = r->round_done;
    u->read.index = r->round_index;
    update_snapshots(r, u);
    struct raft_status status = raft_status(r);
    u->changed = status_differs(&status, &r->told);
    r->told = status;
}

int raft_step(struct raft *r, const struct raft_event *event, struct raft_update *ret_update,
              struct err *e)
{
    CHECK(event->now_ms >= r->now_ms);
    CHECK(raft_log_last(&r->log) >= r->ready); /* all of the log has been restored */
    r->now_ms = event->now_ms;
    out_clear(&r->out);
    int code = dispatch(r, event, e);
    if (r->role == RAFT_LEADER) {
        raft_replicate(r);
    }
    make_update(r, ret_update);
    raft_check(r);
    return code;
}

/* ---- looking at it ---- */

const char *raft_role_name(enum raft_role role)
{
    static const char *const names[] = {
        [RAFT_FOLLOWER] = "follower",   [RAFT_PRE_CANDIDATE] = "pre-candidate",
        [RAFT_CANDIDATE] = "candidate", [RAFT_LEADER] = "leader",
        [RAFT_LEARNER] = "learner",
    };
    CHECK(role >= RAFT_FOLLOWER);
    CHECK(role <= RAFT_LEARNER);
    return names[role];
}

struct raft_status raft_status(const struct raft *r)
{
    return (struct raft_status){
        .role = r->role,
        .term = r->hard.term,
        .leader = r->leader,
        .commit = r->ready,
        .last = raft_log_last(&r->log),
        .durable = r->log.durable,
        .config_index = r->members.index,
        .config_committed = r->members.index <= r->commit,
        .readable = raft_readable(r),
    };
}

const struct raft_config *raft_configuration(const struct raft *r)
{
    return &r->members.config;
}

int raft_term_at(const struct raft *r, log_index index, term_no *ret_term)
{
    if (!raft_log_has(&r->log, index)) {
        return ERR_NOT_FOUND;
    }
    *ret_term = raft_log_term(&r->log, index);
    return 0;
}

void raft_trace(struct raft *r, raft_trace_fn fn, void *arg)
{
    r->trace = fn;
    r->trace_arg = arg;
}
