"""The pytest plugin: free until it is used, and nothing leaks between tests, workers and event loops."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

SHARED = """
    import pytest
    from recloser import CircuitBreaker, CircuitOpenError

    inventory = CircuitBreaker("inventory", failure_threshold=2, recovery_timeout=30)
"""


PLAIN = ("-p", "no:asyncio", "-p", "no:anyio")
FRAMEWORKS = {"fastapi", "starlette", "django", "cachetools", "httpx", "httpx2", "requests", "aiohttp"}


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run the tests that were written, without the plugins that take long to import."""
    without = [f"-pno:{plugin}" for plugin in ("django", "schemathesis", "hypothesispytest", "valkey")]
    return pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", *without, *arguments)


def test_the_plugin_costs_nothing_until_it_is_used(pytester: pytest.Pytester):
    """Pytest loads it by its entry point, and imports neither recloser nor a framework."""
    pytester.makepyfile(
        """
        import sys

        def test_nothing_is_imported(pytestconfig):
            assert pytestconfig.pluginmanager.hasplugin("recloser")
            assert not {"recloser", "fastapi", "starlette", "django"} & set(sys.modules)
        """
    )
    run(pytester, *PLAIN).assert_outcomes(passed=1)


def test_the_kit_imports_no_framework():
    """Neither does the fixture, where the application under test has none."""
    code = (
        "import json, sys; from recloser.testing import isolated\n"
        "with isolated() as breakers: breakers.clock.advance(1)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {*FRAMEWORKS, "pytest"} & set(json.loads(ran.stdout))


def test_nothing_leaks_from_one_test_to_the_next(pytester: pytest.Pytester):
    """Whatever a test does to a breaker, in either order, and if it fails."""
    pytester.makepyfile(
        SHARED
        + """
    def test_open(breakers):
        breakers.open("inventory")
        breakers.inject("inventory", OSError)

    @pytest.mark.xfail(strict=True)
    def test_failing(breakers):
        inventory.acquire().failure()
        inventory.force_open(by="ann", reason="drill")
        breakers.clock.advance(100)
        assert inventory.state == "closed"

    def test_fresh(breakers):
        assert inventory.call(lambda: 1) == 1
        assert breakers.snapshot("inventory").calls == 1
        assert breakers.events == []
        assert breakers.clock.elapsed == 0

    def test_without_the_fixture():
        assert inventory.state == "closed"
        assert inventory.recorder is not None
        assert inventory.snapshot().calls == 0
    """
    )
    run(pytester, *PLAIN).assert_outcomes(passed=3, xfailed=1)


def test_asynchronous_tests_hold_breakers_alike(pytester: pytest.Pytester):
    """With pytest-asyncio, and with anyio under asyncio and trio."""
    pytester.makepyfile(
        SHARED
        + """
    import anyio

    @inventory
    async def ask():
        await anyio.sleep(0)
        return "answer"

    async def scenario(breakers):
        assert await ask() == "answer"
        with breakers.inject("inventory", ConnectionError):
            for _ in range(2):
                with pytest.raises(ConnectionError):
                    await ask()
        with pytest.raises(CircuitOpenError):
            await ask()
        breakers.clock.advance(60)
        assert await ask() == "answer"

    @pytest.mark.asyncio
    async def test_asyncio(breakers):
        await scenario(breakers)

    @pytest.mark.anyio
    async def test_anyio(breakers):
        await scenario(breakers)
    """
    )
    run(pytester, "-o", "asyncio_default_fixture_loop_scope=function").assert_outcomes(passed=3)


def test_workers_of_xdist_do_not_meet(pytester: pytest.Pytester):
    """Each process has its own breakers: one worker's open circuit is another's closed one."""
    pytester.makepyfile(
        SHARED
        + """
    import pathlib, time

    meeting = pathlib.Path(__file__).parent

    def meet(me, other):
        # Both tests run at the same time, each in its own process, or neither ends well.
        (meeting / me).touch()
        deadline = time.monotonic() + 20
        while not (meeting / other).exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def test_open(breakers):
        with breakers.open("inventory"):
            meet("open", "closed")
            with pytest.raises(CircuitOpenError):
                inventory.acquire()
            meet("done", "seen")

    def test_closed(breakers):
        meet("closed", "open")
        assert inventory.call(lambda: 1) == 1
        meet("seen", "done")
    """
    )
    run(pytester, "-n", "2", *PLAIN).assert_outcomes(passed=2)
