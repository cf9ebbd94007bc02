#!/usr/bin/python3
"""A chunkserver with several data directories: where chunks go, what a restart finds, which directories are refused, a
directory that is missing and comes back, one that is full, one whose disk fails."""
import concurrent.futures
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
try:
    import grpc
    from chunks import MESSAGE, Append, chunk_pb2, FakeMaster, Server, error_name, put, random_bytes, wait_until
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)


def files(disk, where="chunks"):
    """{chunk id: path} of the chunk files of a data directory; of the trash by "ID.VERSION"."""
    found = {}
    for folder, _, names in os.walk(os.path.join(disk, where)):
        for name in names:
            found[int(name, 16) if where == "chunks" else name] = os.path.join(folder, name)
    return found


class Fixture(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="trireme-disks-")
        self.servers = []
        self.addCleanup(self.clean)

    def clean(self):
        statuses = [s.stop() for s in self.servers]
        failed = [s.log_text() for s, status in zip(self.servers, statuses) if status not in (0, 3, -signal.SIGKILL)]
        shutil.rmtree(self.directory)
        self.assertEqual(failed, [], "a chunkserver ended badly")

    def server(self, number=1, *args, **options):
        server = Server(self.directory, number, *args, **options)
        self.servers.append(server)
        return server

    def check(self, server, chunk, data, **read):
        got, header = server.read(chunk, **read)
        self.assertTrue(got == data, f"chunk {chunk}: other bytes")
        return header

    def refuses(self, server, *words):
        """It does not start, with status 1 and these words."""
        server.kill()
        with self.assertRaises(AssertionError) as refused:
            server.start()
        self.assertEqual(server.process.wait(10), 1)
        for word in words:
            self.assertIn(word, str(refused.exception).splitlines()[-1])

    def refuses_missing(self, server, missing):
        self.refuses(server, f"data directory {missing}", "is not there", "--failed-disks-max allows 0",
                     "mount or repair", "take it out of --data", "make an empty directory")


class TestSpread(Fixture):
    def test_chunks_lie_on_all_disks_and_a_restart_finds_them(self):
        master = FakeMaster()
        server = self.server(disks=3, masters=master.address)
        data = {i: random_bytes(MESSAGE + i) for i in range(1, 13)}
        data.update({i: random_bytes(5 * i) for i in range(13, 25)})  # in the indexes
        for chunk, content in data.items():
            put([server], chunk, content)
        for disk in server.disks:
            self.assertGreaterEqual(len(files(disk)), 3)
            self.assertLessEqual(len(files(disk)), 5)
        for restart in ("none", "clean", "killed"):
            if restart != "none":
                server.kill() if restart == "killed" else self.assertEqual(server.stop(), 0)
                server.disks.reverse()  # the order says nothing
                server.start()
            for chunk, content in data.items():
                self.check(server, chunk, content)
                self.assertEqual(server.checksum(chunk).length, len(content))
            wait_until(lambda: all(master.sees(c, length=len(d), sealed=True) for c, d in data.items()))
            self.assertEqual(len(master.chunks), len(data))
        self.assertEqual(master.starts, [1, 2, 3])
        self.assertEqual(master.last.used_bytes, sum(map(len, data.values())))

        server.cluster = "a" * 32
        server.delete(*((chunk, 1) for chunk in data))
        for disk in server.disks:
            wait_until(lambda disk=disk: not files(disk))
            self.assertGreaterEqual(len(files(disk, "trash")), 3)
        wait_until(lambda: not master.chunks)
        wait_until(lambda: master.last.used_bytes == 0)
        master.server.stop(0)

    def test_a_fenced_chunk_and_a_copy_stay_on_their_disk(self):
        source, server = self.server(1), self.server(2, disks=2)
        data = random_bytes(2 * MESSAGE)
        for chunk in (1, 2):
            put([source, server], chunk, data)
        before = [sorted(files(d)) for d in server.disks]
        self.assertEqual(sorted(before), [[1], [2]])
        for chunk in (1, 2):
            for s in (source, server):
                self.assertTrue(s.fence(chunk, 1, 2).found)
                self.assertTrue(s.seal(chunk, 2, len(data), 2).kept)
        source.fence(1, 2, 3)
        source.seal(1, 3, len(data), 3)
        server.copy(1, 3, len(data), source)  # replaces the older one
        self.assertEqual(self.check(server, 1, data).version, 3)
        self.assertEqual([sorted(files(d)) for d in server.disks], before)
        server.kill()
        server.start()
        self.assertEqual(self.check(server, 1, data).version, 3)
        self.assertEqual(self.check(server, 2, data).version, 2)

    def test_pages_of_a_full_report_name_every_chunk(self):
        master = FakeMaster()
        server = self.server(disks=2, masters=master.address)
        for chunk in range(1, 101):
            put([server], chunk, b"x" * chunk)
        wait_until(lambda: len(master.chunks) == 100)
        full = master.full
        master.forget()
        wait_until(lambda: master.full > full and len(master.chunks) == 100)
        master.server.stop(0)

    def test_space_is_the_sum_and_a_full_disk_takes_nothing_new(self):
        master = FakeMaster()
        server = self.server(1, "--capacity", "3M", masters=master.address)
        data = random_bytes(MESSAGE)
        for chunk in (1, 2, 3):
            put([server], chunk, data)
        wait_until(lambda: master.last.free_bytes == 0 and master.last.capacity_bytes == 3 * MESSAGE)
        self.assertIn("full", put([server], 4, data).failure.error_text)

        self.assertEqual(server.stop(), 0)
        server.disks.append(os.path.join(self.directory, "new"))
        os.mkdir(server.disks[1])
        server.start()
        for chunk in (5, 6):
            self.assertTrue(put([server], chunk, data).sealed)
        wait_until(lambda: master.last.free_bytes == MESSAGE and master.last.capacity_bytes == 6 * MESSAGE)
        self.assertEqual(sorted(files(server.disks[0])), [1, 2, 3])
        self.assertEqual(sorted(files(server.disks[1])), [5, 6])
        put([server], 7, data)
        self.assertIn("full", put([server], 8, data).failure.error_text)
        for chunk in (1, 2, 3, 5, 6, 7):
            self.check(server, chunk, data)
        server.cluster = "a" * 32
        server.delete((2, 1))
        self.assertTrue(put([server], 9, data).sealed)
        self.assertEqual(sorted(files(server.disks[0])), [1, 3, 9])
        master.server.stop(0)


