/* Replicas on a real directory: file, index and CRCs together; a killed process; a disk that fails;
 * a power cut that leaves less than the index says. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "chunkserver/replica.h"
#include "common/alloc.h"
#include "common/crc32c.h"
#include "common/macros.h"
#include "common/rng.h"
#include "common/rpc/rpc_bytes.h"
#include "common/sys.h"

enum { BLOCK = CHUNK_BLOCK_BYTES, BYTES = 4 * CHUNK_BYTES_MIN };

struct fixture {
    struct buf dir;
    struct chunk_disk disk;
    uint8_t *bytes; /* of the chunk */
};

static void disk_open(struct fixture *f)
{
    struct err e = ERR_INIT;
    assert_int_equal(chunk_dirs_open(&f->disk.dirs, f->dir.data, &e), 0);
    assert_int_equal(chunk_index_open(f->dir.data, &f->disk.index, &e), 0);
    assert_int_equal(
        chunk_index_begin(f->disk.index, chunk_index_start_count(f->disk.index) + 1, &e), 0);
}

static void disk_close(struct fixture *f)
{
    chunk_index_close(f->disk.index);
    chunk_dirs_close(&f->disk.dirs);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct err e = ERR_INIT;
    struct rng rng;
    buf_init(&f->dir);
    assert_int_equal(sys_make_temp_dir("trireme-replica-", &f->dir, &e), 0);
    f->bytes = xmalloc(BYTES);
    rng_seed(&rng, 1);
    rng_fill(&rng, f->bytes, BYTES);
    disk_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    chunk_file_install_calls(NULL);
    disk_close(f);
    assert_int_equal(sys_remove_tree(f->dir.data, &e), 0);
    buf_deinit(&f->dir);
    free(f->bytes);
    free(f);
    return 0;
}

static struct replica fresh(struct fixture *f, chunk_id id)
{
    struct replica r;
    struct chunk_record record = {.ref = {id, 1},
                                  .state = CHUNK_OPEN,
                                  .inlined = true,
                                  .granted_start = chunk_index_start_count(f->disk.index),
                                  .chunk_bytes = BYTES};
    replica_init(&r, &f->disk, &record);
    return r;
}

static int append(struct fixture *f, struct replica *r, uint64_t length, struct err *e)
{
    uint64_t offset = r->record.length;
    uint32_t crcs[BYTES / BLOCK + 2];
    size_t count = 0;
    for (uint64_t at = offset; at < offset + length;) {
        uint64_t start = at / BLOCK * BLOCK;
        uint64_t end = MIN(start + BLOCK, offset + length);
        crcs[count++] = crc32c(f->bytes + start, (size_t)(end - start));
        at = end;
    }
    struct rpc_bytes *data = rpc_bytes_copy(f->bytes + offset, (size_t)length);
    struct replica_bytes bytes = {.data = data,
                                  .length = (size_t)length,
                                  .seed = offset % BLOCK == 0 ? 0 : replica_tail_crc(r),
                                  .crcs = crcs};
    int code = replica_append(r, &bytes, e);
    rpc_bytes_unref(data);
    return code;
}

static void write_and_save(struct fixture *f, struct replica *r, uint64_t length)
{
    struct err e = ERR_INIT;
    assert_int_equal(append(f, r, length, &e), 0);
    assert_int_equal(replica_save(r, &e), 0);
}

static uint64_t verified(struct fixture *f, chunk_id id)
{
    struct replica r = {0};
    struct err e = ERR_INIT;
    uint64_t length = 0;
    assert_int_equal(replica_load(&r, &f->disk, id, &e), 0);
    assert_int_equal(replica_verify(&r, &length, &e), 0);
    replica_deinit(&r);
    return length;
}

