/* Known failures of other systems, played with a small cluster on virtual time: numbers of
 * RedisRaft issues found by Jepsen, and pitfalls P1 to P20 (docs/raft-tests.md maps all of them).
 * What one member can show alone stands in test_raft_election.c and its neighbours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/parse.h"
#include "common/rng.h"
#include "tests/lib/raft_cluster.h"

static struct raft_cluster *make(size_t voters, size_t learners, uint64_t seed)
{
    struct cluster_options o = {.voters = voters,
                                .learners = learners,
                                .seed = seed,
                                .delay_ms_min = 1,
                                .delay_ms_max = 3,
                                .write_ms = 2,
                                .raft = {.piece_bytes = 100}};
    return cluster_new(&o);
}

static uint64_t leader_of(struct raft_cluster *c)
{
    uint64_t leader = cluster_await_leader(c, 5000);
    assert_int_not_equal(leader, 0);
    return leader;
}

static const char *fresh(void)
{
    static unsigned serial;
    static char text[24];
    (void)snprintf(text, sizeof(text), "p%06u", ++serial);
    return text;
}

/* A change through whoever leads, as an operator would: again until it is taken. */
static void change(struct raft_cluster *c, enum raft_change what, uint64_t member)
{
    for (int i = 0; i < 200; i++) {
        uint64_t leader = cluster_leader(c);
        if (leader != 0 && cluster_change(c, leader, what, member) == 0) {
            cluster_run(c, 100);
            return;
        }
        cluster_run(c, 50);
    }
    fail_msg("the change of member %u is not taken", (unsigned)member);
}

static void others(uint64_t leader, uint64_t ret_others[2]) /* of three */
{
    ret_others[0] = leader % 3 + 1;
    ret_others[1] = (leader + 1) % 3 + 1;
}

/* ---- membership x partition x crash ---- */

/* RedisRaft 17, 28: a member is removed through a leader that is cut off; all are killed and start
 * again. Two halves must not both go on. */
static void test_redisraft_17_28_removal_by_an_isolated_leader(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        uint64_t rest[2];
        struct raft_cluster *c = make(3, 0, seed);
        uint64_t old = leader_of(c);
        others(old, rest);
        (void)cluster_one(c, "kept", 3);
        cluster_disconnect(c, old);
        assert_int_equal(cluster_change(c, old, RAFT_REMOVE, rest[0]), 0);
        assert_int_equal(cluster_change(c, old, RAFT_REMOVE, rest[1]),
                         ERR_BUSY); /* one at a time */
        cluster_run(c, 20);
        (void)cluster_one(c, "after", 2);
        for (uint64_t id = 1; id <= 3; id++) {
            cluster_crash(c, id);
        }
        cluster_restart(c, old); /* it has a configuration of two, and no quorum of it */
        cluster_run(c, 3000);
        assert_int_equal(cluster_leader_count(c), 0);
        cluster_heal(c);
        cluster_restart(c, rest[0]);
        cluster_restart(c, rest[1]);
        (void)cluster_one(c, "together", 3);
        assert_true(cluster_is_committed(c, "kept", 1));
        assert_true(cluster_is_committed(c, "after", 1));
        assert_int_equal(raft_configuration(cluster_raft(c, old))->count, 3); /* rolled back */
        cluster_free(c);
    }
}

/* All members replaced, one after the other, under writes; each gets the log or a snapshot. */
static void test_every_member_is_replaced(void **state)
{
    (void)state;
    struct cluster_options o = {.voters = 3,
                                .learners = 3,
                                .seed = 3,
                                .delay_ms_min = 1,
                                .delay_ms_max = 3,
                                .write_ms = 2,
                                .snapshot_every = 5,
                                .raft = {.piece_bytes = 100}};
    struct raft_cluster *c = cluster_new(&o);
    (void)leader_of(c);
    for (uint64_t id = 1; id <= 3; id++) {
        (void)cluster_one(c, fresh(), 3);
        change(c, RAFT_ADD_LEARNER, id + 3);
        (void)cluster_one(c, fresh(), 4);
        change(c, RAFT_PROMOTE, id + 3);
        change(c, RAFT_REMOVE, id); /* the leader too, when its turn comes */
        cluster_crash(c, id);
    }
    log_index last = cluster_one(c, fresh(), 3);
    assert_int_equal(cluster_applied_count(c, last), 3);
    assert_true(cluster_leader(c) > 3);
    assert_true(cluster_stats(c).snapshots_installed > 0);
    cluster_free(c);
}

