/* See process.h. */
#include "bench/lib/process.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/lib/measure.h"
#include "common/alloc.h"
#include "common/buf.h"
#include "common/rng.h"
#include "common/sys.h"

enum { PORT_COUNT_MAX = 16, PORT_MIN = 20000, PORT_MAX = 32000 };

char *process_build_path(const char *path)
{
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length < 0) {
        bench_fail("readlink");
    }
    self[length] = '\0';
    *strrchr(self, '/') = '\0';
    return xprintf("%s/../%s", self, path);
}

void process_start(struct process *p, const char *program, const char *const *arguments)
{
    const char *list[PROCESS_ARGUMENT_COUNT_MAX + 4] = {program};
    char *name = xprintf("bin/%s", program);
    char *path = process_build_path(name);
    char fd[16];
    int fds[2];
    size_t count = 1;
    for (; arguments[count - 1]; count++) {
        if (count > PROCESS_ARGUMENT_COUNT_MAX) {
            bench_fail("too many arguments for %s", program);
        }
        list[count] = arguments[count - 1];
    }
    if (pipe2(fds, O_CLOEXEC) < 0) {
        bench_fail("pipe");
    }
    (void)snprintf(fd, sizeof(fd), "%d", fds[1]);
    list[count] = "--ready-fd";
    list[count + 1] = fd;
    *p = (struct process){.pid = fork(), .ready_fd = fds[0]};
    if (p->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a benchmark that fails leaves nobody behind */
        (void)fcntl(fds[1], F_SETFD, 0);
        execv(path, (char *const *)list);
        _exit(127);
    }
    close(fds[1]);
    free(path);
    free(name);
}

void process_await(struct process *p)
{
    char line[PROCESS_ADDRESS_BYTES + 32] = "";
    ssize_t length = read(p->ready_fd, line, sizeof(line) - 1);
    if (length <= 0 || sscanf(line, "ready %127s", p->address) != 1) {
        bench_fail("process %d did not start", (int)p->pid);
    }
    close(p->ready_fd);
    p->ready_fd = -1;
}

static int end_with(struct process *p, int signal)
{
    int status = 0;
    kill(p->pid, signal);
    if (waitpid(p->pid, &status, 0) != p->pid) {
        bench_fail("waitpid %d", (int)p->pid);
    }
    p->pid = 0;
    return status;
}

void process_stop(struct process *p)
{
    int pid = (int)p->pid;
    int status = end_with(p, SIGTERM);
    if (status != 0) {
        bench_fail("process %d did not end well: %d", pid, status);
    }
}

void process_kill(struct process *p)
{
    (void)end_with(p, SIGKILL);
}

/* ---- Helpers ---- */

void helper_start(struct helper *h, const char *const *arguments)
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0) {
        bench_fail("pipe");
    }
    *h = (struct helper){.pid = fork(), .stdin_fd = in[1]};
    if (h->pid == 0) {
        (void)dup2(in[0], 0);
        (void)dup2(out[1], 1);
        execv(arguments[0], (char *const *)arguments);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    FILE *text = fdopen(out[0], "r");
    if (!text) {
        bench_fail("fdopen");
    }
    if (!fgets(h->line, sizeof(h->line), text)) {
        h->line[0] = '\0';
    }
    (void)fclose(text);
}

int helper_stop(struct helper *h)
{
    int status = 0;
    close(h->stdin_fd);
    if (waitpid(h->pid, &status, 0) != h->pid || !WIFEXITED(status)) {
        bench_fail("helper %d did not end well: %d", (int)h->pid, status);
    }
    return WEXITSTATUS(status);
}

/* ---- Looking at them ---- */

/* The first figure of each thread's schedstat is in nanoseconds, so short runs count too. */
double process_cpu(pid_t pid)
{
    char *path = xprintf("/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    double seconds = 0;
    const struct dirent *task = NULL;
    while (tasks && (task = readdir(tasks)) != NULL) {
        struct buf text = BUF_INIT;
        char *stat = xprintf("%s/%s/schedstat", path, task->d_name);
        if (task->d_name[0] != '.' && sys_read_file(stat, 256, &text, NULL) == 0) {
            seconds += (double)strtoull(text.data, NULL, 10) / 1e9;
        }
        free(stat);
        buf_deinit(&text);
    }
    if (tasks) {
        (void)closedir(tasks);
    }
    free(path);
    return seconds;
}

/* Below what Linux gives to outgoing connections, one of which could otherwise take the port of a
 * process that is to come back to it. */
void process_free_ports(int *ports, size_t count)
{
    int sockets[PORT_COUNT_MAX];
    size_t found = 0;
    if (count > PORT_COUNT_MAX) {
        bench_fail("too many ports");
    }
    for (int tries = 0; found < count && tries < 1000; tries++) {
        int port = PORT_MIN + (int)(rng_entropy_u64() % (PORT_MAX - PORT_MIN));
        struct sockaddr_in at = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr = {htonl(INADDR_LOOPBACK)}};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            bench_fail("socket");
        }
        if (bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0) {
            sockets[found] = fd;
            ports[found++] = port;
        } else {
            close(fd);
        }
    }
    if (found < count) {
        bench_fail("no free ports");
    }
    for (size_t i = 0; i < count; i++) {
        close(sockets[i]);
    }
}
