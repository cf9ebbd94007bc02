/* Replication and commit, seen from one member: a follower that is offered entries, a leader that
 * is answered. Names of pitfalls (P2...) are those of docs/raft-tests.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/limits.h"
#include "tests/lib/raft_lone.h"

static void assert_terms(const struct lone *l, const char *terms)
{
    assert_int_equal(lone_status(l).last, 1 + strlen(terms));
    for (size_t i = 0; terms[i] != 0; i++) {
        term_no term = 0;
        assert_int_equal(raft_term_at(l->r, 2 + i, &term), 0);
        assert_int_equal(term, terms[i] - '0');
    }
}

/* ---- a follower ---- */

static void test_append_is_acknowledged_when_durable(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "22", 3), 0);
    assert_int_equal(l.u.write.count, 2);
    assert_int_equal(l.u.write.truncate, 0);
    assert_null(lone_sent(&l, RAFT_APPEND_REPLY, 2));
    const struct raft_message *reply = lone_held(&l, RAFT_APPEND_REPLY, 2);
    assert_true(reply->append_reply.ok);
    assert_int_equal(reply->append_reply.match, 3);
    assert_int_equal(l.u.after_seq, l.u.write.seq);
    assert_int_equal(l.u.commit, 1); /* the leader's commit is 3, but the own disk has entry 1 */
    lone_written(&l);
    assert_int_equal(l.u.commit, 3);
    lone_deinit(&l);
}

/* A slow disk must not look like a lost follower: heartbeats are answered beside the writes. */
static void test_heartbeat_is_answered_while_the_disk_works(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .term = 2});
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "22", 1), 0);
    assert_int_equal(lone_append(&l, 2, 2, AT(3, 2), "", 1), 0);
    const struct raft_message *reply = lone_sent(&l, RAFT_APPEND_REPLY, 2);
    assert_true(reply->append_reply.ok);
    assert_int_equal(reply->append_reply.prev_index, 3); /* the log is there up to this ... */
    assert_int_equal(reply->append_reply.match, 1);      /* ... and durable up to this */
    lone_written(&l);
    assert_int_equal(lone_append(&l, 2, 2, AT(3, 2), "", 1), 0);
    assert_int_equal(lone_sent(&l, RAFT_APPEND_REPLY, 2)->append_reply.match, 3);
    lone_deinit(&l);
}

static void test_heartbeat_of_a_term_that_is_not_durable_waits(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    assert_int_equal(lone_append(&l, 2, 7, AT(1, 1), "", 1), 0);
    assert_null(lone_sent(&l, RAFT_APPEND_REPLY, 2));
    assert_non_null(lone_held(&l, RAFT_APPEND_REPLY, 2));
    assert_int_equal(l.u.write.hard.term, 7);
    lone_deinit(&l);
}

static void test_p7_truncates_only_on_conflict(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .terms = "2222", .term = 2});
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "22", 0), 0); /* an old one, overtaken */
    assert_terms(&l, "2222");
    assert_int_equal(l.u.write.seq, 0);
    assert_int_equal(lone_held(&l, RAFT_APPEND_REPLY, 2)->append_reply.match, 3);
    assert_int_equal(lone_append(&l, 3, 3, AT(2, 2), "23", 0), 0); /* conflict at 4 */
    assert_terms(&l, "223");
    assert_int_equal(l.u.write.truncate, 4);
    assert_int_equal(l.u.write.count, 1);
    assert_int_equal(l.u.write.entries[0].index, 4);
    lone_deinit(&l);
}

static void test_p8_commits_no_more_than_was_verified(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .terms = "222", .term = 2});
    assert_int_equal(lone_append(&l, 3, 3, AT(2, 2), "", 4),
                     0); /* entries 3, 4 may be others there */
    assert_int_equal(l.u.commit, 2);
    assert_int_equal(lone_append(&l, 3, 3, AT(2, 2), "3", 9), 0);
    lone_written(&l);
    assert_int_equal(l.u.commit, 3);
    lone_deinit(&l);
}

static void test_commit_index_does_not_fall(void **state) /* etcd: commit_index_regression */
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .terms = "222", .term = 2});
    assert_int_equal(lone_append(&l, 2, 2, AT(4, 2), "", 4), 0);
    assert_int_equal(l.u.commit, 4);
    assert_int_equal(lone_append(&l, 2, 2, AT(4, 2), "", 1), 0);
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "", 1), 0);
    assert_int_equal(l.u.commit, 4);
    lone_deinit(&l);
}

