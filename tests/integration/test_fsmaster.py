#!/usr/bin/python3
"""The file master alone, as any gRPC client sees it: namespace, exactly once, leases and fences, placement over servers
that only pretend, and kill -9 under load: nothing acknowledged is lost, nothing runs twice."""
import concurrent.futures
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

try:
    import grpc
    import google.protobuf  # noqa: F401
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from chunks import BUILD, chunk_pb2 as ck, common_pb2 as cm, fs_pb2 as fs  # noqa: E402
from master import Client, Failed, Master, wait_until  # noqa: E402

WORK = tempfile.TemporaryDirectory(prefix="trireme-fsmaster-")
MIB = 1 << 20


class FakeServer:
    """A chunkserver without bytes: it registers, reports what it is told to hold, and answers the master's calls."""

    def __init__(self, master, number, host=None, rack="r1"):
        self.client = Client(master)
        self.key = random.getrandbits(128).to_bytes(16, "big")
        self.replicas = {}  # chunk -> [version, length, sealed]
        self.host, self.rack = host or f"h{number}", rack
        self.deleted, self.copied, self.fenced = [], [], []
        self.unclean = self.deaf = False
        self.start_count, self.sequence, self.term = 0, 0, 0
        self.lock = threading.Lock()
        self.serve()
        self.stopped = threading.Event()
        self.join()
        self.thread = threading.Thread(target=self.beat, daemon=True)
        self.thread.start()

    def serve(self):
        def unary(handler, request, reply):
            return grpc.unary_unary_rpc_method_handler(handler, request_deserializer=request.FromString,
                                                       response_serializer=reply.SerializeToString)
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("trireme.v1.Chunkserver", {
            "Fence": unary(self.on_fence, ck.FenceRequest, ck.FenceReply),
            "SealReplica": unary(self.on_seal, ck.SealReplicaRequest, ck.SealReplicaReply),
            "DeleteChunks": unary(self.on_delete, ck.DeleteChunksRequest, ck.DeleteChunksReply),
            "CopyChunk": unary(self.on_copy, ck.CopyChunkRequest, ck.CopyChunkReply)}),))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def join(self):
        self.start_count += 1
        self.sequence = 0
        self.term = 0
        self.register()

    def register(self):
        reply = self.client.settle("RegisterServer", fs.RegisterRequest(
            member_key=self.key, host=self.host, rack=self.rack, address=self.address, start_count=self.start_count,
            wire_version=2, capacity_bytes=1 << 40, free_bytes=1 << 39))
        self.id = reply.server
        self.term = max(self.term, reply.term)
        self.report()

    def report(self):
        with self.lock:
            replicas = [fs.Replica(chunk=cm.ChunkRef(id=c, version=v), length=n, sealed=s)
                        for c, (v, n, s) in sorted(self.replicas.items())]
        self.client.settle("ReportChunks", fs.ReportChunksRequest(
            server=self.id, start_count=self.start_count, replicas=replicas, first=True, last=True))

    def heartbeat(self):
        with self.lock:
            changed = [fs.Replica(chunk=cm.ChunkRef(id=c, version=v), length=n, sealed=s)
                       for c, (v, n, s) in sorted(self.replicas.items())]
        self.sequence += 1
        return self.client.call("Heartbeat", fs.HeartbeatRequest(
            server=self.id, start_count=self.start_count, capacity_bytes=1 << 40, free_bytes=1 << 39, changed=changed,
            sequence=self.sequence, term=self.term), timeout=2)

    def beat(self):
        while not self.stopped.wait(0.1):
            try:
                reply = self.heartbeat()
                self.term = max(self.term, reply.term)
                if reply.register_again:
                    self.register()
                elif reply.report_again:
                    self.report()
            except (grpc.RpcError, Failed):
                pass

    def stop(self):
        self.stopped.set()
        self.thread.join()
        self.server.stop(None).wait()

    def hold(self, chunk, length, sealed=True):
        with self.lock:
            self.replicas[chunk.id] = [chunk.version, length, sealed]

    def on_fence(self, request, context):
        del context
        with self.lock:
            self.fenced.append(request.chunk.id)
            held = self.replicas.get(request.chunk.id)
            if not held:
                return ck.FenceReply(found=False)
            held[0] = request.new_version
            return ck.FenceReply(found=True, length=held[1], clean=not self.unclean)

    def on_seal(self, request, context):
        del context
        with self.lock:
            held = self.replicas.get(request.chunk.id)
            if not held or held[1] < request.length:
                return ck.SealReplicaReply(kept=False)
            self.replicas[request.chunk.id] = [request.chunk.version, request.length, True]
            return ck.SealReplicaReply(kept=True)

    def on_delete(self, request, context):
        del context
        reply = ck.DeleteChunksReply()
        with self.lock:
            for item in request.items:
                held = self.replicas.get(item.chunk.id)
                if held and held[0] <= item.chunk.version:
                    del self.replicas[item.chunk.id]
                self.deleted.append((item.chunk.id, item.copies_left))
                reply.deleted.append(item.chunk)
        return reply

    def on_copy(self, request, context):
        del context
        with self.lock:
            self.replicas[request.chunk.id] = [request.chunk.version, request.length, True]
            self.copied.append(request.chunk.id)
        return ck.CopyChunkReply()


