/* The owner's half of the shell: every event goes through step(), which carries out the
 * library's update in the order of its contract (raft.h) and only then looks at what became
 * possible: writes, applies, reads, completions. Nothing that belongs to others is called while an
 * update is being carried out. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/mailbox.h"
#include "common/rng.h"
#include "fsmaster/consensus_raft_internal.h"
#include "fsmaster/raft_transport.h"

enum { TICK_MS = 100 }; /* of what is not the library's */

void consensus_fail(struct consensus *c, const struct err *e)
{
    if (c->broken) {
        return;
    }
    c->broken = true;
    c->leading = false;
    c->options.machine.failed(c->options.machine.owner_ctx, e);
}

/* ---- Messages -------------------------------------------------------------------------------- */

/* An APPEND whose entries are no longer in memory. */
struct late_append {
    struct log_fetch fetch;
    struct raft_message message;
};

static void late_append_done(struct log_fetch *fetch)
{
    struct late_append *late = CONTAINER_OF(fetch, struct late_append, fetch);
    struct consensus *c = fetch->c;
    if (fetch->code == 0 && !c->broken) {
        late->message.append.entries = fetch->run.entries;
        late->message.append.count = fetch->run.count;
        raft_transport_send(c->options.transport, &late->message);
    }
    entry_run_deinit(&fetch->run);
    free(late);
}

static void send_append(struct consensus *c, const struct raft_message *message)
{
    struct raft_message filled = *message;
    struct entry_run run = {0};
    size_t count = message->append.count;
    log_index from = message->append.prev_index + 1;
    if (count > 0 && entry_run_take(&run, &c->cache, from, count, SIZE_MAX) < count) {
        struct late_append *late = xcalloc(1, sizeof(*late));
        late->message = filled;
        late->fetch = (struct log_fetch){.from = from,
                                         .count = count,
                                         .bytes_max = LOG_BATCH_BYTES_MAX,
                                         .done = late_append_done};
        log_fetch_start(c, &late->fetch);
    } else {
        filled.append.entries = run.entries;
        raft_transport_send(c->options.transport, &filled);
    }
    entry_run_deinit(&run);
}

