# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""The filter compress and limits.decompressed_bytes: bodies that curl, httpx, gzip, brotli's and zstd's own programs read and make. The upstream is the
standard library's; it streams slowly where the path says so."""
import gzip
import http.client
import http.server
import json
import subprocess
import threading
import time
import zlib

from lab import Checks, Lab, free_port

checks = Checks()
TEXT = b"All that is gold does not glitter, not all those who wander are lost. " * 400
step = threading.Event()
got = []


def check(message, condition, found=""):
    checks.that(condition, f"{message} ({found})" if found != "" else message)


class Upstream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        kind = self.path.split("/")[-1]
        body, status, fields = TEXT, 200, {"content-type": "text/plain; charset=utf-8", "etag": '"v1"', "accept-ranges": "bytes"}
        if kind == "json":
            fields["content-type"] = "application/problem+JSON"
        elif kind == "png":
            fields["content-type"] = "image/png"
        elif kind == "short":
            body = TEXT[:1000]
        elif kind == "coded":
            body, fields["content-encoding"] = gzip.compress(TEXT), "gzip"
        elif kind == "fixed":
            fields["cache-control"] = "public, No-Transform"
        elif kind == "part":
            body, status = TEXT[:2000], 206
            fields["content-range"] = f"bytes 0-1999/{len(TEXT)}"
        elif kind == "weak":
            fields["etag"], fields["vary"] = 'W/"v2"', "origin, Accept-Encoding"
        elif kind == "digest":
            fields["content-digest"] = "sha-256=:x:"
        elif kind == "empty":
            body, status = b"", 204
        elif kind == "unchanged":
            body, status = b"", 304
        elif kind == "bytes":
            body = bytes((i * 7919 >> 3) & 255 for i in range(3_000_000))
        if kind == "slow":
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for n in range(3):
                piece = b"data: %d\n\n" % n
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
                step.wait(20)
                step.clear()
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def do_POST(self):
        if "chunked" in self.headers.get("transfer-encoding", ""):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
        got.append(body)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *arguments):
        pass


port = free_port()
threading.Thread(target=Server(("127.0.0.1", port), Upstream).serve_forever, daemon=True).start()
lab = Lab()
lab.start(f"  u: {{ endpoints: [127.0.0.1:{port}] }}", """
  - match: { path: /c/* }
    to: u
    filters: [ { compress: {} } ]
  - match: { path: /own }
    answer: { body: "%s" }
    filters: [ { compress: { min_size: 10B, codings: [gzip] } } ]
  - match: { path: /up/* }
    to: u
    filters: [ { limits: { decompressed_bytes: 1MiB } } ]
""" % ("gold " * 100))


def get(path, accept=None, method="GET", headers={}):
    connection = http.client.HTTPConnection("127.0.0.1", lab.clear, timeout=15)
    connection.request(method, path, headers={**({"accept-encoding": accept} if accept is not None else {"accept-encoding": "identity"}), **headers})
    answer = connection.getresponse()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def undo(coding, body):
    tool = {"br": ["brotli", "-d", "-c"], "zstd": ["zstd", "-d", "-c", "-q"], "gzip": ["gzip", "-d", "-c"]}[coding]
    return subprocess.run(tool, input=body, capture_output=True).stdout


for coding in ["br", "zstd", "gzip"]:
    status, headers, body = get("/c/text", coding)
    check(f"{coding} is given to who takes it", headers.get("content-encoding") == coding and undo(coding, body) == TEXT and len(body) < 2000, headers)
    check(f"{coding}: tag, length and ranges follow", headers["etag"] == 'W/"v1"' and "content-length" not in headers and "accept-ranges" not in headers
          and headers["vary"] == "accept-encoding", headers)
    status, headers, body = get("/c/bytes", coding)
    check(f"{coding}: what is large comes whole", undo(coding, body) == bytes((i * 7919 >> 3) & 255 for i in range(3_000_000)))
check("the better liked is taken", get("/c/text", "br;q=0.5, gzip;q=0.8")[1].get("content-encoding") == "gzip")
check("nobody gets what he refuses", get("/c/text", "*;q=0, identity")[1].get("content-encoding") is None)
status, headers, body = get("/c/text")
check("who takes none gets it as it is", body == TEXT and headers["etag"] == '"v1"' and headers["content-length"] == str(len(TEXT))
      and headers["vary"] == "accept-encoding", headers)
check("types that end alike", get("/c/json", "gzip")[1].get("content-encoding") == "gzip")
for kind, why in [("png", "an image"), ("short", "a short one"), ("coded", "what has a coding"), ("fixed", "no-transform"), ("part", "a part"), ("digest", "a digest")]:
    plain, asked = get(f"/c/{kind}"), get(f"/c/{kind}", "br, gzip")
    check(f"{why} is left alone", asked[2] == plain[2] and asked[1].get("content-encoding") == plain[1].get("content-encoding")
          and asked[1]["content-length"] == str(len(asked[2])) and asked[1]["etag"] == '"v1"', asked[1])
