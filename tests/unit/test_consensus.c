/* fsmaster/consensus_raft of a cluster of one: completed means durable and applied, in order, once;
 * whatever step a process dies at. The machine is a list of numbers that is durable only when it is
 * persisted. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/mailbox.h"
#include "common/rng.h"
#include "common/sys.h"
#include "common/workpool.h"
#include "fsmaster/consensus.h"

enum { NUMBERS_MAX = 300000 };

/* Steps at which a child may die. */
enum step { STEP_NONE, STEP_APPLY, STEP_APPLIED, STEP_DONE, STEP_PERSIST, STEP_PERSISTED, STEPS };

struct machine {
    struct buf path;      /* of the persisted list */
    pthread_mutex_t lock; /* apply and persist run side by side; list and index belong together */
    uint64_t numbers[NUMBERS_MAX];
    size_t count;
    struct consensus_position at;
    size_t replayed; /* entries without a proposal */
    struct cluster_id cluster;
    bool led;
    int failed;
    enum step die_at;
    int die_after; /* this many times it lives */
    int ack_fd;    /* -1: none */
};

struct node {
    struct machine m;
    const char *directory;
    struct buf log;
    struct mailbox *owner;
    struct workpool *workers;
    struct consensus *c;
};

static void pass(struct machine *m, enum step step)
{
    if (m->die_at == step && m->die_after-- == 0) {
        _exit(9);
    }
}

struct outcome {
    size_t count;
    struct proposal *proposals[];
};

static int apply(void *ctx, const struct consensus_entry *entries, size_t count, void **ret,
                 struct err *e)
{
    struct machine *m = ctx;
    struct outcome *outcome = xcalloc(1, sizeof(*outcome) + count * sizeof(struct proposal *));
    (void)e;
    pass(m, STEP_APPLY);
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < count; i++) {
        CHECK(entries[i].index == m->at.index + 1);
        m->at.index = entries[i].index;
        m->at.term = entries[i].term;
        m->replayed += entries[i].proposal == NULL;
        if (entries[i].type == LOG_ENTRY_CONFIG) {
            CHECK(raft_config_decode(entries[i].bytes, &m->at.config, NULL) == 0);
            m->at.config_index = entries[i].index;
        } else if (entries[i].type == LOG_ENTRY_COMMAND) {
            memcpy(&m->numbers[m->count++], entries[i].bytes.data, sizeof(uint64_t));
        }
        outcome->proposals[outcome->count++] = entries[i].proposal;
    }
    pthread_mutex_unlock(&m->lock);
    pass(m, STEP_APPLIED);
    *ret = outcome;
    return 0;
}

static void applied(void *ctx, void *result)
{
    struct outcome *outcome = result;
    (void)ctx;
    for (size_t i = 0; i < outcome->count; i++) {
        if (outcome->proposals[i]) {
            outcome->proposals[i]->done(outcome->proposals[i], 0, ctx);
        }
    }
    free(outcome);
}

/* The list as of some group; apply may go on meanwhile, so only a prefix is certain. */
static int persist(void *ctx, log_index *ret_index, struct err *e)
{
    struct machine *m = ctx;
    struct buf bytes = BUF_INIT;
    pass(m, STEP_PERSIST);
    pthread_mutex_lock(&m->lock);
    log_index index = m->at.index;
    buf_append(&bytes, &m->at, sizeof(m->at));
    buf_append(&bytes, m->numbers, m->count * sizeof(m->numbers[0]));
    pthread_mutex_unlock(&m->lock);
    int r = sys_write_file_atomic(m->path.data, bytes.data, bytes.length, e);
    buf_deinit(&bytes);
    pass(m, STEP_PERSISTED);
    *ret_index = index;
    return r;
}

static void changed(void *ctx, const struct consensus_status *status)
{
    struct machine *m = ctx;
    m->led = status->is_leader;
}

static int adopt(void *ctx, struct cluster_id cluster, struct err *e)
{
    struct machine *m = ctx;
    (void)e;
    m->cluster = cluster;
    return 0;
}

