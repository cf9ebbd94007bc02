/* See raft_lone.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/lib/raft_lone.h"

struct raft_member lone_member(uint64_t id)
{
    struct raft_member m = {.key = id, .id = id, .voter = true};
    m.directory.bytes[0] = (uint8_t)id;
    (void)snprintf(m.address, sizeof(m.address), "member%u:1", (unsigned)id);
    return m;
}

static void restore(struct lone *l, const char *terms)
{
    struct log_entry entry = {
        1, 1, LOG_ENTRY_CONFIG, {l->config_bytes.data, l->config_bytes.length}};
    assert_int_equal(raft_restore(l->r, &entry, NULL), 0);
    for (; terms != NULL && *terms != 0; terms++) {
        entry = (struct log_entry){
            entry.index + 1, (term_no)(*terms - '0'), LOG_ENTRY_COMMAND, {"x", 1}};
        assert_int_equal(raft_restore(l->r, &entry, NULL), 0);
    }
}

void lone_init(struct lone *l, const struct lone_options *options)
{
    struct raft_options o = options->raft;
    *l = (struct lone){.now_ms = 10 * 1000};
    buf_init(&l->config_bytes);
    for (uint64_t id = 1; id <= options->voters; id++) {
        l->config.members[l->config.count] = lone_member(id);
        l->config.members[l->config.count++].voter = id > 1 || !options->learner;
    }
    o.self = 1;
    o.seed = 1;
    o.now_ms = l->now_ms;
    o.hard = (struct log_hard_state){MAX(options->term, 1), options->vote};
    o.election_ms = LONE_ELECTION_MS;
    o.heartbeat_ms = LONE_HEARTBEAT_MS;
    o.disk_hung_ms = o.disk_hung_ms > 0 ? o.disk_hung_ms : 60 * 1000;
    assert_int_equal(raft_new(&o, &l->r, NULL), 0);
    if (options->voters > 0) {
        raft_config_encode(&l->config, &l->config_bytes);
        restore(l, options->terms);
    }
}

void lone_deinit(struct lone *l)
{
    raft_free(l->r);
    buf_deinit(&l->config_bytes);
}

int lone_step(struct lone *l, struct raft_event *event)
{
    event->now_ms = l->now_ms;
    int code = raft_step(l->r, event, &l->u, NULL);
    l->seq = l->u.write.seq > 0 ? l->u.write.seq : l->seq;
    return code;
}

int lone_receive(struct lone *l, struct raft_message *m)
{
    struct raft_event event = {.kind = RAFT_RECEIVE, .message = m};
    m->to = 1;
    return lone_step(l, &event);
}

void lone_tick(struct lone *l, time_ms ms)
{
    struct raft_event event = {.kind = RAFT_TICK};
    l->now_ms += ms;
    assert_int_equal(lone_step(l, &event), 0);
}

void lone_written(struct lone *l)
{
    struct raft_event event = {.kind = RAFT_WRITTEN, .written.seq = l->seq};
    assert_int_equal(lone_step(l, &event), 0);
}

int lone_propose(struct lone *l, const char *command)
{
    struct log_entry entry = {.type = LOG_ENTRY_COMMAND, .data = {command, strlen(command)}};
    struct raft_event event = {.kind = RAFT_PROPOSE, .propose = {&entry, 1}};
    return lone_step(l, &event);
}

int lone_append(struct lone *l, raft_key from, term_no term, struct lone_place prev,
                const char *terms, log_index commit)
{
    struct log_entry entries[LONE_ENTRY_COUNT_MAX];
    struct raft_message m = {.kind = RAFT_APPEND, .from = from, .term = term};
    size_t count = strlen(terms);
    assert_true(count <= LONE_ENTRY_COUNT_MAX);
    for (size_t i = 0; i < count; i++) {
        entries[i] = (struct log_entry){
            prev.index + 1 + i, (term_no)(terms[i] - '0'), LOG_ENTRY_COMMAND, {"y", 1}};
    }
    m.append = (struct raft_append){prev.index, prev.term, commit, 0, count, entries};
    return lone_receive(l, &m);
}

static int ask_for_vote(struct lone *l, struct raft_message m, struct raft_vote vote)
{
    m.kind = RAFT_VOTE;
    m.vote = vote;
    return lone_receive(l, &m);
}

int lone_vote(struct lone *l, raft_key from, term_no term, log_index last, term_no last_term)
{
    return ask_for_vote(l, (struct raft_message){.from = from, .term = term},
                        (struct raft_vote){.last_index = last, .last_term = last_term});
}

int lone_pre_vote(struct lone *l, raft_key from, term_no term, log_index last, term_no last_term)
{
    return ask_for_vote(
        l, (struct raft_message){.from = from, .term = term},
        (struct raft_vote){.last_index = last, .last_term = last_term, .pre = true});
}

int lone_accept_round(struct lone *l, raft_key from, log_index match, uint64_t round)
{
    struct raft_message m = {.kind = RAFT_APPEND_REPLY, .from = from, .term = lone_status(l).term};
    m.append_reply =
        (struct raft_append_reply){.ok = true, .match = match, .prev_index = match, .round = round};
    return lone_receive(l, &m);
}

int lone_accept(struct lone *l, raft_key from, log_index match)
{
    return lone_accept_round(l, from, match, 0);
}

int lone_refuse(struct lone *l, raft_key from, log_index prev, log_index hint, term_no hint_term)
{
    struct raft_message m = {.kind = RAFT_APPEND_REPLY, .from = from, .term = lone_status(l).term};
    m.append_reply =
        (struct raft_append_reply){.prev_index = prev, .hint_index = hint, .hint_term = hint_term};
    return lone_receive(l, &m);
}

int lone_change(struct lone *l, enum raft_change change, uint64_t id)
{
    struct raft_event event = {.kind = RAFT_CHANGE};
    event.change.change = change;
    event.change.member = lone_member(id);
    return lone_step(l, &event);
}

int lone_read(struct lone *l)
{
    struct raft_event event = {.kind = RAFT_READ};
    return lone_step(l, &event);
}

/* ---- leading ---- */

