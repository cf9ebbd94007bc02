"""Machines in network namespaces on one bridge, for integration tests: what is sent to a machine that is cut off is lost
without a word, as on a real network, and nothing of it is seen outside.

`enter()` first: it starts the test again inside a namespace of its own, where the bridge is; it and all machines end
with the test. Needs root, or a kernel that lets users make namespaces."""
import os
import signal
import socket
import subprocess
import sys

NET = "10.77.0."
PROBE_S = 0.4  # a connection inside one kernel takes no time: who has not answered by then is cut off


def enter():
    """Returns inside the namespace; exit status 77 where there can be none. Whatever is started there is killed when the
    test ends, however it ends."""
    if os.environ.get("TRIREME_TEST_NETWORK") == "inside":
        ip("link", "set", "lo", "up")
        ip("link", "add", "br0", "type", "bridge")
        ip("addr", "add", NET + "254/24", "dev", "br0")
        ip("link", "set", "br0", "up")
        return
    contained = ["--net", "--pid", "--mount-proc", "--kill-child"]
    for options in (contained, ["--user", "--map-root-user", *contained]):
        probe = ["unshare", *options, "ip", "link", "add", "br0", "type", "bridge"]
        if subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            run_again(options)
    print("skipped: no network namespaces here (root, or unprivileged user namespaces, and a bridge are needed)")
    sys.exit(77)


def run_again(options):
    """unshare takes no notice of SIGTERM, so somebody must who can end it."""
    again = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", *options, sys.executable, *sys.argv],
                             env={**os.environ, "TRIREME_TEST_NETWORK": "inside"})
    signal.signal(signal.SIGTERM, lambda *_: again.kill())
    sys.exit(again.wait())


def ip(*words, inside=()):
    subprocess.run([*inside, "ip", *words], check=True)


class Machine:
    """Address 10.77.0.NUMBER behind a pair of virtual network devices."""

    def __init__(self, number):
        self.number = number
        self.address = NET + str(number)
        # Holds the namespace until its standard input ends, which is when the test does, however that comes.
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo made; exec cat"], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        self.inside = ("nsenter", f"--net=/proc/{self.holder.pid}/ns/net")
        self.port = f"v{number}"
        ip("link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        ip("link", "set", self.port, "master", "br0", "up")
        ip("addr", "add", self.address + "/24", "dev", "eth0", inside=self.inside)
        ip("link", "set", "eth0", "up", inside=self.inside)
        ip("link", "set", "lo", "up", inside=self.inside)

    def close(self):
        self.holder.stdin.close()
        self.holder.wait()

    def cut_off(self):
        """From everybody."""
        ip("link", "set", self.port, "down")

    def cut_from(self, other):
        """The two of them; others reach both."""
        ip("route", "add", "blackhole", other.address + "/32", inside=self.inside)
        ip("route", "add", "blackhole", self.address + "/32", inside=other.inside)

    def heal(self):
        """All that was cut here; the other side of cut_from() heals by itself."""
        ip("link", "set", self.port, "up")
        ip("route", "flush", "type", "blackhole", inside=self.inside)

    def answers(self, port, seen_by=None):
        """Whether a connection to it can be made, from the bridge or from another machine."""
        if seen_by is None:
            try:
                socket.create_connection((self.address, port), PROBE_S).close()
                return True
            except OSError:
                return False
        probe = ["timeout", str(PROBE_S), "bash", "-c", f": </dev/tcp/{self.address}/{port}"]
        return subprocess.run([*seen_by.inside, *probe], stderr=subprocess.DEVNULL, check=False).returncode == 0


def state_of(process):
    """The letter in /proc: R and S run, T is stopped, Z is dead."""
    with open(f"/proc/{process.pid}/stat", encoding="utf-8") as f:
        return f.read().rpartition(") ")[2][0]


def end(processes):
    """SIGKILL, whatever state they are in."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
