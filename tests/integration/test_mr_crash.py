#!/usr/bin/python3
"""mrmaster is killed at each of its calls of the store that a job takes, once before the call has left and once when the
store has it: of jobs that succeed, fail and are killed. Whatever was told before stands after the next start, to the
last counter; the output is there, whole, or not at all, and nothing is left hidden; and what users do with it is theirs.
Jobs' small calls go through a relay, which counts them, and holds back or passes on the one that is to be the last."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from group import BUILD, SOURCE, free_addresses, wait_until  # noqa: E402

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, END_STREAM = 0, 1
PATIENCE_S = 120
DEVCLUSTER = os.path.join(SOURCE, "deploy/devcluster")


class Relay:
    """Between mrmaster and the file master. A call counts when its last frame comes by."""

    def __init__(self, target):
        self.target = target
        self.lock = threading.Lock()
        self.calls = 0
        self.fatal = None  # (number of the call, whether it goes on, whom to kill)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def arm(self, call, passes, pid):
        with self.lock:
            self.calls = 0
            self.fatal = (call, passes, pid) if call else None

    def accept(self):
        while True:
            client = self.listener.accept()[0]
            server = socket.create_connection(self.target)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.connection, args=(client, server), daemon=True).start()

    def connection(self, client, server):
        replies = threading.Thread(target=self.replies, args=(server, client), daemon=True)
        replies.start()
        with client, server:
            try:
                self.requests(client, server)
                server.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            replies.join()

    @staticmethod
    def replies(source, target):
        try:
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def requests(self, source, target):
        bytes_left = b""
        preface = len(PREFACE)
        while piece := source.recv(65536):
            skipped = min(preface, len(piece))
            preface -= skipped
            bytes_left, ended = self.frames(bytes_left + piece[skipped:])
            if self.take(ended, target, piece):
                target.sendall(piece)

    @staticmethod
    def frames(data):
        """What follows the last whole frame, and how many calls have ended."""
        ended = 0
        while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
            ended += data[3] == DATA and data[4] & END_STREAM
            data = data[9 + int.from_bytes(data[:3], "big"):]
        return data, ended

    def take(self, ended, target, piece):
        """Kills when it is time. False: the piece is held back."""
        with self.lock:
            before, self.calls = self.calls, self.calls + ended
            if not self.fatal or not before < self.fatal[0] <= self.calls:
                return True
            _, passes, pid = self.fatal
            self.fatal = None
            if passes:
                target.sendall(piece)
            os.kill(pid, signal.SIGKILL)
            return False


class Crash(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="trireme-crash-")
        out = subprocess.run([DEVCLUSTER, "up", "--dir", f"{cls.directory}/c", "--build", BUILD, "--masters", "1",
                              "--chunkservers", "2", "--workers", "0"], check=True, stdout=subprocess.PIPE, text=True).stdout
        store = re.search(r"DFS_MASTER=(\S+)", out).group(1).strip("'\";")
        host, port = store.split(":")
        cls.relay = Relay((host, int(port)))
        cls.address = free_addresses(1)[0]
        cls.environment = {**os.environ, "PATH": f"{BUILD}/bin:{os.environ['PATH']}", "TRIREME_CONFIG": os.devnull,
                           "DFS_MASTER": store, "MR_MASTER": cls.address}
        cls.starts = 0
        cls.start()
        cls.worker = cls.daemon("mrworker", "--masters", store, "--mrmaster", cls.address, "--slots", "2",
                                "--listen", "127.0.0.1:0")
        wait_until(lambda: cls.json("mr", "workers", "--json"), "a worker")
        wait_until(lambda: cls.run_command("dfs", "ls", "/system/mr/workers").stdout, "the next mrmaster waits for it")
        with open(f"{cls.directory}/text", "w", encoding="ascii") as f:
            f.write("to be or not to be\n" * 1000)
        cls.run_command("dfs", "put", f"{cls.directory}/text", "/text")

    @classmethod
    def tearDownClass(cls):
        for process in (cls.master, cls.worker):
            process.kill()
            process.wait()
        subprocess.run([DEVCLUSTER, "down", "--dir", f"{cls.directory}/c", "--remove"], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(cls.directory)

    # ---- Processes ----

    @classmethod
    def daemon(cls, name, *arguments):
        with open(f"{cls.directory}/{name}.log", "ab") as log:
            return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", name, "--data", f"{cls.directory}/{name}",
                                     *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=cls.environment)

    @classmethod
    def log(cls):
        with open(f"{cls.directory}/mrmaster.log", encoding="utf-8", errors="replace") as f:
            return f.read()

    @classmethod
    def start(cls):
        """Returns when mrmaster serves."""
        cls.relay.arm(0, False, 0)
        cls.starts += 1
        cls.master = cls.daemon("mrmaster", "--masters", cls.relay.address, "--listen", cls.address)
        wait_until(lambda: cls.log().count(" serving address") == cls.starts, "mrmaster serves")

    @classmethod
    def run_command(cls, *words, check=True):
        return subprocess.run(words, env=cls.environment, check=check, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=PATIENCE_S)

    @classmethod
    def json(cls, *words):
        return json.loads(cls.run_command(*words).stdout)

    def begin(self, *words):
        return subprocess.Popen(words, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def exists(self, path):
        return self.run_command("dfs", "test", "-e", path, check=False).returncode == 0

    # ---- One job, one death ----

    def through(self, call, passes, command):
        """Runs the command while mrmaster is to die at that call. What it said, its exit status, whether it had ended
        when mrmaster was dead, and whether that happened; afterwards another one serves."""
        running = self.begin(*command)
        self.relay.arm(call, passes, self.master.pid)
        died = ended = False
        while not died and not ended:
            died = self.master.poll() is not None
            try:
                ended = running.wait(0.02) is not None
            except subprocess.TimeoutExpired:
                pass
        if not died:  # settling the job may still be under way; whatever comes later is not to be fatal
            died = self.has_died_within(0.5)
            self.relay.arm(0, False, 0)
            died = died or self.has_died_within(0.5)
        else:  # it may have been told just before
            try:
                ended = running.wait(0.1) is not None
            except subprocess.TimeoutExpired:
                pass
        return running, died, ended

    def has_died_within(self, seconds):
        try:
            return self.master.wait(seconds) is not None
        except subprocess.TimeoutExpired:
            return False

    def remembers(self, told):
        """mrmaster, started anew, says of a job what its user was told, in each word and number."""
        self.master.kill()
        self.master.wait()
        self.start()
        self.assertEqual(self.json("mr", "status", "--json", told["job"]), told)

    def sweep(self, name, job):
        """job(output, call, passes): True if mrmaster died in it."""
        died = 0
        for passes in (False, True):
            call = more = 1
            while more:
                more = 0
                with self.subTest(call=call, passes=passes):
                    more = job(f"/{name}-{call}-{passes}", call, passes)
                if self.master.poll() is not None:  # the job's check failed half-way
                    self.start()
                died += more
                call += 1
        print(f"{name}: {died} deaths", file=sys.stderr)
        self.assertGreater(died, 5)
        for entry in self.json("mr", "list", "--all", "--json"):
            self.assertIn(entry["state"], ("succeeded", "failed", "killed"))

    def finish(self, running, died):
        if died:
            self.master.wait()
            self.start()
        out, err = running.communicate(timeout=PATIENCE_S)
        return running.returncode, out, err

    # ---- Tests ----

    def succeeds(self, output, call, passes):
        running, died, ended = self.through(call, passes, [
            "mr", "run", "--json", "--lib", f"{BUILD}/wordcount.so", "-i", "/text", "-o", output, "-r", "2"])
        moved = ended and died
        self.moved += moved
        if moved:  # the user has the output, and takes it
            self.run_command("dfs", "mv", output, f"{output}-moved")
        status, out, err = self.finish(running, died)
        self.assertEqual(status, 0, err)
        told = json.loads(out)
        self.assertEqual(told["state"], "succeeded")
        self.assertEqual(told["counters"]["Map-Reduce Framework"]["Reduce output records"], 4)
        self.remembers(told)
        where = f"{output}-moved" if moved else output
        words = self.run_command("dfs", "cat", f"{where}/part-*").stdout
        self.assertEqual(sorted(words.split("\n")), ["", "be\t2000", "not\t1000", "or\t1000", "to\t2000"])
        self.assertTrue(self.exists(f"{where}/_SUCCESS"))
        self.assertEqual(self.exists(output), not moved)  # it does not come back
        self.assertFalse(self.exists(f"/._mr_{output[1:]}"))
        return died

    def test_succeeds(self):
        self.moved = 0
        self.sweep("succeeds", self.succeeds)
        print(f"{self.moved} outputs were moved before the next mrmaster", file=sys.stderr)

    def fails(self, output, call, passes):
        running, died, _ = self.through(call, passes, [
            "mr", "run", "--json", "--mapper", "false", "--attempts", "1", "-i", "/text", "-o", output])
        status, out, err = self.finish(running, died)
        self.assertEqual(status, 1, err)
        told = json.loads(out)
        self.assertEqual(told["state"], "failed")
        self.assertIn("exited with status 1", told["failure"])
        self.remembers(told)
        self.assertFalse(self.exists(output))
        self.assertFalse(self.exists(f"/._mr_{output[1:]}"))
        return died

    def test_fails(self):
        self.sweep("fails", self.fails)

    def killed(self, output, call, passes):
        job = self.sleeper(output)
        running, died, _ = self.through(call, passes, ["mr", "kill", job])
        status, out, err = self.finish(running, died)
        self.assertEqual(status, 0, err)
        self.assertEqual(out, f"{job} killed\n")
        told = self.json("mr", "status", "--json", job)
        self.assertEqual(told["state"], "killed")
        self.remembers(told)
        self.assertFalse(self.exists(output))
        self.assertFalse(self.exists(f"/._mr_{output[1:]}"))
        return died

    def test_killed(self):
        self.sweep("killed", self.killed)

    # ---- What an earlier mrmaster may have left ----

    def restart(self):
        self.master.kill()
        self.master.wait()
        self.start()

    def sleeper(self, output, user=""):
        """A job whose map runs, and will."""
        as_user = ("--user", user) if user else ()
        job = self.run_command("mr", "run", *as_user, "--mapper", "sleep 1000", "-i", "/text", "-o", output,
                               "--detach").stdout.strip()
        wait_until(lambda: self.json("mr", "status", "--json", job)["maps"]["running"] > 0, "a map runs", PATIENCE_S)
        return job

    def test_killed_where_nothing_can_be_removed(self):
        """Its user has taken himself the right to."""
        self.run_command("dfs", "mkdir", "/ada")
        self.run_command("dfs", "chown", "ada", "/ada")
        job = self.sleeper("/ada/out", "ada")
        self.run_command("dfs", "chmod", "555", "/ada")
        self.assertEqual(self.run_command("mr", "kill", job).stdout, f"{job} killed\n")
        told = self.json("mr", "status", "--json", job)
        self.assertTrue(self.exists("/ada/._mr_out"))
        self.remembers(told)
        self.remembers(told)

    def test_noted_as_failed_before_its_rename_arrived(self):
        told = self.json("mr", "run", "--json", "--lib", f"{BUILD}/wordcount.so", "-i", "/text", "-o", "/late")
        self.assertEqual(told["state"], "succeeded")
        directory = f"/system/mr/jobs/{told['job']}"
        wait_until(lambda: "mr.settled" in self.run_command("dfs", "getfattr", "-d", directory).stdout, "it is settled")
        noted = self.run_command("dfs", "getfattr", "-e", "hex", "-n", "user.mr.outcome", directory).stdout
        value = re.search("0x([0-9a-f]+)", noted).group(1)
        state = told["job"].encode().hex() + "10"
        self.assertIn(state + "04", value)
        self.run_command("dfs", "setfattr", "-n", "user.mr.outcome", "-v", "0x" + value.replace(state + "04", state + "05"),
                         directory)
        self.run_command("dfs", "setfattr", "-x", "user.mr.settled", directory)
        self.remembers(told)
        wait_until(lambda: "mr.settled" in self.run_command("dfs", "getfattr", "-d", directory).stdout, "it is settled")
        self.run_command("dfs", "mv", "/late", "/late-moved")
        self.remembers(told)

    def plant(self, job, record):
        """A job's directory as an earlier mrmaster may have left it."""
        with open(f"{self.directory}/record", "wb") as f:
            f.write(record)
        self.run_command("dfs", "mkdir", "-p", f"/system/mr/jobs/{job}")
        self.run_command("dfs", "put", f"{self.directory}/record", f"/system/mr/jobs/{job}/spec")

    @staticmethod
    def packed_id(job):
        """Name and number as they stand in a record."""
        number = int(job.split("_")[2])
        varint = bytearray((0x18,))
        while number > 127:
            varint.append(number & 127 | 128)
            number >>= 7
        return job.encode() + bytes(varint) + bytes((number,))

    def test_refused_and_not_removed(self):
        """Of two jobs for one output the later one was accepted."""
        refused = self.sleeper("/two")
        fence, number = map(int, refused.split("_")[1:])
        self.run_command("dfs", "get", f"/system/mr/jobs/{refused}/spec", f"{self.directory}/refused")
        with open(f"{self.directory}/refused", "rb") as f:
            record = f.read()
        accepted = f"job_{fence}_{number + 1:04}"
        self.assertIn(self.packed_id(refused), record)
        self.plant(accepted, record.replace(self.packed_id(refused), self.packed_id(accepted)))
        self.restart()
        wait_until(lambda: self.json("mr", "status", "--json", accepted)["maps"]["running"] > 0, "a map runs", PATIENCE_S)
        self.assertFalse(self.exists(f"/system/mr/jobs/{refused}"))
        self.assertNotEqual(self.run_command("mr", "status", refused, check=False).returncode, 0)
        self.run_command("mr", "kill", accepted)

    def test_records_that_cannot_be_read(self):
        self.plant("job_1_5000", b"this is no record")
        self.restart()
        self.assertIn("job left alone: dfs rm -r /system/mr/jobs/job_1_5000 forgets it", self.log())
        told = self.json("mr", "run", "--json", "--lib", f"{BUILD}/wordcount.so", "-i", "/text", "-o", "/after")
        self.assertGreater(int(told["job"].split("_")[2]), 5000)
        self.run_command("dfs", "rm", "-r", "--no-trash", "/system/mr/jobs/job_1_5000")

    def test_counters_by_the_hundred(self):
        """More than a note holds."""
        counters = "; ".join(f"echo reporter:counter:Group,{'long' * 10}{i},{i} >&2" for i in range(300))
        told = self.json("mr", "run", "--json", "--mapper", f"sh -c 'cat; {counters}'", "-i", "/text", "-o", "/many")
        self.assertEqual(told["counters"]["Group"]["long" * 10 + "299"], 299)
        self.remembers(told)
        self.assertTrue(self.exists(f"/system/mr/jobs/{told['job']}/outcome"))


if __name__ == "__main__":
    unittest.main()
