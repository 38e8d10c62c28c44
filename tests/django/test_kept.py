"""What may be kept to be served again: nothing that outer middleware is going to mark as personal."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.test import Client, override_settings
from shopsite.tools import trip

from recloser.django import conf

pytestmark = pytest.mark.django_db


def is_kept(client: Client, path: str, **headers: str) -> bool:
    """Ask once while all is well, once while the circuit is open."""
    assert client.get(path, headers=headers).status_code == 200
    client.cookies.clear()
    trip()
    return client.get(path, headers=headers).status_code == 200


def test_public_answer_is_kept(client: Client):
    """An answer that nobody had a part in is served again."""
    assert is_kept(client, "/personal/nothing/")


@pytest.mark.parametrize(
    "touch",
    [
        *("session", "session-write", "user", "csrf", "nonce", "message", "auth", "cookie"),
        *("vary", "no-store", "degraded"),
    ],
)
def test_personal_answer_is_not_kept(client: Client, touch: str):
    """An answer is not kept once a session, user, token, nonce, message or failing service had a part in it."""
    assert not is_kept(client, f"/personal/{touch}/")


@pytest.mark.parametrize("header", ["Cookie", "Authorization"])
def test_answer_to_credentials_is_not_kept(client: Client, header: str):
    """An answer to a request with cookies or credentials is not kept."""
    assert not is_kept(client, "/personal/nothing/", **{header: "a=b"})


@pytest.mark.parametrize("reader", ["nobody", "middleware"])
@pytest.mark.parametrize(
    ("version", "content", "kept"), [("2", b"", True), ("2", b"evil", False), ("3", b"evil", False)]
)
def test_content_that_no_header_announces_leaves_no_page(client, settings, version, content, kept, reader):
    """RFC 9110 §9.3.1, RFC 9113 §8.1: in HTTP/2 a GET may bring content unannounced, which others must not suffer."""
    if reader == "middleware":
        settings.MIDDLEWARE = ["shopsite.tools.reads_the_body", *settings.MIDDLEWARE]
    assert ask_by_asgi("/personal/nothing/", version, content) == 200
    trip()
    assert ask_by_asgi("/personal/nothing/", version, b"") == (200 if kept else 503)


def ask_by_asgi(path: str, version: str, content: bytes) -> int:
    """Send a request as an ASGI server does, and return the status."""
    headers = [(b"host", b"testserver")]
    scope = {"type": "http", "http_version": version, "method": "GET", "path": path, "headers": headers}
    received = iter([{"type": "http.request", "body": content}])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        try:
            return next(received)
        except StopIteration:
            await asyncio.sleep(3600)  # nobody hangs up
            raise

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(ASGIHandler()(scope, receive, send))
    status: int = sent[0]["status"]
    return status


def test_remote_user_is_personal(client: Client):
    """An answer to a user whom the server has authenticated is not kept."""
    client.get("/personal/nothing/", REMOTE_USER="ann")
    trip()

    assert client.get("/personal/nothing/").status_code == 503


def test_language_is_in_the_key(client: Client):
    """A page in one language is not served in another."""
    assert client.get("/greeting/", headers={"Accept-Language": "de"}).content == b"de"
    trip()

    german = client.get("/greeting/", headers={"Accept-Language": "de"})
    english = client.get("/greeting/", headers={"Accept-Language": "en"})

    assert (german.content, german["Content-Language"]) == (b"de", "de")
    assert english.status_code == 503


def test_host_is_in_the_key(client: Client):
    """A page of one host is not served for another."""
    client.get("/personal/nothing/", HTTP_HOST="shop.example")
    trip()

    assert client.get("/personal/nothing/", HTTP_HOST="shop.example").status_code == 200
    assert client.get("/personal/nothing/").status_code == 503


def test_conditional_request_gets_a_304(client: Client, settings):
    """ConditionalGetMiddleware answers a replayed page like any other."""
    settings.MIDDLEWARE = ["django.middleware.http.ConditionalGetMiddleware", *settings.MIDDLEWARE]
    fresh = Client()
    tag = fresh.get("/personal/nothing/")["ETag"]
    trip()

    response = fresh.get("/personal/nothing/", headers={"If-None-Match": tag})

    assert (response.status_code, response.content) == (304, b"")


SHARED = {"CACHE": {"alias": "responses"}}


@pytest.fixture
def shared(settings) -> None:
    """Responses are kept in one of Django's caches."""
    settings.RECLOSER = {**settings.RECLOSER, **SHARED}


@pytest.mark.usefixtures("shared")
def test_shared_cache_serves_other_workers(client: Client):
    """What one worker has kept in a cache of CACHES another one serves."""
    client.get("/product/")
    conf.installation().responder.cache.flush()
    conf.on_setting_changed(setting="RECLOSER")  # as good as another process
    trip()

    response = client.get("/product/")

    assert response["Cache-Status"].startswith("recloser; hit")
    assert response.json() == {"quantity": 7}


@pytest.mark.usefixtures("shared")
def test_shared_cache_keeps_variants_apart(client: Client):
    """It keeps the languages of a page apart too."""
    for language in ("de", "en"):
        client.get("/greeting/", headers={"Accept-Language": language})
    conf.installation().responder.cache.flush()
    trip()

    for language in ("de", "en"):
        assert client.get("/greeting/", headers={"Accept-Language": language}).content == language.encode()


@pytest.mark.usefixtures("shared")
def test_shared_cache_forgets(client: Client):
    """A successful POST drops what was kept."""
    client.get("/class/")
    client.post("/class/")
    conf.installation().responder.cache.flush()
    trip()

    assert client.get("/class/").json() == {"quantity": None}


@pytest.mark.anyio
@pytest.mark.usefixtures("shared")
async def test_synchronous_stack_below_an_event_loop_answers_too():
    """A synchronous client in a coroutine waits in place for a shared cache and for a coroutine of a plan."""
    client = Client()
    client.get("/product/")
    conf.installation().responder.cache.flush()
    trip()

    assert client.get("/product/")["Cache-Status"].startswith("recloser; hit")
    assert client.get("/computed/").status_code == 200
    assert client.get("/computed-later/")["Content-Type"] == "text/plain"


@pytest.mark.parametrize("trouble", ["slow", "broken"])
def test_cache_that_fails_has_no_stale_answers(client: Client, settings, trouble: str):
    """A cache that is slow or down costs a request a few milliseconds at most, and then nothing at all."""
    settings.CACHES = {
        **settings.CACHES,
        "bad": {"BACKEND": "shopsite.caches.BadCache", "LOCATION": trouble},
    }
    settings.RECLOSER = {**settings.RECLOSER, "CACHE": {"alias": "bad"}}
    trip()

    for _ in range(5):
        assert client.get("/product/").json() == {"quantity": None}

    from shopsite.caches import BadCache

    assert BadCache.asked == 3
    BadCache.asked = 0


@pytest.mark.parametrize(
    ("cache", "message"),
    [
        ({"alias": "respones"}, "must be an alias of CACHES"),
        ({"alias": "responses", "max_bytes": 5}, "must not stand beside alias"),
    ],
)
def test_wrong_alias_is_an_error(cache: dict[str, object], message: str):
    """An alias that is unknown or stands beside max_bytes is refused."""
    from recloser import ConfigurationError

    with override_settings(RECLOSER={"CACHE": cache}), pytest.raises(ConfigurationError, match=message):
        conf.installation()
