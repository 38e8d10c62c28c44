"""Environment variables override single values of a declaration."""

from __future__ import annotations

import pytest

from recloser.config import from_mapping
from recloser.core.errors import ConfigurationError

DECLARED = {
    "DEFAULTS": {"recovery_timeout": 15},
    "PROFILES": {"http-api": {"window_seconds": 30}},
    "BREAKERS": {
        "payments": {"profile": "http-api", "recovery_timeout": 20},
        "eu.pay--ments": {},
        "tail-": {},
    },
    "ROUTES": {"shop:product": {"breakers": ["payments"]}},
}


def declare(**environ):
    return from_mapping(DECLARED, environ=environ)


def problems_of(declared=DECLARED, **environ):
    with pytest.raises(ConfigurationError) as caught:
        from_mapping(declared, environ=environ)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("variable", "breaker", "value"),
    [
        ("RECLOSER_BREAKERS__PAYMENTS__RECOVERY_TIMEOUT", "payments", 60),
        ("recloser_breakers__Payments__recovery_Timeout", "payments", 60),
        ("RECLOSER_BREAKERS__EU_PAY__MENTS__RECOVERY_TIMEOUT", "eu.pay--ments", 60),
        ("RECLOSER_BREAKERS__TAIL___RECOVERY_TIMEOUT", "tail-", 60),
        ("RECLOSER_DEFAULTS__RECOVERY_TIMEOUT", "tail-", 60),
        ("RECLOSER_DEFAULTS__RECOVERY_TIMEOUT", "payments", 20),
        ("RECLOSER_PROFILES__HTTP_API__RECOVERY_TIMEOUT", "payments", 20),
    ],
)
def test_a_variable_overrides_the_value_it_names(variable, breaker, value):
    """Names match whatever their case and punctuation, and a variable ranks as the table that it names."""
    policy = declare(**{variable: "60"}).breakers[breaker]

    assert policy.policy.recovery_timeout == value
    assert policy.provenance["recovery_timeout"] == (f"environment:{variable}" if value == 60 else "breaker")


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [
        ("recovery_timeout", "1.5", 1.5),
        ("honor_retry_after", "false", False),
        ("failure_threshold", "null", None),
        ("failure_on", "builtins:OSError", (OSError,)),
        ("failure_on", '"builtins:OSError"', (OSError,)),
        ("failure_on", '["builtins:OSError", "builtins:EOFError"]', (OSError, EOFError)),
    ],
)
def test_values_are_json_or_else_text(setting, text, value):
    """A value that parses as JSON is that; any other is a text."""
    declaration = declare(**{f"RECLOSER_BREAKERS__PAYMENTS__{setting.upper()}": text})

    assert getattr(declaration.breakers["payments"].policy, setting) == value


def test_texts_stay_texts():
    """A setting that is a text is one even where it looks like a number."""
    assert declare(RECLOSER_NAMESPACE="2026").namespace == "2026"
    assert declare(RECLOSER_NAMESPACE='"shop"').namespace == "shop"
    assert declare(RECLOSER_STORE="null").provenance["store"] == "environment:RECLOSER_STORE"


def test_origins_routes_and_cache():
    """A list or a plan can be given as JSON; sections that are not declared have their known settings."""
    declaration = declare(
        RECLOSER_BREAKERS__PAYMENTS__ORIGINS='["https://pay.example"]',
        RECLOSER_ROUTES__SHOP_PRODUCT__PLAN='[{"json": "sorry"}]',
        RECLOSER_CACHE__MAX_BYTES="1000",
    )

    assert declaration.breakers["payments"].origins == ("pay.example:443",)
    assert declaration.routes["shop:product"].plan.steps == ({"json": "sorry"},)
    assert declaration.routes["shop:product"].plan.path == "RECLOSER_ROUTES__SHOP_PRODUCT__PLAN"
    assert declaration.cache == {"max_bytes": 1000}


def test_the_cache_and_what_stands_outside_every_section():
    """A server's URL and the secret are texts, whatever they look like; `expose` is JSON."""
    declaration = declare(
        RECLOSER_CACHE__URL="redis://:pw@127.0.0.1/0",
        RECLOSER_CACHE__MAX_BODY="5000",
        RECLOSER_EXPOSE="true",
        RECLOSER_SECRET="12345",
    )

    assert declaration.cache == {"url": "redis://:pw@127.0.0.1/0", "max_body": 5000}
    assert declaration.expose is True
    assert declaration.secret == "12345"
    assert declaration.provenance["cache.url"] == "environment:RECLOSER_CACHE__URL"
    assert declaration.places["secret"] == "RECLOSER_SECRET"


def test_the_process_environment_counts_by_default(monkeypatch):
    """Without `environ` the process's own variables are read, at the time of the call."""
    monkeypatch.setenv("RECLOSER_NAMESPACE", "shop")

    assert from_mapping({}).namespace == "shop"


