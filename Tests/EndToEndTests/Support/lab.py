# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""The real binary between real backends, for the end-to-end scripts: certificates, free ports, start and stop by pid."""
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HOLDFAST = os.environ.get("HOLDFAST") or sys.exit("HOLDFAST names no binary: run these by `make test` or `make e2e`")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            time.sleep(0.03)
    sys.exit(f"nothing listens on port {port}")


class Lab:
    """One folder with a CA and a certificate for localhost, one gateway, any number of backends."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="holdfast-lab-")
        self.children = []
        self.gateway = None
        self.tls, self.clear, self.admin = free_port(), free_port(), free_port()
        self.certificates()

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def certificates(self):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out",
                     "ca.pem", "-days", "2", "-subj", "/CN=lab CA")
        self.leaf("edge", "localhost", "DNS:localhost,IP:127.0.0.1")

    def leaf(self, name, subject, names, key="ec", days="2"):
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if key == "ec" else ["-newkey", "rsa:2048"]
        self.openssl("req", *kind, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={subject}")
        with open(f"{self.folder}/{name}.ext", "w") as f:
            f.write(f"subjectAltName={names}\n")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out",
                     f"{name}.pem", "-days", days, "-extfile", f"{name}.ext")

    def start(self, upstreams, routes, threads=2, top="", listener="", prepare=None):
        """Starts the gateway before `upstreams` (YAML, two spaces in) by `routes` (YAML list). `prepare` runs in its process before it."""
        self.config = f"{self.folder}/lab.yaml"
        self.write_config(upstreams, routes, threads, top, listener)
        self.log = open(f"{self.folder}/log", "ab")
        self.gateway = subprocess.Popen([HOLDFAST, "run", self.config], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        preexec_fn=prepare)
        wait_for(self.admin)
        return self

    def write_config(self, upstreams, routes, threads=2, top="", listener=""):
        with open(self.config, "w") as f:
            f.write(f"""threads: {threads}
admin: 127.0.0.1:{self.admin}
access_log: {{ path: access.log }}
{top}
listeners:
  - name: public
    address: 127.0.0.1:{self.tls}
    tls: {{ certificates: [{{ chain: edge.pem, key: edge.key }}], protocols: [h2, http/1.1] }}
  - name: clear
    address: 127.0.0.1:{self.clear}
{listener}
upstreams:
{upstreams}
routes:
{routes}
""")

    def backend(self, *arguments):
        child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)
        self.children.append(child)
        return child

    def metrics(self):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=5).read().decode()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if not line.startswith("#")}

    def total(self, family):
        return sum(v for k, v in self.metrics().items() if k == family or k.startswith(family + "{"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.gateway.pid}/fd"))

    def said(self):
        self.log.flush()
        return open(f"{self.folder}/log", errors="replace").read()

    def stop(self):
        """Drains the gateway and ends the backends. The gateway's exit code."""
        code = None
        if self.gateway:
            self.gateway.send_signal(signal.SIGTERM)
            try:
                code = self.gateway.wait(40)
            except subprocess.TimeoutExpired:
                self.gateway.kill()
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
        return code


class Checks:
    """Collects what is not as it should be, so that one run tells all of it."""

    def __init__(self):
        self.passed, self.failures = 0, []

    def that(self, condition, message):
        if condition:
            self.passed += 1
        else:
            self.failures.append(message)
            print("NOT SO:", message, flush=True)

    def end(self, lab=None):
        if lab:
            code = lab.stop()
            self.that(code == 0, f"the gateway ended with {code}: {lab.said()[-2000:]}")
        print(f"{self.passed} passed, {len(self.failures)} failed", flush=True)
        sys.exit(1 if self.failures or self.passed == 0 else 0)
