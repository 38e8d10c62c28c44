"""The admin endpoint, whatever framework carries it: what it answers to whom, in which format."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any, Final

from recloser.core.log import logger
from recloser.registry import Registry, UnknownBreakerError
from recloser.status import drawer, page, plaintext
from recloser.status.access import Access, Authorize, Guardian, Intent
from recloser.status.actions import LABELS, Outcome, carry_out, read_action, read_wish
from recloser.status.frame import View
from recloser.status.markup import link
from recloser.status.messages import (
    Answered,
    Asked,
    RefusedError,
    as_html,
    as_json,
    as_text,
    problem,
    see_other,
)
from recloser.status.query import Query
from recloser.status.sampler import INTERVAL, Rates, Sampler
from recloser.status.sight import Sight
from recloser.status.snapshot import detail, document, schema
from recloser.steering import Action

STATIC: Final = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_UNSIGNED: Final = "status: no SECRET is declared, so that a form's token is good in the worker alone that made it; declare SECRET"

_FOR_NOBODY: Final = (
    "status: 404 for everybody, as nobody may look: give authorize, or public=True to let anybody look"
)


class Endpoint:
    """Answers requests for the status of a registry.

    Args:
        registry: The breakers.
        authorize: Tells who a request is; without it there are no actions.
        public: Without `authorize`, anybody may look.
        trusted_origins: Origins besides our own that may send actions.
        secret: What tokens are signed with; by default the declared one.
        interval: Between two looks, however many readers there are (seconds).
        is_live: The server can push changes.

    Attributes:
        sampler: Looks.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        authorize: Authorize | object | None = None,
        public: bool = False,
        trusted_origins: Collection[str] = (),
        secret: str | None = None,
        interval: float = INTERVAL,
        is_live: bool = True,
    ) -> None:
        self.registry = registry
        self.authorize = authorize
        self.public = public
        self.sampler = Sampler(registry, interval=interval)
        self._is_live = is_live
        self._is_told = False
        secret = secret or registry.declaration.secret
        if authorize is not None and secret is None and registry.declaration.store is not None:
            logger().warning(_UNSIGNED)
        self._guardian = Guardian(secret, trusted_origins)

    def refusal(self, intent: Intent, access: Access) -> RefusedError | None:
        """Say why a request may not be answered; `None`: it may."""
        if not access.has_actions and (intent == "control" or not access.may_read):
            if not access.may_read and not self._is_told:
                self._is_told = True
                logger().warning(_FOR_NOBODY)
            return RefusedError(404, "Not found", "There is nothing here.")
        if intent == "control" and not access.actor:
            return RefusedError(403, "Forbidden", "You may not act here.")
        if intent == "read" and not access.may_read:
            return RefusedError(403, "Forbidden", "You may not look here.")
        return None

    def answer(self, asked: Asked, access: Access) -> Answered:
        """Answer a request. May wait for the store.

        Args:
            asked: The request.
            access: What it may do.
        """
        try:
            refused = self.refusal(intent_of(asked), access)
            if refused is not None:
                raise refused
            return self._routed(asked, access)
        except RefusedError as refused:
            return self.refused(asked, access, refused)

    def refused(self, asked: Asked, access: Access, refused: RefusedError) -> Answered:
        """Answer with an error, in the format that is asked for."""
        kind = asked.accepted()
        if kind == "html":
            view = self._view(asked, access)
            pieces = asked.path.strip("/").split("/")
            name = pieces[1] if pieces[0] == "b" and len(pieces) == 3 else ""
            answer = as_html(page.error(view, refused.title, refused.text, name), refused.status)
        elif kind == "text":
            answer = as_text(f"{refused.title}: {refused.text}\n", refused.status)
        else:
            answer = problem(refused)
        allow: str | None = refused.more.get("allow")
        return answer if allow is None else replace(answer, headers=(*answer.headers, ("allow", allow)))

    def _routed(self, asked: Asked, access: Access) -> Answered:  # noqa: PLR0911 - one for each route
        pieces = asked.path.strip("/").split("/") if asked.path.strip("/") else []
        match pieces:
            case ["static", name] if name in STATIC:
                return self._reading(asked, lambda: _static(name))
            case []:
                return self._reading(asked, lambda: self._overview(asked, access))
            case ["health"]:
                return self._reading(asked, lambda: self._health(asked))
            case ["schema"]:
                return self._reading(asked, lambda: as_json(schema(), kind="application/schema+json"))
            case ["b", name]:
                return self._reading(asked, lambda: self._one(asked, access, name))
            case ["b", name, action]:
                return self._act(asked, access, read_action(action), name)
            case ["bulk", action]:
                return self._act(asked, access, read_action(action), None)
            case _:
                raise RefusedError(404, "Not found", "There is nothing here.")

    def _reading(self, asked: Asked, answer: Callable[[], Answered]) -> Answered:
        if asked.method not in ("GET", "HEAD"):
            raise RefusedError(
                405, "Method not allowed", "This can only be read: use GET.", allow="GET, HEAD"
            )
        return answer()

    def _overview(self, asked: Asked, access: Access) -> Answered:
        kind, query = asked.kind(), read_query(asked)
        if kind == "prometheus":
            return self._prometheus(asked)
        sight, rates = self.sampler.take()
        found = document(sight, query, rates)
        if kind == "html":
            return as_html(page.overview(self._view(asked, access), found, query, rates))
        if kind == "text":
            return as_text(plaintext.overview(found))
        return as_json(found | self._control(access))

    def _one(self, asked: Asked, access: Access, name: str) -> Answered:
        kind, parameters = asked.kind(), asked.parameters()
        sight, rates = self.sampler.take(fresh=True)  # whose epoch an operator acts on
        found = self._detail(sight, rates, name)
        if kind == "html":
            done = parameters.get("done", "")
            told = f"{LABELS[Action(done)][0]}: done." if done in list(Action) else ""
            view = self._view(asked, access)
            return as_html(drawer.one(view, found, done=told, part="part" in parameters))
        if kind == "text":
            return as_text(plaintext.one(found))
        if kind == "prometheus":
            raise RefusedError(
                400, "Bad request", "format=prometheus tells all breakers: ask without a name."
            )
        return as_json(found | self._control(access))

    def _detail(self, sight: Sight, rates: Rates, name: str) -> dict[str, Any]:
        try:
            return detail(sight, name, rates)
        except UnknownBreakerError as unknown:
            raise RefusedError(404, "Not found", unknown.told) from None

    def _health(self, asked: Asked) -> Answered:
        sight, _ = self.sampler.take()
        found = document(sight)
        bad = [entry["name"] for entry in found["breakers"] if entry["severity"] >= 3]
        is_lost = found["store"]["connection"] in ("down", "closed")
        told = {
            "status": "degraded" if bad or is_lost else "ok",
            "open": bad,
            "store": found["store"]["connection"],
            "at": found["at"],
        }
        if asked.kind() == "text":
            return as_text(f"{told['status']}\n")
        return as_json(told)

    def _prometheus(self, asked: Asked) -> Answered:
        try:
            from recloser.metrics.prometheus import exposition  # noqa: PLC0415 - its extra may be missing
        except ImportError as missing:
            raise RefusedError(406, "Not acceptable", f"{missing}.") from None
        body, kind = exposition(self.registry, asked.headers.get("accept", ""))
        return Answered(200, kind, body)

    def _act(self, asked: Asked, access: Access, action: Action, name: str | None) -> Answered:
        if asked.method != "POST":
            raise RefusedError(405, "Method not allowed", "An action is done by POST.", allow="POST")
        form = asked.form()
        token = asked.headers.get("x-recloser-token", "") or (form.get("token") or [""])[0]
        objection = self._guardian.objection(asked.headers, access.actor, action, token)
        if objection:
            raise RefusedError(403, "Forbidden", objection)
        results = carry_out(self.registry, read_wish(action, form, name), access.actor)
        sight, rates = self.sampler.take(fresh=True)
        worst = max(result.status for result in results)
        if name is not None and worst != 200:
            result = results[0]
            more = {"scope": "", "epoch": result.epoch} if worst == 409 else {}
            raise RefusedError(worst, _TITLES[worst], result.text, **more)
        return self._done(asked, access, results, worst, name, sight, rates, action)

    def _done(  # noqa: PLR0917
        self,
        asked: Asked,
        access: Access,
        results: list[Outcome],
        worst: int,
        name: str | None,
        sight: Sight,
        rates: Rates,
        action: Action,
    ) -> Answered:
        if asked.accepted() == "html":
            view = self._view(asked, access)
            if name is not None:
                return see_other(f"{link(view.base, 'b', name)}?done={action}")
            return as_html(page.outcomes(view, results), worst)
        described = [result.described() for result in results]
        if name is None:
            return as_json({"results": described}, worst)
        return as_json({**described[0], "breaker": self._detail(sight, rates, name)["breaker"]})

    def _control(self, access: Access) -> dict[str, Any]:
        if not access.actor:
            return {}
        return {"control": {"actor": access.actor, "tokens": self._tokens(access)}}

    def _tokens(self, access: Access) -> Mapping[Action, str]:
        if not access.actor:
            return {}
        return {action: self._guardian.token(access.actor, action) for action in Action}

    def _view(self, asked: Asked, access: Access) -> View:
        return View(asked.base, access.reader, self._tokens(access), access.has_actions, self._is_live)


_TITLES: Final = {404: "Not found", 409: "Conflict", 503: "Store lost"}


def intent_of(asked: Asked) -> Intent:
    """Tell what a request is about: every one that is not known to read only may control."""
    return "read" if asked.method in ("GET", "HEAD") else "control"


def read_query(asked: Asked) -> Query:
    """Read which breakers are asked for.

    Raises:
        RefusedError: The query is wrong.
    """
    try:
        return Query.read(asked.parameters())
    except ValueError as error:
        raise RefusedError(400, "Bad request", f"{error}.") from None


def _static(name: str) -> Answered:
    body = files("recloser.status").joinpath("static", name).read_bytes()
    return Answered(200, STATIC[name], body, (("cache-control", "max-age=300"),))
