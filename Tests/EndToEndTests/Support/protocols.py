# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""Clients that people use, through the gateway: gRPC of all four kinds (HTTP/2 to HTTP/2), httpx over HTTP/1.1 and HTTP/2, server-sent events,
trailers, interim responses, HEAD, 204 and 304, a slow upload."""
import asyncio
import concurrent.futures
import http.server
import socket
import ssl
import subprocess
import threading
import time

import grpc
import httpx

from lab import Checks, Lab, free_port

lab, checks = Lab(), Checks()


# ---------------------------------------------------------------- gRPC
def same(value):
    return value


class Echo(grpc.GenericRpcHandler):
    """Four kinds of call on bytes, and two that fail."""

    def service(self, details):
        kinds = {
            "/lab/UnaryUnary": grpc.unary_unary_rpc_method_handler(lambda r, c: b"one:" + r),
            "/lab/UnaryStream": grpc.unary_stream_rpc_method_handler(lambda r, c: (b"%d:%s" % (i, r) for i in range(50))),
            "/lab/StreamUnary": grpc.stream_unary_rpc_method_handler(lambda rs, c: b"".join(rs)),
            "/lab/StreamStream": grpc.stream_stream_rpc_method_handler(lambda rs, c: (b"re:" + r for r in rs)),
            "/lab/NotFound": grpc.unary_unary_rpc_method_handler(lambda r, c: c.abort(grpc.StatusCode.NOT_FOUND, "no such: thing%")),
            "/lab/Slow": grpc.unary_unary_rpc_method_handler(lambda r, c: time.sleep(3) or b""),
        }
        return kinds.get(details.method)


grpc_port, plain_port, dead_port = free_port(), free_port(), free_port()
server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
server.add_generic_rpc_handlers((Echo(),))
server.add_insecure_port(f"127.0.0.1:{grpc_port}")
server.start()


# ---------------------------------------------------------------- a plain backend
released = threading.Event()


class Plain(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "12345")
        self.end_headers()

    def do_GET(self):
        if self.path == "/plain/events":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for i in range(5):
                event = b"data: %d\n\n" % i
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
                released.wait(5)  # the next only once the client has this one
                released.clear()
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/plain/trailers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 42\r\nset-cookie: a=b\r\n\r\n")
        elif self.path == "/plain/early-hints":
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        elif self.path == "/plain/204":
            self.send_response(204)
            self.end_headers()
        elif self.path == "/plain/304":
            self.send_response(304)
            self.send_header("ETag", '"x"')
            self.end_headers()
        elif self.path == "/plain/headers":
            text = "".join(f"{k.lower()}: {v}\n" for k, v in self.headers.items()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.send_header("Connection", "x-secret")
            self.send_header("X-Secret", "hop by hop")
            self.end_headers()
            self.wfile.write(text)
        else:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"plain")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])) if "Content-Length" in self.headers else self.chunks()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def chunks(self):
        body = b""
        while n := int(self.rfile.readline(), 16):
            body += self.rfile.read(n)
            self.rfile.readline()
        self.rfile.readline()
        return body


plain = http.server.ThreadingHTTPServer(("127.0.0.1", plain_port), Plain)
threading.Thread(target=plain.serve_forever, daemon=True).start()

lab.start(
    f"""  grpc: {{ endpoints: ["127.0.0.1:{grpc_port}"], protocol: h2, guard: {{ timeouts: {{ per_try: 1s, total: 2s }} }} }}
  plain: {{ endpoints: ["127.0.0.1:{plain_port}"] }}
  dead: {{ endpoints: ["127.0.0.1:{dead_port}"], guard: {{ retries: {{ attempts: 1 }} }} }}""",
    """  - { match: { path: /lab/* }, to: grpc }
  - { match: { path: /plain/* }, to: plain }
  - { match: { path: /dead/* }, to: dead }""")
ca = open(lab.folder + "/ca.pem", "rb").read()


def grpc_checks():
    with grpc.secure_channel(f"localhost:{lab.tls}", grpc.ssl_channel_credentials(ca)) as channel:
        def call(kind, method):
            return getattr(channel, kind)(method, request_serializer=same, response_deserializer=same)

        checks.that(call("unary_unary", "/lab/UnaryUnary")(b"x", timeout=5) == b"one:x", "unary")
        big = bytes(range(256)) * 8192
        checks.that(call("unary_unary", "/lab/UnaryUnary")(big, timeout=10) == b"one:" + big, "unary of 2 MiB")
        answer = list(call("unary_stream", "/lab/UnaryStream")(b"y", timeout=5))
        checks.that(answer == [b"%d:y" % i for i in range(50)], "server streaming")
        checks.that(call("stream_unary", "/lab/StreamUnary")(iter([b"a", b"b", b"c"]), timeout=5) == b"abc", "client streaming")

        # Bidirectional: each answer is awaited before the next request is made.
        said, heard = threading.Semaphore(0), []

        def talk():
            for i in range(20):
                yield b"%d" % i
                said.acquire(timeout=5)

        for answer in call("stream_stream", "/lab/StreamStream")(talk(), timeout=10):
            heard.append(answer)
            said.release()
        checks.that(heard == [b"re:%d" % i for i in range(20)], f"bidirectional streaming: {heard}")

        def fails(method, code, text=None):
            try:
                call("unary_unary", method)(b"", timeout=10)
                checks.that(False, f"{method} did not fail")
            except grpc.RpcError as error:
                checks.that(error.code() == code, f"{method}: {error.code()} {error.details()}")
                if text:
                    checks.that(error.details() == text, f"{method}: {error.details()}")

        fails("/lab/NotFound", grpc.StatusCode.NOT_FOUND, "no such: thing%")
        fails("/lab/Slow", grpc.StatusCode.DEADLINE_EXCEEDED)  # the gateway's per-try timeout
        fails("/dead/x", grpc.StatusCode.UNAVAILABLE)
        fails("/none/x", grpc.StatusCode.UNIMPLEMENTED)


def httpx_checks():
    for http2 in (False, True):
        word = "HTTP/2" if http2 else "HTTP/1.1"
        with httpx.Client(http1=not http2, http2=http2, verify=lab.folder + "/ca.pem", base_url=f"https://localhost:{lab.tls}", timeout=10) as client:
            for _ in range(50):
                answer = client.get("/plain/")
                checks.that((answer.status_code, answer.text, answer.http_version) == (200, "plain", word), f"{word}: {answer}")
            body = bytes(range(251)) * 9973
            checks.that(client.post("/plain/echo", content=body).content == body, f"{word}: an upload of 2.5 MB")
            checks.that(client.post("/plain/echo", content=(body[i:i + 5000] for i in range(0, 100_000, 5000))).content == body[:100_000], f"{word}: a streamed upload")
            checks.that(client.head("/plain/").headers["content-length"] == "12345", f"{word}: HEAD keeps the length")
            checks.that(client.get("/plain/204").status_code == 204, f"{word}: 204")
            checks.that(client.get("/plain/304").status_code == 304, f"{word}: 304")
            checks.that(client.get("/plain/early-hints").text == "ok", f"{word}: 103 before 200")
            checks.that(client.get("/plain/").text == "plain", f"{word}: the connection still works")
            seen = client.get("/plain/headers", headers={"X-Forwarded-For": "6.6.6.6", "X_Forwarded_For": "6.6.6.6", "TE": "trailers"})
            fields = dict(line.split(": ", 1) for line in seen.text.splitlines())
            checks.that(fields["x-forwarded-for"] == "127.0.0.1", f"{word}: X-Forwarded-For of a stranger is replaced: {fields}")
            checks.that(fields["x-forwarded-proto"] == "https" and fields["x-forwarded-host"] == f"localhost:{lab.tls}", f"{word}: {fields}")
            # TE is the gateway's own: it takes trailers.
            checks.that("x_forwarded_for" not in fields and fields.get("te", "trailers") == "trailers", f"{word}: {fields}")
            checks.that(fields["via"].endswith("holdfast"), f"{word}: Via: {fields}")
            checks.that(fields["x-request-id"] == seen.headers["x-request-id"], f"{word}: one request id")
            checks.that("x-secret" not in seen.headers, f"{word}: a nominated field went on")
            refused = client.get("/nothing")
            checks.that(refused.status_code == 404 and refused.json()["reason"] == "route.none", f"{word}: {refused.text}")
            checks.that(refused.headers["content-type"] == "application/problem+json", f"{word}: {refused.headers}")
            checks.that(client.get("/dead/").json()["reason"] == "connect.refused", f"{word}: a dead upstream")
            with client.stream("GET", "/plain/events") as answer:
                events = []
                for line in answer.iter_lines():
                    if line.startswith("data"):
                        events.append(line.strip())
                        released.set()
                checks.that(events == [f"data: {i}" for i in range(5)], f"{word}: events as they come: {events}")


async def many_at_once():
    async with httpx.AsyncClient(http2=True, verify=lab.folder + "/ca.pem", base_url=f"https://localhost:{lab.tls}", timeout=20) as client:
        async def one(i):
            return (await client.get(f"/plain/?{i}")).text

        for _ in range(5):
            answers = await asyncio.gather(*(one(i) for i in range(60)))
            checks.that(answers == ["plain"] * 60, "60 requests at once on one HTTP/2 connection")


def curl(*arguments):
    return subprocess.run(["curl", "-s", "-m", "20", "--cacert", lab.folder + "/ca.pem", *arguments], capture_output=True).stdout.decode()


def curl_checks():
    for version in ("--http1.1", "--http2"):
        answer = curl(version, "-i", "-H", "TE: trailers", f"https://localhost:{lab.tls}/plain/trailers")
        checks.that(answer.endswith("abcx-sum: 42\r\n") or "x-sum: 42" in answer.split("\r\n\r\n", 1)[1], f"{version}: trailers: {answer!r}")
        checks.that("set-cookie" not in answer, f"{version}: a cookie in trailers is dropped")
        answer = curl(version, "-i", f"https://localhost:{lab.tls}/plain/early-hints")
        checks.that(" 103" in answer and "</a.css>" in answer and answer.endswith("ok"), f"{version}: interim responses pass: {answer!r}")
    checks.that(curl("--http2-prior-knowledge", "-w", "%{http_version}", f"http://127.0.0.1:{lab.clear}/plain/") == "plain2", "h2c by prior knowledge")
    checks.that(curl("-i", "--http1.0", f"http://127.0.0.1:{lab.clear}/plain/").endswith("\r\n\r\nplain"), "HTTP/1.0")
    # An upload at its own slow pace, longer than the per-try timeout allows an upstream, is nobody's fault but the client's.
    slow = socket.create_connection(("127.0.0.1", lab.clear))
    slow.sendall(b"POST /plain/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n")
    for i in range(14):
        slow.sendall(b"%d" % (i % 10))
        time.sleep(0.45)
    answer = b""
    while not answer.endswith(b"123") and (got := slow.recv(4096)):
        answer += got
    checks.that(answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"01234567890123"), f"a slow upload: {answer!r}")
    # 100-continue: the body is only sent once it was asked for.
    asked = socket.create_connection(("127.0.0.1", lab.clear))
    asked.settimeout(10)
    asked.sendall(b"POST /plain/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    checks.that(asked.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n", "100 Continue")
    asked.sendall(b"abc")
    answer = b""
    while not answer.endswith(b"abc") and (got := asked.recv(4096)):
        answer += got
    checks.that(answer.endswith(b"\r\n\r\nabc"), f"the answer after 100: {answer!r}")


grpc_checks()
httpx_checks()
asyncio.run(many_at_once())
curl_checks()
server.stop(None)
checks.that(lab.total("holdfast_bulkhead_permits_in_use") == 0, "permits are left in use")
checks.end(lab)
