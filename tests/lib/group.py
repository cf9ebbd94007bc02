"""A group of file masters of this build as real processes on loopback, for integration tests."""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

SOURCE = os.environ.get("TRIREME_SOURCE", os.path.abspath(os.path.join(os.path.dirname(__file__), "../..")))
BUILD = os.environ.get("TRIREME_BUILD", os.path.join(SOURCE, "build/release"))


def wait_until(condition, what, seconds=30):
    """Asks again until it is so; the last answer is returned."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"never so: {what}")
        time.sleep(0.02)


def free_addresses(count):
    """Nobody has them now, and they lie below those that the kernel gives to connections: none of these takes one before
    its member listens, or while that is dead."""
    sockets = []
    while len(sockets) < count:
        try:
            sockets.append(socket.create_server(("127.0.0.1", random.randrange(10000, 30000))))
        except OSError:
            continue
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for each in sockets:
        each.close()
    return addresses


class Group:
    """Members 1..count, each with a data directory and a log file of its own. Nobody runs at first."""

    def __init__(self, count=3, arguments=()):
        self.directory = tempfile.mkdtemp(prefix="trireme-group-")
        self.arguments = list(arguments)
        self.address = dict(enumerate(free_addresses(count), 1))
        self.process = {}

    def data(self, i):
        return os.path.join(self.directory, f"m{i}")

    def log_path(self, i):
        return os.path.join(self.directory, f"m{i}.log")

    def log(self, i):
        try:
            with open(self.log_path(i), encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def peers(self):
        return ",".join(f"{i}={a}" for i, a in self.address.items())

    def command(self, i, *more, peers=True):
        group = ["--id", str(i), "--peers", self.peers()] if peers else []
        return [os.path.join(BUILD, "bin/fsmaster"), "--data", self.data(i), "--listen", self.address[i],
                "--superuser", "root", *group, *self.arguments, *more]

    def start(self, *members, more=(), peers=True):
        for i in members or self.address:
            with open(self.log_path(i), "ab") as log:
                self.process[i] = subprocess.Popen(self.command(i, *more, peers=peers), stdin=subprocess.DEVNULL,
                                                   stdout=log, stderr=log)

    def start_until(self, i, call, path, number=1):
        """Member i under strace: it is killed as some thread makes its number-th such system call on a path, which is
        given relative to its data directory."""
        path = os.path.normpath(os.path.join(self.data(i), path))
        with open(self.log_path(i), "ab") as log:
            self.process[i] = subprocess.Popen(
                ["strace", "-f", "-qq", "-o", "/dev/null", "-P", path, "-e", f"trace={call}",
                 "-e", f"inject={call}:signal=SIGKILL:when={number}", *self.command(i)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end_traced(self, i):
        """True if that has happened; else it is killed now."""
        strace = self.process.pop(i)
        died = strace.poll() is not None
        if not died:
            with open(f"/proc/{strace.pid}/task/{strace.pid}/children", encoding="ascii") as f:
                os.kill(int(f.read().split()[0]), signal.SIGKILL)
        strace.wait()
        return died

    def kill(self, *members):
        """SIGKILL to all of them before any is waited for."""
        members = members or list(self.process)
        for i in members:
            self.process[i].kill()
        for i in members:
            self.process.pop(i).wait()

    def stop(self, *members):
        members = members or list(self.process)
        for i in members:
            self.process[i].terminate()
        return [self.process.pop(i).wait(30) for i in members]

    def wipe(self, i):
        shutil.rmtree(self.data(i))

    def close(self):
        for process in self.process.values():
            process.kill()
            process.wait()
        shutil.rmtree(self.directory)

    def dfs(self, *arguments, members=None, timeout="20s"):
        """The command's result; it knows the addresses of all members, or of those named."""
        masters = ",".join(self.address[i] for i in members or self.address)
        return subprocess.run([os.path.join(BUILD, "bin/dfs"), *arguments, "--master", masters, "--user", "root",
                               "--timeout", timeout], capture_output=True, text=True)

    def status(self, *members):
        """What `dfs admin raft status` says; None while nobody answers."""
        done = self.dfs("admin", "raft", "status", "--json", members=members or None, timeout="300ms")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def leader(self):
        """Its id, once one leads and says so itself."""
        group = self.status()
        return group["leader"] if group and group["role"] == "leader" else 0

    def wait_leader(self):
        return wait_until(self.leader, "somebody leads")

    def wait_equal(self, count):
        """All members answer, and stand at the same entry."""
        group = None

        def equal():
            nonlocal group
            group = self.status()
            members = group["members"] if group else []
            return (len(members) == count and all(m["reachable"] for m in members)
                    and len({(m["term"], m["last"], m["applied"]) for m in members}) == 1)
        try:
            wait_until(equal, f"{count} members agree")
        except AssertionError as e:
            tails = "".join(f"--- log of {i}:\n{self.log(i)[-3000:]}\n" for i in self.address)
            raise AssertionError(f"{e}: {group}\n{tails}") from e

    def wait_log(self, i, text):
        wait_until(lambda: text in self.log(i), f"member {i} logs: {text}")
