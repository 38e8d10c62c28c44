"""The harness runs and its results are well formed. Nothing is timed here: `make bench` does that."""

import json
from importlib import metadata

import pytest

from benchmarks import __main__ as command
from benchmarks import calls, endpoints, peers, refusals, requests, run, targets, web
from benchmarks.effort import Effort
from benchmarks.rows import Budget, Row
from benchmarks.timing import Candidate, TimedCase

TINY = Effort(rounds=2, loop=0.0001, calls=50, breakers=5, imports=1, trips=2, hang=0.1, workers=2)


def use(function, peer):
    pytest.importorskip(peer.name.removesuffix("-cb"))
    return peer.sync(function)


def test_a_run_prints_and_writes_one_row_per_candidate(tmp_path, capsys, monkeypatch):
    """A run covers every case, and writes what it prints."""
    monkeypatch.setattr(run, "REPEATS", 0)
    results = tmp_path / "results.json"

    status = run.run(TINY, [], results)

    record = json.loads(results.read_text())
    printed = capsys.readouterr().out
    rows = record["rows"]
    assert status == any(row["verdict"] == "MISSED" for row in rows)
    assert {row["case"] for row in rows} == {case.name for case in run.cases([])}
    assert all(f"{row['case']} " in printed and row["candidate"] in printed for row in rows)
    assert all((row["budget"] is None) == (row["verdict"] == "") for row in rows)
    assert all((row["ratio"] is None) == (row["to"] == "") for row in rows)
    assert record["surroundings"]["recloser"] == metadata.version("recloser")


def test_importing_recloser_loads_nothing_foreign():
    """The interpreter that counts modules sees recloser, no third-party module and no asyncio."""
    case = next(case for case in run.cases([]) if case.name == "import")

    case.measure(TINY)

    assert (case.foreign, case.loop) == (set(), False)
    assert case.best.keys() == {"pass", "import dataclasses, typing", "import recloser"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.name)
def test_a_peer_passes_calls_on_and_refuses_after_five_failures(peer):
    """What is compared does the same work: closed it calls, after five failures it refuses without calling."""
    called = []
    closed = use(called.append, peer)
    exec(closed.call, dict(closed.names))
    assert called == [1]

    def broken(amount):
        called.append(amount)
        raise ConnectionError

    broken_use = use(broken, peer)
    refusals.trip(broken_use)
    assert len(called) == 1 + targets.FAILURES
    with pytest.raises(broken_use.refused):
        exec(broken_use.call, dict(broken_use.names))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("peer", [p for p in peers.PEERS if p.asynchronous], ids=lambda peer: peer.name)
def test_an_async_peer_awaits_the_function(peer):
    """Driven by hand, the coroutine ends at once with the function's result."""
    pytest.importorskip(peer.name.removesuffix("-cb"))
    closed = peer.asynchronous(targets.charge_async)

    with pytest.raises(StopIteration) as ended:
        eval(closed.call, dict(closed.names)).send(None)

    assert ended.value.value == 1


def test_a_breaker_that_never_refuses_is_no_candidate_for_refusals():
    """A use that goes on calling after five failures is reported, not timed."""
    never = peers.Use("@", "f(1)", {"f": targets.broken}, KeyError)

    with pytest.raises(RuntimeError, match="does not refuse after 5 failures"):
        refusals.trip(never)


def test_all_peers_are_compared_in_each_case_they_can_do():
    """The peers' rows are ratios to recloser's own, with the budgets that are promised."""
    fakes = [peers.Peer(peer.name, _unprotected, _unprotected) for peer in peers.PEERS]
    case = calls.plain(fakes)
    budgets = {candidate.name: candidate.budget for candidate in case.candidates}

    assert budgets["circuitbreaker @"] == Budget(">=", 5)
    assert budgets["pybreaker @"] == Budget(">=", 10)
    assert budgets["interlock-cb @"] == Budget(">=", 30)
    assert [candidate.name for candidate in calls.coroutine(fakes).candidates][3:] == [
        f"{peer.name} @" for peer in peers.PEERS
    ]


def _unprotected(function):
    return peers.Use("@", "f(1)", {"f": function}, KeyError)


