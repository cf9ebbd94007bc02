/* See raft_cluster.h: time, the network, and the verbs of tests. */
#include "tests/lib/raft_cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/hash.h"
#include "common/macros.h"
#include "tests/lib/raft_cluster_internal.h"

/* ---- life ---- */

static struct raft_member membership_of(const struct member *m)
{
    struct raft_member out = {.key = m->key, .id = m->id, .voter = true};
    for (size_t i = 0; i < sizeof(m->key); i++) {
        out.directory.bytes[i] = (uint8_t)(m->key >> (8 * i));
    }
    (void)snprintf(out.address, sizeof(out.address), "member%" PRIu64 ":1", m->id);
    return out;
}

/* Entry 1 is the configuration, as the founder of a cluster writes it. */
static void found(struct raft_cluster *c)
{
    struct raft_config config = {0};
    struct buf bytes = BUF_INIT;
    for (size_t i = 0; i < c->options.voters; i++) {
        config.members[config.count++] = membership_of(&c->members[i]);
    }
    raft_config_encode(&config, &bytes);
    struct log_entry first = {1, 1, LOG_ENTRY_CONFIG, {bytes.data, bytes.length}};
    for (size_t i = 0; i < c->options.voters; i++) {
        image_append(&c->members[i].disk, &first);
        c->members[i].disk_hard.term = 1;
    }
    buf_deinit(&bytes);
}

struct raft_cluster *cluster_new(const struct cluster_options *options)
{
    struct raft_cluster *c = xcalloc(1, sizeof(*c));
    c->options = *options;
    c->now_ms = 1000;
    c->member_count = options->voters + options->learners;
    CHECK(c->member_count <= CLUSTER_MEMBER_COUNT_MAX);
    rng_seed(&c->rng, options->seed);
    buf_init(&c->transcript);
    for (size_t i = 0; i < c->member_count; i++) {
        struct member *m = &c->members[i];
        *m = (struct member){.cluster = c, .key = i + 1, .id = i + 1, .connected = true};
        buf_init(&m->snapshot);
        buf_init(&m->incoming);
    }
    found(c);
    for (size_t i = 0; i < c->member_count; i++) {
        member_start(c, &c->members[i]);
    }
    return c;
}

void cluster_free(struct raft_cluster *c)
{
    for (size_t i = 0; i < c->member_count; i++) {
        member_deinit(&c->members[i]);
    }
    for (size_t i = 0; i < c->queue_count; i++) {
        message_deinit(&c->queue[i].message);
    }
    free(c->queue);
    free(c->history);
    free(c->commands);
    free(c->terms);
    buf_deinit(&c->transcript);
    free(c);
}

struct member *member_of(struct raft_cluster *c, uint64_t id)
{
    CHECK(id >= 1);
    CHECK(id <= c->member_count);
    return &c->members[id - 1];
}

static struct member *member_by_key(struct raft_cluster *c, raft_key key)
{
    for (size_t i = 0; i < c->member_count; i++) {
        if (c->members[i].key == key) {
            return &c->members[i];
        }
    }
    return NULL;
}

/* ---- transcript ---- */

void cluster_say(struct raft_cluster *c, const struct member *m, const char *line)
{
    buf_printf(&c->transcript, "%6" PRIu64 "  %" PRIu64 " %s\n", c->now_ms - 1000, m->id, line);
}