headers = get("/c/weak", "gzip")[1]
check("a weak tag stays, and Vary is not told twice", headers["etag"] == 'W/"v2"' and headers["vary"] == "origin, Accept-Encoding", headers)
check("a client may ask for it as it is", get("/c/text", "gzip", headers={"cache-control": "no-transform"})[1].get("content-encoding") is None)
status, headers, body = get("/c/text", "gzip", method="HEAD")
check("HEAD has the fields of GET", status == 200 and body == b"" and headers.get("content-encoding") == "gzip" and "content-length" not in headers, headers)
status, headers, body = get("/c/empty", "gzip")
check("204 has no coding", status == 204 and "content-encoding" not in headers, headers)
check("304 has the tag that the client has", get("/c/unchanged", "gzip", headers={"if-none-match": 'W/"v1"'})[1]["etag"] == 'W/"v1"'
      and get("/c/unchanged", headers={"if-none-match": '"v1"'})[1]["etag"] == '"v1"')
status, headers, body = get("/own", "gzip")
check("the gateway's own answers too", headers.get("content-encoding") == "gzip" and gzip.decompress(body) == b"gold " * 100, headers)
curl = subprocess.run(["curl", "-s", "--http2", "--compressed", "--cacert", f"{lab.folder}/ca.pem", f"https://localhost:{lab.tls}/c/text"], capture_output=True)
check("curl reads it over HTTP/2", curl.stdout == TEXT, len(curl.stdout))
import httpx  # noqa: E402
with httpx.Client(http2=True, verify=f"{lab.folder}/ca.pem") as client:
    answer = client.get(f"https://localhost:{lab.tls}/c/text", headers={"accept-encoding": "gzip"})
    check("and httpx", answer.content == TEXT and answer.headers["content-encoding"] == "gzip")

# A stream that comes slowly is not held back.
connection = http.client.HTTPConnection("127.0.0.1", lab.clear, timeout=10)
connection.request("GET", "/c/slow", headers={"accept-encoding": "gzip"})
answer = connection.getresponse()
decoder, text = zlib.decompressobj(31), b""
for n in range(3):
    wanted = b"".join(b"data: %d\n\n" % i for i in range(n + 1))
    end = time.monotonic() + 8
    while len(text) < len(wanted) and time.monotonic() < end:
        text += decoder.decompress(answer.read1(4096))
    check(f"event {n} is here before the next", text == wanted and answer.getheader("content-encoding") == "gzip", text)
    step.set()
    time.sleep(0.05)
connection.close()


# Requests: what a body becomes.

def post(body, coding=None, chunked=False):
    connection = http.client.HTTPConnection("127.0.0.1", lab.clear, timeout=15)
    headers = {"content-encoding": coding} if coding else {}
    if chunked:
        connection.request("POST", "/up/x", body=(body[i:i + 997] for i in range(0, len(body), 997)), headers=headers, encode_chunked=True)
    else:
        connection.request("POST", "/up/x", body=body, headers=headers)
    answer = connection.getresponse()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def tool(*arguments):
    return lambda body: subprocess.run(arguments, input=body, capture_output=True).stdout


makers = {"gzip": gzip.compress, "deflate": zlib.compress, "br": tool("brotli", "-c"), "zstd": tool("zstd", "-c", "-q")}
fits, bomb = b"a" * (1 << 20), b"a" * ((1 << 20) + 1)
for coding, make in makers.items():
    for chunked in [False, True]:
        got.clear()
        sent = make(fits)
        status = post(sent, coding, chunked)[0]
        check(f"{coding}: a body that fits goes on, byte for byte", status == 200 and got == [sent], status)
        status, headers, body = post(make(bomb), coding, chunked)
        check(f"{coding}: one byte more is refused", status == 413 and json.loads(body)["reason"] == "request.body_too_large", (status, body))
big = gzip.compress(b"\0" * (200 << 20))
before = time.monotonic()
status = post(big, "gzip")[0]
check("a bomb of 200 MiB is stopped at once", status == 413 and time.monotonic() - before < 5, (status, time.monotonic() - before))
check("one in another as well", post(gzip.compress(big), "gzip, gzip")[0] == 413)
check("and one in a second member", post(gzip.compress(b"a") + big, "gzip")[0] == 413)
check("plain bodies have the limit too", post(fits)[0] == 200 and post(bomb)[0] == 413 and post(bomb, chunked=True)[0] == 413)
status, headers, body = post(b"x", "compress")
check("an unknown coding is refused", status == 415 and json.loads(body)["reason"] == "request.content_coding" and "zstd" in headers["accept-encoding"], (status, headers))
for wrong in [b"no gzip at all", gzip.compress(TEXT)[:-9], b"\x1f\x8b" + b"\xff" * 50]:
    check("what is not in its coding is refused", post(wrong, "gzip")[0] == 400)
check("the upstream still answers", get("/c/text")[0] == 200)

checks.end(lab)
