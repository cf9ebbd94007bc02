#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

static void systemd_is_told(void **state)
{
    struct buf path = BUF_INIT;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[64] = {0};
    (void)state;
    assert_int_equal(sys_make_temp_dir("test-daemon", &path, NULL), 0);
    size_t dir_length = path.length;
    buf_append_str(&path, "/notify");
    memcpy(address.sun_path, path.data, path.length + 1);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setenv("NOTIFY_SOCKET", path.data, 1);
    assert_int_equal(daemon_ready(-1, "x", NULL), 0);
    assert_int_equal(recv(fd, text, sizeof(text), 0), 7);
    assert_string_equal(text, "READY=1");
    daemon_stopping();
    assert_int_equal(recv(fd, text, sizeof(text), 0), 10);
    assert_string_equal(text, "STOPPING=1");
    setenv("NOTIFY_SOCKET", "relative", 1);
    assert_int_equal(daemon_notify("READY=1", NULL), ERR_INVALID);
    setenv("NOTIFY_SOCKET", "/nobody/listens", 1);
    assert_true(daemon_notify("READY=1", NULL) < 0);
    unsetenv("NOTIFY_SOCKET");
    close(fd);
    path.data[dir_length] = 0;
    assert_int_equal(sys_remove_tree(path.data, NULL), 0);
    buf_deinit(&path);
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
        cmocka_unit_test(a_failed_disk_has_its_own_exit_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
