#!/usr/bin/python3
"""File master and chunkservers together, as real processes: a chunkserver killed in the middle of an append, the chunk
sealed at what was acknowledged, copies made again, the returned server's surplus deleted, the master killed and started:
at every step each replica that the master names holds the very bytes."""
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

try:
    import grpc  # noqa: F401
    import google.protobuf  # noqa: F401
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from chunks import Append, BUILD, MESSAGE, Server, chunk_pb2, fs_pb2 as fs, random_bytes  # noqa: E402
from master import Client, Master, wait_until  # noqa: E402

WORK = tempfile.TemporaryDirectory(prefix="trireme-store-")


class Cluster(unittest.TestCase):
    lease_ms = "3000"

    def setUp(self):
        self.directory = tempfile.mkdtemp(dir=WORK.name)
        self.master = Master(self.directory, "--server-dead-ms", "1500", "--lease-ms", self.lease_ms)
        self.client = Client(self.master)
        self.servers = [Server(self.directory, i, masters=self.master.address) for i in range(1, 6)]
        wait_until(lambda: sum(s.live for s in self.report().servers) == 5, "five chunkservers")

    def tearDown(self):
        for server in self.servers:
            server.stop()
        self.assertEqual(self.master.stop(), 0, self.master.log())

    def report(self):
        return self.client.settle("Report", fs.ReportRequest())

    def wait_for_return(self, server):
        """Until the master has heard what a returned server holds, or has acted on it already."""
        def heard():
            status = next(s for s in self.report().servers if s.server.address == server.address)
            return status.chunk_count > 0 or "replica deleted chunk=" in self.master.log()[before:]
        before = len(self.master.log())
        server.start()
        wait_until(heard, "a returned server is heard")

    def server_at(self, address):
        return next(s for s in self.servers if s.address == address)

    def allocate(self, made, offset, **more):
        return self.client.one(allocate=fs.Allocate(inode=made.inode, lease_epoch=made.lease_epoch, offset=offset,
                                                    **more))

    def chain(self, got):
        """The servers of an allocation, by the ids that the master gave."""
        chain = []
        for replica in got.replicas:
            server = self.server_at(replica.address)
            server.id = replica.id
            chain.append(server)
        return chain

    def write(self, path, data):
        made = self.client.create(path, parents=True, chunk_bytes=MESSAGE * 4)
        got = self.allocate(made, 0)
        stream = Append(self.chain(got), got.chunk.id, got.chunk.version, chunk_bytes=MESSAGE * 4)
        stream.write(data)
        self.assertTrue(stream.finish(len(data)).sealed)
        stream.close()
        self.client.close(made, chunk=got.chunk, length=len(data))
        return got

    def check(self, path, data, copies=None):
        found = self.client.locate(path)
        self.assertEqual(sum(e.length for e in found.extents), len(data))
        for extent in found.extents:
            self.assertTrue(extent.replicas, f"{path}: no replica, unheard={extent.unheard}")
            if copies:
                self.assertEqual(len(extent.replicas), copies)
            for i in extent.replicas:
                held, header = self.server_at(found.servers[i].address).read(extent.chunk.id, extent.chunk.version)
                self.assertTrue(header.sealed)
                self.assertEqual(held, data[extent.offset:extent.offset + extent.length])

    def check_all(self, files, copies=None):
        for path, data in files.items():
            self.check(path, data, copies)

    def whole(self):
        report = self.report()
        return report.under_replicated == 0 and report.missing == 0 and report.unheard == 0


