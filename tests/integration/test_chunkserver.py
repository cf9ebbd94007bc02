#!/usr/bin/python3
"""Real chunkservers without a file master: chains, failures in the middle of them, fences, restarts, rot, copies."""
import concurrent.futures
import glob
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
try:
    import grpc
    from chunks import (BLOCK, CHUNK, MESSAGE, Append, FakeMaster, Server, block_crcs, chunk_pb2, common_pb2,
                        error_name, put, random_bytes, wait_until)
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)


class Fixture(unittest.TestCase):
    SERVERS = 3
    ARGS = ()

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="trireme-chunks-")
        self.servers = []
        self.addCleanup(self.clean)
        for number in range(1, self.SERVERS + 1):
            self.servers.append(Server(self.directory, number, *self.ARGS))

    def clean(self):
        statuses = [s.stop() for s in self.servers]
        failed = [s.log_text() for s, status in zip(self.servers, statuses) if status not in (0, -signal.SIGKILL)]
        shutil.rmtree(self.directory)
        self.assertEqual(failed, [], "a chunkserver ended badly")

    def check(self, server, chunk, data, **read):
        got, header = server.read(chunk, **read)
        self.assertEqual(len(got), len(data))
        self.assertTrue(got == data, f"server {server.id} has other bytes")
        return header


