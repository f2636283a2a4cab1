# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""CPU per request of the hand-written gateway (gateway.py under uvicorn) and of Holdfast with the configuration that replaces it, side by side: the
same nginx behind both, one worker each on core 0, client and nginx on core 1.

    make build
    python3 -m venv .venv && .venv/bin/pip install fastapi 'uvicorn[standard]' httpx
    .venv/bin/python benchmarks/fastapi/compare.py [--rounds 3] [--seconds 4]

Needs nginx and hey. The figure is the gateway's own CPU (user and system) for each request that it answered with 200; absolute figures wander with
the machine, the ratio of a round much less."""
import argparse
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from measuring import cpu, free_port, wait_for  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
HOLDFAST = os.environ.get("HOLDFAST", os.path.join(HERE, "../../.build/release/holdfast"))
KEY = "reporting-key-0123456789"
ORDER = '{"customer":{"id":1,"name":"Ada"},"items":[{"product":2,"quantity":3}]}'
ROWS = [
    ("a request passed on: key, limit, log", "/users/1", []),
    ("the same from the cache", "/products/1", []),
    ("three answers in one document", "/dashboard/1", []),
    ("an order transformed both ways", "/shop/orders", ["-m", "POST", "-T", "application/json", "-d", ORDER]),
]
NGINX = """worker_processes 1; daemon off; error_log stderr crit; pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{ access_log off; default_type application/json; keepalive_requests 100000000; client_body_temp_path {folder}/body;
  server {{ listen 127.0.0.1:{port} backlog=1024;
    location /users/ {{ return 200 '{{"id":1,"name":"Ada"}}'; }}
    location /orders/ {{ return 200 '[{{"id":1,"user":1,"product":2}},{{"id":2,"user":1,"product":3}}]'; }}
    location /products/ {{ return 200 '[{{"id":2,"name":"anchor","price":"95.50"}},{{"id":3,"name":"bilge pump","price":"140.00"}}]'; }}
    location /legacy {{ return 200 '{{"ORD_NO":"1001","ORD_STATUS":"N","CUST_NO":"1"}}'; }}
  }} }}"""


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=int, default=4)
    options = options.parse_args()
    folder = tempfile.mkdtemp(prefix="holdfast-fastapi-")
    backend, own, hand = free_port(), free_port(), free_port()
    open(f"{folder}/nginx.conf", "w").write(NGINX.format(folder=folder, port=backend))
    text = open(f"{HERE}/holdfast.yaml").read().replace("9300", str(backend)).replace("9301", str(own))
    open(f"{folder}/holdfast.yaml", "w").write(text)
    open(f"{folder}/keys.yaml", "w").write(f"consumers: [{{ name: reporting, keys: [{{ sha256: {hashlib.sha256(KEY.encode()).hexdigest()} }}] }}]\n")
    env = dict(os.environ, BACKEND=f"http://127.0.0.1:{backend}", LOG=f"{folder}/fastapi.log")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": open(f"{folder}/errors", "w")}
    children = [
        subprocess.Popen(["taskset", "-c", "1", "nginx", "-p", folder, "-c", f"{folder}/nginx.conf"], **quiet),
        subprocess.Popen(["taskset", "-c", "0", HOLDFAST, "run", f"{folder}/holdfast.yaml"], **quiet),
        subprocess.Popen(["taskset", "-c", "0", sys.executable, "-m", "uvicorn", "gateway:app", "--port", str(hand), "--log-level", "error"],
                         cwd=HERE, env=env, **quiet),
    ]
    try:
        for port in (backend, own, hand):
            wait_for(port)
        gateways = [("holdfast", own, children[1].pid), ("by hand", hand, children[2].pid)]
        for _, path, arguments in ROWS:
            told = []
            for _, port, _ in gateways:
                data = ORDER.encode() if "-d" in arguments else None
                request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"x-api-key": KEY, "content-type": "application/json"})
                told.append(json.loads(urllib.request.urlopen(request, timeout=10).read()))
            if told[0] != told[1]:
                sys.exit(f"{path}: the two do not say the same: {told}")
        figures = {}
        for round in range(options.rounds):
            for row, path, arguments in ROWS:
                for name, port, pid in gateways if round % 2 == 0 else gateways[::-1]:
                    before = cpu(pid)
                    out = subprocess.run(["taskset", "-c", "1", "hey", "-z", f"{options.seconds}s", "-c", "32", "-H", f"x-api-key: {KEY}", *arguments,
                                          f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True).stdout
                    spent = cpu(pid) - before
                    counts = {int(s): int(n) for s, n in re.findall(r"\[(\d+)\]\s+(\d+) responses", out)}
                    if set(counts) != {200}:
                        sys.exit(f"{name} {path}: {counts}\n{out}")
                    figures.setdefault((row, name), []).append(spent / counts[200] * 1e6)
                print(f"round {round + 1}: {row}: " + ", ".join(f"{n} {figures[row, n][-1]:.0f} µs" for n, _, _ in gateways), flush=True)
        print("\n| | Holdfast, µs of CPU a request | by hand | times |\n| --- | --- | --- | --- |")
        for row, _, _ in ROWS:
            own, hand = figures[row, "holdfast"], figures[row, "by hand"]
            ratio = [b / a for a, b in zip(own, hand)]
            print(f"| {row} | {statistics.median(own):.0f} | {statistics.median(hand):.0f} | {statistics.median(ratio):.0f} ({min(ratio):.0f} to {max(ratio):.0f}) |")
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()


main()
