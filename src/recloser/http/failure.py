"""What plans answer for: a refusal, or a failure that was counted before the circuit opened."""

from __future__ import annotations

from typing import TypeAlias
from urllib.parse import quote

from recloser.core.errors import CallRejectedError, RecloserError
from recloser.core.log import logger
from recloser.core.outcome import describe
from recloser.http.messages import Request


class CallFailedError(RecloserError):
    """A breaker counted a failure of the endpoint, or of a call inside it. Given to plans, never raised.

    Attributes:
        breaker: The breaker's name.
        retry_after: Seconds until a call is worth trying: what the failure asked for, or is left of an open period
            that it began; 0 where neither is known.
        error: What was raised; `None` where the endpoint answered by itself.
        status: Of the application's own answer; `None` where there was none.
    """

    def __init__(
        self,
        breaker: str,
        retry_after: float = 0.0,
        *,
        error: BaseException | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(breaker)
        self.breaker = breaker
        self.retry_after = retry_after
        self.error = error
        self.status = status

    @property
    def last_failure(self) -> str:
        """Type and bounded text of what was raised, else the status."""
        return f"status {self.status}" if self.error is None else describe(self.error)

    def __str__(self) -> str:
        return f"breaker {self.breaker!r} counted a failure: {self.last_failure}"


# What a strategy is given: why it is asked.
Trouble: TypeAlias = CallRejectedError | CallFailedError


def log_hidden(request: Request, failure: CallFailedError) -> None:
    """Log a failure that a plan's answer hides from its client, as an error with its traceback."""
    # Quoted: a path may hold line breaks and more of what would seem to be the log's own.
    path = quote(request.path, safe="/:@!$&'()*+,;=", errors="surrogateescape")
    logger().error("%s; a plan answered %s %s", failure, request.method, path, exc_info=failure.error)
