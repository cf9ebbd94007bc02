/* The spawner with a real process: ends and their status, groups, descriptors, and what goes when
 * the worker goes. The task program here is a shell script that its pipe tells what to do. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "mapreduce/spawner.h"

/* Runs the line of shell that comes down the pipe; its descriptor 3 stays open meanwhile. */
static char shell[] = "/bin/sh";
static char option[] = "-c";
static char script[] = "read -r line <&3; eval \"$line\"";
static char *const shell_task[] = {shell, option, script, NULL};

struct task {
    int fd; /* our end of its pipe */
};

static struct task spawn(struct spawner *s, uint64_t id, const char *line)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(spawner_spawn(s, id, fds[1], NULL), 0);
    (void)close(fds[1]);
    assert_int_equal(write(fds[0], line, strlen(line)), (ssize_t)strlen(line));
    return (struct task){fds[0]};
}

static struct spawner_event next(struct spawner *s)
{
    struct spawner_event event = {0};
    int r = 0;
    while ((r = spawner_next(s, &event, NULL)) == 0) {
        struct pollfd ready = {.fd = s->fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, -1), 1);
    }
    assert_int_equal(r, 1);
    return event;
}

/* What the task writes until it and all that hold its pipe have ended. */
static void read_all(int fd, char *out, size_t size)
{
    size_t length = 0;
    ssize_t n = 0;
    while ((n = read(fd, out + length, size - 1 - length)) > 0) {
        length += (size_t)n;
    }
    out[length] = '\0';
}

static void statuses_are_told(void **state)
{
    (void)state;
    struct spawner s = {0};
    assert_int_equal(spawner_start(&s, shell_task, NULL), 0);
    struct task task = spawn(&s, 7, "exit 5\n");
    struct spawner_event event = next(&s);
    assert_int_equal(event.id, 7);
    assert_int_equal(event.spawn_errno, 0);
    assert_true(WIFEXITED(event.status));
    assert_int_equal(WEXITSTATUS(event.status), 5);
    (void)close(task.fd);
    assert_int_equal(spawner_kill(&s, 7, NULL), 0); /* it has ended: nothing happens */
    task = spawn(&s, 8, "kill -TERM $$\n");
    event = next(&s);
    assert_int_equal(event.id, 8);
    assert_true(WIFSIGNALED(event.status));
    assert_int_equal(WTERMSIG(event.status), SIGTERM);
    (void)close(task.fd);
    spawner_stop(&s);
}

static void a_kill_takes_the_whole_group(void **state)
{
    (void)state;
    struct spawner s = {0};
    char text[16];
    assert_int_equal(spawner_start(&s, shell_task, NULL), 0);
    struct task task = spawn(&s, 1, "sleep 1000 & echo up >&3; wait\n");
    assert_int_equal(read(task.fd, text, 3), 3);
    assert_int_equal(spawner_kill(&s, 1, NULL), 0);
    assert_true(WIFSIGNALED(next(&s).status));
    read_all(task.fd, text, sizeof(text)); /* ends: the sleeper held the pipe too */
    (void)close(task.fd);
    spawner_stop(&s);
}

static void what_a_task_leaves_running_goes_with_it(void **state)
{
    (void)state;
    struct spawner s = {0};
    char text[16];
    assert_int_equal(spawner_start(&s, shell_task, NULL), 0);
    struct task task = spawn(&s, 1, "sleep 1000 & exit 0\n");
    assert_int_equal(WEXITSTATUS(next(&s).status), 0);
    read_all(task.fd, text, sizeof(text));
    (void)close(task.fd);
    spawner_stop(&s);
}

