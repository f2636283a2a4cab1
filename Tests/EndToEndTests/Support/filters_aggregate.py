# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""The aggregate filter with real clients (case E24): a dashboard of three services, parts that are late, long, broken or down, and a client that goes
away in the middle. The witness is the services, which count what they are asked, and the gateway's own count of permits."""
import json
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx

from lab import Checks, Lab, free_port, wait_for

lab, checks = Lab(), Checks()
ports = {name: free_port() for name in ("users", "orders", "products")}
asked = {name: [] for name in ports}
is_down = threading.Event()
PRODUCTS = {"a b": {"id": "a b", "name": "rope"}, "2": {"id": 2, "name": "anchor"}}
LONG = b'{"items":["' + b"x" * (10 << 20) + b'"]}'


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def service(name):
    class Service(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            asked[name].append((self.path, dict((k.lower(), v) for k, v in self.headers.items())))
            where = urlsplit(self.path)
            query = {k: v[0] for k, v in parse_qs(where.query).items()}
            user = query.get("user") or where.path.rsplit("/", 1)[-1]
            status, kind, body = 200, "application/json", b""
            if name == "users":
                status = 404 if user == "nobody" else 503 if user == "sick" else 200
                body = json.dumps({"id": user, "name": "Ada", "at": 1.50}).encode()
            elif name == "orders":
                time.sleep(30 if user == "late" else 0.2)
                status = 404 if user == "none" else 200
                body = b'{"items":[{"product":"a b"} , {"product":2,"n":1.000},{"product":"a b"},{"product":"gone"}]}'
                if user == "empty":
                    body = b'{"items":[]}'
                if user == "long":
                    body = LONG
                if user == "html":
                    kind, body = "text/html", b"<p>secret</p>"
                if user == "broken":
                    body = b'{"items":['
            elif is_down.is_set():
                self.close_connection = True
                return
            else:
                time.sleep(0.2)
                body = json.dumps([PRODUCTS[i] for i in query["ids"].split(",") if i in PRODUCTS]).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Set-Cookie", "a=b")
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass

        def log_message(self, *arguments):
            pass

    server = Server(("127.0.0.1", ports[name]), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()


for name in ports:
    service(name)
GUARD = "guard: { retries: { attempts: 1 }, breaker: { disabled: true }, bulkhead: { concurrent: 8, queue: 8 } }"
lab.start(
    "\n".join(f'  {name}: {{ endpoints: ["127.0.0.1:{port}"], {GUARD} }}' for name, port in ports.items())
    + f'\n  down: {{ endpoints: ["127.0.0.1:{free_port()}"], {GUARD} }}',
    """  - match: { path: "/dashboard/{user}" }
    to: users
    filters:
      - aggregate:
          parts:
            user: { to: users, path: "/users/{param.user}", timeout: 1s }
            orders: { to: orders, path: "/orders?user={param.user}", timeout: 1s, take: items, default: [], not_found: absent, max_bytes: 1MiB }
            products:
              to: products
              path: "/products?ids={part.orders[*].product}"
              headers: { x-user: "{part.user.name}" }
              timeout: 1s
              required: false
              join: { into: orders, on: product, key: id, as: details }
  - match: { path: "/flat/{user}" }
    to: users
    filters:
      - aggregate:
          complete: whole
          missing: off
          cache_control: max-age=5
          parts:
            user: { to: users, path: "/users/{param.user}", merge: flatten }
            extra: { to: down, path: /, default: { none: true }, as: more }
  - match: { path: "/slow" }
    to: users
    filters:
      - aggregate:
          timeout: 500ms
          parts:
            user: { to: users, path: /users/1 }
            orders: { to: orders, path: "/orders?user=late", required: false }""")
wait_for(lab.clear)
base = f"http://127.0.0.1:{lab.clear}"


def permits():
    return {name: int(lab.metrics().get(f'holdfast_bulkhead_permits_in_use{{upstream="{name}"}}', 0)) for name in ports}


def settled(seconds=3):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(permits().values()):
            return True
        time.sleep(0.05)
    return False


# The whole, by curl, over HTTP/2 and TLS.
started = time.monotonic()
out = subprocess.run(["curl", "-s", "-i", "--http2", "--cacert", f"{lab.folder}/ca.pem", "-H", "accept-encoding: gzip", "-H", "x-mine: 1",
                      f"https://localhost:{lab.tls}/dashboard/7"], capture_output=True, timeout=20, text=True).stdout
elapsed = time.monotonic() - started
head, _, body = out.partition("\n\n")
wanted = ('{"user":{"id": "7", "name": "Ada", "at": 1.5},"orders":[{"product":"a b","details":{"id": "a b", "name": "rope"}},'
          '{"product":2,"n":1.000,"details":{"id": 2, "name": "anchor"}},{"product":"a b","details":{"id": "a b", "name": "rope"}},'
          '{"product":"gone"}],"complete":true}')
checks.that(body == wanted, f"the dashboard: {body}")
checks.that("application/json" in head and "set-cookie" not in head.lower() and "no-store" in head, f"its head: {head}")
checks.that(elapsed < 0.9, f"it took {elapsed:.2f} s: the first two were not asked at once")
path, fields = asked["products"][-1]
checks.that(path == "/products?ids=a%20b,2,gone", f"the products were asked {path}")
checks.that(fields.get("x-user") == "Ada" and fields.get("x-mine") == "1" and fields.get("accept-encoding") == "identity", f"with {fields}")
checks.that(fields.get("x-forwarded-proto") == "https" and fields.get("x-forwarded-for") == "127.0.0.1", f"with {fields}")

# Parts that are not there.
for user, part, reason in [("late", "orders", "deadline"), ("long", "orders", "response.too_large"), ("html", "orders", "response.unusable"),
                           ("broken", "orders", "response.unusable")]:
    before = len(asked["products"])
    started = time.monotonic()
    answer = httpx.get(f"{base}/dashboard/{user}", timeout=20)
    document = answer.json()
    checks.that(answer.status_code == 200 and document["complete"] is False and document["missing"] == {part: reason}, f"{user}: {answer.text[:300]}")
    checks.that(document["orders"] == [] and document["user"]["name"] == "Ada", f"{user}: {answer.text[:300]}")
    checks.that(time.monotonic() - started < 3, f"{user} took {time.monotonic() - started:.1f} s")
    checks.that(answer.headers["x-holdfast-reason"] == reason and answer.headers["cache-control"] == "no-store", f"{user}: {answer.headers}")
    checks.that(len(asked["products"]) == before and "secret" not in answer.text, f"{user}: {answer.text[:300]}")
for user in ("none", "empty"):
    checks.that(httpx.get(f"{base}/dashboard/{user}").json() == {"user": {"id": user, "name": "Ada", "at": 1.5}, "orders": [], "complete": True}, user)
for user, status in [("nobody", 502), ("sick", 502)]:
    answer = httpx.get(f"{base}/dashboard/{user}")
    checks.that(answer.status_code == status and answer.json()["reason"] == "status.failure" and "the part user" in answer.json()["detail"], f"{user}: {answer.text}")
answer = httpx.get(f"{base}/flat/1")
checks.that(answer.json() == {"id": "1", "name": "Ada", "at": 1.5, "more": {"none": True}, "whole": False}, f"flat: {answer.text}")
checks.that(answer.headers["x-holdfast-reason"] == "connect.refused", f"flat: {answer.headers}")
started = time.monotonic()
answer = httpx.get(f"{base}/slow")
checks.that(answer.json()["missing"] == {"orders": "deadline"} and time.monotonic() - started < 1.5, f"the filter's own timeout: {answer.text}")
checks.that(httpx.post(f"{base}/flat/1", json={}).status_code == 405, "POST was taken")
answer = httpx.head(f"{base}/flat/1")
checks.that(answer.status_code == 200 and answer.content == b"" and int(answer.headers["content-length"]) > 50, f"HEAD: {answer.headers}")
checks.that(settled(), f"permits that nobody gave back: {permits()}")

# A client that goes away: its parts are given up at once, and the next one finds all permits.
for _ in range(3):
    with ThreadPoolExecutor(8) as pool:
        def leave(_):
            with socket.create_connection(("127.0.0.1", lab.clear)) as s:
                s.sendall(b"GET /dashboard/late HTTP/1.1\r\nHost: x\r\n\r\n")
                time.sleep(0.3)
        list(pool.map(leave, range(8)))
    checks.that(settled(1.0), f"clients went away, and permits are still out: {permits()}")
answer = httpx.get(f"{base}/dashboard/7")
checks.that(answer.json().get("complete") is True, f"the next client was not served: {answer.text}")

# Many at once: every document is whole, and nobody gets another's.
with ThreadPoolExecutor(8) as pool, httpx.Client(base_url=base, limits=httpx.Limits(max_connections=8), timeout=30) as client:
    answers = list(pool.map(lambda n: (n, client.get(f"/flat/{n}")), range(400)))
wrong = [(n, a.status_code, a.text) for n, a in answers if a.status_code != 200 or a.json()["id"] != str(n)]
checks.that(not wrong, f"somebody got another's document, or none: {wrong[:3]}")
checks.that(settled(), f"permits that nobody gave back: {permits()}")

# A service that hangs up on everybody.
is_down.set()
answer = httpx.get(f"{base}/dashboard/7").json()
checks.that(answer["complete"] is False and list(answer["missing"]) == ["products"] and answer["orders"][0] == {"product": "a b"}, f"products are down: {answer}")
metrics = lab.metrics()
checks.that(metrics.get('holdfast_aggregate_parts_total{scope="route /dashboard/{user}",part="orders",result="missing"}', 0) >= 4,
            f"the metric of parts: {[k for k in metrics if 'aggregate' in k]}")
checks.end(lab)