static void test_conflict_below_commit_is_refused(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .terms = "222", .term = 2});
    assert_int_equal(lone_append(&l, 2, 2, AT(4, 2), "", 3), 0);
    assert_int_equal(lone_append(&l, 3, 9, AT(2, 2), "3", 0),
                     ERR_INVALID); /* entry 3 is committed */
    assert_int_equal(lone_append(&l, 3, 9, AT(3, 8), "", 0), ERR_INVALID);
    assert_int_equal(lone_status(&l).term, 2); /* nothing changed */
    assert_int_equal(lone_status(&l).leader, 2);
    assert_terms(&l, "222");
    assert_int_equal(l.u.write.seq, 0);
    lone_deinit(&l);
}

/* The paper's Figure 7: a leader of term 8 and six logs that it may find. Each is brought in line
 * after one refusal at most, whatever is missing or too much. Index 1 is the configuration. */
static void test_figure_7(void **state)
{
    (void)state;
    static const char leader[] = "1114455666";
    static const struct {
        const char *terms;
        log_index hint; /* of its refusal of entry 10; 0: it accepts */
        log_index agree;
    } logs[] = {
        {"11445566", 9, 9},                       /* a: one entry is missing */
        {"114", 4, 4},                            /* b */
        {"1144556666", 0, 10},                    /* c: one too many */
        {"11445566677", 0, 10}, {"114444", 7, 5}, /* e */
        {"1122233333", 10, 3},
    };
    for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]); i++) {
        struct lone l;
        lone_init(&l, &(struct lone_options){.voters = 3, .terms = logs[i].terms, .term = 7});
        assert_int_equal(lone_append(&l, 2, 8, AT(10, 6), "", 0), 0);
        const struct raft_message *m = lone_held(&l, RAFT_APPEND_REPLY, 2);
        assert_int_equal(m->append_reply.ok, logs[i].hint == 0);
        assert_int_equal(m->append_reply.hint_index, logs[i].hint);
        log_index prev = logs[i].hint == 0 ? 10 : logs[i].hint < 10 ? logs[i].hint : 9;
        while (m->append_reply.hint_term > 0 &&
               (term_no)(leader[prev - 1] - '0') > m->append_reply.hint_term) {
            prev--; /* as recv_append_reply.c does */
        }
        assert_int_equal(prev, logs[i].agree);
        char rest[16] = {0};
        (void)snprintf(rest, sizeof(rest), "%s8", leader + prev);
        assert_int_equal(
            lone_append(&l, 2, 8, AT(prev, (term_no)(leader[prev - 1] - '0')), rest, 0), 0);
        assert_true(lone_held(&l, RAFT_APPEND_REPLY, 2)->append_reply.ok);
        assert_terms(&l, "1144556668");
        lone_deinit(&l);
    }
}

/* ---- what no honest member sends ---- */

static void test_hostile_numbers_are_refused(void **state)
{
    (void)state;
    static const uint64_t huge = (UINT64_C(1) << 62) + 1;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .terms = "22", .term = 2});
    struct raft_status before = lone_status(&l);
    struct log_entry entry = {4, 2, LOG_ENTRY_COMMAND, {"x", 1}};
    struct raft_message good = {.kind = RAFT_APPEND, .from = 2, .term = 2};
    good.append = (struct raft_append){3, 2, 3, 0, 1, &entry};
    struct raft_message m = good;
#define REFUSED(change)                                                                            \
    do {                                                                                           \
        m = good;                                                                                  \
        change;                                                                                    \
        assert_int_equal(lone_receive(&l, &m), ERR_INVALID);                                       \
        assert_int_equal(l.u.write.seq, 0);                                                        \
        assert_int_equal(l.u.send_count + l.u.send_after_count, 0);                                \
    } while (0)
    REFUSED(m.term = 0);
    REFUSED(m.term = huge);
    REFUSED(m.term = UINT64_MAX);
    REFUSED(m.kind = 0);
    REFUSED(m.kind = 8);
    REFUSED(m.from = 0);
    REFUSED(m.from = 1);
    REFUSED(m.append.prev_index = huge);
    REFUSED(m.append.prev_index = UINT64_MAX);
    REFUSED(m.append.commit = huge);
    REFUSED(m.append.prev_term = 3);
    REFUSED(m.append.prev_index = 0);
    REFUSED(m.append.prev_term = 0);
    REFUSED(m.append.count = RAFT_APPEND_COUNT_MAX + 1);
    REFUSED(m.append.prev_index = 2); /* entries that do not follow */
