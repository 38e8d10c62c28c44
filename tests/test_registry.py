"""Registry: the named breakers of one application, and one for each other origin."""

from __future__ import annotations

import gc
import os
import pickle
import sys
import threading
import time
import weakref

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from recloser import ConfigurationError, Mode, Policy, State, StateChanged
from recloser import registry as registry_module
from recloser.config import from_mapping
from recloser.registry import MAX_ORIGINS, Registry, UnknownBreakerError
from recloser.stores import hub as hub_module

DECLARED = {
    "DEFAULTS": {"failure_threshold": 1, "recovery_jitter": 0},
    "BREAKERS": {
        "payments": {"recovery_timeout": 60, "origins": ["https://pay.example", "http://pay.example:8080"]},
        "inventory": {},
        "own.example:443": {"recovery_timeout": 7},
    },
}


@pytest.fixture
def registry():
    with Registry(DECLARED) as registry:
        yield registry


@pytest.fixture
def few(monkeypatch):
    """At most three breakers per origin."""
    monkeypatch.setattr(registry_module, "MAX_ORIGINS", 3)


def trip(breaker):
    breaker.acquire().failure(RuntimeError("down"))
    assert breaker.state is State.OPEN


# -- names ---------------------------------------------------------------------------------------------------


def test_declared_breakers_by_name(registry):
    """Each declared breaker is there under its name, with its policy, always the same one."""
    assert registry["payments"] is registry["payments"]
    assert registry["payments"].name == "payments"
    assert registry["payments"].policy == Policy(failure_threshold=1, recovery_jitter=0, recovery_timeout=60)
    assert registry.declared["payments"] is registry["payments"]


def test_a_mistyped_name(registry):
    """A name that is not declared raises with the nearest one, and creates nothing."""
    with pytest.raises(KeyError) as caught:
        registry["paymnets"]

    assert isinstance(caught.value, UnknownBreakerError)
    assert caught.value.name == "paymnets"
    assert str(caught.value) == (
        "no breaker is named 'paymnets' (did you mean 'payments'?); declare it, or correct the name"
    )
    assert list(registry) == ["payments", "inventory", "own.example:443"]


def test_an_unknown_breaker_error_can_be_pickled(registry):
    """The error survives a trip to another process."""
    with pytest.raises(UnknownBreakerError) as caught:
        registry["paymnets"]

    copy = pickle.loads(pickle.dumps(caught.value))

    assert (type(copy), str(copy), copy.name) == (UnknownBreakerError, str(caught.value), "paymnets")


def test_asking_never_creates(registry):
    """`in` and `get` do not create breakers either."""
    assert "paymnets" not in registry
    assert registry.get("pay.example:443") is None
    assert "payments" in registry
    assert len(registry) == 3


def test_declared_is_read_only(registry):
    """Nobody adds a breaker to the declared ones."""
    with pytest.raises(TypeError):
        registry.declared["x"] = registry["payments"]


def test_a_wrong_declaration_creates_nothing(monkeypatch):
    """A declaration with problems makes no registry and no breaker."""
    made = []
    monkeypatch.setattr(registry_module, "CircuitBreaker", lambda *args, **kwargs: made.append(args))

    with pytest.raises(ConfigurationError):
        Registry({"BREAKERS": {"good": {}, "bad": {"recovery_timeout": "30s"}}})

    assert made == []


def test_a_registry_of_a_declaration(monkeypatch):
    """A checked declaration is taken as it is: the environment does not count again."""
    declaration = from_mapping(DECLARED, environ={})
    monkeypatch.setenv("RECLOSER_BREAKERS__PAYMENTS__RECOVERY_TIMEOUT", "1")

    assert Registry(declaration)["payments"].policy.recovery_timeout == 60
    assert Registry(declaration).declaration is declaration
    assert Registry(DECLARED)["payments"].policy.recovery_timeout == 1


