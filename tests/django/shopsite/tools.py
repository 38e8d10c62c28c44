"""What the Django tests do again and again."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from recloser import CircuitBreaker
from recloser.django import registry


def trip(name: str = "inventory", error: Exception | None = None) -> CircuitBreaker:
    """Open a circuit by a failure."""
    breaker = registry[name]
    breaker.acquire().failure(error or ConnectionError("refused"))
    assert breaker.state == "open"
    return breaker


def reads_the_body(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """A middleware that looks at the content of each request."""

    def middleware(request: HttpRequest) -> HttpResponse:
        assert len(request.body) >= 0
        return get_response(request)

    return middleware
