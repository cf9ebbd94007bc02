/* Snapshots, seen from one member: a leader whose log no longer begins where a peer ends, and a
 * receiver that decides about each piece before its caller sees it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/limits.h"
#include "tests/lib/raft_lone.h"

enum { PIECE_BYTES = 100 };

/* ---- the receiver ---- */

static int receive(struct lone *l, raft_key from, term_no term, struct raft_snapshot s)
{
    static const char data[2 * PIECE_BYTES];
    struct raft_message m = {.kind = RAFT_SNAPSHOT, .from = from, .term = term, .snapshot = s};
    m.snapshot.data = (struct span){data, PIECE_BYTES};
    return lone_receive(l, &m);
}

static struct raft_snapshot piece(log_index index, term_no last_term, uint64_t offset)
{
    return (struct raft_snapshot){
        .index = index, .last_term = last_term, .offset = offset, .bytes = 3 * PIECE_BYTES};
}

static int stored(struct lone *l, uint64_t offset)
{
    struct raft_event event = {.kind = RAFT_SNAPSHOT_STORED, .snapshot.offset = offset};
    return lone_step(l, &event);
}

static int installed(struct lone *l, log_index index, term_no last_term)
{
    struct raft_event event = {.kind = RAFT_INSTALLED};
    event.snapshot.index = index;
    event.snapshot.last_term = last_term;
    event.snapshot.config = &l->config;
    event.snapshot.config_index = index - 1;
    return lone_step(l, &event);
}

static const struct raft_snapshot_reply *answer(const struct lone *l)
{
    const struct raft_message *m = lone_held(l, RAFT_SNAPSHOT_REPLY, 2);
    return m != NULL ? &m->snapshot_reply : NULL;
}

/* All pieces of a snapshot that ends after entry 50 of term 3. */
static void receive_all(struct lone *l)
{
    for (uint64_t offset = 0; offset < 3 * PIECE_BYTES; offset += PIECE_BYTES) {
        assert_int_equal(receive(l, 2, 4, piece(50, 3, offset)), 0);
        assert_non_null(l->u.store);
        assert_int_equal(l->u.store->offset, offset);
        assert_int_equal(l->u.store->data.length, PIECE_BYTES);
        assert_null(l->u.install);
        assert_int_equal(stored(l, offset + PIECE_BYTES), 0);
    }
    assert_non_null(l->u.install);
    assert_int_equal(l->u.install->index, 50);
    assert_int_equal(l->u.install->last_term, 3);
}

static void test_received_in_pieces_and_installed(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .terms = "22", .term = 2});
    receive_all(&l);
    assert_null(answer(&l)); /* not before it is the state */
    assert_int_equal(installed(&l, 50, 3), 0);
    assert_true(answer(&l)->installed);
    assert_int_equal(l.u.commit, 50);
    assert_int_equal(lone_status(&l).last, 50);
    assert_int_equal(lone_status(&l).durable, 50);
    assert_int_equal(lone_status(&l).config_index, 49);
    assert_int_equal(lone_append(&l, 2, 4, AT(50, 3), "34", 51), 0); /* and the log goes on */
    assert_int_equal(lone_status(&l).last, 52);
    term_no term = 0;
    assert_int_equal(raft_term_at(l.r, 50, &term), 0); /* the entry before the log */
    assert_int_equal(term, 3);
    assert_int_equal(raft_term_at(l.r, 49, &term), ERR_NOT_FOUND);
    assert_int_equal(raft_term_at(l.r, 53, &term), ERR_NOT_FOUND);
    lone_deinit(&l);
}

static void test_each_piece_says_where_to_go_on(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    assert_int_equal(receive(&l, 2, 4, piece(50, 3, 0)), 0);
    assert_null(answer(&l)); /* only when it is kept */
    assert_int_equal(stored(&l, PIECE_BYTES), 0);
    assert_int_equal(answer(&l)->offset, PIECE_BYTES);
    assert_false(answer(&l)->installed);
    lone_deinit(&l);
}

