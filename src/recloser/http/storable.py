"""What may be kept to answer others with later: safe by default, because an unmarked response may be personal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from recloser.http import fields
from recloser.http.keeping import ORDINARY, Keeping
from recloser.http.messages import Headers, Request, Response, joined

PUBLIC: Final = Keeping()
_NOTHING: Final = frozenset[str]()
_OF_CREDENTIALS: Final = frozenset({"credentials"})
_OF_A_USER: Final = frozenset({"credentials", "user"})

LONGEST_TARGET: Final = 2048  # characters of path and query
_HOST: Final = re.compile(r"(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.IGNORECASE)
# No standard's, but where APIs look for a key, and where proxies that sign users in put them.
WHO_ASKS: Final = (
    *(
        "x-api-key",
        "x-api-token",
        "x-auth-token",
        "x-access-token",
        "x-token",
        "x-session-token",
        "x-session-id",
    ),
    *("x-csrf-token", "x-csrftoken", "x-xsrf-token", "remote-user", "x-remote-user", "x-authenticated-user"),
    *("x-forwarded-user", "x-forwarded-email", "x-forwarded-preferred-username", "x-forwarded-access-token"),
    *("x-auth-request-user", "x-auth-request-email", "x-user", "x-user-id", "x-amzn-oidc-data"),
    *("x-amzn-oidc-identity", "x-goog-authenticated-user-email", "x-goog-iap-jwt-assertion"),
    *("cf-access-jwt-assertion", "x-ms-client-principal", "x-client-cert", "x-ssl-client-cert"),
)


@dataclass(frozen=True, slots=True)
class RequestRule:
    """A reason in the request not to keep its response.

    Attributes:
        section: The standard's section, or `personal` where the rule is recloser's own.
        reason: What is the matter, in a few words.
        applies: Tells whether it is the matter.
        speaks_of: What it is about, where an author's word or a partition can lift it.
    """

    section: str
    reason: str
    applies: Callable[[Request], bool]
    speaks_of: Literal["", "credentials", "user"] = ""


@dataclass(frozen=True, slots=True)
class ResponseRule:
    """A reason in a response not to keep it; attributes as for `RequestRule`."""

    section: str
    reason: str
    applies: Callable[[Response], bool]
    speaks_of: Literal["", "credentials", "user"] = ""


Rule = TypeVar("Rule", RequestRule, ResponseRule)


def _says(*names: str) -> Callable[[Response], bool]:
    def applies(response: Response) -> bool:
        return not fields.directives(response.header("cache-control")).keys().isdisjoint(names)

    return applies


def _carries(*names: str) -> Callable[[Request], bool]:
    def applies(request: Request) -> bool:
        return any(name in names for name, _value in request.headers)

    return applies


def _has_content(request: Request) -> bool:
    return (
        request.content
        or request.header("content-length") not in {None, "0"}
        or request.header("transfer-encoding") is not None
    )


REQUEST_RULES: Final = (
    RequestRule("RFC 9111 §3", "the method is not GET", lambda request: request.method != "GET"),
    RequestRule("RFC 9110 §9.3.1", "content may have selected the answer", _has_content),
    RequestRule(
        "RFC 9111 §3.5",
        "the request carries credentials",
        _carries("authorization", "proxy-authorization"),
        "credentials",
    ),
    RequestRule("personal", "the request carries a cookie", _carries("cookie"), "credentials"),
    RequestRule("personal", "the request says who asks", _carries(*WHO_ASKS), "credentials"),
    RequestRule(
        "personal",
        "a credential of a security scheme was used",
        lambda request: request.credential,
        "credentials",
    ),
    RequestRule("personal", "a session or user was involved", lambda request: request.personal, "user"),
    RequestRule("personal", "a token, nonce or message is for one answer only", lambda request: request.once),
    RequestRule(
        "RFC 9111 §5.2.1.5",
        "the request says no-store",
        lambda request: "no-store" in fields.directives(request.header("cache-control")),
    ),
    RequestRule("RFC 9110 §4.2", "no http or https", lambda request: request.scheme not in {"http", "https"}),
    RequestRule("RFC 9110 §7.2", "the host is malformed", lambda request: not _HOST.fullmatch(request.host)),
    RequestRule(
        "RFC 9110 §4.1",
        "the target is too long to be a key",
        lambda request: len(request.raw_path) + len(request.query) > LONGEST_TARGET,
    ),
)
_POLICIES: Final = ("content-security-policy", "content-security-policy-report-only")
STATUS_RULE: Final = ResponseRule(
    "RFC 9111 §3", "its status is none that the plan keeps", lambda response: response.status not in ORDINARY
)
RESPONSE_RULES: Final = (
    ResponseRule("RFC 9111 §5.2.2.5", "it says no-store", _says("no-store")),
    ResponseRule("RFC 9111 §5.2.2.4", "it says no-cache", _says("no-cache")),
    ResponseRule("RFC 9111 §5.2.2.7", "it says private", _says("private"), "user"),
    ResponseRule(
        "RFC 9111 §7.3", "it sets a cookie", lambda response: response.header("set-cookie") is not None
    ),
    ResponseRule(
        "RFC 9111 §4.1", "it says Vary: *", lambda response: "*" in fields.members(response.header("vary"))
    ),
    ResponseRule(
        "RFC 9111 §3.3",
        "it is a part of the whole",
        lambda response: response.header("content-range") is not None,
    ),
    ResponseRule(
        "HTML §9.2",
        "it is a stream of events, which is never whole",
        lambda response: (response.header("content-type") or "").lower().startswith("text/event-stream"),
    ),
    ResponseRule(
        "CSP Level 3 §2.3.1",
        "a nonce is for one answer only",
        lambda response: any("'nonce-" in (response.header(name) or "").lower() for name in _POLICIES),
    ),
)


def obstacle(
    request: Request, response: Response, keeping: Keeping = PUBLIC
) -> RequestRule | ResponseRule | None:
    """Find the first rule that forbids to keep a response.

    Args:
        request: What was asked.
        response: Its answer; the body is not looked at.
        keeping: For whom. A partition is one user's: there his credentials forbid nothing, nor that the response
            is his (`private`). Its author's word, `shared`, lifts what is said of credentials alone.

    Returns:
        The rule, or `None` if the response may be kept.
    """
    lifted = _lifted(keeping)
    of_request = next((rule for rule in _standing(REQUEST_RULES, lifted) if rule.applies(request)), None)
    if of_request is None and response.status not in keeping.statuses:
        return STATUS_RULE
    return of_request or next(
        (rule for rule in _standing(RESPONSE_RULES, lifted) if rule.applies(response)), None
    )


def _lifted(keeping: Keeping) -> AbstractSet[str]:
    if keeping.per is not None:
        return _OF_A_USER
    return _OF_CREDENTIALS if keeping.shared else _NOTHING


def _standing(rules: tuple[Rule, ...], lifted: AbstractSet[str]) -> Iterator[Rule]:
    return (rule for rule in rules if rule.speaks_of not in lifted)


# A good answer is no longer the last good one once the same public request is answered by one of these.
_OUTDATING: Final = frozenset({200, 204, 301, 302, 303, 307, 308, 401, 403, 404, 410, 451})


def outdates(request: Request, response: Response, keeping: Keeping = PUBLIC) -> bool:
    """Tell whether a response that may not be kept shows that an older one must go (RFC 9111 §4).

    The resource moved, vanished, became private or asks not to be stored any more. Wrong credentials show nothing of
    what is kept for others, not even if that is `shared`.
    """
    lifted = _NOTHING if keeping.per is None else _OF_A_USER
    return response.status in _OUTDATING and not any(
        rule.applies(request) for rule in _standing(REQUEST_RULES, lifted)
    )


_UNKEPT: Final = frozenset(
    {
        # RFC 9111 §3.1 and RFC 9110 §7.6.1: they belong to one connection.
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("proxy-authenticate", "proxy-authentication-info", "proxy-authorization"),
        # Made anew for each answer: RFC 9111 §5.1, RFC 9110 §8.6.
        *("age", "content-length"),
        # They speak of one request, its sender or its moment.
        *("set-cookie", "server-timing", "retry-after", "x-process-time", "x-runtime"),
        *(
            "request-id",
            "x-request-id",
            "x-correlation-id",
            "x-trace-id",
            "x-amzn-trace-id",
            "x-amzn-requestid",
        ),
        *("x-cloud-trace-context", "traceparent", "tracestate", "traceresponse", "sentry-trace", "baggage"),
        *("ratelimit", "ratelimit-policy"),
    }
)
_UNKEPT_PREFIXES: Final = ("access-control-", "ratelimit-", "x-ratelimit-", "x-rate-limit-", "x-b3-")


def kept_headers(headers: Headers) -> Headers:
    """Leave out the headers that an answer to somebody else must not repeat (RFC 9111 §3.1)."""
    dropped = _UNKEPT | fields.members(joined(headers, "connection"))
    return tuple(
        (name, value)
        for name, value in headers
        if name not in dropped and not name.startswith(_UNKEPT_PREFIXES)
    )