#undef REFUSED
    for (int i = 0; i < 5; i++) {
        m = good;
        struct log_entry kept = entry;
        entry.index = i == 0 ? 5 : entry.index;
        entry.term = i == 1 ? 1 : i == 2 ? 3 : entry.term; /* below prev's, above the leader's */
        entry.type = i == 3 ? 7 : entry.type;
        entry.type = i == 4 ? LOG_ENTRY_CONFIG : entry.type; /* that is none */
        assert_int_equal(lone_receive(&l, &m), ERR_INVALID);
        entry = kept;
    }
    m = (struct raft_message){.kind = RAFT_VOTE, .from = 2, .term = 3};
    m.vote.last_index = huge;
    assert_int_equal(lone_receive(&l, &m), ERR_INVALID);
    m.vote = (struct raft_vote){.last_index = 9, .last_term = 4};
    assert_int_equal(lone_receive(&l, &m), ERR_INVALID);
    assert_int_equal(lone_status(&l).term, before.term);
    assert_int_equal(lone_status(&l).last, before.last);
    assert_int_equal(lone_status(&l).leader, before.leader);
    assert_int_equal(lone_receive(&l, &good), 0); /* and the good one is good */
    lone_deinit(&l);
}

/* Entries before the log are not known here any more, but the last of them is. */
static void test_conflict_with_the_start_of_the_log_is_refused(void **state)
{
    (void)state;
    struct lone l;
    struct raft_event event = {.kind = RAFT_COMPACTED, .snapshot = {3, 2, 0, 0, false}};
    lone_init(&l, &(struct lone_options){.voters = 3, .terms = "122", .term = 2});
    assert_int_equal(lone_append(&l, 2, 2, AT(4, 2), "", 3), 0);
    assert_int_equal(lone_step(&l, &event), 0);
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "1111", 3), ERR_INVALID);
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "1222", 3), 0); /* an old one, and one new */
    assert_int_equal(lone_status(&l).last, 5);
    assert_int_equal(lone_held(&l, RAFT_APPEND_REPLY, 2)->append_reply.match, 5);
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "1", 3), 0); /* all of it before the log */
    assert_true(lone_held(&l, RAFT_APPEND_REPLY, 2)->append_reply.match >= 2);
    lone_deinit(&l);
}

/* RedisRaft bbd44d0: a new member at an old one's address gets what was meant for that. */
static void test_a_message_for_an_old_key_is_refused(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    struct raft_message m = {.kind = RAFT_VOTE, .from = 2, .to = 101, .term = 9};
    struct raft_event event = {.kind = RAFT_RECEIVE, .message = &m};
    m.vote.last_index = 9;
    assert_int_equal(lone_step(&l, &event), ERR_INVALID);
    assert_int_equal(lone_status(&l).term, 1);
    lone_deinit(&l);
}

static void test_two_leaders_in_a_term_are_refused(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "", 0), 0);
    assert_int_equal(lone_append(&l, 3, 2, AT(1, 1), "", 0), ERR_INVALID);
    lone_deinit(&l);
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_append(&l, 3, 2, AT(1, 1), "", 0), ERR_INVALID);
    assert_int_equal(lone_status(&l).role, RAFT_LEADER);
    lone_deinit(&l);
}

static void test_answers_to_what_was_never_sent(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_accept(&l, 2, 3), ERR_INVALID); /* beyond our log */
    assert_int_equal(lone_accept_round(&l, 2, 2, 9), ERR_INVALID);
    assert_int_equal(lone_accept(&l, 9, 2), 0); /* a stranger's is nothing */
    lone_deinit(&l);
}

/* A follower that was stopped works off heartbeats of the term before, which it has left meanwhile
 * by voting for the same leader again: its answers have the new term (sim seed 74 of 025dfb3). */
static void test_answers_that_only_tell_the_term(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_refuse(&l, 2, 0, 0, 0), 0);
    assert_int_equal(lone_status(&l).role, RAFT_LEADER);
    assert_int_equal(l.u.send_count, 0); /* it does not go back to the beginning of the log */
    lone_deinit(&l);
}

