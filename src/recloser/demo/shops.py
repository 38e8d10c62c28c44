"""The example shops, and how the demo runs each: under which server, and what it needs first."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Final, NamedTuple

from recloser.core.errors import RecloserError
from recloser.demo.processes import Child

THREADS: Final = 8  # of a gunicorn worker
OPERATOR: Final = "ann"
_ALONE: Final = "Each worker decides by itself here: the page shows and steers the circuits of the worker that answers it."


class DemoError(RecloserError):
    """The demo cannot run; its text says why."""


class Site(NamedTuple):
    """What a shop that stays up has besides its visitors.

    Attributes:
        environment: Variables that its server needs.
        invitation: What to look at, for the terminal; `{shop}` stands for the shop's URL.
        alone: What to know of it where the workers do not meet.
    """

    environment: Mapping[str, str]
    invitation: str
    alone: str = ""


class Shop(NamedTuple):
    """An example shop.

    Attributes:
        title: Framework and server, for the terminal.
        folder: Of the example; lies beside `src`, or in an installed wheel.
        program: The file in it that must be there.
        command: The command line that serves an app, given the app, the folder, a port and the number of workers.
        app: What the demo serves: the shop, with a listener that reports every transition.
        ready: A path that answers without any service.
        checkout: The path where orders are posted as JSON.
        orders: The path where orders are posted that may be put off.
        work: The command line that runs those, given the folder.
        site: Prepares what operators need, given the folder.
    """

    title: str
    folder: str
    program: str
    command: Callable[[str, Path, int, int], list[str]]
    app: str
    ready: str
    checkout: str
    orders: str
    work: Callable[[Path], list[str]]
    site: Callable[[Path], AbstractAsyncContextManager[Site]]


def example_folder(name: str, program: str) -> Path:
    """Where an example is: inside an installed wheel, or beside `src` in a checkout.

    Args:
        name: The folder's.
        program: A file in it.

    Raises:
        DemoError: It is in neither place.
    """
    package = Path(str(files("recloser.demo")))
    for folder in (package / name, package.parents[2] / name):
        if (folder / program).is_file():
            return folder
    raise DemoError(f"the example is missing: looked for {name}/{program} in {package} and above src")


def uvicorn_command(app: str, folder: Path, port: int, workers: int) -> list[str]:
    """The command line that serves an ASGI app which lies in a folder."""
    options = ["--app-dir", str(folder), "--port", str(port), "--workers", str(workers)]
    quiet = ["--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "1"]
    return [sys.executable, "-m", "uvicorn", app, *options, *quiet]


def gunicorn_command(app: str, folder: Path, port: int, workers: int) -> list[str]:
    """The command line that serves a WSGI app which lies in a folder."""
    options = ["--pythonpath", str(folder), "--bind", f"127.0.0.1:{port}", "--workers", str(workers)]
    options += ["--threads", str(THREADS), "--no-control-socket"]
    quiet = ["--log-level", "warning", "--graceful-timeout", "1"]
    return [sys.executable, "-m", "gunicorn", app, *options, *quiet]


def _work(folder: Path) -> list[str]:
    # `recloser work shop:queue`, wherever that is on PATH.
    program = "import sys; sys.path[0] = sys.argv.pop(1); from recloser.cli import main; sys.exit(main())"
    return [sys.executable, "-c", program, str(folder), "work", "shop:queue"]


def _manage_work(folder: Path) -> list[str]:
    settings = ["--settings", "teashop.settings"]  # whatever else this machine's projects are
    return [
        sys.executable,
        str(folder / "manage.py"),
        "recloser",
        *settings,
        "work",
        "teashop.orders:queue",
    ]


@asynccontextmanager
async def _api(_: Path) -> AsyncGenerator[Site]:
    password = secrets.token_urlsafe(9)
    yield Site(
        {"OPERATOR_PASSWORD": password, "RECLOSER_SECRET": secrets.token_urlsafe()},
        f"""Its API is described at {{shop}}/docs. See and steer its breakers at
{{shop}}/breakers/ (user {OPERATOR}, password {password}).""",
        _ALONE,
    )


@asynccontextmanager
async def _admin(folder: Path) -> AsyncGenerator[Site]:
    # A database with one operator, gone when the shop goes.
    password = secrets.token_urlsafe(9)
    with TemporaryDirectory(prefix="recloser-demo-") as home:
        environment = {
            "DJANGO_SETTINGS_MODULE": "teashop.settings",
            "DATABASE": str(Path(home, "db.sqlite3")),
            "DJANGO_SUPERUSER_USERNAME": OPERATOR,
            "DJANGO_SUPERUSER_PASSWORD": password,
            "DJANGO_SUPERUSER_EMAIL": f"{OPERATOR}@shop.example",
        }
        for arguments in (
            ["migrate", "--verbosity", "0"],
            ["createsuperuser", "--noinput", "--verbosity", "0"],
        ):
            await _run([sys.executable, str(folder / "manage.py"), *arguments], environment)
        yield Site(
            {"DATABASE": environment["DATABASE"]},
            f"""Order at {{shop}}/products/7/order in a browser, and steer the breakers at
{{shop}}/admin/recloser/breaker/ (user {OPERATOR}, password {password}); then also at {{shop}}/breakers/.""",
            _ALONE,
        )


async def _run(command: list[str], environment: Mapping[str, str]) -> None:
    with Child(command, environment) as child:
        if await asyncio.to_thread(child.wait):
            raise DemoError(f"{' '.join(command[1:])} failed:\n{child.complaints()}")


SHOPS: Final[Mapping[str, Shop]] = MappingProxyType(
    {
        "fastapi": Shop(
            title="FastAPI under uvicorn",
            folder="example_fastapi",
            program="shop.py",
            command=uvicorn_command,
            app="recloser.demo.worker:app",
            ready="/openapi.json",
            checkout="/checkout",
            orders="/orders",
            work=_work,
            site=_api,
        ),
        "django": Shop(
            title="Django under gunicorn",
            folder="example_django",
            program="manage.py",
            command=gunicorn_command,
            app="recloser.demo.django_worker:application",
            ready="/products/1/order",
            checkout="/api/checkout",
            orders="/api/orders",
            work=_manage_work,
            site=_admin,
        ),
    }
)