/* Camunda 10180 and 10202 (P13): double and disordered pieces. */
static void test_p13_disordered_pieces(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    assert_int_equal(receive(&l, 2, 4, piece(50, 3, PIECE_BYTES)), 0); /* the first one is lost */
    assert_null(l.u.store);
    assert_int_equal(answer(&l)->offset, 0);
    assert_int_equal(receive(&l, 2, 4, piece(50, 3, 0)), 0);
    assert_int_equal(receive(&l, 2, 4, piece(50, 3, 0)), 0); /* while it is being stored */
    assert_null(l.u.store);
    assert_null(answer(&l));
    assert_int_equal(stored(&l, PIECE_BYTES), 0);
    assert_int_equal(receive(&l, 2, 4, piece(50, 3, 0)), 0); /* and after that */
    assert_null(l.u.store);
    assert_int_equal(answer(&l)->offset, PIECE_BYTES);
    assert_int_equal(receive(&l, 2, 4, piece(50, 3, 2 * PIECE_BYTES)), 0);
    assert_null(l.u.store);
    assert_int_equal(answer(&l)->offset, PIECE_BYTES);
    lone_deinit(&l);
}

/* Two members' snapshots of one index need not have equal bytes: never mix them. */
static void test_another_senders_pieces_are_not_mixed_in(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    assert_int_equal(receive(&l, 2, 4, piece(50, 3, 0)), 0);
    assert_int_equal(stored(&l, PIECE_BYTES), 0);
    assert_int_equal(receive(&l, 3, 5, piece(50, 3, PIECE_BYTES)), 0);
    assert_null(l.u.store);
    assert_int_equal(lone_held(&l, RAFT_SNAPSHOT_REPLY, 3)->snapshot_reply.offset, 0);
    assert_int_equal(receive(&l, 3, 5, piece(50, 3, 0)), 0);
    assert_int_equal(l.u.store->offset, 0); /* begins anew */
    lone_deinit(&l);
}

static void test_a_stale_snapshot_is_not_wanted(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .terms = "222", .term = 2});
    assert_int_equal(lone_append(&l, 2, 4, AT(4, 2), "", 3), 0);
    assert_int_equal(receive(&l, 2, 4, piece(3, 2, 0)), 0); /* committed */
    assert_null(l.u.store);
    assert_true(answer(&l)->installed);
    assert_int_equal(receive(&l, 2, 4, piece(4, 2, 0)), 0); /* in the log, of that term */
    assert_null(l.u.store);
    assert_true(answer(&l)->installed);
    assert_int_equal(lone_status(&l).last, 4);
    lone_deinit(&l);
}

static void test_a_stale_sender_is_told(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .term = 5});
    assert_int_equal(receive(&l, 2, 4, piece(50, 3, 0)), 0);
    assert_null(l.u.store);
    assert_true(answer(&l)->refused);
    assert_int_equal(lone_held(&l, RAFT_SNAPSHOT_REPLY, 2)->term, 5); /* and steps down */
    lone_deinit(&l);
}

/* Entries behind it may have been acknowledged: installing it would take that back. */
static void test_a_snapshot_within_the_log_drops_nothing(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    assert_int_equal(lone_append(&l, 2, 4, AT(1, 1), "2234", 1), 0); /* not yet durable */
    uint64_t entries = l.u.write.seq;
    assert_int_equal(receive(&l, 2, 4, piece(3, 2, 0)), 0);
    assert_null(l.u.store);
    assert_true(answer(&l)->installed);
    assert_int_equal(l.u.after_seq, entries); /* it has it when that is durable */
    assert_int_equal(lone_status(&l).last, 5);
    lone_deinit(&l);
}

