"""The command line: `recloser demo`, `check`, `alerts`, `dashboard`, `work`, `queue`, and those of a fleet."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Final, cast

from recloser.config import Declaration, PolicyDeclaration, from_mapping, from_toml
from recloser.config.imports import load
from recloser.config.report import redacted
from recloser.core.errors import ConfigurationError, Problem, RecloserError
from recloser.core.policy import Policy
from recloser.deferred.commands import add_commands
from recloser.deferred.queue import QueueError
from recloser.registry import Registry
from recloser.status import terminal

DEMO_NEEDS: Final = {  # each shop's packages, and the extra that brings them
    "fastapi": ("demo", ("cachetools", "fastapi", "httpx2", "prometheus_client", "rich", "uvicorn")),
    "django": (
        "demo-django",
        ("cachetools", "django", "gunicorn", "httpx2", "prometheus_client", "rest_framework", "rich"),
    ),
}
DEMO_SECONDS: Final = 52.0
DEMO_SECONDS_AT_LEAST: Final = 4.0
STORE_SECONDS_AT_LEAST: Final = 16.0  # a lease must fit into the outage, and more than one
SHIPPED: Final = {
    "alerts": ("alerts.yml", "Prometheus alert rules, with runbooks"),
    "dashboard": ("dashboard.json", "a Grafana dashboard, to be imported"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: What follows `recloser` on the command line; `None` takes them from there.

    Returns:
        The exit status: 0 when all is well, 1 when not, 2 for a command line that is not understood.
    """
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        status = run(options)
        sys.stdout.flush()
    except QueueError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="recloser", description="Circuit breakers for web applications.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="see a shop survive an outage of the services behind it")
    demo.add_argument(
        "--seconds",
        type=_demo_seconds,
        default=DEMO_SECONDS,
        metavar="N",
        help="how long both drives take together, at least 4 (default: %(default)g)",
    )
    demo.add_argument(
        "--app", choices=DEMO_NEEDS, default="fastapi", help="whose shop: FastAPI's (default) or Django's"
    )
    demo.add_argument(
        "--store",
        choices=("sqlite", "redis"),
        default="",
        help="let the workers share their circuits, and see a worker and the store's server being killed",
    )
    demo.add_argument("--port", type=int, metavar="P", help="the shop's port (default: a free one)")
    demo.add_argument("--serve", action="store_true", help="keep the shop up afterwards, until Ctrl-C")
    demo.set_defaults(run=_demo)

    check = commands.add_parser("check", help="validate a declaration and show where each value comes from")
    check.add_argument(
        "declaration",
        metavar="FILE|module:NAME",
        help="a TOML file, a mapping such as settings:RECLOSER, or a Registry such as shop:registry",
    )
    check.set_defaults(run=_check)
    add_commands(commands)

    for command, (file, what) in SHIPPED.items():
        shipped = commands.add_parser(command, help=f"print {what}")
        shipped.set_defaults(run=_shipped, file=file)
    terminal.add_commands(commands)
    return parser


def _demo_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not DEMO_SECONDS_AT_LEAST <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(
            f"must be a number, at least {DEMO_SECONDS_AT_LEAST:g}, got {text!r}"
        )
    return seconds


def _demo(options: argparse.Namespace) -> int:
    extra, needs = DEMO_NEEDS[options.app]
    needs_redis = ("redis",) if options.store == "redis" else ()
    missing = [name for name in (*needs, *needs_redis) if find_spec(name) is None]
    if missing:
        return _complain(f'the demo needs {", ".join(missing)}: pip install "recloser[{extra}]"')
    if options.store and options.seconds < STORE_SECONDS_AT_LEAST:
        return _complain(f"with --store, --seconds must be at least {STORE_SECONDS_AT_LEAST:g}")
    from recloser.demo.shops import SHOPS  # noqa: PLC0415 - only the demo needs its extra
    from recloser.demo.show import show  # noqa: PLC0415

    return show(
        SHOPS[options.app],
        seconds=options.seconds,
        port=options.port,
        serve=options.serve,
        store=options.store,
    )


def _check(options: argparse.Namespace) -> int:
    try:
        declaration = _declaration(options.declaration)
        _check_plans(declaration)
        _check_cache(declaration)
    except RecloserError as error:
        return _complain(str(error))
    print("\n".join(_described(declaration)))  # noqa: T201 - the command's output
    return 0


def _shipped(options: argparse.Namespace) -> int:
    text = files("recloser.metrics").joinpath(options.file).read_text(encoding="utf-8")
    print(text, end="")  # noqa: T201 - the command's output
    return 0


def _declaration(source: str) -> Declaration:
    module, colon, name = source.partition(":")
    if not colon or not module.replace(".", "").isidentifier() or Path(source).is_file():
        return from_toml(source)
    sys.path.insert(0, "")  # as `python -m` would: settings lie in the current folder
    found, fix = load(source)
    if fix:
        raise ConfigurationError([Problem("the declaration", fix=fix, value=repr(source))])
    if isinstance(found, Registry):
        return found.declaration
    if not isinstance(found, Mapping):
        raise ConfigurationError([Problem(source, fix="must be a mapping", value=type(found).__name__)])
    return from_mapping(cast("Mapping[str, object]", found), path=name)


def _check_cache(declaration: Declaration) -> None:
    if "url" in declaration.cache and find_spec("redis") is None:
        fix = 'needs redis-py: pip install "recloser[redis]"'
        value = redacted(str(declaration.cache["url"]))
        raise ConfigurationError([Problem(declaration.places["cache.url"], repr(value), fix)])


def _check_plans(declaration: Declaration) -> None:
    of_breakers = [breaker.plan for breaker in declaration.breakers.values() if breaker.plan]
    of_routes = [
        plan for route in declaration.routes.values() for plan in (route.plan, *route.plans.values()) if plan
    ]
    if not of_breakers and not of_routes:
        return
    if find_spec("cachetools") is None:
        raise RecloserError('checking plans needs cachetools: pip install "recloser[fastapi]"')
    from recloser.http.declared import read_breaker_plan, read_plan  # noqa: PLC0415 - only plans need its extra

    read = [read_breaker_plan(plan) for plan in of_breakers]
    read += [read_plan(plan.steps, plan.path) for plan in of_routes]
    problems = [problem for _, found in read for problem in found]
    if problems:
        raise ConfigurationError(problems)


def _described(declaration: Declaration) -> Iterator[str]:
    count = len(declaration.breakers)
    yield f"{declaration.path} is valid: namespace {declaration.namespace!r}, {count} breaker{'s' * (count != 1)}"
    settings: dict[str, object] = {"expose": declaration.expose, "secret": declaration.secret and "***"}
    settings |= {f"cache.{key}": value for key, value in declaration.cache.items()}
    for key, value in settings.items():
        if value is not None:
            yield f"  {key:<26}{redacted(str(value)):<12}  {declaration.provenance[key]}"
    for name, breaker in declaration.breakers.items():
        yield ""
        yield " ".join([name, *(f"({origin})" for origin in breaker.origins)])
        yield from _policy_lines(breaker)


def _policy_lines(declared: PolicyDeclaration) -> Iterator[str]:
    for knob in fields(Policy):
        value = _shown(getattr(declared.policy, knob.name))
        yield f"  {knob.name:<26}{value:<12}  {declared.provenance[knob.name]}"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_shown, cast("tuple[object, ...]", value))) or "nothing"
    if callable(value):
        return str(getattr(value, "__qualname__", value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _complain(text: str) -> int:
    print(f"recloser: {text}", file=sys.stderr)  # noqa: T201 - the command's output
    return 1