/* ---- a leader: commit ---- */

static void test_entries_go_out_before_they_are_durable(void **state) /* D 10.2.1 */
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_propose(&l, "a"), 0);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.count, 1);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 3)->append.prev_index, 2);
    assert_int_equal(l.u.write.count, 1);
    assert_int_equal(lone_accept(&l, 2, 3), 0);
    assert_int_equal(l.u.commit, 2); /* one disk of three has it */
    assert_int_equal(lone_accept(&l, 3, 3), 0);
    assert_int_equal(l.u.commit, 2); /* two of three: committed, but the own disk is not there */
    lone_tick(&l, LONE_HEARTBEAT_MS);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.commit, 3); /* as the others may know */
    lone_written(&l);
    assert_int_equal(l.u.commit, 3);
    lone_deinit(&l);
}

static void test_own_disk_counts_like_any_other(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_propose(&l, "a"), 0);
    assert_int_equal(lone_accept(&l, 2, 3), 0);
    assert_int_equal(l.u.commit, 2);
    lone_written(&l);
    assert_int_equal(l.u.commit, 3);
    lone_deinit(&l);
}

/* Figure 8: entries of earlier terms are not committed by counting, however many have them. */
static void test_p2_figure_8(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 5, .terms = "2", .term = 3});
    lone_win(&l); /* (c): S1 leads again, in term 4; entry 2 is of term 2 */
    lone_written(&l);
    for (raft_key from = 2; from <= 4; from++) {
        assert_int_equal(lone_accept(&l, from, 2), 0);
    }
    assert_int_equal(l.u.commit, 0); /* 2 is on four of five disks */
    assert_int_equal(lone_accept(&l, 2, 3), 0);
    assert_int_equal(l.u.commit, 0);
    assert_int_equal(lone_accept(&l, 3, 3), 0);
    assert_int_equal(l.u.commit, 3); /* (e): with an entry of term 4 everything before it */
    lone_deinit(&l);
}

static void test_commit_rule_by_counts(void **state)
{
    (void)state;
    static const struct {
        size_t voters;
        log_index match[4]; /* of 2, 3, 4, 5; the own disk has entry 5 */
        log_index commit;
    } cases[] = {
        {2, {4}, 4},          {3, {3, 0}, 3},       {3, {5, 4}, 5},
        {4, {5, 3, 0}, 3},    {4, {5, 5, 0}, 5},    {5, {5, 4, 0, 0}, 4},
        {5, {0, 0, 0, 5}, 0}, {5, {3, 4, 5, 5}, 5}, {5, {3, 3, 4, 0}, 3},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct lone l;
        lone_init(&l, &(struct lone_options){.voters = cases[i].voters});
        lone_win(&l);
        for (int j = 0; j < 3; j++) {
            assert_int_equal(lone_propose(&l, "a"), 0);
        }
        lone_written(&l);
        for (size_t j = 0; j + 1 < cases[i].voters; j++) {
            assert_int_equal(lone_accept(&l, 2 + j, cases[i].match[j]), 0);
        }
        assert_int_equal(l.u.commit, cases[i].commit);
        lone_deinit(&l);
    }
}

/* ---- a leader: proposals ---- */

static void test_proposals_refused(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    assert_int_equal(lone_propose(&l, "a"), ERR_NOT_LEADER);
    lone_lead(&l);
    struct log_entry entry = {.type = LOG_ENTRY_CONFIG, .data = {"x", 1}};
    struct raft_event event = {.kind = RAFT_PROPOSE, .propose = {&entry, 1}};
    assert_int_equal(lone_step(&l, &event), ERR_INVALID);
    entry.type = LOG_ENTRY_COMMAND;
    event.propose.count = 0;
    assert_int_equal(lone_step(&l, &event), ERR_INVALID);
    event.propose.count = RAFT_APPEND_COUNT_MAX + 1;
    assert_int_equal(lone_step(&l, &event), ERR_TOO_LARGE);
    event.propose.count = 1;
    entry.data.length = LOG_ENTRY_BYTES_MAX + 1;
    assert_int_equal(lone_step(&l, &event), ERR_TOO_LARGE);
    assert_int_equal(lone_status(&l).last, 2);
    lone_deinit(&l);
}

