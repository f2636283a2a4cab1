# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""A gateway as teams write it by hand: routing, API keys, rate limits, a log line, aggregation, transformation, a pool, a cache. It is what
docs/from-fastapi.md compares with; it has the faults that such gateways have, which that page names."""
import asyncio
import hashlib
import logging
import os
import time
from collections import OrderedDict, defaultdict

import httpx
from fastapi import Depends, FastAPI, HTTPException, Request, Response

BACKEND = os.environ.get("BACKEND", "http://127.0.0.1:9300")
KEYS = {hashlib.sha256(b"reporting-key-0123456789").hexdigest(): "reporting"}
RATE, BURST = 1_000_000, 1_000_000

app = FastAPI()
log = logging.getLogger("gateway")
logging.basicConfig(level=logging.INFO, filename=os.environ.get("LOG", "/dev/null"), format="%(message)s")
client: httpx.AsyncClient
buckets = defaultdict(lambda: [float(BURST), time.monotonic()])
cache: OrderedDict[str, tuple[float, bytes, str]] = OrderedDict()


@app.on_event("startup")
async def startup():
    global client
    client = httpx.AsyncClient(base_url=BACKEND, timeout=2, limits=httpx.Limits(max_connections=256, max_keepalive_connections=256))


@app.middleware("http")
async def one_log_line(request: Request, call_next):
    started = time.monotonic()
    response = await call_next(request)
    log.info("%s %s %s %.1fms", request.method, request.url.path, response.status_code, (time.monotonic() - started) * 1000)
    return response


async def consumer(request: Request):
    name = KEYS.get(hashlib.sha256(request.headers.get("x-api-key", "").encode()).hexdigest())
    if name is None:
        raise HTTPException(401)
    bucket = buckets[name]
    now = time.monotonic()
    bucket[0] = min(BURST, bucket[0] + (now - bucket[1]) * RATE)
    bucket[1] = now
    if bucket[0] < 1:
        raise HTTPException(429, headers={"retry-after": "1"})
    bucket[0] -= 1
    return name


async def fetch(path, name):
    answer = await client.get(path, headers={"x-consumer": name})
    if answer.status_code >= 500:
        raise HTTPException(502)
    return answer


@app.get("/users/{user}")
async def users(user: str, name: str = Depends(consumer)):
    answer = await fetch(f"/users/{user}", name)
    return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))


@app.get("/products/{product}")
async def products(product: str, name: str = Depends(consumer)):
    stored = cache.get(product)
    if stored and stored[0] > time.monotonic():
        cache.move_to_end(product)
        return Response(stored[1], media_type=stored[2])
    answer = await fetch(f"/products/{product}", name)
    cache[product] = (time.monotonic() + 60, answer.content, answer.headers.get("content-type"))
    if len(cache) > 1000:
        cache.popitem(last=False)
    return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))


@app.get("/dashboard/{user}")
async def dashboard(user: str, name: str = Depends(consumer)):
    async def part(path, default):
        try:
            return (await fetch(path, name)).json(), True
        except (HTTPException, httpx.HTTPError, ValueError):
            return default, False

    parts = await asyncio.gather(part(f"/users/{user}", None), part("/orders/all", []), part("/products/all", []))
    return {"user": parts[0][0], "orders": parts[1][0], "products": parts[2][0], "complete": all(done for _, done in parts)}


@app.post("/shop/orders")
async def order(request: Request, name: str = Depends(consumer)):
    new = await request.json()
    old = {"CUST_NO": str(new["customer"]["id"]), "CUST_NAME": new["customer"].get("name", "unknown"), "CURRENCY": "EUR",
           "POSITIONS": [{"ART_NO": str(i["product"]), "QTY": i["quantity"]} for i in new["items"]]}
    answer = await client.post("/legacy", json=old, headers={"x-consumer": name})
    if answer.status_code >= 500:
        raise HTTPException(502)
    told = answer.json()
    return {"id": int(told["ORD_NO"]), "status": told["ORD_STATUS"]}
