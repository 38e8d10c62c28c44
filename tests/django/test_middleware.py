"""A refused call becomes an answer, whatever the view and the stack are."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.signals import got_request_exception
from django.test import AsyncClient, Client
from shopsite.services import Inventory, OutageError
from shopsite.tools import trip

from recloser.django import registry


@contextmanager
def reports() -> Iterator[list[type[BaseException] | None]]:
    """Collect the types of the exceptions that error reporters would see."""
    reported: list[type[BaseException] | None] = []

    def report(**_: object) -> None:
        reported.append(sys.exc_info()[0])

    got_request_exception.connect(report)
    yield reported
    got_request_exception.disconnect(report)


GUARDED = ["/product/", "/product-async/", "/class/", "/class-async/"]


@pytest.mark.parametrize("path", GUARDED)
def test_closed_circuit_changes_nothing(client: Client, path: str):
    """While its circuit is closed a guarded view answers as ever, and its success counts."""
    response = client.get(path)

    assert (response.status_code, response.json()) == (200, {"quantity": 7})
    assert "Recloser" not in response.headers
    assert registry["inventory"].snapshot().calls == 1


@pytest.mark.parametrize("path", GUARDED)
def test_last_good_response_is_served(client: Client, path: str, services: Inventory):
    """An open circuit serves the last good response, marked with its age and as stale."""
    client.get(path)
    trip()

    response = client.get(path)

    assert (response.status_code, response.json()) == (200, {"quantity": 7})
    assert response["Age"] == "0"
    assert response["Cache-Status"] == "recloser; hit; ttl=0; detail=circuit-open"
    assert response["Recloser"] == "degraded"
    assert services.calls == 1


@pytest.mark.anyio
@pytest.mark.parametrize("path", GUARDED)
async def test_last_good_response_is_served_by_the_asynchronous_stack(async_client: AsyncClient, path: str):
    """The same holds under ASGI."""
    await async_client.get(path)
    trip()

    response = await async_client.get(path)

    assert response.status_code == 200
    assert response["Cache-Status"] == "recloser; hit; ttl=0; detail=circuit-open"


@pytest.mark.parametrize("path", GUARDED)
def test_next_strategy_answers(client: Client, path: str, opened: object, services: Inventory):
    """Without a last good response the next strategy of the plan answers, and nobody may keep that."""
    response = client.get(path)

    assert (response.status_code, response.json()) == (200, {"quantity": None})
    assert response["Cache-Control"] == "no-store"
    assert services.calls == 0


@pytest.mark.anyio
@pytest.mark.parametrize("path", GUARDED)
async def test_next_strategy_answers_under_asgi(async_client: AsyncClient, path: str, opened: object):
    """The same holds under ASGI."""
    response = await async_client.get(path)

    assert (response.status_code, json.loads(response.content)) == (200, {"quantity": None})


def test_unguarded_refusal_is_a_clean_503(client: Client):
    """A refusal out of an unguarded view is a problem document with Retry-After."""
    trip("payments")

    response = client.get("/pay/")

    assert response.status_code == 503
    assert response["Content-Type"] == "application/problem+json"
    assert 30 <= int(response["Retry-After"]) <= 38
    assert "payments" not in response.content.decode()


def test_browser_gets_a_page(client: Client):
    """A browser gets the same as a small page."""
    trip("payments")

    response = client.get("/pay/", headers={"accept": "text/html"})

    assert response.status_code == 503
    assert response["Content-Type"] == "text/html; charset=utf-8"


def test_names_are_exposed_in_debug_only(client: Client, settings):
    """With DEBUG the answer names the breaker; the circuits stay as they are when DEBUG changes."""
    trip("payments")
    settings.DEBUG = True

    response = client.get("/pay/")

    assert response.json()["breaker"] == "payments"
    assert "breaker=" in response["Recloser"]


def test_expose_is_a_setting(client: Client, settings):
    """EXPOSE says the same outright."""
    settings.RECLOSER = {**settings.RECLOSER, "EXPOSE": True}
    trip("payments")

    assert client.get("/pay/").json()["breaker"] == "payments"


def test_refusal_is_no_error_for_reporters(client: Client, caplog):
    """A refusal is logged as a warning, not mailed to the admins, and no exception is reported."""
    trip("payments")

    with reports() as reported:
        client.get("/pay/")

    assert not reported
    told = [record for record in caplog.records if record.name != "recloser.events"]
    assert [record.levelno for record in told] == [logging.WARNING]


def test_error_while_refused_is_reported(client: Client, caplog):
    """An open circuit never hides an error: one raised while handling a refusal is a 500, and reported."""
    trip("payments")
    client.raise_request_exception = False

    with reports() as reported:
        response = client.get("/hides-nothing/")

    assert response.status_code == 500
    assert reported == [ValueError]


def test_error_of_a_guarded_view_is_reported_and_counted(client: Client, services: Inventory):
    """A view's own error stays a 500 that reporters see; it also trips its circuit."""
    services.error = OutageError("down")

    with pytest.raises(OutageError):
        client.get("/raises/")
    assert registry["inventory"].state == "open"