static void describe(const struct raft_message *m, struct buf *out)
{
    switch (m->kind) {
    case RAFT_APPEND:
        buf_printf(out, "append after %" PRIu64 "/%" PRIu64 ": %zu, commit %" PRIu64,
                   m->append.prev_index, m->append.prev_term, m->append.count, m->append.commit);
        break;
    case RAFT_APPEND_REPLY:
        if (m->append_reply.ok) {
            buf_printf(out, "match %" PRIu64, m->append_reply.match);
        } else {
            buf_printf(out, "not after %" PRIu64 ", try %" PRIu64 "/%" PRIu64,
                       m->append_reply.prev_index, m->append_reply.hint_index,
                       m->append_reply.hint_term);
        }
        break;
    case RAFT_VOTE:
        buf_printf(out, "%s, last %" PRIu64 "/%" PRIu64 "%s", m->vote.pre ? "pre-vote" : "vote",
                   m->vote.last_index, m->vote.last_term, m->vote.transfer ? ", transfer" : "");
        break;
    case RAFT_VOTE_REPLY:
        buf_printf(out, "%s%s", m->vote_reply.pre ? "pre-vote " : "vote ",
                   m->vote_reply.granted ? "granted" : "refused");
        break;
    case RAFT_SNAPSHOT:
        buf_printf(out, "snapshot %" PRIu64 "/%" PRIu64 ": %zu of %" PRIu64 " at %" PRIu64,
                   m->snapshot.index, m->snapshot.last_term, m->snapshot.data.length,
                   m->snapshot.bytes, m->snapshot.offset);
        break;
    case RAFT_SNAPSHOT_REPLY:
        buf_printf(out, "snapshot %" PRIu64 " %s, has %" PRIu64, m->snapshot_reply.index,
                   m->snapshot_reply.installed ? "installed"
                   : m->snapshot_reply.refused ? "refused"
                                               : "goes on",
                   m->snapshot_reply.offset);
        break;
    case RAFT_TIMEOUT_NOW:
        buf_append_str(out, "campaign now");
        break;
    }
}

static void say_message(struct raft_cluster *c, const struct member *from, const struct member *to,
                        const struct raft_message *m, const char *fate)
{
    if (!c->options.tell_messages) {
        return;
    }
    struct buf line = BUF_INIT;
    buf_printf(&line, "-> %" PRIu64 " term %" PRIu64 " ", to->id, m->term);
    describe(m, &line);
    buf_append_str(&line, fate);
    cluster_say(c, from, line.data);
    buf_deinit(&line);
}

const char *cluster_transcript(const struct raft_cluster *c)
{
    return c->transcript.data;
}

void cluster_transcript_clear(struct raft_cluster *c)
{
    buf_clear(&c->transcript);
}

/* ---- network ---- */

void schedule(struct raft_cluster *c, struct happening happening)
{
    if (c->queue_count == c->queue_capacity) {
        c->queue_capacity = c->queue_capacity ? 2 * c->queue_capacity : 64;
        c->queue = xreallocarray(c->queue, c->queue_capacity, sizeof(happening));
    }
    happening.order = c->order++;
    c->queue[c->queue_count++] = happening;
}

static struct raft_message message_copy(const struct raft_message *from)
{
    struct raft_message out = *from;
    if (out.kind == RAFT_APPEND && out.append.count > 0) {
        struct image entries = {.start = out.append.prev_index};
        for (size_t i = 0; i < out.append.count; i++) {
            image_append(&entries, &from->append.entries[i]);
        }
        out.append.entries = entries.entries;
    } else if (out.kind == RAFT_SNAPSHOT && out.snapshot.data.length > 0) {
        out.snapshot.data.data = xmemdup(from->snapshot.data.data, from->snapshot.data.length);
    }
    return out;
}

static bool is_answer(const struct raft_message *m)
{
    return m->kind == RAFT_APPEND_REPLY || m->kind == RAFT_VOTE_REPLY ||
           m->kind == RAFT_SNAPSHOT_REPLY;
}

static bool is_lost(struct raft_cluster *c, const struct member *from, const struct member *to,
                    const struct raft_message *m)
{
    return !from->connected || !to->connected || c->cut[from->id - 1][to->id - 1] ||
           rng_below(&c->rng, 100) < c->options.loss_percent ||
           (c->filter != NULL && !c->filter(c->filter_arg, m));
}

static void deliver_later(struct raft_cluster *c, const struct member *from,
                          const struct member *to, const struct raft_message *m)
{
    time_ms at = c->now_ms + rng_range(&c->rng, c->options.delay_ms_min, c->options.delay_ms_max);
    time_ms *last = &c->link_ms[from->id - 1][to->id - 1];
    if (c->options.long_delay && is_answer(m) && rng_below(&c->rng, 3) > 0) {
        at += 200 + rng_below(&c->rng, 1 + rng_below(&c->rng, 2000));
    } else if (!c->options.long_delay) {
        at = MAX(at, *last); /* one stream */
        *last = at;
    }
    schedule(c, (struct happening){.at_ms = at,
                                   .kind = HAPPENING_MESSAGE,
                                   .to = (size_t)to->id - 1,
                                   .life = to->life,
                                   .message = message_copy(m)});
}

