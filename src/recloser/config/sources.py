"""Where declarations are read from: a mapping, a TOML file, and the environment over both."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from recloser.config.build import build
from recloser.config.declaration import Declaration
from recloser.config.environment import override
from recloser.config.places import Place, TomlPlace
from recloser.config.reading import is_mapping, read
from recloser.config.report import Report
from recloser.core.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from pathlib import Path

_LINE: Final = re.compile(r"at line (\d+)")


def from_mapping(
    mapping: Mapping[str, object], path: str = "RECLOSER", environ: Mapping[str, str] = os.environ
) -> Declaration:
    """Check a declaration with upper-case sections, such as Django's `RECLOSER`.

    Args:
        mapping: Sections to settings.
        path: The mapping's name in error messages.
        environ: Its `RECLOSER_…` variables override single values.

    Raises:
        ConfigurationError: Lists everything that is wrong.
    """
    return _declaration(mapping, Place(path), environ)


def from_toml(path: str | os.PathLike[str], environ: Mapping[str, str] = os.environ) -> Declaration:
    """Check a TOML file with lower-case sections; of a `pyproject.toml`, its table `[tool.recloser]`.

    Args:
        path: The file.
        environ: Its `RECLOSER_…` variables override single values.

    Raises:
        ConfigurationError: The file cannot be read, or lists everything that is wrong in it.
    """
    from pathlib import Path  # noqa: PLC0415 - only a TOML file pays for it

    name, file = os.fspath(path), Path(path)
    declared: object = _parsed(name, file)
    place: Place = TomlPlace(name)
    if file.name == "pyproject.toml":
        for key in ("tool", "recloser"):
            place = place.at(key)
            declared = declared.get(key) if is_mapping(declared) else None
        if declared is None:
            raise ConfigurationError([Problem(name, "none", "must have a table [tool.recloser]")])
    return _declaration(declared, place, environ)


def _declaration(declared: object, place: Place, environ: Mapping[str, str]) -> Declaration:
    report = Report()
    written = read(declared, place, report)
    override(written, environ, report)
    return build(written, report)


def _parsed(name: str, file: Path) -> Mapping[str, object]:
    import tomllib  # noqa: PLC0415 - only a TOML file pays for it

    text = ""
    try:
        text = file.read_text(encoding="utf-8-sig")
        return tomllib.loads(text)
    except OSError as error:
        problem = Problem(name, f"{type(error).__name__}: {error.strerror}", "must be a readable file")
    except UnicodeDecodeError as error:
        problem = Problem(name, f"byte {error.start} that is not", "must be in UTF-8")
    # A number of too many digits is a ValueError.
    except (ValueError, RecursionError) as error:
        line = _LINE.search(str(error))
        number = line[1] if line else text.count("\n") + 1
        problem = Problem(f"{name}, line {number}", str(error), "must be valid TOML")
    raise ConfigurationError([problem])
