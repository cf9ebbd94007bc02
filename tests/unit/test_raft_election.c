/* Elections, seen from one member: promises before messages, who may be voted for, who must not be
 * disturbed. Names of pitfalls (P3...) are those of docs/raft-tests.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/raft_lone.h"

/* After a leader was heard, long enough for no one to be protected. */
static void grow_old(struct lone *l)
{
    l->now_ms += LONE_ELECTION_MS;
}

/* ---- promises ---- */

static void test_p3_vote_is_durable_before_the_reply(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    assert_int_equal(lone_vote(&l, 2, 5, 1, 1), 0);
    assert_int_equal(l.u.send_count, 0);
    assert_true(l.u.write.has_hard);
    assert_int_equal(l.u.write.hard.term, 5);
    assert_int_equal(l.u.write.hard.vote, 2);
    const struct raft_message *reply = lone_held(&l, RAFT_VOTE_REPLY, 2);
    assert_true(reply->vote_reply.granted);
    assert_int_equal(reply->term, 5);
    assert_int_equal(l.u.after_seq, l.u.write.seq);
    lone_deinit(&l);
}

static void test_one_vote_per_term(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    assert_int_equal(lone_vote(&l, 2, 5, 1, 1), 0);
    assert_int_equal(lone_vote(&l, 3, 5, 9, 4), 0); /* however good it is */
    assert_false(lone_held(&l, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    assert_int_equal(lone_vote(&l, 2, 5, 1, 1), 0); /* asked again: its answer was lost */
    assert_true(lone_held(&l, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
    assert_int_equal(lone_vote(&l, 3, 6, 1, 1), 0);
    assert_true(lone_held(&l, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    lone_deinit(&l);
}

static void test_vote_outlives_a_restart(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .term = 5, .vote = 2});
    assert_int_equal(lone_vote(&l, 3, 5, 9, 5), 0);
    assert_false(lone_held(&l, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    assert_int_equal(lone_vote(&l, 2, 5, 9, 5), 0);
    assert_true(lone_held(&l, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
    lone_deinit(&l);
}

static void test_own_vote_counts_when_it_is_durable(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 1});
    lone_tick(&l, 2 * LONE_ELECTION_MS);
    assert_int_equal(lone_status(&l).role, RAFT_CANDIDATE); /* a pre-vote promises nothing */
    assert_int_equal(l.u.write.hard.vote, 1);
    lone_written(&l);
    assert_int_equal(lone_status(&l).role, RAFT_LEADER);
    lone_deinit(&l);
}

static void test_p5_single_member_commits_after_its_own_write(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 1});
    lone_win(&l);
    assert_int_equal(l.u.write.count, 1);
    assert_int_equal(l.u.write.entries[0].type, LOG_ENTRY_EMPTY);
    assert_int_equal(l.u.commit, 0);
    assert_int_equal(lone_propose(&l, "a"), 0);
    assert_int_equal(l.u.commit, 0);
    lone_written(&l);
    assert_int_equal(l.u.commit, 3);
    lone_deinit(&l);
}

/* canonical/raft PR 429: a candidate boasts of what it may not have after a crash. */
static void test_p4_candidate_boasts_of_durable_entries_only(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "22", 0), 0);
    uint64_t entries = l.u.write.seq; /* not durable yet */
    lone_tick(&l, 2 * LONE_ELECTION_MS);
    assert_int_equal(lone_status(&l).role, RAFT_PRE_CANDIDATE);
    assert_int_equal(l.u.send_count, 0);
    const struct raft_message *vote = lone_held(&l, RAFT_VOTE, 3);
    assert_int_equal(vote->vote.last_index, 3);
    assert_int_equal(vote->vote.last_term, 2);
    assert_int_equal(l.u.after_seq, entries); /* until then it does not go */
    lone_deinit(&l);
}

static void test_p4_voter_compares_with_what_it_has_acknowledged(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "2", 0), 0);
    assert_non_null(lone_held(&l, RAFT_APPEND_REPLY, 2)); /* will go out when it is durable */
    grow_old(&l);
    assert_int_equal(lone_vote(&l, 3, 3, 1, 1), 0);
    assert_false(lone_held(&l, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    lone_deinit(&l);
}

/* ---- who is up to date (5.4.1) ---- */

static void test_up_to_date_check(void **state)
{
    (void)state;
    static const struct {
        log_index last;
        term_no last_term;
        bool granted;
    } cases[] = {
        {4, 3, true},  /* the same */
        {5, 3, true},  /* longer */
        {1, 4, true},  /* shorter, of a later term */
        {3, 3, false}, /* shorter */
        {9, 2, false}, /* longer, of an earlier term */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct lone l;
        lone_init(&l, &(struct lone_options){.voters = 3, .terms = "233", .term = 3});
        assert_int_equal(lone_vote(&l, 2, 5, cases[i].last, cases[i].last_term), 0);
        assert_int_equal(lone_held(&l, RAFT_VOTE_REPLY, 2)->vote_reply.granted, cases[i].granted);
        assert_int_equal(lone_status(&l).term, 5); /* refused or not (5.1) */
        lone_deinit(&l);
    }
}

/* ---- pre-vote (D 9.6) ---- */

static void test_founder_waits_for_no_leader(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .raft = {.founder = true}});
    assert_int_equal(raft_next_ms(l.r), l.now_ms);
    lone_tick(&l, 0);
    assert_true(lone_held(&l, RAFT_VOTE, 2)->vote.pre);
    assert_true(raft_next_ms(l.r) >= l.now_ms + LONE_ELECTION_MS); /* once */
    lone_deinit(&l);
}

