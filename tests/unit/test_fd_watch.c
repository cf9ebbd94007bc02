/* Descriptors watched for a loop, for reading and for room to write: events come again and again,
 * ends are heard, and a watch can end at any moment, in its own callback too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "mapreduce/fd_watch.h"

struct side {
    struct fd_watch *watch;
    int fd;   /* watched */
    int peer; /* the test's */
    size_t bytes;
    bool ended; /* read said so */
    bool gone;
    bool end_at_once; /* the callback ends its own watch */
    bool wanted;      /* what the loop runs for */
};

static void on_gone(void *arg)
{
    struct side *side = arg;
    assert_false(side->gone);
    side->gone = true;
    (void)close(side->fd);
}

/* One byte at a time: what is left must be told again. */
static void on_ready(void *arg)
{
    struct side *side = arg;
    char byte = 0;
    assert_false(side->gone);
    ssize_t n = recv(side->fd, &byte, 1, MSG_DONTWAIT);
    side->bytes += n == 1;
    side->ended |= n == 0;
    side->wanted = side->bytes == 3 || side->ended;
    if (side->end_at_once || side->ended) {
        fd_watch_end(side->watch, on_gone, side);
    }
}

static void watch(struct fd_watcher *w, struct side *side)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    side->fd = fds[0];
    side->peer = fds[1];
    assert_int_equal(fd_watch_new(w, side->fd, on_ready, side, &side->watch, NULL), 0);
}

struct world {
    struct rpc_loop *loop;
    struct fd_watcher *watcher;
};

static int setup(void **state)
{
    static struct world w;
    rpc_init();
    w.loop = rpc_loop_new();
    *state = &w;
    return fd_watcher_start(w.loop, &w.watcher, NULL);
}

static int teardown(void **state)
{
    struct world *w = *state;
    fd_watcher_stop(w->watcher);
    rpc_loop_free(w->loop);
    rpc_exit();
    return 0;
}

static void until(struct world *w, const bool *done)
{
    assert_true(rpc_loop_until(w->loop, done, RPC_NO_DEADLINE));
}

static void what_is_left_is_told_again(void **state)
{
    struct world *w = *state;
    struct side side = {0};
    watch(w->watcher, &side);
    assert_int_equal(write(side.peer, "abc", 3), 3);
    until(w, &side.wanted);
    assert_int_equal(side.bytes, 3);
    side.bytes = 0;
    side.wanted = false;
    assert_int_equal(write(side.peer, "def", 3), 3);
    until(w, &side.wanted);
    fd_watch_end(side.watch, on_gone, &side);
    until(w, &side.gone);
    (void)close(side.peer);
}

static void bytes_before_the_end_come_first(void **state)
{
    struct world *w = *state;
    struct side side = {0};
    watch(w->watcher, &side);
    assert_int_equal(write(side.peer, "ab", 2), 2);
    (void)close(side.peer);
    until(w, &side.gone);
    assert_int_equal(side.bytes, 2);
    assert_true(side.ended);
}

static void a_callback_may_end_its_watch(void **state)
{
    struct world *w = *state;
    struct side side = {.end_at_once = true};
    watch(w->watcher, &side);
    assert_int_equal(write(side.peer, "abc", 3), 3);
    until(w, &side.gone);
    assert_int_equal(side.bytes, 1); /* no call after the end */
    (void)close(side.peer);
}

/* Idle, with an event that is already under way, and before the loop has run at all. */
static void a_watch_ends_in_every_state(void **state)
{
    struct world *w = *state;
    for (int round = 0; round < 200; round++) {
        struct side side = {0};
        watch(w->watcher, &side);
        if (round % 2) {
            assert_int_equal(write(side.peer, "a", 1), 1);
        }
        if (round % 4 >= 2) {
            (void)rpc_loop_step(w->loop, 0);
        }
        fd_watch_end(side.watch, on_gone, &side);
        until(w, &side.gone);
        (void)close(side.peer);
    }
}

static void on_writable(void *arg)
{
    struct side *side = arg;
    assert_false(side->gone);
    side->wanted = true;
}

static void on_writer_gone(void *arg)
{
    struct side *side = arg;
    assert_false(side->gone);
    side->gone = true;
}

/* Both ends of a socket whose sending side takes no more. */
static void fill(struct side *side)
{
    static const char bytes[4096];
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    side->fd = fds[0];
    side->peer = fds[1];
    while (send(side->fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
}

static void drain(const struct side *side)
{
    static char bytes[65536];
    while (recv(side->peer, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
}

/* Room in a full pipe is told once for each time that it was asked for. */
static void room_to_write_is_told(void **state)
{
    struct world *w = *state;
    struct side side = {0};
    fill(&side);
    assert_int_equal(
        fd_watch_new_writer(w->watcher, side.fd, on_writable, &side, &side.watch, NULL), 0);
    for (int round = 0; round < 3; round++) {
        fd_watch_want(side.watch);
        fd_watch_want(side.watch);
        assert_false(rpc_loop_until(w->loop, &side.wanted, 0)); /* it is full */
        drain(&side);
        until(w, &side.wanted);
        side.wanted = false;
        (void)rpc_loop_step(w->loop, 0);
        assert_false(side.wanted);
        while (send(side.fd, "x", 1, MSG_DONTWAIT) > 0) {
        }
    }
    fd_watch_want(side.watch);
    (void)close(side.peer);
    until(w, &side.wanted); /* a broken pipe is told too */
    fd_watch_end(side.watch, on_writer_gone, &side);
    until(w, &side.gone);
    (void)close(side.fd);
}

/* Never asked, waiting, and with an event under way; the reader beside it may end first. */
static void a_writer_ends_in_every_state(void **state)
{
    struct world *w = *state;
    for (int round = 0; round < 200; round++) {
        struct side side = {0};
        fill(&side);
        assert_int_equal(
            fd_watch_new_writer(w->watcher, side.fd, on_writable, &side, &side.watch, NULL), 0);
        if (round % 2) {
            fd_watch_want(side.watch);
        }
        if (round % 4 >= 2) {
            drain(&side);
            (void)rpc_loop_step(w->loop, 0);
        }
        if (round % 8 >= 4) {
            (void)close(side.fd);
        }
        fd_watch_end(side.watch, on_writer_gone, &side);
        until(w, &side.gone);
        if (round % 8 < 4) {
            (void)close(side.fd);
        }
        (void)close(side.peer);
    }
}

static void many_watches(void **state)
{
    enum { COUNT = 100 };
    struct world *w = *state;
    static struct side sides[COUNT];
    for (int i = 0; i < COUNT; i++) {
        sides[i] = (struct side){0};
        watch(w->watcher, &sides[i]);
    }
    for (int i = COUNT; i-- > 0;) {
        assert_int_equal(write(sides[i].peer, "abc", 3), 3);
    }
    for (int i = 0; i < COUNT; i++) {
        until(w, &sides[i].wanted);
        (void)close(sides[i].peer);
    }
    for (int i = 0; i < COUNT; i++) {
        until(w, &sides[i].gone);
        assert_int_equal(sides[i].bytes, 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_left_is_told_again, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_before_the_end_come_first, setup, teardown),
        cmocka_unit_test_setup_teardown(a_callback_may_end_its_watch, setup, teardown),
        cmocka_unit_test_setup_teardown(a_watch_ends_in_every_state, setup, teardown),
        cmocka_unit_test_setup_teardown(room_to_write_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_writer_ends_in_every_state, setup, teardown),
        cmocka_unit_test_setup_teardown(many_watches, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
