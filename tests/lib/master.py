"""A file master of this build as a real process, and a client of its protocol, for integration tests."""
import os
import random
import subprocess
import tempfile
import time

import grpc

from chunks import BUILD
from chunks import fs_pb2 as fs


class Failed(Exception):
    """An outcome with an error name."""

    def __init__(self, name, text=""):
        super().__init__(f"{name}: {text}")
        self.name = name


def error_of(call):
    """ERR_NAME of a failed RPC; None when the outcome is unknown."""
    for key, value in call.trailing_metadata() or ():
        if key == "trireme-error":
            return value
    return None


class Master:
    """A process on a directory of its own, started again at the same address."""

    environment = None  # of the process, when it is not this one's

    def __init__(self, directory, *arguments):
        self.data = tempfile.mkdtemp(dir=directory)
        self.arguments = arguments
        self.address = "127.0.0.1:0"
        self.log_path = self.data + ".log"
        self.start()

    def start(self):
        receive, send = os.pipe()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(BUILD, "bin", "fsmaster"), "--data", self.data, "--listen", self.address,
                 "--superuser", "root", "--ready-fd", str(send), *self.arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(send,), env=self.environment)
        os.close(send)
        with os.fdopen(receive) as ready:
            line = ready.readline()
        if not line.startswith("ready "):
            raise RuntimeError("fsmaster did not start:\n" + self.log())
        self.address = line.split()[1]

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        return self.process.wait(30)


METHODS = {"Mutate": (fs.MutateRequest, fs.MutateReply), "Stat": (fs.StatRequest, fs.StatReply),
           "List": (fs.ListRequest, fs.ListReply), "Locate": (fs.LocateRequest, fs.LocateReply),
           "RenewLeases": (fs.RenewLeasesRequest, fs.RenewLeasesReply),
           "RecoverChunk": (fs.RecoverChunkRequest, fs.RecoverChunkReply),
           "Report": (fs.ReportRequest, fs.ReportReply), "RegisterServer": (fs.RegisterRequest, fs.RegisterReply),
           "Heartbeat": (fs.HeartbeatRequest, fs.HeartbeatReply),
           "ReportChunks": (fs.ReportChunksRequest, fs.ReportChunksReply)}


class Client:
    """One session. Every operation is sent until its outcome is known."""

    def __init__(self, master, user="root"):
        self.master = master
        self.user = user
        self.connect()
        self.session = random.getrandbits(63) | 1
        self.seq = 0

    def connect(self):
        """A new channel: grpcio's own back-off would outlast most tests."""
        if hasattr(self, "channel"):
            self.channel.close()
        self.channel = grpc.insecure_channel(self.master.address, options=[
            ("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)])
        self.stubs = {name: self.channel.unary_unary("/trireme.v1.FsMaster/" + name,
                                                     request_serializer=q.SerializeToString,
                                                     response_deserializer=a.FromString)
                      for name, (q, a) in METHODS.items()}

    def call(self, name, request, timeout=20):
        return self.stubs[name](request, timeout=timeout, metadata=(("trireme-user", self.user),))

    def settle(self, name, request, give_up_s=60):
        """Until the answer is definite. ERR_NOT_LEADER and unknown outcomes are asked again."""
        deadline = time.monotonic() + give_up_s
        while True:
            try:
                return self.call(name, request, timeout=5)
            except grpc.RpcError as e:
                error = error_of(e)
                if error not in (None, "ERR_NOT_LEADER", "ERR_BUSY") or time.monotonic() > deadline:
                    raise Failed(error, e.details()) from None
                if e.code() == grpc.StatusCode.UNAVAILABLE:
                    self.connect()
            time.sleep(0.02)

    def mutate(self, *operations):
        """Results of the operations, in order, without raising."""
        for operation in operations:
            self.seq += 1
            operation.seq = self.seq
        first = self.seq - len(operations) + 1
        request = fs.MutateRequest(session=self.session, acked_below=first, operations=operations)
        return list(self.settle("Mutate", request).results)

    def one(self, **kind):
        result, = self.mutate(fs.Operation(**kind))
        if result.outcome.error_name:
            raise Failed(result.outcome.error_name, result.outcome.error_text)
        return result

    def mkdir(self, path, parents=False):
        return self.one(mkdir=fs.Mkdir(path=path, parents=parents))

    def create(self, path, **more):
        return self.one(create=fs.Create(path=path, **more))

    def close(self, result, **more):
        return self.one(close=fs.Close(inode=result.inode, lease_epoch=result.lease_epoch, **more))

    def stat(self, path):
        return self.settle("Stat", fs.StatRequest(path=path)).attributes

    def names(self, path):
        found, after = [], ""
        while True:
            page = self.settle("List", fs.ListRequest(path=path, after=after, limit=7))
            found += [e.name for e in page.entries]
            if not page.more:
                return found
            after = found[-1]

    def locate(self, path):
        return self.settle("Locate", fs.LocateRequest(path=path))


def wait_until(true, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError("never came: " + what)
        time.sleep(0.02)