class TestIdentity(Fixture):
    def test_a_new_disk_gets_the_identity(self):
        master = FakeMaster()
        server = self.server(masters=master.address)
        key = master.known[1].member_key
        self.assertEqual(server.stop(), 0)
        server.disks.append(os.path.join(self.directory, "new"))
        self.refuses_missing(server, server.disks[1])
        self.assertFalse(os.path.exists(server.disks[1]))
        os.mkdir(server.disks[1])
        server.start()
        with open(server.disks[0] + "/IDENTITY", encoding="utf-8") as a, \
                open(server.disks[1] + "/IDENTITY", encoding="utf-8") as b:
            self.assertEqual(a.read(), b.read())
        self.assertEqual(master.known[1].member_key, key)
        server.stop()
        server.disks.reverse()
        del server.disks[1]
        server.start()  # the first one was taken out: the second is the same server
        self.assertEqual(master.known[1].member_key, key)
        master.server.stop(0)

    def test_directories_of_others_are_refused(self):
        masters = [FakeMaster(), FakeMaster()]
        one = self.server(1, masters=masters[0].address)
        two = self.server(2, masters=masters[0].address)
        one.kill()
        for other, words in ((two.data, ["another chunkserver: member 1 of cluster aaaa"]),
                             (one.data, ["are the same"]),
                             (os.path.join(self.directory, ".", "cs1"), ["are the same"])):
            if other == two.data:
                two.kill()
            one.disks = [one.data, other]
            one.args += ["--failed-disks-max", "1"]  # allows for disks, not for mistakes
            self.refuses(one, *words)
        one.disks = [one.data, os.path.join(self.directory, "foreign")]
        os.mkdir(one.disks[1])
        with open(one.disks[1] + "/letters", "w", encoding="utf-8"):
            pass
        self.refuses(one, "not a Trireme data directory")
        self.servers.remove(one)
        for m in masters:
            m.server.stop(0)

    def test_a_disk_in_use_is_refused(self):
        one = self.server(1, disks=2)
        two = Server.__new__(Server)
        two.__dict__.update(one.__dict__)
        two.disks, two.log = [one.disks[1]], one.log + ".2"
        with self.assertRaises(AssertionError) as refused:
            two.start()
        self.assertIn(f"in use by process {one.process.pid}", str(refused.exception))