/* RedisRaft dcc2fea: index and term are checked before a byte is loaded. */
static void test_dcc2fea_numbers_are_checked_first(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    static const struct raft_snapshot bad[] = {
        {.index = 0, .last_term = 3, .bytes = 300},
        {.index = 50, .last_term = 0, .bytes = 300},
        {.index = 50, .last_term = 5, .bytes = 300}, /* above the leader's term */
        {.index = (UINT64_C(1) << 62) + 1, .last_term = 3, .bytes = 300},
        {.index = 50, .last_term = 3, .bytes = PIECE_BYTES - 1}, /* more than the whole */
        {.index = 50, .last_term = 3, .bytes = 300, .offset = 201},
        {.index = 50, .last_term = 3, .bytes = 300, .offset = UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(receive(&l, 2, 4, bad[i]), ERR_INVALID);
        assert_null(l.u.store);
        assert_int_equal(lone_status(&l).term, 1);
    }
    struct raft_message m = {.kind = RAFT_SNAPSHOT, .from = 2, .term = 4};
    m.snapshot = piece(50, 3, 0); /* no bytes in it */
    assert_int_equal(lone_receive(&l, &m), ERR_INVALID);
    m.snapshot.data = (struct span){"", RAFT_PIECE_BYTES_MAX + 1};
    m.snapshot.bytes = UINT64_MAX;
    assert_int_equal(lone_receive(&l, &m), ERR_INVALID);
    lone_deinit(&l);
}

static void test_failures_are_told(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .terms = "2", .term = 2});
    assert_int_equal(receive(&l, 2, 4, piece(50, 3, 0)), 0);
    struct raft_event event = {.kind = RAFT_SNAPSHOT_STORED, .snapshot.failed = true};
    assert_int_equal(lone_step(&l, &event), 0);
    assert_true(answer(&l)->refused);
    receive_all(&l);
    event.kind = RAFT_INSTALLED;
    assert_int_equal(lone_step(&l, &event), 0);
    assert_true(answer(&l)->refused);
    assert_int_equal(lone_status(&l).last, 2); /* as before */
    receive_all(&l);                           /* and again from the beginning */
    assert_int_equal(installed(&l, 50, 3), 0);
    lone_deinit(&l);
}

static void test_nothing_is_written_while_it_is_installed(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .terms = "2", .term = 4});
    assert_int_equal(lone_append(&l, 2, 4, AT(2, 2), "", 1), 0);
    receive_all(&l);
    assert_int_equal(lone_append(&l, 2, 4, AT(2, 2), "44", 2), 0);
    assert_int_equal(l.u.write.seq, 0);
    const struct raft_message *reply = lone_held(&l, RAFT_APPEND_REPLY, 2);
    assert_true(reply->append_reply.ok);
    assert_int_equal(reply->append_reply.match, 1); /* what is committed, no more */
    assert_int_equal(receive(&l, 2, 4, piece(60, 3, 0)), 0);
    assert_null(l.u.store);
    lone_tick(&l, 10 * LONE_ELECTION_MS); /* nor does it campaign */
    assert_int_equal(lone_status(&l).role, RAFT_FOLLOWER);
    assert_int_equal(installed(&l, 51, 3), ERR_INVALID);
    assert_int_equal(installed(&l, 50, 3), 0);
    lone_deinit(&l);
}

/* The log may get there first, by another leader. Then the pieces were for nothing. */
static void test_overtaken_by_the_log(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3, .term = 4});
    struct raft_snapshot s = piece(3, 3, 0);
    s.bytes = PIECE_BYTES;
    assert_int_equal(receive(&l, 2, 4, s), 0);
    assert_int_equal(lone_append(&l, 2, 4, AT(1, 1), "234", 1), 0);
    assert_int_equal(stored(&l, PIECE_BYTES), 0);
    assert_null(l.u.install);
    assert_true(answer(&l)->installed);
    lone_deinit(&l);
}

/* ---- the sender ---- */

