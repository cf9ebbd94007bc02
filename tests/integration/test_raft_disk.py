#!/usr/bin/python3
"""File masters with bad disks: one that hangs stops leading and nothing else; one whose flush fails ends, and
acknowledges nothing that it could not write."""
import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from group import Group, wait_until  # noqa: E402

if not shutil.which("strace"):
    print("skipped: no strace")
    sys.exit(77)


class BadDisk(unittest.TestCase):
    def setUp(self):
        self.g = Group(3)
        self.addCleanup(self.g.close)
        self.g.start()
        self.leader = self.g.wait_leader()
        self.g.wait_equal(3)

    def inject(self, i, fault):
        """From now on each flush of member i meets that fault; returns the strace that does it."""
        marker = os.path.join(self.g.directory, "strace.log")
        with open(marker, "w", encoding="utf-8") as log:
            strace = subprocess.Popen(["strace", "-f", "-o", "/dev/null", "-p", str(self.g.process[i].pid),
                                       "-e", "trace=fdatasync", "-e", f"inject=fdatasync:{fault}"], stderr=log)

        def attached():
            with open(marker, encoding="utf-8") as log:
                return "attached" in log.read()
        self.addCleanup(strace.wait)
        self.addCleanup(strace.kill)
        wait_until(attached, "strace is there")
        return strace

    def test_hang(self):
        strace = self.inject(self.leader, "delay_enter=60000000")
        done = self.g.dfs("mkdir", "/hung")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(self.g.wait_leader(), (0, self.leader))
        self.g.wait_log(self.leader, "the log's disk hangs")
        self.assertIsNone(self.g.process[self.leader].poll())

        def answers():
            group = self.g.status()
            return group and next(m["reachable"] for m in group["members"] if m["id"] == self.leader)
        wait_until(answers, "the one with the hung disk lives and answers")
        strace.terminate()
        strace.wait()
        self.g.wait_equal(3)
        self.g.wait_log(self.leader, "the log's disk is back")

    def test_failed_flush(self):
        self.inject(self.leader, "error=EIO")
        done = self.g.dfs("mkdir", "/failed")
        self.assertEqual(done.returncode, 0, done.stderr)  # by another leader
        self.assertEqual(self.g.process[self.leader].wait(30), 3)  # its unit does not start it on that disk again
        self.g.wait_log(self.leader, "stopped: write the log")
        self.g.start(self.leader)
        self.g.wait_equal(3)
        self.assertEqual(self.g.dfs("ls", "-d", "/failed").returncode, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