static void send_messages(struct consensus *c, const struct raft_update *u)
{
    for (size_t i = 0; i < u->send_count; i++) {
        const struct raft_message *message = &u->send[i];
        CHECK(c->options.transport != NULL);
        switch (message->kind) {
        case RAFT_APPEND:
            send_append(c, message);
            break;
        case RAFT_SNAPSHOT:
            snapshots_send(c, message);
            break;
        default:
            raft_transport_send(c->options.transport, message);
            break;
        }
    }
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static void carry_out(struct consensus *c, const struct raft_update *u)
{
    if (u->write.seq > 0) {
        log_queue_write(c, u); /* begins after the messages went; they need its entries' bytes */
    }
    send_messages(c, u);
    log_hold_messages(c, u);
    log_release_held(c);
    c->commit = MAX(c->commit, u->commit);
    c->keep = u->keep;
    c->read_done = u->read.done;
    c->read_index = u->read.index;
    snapshots_update(c, u);
}

static void proposals_settle(struct consensus *c, const struct raft_event *event, int code);
static void reads_answer(struct consensus *c);
static void reads_next(struct consensus *c);
static void close_next(struct consensus *c, time_ms now);

/* All but the next round of reads, which is a step itself. */
static int step(struct consensus *c, struct raft_event *event, struct err *e)
{
    struct raft_update update;
    CHECK(!c->stepping);
    if (c->broken) {
        return err_set(e, ERR_UNAVAILABLE, "the member has stopped");
    }
    c->stepping = true;
    event->now_ms = clock_mono_ms();
    int r = raft_step(c->raft, event, &update, e);
    if (event->kind == RAFT_PROPOSE) {
        proposals_settle(c, event, r);
    } else if (event->kind == RAFT_READ && r == 0) {
        c->read_round = update.read.asked;
    }
    carry_out(c, &update);
    bool changed = update.changed;
    c->stepping = false; /* the update is used up: what follows may step again */
    log_write_next(c);
    apply_next(c);
    if (changed) {
        members_follow(c);
    }
    consensus_look(c);
    reads_answer(c);
    snapshots_next(c);
    close_next(c, event->now_ms);
    return r;
}

int consensus_step(struct consensus *c, struct raft_event *event, struct err *e)
{
    int r = step(c, event, e);
    reads_next(c);
    return r;
}

static void received(void *ctx, const struct raft_message *message, struct member_key from)
{
    struct consensus *c = ctx;
    struct err e = ERR_INIT;
    (void)from;
    bool binds = (message->kind == RAFT_APPEND && message->append.count > 0) ||
                 message->kind == RAFT_SNAPSHOT;
    bool leads = message->kind == RAFT_APPEND || message->kind == RAFT_SNAPSHOT;
    if (c->form == FORM_ASKING && leads) {
        log_info("raft", "a cluster has added this directory: no other one is formed");
        c->form = FORM_NONE; /* its leader has our key: an operator has added it */
    }
    if (c->broken || c->form != FORM_NONE) {
        return; /* while it forms, nobody can know of it */
    }
    if (binds && !cluster_id_known(c->cluster)) {
        struct cluster_id cluster = raft_transport_heard_cluster(c->options.transport);
        if (c->options.machine.adopt(c->options.machine.owner_ctx, cluster, &e) < 0) {
            consensus_fail(c, &e);
            return;
        }
        c->cluster = cluster;
        raft_transport_set_cluster(c->options.transport, cluster);
    }
    struct raft_event event = {.kind = RAFT_RECEIVE, .message = message};
    if (consensus_step(c, &event, &e) < 0 && !c->broken) {
        log_warning("raft", "message refused from=%016" PRIx64 " kind=%d: %s", message->from,
                    (int)message->kind, err_message(&e));
    }
}

static void unreachable(void *ctx, raft_key peer)
{
    struct consensus *c = ctx;
    if (!c->broken && c->form == FORM_NONE) {
        struct raft_event event = {.kind = RAFT_UNREACHABLE, .peer = peer};
        (void)consensus_step(c, &event, NULL); /* not a peer any more: nothing to tell */
    }
}

/* ---- Role ------------------------------------------------------------------------------------ */

static void refuse(struct consensus *c, struct proposal *p, int code);

/* What waited for this leadership will hear nothing better than this. */
static void give_up_waiting(struct consensus *c)
{
    while (!list_empty(&c->waiting)) {
        refuse(c, LIST_ENTRY(list_pop_front(&c->waiting), struct proposal, link), ERR_UNKNOWN);
    }
    while (!list_empty(&c->queue)) {
        refuse(c, LIST_ENTRY(list_pop_front(&c->queue), struct proposal, link), ERR_NOT_LEADER);
    }
    c->queue_count = 0;
    c->queue_bytes = 0;
}

static void reads_refuse(struct list *reads)
{
    struct list refused = LIST_INIT(refused);
    list_splice_back(&refused, reads);
    while (!list_empty(&refused)) {
        struct read_index *r = LIST_ENTRY(list_pop_front(&refused), struct read_index, link);
        r->done(r, ERR_NOT_LEADER);
    }
}

static void log_role(const struct consensus *c, const struct raft_status *was)
{
    const struct raft_member *leader =
        raft_config_find(raft_configuration(c->raft), c->status.leader);
    log_info("raft",
             "%s term=%" PRIu64 " leader=%" PRIu64 " last=%" PRIu64 " commit=%" PRIu64
             " applied=%" PRIu64 " was=%s",
             raft_role_name(c->status.role), c->status.term, leader ? leader->id : 0,
             c->status.last, c->commit, c->applied, raft_role_name(was->role));
    if (c->gauges.elections && c->status.role == RAFT_CANDIDATE && was->role != RAFT_CANDIDATE) {
        counter_add(c->gauges.elections, 1);
    }
}

static void show(const struct consensus *c)
{
    if (c->gauges.commit) {
        gauge_set(c->gauges.commit, (int64_t)c->commit);
        gauge_set(c->gauges.applied, (int64_t)c->applied);
        gauge_set(c->gauges.queued, (int64_t)c->queue_count);
        gauge_set(c->gauges.log_bytes_cached, (int64_t)c->cache.bytes);
    }
}

/* The library steps down by itself; people are told why. */
static void watch_disk(struct consensus *c, time_ms patience_ms)
{
    time_ms now = clock_mono_ms();
    if (c->writing && !c->hung_told && now >= c->write_begun_ms + patience_ms) {
        log_warning("raft", "the log's disk hangs for_ms=%" PRIu64 " role=%s",
                    now - c->write_begun_ms, raft_role_name(c->status.role));
        c->hung_told = true;
    }
}

void consensus_look(struct consensus *c)
{
    struct raft_status was = c->status;
    c->status = raft_status(c->raft);
    bool leads = c->status.role == RAFT_LEADER && !c->broken;
    bool leading = leads && c->applied_term == c->status.term;
    bool moved =
        was.term != c->status.term || was.leader != c->status.leader || was.role != c->status.role;
    if (moved) {
        log_role(c, &was);
    }
    bool lost = was.role == RAFT_LEADER && (!leads || was.term != c->status.term);
    if (lost) {
        watch_disk(c, RAFT_DISK_HUNG_MS - TICK_MS); /* if that is why */
        give_up_waiting(c);
        members_fail(c, ERR_UNKNOWN);
        c->read_round = 0;
    }
    bool tell = !c->told || moved || leading != c->leading;
    c->leading = leading;
    c->told = true;
    show(c);
    members_settle(c);
    if (lost) {
        reads_refuse(&c->reads_asked);
        reads_refuse(&c->reads_new);
    }
    if (tell && !c->broken) {
        struct consensus_status status = consensus_status(c);
        c->options.machine.changed(c->options.machine.owner_ctx, &status);
    }
}

struct consensus_status consensus_status(const struct consensus *c)
{
    struct consensus_status status = {.is_leader = c->leading,
                                      .is_formed = raft_configuration(c->raft)->count > 0,
                                      .term = c->status.term,
                                      .applied = c->applied,
                                      .last = c->status.durable};
    const char *address =
        c->status.leader == c->self ? c->address : members_address(c, c->status.leader);
    if (address) {
        memcpy(status.leader, address, strnlen(address, sizeof(status.leader) - 1));
    }
    return status;
}

/* ---- Proposals ------------------------------------------------------------------------------- */

static void give_refusals(struct consensus *c)
{
    struct list refused = LIST_INIT(refused);
    list_splice_back(&refused, &c->refused);
    while (!list_empty(&refused)) {
        struct proposal *p = LIST_ENTRY(list_pop_front(&refused), struct proposal, link);
        p->done(p, p->refusal, NULL);
    }
}

/* All that one turn of the owner proposed goes together. */
static void turn_over(struct mail *mail)
{
    struct consensus *c = CONTAINER_OF(mail, struct consensus, turn_mail);
    c->turn_posted = false;
    give_refusals(c);
    consensus_propose_next(c);
}

static void post_turn(struct consensus *c)
{
    if (!c->turn_posted) {
        CHECK(mailbox_reserve(c->options.owner) == 0);
        mailbox_post_reserved(c->options.owner, &c->turn_mail);
        c->turn_posted = true;
    }
}

/* Not from within propose: the proposer may not be ready for its own completion yet. */
static void refuse(struct consensus *c, struct proposal *p, int code)
{
    p->refusal = code;
    list_push_back(&c->refused, &p->link);
    post_turn(c);
}

void consensus_propose(struct consensus *c, struct proposal *p)
{
    CHECK(p->bytes.length > 0);
    if (c->closed || !c->leading) {
        refuse(c, p, ERR_NOT_LEADER);
    } else if (p->bytes.length > LOG_ENTRY_BYTES_MAX) {
        refuse(c, p, ERR_TOO_LARGE);
    } else if (c->low_space) {
        refuse(c, p, ERR_NO_SPACE);
    } else if (c->queue_count >= QUEUE_COUNT_MAX ||
               c->queue_bytes + p->bytes.length > 4 * (size_t)LOG_BATCH_BYTES_MAX) {
        refuse(c, p, ERR_BUSY);
    } else {
        list_push_back(&c->queue, &p->link);
        c->queue_count++;
        c->queue_bytes += p->bytes.length;
        if (!c->writing) {
            post_turn(c);
        }
    }
}

/* The first proposals of the queue as entries; returns how many. */
static size_t fill_entries(const struct consensus *c, struct log_entry *entries, size_t room)
{
    size_t count = 0;
    size_t bytes = 0;
    LIST_FOR_EACH(node, &c->queue)
    {
        const struct proposal *p = LIST_ENTRY(node, struct proposal, link);
        if (count == room || (count > 0 && bytes + p->bytes.length > PROPOSE_BYTES_MAX)) {
            break;
        }
        bytes += p->bytes.length;
        entries[count++] = (struct log_entry){.type = LOG_ENTRY_COMMAND, .data = p->bytes};
    }
    return count;
}

/* What raft_step() made of c->proposing; right after it, because the same update may commit them.
 */
static void proposals_settle(struct consensus *c, const struct raft_event *event, int code)
{
    size_t i = 0;
    LIST_FOR_EACH_SAFE(node, &c->proposing)
    {
        struct proposal *p = LIST_ENTRY(node, struct proposal, link);
        if (code == 0) {
            p->index = event->propose.entries[i++].index;
        } else if (code != ERR_BUSY) {
            list_remove(node);
            refuse(c, p, code);
        }
    }
    if (code == 0) {
        list_splice_back(&c->waiting, &c->proposing);
        return;
    }
    while (!list_empty(&c->proposing)) { /* too much is uncommitted, or a successor is chosen */
        struct list *node = list_last(&c->proposing);
        list_remove(node);
        list_push_front(&c->queue, node);
        c->queue_count++;
        c->queue_bytes += LIST_ENTRY(node, struct proposal, link)->bytes.length;
    }
}

/* Group commit: what comes while a flush is in flight shares the next one, on this disk and on the
 * followers'. */
void consensus_propose_next(struct consensus *c)
{
    if (c->writing || c->broken || c->applying >= APPLIES_MAX || list_empty(&c->queue) ||
        c->status.role != RAFT_LEADER) {
        return;
    }
    size_t room = MIN(c->queue_count, (size_t)BATCH_COUNT_MAX);
    struct log_entry *entries = xcalloc(room, sizeof(*entries));
    size_t count = fill_entries(c, entries, room);
    for (size_t i = 0; i < count; i++) {
        struct list *node = list_pop_front(&c->queue);
        list_push_back(&c->proposing, node);
        c->queue_count--;
        c->queue_bytes -= LIST_ENTRY(node, struct proposal, link)->bytes.length;
    }
    struct raft_event event = {.kind = RAFT_PROPOSE,
                               .propose = {.entries = entries, .count = count}};
    (void)consensus_step(c, &event, NULL); /* proposals_settle() has dealt with a refusal */
    free(entries);
}

/* ---- Reads ----------------------------------------------------------------------------------- */

/* Starts the next round, unless one is in flight. Before an entry of this term is committed the
 * library refuses with ERR_BUSY, and the reads wait. */
static void reads_next(struct consensus *c)
{
    int r = 0;
    while (!c->reading && r == 0 && c->read_round == 0 && !list_empty(&c->reads_new)) {
        struct raft_event event = {.kind = RAFT_READ};
        list_splice_back(&c->reads_asked, &c->reads_new);
        c->reading = true;
        r = step(c, &event, NULL);
        c->reading = false;
        if (r == ERR_BUSY) {
            list_splice_back(&c->reads_new, &c->reads_asked);
        } else if (r < 0) {
            reads_refuse(&c->reads_asked);
        } else if (c->gauges.read_rounds) {
            counter_add(c->gauges.read_rounds, 1);
        }
    }
}

/* Reads whose round is confirmed and whose state is there. */
static void reads_answer(struct consensus *c)
{
    if (c->read_round > 0 && c->read_done >= c->read_round) {
        c->read_round = 0;
        c->reads_index = c->read_index;
        list_splice_back(&c->reads_applied, &c->reads_asked);
    }
    while (!list_empty(&c->reads_applied) && c->applied >= c->reads_index) {
        struct read_index *r =
            LIST_ENTRY(list_pop_front(&c->reads_applied), struct read_index, link);
        r->done(r, 0);
    }
}

void consensus_reads_settle(struct consensus *c)
{
    reads_answer(c);
    reads_next(c);
}

void consensus_read_index(struct consensus *c, struct read_index *r)
{
    if (c->closed || c->broken || c->status.role != RAFT_LEADER) {
        r->done(r, ERR_NOT_LEADER);
        return;
    }
    list_push_back(&c->reads_new, &r->link);
    reads_next(c);
}

/* ---- Ticks ----------------------------------------------------------------------------------- */

/* After a close: quiet once somebody else leads and nothing is owed, or after a while. */
static void close_next(struct consensus *c, time_ms now)
{
    bool owes = !list_empty(&c->waiting) || !list_empty(&c->queue);
    bool leads =
        c->status.role == RAFT_LEADER && raft_config_voter_count(raft_configuration(c->raft)) > 1;
    if (!c->closed || c->quiet || ((owes || leads) && now < c->close_by_ms && !c->broken)) {
        return;
    }
    c->quiet = true;
    give_up_waiting(c);
    members_fail(c, ERR_UNKNOWN);
    reads_refuse(&c->reads_new);
    reads_refuse(&c->reads_asked);
    reads_refuse(&c->reads_applied);
    if (c->options.transport) {
        raft_transport_attach(c->options.transport, NULL);
        raft_transport_close(c->options.transport);
    }
}

void consensus_tick(struct consensus *c, time_ms now)
{
    close_next(c, now);
    if (c->broken || c->quiet) {
        return;
    }
    if (c->form == FORM_NONE && now >= raft_next_ms(c->raft)) {
        struct raft_event event = {.kind = RAFT_TICK};
        struct err e = ERR_INIT;
        if (consensus_step(c, &event, &e) < 0) {
            consensus_fail(c, &e);
            return;
        }
    }
    if (now < c->ticked_ms + TICK_MS) {
        return;
    }
    c->ticked_ms = now;
    form_tick(c, now);
    watch_disk(c, RAFT_DISK_HUNG_MS);
    members_tick(c, now);
    snapshots_tick(c, now);
    apply_tick(c, now);
    consensus_propose_next(c);
    consensus_reads_settle(c);
}

time_ms consensus_next_ms(const struct consensus *c)
{
    time_ms next = c->ticked_ms + TICK_MS;
    return c->quiet || c->broken || c->form != FORM_NONE ? next : MIN(next, raft_next_ms(c->raft));
}

/* ---- Life ------------------------------------------------------------------------------------ */

static struct raft_options raft_options_of(const struct consensus *c)
{
    return (struct raft_options){
        .self = c->self,
        .seed = rng_entropy_u64(),
        .now_ms = clock_mono_ms(),
        .applied = c->options.position.index,
        .config = c->options.position.config,
        .config_index = c->options.position.config_index,
        .heartbeat_ms = c->options.heartbeat_ms,
        .election_ms = c->options.election_ms,
        .piece_bytes = SNAPSHOT_PIECE_BYTES,
    };
}

static void trace(void *arg, const char *line)
{
    (void)arg;
    log_debug("raft", "%s", line);
}

int consensus_raft_new(struct consensus *c, struct err *e)
{
    struct raft_options options = raft_options_of(c);
    log_index last = log_store_last(c->log);
    struct log_read read;
    options.hard = log_store_hard(c->log);
    options.start_index = log_store_start(c->log);
    CHECK(log_store_term(c->log, options.start_index, &options.start_term) == 0);
    int r = raft_new(&options, &c->raft, e);
    if (r == 0) {
        raft_trace(c->raft, trace, NULL);
    }
    log_read_init(&read);
    for (log_index at = options.start_index; r >= 0 && at < last;) {
        r = log_store_read(c->log, at + 1, last + 1, FETCH_BYTES, &read, e);
        for (size_t i = 0; r >= 0 && i < read.count; i++) {
            r = raft_restore(c->raft, &read.entries[i], e);
            at = read.entries[i].index;
        }
    }
    log_read_deinit(&read);
    c->log_start = options.start_index;
    return r < 0 ? r : 0;
}

int consensus_raft_reborn(struct consensus *c, const struct log_hard_state *hard,
                          const struct log_entry *entry, struct err *e)
{
    struct raft_options options = raft_options_of(c);
    struct raft *raft = NULL;
    options.hard = *hard;
    options.founder = true;
    int r = raft_new(&options, &raft, e);
    if (r == 0) {
        raft_free(c->raft);
        c->raft = raft;
        raft_trace(c->raft, trace, NULL);
        r = raft_restore(c->raft, entry, e);
    }
    entry_cache_restart(&c->cache, entry->index + 1);
    return r;
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
        .batches = metrics_counter(m, "fsmaster_log_groups_total", NULL, "Groups applied."),
        .flushes = metrics_counter(m, "fsmaster_log_flushes_total", NULL, "Syncs of the log."),
        .bytes = metrics_counter(m, "fsmaster_log_bytes_total", NULL, "Bytes of entries applied."),
        .elections = metrics_counter(m, "fsmaster_raft_elections_total", NULL,
                                     "Times that this member stood for election."),
        .read_rounds = metrics_counter(m, "fsmaster_raft_read_rounds_total", NULL,
                                       "Rounds of read index, each for many reads."),
        .queued = metrics_gauge(m, "fsmaster_proposals_queued", NULL,
                                "Proposals that wait for the flush in flight."),
        .commit = metrics_gauge(m, "fsmaster_raft_commit", NULL, "Commit index."),
        .applied = metrics_gauge(m, "fsmaster_raft_applied", NULL, "Applied index."),
        .log_bytes_cached = metrics_gauge(m, "fsmaster_raft_cache_bytes", NULL,
                                          "Newest entries of the log in memory."),
    };
}

