# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""Tells in JSON what it was asked: echo_backend.py NAME PORT. What it has seen is at /seen, each request once. `?status=` and `?wait=` make it
answer so."""
import json
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, PORT = sys.argv[1], int(sys.argv[2])
seen, lock = [], threading.Lock()


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self):
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self):
        if self.path == "/seen":
            with lock:
                text = json.dumps(seen).encode()
                seen.clear()
            return self.send(200, text)
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        told = {"server": NAME, "method": self.command, "path": self.path, "headers": dict(self.headers), "all": [list(h) for h in self.headers.items()],
                "body": self.body().decode("latin-1")}
        with lock:
            seen.append(told)
        time.sleep(float(query.get("wait", 0)))
        self.send(int(query.get("status", 200)), json.dumps(told).encode())

    def send(self, status, text):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("x-powered-by", "python")
        self.send_header("access-control-allow-origin", "https://evil.example")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = answer

    def log_message(self, *_):
        pass


ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", PORT), Echo).serve_forever()