class TestWrite(Fixture):
    def test_sizes_are_byte_identical_on_all_replicas(self):
        sizes = [0, 1, 4096, BLOCK - 1, BLOCK, BLOCK + 1, MESSAGE - 1, MESSAGE, MESSAGE + 1, CHUNK - 1, CHUNK]
        for chunk, size in enumerate(sizes, 1):
            data = random_bytes(size)
            ack = put(self.servers, chunk, data)
            self.assertTrue(ack.sealed, ack)
            self.assertEqual((ack.written, ack.durable), (size, size))
            for server in self.servers:
                header = self.check(server, chunk, data)
                self.assertTrue(header.sealed)
                self.assertEqual(header.readable, size)
                self.assertEqual(server.stat(chunk).length, size)

    def test_odd_pieces_and_ranges(self):
        data = random_bytes(3 * MESSAGE + 12345)
        stream = Append(self.servers, 1)
        at = 0
        for length in (1, 999, BLOCK - 1000, 1, 70000, 10, MESSAGE - BLOCK, 3):
            stream.data(data, at, length, acked=stream.last.written)
            at += length
        stream.write(data, start=at)
        ack = stream.finish(len(data))
        self.assertTrue(ack.sealed, ack)
        for offset, length in ((0, 1), (BLOCK - 1, 2), (MESSAGE + 7, MESSAGE), (len(data) - 1, 0), (len(data), 0)):
            got, _ = self.servers[2].read(1, offset=offset, length=length)
            wanted = data[offset:] if length == 0 else data[offset:offset + length]
            self.assertTrue(got.startswith(wanted), (offset, length, len(got)))

    def test_retries_change_nothing(self):
        data = random_bytes(2 * MESSAGE)
        stream = Append(self.servers, 1)
        for offset, length in ((0, MESSAGE), (0, MESSAGE), (BLOCK, MESSAGE), (0, BLOCK), (MESSAGE, MESSAGE)):
            stream.data(data, offset, length)
        self.assertTrue(stream.finish(len(data)).sealed)
        for server in self.servers:
            self.check(server, 1, data)

    def test_finish_travels_with_the_last_bytes(self):
        for chunk, size in enumerate((1, 4096, BLOCK, BLOCK + 1, MESSAGE), 1):
            data = random_bytes(size)
            stream = Append(self.servers, chunk)
            stream.data(data, 0, size, finish=True)
            ack = stream.wait(lambda a: a.sealed or a.failure.error_name)
            self.assertTrue(ack.sealed, ack)
            self.assertEqual((ack.written, ack.durable), (size, size))
            for server in self.servers:
                self.check(server, chunk, data)
        stream = Append(self.servers, 99)
        stream.data(data, 0, BLOCK)
        stream.data(data, 0, BLOCK - 1, finish=True)
        ack = stream.wait(lambda a: a.sealed or a.failure.error_name)
        self.assertEqual((ack.failure.error_name, ack.blamed), ("ERR_INVALID", 0))

    def test_a_small_chunk_is_one_message(self):
        for chunk, size in enumerate((0, 1, 4096, BLOCK + 1, MESSAGE), 1):
            data = random_bytes(size)
            ack = Append(self.servers, chunk, first=data, finish=True).wait(lambda a: a.sealed or a.failure.error_name)
            self.assertTrue(ack.sealed, ack)
            for server in self.servers:
                self.check(server, chunk, data)
        data = random_bytes(2 * MESSAGE)
        stream = Append(self.servers, 9, first=data[:BLOCK])  # bytes, and more later
        stream.write(data, start=BLOCK)
        self.assertTrue(stream.finish(len(data)).sealed)
        self.check(self.servers[1], 9, data)
        ack = Append(self.servers, 9, first=data[:10], finish=True).wait(lambda a: a.failure.error_name)
        self.assertEqual(ack.failure.error_name, "ERR_SEALED")
        self.check(self.servers[1], 9, data)

    def test_second_open_is_refused(self):
        stream = Append(self.servers, 1, first=b"x")
        stream.put(chunk_pb2.AppendHeader(open=chunk_pb2.AppendOpen(chunk=common_pb2.ChunkRef(id=1, version=1))))
        ack = stream.wait(lambda a: a.failure.error_name)
        self.assertEqual((ack.failure.error_name, ack.blamed), ("ERR_INVALID", 0))

    def test_sealed_chunk_of_an_open_file_is_shown_only_if_it_cannot_be_given_up(self):
        """A writer that knows of no acknowledged byte gives the chunk up when the answer to its finish is lost."""
        data = random_bytes(2 * BLOCK)
        stream = Append(self.servers, 1)
        stream.data(data, 0, len(data), finish=True)
        self.assertTrue(stream.wait(lambda a: a.sealed or a.failure.error_name).sealed)
        self.assertEqual(self.servers[0].read(1, open_chunk=True)[1].readable, 0)
        self.assertEqual(self.servers[0].read(1)[1].readable, len(data))  # the master says that it is sealed
        stream = Append(self.servers, 2)
        stream.data(data, 0, BLOCK)
        stream.wait(lambda a: a.written == BLOCK)
        stream.data(data, BLOCK, BLOCK, acked=BLOCK, finish=True)
        self.assertTrue(stream.wait(lambda a: a.sealed or a.failure.error_name).sealed)
        self.assertEqual(self.servers[0].read(2, open_chunk=True)[1].readable, len(data))

    def test_small_writes_move_from_the_index_to_a_file(self):
        data = random_bytes(BLOCK + 500)
        stream = Append(self.servers, 1)
        for at in range(0, len(data), 1000):
            stream.data(data, at, min(1000, len(data) - at))
            if at % 5000 == 0:
                stream.wait(lambda a, at=at: a.written > at)
        self.assertTrue(stream.finish(len(data)).sealed)
        for server in self.servers:
            self.check(server, 1, data)

    def test_many_writers_at_once(self):
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            blobs = {c: random_bytes(c * 37777 % (3 * MESSAGE), seed=c) for c in range(1, 49)}
            acks = list(pool.map(lambda item: put(self.servers, *item), blobs.items()))
        self.assertTrue(all(a.sealed for a in acks))
        for chunk, data in blobs.items():
            self.check(self.servers[chunk % 3], chunk, data)

    def test_corrupted_message_is_refused_and_nobody_blamed(self):
        data = random_bytes(MESSAGE)
        stream = Append(self.servers, 1)
        stream.data(data, 0, BLOCK)
        stream.wait(lambda a: a.written == BLOCK)
        wrong = block_crcs(data, BLOCK, BLOCK)
        wrong[0] ^= 1
        stream.data(data, BLOCK, BLOCK, crcs=wrong)
        ack = stream.wait(lambda a: a.failure.error_name)
        self.assertEqual((ack.failure.error_name, ack.blamed, ack.written), ("ERR_CORRUPT", 0, BLOCK))

    def test_gap_and_overflow_are_refused(self):
        data = random_bytes(MESSAGE)
        for chunk, offset in ((1, 1), (2, CHUNK - 10)):
            stream = Append(self.servers, chunk)
            stream.data(bytes(offset % BLOCK) + data, offset % BLOCK, 100)
            ack = stream.wait(lambda a: a.failure.error_name)
            self.assertEqual((ack.failure.error_name, ack.blamed), ("ERR_INVALID", 0))

    def test_second_writer_and_wrong_version_are_refused(self):
        first = Append(self.servers, 1)
        first.data(b"x", 0, 1)
        first.wait(lambda a: a.written == 1)
        second = Append(self.servers, 1).wait(lambda a: a.failure.error_name)
        self.assertEqual(second.failure.error_name, "ERR_BUSY")
        self.assertTrue(first.finish(1).sealed)
        later = Append(self.servers, 1).wait(lambda a: a.failure.error_name)
        self.assertEqual(later.failure.error_name, "ERR_SEALED")
        other = Append(self.servers, 1, version=2).wait(lambda a: a.failure.error_name)
        self.assertEqual(other.failure.error_name, "ERR_STALE")


