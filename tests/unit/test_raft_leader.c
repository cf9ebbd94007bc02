/* What a leader does beside replicating, seen from one member: linearizable reads, changes of the
 * membership, and handing leadership over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/lib/raft_lone.h"

static void both_accept(struct lone *l, log_index match, uint64_t round)
{
    assert_int_equal(lone_accept_round(l, 2, match, round), 0);
    assert_int_equal(lone_accept_round(l, 3, match, round), 0);
}

/* ---- reads (D 6.4) ---- */

/* etcd's TestReadOnlyForNewLeader; RedisRaft 18 and 19. */
static void test_no_read_before_an_entry_of_the_term_is_committed(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .terms = "222", .term = 2});
    assert_int_equal(lone_read(&l), ERR_NOT_LEADER);
    lone_win(&l);
    assert_int_equal(lone_read(&l), ERR_BUSY);
    lone_written(&l);
    assert_int_equal(lone_accept(&l, 2, 4), 0); /* all that was there before */
    assert_int_equal(lone_read(&l), ERR_BUSY);
    assert_int_equal(lone_accept(&l, 2, 5), 0);
    assert_true(l.u.changed); /* the caller need not ask again and again */
    assert_int_equal(lone_read(&l), 0);
    lone_deinit(&l);
}

static void test_a_read_waits_for_answers_to_what_was_sent_after_it(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    lone_tick(&l, LONE_HEARTBEAT_MS); /* a heartbeat of before is on its way */
    uint64_t before = lone_sent(&l, RAFT_APPEND, 2)->append.round;
    assert_int_equal(lone_read(&l), 0);
    uint64_t asked = l.u.read.asked;
    assert_true(asked > before);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 2)->append.round, asked); /* at once */
    assert_int_equal(lone_accept_round(&l, 2, 2, before), 0);
    assert_int_equal(lone_accept_round(&l, 3, 2, before), 0);
    assert_true(l.u.read.done < asked); /* old answers prove nothing */
    assert_int_equal(lone_accept_round(&l, 3, 2, asked), 0);
    assert_int_equal(l.u.read.done, asked);
    assert_int_equal(l.u.read.index, 2);
    lone_deinit(&l);
}

static void test_reads_share_rounds(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_read(&l), 0);
    uint64_t first = l.u.read.asked;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(lone_read(&l), 0);
        assert_int_equal(l.u.read.asked, first + 1);
        assert_int_equal(l.u.send_count, 0);
    }
    assert_int_equal(lone_propose(&l, "a"), 0);
    lone_written(&l);
    assert_int_equal(lone_accept_round(&l, 2, 3, first), 0);
    assert_int_equal(l.u.read.done, first);
    assert_int_equal(l.u.commit, 3);
    assert_int_equal(lone_sent_count(&l, RAFT_APPEND, 3), 1); /* the next round begins */
    assert_int_equal(lone_accept_round(&l, 2, 3, first + 1), 0);
    assert_int_equal(l.u.read.done, first + 1);
    assert_int_equal(l.u.read.index, 3); /* committed when its round began */
    lone_deinit(&l);
}

static void test_a_lost_round_is_made_good_by_the_heartbeat(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_read(&l), 0);
    uint64_t asked = l.u.read.asked; /* all its messages are lost */
    assert_int_equal(lone_read(&l), 0);
    lone_tick(&l, LONE_HEARTBEAT_MS);
    uint64_t round = lone_sent(&l, RAFT_APPEND, 2)->append.round;
    assert_int_equal(round, asked + 1); /* the waiting read's */
    assert_int_equal(lone_accept_round(&l, 2, 2, round), 0);
    assert_int_equal(l.u.read.done, round);
    lone_deinit(&l);
}

static void test_a_refusal_confirms_a_round_too(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_propose(&l, "a"), 0);
    assert_int_equal(lone_read(&l), 0);
    struct raft_message m = {.kind = RAFT_APPEND_REPLY, .from = 2, .term = 2};
    m.append_reply = (struct raft_append_reply){
        .round = l.u.read.asked, .prev_index = 3, .hint_index = 2, .hint_term = 2};
    assert_int_equal(lone_receive(&l, &m), 0); /* it lacks an entry, but follows no other leader */
    assert_int_equal(l.u.read.done, m.append_reply.round);
    lone_deinit(&l);
}

