"""A wrong declaration lists every problem at once: where, what, and how to mend it."""

from __future__ import annotations

import copy
import math

import pytest

from recloser.config import from_mapping
from recloser.core.errors import ConfigurationError


def problems_of(declared, environ=None):
    with pytest.raises(ConfigurationError) as caught:
        from_mapping(declared, environ=environ or {})
    return list(caught.value.problems)


def only_problem(declared):
    (problem,) = problems_of(declared)
    return problem


def breaker(**settings):
    return {"BREAKERS": {"payments": settings}}


PAYMENTS = 'RECLOSER["BREAKERS"]["payments"]'
SECONDS = "must be a positive number of seconds (or a timedelta)"
WHOLE = "must be a whole number, at least 1"
RATIO = "must be a ratio above 0 and at most 1"
ORIGIN = "must be an origin such as 'https://api.example' or 'http://127.0.0.1:8080'"
MATCH = "must name an exception type or a predicate of one; "
IMPORT = 'must be an object or its name as "pkg.module:Name"'
NAME = "must be named in lower-case letters, digits and . _ : -, beginning with a letter or digit"

WRONG = [
    # what plans answer
    *(
        (
            {"BREAKERS": {"payments": {"plan": ["unavailable"], "on": on}}},
            f'{PAYMENTS}["on"]',
            repr(on),
            'must be ["open"], or ["open", "failure"] to answer counted failures too',
        )
        for on in ("failure", [], ["failure"], ["open", "closed"], ["open", 5], [["open"]], None)
    ),
    (
        {"BREAKERS": {"payments": {"on": ["open", "failure"]}}},
        f'{PAYMENTS}["on"]',
        "['open', 'failure']",
        "must stand beside the plan that it is about",
    ),
    # the outermost mapping
    (None, "RECLOSER", "None", "must be a mapping of settings"),
    ([1], "RECLOSER", "[1]", "must be a mapping of settings"),
    ({"BREAKER": {}}, 'RECLOSER["BREAKER"]', "{}", "is no section (did you mean 'BREAKERS'?)"),
    ({"breakers": {}}, 'RECLOSER["breakers"]', "{}", "is no section (did you mean 'BREAKERS'?)"),
    (
        {"zzz": 1},
        'RECLOSER["zzz"]',
        "1",
        "is no section (known: STORE, NAMESPACE, DEFAULTS, PROFILES, BREAKERS, ROUTES, CACHE, EXPOSE, SECRET)",
    ),
    (
        {5: 1},
        "RECLOSER[5]",
        "1",
        "is no section (known: STORE, NAMESPACE, DEFAULTS, PROFILES, BREAKERS, ROUTES, CACHE, EXPOSE, SECRET)",
    ),
    # namespace
    (
        {"NAMESPACE": "a shop"},
        'RECLOSER["NAMESPACE"]',
        "'a shop'",
        "must be a text of letters, digits and . _ -, beginning with a letter or digit",
    ),
    (
        {"NAMESPACE": 7},
        'RECLOSER["NAMESPACE"]',
        "7",
        "must be a text of letters, digits and . _ -, beginning with a letter or digit",
    ),
    # shapes of sections
    ({"DEFAULTS": None}, 'RECLOSER["DEFAULTS"]', "None", "must be a mapping of settings"),
    ({"CACHE": 5}, 'RECLOSER["CACHE"]', "5", "must be a mapping of settings"),
    ({"BREAKERS": ["a"]}, 'RECLOSER["BREAKERS"]', "['a']", "must be a mapping of names to settings"),
    ({"BREAKERS": {"payments": 5}}, PAYMENTS, "5", "must be a mapping of settings"),
    ({"PROFILES": {"http": None}}, 'RECLOSER["PROFILES"]["http"]', "None", "must be a mapping of settings"),
    # names
    ({"BREAKERS": {"Payments": {}}}, 'RECLOSER["BREAKERS"]["Payments"]', "'Payments'", NAME),
    ({"BREAKERS": {"": {}}}, 'RECLOSER["BREAKERS"][""]', "''", NAME),
    ({"BREAKERS": {"pay ments": {}}}, 'RECLOSER["BREAKERS"]["pay ments"]', "'pay ments'", NAME),
    ({"BREAKERS": {"payments\n": {}}}, r'RECLOSER["BREAKERS"]["payments\n"]', r"'payments\n'", NAME),
    ({"BREAKERS": {"-a": {}}}, 'RECLOSER["BREAKERS"]["-a"]', "'-a'", NAME),
    ({"BREAKERS": {7: {}}}, 'RECLOSER["BREAKERS"][7]', "7", NAME),
    ({"PROFILES": {"": {}}}, 'RECLOSER["PROFILES"][""]', "''", "must be named by a text"),
    ({"ROUTES": {None: {}}}, 'RECLOSER["ROUTES"][None]', "None", "must be named by a text"),
    # unknown settings
    (
        breaker(recovery_timeot=3),
        f'{PAYMENTS}["recovery_timeot"]',
        "3",
        "is no setting here (did you mean 'recovery_timeout'?)",
    ),
    (
        breaker(RECOVERY_TIMEOUT=3),
        f'{PAYMENTS}["RECOVERY_TIMEOUT"]',
        "3",
        "is no setting here (did you mean 'recovery_timeout'?)",
    ),
    (
        {"DEFAULTS": {"origins": []}},
        'RECLOSER["DEFAULTS"]["origins"]',
        "[]",
        "is no setting here",
    ),
    (
        {"PROFILES": {"p": {"plan": []}}},
        'RECLOSER["PROFILES"]["p"]["plan"]',
        "[]",
        "is no setting here",
    ),
    (
        {"CACHE": {"max_byte": 1}},
        'RECLOSER["CACHE"]["max_byte"]',
        "1",
        "is no setting here (did you mean 'max_bytes'?)",
    ),
    # values of knobs
    (breaker(recovery_timeout="30s"), f'{PAYMENTS}["recovery_timeout"]', "'30s'", SECONDS),
    (breaker(recovery_timeout=0), f'{PAYMENTS}["recovery_timeout"]', "0", SECONDS),
    (breaker(recovery_timeout=math.nan), f'{PAYMENTS}["recovery_timeout"]', "nan", SECONDS),
    (breaker(recovery_timeout=True), f'{PAYMENTS}["recovery_timeout"]', "True", SECONDS),
    (breaker(failure_threshold=2.5), f'{PAYMENTS}["failure_threshold"]', "2.5", WHOLE),
    (breaker(failure_rate_threshold=50), f'{PAYMENTS}["failure_rate_threshold"]', "50", RATIO),
    (breaker(honor_retry_after="yes"), f'{PAYMENTS}["honor_retry_after"]', "'yes'", "must be true or false"),
    ({"DEFAULTS": {"probe_timeout": -1}}, 'RECLOSER["DEFAULTS"]["probe_timeout"]', "-1", SECONDS),
    (
        {"PROFILES": {"unused": {"probe_timeout": -1}}},
        'RECLOSER["PROFILES"]["unused"]["probe_timeout"]',
        "-1",
        SECONDS,
    ),
    # impossible pairs
    (
        breaker(window_seconds=30, window_calls=100),
        f'{PAYMENTS}["window_calls"]',
        "100",
        "and window_seconds: exactly one must be set",
    ),
    (
        breaker(window_calls=5, failure_rate_threshold=0.5),
        f'{PAYMENTS}["minimum_calls"]',
        "10 by default",
        "must be at most window_calls (5), or no rate is ever judged",
    ),
    (
        breaker(slow_call_duration=2),
        f'{PAYMENTS}["slow_call_duration"]',
        "2",
        "and slow_call_rate_threshold must be set together",
    ),
    (
        {"PROFILES": {"slow": {"recovery_timeout": 90}}} | breaker(profile="slow", recovery_timeout_max=60),
        f'{PAYMENTS}["recovery_timeout"]',
        "90 from profile:slow",
        "must be at most recovery_timeout_max (60 s)",
    ),
    # objects by name
    (
        breaker(failure_on="TimeoutError"),
        f'{PAYMENTS}["failure_on"]',
        "'TimeoutError'",
        f'{IMPORT} (the builtin: "builtins:TimeoutError")',
    ),
    (breaker(failure_on="requests.Timeout"), f'{PAYMENTS}["failure_on"]', "'requests.Timeout'", IMPORT),
    (breaker(failure_on="a:b:c"), f'{PAYMENTS}["failure_on"]', "'a:b:c'", IMPORT),
    (breaker(failure_on=".x:Y"), f'{PAYMENTS}["failure_on"]', "'.x:Y'", IMPORT),
    (
        breaker(failure_on="no_such_module:X"),
        f'{PAYMENTS}["failure_on"]',
        "'no_such_module:X'",
        "must name something importable (ModuleNotFoundError: No module named 'no_such_module')",
    ),
    (
        breaker(ignore=["builtins:KeyError", "builtins:KeyErorr"]),
        f'{PAYMENTS}["ignore"][1]',
        "'builtins:KeyErorr'",
        "must name something that exists (AttributeError: module 'builtins' has no attribute 'KeyErorr')",
    ),
    (
        breaker(failure_on="math:pi"),
        f'{PAYMENTS}["failure_on"]',
        "'math:pi'",
        f"{MATCH}math:pi is of type float",
    ),
    (
        breaker(failure_on="builtins:dict"),
        f'{PAYMENTS}["failure_on"]',
        "'builtins:dict'",
        f"{MATCH}builtins:dict is another class",
    ),
    (
        breaker(failure_if="math:pi"),
        f'{PAYMENTS}["failure_if"]',
        "'math:pi'",
        "must name a function; math:pi is of type float",
    ),
    (
        breaker(failure_on=[ValueError, dict]),
        f'{PAYMENTS}["failure_on"]',
        "[<class 'ValueError'>, <class 'dict'>]",
        "must name exception types or predicates; dict is not an exception",
    ),
    (breaker(failure_if=3), f'{PAYMENTS}["failure_if"]', "3", "must be a function of the result"),
    # profiles
    (
        {"PROFILES": {"http": {}}} | breaker(profile="htpp"),
        f'{PAYMENTS}["profile"]',
        "'htpp'",
        "must name a profile (did you mean 'http'?)",
    ),
    (breaker(profile=None), f'{PAYMENTS}["profile"]', "None", "must name a profile"),
    (
        {"PROFILES": {"a": {"profile": "b"}, "b": {"profile": "c"}, "c": {"profile": "b"}}},
        'RECLOSER["PROFILES"]["b"]["profile"]',
        "'c'",
        "must not lead back to the profile itself (b -> c -> b)",
    ),
    (
        {"PROFILES": {"a": {"profile": "a"}}} | breaker(profile="a"),
        'RECLOSER["PROFILES"]["a"]["profile"]',
        "'a'",
        "must not lead back to the profile itself (a -> a)",
    ),
    # origins
    (
        breaker(origins="https://a.example"),
        f'{PAYMENTS}["origins"]',
        "'https://a.example'",
        "must be a list of origins such as 'https://api.example'",
    ),
    (breaker(origins=[5]), f'{PAYMENTS}["origins"][0]', "5", ORIGIN),
    (breaker(origins=["ftp://a.example"]), f'{PAYMENTS}["origins"][0]', "'ftp://a.example'", ORIGIN),
    (
        breaker(origins=["https://a.example", "https://b.example/v1"]),
        f'{PAYMENTS}["origins"][1]',
        "'https://b.example/v1'",
        f"{ORIGIN}, without path, query or fragment",
    ),
    # plans
    (
        breaker(plan={"stale": 600}),
        f'{PAYMENTS}["plan"]',
        "{'stale': 600}",
        'must be a list of steps such as {"stale": 600}',
    ),
    (
        breaker(plan=["unavailable", {}]),
        f'{PAYMENTS}["plan"][1]',
        "{}",
        'must be a step such as {"stale": 600}',
    ),
    (
        breaker(plan=[{5: 600}]),
        f'{PAYMENTS}["plan"][0]',
        "{5: 600}",
        'must be a step such as {"stale": 600}',
    ),
    # routes
    (
        {"ROUTES": {"shop:product": {}}},
        'RECLOSER["ROUTES"]["shop:product"]["breakers"]',
        "nothing",
        "must list the names of breakers",
    ),
    (
        {"ROUTES": {"home": {"breakers": []}}},
        'RECLOSER["ROUTES"]["home"]["breakers"]',
        "[]",
        "must list the names of breakers",
    ),
    (
        {"ROUTES": {"home": {"breakers": ["payments"], "record": "no"}}} | breaker(),
        'RECLOSER["ROUTES"]["home"]["record"]',
        "'no'",
        "must be true or false",
    ),
    (
        {"ROUTES": {"home": {"breakers": "payments"}}} | breaker(),
        'RECLOSER["ROUTES"]["home"]["breakers"]',
        "'payments'",
        "must list the names of breakers",
    ),
    (
        {"ROUTES": {"home": {"breakers": ["payments", "paymnets"]}}} | breaker(),
        'RECLOSER["ROUTES"]["home"]["breakers"][1]',
        "'paymnets'",
        "is no declared breaker (did you mean 'payments'?)",
    ),
    (
        {"ROUTES": {"home": {"breakers": ["payments"], "plan": 600}}} | breaker(),
        'RECLOSER["ROUTES"]["home"]["plan"]',
        "600",
        'must be a list of steps such as {"stale": 600}',
    ),
    (
        {"ROUTES": {"home": {"breakers": ["payments"], "plan": {"inventory": []}}}} | breaker(),
        'RECLOSER["ROUTES"]["home"]["plan"]["inventory"]',
        "[]",
        "is no breaker of this route (known: payments)",
    ),
    (
        {"ROUTES": {"home": {"breakers": ["payments"], "plan": {"payments": [5]}}}} | breaker(),
        'RECLOSER["ROUTES"]["home"]["plan"]["payments"][0]',
        "5",
        'must be a step such as {"stale": 600}',
    ),
    (
        {"ROUTES": {"home": {"breakers": ["payments"], "plan": {"payments": 5}}}} | breaker(),
        'RECLOSER["ROUTES"]["home"]["plan"]["payments"]',
        "5",
        'must be a list of steps such as {"stale": 600}',
    ),
    # cache
    (
        {"CACHE": {"max_bytes": "64 MB"}},
        'RECLOSER["CACHE"]["max_bytes"]',
        "'64 MB'",
        "must be a whole number of bytes, at least 1",
    ),
    (
        {"CACHE": {"max_body": 0}},
        'RECLOSER["CACHE"]["max_body"]',
        "0",
        "must be a whole number of bytes, at least 1",
    ),
    (
        {"CACHE": {"alias": 7}},
        'RECLOSER["CACHE"]["alias"]',
        "7",
        "must be an alias of Django's CACHES",
    ),
    (
        {"CACHE": {"url": "memcached://ann:pw@h"}},
        'RECLOSER["CACHE"]["url"]',
        "'memcached://***'",
        "must be the URL of a Redis or Valkey server, such as 'redis://127.0.0.1:6379/0'",
    ),
    (
        {"CACHE": {"url": "redis://:pw@h/0", "alias": "default"}},
        'RECLOSER["CACHE"]["url"]',
        "'redis://***@h/0'",
        "must not stand beside alias: responses are kept in one place",
    ),
    (
        {"CACHE": {"max_bytes": 5, "alias": "default"}},
        'RECLOSER["CACHE"]["max_bytes"]',
        "5",
        "must not stand beside alias: it bounds the memory of each process, and responses are not kept there",
    ),
    (
        {"CACHE": {"max_bytes": 5, "url": "unix:///run/valkey.sock"}},
        'RECLOSER["CACHE"]["max_bytes"]',
        "5",
        "must not stand beside url: it bounds the memory of each process, and responses are not kept there",
    ),
    # what stands outside every section
    ({"EXPOSE": "yes"}, 'RECLOSER["EXPOSE"]', "'yes'", "must be true or false"),
    ({"SECRET": ""}, 'RECLOSER["SECRET"]', "an empty text", "must be a text that nobody can guess"),
    ({"SECRET": ["s3cret"]}, 'RECLOSER["SECRET"]', "a list", "must be a text that nobody can guess"),
    ({"SECRETS": "s3cret"}, 'RECLOSER["SECRETS"]', "'***'", "is no section (did you mean 'SECRET'?)"),
]


