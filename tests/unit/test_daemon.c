#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/daemon.h"
#include "common/mailbox.h"
#include "common/sys.h"

struct seen {
    struct mailbox *box;
    int signals[2];
};

static void on_signal(void *context, int signal_number, int count)
{
    struct seen *s = context;
    if (count <= 2) {
        s->signals[count - 1] = signal_number;
    }
    mailbox_wake(s->box);
}

static void signals_wake_the_owner(void **state)
{
    struct seen seen = {mailbox_new(1, 1), {0}};
    (void)state;
    struct daemon_signals *signals = daemon_signals_start(on_signal, &seen);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    (void)mailbox_run(seen.box, CLOCK_NEVER);
    assert_int_equal(kill(getpid(), SIGINT), 0);
    (void)mailbox_run(seen.box, CLOCK_NEVER);
    daemon_signals_stop(signals);
    daemon_signals_stop(NULL);
    assert_int_equal(seen.signals[0], SIGTERM);
    assert_int_equal(seen.signals[1], SIGINT);
    daemon_signals_child();
    mailbox_free(seen.box);
}

static void ready_is_written_once_and_closed(void **state)
{
    int ends[2];
    char text[64] = {0};
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(daemon_ready(ends[1], "127.0.0.1:9000", NULL), 0);
    assert_int_equal(read(ends[0], text, sizeof(text)), 21);
    assert_string_equal(text, "ready 127.0.0.1:9000\n");
    assert_int_equal(read(ends[0], text, sizeof(text)), 0);
    close(ends[0]);
    assert_int_equal(daemon_ready(-1, "127.0.0.1:9000", NULL), 0);
    assert_true(daemon_ready(1000, "127.0.0.1:9000", NULL) < 0);
}

/* A socket as systemd has one; its path is in NOTIFY_SOCKET. */
static int notify_socket(struct buf *directory)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_int_equal(sys_make_temp_dir("test-daemon", directory, NULL), 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", directory->data);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    return fd;
}

static void notify_socket_end(int fd, struct buf *directory)
{
    unsetenv("NOTIFY_SOCKET");
    close(fd);
    assert_int_equal(sys_remove_tree(directory->data, NULL), 0);
    buf_deinit(directory);
}

/* The next message, which is there already. */
static void receive(int fd, const char *wanted)
{
    char text[128] = {0};
    assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
    assert_string_equal(text, wanted);
}

static void receive_nothing(int fd)
{
    char text[128];
    assert_int_equal(recv(fd, text, sizeof(text), 0), -1);
    assert_int_equal(errno, EAGAIN);
}

static void systemd_is_told(void **state)
{
    struct buf directory = BUF_INIT;
    int fd = notify_socket(&directory);
    (void)state;
    assert_int_equal(daemon_ready(-1, "x", NULL), 0);
    receive(fd, "READY=1\nSTATUS=serving at x");
    daemon_status("waiting");
    receive(fd, "STATUS=waiting");
    daemon_stopping();
    receive(fd, "STOPPING=1\nSTATUS=finishing what is in progress");
    setenv("NOTIFY_SOCKET", "relative", 1);
    assert_int_equal(daemon_notify("READY=1", DAEMON_NOTIFY_SURELY, NULL), ERR_INVALID);
    setenv("NOTIFY_SOCKET", "/nobody/listens", 1);
    assert_true(daemon_notify("READY=1", DAEMON_NOTIFY_SURELY, NULL) < 0);
    daemon_status("nobody hears it");
    notify_socket_end(fd, &directory);
}

static void what_is_said_again_does_not_wait(void **state)
{
    struct buf directory = BUF_INIT;
    int fd = notify_socket(&directory);
    struct err e = ERR_INIT;
    int sent = 0;
    int r = 0;
    (void)state;
    while ((r = daemon_notify("WATCHDOG=1", DAEMON_NOTIFY_NOW, &e)) == 0) {
        sent++; /* until the socket is full: how many that are is the kernel's setting */
    }
    assert_int_equal(r, ERR_BUSY);
    daemon_status("no room for this either");
    for (int i = 0; i < sent; i++) {
        receive(fd, "WATCHDOG=1");
    }
    receive_nothing(fd);
    notify_socket_end(fd, &directory);
}

