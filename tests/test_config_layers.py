"""Defaults, profiles and a breaker's own settings make one policy, and every value knows its layer."""

from __future__ import annotations

from datetime import timedelta

import pytest

from recloser import Policy
from recloser.config import from_mapping


def declare(environ=None, **sections):
    return from_mapping(sections, environ=environ or {})


def layered(*layers):
    """Declare one breaker over DEFAULTS, two profiles and its own settings."""
    defaults, base, profile, own = layers
    declaration = declare(
        DEFAULTS=defaults,
        PROFILES={"http": {"profile": "base", **profile}, "base": base},
        BREAKERS={"payments": {"profile": "http", **own}},
    )
    return declaration.breakers["payments"]


def test_nothing_said():
    """A breaker of which nothing is said has the default policy."""
    payments = declare(BREAKERS={"payments": {}}).breakers["payments"]

    assert payments.policy == Policy()
    assert set(payments.provenance.values()) == {"default"}
    assert (payments.name, payments.origins, payments.plan) == ("payments", (), None)


@pytest.mark.parametrize(
    ("layers", "value", "source"),
    [
        (({"recovery_timeout": 1}, {}, {}, {}), 1, "defaults"),
        (({"recovery_timeout": 1}, {"recovery_timeout": 2}, {}, {}), 2, "profile:base"),
        (
            ({"recovery_timeout": 1}, {"recovery_timeout": 2}, {"recovery_timeout": 3}, {}),
            3,
            "profile:http",
        ),
        (
            (
                {"recovery_timeout": 1},
                {"recovery_timeout": 2},
                {"recovery_timeout": 3},
                {"recovery_timeout": 4},
            ),
            4,
            "breaker",
        ),
        (({}, {}, {}, {}), 30, "default"),
    ],
)
def test_the_nearest_layer_wins(layers, value, source):
    """A breaker's own value goes before its profile's, before that one's own profile, before the defaults."""
    payments = layered(*layers)

    assert payments.policy.recovery_timeout == value
    assert payments.provenance["recovery_timeout"] == source


SECONDS, CALLS = {"window_seconds": 30}, {"window_calls": 100}


@pytest.mark.parametrize(
    ("layers", "window", "sources"),
    [
        (({}, {}, {}, {}), (60, None), ("default", "default")),
        ((CALLS, {}, {}, {}), (None, 100), ("defaults", "defaults")),
        ((CALLS, SECONDS, {}, {}), (30, None), ("profile:base", "default")),
        ((SECONDS, {}, {}, CALLS), (None, 100), ("breaker", "breaker")),
        ((SECONDS, CALLS, {}, {"window_seconds": 5}), (5, None), ("breaker", "default")),
        ((SECONDS, CALLS, SECONDS, CALLS), (None, 100), ("breaker", "breaker")),
        ((CALLS, {}, {}, {"window_calls": None}), (60, None), ("default", "breaker")),
        ((CALLS, {}, {}, {"window_seconds": None}), (None, 100), ("breaker", "defaults")),
        ((CALLS, {}, {}, {"window_seconds": 5, "window_calls": None}), (5, None), ("breaker", "breaker")),
    ],
)
def test_one_window_clears_the_other(layers, window, sources):
    """Setting one window in a layer takes back the other one, if a lower layer had set it."""
    payments = layered(*layers)

    assert (payments.policy.window_seconds, payments.policy.window_calls) == window
    assert (payments.provenance["window_seconds"], payments.provenance["window_calls"]) == sources


def test_a_window_of_the_environment_clears_one_of_its_own_table():
    """An override is a layer of its own over what is written beside it."""
    environ = {"RECLOSER_BREAKERS__PAYMENTS__WINDOW_CALLS": "100"}

    payments = declare(environ, BREAKERS={"payments": SECONDS}).breakers["payments"]

    assert (payments.policy.window_seconds, payments.policy.window_calls) == (None, 100)


@pytest.mark.parametrize(
    ("layers", "threshold", "source"),
    [
        (({}, {}, {}, {}), 5, "default"),
        (({}, {}, {"failure_rate_threshold": 0.5}, {}), None, "profile:http"),
        (({"slow_call_rate_threshold": 0.5, "slow_call_duration": 2}, {}, {}, {}), None, "defaults"),
        (({"failure_threshold": 7}, {}, {"failure_rate_threshold": 0.5}, {}), 7, "defaults"),
        (({}, {"failure_rate_threshold": 0.5}, {}, {"failure_threshold": 3}), 3, "breaker"),
        (({}, {"failure_rate_threshold": 0.5}, {}, {"failure_rate_threshold": None}), 5, "default"),
        (({}, {}, {}, {"failure_threshold": None}), None, "breaker"),
    ],
)
def test_a_rate_in_any_layer_switches_the_unset_failure_threshold_off(layers, threshold, source):
    """`failure_threshold` left unset in every layer is 5, or off if the merged layers judge a rate."""
    payments = layered(*layers)

    assert payments.policy.failure_threshold == threshold
    assert payments.provenance["failure_threshold"] == source


def test_defaults_are_a_policy_of_their_own():
    """Whoever makes a breaker at run time finds the defaults as a policy, with provenance."""
    defaults = declare(DEFAULTS={"failure_rate_threshold": 0.5}).defaults

    assert defaults.policy == Policy(failure_rate_threshold=0.5)
    assert defaults.provenance["failure_rate_threshold"] == "defaults"
    assert defaults.provenance["failure_threshold"] == "defaults"