class TestWatermark(Fixture):
    def test_readers_see_only_what_all_replicas_acknowledged(self):
        data = random_bytes(MESSAGE)
        stream = Append(self.servers, 1)
        stream.data(data, 0, 100000)
        stream.wait(lambda a: a.written == 100000)
        self.assertEqual(self.servers[2].read(1)[1].readable, 0)  # acknowledged, but the replica does not know yet
        stream.data(data, 100000, 0, acked=100000)
        wait_until(lambda: self.servers[2].stat(1).acked == 100000)
        stream.data(data, 100000, 50000)
        stream.wait(lambda a: a.written == 150000)
        for server in self.servers:
            header = self.check(server, 1, data[:100000])
            self.assertFalse(header.sealed)

    def test_reader_waits_for_what_it_has_seen(self):
        data = random_bytes(MESSAGE)
        stream = Append(self.servers, 1)
        stream.data(data, 0, 1000)
        stream.wait(lambda a: a.written == 1000)
        with self.assertRaises(grpc.RpcError) as refused:
            self.servers[1].read(1, seen=1000)
        self.assertEqual(error_name(refused.exception), "ERR_UNAVAILABLE")
        threading.Timer(0.05, lambda: stream.data(data, 1000, 0, acked=1000)).start()
        self.check(self.servers[1], 1, data[:1000], seen=1000)

    def test_sync_is_durable_without_sealing(self):
        data = random_bytes(MESSAGE)
        stream = Append(self.servers, 1)
        stream.data(data, 0, 1000, sync=True)
        self.assertEqual(stream.wait(lambda a: a.durable == 1000).durable, 1000)
        stream.data(data, 1000, 200000, sync=True)
        self.assertEqual(stream.wait(lambda a: a.durable == 201000).durable, 201000)
        self.assertFalse(stream.last.sealed)