static void test_grows_from_the_index_into_a_file(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct replica r = fresh(f, 1);
    uint64_t total = 0;
    const uint64_t pieces[] = {1, 999, BLOCK - 2000, 3000, BLOCK, 1, 5 * BLOCK + 17, BLOCK - 1};
    for (size_t i = 0; i < ARRAY_COUNT(pieces); i++) {
        write_and_save(f, &r, pieces[i]);
        total += pieces[i];
        assert_int_equal(r.record.length, total);
        assert_int_equal(r.record.inlined, total <= CHUNK_INLINE_BYTES_MAX);
        if (!r.record.inlined) {
            assert_int_equal(verified(f, 1), total);
        }
    }
    assert_int_equal(replica_close_at(&r, CHUNK_SEALED, 1, &e), 0);
    assert_int_equal(replica_save(&r, &e), 0);
    assert_int_equal(verified(f, 1), total);
    struct buf value = BUF_INIT;
    struct inline_data data;
    assert_int_equal(chunk_index_get_inline(f->disk.index, 1, &value, &data, &e), ERR_NOT_FOUND);
    buf_deinit(&value);
    replica_deinit(&r);
}

static void test_often_saved_small_chunks_leave_the_index(void **state)
{
    struct fixture *f = *state;
    struct replica r = fresh(f, 1);
    for (int i = 0; i <= CHUNK_INLINE_WRITES_MAX; i++) {
        assert_true(r.record.inlined);
        write_and_save(f, &r, 10);
    }
    assert_false(r.record.inlined);
    assert_int_equal(verified(f, 1), 10 * (CHUNK_INLINE_WRITES_MAX + 1));
    replica_deinit(&r);
}

static void test_wrong_bytes_change_nothing(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct replica r = fresh(f, 1);
    write_and_save(f, &r, 3 * BLOCK);
    uint32_t wrong[] = {1, 2};
    struct rpc_bytes *data = rpc_bytes_copy(f->bytes, 2 * BLOCK);
    struct replica_bytes bytes = {.data = data, .length = 2 * BLOCK, .crcs = wrong};
    assert_int_equal(replica_append(&r, &bytes, &e), ERR_CORRUPT);
    assert_int_equal(r.record.length, 3 * BLOCK);
    rpc_bytes_unref(data);
    write_and_save(f, &r, BLOCK);
    assert_int_equal(verified(f, 1), 4 * BLOCK);
    replica_deinit(&r);
}

static void test_cut_inside_a_block(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    const uint64_t lengths[] = {5 * BLOCK - 7, 4 * BLOCK, 3 * BLOCK + 1, 3 * BLOCK, 5, 0};
    struct replica r = fresh(f, 1);
    write_and_save(f, &r, 5 * BLOCK);
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        assert_int_equal(replica_cut(&r, lengths[i], &e), 0);
        assert_int_equal(replica_save(&r, &e), 0);
        assert_int_equal(verified(f, 1), lengths[i]);
    }
    replica_deinit(&r);
}

/* What is on the disk when the process dies without a word. */
static void test_killed_process_loses_nothing_saved(void **state)
{
    struct fixture *f = *state;
    disk_close(f);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        disk_open(f);
        struct replica small = fresh(f, 1);
        struct replica large = fresh(f, 2);
        write_and_save(f, &small, 777);
        write_and_save(f, &large, 3 * BLOCK + 5);
        write_and_save(f, &large, BLOCK);
        struct err e = ERR_INIT;
        int code = append(f, &large, BLOCK, &e); /* written, but not in the index: does not count */
        _exit(code == 0 ? 42 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 42);
    disk_open(f);
    assert_int_equal(chunk_index_start_count(f->disk.index), 3);
    assert_int_equal(verified(f, 1), 777);
    assert_int_equal(verified(f, 2), 4 * BLOCK + 5);
}

static void overwrite(struct fixture *f, chunk_id id, uint64_t offset, const void *bytes, size_t n)
{
    struct chunk_file file;
    struct err e = ERR_INIT;
    struct iovec run = {(void *)bytes, n};
    assert_int_equal(chunk_file_open(&f->disk.dirs, id, true, &file, &e), 0);
    assert_int_equal(chunk_file_write(&file, offset, &run, 1, &e), 0);
    chunk_file_close(&file);
}