class TestMissing(Fixture):
    def lose(self, server, disk):
        """The server goes on without that disk of it."""
        os.rename(disk, disk + ".away")
        self.refuses_missing(server, disk)
        server.args += ["--failed-disks-max", "1"]
        server.start()
        self.assertIn(f"going on without a disk data={disk}: data directory {disk}: it is not there", server.log_text())
        self.assertFalse(os.path.exists(disk))

    def come_back(self, server, disk):
        server.kill()
        os.rename(disk + ".away", disk)
        server.start()

    def test_its_chunks_are_lost_and_come_back(self):
        master = FakeMaster()
        server = self.server(disks=2, masters=master.address)
        data = random_bytes(MESSAGE)
        for chunk in range(1, 7):
            put([server], chunk, data)
        wait_until(lambda: len(master.chunks) == 6)
        kept, lost = (sorted(files(d)) for d in server.disks)
        self.lose(server, server.disks[1])
        wait_until(lambda: sorted(master.chunks) == kept)
        for chunk in lost:
            with self.assertRaises(grpc.RpcError) as gone:
                server.read(chunk)
            self.assertEqual(error_name(gone.exception), "ERR_NOT_FOUND")
        for chunk in kept:
            self.check(server, chunk, data)
        self.assertTrue(put([server], 7, data).sealed)
        self.assertIn(7, files(server.disks[0]))
        self.come_back(server, server.disks[1])
        wait_until(lambda: len(master.chunks) == 7)
        for chunk in range(1, 8):
            self.check(server, chunk, data)
        self.assertEqual(master.starts, [1, 2, 3])
        master.server.stop(0)

    def test_one_that_cannot_be_opened_is_left_out(self):
        for name, words in (("IDENTITY", "not an identity file"), ("index/CURRENT", "chunk index"),
                            ("chunks", "chunks")):
            with self.subTest(name):
                server = self.server(1 + len(self.servers), disks=2)
                data = random_bytes(MESSAGE)
                put([server], 1, data)
                put([server], 2, data)
                kept, = files(server.disks[0])
                server.kill()
                path = os.path.join(server.disks[1], name)
                if os.path.isdir(path):
                    shutil.rmtree(path)
                with open(path, "w", encoding="utf-8") as f:
                    f.write("rot" * 100)
                self.refuses(server, words, server.disks[1], "1 of 2 data directories cannot be used")
                server.args += ["--failed-disks-max", "1"]
                server.start()
                self.assertIn(f"going on without a disk data={server.disks[1]}", server.log_text())
                self.check(server, kept, data)
                with open(path, encoding="utf-8") as f:
                    self.assertEqual(f.read(), "rot" * 100, "it was touched")

    def test_a_stale_copy_that_comes_back_goes_to_the_trash(self):
        source, server = self.server(1), self.server(2, disks=2)
        data = random_bytes(2 * MESSAGE)
        for chunk in (1, 2):
            put([source, server], chunk, data)
        lost, = files(server.disks[1])
        self.lose(server, server.disks[1])
        self.assertEqual(error_name(self.read_error(server, lost)), "ERR_NOT_FOUND")
        source.fence(lost, 1, 2)
        source.seal(lost, 2, len(data), 2)
        server.copy(lost, 2, len(data), source)
        self.come_back(server, server.disks[1])
        self.assertEqual(self.check(server, lost, data).version, 2)
        self.assertEqual(error_name(self.read_error(server, lost, version=1)), "ERR_STALE")
        self.assertIn(lost, files(server.disks[0]))
        self.assertNotIn(lost, files(server.disks[1]))
        self.assertEqual(list(files(server.disks[1], "trash")), [f"{lost:016x}.1"])
        self.assertIn("to the trash count=1", server.log_text())
        server.disks.reverse()
        server.kill()
        server.start()
        self.assertEqual(self.check(server, lost, data).version, 2)
        self.assertEqual(server.log_text().count("to the trash"), 1)

    def read_error(self, server, chunk, **read):
        with self.assertRaises(grpc.RpcError) as refused:
            server.read(chunk, **read)
        return refused.exception

    def test_the_same_copy_twice_stays_once(self):
        source, server = self.server(1), self.server(2, disks=2)
        data = random_bytes(2 * MESSAGE)
        for chunk in (1, 2):
            put([source, server], chunk, data)
        put([source, server], 3, b"small")
        put([source, server], 4, b"small too")
        self.lose(server, server.disks[1])
        lost = [c for c in (1, 2, 3, 4) if not self.here(server, c)]
        self.assertEqual(len(lost), 2)
        for chunk in lost:
            server.copy(chunk, 1, source.stat(chunk).length, source)
        self.come_back(server, server.disks[1])
        for chunk in (1, 2):
            self.check(server, chunk, data)
        self.assertEqual(sorted([*files(server.disks[0]), *files(server.disks[1])]), [1, 2])
        self.assertEqual(self.check(server, 3, b"small").version, 1)
        for chunk in (1, 2, 3, 4):
            server.delete((chunk, 1))
            self.assertFalse(self.here(server, chunk))
        server.kill()
        server.start()
        self.assertFalse(any(self.here(server, c) for c in (1, 2, 3, 4)), "a second copy was left")

    def here(self, server, chunk):
        try:
            server.stat(chunk)
            return True
        except grpc.RpcError as e:
            self.assertEqual(error_name(e), "ERR_NOT_FOUND")
            return False

    def test_an_open_chunk_of_a_disk_that_was_away_is_unclean(self):
        server = self.server(disks=2)
        data = random_bytes(MESSAGE)
        streams = [Append([server], chunk) for chunk in (1, 2)]
        for s in streams:
            s.write(data)
            s.wait(lambda a: a.written == len(data))
            s.close()
        other, chunk = server.disks[0], next(iter(files(server.disks[1])))
        server.args += ["--failed-disks-max", "1"]
        for _ in range(3):  # the other one has seen many more starts
            server.kill()
            if os.path.exists(server.disks[1]):
                os.rename(server.disks[1], server.disks[1] + ".away")
            server.start()
        server.kill()
        os.rename(server.disks[1] + ".away", server.disks[1])
        os.rename(other, other + ".away")
        server.start()
        fenced = server.fence(chunk, 1, 2)
        self.assertTrue(fenced.found)
        self.assertFalse(fenced.clean)
        self.assertEqual(fenced.length, len(data))