def test_the_other_sources(tmp_path):
    """A registry can be made from a mapping with another name and environment, and from a TOML file."""
    file = tmp_path / "recloser.toml"
    file.write_text("[breakers.payments]\n")
    environ = {"RECLOSER_BREAKERS__PAYMENTS__RECOVERY_TIMEOUT": "9"}

    from_file = Registry.from_toml(file, environ)
    from_django = Registry.from_mapping({"BREAKERS": {"payments": {}}}, "settings.RECLOSER", environ)

    assert from_file["payments"].policy.recovery_timeout == 9
    assert from_django["payments"].policy.recovery_timeout == 9
    with pytest.raises(ConfigurationError, match=r'^settings\.RECLOSER\["BREAKER"\]'):
        Registry.from_mapping({"BREAKER": {}}, path="settings.RECLOSER", environ={})


def test_clocks_and_chance_reach_every_breaker():
    """Clock, wall clock and randomness are those of all breakers, also of those made per origin."""
    now = [100.0]
    registry = Registry(
        {"DEFAULTS": {"failure_threshold": 1, "recovery_jitter": 0.5}, "BREAKERS": {"a": {}}},
        clock=lambda: now[0],
        wall_clock=lambda: 1000.0,
        random=lambda: 1.0,
    )

    for breaker in (registry["a"], registry.for_origin("b.example:80")):
        trip(breaker)
        assert breaker.snapshot().retry_after == 30 * 1.5
        with pytest.raises(ValueError, match="future"):
            breaker.force_open(by="ann", reason="test", until=999.0)


def test_registries_have_an_identity(registry):
    """Two registries of one declaration are two: comparing and hashing go by identity."""
    other = Registry(registry.declaration)

    assert registry == registry
    assert registry != other
    assert len({registry, other, registry}) == 2
    assert "payments" in repr(registry)


# -- origins -------------------------------------------------------------------------------------------------


def test_a_declared_origin(registry):
    """The breaker that lists an origin guards it, under each of its origins."""
    assert registry.for_origin("pay.example:443") is registry["payments"]
    assert registry.for_origin("pay.example:8080") is registry["payments"]
    assert len(registry) == 3


def test_a_breaker_named_after_its_origin(registry):
    """A breaker that is declared under the name of an origin guards it."""
    assert registry.for_origin("own.example:443") is registry["own.example:443"]
    assert len(registry) == 3


def test_any_other_origin(registry):
    """Any other origin gets a breaker of its own, once, with the defaults, named after it, last in order."""
    breaker = registry.for_origin("api.example:443")

    assert registry.for_origin("api.example:443") is breaker
    assert registry["api.example:443"] is breaker
    assert breaker.name == "api.example:443"
    assert breaker.policy == registry.declaration.defaults.policy
    assert list(registry) == ["payments", "inventory", "own.example:443", "api.example:443"]
    assert list(registry.items())[-1] == ("api.example:443", breaker)
    assert list(registry.values())[-1] is breaker
    assert [name for name in registry if name not in registry.declared] == ["api.example:443"]


def test_ports_and_addresses(registry):
    """Another port is another origin; an IPv6 address is one origin in every spelling."""
    assert registry.for_origin("api.example:80") is not registry.for_origin("api.example:443")
    assert registry.for_origin("[0:0::1]:80") is registry.for_origin("[::1]:80")
    assert registry.for_origin("API.example:80") is registry.for_origin("api.example:80")
    assert registry.for_origin("PAY.example:443") is registry["payments"]


@pytest.mark.parametrize("origin", ["", "api.example", "https://api.example", "a b:80", "::1:80"])
def test_what_is_no_origin(registry, origin):
    """What is not `host:port` is refused and makes no breaker."""
    with pytest.raises(ValueError, match="must be given as 'host:port'"):
        registry.for_origin(origin)

    assert len(registry) == 3


