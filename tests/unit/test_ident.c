#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/crc32c.h"
#include "common/ident.h"
#include "common/sys.h"

static int setup(void **state)
{
    static struct buf dir;
    buf_init(&dir);
    *state = &dir;
    return sys_make_temp_dir("test-ident", &dir, NULL);
}

static int teardown(void **state)
{
    struct buf *dir = *state;
    int r = sys_remove_tree(dir->data, NULL);
    buf_deinit(dir);
    return r;
}

static const char *path_of(void **state)
{
    return ((struct buf *)*state)->data;
}

static const char *file_in(void **state, const char *name)
{
    static struct buf path = BUF_INIT;
    buf_clear(&path);
    buf_printf(&path, "%s/%s", path_of(state), name);
    return path.data;
}

static void put_file(void **state, const char *name, const char *content)
{
    assert_int_equal(sys_write_file_atomic(file_in(state, name), content, strlen(content), NULL),
                     0);
}

static void a_directory_keeps_its_identity(void **state)
{
    struct datadir d;
    struct err e = ERR_INIT;
    struct cluster_id cluster = cluster_id_random();
    assert_int_equal(datadir_open(&d, path_of(state), "chunkserver", &e), 0);
    struct member_key key = d.ident.key;
    assert_false(cluster_id_known(d.ident.cluster));
    assert_int_equal(d.ident.member, 0);
    datadir_close(&d);
    datadir_close(&d);

    assert_int_equal(datadir_open(&d, path_of(state), "chunkserver", &e), 0);
    assert_true(member_key_equal(d.ident.key, key));
    assert_int_equal(datadir_adopt(&d, cluster, 7, &e), 0);
    assert_int_equal(datadir_adopt(&d, cluster, 7, &e), 0);
    datadir_close(&d);

    assert_int_equal(datadir_open(&d, path_of(state), "chunkserver", &e), 0);
    assert_true(cluster_id_equal(d.ident.cluster, cluster));
    assert_int_equal(d.ident.member, 7);
    assert_int_equal(datadir_adopt(&d, cluster_id_random(), 7, &e), ERR_WRONG_CLUSTER);
    assert_non_null(strstr(e.msg, "belongs to cluster"));
    assert_int_equal(datadir_adopt(&d, cluster, 8, &e), ERR_WRONG_CLUSTER);
    assert_non_null(strstr(e.msg, "member 7, not 8"));
    datadir_close(&d);
}

static void two_processes_never_share_one(void **state)
{
    struct datadir first, second;
    struct err e = ERR_INIT;
    char expected[64];
    assert_int_equal(datadir_open(&first, path_of(state), "fsmaster", &e), 0);
    assert_int_equal(datadir_open(&second, path_of(state), "fsmaster", &e), ERR_BUSY);
    snprintf(expected, sizeof(expected), "in use by process %d", (int)getpid());
    assert_non_null(strstr(e.msg, expected));
    datadir_close(&first);
    assert_int_equal(datadir_open(&second, path_of(state), "fsmaster", &e), 0);
    datadir_close(&second);
}

static void strangers_are_refused(void **state)
{
    struct datadir d;
    struct err e = ERR_INIT;
    put_file(state, "holiday.jpg", "x");
    assert_int_equal(datadir_open(&d, path_of(state), "fsmaster", &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "holiday.jpg"));
    assert_int_equal(unlink(file_in(state, "holiday.jpg")), 0);
    assert_int_equal(datadir_open(&d, path_of(state), "fsmaster", &e), 0);
    datadir_close(&d);
    assert_int_equal(datadir_open(&d, path_of(state), "chunkserver", &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "belongs to a fsmaster"));
    assert_int_equal(datadir_open(&d, file_in(state, "LOCK"), "fsmaster", &e), ERR_NOT_DIR);
}

/* A first start that was killed before the rename. */
static void a_killed_first_start_is_completed(void **state)
{
    struct datadir d;
    put_file(state, "LOCK", "1\n");
    put_file(state, "IDENTITY.tmp-0123", "form");
    assert_int_equal(datadir_open(&d, path_of(state), "fsmaster", NULL), 0);
    datadir_close(&d);
}

/* file_in() again, for a directory beside the first. */
static const char *second(void **state)
{
    static struct buf path = BUF_INIT;
    buf_clear(&path);
    buf_printf(&path, "%s/second", path_of(state));
    return path.data;
}

static void further_directories_have_the_same_identity(void **state)
{
    struct datadir a;
    struct datadir b;
    struct ident seen;
    struct err e = ERR_INIT;
    struct cluster_id cluster = cluster_id_random();
    assert_int_equal(datadir_open(&a, path_of(state), "chunkserver", &e), 0);
    assert_int_equal(datadir_join(&b, second(state), &a.ident, &e), ERR_NOT_FOUND);
    assert_int_equal(datadir_peek(second(state), &seen, &e), ERR_NOT_FOUND);
    assert_int_equal(sys_mkdir_p(second(state), &e), 0);
    assert_int_equal(datadir_peek(second(state), &seen, &e), ERR_NOT_FOUND);
    assert_int_equal(datadir_join(&b, second(state), &a.ident, &e), 0);
    assert_int_equal(datadir_peek(second(state), &seen, &e), 0);
    assert_true(member_key_equal(seen.key, a.ident.key));
    assert_false(cluster_id_known(seen.cluster));
    datadir_close(&b);

    /* A crash before the second was told: it follows. */
    assert_int_equal(datadir_adopt(&a, cluster, 7, &e), 0);
    assert_int_equal(datadir_join(&b, second(state), &a.ident, &e), 0);
    datadir_close(&b);
    assert_int_equal(datadir_peek(second(state), &seen, &e), 0);
    assert_true(cluster_id_equal(seen.cluster, cluster));
    assert_int_equal(seen.member, 7);
    assert_int_equal(datadir_join(&b, second(state), &a.ident, &e), 0);
    datadir_close(&b);
    datadir_close(&a);
}