static void a_child_is_not_what_systemd_hears(void **state)
{
    struct buf directory = BUF_INIT;
    int fd = notify_socket(&directory);
    (void)state;
    setenv("WATCHDOG_USEC", "1000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    daemon_notify_child();
    assert_null(getenv("WATCHDOG_USEC"));
    assert_null(getenv("WATCHDOG_PID"));
    assert_int_equal(daemon_notify("READY=1", DAEMON_NOTIFY_SURELY, NULL), 0);
    receive_nothing(fd);
    notify_socket_end(fd, &directory);
}

/* ---- Watchdog ---- */

static time_ms every(const char *usec, const char *pid)
{
    time_ms ms = 4711;
    assert_int_equal(daemon_watchdog_every(usec, pid, 77, &ms, NULL), 0);
    return ms;
}

static void a_beat_is_due_twice_in_the_time_that_systemd_allows(void **state)
{
    (void)state;
    assert_int_equal(every("60000000", "77"), 30000);
    assert_int_equal(every("60000000", NULL), 30000); /* set by hand: for whoever reads it */
    assert_int_equal(every("1500000", "77"), 750);
    assert_int_equal(every("1", "77"), 1); /* absurd, but no busy loop */
    assert_int_equal(daemon_watchdog_next(30000, 1000, true), 31000);
}

static void nobody_waits_for_the_beats_of_others(void **state)
{
    (void)state;
    assert_int_equal(every(NULL, NULL), 0);
    assert_int_equal(every(NULL, "77"), 0);
    assert_int_equal(every("0", "77"), 0);
    assert_int_equal(every("60000000", "78"), 0); /* inherited from a daemon that started us */
}

static void an_unheard_beat_is_said_again_before_systemd_loses_patience(void **state)
{
    (void)state;
    time_ms now = 5000;
    time_ms gives_up = now + 2 * every("60000000", "77");
    int tries = 0;
    while (now < gives_up) {
        time_ms next = daemon_watchdog_next(every("60000000", "77"), now, false);
        assert_true(next > now);
        now = next;
        tries++;
    }
    assert_int_equal(tries, 20);
    assert_int_equal(daemon_watchdog_next(1, 7, false), 8);
}

static void nonsense_in_the_environment_is_named(void **state)
{
    struct err e = ERR_INIT;
    time_ms ms = 4711;
    (void)state;
    assert_int_equal(daemon_watchdog_every("soon", "77", 77, &ms, &e), ERR_INVALID);
    assert_non_null(strstr(err_message(&e), "WATCHDOG_USEC"));
    assert_int_equal(daemon_watchdog_every("60000000", "me", 77, &ms, &e), ERR_INVALID);
    assert_non_null(strstr(err_message(&e), "WATCHDOG_PID"));
    assert_int_equal(ms, 4711);
}

static void a_failed_disk_has_its_own_exit_status(void **state)
{
    const int disk[] = {ERR_IO, ERR_NO_SPACE, ERR_CORRUPT};
    const int other[] = {ERR_WRONG_CLUSTER, ERR_INTERNAL, ERR_INVALID};
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct err e = ERR_INIT;
        (void)err_set(&e, disk[i], "x");
        assert_int_equal(daemon_exit_status(&e), 3);
        (void)err_set(&e, other[i], "x");
        assert_int_equal(daemon_exit_status(&e), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals_wake_the_owner),
        cmocka_unit_test(ready_is_written_once_and_closed),
        cmocka_unit_test(systemd_is_told),
        cmocka_unit_test(what_is_said_again_does_not_wait),
        cmocka_unit_test(a_child_is_not_what_systemd_hears),
        cmocka_unit_test(a_beat_is_due_twice_in_the_time_that_systemd_allows),
        cmocka_unit_test(nobody_waits_for_the_beats_of_others),
        cmocka_unit_test(an_unheard_beat_is_said_again_before_systemd_loses_patience),
        cmocka_unit_test(nonsense_in_the_environment_is_named),
        cmocka_unit_test(a_failed_disk_has_its_own_exit_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
