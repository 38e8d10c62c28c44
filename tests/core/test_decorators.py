"""Decorated functions stay what they were: SEMANTICS C3's wrappers, seen from outside."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from core.acting import Boom, Clock, admits, fail, half_open, raiser
from core.conftest import Build
from recloser import CircuitBreaker, CircuitOpenError, State

module_breaker = CircuitBreaker("module", failure_threshold=1)


@module_breaker
def module_function(x: int, y: int = 2) -> int:
    """Add."""
    return x + y


@module_breaker
async def module_coroutine() -> str:
    return "awaited"


class Shop:
    calls = 0

    @module_breaker
    def method(self, x: int) -> tuple[Shop, int]:
        return self, x

    @module_breaker
    @staticmethod
    def static(x: int) -> int:
        return x

    @staticmethod
    @module_breaker
    def below(x: int) -> int:
        return x

    @module_breaker
    @classmethod
    def of_class(cls, x: int) -> tuple[type[Shop], int]:
        return cls, x

    @property
    @module_breaker
    def size(self) -> int:
        return 7

    @module_breaker
    def __mangled(self, __odd: int) -> int:
        return __odd

    def mangled(self) -> int:
        return self.__mangled(3)

    @module_breaker
    def __call__(self) -> str:
        return "called"


SHAPES = [
    "a, b, /, c, d=4, *, e, f=6",
    "a=1, /, b=2",
    "*, key",
    "*numbers",
    "*numbers, key=3",
    "a, *rest, b, **more",
    "**more",
    "",
    "self, function, permit, driver, error, result, started",
    "args, kwargs",
    "wrapper, make, record, _rc",
    "größe, 数",
    "a: int, b: 'str' = 'x', *args: int, c: list[int] | None = None, **kwargs: object",
]


def function_of(shape: str) -> Any:
    """Make a function with these parameters that returns all it got."""
    made: dict[str, Any] = {}
    exec(f"def fetch({shape}) -> dict: return dict(locals())", made)
    return made["fetch"]


def method_of(shape: str) -> Any:
    """Make a bound method of that sort."""
    made: dict[str, Any] = {}
    exec(f"class Client:\n def fetch({shape}) -> dict: return dict(locals())", made)
    return made["Client"]().fetch


def object_of(shape: str) -> Any:
    """Make an object that is called like that method."""
    return type("fetch", (), {"__call__": method_of(shape).__func__})()


FUNCTIONS = [pytest.param(function_of, shape, id=shape) for shape in SHAPES]
METHODS = [
    pytest.param(make, shape, id=f"{make.__name__} {shape}")
    for make in (method_of, object_of)
    for shape in [f"client, {shape}" for shape in SHAPES]
    + ["*numbers", "client=0, a=1, *, key=2", "BaseException"]
]


@pytest.mark.parametrize(("make", "shape"), [*FUNCTIONS, *METHODS])
@pytest.mark.parametrize("state", ["closed", "half_open"])
def test_arguments_reach_the_function_as_they_were_given(
    build: Build, clock: Clock, make: Callable[[str], Any], shape: str, state: str
):
    """Every kind of parameter and default passes through, in every state, and wrong calls are refused alike."""
    breaker = build(success_threshold=99, failure_on=(Boom,))
    plain = make(shape)
    guarded = breaker(plain)
    assert inspect.signature(guarded) == inspect.signature(plain)
    if state == "half_open":
        half_open(breaker, clock)
    candidates = [
        ((), {}),
        ((1, 2, 3), {"e": 5}),
        ((1, 2), {}),
        ((), {"key": 1}),
        ((1, 2), {"b": 5, "_rc_driver": 6, "self": 7, "BaseException": 8}),
        (tuple(range(4)), {}),
        (tuple(range(7)), {}),
        (tuple(range(9)), {}),
    ]
    accepted = 0
    for args, kwargs in candidates:
        try:
            inspect.signature(plain).bind(*args, **kwargs)
        except TypeError:
            with pytest.raises(TypeError, match=r"fetch\(\)"):
                guarded(*args, **kwargs)
        else:
            assert guarded(*args, **kwargs) == plain(*args, **kwargs)
            accepted += 1
    assert accepted
    assert breaker.state is State(state)


OURS = [
    "record",
    "driver",
    "machine",
    "function",
    "acquire",
    "slow",
    "failed",
    "returned",
    "succeeded",
    "clock",
]
OURS += ["slow_after", "error", "result", "now", "started"]


@pytest.mark.parametrize("name", [*(f"_rc_{name}" for name in OURS), "BaseException"])
@pytest.mark.parametrize("timed", [False, True])
def test_a_parameter_may_be_named_as_our_own_names_are(build: Build, name: str, timed: bool):
    """Nothing of ours leaks into the function, and its failures count."""
    knobs = {"slow_call_duration": 9, "slow_call_rate_threshold": 1, "failure_threshold": 1} if timed else {}
    breaker = build(**knobs)
    made: dict[str, Any] = {"ValueError": ValueError}
    exec(f"def fetch({name}, fails=False):\n if fails: raise ValueError({name})\n return {name}", made)
    guarded = breaker(made["fetch"])
    assert guarded("mine") == "mine"
    assert guarded(**{name: "named"}) == "named"
    with pytest.raises(ValueError, match="mine"):
        guarded("mine", fails=True)
    assert breaker.state is State.OPEN


def test_a_wrong_call_is_the_callers_mistake(build: Build):
    """A `TypeError` for missing arguments comes before the dependency is asked, and is no failure of it."""
    breaker = build()
    guarded = breaker(function_of("a, b"))
    with pytest.raises(TypeError, match=r"fetch\(\) missing 1 required positional argument: 'b'"):
        guarded(1)
    assert (breaker.state, breaker.snapshot().calls) == (State.CLOSED, 0)


def test_a_decorated_function_keeps_its_identity():
    """Name, module, documentation, annotations, defaults and attributes are the function's own."""
    original = module_function.__wrapped__
    assert inspect.isfunction(module_function)
    assert module_function.__name__ == "module_function"
    assert module_function.__qualname__ == "module_function"
    assert module_function.__module__ == __name__
    assert module_function.__doc__ == "Add."
    assert module_function.__annotations__ == original.__annotations__
    assert module_function.__defaults__ == (2,)
    assert inspect.iscoroutinefunction(module_coroutine)
    assert not inspect.iscoroutinefunction(module_function)


