"""recloser's pytest plugin. It stands outside the package, so that nothing is imported until it is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from recloser.testing import Breakers


@pytest.fixture
def breakers() -> Iterator[Breakers]:
    """All circuit breakers of this process, in the test's hands and given back as new: see `recloser.testing`."""
    from recloser.testing import isolated  # noqa: PLC0415 - who asks for it pays for it

    with isolated() as held:
        yield held
