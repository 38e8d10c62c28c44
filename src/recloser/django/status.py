"""The admin endpoint as Django views: the same documents as elsewhere, for sync and async stacks.

Without an `authorize` of your own, a user who may view or control breakers in Django's admin may do so here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from threading import Lock
from typing import Any, Final

from asgiref.sync import async_to_sync
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt

from recloser.django.lazy import registry
from recloser.registry import Registry
from recloser.status.access import NOBODY, Access, Authorize, Intent, ask_sync
from recloser.status.endpoint import Endpoint, intent_of
from recloser.status.messages import MAX_BODY, Asked, RefusedError

_PERMISSIONS: Final = {
    "read": ("recloser.view_breaker", "recloser.control_breaker"),
    "control": ("recloser.control_breaker",),
}


def by_permission(request: HttpRequest, intent: Intent) -> str | None:
    """Name the user if he has the admin's permission to view or to control breakers."""
    user: Any = getattr(request, "user", None)
    if user is None or not any(user.has_perm(permission) for permission in _PERMISSIONS[intent]):
        return None
    name: str = user.get_username()
    return name


def status_view(
    authorize: Authorize = by_permission, *, name: str = "recloser:overview"
) -> Callable[..., HttpResponse]:
    """Make the view of the admin endpoint; `include("recloser.django.urls")` has it ready.

    Args:
        authorize: Given the request and `"read"` or `"control"`, returns the actor's name to permit or `None` to
            deny; may be async. Whatever it raises denies.
        name: Of the URL that shows all breakers: what lies below it is the endpoint's.
    """
    endpoints = _Endpoints(authorize)

    # The endpoint's own token is checked, which needs no cookie.
    @csrf_exempt
    def view(request: HttpRequest, path: str = "") -> HttpResponse:
        endpoint = endpoints.present()
        base = reverse(name).rstrip("/")
        too_large = _length(request) > MAX_BODY
        asked = Asked(
            method=(request.method or "GET").upper(),
            path=f"/{path}",
            base=base,
            query=str(request.META.get("QUERY_STRING", "")),
            headers={field.lower(): value for field, value in request.headers.items()},
            body=b"" if too_large else request.body,
            native=request,
        )
        access = _access(authorize, asked)
        if too_large:
            refused = RefusedError(413, "Too large", f"A request has at most {MAX_BODY} bytes.")
            refused = endpoint.refusal(intent_of(asked), access) or refused
            answer = endpoint.refused(asked, access, refused)
        else:
            answer = endpoint.answer(asked, access)
        response = HttpResponse(answer.body, status=answer.status, content_type=answer.content_type)
        for field, value in answer.all_headers():
            response[field] = value
        return response

    return view


class _Endpoints:
    """The endpoint of the present settings' registry: tests override settings."""

    def __init__(self, authorize: Authorize) -> None:
        self._authorize = authorize
        self._lock = Lock()
        self._made: tuple[Registry, Endpoint] | None = None

    def present(self) -> Endpoint:
        wrapped: Any = registry
        now: Registry = wrapped._wrapped  # noqa: SLF001 - who stands behind it now
        with self._lock:
            if self._made is None or self._made[0] is not now:
                secret = now.declaration.secret or settings.SECRET_KEY
                trusted = settings.CSRF_TRUSTED_ORIGINS
                endpoint = Endpoint(
                    now, authorize=self._authorize, trusted_origins=trusted, secret=secret, is_live=False
                )
                self._made = now, endpoint
            return self._made[1]


def _access(authorize: Authorize, asked: Asked) -> Access:
    control = ask_sync(authorize, asked.native, "control", _await)
    if intent_of(asked) == "control":
        return NOBODY._replace(actor=control, reader=control, has_actions=True)
    reader = ask_sync(authorize, asked.native, "read", _await)
    return Access(bool(reader), control if reader else "", reader, True)


def _await(answer: Awaitable[str | None]) -> str | None:
    async def awaited() -> str | None:
        return await answer

    return async_to_sync(awaited)()


def _length(request: HttpRequest) -> int:
    text = str(request.META.get("CONTENT_LENGTH") or "0")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else MAX_BODY + 1
