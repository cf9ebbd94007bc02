#!/usr/bin/python3 -IS
# ctest: serial
"""The namespace of three file masters is linearizable while they are killed, stopped and cut off: eight concurrent
clients write down what each call was told, and the checker of tests/lib/lin.h finds an order that explains it all. Each
machine has a network namespace of its own. Ten histories, a hundred with TRIREME_FULL=1; each fault proves that it
landed. TRIREME_SEED repeats a run's choices; TRIREME_KEEP=DIR keeps histories and logs there."""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import network  # noqa: E402

SOURCE = os.environ.get("TRIREME_SOURCE", os.path.abspath(os.path.join(os.path.dirname(__file__), "../..")))
BUILD = os.environ.get("TRIREME_BUILD", os.path.join(SOURCE, "build/release"))
FULL = os.environ.get("TRIREME_FULL") == "1"
HISTORY_COUNT = 100 if FULL else 10
FAULTS_PER_HISTORY = 3 if FULL else 2
OPERATION_COUNT_MIN = 500
PORT = 7000
PATIENCE_S = 60
FAITHFUL = (6, 7)  # clients who wait for one member, see tests/programs/history.c


def wait_until(condition, what):
    """Asks again until the answer is true, and returns it."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"never so: {what}")
        time.sleep(0.02)


class Group:
    """Three file masters, each on a machine of its own."""

    def __init__(self, directory):
        self.directory = directory
        self.machines = {i: network.Machine(i) for i in (1, 2, 3)}
        self.processes = {}
        self.addresses = {i: f"{m.address}:{PORT}" for i, m in self.machines.items()}
        self.environment = {"PATH": os.environ["PATH"], "TRIREME_CONFIG": os.devnull,
                            "DFS_MASTER": ",".join(self.addresses.values())}
        for i in self.machines:
            self.start(i)
        wait_until(self.is_well, "a group of three")

    def start(self, i):
        command = [*self.machines[i].inside, os.path.join(BUILD, "bin/fsmaster"), "--id", str(i), "--insecure",
                   "--data", os.path.join(self.directory, f"m{i}"), "--listen", self.addresses[i],
                   "--peers", ",".join(f"{k}={a}" for k, a in self.addresses.items())]
        with open(os.path.join(self.directory, f"m{i}.log"), "ab") as log:
            self.processes[i] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                 env=self.environment)

    def status(self):
        """What the leader says of everybody, None if there is no leader that can be asked."""
        done = subprocess.run([os.path.join(BUILD, "bin/dfs"), "admin", "raft", "status", "--json"],
                              env=self.environment, capture_output=True, text=True, check=False)
        group = json.loads(done.stdout) if done.returncode == 0 and done.stdout else {}
        return group if group.get("leader") else None

    def leads_without(self, others=(), term=0):
        """Who leads and has committed, in a later term than `term`, not being one of `others`."""
        group = self.status()
        if group and group["leader"] not in others and group["term"] > term:
            return group["leader"], group["term"]
        return None

    def is_well(self):
        group = self.status()
        return group and len(group["members"]) == 3 and all(m["reachable"] and m["term"] == group["term"]
                                                            for m in group["members"])

    def end(self):
        network.end(self.processes.values())
        for machine in self.machines.values():
            machine.close()


# ---- Faults -----------------------------------------------------------------------------------------------------------
#
# Each begins, proves that it has landed, and returns what ends it.

def kill(group, i):
    process = group.processes[i]
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not group.machines[i].answers(PORT)
    return lambda: group.start(i)


def stop(group, i):
    process = group.processes[i]
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: network.state_of(process) == "T", "stopped")
    return lambda: process.send_signal(signal.SIGCONT)


def cut_off(group, i):
    """From its peers and from the clients."""
    machine = group.machines[i]
    machine.cut_off()
    assert not machine.answers(PORT)
    return machine.heal


def cut_from_peers(group, i):
    """Clients still reach it: it must not answer them from what it believes."""
    machine = group.machines[i]
    peers = [m for k, m in group.machines.items() if k != i]
    for peer in peers:
        machine.cut_from(peer)
        assert not peer.answers(PORT, seen_by=machine)
        assert not machine.answers(PORT, seen_by=peer)
    assert machine.answers(PORT)
    return lambda: [m.heal() for m in group.machines.values()]


def cut_from_one(group, i):
    """It and one peer do not hear each other; the third hears both."""
    machine = group.machines[i]
    peer = group.machines[i % 3 + 1]
    machine.cut_from(peer)
    assert not peer.answers(PORT, seen_by=machine)
    assert machine.answers(PORT)
    return lambda: [machine.heal(), peer.heal()]


# What is done to whom, and whether another member must lead before it ends.
FAULTS = [(kill, "leader"), (stop, "leader"), (cut_off, "leader"), (cut_from_peers, "leader"), (cut_from_one, "leader"),
          (kill, "follower"), (stop, "follower"), (cut_off, "follower"), (cut_from_peers, "follower")]
DEPOSES = (kill, stop, cut_off, cut_from_peers)


class Nemesis:
    """Faults in an order that the seed says, none twice before each has come once."""

    def __init__(self, group, choices):
        self.group = group
        self.choices = choices
        self.queue = []
        self.counts = {}
        self.depositions = 0
        self.windows = []  # of this history: the fault, and the monotonic microseconds in which it held
        self.longest = {}  # microseconds of the longest operation that met it

    def strike(self):
        if not self.queue:
            self.queue = self.choices.sample(FAULTS, len(FAULTS))
        fault, victim = self.queue.pop()
        leader, term = wait_until(self.group.leads_without, "a leader")
        i = leader if victim == "leader" else self.choices.choice([k for k in (1, 2, 3) if k != leader])
        began = time.monotonic_ns() // 1000
        heal = fault(self.group, i)
        if fault in DEPOSES and victim == "leader":
            wait_until(lambda: self.group.leads_without([i], term), f"another leader than {i}")
            self.depositions += 1
        time.sleep(self.choices.uniform(0.1, 0.6))
        name = f"{fault.__name__} {victim}"
        self.windows.append((name, began, time.monotonic_ns() // 1000))
        heal()
        wait_until(self.group.is_well, f"all well after {name} {i}")
        self.counts[name] = self.counts.get(name, 0) + 1


# ---- Histories --------------------------------------------------------------------------------------------------------

def record(group, nemesis, path, number, seed):
    """Eight clients under the nemesis's faults, written to path."""
    command = [os.path.join(BUILD, "tests/history"), path, str(seed * 1000 + number), f"/h{number}"]
    clients = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=group.environment)
    try:
        assert clients.stdout.readline() == b"running\n", "the clients did not start"
        for _ in range(FAULTS_PER_HISTORY):
            nemesis.strike()
        clients.stdin.close()
        assert clients.wait(PATIENCE_S) == 0, "a client was told what cannot be"
    finally:
        network.end([clients])