static void count_request(struct raft_cluster *c, const struct raft_message *m)
{
    c->stats.requests++;
    for (size_t i = 0; m->kind == RAFT_APPEND && i < m->append.count; i++) {
        c->stats.bytes += m->append.entries[i].data.length;
    }
}

void network_send(struct raft_cluster *c, struct member *from, const struct raft_message *m)
{
    struct member *to = member_by_key(c, m->to);
    if (to == NULL) {
        return; /* one that was wiped */
    }
    if (!is_answer(m)) {
        count_request(c, m);
    }
    bool lost = is_lost(c, from, to, m);
    say_message(c, from, to, m, lost ? " (lost)" : "");
    if (lost) {
        return;
    }
    deliver_later(c, from, to, m);
    if (rng_below(&c->rng, 100) < c->options.double_percent) {
        deliver_later(c, from, to, m);
    }
}

/* ---- time ---- */

static size_t earliest(const struct raft_cluster *c)
{
    size_t best = 0;
    for (size_t i = 1; i < c->queue_count; i++) {
        const struct happening *a = &c->queue[i];
        const struct happening *b = &c->queue[best];
        if (a->at_ms < b->at_ms || (a->at_ms == b->at_ms && a->order < b->order)) {
            best = i;
        }
    }
    return best;
}

static void happen(struct raft_cluster *c, struct happening *h)
{
    struct member *m = &c->members[h->to];
    struct raft_update update;
    if (m->raft != NULL && m->life == h->life) {
        if (h->kind == HAPPENING_EVENT) {
            member_event(c, m, &h->event);
        } else if (m->connected) {
            struct raft_event event = {.kind = RAFT_RECEIVE, .message = &h->message};
            int r = member_step(c, m, &event, &update);
            CHECK(r == 0);
        }
    }
    message_deinit(&h->message);
}