class TestFailures(Fixture):
    def stream_until(self, stream, data, stop):
        writer = threading.Thread(target=lambda: stream.write(data), daemon=True)
        writer.start()
        stream.wait(lambda a: a.written >= 2 * MESSAGE)
        stop()
        ack = stream.wait(lambda a: a.failure.error_name or a.written == len(data))
        writer.join(30)
        return ack

    def test_killed_middle_hop_is_named(self):
        data = random_bytes(CHUNK)
        ack = self.stream_until(Append(self.servers, 1), data, self.servers[1].kill)
        self.assertEqual(ack.blamed, 2, ack)
        self.assertGreaterEqual(ack.written, 2 * MESSAGE)
        for server in (self.servers[0], self.servers[2]):
            wait_until(lambda s=server: s.stat(1).length >= ack.written)

    def test_stopped_last_hop_is_named_and_the_middle_one_is_not(self):
        data = random_bytes(CHUNK)
        last = self.servers[2].process
        start = time.monotonic()
        try:
            ack = self.stream_until(Append(self.servers, 1), data, lambda: last.send_signal(signal.SIGSTOP))
        finally:
            last.send_signal(signal.SIGCONT)
        self.assertEqual(ack.blamed, 3, ack)
        self.assertIn(ack.failure.error_name, ("ERR_TIMEOUT", "ERR_UNAVAILABLE"))  # ours, or the connection's keepalive
        self.assertLess(time.monotonic() - start, 15)

    def test_dead_next_hop_is_named_at_once(self):
        self.servers[1].kill()
        start = time.monotonic()
        stream = Append(self.servers, 1)
        stream.data(b"x", 0, 1)
        ack = stream.wait(lambda a: a.failure.error_name)
        self.assertEqual(ack.blamed, 2, ack)
        self.assertLess(time.monotonic() - start, 4)

    def test_fence_ends_the_stream_and_covers_what_was_acknowledged(self):
        data = random_bytes(CHUNK)
        stream = Append(self.servers, 1)
        answers = []

        def fence():
            with concurrent.futures.ThreadPoolExecutor(3) as pool:
                answers.extend(pool.map(lambda s: s.fence(1, 1, 2), self.servers))

        ack = self.stream_until(stream, data, fence)
        self.assertTrue(all(a.found and a.clean for a in answers), answers)
        length = min(a.length for a in answers)
        self.assertGreaterEqual(length, stream.last.written)
        self.assertEqual((ack.failure.error_name, ack.blamed), ("ERR_FENCED", 0), ack)
        self.assertEqual([s.fence(1, 1, 2) for s in self.servers], answers, "a repeated fence answers the same")
        for server in self.servers:
            self.assertTrue(server.seal(1, 2, length, 2).kept)
            self.assertTrue(server.seal(1, 2, length, 2).kept)
            header = self.check(server, 1, data[:length], version=2)
            self.assertTrue(header.sealed)
        late = Append(self.servers, 1, version=1, create=False).wait(lambda a: a.failure.error_name)
        self.assertEqual(late.failure.error_name, "ERR_FENCED")

    def test_lower_terms_are_refused_also_after_a_restart(self):
        server = self.servers[0]
        put([server], 1, b"abc")
        server.fence(1, 1, 2, term=7)
        server.kill()
        server.start()
        with self.assertRaises(grpc.RpcError) as refused:
            server.fence(1, 1, 3, term=6)
        self.assertEqual(error_name(refused.exception), "ERR_STALE")
        self.assertTrue(server.fence(1, 1, 3, term=7).found)
        self.assertFalse(server.fence(99, 1, 2, term=7).found)

    def test_fenced_chunk_is_not_begun_at_an_old_version(self):
        """Nobody will look for it again: the fence has answered that it is not here."""
        for version in (1, 2):
            chunk = version
            self.assertFalse(self.servers[1].fence(chunk, version, 3).found)
            late = Append(self.servers, chunk, version=version, first=b"late", finish=True)
            ack = late.wait(lambda a: a.failure.error_name or a.sealed)
            self.assertEqual((ack.failure.error_name, ack.blamed, ack.written), ("ERR_FENCED", 0, 0), ack)
            with self.assertRaises(grpc.RpcError) as refused:
                self.servers[1].stat(chunk)
            self.assertEqual(error_name(refused.exception), "ERR_NOT_FOUND")
            self.assertTrue(put(self.servers[1:2], chunk, b"in time", version=3).sealed)

    def test_damaged_replica_is_not_clean(self):
        data = random_bytes(3 * MESSAGE)
        server = self.servers[0]
        stream = Append([server], 1)
        stream.write(data)
        stream.wait(lambda a: a.written == len(data))
        stream.data(data, len(data), 0, acked=len(data))
        wait_until(lambda: server.stat(1).acked == len(data))
        flip(chunk_file(server, 1), MESSAGE + 5)
        with self.assertRaises(grpc.RpcError) as refused:
            server.read(1)
        self.assertEqual(error_name(refused.exception), "ERR_CORRUPT")
        answer = server.fence(1, 1, 2)
        self.assertEqual((answer.found, answer.length, answer.clean), (True, MESSAGE, False))
        answer = server.fence(1, 1, 2)
        self.assertEqual((answer.found, answer.length, answer.clean), (True, MESSAGE, False))

    def test_reader_of_a_block_that_a_seal_cuts(self):
        """It knows the checksum of the block as it was, and the block is shorter when it comes there."""
        data = random_bytes(15 * MESSAGE + 50000)
        shown, cut = 15 * MESSAGE + 100, 15 * MESSAGE + 200
        server = self.servers[0]
        stream = Append([server], 1)
        stream.write(data)
        stream.wait(lambda a: a.written == len(data))
        stream.data(data, len(data), 0, acked=shown)
        wait_until(lambda: server.stat(1).acked == shown)
        reading = server.channel.unary_stream("/trireme.v1.Chunkserver/Read",
                                              request_serializer=chunk_pb2.ReadRequest.SerializeToString,
                                              response_deserializer=chunk_pb2.ReadMessage.FromString)
        messages = reading(chunk_pb2.ReadRequest(chunk=common_pb2.ChunkRef(id=1)), timeout=60)
        got = next(messages).data  # and the others wait until they are asked for
        self.assertTrue(server.fence(1, 1, 2).clean)
        self.assertTrue(server.seal(1, 2, cut, 2).kept)
        got += b"".join(m.data for m in messages)
        self.assertTrue(got == data[:shown], len(got))
        self.assertTrue(server.seal(1, 2, cut, 2).kept, "it is not damaged")

    def test_killed_replica_keeps_acknowledged_bytes_and_is_unclean(self):
        for chunk, size in ((1, 5 * MESSAGE + 100), (2, 700)):
            data = random_bytes(size)
            stream = Append(self.servers, chunk)
            stream.write(data)
            stream.wait(lambda a, size=size: a.written == size)
            stream.data(data, size, 0, acked=size)
        time.sleep(0.2)
        server = self.servers[1]
        server.kill()
        server.start()
        for chunk, size in ((1, 5 * MESSAGE + 100), (2, 700)):
            stat = server.stat(chunk)
            self.assertEqual((stat.length, stat.clean, stat.sealed), (size, False, False))
            refused = Append([server], chunk, create=False).wait(lambda a: a.failure.error_name)
            self.assertEqual(refused.failure.error_name, "ERR_UNCLEAN")
            answer = server.fence(chunk, 1, 2)
            self.assertEqual((answer.found, answer.length, answer.clean), (True, size, False))
            self.assertTrue(server.seal(chunk, 2, size, 2).kept)
            self.check(server, chunk, random_bytes(size))

    def test_unclean_replica_answers_with_the_prefix_that_verifies(self):
        data = random_bytes(5 * MESSAGE)
        stream = Append(self.servers, 1)
        stream.write(data)
        stream.wait(lambda a: a.written == len(data))
        server = self.servers[2]
        server.kill()
        flip(chunk_file(server, 1), 3 * MESSAGE + 5)
        server.start()
        answer = server.fence(1, 1, 2)
        self.assertEqual((answer.length, answer.clean), (3 * MESSAGE, False))
        self.assertFalse(server.seal(1, 2, 4 * MESSAGE, 2).kept)
        self.assertTrue(server.seal(1, 2, 2 * MESSAGE + 100, 2).kept)
        self.check(server, 1, data[:2 * MESSAGE + 100])
        aside = glob.glob(os.path.join(server.data, "trash", "*"))
        self.assertEqual([os.path.getsize(f) for f in aside], [len(data)], "the rest is set aside, not cut")

    def test_replica_that_missed_the_fence_is_adopted(self):
        data = random_bytes(2 * MESSAGE)
        stream = Append(self.servers, 1)
        stream.write(data)
        stream.wait(lambda a: a.written == len(data))
        self.servers[0].fence(1, 1, 2)
        self.assertTrue(self.servers[2].seal(1, 2, MESSAGE, 1).kept)
        self.check(self.servers[2], 1, data[:MESSAGE], version=2)
        self.assertFalse(self.servers[1].seal(1, 2, 3 * MESSAGE, 1).kept)

    def test_sealed_chunks_survive_kills(self):
        blobs = {c: random_bytes(c * 9973, seed=c) for c in range(1, 60)}
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            self.assertTrue(all(a.sealed for a in pool.map(lambda item: put(self.servers, *item), blobs.items())))
        for server in self.servers:
            server.kill()
            server.start()
        for chunk, data in blobs.items():
            self.check(self.servers[chunk % 3], chunk, data)