@pytest.mark.parametrize(
    "variable",
    [
        "RECLOSER_TOKEN",
        "RECLOSER_BREAKERS",
        "RECLOSERS__X",
        "MY_RECLOSER_STORE",
        "PATH",
        "RECLOSER_",
        "RECLOSER",
    ],
)
def test_other_variables_are_left_alone(variable):
    """A variable without a section and `__` is somebody else's."""
    assert declare(**{variable: "secret"}) == declare()


@pytest.mark.parametrize(
    ("variable", "text", "value", "fix"),
    [
        (
            "RECLOSER_BREAKER__PAYMENTS__RECOVERY_TIMEOUT",
            "60",
            "'BREAKER'",
            "overrides no section (did you mean 'BREAKERS'?)",
        ),
        (
            "RECLOSER_BREAKERS__PAYMNETS__RECOVERY_TIMEOUT",
            "60",
            "'PAYMNETS'",
            "overrides no declared breaker (did you mean 'PAYMENTS'?)",
        ),
        (
            "RECLOSER_PROFILES__HTPP_API__RECOVERY_TIMEOUT",
            "60",
            "'HTPP_API'",
            "overrides no declared profile (did you mean 'HTTP_API'?)",
        ),
        (
            "RECLOSER_ROUTES__SHOP_PRODUKT__PLAN",
            "[]",
            "'SHOP_PRODUKT'",
            "overrides no declared route (did you mean 'SHOP_PRODUCT'?)",
        ),
        (
            "RECLOSER_BREAKERS__PAYMENTS__RECOVERY_TIMOUT",
            "60",
            "'RECOVERY_TIMOUT'",
            "overrides no setting (did you mean 'RECOVERY_TIMEOUT'?)",
        ),
        (
            "RECLOSER_DEFAULTS__RECOVERY__TIMEOUT",
            "60",
            "'RECOVERY__TIMEOUT'",
            "overrides no setting (did you mean 'RECOVERY_TIMEOUT'?)",
        ),
        (
            "RECLOSER_BREAKERS__PAYMENTS",
            "60",
            "'PAYMENTS'",
            "must name a breaker and one setting of it, as …__NAME__SETTING",
        ),
        (
            "RECLOSER_BREAKERS__PAYMENTS__RECOVERY_TIMEOUT",
            "30s",
            "'30s'",
            "must be a positive number of seconds (or a timedelta)",
        ),
        (
            "RECLOSER_BREAKERS__PAYMENTS__WINDOW_SECONDS",
            "NaN",
            "nan",
            "must be a positive number of seconds (or a timedelta)",
        ),
        (
            "RECLOSER_BREAKERS__PAYMENTS__RECOVERY_TIMEOUT_MAX",
            "5",
            "20",
            "must be at most recovery_timeout_max (5 s)",
        ),
    ],
)
def test_a_wrong_variable_is_told_by_its_name(variable, text, value, fix):
    """A variable that names nothing declared, or whose value is wrong, is an error with the nearest name."""
    (problem,) = problems_of(**{variable: text})

    assert (problem.value, problem.fix) == (value, fix)
    assert problem.path == (
        'RECLOSER["BREAKERS"]["payments"]["recovery_timeout"]' if "MAX" in variable else variable
    )


def test_a_name_that_fits_two_breakers_is_ambiguous():
    """A variable that could mean either of two breakers is refused, and only then."""
    declared = {"BREAKERS": {"pay.eu": {}, "pay-eu": {}, "other": {}}}
    environ = {"RECLOSER_BREAKERS__PAY_EU__RECOVERY_TIMEOUT": "60"}

    assert problems_of(declared, **environ) == [
        (
            "RECLOSER_BREAKERS__PAY_EU__RECOVERY_TIMEOUT",
            "'PAY_EU'",
            "must mean one breaker, but 'pay.eu' and 'pay-eu' are alike here",
        )
    ]
    from_mapping(declared, environ={"RECLOSER_BREAKERS__OTHER__RECOVERY_TIMEOUT": "60"})


def test_two_spellings_of_one_variable_are_ambiguous():
    """Two variables that differ in case only say the same setting: neither is chosen silently."""
    (problem,) = problems_of(RECLOSER_NAMESPACE="a", recloser_namespace="b")

    assert (problem.path, problem.fix) == (
        "recloser_namespace",
        "must not be set beside RECLOSER_NAMESPACE: both say the same setting",
    )


def test_a_store_from_the_environment():
    """`RECLOSER_STORE` is a store's URL like a declared one; a wrong one is told without its password."""
    assert declare(RECLOSER_STORE="redis://:s3cret@h/0").store == "redis://:s3cret@h/0"
    (problem,) = problems_of(RECLOSER_STORE="radish://:s3cret@h/0")

    assert (problem.path, problem.value) == ("RECLOSER_STORE", "'radish://***'")


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "1" * 5000, ""])
def test_hostile_texts_are_texts(text):
    """A value that JSON cannot read, however deep or long, is a text."""
    (problem,) = problems_of(RECLOSER_DEFAULTS__RECOVERY_TIMEOUT=text)

    assert problem.fix == "must be a positive number of seconds (or a timedelta)"