static void compact_to(struct lone *l, log_index index)
{
    struct raft_event event = {.kind = RAFT_COMPACTED, .snapshot.index = index};
    assert_int_equal(raft_term_at(l->r, index, &event.snapshot.last_term), 0);
    assert_int_equal(lone_step(l, &event), 0);
}

static void snapshot_made(struct lone *l, log_index index)
{
    struct raft_event event = {.kind = RAFT_SNAPSHOT_MADE, .snapshot.index = index};
    event.snapshot.bytes = 3 * PIECE_BYTES;
    assert_int_equal(raft_term_at(l->r, index, &event.snapshot.last_term), 0);
    assert_int_equal(lone_step(l, &event), 0);
}

static int reply(struct lone *l, struct raft_snapshot_reply answer_)
{
    struct raft_message m = {.kind = RAFT_SNAPSHOT_REPLY, .from = 3, .term = 2};
    m.snapshot_reply = answer_;
    return lone_receive(l, &m);
}

static const struct raft_snapshot *sent(const struct lone *l)
{
    const struct raft_message *m = lone_sent(l, RAFT_SNAPSHOT, 3);
    return m != NULL ? &m->snapshot : NULL;
}

/* A leader of 3 with a log that begins after entry 8; member 2 has everything, 3 nothing. */
static void lead_far_ahead(struct lone *l)
{
    lone_init(l, &(struct lone_options){.voters = 3, .raft.piece_bytes = PIECE_BYTES});
    lone_win(l);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(lone_propose(l, "a"), 0);
    }
    lone_written(l);
    assert_int_equal(lone_accept(l, 2, 2), 0);
    assert_int_equal(lone_accept(l, 2, 10), 0);
    assert_int_equal(l->u.commit, 10);
    compact_to(l, 8);
    assert_int_equal(lone_refuse(l, 3, 1, 0, 0), 0);
    assert_int_equal(lone_peer(l, 3).state, RAFT_PEER_SNAPSHOT);
    assert_true(l->u.want_snapshot);
    assert_null(sent(l));
}

/* etcd's slow_follower_after_compaction. */
static void test_sent_in_pieces_to_who_is_behind(void **state)
{
    (void)state;
    struct lone l;
    lead_far_ahead(&l);
    snapshot_made(&l, 10);
    assert_false(l.u.want_snapshot);
    assert_int_equal(sent(&l)->index, 10);
    assert_int_equal(sent(&l)->last_term, 2);
    assert_int_equal(sent(&l)->offset, 0);
    assert_int_equal(l.u.keep, 10); /* the log after it is wanted */
    assert_int_equal(reply(&l, (struct raft_snapshot_reply){10, .offset = 100}), 0);
    assert_int_equal(sent(&l)->offset, 100);
    assert_int_equal(lone_propose(&l, "b"), 0); /* no entries meanwhile */
    assert_null(lone_sent(&l, RAFT_APPEND, 3));
    assert_int_equal(reply(&l, (struct raft_snapshot_reply){10, .offset = 200}), 0);
    assert_int_equal(sent(&l)->offset, 200);
    assert_int_equal(lone_peer(&l, 3).snapshot_offset, 200);
    assert_int_equal(reply(&l, (struct raft_snapshot_reply){10, .installed = true}), 0);
    assert_int_equal(lone_peer(&l, 3).match, 10);
    assert_int_equal(lone_peer(&l, 3).state, RAFT_PEER_PROBE);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 3)->append.prev_index, 10);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 3)->append.count, 1);
    lone_deinit(&l);
}

static void test_heartbeats_go_on_beside_it(void **state)
{
    (void)state;
    struct lone l;
    lead_far_ahead(&l);
    snapshot_made(&l, 10);
    lone_tick(&l, LONE_HEARTBEAT_MS);
    const struct raft_message *m = lone_sent(&l, RAFT_APPEND, 3);
    assert_int_equal(m->append.prev_index, 0); /* where all logs agree */
    assert_int_equal(m->append.count, 0);
    assert_null(sent(&l)); /* the piece is not sent at each */
    lone_deinit(&l);
}

