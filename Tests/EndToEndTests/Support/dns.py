# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""Upstreams by name against a real name server (dnslib): a start without DNS, A and AAAA and SRV, sets that change under load without a
lost request, every kind of failure, truncation and TCP, answers that are none. All backends share a port on addresses of their own."""
import http.client
import http.server
import json
import os
import random
import socket
import threading
import time
import urllib.request

import dnslib
from dnslib.server import BaseResolver, DNSHandler, DNSLogger, DNSServer

from lab import Checks, Lab, free_port, wait_for

lab, checks = Lab(), Checks()
dns_port, broken_port, port = free_port(), free_port(), free_port()
HOSTS = [f"127.0.0.{n}" for n in (11, 12, 13, 14)]
served = {}
served_lock = threading.Lock()


class Backend(http.server.BaseHTTPRequestHandler):
    """Says which address it has and what it was called."""
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        address = self.connection.getsockname()[0]
        if self.path.startswith("/work"):
            time.sleep(0.02)
        with served_lock:
            served[address] = served.get(address, 0) + 1
        body = f"{address} {self.headers['host']}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *arguments):
        pass


class Server6(Server):
    address_family = socket.AF_INET6


class Zone(BaseResolver):
    """What names have now, and what is wrong with the server."""

    def __init__(self):
        self.mode = "well"
        self.records = {}
        self.asked = []

    def set(self, name, kind, values, ttl=1):
        self.records[(name, kind)] = (values, ttl)

    def resolve(self, request, handler):
        name, kind = str(request.q.qname).rstrip(".").lower(), dnslib.QTYPE[request.q.qtype]
        self.asked.append((kind, name, handler.protocol))
        reply = request.reply()
        if self.mode in ("nxdomain", "servfail", "refused"):
            reply.header.rcode = {"nxdomain": 3, "servfail": 2, "refused": 5}[self.mode]
        elif self.mode != "empty":
            if not any(key[0] == name for key in self.records):
                reply.header.rcode = 3
            values, ttl = self.records.get((name, kind), ([], 1))
            make = {"A": dnslib.A, "AAAA": dnslib.AAAA, "SRV": lambda v: dnslib.SRV(*v)}[kind]
            values = list(values)
            random.shuffle(values)
            for value in values:
                reply.add_answer(dnslib.RR(name, request.q.qtype, rdata=make(value), ttl=ttl))
        return reply


class Handler(DNSHandler):
    def get_reply(self, data):
        if self.server.server_address[1] == broken_port:
            return dnslib.DNSRecord.parse(data).reply().pack()[:2] + b"\x81\x82" + data[4:6] + bytes(6) + data[12:]
        if zone.mode == "silent":
            time.sleep(0.01)
            raise OSError("no answer")
        if zone.mode == "junk":
            return random.choice([
                b"", data[:2], data[:12], data[:2] + os.urandom(40),
                # The header and question of a good answer, and anything behind them.
                data[:2] + b"\x81\x80" + data[4:6] + b"\xff\xff\x00\x00\x00\x00" + data[12:] + os.urandom(60),
                data[:2] + b"\x81\x80" + data[4:6] + b"\x00\x01\x00\x00\x00\x00" + data[12:] + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x40" + b"\x7f",
            ])
        return super().get_reply(data)


zone = Zone()
quiet = DNSLogger("-request,-reply,-truncated,-error,-recv,-send,-data")


class NameServer:
    def __init__(self, at):
        self.at = at

    def __enter__(self):
        Handler.log = staticmethod(lambda *a: None)
        self.servers = [DNSServer(zone, address="127.0.0.1", port=self.at, tcp=tcp, handler=Handler, logger=quiet) for tcp in (False, True)]
        for server in self.servers:
            server.server.allow_reuse_address = True
            server.server.handle_error = lambda *arguments: None
            server.start_thread()
        return self

    def stop(self):
        for server in self.servers:
            server.stop()
            server.server.server_close()

    def __exit__(self, *arguments):
        self.stop()


for host in HOSTS:
    threading.Thread(target=Server((host, port), Backend).serve_forever, daemon=True).start()
has_ipv6 = True
try:
    threading.Thread(target=Server6(("::1", port), Backend).serve_forever, daemon=True).start()
except OSError:
    has_ipv6 = False

COMMON = f"servers: [\"127.0.0.1:{dns_port}\"], timeout: 200ms, attempts: 1"
UPSTREAMS = f"""  users:
    dns: {{ name: users.internal, port: {port}, maximum_ttl: 2s, {COMMON} }}
    host: upstream
    slow_start: off
    balance: round_robin
    guard: {{ retries: {{ attempts: 1 }} }}
  failover:   # its first server always fails
    dns: {{ name: users.internal, port: {port}, maximum_ttl: 2s, servers: ["127.0.0.1:{broken_port}", "127.0.0.1:{dns_port}"], timeout: 200ms, attempts: 1 }}
  services:
    dns: {{ name: _users._tcp.internal, record: srv, maximum_ttl: 2s, {COMMON} }}
    balance: round_robin"""
ROUTES = """  - { match: { path: /failover }, to: failover }
  - { match: { path: /services }, to: services }
  - { match: { path: /* }, to: users }"""


def get(path="/", connection=None):
    own = connection or http.client.HTTPConnection("127.0.0.1", lab.clear, timeout=20)
    try:
        own.request("GET", path)
        answer = own.getresponse()
        return answer.status, answer.read().decode()
    finally:
        if not connection:
            own.close()


def until(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            checks.that(True, what)
            return
        time.sleep(0.05)
    checks.that(False, f"not in {seconds} s: {what}; {report()} {lab.said()[-600:]}")


def report(upstream="users"):
    text = urllib.request.urlopen(f"http://127.0.0.1:{lab.admin}/upstreams", timeout=5).read()
    return next(u for u in json.loads(text)["upstreams"] if u["name"] == upstream)


def endpoints(upstream="users"):
    return sorted(e["address"] for e in report(upstream)["endpoints"])


def becomes(addresses, upstream="users"):
    wanted = sorted(a if ":" in a.strip("[]")[:-1] and a.count(":") == 1 else f"[{a}]:{port}" if ":" in a else f"{a}:{port}" for a in addresses)
    until(lambda: endpoints(upstream) == wanted, f"{upstream} has {wanted}")
    time.sleep(0.1)  # the other thread hears of it by message


def who(times=12):
    return {get()[1].split(" ")[0] for _ in range(times)}


def a_start_without_dns():
    """It starts, says so, and refuses; it serves once DNS is there."""
    status, body = get()
    checks.that(status == 503 and json.loads(body)["reason"] == "dns", f"without DNS: {status} {body}")
    until(lambda: "warning dns name has no answer, so that requests are refused upstream=users name=users.internal result=unreachable"
          in lab.said(), "the log says why")
    with NameServer(broken_port):
        until(lambda: report("failover")["dns"].get("failure") == "servfail", "the one that is there counts", 30)
    checks.that(report()["dns"]["state"] == "failing" and report()["dns"]["failure"] == "unreachable", f"{report()['dns']}")


def addresses():
    zone.set("users.internal", "A", HOSTS[:2])
    becomes(HOSTS[:2])
    status, body = get()
    checks.that(status == 200 and body.split(" ")[1] == f"users.internal:{port}", f"Host: {body}")
    checks.that(who() == set(HOSTS[:2]), f"both serve: {who()}")
    if has_ipv6:
        zone.set("users.internal", "AAAA", ["::1"])
        becomes([HOSTS[0], HOSTS[1], "::1"])
        checks.that(who() == {HOSTS[0], HOSTS[1], "::1"}, f"IPv6 too: {who()}")
        zone.set("users.internal", "A", [])
        becomes(["::1"])
        checks.that(who() == {"::1"}, f"IPv6 alone: {who()}")
        zone.set("users.internal", "AAAA", [])
        zone.set("users.internal", "A", HOSTS[:2])
        becomes(HOSTS[:2])


def load():
    """Four clients ask all the time while the set changes: every request is answered, and who left gets none."""
    stop, failures, count = threading.Event(), [], [0]

    def client():
        connection = http.client.HTTPConnection("127.0.0.1", lab.clear, timeout=20)
        while not stop.is_set():
            try:
                status, body = get("/work", connection)
                count[0] += 1
                if status != 200:
                    failures.append((status, body))
            except Exception as error:
                failures.append(repr(error))
                connection.close()

    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    for wanted in ([1, 2], [3], [0, 1, 2, 3], [0], [2, 3], [0, 1]):
        zone.set("users.internal", "A", [HOSTS[i] for i in wanted])
        becomes([HOSTS[i] for i in wanted])
        time.sleep(0.3)  # what was under way is over
        before = dict(served)
        time.sleep(0.4)
        for i, host in enumerate(HOSTS):
            new = served.get(host, 0) - before.get(host, 0)
            checks.that((new > 0) == (i in wanted), f"{host} got {new} while {wanted} were there")
    stop.set()
    for thread in clients:
        thread.join()
    checks.that(not failures and count[0] > 100, f"{len(failures)} of {count[0]} failed: {failures[:3]}")
    series = [k for k in lab.metrics() if k.startswith('holdfast_endpoint_available{upstream="users"')]
    checks.that(len(series) == 2, f"series of who left are gone: {series}")


def failures():
    """Each has its own name in the log, in the metrics and in the report, and the last answer goes on."""
    for mode, result in [("nxdomain", "nxdomain"), ("servfail", "servfail"), ("empty", "empty"), ("silent", "timeout"), ("refused", "refused")]:
        zone.mode = mode
        until(lambda: report()["dns"].get("failure") == result, f"{mode} is called {result}", 40)
        checks.that(report()["dns"]["state"] == "stale", f"{report()['dns']}")
        until(lambda: f"goes on upstream=users name=users.internal result={result} endpoints=2" in lab.said(), f"the log of {mode}")
        count = lab.metrics().get(f'holdfast_dns_lookups_total{{upstream="users",result="{result}"}}', 0)
        checks.that(count >= 1, f"the count of {mode}")
        checks.that(who() == set(HOSTS[:2]), f"served on while {mode}")
    checks.that(lab.metrics()['holdfast_dns_state{upstream="users"}'] == 2, "the state")
    checks.that(len(endpoints("failover")) == 2 and get("/failover")[0] == 200, "the other upstream goes on too")
    zone.mode = "junk"
    asked = len(zone.asked)
    time.sleep(3)
    checks.that(who() == set(HOSTS[:2]), "served on through nonsense")
    zone.mode = "well"
    until(lambda: report()["dns"]["state"] == "current", "well again", 40)


def the_server_goes_and_comes(server):
    server.stop()
    until(lambda: report()["dns"].get("failure") == "unreachable", "nobody there", 40)
    checks.that(who() == set(HOSTS[:2]), "served on without a server")
    zone.set("users.internal", "A", HOSTS[2:])
    with NameServer(dns_port):
        becomes(HOSTS[2:])
        checks.that(who() == set(HOSTS[2:]), "the new set")
        too_many()
        services()


def too_many():
    """Seventy addresses do not fit a datagram: the answer comes by TCP, and 64 are taken."""
    zone.set("users.internal", "A", [f"127.0.1.{n}" for n in range(1, 71)])
    until(lambda: len(endpoints()) == 64, "64 endpoints")
    checks.that(("A", "users.internal", "tcp") in zone.asked, "asked by TCP")
    until(lambda: "error dns name has more addresses than an upstream can have endpoints upstream=users name=users.internal taken=64 left_out=6"
          in lab.said(), "the log of what was left out")
    zone.set("users.internal", "A", HOSTS[:2])
    becomes(HOSTS[:2])


def services():
    zone.set("one.internal", "A", [HOSTS[0]])
    zone.set("two.internal", "A", [HOSTS[1]])
    zone.set("spare.internal", "A", [HOSTS[2]])
    zone.set("_users._tcp.internal", "SRV", [(1, 10, port, "one.internal"), (1, 30, port, "two.internal"), (2, 1, port, "spare.internal")])
    becomes(HOSTS[:2], "services")
    before = dict(served)
    for _ in range(80):
        get("/services")
    one, two, spare = (served.get(h, 0) - before.get(h, 0) for h in HOSTS[:3])
    checks.that(one + two == 80 and spare == 0 and 1.5 < two / max(one, 1) < 6, f"by weight and priority: {one} {two} {spare}")
    zone.set("_users._tcp.internal", "SRV", [(2, 1, port, "spare.internal")])
    becomes([HOSTS[2]], "services")
    checks.that(get("/services")[1].split(" ")[0] == HOSTS[2], "the next priority once the first is gone")


lab.start(UPSTREAMS, ROUTES)
a_start_without_dns()
with NameServer(dns_port) as server, NameServer(broken_port):
    addresses()
    becomes(HOSTS[:2], "failover")
    load()
    failures()
    descriptors = lab.descriptors()
    the_server_goes_and_comes(server)
time.sleep(0.5)
checks.that(lab.descriptors() <= descriptors + 24, f"descriptors: {descriptors}, then {lab.descriptors()}")
checks.end(lab)
