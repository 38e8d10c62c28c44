"""The snapshot: what it tells of one process and of a fleet, whatever the store does."""

from __future__ import annotations

import json

import jsonschema
import pytest

from fleet import NAME, Member, Time
from recloser import Registry
from recloser.core.state import Epoch
from recloser.status import markup
from recloser.status.query import Query
from recloser.status.redaction import plain, redacted
from recloser.status.sampler import Sampler
from recloser.status.sight import look
from recloser.status.snapshot import detail, schema, snapshot
from recloser.steering import ConflictError
from recloser.stores.protocol import StoreError
from recloser.stores.sqlite import SQLiteStore
from recloser.stores.view import FleetView

VALIDATOR = jsonschema.Draft202012Validator(schema())


def valid(document):
    """The document, once it is known to keep to the schema."""
    VALIDATOR.validate(json.loads(json.dumps(document)))
    return document


def entry(document, name):
    return next(entry for entry in document["breakers"] if entry["name"] == name)


def fail(breaker, times, text="no answer"):
    for _ in range(times):
        with pytest.raises(ConnectionError):
            breaker.call(raises, text)


def raises(text):
    raise ConnectionError(text)


@pytest.fixture
def registry():
    with Registry(
        {
            "BREAKERS": {
                "payments": {"failure_threshold": 3, "recovery_timeout": 30, "recovery_jitter": 0},
                "inventory": {"failure_rate_threshold": 0.5, "minimum_calls": 4, "window_calls": 20},
                "mail": {},
            }
        }
    ) as registry:
        yield registry


def test_the_schema_is_a_schema():
    """What is shipped is valid JSON Schema."""
    jsonschema.Draft202012Validator.check_schema(schema())


def test_a_process_alone_tells_why_a_circuit_is_open(registry):
    """Rule, numbers, threshold, countdown, last error and the process itself."""
    fail(registry["payments"], 3)
    told = valid(snapshot(registry))
    assert (told["scope"], told["store"]["connection"], len(told["workers"])) == ("process", "none", 1)
    first = told["breakers"][0]
    assert (first["name"], first["state"], first["severity"]) == ("payments", "open", 5)
    assert first["cause"]["text"] == "3 consecutive failures >= 3"
    assert 29 < first["retry_in"] <= 30
    assert first["last_error"] == "ConnectionError: no answer"
    assert told["counts"]["open"] == 1
    assert told["workers"][0]["troubled"]["payments"]["state"] == "open"


def test_the_window_stands_beside_its_thresholds(registry):
    """Counts and rates, and how near they are to tripping."""
    for _ in range(8):
        registry["inventory"].call(str)
    fail(registry["inventory"], 2)
    window = entry(snapshot(registry), "inventory")["window"]
    assert (window["calls"], window["failures"], window["failure_rate"]) == (10, 2, 0.2)
    assert window["pressure"] == pytest.approx(0.4)


def test_worst_stands_first(registry):
    """Open, then forced open, then another mode, then what is nearest to tripping."""
    registry["mail"].shadow(by="ann", reason="watching")
    fail(registry["payments"], 3)
    fail(registry["inventory"], 1)
    assert [entry["name"] for entry in snapshot(registry)["breakers"]] == ["payments", "mail", "inventory"]


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({"search": "PAY"}, ["payments"]),
        ({"show": "trouble"}, ["payments"]),
        ({"show": "closed"}, ["inventory", "mail"]),
        ({"limit": "1", "offset": "1"}, ["inventory"]),
        ({"show": "disagreeing"}, []),
    ],
)
def test_breakers_are_searched_filtered_and_paged(registry, parameters, names):
    """A query chooses; the counts are of all."""
    fail(registry["payments"], 3)
    told = valid(snapshot(registry, Query.read(parameters)))
    assert [entry["name"] for entry in told["breakers"]] == names
    assert told["counts"]["breakers"] == 3


def test_pages_lead_to_the_next(registry):
    """`next` is where the next page begins, until there is none."""
    assert snapshot(registry, Query(limit=2))["page"] == {"offset": 0, "limit": 2, "matching": 3, "next": 2}
    assert snapshot(registry, Query(limit=2, offset=2))["page"]["next"] is None


@pytest.mark.parametrize(
    "parameters", [{"limit": "0"}, {"limit": "x"}, {"offset": "-1"}, {"show": "red"}, {"search": "x" * 201}]
)
def test_a_wrong_query_says_what_is_wrong(parameters):
    """The parameter is named."""
    with pytest.raises(ValueError, match=next(iter(parameters))):
        Query.read(parameters)


def test_every_value_of_a_policy_says_where_it_comes_from(registry):
    """Alone on a breaker's own document."""
    told = valid(detail(look(registry), "payments"))["breaker"]
    assert told["policy"]["failure_threshold"] == {"value": 3, "from": "breaker"}
    assert told["policy"]["minimum_calls"] == {"value": 10, "from": "default"}
    assert told["policy"]["failure_on"]["value"] == ["Exception"]


