#!/usr/bin/python3
"""How a cluster of file masters begins: once, whatever order its members start in and whatever moment they are killed
at; and how one master becomes three."""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from group import Group, wait_until  # noqa: E402

FULL = os.environ.get("TRIREME_FULL") == "1"


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def rewrite_identity(path, **fields):
    """Changes lines of an IDENTITY file and makes its checksum fit."""
    with open(path, encoding="ascii") as f:
        lines = [line for line in f.read().splitlines() if not line.startswith("crc=")]
    lines = [f"{k}={fields[k]}" if (k := line.partition("=")[0]) in fields else line for line in lines]
    text = "".join(line + "\n" for line in lines)
    with open(path, "w", encoding="ascii") as f:
        f.write(text + f"crc={crc32c(text.encode()):08x}\n")


def identity(group, i):
    with open(os.path.join(group.data(i), "IDENTITY"), encoding="ascii") as f:
        return dict(line.split("=", 1) for line in f.read().splitlines())


class Forming(unittest.TestCase):
    def setUp(self):
        self.g = Group(3)
        self.addCleanup(self.g.close)

    def check_serves(self, members=3):
        self.g.wait_leader()
        done = self.g.dfs("mkdir", "-p", "/x")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.g.wait_equal(members)

    def count_formed(self):
        return sum(self.g.log(i).count("raft: formed cluster=") for i in self.g.address)

    def test_all_at_once(self):
        self.g.start()
        self.check_serves()
        group = self.g.status()
        self.assertEqual([m["id"] for m in group["members"]], [1, 2, 3])
        self.assertTrue(all(m["voter"] for m in group["members"]))
        self.assertEqual(self.count_formed(), 1)
        self.assertEqual({identity(self.g, i)["cluster"] for i in (1, 2, 3)}, {group["cluster_id"]})
        self.assertEqual([identity(self.g, i)["member"] for i in (1, 2, 3)], ["1", "2", "3"])

    def test_lowest_last(self):
        self.g.start(3, 2)
        self.g.wait_log(2, "waits for a cluster")
        self.g.wait_log(3, "waits for a cluster")
        self.assertEqual(self.g.status(2)["members"], [])
        self.g.start(1)
        self.check_serves()

    def test_one_is_missing(self):
        self.g.start(1, 2)
        self.g.wait_log(1, f"no cluster is formed yet peer={self.g.address[3]}")
        wait_until(lambda: self.g.log(1).count("no cluster is formed yet") >= 2, "it goes on asking")
        self.assertEqual(self.count_formed(), 0)
        self.assertEqual(self.g.dfs("mkdir", "/x", timeout="200ms").returncode, 1)
        self.g.start(3)
        self.check_serves()

    def test_killed_before_the_entry(self):
        """IDENTITY names a cluster, nothing else was written: the next start forms that one."""
        self.g.start(1)
        wait_until(lambda: os.path.exists(os.path.join(self.g.data(1), "log")), "a data directory")
        self.g.wait_log(1, "no cluster is formed yet")
        self.g.kill(1)
        rewrite_identity(os.path.join(self.g.data(1), "IDENTITY"), cluster="ab" * 16, member="1")
        self.g.start()
        self.check_serves()
        self.assertEqual(self.g.status()["cluster_id"], "ab" * 16)

    def test_killed_after_the_entry(self):
        """Entry 1 is durable and perhaps nobody has heard of it: it stands."""
        self.g.start()
        self.g.wait_log(1, "raft: formed cluster=")
        self.g.kill()
        cluster, = re.findall(r"raft: formed cluster=(\w+)", self.g.log(1))
        self.assertIn(identity(self.g, 2)["cluster"], ("", cluster))
        self.g.start()
        self.check_serves()
        self.assertEqual(self.count_formed(), 1)
        self.assertEqual(self.g.status()["cluster_id"], cluster)

    def test_killed_again_and_again(self):
        """The first second of a cluster's life, cut at some places."""
        for round_number in range(20 if FULL else 8):
            self.g.start()
            try:
                for process in self.g.process.values():
                    process.wait(0.08 * round_number / (3 if round_number % 2 else 1))
            except subprocess.TimeoutExpired:
                pass
            self.g.kill()
            self.assertLessEqual(self.count_formed(), 1)  # 0 for ever if it was killed before it could say so
        self.g.start()
        self.check_serves()
        self.assertLessEqual(self.count_formed(), 1)
        self.assertEqual({identity(self.g, i)["cluster"] for i in (1, 2, 3)}, {self.g.status()["cluster_id"]})

    def test_second_formation_is_refused(self):
        self.g.start()
        self.check_serves()
        cluster = self.g.status()["cluster_id"]
        self.g.kill()
        self.g.wipe(1)
        self.g.start()
        self.g.wait_log(1, "it is of a cluster already")
        self.g.wait_leader()  # the other two are a majority
        self.assertEqual(self.g.dfs("ls", "-d", "/x").returncode, 0)
        self.assertEqual(self.g.status(1)["members"], [])
        self.assertEqual(self.g.status(2, 3)["cluster_id"], cluster)
        self.assertEqual(self.count_formed(), 1)

    def test_lowest_id_comes_back(self):
        """It asks the others to form a cluster with it when it is added to theirs."""
        self.g.start()
        self.check_serves()
        self.g.kill(1)
        self.g.wipe(1)
        self.g.start(1)
        self.g.wait_log(1, "it is of a cluster already")
        self.g.wait_leader()
        self.assertEqual(self.g.dfs("admin", "raft", "remove", "1").returncode, 0)
        self.assertEqual(self.g.dfs("admin", "raft", "add", self.g.address[1]).returncode, 0)
        wait_until(lambda: self.g.dfs("admin", "raft", "promote", "1").returncode == 0, "it has caught up")
        self.g.wait_equal(3)
        self.assertEqual(self.count_formed(), 1)

    def test_majority_lost(self):
        """Two empty directories and one that is not: no cluster is made up, and none leads."""
        self.g.start()
        self.check_serves()
        self.g.kill()
        self.g.wipe(1)
        self.g.wipe(2)
        self.g.start()
        self.g.wait_log(1, "it is of a cluster already")
        self.g.wait_log(3, "raft: pre-candidate term")  # in vain
        self.assertEqual(self.count_formed(), 1)
        self.assertEqual(self.g.leader(), 0)
        self.assertEqual(self.g.dfs("mkdir", "/y", timeout="300ms").returncode, 1)

    def test_copied_directory(self):
        self.g.start(2)
        self.g.wait_log(2, "waits for a cluster")
        self.g.kill(2)
        os.makedirs(self.g.data(3))
        with open(os.path.join(self.g.data(2), "IDENTITY"), "rb") as f:
            with open(os.path.join(self.g.data(3), "IDENTITY"), "wb") as to:
                to.write(f.read())
        self.g.start()
        self.g.wait_log(1, "a copied data directory")
        self.assertEqual(self.count_formed(), 0)

    def test_usage(self):
        def refused(*arguments):
            command = [self.g.command(1, peers=False)[0], "--data", self.g.data(1), "--listen", "127.0.0.1:0"]
            done = subprocess.run(command + list(arguments), capture_output=True, text=True, timeout=20)
            self.assertEqual(done.returncode, 1)
            return done.stderr
        self.assertIn("--peers needs --id", refused("--peers", "1=a:1,2=b:2"))
        self.assertIn("does not name --id 7", refused("--id", "7", "--peers", "1=a:1,2=b:2"))
        self.assertIn("twice", refused("--id", "1", "--peers", "1=a:1,1=b:2"))
        for wrong in ("a:1", "1=a", "0=a:1", "x=a:1", "1=:1", "=a:1"):
            self.assertIn("is not ID=HOST:PORT", refused("--id", "1", "--peers", wrong))


