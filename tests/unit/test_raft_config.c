/* common/raft/raft_config: the rules for members, and bytes that must not lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/raft/raft_config.h"

static struct raft_member member(uint64_t id)
{
    struct raft_member m = {.id = id, .directory.bytes = {(uint8_t)id, 0, 0, 7, 0, 0, 0, 1, 99}};
    m.key = raft_key_of(m.directory);
    (void)snprintf(m.address, sizeof(m.address), "host%u:7000", (unsigned)id);
    return m;
}

static void add(struct raft_config *c, uint64_t id, bool voter)
{
    struct raft_member m = member(id);
    assert_int_equal(raft_config_add_learner(c, &m, NULL), 0);
    if (voter) {
        assert_int_equal(raft_config_promote(c, m.key, NULL), 0);
    }
}

static void test_key_is_little_endian(void **state)
{
    (void)state;
    struct member_key directory = {{1, 2, 3, 4, 5, 6, 7, 8, 255}};
    assert_true(raft_key_of(directory) == UINT64_C(0x0807060504030201));
}

static void test_members_stand_in_order(void **state)
{
    (void)state;
    struct raft_config c = {0};
    add(&c, 3, true);
    add(&c, 1, true);
    add(&c, 2, false);
    assert_int_equal(c.count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(c.members[i].id, i + 1);
    }
    assert_int_equal(raft_config_voter_count(&c), 2);
    assert_ptr_equal(raft_config_find_id(&c, 2), &c.members[1]);
    assert_ptr_equal(raft_config_find(&c, member(3).key), &c.members[2]);
    assert_null(raft_config_find(&c, member(4).key));
    assert_null(raft_config_find_id(&c, 4));
    assert_false(raft_config_is_voter(&c, member(2).key));
    assert_false(raft_config_is_voter(&c, member(4).key));
}

static void test_quorums(void **state)
{
    (void)state;
    static const size_t quorum[] = {1, 2, 2, 3, 3, 4, 4, 5, 5};
    struct raft_config c = {0};
    for (uint64_t id = 1; id <= RAFT_MEMBER_COUNT_MAX; id++) {
        add(&c, id, true);
        assert_int_equal(raft_config_quorum(&c), quorum[id - 1]);
    }
    struct raft_member m = member(10);
    assert_int_equal(raft_config_add_learner(&c, &m, NULL), ERR_NO_SPACE);
}

static void test_refusals(void **state)
{
    (void)state;
    struct raft_config c = {0};
    add(&c, 1, true);
    struct raft_member m = member(1);
    assert_int_equal(raft_config_add_learner(&c, &m, NULL), ERR_EXISTS);
    m.id = 2; /* the same directory under another id */
    assert_int_equal(raft_config_add_learner(&c, &m, NULL), ERR_EXISTS);
    m = member(2);
    m.id = 0;
    assert_int_equal(raft_config_add_learner(&c, &m, NULL), ERR_INVALID);
    m = member(2);
    m.key++; /* not that of the directory */
    assert_int_equal(raft_config_add_learner(&c, &m, NULL), ERR_INVALID);
    m = member(2);
    m.address[0] = 0;
    assert_int_equal(raft_config_add_learner(&c, &m, NULL), ERR_INVALID);
    m = member(2);
    m.address[2] = '\n';
    assert_int_equal(raft_config_add_learner(&c, &m, NULL), ERR_INVALID);
    assert_int_equal(raft_config_promote(&c, member(1).key, NULL), ERR_EXISTS);
    assert_int_equal(raft_config_promote(&c, member(2).key, NULL), ERR_NOT_FOUND);
    assert_int_equal(raft_config_remove(&c, member(2).key, NULL), ERR_NOT_FOUND);
    assert_int_equal(raft_config_remove(&c, member(1).key, NULL), ERR_INVALID); /* the last */
    add(&c, 2, false);
    assert_int_equal(raft_config_remove(&c, member(1).key, NULL), ERR_INVALID);
    assert_int_equal(raft_config_remove(&c, member(2).key, NULL), 0);
    assert_int_equal(c.count, 1);
}

static void test_bytes_and_back(void **state)
{
    (void)state;
    struct raft_config c = {0};
    struct raft_config again = {0};
    struct buf first = BUF_INIT;
    for (uint64_t id = 1; id <= 5; id++) {
        add(&c, id * 10, id != 4);
    }
    raft_config_encode(&c, &first);
    assert_int_equal(raft_config_decode((struct span){first.data, first.length}, &again, NULL), 0);
    assert_true(raft_config_equal(&c, &again));
    again.members[3].voter = true;
    assert_false(raft_config_equal(&c, &again));
    assert_int_equal(raft_config_remove(&again, again.members[3].key, NULL), 0);
    assert_false(raft_config_equal(&c, &again));
    /* Every shorter and every longer string is refused. */
    for (size_t length = 0; length < first.length; length++) {
        assert_int_equal(raft_config_decode((struct span){first.data, length}, &again, NULL),
                         ERR_CORRUPT);
    }
    assert_int_equal(raft_config_decode((struct span){first.data, first.length + 1}, &again, NULL),
                     ERR_CORRUPT);
    buf_deinit(&first);
}

/* One member; each field is damaged in turn. docs/formats-log.md has the offsets. */
static void test_damaged_bytes(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t byte;
    } damages[] = {
        {0, 2},   /* another format */
        {1, 0},   /* nobody */
        {1, 10},  /* too many */
        {2, 0},   /* id 0 */
        {26, 0},  /* no voter */
        {26, 2},  /* neither */
        {27, 0},  /* a shorter address: bytes are left over */
        {28, 2},  /* a longer one than there is */
        {29, 0},  /* a zero in the address */
        {30, 10}, /* a line in it */
    };
    struct raft_config c = {0};
    struct raft_config again;
    struct buf bytes = BUF_INIT;
    add(&c, 1, true);
    raft_config_encode(&c, &bytes);
    assert_int_equal(bytes.length, 29 + strlen("host1:7000"));
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        char kept = bytes.data[damages[i].at];
        bytes.data[damages[i].at] = (char)damages[i].byte;
        assert_int_equal(raft_config_decode((struct span){bytes.data, bytes.length}, &again, NULL),
                         ERR_CORRUPT);
        bytes.data[damages[i].at] = kept;
    }
    memset(bytes.data + 10, 0, 16); /* a key of zeros is nobody's */
    assert_int_equal(raft_config_decode((struct span){bytes.data, bytes.length}, &again, NULL),
                     ERR_CORRUPT);
    buf_deinit(&bytes);
}

static void test_doubles_in_bytes(void **state)
{
    (void)state;
    struct raft_config c = {0};
    struct raft_config again;
    struct buf bytes = BUF_INIT;
    add(&c, 1, true);
    add(&c, 2, true);
    c.members[1].directory = c.members[0].directory;
    raft_config_encode(&c, &bytes);
    assert_int_equal(raft_config_decode((struct span){bytes.data, bytes.length}, &again, NULL),
                     ERR_CORRUPT);
    c.members[1] = member(2);
    c.members[1].id = 1;
    buf_clear(&bytes);
    raft_config_encode(&c, &bytes);
    assert_int_equal(raft_config_decode((struct span){bytes.data, bytes.length}, &again, NULL),
                     ERR_CORRUPT);
    buf_deinit(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_is_little_endian),
        cmocka_unit_test(test_members_stand_in_order),
        cmocka_unit_test(test_quorums),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bytes_and_back),
        cmocka_unit_test(test_damaged_bytes),
        cmocka_unit_test(test_doubles_in_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