def test_origins_are_bounded(few):
    """Beyond the bound the least recently used closed breaker goes, whatever the order of creation."""
    registry = Registry(DECLARED)
    for origin in ("a:1", "b:1", "c:1"):
        registry.for_origin(origin)
    registry.for_origin("a:1")

    registry.for_origin("d:1")

    assert list(registry)[3:] == ["a:1", "c:1", "d:1"]
    assert len(registry) == 6


def test_the_bound_is_1024():
    """By default there are at most 1024 breakers per origin, beside the declared ones."""
    registry = Registry(DECLARED)
    for number in range(MAX_ORIGINS + 10):
        registry.for_origin(f"host{number}:80")

    assert MAX_ORIGINS == 1024
    assert len(registry) == 3 + 1024
    assert "host9:80" not in registry
    assert "host10:80" in registry


def test_declared_breakers_take_no_place(few):
    """Declared breakers are neither counted nor displaced."""
    registry = Registry(DECLARED)
    for number in range(10):
        registry.for_origin(f"host{number}:80")

    assert list(registry.declared) == ["payments", "inventory", "own.example:443"]
    assert registry.for_origin("pay.example:443") is registry["payments"]


def test_only_a_closed_breaker_loses_its_place(few):
    """Open, half-open and operated breakers stay while any closed one can go, however recently used."""
    now = [0.0]
    registry = Registry(DECLARED, clock=lambda: now[0])
    opened, probing = registry.for_origin("open:1"), registry.for_origin("half-open:1")
    trip(probing)
    now[0] = 30.0
    permit = probing.acquire()
    trip(opened)
    registry.for_origin("closed:1")

    registry.for_origin("new:1")
    assert list(registry)[3:] == ["open:1", "half-open:1", "new:1"]

    registry.for_origin("new:1").force_closed(by="ann", reason="test")
    registry.for_origin("newer:1")
    assert "open:1" not in registry
    assert "new:1" in registry
    permit.ignore()


def test_the_bound_holds_when_all_are_open(few):
    """If every breaker per origin is open, the least recently used one goes: the bound is strict."""
    registry = Registry(DECLARED)
    for origin in ("a:1", "b:1", "c:1"):
        trip(registry.for_origin(origin))
    registry.for_origin("a:1")

    trip(registry.for_origin("d:1"))

    assert list(registry)[3:] == ["a:1", "c:1", "d:1"]


def test_a_displaced_breaker_that_is_held_comes_back(few):
    """Who holds a breaker and who asks for its origin never have two different ones."""
    registry = Registry(DECLARED)
    held = registry.for_origin("a:1")
    for number in range(10):
        registry.for_origin(f"host{number}:80")
    assert "a:1" not in registry
    trip(held)

    assert registry.for_origin("a:1") is held
    assert registry["a:1"].state is State.OPEN
    assert len(registry) == 6


def test_a_displaced_breaker_is_forgotten(few):
    """A displaced breaker that nobody holds is freed."""
    registry = Registry(DECLARED)
    registry.add_listener(lambda event: None)
    gone = weakref.ref(registry.for_origin("a:1"))
    for number in range(3):
        registry.for_origin(f"host{number}:80")
    gc.collect()

    assert gone() is None


class OriginsMachine(RuleBasedStateMachine):
    """The bounded breakers per origin against a list in order of use."""

    BOUND = 3
    ORIGINS = st.sampled_from([f"{letter}:1" for letter in "abcdef"])

    def __init__(self):
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(registry_module, "MAX_ORIGINS", self.BOUND)
        self.now = 0.0
        self.registry = Registry({"DEFAULTS": {"failure_threshold": 1}}, clock=lambda: self.now)
        self.used: list[str] = []
        self.open: set[str] = set()

    def teardown(self):
        self.patch.undo()

    @rule(origin=ORIGINS)
    def ask(self, origin):
        """Asking makes an origin the latest used one, and displaces the first that may go."""
        if origin in self.used:
            self.used.remove(origin)
        elif len(self.used) == self.BOUND:
            gone = next((one for one in self.used if one not in self.open), self.used[0])
            self.used.remove(gone)
            self.open.discard(gone)
        self.used.append(origin)
        assert self.registry.for_origin(origin).name == origin

    @precondition(lambda self: self.used)
    @rule(data=st.data())
    def trip(self, data):
        """Tripping is no use of the registry."""
        origin = data.draw(st.sampled_from(self.used))
        if origin not in self.open:
            self.registry[origin].acquire().failure(RuntimeError())
            self.open.add(origin)

    @invariant()
    def same(self):
        """The registry holds exactly the model's origins, in the model's states."""
        assert sorted(self.registry) == sorted(self.used)
        assert {name for name in self.registry if self.registry[name].state is State.OPEN} == self.open


