#!/usr/bin/python3
"""The power goes while one file master works, starts or recovers: what it had not synced is lost (tests/preload/
power_cut.c), and it starts again on what was durable. Nothing acknowledged may be lost, nothing may run twice, the index
never falls behind one that was seen, and totals agree with names. That a disk which lies about syncing is found out
proves that the test can fail. TRIREME_SEED repeats a run's choices."""
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time

try:
    import grpc  # noqa: F401
    import google.protobuf  # noqa: F401
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from chunks import BUILD, fs_pb2 as fs  # noqa: E402
from master import Client, Failed, Master  # noqa: E402

CUT_COUNT = 300 if os.environ.get("TRIREME_FULL") == "1" else 30
WRITER_COUNT = 4
CUT_STATUS = 99
ARGUMENTS = ("--persist", "16K", "--log-segment", "64K", "--no-audit")  # all that a disk sees happens often
SEED = int(os.environ.get("TRIREME_SEED") or random.randrange(1000, 10000))
choices = random.Random(SEED)


class FragileMaster(Master):
    """A master whose disk is one directory, of which the power cut leaves what was synced."""

    def __init__(self, directory):
        self.disk = os.path.join(directory, "disk")
        self.shadow = os.path.join(directory, "shadow")
        os.mkdir(self.disk)
        self.cuts, self.cuts_in_start = 0, 0
        super().__init__(self.disk, *ARGUMENTS)

    def arm(self, after, seed=0, lies=0):
        """The next start ends at that call."""
        shutil.rmtree(self.shadow, ignore_errors=True)
        os.mkdir(self.shadow)
        self.environment = {**os.environ, "LD_PRELOAD": os.path.join(BUILD, "tests/power_cut.so"),
                            "POWER_CUT_DIR": self.disk, "POWER_CUT_SHADOW": self.shadow, "POWER_CUT_AFTER": str(after),
                            "POWER_CUT_SEED": str(seed), "POWER_CUT_LIES": str(lies)}

    def start_and_lose(self, after, seed):
        """True: it serves, and the cut is to come. False: it came before."""
        self.arm(after, seed)
        try:
            self.start()
            return True
        except RuntimeError:
            assert self.process.wait() == CUT_STATUS, self.log()[-2000:]
            self.cuts_in_start += 1
            self.cuts += 1
            return False

    def wait_cut(self, meanwhile=lambda: time.sleep(0.02)):
        while self.process.poll() is None:
            meanwhile()
        assert self.process.returncode == CUT_STATUS, self.log()[-2000:]
        self.cuts += 1

    def losses(self):
        """Totals of what the cuts took: writes, names, and changes that survived unsynced."""
        lines = re.findall(r"power_cut: call=\d+ writes_lost=(\d+) names_lost=(\d+) survived=(\d+)", self.log())
        assert len(lines) == self.cuts, f"{len(lines)} of {self.cuts} cuts have told what they did"
        return [sum(map(int, column)) for column in zip(*lines)]


class Writer(threading.Thread):
    """Makes, renames and removes files in a directory of its own, each step once, through all cuts."""

    def __init__(self, master, number):
        super().__init__(daemon=True)
        self.client = Client(master)
        self.directory = f"/w{number}"
        self.stopping = threading.Event()
        self.acknowledged = []
        self.problem = None

    def step(self, i):
        name = f"{self.directory}/f{i:06}"
        self.client.close(self.client.create(name))  # a second run of either would be an error
        if i % 3 == 0:
            self.client.one(rename=fs.Rename(source=name, target=name + ".r"))
            name += ".r"
        if i % 4 == 0:
            self.client.one(delete=fs.Delete(path=name))
        else:
            self.acknowledged.append(name.rpartition("/")[2])

    def run(self):
        try:
            self.client.mkdir(self.directory)
            i = 0
            while not self.stopping.is_set():
                self.step(i)
                i += 1
        except Exception as problem:  # pylint: disable=broad-except
            self.problem = f"{self.directory}: {problem!r}"


def check(client, writers):
    total = 0
    for w in writers:
        names = client.names(w.directory)
        assert names == sorted(w.acknowledged), (f"{w.directory}: lost {sorted(set(w.acknowledged) - set(names))}, "
                                                 f"there without a word {sorted(set(names) - set(w.acknowledged))}")
        assert client.stat(w.directory).child_count == len(names)
        total += len(names)
    assert client.stat("/").subtree_files == total


def cut_again_and_again(master):
    client = Client(master)
    highest = 0

    def look():
        """The applied index rises: what was applied once had been synced on the log."""
        nonlocal highest
        try:
            index = client.call("Report", fs.ReportRequest(), timeout=2).applied_index
        except grpc.RpcError:
            client.connect()
            return
        assert index >= highest, f"applied index {index}, was {highest} before a cut"
        highest = index

    master.stop()
    serves = master.start_and_lose(choices.randint(100, 500), 0)
    writers = [Writer(master, n) for n in range(WRITER_COUNT)]
    for w in writers:
        w.start()
    while master.cuts < CUT_COUNT and not any(w.problem for w in writers):
        if serves:
            master.wait_cut(look)
        soon = choices.random() < 0.3
        serves = master.start_and_lose(choices.randint(1, 60) if soon else choices.randint(60, 1200),
                                       choices.choice([0, choices.randrange(1, 1 << 30)]))
    if serves:
        master.wait_cut(look)
    master.environment = None
    master.start()
    for w in writers:
        w.stopping.set()
    for w in writers:
        w.join()
    assert not any(w.problem for w in writers), [w.problem for w in writers]
    look()
    check(client, writers)
    writes, names, survived = master.losses()
    print(f"--- {master.cuts} power cuts, {master.cuts_in_start} of them during a start; {writes} writes and {names} names "
          f"not synced were lost, {survived} survived; {sum(len(w.acknowledged) for w in writers)} files acknowledged, "
          f"all there, and no other; applied index {highest}")
    assert writes > 0 and names > 0 and survived > 0 and master.cuts_in_start > 0, "a kind of loss never came"
    assert master.stop() == 0


def lie_once(master):
    """Everything is lost that the disk said it had."""
    client = Client(master)
    client.mkdir("/w0")
    assert master.stop() == 0
    master.arm(400, lies=1)
    master.start()
    writer = Writer(master, 1)
    writer.start()
    master.wait_cut()
    acknowledged = list(writer.acknowledged)
    writer.stopping.set()
    assert acknowledged, "nothing was acknowledged before the cut"
    master.environment = None
    try:
        master.start()
    except RuntimeError:
        print("--- a disk that lies about syncing: the next start refuses it")
        return
    try:
        kept = client.settle("List", fs.ListRequest(path="/w1")).entries
    except Failed:
        kept = []
    writer.join()
    assert len(kept) < len(acknowledged), "a disk that lies loses nothing: the test proves nothing"
    print(f"--- a disk that lies about syncing: {len(acknowledged)} files acknowledged, {len(kept)} there")


def main():
    print(f"--- seed: TRIREME_SEED={SEED}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for part in (cut_again_and_again, lie_once):
        directory = tempfile.mkdtemp(prefix="trireme-power-")
        master = FragileMaster(directory)
        try:
            part(master)
        finally:
            master.kill()
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
