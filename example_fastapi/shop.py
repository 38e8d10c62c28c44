"""A small shop that keeps answering while the services behind it fail.

    python downstream.py                 # in one terminal: inventory, recommendations and payments
    uvicorn shop:app                     # in another: the shop
    curl -i http://127.0.0.1:8000/products/7
    curl -X PUT http://127.0.0.1:9100/inventory/hang
    curl http://127.0.0.1:8000/metrics
    open http://127.0.0.1:8000/breakers/ # see and steer the breakers, as ann with the password below
    recloser work shop:queue             # in a third, if you like: orders that were put off

Every downstream service has a circuit breaker, declared in `recloser.toml`. The client's transport counts
what each service does; the guards say what to answer while its circuit is open, and when it fails before that.
Several workers need `RECLOSER_SECRET`, for the forms on the breakers' page, and `RECLOSER_STORE`, to act as one.
"""

import os
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import httpx2
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel

from recloser import Registry
from recloser.clients.httpx2 import AsyncBreakerTransport, BreakerTransport
from recloser.deferred import Job, Queue
from recloser.deferred.prometheus import instrument
from recloser.deferred.resource import JobStatus
from recloser.fastapi import guard, install
from recloser.http import plans

INVENTORY = os.environ.get("INVENTORY_URL", "http://127.0.0.1:9101")
RECOMMENDATIONS = os.environ.get("RECOMMENDATIONS_URL", "http://127.0.0.1:9102")
PAYMENTS = os.environ.get("PAYMENTS_URL", "http://127.0.0.1:9103")
PASSWORD = os.environ.get("OPERATOR_PASSWORD", "good enough for an example on 127.0.0.1")

registry = Registry.from_toml(Path(__file__).with_name("recloser.toml"))
queue = Queue(
    os.environ.get("ORDERS_QUEUE", Path(__file__).with_name("queue") / "orders.db"), registry, rate=10
)
services = httpx2.AsyncClient(transport=AsyncBreakerTransport(registry), timeout=0.3)


class Order(BaseModel):
    product: int
    quantity: int


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    async with services:
        yield


def operator(credentials: Annotated[HTTPBasicCredentials, Depends(HTTPBasic(realm="breakers"))]) -> str:
    """Name who may look at the breakers and act on them."""
    given = f"{credentials.username}:{credentials.password}".encode()
    if not secrets.compare_digest(given, f"ann:{PASSWORD}".encode()):
        raise HTTPException(401, headers={"WWW-Authenticate": 'Basic realm="breakers"'})
    return credentials.username


app = FastAPI(title="Shop", lifespan=lifespan)
install(app, registry, metrics="/metrics", status="/breakers", authorize=Depends(operator))
instrument(queue)
app.mount(queue.url, JobStatus(queue))


@app.get("/products/{product}")
@guard("inventory", plan=[plans.stale(600), plans.json({"quantity": None})], on=("open", "failure"))
async def product_page(product: int) -> dict[str, object]:
    """Without the inventory: the last good page, else a page without the quantity."""
    return await ask("GET", f"{INVENTORY}/stock/{product}")


@app.get("/recommendations")
@guard("recommendations", plan=[plans.json({"products": []})], on=("open", "failure"))
async def recommended() -> dict[str, object]:
    """Without the service: nothing to recommend."""
    return await ask("GET", f"{RECOMMENDATIONS}/popular")


@app.post("/checkout")
@guard("payments")
async def checkout(order: Order) -> dict[str, object]:
    """While the circuit is open: 503 with `Retry-After`, before anything is charged."""
    return await ask("POST", f"{PAYMENTS}/charges", order)


@queue.task("payments")
def charge_later(job: Job) -> dict[str, object]:
    """Charge an order that was put off, under the same key at every attempt."""
    with httpx2.Client(transport=BreakerTransport(registry), timeout=0.3) as client:
        headers = {"Idempotency-Key": job.key}
        response = client.post(f"{PAYMENTS}/charges", json=job.request.json(), headers=headers)
    receipt: dict[str, object] = response.raise_for_status().json()
    return receipt


@app.post("/orders")
@guard("payments", plan=[plans.defer(charge_later)], on=("open", "failure"))
async def place_order(
    order: Order, idempotency_key: Annotated[str, Header(min_length=1)]
) -> dict[str, object]:
    """Without payments: 202 with where to look; charged once it is well again."""
    return await ask("POST", f"{PAYMENTS}/charges", order, {"Idempotency-Key": idempotency_key})


async def ask(
    method: str, url: str, order: Order | None = None, headers: dict[str, str] | None = None
) -> dict[str, object]:
    response = await services.request(method, url, json=order and order.model_dump(), headers=headers)
    answer: dict[str, object] = response.raise_for_status().json()
    return answer


@app.exception_handler(httpx2.HTTPError)
async def bad_gateway(_: Request, error: httpx2.HTTPError) -> JSONResponse:
    """Answer a failure that no plan answers: a checkout's, before its circuit opens."""
    return JSONResponse({"detail": f"a service failed: {type(error).__name__}"}, 502)