def chunk_file(server, chunk):
    return os.path.join(server.data, "chunks", f"{chunk % 256:02x}", f"{chunk:016x}")


def flip(path, offset):
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)[0]
        f.seek(offset)
        f.write(bytes([byte ^ 0x10]))


def unfinished_copies(server):
    return glob.glob(os.path.join(server.data, "chunks", "*", "*.copy"))


class HalfSource:
    """A holder of sealed chunk 1 that sends its first message of each read, and no more; until `end` is set it says that
    it is alive and does not end the read."""

    def __init__(self, data):
        self.data = data
        self.end = threading.Event()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("trireme.v1.Chunkserver", {
            "Read": grpc.unary_stream_rpc_method_handler(
                self.read, request_deserializer=chunk_pb2.ReadRequest.FromString,
                response_serializer=chunk_pb2.ReadMessage.SerializeToString)}),))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def proto(self):
        return common_pb2.Server(id=99, host="half", address=f"127.0.0.1:{self.port}")

    def message(self, offset, data):
        return chunk_pb2.ReadMessage(header=chunk_pb2.ReadHeader(
            offset=offset, readable=len(self.data), sealed=True, version=1, block_crcs=block_crcs(data, 0, len(data))), data=data)

    def read(self, request, context):
        yield self.message(0, self.data[:MESSAGE])
        while not self.end.wait(1):
            yield self.message(MESSAGE, b"")

    def stop(self):
        self.end.set()
        self.server.stop(0).wait()