@pytest.mark.parametrize(("declared", "path", "value", "fix"), WRONG)
def test_one_problem_names_path_value_and_fix(declared, path, value, fix):
    """Each wrong setting is told with the path as its author wrote it, the value found, and the fix."""
    assert only_problem(declared) == (path, value, fix)


def test_the_text_reads_as_a_sentence():
    """A single problem's text is its path, fix and value in one line."""
    with pytest.raises(ConfigurationError) as caught:
        from_mapping(breaker(recovery_timeout="30s"), environ={})

    assert str(caught.value) == (
        'RECLOSER["BREAKERS"]["payments"]["recovery_timeout"] '
        "must be a positive number of seconds (or a timedelta), got '30s'"
    )


def test_the_mapping_is_called_by_its_name():
    """Paths begin with the name that the caller gives the mapping."""
    with pytest.raises(ConfigurationError) as caught:
        from_mapping({"DEFAULTS": 5}, path="settings.BREAKERS", environ={})

    assert caught.value.problems[0].path == 'settings.BREAKERS["DEFAULTS"]'


def test_all_problems_are_listed_at_once():
    """One error holds the problems of every section, of the environment too."""
    everything = {
        "STORE": "radish://h",
        "NAMESPACE": "",
        "BREAKER": {},
        "DEFAULTS": {"recovery_timeout": "x"},
        "PROFILES": {"a": {"profile": "a"}},
        "BREAKERS": {
            "one": {"profile": "b", "origins": ["nonsense"], "ignore": "nothing:here"},
            "two": {"window_calls": 5, "failure_rate_threshold": 0.5, "plan": 3},
        },
        "ROUTES": {"home": {"breakers": ["three"]}},
        "CACHE": {"max_bytes": 0},
    }

    found = problems_of(everything, {"RECLOSER_BREAKERS__ONE__PROBE_TIMEOUT": "soon"})

    assert [problem.path for problem in found] == [
        'RECLOSER["BREAKER"]',
        'RECLOSER["STORE"]',
        'RECLOSER["NAMESPACE"]',
        'RECLOSER["DEFAULTS"]["recovery_timeout"]',
        'RECLOSER["PROFILES"]["a"]["profile"]',
        'RECLOSER["BREAKERS"]["one"]["ignore"]',
        "RECLOSER_BREAKERS__ONE__PROBE_TIMEOUT",
        'RECLOSER["BREAKERS"]["one"]["profile"]',
        'RECLOSER["BREAKERS"]["one"]["origins"][0]',
        'RECLOSER["BREAKERS"]["two"]["minimum_calls"]',
        'RECLOSER["BREAKERS"]["two"]["plan"]',
        'RECLOSER["ROUTES"]["home"]["breakers"][0]',
        'RECLOSER["CACHE"]["max_bytes"]',
    ]