static void failed(void *ctx, const struct err *e)
{
    struct machine *m = ctx;
    m->failed = e->code;
}

static void load(struct machine *m)
{
    struct buf bytes = BUF_INIT;
    m->count = 0;
    memset(&m->at, 0, sizeof(m->at));
    if (sys_read_file(m->path.data, 1 << 24, &bytes, NULL) == 0) {
        struct cursor c = cursor_of(bytes.data, bytes.length);
        memcpy(&m->at, cursor_bytes(&c, sizeof(m->at)).data, sizeof(m->at));
        m->count = c.left / sizeof(m->numbers[0]);
        memcpy(m->numbers, c.at, c.left);
    }
    buf_deinit(&bytes);
}

static void turn(struct node *n)
{
    (void)mailbox_run(n->owner, consensus_next_ms(n->c));
    consensus_tick(n->c, clock_mono_ms());
}

static int node_start(struct node *n, const char *directory, struct err *e)
{
    n->directory = directory;
    buf_init(&n->m.path);
    buf_init(&n->log);
    buf_printf(&n->m.path, "%s/list", directory);
    buf_printf(&n->log, "%s/log", directory);
    assert_int_equal(sys_mkdir_p(n->log.data, NULL), 0);
    load(&n->m);
    n->m.replayed = 0;
    n->m.led = false;
    n->owner = mailbox_new(16, 1024);
    n->workers = workpool_new("worker", 1, 64);
    struct consensus_options options = {
        .directory = n->log.data,
        .scratch = directory,
        .id = 1,
        .key = {{1, 2, 3, 4, 5, 6, 7, 8}},
        .address = "127.0.0.1:1",
        .cluster = n->m.cluster,
        .position = n->m.at,
        .segment_bytes = 256 * 1024,
        .persist_bytes = 20 * 1024,
        .machine = {.ctx = &n->m,
                    .owner_ctx = &n->m,
                    .apply = apply,
                    .applied = applied,
                    .persist = persist,
                    .adopt = adopt,
                    .changed = changed,
                    .failed = failed},
        .owner = n->owner,
        .workers = n->workers,
    };
    int r = consensus_start(&options, &n->c, e);
    mailbox_own(n->owner);
    while (r == 0 && !n->m.led && !n->m.failed) {
        turn(n);
    }
    return r;
}

static void node_stop(struct node *n)
{
    if (n->c) {
        consensus_close(n->c);
        while (!consensus_idle(n->c)) {
            turn(n);
        }
        consensus_free(n->c);
    }
    workpool_free(n->workers);
    mailbox_free(n->owner);
    buf_deinit(&n->m.path);
    buf_deinit(&n->log);
    n->c = NULL;
}

struct number {
    struct proposal proposal;
    uint64_t value;
    struct node *node;
    size_t *done;
    int code;
};

static void number_done(struct proposal *p, int code, const void *result)
{
    struct number *number = (struct number *)p;
    struct machine *m = &number->node->m;
    number->code = code;
    CHECK((result != NULL) == (code == 0));
    pass(m, STEP_DONE);
    if (code == 0 && m->ack_fd >= 0) {
        ssize_t written = write(m->ack_fd, &number->value, sizeof(number->value));
        CHECK(written == sizeof(number->value));
    }
    (*number->done)++;
}

/* Proposes count numbers from first on, keeping up to `window` in flight. */
static void propose_all(struct node *n, uint64_t first, size_t count, size_t window)
{
    struct number *numbers = xcalloc(count, sizeof(*numbers));
    size_t sent = 0;
    size_t done = 0;
    while (done < count && !n->m.failed) {
        while (sent < count && sent - done < window) {
            struct number *number = &numbers[sent];
            number->value = first + sent;
            number->node = n;
            number->done = &done;
            number->proposal.bytes = (struct span){&number->value, sizeof(number->value)};
            number->proposal.done = number_done;
            consensus_propose(n->c, &number->proposal);
            sent++;
        }
        turn(n);
    }
    free(numbers);
}