class TestCare(Fixture):
    SERVERS = 4
    ARGS = ("--trash-time", "1s")

    def start_half_copy(self, pool):
        """-> the source, the command's future. Bytes of the copy are in its file, and more are awaited."""
        source = HalfSource(random_bytes(3 * MESSAGE))
        self.addCleanup(source.stop)
        server = self.servers[3]
        copying = pool.submit(server.copy, 1, 1, len(source.data), source)
        wait_until(lambda: [os.path.getsize(f) for f in unfinished_copies(server)] == [MESSAGE], what="half a copy")
        return source, copying

    def test_copy_that_a_kill_ends_is_removed_at_the_next_start(self):
        data = random_bytes(2 * MESSAGE)
        server = self.servers[3]
        put([server], 2, data)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            _, copying = self.start_half_copy(pool)
            server.kill()
            with self.assertRaises(grpc.RpcError):
                copying.result(30)
        self.assertEqual(len(unfinished_copies(server)), 1, "the kill came in the midst of a copy")
        server.start()
        self.assertEqual(unfinished_copies(server), [])
        self.assertIn("unfinished copies removed", server.log_text())
        self.check(server, 2, data)

    def test_copy_that_is_given_up_is_removed(self):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            source, copying = self.start_half_copy(pool)
            source.end.set()
            with self.assertRaises(grpc.RpcError):
                copying.result(30)
        self.assertEqual(unfinished_copies(self.servers[3]), [])

    def test_copy_from_a_holder(self):
        for chunk, size in ((1, 0), (2, 100), (3, 3 * MESSAGE + 17)):
            data = random_bytes(size)
            put(self.servers[:3], chunk, data)
            self.servers[3].copy(chunk, 1, size, self.servers[0], self.servers[1])
            self.servers[3].copy(chunk, 1, size, self.servers[0])  # here already
            self.servers[3].kill()
            self.servers[3].start()
            header = self.check(self.servers[3], chunk, data)
            self.assertTrue(header.sealed)

    def test_copy_goes_on_with_the_next_source(self):
        data = random_bytes(3 * MESSAGE)
        put(self.servers[:3], 1, data)
        flip(chunk_file(self.servers[0], 1), MESSAGE + 100)
        self.servers[1].kill()
        self.servers[3].copy(1, 1, len(data), *self.servers[:3])
        self.check(self.servers[3], 1, data)
        with self.assertRaises(grpc.RpcError):
            self.servers[3].copy(2, 1, 100, self.servers[0])
        self.servers[1].start()

    def test_rot_is_found_by_a_read_and_repaired_by_a_copy(self):
        data = random_bytes(3 * MESSAGE)
        put(self.servers[:3], 1, data)
        flip(chunk_file(self.servers[0], 1), 2 * MESSAGE)
        self.servers[0].read(1, length=MESSAGE)
        with self.assertRaises(grpc.RpcError) as refused:
            self.servers[0].read(1)
        self.assertEqual(error_name(refused.exception), "ERR_CORRUPT")
        self.servers[0].copy(1, 1, len(data), self.servers[1])
        self.check(self.servers[0], 1, data)

    def test_what_does_not_verify_is_looked_at_again_before_it_is_called_damaged(self):
        data = random_bytes(2 * MESSAGE)
        server = self.servers[0]
        stream = Append([server], 1)
        stream.write(data)
        stream.wait(lambda a: a.written == len(data))
        stream.data(data, len(data), 0, acked=len(data))
        wait_until(lambda: server.stat(1).acked == len(data))
        flip(chunk_file(server, 1), 5)
        with self.assertRaises(grpc.RpcError) as refused:
            server.read(1)
        self.assertEqual(error_name(refused.exception), "ERR_CORRUPT")
        flip(chunk_file(server, 1), 5)  # as if it had been replaced
        self.assertTrue(stream.finish(len(data)).sealed)
        self.assertTrue(server.seal(1, 1, len(data), 0).kept, "comes after those who wanted the chunk before")
        self.assertEqual(server.checksum(1).length, len(data))
        self.assertNotIn("chunk is damaged", server.log_text())

    def test_interrupted_deletion_is_finished_at_the_next_start(self):
        server = Server(self.directory, 9, "--trash-time", "1h")
        self.servers.append(server)
        for chunk in (1, 2):
            put([server], chunk, random_bytes(MESSAGE))
        server.delete((1, 1), (2, 1))
        server.kill()
        for chunk in (1, 2):  # as if the renames had not been
            os.rename(os.path.join(server.data, "trash", f"{chunk:016x}.1"), chunk_file(server, chunk))
        server.start()
        for chunk in (1, 2):
            self.assertFalse(os.path.exists(chunk_file(server, chunk)), "before the server serves")
        self.assertEqual(len(os.listdir(os.path.join(server.data, "trash"))), 2)

    def test_delete_waits_in_the_trash(self):
        data = random_bytes(MESSAGE)
        server = self.servers[0]
        put([server], 1, data)
        put([server], 2, b"small")
        put([server], 3, data, version=5)
        reply = server.delete((1, 1), (2, 3), (3, 4), (4, 1))
        self.assertEqual(sorted(r.id for r in reply.deleted), [1, 2])
        for chunk in (1, 2):
            with self.assertRaises(grpc.RpcError) as gone:
                server.read(chunk)
            self.assertEqual(error_name(gone.exception), "ERR_NOT_FOUND")
        self.assertEqual(len(os.listdir(os.path.join(server.data, "trash"))), 1)
        server.kill()
        server.start()
        wait_until(lambda: not os.listdir(os.path.join(server.data, "trash")), what="empty trash")
        self.check(server, 3, data)

    def test_local_read_passes_a_descriptor(self):
        data = random_bytes(2 * MESSAGE + 5)
        server = self.servers[0]
        put([server], 1, data)
        put([server], 2, b"small")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.connect(os.path.join(server.data, "local.sock"))
            for _ in range(3):
                code, version, length, crcs, fds = ask(s, 1, 1)
                self.assertEqual((code, version, length), (0, 1, len(data)))
                self.assertEqual(crcs, block_crcs(data, 0, len(data)))
                self.assertEqual(os.pread(fds[0], length, 0), data)
                with self.assertRaises(OSError):
                    os.write(fds[0], b"x")
                os.close(fds[0])
            self.assertEqual(ask(s, 2, 1)[0], 29)  # inline: ERR_UNSUPPORTED
            self.assertEqual(ask(s, 1, 2)[0], 20)  # ERR_STALE
            self.assertEqual(ask(s, 9, 0)[0], 2)   # ERR_NOT_FOUND
            s.send(b"garbage")
            self.assertEqual(s.recv(100), b"", "cut off")

    def test_checksums_without_bytes(self):
        for chunk, size in enumerate([0, 1, BLOCK, BLOCK + 1, 2 * MESSAGE + 5, CHUNK], 1):
            data = random_bytes(size)
            put(self.servers, chunk, data)
            for server in self.servers:
                kept = server.checksum(chunk, 1)
                self.assertEqual((kept.length, kept.version), (size, 1))
                self.assertEqual(list(kept.block_crcs), block_crcs(data, 0, size))
        for chunk, version, name in [(99, 0, "ERR_NOT_FOUND"), (1, 2, "ERR_STALE"), (0, 0, "ERR_INVALID")]:
            with self.assertRaises(grpc.RpcError) as refused:
                self.servers[0].checksum(chunk, version)
            self.assertEqual(error_name(refused.exception), name)
        stream = Append(self.servers, 50)
        stream.write(random_bytes(10))
        self.assertEqual(stream.wait(lambda a: a.written == 10).written, 10)
        with self.assertRaises(grpc.RpcError) as refused:
            self.servers[0].checksum(50)
        self.assertEqual(error_name(refused.exception), "ERR_BUSY")
        stream.close()

    def test_full_server_says_so(self):
        small = Server(self.directory, 9, "--capacity", "1M")
        self.servers.append(small)
        self.assertTrue(put([small], 1, random_bytes(MESSAGE)).sealed)
        stream = Append([self.servers[0], small], 2)
        stream.data(b"x", 0, 1)
        ack = stream.wait(lambda a: a.failure.error_name)
        self.assertEqual((ack.failure.error_name, ack.blamed), ("ERR_NO_SPACE", 9))


