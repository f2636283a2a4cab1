# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""Filters of the plain kinds with curl: headers, cors, limits, maintenance, canary, mirror, on listener, route and upstream, and across a reload. What
reached a service is what the service says."""
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

from lab import Checks, Lab, free_port, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
lab, checks = Lab(), Checks()
ports = {name: free_port() for name in ("one", "two", "copy")}
for name, port in ports.items():
    lab.backend(sys.executable, f"{HERE}/echo_backend.py", name, str(port))
    wait_for(port)

UPSTREAMS = f"""  one: {{ endpoints: ["127.0.0.1:{ports['one']}"], filters: [{{ headers: {{ request: {{ set: {{ x-upstream: one }} }} }} }}] }}
  two: {{ endpoints: ["127.0.0.1:{ports['two']}"] }}
  copy: {{ endpoints: ["127.0.0.1:{ports['copy']}"] }}
  nowhere: {{ endpoints: ["127.0.0.1:1"] }}"""
ROUTES = """  - match: { path: "/headers/{id}" }
    to: one
    filters:
      - headers:
          request:
            set: { x-id: "{param.id}", x-who: "{client_ip} {method} {host} {scheme} {query.q} {cookie.c} {header.user-agent}", x-none: "{query.absent}", x-brace: "{{}}" }
            add: { x-many: edge }
            remove: [x-secret, authorization]
            rename: { x-old: x-new }
          response: { set: { x-route: "{route}" }, remove: [x-powered-by] }
          security: true
  - match: { path: /cors/*, methods: [GET, PUT] }
    to: one
    filters: [ { cors: { origins: ["https://app.example.com", "https://*.example.org"], methods: [GET, PUT], headers: [authorization], expose: [x-a], credentials: true, max_age: 60s } } ]
  - match: { path: /any/* }
    to: one
    filters: [ { cors: { origins: ["*"] } } ]
  - match: { path: /limits/* }
    to: one
    filters: [ { limits: { body_bytes: 100B, header_bytes: 1KiB, uri_bytes: 50B } } ]
  - match: { path: /down/* }
    to: one
    filters: [ { maintenance: { file: maintenance.on, retry_after: 60s, answer: { headers: { content-type: text/html }, body: "<p>back soon" } } } ]
  - match: { path: /closed/* }
    to: one
    filters: [ { maintenance: { except: [192.0.2.0/24] } } ]
  - match: { path: /open/* }
    to: one
    filters: [ { maintenance: { except: [127.0.0.0/8] } } ]
  - match: { path: /canary/* }
    to: one
    filters: [ { canary: { to: two, share: 30%, header: x-canary } } ]
  - match: { path: /sticky/* }
    to: one
    filters: [ { canary: { to: two, share: 30%, sticky: header.x-tenant } } ]
  - match: { path: /mirror/* }
    to: one
    filters: [ { mirror: { to: copy, body_bytes: 1KiB } }, { mirror: { to: nowhere } } ]
  - match: { path: /answer }
    answer: { body: hello }
    filters: [ { headers: { response: { set: { x-made: here } } } } ]"""
lab.start(UPSTREAMS, ROUTES, listener="    filters: [ { headers: { response: { set: { x-listener: clear } } } } ]")
wait_for(lab.clear)
BASE = f"http://127.0.0.1:{lab.clear}"


def curl(path, *arguments, base=BASE):
    out = subprocess.run(["curl", "-s", "-k", "-i", "-m", "10", *arguments, base + path], capture_output=True).stdout.decode("latin-1")
    while re.match(r"HTTP/\S+ 1\d\d", out):
        out = out.split("\r\n\r\n", 1)[1]
    head, _, body = out.partition("\r\n\r\n")
    lines = head.split("\r\n")
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(": ")
        fields.setdefault(name.lower(), []).append(value)
    return int(lines[0].split()[1]), fields, body


def seen(name):
    return json.load(urllib.request.urlopen(f"http://127.0.0.1:{ports[name]}/seen", timeout=5))


# headers
status, fields, body = curl("/headers/a%20b?q=x%26y", "-H", "x-secret: 1", "-H", "Authorization: Bearer t", "-H", "X-Old: 5", "-H", "x-many: mine",
                            "-H", "Cookie: a=1; c=crumb", "-A", "agent/1")
told = {k.lower(): v for k, v in json.loads(body)["headers"].items()}
checks.that(told.get("x-id") == "a%20b", f"param: {told.get('x-id')}")
checks.that(told.get("x-who") == f"127.0.0.1 GET 127.0.0.1:{lab.clear} http x%26y crumb agent/1", f"variables: {told.get('x-who')}")
checks.that("x-none" not in told and told.get("x-brace") == "{}", "an empty value is no field; a brace is written twice")
checks.that("x-secret" not in told and "authorization" not in told, "removed fields")
checks.that(told.get("x-new") == "5" and "x-old" not in told, "renamed field")
checks.that([v for k, v in json.loads(body)["all"] if k.lower() == "x-many"] == ["mine", "edge"], "added beside the client's")
checks.that(told.get("x-upstream") == "one", "the upstream's own filters")
checks.that(fields.get("x-route") == ["/headers/{id}"] and "x-powered-by" not in fields, f"answer's fields: {fields}")
checks.that(fields.get("x-content-type-options") == ["nosniff"] and "strict-transport-security" not in fields, "no HSTS in clear")
checks.that(fields.get("x-listener") == ["clear"], "the listener's filter")
status, fields, _ = curl("/headers/1", base=f"https://127.0.0.1:{lab.tls}")
checks.that(fields.get("strict-transport-security") == ["max-age=63072000"] and "x-listener" not in fields, f"over TLS: {fields}")
# A client cannot have the gateway's fields removed by naming them in Connection, nor end a line by what it sends.
status, _, body = curl("/headers/1?q=a%0d%0ax-evil:1", "-H", "Connection: x-id, x-who, close")
told = {k.lower(): v for k, v in json.loads(body)["headers"].items()}
checks.that(told.get("x-id") == "1" and "x-who" in told and "x-evil" not in told, f"Connection names the gateway's fields: {told}")
for path in ("/nowhere", "/answer"):
    checks.that(curl(path)[1].get("x-listener") == ["clear"], f"the listener's filter on {path}")
checks.that(curl("/answer")[1].get("x-made") == ["here"], "filters of a route that answers itself")

# cors
seen("one")
preflight = ["-X", "OPTIONS", "-H", "Access-Control-Request-Method: PUT", "-H", "Access-Control-Request-Headers: authorization"]
status, fields, body = curl("/cors/x", *preflight, "-H", "Origin: https://app.example.com")
checks.that(status == 204 and not body and "content-length" not in fields, f"a preflight: {status} {fields}")
checks.that(fields.get("access-control-allow-origin") == ["https://app.example.com"], "preflight: origin")
checks.that(fields.get("access-control-allow-methods") == ["GET, PUT"] and fields.get("access-control-allow-headers") == ["authorization"], "preflight: what")
checks.that(fields.get("access-control-max-age") == ["60"] and fields.get("access-control-allow-credentials") == ["true"], "preflight: how long")
checks.that(seen("one") == [], "a preflight reached the service")
for origin in ("https://evil.example", "https://app.example.com.evil.example", "https://evilexample.org", "http://app.example.com", "null",
               "https://example.org", "https://.example.org", "https://a/.example.org", "https://app.example.com:444"):
    status, fields, _ = curl("/cors/x", "-H", f"Origin: {origin}")
    checks.that(status == 200 and "access-control-allow-origin" not in fields, f"the origin {origin} is let in: {fields}")
for origin in ("https://app.example.com", "https://a.example.org", "https://a.b.example.org", "HTTPS://APP.example.com"):
    status, fields, _ = curl("/cors/x", "-H", f"Origin: {origin}")
    checks.that(fields.get("access-control-allow-origin") == [origin], f"the origin {origin}: {fields}")
    checks.that("origin" in ", ".join(fields.get("vary", [])), "vary: origin")
    checks.that(fields.get("access-control-expose-headers") == ["x-a"], "exposed fields")
status, fields, _ = curl("/any/x?status=500", "-H", "Origin: https://x.example")
checks.that(fields.get("access-control-allow-origin") == ["*"] and "vary" not in fields, f"any origin, on a failure too: {fields}")
checks.that(curl("/headers/1", *preflight, "-H", "Origin: https://app.example.com")[0] == 200, "no preflight where no filter answers it")

# limits
checks.that(curl("/limits/x", "-d", "a" * 100)[0] == 200, "a body of the limit")
status, fields, body = curl("/limits/x", "-d", "a" * 101)
checks.that(status == 413 and "request.body_too_large" in body, f"a byte more: {status}")
status, fields, body = curl("/limits/x", "-d", "a" * 101, "-H", "Transfer-Encoding: chunked", "-H", "Expect:")
checks.that(status == 413, f"a byte more, of unknown length: {status}")
checks.that(curl("/limits/" + "x" * 42)[0] == 200 and curl("/limits/" + "x" * 43)[0] == 414, "path of 50 and of 51")
checks.that(curl("/limits/x", "-H", "x-a: " + "b" * 1000)[0] == 431, "fields beyond the limit")
# curl 7.88 takes an early answer followed by RST_STREAM NO_ERROR (RFC 9113 §8.1) for a failure if the two come while it sends: so it may try again.
for _ in range(10):
    status = subprocess.run(["curl", "-s", "-k", "-o", "/dev/null", "-w", "%{http_code}", "-d", "a" * 101, "--http2", f"https://127.0.0.1:{lab.tls}/limits/x"],
                            capture_output=True, text=True).stdout
    if status != "000":
        break
checks.that(status == "413", f"HTTP/2: {status}")

# maintenance
checks.that(curl("/down/x")[0] == 200 and curl("/open/x")[0] == 200, "not while there is no file, nor for those excepted")
status, fields, body = curl("/closed/x")
checks.that(status == 503 and fields.get("retry-after") == ["300"] and '"reason":"maintenance"' in body, f"closed: {status} {fields}")
open(f"{lab.folder}/maintenance.on", "w").close()
end = time.monotonic() + 10
while time.monotonic() < end and curl("/down/x")[0] != 503:
    time.sleep(0.1)
status, fields, body = curl("/down/x")
checks.that(status == 503 and body == "<p>back soon" and fields.get("retry-after") == ["60"] and fields.get("content-type") == ["text/html"], f"{status} {fields} {body}")
os.remove(f"{lab.folder}/maintenance.on")
end = time.monotonic() + 10
while time.monotonic() < end and curl("/down/x")[0] != 200:
    time.sleep(0.1)
checks.that(curl("/down/x")[0] == 200, "the file is gone, and so is the maintenance")

# canary
sides = {}
for n in range(60):
    jar = f"{lab.folder}/jar{n}"
    first = json.loads(curl("/canary/x", "-c", jar)[2])["server"]
    again = {json.loads(curl("/canary/x", "-b", jar)[2])["server"] for _ in range(2)}
    checks.that(again == {first}, f"client {n} came to {first}, then to {again}")
    sides[first] = sides.get(first, 0) + 1
checks.that(5 <= sides.get("two", 0) <= 32, f"30% of 60: {sides}")
for word, server in (("always", "two"), ("never", "one")):
    told = json.loads(curl("/canary/x", "-H", f"x-canary: {word}")[2])
    checks.that(told["server"] == server and "x-canary" not in {k.lower() for k in told["headers"]}, f"x-canary: {word} led to {told['server']}")
tenants = {t: json.loads(curl("/sticky/x", "-H", f"x-tenant: t{t}")[2])["server"] for t in range(60)}
checks.that(5 <= list(tenants.values()).count("two") <= 32, f"30% of 60 tenants: {tenants}")
checks.that(all(json.loads(curl("/sticky/x", "-H", f"x-tenant: t{t}")[2])["server"] == tenants[t] for t in range(20)), "a tenant changed sides")
checks.that("set-cookie" not in curl("/sticky/x")[1], "no cookie where none is asked for")

# mirror
seen("copy"), seen("one")
for n in range(10):
    status, _, body = curl(f"/mirror/{n}?a=b", "-X", "PUT", "-d", f"body {n}")
    checks.that(status == 200 and json.loads(body)["server"] == "one", f"mirrored request {n}: {status}")
time.sleep(0.5)
copies = sorted(seen("copy"), key=lambda c: c["path"])
checks.that([(c["method"], c["path"], c["body"]) for c in copies] == [("PUT", f"/mirror/{n}?a=b", f"body {n}") for n in range(10)], f"copies: {copies}")
checks.that(all({k.lower(): v for k, v in c["headers"].items()}.get("x-holdfast-mirror") == "1" for c in copies), "copies say that they are")
checks.that(all(c["headers"].get("x-forwarded-for") == "127.0.0.1" and c["headers"].get("via") == "1.1 holdfast" for c in copies), f"copies are told of the client: {copies[0]}")
ids = {r["headers"].get("x-request-id") for r in seen("one")}
checks.that({c["headers"].get("x-request-id") for c in copies} == ids, "a copy has its request's id")
checks.that(curl("/mirror/x", "-d", "z" * 2000)[0] == 200 and curl("/mirror/x")[0] == 200, "a body beyond the limit")
time.sleep(0.3)
checks.that(len(seen("copy")) == 1, "a body beyond the limit was copied")
# One that hangs holds nobody up.
started = time.monotonic()
for n in range(5):
    checks.that(curl("/mirror/x?wait=0.01")[0] == 200, "beside a mirror")
checks.that(lab.total('holdfast_mirrored_requests_total{scope="route /mirror/*",upstream="nowhere",result="failed"}') >= 10, "a mirror that cannot be reached is counted")

# A reload takes filters away and brings others.
lab.write_config(UPSTREAMS, ROUTES.replace("body_bytes: 100B", "body_bytes: 10B"), listener="")
lab.gateway.send_signal(signal.SIGHUP)
end = time.monotonic() + 10
while time.monotonic() < end and curl("/limits/x", "-d", "a" * 50)[0] != 413:
    time.sleep(0.05)
checks.that(curl("/limits/x", "-d", "a" * 50)[0] == 413 and "x-listener" not in curl("/answer")[1], "after the reload")
metrics = lab.metrics()
checks.that(metrics['holdfast_filter_requests_total{scope="route /limits/*",filter="limits",result="refused"}'] >= 6, "refusals are counted")
checks.that(metrics['holdfast_filter_requests_total{scope="route /cors/*",filter="cors",result="answered"}'] >= 1, "answers of filters are counted")
checks.that("--help" not in lab.said() and "Fatal" not in lab.said(), lab.said()[-500:])
checks.end(lab)