class Faults(Cluster):
    def cat(self, path):
        """As any user reads it."""
        command = [os.path.join(BUILD, "bin/dfs"), "--master", self.master.address, "cat", path]
        return subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout

    def test_reader_never_sees_what_a_writer_gives_up(self):
        """All replicas have sealed, the answer is lost: a writer that knows of nothing acknowledged gives the chunk up."""
        data = random_bytes(100 * 1000)
        made = self.client.create("/f", first_chunk=True)
        stream = Append(self.chain(made), made.chunk.id, made.chunk.version, first=data, finish=True)
        self.assertTrue(stream.wait(lambda a: a.sealed or a.failure.error_name).sealed)
        self.assertEqual(self.cat("/f"), b"")
        self.client.one(abandon_chunk=fs.AbandonChunk(inode=made.inode, lease_epoch=made.lease_epoch, chunk=made.chunk))
        got = self.allocate(made, 0)
        stream = Append(self.chain(got), got.chunk.id, got.chunk.version, first=data, finish=True)
        self.assertTrue(stream.wait(lambda a: a.sealed or a.failure.error_name).sealed)
        self.assertEqual(self.cat("/f"), b"")
        self.client.close(made, chunk=got.chunk, length=len(data))
        self.assertEqual(self.cat("/f"), data)

    def test_kill_in_the_middle_of_an_append(self):
        data = random_bytes(3 * MESSAGE + 12345)
        made = self.client.create("/f", chunk_bytes=MESSAGE * 8)
        got = self.allocate(made, 0)
        chain = self.chain(got)
        stream = Append(chain, got.chunk.id, got.chunk.version, chunk_bytes=MESSAGE * 8)
        half = 2 * MESSAGE
        stream.data(data, 0, MESSAGE)
        stream.data(data, MESSAGE, MESSAGE)
        acked = stream.wait(lambda a: a.written >= half).written
        self.assertEqual(acked, half)
        chain[1].kill()
        stream.data(data, half, MESSAGE, acked=acked)
        stream.wait(lambda a: a.failure.error_name, 15)
        stream.close()
        sealed = self.client.settle("RecoverChunk", fs.RecoverChunkRequest(
            inode=made.inode, lease_epoch=made.lease_epoch, chunk=got.chunk, acked_length=acked,
            blamed=[got.replicas[1].id]))
        self.assertEqual(sealed.chunk.version, got.chunk.version + 1)
        self.assertGreaterEqual(sealed.length, acked)
        rest = self.allocate(made, sealed.length, exclude=[got.replicas[1].id])
        self.assertNotIn(got.replicas[1].id, [r.id for r in rest.replicas])
        tail = data[sealed.length:]
        stream = Append(self.chain(rest), rest.chunk.id, rest.chunk.version, chunk_bytes=MESSAGE * 8)
        stream.write(tail)
        self.assertTrue(stream.finish(len(tail)).sealed)
        stream.close()
        self.client.close(made, chunk=rest.chunk, length=len(tail))
        self.check("/f", data)
        wait_until(lambda: [len(e.replicas) for e in self.client.locate("/f").extents] == [3, 3], "three copies again")
        self.check("/f", data, 3)
        self.wait_for_return(chain[1])  # its short, old replica is adopted or deleted, and nothing else changes
        wait_until(lambda: sum(s.chunk_count for s in self.report().servers) == 6, "its old replica is settled")
        self.check("/f", data, 3)

    def test_lost_server_and_lost_master(self):
        files = {f"/d/{i}": random_bytes(100000 + i) for i in range(12)}
        for path, data in files.items():
            self.write(path, data)
        self.check_all(files, 3)
        lost = self.servers[2]
        lost.kill()
        self.servers.remove(lost)
        # Not "some are under-replicated": copying twelve small chunks can be over between two looks.
        wait_until(lambda: sum(s.live for s in self.report().servers) == 4, "the loss is seen")
        wait_until(self.whole, "copied again")
        self.check_all(files, 3)
        self.master.kill()
        self.master.start()
        wait_until(lambda: sum(s.live for s in self.report().servers) == 4 and self.whole(), "all heard again")
        self.check_all(files, 3)
        self.wait_for_return(lost)
        self.servers.append(lost)
        wait_until(lambda: sum(s.chunk_count for s in self.report().servers) == 36, "surplus deleted")
        self.check_all(files, 3)
        for path in list(files)[:6]:
            self.client.one(delete=fs.Delete(path=path))
            del files[path]
        wait_until(lambda: sum(s.chunk_count for s in self.report().servers) == 18, "deleted files' chunks go")
        self.check_all(files, 3)

    def test_writer_that_dies(self):
        """Nobody closes: the lease runs out, the master seals, and the file is what was acknowledged, or more."""
        data = random_bytes(MESSAGE + 777)
        made = self.client.create("/f", chunk_bytes=MESSAGE * 8)
        got = self.allocate(made, 0)
        stream = Append(self.chain(got), got.chunk.id, got.chunk.version, chunk_bytes=MESSAGE * 8)
        stream.write(data)
        stream.wait(lambda a: a.written == len(data))
        stream.close()
        wait_until(lambda: not self.client.stat("/f").open, "the lease ends")
        self.assertEqual(self.client.stat("/f").length, len(data))
        wait_until(self.whole, "all replicas sealed")
        self.check("/f", data, 3)

    def test_master_dies_under_writers(self):
        """Writers go on over five kills of the master; every file that was closed is whole."""
        files, problems, stop = {}, [], threading.Event()

        def writer(number):
            client = Client(self.master)
            try:
                i = 0
                while not stop.is_set():
                    path, data = f"/w{number}/{i}", random_bytes(50000 + number * 1000 + i, number * 100000 + i + 1)
                    made = client.create(path, parents=True)
                    got = client.one(allocate=fs.Allocate(inode=made.inode, lease_epoch=made.lease_epoch))
                    stream = Append(self.chain(got), got.chunk.id, got.chunk.version)
                    stream.write(data)
                    if not stream.finish(len(data)).sealed:
                        raise AssertionError(f"{path}: {stream.last}")
                    stream.close()
                    client.close(made, chunk=got.chunk, length=len(data))
                    files[path] = data
                    i += 1
            except Exception as e:  # pylint: disable=broad-except
                problems.append(f"writer {number}: {e!r}")

        threads = [threading.Thread(target=writer, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            before = len(files)
            time.sleep(0.3)
            self.master.kill()
            self.master.start()
            wait_until(lambda b=before: len(files) > b + 3 or problems, "writers go on", 30)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])
        wait_until(self.whole, "all heard")
        self.check_all(files, 3)
        print(f"{len(files)} files over 5 kills", file=sys.stderr)


