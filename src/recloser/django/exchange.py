"""One request as Django handles it: what it met, how it is answered if a circuit refuses it, how it ended."""

from __future__ import annotations

from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, StreamingHttpResponse

from recloser.core.errors import CallRejectedError
from recloser.core.scope import current
from recloser.django.messages import describe, head, is_personal
from recloser.django.streams import watch
from recloser.http.exchange import find_refusal
from recloser.http.guarded import Guarded, guards_of
from recloser.http.holder import Holder, Met
from recloser.http.messages import SAFE_METHODS, Request
from recloser.http.plan import Plan
from recloser.http.responder import Responder
from recloser.http.tee import Tee, tee


class Refused(HttpResponse):
    """Stands for an answer that the middleware is going to give: exceptions are handled before it."""

    status_code = 503


class Exchange(Holder):
    """One request's guards and troubles.

    Args:
        responder: Of the settings at its start.
        request: Django's.

    Attributes:
        refusal: What the plan has to answer for.
    """

    __slots__ = ("_guards", "_request", "refusal")

    def __init__(self, responder: Responder, request: HttpRequest) -> None:
        super().__init__(responder)
        self._request = request
        self._guards: tuple[Guarded, ...] = ()
        self.refusal: CallRejectedError | None = None

    def request(self) -> Request:
        """Describe the request."""
        return describe(self._request)

    # -- while the view runs -------------------------------------------------------------------------------

    def enter(self, guards: tuple[Guarded, ...]) -> Refused | None:
        """Ask the breakers of a route before its view has run."""
        self._guards = guards
        try:
            for guard in guards:
                guard.enter(self)
        except CallRejectedError as refusal:
            return self.raised_by_view(refusal)
        finally:
            self.guarded = False  # the view's own checks of access are still to come
        return None

    def raised_by_view(self, error: BaseException) -> Refused | None:
        """Settle what is held by an exception of the view; it is answered if it is a refusal and nothing else."""
        if self.met is not None:
            self.broke(error)
        self.refusal = find_refusal(error)
        return None if self.refusal is None else Refused()

    def left_view(self, error: CallRejectedError) -> None:
        """Note that the refusal came out of the view itself, which checks access before its own route's breakers."""
        if any(guard.name == error.breaker for guard in self._guards):
            self.guarded = True

    # -- when it has run -----------------------------------------------------------------------------------

    def plan(self, refusal: CallRejectedError) -> Plan:
        """Choose the plan that answers a refusal; from now on the answer is recloser's."""
        plan = self.plan_for(refusal, self._route_plans())
        if self.met is not None:
            self.replaced = True
        return plan

    def _route_plans(self) -> list[Met]:
        match = self._request.resolver_match
        view = None if match is None else match.func
        return [
            guard.met(self.responder) for guard in view_guards(view, (self._request.method or "GET").lower())
        ]

    def completed(self, response: HttpResponseBase) -> None:
        """The view has answered: keep what may be kept, and settle what is held, or do so when its stream ends."""
        if self._request.method not in SAFE_METHODS:
            self._changed(response.status_code)
        if self.met is None:
            return
        for hold in self.holds:
            hold.answered()
        copy = self._copy(response)
        if isinstance(response, StreamingHttpResponse) and not isinstance(response, FileResponse):
            if copy is not None or self.holds:
                watch(self, response, copy)
            return
        if copy is not None and isinstance(response, HttpResponse):
            copy.take(response.content)
        self.finished(response, copy)

    def finished(self, response: HttpResponseBase, copy: Tee | None) -> None:
        """The body is whole."""
        # Asked again: what happened since the start counts too.
        if copy is not None and not self.troubled and not is_personal(self._request):
            copy.keep()
        self.ended(response.status_code, response.get("Retry-After"))

    def _copy(self, response: HttpResponseBase) -> Tee | None:
        if not self.keeps or self.replaced or self.troubled or isinstance(response, FileResponse):
            return None
        return tee(self.responder.cache, self.request(), head(response))

    def _changed(self, status: int) -> None:
        if status < 400 and self.responder.cache.holds(self._request.path):
            self.responder.cache.forget(self.request())  # RFC 9111 §4.4


def present() -> Exchange | None:
    """Return the request that is being handled."""
    exchange = current.get()
    return exchange if isinstance(exchange, Exchange) else None


def view_guards(view: object, method: str) -> tuple[Guarded, ...]:
    """Return the guards on a view function, or on the class behind it and its handler of a method."""
    found = list(guards_of(view))
    behind: object = getattr(view, "view_class", None) or getattr(view, "cls", None)
    actions: dict[str, str] = getattr(view, "actions", None) or {}
    for name in ("dispatch", actions.get(method, method)):
        found += guards_of(getattr(behind, name, None))
    return tuple(dict.fromkeys(found))