static void test_proposals_get_their_place(void **state)
{
    (void)state;
    struct lone l;
    struct log_entry entries[3] = {{0}};
    for (int i = 0; i < 3; i++) {
        entries[i] = (struct log_entry){.type = LOG_ENTRY_COMMAND, .data = {"abc" + i, 1}};
    }
    struct raft_event event = {.kind = RAFT_PROPOSE, .propose = {entries, 3}};
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_step(&l, &event), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(entries[i].index, 3 + i);
        assert_int_equal(entries[i].term, 2);
    }
    assert_int_equal(l.u.write.count, 3);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.count, 3); /* one message */
    lone_deinit(&l);
}

/* etcd's TestRawNodeBoundedLogGrowthWithPartition. */
static void test_log_growth_is_bounded_without_a_quorum(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .raft.uncommitted_bytes_max = 400});
    lone_lead(&l);
    int taken = 0;
    while (lone_propose(&l, "0123456789") == 0) {
        taken++;
    }
    assert_int_equal(taken, 400 / (10 + 32));
    assert_int_equal(lone_propose(&l, "a"), ERR_BUSY);
    lone_written(&l);
    assert_int_equal(lone_accept(&l, 2, lone_status(&l).last), 0);
    assert_int_equal(lone_propose(&l, "a"), 0);
    lone_deinit(&l);
}

static void test_one_large_proposal_always_fits(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .raft.uncommitted_bytes_max = 5});
    lone_lead(&l);
    assert_int_equal(lone_propose(&l, "0123456789"), 0);
    assert_int_equal(lone_propose(&l, "0123456789"), ERR_BUSY);
    lone_deinit(&l);
}

/* ---- a leader: what goes to whom ---- */

static void test_window(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .raft.inflight_count_max = 3});
    lone_lead(&l);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(lone_propose(&l, "a"), 0);
        assert_int_equal(lone_sent_count(&l, RAFT_APPEND, 2), i < 3);
    }
    lone_tick(&l, LONE_HEARTBEAT_MS); /* a full window does not hold the heartbeat */
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.count, 0);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.prev_index, 5);
    assert_int_equal(lone_accept(&l, 2, 4), 0); /* two answers, of which the first is lost */
    const struct raft_message *m = lone_sent(&l, RAFT_APPEND, 2);
    assert_int_equal(m->append.prev_index, 5);
    assert_int_equal(m->append.count, 2); /* what waited goes in one message */
    lone_deinit(&l);
}

static void test_messages_have_a_size(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3,
                                         .terms = "222222222",
                                         .term = 2,
                                         .raft.append_bytes_max = 3 * (1 + 32)});
    lone_win(&l);
    assert_int_equal(lone_refuse(&l, 2, 10, 1, 1), 0); /* it has the configuration only */
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.prev_index, 1);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.count, 3); /* a probe: one message */
    assert_int_equal(lone_accept(&l, 2, 4), 0);
    assert_int_equal(lone_sent_count(&l, RAFT_APPEND, 2), 3); /* 5..7, 8..10, 11 */
    lone_deinit(&l);
}

/* The leader's half of Figure 7: what the hint says of their terms passes over ours. */
static void test_a_leader_backs_up_over_whole_terms(void **state)
{
    (void)state;
    static const struct {
        log_index hint;
        term_no hint_term;
        log_index prev; /* from where it tries next */
    } cases[] = {{9, 6, 9}, {4, 4, 4}, {7, 4, 5}, {10, 3, 3}, {6, 5, 6}, {0, 0, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct lone l;
        lone_init(&l, &(struct lone_options){.voters = 3, .terms = "114455666", .term = 7});
        lone_win(&l);
        assert_int_equal(lone_refuse(&l, 2, 10, cases[i].hint, cases[i].hint_term), 0);
        assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.prev_index, cases[i].prev);
        lone_deinit(&l);
    }
}

static void test_lost_answers_are_made_good_by_the_heartbeat(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .raft.inflight_count_max = 1});
    lone_lead(&l);
    assert_int_equal(lone_propose(&l, "a"), 0); /* arrives; its answer does not */
    assert_int_equal(lone_propose(&l, "b"), 0);
    assert_int_equal(lone_sent_count(&l, RAFT_APPEND, 2), 0);
    lone_tick(&l, LONE_HEARTBEAT_MS);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.prev_index, 3);
    assert_int_equal(lone_accept(&l, 2, 3), 0);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.prev_index, 3);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.count, 1);
    lone_deinit(&l);
}