class MasterTest(unittest.TestCase):
    arguments = ()

    def setUp(self):
        self.master = Master(WORK.name, *self.arguments)
        self.servers = []
        self.client = Client(self.master)

    def tearDown(self):
        for server in self.servers:
            server.stop()
        if self.master.process.poll() is None:
            self.assertEqual(self.master.stop(), 0, self.master.log())

    def fails(self, name, call, *arguments, **more):
        with self.assertRaises(Failed) as caught:
            call(*arguments, **more)
        self.assertEqual(caught.exception.name, name, str(caught.exception))

    def add_servers(self, count, **more):
        for i in range(count):
            self.servers.append(FakeServer(self.master, len(self.servers) + 1, **more))

    def by_id(self, server):
        return next(s for s in self.servers if s.id == server)

    def write(self, path, length, **more):
        """One sealed chunk in a closed file, held by the servers that the master chose."""
        made = self.client.create(path, parents=True, **more)
        got = self.allocate(made)
        for replica in got.replicas:
            self.by_id(replica.id).hold(got.chunk, length)
        self.client.close(made, chunk=got.chunk, length=length)
        return got

    def allocate(self, made, **more):
        return self.client.one(allocate=fs.Allocate(inode=made.inode, lease_epoch=made.lease_epoch, **more))


