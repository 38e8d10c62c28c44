"""What is particular to the adapter for requests."""

from __future__ import annotations

import importlib
import io
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import HTTPDigestAuth
from urllib3.exceptions import ResponseNotChunked, SSLError

from clients.counting import Counted, counted
from clients.misbehaving import Misbehaving
from recloser.clients.requests import BreakerAdapter
from recloser.registry import Registry

URL = "http://api.example/"
ORIGIN = "api.example:80"


@pytest.fixture
def session(registry: Registry) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", BreakerAdapter(registry))
        yield session


class Inner(BaseAdapter):
    """Does what it is told, and notes what it was asked."""

    def __init__(self, deed: Any) -> None:
        super().__init__()
        self._deed = deed
        self.asked: list[Any] = []
        self.closed = False

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        self.asked.append(options)
        return self._deed(request)

    def close(self) -> None:
        self.closed = True


def ask(registry: Registry, deed: Any, **request: Any) -> requests.Response:
    with requests.Session() as session:
        session.mount("http://", BreakerAdapter(registry, Inner(deed)))
        return session.request("GET", URL, **request)


def raiser(error: BaseException) -> Any:
    def deed(_: object) -> None:
        raise error

    return deed


def test_by_default_the_librarys_own_adapter_does_the_work(registry: Registry):
    """No second argument is needed."""
    assert isinstance(BreakerAdapter(registry)._inner, HTTPAdapter)


def test_the_inner_adapter_is_told_everything_and_closed_with_the_session(registry: Registry):
    """Time-outs, certificates and proxies are its affair."""
    inner = Inner(lambda request: answer())
    with requests.Session() as session:
        session.mount("http://", BreakerAdapter(registry, inner))
        session.get(URL, timeout=7, stream=True, verify=False, proxies={"http": "http://proxy"})
    [options] = inner.asked
    assert (options["timeout"], options["stream"], options["verify"]) == (7, True, False)
    assert options["proxies"]["http"] == "http://proxy"
    assert inner.closed


def answer(status: int = 200, raw: Any = None) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.raw = io.BytesIO(b"body") if raw is None else raw
    return response


def test_a_response_that_came_with_its_body_counts_at_once(registry: Registry):
    """Mocks hand over nothing that could still break."""
    assert ask(registry, lambda request: answer()).content == b"body"
    assert counted(registry.for_origin(ORIGIN)) == Counted(success=1)


@pytest.mark.parametrize("name", ["InvalidSchema", "InvalidURL", "MissingSchema"])
def test_a_request_that_is_wrong_is_no_outcome(registry: Registry, name: str):
    """It never reached its dependency."""
    error = getattr(requests.exceptions, name)
    with pytest.raises(error):
        ask(registry, raiser(error()))
    assert counted(registry.for_origin(ORIGIN)) == Counted(ignored=1)


def test_a_missing_certificate_file_is_no_outcome(registry: Registry, session: requests.Session):
    """The caller's own files are none of the dependency's faults."""
    session.mount("https://", BreakerAdapter(registry))
    with pytest.raises(OSError, match="invalid path"):
        session.get("https://api.example/", verify="/nowhere/at/all.pem")
    assert counted(registry.for_origin("api.example:443")) == Counted(ignored=1)


def test_an_impossible_time_out_is_no_outcome(registry: Registry, session: requests.Session):
    """Neither is a mistake in the call."""
    with pytest.raises(ValueError, match="timeout"):
        session.get(URL, timeout=(1, 2, 3))  # type: ignore[arg-type]
    assert counted(registry.for_origin(ORIGIN)) == Counted(ignored=1)


def test_a_header_that_cannot_be_sent_is_no_outcome(
    registry: Registry, session: requests.Session, server: Misbehaving
):
    """The text of one is not always Latin-1."""
    with pytest.raises(UnicodeEncodeError):
        session.get(server.url("/status/200"), headers={"X-Name": "\u2713"})
    assert counted(registry.for_origin(server.origin)) == Counted(ignored=1)


def test_an_answer_to_a_challenge_goes_through_the_breaker_too(
    registry: Registry, session: requests.Session, server: Misbehaving
):
    """`HTTPDigestAuth` and its like send it by the response's own connection."""
    challenge = "/status/401?WWW-Authenticate=Digest+realm=shop,nonce=1"
    session.get(server.url(challenge), auth=HTTPDigestAuth("ann", "s3cret"))
    assert len(server.seen) == 2
    assert counted(registry.for_origin(server.origin)) == Counted(success=2)


def test_an_interrupted_request_is_no_outcome(registry: Registry):
    """Ctrl-C in the middle of a request passes through and counts as nothing."""
    with pytest.raises(KeyboardInterrupt):
        ask(registry, raiser(KeyboardInterrupt()))
    assert counted(registry.for_origin(ORIGIN)) == Counted(ignored=1)


def test_a_url_that_cannot_be_read_is_left_to_the_inner_adapter(registry: Registry):
    """It makes no breaker."""
    request = requests.PreparedRequest()
    request.url = "http://[/"
    assert BreakerAdapter(registry, Inner(lambda request: answer())).send(request).status_code == 200
    assert list(registry) == []


def test_an_upload_from_a_file_is_watched_and_the_request_left_as_it_was(
    session: requests.Session, server: Misbehaving, registry: Registry, tmp_path: Path
):
    """A hook, a retry or a redirect finds the caller's own file."""
    path = tmp_path / "upload"
    path.write_bytes(b"x" * 100_000)
    with path.open("rb") as file:
        response = session.post(server.url("/status/200"), data=file)
        assert response.request.body is file
    assert counted(registry.for_origin(server.origin)) == Counted(success=1)