def test_an_impossible_pair_of_the_defaults_is_told_once():
    """Breakers that inherit an impossible pair do not repeat it."""
    declared = {"DEFAULTS": {"slow_call_duration": 2}, "BREAKERS": {"a": {}, "b": {}}}

    assert only_problem(declared).path == 'RECLOSER["DEFAULTS"]["slow_call_duration"]'


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"slow_call_duration": 2}, {"slow_call_rate_threshold": 5}),
        ({"recovery_timeout": 900}, {"recovery_timeout_max": "long"}),
        ({"window_calls": 5, "failure_rate_threshold": 0.5}, {"minimum_calls": 0}),
        ({"window_calls": 5, "minimum_calls": 9, "slow_call_duration": 1}, {"slow_call_rate_threshold": 5}),
        ({"window_seconds": None}, {"window_calls": "many"}),
    ],
)
def test_no_pair_is_judged_on_a_wrong_value(good, bad):
    """A pair of which one half is wrong is not called impossible: only the wrong half is told."""
    (knob,) = bad

    assert only_problem(breaker(**good, **bad)).path == f'{PAYMENTS}["{knob}"]'


def test_no_pair_is_judged_without_its_profile():
    """A breaker whose profile cannot be found is not judged on what the profile may have said."""
    declared = breaker(profile="slow", slow_call_duration=2)

    assert only_problem(declared).path == f'{PAYMENTS}["profile"]'