static void test_damage_ends_the_verified_prefix(void **state)
{
    struct fixture *f = *state;
    struct replica r = fresh(f, 1);
    write_and_save(f, &r, 5 * BLOCK);
    replica_deinit(&r);
    overwrite(f, 1, 3 * BLOCK + 9, "x", 1);
    assert_int_equal(verified(f, 1), 3 * BLOCK);
}

/* A part of a block was synced, the block grew, and a power cut took the growth but not the index
 * entry about it: the synced part still counts. */
static void test_power_cut_leaves_what_was_synced(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct replica r = fresh(f, 1);
    write_and_save(f, &r, 2 * BLOCK + 100);
    assert_int_equal(replica_sync(&r, &e), 0);
    write_and_save(f, &r, 3 * BLOCK);
    replica_deinit(&r);
    uint8_t zeros[BLOCK] = {0};
    overwrite(f, 1, 2 * BLOCK + 100, zeros, BLOCK - 100);
    assert_int_equal(verified(f, 1), 2 * BLOCK + 100);
    assert_int_equal(replica_load(&r, &f->disk, 1, &e), 0);
    replica_settle(&r, 2 * BLOCK + 100);
    assert_int_equal(replica_save(&r, &e), 0);
    replica_deinit(&r);
    assert_int_equal(verified(f, 1), 2 * BLOCK + 100);
}

/* ---- A disk that fails ---- */

static int fail_after; /* calls that still succeed */
static int fail_errno;

static int failing(void)
{
    if (fail_after-- > 0) {
        return 0;
    }
    errno = fail_errno;
    return -1;
}

static ssize_t fail_pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    if (failing() < 0) {
        return -1;
    }
    /* Short, as a disk that is nearly full may answer. */
    return pwrite(fd, iov->iov_base, (iov->iov_len + 1) / 2, offset + 0 * count);
}

static int fail_fallocate(int fd, int mode, off_t offset, off_t length)
{
    (void)fd;
    (void)mode;
    (void)offset;
    (void)length;
    return failing();
}

static int fail_sync(int fd)
{
    (void)fd;
    return failing();
}

static const struct chunk_file_calls failing_calls = {
    .pwritev = fail_pwritev,
    .fallocate = fail_fallocate,
    .fdatasync = fail_sync,
    .fsync = fail_sync,
    .pread = pread,
};

static ssize_t fail_pread_beyond_two_blocks(int fd, void *data, size_t length, off_t offset)
{
    if (offset + (off_t)length > 2 * BLOCK) {
        errno = EIO;
        return -1;
    }
    return pread(fd, data, length, offset);
}

static const struct chunk_file_calls bad_sector_calls = {
    .pwritev = pwritev,
    .fallocate = fallocate,
    .fdatasync = fdatasync,
    .fsync = fsync,
    .pread = fail_pread_beyond_two_blocks,
};

static struct replica sealed(struct fixture *f, chunk_id id, uint64_t length)
{
    struct err e = ERR_INIT;
    struct replica r = fresh(f, id);
    assert_int_equal(append(f, &r, length, &e), 0);
    assert_int_equal(replica_close_at(&r, CHUNK_SEALED, 1, &e), 0);
    assert_int_equal(replica_save(&r, &e), 0);
    return r;
}

static void test_a_block_that_cannot_be_read_ends_what_verifies(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct replica r = sealed(f, 1, 4 * BLOCK + 5);
    chunk_file_install_calls(&bad_sector_calls);
    assert_int_equal(verified(f, 1), 2 * BLOCK);
    assert_int_equal(replica_cut(&r, 3 * BLOCK + 5, &e), ERR_CORRUPT);
    chunk_file_install_calls(NULL);
    assert_int_equal(verified(f, 1), 4 * BLOCK + 5);
    replica_deinit(&r);
}

