"""The command line: `recloser work`, and `recloser queue list|replay|drop`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from recloser.config.imports import load
from recloser.deferred.job import JobRecord, JobState
from recloser.deferred.queue import Queue, QueueError
from recloser.deferred.sweeping import nothing
from recloser.deferred.worker import Worker

THREADS: Final = 4
STORE_SECONDS: Final = 2.0
LISTED: Final = 1000


def add_commands(commands: Any) -> None:
    """Add the commands to the parser of `recloser`."""
    work = commands.add_parser("work", help="run the jobs that were put off, when their circuits let them")
    work.add_argument("queue", metavar="module:NAME", help="a queue, such as shop.jobs:queue")
    work.add_argument(
        "--threads", type=_threads, default=THREADS, metavar="N", help="jobs at once (default: 4)"
    )
    work.set_defaults(run=_work, around=nothing)

    queue = commands.add_parser(
        "queue", help="list the jobs that were put off; replay or drop those given up"
    )
    actions = queue.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list jobs, the oldest first")
    listing.add_argument("queue", metavar="module:NAME")
    listing.add_argument("--state", choices=[str(state) for state in JobState], help="only these")
    listing.set_defaults(run=_list)
    for name, help_text in (("replay", "queue given-up jobs again"), ("drop", "forget given-up jobs")):
        action = actions.add_parser(name, help=help_text)
        action.add_argument("queue", metavar="module:NAME")
        action.add_argument("ids", nargs="*", metavar="ID", help="as `list` shows them")
        action.add_argument("--all", action="store_true", help="all that were given up")
        action.set_defaults(run=_change, change=name)


def _threads(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text!r}")
    return int(text)


def _work(options: argparse.Namespace) -> int:
    queue = _queue(options.queue)
    if not queue.tasks:
        return _complain(f"{options.queue} has no tasks: name it from the module that declares them")
    with suppress(QueueError):  # the worker waits for a file that cannot be used
        unknown = queue.translated(queue.table.tasks) - set(queue.tasks)
        if unknown:
            _complain(f"jobs wait for tasks that are not declared here: {', '.join(sorted(unknown))}")
    ready = getattr(queue.breakers, "ready", None)
    if ready is not None:
        ready(STORE_SECONDS)  # where a fleet shares its breakers, its word comes before the first job
    for name in queue.waits_for:
        _ = queue.breakers[name]  # or its jobs would wait for ever
    worker = Worker(queue, threads=options.threads, around=options.around)

    def stop(*_: object) -> None:
        worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    worker.start()
    print(f"recloser: working on {queue.table.path}: {', '.join(queue.tasks)}", flush=True)  # noqa: T201
    worker.join()
    return 0


def _list(options: argparse.Namespace) -> int:
    queue = _queue(options.queue)
    state = JobState(options.state) if options.state else None
    records = queue.translated(lambda: queue.table.jobs(state, LISTED + 1))
    for record in records[:LISTED]:
        print(_line(record))  # noqa: T201
    if len(records) > LISTED:
        print(f"... only the {LISTED} oldest are listed; choose by --state")  # noqa: T201
    return 0


def _change(options: argparse.Namespace) -> int:
    if bool(options.ids) == options.all:
        return _complain(f"queue {options.change} needs ids, or --all")
    queue = _queue(options.queue)
    names: Sequence[str] | None = None if options.all else options.ids
    table = queue.table
    change = table.replay if options.change == "replay" else table.drop
    changed = queue.translated(lambda: change(names))
    for name in changed:
        if options.change == "replay" and queue.wake is not None:
            queue.wake(name, 0.0)
        print(f"{name} {'queued again' if options.change == 'replay' else 'dropped'}")  # noqa: T201
    missing = [name for name in names or () if name not in changed]
    if missing:
        return _complain(f"not among the jobs that were given up: {', '.join(missing)}")
    return 0


def _line(record: JobRecord) -> str:
    when = f"due in {record.due_in:.0f} s" if record.due_in else ""
    facts = [
        record.id,
        str(record.state),
        record.task,
        f"{record.age:.0f} s old",
        f"{record.attempts} attempt{'s' * (record.attempts != 1)}",
    ]
    return "  ".join(filter(None, [*facts, when, record.error]))


def _queue(source: str) -> Queue:
    sys.path.insert(0, "")  # as `python -m` would: the application lies in the current folder
    found, fix = load(source)
    if fix:
        raise QueueError(f"{source!r} {fix}")
    if not isinstance(found, Queue):
        raise QueueError(f"{source!r} must name a recloser.deferred.Queue, got a {type(found).__name__}")
    return found


def _complain(text: str) -> int:
    print(f"recloser: {text}", file=sys.stderr)  # noqa: T201 - the command's output
    return 1
