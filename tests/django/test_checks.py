"""System checks tell what is wrong, each with a stable id and a hint."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import wraps
from pathlib import Path
from typing import Any
from weakref import WeakSet

import django
import pytest
from django.contrib.auth.decorators import login_required
from django.core.cache import caches
from django.core.checks import CheckMessage, run_checks
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache

from recloser import backlogs
from recloser.deferred import Queue, commands
from recloser.django import breaker, guard, lazy, registry
from recloser.django.checks import TAG, code
from recloser.django.lazy import NAMES_ASKED_FOR
from recloser.registry import UnknownBreakerError

OURS = "recloser.django.CircuitBreakerMiddleware"


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment says nothing of workers."""
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    monkeypatch.delenv("GUNICORN_CMD_ARGS", raising=False)


def found(identity: str, *, deploy: bool = False) -> list[CheckMessage]:
    messages = run_checks(tags=[TAG], include_deployment_checks=deploy)
    assert all(message.hint for message in messages)
    assert all(message.id.startswith("recloser.") for message in messages)
    return [message for message in messages if message.id == f"recloser.{identity}"]


def declared(**sections: Any) -> Any:
    return override_settings(
        RECLOSER={"BREAKERS": {"inventory": {}, "payments": {}, "prices": {}}, **sections}
    )


@pytest.mark.parametrize(
    "identity",
    ["E001", "E002", "E003", "E004", "W001", "W002", "W003", "W004", "W005", "W006", "W008", "W009", "W010"],
)
def test_project_of_the_tests_is_fine(identity: str):
    """A right project is told nothing (but of its guards that have no plan)."""
    assert found(identity) == []


def test_e001_setting_is_missing():
    """E001: RECLOSER is not set."""
    with override_settings(RECLOSER=None):
        [message] = found("E001")
        assert "RECLOSER" in message.hint


def test_e002_each_problem_of_the_setting():
    """E002: every wrong value and unknown key, each by itself."""
    with declared(BREAKERS={"a": {"recovery_timeout": "30s"}, "b": {"recovery_timout": 3}}, EXPOSE=1):
        messages = found("E002")
    assert [message.msg.partition(" is wrong")[0] for message in messages] == [
        'RECLOSER["BREAKERS"]["b"]["recovery_timout"]',
        'RECLOSER["BREAKERS"]["a"]["recovery_timeout"]',
        'RECLOSER["EXPOSE"]',
    ]
    assert "did you mean 'recovery_timeout'" in messages[0].hint


def test_e003_route_without_a_view():
    """E003: an entry of ROUTES resolves to nothing, the nearest name is told."""
    with declared(
        ROUTES={"shop:ruoted": {"breakers": ["inventory"]}, "/plain/": {"breakers": ["inventory"]}}
    ):
        [message] = found("E003")
    assert message.msg == 'RECLOSER["ROUTES"]["shop:ruoted"] resolves to no view.'
    assert "did you mean 'shop:routed'" in message.hint


def test_e004_unknown_breaker_in_code():
    """E004: a guard or `breaker()` names no declared breaker, or a guard's plan can never answer."""

    @guard("inventry", plan=["unavailable"])
    def view(request: object) -> None: ...

    @guard("inventory", plan=["unavailable", "unavailable", {"stael": 1}])
    def other(request: object) -> None: ...

    breaker("paymnets")
    try:
        messages = found("E004")
    finally:
        del NAMES_ASKED_FOR["breaker('paymnets')"]
    told = [message.msg for message in messages]
    assert any("breaker('paymnets')" in text for text in told)
    assert any("view: guard('inventry')" in text for text in told)
    assert any("other: guard('inventory').plan[2]" in text for text in told)
    assert view is not other