static void test_learners_confirm_nothing(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_change(&l, RAFT_ADD_LEARNER, 4), 0);
    lone_written(&l);
    both_accept(&l, 3, 0);
    assert_int_equal(lone_read(&l), 0);
    uint64_t asked = l.u.read.asked;
    assert_int_equal(lone_accept_round(&l, 4, 3, asked), 0);
    assert_true(l.u.read.done < asked);
    assert_int_equal(lone_accept_round(&l, 2, 3, asked), 0);
    assert_int_equal(l.u.read.done, asked);
    lone_deinit(&l);
}

static void test_alone_a_read_is_confirmed_at_once(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 1});
    lone_win(&l);
    lone_written(&l);
    assert_int_equal(lone_read(&l), 0);
    assert_int_equal(l.u.read.done, l.u.read.asked);
    assert_int_equal(l.u.read.index, 2);
    lone_deinit(&l);
}

static void test_reads_given_up_are_seen(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_read(&l), 0);
    uint64_t asked = l.u.read.asked;
    l.now_ms += LONE_ELECTION_MS;
    lone_tick(&l, 0);
    assert_true(l.u.changed);
    assert_int_equal(lone_status(&l).role, RAFT_FOLLOWER);
    assert_true(l.u.read.done < asked);
    lone_deinit(&l);
}

static void test_p20_leases_are_off_by_default(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    lone_tick(&l, LONE_HEARTBEAT_MS);
    both_accept(&l, 2, lone_sent(&l, RAFT_APPEND, 2)->append.round);
    assert_int_equal(lone_read(&l), 0);
    assert_true(l.u.read.done < l.u.read.asked);
    lone_deinit(&l);
}

static void hold_a_lease(struct lone *l)
{
    lone_tick(l, LONE_HEARTBEAT_MS);
    both_accept(l, lone_status(l).last, lone_sent(l, RAFT_APPEND, 2)->append.round);
}

static void test_lease_reads(void **state) /* D 6.4.1 */
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .raft.lease_reads = true});
    lone_lead(&l);
    hold_a_lease(&l);
    assert_int_equal(lone_read(&l), 0);
    assert_int_equal(l.u.read.done, l.u.read.asked); /* no message */
    assert_int_equal(l.u.send_count, 0);
    l.now_ms += LONE_ELECTION_MS * 7 / 8 - 1;
    assert_int_equal(lone_read(&l), 0);
    assert_int_equal(l.u.read.done, l.u.read.asked);
    l.now_ms++; /* now somebody's clock may say that it is over */
    assert_int_equal(lone_read(&l), 0);
    assert_true(l.u.read.done < l.u.read.asked);
    lone_deinit(&l);
}

static void test_no_lease_once_somebody_was_asked_to_lead(void **state)
{
    (void)state;
    struct lone l;
    struct raft_event event = {.kind = RAFT_TRANSFER, .peer = 2};
    lone_init(&l, &(struct lone_options){.voters = 3, .raft.lease_reads = true});
    lone_lead(&l);
    hold_a_lease(&l);
    assert_int_equal(lone_step(&l, &event), 0);
    assert_non_null(lone_sent(&l, RAFT_TIMEOUT_NOW, 2));
    for (int i = 0; i < 20; i++) { /* it is given up, but its message may arrive at any time */
        hold_a_lease(&l);
    }
    assert_int_equal(lone_read(&l), 0);
    assert_true(l.u.read.done < l.u.read.asked);
    lone_deinit(&l);
}

static void test_no_lease_from_another_configuration(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .raft.lease_reads = true});
    lone_lead(&l);
    hold_a_lease(&l);
    assert_int_equal(lone_change(&l, RAFT_ADD_LEARNER, 4), 0);
    assert_int_equal(lone_read(&l), 0);
    assert_true(l.u.read.done < l.u.read.asked);
    lone_deinit(&l);
}