static void test_pre_vote_changes_nothing(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .term = 4, .vote = 3});
    assert_int_equal(lone_pre_vote(&l, 2, 5, 1, 1), 0);
    const struct raft_message *reply = lone_sent(&l, RAFT_VOTE_REPLY, 2);
    assert_true(reply->vote_reply.granted);
    assert_true(reply->vote_reply.pre);
    assert_int_equal(reply->term, 5);
    assert_int_equal(l.u.write.seq, 0);
    assert_int_equal(lone_status(&l).term, 4);
    assert_int_equal(lone_pre_vote(&l, 3, 5, 1, 1), 0); /* and binds to nobody */
    assert_true(lone_sent(&l, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    lone_deinit(&l);
}

static void test_pre_vote_refused_tells_the_term(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .term = 9, .vote = 1});
    assert_int_equal(lone_pre_vote(&l, 2, 5, 1, 1), 0);
    const struct raft_message *reply = lone_sent(&l, RAFT_VOTE_REPLY, 2);
    assert_false(reply->vote_reply.granted);
    assert_int_equal(reply->term, 9);
    lone_deinit(&l);
    /* And who hears it comes up to that term, so that members of high terms and short logs do not
     * stand in the way of all others for ever. */
    lone_init(&l, &(struct lone_options){.voters = 3, .term = 4});
    lone_tick(&l, 2 * LONE_ELECTION_MS);
    struct raft_message m = {.kind = RAFT_VOTE_REPLY, .from = 2, .term = 9};
    m.vote_reply.pre = true;
    assert_int_equal(lone_receive(&l, &m), 0);
    assert_int_equal(lone_status(&l).term, 9);
    assert_int_equal(lone_status(&l).role, RAFT_FOLLOWER);
    lone_deinit(&l);
}

static void test_no_term_runs_away_alone(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .term = 4});
    for (int i = 0; i < 100; i++) {
        lone_tick(&l, 2 * LONE_ELECTION_MS);
        assert_int_equal(lone_status(&l).role, RAFT_PRE_CANDIDATE);
    }
    assert_int_equal(lone_status(&l).term, 4);
    lone_deinit(&l);
}

