"""Plans with functions and templates of the project's own, with and without an event loop."""

from __future__ import annotations

import threading

import pytest
from django.test import AsyncClient, Client
from shopsite.degraded import ran_in
from shopsite.tools import trip


@pytest.fixture(autouse=True)
def _open() -> None:
    """The circuit is open, and no function has run."""
    ran_in.clear()
    trip()


@pytest.mark.parametrize("path", ["computed/", "computed-by-name/"])
def test_function_runs_in_place_without_an_event_loop(client: Client, path: str):
    """Under WSGI it costs neither a thread nor a loop, and it sees Django's own request."""
    response = client.get(f"/{path}")

    assert response.json() == {"route": path, "without": "inventory"}
    assert response["Cache-Control"] == "no-store"
    assert response["Recloser"].startswith("degraded")
    assert ran_in == [threading.get_ident()]


@pytest.mark.anyio
async def test_function_runs_in_a_thread_beside_an_event_loop(async_client: AsyncClient):
    """Under ASGI it may block."""
    response = await async_client.get("/computed/")

    assert response.json() == {"route": "computed/", "without": "inventory"}
    assert [threading.get_ident()] != ran_in


@pytest.mark.anyio
async def test_function_runs_in_place_for_a_sync_client_on_a_loop(client: Client):
    """A test may call a sync client from a coroutine."""
    assert client.get("/computed/").status_code == 200
    assert [threading.get_ident()] == ran_in


def test_coroutine_function_is_awaited_without_an_event_loop(client: Client):
    """It gets one for itself."""
    response = client.get("/computed-later/")

    assert (response.status_code, response.content) == (503, b"inventory")
    assert response["Retry-After"]


@pytest.mark.anyio
async def test_coroutine_function_is_awaited_on_the_event_loop(async_client: AsyncClient):
    """As it is."""
    assert (await async_client.get("/computed-later/")).content == b"inventory"


def test_page_is_rendered_by_the_projects_engine(client: Client):
    """With its context processors; a client that prefers JSON gets a problem document."""
    response = client.get("/sorry/", headers={"accept": "text/html"})

    assert response.status_code == 503
    assert response["Content-Type"] == "text/html; charset=utf-8"
    assert (
        response.content.decode()
        == f"<p>/sorry/ without inventory: back in {response['Retry-After']} s</p>\n"
    )
    problem = client.get("/sorry/", headers={"accept": "application/json"})
    assert problem["Content-Type"] == "application/problem+json"


@pytest.mark.anyio
async def test_page_is_rendered_beside_an_event_loop(async_client: AsyncClient):
    """In a thread, where context processors may use the database."""
    response = await async_client.get("/sorry/", headers={"accept": "text/html"})

    assert b"without inventory" in response.content