static void test_a_restarted_voter_keeps_to_the_lease(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .raft.lease_reads = true});
    assert_int_equal(lone_vote(&l, 2, 5, 9, 4), 0);
    assert_int_equal(l.u.send_after_count, 0); /* it may have promised before it stopped */
    l.now_ms += LONE_ELECTION_MS;
    assert_int_equal(lone_vote(&l, 2, 5, 9, 4), 0);
    assert_true(lone_held(&l, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
    lone_deinit(&l);
}

/* ---- membership (D 4) ---- */

static void commit_all(struct lone *l)
{
    log_index last = lone_status(l).last;
    lone_written(l);
    both_accept(l, last, 0);
    assert_int_equal(l->u.commit, last);
}

static void test_p1_no_change_before_an_entry_of_the_term(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .terms = "2", .term = 2});
    assert_int_equal(lone_change(&l, RAFT_REMOVE, 3), ERR_NOT_LEADER);
    assert_int_equal(lone_append(&l, 2, 2, AT(2, 2), "", 2), 0);
    assert_int_equal(l.u.commit, 2); /* the configuration is committed, by an earlier leader */
    lone_win(&l);
    lone_written(&l);
    assert_int_equal(lone_accept(&l, 2, 2), 0);
    assert_int_equal(lone_change(&l, RAFT_REMOVE, 3), ERR_BUSY);
    assert_int_equal(lone_accept(&l, 2, 3), 0);
    assert_int_equal(lone_change(&l, RAFT_REMOVE, 3), 0);
    lone_deinit(&l);
}

static void test_one_change_at_a_time(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_change(&l, RAFT_ADD_LEARNER, 4), 0);
    assert_false(lone_status(&l).config_committed);
    assert_int_equal(raft_configuration(l.r)->count, 4); /* in force from now on */
    assert_int_equal(l.u.write.entries[0].type, LOG_ENTRY_CONFIG);
    assert_int_equal(lone_change(&l, RAFT_ADD_LEARNER, 5), ERR_BUSY);
    lone_written(&l);
    assert_int_equal(lone_accept(&l, 2, 3), 0);
    assert_true(lone_status(&l).config_committed);
    assert_true(l.u.changed);
    assert_int_equal(lone_change(&l, RAFT_ADD_LEARNER, 4), ERR_EXISTS);
    assert_int_equal(lone_change(&l, RAFT_ADD_LEARNER, 5), 0);
    lone_deinit(&l);
}

static void test_changes_refused_by_the_configuration(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_change(&l, RAFT_PROMOTE, 9), ERR_NOT_FOUND);
    assert_int_equal(lone_change(&l, RAFT_REMOVE, 9), ERR_NOT_FOUND);
    assert_int_equal(lone_change(&l, RAFT_PROMOTE, 2), ERR_EXISTS);
    assert_int_equal(lone_change(&l, (enum raft_change)9, 2), ERR_INVALID);
    assert_int_equal(lone_status(&l).last, 2);
    lone_deinit(&l);
}

static void test_learner_is_promoted_when_it_is_near(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .raft.append_bytes_max = 200});
    lone_lead(&l);
    assert_int_equal(lone_change(&l, RAFT_ADD_LEARNER, 4), 0);
    assert_non_null(lone_sent(&l, RAFT_APPEND, 4));
    commit_all(&l);
    assert_int_equal(lone_change(&l, RAFT_PROMOTE, 4), ERR_BUSY); /* nothing was heard of it */
    assert_int_equal(lone_refuse(&l, 4, 3, 0, 0), 0);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 4)->append.prev_index, 0); /* all of the log */
    assert_int_equal(lone_accept(&l, 4, 3), 0);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(lone_propose(&l, "0123456789"), 0);
    }
    commit_all(&l);
    assert_int_equal(lone_change(&l, RAFT_PROMOTE, 4), ERR_BUSY); /* 420 bytes behind */
    assert_int_equal(lone_accept(&l, 4, 10), 0);
    assert_int_equal(lone_change(&l, RAFT_PROMOTE, 4), 0);
    assert_true(raft_config_is_voter(raft_configuration(l.r), 4));
    lone_deinit(&l);
}