/* Does one thing that is due by now; false: there is none. */
static bool step_once(struct raft_cluster *c)
{
    struct raft_event event = {.kind = RAFT_TICK};
    struct raft_update update;
    size_t at = earliest(c);
    if (c->queue_count > 0 && c->queue[at].at_ms <= c->now_ms) {
        struct happening h = c->queue[at];
        c->queue[at] = c->queue[--c->queue_count];
        happen(c, &h);
        return true;
    }
    for (size_t i = 0; i < c->member_count; i++) {
        if (member_disk_done(c, &c->members[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < c->member_count; i++) {
        struct member *m = &c->members[i];
        if (m->raft != NULL && raft_next_ms(m->raft) <= c->now_ms) {
            int r = member_step(c, m, &event, &update);
            CHECK(r == 0);
            CHECK(raft_next_ms(m->raft) > c->now_ms); /* or it would never let time go on */
            return true;
        }
    }
    return false;
}

static time_ms next_ms(const struct raft_cluster *c)
{
    time_ms next = c->queue_count > 0 ? c->queue[earliest(c)].at_ms : UINT64_MAX;
    for (size_t i = 0; i < c->member_count; i++) {
        next = MIN(next, member_next_ms(&c->members[i]));
    }
    return next;
}

time_ms cluster_now(const struct raft_cluster *c)
{
    return c->now_ms - 1000;
}

void cluster_settle(struct raft_cluster *c)
{
    while (step_once(c)) {
    }
}

static void advance(struct raft_cluster *c, time_ms until)
{
    cluster_settle(c);
    c->now_ms = MIN(until, MAX(c->now_ms, next_ms(c)));
}

void cluster_run(struct raft_cluster *c, time_ms ms)
{
    time_ms until = c->now_ms + ms;
    while (c->now_ms < until) {
        advance(c, until);
    }
    cluster_settle(c);
}

uint64_t cluster_leader(struct raft_cluster *c)
{
    const struct member *best = NULL;
    for (size_t i = 0; i < c->member_count; i++) {
        const struct member *m = &c->members[i];
        if (m->raft != NULL && m->connected && m->status.role == RAFT_LEADER &&
            (best == NULL || m->status.term > best->status.term)) {
            best = m;
        }
    }
    return best != NULL ? best->id : 0;
}

size_t cluster_leader_count(struct raft_cluster *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->member_count; i++) {
        const struct member *m = &c->members[i];
        count += m->raft != NULL && m->connected && m->status.role == RAFT_LEADER;
    }
    return count;
}

static bool is_settled(struct raft_cluster *c, uint64_t leader)
{
    const struct member *l = member_of(c, leader);
    const struct raft_config *config = raft_configuration(l->raft);
    size_t following = 0;
    for (size_t i = 0; i < c->member_count; i++) {
        const struct member *m = &c->members[i];
        if (m->raft == NULL || !m->connected || !raft_config_is_voter(config, m->key)) {
            continue;
        }
        if (m->status.leader != l->key || m->status.term != l->status.term) {
            return false;
        }
        following++;
    }
    return l->status.readable && following >= raft_config_quorum(config);
}

uint64_t cluster_await_leader(struct raft_cluster *c, time_ms ms)
{
    time_ms until = c->now_ms + ms;
    for (;;) {
        uint64_t leader = cluster_leader(c);
        if (leader != 0 && is_settled(c, leader)) {
            return leader;
        }
        if (c->now_ms >= until) {
            return 0;
        }
        advance(c, until);
    }
}

/* ---- faults ---- */

void cluster_disconnect(struct raft_cluster *c, uint64_t id)
{
    member_of(c, id)->connected = false;
}

void cluster_connect(struct raft_cluster *c, uint64_t id)
{
    member_of(c, id)->connected = true;
}

void cluster_cut(struct raft_cluster *c, uint64_t from, uint64_t to)
{
    c->cut[from - 1][to - 1] = true;
}

void cluster_heal(struct raft_cluster *c)
{
    memset(c->cut, 0, sizeof(c->cut));
    for (size_t i = 0; i < c->member_count; i++) {
        c->members[i].connected = true;
    }
}

/* Of what was being written some first part may have got to the disk. */
void cluster_crash(struct raft_cluster *c, uint64_t id)
{
    struct member *m = member_of(c, id);
    if (m->raft == NULL) {
        return;
    }
    size_t kept = rng_below(&c->rng, m->write_count + 1);
    for (size_t i = 0; i < kept && !m->writes[i].install; i++) {
        const struct disk_write *w = &m->writes[i];
        m->disk_hard = w->has_hard ? w->hard : m->disk_hard;
        if (w->truncate > 0) {
            image_truncate(&m->disk, w->truncate);
        }
        for (size_t j = 0; j < w->count; j++) {
            image_append(&m->disk, &w->entries[j]);
        }
    }
    cluster_say(c, m, "crashes");
    member_stop(m);
}

void cluster_restart(struct raft_cluster *c, uint64_t id)
{
    struct member *m = member_of(c, id);
    if (m->raft == NULL) {
        cluster_say(c, m, "starts");
        member_start(c, m);
    }
}

void cluster_wipe(struct raft_cluster *c, uint64_t id)
{
    struct member *m = member_of(c, id);
    cluster_crash(c, id);
    image_deinit(&m->disk);
    m->disk_hard = (struct log_hard_state){0};
    m->saved = (struct machine){0};
    m->key += 100; /* a new directory, a new key */
}

void cluster_hang_disk(struct raft_cluster *c, uint64_t id, bool hung)
{
    member_of(c, id)->hung = hung;
}

void cluster_lossy(struct raft_cluster *c, uint32_t percent, bool long_delay)
{
    c->options.loss_percent = percent;
    c->options.long_delay = long_delay;
}

bool cluster_is_connected(const struct raft_cluster *c, uint64_t id)
{
    return c->members[id - 1].connected;
}

bool cluster_is_running(const struct raft_cluster *c, uint64_t id)
{
    return c->members[id - 1].raft != NULL;
}

void cluster_filter(struct raft_cluster *c, cluster_filter_fn fn, void *arg)
{
    c->filter = fn;
    c->filter_arg = arg;
}

/* ---- work ---- */

struct raft *cluster_raft(struct raft_cluster *c, uint64_t id)
{
    return member_of(c, id)->raft;
}

int cluster_step(struct raft_cluster *c, uint64_t id, struct raft_event *event,
                 struct raft_update *ret_update)
{
    return member_step(c, member_of(c, id), event, ret_update);
}

int cluster_propose_bytes(struct raft_cluster *c, uint64_t id, struct span command,
                          log_index *ret_index)
{
    struct log_entry entry = {.type = LOG_ENTRY_COMMAND, .data = command};
    struct raft_event event = {.kind = RAFT_PROPOSE, .propose = {&entry, 1}};
    struct raft_update update;
    int r = cluster_step(c, id, &event, &update);
    if (r == 0 && ret_index != NULL) {
        *ret_index = entry.index;
    }
    return r;
}

int cluster_propose(struct raft_cluster *c, uint64_t id, const char *command, log_index *ret_index)
{
    return cluster_propose_bytes(c, id, (struct span){command, strlen(command)}, ret_index);
}

static bool applied_as(const struct raft_cluster *c, log_index index, const char *command)
{
    return index >= 1 && index <= c->history_count &&
           c->commands[index - 1] == hash_bytes(command, strlen(command), 1);
}

log_index cluster_one(struct raft_cluster *c, const char *command, size_t count)
{
    time_ms until = c->now_ms + 10 * 1000;
    while (c->now_ms < until) {
        log_index index = 0;
        uint64_t leader = cluster_leader(c);
        if (leader != 0 && cluster_propose(c, leader, command, &index) == 0) {
            time_ms patience = c->now_ms + 2000; /* then it may have been lost with its leader */
            while (c->now_ms < patience) {
                if (cluster_applied_count(c, index) >= count && applied_as(c, index, command)) {
                    return index;
                }
                advance(c, patience);
            }
        }
        cluster_run(c, 50);
    }
    (void)fprintf(stderr, "%s", c->transcript.data);
    CHECK(!"no agreement within 10 s");
    return 0;
}

int cluster_change(struct raft_cluster *c, uint64_t id, enum raft_change change, uint64_t member)
{
    struct raft_event event = {.kind = RAFT_CHANGE};
    struct raft_update update;
    event.change.change = change;
    event.change.member = membership_of(member_of(c, member));
    return cluster_step(c, id, &event, &update);
}

int cluster_transfer(struct raft_cluster *c, uint64_t id, uint64_t to)
{
    struct raft_event event = {.kind = RAFT_TRANSFER};
    struct raft_update update;
    event.peer = to != 0 ? member_of(c, to)->key : 0;
    return cluster_step(c, id, &event, &update);
}

int cluster_read(struct raft_cluster *c, uint64_t id)
{
    struct raft_event event = {.kind = RAFT_READ};
    struct raft_update update;
    return cluster_step(c, id, &event, &update);
}

/* ---- looking ---- */

log_index cluster_applied(const struct raft_cluster *c, uint64_t id)
{
    return c->members[id - 1].machine.applied;
}

size_t cluster_applied_count(const struct raft_cluster *c, log_index index)
{
    size_t count = 0;
    for (size_t i = 0; i < c->member_count; i++) {
        count += c->members[i].raft != NULL && c->members[i].machine.applied >= index;
    }
    return count;
}

log_index cluster_committed(const struct raft_cluster *c)
{
    return c->history_count;
}

bool cluster_is_committed(const struct raft_cluster *c, const char *command, size_t times)
{
    size_t found = 0;
    for (log_index i = 1; i <= c->history_count; i++) {
        found += applied_as(c, i, command);
    }
    return found == times;
}

uint64_t cluster_log_bytes(const struct raft_cluster *c, uint64_t id)
{
    const struct image *disk = &c->members[id - 1].disk;
    uint64_t bytes = 0;
    for (size_t i = 0; i < disk->count; i++) {
        bytes += RAFT_ENTRY_OVERHEAD_BYTES + disk->entries[i].data.length;
    }
    return bytes;
}

term_no cluster_term(struct raft_cluster *c, uint64_t id)
{
    return member_of(c, id)->status.term;
}

struct cluster_stats cluster_stats(const struct raft_cluster *c)
{
    return c->stats;
}
