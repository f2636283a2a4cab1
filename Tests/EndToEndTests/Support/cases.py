# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""How proxies have failed in public, as bytes: rows A (HTTP/1 requests), B (HTTP/1 responses and the pool), C (HTTP/2) and D (TLS). The witness is
an auditing backend that keeps every byte it was sent."""
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import h2.config
import h2.connection
import h2.events

from lab import Checks, Lab, free_port

lab, checks = Lab(), Checks()


class Auditor:
    """A backend that understands only what is strict, records each request, and answers as its path's script says."""

    def __init__(self):
        self.port, self.requests, self.odd, self.connections = free_port(), [], [], 0
        self.lock = threading.Lock()
        self.scripts = {}
        self.socket = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.socket.accept()
            self.connections += 1
            threading.Thread(target=self.serve, args=(connection, self.connections), daemon=True).start()

    def serve(self, connection, number):
        data = b""
        try:
            while True:
                while b"\r\n\r\n" not in data:
                    got = connection.recv(65536)
                    if not got:
                        if data:
                            self.odd.append(("left over", data))
                        return
                    data += got
                head, data = data.split(b"\r\n\r\n", 1)
                lines = head.split(b"\r\n")
                match = re.fullmatch(rb"([A-Z]+) (/\S*|\*) HTTP/1\.1", lines[0])
                fields = [line.split(b": ", 1) for line in lines[1:]]
                names = [f[0] for f in fields]
                if not match or b"\n" in head.replace(b"\r\n", b"") or any(len(f) != 2 or f[0] != f[0].lower() for f in fields) \
                        or names.count(b"host") != 1 or names.count(b"content-length") + names.count(b"transfer-encoding") > 1:
                    self.odd.append(("head", head))
                    return
                fields = dict(fields)
                path = match.group(2).decode()
                script = self.scripts.get(path.split("?")[0].rsplit("/", 1)[-1])
                entry = dict(method=match.group(1).decode(), path=path, fields=fields, body=b"", connection=number)
                with self.lock:
                    self.requests.append(entry)
                if script and getattr(script, "before_body", False):
                    script(connection)
                    return
                if b"transfer-encoding" in fields:
                    while True:
                        while b"\r\n" not in data:
                            data += connection.recv(65536) or self.stop()
                        size, data = data.split(b"\r\n", 1)
                        size = int(size, 16)
                        while len(data) < size + 2:
                            data += connection.recv(65536) or self.stop()
                        entry["body"] += data[:size]
                        data = data[size + 2:]
                        if size == 0:
                            break
                else:
                    size = int(fields.get(b"content-length", b"0"))
                    while len(data) < size:
                        data += connection.recv(65536) or self.stop()
                    entry["body"], data = data[:size], data[size:]
                if script is None:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                elif callable(script):
                    if script(connection) == "close":
                        connection.close()
                        return
                else:
                    connection.sendall(script)
        except (OSError, EOFError):
            pass

    def stop(self):
        raise EOFError

    def since(self, n):
        with self.lock:
            return self.requests[n:]


audit = Auditor()


def no_tls():
    """Answers a TLS greeting in clear."""
    while True:
        connection, _ = clear_only.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()


clear_only = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=no_tls, daemon=True).start()
lab.start(
    f"""  a:
    endpoints: ["127.0.0.1:{audit.port}"]
    guard: {{ breaker: {{ disabled: true }}, timeouts: {{ per_try: 1s, total: 4s, idle: 1s }}, retries: {{ budget: {{ minimum: 1000/second }} }} }}
  bad: {{ endpoints: ["127.0.0.1:{clear_only.getsockname()[1]}"], protocol: http1, tls: {{ ca: ca.pem, server_name: localhost }}, guard: {{ retries: {{ attempts: 1 }} }} }}""",
    "  - { match: { path: /bad/* }, to: bad }\n  - { match: { path: /* }, to: a }",
    threads=2, top="limits: { header_timeout: 1s, body_idle_timeout: 1s, body_bytes: 1MiB }")


