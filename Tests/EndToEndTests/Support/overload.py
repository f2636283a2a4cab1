# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""Descriptors and memory run out gracefully (promise P22): the gateway sheds with 503 + Retry-After, closes what does nothing, never ends, and
serves as before once there is room again. The limits are a small RLIMIT_NOFILE and a `memory_limit` little above what it starts with."""
import os
import resource
import signal
import socket
import ssl
import sys
import time
import urllib.request

from lab import Checks, Lab, free_port, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = 160
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
lab, checks = Lab(), Checks()
port = free_port()
lab.backend(sys.executable, f"{HERE}/counting_backend.py", str(port), "200", "0.02")
wait_for(port)
upstreams = f'  a: {{ endpoints: ["127.0.0.1:{port}"], guard: {{ breaker: {{ disabled: true }} }} }}'
routes = """  - { match: { path: "/bulk" }, to: a, priority: bulk }
  - { match: { path: "/*" }, to: a }"""


def start(files):
    return lab.start(upstreams, routes, prepare=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))


def ask(path="/x", connection=None, keep=False):
    """The status line and all that follows; '' when the connection was refused or reset."""
    try:
        connection = connection or socket.create_connection(("127.0.0.1", lab.clear), 5)
        connection.settimeout(5)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n{'' if keep else 'Connection: close'+chr(13)+chr(10)}\r\n".encode())
        answer = b""
        while True:
            more = connection.recv(65536)
            answer += more
            if not more or (keep and b"\r\n\r\n" in answer):
                return answer.decode(errors="replace")
    except OSError:
        return ""


def status(answer):
    return answer[9:12]


def memory(key):
    with open(f"/proc/{lab.gateway.pid}/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(key + ":"))


def until(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def level(signal_name):
    return lab.metrics()[f'holdfast_overload_level{{signal="{signal_name}"}}']


# Descriptors: clients that connect, ask once and stay.
start(FILES)
checks.that(status(ask()) == "200", "nothing is short and it does not serve")
started_with = lab.descriptors()
kept, answers = [], []
for n in range(400):
    try:
        connection = socket.create_connection(("127.0.0.1", lab.clear), 5)
    except OSError:
        continue
    kept.append(connection)
    answers.append(ask("/bulk" if n % 2 else "/x", connection, keep=True))
    checks.that(lab.descriptors() <= FILES, "more descriptors than there are")
shed = [a for a in answers if status(a) == "503"]
print(f"descriptors: started with {started_with}, served {sum(status(a) == '200' for a in answers)}, shed {len(shed)}, "
      f"dropped {answers.count('')}, at the end {lab.descriptors()}", flush=True)
checks.that(len(shed) > 5, f"only {len(shed)} were shed")
checks.that(all("shed.descriptors" in a and "retry-after: " in a.lower() and "connection: close" in a.lower() for a in shed),
            f"a shed answer: {shed[:1]}")
checks.that({status(a) for a in answers} <= {"200", "503", ""}, f"other answers: { {status(a) for a in answers} }")
checks.that(status(next(a for a in answers if status(a) == "503")) == "503" and answers.index(shed[0]) % 2 == 1,
            "the first that was shed was not a bulk request")
checks.that(lab.gateway.poll() is None, "it ended")
checks.that(urllib.request.urlopen(f"http://127.0.0.1:{lab.admin}/healthz", timeout=5).status == 200, "the admin listener is not shed")
# They still stay, and the gateway makes room by itself.
checks.that(until(lambda: level("descriptors") == 0, 15), f"the level stays at {level('descriptors')}")
checks.that(status(ask("/bulk")) == "200", "there is room again and bulk requests are still shed")
for connection in kept:
    connection.close()
said = lab.said()
checks.that("turned away signal=descriptors" in said.replace('"', ""), f"the log does not say so: {said[-800:]}")
checks.that(lab.total("holdfast_reasons_total") > 0 and lab.metrics()['holdfast_reasons_total{reason="shed.descriptors"}'] >= len(shed),
            "the metric knows of fewer than were answered")
lab.gateway.send_signal(signal.SIGTERM)
checks.that(lab.gateway.wait(40) == 0, "the gateway did not drain")

# Memory: TLS connections, some 50 KiB each, which stay.
start(20_000)
for _ in range(20):
    ask()
base = memory("VmRSS")
limit = base * 5 // 3 + (8 << 20)
lab.write_config(upstreams, routes, top=f"overload: {{ memory: 85%, memory_limit: {limit}B }}")
lab.gateway.send_signal(signal.SIGHUP)
checks.that(until(lambda: "holdfast_overload_reading" in str(lab.metrics()) and lab.metrics()['holdfast_overload_reading{signal="memory"}'] > 0.3, 5),
            "the limit did not come into force")
context = ssl.create_default_context(cafile=f"{lab.folder}/ca.pem")
context.minimum_version = ssl.TLSVersion.TLSv1_3
kept, answers = [], []
end = time.monotonic() + 60
while time.monotonic() < end and sum(status(a) == "503" for a in answers) < 20 and len(kept) < 6000:
    try:
        raw = socket.create_connection(("127.0.0.1", lab.tls), 5)
        connection = context.wrap_socket(raw, server_hostname="localhost")
        # A head that is not complete holds its connection, which is then not idle.
        connection.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 40_000)
        kept.append(connection)
    except OSError:
        pass
    if len(kept) % 20 == 0:
        answers += [ask(), ask("/bulk")]
shed = [a for a in answers if status(a) == "503"]
print(f"memory: {base >> 20} MiB at first, {limit >> 20} MiB allowed, {memory('VmHWM') >> 20} MiB at most, {len(kept)} connections, "
      f"{len(shed)} of {len(answers)} shed", flush=True)
checks.that(len(shed) >= 5 and all("shed.memory" in a and "retry-after: " in a.lower() for a in shed), f"shed: {len(shed)}, {shed[:1]}")
checks.that(memory("VmHWM") <= limit * 95 // 100, f"{memory('VmHWM')} bytes of {limit} were in use")
checks.that(lab.gateway.poll() is None, "it ended")
for connection in kept:
    connection.close()
checks.that(until(lambda: status(ask()) == "200", 20), f"memory is free again, and it still sheds: {memory('VmRSS') >> 20} MiB")
checks.that("turned away signal=memory" in lab.said(), "the log does not say so")
checks.end(lab)