static void test_a_new_voter_counts_at_once(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_change(&l, RAFT_ADD_LEARNER, 4), 0);
    commit_all(&l);
    assert_int_equal(lone_accept(&l, 4, 3), 0);
    assert_int_equal(lone_change(&l, RAFT_PROMOTE, 4), 0); /* now 3 of 4 are a quorum */
    lone_written(&l);
    assert_int_equal(lone_accept(&l, 2, 4), 0);
    assert_int_equal(l.u.commit, 3);
    assert_int_equal(lone_accept(&l, 4, 4), 0);
    assert_int_equal(l.u.commit, 4);
    lone_deinit(&l);
}

/* etcd: confchange_v1_remove_leader (D 4.2.2). */
static void test_a_removed_leader_does_not_count_itself(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_change(&l, RAFT_REMOVE, 1), 0);
    assert_int_equal(lone_status(&l).role, RAFT_LEADER); /* it manages the cluster still */
    assert_int_equal(lone_propose(&l, "a"), 0);
    lone_written(&l);
    assert_int_equal(lone_accept(&l, 2, 4), 0);
    assert_int_equal(l.u.commit, 2); /* the own disk and one of two voters are no quorum */
    assert_int_equal(lone_status(&l).role, RAFT_LEADER);
    assert_int_equal(lone_accept(&l, 3, 3), 0);
    assert_int_equal(l.u.commit, 3);
    assert_int_equal(lone_status(&l).role, RAFT_LEARNER); /* steps down when that is committed */
    assert_non_null(lone_sent(&l, RAFT_TIMEOUT_NOW, 2));  /* the one that has most goes on */
    lone_tick(&l, 10 * LONE_ELECTION_MS);
    assert_int_equal(lone_status(&l).role, RAFT_LEARNER);
    lone_deinit(&l);
}

static void test_fewer_voters_commit_what_waited(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 4});
    lone_lead(&l);
    assert_int_equal(lone_propose(&l, "a"), 0);
    lone_written(&l);
    assert_int_equal(lone_accept(&l, 2, 3), 0);
    assert_int_equal(l.u.commit, 2); /* 2 of 4 */
    assert_int_equal(lone_change(&l, RAFT_REMOVE, 4), 0);
    assert_int_equal(l.u.commit, 3);            /* 2 of 3 */
    assert_int_equal(lone_accept(&l, 4, 3), 0); /* of one that is no member now: nothing */
    lone_deinit(&l);
}

static int append_config(struct lone *l, raft_key from, term_no term, struct lone_place prev,
                         const struct raft_config *config)
{
    struct buf bytes = BUF_INIT;
    raft_config_encode(config, &bytes);
    struct log_entry entry = {prev.index + 1, term, LOG_ENTRY_CONFIG, {bytes.data, bytes.length}};
    struct raft_message m = {.kind = RAFT_APPEND, .from = from, .term = term};
    m.append = (struct raft_append){prev.index, prev.term, 0, 0, 1, &entry};
    int code = lone_receive(l, &m);
    buf_deinit(&bytes);
    return code;
}

/* RedisRaft 48 and 51: a configuration goes with its entry. */
static void test_a_truncated_configuration_is_rolled_back(void **state)
{
    (void)state;
    struct lone l;
    struct raft_config smaller;
    lone_init(&l, &(struct lone_options){.voters = 3});
    smaller = l.config;
    assert_int_equal(raft_config_remove(&smaller, 1, NULL), 0);
    assert_int_equal(append_config(&l, 2, 2, AT(1, 1), &smaller), 0);
    assert_int_equal(raft_configuration(l.r)->count, 2);
    assert_int_equal(lone_status(&l).config_index, 2);
    assert_int_equal(lone_append(&l, 3, 3, AT(1, 1), "3", 0), 0);
    assert_int_equal(lone_status(&l).config_index, 1);
    assert_int_equal(lone_status(&l).role, RAFT_FOLLOWER);
    assert_true(raft_config_equal(raft_configuration(l.r), &l.config));
    lone_deinit(&l);
}

