# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""The filters that ask who somebody is, with other people's tools: curl as the client, PyJWT and cryptography as the issuer, openssl's certificates,
hashlib's passwords. A key server that rotates, is slow, answers 10 MiB, says nonsense and dies; a service that is asked for leave and dies."""
import base64
import hashlib
import http.server
import json
import os
import subprocess
import threading
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from lab import HOLDFAST, Checks, Lab, free_port, wait_for

lab, checks = Lab(), Checks()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answer, port=0):
        self.answer, self.asked = answer, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                outer.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                status, fields, content = outer.answer(self.command, self.path, self.headers, body)
                self.send_response(status)
                for name, value in fields.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                try:
                    self.wfile.write(content)
                except OSError:
                    pass

            do_POST = do_DELETE = do_GET

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]

    def die(self):
        self.shutdown()
        self.server_close()


def echo(method, path, headers, body):
    seen = {"path": path, "headers": {k.lower(): v for k, v in headers.items()}}
    return 200, {"content-type": "application/json"}, json.dumps(seen).encode()


# MARK: The issuer

RSA, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
EC, ED = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()


def number(n, size=None):
    return base64.urlsafe_b64encode(n.to_bytes(size or (n.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


def jwk(key, kid):
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        n = public.public_numbers()
        return {"kty": "RSA", "kid": kid, "use": "sig", "n": number(n.n), "e": number(n.e)}
    if isinstance(public, ec.EllipticCurvePublicKey):
        n = public.public_numbers()
        return {"kty": "EC", "kid": kid, "crv": "P-256", "alg": "ES256", "x": number(n.x, 32), "y": number(n.y, 32)}
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return {"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()}


published = [jwk(RSA, "rsa"), jwk(EC, "ec"), jwk(ED, "ed")]
mode = "good"


def keys(method, path, headers, body):
    if mode == "slow":
        time.sleep(8)
    if mode == "big":
        return 200, {}, b'{"keys":[' + b" " * (10 << 20) + b"]}"
    if mode == "nonsense":
        return 200, {}, b"<html>sorry</html>"
    if mode == "failing":
        return 500, {}, b""
    return 200, {"content-type": "application/json"}, json.dumps({"keys": published}).encode()


def token(key, kid, algorithm, headers=None, **claims):
    body = {"iss": "https://issuer.example", "aud": "shop", "sub": "ann", "exp": int(time.time()) + 600, "tenant": "t1", **claims}
    return jwt.encode({k: v for k, v in body.items() if v is not None}, key, algorithm, {"kid": kid, **(headers or {})})


leave = {"mode": "yes"}


def may(method, path, headers, body):
    if leave["mode"] == "yes":
        return 200, {"x-user": "dora", "x-secret": "s"}, b""
    if leave["mode"] == "login":
        return 302, {"location": "https://login.example/", "x-secret": "s"}, b"over there"
    if leave["mode"] == "no":
        return 403, {"content-type": "text/plain"}, b"not you"
    return 500, {}, b""


app, idp, doorman = Server(echo), Server(keys), Server(may)

# MARK: Files

KEY = subprocess.run([HOLDFAST, "hash", "key"], capture_output=True, text=True, check=True).stdout.splitlines()
key = KEY[0].split(": ")[1]
checks.that(hashlib.sha256(key.encode()).hexdigest() in KEY[1], f"holdfast hash key: {KEY}")
for short in ("secret", "a" * 40, ""):
    refused = subprocess.run([HOLDFAST, "hash", "key", "--read"], input=short + "\n", capture_output=True, text=True)
    checks.that(refused.returncode != 0 and not refused.stdout and (short not in refused.stderr or not short),
                f"a key that can be guessed is hashed: {refused}")
PASSWORD = "correct horse"
line = subprocess.run([HOLDFAST, "hash", "password", "--rounds", "100000"], input=PASSWORD + "\n", capture_output=True, text=True,
                      check=True).stdout.strip()
_, scheme, rounds, salt, digest = line.split("$")
adapted = lambda text: base64.b64decode(text.replace(".", "+") + "=" * (-len(text) % 4))
checks.that(hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), adapted(salt), int(rounds)) == adapted(digest), f"holdfast hash password: {line}")


def write(name, text):
    with open(f"{lab.folder}/{name}.new", "w") as f:
        f.write(text)
    os.rename(f"{lab.folder}/{name}.new", f"{lab.folder}/{name}")


def consumers(*known):
    return "consumers:\n" + "".join(
        f"  - {{ name: {name}, keys: [{{ sha256: {hashlib.sha256(k.encode()).hexdigest()} }}] }}\n" for name, k in known)


write("keys.yaml", consumers(("ann", key)))
write("users.yaml", f"users: [{{ name: bob, password: \"{line}\" }}]\n")
lab.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "stranger.key", "-out", "stranger.pem",
            "-days", "2", "-subj", "/CN=carl")
lab.leaf("carl", "carl", "DNS:carl.example,URI:spiffe://example/carl")
lab.leaf("mallory", "mallory", "DNS:mallory.example")
mutual = free_port()

jwt_settings = """issuer: https://issuer.example, audience: shop, skew: 2s, algorithms: [RS256, PS256, ES256, EdDSA],
            consumer_header: x-consumer, claim_headers: { x-tenant: tenant }"""
lab.start(
    f"""  app: {{ endpoints: ["127.0.0.1:{app.port}"] }}
  idp:
    endpoints: ["127.0.0.1:{idp.port}"]
    guard: {{ retries: {{ attempts: 1 }}, breaker: {{ disabled: true }} }}
  doorman:
    endpoints: ["127.0.0.1:{doorman.port}"]
    guard: {{ retries: {{ attempts: 1 }}, breaker: {{ disabled: true }} }}""",
    f"""  - {{ match: {{ path: /open }}, to: app }}
  - match: {{ path: /key }}
    to: app
    filters: [{{ api_key: {{ keys_file: keys.yaml, query: key, reload: 1s }} }}]
  - match: {{ path: /basic }}
    to: app
    filters: [{{ basic: {{ users_file: users.yaml, realm: lab, reload: 1s }} }}]
  - match: {{ path: /jwt }}
    to: app
    filters:
      - jwt: {{ jwks: {{ from: idp, path: /keys, min_interval: 1s }}, {jwt_settings} }}
  - match: {{ path: /scoped }}
    to: app
    filters:
      - jwt: {{ jwks: {{ from: idp, path: /keys, min_interval: 1s }}, {jwt_settings}, scopes: [write], strip: true }}
  - match: {{ path: /certificate }}
    to: app
    filters: [{{ client_certificate: {{ names: [carl.example], names_header: x-names, fingerprint_header: x-fingerprint }} }}]
  - match: {{ path: /asked }}
    to: app
    filters: [{{ forward_auth: {{ to: doorman, path: /may, copy: [x-user] }} }}]
  - match: {{ path: /near }}
    to: app
    filters: [{{ ip_list: {{ allow: [127.0.0.0/8], deny: [127.0.0.2] }} }}]""",
    listener=f"""  - name: mutual
    address: 127.0.0.1:{mutual}
    tls: {{ certificates: [{{ chain: edge.pem, key: edge.key }}], client_ca: ca.pem, client_certificates: optional }}""")
wait_for(lab.clear)


def ask(path, *fields, arguments=(), base=None):
    """Status, reason, answer's fields and what the service saw (None: it was not asked)."""
    command = ["curl", "-sS", "-i", "--max-time", "20", *arguments]
    for field in fields:
        command += ["-H", field]
    out = subprocess.run([*command, (base or f"http://127.0.0.1:{lab.clear}") + path], capture_output=True, text=True)
    if out.returncode:
        return out.returncode, out.stderr.strip(), {}, None
    head, _, body = out.stdout.partition("\n\n") if "\r\n\r\n" not in out.stdout else out.stdout.partition("\r\n\r\n")
    lines = head.splitlines()
    answer = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    try:
        seen = json.loads(body)
        seen = seen["headers"] | {"path": seen["path"]} if "headers" in seen else None
    except ValueError:
        seen = None
    return int(lines[0].split()[1]), answer.get("x-holdfast-reason"), answer, seen


def refused(name, expected, *arguments, **more):
    status, reason, answer, seen = ask(*arguments, **more)
    checks.that((status, reason) == expected and seen is None, f"{name}: {status} {reason} {answer}, expected {expected}")
    return answer


# MARK: api_key

status, _, _, seen = ask("/key?a=1", f"X-API-Key: {key}", "x-consumer: root", "X_Consumer: root", "x.consumer: root")
checks.that(status == 200 and seen["x-consumer"] == "ann" and "root" not in str(seen) and key not in str(seen), f"a key: {status} {seen}")
status, _, _, seen = ask(f"/key?a=1&key={key}&b=2")
checks.that(status == 200 and seen["path"] == "/key?a=1&b=2" and key not in str(seen), f"a key in the query: {status} {seen}")
answer = refused("no key", (401, "auth.missing"), "/key")
checks.that(answer["www-authenticate"].startswith("ApiKey"), f"{answer}")
for bad in ["x", key[:-1], key + "a", key.upper(), hashlib.sha256(key.encode()).hexdigest(), "' OR 1=1 --aaaaaaaaaaaaaaa", "é" * 20, "a" * 5000, f"{key},{key}", "null"]:
    refused(f"key {bad[:20]}", (401, "auth.invalid"), "/key", f"X-API-Key: {bad}")
other = "hf_" + base64.urlsafe_b64encode(os.urandom(24)).decode()
write("keys.yaml", consumers(("ann", other)))
time.sleep(2.5)
checks.that(ask("/key", f"x-api-key: {other}")[0] == 200, "the changed file does not count")
refused("the key of before", (401, "auth.invalid"), "/key", f"x-api-key: {key}")
write("keys.yaml", "consumers: [{ name: ann, keys: [{ sha256: hf_a_plain_key_in_the_file }] }]\n")
time.sleep(2.5)
checks.that(ask("/key", f"x-api-key: {other}")[0] == 200, "a file that does not read takes the keys away")
checks.that("the last good one goes on" in lab.said() and "hf_a_plain" not in lab.said(), "the log does not say so, or too much")

# MARK: Identity fields, also where nobody is asked

status, _, _, seen = ask("/open", "X-Consumer: root", "x-tenant: root", "x_user: root", "X-User: root", "x-names: root")
checks.that(status == 200 and "root" not in str(seen), f"a client says who it is: {seen}")

# MARK: basic

status, _, _, seen = ask("/basic", arguments=["-u", f"bob:{PASSWORD}"])
checks.that(status == 200 and seen["x-consumer"] == "bob" and "authorization" not in seen, f"a password: {status} {seen}")
started = time.monotonic()
for _ in range(5):
    checks.that(ask("/basic", arguments=["-u", f"bob:{PASSWORD}"])[0] == 200, "a password that was right before")
checks.that("Basic realm=\"lab\"" in refused("no password", (401, "auth.missing"), "/basic")["www-authenticate"], "no challenge")
for user in ["bob:wrong", "bob:", "ann:correct horse", ":", "bob:correct horse ", "BOB:correct horse", "bob:correct horse:x", "bob", "x" * 600 + ":y", "böb:correct horse"]:
    refused(f"password {user[:20]}", (401, "auth.invalid"), "/basic", f"Authorization: Basic {base64.b64encode(user.encode()).decode()}")
for field in ["Basic", "Basic !!!", "Bearer x", "Basic Ym9iOmNvcnJlY3QgaG9yc2U", "Negotiate abc"]:
    refused(f"field {field}", (401, "auth.invalid"), "/basic", f"Authorization: {field}")

# MARK: jwt

for private, kid, algorithm in [(RSA, "rsa", "RS256"), (EC, "ec", "ES256"), (ED, "ed", "EdDSA")]:
    status, _, _, seen = ask("/jwt", f"Authorization: Bearer {token(private, kid, algorithm)}", "x-tenant: root", "x_tenant: root")
    checks.that(status == 200 and seen["x-consumer"] == "ann" and seen["x-tenant"] == "t1" and "root" not in str(seen) and "authorization" in seen,
                f"{algorithm}: {status} {seen}")
checks.that(len([p for p, _ in idp.asked if p == "/keys"]) == 1, f"{len(idp.asked)} fetches for three tokens")
checks.that(not any("authorization" in fields for _, fields in idp.asked), "the issuer gets a client's token")
now = int(time.time())
pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
signing_input = lambda header, claims: b".".join(base64.urlsafe_b64encode(json.dumps(x).encode()).rstrip(b"=") for x in (header, claims))


def confused(header):
    """Signed by HMAC under the public key, which PyJWT itself refuses to do."""
    import hmac
    text = signing_input(header, {"iss": "https://issuer.example", "aud": "shop", "exp": now + 600})
    return (text + b"." + base64.urlsafe_b64encode(hmac.new(pem, text, "sha256").digest()).rstrip(b"=")).decode()


good = token(RSA, "rsa", "RS256")
head, claims, signature = good.split(".")
bad_tokens = {
    "none": jwt.encode({"exp": now + 600, "iss": "https://issuer.example", "aud": "shop"}, None, "none"),
    "HS256 under the public key": confused({"alg": "HS256", "kid": "rsa"}),
    "another's key": token(OTHER, "rsa", "RS256"), "another algorithm of the key": token(RSA, "rsa", "RS512"),
    "PS256 under an RS256 key": token(RSA, "rsa", "PS256"), "own jwk": token(OTHER, "rsa", "RS256", {"jwk": jwk(OTHER, "rsa")}),
    "jku": token(OTHER, "rsa", "RS256", {"jku": f"http://127.0.0.1:{app.port}/keys"}), "crit": token(RSA, "rsa", "RS256", {"crit": ["exp"]}),
    "kid with a path": token(OTHER, "../../../../dev/null", "RS256"), "expired": token(RSA, "rsa", "RS256", exp=now - 60),
    "not yet": token(RSA, "rsa", "RS256", nbf=now + 60), "for another": token(RSA, "rsa", "RS256", aud="other"), "for nobody": token(RSA, "rsa", "RS256", aud=None),
    "of another issuer": token(RSA, "rsa", "RS256", iss="https://evil.example"), "without end": token(RSA, "rsa", "RS256", exp=None),
    "cut": good[:-10], "two parts": f"{head}.{claims}", "four parts": good + ".x", "swapped claims": f"{head}.{token(OTHER, 'rsa', 'RS256', sub='mallory').split('.')[1]}.{signature}",
    "padded": good + "=", "long": good + "A" * 20000, "empty": "..",
}
for name, bad in bad_tokens.items():
    answer = refused(name, (401, "auth.invalid"), "/jwt", f"Authorization: Bearer {bad}")
    checks.that(answer.get("www-authenticate") == 'Bearer realm="holdfast", error="invalid_token"', f"{name}: {answer}")
refused("two tokens", (401, "auth.invalid"), "/jwt", f"Authorization: Bearer {good}", f"Authorization: Bearer {good}")
refused("no token", (401, "auth.missing"), "/jwt")
checks.that(not any(p == "/keys" for p, _ in app.asked), "a jku is followed")
answer = refused("too little", (403, "auth.forbidden"), "/scoped", f"Authorization: Bearer {token(RSA, 'rsa', 'RS256', scope='read')}")
checks.that("insufficient_scope" in answer["www-authenticate"], f"{answer}")
status, _, _, seen = ask("/scoped", f"Authorization: Bearer {token(RSA, 'rsa', 'RS256', scope='read write')}")
checks.that(status == 200 and "authorization" not in seen, f"strip: {status} {seen}")
edge = token(RSA, "rsa", "RS256", exp=int(time.time()) + 1)
checks.that(ask("/jwt", f"Authorization: Bearer {edge}")[0] == 200, "a token that is about to end")
time.sleep(4)
refused("a remembered token that has ended", (401, "auth.invalid"), "/jwt", f"Authorization: Bearer {edge}")

# The issuer changes its keys.
published[0] = jwk(OTHER, "new")
fresh = token(OTHER, "new", "RS256")
checks.that(ask("/jwt", f"Authorization: Bearer {fresh}")[0] == 200, "a new key is not found")
refused("a key that is gone", (401, "auth.invalid"), "/jwt", f"Authorization: Bearer {good}")
# It is slow, too much, wrong, failing, dead: who was let in still is, unknown keys are not.
for mode in ("big", "nonsense", "failing", "slow"):
    time.sleep(1.2)
    before = time.monotonic()
    refused(f"unknown key, issuer {mode}", (401, "auth.invalid"), "/jwt", f"Authorization: Bearer {token(RSA, 'unknown-' + mode, 'RS256')}")
    checks.that(time.monotonic() - before < 7, f"issuer {mode}: {time.monotonic() - before:.1f} s")
    checks.that(ask("/jwt", f"Authorization: Bearer {fresh}")[0] == 200, f"issuer {mode}: the last good keys are gone")
mode = "good"
idp.die()
time.sleep(1.2)
refused("unknown key, issuer dead", (401, "auth.invalid"), "/jwt", f"Authorization: Bearer {token(RSA, 'unknown', 'RS256')}")
checks.that(ask("/jwt", f"Authorization: Bearer {fresh}")[0] == 200, "issuer dead: the last good keys are gone")

# MARK: client_certificate

secure = f"https://localhost:{mutual}"
shown = lambda name: ["--cacert", f"{lab.folder}/ca.pem", "--cert", f"{lab.folder}/{name}.pem", "--key", f"{lab.folder}/{name}.key"]
status, _, _, seen = ask("/certificate", "x-names: root", arguments=shown("carl"), base=secure)
der = subprocess.run(["openssl", "x509", "-in", f"{lab.folder}/carl.pem", "-outform", "DER"], capture_output=True, check=True).stdout
checks.that(status == 200 and seen["x-consumer"] == "carl" and seen["x-names"] == "carl.example,spiffe://example/carl"
            and seen["x-fingerprint"] == hashlib.sha256(der).hexdigest(), f"a certificate: {status} {seen}")
refused("another's certificate", (403, "auth.forbidden"), "/certificate", arguments=shown("mallory"), base=secure)
refused("no certificate", (403, "auth.forbidden"), "/certificate", arguments=["--cacert", f"{lab.folder}/ca.pem"], base=secure)
checks.that(ask("/open", arguments=["--cacert", f"{lab.folder}/ca.pem"], base=secure)[0] == 200, "optional is not required")
status, *_ = ask("/certificate", arguments=shown("stranger"), base=secure)
checks.that(status in (35, 55, 56, 92), f"a certificate that nobody signed: {status}")
refused("a clear listener", (403, "auth.forbidden"), "/certificate")

# MARK: forward_auth

status, _, _, seen = ask("/asked?q=1", "Cookie: s=1", "X-User: root", "x_user: root", arguments=["-X", "DELETE"])
path, shown_fields = doorman.asked[-1]
checks.that(status == 200 and seen["x-user"] == "dora" and "root" not in str(seen) and "x-secret" not in seen, f"asked: {status} {seen}")
checks.that(path == "/may" and shown_fields["cookie"] == "s=1" and shown_fields["x-forwarded-method"] == "DELETE"
            and shown_fields["x-forwarded-uri"] == "/asked?q=1" and "root" not in str(shown_fields), f"what is shown: {path} {shown_fields}")
leave["mode"] = "login"
status, _, answer, seen = ask("/asked")
checks.that(status == 302 and answer["location"] == "https://login.example/" and "x-secret" not in answer and seen is None, f"login: {status} {answer}")
leave["mode"] = "no"
checks.that(ask("/asked")[0] == 403, "no is no")
leave["mode"] = "broken"
refused("a doorman who fails", (503, "auth.unavailable"), "/asked")
doorman.die()
refused("a doorman who is dead", (503, "auth.unavailable"), "/asked")

# MARK: ip_list

checks.that(ask("/near")[0] == 200, "127.0.0.1 is near")
refused("another address", (403, "auth.forbidden"), "/near", arguments=["--interface", "127.0.0.2"])
refused("an address that is only said", (403, "auth.forbidden"), "/near", "X-Forwarded-For: 127.0.0.1", arguments=["--interface", "127.0.0.2"])

# MARK: A body that nobody wants (A23), and what is written down

big = f"{lab.folder}/big"
with open(big, "wb") as f:
    f.write(b"x" * (1 << 20))
status, reason, _, _ = ask("/key", arguments=["-X", "POST", "--data-binary", f"@{big}"])
checks.that((status, reason) == (401, "auth.missing"), f"a body with no key: {status} {reason}")
two = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} ", "--data-binary", "x" * 1000, f"http://127.0.0.1:{lab.clear}/key", "--next", "-sS", "-o",
                      "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{lab.clear}/open"], capture_output=True, text=True).stdout
checks.that(two == "401 200", f"the connection after a refusal: {two}")
metrics = lab.metrics()
refusals = {k: v for k, v in metrics.items() if k.startswith("holdfast_filter_requests_total") and 'result="refused"' in k}
for kind in ("api_key", "basic", "jwt", "client_certificate", "forward_auth", "ip_list"):
    checks.that(any(f'filter="{kind}"' in k and v > 0 for k, v in refusals.items()), f"no refusal of {kind} is counted: {refusals}")
time.sleep(0.5)
written = open(f"{lab.folder}/access.log", errors="replace").read() + lab.said()
for secret in (key, other, PASSWORD, base64.b64encode(f"bob:{PASSWORD}".encode()).decode(), good, fresh):
    checks.that(secret not in written, f"a credential is in a log: {secret[:12]}…")
checks.that('"consumer":"ann"' in written and '"consumer":"bob"' in written, "the access log does not say who it was")
checks.that("auth.missing" in written and "auth.invalid" in written, "the access log does not say why")
app.die()
checks.end(lab)