def test_e004_unknown_breaker_of_a_backend(settings):
    """E004: a cache or a mail backend names no declared breaker, which no request should have to find out."""
    backend, mail = "recloser.django.cache.BreakerCache", "recloser.django.mail.EmailBackend"
    options = {"BACKEND": "django.core.cache.backends.redis.RedisCache"}
    settings.CACHES = {
        "default": {"BACKEND": backend, "OPTIONS": {**options, "BREAKER": "inventory"}},
        "pages": {"BACKEND": backend, "OPTIONS": {**options, "BREAKER": "inventroy"}},
        "responses": {"BACKEND": backend, "OPTIONS": options},
    }
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": mail}}
        place = 'MAILERS["default"]["OPTIONS"]["breaker"]'
    else:
        settings.EMAIL_BACKEND = mail
        place = f"EMAIL_BACKEND: {mail}.breaker"

    messages = found("E004")

    assert [message.msg for message in messages] == [
        """CACHES["pages"]["OPTIONS"]["BREAKER"] is wrong: got 'inventroy'.""",
        """CACHES["responses"]["OPTIONS"]["BREAKER"] is wrong: got 'cache'.""",
        f"{place} is wrong: got 'mail'.",
    ]
    assert "did you mean 'inventory'" in messages[0].hint


@pytest.mark.parametrize("name", [["cache"], {"name": "cache"}, 7], ids=str)
def test_e004_a_backends_breaker_is_no_name(settings, name: object):
    """E004: what stands in its place is told, whatever it is; Django's own checks can make the backends."""
    options = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "BREAKER": name}
    settings.CACHES = {"default": {"BACKEND": "recloser.django.cache.BreakerCache", "OPTIONS": options}}
    if django.VERSION >= (6, 1):
        mailer = {"BACKEND": "recloser.django.mail.EmailBackend", "OPTIONS": {"breaker": name}}
        settings.MAILERS = {"default": mailer}

    run_checks(tags=["caches"], include_deployment_checks=True)
    messages = found("E004")

    assert messages[0].msg == f"""CACHES["default"]["OPTIONS"]["BREAKER"] is wrong: got {name!r}."""
    assert len(messages) == (2 if django.VERSION >= (6, 1) else 1)
    assert caches["default"]


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """A queue that no later test sees, nor opens its file."""
    monkeypatch.setattr(backlogs, "_alive", WeakSet())
    monkeypatch.setattr(lazy, "NAMES_ASKED_FOR", {})
    monkeypatch.setattr(code, "NAMES_ASKED_FOR", lazy.NAMES_ASKED_FOR)
    with closing(Queue(tmp_path / "jobs.db", registry)) as queue:
        yield queue


def test_wrong_setting_is_listed_although_a_queue_needs_it(queue: Queue):
    """A task is declared where modules are imported: a wrong RECLOSER is no traceback there, but told by the check."""
    with override_settings(RECLOSER={"BREKERS": {}}):
        queue.task("inventory")(lambda job: None)
        [message] = found("E002")

    assert "BREKERS" in message.msg


def test_e004_a_task_waits_for_no_breaker(queue: Queue):
    """E004: its module can be imported, all such names are told at once, and nothing is put off for ever."""

    @queue.task("inventroy")
    def reserve(job: object) -> None: ...

    queue.task("paymnets", name="charge")(lambda job: None)
    messages = found("E004")

    assert [message.msg for message in messages] == [
        f"{__name__}: the task 'reserve': breaker is wrong: got 'inventroy'.",
        f"{__name__}: the task 'charge': breaker is wrong: got 'paymnets'.",
    ]
    assert "did you mean 'inventory'" in messages[0].hint
    with pytest.raises(UnknownBreakerError, match="did you mean 'inventory'"):
        reserve.later()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "load", lambda _: (queue, ""))
        with pytest.raises(CommandError, match="inventroy"):
            call_command("recloser", "work", "shop.orders:queue")