static void expect_numbers(const struct machine *m, uint64_t count)
{
    assert_int_equal(m->count, count);
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(m->numbers[i], i + 1);
    }
}

static struct node *node_new(void)
{
    struct node *n = xcalloc(1, sizeof(*n));
    n->m.ack_fd = -1;
    pthread_mutex_init(&n->m.lock, NULL);
    return n;
}

static void test_in_order_and_again(void **state)
{
    const char *directory = *state;
    struct node *n = node_new();
    assert_int_equal(node_start(n, directory, NULL), 0);
    assert_int_equal(consensus_status(n->c).term, 2); /* 1 has the configuration alone */
    assert_true(consensus_status(n->c).is_formed);
    assert_true(cluster_id_known(n->m.cluster));
    propose_all(n, 1, 3000, 100);
    expect_numbers(&n->m, 3000);
    struct consensus_status status = consensus_status(n->c);
    assert_true(status.is_leader);
    assert_int_equal(status.applied, 3002); /* with the configuration and the empty one */
    assert_int_equal(status.last, 3002);
    node_stop(n);
    assert_int_equal(node_start(n, directory, NULL), 0);
    assert_int_equal(n->m.replayed, 1); /* only the new term's: a clean end persists */
    assert_int_equal(consensus_status(n->c).term, 3);
    assert_int_equal(n->m.at.config.count, 1);
    expect_numbers(&n->m, 3000);
    node_stop(n);
    free(n);
}

static void test_refusals(void **state)
{
    struct node *n = node_new();
    assert_int_equal(node_start(n, *state, NULL), 0);
    size_t done = 0;
    char *large = xcalloc(1, LOG_ENTRY_BYTES_MAX + 1);
    struct number number = {.node = n, .done = &done};
    number.proposal.bytes = (struct span){large, LOG_ENTRY_BYTES_MAX + 1};
    number.proposal.done = number_done;
    consensus_propose(n->c, &number.proposal);
    assert_int_equal(done, 0); /* never from within */
    (void)mailbox_run(n->owner, clock_mono_ms() + 1000);
    assert_int_equal(number.code, ERR_TOO_LARGE);
    consensus_close(n->c);
    number.proposal.bytes.length = 8;
    consensus_propose(n->c, &number.proposal);
    (void)mailbox_run(n->owner, clock_mono_ms() + 1000);
    assert_int_equal(number.code, ERR_NOT_LEADER);
    assert_int_equal(done, 2);
    free(large);
    node_stop(n);
    free(n);
}

/* The list stands there, with as many numbers as it had. */
static void move_list(struct node *n, log_index index, term_no term)
{
    struct buf bytes = BUF_INIT;
    char *path = xprintf("%s/list", n->directory);
    n->m.at.index = index;
    n->m.at.term = term;
    buf_append(&bytes, &n->m.at, sizeof(n->m.at));
    buf_append(&bytes, n->m.numbers, n->m.count * sizeof(n->m.numbers[0]));
    assert_int_equal(sys_write_file_atomic(path, bytes.data, bytes.length, NULL), 0);
    buf_deinit(&bytes);
    free(path);
}

static void test_gaps_are_refused(void **state)
{
    const char *directory = *state;
    struct node *n = node_new();
    assert_int_equal(node_start(n, directory, NULL), 0);
    propose_all(n, 1, 10, 1);
    node_stop(n);

    struct err e = ERR_INIT;
    move_list(n, 1000, 99); /* of a term that the log has never seen: its votes are gone with it */
    assert_int_equal(node_start(n, directory, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "1000"));
    node_stop(n);

    /* A state beyond the log's end in a term that it knows is an installed snapshot. */
    move_list(n, 1000, 2);
    assert_int_equal(node_start(n, directory, &e), 0);
    assert_int_equal(consensus_status(n->c).applied, 1001);
    propose_all(n, 11, 5, 1);
    expect_numbers(&n->m, 15);
    node_stop(n);
    assert_int_equal(node_start(n, directory, &e), 0);
    expect_numbers(&n->m, 15);
    node_stop(n);

    move_list(n, 7, 2); /* the log begins behind that */
    assert_int_equal(node_start(n, directory, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "begins after 1000"));
    node_stop(n);
    free(n);
}