TestOriginsMachine = OriginsMachine.TestCase
TestOriginsMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


# -- listeners -----------------------------------------------------------------------------------------------


def test_a_listener_hears_all_breakers(registry):
    """One listener hears the declared breakers, those per origin, and those made later."""
    heard = []
    early = registry.for_origin("early:1")
    registry.add_listener(lambda event: heard.append((event.breaker, event.new)))
    late = registry.for_origin("late:1")

    for breaker in (registry["payments"], early, late):
        trip(breaker)

    assert heard == [("payments", "open"), ("early:1", "open"), ("late:1", "open")]


def test_unsubscribing(registry):
    """After unsubscribing nothing is heard, from no breaker; doing it again does no harm."""
    heard, others = [], []
    unsubscribe = registry.add_listener(heard.append)
    registry.add_listener(others.append)
    breaker = registry.for_origin("a:1")

    unsubscribe()
    unsubscribe()
    trip(breaker)
    trip(registry["payments"])
    trip(registry.for_origin("b:1"))

    assert heard == []
    assert len(others) == 3


def test_listeners_and_displaced_breakers(few):
    """A breaker that lost its place is silent for the registry's listeners until it comes back."""
    registry, heard, own = Registry(DECLARED), [], []
    registry.add_listener(heard.append)
    held = registry.for_origin("a:1")
    held.add_listener(own.append)
    for number in range(3):
        registry.for_origin(f"host{number}:80")

    trip(held)
    assert (len(heard), len(own)) == (0, 1)

    registry.for_origin("a:1").reset(by="ann", reason="test")
    assert [event.new for event in heard if isinstance(event, StateChanged)] == [State.CLOSED]


def test_a_closed_registry_goes_on_alone(registry):
    """Closing may be repeated, and leaves breakers and listeners as they are: the last calls of a process are told too."""
    heard = []
    registry.add_listener(heard.append)

    registry.close()
    registry.close()
    trip(registry["payments"])
    trip(registry.for_origin("a:1"))

    assert [event.breaker for event in heard] == ["payments", "a:1"]


def test_a_registry_is_a_context_again_and_again(tmp_path):
    """Leaving the block closes the registry, also on an error, which is not swallowed; the next block opens it."""
    registry = Registry({**DECLARED, "STORE": f"sqlite://{tmp_path}/fleet/store.db"})
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), registry:
            assert registry.ready(30)
            assert registry.store_health.connection == "up"
            assert len(registry.fleet(30).workers) == 1
            1 / 0  # noqa: B018
        assert registry.store_health.connection == "closed"
        assert not [thread for thread in threading.enumerate() if thread.name == "recloser-hub"]


def test_what_an_operator_did_while_a_registry_was_closed_reaches_the_fleet(tmp_path):
    """It comes back as after an outage."""
    declared = {**DECLARED, "STORE": f"sqlite://{tmp_path}/fleet/store.db"}
    registry, other = Registry(declared), Registry(declared)
    with registry, other:
        assert registry.ready(30)
        assert other.ready(30)
        registry.close()
        registry["payments"].force_open(by="ann", reason="migration")
        assert other["payments"].mode.mode is Mode.AUTO
        registry.open()
        assert registry.ready(30)
        deadline = time.monotonic() + 30
        while other["payments"].mode.mode is Mode.AUTO and time.monotonic() < deadline:
            time.sleep(0.01)

        assert other["payments"].mode.by == "ann"