/* D 4.2.2: removed by an entry that only it has, perhaps, it must lead once more to commit it; but
 * it does not count its own vote. When the removal is committed, it is over. */
static void test_one_that_is_being_removed_may_be_needed(void **state)
{
    (void)state;
    struct lone l;
    struct raft_config smaller;
    lone_init(&l, &(struct lone_options){.voters = 2});
    smaller = l.config;
    assert_int_equal(raft_config_remove(&smaller, 1, NULL), 0);
    assert_int_equal(append_config(&l, 2, 2, AT(1, 1), &smaller), 0);
    lone_written(&l);
    lone_tick(&l, 2 * LONE_ELECTION_MS);
    assert_int_equal(lone_status(&l).role, RAFT_PRE_CANDIDATE); /* its own vote is no quorum */
    assert_int_equal(lone_held(&l, RAFT_VOTE, 2)->vote.last_index, 2);
    assert_int_equal(lone_append(&l, 2, 2, AT(2, 2), "", 2), 0);
    assert_int_equal(l.u.commit, 2);
    assert_int_equal(lone_status(&l).role, RAFT_LEARNER);
    lone_tick(&l, 2 * LONE_ELECTION_MS);
    assert_int_equal(lone_status(&l).role, RAFT_LEARNER);
    lone_deinit(&l);
}

/* No leader adds a configuration before the one before is committed. So nobody honest truncates two
 * of them. */
static void test_two_configurations_are_never_truncated(void **state)
{
    (void)state;
    struct lone l;
    struct raft_config config;
    struct raft_member four = lone_member(4);
    lone_init(&l, &(struct lone_options){.voters = 3});
    config = l.config;
    assert_int_equal(raft_config_add_learner(&config, &four, NULL), 0);
    assert_int_equal(append_config(&l, 2, 2, AT(1, 1), &config), 0);
    assert_int_equal(raft_config_remove(&config, 4, NULL), 0);
    assert_int_equal(append_config(&l, 2, 2, AT(2, 2), &config), 0);
    assert_int_equal(lone_append(&l, 3, 3, AT(1, 1), "3", 0), ERR_INVALID);
    assert_int_equal(lone_append(&l, 3, 3, AT(2, 2), "3", 0), 0);
    assert_int_equal(lone_status(&l).config_index, 2);
    lone_deinit(&l);
}

/* RedisRaft 30: configuration entries are replayed at start, those within the state are not. */
static void test_configurations_of_the_log_are_restored(void **state)
{
    (void)state;
    struct raft *r = NULL;
    struct raft_config first = {0};
    struct raft_config second;
    struct buf bytes = BUF_INIT;
    for (uint64_t id = 1; id <= 3; id++) {
        first.members[first.count++] = lone_member(id);
    }
    second = first;
    assert_int_equal(raft_config_remove(&second, 3, NULL), 0);
    raft_config_encode(&first, &bytes);
    struct log_entry entry = {1, 1, LOG_ENTRY_CONFIG, {bytes.data, bytes.length}};
    struct raft_options o = {
        .self = 1, .hard = {2, 0}, .applied = 2, .config = second, .config_index = 2};
    assert_int_equal(raft_new(&o, &r, NULL), 0);
    assert_int_equal(raft_restore(r, &entry, NULL), 0); /* older than the state's */
    assert_int_equal(raft_status(r).config_index, 2);
    entry.index = 2;
    assert_int_equal(raft_restore(r, &entry, NULL), 0);
    assert_int_equal(raft_configuration(r)->count, 2);
    entry.index = 3;
    assert_int_equal(raft_restore(r, &entry, NULL), 0);
    assert_int_equal(raft_status(r).config_index, 3);
    assert_int_equal(raft_configuration(r)->count, 3);
    assert_false(raft_status(r).config_committed);
    raft_free(r);
    buf_deinit(&bytes);
}

