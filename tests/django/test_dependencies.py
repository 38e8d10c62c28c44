"""Django's own dependencies behind breakers: a dead cache is a cold one, a dead mail server fails fast."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Iterator
from contextlib import closing

import django
import pytest
from django.core import mail
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.base import BaseEmailBackend
from shopsite.caches import FailingCache

from cache_server import Valkey
from recloser import CircuitOpenError
from recloser.django import registry
from recloser.django.cache import BreakerCache
from recloser.django.mail import EmailBackend


@pytest.fixture
def cache(settings) -> Iterator[BreakerCache]:
    """A cache behind the breaker `inventory`."""
    settings.CACHES = {
        "default": {
            "BACKEND": "recloser.django.cache.BreakerCache",
            "LOCATION": "guarded",
            "TIMEOUT": 60,
            "OPTIONS": {"BACKEND": "shopsite.caches.FailingCache", "BREAKER": "inventory", "MAX_ENTRIES": 7},
        }
    }
    yield caches["default"]
    FailingCache.down = False
    caches["default"].clear()
    FailingCache.asked = 0


def test_cache_works_as_ever(cache: BreakerCache):
    """While its circuit is closed the other backend does everything."""
    cache.set("a", 1)
    assert cache.add("a", 2) is False
    assert cache.incr("a") == 2
    assert cache.decr("a") == 1
    assert cache.get_many(["a", "b"]) == {"a": 1}
    assert cache.touch("a", 5)
    assert "a" in cache
    assert cache.get_or_set("c", 3) == 3
    assert cache.set_many({"d": 4}) == []
    cache.delete_many(["d"])
    assert cache.delete("a")
    assert cache._max_entries == 7
    assert registry["inventory"].snapshot().failures == 0


def use(cache: BreakerCache) -> None:
    """Use a cache that holds nothing."""
    cache.set("a", 1)
    assert cache.get("a", "missing") == "missing"
    assert cache.add("a", 1) is False
    assert cache.touch("a") is False
    assert cache.delete("a") is False
    assert cache.has_key("a") is False
    assert cache.get_many(["a"]) == {}
    assert cache.set_many({"a": 1}) == ["a"]
    assert cache.get_or_set("a", 5) == 5
    assert cache.delete_many(["a"]) is None
    assert cache.clear() is None
    with pytest.raises(ValueError, match="not found"):
        cache.incr("a")


def test_dead_cache_is_a_cold_one(cache: BreakerCache):
    """A cache that fails is a miss at once, and is asked no more once its circuit is open."""
    FailingCache.down = True

    use(cache)

    assert FailingCache.asked == 1
    assert registry["inventory"].state == "open"


@pytest.mark.anyio
async def test_dead_cache_is_a_cold_one_for_async_views(cache: BreakerCache):
    """The same holds for the asynchronous methods."""
    assert await cache.aget("a", 0) == 0
    await cache.aset("a", 1)
    assert await cache.aget("a") == 1
    assert await cache.aadd("a", 1) is False
    FailingCache.down = True

    assert await cache.aget("a", 0) == 0
    assert registry["inventory"].state == "open"
    asked = FailingCache.asked

    await cache.aset("a", 1)
    assert await cache.aadd("b", 1) is False
    assert await cache.aget_many(["a"]) == {}
    assert await cache.adelete("a") is False
    assert FailingCache.asked == asked


@pytest.fixture
def server() -> Iterator[Valkey]:
    server = Valkey()
    yield server
    server.kill()


@pytest.fixture
def redis_cache(server: Valkey, settings) -> Iterator[BreakerCache]:
    """Django's own cache on a real server, behind the breaker `inventory`."""
    options = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "BREAKER": "inventory",
        "socket_timeout": 1,  # a busy machine is slow
    }
    backend = "recloser.django.cache.BreakerCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": server.url, "OPTIONS": options}}
    yield caches["default"]
    for pool in caches["default"]._cache._pools.values():
        pool.disconnect()


def test_redis_that_is_killed_and_comes_back(server: Valkey, redis_cache: BreakerCache):
    """A dead server is a miss and is asked no more; when it is back and its circuit closed, so is the cache."""
    redis_cache.set_many({"a": 1, "b": 2})
    assert (redis_cache.incr("a"), redis_cache.get_many(["a", "b"])) == (2, {"a": 2, "b": 2})
    server.kill()

    assert redis_cache.get("a", "missing") == "missing"
    assert registry["inventory"].state == "open"
    server.start()
    assert redis_cache.get("a", "missing") == "missing"  # not asked

    registry["inventory"].reset(by="ann", reason="it is back")
    redis_cache.set("a", 5)
    assert redis_cache.get("a") == 5


@pytest.mark.anyio
async def test_redis_that_hangs(server: Valkey, redis_cache: BreakerCache):
    """A server that takes connections and answers nothing costs one request its time-out, the next ones nothing."""
    redis_cache.set("a", 1)
    with server.hung():
        assert await redis_cache.aget("a", "missing") == "missing"
        assert registry["inventory"].state == "open"
        for _ in range(50):  # each would take 1 s
            assert await redis_cache.aget("a", "missing") == "missing"
            await redis_cache.aset("a", 2)
    assert registry["inventory"].snapshot().calls == 2


