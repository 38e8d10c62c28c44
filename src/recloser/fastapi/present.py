"""The present request, and how its exceptions are judged."""

from __future__ import annotations

from typing import Final

from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnect

from recloser.core.scope import current
from recloser.http.exchange import Exchange
from recloser.http.fault import Faults

FAULTS: Final = Faults(
    ignored=(
        RequestValidationError,
        WebSocketRequestValidationError,
        WebSocketException,
        ClientDisconnect,
        WebSocketDisconnect,
    ),
    answering=(HTTPException,),
    masking=(ClientDisconnect,),
)


def present(what: object) -> Exchange:
    """Return the present request.

    Args:
        what: Asks for it.

    Raises:
        RuntimeError: There is none.
    """
    exchange = current.get()
    if isinstance(exchange, Exchange):
        return exchange
    raise RuntimeError(
        f"{what!r} was used outside of a request that recloser watches: call install(app, registry), "
        "or test the endpoint itself by its __wrapped__"
    )