class Growing(unittest.TestCase):
    def test_one_becomes_three_and_one_again(self):
        g = Group(3)
        self.addCleanup(g.close)
        g.start(1, peers=False)
        g.wait_leader()
        self.assertEqual(g.dfs("mkdir", "/before").returncode, 0)
        g.start(2, 3)
        for i in (2, 3):
            g.wait_log(i, "waits for a cluster")
            done = g.dfs("admin", "raft", "add", g.address[i])
            self.assertEqual(done.stdout, f"member {i} added as a learner\n", done.stderr)
            self.assertEqual(g.dfs("admin", "raft", "add", g.address[i]).returncode, 1)  # it is one already
            wait_until(lambda i=i: g.dfs("admin", "raft", "promote", str(i)).returncode == 0, "it has caught up")
        g.wait_equal(3)
        g.kill(1)
        g.wait_leader()
        self.assertEqual(g.dfs("ls", "-d", "/before").returncode, 0)
        self.assertEqual(g.dfs("mkdir", "/after").returncode, 0)
        g.start(1)
        g.wait_equal(3)
        self.assertEqual(g.dfs("admin", "raft", "transfer", "1").returncode, 0)
        wait_until(lambda: g.leader() == 1, "leadership goes where it is sent")
        self.assertEqual(g.dfs("admin", "raft", "remove", "1").returncode, 0)  # the leader itself
        wait_until(lambda: g.leader() in (2, 3), "another one leads")
        self.assertEqual(g.dfs("admin", "raft", "remove", "9").returncode, 1)
        last = g.leader()
        gone = 5 - last
        self.assertEqual(g.dfs("admin", "raft", "remove", str(gone)).returncode, 0)
        self.assertEqual(g.dfs("mkdir", "/alone").returncode, 0)
        self.assertEqual([m["id"] for m in g.status()["members"]], [last])
        other = subprocess.run([g.command(1)[0].replace("fsmaster", "dfs"), "admin", "raft", "remove", str(last),
                                "--master", g.address[last], "--user", "ada"], capture_output=True, text=True)
        self.assertIn("may change the members", other.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