static void test_lost_entries_are_found_by_the_heartbeat(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_propose(&l, "a"), 0); /* lost */
    assert_int_equal(lone_propose(&l, "b"), 0); /* lost */
    lone_tick(&l, LONE_HEARTBEAT_MS);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.prev_index, 4);
    assert_int_equal(lone_refuse(&l, 2, 4, 2, 2), 0);
    const struct raft_message *m = lone_sent(&l, RAFT_APPEND, 2);
    assert_int_equal(m->append.prev_index, 2);
    assert_int_equal(m->append.count, 2);
    assert_int_equal(lone_peer(&l, 2).state, RAFT_PEER_PROBE);
    assert_int_equal(lone_accept(&l, 2, 4), 0);
    assert_int_equal(lone_peer(&l, 2).state, RAFT_PEER_REPLICATE);
    lone_deinit(&l);
}

static void test_a_lost_probe_is_repeated_by_the_heartbeat(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_win(&l); /* the probe with the empty entry is lost */
    lone_written(&l);
    assert_int_equal(lone_propose(&l, "a"), 0);
    assert_int_equal(l.u.send_count, 0); /* one at a time */
    lone_tick(&l, LONE_HEARTBEAT_MS);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.prev_index, 1);
    struct raft_message m = {.kind = RAFT_APPEND_REPLY, .from = 2, .term = 2};
    m.append_reply = (struct raft_append_reply){.ok = true, .match = 0, .prev_index = 1};
    assert_int_equal(lone_receive(&l, &m), 0); /* there in memory, not yet durable */
    assert_int_equal(lone_peer(&l, 2).state, RAFT_PEER_REPLICATE);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.count, 2);
    lone_deinit(&l);
}

static void test_old_and_double_answers_do_no_harm(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(lone_propose(&l, "a"), 0);
    }
    assert_int_equal(lone_accept(&l, 2, 5), 0);
    assert_int_equal(lone_accept(&l, 2, 3), 0); /* an older one, late */
    assert_int_equal(lone_peer(&l, 2).match, 5);
    assert_int_equal(lone_refuse(&l, 2, 5, 1, 1), 0); /* an old refusal: we know better */
    assert_int_equal(lone_refuse(&l, 2, 2, 1, 1), 0);
    assert_int_equal(lone_peer(&l, 2).state, RAFT_PEER_REPLICATE);
    assert_int_equal(lone_peer(&l, 2).next, 7);
    assert_int_equal(lone_refuse(&l, 2, 6, 5, 2), 0); /* this one is news */
    assert_int_equal(lone_peer(&l, 2).state, RAFT_PEER_PROBE);
    assert_int_equal(lone_peer(&l, 2).next, 6);
    assert_int_equal(lone_refuse(&l, 2, 6, 1, 1), 0); /* twice: of another probe than this */
    assert_int_equal(lone_peer(&l, 2).next, 6);
    lone_deinit(&l);
}

static void test_unreachable_peers_get_one_message_at_a_time(void **state)
{
    (void)state;
    struct lone l;
    struct raft_event event = {.kind = RAFT_UNREACHABLE, .peer = 2};
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_propose(&l, "a"), 0);
    assert_int_equal(lone_step(&l, &event), 0);
    assert_int_equal(lone_propose(&l, "b"), 0);
    assert_int_equal(lone_sent_count(&l, RAFT_APPEND, 2), 0);
    assert_int_equal(lone_sent_count(&l, RAFT_APPEND, 3), 1);
    lone_tick(&l, LONE_HEARTBEAT_MS);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.prev_index, 2);
    assert_int_equal(lone_accept(&l, 2, 2), 0);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.count, 2);
    lone_deinit(&l);
}

/* ---- a restart ---- */

