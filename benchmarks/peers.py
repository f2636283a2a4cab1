#!/usr/bin/env python3
# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""Holdfast, HAProxy and nginx side by side on loopback, one at a time, by the proxy's own CPU time.

Each round runs every row once with every proxy, and another proxy begins each round, so that a machine that drifts drifts
for all. What counts is utime + stime of the proxy's processes (/proc/PID/stat) divided by the requests it answered, and
against HAProxy the median of the rounds' own ratios. README.md says how to read the result.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

CLEAR, TLS, BACKEND = 18080, 18443, 18090
TICKS = os.sysconf("SC_CLK_TCK")
BIG_BYTES = 10 * 1024 * 1024


@dataclass
class Row:
    """One kind of load. `load` are h2load's options; `first` is how many requests the warm-up makes."""

    title: str
    url: str
    load: list
    first: int
    unit: str = "µs a request"

    def figure(self, cpu_seconds, requests):
        if self.unit.startswith("CPU s"):
            return cpu_seconds / (requests * BIG_BYTES / 2**30)
        return cpu_seconds / requests * 1e6


ROWS = {
    "clear": Row("clear HTTP/1.1", f"http://127.0.0.1:{CLEAR}/small", ["--h1", "-c", "32"], 4000),
    "tls": Row("TLS 1.3, HTTP/1.1", f"https://127.0.0.1:{TLS}/small", ["--h1", "-c", "32"], 4000),
    "h2": Row("TLS 1.3, HTTP/2, 8 × 32 streams", f"https://127.0.0.1:{TLS}/small", ["-c", "8", "-m", "32"], 8000),
    "big": Row("10 MiB over TLS 1.3, HTTP/2", f"https://127.0.0.1:{TLS}/big", ["-c", "4", "-m", "1"], 8, "CPU s a GiB"),
}

HOLDFAST = f"""
threads: 1
access_log: off
admin: off
listeners:
  - {{ name: clear, address: "127.0.0.1:{CLEAR}" }}
  - name: tls
    address: 127.0.0.1:{TLS}
    tls: {{ certificates: [{{ chain: cert.pem, key: key.pem }}], protocols: [h2, http/1.1] }}
upstreams:
  backend:
    endpoints: ["127.0.0.1:{BACKEND}"]
    guard:
      timeouts: {{ connect: 1s, per_try: 2s, total: 5s }}
      retries: {{ attempts: 2, budget: {{ ratio: 20%, minimum: 3/second }} }}
      bulkhead: {{ concurrent: 512, queue: 256, queue_timeout: 100ms }}
routes:
  - {{ match: {{ path: /* }}, to: backend }}
"""

# Guarded as far as HAProxy goes: limits, a queue, retries, passive checks.
HAPROXY = f"""
global
    nbthread 1
    maxconn 8000
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 2s
    timeout queue 100ms
    timeout http-keep-alive 60s
    option redispatch
    retries 1
    retry-on conn-failure empty-response 503
frontend edge
    bind 127.0.0.1:{CLEAR}
    bind 127.0.0.1:{TLS} ssl crt @DIR@/both.pem alpn h2,http/1.1
    option forwardfor
    default_backend backend
backend backend
    http-reuse always
    server one 127.0.0.1:{BACKEND} maxconn 512 pool-max-conn -1 observe layer7 error-limit 50 on-error mark-down check inter 1s
"""

NGINX_HEAD = """
daemon off;
worker_processes 1;
pid @DIR@/@NAME@.pid;
error_log stderr crit;
worker_rlimit_nofile 16384;
events { worker_connections 8000; }
"""

NGINX = NGINX_HEAD + f"""
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path @DIR@/body;
    proxy_temp_path @DIR@/proxy;
    fastcgi_temp_path @DIR@/f;
    uwsgi_temp_path @DIR@/u;
    scgi_temp_path @DIR@/s;
    upstream backend {{
        server 127.0.0.1:{BACKEND} max_fails=10 fail_timeout=5s;
        keepalive 512;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{CLEAR};
        listen 127.0.0.1:{TLS} ssl http2;
        ssl_certificate @DIR@/cert.pem;
        ssl_certificate_key @DIR@/key.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        http2_max_requests 100000000;
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_connect_timeout 1s;
            proxy_read_timeout 2s;
            proxy_next_upstream error timeout http_503;
            proxy_next_upstream_tries 2;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"""

ORIGIN = NGINX_HEAD + f"""
http {{
    access_log off;
    keepalive_requests 100000000;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path @DIR@/ob;
    proxy_temp_path @DIR@/op;
    fastcgi_temp_path @DIR@/of;
    uwsgi_temp_path @DIR@/ou;
    scgi_temp_path @DIR@/os;
    server {{ listen 127.0.0.1:{BACKEND} backlog=4096; root @DIR@/www; }}
}}
"""


