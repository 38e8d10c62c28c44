"""What the endpoint is asked and what it answers, whatever framework carries it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from recloser.http import fields

MAX_BODY: Final = 64 * 1024  # bytes
MAX_FIELDS: Final = 1100

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# RFC 6797 and framing are the application's business; what a page of ours may do is not.
SAFE_HEADERS: Final = (
    ("content-security-policy", _POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
)
NEVER_KEPT: Final = (("cache-control", "no-store"), ("vary", "Accept, Cookie, Authorization"))


class RefusedError(Exception):
    """The request gets an error as its answer.

    Attributes:
        status: The HTTP status.
        title: In two or three words.
        text: What was wrong and what to do.
        more: Members for programs.
    """

    def __init__(self, status: int, title: str, text: str, **more: Any) -> None:
        super().__init__(status, title, text)
        self.status = status
        self.title = title
        self.text = text
        self.more = more


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request.

    Attributes:
        method: Upper case.
        path: Below the endpoint, percent-decoded, with its leading `/`.
        base: The endpoint's own path, without a trailing `/`.
        query: As the client wrote it.
        headers: Names in lower case; repetitions joined.
        body: Of a POST.
        native: The framework's request, for `authorize`.
    """

    method: str
    path: str
    base: str = ""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    native: object = None

    def parameters(self) -> dict[str, str]:
        """Read the query.

        Raises:
            RefusedError: It is none.
        """
        return dict(_pairs(self.query))

    def form(self) -> dict[str, list[str]]:
        """Read the body, a form or JSON, as names and values.

        Raises:
            RefusedError: It is neither, or too large.
        """
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if len(self.body) > MAX_BODY:
            raise RefusedError(413, "Too large", f"A request has at most {MAX_BODY} bytes.")
        if kind == "application/json":
            return _from_json(self.body)
        if kind == "application/x-www-form-urlencoded":
            form: dict[str, list[str]] = {}
            for name, value in _pairs(self.body.decode("utf-8", "replace")):
                form.setdefault(name, []).append(value)
            return form
        raise RefusedError(
            415, "Unsupported", "Send a form (application/x-www-form-urlencoded) or application/json."
        )

    def kind(self) -> str:
        """Choose what to answer with: `"html"`, `"json"`, `"text"` or `"prometheus"`.

        Raises:
            RefusedError: `format` names none of these.
        """
        wanted = self.parameters().get("format")
        if wanted is not None:
            if wanted not in KINDS:
                raise RefusedError(400, "Bad request", f"format must be one of {', '.join(KINDS)}.")
            return wanted
        return self.accepted()

    def accepted(self) -> str:
        """Choose what to answer with by `Accept` alone."""
        accept = self.headers.get("accept")
        if accept is None or "/" not in accept:
            return "json"
        weights = {
            "json": fields.preference(accept, "application/json", "application/problem+json"),
            "html": fields.preference(accept, "text/html"),
            "text": fields.preference(accept, "text/plain"),
        }
        return max(weights, key=weights.__getitem__)


KINDS: Final = ("json", "html", "text", "prometheus")


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer; the safe headers are added to it."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = NEVER_KEPT

    def all_headers(self) -> list[tuple[str, str]]:
        """Return all of its fields."""
        own = [("content-type", self.content_type), ("content-length", str(len(self.body)))]
        return [*own, *self.headers, *SAFE_HEADERS]


def as_json(content: object, status: int = 200, kind: str = "application/json") -> Answered:
    """Answer with JSON."""
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return Answered(
        status, kind, text.replace("<", "\\u003c").encode()
    )  # no markup, whoever guesses the type


def as_text(text: str, status: int = 200) -> Answered:
    """Answer with plain text."""
    return Answered(status, "text/plain; charset=utf-8", text.encode("utf-8", "replace"))


def as_html(text: str, status: int = 200) -> Answered:
    """Answer with a page."""
    return Answered(status, "text/html; charset=utf-8", text.encode("utf-8", "replace"))


def see_other(location: str) -> Answered:
    """Send a browser on, after its form was worked on."""
    return Answered(303, "text/plain; charset=utf-8", b"", (*NEVER_KEPT, ("location", location)))


def problem(refused: RefusedError) -> Answered:
    """Answer with an error for programs (RFC 9457)."""
    content = {
        "type": "about:blank",
        "title": refused.title,
        "status": refused.status,
        "detail": refused.text,
        **refused.more,
    }
    return as_json(content, refused.status, "application/problem+json")


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise RefusedError(400, "Bad request", f"At most {MAX_FIELDS} fields are read.") from None


def _from_json(body: bytes) -> dict[str, list[str]]:
    try:
        content: object = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "Bad request", "The body is no JSON.") from None
    if not isinstance(content, dict):
        raise RefusedError(400, "Bad request", "The body must be a JSON object.")
    form: dict[str, list[str]] = {}
    members = cast("dict[str, Any]", content)
    for name, value in members.items():
        values = _listed(value)
        if not all(isinstance(each, str | int | float) and not isinstance(each, bool) for each in values):
            raise RefusedError(
                400, "Bad request", "Every member must be a text, a number, or a list of these."
            )
        form[name] = [str(each) for each in values]
    return form


def _listed(value: Any) -> list[Any]:
    if isinstance(value, list):
        return list(cast("Iterable[Any]", value))
    return [] if value is None else [value]
