#!/usr/bin/python3
"""Reads that allow some age: any file master answers them, also one that has lost its leader, and none with a state that is
older than the read allows."""
import os
import signal
import sys
import threading
import time
import unittest

try:
    import grpc
    import google.protobuf  # noqa: F401
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from chunks import fs_pb2 as fs  # noqa: E402
from group import Group, wait_until  # noqa: E402
from master import Client, error_of  # noqa: E402

FULL = os.environ.get("TRIREME_FULL") == "1"
HOUR = 3600 * 1000
SESSION = 4711


class Address:
    def __init__(self, address):
        self.address = address


def stat_request(path, bound_ms, seen=0):
    return fs.StatRequest(path=path, staleness=fs.Staleness(bound_ms=bound_ms, seen_index=seen))


def position_of(error):
    """The state that an error speaks of."""
    return next((int(value) for key, value in error.trailing_metadata() if key == "trireme-position"), 0)


def outcome(call):
    """The attributes, or the error's name."""
    try:
        return call()
    except grpc.RpcError as e:
        return error_of(e)


class StaleReads(unittest.TestCase):
    ARGUMENTS = ()

    def setUp(self):
        self.g = Group(3, self.ARGUMENTS)
        self.addCleanup(self.g.close)
        self.g.start()
        self.g.wait_leader()
        self.g.wait_equal(3)
        self.clients = {i: Client(Address(a)) for i, a in self.g.address.items()}

    def pause(self, *members):
        for i in members:
            self.g.process[i].send_signal(signal.SIGSTOP)

    def is_stopped(self, i):
        with open(f"/proc/{self.g.process[i].pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "T"

    def go_on(self, *members):
        for i in members:
            self.g.process[i].send_signal(signal.SIGCONT)

    def stat(self, i, path, bound_ms, seen=0):
        """What member i itself says."""
        return outcome(lambda: self.clients[i].call("Stat", stat_request(path, bound_ms, seen)))

    def until_answered(self, i, path, bound_ms):
        return wait_until(lambda: isinstance(self.stat(i, path, bound_ms), fs.StatReply), f"member {i} answers")

    def mkdir(self, path, members=None):
        """Acknowledged when it returns, by whoever leads."""
        done = self.g.dfs("mkdir", path, members=members, timeout="60s")
        self.assertEqual(done.returncode, 0, done.stderr)

    def mutate(self, request):
        """The reply to one request, from whichever member leads."""
        def reply():
            for client in self.clients.values():
                answer = outcome(lambda c=client: c.call("Mutate", request))
                if isinstance(answer, fs.MutateReply):
                    self.assertEqual(answer.results[0].outcome.error_name, "")
                    return answer
            return None
        return wait_until(reply, "a leader answers")

    def follower(self):
        leader = self.g.wait_leader()
        return next(i for i in self.g.address if i != leader)

    def test_any_member_answers(self):
        self.mkdir("/a")
        for i in self.g.address:
            self.until_answered(i, "/a", 10)
        for arguments in (["ls", "-C", "/"], ["stat", "/a"], ["test", "-d", "/a"]):
            done = self.g.dfs(*arguments, "--stale", "1s")
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.g.dfs("ls", "-C", "/nowhere", "--stale", "1s").returncode, 1)
        follower = self.follower()
        self.assertEqual(self.stat(follower, "/a", 0), "ERR_NOT_LEADER")
        listed = self.clients[follower].call("List", fs.ListRequest(path="/", staleness=fs.Staleness(bound_ms=HOUR)))
        self.assertIn("a", [e.name for e in listed.entries])
        self.assertGreater(listed.applied_index, 0)

    def test_without_a_majority(self):
        """One member is left. What it knows grows old, and it goes on answering who allows that, nobody else."""
        self.mkdir("/a")
        left = self.follower()
        others = [i for i in self.g.address if i != left]
        self.until_answered(left, "/a", 1)
        self.pause(*others)
        try:
            for arguments in (["stat", "/a"], ["ls", "/"]):
                done = self.g.dfs(*arguments, "--stale", "1h", members=[left])
                self.assertEqual(done.returncode, 0, done.stderr)
            # All members are named, so it may ask a stopped one first.
            done = self.g.dfs("stat", "/a", "--stale", "1h")
            self.assertEqual(done.returncode, 0, done.stderr)
            wait_until(lambda: self.stat(left, "/a", 200) == "ERR_NOT_LEADER", "it is too old for this")
            for _ in range(3):
                self.assertEqual(self.stat(left, "/a", 200), "ERR_NOT_LEADER")
            self.assertNotEqual(self.g.dfs("stat", "/a", "--stale", "200ms", timeout="1s").returncode, 0)
            self.assertNotEqual(self.g.dfs("stat", "/a", timeout="1s").returncode, 0)
            self.assertIsInstance(self.stat(left, "/a", HOUR), fs.StatReply)
        finally:
            self.go_on(*others)
        self.until_answered(left, "/a", 200)

    def test_leader_stopped(self):
        """The others choose a new leader; until then and after, reads with a bound have their answer."""
        self.mkdir("/a")
        leader = self.g.wait_leader()
        for i in self.g.address:
            self.until_answered(i, "/a", 1)
        self.pause(leader)
        try:
            done = self.g.dfs("stat", "/a", "--stale", "1m")
            self.assertEqual(done.returncode, 0, done.stderr)
            others = [i for i in self.g.address if i != leader]
            self.mkdir("/b", members=others)
            done = self.g.dfs("stat", "/b", "--stale", "1ms", timeout="60s")
            self.assertEqual(done.returncode, 0, done.stderr)
        finally:
            self.go_on(leader)
        # It wakes as a leader of the past. Its state may be old; what it says may not.
        answer = self.stat(leader, "/b", 1)
        self.assertTrue(answer == "ERR_NOT_LEADER" or isinstance(answer, fs.StatReply), answer)
        self.until_answered(leader, "/b", 1)

    def stopped_once(self, follower, n):
        """It sleeps while something is written, and wakes with a question in its socket."""
        others = [i for i in self.g.address if i != follower]
        bound_ms = 50
        client = self.clients[follower]
        self.until_answered(follower, "/", 1)  # it has a young mark, which will be old
        self.pause(follower)
        try:
            self.mkdir(f"/n{n}", members=others)
            time.sleep(bound_ms / 1000)
            early = client.stubs["Stat"].future(stat_request(f"/n{n}", bound_ms), timeout=20,
                                                metadata=(("trireme-user", "root"),))
        finally:
            self.go_on(follower)
        return [self.stat(follower, f"/n{n}", bound_ms), outcome(early.result)]

    def test_stopped_follower(self):
        follower = self.follower()
        answered = 0
        for n in range(100 if FULL else 12):
            for answer in self.stopped_once(follower, n):
                self.assertTrue(answer == "ERR_NOT_LEADER" or isinstance(answer, fs.StatReply), answer)
                answered += isinstance(answer, fs.StatReply)
        print(f"{answered} reads of a woken follower answered, the others refused", flush=True)
        self.assertGreater(answered, 0)

    def test_never_back(self):
        """Whoever has seen a change finds it at every member, whatever age it allows."""
        answered = 0
        for n in range(50):
            seen = self.mutate(fs.MutateRequest(session=SESSION, acked_below=n + 1, operations=[
                fs.Operation(seq=n + 1, mkdir=fs.Mkdir(path=f"/n{n}"))])).applied_index
            self.assertGreater(seen, 0)
            for i in self.g.address:
                answer = self.stat(i, f"/n{n}", HOUR, seen)
                self.assertTrue(answer == "ERR_NOT_LEADER" or isinstance(answer, fs.StatReply), answer)
                if answer != "ERR_NOT_LEADER":
                    self.assertGreaterEqual(answer.applied_index, seen)
                    answered += 1
        self.assertGreater(answered, 0)
        with self.assertRaises(grpc.RpcError) as failed:  # that nothing is there has been seen, too
            self.clients[self.g.wait_leader()].call("Stat", stat_request("/nothing", HOUR))
        self.assertEqual(error_of(failed.exception), "ERR_NOT_FOUND")
        self.assertGreaterEqual(position_of(failed.exception), seen)

    def test_leader_alone(self):
        """It leads for a while yet, and cannot know that by itself."""
        self.mkdir("/a")
        leader = self.g.wait_leader()
        others = [i for i in self.g.address if i != leader]
        self.until_answered(leader, "/a", 1)
        self.pause(*others)
        try:
            for i in others:
                wait_until(lambda n=i: self.is_stopped(n), "it stands still")
            time.sleep(0.1)  # what they said before has come, or never does
            self.assertEqual(self.stat(leader, "/a", 1), "ERR_NOT_LEADER")
            self.assertIsInstance(self.stat(leader, "/a", HOUR), fs.StatReply)
        finally:
            self.go_on(*others)
        self.until_answered(leader, "/a", 1)