class Server:
    """A process of the run, on one core, and all the CPU time of it and its children."""

    def __init__(self, name, command, core, port, folder):
        pin = ["taskset", "-c", str(core)] if core is not None else []
        self.log = open(f"{folder}/{name}.log", "ab")
        self.process = subprocess.Popen(
            pin + command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.stop()
        sys.exit(f"{name} did not come up: " + open(f"{folder}/{name}.log").read()[-2000:])

    def cpu_seconds(self):
        """Of every process of its session."""
        total = 0
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                fields = open(f"/proc/{entry}/stat").read().rsplit(") ", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid:
                total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def stop(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)
                try:
                    self.process.wait(5)
                except subprocess.TimeoutExpired:
                    pass
        self.log.close()


def load(row, requests, core):
    """Runs h2load; how many requests were answered with 2xx. Any other outcome ends the run: a proxy that fails is not fast."""
    clients = int(row.load[row.load.index("-c") + 1])
    command = ["h2load", "-t", "1", "-n", str(max(requests, clients))] + row.load + [row.url]
    if core is not None:
        command = ["taskset", "-c", str(core)] + command
    output = subprocess.run(command, capture_output=True, text=True, timeout=300).stdout
    found = re.search(r"status codes: (\d+) 2xx", output)
    wanted = max(requests, clients)
    if not found or int(found[1]) != wanted:
        sys.exit(f"{' '.join(command)}: not all answers were 2xx\n{output}")
    return wanted


def measure(row, server, core, seconds):
    """One figure: a warm-up, which also says how many requests fill the time, and the run itself."""
    began = time.monotonic()
    warm = load(row, row.first, core)
    rate = warm / (time.monotonic() - began)
    before = server.cpu_seconds()
    requests = load(row, max(int(rate * seconds), row.first), core)
    return row.figure(server.cpu_seconds() - before, requests)


def fill(text, folder, name):
    path = f"{folder}/{name}"
    with open(path, "w") as file:
        file.write(text.replace("@DIR@", folder).replace("@NAME@", name))
    return path


def prepare(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", f"{folder}/key.pem", "-out",
         f"{folder}/cert.pem"], check=True, capture_output=True)
    with open(f"{folder}/both.pem", "w") as both:
        for name in ("cert.pem", "key.pem"):
            both.write(open(f"{folder}/{name}").read())
    os.makedirs(f"{folder}/www")
    with open(f"{folder}/www/small", "wb") as file:
        file.write(b"holdfast" * 128)
    with open(f"{folder}/www/big", "wb") as file:
        file.write(os.urandom(1024) * (BIG_BYTES // 1024))
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)


def proxies(folder, wanted):
    holdfast = os.environ.get("HOLDFAST", "holdfast")
    all_of_them = {
        "holdfast": [holdfast, "run", fill(HOLDFAST, folder, "holdfast.yaml")],
        "haproxy": ["haproxy", "-db", "-f", fill(HAPROXY, folder, "haproxy.cfg")],
        "nginx": ["nginx", "-p", folder, "-c", fill(NGINX, folder, "nginx.conf")],
    }
    return {name: command for name, command in all_of_them.items() if name in wanted}


def table(figures, rows, names):
    """Medians, and behind each the median of the rounds' ratios to HAProxy with the smallest and the greatest."""
    lines = ["| row | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for key in rows:
        cells = []
        for name in names:
            cell = f"{statistics.median(figures[key][name]):.3g}"
            if name != "haproxy" and "haproxy" in names:
                ratios = [a / b for a, b in zip(figures[key][name], figures[key]["haproxy"])]
                cell += f" ({statistics.median(ratios):.2f}; {min(ratios):.2f} to {max(ratios):.2f})"
            cells.append(cell)
        lines.append(f"| {ROWS[key].title}, {ROWS[key].unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8, help="eight or more to judge a change (default 8)")
    parser.add_argument("--seconds", type=float, default=3, help="length of one run (default 3)")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)}")
    parser.add_argument("--only", default="holdfast,haproxy,nginx", help="of holdfast, haproxy, nginx")
    options = parser.parse_args()
    rows = options.rows.split(",")
    if unknown := [key for key in rows if key not in ROWS]:
        sys.exit(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")

    cores = sorted(os.sched_getaffinity(0))
    # The proxy has a core of its own, where there are two.
    proxy_core, other_core = (cores[0], cores[1]) if len(cores) > 1 else (None, None)
    folder = tempfile.mkdtemp(prefix="holdfast-peers-")
    prepare(folder)
    commands = proxies(folder, options.only.split(","))
    if not commands:
        sys.exit("--only names no proxy: holdfast, haproxy, nginx")
    names = list(commands)
    figures = {key: {name: [] for name in names} for key in rows}
    origin = Server("origin", ["nginx", "-p", folder, "-c", fill(ORIGIN, folder, "origin.conf")], other_core, BACKEND, folder)
    try:
        for turn in range(options.rounds):
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                server = Server(name, commands[name], proxy_core, CLEAR, folder)
                try:
                    for key in rows:
                        figures[key][name].append(measure(ROWS[key], server, other_core, options.seconds))
                finally:
                    server.stop()
            print(f"round {turn + 1} of {options.rounds}", file=sys.stderr)
    finally:
        origin.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(table(figures, rows, names))
    results = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")
    os.makedirs(results, exist_ok=True)
    with open(os.path.join(results, time.strftime("%Y%m%d-%H%M%S.json")), "w") as file:
        json.dump({"rounds": options.rounds, "seconds": options.seconds, "figures": figures}, file, indent=1)


if __name__ == "__main__":
    main()
