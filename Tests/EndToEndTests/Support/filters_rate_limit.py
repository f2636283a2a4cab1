# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""The filter rate_limit: exact across reactors and, by a real Redis, across gateways, also one that is killed and restarted, behind TLS and a
password, or a cluster. The clients are the standard library's and curl."""
import base64
import hashlib
import hmac
import http.client
import json
import os
import signal
import subprocess
import threading
import time

from lab import Checks, Lab, free_port, wait_for

checks = Checks()
SECRET = b"0123456789abcdef0123456789abcdef"


def check(message, condition, found=""):
    checks.that(condition, f"{message} ({found})" if found != "" else message)


def reload(lab):
    before = lab.said().count(" reload ")
    lab.gateway.send_signal(signal.SIGHUP)
    end = time.monotonic() + 10
    while lab.said().count(" reload ") == before and time.monotonic() < end:
        time.sleep(0.05)


def ask(port, path="/", headers={}, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, body


def storm(ports, path, each, threads=8, headers={}):
    """How many of `threads` × `each` requests were answered with each status."""
    counts, lock = {}, threading.Lock()

    def client(n):
        connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=20) for port in ports]
        for i in range(each):
            connection = connections[(n + i) % len(connections)]
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            with lock:
                counts[answer.status] = counts.get(answer.status, 0) + 1

    running = [threading.Thread(target=client, args=(n,)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return counts


def token(subject):
    """A token by HS256 (RFC 7515), made without any library."""
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    text = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps({"sub": subject, "exp": int(time.time()) + 3600}).encode())
    return (text + b"." + part(hmac.new(SECRET, text, hashlib.sha256).digest())).decode()


def route(path, *limits, other=""):
    lines = "".join(f"      - rate_limit: {limit}\n" for limit in limits) + other
    return f"  - match: {{ path: {path} }}\n    answer: {{ body: yes }}\n    filters:\n{lines}"


# In memory.

lab = Lab()
MEMORY = "".join([
    route("/bucket", "{ rate: 5/minute, per: client_ip }"),
    route("/window", "{ rate: 4/hour, algorithm: sliding_window, per: client_ip }"),
    route("/storm", "{ name: all, rate: 300/day, per: route }"),
    route("/both", "{ name: wide, rate: 100/day, per: global }", "{ name: narrow, rate: 3/day, per: { header: x-team } }"),
    route("/shadow", "{ rate: 1/day, per: global, shadow: true }"),
    route("/quiet", "{ rate: 1/day, per: global, headers: false }"),
    route("/later", "{ name: later, rate: 10/day, per: client_ip }"),
    route("/consumer", "{ rate: 2/day, per: consumer }"),
    route("/keys", "{ rate: 2/day, per: consumer }", "{ rate: 3/day, per: client_ip }", other="      - api_key: { keys_file: keys.yaml }\n"),
    route("/claims", "{ rate: 2/day, per: { claim: sub } }", other="      - jwt: { secret: secret, algorithms: [HS256], issuer: off, audience: off }\n"),
])
with open(f"{lab.folder}/keys.yaml", "w") as f:
    digests = {name: hashlib.sha256(f"{name}-0123456789abcdef".encode()).hexdigest() for name in ["ann-1", "ann-2", "bob-1"]}
    f.write(f"""consumers:
  - name: ann
    keys: [{{ sha256: {digests['ann-1']} }}, {{ sha256: {digests['ann-2']} }}]
  - name: bob
    keys: [{{ sha256: {digests['bob-1']} }}]
""")
with open(f"{lab.folder}/secret", "wb") as f:
    f.write(SECRET)
lab.start("  {}", MEMORY, top="trusted_networks: [127.0.0.1]")

answers = [ask(lab.clear, "/bucket") for _ in range(7)]
check("a bucket gives its burst", [a[0] for a in answers] == [200] * 5 + [429] * 2, [a[0] for a in answers])
first, refused = answers[0][1], answers[-1]
check("the policy is told", first.get("ratelimit-policy") == '"client_ip";q=5;w=60', first)
check("and what is left", first.get("ratelimit", "").startswith('"client_ip";r=4;t=12'), first)
problem = json.loads(refused[2])
check("a refusal has its reason", problem["reason"] == "rate_limit.exceeded" and problem["status"] == 429, problem)
check("and when to come again", 1 <= int(refused[1]["retry-after"]) <= 12 and refused[1]["ratelimit"].startswith('"client_ip";r=0'), refused[1])
answers = [ask(lab.clear, "/window")[0] for _ in range(6)]
check("a window gives its amount", answers == [200] * 4 + [429] * 2, answers)

# E14, P27: other addresses of one network, mapped and spelled otherwise, are one client; another network is another.
answers = [ask(lab.clear, "/bucket", {"x-forwarded-for": f"2001:db8:0:1::{n:x}"})[0] for n in range(1, 9)]
check("one IPv6 /64 is one client", answers == [200] * 5 + [429] * 3, answers)
check("another /64 is not", ask(lab.clear, "/bucket", {"x-forwarded-for": "2001:db8:0:2::1"})[0] == 200)
names = ["198.51.100.7", "::ffff:198.51.100.7", "::FFFF:c633:6407", "0:0:0:0:0:ffff:198.51.100.7"] * 2
answers = [ask(lab.clear, "/bucket", {"x-forwarded-for": name})[0] for name in names]
check("a mapped address is its IPv4 address", answers.count(200) == 5, answers)

counts = storm([lab.clear], "/storm", 100)
check("300 of 800 requests of 8 clients on two reactors, to the request", counts == {200: 300, 429: 500}, counts)

answers = [ask(lab.clear, "/both", {"X-Team": "red"})[0] for _ in range(2)] + [ask(lab.clear, "/both", {"x-TEAM": "red"})[0] for _ in range(8)]
check("names of fields have no case", answers == [200] * 3 + [429] * 7, answers)
told = ask(lab.clear, "/both", {"x-team": "blue"})[1]["ratelimit"]
check("what one limit refuses is not taken from the other", '"wide";r=96' in told and '"narrow";r=2' in told, told)
answers = [ask(lab.clear, "/both")[0] for _ in range(5)]
check("who has no key shares one", answers == [200] * 3 + [429] * 2, answers)

answers = [ask(lab.clear, "/shadow") for _ in range(5)]
check("a shadow refuses nobody and tells nothing", all(a[0] == 200 and "ratelimit" not in a[1] for a in answers))
check("but counts", lab.metrics().get('holdfast_rate_limit_requests_total{scope="route /shadow",limit="global",result="shadow_refused"}') == 4, "")
answers = [ask(lab.clear, "/quiet") for _ in range(2)]
check("without headers nothing is told", [a[0] for a in answers] == [200, 429] and not any("ratelimit" in a[1] for a in answers))
answers = [ask(lab.clear, "/consumer")[0] for _ in range(3)]
check("nobody is a consumer too", answers == [200, 200, 429], answers)
keys = ["ann-1", "ann-2", "ann-1", "bob-1", "bob-1", "bob-1"]
answers = [ask(lab.clear, "/keys", {"x-api-key": f"{key}-0123456789abcdef", "x-forwarded-for": f"192.0.2.{n}"})[0] for n, key in enumerate(keys)]
check("all keys of one consumer have one limit", answers == [200, 200, 429, 200, 200, 429], answers)
answers = [ask(lab.clear, "/keys", {"x-api-key": f"guess-{n}", "x-forwarded-for": "192.0.2.99"})[0] for n in range(5)]
check("limits by address come before authentication, and slow down guessing", answers == [401] * 3 + [429] * 2, answers)
answers = [ask(lab.clear, "/claims", {"authorization": f"Bearer {token(name)}"})[0] for name in ["eve", "eve", "eve", "kim", "kim", "kim"]]
check("a claim of the token has its limit", answers == [200, 200, 429] * 2, answers)
status, headers, body = ask(lab.clear, "/quiet", method="HEAD")
check("HEAD is refused without a body", status == 429 and body == b"")

# A reload: what was used stays used, and the new rule applies at once.
for _ in range(6):
    ask(lab.clear, "/later")
lab.write_config("  {}", MEMORY.replace("name: later, rate: 10/day", "name: later, rate: 8/day"), top="trusted_networks: [127.0.0.1]")
reload(lab)
answers = [ask(lab.clear, "/later")[0] for _ in range(4)]
check("a reload forgives nothing", answers == [200, 200, 429, 429], answers)
check("nor of limits that are as they were", ask(lab.clear, "/window")[0] == 429)
check("the gateway stops", lab.stop() == 0)


# In Redis.

def redis(port, *options):
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning", *options],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=lab.folder)
    return process


port = free_port()
server = redis(port)
wait_for(port)
SHARED = "".join([
    route("/shared", "{ rate: 300/day, per: global, store: redis, on_failure: closed }"),
    route("/window", "{ rate: 200/day, algorithm: sliding_window, per: global, store: redis, on_failure: closed }"),
    route("/two", "{ name: wide, rate: 100/day, per: global, store: redis }", "{ name: narrow, rate: 3/day, per: { header: x-team }, store: redis }"),
    route("/local", "{ rate: 5/day, per: global, store: redis, on_failure: local }"),
    route("/open", "{ rate: 5/day, per: global, store: redis, on_failure: open }"),
    route("/closed", "{ rate: 1000/day, per: global, store: redis, on_failure: closed }"),
    route("/bucket", "{ rate: 10/second, burst: 3, per: client_ip, store: redis }"),
])
TOP = f"redis: {{ servers: 127.0.0.1:{port}, timeout: 2s }}"
one, two = Lab(), Lab()
one.start("  {}", SHARED, top=TOP)
two.start("  {}", SHARED, top=TOP)
counts = storm([one.clear, two.clear], "/shared", 100)
check("two gateways share one bucket, to the request", counts == {200: 300, 429: 500}, counts)
counts = storm([one.clear, two.clear], "/window", 100)
check("and one window", counts == {200: 200, 429: 600}, counts)
answers = [ask(gateway.clear, "/two", {"x-team": "red"})[0] for gateway in [one, two] * 5]
told = ask(one.clear, "/two", {"x-team": "blue"})[1]["ratelimit"]
check("several at once are all or nothing", answers.count(200) == 3 and '"wide";r=96' in told and '"narrow";r=2' in told, (answers, told))
answers = [ask(one.clear, "/bucket")[0] for _ in range(4)]
time.sleep(0.35)
answers += [ask(two.clear, "/bucket")[0] for _ in range(3)]
check("a bucket fills by Redis's clock", answers[:3] == [200] * 3 and answers[4:6] == [200] * 2, answers)
keys = subprocess.run(["redis-cli", "-p", str(port), "keys", "*"], capture_output=True, text=True).stdout
check("values of fields are not to be read in Redis", ":red" not in keys and "holdfast:{route" in keys, keys)
ttl = [int(subprocess.run(["redis-cli", "-p", str(port), "pttl", k], capture_output=True, text=True).stdout) for k in keys.split()]
check("every key expires", ttl and all(t > 0 or t == -2 for t in ttl), ttl)
subprocess.run(["redis-cli", "-p", str(port), "script", "flush"], stdout=subprocess.DEVNULL)
check("a script that is forgotten is sent again", ask(one.clear, "/closed")[0] == 200)

# Killed in the middle, under load; then started anew.
outcome = {}
loading = threading.Thread(target=lambda: outcome.update(storm([one.clear, two.clear], "/closed", 60)))
loading.start()
time.sleep(0.05)
server.send_signal(signal.SIGKILL)
server.wait()
loading.join()
check("each request is answered while Redis dies", sum(outcome.values()) == 480 and set(outcome) <= {200, 503}, outcome)
status, headers, body = ask(one.clear, "/closed")
check("closed refuses", status == 503 and json.loads(body)["reason"] == "rate_limit.unavailable" and "retry-after" in headers, (status, body))
answers = [ask(one.clear, "/open")[0] for _ in range(20)]
check("open lets pass", answers == [200] * 20, answers)
answers = [ask(one.clear, "/local")[0] for _ in range(8)] + [ask(two.clear, "/local")[0] for _ in range(8)]
check("local counts in each gateway by itself", answers == ([200] * 5 + [429] * 3) * 2, answers)
metrics = one.metrics()
check("failures are counted", metrics['holdfast_redis_failures_total{reason="connection"}'] >= 1, "")
check("the breaker spares it", metrics['holdfast_redis_failures_total{reason="breaker"}'] >= 1 and metrics["holdfast_redis_available"] == 0, "")
server = redis(port)
wait_for(port)
end = time.monotonic() + 30
while time.monotonic() < end and not (ask(one.clear, "/closed")[0] == 200 and ask(two.clear, "/closed")[0] == 200):
    time.sleep(0.1)
check("Redis is asked again once it is back", one.metrics()["holdfast_redis_available"] == 1)
counts = storm([one.clear, two.clear], "/shared", 100)
check("and counts to the request as before", counts == {200: 300, 429: 500}, counts)

# A server that hangs: the decision ends in time.
server.send_signal(signal.SIGSTOP)
before = time.monotonic()
status = ask(one.clear, "/closed")[0]
took = time.monotonic() - before
check("a silent server costs no more than the timeout", status == 503 and took < 3.5, (status, took))
server.send_signal(signal.SIGCONT)
check("both gateways stop", one.stop() == 0 and two.stop() == 0)
server.kill()
server.wait()

# TLS, user and password, another database.
secure = Lab()
port = free_port()
users = f"{secure.folder}/users.acl"
with open(users, "w") as f:
    f.write("user default off\nuser gateway on >s3cret:word ~hf:* +evalsha +eval +script|load +select +time +hmget +hset +pexpire\n")
with open(f"{secure.folder}/password", "w") as f:
    f.write("s3cret:word\n")
server = redis(0, "--tls-port", str(port), "--tls-cert-file", f"{secure.folder}/edge.pem", "--tls-key-file", f"{secure.folder}/edge.key",
               "--tls-ca-cert-file", f"{secure.folder}/ca.pem", "--tls-auth-clients", "no", "--aclfile", users)
wait_for(port)
LIMIT = route("/secure", "{ rate: 3/day, per: global, store: redis, on_failure: closed }")
TLS = f"redis: {{ servers: 127.0.0.1:{port}, tls: {{ ca: ca.pem }}, username: gateway, password: password, database: 2, prefix: 'hf:', timeout: 2s }}"
secure.start("  {}", LIMIT, top=TLS)
answers = [ask(secure.clear, "/secure")[0] for _ in range(5)]
check("over TLS, with user, password and database", answers == [200] * 3 + [429] * 2, answers)
with open(f"{secure.folder}/wrong", "w") as f:
    f.write("wrong\n")
secure.write_config("  {}", LIMIT, top=TLS.replace("password: password", "password: wrong"))
reload(secure)
check("a wrong password is a failure with a name", ask(secure.clear, "/secure")[0] == 503
             and secure.metrics()['holdfast_redis_failures_total{reason="setup"}'] >= 1)
check("which does not say the password", "wrong" not in secure.said() and "s3cret" not in secure.said())
check("the gateway stops", secure.stop() == 0)
server.kill()
server.wait()

# A cluster of three, whose redirects are followed; without `cluster` they are a failure with a name.
ports, servers = [free_port() for _ in range(3)], []
for p in ports:
    os.makedirs(f"{secure.folder}/{p}")
    servers.append(redis(p, "--cluster-enabled", "yes", "--dir", f"{secure.folder}/{p}", "--cluster-port", str(free_port())))
for p in ports:
    wait_for(p)
made = subprocess.run(["redis-cli", "--cluster", "create", *[f"127.0.0.1:{p}" for p in ports], "--cluster-yes"], capture_output=True, text=True)
cluster = Lab()
CLUSTER = "".join([
    route("/client", "{ rate: 2/day, per: client_ip, store: redis, on_failure: closed }"),
    route("/two", "{ name: wide, rate: 100/day, per: global, store: redis }", "{ name: narrow, rate: 3/day, per: client_ip, store: redis }"),
])
cluster.start("  {}", CLUSTER, top=f"trusted_networks: [127.0.0.1]\nredis: {{ servers: [127.0.0.1:{ports[0]}], cluster: true, timeout: 2s }}")
end = time.monotonic() + 20
while time.monotonic() < end and ask(cluster.clear, "/two", {"x-forwarded-for": "192.0.2.250"})[0] != 200:
    time.sleep(0.2)
answers = [ask(cluster.clear, "/client", {"x-forwarded-for": f"192.0.2.{n}"})[0] for n in range(40) for _ in range(3)]
check("a cluster's redirects are followed", answers == [200, 200, 429] * 40, (made.stdout[-300:], answers))
sizes = [int(subprocess.run(["redis-cli", "-p", str(p), "dbsize"], capture_output=True, text=True).stdout) for p in ports]
check("keys are spread over its servers", all(size >= 3 for size in sizes), sizes)
answers = [ask(cluster.clear, "/two", {"x-forwarded-for": "192.0.2.9"})[0] for _ in range(5)]
check("limits that are asked together are on one server", answers == [200] * 3 + [429] * 2, answers)
cluster.write_config("  {}", CLUSTER, top=f"trusted_networks: [127.0.0.1]\nredis: {{ servers: 127.0.0.1:{ports[0]}, timeout: 2s }}")
reload(cluster)
answers = {ask(cluster.clear, "/client", {"x-forwarded-for": f"198.51.100.{n}"})[0] for n in range(20)}
check("without `cluster` a redirect is a failure with a name", 503 in answers
             and cluster.metrics()['holdfast_redis_failures_total{reason="redirect"}'] >= 1, answers)
check("the gateway stops", cluster.stop() == 0)
for server in servers:
    server.kill()
    server.wait()

checks.end()