static void test_answers_of_another_election_do_not_count(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 5, .term = 4});
    lone_tick(&l, 2 * LONE_ELECTION_MS);
    struct raft_message m = {.kind = RAFT_VOTE_REPLY, .from = 2, .term = 4};
    m.vote_reply = (struct raft_vote_reply){.granted = true, .pre = true};
    assert_int_equal(lone_receive(&l, &m), 0); /* of the term before */
    m.term = 5;
    m.vote_reply.pre = false; /* a vote, not a pre-vote: of a term that we are not in */
    m.vote_reply.granted = false;
    m.term = 4;
    assert_int_equal(lone_receive(&l, &m), 0);
    m.vote_reply = (struct raft_vote_reply){.granted = true, .pre = true};
    m.term = 5;
    assert_int_equal(lone_receive(&l, &m), 0);
    assert_int_equal(lone_receive(&l, &m), 0); /* twice from one counts once */
    assert_int_equal(lone_status(&l).role, RAFT_PRE_CANDIDATE);
    m.from = 3;
    assert_int_equal(lone_receive(&l, &m), 0);
    assert_int_equal(lone_status(&l).role, RAFT_CANDIDATE);
    lone_deinit(&l);
}

static void test_candidate_loses(void **state) /* the three outcomes of 5.2 */
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_tick(&l, 2 * LONE_ELECTION_MS);
    struct raft_message m = {.kind = RAFT_VOTE_REPLY, .from = 2, .term = 2};
    m.vote_reply = (struct raft_vote_reply){.granted = true, .pre = true};
    assert_int_equal(lone_receive(&l, &m), 0);
    lone_written(&l);
    m.vote_reply = (struct raft_vote_reply){.granted = false};
    assert_int_equal(lone_receive(&l, &m), 0);
    assert_int_equal(lone_status(&l).role, RAFT_CANDIDATE);
    m.from = 3;
    assert_int_equal(lone_receive(&l, &m), 0);
    assert_int_equal(lone_status(&l).role, RAFT_FOLLOWER); /* refused by a majority */
    lone_tick(&l, 2 * LONE_ELECTION_MS);
    assert_int_equal(lone_status(&l).role, RAFT_PRE_CANDIDATE);
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "", 0), 0);
    assert_int_equal(lone_status(&l).role, RAFT_FOLLOWER); /* somebody else has won */
    assert_int_equal(lone_status(&l).leader, 2);
    lone_deinit(&l);
}

/* One voter is dead and the other one stands itself: no majority refuses, and yet nobody can win.
 * The next try comes within one election time-out, not two. */
static void test_split_votes_are_tried_again_soon(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct lone l;
        lone_init(&l, &(struct lone_options){.voters = 3, .raft.seed = seed});
        lone_tick(&l, 2 * LONE_ELECTION_MS);
        struct raft_message m = {.kind = RAFT_VOTE_REPLY, .from = 2, .term = 2};
        m.vote_reply = (struct raft_vote_reply){.granted = true, .pre = true};
        assert_int_equal(lone_receive(&l, &m), 0);
        lone_written(&l);
        assert_true(raft_next_ms(l.r) >= l.now_ms + LONE_ELECTION_MS);
        m.vote_reply = (struct raft_vote_reply){.granted = false};
        assert_int_equal(lone_receive(&l, &m), 0);
        assert_int_equal(lone_status(&l).role, RAFT_CANDIDATE); /* member 3 might still answer */
        assert_in_range(raft_next_ms(l.r), l.now_ms + 1, l.now_ms + LONE_ELECTION_MS);
        lone_tick(&l, LONE_ELECTION_MS);
        assert_int_equal(lone_status(&l).role, RAFT_PRE_CANDIDATE);
        lone_deinit(&l);
    }
}

/* ---- a leader that lives is not disturbed (D 4.2.3) ---- */

