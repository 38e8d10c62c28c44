"""An endpoint under uvicorn whose streams live for an hour, on sockets that hold little.

`python streaming_shop.py [SECONDS]`: how long it waits for its connections when it is told to end.
"""

from __future__ import annotations

import socket
import sys

import uvicorn

from recloser import Registry
from recloser.status import app as endpoint

if __name__ == "__main__":
    endpoint.LIFE = 3600.0
    registry = Registry({"BREAKERS": {f"breaker-{number}": {} for number in range(200)}})
    app = endpoint.StatusApp(registry, public=True)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    wait = int(sys.argv[1]) if sys.argv[1:] else None
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=wait)
    uvicorn.Server(config).run(sockets=[listener])
