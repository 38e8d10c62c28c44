"""How much chance may try, as `RECLOSER_PROOF` says.

`deep` is for a day at which there is time, `brief` for one more interpreter, to see whether anything differs there.
"""

from __future__ import annotations

import os
from typing import Final

PROOF: Final = os.environ.get("RECLOSER_PROOF", "")
DEEP: Final = PROOF == "deep"


def examples(usual: int, deep: int | None = None) -> int:
    """How many examples of a property to look for: a fifth in brief.

    Args:
        usual: The number where nothing is asked for.
        deep: The number for a deep proof; `None`: the usual one.
    """
    if PROOF == "brief":
        return max(5, usual // 5)
    return deep if DEEP and deep is not None else usual
