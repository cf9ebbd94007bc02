#!/usr/bin/python3
"""systemd's watchdog, with a socket of this test instead of systemd: each daemon beats by its main thread and by no other.
A main thread that hangs, or a process that is stopped, beats no more, while another daemon's beats are the clock of the
test; one that goes on beats again; one that drains says so and is silent."""
import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from group import BUILD, wait_until  # noqa: E402

ALLOWED_US = 200000  # a beat each 100 ms
PATIENCE_S = 60      # for what must come
SOME = 5             # beats that another one makes meanwhile
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000    # waitid() of threads, too

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace(request, thread):
    if libc.ptrace(request, thread, None, None) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


class Daemon:
    """A process that believes that systemd has started it."""

    def __init__(self, directory, name, *arguments):
        self.data = os.path.join(directory, name)
        path = os.path.join(directory, name + ".notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE_S)
        self.socket.bind(path)
        environment = {**os.environ, "NOTIFY_SOCKET": path, "WATCHDOG_USEC": str(ALLOWED_US)}
        with open(self.data + ".log", "wb") as log:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", 'export WATCHDOG_PID=$$; exec "$@"', "sh", os.path.join(BUILD, "bin", name),
                 "--data", self.data, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        self.said = []

    def ready(self):
        self.address = self.hear("READY=1").split("serving at ")[1]
        return self

    def log(self):
        with open(self.data + ".log", encoding="utf-8", errors="replace") as f:
            return f.read()

    def hear(self, wanted):
        """The next message that begins so; what comes before it is heard as well."""
        while True:
            try:
                self.said.append(self.socket.recv(4096).decode())
            except TimeoutError:
                raise AssertionError(f"never said: {wanted}; said: {self.said}\n{self.log()}") from None
            if self.said[-1].startswith(wanted):
                return self.said[-1]

    def drain(self):
        """What it has said and nobody has heard yet."""
        found = []
        while select.select([self.socket], [], [], 0)[0]:
            found.append(self.socket.recv(4096).decode())
        return found

    def beats(self, count):
        """So many from now on."""
        self.drain()
        for _ in range(count):
            self.hear("WATCHDOG=1")

    def metrics(self):
        port = self.log().split("metrics port=")[1].split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as page:
            return page.read().decode()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.socket.close()


class Watchdog(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="trireme-watchdog-")
        self.addCleanup(shutil.rmtree, self.directory)

    def start(self, *arguments):
        daemon = Daemon(self.directory, *arguments)
        self.addCleanup(daemon.end)
        return daemon

    def hang(self, daemon, other):
        """Its main thread, which every daemon's owner is, and nothing else of it."""
        thread = daemon.process.pid
        try:
            ptrace(PTRACE_SEIZE, thread)
        except PermissionError:
            print("not checked: a thread that hangs (this system lets nobody trace)")
            return
        ptrace(PTRACE_INTERRUPT, thread)
        _, status = os.waitpid(thread, WALL)
        self.assertTrue(os.WIFSTOPPED(status), status)
        daemon.drain()
        other.beats(SOME)
        self.assertIn("trireme_build_info", daemon.metrics())  # by another thread, after all these beats of the other one
        self.assertEqual(daemon.drain(), [])
        ptrace(PTRACE_DETACH, thread)
        daemon.beats(2)

    def stop(self, daemon, other):
        daemon.process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(daemon.process.pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status), status)
        daemon.drain()
        other.beats(SOME)
        self.assertEqual(daemon.drain(), [])
        daemon.process.send_signal(signal.SIGCONT)
        daemon.beats(2)

    def leave(self, daemon):
        """A beat after STOPPING=1 would make systemd watch a daemon that has no time for that any more."""
        daemon.process.terminate()
        daemon.hear("STOPPING=1")
        self.assertEqual(daemon.process.wait(PATIENCE_S), 0)
        self.assertEqual(daemon.drain(), [])

    def test_all(self):
        fsmaster = self.start("fsmaster", "--single").ready()
        masters = ("--masters", fsmaster.address)
        chunkserver = self.start("chunkserver", *masters).ready()
        mrmaster = self.start("mrmaster", *masters).ready()
        mrworker = self.start("mrworker", *masters, "--mrmaster", mrmaster.address).ready()
        daemons = [mrworker, mrmaster, chunkserver, fsmaster]
        for daemon in daemons:
            with self.subTest(daemon.data):
                self.assertIn("STATUS=", "".join(daemon.said[:2]))  # what the start waited for
                daemon.beats(2)
                other = fsmaster if daemon is not fsmaster else chunkserver
                self.hang(daemon, other)
                self.stop(daemon, other)
        for daemon in daemons:
            with self.subTest(daemon.data):
                self.leave(daemon)

    @unittest.skipUnless(shutil.which("strace"), "no strace")
    def test_removal_on_a_disk_that_hangs(self):
        """mrworker removes the files of tasks and jobs, but not by its main thread: that goes on beating, and jobs run."""
        fsmaster = self.start("fsmaster", "--single").ready()
        masters = ("--masters", fsmaster.address)
        self.start("chunkserver", *masters).ready()
        mrmaster = self.start("mrmaster", *masters).ready()
        mrworker = self.start("mrworker", *masters, "--mrmaster", mrmaster.address).ready()
        where = ("--master", fsmaster.address)

        def run(*command):
            done = subprocess.run([os.path.join(BUILD, "bin", command[0]), *command[1:]], capture_output=True, text=True,
                                  timeout=PATIENCE_S)
            self.assertEqual(done.returncode, 0, done.stderr)

        def job(output):
            run("mr", "run", "--quiet", "--mrmaster", mrmaster.address, *where, "--mapper", "cat", "--reducer", "cat",
                "-i", "/in", "-o", output)
        run("dfs", "put", *where, __file__, "/in")
        marker = os.path.join(self.directory, "strace")
        with open(marker, "wb") as log:
            strace = subprocess.Popen(["strace", "-f", "-o", "/dev/null", "-p", str(mrworker.process.pid),
                                       "-e", "trace=unlink,unlinkat,rmdir",
                                       "-e", "inject=unlink,unlinkat,rmdir:delay_enter=600000000"], stderr=log)
        self.addCleanup(strace.wait)
        self.addCleanup(strace.kill)

        def attached():
            with open(marker, encoding="utf-8") as log:
                return "attached" in log.read()
        wait_until(attached, "strace is there")
        removed = os.path.join(mrworker.data, "jobs", "removed-0")
        job("/first")
        wait_until(lambda: os.path.isdir(removed), "something is being removed")
        job("/second")
        mrworker.beats(SOME)
        self.assertTrue(os.path.isdir(removed), "the disk did not hang")
        strace.terminate()
        strace.wait()
        wait_until(lambda: not os.path.exists(removed), "it is removed")

    def test_watched_while_it_waits(self):
        """Before it is ready, too: a chunkserver that no file master has accepted yet beats, and says what it waits for."""
        fsmaster = self.start("fsmaster", "--single").ready()
        fsmaster.process.send_signal(signal.SIGSTOP)
        os.waitpid(fsmaster.process.pid, os.WUNTRACED)
        waiting = self.start("chunkserver", "--masters", fsmaster.address)
        waiting.hear("STATUS=waiting for a file master")
        for _ in range(SOME):
            waiting.hear("WATCHDOG=1")
        self.assertFalse([said for said in waiting.said if said.startswith("READY=1")])
        fsmaster.process.send_signal(signal.SIGCONT)
        waiting.hear("READY=1")
        waiting.beats(2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