/* A disk is lost: its member must not come back under the old name, but as a learner. */
static void test_a_member_that_lost_its_disk_is_somebody_else(void **state)
{
    (void)state;
    struct raft_cluster *c = make(3, 0, 4);
    uint64_t leader = leader_of(c);
    uint64_t lost = leader % 3 + 1;
    (void)cluster_one(c, "kept", 3);
    change(c, RAFT_REMOVE, lost);
    cluster_wipe(c, lost);
    cluster_restart(c, lost);
    cluster_run(c, 2000);
    assert_int_equal(raft_status(cluster_raft(c, lost)).role, RAFT_LEARNER); /* empty, silent */
    assert_int_equal(cluster_applied(c, lost), 0);
    change(c, RAFT_ADD_LEARNER, lost);
    (void)cluster_one(c, fresh(), 3);
    change(c, RAFT_PROMOTE, lost);
    cluster_crash(c, leader);
    (void)cluster_one(c, fresh(), 2);
    assert_true(cluster_is_committed(c, "kept", 1));
    cluster_free(c);
}

/* P17: who is removed and does not know it. */
static void test_p17_a_removed_member_disturbs_nobody(void **state)
{
    (void)state;
    struct raft_cluster *c = make(4, 0, 5);
    uint64_t leader = leader_of(c);
    uint64_t removed = leader % 4 + 1;
    cluster_disconnect(c, removed);
    change(c, RAFT_REMOVE, removed);
    cluster_connect(c, removed); /* hears no leader any more, and campaigns in vain */
    term_no term = cluster_term(c, leader);
    cluster_run(c, 10 * 1000);
    assert_int_equal(cluster_leader(c), leader);
    assert_int_equal(cluster_term(c, leader), term);
    assert_int_equal(cluster_term(c, removed), term);
    (void)cluster_one(c, fresh(), 3);
    cluster_free(c);
}

/* ---- reads ---- */

/* RedisRaft 18, 19: kill all, start, read at once. */
static void test_redisraft_18_19_reads_after_a_restart_of_all(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct raft_cluster *c = make(3, 0, seed);
        (void)cluster_one(c, fresh(), 2);
        for (uint64_t id = 1; id <= 3; id++) {
            cluster_crash(c, id);
            cluster_restart(c, id);
        }
        size_t taken = 0;
        for (int ms = 0; ms < 2000; ms++) {
            for (uint64_t id = 1; id <= 3; id++) {
                taken += cluster_read(c, id) == 0; /* an answer checks itself: raft_cluster.h */
            }
            cluster_run(c, 1);
        }
        assert_true(taken > 0);
        assert_true(cluster_stats(c).reads_done > 0);
        cluster_free(c);
    }
}

/* A leader that is cut off, and does not know it yet, answers no read. */
static void test_no_stale_read_from_a_deposed_leader(void **state)
{
    (void)state;
    struct raft_cluster *c = make(3, 0, 6);
    uint64_t old = leader_of(c);
    (void)cluster_one(c, fresh(), 3);
    cluster_disconnect(c, old);
    uint64_t done = cluster_stats(c).reads_done;
    for (int ms = 0; ms < 1500; ms += 10) {
        (void)cluster_read(c, old);
        cluster_run(c, 10);
    }
    assert_int_equal(cluster_stats(c).reads_done, done);
    assert_true(cluster_stats(c).reads_given_up > 0);
    cluster_free(c);
}

/* ---- elections ---- */

/* etcd's TestDisruptiveFollowerPreVote: one that does not hear the leader but is heard. */
static void test_a_deaf_follower_does_not_disrupt(void **state)
{
    (void)state;
    struct raft_cluster *c = make(3, 0, 7);
    uint64_t leader = leader_of(c);
    uint64_t deaf = leader % 3 + 1;
    term_no term = cluster_term(c, leader);
    cluster_cut(c, leader, deaf);
    for (int i = 0; i < 20; i++) {
        (void)cluster_one(c, fresh(), 2);
    }
    cluster_run(c, 5000);
    assert_int_equal(cluster_leader(c), leader);
    assert_int_equal(cluster_term(c, leader), term);
    cluster_heal(c);
    (void)cluster_one(c, fresh(), 3);
    assert_int_equal(cluster_term(c, leader), term);
    cluster_free(c);
}

static void cut_both(struct raft_cluster *c, uint64_t a, uint64_t b)
{
    cluster_cut(c, a, b);
    cluster_cut(c, b, a);
}

