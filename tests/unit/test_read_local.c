/* Reads through a passed descriptor: every offset and length gives the right bytes, a wrong byte is
 * never returned, malformed replies are refused. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/read_local.h"
#include "common/alloc.h"
#include "common/buf.h"
#include "common/crc32c.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/rng.h"

enum { LENGTH = 9 * CHUNK_BLOCK_BYTES + 1234, BLOCKS = 10 };

struct fixture {
    struct read_local l;
    uint8_t *bytes;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct rng rng;
    rng_seed(&rng, 1);
    f->bytes = xmalloc(LENGTH);
    rng_fill(&rng, f->bytes, LENGTH);
    read_local_init(&f->l);
    f->l.fd = memfd_create("chunk", MFD_CLOEXEC);
    assert_int_equal(write(f->l.fd, f->bytes, LENGTH), LENGTH);
    f->l.chunk = 7;
    f->l.length = LENGTH;
    f->l.crcs = xcalloc(BLOCKS, sizeof(uint32_t));
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t at = i * CHUNK_BLOCK_BYTES;
        f->l.crcs[i] = crc32c(f->bytes + at, MIN((size_t)CHUNK_BLOCK_BYTES, LENGTH - at));
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    read_local_deinit(&f->l);
    free(f->bytes);
    free(f);
    return 0;
}

static void check(struct fixture *f, uint64_t offset, size_t length)
{
    uint8_t *to = xmalloc(length + 1);
    to[length] = 0xa5;
    assert_int_equal(read_local_bytes(&f->l, to, length, offset, NULL), 0);
    assert_memory_equal(to, f->bytes + offset, length);
    assert_int_equal(to[length], 0xa5);
    free(to);
}

static void any_range(void **state)
{
    struct fixture *f = *state;
    struct rng rng;
    static const uint64_t edges[] = {0,
                                     1,
                                     CHUNK_BLOCK_BYTES - 1,
                                     CHUNK_BLOCK_BYTES,
                                     CHUNK_BLOCK_BYTES + 1,
                                     LENGTH - 1234,
                                     LENGTH - 1,
                                     LENGTH};
    for (size_t i = 0; i < ARRAY_COUNT(edges); i++) {
        for (size_t j = i; j < ARRAY_COUNT(edges); j++) {
            check(f, edges[i], (size_t)(edges[j] - edges[i]));
        }
    }
    rng_seed(&rng, 2);
    for (int i = 0; i < 2000; i++) {
        uint64_t offset = rng_below(&rng, LENGTH);
        check(f, offset, (size_t)rng_below(&rng, LENGTH - offset + 1));
    }
}

static void small_steps(void **state)
{
    struct fixture *f = *state;
    for (uint64_t at = 0; at < LENGTH; at += 1000) {
        check(f, at, (size_t)MIN((uint64_t)1000, LENGTH - at));
    }
}

static void wrong_bytes_are_never_returned(void **state)
{
    struct fixture *f = *state;
    uint8_t bad = (uint8_t)(f->bytes[5 * CHUNK_BLOCK_BYTES + 17] ^ 1);
    assert_int_equal(pwrite(f->l.fd, &bad, 1, 5 * CHUNK_BLOCK_BYTES + 17), 1);
    uint8_t *to = xmalloc(LENGTH);
    struct err e = ERR_INIT;
    assert_int_equal(read_local_bytes(&f->l, to, LENGTH, 0, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "block 5"));
    assert_int_equal(read_local_bytes(&f->l, to, 10, 5 * CHUNK_BLOCK_BYTES, &e), ERR_CORRUPT);
    check(f, 0, CHUNK_BLOCK_BYTES); /* the others are fine */
    check(f, 8 * CHUNK_BLOCK_BYTES + 5, 100);
    free(to);
}

static void reply(struct buf *out, uint32_t status, uint64_t length, uint32_t count)
{
    buf_clear(out);
    buf_append(out, "TRL1", 4);
    buf_append_u32le(out, status);
    buf_append_u64le(out, 3);
    buf_append_u64le(out, length);
    buf_append_u32le(out, count);
    for (uint32_t i = 0; i < count; i++) {
        buf_append_u32le(out, i + 100);
    }
}

static void replies(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct read_local_reply r;
    reply(&b, 0, CHUNK_BLOCK_BYTES + 1, 2);
    assert_int_equal(read_local_reply_decode(b.data, b.length, &r, NULL), 0);
    assert_int_equal(r.version, 3);
    assert_int_equal(r.crcs[1], 101);
    free(r.crcs);
    for (size_t cut = 0; cut < b.length; cut++) {
        assert_int_equal(read_local_reply_decode(b.data, cut, &r, NULL), ERR_CORRUPT);
    }
    reply(&b, 0, CHUNK_BLOCK_BYTES + 1, 3); /* more checksums than blocks */
    assert_int_equal(read_local_reply_decode(b.data, b.length, &r, NULL), ERR_CORRUPT);
    reply(&b, 0, UINT64_MAX, 0);
    assert_int_equal(read_local_reply_decode(b.data, b.length, &r, NULL), ERR_CORRUPT);
    reply(&b, (uint32_t)-ERR_UNSUPPORTED, 0, 0);
    assert_int_equal(read_local_reply_decode(b.data, b.length, &r, NULL), ERR_UNSUPPORTED);
    b.data[0] = 'X';
    assert_int_equal(read_local_reply_decode(b.data, b.length, &r, NULL), ERR_CORRUPT);
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(any_range, setup, teardown),
        cmocka_unit_test_setup_teardown(small_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_bytes_are_never_returned, setup, teardown),
        cmocka_unit_test(replies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