static void test_damage_is_what_is_gone_or_differs_or_cannot_be_read(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct replica r = sealed(f, 1, 4 * BLOCK + 5);
    struct replica small = sealed(f, 2, 100);
    assert_int_equal(replica_check(&f->disk, &r.record, &e), 0);
    assert_int_equal(replica_check(&f->disk, &small.record, &e), 0);
    chunk_file_install_calls(&bad_sector_calls);
    assert_int_equal(replica_check(&f->disk, &r.record, &e), ERR_CORRUPT);
    chunk_file_install_calls(NULL);

    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int code = replica_check(&f->disk, &r.record, &e);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(code, ERR_BUSY); /* no more files can be opened: says nothing of this one */

    assert_int_equal(chunk_file_trash(&f->disk.dirs, r.record.ref, &e), 0);
    assert_int_equal(replica_check(&f->disk, &r.record, &e), ERR_CORRUPT);
    replica_deinit(&r);
    replica_deinit(&small);
}

static void test_every_failing_write_is_told_and_leaves_the_rest_right(void **state)
{
    struct fixture *f = *state;
    const int errors[] = {ENOSPC, EIO, EDQUOT};
    chunk_id id = 1;
    for (size_t i = 0; i < ARRAY_COUNT(errors); i++) {
        int code = -1;
        for (int n = 0; code < 0; n++, id++) {
            struct err e = ERR_INIT;
            struct replica r = fresh(f, id);
            write_and_save(f, &r, 2 * BLOCK);
            fail_after = n;
            fail_errno = errors[i];
            chunk_file_install_calls(&failing_calls);
            code = append(f, &r, 2 * BLOCK, &e);
            chunk_file_install_calls(NULL);
            if (code < 0) {
                assert_int_equal(code, err_from_errno(errors[i]));
                assert_true(strlen(e.msg) > 0);
                assert_int_equal(r.record.length, 2 * BLOCK);
            }
            assert_int_equal(replica_save(&r, &e), 0);
            assert_int_equal(verified(f, id), code < 0 ? 2 * BLOCK : 4 * BLOCK);
            replica_deinit(&r);
        }
    }
}

static void test_failed_sync_makes_nothing_durable(void **state)
{
    struct fixture *f = *state;
    for (int n = 0; n < 2; n++) { /* of the file, then of its directory */
        struct err e = ERR_INIT;
        struct replica r = fresh(f, (chunk_id)n + 1);
        write_and_save(f, &r, 2 * BLOCK);
        fail_after = n;
        fail_errno = EIO;
        chunk_file_install_calls(&failing_calls);
        assert_int_equal(replica_close_at(&r, CHUNK_SEALED, 1, &e), ERR_IO);
        chunk_file_install_calls(NULL);
        assert_int_equal(r.record.durable, 0);
        assert_int_equal(r.record.state, CHUNK_OPEN);
        replica_deinit(&r);
    }
}

static void test_copy_replaces_an_old_replica_at_the_end(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct replica old = fresh(f, 1);
    write_and_save(f, &old, 3 * BLOCK);
    replica_deinit(&old);
    struct replica copy = fresh(f, 1);
    copy.record.ref.version = 2;
    replica_make_copy(&copy);
    assert_int_equal(append(f, &copy, 2 * BLOCK, &e), 0);
    assert_int_equal(append(f, &copy, 3 * BLOCK, &e), 0);
    assert_int_equal(verified(f, 1), 3 * BLOCK); /* the old one is untouched so far */
    assert_int_equal(replica_adopt_copy(&copy, &e), 0);
    assert_int_equal(replica_save(&copy, &e), 0);
    assert_int_equal(verified(f, 1), 5 * BLOCK);
    replica_deinit(&copy);
}

/* Whether the file of a copy of the chunk is there; `plant` makes an empty one. */
static bool copy_is_there(struct fixture *f, chunk_id id, bool plant)
{
    struct buf path = BUF_INIT;
    buf_printf(&path, "%s/chunks/%02x/%016" PRIx64 ".copy", f->dir.data, (unsigned)(id % 256), id);
    int fd = open(path.data, O_RDONLY | (plant ? O_CREAT : 0), 0600);
    bool there = fd >= 0;
    sys_close(&fd);
    buf_deinit(&path);
    return there;
}