def spans(path):
    """Client, begin and end of each operation."""
    with open(path, encoding="utf-8") as f:
        return [tuple(map(int, line.split()[:3])) for line in f]


def judge(path, nemesis):
    """The checker's figures, and how many operations ran while a fault held; every fault must have met some."""
    done = subprocess.run([os.path.join(BUILD, "tests/lin"), path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = [int(n) for n in re.findall(r" (\d+) (?:operations|overlapping|unknown)", done.stdout)]
    operations, overlapping, unknown = figures
    assert operations >= OPERATION_COUNT_MIN, f"only {operations} operations"
    assert overlapping * 5 >= operations, f"only {overlapping} of {operations} operations overlap"
    met = 0
    all_spans = spans(path)
    for name, begin, end in nemesis.windows:
        struck = [(client, e - b) for client, b, e in all_spans if b < end and e > begin]
        assert struck, f"no operation met {name}"
        met += len(struck)
        longest = max([length for client, length in struck if client not in FAITHFUL], default=0)
        nemesis.longest[name] = max(longest, nemesis.longest.get(name, 0))
    return operations, overlapping, unknown, met


def run(directory, seed):
    choices = random.Random(seed)
    group = Group(directory)
    try:
        nemesis = Nemesis(group, choices)
        totals = [0, 0, 0, 0]
        for number in range(1, HISTORY_COUNT + 1):
            path = os.path.join(directory, f"history-{number}")
            nemesis.windows = []
            record(group, nemesis, path, number, seed)
            figures = judge(path, nemesis)
            totals = [a + b for a, b in zip(totals, figures)]
            print(f"--- history {number}: linearizable; %d operations, %d overlapping, %d unknown, %d met a fault"
                  % figures, flush=True)
    finally:
        group.end()
    print(f"--- {HISTORY_COUNT} histories, 0 illegal, 0 undecided; %d operations, %d overlapping, %d unknown, "
          "%d met a fault" % tuple(totals))
    print(f"--- faults that landed, {nemesis.depositions} times another leader had to come; the longest operation that met "
          "each, of clients who know all members")
    for name, count in sorted(nemesis.counts.items()):
        print(f"    {name:<24} {count:>3} {nemesis.longest[name] // 1000:>6} ms")
    assert len(nemesis.counts) == len(FAULTS), "some kind of fault never came"


def main():
    network.enter()
    seed = int(os.environ.get("TRIREME_SEED") or random.randrange(1000, 10000))
    print(f"--- seed: TRIREME_SEED={seed}", flush=True)
    directory = tempfile.mkdtemp(prefix="trireme-linearizable-")
    try:
        run(directory, seed)
    except BaseException:
        if os.environ.get("TRIREME_KEEP"):
            shutil.copytree(directory, os.environ["TRIREME_KEEP"], dirs_exist_ok=True)
        for i in (1, 2, 3):
            print(f"=== m{i}.log")
            print(subprocess.run(["tail", "-n", "15", f"{directory}/m{i}.log"], capture_output=True, text=True,
                                 check=False).stdout)
        raise
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
