"""A client of an admin endpoint: follows nothing, waits and reads within limits, and shows no credential."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, Final, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from recloser.core.errors import RecloserError
from recloser.status.redaction import plain, redacted
from recloser.status.snapshot import VERSION, Document

SECONDS: Final = 5.0  # that a command waits for an answer
WHOLE: Final = 5.0  # seconds until its end, however much of it comes meanwhile
LARGEST: Final = 16_000_000  # bytes of an answer
PART: Final = 65_536

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.1
_VALUE: Final = re.compile(r"[\x20-\x7e\x80-\xff\t]*")  # RFC 9110 §5.5


class SourceError(RecloserError):
    """What is looked at does not answer."""


class _StandStill(HTTPRedirectHandler):
    """Takes no credential to wherever an answer points."""

    def redirect_request(  # noqa: PLR0917 - urllib's
        self, req: Request, fp: object, code: int, msg: str, headers: object, newurl: str
    ) -> None:
        """Leave the answer as it is."""


_open: Final = build_opener(_StandStill).open


class Client:
    """Asks an admin endpoint.

    Args:
        url: Of the endpoint, such as `https://shop.example/breakers`.
        headers: To send; without `Authorization`, the variable `RECLOSER_TOKEN` makes one.

    Raises:
        SourceError: They cannot be asked or sent.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = _checked(url).rstrip("/")
        self._headers = {"Accept": "application/json"}
        for name, value in headers.items():
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
                raise SourceError("--header must be NAME:VALUE, on one line and in Latin characters")
            self._headers[name] = value
        token = os.environ.get("RECLOSER_TOKEN", "").strip()
        if token and not any(name.lower() == "authorization" for name in headers):
            if not _VALUE.fullmatch(token):
                raise SourceError("RECLOSER_TOKEN must be on one line and in Latin characters")
            self._headers["Authorization"] = f"Bearer {token}"

    def ask(self, path: str, body: bytes | None = None, token: str = "") -> tuple[int, Document]:
        """Ask once.

        Args:
            path: Below the endpoint's URL.
            body: JSON, to be posted.
            token: As of the page's form, for an endpoint that knows its readers by other fields than `Authorization`.

        Returns:
            The status and the document, which is that of a recloser endpoint if the status is 200.

        Raises:
            SourceError: It does not answer so.
        """
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        if token and not any(name.lower() == "authorization" for name in headers):
            parts = urlsplit(self._url)
            headers |= {"Origin": f"{parts.scheme}://{parts.netloc}", "X-Recloser-Token": plain(token)}
        request = Request(self._url + path, body, headers)  # noqa: S310 - the scheme was checked
        try:
            try:
                answer = _open(request, timeout=SECONDS)
            except HTTPError as refused:
                answer = refused
            with answer:
                status, told = cast("int", answer.status), _told(_read(answer))
                if 300 <= status < 400:
                    target = redacted(str(answer.headers.get("Location", "")))
                    raise SourceError(
                        f"{self.shown}: redirects to {target}, which is not followed: correct --url, or sign in"
                    )
        except (URLError, HTTPException, OSError, ValueError) as error:
            why = error.reason if isinstance(error, URLError) else error
            raise SourceError(f"{self.shown}: {plain(str(why)) or type(why).__name__}") from error
        if status == 200 and (told.get("version") != VERSION if body is None else "text" not in told):
            raise SourceError(f"{self.shown}: what answers is no recloser endpoint, or of another version")
        return status, told

    @property
    def shown(self) -> str:
        """The endpoint's URL, as it may be shown."""
        return plain(self._url)


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:  # of a port, or of an IPv6 address
        wrong, parts = True, urlsplit("")
    if wrong:
        raise SourceError("--url must begin with http:// or https:// and a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise SourceError("--url must be a plain one: credentials go into --header or RECLOSER_TOKEN")
    return url


def _read(answer: Any) -> bytes:
    deadline = time.monotonic() + WHOLE
    body = bytearray()
    while part := answer.read1(PART):
        body += part
        if len(body) > LARGEST:
            raise ValueError("the answer is too long")
        if time.monotonic() > deadline:
            raise TimeoutError("the answer does not end")
    return bytes(body)


def _told(body: bytes) -> Document:
    try:
        told: object = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return cast("Document", told) if isinstance(told, dict) else {}