@pytest.mark.parametrize("function", [module_function, module_coroutine, Shop.method, Shop.static])
def test_a_decorated_function_pickles_by_its_name(function: Any):
    """Process pools and task queues find it where they found the original."""
    assert pickle.loads(pickle.dumps(function)) is function


def test_methods_of_all_kinds_can_be_guarded():
    """Instance, static and class methods, properties' functions and mangled names work as before."""
    shop = Shop()
    assert shop.method(1) == (shop, 1)
    assert pickle.loads(pickle.dumps(Shop.method)) is Shop.method
    assert Shop.method(shop, x=2) == (shop, 2)
    assert (Shop.static(3), shop.static(4), Shop.below(5)) == (3, 4, 5)
    assert (Shop.of_class(6), shop.of_class(x=7)) == ((Shop, 6), (Shop, 7))
    assert shop.size == 7
    assert shop.mangled() == 3
    assert shop() == "called"
    assert isinstance(inspect.getattr_static(Shop, "static"), staticmethod)
    assert isinstance(inspect.getattr_static(Shop, "of_class"), classmethod)


def test_callables_that_are_no_functions_can_be_guarded(build: Build):
    """Partials, built-ins, bound methods, callable objects and C-implemented wrappers count like functions."""
    breaker = build(failure_threshold=9)

    class Doubler:
        def __call__(self, x: int, *, boom: bool = False) -> int:
            if boom:
                raise Boom
            return 2 * x

    partial = breaker(functools.partial(divmod, 7))
    cached = breaker(functools.lru_cache(lambda x: x))
    doubler = Doubler()
    assert partial(2) == (3, 1)
    assert breaker(len)([1, 2]) == 2
    assert breaker([5].index)(5) == 0
    assert breaker(doubler)(x=2) == 4
    assert breaker(doubler.__call__)(3) == 6
    assert cached(8) == 8
    assert inspect.signature(breaker(doubler)) == inspect.signature(doubler)
    with pytest.raises(ZeroDivisionError):
        partial(0)
    with pytest.raises(Boom):
        breaker(doubler)(1, boom=True)
    assert (breaker.snapshot().calls, breaker.snapshot().failures) == (8, 2)


def test_async_callables_are_told_from_sync_ones(build: Build):
    """A partial of a coroutine function and an object with an async `__call__` are awaited before they count."""
    breaker = build(failure_threshold=9)

    class Fetcher:
        async def __call__(self, x: int) -> int:
            await asyncio.sleep(0)
            if x < 0:
                raise Boom
            return x

    async def fetch(x: int) -> int:
        return await Fetcher()(x)

    for guarded in (breaker(Fetcher()), breaker(functools.partial(fetch)), breaker(fetch)):
        assert inspect.iscoroutinefunction(guarded)
        assert asyncio.run(guarded(3)) == 3
        with pytest.raises(Boom):
            asyncio.run(guarded(-1))
    assert (breaker.snapshot().calls, breaker.snapshot().failures) == (6, 3)


@pytest.mark.parametrize("state", ["closed", "half_open"])
def test_a_plain_function_may_return_a_coroutine(build: Build, clock: Clock, state: str):
    """Some decorator between hides that it is async: it works the same whatever the circuit's state."""
    breaker = build()

    async def fetch() -> int:
        return 3

    guarded = breaker(lambda: fetch())
    if state == "half_open":
        half_open(breaker, clock)
    assert asyncio.run(guarded()) == 3
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Shop, "cannot protect the class Shop: decorate the methods that call the dependency"),
        (property(len), "cannot protect a property: decorate its function, below @property"),
        (3, "protects functions, got 3"),
        (None, "protects functions, got None"),
        (functools.partialmethod(len), "protects functions, got functools.partialmethod"),
        (staticmethod(Shop), "cannot protect the class Shop"),
    ],
)
def test_what_cannot_be_guarded_is_refused_at_decoration(build: Build, target: object, message: str):
    """The error names the breaker and says what to decorate instead."""
    breaker = build()
    for decorate in (breaker, breaker.protect(fallback=None)):
        with pytest.raises(TypeError, match=f"^breaker 'shop' {message}"):
            decorate(target)