class TestHanging(Fixture):
    """A disk that neither answers nor fails: opening one of its chunks blocks, for its file is a FIFO without a writer."""

    def test_the_other_disk_goes_on(self):
        server = self.server(1, "--workers", "1", disks=2)
        data = {i: random_bytes(MESSAGE + i) for i in range(1, 7)}
        for chunk, content in data.items():
            put([server], chunk, content)
        hanging, other = (sorted(files(d).items()) for d in server.disks)
        (fifo_chunk, fifo), (waiting_chunk, _) = hanging[:2]
        kept = os.path.join(self.directory, "kept")
        os.rename(fifo, kept)
        os.mkfifo(fifo)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            stuck = pool.submit(server.read, fifo_chunk)
            wait_until(lambda: self.opens_fifo(server), what="a thread that hangs in open()")
            waiting = pool.submit(server.read, waiting_chunk)
            for chunk, _ in other:
                self.check(server, chunk, data[chunk])
            streams = {chunk: self.begin(server, chunk) for chunk in range(100, 110)}  # to either, in turns
            wait_until(lambda: sum(s.last.sealed for s in streams.values()) >= 3, what="chunks on the other disk")
            at_once = [chunk for chunk, s in streams.items() if s.last.sealed]
            self.assertFalse(files(server.disks[0]).keys() & set(at_once))
            self.assertFalse(stuck.done() or waiting.done(), "the disk did not hang")
            aside = os.path.join(self.directory, "aside")
            os.rename(fifo, aside)
            os.rename(kept, fifo)  # for those who look again
            os.close(os.open(aside, os.O_WRONLY))
            with self.assertRaises(grpc.RpcError):
                stuck.result(30)  # a FIFO has no bytes
            self.assertEqual(waiting.result(30)[0], data[waiting_chunk])
        wait_until(lambda: all(s.last.sealed for s in streams.values()), what="the chunks on the one that hung")
        self.assertTrue(files(server.disks[0]).keys() & streams.keys())
        self.check(server, fifo_chunk, data[fifo_chunk])
        self.assertTrue(server.seal(fifo_chunk, 1, len(data[fifo_chunk]), 0).kept, "it is not damaged")

    def test_the_end_does_not_wait_for_it(self):
        server = self.server(1, "--workers", "1", disks=2)
        for chunk in (1, 2):
            put([server], chunk, random_bytes(MESSAGE))
        (chunk, fifo), = files(server.disks[0]).items()
        os.remove(fifo)
        os.mkfifo(fifo)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            stuck = pool.submit(server.read, chunk)
            wait_until(lambda: self.opens_fifo(server), what="a thread that hangs in open()")
            self.assertEqual(server.stop(), 0)
            with self.assertRaises(grpc.RpcError):
                stuck.result(30)
        self.assertIn(f"at work on a disk that may hang data={server.disks[0]} jobs=1", server.log_text())

    @staticmethod
    def begin(server, chunk):
        stream = Append([server], chunk)
        stream.data(random_bytes(MESSAGE, seed=chunk), 0, MESSAGE)
        stream.put(chunk_pb2.AppendHeader(offset=MESSAGE, finish=True))
        return stream

    @staticmethod
    def opens_fifo(server):
        """Whether a thread sleeps in openat(2), which no file of a disk makes it do."""
        number = {"x86_64": "257", "aarch64": "56"}[os.uname().machine]
        tasks = f"/proc/{server.process.pid}/task"
        for thread in os.listdir(tasks):
            with open(f"{tasks}/{thread}/syscall", encoding="ascii") as f:
                if f.read().split()[0] == number:
                    return True
        return False


