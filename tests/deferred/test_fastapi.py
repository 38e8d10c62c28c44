"""A route that declares `plans.defer`: a request that its circuit refuses becomes a job, and the client knows where to look."""

import json
import logging
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.security import APIKeyCookie, APIKeyQuery, HTTPBearer
from fastapi.testclient import TestClient
from pydantic import BaseModel

from core.acting import Clock
from deferred.test_attempts import drain, dump
from recloser import Registry
from recloser.deferred import Queue
from recloser.deferred.resource import JobStatus
from recloser.deferred.table import JobTable
from recloser.fastapi import guard, install
from recloser.fastapi.jobs import job_status
from recloser.http import plans
from recloser.http.plan import Plan

ORDER = {"product": 7, "quantity": 1}


class Order(BaseModel):
    product: int
    quantity: int


class Shop:
    """An application with one deferrable route."""

    def __init__(self, tmp_path, *, root: str = "", **options) -> None:
        self.clock = clock = Clock()
        self.registry = Registry(
            {"BREAKERS": {"payments": {"failure_threshold": 1, "recovery_timeout": 10}}},
            clock=clock,
            wall_clock=clock.of_day,
            random=lambda: 0.5,
        )
        table = JobTable(tmp_path / "q" / "jobs.db", clock=clock, wall_clock=clock.of_day)
        self.queue = Queue("", self.registry, table=table, rate=1000.0, **options)
        self.done: list = []
        self.bodies: list = []

        @self.queue.task("payments")
        def checkout(job):
            self.done.append((job.key, job.request))
            return {"charged": job.request.json()["quantity"]}

        self.app = app = FastAPI()
        install(app, self.registry)
        app.mount(self.queue.url, JobStatus(self.queue))
        self.plan = plan = [
            plans.defer(checkout, headers=["Content-Type", "x-tenant"], max_body=1000),
            plans.json({"detail": "later"}, status=503),
        ]

        def user(authorization: Annotated[str, Header()] = "Basic ann") -> str:
            if authorization != "Basic ann":
                raise HTTPException(401)
            return "ann"

        @app.post("/checkout")
        @guard("payments", plan=plan)
        async def order(order: Order, who: Annotated[str, Depends(user)]) -> dict[str, object]:
            return {"charged": order.quantity}

        @app.put("/keyed", dependencies=[Depends(APIKeyQuery(name="api_key"))])
        @guard("payments", plan=plan)
        async def keyed(order: Order) -> dict[str, object]:
            return {"charged": order.quantity}

        @app.post("/failing")
        @guard("payments", plan=Plan(plan[:1], on=("open", "failure")))
        async def failing(order: Order) -> None:
            raise OSError("no answer")

        @app.post("/plain")
        @guard("payments")
        async def plain(order: Order) -> dict[str, object]:
            return {"charged": order.quantity}

        self._declare_clients()
        self.client = TestClient(app, root_path=root)

    def _declare_clients(self) -> None:
        """Routes that tell their clients apart, each in its way."""

        @self.app.post("/token", dependencies=[Depends(HTTPBearer())])
        @guard("payments", plan=self.plan)
        async def token(order: Order) -> None: ...

        @self.app.post("/cookie", dependencies=[Depends(APIKeyCookie(name="sid"))])
        @guard("payments", plan=self.plan)
        async def cookie(order: Order) -> None: ...

        def customer(x_user: Annotated[str, Header()]) -> str:
            return x_user

        @self.app.post("/own")
        @guard("payments", plan=[plans.defer(self.queue.tasks["checkout"], per=customer)])
        async def own(order: Order) -> None: ...

        self.app.include_router(job_status(self.queue, per=customer), prefix="/own")

    def break_down(self) -> None:
        self.registry["payments"].acquire().failure()

    def recover(self) -> None:
        self.clock.advance(10)
        drain(self.queue, self.clock)


@pytest.fixture
def shop(tmp_path):
    shop = Shop(tmp_path)
    with shop.client:
        yield shop
    shop.queue.close()


def test_a_refused_request_is_queued_and_done_after_recovery(shop):
    """202 with a place to look: queued, then done with its result."""
    assert shop.client.post("/checkout", json=ORDER).json() == {"charged": 1}
    shop.break_down()

    answer = shop.client.post("/checkout", json=ORDER)
    location = answer.headers["location"]
    queued = shop.client.get(location)
    shop.recover()
    done = shop.client.get(location)

    assert answer.status_code == 202
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {"id": location.removeprefix("/jobs/"), "state": "queued", "location": location}
    assert (queued.json()["state"], queued.headers["retry-after"]) == ("queued", "1")
    assert done.json() == {**queued.json(), "state": "done", "attempts": 1, "result": {"charged": 1}}
    assert "retry-after" not in done.headers
    assert len(shop.done) == 1