static void votes_from_all(struct lone *l, bool pre)
{
    for (size_t i = 0; i < l->config.count; i++) {
        if (l->config.members[i].key != 1 && l->config.members[i].voter) {
            struct raft_message m = {.kind = RAFT_VOTE_REPLY,
                                     .from = l->config.members[i].key,
                                     .term = lone_status(l).term + (pre ? 1 : 0)};
            m.vote_reply = (struct raft_vote_reply){.granted = true, .pre = pre};
            assert_int_equal(lone_receive(l, &m), 0);
            if (lone_status(l).role != (pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE)) {
                return;
            }
        }
    }
}

void lone_win(struct lone *l)
{
    lone_tick(l, 2 * LONE_ELECTION_MS);
    if (l->config.count > 1) {
        assert_int_equal(lone_status(l).role, RAFT_PRE_CANDIDATE);
        votes_from_all(l, true);
    }
    assert_int_equal(lone_status(l).role, RAFT_CANDIDATE);
    lone_written(l); /* its own vote */
    if (l->config.count > 1) {
        votes_from_all(l, false);
    }
    assert_int_equal(lone_status(l).role, RAFT_LEADER);
}

void lone_lead(struct lone *l)
{
    lone_win(l);
    lone_written(l);
    for (size_t i = 0; i < l->config.count; i++) {
        if (l->config.members[i].key != 1) {
            assert_int_equal(lone_accept(l, l->config.members[i].key, lone_status(l).last), 0);
        }
    }
    assert_true(lone_status(l).readable);
}

/* ---- looking ---- */

static const struct raft_message *find(const struct raft_message *list, size_t count,
                                       enum raft_message_kind kind, raft_key to)
{
    const struct raft_message *found = NULL;
    for (size_t i = 0; i < count; i++) {
        if (list[i].kind == kind && list[i].to == to) {
            assert_null(found);
            found = &list[i];
        }
    }
    return found;
}

const struct raft_message *lone_sent(const struct lone *l, enum raft_message_kind kind, raft_key to)
{
    return find(l->u.send, l->u.send_count, kind, to);
}

const struct raft_message *lone_held(const struct lone *l, enum raft_message_kind kind, raft_key to)
{
    return find(l->u.send_after, l->u.send_after_count, kind, to);
}

size_t lone_sent_count(const struct lone *l, enum raft_message_kind kind, raft_key to)
{
    size_t count = 0;
    for (size_t i = 0; i < l->u.send_count; i++) {
        count += l->u.send[i].kind == kind && l->u.send[i].to == to;
    }
    return count;
}

struct raft_status lone_status(const struct lone *l)
{
    return raft_status(l->r);
}

struct raft_peer lone_peer(const struct lone *l, raft_key key)
{
    struct raft_peer peers[RAFT_MEMBER_COUNT_MAX];
    size_t count = raft_peers(l->r, peers);
    for (size_t i = 0; i < count; i++) {
        if (peers[i].key == key) {
            return peers[i];
        }
    }
    fail_msg("no peer %u", (unsigned)key);
    return peers[0];
}
