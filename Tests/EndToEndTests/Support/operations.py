# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""What whoever is on call does and reads: reloads good and bad, under load; what the log says of a breaker; drains, clean and cut;
a start that cannot be. The upstream and the clients are the standard library, nghttp and curl."""
import http.client
import http.server
import json
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

from lab import HOLDFAST, Checks, Lab, free_port, wait_for

lab, checks = Lab(), Checks()
port, flaky_port = free_port(), free_port()
well_port, sick_port = free_port(), free_port()
trio = [free_port() for _ in range(3)]
release, sick, bad = threading.Event(), threading.Event(), threading.Event()


class Plain(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        if self.path == "/slow":
            release.wait(30)
        at = self.server.server_port
        body = {well_port: b"well", sick_port: b"sick"}.get(at, b"%d" % at if at in trio else b"plain")
        fails = self.path == "/healthz" and at == sick_port and sick.is_set() or at == trio[1] and bad.is_set()
        self.send_response(503 if fails else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *arguments):
        pass


def serve(at):
    server = Server(("127.0.0.1", at), Plain)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


serve(port)
serve(well_port)
for at in trio:
    serve(at)
TRIO = "endpoints: [" + ", ".join(f'"127.0.0.1:{at}"' for at in trio) + "]"
UPSTREAMS = f"""  plain: {{ endpoints: ["127.0.0.1:{port}"] }}
  flaky:
    endpoints: ["127.0.0.1:{flaky_port}"]
    guard: {{ breaker: {{ minimum_calls: 5, open_for: 500ms, open_jitter: 0%, half_open_calls: 1 }}, retries: {{ attempts: 1 }} }}
  checked:
    endpoints: ["127.0.0.1:{well_port}", "127.0.0.1:{sick_port}"]
    balance: round_robin
    slow_start: off
    health_check: {{ path: /healthz, interval: 100ms, timeout: 500ms, unhealthy_after: 2, healthy_after: 2, jitter: 0% }}
  trio:
    {TRIO}
    balance: round_robin
    slow_start: off
    outlier_detection: {{ base_time: 2s, jitter: 0% }}
    guard: {{ breaker: {{ disabled: true }}, retries: {{ attempts: 1 }} }}
  keyed: {{ {TRIO}, balance: hash, hash_key: "cookie:user" }}"""
ROUTES = """  - { match: { path: /degraded }, to: flaky, fallback: { answer: { status: 200, body: "later" } } }
  - { match: { path: /elsewhere }, to: flaky, fallback: { on: [open], to: plain } }
  - { match: { path: /flaky }, to: flaky }
  - { match: { path: /checked }, to: checked }
  - { match: { path: /trio }, to: trio }
  - { match: { path: /keyed }, to: keyed }
  - { match: { path: /* }, to: plain }"""


def get(path, at=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", at or lab.clear, timeout=20)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def hang_up():
    """Reloads, and waits until the log says what came of it."""
    before = lab.said().count(" reload ")
    lab.gateway.send_signal(signal.SIGHUP)
    checks.that(until(lambda: lab.said().count(" reload ") > before), "the log says nothing of a reload")
    return lab.said().split(" reload ")[-1]


def breaker_lines():
    for _ in range(8):
        get("/flaky")
    checks.that(until(lambda: " warning breaker opened upstream=flaky " in lab.said()), "no line of the open breaker")
    status, body, fields = get("/flaky")
    checks.that(status == 503 and json.loads(body)["reason"] == "breaker.open", f"open: {status} {body}")
    status, body, fields = get("/degraded")
    checks.that((status, body, fields.get("x-holdfast-reason")) == (200, b"later", "breaker.open"), f"degraded: {status} {body} {fields}")
    status, body, fields = get("/elsewhere")
    checks.that((status, body, fields.get("x-holdfast-reason")) == (200, b"plain", "breaker.open"), f"elsewhere: {status} {body} {fields}")
    def logged():
        lines = [json.loads(line) for line in open(f"{lab.folder}/access.log")]
        return [(line["path"], line["status"], line["reason"], line["upstream"]) for line in lines
                if line["path"] in ("/degraded", "/elsewhere")]

    # Two threads write the log, so that its lines may have changed places.
    checks.that(until(lambda: sorted(logged()) == [("/degraded", 200, "breaker.open", "flaky"), ("/elsewhere", 200, "breaker.open", "plain")]),
                f"the log of degraded answers: {logged()}")
    status, body, fields = get("/flaky")
    record = json.load(urllib.request.urlopen(f"http://127.0.0.1:{lab.admin}/explain/{fields['x-request-id']}", timeout=5))
    step = record["decisions"][-1]
    checks.that((record["reason"], step["step"], step["reason"], step["breaker"], step["failed"])
                == ("breaker.open", "refused", "breaker.open", "open", 5), f"explained: {record}")
    checks.that(until(lambda: "0us refused breaker.open (open 5/5 failed, " in open(f"{lab.folder}/access.log").read()), "explained in the log")
    checks.that(lab.total("holdfast_degraded_total") == 2, "degraded answers are counted")
    server = serve(flaky_port)
    time.sleep(0.7)
    checks.that(until(lambda: get("/flaky")[0] == 200), "the breaker does not come back")
    checks.that(until(lambda: " info breaker closed upstream=flaky" in lab.said()), "no line of the closed breaker")
    said = [line for line in lab.said().splitlines() if " breaker " in line]
    checks.that(re.search(r"opened upstream=flaky times=1 failed=5 completed=5", said[0]), f"{said[0]}")
    checks.that(any("half-open upstream=flaky" in line for line in said), f"{said}")
    server.shutdown()
    server.server_close()


def by_hand():
    def change(query, token="a token of the laboratory"):
        request = urllib.request.Request(f"http://127.0.0.1:{lab.admin}/upstreams/plain/breaker?{query}", method="POST",
                                         headers={"Authorization": f"Bearer {token}"})
        try:
            return urllib.request.urlopen(request, timeout=5).status
        except urllib.error.HTTPError as error:
            return error.code

    checks.that(change("state=open&for=1h&reason=lab", token="wrong") == 401, "a wrong token")
    checks.that(change("state=open&for=1h&reason=lab") == 200, "forcing a breaker open")
    status, body, fields = get("/x")
    checks.that(status == 503 and json.loads(body)["reason"] == "breaker.forced", f"forced open: {status} {body}")
    shown = json.load(urllib.request.urlopen(f"http://127.0.0.1:{lab.admin}/upstreams", timeout=5))["upstreams"]
    state = next(u for u in shown if u["name"] == "plain")["breaker"]
    checks.that(state["state"] == "forced_open" and state["reason"] == "lab" and state["forced_for_ms"] > 3_500_000, f"{state}")
    hang_up()
    checks.that(get("/x")[0] == 503, "a reload lifts what was forced")
    checks.that(change("state=automatic&reason=done") == 200 and get("/x")[0] == 200, "lifting it")
    checks.that("forced by hand upstream=plain state=forced_open" in lab.said(), "the log of what was forced")


def health_checks():
    """An endpoint that fails its check gets no traffic, over a reload too, and gets it again once it is well; nobody else notices."""
    endpoint = f'127.0.0.1:{sick_port}'
    series = f'holdfast_endpoint_available{{upstream="checked",endpoint="{endpoint}"}}'

    def is_available(wanted):
        checks.that(until(lambda: lab.metrics().get(series) == wanted, 3), f"{series} does not become {wanted}: {lab.metrics().get(series)}")

    def answers():
        got = [get("/checked")[:2] for _ in range(20)]
        checks.that(all(status == 200 for status, body in got), f"{got}")
        return {body for status, body in got}

    server = serve(sick_port)
    is_available(1)
    checks.that(until(lambda: answers() == {b"well", b"sick"}, 3), "both endpoints serve at first")
    sick.set()
    is_available(0)
    checks.that(answers() == {b"well"}, "an endpoint that fails its check gets requests")
    checks.that("reloaded" in hang_up() and answers() == {b"well"}, "a reload forgets what checks have found")
    sick.clear()
    is_available(1)
    checks.that(answers() == {b"well", b"sick"}, "an endpoint that is well again gets no requests")
    server.shutdown()
    server.server_close()
    is_available(0)
    checks.that(answers() == {b"well"}, "an endpoint that has gone")

    def logged():
        said = [line for line in lab.said().splitlines() if " health " in line and f"endpoint={endpoint} " in line][-3:]
        return len(said) == 3 and all(re.search(wanted, line) for wanted, line in zip((
            r' warning health endpoint is out upstream=checked .* reason=status.failure detail="status 503"$',
            r' info health endpoint is back upstream=checked .* detail="status 200"$',
            r" warning health endpoint is out upstream=checked .* reason=connect.refused detail="), said))

    checks.that(until(logged, 3), f"the log of checks: {lab.said()[-1500:]}")
    checks.that(lab.metrics()[f'holdfast_health_checks_total{{upstream="checked",endpoint="{endpoint}",result="failed"}}'] >= 4, "failed checks")


def outliers():
    """The one of three endpoints that fails gets five requests, then none, then one at a time until it is well again."""
    def asked(n):
        return [get("/trio")[0] for _ in range(n)].count(503)

    checks.that(asked(12) == 0, "all three are well")
    bad.set()
    checks.that(asked(40) == 5, "an endpoint that fails is out after five")
    endpoint = f"127.0.0.1:{trio[1]}"
    checks.that(until(lambda: f" warning outlier endpoint ejected upstream=trio endpoint={endpoint} detector=consecutive for_ms=" in lab.said()),
                "no line of the ejection")
    metrics = lab.metrics()
    checks.that(metrics[f'holdfast_endpoint_ejected{{upstream="trio",endpoint="{endpoint}"}}'] == 1, "the gauge of the ejected endpoint")
    checks.that(metrics['holdfast_outlier_ejections_total{upstream="trio",detector="consecutive"}'] == 1, "the counter of ejections")
    shown = json.load(urllib.request.urlopen(f"http://127.0.0.1:{lab.admin}/upstreams", timeout=5))["upstreams"]
    states = [(e["available"], e["well"], e["ejected"]) for u in shown if u["name"] == "trio" for e in u["endpoints"]]
    checks.that(states == [(True, True, False), (False, True, True), (True, True, False)], f"{states}")
    checks.that("reloaded" in hang_up() and asked(20) < 5, "a reload forgets an ejection")
    bad.clear()
    checks.that(until(lambda: asked(3) == 0 and f" info outlier endpoint readmitted upstream=trio endpoint={endpoint}" in lab.said(), 20),
                f"it does not come back: {lab.said()[-600:]}")
    checks.that({get("/trio")[1] for _ in range(9)} == {b"%d" % at for at in trio}, "and gets its share again")

    homes = {user: {get("/keyed", headers={"cookie": f"a=b; user={user}"})[1] for _ in range(3)} for user in range(40)}
    checks.that(all(len(home) == 1 for home in homes.values()), f"a user's requests go to one endpoint: {homes}")
    checks.that(len(set.union(*homes.values())) == 3, f"users are spread: {homes}")


def nghttp_checks():
    for address in (f"https://localhost:{lab.tls}", f"http://127.0.0.1:{lab.clear}"):
        out = subprocess.run(["nghttp", "-v", "--no-verify-peer", "-m", "20", f"{address}/x"], capture_output=True, text=True, timeout=30)
        checks.that(out.stdout.count(":status: 200") == 20, f"nghttp at {address}: {out.stdout[-800:]}")
        checks.that("GOAWAY" not in out.stdout.split("send GOAWAY")[0], f"nghttp at {address} met a GOAWAY")


def reloads():
    # A bad file: its place is named, and nothing changes.
    good = open(lab.config).read()
    open(lab.config, "w").write(good.replace("to: plain", "to: plane"))
    said = hang_up()
    checks.that(re.search(r"refused, nothing changed.*lab\.yaml:\d+:\d+: .*plane", said), said)
    checks.that(get("/x")[:2] == (200, b"plain"), "a refused reload changed something")
    # A key of another certificate.
    lab.leaf("other", "localhost", "DNS:localhost")
    open(lab.config, "w").write(good.replace("key: edge.key", "key: other.key"))
    said = hang_up()
    checks.that("refused, nothing changed" in said and "key" in said, said)
    # An address that is taken.
    open(lab.config, "w").write(good.replace(f"address: 127.0.0.1:{lab.clear}", f"address: 127.0.0.1:{port}"))
    said = hang_up()
    checks.that("refused, nothing changed" in said and "in use" in said, said)
    checks.that(get("/x")[:2] == (200, b"plain"), "a refused reload changed something")
    # New routes and a new certificate while 16 clients ask: nobody notices, and what is new is there for who comes next.
    stop, wrong, asked = threading.Event(), [], [0]

    def client():
        connection = http.client.HTTPConnection("127.0.0.1", lab.clear, timeout=20)
        while not stop.is_set():
            try:
                connection.request("GET", "/x")
                answer = connection.getresponse()
                if (answer.status, answer.read()) != (200, b"plain"):
                    wrong.append(answer.status)
            except Exception as error:
                wrong.append(repr(error))
            asked[0] += 1

    threads = [threading.Thread(target=client) for _ in range(16)]
    for thread in threads:
        thread.start()
    for i in range(10):
        open(lab.config, "w").write(
            good.replace("edge.pem", "other.pem").replace("edge.key", "other.key")
            + f'  - {{ match: {{ path: /new }}, answer: {{ status: 200, body: "round {i}" }} }}\n')
        checks.that("reloaded" in hang_up(), "the reload was refused")
        checks.that(get("/new")[1] == b"round %d" % i, f"round {i} is not there")
    stop.set()
    for thread in threads:
        thread.join()
    checks.that(asked[0] > 500 and not wrong, f"of {asked[0]} requests during reloads {len(wrong)} failed: {wrong[:5]}")
    context = ssl.create_default_context(cafile=f"{lab.folder}/ca.pem")
    with context.wrap_socket(socket.create_connection(("127.0.0.1", lab.tls)), server_hostname="localhost") as tls:
        subject = tls.getpeercert()["serialNumber"]
    serial = subprocess.run(["openssl", "x509", "-in", f"{lab.folder}/other.pem", "-noout", "-serial"], capture_output=True, text=True)
    checks.that(serial.stdout.strip().endswith(subject), "the new certificate is not shown")


def starts_that_cannot_be():
    taken = f"{lab.folder}/taken.yaml"
    open(taken, "w").write(f"""admin: 127.0.0.1:{free_port()}
listeners:
  - {{ name: a, address: "127.0.0.1:{lab.clear}" }}
upstreams:
  plain: {{ endpoints: ["127.0.0.1:{port}"] }}
routes:
  - {{ match: {{ path: /* }}, to: plain }}
""")
    done = subprocess.run([HOLDFAST, "run", taken], capture_output=True, text=True, timeout=20)
    lines = done.stderr.strip().splitlines()
    checks.that(done.returncode == 1 and len(lines) == 1 and "in use" in lines[0], f"a port in use: {done.returncode} {lines}")


def drains():
    """A request under way ends, one that outlives the limit is cut and the log says by whom; new connections are refused."""
    results = {}

    def slow(name):
        try:
            results[name] = get("/slow")[:2]
        except Exception as error:
            results[name] = repr(error)

    waiting = threading.Thread(target=slow, args=("waited",))
    waiting.start()
    checks.that(until(lambda: lab.total("holdfast_bulkhead_permits_in_use") == 1), "the slow request is not under way")
    lab.gateway.send_signal(signal.SIGTERM)
    checks.that(until(lambda: "draining" in lab.said()), "no word of draining")
    try:
        socket.create_connection(("127.0.0.1", lab.clear), 2).close()
        checks.that(False, "a draining gateway takes new connections")
    except ConnectionRefusedError:
        checks.that(True, "")
    ready = get("/readyz", lab.admin)
    checks.that(ready[0] == 503, f"readyz while draining: {ready}")
    release.set()
    waiting.join()
    checks.that(results["waited"] == (200, b"plain"), f"a request under way at the drain: {results}")
    checks.that(lab.gateway.wait(20) == 0, "the drained gateway's exit code")
    checks.that("cut what was left" not in lab.said(), "the clean drain cut something")

    release.clear()
    lab.start(UPSTREAMS, ROUTES, top="drain: 500ms")
    wait_for(lab.clear)
    cut = threading.Thread(target=slow, args=("cut",))
    cut.start()
    checks.that(until(lambda: lab.total("holdfast_bulkhead_permits_in_use") == 1), "the slow request is not under way")
    lab.gateway.send_signal(signal.SIGTERM)
    checks.that(lab.gateway.wait(20) == 0, "the cut gateway's exit code")
    cut.join()
    release.set()
    checks.that(isinstance(results["cut"], str), f"a request that outlived the drain: {results}")
    checks.that("warning drain cut what was left at the limit connections=1" in lab.said(), f"{lab.said()[-500:]}")
    last = json.loads(open(f"{lab.folder}/access.log").read().splitlines()[-1])
    checks.that(last["reason"] == "shutdown" and last["path"] == "/slow", f"the log of the cut request: {last}")


open(f"{lab.folder}/token", "w").write("a token of the laboratory\n")
lab.start(UPSTREAMS, ROUTES, top="admin_token: token")
wait_for(lab.clear)
breaker_lines()
by_hand()
health_checks()
outliers()
nghttp_checks()
reloads()
starts_that_cannot_be()
drains()
lab.gateway = None
checks.end()