def test_a_hub_that_hangs_in_its_store_is_not_begun_twice(tmp_path, caplog, monkeypatch):
    """Two threads must not speak through one connection: the registry stays closed, and the log says so."""
    monkeypatch.setattr(hub_module, "FAREWELL", 0.01)
    registry = Registry({**DECLARED, "STORE": f"sqlite://{tmp_path}/fleet/store.db"})
    assert registry.ready(30)
    go_on = threading.Event()
    answer = threading.Thread(target=registry._hub.ask, args=(lambda _: go_on.wait(30), 30))
    answer.start()
    while registry._hub._requests:
        time.sleep(0.001)
    registry.close()
    registry.open()
    assert registry.store_health.connection == "closed"
    assert "still hangs" in caplog.text

    go_on.set()
    answer.join()
    registry._hub._thread.join(30)
    with registry:
        assert registry.ready(30)


# -- threads and forks ---------------------------------------------------------------------------------------


@pytest.fixture
def eager():
    """Threads change places as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def in_threads(number, function):
    """Run a function in threads that start together; return their results."""
    barrier, results = threading.Barrier(number), []

    def run(index):
        barrier.wait(timeout=10)
        results.append(function(index))

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(results) == number
    return results


def test_an_origin_has_one_breaker_under_threads(registry, eager):
    """Eight threads that ask for the same new origins get the same breakers, each made once."""
    heard = []
    registry.add_listener(heard.append)
    origins = [f"host{number}:80" for number in range(50)]

    found = in_threads(8, lambda index: [registry.for_origin(origin) for origin in origins])

    assert all(breakers == found[0] for breakers in found)
    assert len(registry) == 3 + 50
    trip(found[0][0])
    assert len(heard) == 1


def test_the_bound_under_threads(few, eager):
    """Threads that push each other's origins out get working breakers, and the bound holds."""
    registry = Registry(DECLARED)

    def ask(index):
        for number in range(200):
            origin = f"host{(number * (index + 1)) % 11}:80"
            assert registry.for_origin(origin).name == origin
            assert len(list(registry.values())) <= 6
        return True

    in_threads(8, ask)

    assert len(registry) == 6


def test_a_clock_that_asks_the_registry():
    """Code that runs while a breaker is made may ask the registry itself; each origin still has one breaker."""
    found = []

    def clock():
        if len(found) < 1:
            found.append(None)
            found.append(registry.for_origin("a:1"))
        return time.monotonic()

    registry = Registry({}, clock=clock)

    assert registry.for_origin("a:1") is found[1]
    assert registry.for_origin("a:1") is found[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_can_ask():
    """A child that is forked while another thread makes a breaker is not locked out."""
    inside, go_on = threading.Event(), threading.Event()
    maker = None

    def clock():
        if threading.current_thread() is maker:
            inside.set()
            go_on.wait(timeout=30)
        return time.monotonic()

    registry = Registry(DECLARED, clock=clock)
    maker = threading.Thread(target=lambda: registry.for_origin("a:1"))
    maker.start()
    assert inside.wait(timeout=10)
    child = os.fork()
    if child == 0:
        os._exit(7 if registry.for_origin("b:1").state is State.CLOSED and len(list(registry)) == 4 else 1)
    go_on.set()
    maker.join(timeout=10)
    deadline = time.monotonic() + 10
    status = None
    while status is None and time.monotonic() < deadline:
        waited, status = os.waitpid(child, os.WNOHANG)
        status = status if waited else None
        time.sleep(0.01)
    if status is None:
        os.kill(child, 9)
        os.waitpid(child, 0)

    assert status is not None, "the child hangs"
    assert os.waitstatus_to_exitcode(status) == 7
    assert registry["a:1"].mode.mode is Mode.AUTO
