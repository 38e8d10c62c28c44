"""Between Django's requests and responses and those that plans speak of."""

from __future__ import annotations

from io import SEEK_END
from typing import Final

from django.conf import settings
from django.core.exceptions import DisallowedHost, RequestDataTooBig
from django.http import HttpRequest, HttpResponse, RawPostDataException
from django.http.response import HttpResponseBase
from django.utils import timezone, translation
from django.utils.functional import SimpleLazyObject, empty

from recloser.http.messages import ANNOUNCING, Headers, Request, Response

# No client can send a header of such a name.
_ACTIVE: Final = frozenset({":language", ":timezone"})


def describe(request: HttpRequest) -> Request:
    """Describe a request; the active language and time zone select its answer like headers do."""
    headers = tuple((name.lower(), value) for name, value in request.headers.items() if value)
    active = {
        ":language": translation.get_language() or "" if settings.USE_I18N else "",
        ":timezone": timezone.get_current_timezone_name() if settings.USE_TZ else "",
    }
    return Request(
        method=request.method or "GET",
        scheme=request.scheme or "http",
        host=_host(request),
        path=request.path,
        raw_path=request.path,
        query=request.META.get("QUERY_STRING", ""),
        headers=(*headers, *active.items()),
        selecting=_ACTIVE,
        personal=is_personal(request),
        content=_has_unannounced_content(request),
        once=is_for_once(request),
        native=request,
    )


def _has_unannounced_content(request: HttpRequest) -> bool:
    scope = getattr(request, "scope", None)  # WSGI knows no content without a header
    if scope is None or scope.get("http_version", "1.1") in ANNOUNCING:
        return False
    known = request.__dict__
    if "_body" in known:
        return bool(known["_body"])
    stream = known["_stream"]  # ASGI's handler has put all of it into a file
    if stream.closed or not stream.seekable():
        return True
    read = stream.tell()
    end = stream.seek(0, SEEK_END)
    stream.seek(read)
    return bool(end)


def body_of(request: HttpRequest, longest: int) -> bytes | None:
    """Return a request's body; `None` if it is longer (bytes), broken off, or read by somebody who kept none of it.

    Django keeps what is read here, so that the view can read it again.
    """
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > longest:
            return None
        body = request.body
    except (ValueError, OSError, RawPostDataException, RequestDataTooBig):
        return None
    return body if len(body) <= longest else None


def _host(request: HttpRequest) -> str:
    try:
        return request.get_host()
    except DisallowedHost:
        return ""


def is_personal(request: HttpRequest) -> bool:
    """Tell whether a session or a user had a part in the answer so far.

    Outer middleware will mark the response with what it knows of them only later.
    """
    known = request.__dict__
    session = known.get("session")
    return (
        (session is not None and (session.accessed or session.modified))
        or _has_user(known.get("user"))
        or bool(known.keys() & {"_cached_user", "_acached_user"})
        or known.get("auth") is not None  # who DRF or django-ninja found by a credential of any form
        or bool(request.META.get("REMOTE_USER"))
    )


def is_for_once(request: HttpRequest) -> bool:
    """Tell whether a CSRF token, a nonce or a message had a part in the answer so far."""
    known = request.__dict__
    messages = known.get("_messages")
    return (
        bool(known.get("_csp_nonce"))
        or (messages is not None and (messages.used or messages.added_new))
        or bool(request.META.get("CSRF_COOKIE_NEEDS_UPDATE"))
    )


def _has_user(user: object) -> bool:
    if _is_lazy(user) and vars(user).get("_wrapped", empty) is empty:
        return False  # nobody has looked
    return user is not None and bool(getattr(user, "is_authenticated", True))


def _is_lazy(user: object) -> bool:
    return type(user) is SimpleLazyObject


def head(response: HttpResponseBase) -> Response:
    """Describe a response without its body."""
    headers: Headers = tuple((name.lower(), value) for name, value in response.items())
    cookies: Headers = tuple(("set-cookie", morsel.OutputString()) for morsel in response.cookies.values())
    return Response(response.status_code, headers + cookies)


def to_django(answer: Response) -> HttpResponse:
    """Make Django's response of an answer."""
    response = HttpResponse(answer.body, status=answer.status)
    del response.headers["Content-Type"]
    for name, _ in answer.headers:
        response.headers[name.title()] = answer.header(name) or ""
    return response