def ask(s, chunk, version):
    s.send(b"TRL1" + struct.pack("<QQ", chunk, version))
    packet, fds, _, _ = socket.recv_fds(s, 1 << 18, 1)
    magic, code, version, length, count = struct.unpack_from("<4sIQQI", packet)
    assert magic == b"TRL1"
    return code, version, length, list(struct.unpack_from(f"<{count}I", packet, 28)), fds


class TestScrub(Fixture):
    SERVERS = 1
    ARGS = ("--scrub-rate", "64M")

    def test_scrub_finds_rot(self):
        server = self.servers[0]
        put([server], 1, random_bytes(2 * MESSAGE))
        put([server], 2, random_bytes(2 * MESSAGE))
        flip(chunk_file(server, 2), MESSAGE + 77)
        wait_until(lambda: "chunk is damaged chunk=2" in server.log_text(), what="damage found")
        self.assertNotIn("damaged chunk=1", server.log_text())


class TestReports(Fixture):
    SERVERS = 0

    def test_masters_hear_everything_sooner_or_later(self):
        masters = [FakeMaster(), FakeMaster()]
        server = Server(self.directory, 1, masters=",".join(m.address for m in masters))
        self.servers.append(server)
        data = random_bytes(2 * MESSAGE)
        put([server], 1, data)
        for m in masters:
            wait_until(lambda m=m: m.sees(1, length=len(data), sealed=True, damaged=False))
            self.assertEqual(m.known[1].address, server.address)
            m.refuse = 5
        put([server], 2, b"abc")
        flip(chunk_file(server, 1), 5)
        with self.assertRaises(grpc.RpcError):
            server.read(1)
        for m in masters:
            wait_until(lambda m=m: m.sees(2, sealed=True) and m.sees(1, damaged=True))
        masters[1].forget()  # restarted: registers again and gets the full list
        wait_until(lambda: masters[1].sees(2, sealed=True) and masters[1].sees(1, damaged=True))
        server.unary("DeleteChunks", chunk_pb2.DeleteChunksRequest(
            term=1, cluster_id="a" * 32, items=[dict(chunk=dict(id=2, version=1))]))
        for m in masters:
            wait_until(lambda m=m: not m.sees(2))
        with self.assertRaises(grpc.RpcError) as refused:
            server.fence(1, 1, 2)
        self.assertEqual(error_name(refused.exception), "ERR_WRONG_CLUSTER")
        server.kill()
        server.start()
        for m in masters:
            wait_until(lambda m=m: m.starts[-1] == 2 and m.sees(1, damaged=True))
            m.server.stop(0)

    def test_terms_of_all_masters_are_heard_and_told(self):
        """A deposed leader is refused before its successor has ordered anything."""
        masters = [FakeMaster(), FakeMaster()]
        masters[0].term = 7
        server = Server(self.directory, 1, masters=",".join(m.address for m in masters))
        self.servers.append(server)
        server.cluster = "a" * 32
        put([server], 1, b"abc")

        def told(term):
            wait_until(lambda: all(m.last.term == term for m in masters), what=f"term {term} is told")

        told(7)
        for term in (7, 9):
            masters[1].term = max(masters[1].term, term)
            told(term)
            with self.assertRaises(grpc.RpcError) as refused:
                server.delete((1, 1), term=term - 1)
            self.assertEqual(error_name(refused.exception), "ERR_STALE")
        self.assertEqual(len(server.delete((1, 1), term=9).deleted), 1)
        for m in masters:
            m.server.stop(0)

    def test_directory_of_another_cluster_is_refused(self):
        master = FakeMaster()
        server = Server(self.directory, 1, masters=master.address)
        self.servers.append(server)
        self.assertEqual(server.stop(), 0)
        master.wrong_cluster = True
        with self.assertRaises(AssertionError) as refused:
            server.start()
        self.assertIn("cluster", str(refused.exception))
        server.process.wait(10)
        self.assertEqual(server.process.returncode, 1)
        self.servers.clear()
        master.server.stop(0)

    def test_directory_in_use_is_refused(self):
        self.servers.append(Server(self.directory, 1))
        with self.assertRaises(AssertionError):
            Server(self.directory, 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
