/* common/snapshot_stream: what comes out of a directory goes into another one, whatever pieces it
 * is cut into and wherever reading begins; no damaged byte gets through. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/macros.h"
#include "common/rng.h"
#include "common/snapshot_stream.h"
#include "common/sys.h"

struct fixture {
    char *root;
    char *from;
    char *into;
    struct buf whole; /* the stream of `from` */
};

static const struct {
    const char *name;
    size_t bytes;
    bool travels;
} files[] = {
    {"000007.sst", 100000, true},    {"000009.sst", 0, true}, {"CURRENT", 16, true},
    {"MANIFEST-000004", 300, true},  {"LOG", 50, false},      {"LOCK", 0, false},
    {"OPTIONS-000011", 70000, true},
};

static char *path_of(const char *directory, const char *name)
{
    return xprintf("%s/%s", directory, name);
}

static void read_all(struct snapshot_source *s, struct rng *rng, struct buf *out)
{
    while (out->length < snapshot_source_bytes(s)) {
        size_t length = 1 + rng_below(rng, 20000);
        int r = snapshot_source_read(s, out->length, length, out, NULL);
        assert_true(r > 0);
        assert_true((size_t)r <= length);
    }
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct buf root = BUF_INIT;
    struct rng rng;
    rng_seed(&rng, 1);
    assert_int_equal(sys_make_temp_dir("snapshot", &root, NULL), 0);
    f->root = buf_detach(&root, NULL);
    f->from = path_of(f->root, "from");
    f->into = path_of(f->root, "into");
    assert_int_equal(sys_mkdir_p(f->from, NULL), 0);
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        char *path = path_of(f->from, files[i].name);
        char *data = xcalloc(1, files[i].bytes + 1);
        rng_fill(&rng, data, files[i].bytes);
        assert_int_equal(sys_write_file_atomic(path, data, files[i].bytes, NULL), 0);
        free(data);
        free(path);
    }
    struct snapshot_source *s = NULL;
    buf_init(&f->whole);
    assert_int_equal(snapshot_source_open(f->from, 77, 5, &s, NULL), 0);
    read_all(s, &rng, &f->whole);
    assert_int_equal(snapshot_source_read(s, f->whole.length, 10, &f->whole, NULL), 0);
    snapshot_source_close(s);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    int r = sys_remove_tree(f->root, NULL);
    buf_deinit(&f->whole);
    free(f->root);
    free(f->from);
    free(f->into);
    free(f);
    return r;
}

/* Writes bytes in random pieces; returns what the sink said first, or its end. */
static int unpack(const struct fixture *f, const char *bytes, size_t length, struct rng *rng)
{
    struct snapshot_sink *s = NULL;
    size_t at = 0;
    int r = snapshot_sink_open(f->into, &s, NULL);
    assert_int_equal(r, 0);
    while (r == 0 && at < length) {
        size_t piece = 1 + (size_t)rng_below(rng, 30000);
        piece = MIN(piece, length - at);
        r = snapshot_sink_write(s, (struct span){bytes + at, piece}, NULL);
        at += piece;
    }
    if (r == 0) {
        assert_int_equal(snapshot_sink_received(s), length);
        r = snapshot_sink_finish(s, NULL);
    }
    if (r == 0) {
        assert_int_equal(snapshot_sink_header(s)->index, 77);
        assert_int_equal(snapshot_sink_header(s)->term, 5);
        assert_int_equal(snapshot_bytes(snapshot_sink_header(s)), length);
    }
    snapshot_sink_close(s);
    return r;
}

static void test_there_and_back(void **state)
{
    const struct fixture *f = *state;
    struct rng rng;
    rng_seed(&rng, 2);
    for (int round = 0; round < 20; round++) {
        assert_int_equal(unpack(f, f->whole.data, f->whole.length, &rng), 0);
        for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
            struct buf was = BUF_INIT;
            struct buf is = BUF_INIT;
            char *from = path_of(f->from, files[i].name);
            char *into = path_of(f->into, files[i].name);
            assert_int_equal(sys_read_file(from, 1 << 20, &was, NULL), 0);
            int r = sys_read_file(into, 1 << 20, &is, NULL);
            assert_int_equal(r, files[i].travels ? 0 : ERR_NOT_FOUND);
            if (r == 0) {
                assert_int_equal(is.length, was.length);
                assert_memory_equal(is.data, was.data, was.length);
            }
            free(from);
            free(into);
            buf_deinit(&was);
            buf_deinit(&is);
        }
    }
}

/* A receiver that lost its place asks for any offset. */
/* What a backup's reader does: the same checks, and nothing is written. */
static int check_only(const char *bytes, size_t length, struct rng *rng)
{
    struct snapshot_sink *s = NULL;
    int r = snapshot_sink_open(NULL, &s, NULL);
    for (size_t at = 0; r == 0 && at < length;) {
        size_t part = MIN(length - at, (size_t)(1 + rng_below(rng, 70000)));
        r = snapshot_sink_write(s, (struct span){bytes + at, part}, NULL);
        at += part;
    }
    r = r < 0 ? r : snapshot_sink_finish(s, NULL);
    snapshot_sink_close(s);
    return r;
}