SECRETS = [
    {"STORE": "radish://ann:s3cret@127.0.0.1:6379/0"},
    {"STORE": "redis://:pa@s3cret/0@h"},
    {"STORE": "s3cret"},
    {"STORE": ["redis://:s3cret@h"]},
    {"STORE": b"redis://:s3cret@h"},
    {"STOER": "redis://:s3cret@h"},
    {"STOER": {"url": "redis://:s3cret@h"}},
    {"STOER": b"redis://:s3cret" + b"x" * 200 + b"@h"},
    {"STOER": "redis:s3cret@h"},
    {"STOER": "redis://h?password=s3cret"},
    {"CACHE": {"url": "redis://:s3cret@h", "max_bytes": 5}},
    {"CACHE": {"url": "redis://:s3cret@h", "alias": "default"}},
    {"CACHE": {"url": "s3cret"}},
    {"SECRET": {"s3cret": 1}},
    {"SECRTE": "s3cret"},
    {"secret": "s3cret"},
    {"CACHE": {"redis://:s3cret@h": 1}},
    {"BREAKERS": {"a": {"origins": ["https://ann:s3cret@api.example"]}}},
    {"BREAKERS": {"a": {"origins": ["https://ann:s3cret/s3cret@api.example"]}}},
    {"BREAKERS": {"redis://:s3cret@h": {}}},
    {"NAMESPACE": "redis://:s3cret@h"},
]


