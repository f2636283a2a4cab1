# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""A backend that answers with the request's id, the hash of what it was sent, and a body that depends on the id. Each POST that was
received whole is written to a shared journal: storm_backend.py PORT JOURNAL"""
import asyncio
import hashlib
import os
import sys


def body_for(identifier, size):
    unit = (identifier + ".").encode()
    return (unit * (size // len(unit) + 1))[:size]


async def read_body(reader, headers):
    if headers.get("transfer-encoding") == "chunked":
        parts = []
        while True:
            size = int((await reader.readuntil(b"\r\n")).strip(), 16)
            if size == 0:
                await reader.readuntil(b"\r\n")
                return b"".join(parts)
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
    return await reader.readexactly(int(headers.get("content-length", 0)))


async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = dict(line.split(": ", 1) for line in head[1:] if line)
            body = await read_body(reader, headers)
            identifier = headers["x-storm-id"]
            size, framing = int(headers["x-storm-size"]), headers["x-storm-framing"]
            if method == "POST":
                os.write(JOURNAL, (identifier + "\n").encode())
            answer = body_for(identifier, size)
            lines = [f"HTTP/1.1 200 OK", f"x-storm-id: {identifier}", f"x-storm-hash: {hashlib.sha1(body).hexdigest()}"]
            if framing == "chunked":
                lines.append("transfer-encoding: chunked")
                step = max(1, size // 7)
                pieces = [answer[i:i + step] for i in range(0, size, step)]
                payload = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
            elif framing == "close":
                lines.append("connection: close")
                payload = answer
            else:
                lines.append(f"content-length: {size}")
                payload = answer
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + payload)
            if writer.transport.get_write_buffer_size() > 262144:
                await writer.drain()
            if framing == "close":
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), limit=1 << 20)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    JOURNAL = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    asyncio.run(main())