def test_a_keyword_argument_may_have_any_name(build: Build):
    """Also one that is no identifier."""
    breaker = build()
    guarded = breaker(lambda **kwargs: kwargs)
    odd = {"not an identifier": 1, "class": 2, "": 3}
    assert guarded(**odd) == odd


def test_one_function_may_be_guarded_by_several_breakers(build: Build):
    """Each wrapper has its own breaker, though they share their shape."""
    first, second = build("first"), build("second")
    original = function_of("a")
    guarded = first(original), second(original)
    fail(first)
    with pytest.raises(CircuitOpenError, match="'first'"):
        guarded[0](1)
    assert guarded[1](1) == {"a": 1}


def test_defaults_are_shared_with_the_original(build: Build):
    """A default object is the same object, as without a breaker."""
    default: list[int] = []

    def append(x: int, to: list[int] = default, *, also: list[int] = default) -> None:
        to.append(x)
        also.append(x)

    build()(append)(3)
    assert default == [3, 3]


def test_closures_and_recursion_and_cell_parameters_survive(build: Build):
    """A function whose parameters are captured by an inner one has the same parameters."""
    breaker = build()

    @breaker
    def outer(a: int, *, b: int = 2) -> int:
        return (lambda: a + b)()

    assert outer(1) == 3
    assert outer(1, b=5) == 6


POLICIES = {
    "consecutive": {"failure_threshold": 3},
    "call window": {"failure_rate_threshold": 0.9, "window_calls": 50, "failure_threshold": 3},
    "time window": {"failure_rate_threshold": 0.9, "failure_threshold": 3},
    "slow": {"slow_call_duration": 5, "slow_call_rate_threshold": 0.9, "failure_threshold": 3},
    "results": {"failure_if": lambda result: result == "bad", "failure_threshold": 3},
    "bulkhead": {"max_concurrent_calls": 1, "failure_threshold": 3},
    "all": {
        "failure_rate_threshold": 0.9,
        "slow_call_duration": 5,
        "slow_call_rate_threshold": 0.9,
        "failure_if": lambda result: result == "bad",
        "max_concurrent_calls": 1,
        "failure_threshold": 3,
    },
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("generic", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_every_wrapper_counts_the_same(
    build: Build, clock: Clock, policy: str, generic: bool, asynchronous: bool
):
    """Whatever the policy asks for, successes, failures, refusals and probes are those of the rules."""
    breaker = build(**POLICIES[policy])

    def plain(result: object) -> object:
        if isinstance(result, BaseException):
            raise result
        return result

    async def coroutine(result: object) -> object:
        return plain(result)

    target = coroutine if asynchronous else plain
    guarded = breaker(functools.partial(target) if generic else target)

    def call(result: object) -> object:
        return asyncio.run(guarded(result)) if asynchronous else guarded(result)

    assert [call("good") for _ in range(4)] == ["good"] * 4
    for _ in range(3):
        assert breaker.state is State.CLOSED
        if "failure_if" in POLICIES[policy]:
            assert call("bad") == "bad"
        else:
            with pytest.raises(Boom):
                call(Boom())
    with pytest.raises(CircuitOpenError):
        call("good")
    assert (breaker.snapshot().calls, breaker.snapshot().failures) == (7, 3)
    clock.advance(10)
    assert call("good") == "good"
    assert breaker.state is State.CLOSED
    assert admits(breaker)


@pytest.mark.parametrize("knobs", [{}, {"failure_if": lambda result: False}])
def test_a_slow_call_is_seen_by_every_wrapper(build: Build, clock: Clock, knobs: dict[str, Any]):
    """The time is the function's own."""
    breaker = build(slow_call_duration=5, slow_call_rate_threshold=1, minimum_calls=2, **knobs)
    guarded = breaker(clock.advance)
    plain = breaker(lambda seconds: clock.advance(seconds))
    guarded(5)
    plain(4.9)
    assert tuple(breaker.snapshot().window) == (2, 0, 1)
    breaker.reset(by="ann", reason="again")
    guarded(5)
    plain(5)
    assert breaker.state is State.OPEN


def test_an_exception_reaches_the_caller_as_it_is(build: Build):
    """No context, cause or note is added, and the traceback leads to the function."""
    guarded = build()(raiser(error := Boom("mine")))
    with pytest.raises(Boom) as caught:
        guarded()
    assert caught.value is error
    assert (error.__context__, error.__cause__) == (None, None)
    assert caught.traceback[-1].name == "function"