class Namespace(MasterTest):
    def test_tree(self):
        c = self.client
        c.mkdir("/a")
        self.fails("ERR_EXISTS", c.mkdir, "/a")
        self.fails("ERR_NOT_FOUND", c.mkdir, "/x/y")
        c.mkdir("/x/y/z", parents=True)
        for i in range(20):
            c.close(c.create(f"/a/f{i:02}"))
        self.assertEqual(c.names("/a"), [f"f{i:02}" for i in range(20)])
        self.assertEqual(c.stat("/a").child_count, 20)
        self.assertEqual(c.stat("/").subtree_files, 20)
        self.assertEqual(c.stat("/a/f03").kind, fs.KIND_FILE)
        self.fails("ERR_NOT_FOUND", c.stat, "/a/none")
        self.fails("ERR_NOT_DIR", c.stat, "/a/f03/x")
        c.one(rename=fs.Rename(source="/a", target="/x/y/z/a"))
        self.assertEqual(len(c.names("/x/y/z/a")), 20)
        self.fails("ERR_CYCLE", c.one, rename=fs.Rename(source="/x", target="/x/y/z/w"))
        self.fails("ERR_NOT_EMPTY", c.one, delete=fs.Delete(path="/x"))
        c.one(delete=fs.Delete(path="/x", recursive=True))
        self.assertEqual(c.stat("/").subtree_files, 0)
        wait_until(lambda: c.call("Report", fs.ReportRequest()).removal_queue == 0, "background removal")
        with urllib.request.urlopen(self.http() + "/metrics") as page:
            self.assertIn(b'trireme_fsmaster_operations_total{op="create"} 20', page.read())
        self.assertIn("audit: done user=root", self.master.log())

    arguments = ("--http", "127.0.0.1:0")

    def http(self):
        port = re.search(r"metrics port=(\d+)", self.master.log()).group(1)
        return "http://127.0.0.1:" + port

    def test_unnamed_file_and_preconditions(self):
        c = self.client
        made = c.create("")
        self.fails("ERR_NOT_FOUND", c.stat, "/out")
        c.close(made, link_path="/out/part-0", parents=True)
        self.assertEqual(c.stat("/out/part-0").inode, made.inode)
        self.fails("ERR_EXISTS", c.close, c.create(""), link_path="/out/part-0")
        operation = fs.Operation(mkdir=fs.Mkdir(path="/m"), preconditions=[fs.Precondition(path_absent="/out")])
        result, = c.mutate(operation)
        self.assertEqual(result.outcome.error_name, "ERR_PRECONDITION")
        self.fails("ERR_NOT_FOUND", c.stat, "/m")

    def test_permissions(self):
        self.client.mkdir("/mine")
        other = Client(self.master, user="ada")
        self.fails("ERR_PERMISSION", other.mkdir, "/mine/x")
        self.assertIn("audit: denied user=ada", self.master.log())
        other.mkdir("/tmp/hers")
        self.assertEqual(self.client.stat("/tmp/hers").owner, "ada")

    def test_exactly_once(self):
        c = self.client
        request = fs.MutateRequest(session=7, acked_below=1, operations=[
            fs.Operation(seq=i + 1, mkdir=fs.Mkdir(path=f"/d{i}")) for i in range(8)])
        first = c.call("Mutate", request)
        again = c.call("Mutate", request)
        self.assertEqual(first.results, again.results)
        self.assertGreater(again.applied_index, first.applied_index)
        self.assertTrue(all(r.outcome.error_name == "" for r in again.results))
        self.master.kill()
        self.master.start()
        self.assertEqual(c.settle("Mutate", request).results, first.results)
        request.acked_below = 9
        self.assertEqual([r.outcome.error_name for r in c.call("Mutate", request).results], ["ERR_STALE"] * 8)

    def test_fences(self):
        c = self.client
        first = c.one(raise_fence=fs.RaiseFence(name="job")).fence_epoch
        self.assertEqual(c.one(raise_fence=fs.RaiseFence(name="job")).fence_epoch, first + 1)
        old = fs.Precondition(fence_is=fs.FenceIs(name="job", epoch=first))
        result, = c.mutate(fs.Operation(mkdir=fs.Mkdir(path="/late"), preconditions=[old]))
        self.assertEqual(result.outcome.error_name, "ERR_PRECONDITION")
        old.fence_is.epoch = first + 1
        result, = c.mutate(fs.Operation(mkdir=fs.Mkdir(path="/now"), preconditions=[old]))
        self.assertEqual(result.outcome.error_name, "")

    def test_refuses_a_second_process_and_another_cluster(self):
        program = [os.path.join(BUILD, "bin", "fsmaster"), "--data", self.master.data, "--listen", "127.0.0.1:0"]
        second = subprocess.run(program, capture_output=True, text=True, timeout=20)
        self.assertEqual(second.returncode, 1)
        self.assertIn("cannot start", second.stderr)
        self.assertEqual(self.master.stop(), 0)
        other = subprocess.run(program + ["--cluster-id", "0" * 31 + "1"], capture_output=True, text=True, timeout=20)
        self.assertEqual(other.returncode, 1)
        plain = subprocess.run(program[:3] + ["--listen", "0.0.0.0:0"], capture_output=True, text=True, timeout=20)
        self.assertEqual(plain.returncode, 1)
        self.assertIn("insecure", plain.stderr)