def test_late_rendering_counts(client: Client, services: Inventory):
    """What a TemplateResponse raises when it is rendered counts too."""
    services.error = OutageError("down")

    with pytest.raises(OutageError):
        client.get("/late/")
    assert registry["inventory"].snapshot().failures == 1


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "calls"),
        (204, "calls"),
        (302, "calls"),
        (400, "ignored"),
        (401, "ignored"),
        (404, "ignored"),
        (429, "failures"),
        (500, "failures"),
        (503, "failures"),
    ],
)
def test_status_is_judged(client: Client, status: int, outcome: str):
    """5xx and 429 are failures, other 4xx say nothing, all else is success; each request counts once."""
    client.get(f"/product/status/{status}/")

    numbers = registry["inventory"].snapshot()
    counted = {"calls": (1, 0, 0), "ignored": (0, 0, 1), "failures": (1, 1, 0)}[outcome]
    assert (numbers.calls, numbers.failures, numbers.ignored) == counted


def test_not_found_is_ignored(client: Client):
    """Http404 says nothing about the dependency."""
    assert client.get("/missing/").status_code == 404
    assert registry["inventory"].snapshot().ignored == 1


def test_unsafe_method_forgets(client: Client):
    """A successful POST to the same path drops what was kept of it (RFC 9111 §4.4)."""
    client.get("/class/")
    client.post("/class/")
    trip()

    assert client.get("/class/").json() == {"quantity": None}


def test_head_is_answered_from_a_kept_get(client: Client):
    """HEAD gets the headers of the kept GET, without its body."""
    client.get("/product/")
    trip()

    response = client.head("/product/")

    assert (response.status_code, response.content) == (200, b"")
    assert response["Content-Length"] == str(len(b'{"quantity": 7}'))


def test_options_are_not_guarded(client: Client, opened: object):
    """OPTIONS of a class-based view asks no dependency, and is answered while the circuit is open."""
    assert client.options("/class/").status_code == 200


def test_method_that_is_not_allowed_stays_so(client: Client, opened: object):
    """A method without a handler is a 405 with the circuit open as with it closed."""
    assert client.delete("/class/").status_code == 405


def test_permit_of_a_probe_comes_back(client: Client, services: Inventory):
    """A probe whose view raises something that says nothing gives its place back."""
    breaker = registry["inventory"]
    breaker.force_open(by="ann", reason="test")
    breaker.auto(by="ann", reason="test")
    assert client.get("/missing/").status_code == 404
    assert breaker.snapshot().probes_in_flight == 0


def test_stream_counts_at_its_end(client: Client, services: Inventory):
    """A streamed body counts when it has ended, and is kept then."""
    response = client.get("/streams/")
    assert registry["inventory"].snapshot().calls == 0

    assert b"".join(response.streaming_content) == b"one two"

    assert registry["inventory"].snapshot().calls == 1
    trip()
    assert client.get("/streams/").content == b"one two"


@pytest.mark.anyio
async def test_stream_counts_at_its_end_under_asgi(async_client: AsyncClient, services: Inventory):
    """The same holds for an asynchronous body."""
    response = await async_client.get("/streams-async/")
    assert registry["inventory"].snapshot().calls == 0

    assert [part async for part in response.streaming_content] == [b"one ", b"two"]

    assert registry["inventory"].snapshot().calls == 1


def test_broken_stream_is_a_failure(client: Client, services: Inventory):
    """A body that breaks half-way is a failure."""
    services.error = OutageError("down")
    response = client.get("/streams/")

    with pytest.raises(OutageError):
        list(response.streaming_content)

    assert registry["inventory"].state == "open"


@pytest.mark.django_db  # closing a response closes connections
@pytest.mark.parametrize("begun", [True, False])
def test_stream_closed_early_says_nothing(client: Client, begun: bool):
    """A body that the client does not want to its end is ignored, also if it was never begun."""
    response = client.get("/streams/")
    if begun:
        next(iter(response.streaming_content))

    response.close()

    numbers = registry["inventory"].snapshot()
    assert (numbers.calls, numbers.ignored) == (0, 1)


@pytest.mark.anyio
async def test_cancelled_request_says_nothing(async_client: AsyncClient, services: Inventory):
    """A request that is cancelled, as when the client has gone, is ignored and gives its place back."""
    request = asyncio.create_task(async_client.get("/waits/"))
    async with asyncio.timeout(10):
        while not services.calls:  # noqa: ASYNC110 - the view runs in this very loop
            await asyncio.sleep(0.001)

    request.cancel()

    with pytest.raises(asyncio.CancelledError):
        await request
    numbers = registry["inventory"].snapshot()
    assert (numbers.calls, numbers.ignored) == (0, 1)


def test_file_is_sent_as_a_file(client: Client):
    """A FileResponse is left to the server, and counts when it is handed over."""
    response = client.get("/file/")

    assert b"def sends_file" in b"".join(response.streaming_content)
    assert registry["inventory"].snapshot().calls == 1
