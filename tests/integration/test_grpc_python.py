#!/usr/bin/python3
"""A client in another language: Debian's python3-grpcio calls our echo server with plain generated messages."""
import os
import subprocess
import sys
import tempfile
import threading
import unittest

try:
    import grpc
    import google.protobuf  # noqa: F401
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

SOURCE = os.environ.get("TRIREME_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = os.environ.get("TRIREME_BUILD", os.path.join(SOURCE, "build", "release"))
SERVER = os.path.join(BUILD, "bench", "rpc_bench")
WORK = tempfile.TemporaryDirectory(prefix="trireme-python-")


def run(*command):
    subprocess.run(command, check=True, cwd=WORK.name, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def make_certificates():
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run("openssl", "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca")
    with open(os.path.join(WORK.name, "ext"), "w") as f:
        f.write("subjectAltName=IP:127.0.0.1")
    for name in ("server", "bob"):
        run("openssl", "req", *key, "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name)
        run("openssl", "x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", "ext", "-out", name + ".pem")


def read(name):
    with open(os.path.join(WORK.name, name), "rb") as f:
        return f.read()


# Everything that forks comes before gRPC has threads.
run("protoc", "--python_out", WORK.name, "-I", SOURCE, os.path.join(SOURCE, "proto", "echo.proto"))
make_certificates()
sys.path.insert(0, WORK.name)
from proto import echo_pb2 as pb  # noqa: E402


class Server:
    def __init__(self, *arguments):
        self.process = subprocess.Popen([SERVER, "serve", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        cwd=WORK.name)
        self.address = "127.0.0.1:" + self.process.stdout.readline().decode().strip()

    def stop(self):
        self.process.stdin.close()
        code = self.process.wait(20)
        self.process.stdout.close()
        return code


class Stub:
    def __init__(self, channel):
        def kind(make, name, request, reply):
            return make("/trireme.v1.Echo/" + name, request_serializer=request.SerializeToString,
                        response_deserializer=reply.FromString)
        self.unary = kind(channel.unary_unary, "Unary", pb.EchoRequest, pb.EchoReply)
        self.client_stream = kind(channel.stream_unary, "ClientStream", pb.EchoMessage, pb.EchoReply)
        self.server_stream = kind(channel.unary_stream, "ServerStream", pb.EchoRequest, pb.EchoMessage)
        self.bidi = kind(channel.stream_stream, "Bidi", pb.EchoMessage, pb.EchoMessage)
        self.missing = kind(channel.unary_unary, "Missing", pb.EchoRequest, pb.EchoReply)


PLAIN = Server()
SECURE = Server("127.0.0.1:0", "ca.pem", "server.pem", "server.key")


class Plain(unittest.TestCase):
    def setUp(self):
        self.channel = grpc.insecure_channel(PLAIN.address, [("grpc.enable_http_proxy", 0)])
        self.stub = Stub(self.channel)

    def tearDown(self):
        self.channel.close()

    def refused(self, call, status, name):
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        error = caught.exception
        self.assertEqual(error.code(), status)
        metadata = dict(error.trailing_metadata())
        self.assertEqual(metadata.get("trireme-error"), name)
        return error, metadata

    def test_unary(self):
        reply = self.stub.unary(pb.EchoRequest(text="Grüße"), timeout=10)
        self.assertEqual(reply.text, "Grüße")

    def test_user(self):
        reply = self.stub.unary(pb.EchoRequest(text="who"), timeout=10, metadata=[("trireme-user", "python")])
        self.assertEqual((reply.user, reply.authenticated), ("python", False))

    def test_errors_have_their_names(self):
        request = pb.EchoRequest(error_name="ERR_NOT_LEADER", text="go there", leader="10.0.0.1:7000")
        error, metadata = self.refused(lambda: self.stub.unary(request, timeout=10), grpc.StatusCode.UNAVAILABLE,
                                       "ERR_NOT_LEADER")
        self.assertEqual(error.details(), "go there")
        self.assertEqual(metadata["trireme-leader"], "10.0.0.1:7000")
        self.refused(lambda: self.stub.missing(pb.EchoRequest(), timeout=10), grpc.StatusCode.UNIMPLEMENTED,
                     "ERR_UNSUPPORTED")

    def test_deadline(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.stub.unary(pb.EchoRequest(delay_ms=2000), timeout=0.1)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)

    def test_compressed_requests_are_read(self):
        reply = self.stub.unary(pb.EchoRequest(text="x" * 100000), timeout=10, compression=grpc.Compression.Gzip)
        self.assertEqual(len(reply.text), 100000)

    def test_client_stream(self):
        messages = (pb.EchoMessage(header=pb.EchoHeader(sequence=i), data=b"d" * 1000) for i in range(100))
        reply = self.stub.client_stream(messages, timeout=20)
        self.assertEqual((reply.count, reply.data_bytes), (100, 100000))

    def test_server_stream(self):
        messages = list(self.stub.server_stream(pb.EchoRequest(count=5, data_bytes=1 << 20), timeout=20))
        self.assertEqual([m.header.sequence for m in messages], [0, 1, 2, 3, 4])
        self.assertTrue(all(m.data == bytes(1 << 20) for m in messages))
        self.refused(lambda: list(self.stub.server_stream(pb.EchoRequest(error_name="ERR_SEALED"), timeout=10)),
                     grpc.StatusCode.FAILED_PRECONDITION, "ERR_SEALED")

    def test_bidi(self):
        sent = [pb.EchoMessage(header=pb.EchoHeader(sequence=i), data=os.urandom(i * 1000)) for i in range(50)]
        self.assertEqual(list(self.stub.bidi(iter(sent), timeout=20)), sent)

    def test_concurrent_calls(self):
        calls = [self.stub.unary.future(pb.EchoRequest(text=str(i)), timeout=20) for i in range(200)]
        self.assertEqual([c.result().text for c in calls], [str(i) for i in range(200)])

    def test_cancelled_stream(self):
        stop = threading.Event()

        def endless():
            while not stop.is_set():
                yield pb.EchoMessage(data=b"x")
        call = self.stub.bidi(endless(), timeout=20)
        next(call)
        call.cancel()
        stop.set()
        self.test_unary()


class Secure(unittest.TestCase):
    def call(self, credentials):
        with grpc.secure_channel(SECURE.address, credentials, [("grpc.enable_http_proxy", 0)]) as channel:
            return Stub(channel).unary(pb.EchoRequest(text="who"), timeout=5)

    def test_certificate_is_the_user(self):
        reply = self.call(grpc.ssl_channel_credentials(read("ca.pem"), read("bob.key"), read("bob.pem")))
        self.assertEqual((reply.user, reply.authenticated), ("bob", True))

    def test_no_certificate_is_refused(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.call(grpc.ssl_channel_credentials(read("ca.pem")))
        self.assertIn(caught.exception.code(), (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED))
        self.assertNotIn("trireme-error", dict(caught.exception.trailing_metadata() or ()))


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=1).result
    codes = [PLAIN.stop(), SECURE.stop()]
    WORK.cleanup()
    sys.exit(0 if result.wasSuccessful() and codes == [0, 0] else 1)
