"""What `import recloser` costs and loads, in fresh interpreters that see nothing of this environment but the source.

Isolated (`-I`), without `site` and so without any `.pth` file (`-S`); `os`, which `site` always loads, is loaded in
all. Bytecode goes to a folder of its own and is there before anything is timed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import recloser
from benchmarks.effort import Effort
from benchmarks.rows import Budget, Row

SOURCE = Path(recloser.__file__).parents[1]
START = f"import os, sys; sys.path.append({str(SOURCE)!r}); "
BARE, STANDARD, OWN = "pass", "import dataclasses, typing", "import recloser"
LOADED = START + "import json, recloser; print(json.dumps(sorted(sys.modules)))"


@dataclass
class ImportCase:
    """Milliseconds over an interpreter that imports nothing."""

    name: str = "import"
    best: dict[str, float] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    loop: bool = False

    def measure(self, effort: Effort) -> None:
        with TemporaryDirectory() as bytecode:
            modules = json.loads(_python(bytecode, LOADED))
            roots = {module.partition(".")[0] for module in modules}
            self.foreign = roots - sys.stdlib_module_names - {"recloser", "__main__"}
            self.loop = "asyncio" in roots
            for statement in (BARE, STANDARD, OWN):
                _python(bytecode, START + statement)
            for _ in range(effort.imports):
                for statement in (BARE, STANDARD, OWN):
                    started = perf_counter()
                    _python(bytecode, START + statement)
                    taken = (perf_counter() - started) * 1e3
                    self.best[statement] = min(self.best.get(statement, inf), taken)

    def rows(self) -> list[Row]:
        standard = self.best[STANDARD] - self.best[BARE]
        own = self.best[OWN] - self.best[BARE]
        foreign = ", ".join(sorted(self.foreign)) or "third-party modules"
        return [
            Row(self.name, STANDARD, standard, "ms"),
            Row(self.name, OWN, own, "ms", STANDARD, own / standard, Budget("<=", 2.0)),
            Row(self.name, f"loads {foreign}", len(self.foreign), "modules", budget=Budget("<=", 0)),
            Row(self.name, "loads asyncio", self.loop, "modules", budget=Budget("<=", 0)),
        ]


def _python(bytecode: str, statement: str) -> bytes:
    command = [sys.executable, "-I", "-S", "-X", f"pycache_prefix={bytecode}", "-c", statement]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