static int compare_peers(const void *a, const void *b)
{
    const struct consensus_peer *left = a;
    const struct consensus_peer *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

static struct consensus *consensus_new(const struct consensus_options *options)
{
    struct consensus *c = xcalloc(1, sizeof(*c));
    c->options = *options;
    c->options.directory = c->directory = xstrdup(options->directory);
    c->options.scratch = NULL; /* snapshots_init() takes what it needs */
    c->options.address = c->address;
    c->applied = c->given = c->commit = options->position.index;
    c->applied_term = options->position.term;
    c->cluster = options->cluster;
    c->self = raft_key_of(options->key);
    c->turn_mail.handle = turn_over;
    struct list *lists[] = {&c->queue,     &c->proposing,   &c->waiting,       &c->refused,
                            &c->reads_new, &c->reads_asked, &c->reads_applied, &c->changes};
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        list_init(lists[i]);
    }
    memcpy(c->address, options->address, strnlen(options->address, sizeof(c->address) - 1));
    c->peers = xcalloc(options->peer_count + 1, sizeof(*c->peers));
    if (options->peer_count > 0) {
        memcpy(c->peers, options->peers, options->peer_count * sizeof(*c->peers));
        qsort(c->peers, options->peer_count, sizeof(*c->peers), compare_peers);
    }
    c->options.peers = c->peers;
    return c;
}