static void test_copy_that_is_given_up_leaves_no_file(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct replica whole = fresh(f, 1);
    write_and_save(f, &whole, 3 * BLOCK);
    replica_deinit(&whole);
    struct replica copy = fresh(f, 1);
    replica_make_copy(&copy);
    assert_int_equal(append(f, &copy, 2 * BLOCK, &e), 0);
    assert_true(copy_is_there(f, 1, false));
    replica_remove_copy(&copy);
    assert_false(copy_is_there(f, 1, false));
    replica_deinit(&copy);
    assert_int_equal(verified(f, 1), 3 * BLOCK);
}

/* On its way from the index to a file. */
static void test_copy_that_meets_a_full_disk_leaves_no_file(void **state)
{
    struct fixture *f = *state;
    int code = -1;
    for (int n = 0; code < 0; n++) {
        struct err e = ERR_INIT;
        struct replica copy = fresh(f, 1);
        replica_make_copy(&copy);
        assert_int_equal(append(f, &copy, BLOCK / 2, &e), 0);
        fail_after = n;
        fail_errno = ENOSPC;
        chunk_file_install_calls(&failing_calls);
        code = append(f, &copy, 2 * BLOCK, &e);
        chunk_file_install_calls(NULL);
        assert_true(n > 0 || code == ERR_NO_SPACE);
        replica_remove_copy(&copy);
        assert_false(copy_is_there(f, 1, false));
        replica_deinit(&copy);
    }
}

static void test_start_removes_what_copies_have_left(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    size_t count = 99;
    for (chunk_id id = 1; id <= 3; id++) {
        struct replica r = fresh(f, id);
        write_and_save(f, &r, 3 * BLOCK);
        replica_deinit(&r);
    }
    struct replica copy = fresh(f, 2);
    replica_make_copy(&copy);
    assert_int_equal(append(f, &copy, 2 * BLOCK, &e), 0);
    replica_deinit(&copy); /* as a crash does: nothing is removed */
    assert_true(copy_is_there(f, 2, false));
    assert_true(copy_is_there(f, 3 + 256, true)); /* beside chunk 3 */
    disk_close(f);
    disk_open(f);
    assert_int_equal(chunk_file_remove_copies(&f->disk.dirs, &count, &e), 0);
    assert_int_equal(count, 2);
    assert_false(copy_is_there(f, 2, false));
    assert_false(copy_is_there(f, 3 + 256, false));
    for (chunk_id id = 1; id <= 3; id++) {
        assert_int_equal(verified(f, id), 3 * BLOCK);
    }
    assert_int_equal(chunk_file_remove_copies(&f->disk.dirs, &count, &e), 0);
    assert_int_equal(count, 0);
}

static void test_set_aside_keeps_the_longer_file(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct replica r = fresh(f, 1);
    write_and_save(f, &r, 5 * BLOCK);
    assert_int_equal(replica_set_aside(&r, 2 * BLOCK + 5, 1000, &e), 0);
    assert_int_equal(replica_cut(&r, 2 * BLOCK + 5, &e), 0);
    assert_int_equal(replica_close_at(&r, CHUNK_SEALED, 2, &e), 0);
    assert_int_equal(replica_save(&r, &e), 0);
    replica_deinit(&r);
    assert_int_equal(verified(f, 1), 2 * BLOCK + 5);
    struct buf path = BUF_INIT;
    struct buf bytes = BUF_INIT;
    buf_printf(&path, "%s/trash/0000000000000001.1", f->dir.data);
    assert_int_equal(sys_read_file(path.data, BYTES, &bytes, &e), 0);
    assert_int_equal(bytes.length, 5 * BLOCK);
    assert_memory_equal(bytes.data, f->bytes, bytes.length);
    buf_deinit(&bytes);
    buf_deinit(&path);
}

struct sealing {
    struct index_sync sync;
    struct replica replica;
    sem_t *done;
    bool failed;
};

static void put_sealing(struct index_sync *sync, struct index_batch *batch)
{
    replica_put(&CONTAINER_OF(sync, struct sealing, sync)->replica, batch);
}

static void sealing_done(struct index_sync *sync, const struct err *failure)
{
    struct sealing *s = CONTAINER_OF(sync, struct sealing, sync);
    s->failed = failure != NULL;
    (void)sem_post(s->done);
}

/* More bytes than one write of the index takes, and among them a chunk in a file and one that comes
 * without changes. */