/* P16, quorum loss: five members, of which only one sees all others. It must come to lead. */
static void test_p16_quorum_loss(void **state)
{
    (void)state;
    struct raft_cluster *c = make(5, 0, 8);
    uint64_t leader = leader_of(c);
    uint64_t hub = leader % 5 + 1;
    (void)cluster_one(c, fresh(), 5);
    for (uint64_t a = 1; a <= 5; a++) {
        for (uint64_t b = 1; b <= 5; b++) {
            if (a != hub && b != hub && a != b) {
                cluster_cut(c, a, b);
            }
        }
    }
    cluster_run(c, 5000);
    assert_int_equal(cluster_leader(c), hub);
    (void)cluster_one(c, fresh(), 5);
    cluster_free(c);
}

/* P16, chained: the leader and one other do not see each other, a third sees both. No member is
 * without a quorum, so the leader stays. */
static void test_p16_chained(void **state)
{
    (void)state;
    struct raft_cluster *c = make(3, 0, 9);
    uint64_t leader = leader_of(c);
    term_no term = cluster_term(c, leader);
    cut_both(c, leader, leader % 3 + 1);
    cluster_run(c, 20 * 1000);
    assert_int_equal(cluster_leader(c), leader);
    assert_int_equal(cluster_term(c, leader), term);
    (void)cluster_one(c, fresh(), 2);
    cluster_free(c);
}

/* P16, constrained election: only one member sees a quorum, and its log is behind. Plain Raft finds
 * no leader until that is mended; it must stay safe, and go on afterwards. */
static void test_p16_constrained_election(void **state)
{
    (void)state;
    struct raft_cluster *c = make(5, 0, 10);
    uint64_t leader = leader_of(c);
    uint64_t hub = leader % 5 + 1;
    cluster_disconnect(c, hub);
    (void)cluster_one(c, "without the hub", 4);
    cluster_connect(c, hub);
    cluster_crash(c, leader);
    for (uint64_t a = 1; a <= 5; a++) {
        for (uint64_t b = 1; b <= 5; b++) {
            if (a != hub && b != hub && a != b) {
                cluster_cut(c, a, b);
            }
        }
    }
    cluster_run(c, 5000); /* the oracle looks on */
    cluster_heal(c);
    (void)cluster_one(c, fresh(), 4);
    assert_true(cluster_is_committed(c, "without the hub", 1));
    cluster_free(c);
}

/* A disk that takes longer than a heartbeat for each write changes no leader. */
static void test_slow_disks_do_not_unseat(void **state)
{
    (void)state;
    struct cluster_options o = {.voters = 3,
                                .seed = 11,
                                .delay_ms_min = 1,
                                .delay_ms_max = 3,
                                .write_ms = 400,
                                .raft = {.heartbeat_ms = 50, .election_ms = 1500}};
    struct raft_cluster *c = cluster_new(&o);
    uint64_t leader = leader_of(c);
    term_no term = cluster_term(c, leader);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(cluster_propose(c, leader, fresh(), NULL), 0);
        cluster_run(c, 20);
    }
    cluster_run(c, 3000);
    assert_int_equal(cluster_term(c, leader), term);
    assert_true(cluster_applied_count(c, cluster_committed(c)) == 3);
    cluster_free(c);
}

/* ---- transfer ---- */

static void test_leadership_goes_round(void **state)
{
    (void)state;
    struct raft_cluster *c = make(5, 0, 12);
    (void)leader_of(c);
    for (uint64_t i = 0; i < 20; i++) {
        uint64_t from = leader_of(c);
        uint64_t to = from % 5 + 1;
        assert_int_equal(cluster_propose(c, from, fresh(), NULL), 0);
        assert_int_equal(cluster_transfer(c, from, to), 0);
        cluster_run(c, 100); /* well below an election timeout */
        assert_int_equal(cluster_leader(c), to);
        (void)cluster_one(c, fresh(), 5);
    }
    cluster_free(c);
}

static void test_transfer_to_one_that_needs_a_snapshot(void **state)
{
    (void)state;
    struct cluster_options o = {.voters = 3,
                                .seed = 13,
                                .delay_ms_min = 1,
                                .delay_ms_max = 2,
                                .write_ms = 1,
                                .snapshot_every = 5,
                                .raft = {.piece_bytes = 100}};
    struct raft_cluster *c = cluster_new(&o);
    uint64_t leader = leader_of(c);
    uint64_t slow = leader % 3 + 1;
    cluster_disconnect(c, slow);
    for (int i = 0; i < 20; i++) {
        (void)cluster_one(c, fresh(), 2);
    }
    cluster_connect(c, slow);
    assert_int_equal(cluster_transfer(c, leader, slow), 0);
    cluster_run(c, 500);
    assert_int_equal(cluster_leader(c), slow);
    cluster_free(c);
}

/* ---- everything at once ---- */