static void directories_of_two_servers_do_not_mix(void **state)
{
    struct datadir a;
    struct datadir b;
    struct err e = ERR_INIT;
    struct cluster_id cluster = cluster_id_random();
    assert_int_equal(datadir_open(&a, path_of(state), "chunkserver", &e), 0);
    assert_int_equal(datadir_open(&b, second(state), "chunkserver", &e), 0);
    datadir_close(&b);
    assert_int_equal(datadir_join(&b, second(state), &a.ident, &e), ERR_WRONG_CLUSTER);
    assert_int_equal(datadir_adopt(&a, cluster, 7, &e), 0);
    assert_int_equal(datadir_join(&b, second(state), &a.ident, &e), ERR_WRONG_CLUSTER);
    assert_int_equal(datadir_open(&b, second(state), "chunkserver", &e), 0);
    assert_int_equal(datadir_adopt(&b, cluster, 8, &e), 0);
    datadir_close(&b);
    assert_int_equal(datadir_join(&b, second(state), &a.ident, &e), ERR_WRONG_CLUSTER);
    assert_non_null(strstr(err_message(&e), "member 8"));
    datadir_close(&a);
}

static void damage_and_the_future_are_told_apart(void **state)
{
    struct datadir d;
    struct err e = ERR_INIT;
    put_file(state, "IDENTITY", "format=2\nanything\n");
    assert_int_equal(datadir_open(&d, path_of(state), "fsmaster", &e), ERR_VERSION);
    assert_non_null(strstr(e.msg, "format 2 is newer"));
    put_file(state, "IDENTITY", "");
    assert_int_equal(datadir_open(&d, path_of(state), "fsmaster", &e), ERR_CORRUPT);
    struct buf content = BUF_INIT;
    assert_int_equal(sys_read_file(file_in(state, "IDENTITY"), 100, &content, &e), 0);
    assert_int_equal(content.length, 0); /* damage is never overwritten */
    buf_deinit(&content);
}

static struct ident example(void)
{
    struct ident id = {.role = "chunkserver", .cluster = cluster_id_random(), .member = UINT64_MAX};
    memset(id.key.bytes, 0xa5, sizeof(id.key.bytes));
    return id;
}

static void every_flipped_or_missing_byte_is_seen(void **state)
{
    struct ident id = example(), back;
    struct buf text = BUF_INIT;
    (void)state;
    ident_encode(&id, &text);
    assert_int_equal(ident_decode(text.data, text.length, &back, NULL), 0);
    assert_string_equal(back.role, id.role);
    assert_true(back.member == id.member);
    assert_true(cluster_id_equal(back.cluster, id.cluster));
    assert_true(member_key_equal(back.key, id.key));
    for (size_t i = 0; i < text.length; i++) {
        assert_true(ident_decode(text.data, i, &back, NULL) < 0);
        for (int bit = 0; bit < 8; bit++) {
            text.data[i] ^= (char)(1 << bit);
            assert_true(ident_decode(text.data, text.length, &back, NULL) < 0);
            text.data[i] ^= (char)(1 << bit);
        }
    }
    buf_append_byte(&text, '\n');
    assert_int_equal(ident_decode(text.data, text.length, &back, NULL), ERR_CORRUPT);
    buf_deinit(&text);
}

/* A good checksum does not make bad lines good. */
static void lines_are_checked_too(void **state)
{
    static const char *const bad[] = {
        "format=1\n",
        "format=1\nrole=\ncluster=\nmember=0\nkey=00000000000000000000000000000000\n",
        "format=1\nrole=x\ncluster=12\nmember=0\nkey=00000000000000000000000000000000\n",
        "format=1\nrole=x\ncluster=\nmember=\nkey=00000000000000000000000000000000\n",
        "format=1\nrole=x\ncluster=\nmember=0\nkey=0000\n",
        "format=1\ncluster=\nrole=x\nmember=0\nkey=00000000000000000000000000000000\n",
        "format=1\nrole=a-role-of-more-than-thirty-one-bytes\ncluster=\nmember=0\nkey=0\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct buf text = BUF_INIT;
        struct ident back;
        buf_append_str(&text, bad[i]);
        buf_printf(&text, "crc=%08x\n", crc32c(bad[i], strlen(bad[i])));
        assert_int_equal(ident_decode(text.data, text.length, &back, NULL), ERR_CORRUPT);
        buf_deinit(&text);
    }
}

static void cluster_ids_have_a_text(void **state)
{
    char text[CLUSTER_ID_TEXT_BYTES];
    struct cluster_id id = cluster_id_random(), back;
    (void)state;
    assert_int_equal(cluster_id_parse(cluster_id_format(id, text), &back, NULL), 0);
    assert_true(cluster_id_equal(id, back));
    assert_int_equal(cluster_id_parse("xyz", &back, NULL), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_directory_keeps_its_identity, setup, teardown),
        cmocka_unit_test_setup_teardown(two_processes_never_share_one, setup, teardown),
        cmocka_unit_test_setup_teardown(strangers_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_killed_first_start_is_completed, setup, teardown),
        cmocka_unit_test_setup_teardown(further_directories_have_the_same_identity, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(directories_of_two_servers_do_not_mix, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_and_the_future_are_told_apart, setup, teardown),
        cmocka_unit_test(every_flipped_or_missing_byte_is_seen),
        cmocka_unit_test(lines_are_checked_too),
        cmocka_unit_test(cluster_ids_have_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