class Chunks(MasterTest):
    arguments = ("--server-dead-ms", "1000", "--lease-ms", "1500")

    def report(self):
        return self.client.settle("Report", fs.ReportRequest())

    def test_write_and_locate(self):
        self.add_servers(3, rack="r1")
        self.add_servers(3, rack="r2")
        made = self.client.create("/f", chunk_bytes=MIB)
        got = self.allocate(made, writer_host="h2")
        self.assertEqual(got.replicas[0].host, "h2")
        self.assertEqual([r.rack for r in got.replicas], ["r1", "r2", "r2"])
        for replica in got.replicas:
            self.by_id(replica.id).hold(got.chunk, MIB)
        self.fails("ERR_LEASE", Client(self.master).one, acquire_lease=fs.AcquireLease(path="/f"))
        second = self.allocate(made, offset=MIB, previous=got.chunk, previous_length=MIB)
        for replica in second.replicas:
            self.by_id(replica.id).hold(second.chunk, 100)
        self.client.close(made, chunk=second.chunk, length=100)
        found = self.client.locate("/f")
        self.assertEqual([(e.offset, e.length, e.open, len(e.replicas)) for e in found.extents],
                         [(0, MIB, False, 3), (MIB, 100, False, 3)])
        self.assertEqual({found.servers[i].id for i in found.extents[0].replicas}, {r.id for r in got.replicas})
        self.assertEqual(found.attributes.length, MIB + 100)
        self.assertEqual(self.report().chunk_count, 2)

    def test_create_with_a_first_chunk(self):
        self.add_servers(4)
        made = self.client.create("/f", first_chunk=True, writer_host="h2", servers=[1, 1, 1])
        self.assertEqual(len({r.id for r in made.replicas}), 3)
        self.assertEqual(made.replicas[0].host, "h2")
        self.assertTrue(self.client.locate("/f").extents[0].open)
        self.client.close(made, chunk=made.chunk, length=100)
        self.assertEqual(self.client.stat("/f").length, 100)
        empty = self.client.create("/empty", first_chunk=True, replication=2)
        self.assertEqual(len(empty.replicas), 2)
        self.client.close(empty, chunk=empty.chunk, length=0)
        self.assertEqual((self.client.stat("/empty").length, self.report().chunk_count), (0, 1))

    def test_few_servers(self):
        made = self.client.create("/f", first_chunk=True)
        self.assertEqual(made.chunk.id, 0)  # not waited for
        begun = time.monotonic()
        self.fails("ERR_FEW_SERVERS", self.allocate, made)
        self.assertGreater(time.monotonic() - begun, 1)
        waiting = threading.Thread(target=self.add_servers, args=(2,))
        waiting.start()  # comes while the allocation waits
        self.assertEqual(len(self.allocate(made).replicas), 2)
        waiting.join()

    def test_dead_server_is_replaced(self):
        self.add_servers(5)
        chunks = [self.write(f"/d/{i}", 1000 + i) for i in range(20)]
        wait_until(lambda: self.report().under_replicated == 0, "all replicas reported")
        dead = self.servers.pop(0)
        dead.stop()
        hit = {c.chunk.id for c in chunks if dead.id in [r.id for r in c.replicas]}
        self.assertTrue(hit)
        wait_until(lambda: hit <= {c for s in self.servers for c in s.copied}, "copies")
        wait_until(lambda: self.report().under_replicated == 0, "full replication")
        for i in range(20):
            found = self.client.locate(f"/d/{i}")
            self.assertEqual(len(found.extents[0].replicas), 3)
            self.assertNotIn(dead.id, [s.id for s in found.servers])
        # It comes back with its copies: surplus now, and deleted, but never below three.
        back = FakeServer.__new__(FakeServer)
        back.__dict__.update(dead.__dict__)
        back.stopped = threading.Event()
        back.serve()
        back.join()
        back.thread = threading.Thread(target=back.beat, daemon=True)
        back.thread.start()
        self.servers.append(back)

        def copies():
            return {c.chunk.id: sum(c.chunk.id in s.replicas for s in self.servers) for c in chunks}
        wait_until(lambda: set(copies().values()) == {3}, "surplus deleted")
        self.assertTrue(all(left >= 3 for s in self.servers for _, left in s.deleted))

    def test_delete_and_orphans(self):
        self.add_servers(3)
        got = self.write("/f", 500)
        self.client.one(delete=fs.Delete(path="/f"))
        wait_until(lambda: not any(s.replicas for s in self.servers), "replicas of a deleted file deleted")
        self.assertEqual(self.report().chunk_count, 0)
        self.servers[0].hold(cm.ChunkRef(id=got.chunk.id + 1000, version=1), 10)
        wait_until(lambda: not self.servers[0].replicas, "orphan deleted")

    def test_replication_changed(self):
        self.add_servers(4)
        self.write("/f", 500, replication=2)
        self.client.one(set_attributes=fs.SetAttributes(path="/f", fields=16, replication=4))
        wait_until(lambda: sum(len(s.replicas) for s in self.servers) == 4, "more copies")
        self.client.one(set_attributes=fs.SetAttributes(path="/f", fields=16, replication=1))
        wait_until(lambda: sum(len(s.replicas) for s in self.servers) == 1, "fewer copies")

    def recover(self, made, got, acked, blamed=()):
        return self.client.settle("RecoverChunk", fs.RecoverChunkRequest(
            inode=made.inode, lease_epoch=made.lease_epoch, chunk=got.chunk, acked_length=acked, blamed=blamed))

    def test_seal_and_go_on(self):
        self.add_servers(4)
        made = self.client.create("/f")
        got = self.allocate(made)
        for replica, length in zip(got.replicas, (300, 250, 100)):
            self.by_id(replica.id).hold(got.chunk, length, sealed=False)
        self.by_id(got.replicas[2].id).stop()
        self.servers.remove(self.by_id(got.replicas[2].id))
        sealed = self.recover(made, got, 200, [got.replicas[2].id])
        self.assertEqual((sealed.chunk.version, sealed.length), (got.chunk.version + 1, 250))
        self.assertEqual(self.recover(made, got, 200).length, 250)  # asked again
        more = self.allocate(made, offset=250, exclude=[got.replicas[2].id])
        self.assertNotIn(got.replicas[2].id, [r.id for r in more.replicas])
        for replica in more.replicas:
            self.by_id(replica.id).hold(more.chunk, 7)
        self.client.close(made, chunk=more.chunk, length=7)
        self.assertEqual(self.client.stat("/f").length, 257)
        wait_until(lambda: [len(e.replicas) for e in self.client.locate("/f").extents] == [3, 3],
                   "the sealed chunk has three copies again")

    def test_nothing_was_written(self):
        self.add_servers(3)
        made = self.client.create("/f")
        got = self.allocate(made)
        self.assertEqual(self.recover(made, got, 0).length, 0)
        self.assertEqual(len(self.client.locate("/f").extents), 0)
        self.client.close(made)

    def test_recovery_goes_on_after_a_crash(self):
        self.add_servers(3)
        made = self.client.create("/f")
        got = self.allocate(made)
        for replica in got.replicas:
            self.by_id(replica.id).hold(got.chunk, 100, sealed=False)
            self.by_id(replica.id).unclean = True
        lost = self.by_id(got.replicas[0].id)
        lost.server.stop(None).wait()  # no clean answer, and one that does not speak: it must wait
        asking = concurrent.futures.ThreadPoolExecutor(1).submit(self.recover, made, got, 100)
        wait_until(lambda: got.chunk.id in self.by_id(got.replicas[1].id).fenced, "fenced")
        self.master.kill()
        self.master.start()
        time.sleep(0.3)
        self.assertFalse(asking.done() and not asking.exception())
        lost.serve()
        lost.register()
        self.assertEqual(asking.result(30).length, 100)

    def test_lease_runs_out(self):
        self.add_servers(3)
        made = self.client.create("/f")
        got = self.allocate(made)
        for replica in got.replicas:
            self.by_id(replica.id).hold(got.chunk, 50, sealed=False)
        for _ in range(4):  # kept by renewing
            time.sleep(0.5)
            held = self.client.call("RenewLeases", fs.RenewLeasesRequest(
                leases=[fs.RenewLeasesRequest.Lease(inode=made.inode, epoch=made.lease_epoch)])).held
            self.assertEqual(list(held), [True])
        wait_until(lambda: not self.client.stat("/f").open, "the lease ends")
        self.assertEqual(self.client.stat("/f").length, 50)
        self.fails("ERR_STALE", self.allocate, made, offset=50)
        taken = self.client.one(acquire_lease=fs.AcquireLease(path="/f"))
        self.assertEqual(taken.length, 50)
        unnamed = self.client.create("")
        wait_until(lambda: self.gone(unnamed.inode), "the abandoned upload goes")

    def gone(self, inode):
        try:
            self.client.settle("Stat", fs.StatRequest(inode=inode))
            return False
        except Failed as e:
            return e.name == "ERR_NOT_FOUND"

    def test_restart_knows_everything_again(self):
        self.add_servers(4)
        self.write("/f", 500)
        self.master.kill()
        self.master.start()
        wait_until(lambda: len(self.client.locate("/f").extents[0].replicas) == 3, "replicas heard of")
        report = self.report()
        self.assertEqual((report.missing, report.under_replicated), (0, 0))