static void test_check_only(void **state)
{
    const struct fixture *f = *state;
    struct rng rng;
    rng_seed(&rng, 6);
    assert_int_equal(check_only(f->whole.data, f->whole.length, &rng), 0);
    assert_int_equal(check_only(f->whole.data, f->whole.length - 1, &rng), ERR_CORRUPT);
    char *damaged = xmemdup(f->whole.data, f->whole.length);
    for (int round = 0; round < 300; round++) { /* one bit each time */
        size_t at = (size_t)rng_below(&rng, f->whole.length);
        char bit = (char)(1 << rng_below(&rng, 8));
        damaged[at] = (char)(damaged[at] ^ bit);
        assert_true(check_only(damaged, f->whole.length, &rng) < 0);
        damaged[at] = (char)(damaged[at] ^ bit);
    }
    assert_int_equal(check_only(damaged, f->whole.length, &rng), 0);
    free(damaged);
}

static void test_any_offset(void **state)
{
    const struct fixture *f = *state;
    struct snapshot_source *s = NULL;
    struct rng rng;
    rng_seed(&rng, 3);
    assert_int_equal(snapshot_source_open(f->from, 77, 5, &s, NULL), 0);
    for (int round = 0; round < 300; round++) {
        struct buf part = BUF_INIT;
        uint64_t offset = rng_below(&rng, f->whole.length);
        size_t length = 1 + rng_below(&rng, 70000);
        int r = snapshot_source_read(s, offset, length, &part, NULL);
        assert_int_equal(r, MIN(length, f->whole.length - offset));
        assert_memory_equal(part.data, f->whole.data + offset, part.length);
        buf_deinit(&part);
    }
    snapshot_source_close(s);
}

static void test_damage(void **state)
{
    const struct fixture *f = *state;
    struct rng rng;
    rng_seed(&rng, 4);
    char *damaged = xmemdup(f->whole.data, f->whole.length);
    for (int round = 0; round < 300; round++) {
        size_t at = round < 100 ? (size_t)round : (size_t)rng_below(&rng, f->whole.length);
        char was = damaged[at];
        damaged[at] = (char)(was ^ (char)(1 + rng_below(&rng, 255)));
        int r = unpack(f, damaged, f->whole.length, &rng);
        assert_true(r == ERR_CORRUPT || r == ERR_VERSION || r == ERR_TOO_LARGE);
        damaged[at] = was;
    }
    assert_int_equal(unpack(f, damaged, f->whole.length, &rng), 0);
    free(damaged);
}

static void test_cut_and_too_long(void **state)
{
    const struct fixture *f = *state;
    struct rng rng;
    rng_seed(&rng, 5);
    for (int round = 0; round < 50; round++) {
        size_t length = (size_t)rng_below(&rng, f->whole.length);
        assert_int_equal(unpack(f, f->whole.data, length, &rng), ERR_CORRUPT);
    }
    struct buf longer = BUF_INIT;
    buf_append(&longer, f->whole.data, f->whole.length);
    buf_append_byte(&longer, 0);
    assert_int_equal(unpack(f, longer.data, longer.length, &rng), ERR_CORRUPT);
    buf_deinit(&longer);
}

static int decode(const struct snapshot_header *h)
{
    struct buf bytes = BUF_INIT;
    struct snapshot_header back = {0};
    snapshot_header_encode(h, &bytes);
    int r = snapshot_header_decode((struct span){bytes.data, bytes.length}, &back, NULL);
    snapshot_header_deinit(&back);
    buf_deinit(&bytes);
    return r;
}

/* Names that would leave the directory, and lists that no checkpoint has. */
static void test_hostile_headers(void **state)
{
    (void)state;
    static const char *const names[] = {"..", ".", "a/b", "../x", "", "a b", "\xc3\xa9"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct snapshot_file file = {.bytes = 1};
        memcpy(file.name, names[i], strlen(names[i]) + 1);
        struct snapshot_header h = {1, 1, &file, 1};
        assert_int_equal(decode(&h), ERR_CORRUPT);
    }
    struct snapshot_file twice[] = {{"a", 1}, {"a", 1}};
    struct snapshot_header h = {1, 1, twice, 2};
    assert_int_equal(decode(&h), ERR_CORRUPT);
    struct snapshot_file vast[] = {{"a", UINT64_MAX - 10}, {"b", 20}};
    h.files = vast;
    assert_int_equal(decode(&h), ERR_CORRUPT);
    struct snapshot_file good[] = {{"a", 1}, {"b", 20}};
    h.files = good;
    assert_true(decode(&h) > 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_there_and_back),   TEST(test_any_offset),
        TEST(test_check_only),       TEST(test_damage),
        TEST(test_cut_and_too_long), cmocka_unit_test(test_hostile_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
