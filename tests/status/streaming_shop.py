"""An endpoint under uvicorn whose streams live for two seconds, on sockets that hold little: `python streaming_shop.py`."""

from __future__ import annotations

import socket
import sys

import uvicorn

from recloser import Registry
from recloser.status import app as endpoint

if __name__ == "__main__":
    endpoint.LIFE = 2.0
    registry = Registry({"BREAKERS": {f"breaker-{number}": {} for number in range(200)}})
    app = endpoint.StatusApp(registry, public=True)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(app, log_level="critical")).run(sockets=[listener])