static void test_a_lost_piece_is_sent_again(void **state)
{
    (void)state;
    struct lone l;
    lead_far_ahead(&l);
    snapshot_made(&l, 10);
    assert_int_equal(reply(&l, (struct raft_snapshot_reply){10, .offset = 100}), 0);
    int sent_again = 0;
    for (int ms = 0; ms < 3 * RAFT_PIECE_RETRY_MS; ms += LONE_HEARTBEAT_MS) {
        lone_tick(&l, LONE_HEARTBEAT_MS);
        if (sent(&l) != NULL) {
            assert_int_equal(sent(&l)->offset, 100);
            sent_again++;
        }
        assert_int_equal(lone_accept(&l, 2, 10), 0);
    }
    assert_int_equal(sent_again, 3);
    lone_deinit(&l);
}

static void test_double_answers_do_not_multiply_pieces(void **state)
{
    (void)state;
    struct lone l;
    lead_far_ahead(&l);
    snapshot_made(&l, 10);
    assert_int_equal(reply(&l, (struct raft_snapshot_reply){10, .offset = 100}), 0);
    assert_non_null(sent(&l));
    assert_int_equal(reply(&l, (struct raft_snapshot_reply){10, .offset = 100}), 0);
    assert_null(sent(&l));
    assert_int_equal(reply(&l, (struct raft_snapshot_reply){9, .installed = true}),
                     0); /* another */
    assert_int_equal(lone_peer(&l, 3).state, RAFT_PEER_SNAPSHOT);
    assert_int_equal(reply(&l, (struct raft_snapshot_reply){10, .offset = 999}), 0); /* nonsense */
    assert_null(sent(&l));
    lone_deinit(&l);
}

static void test_a_refused_snapshot_begins_again_later(void **state)
{
    (void)state;
    struct lone l;
    lead_far_ahead(&l);
    snapshot_made(&l, 10);
    assert_int_equal(reply(&l, (struct raft_snapshot_reply){10, .offset = 100}), 0);
    assert_int_equal(reply(&l, (struct raft_snapshot_reply){10, .refused = true}), 0);
    assert_null(sent(&l));
    l.now_ms += RAFT_PIECE_RETRY_MS;
    assert_int_equal(lone_accept(&l, 2, 10), 0);
    assert_int_equal(sent(&l)->offset, 0);
    lone_deinit(&l);
}

static void test_a_receiver_that_restarts_goes_back(void **state)
{
    (void)state;
    struct lone l;
    lead_far_ahead(&l);
    snapshot_made(&l, 10);
    assert_int_equal(reply(&l, (struct raft_snapshot_reply){10, .offset = 200}), 0);
    assert_int_equal(reply(&l, (struct raft_snapshot_reply){10, .offset = 0}), 0);
    assert_int_equal(sent(&l)->offset, 0);
    lone_deinit(&l);
}

static void test_a_new_snapshot_begins_anew(void **state)
{
    (void)state;
    struct lone l;
    lead_far_ahead(&l);
    snapshot_made(&l, 9);
    assert_int_equal(reply(&l, (struct raft_snapshot_reply){9, .offset = 200}), 0);
    snapshot_made(&l, 9); /* of the same index, but other bytes perhaps */
    assert_int_equal(sent(&l)->offset, 0);
    assert_int_equal(reply(&l, (struct raft_snapshot_reply){9, .offset = 100}), 0);
    snapshot_made(&l, 10);
    assert_int_equal(sent(&l)->index, 10);
    assert_int_equal(sent(&l)->offset, 0);
    lone_deinit(&l);
}