@pytest.mark.parametrize(
    ("name", "value"), [("WEB_CONCURRENCY", "4"), ("GUNICORN_CMD_ARGS", "--bind x --workers=3")]
)
def test_w001_workers_share_nothing(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    """W001: several workers, and no shared store."""
    monkeypatch.setenv(name, value)
    assert len(found("W001")) == 1


def test_w001_deployment(monkeypatch: pytest.MonkeyPatch):
    """W001 is also told of any deployment that does not say that it has one worker."""
    assert len(found("W001", deploy=True)) == 1
    monkeypatch.setenv("WEB_CONCURRENCY", "1")
    assert found("W001", deploy=True) == []


def test_w002_no_middleware():
    """W002: the middleware is missing."""
    with override_settings(MIDDLEWARE=["django.middleware.common.CommonMiddleware"]):
        assert len(found("W002")) == 1


def test_w003_middleware_is_not_last():
    """W003: the middleware is not innermost, or there twice."""
    with override_settings(MIDDLEWARE=[OURS, "django.middleware.common.CommonMiddleware"]):
        assert len(found("W003")) == 1
    with override_settings(MIDDLEWARE=[OURS, OURS]):
        assert len(found("W003")) == 1


def test_w004_cache_is_not_shared(monkeypatch: pytest.MonkeyPatch):
    """W004: stale answers are kept in a cache that the several workers do not share."""
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    with declared(CACHE={"alias": "responses"}):
        assert len(found("W004")) == 1
    assert found("W004") == []


def test_w005_several_origins():
    """W005: one breaker covers several origins."""
    with declared(BREAKERS={"inventory": {"origins": ["https://a.example", "https://b.example"]}}):
        [message] = found("W005")
    assert "a.example:443, b.example:443" in message.msg


def counts(**knobs: object) -> dict[str, object]:
    return {"inventory": {"origins": ["https://a.example"], **knobs}}


@pytest.mark.parametrize(
    ("knobs", "warned"),
    [
        ({"failure_on": [ConnectionError]}, True),
        ({"failure_on": [Exception]}, False),
        ({"failure_on": [ConnectionError, "httpx:HTTPStatusError"]}, False),
        ({"failure_on": [ConnectionError, lambda error: True]}, False),
        ({"ignore": ["httpx:HTTPError"]}, True),
    ],
)
def test_w006_no_failure_status(knobs: dict[str, Any], warned: bool, monkeypatch: pytest.MonkeyPatch):
    """W006: a breaker of an origin counts no HTTP status as a failure."""
    import sys

    import httpx

    assert sys.modules["httpx"] is httpx
    for module in ("httpx2", "requests", "aiohttp"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with declared(BREAKERS=counts(**knobs)):
        assert bool(found("W006")) is warned


def test_w007_no_plan():
    """W007: a guarded view or route for which nothing says what is answered."""

    @guard("inventory")
    def view(request: object) -> None: ...

    with declared(ROUTES={"shop:routed": {"breakers": ["payments"]}}):
        told = [message.msg for message in found("W007")]
    assert any("test_w007_no_plan.<locals>.view: guard('inventory')" in text for text in told)
    assert any('RECLOSER["ROUTES"]["shop:routed"], where \'payments\'' in text for text in told)
    assert view is not None


def test_w008_impatient_breaker():
    """W008: a breaker probes before its service can have started."""
    with declared(BREAKERS={"inventory": {"recovery_timeout": 15, "startup_time": 10}}):
        [message] = found("W008")
    assert "20 s" in message.hint


@pytest.mark.parametrize(("engine", "warned"), [("cache", 1), ("cached_db", 0), ("db", 0)])
def test_w009_sessions_in_the_cache_alone(settings, engine: str, warned: int):
    """W009: sessions are in a cache behind a breaker, and nowhere else."""
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    assert found("W009") == []  # an ordinary cache

    options = {"BACKEND": "django.core.cache.backends.redis.RedisCache"}
    settings.CACHES = {"default": {"BACKEND": "recloser.django.cache.BreakerCache", "OPTIONS": options}}

    assert len(found("W009")) == warned


def all_checks() -> list[Callable[..., object]]:
    from recloser.django.checks import CHECKS, DEPLOY_CHECKS

    return [*CHECKS, *DEPLOY_CHECKS]


def test_wrong_setting_is_told_once():
    """A wrong RECLOSER is told by one check, the others have nothing to look at."""
    with override_settings(RECLOSER={"BREKERS": {}}):
        messages = [message for check in all_checks() for message in check()]
    assert {message.id for message in messages} == {"recloser.E002"}


def test_every_check_is_documented_and_tested():
    """An id that a project may silence stands in the documentation, and in the name of a test."""
    root = Path(__file__).parents[2]
    sources = (root / "src/recloser/django/checks").glob("*.py")
    ids = {found for path in sources for found in re.findall(r'id="recloser\.(\w+)"', path.read_text())}

    documented = re.findall(r"^\| `recloser\.(\w+)` \|", (root / "docs/django.md").read_text(), re.MULTILINE)

    assert sorted(ids) == sorted(documented)
    assert all(any(name.startswith(f"test_{found.lower()}_") for name in globals()) for found in ids)


def own(view: Callable[..., object]) -> Callable[..., object]:
    """A decorator of the project's."""

    @wraps(view)
    def check(request: object) -> object:
        return view(request)

    return check


def test_w010_guard_above_a_check():
    """W010: a guard whose plan cannot answer early in full, since a decorator below it may check access."""

    def view(request: object) -> None: ...

    high = guard("inventory", plan=[{"json": {}}])
    kept = [high(own(view)), guard("inventory", plan=["unavailable"])(own(view)), own(high(view))]
    assert found("W010") == []  # its last place counts
    kept.append(high(own(view)))
    [message] = found("W010")
    assert message.msg.startswith(
        f"{__name__}.test_w010_guard_above_a_check.<locals>.view: guard('inventory') stands"
    )
    assert f"above {__name__}.own, which" in message.msg
    assert kept


def test_w010_routes_are_asked_before_their_views():
    """W010: a plan in ROUTES with steps that answer for nobody before the view has checked access."""
    private = {"stale": {"seconds": 60, "per": "builtins:id"}}
    plans = {
        "shop:routed": [{"stale": 60}, private, {"json": {}}, "unavailable"],
        "/shop/*": [{"stale": 60}, "unavailable"],
    }
    both = ["inventory", "prices"]
    with declared(ROUTES={name: {"breakers": both, "plan": plan} for name, plan in plans.items()}):
        [message] = found("W010")

    assert message.msg.startswith('RECLOSER["ROUTES"]["shop:routed"]["plan"] is asked before the view')
    assert message.msg.endswith("stale with per and json will not answer there.")


def test_w010_guard_above_a_check_of_a_method(settings):
    """W010: it is found on the methods of classes too."""

    @method_decorator(guard("inventory", plan=[{"json": {}}]), name="dispatch")
    class High(View):
        @method_decorator(own)
        def get(self, request: object) -> None: ...

        def post(self, request: object) -> None: ...

        @method_decorator(guard("prices", plan=[{"json": {}}]))
        @method_decorator(own)
        def put(self, request: object) -> None: ...

    settings.ROOT_URLCONF = (path("high", High.as_view()),)
    place = f"{__name__}.{High.__qualname__}"

    told = [message.msg.partition(" stands ")[0] for message in found("W010")]

    assert told == [
        f"{place}.get: guard('inventory')",
        f"{place}.put: guard('inventory')",
        f"{place}.put: guard('prices')",
    ]


def test_w010_guard_above_a_check_in_one_list(settings):
    """W010: also where one `method_decorator` puts both around a method, which shows neither the other."""
    high = guard("inventory", plan=[{"json": {}}])
    prices = guard("prices", plan=[{"json": {}}])

    def viewed(*decorators: object) -> object:
        class Listed(View):
            @method_decorator(decorators)
            def get(self, request: object) -> None: ...

        return path("listed", Listed.as_view())

    def told(*decorators: object) -> list[str]:
        settings.ROOT_URLCONF = (viewed(*decorators),)
        return [message.msg.partition("get: ")[2].partition(", which")[0] for message in found("W010")]

    login = "django.contrib.auth.decorators.user_passes_test"
    assert told(high, login_required) == [f"guard('inventory') stands above {login}"]
    assert told(high, prices, never_cache, own) == [
        f"guard('inventory') stands above {__name__}.own",
        f"guard('prices') stands above {__name__}.own",
    ]
    assert told(high, own, prices) == [f"guard('inventory') stands above {__name__}.own"]
    assert told(own, login_required, high, never_cache) == []