def test_one_key_makes_one_job(shop):
    """The same request again has the first job, queued or done; another body under the key is 422."""
    shop.break_down()
    key = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}

    first = shop.client.post("/checkout", json=ORDER, headers=key)
    again = shop.client.post("/checkout", json=ORDER, headers=key)
    other = shop.client.post("/checkout", json={**ORDER, "quantity": 2}, headers=key)
    shop.recover()
    shop.break_down()
    late = shop.client.post("/checkout", json=ORDER, headers=key)

    assert first.headers["location"] == again.headers["location"] == late.headers["location"]
    assert late.json()["state"] == "done"
    assert (other.status_code, other.headers["content-type"]) == (422, "application/problem+json")
    assert [own for own, _ in shop.done] == [key["Idempotency-Key"]]


def post(shop, path, **headers):
    fields = {
        "Idempotency-Key": "order-1",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    answer = shop.client.post(path, json=ORDER, headers=fields)
    assert answer.status_code == 202
    return answer.headers["location"]


def test_a_key_belongs_to_the_client_that_chose_it(shop):
    """Two clients that count their orders from 1 have two jobs, and neither learns of the other's."""
    shop.break_down()

    ann, bob = (post(shop, "/token", Authorization=f"Bearer {name}") for name in ("ann", "bob"))
    key = shop.client.put("/keyed?api_key=ann", json=ORDER, headers={"Idempotency-Key": "1"})
    other = shop.client.put("/keyed?api_key=bob", json=ORDER, headers={"Idempotency-Key": "1"})
    cookies = [post(shop, "/cookie", Cookie=f"sid={name}; seen={name}") for name in ("ann", "bob")]

    assert len({ann, bob, key.headers["location"], other.headers["location"], *cookies}) == 6
    assert ann == post(shop, "/token", Authorization="Bearer ann")
    assert cookies[0] == post(shop, "/cookie", Cookie="seen=later; sid=ann")
    assert b"bob" not in dump(shop.queue)


def test_a_key_belongs_to_the_user_that_per_names(shop):
    """However he has signed in by then; his job is shown to him alone."""
    shop.break_down()

    first = post(shop, "/own", X_User="ann", Authorization="Bearer 1")
    again = post(shop, "/own", X_User="ann", Authorization="Bearer 2")
    other = post(shop, "/own", X_User="bob", Authorization="Bearer 1")
    looks = [shop.client.get(f"/own{first}", headers={"X-User": name}) for name in ("ann", "bob", "")]

    assert first == again != other
    assert [look.status_code for look in looks] == [200, 404, 404]
    assert looks[0].json()["state"] == "queued"


@pytest.mark.parametrize("key", ["", "x" * 256, b"sch\xf6n", b"a\tb"])
def test_a_key_that_is_none_is_refused(shop, key):
    """Too long, empty, or nothing that a client could send on to the dependency."""
    shop.break_down()

    assert shop.client.post("/checkout", json=ORDER, headers={"Idempotency-Key": key}).status_code == 400
    assert shop.queue.depth().queued == 0


def test_what_is_stored_holds_only_the_headers_that_are_named(shop):
    """No cookie and no credential, unless the declaration says so."""
    shop.break_down()
    headers = {
        "Authorization": "Basic ann",
        "Cookie": "session=secret",
        "X-Tenant": "t1",
        "X-Other": "secret",
    }

    shop.client.post("/checkout?from=mail", json=ORDER, headers=headers)
    stored = shop.queue.table.jobs()[0].payload
    shop.recover()

    [(_, request)] = shop.done
    assert set(request.headers) == {("x-tenant", "t1"), ("content-type", "application/json")}
    assert (request.method, request.path, request.query) == ("POST", "/checkout", "from=mail")
    assert (request.json(), request.header("X-Tenant"), request.header("cookie")) == (ORDER, "t1", None)
    assert "secret" not in stored
    assert "ann" not in stored


def test_a_credential_in_the_query_is_not_stored(shop):
    """What a security scheme looks for is left out of the stored query."""
    shop.break_down()

    assert shop.client.put("/keyed?api_key=secret&to=ann", json=ORDER).status_code == 202
    shop.recover()

    [(_, request)] = shop.done
    assert request.query == "to=ann"


def test_access_is_checked_as_ever(shop):
    """Whoever may not order may not queue an order either."""
    shop.break_down()

    answer = shop.client.post("/checkout", json=ORDER, headers={"Authorization": "Basic eve"})

    assert answer.status_code == 401
    assert shop.queue.depth().queued == 0


def test_a_failed_request_is_put_off_only_under_a_key(shop):
    """It may have been done: only a key can tell the dependency that the job is the same request."""
    client = TestClient(shop.app, raise_server_exceptions=False)

    with_key = client.post("/failing", json=ORDER, headers={"Idempotency-Key": "k"})
    shop.registry["payments"].reset(by="ann", reason="test")
    without = client.post("/failing", json=ORDER)

    assert (with_key.status_code, without.status_code) == (202, 503)
    shop.recover()
    assert [key for key, _ in shop.done] == ["k"]


def test_an_invalid_request_is_not_queued(shop):
    """It would be as invalid tomorrow."""
    shop.break_down()

    assert shop.client.post("/checkout", json={"product": "?"}).status_code == 422
    assert shop.queue.depth().queued == 0


def test_only_what_a_route_declares_is_put_off(shop):
    """Another route of the same breaker answers 503, and nothing of its body is kept."""
    shop.break_down()

    assert shop.client.post("/plain", json=ORDER).status_code == 503
    assert shop.queue.depth().queued == 0


def test_what_the_queue_cannot_keep_is_left_to_the_next_strategy(shop, caplog):
    """A full queue, a body that is too long, a file that cannot be written."""
    shop.break_down()
    shop.queue.max_jobs = 1
    long = {**ORDER, "quantity": 1, "note": "x" * 1000}

    with caplog.at_level(logging.ERROR, "recloser"):
        answers = [shop.client.post("/checkout", json=body) for body in (long, ORDER, ORDER)]
        shop.queue.max_jobs = 9
        shop.queue.table._database.execute("PRAGMA query_only = 1")
        answers.append(shop.client.post("/checkout", json=ORDER))

    assert [answer.status_code for answer in answers] == [503, 202, 503, 503]
    assert answers[-1].json() == {"detail": "later"}
    assert "is full" in caplog.text
    assert "readonly" in caplog.text


def test_a_job_that_was_given_up_says_so(shop):
    """Its error is told only where that is declared."""
    shop.break_down()
    task = shop.queue.tasks["checkout"]
    task.function = lambda job: 1 / 0
    shop.registry["payments"].policy  # noqa: B018 - counts every exception
    location = shop.client.post("/checkout", json=ORDER).headers["location"]
    shop.clock.advance(86_401)
    drain(shop.queue, shop.clock)

    told = shop.client.get(location).json()
    shop.app.mount("/inside", JobStatus(shop.queue, expose=True))
    inside = shop.client.get(location.replace("/jobs", "/inside")).json()

    assert told == {"id": told["id"], "state": "failed", "attempts": 0}
    assert inside["error"] == "older than the queue's max_age"


def test_the_status_of_a_job_is_read_only_and_unguessable(shop):
    """404 for others, 405 for what is no question, 503 while the file cannot be read."""
    shop.break_down()
    location = shop.client.post("/checkout", json=ORDER).headers["location"]

    assert len(location) >= 22
    assert shop.client.get("/jobs/nobody").status_code == 404
    assert shop.client.delete(location).headers["allow"] == "GET, HEAD"
    head = shop.client.head(location)
    assert (head.status_code, head.content) == (200, b"")
    shop.queue.table.close()
    shop.queue.table.path.write_bytes(b"no database" * 100)
    assert shop.client.get(location).status_code == 503


def test_the_location_knows_where_the_application_is_mounted(tmp_path):
    """Behind a proxy that strips a prefix."""
    shop = Shop(tmp_path, root="/shop")
    with shop.client:
        shop.break_down()
        answer = shop.client.post("/checkout", json=ORDER)
    shop.queue.close()

    assert answer.headers["location"].startswith("/shop/jobs/")


def test_the_status_serves_http_alone(shop):
    """A WebSocket there is a mistake."""
    with pytest.raises(RuntimeError, match="websocket"), shop.client.websocket_connect("/jobs/x"):
        pass


def test_wrong_arguments_are_told_at_once():
    """What defers is a task; headers are a list; a function says who asks."""
    with pytest.raises(ValueError, match="4 problems") as caught:
        plans.defer(print, headers="cookie", max_body=0, per="user")

    assert [problem.path for problem in caught.value.problems] == ["defer", "headers", "max_body", "per"]


def test_a_route_that_only_asks_cannot_be_deferred(tmp_path):
    """The application says so at its start."""
    shop = Shop(tmp_path)

    @shop.app.get("/orders")
    @guard("payments", plan=shop.plan[:1])
    async def orders() -> None: ...

    with pytest.raises(ValueError, match="only unsafe methods can be put off"), shop.client:
        pass


def test_openapi_lists_what_a_deferrable_route_answers(shop):
    """202 with its `Location`, and 422 as FastAPI says it and as a key's other request is told; nobody else does."""
    paths = shop.app.openapi()["paths"]
    told = paths["/checkout"]["post"]["responses"]
    assert set(told) == {"200", "202", "422", "503"}
    assert told["202"]["headers"]["Location"]["schema"]["format"] == "uri-reference"
    assert told["202"]["content"]["application/json"]["schema"]["required"] == ["id", "state", "location"]
    assert set(told["422"]["content"]) == {"application/json", "application/problem+json"}
    plain = paths["/plain"]["post"]["responses"]
    assert "202" not in plain
    assert set(plain["422"]["content"]) == {"application/json"}
    assert shop.app.openapi() == shop.app.openapi()


def test_openapi_keeps_the_202_and_422_that_a_route_describes_itself(shop):
    """What it says is the author's; a route without input has the 422 of keys alone."""
    own = {202: {"description": "Own"}, 422: {"description": "Own"}}
    deferrable = guard("payments", plan=shop.plan)
    shop.app.openapi_schema = None
    shop.app.post("/own", responses=own)(deferrable(lambda: 1))
    shop.app.post("/bare")(deferrable(lambda: 1))
    paths = shop.app.openapi()["paths"]
    told = paths["/own"]["post"]["responses"]
    assert (told["202"], told["422"]) == (own[202], own[422])
    assert set(paths["/bare"]["post"]["responses"]["422"]["content"]) == {"application/problem+json"}


def test_openapi_knows_plans_of_dependencies_of_routes_and_of_mappings(shop, monkeypatch):
    """However the plan was written; of a route's methods, only those that can be put off."""
    monkeypatch.setattr(json, "checkout", shop.queue.tasks["checkout"], raising=False)
    raw = [{"defer": "json:checkout"}]
    registry = Registry(
        {
            "BREAKERS": {"payments": {}},
            "ROUTES": {
                "/one": {"breakers": ["payments"], "plan": raw},
                "/each": {"breakers": ["payments"], "plan": {"payments": raw}},
            },
        }
    )
    app = FastAPI()
    install(app, registry)
    for path in ("/one", "/each"):
        app.post(path)(lambda: 1)
    both = guard("payments", plan=Plan(shop.plan))
    app.get("/both", dependencies=[both])(lambda: 1)
    app.post("/both", dependencies=[both])(lambda: 1)
    app.post("/named", dependencies=[guard("payments", plan="unavailable")])(lambda: 1)

    described = app.openapi()["paths"]
    assert all("202" in described[path]["post"]["responses"] for path in ("/one", "/each", "/both"))
    assert "202" not in described["/both"]["get"]["responses"]
    assert "202" not in described["/named"]["post"]["responses"]


def test_a_declaration_names_the_task(shop, monkeypatch):
    """By its module and name, with the headers that may be kept."""
    from recloser.http.declared import pers_of, read_plan

    monkeypatch.setattr(json, "checkout", shop.queue.tasks["checkout"], raising=False)

    declared = {"defer": "json:checkout", "headers": ["X-Tenant"], "per": "json:dumps"}
    plan, problems = read_plan([declared], "plan")
    wrong_steps = [{"defer": "json:nothing"}, {"defer": "json:dumps"}, {**declared, "per": "json:nobody"}]
    _, wrong = read_plan(wrong_steps, "plan")

    assert problems == []
    assert plan.strategies == (
        plans.defer(shop.queue.tasks["checkout"], headers=["x-tenant"], per=json.dumps),
    )
    assert pers_of([declared]) == plan.pers == (json.dumps,)
    assert [problem.path for problem in wrong] == ["plan[0].defer", "plan[1].defer", "plan[2].per"]