static void consensus_release(struct consensus *c)
{
    workpool_free(c->log_pool);
    workpool_free(c->apply_pool);
    snapshots_free(c);
    form_free(c);
    free(c->directory);
    raft_free(c->raft);
    log_free(c);
    free(c->peers);
    free(c);
}

int consensus_start(const struct consensus_options *options, struct consensus **ret_consensus,
                    struct err *e)
{
    struct consensus *c = consensus_new(options);
    int r = snapshots_init(c, options->scratch, e);
    r = r < 0 ? r : log_open(c, e);
    r = r < 0 ? r : form_start(c, e);
    r = r < 0 ? r : consensus_raft_new(c, e);
    if (r < 0) {
        consensus_release(c);
        return r;
    }
    entry_cache_init(&c->cache, log_store_last(c->log) + 1);
    c->status = raft_status(c->raft);
    c->log_pool = workpool_new("log", 1, 64);
    c->apply_pool = workpool_new("apply", 1, 64);
    make_gauges(c, options->metrics);
    if (options->transport) {
        struct raft_receiver receiver = {c, received, unreachable};
        raft_transport_set_cluster(options->transport, c->cluster);
        raft_transport_attach(options->transport, &receiver);
        members_follow(c);
    }
    *ret_consensus = c;
    return 0;
}

