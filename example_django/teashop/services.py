"""The services behind the shop. Each has a breaker, which the clients' transports ask."""

import ssl

import httpx2
from django.conf import settings

from recloser.clients.httpx2 import AsyncBreakerTransport, BreakerTransport
from recloser.django import registry

TIMEOUT = 0.3  # seconds

client = httpx2.Client(transport=BreakerTransport(registry), timeout=TIMEOUT)
_tls = ssl.create_default_context()  # takes long to make, and all clients can share it


def ask(
    method: str, service: str, path: str, content: object = None, headers: dict[str, str] | None = None
) -> dict[str, object]:
    """Ask a service.

    Raises:
        CircuitOpenError: Its circuit is open.
        httpx2.HTTPError: It failed.
    """
    response = client.request(method, settings.SERVICES[service] + path, json=content, headers=headers)
    answer: dict[str, object] = response.raise_for_status().json()
    return answer


async def ask_async(method: str, service: str, path: str) -> dict[str, object]:
    """Ask a service from an async view.

    Under WSGI every request has an event loop of its own, so a client cannot outlive one.

    Raises:
        CircuitOpenError: Its circuit is open.
        httpx2.HTTPError: It failed.
    """
    transport = AsyncBreakerTransport(registry, httpx2.AsyncHTTPTransport(verify=_tls))
    async with httpx2.AsyncClient(transport=transport, timeout=TIMEOUT) as own:
        response = await own.request(method, settings.SERVICES[service] + path)
        answer: dict[str, object] = response.raise_for_status().json()
        return answer