static void test_restore_refuses_what_is_no_log(void **state)
{
    (void)state;
    struct raft *r = NULL;
    struct raft_options o = {
        .self = 1, .hard = {5, 0}, .start_index = 10, .start_term = 3, .applied = 10};
    assert_int_equal(raft_new(&o, &r, NULL), 0);
    struct log_entry entry = {12, 3, LOG_ENTRY_COMMAND, {"x", 1}};
    assert_int_equal(raft_restore(r, &entry, NULL), ERR_CORRUPT); /* a gap */
    entry.index = 11;
    entry.term = 2;
    assert_int_equal(raft_restore(r, &entry, NULL), ERR_CORRUPT); /* the term falls */
    entry.term = 6;
    assert_int_equal(raft_restore(r, &entry, NULL), ERR_CORRUPT); /* above the hard state's */
    entry.term = 4;
    entry.type = LOG_ENTRY_CONFIG;
    assert_int_equal(raft_restore(r, &entry, NULL), ERR_CORRUPT); /* not a configuration */
    entry.type = LOG_ENTRY_COMMAND;
    assert_int_equal(raft_restore(r, &entry, NULL), 0);
    assert_int_equal(raft_status(r).last, 11);
    assert_int_equal(raft_status(r).durable, 11);
    assert_int_equal(raft_status(r).commit, 10);
    raft_free(r);
    raft_free(NULL);
}

static void test_options_that_contradict(void **state)
{
    (void)state;
    struct raft *r = NULL;
    const struct raft_options good = {
        .self = 1, .hard = {5, 0}, .start_index = 10, .start_term = 3, .applied = 10};
    struct raft_options o = good;
#define REFUSED(change)                                                                            \
    do {                                                                                           \
        o = good;                                                                                  \
        change;                                                                                    \
        assert_int_equal(raft_new(&o, &r, NULL), ERR_INVALID);                                     \
        assert_null(r);                                                                            \
    } while (0)
    REFUSED(o.self = 0);
    REFUSED(o.applied = 9);
    REFUSED(o.start_term = 6);
    REFUSED(o.config_index = 11);
    REFUSED(o.hard.term = UINT64_MAX);
    REFUSED(o.election_ms = 99; o.heartbeat_ms = 50);
    REFUSED(o.inflight_count_max = RAFT_INFLIGHT_COUNT_MAX + 1);
    REFUSED(o.config.count = 1; o.config.members[0] = lone_member(1);
            o.config.members[0].voter = false);
#undef REFUSED
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_is_acknowledged_when_durable),
        cmocka_unit_test(test_heartbeat_is_answered_while_the_disk_works),
        cmocka_unit_test(test_heartbeat_of_a_term_that_is_not_durable_waits),
        cmocka_unit_test(test_p7_truncates_only_on_conflict),
        cmocka_unit_test(test_p8_commits_no_more_than_was_verified),
        cmocka_unit_test(test_commit_index_does_not_fall),
        cmocka_unit_test(test_conflict_below_commit_is_refused),
        cmocka_unit_test(test_figure_7),
        cmocka_unit_test(test_hostile_numbers_are_refused),
        cmocka_unit_test(test_conflict_with_the_start_of_the_log_is_refused),
        cmocka_unit_test(test_a_message_for_an_old_key_is_refused),
        cmocka_unit_test(test_two_leaders_in_a_term_are_refused),
        cmocka_unit_test(test_answers_to_what_was_never_sent),
        cmocka_unit_test(test_answers_that_only_tell_the_term),
        cmocka_unit_test(test_entries_go_out_before_they_are_durable),
        cmocka_unit_test(test_own_disk_counts_like_any_other),
        cmocka_unit_test(test_p2_figure_8),
        cmocka_unit_test(test_commit_rule_by_counts),
        cmocka_unit_test(test_proposals_refused),
        cmocka_unit_test(test_proposals_get_their_place),
        cmocka_unit_test(test_log_growth_is_bounded_without_a_quorum),
        cmocka_unit_test(test_one_large_proposal_always_fits),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_messages_have_a_size),
        cmocka_unit_test(test_a_leader_backs_up_over_whole_terms),
        cmocka_unit_test(test_lost_answers_are_made_good_by_the_heartbeat),
        cmocka_unit_test(test_lost_entries_are_found_by_the_heartbeat),
        cmocka_unit_test(test_a_lost_probe_is_repeated_by_the_heartbeat),
        cmocka_unit_test(test_old_and_double_answers_do_no_harm),
        cmocka_unit_test(test_unreachable_peers_get_one_message_at_a_time),
        cmocka_unit_test(test_restore_refuses_what_is_no_log),
        cmocka_unit_test(test_options_that_contradict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
