#!/usr/bin/python3
"""A chunkserver with several data directories: where chunks go, what a restart finds, which directories are refused, a
directory that is missing and comes back, one that is full, one whose disk fails."""
import os
import shutil
import signal
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
try:
    import grpc
    from chunks import MESSAGE, Append, FakeMaster, Server, error_name, put, random_bytes, wait_until
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


if __name__ == "__main__":
    unittest.main(verbosity=2)
