"""The FastAPI shop as the demo runs it: the same app, with a listener that reports every transition.

uvicorn imports it as `recloser.demo.worker:app`, once per worker.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from recloser.demo.reporter import report_on

_shop: Final = import_module("shop")  # found by uvicorn's --app-dir
app: Final[object] = _shop.app
report_on(_shop.registry)