@pytest.mark.parametrize("declared", SECRETS)
def test_credentials_are_never_shown(declared):
    """No part of an error shows the credentials of a URL, wherever its author put it."""
    with pytest.raises(ConfigurationError) as caught:
        from_mapping(declared, environ={})

    assert "s3cret" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("radish://:pw@127.0.0.1", "'radish://***'"),
        ("redis://", "'redis://***'"),
        ("redis://host:port", "'redis://***'"),
        ("redis://[::1", "'redis://***'"),
        ("unix://", "'unix://***'"),
        ("pw@127.0.0.1", "a text that is no URL"),
        ("redis://:pw@", "'redis://***'"),
        (6379, "something of type int"),
    ],
)
def test_a_store_that_is_none(url, shown):
    """What names no store is told with every spelling that does, and never shown whole."""
    path, value, fix = only_problem({"STORE": url})

    assert (path, value) == ('RECLOSER["STORE"]', shown)
    assert '"sqlite:///absolute/path.db"' in fix
    assert "redis://host:6379/0" in fix


@pytest.mark.parametrize("url", ["sqlite://store.db", "sqlite://", "sqlite:///", "sqlite:///a.db?mode=ro"])
def test_a_file_store_is_named_by_an_absolute_path(url):
    """A relative path would mean another file in every worker's folder."""
    assert (
        only_problem({"STORE": url})[2] == 'must name an absolute path: "sqlite:///var/lib/shop/recloser.db"'
    )