/* Descriptors of the worker without close-on-exec, as a caller may have left us. */
static void a_task_has_no_descriptor_of_ours(void **state)
{
    (void)state;
    struct spawner s = {0};
    char text[64];
    int leaks[3];
    int ends[2];
    for (int i = 0; i < 3; i++) {
        leaks[i] = open("/dev/null", O_RDONLY);
        assert_true(leaks[i] > 2);
    }
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(spawner_start(&s, shell_task, NULL), 0);
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], text, 1), 0); /* the spawner does not hold it open */
    struct task task = spawn(
        &s, 1, "for f in /proc/$$/fd/*; do echo ${f##*/}; done | sort -n | tr '\\n' ' ' >&3\n");
    read_all(task.fd, text, sizeof(text));
    assert_int_equal(strncmp(text, "0 1 2 3 ", 8), 0);
    /* A shell may keep a copy of one of its own while it redirects; ours would be three. */
    assert_true(strlen(text) <= strlen("0 1 2 3 10 11 "));
    (void)next(&s);
    (void)close(task.fd);
    (void)close(ends[0]);
    for (int i = 0; i < 3; i++) {
        (void)close(leaks[i]);
    }
    spawner_stop(&s);
}

static void tasks_end_with_the_worker(void **state)
{
    (void)state;
    struct spawner s = {0};
    char text[16];
    assert_int_equal(spawner_start(&s, shell_task, NULL), 0);
    struct task task = spawn(&s, 1, "sleep 1000 & echo up >&3; wait\n");
    assert_int_equal(read(task.fd, text, 3), 3);
    spawner_stop(&s);
    read_all(task.fd, text, sizeof(text));
    (void)close(task.fd);
}

static void a_lost_spawner_is_an_error(void **state)
{
    (void)state;
    struct spawner s = {0};
    struct spawner_event event;
    char text[16];
    assert_int_equal(spawner_start(&s, shell_task, NULL), 0);
    struct task task = spawn(&s, 1, "echo up >&3; exec sleep 1000\n");
    assert_int_equal(read(task.fd, text, 3), 3);
    assert_int_equal(kill(s.pid, SIGKILL), 0);
    struct pollfd ready = {.fd = s.fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, -1), 1);
    assert_true(spawner_next(&s, &event, NULL) < 0);
    assert_true(spawner_kill(&s, 1, NULL) < 0);
    (void)close(task.fd);
    spawner_stop(&s);
}

static void a_missing_program_is_refused(void **state)
{
    (void)state;
    struct spawner s = {0};
    char program[] = "/nowhere/mrtask";
    char *const argv[] = {program, NULL};
    assert_int_equal(spawner_start(&s, argv, NULL), ERR_NOT_FOUND);
    spawner_stop(&s);
}

/* Many at once: no event is lost, and each names its own. */
static void many_processes(void **state)
{
    (void)state;
    enum { COUNT = 60 };
    struct spawner s = {0};
    struct task tasks[COUNT];
    bool seen[COUNT] = {false};
    assert_int_equal(spawner_start(&s, shell_task, NULL), 0);
    for (int i = 0; i < COUNT; i++) {
        char line[32];
        int n = snprintf(line, sizeof(line), "exit %d\n", i);
        assert_in_range(n, 1, sizeof(line) - 1);
        tasks[i] = spawn(&s, (uint64_t)i + 1, line);
    }
    for (int i = 0; i < COUNT; i++) {
        struct spawner_event event = next(&s);
        assert_in_range(event.id, 1, COUNT);
        assert_int_equal(WEXITSTATUS(event.status), (int)event.id - 1);
        assert_false(seen[event.id - 1]);
        seen[event.id - 1] = true;
    }
    for (int i = 0; i < COUNT; i++) {
        (void)close(tasks[i].fd);
    }
    spawner_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_are_told),
        cmocka_unit_test(a_kill_takes_the_whole_group),
        cmocka_unit_test(what_a_task_leaves_running_goes_with_it),
        cmocka_unit_test(a_task_has_no_descriptor_of_ours),
        cmocka_unit_test(tasks_end_with_the_worker),
        cmocka_unit_test(a_lost_spawner_is_an_error),
        cmocka_unit_test(a_missing_program_is_refused),
        cmocka_unit_test(many_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