static uint64_t some_member(struct rng *rng, uint64_t members)
{
    return 1 + rng_below(rng, members);
}

static void disturb(struct raft_cluster *c, struct rng *rng)
{
    uint64_t id = some_member(rng, 6);
    uint64_t leader = cluster_leader(c);
    switch (rng_below(rng, 12)) {
    case 0:
        cluster_crash(c, id);
        break;
    case 1:
    case 2:
        cluster_restart(c, id);
        break;
    case 3:
        cluster_disconnect(c, id);
        break;
    case 4:
        cluster_heal(c);
        break;
    case 5:
        cluster_cut(c, id, some_member(rng, 6));
        break;
    case 6:
        cluster_hang_disk(c, id, true);
        break;
    case 7:
        cluster_hang_disk(c, id, false);
        break;
    case 8:
        cluster_lossy(c, (uint32_t)rng_below(rng, 20), rng_below(rng, 4) == 0);
        break;
    case 9:
        (void)(leader != 0 ? cluster_transfer(c, leader, id) : 0);
        break;
    default:
        (void)(leader != 0
                   ? cluster_change(c, leader, (enum raft_change)(1 + rng_below(rng, 3)), id)
                   : 0);
        break;
    }
}

/* Enough of the members must be there again: those of the configuration that counts. */
static void mend(struct raft_cluster *c)
{
    cluster_heal(c);
    cluster_lossy(c, 0, false);
    for (uint64_t id = 1; id <= 6; id++) {
        cluster_restart(c, id);
        cluster_hang_disk(c, id, false);
    }
}

static void one_history(uint64_t seed)
{
    struct rng rng;
    struct cluster_options o = {.voters = 3 + seed % 2 * 2,
                                .learners = 3 - seed % 2 * 2,
                                .seed = seed,
                                .delay_ms_min = 0,
                                .delay_ms_max = 15,
                                .write_ms = (uint32_t)(seed % 7),
                                .double_percent = 3,
                                .snapshot_every = seed % 3 == 0 ? 0 : 7,
                                .raft = {.piece_bytes = 64,
                                         .inflight_count_max = 1 + (uint32_t)(seed % 5),
                                         .append_bytes_max = seed % 4 == 0 ? 100 : 0,
                                         .lease_reads = seed % 2 == 0}};
    struct raft_cluster *c = cluster_new(&o);
    rng_seed(&rng, seed);
    for (int i = 0; i < 300; i++) {
        if (rng_below(&rng, 6) == 0) {
            disturb(c, &rng);
        }
        for (uint64_t id = 1; id <= 6; id++) {
            if (cluster_raft(c, id) != NULL) {
                (void)(rng_below(&rng, 2) == 0 ? cluster_propose(c, id, fresh(), NULL)
                                               : cluster_read(c, id));
            }
        }
        cluster_run(c, rng_below(&rng, 60));
    }
    mend(c);
    (void)cluster_one(c, fresh(), 1);
    cluster_free(c);
}

static uint64_t wanted(const char *name, uint64_t standard)
{
    uint64_t value = standard;
    if (getenv(name) != NULL && parse_u64(getenv(name), &value, NULL) < 0) {
        fail_msg("%s=%s", name, getenv(name));
    }
    return value;
}

/* RAFT_HISTORIES: how many; RAFT_SEED: the first of them. */
static void test_random_histories(void **state)
{
    (void)state;
    uint64_t first = wanted("RAFT_SEED", 1);
    uint64_t count = wanted("RAFT_HISTORIES", getenv("RAFT_SEED") != NULL ? 1 : 40);
    for (uint64_t seed = first; seed < first + count; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        one_history(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redisraft_17_28_removal_by_an_isolated_leader),
        cmocka_unit_test(test_every_member_is_replaced),
        cmocka_unit_test(test_a_member_that_lost_its_disk_is_somebody_else),
        cmocka_unit_test(test_p17_a_removed_member_disturbs_nobody),
        cmocka_unit_test(test_redisraft_18_19_reads_after_a_restart_of_all),
        cmocka_unit_test(test_no_stale_read_from_a_deposed_leader),
        cmocka_unit_test(test_a_deaf_follower_does_not_disrupt),
        cmocka_unit_test(test_p16_quorum_loss),
        cmocka_unit_test(test_p16_chained),
        cmocka_unit_test(test_p16_constrained_election),
        cmocka_unit_test(test_slow_disks_do_not_unseat),
        cmocka_unit_test(test_leadership_goes_round),
        cmocka_unit_test(test_transfer_to_one_that_needs_a_snapshot),
        cmocka_unit_test(test_random_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
