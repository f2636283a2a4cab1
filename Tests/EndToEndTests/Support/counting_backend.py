# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""A backend that counts: requests, and the most that were under way at once. It answers with `status` after `wait` seconds.

    counting_backend.py PORT STATUS WAIT

`GET /count` on the same port tells {"seen": …, "most": …, "now": …, "repeats": …} at once and is not counted; `repeats` are those whose
X-Holdfast-Attempt is more than 1. `GET /status/200` changes the status."""
import asyncio
import json
import sys

COUNT = {"seen": 0, "most": 0, "now": 0, "repeats": 0}
STATUS, WAIT = int(sys.argv[2]), float(sys.argv[3])


async def serve(reader, writer):
    global STATUS
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ", 2)[1]
            if target == b"/count":
                body, status = json.dumps(COUNT).encode(), 200
            elif target.startswith(b"/status/"):
                body, status, STATUS = b"ok", 200, int(target[8:])
            else:
                COUNT["seen"] += 1
                COUNT["now"] += 1
                COUNT["most"] = max(COUNT["most"], COUNT["now"])
                if b"x-holdfast-attempt: " in head and b"x-holdfast-attempt: 1\r\n" not in head:
                    COUNT["repeats"] += 1
                try:
                    if WAIT:
                        await asyncio.sleep(WAIT)
                finally:
                    # Done before its last byte goes out, so that nothing is counted twice.
                    COUNT["now"] -= 1
                body, status = b"ok", STATUS
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    async with server:
        await server.serve_forever()


asyncio.run(main())
