"""RECLOSER is read when it is first needed, follows overridden settings, and tells all that is wrong at once."""

from __future__ import annotations

import inspect
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from django.template import Context, Template
from django.test import Client, RequestFactory, override_settings
from shopsite.tools import trip

from recloser import CircuitBreaker, CircuitOpenError, ConfigurationError, retry
from recloser.django import breaker, conf, guard, registry, signals
from recloser.registry import Registry, UnknownBreakerError
from recloser.retry.tenacity import retrying


def test_import_touches_no_settings():
    """`recloser.django` can be imported, and used in decorators, before there are settings."""
    code = (
        "from recloser.django import registry, guard, breaker, CircuitBreakerMiddleware\n"
        "from recloser.retry.tenacity import retrying\n"
        "from django.conf import settings\n"
        "payments = breaker('payments')\n"
        "@retrying(payments)\n"
        "@payments\n"
        "def pay(): ...\n"
        "@payments.protect(fallback=None)\n"
        "async def pay_later(): ...\n"
        "@guard('inventory', plan=['unavailable'])\n"
        "def view(request): ...\n"
        "assert not settings.configured\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_a_retry_of_a_breaker_follows_overridden_settings():
    """It asks the circuit and pays from the budget of the settings of the moment."""
    payments = breaker("payments")
    tried = []

    @retrying(payments, attempts=3)
    @payments
    def pay():
        tried.append(1)
        raise OSError

    for threshold in (1, 2):
        with override_settings(RECLOSER={"BREAKERS": {"payments": {"failure_threshold": threshold}}}):
            tried.clear()
            with pytest.raises(OSError):
                pay()
            assert len(tried) == threshold
            assert retry.counts(registry["payments"]).granted == threshold - 1


def test_setting_up_starts_nothing():
    """`django.setup()`, as in a management command, the reloader or a preloading server, builds and starts nothing."""
    code = (
        "import threading, django\n"
        "from django.conf import settings\n"
        "settings.configure(INSTALLED_APPS=['recloser.django'], RECLOSER={'BREAKERS': {'payments': {}}})\n"
        "django.setup()\n"
        "from recloser.django import conf\n"
        "assert conf._installed is None\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_core_needs_no_django():
    """`import recloser` imports no Django."""
    code = "import recloser, sys; assert not any(name.split('.')[0] == 'django' for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_registry_is_that_of_the_settings():
    """`registry` behaves as the registry that RECLOSER declares."""
    assert isinstance(registry, Registry)
    assert list(registry) == ["inventory", "payments", "prices"]
    assert registry.declaration.path == "RECLOSER"
    assert conf.installation().registry is conf.installation().registry
    with pytest.raises(UnknownBreakerError, match="did you mean 'payments'"):
        registry["paymnets"]


def test_overridden_settings_make_another_registry():
    """Under `override_settings` the registry is another one, afterwards the declared one again."""
    with override_settings(RECLOSER={"BREAKERS": {"search": {}}}):
        assert list(registry) == ["search"]
    assert "search" not in registry


def test_absent_setting_is_told_at_first_use():
    """Without RECLOSER, using a breaker raises an error that says what to write."""
    with override_settings():
        from django.conf import settings

        del settings.RECLOSER
        conf.on_setting_changed(setting="RECLOSER")
        with pytest.raises(ConfigurationError, match="RECLOSER must be a mapping such as"):
            registry["payments"]


def test_all_problems_are_told_at_once(settings):
    """Wrong plans and an unknown cache are told together."""
    settings.RECLOSER = {
        "CACHE": {"alias": "none"},
        "BREAKERS": {"a": {"plan": [{"json": {}}]}},
        "ROUTES": {"x": {"breakers": ["a"], "plan": [{"stael": 1}]}},
    }

    with pytest.raises(ConfigurationError) as caught:
        conf.installation()

    assert [problem.path for problem in caught.value.problems] == [
        'RECLOSER["BREAKERS"]["a"]["plan"][0]',
        'RECLOSER["ROUTES"]["x"]["plan"][0]',
        'RECLOSER["CACHE"]["alias"]',
    ]


def test_wrong_settings_stop_the_server(settings):
    """A server does not start with a wrong declaration."""
    settings.RECLOSER = {"BREKERS": {}}

    with pytest.raises(ConfigurationError, match="did you mean 'BREAKERS'"):
        Client().get("/plain/")


def test_lazy_breaker_is_that_of_the_settings():
    """`breaker(name)` behaves as the breaker itself."""
    payments = breaker("payments")

    assert isinstance(payments, CircuitBreaker)
    assert payments.name == "payments"
    trip("payments")
    with pytest.raises(CircuitOpenError), payments.calling():
        pass


def test_lazy_breaker_decorates_for_good():
    """What `breaker(name)` decorates asks the breaker of the settings of the moment."""

    @breaker("payments")
    def pay(amount: int) -> int:
        return amount

    assert pay(3) == 3
    trip("payments")
    with pytest.raises(CircuitOpenError):
        pay(3)
    conf.on_setting_changed(setting="RECLOSER")
    assert pay(3) == 3
    assert registry["payments"].snapshot().calls == 1


@pytest.mark.anyio
async def test_lazy_breaker_decorates_coroutine_functions():
    """An async function stays one."""

    @breaker("payments").protect(fallback=0)
    async def pay(amount: int) -> int:
        return amount

    assert inspect.iscoroutinefunction(pay)
    assert await pay(3) == 3
    trip("payments")
    assert await pay(3) == 0


def test_lazy_breaker_decorates_generators():
    """A generator function's generators are guarded too."""

    @breaker("payments")
    def pages() -> Iterator[int]:
        yield 1

    assert list(pages()) == [1]
    assert registry["payments"].snapshot().calls == 1


def test_lazy_breaker_decorates_functions_only():
    """A class is refused, with a text that says so."""
    with pytest.raises(TypeError, match="functions and methods"):
        breaker("payments")(Client)


def test_guard_without_the_middleware_says_what_to_do():
    """A guarded view that is called outside of a watched request tells what is missing."""

    @guard("inventory")
    def view(request: object) -> None: ...

    with pytest.raises(RuntimeError, match="CircuitBreakerMiddleware' last in MIDDLEWARE"):
        view(RequestFactory().get("/"))


def test_signals_are_sent():
    """Transitions and modes are sent as Django's signals; a receiver that raises harms nobody."""
    heard: list[tuple[str, str]] = []

    def hear(sender: type, breaker: str, event: object, **_: object) -> None:
        heard.append((breaker, type(event).__name__))
        raise ValueError("a receiver's mistake")

    all_signals = [
        signals.circuit_opened,
        signals.circuit_closed,
        signals.circuit_half_opened,
        signals.mode_changed,
    ]
    for signal in all_signals:
        signal.connect(hear, sender=CircuitBreaker)
    try:
        trip().reset(by="ann", reason="it is back")
        registry["inventory"].shadow(by="ann", reason="look")
    finally:
        for signal in all_signals:
            signal.disconnect(hear, sender=CircuitBreaker)

    assert heard == [("inventory", "StateChanged")] * 2 + [("inventory", "ModeChanged")]


def test_a_probe_is_signalled(settings):
    """So is a circuit that lets a probe through."""
    soon = {"recovery_timeout": 0.001, "recovery_timeout_max": 1}
    settings.RECLOSER = {"DEFAULTS": {"failure_threshold": 1}, "BREAKERS": {"inventory": soon}}
    heard: list[str] = []

    def hear(breaker: str, **_: object) -> None:
        heard.append(breaker)

    signals.circuit_half_opened.connect(hear)
    try:
        trip()
        deadline = time.monotonic() + 30
        while not heard and time.monotonic() < deadline:
            with suppress(CircuitOpenError), registry["inventory"].calling():
                pass
    finally:
        signals.circuit_half_opened.disconnect(hear)
    assert heard == ["inventory"]


def test_breakers_are_in_the_template_context_on_request(opened: object):
    """The context processor gives templates every breaker's numbers."""
    from django.template import engines

    page = engines["django"].from_string("{{ breakers.inventory.state }} {{ breakers.payments.calls }}")

    assert page.render({}, RequestFactory().get("/")) == "open 0"
    assert Template("{{ breakers }}").render(Context()) == ""
