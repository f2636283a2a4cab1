# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""The cache filter before a scripted origin that counts what it is asked: curl and httpx over TLS, HTTP/1.1 and HTTP/2. What is stored and for whom,
ranges and conditions, one fetch for many, stale answers while the origin is dead, purges, a reload. The witness is the origin's count."""
import collections
import http.server
import json
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import httpx

from lab import Checks, Lab, free_port, wait_for

lab, checks = Lab(), Checks()
port = free_port()
TOKEN = "an admin token of the lab"
asked = collections.Counter()
heads = {}
lock = threading.Lock()


class Origin(http.server.BaseHTTPRequestHandler):
    """`/name?field=value&…` is answered with these header fields; `status`, `body`, `delay` and `cut` are for the origin itself."""
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        length = int(self.headers.get("content-length", 0))
        self.rfile.read(length)
        path, _, query = self.path.partition("?")
        script = dict(urllib.parse.parse_qsl(query))
        with lock:
            asked[path] += 1
            count = asked[path]
            heads[path] = {k.lower(): v for k, v in self.headers.items()}
        time.sleep(float(script.pop("delay", 0)))
        body = script.pop("body", f"{path[1:]} {count}").encode() * int(script.pop("times", 1))
        status = int(script.pop("status", 200))
        cut = script.pop("cut", None)
        tag = script.get("etag")
        if tag and self.headers.get("if-none-match") == tag and "changed" not in script:
            status, body = 304, b""
        script.pop("changed", None)
        self.send_response(status)
        for name, value in script.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 304:
            self.send_header("content-length", str(len(body) + (10 if cut else 0)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if cut:
            self.close_connection = True

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.open = []

    def get_request(self):
        connection, peer = super().get_request()
        self.open.append(connection)
        return connection, peer

    def die(self):
        """As a killed process does: its kept connections go too."""
        self.shutdown()
        self.server_close()
        for connection in self.open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, *arguments):
        pass


server = Server(("127.0.0.1", port), Origin)
threading.Thread(target=server.serve_forever, daemon=True).start()

with open(f"{lab.folder}/token", "w") as f:
    f.write(TOKEN + "\n")
TOP = "admin_token: { file: token }\ncache: { bytes: 16MiB }\n"
UPSTREAMS = f"""  origin:
    endpoints: ["127.0.0.1:{port}"]
    guard: {{ breaker: {{ window: {{ calls: 10, time: 10s }}, minimum_calls: 5, open_for: 2s, open_jitter: 0%, ramp: 0s }}, retries: {{ attempts: 1 }} }}"""
ROUTES = """  - match: { path: /* }
    to: origin
    filters:
      - cache: { object_bytes: 256KiB, ignore_query: ["utm_*"], stale_if_error: 1h, uncacheable_for: 300ms }
"""
lab.start(UPSTREAMS, ROUTES, top=TOP)
TLS, CLEAR = f"https://localhost:{lab.tls}", f"http://localhost:{lab.clear}"


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        self.cache = headers.get("cache-status", "")

    @property
    def hit(self):
        return "; hit" in self.cache


def curl(target, *options, base=TLS):
    """One request by curl; the head is read from what it prints."""
    out = subprocess.run(["curl", "-s", "-i", "--max-time", "20", "--cacert", f"{lab.folder}/ca.pem", *options, base + target],
                         capture_output=True, timeout=30).stdout
    head, _, body = out.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    return Answer(int(lines[0].split()[1]) if lines[0] else 0, headers, body)


client = httpx.Client(http2=True, verify=f"{lab.folder}/ca.pem", timeout=20)


def h2(target, method="GET", base=TLS, **fields):
    got = client.request(method, base + target, headers={k.replace("_", "-"): v for k, v in fields.items()})
    return Answer(got.status_code, got.headers, got.content)


def times(path):
    with lock:
        return asked[path]


FRESH = "cache-control=max-age%3D60"

# One fetch, whoever asks and how.
first = curl(f"/one?{FRESH}", "--http1.1")
checks.that(first.status == 200 and "fwd=uri-miss" in first.cache and "stored" in first.cache, f"a miss that is stored: {first.cache}")
for got in (curl(f"/one?{FRESH}", "--http2"), h2(f"/one?{FRESH}"), curl(f"/one?{FRESH}", "--http1.1"), curl(f"/one?{FRESH}&utm_source=x")):
    checks.that(got.hit and got.body == b"one 1" and got.headers.get("age") is not None, f"a hit: {got.cache} {got.body}")
checks.that(times("/one") == 1, f"one fetch: {times('/one')}")
head = curl(f"/one?{FRESH}", "-I")
checks.that(head.hit and head.headers.get("content-length") == "5" and times("/one") == 1, f"HEAD from the store: {head.headers}")
checks.that(curl(f"/one?{FRESH}", base=CLEAR).body == b"one 2", "another scheme is another key (E17)")
checks.that(curl(f"/one?{FRESH}", "-H", f"Host: LOCALHOST:{lab.tls}").body == b"one 1", "host case is the same key (E17)")
checks.that(curl(f"/one?{FRESH}", "-H", "Host: other.example").body != b"one 1", "another host is another key (E17)")
checks.that(curl(f"/one?{FRESH}", "-H", "X-HTTP-Method-Override: DELETE").cache.startswith("Holdfast; fwd=bypass"), "overrides go past")
checks.that(curl(f"/one?{FRESH}", "-H", "X-Forwarded-Host: evil.example").body != b"evil", "a forged host does no harm")
checks.that(curl(f"/one?{FRESH}").body == b"one 1", "and changed nothing that is stored")

# Conditions and ranges.
TAGGED = f"{FRESH}&etag=%22v1%22&body=0123456789"
curl(f"/tagged?{TAGGED}")
got = curl(f"/tagged?{TAGGED}", "-H", 'If-None-Match: "v0", "v1"')
checks.that(got.status == 304 and got.hit and got.body == b"" and "content-length" not in got.headers, f"304 from the store: {got.status} {got.headers}")
got = curl(f"/tagged?{TAGGED}", "-r", "2-4")
checks.that(got.status == 206 and got.body == b"234" and got.headers.get("content-range") == "bytes 2-4/10", f"a range: {got.status} {got.body}")
got = h2(f"/tagged?{TAGGED}", range="bytes=99-")
checks.that(got.status == 416 and got.headers.get("content-range") == "bytes */10", f"416: {got.status}")
got = h2(f"/tagged?{TAGGED}", if_none_match='"v1"')
checks.that(got.status == 304 and got.body == b"", "304 over HTTP/2")
checks.that(times("/tagged") == 1, f"one fetch for all of them: {times('/tagged')}")

# Who may have it (E18).
for user in ("alice", "bob"):
    got = curl(f"/private?{FRESH}", "-H", f"Authorization: Basic {user}")
    checks.that(not got.hit and "detail=authorization" in got.cache, f"{user}: {got.cache}")
checks.that(times("/private") == 2, "two users, two fetches")
for user in ("alice", "bob"):
    got = curl("/shared?cache-control=max-age%3D60%2C+public", "-H", f"Authorization: Basic {user}")
checks.that(got.hit and times("/shared") == 1, f"public is shared: {got.cache}")
for name, script in (("cookie", f"{FRESH}&set-cookie=id%3D1"), ("nostore", "cache-control=no-store"), ("priv", "cache-control=private%2C+max-age%3D60"),
                     ("star", f"{FRESH}&vary=*"), ("silent", "x=1"), ("xff", f"{FRESH}&vary=X-Forwarded-For")):
    for _ in range(2):
        got = curl(f"/{name}?{script}")
    checks.that(times(f"/{name}") == 2 and "stored" not in got.cache, f"{name} is not stored: {got.cache}")
for language in ("de", "en", "de"):
    got = curl(f"/vary?{FRESH}&vary=Accept-Language", "-H", f"Accept-Language: {language}")
checks.that(got.hit and got.body == b"vary 1" and times("/vary") == 2, f"variants: {got.body} {times('/vary')}")

# What is incomplete is not stored (E19, B04); a GET with a body goes past, and its connection goes on (A23).
subprocess.run(["curl", "-s", "--http1.1", "--cacert", f"{lab.folder}/ca.pem", f"{TLS}/cut?{FRESH}&cut=1"], capture_output=True, timeout=30)
time.sleep(0.2)
checks.that(json.load(urllib.request.urlopen(f"http://127.0.0.1:{lab.admin}/cache"))["answers"] > 0, "the store's size is told")
checks.that(not curl(f"/cut?{FRESH}&cut=1").hit, "what was cut is not stored")
with socket.create_connection(("127.0.0.1", lab.clear), 10) as s:
    target = f"/body?{FRESH}"
    plain = f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    s.sendall(plain)
    answer = s.recv(65536)
    s.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n".encode() + b"GET /" + plain)
    end = time.monotonic() + 5
    answer = b""
    while answer.count(b"HTTP/1.1 200") < 2 and time.monotonic() < end:
        answer += s.recv(65536)
checks.that(b"fwd=bypass" in answer and answer.count(b"HTTP/1.1 200") == 2 and b"; hit" in answer, f"a GET with a body: {answer[-600:]}")

# One fetch for many (E20).
results = []


def one(target):
    results.append(curl(target, "--http1.1"))


def many(count, target):
    results.clear()
    threads = [threading.Thread(target=one, args=(target,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(results)


got = many(60, f"/slow?{FRESH}&delay=1.5")
checks.that(all(a.status == 200 and a.body == b"slow 1" for a in got) and times("/slow") == 1, f"one fetch for 60: {times('/slow')}")
checks.that(any("collapsed" in a.cache for a in got), f"they say so: {got[-1].cache}")
got = many(20, "/slownot?cache-control=no-store&delay=0.5")
checks.that(all(a.status == 200 for a in got) and times("/slownot") == 20, f"what may not be stored is everybody's own: {times('/slownot')}")

# Stale answers: confirmed, refreshed behind the back, and where the origin is dead.
SHORT = "cache-control=max-age%3D1&etag=%22s%22"
SWR = "cache-control=max-age%3D1%2C+stale-while-revalidate%3D60"
for target in (f"/short?{SHORT}", f"/swr?{SWR}", "/strict?cache-control=max-age%3D1%2C+must-revalidate"):
    curl(target)
time.sleep(2.1)
got = curl(f"/short?{SHORT}")
checks.that(got.status == 200 and got.body == b"short 1" and "fwd-status=304" in got.cache and times("/short") == 2, f"confirmed: {got.cache} {got.body}")
checks.that(heads["/short"].get("if-none-match") == '"s"', "by the stored answer's own tag")
got = curl(f"/swr?{SWR}")
checks.that(got.hit and got.body == b"swr 1" and "ttl=-" in got.cache, f"stale at once: {got.cache}")
end = time.monotonic() + 5
while times("/swr") < 2 and time.monotonic() < end:
    time.sleep(0.05)
time.sleep(0.2)
checks.that(times("/swr") == 2 and curl(f"/swr?{SWR}").body == b"swr 2", f"fetched behind the back: {times('/swr')}")
server.die()
time.sleep(2.1)
before = times("/short")
for _ in range(12):
    got = curl(f"/short?{SHORT}")
    checks.that(got.status == 200 and got.body == b"short 1" and "stale-if-error" in got.cache, f"the origin is dead: {got.status} {got.cache}")
checks.that("breaker" in got.headers.get("x-holdfast-reason", ""), f"the breaker is open: {got.headers}")
checks.that(curl("/strict?cache-control=max-age%3D1%2C+must-revalidate").status in (502, 503), "must-revalidate is not served stale")
checks.that(curl("/never").status in (502, 503), "what was never stored fails")
checks.that(curl("/never", "-H", "Cache-Control: only-if-cached").status == 504, "only-if-cached")
server = Server(("127.0.0.1", port), Origin)
threading.Thread(target=server.serve_forever, daemon=True).start()
end, well = time.monotonic() + 30, 0
while well < 20 and time.monotonic() < end:  # the breaker lets its traffic come back little by little
    well = well + 1 if curl("/well").status == 200 else 0
    time.sleep(0.1)

# Purges and changes.


def admin(path, token=TOKEN, method="POST"):
    request = urllib.request.Request(f"http://127.0.0.1:{lab.admin}{path}", method=method)
    if token:
        request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def stored(target):
    curl(target)
    return curl(target).hit


A, B, C = (f"/p/{n}?{FRESH}&cache-tag=products%2C{n}" for n in "abc")
checks.that(all(stored(t) for t in (A, B, C)), "three are stored")
url = urllib.parse.quote(f"{TLS}{A}", safe="")
checks.that(admin(f"/cache/purge?url={url}", token=None)[0] == 401, "a purge needs the token")
checks.that(admin(f"/cache/purge?url={url}", method="GET")[0] == 405, "and is a POST")
checks.that(admin("/cache/purge?url=nonsense")[0] == 400 and admin("/cache/purge")[0] == 400 and admin("/cache/purge?al=1")[0] == 400, "mistakes are told")
checks.that(curl(A).hit, "nothing was purged yet")
checks.that(admin(f"/cache/purge?url={url}") == (200, '{"purged":1}\n'), "by url")
checks.that(not curl(A).hit and curl(B).hit, "only that one")
checks.that(stored(A) and admin("/cache/purge?tag=products") == (200, '{"purged":3}\n'), "by tag")
checks.that(not curl(B).hit and not curl(C).hit, "all of the tag")
time.sleep(0.1)
checks.that(stored(A) and stored(B), "and stored again")
curl(A, "-X", "POST", "-d", "x=1")
checks.that(not curl(A).hit and curl(B).hit, "a POST ends what is stored of its URI")
lab.write_config(UPSTREAMS, ROUTES.replace("256KiB", "128KiB"), top=TOP)
lab.gateway.send_signal(signal.SIGHUP)
time.sleep(1)
checks.that(curl(B).hit, "a reload keeps what is stored")
checks.that(admin("/cache/purge?all=true")[0] == 200 and not curl(B).hit, "all")

# The bound.
for n in range(300):
    h2(f"/fill/{n}?{FRESH}&times=12000")
for _ in range(2):
    got = h2(f"/fill/299?{FRESH}&times=12000")
checks.that(got.hit and len(got.body) == 12000 * len("fill/299 1"), f"a stored answer larger than a window: {got.cache} {len(got.body)}")
usage = json.load(urllib.request.urlopen(f"http://127.0.0.1:{lab.admin}/cache"))
checks.that(usage["bytes"] <= usage["limit_bytes"] == 16 << 20 and usage["evictions"] > 50, f"the bound holds: {usage}")
checks.that(lab.total("holdfast_cache_requests_total") > 400, "requests are counted")
counted = {k: v for k, v in lab.metrics().items() if k.startswith("holdfast_cache_requests_total")}
collapsed = sum(v for k, v in counted.items() if 'result="collapsed"' in k)
checks.that(collapsed >= 5,  # how many come while the fetch lasts is the machine's to say
            f"by what became of them: {counted}")
client.close()
checks.end(lab)
