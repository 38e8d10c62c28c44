"""One request as Django handles it: what it met, what is to be answered instead of its view, how it ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, StreamingHttpResponse

from recloser.core.errors import CallRejectedError
from recloser.core.scope import current
from recloser.django.messages import body_of, describe, head, is_for_once, is_personal
from recloser.django.streams import close_unsent, watch
from recloser.django.views import checks_nothing_outside, passed_through, view_guards
from recloser.http.counted import failure_answered, failure_raised
from recloser.http.failure import CallFailedError, Trouble
from recloser.http.fault import find_refusal
from recloser.http.guarded import Guarded
from recloser.http.holder import Holder, Met
from recloser.http.keeping import Keeping
from recloser.http.messages import SAFE_METHODS, Request, Secrets
from recloser.http.plan import Plan
from recloser.http.responder import Responder
from recloser.http.tee import Tee, tee

_NOBODY: Final = frozenset[Keeping]()


class Refused(HttpResponse):
    """Stands for an answer that the middleware is going to give: exceptions are handled before it."""

    status_code = 503


class Exchange(Holder):
    """One request's guards and troubles.

    Args:
        responder: Of the settings at its start.
        request: Django's.

    Attributes:
        trouble: What the plan has to answer for.
        passed_over: An exception of the view was left to Django, and so is the answer that it makes of it.
    """

    __slots__ = ("_request", "passed_over", "trouble")

    def __init__(self, responder: Responder, request: HttpRequest) -> None:
        Holder.__init__(self, responder)  # every request pays for `super()`
        self._request = request
        self.trouble: Trouble | None = None
        self.passed_over = False

    @property
    def native(self) -> HttpRequest:
        """Django's own request."""
        return self._request

    def request(self) -> Request:
        """Describe the request."""
        return replace(describe(self._request), partitions=self.partitions)

    def plan_for(self, error: Trouble) -> Plan:
        """Choose the plan that answers; no page that users share before what may check access has let them pass."""
        plan = super().plan_for(error)
        if self.met is not None and self.guarded:
            return plan
        unshared = plan.unshared()
        return plan if unshared is plan or checks_nothing_outside(*self._view()) else unshared

    def route(self) -> Iterable[Met]:
        """Return the breakers and plans of the view's guards, reached or not, outermost first."""
        return [guard.met(self.responder) for guard in view_guards(*self._view())]

    def asked(self, plan: Plan) -> Request:
        """Describe the request to the plan that answers it."""
        request = self.request()
        if not plan.reads_body:
            return request
        root = self._request.META.get("SCRIPT_NAME", "").rstrip("/")
        secrets = Secrets(cookies=frozenset({settings.SESSION_COOKIE_NAME}))
        return replace(request, body=body_of(self._request, plan.reads_body), root=root, secrets=secrets)

    def meet(self, met: Met, replays: frozenset[Keeping]) -> None:
        """Note that the request depends on a breaker, before its view has read the body that a plan has to see."""
        super().meet(met, replays)
        if met[1] is not None and met[1].reads_body and self._request.method not in SAFE_METHODS:
            body_of(self._request, met[1].reads_body)

    # -- while the view runs -------------------------------------------------------------------------------

    def enter(self, guards: tuple[Guarded, ...]) -> Refused | None:
        """Ask the breakers of a route before its view has run."""
        try:
            for guard in guards:
                guard.enter(self, access_checked=False)
        except CallRejectedError as refusal:
            return self.raised_by_view(refusal)
        return None

    def raised_by_view(self, error: BaseException) -> Refused | None:
        """Settle what is held by an exception of the view; it is answered if it is a refusal and nothing else."""
        if self.met is not None:
            self.broke(error)
        self.trouble = find_refusal(error)
        return None if self.trouble is None else Refused()

    def left_view(self, error: Exception) -> Refused | None:
        """An exception has left the view, which is answered if it is a refusal, or a failure that a plan answers."""
        refused = self.raised_by_view(error)
        if self.met is not None and not self.guarded:
            self.guarded = passed_through(error, *self._view())
        if refused is not None:
            return refused
        self.trouble = failure_raised(self, error)
        self.passed_over = self.trouble is None
        return None if self.trouble is None else Refused()

    def _view(self) -> tuple[object, str]:
        match = self._request.resolver_match
        return None if match is None else match.func, (self._request.method or "GET").lower()

    # -- when it has run -----------------------------------------------------------------------------------

    def answered(self, response: HttpResponseBase) -> CallFailedError | None:
        """Tell whether the view's answer is a failure that a plan may answer instead, and settle what is held by it."""
        if self.passed_over:
            return None
        if self.met is not None and not self.guarded:
            self.guarded = checks_nothing_outside(*self._view())
        return failure_answered(self, response.status_code, response.get("Retry-After"))

    def replace(self, response: HttpResponseBase) -> None:
        """Let go of the view's answer."""
        self.replaced = True
        close_unsent(response)

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
        if copy is not None and not self.troubled:
            copy.keep(personal=is_personal(self._request), once=is_for_once(self._request))
        self.ended(response.status_code, response.get("Retry-After"))

    def wanted(self, response: HttpResponseBase) -> frozenset[Keeping]:
        """Tell for whom plans would keep the view's answer, as far as is known by now."""
        if self.met is None or self.replaced or self.troubled or isinstance(response, FileResponse):
            return _NOBODY
        return self.keeps if self._request.method == "GET" else _NOBODY

    def _copy(self, response: HttpResponseBase) -> Tee | None:
        wanted = self.wanted(response)
        if not wanted:
            return None
        return tee(self.responder.cache, self.request(), head(response), wanted)

    def _changed(self, status: int) -> None:
        if status < 400 and self.responder.cache.holds(self._request.path):
            self.responder.cache.forget(self.request())  # RFC 9111 §4.4


def present() -> Exchange | None:
    """Return the request that is being handled."""
    exchange = current.get()
    return exchange if isinstance(exchange, Exchange) else None