static void test_p17_followers_of_a_live_leader_ignore_candidates(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "", 0), 0);
    l.now_ms += LONE_ELECTION_MS - 1;
    assert_int_equal(lone_vote(&l, 7, 50, 99, 49), 0); /* a removed member, say */
    assert_int_equal(lone_status(&l).term, 2);
    assert_int_equal(l.u.send_count + l.u.send_after_count, 0);
    assert_int_equal(lone_pre_vote(&l, 3, 3, 99, 2), 0);
    assert_false(lone_sent(&l, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    l.now_ms++;
    assert_int_equal(lone_vote(&l, 3, 3, 99, 2), 0);
    assert_true(lone_held(&l, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    lone_deinit(&l);
}

static void test_a_transfer_is_not_held_up(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "", 0), 0);
    struct raft_message m = {.kind = RAFT_VOTE, .from = 3, .term = 3};
    m.vote = (struct raft_vote){.last_index = 1, .last_term = 1, .transfer = true};
    assert_int_equal(lone_receive(&l, &m), 0);
    assert_true(lone_held(&l, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    lone_deinit(&l);
}

static void test_leader_ignores_candidates(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_vote(&l, 3, 9, 99, 8), 0);
    assert_int_equal(lone_status(&l).role, RAFT_LEADER);
    assert_int_equal(l.u.send_after_count, 0);
    lone_deinit(&l);
}

/* etcd's TestFreeStuckCandidateWithCheckQuorum: a member of a higher term answers the leader, which
 * then makes room. */
static void test_higher_term_in_an_answer_unseats(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    struct raft_message m = {.kind = RAFT_APPEND_REPLY, .from = 3, .term = 9};
    assert_int_equal(lone_receive(&l, &m), 0);
    assert_int_equal(lone_status(&l).role, RAFT_FOLLOWER);
    assert_int_equal(lone_status(&l).term, 9);
    assert_int_equal(l.u.write.hard.vote, 0);
    lone_deinit(&l);
}

static void test_stale_leader_is_told(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .term = 5});
    assert_int_equal(lone_append(&l, 2, 4, AT(1, 1), "4", 1), 0);
    const struct raft_message *reply = lone_held(&l, RAFT_APPEND_REPLY, 2);
    assert_false(reply->append_reply.ok);
    assert_int_equal(reply->term, 5);
    assert_int_equal(lone_status(&l).last, 1);
    assert_int_equal(lone_status(&l).leader, 0);
    lone_deinit(&l);
}

/* ---- check quorum (D 6.2) ---- */

static void test_leader_without_a_quorum_steps_down(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    for (int i = 0; i < 30; i++) { /* one follower is enough */
        lone_tick(&l, LONE_HEARTBEAT_MS);
        assert_int_equal(lone_accept(&l, 3, 2), 0);
        assert_int_equal(lone_status(&l).role, RAFT_LEADER);
    }
    lone_tick(&l, LONE_ELECTION_MS - 1);
    assert_int_equal(lone_status(&l).role, RAFT_LEADER);
    lone_tick(&l, 1);
    assert_int_equal(lone_status(&l).role, RAFT_FOLLOWER);
    assert_true(l.u.changed);
    assert_int_equal(lone_status(&l).term, 2); /* no new term for that */
    assert_int_equal(lone_propose(&l, "a"), ERR_NOT_LEADER);
    lone_deinit(&l);
}

/* ---- a disk that hangs (P15) ---- */

static void test_p15_leader_with_a_hung_disk_steps_down(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .raft.disk_hung_ms = 5000});
    lone_lead(&l);
    assert_int_equal(lone_propose(&l, "a"), 0);
    for (int i = 0; i < 49; i++) {
        lone_tick(&l, LONE_HEARTBEAT_MS);
        assert_int_equal(lone_accept(&l, 2, 2), 0);
        assert_int_equal(lone_accept(&l, 3, 3), 0);
        assert_int_equal(lone_status(&l).role, RAFT_LEADER);
    }
    lone_tick(&l, LONE_HEARTBEAT_MS);
    assert_int_equal(lone_status(&l).role, RAFT_FOLLOWER);
    assert_non_null(lone_sent(&l, RAFT_TIMEOUT_NOW, 3)); /* the one that has most goes on */
    for (int i = 0; i < 10; i++) {                       /* and does not come back */
        lone_tick(&l, 2 * LONE_ELECTION_MS);
        assert_int_equal(lone_status(&l).role, RAFT_FOLLOWER);
    }
    lone_written(&l);
    lone_tick(&l, 2 * LONE_ELECTION_MS);
    assert_int_equal(lone_status(&l).role, RAFT_PRE_CANDIDATE);
    lone_deinit(&l);
}