class Late(Cluster):
    """A writer for which more time has passed than a lease lasts, and that has not heard of the file master meanwhile."""

    PASSED_MS = 60000

    def start(self, path, first_bytes):
        late = subprocess.Popen([os.path.join(BUILD, "tests/late"), path, str(first_bytes), str(self.PASSED_MS), "3000"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                env={**os.environ, "DFS_MASTER": self.master.address})
        self.addCleanup(late.communicate)
        self.addCleanup(late.kill)
        self.assertEqual(late.stdout.readline(), "created\n")
        return late

    def go_on(self, late):
        late.stdin.write("\n")
        late.stdin.flush()
        return late.stdout.readline()

    def without_master(self, late):
        self.master.process.send_signal(signal.SIGSTOP)
        try:
            return self.go_on(late)
        finally:
            self.master.process.send_signal(signal.SIGCONT)


class LateAndLost(Late):
    lease_ms = "1000"

    def test_no_chunk_is_begun_when_the_lease_may_be_gone(self):
        """The file master has ended the lease, and dropped the chunk, of which no server had anything."""
        late = self.start("/late", 0)
        wait_until(lambda: not self.client.stat("/late").open, "the lease ends")
        said = self.without_master(late)
        self.assertTrue(said.startswith("refused ERR_LEASE"), said)
        wait_until(lambda: sum(s.live for s in self.report().servers) == 5, "all are back")
        self.assertEqual(sum(s.chunk_count for s in self.report().servers), 0, "nobody was given bytes")

    def test_the_file_master_says_that_it_is_gone(self):
        late = self.start("/late", 0)
        wait_until(lambda: not self.client.stat("/late").open, "the lease ends")
        said = self.go_on(late)
        self.assertTrue(said.startswith("refused ERR_LEASE"), said)


class LateAndHeld(Late):
    lease_ms = "600000"

    def test_the_file_master_says_that_it_is_held(self):
        self.assertEqual(self.go_on(self.start("/late", 0)), "synced\n")

    def test_a_chunk_that_all_servers_have_is_gone_on_with(self):
        """Whoever ends the lease finds it, so what is synced there is not lost."""
        self.assertEqual(self.without_master(self.start("/late", 1000)), "synced\n")


class OpenFiles(Cluster):
    lease_ms = "60000"  # nobody but the test ends the writer

    def dfs(self, *command):
        """What a command of the client prints, told to read from the first server of the chain."""
        return subprocess.run([os.path.join(BUILD, "bin/dfs"), *command], check=True, capture_output=True, timeout=60,
                              env={"DFS_MASTER": self.master.address, "TRIREME_HOST": self.host}).stdout

    def test_servers_that_sealed_alone_show_their_watermark(self):
        data = random_bytes(MESSAGE)
        made = self.client.create("/open", chunk_bytes=MESSAGE)
        got = self.allocate(made, 0)
        self.host = got.replicas[0].host
        chain = self.chain(got)
        stream = Append(chain, got.chunk.id, got.chunk.version, chunk_bytes=MESSAGE)
        stream.data(data, 0, 1000)
        stream.wait(lambda a: a.written == 1000)
        stream.data(data, 1000, 0, acked=1000)
        wait_until(lambda: all(s.stat(got.chunk.id).acked == 1000 for s in chain), "all know the watermark")
        chain[2].process.send_signal(signal.SIGSTOP)
        try:
            stream.data(data, 1000, MESSAGE - 1000, acked=1000)
            stream.put(chunk_pb2.AppendHeader(offset=MESSAGE, finish=True))
            wait_until(lambda: all(s.stat(got.chunk.id).sealed for s in chain[:2]), "two seal, the third cannot")
            wait_until(lambda: sum(s.live for s in self.report().servers) == 4, "the third is given up")
            self.assertEqual(self.dfs("tail", "/open"), data[:1000])
            self.assertEqual(self.dfs("cat", "/open"), data[:1000])
        finally:
            chain[2].process.send_signal(signal.SIGCONT)
            stream.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