/* A log of other entries than the state has applied: a crash between an installation and the reset
 * of the log. */
static void test_log_of_another_term(void **state)
{
    const char *directory = *state;
    struct node *n = node_new();
    assert_int_equal(node_start(n, directory, NULL), 0);
    propose_all(n, 1, 10, 1);
    node_stop(n);
    assert_int_equal(node_start(n, directory, NULL), 0); /* term 3 */
    node_stop(n);
    move_list(n, 8, 3);
    assert_int_equal(node_start(n, directory, NULL), 0);
    assert_int_equal(consensus_status(n->c).applied, 9);
    assert_int_equal(n->m.replayed, 1); /* none of the log's entries after 8 */
    node_stop(n);
    free(n);
}

/* ---- Deaths ---- */

static void child(const char *directory, enum step step, int after, int ack_fd)
{
    struct node *n = node_new();
    n->m.die_at = step;
    n->m.die_after = after;
    n->m.ack_fd = ack_fd;
    if (node_start(n, directory, NULL) < 0) {
        _exit(1);
    }
    while (n->m.count < NUMBERS_MAX - 2000) {
        propose_all(n, n->m.count + 1, 1000, 64);
    }
    _exit(0);
}

/* Runs a child until it dies; returns how far it acknowledged, 0: nothing. */
static uint64_t run_child(const char *directory, enum step step, int after)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        child(directory, step, after, fds[1]);
    }
    close(fds[1]);
    uint64_t acked = 0;
    uint64_t value;
    while (read(fds[0], &value, sizeof(value)) == sizeof(value)) {
        assert_true(acked == 0 || value == acked + 1); /* completions come in order */
        acked = value;
    }
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), step == STEP_NONE ? 0 : 9);
    return acked;
}

static void test_deaths(void **state)
{
    const char *directory = *state;
    struct rng rng;
    rng_seed(&rng, 11);
    uint64_t certain = 0; /* all that was ever acknowledged */
    for (int round = 0; round < 60; round++) {
        enum step step = (enum step)(1 + rng_below(&rng, STEPS - 1));
        bool rare = step == STEP_PERSIST || step == STEP_PERSISTED;
        int after = (int)rng_below(&rng, rare ? 2 : step == STEP_DONE ? 300 : 20);
        uint64_t acked = run_child(directory, step, after);
        certain = acked > certain ? acked : certain;
        if (round % 4 != 3) {
            continue; /* deaths in a row */
        }
        struct node *n = node_new();
        assert_int_equal(node_start(n, directory, NULL), 0);
        assert_true(n->m.count >= certain);
        expect_numbers(&n->m, n->m.count);
        node_stop(n);
        free(n);
    }
    assert_true(certain > 0);
}

/* Each of them ends before it has written as much as makes the state durable. */
static void test_short_lives(void **state)
{
    enum { LIVES = 20, NUMBERS_EACH = 300 };
    const char *directory = *state;
    for (int life = 0; life < LIVES; life++) {
        (void)run_child(directory, STEP_DONE, NUMBERS_EACH);
    }
    struct node *n = node_new();
    assert_int_equal(node_start(n, directory, NULL), 0);
    assert_true(n->m.count >= LIVES * NUMBERS_EACH);
    /* What a start replays does not grow with them. */
    assert_true(n->m.replayed < LIVES * NUMBERS_EACH / 2);
    node_stop(n);
    free(n);
}

static int make_directory(void **state)
{
    struct buf path = BUF_INIT;
    assert_int_equal(sys_make_temp_dir("consensus", &path, NULL), 0);
    *state = buf_detach(&path, NULL);
    return 0;
}

static int remove_directory(void **state)
{
    int r = sys_remove_tree(*state, NULL);
    free(*state);
    return r;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_in_order_and_again),  TEST(test_refusals), TEST(test_gaps_are_refused),
        TEST(test_log_of_another_term), TEST(test_deaths),   TEST(test_short_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
