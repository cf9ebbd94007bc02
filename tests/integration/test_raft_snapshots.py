#!/usr/bin/python3
"""File masters that are so far behind that they are sent the whole state: it is the leader's, whatever moment they are
killed at while they take it, and it carries the configuration on."""
import os
import random
import shutil
import sys
import time
import unittest

try:
    import grpc  # noqa: F401
    import google.protobuf  # noqa: F401
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from chunks import fs_pb2 as fs  # noqa: E402
from group import Group, wait_until  # noqa: E402
from master import Client  # noqa: E402

FULL = os.environ.get("TRIREME_FULL") == "1"
SMALL = ("--persist", "64K", "--log-segment", "64K", "--log-keep", "192K")
SEED = int(os.environ.get("TRIREME_SEED", random.randrange(10000)))
print(f"seed: TRIREME_SEED={SEED}", flush=True)


class Address:
    def __init__(self, address):
        self.address = address


class Snapshots(unittest.TestCase):
    def setUp(self):
        self.random = random.Random(SEED)
        self.g = Group(3, SMALL)
        self.addCleanup(self.g.close)
        self.names = set()
        self.g.start()
        self.g.wait_leader()

    def write(self, count=2000):
        """So many directories, in few requests: about 250 bytes of log each."""
        client = Client(Address(self.g.address[self.g.wait_leader()]))
        for _ in range(count // 100):
            names = [f"{len(self.names) + i:06}-{'x' * 200}" for i in range(100)]
            results = client.mutate(*(fs.Operation(mkdir=fs.Mkdir(path="/" + name)) for name in names))
            self.assertEqual({r.outcome.error_name for r in results}, {""})
            self.names.update(names)

    def other_than_leader(self):
        return next(i for i in self.g.address if i != self.g.wait_leader())

    def installed(self, i):
        return self.g.log(i).count("raft: snapshot installed")

    def check(self, i):
        """Member i leads and knows every name, and no other."""
        def leads():
            if self.g.leader() == i:
                return True
            self.g.dfs("admin", "raft", "transfer", str(i))  # may be refused: then again
            return False
        wait_until(leads, f"member {i} leads")
        done = self.g.dfs("ls", "-C", "/", members=[i])
        self.assertEqual(done.returncode, 0, done.stderr)
        listed = {line.lstrip("/") for line in done.stdout.split("\n") if "-xxx" in line}
        self.assertEqual(len(listed), len(self.names))
        self.assertEqual(listed, self.names)

    def states(self, i):
        return sorted(n for n in os.listdir(self.g.data(i)) if n.startswith("state"))

    def test_behind(self):
        away = self.other_than_leader()
        self.g.kill(away)
        self.write()
        self.g.start(away)
        self.g.wait_equal(3)
        self.assertEqual(self.installed(away), 1)
        self.assertEqual(len(self.states(away)), 1)
        self.assertTrue(self.states(away)[0].startswith("state-"))
        self.check(away)
        self.g.kill()
        self.g.start()
        self.g.wait_equal(3)
        self.check(away)

    def test_killed_while_it_takes_one(self):
        away = self.other_than_leader()
        rounds = 40 if FULL else 6
        hit = 0
        for _ in range(rounds):
            self.g.kill(away)
            before = self.installed(away)
            self.write(1000)
            contacts = self.g.log(away).count("raft: follower")
            self.g.start(away)
            wait_until(lambda n=contacts: self.g.log(away).count("raft: follower") > n, "it hears the leader")
            time.sleep(self.random.random() * 1.2)  # a leader asks again after a second: any moment of that
            hit += self.installed(away) == before
        print(f"{hit} of {rounds} kills came before the end of an installation", flush=True)
        self.g.kill(away)
        self.g.start(away)
        self.g.wait_equal(3)
        self.assertEqual(len(self.states(away)), 1)
        self.assertFalse(os.path.exists(os.path.join(self.g.data(away), "incoming")))
        self.check(away)

    def test_killed_at_each_step(self):
        """The system calls that change names or make things durable, from the start to the end of an installation."""
        if not shutil.which("strace"):
            self.skipTest("no strace")
        away = self.other_than_leader()
        old = "OLD"  # the state's directory at that moment
        points = [("mkdir", "incoming"), ("fsync", "incoming/CURRENT"), ("fsync", "incoming"), ("rename", "incoming"),
                  ("fsync", "."),     # the new state has its name, CURRENT does not say so
                  ("fsync", ".", 2),  # it does
                  ("unlink", old + "/IDENTITY"), ("rmdir", old)]
        if not FULL:
            points = [p for p in points if p[1] in ("incoming", ".")]
        for call, path, *number in points:
            if away in self.g.process:
                self.g.kill(away)
            before = self.installed(away)
            self.write(1000)
            self.g.start_until(away, call, path.replace(old, self.states(away)[0]), *number)
            wait_until(lambda b=before: self.g.process[away].poll() is not None or self.installed(away) > b,
                       "it is dead, or through")
            self.assertTrue(self.g.end_traced(away), (call, path, number))
            self.g.start(away)
            self.g.wait_equal(3)
            self.assertEqual(len(self.states(away)), 1, (call, path))
            self.assertFalse(os.path.exists(os.path.join(self.g.data(away), "incoming")), (call, path))
        self.check(away)

    def test_leader_dies_while_it_sends(self):
        away = self.other_than_leader()
        for _ in range(3):
            self.g.kill(away)
            self.write(1000)
            leader = self.g.wait_leader()
            self.g.start(away)
            wait_until(lambda: self.random.random() < 0.1, "any moment")
            self.g.kill(leader)
            self.g.start(leader)
            self.g.wait_equal(3)
        self.check(away)

    def test_configuration_goes_on(self):
        """A member that has nothing but a snapshot leads, and sends one of its own (RedisRaft #44)."""
        last = self.other_than_leader()
        self.g.kill(last)
        self.g.wipe(last)
        self.write()
        self.assertEqual(self.g.dfs("admin", "raft", "remove", str(last)).returncode, 0)
        self.write(1000)
        self.g.start(last)
        self.g.wait_log(last, "waits for a cluster" if last != 1 else "it is of a cluster already")
        done = self.g.dfs("admin", "raft", "add", self.g.address[last])
        self.assertEqual(done.returncode, 0, done.stderr)
        wait_until(lambda: self.g.dfs("admin", "raft", "promote", str(last)).returncode == 0, "it has caught up")
        self.assertEqual(self.installed(last), 1)
        self.check(last)
        other = self.other_than_leader()
        self.g.kill(other)
        self.write()
        self.g.start(other)
        self.g.wait_equal(3)
        self.assertGreater(self.installed(other), 0)
        self.g.kill()
        self.g.start()
        self.g.wait_equal(3)
        group = self.g.status()
        self.assertEqual([(m["id"], m["voter"]) for m in group["members"]], [(1, True), (2, True), (3, True)])
        for i in self.g.address:
            self.check(i)


if __name__ == "__main__":
    unittest.main(verbosity=2)
