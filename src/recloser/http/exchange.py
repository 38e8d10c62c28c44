"""One request over ASGI: what it met, what answers it if a circuit refuses it or it fails, and how it ended."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Final, TypeAlias

from recloser.core.scope import current
from recloser.http.body import Body
from recloser.http.counted import failure_answered, failure_raised
from recloser.http.description import describe, is_personal
from recloser.http.failure import CallFailedError, Trouble, log_hidden
from recloser.http.fault import FIRST_FAILING, find_refusal
from recloser.http.guarded import guards_of
from recloser.http.holder import Holder, Met
from recloser.http.keeping import Per, ask, pers_of
from recloser.http.messages import SAFE_METHODS, Request, Response, joined
from recloser.http.plan import Degraded, Plan
from recloser.http.responder import Responder, RouteFacts
from recloser.http.tee import Tee, tee
from recloser.http.wire import Answer, ASGIScope, Close, Message, Receive, Send, nowhere, text

FactsOf: TypeAlias = Callable[[ASGIScope], RouteFacts]

_GONE: Final[Message] = {}  # stands for the head of an answer whose client went away


def present_exchange() -> Exchange | None:
    """Return the present request, if it is one that a middleware watches."""
    exchange = current.get()
    return exchange if isinstance(exchange, Exchange) else None


class Exchange(Holder):
    """One HTTP request and its answer, as it passes the middleware.

    Args:
        responder: Of the application.
        facts: Tells what is known of the route.
        scope: The ASGI scope.
        send: The server's side.
        native: Makes the framework's own request of the scope.

    Attributes:
        checks: Tells whether access was checked before a guard that let the request pass early; unset where no such
            guard answers failures.
    """

    __slots__ = ("_body", "_content", "_facts", "_head", "_native", "_scope", "_send", "_tee", "checks")

    checks: Callable[[ASGIScope], bool]
    _body: Body  # unset where no plan of the application has to see one
    _content: bool  # unset where a header must announce content

    def __init__(
        self,
        responder: Responder,
        facts: FactsOf,
        scope: ASGIScope,
        send: Send,
        native: Callable[[ASGIScope], object] = dict,
    ) -> None:
        super().__init__(responder)
        self._native = native
        self._facts = facts
        self._scope = scope
        self._send = send
        self._head: Message | None = None
        self._tee: Tee | None = None

    @property
    def scope(self) -> ASGIScope:
        """The ASGI scope, as far as the router has filled it."""
        return self._scope

    @property
    def started(self) -> bool:
        """Whether the response has started: nothing can replace it any more."""
        return self._head is not None

    def request(self, pers: Iterable[Per] = ()) -> Request:
        """Describe the request.

        Args:
            pers: What tells plans who asks.
        """
        facts = self._facts(self._scope)
        for per in pers:
            # A dependency was asked by the framework, or it is not known: it must not be called with a request.
            if per not in self.partitions and not facts.injects:
                self.identified(per, ask(per, self._native(self._scope)))
        request = describe(self._scope, facts, self.partitions)
        request.content = self._had_content
        return request

    def plan_for(self, error: Trouble) -> Plan:
        """Choose the plan that answers; of a secured route, no page that signed-in users share before it has checked them."""
        plan = super().plan_for(error)
        is_checked = self.met is not None and self.guarded
        return plan if is_checked or not self._facts(self._scope).secured else plan.unshared()

    def route(self) -> Iterable[Met]:
        """Return the breakers and plans of the route's guards, reached or not, outermost first."""
        guards = (*self._facts(self._scope).guards, *guards_of(self._scope.get("endpoint")))
        return [guard.met(self.responder) for guard in guards]

    def reading(self, receive: Receive) -> Receive:
        """Return what the application receives by.

        A copy is kept of bodies that a plan of the route has to see, and content that no header announces is noticed.
        """
        if self._scope["method"] in SAFE_METHODS:
            self._content = False
            return self._noticing(receive)
        if not self.responder.reads_bodies:
            return receive
        self._body = Body(receive, self._longest_body)
        return self._body.receive

    def _noticing(self, receive: Receive) -> Receive:
        async def notice() -> Message:
            message = await receive()
            if message.get("body"):
                self._content = True
            return message

        return notice

    @property
    def _had_content(self) -> bool:
        return getattr(self, "_content", False)

    def _longest_body(self) -> int:
        return max((plan.reads_body for _, plan in self.route() if plan is not None), default=0)

    # -- the application answers ---------------------------------------------------------------------------

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on. No coroutine of its own where it can be helped: this is every request's path."""
        if message["type"] == "http.response.start":
            self._head = message
            if self._scope["method"] not in SAFE_METHODS:
                self._changed(message["status"])
            if (message["status"] >= FIRST_FAILING or self._troubles) and self._is_bad(message["status"]):
                return self._begin_badly(message)
            if self.met is None:
                return self._send(message)
            self._begin(message)
        elif self.met is None:
            return self._send(message)
        else:
            self._continue(message)
        return self._to_client(message) if self.holds else self._send(message)

    async def _to_client(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            self._head = _GONE
            raise

    def _is_bad(self, status: int) -> bool:
        return not self.replaced and (status >= FIRST_FAILING or bool(self.failed))

    async def _begin_badly(self, head: Message) -> None:
        # An application that makes an answer of an exception sends it while it handles that.
        answer = await self._instead(head, sys.exception())
        if answer is not None:
            await answer.send(self._to_client)
            self._send = nowhere
            return
        if self.met is not None:
            self._begin(head)
        await self._to_client(head)

    def _begin(self, head: Message) -> None:
        for hold in self.holds:
            if hold.terms.times:
                hold.answered()
        if (
            self.keeps
            and not (self.replaced or self.troubled or head.get("trailers", False))
            and not (head["status"] < 400 and sys.exception() is not None)  # a handler made it of an error
        ):
            response = Response(head["status"], text(head.get("headers", ())))
            request = self.request(pers_of(self.keeps))
            self._tee = tee(self.responder.cache, request, response, self.keeps)

    def _continue(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.body":
            if self._tee is not None:
                self._tee.take(message.get("body", b""))
            if not message.get("more_body", False):
                self._end(before_trailers=True)
        elif kind == "http.response.trailers":
            if not message.get("more_trailers", False):
                self._end()
        elif kind in {"http.response.pathsend", "http.response.zerocopysend"}:
            self._tee = None  # the server reads the file, and nobody here sees it
            if not message.get("more_body", False):
                self._end(before_trailers=True)

    def _end(self, *, before_trailers: bool = False) -> None:
        if self._tee is not None:
            # Asked again: what happened since the start counts too.
            if not self.troubled and not self._had_content:
                self._tee.keep(personal=is_personal(self._scope, self._facts(self._scope)))
            self._tee = None
        head = self._head
        if head is None or not self.holds or (before_trailers and head.get("trailers", False)):
            return
        status: int = head["status"]
        self.ended(status, None if status < FIRST_FAILING else _retry_after(head))

    def _changed(self, status: int) -> None:
        if status < 400 and self.responder.cache.holds(self._scope["path"]):
            self.responder.cache.forget(self.request())  # RFC 9111 §4.4

    # -- a plan answers instead ----------------------------------------------------------------------------

    def interrupted(self, error: BaseException) -> Trouble | None:
        """Settle what is held after an exception, and return the refusal or failure that can still be answered."""
        if self.met is not None:
            self.broke(None if self._head is _GONE else error)
            self._note_origin(error)
        return None if self.started else find_refusal(error) or failure_raised(self, error)

    async def answer(self, trouble: Trouble) -> Answer | Close:
        """Answer as the plan says; the response must not have started.

        Returns:
            An ASGI application that sends the answer.
        """
        self.replaced = True
        if self.met is not None and not isinstance(trouble, CallFailedError):
            self._note_origin(trouble)
        plan = self.plan_for(trouble)
        request = await self._asked(plan)
        response = await self.responder.answer(request, trouble, plan)
        self._tell(request, trouble)
        return Answer(response)

    def replaced_by(self, request: Request, refusal: Trouble, degraded: Degraded) -> Answer:
        """Make a strategy's answer the request's own."""
        self.replaced = True
        self._tell(request, refusal)
        return Answer(self.responder.finished(request, refusal, degraded))

    async def _instead(self, head: Message, error: BaseException | None) -> Answer | None:
        if self.met is not None:
            if error is not None:
                self._note_origin(error)
            if not self.guarded and hasattr(self, "checks"):
                self.guarded = self.checks(self._scope)
        failure = failure_answered(self, head["status"], _retry_after(head), error)
        if failure is None:
            return None
        plan = self.plan_for(failure)
        request = await self._asked(plan)
        response = await self.responder.attempt(request, failure, plan)
        if response is None:
            return None
        self.replaced = True
        self._tell(request, failure)
        return Answer(response)

    async def _asked(self, plan: Plan) -> Request:
        request = replace(self.request(plan.pers), native=self._native(self._scope))
        if not plan.reads_body or not hasattr(self, "_body"):
            return request
        return replace(
            request,
            body=await self._body.whole(),
            root=self._scope.get("app_root_path", self._scope.get("root_path", "")),
            secrets=self._facts(self._scope).secrets,
        )

    def _tell(self, request: Request, trouble: Trouble) -> None:
        if isinstance(trouble, CallFailedError):
            log_hidden(request, trouble)
        self._scope.setdefault("state", {})["degraded"] = trouble.breaker

    def _note_origin(self, error: BaseException) -> None:
        # What comes out of the endpoint itself comes after all that the route checks.
        if not self.guarded:
            runners = self._facts(self._scope).runners
            self.guarded = any(frame.f_code in runners for frame, _ in traceback.walk_tb(error.__traceback__))


def _retry_after(head: Message) -> str | None:
    return None if head["status"] < 400 else joined(text(head.get("headers", ())), "retry-after")