@pytest.mark.parametrize(
    ("text", "kept", "gone"),
    [
        ("cannot reach https://ann:hunter2@db.example/x?key=1", "db.example", "hunter2"),
        ("GET https://api.example/v1?access=abc failed", "api.example", "abc"),
        ("401 for Authorization: Bearer abc.def-ghi123", "401", "abc.def"),
        ("login failed, password=hunter2", "login failed", "hunter2"),
        ('{"api_key": "sk-12345"}', "api_key", "sk-12345"),
        ("bad eyJhbGciOi.eyJzdWIiOi.c2lnbmF0", "bad", "eyJzdWIiOi"),
    ],
)
def test_credentials_in_an_error_are_not_shown(text, kept, gone):
    """What looks like one is replaced; the rest stays."""
    assert kept in redacted(text)
    assert gone not in redacted(text)


def test_texts_stay_on_one_line_and_bounded():
    """No line break, no control character, no change of direction, and not for ever."""
    assert plain("a\r\nb\x1b[31m\u202ec\x00") == "a b [31m c"
    assert len(redacted("x" * 10_000)) <= 300
    assert len(redacted("https://" + "a" * 100_000)) <= 300


@pytest.fixture
def fleet(tmp_path):
    time = Time()
    members = [
        Member(SQLiteStore(tmp_path / "store.db"), time, {"failure_threshold": 3}, seed) for seed in range(2)
    ]
    yield members
    for member in members:
        member.close()


class Told:
    """A registry whose fleet is told by the test, on its own thread."""

    def __init__(self, member):
        self._member = member
        self.lost = ""

    def __getattr__(self, name):
        return getattr(self._member.registry, name)

    def __iter__(self):
        return iter(self._member.registry)

    def __contains__(self, name):
        return name in self._member.registry

    def fleet(self, timeout: float) -> FleetView:
        if self.lost:
            raise StoreError(self.lost)
        return self._member.cable.view()


def test_a_fleet_tells_who_agrees(fleet):
    """Workers that follow agree; one that has not been heard since the change is pending, not against it."""
    one, other = fleet
    for member in (one, other, one, other):
        member.step()
    for _ in range(3):
        one.call(fails=True)
    one.step(2)
    told = valid(snapshot(Told(one)))
    assert (told["scope"], len(told["workers"])) == ("fleet", 2)
    first = entry(told, NAME)
    assert (first["state"], first["cause"]["text"]) == ("open", "3 consecutive failures >= 3")
    assert first["agreement"]["workers"] == 2
    assert first["agreement"]["agree"] + first["agreement"]["pending"] == 2
    assert told["transitions"][0]["new"] == "open"
    assert valid(detail(look(Told(one)), NAME))["breaker"]["transitions"]


@pytest.mark.parametrize(
    ("agree", "pending", "says"),
    [
        (5, 0, "5 of 5 agree"),
        (1, 4, "1 of 5 so far"),
        (1, 3, "1 of 5 agree, 3 not heard yet, 1 differ"),
        (4, 0, "4 of 5 agree, 1 differ"),
    ],
)
def test_who_was_not_heard_yet_is_no_disagreement_and_hides_none(agree, pending, says):
    """Right after an operator's action the words do not alarm; one worker that really differs makes them."""
    differ = [{}] * (5 - agree - pending)
    agreed = {"workers": 5, "agree": agree, "pending": pending, "differ": differ}
    assert markup.agreement_text(agreed) == says
    assert ("warn" in markup.agreement({"agreement": agreed})) is bool(differ)


def test_a_lost_store_leaves_this_process_and_says_so(fleet):
    """No exception: its own view, and why."""
    one, _ = fleet
    one.step()
    registry = Told(one)
    registry.lost = "the cable is cut"
    told = valid(snapshot(registry))
    assert (told["scope"], told["store"]["error"]) == ("process", "the cable is cut")
    assert entry(told, NAME)["state"] == "closed"


def test_rates_are_of_the_last_seconds(registry):
    """Two looks make a rate; a third within the interval is the same look."""
    now = [0.0]
    sampler = Sampler(registry, interval=1, clock=lambda: now[0])
    sight, rates = sampler.take()
    assert valid(snapshot(registry, rates=rates))["breakers"][0]["rates"] is None
    for _ in range(20):
        registry["mail"].call(str)
    now[0] = 4.0
    sight, rates = sampler.take()
    assert rates.of("mail")["calls"] == 5.0
    assert sampler.take()[0] is sight
    assert sampler.looks == 2
    assert valid(detail(sight, "mail", rates))["breaker"]["history"][0]["calls"] == 20


def test_an_operator_acts_on_what_he_saw(registry):
    """With another epoch nothing happens, and he hears what changed."""
    seen = registry["mail"].snapshot().epoch
    assert not registry.steer("mail", "force_open", by="ann", reason="move", expected=seen)
    with pytest.raises(ConflictError, match="mode forced open by ann: move"):
        registry.steer("mail", "reset", by="bob", reason="x", expected=seen)
    with pytest.raises(ConflictError):
        registry.steer("mail", "reset", by="bob", reason="x", expected=Epoch(0, 0))


def test_an_action_is_logged_on_one_line(registry, caplog):
    """Nothing that an operator writes can forge another entry."""
    registry.steer("mail", "force_closed", by="ann\nroot", reason="x\r\noperator 'eve': y")
    assert [record.getMessage().count("\n") for record in caplog.records] == [0]


@pytest.mark.parametrize(
    ("action", "until", "says"),
    [("explode", None, "no action"), ("reset", 9e12, "no end"), ("shadow", 1.0, "future")],
)
def test_a_wrong_order_is_refused(registry, action, until, says):
    """With what is wrong."""
    with pytest.raises(ValueError, match=says):
        registry.steer("mail", action, by="ann", reason="x", until=until)
