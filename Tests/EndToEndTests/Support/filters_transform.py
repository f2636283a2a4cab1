# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""The transform filter with real clients (case E25): an order for an old service there and back, bodies that cannot be mapped, and the JSON parser held
against Python's on thousands of documents, whole and damaged. The witness is the backend, which says what it got."""
import gzip
import http.client
import json
import random
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from lab import Checks, Lab, free_port, wait_for

lab, checks = Lab(), Checks()
port = free_port()
seen = []


class Backend(BaseHTTPRequestHandler):
    """Remembers what it was asked, and answers by the path: /echo gives the body back, /as/NAME a prepared answer."""
    protocol_version = "HTTP/1.1"
    prepared = {
        "json": (200, {"Content-Type": "application/json", "ETag": '"v1"', "Digest": "sha-256=x"}, b'{"ORDER_NO":"42","EXTRA":1}'),
        "gzip": (200, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, gzip.compress(b'{"ORDER_NO":"42"}')),
        "html": (200, {"Content-Type": "text/html"}, b"<p>secret</p>"),
        "broken": (200, {"Content-Type": "application/json"}, b'{"ORDER_NO":"42"'),
        "big": (200, {"Content-Type": "application/json"}, b'{"ORDER_NO":"' + b"4" * 100_000 + b'"}'),
        "wrong": (200, {"Content-Type": "application/json"}, b'{"ORDER_NO":"forty-two"}'),
        "lone": (200, {"Content-Type": "application/json"}, b'{"ORDER_NO":"42","x":"\\ud800"}'),
        "twice": (200, {"Content-Type": "application/json"}, b'{"ORDER_NO":"42","ORDER_NO":"43"}'),
        "error": (404, {"Content-Type": "application/problem+json"}, b'{"title":"no such order"}'),
        "range": (206, {"Content-Type": "application/json", "Content-Range": "bytes 0-3/10"}, b'{"OR'),
    }

    def answer(self):
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else b""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        seen.append((self.command, self.path, dict((k.lower(), v) for k, v in self.headers.items()), body))
        if self.path.startswith("/as/"):
            status, fields, out = self.prepared[self.path.split("/")[2].split("?")[0]]
        else:
            status, fields, out = 200, {"Content-Type": "application/json"}, body
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        if "/as/json?chunked" in self.path:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for byte in out:
                self.wfile.write(b"1\r\n" + bytes([byte]) + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(out)

    do_GET = do_POST = do_PUT = do_HEAD = answer

    def log_message(self, *arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", port), Backend)
threading.Thread(target=server.serve_forever, daemon=True).start()

ORDER = """
          fields:
            ORDER_NO: { from: id, as: string, required: true }
            CUST.NAME: { from: customer.name, default: unknown }
            CURRENCY: { value: EUR }
            LINES: { each: items, fields: { SKU: product.id, QTY: { from: quantity, as: integer } } }"""
NUMBER = """
          fields: { number: { from: ORDER_NO, as: integer } }"""
lab.start(
    f'  legacy: {{ endpoints: ["127.0.0.1:{port}"], guard: {{ retries: {{ attempts: 1 }}, breaker: {{ disabled: true }} }} }}',
    f"""  - match: {{ path: "/order/*" }}
    to: legacy
    strip_prefix: /order
    filters:
      - transform:
          method: PUT
          query: {{ remove: [debug], rename: {{ page: p }}, set: {{ who: "{{header.x-who}}" }} }}
          request:
            max_bytes: 2KiB{ORDER.replace(chr(10), chr(10) + "  ")}
  - match: {{ path: "/lenient/*" }}
    to: legacy
    strip_prefix: /lenient
    filters:
      - transform:
          request:
            on_mismatch: pass
            max_bytes: 2KiB{ORDER.replace(chr(10), chr(10) + "  ")}
          response:
            on_mismatch: pass
            max_bytes: 64KiB{NUMBER.replace(chr(10), chr(10) + "  ")}
  - match: {{ path: "/as/*" }}
    to: legacy
    filters:
      - transform:
          response:
            max_bytes: 64KiB{NUMBER.replace(chr(10), chr(10) + "  ")}
  - match: {{ path: "/keep/*" }}
    to: legacy
    filters:
      - transform:
          request:
            unknown: keep
            root: either
            fields: {{ moved.here: from.there }}""")
wait_for(lab.clear)
base = f"http://127.0.0.1:{lab.clear}"
tls = httpx.Client(http2=True, verify=f"{lab.folder}/ca.pem", base_url=f"https://localhost:{lab.tls}")

# There: method, query, names; by curl, over HTTP/2, and chunked.
order = {"id": 42, "items": [{"product": {"id": "p1"}, "quantity": "2"}], "internal": "x"}
wanted = b'{"ORDER_NO":"42","CUST":{"NAME":"unknown"},"CURRENCY":"EUR","LINES":[{"SKU":"p1","QTY":2}]}'
for how in ([], ["-H", "transfer-encoding: chunked"], ["-H", "expect: 100-continue"], ["--cacert", f"{lab.folder}/ca.pem", "--http2"]):
    site = f"https://localhost:{lab.tls}" if "--http2" in how else base
    out = subprocess.run(
        ["curl", "-s", *how, "-H", "content-type: application/json", "-H", "x-who: a&b=c", "-H", "digest: sha-256=x", "-d", json.dumps(order),
         f"{site}/order/echo?debug=1&page=3&%64ebug=2"], capture_output=True, timeout=20).stdout
    method, path, fields, body = seen[-1]
    checks.that(body == wanted == out, f"{how}: the service got {body}")
    checks.that((method, path) == ("PUT", "/echo?p=3&who=a%26b%3Dc"), f"{how}: the service was asked {method} {path}")
    checks.that(fields.get("content-length") == str(len(wanted)) and "digest" not in fields, f"{how}: {fields}")
huge = "1234567890123456789012345678901234567890.125e-7"
tls.post("/order/echo", content=f'{{"id":{huge},"customer":{{"name":"\\u00e9\\ud83d\\ude00"}}}}', headers={"content-type": "application/json"})
checks.that(seen[-1][3].startswith(f'{{"ORDER_NO":"{huge}","CUST":{{"NAME":"\\u00e9\\ud83d\\ude00"}}'.encode()), f"digits are lost: {seen[-1][3]}")

# What cannot be mapped is refused, and the service never hears of it; or it is passed on as it is.
json_type = {"content-type": "application/json"}
long_body = json.dumps({"id": 1, "x": "y" * 3_000}).encode()
for name, headers, body, status, reason in [
    ("text", {"content-type": "text/plain"}, b'{"id":1}', 415, "request.body_type"),
    ("a form", {"content-type": "application/x-www-form-urlencoded"}, b"id=1", 415, "request.body_type"),
    ("no type", {}, b'{"id":1}', 415, "request.body_type"),
    ("latin-1", {"content-type": "application/json; charset=iso-8859-1"}, b'{"id":"\xe9"}', 415, "request.body_type"),
    ("gzip", json_type | {"content-encoding": "gzip"}, gzip.compress(b'{"id":1}'), 415, "request.body_type"),
    ("a bomb", json_type | {"content-encoding": "gzip"}, gzip.compress(b'"' + b" " * 900_000 + b'"'), 415, "request.body_type"),
    ("cut short", json_type, b'{"id":1', 400, "request.body_malformed"),
    ("no UTF-8", json_type, b'{"id":"\xff"}', 400, "request.body_malformed"),
    ("a lone surrogate", json_type, b'{"id":"\\udead"}', 400, "request.body_malformed"),
    ("a name twice", json_type, b'{"id":1,"\\u0069d":2}', 400, "request.body_malformed"),
    ("a comment", json_type, b'{"id":1} // order', 400, "request.body_malformed"),
    ("NaN", json_type, b'{"id":NaN}', 400, "request.body_malformed"),
    ("a mark", json_type, b'\xef\xbb\xbf{"id":1}', 400, "request.body_malformed"),
    ("a tower", json_type, b"[" * 2_000, 400, "request.body_malformed"),
    ("a list", json_type, b'[{"id":1}]', 422, "request.body_mapping"),
    ("no id", json_type, b"{}", 422, "request.body_mapping"),
    ("an object for an id", json_type, b'{"id":{}}', 422, "request.body_mapping"),
    ("half an item", json_type, b'{"id":1,"items":[{"quantity":1.5}]}', 422, "request.body_mapping"),
    ("too long", json_type, long_body, 413, "request.body_too_large"),
]:
    before = len(seen)
    answer = httpx.post(f"{base}/order/echo", content=body, headers=headers)
    checks.that(answer.status_code == status and answer.json()["reason"] == reason, f"{name}: {answer.status_code} {answer.text}")
    checks.that(len(seen) == before, f"{name}: the service was asked")
    answer = httpx.post(f"{base}/lenient/echo", content=body, headers=headers)
    checks.that(seen[-1][3] == body and answer.status_code == 200, f"{name}, passed on: the service got {seen[-1][3][:80]}")


def chunks():
    for i in range(0, len(long_body), 100):
        yield long_body[i:i + 100]


answer = httpx.post(f"{base}/order/echo", content=chunks(), headers=json_type)
checks.that(answer.status_code == 413 and answer.json()["reason"] == "request.body_too_large", f"too long, chunked: {answer.status_code}")
for size in (3_000, 300_000, 3_000_000):
    long_body = json.dumps({"id": 1, "x": "y" * size}).encode()
    answer = httpx.post(f"{base}/lenient/echo", content=chunks(), headers=json_type, timeout=30)
    checks.that(answer.status_code == 200 and seen[-1][3] == long_body, f"{size}, chunked and passed on: {answer.status_code}, {len(seen[-1][3])} arrived")

# Back.
for client, path in [(httpx, f"{base}/as/json"), (tls, "/as/json"), (httpx, f"{base}/as/json?chunked")]:
    answer = client.get(path, headers={"accept-encoding": "gzip", "range": "bytes=0-3"})
    checks.that(answer.status_code == 200 and answer.content == b'{"number":42}', f"{path}: {answer.status_code} {answer.text}")
    checks.that(answer.headers.get("etag") == 'W/"v1"' and "digest" not in answer.headers, f"{path}: {answer.headers}")
    checks.that(answer.headers.get("content-length") == "13", f"{path}: {answer.headers}")
    checks.that(seen[-1][2].get("accept-encoding") == "identity" and "range" not in seen[-1][2], f"{path}: asked with {seen[-1][2]}")
answer = httpx.head(f"{base}/as/json")
checks.that(answer.status_code == 200 and "content-length" not in answer.headers and answer.headers["etag"] == 'W/"v1"', f"HEAD: {answer.headers}")
for name, reason in [("gzip", "response.unusable"), ("html", "response.unusable"), ("broken", "response.unusable"), ("wrong", "response.unusable"),
                     ("lone", "response.unusable"), ("twice", "response.unusable"), ("big", "response.too_large")]:
    answer = httpx.get(f"{base}/as/{name}")
    checks.that(answer.status_code == 502 and answer.json()["reason"] == reason, f"/as/{name}: {answer.status_code} {answer.text[:200]}")
    checks.that("secret" not in answer.text and "forty" not in answer.text, f"/as/{name} says what the service said: {answer.text}")
    raw = http.client.HTTPConnection("127.0.0.1", lab.clear, timeout=10)
    raw.request("GET", f"/lenient/as/{name}")
    passed = raw.getresponse().read()
    checks.that(passed == Backend.prepared[name][2], f"/lenient/as/{name}: {passed[:100]}")
for name in ("error", "range"):
    answer = httpx.get(f"{base}/as/{name}")
    status, _, body = Backend.prepared[name]
    checks.that(answer.status_code == status and answer.content == body, f"/as/{name} is not as it was: {answer.status_code} {answer.content}")

# The parser against Python's: each document comes out as it went in but for what was moved, and one is refused if and only if Python refuses it.
seed = random.randrange(1 << 32)
dice = random.Random(seed)
print(f"HOLDFAST_SEED={seed}", flush=True)


class Refused(Exception):
    pass


def pairs(members):
    if len(dict(members)) != len(members):
        raise Refused("a name twice")
    return dict(members)


def refuse(word):
    raise Refused(word)


def strict(text):
    """Numbers as they were written; what RFC 8259 does not have is refused, and so are names twice, lone surrogates and more than 64 levels."""
    value = json.loads(text.decode("utf-8"), object_pairs_hook=pairs, parse_constant=refuse, parse_int=lambda n: ("number", n), parse_float=lambda n: ("number", n))
    json.dumps(value, ensure_ascii=False).encode("utf-8")

    def depth(v):
        if isinstance(v, dict):
            return 1 + max([depth(x) for x in v.values()], default=0)
        if isinstance(v, list):
            return 1 + max([depth(x) for x in v], default=0)
        return 0

    if depth(value) > 64:
        raise Refused("too deep")
    return value


def draw(levels):
    kind = dice.randrange(8 if levels else 5)
    if kind == 0:
        return dice.choice([None, True, False])
    if kind == 1:
        return dice.choice([0, -1, 10 ** 30, dice.randrange(-1 << 70, 1 << 70)])
    if kind == 2:
        return dice.choice([0.5, -1e300, 5e-324, dice.random()])
    if kind <= 4:
        return "".join(chr(dice.choice([dice.randrange(128), dice.randrange(0xA0, 0xD800), dice.randrange(0xE000, 0x110000)])) for _ in range(dice.randrange(8)))
    if kind == 5:
        return [draw(levels - 1) for _ in range(dice.randrange(5))]
    return {draw(0) if isinstance(k := draw(0), str) is False else k: draw(levels - 1) for _ in range(dice.randrange(5))}


def text(value):
    """Any of the ways to write it."""
    out = json.dumps(value, ensure_ascii=dice.random() < 0.5, indent=dice.choice([None, 0, 2]))
    return out.replace("/", "\\/" if dice.random() < 0.5 else "/").encode("utf-8")


connection = http.client.HTTPConnection("127.0.0.1", lab.clear, timeout=20)
accepted = refused = 0
for n in range(3_000):
    members = {f"k{i}": draw(4) for i in range(dice.randrange(5))}
    if dice.random() < 0.5:
        members["from"] = {"there": draw(2)} | ({"stays": draw(1)} if dice.random() < 0.5 else {})
    body = bytearray(text(members))
    if dice.random() < 0.5:
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(body) + 1)
            match dice.randrange(4):
                case 0: body[at:at + 1] = bytes([dice.randrange(256)])
                case 1: del body[at:at + 1]
                case 2: body[at:at] = dice.choice([b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\ud800", b"0", b"-", b"1e", b"\xc3", b"null", b"\t"])
                case _: del body[at:]
    body = bytes(body)
    try:
        value, why = strict(body), None
    except (ValueError, Refused, RecursionError) as problem:
        value, why = None, problem
    if not body:
        continue
    connection.request("POST", "/keep/echo", body=body, headers=json_type)
    response = connection.getresponse()
    out = response.read()
    if why is None and isinstance(value, dict):
        moved = value.get("from")
        if isinstance(moved, dict) and "there" in moved:
            rest = {k: v for k, v in moved.items() if k != "there"}
            value = {k: v for k, v in value.items() if k != "from"} | ({"from": rest} if rest else {})
            if isinstance(value.get("moved"), dict):
                value["moved"] = value["moved"] | {"here": moved["there"]}
            else:
                value["moved"] = {"here": moved["there"]}
        accepted += 1
        try:
            got = strict(out) if response.status == 200 else None
        except (ValueError, Refused) as problem:
            got = problem
        checks.that(got == value, f"seed {seed}, document {n}: {response.status}; {body!r} became {out!r}")
    else:
        refused += 1
        wanted = {400} if why is not None else {400, 422, 200}
        checks.that(response.status in wanted, f"seed {seed}, document {n}: {response.status}, Python says {why!r} of {body!r}")
print(f"{accepted} documents came through as they were, {refused} were refused, as by Python", flush=True)
checks.that(accepted > 1_000 and refused > 300, f"{accepted} accepted, {refused} refused")
metrics = lab.metrics()
checks.that(any('filter="transform"' in k and 'result="refused"' in k and v > 0 for k, v in metrics.items()), "no metric of refusals")
checks.end(lab)
