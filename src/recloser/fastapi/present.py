"""The present request, and how its exceptions are judged."""

from __future__ import annotations

from typing import Final

from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnect

from recloser.http.exchange import Exchange, present_exchange
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
    exchange = present_exchange()
    if exchange is not None:
        return exchange
    raise RuntimeError(
        f"{what!r} was used outside of a request that recloser watches: call install(app, registry), "
        "or test the endpoint itself by its __wrapped__"
    )