static void test_groups_write_what_they_bring_along(void **state)
{
    enum { COUNT = 100, IN_A_FILE = 50, NOTHING = 51 };
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    static struct sealing sealings[COUNT];
    sem_t done;
    assert_int_equal(sem_init(&done, 0, 0), 0);
    for (chunk_id id = 0; id < COUNT; id++) {
        struct sealing *s = &sealings[id];
        *s = (struct sealing){.replica = fresh(f, id), .done = &done};
        uint64_t length = id == IN_A_FILE ? 5 * BLOCK + 1 : BLOCK - id;
        assert_int_equal(append(f, &s->replica, length, &e), 0);
        assert_int_equal(replica_close_at(&s->replica, CHUNK_SEALED, 1, &e), 0);
        s->sync.put = id == NOTHING ? NULL : put_sealing;
        s->sync.done = sealing_done;
        chunk_index_sync(f->disk.index, &s->sync);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(sem_wait(&done), 0);
    }
    disk_close(f);
    disk_open(f);
    for (chunk_id id = 0; id < COUNT; id++) {
        struct chunk_record record;
        assert_false(sealings[id].failed);
        replica_deinit(&sealings[id].replica);
        int r = chunk_index_get(f->disk.index, id, &record, &e);
        assert_int_equal(r, id == NOTHING ? ERR_NOT_FOUND : 0);
        if (r == 0) {
            assert_int_equal(record.state, CHUNK_SEALED);
            assert_int_equal(verified(f, id), record.length);
            assert_int_equal(record.length, id == IN_A_FILE ? 5 * BLOCK + 1 : BLOCK - id);
        }
    }
    (void)sem_destroy(&done);
}

static void test_bytes_stay_in_memory_up_to_the_bounds_of_an_inline_chunk(void **state)
{
    struct fixture *f = *state;
    struct replica r = fresh(f, 1);
    assert_true(replica_stays_inlined(&r, BLOCK));
    assert_false(replica_stays_inlined(&r, BLOCK + 1));
    write_and_save(f, &r, 1);
    assert_true(replica_stays_inlined(&r, BLOCK - 1));
    assert_false(replica_stays_inlined(&r, BLOCK));
    for (int i = 1; i < CHUNK_INLINE_WRITES_MAX; i++) {
        write_and_save(f, &r, 1);
    }
    assert_false(replica_stays_inlined(&r, 1));
    write_and_save(f, &r, 1);
    assert_false(r.record.inlined);
    replica_deinit(&r);
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_grows_from_the_index_into_a_file),
        FIXTURE_TEST(test_often_saved_small_chunks_leave_the_index),
        FIXTURE_TEST(test_wrong_bytes_change_nothing),
        FIXTURE_TEST(test_cut_inside_a_block),
        FIXTURE_TEST(test_killed_process_loses_nothing_saved),
        FIXTURE_TEST(test_damage_ends_the_verified_prefix),
        FIXTURE_TEST(test_power_cut_leaves_what_was_synced),
        FIXTURE_TEST(test_a_block_that_cannot_be_read_ends_what_verifies),
        FIXTURE_TEST(test_damage_is_what_is_gone_or_differs_or_cannot_be_read),
        FIXTURE_TEST(test_every_failing_write_is_told_and_leaves_the_rest_right),
        FIXTURE_TEST(test_failed_sync_makes_nothing_durable),
        FIXTURE_TEST(test_copy_replaces_an_old_replica_at_the_end),
        FIXTURE_TEST(test_copy_that_is_given_up_leaves_no_file),
        FIXTURE_TEST(test_copy_that_meets_a_full_disk_leaves_no_file),
        FIXTURE_TEST(test_start_removes_what_copies_have_left),
        FIXTURE_TEST(test_set_aside_keeps_the_longer_file),
        FIXTURE_TEST(test_groups_write_what_they_bring_along),
        FIXTURE_TEST(test_bytes_stay_in_memory_up_to_the_bounds_of_an_inline_chunk),
    };
    return cmocka_run_group_tests_name("replica", tests, NULL, NULL);
}