void consensus_close(struct consensus *c)
{
    if (c->closed) {
        return;
    }
    time_ms now = clock_mono_ms();
    c->closed = true;
    c->close_by_ms = now + RAFT_HAND_OVER_MS;
    if (c->status.role == RAFT_LEADER && raft_config_voter_count(raft_configuration(c->raft)) > 1) {
        struct err e = ERR_INIT;
        if (consensus_transfer(c, 0, &e) < 0) {
            log_info("raft", "nobody to hand over to: %s", err_message(&e));
        }
    }
    close_next(c, now);
}

bool consensus_hands_over(const struct consensus *c)
{
    return c->closed && !c->quiet;
}

bool consensus_idle(const struct consensus *c)
{
    return c->closed && c->quiet && !c->writing && (!c->pending || c->broken) && c->jobs == 0 &&
           c->applying == 0 && list_empty(&c->refused) && !c->turn_posted && !c->persist.busy &&
           form_idle(c) && snapshots_idle(c) &&
           (!c->options.transport || raft_transport_idle(c->options.transport));
}

void consensus_free(struct consensus *c)
{
    if (!c) {
        return;
    }
    CHECK(consensus_idle(c));
    log_index persisted = 0;
    if (!c->broken && c->applied > 0) {
        /* Only saves the next start its replay; a failure loses nothing. */
        (void)c->options.machine.persist(c->options.machine.ctx, &persisted, NULL);
    }
    consensus_release(c);
}
