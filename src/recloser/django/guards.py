"""`guard`: a view runs only while its breaker lets it, and its outcome counts."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial, wraps
from types import FunctionType
from typing import Final, ParamSpec, TypeVar, cast
from weakref import WeakSet

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest

from recloser.config.declaration import Occasion
from recloser.django.exchange import Exchange, present
from recloser.django.faults import FAULTS
from recloser.django.layers import stranger
from recloser.http.declared import PlanForm
from recloser.http.guarded import GUARDS, Guarded, guards_of
from recloser.http.wrapping import around_coroutine, around_function, layers

P = ParamSpec("P")
R = TypeVar("R")

_GUARD: Final = "__recloser_guard__"
_in_code: Final[WeakSet[Guard]] = WeakSet()

# What functions carry that check access themselves, and how to stand below them.
_ABOVE: Final = {
    "cls": "below @api_view, or on the class: @method_decorator(guard(...), name='dispatch')",
    "view_class": "on the class: @method_decorator(guard(...), name='dispatch')",
    "redirect_field_name": "below @login_required, @permission_required and @user_passes_test",
}


def guard(
    name: str,
    *,
    plan: PlanForm | None = None,
    on: Sequence[Occasion] = ("open",),
    record: bool | None = None,
) -> Guard:
    """Guard a view: below its permission decorators, so that an open circuit is never a way around them.

        @login_required
        @guard("inventory", plan=[plans.stale(600), plans.json({"quantity": None})])
        def product(request, pk): ...

    On a class, `@method_decorator(guard("inventory"), name="dispatch")` guards its handlers, after the checks of
    its `dispatch` (mixins, DRF's authentication, permissions and throttles).

    Above a decorator that may check access, a project's own say, it refuses with a public response of the past or a
    503; the whole plan answers what comes out of the view itself.

    Failures are the exceptions that the breaker's policy counts, and answers with 5xx or 429. Other 4xx, `Http404`,
    `PermissionDenied`, invalid input and clients that went away are ignored.

    Args:
        name: The breaker's.
        plan: What answers while the circuit is open; `None`: the breaker's own plan.
        on: `("open", "failure")` lets the plan answer counted failures too, before the circuit opens.
        record: Whether the view's outcome counts. `None`: unless the breaker is also used inside (by a client,
            say), whose outcome counts then.
    """
    return Guard(name, plan, record, on)


class Guard:
    """Decorates views; see `guard`.

    Attributes:
        place: The last view that it decorated, for messages.
        above: What may check access below it there; `None` if nothing does.
    """

    def __init__(
        self, name: str, plan: PlanForm | None, record: bool | None, on: Sequence[Occasion] = ("open",)
    ) -> None:
        self.name = name
        self.plan = tuple(plan) if isinstance(plan, list) else plan
        self.record = record
        self.on = on
        self.place = "guard"
        self.above: object | None = None
        self._of_methods: dict[object, Guarded] = {}

    def __repr__(self) -> str:
        return f"guard({self.name!r})"

    def __call__(self, view: Callable[P, R]) -> Callable[P, R]:
        """Guard a view function, or a method of a view class.

        Raises:
            TypeError: It is neither, or it would be asked before checks of access.
        """
        bound = _instance_of(view)
        if _is_dispatch(view, bound):
            wrapper, guarded = self._around_dispatch(view, bound), self.guarded()
        else:
            if bound is None:
                self._refuse_wrong_places(view)
                guarded = self.guarded()
            else:  # `method_decorator` decorates at each request; what is learnt of a method must outlive that
                guarded = self._of_method(type(bound), view)
            wrapper = around(guarded, view)
        setattr(wrapper, GUARDS, (guarded, *guards_of(view)))
        if bound is None:
            by_method_decorator = view.__module__ == "django.utils.decorators"  # which tries it on a dummy
            self.place = (
                "method_decorator" if by_method_decorator else f"{view.__module__}.{view.__qualname__}"
            )
            self.above = None if _is_dispatch(view, bound) else stranger(view)
            setattr(wrapper, _GUARD, self)
            _keep_annotations(wrapper, view)
            _in_code.add(self)
        return wrapper

    def guarded(self) -> Guarded:
        """Make the guard of one view."""
        return Guarded(self.name, self.plan, record=self.record, faults=FAULTS, on=self.on)

    def _of_method(self, owner: type, method: Callable[..., object]) -> Guarded:
        key = owner, getattr(method, "__name__", "")
        guarded = self._of_methods.get(key)
        return guarded or self._of_methods.setdefault(key, self.guarded())

    def _refuse_wrong_places(self, view: object) -> None:
        # A partial has a name where it was made by `method_decorator`.
        if not (isinstance(view, (partial, FunctionType)) and hasattr(cast("object", view), "__qualname__")):
            raise TypeError(
                f"{self!r} guards functions and methods, not {view!r}; "
                "on a class write @method_decorator(guard(...), name='dispatch')"
            )
        function = cast("Callable[..., object]", view)
        for mark, place in _ABOVE.items():
            if any(mark in getattr(inner, "__dict__", ()) for inner in layers(function)):
                name = getattr(function, "__qualname__", repr(function))
                raise TypeError(f"{self!r} would answer before {name} checks access: put it {place}")

    def _around_dispatch(self, dispatch: Callable[P, R], bound: object) -> Callable[P, R]:
        @wraps(dispatch)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            view = args[0] if bound is None else bound
            request = next(argument for argument in args if isinstance(argument, HttpRequest))
            method = (request.method or "GET").lower()
            handler: Callable[..., object] | None = getattr(view, method, None)
            if handler is not None and method != "options":
                # The instance is this request's own. `dispatch` calls the handler after its checks of access.
                setattr(view, method, around(self._of_method(type(view), handler), handler))
            return dispatch(*args, **kwargs)

        return wrapper


def guards_in_code() -> list[Guard]:
    """Return the guards of all views that are in use."""
    return sorted(_in_code, key=lambda guard: (guard.place, guard.name))


def around(guarded: Guarded, view: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function of either kind; what may check access inside it has not been asked yet."""
    access_checked = stranger(view) is None
    if iscoroutinefunction(view):  # pyright: ignore[reportDeprecated]
        coroutine = cast("Callable[P, Awaitable[R]]", view)
        wrapper = around_coroutine(guarded, _exchange, coroutine, access_checked=access_checked)
        return cast("Callable[P, R]", wrapper)
    return around_function(guarded, _exchange, view, access_checked=access_checked)


def _exchange(guarded: Guarded) -> Exchange:
    exchange = present()
    if exchange is None:
        raise RuntimeError(
            f"{guarded!r} was used outside of a request that recloser watches: put "
            "'recloser.django.CircuitBreakerMiddleware' last in MIDDLEWARE, or test the view by its __wrapped__"
        )
    return exchange


def _keep_annotations(wrapper: object, view: Callable[..., object]) -> None:
    # django-ninja reads annotations in the namespace of the function that it is given, which is not the view's.
    function = inspect.unwrap(view)
    if any(isinstance(value, str) for value in getattr(function, "__annotations__", {}).values()):
        with suppress(Exception):
            wrapper.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]


def _is_dispatch(view: Callable[..., object], bound: object) -> bool:
    if getattr(view, "__name__", "") != "dispatch":
        return False
    owner = view.__qualname__.rpartition(".")[0]
    return bound is not None or not (owner.endswith("<locals>") or not owner)


def _instance_of(view: Callable[..., object]) -> object:
    # `method_decorator` passes a partial of a bound method, perhaps with other decorators around it.
    owners: list[object] = [
        getattr(getattr(function, "func", None), "__self__", None) for function in layers(view)
    ]
    return next((owner for owner in owners if owner is not None), None)
