# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""Limits hold exactly, across eight reactors (promise P10), and an upstream that fails everything meets no storm of retries (P13). The witness is
the backend's own count; the load is `hey`, at a fixed rate of requests where the rate matters."""
import json
import os
import re
import subprocess
import sys
import time
import urllib.request

from lab import Checks, Lab, free_port, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
lab, checks = Lab(), Checks()
ports = {"full": free_port(), "sick": free_port(), "open": free_port()}
for name, (status, wait) in {"full": (200, 0.25), "sick": (503, 0), "open": (503, 0)}.items():
    lab.backend(sys.executable, f"{HERE}/counting_backend.py", str(ports[name]), str(status), str(wait))
for port in ports.values():
    wait_for(port)
lab.start(
    f"""  full:
    endpoints: ["127.0.0.1:{ports['full']}"]
    guard: {{ breaker: {{ disabled: true }}, bulkhead: {{ concurrent: 64, queue: 32 }}, retries: {{ attempts: 1 }} }}
  sick:
    endpoints: ["127.0.0.1:{ports['sick']}"]
    guard: {{ breaker: {{ disabled: true }}, retries: {{ attempts: 5 }} }}
  open: {{ endpoints: ["127.0.0.1:{ports['open']}"], guard: {{ retries: {{ attempts: 5 }} }} }}""",
    """  - { match: { path: "/full/*" }, to: full, strip_prefix: /full }
  - { match: { path: "/sick/*" }, to: sick, strip_prefix: /sick }
  - { match: { path: "/open/*" }, to: open, strip_prefix: /open }""", threads=8)
wait_for(lab.clear)


def count(name):
    return json.load(urllib.request.urlopen(f"http://127.0.0.1:{ports[name]}/count", timeout=5))


def load(name, seconds, workers, per_worker):
    return subprocess.Popen(["hey", "-z", f"{seconds}s", "-c", str(workers), "-q", str(per_worker), "-t", "20",
                             f"http://127.0.0.1:{lab.clear}/{name}/x"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def statuses(process):
    out = process.communicate(timeout=60)[0]
    return {int(s): int(n) for s, n in re.findall(r"\[(\d+)\]\s+(\d+) responses", out)}


# A bulkhead of 64 whose backend takes 0.25 s serves 256 a second; 640 clients want four a second each, ten times that.
hey, samples = load("full", 5, 640, 4), []
while hey.poll() is None:
    metrics = lab.metrics()
    samples.append((metrics['holdfast_bulkhead_permits_in_use{upstream="full"}'], metrics['holdfast_bulkhead_queue{upstream="full"}']))
    time.sleep(0.05)
answers, seen = statuses(hey), count("full")
print(f"full: {answers}, the backend saw {seen}; {len(samples)} samples, the most {max(samples)}", flush=True)
checks.that(seen["most"] <= 64, f"the backend had {seen['most']} under way, 64 are allowed")
checks.that(seen["most"] >= 60, f"only {seen['most']} were under way: that is no overload")
checks.that(all(permits <= 64 and queue <= 32 for permits, queue in samples) and len(samples) > 10, f"samples: {max(samples)}")
checks.that(set(answers) <= {200, 503} and answers.get(503, 0) > answers.get(200, 0), f"answers to an overload: {answers}")
checks.that(answers.get(200, 0) == seen["seen"], f"{answers.get(200, 0)} served, {seen['seen']} arrived: somebody was sent twice or for nothing")

# Nothing but 503, five attempts allowed, no breaker: a fifth more, and one a second.
started = time.monotonic()
answers = statuses(load("sick", 4, 20, 25))
elapsed, seen, asked = time.monotonic() - started, count("sick"), sum(answers.values())
print(f"sick: {answers}, the backend saw {seen} in {elapsed:.1f} s", flush=True)
checks.that(set(answers) == {503} and asked > 500, f"answers of a sick upstream: {answers}")
checks.that(seen["seen"] - seen["repeats"] == asked, f"{asked} asked, {seen['seen'] - seen['repeats']} first attempts arrived")
checks.that(0.1 * asked < seen["repeats"] <= 0.2 * asked + elapsed + 1, f"{seen['repeats']} repeats of {asked} in {elapsed:.1f} s")

# The same with the breaker: once it is open, a hundredth at most.
answers = statuses(load("open", 2, 20, 25))
while_opening = count("open")["seen"]
answers = statuses(load("open", 4, 20, 25))
seen, asked = count("open")["seen"] - while_opening, sum(answers.values())
print(f"open: {answers}, the backend saw {while_opening} until it was open and {seen} of {asked} after that", flush=True)
checks.that(set(answers) == {503} and asked > 500 and while_opening >= 20, f"answers of a sick upstream: {answers}, {while_opening}")
checks.that(seen <= 0.01 * asked, f"{seen} of {asked} arrived at an upstream whose breaker is open")
checks.that(any(v > 0 for k, v in lab.metrics().items() if "breaker.open" in k), "nothing was refused by the breaker")

time.sleep(0.5)
for family in ("holdfast_bulkhead_permits_in_use", "holdfast_bulkhead_queue", "holdfast_retry_tokens_outstanding"):
    checks.that(lab.total(family) == 0, f"{family} is {lab.total(family)}")
checks.end(lab)
