# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""One of four endpoints is killed under a load of GETs, with retries as they are by default: of what follows no more than a thousandth fails
(promise P11, the short form; the rate is what two shared cores carry). The witnesses are the client's answers and the survivors' counts."""
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
ports = [free_port() for _ in range(4)]
backends = [lab.backend(sys.executable, f"{HERE}/counting_backend.py", str(port), "200", "0.002") for port in ports]
for port in ports:
    wait_for(port)
lab.start(f"  users: {{ endpoints: [{', '.join(f'127.0.0.1:{port}' for port in ports)}] }}",
          "  - { match: { path: /* }, to: users }")
wait_for(lab.clear)


def load(seconds):
    return subprocess.Popen(["hey", "-z", f"{seconds}s", "-c", "40", "-q", "25", "-t", "10", f"http://127.0.0.1:{lab.clear}/x"],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def answers(process):
    """Answers by status, and those of which the client heard nothing."""
    out = process.communicate(timeout=60)[0]
    lost = sum(int(n) for n in re.findall(r"\[(\d+)\]\s+(?:Get|Post) ", out))
    return {int(s): int(n) for s, n in re.findall(r"\[(\d+)\]\s+(\d+) responses", out)}, lost


def seen(port):
    return json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/count", timeout=5))["seen"]


before, lost = answers(load(2))
checks.that(set(before) == {200} and lost == 0 and before[200] > 500, f"with all four alive: {before}, {lost} lost")
counts = [seen(port) for port in ports]
checks.that(min(counts) * 8 > sum(counts), f"all four were at work: {counts}")
hey = load(8)
time.sleep(1)
backends[2].send_signal(signal.SIGKILL)
backends[2].wait()
after, lost = answers(hey)
total, failed = sum(after.values()) + lost, sum(n for status, n in after.items() if status != 200) + lost
repeats = sum(json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/count", timeout=5))["repeats"] for i, port in enumerate(ports) if i != 2)
print(f"{after}, {lost} lost; {failed} of {total} failed, {repeats} repeats reached a survivor", flush=True)
checks.that(total > 2_000, f"only {total} requests")
checks.that(failed * 1_000 <= total, f"{failed} of {total} failed after one of four died: {after}, {lost} lost")
checks.that(repeats > 0, "nobody missed it: the fault is none")
late, lost = answers(load(2))
checks.that(set(late) == {200} and lost == 0, f"two seconds and more after it died: {late}, {lost} lost")
checks.end(lab)
