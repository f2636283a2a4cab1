# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""Mixed requests over HTTP/1.1 and HTTP/2 with bodies of 0 B to 8 MiB whose ids and hashes the client checks, while backends are killed and
restarted (promises P7, P8, P14): no wrong answer, no truncated body taken for whole, no POST delivered twice, nothing left over.

    storm.py [REQUESTS]      100,000 by default"""
import hashlib
import multiprocessing
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from lab import Checks, Lab, free_port, wait_for
from storm_backend import body_for

HERE = os.path.dirname(os.path.abspath(__file__))
SEED = int(os.environ.get("HOLDFAST_SEED", "1"))


def choose(rng, index, who):
    """One request: id, method, body, size of the answer, framing of the answer."""
    draw = rng.random()
    size = 0 if draw < 0.1 else rng.randrange(1, 3000) if draw < 0.93 else rng.randrange(3000, 200_000) if draw < 0.999 else rng.randrange(1 << 20, 8 << 20)
    draw = rng.random()
    upload = 0 if draw < 0.6 else rng.randrange(1, 3000) if draw < 0.95 else rng.randrange(3000, 200_000) if draw < 0.9995 else rng.randrange(1 << 20, 8 << 20)
    method = "GET" if upload == 0 and rng.random() < 0.8 else rng.choice(["POST", "PUT"])
    identifier = f"{who}-{index}"
    framing = "length" if rng.random() < 0.8 else rng.choice(["chunked", "close"])
    return identifier, method, body_for(identifier + "u", upload), size, framing


class Tally(dict):
    def add(self, word):
        self[word] = self.get(word, 0) + 1


def judge(tally, request, status, headers, body, whole):
    identifier, _, sent, size, framing = request
    if status != 200:
        tally.add("refused" if headers.get("x-holdfast-reason") else "WRONG: an answer that is nobody's")
    elif headers.get("x-storm-id") != identifier:
        tally.add("WRONG: another's answer")
    elif headers.get("x-storm-hash") != hashlib.sha1(sent).hexdigest():
        tally.add("WRONG: the upload arrived changed")
    elif not whole:
        tally.add("cut short, and told so")
    elif framing == "close" and len(body) < size and body == body_for(identifier, size)[:len(body)]:
        # In clear, the end of a killed backend's close-delimited body looks like any other: nobody can tell (RFC 9112 §8).
        tally.add("cut short where only the close says it")
    elif body != body_for(identifier, size):
        tally.add(f"WRONG: a body that is not whole or not its own ({framing}, {len(body)} of {size})")
    else:
        tally.add("good")


class Cut(Exception):
    pass


class HTTP1:
    """A strict client on one keep-alive connection."""

    def __init__(self, port, tls):
        self.port, self.tls, self.sock = port, tls, None

    def connect(self):
        raw = socket.create_connection(("127.0.0.1", self.port), 60)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self.tls.wrap_socket(raw, server_hostname="localhost") if self.tls else raw
        self.buffer = b""

    def more(self):
        got = self.sock.recv(262144)
        if not got:
            raise Cut()
        self.buffer += got

    def until(self, mark):
        while mark not in self.buffer:
            self.more()
        piece, self.buffer = self.buffer.split(mark, 1)
        return piece

    def exactly(self, n):
        parts, left = [], n
        while left > 0:
            if not self.buffer:
                self.more()
            piece = self.buffer[:left]
            self.buffer = self.buffer[left:]
            parts.append(piece)
            left -= len(piece)
        return b"".join(parts)

    def ask(self, tally, rng, request):
        identifier, method, sent, size, framing = request
        if self.sock is None:
            self.connect()
        head = f"{method} /storm HTTP/1.1\r\nHost: localhost\r\nx-storm-id: {identifier}\r\nx-storm-size: {size}\r\nx-storm-framing: {framing}\r\n"
        if method != "GET" and rng.random() < 0.3:
            step = max(1, len(sent) // 3)
            payload = b"".join(b"%x\r\n%s\r\n" % (len(sent[i:i + step]), sent[i:i + step]) for i in range(0, len(sent), step)) + b"0\r\n\r\n"
            head += "Transfer-Encoding: chunked\r\n\r\n"
        else:
            payload = sent
            head += "\r\n" if method == "GET" else f"Content-Length: {len(sent)}\r\n\r\n"
        try:
            try:
                self.sock.sendall(head.encode() + payload)
            except OSError:
                pass  # an early answer may be there to read
            lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        except (Cut, OSError):
            tally.add("connection lost before an answer")
            self.close()
            return
        status = int(lines[0].split(" ")[1])
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        body, whole = b"", True
        try:
            if headers.get("transfer-encoding") == "chunked":
                parts = []
                while True:
                    n = int(self.until(b"\r\n"), 16)
                    if n == 0:
                        self.until(b"\r\n")
                        break
                    parts.append(self.exactly(n))
                    self.exactly(2)
                body = b"".join(parts)
            else:
                body = self.exactly(int(headers["content-length"]))
        except (Cut, OSError):
            whole = False
        judge(tally, request, status, headers, body, whole)
        if not whole or headers.get("connection") == "close":
            self.close()

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = None


def http1_worker(port, tls, who, seed, count, tally):
    rng, client = random.Random(seed), HTTP1(port, tls)
    for index in range(count):
        client.ask(tally, rng, choose(rng, index, who))
        if rng.random() < 0.01:
            client.close()
    client.close()


def http2_worker(port, tls, who, seed, count, tally, streams=12):
    """Keeps so many streams under way on one connection."""
    rng, index = random.Random(seed), 0
    while index < count:
        raw = socket.create_connection(("127.0.0.1", port), 60)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock = tls.wrap_socket(raw, server_hostname="localhost")
        link = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8", validate_inbound_headers=False))
        link.initiate_connection()
        link.increment_flow_control_window(8 << 20)
        live, ending = {}, False

        def push(stream):
            # The gateway may have ended the stream in the bytes that are just being looked at.
            try:
                push_some(stream, live[stream])
            except h2.exceptions.StreamClosedError:
                live[stream]["left"] = b""

        def push_some(stream, entry):
            while entry["left"] and (room := min(link.local_flow_control_window(stream), link.max_outbound_frame_size)) > 0:
                piece, entry["left"] = entry["left"][:room], entry["left"][room:]
                link.send_data(stream, piece, end_stream=not entry["left"])

        try:
            while not ending or live:
                while not ending and len(live) < streams and index < count:
                    request = choose(rng, index, who)
                    identifier, method, sent, size, framing = request
                    stream = link.get_next_available_stream_id()
                    fields = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", "/storm"),
                              ("x-storm-id", identifier), ("x-storm-size", str(size)), ("x-storm-framing", framing)]
                    live[stream] = dict(request=request, status=0, headers={}, parts=[], left=sent)
                    link.send_headers(stream, fields, end_stream=not sent)
                    push(stream)
                    index += 1
                if index >= count or stream > 4000:
                    ending = True
                sock.sendall(link.data_to_send())
                if not live:
                    break
                got = sock.recv(262144)
                if not got:
                    raise Cut()
                for event in link.receive_data(got):
                    entry = live.get(getattr(event, "stream_id", 0))
                    if isinstance(event, h2.events.WindowUpdated):
                        for stream in [event.stream_id] if event.stream_id else list(live):
                            if stream in live:
                                push(stream)
                    elif isinstance(event, h2.events.ConnectionTerminated):
                        ending = True
                    elif entry is None:
                        continue
                    elif isinstance(event, h2.events.ResponseReceived):
                        headers = dict(event.headers)
                        entry["status"], entry["headers"] = int(headers[":status"]), headers
                    elif isinstance(event, h2.events.DataReceived):
                        entry["parts"].append(event.data)
                        link.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                        whole = isinstance(event, h2.events.StreamEnded)
                        if not whole and entry["status"] == 0:
                            tally.add("connection lost before an answer")
                        else:
                            judge(tally, entry["request"], entry["status"], entry["headers"], b"".join(entry["parts"]), whole)
                        del live[event.stream_id]
                        if whole and entry["left"]:
                            try:
                                link.reset_stream(event.stream_id)
                            except h2.exceptions.StreamClosedError:
                                pass  # reset by the gateway already
        except (Cut, OSError, h2.exceptions.ProtocolError) as error:
            for _ in live:
                tally.add("connection lost before an answer" if isinstance(error, (Cut, OSError)) else f"WRONG: {error!r}")
        sock.close()


def process(kind, ports, folder, number, per_thread, threads, results):
    tls = ssl.create_default_context(cafile=folder + "/ca.pem")
    tls.set_alpn_protocols(["h2"] if kind == "h2" else ["http/1.1"])
    tallies, runners = [], []
    for t in range(threads):
        tally, who, seed = Tally(), f"{kind}{number}-{t}", SEED * 1_000_003 + number * 1009 + t
        if kind == "h2":
            arguments = (http2_worker, (ports[0], tls, who, seed, per_thread, tally))
        else:
            arguments = (http1_worker, (ports[0] if t % 3 == 0 else ports[1], tls if t % 3 == 0 else None, who, seed, per_thread, tally))
        runners.append(threading.Thread(target=arguments[0], args=arguments[1]))
        tallies.append(tally)
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    total = {}
    for tally in tallies:
        for word, n in tally.items():
            total[word] = total.get(word, 0) + n
    results.put(total)


def main():
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(f"HOLDFAST_SEED={SEED}", flush=True)
    lab, checks = Lab(), Checks()
    journal = lab.folder + "/journal"
    ports = [free_port() for _ in range(3)]

    def backend(i):
        return subprocess.Popen([sys.executable, HERE + "/storm_backend.py", str(ports[i]), journal], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    backends = [backend(i) for i in range(3)]
    for port in ports:
        wait_for(port)
    lab.start(
        f"  storm:\n    endpoints: [{', '.join(f'127.0.0.1:{p}' for p in ports)}]\n"
        "    guard: { breaker: { disabled: true }, timeouts: { per_try: 20s, total: 60s, idle: 20s }, bulkhead: { concurrent: 512 },\n"
        "             retries: { attempts: 3, budget: { ratio: 50%, minimum: 100/second } } }",
        "  - { match: { path: /* }, to: storm }")
    before = lab.descriptors()

    # Three in four over HTTP/1.1 (a third of it TLS), the rest over HTTP/2: 64 connections and more streams.
    share = [("h1", 24, requests * 3 // 8), ("h1", 24, requests * 3 // 8), ("h2", 16, requests // 4)]
    results, workers = multiprocessing.Queue(), []
    for number, (kind, threads, n) in enumerate(share):
        workers.append(multiprocessing.Process(
            target=process, args=(kind, (lab.tls, lab.clear), lab.folder, number, n // threads, threads, results)))
    expected = sum((n // threads) * threads for _, threads, n in share)
    for worker in workers:
        worker.start()
    rng, kills = random.Random(SEED), 0
    while any(worker.is_alive() for worker in workers):
        time.sleep(rng.uniform(0.3, 1.0))
        i = rng.randrange(3)
        backends[i].send_signal(signal.SIGKILL)
        backends[i].wait()
        kills += 1
        time.sleep(rng.uniform(0.05, 0.3))
        backends[i] = backend(i)
    total = {}
    for _ in workers:
        for word, n in results.get(timeout=60).items():
            total[word] = total.get(word, 0) + n
    print(f"{kills} kills; {total}", flush=True)
    checks.that(sum(total.values()) == expected, f"{sum(total.values())} of {expected} requests have an outcome")
    for word, n in total.items():
        checks.that(not word.startswith("WRONG"), f"{n} × {word}")
    checks.that(kills >= 3, f"only {kills} kills")
    checks.that(total.get("good", 0) >= expected * 0.9, f"only {total.get('good', 0)} good answers")
    delivered = [line for line in open(journal).read().split("\n") if line]
    checks.that(len(delivered) == len(set(delivered)), f"{len(delivered) - len(set(delivered))} POSTs were delivered twice")

    # Quiet: nothing is held any more (P8).
    end = time.monotonic() + 10
    while time.monotonic() < end and lab.total("holdfast_connections_open") + lab.total("holdfast_bulkhead_permits_in_use") > 0:
        time.sleep(0.2)
    for family in ("holdfast_connections_open", "holdfast_bulkhead_permits_in_use", "holdfast_bulkhead_queue", "holdfast_retry_tokens_outstanding"):
        checks.that(lab.total(family) == 0, f"{family} is {lab.total(family)}")
    for process_ in backends:
        process_.kill()
        process_.wait()
    time.sleep(0.5)  # idle upstream connections see their peers go
    checks.that(lab.descriptors() <= before, f"{lab.descriptors()} descriptors, {before} before")
    checks.end(lab)


if __name__ == "__main__":
    main()