class TestHealth(Fixture):
    """What /healthz and /varz say of disks. Of file masters: test_metrics.sh."""

    http = ("--http", "127.0.0.1:0")

    def says(self, server, wanted):
        """The owner reports once a second. wanted is "ok" or the reason."""
        answer = (200, "ok\n") if wanted == "ok" else (503, wanted + "\n")
        try:
            wait_until(lambda: server.page("/healthz") == answer)
        except AssertionError:
            self.assertEqual(server.page("/healthz"), answer)

    def state(self, server):
        return json.loads(server.page("/varz")[1])["state"]

    def test_a_missing_disk(self):
        server = self.server(1, *self.http, disks=2)
        put([server], 1, random_bytes(MESSAGE))
        self.says(server, "ok")
        wait_until(lambda: self.state(server)["chunks"] == 1)
        state = self.state(server)
        self.assertEqual((state["chunks"], state["streams"], state["draining"], state["masters"], state["trouble"]),
                         (1, 0, False, [], ""))
        self.assertEqual([d["path"] for d in state["disks"]], server.disks)
        self.assertEqual(sum(d["used_bytes"] for d in state["disks"]), MESSAGE)
        self.assertTrue(all(d["capacity_bytes"] > d["free_bytes"] > 0 and not d["failed"] for d in state["disks"]))

        missing = server.disks[1]
        server.kill()
        os.rename(missing, missing + ".away")
        server.args += ["--failed-disks-max", "1"]
        server.start()
        trouble = (f"a disk failed, data directory {missing}: it is not there "
                   "(repair or replace it, then restart the server)")
        self.says(server, trouble)
        state = self.state(server)
        self.assertEqual(state["trouble"], trouble)
        self.assertEqual([d["failed"] for d in state["disks"]], [False, True])
        self.assertEqual(state["disks"][1]["failure"], f"data directory {missing}: it is not there")
        server.kill()
        os.rename(missing + ".away", missing)
        server.start()
        self.says(server, "ok")

    def test_full_disks(self):
        server = self.server(1, *self.http, "--capacity", "65M", disks=2)
        for chunk in (1, 2, 3, 4):  # in turns; those with room for 64 MiB first
            wait_until(lambda chunk=chunk: self.state(server)["chunks"] == chunk - 1)
            self.assertEqual(server.page("/healthz"), (200, "ok\n"))
            self.assertTrue(put([server], chunk, random_bytes(MESSAGE)).sealed)
        self.says(server, "full: no disk has room for a chunk of 64 MiB, 63 MiB at most")
        self.assertEqual([d["free_bytes"] for d in self.state(server)["disks"]], [63 * MESSAGE] * 2)
        server.delete((4, 1))
        self.says(server, "ok")

    def test_options(self):
        server = self.server(1, *self.http, disks=2)
        page = json.loads(server.page("/varz")[1])
        self.assertEqual((page["role"], page["address"]), ("chunkserver", server.address))
        self.assertEqual(page["options"]["data"], {"value": ",".join(server.disks), "from": "flag"})
        self.assertEqual(page["options"]["workers"], {"value": "8", "from": "default"})