class WhileInstalling(StaleReads):
    """A member that takes a whole snapshot while it is read from."""
    ARGUMENTS = ("--persist", "64K", "--log-segment", "64K", "--log-keep", "192K")

    def write(self, count):
        client = Client(Address(self.g.address[self.g.wait_leader()]))
        for at in range(0, count, 100):
            client.mutate(*(fs.Operation(mkdir=fs.Mkdir(path=f"/{at + i:06}-{'x' * 200}")) for i in range(100)))
        return f"/{count - 1:06}-{'x' * 200}"

    def read_on(self, follower, path, bound_ms, over, answers):
        client = Client(Address(self.g.address[follower]))
        while not over.is_set():
            try:
                answers.append(client.call("Stat", stat_request(path, bound_ms), timeout=20).attributes.inode > 0)
            except grpc.RpcError as e:
                if error_of(e) != "ERR_NOT_LEADER":
                    answers.append(error_of(e))
        client.channel.close()

    def test_read_on(self):
        """Reads of what was there before are due at any moment, for the member was up to date an hour ago; those of what was
        written meanwhile must wait for the snapshot."""
        follower = self.follower()
        self.mkdir("/old")
        self.until_answered(follower, "/old", 1)
        self.pause(follower)
        try:
            last = self.write(8000)  # more than what is in the sockets already when it wakes
        finally:
            self.go_on(follower)
        over, old, new = threading.Event(), [], []
        reads = [("/old", HOUR, old)] * 4 + [(last, 1, new)] * 2
        readers = [threading.Thread(target=self.read_on, args=(follower, path, bound, over, answers))
                   for path, bound, answers in reads]
        for reader in readers:
            reader.start()
        try:
            self.g.wait_log(follower, "raft: snapshot installed")
            wait_until(lambda: len(new) >= 10 and len(old) >= 10, "it answers")
        finally:
            over.set()
            for reader in readers:
                reader.join()
        self.assertEqual((set(old), set(new)), ({True}, {True}))
        self.assertIsNone(self.g.process[follower].poll())


# The tests of StaleReads are not run twice.
for name in [n for n in vars(StaleReads) if n.startswith("test_")]:
    setattr(WhileInstalling, name, None)

if __name__ == "__main__":
    unittest.main(verbosity=2)