def test_costs_are_over_the_bare_call_and_ratios_against_the_named_candidate():
    """A row's value is its own time less the bare one; its ratio divides that by the reference's."""
    case = TimedCase(
        "case",
        [
            Candidate("bare", "pass", {}, shown=False),
            Candidate("floor", "pass", {}, "bare"),
            Candidate("own", "pass", {}, "bare", "floor", Budget("<=", 2)),
        ],
        best={"bare": 10.0, "floor": 60.0, "own": 135.0},
    )

    floor, own = case.rows()

    assert (floor.value, floor.ratio, floor.verdict) == (50.0, None, "")
    assert (own.value, own.ratio, own.verdict) == (125.0, 2.5, "MISSED")


def test_each_loop_is_prepared_and_a_single_statement_runs_once():
    """`prepare` comes before each loop; `once` keeps the loop to the statement it was prepared for."""
    seen = []
    names = {"seen": seen}
    candidate = Candidate("c", "seen.append(1)", names, prepare=lambda: seen.append(0), once=True)

    TimedCase("case", [candidate]).measure(TINY)

    assert seen[-2 * TINY.rounds :] == [0, 1] * TINY.rounds


def test_a_case_in_pieces_has_more_turns():
    """As many times more as each is shorter."""
    turns = []
    candidate = Candidate("c", "pass", {}, prepare=lambda: turns.append(0), once=True)

    TimedCase("case", [candidate], pieces=3).measure(TINY)

    assert len(turns) == 1 + 3 * TINY.rounds


def test_every_guarded_candidate_counts_one_success_per_request():
    """What is timed is guarded: each request of a decorator or dependency counts, the others' count nothing."""
    for candidate in endpoints.closed().candidates:
        if "app" in candidate.names:
            registry = candidate.names["app"].state.registry
            before = sum(breaker.snapshot().calls for breaker in registry.values())
            candidate.prepare()
            exec(candidate.statement, dict(candidate.names))
            counted = sum(breaker.snapshot().calls for breaker in registry.values()) - before
            assert counted == candidate.name.startswith(("decorator", "dependency")), candidate.name


def test_every_middleware_passes_the_whole_body_on():
    """What is compared does the same work."""
    for name, app in requests._streaming().items():
        length = 0

        async def count(message):
            nonlocal length
            length += len(message.get("body", b""))

        web.loop().run_until_complete(app(dict(web.SCOPE), web.receive, count))
        assert length == requests.CHUNKS * requests.CHUNK, name


@pytest.mark.parametrize("misses", [0, 1, 2, 99])
def test_a_missed_budget_is_measured_again_up_to_three_times(misses):
    """Only what stays missed after three repeats is called missed."""

    class Unsteady:
        measured = 0

        def measure(self, effort):
            self.measured += 1

        def rows(self):
            value = 9.0 if self.measured <= misses else 1.0
            return [Row("case", "candidate", value, "B", budget=Budget("<", 5.0))]

    case = Unsteady()

    (row,) = run.answer(case, TINY)

    assert row.missed == (misses == 99)
    assert case.measured == min(misses, 3) + 1


@pytest.mark.parametrize(
    ("relation", "kept", "missed"), [("<=", 2.0, 2.1), ("<", 1.9, 2.0), (">=", 2.0, 1.9), (">", 2.1, 2.0)]
)
def test_a_budget_bounds_the_ratio_or_the_amount(relation, kept, missed):
    """The ratio is what counts where there is one, whatever the amount."""
    budget = Budget(relation, 2.0)

    assert Row("c", "a", 99.0, "ns", "floor", kept, budget).verdict == "ok"
    assert Row("c", "a", 99.0, "ns", "floor", missed, budget).verdict == "MISSED"
    assert Row("c", "a", missed, "B", budget=budget).verdict == "MISSED"


def test_a_missing_peer_is_named(monkeypatch, capsys):
    """Without the peers there is no comparison: the command says what to install and measures nothing."""
    monkeypatch.setattr(peers, "_version", lambda name: None if name == "purgatory" else "1")
    monkeypatch.setattr("sys.argv", ["benchmarks"])
    monkeypatch.setattr(run, "run", lambda *_: pytest.fail("measured"))

    assert command.main() == 2
    assert capsys.readouterr().err.startswith("not installed: purgatory;")