def test_mistakes_of_the_caller_are_his(cache: BreakerCache):
    """A number that is not there, or a value that cannot be stored, is an error as ever and no failure."""
    with pytest.raises(ValueError, match="not found"):
        cache.incr("nothing")
    with pytest.raises((TypeError, AttributeError)):
        cache.set("a", lambda: None)

    assert registry["inventory"].state == "closed"


def test_cache_needs_its_backend():
    """Without a backend to ask, the error says what to write."""
    with pytest.raises(ImproperlyConfigured, match=r'OPTIONS\["BACKEND"\] must be its dotted path'):
        BreakerCache("x", {})


class Server(BaseEmailBackend):
    """A mail server that fails as told."""

    error: Exception | None = None
    asked = 0

    def send_messages(self, email_messages: object) -> int:
        type(self).asked += 1
        if self.error is not None:
            raise self.error
        return len(list(email_messages))


class Guarded(EmailBackend):
    backend = f"{__name__}.Server"
    breaker = "payments"


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Guarded]]:
    """A mail backend behind the breaker `payments`."""
    monkeypatch.setattr("recloser.django.mail.import_string", lambda path: Server)
    yield Guarded
    Server.error, Server.asked = None, 0


def message() -> mail.EmailMessage:
    return mail.EmailMessage("hello", "text", "shop@shop.example", ["ann@shop.example"])


def test_mail_is_sent(backend: type[Guarded]):
    """While its circuit is closed the other backend sends."""
    assert backend().send_messages([message(), message()]) == 2
    assert backend().send_messages([]) == 0
    assert Server.asked == 1


def test_dead_mail_server_fails_fast(backend: type[Guarded]):
    """After a failure mail is refused at once, and silently where that was asked for."""
    Server.error = ConnectionRefusedError("refused")
    with pytest.raises(ConnectionRefusedError):
        backend().send_messages([message()])

    with pytest.raises(CircuitOpenError):
        backend().send_messages([message()])
    assert backend(fail_silently=True).send_messages([message()]) == 0
    assert Server.asked == 1


@pytest.mark.parametrize(
    ("kind", "arguments", "failures"),
    [
        (smtplib.SMTPServerDisconnected, ("gone",), 1),
        (smtplib.SMTPDataError, (451, b"try later"), 1),
        (smtplib.SMTPDataError, (554, b"spam"), 0),
        (smtplib.SMTPRecipientsRefused, ({"a": (550, b"unknown")},), 0),
        (smtplib.SMTPRecipientsRefused, ({"a": (450, b"busy")},), 1),
        (TimeoutError, (), 1),
        (ValueError, ("a header with a line break",), 0),
    ],
)
def test_refusal_of_a_message_is_no_outage(
    backend: type[Guarded], kind: type[Exception], arguments: tuple[object, ...], failures: int
):
    """A server that refuses one message for good has answered; silence hides failures from nobody but the caller."""
    Server.error = kind(*arguments)

    assert backend(fail_silently=True).send_messages([message()]) == 0

    assert registry["payments"].snapshot().failures == failures


def test_smtp_server_that_is_not_there():
    """A port where nobody listens is found out once."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        server = EmailBackend(host="127.0.0.1", port=nobody.getsockname()[1], timeout=5, breaker="payments")

        with pytest.raises(ConnectionRefusedError):
            server.send_messages([message()])
        with pytest.raises(CircuitOpenError):
            server.send_messages([message()])


def test_smtp_server_that_hangs():
    """A server that takes connections and says nothing costs one message its time-out."""
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        server = EmailBackend(host="127.0.0.1", port=mute.getsockname()[1], timeout=0.2, breaker="payments")

        with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
            server.send_messages([message()])
        for _ in range(50):  # each would take 0.2 s
            with pytest.raises(CircuitOpenError):
                server.send_messages([message()])


def test_default_is_smtp():
    """Declared as EMAIL_BACKEND, mail goes to the SMTP server of the settings."""
    from django.core.mail.backends.smtp import EmailBackend as Smtp

    inner = EmailBackend(timeout=3)._inner

    assert isinstance(inner, Smtp)
    assert (inner.host, inner.timeout) == ("localhost", 3)


def test_options_name_backend_and_breaker(settings):
    """Declared in MAILERS, the other backend and the breaker are options beside the other backend's own."""
    options = {"backend": f"{Server.__module__}.Server", "breaker": "prices"}
    settings.MAILERS = {"default": {"BACKEND": "recloser.django.mail.EmailBackend", "OPTIONS": options}}

    mailer = mail.mailers["default"] if django.VERSION >= (6, 1) else EmailBackend(**options)

    assert type(mailer._inner).__name__ == "Server"
    assert mailer._breaker.name == "prices"