def test_every_knob_has_a_provenance():
    """Provenance names every knob of the policy, and a breaker's origins, plan and what that answers."""
    payments = declare(BREAKERS={"payments": {"plan": ["unavailable"]}}).breakers["payments"]

    assert set(payments.provenance) == {*Policy.__dataclass_fields__, "origins", "plan", "on"}
    assert (payments.provenance["origins"], payments.provenance["plan"]) == ("default", "breaker")


def test_durations_may_be_timedeltas():
    """Seconds are numbers or `timedelta`."""
    payments = declare(BREAKERS={"payments": {"recovery_timeout": timedelta(minutes=2)}}).breakers["payments"]

    assert payments.policy.recovery_timeout == 120.0


def test_names_become_objects(tmp_path, monkeypatch):
    """`"pkg.module:Name"` is imported, nested attributes too; objects are taken as they are."""
    (tmp_path / "shop_faults.py").write_text(
        "class Refused(Exception):\n"
        "    class Twice(Exception):\n"
        "        pass\n"
        "def is_bad(result):\n"
        "    return result == 'bad'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    policy = (
        declare(
            BREAKERS={
                "payments": {
                    "failure_on": ["shop_faults:Refused.Twice", "builtins:TimeoutError", ValueError],
                    "ignore": "shop_faults:Refused",
                    "failure_if": "shop_faults:is_bad",
                }
            }
        )
        .breakers["payments"]
        .policy
    )

    import shop_faults

    assert policy.failure_on == (shop_faults.Refused.Twice, TimeoutError, ValueError)
    assert policy.ignore == (shop_faults.Refused,)
    assert policy.failure_if is shop_faults.is_bad


def test_routes_and_their_plans():
    """A route names its breakers, and has one plan for all or one for each."""
    declaration = declare(
        BREAKERS={"inventory": {}, "reviews": {}},
        ROUTES={
            "shop:product": {"breakers": ["inventory", "reviews"], "plan": [{"stale": 60}, "unavailable"]},
            "/cart": {"breakers": ["reviews", "inventory"], "plan": {"reviews": [{"json": []}]}},
            "home": {"breakers": ["inventory"]},
        },
    )

    product, cart, home = declaration.routes.values()

    assert (product.name, product.breakers) == ("shop:product", ("inventory", "reviews"))
    assert product.plan.steps == ({"stale": 60}, "unavailable")
    assert product.plan.path == 'RECLOSER["ROUTES"]["shop:product"]["plan"]'
    assert product.path == 'RECLOSER["ROUTES"]["shop:product"]'
    assert (cart.plan, list(cart.plans)) == (None, ["reviews"])
    assert cart.plans["reviews"].steps == ({"json": []},)
    assert cart.plans["reviews"].path == 'RECLOSER["ROUTES"]["/cart"]["plan"]["reviews"]'
    assert (home.plan, dict(home.plans), home.record) == (None, {}, None)
    assert dict(home.provenance) == {
        "breakers": "route",
        "plan": "default",
        "on": "default",
        "record": "default",
    }


def test_what_a_plan_answers():
    """Open circuits, or counted failures too; all plans of a route alike; the environment may say it."""
    declaration = declare(
        {"RECLOSER_BREAKERS__REVIEWS__ON": '["failure", "open"]'},
        BREAKERS={"inventory": {"plan": [{"stale": 60}]}, "reviews": {"plan": ["unavailable"]}},
        ROUTES={
            "one": {"breakers": ["inventory"], "plan": [], "on": ("open", "failure")},
            "each": {"breakers": ["reviews"], "plan": {"reviews": []}, "on": ["open", "failure"]},
            "open": {"breakers": ["reviews"], "plan": [], "on": ["open"]},
        },
    )

    assert declaration.breakers["inventory"].plan.on == ("open",)
    assert declaration.breakers["reviews"].plan.on == ("open", "failure")
    assert declaration.breakers["reviews"].provenance["on"] == "environment:RECLOSER_BREAKERS__REVIEWS__ON"
    assert declaration.routes["one"].plan.on == ("open", "failure")
    assert declaration.routes["each"].plans["reviews"].on == ("open", "failure")
    assert declaration.routes["open"].plan.on == ("open",)


@pytest.mark.parametrize("record", [True, False, None])
def test_a_route_says_whether_its_own_outcome_counts(record):
    """`None` is as good as absent."""
    declaration = declare(BREAKERS={"a": {}}, ROUTES={"home": {"breakers": ["a"], "record": record}})

    assert declaration.routes["home"].record is record


def test_a_declaration_is_immutable():
    """Neither the declaration nor the mappings in it can be changed."""
    declaration = declare(BREAKERS={"a": {"plan": [{"stale": 1}]}}, CACHE={"max_bytes": 5})

    for mapping in (
        declaration.breakers,
        declaration.routes,
        declaration.cache,
        declaration.provenance,
        declaration.breakers["a"].provenance,
        declaration.breakers["a"].plan.steps[0],
    ):
        with pytest.raises(TypeError):
            mapping["x"] = 1
    with pytest.raises(AttributeError):
        declaration.namespace = "other"
    with pytest.raises(AttributeError):
        declaration.breakers["a"].policy.recovery_timeout = 1


def test_provenance_outside_breakers():
    """The namespace and the cache know where they came from, too."""
    declaration = declare(
        {"RECLOSER_CACHE__MAX_BYTES": "2000"}, NAMESPACE="shop", CACHE={"max_bytes": 64_000_000}
    )

    assert (declaration.namespace, dict(declaration.cache)) == ("shop", {"max_bytes": 2000})
    assert dict(declaration.provenance) == {
        "store": "default",
        "namespace": "declaration",
        "expose": "default",
        "secret": "default",
        "cache.max_bytes": "environment:RECLOSER_CACHE__MAX_BYTES",
    }