static void test_an_empty_member_learns_who_it_is(void **state)
{
    (void)state;
    struct lone l;
    struct raft_config config = {0};
    lone_init(&l, &(struct lone_options){.voters = 0});
    for (uint64_t id = 1; id <= 3; id++) {
        config.members[config.count++] = lone_member(id);
    }
    assert_int_equal(lone_status(&l).role, RAFT_LEARNER);
    assert_int_equal(append_config(&l, 2, 1, AT(0, 0), &config), 0);
    assert_int_equal(lone_status(&l).role, RAFT_FOLLOWER);
    lone_deinit(&l);
}

/* ---- transfer (D 3.10) ---- */

static int transfer(struct lone *l, raft_key to)
{
    struct raft_event event = {.kind = RAFT_TRANSFER, .peer = to};
    return lone_step(l, &event);
}

static void test_transfer_to_one_that_is_up_to_date(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    assert_int_equal(transfer(&l, 2), ERR_NOT_LEADER);
    lone_lead(&l);
    assert_int_equal(transfer(&l, 2), 0);
    assert_non_null(lone_sent(&l, RAFT_TIMEOUT_NOW, 2));
    assert_int_equal(lone_propose(&l, "a"), ERR_BUSY);
    assert_int_equal(lone_change(&l, RAFT_REMOVE, 3), ERR_BUSY);
    assert_int_equal(transfer(&l, 3), ERR_BUSY);
    struct raft_message m = {.kind = RAFT_VOTE, .from = 2, .term = 3};
    m.vote = (struct raft_vote){.last_index = 2, .last_term = 2, .transfer = true};
    assert_int_equal(lone_receive(&l, &m), 0);
    assert_int_equal(lone_status(&l).role, RAFT_FOLLOWER);
    assert_true(lone_held(&l, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
    lone_deinit(&l);
}

static void test_transfer_waits_for_the_last_entry(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_propose(&l, "a"), 0);
    assert_int_equal(transfer(&l, 2), 0);
    assert_null(lone_sent(&l, RAFT_TIMEOUT_NOW, 2));
    assert_int_equal(lone_accept(&l, 3, 3), 0);
    assert_null(lone_sent(&l, RAFT_TIMEOUT_NOW, 2));
    assert_int_equal(lone_accept(&l, 2, 3), 0);
    assert_non_null(lone_sent(&l, RAFT_TIMEOUT_NOW, 2));
    assert_int_equal(lone_accept(&l, 2, 3), 0);
    assert_null(lone_sent(&l, RAFT_TIMEOUT_NOW, 2)); /* not at each answer ... */
    lone_tick(&l, LONE_HEARTBEAT_MS);
    assert_non_null(lone_sent(&l, RAFT_TIMEOUT_NOW, 2)); /* ... but it may have been lost */
    lone_deinit(&l);
}

static void test_transfer_is_given_up(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    assert_int_equal(lone_propose(&l, "a"), 0);
    assert_int_equal(transfer(&l, 2), 0);
    for (int i = 0; i < 9; i++) {
        lone_tick(&l, LONE_HEARTBEAT_MS);
        assert_int_equal(lone_accept(&l, 3, 3), 0);
        assert_int_equal(lone_propose(&l, "b"), ERR_BUSY);
    }
    lone_tick(&l, LONE_HEARTBEAT_MS);
    assert_int_equal(lone_status(&l).role, RAFT_LEADER);
    assert_int_equal(lone_propose(&l, "b"), 0);
    lone_deinit(&l);
}

static void test_transfer_to_whom(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_win(&l);
    assert_int_equal(transfer(&l, 0), ERR_NOT_FOUND); /* nobody has answered yet */
    lone_written(&l);
    assert_int_equal(lone_accept(&l, 3, 2), 0);
    assert_int_equal(transfer(&l, 1), ERR_EXISTS);
    assert_int_equal(transfer(&l, 9), ERR_NOT_FOUND);
    assert_int_equal(lone_change(&l, RAFT_ADD_LEARNER, 4), 0);
    assert_int_equal(transfer(&l, 4), ERR_INVALID);
    assert_int_equal(lone_accept(&l, 3, 3), 0);
    assert_int_equal(lone_accept(&l, 2, 2), 0);
    assert_int_equal(transfer(&l, 0), 0);
    assert_non_null(lone_sent(&l, RAFT_TIMEOUT_NOW, 3)); /* the one that has most */
    lone_deinit(&l);
}

/* ---- looking ---- */

static void count_lines(void *arg, const char *line)
{
    (void)line;
    (*(int *)arg)++;
}

static void test_decisions_are_told(void **state)
{
    (void)state;
    struct lone l;
    int lines = 0;
    lone_init(&l, &(struct lone_options){.voters = 3});
    raft_trace(l.r, count_lines, &lines);
    lone_lead(&l);
    assert_true(lines >= 4);
    raft_trace(l.r, NULL, NULL);
    lines = 0;
    assert_int_equal(lone_propose(&l, "a"), 0);
    lone_written(&l);
    assert_int_equal(lines, 0);
    assert_string_equal(raft_role_name(lone_status(&l).role), "leader");
    lone_deinit(&l);
}

static void test_events_that_make_no_sense(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    struct raft_event event = {.kind = RAFT_WRITTEN, .written.seq = 1};
    assert_int_equal(lone_step(&l, &event), ERR_INVALID);
    event = (struct raft_event){.kind = (enum raft_event_kind)99};
    assert_int_equal(lone_step(&l, &event), ERR_INVALID);
    event = (struct raft_event){.kind = RAFT_INSTALLED};
    assert_int_equal(lone_step(&l, &event), ERR_INVALID);
    event = (struct raft_event){.kind = RAFT_SNAPSHOT_STORED};
    assert_int_equal(lone_step(&l, &event), ERR_INVALID);
    event = (struct raft_event){.kind = RAFT_COMPACTED, .snapshot.index = 1};
    assert_int_equal(lone_step(&l, &event), ERR_INVALID); /* it is not committed */
    event = (struct raft_event){.kind = RAFT_SNAPSHOT_MADE, .snapshot = {1, 1, 9, 0, false}};
    assert_int_equal(lone_step(&l, &event), ERR_INVALID);
    lone_deinit(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_read_before_an_entry_of_the_term_is_committed),
        cmocka_unit_test(test_a_read_waits_for_answers_to_what_was_sent_after_it),
        cmocka_unit_test(test_reads_share_rounds),
        cmocka_unit_test(test_a_lost_round_is_made_good_by_the_heartbeat),
        cmocka_unit_test(test_a_refusal_confirms_a_round_too),
        cmocka_unit_test(test_learners_confirm_nothing),
        cmocka_unit_test(test_alone_a_read_is_confirmed_at_once),
        cmocka_unit_test(test_reads_given_up_are_seen),
        cmocka_unit_test(test_p20_leases_are_off_by_default),
        cmocka_unit_test(test_lease_reads),
        cmocka_unit_test(test_no_lease_once_somebody_was_asked_to_lead),
        cmocka_unit_test(test_no_lease_from_another_configuration),
        cmocka_unit_test(test_a_restarted_voter_keeps_to_the_lease),
        cmocka_unit_test(test_p1_no_change_before_an_entry_of_the_term),
        cmocka_unit_test(test_one_change_at_a_time),
        cmocka_unit_test(test_changes_refused_by_the_configuration),
        cmocka_unit_test(test_learner_is_promoted_when_it_is_near),
        cmocka_unit_test(test_a_new_voter_counts_at_once),
        cmocka_unit_test(test_a_removed_leader_does_not_count_itself),
        cmocka_unit_test(test_fewer_voters_commit_what_waited),
        cmocka_unit_test(test_a_truncated_configuration_is_rolled_back),
        cmocka_unit_test(test_one_that_is_being_removed_may_be_needed),
        cmocka_unit_test(test_two_configurations_are_never_truncated),
        cmocka_unit_test(test_configurations_of_the_log_are_restored),
        cmocka_unit_test(test_an_empty_member_learns_who_it_is),
        cmocka_unit_test(test_transfer_to_one_that_is_up_to_date),
        cmocka_unit_test(test_transfer_waits_for_the_last_entry),
        cmocka_unit_test(test_transfer_is_given_up),
        cmocka_unit_test(test_transfer_to_whom),
        cmocka_unit_test(test_decisions_are_told),
        cmocka_unit_test(test_events_that_make_no_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
