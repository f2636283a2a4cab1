# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""One upstream hangs with all its permits held under 2,000 requests a second; the other does not notice (semantics, K4 and G2; promise
P12; row E01). The upstreams are two nghttpd, one of them stopped by SIGSTOP; the clients are two `hey` at 2,000 requests a second each. Phases
without and with the fault take turns, so that a drifting machine hits both, and only their ratio counts."""
import os
import re
import signal
import statistics
import subprocess
import time

from lab import Checks, Lab, free_port, wait_for

lab, checks = Lab(), Checks()
ROUNDS, SECONDS = 4, 4
os.mkdir(f"{lab.folder}/www")
open(f"{lab.folder}/www/x", "w").write("x" * 512)
ports = {"a": free_port(), "b": free_port()}
backends = {name: lab.backend("nghttpd", "--no-tls", "-n1", "-d", f"{lab.folder}/www", str(port)) for name, port in ports.items()}
for port in ports.values():
    wait_for(port)
lab.start(
    f"""  a:
    endpoints: ["127.0.0.1:{ports['a']}"]
    protocol: h2
    guard: {{ breaker: {{ disabled: true }}, bulkhead: {{ concurrent: 64, queue: 32 }}, timeouts: {{ per_try: 2s }}, retries: {{ attempts: 1 }} }}
  b: {{ endpoints: ["127.0.0.1:{ports['b']}"], protocol: h2 }}""",
    """  - { match: { path: "/a/*" }, to: a, strip_prefix: /a }
  - { match: { path: "/b/*" }, to: b, strip_prefix: /b }""", threads=1)
wait_for(lab.clear)


def load(name, workers):
    return subprocess.Popen(["hey", "-z", f"{SECONDS}s", "-c", str(workers), "-q", str(2_000 // workers), "-t", "10",
                             f"http://127.0.0.1:{lab.clear}/{name}/x"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def read(process):
    """Good answers a second, the 99th percentile in ms, all answers by status."""
    out = process.communicate(timeout=SECONDS + 30)[0]
    statuses = {int(s): int(n) for s, n in re.findall(r"\[(\d+)\]\s+(\d+) responses", out)}
    p99 = re.search(r"99% in ([\d.]+) secs", out)
    return statuses.get(200, 0) / SECONDS, float(p99.group(1)) * 1_000 if p99 else float("inf"), statuses


def phase(is_faulty):
    if is_faulty:
        os.kill(backends["a"].pid, signal.SIGSTOP)
    try:
        a, b = load("a", 400), load("b", 40)
        time.sleep(SECONDS / 2)
        held = lab.metrics()['holdfast_bulkhead_permits_in_use{upstream="a"}']
        return read(b), read(a), held
    finally:
        if is_faulty:
            os.kill(backends["a"].pid, signal.SIGCONT)
            time.sleep(0.5)


phase(False)  # warms up
calm, faulty = [], []
for _ in range(ROUNDS):
    calm.append(phase(False))
    faulty.append(phase(True))

for (b, a, held) in calm:
    checks.that(set(b[2]) == {200} and a[2].get(200, 0) > 0, f"without the fault: b {b}, a {a}")
for (b, a, held) in faulty:
    checks.that(held == 64, f"a's permits are not all held, the fault is none: {held}")
    checks.that(set(b[2]) == {200}, f"b has answers other than 200 while a hangs: {b[2]}")
    checks.that(set(a[2]) <= {503, 504, 200} and a[2].get(503, 0) > 1_000, f"a is refused at once while it hangs: {a[2]}")
goodput = [f[0][0] / c[0][0] for c, f in zip(calm, faulty)]
tail = [f[0][1] / c[0][1] for c, f in zip(calm, faulty)]
print(f"b's goodput with the fault to without: {[round(x, 3) for x in goodput]}, p99: {[round(x, 2) for x in tail]}; "
      f"p99 without {[c[0][1] for c in calm]} ms, with {[f[0][1] for f in faulty]} ms", flush=True)
checks.that(statistics.median(goodput) >= 0.98, f"b's goodput fell: {goodput}")
checks.that(statistics.median(tail) <= 1.3, f"b's 99th percentile rose: {tail}")
time.sleep(2.5)
checks.that(lab.total("holdfast_bulkhead_permits_in_use") == 0, "permits are left in use")
checks.end(lab)
