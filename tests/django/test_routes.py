"""ROUTES guards views by the names and paths of their URLs."""

from __future__ import annotations

import pytest
from django.test import AsyncClient, Client
from shopsite.services import Inventory, OutageError
from shopsite.tools import trip

from recloser.django import conf, registry
from recloser.django.middleware import CircuitBreakerMiddleware
from recloser.http.routed import names

PLAN = [{"stale": 600}, {"json": {"quantity": None}}]


@pytest.fixture
def routes(settings) -> None:
    """Two routes are guarded, by name and by path."""
    settings.RECLOSER = {
        **settings.RECLOSER,
        "ROUTES": {
            "shop:routed": {"breakers": ["inventory", "payments"], "plan": PLAN},
            "/shop/routed-*": {"breakers": ["inventory"], "plan": PLAN},
            "shop:inner": {"breakers": ["inventory"], "plan": {"inventory": PLAN}},
        },
    }


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ("shop:product", True),
        ("product", False),
        ("/products/<int:id>/", True),
        ("/products/", False),
        ("/products/*", True),
        ("/*", True),
        ("/*/other/", False),
    ],
)
def test_entry_names_a_view(entry: str, named: bool):
    """An entry is a name with all its namespaces, or a path as `path()` writes it, with `*` for anything."""
    assert names(entry, "shop:product", "products/<int:id>/") is named


@pytest.mark.usefixtures("routes")
def test_outcome_counts_once(client: Client, services: Inventory):
    """The view's outcome counts, once, for each of the route's breakers."""
    client.get("/shop/routed/")

    assert [registry[name].snapshot().calls for name in ("inventory", "payments")] == [1, 1]


@pytest.mark.usefixtures("routes")
def test_failure_counts(client: Client, services: Inventory):
    """An exception is judged by the policy of each breaker."""
    services.error = OutageError("down")

    with pytest.raises(OutageError):
        client.get("/shop/routed/")

    assert registry["inventory"].state == registry["payments"].state == "open"


@pytest.mark.usefixtures("routes")
@pytest.mark.parametrize("path", ["/shop/routed/", "/shop/routed-async/"])
@pytest.mark.parametrize("name", ["inventory"])
def test_refused_route_serves_the_last_good_answer(client: Client, path: str, name: str, services: Inventory):
    """A refused route serves its last good public answer before its view has run."""
    client.get(path)
    trip(name)

    response = client.get(path)

    assert response["Cache-Status"].startswith("recloser; hit")
    assert services.calls == 1


@pytest.mark.anyio
@pytest.mark.usefixtures("routes")
@pytest.mark.parametrize("path", ["/shop/routed/", "/shop/routed-async/"])
async def test_refused_route_serves_the_last_good_answer_under_asgi(async_client: AsyncClient, path: str):
    """The same holds under ASGI."""
    await async_client.get(path)
    trip()

    assert (await async_client.get(path))["Cache-Status"].startswith("recloser; hit")


@pytest.mark.usefixtures("routes")
def test_second_refusal_gives_the_first_permit_back(client: Client):
    """A request that one breaker admits and another refuses says nothing to the first."""
    trip("payments")

    assert client.get("/shop/routed/").status_code == 503
    assert registry["inventory"].snapshot().calls == 0


@pytest.mark.usefixtures("routes")
def test_refusal_out_of_the_view_gets_the_whole_plan(client: Client):
    """When the circuit's error comes out of the view itself, its checks are done: the whole plan answers."""
    response = client.get("/shop/inner/")

    assert (response.status_code, response.json()) == (200, {"quantity": None})


@pytest.mark.usefixtures("routes")
def test_refusal_of_another_breaker_gets_the_whole_plan(client: Client, services: Inventory):
    """Whichever breaker it was, if it comes out of the view itself."""
    services.error = registry_refusal("prices")

    assert client.get("/shop/routed/").json() == {"quantity": None}


def registry_refusal(name: str) -> Exception:
    trip(name)
    try:
        registry[name].acquire()
    except Exception as refusal:
        return refusal
    raise AssertionError


@pytest.mark.usefixtures("routes")
def test_process_view_matches_the_stack():
    """`process_view` is of the stack's own kind: any other would cost a thread under ASGI."""
    import inspect

    async def get_response_async(request: object) -> None: ...

    assert not inspect.iscoroutinefunction(CircuitBreakerMiddleware(lambda request: None).process_view)
    assert inspect.iscoroutinefunction(CircuitBreakerMiddleware(get_response_async).process_view)


def test_no_process_view_without_routes():
    """Without ROUTES there is no `process_view` at all."""
    assert not hasattr(CircuitBreakerMiddleware(lambda request: None), "process_view")


def test_learning_is_per_view(settings, client: Client):
    """Views that share an entry learn by themselves whether inner calls count instead of the view's outcome."""
    settings.RECLOSER = {**settings.RECLOSER, "ROUTES": {"/shop/*": {"breakers": ["inventory"]}}}
    routes = conf.installation().routes
    client.get("/shop/routed/")
    client.get("/shop/inner/")

    assert len(routes._found) == 2
    assert len({id(guard) for guards in routes._found.values() for guard in guards}) == 2


@pytest.mark.parametrize(("record", "state"), [(None, "open"), (True, "open"), (False, "closed")])
def test_record_says_whether_the_views_outcome_counts(
    client: Client, settings, services: Inventory, record, state
):
    """As for `guard`."""
    settings.RECLOSER = {
        **settings.RECLOSER,
        "ROUTES": {"shop:routed": {"breakers": ["inventory"], "record": record}},
    }
    services.error = OutageError("down")

    with pytest.raises(OutageError):
        client.get("/shop/routed/")

    assert registry["inventory"].state == state