/* Its vote would not get out: a pre-vote would only let candidates raise the term in vain. */
static void test_a_hung_disk_grants_no_pre_votes(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .raft.disk_hung_ms = 5000});
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "2", 0), 0);
    l.now_ms += 4999;
    assert_int_equal(lone_pre_vote(&l, 3, 3, 2, 2), 0);
    assert_true(lone_sent(&l, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    l.now_ms++;
    assert_int_equal(lone_pre_vote(&l, 3, 3, 2, 2), 0);
    assert_false(lone_sent(&l, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    lone_written(&l);
    assert_int_equal(lone_pre_vote(&l, 3, 3, 2, 2), 0);
    assert_true(lone_sent(&l, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    lone_deinit(&l);
}

/* Found by fuzz_raft_step: pre-votes that come when the own disk has come to hang. */
static void test_a_hung_disk_wins_no_pre_vote(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .raft.disk_hung_ms = 5000});
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "2", 0), 0);
    lone_tick(&l, 4000);
    assert_int_equal(lone_status(&l).role, RAFT_PRE_CANDIDATE);
    l.now_ms += 1000;
    struct raft_message m = {.kind = RAFT_VOTE_REPLY, .from = 3, .term = 3};
    m.vote_reply = (struct raft_vote_reply){.granted = true, .pre = true};
    assert_int_equal(lone_receive(&l, &m), 0);
    assert_int_equal(lone_status(&l).role, RAFT_FOLLOWER);
    assert_int_equal(lone_status(&l).term, 2);
    lone_deinit(&l);
}

/* The time that the own disk takes does not count: the others have not been asked yet. */
static void test_a_slow_disk_does_not_end_a_campaign(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_tick(&l, 2 * LONE_ELECTION_MS);
    struct raft_message m = {.kind = RAFT_VOTE_REPLY, .from = 2, .term = 2};
    m.vote_reply = (struct raft_vote_reply){.granted = true, .pre = true};
    assert_int_equal(lone_receive(&l, &m), 0);
    for (int i = 0; i < 5; i++) {
        lone_tick(&l, 2 * LONE_ELECTION_MS);
        assert_int_equal(lone_status(&l).role, RAFT_CANDIDATE);
        assert_int_equal(lone_status(&l).term, 2);
    }
    lone_written(&l);
    lone_tick(&l, LONE_ELECTION_MS - 1);
    assert_int_equal(lone_status(&l).role, RAFT_CANDIDATE);
    lone_tick(&l, 2 * LONE_ELECTION_MS);
    assert_int_equal(lone_status(&l).role, RAFT_PRE_CANDIDATE);
    lone_deinit(&l);
}

/* ---- who is not a voter ---- */

static void test_p18_learner_asked_to_vote_votes(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .learner = true});
    assert_int_equal(lone_status(&l).role, RAFT_LEARNER);
    assert_int_equal(lone_vote(&l, 2, 5, 9, 4), 0); /* by a configuration that is not here yet */
    assert_true(lone_held(&l, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
    assert_int_equal(lone_pre_vote(&l, 3, 6, 9, 4), 0);
    assert_true(lone_sent(&l, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    lone_deinit(&l);
}

static void test_learners_and_strangers_never_campaign(void **state)
{
    (void)state;
    struct lone l;
    struct raft_message now = {.kind = RAFT_TIMEOUT_NOW, .from = 2, .term = 2};
    lone_init(&l, &(struct lone_options){.voters = 3, .learner = true});
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "", 0), 0);
    assert_int_equal(lone_receive(&l, &now), 0);
    for (int i = 0; i < 10; i++) {
        lone_tick(&l, 2 * LONE_ELECTION_MS);
        assert_int_equal(lone_status(&l).role, RAFT_LEARNER);
    }
    lone_deinit(&l);
    lone_init(&l, &(struct lone_options){.voters = 0}); /* an empty directory */
    for (int i = 0; i < 10; i++) {
        lone_tick(&l, 2 * LONE_ELECTION_MS);
        assert_int_equal(lone_status(&l).role, RAFT_LEARNER);
        assert_int_equal(l.u.send_count + l.u.send_after_count, 0);
    }
    lone_deinit(&l);
}

static void test_told_to_campaign(void **state) /* D 3.10 */
{
    (void)state;
    struct lone l;
    struct raft_message m = {.kind = RAFT_TIMEOUT_NOW, .from = 2, .term = 2};
    lone_init(&l, &(struct lone_options){.voters = 3, .term = 2});
    assert_int_equal(lone_receive(&l, &m), 0); /* not by one that is not known to lead */
    assert_int_equal(lone_status(&l).role, RAFT_FOLLOWER);
    assert_int_equal(lone_append(&l, 2, 2, AT(1, 1), "", 0), 0);
    assert_int_equal(lone_receive(&l, &m), 0);
    assert_int_equal(lone_status(&l).role, RAFT_CANDIDATE);
    assert_int_equal(lone_status(&l).term, 3);
    assert_true(lone_held(&l, RAFT_VOTE, 3)->vote.transfer);
    assert_int_equal(lone_receive(&l, &m), 0); /* that message twice: of an old term now */
    assert_int_equal(lone_status(&l).term, 3);
    lone_deinit(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_p3_vote_is_durable_before_the_reply),
        cmocka_unit_test(test_one_vote_per_term),
        cmocka_unit_test(test_vote_outlives_a_restart),
        cmocka_unit_test(test_own_vote_counts_when_it_is_durable),
        cmocka_unit_test(test_p5_single_member_commits_after_its_own_write),
        cmocka_unit_test(test_p4_candidate_boasts_of_durable_entries_only),
        cmocka_unit_test(test_p4_voter_compares_with_what_it_has_acknowledged),
        cmocka_unit_test(test_up_to_date_check),
        cmocka_unit_test(test_founder_waits_for_no_leader),
        cmocka_unit_test(test_pre_vote_changes_nothing),
        cmocka_unit_test(test_pre_vote_refused_tells_the_term),
        cmocka_unit_test(test_no_term_runs_away_alone),
        cmocka_unit_test(test_answers_of_another_election_do_not_count),
        cmocka_unit_test(test_candidate_loses),
        cmocka_unit_test(test_split_votes_are_tried_again_soon),
        cmocka_unit_test(test_p17_followers_of_a_live_leader_ignore_candidates),
        cmocka_unit_test(test_a_transfer_is_not_held_up),
        cmocka_unit_test(test_leader_ignores_candidates),
        cmocka_unit_test(test_higher_term_in_an_answer_unseats),
        cmocka_unit_test(test_stale_leader_is_told),
        cmocka_unit_test(test_leader_without_a_quorum_steps_down),
        cmocka_unit_test(test_p15_leader_with_a_hung_disk_steps_down),
        cmocka_unit_test(test_a_hung_disk_grants_no_pre_votes),
        cmocka_unit_test(test_a_hung_disk_wins_no_pre_vote),
        cmocka_unit_test(test_a_slow_disk_does_not_end_a_campaign),
        cmocka_unit_test(test_p18_learner_asked_to_vote_votes),
        cmocka_unit_test(test_learners_and_strangers_never_campaign),
        cmocka_unit_test(test_told_to_campaign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