def test_a_file_that_breaks_blames_nobody_else(
    session: requests.Session, server: Misbehaving, registry: Registry
):
    """An upload is the caller's own."""

    class Torn(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError("the disk is gone")

    with pytest.raises(requests.ConnectionError, match="the disk is gone"):
        session.post(server.url("/status/200"), data=Torn(b"x" * 10))
    assert counted(registry.for_origin(server.origin)) == Counted(ignored=1)


def test_an_upload_that_is_given_up_is_no_excuse(registry: Registry):
    """What closes a source that works is the dependency's failure."""

    def give_up(request: requests.PreparedRequest) -> None:
        parts = iter(request.body)  # type: ignore[arg-type]
        next(parts)
        parts.close()  # type: ignore[attr-defined]
        raise requests.ConnectionError

    with pytest.raises(requests.ConnectionError):
        ask(registry, give_up, data=iter([b"some", b"parts"]))
    assert counted(registry.for_origin(ORIGIN)) == Counted(failure=1)


def test_a_text_file_is_sent_as_text(session: requests.Session, server: Misbehaving):
    """It is known as such by its type, which no watcher stands in for."""
    text = io.StringIO("some text")
    assert session.post(server.url("/status/200"), data=text).request.body is text


@pytest.mark.parametrize(
    "read",
    [
        lambda raw: raw.read(),
        lambda raw: b"".join(iter(lambda: raw.read(2), b"")),
        lambda raw: b"".join(iter(lambda: raw.read1(2), b"")),
        lambda raw: b"".join(raw),
        lambda raw: b"".join(iter(lambda: next(raw, b""), b"")),
        lambda raw: b"".join(iter(raw.readline, b"")),
        lambda raw: b"".join(raw.readlines()),
        lambda raw: raw.data,
        lambda raw: io.BufferedReader(raw).read(100),
        lambda raw: io.TextIOWrapper(raw).read().encode(),
    ],
    ids=["read", "read(n)", "read1", "lines", "next", "readline", "readlines", "data", "buffered", "text"],
)
@pytest.mark.parametrize(
    ("path", "outcome"), [("/bytes/4", Counted(success=1)), ("/truncated", Counted(failure=1))]
)
def test_the_raw_body_is_watched_however_it_is_read(
    session: requests.Session, server: Misbehaving, registry: Registry, read: Any, path: str, outcome: Counted
):
    """`response.raw` is a file to many who use it."""
    response = session.get(server.url(path), stream=True)
    assert counted(registry.for_origin(server.origin)) == Counted()
    try:
        assert read(response.raw) == b"xxxx"
    except Exception as error:
        assert path == "/truncated", repr(error)
    assert counted(registry.for_origin(server.origin)) == outcome


def test_how_a_raw_body_is_read_is_its_readers_affair(
    session: requests.Session, server: Misbehaving, registry: Registry
):
    """Asking for chunks where there are none is no failure of the dependency."""
    with session.get(server.url("/bytes/4"), stream=True) as response:
        with pytest.raises(ResponseNotChunked):
            list(response.raw.read_chunked())
        assert response.raw.read() == b"xxxx"
    assert counted(registry.for_origin(server.origin)) == Counted(success=1)


def test_the_raw_body_is_decoded_where_one_asks_for_it(session: requests.Session, server: Misbehaving):
    """As for a file to copy it into, in either of the usual ways."""
    with session.get(server.url("/gzip"), stream=True).raw as raw:
        raw.decode_content = True
        assert raw.read(100) == b"plain"
    raw = session.get(server.url("/gzip"), stream=True).raw
    raw.read = partial(raw.read, decode_content=True)
    copy = io.BytesIO()
    shutil.copyfileobj(raw, copy)
    assert copy.getvalue() == b"plain"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/truncated", requests.exceptions.ChunkedEncodingError),
        ("/hang-in-body", requests.ConnectionError),
        ("/reset-in-body", requests.exceptions.ChunkedEncodingError),
    ],
)
def test_the_policy_is_shown_what_requests_raises(server: Misbehaving, path: str, kind: type[Exception]):
    """Also for a raw body, whose reader sees the errors of urllib3."""
    seen: list[BaseException] = []
    declaration = {"DEFAULTS": {"failure_on": lambda error: not seen.append(error)}}
    with Registry(declaration) as registry, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", BreakerAdapter(registry))
        response = session.get(server.url(path), stream=True, timeout=0.1)
        with pytest.raises(Exception, match=r"."):
            response.raw.read()
        assert [type(error) for error in seen] == [kind]


class Raw:
    """A body that breaks as it is told."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield b"part"
        raise self._error

    read_chunked = stream


@pytest.mark.parametrize("read", ["stream", "read_chunked"])
@pytest.mark.parametrize(
    ("error", "failure"),
    [(SSLError, "SSLError"), (KeyboardInterrupt, ""), (ConnectionError, "ConnectionError")],
)
def test_whatever_breaks_a_body_is_judged(
    registry: Registry, error: type[BaseException], failure: str, read: str
):
    """Broken encryption is a failure; Ctrl-C is no outcome."""
    response = ask(registry, lambda request: answer(raw=Raw(error())), stream=True)
    with pytest.raises(error):
        list(getattr(response.raw, read)())
    breaker = registry.for_origin(ORIGIN)
    assert breaker.snapshot().last_failure == failure
    assert counted(breaker) == (Counted(failure=1) if failure else Counted(ignored=1))


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "requests", None)
    monkeypatch.delitem(sys.modules, "recloser.clients.requests")
    with pytest.raises(ImportError, match=r'pip install "recloser\[requests\]"'):
        importlib.import_module("recloser.clients.requests")