class Crash(MasterTest):
    arguments = ("--persist", "64K", "--no-audit")

    def test_kill_under_load(self):
        """Eight writers, ten kills. Every acknowledged change is there afterwards, every refused one is not, and no
        operation has run twice."""
        stop = threading.Event()
        acknowledged = [[] for _ in range(8)]
        problems = []

        def writer(number):
            client = Client(self.master)
            try:
                client.mkdir(f"/w{number}")
                i = 0
                while not stop.is_set():
                    name = f"/w{number}/f{i:06}"
                    client.close(client.create(name))  # a second run of either would be an error
                    if i % 3 == 0:
                        client.one(rename=fs.Rename(source=name, target=name + ".r"))
                        name += ".r"
                    if i % 5 == 0:
                        client.one(delete=fs.Delete(path=name))
                    else:
                        acknowledged[number].append(name.rpartition("/")[2])
                    i += 1
            except Exception as e:  # pylint: disable=broad-except
                problems.append(f"writer {number}: {e!r}")

        threads = [threading.Thread(target=writer, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        kills = 0
        for _ in range(10):
            before = sum(map(len, acknowledged))
            time.sleep(random.uniform(0.1, 0.4))
            self.master.process.send_signal(signal.SIGKILL)
            self.assertEqual(self.master.process.wait(), -signal.SIGKILL)
            kills += 1
            self.master.start()
            wait_until(lambda b=before: sum(map(len, acknowledged)) > b or problems, "work goes on")
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])
        self.assertEqual(kills, 10)
        for number in range(8):
            self.assertEqual(self.client.names(f"/w{number}"), sorted(acknowledged[number]))
        print(f"{sum(map(len, acknowledged))} files acknowledged over {kills} kills", file=sys.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