@pytest.mark.parametrize(
    "url",
    [
        "sqlite",
        "sqlite:///var/lib/shop/recloser.db",
        "redis://:pw@127.0.0.1:6379/0",
        "rediss://user:pw@valkey.internal",
        "unix:///run/valkey.sock?db=1",
        "redis+sentinel://a:26379,b:26379/main/0",
        "redis+cluster://a:6379",
    ],
)
def test_the_spellings_of_a_store(url):
    """Every spelling is taken as it is."""
    assert from_mapping({"STORE": url}, environ={}).store == url


def test_what_a_right_declaration_keeps_secret_is_not_shown_either():
    """Neither the secret nor a server's password is in the text of a declaration."""
    declaration = from_mapping({"SECRET": "s3cret", "CACHE": {"url": "redis://:s3cret@h"}}, environ={})

    assert declaration.secret == "s3cret"
    assert declaration.cache["url"] == "redis://:s3cret@h"
    assert "s3cret" not in repr(declaration)


@pytest.mark.parametrize("absent", [{}, {"STORE": None, "NAMESPACE": None}])
def test_absent_store_and_namespace(absent):
    """Without a store (or with `None`, as from `os.environ.get`) the state is this process's own."""
    declaration = from_mapping(absent, environ={})

    assert (declaration.store, declaration.namespace) == (None, "recloser")


def test_long_values_are_cut():
    """A huge wrong value does not flood the message."""
    problem = only_problem({"DEFAULTS": {"recovery_timeout": "9" * 10_000}})

    assert len(problem.value) < 200


def test_a_value_without_repr_is_told_by_its_type():
    """An object whose `repr` raises does not hide the problem."""

    class Broken:
        def __repr__(self):
            raise RuntimeError

    assert only_problem({"NAMESPACE": Broken()}).value == "a Broken"


def test_a_module_that_exits_on_import_is_a_problem(tmp_path, monkeypatch):
    """A named module that ends the process when imported is told like any failed import."""
    (tmp_path / "leaves_at_once.py").write_text("import sys; sys.exit(3)")
    monkeypatch.syspath_prepend(tmp_path)

    assert "SystemExit: 3" in only_problem(breaker(ignore="leaves_at_once:Thing")).fix


def test_what_was_declared_is_left_alone():
    """Checking a declaration changes nothing in it, and later changes in it change nothing that was checked."""
    declared = breaker(plan=[{"json": {"quantity": [1]}}], origins=["https://a.example"])
    before = copy.deepcopy(declared)

    declaration = from_mapping(declared, environ={})
    assert declared == before
    declared["BREAKERS"]["payments"]["plan"][0]["json"]["quantity"].append(2)

    assert declaration.breakers["payments"].plan.steps == ({"json": {"quantity": [1]}},)
