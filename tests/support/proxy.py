"""A proxy before one Kafka broker that does harm to chosen requests.

It stands where the broker's PROXIED listener says that clients should connect (support/kafka.py),
cuts the stream into requests and answers, and forwards them. Of a request it reads the head only:
length, api key, version, correlation id. What harm is done to which requests is an Injection; each
works a given number of times and counts what it did.
"""

import socket
import struct
import threading
from collections import Counter

APIS = {"Produce": 0, "AddPartitionsToTxn": 24, "AddOffsetsToTxn": 25, "EndTxn": 26,
        "TxnOffsetCommit": 28}
NAMES = {key: name for name, key in APIS.items()}
FLEXIBLE_FROM = {"Produce": 9, "AddPartitionsToTxn": 4, "AddOffsetsToTxn": 3, "EndTxn": 3,
                 "TxnOffsetCommit": 3}
CODE_FIRST = ("AddOffsetsToTxn", "EndTxn")  # answers that are throttle time, error code

DROP = "the connection ends and the request is lost"
LOSE = "the request is done, the connection ends before its answer"
HOLD = "the request waits, and is lost in the end"
REFUSE = "the request is lost, its answer is an error code"
REPLACE = "the request is done, its answer becomes an error code"


class Ended(Exception):
    """A connection that is over."""


def read_frame(stream):
    """A request or an answer without its length."""
    size = stream.read(4)
    body = stream.read(struct.unpack(">i", size)[0]) if len(size) == 4 else b""
    if len(size) < 4 or len(body) < struct.unpack(">i", size)[0]:
        raise Ended
    return body


def error_place(api, version, answer):
    """Where the first error code stands in an answer (of the first partition of the first topic)."""
    flexible = version >= FLEXIBLE_FROM[api]
    at = 4 + flexible  # behind the correlation id, and a byte that says that there are no tags
    if api != "Produce":
        at += 4  # throttle time
    if api in CODE_FIRST:
        return at
    if flexible:  # count of topics, name, count of partitions: lengths in one byte, plus one
        at += 1
        at += answer[at] + 1
    else:
        at += 4
        at += 2 + struct.unpack_from(">h", answer, at)[0] + 4
    return at + 4  # behind the partition's number


class Injection:
    """Harm for the next `times` requests of an api."""

    def __init__(self, api, harm, code=0, times=1):
        assert harm != REFUSE or api in CODE_FIRST, f"an answer of {api} cannot be made up"
        self.api, self.harm, self.code = api, harm, code
        self.left = times
        self.done = 0
        self.ended = threading.Event()

    def __str__(self):
        return f"{self.api}: {self.harm}" + (f" {self.code}" if self.code else "")


class Connection:
    """One client's connection and ours to the broker, pumped by two threads."""

    def __init__(self, proxy, client, server):
        self.proxy = proxy
        self.sockets = (client, server)
        self.client, self.server = client, server
        self.promised = {}  # correlation id: (api, version, injection) of a request to be answered
        self.answering = threading.Lock()
        for pump in (self._requests, self._answers):
            threading.Thread(target=self._guarded, args=(pump,), daemon=True).start()

    def close(self):
        for each in self.sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is over already
            each.close()

    def _guarded(self, pump):
        try:
            pump()
        except (Ended, OSError, ValueError):  # ValueError: the other thread closed the file
            self.close()

    def _answer(self, frame):
        with self.answering:
            self.client.sendall(struct.pack(">i", len(frame)) + frame)

    def _requests(self):
        stream = self.client.makefile("rb")
        while True:
            frame = read_frame(stream)
            key, version, correlation = struct.unpack_from(">hhi", frame)
            api = NAMES.get(key)
            injection = self.proxy.harm_for(api)
            if injection is not None and injection.harm != REFUSE:
                self.promised[correlation] = (api, version, injection)
            if injection is None or injection.harm in (LOSE, REPLACE):
                self.server.sendall(struct.pack(">i", len(frame)) + frame)
            elif injection.harm == REFUSE:
                no_tags = b"\0" * (version >= FLEXIBLE_FROM[api])
                self._answer(struct.pack(">i", correlation) + no_tags
                             + struct.pack(">ih", 0, injection.code) + no_tags)
            else:
                if injection.harm == HOLD:
                    injection.ended.wait()
                raise Ended

    def _answers(self):
        stream = self.server.makefile("rb")
        while True:
            frame = read_frame(stream)
            api, version, injection = self.promised.pop(struct.unpack_from(">i", frame)[0],
                                                        (None, 0, None))
            if injection is not None and injection.harm == LOSE:
                raise Ended
            if injection is not None:
                at = error_place(api, version, frame)
                frame = frame[:at] + struct.pack(">h", injection.code) + frame[at + 2:]
            self._answer(frame)


class Proxy:
    """Use as a context manager. `seen` counts the requests of each api of APIS."""

    def __init__(self, broker):
        self.address = f"127.0.0.1:{broker.proxy}"
        self.inner = broker.inner
        self.seen = Counter()
        self.injections = []
        self.connections = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", broker.proxy))
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for injection in self.injections:
                injection.ended.set()
            for connection in self.connections:
                connection.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return  # closed
            try:
                server = socket.create_connection(("127.0.0.1", self.inner))
            except OSError:
                client.close()  # as the broker itself would refuse
                continue
            with self.lock:
                self.connections.append(Connection(self, client, server))

    def inject(self, api, harm, code=0, times=1):
        injection = Injection(api, harm, code, times)
        with self.lock:
            self.injections.append(injection)
        return injection

    def harm_for(self, api):
        """The injection that a request of an api meets now, or None."""
        with self.lock:
            if api is not None:
                self.seen[api] += 1
            for injection in self.injections:
                if injection.api == api and injection.left > 0:
                    injection.left -= 1
                    injection.done += 1
                    return injection
            return None