@unittest.skipUnless(shutil.which("strace"), "no strace: disks that fail are not tried")
class TestFailing(Fixture):
    """A disk fails while the server runs: every flush of some of its files gives EIO."""

    def break_disk(self, server, *paths):
        """Returns the tracer. A server that is to end by itself has to be let go before: LeakSanitizer fails under one."""
        of = [option for path in paths for option in ("-P", path)]
        tracer = subprocess.Popen(["strace", "-f", "-o", "/dev/null", "-p", str(server.process.pid), *of,
                                   "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(self.let_go, tracer)
        while b"attached" not in (line := tracer.stderr.readline()):
            self.assertNotEqual(line, b"", "strace did not attach")
        return tracer

    @staticmethod
    def let_go(tracer):
        tracer.terminate()
        tracer.wait(10)
        tracer.stderr.close()

    def break_index(self, server, disk):
        return self.break_disk(server, *glob.glob(os.path.join(disk, "index", "*.log")))

    def filled(self, *args, disks=2, **options):
        server = self.server(1, *args, disks=disks, **options)
        data = {i: random_bytes(MESSAGE + i) for i in range(1, 7)}
        for chunk, content in data.items():
            put([server], chunk, content)
        return server, data

    def put_until_it_fails(self, server, first=100):
        """Whatever is acknowledged as sealed is kept or told as lost; returns {chunk: data} of what was."""
        sealed = {}
        for chunk in range(first, first + 30):
            content = random_bytes(MESSAGE, seed=chunk)
            ack = put([server], chunk, content)
            if not ack.sealed:
                self.assertIn(ack.failure.error_name, ("ERR_IO",))
                return sealed
            sealed[chunk] = content
        raise AssertionError("30 chunks later no disk has failed")

    def goes_on(self, server, master, data, lost_disk):
        """Without what lay on the disk, and masters know."""
        others = [d for d in server.disks if d != lost_disk]
        kept = {c: d for c, d in data.items() if any(c in files(o) for o in others)}
        self.assertLess(len(kept), len(data))
        wait_until(lambda: sorted(master.chunks) == sorted(kept), what="the report without the disk")
        for chunk, content in kept.items():
            self.check(server, chunk, content)
        for chunk in data.keys() - kept.keys():
            with self.assertRaises(grpc.RpcError) as gone:
                server.read(chunk)
            self.assertEqual(error_name(gone.exception), "ERR_NOT_FOUND")
        for chunk in range(200, 205):
            self.assertTrue(put([server], chunk, b"goes on" * 20000).sealed)
            self.assertTrue(any(chunk in files(o) for o in others))
        wait_until(lambda: list(master.last.failed_disks), what="the failed disk in a heartbeat")
        failed, = master.last.failed_disks
        self.assertIn(f"data directory {lost_disk}: ", failed)
        self.assertIn("nput/output error", failed)
        self.assertIsNone(server.process.poll())

    def test_the_server_goes_on_without_a_disk_whose_index_fails(self):
        master = FakeMaster()
        server, data = self.filled("--failed-disks-max", "1", "--http", "127.0.0.1:0", masters=master.address)
        self.assertEqual(server.page("/healthz"), (200, "ok\n"))
        self.break_index(server, server.disks[1])
        data.update(self.put_until_it_fails(server))
        self.goes_on(server, master, data, server.disks[1])
        status, why = server.page("/healthz")
        self.assertEqual(status, 503)
        self.assertRegex(why, f"^a disk failed, data directory {server.disks[1]}: .*nput/output error.*restart")
        master.server.stop(0)

    def test_the_server_goes_on_without_a_disk_whose_files_fail(self):
        master = FakeMaster()
        server, data = self.filled("--failed-disks-max", "1", masters=master.address)
        self.break_disk(server, *(os.path.join(server.disks[0], "chunks", f"{c % 256:02x}", f"{c:016x}")
                                  for c in range(100, 130)))
        data.update(self.put_until_it_fails(server))
        self.goes_on(server, master, data, server.disks[0])
        master.server.stop(0)

    def stopping(self):
        """A server that was told to stop and waits for a flush, which takes until the tracer goes, or 30 s."""
        server = self.server(1 + len(self.servers), "--http", "127.0.0.1:0")
        data = random_bytes(MESSAGE)
        stream = Append([server], 1)
        stream.write(data)
        stream.wait(lambda a: a.written == len(data))
        trace = os.path.join(self.directory, f"trace{server.id}")
        tracer = subprocess.Popen(["strace", "-f", "-o", trace, "-p", str(server.process.pid), "-P",
                                   files(server.data)[1], "-e", "trace=fdatasync",
                                   "-e", "inject=fdatasync:delay_enter=30000000"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(self.let_go, tracer)
        while b"attached" not in (line := tracer.stderr.readline()):
            self.assertNotEqual(line, b"", "strace did not attach")
        self.assertEqual(server.page("/healthz"), (200, "ok\n"))
        stream.data(data, len(data), 0, finish=True)

        def flushes():
            with open(trace, encoding="utf-8") as f:
                return "fdatasync(" in f.read()
        wait_until(flushes, what="the flush")
        server.process.send_signal(signal.SIGTERM)
        self.addCleanup(stream.close)
        wait_until(lambda: server.page("/healthz") == (503, "chunkserver stops\n"), what="the page that says so")
        return server, tracer

    def test_a_server_that_stops_says_so(self):
        server, tracer = self.stopping()
        self.assertTrue(json.loads(server.page("/varz")[1])["state"]["draining"])
        tracer.kill()  # the delay is over
        self.assertEqual(server.process.wait(20), 0)
        self.assertNotIn("without waiting", server.log_text())

    def test_a_server_that_stops_does_not_wait_for_ever(self):
        both = ((self.stopping(), "told so twice"), (self.stopping(), "the time for it is over"))
        both[0][0][0].process.send_signal(signal.SIGTERM)
        for (server, tracer), why in both:
            wait_until(lambda s=server, w=why: f"ends without waiting any longer, {w}: " in s.log_text())
            tracer.kill()  # a thread that it delays is not gone before
            self.assertEqual(server.process.wait(20), 0)

    def test_fence_delete_and_copy_answer_with_an_error(self):
        for what in ("fence", "seal", "delete", "copy"):
            with self.subTest(what):
                server = self.server(10 + len(self.servers), "--failed-disks-max", "1", disks=2)
                source = self.server(10 + len(self.servers))
                data = random_bytes(MESSAGE)
                for chunk in (1, 2, 3, 4):
                    put([source, server], chunk, data)
                chunk = min(files(server.disks[1]))
                if what == "seal":
                    server.fence(chunk, 1, 2)
                if what == "copy":
                    source.fence(chunk, 1, 2)
                    source.seal(chunk, 2, len(data), 2)
                self.break_index(server, server.disks[1])
                if what == "delete":
                    self.assertFalse(server.delete((chunk, 1)).deleted)
                else:
                    with self.assertRaises(grpc.RpcError) as failed:
                        if what == "fence":
                            server.fence(chunk, 1, 2)
                        elif what == "seal":
                            server.seal(chunk, 2, len(data), 2)
                        else:
                            server.copy(chunk, 2, len(data), source)
                    self.assertEqual(error_name(failed.exception), "ERR_IO")
                wait_until(lambda: "going on without a disk" in server.log_text())
                wait_until(lambda: not server.fence(chunk, 1, 9).found)
                if what == "copy":  # the next attempt finds room on the other disk
                    server.copy(chunk, 2, len(data), source)
                    self.assertEqual(self.check(server, chunk, data).version, 2)
                    self.assertIn(chunk, files(server.disks[0]))

    def test_open_streams_of_the_disk_end_and_others_go_on(self):
        server = self.server(1, "--failed-disks-max", "1", disks=2)
        data = random_bytes(2 * MESSAGE)
        streams = {chunk: Append([server], chunk) for chunk in (1, 2, 3, 4)}
        for s in streams.values():
            s.data(data, 0, MESSAGE)
            s.wait(lambda a: a.written == MESSAGE)
        lost = sorted(files(server.disks[1]))
        self.assertEqual(len(lost), 2)
        self.break_index(server, server.disks[1])
        streams[lost[0]].data(data, MESSAGE, MESSAGE, sync=True)
        for chunk in lost:  # the one that asked for the sync, and the one that is idle
            ack = streams[chunk].wait(lambda a: a.failure.error_name)
            self.assertEqual(ack.failure.error_name, "ERR_IO")
            self.assertEqual(max(a.durable for a in streams[chunk].acks), 0)
        for chunk in streams.keys() - lost:
            streams[chunk].data(data, MESSAGE, MESSAGE)
            self.assertTrue(streams[chunk].finish(len(data)).sealed)
            self.check(server, chunk, data)

    def test_many_at_work_meanwhile(self):
        """Nothing hangs, nobody is told wrong: what is sealed on a disk that is left can be read."""
        master = FakeMaster()
        server, data = self.filled("--failed-disks-max", "1", "--pollers", "2", masters=master.address, disks=3)
        begun = threading.Event()
        results = {}

        def work(first):
            for chunk in range(first, first + 40):
                content = random_bytes(3 * 70000 if chunk % 2 else 1000, seed=chunk)
                stream = Append([server], chunk)
                stream.write(content, piece=70000)
                ack = stream.finish(len(content))
                stream.close()
                results[chunk] = (ack.sealed, ack.failure.error_name, content)
                try:
                    got, _ = server.read(1 + chunk % 6, seen=1)
                    assert got == data[1 + chunk % 6]
                except grpc.RpcError as e:
                    assert error_name(e) in ("ERR_NOT_FOUND", "ERR_UNAVAILABLE"), e
                if chunk == first + 5:
                    begun.set()

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            workers = [pool.submit(work, 1000 * n) for n in range(1, 9)]
            begun.wait(60)
            tracer = self.break_index(server, server.disks[1])
            for w in workers:
                w.result()
        wait_until(lambda: "going on without a disk" in server.log_text())
        self.assertGreater(sum(sealed for sealed, _, _ in results.values()), 100)
        self.assertEqual({error for sealed, error, _ in results.values() if not sealed}, {"ERR_IO"})
        wait_until(lambda: list(master.last.failed_disks))
        for chunk, (sealed, _, content) in results.items():
            if chunk in master.chunks:
                self.assertTrue(sealed)
                self.check(server, chunk, content)
        self.let_go(tracer)
        self.assertEqual(server.stop(), 0)
        master.server.stop(0)

    def test_it_comes_back_after_a_restart(self):
        master = FakeMaster()
        server, data = self.filled("--failed-disks-max", "1", masters=master.address)
        self.break_index(server, server.disks[1])
        data.update(self.put_until_it_fails(server))
        wait_until(lambda: len(master.chunks) < len(data))
        server.kill()
        server.start()
        wait_until(lambda: sorted(c for c in master.chunks if c in data) == sorted(data))
        for chunk, content in data.items():
            self.check(server, chunk, content)
        self.assertFalse(master.last.failed_disks)
        master.server.stop(0)

    def test_without_the_flag_it_ends_with_status_3(self):
        server, _ = self.filled()
        self.break_index(server, server.disks[1])
        self.ends(server)

    def test_one_more_than_allowed_ends_it_with_status_3(self):
        server, _ = self.filled("--failed-disks-max", "1", disks=3)
        self.break_disk(server, *(log for d in server.disks[1:] for log in glob.glob(os.path.join(d, "index", "*.log"))))
        self.ends(server)
        self.assertEqual(server.log_text().count("going on without a disk"), 1)

    def test_the_last_one_ends_it_with_status_3(self):
        server = self.server(1, "--failed-disks-max", "5")
        self.break_index(server, server.data)
        self.ends(server)

    def ends(self, server):
        for chunk in range(100, 130):
            if server.process.poll() is not None:
                break
            try:
                put([server], chunk, random_bytes(MESSAGE))
            except AssertionError:
                pass  # no acknowledgement
        self.assertEqual(server.process.wait(20), 3)
        self.assertIn("stopping at once", server.log_text())


if __name__ == "__main__":
    unittest.main(verbosity=2)