static void test_a_snapshot_behind_the_log_is_no_use(void **state)
{
    (void)state;
    struct lone l;
    lead_far_ahead(&l);
    snapshot_made(&l, 9);
    compact_to(&l, 10);
    assert_true(l.u.want_snapshot);
    assert_int_equal(reply(&l, (struct raft_snapshot_reply){9, .offset = 100}), 0);
    assert_null(sent(&l));
    struct raft_event gone = {.kind = RAFT_SNAPSHOT_MADE};
    snapshot_made(&l, 10);
    assert_non_null(sent(&l));
    assert_int_equal(lone_step(&l, &gone), 0); /* index 0: withdrawn */
    assert_true(l.u.want_snapshot);
    lone_deinit(&l);
}

/* etcd's snapshot_succeed_via_app_resp: the peer gets there without us. */
static void test_the_peer_gets_there_by_other_means(void **state)
{
    (void)state;
    struct lone l;
    lead_far_ahead(&l);
    snapshot_made(&l, 10);
    assert_int_equal(lone_accept(&l, 3, 7), 0); /* not far enough: the log begins after 8 */
    assert_int_equal(lone_peer(&l, 3).state, RAFT_PEER_SNAPSHOT);
    assert_int_equal(lone_accept(&l, 3, 8), 0);
    assert_int_equal(lone_peer(&l, 3).state, RAFT_PEER_PROBE);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 3)->append.prev_index, 8);
    assert_int_equal(lone_sent(&l, RAFT_APPEND, 3)->append.count, 2);
    lone_deinit(&l);
}

static void test_keep_names_what_peers_want(void **state)
{
    (void)state;
    struct lone l;
    lone_init(&l, &(struct lone_options){.voters = 3});
    lone_lead(&l);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(lone_propose(&l, "a"), 0);
    }
    lone_written(&l);
    assert_int_equal(lone_accept(&l, 2, 7), 0);
    assert_int_equal(l.u.commit, 7);
    assert_int_equal(l.u.keep, 2); /* member 3 has no more */
    assert_int_equal(lone_accept(&l, 3, 6), 0);
    assert_int_equal(l.u.keep, 6);
    lone_deinit(&l);
    lone_init(&l, &(struct lone_options){.voters = 3, .terms = "222", .term = 2});
    assert_int_equal(lone_append(&l, 2, 2, AT(4, 2), "", 3), 0);
    assert_int_equal(l.u.keep, 3); /* a follower wants nothing that is applied */
    lone_deinit(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_received_in_pieces_and_installed),
        cmocka_unit_test(test_each_piece_says_where_to_go_on),
        cmocka_unit_test(test_p13_disordered_pieces),
        cmocka_unit_test(test_another_senders_pieces_are_not_mixed_in),
        cmocka_unit_test(test_a_stale_snapshot_is_not_wanted),
        cmocka_unit_test(test_a_stale_sender_is_told),
        cmocka_unit_test(test_a_snapshot_within_the_log_drops_nothing),
        cmocka_unit_test(test_dcc2fea_numbers_are_checked_first),
        cmocka_unit_test(test_failures_are_told),
        cmocka_unit_test(test_nothing_is_written_while_it_is_installed),
        cmocka_unit_test(test_overtaken_by_the_log),
        cmocka_unit_test(test_sent_in_pieces_to_who_is_behind),
        cmocka_unit_test(test_heartbeats_go_on_beside_it),
        cmocka_unit_test(test_a_lost_piece_is_sent_again),
        cmocka_unit_test(test_double_answers_do_not_multiply_pieces),
        cmocka_unit_test(test_a_refused_snapshot_begins_again_later),
        cmocka_unit_test(test_a_receiver_that_restarts_goes_back),
        cmocka_unit_test(test_a_new_snapshot_begins_anew),
        cmocka_unit_test(test_a_snapshot_behind_the_log_is_no_use),
        cmocka_unit_test(test_the_peer_gets_there_by_other_means),
        cmocka_unit_test(test_keep_names_what_peers_want),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
