# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""What each filter costs: CPU of the gateway a request, on routes that differ by their filters alone, beside the route without any.

    make build
    python3 benchmarks/filters.py [--rounds 3] [--seconds 2]

One gateway with one thread on core 0; nginx and h2load (HTTP/1.1, 32 connections) on core 1. Routes take turns within a round. Read the last column: the
median of the rounds' own differences. Needs nginx, h2load and python3-jwt."""
import argparse
import base64
import hashlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import jwt

from measuring import cpu, free_port, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
HOLDFAST = os.environ.get("HOLDFAST", os.path.join(HERE, "../.build/release/holdfast"))
KEY, SECRET = "reporting-key-0123456789", "a secret of at least thirty-two bytes"
TOKEN = jwt.encode({"sub": "ada", "iss": "lab", "aud": "lab", "exp": int(time.time()) + 3600}, SECRET, "HS256")
JSON = '{"id":1,"name":"Ada","orders":[{"id":1,"product":2},{"id":2,"product":3}]}'
BIG = '{"text":"' + "lorem ipsum dolor sit amet " * 300 + '"}'
ROWS = [
    ("none", "[]", []),
    ("headers: two set, security", '[{ headers: { request: { set: { x-a: "{client_ip}", x-b: b } }, security: true } }]', []),
    ("cors", '[{ cors: { origins: ["https://app.example.com"] } }]', ["-H", "origin: https://app.example.com"]),
    ("limits", "[{ limits: { body_bytes: 1KiB, uri_bytes: 1KiB } }]", []),
    ("ip_list of 3", "[{ ip_list: { allow: [127.0.0.0/8, 10.0.0.0/8, 192.0.2.0/24] } }]", []),
    ("canary by address", "[{ canary: { to: other, share: 50%, sticky: client_ip } }]", []),
    ("api_key", "[{ api_key: { keys_file: keys.yaml } }]", ["-H", f"x-api-key: {KEY}"]),
    ("jwt, remembered", "[{ jwt: { secret: { file: secret }, algorithms: [HS256], issuer: lab, audience: lab } }]", ["-H", f"authorization: Bearer {TOKEN}"]),
    ("jwt, HS256 each time", "[{ jwt: { secret: { file: secret }, algorithms: [HS256], issuer: lab, audience: lab, remember: 0 } }]", ["-H", f"authorization: Bearer {TOKEN}"]),
    ("forward_auth", "[{ forward_auth: { to: other, path: /may } }]", []),
    ("rate_limit, in memory", "[{ rate_limit: { rate: 1000000/second, burst: 1000000 } }]", []),
    ("mirror", "[{ mirror: { to: other, concurrent: 1000 } }]", []),
    ("transform of the answer", "[{ transform: { response: { fields: { number: id, who: name, lines: { each: orders, fields: { sku: product } } } } } }]", []),
    ("aggregate of 3", "[{ aggregate: { parts: { a: { to: app, path: /a }, b: { to: app, path: /b }, c: { to: app, path: /c } } } }]", []),
    ("cache, a hit", "[{ cache: { default_ttl: 3600s } }]", []),
    ("8 KiB, none", "[]", []),
    ("8 KiB, compress gzip", "[{ compress: { codings: [gzip] } }]", ["-H", "accept-encoding: gzip"]),
]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=int, default=2)
    options = options.parse_args()
    folder = tempfile.mkdtemp(prefix="holdfast-filters-")
    os.chmod(folder, 0o755)  # for nginx, whose worker is another user
    backend, port = free_port(), free_port()
    with open(f"{folder}/nginx.conf", "w") as f:
        f.write(f"""worker_processes 1; daemon off; error_log stderr crit; pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{ access_log off; default_type application/json; keepalive_requests 100000000;
  server {{ listen 127.0.0.1:{backend} backlog=1024; location / {{ return 200 '{JSON}'; }} location ~ /big {{ root {folder}; try_files /big =404; }} }} }}""")
    open(f"{folder}/big", "w").write(BIG)
    routes = "".join(f'  - {{ match: {{ path: "/r{i}/*" }}, to: app, filters: {filters} }}\n' for i, (_, filters, _) in enumerate(ROWS))
    with open(f"{folder}/gateway.yaml", "w") as f:
        f.write(f"""threads: 1
admin: off
access_log: off
cache: {{ bytes: 16MiB }}
listeners: [{{ name: l, address: "127.0.0.1:{port}" }}]
upstreams: {{ app: {{ endpoints: ["127.0.0.1:{backend}"] }}, other: {{ endpoints: ["127.0.0.1:{backend}"] }} }}
routes:
{routes}""")
    open(f"{folder}/keys.yaml", "w").write(f"consumers: [{{ name: r, keys: [{{ sha256: {hashlib.sha256(KEY.encode()).hexdigest()} }}] }}]\n")
    open(f"{folder}/secret", "w").write(SECRET)
    log = open(f"{folder}/errors", "w")
    children = [subprocess.Popen(["taskset", "-c", "1", "nginx", "-p", folder, "-c", f"{folder}/nginx.conf"], stderr=log),
                subprocess.Popen(["taskset", "-c", "0", HOLDFAST, "run", f"{folder}/gateway.yaml"], stdout=log, stderr=log)]
    try:
        wait_for(backend), wait_for(port)
        figures = [[] for _ in ROWS]
        for round in range(options.rounds):
            for k in range(len(ROWS)):
                i = (k + round * 5) % len(ROWS)
                name, _, arguments = ROWS[i]
                path = "/big" if name.startswith("8 KiB") else "/x"
                before = cpu(children[1].pid)
                out = subprocess.run(["taskset", "-c", "1", "h2load", "--h1", "-D", str(options.seconds), "-c", "32", "-t", "1", *arguments,
                                      f"http://127.0.0.1:{port}/r{i}{path}"], capture_output=True, text=True).stdout
                spent = cpu(children[1].pid) - before
                good, rest = re.search(r"status codes: (\d+) 2xx, (\d+ 3xx, \d+ 4xx, \d+ 5xx)", out).groups()
                if rest != "0 3xx, 0 4xx, 0 5xx" or int(good) < 100:
                    sys.exit(f"{name}: {out}{open(f'{folder}/errors').read()}")
                figures[i].append(spent / int(good) * 1e6)
            print(f"round {round + 1}: " + ", ".join(f"{f[-1]:.1f}" for f in figures), flush=True)
        plain = {False: 0, True: [n for n, _, _ in ROWS].index("8 KiB, none")}
        print("\n| filter | µs of CPU a request | more than without (range) |\n| --- | --- | --- |")
        for i, (name, _, _) in enumerate(ROWS):
            more = [a - b for a, b in zip(figures[i], figures[plain[name.startswith("8 KiB")]])]
            print(f"| {name} | {statistics.median(figures[i]):.1f} | {statistics.median(more):+.1f} ({min(more):+.1f} to {max(more):+.1f}) |")
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()


main()