def talk(data, wait=0.8, port=None, pieces=None):
    """Sends, and reads until the gateway closes or falls silent. (bytes, closed)"""
    s = socket.create_connection(("127.0.0.1", port or lab.clear), 5)
    try:
        for piece in pieces or [data]:
            s.sendall(piece)
            if pieces:
                time.sleep(0.02)
    except OSError:
        pass
    s.settimeout(wait)
    out = b""
    try:
        while True:
            got = s.recv(65536)
            if not got:
                return out, True
            out += got
            if out.endswith(b"ok") and wait > 0.12:
                s.settimeout(0.12)
    except socket.timeout:
        return out, False
    except OSError:
        return out, True
    finally:
        s.close()


def statuses(out):
    return [int(x) for x in re.findall(rb"HTTP/1\.1 (\d{3}) ", out) if int(x) >= 200]


GET = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
C = b"\r\n"


def head(line, *fields, host=True):
    return line + C + (b"Host: a\r\n" if host else b"") + b"".join(f + C for f in fields) + C


# (case, bytes, statuses, requests that the backend sees, whether the connection must close)
ROWS = [
    ("A01", head(b"POST / HTTP/1.1", b"Content-Length: 13", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + GET, [400], 0, True),
    ("A02", head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", b"Content-Length: 4") + b"0\r\n\r\n" + GET, [400], 0, True),
    ("A03", head(b"POST / HTTP/1.1", b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n" + GET, [501], 0, True),
    ("A04", head(b"POST / HTTP/1.1", b"Transfer-Encoding: gzip") + GET, [400], 0, True),
    ("A04 two lines", head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + GET, [400], 0, True),
    ("A04 1.0", head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", [400], 0, True),
    ("A05", head(b"POST / HTTP/1.1", b"Content-Length: 0", b"Content-Length: 31") + GET, [400], 0, True),
    ("A05 list", head(b"POST / HTTP/1.1", b"Content-Length: 5, 5") + b"hello", [400], 0, True),
    ("A05 plus", head(b"POST / HTTP/1.1", b"Content-Length: +5") + b"hello", [400], 0, True),
    ("A05 hex", head(b"POST / HTTP/1.1", b"Content-Length: 0x5") + b"hello", [400], 0, True),
    ("A05 huge", head(b"POST / HTTP/1.1", b"Content-Length: 99999999999999999999") + b"hello", [400], 0, True),
    ("A06", head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked") + b"000000000000000005\r\nhello\r\n0\r\n\r\n", [200], 1, False),
    ("A07", head(b"POST /x HTTP/1.1", b"Transfer-Encoding: chunked") + b"7fffffffffffffff\r\n" + b"x" * 1100000, [413], None, True),
    ("A07 over", head(b"POST /x HTTP/1.1", b"Transfer-Encoding: chunked") + b"fffffffffffffffff\r\nx", [400], None, True),
    ("A07 sign", head(b"POST /x HTTP/1.1", b"Transfer-Encoding: chunked") + b"-1\r\nx", [400], None, True),
    ("A08", head(b"POST /x HTTP/1.1", b"Transfer-Encoding: chunked") + b"1;" + b"a" * 20000 + b"\r\nx\r\n0\r\n\r\n", [400], None, True),
    ("A09", b"\r\n\r\n" + GET, [200], 1, False),
    ("A09 many", b"\r\n" * 8 + GET, [400], 0, True),
    ("A10", b"GET / HTTP/1.1\nHost: a\n\n", [400], 0, True),
    ("A10 CR", b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", [400], 0, True),
    ("A11", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n", [400], 0, True),
    ("A12", head(b"GET / HTTP/1.1", b"x" * 65536 + b": y"), [431], 0, True),
    ("A12 space", head(b"GET / HTTP/1.1", b"X-A : b"), [400], 0, True),
    ("A12 NUL", head(b"GET / HTTP/1.1", b"X-A: b\0c"), [400], 0, True),
    ("A12 many", head(b"GET / HTTP/1.1", *[b"X-%d: y" % i for i in range(200)]), [431], 0, True),
    ("A13", head(b"GET / HTTP/1.1", host=False), [400], 0, True),
    ("A13 two", head(b"GET / HTTP/1.1", b"Host: b"), [400], 0, True),
    ("A13 odd", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", [400], 0, True),
    ("A14 absolute", b"GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n", [200], 1, False),
    ("A14 at odds", b"GET http://a/x HTTP/1.1\r\nHost: b\r\n\r\n", [400], 0, True),
    ("A14 user", b"GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n", [400], 0, True),
    ("A14 CONNECT", b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", [405], 0, True),
    ("A14 TRACE", head(b"TRACE / HTTP/1.1"), [405], 0, True),
    ("A14 star", head(b"GET * HTTP/1.1"), [400], 0, True),
    ("A14 OPTIONS", head(b"OPTIONS * HTTP/1.1"), [200], 1, False),
    ("A15 NUL", head(b"GET /a%00b HTTP/1.1"), [400], 0, None),
    ("A15 escape", head(b"GET /%zz HTTP/1.1"), [400], 0, None),
    ("A15 slash", head(b"GET /a%2Fb HTTP/1.1"), [400], 0, None),
    ("A15 above", head(b"GET /../x HTTP/1.1"), [400], 0, None),
    ("A15 backslash", head(b"GET /a\\b HTTP/1.1"), [400], 0, None),
    ("A16", head(b"FOO /x HTTP/1.1"), [200], 1, False),
    ("A20", GET * 50, [200] * 50, 50, False),
    ("A21", head(b"POST / HTTP/1.1", b"Expect: foo", b"Content-Length: 3"), [417], 0, True),
    ("A22", head(b"POST /one HTTP/1.1", b"Content-Length: 0") + GET, [200, 200], 2, False),
    ("A23", head(b"GET /bad%00 HTTP/1.1", b"Content-Length: 33") + b"G" * 33 + GET, None, 0, None),
    ("A24", head(b"GET /x HTTP/1.1", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"), [200], 1, False),
    ("version", head(b"GET / HTTP/3.0"), [400], 0, True),
    ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200, [400], 0, True),
]


def rows_a():
    for case, data, expected, seen, closes in ROWS:
        before, odd = len(audit.requests), len(audit.odd)
        out, closed = talk(data)
        got = statuses(out)
        if expected is not None:
            checks.that(got == expected, f"{case}: {got} instead of {expected}: {out[:200]!r}")
        if seen is not None:
            checks.that(len(audit.since(before)) == seen, f"{case}: the backend saw {[(r['method'], r['path']) for r in audit.since(before)]}")
        if closes is not None:
            checks.that(closed == closes, f"{case}: closed is {closed}: {out[:120]!r}")
        checks.that(len(audit.odd) == odd, f"{case}: the backend was sent {audit.odd[odd:]}")
        checks.that(lab.gateway.poll() is None, f"{case}: the gateway is gone")
        if len(data) < 2000:
            # However the bytes are cut, the answer is the same (P2).
            single, _ = talk(None, pieces=[data[:7], data[7:20], data[20:21], data[21:]])
            checks.that(statuses(single) == got, f"{case}: cut in pieces {statuses(single)} instead of {got}")

    before = len(audit.requests)
    talk(head(b"GET /a/../b/./c//d%2e?q=%zz HTTP/1.1", b"Connection: keep-alive, foo, host, content-length", b"Foo: bar", b"Keep-Alive: 5",
              b"Proxy-Connection: x", b"X-Forwarded-For: 1.1.1.1", b"Forwarded: for=1.1.1.1", b"X-Real-IP: 1.1.1.1", b"X_Forwarded_For: 1"))
    seen = audit.since(before)
    checks.that(len(seen) == 1 and seen[0]["path"] == "/b/c/d.?q=%zz", f"A15: what was matched is what is sent: {seen}")
    fields = seen[0]["fields"] if seen else {}
    checks.that(not {b"foo", b"keep-alive", b"proxy-connection", b"x_forwarded_for"} & set(fields) and fields[b"host"] == b"a", f"A17: {fields}")
    checks.that(fields.get(b"x-forwarded-for") == b"127.0.0.1" and b"1.1.1.1" not in b"".join(fields.values()), f"A18: {fields}")

    # A19: a head and a body that never end meet their limits.
    for case, data, status in (("head", b"GET / HTTP/1.1\r\nHo", 408), ("body", head(b"POST / HTTP/1.1", b"Content-Length: 9") + b"abc", 408)):
        out, closed = talk(data, wait=6)
        checks.that(statuses(out) == [status] and closed, f"A19 {case}: {out[:100]!r} {closed}")


def rows_b():
    late = threading.Event()

    def answers_late(connection):
        late.wait(3)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nLATE")
        return "close"

    def resets(data):
        def script(connection):
            connection.sendall(data)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return "close"
        return script

    def closes(data):
        def script(connection):
            connection.sendall(data)
            return "close"
        return script

    def early(connection):
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        time.sleep(1)
    early.before_body = True

    ok = b"HTTP/1.1 200 OK\r\n"
    audit.scripts.update({
        "b01": answers_late, "b02": ok + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL",
        "b03head": ok + b"Content-Length: 4\r\n\r\nEVIL", "b03.304": b"HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nEVIL\r\n0\r\n\r\n",
        "b04": closes(ok + b"\r\nuntil close"), "b06": b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 H\r\nLink: x\r\n\r\n" + ok + b"Content-Length: 2\r\n\r\nok",
        "b06many": b"HTTP/1.1 103 H\r\n\r\n" * 1000 + ok + b"Content-Length: 2\r\n\r\nok", "b07": b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "b08": early, "b09": ok + b"Transfer-Encoding: identity\r\n\r\nx", "b09b": ok + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "b09c": ok + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "b10": ok + b"Content-Length: 5\r\n\r\nhelloXX",
        "b11a": b"HTTP/1.1 20 OK\r\n\r\n", "b11c": b"HTTP/3.0 200 OK\r\n\r\n", "b11d": b"HTTP/1.1 600 X\r\n\r\n", "b11e": b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
        "b12": ok + (b"Set-Cookie: " + b"x" * 8192 + b"\r\n") * 100 + b"\r\n", "b14": resets(b"HTTP/1.1 200 OK\r\nConte"),
        "short": closes(ok + b"Content-Length: 100\r\n\r\nshort"), "lengths": ok + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    })

    def get(name, method=b"GET"):
        return talk(head(method + b" /" + name.encode() + b" HTTP/1.1"), wait=3)

    def next_is_clean(case):
        for _ in range(8):
            out, _ = talk(GET, wait=1)
            checks.that(out.endswith(b"\r\n\r\nok") and b"EVIL" not in out and b"LATE" not in out, f"{case}: the next answer is {out!r}")

    out, _ = get("b01", b"POST")
    checks.that(statuses(out) == [504] and b"timeout.per_try" in out, f"B01: {out!r}")
    late.set()
    next_is_clean("B01")
    for case, name, method, good in [
        ("B02", "b02", b"GET", lambda o: o.endswith(b"\r\n\r\nok")),
        ("B03 HEAD", "b03head", b"HEAD", lambda o: statuses(o) == [200] and b"content-length: 4" in o and b"EVIL" not in o),
        ("B03 304", "b03.304", b"GET", lambda o: statuses(o) == [304] and b"EVIL" not in o),
        ("B04", "b04", b"GET", lambda o: o.endswith(b"b\r\nuntil close\r\n0\r\n\r\n")),
        ("B06", "b06", b"GET", lambda o: b"HTTP/1.1 103 " in o and o.endswith(b"\r\n\r\nok")),
        ("B06 many", "b06many", b"GET", lambda o: statuses(o) == [502]),
        ("B07", "b07", b"GET", lambda o: statuses(o) == [502]),
        ("B09 identity", "b09", b"GET", lambda o: statuses(o) == [502] and b'"reason":"protocol"' in o),
        ("B09 list", "b09b", b"GET", lambda o: statuses(o) == [502]),
        ("B09 two", "b09c", b"GET", lambda o: statuses(o) == [502]),
        ("B10", "b10", b"GET", lambda o: o.endswith(b"\r\n\r\nhello")),
        ("B11 20", "b11a", b"GET", lambda o: statuses(o) == [502]),
        ("B11 3.0", "b11c", b"GET", lambda o: statuses(o) == [502]),
        ("B11 600", "b11d", b"GET", lambda o: statuses(o) == [502]),
        ("B11 no phrase", "b11e", b"GET", lambda o: o.endswith(b"\r\n\r\nok")),
        ("B12", "b12", b"GET", lambda o: statuses(o) == [502]),
        ("two lengths", "lengths", b"GET", lambda o: statuses(o) == [502]),
    ]:
        out, _ = get(name, method)
        checks.that(good(out), f"{case}: {out[:300]!r}")
        next_is_clean(case)
    before = len(audit.requests)
    out, _ = get("b14")
    checks.that(statuses(out) == [502] and len(audit.since(before)) == 2, f"B14 GET: {out[:80]!r}, tried {len(audit.since(before))} times")
    before = len(audit.requests)
    out, _ = get("b14", b"POST")
    checks.that(statuses(out) == [502] and len(audit.since(before)) == 1, f"B14 POST: {out[:80]!r}, tried {len(audit.since(before))} times")
    out, closed = get("short")
    checks.that(out.endswith(b"short") and closed, f"a body cut short must not look whole: {out!r}")

    # B08: the answer comes while the client still sends, and the client gets to read it.
    s = socket.create_connection(("127.0.0.1", lab.clear))
    s.settimeout(5)
    s.sendall(head(b"POST /b08 HTTP/1.1", b"Content-Length: 1000000") + b"x" * 1000)
    out = s.recv(4096)
    checks.that(statuses(out) == [413] and b"connection: close" in out.lower(), f"B08: {out!r}")
    s.close()

    # B05: a kept-alive connection that was closed for idleness just now is replaced without the client seeing it.
    audit.scripts["once"] = closes(ok + b"Content-Length: 2\r\n\r\nok")
    for _ in range(30):
        out, _ = get("once")
        checks.that(out.endswith(b"\r\n\r\nok"), f"B05: {out!r}")


class Raw2:
    """HTTP/2 frames by hand over clear TCP."""

    def __init__(self):
        self.s = socket.create_connection(("127.0.0.1", lab.clear), 5)
        self.s.settimeout(2)
        self.s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(4, 0, 0, b""))

    @staticmethod
    def frame(kind, flags, stream, payload):
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload

    @staticmethod
    def literal(name, value):
        def text(x):
            if len(x) < 127:
                return bytes([len(x)]) + x
            n, out = len(x) - 127, bytes([127])
            while n >= 128:
                out, n = out + bytes([n % 128 + 128]), n // 128
            return out + bytes([n]) + x
        return b"\x00" + text(name) + text(value)

    def headers(self, stream, fields, end=True, flags=4):
        self.send(self.frame(1, flags | (1 if end else 0), stream, b"".join(self.literal(k, v) for k, v in fields)))

    def send(self, data):
        try:
            self.s.sendall(data)
        except OSError:
            pass

    def read(self, until, seconds=3):
        """Frames until one satisfies `until` or the connection ends: ([frames], ended)."""
        data, frames, end = b"", [], time.monotonic() + seconds
        while time.monotonic() < end:
            while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
                n = int.from_bytes(data[:3], "big")
                frame = (data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:9 + n])
                frames.append(frame)
                data = data[9 + n:]
                if until(frame):
                    return frames, False
            try:
                got = self.s.recv(65536)
            except socket.timeout:
                continue
            except OSError:
                return frames, True
            if not got:
                return frames, True
            data += got
        return frames, False


def request(path=b"/ok", method=b"GET", extra=()):
    return [(b":method", method), (b":scheme", b"http"), (b":authority", b"a"), (b":path", path), *extra]


def rows_c():
    def stream_error(case, fields, end=True):
        before = len(audit.requests)
        link = Raw2()
        link.headers(1, fields, end)
        frames, ended = link.read(lambda f: f[2] == 1 and f[0] in (1, 3) or f[0] == 7)
        last = frames[-1] if frames else None
        good = last and (last[0] == 3 or last[0] == 7 or last[0] == 1)
        checks.that(good and len(audit.since(before)) == 0, f"{case}: {frames} {audit.since(before)}")
        link.s.close()

    stream_error("C06 upper case", request(extra=[(b"Upper", b"x")]))
    stream_error("C06 connection", request(extra=[(b"connection", b"close")]))
    stream_error("C06 transfer-encoding", request(extra=[(b"transfer-encoding", b"chunked")]))
    stream_error("C06 te", request(extra=[(b"te", b"trailers, gzip")]))
    stream_error("C06 control", request(extra=[(b"x", b"a\r\nb: c")]))
    stream_error("C07 empty path", request(path=b""))
    stream_error("C07 star", request(path=b"*"))
    stream_error("C07 no scheme", [f for f in request() if f[0] != b":scheme"])
    stream_error("C07 order", [(b"x", b"y"), *request()])
    stream_error("C07 user", [(b":authority", b"u@a") if f[0] == b":authority" else f for f in request()])
    stream_error("C13", request(method=b"CONNECT", extra=[(b":protocol", b"websocket")]))
    stream_error("host at odds", request(extra=[(b"host", b"b")]))

    def flood(case, make, reason_seen=True):
        link = Raw2()
        before = len(audit.requests)
        for i in range(60):
            link.send(b"".join(make(i * 50 + j) for j in range(50)))
        frames, ended = link.read(lambda f: f[0] == 7 and f[3][4:8] != b"\0\0\0\0", 4)
        codes = [int.from_bytes(f[3][4:8], "big") for f in frames if f[0] == 7]
        checks.that(ended or (codes and codes[-1] in (1, 11)), f"{case}: {codes} {ended}")
        reached = len(audit.since(before))
        checks.that(reached <= 500, f"{case}: {reached} requests reached the backend")
        link.s.close()

    block = b"".join(Raw2.literal(k, v) for k, v in request())
    flood("C01", lambda i: Raw2.frame(1, 5, 2 * i + 1, block) + Raw2.frame(3, 0, 2 * i + 1, b"\0\0\0\x08"))
    flood("C02", lambda i: Raw2.frame(1, 4, 2 * i + 1, block) + Raw2.frame(8, 0, 2 * i + 1, b"\0\0\0\0"))
    flood("C05 empty DATA", lambda i: (Raw2.frame(1, 4, 1, block) if i == 0 else b"") + Raw2.frame(0, 0, 1, b""))
    flood("C05 SETTINGS", lambda i: Raw2.frame(4, 0, 0, b""))
    flood("C05 PING", lambda i: Raw2.frame(6, 0, 0, b"12345678"))

    link = Raw2()
    link.send(Raw2.frame(1, 1, 1, block))
    for _ in range(2000):
        link.send(Raw2.frame(9, 0, 1, b"\x00\x01x\x01y"))
    frames, ended = link.read(lambda f: f[0] == 7, 4)
    checks.that(ended or any(f[0] == 7 for f in frames), f"C03: {frames}")
    link.s.close()

    # C04: one table entry and many references to it.
    link = Raw2()
    link.send(Raw2.frame(1, 1, 1, block + b"\x40\x01x\x7f\x81\x1f" + b"v" * 4096))
    for _ in range(4):
        link.send(Raw2.frame(9, 0, 1, b"\xbe" * 10000))
    link.send(Raw2.frame(9, 4, 1, b""))
    frames, ended = link.read(lambda f: f[0] in (3, 7) or f[0] == 1, 4)
    checks.that(ended or any(f[0] in (1, 3, 7) for f in frames), f"C04: {frames}")
    link.s.close()

    # C08: crumbs are one field for HTTP/1. C12: streams over the limit are refused and the rest answered.
    before = len(audit.requests)
    link = Raw2()
    link.headers(1, request(extra=[(b"cookie", b"a=1"), (b"cookie", b"b=2")]))
    link.read(lambda f: f[2] == 1 and f[1] & 1)
    seen = audit.since(before)
    checks.that(len(seen) == 1 and seen[0]["fields"].get(b"cookie") == b"a=1; b=2", f"C08: {seen}")
    link.s.close()
    link = Raw2()
    link.send(b"".join(Raw2.frame(1, 5, 2 * i + 1, block) for i in range(200)))
    ends = set()
    frames, ended = link.read(lambda f: bool(f[2] and (f[0] == 3 or f[1] & 1 and f[0] in (0, 1)) and (ends.add(f[2]) or len(ends) == 200)), 5)
    refused = [f for f in frames if f[0] == 3]
    checks.that(len(ends) == 200 and all(f[3] == b"\0\0\0\x07" for f in refused) and not any(f[0] == 7 for f in frames), f"C12: {len(ends)} ends, {len(refused)} refused")
    link.s.close()

    # C11: windows that go negative and then too far.
    link = Raw2()
    link.send(Raw2.frame(4, 0, 0, b"\0\x04" + struct.pack(">I", 0)))
    link.headers(1, request())
    link.send(Raw2.frame(4, 0, 0, b"\0\x04\x7f\xff\xff\xff") + Raw2.frame(8, 0, 1, b"\x7f\xff\xff\xff"))
    frames, ended = link.read(lambda f: f[0] in (3, 7) or f[2] == 1 and f[1] & 1, 3)
    checks.that(ended or frames, f"C11: {frames}")
    link.s.close()
    checks.that(lab.gateway.poll() is None, "rows C: the gateway is gone")
    out, _ = talk(GET)
    checks.that(out.endswith(b"\r\n\r\nok"), f"after rows C: {out!r}")


def s_client(*arguments, stdin=b""):
    return subprocess.run(["timeout", "8", "openssl", "s_client", "-connect", f"127.0.0.1:{lab.tls}", "-CAfile", lab.folder + "/ca.pem", *arguments],
                          input=stdin, capture_output=True).stdout.decode(errors="replace")


def secure(**settings):
    context = ssl.create_default_context(cafile=lab.folder + "/ca.pem")
    for k, v in settings.items():
        setattr(context, k, v)
    raw = socket.create_connection(("127.0.0.1", lab.tls), 5)
    return context.wrap_socket(raw, server_hostname="localhost")


def ask(sock):
    sock.sendall(GET)
    return sock.recv(4096)


def rows_d():
    good = secure()
    for _ in range(30):
        bad = socket.create_connection(("127.0.0.1", lab.tls), 5)
        bad.sendall(b"\x80\x2e\x01\x03\x00" + os.urandom(60))
        bad.close()
        checks.that(ask(good).startswith(b"HTTP/1.1 200"), "D01: a good session suffers from bad handshakes")
    good.close()
    checks.that("Cipher is (NONE)" in s_client("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "TLS 1.1 is refused")
    checks.that("TLSv1.2" in s_client("-tls1_2") and "TLSv1.3" in s_client("-tls1_3"), "TLS 1.2 and 1.3")
    checks.that("Cipher is (NONE)" in s_client("-tls1_2", "-cipher", "AES128-SHA"), "a suite without forward secrecy is refused")
    checks.that("Secure Renegotiation IS" in s_client("-tls1_2", stdin=b"R\n"), "D03")
    for version in ("-tls1_2", "-tls1_3"):
        session = lab.folder + "/session"
        subprocess.run(f"(sleep 0.4; printf 'GET /next HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n'; sleep 0.4) | timeout 8 openssl s_client -connect 127.0.0.1:{lab.tls} "
                       f"-CAfile {lab.folder}/ca.pem {version} -sess_out {session} >/dev/null 2>&1", shell=True)
        # Several times, so that the other reactor gets its turn.
        checks.that(all("Reused, " in s_client(version, "-sess_in", session) for _ in range(6)), f"D04: {version} resumes on every reactor")
    checks.that("no application protocol" in subprocess.run(
        ["timeout", "8", "openssl", "s_client", "-connect", f"127.0.0.1:{lab.tls}", "-alpn", "foo"], input=b"", capture_output=True).stderr.decode(), "D05: ALPN foo")
    context = ssl.create_default_context(cafile=lab.folder + "/ca.pem")
    context.set_alpn_protocols(["h2"])
    odd = context.wrap_socket(socket.create_connection(("127.0.0.1", lab.tls), 5), server_hostname="localhost")
    odd.sendall(GET)
    odd.settimeout(3)
    out = b""
    try:
        while got := odd.recv(4096):
            out += got
    except OSError:
        pass
    checks.that(b"HTTP/1.1 200" not in out, f"D05: HTTP/1 bytes after h2: {out!r}")
    out, _ = talk(GET, port=lab.tls)
    checks.that(out.startswith(b"HTTP/1.1 400 ") and b"use https" in out, f"clear HTTP on the TLS port: {out!r}")
    half = [socket.create_connection(("127.0.0.1", lab.tls), 5) for _ in range(100)]
    for s in half:
        s.sendall(b"\x16\x03\x01\x02\x00")
    checks.that(ask(secure()).startswith(b"HTTP/1.1 200"), "D06: half handshakes keep others out")
    for s in half:
        s.close()
    out, _ = talk(head(b"GET /bad/x HTTP/1.1"), wait=3)
    checks.that(statuses(out) == [502] and b"tls.handshake" in out, f"an upstream that speaks no TLS: {out!r}")

    # D08: garbage in the certificate's place changes nothing; a good one is served to new handshakes.
    def serial():
        der = secure().getpeercert()
        return der["serialNumber"]

    old = serial()
    kept = open(lab.folder + "/edge.pem").read()
    with open(lab.folder + "/edge.pem", "w") as f:
        f.write("garbage")
    lab.gateway.send_signal(signal.SIGHUP)
    time.sleep(1)
    checks.that(serial() == old and "refused, nothing changed" in lab.said(), f"D08: {lab.said()[-500:]}")
    with open(lab.folder + "/edge.pem", "w") as f:
        f.write(kept)
    during = secure()
    lab.leaf("edge", "localhost", "DNS:localhost,IP:127.0.0.1")
    lab.gateway.send_signal(signal.SIGHUP)
    time.sleep(1)
    checks.that(serial() != old, "D08: the new certificate is served")
    checks.that(ask(during).startswith(b"HTTP/1.1 200"), "a reload leaves connections alone")


def logs():
    """E22: nothing that a client sends can forge a line."""
    talk(head(b"GET /log HTTP/1.1", b'User-Agent: a"\\{"level":"info"}\xff\xc2\x9b2J'))
    talk(head(b"GET /log HTTP/1.1", b"User-Agent: \x1b[2J"))
    time.sleep(0.5)
    import json
    lines = open(lab.folder + "/access.log", "rb").read().split(b"\n")
    for line in lines[:-1]:
        try:
            json.loads(line)
            sound = not any(c < 32 for c in line)
        except ValueError:
            sound = False
        if not sound:
            checks.that(False, f"not one JSON object a line: {line!r}")
            return
    checks.that(len(lines) > 100 and any(b'{\\"level\\"' in line for line in lines), "the access log has the requests")


rows_a()
rows_b()
rows_c()
rows_d()
logs()
time.sleep(1)
for family in ("holdfast_bulkhead_permits_in_use", "holdfast_bulkhead_queue", "holdfast_retry_tokens_outstanding"):
    checks.that(lab.total(family) == 0, f"{family} is {lab.total(family)}")
checks.that(not audit.odd, f"the backend was sent {audit.odd[:3]}")
checks.end(lab)
