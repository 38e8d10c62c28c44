"""The words that a declaration may use, section by section, in lower case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from recloser.core.policy import Knobs

SECTIONS: Final = dict.fromkeys(
    ("store", "namespace", "defaults", "profiles", "breakers", "routes", "cache", "expose", "secret")
)
KNOBS: Final[Mapping[str, None]] = dict.fromkeys(Knobs.__annotations__)
TOP: Final[Mapping[str, None]] = dict.fromkeys(("store", "namespace", "expose", "secret"))
CACHE: Final[Mapping[str, None]] = dict.fromkeys(("max_bytes", "alias", "url", "max_body"))
PROFILE: Final[Mapping[str, None]] = {**KNOBS, "profile": None}
BREAKER: Final[Mapping[str, None]] = {**PROFILE, "origins": None, "plan": None, "on": None}
ROUTE: Final[Mapping[str, None]] = dict.fromkeys(("breakers", "plan", "on", "record"))

# Knobs whose value may be given as "pkg.module:Name".
IMPORTED: Final = frozenset({"failure_on", "ignore", "failure_if"})
# Settings whose value is a text, whatever JSON it may look like in an environment variable.
TEXTS: Final = frozenset({"store", "namespace", "secret", "profile", "alias", "url"})
